//! Whether a connection does something: what its time limits are measured by.

use std::cell::Cell;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

use crate::access::Passed;

/// One connection's. Written on each request and read, so without locks or clocks where those can be spared.
pub(crate) struct Activity {
    in_flight: Cell<u32>,
    /// The number of the last request.
    last: Cell<u64>,
    idle_since: Cell<Instant>,
    /// When the first bytes came that no request was made of yet.
    head_since: Cell<Option<Instant>>,
    has_moved: Cell<bool>,
    /// When the client first took no more of what is to be written.
    blocked_since: Cell<Option<Instant>>,
    /// Whether something that was written, or the close, may not have left yet.
    is_unflushed: Cell<bool>,
    /// Whether the last request has a body whose end was not read.
    has_body: Cell<bool>,
    pub(crate) passed: Passed,
    abandoned: Cell<u64>,
    /// What the client may still give up, in parts of a request.
    patience: Cell<u64>,
    /// Since when none of it has come with time.
    patience_since: Cell<Instant>,
    is_abandoning: Cell<bool>,
}

/// What is waited for, and until when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Waiting {
    /// A request is being answered: the upstream's time counts, not the client's.
    Answer,
    /// The rest of a request's headers.
    Head(Instant),
    /// The next request.
    Request(Instant),
    /// That the client takes what is written.
    Taking(Instant),
}

/// A request in flight; its answer's body counts.
pub(crate) struct Busy(Rc<Activity>);

/// The end of one request's body, which says nothing of the next one's.
pub(crate) struct BodyEnd {
    activity: Rc<Activity>,
    request: u64,
}

struct Answering<'a>(&'a Activity);

impl Drop for Answering<'_> {
    fn drop(&mut self) {
        self.0.note_abandoned();
    }
}

impl BodyEnd {
    pub(crate) fn reached(&self) {
        if self.activity.last.get() == self.request {
            self.activity.has_body.set(false);
        }
    }
}

impl Activity {
    pub(crate) fn new() -> Rc<Self> {
        Rc::new(Self {
            in_flight: Cell::new(0),
            last: Cell::new(0),
            idle_since: Cell::new(Instant::now()),
            head_since: Cell::new(None),
            has_moved: Cell::new(false),
            blocked_since: Cell::new(None),
            is_unflushed: Cell::new(false),
            has_body: Cell::new(false),
            passed: Passed::default(),
            abandoned: Cell::new(0),
            patience: Cell::new(MAX_PATIENCE),
            patience_since: Cell::new(Instant::now()),
            is_abandoning: Cell::new(false),
        })
    }

    /// Does the work of a request. One whose client gives it up before there is an answer has cost the work, and is counted.
    pub(crate) async fn answering<A>(&self, answer: impl Future<Output = A>) -> A {
        let answering = Answering(self);
        let answer = answer.await;
        std::mem::forget(answering);
        self.earn(1);
        answer
    }

    fn note_abandoned(&self) {
        let now = Instant::now();
        let rest = now.duration_since(self.patience_since.get());
        let parts = u64::try_from(rest.as_millis()).unwrap_or(u64::MAX) / MS_PER_PART;
        // What is left over counts for the next: whoever gives up ten a second does not do so on the stroke of a clock.
        let left_over =
            rest.saturating_sub(Duration::from_millis(parts.saturating_mul(MS_PER_PART)));
        self.patience_since.set(now - left_over);
        self.earn(parts);
        self.abandoned.set(self.abandoned.get() + 1);
        match self.patience.get().checked_sub(PARTS) {
            Some(left) => self.patience.set(left),
            // For good.
            None => self.is_abandoning.set(true),
        }
    }

    fn earn(&self, parts: u64) {
        let patience = self.patience.get().saturating_add(parts);
        self.patience.set(patience.min(MAX_PATIENCE));
    }

    /// Whether the client gives up more than anybody does who means what it asks (CVE-2023-44487): how many it has given up. What it was
    /// answered before excuses so much and no more.
    pub(crate) fn abandons(&self) -> Option<u64> {
        self.is_abandoning.get().then(|| self.abandoned.get())
    }

    pub(crate) fn begin(self: &Rc<Self>, has_body: bool) -> Busy {
        self.in_flight.set(self.in_flight.get() + 1);
        self.last.set(self.last.get() + 1);
        self.has_body.set(has_body);
        self.head_since.set(None);
        Busy(Rc::clone(self))
    }

    /// Without `head`, bytes between requests are no beginning of one: HTTP/2 has pings and settings there.
    pub(crate) fn waiting(
        &self,
        head: Option<Duration>,
        idle: Duration,
        send: Duration,
    ) -> Waiting {
        match (self.in_flight.get(), self.head_since.get().zip(head)) {
            (0, Some((since, head))) => Waiting::Head(since + head),
            (0, None) => Waiting::Request(self.idle_since.get() + idle),
            _ => match self.blocked_since.get() {
                Some(since) => Waiting::Taking(since + send),
                None => Waiting::Answer,
            },
        }
    }

