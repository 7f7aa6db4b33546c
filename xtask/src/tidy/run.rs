//! What the README's `cargo run` starts: cargo picks the one binary of the default members, and refuses to pick of two.

use serde_json::Value;

/// Says so when `cargo run` would not start `countersign`, by the output of `cargo metadata --no-deps`.
pub(crate) fn check(metadata: &str) -> anyhow::Result<Option<String>> {
    let metadata: Value = serde_json::from_str(metadata)?;
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let defaults = list(&metadata["workspace_default_members"]);
    let binaries: Vec<String> = list(&metadata["packages"])
        .iter()
        .filter(|package| defaults.contains(&package["id"]))
        .flat_map(|package| list(&package["targets"]))
        .filter(|target| list(&target["kind"]).contains(&"bin".into()))
        .map(|target| target["name"].as_str().unwrap_or_default().to_owned())
        .collect();
    Ok((binaries != ["countersign"]).then(|| {
        format!("`cargo run` has to start countersign alone, the default members' binaries are: {binaries:?}")
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(defaults: &[&str]) -> Option<String> {
        let package = |name: &str, kind: &str| serde_json::json!({"id": name, "targets": [{"name": name, "kind": [kind]}, {"name": "it", "kind": ["test"]}]});
        let metadata = serde_json::json!({
            "workspace_default_members": defaults,
            "packages": [package("countersign", "bin"), package("pki", "lib"), package("xtask", "bin")],
        });
        check(&metadata.to_string()).expect("JSON")
    }

    #[test]
    fn one_binary_is_run_two_or_none_are_a_fault() {
        assert_eq!(verdict(&["countersign", "pki"]), None);
        assert_eq!(verdict(&["countersign"]), None);
        for wrong in [&["countersign", "xtask"][..], &["xtask"], &["pki"], &[]] {
            assert!(verdict(wrong).is_some(), "{wrong:?}");
        }
    }
}
