//! What is refused at load.

use countersign_pki::name::TypedName;
use countersign_policy::access::{Allow, Condition, NamePattern, Route};

use crate::world::{host, path, place, policy, route};

fn check(route: Route, expected: &str) {
    let shown = format!("{route:?}");
    assert_eq!(
        policy(vec![route]).map_or_else(|invalid| invalid.to_string(), |_| "loads".to_owned()),
        expected,
        "{shown}"
    );
}

fn when(condition: Condition) -> Route {
    Route {
        allow: vec![Allow::When(condition)],
        ..place("-")
    }
}

#[test]
fn rules_that_say_something_load() {
    for allowed in [
        "any-trusted",
        "anyone",
        "cn:a",
        "@acme-corp",
        "GET|POST",
        "/a/**",
        "! cn:x",
        "cn:a ! /x/** ! /x/y",
        "dns:a.b dns:c.d",
        "CN=a,O=b",
    ] {
        check(route(&[allowed], &[]), "loads");
    }
    check(route(&["cn:a", "cn:b"], &["cn:a", "cn:c"]), "loads");
    check(
        route(
            &["spiffe://example.com/ns/** spiffe://example.com/*/api"],
            &[],
        ),
        "loads",
    );
}

#[test]
fn routes_that_admit_nobody_are_refused() {
    assert_eq!(
        policy(vec![]).map_or_else(|invalid| invalid.to_string(), |_| String::new()),
        "policy: it has no route, so it would admit nobody"
    );
    check(
        route(&[], &[]),
        "route 1: it has no allow, so it would admit nobody: name them, or spell out \"any-trusted\"",
    );
    check(
        route(&[], &["cn:a"]),
        "route 1: it has no allow, so it would admit nobody: name them, or spell out \"any-trusted\"",
    );
    check(
        route(&["cn:a", ""], &[]),
        "route 1, allow 2: it is empty: every verified client is spelled \"any-trusted\"",
    );
    check(
        route(&["any-trusted"], &["cn:a", ""]),
        "route 1, deny 2: it is empty, so it would deny everybody",
    );
}

#[test]
fn routes_that_cannot_be_reached_are_refused() {
    for (first, second) in [
        ("-", "-"),
        ("- /**", "-"),
        ("-", "- /**"),
        ("api.example.com", "API.example.com."),
        ("*.a.b /x/*", "*.a.b /x/*"),
    ] {
        let refused = policy(vec![
            place(first),
            place("other.example.com"),
            Route {
                label: "second".to_owned(),
                ..place(second)
            },
        ]);
        let sentence = refused.map_or_else(|invalid| invalid.to_string(), |_| "loads".to_owned());
        assert_eq!(
            sentence,
            format!("second: {first} has the same host and path, so this one is never reached")
        );
    }
    assert!(
        policy(vec![
            place("-"),
            place("- /x"),
            place("a.b"),
            place("*.b"),
            place("a.b /x"),
            place("- /x/")
        ])
        .is_ok()
    );
}

#[test]
fn conditions_that_can_never_hold_are_refused() {
    for (text, why) in [
        (
            "spiffe://example.com/a spiffe://example.com/b",
            "nobody is both spiffe://example.com/a and spiffe://example.com/b: alternatives are entries of their own",
        ),
        (
            "spiffe://example.com/a spiffe://example.com/b/*",
            "nobody is both spiffe://example.com/a and spiffe://example.com/b/*: alternatives are entries of their own",
        ),
        (
            "spiffe://example.com/b/* spiffe://example.com/a",
            "nobody is both spiffe://example.com/b/* and spiffe://example.com/a: alternatives are entries of their own",
        ),
        (
            "spiffe://a.b/** spiffe://c.d/**",
            "nobody is both spiffe://a.b/** and spiffe://c.d/**: alternatives are entries of their own",
        ),
        (
            "spiffe://a.b/x/** spiffe://a.b/y/*",
            "nobody is both spiffe://a.b/x/** and spiffe://a.b/y/*: alternatives are entries of their own",
        ),
        (
            "cn:a cn:b",
            "nobody is both cn:a and cn:b: alternatives are entries of their own",
        ),
        (
            "CN=a CN=b",
            "nobody is both dn:CN=a and dn:CN=b: alternatives are entries of their own",
        ),
        ("cn:a cn:a", "it names cn:a twice"),
        ("GET|PUT|GET", "it names method GET twice"),
        ("cn:a !", "its `not` is empty, so it can never hold"),
        (
            "cn:a ! cn:a",
            "it can never hold: its `not` (cn:a) takes back all of it",
        ),
        (
            "cn:a GET /a/b ! GET|PUT /a/**",
            "it can never hold: its `not` (GET|PUT /a/**) takes back all of it",
        ),
        (
            "cn:a ! /**",
            "it can never hold: its `not` (/**) takes back all of it",
        ),
    ] {
        check(route(&[text], &[]), &format!("route 1, allow 1: {why}"));
        check(
            route(&["any-trusted"], &["cn:z", text]),
            &format!("route 1, deny 2: {why}"),
        );
    }
    check(
        route(&["cn:a ! cn:b cn:c"], &[]),
        "route 1, allow 1, not: nobody is both cn:b and cn:c: alternatives are entries of their own",
    );
    check(
        route(&["cn:a ! GET ! PUT ! POST ! HEAD ! cn:x"], &[]),
        "route 1, allow 1, not, not, not, not: `not` stands more than 4 deep",
    );
}

