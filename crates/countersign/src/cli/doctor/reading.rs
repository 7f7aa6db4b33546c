//! Reads the files that were named: bounded, and never waiting for a pipe.

use std::collections::BTreeSet;
use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, ErrorKind, Read as _};
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use countersign_diagnose::doctor::FileSeen;
use countersign_diagnose::doctor::file::{Access, Role};
use countersign_diagnose::log::{self, LogReading};
use countersign_pki::certificate::Certificate;
use countersign_pki::material::{self, Container, Material};
use countersign_pki::password::Password;
use countersign_pki::pkcs12;
use countersign_pki::time::UnixTime;
use rustix::fs::{OFlags, fcntl_setfl};
use zeroize::Zeroizing;

use crate::certificate_file::fault;
use crate::fault::Fault;

/// Every file, in order; a folder of trust is read as the files in it.
pub(super) fn files(named: &[(Role, &Path)], passwords: &[Password]) -> Vec<FileSeen> {
    let mut seen = Vec::with_capacity(named.len());
    for (role, path) in named {
        let is_folder = fs::metadata(path).is_ok_and(|it| it.is_dir());
        if is_folder && matches!(role, Role::Ca | Role::ClientCa) {
            seen.extend(folder(*role, path, passwords));
        } else {
            seen.push(file(*role, path, passwords));
        }
    }
    seen
}

/// Certificates that a key belongs to, beside it or beside the certificate that it does not belong to: what was left of the other
/// half of a renewal.
pub(super) fn beside(seen: &[FileSeen]) -> Vec<FileSeen> {
    let pairs = [
        (Role::ClientCertificate, Role::ClientKey),
        (Role::ServerCertificate, Role::ServerKey),
    ];
    let of = |role: Role| seen.iter().find(|file| file.role == role);
    let mut found: Vec<FileSeen> = Vec::new();
    for (certificate, key) in pairs {
        let (Some(certificate), Some(key)) = (of(certificate), of(key)) else {
            continue;
        };
        let Some(wanted) = key.material.keys.first().and_then(|key| key.spki) else {
            continue;
        };
        let of_key = |file: &FileSeen| {
            let certificates = file.material.certificates.iter();
            let mut certificates = certificates.filter_map(|piece| piece.certificate());
            certificates
                .find(|it| it.spki() == wanted)
                .map(Certificate::not_before)
        };
        let renewed = certificate.material.certificates.first();
        let Some(renewed) = renewed.and_then(|piece| piece.certificate()) else {
            continue;
        };
        if seen.iter().any(|file| of_key(file).is_some()) {
            continue;
        }
        let is_other_half = |file: &FileSeen| {
            of_key(file).is_some_and(|made| {
                made.seconds().abs_diff(renewed.not_before().seconds()) >= RENEWAL.as_secs()
            })
        };
        let folders: BTreeSet<&Path> = [certificate, key]
            .into_iter()
            .filter_map(|file| Path::new(&file.path).parent())
            .collect();
        let siblings = folders.into_iter().flat_map(siblings);
        found.extend(siblings.filter(is_other_half));
    }
    found
}

/// The files of a folder that are small enough to be certificates.
fn siblings(folder: &Path) -> Vec<FileSeen> {
    let here = if folder.as_os_str().is_empty() {
        Path::new(".")
    } else {
        folder
    };
    let Ok(entries) = fs::read_dir(here) else {
        return Vec::new();
    };
    let mut paths: Vec<PathBuf> = entries
        .filter_map(Result::ok)
        .take(MAX_ENTRIES)
        .filter(|entry| {
            let metadata = entry.metadata();
            metadata.is_ok_and(|it| it.is_file() && it.len() <= MAX_SIBLING)
        })
        .map(|entry| folder.join(entry.file_name()))
        .filter(|path| !is_keystore(path))
        .collect();
    paths.sort();
    paths.truncate(MAX_SIBLINGS);
    let files = paths.iter().map(|path| file(Role::Other, path, &[]));
    files.collect()
}

/// A folder such as `/etc/ssl/certs`: each certificate once, whatever links lead to it.
fn folder(role: Role, path: &Path, passwords: &[Password]) -> Vec<FileSeen> {
    let empty = || {
        let mut seen = FileSeen::read(role, path.to_string_lossy(), Material::default());
        seen.access = Access::Read;
        vec![seen]
    };
    let Ok(entries) = fs::read_dir(path) else {
        let mut seen = empty();
        seen[0].access = Access::Denied;
        return seen;
    };
    let mut paths: Vec<PathBuf> = entries
        .filter_map(Result::ok)
        .filter_map(|entry| fs::canonicalize(entry.path()).ok())
        .filter(|path| path.is_file() && !is_keystore(path))
        .take(MAX_ENTRIES)
        .collect();
    paths.sort();
    paths.dedup();
    let files = paths.iter().map(|path| file(role, path, passwords));
    let files: Vec<_> = files
        .filter(|file| !file.material.certificates.is_empty())
        .collect();
    if files.is_empty() { empty() } else { files }
}

