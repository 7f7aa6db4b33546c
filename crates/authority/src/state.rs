//! The state folder: where everything lies, whose it is, and that one process at a time changes it.
//!
//! Whoever can write to the folder could lay a link or an authority of their own there. So it must belong to the user of
//! this process, and nobody else may write to it, before anything in it is opened.

mod fault;

use std::ffi::{OsStr, OsString};
use std::fs::{self, DirBuilder, File, Metadata, OpenOptions, Permissions, TryLockError};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use countersign_pki::spiffe::TrustDomain;
use rustix::fs::{Access, OFlags};

pub use self::fault::StateError;
use crate::meta::Meta;

/// A folder that is ours or empty. It need not be initialised.
#[derive(Clone, Debug)]
pub struct StateFolder {
    path: PathBuf,
}

impl StateFolder {
    /// Creates the folder (0700) where it is missing, and refuses one that cannot be used. One that is there stays as it
    /// is until it is locked.
    pub fn prepare(path: &Path) -> Result<Self, StateError> {
        let state = Self::at(path)?;
        let found = match state.look() {
            Err(StateError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                let created = DirBuilder::new()
                    .recursive(true)
                    .mode(0o700)
                    .create(&state.path);
                created.map_err(|source| state.creation_fault(source))?;
                state.look()?
            }
            found => found?,
        };
        state.refuse_owner(&found)?;
        state.refuse_foreign()?;
        state.refuse_loose(&found)?;
        rustix::fs::access(&state.path, Access::WRITE_OK | Access::EXEC_OK).map_err(|error| {
            StateError::NotWritable {
                path: state.path.clone(),
                source: error.into(),
            }
        })?;
        Ok(state)
    }

    /// The folder for who only asks: nothing is made and nothing is changed. Root may ask whoever serves another user's
    /// folder; the lock is refused to it.
    pub fn existing(path: &Path) -> Result<Self, StateError> {
        let state = Self::at(path)?;
        let found = state.look()?;
        if own_uid() != ROOT {
            state.refuse_owner(&found)?;
        }
        state.refuse_foreign()?;
        state.refuse_loose(&found)?;
        Ok(state)
    }

    /// Whether [`crate::init::init`] has finished here.
    pub fn is_initialised(&self) -> bool {
        matches!(self.format(), Ok(Some(())))
    }

