//! The files of an identity, put in place as a set: `cert.pem` (leaf, then intermediate), `key.pem` (0600), `ca.pem`.
//!
//! A destination is prepared before anything is issued, so that a certificate never exists without a place for it: what
//! is there already, and a folder that cannot be written, are found first. A new folder appears by one rename, whole. In
//! a folder that exists, every file is complete and durable beside its place before the first takes it; if one cannot,
//! those before it are taken back. A power cut between two of these renames can leave a key beside the certificate of the
//! key before it: the same command with `--force`, or `countersign renew`, puts that right.

use std::fs::{self, File, OpenOptions, Permissions};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;

use crate::fault::Fault;
use crate::private_folder::{make_private_folder, make_private_folders};

/// The chain, leaf first.
pub(crate) const CERTIFICATE: &str = "cert.pem";
/// The private key.
pub(crate) const KEY: &str = "key.pem";
/// The root to trust.
pub(crate) const CA: &str = "ca.pem";
/// Where an operator finds the authority.
pub(crate) const AUTHORITY_URL: &str = "authority.url";

/// What goes into the files, in PEM.
pub(crate) struct IdentityFiles<'a> {
    /// Leaf, then intermediate.
    pub(crate) certificate: &'a str,
    /// `None`: the key lives elsewhere.
    pub(crate) key: Option<&'a str>,
    /// The root.
    pub(crate) ca: &'a str,
    /// Of an operator: where the admin API is, if it is anywhere.
    pub(crate) authority_url: Option<&'a str>,
}

/// Whether files that are there may go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Existing {
    Keep,
    Replace,
}

/// A folder that is known to be writable, with nothing in the way.
#[derive(Debug)]
pub(crate) struct Destination {
    folder: PathBuf,
    staging: PathBuf,
    is_new: bool,
    existing: Existing,
}

impl Destination {
    /// Refuses a folder that holds one of the files (unless they may be replaced) or cannot be written.
    pub(crate) fn prepare(folder: &Path, existing: Existing) -> Result<Self, Fault> {
        let is_new = match fs::metadata(folder) {
            Ok(found) if found.is_dir() => false,
            Ok(_) => {
                return Err(Fault::configuration(format_args!(
                    "{} is not a folder",
                    folder.display()
                )));
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => true,
            Err(error) => return Err(unwritable(folder, &error)),
        };
        if existing == Existing::Keep {
            let taken = [CERTIFICATE, KEY, CA]
                .map(|name| folder.join(name))
                .into_iter()
                .find(|path| is_there(path));
            if let Some(path) = taken {
                return Err(in_the_way(&path));
            }
        }
        let parent = if is_new { parent_of(folder) } else { folder };
        make_private_folders(parent).map_err(|error| unwritable(parent, &error))?;
        let staging = parent.join(passing_name());
        make_private_folder(&staging).map_err(|error| unwritable(parent, &error))?;
        Ok(Self {
            folder: folder.to_owned(),
            staging,
            is_new,
            existing,
        })
    }

    /// Puts the files in place, all or none.
    pub(crate) fn commit(self, files: &IdentityFiles<'_>) -> Result<(), Fault> {
        let url = files.authority_url.map(|url| format!("{url}\n"));
        // The certificate comes last: where it is, the rest is.
        let contents = [
            (KEY, files.key, 0o600),
            (CA, Some(files.ca), 0o644),
            (AUTHORITY_URL, url.as_deref(), 0o644),
            (CERTIFICATE, Some(files.certificate), 0o644),
        ];
        let mut names = Vec::with_capacity(contents.len());
        for (name, text, mode) in contents {
            if let Some(text) = text {
                write_synced(&self.staging.join(name), text, mode)
                    .map_err(|error| unwritable(&self.staging, &error))?;
                names.push(name);
            }
        }
        let placed = if self.is_new {
            self.appear()
        } else {
            self.replace(&names)
        };
        placed.map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists | io::ErrorKind::DirectoryNotEmpty => {
                in_the_way(&self.folder)
            }
            _ => unwritable(&self.folder, &error),
        })
    }

    fn appear(&self) -> io::Result<()> {
        File::open(&self.staging)?.sync_all()?;
        match renameat_with(
            CWD,
            &self.staging,
            CWD,
            &self.folder,
            RenameFlags::NOREPLACE,
        ) {
            // NFS and others know no NOREPLACE; a plain rename still refuses a folder that holds anything.
            Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => {
                fs::rename(&self.staging, &self.folder)?;
            }
            renamed => renamed?,
        }
        File::open(parent_of(&self.folder))?.sync_all()
    }

    fn replace(&self, names: &[&str]) -> io::Result<()> {
        let mut done = Vec::with_capacity(names.len());
        for name in names {
            if let Err(error) = self.replace_one(name) {
                for name in done {
                    self.take_back(name);
                }
                return Err(error);
            }
            done.push(name);
        }
        File::open(&self.folder)?.sync_all()
    }

    fn replace_one(&self, name: &str) -> io::Result<()> {
        let (new, target) = (self.staging.join(name), self.folder.join(name));
        if self.existing == Existing::Keep {
            // A link refuses an existing name, whoever came first.
            return fs::hard_link(&new, &target);
        }
        match fs::hard_link(&target, self.staging.join(former(name))) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        fs::rename(&new, &target)
    }

    fn take_back(&self, name: &str) {
        let (old, target) = (self.staging.join(former(name)), self.folder.join(name));
        // The first error is the one that is told; if this fails too, the new file stays, whole.
        let _ = if is_there(&old) {
            fs::rename(old, target)
        } else {
            fs::remove_file(target)
        };
    }
}

