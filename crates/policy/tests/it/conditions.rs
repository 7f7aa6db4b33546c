//! Each condition: what it takes, and what looks right and is not.

use countersign_pki::time::UnixTime;
use countersign_policy::access::{
    AccessPolicy, Asked, Circumstances, ExtensionPattern, Factors, GrpcPattern, HeaderPattern,
    KeyPurpose, NamePattern, SubjectAttribute, Tenant, TimeWindow,
};

use crate::world::{CIRCUMSTANCES, DAY_S, NOW, Sent, host, peer, policy, route};

/// `internal cn:a | GET api.example.com/x | x-env: prod | x-env: test`.
fn is_allowed(policy: &AccessPolicy, text: &str, circumstances: Circumstances) -> bool {
    let mut parts = text.split(" | ");
    let who = parts.next().unwrap();
    let peer = (who != "anonymous").then(|| peer(who));
    let (method, target) = parts.next().unwrap_or("GET -/").split_once(' ').unwrap();
    let (wanted, path) = target.split_at(target.find('/').unwrap());
    let host = (wanted != "-").then(|| host(wanted));
    let headers = Sent(
        parts
            .map(|header| header.split_once(": ").unwrap())
            .collect(),
    );
    let asked = Asked {
        peer: peer.as_ref(),
        host: host.as_ref(),
        method,
        path,
        headers: &headers,
        factors: &Factors::NONE,
        circumstances,
    };
    let verdict = policy.judge(&asked);
    assert_eq!(verdict, policy.judge_by_each_entry(&asked), "{text}");
    verdict.is_allow()
}

/// As an entry of `allow` the rule admits the one and refuses the other, and as one of `deny` the other way round.
fn check(rule: &str, met: &[&str], unmet: &[&str]) {
    let allowing = policy(vec![route(&[rule], &[])]).unwrap();
    let denying = policy(vec![route(&["any-trusted"], &[rule])]).unwrap();
    for (texts, holds) in [(met, true), (unmet, false)] {
        for text in texts {
            assert_eq!(
                is_allowed(&allowing, text, CIRCUMSTANCES),
                holds,
                "{rule}: {text}"
            );
            assert_eq!(
                is_allowed(&denying, text, CIRCUMSTANCES),
                !holds,
                "deny {rule}: {text}"
            );
        }
    }
}

#[test]
fn trust_domain_is_that_of_the_spiffe_id_and_of_nothing_else() {
    check(
        "spiffe://example.com/**",
        &[
            "internal spiffe://example.com/a",
            "internal spiffe://example.com/a/b",
        ],
        &[
            "internal dns:example.com",
            "internal cn:example.com",
            "internal uri:https://example.com/a",
            "acme-corp spiffe://acme.example/a",
        ],
    );
}

#[test]
fn ip_range_takes_addresses_of_its_own_family_in_the_certificate() {
    check(
        "ip:10.1.0.0/16",
        &["internal ip:10.1.2.3", "internal ip:192.0.2.1 ip:10.1.0.0"],
        &[
            "internal ip:10.2.0.0",
            "internal ip:::ffff:10.1.2.3",
            "internal ip:2001:db8::1",
            "internal cn:10.1.2.3",
            "internal ip:10.0.255.255",
        ],
    );
    check(
        "ip:2001:db8::/32",
        &["internal ip:2001:db8::1"],
        &["internal ip:2001:db9::1", "internal ip:32.1.13.184"],
    );
}

#[test]
fn organization_and_unit_are_whole_values_of_the_subject() {
    check(
        "ou:Payments",
        &[
            "internal dn:CN=a,OU=Payments,O=Example",
            "internal dn:CN=a,OU=Web,OU=Payments,O=Example",
            "internal dn:CN=a+OU=Payments,O=Example",
        ],
        &[
            "internal dn:CN=a,OU=payments,O=Example",
            // A value that reads like another attribute is one value.
            r"internal dn:CN=a\,OU\=Payments,O=Example",
            r"internal dn:CN=a,OU=x\,OU\=Payments",
            r"internal dn:CN=a,OU=Payments\,O\=Example",
            "internal dn:CN=a,OU=Payments2",
            // A Cyrillic a.
            "internal dn:CN=a,OU=P\u{430}yments",
            "internal dn:CN=Payments,O=Payments",
            "internal cn:Payments",
            "internal dns:payments.example.com",
        ],
    );
    check(
        "o:Example",
        &["internal dn:CN=a,O=Example"],
        &[
            "internal dn:CN=a,OU=Example",
            "internal dn:CN=a,O=Example.",
            "internal dn:CN=a,O=Example\\20",
        ],
    );
}

