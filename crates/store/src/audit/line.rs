//! Records and links as lines of JSON: what is exported is what is hashed.
//!
//! Invariant: the line of a record never changes, in no later version either, for links were made over it. So it is put
//! together here from the columns as they are, key by key, and goes through no type that may grow. It is printable
//! ASCII: whoever looks at it on a terminal sees what is there.

use std::fmt::Write as _;

use countersign_pki::time::UnixTime;
use rusqlite::Row;
use rusqlite::types::{Type, ValueRef};
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};

use super::digest::Digest;

/// A link of the chain: the records of one transaction, and what came before them. Digests are 64 lower-case
/// hexadecimal digits.
///
/// Whatever the database or a file holds can be in here; what is right is the verifier's to say.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Link {
    /// Its place: 1, 2, 3.
    #[serde(rename = "link")]
    pub(crate) number: i64,
    pub(crate) format: i64,
    /// 32 hexadecimal digits.
    pub(crate) chain: String,
    /// The hash of the link before it.
    pub(crate) previous: String,
    /// The first record.
    pub(crate) first: i64,
    /// The last one.
    pub(crate) last: i64,
    /// SHA-256 over the lines of the records, each with its line feed.
    pub(crate) records: String,
    /// [`Link::digest`], or what somebody wrote there.
    pub(crate) hash: String,
}

impl Link {
    /// SHA-256 over everything but the hash, a line each.
    pub(crate) fn digest(&self) -> String {
        let Self {
            number,
            format,
            chain,
            previous,
            first,
            last,
            records,
            hash: _,
        } = self;
        let mut digest = Digest::new();
        let text = format!(
            "countersign audit link\n{format}\n{chain}\n{number}\n{previous}\n{first}\n{last}\n{records}\n"
        );
        digest.update(text.as_bytes());
        digest.finish()
    }

    /// A row of [`LINK_COLUMNS`].
    pub(crate) fn from_row(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            number: row.get(0)?,
            format: row.get(1)?,
            chain: text(row, 2)?,
            previous: text(row, 3)?,
            first: row.get(4)?,
            last: row.get(5)?,
            records: text(row, 6)?,
            hash: text(row, 7)?,
        })
    }

    /// Without its line feed.
    pub(crate) fn line(&self) -> String {
        ascii(&serde_json::to_string(self).expect("texts and numbers are JSON"))
    }
}

/// The line of a record without its line feed; `row` has [`RECORD_COLUMNS`].
pub(crate) fn record(row: &Row<'_>) -> rusqlite::Result<String> {
    let (id, at): (i64, i64) = (row.get(0)?, row.get(1)?);
    let mut line = format!(
        r#"{{"record":{id},"at":{},"actor":{},"authenticated":{},"action":{},"object":{},"reason":{}"#,
        moment(at),
        object(&text(row, 2)?),
        quoted(&text(row, 3)?),
        quoted(&text(row, 4)?),
        quoted(&text(row, 5)?),
        quoted(&text(row, 6)?),
    );
    for (key, column) in [("before", 7), ("after", 8)] {
        if row.get_ref(column)? != ValueRef::Null {
            let value = quoted(&text(row, column)?);
            line.extend([",\"", key, "\":", &value]);
        }
    }
    line.push('}');
    Ok(line)
}

/// RFC 3339, or the number where it is no time that we write.
fn moment(at: i64) -> String {
    let time = u64::try_from(at).map(UnixTime::from_seconds);
    match time {
        Ok(time) if i64::try_from(time.seconds()) == Ok(at) => quoted(&time.to_string()),
        _ => at.to_string(),
    }
}

/// JSON of the actor as it was stored; as a text where it is none.
fn object(stored: &str) -> String {
    let is_json = serde_json::from_str::<IgnoredAny>(stored).is_ok();
    // White space may stand between the tokens of JSON, a line feed must not stand in a line.
    if is_json && !stored.contains(char::is_control) {
        ascii(stored)
    } else {
        quoted(stored)
    }
}

