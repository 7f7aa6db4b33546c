//! The state folder: where everything lies, whose it is, and that one process at a time changes it.

use std::ffi::OsStr;
use std::fs::{self, DirBuilder, File, OpenOptions, Permissions, TryLockError};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::Access;

/// A folder that is ours or empty, readable by its owner alone. It need not be initialised.
#[derive(Clone, Debug)]
pub struct StateFolder {
    path: PathBuf,
}

impl StateFolder {
    /// Creates the folder (0700) where it is missing, and refuses one that cannot be used.
    pub fn prepare(path: &Path) -> Result<Self, StateError> {
        let io = |what, source| StateError::Io {
            what,
            path: path.to_owned(),
            source,
        };
        let state = Self {
            path: std::path::absolute(path).map_err(|source| io("find", source))?,
        };
        state.refuse_long_socket()?;
        match fs::metadata(&state.path) {
            Ok(found) if !found.is_dir() => {
                return Err(StateError::NotAFolder { path: state.path });
            }
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let created = DirBuilder::new()
                    .recursive(true)
                    .mode(0o700)
                    .create(&state.path);
                created.map_err(|source| state.creation_fault(source))?;
            }
            Err(error) if error.kind() == io::ErrorKind::NotADirectory => {
                return Err(StateError::NotAFolder { path: state.path });
            }
            Err(source) => return Err(io("open", source)),
        }
        if state.format()?.is_none() {
            state.refuse_foreign()?;
            // A folder that somebody made for us; ours always were 0700.
            let tightened = fs::set_permissions(&state.path, Permissions::from_mode(0o700));
            tightened.map_err(|source| state.creation_fault(source))?;
        }
        rustix::fs::access(&state.path, Access::WRITE_OK | Access::EXEC_OK).map_err(|error| {
            StateError::NotWritable {
                path: state.path.clone(),
                source: error.into(),
            }
        })?;
        Ok(state)
    }

    /// Whether [`crate::init::init`] has finished here.
    pub fn is_initialised(&self) -> bool {
        matches!(self.format(), Ok(Some(())))
    }

    /// Takes the folder for this process, for as long as the lock lives.
    pub fn lock(&self) -> Result<StateLock, StateError> {
        let path = self.path.join("lock");
        let io = |source| StateError::Io {
            what: "lock",
            path: path.clone(),
            source,
        };
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .map_err(io)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut text = String::new();
                // The number is for the message alone; a holder that has not written it yet is just not named.
                let _ = (&mut file).take(16).read_to_string(&mut text);
                return Err(StateError::InUse {
                    path: self.path.clone(),
                    pid: text.trim().parse().ok(),
                });
            }
            Err(TryLockError::Error(source)) => return Err(io(source)),
        }
        file.set_len(0)
            .and_then(|()| writeln!(file, "{}", std::process::id()))
            .map_err(io)?;
        Ok(StateLock { _file: file })
    }

    /// The folder, absolute.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The admin socket.
    pub fn socket(&self) -> PathBuf {
        self.path.join("admin.sock")
    }

    /// The root certificate: what clients trust.
    pub fn ca_pem(&self) -> PathBuf {
        self.path.join("ca.pem")
    }

    /// CA certificates, sealed keys and the root's CRL.
    pub fn ca(&self) -> PathBuf {
        self.path.join("ca")
    }

    /// The generated passphrase, where there is one.
    pub fn passphrase(&self) -> PathBuf {
        self.ca().join("passphrase")
    }

    /// The gateway's own certificate: leaf, then intermediate.
    pub fn gateway_certificate(&self) -> PathBuf {
        self.path.join("gateway").join("cert.pem")
    }

    /// The gateway's own key.
    pub fn gateway_key(&self) -> PathBuf {
        self.path.join("gateway").join("key.pem")
    }

    /// `identities/NAME`, where `cert.pem`, `key.pem` and `ca.pem` go. NAME is made fit to be one path segment.
    pub fn identity(&self, name: &str) -> PathBuf {
        let fit = |c: char| {
            if c.is_alphanumeric() || "-._@".contains(c) {
                c
            } else {
                '_'
            }
        };
        let bare = name.strip_prefix("spiffe://").unwrap_or(name);
        let segment: String = bare.chars().map(fit).take(MAX_SEGMENT_CHARS).collect();
        let dots = segment.chars().take_while(|&c| c == '.').count();
        let segment = format!(
            "{}{}",
            "_".repeat(dots.max(usize::from(segment.is_empty()))),
            &segment[dots..]
        );
        self.path.join("identities").join(segment)
    }

    /// The inventory.
    pub fn inventory(&self) -> PathBuf {
        self.path.join("inventory.db")
    }

    /// The gateway's ring of refusals.
    pub fn refusals(&self) -> PathBuf {
        self.path.join("refusals")
    }

    /// What init was told.
    pub fn meta(&self) -> PathBuf {
        self.path.join("meta.json")
    }

    /// Where an init builds, and what tells that one was interrupted.
    pub(crate) fn scaffold(&self) -> PathBuf {
        self.path.join(SCAFFOLD)
    }

    pub(crate) fn format_file(&self) -> PathBuf {
        self.path.join(FORMAT_FILE)
    }

    /// `None`: not initialised.
    fn format(&self) -> Result<Option<()>, StateError> {
        let path = self.format_file();
        let foreign = || StateError::Foreign {
            path: self.path.clone(),
            example: FORMAT_FILE.to_owned(),
        };
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) if error.kind() == io::ErrorKind::InvalidData => return Err(foreign()),
            Err(source) => {
                return Err(StateError::Io {
                    what: "read",
                    path,
                    source,
                });
            }
        };
        let number = text
            .strip_prefix(FORMAT_WORD)
            .and_then(|rest| rest.trim().parse::<u32>().ok())
            .ok_or_else(foreign)?;
        match number {
            FORMAT => Ok(Some(())),
            0 => Err(foreign()),
            found => Err(StateError::Newer {
                path: self.path.clone(),
                found,
                known: FORMAT,
            }),
        }
    }

    fn refuse_foreign(&self) -> Result<(), StateError> {
        let io = |source| StateError::Io {
            what: "list",
            path: self.path.clone(),
            source,
        };
        let interrupted = self.scaffold().is_dir();
        for entry in fs::read_dir(&self.path).map_err(io)? {
            let name = entry.map_err(io)?.file_name();
            let is = |known: &[&str]| known.iter().any(|known| name == OsStr::new(known));
            if is(&BEFORE_INIT) || interrupted && is(&MADE_BY_INIT) {
                continue;
            }
            return Err(if is(&MADE_BY_INIT) {
                StateError::FormatMissing {
                    path: self.path.clone(),
                }
            } else {
                StateError::Foreign {
                    path: self.path.clone(),
                    example: name.to_string_lossy().into_owned(),
                }
            });
        }
        Ok(())
    }

    fn refuse_long_socket(&self) -> Result<(), StateError> {
        let path = self.socket();
        let bytes = path.as_os_str().len();
        if bytes > MAX_SOCKET_PATH {
            return Err(StateError::SocketPathTooLong {
                path,
                bytes,
                limit: MAX_SOCKET_PATH,
            });
        }
        Ok(())
    }

    fn creation_fault(&self, source: io::Error) -> StateError {
        match source.kind() {
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
                StateError::NotWritable {
                    path: self.path.clone(),
                    source,
                }
            }
            io::ErrorKind::NotADirectory | io::ErrorKind::AlreadyExists => StateError::NotAFolder {
                path: self.path.clone(),
            },
            _ => StateError::Io {
                what: "create",
                path: self.path.clone(),
                source,
            },
        }
    }
}

