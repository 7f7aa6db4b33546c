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
}

/// Names with the certificates that they joined with.
pub(super) type Called = BTreeMap<String, NodeCertificate>;

impl Roll {
    /// The file of a state folder.
    pub(crate) fn at(path: PathBuf) -> Self {
        Self { path: Some(path) }
    }

    /// Who was on it. A file that cannot be read is said to be so and counts as empty: revocations reach every node that
    /// joins, whether it stands here or not.
    pub(super) fn load(&self) -> Called {
        let Some(path) = &self.path else {
            return Called::new();
        };
        match read(path) {
            Ok(called) => called,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Called::new(),
            Err(error) => {
                tracing::error!(target: "feed", path = %path.display(), %error, "which nodes are away is not known: until they join again, a revocation does not wait for them");
                Called::new()
            }
        }
    }

    pub(super) fn keep(&self, called: &Called) {
        let Some(path) = &self.path else { return };
        let json = serde_json::to_vec(called).expect("names and numbers are JSON");
        if let Err(error) = write_atomic(path, &json, 0o600) {
            tracing::error!(target: "feed", path = %path.display(), %error, "nodes that have joined are forgotten when this process ends");
        }
    }
}

fn read(path: &Path) -> io::Result<Called> {
    Ok(serde_json::from_slice(&fs::read(path)?)?)
}
