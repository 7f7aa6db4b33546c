//! What no build of the workspace may contain, tests included. The list comes from `cargo tree`, not from `Cargo.lock`
//! or `cargo metadata`: both name `ring`, which nothing builds (docs/decisions/0001-ring-in-the-lock-file.md).

/// Other TLS stacks and cryptography libraries than rustls with aws-lc-rs.
const BANNED: [&str; 4] = ["native-tls", "openssl", "openssl-sys", "ring"];

/// Faults in the output of `cargo tree --prefix none`: one package a line, `name v1.2.3 …`.
pub(crate) fn check(tree: &str) -> Vec<String> {
    let names = || {
        tree.lines()
            .filter_map(|line| line.split(' ').next())
            .filter(|name| !name.is_empty())
    };
    if names().next().is_none() {
        return vec![
            "cargo tree lists no package: the check of what is built saw nothing".to_owned(),
        ];
    }
    let found = BANNED
        .iter()
        .filter(|banned| names().any(|name| name == **banned));
    found
        .map(|name| {
            format!("{name} is built: `cargo tree --workspace --target all -i {name}` says by whom")
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn banned_library_is_a_fault() {
        let faults = check(
            "countersign v0.1.0 (/src)\nrustls v0.23.46\nring v0.17.14\nopenssl v0.10.70 (*)\n",
        );
        assert_eq!(faults.len(), 2, "{faults:?}");
        assert!(faults[1].starts_with("ring is built"), "{faults:?}");
    }

    #[test]
    fn similar_names_pass() {
        assert_eq!(
            check("string v0.1.0\nring-compat v0.1.0\nopenssl-probe v0.1.6\n"),
            [""; 0]
        );
    }

    #[test]
    fn empty_tree_is_a_fault() {
        assert_eq!(check("\n").len(), 1);
    }
}