#[test]
fn order_of_a_dn_counts_unless_it_is_said_not_to() {
    check(
        "dn:CN=a,OU=x,O=Example",
        &["internal dn:CN=a,OU=x,O=Example"],
        &[
            "internal dn:CN=a,O=Example,OU=x",
            "internal dn:CN=A,OU=x,O=Example",
        ],
    );
    check(
        "dn-unordered:CN=a,OU=x,O=Example",
        &[
            "internal dn:CN=a,OU=x,O=Example",
            "internal dn:O=Example,OU=x,CN=a",
        ],
        &[
            "internal dn:CN=a,OU=x,OU=x,O=Example",
            "internal dn:CN=a,OU=x",
            "internal dn:CN=a+OU=x,O=Example",
            "internal dn:CN=a,OU=X,O=Example",
            r"internal dn:CN=a\,OU\=x,O=Example",
        ],
    );
}

#[test]
fn issuer_is_the_field_of_the_leaf_and_its_key_is_the_signers() {
    check(
        r"issuer:CN=Internal\20root",
        &["internal cn:a"],
        &["acme-corp cn:a", r"acme-corp dn:CN=Internal\20root"],
    );
    let key = peer("internal cn:a").anchor_key();
    check(
        &format!("issuer-key={key}"),
        &["internal cn:a"],
        &["acme-corp cn:a"],
    );
}

#[test]
fn purpose_is_named_in_the_certificate() {
    check(
        "eku=serverAuth",
        &["internal cn:a serverAuth"],
        &["internal cn:a", "internal cn:serverAuth"],
    );
    check(
        "eku=emailProtection|serverAuth",
        &["internal cn:a serverAuth"],
        &["internal cn:a"],
    );
    check(
        "eku=1.3.6.1.5.5.7.3.1",
        &["internal cn:a serverAuth"],
        &["internal cn:a"],
    );
    for text in [
        "anyExtendedKeyUsage",
        "2.5.29.37.0",
        "server",
        "",
        "clientauth",
        "1",
    ] {
        assert!(KeyPurpose::parse(text).is_err(), "{text}");
    }
}

#[test]
fn extension_is_compared_whole_and_under_its_own_type() {
    check(
        "ext=1.3.6.1.4.1.99999.1:prod",
        &["internal cn:a ext:1.3.6.1.4.1.99999.1=prod"],
        &[
            "internal cn:a",
            "internal cn:prod",
            "internal cn:a ext:1.3.6.1.4.1.99999.1=Prod",
            "internal cn:a ext:1.3.6.1.4.1.99999.1=production",
            "internal cn:a ext:1.3.6.1.4.1.99999.1=pro",
            "internal cn:a ext:1.3.6.1.4.1.99999.2=prod",
            "internal cn:a ext:1.3.6.1.4.1.99999.1.1=prod",
        ],
    );
    let hex = |hex| ExtensionPattern::parse("1.3.6.1.4.1.99999.1", None, Some(hex)).unwrap();
    let mut by_bytes = crate::world::condition("cn:a");
    for (pattern, holds) in [
        ("0c0470726f64", true),
        ("0C0470726F64", true),
        ("130470726f64", false),
        ("0c04", false),
    ] {
        by_bytes.extensions = vec![hex(pattern)];
        let mut one = route(&["cn:x"], &[]);
        one.allow = vec![countersign_policy::access::Allow::When(by_bytes.clone())];
        let policy = policy(vec![one]).unwrap();
        let who = "internal cn:a ext:1.3.6.1.4.1.99999.1=prod";
        assert_eq!(is_allowed(&policy, who, CIRCUMSTANCES), holds, "{pattern}");
    }
    for (oid, text, hex) in [
        ("1.3.6", None, None),
        ("1.3.6", Some("a"), Some("0c")),
        ("prod", Some("a"), None),
        ("", Some("a"), None),
        ("1.3.6", None, Some("0")),
        ("1.3.6", None, Some("0x")),
    ] {
        assert!(
            ExtensionPattern::parse(oid, text, hex).is_err(),
            "{oid} {text:?} {hex:?}"
        );
    }
}

