//! What the log has to say of bundles and their lists.

use countersign_pki::fingerprint::Fingerprint;
use countersign_pki::identity::BundleName;

use super::HeldBundle;
use super::obtaining::HeldSource;

impl HeldBundle {
    /// An event for each anchor that came or went; whether there was one.
    pub(super) fn tell_change(&self, name: &BundleName, before: Option<&Self>) -> bool {
        let of = |bundle: &Self| -> Vec<(Fingerprint, String)> {
            let anchors = bundle.trusted.bundle.anchors().iter();
            anchors
                .map(|it| (it.fingerprint(), it.subject().to_string()))
                .collect()
        };
        let (now, then) = (of(self), before.map(of).unwrap_or_default());
        let mut is_changed = false;
        for (fingerprint, subject) in now.iter().filter(|it| !then.contains(it)) {
            is_changed = true;
            tracing::info!(target: "trust", bundle = %name, %fingerprint, subject, "anchor trusted");
        }
        for (fingerprint, subject) in then.iter().filter(|it| !now.contains(it)) {
            is_changed = true;
            tracing::warn!(target: "trust", bundle = %name, %fingerprint, subject, "anchor trusted no more");
        }
        is_changed
    }
}

pub(super) fn tell_lists(bundle: &BundleName, next: &HeldSource, before: &HeldSource) {
    for list in next.given() {
        let earlier = before.lists.iter().find(|it| list.is_of_the_same(it));
        // Certificates that expired leave a list, and holds are taken back; the CA is the one to know.
        let left_out = earlier.map_or(0, |earlier| list.left_out(earlier));
        tracing::info!(
            target: "trust",
            %bundle,
            source = %next.source,
            issuer = list.issuer(),
            number = list.number(),
            revoked = list.len(),
            left_out,
            next_update = %list.next_update(),
            "revocation list in force"
        );
    }
}

/// Of a source that something is held of.
pub(super) fn tell_failure(bundle: &BundleName, source: &HeldSource, contact: &str) {
    if let Some(error) = &source.failure {
        tracing::error!(target: "trust", %bundle, source = %source.source, contact, error, hint = FAILURE_HINT, "no new revocation list: the one that is held stays until its end");
    }
}

/// Nothing but its CA's word could say that a list is rightly gone.
const FAILURE_HINT: &str = "ask whoever publishes it for all of its lists; if its CA makes that list no more, take the source out of crl, reload, and put it in again";
