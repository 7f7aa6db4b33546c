//! Tokens and key sets: whatever bytes come, nothing is believed that was not signed, and nothing is quoted.

use std::panic::AssertUnwindSafe;
use std::time::Duration;

use countersign_policy::token::{Algorithm, Json, KeySet, TokenIssuer, named_issuer};

fn issuer() -> TokenIssuer {
    TokenIssuer {
        name: "corp".to_owned(),
        issuer: "i".to_owned(),
        audience: vec!["a".to_owned()],
        algorithms: Algorithm::ALL.to_vec(),
        clock_skew: Duration::from_secs(30),
        max_lifetime: Duration::from_hours(1),
        require_binding: false,
    }
}

#[test]
fn nothing_unsigned_is_a_token() {
    // RFC 8037 §A.2: nobody here has its private half.
    let keys = KeySet::parse(
        br#"{"keys":[{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#,
    )
    .expect("a set of keys");
    // What is only read is whole after a panic.
    let keys = AssertUnwindSafe(keys);
    bolero::check!().for_each(|bytes: &[u8]| {
        let Ok(text) = std::str::from_utf8(bytes) else {
            return;
        };
        let _ = named_issuer(text);
        assert!(issuer().verify(text, &keys).is_err());
    });
}

#[test]
fn sets_of_keys_are_read_without_a_crash() {
    bolero::check!().for_each(|bytes: &[u8]| {
        if let Ok(set) = KeySet::parse(bytes) {
            assert!(!set.is_empty());
        }
    });
}

#[test]
fn json_that_is_read_is_json_to_others_too() {
    bolero::check!().for_each(|bytes: &[u8]| {
        if let Ok(json) = Json::parse(bytes) {
            serde_json::from_slice::<serde_json::Value>(bytes).expect("JSON");
            let _ = json.get("a");
            let _ = json.pointed("/a/b");
        }
    });
}
