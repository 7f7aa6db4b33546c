//! The configuration explained: every key with its default, and where each value of a loaded file came from.
//!
//! Texts come from the doc comments of the types (through their JSON schema), order and values from serializing one of
//! each: a key that is added there appears here.

use std::fmt::Write;
use std::num::NonZeroUsize;

use schemars::{JsonSchema, schema_for};
use serde::Serialize;
use serde_json::Value;

use crate::config::rule::{AllowEntry, ConditionConfig};
use crate::config::{
    GatewayConfig, ListenerConfig, RouteClientCertificate, RouteConfig, TrustConfig,
};

/// A commented configuration of `[gateway]` and `[trust]` in which every key stands with its default. Keys without one
/// are commented out, with an example.
pub fn default_toml() -> String {
    let condition = ConditionConfig {
        spiffe: Some("spiffe://example.com/order-service".to_owned()),
        method: vec!["POST".to_owned()],
        ..ConditionConfig::default()
    };
    let route = RouteConfig::new("http://127.0.0.1:3000", vec![AllowEntry::AnyTrusted]);
    let every_route = RouteConfig {
        host: Some("api.example.com".to_owned()),
        path: Some("/charge/**".to_owned()),
        client_certificate: Some(RouteClientCertificate::Require),
        deny: vec![ConditionConfig {
            dns: Some("*.contractor.example.com".to_owned()),
            ..ConditionConfig::default()
        }],
        ..route.clone()
    };
    let listener = ListenerConfig::new(([127, 0, 0, 1], 8443).into(), Vec::new());
    let every_listener = ListenerConfig {
        name: Some("listener-1".to_owned()),
        certificate: Some("tls/server.pem".into()),
        key: Some("tls/server.key".into()),
        ..listener.clone()
    };
    let gateway = GatewayConfig::default();
    let every_gateway = GatewayConfig {
        workers: NonZeroUsize::new(2),
        ..gateway.clone()
    };
    let every_trust = TrustConfig {
        bundle: Some("tls/root.pem".into()),
        trust_domain: Some("example.com".to_owned()),
    };

    let mut text = section("[gateway]", &gateway, &every_gateway);
    text += &section("[[gateway.listener]]", &listener, &every_listener);
    text += &section("[[gateway.listener.route]]", &route, &every_route);
    text.push_str("# Instead of \"any-trusted\" or \"anyone\", an entry of allow (and every one of deny) is a table, all of which must hold:\n");
    let _ = writeln!(
        text,
        "# allow = [{{ {} }}]\n# Its fields:",
        inline(&condition)
    );
    for (key, about) in documented::<ConditionConfig>() {
        let _ = writeln!(text, "#   {key}: {about}");
    }
    text.push('\n');
    text += &section("[trust.internal]", &TrustConfig::default(), &every_trust);
    text
}

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

/// `plain` has the defaults, `every` a value for each key. Nested tables have sections of their own.
fn section<T: Serialize + JsonSchema>(header: &str, plain: &T, every: &T) -> String {
    let about = documented::<T>();
    let plain = lines(plain);
    let mut text = format!("{header}\n");
    for line in lines(every) {
        let Some((key, _)) = line.split_once(" = ") else {
            continue;
        };
        if matches!(key, "listener" | "route") {
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

fn inline(condition: &ConditionConfig) -> String {
    lines(condition).join(", ")
}

/// Keys with their doc comments, each on one line.
fn documented<T: JsonSchema>() -> Vec<(String, String)> {
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