    /// To be told when the last request's body was read to its end.
    pub(crate) fn body_end(self: &Rc<Self>) -> BodyEnd {
        BodyEnd {
            activity: Rc::clone(self),
            request: self.last.get(),
        }
    }

    /// Since when nothing is under way, if nothing of it can be left anywhere: no answer that has not gone out (only then
    /// has hyper decided whether the connection goes on), no body that is not read, no beginning of a head.
    pub(crate) fn quiet_since(&self) -> Option<Instant> {
        let has_rest = self.in_flight.get() > 0
            || self.head_since.get().is_some()
            || self.is_unflushed.get()
            || self.has_body.get();
        (!has_rest).then(|| self.idle_since.get())
    }

    /// When the next request is overdue.
    pub(crate) fn idle_until(&self, idle: Duration) -> Instant {
        self.idle_since.get() + idle
    }

    /// Whether a byte was read or written since this was last asked.
    pub(crate) fn take_moved(&self) -> bool {
        self.has_moved.replace(false)
    }

    fn note_written(&self, polled: &Poll<io::Result<usize>>) {
        self.is_unflushed.set(true);
        if let Poll::Ready(written) = polled {
            self.passed.note_sent(written.as_ref().map_or(0, |it| *it));
            self.has_moved.set(true);
            self.blocked_since.set(None);
        } else if self.blocked_since.get().is_none() {
            self.blocked_since.set(Some(Instant::now()));
        }
    }

    pub(crate) fn note_read(&self) {
        self.has_moved.set(true);
        if self.in_flight.get() == 0 && self.head_since.get().is_none() {
            self.head_since.set(Some(Instant::now()));
        }
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        let left = self.0.in_flight.get() - 1;
        self.0.in_flight.set(left);
        if left == 0 {
            self.0.idle_since.set(Instant::now());
        }
    }
}

/// A stream that tells [`Activity`] of its bytes.
pub(crate) struct Observed<S> {
    pub(crate) stream: S,
    pub(crate) activity: Rc<Activity>,
    /// Bytes that were read already and come first.
    pub(crate) read_ahead: BytesMut,
}

impl<S: AsyncRead + Unpin> AsyncRead for Observed<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.read_ahead.is_empty() {
            let fits = self.read_ahead.len().min(buf.remaining());
            buf.put_slice(&self.read_ahead.split_to(fits));
            return Poll::Ready(Ok(()));
        }
        let before = buf.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(cx, buf);
        if buf.filled().len() > before {
            self.activity
                .passed
                .note_received(buf.filled().len() - before);
            self.activity.note_read();
        }
        polled
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Observed<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.activity.note_written(&polled);
        polled
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.stream).poll_flush(cx);
        self.activity.is_unflushed.set(polled.is_pending());
        polled
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // For good: what is being closed does not rest.
        self.activity.is_unflushed.set(true);
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write_vectored(cx, slices);
        self.activity.note_written(&polled);
        polled
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

/// A request that is answered makes up for a quarter of one that is given up: calls that are sent twice so that the slower can be given up
/// (gRPC's hedging) are a few of a hundred.
const PARTS: u64 = 4;

/// 500 at once, as Envoy looks at (`premature_reset_total_stream_count`): whoever leaves a page gives up what is under way, 100 streams at
/// most.
const MAX_PATIENCE: u64 = 500 * PARTS;

