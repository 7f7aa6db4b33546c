//! A connection of HTTP/1.1 between its requests.

use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::task::{Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::sleep_until;

use crate::activity::Observed;
use crate::exchange::Caller;

/// Holds a quiet connection without hyper, whose two buffers are most of what it costs, until something happens to it:
/// bytes, its end, the idle limit, the drain, or access withdrawn. What it was is left to `drive` to find out, but for
/// errors: those come only once.
pub(super) async fn rest<S: AsyncRead + AsyncWrite + Unpin>(
    io: &mut Observed<S>,
    caller: &Caller,
) -> io::Result<()> {
    if !io.read_ahead.is_empty() {
        return Ok(());
    }
    let mut withdrawn = pin!(caller.session.lifeline.cut());
    let mut draining = pin!(caller.listener.drain.draining());
    let idle_limit = caller.listener.serving.load().idle_timeout;
    let mut overdue = pin!(sleep_until(caller.activity.idle_until(idle_limit)));
    poll_fn(|cx| {
        let has_ended = withdrawn.as_mut().poll(cx).is_ready()
            || caller.poll_cut(cx).is_ready()
            || draining.as_mut().poll(cx).is_ready()
            || overdue.as_mut().poll(cx).is_ready();
        if has_ended {
            return Poll::Ready(Ok(()));
        }
        // What was written and not sent. What TLS has to say beside it, such as tickets, goes out where nothing is read.
        if let Poll::Ready(Err(error)) = Pin::new(&mut io.stream).poll_flush(cx) {
            return Poll::Ready(Err(error));
        }
        let mut bytes = [0; READ_AHEAD];
        let mut buffer = ReadBuf::new(&mut bytes);
        ready!(Pin::new(&mut io.stream).poll_read(cx, &mut buffer))?;
        // Of nothing at all, which is the end, whoever reads next learns too.
        if !buffer.filled().is_empty() {
            io.activity.note_read();
            io.read_ahead.extend_from_slice(buffer.filled());
        }
        Poll::Ready(Ok(()))
    })
    .await
}

/// The most that is read of a request before hyper is there again: a small head. On the stack, nothing is kept of it.
const READ_AHEAD: usize = 512;
