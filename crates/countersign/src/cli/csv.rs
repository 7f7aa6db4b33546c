//! Certificates as CSV (RFC 4180: a header, CRLF, quotes doubled), safe to open in a spreadsheet.

use crate::cli::certificate_view::{Listed, labels_text};
use crate::output::escaped;

/// The first line.
pub(crate) fn header() -> String {
    line(COLUMNS.map(str::to_owned))
}

/// One certificate.
pub(crate) fn row(view: &Listed) -> String {
    let revocation = view.revocation.as_ref();
    line([
        view.serial.to_string(),
        view.fingerprint
            .map(|it| it.to_string())
            .unwrap_or_default(),
        view.status.to_owned(),
        view.profile.clone(),
        view.name.clone(),
        view.names.join("; "),
        view.issuer.clone(),
        view.not_before.to_string(),
        view.not_after.to_string(),
        view.issued_at.to_string(),
        view.issued_to.clone(),
        view.owner.clone().unwrap_or_default(),
        labels_text(&view.labels),
        view.note.clone().unwrap_or_default(),
        revocation
            .map(|it| it.revoked_at.to_string())
            .unwrap_or_default(),
        revocation
            .map(|it| it.reason.to_string())
            .unwrap_or_default(),
    ])
}

fn line<const N: usize>(cells: [String; N]) -> String {
    cells.map(|text| cell(&text)).join(",") + "\r\n"
}

/// A spreadsheet calculates what begins with one of these, and a name, a label or a note may be an attacker's: behind an
/// apostrophe it is text. The serial and the fingerprint have hexadecimal digits alone, and times begin with one.
fn cell(text: &str) -> String {
    let safe = defused(&escaped(text));
    if safe.contains([',', '"', ';', '\'']) || safe.trim() != safe {
        format!("\"{}\"", safe.replace('"', "\"\""))
    } else {
        safe
    }
}

/// Where lists are separated by semicolons (Excel in half of Europe), a row is one cell up to the first of them, so that no
/// quote inside protects what follows it: each part of a cell is a cell of its own.
fn defused(shown: &str) -> String {
    let part = |part: &str| {
        let bare = part.trim_start();
        let spaces = &part[..part.len() - bare.len()];
        let apostrophe = if bare.starts_with(FORMULA) { "'" } else { "" };
        format!("{spaces}{apostrophe}{bare}")
    };
    let parts: Vec<String> = shown.split(';').map(part).collect();
    parts.join(";")
}

/// What a spreadsheet takes for the beginning of one, as narrow and as wide characters.
const FORMULA: [char; 10] = ['=', '+', '-', '@', '\t', '\r', '＝', '＋', '－', '＠'];

const COLUMNS: [&str; 16] = [
    "serial",
    "fingerprint",
    "status",
    "profile",
    "name",
    "names",
    "issuer",
    "not_before",
    "not_after",
    "issued_at",
    "issued_to",
    "owner",
    "labels",
    "note",
    "revoked_at",
    "reason",
];

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &str) {
        assert_eq!(cell(text), expected, "{text:?}");
    }

    #[test]
    fn formulas_are_text() {
        check("=1+1", "\"'=1+1\"");
        check("x;=1+1; @SUM(A1);ok", "\"x;'=1+1; '@SUM(A1);ok\"");
        check(" =1+1", "\" '=1+1\"");
        check("+1", "\"'+1\"");
        check("-1", "\"'-1\"");
        check("@SUM(A1)", "\"'@SUM(A1)\"");
        check(
            "=HYPERLINK(\"http://x\",\"y\")",
            "\"'=HYPERLINK(\"\"http://x\"\",\"\"y\"\")\"",
        );
        check("＝1", "\"'＝1\"");
        check("a=b", "a=b");
    }

    #[test]
    fn cells_are_quoted_as_rfc_4180_has_it_and_stay_one_line() {
        check("", "");
        check("plain", "plain");
        check("a,b", "\"a,b\"");
        check("say \"hi\"", "\"say \"\"hi\"\"\"");
        check("Ölpumpe 1", "Ölpumpe 1");
        check("a\r\nb", "a\\r\\nb");
        check("\t=1", "\\t=1");
        check("\u{1b}[31m", "\\u{1b}[31m");
        assert_eq!(header().matches(',').count(), COLUMNS.len() - 1);
        assert!(header().ends_with("reason\r\n"));
    }
}
