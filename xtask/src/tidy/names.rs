//! Names that say nothing. A file, folder or module is called after its duty.

/// Nowhere in a name.
const ANYWHERE: [&str; 5] = ["helper", "helpers", "misc", "util", "utils"];

/// Not as the noun of a name: `wire_types` and `core` say nothing, `common_name` is an attribute of a certificate.
const AS_NOUN: [&str; 3] = ["common", "core", "types"];

/// Faults in the path of a source file and in the modules that it declares.
pub(crate) fn check(path: &str, text: &str) -> Vec<String> {
    let mut faults = Vec::new();
    if path.ends_with("/mod.rs") {
        faults.push(format!(
            "{path}: no mod.rs; `foo.rs` stands beside its folder `foo/`"
        ));
    }
    let parts = path.strip_suffix(".rs").unwrap_or(path).split('/');
    faults.extend(parts.filter_map(|part| Some(format!("{path}: {}", complaint(part)?))));
    faults.extend(
        text.lines()
            .filter_map(inline_module)
            .filter_map(|name| Some(format!("{path}: {}", complaint(name)?))),
    );
    faults
}

fn complaint(name: &str) -> Option<String> {
    let mut words = name.split(['_', '-']).peekable();
    while let Some(word) = words.next() {
        if ANYWHERE.contains(&word) || (words.peek().is_none() && AS_NOUN.contains(&word)) {
            return Some(format!(
                "`{word}` in the name `{name}` says nothing: name it after its duty"
            ));
        }
    }
    None
}

/// The name in `mod name {`, with any visibility. (`mod name;` has a file, whose path is checked.)
fn inline_module(line: &str) -> Option<&str> {
    let declaration = line.trim().strip_suffix('{')?.trim_end();
    let (visibility, name) = declaration.split_once("mod ")?;
    let visibility = visibility.trim();
    (visibility.is_empty() || visibility.starts_with("pub")).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_name(path: &str, text: &str, expected: usize) {
        let faults = check(path, text);
        assert_eq!(faults.len(), expected, "{path} {text}: {faults:?}");
    }

    #[test]
    fn names_that_say_nothing_are_faults() {
        check_name("crates/pki/src/util.rs", "", 1);
        check_name("crates/pki/src/string_utils.rs", "", 1);
        check_name("crates/pki/src/helpers/der.rs", "", 1);
        check_name("crates/pki/src/wire_types.rs", "", 1);
        check_name("crates/core/src/lib.rs", "", 1);
        check_name("crates/proxy/tests/common/mod.rs", "", 2);
        check_name("crates/proxy/src/misc-utils.rs", "", 1);
        check_name("crates/pki/src/name.rs", "pub(crate) mod utils {", 1);
        check_name("crates/pki/src/name.rs", "    mod types {", 1);
    }

    #[test]
    fn names_of_the_domain_pass() {
        check_name(
            "crates/pki/src/name.rs",
            "mod tests {\n// in the common mod core {",
            0,
        );
        check_name("crates/pki/src/common_name.rs", "", 0);
        check_name("crates/pki/src/utility_room.rs", "", 0);
        check_name("crates/runtime/src/accept/modern.rs", "", 0);
    }
}
