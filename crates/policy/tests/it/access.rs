//! Who gets through.

use countersign_pki::identity::VerifiedPeer;
use countersign_policy::access::{AccessPolicy, Asked, Decision, Factors, NoHeaders, Route};

use crate::world::{CIRCUMSTANCES, host, peer, place, policy, route};

fn decide(
    policy: &AccessPolicy,
    peer: Option<&VerifiedPeer>,
    host_name: Option<&str>,
    request: &str,
) -> String {
    let (method, path) = request.split_once(' ').unwrap();
    let host_name = host_name.map(host);
    match policy.decide(&Asked {
        peer,
        host: host_name.as_ref(),
        method,
        path,
        headers: &NoHeaders,
        factors: &Factors::NONE,
        circumstances: CIRCUMSTANCES,
    }) {
        Decision::Allow { route } => format!("allow by {}", policy.routes()[route].label),
        Decision::CertificateNeeded { .. } => "certificate needed".to_owned(),
        Decision::IdentityNotAllowed { .. } => "identity not allowed".to_owned(),
        Decision::RequestNotAllowed { .. } => "request not allowed".to_owned(),
        Decision::FactorNeeded { .. } => "factor needed".to_owned(),
        Decision::NoRoute => "no route".to_owned(),
    }
}

/// Rules that admit `admitted` and refuse `refused`, all of them asking for `GET /`.
fn check(allowed: &[&str], denied: &[&str], admitted: &[&str], refused: &[&str]) {
    let policy = policy(vec![route(allowed, denied)]).unwrap();
    for (peers, expected) in [(admitted, true), (refused, false)] {
        for text in peers {
            let peer = (*text != "anonymous").then(|| peer(text));
            let decided = decide(&policy, peer.as_ref(), None, "GET /");
            let rules = format!("allow {allowed:?} deny {denied:?}");
            assert_eq!(
                decided == "allow by route 1",
                expected,
                "{rules}: {text} is decided as {decided}"
            );
            assert_eq!(
                policy.admits_at_all(peer.as_ref()),
                expected,
                "{rules}: {text} at all"
            );
        }
    }
}

#[test]
fn an_allow_entry_means_internal_unless_it_names_a_bundle() {
    check(
        &["cn:a"],
        &[],
        &["internal cn:a"],
        &[
            "acme-corp cn:a",
            "internal cn:b",
            "internal cn:A",
            "anonymous",
        ],
    );
    check(
        &["cn:a @acme-corp"],
        &[],
        &["acme-corp cn:a"],
        &["internal cn:a", "acme-corp cn:b", "anonymous"],
    );
    check(
        &["@acme-corp"],
        &[],
        &["acme-corp cn:a"],
        &["internal cn:a", "anonymous"],
    );
    check(
        &["GET"],
        &[],
        &["internal cn:a"],
        &["acme-corp cn:a", "anonymous"],
    );
    check(
        &["! cn:x"],
        &[],
        &["internal cn:a"],
        &["internal cn:x", "acme-corp cn:a", "anonymous"],
    );
}

#[test]
fn a_deny_entry_means_every_bundle_unless_it_names_one() {
    check(
        &["any-trusted"],
        &["cn:a"],
        &["internal cn:b", "acme-corp cn:b"],
        &["internal cn:a", "acme-corp cn:a", "anonymous"],
    );
    check(
        &["any-trusted"],
        &["cn:a @acme-corp"],
        &["internal cn:a", "acme-corp cn:b"],
        &["acme-corp cn:a"],
    );
    check(
        &["any-trusted"],
        &["@acme-corp"],
        &["internal cn:a"],
        &["acme-corp cn:a"],
    );
    check(
        &["any-trusted"],
        &["@acme-corp ! cn:a"],
        &["internal cn:b", "acme-corp cn:a"],
        &["acme-corp cn:b"],
    );
}