impl Drop for Destination {
    fn drop(&mut self) {
        // Gone already when it became the folder; otherwise it holds nothing that is in use.
        let _ = fs::remove_dir_all(&self.staging);
    }
}

/// A folder's name for NAME: what is not a letter, digit, dot, hyphen or underscore becomes a hyphen.
pub(crate) fn folder_name(name: &str) -> String {
    let without_scheme = name.strip_prefix("spiffe://").unwrap_or(name);
    let kept: String = without_scheme
        .replace('*', "wildcard")
        .chars()
        .map(|c| {
            if c.is_alphanumeric() || "._-".contains(c) {
                c
            } else {
                '-'
            }
        })
        .collect();
    let trimmed = kept.trim_matches(['-', '.']);
    if trimmed.is_empty() {
        "identity".to_owned()
    } else {
        trimmed.to_owned()
    }
}

fn write_synced(path: &Path, text: &str, mode: u32) -> io::Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(text.as_bytes())?;
    file.set_permissions(Permissions::from_mode(mode))?;
    file.sync_all()
}

fn is_there(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok()
}

fn former(name: &str) -> String {
    format!("former-{name}")
}

fn passing_name() -> String {
    // std has no other random source; this needs to be unused, not secret: mkdir refuses a name that exists.
    format!(
        ".countersign.{:016x}.tmp",
        RandomState::new().build_hasher().finish()
    )
}

fn parent_of(folder: &Path) -> &Path {
    match folder.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    }
}

fn in_the_way(path: &Path) -> Fault {
    Fault::configuration(format_args!("{} exists already", path.display()))
        .hint("choose another folder with `--out DIR`, or replace what is there with `--force`")
}