#[test]
fn paths_outside_their_route_are_refused() {
    let under = |allowed: &str, denied: &[&str]| Route {
        path: Some(path("/charge/**")),
        ..route(&[allowed], denied)
    };
    check(
        under("cn:a /charge/admin/** ! /charge/admin/x", &["/charge/*"]),
        "loads",
    );
    check(
        under("cn:a /admin/**", &[]),
        "route 1, allow 1: it can never hold: no path is both under /charge/** and /admin/**",
    );
    check(
        under("cn:a", &["/admin/**"]),
        "route 1, deny 1: it can never hold: no path is both under /charge/** and /admin/**",
    );
    check(
        under("cn:a ! /admin/**", &[]),
        "route 1, allow 1, not: it can never hold: no path is both under /charge/** and /admin/**",
    );
    check(
        under("cn:a /charge/x ! /charge/y", &[]),
        "route 1, allow 1, not: it can never hold: no path is both under /charge/x and /charge/y",
    );
    check(under("cn:a /charge/", &[]), "loads");
    check(
        under("cn:a /charges", &[]),
        "route 1, allow 1: it can never hold: no path is both under /charge/** and /charges",
    );
}

#[test]
fn entries_that_say_the_same_are_refused() {
    check(
        route(&["cn:a", "cn:b", "cn:a"], &[]),
        "route 1, allow 3: it says the same as allow 1",
    );
    check(
        route(&["any-trusted", "any-trusted"], &[]),
        "route 1, allow 2: it says the same as allow 1",
    );
    check(
        route(&["any-trusted"], &["cn:a GET", "cn:a GET"]),
        "route 1, deny 2: it says the same as deny 1",
    );
}

#[test]
fn methods_are_tokens_in_upper_case() {
    for method in [
        "get",
        "Get",
        "",
        "GET ",
        "GE T",
        "GET,PUT",
        "GÉT",
        "G\0T",
        "G/T",
        &"A".repeat(65),
    ] {
        let condition = Condition {
            methods: vec![method.to_owned()],
            ..Condition::default()
        };
        check(
            when(condition),
            &format!(
                "-, allow 1: {method:?} is no method: they are tokens in upper case, such as GET"
            ),
        );
    }
    check(
        when(Condition {
            methods: vec!["M-SEARCH".to_owned(), "X_1".to_owned()],
            ..Condition::default()
        }),
        "loads",
    );
}

#[test]
fn patterns_that_were_not_parsed_are_held_to_the_same() {
    let refused = |pattern: NamePattern| {
        let condition = Condition {
            names: vec![pattern.clone()],
            ..Condition::default()
        };
        assert!(policy(vec![when(condition)]).is_err(), "{pattern:?}");
    };
    refused(NamePattern::DnsUnder(host("example.com")));
    for word in [
        "",
        " a",
        "a\0",
        "*.example.com",
        "cn:admin",
        "spiffe://example.com/a",
        "CN=admin",
        "/CN=admin",
        "spki:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
    ] {
        refused(NamePattern::AnyKind(word.to_owned()));
    }
    refused(NamePattern::Spiffe {
        trust_domain: "example.com".parse().unwrap(),
        path: path("/a b/*"),
    });
    refused(NamePattern::Spiffe {
        trust_domain: "example.com".parse().unwrap(),
        path: path("/a/"),
    });
    let exact: TypedName = "cn:a".parse().unwrap();
    check(
        when(Condition {
            names: vec![NamePattern::Exact(exact)],
            ..Condition::default()
        }),
        "loads",
    );
}
