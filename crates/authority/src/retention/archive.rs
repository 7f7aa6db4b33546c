//! The archive: lines of JSON, each a certificate as `show --json` has it, on disk before anything leaves the inventory.
//!
//! Files are `countersign-20270115T080000Z-0001.jsonl`, 0600, and never written again. A process that is killed may leave a last
//! line without its end: what it was about is in the inventory still, and is archived again, as is what was archived and
//! not yet dropped.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use countersign_pki::time::UnixTime;
use countersign_store::retention::Ended;

use crate::conversion::archived;

/// One file of the archive, begun with its first line.
#[derive(Debug)]
pub(super) struct Archive {
    folder: PathBuf,
    began: UnixTime,
    open: Option<(File, PathBuf)>,
}

impl Archive {
    /// In that folder.
    pub(super) fn at(folder: PathBuf, began: UnixTime) -> Self {
        Self {
            folder,
            began,
            open: None,
        }
    }

    /// Where it is, once it has begun.
    pub(super) fn path(&self) -> Option<&Path> {
        self.open.as_ref().map(|(_, path)| path.as_path())
    }

    pub(super) fn file(self) -> Option<PathBuf> {
        self.open.map(|(_, path)| path)
    }

    /// Durable on return. Blocks.
    pub(super) fn append(&mut self, lines: &[String]) -> Result<(), ArchiveError> {
        let folder = self.folder.clone();
        let fault = |path: &Path, error: &io::Error| ArchiveError {
            path: path.to_owned(),
            why: error.to_string(),
        };
        let (file, path) = if let Some(open) = &mut self.open {
            open
        } else {
            let begun = begin(&folder, self.began).map_err(|error| fault(&folder, &error))?;
            self.open.insert(begun)
        };
        let mut text = lines.join("\n");
        text.push('\n');
        file.write_all(text.as_bytes())
            .and_then(|()| file.sync_all())
            .map_err(|error| fault(path, &error))
    }
}

/// A new file, and its name durable.
fn begin(folder: &Path, at: UnixTime) -> io::Result<(File, PathBuf)> {
    make_durably(folder)?;
    let compact: String = at
        .to_string()
        .chars()
        .filter(|character| !matches!(character, '-' | ':'))
        .collect();
    for number in 1..=MOST {
        let path = folder.join(format!("countersign-{compact}-{number:04}.jsonl"));
        let opened = OpenOptions::new()
            .append(true)
            .create_new(true)
            .mode(0o600)
            .open(&path);
        match opened {
            Ok(file) => {
                File::open(folder)?.sync_all()?;
                return Ok((file, path));
            }
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
    Err(io::Error::from(ErrorKind::AlreadyExists))
}

/// The folder and those above it that are not there, each with its name on disk: a file whose folder is lost is lost.
fn make_durably(folder: &Path) -> io::Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    let above = match folder.parent() {
        Some(above) if above != Path::new("") => above,
        _ => Path::new("."),
    };
    make_durably(above)?;
    match DirBuilder::new().mode(0o700).create(folder) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    File::open(above)?.sync_all()
}

/// One line, without its end.
pub(super) fn line(ended: &Ended, now: UnixTime) -> String {
    serde_json::to_string(&archived(ended, now)).expect("strings and numbers are JSON")
}

/// The archive cannot be written, so nothing leaves the inventory.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("cannot write the archive {}: {why}", .path.display())]
pub struct ArchiveError {
    path: PathBuf,
    why: String,
}

impl ArchiveError {
    /// What to do.
    pub fn hint(&self) -> &'static str {
        "make space, or let the service's user write there; nothing leaves the inventory meanwhile, and it goes on by itself"
    }
}

/// Files of one second: more is a clock that stands still.
const MOST: u32 = 9999;

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    const AT: UnixTime = UnixTime::from_seconds(1_800_000_000);

    #[test]
    fn file_of_the_archive_is_never_written_again() {
        let folder = tempfile::tempdir().expect("a folder");
        let place = folder.path().join("deep/archive");
        let write = |text: &str| {
            let mut archive = Archive::at(place.clone(), AT);
            assert_eq!(archive.path(), None);
            archive.append(&[text.to_owned()]).expect("writes");
            archive
                .append(&["more".to_owned(), "yet more".to_owned()])
                .expect("writes");
            archive.file().expect("a file")
        };
        let (one, other) = (write("one"), write("other"));
        assert_eq!(one, place.join("countersign-20270115T080000Z-0001.jsonl"));
        assert_eq!(other, place.join("countersign-20270115T080000Z-0002.jsonl"));
        assert_eq!(
            fs::read_to_string(&one).expect("readable"),
            "one\nmore\nyet more\n"
        );
        assert_eq!(
            fs::read_to_string(&other).expect("readable"),
            "other\nmore\nyet more\n"
        );
        let mode = |path: &Path| fs::metadata(path).expect("there").permissions().mode() & 0o777;
        assert_eq!((mode(&one), mode(&place)), (0o600, 0o700));
    }

    #[test]
    fn disk_that_takes_nothing_is_named() {
        let mut archive = Archive::at(PathBuf::from("/dev/full/archive"), AT);
        let error = archive.append(&["one".to_owned()]).expect_err("no folder");
        assert!(error.to_string().contains("/dev/full/archive"), "{error}");
        // A file that is there and whose disk is full.
        let file = OpenOptions::new()
            .append(true)
            .open("/dev/full")
            .expect("a device");
        let mut archive = Archive {
            folder: PathBuf::from("/"),
            began: AT,
            open: Some((file, PathBuf::from("/dev/full"))),
        };
        let error = archive.append(&["one".to_owned()]).expect_err("full");
        assert!(error.to_string().contains("No space left"), "{error}");
    }
}
