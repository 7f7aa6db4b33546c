//! Words of commands that somebody shall paste into a shell.

/// As a shell reads it back.
pub fn quoted(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+:@%=,".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cause::Cause;
    use crate::finding::{Finding, Side};

    /// Names in certificates are their maker's.
    #[test]
    fn what_is_quoted_stays_so_in_a_fix() {
        for (text, word) in [
            ("x';touch${IFS}/tmp/y;'", r"'x'\'';touch${IFS}/tmp/y;'\'''"),
            (r"\", r"'\'"),
            ("a\u{1b}'b", r"'a\u{1b}'\''b'"),
        ] {
            let finding = Finding::fault(Cause::FileMissing, Side::Client, "it is gone")
                .with_fix(format!("ls {}", quoted(text)));
            let printed = finding.fix().last().map(String::as_str);
            assert_eq!(printed, Some(format!("ls {word}").as_str()));
        }
    }

    #[test]
    fn pasted_paths_survive_the_shell() {
        assert_eq!(
            quoted("/var/lib/countersign/ca.pem"),
            "/var/lib/countersign/ca.pem"
        );
        assert_eq!(quoted("/home/ada l/it's"), r"'/home/ada l/it'\''s'");
        assert_eq!(quoted(""), "''");
    }
}