#[test]
fn certificate_age_counts_from_its_beginning() {
    // Each certificate here began 60 s before now.
    check("age=60", &["internal cn:a"], &[]);
    check("age=59", &[], &["internal cn:a"]);
    let policy = policy(vec![route(&["cn:a age=60"], &[])]).unwrap();
    for (seconds, holds) in [(0, true), (1, false), (DAY_S - 1, false)] {
        let now = UnixTime::from_seconds(NOW.seconds() + seconds);
        let later = Circumstances {
            now,
            ..CIRCUMSTANCES
        };
        assert_eq!(
            is_allowed(&policy, "internal cn:a", later),
            holds,
            "{seconds}"
        );
    }
    assert!(policy.looks_at_time());
}

#[test]
fn host_is_exact_or_one_label_below() {
    check(
        "cn:a host=api.example.com|*.web.example.com",
        &[
            "internal cn:a | GET api.example.com/",
            "internal cn:a | GET API.example.com./",
            "internal cn:a | GET x.web.example.com/",
        ],
        &[
            "internal cn:a | GET -/",
            "internal cn:a | GET web.example.com/",
            "internal cn:a | GET y.x.web.example.com/",
            "internal cn:a | GET api.example.com.evil.example/",
            "internal cn:a | GET xapi.example.com/",
            "internal cn:b | GET api.example.com/",
        ],
    );
}

#[test]
fn header_has_to_fit_each_time_to_admit_and_once_to_refuse() {
    let allowing = policy(vec![route(&["cn:a x-env=prod|test"], &[])]).unwrap();
    let denying = policy(vec![route(&["cn:a"], &["x-env=prod|test"])]).unwrap();
    // What was sent, whether the rule admits, whether it refuses.
    for (sent, admits, refuses) in [
        ("x-env: prod", true, true),
        ("x-env: test", true, true),
        ("x-env: prod | x-env: test", true, true),
        ("x-env: prod | x-env: dev", false, true),
        ("x-env: dev | x-env: prod", false, true),
        // To an upstream that reads CGI variables it is one header.
        ("x-env: prod | x_env: dev", false, true),
        ("x_env: prod", true, true),
        // RFC 9110 §5.3: the same as two lines.
        ("x-env: prod, dev", false, true),
        ("x-env: dev ,prod", false, true),
        ("x-env: ,prod,", false, true),
        ("x-env: dev, prod2", false, false),
        ("x-env: PROD", false, false),
        ("x-env: prod2", false, false),
        ("x-environment: prod", false, false),
        ("x-other: prod", false, false),
    ] {
        let text = format!("internal cn:a | GET -/ | {sent}");
        assert_eq!(
            is_allowed(&allowing, &text, CIRCUMSTANCES),
            admits,
            "{sent}"
        );
        assert_eq!(
            is_allowed(&denying, &text, CIRCUMSTANCES),
            !refuses,
            "deny {sent}"
        );
    }
    assert!(!is_allowed(&allowing, "internal cn:a", CIRCUMSTANCES));
    // What an entry takes back is turned round once more.
    let taken_back = policy(vec![route(&["cn:a ! x-debug=1"], &[])]).unwrap();
    let text = "internal cn:a | GET -/ | x-debug: 0 | x-debug: 1";
    assert!(!is_allowed(&taken_back, text, CIRCUMSTANCES));
    let denied_without = policy(vec![route(&["cn:a"], &["GET ! x-token=1"])]).unwrap();
    let text = "internal cn:a | GET -/ | x-token: 1 | x-token: 0";
    assert!(!is_allowed(&denied_without, text, CIRCUMSTANCES));
}

#[test]
fn headers_that_mean_something_else_are_refused() {
    for (name, value) in [
        ("X-Env", "a"),
        ("x_env", "a"),
        ("x env", "a"),
        ("", "a"),
        ("host", "a"),
        ("connection", "close"),
        ("transfer-encoding", "chunked"),
        ("x-env", ""),
        ("x-env", " a"),
        ("x-env", "a*"),
        ("x-env", "a\r\nb"),
        ("x-env", "\u{e4}"),
    ] {
        assert!(
            HeaderPattern::parse(name, &[value.to_owned()]).is_err(),
            "{name} {value:?}"
        );
    }
    assert!(HeaderPattern::parse("x-env", &[]).is_err());
    assert!(HeaderPattern::parse("x-env", &["a".to_owned(), "a".to_owned()]).is_err());
}

