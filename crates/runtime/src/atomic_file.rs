//! Files that are there whole or not at all, and durable once the call returns.
//!
//! The bytes go to a temporary file in the target's own directory, readable by its owner alone; it gets its final mode
//! and is fsynced before it takes the target's name, and the directory is fsynced after. A crash in between leaves the
//! target as it was, at worst with a `.NAME.….tmp` beside it.

use std::fs::{self, File, OpenOptions, Permissions};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;

/// Writes `bytes` to `path`, replacing what was there, with exactly the permission bits of `mode` (the umask does not
/// apply). A symbolic link at `path` is replaced, not followed.
///
/// An error from the last step, the directory's fsync, means that the new file is in place but may not survive a power
/// cut.
pub fn write_atomic(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let mut growing = GrowingFile::create(path)?;
    growing.write_all(bytes)?;
    growing.replace(mode)
}

/// Like [`write_atomic`] for what is too much to hold as bytes: `write` gets the new file. The file that now has the name
/// is given back, open for writing at its end.
pub fn replace_with(
    path: &Path,
    mode: u32,
    write: impl FnOnce(&mut BufWriter<File>) -> io::Result<()>,
) -> io::Result<File> {
    let (file, temporary) = Temporary::create(path)?;
    let mut writer = BufWriter::new(file);
    write(&mut writer)?;
    let file = writer
        .into_inner()
        .map_err(io::IntoInnerError::into_error)?;
    file.set_permissions(Permissions::from_mode(mode))?;
    file.sync_all()?;
    fs::rename(&temporary.path, path)?;
    sync_directory_of(path)?;
    Ok(file)
}

/// Like [`write_atomic`], but fails with [`io::ErrorKind::AlreadyExists`] if anything, a dangling link included, has the
/// name `path`. Of several callers at the same time exactly one succeeds.
pub fn create_new(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let mut growing = GrowingFile::create(path)?;
    growing.write_all(bytes)?;
    growing.create_new(mode)
}

/// A file that is written piece by piece and takes its name at the end. Dropped before that, nothing is left of it.
pub struct GrowingFile {
    file: File,
    temporary: Temporary,
    target: PathBuf,
}

impl GrowingFile {
    /// Begins a file that shall be called `path`.
    pub fn create(path: &Path) -> io::Result<Self> {
        let (file, temporary) = Temporary::create(path)?;
        Ok(Self {
            file,
            temporary,
            target: path.to_owned(),
        })
    }

    /// The passing name, by which it can be read before it takes its own.
    pub fn passing_name(&self) -> &Path {
        &self.temporary.path
    }

    /// Another name in the same folder.
    #[must_use]
    pub fn renamed(mut self, path: &Path) -> Self {
        path.clone_into(&mut self.target);
        self
    }

    /// Ends as [`write_atomic`] does.
    pub fn replace(self, mode: u32) -> io::Result<()> {
        self.sync(mode)?;
        fs::rename(&self.temporary.path, &self.target)?;
        sync_directory_of(&self.target)
    }

    /// Ends as [`create_new`] does.
    pub fn create_new(self, mode: u32) -> io::Result<()> {
        self.sync(mode)?;
        let (from, to) = (&self.temporary.path, &self.target);
        match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
            // NFS and others know no NOREPLACE; a hard link refuses an existing name just as atomically.
            Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => fs::hard_link(from, to)?,
            renamed => renamed?,
        }
        sync_directory_of(to)
    }

    fn sync(&self, mode: u32) -> io::Result<()> {
        self.file.set_permissions(Permissions::from_mode(mode))?;
        self.file.sync_all()
    }
}

impl Write for GrowingFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// A file under a passing name; the name is removed on drop if it still exists.
struct Temporary {
    path: PathBuf,
}

impl Temporary {
    fn create(target: &Path) -> io::Result<(File, Self)> {
        let name = target
            .file_name()
            .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "the path names no file"))?
            .to_string_lossy();
        // std has no other random source; this needs to be unused, not secret: O_EXCL refuses a name that exists.
        let random = RandomState::new().build_hasher().finish();
        let path = directory_of(target).join(format!(".{name}.{random:016x}.tmp"));
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)?;
        Ok((file, Self { path }))
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        // After the rename nothing has this name. If removal fails, the file is as private as the target.
        let _ = fs::remove_file(&self.path);
    }
}

fn sync_directory_of(path: &Path) -> io::Result<()> {
    File::open(directory_of(path))?.sync_all()
}

