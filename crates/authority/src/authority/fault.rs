//! Why the authority did not do what it was asked to.

use std::path::PathBuf;

use countersign_pki::certificate::MalformedCertificate;
use countersign_pki::feed::RevocationReason;
use countersign_pki::serial::SerialNumber;
use countersign_pki::tbs::TemplateError;
use countersign_pki::time::UnixTime;
use countersign_policy::issuance::Denied;
use countersign_store::annotation::MAX_LABELS;
use countersign_store::error::StoreError;

use crate::secret::PassphraseError;
use crate::signer::SignError;

/// Why certificates cannot be issued.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{why}")]
pub struct NotReady {
    /// In words.
    pub why: String,
    /// What to do.
    pub hint: Option<String>,
}

/// Why the authority cannot be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The clock is before the CA's birth: every certificate would be "not yet valid".
    #[error("the clock says {now}, but the CA {subject} is valid from {not_before}")]
    ClockBeforeBirth {
        /// Whose.
        subject: String,
        /// Its beginning.
        not_before: UnixTime,
        /// What the clock says.
        now: UnixTime,
    },
    /// A file of the state cannot be read or understood.
    #[error("{} cannot be used: {why}", .path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        why: String,
    },
    /// Certificate and inventory do not belong together.
    #[error("the CA certificate {} is not in the inventory", .path.display())]
    Mixed {
        /// Which.
        path: PathBuf,
    },
    /// Which nodes are away is not known: whoever revokes would be told that all have confirmed.
    #[error("{} cannot be used: {why}", .path.display())]
    Nodes {
        /// Which file.
        path: PathBuf,
        /// Why.
        why: String,
    },
    /// There is no authority in the folder.
    #[error("there is no authority in {}", .path.display())]
    NotInitialised {
        /// Which folder.
        path: PathBuf,
    },
    /// The passphrase cannot be read.
    #[error(transparent)]
    Passphrase(#[from] PassphraseError),
    /// The inventory.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// No thread could be started.
    #[error("no thread can be started to unseal the CA key: {source}")]
    Thread {
        /// Why.
        source: std::io::Error,
    },
}

impl OpenError {
    /// What to do.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::ClockBeforeBirth { .. } => {
                Some("set the clock (timedatectl, chronyd); nothing was changed".to_owned())
            }
            Self::File { .. } | Self::Mixed { .. } => {
                Some("restore the state folder from a backup as a whole".to_owned())
            }
            Self::Nodes { path, .. } => Some(format!(
                "it says which gateways are away: move {} away, start again, and until each of them has joined, count on none that `revoke --wait` does not name",
                path.display()
            )),
            Self::NotInitialised { .. } => {
                Some("`countersign init` makes one, `countersign up` too".to_owned())
            }
            Self::Passphrase(error) => error.hint(),
            Self::Store(error) => error.hint(),
            Self::Thread { .. } => None,
        }
    }
}

