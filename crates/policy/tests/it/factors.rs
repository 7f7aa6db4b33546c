//! What rules ask beside the certificate: a token, an API key.

use std::sync::Arc;

use countersign_pki::fingerprint::Fingerprint;
use countersign_pki::identity::BundleName;
use countersign_pki::time::UnixTime;
use countersign_policy::access::{
    AccessPolicy, Asked, ClaimValue, Decision, Factor, Factors, NoHeaders, Route, TokenPattern,
};
use countersign_policy::api_key::{ApiKey, ApiKeyFault, ApiKeys, NewApiKey};
use countersign_policy::token::TokenIssuer;

use crate::token::{Signer, claims, issuer, key_set};
use crate::world::{CIRCUMSTANCES, NOW, peer, policy, route};

fn token(of: &str, changes: &[(&str, &str)]) -> Factors {
    let signer = Signer::ec("k");
    let issuer = TokenIssuer {
        name: of.to_owned(),
        ..issuer()
    };
    let token = issuer.verify(&signer.token(&claims(changes)), &key_set(&[&signer.jwk]));
    Factors {
        token: Some(Arc::new(token.unwrap())),
        api_key: None,
    }
}

fn key(name: &str) -> Factors {
    Factors {
        token: None,
        api_key: Some(name.into()),
    }
}

fn decided(policy: &AccessPolicy, who: &str, factors: &Factors) -> String {
    let peer = (who != "-").then(|| peer(who));
    let asked = Asked {
        peer: peer.as_ref(),
        host: None,
        method: "GET",
        path: "/x",
        headers: &NoHeaders,
        factors,
        circumstances: CIRCUMSTANCES,
    };
    let decision = policy.decide(&asked);
    assert_eq!(policy.judge(&asked), policy.judge_by_each_entry(&asked));
    match decision {
        Decision::Allow { .. } => "allowed".to_owned(),
        Decision::CertificateNeeded { .. } => "certificate".to_owned(),
        Decision::IdentityNotAllowed { .. } => "identity".to_owned(),
        Decision::RequestNotAllowed { .. } => "request".to_owned(),
        Decision::FactorNeeded {
            factor: Factor::Token,
            ..
        } => "token".to_owned(),
        Decision::FactorNeeded {
            factor: Factor::ApiKey,
            ..
        } => "key".to_owned(),
        Decision::NoRoute => "no route".to_owned(),
    }
}

fn check(allowed: &[&str], denied: &[&str], expected: &[(&str, &Factors, &str)]) {
    let policy = policy(vec![route(allowed, denied)]).unwrap();
    for (who, factors, expected) in expected {
        assert_eq!(
            decided(&policy, who, factors),
            *expected,
            "allow {allowed:?} deny {denied:?}: {who} {factors:?}"
        );
    }
}

const A: &str = "internal cn:a";

#[test]
fn token_admits_only_beside_the_certificate_that_the_rule_names() {
    let good = token("corp", &[]);
    check(
        &["cn:a token=corp:scope=read"],
        &[],
        &[
            (A, &good, "allowed"),
            (A, &Factors::NONE, "token"),
            (A, &key("corp"), "token"),
            (A, &token("other", &[]), "token"),
            (A, &token("corp", &[("scope", "")]), "token"),
            ("internal cn:b", &good, "identity"),
            ("acme-corp cn:a", &good, "identity"),
            ("-", &good, "certificate"),
        ],
    );
    // Who is admitted without one is admitted with a bad one, which counts as none.
    check(
        &["cn:a", "cn:b token=corp"],
        &[],
        &[(A, &Factors::NONE, "allowed")],
    );
    // A token is no identity: a rule that names nobody still means who is verified.
    check(
        &["token=corp"],
        &[],
        &[
            (A, &good, "allowed"),
            ("-", &good, "certificate"),
            ("acme-corp cn:a", &good, "identity"),
        ],
    );
}

#[test]
fn what_the_request_lacks_otherwise_is_not_blamed_on_the_token() {
    let good = token("corp", &[]);
    check(
        &["cn:a GET /y token=corp", "cn:a POST token=corp"],
        &[],
        &[(A, &Factors::NONE, "request"), (A, &good, "request")],
    );
    check(
        &["cn:a token=corp"],
        &["GET"],
        &[(A, &Factors::NONE, "request")],
    );
    check(
        &["cn:a token=corp key=*"],
        &[],
        &[
            (A, &good, "key"),
            (A, &key("x"), "token"),
            (A, &Factors::NONE, "token"),
        ],
    );
}

