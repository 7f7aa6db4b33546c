//! Logins to a database: who may be which user, in which database.

use countersign_policy::access::{AccessPolicy, Decision, Factors, Login, LoginPattern, Route};
use countersign_policy::postgresql::Packet;

use crate::world::{CIRCUMSTANCES, peer, policy, route};

fn login(user: &str, database: &str) -> Login {
    let body = format!("\0\u{3}\0\0user\0{user}\0database\0{database}\0\0");
    let length = u32::try_from(body.len() + 4).unwrap().to_be_bytes();
    match Packet::parse(&[&length[..], body.as_bytes()].concat()) {
        Ok(Packet::Startup(login)) => login,
        other => panic!("{other:?}"),
    }
}

fn one(allowed: &[&str], denied: &[&str]) -> AccessPolicy {
    policy(vec![route(allowed, denied)]).unwrap()
}

/// `user/database`, or the user alone.
fn decided(policy: &AccessPolicy, who: &str, wanted: &str) -> String {
    let (user, database) = wanted.split_once('/').unwrap_or((wanted, ""));
    let peer = (who != "-").then(|| peer(who));
    match policy.decide_login(peer.as_ref(), &login(user, database), CIRCUMSTANCES) {
        Decision::Allow { .. } => "allowed".to_owned(),
        Decision::CertificateNeeded { .. } => "certificate needed".to_owned(),
        Decision::IdentityNotAllowed { nearest, .. } => format!("identity: {nearest}"),
        Decision::RequestNotAllowed { nearest, .. } => format!("login: {nearest}"),
        Decision::NoRoute | Decision::FactorNeeded { .. } => "no route".to_owned(),
    }
}

#[test]
fn login_goes_through_only_as_a_rule_says() {
    let policy = one(
        &[
            "cn:shop user=app|report_* database=shop",
            "cn:dba user=*",
            "cn:partner @acme-corp user=partner",
        ],
        &["cn:dba user=postgres", "database=template*"],
    );
    for (who, wanted, expected) in [
        ("internal cn:shop", "app/shop", "allowed"),
        ("internal cn:shop", "report_/shop", "allowed"),
        ("internal cn:shop", "report_daily/shop", "allowed"),
        (
            "internal cn:shop",
            "App/shop",
            "login: allows cn:shop user app|report_* database shop; this is user App, database shop",
        ),
        (
            "internal cn:shop",
            "app",
            "login: allows cn:shop user app|report_* database shop; this is user app, database app",
        ),
        (
            "internal cn:shop",
            "app2/shop",
            "login: allows cn:shop user app|report_* database shop; this is user app2, database shop",
        ),
        (
            "internal cn:shop",
            "report/shop",
            "login: allows cn:shop user app|report_* database shop; this is user report, database shop",
        ),
        (
            "internal cn:shop",
            "*/shop",
            "login: allows cn:shop user app|report_* database shop; this is user *, database shop",
        ),
        (
            "internal cn:shop",
            "partner/shop",
            "login: allows cn:shop user app|report_* database shop; this is user partner, database shop",
        ),
        ("internal cn:dba", "app/shop", "allowed"),
        (
            "internal cn:dba",
            "postgres/shop",
            "login: denied by rule 1: cn:dba user postgres; this is user postgres, database shop",
        ),
        (
            "internal cn:dba",
            "app/template1",
            "login: denied by rule 2: database template*; this is user app, database template1",
        ),
        ("acme-corp cn:partner", "partner/x", "allowed"),
        (
            "internal cn:partner",
            "partner/x",
            "identity: allows cn:partner under bundle acme-corp; this is cn:partner under bundle internal",
        ),
        (
            "acme-corp cn:shop",
            "app/shop",
            "identity: allows cn:shop under bundle internal; this is cn:shop under bundle acme-corp",
        ),
        (
            "internal cn:shopp",
            "app/shop",
            "identity: allows cn:shop; this is cn:shopp",
        ),
        ("-", "app/shop", "certificate needed"),
    ] {
        assert_eq!(decided(&policy, who, wanted), expected, "{who} {wanted}");
    }
}

#[test]
fn exception_takes_a_user_back() {
    let policy = one(&["cn:shop user=* ! user=postgres"], &[]);
    assert_eq!(decided(&policy, "internal cn:shop", "app"), "allowed");
    assert_eq!(
        decided(&policy, "internal cn:shop", "postgres"),
        "login: allows cn:shop user *, except user postgres; this is user postgres, database postgres"
    );
}

#[test]
fn before_the_login_only_those_are_refused_who_can_be_nobody() {
    let policy = one(
        &["cn:shop user=app"],
        &["cn:shop dns:old.example.com", "user=x"],
    );
    let allows = |who: &str| {
        let peer = (who != "-").then(|| peer(who));
        let decision = policy.decide_before_login(peer.as_ref(), CIRCUMSTANCES);
        matches!(decision, Decision::Allow { .. })
    };
    for (who, expected) in [
        ("internal cn:shop", true),
        ("internal cn:shop dns:old.example.com", false),
        ("internal cn:other", false),
        ("acme-corp cn:shop", false),
        ("-", false),
    ] {
        assert_eq!(allows(who), expected, "{who}");
    }
}

#[test]
fn rule_of_one_kind_of_request_holds_for_no_other() {
    let of_logins = one(&["cn:shop user=*"], &[]);
    let of_http = one(&["cn:shop GET"], &[]);
    let shop = peer("internal cn:shop");
    assert_ne!(
        of_http.decide_login(Some(&shop), &login("app", ""), CIRCUMSTANCES),
        Decision::Allow { route: 0 }
    );
    let asked = countersign_policy::access::Asked {
        peer: Some(&shop),
        host: None,
        method: "GET",
        path: "/",
        headers: &countersign_policy::access::NoHeaders,
        factors: &Factors::NONE,
        circumstances: CIRCUMSTANCES,
    };
    assert_ne!(of_logins.decide(&asked), Decision::Allow { route: 0 });
    assert_ne!(
        of_logins.decide_connection(Some(&shop), CIRCUMSTANCES),
        Decision::Allow { route: 0 }
    );
}

#[test]
fn names_that_hide_each_other_are_refused() {
    let why = |route: Route| policy(vec![route]).map_err(|invalid| invalid.to_string());
    for (allowed, expected) in [
        (
            "user=app|app",
            "it names user app, which app stands for already",
        ),
        (
            "user=app|*",
            "it names user app, which * stands for already",
        ),
        (
            "user=app database=shop_*|shop_a",
            "it names database shop_a, which shop_* stands for already",
        ),
        (
            "user=app ! user=a*",
            "it can never hold: its `not` (user a*) takes back all of it",
        ),
    ] {
        let error = why(route(&[allowed], &[])).unwrap_err();
        assert_eq!(error, format!("route 1, allow 1: {expected}"));
    }
    assert!(why(route(&["user=app|report_* database=a|b"], &[])).is_ok());
}

#[test]
fn pattern_that_no_name_could_meet_is_refused() {
    let long = "x".repeat(64);
    for text in ["", "a*b", "**", "a\0", "a\n", &long] {
        assert!(LoginPattern::parse(text).is_err(), "{text:?}");
    }
    for text in ["*", "app", "report_*", "Ünter", "a b", &long[..63]] {
        let pattern = LoginPattern::parse(text);
        assert_eq!(pattern.map(|it| it.to_string()).as_deref(), Ok(text));
    }
}
