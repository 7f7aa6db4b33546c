//! Real programs of other people: found, or skipped by name, never silently.

use std::path::PathBuf;

use crate::installation::binary;

/// The program called `name`. Where it is not installed, says so and gives `None`; where it must be (CI, or
/// `COUNTERSIGN_REQUIRE_PEERS=1`), fails.
pub(crate) fn peer(test: &str, name: &str) -> Option<PathBuf> {
    let found = find(name);
    if found.is_none() {
        let sentence = format!("SKIPPED {test}: {name} is not installed");
        assert!(!is_required(), "{sentence}, and here it has to be");
        println!("{sentence}");
    }
    found
}

/// The Python that has what `pypi/requirements.txt` names; `./test` makes it beside the binaries. Skips like [`peer`].
pub(crate) fn python_of_pypi(test: &str) -> Option<PathBuf> {
    let python = binary()
        .ancestors()
        .nth(2)
        .map(|target| target.join("pypi").join("bin").join("python"))
        .filter(|python| python.is_file());
    if python.is_none() {
        let sentence = format!(
            "SKIPPED {test}: the packages of crates/countersign/tests/it/pypi/requirements.txt are not in target/pypi"
        );
        assert!(!is_required(), "{sentence}, and here they have to be");
        println!("{sentence}");
    }
    python
}

/// `pypi/NAME.py`.
pub(crate) fn script_of_pypi(name: &str) -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/pypi")).join(format!("{name}.py"))
}

fn find(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    // Debian keeps nginx where only root's PATH looks, and PostgreSQL's server where nobody's does.
    let elsewhere = ["/usr/sbin", "/usr/bin", "/usr/lib/postgresql/15/bin"];
    let folders = std::env::split_paths(&path).chain(elsewhere.map(PathBuf::from));
    folders
        .map(|folder| folder.join(name))
        .find(|file| file.is_file())
}

fn is_required() -> bool {
    let is = |name: &str, value: &str| std::env::var(name).is_ok_and(|found| found == value);
    is("CI", "true") || is("COUNTERSIGN_REQUIRE_PEERS", "1")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_peer_is_none_unless_it_is_required() {
        assert!(find("sh").is_some());
        assert!(find("no-such-program-anywhere").is_none());
    }
}