#[test]
fn deny_wins() {
    check(
        &["cn:a", "any-trusted", "anyone"],
        &["cn:a"],
        &["internal cn:b", "anonymous"],
        &["internal cn:a", "acme-corp cn:a"],
    );
    check(
        &["dns:a.contractor.example.com"],
        &["dns:*.contractor.example.com"],
        &[],
        &["internal dns:a.contractor.example.com"],
    );
    // Any one name of the peer is enough to be denied.
    check(
        &["cn:a"],
        &["email:x@example.com"],
        &["internal cn:a"],
        &[
            "internal cn:a email:x@example.com",
            "internal cn:a dns:b.example.com email:x@example.com",
        ],
    );
}

/// Invariant 12: whatever the rules say, and by whatever of its names.
#[test]
fn no_rule_admits_a_canary() {
    let canaries = [
        "internal dns:a.canary.invalid",
        "internal cn:a dns:a.example.com dns:a.canary.invalid",
        "internal cn:a spiffe://example.com/canary/a",
        "acme-corp cn:a dns:a.canary.invalid",
    ];
    for rule in [
        "anyone",
        "any-trusted",
        "cn:a",
        "dns:a.canary.invalid",
        "spiffe://example.com/**",
    ] {
        check(&[rule], &[], &[], &canaries);
    }
    check(
        &["any-trusted"],
        &[],
        &[
            "internal dns:canary.example.com",
            "internal spiffe://example.com/web/canary",
        ],
        &canaries,
    );
}

#[test]
fn the_anonymous_meet_no_condition_but_anyone() {
    check(
        &["anyone"],
        &[],
        &["anonymous", "internal cn:a", "acme-corp cn:a"],
        &[],
    );
    check(
        &["any-trusted"],
        &[],
        &["internal cn:a", "acme-corp cn:a"],
        &["anonymous"],
    );
    for entry in [
        "cn:a",
        "@internal",
        "GET",
        "/**",
        "! cn:x",
        "! @acme-corp",
        "@internal ! cn:x",
        "GET ! cn:x",
    ] {
        check(&[entry], &[], &[], &["anonymous"]);
    }
}

#[test]
fn denying_all_but_some_denies_the_anonymous() {
    check(
        &["anyone"],
        &["! dns:x.example.com"],
        &["internal dns:x.example.com", "acme-corp dns:x.example.com"],
        &["anonymous", "internal cn:a"],
    );
    check(
        &["anyone"],
        &["! @internal"],
        &["internal cn:a"],
        &["anonymous", "acme-corp cn:a"],
    );
    check(
        &["anyone"],
        &["! cn:a @internal"],
        &["internal cn:a"],
        &["anonymous", "acme-corp cn:a", "internal cn:b"],
    );
    check(
        &["anyone"],
        &["! ! cn:a"],
        &["anonymous", "internal cn:b"],
        &["internal cn:a", "acme-corp cn:a"],
    );
    // Nothing is known of the anonymous that such a rule asks for.
    check(
        &["anyone"],
        &["@acme-corp ! cn:a"],
        &["anonymous", "internal cn:a", "acme-corp cn:a"],
        &["acme-corp cn:b"],
    );
    check(&["anyone"], &["cn:a"], &["anonymous"], &["internal cn:a"]);
    check(
        &["anyone"],
        &["@internal"],
        &["anonymous", "acme-corp cn:a"],
        &["internal cn:a"],
    );
}

