//! OCSP answers, as a responder or whoever stands between sends them. Nobody can sign one here, so none is accepted.

use std::time::Duration;

use countersign_pki::certificate::Certificate;
use countersign_pki::ocsp::{AnswerRules, OcspQuestion, OcspRefused};
use countersign_pki::pem;
use countersign_pki::time::UnixTime;

#[test]
fn answer_that_nobody_signed_is_refused_whatever_it_says() {
    let root = pem::decode_all(include_bytes!("chain/root.pem")).expect("PEM");
    let root = Certificate::parse(&root[0].der).expect("a root");
    let question = OcspQuestion::new(root.clone(), root.serial(), [7; 32]);
    bolero::check!().for_each(|bytes: &[u8]| {
        let rules = AnswerRules {
            signers: &[],
            max_age: Duration::from_hours(1),
        };
        let now = UnixTime::from_seconds(1_780_000_000);
        let refused = question.judge(bytes, &rules, |_| false, now);
        let refused = refused.expect_err("nobody holds the issuer's key");
        if bytes.is_empty() {
            assert!(matches!(refused, OcspRefused::Malformed { .. }));
        }
        assert!(refused.to_string().chars().count() < 2048);
    });
}