fn unwritable(folder: &Path, error: &io::Error) -> Fault {
    Fault::world(format_args!(
        "cannot write to {}: {error}",
        folder.display()
    ))
    .hint("choose a folder that you may write with `--out DIR`")
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: IdentityFiles<'_> = IdentityFiles {
        certificate: "cert 1",
        key: Some("key 1"),
        ca: "ca 1",
        authority_url: None,
    };
    const SECOND: IdentityFiles<'_> = IdentityFiles {
        certificate: "cert 2",
        key: Some("key 2"),
        ca: "ca 2",
        authority_url: None,
    };

    fn put(folder: &Path, existing: Existing, files: &IdentityFiles<'_>) -> Result<(), Fault> {
        Destination::prepare(folder, existing)?.commit(files)
    }

    fn read(folder: &Path) -> Vec<(String, String, u32)> {
        let mut found: Vec<_> = fs::read_dir(folder)
            .expect("a folder")
            .map(|entry| {
                let entry = entry.expect("an entry");
                let mode = entry.metadata().expect("there").permissions().mode() & 0o777;
                let text = fs::read_to_string(entry.path()).unwrap_or_default();
                (entry.file_name().to_string_lossy().into_owned(), text, mode)
            })
            .collect();
        found.sort();
        found
    }

    fn expected(number: u8) -> Vec<(String, String, u32)> {
        let file =
            |name: &str, text: &str, mode| (name.to_owned(), format!("{text} {number}"), mode);
        vec![
            file(CA, "ca", 0o644),
            file(CERTIFICATE, "cert", 0o644),
            file(KEY, "key", 0o600),
        ]
    }

    #[test]
    fn new_folder_appears_with_all_files() {
        let place = tempfile::tempdir().expect("a folder");
        let folder = place.path().join("a/b");
        put(&folder, Existing::Keep, &FIRST).expect("written");
        assert_eq!(read(&folder), expected(1));
        let permissions = fs::metadata(&folder).expect("a folder").permissions();
        assert_eq!(permissions.mode() & 0o777, 0o700);
        assert_eq!(
            fs::read_dir(place.path().join("a"))
                .expect("a folder")
                .count(),
            1
        );
    }

    #[test]
    fn existing_files_are_kept_unless_told_otherwise() {
        let place = tempfile::tempdir().expect("a folder");
        put(place.path(), Existing::Keep, &FIRST).expect("written");
        let fault = put(place.path(), Existing::Keep, &SECOND).expect_err("in the way");
        assert_eq!(fault.exit_code(), 2);
        assert_eq!(read(place.path()), expected(1));
        put(place.path(), Existing::Replace, &SECOND).expect("replaced");
        assert_eq!(read(place.path()), expected(2));
    }

    #[test]
    fn one_file_in_the_way_leaves_the_others_unwritten() {
        let place = tempfile::tempdir().expect("a folder");
        let destination = Destination::prepare(place.path(), Existing::Keep).expect("free");
        fs::write(place.path().join(CERTIFICATE), "theirs").expect("written");
        assert!(destination.commit(&FIRST).is_err());
        let names: Vec<_> = read(place.path())
            .into_iter()
            .map(|(name, text, _)| (name, text))
            .collect();
        assert_eq!(names, [(CERTIFICATE.to_owned(), "theirs".to_owned())]);
    }

    #[test]
    fn failed_replacement_puts_the_old_set_back() {
        let place = tempfile::tempdir().expect("a folder");
        put(place.path(), Existing::Keep, &FIRST).expect("written");
        fs::remove_file(place.path().join(CERTIFICATE)).expect("there");
        fs::create_dir(place.path().join(CERTIFICATE)).expect("a folder where a file should go");
        assert!(put(place.path(), Existing::Replace, &SECOND).is_err());
        let texts: Vec<_> = read(place.path())
            .into_iter()
            .map(|(_, text, _)| text)
            .collect();
        assert_eq!(texts, ["ca 1", "", "key 1"]);
    }

    #[test]
    fn abandoned_destination_leaves_nothing() {
        let place = tempfile::tempdir().expect("a folder");
        drop(Destination::prepare(&place.path().join("you"), Existing::Keep).expect("free"));
        assert_eq!(fs::read_dir(place.path()).expect("a folder").count(), 0);
    }

    #[test]
    fn names_become_folders() {
        let check = |name, expected| assert_eq!(folder_name(name), expected);
        check("order-service", "order-service");
        check("*.example.com", "wildcard.example.com");
        check(
            "spiffe://example.com/ns/prod/api",
            "example.com-ns-prod-api",
        );
        check("../../etc/passwd", "etc-passwd");
        check("..", "identity");
        check("Ada Lovelace", "Ada-Lovelace");
    }
}