#[test]
fn a_name_of_another_kind_never_meets_a_rule() {
    let everything = [
        "internal cn:api.example.com",
        "internal email:a@api.example.com",
        "internal uri:https://api.example.com",
        "internal uri:dns:api.example.com",
        "internal spiffe://example.com/api.example.com",
        "internal dns:api.example.com.evil.example",
        "internal dns:x.api.example.com",
        "internal dn:O=api.example.com",
    ];
    check(
        &["dns:api.example.com"],
        &[],
        &[
            "internal dns:api.example.com",
            "internal cn:x dns:other.example.com dns:api.example.com",
        ],
        &everything,
    );
    check(
        &["cn:api.example.com"],
        &[],
        &everything[..1],
        &everything[1..],
    );
    check(
        &["cn:a"],
        &[],
        &[],
        &[
            "internal dns:a.example.com",
            "internal dn:O=a",
            "internal dn:CN=a,CN=b",
        ],
    );
    check(
        &["ip:10.0.0.1"],
        &[],
        &["internal ip:10.0.0.1"],
        &[
            "internal cn:10.0.0.1",
            "internal ip:10.0.0.2",
            "internal ip:::ffff:10.0.0.1",
        ],
    );
    check(
        &["uri:https://a/b"],
        &[],
        &["internal uri:https://a/b"],
        &["internal uri:https://a/B", "internal cn:https://a/b"],
    );
}

#[test]
fn a_wildcard_rule_covers_one_label() {
    check(
        &["dns:*.example.com"],
        &[],
        &["internal dns:a.example.com", "internal dns:*.example.com"],
        &[
            "internal dns:example.com",
            "internal dns:a.b.example.com",
            "internal dns:*.b.example.com",
            "internal cn:a.example.com",
            "acme-corp dns:a.example.com",
        ],
    );
    // A certificate's wildcard is its name, and stands for no other.
    check(
        &["dns:a.example.com"],
        &[],
        &[],
        &["internal dns:*.example.com"],
    );
}

#[test]
fn a_spiffe_pattern_stays_in_its_trust_domain() {
    check(
        &["spiffe://example.com/ns/*/api"],
        &[],
        &["internal spiffe://example.com/ns/prod/api"],
        &[
            "internal spiffe://example.com/ns/prod/web",
            "internal spiffe://example.com/ns/a/b/api",
            "internal spiffe://example.com/ns/api",
            "internal uri:https://example.com/ns/prod/api",
            "acme-corp spiffe://acme.example/ns/prod/api",
        ],
    );
    check(
        &["spiffe://example.com/ns/**"],
        &[],
        &[
            "internal spiffe://example.com/ns/a/b",
            "internal spiffe://example.com/ns",
        ],
        &[
            "internal spiffe://example.com/nsx",
            "internal spiffe://example.com",
        ],
    );
    check(
        &["any-trusted"],
        &["spiffe://example.com/**"],
        &["acme-corp spiffe://acme.example/a"],
        &[
            "internal spiffe://example.com/a",
            "internal spiffe://example.com",
        ],
    );
}

#[test]
fn a_bare_word_means_any_typed_name() {
    check(
        &["api.example.com"],
        &[],
        &[
            "internal dns:api.example.com",
            "internal cn:api.example.com",
            "internal cn:x dns:api.example.com",
        ],
        &[
            "internal cn:API.example.com",
            "internal dns:x.example.com",
            "internal email:a@api.example.com",
            "internal dn:O=api.example.com",
            "acme-corp cn:api.example.com",
        ],
    );
    // Another spelling of the same name does not get past a deny rule.
    check(
        &["any-trusted"],
        &["API.example.com."],
        &["internal cn:api.example.com"],
        &["internal dns:api.example.com"],
    );
    check(
        &["any-trusted"],
        &["2001:DB8::1"],
        &["internal ip:2001:db8::2"],
        &["internal ip:2001:db8::1"],
    );
    check(
        &["any-trusted"],
        &["a@Example.com"],
        &["internal email:A@example.com"],
        &["internal email:a@example.com"],
    );
}

#[test]
fn a_dn_is_compared_attribute_by_attribute_in_order() {
    check(
        &["CN=api,O=Example,C=DE"],
        &[],
        &["internal dn:CN=api,O=Example,C=DE"],
        &[
            "internal dn:CN=api,C=DE,O=Example",
            "internal dn:CN=api,O=Example",
            "internal dn:CN=api,OU=x,O=Example,C=DE",
            "internal dn:CN=API,O=Example,C=DE",
            "internal dn:CN=api,O=example,C=DE",
            "internal cn:api",
        ],
    );
}

