//! A CRL that was found good once, and is looked up in from then on: its entries sorted by serial, without the rest.

use std::fmt;

use super::decode::{InvalidCrl, Outline};
use super::{CrlScope, ParsedCrl};
use crate::certificate::Certificate;
use crate::dn::DistinguishedName;
use crate::feed::RevocationReason;
use crate::fingerprint::Fingerprint;
use crate::pem;
use crate::revocation::Revocation;
use crate::serial::SerialNumber;
use crate::time::UnixTime;

/// A CRL whose issuer's key signed it, and in which nothing changes its meaning unseen. Whether it is still fresh is
/// asked each time.
///
/// Invariant: entries are sorted by serial, each serial once.
#[derive(Clone, PartialEq, Eq)]
pub struct AcceptedCrl {
    issuer: String,
    issuer_key: Fingerprint,
    scope: CrlScope,
    number: u64,
    this_update: UnixTime,
    next_update: UnixTime,
    fingerprint: Fingerprint,
    entries: Box<[Entry]>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Entry {
    serial: SerialNumber,
    reason: RevocationReason,
    revoked_at: UnixTime,
}

/// Why a CRL is not relied on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CrlRefused {
    /// The key of the issuer that it names did not sign it.
    #[error("its signature does not verify with the key of {issuer}")]
    BadSignature {
        /// Whom it names.
        issuer: String,
    },
    /// It changes another list, and says nothing alone.
    #[error("it is a delta CRL of {issuer}, which lists changes only")]
    Delta {
        /// Whose.
        issuer: String,
    },
    /// The bytes hold no list.
    #[error("it holds no certificate revocation list")]
    Empty,
    /// The bytes are not a CRL.
    #[error("{why}")]
    Malformed {
        /// What is wrong, in words.
        why: String,
    },
    /// It begins later.
    #[error("the list of {issuer} begins later (this_update {this_update}, now {now})")]
    NotYet {
        /// Whose.
        issuer: String,
        /// thisUpdate.
        this_update: UnixTime,
        /// When it was read.
        now: UnixTime,
    },
    /// A list signed before the one that is held.
    #[error("it is older than the list of {issuer} that is held (number {number}, held {held})")]
    Older {
        /// Whose.
        issuer: String,
        /// Its cRLNumber.
        number: u64,
        /// cRLNumber of the one that is held.
        held: u64,
    },
    /// It lacks what RFC 5280 demands, or is of a kind that is not processed.
    #[error("the list of {issuer} cannot be relied on: {why}")]
    Unprocessed {
        /// Whose.
        issuer: String,
        /// What, in words.
        why: String,
    },
    /// No CA that is known here has the name that it is issued by, or that CA may not sign lists.
    #[error("{why}")]
    WrongIssuer {
        /// What, in words.
        why: String,
    },
}

impl CrlRefused {
    /// What can be done about it.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::BadSignature { .. } => {
                "fetch it again; a list that another key signed is not this CA's"
            }
            Self::Delta { .. } => {
                "delta CRLs are not processed: give the complete list, which the CA publishes beside it"
            }
            Self::Empty | Self::Malformed { .. } => {
                "it has to be a CRL in DER, or in PEM as \"X509 CRL\"; `countersign inspect` shows what it is"
            }
            Self::NotYet { .. } => "compare the clocks of this host and of the CA",
            Self::Older { .. } => {
                "the source went back: ask for the present list; a CA that was restored has to go on above its last cRLNumber"
            }
            Self::Unprocessed { .. } => {
                "ask for a complete, direct CRL with cRLNumber and nextUpdate (openssl: crlnumber and default_crl_days)"
            }
            Self::WrongIssuer { .. } => {
                "lists of CAs below the bundle's anchors need those CAs' certificates: name them in intermediates"
            }
        }
    }
}

