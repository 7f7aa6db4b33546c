//! The feed: what the authority tells gateways and agents, in order, and what they answer. Wire types and the
//! receiver's state machine; the transport is elsewhere.

mod assembly;
mod bundle;
mod event_stream;
mod frame;
pub mod port;

use std::sync::Arc;

use serde::{Deserialize, Serialize, Serializer};

pub use self::assembly::{Assembly, Garbled, Told};
pub use self::bundle::{Bundle, Der, InvalidDer, UnusableBundle};
pub use self::event_stream::{EventStream, EventTooLong, KEEP_ALIVE, MAX_EVENT_BYTES, event};
pub use self::frame::{AcknowledgementOf, Frame, Head, MAX_PART};

use crate::fingerprint::Fingerprint;
use crate::serial::SerialNumber;
use crate::time::UnixTime;

/// One line of an authority's story: a fresh or restored authority starts a new one.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct HistoryId(pub String);

/// A position in a history; strictly increasing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Sequence(pub u64);

/// One message of the feed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Message {
    /// Which history it belongs to.
    pub history: HistoryId,
    /// Its place there.
    pub sequence: Sequence,
    /// When the authority said it.
    pub at: UnixTime,
    /// What it says.
    pub body: Body,
}

/// What a message says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Body {
    /// Nothing happened; what the node holds is confirmed as of `at`.
    // In a variant without braces serde overlooks fields that it does not know.
    Confirmed {},
    /// A certificate is no longer good.
    Revoked(Revoked),
    /// Neither is any of these: one revocation of many certificates, in force and acknowledged as one.
    RevokedTogether {
        /// Which.
        certificates: Batch<Revoked>,
    },
    /// These were on hold, and are good again. Says nothing about one that is revoked for good.
    Released {
        /// Which.
        certificates: Batch<Released>,
    },
    /// The anchors of a bundle are now exactly these.
    Bundle(Bundle),
}

impl Body {
    /// What it revokes, or puts on hold.
    pub fn revoked(&self) -> &[Revoked] {
        match self {
            Self::Revoked(revoked) => std::slice::from_ref(revoked),
            Self::RevokedTogether { certificates } => &certificates.0,
            Self::Bundle { .. } | Self::Confirmed {} | Self::Released { .. } => &[],
        }
    }
}

/// A revocation as nodes need it: by the key that issued, so that a renamed issuer hides nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Revoked {
    /// SHA-256 of the issuer's `SubjectPublicKeyInfo`.
    pub issuer_key: Fingerprint,
    /// The certificate's serial number.
    pub serial: SerialNumber,
    /// Why (RFC 5280 §5.3.1).
    pub reason: RevocationReason,
    /// Since when.
    pub revoked_at: UnixTime,
}

/// A certificate that was on hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Released {
    /// SHA-256 of the issuer's `SubjectPublicKeyInfo`.
    pub issuer_key: Fingerprint,
    /// The certificate's serial number.
    pub serial: SerialNumber,
}

/// What one message may hold: 1 to [`MAX_BATCH`]. Cheap to clone: every node's queue has the one copy.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Vec<T>", bound = "T: Deserialize<'de>")]
pub struct Batch<T>(Arc<[T]>);

impl<T> Batch<T> {
    /// One after the other.
    pub fn iter(&self) -> std::slice::Iter<'_, T> {
        self.0.iter()
    }
}

impl<T: Serialize> Serialize for Batch<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.iter())
    }
}

impl<'a, T> IntoIterator for &'a Batch<T> {
    type Item = &'a T;
    type IntoIter = std::slice::Iter<'a, T>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl<T> TryFrom<Vec<T>> for Batch<T> {
    type Error = InvalidBatch;

    fn try_from(items: Vec<T>) -> Result<Self, InvalidBatch> {
        if (1..=MAX_BATCH).contains(&items.len()) {
            Ok(Self(items.into()))
        } else {
            Err(InvalidBatch { count: items.len() })
        }
    }
}