/// The folder is ours while this lives.
#[derive(Debug)]
#[must_use = "the folder is free again when the lock is dropped"]
pub struct StateLock {
    _file: File,
}

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
    /// No right to write.
    #[error("state folder {} is not writable: {source}", .path.display())]
    NotWritable {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
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
}

impl StateError {
    /// What to do.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Foreign { .. } | Self::NotAFolder { .. } => {
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
            Self::Newer { .. } => {
                "use the version of countersign that wrote it, or a newer one".to_owned()
            }
            Self::NotWritable { .. } => {
                "run as the folder's owner, or choose another folder with --state".to_owned()
            }
            Self::SocketPathTooLong { .. } => "choose a shorter path with --state".to_owned(),
            Self::Io { .. } => return None,
        })
    }
}

/// What [`crate::init::init`] makes, in the order in which it appears.
pub(crate) const MADE_BY_INIT: [&str; 4] = ["inventory.db", "meta.json", "ca.pem", "ca"];

/// What a folder may hold that has no authority: that of a gateway alone does. `lost+found` belongs to a file system's root.
const BEFORE_INIT: [&str; 7] = [
    "lock",
    "admin.sock",
    SCAFFOLD,
    "gateway",
    "identities",
    "refusals",
    "lost+found",
];

const SCAFFOLD: &str = ".init";
const FORMAT_FILE: &str = "format";
const FORMAT_WORD: &str = "countersign-state ";
const FORMAT: u32 = 1;
/// The content of the format file.
pub(crate) const FORMAT_TEXT: &str = "countersign-state 1\n";
/// `sun_path` has 108 bytes, the last of them NUL (unix(7)).
const MAX_SOCKET_PATH: usize = 107;
/// At most 4 bytes a character: file names have 255.
const MAX_SEGMENT_CHARS: usize = 60;
