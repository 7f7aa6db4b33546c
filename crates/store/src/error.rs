//! Why the store did not do it.

use std::path::{Path, PathBuf};

use countersign_pki::crl::CrlRowFault;
use countersign_pki::feed::RevocationReason;
use countersign_pki::fingerprint::Fingerprint;
use countersign_pki::serial::SerialNumber;
use countersign_pki::time::UnixTime;
use countersign_policy::issuance::{Denied, IssuerRole, Profile};
use rusqlite::ErrorCode;

use crate::audit::verify::AuditFault;
use crate::revocation::MAX_RADIUS;

/// Why the store did not do it. Nothing has changed then.
///
/// Cloneable, because one failed commit is the answer to every change of its group.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// Between the request and the change, whoever asked lost the right to.
    #[error("{actor} may no longer ask for that: {why}")]
    AccessWithdrawn {
        /// Who.
        actor: String,
        /// In words.
        why: String,
    },
    /// Somebody changed the audit log past us, or it is damaged.
    #[error("the audit log of inventory {} is not whole: {fault}", .path.display())]
    AuditLog {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        fault: AuditFault,
    },
    /// Something other than a state of ours is in the file, or it is damaged.
    #[error("inventory {} is damaged: {why}", .path.display())]
    Corrupt {
        /// Which file.
        path: PathBuf,
        /// SQLite's words.
        why: String,
    },
    /// The place in a list does not belong to the list that is asked for.
    #[error("the cursor belongs to a list with other filters")]
    CursorOfAnotherList,
    /// Policy says no to what the inventory knows of the key.
    #[error(transparent)]
    Denied(Denied),
    /// No space.
    #[error("the disk that holds inventory {} is full", .path.display())]
    DiskFull {
        /// Which file.
        path: PathBuf,
    },
    /// There is one already.
    #[error("inventory {} exists already", .path.display())]
    Exists {
        /// Which file.
        path: PathBuf,
    },
    /// The operating system says no.
    #[error("inventory {} cannot be used: {why}", .path.display())]
    Io {
        /// Which file.
        path: PathBuf,
        /// SQLite's words.
        why: String,
    },
    /// Whoever is above it has revoked it, or holds it.
    #[error(
        "the issuer {subject} (serial {serial}) is {} since {since}: whatever it issues is refused", how(*.reason)
    )]
    IssuerRevoked {
        /// Whose certificate.
        subject: String,
        /// Its number.
        serial: SerialNumber,
        /// Why.
        reason: RevocationReason,
        /// Since when.
        since: UnixTime,
    },
    /// Restored from a backup: what was revoked since is not known.
    #[error(
        "issuing is paused: the authority was restored at {since} from a backup of {backup_at}, and does not know what was revoked since"
    )]
    IssuingPaused {
        /// When it was restored.
        since: UnixTime,
        /// When the backup was made.
        backup_at: UnixTime,
    },
    /// Another process holds it.
    #[error("inventory {} is locked by another process", .path.display())]
    Locked {
        /// Which file.
        path: PathBuf,
    },
    /// There is none.
    #[error("inventory {} is missing", .path.display())]
    Missing {
        /// Which file.
        path: PathBuf,
    },
    /// Written by a newer version.
    #[error("inventory {} has schema {found}, this version knows {known}", .path.display())]
    NewerSchema {
        /// Which file.
        path: PathBuf,
        /// Its schema.
        found: u32,
        /// Ours.
        known: u32,
    },
    /// A database of another program.
    #[error("{} is not an inventory of countersign (application id {found:#010x})", .path.display())]
    NotAnInventory {
        /// Which file.
        path: PathBuf,
        /// Its application id.
        found: u32,
    },
    /// Written by an older version, and not opened for writing since.
    #[error("inventory {} has schema {found}, its audit log is read from schema {needed} on", .path.display())]
    OlderSchema {
        /// Which file.
        path: PathBuf,
        /// Its schema.
        found: u32,
        /// The one that it needs.
        needed: u32,
    },
    /// The certificate to be renewed was put on hold while its next one was prepared.
    #[error("certificate {serial} is on hold")]
    PredecessorHeld {
        /// Which.
        serial: SerialNumber,
    },
    /// Restored from a backup of an earlier version.
    #[error(
        "nothing is issued: the backup of {backup_at} does not say by which profiles, and what is built in may allow what they refuse"
    )]
    RulesUnknown {
        /// When the backup was made.
        backup_at: UnixTime,
    },
    /// A list was published while an older draft of it was being signed.
    #[error("draft {number} of a revocation list is older than the published one, {last}")]
    OldDraft {
        /// The draft's number.
        number: u64,
        /// The published one's.
        last: u64,
    },
    /// A certificate would come from an issuer that its profile does not have: our bug, stopped here.
    #[error("the {asked} issuer issues no {profile} certificates")]
    OtherIssuer {
        /// Which was to sign.
        asked: IssuerRole,
        /// Of which profile.
        profile: Profile,
    },
    /// The certificate to be renewed was revoked while its next one was prepared.
    #[error("certificate {serial} has been revoked")]
    PredecessorRevoked {
        /// Which.
        serial: SerialNumber,
    },
    /// The signature completes bytes that are no certificate: our bug, stopped here.
    #[error("the completed certificate cannot be decoded: {why}")]
    NotACertificate {
        /// In words.
        why: String,
    },
    /// More certificates than the caller, or one transaction, may change.
    #[error("more than {limit} certificates are meant")]
    RadiusTooWide {
        /// At most so many.
        limit: u64,
    },
    /// Who is let in again as a node or an operator, an admin says.
    #[error("{actor} may not end the hold of {serial}")]
    ReleaseNotPermitted {
        /// Who.
        actor: String,
        /// Of which certificate.
        serial: SerialNumber,
    },
    /// The rows of a revocation list are not a list's; nothing is signed.
    #[error(transparent)]
    NotAList {
        /// What is wrong with them.
        fault: CrlRowFault,
    },
    /// Two certificates would have one serial.
    #[error("serial {serial} is taken")]
    SerialTaken {
        /// Which.
        serial: SerialNumber,
    },
    /// What shall be renewed is no certificate of this authority.
    #[error("row {entry} of the inventory is no certificate of this authority: nothing renews it")]
    NoPredecessor {
        /// Its number.
        entry: i64,
    },
    /// SQL that should have worked: our bug.
    #[error("inventory {}: {why}", .path.display())]
    Sql {
        /// Which file.
        path: PathBuf,
        /// SQLite's words.
        why: String,
    },
    /// The writer or the reader is gone.
    #[error("the inventory is closed")]
    Stopped,
    /// A revocation by a key that is none of the authority's issuers'.
    #[error("a revocation is of an issuer with key {key}, which is not this authority's")]
    UnknownIssuerKey {
        /// SHA-256 of its `SubjectPublicKeyInfo`.
        key: Fingerprint,
    },
    /// An issuer that the inventory does not know.
    #[error("issuer {issuer} is not in the inventory")]
    UnknownIssuer {
        /// Its number.
        issuer: i64,
    },
}