/// The log that was named, and what else among the files is one.
pub(super) fn logs(
    named: Option<&Path>,
    files: &[FileSeen],
) -> Result<Vec<(String, LogReading)>, Fault> {
    let mut logs = Vec::new();
    if let Some(path) = named {
        let mut text = Vec::new();
        let read = if path == Path::new("-") {
            io::stdin().lock().take(MAX_LOG).read_to_end(&mut text)
        } else {
            opened(path).and_then(|file| {
                text.extend(awaited(&file)?);
                file.take(MAX_LOG).read_to_end(&mut text)
            })
        };
        read.map_err(|error| {
            fault(path, &error).hint("`--log FILE` names a log, `--log -` reads standard input")
        })?;
        logs.push((path.to_string_lossy().into_owned(), log::read(&text)));
    }
    for file in files.iter().filter(|file| file.role == Role::Other) {
        let Some(text) = &file.text else { continue };
        let reading = log::read(text.as_bytes());
        if !reading.candidates.is_empty() {
            logs.push((file.path.clone(), reading));
        }
    }
    Ok(logs)
}

fn file(role: Role, path: &Path, passwords: &[Password]) -> FileSeen {
    let mut seen = FileSeen::read(role, path.to_string_lossy(), Material::default());
    match fs::metadata(path) {
        Ok(metadata) => describe(&mut seen, &metadata),
        Err(error) => seen.access = access(&error),
    }
    if seen.access != Access::Read {
        return seen;
    }
    match contents(path) {
        Ok(bytes) if bytes.is_empty() => seen.access = Access::Empty,
        Ok(bytes) => {
            let material = Material::read(&bytes, passwords);
            let is_text = matches!(material.container, Container::Html | Container::Text);
            if role == Role::Other && is_text {
                let text = &bytes[..bytes.len().min(MAX_TEXT)];
                seen.text = Some(Arc::from(String::from_utf8_lossy(text)));
            }
            seen.material = Arc::new(material);
        }
        Err(error) => seen.access = access(&error),
    }
    seen
}

fn describe(seen: &mut FileSeen, metadata: &Metadata) {
    seen.mode = Some(metadata.mode());
    seen.modified = u64::try_from(metadata.mtime())
        .ok()
        .map(UnixTime::from_seconds);
    if metadata.is_dir() {
        seen.access = Access::Directory;
    } else if !metadata.is_file() {
        seen.access = Access::NotAFile;
    } else if metadata.len() == 0 {
        seen.access = Access::Empty;
    }
}

fn contents(path: &Path) -> io::Result<Zeroizing<Vec<u8>>> {
    let file = opened(path)?;
    let length = file.metadata()?.len().min(MAX_BYTES);
    // Made large enough at once: a vector that grows leaves copies of a key behind.
    let capacity = usize::try_from(length).unwrap_or_default() + 1;
    let mut bytes = Zeroizing::new(Vec::with_capacity(capacity));
    file.take(MAX_BYTES).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Opening one may take seconds, and no verifier looks for roots in it.
fn is_keystore(path: &Path) -> bool {
    contents(path).is_ok_and(|bytes| pkcs12::Contents::is_one(&bytes))
}

/// A pipe, whatever it is called, is not waited for.
fn opened(path: &Path) -> io::Result<File> {
    let flags = i32::try_from(OFlags::NONBLOCK.bits()).unwrap_or_default();
    OpenOptions::new().read(true).custom_flags(flags).open(path)
}

/// Of a pipe that somebody writes to, such as `<(journalctl …)`, what is there first; the rest is waited for as standard input is. One that
/// nobody writes to is an error: it would never end.
fn awaited(file: &File) -> io::Result<Vec<u8>> {
    if !file.metadata()?.file_type().is_fifo() {
        return Ok(Vec::new());
    }
    let mut first = [0; 4096];
    let begun = Instant::now();
    loop {
        let mut reader = file;
        match reader.read(&mut first) {
            // A writer that was held up until somebody reads may still be about to open it.
            Ok(0) if begun.elapsed() < OPENED_WITHIN => thread::sleep(BETWEEN_LOOKS),
            Ok(0) => {
                let why = "nobody writes to this pipe, and nothing is in it";
                return Err(io::Error::new(ErrorKind::UnexpectedEof, why));
            }
            Ok(read) => {
                fcntl_setfl(file, OFlags::empty())?;
                return Ok(first[..read].to_vec());
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                fcntl_setfl(file, OFlags::empty())?;
                return Ok(Vec::new());
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

fn access(error: &io::Error) -> Access {
    match error.kind() {
        ErrorKind::NotFound | ErrorKind::NotADirectory => Access::Missing,
        ErrorKind::PermissionDenied => Access::Denied,
        _ => Access::Failed(error.to_string()),
    }
}

/// A writer that waits for a reader opens at once.
const OPENED_WITHIN: Duration = Duration::from_secs(1);

const BETWEEN_LOOKS: Duration = Duration::from_millis(20);

/// As much as [`Material`] takes, and a byte that shows that there is more.
const MAX_BYTES: u64 = material::MAX_BYTES as u64 + 1;

/// As much as is read of a log, and a byte.
const MAX_LOG: u64 = (16 << 20) + 1;

/// A configuration, or the beginning of a log.
const MAX_TEXT: usize = 4 << 20;

/// Two that were made together are two clients, not one and its renewal.
const RENEWAL: Duration = Duration::from_hours(1);

/// A chain, with its text.
const MAX_SIBLING: u64 = 64 << 10;

/// An archive of certbot's keeps as many renewals as five years have.
const MAX_SIBLINGS: usize = 256;

/// The system's folder of roots has some 300 names.
const MAX_ENTRIES: usize = 2048;