#[test]
fn grpc_is_a_call_by_every_sign_to_admit_and_a_path_to_refuse() {
    let allowing = policy(vec![route(
        &["cn:a grpc=shop.v1.Orders/Create|shop.v1.Stock/*"],
        &[],
    )])
    .unwrap();
    let denying = policy(vec![route(
        &["cn:a"],
        &["grpc=shop.v1.Orders/Create|shop.v1.Stock/*"],
    )])
    .unwrap();
    for (request, admits, refuses) in [
        (
            "POST -/shop.v1.Orders/Create | content-type: application/grpc",
            true,
            true,
        ),
        (
            "POST -/shop.v1.Orders/Create | content-type: application/grpc+proto",
            true,
            true,
        ),
        (
            "POST -/shop.v1.Stock/Anything | content-type: application/grpc;v=1",
            true,
            true,
        ),
        (
            "POST -/shop.v1.Orders/%43reate | content-type: application/grpc",
            true,
            true,
        ),
        (
            "POST -/shop.v1.Orders/Create | content-type: application/grpc-web",
            false,
            true,
        ),
        (
            "POST -/shop.v1.Orders/Create | content-type: application/json",
            false,
            true,
        ),
        (
            "POST -/shop.v1.Orders/Create | content-type: application/grpc | content-type: text/html",
            false,
            true,
        ),
        ("POST -/shop.v1.Orders/Create", false, true),
        (
            "GET -/shop.v1.Orders/Create | content-type: application/grpc",
            false,
            true,
        ),
        (
            "POST -/shop.v1.Orders/create | content-type: application/grpc",
            false,
            false,
        ),
        (
            "POST -/shop.v1.Orders/Create/ | content-type: application/grpc",
            false,
            false,
        ),
        (
            "POST -/shop.v1.Orders | content-type: application/grpc",
            false,
            false,
        ),
        (
            "POST -/shop.v1.OrdersAdmin/Create | content-type: application/grpc",
            false,
            false,
        ),
        (
            "POST -/x/shop.v1.Orders/Create | content-type: application/grpc",
            false,
            false,
        ),
        (
            "POST -/shop.v1.Stock/ | content-type: application/grpc",
            false,
            false,
        ),
    ] {
        let text = format!("internal cn:a | {request}");
        assert_eq!(
            is_allowed(&allowing, &text, CIRCUMSTANCES),
            admits,
            "{request}"
        );
        assert_eq!(
            is_allowed(&denying, &text, CIRCUMSTANCES),
            !refuses,
            "deny {request}"
        );
    }
    // A dot segment has a second reading: the gateway refuses it before any rule is asked.
    assert!(allowing.looks_at_paths() && denying.looks_at_paths());
    for text in [
        "/a.B/C", "a.B", "a.B/", "a..B/C", "a.B/../C", "a.B/C/D", "a.B/C*", "*/C", "1a.B/C",
        "a.B/%43",
    ] {
        assert!(GrpcPattern::parse(text).is_err(), "{text}");
    }
}

#[test]
fn source_is_the_address_of_the_peer() {
    let policy = policy(vec![route(&["cn:a from=10.1.0.0/16|2001:db8::/32"], &[])]).unwrap();
    for (source, holds) in [
        ("10.1.2.3", true),
        ("::ffff:10.1.2.3", true),
        ("2001:db8::1", true),
        ("10.2.0.0", false),
        ("::10.1.2.3", false),
        ("2001:db9::", false),
        ("192.0.2.7", false),
    ] {
        let from = Circumstances {
            source: source.parse().unwrap(),
            ..CIRCUMSTANCES
        };
        assert_eq!(
            is_allowed(&policy, "internal cn:a", from),
            holds,
            "{source}"
        );
        let decision = policy.decide_connection(Some(&peer("internal cn:a")), from);
        let allowed = matches!(decision, countersign_policy::access::Decision::Allow { .. });
        assert_eq!(allowed, holds, "{source}");
    }
    // Whom no certificate of an address is.
    let from = Circumstances {
        source: "10.1.2.3".parse().unwrap(),
        ..CIRCUMSTANCES
    };
    assert!(!is_allowed(&policy, "internal cn:b ip:10.1.2.3", from));
    assert!(!is_allowed(
        &policy,
        "internal cn:a | GET -/ | x-forwarded-for: 10.1.2.3",
        CIRCUMSTANCES
    ));
}