/// Too many certificates for one message, or none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a message of the feed is about 1 to {MAX_BATCH} certificates, not {count}")]
pub struct InvalidBatch {
    /// How many.
    pub count: usize,
}

/// Certificates of one message: 180 KiB of JSON. A hundred thousand of them are a hundred messages, which is less than
/// what a node may be behind.
pub const MAX_BATCH: usize = 1000;

/// RFC 5280 §5.3.1, without those that need an indirect or a delta CRL.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RevocationReason {
    /// Code 0; left out of the CRL entry, as the RFC asks.
    #[default]
    Unspecified,
    /// Code 1.
    KeyCompromise,
    /// Code 2.
    CaCompromise,
    /// Code 3.
    AffiliationChanged,
    /// Code 4.
    Superseded,
    /// Code 5.
    CessationOfOperation,
    /// Code 6: not good for now. The only one that can be released, or become one of the others.
    CertificateHold,
    /// Code 9.
    PrivilegeWithdrawn,
}

impl RevocationReason {
    /// Every reason that can be given.
    pub const ALL: [Self; 8] = [
        Self::Unspecified,
        Self::KeyCompromise,
        Self::CaCompromise,
        Self::AffiliationChanged,
        Self::Superseded,
        Self::CessationOfOperation,
        Self::CertificateHold,
        Self::PrivilegeWithdrawn,
    ];

    /// The key was given away: nothing is certified for it again, however long ago that was.
    pub const fn is_compromise(self) -> bool {
        matches!(self, Self::KeyCompromise | Self::CaCompromise)
    }

    /// Whether it can be released.
    pub const fn is_hold(self) -> bool {
        matches!(self, Self::CertificateHold)
    }

    /// The `CRLReason` code.
    pub const fn code(self) -> u8 {
        match self {
            Self::Unspecified => 0,
            Self::KeyCompromise => 1,
            Self::CaCompromise => 2,
            Self::AffiliationChanged => 3,
            Self::Superseded => 4,
            Self::CessationOfOperation => 5,
            Self::CertificateHold => 6,
            Self::PrivilegeWithdrawn => 9,
        }
    }

    /// The word on the command line and in JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unspecified => "unspecified",
            Self::KeyCompromise => "key-compromise",
            Self::CaCompromise => "ca-compromise",
            Self::AffiliationChanged => "affiliation-changed",
            Self::Superseded => "superseded",
            Self::CessationOfOperation => "cessation-of-operation",
            Self::CertificateHold => "certificate-hold",
            Self::PrivilegeWithdrawn => "privilege-withdrawn",
        }
    }
}

impl std::fmt::Display for RevocationReason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

impl std::str::FromStr for RevocationReason {
    type Err = InvalidReason;

    fn from_str(text: &str) -> Result<Self, InvalidReason> {
        Self::ALL
            .into_iter()
            .find(|reason| reason.as_str() == text)
            .ok_or(InvalidReason)
    }
}

/// The word is no revocation reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "a reason is unspecified, key-compromise, ca-compromise, affiliation-changed, superseded, cessation-of-operation, certificate-hold or privilege-withdrawn"
)]
pub struct InvalidReason;

/// Everything up to a position, for a node that joins.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Snapshot {
    /// Which history.
    pub history: HistoryId,
    /// Up to here.
    pub sequence: Sequence,
    /// When it was true.
    pub at: UnixTime,
    /// Every revocation in force.
    pub revoked: Vec<Revoked>,
}

/// A node's word that a message is in force there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Acknowledgement {
    /// Who says it.
    pub node: String,
    /// Which history.
    pub history: HistoryId,
    /// Everything up to here is in force.
    pub sequence: Sequence,
    /// Resumable sessions that this message took away.
    pub sessions_declined: u64,
    /// Open connections that this message cut.
    pub connections_cut: u64,
}

/// Where a node stands in the authority's history.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Position {
    history: HistoryId,
    sequence: Sequence,
    confirmed_at: UnixTime,
}

