//! What the lines of a feed's state add up to, whatever histories they come from.

use std::collections::{BTreeMap, BTreeSet};

use countersign_pki::feed::{Body, Bundle, Frame, Head, Message, OutOfOrder, Position, Revoked};
use countersign_pki::fingerprint::Fingerprint;
use countersign_pki::identity::BundleName;
use countersign_pki::revocation::RevocationIndex;
use countersign_pki::serial::SerialNumber;

use super::{Earlier, Held};
use crate::earlier_holds::EarlierHolds;

/// What lines add up to.
#[derive(Default)]
pub(super) struct Sum {
    position: Option<Position>,
    /// Of a snapshot whose end has not come: its revocations count, its place does not.
    opening: Option<Opening>,
    bundles: BTreeMap<BundleName, Bundle>,
    revoked: Vec<Revoked>,
    /// Where the history before was left.
    earlier: Option<Position>,
    earlier_holds: EarlierHolds,
}

/// A snapshot that has begun.
struct Opening {
    head: Head,
    /// How many of the sum's revocations stood before it.
    before: usize,
}

impl Sum {
    pub(super) fn add(&mut self, frame: Frame) -> Result<(), OutOfOrder> {
        match frame {
            Frame::Snapshot(head) => {
                let before = self.revoked.len();
                self.opening = Some(Opening { head, before });
            }
            Frame::Revoked(part) => self.revoked.extend(part),
            Frame::Complete { .. } => {
                if let Some(Opening { head, before }) = self.opening.take() {
                    self.release_what_is_missing(&head, before);
                    self.begin(head)?;
                }
            }
            Frame::Resumed(head) => self.begin(head)?,
            Frame::Message(message) => self.hear(message)?,
        }
        Ok(())
    }

    /// A hold that a snapshot of the same history does not have was released; in another history nobody has released what
    /// that one does not know (invariant 5).
    fn release_what_is_missing(&mut self, head: &Head, before: usize) {
        let told = self.revoked.split_off(before);
        let other = (self.position.as_ref()).filter(|before| *before.history() != head.history);
        if let Some(position) = other {
            self.earlier = Some(position.clone());
            let in_force = RevocationIndex::new(self.revoked.iter().copied());
            self.earlier_holds.begin(Some(&in_force), &told);
        } else {
            self.earlier_holds.begin(None, &told);
            let earlier = &self.earlier_holds;
            (self.revoked).retain(|it| !it.reason.is_hold() || earlier.holds(it));
        }
        self.revoked.extend(told);
    }

    fn begin(&mut self, head: Head) -> Result<(), OutOfOrder> {
        self.position = Some(match &self.position {
            Some(position) => position.rejoin(&head)?,
            None => Position::of(&head),
        });
        self.bundles = head
            .bundles
            .into_iter()
            .map(|bundle| (bundle.name.clone(), bundle))
            .collect();
        Ok(())
    }

    fn hear(&mut self, message: Message) -> Result<(), OutOfOrder> {
        let position = self.position.take().ok_or(OutOfOrder::OtherHistory)?;
        self.position = Some(position.advance(&message)?);
        self.revoked.extend(message.body.revoked());
        self.earlier_holds.hear(&message.body);
        match message.body {
            Body::Released { certificates } => {
                let released: BTreeSet<_> = (certificates.iter())
                    .map(|it| (it.issuer_key, it.serial))
                    .collect();
                self.revoked.retain(|it| {
                    !it.reason.is_hold() || !released.contains(&(it.issuer_key, it.serial))
                });
            }
            Body::Bundle(bundle) => {
                self.bundles.insert(bundle.name.clone(), bundle);
            }
            Body::Confirmed {} | Body::Revoked(_) | Body::RevokedTogether { .. } => {}
        }
        Ok(())
    }

    pub(super) fn finish(self) -> Option<Held> {
        let position = self.position?;
        // The first word stands, but for a hold: what replaced it came later.
        let mut revoked: BTreeMap<(Fingerprint, SerialNumber), Revoked> = BTreeMap::new();
        for it in self.revoked {
            let known = revoked.entry((it.issuer_key, it.serial)).or_insert(it);
            if known.reason.is_hold() {
                *known = it;
            }
        }
        Some(Held {
            position,
            bundles: self.bundles.into_values().collect(),
            revoked: revoked.into_values().collect(),
            earlier: self.earlier.map(|position| Earlier {
                position,
                holds: self.earlier_holds.to_vec(),
            }),
        })
    }
}