#[test]
fn time_window_is_of_its_days_and_ends_before_its_end() {
    // 2026-11-22 is a Sunday; NOW its first second.
    let policy = policy(vec![route(
        &["cn:a time=sun|mon,22:00,24:00", "cn:a time=mon,00:00,06:00"],
        &[],
    )])
    .unwrap();
    let hour = 3600;
    for (seconds, holds) in [
        (0, false),
        (22 * hour - 1, false),
        (22 * hour, true),
        (24 * hour - 1, true),
        (24 * hour, true),
        (30 * hour - 1, true),
        (30 * hour, false),
        (46 * hour, true),
        // Tuesday at midnight.
        (48 * hour, false),
        (7 * 24 * hour + 5 * hour, false),
        (8 * 24 * hour + 5 * hour, true),
    ] {
        let now = UnixTime::from_seconds(NOW.seconds() + seconds);
        let then = Circumstances {
            now,
            ..CIRCUMSTANCES
        };
        // Certificates end after a day, which is not asked here.
        assert_eq!(
            is_allowed(&policy, "internal cn:a", then),
            holds,
            "{seconds}"
        );
    }
    for (days, from, to) in [
        ("mon", "22:00", "06:00"),
        ("mon", "08:00", "08:00"),
        ("mon", "8:00", "18:00"),
        ("mon", "08:00", "24:01"),
        ("mon", "08:00", "25:00"),
        ("mon", "08:60", "18:00"),
        ("mon", "+8:00", "18:00"),
        ("Mon", "08:00", "18:00"),
        ("monday", "08:00", "18:00"),
    ] {
        assert!(
            TimeWindow::parse(&[days.to_owned()], from, to).is_err(),
            "{days} {from} {to}"
        );
    }
    assert!(TimeWindow::parse(&["mon".to_owned(), "mon".to_owned()], "00:00", "24:00").is_err());
}

#[test]
fn tenants_reach_what_is_theirs_and_nothing_else() {
    let rule = "spiffe://example.com/tenant/{tenant}/** host={tenant}.example.com";
    check(
        rule,
        &["internal spiffe://example.com/tenant/acme/api | GET acme.example.com/"],
        &[
            "internal spiffe://example.com/tenant/acme/api | GET other.example.com/",
            "internal spiffe://example.com/tenant/acme/api | GET x.acme.example.com/",
            "internal spiffe://example.com/tenant/acme/api | GET acme.example.org/",
            "internal spiffe://example.com/tenant/acme/api | GET -/",
            "internal spiffe://example.com/tenant/Acme/api | GET acme.example.com/",
            "internal spiffe://example.com/tenant/acme.evil/api | GET acme.example.com/",
            "internal spiffe://example.com/x/acme/api | GET acme.example.com/",
            "internal cn:acme | GET acme.example.com/",
            "acme-corp spiffe://acme.example/tenant/acme/api | GET acme.example.com/",
        ],
    );
    check(
        "dns:{tenant}.clients.example.com /t/{tenant}/**",
        &[
            "internal dns:acme.clients.example.com | GET -/t/acme/x",
            "internal dns:b.clients.example.com dns:acme.clients.example.com | GET -/t/acme",
            "internal dns:acme.clients.example.com | GET -/t/%61cme/x",
        ],
        &[
            "internal dns:acme.clients.example.com | GET -/t/acme2/x",
            "internal dns:acme.clients.example.com | GET -/t/ACME/x",
            "internal dns:acme.clients.example.com | GET -/t/x/acme",
            "internal dns:*.clients.example.com | GET -/t/acme",
            "internal dns:*.clients.example.com | GET -/t/*",
            "internal dns:x.acme.clients.example.com | GET -/t/acme",
            "internal cn:acme.clients.example.com | GET -/t/acme",
        ],
    );
    check(
        "ou:{tenant} x-tenant={tenant}",
        &["internal dn:CN=a,OU=acme | GET -/ | x-tenant: acme"],
        &[
            "internal dn:CN=a,OU=acme | GET -/ | x-tenant: other",
            "internal dn:CN=a,OU=acme | GET -/",
            "internal dn:CN=acme | GET -/ | x-tenant: acme",
            r"internal dn:CN=a,OU=x\,OU\=acme | GET -/ | x-tenant: acme",
        ],
    );
    // Two places of one identity are one tenant.
    check(
        "spiffe://example.com/{tenant}/{tenant} ou:{tenant}",
        &["internal spiffe://example.com/a/a dn:OU=a"],
        &[
            "internal spiffe://example.com/a/b dn:OU=a",
            "internal spiffe://example.com/a/a dn:OU=b",
        ],
    );
    let twice = policy(vec![route(&["ou:{tenant} x-tenant={tenant}"], &[])]).unwrap();
    let text = "internal dn:CN=a,OU=acme | GET -/ | x-tenant: acme | x-tenant: other";
    assert!(!is_allowed(&twice, text, CIRCUMSTANCES));
}

