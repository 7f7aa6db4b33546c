//! PKCS#12 of others, and what of it is refused. The vectors: Appendix A.1 of RFC 9579, and files of the test suite of
//! pyca/cryptography (Apache 2.0 or BSD), which OpenSSL and Java have made.

use countersign_pki::certificate::Certificate;
use countersign_pki::password::Password;
use countersign_pki::pbes2::Locked;
use countersign_pki::pkcs12::{self, Contents, Integrity};
use rcgen::{CertificateParams, KeyPair};

const PBMAC1: &[u8] = include_bytes!("pkcs12/rfc9579-a1.p12");
const AES: &[u8] = include_bytes!("pkcs12/cert-key-aes256cbc.p12");
const RC2_AND_3DES: &[u8] = include_bytes!("pkcs12/cert-rc2-key-3des.p12");
const PLAIN: &[u8] = include_bytes!("pkcs12/cert-none-key-none.p12");
const JAVA: &[u8] = include_bytes!("pkcs12/java-truststore.p12");

fn open(der: &[u8], password: &str) -> Result<Contents, Locked> {
    Contents::open(der, &Password::parse(password).expect("a password"))
}

fn check(der: &[u8], password: &str, keys: usize, certificates: usize, integrity: Integrity) {
    let contents = open(der, password).expect("opens");
    assert_eq!(contents.keys.len(), keys);
    assert_eq!(contents.certificates.len(), certificates);
    assert_eq!(contents.integrity, integrity);
    assert!(Contents::is_one(der));
}

#[test]
fn files_of_openssl_java_and_the_rfc_open() {
    let sha1 = Integrity::Hmac {
        digest: "SHA-1",
        iterations: 2048,
    };
    check(PBMAC1, "1234", 1, 1, Integrity::Pbmac1);
    check(AES, "cryptography", 1, 1, sha1);
    check(PLAIN, "cryptography", 1, 1, sha1);
    // No password at all, which PKCS#12 spells in two ways.
    let sha256 = Integrity::Hmac {
        digest: "SHA-256",
        iterations: 2048,
    };
    check(JAVA, "", 0, 2, sha256);
    let contents = open(JAVA, "").expect("opens");
    assert!(contents.certificates.iter().all(|entry| entry.is_trusted));
    assert!(contents.certificates[0].friendly_name.is_some());
}

#[test]
fn key_is_tied_to_its_certificate() {
    let contents = open(PBMAC1, "1234").expect("opens");
    let id = contents.keys[0].local_key_id.as_deref();
    assert!(id.is_some());
    assert_eq!(id, contents.certificates[0].local_key_id.as_deref());
    assert!(!contents.certificates[0].is_trusted);
    assert!(!format!("{contents:?}").contains("pkcs8"));
}

#[test]
fn wrong_password_is_told_from_a_scheme_that_is_not_read() {
    for (der, password) in [
        (PBMAC1, "1235"),
        (PBMAC1, ""),
        (AES, "Cryptography"),
        (PLAIN, "x"),
        (JAVA, "changeit"),
        (RC2_AND_3DES, "x"),
    ] {
        assert_eq!(open(der, password).err(), Some(Locked::WrongPassword));
    }
    let old = open(RC2_AND_3DES, "cryptography").expect_err("RC2");
    assert_eq!(
        old,
        Locked::Unsupported {
            algorithm: "40-bit RC2 under SHA-1".to_owned()
        }
    );
}

/// RFC 9579 §A.4 to §A.6: another iteration count, another salt, no key length.
#[test]
fn pbmac1_with_other_parameters_is_refused() {
    let changed = |from: &[u8], to: &[u8]| {
        let at = PBMAC1.windows(from.len()).rposition(|it| it == from);
        let mut der = PBMAC1.to_vec();
        let at = at.expect("there once");
        der[at..at + to.len()].copy_from_slice(to);
        open(&der, "1234").err()
    };
    let salt = b"\x6f\x47\x3c\x38\xb0\x2e\x31\x73";
    let whole = |iterations: &[u8], len: u8| {
        [&salt[..], b"\x02\x02", iterations, b"\x02\x01", &[len]].concat()
    };
    let told = whole(b"\x08\x00", 0x20);
    assert_eq!(changed(&told, &told), None);
    assert_eq!(
        changed(&told, &whole(b"\x08\x01", 0x20)),
        Some(Locked::WrongPassword)
    );
    assert_eq!(
        changed(salt, b"\x6f\x47\x3c\x38\xb0\x2e\x31\x74"),
        Some(Locked::WrongPassword)
    );
    for len in [0, 19, 0x21] {
        assert!(changed(&told, &whole(b"\x08\x00", len)).is_some(), "{len}");
    }
    // The key length gone: an INTEGER becomes the NULL that no PRF is.
    let without = changed(
        b"\x02\x01\x20\x30\x0c\x06\x08\x2a\x86\x48\x86\xf7\x0d\x02\x09",
        b"\x05\x01\x20",
    );
    assert!(
        matches!(without, Some(Locked::Malformed { .. })),
        "{without:?}"
    );
}

fn replaced(der: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    assert_eq!(from.len(), to.len());
    let mut der = der.to_vec();
    let mut at = 0;
    while let Some(found) = der[at..].windows(from.len()).position(|it| it == from) {
        der[at + found..at + found + to.len()].copy_from_slice(to);
        at += found + to.len();
    }
    der
}

