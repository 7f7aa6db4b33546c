//! Who gets a tunnel, and to what.

use countersign_policy::access::{
    AccessPolicy, Asked, ConnectTarget, Decision, Factors, NoHeaders, Route,
};

use crate::world::{CIRCUMSTANCES, host, path, peer, place, policy, route};

fn target(text: &str) -> String {
    ConnectTarget::parse(text).map_or_else(|invalid| invalid.to_string(), |it| it.to_string())
}

#[test]
fn every_spelling_of_a_target_is_one_target() {
    for (text, expected) in [
        ("db.internal:5432", "db.internal:5432"),
        ("DB.Internal:5432", "db.internal:5432"),
        ("db.internal.:5432", "db.internal:5432"),
        ("db.internal:05432", "db.internal:5432"),
        ("localhost:65535", "localhost:65535"),
        ("192.0.2.1:22", "192.0.2.1:22"),
        ("[2001:DB8:0:0::1]:443", "[2001:db8::1]:443"),
        ("[::1]:1", "[::1]:1"),
    ] {
        assert_eq!(target(text), expected);
    }
}

#[test]
fn what_is_no_one_host_and_port_is_refused() {
    for text in [
        "",
        ":",
        ":5432",
        "db.internal",
        "db.internal:",
        "db.internal:0",
        "db.internal:00",
        "db.internal:65536",
        "db.internal:+1",
        "db.internal:-1",
        "db.internal: 1",
        "db.internal:1 ",
        "db.internal:1:2",
        "db.internal:http",
        "db.internal:\u{664}",
        " db.internal:1",
        "a@db.internal:1",
        "a:b@db.internal:1",
        "*.internal:1",
        "*:1",
        "db..internal:1",
        "db.internal..:1",
        "db.internal/x:1",
        "/db.internal:1",
        "http://db.internal:1",
        "b\u{fc}cher.example:1",
        "db%2einternal:1",
        "::1:443",
        "[::1]",
        "[::1]443",
        "[::1:443",
        "::1]:443",
        "[[::1]]:443",
        "[db.internal]:443",
        "[192.0.2.1]:443",
        "[fe80::1%25eth0]:443",
        "[fe80::1%eth0]:443",
        "1.2.3:4",
        "0x7f.1:4",
        "127.1:80",
        "010.0.0.1:80",
    ] {
        assert!(ConnectTarget::parse(text).is_err(), "{text:?}");
    }
}

fn decide(policy: &AccessPolicy, method: &str, path: &str) -> Decision {
    let peer = peer("internal cn:a");
    let host_name = host("db.internal");
    policy.decide(&Asked {
        peer: Some(&peer),
        host: Some(&host_name),
        method,
        path,
        headers: &NoHeaders,
        factors: &Factors::NONE,
        circumstances: CIRCUMSTANCES,
    })
}

#[test]
fn tunnel_leads_where_it_is_asked_for_and_nothing_else_does() {
    let routes = [
        "-",
        "- /**",
        "CONNECT db.internal:5432 [::1]:1",
        "db.internal",
    ];
    let policy = policy([0, 2, 3].map(|it| place(routes[it])).to_vec()).unwrap();
    for (method, path, expected) in [
        ("CONNECT", "db.internal:5432", Some(1)),
        ("CONNECT", "[::1]:1", Some(1)),
        ("CONNECT", "db.internal:5433", None),
        ("CONNECT", "db.internal:543", None),
        ("CONNECT", "db.internal:54321", None),
        ("CONNECT", "db.internal", None),
        ("CONNECT", "other.internal:5432", None),
        ("CONNECT", "a.db.internal:5432", None),
        ("CONNECT", "", None),
        ("CONNECT", "/", None),
        ("CONNECT", "*", None),
        ("connect", "db.internal:5432", Some(2)),
        ("GET", "db.internal:5432", Some(2)),
        ("GET", "/", Some(2)),
    ] {
        let decided = match decide(&policy, method, path) {
            Decision::Allow { route } => Some(route),
            Decision::NoRoute => None,
            other => panic!("{other:?}"),
        };
        assert_eq!(decided, expected, "{method} {path}");
    }
}

