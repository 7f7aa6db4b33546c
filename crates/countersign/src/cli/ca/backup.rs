//! `countersign ca backup`: everything that makes the authority, in one file.

use std::fs;
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};

use axum::http::Method;
use clap::Args;
use countersign_authority::api;
use countersign_authority::backup::{BackupFacts, verify};
use countersign_authority::client::ClientError;
use countersign_pki::time::UnixTime;
use countersign_runtime::atomic_file::GrowingFile;
use countersign_runtime::clock::{Clock, SystemClock};
use countersign_store::fail_point::FailPoint;
use serde::Serialize;

use crate::backend::{Backend, block_on};
use crate::cli::arguments::{AuthorityArguments, Globals};
use crate::fault::{Answer, Fault};

/// Write everything that makes the authority to one file: inventory, sealed keys, certificates, audit log, rules, known gateways
///
/// While a process serves the state or while none does. The rules are those that were served last (`[authority]`). The passphrase of the keys is not in it: keep it elsewhere, for a
/// backup is of no use without it, and with it would be the CA. Keys of servers and clients are not in it either.
#[derive(Debug, Args)]
pub(crate) struct BackupCommand {
    /// Where to: a file, or a folder that gets countersign-TRUST-DOMAIN-TIME.tar
    #[arg(value_name = "FILE|DIR")]
    target: PathBuf,
    /// Write over a file that is there
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    authority: AuthorityArguments,
}

/// What was written.
#[derive(Debug, Serialize)]
struct Written {
    file: PathBuf,
    bytes: u64,
    #[serde(flatten)]
    facts: BackupFacts,
}

impl BackupCommand {
    /// Runs it.
    pub(crate) fn run(self, globals: &Globals) -> Result<Answer, Fault> {
        let asked = self.authority.asked(globals)?;
        let is_folder = self.target.is_dir();
        if !is_folder && !self.force && fs::symlink_metadata(&self.target).is_ok() {
            return Err(exists(&self.target));
        }
        // Named after what it says when it is there; until then it only has to be in that folder.
        let name = format!("countersign-{}.tar", now().seconds());
        let passing = if is_folder {
            self.target.join(name)
        } else {
            self.target.clone()
        };
        let mut file =
            GrowingFile::create(&passing).map_err(|error| cannot_write(&passing, &error))?;
        block_on(async {
            let backend = Backend::connect(&asked).await?;
            let kept = backend
                .client
                .download(Method::POST, api::BACKUP, |piece| file.write_all(piece));
            kept.await.map_err(|error| match error {
                ClientError::Target { source } => cannot_write(&passing, &source),
                error => error.into(),
            })
        })?;
        let facts = verify(file.passing_name())?;
        FailPoint::BackupReceived.reach();
        let target = if is_folder {
            self.target.join(facts.file_name())
        } else {
            self.target
        };
        let bytes = fs::metadata(file.passing_name())
            .map_err(|error| cannot_write(&target, &error))?
            .len();
        let file = file.renamed(&target);
        let put = if self.force {
            file.replace(OWNER)
        } else {
            file.create_new(OWNER)
        };
        put.map_err(|error| match error.kind() {
            ErrorKind::AlreadyExists => exists(&target),
            _ => cannot_write(&target, &error),
        })?;
        let written = Written {
            file: target,
            bytes,
            facts,
        };
        globals.output().answer(&written, text)?;
        Ok(Answer::Yes)
    }
}

fn text(written: &Written) -> String {
    let Written { file, bytes, facts } = written;
    format!(
        "backup      {}\nsize        {bytes} bytes\nmade at     {}\nroot        {}\naudit head  {}\n\
         not in it: the passphrase of the CA keys, and the keys of servers and clients\n\
         keep the passphrase elsewhere: without it nobody can use this backup, you included\n",
        file.display(),
        facts.created_at,
        facts.root_fingerprint,
        facts.audit_head,
    )
}

fn exists(path: &Path) -> Fault {
    Fault::denied(format_args!("{} exists already", path.display()))
        .hint("choose another file, or a folder; `--force` writes over it")
}

fn cannot_write(path: &Path, error: &io::Error) -> Fault {
    Fault::world(format_args!("cannot write {}: {error}", path.display()))
        .hint("nothing is left of this backup: free space, or choose another place")
}

fn now() -> UnixTime {
    UnixTime::from_seconds(SystemClock.unix_seconds())
}

/// The audit log and the inventory are nobody else's business.
const OWNER: u32 = 0o600;