fn quoted(text: &str) -> String {
    ascii(&serde_json::to_string(text).expect("a text is JSON"))
}

/// JSON in printable ASCII: what is not stands in strings only, and is escaped there (RFC 8259 §7).
fn ascii(json: &str) -> String {
    let mut line = String::with_capacity(json.len());
    for character in json.chars() {
        if (' '..='~').contains(&character) {
            line.push(character);
        } else {
            for unit in character.encode_utf16(&mut [0; 2]) {
                write!(line, "\\u{unit:04x}").expect("a String takes everything");
            }
        }
    }
    line
}

/// A column whose text may be no UTF-8, if somebody else wrote it.
fn text(row: &Row<'_>, column: usize) -> rusqlite::Result<String> {
    let bytes = row
        .get_ref(column)?
        .as_bytes()
        .map_err(|_| rusqlite::Error::InvalidColumnType(column, String::new(), Type::Text))?;
    Ok(String::from_utf8_lossy(bytes).into_owned())
}

/// Of the table `audit`, in the order of [`record`].
pub(crate) const RECORD_COLUMNS: &str =
    "id, at, actor, authenticated, action, object, reason, before, after";

/// Of the table `audit_link`, in the order of [`Link::from_row`].
pub(crate) const LINK_COLUMNS: &str = "number, format, chain, previous, first, last, records, hash";

#[cfg(test)]
mod tests {
    use rusqlite::Connection;

    use super::*;

    fn check(columns: &str, expected: &str) {
        let sql = Connection::open_in_memory().expect("opens");
        let line = sql
            .query_row(&format!("SELECT {columns}"), [], record)
            .expect("a record");
        assert_eq!(line, expected);
    }

    /// Links of existing inventories were made over these very bytes: they may never change.
    #[test]
    fn line_of_a_record_is_what_it_always_was() {
        check(
            r#"7, 1800000000, '{"kind":"local-admin","uid":1000}', 'credentials of the local process', 'issue', '4f', 'asked for', NULL, NULL"#,
            r#"{"record":7,"at":"2027-01-15T08:00:00Z","actor":{"kind":"local-admin","uid":1000},"authenticated":"credentials of the local process","action":"issue","object":"4f","reason":"asked for"}"#,
        );
        check(
            r#"8, 1800000001, '{"kind":"authority"}', 'this process', 'revoke', 'CN=Zoë "Z" 🦀', '', 'valid', 'revoked'"#,
            r#"{"record":8,"at":"2027-01-15T08:00:01Z","actor":{"kind":"authority"},"authenticated":"this process","action":"revoke","object":"CN=Zo\u00eb \"Z\" \ud83e\udd80","reason":"","before":"valid","after":"revoked"}"#,
        );
    }

    #[test]
    fn line_is_printable_ascii_whatever_the_columns_hold() {
        check(
            "-1, -5, 'no json', char(27) || '[2J', char(10, 127, 155), '\\', x'ff41', '', char(0x202e)",
            r#"{"record":-1,"at":-5,"actor":"no json","authenticated":"\u001b[2J","action":"\n\u007f\u009b","object":"\\","reason":"\ufffdA","before":"","after":"\u202e"}"#,
        );
        check(
            "1, 1 << 62, '{' || char(10) || '}', '', '', '', '', NULL, NULL",
            r#"{"record":1,"at":4611686018427387904,"actor":"{\n}","authenticated":"","action":"","object":"","reason":""}"#,
        );
    }

    #[test]
    fn digest_of_a_link_is_what_it_always_was() {
        let link = Link {
            number: 2,
            format: 1,
            chain: "0".repeat(32),
            previous: "a".repeat(64),
            first: 3,
            last: 4,
            records: "b".repeat(64),
            hash: String::new(),
        };
        assert_eq!(
            link.digest(),
            "4eab64b5bf37f13b88ad177569247e03087b2ee924e88a9aa13172861fc41a7b"
        );
    }
}
