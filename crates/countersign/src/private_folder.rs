//! Folders for keys and what lies beside them.

use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

/// Makes a folder and those above it that are missing, for their owner alone: the umask of whoever starts us decides
/// nothing. One that is there stays as it is.
pub(crate) fn make_private_folders(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(OWNER).create(path)
}

/// Makes one folder, which must not be there.
pub(crate) fn make_private_folder(path: &Path) -> io::Result<()> {
    DirBuilder::new().mode(OWNER).create(path)
}

const OWNER: u32 = 0o700;
