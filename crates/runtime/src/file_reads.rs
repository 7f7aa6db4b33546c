//! Reads of files that may never end. Those of what is no file are not begun; one of a network whose server is gone nothing can end but the
//! kernel, so whoever waits gives it up, and nobody begins another of the same file.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::{self, ThreadId};
use std::time::{Duration, Instant};

use rustix::fs::OFlags;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

/// A read that has not ended for [`READ_LIMIT`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("reading {} has not ended for {} s: what it lies on does not answer", .path.display(), .lasting.as_secs())]
pub struct Stuck {
    /// Of which file.
    pub path: PathBuf,
    /// Since it began.
    pub lasting: Duration,
}

impl From<Stuck> for io::Error {
    fn from(stuck: Stuck) -> Self {
        Self::new(io::ErrorKind::TimedOut, stuck)
    }
}

/// A read that is under way.
pub(crate) struct Reading {
    path: PathBuf,
    by: ThreadId,
}

struct UnderWay {
    path: PathBuf,
    by: ThreadId,
    since: Instant,
}

impl UnderWay {
    fn stuck(&self) -> Option<Stuck> {
        let lasting = self.since.elapsed();
        (lasting >= READ_LIMIT).then(|| Stuck {
            path: self.path.clone(),
            lasting,
        })
    }
}

impl Reading {
    /// Refuses while another of the same file is stuck: each would cost a thread.
    pub(crate) fn begin(path: &Path) -> Result<Self, Stuck> {
        let by = thread::current().id();
        let mut under_way = under_way();
        let mut others = under_way.iter().filter(|it| it.path == path);
        if let Some(stuck) = others.find_map(UnderWay::stuck) {
            return Err(stuck);
        }
        let path = path.to_owned();
        under_way.push(UnderWay {
            path: path.clone(),
            by,
            since: Instant::now(),
        });
        Ok(Self { path, by })
    }
}

impl Drop for Reading {
    fn drop(&mut self) {
        under_way().retain(|it| !(it.path == self.path && it.by == self.by));
    }
}

/// Opens a file that somebody has named, through every link. A FIFO, a socket and a device have no end, or wait for somebody who may
/// never come, `/dev/stdin` among them: they are refused, and not waited for.
pub(crate) fn open_regular(path: &Path) -> io::Result<File> {
    // Without the flag a FIFO is opened when somebody writes to it; of what is looked at first, another may stand there next.
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(OFlags::NONBLOCK.bits().cast_signed())
        .open(path)?;
    let kind = file.metadata()?.file_type();
    let what = if kind.is_fifo() {
        "a pipe"
    } else if kind.is_socket() {
        "a socket"
    } else if kind.is_char_device() || kind.is_block_device() {
        "a device"
    } else {
        // A folder says itself that it cannot be read.
        return Ok(file);
    };
    let why = format!("it is {what}, which may have no end: give a file");
    Err(io::Error::new(io::ErrorKind::InvalidInput, why))
}

/// Does work that reads files by [`crate::watched_files::Sight`], on a thread that may wait. A read that is stuck is given up: its thread
/// stays behind until the kernel lets go of it.
pub async fn unless_stuck<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Stuck> {
    let worker = Arc::new(OnceLock::new());
    let by = Arc::clone(&worker);
    let mut working = spawn_blocking(move || {
        by.get_or_init(|| thread::current().id());
        work()
    });
    loop {
        match timeout(LOOK, &mut working).await {
            Ok(Ok(done)) => return Ok(done),
            Ok(Err(failed)) => match failed.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                // The runtime is ending, and with it whoever waits.
                Err(_) => std::future::pending().await,
            },
            Err(_) => {
                if let Some(stuck) = worker.get().copied().and_then(stuck_on) {
                    return Err(stuck);
                }
            }
        }
    }
}

fn stuck_on(worker: ThreadId) -> Option<Stuck> {
    let under_way = under_way();
    let mut theirs = under_way.iter().filter(|it| it.by == worker);
    theirs.find_map(UnderWay::stuck)
}

fn under_way() -> MutexGuard<'static, Vec<UnderWay>> {
    // Nothing between lock and unlock panics.
    UNDER_WAY.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One for the process, as threads are: whoever reads a file that is stuck, it is one thread more that is lost.
static UNDER_WAY: Mutex<Vec<UnderWay>> = Mutex::new(Vec::new());

/// What a reload reads is small, but for revocation lists: 64 MiB at less than 100 Mbit/s.
pub const READ_LIMIT: Duration = Duration::from_secs(10);

const LOOK: Duration = Duration::from_millis(250);

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;
    use std::sync::mpsc::channel;

    use rustix::fs::{CWD, FileType, Mode, mknodat};

    use super::*;
    use crate::watched_files::Sight;

    #[test]
    fn what_is_no_file_is_refused_at_once() {
        let folder = tempfile::tempdir().expect("a folder");
        let at = |name: &str| folder.path().join(name);
        mknodat(CWD, at("fifo"), FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).expect("a FIFO");
        let _socket = UnixListener::bind(at("socket")).expect("a socket");
        std::os::unix::fs::symlink("fifo", at("link")).expect("writable");
        std::fs::write(at("file"), "whole").expect("writable");
        std::os::unix::fs::symlink("file", at("good")).expect("writable");
        for (path, what) in [
            (at("fifo"), "a pipe"),
            (at("link"), "a pipe"),
            ("/dev/zero".into(), "a device"),
        ] {
            let refused = Sight::read(&path).1.expect_err("no file").to_string();
            assert!(refused.contains(what), "{}: {refused}", path.display());
        }
        // The kernel refuses to open it, whatever the flags.
        assert!(Sight::read(&at("socket")).1.is_err());
        for name in ["file", "good"] {
            assert_eq!(Sight::read(&at(name)).1.expect("readable"), b"whole");
        }
    }

    #[tokio::test]
    async fn read_that_never_ends_is_given_up_and_not_begun_again() {
        let folder = tempfile::tempdir().expect("a folder");
        let (remote, file) = (folder.path().join("remote"), folder.path().join("file"));
        for path in [&remote, &file] {
            std::fs::write(path, "whole").expect("writable");
        }
        let path = remote.clone();
        // As a kernel that waits for a server.
        let (answer, server) = channel::<()>();
        let stuck = unless_stuck(move || {
            let _reading = Reading::begin(&path).expect("the first");
            let _ = server.recv();
        });
        let stuck = stuck.await.expect_err("it has no end");
        assert_eq!(stuck.path, remote);
        assert!(stuck.lasting >= READ_LIMIT && stuck.to_string().contains("remote"));
        // At once, on whatever thread.
        let again = Sight::read(&remote).1.expect_err("it is stuck still");
        assert_eq!(again.kind(), io::ErrorKind::TimedOut);
        assert_eq!(Sight::read(&file).1.expect("readable"), b"whole");
        // Whoever ends it makes it good for all.
        drop(answer);
        while Sight::of(&remote) == Sight::NOTHING {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn work_that_takes_long_and_reads_nothing_is_waited_for() {
        let worked = unless_stuck(|| thread::sleep(2 * LOOK)).await;
        assert_eq!(worked, Ok(()));
    }
}
