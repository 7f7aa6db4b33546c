//! When the process may call itself ready.
//!
//! Whatever must be up first holds a [`ReadinessGuard`], and drops it when it is up. The composition root takes all
//! guards before it shows readiness to anybody: without any guard a [`Readiness`] reads ready.

use std::sync::Arc;

use tokio::sync::watch;

/// What still stands between the process and "ready".
#[derive(Clone, Debug)]
pub struct Readiness {
    waiting: Arc<watch::Sender<Vec<&'static str>>>,
}

impl Readiness {
    /// Ready, until the first [`pending`](Self::pending).
    pub fn new() -> Self {
        Self {
            waiting: Arc::new(watch::Sender::new(Vec::new())),
        }
    }

    /// Not ready until the guard is dropped. `name` says to the operator what is waited for.
    pub fn pending(&self, name: &'static str) -> ReadinessGuard {
        self.waiting.send_modify(|waiting| waiting.push(name));
        ReadinessGuard {
            name,
            readiness: self.clone(),
        }
    }

    /// Whether no guard is held.
    pub fn is_ready(&self) -> bool {
        self.waiting.borrow().is_empty()
    }

    /// The names of the guards still held, oldest first.
    pub fn waiting_for(&self) -> Vec<&'static str> {
        self.waiting.borrow().clone()
    }

    /// Resolves when no guard is held. Cancel-safe.
    pub async fn ready(&self) {
        let mut waiting = self.waiting.subscribe();
        waiting
            .wait_for(Vec::is_empty)
            .await
            .expect("self holds the sender");
    }
}

impl Default for Readiness {
    fn default() -> Self {
        Self::new()
    }
}

/// Held by whatever is not up yet. A guard dropped by a panic stays pending: what fell over is not up.
#[derive(Debug)]
#[must_use = "the process is ready once the guard is dropped"]
pub struct ReadinessGuard {
    name: &'static str,
    readiness: Readiness,
}

impl Drop for ReadinessGuard {
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        self.readiness.waiting.send_modify(|waiting| {
            if let Some(at) = waiting.iter().position(|name| *name == self.name) {
                waiting.remove(at);
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ready_only_when_every_guard_is_dropped() {
        let readiness = Readiness::new();
        let (listeners, feed) = (readiness.pending("listeners"), readiness.pending("feed"));
        assert_eq!(readiness.waiting_for(), ["listeners", "feed"]);
        drop(listeners);
        assert!(!readiness.is_ready());
        assert_eq!(readiness.waiting_for(), ["feed"]);
        drop(feed);
        assert!(readiness.is_ready());
    }

    #[test]
    fn guards_of_one_name_are_counted() {
        let readiness = Readiness::new();
        let (first, _second) = (readiness.pending("listener"), readiness.pending("listener"));
        drop(first);
        assert_eq!(readiness.waiting_for(), ["listener"]);
    }

    #[tokio::test]
    async fn waiter_wakes_when_the_last_guard_goes() {
        let readiness = Readiness::new();
        let guard = readiness.pending("feed");
        let waiter = tokio::spawn({
            let readiness = readiness.clone();
            async move { readiness.ready().await }
        });
        tokio::task::yield_now().await;
        assert!(!waiter.is_finished());
        drop(guard);
        waiter.await.expect("no panic");
    }

    #[tokio::test]
    async fn panicked_component_is_never_ready() {
        let readiness = Readiness::new();
        let guard = readiness.pending("feed");
        let component = tokio::spawn(async move {
            let _guard = guard;
            panic!("feed fell over");
        });
        assert!(component.await.is_err());
        assert_eq!(readiness.waiting_for(), ["feed"]);
    }
}
