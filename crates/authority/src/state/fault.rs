//! Why a state folder cannot be used.

use std::io;
use std::path::PathBuf;

use super::{FORMAT_FILE, PENDING_REQUEST};

/// Why a state folder cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StateError {
    /// Holds other things.
    #[error("{} is not a state folder of countersign: it holds {example:?}", .path.display())]
    Foreign {
        /// Which folder.
        path: PathBuf,
        /// One of them.
        example: String,
    },
    /// There is a CA but not the file that says which version wrote it.
    #[error("state folder {} holds a CA but no format file", .path.display())]
    FormatMissing {
        /// Which folder.
        path: PathBuf,
    },
    /// Another process holds the lock.
    #[error("state folder {} is in use{}", .path.display(), .pid.map(|pid| format!(" by process {pid}")).unwrap_or_default())]
    InUse {
        /// Which folder.
        path: PathBuf,
        /// Which process, if it said so.
        pid: Option<u32>,
    },
    /// Something else failed.
    #[error("cannot {what} {}: {source}", .path.display())]
    Io {
        /// The verb.
        what: &'static str,
        /// On what.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Emptying it would empty something else.
    #[error("{} is not a lock of ours: it is a link, or no regular file", .path.display())]
    LockIsNoFile {
        /// Which.
        path: PathBuf,
    },
    /// Written by a newer version.
    #[error("state folder {} has format {found}, this version knows {known}", .path.display())]
    Newer {
        /// Which folder.
        path: PathBuf,
        /// Its format.
        found: u32,
        /// Ours.
        known: u32,
    },
    /// A file, not a folder.
    #[error("{} is not a folder", .path.display())]
    NotAFolder {
        /// Which.
        path: PathBuf,
    },
    /// A restore begins in an empty folder.
    #[error("state folder {} is not empty: it holds {example:?}", .path.display())]
    NotEmpty {
        /// Which folder.
        path: PathBuf,
        /// One of the things that it holds.
        example: String,
    },
    /// Another user's.
    #[error("state folder {} belongs to user {owner}, this process runs as user {own}", .path.display())]
    NotOwner {
        /// Which folder.
        path: PathBuf,
        /// Whose it is.
        owner: u32,
        /// Who we are.
        own: u32,
    },
    /// No right to write.
    #[error("state folder {} is not writable: {source}", .path.display())]
    NotWritable {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A sub-CA was asked for, and its certificate has not come.
    #[error("state folder {} waits for the certificate of the sub-CA that it has asked for", .path.display())]
    RequestPending {
        /// Which folder.
        path: PathBuf,
    },
    /// A restore began here and did not finish.
    #[error("state folder {} holds a restore that did not finish", .path.display())]
    RestoreUnfinished {
        /// Which folder.
        path: PathBuf,
    },
    /// `sun_path` is too short for the socket's path.
    #[error("the admin socket's path {} has {bytes} bytes, at most {limit} fit", .path.display())]
    SocketPathTooLong {
        /// The socket.
        path: PathBuf,
        /// Its length.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
    /// Anybody may have put there what lies there.
    #[error("state folder {} can be written to by other users (mode {mode:04o})", .path.display())]
    WritableByOthers {
        /// Which folder.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
}

impl StateError {
    /// What to do.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Foreign { .. } | Self::NotAFolder { .. } | Self::NotEmpty { .. } => {
                "--state names the folder; choose one that is empty or does not exist yet"
                    .to_owned()
            }
            Self::FormatMissing { path } => {
                format!(
                    "restore {} from a backup, or empty the folder to begin anew with a new CA",
                    path.join(FORMAT_FILE).display()
                )
            }
            Self::InUse { .. } => {
                "end the other process, or choose another folder with --state".to_owned()
            }
            Self::LockIsNoFile { .. } => "find out who put it there, then remove it".to_owned(),
            Self::NotOwner { owner, .. } => {
                format!(
                    "run as that user (`sudo -u '#{owner}' countersign …`), or choose another folder with --state"
                )
            }
            Self::WritableByOthers { path, .. } => {
                format!(
                    "see that nobody has put anything there, then `chmod go-w {}`",
                    path.display()
                )
            }
            Self::Newer { .. } => {
                "use the version of countersign that wrote it, or a newer one".to_owned()
            }
            Self::NotWritable { .. } => {
                "run as the folder's owner, or choose another folder with --state".to_owned()
            }
            Self::RequestPending { path } => {
                format!(
                    "when {} is signed: `countersign ca adopt --certificate FILE --root FILE`; to begin anew with another key, remove {} first",
                    path.join(PENDING_REQUEST).join("request.pem").display(),
                    path.join(PENDING_REQUEST).display()
                )
            }
            Self::RestoreUnfinished { .. } => {
                "`countersign ca restore FILE` again finishes it; or empty the folder".to_owned()
            }
            Self::SocketPathTooLong { .. } => "choose a shorter path with --state".to_owned(),
            Self::Io { .. } => return None,
        })
    }
}
