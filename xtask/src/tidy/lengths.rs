//! A file has one duty. Past these lengths it has two, or says too much about one.

/// Lines of a source file without its tests.
const FILE_LINES: usize = 600;

/// Lines of a `main.rs`: parse, build, run, exit code.
const MAIN_LINES: usize = 100;

/// Says so when a file under `src/` is longer than it may be.
pub(crate) fn check(path: &str, text: &str) -> Option<String> {
    if !path.contains("/src/") || path.starts_with("bench/") {
        return None;
    }
    let limit = if path.ends_with("/src/main.rs") {
        MAIN_LINES
    } else {
        FILE_LINES
    };
    let lines = lines_without_tests(text);
    (lines > limit)
        .then(|| format!("{path}: {lines} lines without tests, at most {limit}: split it by duty"))
}

/// The lines before the trailing `#[cfg(test)] mod tests { … }`, or all of them where the file does not end so.
fn lines_without_tests(text: &str) -> usize {
    let lines: Vec<&str> = text.lines().collect();
    let tests = lines
        .windows(2)
        .rposition(|pair| pair == ["#[cfg(test)]", "mod tests {"]);
    let Some(start) = tests else {
        return lines.len();
    };
    // Only a closing brace in the first column ends the module; what follows it is code again.
    let closing = lines[start..].iter().position(|line| *line == "}");
    let end = closing.map_or(lines.len(), |at| start + at + 1);
    if end == lines.len() {
        start
    } else {
        lines.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TESTS: &str = "#[cfg(test)]\nmod tests {\n    use super::*;\n}\n";

    fn check_length(path: &str, text: &str, expected: bool) {
        let fault = check(path, text);
        assert_eq!(fault.is_none(), expected, "{path}: {fault:?}");
    }

    #[test]
    fn file_past_the_limit_is_a_fault() {
        check_length("crates/pki/src/chain.rs", &"x\n".repeat(600), true);
        check_length("crates/pki/src/chain.rs", &"x\n".repeat(601), false);
        check_length("crates/countersign/src/main.rs", &"x\n".repeat(100), true);
        check_length("crates/countersign/src/main.rs", &"x\n".repeat(101), false);
        check_length("crates/pki/tests/limbo.rs", &"x\n".repeat(900), true);
    }

    #[test]
    fn trailing_tests_do_not_count() {
        check_length(
            "crates/pki/src/chain.rs",
            &format!("{}{TESTS}", "x\n".repeat(600)),
            true,
        );
        check_length(
            "crates/pki/src/chain.rs",
            &format!("{}{TESTS}", "x\n".repeat(601)),
            false,
        );
    }

    #[test]
    fn code_after_the_tests_counts_and_so_do_the_tests() {
        check_length(
            "crates/pki/src/chain.rs",
            &format!("{TESTS}{}", "x\n".repeat(597)),
            false,
        );
        check_length(
            "crates/pki/src/chain.rs",
            &format!("{TESTS}{}", "x\n".repeat(596)),
            true,
        );
    }
}
