//! Making a backup of a state folder whose authority is open, in this process or another.

use std::fs::{self, DirBuilder, File};
use std::io::{self, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;

use countersign_pki::time::UnixTime;
use countersign_store::backup::{copy, examine};
use countersign_store::error::StoreError;
use countersign_store::fail_point::FailPoint;
use countersign_store::issuer::IssuerRole;

use super::container::Packer;
use super::{
    ALWAYS, BackupFacts, FACTS, FORMAT, INVENTORY, MAX_FILES, MAX_SMALL_FILE, RulesInForce, SUMS,
    is_small_file,
};
use crate::feed::Roll;
use crate::state::{KEPT_RULES, MADE_WHILE_SERVING, NODES, StateFolder};

/// A backup of which everything has been read but not yet been packed. Gone with the value: the copy of the inventory.
pub(crate) struct Packing {
    facts: BackupFacts,
    small: Vec<(String, Vec<u8>)>,
    inventory: File,
    _scratch: Scratch,
}

impl Packing {
    /// Copies and examines the inventory, then reads the small files: what they are is in the inventory, so that a copy
    /// that is older than they are would be noticed at the restore. Blocks for as long as the inventory is large. One at a
    /// time.
    pub(crate) fn prepare(
        state: &StateFolder,
        trust_domain: String,
        rules: &RulesInForce,
        now: UnixTime,
    ) -> Result<Self, StoreError> {
        let scratch = Scratch::make(state)?;
        let copied = scratch.path.join(INVENTORY);
        copy(&state.inventory(), &copied)?;
        FailPoint::BackupCopied.reach();
        let examined = examine(&copied)?;
        let root = (examined.issuers.iter()).find(|issuer| issuer.role == IssuerRole::Root);
        let root = root.ok_or_else(|| StoreError::Corrupt {
            path: state.inventory(),
            why: "it has no root".to_owned(),
        })?;
        let fault = |path: PathBuf| {
            move |error: io::Error| StoreError::Io {
                path,
                why: error.to_string(),
            }
        };
        Ok(Self {
            facts: BackupFacts {
                format: FORMAT,
                created_at: now,
                version: env!("CARGO_PKG_VERSION").to_owned(),
                trust_domain,
                root_fingerprint: root.certificate.fingerprint(),
                schema: examined.schema,
                history: examined.history,
                sequence: examined.sequence,
                audit_head: examined.audit.head,
            },
            small: small_files(state, rules).map_err(fault(state.path().to_owned()))?,
            inventory: File::open(&copied).map_err(fault(copied))?,
            _scratch: scratch,
        })
    }

    /// What it is a backup of.
    pub(crate) fn facts(&self) -> &BackupFacts {
        &self.facts
    }

    /// Writes all of it.
    pub(crate) fn write<W: Write>(self, to: W) -> io::Result<W> {
        let mut packer = Packer::new(to, self.facts.created_at.seconds());
        let facts = serde_json::to_vec_pretty(&self.facts)?;
        packer.file(FACTS, facts.len() as u64, &facts[..])?;
        for (name, bytes) in &self.small {
            packer.file(name, bytes.len() as u64, &bytes[..])?;
        }
        let size = self.inventory.metadata()?.len();
        packer.file(INVENTORY, size, &self.inventory)?;
        let to = packer.finish(SUMS)?;
        FailPoint::BackupPacked.reach();
        Ok(to)
    }
}

fn small_files(state: &StateFolder, rules: &RulesInForce) -> io::Result<Vec<(String, Vec<u8>)>> {
    let mut names: Vec<String> = ALWAYS.map(str::to_owned).to_vec();
    // A disk that is full may have kept other rules than those that are in force.
    let is_kept = |name: &&str| *name != KEPT_RULES || *rules == RulesInForce::AsKept;
    names.extend(
        MADE_WHILE_SERVING
            .iter()
            .filter(|name| is_kept(name))
            .map(|&name| name.to_owned()),
    );
    for entry in fs::read_dir(state.ca())? {
        let entry = entry?;
        let name = format!("ca/{}", entry.file_name().to_string_lossy());
        if entry.file_type()?.is_file() && is_small_file(&name) {
            names.push(name);
        }
    }
    names.sort();
    let too_large = |what: &str| io::Error::new(io::ErrorKind::FileTooLarge, what.to_owned());
    if names.len() > MAX_FILES {
        return Err(too_large("ca/ holds more files than a backup has"));
    }
    let read = |name: &str| {
        let path = state.path().join(name);
        if fs::metadata(&path)?.len() > MAX_SMALL_FILE {
            return Err(too_large(&format!("{name} is larger than a backup takes")));
        }
        fs::read(path)
    };
    let mut files = Vec::new();
    for name in names {
        match read(&name) {
            // Asked for and not looked for before: it may go at any time, and means that there is nothing to say.
            Err(error)
                if error.kind() == io::ErrorKind::NotFound
                    && MADE_WHILE_SERVING.contains(&name.as_str()) => {}
            bytes => files.push((name, bytes?)),
        }
    }
    if let Some((name, bytes)) = files.iter().find(|(name, _)| name == NODES) {
        // A restore would find it, when it is too late.
        let damaged = |error| {
            io::Error::new(
                io::ErrorKind::InvalidData,
                format!("{name} is damaged: {error}"),
            )
        };
        Roll::parse(bytes).map_err(damaged)?;
    }
    if let RulesInForce::Written(text) = rules {
        files.push((KEPT_RULES.to_owned(), text.clone().into_bytes()));
        files.sort();
    }
    Ok(files)
}

/// A folder inside the state folder, whose disk has room for an inventory or has none for issuing either.
struct Scratch {
    path: PathBuf,
}

impl Scratch {
    fn make(state: &StateFolder) -> Result<Self, StoreError> {
        let path = state.backup_scratch();
        let made = match fs::remove_dir_all(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => DirBuilder::new().mode(0o700).create(&path),
        };
        match made {
            Ok(()) => Ok(Self { path }),
            Err(error) if error.kind() == io::ErrorKind::StorageFull => {
                Err(StoreError::DiskFull { path })
            }
            Err(error) => Err(StoreError::Io {
                path,
                why: error.to_string(),
            }),
        }
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What stays is removed when the folder is locked next.
        let _ = fs::remove_dir_all(&self.path);
    }
}
