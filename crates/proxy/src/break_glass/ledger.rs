//! The folder of break-glass: a log that only grows, and a file for each listener that is armed. One thread writes; whoever asked is
//! told when it is on the disk.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread;
use std::time::Duration;

use countersign_pki::fingerprint::Fingerprint;
use countersign_pki::time::UnixTime;
use countersign_policy::break_glass::{Armed, Statement};
use countersign_runtime::atomic_file::write_atomic;
use countersign_runtime::clock::SharedClock;
use rustix::fs::OFlags;
use serde::Serialize;
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout_at};

use super::{Home, LOG_FILE, Source, file_name};
use crate::refusals::printable;

/// A line of `log.jsonl`.
#[derive(Debug, Serialize)]
pub(crate) struct Record {
    at: String,
    event: &'static str,
    listener: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires: Option<String>,
    /// Tells an arming from every other.
    #[serde(skip_serializing_if = "Option::is_none")]
    nonce: Option<String>,
    /// Who armed or disarmed it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) by: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    approvers: Vec<String>,
    /// Who used it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) who: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) fingerprint: Option<Fingerprint>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) source: Option<Source>,
    #[serde(flatten)]
    pub(super) used: Used,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) why: Option<String>,
}

/// What for: nothing is known of a connection, of a request this. The query stays out, it may hold secrets.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Used {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) method: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) host: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) path: Option<String>,
    /// Where the record does not show all of it.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    whole: Option<WholePath>,
}

/// Tells two paths apart whose beginnings are the same.
#[derive(Debug, Serialize)]
struct WholePath {
    path_bytes: usize,
    path_sha256: Fingerprint,
}

impl Used {
    pub(super) fn request(method: &http::Method, host: &str, path: &str) -> Self {
        let shown = printable(path);
        let whole = (shown != path).then(|| WholePath {
            path_bytes: path.len(),
            path_sha256: Fingerprint::of(path.as_bytes()),
        });
        Self {
            method: Some(printable(method)),
            host: Some(printable(host)),
            path: Some(shown),
            whole,
        }
    }
}

impl Record {
    pub(super) fn new(event: &'static str, listener: &str) -> Self {
        Self {
            at: String::new(),
            event,
            listener: listener.to_owned(),
            reason: None,
            expires: None,
            nonce: None,
            by: None,
            approvers: Vec::new(),
            who: None,
            fingerprint: None,
            source: None,
            used: Used::default(),
            why: None,
        }
    }

    pub(super) fn of(event: &'static str, listener: &str, armed: &Armed) -> Self {
        let mut record = Self::new(event, listener);
        record.statement(armed.statement());
        record.by = Some(armed.by().to_owned());
        record.approvers = armed.approvers().to_vec();
        record
    }

    pub(super) fn statement(&mut self, statement: &Statement) {
        self.reason = Some(statement.reason().as_str().to_owned());
        self.expires = Some(statement.expires().to_string());
        self.nonce = Some(statement.nonce());
    }
}

/// The end of the thread. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Ledger {
    jobs: SyncSender<Job>,
    clock: SharedClock,
}

struct Job {
    work: Work,
    done: Done,
}

/// Tells whoever asked; they may have gone.
type Done = Box<dyn FnOnce(io::Result<()>) + Send>;

enum Work {
    Append(String),
    Keep { name: String, text: String },
    Forget { name: String },
}