    /// Takes the folder for this process, for as long as the lock lives, and removes what a killed one has left.
    pub fn lock(&self) -> Result<StateLock, StateError> {
        self.tighten()?;
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
            .custom_flags(OFlags::NOFOLLOW.bits().cast_signed())
            .open(&path)
            .map_err(|source| match source.raw_os_error() {
                Some(code) if code == rustix::io::Errno::LOOP.raw_os_error() => {
                    StateError::LockIsNoFile { path: path.clone() }
                }
                _ => io(source),
            })?;
        let opened = file.metadata().map_err(io)?;
        // It is emptied below: through a link that would be another file.
        if !opened.is_file() || opened.nlink() != 1 {
            return Err(StateError::LockIsNoFile { path });
        }
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
        // For that message alone: a disk that is full is no reason not to serve.
        let _ = file
            .set_len(0)
            .and_then(|()| writeln!(file, "{}", std::process::id()));
        self.remove_leftovers()?;
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

    /// What is armed at the gateway, and what was done with it.
    pub fn break_glass(&self) -> PathBuf {
        self.path.join("break-glass")
    }

    /// The trust domain that init was told.
    pub fn trust_domain(&self) -> io::Result<TrustDomain> {
        Ok(Meta::load(&self.meta())?.trust_domain)
    }

    /// What init was told.
    pub fn meta(&self) -> PathBuf {
        self.path.join("meta.json")
    }

    /// The `[authority]` of the configuration that was served last; not there: nothing else than the defaults was.
    pub fn kept_rules(&self) -> PathBuf {
        self.path.join(KEPT_RULES)
    }

    /// The OCSP responder's certificate and key.
    pub(crate) fn responder(&self) -> PathBuf {
        self.path.join("ocsp-responder.pem")
    }

    /// Which nodes in other processes have joined and not left.
    pub(crate) fn nodes(&self) -> PathBuf {
        self.path.join(NODES)
    }

    /// Where the inventory is copied to for a backup.
    pub(crate) fn backup_scratch(&self) -> PathBuf {
        self.path.join(".backup")
    }

    /// What lies in the folder beside what a process leaves that only looked.
    pub(crate) fn refuse_used(&self) -> Result<(), StateError> {
        let is_ours = |name: &OsString| {
            ["lock", SCAFFOLD, LOST_AND_FOUND]
                .iter()
                .any(|it| name == it)
        };
        match self.names()?.into_iter().find(|name| !is_ours(name)) {
            Some(name) if !self.is_half_made() => Err(StateError::NotEmpty {
                path: self.path.clone(),
                example: name.to_string_lossy().into_owned(),
            }),
            _ => Ok(()),
        }
    }

    /// Where a request for a sub-CA waits for its certificate, with its key.
    pub fn pending_request(&self) -> PathBuf {
        self.path.join(PENDING_REQUEST)
    }

    /// Whether one does.
    pub fn has_pending_request(&self) -> bool {
        !self.is_initialised() && self.pending_request().is_dir()
    }

    /// Where an init builds, and what tells that one was interrupted.
    pub(crate) fn scaffold(&self) -> PathBuf {
        self.path.join(SCAFFOLD)
    }

    /// Whether an init was interrupted, so that what it has moved out of its scaffold is in nobody's use. A scaffold
    /// without the format file beside a whole CA is left by an init that had finished.
    pub(crate) fn is_half_made(&self) -> bool {
        let scaffold = self.scaffold();
        let is_whole = self.ca().is_dir() && self.inventory().exists();
        scaffold.is_dir() && (scaffold.join(FORMAT_FILE).exists() || !is_whole)
    }

    fn at(path: &Path) -> Result<Self, StateError> {
        let absolute = std::path::absolute(path).map_err(|source| StateError::Io {
            what: "find",
            path: path.to_owned(),
            source,
        })?;
        let state = Self { path: absolute };
        state.refuse_long_socket()?;
        Ok(state)
    }

    fn look(&self) -> Result<Metadata, StateError> {
        let not_a_folder = || StateError::NotAFolder {
            path: self.path.clone(),
        };
        match fs::metadata(&self.path) {
            Ok(found) if found.is_dir() => Ok(found),
            Ok(_) => Err(not_a_folder()),
            Err(error) if error.kind() == io::ErrorKind::NotADirectory => Err(not_a_folder()),
            Err(source) => Err(StateError::Io {
                what: "open",
                path: self.path.clone(),
                source,
            }),
        }
    }

    /// Makes a folder that somebody made for us ours alone; those that we make always were.
    fn tighten(&self) -> Result<(), StateError> {
        let found = self.look()?;
        self.refuse_owner(&found)?;
        self.refuse_loose(&found)?;
        if self.format()?.is_none() {
            let tightened = fs::set_permissions(&self.path, Permissions::from_mode(0o700));
            tightened.map_err(|source| self.creation_fault(source))?;
            // Looked at once more: until now somebody may have put something there.
            self.refuse_loose(&found)?;
        }
        Ok(())
    }

    /// Only under the lock, which proves that nobody is in the middle of what they stand for.
    fn remove_leftovers(&self) -> Result<(), StateError> {
        let remove = |path: PathBuf, remove: fn(&Path) -> io::Result<()>| match remove(&path) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => Err(StateError::Io {
                what: "remove",
                path,
                source,
            }),
            _ => Ok(()),
        };
        remove(self.path.join(PASSING_SOCKET), |path| fs::remove_file(path))?;
        remove(self.backup_scratch(), |path| fs::remove_dir_all(path))?;
        if self.is_initialised() {
            // Kept, it would make this CA look half-made should its format file ever be lost.
            remove(self.scaffold(), |path| fs::remove_dir_all(path))?;
            // Its key is the authority's now.
            remove(self.pending_request(), |path| fs::remove_dir_all(path))?;
        }
        Ok(())
    }