#[test]
fn every_name_of_a_condition_must_be_met() {
    check(
        &["cn:a dns:b.example.com"],
        &[],
        &[
            "internal cn:a dns:b.example.com",
            "internal cn:a dns:x.example.com dns:b.example.com",
        ],
        &[
            "internal cn:a",
            "internal dns:b.example.com",
            "internal cn:b dns:b.example.com",
            "internal cn:a dns:c.example.com",
            "acme-corp cn:a dns:b.example.com",
        ],
    );
    check(
        &["any-trusted"],
        &["cn:a dns:b.example.com"],
        &["internal cn:a", "internal dns:b.example.com"],
        &["internal cn:a dns:b.example.com"],
    );
}

/// What becomes of requests of one peer.
fn check_requests(allowed: &[&str], denied: &[&str], text: &str, expected: &[(&str, &str)]) {
    let policy = policy(vec![route(allowed, denied)]).unwrap();
    let peer = (text != "anonymous").then(|| peer(text));
    for (request, decided) in expected {
        assert_eq!(
            decide(&policy, peer.as_ref(), None, request),
            *decided,
            "allow {allowed:?} deny {denied:?}: {text} {request}"
        );
    }
}

#[test]
fn method_and_path_narrow_an_entry() {
    let refused = "request not allowed";
    let rules = &["cn:a POST|PUT /charge/**"];
    check_requests(
        rules,
        &[],
        "internal cn:a",
        &[
            ("POST /charge/1", "allow by route 1"),
            ("PUT /charge", "allow by route 1"),
            ("GET /charge/1", refused),
            ("post /charge/1", refused),
            ("POST /", refused),
            ("POST /charges", refused),
            ("POST *", refused),
            ("POST ", refused),
        ],
    );
    check_requests(
        rules,
        &[],
        "internal cn:b",
        &[
            ("POST /charge/1", "identity not allowed"),
            ("GET /", "identity not allowed"),
        ],
    );
    check_requests(
        rules,
        &[],
        "acme-corp cn:a",
        &[("POST /charge/1", "identity not allowed")],
    );
    check_requests(
        rules,
        &[],
        "anonymous",
        &[("POST /charge/1", "certificate needed")],
    );
}

#[test]
fn an_exception_takes_back_a_part() {
    let rules = &["cn:a ! /charge/admin/**"];
    check_requests(
        rules,
        &[],
        "internal cn:a",
        &[
            ("GET /charge", "allow by route 1"),
            ("GET /charge/admin", "request not allowed"),
            ("GET /charge/%61dmin/x", "request not allowed"),
            ("GET /charge/administration", "allow by route 1"),
        ],
    );
    // As a whole: POST, but not there.
    check_requests(
        &["cn:a ! POST /admin/**"],
        &[],
        "internal cn:a",
        &[
            ("POST /x", "allow by route 1"),
            ("GET /admin/x", "allow by route 1"),
            ("POST /admin/x", "request not allowed"),
        ],
    );
    check_requests(
        &["@internal ! cn:x /admin/**"],
        &[],
        "internal cn:x",
        &[
            ("GET /", "allow by route 1"),
            ("GET /admin", "request not allowed"),
        ],
    );
    check_requests(
        &["@internal ! cn:x /admin/**"],
        &[],
        "internal cn:y",
        &[("GET /admin", "allow by route 1")],
    );
}