impl Ledger {
    pub(super) fn open(home: &Home, clock: SharedClock) -> io::Result<Self> {
        let made = DirBuilder::new().mode(0o700).create(&home.folder);
        match made {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        let log = Log::open(&home.folder.join(LOG_FILE))?;
        let (jobs, todo) = sync_channel(MAX_WAITING);
        let folder = home.folder.clone();
        thread::Builder::new()
            .name("break-glass".to_owned())
            .spawn(move || write(&folder, log, &todo))?;
        Ok(Self { jobs, clock })
    }

    /// Durable when it is done.
    pub(super) fn append(
        &self,
        record: Record,
    ) -> impl Future<Output = io::Result<()>> + Send + use<> {
        self.ask(self.line(record))
    }

    /// The same, for the start, which may block.
    pub(super) fn append_waiting(&self, record: Record) -> io::Result<()> {
        let (done, is_done) = sync_channel(1);
        let work = self.line(record)?;
        self.hand_on(work, Box::new(move |outcome| drop(done.send(outcome))))?;
        is_done
            .recv_timeout(DISK_LIMIT)
            .unwrap_or_else(|_| Err(overdue()))
    }

    /// Replaces what is kept of a listener.
    pub(super) fn keep(
        &self,
        name: &str,
        text: String,
    ) -> impl Future<Output = io::Result<()>> + Send + use<> {
        let name = name.to_owned();
        self.ask(Ok(Work::Keep { name, text }))
    }

    /// Nothing is kept of it any more.
    pub(super) fn forget(&self, name: &str) -> impl Future<Output = io::Result<()>> + Send + use<> {
        let name = name.to_owned();
        self.ask(Ok(Work::Forget { name }))
    }

    /// Whose thread is parked: what is asked waits in the receiver's queue.
    #[cfg(test)]
    pub(super) fn parked(clock: SharedClock) -> (Self, Parked) {
        let (jobs, todo) = sync_channel(MAX_WAITING);
        (Self { jobs, clock }, Parked(todo))
    }

    fn line(&self, mut record: Record) -> io::Result<Work> {
        record.at = UnixTime::from_seconds(self.clock.unix_seconds()).to_string();
        Ok(Work::Append(serde_json::to_string(&record)? + "\n"))
    }

    /// In the queue when this returns, in order with what else is asked. What takes longer than it may counts as failed, and may be
    /// done all the same one day.
    fn ask(&self, work: io::Result<Work>) -> impl Future<Output = io::Result<()>> + Send + use<> {
        let (done, is_done) = oneshot::channel();
        let handed = work
            .and_then(|work| self.hand_on(work, Box::new(move |outcome| drop(done.send(outcome)))));
        let until = Instant::now() + DISK_LIMIT;
        async move {
            handed?;
            match timeout_at(until, is_done).await {
                Ok(told) => told.unwrap_or_else(|_| Err(gone())),
                Err(_) => Err(overdue()),
            }
        }
    }

    fn hand_on(&self, work: Work, done: Done) -> io::Result<()> {
        match self.jobs.try_send(Job { work, done }) {
            Ok(()) => Ok(()),
            Err(TrySendError::Full(_)) => Err(io::Error::other("the disk does not keep up")),
            Err(TrySendError::Disconnected(_)) => Err(gone()),
        }
    }
}

fn gone() -> io::Error {
    io::Error::other("its thread has ended")
}

fn overdue() -> io::Error {
    let why = format!("the disk has not answered for {} s", DISK_LIMIT.as_secs());
    io::Error::new(io::ErrorKind::TimedOut, why)
}

fn write(folder: &Path, mut log: Log, todo: &Receiver<Job>) {
    while let Ok(first) = todo.recv() {
        // Lines that wait go to the disk together; what replaces a file goes by itself, in its place.
        let (mut lines, mut waiting, mut next) = (String::new(), Vec::new(), Some(first));
        while let Some(Job { work, done }) = next {
            match work {
                Work::Append(line) => {
                    lines.push_str(&line);
                    waiting.push(done);
                }
                other => {
                    log.settle(&mut lines, &mut waiting);
                    let outcome = match other {
                        Work::Keep { name, text } => {
                            write_atomic(&folder.join(file_name(&name)), text.as_bytes(), 0o600)
                        }
                        Work::Forget { name } => forget(folder, &name),
                        Work::Append(_) => Ok(()),
                    };
                    done(outcome);
                }
            }
            next = todo.try_recv().ok();
        }
        log.settle(&mut lines, &mut waiting);
    }
}

fn forget(folder: &Path, name: &str) -> io::Result<()> {
    match fs::remove_file(folder.join(file_name(name))) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => File::open(folder)?.sync_all(),
    }
}

struct Log {
    file: File,
    length: u64,
    path: PathBuf,
}