impl Position {
    /// A node begins at a snapshot.
    pub fn at(snapshot: &Snapshot) -> Self {
        Self {
            history: snapshot.history.clone(),
            sequence: snapshot.sequence,
            confirmed_at: snapshot.at,
        }
    }

    /// Takes the next message. A feed that goes back, jumps, or tells another history is refused (invariant 5):
    /// the node keeps what it holds and asks for a snapshot.
    pub fn advance(self, message: &Message) -> Result<Self, OutOfOrder> {
        if message.history != self.history {
            return Err(OutOfOrder::OtherHistory);
        }
        let confirmation =
            matches!(message.body, Body::Confirmed {}) && message.sequence == self.sequence;
        if !confirmation && message.sequence <= self.sequence {
            return Err(OutOfOrder::Older {
                held: self.sequence.0,
                told: message.sequence.0,
            });
        }
        if message.sequence.0 > self.sequence.0 + 1 {
            return Err(OutOfOrder::Gap {
                held: self.sequence.0,
                told: message.sequence.0,
            });
        }
        let confirmed_at = self.confirmed_at.max(message.at);
        Ok(Self {
            history: self.history,
            sequence: message.sequence,
            confirmed_at,
        })
    }

    /// Takes a new beginning: the same history at or after the place that is held, or another one that begins past it.
    /// A restored authority continues at max(last + 1, Unix seconds), so what begins before is an old one come back
    /// (invariant 5).
    pub fn rejoin(&self, head: &Head) -> Result<Self, OutOfOrder> {
        let told = head.sequence;
        let (sequence, is_same) = (self.sequence, head.history == self.history);
        if is_same && told < sequence {
            return Err(OutOfOrder::Older {
                held: sequence.0,
                told: told.0,
            });
        }
        if !is_same && told <= sequence {
            return Err(OutOfOrder::OlderHistory {
                held: sequence.0,
                told: told.0,
            });
        }
        Ok(Self {
            confirmed_at: self.confirmed_at.max(head.at),
            ..Self::of(head)
        })
    }

    /// A node that holds nothing begins there.
    pub fn of(head: &Head) -> Self {
        Self {
            history: head.history.clone(),
            sequence: head.sequence,
            confirmed_at: head.at,
        }
    }

    /// The history.
    pub fn history(&self) -> &HistoryId {
        &self.history
    }

    /// The last message that is in force.
    pub fn sequence(&self) -> Sequence {
        self.sequence
    }

    /// When the authority was last heard.
    pub fn confirmed_at(&self) -> UnixTime {
        self.confirmed_at
    }
}

