//! Reading a backup to its end before anything of it is believed.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, BufReader, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use countersign_store::error::StoreError;
use serde::Deserialize;

use super::container::{Broken, Header, ReadError, Unpacker};
use super::{
    BackupFacts, FACTS, FORMAT, INVENTORY, MAX_FILES, MAX_SMALL_FILE, SUMS, is_small_file,
};

/// Why a file is no backup to rely on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BackupFault {
    /// A byte is another one than was written.
    #[error("backup {} was altered: {what}", .path.display())]
    Altered {
        /// Which file.
        path: PathBuf,
        /// Where that shows.
        what: String,
    },
    /// The inventory in it.
    #[error("backup {} holds an inventory that cannot be used: {source}", .path.display())]
    Inventory {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: Box<StoreError>,
    },
    /// The operating system says no.
    #[error("cannot {what} {}: {source}", .path.display())]
    Io {
        /// The verb.
        what: &'static str,
        /// On what.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A part is missing, or does not belong to the others.
    #[error("backup {} does not fit together: {why}", .path.display())]
    Mixed {
        /// Which file.
        path: PathBuf,
        /// In words.
        why: String,
    },
    /// Written by a newer version.
    #[error("backup {} has format {found}, this version knows {FORMAT}", .path.display())]
    Newer {
        /// Which file.
        path: PathBuf,
        /// Its format.
        found: u32,
    },
    /// Something else.
    #[error("{} is not a backup of countersign", .path.display())]
    NotABackup {
        /// Which file.
        path: PathBuf,
    },
    /// It ends too early.
    #[error("backup {} is torn: it ends before its end", .path.display())]
    Torn {
        /// Which file.
        path: PathBuf,
    },
}

impl BackupFault {
    /// What to do.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Altered { .. } | Self::Mixed { .. } | Self::Torn { .. } => {
                "nothing was put in place: take another copy, or an older backup".to_owned()
            }
            Self::Newer { .. } => {
                "use the version of countersign that wrote it, or a newer one".to_owned()
            }
            Self::NotABackup { .. } => {
                "FILE is what `countersign ca backup` wrote, as it is: not unpacked, not compressed"
                    .to_owned()
            }
            Self::Inventory { source, .. } => match **source {
                StoreError::NewerSchema { .. } => {
                    "use the version of countersign that wrote it, or a newer one".to_owned()
                }
                _ => "nothing was put in place: take an older backup".to_owned(),
            },
            Self::Io { what: "read", .. } => {
                "name a backup that is there and can be read".to_owned()
            }
            Self::Io { .. } => {
                "nothing was put in place: see to the disk and begin again".to_owned()
            }
        })
    }
}

/// Reads all of it, and puts nothing anywhere.
pub fn verify(path: &Path) -> Result<BackupFacts, BackupFault> {
    read(path, &mut Nowhere)
}

/// Reads all of it into `folder`, which is empty: only what [`super::is_small_file`] names, and the inventory.
pub(crate) fn unpack(path: &Path, folder: &Path) -> Result<BackupFacts, BackupFault> {
    let ca = folder.join("ca");
    let made = DirBuilder::new().mode(0o700).create(&ca);
    made.map_err(|source| BackupFault::Io {
        what: "create",
        path: ca,
        source,
    })?;
    read(path, &mut Folder { path: folder })
}

/// Where the files of a backup go.
trait Destination {
    fn take(
        &mut self,
        unpacker: &mut Unpacker<BufReader<File>>,
        header: &Header,
    ) -> Result<(), (PathBuf, ReadError)>;
}

struct Nowhere;

impl Destination for Nowhere {
    fn take(
        &mut self,
        unpacker: &mut Unpacker<BufReader<File>>,
        header: &Header,
    ) -> Result<(), (PathBuf, ReadError)> {
        unpacker
            .content(header, &mut io::sink())
            .map_err(|error| (PathBuf::from(&header.name), error))
    }
}

struct Folder<'a> {
    path: &'a Path,
}

impl Destination for Folder<'_> {
    fn take(
        &mut self,
        unpacker: &mut Unpacker<BufReader<File>>,
        header: &Header,
    ) -> Result<(), (PathBuf, ReadError)> {
        let path = self.path.join(&header.name);
        // Certificates are for everybody; the folder above is not.
        let is_public = header.name.strip_suffix(".pem").is_some()
            || header.name.strip_suffix(".crl").is_some();
        let mode = if is_public { 0o644 } else { 0o600 };
        let mut write = || {
            let mut file = OpenOptions::new()
                .write(true)
                .create_new(true)
                .mode(mode)
                .open(&path)?;
            unpacker.content(header, &mut file)?;
            file.sync_all()?;
            Ok(())
        };
        write().map_err(|error| (path.clone(), error))
    }
}