/// 10 a second for as long as anybody likes: deadlines that pass while an upstream is slow.
const MS_PER_PART: u64 = 1000 / (10 * PARTS);

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    const SEND: Duration = Duration::from_mins(1);

    #[tokio::test(start_paused = true)]
    async fn client_that_takes_nothing_is_waited_for_from_then_on() {
        let activity = Activity::new();
        let _busy = activity.begin(false);
        let (mut client, server) = tokio::io::duplex(4);
        let mut server = Observed {
            stream: server,
            activity: Rc::clone(&activity),
            read_ahead: BytesMut::new(),
        };
        let waiting = || activity.waiting(None, SEND, SEND);
        server.write_all(b"full").await.expect("room");
        assert_eq!(waiting(), Waiting::Answer);
        for _ in 0..2 {
            let begun = Instant::now();
            let blocked = tokio::time::timeout(Duration::from_secs(9), server.write_u8(0)).await;
            assert!(blocked.is_err());
            assert_eq!(waiting(), Waiting::Taking(begun + SEND));
            client.read_u8().await.expect("a byte");
            server.write_u8(0).await.expect("room");
            assert_eq!(waiting(), Waiting::Answer);
        }
    }

    /// Answers each, or gives it up.
    async fn ask(activity: &Activity, is_answered: bool) {
        if is_answered {
            activity.answering(async {}).await;
        } else {
            let given_up = activity.answering(std::future::pending::<()>());
            assert_eq!(given_up.now_or_never(), None);
        }
    }

    /// How many of `asked` are given up before it is cut, a millisecond between them: each `every`th one.
    async fn check_cut(every: u64, between: Duration, cut_after: Option<std::ops::Range<u64>>) {
        let activity = Activity::new();
        for asked in 1..=100_000 {
            ask(&activity, asked % every != 0).await;
            tokio::time::advance(between).await;
            if let Some(abandoned) = activity.abandons() {
                let cut_after = cut_after.unwrap_or(0..0);
                assert!(
                    cut_after.contains(&abandoned),
                    "one in {every}: {abandoned}"
                );
                return;
            }
        }
        assert_eq!(cut_after, None, "one in {every}");
    }

    #[tokio::test(start_paused = true)]
    async fn client_is_cut_for_what_it_gives_up_whatever_it_was_answered() {
        let at_once = Duration::from_micros(10);
        // Everything, every other one, one of three with two cheap ones between.
        check_cut(1, at_once, Some(500..600)).await;
        check_cut(2, at_once, Some(600..800)).await;
        check_cut(3, at_once, Some(900..1200)).await;
        // Hedging at 1000 calls a second, and deadlines that all pass, 10 a second.
        check_cut(5, at_once, None).await;
        check_cut(20, Duration::from_millis(1), None).await;
        check_cut(1, Duration::from_millis(100), None).await;
        check_cut(1, Duration::from_millis(20), Some(500..1000)).await;
    }

    #[tokio::test(start_paused = true)]
    async fn ten_given_up_a_second_are_never_too_many_whenever_they_come() {
        let activity = Activity::new();
        for round in 0..100_000 {
            ask(&activity, false).await;
            // Now 24 ms too early, now too late.
            tokio::time::advance(Duration::from_millis([76, 124][round % 2])).await;
            assert_eq!(activity.abandons(), None, "after {round}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn answers_of_the_past_excuse_no_flood() {
        let activity = Activity::new();
        for _ in 0..1_000_000 {
            ask(&activity, true).await;
        }
        for _ in 0..500 {
            ask(&activity, false).await;
            assert_eq!(activity.abandons(), None);
        }
        ask(&activity, false).await;
        assert_eq!(activity.abandons(), Some(501));
    }

    /// Takes everything at once and lets go of it when it is told to.
    struct Holding {
        is_full: bool,
    }

    impl AsyncWrite for Holding {
        fn poll_write(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
            bytes: &[u8],
        ) -> Poll<io::Result<usize>> {
            Poll::Ready(Ok(bytes.len()))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            if self.is_full {
                Poll::Pending
            } else {
                Poll::Ready(Ok(()))
            }
        }

        fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            self.poll_flush(cx)
        }
    }

    #[tokio::test(start_paused = true)]
    async fn connection_with_an_answer_on_its_way_is_not_quiet() {
        let activity = Activity::new();
        let mut server = Observed {
            stream: Holding { is_full: true },
            activity: Rc::clone(&activity),
            read_ahead: BytesMut::new(),
        };
        assert!(activity.quiet_since().is_some());
        server.write_all(b"answer").await.expect("taken");
        assert!(activity.quiet_since().is_none());
        let flushed = tokio::time::timeout(Duration::from_secs(9), server.flush()).await;
        assert!(flushed.is_err() && activity.quiet_since().is_none());
        server.stream.is_full = false;
        server.flush().await.expect("gone");
        assert!(activity.quiet_since().is_some());
        server.shutdown().await.expect("closed");
        assert!(activity.quiet_since().is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn connection_with_a_body_to_read_is_not_quiet() {
        let activity = Activity::new();
        drop(activity.begin(true));
        assert!(activity.quiet_since().is_none());
        let first = activity.body_end();
        drop(activity.begin(true));
        // The end of the first says nothing of the second.
        first.reached();
        assert!(activity.quiet_since().is_none());
        activity.body_end().reached();
        assert!(activity.quiet_since().is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn half_a_head_has_less_time_than_an_idle_connection() {
        let (head, idle) = (Some(Duration::from_secs(10)), Duration::from_secs(75));
        let activity = Activity::new();
        let start = Instant::now();
        assert_eq!(
            activity.waiting(head, idle, SEND),
            Waiting::Request(start + idle)
        );
        let (mut client, server) = tokio::io::duplex(64);
        let mut server = Observed {
            stream: server,
            activity: Rc::clone(&activity),
            read_ahead: BytesMut::new(),
        };
        client.write_all(b"GET / HT").await.expect("room");
        tokio::time::advance(Duration::from_secs(5)).await;
        server.read_u8().await.expect("a byte");
        let first = Instant::now();
        tokio::time::advance(Duration::from_secs(5)).await;
        server.read_u8().await.expect("a byte");
        assert_eq!(
            activity.waiting(head, idle, SEND),
            Waiting::Head(first + Duration::from_secs(10))
        );
        assert_eq!(
            activity.waiting(None, idle, SEND),
            Waiting::Request(start + idle)
        );
        let busy = activity.begin(false);
        assert_eq!(activity.waiting(head, idle, SEND), Waiting::Answer);
        tokio::time::advance(Duration::from_secs(100)).await;
        drop(busy);
        assert_eq!(
            activity.waiting(head, idle, SEND),
            Waiting::Request(Instant::now() + idle)
        );
        assert!(activity.take_moved() && !activity.take_moved());
    }
}