/// Why a message is not the next one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum OutOfOrder {
    /// Messages are missing in between.
    #[error("feed jumps from {held} to {told}")]
    Gap {
        /// What the node holds.
        held: u64,
        /// What it was told.
        told: u64,
    },
    /// The authority goes back.
    #[error("feed goes back from {held} to {told}")]
    Older {
        /// What the node holds.
        held: u64,
        /// What it was told.
        told: u64,
    },
    /// A new history that does not begin past the place that is held.
    #[error(
        "feed tells a new history that begins at {told}, not past {held}, which this node holds of the old one"
    )]
    OlderHistory {
        /// What the node holds.
        held: u64,
        /// Where the new history stands.
        told: u64,
    },
    /// A restored or foreign authority.
    #[error("feed tells another history")]
    OtherHistory,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::BundleName;

    fn message(history: &str, sequence: u64, body: Body) -> Message {
        Message {
            history: HistoryId(history.to_owned()),
            sequence: Sequence(sequence),
            at: UnixTime::from_seconds(100 + sequence),
            body,
        }
    }

    fn position() -> Position {
        Position::at(&Snapshot {
            history: HistoryId("a".to_owned()),
            sequence: Sequence(5),
            at: UnixTime::from_seconds(50),
            revoked: vec![],
        })
    }

    #[test]
    fn a_message_is_about_one_to_a_thousand_certificates() {
        let released = Released {
            issuer_key: Fingerprint::of(b"key"),
            serial: SerialNumber::from_random([1; 20]),
        };
        for count in [0, 1, MAX_BATCH, MAX_BATCH + 1] {
            let is_good = (1..=MAX_BATCH).contains(&count);
            assert_eq!(Batch::try_from(vec![released; count]).is_ok(), is_good);
            let wire =
                serde_json::json!({ "type": "released", "certificates": vec![released; count] });
            assert_eq!(
                serde_json::from_value::<Body>(wire).is_ok(),
                is_good,
                "{count}"
            );
        }
    }

    #[test]
    fn field_that_this_version_does_not_know_is_an_error_in_every_body() {
        let revoked = serde_json::json!({
            "issuer_key": Fingerprint::of(b"key"), "serial": SerialNumber::from_random([1; 20]),
            "reason": "unspecified", "revoked_at": UnixTime::from_seconds(1),
        });
        let mut typed = revoked.clone();
        typed["type"] = "revoked".into();
        for body in [
            serde_json::json!({ "type": "confirmed" }),
            typed,
            serde_json::json!({ "type": "revoked-together", "certificates": [revoked] }),
            serde_json::json!({ "type": "bundle", "name": "internal", "anchors": [] }),
        ] {
            let read = |body| serde_json::from_value::<Body>(body);
            assert!(read(body.clone()).is_ok(), "{body}");
            let mut more = body.clone();
            more["withdrawn"] = true.into();
            assert!(read(more.clone()).is_err(), "{more}");
        }
    }

    fn bundle() -> Body {
        Body::Bundle(Bundle::new(BundleName::internal(), None, &[], &[]))
    }

    #[test]
    fn the_next_message_moves_on_and_a_confirmation_stays() {
        let next = position()
            .advance(&message("a", 6, bundle()))
            .expect("next");
        assert_eq!(next.sequence(), Sequence(6));
        let confirmed = next
            .advance(&message("a", 6, Body::Confirmed {}))
            .expect("confirmation");
        assert_eq!(
            (confirmed.sequence(), confirmed.confirmed_at()),
            (Sequence(6), UnixTime::from_seconds(106))
        );
    }

    #[test]
    fn a_new_beginning_never_lies_before_the_place_that_is_held() {
        let rejoined = |history: &str, sequence| {
            let head = Head {
                place: 1,
                history: HistoryId(history.to_owned()),
                sequence: Sequence(sequence),
                at: UnixTime::from_seconds(40),
                bundles: Vec::new(),
            };
            position().rejoin(&head).map(|position| {
                // An authority whose clock went back does not make older what was heard before.
                assert_eq!(position.confirmed_at(), UnixTime::from_seconds(50));
                (position.history().0.clone(), position.sequence().0)
            })
        };
        assert_eq!(rejoined("a", 5), Ok(("a".to_owned(), 5)));
        assert_eq!(rejoined("a", 9), Ok(("a".to_owned(), 9)));
        assert_eq!(rejoined("b", 6), Ok(("b".to_owned(), 6)));
        assert_eq!(
            rejoined("a", 4),
            Err(OutOfOrder::Older { held: 5, told: 4 })
        );
        for told in [5, 4] {
            assert_eq!(
                rejoined("b", told),
                Err(OutOfOrder::OlderHistory { held: 5, told })
            );
        }
    }

    #[test]
    fn a_feed_that_goes_back_jumps_or_changes_history_is_refused() {
        assert_eq!(
            position().advance(&message("a", 5, bundle())),
            Err(OutOfOrder::Older { held: 5, told: 5 })
        );
        assert_eq!(
            position().advance(&message("a", 4, Body::Confirmed {})),
            Err(OutOfOrder::Older { held: 5, told: 4 })
        );
        assert_eq!(
            position().advance(&message("a", 7, bundle())),
            Err(OutOfOrder::Gap { held: 5, told: 7 })
        );
        assert_eq!(
            position().advance(&message("b", 6, bundle())),
            Err(OutOfOrder::OtherHistory)
        );
    }
}