#[test]
fn route_without_tunnels_takes_no_connect_whatever_it_allows() {
    let policy = policy(vec![place("-")]).unwrap();
    assert!(!policy.opens_tunnels());
    for path in ["db.internal:5432", "", "/", "*"] {
        assert_eq!(decide(&policy, "CONNECT", path), Decision::NoRoute);
    }
}

#[test]
fn rules_of_a_tunnel_decide_by_method_host_and_identity() {
    let tunnel = |allowed: &[&str], denied: &[&str]| Route {
        connect: place("CONNECT db.internal:5432").connect,
        ..route(allowed, denied)
    };
    for (allowed, denied, expected) in [
        (&["cn:a"][..], &[][..], true),
        (&["cn:a CONNECT"], &[], true),
        (&["cn:a host=db.internal"], &[], true),
        (&["any-trusted"], &["cn:b"], true),
        (&["cn:b"], &[], false),
        (&["any-trusted"], &["cn:a"], false),
        (&["any-trusted"], &["CONNECT"], false),
        (&["any-trusted"], &["host=*.internal"], false),
    ] {
        let policy = policy(vec![tunnel(allowed, denied)]).unwrap();
        let decision = decide(&policy, "CONNECT", "db.internal:5432");
        let is_allowed = matches!(decision, Decision::Allow { .. });
        assert_eq!(is_allowed, expected, "{allowed:?} {denied:?}: {decision:?}");
    }
}

fn check_load(routes: Vec<Route>, expected: &str) {
    let loaded = policy(routes).map_or_else(|invalid| invalid.to_string(), |_| "loads".to_owned());
    assert_eq!(loaded, expected);
}

#[test]
fn tunnels_that_could_never_be_reached_are_refused_at_load() {
    let tunnel = |allowed: &[&str], denied: &[&str]| Route {
        connect: place("CONNECT db.internal:5432 [::1]:1").connect,
        ..route(allowed, denied)
    };
    check_load(vec![tunnel(&["any-trusted"], &[])], "loads");
    check_load(
        vec![place("CONNECT a.b:1"), place("CONNECT A.b.:01")],
        "CONNECT A.b.:01: CONNECT a.b:1 takes CONNECT a.b:1 already, so it is never reached here",
    );
    check_load(
        vec![place("CONNECT a.b:1 a.b:2 a.b:1")],
        "CONNECT a.b:1 a.b:2 a.b:1: CONNECT a.b:1 a.b:2 a.b:1 takes CONNECT a.b:1 already, so it is never reached here",
    );
    let beside = "it has a host or a path beside connect, which says all that a CONNECT asks for";
    for wrong in [
        Route {
            host: Some(host("db.internal")),
            ..tunnel(&["cn:a"], &[])
        },
        Route {
            path: Some(path("/**")),
            ..tunnel(&["cn:a"], &[])
        },
    ] {
        check_load(vec![wrong], &format!("route 1: {beside}"));
    }
    let method = "it can never hold: the route takes CONNECT and nothing else";
    let path = "it looks at a path, and a CONNECT has none";
    for (rule, why) in [
        ("cn:a GET", method),
        ("cn:a /x", path),
        ("cn:a ! /x", path),
        ("cn:a CONNECT /x", path),
        (
            "cn:a host=a.internal",
            "it can never hold: nothing that the route connects to is called a.internal",
        ),
    ] {
        check_load(
            vec![tunnel(&[rule], &[])],
            &format!("route 1, allow 1: {why}"),
        );
        check_load(
            vec![tunnel(&["any-trusted"], &[rule])],
            &format!("route 1, deny 1: {why}"),
        );
    }
    let elsewhere = "route 1, allow 1: it can never hold: only a route that says connect = [\"host:port\"] takes CONNECT";
    check_load(vec![route(&["cn:a CONNECT"], &[])], elsewhere);
    check_load(
        vec![route(&["cn:a CONNECT|GET"], &["cn:b CONNECT"])],
        "loads",
    );
}

#[test]
fn tunnels_beside_routes_leave_those_as_they_are() {
    check_load(
        vec![
            place("-"),
            place("db.internal"),
            place("CONNECT db.internal:5432"),
            place("CONNECT db.internal:1"),
        ],
        "loads",
    );
}
