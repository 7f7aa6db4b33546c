//! Which crate may use which. The table is the architecture; what is not in it needs a page in `docs/decisions`.

use anyhow::Context;

/// The allowed arrows: a crate, and the crates that it may use outside its tests.
const ALLOWED: &[(&str, &[&str])] = &[
    ("pki", &[]),
    ("runtime", &[]),
    ("policy", &["pki"]),
    ("diagnose", &["pki", "policy"]),
    ("enrol", &["pki", "policy"]),
    ("store", &["enrol", "pki", "policy"]),
    ("tls", &["diagnose", "pki", "policy", "runtime"]),
    ("probe", &["diagnose", "pki", "runtime", "tls"]),
    (
        "authority",
        &["enrol", "pki", "policy", "probe", "runtime", "store", "tls"],
    ),
    (
        "proxy",
        &["diagnose", "pki", "policy", "probe", "runtime", "tls"],
    ),
    (
        "agent",
        &[
            "diagnose", "enrol", "pki", "policy", "probe", "runtime", "tls",
        ],
    ),
    ("console", &["authority", "diagnose", "runtime", "tls"]),
];

/// The binary wires everything; the others are never shipped.
const MAY_USE_ANY: [&str; 5] = ["countersign", "fuzz", "seed", "testkit", "xtask"];

/// Never shipped, so nothing shipped may use them.
const NEVER_USED: [&str; 4] = ["fuzz", "seed", "testkit", "xtask"];

/// A crate of the workspace and the workspace crates that it uses outside its tests, in short names (`pki`).
#[derive(Debug, PartialEq)]
pub(crate) struct Crate {
    pub(crate) name: String,
    pub(crate) uses: Vec<String>,
}

/// The crates in the output of `cargo metadata --no-deps`.
pub(crate) fn crates(metadata: &str) -> anyhow::Result<Vec<Crate>> {
    let metadata: serde_json::Value = serde_json::from_str(metadata)?;
    let packages = metadata["packages"]
        .as_array()
        .context("cargo metadata without packages")?;
    let name = |value: &serde_json::Value| Some(short(value["name"].as_str()?).to_owned());
    let uses = |package: &serde_json::Value| {
        let dependencies = package["dependencies"].as_array().into_iter().flatten();
        // A workspace crate is used by path; `kind` is null for a normal dependency.
        dependencies
            .filter(|it| it["path"].is_string() && it["kind"] != "dev")
            .filter_map(name)
            .collect()
    };
    packages
        .iter()
        .map(|package| {
            Some(Crate {
                name: name(package)?,
                uses: uses(package),
            })
        })
        .collect::<Option<_>>()
        .context("cargo metadata has a package without name")
}

/// Says which arrows are not allowed.
pub(crate) fn check(crates: &[Crate]) -> Vec<String> {
    let arrows = crates
        .iter()
        .flat_map(|it| it.uses.iter().map(|used| (it.name.as_str(), used.as_str())));
    let mut faults: Vec<String> = crates
        .iter()
        .filter(|it| !MAY_USE_ANY.contains(&it.name.as_str()) && allowed(&it.name).is_none())
        .map(|it| format!("crate {0} is not in xtask/src/tidy/arrows.rs: add a row and a page in docs/decisions", it.name))
        .collect();
    faults.extend(arrows.filter(|(from, to)| !is_allowed(from, to)).map(|(from, to)| {
        format!("{from} → {to} is not an allowed arrow: a new one needs a page in docs/decisions and a row in xtask/src/tidy/arrows.rs")
    }));
    faults
}

fn is_allowed(from: &str, to: &str) -> bool {
    match allowed(from) {
        Some(targets) => targets.contains(&to),
        None if from == "countersign" => !NEVER_USED.contains(&to),
        None => MAY_USE_ANY.contains(&from),
    }
}

fn allowed(name: &str) -> Option<&'static [&'static str]> {
    ALLOWED
        .iter()
        .find(|(from, _)| *from == name)
        .map(|(_, targets)| *targets)
}

fn short(name: &str) -> &str {
    name.strip_prefix("countersign-").unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_arrow(from: &str, to: &str, expected: bool) {
        let faults = check(&[Crate {
            name: from.into(),
            uses: vec![to.into()],
        }]);
        assert_eq!(faults.is_empty(), expected, "{from} → {to}: {faults:?}");
        assert!(
            expected || faults[0].contains("docs/decisions"),
            "{faults:?}"
        );
    }

    #[test]
    fn arrows_of_the_table_pass_and_others_do_not() {
        check_arrow("tls", "pki", true);
        check_arrow("countersign", "store", true);
        check_arrow("testkit", "tls", true);
        check_arrow("fuzz", "policy", true);
        check_arrow("pki", "policy", false);
        check_arrow("policy", "diagnose", false);
        check_arrow("proxy", "store", false);
        check_arrow("runtime", "pki", false);
        check_arrow("tls", "testkit", false);
        check_arrow("countersign", "testkit", false);
    }

    #[test]
    fn arrow_is_named_in_the_fault() {
        let faults = check(&[Crate {
            name: "proxy".into(),
            uses: vec!["tls".into(), "authority".into()],
        }]);
        assert_eq!(faults.len(), 1);
        assert!(
            faults[0].starts_with("proxy → authority is not an allowed arrow"),
            "{faults:?}"
        );
    }

    #[test]
    fn unknown_crate_is_a_fault_even_alone() {
        let faults = check(&[Crate {
            name: "extras".into(),
            uses: vec![],
        }]);
        assert!(faults[0].contains("crate extras is not in"), "{faults:?}");
    }

    #[test]
    fn metadata_gives_normal_and_build_dependencies_but_not_those_of_tests() {
        let metadata = r#"{"packages": [{"name": "countersign-tls", "dependencies": [
            {"name": "countersign-pki", "kind": null, "path": "/src/crates/pki"},
            {"name": "countersign-store", "kind": "build", "path": "/src/crates/store"},
            {"name": "countersign-testkit", "kind": "dev", "path": "/src/crates/testkit"},
            {"name": "rustls", "kind": null}]}]}"#;
        let expected = Crate {
            name: "tls".into(),
            uses: vec!["pki".into(), "store".into()],
        };
        assert_eq!(crates(metadata).expect("valid metadata"), [expected]);
        assert!(crates("{}").is_err());
    }
}