#[test]
fn a_denied_request_is_told_from_a_denied_identity() {
    let denied = &["cn:a", "DELETE", "cn:b /admin/**", "/secret ! cn:c"];
    check_requests(
        &["anyone"],
        denied,
        "internal cn:a",
        &[
            ("GET /", "identity not allowed"),
            ("DELETE /", "identity not allowed"),
        ],
    );
    check_requests(
        &["anyone"],
        denied,
        "internal cn:b",
        &[
            ("GET /", "allow by route 1"),
            ("GET /admin", "request not allowed"),
            ("DELETE /", "request not allowed"),
            ("GET /secret", "request not allowed"),
        ],
    );
    check_requests(
        &["anyone"],
        denied,
        "internal cn:c",
        &[
            ("GET /secret", "allow by route 1"),
            ("DELETE /secret", "request not allowed"),
        ],
    );
    // Rules on the request alone, and all but somebody's, bind the anonymous too.
    check_requests(
        &["anyone"],
        denied,
        "anonymous",
        &[
            ("GET /", "allow by route 1"),
            ("DELETE /", "request not allowed"),
            ("GET /secret", "request not allowed"),
            ("GET /admin", "allow by route 1"),
        ],
    );
    // Whom no entry admits is not told about requests.
    check_requests(
        &["cn:z"],
        denied,
        "internal cn:b",
        &[("DELETE /admin", "identity not allowed")],
    );
}

#[test]
fn a_route_may_need_a_certificate_where_its_listener_only_asks() {
    for allowed in ["any-trusted", "anyone"] {
        let strict = Route {
            require_certificate: true,
            ..route(&[allowed], &["GET /x"])
        };
        let policy = policy(vec![strict]).unwrap();
        for request in ["GET /", "GET /x"] {
            assert_eq!(
                decide(&policy, None, None, request),
                "certificate needed",
                "{allowed}"
            );
        }
        assert!(!policy.admits_at_all(None), "{allowed}");
        assert_eq!(
            decide(&policy, Some(&peer("acme-corp cn:a")), None, "GET /"),
            "allow by route 1",
            "{allowed}"
        );
    }
}

/// Which of the routes decides `host path`, whatever their order.
fn check_route(routes: &[&str], expected: &[(Option<&str>, &str, Option<&str>)]) {
    for turned in 0..routes.len() {
        let mut places: Vec<Route> = routes.iter().map(|text| place(text)).collect();
        places.rotate_left(turned);
        for reversed in [false, true] {
            if reversed {
                places.reverse();
            }
            let policy = policy(places.clone()).unwrap();
            for (host, path, label) in expected {
                let decided = decide(&policy, None, *host, &format!("GET {path}"));
                let label = label.map_or_else(
                    || "no route".to_owned(),
                    |label| format!("allow by {label}"),
                );
                assert_eq!(decided, label, "{host:?} {path} among {routes:?}");
            }
        }
    }
}

#[test]
fn the_most_specific_host_decides() {
    check_route(
        &["api.example.com", "*.example.com", "-"],
        &[
            (Some("api.example.com"), "/", Some("api.example.com")),
            (Some("web.example.com"), "/", Some("*.example.com")),
            (Some("a.b.example.com"), "/", Some("-")),
            (Some("example.com"), "/", Some("-")),
            (Some("*.example.com"), "/", Some("-")),
            (None, "/", Some("-")),
        ],
    );
    check_route(
        &["api.example.com", "*.example.com"],
        &[
            (Some("example.com"), "/", None),
            (Some("*.example.com"), "/", None),
            (Some("a.b.example.com"), "/", None),
            (None, "/", None),
        ],
    );
    check_route(
        &["api.example.com /a/**", "*.example.com /a/b/c", "- /a/b/c"],
        &[
            (
                Some("api.example.com"),
                "/a/b/c",
                Some("api.example.com /a/**"),
            ),
            (Some("api.example.com"), "/b", None),
            (
                Some("web.example.com"),
                "/a/b/c",
                Some("*.example.com /a/b/c"),
            ),
            (None, "/a/b/c", Some("- /a/b/c")),
        ],
    );
}

