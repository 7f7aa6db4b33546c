use countersign_pki::certificate::Certificate;
use countersign_pki::crl::{CrlScope, CrlTemplate, Holders, ParsedCrl};
use countersign_pki::name::Uri;
use countersign_pki::tbs::{StatusSources, Template, Usage};

use super::{ECDSA, signed, template};
use crate::forge::{
    self, BIT_STRING, ECDSA_SHA256, Forge, INTEGER, OID, SEQUENCE, authority, dn, extension, key,
    sign, tlv,
};

const CRL_DISTRIBUTION_POINTS: &[u8] = &[0x55, 0x1d, 31];
const ISSUING_DISTRIBUTION_POINT: &[u8] = &[0x55, 0x1d, 28];

fn shard(number: u8) -> Uri {
    Uri::parse(&format!("http://a.b/{number}.crl")).expect("a URI of the test")
}

/// A list with one extension, unsigned.
fn with_extension(extension: &[u8]) -> Result<ParsedCrl, String> {
    let algorithm = tlv(SEQUENCE, &tlv(OID, ECDSA_SHA256));
    let fields = [
        tlv(INTEGER, &[1]),
        algorithm.clone(),
        dn("CN=a").to_der(),
        tlv(0x17, b"260601000000Z"),
        tlv(0xa0, &tlv(SEQUENCE, extension)),
    ];
    let parts = [
        tlv(SEQUENCE, &fields.concat()),
        algorithm,
        tlv(BIT_STRING, &[0, 1]),
    ];
    ParsedCrl::parse(&tlv(SEQUENCE, &parts.concat())).map_err(|fault| fault.why)
}

fn with_scope(critical: bool, fields: &[u8]) -> Result<ParsedCrl, String> {
    with_extension(&extension(
        ISSUING_DISTRIBUTION_POINT,
        critical,
        &tlv(SEQUENCE, fields),
    ))
}

fn full_name(names: &[u8]) -> Vec<u8> {
    tlv(0xa0, &tlv(0xa0, names))
}

#[test]
fn a_scope_is_critical_and_read_as_it_was_written() {
    let (root, root_key) = authority(None);
    for distribution_point in [None, Some(shard(7))] {
        for holders in [Holders::All, Holders::Authorities, Holders::Users] {
            let scope = CrlScope {
                distribution_point: distribution_point.clone(),
                holders,
            };
            let template = CrlTemplate {
                scope: scope.clone(),
                ..template()
            };
            let crl = signed(template.to_be_signed(&root, ECDSA, &[]), &root_key);
            assert_eq!(crl.scope(), Some(&scope));
            assert_eq!(crl.verify(&root), Ok(()));
            let said = [tlv(OID, ISSUING_DISTRIBUTION_POINT), vec![0x01, 0x01, 0xff]].concat();
            let critical = crl.der().windows(said.len()).any(|window| window == said);
            assert_eq!(critical, scope != CrlScope::default(), "{scope}");
        }
    }
}

#[test]
fn a_scope_that_cannot_be_judged_makes_the_list_unusable() {
    let uri = tlv(0x86, b"http://a.b/7.crl");
    let directory = tlv(0xa4, &dn("CN=a").to_der());
    let (root, _) = authority(None);
    let own_name = Forge {
        subject: dn("CN=a").to_der(),
        ..Forge::leaf(&root)
    }
    .parse();
    for fields in [
        // onlySomeReasons, indirectCRL, onlyContainsAttributeCerts.
        tlv(0x83, &[1, 0x40]),
        tlv(0x84, &[0xff]),
        tlv(0x85, &[0xff]),
        [full_name(&uri), tlv(0x84, &[0xff])].concat(),
        full_name(&directory),
        full_name(&[uri.clone(), uri.clone()].concat()),
        full_name(&[]),
        full_name(&tlv(0x86, b"no uri")),
        full_name(&tlv(0x86, &[0xff])),
        // nameRelativeToCRLIssuer.
        tlv(0xa0, &tlv(0xa1, &[])),
    ] {
        for critical in [true, false] {
            let crl = with_scope(critical, &fields).expect("decodes");
            assert_eq!(crl.scope(), None, "{fields:x?}");
            assert_eq!(crl.unknown_critical_extensions(), ["2.5.29.28"]);
            let fault = crl.verify(&own_name).expect_err("unusable");
            assert!(fault.why.contains("not known here: 2.5.29.28"), "{fault}");
        }
    }
    let both = [full_name(&[uri, directory].concat()), tlv(0x81, &[0xff])].concat();
    let crl = with_scope(true, &both).expect("decodes");
    assert_eq!(
        crl.scope().map(ToString::to_string).as_deref(),
        Some("user certificates of http://a.b/7.crl")
    );
}