/// Why a certificate was not issued.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IssueError {
    /// Policy or lint says no.
    #[error(transparent)]
    Denied(#[from] Denied),
    /// The task that issued has ended early: our bug.
    #[error("issuance was interrupted")]
    Interrupted,
    /// The to-be-signed bytes cannot be decoded: our bug.
    #[error(transparent)]
    Malformed(#[from] MalformedCertificate),
    /// The same request is on its way.
    #[error("a request with idempotency key {key} is being answered")]
    KeyInFlight {
        /// Which.
        key: String,
    },
    /// The key stands for another request.
    #[error("idempotency key {key} was used for another request")]
    KeyReused {
        /// Which.
        key: String,
    },
    /// What was issued for the key counts for nothing any more.
    #[error("the certificate {serial}, which was issued for idempotency key {key}, is revoked")]
    KeyRevoked {
        /// Which.
        key: String,
        /// Of the certificate.
        serial: SerialNumber,
    },
    /// The operating system has none.
    #[error("the operating system gives no randomness")]
    NoRandomness,
    /// The CA key is not there.
    #[error(transparent)]
    NotReady(#[from] NotReady),
    /// The key was used in vain; the serial stays reserved.
    #[error(transparent)]
    Sign(#[from] SignError),
    /// The record could not be made durable, so nothing was handed out.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// What was authorized cannot be encoded.
    #[error(transparent)]
    Template(#[from] TemplateError),
}

impl IssueError {
    /// Whether what was asked for is refused, which goes on record; the others are our own trouble, or over in a moment.
    pub(super) fn is_refusal(&self) -> bool {
        matches!(
            self,
            Self::Denied(_)
                | Self::KeyReused { .. }
                | Self::Store(StoreError::IssuerRevoked { .. })
        )
    }

    /// What to do.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Denied(denied) => denied.hint(),
            Self::KeyInFlight { .. } => {
                Some("wait a moment, and make the same request again".to_owned())
            }
            Self::KeyReused { .. } => {
                Some("each request has a key of its own, such as a random UUID".to_owned())
            }
            Self::KeyRevoked { .. } => {
                Some("if another is to be issued, ask for it under a new key".to_owned())
            }
            Self::NotReady(error) => error.hint.clone(),
            Self::Sign(error) => error.hint(),
            Self::Store(error) => error.hint(),
            _ => None,
        }
    }
}

/// Why a certificate was not renewed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RenewError {
    /// Different certificates are meant.
    #[error("{what} means {count} certificates of different names or profiles")]
    Ambiguous {
        /// What was asked for.
        what: String,
        /// How many.
        count: usize,
    },
    /// Too late.
    #[error("certificate {serial} expired at {not_after} (now {now})")]
    Expired {
        /// Which.
        serial: SerialNumber,
        /// Its end.
        not_after: UnixTime,
        /// When it was asked for.
        now: UnixTime,
    },
    /// Withdrawn for now.
    #[error("certificate {serial} is on hold since {since} and cannot be renewed")]
    Held {
        /// Which.
        serial: SerialNumber,
        /// Since when.
        since: UnixTime,
    },
    /// Of others.
    #[error("certificate {serial} was imported: it is {issuer} that renews it")]
    Imported {
        /// Which.
        serial: SerialNumber,
        /// Who issued it.
        issuer: String,
    },
    /// Issuing failed.
    #[error(transparent)]
    Issue(#[from] IssueError),
    /// The serial was reserved, but nobody holds a certificate of it.
    #[error("serial {serial} was reserved, but no certificate of it was handed out")]
    NeverSigned {
        /// Which.
        serial: SerialNumber,
    },
    /// No such certificate.
    #[error("no certificate is known as {what}")]
    NotFound {
        /// What was asked for.
        what: String,
    },
    /// Somebody else's.
    #[error("{actor} may not renew certificate {serial}, which is not theirs")]
    NotTheHolder {
        /// Who.
        actor: String,
        /// Which.
        serial: SerialNumber,
    },
    /// Withdrawn.
    #[error("certificate {serial} was revoked at {revoked_at} and cannot be renewed")]
    Revoked {
        /// Which.
        serial: SerialNumber,
        /// Since when.
        revoked_at: UnixTime,
    },
}

impl RenewError {
    /// As of [`IssueError`].
    pub(super) fn is_refusal(&self) -> bool {
        match self {
            Self::Issue(error) => error.is_refusal(),
            Self::Ambiguous { .. }
            | Self::Expired { .. }
            | Self::Held { .. }
            | Self::Imported { .. }
            | Self::NeverSigned { .. }
            | Self::NotFound { .. }
            | Self::NotTheHolder { .. }
            | Self::Revoked { .. } => true,
        }
    }

    /// What to do.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Ambiguous { .. } => {
                Some("name one by its serial or fingerprint (`countersign list`)".to_owned())
            }
            Self::Expired { .. } | Self::NeverSigned { .. } | Self::Revoked { .. } => {
                Some("an admin can issue a new one: `countersign issue`".to_owned())
            }
            Self::Held { serial, .. } => {
                Some(format!("`countersign release {serial}` ends the hold"))
            }
            Self::Imported { .. } => Some(
                "`countersign import` takes the next one, so that its end is watched too"
                    .to_owned(),
            ),
            Self::Issue(error) => error.hint(),
            _ => None,
        }
    }
}