#[test]
fn file_that_asks_for_too_much_work_is_refused_before_any_is_done() {
    // 2048 rounds become 0x7fff: harmless; three bytes are needed for more, so the salt gives up one.
    let der = replaced(
        PBMAC1,
        b"\x31\x73\x02\x02\x08\x00",
        b"\x02\x04\x7f\xff\xff\xff",
    );
    // The salt's own length is two less now.
    let der = replaced(
        &der,
        b"\x04\x08\x6f\x47\x3c\x38\xb0\x2e",
        b"\x04\x06\x6f\x47\x3c\x38\xb0\x2e",
    );
    assert_eq!(
        open(&der, "1234").err(),
        Some(Locked::Iterations {
            asked: 0x7fff_ffff,
            left: 6_000_000
        })
    );
    // MacData's own count, at the end of the file: 00 00 08 00 instead of 1 would need more room; take it from the salt.
    let len = PLAIN.len();
    let mut der = PLAIN.to_vec();
    assert_eq!(der[len - 4..], *b"\x02\x02\x08\x00");
    der[len - 6..].copy_from_slice(b"\x02\x04\x7f\xff\xff\xff");
    // The salt has two bytes less.
    der[len - 13] = 6;
    let refused = open(&der, "cryptography").err();
    assert!(
        matches!(
            refused,
            Some(Locked::Iterations {
                asked: 0x7fff_ffff,
                ..
            })
        ),
        "{refused:?}"
    );
    let none = replaced(
        PBMAC1,
        b"\x31\x73\x02\x02\x08\x00",
        b"\x31\x73\x02\x02\x00\x00",
    );
    assert!(open(&none, "1234").is_err());
}

#[test]
fn every_cut_and_every_flipped_bit_is_refused() {
    for len in 0..PLAIN.len() {
        assert!(open(&PLAIN[..len], "cryptography").is_err(), "{len}");
    }
    let (key, certificate) = {
        let contents = open(PLAIN, "cryptography").expect("opens");
        let certificate = contents.certificates[0].certificate.der().to_vec();
        (contents.keys[0].pkcs8.to_vec(), certificate)
    };
    for at in 0..PLAIN.len() {
        for bit in [1, 0x80] {
            let mut der = PLAIN.to_vec();
            der[at] ^= bit;
            // The MAC does not cover the way to it; what is read is what was written all the same.
            if let Ok(contents) = open(&der, "cryptography")
                && contents.integrity != Integrity::Absent
            {
                assert_eq!(contents.keys[0].pkcs8.as_slice(), key, "{at}");
                assert_eq!(
                    contents.certificates[0].certificate.der().as_ref(),
                    certificate
                );
            }
        }
    }
    let mut longer = PLAIN.to_vec();
    longer.push(0);
    assert!(open(&longer, "cryptography").is_err());
    assert!(open(&vec![0x30; 2 << 20], "x").is_err());
}

fn chain() -> (Vec<u8>, Vec<Certificate>) {
    let made = |name: &str| {
        let key = KeyPair::generate().expect("a key");
        let params = CertificateParams::new(vec![name.to_owned()]).expect("a name");
        let certificate = params.self_signed(&key).expect("signs");
        (
            key.serialize_der(),
            Certificate::parse(certificate.der()).expect("a certificate"),
        )
    };
    let (key, leaf) = made("leaf.example");
    let (_, ca) = made("ca.example");
    (key, vec![leaf, ca])
}

#[test]
fn written_identity_reads_back() {
    let (key, chain) = chain();
    let password = Password::parse_portable("correct horse").expect("a password");
    let der = pkcs12::identity(
        &key,
        &chain,
        "Ölpumpe 𝄞",
        &password,
        &[7; pkcs12::RANDOM_BYTES],
    );
    let contents = Contents::open(&der, &password).expect("opens");
    assert_eq!(contents.keys[0].pkcs8.as_slice(), key);
    assert_eq!(contents.keys[0].friendly_name.as_deref(), Some("Ölpumpe ?"));
    let ders: Vec<_> = contents
        .certificates
        .iter()
        .map(|it| it.certificate.der())
        .collect();
    assert_eq!(ders, [chain[0].der(), chain[1].der()]);
    assert_eq!(
        contents.keys[0].local_key_id,
        contents.certificates[0].local_key_id
    );
    assert!(contents.certificates[1].local_key_id.is_none());
    assert_eq!(
        contents.integrity,
        Integrity::Hmac {
            digest: "SHA-256",
            iterations: 250_000
        }
    );
    // Nothing of the key lies open.
    assert!(!der.windows(16).any(|it| it == &key[key.len() - 16..]));
    assert!(open(&der, "correct horsf").is_err());
}

#[test]
fn written_truststore_reads_back_as_trusted() {
    let (_, chain) = chain();
    let password = Password::parse_portable("changeit").expect("a password");
    let anchors = [("Example Root CA".to_owned(), chain[1].clone())];
    let der = pkcs12::trust_store(&anchors, &password, &[7; pkcs12::RANDOM_BYTES]);
    let contents = Contents::open(&der, &password).expect("opens");
    assert!(contents.keys.is_empty());
    assert!(contents.certificates[0].is_trusted);
    assert_eq!(
        contents.certificates[0].friendly_name.as_deref(),
        Some("Example Root CA")
    );
    assert_eq!(contents.certificates[0].certificate.der(), chain[1].der());
}
