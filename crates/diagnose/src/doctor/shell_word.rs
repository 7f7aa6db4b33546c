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
