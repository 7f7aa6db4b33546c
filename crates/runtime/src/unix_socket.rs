//! Listening Unix sockets: who may connect from the first instant, and no socket of a program that lives is taken over.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, Mode, fchmod, flock};
use rustix::io::Errno;
use socket2::{Domain, SockAddr, Socket, Type};

use crate::listen::BACKLOG;

/// One path with a socket for each worker: one queue, from which whoever is free accepts.
#[derive(Debug)]
pub struct UnixListenerSet {
    /// Nonblocking.
    pub sockets: Vec<UnixListener>,
    /// The file; it goes when this is dropped.
    pub file: SocketFile,
}

impl UnixListenerSet {
    /// Listens at `path` with `count` sockets, at least one; `mode` (as of chmod(1), at most 0o777) says who may connect.
    ///
    /// What a program left there that is gone is replaced. A path at which somebody answers, or that is no socket, is refused.
    pub fn bind(path: &Path, mode: u32, count: usize) -> Result<Self, SocketError> {
        let fault = |reason| SocketError::Other {
            path: path.to_owned(),
            reason,
        };
        // Two that start at once must not each take the other's socket for a dead one.
        let parent = path.parent().unwrap_or(Path::new("/"));
        let folder = fs::File::open(parent).map_err(fault)?;
        flock(&folder, FlockOperation::NonBlockingLockExclusive).map_err(|error| match error {
            Errno::WOULDBLOCK => SocketError::FolderLocked {
                path: path.to_owned(),
                folder: parent.to_owned(),
            },
            error => fault(error.into()),
        })?;
        let first = match open(path) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
                remove_dead(path)?;
                open(path).map_err(fault)?
            }
            opened => opened.map_err(fault)?,
        };
        fs::set_permissions(path, Permissions::from_mode(mode & 0o777)).map_err(fault)?;
        let of_file = fs::symlink_metadata(path).map_err(fault)?;
        let file = SocketFile {
            path: path.to_owned(),
            identity: (of_file.dev(), of_file.ino()),
        };
        let mut sockets = vec![first];
        for _ in 1..count {
            sockets.push(sockets[0].try_clone().map_err(fault)?);
        }
        Ok(Self { sockets, file })
    }
}

/// The file of a socket. Dropping it removes the file, unless another one stands there by now.
#[derive(Debug)]
pub struct SocketFile {
    path: PathBuf,
    /// Device and inode.
    identity: (u64, u64),
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        let now = fs::symlink_metadata(&self.path);
        if now.is_ok_and(|now| (now.dev(), now.ino()) == self.identity)
            && let Err(error) = fs::remove_file(&self.path)
        {
            tracing::debug!(%error, "a socket's file stays");
        }
    }
}

/// Why there is no socket at a path.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SocketError {
    /// Somebody else holds the lock by which programs that start at once take turns.
    #[error(
        "cannot listen on unix:{path}: another program holds a lock (flock) on the folder {folder}"
    )]
    FolderLocked {
        /// The path asked for.
        path: PathBuf,
        /// Where it would stand.
        folder: PathBuf,
    },
    /// Somebody listens there.
    #[error("cannot listen on unix:{path}: a program that runs has that socket")]
    InUse {
        /// The path asked for.
        path: PathBuf,
    },
    /// A file that is not ours to replace.
    #[error("cannot listen on unix:{path}: it is no socket")]
    NoSocket {
        /// The path asked for.
        path: PathBuf,
    },
    /// Anything else that the system said.
    #[error("cannot listen on unix:{path}: {reason}")]
    Other {
        /// The path asked for.
        path: PathBuf,
        /// What the system said.
        reason: io::Error,
    },
}

impl SocketError {
    /// What the operator can do about it.
    pub fn hint(&self) -> String {
        match self {
            Self::FolderLocked { folder, .. } => format!(
                "a gateway holds it while it starts: try again; `lslocks` or `fuser -v {folder}` names who holds it for longer: stop that program, or choose a folder of the gateway's own",
                folder = folder.display()
            ),
            Self::InUse { path } => {
                let path = path.display();
                format!("`ss -lxp src {path}` names the program: stop it or choose another path")
            }
            Self::NoSocket { path } => {
                format!("move {} away, or choose another path", path.display())
            }
            Self::Other { path, .. } => format!(
                "the folder {} must be there and writable",
                path.parent().unwrap_or(Path::new("/")).display()
            ),
        }
    }
}