#[test]
fn tenants_without_a_source_or_a_use_are_refused() {
    for rule in [
        "host={tenant}.example.com",
        "cn:a /t/{tenant}",
        "ou:{tenant}",
        "dns:{tenant}.example.com",
    ] {
        assert!(policy(vec![route(&[rule], &[])]).is_err(), "{rule}");
    }
    for text in [
        "x{tenant}.example.com",
        "{tenant}",
        "a.{tenant}.example.com",
        "{tenant}.{tenant}.a",
    ] {
        assert!(Tenant::default().add_dns(text).is_err(), "{text}");
        assert!(Tenant::default().use_host(text).is_err(), "{text}");
    }
    for text in [
        "spiffe://{tenant}/a",
        "spiffe://example.com/x{tenant}",
        "spiffe://example.com/**/{tenant}",
        "https://a/{tenant}",
    ] {
        assert!(Tenant::default().add_spiffe(text).is_err(), "{text}");
    }
    for text in ["/x{tenant}", "{tenant}", "/{tenant}x/**"] {
        assert!(Tenant::default().use_path(text).is_err(), "{text}");
    }
    assert!(
        Tenant::default()
            .use_header("x-tenant", "t-{tenant}")
            .is_err()
    );
    assert!(Tenant::default().use_header("host", "{tenant}").is_err());
    assert!(
        Tenant::default()
            .add_subject(SubjectAttribute::Organization, "{tenant} Inc")
            .is_err()
    );
}

#[test]
fn names_of_a_bundle_count_under_no_other() {
    for rule in [
        "cn:a",
        "ou:x",
        "o:y",
        "dn-unordered:O=y,OU=x,CN=a",
        "ip:10.0.0.0/8",
        "eku=clientAuth",
        "age=3600",
        "ext=1.3.6.1.4.1.99999.1:p",
    ] {
        let allowing = policy(vec![route(&[rule], &[])]).unwrap();
        let who = "dn:CN=a,OU=x,O=y ip:10.0.0.1 ext:1.3.6.1.4.1.99999.1=p";
        assert!(
            is_allowed(&allowing, &format!("internal {who}"), CIRCUMSTANCES),
            "{rule}"
        );
        assert!(
            !is_allowed(&allowing, &format!("acme-corp {who}"), CIRCUMSTANCES),
            "{rule}"
        );
        assert!(!is_allowed(&allowing, "anonymous", CIRCUMSTANCES), "{rule}");
    }
}

#[test]
fn patterns_that_nothing_can_meet_are_refused() {
    for text in [
        "ip:10.0.0.1/8",
        "ip:10.0.0.0/33",
        "ip:::ffff:10.0.0.0/104",
        "ip:10.0.0.0/",
        "ou:",
        "ou:team-*",
        "o:a\u{7}b",
        "dn-unordered:",
        "dn-unordered:nonsense",
        "issuer:",
        "issuer:nonsense",
    ] {
        assert!(NamePattern::parse(text).is_err(), "{text}");
    }
}

#[test]
fn headers_that_rules_go_by_are_known_wherever_they_stand() {
    let rules = policy(vec![route(
        &[
            "cn:a x-env=prod",
            "spiffe://example.com/{tenant}/** x-tenant={tenant}",
            "cn:b grpc=shop.v1.Orders/Create",
        ],
        &["GET ! x-token=1"],
    )])
    .unwrap();
    for name in ["x-env", "x_env", "x-tenant", "x_tenant", "x-token"] {
        assert!(rules.looks_at_header(name), "{name}");
    }
    for name in ["x-envy", "x-en", "prod", "grpc-timeout", "x.env"] {
        assert!(!rules.looks_at_header(name), "{name}");
    }
    let plain = policy(vec![route(&["cn:a"], &[])]).unwrap();
    assert!(!plain.looks_at_header("x-env"));
}
