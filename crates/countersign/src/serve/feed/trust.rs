//! The bundles that a feed has told, on their way to the gateway's acceptors, and word of those that have arrived there.
//!
//! What was told counts nowhere until the gateway serves by it: it is not acknowledged, and the feed's age goes on growing.

use std::collections::BTreeMap;
use std::sync::Arc;

use countersign_pki::feed::Bundle;
use countersign_pki::identity::BundleName;
use tokio::sync::watch;

/// The bundles as they were told last.
#[derive(Clone, Debug, Default)]
pub(crate) struct Told {
    /// Grows with each change; what the process begins with on disk is 0.
    pub(crate) version: u64,
    pub(crate) bundles: BTreeMap<BundleName, Bundle>,
}

/// The feed's end. Cheap to clone.
#[derive(Clone)]
pub(super) struct Trusted {
    told: Arc<watch::Sender<Told>>,
    /// The version that the gateway serves by.
    in_force: watch::Receiver<u64>,
}

impl Trusted {
    pub(super) fn new(
        bundles: BTreeMap<BundleName, Bundle>,
        in_force: watch::Receiver<u64>,
    ) -> Self {
        let told = Told {
            version: 0,
            bundles,
        };
        Self {
            told: Arc::new(watch::Sender::new(told)),
            in_force,
        }
    }

    /// What was told, as it changes.
    pub(super) fn told(&self) -> watch::Receiver<Told> {
        self.told.subscribe()
    }

    /// What all of them are once `bundle` is this; others stay.
    pub(super) fn with(&self, bundle: Bundle) -> BTreeMap<BundleName, Bundle> {
        let mut bundles = self.told.borrow().bundles.clone();
        bundles.insert(bundle.name.clone(), bundle);
        bundles
    }

    /// These and no others are told from now on.
    pub(super) fn tell(&self, bundles: BTreeMap<BundleName, Bundle>) {
        self.told.send_if_modified(|told| {
            let changes = told.bundles != bundles;
            if changes {
                told.version += 1;
                told.bundles = bundles;
            }
            changes
        });
    }

    /// Whether the gateway serves by what was told last.
    pub(super) fn is_in_force(&self) -> bool {
        *self.in_force.borrow() >= self.told.borrow().version
    }

    /// Until the gateway serves by what has been told up to now, or by something later.
    pub(super) fn in_force(&self) -> impl Future<Output = ()> + Send + use<> {
        let version = self.told.borrow().version;
        let mut in_force = self.in_force.clone();
        async move {
            if in_force.wait_for(|it| *it >= version).await.is_err() {
                // Nothing serves any more, and nothing is in force.
                std::future::pending::<()>().await;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::pin::{Pin, pin};
    use std::task::{Context, Waker};

    use super::*;

    fn is_done(future: Pin<&mut impl Future>) -> bool {
        future
            .poll(&mut Context::from_waker(Waker::noop()))
            .is_ready()
    }

    fn bundle(trust_domain: &str) -> Bundle {
        let domain = trust_domain.parse().expect("a trust domain");
        Bundle::new(BundleName::internal(), Some(domain), &[], &[])
    }

    #[test]
    fn each_change_is_waited_for_and_a_later_one_speaks_for_those_before() {
        let (gateway, in_force) = watch::channel(0);
        let first = Trusted::new(BTreeMap::new(), in_force.clone()).with(bundle("a.example"));
        let trusted = Trusted::new(first.clone(), in_force);
        assert!(trusted.is_in_force());
        trusted.tell(first);
        assert!(trusted.is_in_force(), "nothing has changed");
        let told = |name: &str| {
            trusted.tell(trusted.with(bundle(name)));
            trusted.in_force()
        };
        let (second, mut third) = (pin!(told("b.example")), pin!(told("c.example")));
        assert!(!trusted.is_in_force());
        gateway.send_replace(1);
        assert!(is_done(second));
        assert!(!is_done(third.as_mut()) && !trusted.is_in_force());
        let skipped = pin!(told("d.example"));
        gateway.send_replace(3);
        assert!(is_done(third) && is_done(skipped));
        assert!(trusted.is_in_force());
        let last = pin!(told("e.example"));
        drop(gateway);
        assert!(!is_done(last), "nobody serves by it");
    }
}