fn open(path: &Path) -> io::Result<UnixListener> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    // The file gets the mode of the socket: nobody else may connect before it has the one that it shall have.
    fchmod(&socket, Mode::RUSR | Mode::WUSR)?;
    socket.bind(&SockAddr::unix(path)?)?;
    socket.listen(i32::try_from(BACKLOG).unwrap_or(i32::MAX))?;
    Ok(socket.into())
}

fn remove_dead(path: &Path) -> Result<(), SocketError> {
    let fault = |reason| SocketError::Other {
        path: path.to_owned(),
        reason,
    };
    if !(fs::symlink_metadata(path).map_err(fault)?.file_type()).is_socket() {
        return Err(SocketError::NoSocket {
            path: path.to_owned(),
        });
    }
    match UnixStream::connect(path) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            fs::remove_file(path).map_err(fault)
        }
        // Whatever else is said of it, that nobody is there is not.
        _ => Err(SocketError::InUse {
            path: path.to_owned(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;

    fn place() -> (TempDir, PathBuf) {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("out.sock");
        (folder, path)
    }

    fn mode(path: &Path) -> u32 {
        let metadata = fs::symlink_metadata(path).expect("bound");
        metadata.permissions().mode() & 0o777
    }

    #[test]
    fn folder_that_somebody_else_has_locked_is_named_with_its_lock() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("a.sock");
        let foreign = fs::File::open(folder.path()).expect("a folder");
        flock(&foreign, FlockOperation::NonBlockingLockExclusive).expect("nobody else has it");
        let refused = UnixListenerSet::bind(&path, 0o600, 1).expect_err("it is locked");
        let shown = folder.path().display().to_string();
        let told = refused.to_string();
        assert!(
            told.contains("a lock (flock)") && told.ends_with(&shown),
            "{told}"
        );
        let hint = refused.hint();
        assert!(hint.contains("lslocks") && hint.contains(&shown), "{hint}");
        assert!(!path.exists());
        drop(foreign);
        UnixListenerSet::bind(&path, 0o600, 1).expect("nobody has it any more");
    }

    #[test]
    fn socket_has_its_mode_and_goes_with_its_set() {
        let (_folder, path) = place();
        for wanted in [0o600, 0o660, 0o666] {
            let set = UnixListenerSet::bind(&path, wanted, 2).expect("binds");
            assert_eq!((mode(&path), set.sockets.len()), (wanted, 2));
            UnixStream::connect(&path).expect("listens");
            drop(set);
            assert!(!path.exists());
        }
    }

    #[test]
    fn nobody_else_connects_before_the_mode_is_set() {
        let (_folder, path) = place();
        let _socket = open(&path).expect("binds");
        assert_eq!(mode(&path) & 0o077, 0);
    }

    #[test]
    fn dead_socket_is_replaced_and_a_living_one_is_not() {
        let (_folder, path) = place();
        drop(UnixListener::bind(&path).expect("binds"));
        let living = UnixListenerSet::bind(&path, 0o600, 1).expect("nobody is there");
        assert!(matches!(
            UnixListenerSet::bind(&path, 0o600, 1),
            Err(SocketError::InUse { .. })
        ));
        UnixStream::connect(&path).expect("still there");
        drop(living);
    }

    #[test]
    fn file_that_is_no_socket_stays() {
        let (_folder, path) = place();
        fs::write(&path, "mine").expect("ours");
        assert!(matches!(
            UnixListenerSet::bind(&path, 0o600, 1),
            Err(SocketError::NoSocket { .. })
        ));
        assert_eq!(fs::read_to_string(&path).expect("stays"), "mine");
    }

    #[test]
    fn file_of_a_successor_is_left() {
        let (_folder, path) = place();
        let set = UnixListenerSet::bind(&path, 0o600, 1).expect("binds");
        fs::remove_file(&path).expect("ours");
        let _successor = UnixListener::bind(&path).expect("binds");
        drop(set);
        assert!(path.exists());
    }

    #[test]
    fn absent_folder_is_an_error_with_its_name() {
        let error = UnixListenerSet::bind(Path::new("/absent/out.sock"), 0o600, 1)
            .expect_err("there is no such folder");
        assert!(error.hint().contains("/absent"), "{}", error.hint());
    }
}
