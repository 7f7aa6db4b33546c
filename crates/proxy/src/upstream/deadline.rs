//! How long an upstream may take for an answer.

use std::cell::Cell;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep_until};

/// A timer that stays set from one request of a connection to the next: it goes off once in a limit, and not once a request set
/// and taken back, which takes locks.
#[derive(Default)]
pub(super) struct Deadline(Option<Pin<Box<Sleep>>>);

impl Deadline {
    fn poll(&mut self, cx: &mut Context<'_>, at: Instant) -> Poll<()> {
        let timer = self.0.get_or_insert_with(|| Box::pin(sleep_until(at)));
        if timer.deadline() > at {
            timer.as_mut().reset(at);
        }
        loop {
            ready!(timer.as_mut().poll(cx));
            if timer.deadline() >= at {
                return Poll::Ready(());
            }
            // It was of a request before.
            timer.as_mut().reset(at);
        }
    }
}

/// When the time of one request is over.
pub(super) struct Overdue {
    limit: Duration,
    at: Instant,
    /// When the last of the request's body was taken.
    taken: Option<Rc<Cell<Instant>>>,
}

impl Overdue {
    pub(super) fn new(limit: Duration, taken: Option<Rc<Cell<Instant>>>) -> Self {
        Self {
            limit,
            at: Instant::now() + limit,
            taken,
        }
    }

    /// Ready with the limit when the upstream has had its time.
    pub(super) fn poll(&mut self, deadline: &mut Deadline, cx: &mut Context<'_>) -> Poll<Duration> {
        loop {
            ready!(deadline.poll(cx, self.at));
            // An upload takes as long as it takes: the upstream's time begins when it has taken the last of it.
            match self.taken.as_ref().map(|taken| taken.get() + self.limit) {
                Some(later) if later > self.at => self.at = later,
                _ => return Poll::Ready(self.limit),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;

    const LIMIT: Duration = Duration::from_mins(5);

    async fn wait(deadline: &mut Deadline, overdue: &mut Overdue) -> Duration {
        poll_fn(|cx| overdue.poll(deadline, cx)).await
    }

    #[tokio::test(start_paused = true)]
    async fn each_request_of_a_connection_has_the_whole_limit_and_no_more() {
        let mut deadline = Deadline::default();
        for after in [0, 1, 200, 299, 300, 1000] {
            // One that was answered in time.
            let mut answered = Overdue::new(LIMIT, None);
            let answer = tokio::time::sleep(Duration::from_secs(after.min(299)));
            tokio::select! {
                biased;
                () = answer => {}
                _ = wait(&mut deadline, &mut answered) => panic!("{after}"),
            }
            tokio::time::advance(Duration::from_secs(after)).await;
            let begun = Instant::now();
            let mut overdue = Overdue::new(LIMIT, None);
            assert_eq!(wait(&mut deadline, &mut overdue).await, LIMIT);
            let waited = begun.elapsed();
            assert!(
                waited >= LIMIT && waited < LIMIT + Duration::from_secs(1),
                "{waited:?}"
            );
        }
    }

    #[tokio::test(start_paused = true)]
    async fn shorter_limit_behind_a_longer_one_is_kept() {
        let mut deadline = Deadline::default();
        let first = tokio::time::timeout(LIMIT / 5, async {
            wait(&mut deadline, &mut Overdue::new(LIMIT, None)).await
        });
        assert!(first.await.is_err());
        let begun = Instant::now();
        wait(&mut deadline, &mut Overdue::new(LIMIT / 10, None)).await;
        assert!(begun.elapsed() < LIMIT / 9, "{:?}", begun.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn time_begins_when_the_last_of_an_upload_was_taken() {
        let (mut deadline, begun) = (Deadline::default(), Instant::now());
        let taken = Rc::new(Cell::new(begun + LIMIT / 2));
        wait(&mut deadline, &mut Overdue::new(LIMIT, Some(taken))).await;
        let waited = begun.elapsed();
        assert!(
            waited >= LIMIT + LIMIT / 2 && waited < 2 * LIMIT,
            "{waited:?}"
        );
    }
}
