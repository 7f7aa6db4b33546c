//! A backup: one tar file with everything that makes the authority, but not the passphrase of its keys.
//!
//! ```text
//! backup.json         what it is a backup of, and when it was made
//! format, meta.json, ca.pem, ca/…      as in the state folder
//! nodes.json, profiles.toml            as in the state folder, where it has them
//! inventory.db        a consistent copy, audit log and revocations included
//! SHA256SUMS          of all of these, as sha256sum -c reads them; last, so that a torn file has none
//! ```
//!
//! Leaf keys are not in it: the gateway gets a new certificate, other keys lie where they are used (invariant 2). Nor is
//! the passphrase: with it the file would be the CA.

mod container;
mod pack;
mod unpack;

use countersign_pki::feed::{HistoryId, Sequence};
use countersign_pki::fingerprint::Fingerprint;
use countersign_pki::time::UnixTime;
use serde::{Deserialize, Serialize};

use crate::api::rfc3339;
use crate::state::MADE_WHILE_SERVING;

pub(crate) use self::pack::Packing;
pub(crate) use self::unpack::unpack;
pub use self::unpack::{BackupFault, verify};

/// `backup.json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BackupFacts {
    /// Of this file and what is beside it.
    pub format: u32,
    /// When it was made.
    #[serde(with = "rfc3339")]
    pub created_at: UnixTime,
    /// By which version.
    pub version: String,
    /// Where SPIFFE IDs live.
    pub trust_domain: String,
    /// SHA-256 of the root certificate.
    pub root_fingerprint: Fingerprint,
    /// Of the inventory.
    pub schema: u32,
    /// The feed's history.
    pub history: HistoryId,
    /// Its last message.
    pub sequence: Sequence,
    /// The hash of the audit log's last link.
    pub audit_head: String,
}

impl BackupFacts {
    /// `countersign-TRUST-DOMAIN-20260102T030405Z.tar`.
    pub fn file_name(&self) -> String {
        let at: String = (self.created_at.to_string().chars())
            .filter(char::is_ascii_alphanumeric)
            .collect();
        format!("countersign-{}-{at}.tar", self.trust_domain)
    }
}

/// What an authority issues by, as its state folder keeps it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum RulesInForce {
    /// What the state folder has: who opened it goes by that.
    #[default]
    AsKept,
    /// What is built in.
    BuiltIn,
    /// This text of an `[authority]`.
    Written(String),
}

/// Which names a backup has, in this order: the facts, the small files sorted by name, the inventory, the sums.
fn is_small_file(name: &str) -> bool {
    match name.strip_prefix("ca/") {
        // Never a passphrase, and nothing that leads elsewhere.
        Some(inner) => {
            inner != "passphrase"
                && !inner.starts_with('.')
                && (1..=MAX_NAME).contains(&inner.len())
                && inner
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
        }
        None => ALWAYS.contains(&name) || MADE_WHILE_SERVING.contains(&name),
    }
}

const FACTS: &str = "backup.json";
const INVENTORY: &str = "inventory.db";
const SUMS: &str = "SHA256SUMS";
/// 2: what the authority issued by is in it too, and its nodes; a backup of before says nothing of either.
const FORMAT: u32 = 2;
/// The first that holds what the authority issued by; without the file, that was what is built in.
pub(crate) const FORMAT_WITH_RULES: u32 = 2;
/// Small files of every state folder.
const ALWAYS: [&str; 3] = ["ca.pem", "format", "meta.json"];
/// Within the 100 bytes that a tar header has for a name.
const MAX_NAME: usize = 90;
/// Issuers are few, each has a certificate, a key and CRLs.
const MAX_FILES: usize = 1000;
/// The longest is a CRL; a complete one of a million certificates has 40 MB.
const MAX_SMALL_FILE: u64 = 128 * 1024 * 1024;