impl Log {
    fn open(path: &Path) -> io::Result<Self> {
        let mut file = OpenOptions::new()
            .read(true)
            .append(true)
            .create(true)
            .mode(0o600)
            .custom_flags(OFlags::NOFOLLOW.bits().cast_signed())
            .open(path)?;
        let mut length = file.metadata()?.len();
        if length > 0 {
            let mut last = [0];
            file.seek(SeekFrom::End(-1))?;
            file.read_exact(&mut last)?;
            // What a power cut tore stays, on a line of its own.
            if last != *b"\n" {
                file.write_all(b"\n")?;
                length += 1;
            }
        }
        file.sync_all()?;
        if let Some(folder) = path.parent() {
            File::open(folder)?.sync_all()?;
        }
        Ok(Self {
            file,
            length,
            path: path.to_owned(),
        })
    }

    /// Writes the lines and tells those who wait.
    fn settle(&mut self, lines: &mut String, waiting: &mut Vec<Done>) {
        if waiting.is_empty() {
            return;
        }
        let outcome = self.append(lines.as_bytes());
        for done in waiting.drain(..) {
            let told = match &outcome {
                Ok(()) => Ok(()),
                Err(error) => Err(io::Error::new(
                    error.kind(),
                    format!("{}: {error}", self.path.display()),
                )),
            };
            done(told);
        }
        lines.clear();
    }

    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        let written = self
            .file
            .write_all(bytes)
            .and_then(|()| self.file.sync_data());
        match written {
            Ok(()) => {
                self.length += bytes.len() as u64;
                Ok(())
            }
            Err(error) => {
                // Half a line would spoil the next.
                self.file.set_len(self.length)?;
                Err(error)
            }
        }
    }
}

/// A burst of requests that comes while the disk is busy; they are limited by the minute, too.
const MAX_WAITING: usize = 4096;
/// A disk that works answers in milliseconds; whoever waits for one that does not has somebody waiting, too.
const DISK_LIMIT: Duration = Duration::from_secs(5);

/// What a thread that is parked has before it.
#[cfg(test)]
pub(super) struct Parked(Receiver<Job>);

#[cfg(test)]
impl Parked {
    /// What was asked since, done with at once or never.
    pub(super) fn asked(&self, is_done: bool) -> Vec<String> {
        let mut asked = Vec::new();
        while let Ok(Job { work, done }) = self.0.try_recv() {
            asked.push(match work {
                Work::Append(line) => {
                    let line: serde_json::Value = serde_json::from_str(&line).expect("JSON");
                    line["event"].as_str().expect("a text").to_owned()
                }
                Work::Keep { .. } => "KEEP".to_owned(),
                Work::Forget { .. } => "FORGET".to_owned(),
            });
            if is_done {
                done(Ok(()));
            } else {
                // Whoever waits goes on waiting.
                std::mem::forget(done);
            }
        }
        asked
    }
}

#[cfg(test)]
mod tests {
    use http::Method;

    use super::*;

    #[test]
    fn two_long_paths_can_be_told_apart() {
        let lines = ["a", "b"].map(|end| {
            let path = format!("/{}/{end}", "x".repeat(2000));
            let used = Used::request(&Method::GET, "a.example", &path);
            let line = serde_json::to_value(used).expect("JSON");
            assert_eq!(line["path_bytes"], path.len());
            let sha256 = Fingerprint::of(path.as_bytes()).to_string();
            assert_eq!(line["path_sha256"], sha256);
            assert!(line["path"].as_str().is_some_and(|it| it.len() <= 512));
            line
        });
        assert_eq!(lines[0]["path"], lines[1]["path"]);
        assert_ne!(lines[0]["path_sha256"], lines[1]["path_sha256"]);
    }

    #[test]
    fn path_that_is_shown_whole_stands_alone() {
        let used = Used::request(&Method::GET, "a.example", "/a/%2e");
        let line = serde_json::to_string(&used).expect("JSON");
        assert_eq!(
            line,
            r#"{"method":"GET","host":"a.example","path":"/a/%2e"}"#
        );
    }
}
