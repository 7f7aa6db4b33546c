//! The data plane's threads: each runs one single-threaded tokio runtime, so that a connection never leaves its core and
//! its tasks need no locks.

use std::any::Any;
use std::future::Future;
use std::io;
use std::sync::{Arc, mpsc};
use std::thread::{self, JoinHandle};

use tokio::runtime::Builder;
use tokio::task::{LocalSet, spawn_local};
use tokio_util::sync::CancellationToken;

/// A set of running worker threads. Dropping it leaves them running; stop them through a [`Drain`](crate::drain::Drain)
/// and [`join`](Self::join) them.
#[derive(Debug)]
pub struct Workers {
    threads: Vec<JoinHandle<()>>,
    one_ended: CancellationToken,
}

impl Workers {
    /// Starts `count` threads named `{name}-0`, `{name}-1`, … (Linux shows 15 characters), each of which runs the future
    /// that `make` returns for its index inside a `LocalSet`: `spawn_local` works in `make` and in the future. When the
    /// future is done, tasks that it spawned and did not await are cancelled.
    ///
    /// If a runtime or a thread cannot be made, no worker has begun.
    pub fn spawn<F, Fut>(name: &str, count: usize, make: F) -> io::Result<Self>
    where
        F: Fn(usize) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = ()> + 'static,
    {
        let make = Arc::new(make);
        let one_ended = CancellationToken::new();
        let mut threads = Vec::with_capacity(count);
        let mut starts = Vec::with_capacity(count);
        for index in 0..count {
            let runtime = Builder::new_current_thread().enable_all().build()?;
            let (start, started) = mpsc::channel::<()>();
            let make = Arc::clone(&make);
            let ended = one_ended.clone().drop_guard();
            let thread = thread::Builder::new()
                .name(format!("{name}-{index}"))
                .spawn(move || {
                    let _ended = ended;
                    // The sender is gone without a word when a later thread could not be made.
                    if started.recv().is_ok() {
                        LocalSet::new().block_on(&runtime, beside(move || make(index)));
                    }
                })?;
            threads.push(thread);
            starts.push(start);
        }
        for start in starts {
            // The thread is there: it waits for this message and can do nothing else before.
            let _ = start.send(());
        }
        Ok(Self { threads, one_ended })
    }

    /// Resolves when the first worker has ended, by finishing or by panic. Before a shutdown that means that the process
    /// serves with fewer threads than it was told to.
    pub fn one_ended(&self) -> impl Future<Output = ()> + Send + use<> {
        self.one_ended.clone().cancelled_owned()
    }

    /// Blocks until every worker has ended; the first panic found becomes the error.
    pub fn join(self) -> Result<(), WorkerPanicked> {
        let mut outcome = Ok(());
        for thread in self.threads {
            let worker = thread.thread().name().unwrap_or("worker").to_owned();
            if let Err(panic) = thread.join() {
                outcome = outcome.and(Err(WorkerPanicked {
                    worker,
                    message: message_of(panic.as_ref()),
                }));
            }
        }
        outcome
    }
}

/// What a `LocalSet` blocks on is polled again whenever any of its tasks has something to do: as a task, only for its own sake.
async fn beside<Fut: Future<Output = ()> + 'static>(make: impl FnOnce() -> Fut + 'static) {
    let worker = spawn_local(async move { make().await });
    if let Err(error) = worker.await
        && let Ok(panic) = error.try_into_panic()
    {
        std::panic::resume_unwind(panic);
    }
}

/// A worker thread ended by panic: our bug.
#[derive(Debug, thiserror::Error)]
#[error("worker {worker} panicked: {message}")]
pub struct WorkerPanicked {
    /// The thread's name.
    pub worker: String,
    /// What the panic said.
    pub message: String,
}

fn message_of(panic: &(dyn Any + Send)) -> String {
    let text = panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("no message").to_owned()
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::pin::Pin;
    use std::rc::Rc;
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use super::*;

    #[test]
    fn each_worker_runs_its_index_on_its_own_named_thread() {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let workers = Workers::spawn("gateway", 3, {
            let seen = Arc::clone(&seen);
            move |index| {
                let seen = Arc::clone(&seen);
                async move {
                    let name = thread::current().name().map(ToOwned::to_owned);
                    seen.lock()
                        .expect("no panic")
                        .push((index, name.expect("workers are named")));
                }
            }
        });
        workers.expect("threads start").join().expect("no panic");
        let mut seen = seen.lock().expect("no panic").clone();
        seen.sort();
        let expected = [0, 1, 2].map(|index| (index, format!("gateway-{index}")));
        assert_eq!(seen, expected);
    }

    #[test]
    fn worker_may_hold_and_spawn_what_is_not_send() {
        let workers = Workers::spawn("gateway", 1, |_| async {
            let shared = Rc::new(7);
            let task = spawn_local({
                let shared = Rc::clone(&shared);
                async move { *shared }
            });
            assert_eq!(task.await.expect("no panic"), *shared);
        });
        workers.expect("threads start").join().expect("no panic");
    }

    #[test]
    fn worker_is_not_asked_for_what_its_tasks_wait_for() {
        let asked = Arc::new(AtomicUsize::new(0));
        let workers = Workers::spawn("gateway", 1, {
            let asked = Arc::clone(&asked);
            move |_| {
                let asked = Arc::clone(&asked);
                let mut task = None;
                poll_fn(move |cx| {
                    asked.fetch_add(1, Ordering::SeqCst);
                    let task = task.get_or_insert_with(|| {
                        spawn_local(async {
                            for _ in 0..100 {
                                // Through the runtime's driver, as what comes from a socket.
                                tokio::time::sleep(Duration::from_millis(1)).await;
                            }
                        })
                    });
                    Pin::new(task)
                        .poll(cx)
                        .map(|ended| ended.expect("no panic"))
                })
            }
        });
        workers.expect("threads start").join().expect("no panic");
        assert_eq!(asked.load(Ordering::SeqCst), 2, "at first and at the end");
    }

    #[test]
    fn panic_is_reported_with_its_thread_after_all_have_ended() {
        let workers = Workers::spawn("gateway", 2, |index| async move {
            assert!(index != 1, "worker {index} fell over");
        });
        let error = workers
            .expect("threads start")
            .join()
            .expect_err("one panicked");
        assert_eq!(
            error.to_string(),
            "worker gateway-1 panicked: worker 1 fell over"
        );
    }

    #[tokio::test]
    async fn loss_of_one_worker_is_noticed_while_the_others_run() {
        let stop = CancellationToken::new();
        let workers = Workers::spawn("gateway", 2, {
            let stop = stop.clone();
            move |index| {
                let stop = stop.clone();
                async move {
                    assert!(index != 0, "fell over");
                    stop.cancelled().await;
                }
            }
        })
        .expect("threads start");
        workers.one_ended().await;
        stop.cancel();
        assert!(workers.join().is_err());
    }
}
