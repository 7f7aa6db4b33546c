//! `[authority]` with every key.

use countersign_runtime::config::amount::TimeSpan;
use countersign_runtime::config::reference::{commented_out, section};

use super::profile::{
    BuiltInProfile, ExtensionConfig, KeyTypeConfig, KeyUsageConfig, ProfileConfig, SourceConfig,
};
use super::retention::Then;
use super::{
    AdminPortConfig, AuthorityConfig, FeedPortConfig, NodeConfig, OperatorConfig, PublicConfig,
    RetentionConfig, RoleConfig,
};

/// A commented configuration of `[authority]`. Keys without a default are commented out, with an example.
pub fn default_toml() -> String {
    let texts = |texts: &[&str]| Some(texts.iter().map(|text| (*text).to_owned()).collect());
    let every = ProfileConfig {
        like: Some(BuiltInProfile::Server),
        keys: Some(vec![KeyTypeConfig::P256, KeyTypeConfig::Ed25519]),
        default_lifetime: Some(TimeSpan::from_seconds(30 * DAY_S)),
        max_lifetime: Some(TimeSpan::from_seconds(90 * DAY_S)),
        dns_suffix: texts(&["web.example.com"]),
        wildcard: Some(false),
        ip_range: texts(&["10.0.0.0/8"]),
        spiffe_path: texts(&["/ns/prod/**"]),
        email_domain: texts(&["example.com"]),
        uri_prefix: texts(&["urn:dev:"]),
        common_name: texts(&["sensor-*"]),
        same_key_renewal: Some(false),
        extended_key_usage: texts(&["server-auth"]),
        key_usage: Some(vec![KeyUsageConfig::DigitalSignature]),
        crl_distribution_point: Some(SourceConfig::At(
            "http://pki.example.com/complete.crl".to_owned(),
        )),
        ocsp: Some(SourceConfig::Switch(false)),
        ca_issuers: Some(SourceConfig::Switch(false)),
        extension: vec![ExtensionConfig {
            oid: "1.3.6.1.4.1.32473.1".to_owned(),
            utf8: Some("web".to_owned()),
            der: None,
            critical: false,
        }],
    };
    let feed = FeedPortConfig {
        address: ([0, 0, 0, 0], 9444).into(),
        names: vec!["ca.example.com".to_owned()],
    };
    let admin = AdminPortConfig {
        address: ([0, 0, 0, 0], 8444).into(),
        names: vec!["ca.example.com".to_owned()],
    };
    let operator = OperatorConfig {
        role: RoleConfig::Viewer,
    };
    let node = NodeConfig {
        names: vec!["api.example.com".to_owned()],
    };
    let plain = ProfileConfig::default();
    section(
        "[authority]",
        &AuthorityConfig::default(),
        &AuthorityConfig::default(),
        &[
            "admin",
            "feed",
            "node",
            "operator",
            "profile",
            "public",
            "retention",
        ],
    ) + "\n"
        + &commented_out(&section("[authority.admin]", &admin, &admin, &[]))
        + &commented_out(&section(
            "[authority.operator.alice]",
            &operator,
            &operator,
            &[],
        ))
        + &commented_out(&section("[authority.feed]", &feed, &feed, &[]))
        + &commented_out(&section("[authority.node.gw-1]", &node, &node, &[]))
        + &section("[authority.profile.server]", &plain, &every, &[])
        + &public()
        + &retention()
}

fn retention() -> String {
    let every = RetentionConfig {
        expired: TimeSpan::from_seconds(400 * DAY_S),
        then: Then::Archive,
        folder: Some("/var/lib/countersign-archive".into()),
    };
    without_default(&section("[authority.retention]", &every, &every, &[]))
}

fn public() -> String {
    let every = PublicConfig {
        address: ([0, 0, 0, 0], 8080).into(),
        url: "http://pki.example.com".to_owned(),
    };
    without_default(&section("[authority.public]", &every, &every, &[]))
}

/// Commented out as a whole.
fn without_default(section: &str) -> String {
    section
        .lines()
        .map(|line| match line {
            "" => "\n".to_owned(),
            line if line.starts_with('#') => format!("{line}\n"),
            line => format!("# {line}\n"),
        })
        .collect()
}

const DAY_S: u64 = 86_400;
