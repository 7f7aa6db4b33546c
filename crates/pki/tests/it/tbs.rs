use countersign_pki::certificate::{Certificate, ExtendedKeyUsage};
use countersign_pki::lint;
use countersign_pki::name::Uri;
use countersign_pki::tbs::{SignatureAlgorithm, StatusSources, Template, TemplateError, Usage};
use countersign_pki::time::UnixTime;
use der::asn1::Ia5String;
use der::{Decode as _, Encode as _};
use rcgen::{CertificateParams, IsCa};
use x509_cert::ext::pkix::name::{DistributionPointName, GeneralName};
use x509_cert::ext::pkix::{AuthorityInfoAccessSyntax, CrlDistributionPoints};

use crate::forge::{Forge, authority, dn, key, names, sign, template, time};

const BOTH: Usage = Usage::Leaf {
    server_auth: true,
    client_auth: true,
};
const ECDSA: SignatureAlgorithm = SignatureAlgorithm::EcdsaP256Sha256;

fn leaf(subject: &str, alt_names: &[&str]) -> Template {
    Template {
        subject_alt_names: names(alt_names),
        ..template(subject, &key(), BOTH)
    }
}

#[test]
fn a_root_is_what_strict_verifiers_want() {
    let (root, _) = authority(Some(1));
    assert_eq!(
        (root.version(), root.is_ca(), root.path_len()),
        (3, true, Some(1))
    );
    assert!(root.basic_constraints_critical() && root.key_usage_critical());
    assert_eq!(
        root.key_usage().map(|usage| usage.listed()),
        Some(vec!["keyCertSign", "cRLSign"])
    );
    assert_eq!(root.subject_key_id().map(<[u8]>::len), Some(20));
    assert_eq!(root.authority_key_id(), root.subject_key_id());
    assert_eq!(root.extended_key_usage(), None);
    assert_eq!(root.issuer(), root.subject());
    assert_eq!(lint::check(&root, None), []);
}

#[test]
fn a_leaf_says_what_its_template_says() {
    let (root, root_key) = authority(None);
    let alt_names = [
        "spiffe://example.com/api",
        "dns:api.example.com",
        "ip:10.0.0.1",
        "ip:2001:db8::1",
        "email:a@example.com",
    ];
    let template = leaf("CN=api,O=Example", &alt_names);
    let to_be_signed = template.to_be_signed(&root, ECDSA).expect("encodes");
    let made = sign(&to_be_signed, &root_key);
    assert_eq!(made.subject_alt_names(), template.subject_alt_names);
    assert_eq!(
        (made.subject(), made.issuer(), made.serial()),
        (&template.subject, root.subject(), template.serial)
    );
    assert_eq!(
        (made.not_before(), made.not_after()),
        (template.not_before, template.not_after)
    );
    assert_eq!(made.spki_der(), template.spki_der);
    assert_eq!(made.authority_key_id(), root.subject_key_id());
    assert_eq!(
        made.key_usage().map(|usage| usage.listed()),
        Some(vec!["digitalSignature"])
    );
    assert_eq!(
        made.extended_key_usage().map(ExtendedKeyUsage::listed),
        Some(vec!["serverAuth".to_owned(), "clientAuth".to_owned()])
    );
    assert!(!made.is_ca() && made.basic_constraints_critical() && !made.san_critical());
    assert_eq!(made.to_be_signed(), to_be_signed.bytes());
    assert_eq!(lint::check(&made, Some(&root)), []);
    let oracle = x509_cert::Certificate::from_der(made.der()).expect("another parser reads it");
    assert_eq!(
        oracle.to_der().expect("and writes it the same"),
        made.der().as_ref()
    );
}

