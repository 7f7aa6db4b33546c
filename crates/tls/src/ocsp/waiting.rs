//! Those who wait for answers, bounded by bundle and by certificate: one bundle's clients take no place of another's.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use countersign_pki::fingerprint::Fingerprint;
use countersign_pki::identity::{BundleName, VerifiedPeer};

use super::lock;

/// How many wait.
#[derive(Default)]
pub(super) struct Queue {
    // Guards nothing but the map, which holds those who wait and nobody else.
    by_bundle: Mutex<BTreeMap<BundleName, BTreeMap<Fingerprint, usize>>>,
}

/// A place, given back when this is dropped.
pub(super) struct Waiting {
    queue: Arc<Queue>,
    bundle: BundleName,
    certificate: Fingerprint,
}

impl Queue {
    /// `None`: there is no place.
    pub(super) fn enter(queue: &Arc<Self>, peer: &VerifiedPeer) -> Option<Waiting> {
        Self::enter_as(queue, peer.bundle(), peer.fingerprint())
    }

    fn enter_as(
        queue: &Arc<Self>,
        bundle: &BundleName,
        certificate: Fingerprint,
    ) -> Option<Waiting> {
        let mut by_bundle = lock(&queue.by_bundle);
        let of_bundle = by_bundle.entry(bundle.clone()).or_default();
        let all: usize = of_bundle.values().sum();
        let same = of_bundle.get(&certificate).copied().unwrap_or_default();
        if all >= MAX_OF_BUNDLE || same >= MAX_OF_CERTIFICATE {
            return None;
        }
        of_bundle.insert(certificate, same + 1);
        Some(Waiting {
            queue: Arc::clone(queue),
            bundle: bundle.clone(),
            certificate,
        })
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let mut by_bundle = lock(&self.queue.by_bundle);
        let Some(of_bundle) = by_bundle.get_mut(&self.bundle) else {
            return;
        };
        if let Some(same) = of_bundle.get_mut(&self.certificate) {
            *same -= 1;
            if *same == 0 {
                of_bundle.remove(&self.certificate);
            }
        }
        if of_bundle.is_empty() {
            by_bundle.remove(&self.bundle);
        }
    }
}

/// Connections that wait, each with its socket; as many as handshakes may be unfinished on a listener.
const MAX_OF_BUNDLE: usize = 1024;
/// Clients that share a certificate and come back at once; each is woken by the one answer.
const MAX_OF_CERTIFICATE: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_certificate_and_one_bundle_leave_places_to_others_and_give_theirs_back() {
        let queue = Arc::new(Queue::default());
        let (acme, other) = (
            BundleName::parse("acme").expect("a name"),
            BundleName::parse("other").expect("a name"),
        );
        let print = |number: usize| {
            let mut bytes = [0; 32];
            bytes[..8].copy_from_slice(&number.to_be_bytes());
            Fingerprint::from_bytes(bytes)
        };
        let enter = |bundle, number| Queue::enter_as(&queue, bundle, print(number));
        let mut held: Vec<_> = (0..MAX_OF_CERTIFICATE)
            .map(|_| enter(&acme, 0).expect("a place"))
            .collect();
        assert!(enter(&acme, 0).is_none());
        let more = MAX_OF_BUNDLE - held.len();
        held.extend((1..=more).map(|number| enter(&acme, number).expect("a place")));
        assert!(enter(&acme, more + 1).is_none());
        drop(enter(&other, 0).expect("a place of its own"));
        held.pop();
        drop(enter(&acme, more + 1).expect("a place was given back"));
        held.clear();
        assert!(lock(&queue.by_bundle).is_empty());
    }
}
