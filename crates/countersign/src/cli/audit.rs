//! `countersign audit`: the log of every change, exported and verified. Read from the inventory's file, whether or not a
//! process serves it: a log that is not whole opens no authority, and has to be looked at all the same. Of an authority
//! elsewhere it is asked for.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufReader, BufWriter, ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use axum::http::Method;
use clap::{Args, Subcommand};
use countersign_authority::api::{self, AuditQuery};
use countersign_authority::client::ClientError;
use countersign_authority::state::StateFolder;
use countersign_pki::fingerprint::Fingerprint;
use countersign_pki::time::UnixTime;
use countersign_store::audit::log::AuditLog;
use countersign_store::audit::verify::{AuditFault, Extent, VerifyError, WholeLog, verify};
use countersign_store::error::StoreError;

use crate::backend::{Backend, block_on, existing};
use crate::cli::arguments::{Asked, AuthorityArguments, Globals, StateArgument};
use crate::fault::{Answer, Fault};

/// Export the log of every change, or verify that nothing in it was changed
#[derive(Debug, Args)]
pub(crate) struct AuditCommand {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    Export(ExportCommand),
    Verify(VerifyCommand),
}

/// Write the log as lines of JSON: records, each transaction's followed by its link
#[derive(Debug, Args)]
struct ExportCommand {
    /// Only from the first transaction on that has a record of this time or later, such as 2026-01-02T03:04:05Z
    #[arg(long, value_name = "TIME")]
    since: Option<UnixTime>,
    /// Into this file, which must not exist [default: standard output]
    #[arg(short, long, value_name = "FILE")]
    out: Option<PathBuf>,
    #[command(flatten)]
    authority: AuthorityArguments,
}

/// Verify a log to its first fault: exit 0 when it is whole, 1 when it is not
#[derive(Debug, Args)]
struct VerifyCommand {
    /// An exported log [default: the one of the state folder]
    #[arg(value_name = "FILE", conflicts_with = "state")]
    file: Option<PathBuf>,
    /// A head that was noted earlier: the log must contain it
    #[arg(long, value_name = "HASH")]
    head: Option<Fingerprint>,
    /// FILE is a part that was exported with `--since`: it need not begin with link 1
    #[arg(long, requires_all = ["file", "head"])]
    part: bool,
    #[command(flatten)]
    state: StateArgument,
}

impl AuditCommand {
    /// Runs it.
    pub(crate) fn run(self, globals: &Globals) -> Result<Answer, Fault> {
        match self.verb {
            Verb::Export(command) => command.run(globals),
            Verb::Verify(command) => command.run(globals),
        }
    }
}

impl ExportCommand {
    fn run(self, globals: &Globals) -> Result<Answer, Fault> {
        let log = match self.authority.asked(globals)? {
            asked @ Asked::Elsewhere(_) => Log::Elsewhere(asked),
            Asked::Here { state, .. } => Log::Here(open(&state)?.0),
        };
        match self.out {
            Some(path) => {
                let file = create(&path)?;
                let written = log
                    .write(self.since, &file)
                    .and_then(|()| file.sync_all().map_err(WriteError::Io));
                if let Err(error) = written {
                    // Half a log would be taken for one that was cut off.
                    let _ = fs::remove_file(&path);
                    return Err(error.fault(&path.display().to_string()));
                }
            }
            None => match log.write(self.since, io::stdout()) {
                // `countersign audit export | head` has got all that it wanted.
                Err(WriteError::Io(error)) if error.kind() == ErrorKind::BrokenPipe => {}
                Err(error) => return Err(error.fault("standard output")),
                Ok(()) => {}
            },
        }
        Ok(Answer::Yes)
    }
}

impl VerifyCommand {
    fn run(self, globals: &Globals) -> Result<Answer, Fault> {
        let (verified, path) = if let Some(path) = self.file {
            let file = File::open(&path).map_err(|error| unreadable(&path, &error))?;
            let extent = if self.part {
                Extent::Part
            } else {
                Extent::Whole
            };
            (verify(BufReader::new(file), self.head, extent), path)
        } else {
            let (log, path) = open(&self.state.folder(globals)?)?;
            (log.verify(self.head), path)
        };
        let whole = verified.map_err(|error| match error {
            VerifyError::Fault(fault) => denied(&path, &fault),
            VerifyError::Io(error) => unreadable(&path, &error),
            VerifyError::Store(error) => error.into(),
            error => Fault::world(error),
        })?;
        globals.output().answer(&whole, text)?;
        Ok(Answer::Yes)
    }
}

