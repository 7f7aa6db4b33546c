//! Which tokens are believed: few.

#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "whoever signs here is an issuer, not the policy"
)]

use std::collections::BTreeMap;
use std::time::Duration;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair,
    KeyPair as _, RSA_PKCS1_SHA256, RSA_PSS_SHA256,
};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use countersign_pki::fingerprint::Fingerprint;
use countersign_policy::token::{
    Algorithm, Json, KeySet, MAX_TOKEN_BYTES, TokenFault, TokenIssuer, VerifiedToken, named_issuer,
};

use crate::world::NOW;

type Sign = Box<dyn Fn(&[u8]) -> Vec<u8>>;

/// A signer of one kind, with its public key as JWK.
pub(crate) struct Signer {
    algorithm: &'static str,
    pub(crate) jwk: String,
    sign: Sign,
}

fn b64(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

impl Signer {
    pub(crate) fn ec(kid: &str) -> Self {
        let key = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
        let (x, y) = key.public_key().as_ref()[1..].split_at(32);
        let jwk = format!(
            r#"{{"kty":"EC","crv":"P-256","kid":"{kid}","x":"{}","y":"{}"}}"#,
            b64(x),
            b64(y)
        );
        let sign = move |message: &[u8]| {
            let signature = key.sign(&SystemRandom::new(), message).unwrap();
            signature.as_ref().to_vec()
        };
        Self {
            algorithm: "ES256",
            jwk,
            sign: Box::new(sign),
        }
    }

    fn ec_384(kid: &str) -> Self {
        let key = EcdsaKeyPair::generate(&ECDSA_P384_SHA384_FIXED_SIGNING).unwrap();
        let (x, y) = key.public_key().as_ref()[1..].split_at(48);
        let jwk = format!(
            r#"{{"kty":"EC","crv":"P-384","kid":"{kid}","x":"{}","y":"{}"}}"#,
            b64(x),
            b64(y)
        );
        let sign = move |message: &[u8]| {
            let signature = key.sign(&SystemRandom::new(), message).unwrap();
            signature.as_ref().to_vec()
        };
        Self {
            algorithm: "ES384",
            jwk,
            sign: Box::new(sign),
        }
    }

    fn ed(kid: &str) -> Self {
        let key = Ed25519KeyPair::generate().unwrap();
        let jwk = format!(
            r#"{{"kty":"OKP","crv":"Ed25519","kid":"{kid}","x":"{}"}}"#,
            b64(key.public_key())
        );
        Self {
            algorithm: "EdDSA",
            jwk,
            sign: Box::new(move |message| key.sign(message).as_ref().to_vec()),
        }
    }

    fn rsa(kid: &str, algorithm: &'static str) -> Self {
        let key = aws_lc_rs::rsa::KeyPair::generate(aws_lc_rs::rsa::KeySize::Rsa2048).unwrap();
        // RFC 8017 §A.1.1: SEQUENCE, INTEGER of 257 bytes with a zero before it, INTEGER 65537.
        let public = key.public_key().as_ref().to_vec();
        let (n, e) = (&public[9..265], [1, 0, 1]);
        let jwk = format!(
            r#"{{"kty":"RSA","kid":"{kid}","n":"{}","e":"{}"}}"#,
            b64(n),
            b64(e)
        );
        let sign = move |message: &[u8]| {
            let padding: &dyn aws_lc_rs::signature::RsaEncoding = match algorithm {
                "PS256" => &RSA_PSS_SHA256,
                _ => &RSA_PKCS1_SHA256,
            };
            let mut signature = vec![0; key.public_modulus_len()];
            key.sign(padding, &SystemRandom::new(), message, &mut signature)
                .unwrap();
            signature
        };
        Self {
            algorithm,
            jwk,
            sign: Box::new(sign),
        }
    }

    fn token_of(&self, header: &str, claims: &str) -> String {
        let signed = format!("{}.{}", b64(header), b64(claims));
        let signature = (self.sign)(signed.as_bytes());
        format!("{signed}.{}", b64(signature))
    }

    pub(crate) fn token(&self, claims: &str) -> String {
        self.token_of(
            &format!(r#"{{"alg":"{}","kid":"k"}}"#, self.algorithm),
            claims,
        )
    }
}

pub(crate) fn issuer() -> TokenIssuer {
    TokenIssuer {
        name: "corp".to_owned(),
        issuer: "https://id.example.com".to_owned(),
        audience: vec!["payments".to_owned(), "refunds".to_owned()],
        algorithms: Algorithm::ALL.to_vec(),
        clock_skew: Duration::from_secs(30),
        max_lifetime: Duration::from_hours(24),
        require_binding: false,
    }
}

pub(crate) fn key_set(jwks: &[&str]) -> KeySet {
    KeySet::parse(format!(r#"{{"keys":[{}]}}"#, jwks.join(",")).as_bytes()).unwrap()
}

/// Good claims, with some replaced; an empty text takes one away.
pub(crate) fn claims(changes: &[(&str, &str)]) -> String {
    let now = NOW.seconds();
    let mut claims: BTreeMap<&str, String> = BTreeMap::from([
        ("iss", r#""https://id.example.com""#.to_owned()),
        ("aud", r#""payments""#.to_owned()),
        ("exp", (now + 600).to_string()),
        ("iat", now.to_string()),
        ("scope", r#""read write""#.to_owned()),
    ]);
    for (name, value) in changes {
        claims.insert(name, (*value).to_owned());
    }
    let members = claims.iter().filter(|(_, value)| !value.is_empty());
    let members: Vec<String> = members
        .map(|(name, value)| format!(r#""{name}":{value}"#))
        .collect();
    format!("{{{}}}", members.join(","))
}

fn judged(issuer: &TokenIssuer, token: &str, keys: &KeySet) -> Result<VerifiedToken, TokenFault> {
    named_issuer(token)?;
    let verified = issuer.verify(token, keys)?;
    issuer.check_time(&verified, NOW)?;
    Ok(verified)
}

fn kind(outcome: &Result<VerifiedToken, TokenFault>) -> &'static str {
    match outcome {
        Ok(_) => "good",
        Err(TokenFault::Algorithm { .. }) => "algorithm",
        Err(TokenFault::Audience { .. }) => "audience",
        Err(TokenFault::Expired { .. }) => "expired",
        Err(TokenFault::Malformed { .. }) => "malformed",
        Err(TokenFault::NotYetValid { .. }) => "not yet",
        Err(TokenFault::Signature { .. }) => "signature",
        Err(TokenFault::TooLong { .. }) => "long",
        Err(TokenFault::TooLongLived { .. }) => "lives long",
        Err(TokenFault::Unbound { .. }) => "unbound",
        Err(TokenFault::UnknownIssuer) => "issuer",
        Err(TokenFault::UnknownKey { .. }) => "key",
        Err(TokenFault::Untimed { .. }) => "untimed",
        Err(_) => "other",
    }
}

#[test]
fn each_algorithm_is_verified_by_a_key_of_its_kind_alone() {
    let signers = [
        Signer::ec("k"),
        Signer::ec_384("k"),
        Signer::ed("k"),
        Signer::rsa("k", "RS256"),
        Signer::rsa("k", "PS256"),
    ];
    for (row, signer) in signers.iter().enumerate() {
        let token = signer.token(&claims(&[]));
        for (column, other) in signers.iter().enumerate() {
            let outcome = judged(&issuer(), &token, &key_set(&[&other.jwk]));
            assert_eq!(
                outcome.is_ok(),
                row == column,
                "{row} {column}: {outcome:?}"
            );
        }
        let narrow = TokenIssuer {
            algorithms: Algorithm::ALL
                .into_iter()
                .filter(|it| it.as_str() != signer.algorithm)
                .collect(),
            ..issuer()
        };
        let outcome = judged(&narrow, &token, &key_set(&[&signer.jwk]));
        assert_eq!(kind(&outcome), "algorithm", "{}", signer.algorithm);
    }
}

#[test]
fn no_header_gets_a_token_past_the_signature() {
    let (signer, attacker) = (Signer::ec("k"), Signer::ec("k"));
    let keys = key_set(&[&signer.jwk]);
    let claims = claims(&[]);
    let jwk = &attacker.jwk;
    for (header, expected) in [
        (r#"{"alg":"ES256","kid":"k"}"#.to_owned(), "signature"),
        (r#"{"alg":"ES256"}"#.to_owned(), "signature"),
        (r#"{"alg":"none","kid":"k"}"#.to_owned(), "algorithm"),
        (r#"{"alg":"None","kid":"k"}"#.to_owned(), "algorithm"),
        (r#"{"alg":"HS256","kid":"k"}"#.to_owned(), "algorithm"),
        (r#"{"alg":"es256","kid":"k"}"#.to_owned(), "algorithm"),
        (r#"{"alg":"ES256K","kid":"k"}"#.to_owned(), "algorithm"),
        (r#"{"alg":"RS256","kid":"k"}"#.to_owned(), "key"),
        (r#"{"alg":"EdDSA","kid":"k"}"#.to_owned(), "key"),
        (r#"{"alg":"ES256","kid":"other"}"#.to_owned(), "key"),
        (r#"{"alg":"ES256","kid":""}"#.to_owned(), "key"),
        (
            r#"{"alg":"ES256","kid":"../../dev/null"}"#.to_owned(),
            "key",
        ),
        (
            r#"{"alg":"ES256","kid":"k' UNION SELECT 'x"}"#.to_owned(),
            "key",
        ),
        (
            r#"{"alg":"ES256","kid":"http://127.0.0.1:1/"}"#.to_owned(),
            "key",
        ),
        (r#"{"alg":"ES256","kid":7}"#.to_owned(), "malformed"),
        (r#"{"alg":["ES256"],"kid":"k"}"#.to_owned(), "malformed"),
        (r#"{"kid":"k"}"#.to_owned(), "malformed"),
        (
            r#"{"alg":"ES256","alg":"ES256","kid":"k"}"#.to_owned(),
            "malformed",
        ),
        (
            r#"{"alg":"ES256","kid":"k","crit":["exp"]}"#.to_owned(),
            "malformed",
        ),
        (
            r#"{"alg":"ES256","kid":"k","crit":[]}"#.to_owned(),
            "malformed",
        ),
        (
            r#"{"alg":"ES256","kid":"k","b64":false}"#.to_owned(),
            "malformed",
        ),
        (
            r#"{"alg":"ES256","kid":"k","b64":false,"crit":["b64"]}"#.to_owned(),
            "malformed",
        ),
        (
            r#"{"alg":"ES256","kid":"k","typ":"dpop+jwt"}"#.to_owned(),
            "malformed",
        ),
        (
            r#"{"alg":"ES256","kid":"k","typ":"logout+jwt"}"#.to_owned(),
            "malformed",
        ),
        (
            format!(r#"{{"alg":"ES256","kid":"k","jwk":{jwk}}}"#),
            "signature",
        ),
        (format!(r#"{{"alg":"ES256","jwk":{jwk}}}"#), "signature"),
        (
            r#"{"alg":"ES256","kid":"k","jku":"http://127.0.0.1:1/jwks"}"#.to_owned(),
            "signature",
        ),
        (
            r#"{"alg":"ES256","kid":"k","x5u":"http://127.0.0.1:1/x"}"#.to_owned(),
            "signature",
        ),
        (
            r#"{"alg":"ES256","kid":"k","x5c":["AAAA"]}"#.to_owned(),
            "signature",
        ),
        ("[]".to_owned(), "malformed"),
        ("x".to_owned(), "malformed"),
    ] {
        let outcome = judged(&issuer(), &attacker.token_of(&header, &claims), &keys);
        assert_eq!(kind(&outcome), expected, "{header}");
    }
    // What is not looked at does no harm to a good one.
    for header in [
        r#"{"alg":"ES256","kid":"k","typ":"at+jwt","jku":"http://127.0.0.1:1/jwks"}"#,
        r#"{"alg":"ES256","kid":"k","typ":"application/AT+JWT"}"#,
        r#"{"alg":"ES256","typ":"JWT"}"#,
    ] {
        let outcome = judged(&issuer(), &signer.token_of(header, &claims), &keys);
        assert_eq!(kind(&outcome), "good", "{header}");
    }
}

#[test]
fn shared_secret_made_of_the_public_key_signs_nothing() {
    let owner = Signer::rsa("k", "RS256");
    let signed = format!(
        "{}.{}",
        b64(r#"{"alg":"HS256","kid":"k"}"#),
        b64(claims(&[]))
    );
    let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, owner.jwk.as_bytes());
    let mac = aws_lc_rs::hmac::sign(&key, signed.as_bytes());
    let token = format!("{signed}.{}", b64(mac));
    let outcome = judged(&issuer(), &token, &key_set(&[&owner.jwk]));
    assert_eq!(kind(&outcome), "algorithm");
}

#[test]
fn claims_are_judged_to_the_second_and_to_the_byte() {
    let signer = Signer::ec("k");
    let keys = key_set(&[&signer.jwk]);
    let now = NOW.seconds();
    let at = |seconds: i64| (i64::try_from(now).unwrap() + seconds).to_string();
    let day = 24 * 3600;
    for (name, value, expected) in [
        ("iss", r#""https://id.example.com/""#.to_owned(), "issuer"),
        ("iss", r#""https://ID.example.com""#.to_owned(), "issuer"),
        (
            "iss",
            r#"["https://id.example.com"]"#.to_owned(),
            "malformed",
        ),
        ("iss", String::new(), "malformed"),
        ("aud", String::new(), "audience"),
        ("aud", r#""payment""#.to_owned(), "audience"),
        ("aud", r#""payments refunds""#.to_owned(), "audience"),
        ("aud", "[]".to_owned(), "audience"),
        ("aud", r#"["x",["payments"]]"#.to_owned(), "audience"),
        ("aud", r#"{"payments":true}"#.to_owned(), "audience"),
        ("aud", r#"["x","refunds"]"#.to_owned(), "good"),
        ("exp", String::new(), "untimed"),
        ("exp", "null".to_owned(), "untimed"),
        ("exp", format!(r#""{}""#, at(600)), "untimed"),
        ("exp", "-1".to_owned(), "untimed"),
        ("exp", "1e300".to_owned(), "untimed"),
        ("exp", "9007199254740993000".to_owned(), "untimed"),
        ("exp", "0".to_owned(), "expired"),
        ("exp", at(-30), "expired"),
        ("exp", format!("{}.5", at(-30)), "expired"),
        ("exp", at(-29), "good"),
        ("exp", format!("{}.5", at(600)), "good"),
        ("exp", at(day), "good"),
        ("exp", at(day + 1), "lives long"),
        ("nbf", at(30), "good"),
        ("nbf", at(31), "not yet"),
        ("nbf", r#""now""#.to_owned(), "untimed"),
        ("iat", at(31), "not yet"),
        ("iat", at(600 - day - 1), "lives long"),
        ("cnf", r#"{"jkt":"x"}"#.to_owned(), "unbound"),
        ("cnf", r#""x""#.to_owned(), "unbound"),
        ("cnf", r#"{"x5t#S256":"AAAA"}"#.to_owned(), "unbound"),
    ] {
        let token = signer.token(&claims(&[(name, &value)]));
        let outcome = judged(&issuer(), &token, &keys);
        assert_eq!(kind(&outcome), expected, "{name} {value}");
        // Of another issuer nobody verifies it.
        if name != "iss"
            && let Err(fault) = issuer().verify(&token, &keys)
        {
            assert!(fault.cost_a_signature(), "{name} {value}");
        }
    }
    // Without iat only the end says how long it lives.
    for (seconds, expected) in [(day + 30, "good"), (day + 31, "lives long")] {
        let changes = [("iat", String::new()), ("exp", at(seconds))];
        let changes = changes
            .each_ref()
            .map(|(name, value)| (*name, value.as_str()));
        let outcome = judged(&issuer(), &signer.token(&claims(&changes)), &keys);
        assert_eq!(kind(&outcome), expected, "{seconds}");
    }
}

#[test]
fn what_is_no_token_is_none() {
    let owner = Signer::ec("k");
    let keys = key_set(&[&owner.jwk]);
    let good = owner.token(&claims(&[]));
    let (signed, signature) = good.rsplit_once('.').unwrap();
    let padded = format!("{good}=");
    let long = owner.token(&claims(&[(
        "x",
        &format!(r#""{}""#, "x".repeat(MAX_TOKEN_BYTES)),
    )]));
    let twice = owner.token(r#"{"iss":"https://id.example.com","iss":"https://id.example.com"}"#);
    for (token, expected) in [
        ("", "malformed"),
        ("..", "malformed"),
        (signed, "malformed"),
        (&format!("{signed}."), "signature"),
        (&format!("{good}.x"), "malformed"),
        (
            &format!("{signed}.{signature}.{signature}.x.y"),
            "malformed",
        ),
        (&padded, "malformed"),
        (&format!("{signed}.{}", b64([0; 64])), "signature"),
        (&format!("{signed}.{}", b64([0xff; 64])), "signature"),
        (&format!("{signed}.{}", b64([1; 63])), "signature"),
        (&good.replacen('e', "e ", 1), "malformed"),
        (&long, "long"),
        (&twice, "malformed"),
    ] {
        assert_eq!(
            kind(&judged(&issuer(), token, &keys)),
            expected,
            "{token:.60}"
        );
    }
    // The last character of a signature has bits that say nothing: another text is another token.
    let mut altered = good.clone().into_bytes();
    let last = altered.last_mut().unwrap();
    *last += 1;
    let altered = String::from_utf8(altered).unwrap();
    assert_ne!(kind(&judged(&issuer(), &altered, &keys)), "good");
}

#[test]
fn token_is_bound_to_the_certificate_that_it_names() {
    let signer = Signer::ec("k");
    let keys = key_set(&[&signer.jwk]);
    let bound = Fingerprint::of(b"certificate");
    let cnf = format!(r#"{{"x5t#S256":"{}"}}"#, b64(bound.as_bytes()));
    let strict = TokenIssuer {
        require_binding: true,
        ..issuer()
    };
    let token = judged(&strict, &signer.token(&claims(&[("cnf", &cnf)])), &keys).unwrap();
    assert_eq!(token.check_binding(bound, |_| false), Ok(()));
    let other = Fingerprint::of(b"another");
    assert!(token.check_binding(other, |_| false).is_err());
    assert_eq!(token.check_binding(other, |it| it == bound), Ok(()));
    let unbound = signer.token(&claims(&[]));
    assert_eq!(kind(&judged(&strict, &unbound, &keys)), "unbound");
    // Two bindings are one too many, and standard base64 is another alphabet.
    for cnf in [
        format!(r#"{{"x5t#S256":"{}","jkt":"x"}}"#, b64(bound.as_bytes())),
        format!(r#"{{"x5t#S256":"{}="}}"#, b64(bound.as_bytes())),
        format!(r#"{{"x5t#S256":"{bound}"}}"#),
        r#"{"x5t#S256":null}"#.to_owned(),
        "{}".to_owned(),
        "null".to_owned(),
    ] {
        for issuer in [&strict, &issuer()] {
            let outcome = judged(issuer, &signer.token(&claims(&[("cnf", &cnf)])), &keys);
            assert_eq!(kind(&outcome), "unbound", "{cnf}");
        }
    }
}

#[test]
fn sets_of_keys_are_read_whole_or_not_at_all() {
    let ec = Signer::ec("k");
    let rsa = Signer::rsa("r", "RS256");
    let member = |jwk: &str, text: &str| jwk.replacen('{', &format!("{{{text},"), 1);
    let set = |keys: &[&str]| format!(r#"{{"keys":[{}]}}"#, keys.join(","));
    let weak = format!(r#"{{"kty":"RSA","n":"{}","e":"AQAB"}}"#, b64([0xc5; 128]));
    let three = format!(r#"{{"kty":"RSA","n":"{}","e":"Aw"}}"#, b64([0xc5; 256]));
    let off_curve = format!(
        r#"{{"kty":"EC","crv":"P-256","x":"{0}","y":"{0}"}}"#,
        b64([7; 32])
    );
    for (text, expected) in [
        (set(&[&ec.jwk]), "1"),
        (set(&[&ec.jwk, &rsa.jwk]), "2"),
        (set(&[&ec.jwk, r#"{"kty":"AKP","alg":"ML-DSA-44"}"#]), "1"),
        (set(&[&ec.jwk, r#"{"kty":"EC","crv":"secp256k1"}"#]), "1"),
        (set(&[&ec.jwk, &member(&rsa.jwk, r#""use":"enc""#)]), "1"),
        (
            set(&[&ec.jwk, &member(&rsa.jwk, r#""alg":"RSA-OAEP""#)]),
            "1",
        ),
        (
            set(&[&ec.jwk, &member(&rsa.jwk, r#""key_ops":["encrypt"]"#)]),
            "1",
        ),
        (set(&[&member(&ec.jwk, r#""alg":"ES256""#)]), "1"),
        (set(&[]), "no key"),
        (set(&[&member(&rsa.jwk, r#""use":"enc""#)]), "no key"),
        (set(&[&ec.jwk, &ec.jwk]), "same kid"),
        (set(&[&member(&ec.jwk, r#""d":"AAAA""#)]), "private key"),
        (set(&[&ec.jwk, r#"{"kty":"oct","k":"AAAA"}"#]), "secret"),
        (set(&[&ec.jwk, r#"{"kty":"oct"}"#]), "secret"),
        (
            set(&[&member(&rsa.jwk, r#""alg":"HS256""#)]),
            "no algorithm",
        ),
        (set(&[&member(&rsa.jwk, r#""alg":"none""#)]), "no algorithm"),
        (
            set(&[&member(&rsa.jwk, r#""alg":"ES256""#)]),
            "none of its kind",
        ),
        (
            set(&[&member(&ec.jwk, r#""alg":"RS256""#)]),
            "none of its kind",
        ),
        (set(&[&weak]), "1024 bits"),
        (set(&[&three]), "exponent"),
        (set(&[&off_curve]), "no point"),
        (set(&[r#"{"crv":"P-256"}"#]), "no kty"),
        (set(&["7"]), "no object"),
        (ec.jwk.clone(), "no list"),
        (format!(r#"{{"keys":{}}}"#, ec.jwk), "no list"),
        (format!(r#"{{"keys":[{0}],"keys":[{0}]}}"#, ec.jwk), "twice"),
        (set(&vec!["{}"; 65]), "more than 64"),
        ("-----BEGIN PUBLIC KEY-----".to_owned(), "invalid number"),
        (String::new(), "EOF"),
        (" ".repeat(256 * 1024 + 1), "256 KiB"),
    ] {
        let told = KeySet::parse(text.as_bytes())
            .map_or_else(|error| error.to_string(), |set| set.len().to_string());
        assert!(told.contains(expected), "{text:.80}: {told}");
    }
    // Without kid only where one key is meant.
    let keys = key_set(&[&ec.jwk, &Signer::ec("l").jwk, &rsa.jwk]);
    let bare = |alg: &str| format!(r#"{{"alg":"{alg}"}}"#);
    let outcome = judged(&issuer(), &ec.token_of(&bare("ES256"), &claims(&[])), &keys);
    assert_eq!(kind(&outcome), "malformed");
    let outcome = judged(
        &issuer(),
        &rsa.token_of(&bare("RS256"), &claims(&[])),
        &keys,
    );
    assert_eq!(kind(&outcome), "good");
}

#[test]
fn what_a_set_publishes_no_more_is_withdrawn_whatever_else_is_wrong_there() {
    let (one, two) = (Signer::ec("one"), Signer::rsa("two", "RS256"));
    let same_id = Signer::rsa("one", "RS256");
    // RFC 7517 §4.5.
    assert_eq!(key_set(&[&one.jwk, &same_id.jwk]).len(), 2);
    let held = key_set(&[&one.jwk, &two.jwk]);
    let leaked = one.jwk.replacen('{', r#"{"d":"AAAA","#, 1);
    let new = Signer::ec("new").jwk;
    let oct = r#"{"kty":"oct","k":"AAAA"}"#;
    for (published, left) in [
        (vec![&*one.jwk, &*two.jwk, oct], 2),
        (vec![&*two.jwk, oct], 1),
        (vec![&*leaked, &*two.jwk], 1),
        (vec![&*leaked], 0),
        (vec![&*new, oct], 0),
        (vec![], 0),
    ] {
        let text = format!(r#"{{"keys":[{}]}}"#, published.join(","));
        let remaining = held.remaining(text.as_bytes()).unwrap();
        let count = remaining.as_ref().map_or(0, KeySet::len);
        assert_eq!(count, left, "{text}");
    }
    for text in ["", "<html>", "{}", r#"{"keys":{}}"#, "[]"] {
        assert!(held.remaining(text.as_bytes()).is_err(), "{text}");
    }
}

#[test]
fn faults_do_not_quote_the_token() {
    let signer = Signer::ec("k");
    let keys = key_set(&[&signer.jwk]);
    let secret = "s3cret-claim";
    let quoted = format!(r#""{secret}""#);
    for name in ["iss", "aud", "exp", "nbf", "cnf"] {
        let token = signer.token(&claims(&[(name, &quoted)]));
        let fault = judged(&issuer(), &token, &keys).unwrap_err();
        assert!(!format!("{fault} {fault:?}").contains(secret), "{fault}");
    }
    let claims = Json::parse(claims(&[]).as_bytes()).unwrap();
    assert!(claims.get("scope").is_some());
}
