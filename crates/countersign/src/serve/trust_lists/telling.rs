//! What the log has to say of bundles and their lists.

use std::time::Duration;

use countersign_diagnose::cause::Cause;
use countersign_pki::fingerprint::Fingerprint;
use countersign_pki::identity::BundleName;
use countersign_pki::time::spoken;
use tokio::time::Instant;

use super::obtaining::HeldSource;
use super::{HeldBundle, TrustLists};

impl TrustLists {
    /// Somebody is told of what ends soon, once a day.
    pub(super) fn give_notice(&self) {
        let now = self.now();
        let mut held = self.held();
        let mut ends = Vec::new();
        for (name, bundle) in &held.bundles {
            let contact = bundle.trusted.contact.clone().unwrap_or_default();
            for (what, end) in bundle.ending(now) {
                ends.push((name.clone(), what, end, contact.clone()));
            }
        }
        for (bundle, what, end, contact) in ends {
            // Its end is news, whatever was told before it.
            let key = format!("{bundle} {what} {}", now < end);
            if (held.told.get(&key)).is_some_and(|told| now < told.plus(DAY)) {
                continue;
            }
            held.told.insert(key, now);
            let left = spoken(end.since(now));
            if now < end {
                tracing::warn!(target: "trust", %bundle, what, %end, left, contact, "trust ends soon");
            } else {
                tracing::error!(target: "trust", %bundle, what, %end, contact, "trust is over");
            }
        }
    }

    /// A line a minute, however many there are.
    pub(super) fn tell_unchecked(&self) {
        let mut held = self.held();
        let names: Vec<_> = held.bundles.keys().cloned().collect();
        for bundle in names {
            let admitted = self.shared.enforcement.unchecked(&bundle);
            let told = held.unchecked_told.get(&bundle);
            let (before, at) = told.map_or((0, None), |(before, at)| (*before, Some(*at)));
            if admitted == before || at.is_some_and(|at| at.elapsed() < MINUTE) {
                continue;
            }
            held.unchecked_told
                .insert(bundle.clone(), (admitted, Instant::now()));
            let cause = Cause::RevocationNotChecked.slug();
            tracing::error!(target: "trust", %bundle, cause, admitted = admitted - before, fix = Cause::RevocationNotChecked.fix(), "admitted without a fresh revocation list or OCSP answer");
        }
    }
}

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

const MINUTE: Duration = Duration::from_mins(1);
const DAY: Duration = Duration::from_hours(24);
