//! What happens to a connection once if at all, beside what happens to it ten thousand times a second.
//!
//! To ask whether access was withdrawn, or the process drains, takes locks that all workers share. So whoever waits for such a thing asks
//! at first, and again when it was woken for that and for nothing else.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Wake, Waker};

use futures_util::task::AtomicWaker;

/// The waker of what happens seldom.
pub(super) struct Seldom {
    told: Arc<Told>,
    waker: Waker,
}

struct Told {
    is_woken: AtomicBool,
    task: AtomicWaker,
}

impl Seldom {
    pub(super) fn new() -> Self {
        let told = Arc::new(Told {
            is_woken: AtomicBool::new(true),
            task: AtomicWaker::new(),
        });
        Self {
            waker: Waker::from(Arc::clone(&told)),
            told,
        }
    }

    /// With what to poll all of it, if there is a reason to; that has to be done then.
    pub(super) fn woken(&self, cx: &Context<'_>) -> Option<Context<'_>> {
        // Before the look at the flag: a wake-up between the two finds the task.
        self.told.task.register(cx.waker());
        let is_woken = self.told.is_woken.swap(false, Ordering::AcqRel);
        is_woken.then(|| Context::from_waker(&self.waker))
    }
}

impl Wake for Told {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.is_woken.store(true, Ordering::Release);
        self.task.wake();
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::pin::pin;
    use std::sync::atomic::AtomicUsize;
    use std::task::Poll;

    use tokio::sync::Notify;

    use super::*;

    #[derive(Default)]
    struct Counter(AtomicUsize);

    impl Wake for Counter {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    #[test]
    fn what_is_waited_for_is_asked_at_first_and_when_it_has_something_to_say() {
        let (notify, asked, counter) = (
            Notify::new(),
            AtomicUsize::new(0),
            Arc::new(Counter::default()),
        );
        let waker = Waker::from(Arc::clone(&counter));
        let mut notified = pin!(notify.notified());
        let mut waiting = pin!(poll_fn(|cx| {
            asked.fetch_add(1, Ordering::SeqCst);
            notified.as_mut().poll(cx)
        }));
        let seldom = Seldom::new();
        let mut poll = || match seldom.woken(&Context::from_waker(&waker)) {
            Some(mut cx) => waiting.as_mut().poll(&mut cx),
            None => Poll::Pending,
        };
        for _ in 0..100 {
            assert_eq!(poll(), Poll::Pending);
        }
        assert_eq!(asked.load(Ordering::SeqCst), 1);
        assert_eq!(counter.0.load(Ordering::SeqCst), 0);
        notify.notify_waiters();
        assert_eq!(counter.0.load(Ordering::SeqCst), 1, "its task is woken");
        assert_eq!(poll(), Poll::Ready(()));
    }

    #[test]
    fn task_that_asked_last_is_the_one_that_is_woken() {
        let (former, latter) = (Arc::new(Counter::default()), Arc::new(Counter::default()));
        let seldom = Seldom::new();
        assert!(
            seldom
                .woken(&Context::from_waker(&Waker::from(Arc::clone(&former))))
                .is_some()
        );
        assert!(
            seldom
                .woken(&Context::from_waker(&Waker::from(Arc::clone(&latter))))
                .is_none()
        );
        seldom.waker.wake_by_ref();
        let woken = [&former, &latter].map(|it| it.0.load(Ordering::SeqCst));
        assert_eq!(woken, [0, 1]);
        let waker = Waker::from(latter);
        assert!(seldom.woken(&Context::from_waker(&waker)).is_some());
        assert!(seldom.woken(&Context::from_waker(&waker)).is_none());
    }
}
