//! Open connections: whose they are, how they are cut, and when they have ended.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use countersign_pki::identity::VerifiedPeer;
use countersign_pki::time::UnixTime;
use tokio::sync::{Notify, mpsc};

/// Tells a connection's task that its access was withdrawn. The last clone's drop tells that the task has ended.
#[derive(Clone)]
pub struct Lifeline {
    life: Arc<Life>,
}

impl Lifeline {
    /// Resolves when access is withdrawn. Cancel-safe.
    pub async fn cut(&self) {
        // Made before the look at the flag, so that a cut between the two still wakes it.
        let woken = self.life.woken.notified();
        if !self.is_cut() {
            woken.await;
        }
    }

    /// Checked before each request, so that none passes after the withdrawal.
    pub fn is_cut(&self) -> bool {
        self.life.is_cut.load(Ordering::SeqCst)
    }
}

/// Every open connection of the process.
#[derive(Default)]
pub(crate) struct Registry {
    // Each guards its own part of the map only; by id, so that workers rarely meet.
    shards: [Mutex<HashMap<u64, Entry>>; SHARDS],
    next_id: AtomicU64,
}

struct Entry {
    life: Weak<Life>,
    ends: UnixTime,
}

/// What the peer is to us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Client,
    Server,
}

/// One per connection; it counts towards the memory of an idle one.
struct Life {
    id: u64,
    registry: Arc<Registry>,
    listener: Arc<str>,
    peer: Option<Arc<VerifiedPeer>>,
    side: Side,
    is_cut: AtomicBool,
    woken: Notify,
    // Guards nothing but the list. Dropped with the life: that is what those who cut it wait for.
    awaited_by: Mutex<Vec<mpsc::Sender<Infallible>>>,
}

/// Connections that were told to end.
pub(crate) struct Cut {
    pub(crate) count: u64,
    ended: mpsc::Receiver<Infallible>,
}

impl Registry {
    /// From here on the connection is found by [`Registry::cut`].
    pub(crate) fn register(
        self: &Arc<Self>,
        listener: Arc<str>,
        peer: Option<Arc<VerifiedPeer>>,
        side: Side,
    ) -> Lifeline {
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        let ends = peer.as_ref().map_or(UnixTime::MAX, |peer| peer.not_after());
        let life = Arc::new(Life {
            id,
            registry: Arc::clone(self),
            listener,
            peer,
            side,
            is_cut: AtomicBool::new(false),
            woken: Notify::new(),
            awaited_by: Mutex::default(),
        });
        self.shard(id).insert(
            id,
            Entry {
                life: Arc::downgrade(&life),
                ends,
            },
        );
        Lifeline { life }
    }

    /// Cuts those for whom `doomed` says yes.
    pub(crate) fn cut(&self, doomed: impl Fn(&str, Option<&VerifiedPeer>) -> bool) -> Cut {
        self.cut_where(
            |_| true,
            |life| doomed(&life.listener, life.peer.as_deref()),
        )
    }

    /// Cuts those whose certificate has ended.
    pub(crate) fn cut_expired(&self, now: UnixTime) -> Cut {
        // RFC 5280 §4.1.2.5: the last second still counts.
        self.cut_where(|entry| entry.ends < now, |_| true)
    }

    /// The clients for whom `wanted` says yes, each certificate once.
    pub(crate) fn clients(&self, wanted: impl Fn(&VerifiedPeer) -> bool) -> Vec<Arc<VerifiedPeer>> {
        let mut found = HashMap::new();
        for shard in &self.shards {
            // As when they are cut: no life may be dropped under the lock.
            let lives: Vec<_> = (lock(shard).values())
                .filter_map(|entry| entry.life.upgrade())
                .collect();
            let clients = lives.iter().filter(|life| life.side == Side::Client);
            for peer in clients.filter_map(|life| life.peer.as_ref()) {
                if wanted(peer) {
                    let known = (peer.bundle().clone(), peer.fingerprint());
                    found.entry(known).or_insert_with(|| Arc::clone(peer));
                }
            }
        }
        found.into_values().collect()
    }

    pub(crate) fn len(&self) -> usize {
        self.shards.iter().map(|shard| lock(shard).len()).sum()
    }

