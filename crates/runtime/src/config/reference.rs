//! A configuration explained: every key with its default, and where each value of a loaded file came from.
//!
//! Texts come from the doc comments of the types (through their JSON schema), order and values from serializing one of
//! each: a key that is added there appears here.

use std::fmt::Write;

use schemars::{JsonSchema, schema_for};
use serde::Serialize;
use serde_json::Value;

/// One key of the effective configuration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Explained {
    /// Such as `gateway.listener[0].address`.
    pub key: String,
    /// As TOML.
    pub value: String,
    /// Whether the file says so; else it is the default.
    pub from_file: bool,
}

/// Every key of `effective` (a configuration serialized after parsing) with its value and whether `written` (the file as
/// read) holds it.
pub fn explain(effective: &toml::Table, written: &toml::Table) -> Vec<Explained> {
    let mut explained = Vec::new();
    walk(
        String::new(),
        &toml::Value::Table(effective.clone()),
        Some(&toml::Value::Table(written.clone())),
        &mut explained,
    );
    explained
}

fn walk(
    key: String,
    value: &toml::Value,
    written: Option<&toml::Value>,
    explained: &mut Vec<Explained>,
) {
    match value {
        toml::Value::Table(table) => {
            for (name, value) in table {
                let key = if key.is_empty() {
                    name.clone()
                } else {
                    format!("{key}.{name}")
                };
                walk(
                    key,
                    value,
                    written.and_then(|written| written.get(name)),
                    explained,
                );
            }
        }
        // Rules are read as a whole: an entry of allow is one value.
        toml::Value::Array(array) if array.iter().any(toml::Value::is_table) && !is_rules(&key) => {
            for (index, value) in array.iter().enumerate() {
                walk(
                    format!("{key}[{index}]"),
                    value,
                    written.and_then(|written| written.get(index)),
                    explained,
                );
            }
        }
        leaf => explained.push(Explained {
            key,
            value: leaf.to_string(),
            from_file: written.is_some(),
        }),
    }
}

fn is_rules(key: &str) -> bool {
    matches!(key.rsplit('.').next(), Some("allow" | "deny"))
}

/// A commented table in which every key stands with its default. `plain` has the defaults, `every` a value for each key;
/// what is only in `every` is commented out, as an example. `nested` keys have sections of their own.
pub fn section<T: Serialize + JsonSchema>(
    header: &str,
    plain: &T,
    every: &T,
    nested: &[&str],
) -> String {
    let about = documented::<T>();
    let plain = lines(plain);
    let mut text = format!("{header}\n");
    for line in lines(every) {
        let Some((key, _)) = line.split_once(" = ") else {
            continue;
        };
        if nested.contains(&key) {
            continue;
        }
        if let Some((_, about)) = about.iter().find(|(known, _)| known == key) {
            let _ = writeln!(text, "# {about}");
        }
        let is_default = plain.iter().any(|line| {
            line.split_once(" = ")
                .is_some_and(|(known, _)| known == key)
        });
        let _ = writeln!(text, "{}{line}\n", if is_default { "" } else { "# " });
    }
    text
}

/// `key = value` for each key; what TOML would put under a `[[key]]` of its own is put in braces.
fn lines<T: Serialize>(value: &T) -> Vec<String> {
    let text = toml::to_string(value).expect("configuration is TOML");
    let mut lines = Vec::new();
    let mut braced: Option<(String, Vec<&str>)> = None;
    for line in text.lines().filter(|line| !line.is_empty()) {
        match (
            line.strip_prefix("[[")
                .and_then(|rest| rest.strip_suffix("]]")),
            &mut braced,
        ) {
            (Some(key), _) => braced = Some((key.to_owned(), Vec::new())),
            (None, Some((_, fields))) => fields.push(line),
            (None, None) => lines.push(line.to_owned()),
        }
    }
    lines.extend(braced.map(|(key, fields)| format!("{key} = [{{ {} }}]", fields.join(", "))));
    lines
}

/// A table that is not there unless somebody writes it: with it, the configuration would be another one.
pub fn commented_out(section: &str) -> String {
    let line = |line: &str| match line {
        "" => "\n".to_owned(),
        _ if line.starts_with('#') => format!("{line}\n"),
        _ => format!("# {line}\n"),
    };
    section.lines().map(line).collect()
}

/// `key = value, …`, as it stands between braces.
pub fn inline<T: Serialize>(value: &T) -> String {
    lines(value).join(", ")
}

/// Keys with their doc comments, each on one line.
pub fn documented<T: JsonSchema>() -> Vec<(String, String)> {
    let schema = schema_for!(T);
    let properties = schema.get("properties").and_then(Value::as_object);
    let about = |property: &Value| {
        let text = property
            .get("description")
            .and_then(Value::as_str)
            .unwrap_or_default();
        text.split_whitespace().collect::<Vec<_>>().join(" ")
    };
    properties
        .into_iter()
        .flatten()
        .map(|(key, property)| (key.clone(), about(property)))
        .collect()
}
