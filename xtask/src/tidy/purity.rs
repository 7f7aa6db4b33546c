//! The pure crates are linted with `pure.clippy.toml`. Clippy takes the nearest file and does not merge, so a missing
//! link, or a ban that stands in one file only, silently allows what is banned.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

const PURE: [&str; 4] = ["diagnose", "enrol", "pki", "policy"];

const TARGET: &str = "../../pure.clippy.toml";

/// Says which pure crate lacks the link to `pure.clippy.toml`.
pub(crate) fn check(root: &Path) -> anyhow::Result<Vec<String>> {
    let mut faults = Vec::new();
    for name in PURE {
        let folder = root.join("crates").join(name);
        if folder.try_exists()? {
            let target = fs::read_link(folder.join("clippy.toml")).ok();
            faults.extend(fault_of_link(name, target.as_deref()));
        }
    }
    Ok(faults)
}

/// Says which bans of the root's file the pure one does not repeat.
pub(crate) fn unrepeated(root: &str, pure: &str) -> Vec<String> {
    let missing = bans(root)
        .difference(&bans(pure))
        .copied()
        .collect::<Vec<_>>();
    missing
        .iter()
        .map(|path| format!("pure.clippy.toml does not repeat the ban of {path} in clippy.toml"))
        .collect()
}

fn fault_of_link(name: &str, target: Option<&Path>) -> Option<String> {
    (target != Some(Path::new(TARGET)))
        .then(|| format!("crates/{name} is pure: its clippy.toml must be a symlink to {TARGET}"))
}

/// The paths in lines such as `{ path = "std::process::exit", reason = "…" },`.
fn bans(text: &str) -> BTreeSet<&str> {
    let entries = text
        .lines()
        .map(str::trim)
        .filter(|line| !line.starts_with('#'));
    entries
        .filter_map(|line| line.split_once("path = \"")?.1.split('"').next())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pure_crate_needs_the_link() {
        assert_eq!(fault_of_link("pki", Some(Path::new(TARGET))), None);
        assert!(fault_of_link("pki", Some(Path::new("../../clippy.toml"))).is_some());
        assert!(fault_of_link("pki", None).is_some());
    }

    #[test]
    fn link_is_looked_for_in_the_tree() {
        let root = std::env::temp_dir().join(format!("xtask-purity-{}", std::process::id()));
        fs::create_dir_all(root.join("crates/pki")).expect("temporary folder");
        let faults = check(&root).expect("readable");
        fs::remove_dir_all(&root).expect("temporary folder");
        assert_eq!(faults.len(), 1, "{faults:?}");
        assert!(faults[0].starts_with("crates/pki is pure"), "{faults:?}");
    }

    #[test]
    fn ban_of_the_root_stands_in_the_pure_file_too() {
        let root = "disallowed-methods = [\n    { path = \"a::b\", reason = \"x\" },\n    { path = \"a::c\" },\n]\n";
        assert_eq!(unrepeated(root, root), [""; 0]);
        let pure = "    { path = \"a::b\", reason = \"x\" },\n    # { path = \"a::c\" },\n";
        assert_eq!(
            unrepeated(root, pure),
            ["pure.clippy.toml does not repeat the ban of a::c in clippy.toml"]
        );
    }
}
