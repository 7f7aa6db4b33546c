//! The nodes in other processes that have joined and neither left nor been revoked, kept over restarts: one that is away
//! may serve on by what it has heard, so whoever revokes has to be told that it has not confirmed.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use countersign_runtime::atomic_file::write_atomic;

use super::NodeCertificate;

/// A file in the state folder; `None`: nothing is kept.
#[derive(Debug, Default)]
pub(crate) struct Roll {
    path: Option<PathBuf>,
    /// What is in the file is not what was called last.
    is_behind: bool,
}

/// Names with the certificates that they joined with.
pub(crate) type Called = BTreeMap<String, NodeCertificate>;

impl Roll {
    /// The file of a state folder, and who was on it; where there is none, nobody. One that cannot be understood says of no
    /// node that nobody need wait for it.
    pub(crate) fn open(path: PathBuf) -> io::Result<(Self, Called)> {
        let called = match read(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Called::new(),
            called => called?,
        };
        let roll = Self {
            path: Some(path),
            is_behind: false,
        };
        Ok((roll, called))
    }

    /// Who is on it, in the bytes of its file.
    pub(crate) fn parse(bytes: &[u8]) -> io::Result<Called> {
        Ok(serde_json::from_slice(bytes)?)
    }

    /// Whether what was called last has to be kept again.
    pub(super) fn is_behind(&self) -> bool {
        self.is_behind
    }

    pub(super) fn keep(&mut self, called: &Called) {
        let kept = self.replace(called);
        if let (Err(error), false, Some(path)) = (&kept, self.is_behind, &self.path) {
            tracing::error!(target: "feed", path = %path.display(), %error, "which nodes have joined is not kept on disk: it is tried again");
        }
        self.is_behind = kept.is_err();
    }

    /// Durable on return.
    pub(crate) fn replace(&self, called: &Called) -> io::Result<()> {
        let Some(path) = &self.path else {
            return Ok(());
        };
        let json = serde_json::to_vec(called).expect("names and numbers are JSON");
        write_atomic(path, &json, 0o600)
    }
}

fn read(path: &Path) -> io::Result<Called> {
    Roll::parse(&fs::read(path)?)
}
