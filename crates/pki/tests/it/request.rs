use countersign_pki::dn::DistinguishedName;
use countersign_pki::request::{CertificateRequest, RequestToBeSigned};
use der::Decode as _;
use rcgen::{
    CertificateParams, ExtendedKeyUsagePurpose, KeyPair, PublicKeyData as _, SigningKey as _,
};

use crate::certificate::rsa_spki;
use crate::forge::{BIT_STRING, INTEGER, OID, SEQUENCE, dn, key, names, tlv};

fn rcgen_request(key: &KeyPair) -> Vec<u8> {
    let mut params =
        CertificateParams::new(vec!["api.example.com".to_owned(), "10.0.0.1".to_owned()])
            .expect("params");
    params.distinguished_name = rcgen::DistinguishedName::new();
    params
        .distinguished_name
        .push(rcgen::DnType::CommonName, "api");
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params
        .serialize_request(key)
        .expect("a request")
        .der()
        .to_vec()
}

#[test]
fn requests_of_rcgen_are_read_and_their_signatures_verified() {
    for (algorithm, expected) in [
        (&rcgen::PKCS_ECDSA_P256_SHA256, "ECDSA P-256"),
        (&rcgen::PKCS_ECDSA_P384_SHA384, "ECDSA P-384"),
        (&rcgen::PKCS_ED25519, "Ed25519"),
        (&rcgen::PKCS_ML_DSA_44, "ML-DSA-44"),
        (&rcgen::PKCS_ML_DSA_65, "ML-DSA-65"),
        (&rcgen::PKCS_ML_DSA_87, "ML-DSA-87"),
        (&rcgen::PKCS_RSA_SHA256, "RSA 2048"),
    ] {
        let key = KeyPair::generate_for(algorithm).expect("a key");
        let der = rcgen_request(&key);
        let request = CertificateRequest::parse(&der).expect("a good request");
        assert_eq!(request.public_key_algorithm().to_string(), expected);
        assert_eq!(request.der(), der);
        assert_eq!(request.spki_der(), key.subject_public_key_info());
        assert_eq!(request.subject().to_string(), "CN=api");
        assert_eq!(
            request.subject_alt_names(),
            names(&["dns:api.example.com", "ip:10.0.0.1"])
        );
        assert_eq!(request.ignored_extensions(), ["extendedKeyUsage"]);
    }
}

#[test]
fn what_is_built_here_is_read_here() {
    let key = key();
    for subject in [DistinguishedName::default(), dn("CN=api,O=Example")] {
        let to_be_signed =
            RequestToBeSigned::new(&subject, &key.subject_public_key_info()).expect("builds");
        let der = to_be_signed.complete(&key.sign(to_be_signed.bytes()).expect("a signature"));
        let request = CertificateRequest::parse(&der).expect("a good request");
        assert_eq!(request.subject(), &subject);
        assert!(request.subject_alt_names().is_empty() && request.ignored_extensions().is_empty());
        assert!(x509_cert::request::CertReq::from_der(&der).is_ok());
    }
}

#[test]
fn requests_are_built_for_kinds_that_can_sign_them_alone() {
    for kind in [
        &rcgen::PKCS_ECDSA_P256_SHA256,
        &rcgen::PKCS_ECDSA_P384_SHA384,
        &rcgen::PKCS_ED25519,
        &rcgen::PKCS_ML_DSA_44,
        &rcgen::PKCS_ML_DSA_65,
        &rcgen::PKCS_ML_DSA_87,
        &rcgen::PKCS_RSA_SHA256,
    ] {
        let key = KeyPair::generate_for(kind).expect("a key");
        let to_be_signed =
            RequestToBeSigned::new(&dn("CN=a"), &key.subject_public_key_info()).expect("builds");
        let mut signature = key.sign(to_be_signed.bytes()).expect("a signature");
        CertificateRequest::parse(&to_be_signed.complete(&signature)).expect("a good request");
        *signature.last_mut().expect("not empty") ^= 1;
        check(
            &to_be_signed.complete(&signature),
            "signature does not verify",
        );
    }
    let p521 = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P521_SHA512).expect("a key");
    let fault =
        RequestToBeSigned::new(&dn("CN=a"), &p521.subject_public_key_info()).expect_err("P-521");
    assert!(fault.why.contains("ECDSA P-521"), "{fault}");
    assert!(RequestToBeSigned::new(&dn("CN=a"), &[0x30, 0]).is_err());
}

#[test]
fn a_request_by_another_key_is_refused() {
    let (key, other) = (key(), key());
    let to_be_signed =
        RequestToBeSigned::new(&dn("CN=a"), &key.subject_public_key_info()).expect("builds");
    let der = to_be_signed.complete(&other.sign(to_be_signed.bytes()).expect("a signature"));
    check(&der, "signature does not verify");
    check(&to_be_signed.complete(&[]), "signature does not verify");
}

#[test]
fn weak_keys_and_unknown_algorithms_are_refused() {
    let request = |spki: Vec<u8>, algorithm: &[u8]| {
        let info = tlv(
            SEQUENCE,
            &[tlv(INTEGER, &[0]), tlv(SEQUENCE, &[]), spki, tlv(0xa0, &[])].concat(),
        );
        tlv(
            SEQUENCE,
            &[
                info,
                tlv(SEQUENCE, &tlv(OID, algorithm)),
                tlv(BIT_STRING, &[0, 1]),
            ]
            .concat(),
        )
    };
    check(
        &request(rsa_spki(1024), &[0x2a, 3, 4]),
        "RSA 1024, which is too weak",
    );
    check(
        &request(key().subject_public_key_info(), &[0x2a, 3, 4]),
        "signatures of 1.2.3.4 by a key of ECDSA P-256 cannot be verified",
    );
}

#[test]
fn no_cut_and_no_changed_byte_passes() {
    let der = rcgen_request(&key());
    for end in 0..der.len() {
        assert!(
            CertificateRequest::parse(&der[..end]).is_err(),
            "cut at {end}"
        );
    }
    check(&[&der[..], &[0]].concat(), "1 bytes follow the request");
    check(&vec![0x30; 70_000], "70000 bytes");
    for at in 0..der.len() {
        let mut spoilt = der.clone();
        spoilt[at] ^= 1;
        assert!(CertificateRequest::parse(&spoilt).is_err(), "byte {at}");
    }
}

fn check(der: &[u8], why: &str) {
    let fault = CertificateRequest::parse(der).expect_err(why);
    assert!(
        fault.why.contains(why),
        "expected {why:?}, got {:?}",
        fault.why
    );
}

#[test]
fn request_of_an_authority_asks_to_be_one() {
    let key = key();
    let spki = key.subject_public_key_info();
    let request = RequestToBeSigned::for_authority(&dn("CN=Sub"), &spki, 0).expect("encodes");
    let signature = key.sign(request.bytes()).expect("signs");
    let read = CertificateRequest::parse(&request.complete(&signature)).expect("reads");
    assert!(read.wishes().wants_ca);
    assert_eq!(read.subject(), &dn("CN=Sub"));
    assert_eq!(read.ignored_extensions(), ["basicConstraints", "keyUsage"]);
}