#[test]
fn claims_are_compared_by_their_type() {
    for (rule, name, value, holds) in [
        ("sub=x", "sub", r#""x""#, true),
        ("sub=x", "sub", r#""X""#, false),
        ("sub=x", "sub", r#""x y""#, false),
        ("sub=x", "sub", r#"["x"]"#, true),
        ("sub=x", "sub", r#"[["x"]]"#, false),
        ("sub=x", "sub", r#"{"x":"x"}"#, false),
        ("sub=x|y", "sub", r#""y""#, true),
        ("scope=a", "scope", r#""b a""#, true),
        ("scope=a", "scope", r#""b:a""#, false),
        ("scope=a", "scope", r#""ab""#, false),
        ("scope=a+b", "scope", r#""b c a""#, true),
        ("scope=a+b", "scope", r#""a c""#, false),
        ("scope=a", "scp", r#""a""#, false),
        ("scp=a", "scp", r#""a b""#, true),
        ("groups=g", "groups", r#"["f","g"]"#, true),
        ("groups=g", "groups", r#"["f g"]"#, false),
        ("groups=g", "groups", r#""f g""#, false),
        ("n=7", "n", "7", true),
        ("n=7", "n", r#""7""#, false),
        ("n=7", "n", "7.0", false),
        ("n=7", "n", "70", false),
        ("b=true", "b", "true", true),
        ("b=true", "b", r#""true""#, false),
        ("b=true", "b", "false", false),
        ("b=false", "b", "null", false),
        (
            "/realm_access/roles=r",
            "realm_access",
            r#"{"roles":["r"]}"#,
            true,
        ),
        (
            "/realm_access/roles=r",
            "realm_access",
            r#"{"roles":["s"]}"#,
            false,
        ),
        (
            "/realm_access/roles=r",
            "realm_access",
            r#"["roles","r"]"#,
            false,
        ),
    ] {
        let expected = if holds { "allowed" } else { "token" };
        let factors = token("corp", &[(name, value)]);
        check(
            &[&format!("cn:a token=corp:{rule}")],
            &[],
            &[(A, &factors, expected)],
        );
    }
}

#[test]
fn whoever_is_refused_by_a_token_cannot_get_round_it_by_leaving_it_out() {
    let good = token("corp", &[]);
    let contractor = token("corp", &[("groups", r#"["contractors"]"#)]);
    let strange = token("corp", &[("groups", r#"[{"name":"contractors"}]"#)]);
    let expected: &[(&str, &Factors, &str)] = &[
        (A, &good, "allowed"),
        (A, &contractor, "request"),
        (A, &strange, "request"),
        (A, &Factors::NONE, "token"),
        (A, &token("other", &[]), "token"),
    ];
    // Three ways to say it.
    check(
        &["cn:a token=corp ! token=corp:groups=contractors"],
        &[],
        expected,
    );
    check(
        &["cn:a token=corp"],
        &["token=corp:groups=contractors"],
        expected,
    );
    check(
        &["cn:a"],
        &["! token=corp ! token=corp:groups=contractors"],
        &[
            (A, &good, "allowed"),
            (A, &contractor, "token"),
            (A, &strange, "token"),
            (A, &Factors::NONE, "token"),
        ],
    );
    check(
        &["cn:a"],
        &["! token=corp"],
        &[(A, &good, "allowed"), (A, &Factors::NONE, "token")],
    );
    check(
        &["cn:a"],
        &["! key=*"],
        &[(A, &key("x"), "allowed"), (A, &good, "key")],
    );
}

#[test]
fn rules_that_could_be_got_round_do_not_load() {
    let refused = |route: Route| policy(vec![route]).unwrap_err().to_string();
    for (allowed, denied) in [
        (&["cn:a"][..], &["token=corp:groups=contractors"][..]),
        (&["any-trusted"], &["token=corp"]),
        (&["cn:a token=corp", "cn:b"], &["token=corp:jti=x"]),
        (&["cn:a token=corp", "any-trusted"], &["token=corp:jti=x"]),
        (&["cn:a token=other"], &["token=corp:jti=x"]),
        (&["cn:a ! token=corp:groups=contractors"], &[]),
        (&["cn:a token=other ! token=corp:groups=x"], &[]),
        (&["cn:a"], &["! cn:b ! token=corp"]),
        (&["cn:a"], &["! token=corp ! token=other"]),
        (&["anyone"], &["! token=corp"]),
        (&["cn:a"], &["key=x"]),
        (&["cn:a key=*"], &["key=x"]),
        (&["cn:a key=* ! key=x"], &[]),
        (&["cn:a"], &["! cn:b ! key=x"]),
    ] {
        let why = refused(route(allowed, denied));
        assert!(
            why.contains("gets round it") || why.contains("without a certificate"),
            "{allowed:?} {denied:?}: {why}"
        );
    }
    for (allowed, denied) in [
        (
            &["cn:a token=corp", "cn:b token=corp key=x"][..],
            &["token=corp:jti=x"][..],
        ),
        (&["cn:a"], &["! cn:b token=corp ! token=corp:jti=x"]),
    ] {
        policy(vec![route(allowed, denied)]).unwrap();
    }
}

#[test]
fn patterns_that_can_never_hold_are_refused() {
    let text = |text: &str| ClaimValue::Text(text.to_owned());
    for (name, values) in [
        ("exp", vec![ClaimValue::Integer(1)]),
        ("iss", vec![text("x")]),
        ("cnf", vec![text("x")]),
        ("", vec![text("x")]),
        ("sub", vec![]),
        ("sub", vec![text("")]),
        ("sub", vec![text("x"), text("x")]),
        ("scope", vec![text("a  b")]),
        ("scope", vec![text(" a")]),
        ("sub", vec![text(&"x".repeat(1025))]),
    ] {
        let parsed = TokenPattern::parse("corp", [(name.to_owned(), values)].into());
        assert!(parsed.is_err(), "{name}: {parsed:?}");
    }
}

#[test]
fn api_key_is_its_holders_alone_and_admits_nobody_by_itself() {
    let new = NewApiKey::new([7; 32]);
    let configured = |not_after: Option<u64>| {
        ApiKeys::new(vec![
            ApiKey {
                name: "other".to_owned(),
                sha256: Fingerprint::of(b"other"),
                holder: "cn:b".parse().unwrap(),
                bundle: BundleName::internal(),
                not_after: None,
            },
            ApiKey {
                name: "billing".to_owned(),
                sha256: new.sha256(),
                holder: "cn:a".parse().unwrap(),
                bundle: BundleName::internal(),
                not_after: not_after.map(UnixTime::from_seconds),
            },
        ])
    };
    let keys = configured(None);
    let sent = new.text().as_bytes();
    assert_eq!(keys.verify(sent, &peer(A), NOW), Ok("billing"));
    let of_another = ApiKeyFault::OfAnother {
        name: "billing".to_owned(),
    };
    for who in [
        "internal cn:b",
        "acme-corp cn:a",
        "internal dns:a",
        "internal cn:a2",
    ] {
        assert_eq!(
            keys.verify(sent, &peer(who), NOW),
            Err(of_another.clone()),
            "{who}"
        );
    }
    let hash = new.sha256();
    let hexadecimal = hash.to_string();
    for text in [
        &b""[..],
        &sent[1..],
        &sent[..sent.len() - 1],
        hash.as_bytes(),
        hexadecimal.as_bytes(),
        &[b'x'; 513],
        &new.text().to_uppercase().into_bytes(),
    ] {
        assert_eq!(keys.verify(text, &peer(A), NOW), Err(ApiKeyFault::Unknown));
    }
    for (end, is_good) in [(NOW.seconds() + 1, true), (NOW.seconds(), false)] {
        assert_eq!(
            configured(Some(end)).verify(sent, &peer(A), NOW).is_ok(),
            is_good
        );
    }
    check(
        &["cn:a key=billing", "cn:b key=*"],
        &[],
        &[
            (A, &key("billing"), "allowed"),
            (A, &key("other"), "key"),
            (A, &Factors::NONE, "key"),
            ("internal cn:b", &key("other"), "allowed"),
            ("-", &key("billing"), "certificate"),
            ("internal cn:c", &key("billing"), "identity"),
        ],
    );
}
