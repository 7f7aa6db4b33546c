//! The first lines of a crate tell a newcomer what it is for.

/// Says so when a crate's root does not open with its documentation.
pub(crate) fn check(path: &str, text: &str) -> Option<String> {
    let is_root = path.ends_with("/src/lib.rs") || path.ends_with("/src/main.rs");
    let opens_with_docs = text
        .lines()
        .next()
        .is_some_and(|line| line.starts_with("//! ") && line.len() > "//! ".len());
    (is_root && !opens_with_docs)
        .then(|| format!("{path}: a crate opens with `//!`: what it is for, what it must never do, what to read first"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_opening(path: &str, text: &str, expected: bool) {
        assert_eq!(check(path, text).is_none(), expected, "{path}: {text}");
    }

    #[test]
    fn crate_opens_with_its_documentation() {
        check_opening(
            "crates/pki/src/lib.rs",
            "//! Bytes to types and back.\n",
            true,
        );
        check_opening(
            "crates/pki/src/lib.rs",
            "use der::Encode;\n//! late\n",
            false,
        );
        check_opening("crates/pki/src/lib.rs", "//! \n", false);
        check_opening("crates/pki/src/lib.rs", "", false);
        check_opening("crates/countersign/src/main.rs", "fn main() {}\n", false);
        check_opening("crates/pki/src/chain.rs", "use der::Encode;\n", true);
    }
}
