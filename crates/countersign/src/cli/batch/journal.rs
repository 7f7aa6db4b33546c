//! What a batch has done, so that the next run goes on where this one stopped, wherever that was.
//!
//! Each line has a folder of its own. Before anything is asked of the authority, `.pending/FOLDER` holds the key and the
//! request as it is sent, durably; when the certificate is there too, `batch.jsonl` gets its record; then the folder takes
//! its place by one rename. So a line is in one of these states, whatever killed the run:
//!
//! | record | pending folder | what is done |
//! |---|---|---|
//! | yes | yes | the rename |
//! | yes | no | nothing: it is done |
//! | no | with certificate | the record and the rename |
//! | no | with request | the authority is asked for a certificate of this key; without one, the same request is sent, under the same idempotency key |
//! | no | otherwise | it begins; what lies there was never sent |
//!
//! A record of another request than the line's now is a fault: a batch that was changed is another batch.

use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use countersign_authority::api::IssueRequest;
use countersign_pki::fingerprint::Fingerprint;
use countersign_pki::time::UnixTime;
use countersign_runtime::atomic_file::write_atomic;
use countersign_store::idempotency::IdempotencyKey;
use rustix::fs::{CWD, FlockOperation, RenameFlags, flock, renameat_with};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::plan::{KeyWish, Line};
use crate::backend::random;
use crate::fault::Fault;
use crate::identity_files::{CA, CERTIFICATE, KEY};
use crate::leaf_key::LeafKey;
use crate::private_folder::{make_private_folder, make_private_folders};
use crate::private_key::PrivateKey;

/// The folder of a batch, which this process alone writes to.
#[derive(Debug)]
pub(super) struct Journal {
    out: PathBuf,
    records: HashMap<String, Record>,
    // Guards the order of the records: one line at a time is appended and synced.
    file: Mutex<File>,
}

/// A line that is done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Record {
    /// Where its files are, below the batch's folder.
    pub(super) folder: String,
    /// Whose it is.
    pub(super) name: String,
    /// Of the certificate.
    pub(super) serial: String,
    pub(super) fingerprint: Fingerprint,
    pub(super) not_after: String,
    /// What was asked for.
    pub(super) digest: Fingerprint,
}

/// A request that is about to be sent, or was.
#[derive(Debug, Serialize, Deserialize)]
struct Sent {
    request: IssueRequest,
    digest: Fingerprint,
    spki: Fingerprint,
    begun_at_s: u64,
    /// Under which it is sent, by every run.
    key: String,
}

/// A line whose key and request are durable.
#[derive(Debug)]
pub(super) struct Staged {
    pub(super) request: IssueRequest,
    /// Of the key, by which the inventory knows the certificate.
    pub(super) spki: Fingerprint,
    pub(super) begun_at: UnixTime,
    /// Under which it is sent, so that no run has issued what another one has.
    pub(super) key: IdempotencyKey,
    /// An earlier run may have sent it.
    pub(super) may_be_issued: bool,
    /// The chain, where an earlier run had got it.
    pub(super) chain: Option<String>,
}

/// How far a line is.
#[derive(Debug)]
pub(super) enum Standing {
    Done(Record),
    Open,
}

