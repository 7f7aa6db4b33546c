//! Decisions on disk: lines of JSON, the first of which says what they are. Written whole or not at all.

use std::collections::HashMap;
use std::fs::{self, DirBuilder};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use countersign_pki::fingerprint::Fingerprint;
use countersign_pki::identity::Identity;
use countersign_runtime::atomic_file::replace_with;
use serde::{Deserialize, Serialize};

use super::entry::{StoredCertificate, StoredClient, StoredDecision};
use super::observed::Observed;

/// Its name in the state folder: in a folder of its own, as a process that is killed leaves half a file beside it.
pub const FILE: &str = "decisions/decisions.jsonl";

/// What the file says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Kept {
    /// For how long it was looked.
    pub observed: Observed,
    /// The certificates that tallies name, by their SHA-256.
    pub certificates: HashMap<Fingerprint, StoredCertificate>,
    /// What was decided.
    pub decisions: Vec<StoredDecision>,
    /// Who came.
    pub clients: Vec<StoredClient>,
}

/// Why decisions that were kept cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum KeptError {
    /// There is no file.
    #[error("no decisions are kept there")]
    Absent,
    /// It is not what was written.
    #[error("line {line}: {why}")]
    Damaged {
        /// Counted from 1.
        line: usize,
        /// What is wrong with it.
        why: String,
    },
    /// The system gives it to nobody.
    #[error(transparent)]
    Io(#[from] io::Error),
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Line {
    /// The first one.
    Decisions {
        format: u32,
        observed: Observed,
    },
    Certificate {
        sha256: Fingerprint,
        identity: Identity,
        chain: Vec<String>,
    },
    Decision(StoredDecision),
    Client(StoredClient),
}

/// What is kept in this file.
pub fn read(path: &Path) -> Result<Kept, KeptError> {
    let file = match fs::File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(KeptError::Absent),
        opened => opened?,
    };
    let mut bytes = Vec::new();
    file.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes)?;
    let damaged = |line: usize, why: String| KeptError::Damaged { line, why };
    if bytes.len() as u64 > MAX_FILE_BYTES {
        return Err(damaged(
            1,
            "the file is longer than any that was written".to_owned(),
        ));
    }
    let mut kept = Kept::default();
    let text = bytes
        .strip_suffix(b"\n")
        .ok_or_else(|| damaged(1, "it does not end".to_owned()))?;
    for (index, line) in text.split(|byte| *byte == b'\n').enumerate() {
        let number = index + 1;
        let line: Line =
            serde_json::from_slice(line).map_err(|error| damaged(number, error.to_string()))?;
        match (line, index) {
            (
                Line::Decisions {
                    format: FORMAT,
                    observed,
                },
                0,
            ) => kept.observed = observed,
            (Line::Decisions { format, .. }, 0) => {
                return Err(damaged(number, format!("format {format} is not {FORMAT}")));
            }
            (Line::Decisions { .. }, _) | (_, 0) => {
                return Err(damaged(number, "it stands in the wrong place".to_owned()));
            }
            (
                Line::Certificate {
                    sha256,
                    identity,
                    chain,
                },
                _,
            ) => {
                let chain = chain.iter().map(|der| STANDARD.decode(der));
                let chain = chain.collect::<Result<_, _>>();
                let chain = chain.map_err(|error| damaged(number, error.to_string()))?;
                kept.certificates
                    .insert(sha256, StoredCertificate { identity, chain });
            }
            (Line::Decision(decision), _) => kept.decisions.push(decision),
            (Line::Client(client), _) => kept.clients.push(client),
        }
    }
    Ok(kept)
}

pub(super) fn write(path: &Path, kept: &Kept) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder)?;
    }
    replace_with(path, 0o600, |file| {
        let mut line = |line: &Line| {
            serde_json::to_writer(&mut *file, line)?;
            file.write_all(b"\n")
        };
        line(&Line::Decisions {
            format: FORMAT,
            observed: kept.observed.clone(),
        })?;
        for (sha256, certificate) in &kept.certificates {
            line(&Line::Certificate {
                sha256: *sha256,
                identity: certificate.identity.clone(),
                chain: certificate
                    .chain
                    .iter()
                    .map(|der| STANDARD.encode(der))
                    .collect(),
            })?;
        }
        for decision in &kept.decisions {
            line(&Line::Decision(decision.clone()))?;
        }
        for client in &kept.clients {
            line(&Line::Client(client.clone()))?;
        }
        Ok(())
    })?;
    Ok(())
}

/// Of an earlier run that is none: beside it, for whoever wants to know, and out of the way.
pub(super) fn set_aside(path: &Path) -> io::Result<()> {
    fs::rename(path, path.with_extension("damaged"))
}

/// The file, what was set aside, and what a killed process left of either.
pub(super) fn remove(path: &Path) -> io::Result<()> {
    let Some(folder) = path.parent() else {
        return Ok(());
    };
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

/// What a killed process left of a file that it was writing.
pub(super) fn remove_leftovers(path: &Path) -> io::Result<()> {
    let Some(folder) = path.parent() else {
        return Ok(());
    };
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name();
        if name.as_encoded_bytes().starts_with(b".") && name.as_encoded_bytes().ends_with(b".tmp") {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

const FORMAT: u32 = 1;
/// Every entry and every chain at its bound.
const MAX_FILE_BYTES: u64 = 128 << 20;