fn open(state: &Path) -> Result<(AuditLog, PathBuf), Fault> {
    let state: StateFolder = existing(state)?;
    let path = state.inventory();
    Ok((AuditLog::open(&path)?, path))
}

/// For its owner alone: who did what is nobody else's business.
fn create(path: &Path) -> Result<File, Fault> {
    let opened = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path);
    opened.map_err(|error| match error.kind() {
        ErrorKind::AlreadyExists => {
            Fault::configuration(format_args!("{} exists already", path.display()))
                .hint("choose another file: no export is written over")
        }
        _ => Fault::world(format_args!("cannot create {}: {error}", path.display())),
    })
}

/// Where the log is.
enum Log {
    Elsewhere(Asked),
    Here(AuditLog),
}

impl Log {
    fn write(&self, since: Option<UnixTime>, target: impl Write + Send) -> Result<(), WriteError> {
        match self {
            Self::Elsewhere(asked) => fetch(asked, since, target),
            Self::Here(log) => write(log, since, target),
        }
    }
}

enum WriteError {
    Fetch(Fault),
    Io(io::Error),
    Store(StoreError),
}

impl From<StoreError> for WriteError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl WriteError {
    fn fault(self, target: &str) -> Fault {
        match self {
            Self::Fetch(fault) => fault,
            Self::Io(error) => Fault::world(format_args!("cannot write to {target}: {error}")),
            Self::Store(error) => error.into(),
        }
    }
}

fn write(log: &AuditLog, since: Option<UnixTime>, target: impl Write) -> Result<(), WriteError> {
    let mut target = BufWriter::new(target);
    log.lines(since, |line| {
        writeln!(target, "{line}").map_err(WriteError::Io)
    })?;
    target.flush().map_err(WriteError::Io)
}

/// As the admin API tells it.
fn fetch(
    asked: &Asked,
    since: Option<UnixTime>,
    mut target: impl Write + Send,
) -> Result<(), WriteError> {
    let path = api::audit_path(&AuditQuery { since });
    let fetched = block_on(async {
        let client = Backend::connect(asked).await?.client;
        let taken = client.download(Method::GET, &path, |piece| target.write_all(piece));
        Ok(taken.await)
    });
    match fetched.map_err(WriteError::Fetch)? {
        Ok(()) => target.flush().map_err(WriteError::Io),
        Err(ClientError::Target { source }) => Err(WriteError::Io(source)),
        Err(error) => Err(WriteError::Fetch(error.into())),
    }
}

fn unreadable(path: &Path, error: &io::Error) -> Fault {
    Fault::world(format_args!("cannot read {}: {error}", path.display()))
        .hint("FILE is what `countersign audit export` wrote; without it the state folder's log is verified")
}

fn denied(path: &Path, fault: &AuditFault) -> Fault {
    let hint = match fault {
        AuditFault::BeginningMissing { .. } => {
            "a part that was exported with `--since` is verified with `--part --head HASH`, the head of an earlier export; \
             else somebody cut it off"
        }
        AuditFault::HeadMissing { .. } => {
            "is it the log that the head was noted of, and exported from there on? If so, compare with a backup"
        }
        AuditFault::UnknownFormat { .. } => {
            "use the version of countersign that wrote it, or a newer one"
        }
        _ => {
            "what stands before it fits together: find out who wrote there, and compare with a backup"
        }
    };
    Fault::denied(format_args!(
        "the audit log in {} is not whole: {fault}",
        path.display()
    ))
    .hint(hint)
}

fn text(whole: &WholeLog) -> String {
    let extent = match whole.first_link {
        1 => "whole",
        _ => "part",
    };
    format!(
        "{extent}: links {} to {}, records {} to {}\nchain  {}\nhead   {}\n\
         note the head elsewhere: `countersign audit verify --head` proves later that nothing up to it was changed or cut off\n",
        whole.first_link,
        whole.last_link,
        whole.first_record,
        whole.last_record,
        whole.chain,
        whole.head
    )
}