fn read(path: &Path, destination: &mut impl Destination) -> Result<BackupFacts, BackupFault> {
    let reading = Reading { path };
    let file = File::open(path).map_err(|source| reading.io("read", source))?;
    let mut unpacker = Unpacker::new(BufReader::with_capacity(BUFFER, file));
    let facts = reading.facts(&mut unpacker)?;
    let mut last = String::new();
    let mut count = 0;
    loop {
        let header = unpacker
            .next()
            .map_err(|error| reading.fault(error, &last))?;
        if header.name == SUMS {
            reading.sums(&mut unpacker, &header)?;
            break;
        }
        let fits = if header.name == INVENTORY {
            last != INVENTORY
        } else {
            // Sorted, so that no name comes twice; the inventory is the last.
            is_small_file(&header.name)
                && header.size <= MAX_SMALL_FILE
                && last < header.name
                && last != INVENTORY
                && count < MAX_FILES
        };
        if !fits {
            return Err(reading.altered(format!("{:?} does not belong there", header.name)));
        }
        let taken = destination.take(&mut unpacker, &header);
        taken.map_err(|(at, error)| match error {
            ReadError::Io(source) => BackupFault::Io {
                what: "write",
                path: at,
                source,
            },
            broken @ ReadError::Broken(_) => reading.fault(broken, &header.name),
        })?;
        last = header.name;
        count += 1;
    }
    unpacker
        .finish()
        .map_err(|error| reading.fault(error, "its end"))?;
    if last == INVENTORY {
        Ok(facts)
    } else {
        Err(reading.mixed("it has no inventory"))
    }
}

/// Read alone first: a newer one may say what this version does not know.
#[derive(Deserialize)]
struct Format {
    format: u32,
}

struct Reading<'a> {
    path: &'a Path,
}

impl Reading<'_> {
    fn facts(&self, unpacker: &mut Unpacker<BufReader<File>>) -> Result<BackupFacts, BackupFault> {
        let path = self.path.to_owned();
        let header = match unpacker.next() {
            Ok(header) if header.name == FACTS => header,
            // Too short for a header, or one of another program.
            Ok(_) | Err(ReadError::Broken(_)) => return Err(BackupFault::NotABackup { path }),
            Err(error) => return Err(self.fault(error, FACTS)),
        };
        if header.size > MAX_FACTS {
            return Err(self.altered(format!("{FACTS} is too long")));
        }
        let mut bytes = Vec::new();
        unpacker
            .content(&header, &mut bytes)
            .map_err(|error| self.fault(error, FACTS))?;
        match serde_json::from_slice(&bytes) {
            Ok(Format { format: 1..=FORMAT }) => {}
            Ok(Format { format: found }) if found > FORMAT => {
                return Err(BackupFault::Newer { path, found });
            }
            _ => return Err(self.altered(format!("{FACTS} cannot be read"))),
        }
        serde_json::from_slice(&bytes)
            .map_err(|error| self.altered(format!("{FACTS} cannot be read: {error}")))
    }

    fn sums(
        &self,
        unpacker: &mut Unpacker<BufReader<File>>,
        header: &Header,
    ) -> Result<(), BackupFault> {
        let expected = unpacker.sums().as_bytes().to_vec();
        let mut stated = Limited(Vec::new(), expected.len());
        unpacker
            .content(header, &mut stated)
            .map_err(|error| self.fault(error, SUMS))?;
        if stated.0 == expected {
            return Ok(());
        }
        let differs = (expected.split(|&byte| byte == b'\n'))
            .zip(stated.0.split(|&byte| byte == b'\n'))
            .find(|(expected, stated)| expected != stated)
            .and_then(|(expected, _)| expected.split(|&byte| byte == b' ').next_back());
        let what = String::from_utf8_lossy(differs.unwrap_or(SUMS.as_bytes())).into_owned();
        Err(self.altered(format!("{what} is not what {SUMS} says")))
    }

    fn fault(&self, error: ReadError, at: &str) -> BackupFault {
        match error {
            ReadError::Broken(Broken::Altered) => self.altered(format!("at or behind {at}")),
            ReadError::Broken(Broken::Torn) => BackupFault::Torn {
                path: self.path.to_owned(),
            },
            ReadError::Io(source) => self.io("read", source),
        }
    }

    fn altered(&self, what: String) -> BackupFault {
        BackupFault::Altered {
            path: self.path.to_owned(),
            what,
        }
    }

    fn mixed(&self, why: &str) -> BackupFault {
        BackupFault::Mixed {
            path: self.path.to_owned(),
            why: why.to_owned(),
        }
    }

    fn io(&self, what: &'static str, source: io::Error) -> BackupFault {
        BackupFault::Io {
            what,
            path: self.path.to_owned(),
            source,
        }
    }
}

/// Keeps no more than what it is compared with, and one byte that tells that there was more.
struct Limited(Vec<u8>, usize);

impl Write for Limited {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let room = (self.1 + 1).saturating_sub(self.0.len());
        self.0.extend_from_slice(&bytes[..bytes.len().min(room)]);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Nine short fields.
const MAX_FACTS: u64 = 64 * 1024;
/// Reads as large as a disk likes.
const BUFFER: usize = 256 * 1024;