impl Journal {
    /// Opens the folder for writing, or makes it. Another process that works on it keeps us out.
    pub(super) fn open(out: &Path) -> Result<Self, Fault> {
        let unusable = |error: &io::Error| unwritable(out, error);
        make_private_folders(out).map_err(|error| unusable(&error))?;
        let mut file = OpenOptions::new()
            .read(true)
            .append(true)
            .create(true)
            .mode(0o600)
            .open(out.join(RECORDS))
            .map_err(|error| unusable(&error))?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => {
                return Err(Fault::world(format_args!(
                    "another process works on the batch in {}",
                    out.display()
                ))
                .hint("wait for it, or choose another folder with `--out DIR`"));
            }
            Err(error) => return Err(unusable(&error.into())),
        }
        let (records, whole) = read(&mut file, out)?;
        // A record that was cut off was never relied on: its folder had not moved.
        file.set_len(whole)
            .and_then(|()| file.seek(SeekFrom::End(0)))
            .map_err(|error| unusable(&error))?;
        match make_private_folder(&out.join(PENDING)) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                return Err(unusable(&error));
            }
            _ => {}
        }
        sync(out).map_err(|error| unusable(&error))?;
        Ok(Self {
            out: out.to_owned(),
            records,
            file: Mutex::new(file),
        })
    }

    /// What the folder says, without a change to it; empty where there is none.
    pub(super) fn look(out: &Path) -> Result<Self, Fault> {
        let (records, file) = match File::open(out.join(RECORDS)) {
            Ok(mut file) => (read(&mut file, out)?.0, file),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let nothing = File::open("/dev/null").map_err(|error| unwritable(out, &error))?;
                (HashMap::new(), nothing)
            }
            Err(error) => return Err(unwritable(out, &error)),
        };
        Ok(Self {
            out: out.to_owned(),
            records,
            file: Mutex::new(file),
        })
    }

    /// How far a line is, or why it cannot be done here.
    pub(super) fn standing(&self, line: &Line) -> Result<Standing, String> {
        let changed = || {
            format!(
                "{}/{} belongs to another request: the batch was changed since",
                self.out.display(),
                line.folder
            )
        };
        if let Some(record) = self.records.get(&line.folder) {
            return if record.digest == line.digest() {
                Ok(Standing::Done(record.clone()))
            } else {
                Err(changed())
            };
        }
        if let Some(sent) = self.sent(&line.folder)?
            && sent.digest != line.digest()
        {
            return Err(changed());
        }
        let place = self.out.join(&line.folder);
        if place.symlink_metadata().is_ok() {
            return Err(format!(
                "{} exists already, and is not of this batch",
                place.display()
            ));
        }
        Ok(Standing::Open)
    }

    /// Makes the key and the request durable, or finds those of an earlier run.
    pub(super) fn stage(&self, line: &Line, now: UnixTime) -> Result<Staged, Fault> {
        let pending = self.pending(&line.folder);
        let sent = self.sent(&line.folder).map_err(Fault::configuration)?;
        if let Some(sent) = sent {
            let key = IdempotencyKey::parse(&sent.key).map_err(Fault::configuration)?;
            return Ok(Staged {
                key,
                request: sent.request,
                spki: sent.spki,
                begun_at: UnixTime::from_seconds(sent.begun_at_s),
                may_be_issued: true,
                chain: fs::read_to_string(pending.join(CERTIFICATE)).ok(),
            });
        }
        let unusable = |error: &io::Error| unwritable(&pending, error);
        // Without a request nothing was sent.
        match fs::remove_dir_all(&pending) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(unusable(&error)),
            _ => {}
        }
        make_private_folder(&pending).map_err(|error| unusable(&error))?;
        let (csr, spki) = match &line.key {
            KeyWish::Request { pem, spki } => (pem.clone(), *spki),
            KeyWish::Make(kind) => {
                let key = LeafKey::generate(*kind)?;
                let pem = key.to_pem();
                write_atomic(&pending.join(KEY), pem.as_bytes(), 0o600)
                    .map_err(|error| unusable(&error))?;
                let csr = countersign_pki::pem::encode("CERTIFICATE REQUEST", &key.request()?);
                (csr, Fingerprint::of(key.spki_der()))
            }
        };
        let key = IdempotencyKey::from_random(random()?);
        let sent = Sent {
            key: key.to_string(),
            request: line.request(csr),
            digest: line.digest(),
            spki,
            begun_at_s: now.seconds(),
        };
        let text = serde_json::to_vec(&sent).map_err(Fault::bug)?;
        write_atomic(&pending.join(SENT), &text, 0o600)
            .and_then(|()| sync(&self.out.join(PENDING)))
            .map_err(|error| unusable(&error))?;
        Ok(Staged {
            request: sent.request,
            spki,
            begun_at: now,
            key,
            may_be_issued: false,
            chain: None,
        })
    }

    /// Keeps the certificate beside its key; it is the authority's word, durable from here on.
    pub(super) fn keep(&self, line: &Line, chain_pem: &str, ca_pem: &str) -> Result<(), Fault> {
        let pending = self.pending(&line.folder);
        // The certificate comes last: where it is, the rest is.
        write_atomic(&pending.join(CA), ca_pem.as_bytes(), 0o644)
            .and_then(|()| write_atomic(&pending.join(CERTIFICATE), chain_pem.as_bytes(), 0o644))
            .map_err(|error| unwritable(&pending, &error))
    }

    /// Writes the record, and puts the folder in its place.
    pub(super) fn finish(&self, record: &Record) -> Result<(), Fault> {
        let mut text = serde_json::to_string(record).map_err(Fault::bug)?;
        text.push('\n');
        {
            let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
            file.write_all(text.as_bytes())
                .and_then(|()| file.sync_data())
                .map_err(|error| unwritable(&self.out, &error))?;
        }
        self.put_in_place(&record.folder)
    }

    /// The rename of a line that has its record; nothing, where it was done.
    pub(super) fn put_in_place(&self, folder: &str) -> Result<(), Fault> {
        let (pending, place) = (self.pending(folder), self.out.join(folder));
        if !pending.join(CERTIFICATE).is_file() {
            return Ok(());
        }
        let moved = || -> io::Result<()> {
            // The request, and what a run that was killed had begun to write.
            for entry in fs::read_dir(&pending)? {
                let entry = entry?;
                if ![CA, CERTIFICATE, KEY]
                    .map(Some)
                    .contains(&entry.file_name().to_str())
                {
                    fs::remove_file(entry.path())?;
                }
            }
            match renameat_with(CWD, &pending, CWD, &place, RenameFlags::NOREPLACE) {
                // NFS and others know no NOREPLACE; a plain rename still refuses a folder that holds anything.
                Err(
                    rustix::io::Errno::INVAL | rustix::io::Errno::NOSYS | rustix::io::Errno::NOTSUP,
                ) => fs::rename(&pending, &place),
                renamed => Ok(renamed?),
            }
        };
        moved().map_err(|error| unwritable(&place, &error))
    }

    /// The end of a run: the renames are made durable, and what is empty goes.
    pub(super) fn close(&self) {
        // The records are durable; a rename that a power cut undoes is done again by the next run.
        let _ = sync(&self.out);
        let _ = fs::remove_dir(self.out.join(PENDING));
    }

    /// Whether the key of a staged line can still be read, so that a certificate for it is worth having.
    pub(super) fn has_key(&self, line: &Line, spki: Fingerprint) -> bool {
        let KeyWish::Make(_) = line.key else {
            return true;
        };
        let Ok(text) = fs::read(self.pending(&line.folder).join(KEY)).map(Zeroizing::new) else {
            return false;
        };
        let blocks = countersign_pki::pem::decode_all(&text).unwrap_or_default();
        blocks
            .into_iter()
            .map(|block| Zeroizing::new(block.der))
            .any(|der| {
                PrivateKey::of_der(&der).is_some_and(|key| Fingerprint::of(key.spki_der()) == spki)
            })
    }

    /// What was staged for a folder; a file that is there and says nothing could stand for a certificate, and is a fault.
    fn sent(&self, folder: &str) -> Result<Option<Sent>, String> {
        let path = self.pending(folder).join(SENT);
        let unusable = |why: &dyn std::fmt::Display| format!("{}: {why}", path.display());
        match fs::read(&path) {
            Ok(text) => serde_json::from_slice(&text)
                .map(Some)
                .map_err(|error| unusable(&error)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(unusable(&error)),
        }
    }

    fn pending(&self, folder: &str) -> PathBuf {
        self.out.join(PENDING).join(folder)
    }
}