#[test]
fn an_ocsp_responder_signs_answers_and_nothing_else() {
    let (root, root_key) = authority(None);
    let responder = Template {
        not_after: time("2026-01-08T00:00:00Z"),
        ..template("CN=OCSP responder", &key(), Usage::OcspResponder)
    };
    let made = sign(
        &responder.to_be_signed(&root, ECDSA).expect("encodes"),
        &root_key,
    );
    assert_eq!(
        made.extended_key_usage().map(ExtendedKeyUsage::listed),
        Some(vec!["OCSPSigning".to_owned()])
    );
    assert_eq!(
        made.key_usage().map(|usage| usage.listed()),
        Some(vec!["digitalSignature"])
    );
    assert!(!made.is_ca() && made.has_ocsp_no_check());
    let no_check = made
        .extensions()
        .find(|extension| extension.name() == Some("ocspNoCheck"))
        .expect("there");
    assert_eq!((no_check.critical, no_check.value), (false, &[5, 0][..]));
    assert_eq!(lint::check(&made, Some(&root)), []);
    let ordinary = sign(
        &leaf("CN=api", &["dns:a.b"])
            .to_be_signed(&root, ECDSA)
            .expect("encodes"),
        &root_key,
    );
    assert!(!ordinary.has_ocsp_no_check());
}

#[test]
fn a_certificate_says_where_its_status_is_told() {
    let (root, root_key) = authority(None);
    let uri = |text: &str| Some(Uri::parse(text).expect("a URI of the test"));
    let made = |status_sources: StatusSources| {
        let template = Template {
            status_sources,
            ..leaf("CN=api", &["dns:a.b"])
        };
        sign(
            &template.to_be_signed(&root, ECDSA).expect("encodes"),
            &root_key,
        )
    };
    let full = made(StatusSources {
        crl: uri("http://a.b/7.crl"),
        ocsp: uri("http://a.b/ocsp"),
        ca_issuers: uri("http://a.b/ca.der"),
    });
    assert_eq!(lint::check(&full, Some(&root)), []);
    let oracle = x509_cert::Certificate::from_der(full.der()).expect("another parser reads it");
    let (critical, points) = oracle
        .tbs_certificate()
        .get_extension::<CrlDistributionPoints>()
        .expect("decodes")
        .expect("there");
    assert!(!critical && points.0.len() == 1);
    assert_eq!(
        points.0[0].distribution_point,
        Some(DistributionPointName::FullName(vec![general_name(
            "http://a.b/7.crl"
        )]))
    );
    let (critical, access) = oracle
        .tbs_certificate()
        .get_extension::<AuthorityInfoAccessSyntax>()
        .expect("decodes")
        .expect("there");
    assert!(!critical);
    assert_eq!(
        access
            .0
            .iter()
            .map(|description| (
                description.access_method.to_string(),
                description.access_location.clone()
            ))
            .collect::<Vec<_>>(),
        [
            (
                "1.3.6.1.5.5.7.48.1".to_owned(),
                general_name("http://a.b/ocsp")
            ),
            (
                "1.3.6.1.5.5.7.48.2".to_owned(),
                general_name("http://a.b/ca.der")
            )
        ]
    );
    let listed = |certificate: &Certificate| -> Vec<&str> {
        certificate
            .extensions()
            .filter_map(|extension| extension.name())
            .filter(|name| ["cRLDistributionPoints", "authorityInfoAccess"].contains(name))
            .collect()
    };
    assert_eq!(
        listed(&full),
        ["cRLDistributionPoints", "authorityInfoAccess"]
    );
    assert_eq!(listed(&made(StatusSources::default())), [""; 0]);
    let only_crl = StatusSources {
        crl: uri("http://a.b/7.crl"),
        ..StatusSources::default()
    };
    assert_eq!(listed(&made(only_crl)), ["cRLDistributionPoints"]);
    let only_ocsp = StatusSources {
        ocsp: uri("http://a.b/ocsp"),
        ..StatusSources::default()
    };
    assert_eq!(listed(&made(only_ocsp)), ["authorityInfoAccess"]);
}

fn general_name(uri: &str) -> GeneralName {
    GeneralName::UniformResourceIdentifier(Ia5String::new(uri).expect("ASCII"))
}

#[test]
fn the_preview_is_the_certificate_without_its_signature() {
    let (root, root_key) = authority(None);
    let to_be_signed = leaf("CN=api", &["dns:a.b"])
        .to_be_signed(&root, ECDSA)
        .expect("encodes");
    let (preview, made) = (
        to_be_signed.preview().expect("decodes"),
        sign(&to_be_signed, &root_key),
    );
    assert_eq!(preview.to_be_signed(), made.to_be_signed());
    assert_eq!(preview.names(), made.names());
    assert!(preview.signature().is_empty());
    assert!(!made.signature().is_empty());
}

