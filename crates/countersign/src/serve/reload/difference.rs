//! What two configurations differ in: which keys and files, and never what stands there.

use std::collections::BTreeMap;
use std::fmt::Write;

use toml::{Table, Value};

use crate::configuration::Files;

/// The places that differ, in order, as a line for the log; empty: none.
pub(super) fn differences(before: (&Table, &Files), after: (&Table, &Files)) -> String {
    let mut places = Vec::new();
    tables("", before.0, after.0, &mut places);
    let (was, is) = (before.1, after.1);
    let changed = is.iter().filter(|(path, hash)| {
        // One that is named for the first time is a key that differs.
        was.get(*path).is_some_and(|earlier| earlier != *hash)
    });
    places.extend(changed.map(|(path, _)| path.display().to_string()));
    let mut line = String::new();
    for place in places.iter().take(MAX_PLACES) {
        let separator = if line.is_empty() { "" } else { ", " };
        // Writing to a String cannot fail.
        let _ = write!(line, "{separator}{}", place.escape_debug());
    }
    if places.len() > MAX_PLACES {
        let _ = write!(line, " and {} more", places.len() - MAX_PLACES);
    }
    line
}

fn tables(place: &str, before: &Table, after: &Table, places: &mut Vec<String>) {
    let mut keys: BTreeMap<&String, [Option<&Value>; 2]> = BTreeMap::new();
    for (side, table) in [before, after].into_iter().enumerate() {
        for (key, value) in table {
            keys.entry(key).or_default()[side] = Some(value);
        }
    }
    for (key, values) in keys {
        let place = if place.is_empty() {
            key.clone()
        } else {
            format!("{place}.{key}")
        };
        match values {
            [Some(before), Some(after)] => of_values(&place, before, after, places),
            _ => places.push(place),
        }
    }
}

fn of_values(place: &str, before: &Value, after: &Value, places: &mut Vec<String>) {
    let are_tables = |values: &[Value]| !values.is_empty() && values.iter().all(Value::is_table);
    match (before, after) {
        (Value::Table(before), Value::Table(after)) => tables(place, before, after, places),
        (Value::Array(before), Value::Array(after)) if are_tables(before) && are_tables(after) => {
            for index in 0..before.len().max(after.len()) {
                let place = format!("{place}[{index}]");
                match (before.get(index), after.get(index)) {
                    (Some(before), Some(after)) => of_values(&place, before, after, places),
                    _ => places.push(place),
                }
            }
        }
        _ if before == after => {}
        _ => places.push(place.to_owned()),
    }
}

/// A line that can be read; who changes more than that knows what.
const MAX_PLACES: usize = 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(before: &str, after: &str, expected: &str) {
        let none = Files::default();
        let parse = |text: &str| text.parse::<Table>().expect("TOML");
        let (before, after) = (parse(before), parse(after));
        let said = differences((&before, &none), (&after, &none));
        assert_eq!(said, expected);
        let back = differences((&after, &none), (&before, &none));
        assert_eq!(back, expected);
    }

    #[test]
    fn places_are_named_and_values_are_not() {
        check("a = 1", "a = 1", "");
        check("a = 1 # one", "a=1", "");
        check("secret = \"hunter2\"", "secret = \"hunter3\"", "secret");
        check("[g]\na = 1\nb = 2", "[g]\na = 1", "g.b");
        check("", "[g.h]\na = 1", "g");
        check(
            "[[l]]\na = 1\n[[l]]\na = 2\nallow = [{ cn = \"x\" }]",
            "[[l]]\na = 1\n[[l]]\na = 3\nallow = [{ cn = \"y\" }, { cn = \"z\" }]",
            "l[1].a, l[1].allow[0].cn, l[1].allow[1]",
        );
        check("l = [1, 2]", "l = [2, 1]", "l");
        check("l = []", "l = [{ a = 1 }]", "l");
    }

    #[test]
    fn line_has_an_end() {
        let keys = |range: std::ops::Range<u32>| {
            let lines: Vec<String> = range.map(|key| format!("k{key} = 0\n")).collect();
            lines.concat()
        };
        let none = Files::default();
        let before = Table::new();
        let after = keys(0..1000).parse::<Table>().expect("TOML");
        let said = differences((&before, &none), (&after, &none));
        assert!(said.ends_with(" and 980 more"), "{said}");
    }

    #[test]
    fn file_whose_content_changed_is_named() {
        let table = Table::new();
        let files = |hashes: &[(&str, Option<u64>)]| -> Files {
            hashes
                .iter()
                .map(|(path, hash)| ((*path).into(), *hash))
                .collect()
        };
        let before = files(&[("a.pem", Some(1)), ("b.pem", Some(1)), ("c.pem", None)]);
        let after = files(&[
            ("a.pem", Some(1)),
            ("b.pem", Some(2)),
            ("c.pem", Some(3)),
            ("d.pem", Some(4)),
        ]);
        let said = differences((&table, &before), (&table, &after));
        assert_eq!(said, "b.pem, c.pem");
    }
}
