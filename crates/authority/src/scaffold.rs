//! Where a new state is built, inside its folder, before it is moved out as a whole: by the first run and by a restore.
//!
//! The format file comes last. While the scaffold is there and the format file is not, nothing that was moved has been
//! used by anybody, and whoever builds next throws it away.

use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

use countersign_runtime::atomic_file::create_new;
use countersign_store::fail_point::FailPoint;

use crate::state::{MADE_BY_INIT, MADE_WHILE_SERVING, StateError, StateFolder};

/// Removes what an interrupted init or restore has left. Without its scaffold nothing is touched.
pub(crate) fn clear(state: &StateFolder) -> Result<(), StateError> {
    let scaffold = state.scaffold();
    if !scaffold.is_dir() {
        return Ok(());
    }
    if !state.is_half_made() {
        let path = state.path().to_owned();
        return Err(StateError::FormatMissing { path });
    }
    for name in MADE_BY_INIT.into_iter().chain(MADE_WHILE_SERVING) {
        remove(&state.path().join(name))?;
    }
    remove(&scaffold)
}

/// Refuses what a restore has left that did not finish: making a new authority there would be a surprise.
pub(crate) fn refuse_unfinished_restore(state: &StateFolder) -> Result<(), StateError> {
    if state.scaffold().join(RESTORING).exists() {
        return Err(StateError::RestoreUnfinished {
            path: state.path().to_owned(),
        });
    }
    Ok(())
}

/// Gives what was built one name, all of it at once.
pub(crate) fn rename(state: &StateFolder, to: &Path) -> Result<(), StateError> {
    let scaffold = state.scaffold();
    sync(&scaffold)?;
    fs::rename(&scaffold, to).map_err(|source| StateError::Io {
        what: "create",
        path: to.to_owned(),
        source,
    })?;
    sync(state.path())
}

/// The format file makes the state valid, so it comes last.
pub(crate) fn move_out(state: &StateFolder) -> Result<(), StateError> {
    let scaffold = state.scaffold();
    let fault = |what, path: &Path| {
        let path = path.to_owned();
        move |source| StateError::Io { what, path, source }
    };
    sync(&scaffold)?;
    sync(state.path())?;
    FailPoint::ScaffoldBuilt.reach();
    for name in MADE_BY_INIT {
        let target = state.path().join(name);
        fs::rename(scaffold.join(name), &target).map_err(fault("create", &target))?;
        FailPoint::ScaffoldMoved.reach();
    }
    for name in MADE_WHILE_SERVING {
        let target = state.path().join(name);
        match fs::rename(scaffold.join(name), &target) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            moved => moved.map_err(fault("create", &target))?,
        }
    }
    sync(state.path())?;
    let format = state.format_file();
    fs::rename(scaffold.join("format"), &format).map_err(fault("create", &format))?;
    sync(state.path())?;
    FailPoint::ScaffoldValid.reach();
    remove(&scaffold)
}

fn remove(path: &Path) -> Result<(), StateError> {
    let removed = if path.is_dir() {
        fs::remove_dir_all(path)
    } else {
        fs::remove_file(path)
    };
    match removed {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed.map_err(|source| StateError::Io {
            what: "remove",
            path: path.to_owned(),
            source,
        }),
    }
}

pub(crate) fn create_folder(path: &Path) -> Result<(), StateError> {
    let created = DirBuilder::new().mode(0o700).create(path);
    created.map_err(|source| StateError::Io {
        what: "create",
        path: path.to_owned(),
        source,
    })
}

pub(crate) fn write(path: &Path, bytes: &[u8], mode: u32) -> Result<(), StateError> {
    create_new(path, bytes, mode).map_err(|source| StateError::Io {
        what: "write",
        path: path.to_owned(),
        source,
    })
}

fn sync(folder: &Path) -> Result<(), StateError> {
    let synced = File::open(folder).and_then(|folder| folder.sync_all());
    synced.map_err(|source| StateError::Io {
        what: "sync",
        path: folder.to_owned(),
        source,
    })
}

/// Tells a scaffold of a restore from one of an init.
pub(crate) const RESTORING: &str = "restoring";