/// Why nothing was revoked, put on hold or released.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RevokeError {
    /// What is revoked for good stays so.
    #[error("{what} is revoked since {revoked_at} for {reason}, which nothing takes back")]
    ForGood {
        /// What was asked for.
        what: String,
        /// Since when the first of them is.
        revoked_at: UnixTime,
        /// Why.
        reason: RevocationReason,
    },
    /// Of others.
    #[error("{what} was imported: only {issuer}, its issuer, can revoke it")]
    Imported {
        /// What was asked for.
        what: String,
        /// Who issued it.
        issuer: String,
    },
    /// No such certificate.
    #[error("no certificate is known as {what}")]
    NotFound {
        /// What was asked for.
        what: String,
    },
    /// Nothing to release.
    #[error("{what} is not on hold")]
    NotHeld {
        /// What was asked for.
        what: String,
    },
    /// The actor may not revoke.
    #[error("{actor} may not revoke")]
    NotPermitted {
        /// Who.
        actor: String,
    },
    /// No serial number of an issuer of ours.
    #[error("{issuer} is no issuer of this authority")]
    NotOurIssuer {
        /// As it was asked for.
        issuer: String,
    },
    /// A CA certificate: what it issued would all be refused.
    #[error("{what} is this authority's own CA certificate {subject}")]
    OwnCertificate {
        /// What was asked for.
        what: String,
        /// Its subject.
        subject: String,
    },
    /// The filters mean nothing.
    #[error("no certificate is meant by these filters")]
    NothingMeant,
    /// A serial number that the inventory does not have.
    #[error("the inventory has no certificate with serial number {serial}")]
    NotRecorded {
        /// Which.
        serial: SerialNumber,
    },
    /// The revocation could not be made durable; nothing was revoked.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl RevokeError {
    /// What to do.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::ForGood { .. } => "issue a new certificate: `countersign issue`".to_owned(),
            Self::Imported { .. } => {
                "deny it in the policy of the gateway until its issuer has revoked it".to_owned()
            }
            Self::NotFound { .. } | Self::NothingMeant => {
                "`countersign list` shows what there is".to_owned()
            }
            Self::NotHeld { .. } => "`countersign list --status held` shows what is".to_owned(),
            Self::NotOurIssuer { .. } => "`countersign status` names the issuers".to_owned(),
            Self::NotRecorded { .. } => {
                "one that was issued all the same, and that a lost backup had, is revoked with --unrecorded".to_owned()
            }
            Self::OwnCertificate { .. } => {
                "nodes are given another issuer instead: what it has issued is revoked with --issuer".to_owned()
            }
            Self::NotPermitted { .. } => return None,
            Self::Store(error) => return error.hint(),
        })
    }
}

/// Why nothing is said of an identity.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AnnotateError {
    /// Different identities are meant.
    #[error("{what} means certificates of several identities: {}", .names.join(", "))]
    Ambiguous {
        /// What was asked for.
        what: String,
        /// Some of them.
        names: Vec<String>,
    },
    /// No such certificate.
    #[error("no certificate is known as {what}")]
    NotFound {
        /// What was asked for.
        what: String,
    },
    /// The actor may not.
    #[error("{actor} may not say whose an identity is")]
    NotPermitted {
        /// Who.
        actor: String,
    },
    /// The inventory; nothing has changed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Too many.
    #[error("there would be {count} labels, but an identity has at most {MAX_LABELS}")]
    TooManyLabels {
        /// So many.
        count: usize,
    },
}

impl AnnotateError {
    /// What to do.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Ambiguous { .. } => Some("name one of them".to_owned()),
            Self::NotFound { .. } => Some("`countersign list` shows what there is".to_owned()),
            Self::NotPermitted { .. } => None,
            Self::Store(error) => error.hint(),
            Self::TooManyLabels { .. } => Some("take others away with `--remove KEY`".to_owned()),
        }
    }
}

/// Why certificates of others were not taken.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ImportError {
    /// The actor may not.
    #[error("{actor} may not import")]
    NotPermitted {
        /// Who.
        actor: String,
    },
    /// The inventory; nothing has changed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Why there is nothing to show.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ShowError {
    /// No such certificate.
    #[error("no certificate is known as {what}")]
    NotFound {
        /// What was asked for.
        what: String,
    },
    /// The inventory.
    #[error(transparent)]
    Store(#[from] StoreError),
}