#[test]
fn the_most_specific_path_decides() {
    check_route(
        &[
            "-",
            "- /a/**",
            "- /a/*",
            "- /a/b",
            "- /a/b/**",
            "- /a/*/c",
            "- /a/b/*",
            "- /a/*/**",
        ],
        &[
            (None, "/", Some("-")),
            (None, "*", Some("-")),
            (None, "/a", Some("- /a/**")),
            (None, "/a/x", Some("- /a/*")),
            (None, "/a/b", Some("- /a/b")),
            (None, "/a/b/x", Some("- /a/b/*")),
            (None, "/a/b/c", Some("- /a/b/*")),
            (None, "/a/x/c", Some("- /a/*/c")),
            (None, "/a/x/y", Some("- /a/*/**")),
            (None, "/a/b/x/y", Some("- /a/b/**")),
            (None, "/a/%62", Some("- /a/b")),
        ],
    );
    check_route(
        &["- /a/*/c", "- /*/b/c"],
        &[
            (None, "/a/b/c", Some("- /a/*/c")),
            (None, "/x/b/c", Some("- /*/b/c")),
            (None, "/x/y/c", None),
            (None, "/a", None),
        ],
    );
}

#[test]
fn a_stricter_route_is_not_reached_around_through_a_laxer_one() {
    let strict = Route {
        allow: route(&["cn:admin"], &[]).allow,
        ..place("- /admin/**")
    };
    let policy = policy(vec![place("-"), strict]).unwrap();
    for path in ["/admin", "/admin/", "/admin/x", "/%61dmin/x"] {
        assert_eq!(
            decide(&policy, None, None, &format!("GET {path}")),
            "certificate needed",
            "{path}"
        );
        assert_eq!(
            decide(
                &policy,
                Some(&peer("internal cn:a")),
                None,
                &format!("GET {path}")
            ),
            "identity not allowed",
            "{path}"
        );
    }
}

#[test]
fn whom_no_route_could_admit_is_admitted_nowhere() {
    let one = Route {
        allow: route(&["cn:a", "cn:b /x"], &[]).allow,
        ..place("a.example.com")
    };
    let two = Route {
        allow: route(&["any-trusted"], &[]).allow,
        deny: route(&[], &["cn:a", "cn:c", "@acme-corp", "cn:d GET"]).deny,
        ..place("b.example.com")
    };
    let policy = policy(vec![one, two]).unwrap();
    for (text, expected) in [
        ("internal cn:a", true),
        ("internal cn:b", true),
        ("internal cn:c", false),
        ("internal cn:d", true),
        ("acme-corp cn:a", false),
        ("acme-corp cn:z", false),
    ] {
        assert_eq!(policy.admits_at_all(Some(&peer(text))), expected, "{text}");
    }
    assert!(!policy.admits_at_all(None));
}

#[test]
fn a_policy_serves_the_hosts_of_its_routes() {
    let named = policy(vec![place("api.example.com"), place("*.web.example.com")]).unwrap();
    for (name, expected) in [
        ("api.example.com", true),
        ("a.web.example.com", true),
        ("web.example.com", false),
        ("b.a.web.example.com", false),
        ("example.com", false),
        ("*.web.example.com", false),
    ] {
        assert_eq!(named.serves(&host(name)), expected, "{name}");
    }
    assert!(
        policy(vec![place("api.example.com"), place("- /x")])
            .unwrap()
            .serves(&host("anything.example"))
    );
}

#[test]
fn a_policy_says_whether_it_looks_at_paths() {
    let check = |route: Route, expected: bool| {
        assert_eq!(
            policy(vec![route.clone()]).unwrap().looks_at_paths(),
            expected,
            "{route:?}"
        );
    };
    check(route(&["any-trusted"], &["cn:a GET"]), false);
    check(route(&["spiffe://example.com/ns/**"], &[]), false);
    check(place("- /a"), true);
    check(route(&["cn:a", "cn:b /x"], &[]), true);
    check(route(&["any-trusted"], &["cn:a", "/x"]), true);
    check(route(&["cn:a ! /x"], &[]), true);
    check(route(&["any-trusted"], &["cn:a ! GET ! /x"]), true);
}
