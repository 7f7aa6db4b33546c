//! Real programs of other people: found, or skipped by name, never silently.

use std::path::PathBuf;

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

fn find(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    // Debian keeps nginx where only root's PATH looks.
    let folders =
        std::env::split_paths(&path).chain([PathBuf::from("/usr/sbin"), PathBuf::from("/usr/bin")]);
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
