//! `[gateway]` and `[trust]` with every key and its default.

use std::fmt::Write;
use std::num::{NonZeroU32, NonZeroUsize};

use countersign_runtime::config::address::LocalAddress;
use countersign_runtime::config::amount::TimeSpan;
use countersign_runtime::config::reference::{commented_out, documented, inline, section};

use crate::config::rule::{AllowEntry, ConditionConfig};
use crate::config::{
    ApiKeyConfig, BalanceMode, DecisionsConfig, EgressConfig, FeedConfig, GatewayConfig,
    HealthConfig, HttpProtocol, LimitsConfig, ListenerConfig, ProxyProtocolConfig,
    ProxyProtocolVersion, RouteClientCertificate, RouteConfig, ShadowConfig, TokenIssuerConfig,
    TrustConfig, UpstreamTlsConfig,
};

/// A commented configuration of `[gateway]` and `[trust]` in which every key stands with its default. Keys without one
/// are commented out, with an example.
pub fn default_toml() -> String {
    let condition = ConditionConfig {
        spiffe: Some("spiffe://example.com/order-service".to_owned()),
        method: vec!["POST".to_owned()],
        ..ConditionConfig::default()
    };
    let health = HealthConfig {
        path: Some("/healthz".to_owned()),
        interval: TimeSpan::from_seconds(10),
        timeout: TimeSpan::from_seconds(3),
    };
    let route = RouteConfig::new("http://127.0.0.1:3000", vec![AllowEntry::AnyTrusted]);
    let every_route = RouteConfig {
        host: Some("api.example.com".to_owned()),
        path: Some("/charge/**".to_owned()),
        connect: vec!["db.example.com:5432".to_owned()],
        balance: Some(BalanceMode::RoundRobin),
        health: Some(health.clone()),
        upstream_protocol: Some(HttpProtocol::Http1),
        upgrades: Some(vec!["websocket".to_owned()]),
        client_certificate: Some(RouteClientCertificate::Require),
        trust: Some(vec!["internal".to_owned()]),
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
        idle_timeout: Some(TimeSpan::from_seconds(75)),
        proxy_protocol: Some(ProxyProtocolConfig {
            from: vec!["10.0.0.0/8".parse().expect("a network")],
        }),
        upstream: Some("tcp://127.0.0.1:5432".into()),
        upstream_proxy_protocol: Some(ProxyProtocolVersion::V2),
        balance: Some(BalanceMode::RoundRobin),
        health: Some(HealthConfig {
            path: None,
            ..health
        }),
        allow: vec![AllowEntry::AnyTrusted],
        deny: every_route.deny.clone(),
        ..listener.clone()
    };
    let gateway = GatewayConfig::default();
    let every_gateway = GatewayConfig {
        workers: NonZeroUsize::new(2),
        ..gateway.clone()
    };
    let feed = FeedConfig {
        url: "https://ca.example.com:9444".to_owned(),
        certificate: "node/cert.pem".into(),
        key: "node/key.pem".into(),
        bundle: "node/ca.pem".into(),
    };
    let egress = EgressConfig {
        name: Some("egress-1".to_owned()),
        address: LocalAddress::Tcp(([127, 0, 0, 1], 9080).into()),
        socket_mode: Some("0600".to_owned()),
        upstream: "https://orders.example.com".to_owned(),
        upstream_protocol: Some(HttpProtocol::Auto),
        upstream_tls: Some(UpstreamTlsConfig {
            name: vec!["spiffe://example.com/orders".to_owned()],
            certificate: Some("tls/client.pem".into()),
            key: Some("tls/client.key".into()),
            ..UpstreamTlsConfig::default()
        }),
        idle_timeout: Some(TimeSpan::from_seconds(75)),
    };
    let every_trust = TrustConfig {
        bundle: Some("tls/root.pem".into()),
        trust_domain: Some("example.com".to_owned()),
        crl: vec![
            "partners/acme.crl".to_owned(),
            "http://crl.acme.example/ca.crl".to_owned(),
        ],
        grace: Some(TimeSpan::from_seconds(24 * 3600)),
        crl_server_anchors: Some("partners/acme-web.pem".into()),
        intermediates: Some("partners/acme-issuing.pem".into()),
        contact: Some("pki@acme.example".to_owned()),
        ..TrustConfig::default()
    };

    let issuer = TokenIssuerConfig {
        name: "corp".to_owned(),
        issuer: "https://id.example.com".to_owned(),
        audience: vec!["payments".to_owned()],
        jwks_file: Some("corp.jwks.json".into()),
        jwks_url: None,
        jwks_server_anchors: None,
        dangerous_plain_http: false,
        jwks_refresh: TimeSpan::from_seconds(300),
        jwks_life: TimeSpan::from_seconds(24 * 3600),
        algorithms: Vec::new(),
        clock_skew: TimeSpan::from_seconds(30),
        max_lifetime: TimeSpan::from_seconds(24 * 3600),
        require_binding: true,
        forward_token: true,
    };
    let every_issuer = TokenIssuerConfig {
        jwks_url: Some("https://id.example.com/jwks.json".to_owned()),
        jwks_server_anchors: Some("tls/id.pem".into()),
        algorithms: vec!["ES256".to_owned()],
        ..issuer.clone()
    };
    let api_key = ApiKeyConfig {
        name: "report".to_owned(),
        sha256: "0".repeat(64),
        holder: "cn:report".to_owned(),
        bundle: "internal".to_owned(),
        not_after_unix_s: None,
    };
    let every_api_key = ApiKeyConfig {
        not_after_unix_s: Some(1_893_456_000),
        ..api_key.clone()
    };

    let mut text = section("[gateway]", &gateway, &every_gateway, &NESTED);
    let decisions = DecisionsConfig::default();
    text += &section("[gateway.decisions]", &decisions, &decisions, &[]);
    text += &commented_out(&section("[gateway.feed]", &feed, &feed, &[]));
    text += &commented_out(&section(
        "[[gateway.token_issuer]]",
        &issuer,
        &every_issuer,
        &[],
    ));
    text += &commented_out(&section(
        "[[gateway.api_key]]",
        &api_key,
        &every_api_key,
        &[],
    ));
    text += &section("[[gateway.listener]]", &listener, &every_listener, &NESTED);
    let limits = LimitsConfig::default();
    let every_limit = LimitsConfig {
        connections_per_source: NonZeroUsize::new(1000),
        handshakes_per_second: NonZeroU32::new(100),
        ..limits.clone()
    };
    text += &section("[gateway.listener.limits]", &limits, &every_limit, &[]);
    text += &section("[[gateway.listener.route]]", &route, &every_route, &NESTED);
    let shadow = ShadowConfig {
        allow: vec![AllowEntry::When(Box::new(condition.clone()))],
        deny: Some(every_route.deny.clone()),
    };
    text += &commented_out(&section(
        "[gateway.listener.route.shadow]",
        &shadow,
        &shadow,
        &[],
    ));
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
    text += &commented_out(&section("[[gateway.egress]]", &egress, &egress, &[]));
    text += &section(
        "[trust.internal]",
        &TrustConfig::default(),
        &every_trust,
        &[],
    );
    text
}

/// Tables of their own.
const NESTED: [&str; 9] = [
    "api_key",
    "decisions",
    "egress",
    "feed",
    "limits",
    "listener",
    "route",
    "shadow",
    "token_issuer",
];