#[test]
fn alt_names_are_critical_exactly_when_the_subject_is_empty() {
    let (root, _) = authority(None);
    for (subject, critical) in [("", true), ("CN=api", false)] {
        let preview = leaf(subject, &["dns:a.b"])
            .to_be_signed(&root, ECDSA)
            .expect("encodes")
            .preview()
            .expect("decodes");
        assert_eq!(preview.san_critical(), critical, "{subject}");
    }
}

#[test]
fn times_are_utc_until_2049_and_generalized_from_2050() {
    let (root, _) = authority(None);
    for (end, tag) in [
        ("2049-12-31T23:59:59Z", 0x17),
        ("2050-01-01T00:00:00Z", 0x18),
        ("9999-12-31T23:59:59Z", 0x18),
    ] {
        let template = Template {
            not_after: time(end),
            ..leaf("CN=api", &[])
        };
        let to_be_signed = template.to_be_signed(&root, ECDSA).expect("encodes");
        assert_eq!(
            to_be_signed.preview().expect("decodes").not_after(),
            time(end)
        );
        let digits: String = end.chars().filter(char::is_ascii_digit).collect();
        let digits = format!(
            "{}Z",
            if tag == 0x17 {
                &digits[2..]
            } else {
                &digits[..]
            }
        );
        let encoded = [
            &[tag, u8::try_from(digits.len()).unwrap()],
            digits.as_bytes(),
        ]
        .concat();
        assert!(
            to_be_signed
                .bytes()
                .windows(encoded.len())
                .any(|window| window == encoded),
            "{end}"
        );
    }
    assert!(time("2049-12-31T23:59:59Z") < UnixTime::MAX);
}

#[test]
fn the_issuer_field_is_the_issuers_subject_byte_for_byte() {
    let key = key();
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(
        rcgen::DnType::CommonName,
        rcgen::DnValue::PrintableString("Root".try_into().expect("printable")),
    );
    let issuer =
        Certificate::parse(params.self_signed(&key).expect("a root").der()).expect("decodes");
    let preview = leaf("CN=api", &["dns:a.b"])
        .to_be_signed(&issuer, ECDSA)
        .expect("encodes")
        .preview()
        .expect("decodes");
    assert_eq!(preview.issuer_der(), issuer.subject_der());
    assert_ne!(preview.issuer_der(), dn("CN=Root").to_der());
}

#[test]
fn an_issuer_without_key_identifier_gets_one_of_its_key() {
    let (root, _) = authority(None);
    let bare = Forge {
        spki: root.spki_der().to_vec(),
        extensions: Vec::new(),
        ..Forge::leaf(&root)
    }
    .parse();
    let preview = leaf("CN=api", &[])
        .to_be_signed(&bare, ECDSA)
        .expect("encodes")
        .preview()
        .expect("decodes");
    assert_eq!(preview.authority_key_id(), root.subject_key_id());
}

#[test]
fn what_cannot_be_a_certificate_is_not_encoded() {
    let (root, _) = authority(None);
    let fault = |template: Template| template.to_be_signed(&root, ECDSA).expect_err("a fault");
    assert_eq!(fault(leaf("", &[])), TemplateError::Nameless);
    assert_eq!(
        fault(Template {
            usage: Usage::Authority { path_len: None },
            ..leaf("", &["dns:a.b"])
        }),
        TemplateError::Nameless
    );
    assert_eq!(
        leaf("", &["dns:a.b"]).to_be_self_signed(ECDSA),
        Err(TemplateError::Nameless)
    );
    assert_eq!(
        fault(leaf("CN=api", &["cn:api"])),
        TemplateError::NotASubjectAltName {
            name: "cn:api".to_owned()
        }
    );
    let good = leaf("CN=api", &[]);
    for spki_der in [
        vec![],
        vec![0x30, 0],
        good.spki_der[..30].to_vec(),
        [&good.spki_der[..], &[0]].concat(),
    ] {
        assert_eq!(
            fault(Template {
                spki_der,
                ..good.clone()
            }),
            TemplateError::BadKey
        );
    }
}