    fn refuse_owner(&self, found: &Metadata) -> Result<(), StateError> {
        let (owner, own) = (found.uid(), own_uid());
        if owner == own {
            Ok(())
        } else {
            Err(StateError::NotOwner {
                path: self.path.clone(),
                owner,
                own,
            })
        }
    }

    /// An empty folder may still be tightened; of what lies in one that was open to others nobody knows whose it is.
    fn refuse_loose(&self, found: &Metadata) -> Result<(), StateError> {
        let is_loose = found.mode() & WRITABLE_BY_OTHERS != 0;
        if !is_loose || self.names()?.iter().all(|name| name == LOST_AND_FOUND) {
            return Ok(());
        }
        Err(StateError::WritableByOthers {
            path: self.path.clone(),
            mode: found.mode() & 0o7777,
        })
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

    /// Refuses a folder that is neither initialised nor fit for it.
    fn refuse_foreign(&self) -> Result<(), StateError> {
        if self.format()?.is_some() {
            return Ok(());
        }
        self.judge_names(&self.names()?)
    }

    fn names(&self) -> Result<Vec<OsString>, StateError> {
        let listed = fs::read_dir(&self.path)
            .and_then(|entries| entries.map(|entry| Ok(entry?.file_name())).collect());
        listed.map_err(|source| StateError::Io {
            what: "list",
            path: self.path.clone(),
            source,
        })
    }

    /// `names`: what lay there when no format file did.
    fn judge_names(&self, names: &[OsString]) -> Result<(), StateError> {
        let half_made = self.is_half_made();
        // Asked again, and last: the init of another process may have finished in the meantime.
        if self.format()?.is_some() {
            return Ok(());
        }
        for name in names {
            let is = |known: &[&str]| known.iter().any(|known| name == OsStr::new(known));
            let is_made = is(&MADE_BY_INIT) || is(&MADE_WHILE_SERVING);
            if is(&BEFORE_INIT) || half_made && is_made {
                continue;
            }
            return Err(if is_made {
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

fn own_uid() -> u32 {
    rustix::process::geteuid().as_raw()
}

/// What [`crate::init::init`] and a restore make, in the order in which it appears.
pub(crate) const MADE_BY_INIT: [&str; 4] = ["inventory.db", "meta.json", "ca.pem", "ca"];

/// What an authority that was served has beside it, and a restore puts back where the backup has it.
pub(crate) const MADE_WHILE_SERVING: [&str; 2] = [NODES, KEPT_RULES];

/// What a folder may hold that has no authority: that of a gateway alone does. `lost+found` belongs to a file system's root.
const BEFORE_INIT: [&str; 12] = [
    "lock",
    "admin.sock",
    PASSING_SOCKET,
    SCAFFOLD,
    "gateway",
    "break-glass",
    "decisions",
    "lists",
    "identities",
    "refusals",
    PENDING_REQUEST,
    LOST_AND_FOUND,
];

/// The admin socket until it has its mode.
pub(crate) const PASSING_SOCKET: &str = "admin.tmp";
pub(crate) const PENDING_REQUEST: &str = "request";
pub(crate) const NODES: &str = "nodes.json";
pub(crate) const KEPT_RULES: &str = "profiles.toml";
const LOST_AND_FOUND: &str = "lost+found";
const ROOT: u32 = 0;
/// Of the group and of all.
const WRITABLE_BY_OTHERS: u32 = 0o022;

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn init_that_finishes_behind_a_listing_makes_no_foreign_folder() {
        let folder = tempfile::tempdir().expect("temporary directory");
        let state = StateFolder::at(folder.path()).expect("a path");
        let seen: Vec<OsString> = MADE_BY_INIT.iter().map(OsString::from).collect();
        assert!(matches!(
            state.judge_names(&seen),
            Err(StateError::FormatMissing { .. })
        ));
        fs::write(state.format_file(), FORMAT_TEXT).expect("writes");
        state.judge_names(&seen).expect("initialised since");
    }
}