impl StoreError {
    /// What to do.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Denied(denied) => return denied.hint(),
            Self::AuditLog { .. } => {
                "`countersign audit verify` reads all of it: find out who wrote there, then restore the state folder from a backup; \
                 certificates go on being verified without it, none is issued"
                    .to_owned()
            }
            Self::Corrupt { .. } | Self::Missing { .. } => {
                "restore the state folder from a backup (`countersign ca restore`); certificates go on being verified without it, none is issued"
                    .to_owned()
            }
            Self::CursorOfAnotherList => "begin again without it: the first page has the first cursor".to_owned(),
            Self::DiskFull { path } => format!("free space beside {}; nothing was changed, try again then", path.display()),
            Self::IssuingPaused { .. } => RESUME_HINT.to_owned(),
            Self::IssuerRevoked { reason, serial, .. } if reason.is_hold() => format!(
                "nothing is issued until the hold ends: `countersign release {serial}`, or `countersign ca crl import FILE` with a list that no longer shows it"
            ),
            Self::IssuerRevoked { .. } => "a new authority has to take its place: `countersign init` in another state folder, and its root to all who trust this one".to_owned(),
            Self::RulesUnknown { .. } => "start `countersign run` with its configuration once: it tells them; or `countersign ca resume --built-in-profiles --because WHY` says that there were none".to_owned(),
            Self::UnknownIssuerKey { .. } => "give evidence of this authority alone: its own CRLs, or the feed state of a gateway that follows it".to_owned(),
            Self::ReleaseNotPermitted { .. } => "nothing was changed; holds of operators, nodes and CAs are ended by an admin".to_owned(),
            Self::Locked { .. } => "end the other process that uses this state folder".to_owned(),
            Self::NewerSchema { .. } => "use the version of countersign that wrote it, or a newer one".to_owned(),
            Self::NotAList { fault } => fault.hint().to_owned(),
            Self::OlderSchema { .. } => "a command that opens the authority brings it up to date: `countersign list`".to_owned(),
            Self::RadiusTooWide { limit } if *limit == MAX_RADIUS => {
                "nothing was changed; narrow it, and do it in parts, or replace the issuer".to_owned()
            }
            Self::RadiusTooWide { .. } => {
                "nothing was changed; there are more now than when it was looked at: look again with --dry-run".to_owned()
            }
            Self::NotAnInventory { .. } => "--state names the folder; choose one that is empty or ours".to_owned(),
            _ => return None,
        })
    }

    pub(crate) fn from_sql(path: &Path, error: &rusqlite::Error) -> Self {
        let (path, why) = (path.to_owned(), error.to_string());
        match error.sqlite_error_code() {
            Some(ErrorCode::DiskFull) => Self::DiskFull { path },
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
                Self::Corrupt { path, why }
            }
            Some(
                ErrorCode::DatabaseBusy
                | ErrorCode::DatabaseLocked
                | ErrorCode::FileLockingProtocolFailed,
            ) => Self::Locked { path },
            Some(
                ErrorCode::SystemIoFailure
                | ErrorCode::ReadOnly
                | ErrorCode::CannotOpen
                | ErrorCode::PermissionDenied
                | ErrorCode::NoLargeFileSupport,
            ) => Self::Io { path, why },
            _ => match error {
                // A row that does not read as what was written there.
                rusqlite::Error::FromSqlConversionFailure(..)
                | rusqlite::Error::InvalidColumnType(..)
                | rusqlite::Error::IntegralValueOutOfRange(..) => Self::Corrupt { path, why },
                _ => Self::Sql { path, why },
            },
        }
    }
}

fn how(reason: RevocationReason) -> String {
    if reason.is_hold() {
        "on hold".to_owned()
    } else {
        format!("revoked ({})", reason.as_str())
    }
}

/// How issuing goes on after a restore.
pub const RESUME_HINT: &str = "`countersign ca resume --crl FILE` or `--from-gateway FILE` tells it; `--without-evidence --because WHY` goes on without";
