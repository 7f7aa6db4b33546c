//! Real programs of other people: found, or skipped by name, never silently.

use std::path::PathBuf;

use crate::installation::binary;

/// The program called `name`. Where it is not installed, says so and gives `None`; where it must be (CI, or
/// `COUNTERSIGN_REQUIRE_PEERS=1`), fails.
pub(crate) fn peer(test: &str, name: &str) -> Option<PathBuf> {
    found_or_skipped(find(name), is_required(), || {
        format!("{test}: {name} is not installed")
    })
}

fn found_or_skipped(
    found: Option<PathBuf>,
    is_required: bool,
    why: impl Fn() -> String,
) -> Option<PathBuf> {
    if found.is_none() {
        assert!(!is_required, "{}, and here it has to be", why());
        println!("SKIPPED {}", why());
    }
    found
}

/// The Python that has what `pypi/requirements.txt` names; `./test` makes it beside the binaries. Skips like [`peer`].
pub(crate) fn python_of_pypi(test: &str) -> Option<PathBuf> {
    program_of_pypi(test, "python")
}

/// A program that came with those packages. Skips like [`peer`].
pub(crate) fn program_of_pypi(test: &str, name: &str) -> Option<PathBuf> {
    let program = binary()
        .ancestors()
        .nth(2)
        .map(|target| target.join("pypi").join("bin").join(name))
        .filter(|program| program.is_file());
    found_or_skipped(program, is_required(), || {
        format!(
            "{test}: the packages of crates/countersign/tests/it/pypi/requirements.txt are not in target/pypi"
        )
    })
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
        let missing = find("no-such-program-anywhere");
        assert_eq!(found_or_skipped(missing, false, String::new), None);
    }

    #[test]
    #[should_panic(expected = "here it has to be")]
    fn missing_peer_that_is_required_fails() {
        found_or_skipped(find("no-such-program-anywhere"), true, String::new);
    }
}