    fn cut_where(&self, candidate: impl Fn(&Entry) -> bool, doomed: impl Fn(&Life) -> bool) -> Cut {
        let (awaited_by, ended) = mpsc::channel(1);
        let mut count = 0;
        for shard in &self.shards {
            // The drop of a life takes the shard's lock, so none may happen while it is held.
            let lives: Vec<_> = lock(shard)
                .values()
                .filter(|entry| candidate(entry))
                .filter_map(|entry| entry.life.upgrade())
                .collect();
            for life in lives.into_iter().filter(|life| doomed(life)) {
                let mut waiting = lock(&life.awaited_by);
                // Who asks again and again about a task that does not end leaves nothing behind.
                waiting.retain(|earlier| !earlier.is_closed());
                waiting.push(awaited_by.clone());
                drop(waiting);
                if !life.is_cut.swap(true, Ordering::SeqCst) {
                    count += 1;
                    life.woken.notify_waiters();
                }
            }
        }
        Cut { count, ended }
    }

    fn shard(&self, id: u64) -> MutexGuard<'_, HashMap<u64, Entry>> {
        let index = usize::try_from(id % SHARDS as u64).expect("below the number of shards");
        lock(&self.shards[index])
    }
}

impl Cut {
    /// Resolves when the last of them has ended.
    pub(crate) async fn ended(&mut self) {
        // Nothing is ever sent: the channel closes when every life that holds an end of it is gone.
        let _: Option<Infallible> = self.ended.recv().await;
    }

    /// How many of them have not ended.
    pub(crate) fn still_open(&self) -> u64 {
        // Each holds one end.
        self.ended.sender_strong_count() as u64
    }
}

impl Drop for Life {
    fn drop(&mut self) {
        self.registry.shard(self.id).remove(&self.id);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing under these locks can panic half-way; a poisoned one is as good as any.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Some times the number of workers.
const SHARDS: usize = 16;

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    use super::*;

    fn poll<F: Future>(future: std::pin::Pin<&mut F>) -> Poll<F::Output> {
        future.poll(&mut Context::from_waker(Waker::noop()))
    }

    #[test]
    fn a_cut_reaches_its_listener_only_and_ends_with_the_last_clone() {
        let registry = Arc::new(Registry::default());
        let (one, other) = (
            registry.register("one".into(), None, Side::Client),
            registry.register("other".into(), None, Side::Client),
        );
        let clone = one.clone();
        let mut told = pin!(one.cut());
        assert!(poll(told.as_mut()).is_pending());
        let mut cut = registry.cut(|listener, _| listener == "one");
        assert_eq!((cut.count, one.is_cut(), other.is_cut()), (1, true, false));
        assert!(poll(told.as_mut()).is_ready());
        let mut ended = pin!(cut.ended());
        assert!(poll(ended.as_mut()).is_pending());
        drop(clone);
        assert!(poll(ended.as_mut()).is_pending());
        assert_eq!(registry.len(), 2);
    }

    #[test]
    fn who_cuts_again_waits_too_and_counts_nothing() {
        let registry = Arc::new(Registry::default());
        let lifeline = registry.register("one".into(), None, Side::Client);
        let (mut first, mut second) = (registry.cut(|_, _| true), registry.cut(|_, _| true));
        assert_eq!((first.count, second.count), (1, 0));
        for cut in [&mut first, &mut second] {
            assert!(poll(pin!(cut.ended())).is_pending());
            assert_eq!(cut.still_open(), 1);
        }
        drop(lifeline);
        for cut in [&mut first, &mut second] {
            assert!(poll(pin!(cut.ended())).is_ready());
            assert_eq!(cut.still_open(), 0);
        }
        assert_eq!(registry.len(), 0);
    }

    #[test]
    fn who_asks_again_and_again_leaves_nothing_behind() {
        let registry = Arc::new(Registry::default());
        let lifeline = registry.register("one".into(), None, Side::Client);
        for _ in 0..10 {
            drop(registry.cut(|_, _| true));
        }
        assert_eq!(lock(&lifeline.life.awaited_by).len(), 1);
    }

    #[test]
    fn nobody_to_cut_is_nobody_to_wait_for() {
        let registry = Arc::new(Registry::default());
        let _kept = registry.register("one".into(), None, Side::Client);
        assert!(poll(pin!(registry.cut(|_, _| false).ended())).is_ready());
        assert!(poll(pin!(registry.cut_expired(UnixTime::MAX).ended())).is_ready());
    }
}