impl AcceptedCrl {
    /// Every list in a file or an answer: one in DER, or any number in PEM. Each must be of one of `issuers`.
    pub fn read(
        bytes: &[u8],
        issuers: &[Certificate],
        now: UnixTime,
    ) -> Result<Vec<Self>, CrlRefused> {
        let malformed = |why: String| CrlRefused::Malformed { why };
        // RFC 5280 §5.1: DER begins with the tag of a SEQUENCE, which begins no PEM.
        if bytes.first() == Some(&0x30) {
            return Ok(vec![Self::accept(bytes, issuers, now)?]);
        }
        if bytes.is_empty() {
            return Err(CrlRefused::Empty);
        }
        let blocks = pem::decode_lists(bytes)
            .map_err(|fault| malformed(format!("it is neither DER nor PEM: {fault}")))?;
        let accept = |block: &pem::Block| {
            if block.label == "X509 CRL" {
                Self::accept(&block.der, issuers, now)
            } else {
                Err(malformed(format!(
                    "it holds a {} block, only X509 CRL belongs there",
                    block.label
                )))
            }
        };
        blocks.iter().map(accept).collect()
    }

    /// The DER of every list in a file or an answer that [`AcceptedCrl::read`] took; nothing of others.
    pub fn ders(bytes: &[u8]) -> Vec<Vec<u8>> {
        if bytes.first() == Some(&0x30) {
            return vec![bytes.to_vec()];
        }
        let blocks = pem::decode_lists(bytes).unwrap_or_default();
        blocks.into_iter().map(|block| block.der).collect()
    }

    /// Checks everything that does not change with time, and that it has begun.
    ///
    /// What is made of its entries takes more time and memory than its bytes: that is done for what a known key has signed, and for
    /// nothing else.
    pub fn accept(der: &[u8], issuers: &[Certificate], now: UnixTime) -> Result<Self, CrlRefused> {
        let malformed = |invalid: InvalidCrl| CrlRefused::Malformed { why: invalid.why };
        let outline = Outline::of(der).map_err(malformed)?;
        let key = signer(&outline, der, issuers)?;
        let list = ParsedCrl::parse(der).map_err(malformed)?;
        let issuer = list.issuer().to_string();
        let unprocessed = |why: &str| CrlRefused::Unprocessed {
            issuer: issuer.clone(),
            why: why.to_owned(),
        };
        let unknown = list.unknown_critical_extensions();
        if unknown.iter().any(|oid| oid == DELTA_CRL_INDICATOR) {
            return Err(CrlRefused::Delta { issuer });
        }
        if unknown.iter().any(|oid| oid == ISSUING_DISTRIBUTION_POINT) {
            return Err(unprocessed(
                "its issuingDistributionPoint makes it an indirect list, or one for some reasons, or of a place that is no single URI",
            ));
        }
        if let Some(oid) = unknown.first() {
            return Err(unprocessed(&format!(
                "it has the critical extension {oid}, which is not understood (RFC 5280 §5.2)"
            )));
        }
        let (Some(scope), Some(number), Some(next_update)) =
            (list.scope(), list.number(), list.next_update())
        else {
            // RFC 5280 §5.1.2.5, §5.2.3: nobody could tell when it is out of date, or which list follows which.
            return Err(unprocessed(if list.number().is_none() {
                "it has no cRLNumber"
            } else {
                "it has no nextUpdate"
            }));
        };
        if now.plus(SKEW) < list.this_update() {
            return Err(CrlRefused::NotYet {
                issuer,
                this_update: list.this_update(),
                now,
            });
        }
        if next_update < list.this_update() {
            return Err(unprocessed("its nextUpdate lies before its thisUpdate"));
        }
        let mut entries: Vec<Entry> = list
            .entries()
            .iter()
            .map(|entry| Entry {
                serial: entry.serial,
                reason: entry.reason,
                revoked_at: entry.revoked_at,
            })
            .collect();
        entries.sort_by_key(|entry| entry.serial);
        entries.dedup_by_key(|entry| entry.serial);
        Ok(Self {
            issuer_key: key,
            scope: scope.clone(),
            number,
            this_update: list.this_update(),
            next_update,
            fingerprint: Fingerprint::of(der),
            entries: entries.into(),
            issuer,
        })
    }

    /// Whether it may take the place of `held`: of the same issuer and scope, and not an older one.
    pub fn follow(&self, held: &Self) -> Result<(), CrlRefused> {
        let is_older = (self.number, self.this_update) < (held.number, held.this_update);
        if self.is_of_the_same(held) && is_older {
            return Err(CrlRefused::Older {
                issuer: self.issuer.clone(),
                number: self.number,
                held: held.number,
            });
        }
        Ok(())
    }