fn directory_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use tempfile::{TempDir, tempdir};

    use super::*;

    #[test]
    fn what_is_streamed_replaces_the_file_when_it_is_whole_and_can_be_added_to() {
        let directory = tempdir().expect("a directory");
        let path = directory.path().join("log");
        fs::write(&path, "old").expect("writable");
        let failed = replace_with(&path, 0o600, |writer| {
            writer.write_all(b"half")?;
            Err(io::Error::other("no more"))
        });
        assert!(failed.is_err());
        assert_eq!(fs::read(&path).expect("there"), b"old");
        assert_eq!(names_in(&directory), ["log"]);
        let mut file =
            replace_with(&path, 0o600, |writer| writer.write_all(b"new")).expect("writes");
        file.write_all(b" and more").expect("open");
        assert_eq!(fs::read(&path).expect("there"), b"new and more");
    }

    fn names_in(directory: &TempDir) -> Vec<String> {
        let entries = fs::read_dir(directory.path()).expect("directory reads");
        entries
            .map(|entry| {
                entry
                    .expect("entry reads")
                    .file_name()
                    .to_string_lossy()
                    .into_owned()
            })
            .collect()
    }

    fn mode_of(path: &Path) -> u32 {
        fs::metadata(path)
            .expect("file exists")
            .permissions()
            .mode()
            & 0o7777
    }

    #[test]
    fn write_replaces_content_and_mode_and_leaves_nothing_beside() {
        let directory = tempdir().expect("temporary directory");
        let path = directory.path().join("leaf.key");
        write_atomic(&path, b"old", 0o644).expect("writes");
        assert_eq!(mode_of(&path), 0o644);
        write_atomic(&path, b"new", 0o400).expect("replaces");
        assert_eq!(fs::read(&path).expect("reads"), b"new");
        assert_eq!(mode_of(&path), 0o400);
        assert_eq!(names_in(&directory), ["leaf.key"]);
    }

    #[test]
    fn unfinished_file_is_the_owners_alone() {
        let directory = tempdir().expect("temporary directory");
        let (_file, temporary) =
            Temporary::create(&directory.path().join("bundle.pem")).expect("creates");
        assert_eq!(mode_of(&temporary.path), 0o600);
    }

    #[test]
    fn failed_write_keeps_the_target_and_leaves_nothing_beside() {
        let directory = tempdir().expect("temporary directory");
        let path = directory.path().join("state");
        fs::create_dir(&path).expect("creates");
        assert!(write_atomic(&path, b"x", 0o600).is_err());
        assert!(path.is_dir());
        assert_eq!(names_in(&directory), ["state"]);
    }

    #[test]
    fn link_is_replaced_and_its_target_untouched() {
        let directory = tempdir().expect("temporary directory");
        let (target, link) = (
            directory.path().join("target"),
            directory.path().join("link"),
        );
        fs::write(&target, "kept").expect("writes");
        std::os::unix::fs::symlink(&target, &link).expect("links");
        write_atomic(&link, b"new", 0o600).expect("writes");
        assert_eq!(fs::read(&target).expect("reads"), b"kept");
        assert!(fs::symlink_metadata(&link).expect("exists").is_file());
    }

    #[test]
    fn create_refuses_whatever_has_the_name() {
        let directory = tempdir().expect("temporary directory");
        let (file, dangling) = (
            directory.path().join("file"),
            directory.path().join("dangling"),
        );
        create_new(&file, b"first", 0o600).expect("creates");
        std::os::unix::fs::symlink("nowhere", &dangling).expect("links");
        for path in [&file, &dangling] {
            let error = create_new(path, b"second", 0o600).expect_err("the name is taken");
            assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
        }
        assert_eq!(fs::read(&file).expect("reads"), b"first");
        assert_eq!(names_in(&directory).len(), 2);
    }

    #[test]
    fn one_of_many_creators_wins() {
        let directory = tempdir().expect("temporary directory");
        let path = directory.path().join("root.key");
        let won = thread::scope(|scope| {
            let create = |byte: u8| {
                scope.spawn({
                    let path = &path;
                    move || create_new(path, &[byte], 0o600).is_ok()
                })
            };
            let creators: Vec<_> = (0..8).map(create).collect();
            creators
                .into_iter()
                .map(|creator| creator.join().expect("no panic"))
                .filter(|won| *won)
                .count()
        });
        assert_eq!(won, 1);
    }

    #[test]
    fn path_without_a_file_name_is_refused() {
        let error = write_atomic(Path::new("/"), b"x", 0o600).expect_err("names no file");
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
    }
}
