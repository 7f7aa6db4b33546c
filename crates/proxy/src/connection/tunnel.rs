//! Bytes both ways, after a switch of protocols or on a listener of bytes, until both sides end it or access is withdrawn.

use std::future::{pending, poll_fn};
use std::io;
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;

use bytes::Bytes;
use futures_util::future::Either;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::time::sleep;

use super::passing::pass_both_ways;
use super::seldom::Seldom;
use crate::access::{TunnelEnd, TunnelEvent};
use crate::activity::{Activity, Observed};
use crate::exchange::Caller;
use crate::in_flight::Place;
use crate::upstream::{Switched, UpstreamFault};

/// The upstream's half. On the heap: a connection that has none carries no room for it, and whoever runs it holds it but once.
pub(crate) struct Tunnel(Box<Half>);

struct Half {
    upstream: Switched,
    /// What was asked for is in flight for as long as it lasts.
    place: Place,
}

impl Tunnel {
    pub(crate) fn new(upstream: Switched, place: Place) -> Self {
        Self(Box::new(Half { upstream, place }))
    }

    /// `read` is what the client sent right behind its request. Whether both sides ended it.
    pub(crate) async fn run<S: AsyncRead + AsyncWrite + Unpin>(
        self,
        client: &mut Observed<S>,
        read: Bytes,
        caller: &Caller,
    ) -> bool {
        let activity = Rc::clone(&client.activity);
        let Self(mut half) = self;
        let upstream_cut = match half.upstream.stream.vouched() {
            // Without TLS there is nothing to wait for, and no room is needed for it.
            Some(vouched) => Either::Left(Box::pin(vouched.cut())),
            None => Either::Right(pending()),
        };
        let event = TunnelEvent::begin();
        let ended = {
            // On the heap, in room of its own size: nothing of it is moved or looked at while bytes pass.
            let mut cut_short = Box::pin(async {
                tokio::select! {
                    biased;
                    () = caller.session.lifeline.cut() => TunnelEnd::Cut,
                    () = upstream_cut => TunnelEnd::Cut,
                    () = half.place.cut() => TunnelEnd::Cut,
                    () = drained(caller) => TunnelEnd::Drained,
                    () = abandoned(caller, &activity) => TunnelEnd::Idle,
                }
            });
            let mut passing = pin!(pass(&mut half.upstream, client, read));
            let seldom = Seldom::new();
            poll_fn(move |cx| {
                if let Some(cx) = &mut seldom.woken(cx)
                    && let Poll::Ready(end) = cut_short.as_mut().poll(cx)
                {
                    return Poll::Ready(Err(end));
                }
                passing.as_mut().poll(cx).map(Ok)
            })
            .await
        };
        let end = match ended {
            Ok(Ok(())) => TunnelEnd::Ended,
            Ok(Err(error)) => {
                half.note_broken(&error, caller);
                TunnelEnd::Broken
            }
            Err(end) => end,
        };
        event.end(caller, end, &activity.passed);
        if end != TunnelEnd::Ended {
            half.upstream.stream.reset_on_close();
        }
        end == TunnelEnd::Ended
    }
}

impl Half {
    fn note_broken(&self, error: &io::Error, caller: &Caller) {
        tracing::debug!(src.addr = %caller.session.source, %error, "tunnel broke");
        // In TLS 1.3 an upstream refuses our certificate when the handshake is done on our side.
        let vouched = self.upstream.stream.vouched();
        if let Some(UpstreamFault::Refused(refusal)) =
            vouched.and_then(|vouched| vouched.refusal_behind(error))
        {
            let listener = &caller.listener;
            tracing::warn!(
                listener = listener.name,
                error = refusal.sentence(),
                "an upstream refuses us"
            );
            listener.upstream_refused(*refusal, &caller.session, None);
        }
    }
}

async fn pass<S: AsyncRead + AsyncWrite + Unpin>(
    upstream: &mut Switched,
    client: &mut Observed<S>,
    read: Bytes,
) -> io::Result<()> {
    let Switched { stream, first, .. } = upstream;
    client.write_all(first).await?;
    client.flush().await?;
    stream.write_all(&read).await?;
    stream.flush().await?;
    pass_both_ways(client, stream).await
}

/// Resolves some time after a drain has begun: a tunnel has no end of its own to wait for, and clients of tunnels connect
/// again.
async fn drained(caller: &Caller) {
    caller.listener.drain.draining().await;
    // On the heap: what rests needs no room for it.
    Box::pin(sleep(caller.pool.bounds.tunnel_grace)).await;
}

/// Resolves when no byte has passed for a while.
async fn abandoned(caller: &Caller, activity: &Activity) {
    loop {
        // Read anew each time: a reload may have changed it.
        let limit = caller.listener.serving.load().tunnel_idle_timeout;
        sleep(limit).await;
        if !activity.take_moved() {
            return;
        }
    }
}
