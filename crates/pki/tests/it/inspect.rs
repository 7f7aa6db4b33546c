use countersign_pki::crl::{CrlEntry, CrlScope, CrlTemplate, Holders, ParsedCrl};
use countersign_pki::feed::RevocationReason;
use countersign_pki::inspect::{self, Validity};
use countersign_pki::name::Uri;
use countersign_pki::request::{CertificateRequest, RequestToBeSigned};
use countersign_pki::tbs::SignatureAlgorithm;
use rcgen::{PublicKeyData as _, SigningKey as _};

use crate::forge::{COMMON_NAME, Forge, UTF8, authority, dn, key, name, time};

#[test]
fn a_certificate_is_shown_to_people_and_programs() {
    let (root, _) = authority(None);
    let leaf = Forge::leaf(&root).parse();
    let view = inspect::certificate(&leaf, time("2026-07-01T00:00:00Z"));
    let text = view.to_string();
    for line in [
        "subject      CN=api\n",
        "names        dns:api.example.com\n",
        "issuer       CN=Root,O=Example\n",
        "serial       40010203040506070809\n",
        "valid        2026-06-01T00:00:00Z to 2026-08-01T00:00:00Z (31 d left)\n",
        "key          ECDSA P-256\n",
        "kind         leaf\n",
        "key usage    digitalSignature\n",
        "purposes     clientAuth\n",
        "extensions   basicConstraints (critical), keyUsage (critical), extendedKeyUsage, ",
    ] {
        assert!(text.contains(line), "{line:?} in\n{text}");
    }
    let json = serde_json::to_value(&view).expect("serializes");
    assert_eq!(json["type"], "certificate");
    assert_eq!(json["validity"], "valid");
    assert_eq!(json["subject_alt_names"][0], "dns:api.example.com");
    assert_eq!(json["ca"], false);
}

#[test]
fn validity_is_judged_to_the_second() {
    let leaf = Forge::leaf(&authority(None).0).parse();
    for (now, expected, shown) in [
        (
            "2026-05-31T23:59:59Z",
            Validity::NotYetValid,
            "valid in 1 s",
        ),
        ("2026-06-01T00:00:00Z", Validity::Valid, "61 d left"),
        ("2026-08-01T00:00:00Z", Validity::Valid, "0 s left"),
        ("2026-08-01T03:00:00Z", Validity::Expired, "expired 3 h ago"),
    ] {
        let view = inspect::certificate(&leaf, time(now));
        assert_eq!(view.validity, expected, "{now}");
        assert!(view.to_string().contains(shown), "{view}");
    }
}

#[test]
fn a_name_cannot_turn_or_hide_text() {
    let subject = name(&[(COMMON_NAME, UTF8, "a\u{202e}b\u{200b}c".as_bytes())]);
    let leaf = Forge {
        subject,
        ..Forge::leaf(&authority(None).0)
    }
    .parse();
    let text = inspect::certificate(&leaf, time("2026-07-01T00:00:00Z")).to_string();
    assert!(text.contains("CN=a\\u{202e}b\\u{200b}c\n"), "{text}");
}

#[test]
fn requests_and_lists_are_shown() {
    let (root, root_key) = authority(None);
    let key = key();
    let to_be_signed =
        RequestToBeSigned::new(&dn("CN=api"), &key.subject_public_key_info()).expect("builds");
    let request = CertificateRequest::parse(
        &to_be_signed.complete(&key.sign(to_be_signed.bytes()).expect("a signature")),
    )
    .expect("a good request");
    let text = inspect::request(&request).to_string();
    assert!(
        text.contains("subject      CN=api\nkey          ECDSA P-256\n"),
        "{text}"
    );

    let revoked_at = time("2026-05-01T00:00:00Z");
    let entries = (1..=60).map(|serial| CrlEntry {
        serial: format!("{serial:02x}").parse().expect("a serial"),
        revoked_at,
        reason: RevocationReason::Superseded,
        invalid_since: None,
    });
    let template = CrlTemplate {
        this_update: time("2026-06-01T00:00:00Z"),
        next_update: time("2026-07-01T00:00:00Z"),
        number: 7,
        scope: CrlScope {
            distribution_point: Some(Uri::parse("http://a.b/7.crl").expect("a URI")),
            holders: Holders::Users,
        },
    };
    let entries: Vec<CrlEntry> = entries.collect();
    let to_be_signed = template.to_be_signed(&root, SignatureAlgorithm::EcdsaP256Sha256, &entries);
    let signature = root_key.sign(to_be_signed.bytes()).expect("a signature");
    let crl = ParsedCrl::parse(&to_be_signed.complete(&signature)).expect("decodes");
    let view = inspect::crl(&crl, time("2026-07-01T00:00:01Z"));
    let text = view.to_string();
    for line in [
        "issuer       CN=Root,O=Example\n",
        "(out of date)\n",
        "number       7\n",
        "covers       user certificates of http://a.b/7.crl\n",
        "revoked      60\n",
        "01 since 2026-05-01T00:00:00Z, superseded\n",
        "… and 10 more\n",
    ] {
        assert!(text.contains(line), "{line:?} in\n{text}");
    }
    assert_eq!(
        serde_json::to_value(&view).expect("serializes")["revoked"]
            .as_array()
            .map(Vec::len),
        Some(60)
    );
}