/// The records by their folders, and how many bytes of the file are whole.
fn read(file: &mut File, out: &Path) -> Result<(HashMap<String, Record>, u64), Fault> {
    let damaged = |why: &dyn std::fmt::Display| {
        Fault::configuration(format_args!("{}: {why}", out.join(RECORDS).display()))
            .hint("this file says what a batch has done; choose another folder with `--out DIR`")
    };
    let mut text = String::new();
    file.take(MAX_RECORDS)
        .read_to_string(&mut text)
        .map_err(|error| damaged(&error))?;
    if text.len() as u64 == MAX_RECORDS {
        return Err(damaged(&"it is too long"));
    }
    let whole = text.rfind('\n').map_or(0, |at| at + 1);
    let mut records = HashMap::new();
    for (line, number) in text[..whole].lines().zip(1_u32..) {
        let record: Record = serde_json::from_str(line)
            .map_err(|error| damaged(&format_args!("line {number}: {error}")))?;
        records.insert(record.folder.clone(), record);
    }
    Ok((records, whole as u64))
}

fn sync(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

fn unwritable(path: &Path, error: &io::Error) -> Fault {
    Fault::world(format_args!("cannot write to {}: {error}", path.display()))
        .hint("the same command goes on where this one stopped")
}

/// What is done, a line each.
const RECORDS: &str = "batch.jsonl";
/// What is being done. No line's folder begins with a period.
const PENDING: &str = ".pending";
/// The request as it is sent.
const SENT: &str = "request.json";
/// Some 400 bytes for each of 100,000 lines.
const MAX_RECORDS: u64 = 256 * 1024 * 1024;