    /// Whether nothing that `held` says is lost with this one in its place: of the same issuer and scope, or later and of a scope
    /// that has all of the other in it (RFC 5280 §5.2.3 counts for each scope on its own, so that times are compared there).
    pub fn takes_the_place_of(&self, held: &Self) -> bool {
        self.is_of_the_same(held)
            || (self.issuer_key == held.issuer_key
                && self.scope.includes(&held.scope)
                && held.this_update <= self.this_update)
    }

    /// Whether both speak of the same certificates.
    pub fn is_of_the_same(&self, other: &Self) -> bool {
        self.issuer_key == other.issuer_key && self.scope == other.scope
    }

    /// How many entries of `held` it has no more: their certificates expired, or the CA took a hold back.
    pub fn left_out(&self, held: &Self) -> usize {
        let gone = |entry: &&Entry| self.find(entry.serial).is_none();
        held.entries.iter().filter(gone).count()
    }

    /// Binary search.
    pub fn find(&self, serial: SerialNumber) -> Option<Revocation> {
        let at = self
            .entries
            .binary_search_by(|entry| entry.serial.cmp(&serial))
            .ok()?;
        Some(Revocation {
            revoked_at: self.entries[at].revoked_at,
            reason: self.entries[at].reason,
        })
    }

    /// Whose.
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// SHA-256 of the issuer's key.
    pub fn issuer_key(&self) -> Fingerprint {
        self.issuer_key
    }

    /// What it covers.
    pub fn scope(&self) -> &CrlScope {
        &self.scope
    }

    /// cRLNumber.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// thisUpdate.
    pub fn this_update(&self) -> UnixTime {
        self.this_update
    }

    /// nextUpdate.
    pub fn next_update(&self) -> UnixTime {
        self.next_update
    }

    /// SHA-256 of its bytes.
    pub fn fingerprint(&self) -> Fingerprint {
        self.fingerprint
    }

    /// How many certificates it lists.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// None.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

impl fmt::Debug for AcceptedCrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (issuer, number, entries) = (&self.issuer, self.number, self.entries.len());
        write!(
            f,
            "AcceptedCrl({issuer}, number {number}, {entries} entries)"
        )
    }
}

/// The key that signed it, SHA-256.
fn signer(list: &Outline, der: &[u8], issuers: &[Certificate]) -> Result<Fingerprint, CrlRefused> {
    let mut named = issuers
        .iter()
        .filter(|candidate| list.issuer(der) == candidate.subject_der())
        .peekable();
    let Some(issuer) = named.peek().map(|named| named.subject().to_string()) else {
        let known: Vec<String> = issuers
            .iter()
            .take(MAX_SHOWN)
            .map(|issuer| issuer.subject().to_string())
            .collect();
        return Err(CrlRefused::WrongIssuer {
            why: format!(
                "it is a list of {}, which is none of this bundle's CAs ({})",
                stranger(list.issuer(der)),
                known.join("; ")
            ),
        });
    };
    // By the signature, not by the key identifier: what this key signed is this key's, however it is called.
    let Some(signer) = named.find(|named| list.verify_signature(der, named.spki_der()).is_ok())
    else {
        return Err(CrlRefused::BadSignature { issuer });
    };
    if signer.key_usage().is_some_and(|usage| !usage.crl_sign) {
        return Err(CrlRefused::WrongIssuer {
            why: format!("{issuer} may not sign lists: its keyUsage lacks cRLSign"),
        });
    }
    Ok(signer.spki())
}

fn stranger(name: &[u8]) -> String {
    let read = (name.len() <= MAX_NAME_BYTES).then(|| DistinguishedName::from_der(name).ok());
    match read.flatten() {
        Some(name) => name.to_string(),
        None => format!(
            "whoever has a name of {} bytes that cannot be read",
            name.len()
        ),
    }
}

const DELTA_CRL_INDICATOR: &str = "2.5.29.27";
const ISSUING_DISTRIBUTION_POINT: &str = "2.5.29.28";
/// Clocks that are kept in time differ by less. A list from a CA whose clock is a little ahead is no fault of the list.
const SKEW: std::time::Duration = std::time::Duration::from_mins(5);
/// Of a name that nobody has vouched for.
const MAX_NAME_BYTES: usize = 4096;
/// A bundle's CAs are few; a message has room for so many.
const MAX_SHOWN: usize = 4;
