//! Risks that lie in the state's files: keys that others can read.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use countersign_authority::api::Risk;
use countersign_authority::state::StateFolder;

use crate::identity_files::KEY;

/// Every secret of the state that more than its owner can read.
pub(super) fn risks(state: &StateFolder) -> Vec<Risk> {
    let ca = files_in(&state.ca()).into_iter().filter(|path| {
        path.extension()
            .is_some_and(|extension| extension == "sealed")
    });
    let identities = files_in(&state.path().join("identities"))
        .into_iter()
        .map(|folder| folder.join(KEY));
    let secrets = [state.gateway_key(), state.passphrase()]
        .into_iter()
        .chain(ca)
        .chain(identities);
    secrets.filter_map(|path| too_open(&path)).collect()
}

fn too_open(path: &Path) -> Option<Risk> {
    let mode = fs::metadata(path).ok()?.permissions().mode() & 0o777;
    (mode & 0o077 != 0).then(|| Risk {
        sentence: format!(
            "{} can be read or written by others than its owner (mode {mode:04o})",
            path.display()
        ),
        hint: format!(
            "chmod 600 {}; if somebody may have read it, revoke and renew",
            path.display()
        ),
    })
}

fn files_in(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten();
    let mut paths: Vec<PathBuf> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .collect();
    paths.sort();
    paths
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn key_that_others_can_read_is_a_risk() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        let check = |mode, risky| {
            fs::set_permissions(file.path(), fs::Permissions::from_mode(mode)).expect("own file");
            assert_eq!(too_open(file.path()).is_some(), risky, "{mode:o}");
        };
        check(0o600, false);
        check(0o400, false);
        check(0o640, true);
        check(0o604, true);
        assert!(too_open(Path::new("/nonexistent/key.pem")).is_none());
    }
}