#[test]
fn malformed_scopes_are_refused() {
    for (fields, why) in [
        (tlv(0x81, &[1]), "not a DER BOOLEAN"),
        (tlv(0x82, &[]), "not a DER BOOLEAN"),
        (
            [tlv(0x81, &[0xff]), tlv(0x82, &[0xff])].concat(),
            "both onlyContainsUserCerts and onlyContainsCACerts",
        ),
        (
            [tlv(0x82, &[0xff]), tlv(0x81, &[0xff])].concat(),
            "bytes follow",
        ),
        (tlv(0x86, &[0xff]), "bytes follow"),
        (tlv(0xa0, &[]), "not DER"),
        (vec![0x81], "not DER"),
    ] {
        let fault = with_scope(true, &fields).expect_err(why);
        assert!(fault.contains(why), "{fault}, not {why}");
    }
}

#[test]
fn unknown_critical_extensions_and_deltas_make_the_list_unusable() {
    let (root, _) = authority(None);
    for (oid, critical, shown) in [
        (&[0x2a, 3, 4][..], true, Some("1.2.3.4")),
        (&[0x2a, 3, 4], false, None),
        (&[0x55, 0x1d, 27], true, Some("2.5.29.27")),
        (&[0x55, 0x1d, 27], false, Some("2.5.29.27")),
    ] {
        let crl = with_extension(&extension(oid, critical, &tlv(INTEGER, &[1]))).expect("decodes");
        assert_eq!(crl.unknown_critical_extensions(), shown.as_slice());
        let fault = crl.verify(&root).expect_err("unsigned");
        assert_eq!(fault.why.contains("not known here"), shown.is_some());
    }
}

fn holder(uri: Option<Uri>, usage: Usage) -> Certificate {
    let (root, root_key) = authority(None);
    let template = Template {
        status_sources: StatusSources {
            crl: uri,
            ..StatusSources::default()
        },
        ..forge::template("CN=api", &key(), usage)
    };
    sign(
        &template.to_be_signed(&root, ECDSA).expect("encodes"),
        &root_key,
    )
}

#[test]
fn a_list_covers_its_own_shard_and_kind_only() {
    let leaf = Usage::Leaf {
        server_auth: true,
        client_auth: true,
    };
    let authority = Usage::Authority { path_len: Some(0) };
    let check = |point: Option<Uri>, holders: Holders, covered: [bool; 4]| {
        let scope = CrlScope {
            distribution_point: point,
            holders,
        };
        let found = [
            holder(None, leaf.clone()),
            holder(Some(shard(7)), leaf.clone()),
            holder(Some(shard(8)), leaf.clone()),
            holder(Some(shard(7)), authority.clone()),
        ]
        .map(|certificate| scope.covers(&certificate));
        assert_eq!(found, covered, "{scope}");
    };
    check(None, Holders::All, [true; 4]);
    check(None, Holders::Users, [true, true, true, false]);
    check(None, Holders::Authorities, [false, false, false, true]);
    check(Some(shard(7)), Holders::All, [false, true, false, true]);
    check(Some(shard(7)), Holders::Users, [false, true, false, false]);
    check(Some(shard(9)), Holders::All, [false; 4]);
}

#[test]
fn distribution_points_that_say_less_than_a_uri_are_none() {
    let (root, _) = authority(None);
    let uris = |points: &[u8]| -> Vec<String> {
        let value = tlv(SEQUENCE, points);
        let mut forge = Forge::leaf(&root);
        forge
            .extensions
            .push(extension(CRL_DISTRIBUTION_POINTS, false, &value));
        let certificate = forge.parse();
        certificate
            .crl_uris()
            .into_iter()
            .map(str::to_owned)
            .collect()
    };
    let name = |uri: &[u8]| full_name(&tlv(0x86, uri));
    let two = [
        tlv(SEQUENCE, &name(b"http://a.b/1")),
        tlv(SEQUENCE, &name(b"http://a.b/2")),
    ];
    assert_eq!(uris(&two.concat()), ["http://a.b/1", "http://a.b/2"]);
    for point in [
        vec![],
        // With reasons; with another cRLIssuer; relative.
        [name(b"http://a.b/1"), tlv(0x81, &[1, 0x40])].concat(),
        [name(b"http://a.b/1"), tlv(0xa2, &[])].concat(),
        tlv(0xa0, &tlv(0xa1, &[])),
        vec![0xa0],
    ] {
        assert_eq!(uris(&tlv(SEQUENCE, &point)), [""; 0], "{point:x?}");
    }
    assert_eq!(uris(&[2, 1, 1]), [""; 0]);
}
