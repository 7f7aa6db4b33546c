//! Forms that need no other program to make. What OpenSSL and Java write is read in the tests of the binary.

use const_oid::ObjectIdentifier;
use der::Tag;

use super::*;
use crate::asn1;
use crate::dn::DistinguishedName;
use crate::jks;
use crate::pem;
use crate::tbs::{SignatureAlgorithm, StatusSources, Template, Usage};
use crate::time::UnixTime;

fn password(text: &str) -> Password {
    Password::parse(text).expect("a password")
}

/// A certificate whose signature nobody has made.
fn certificate(subject: &str) -> Vec<u8> {
    let p256 = [
        0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08,
        0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00, 0x04,
    ];
    let template = Template {
        subject: DistinguishedName::parse(subject).expect("a name"),
        subject_alt_names: Vec::new(),
        spki_der: [&p256[..], &[7; 64]].concat(),
        not_before: UnixTime::from_seconds(1_700_000_000),
        not_after: UnixTime::from_seconds(1_800_000_000),
        serial: "40ab".parse().expect("a serial"),
        usage: Usage::Authority { path_len: None },
        status_sources: StatusSources::default(),
        extra_extensions: Vec::new(),
    };
    let unsigned = template.to_be_self_signed(SignatureAlgorithm::EcdsaP256Sha256);
    let preview = unsigned.expect("sound").preview().expect("decodable");
    preview.der().as_ref().to_vec()
}

fn pem_of(subject: &str) -> String {
    pem::encode("CERTIFICATE", &certificate(subject))
}

/// What is read: the container, how many certificates, and what is odd.
#[track_caller]
fn check(bytes: &[u8], container: Container, certificates: usize, oddities: &[Oddity]) {
    let material = Material::read(bytes, &[]);
    assert_eq!(
        (material.container, material.certificates.len()),
        (container, certificates),
        "{material:#?}"
    );
    assert_eq!(material.oddities, oddities);
    assert!(material.certificates.iter().all(|it| it.read.is_ok()));
}

#[test]
fn characters_of_whatever_encoding_are_read() {
    let pem = pem_of("CN=a");
    let wide = |unit: fn(u16) -> [u8; 2]| pem.encode_utf16().flat_map(unit).collect::<Vec<u8>>();
    let marked = |mark: &[u8], rest: &[u8]| [mark, rest].concat();
    let utf16 = [Oddity::Utf16];
    check(pem.as_bytes(), Container::Pem, 1, &[]);
    check(&wide(u16::to_le_bytes), Container::Pem, 1, &utf16);
    check(&wide(u16::to_be_bytes), Container::Pem, 1, &utf16);
    let little = marked(b"\xff\xfe", &wide(u16::to_le_bytes));
    check(&little, Container::Pem, 1, &utf16);
    let big = marked(b"\xfe\xff", &wide(u16::to_be_bytes));
    check(&big, Container::Pem, 1, &utf16);
    let bom = marked(b"\xef\xbb\xbf", pem.as_bytes());
    check(&bom, Container::Pem, 1, &[Oddity::ByteOrderMark]);
    let late = marked(b"\xef\xbb\xbf# a comment\n", pem.as_bytes());
    check(&late, Container::Pem, 1, &[Oddity::ByteOrderMarkBeforeText]);
    let windows = pem.replace('\n', "\r\n");
    check(windows.as_bytes(), Container::Pem, 1, &[Oddity::CrLf]);
    let mac = pem.replace('\n', "\r");
    check(
        mac.as_bytes(),
        Container::Pem,
        1,
        &[Oddity::CarriageReturns],
    );
}

#[test]
fn blocks_are_found_in_whatever_surroundings() {
    let (one, other) = (pem_of("CN=a"), pem_of("CN=b"));
    let glued = format!("{}{other}", one.trim_end());
    check(
        glued.as_bytes(),
        Container::Pem,
        2,
        &[Oddity::Glued { block: 2 }],
    );
    let junk = format!("Bag Attributes\n  friendlyName: x\n{one}\nand {{ then }}\n{other}junk");
    check(junk.as_bytes(), Container::Pem, 2, &[]);
    let yaml = format!("cert: |\n  {}", one.replace('\n', "\n  "));
    check(
        yaml.as_bytes(),
        Container::Pem,
        1,
        &[Oddity::Indented { block: 1 }],
    );
    let json = format!("{{\"cert\": \"{}\"}}", one.replace('\n', "\\n"));
    check(
        json.as_bytes(),
        Container::Pem,
        1,
        &[Oddity::Escaped, Oddity::Indented { block: 1 }],
    );
    let line = one.replace('\n', " ");
    check(
        line.as_bytes(),
        Container::Pem,
        1,
        &[Oddity::OneLine { block: 1 }],
    );
    check(one.trim_end().as_bytes(), Container::Pem, 1, &[]);
}

#[test]
fn what_is_damaged_is_told_with_its_block_and_costs_the_others_nothing() {
    let good = pem_of("CN=a");
    let damaged = |why| Oddity::Damaged {
        block: 1,
        label: "CERTIFICATE".to_owned(),
        why,
    };
    let broken = good.replacen("MII", "M*I", 1);
    let both = format!("{broken}{good}");
    check(
        both.as_bytes(),
        Container::Pem,
        1,
        &[damaged("its base64 is broken")],
    );
    check(
        &good.as_bytes()[..100],
        Container::Pem,
        0,
        &[damaged("the file ends before its END line")],
    );
    let unended = format!("{}\n{good}", &good[..100]);
    check(
        unended.as_bytes(),
        Container::Pem,
        1,
        &[damaged("another block begins before its END line")],
    );
    let other_end = good.replace("END CERTIFICATE", "END PRIVATE KEY");
    check(
        other_end.as_bytes(),
        Container::Pem,
        1,
        &[damaged("its END line does not match its BEGIN line")],
    );
}

#[test]
fn bytes_are_known_without_a_label() {
    let (one, other) = (certificate("CN=a"), certificate("CN=b"));
    check(&one, Container::Der, 1, &[]);
    check(&[&one[..], &other].concat(), Container::Der, 2, &[]);
    check(&[&one[..], b"\n"].concat(), Container::Der, 1, &[]);
    let bare: String = pem_of("CN=a")
        .lines()
        .filter(|line| !line.starts_with('-'))
        .collect();
    check(bare.as_bytes(), Container::Base64, 1, &[]);
    for (bytes, container) in [
        (&b""[..], Container::Empty),
        (b" \r\n\t\n", Container::Empty),
        (b"<html></html>", Container::Html),
        (b"# see the wiki\n", Container::Text),
        (b"\x7fELF\x01\x02\x03\0\0\0", Container::Binary),
        (b"0", Container::Text),
        (b"\x30\x03\x02\x01\x05", Container::Binary),
    ] {
        assert_eq!(Material::read(bytes, &[]).container, container, "{bytes:?}");
    }
}

#[test]
fn a_wrong_label_hides_nothing() {
    let key = pem::encode("CERTIFICATE REQUEST", &certificate("CN=a"));
    let material = Material::read(key.as_bytes(), &[]);
    assert!(material.requests.iter().all(|it| it.request.is_err()));
    let unknown = pem::encode("SOMETHING", &certificate("CN=a"));
    check(
        unknown.as_bytes(),
        Container::Pem,
        1,
        &[Oddity::Mislabelled {
            block: 1,
            label: "SOMETHING".to_owned(),
        }],
    );
    let parameters = pem::encode("EC PARAMETERS", b"\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07");
    check(parameters.as_bytes(), Container::Pem, 0, &[]);
    let material = Material::read(parameters.as_bytes(), &[]);
    assert_eq!(material.others.len(), 1);
}

#[test]
fn a_serial_number_that_is_none_leaves_the_rest_readable() {
    let mut der = certificate("CN=a");
    let serial = b"\x02\x02\x40\xab";
    let place = der.windows(4).position(|window| window == serial);
    der[place.expect("its serial") + 2] = 0xc0;
    let material = Material::read(&der, &[]);
    let piece = &material.certificates[0];
    let subject = piece.certificate().map(|it| it.subject().to_string());
    assert_eq!(subject.as_deref(), Some("CN=a"));
    assert!(matches!(
        piece.flaw(),
        Some(crate::certificate::Flaw::Serial(_))
    ));
}

#[test]
fn java_keystores_are_read_and_their_password_is_told_from_others() {
    let anchor = crate::certificate::Certificate::parse(&certificate("CN=a")).expect("sound");
    let anchors = [("Root".to_owned(), anchor)];
    let store = jks::trust_store(&anchors, &password("changeit"), UnixTime::from_seconds(1));
    for (passwords, lock) in [
        (vec![], Lock::NeedsPassword),
        (vec![password("secret")], Lock::WrongPassword),
        (vec![password("secret"), password("changeit")], Lock::Open),
    ] {
        let material = Material::read(&store, &passwords);
        assert_eq!(material.container, Container::Jks);
        assert_eq!(material.keystore, Some(lock));
        let piece = &material.certificates[0];
        assert_eq!(
            (piece.alias.as_deref(), piece.is_trusted),
            (Some("root"), true)
        );
    }
    // Cut off wherever: as much as is there, and no more.
    for length in 0..store.len() {
        assert!(Material::read(&store[..length], &[]).certificates.len() <= 1);
    }
}

/// What OpenSSL made of one key: traditional PEM under triple DES, AES, DES and RC2; PKCS#8 under each scheme of PKCS#12 and PKCS#5
/// that it writes, and under PBES2 with triple DES.
const OLD_KEYS: &str = include_str!("tests/old-keys.pem");

fn old_keys() -> Vec<String> {
    let blocks = OLD_KEYS.split("-----BEGIN ").skip(1);
    blocks.map(|block| format!("-----BEGIN {block}")).collect()
}

#[test]
fn keys_under_old_encryption_open_with_their_password_and_no_other() {
    let keys = old_keys();
    assert_eq!(keys.len(), 12);
    let mut halves = Vec::new();
    for key in &keys {
        let shut = Material::read(key.as_bytes(), &[]);
        assert_eq!(shut.keys[0].lock, Lock::NeedsPassword, "{key}");
        let wrong = Material::read(key.as_bytes(), &[password("Sesame")]);
        assert_eq!(wrong.keys[0].lock, Lock::WrongPassword, "{key}");
        assert_eq!(wrong.keys[0].spki, None);
        let open = Material::read(key.as_bytes(), &[password("sesame")]);
        assert_eq!(open.keys[0].lock, Lock::Open, "{key}");
        halves.extend(open.keys[0].spki);
    }
    halves.dedup();
    assert_eq!(halves.len(), 1, "all of them are one key");
}

#[test]
fn what_is_encrypted_and_too_large_stays_shut() {
    const SHORT: &str = "0011223344556677";
    const LONG: &str = "00112233445566770011223344556677";
    for (cipher, iv) in [
        ("DES-CBC", SHORT),
        ("RC2-CBC", SHORT),
        ("AES-256-CBC", LONG),
    ] {
        let lock_of = |len| {
            let key = pem::encode("RSA PRIVATE KEY", &vec![0; len]);
            let header = format!("Proc-Type: 4,ENCRYPTED\nDEK-Info: {cipher},{iv}\n\n");
            let key = key.replacen("KEY-----\n", &format!("KEY-----\n{header}"), 1);
            Material::read(key.as_bytes(), &[password("sesame")]).keys[0]
                .lock
                .clone()
        };
        assert_eq!(lock_of(1024), Lock::WrongPassword, "{cipher}");
        let Lock::Unreadable { why } = lock_of(1024 * 1024 + 16) else {
            panic!("{cipher}: it was decrypted");
        };
        assert!(why.contains("too large"), "{why}");
    }
}

#[test]
fn whoever_takes_keys_into_use_opens_nothing_old() {
    let sesame = password("sesame");
    let blocks = old_keys();
    let pkcs8 = blocks.iter().filter(|key| key.contains("BEGIN ENCRYPTED"));
    for key in pkcs8 {
        let der = pem::decode_all(key.as_bytes()).expect("PEM").remove(0).der;
        assert!(matches!(
            crate::pbes2::open_private_key(&der, &sesame),
            Err(crate::pbes2::Locked::Unsupported { .. })
        ));
    }
}

#[test]
fn malformed_headers_of_old_keys_open_nothing() {
    for (info, is_scheme) in [
        ("DES-EDE3-CBC,0011223344556677", false),
        ("DES-EDE3-CBC,00112233445566zz", false),
        ("DES-EDE3-CBC,0011", false),
        ("DES-EDE3-CBC", false),
        ("AES-256-CBC,0011223344556677", false),
        ("CAMELLIA-128-CBC,00112233445566770011223344556677", true),
    ] {
        let text = format!(
            "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: {info}\n\nAAAA\n-----END RSA PRIVATE KEY-----\n"
        );
        let material = Material::read(text.as_bytes(), &[password("x")]);
        let lock = &material.keys[0].lock;
        let is_unread = matches!(
            lock,
            Lock::Unread {
                is_legacy: false,
                ..
            }
        );
        let is_unreadable = matches!(lock, Lock::Unreadable { .. });
        assert_eq!(
            (is_unread, is_unreadable),
            (is_scheme, !is_scheme),
            "{info}"
        );
    }
}

#[test]
fn an_old_keystore_is_opened_and_told_to_be_old() {
    let store = include_bytes!("../../tests/it/pkcs12/cert-rc2-key-3des.p12");
    let material = Material::read(store, &[password("cryptography")]);
    assert_eq!(material.keystore, Some(Lock::Open));
    assert!(material.legacy.is_some_and(|scheme| scheme.contains("RC2")));
    assert_eq!((material.keys.len(), material.certificates.len()), (1, 1));
    let wrong = Material::read(store, &[password("Cryptography")]);
    assert_eq!(wrong.keystore, Some(Lock::WrongPassword));
}

#[test]
fn what_only_looks_like_pem_is_told_apart() {
    let pem = pem_of("CN=a");
    let odd = |text: &str| Material::read(text.as_bytes(), &[]).oddities;
    let blank = Oddity::BlankLine { block: 1 };
    for text in [
        pem.replace("-----END", "\n-----END"),
        pem.replacen('\n', "\n\n", 3),
    ] {
        assert_eq!(odd(&text), std::slice::from_ref(&blank));
    }
    assert_eq!(odd(&pem.replacen('\n', "\n\n", 1)), []);
    assert_eq!(odd(&pem.replace("-----BEGIN", "\n\n-----BEGIN")), []);
    let indented = Oddity::Indented { block: 1 };
    assert_eq!(odd(&pem.replace("-----END", "  -----END")), [indented]);
    let dashes = pem.replace("-----", "\u{2013}\u{2013}---");
    assert_eq!(odd(&dashes), [Oddity::NotAscii { block: 1 }]);
    let joined = format!("{pem}\u{feff}{pem}");
    assert_eq!(odd(&joined), [Oddity::ByteOrderMark]);
    let foreign = "-----BEGIN PGP PUBLIC KEY BLOCK-----\n\nmQENBFcX\n=abcd\n-----END PGP PUBLIC KEY BLOCK-----\n";
    let material = Material::read(foreign.as_bytes(), &[]);
    assert_eq!(material.oddities, []);
    assert_eq!(material.others[0].label, "PGP PUBLIC KEY BLOCK");
}

#[test]
fn pieces_are_counted_and_bounded() {
    let block = pem::encode("PUBLIC KEY", b"\x30\x00");
    let many = block.repeat(MAX_PIECES + 10);
    let material = Material::read(many.as_bytes(), &[]);
    assert_eq!(material.len(), MAX_PIECES);
    assert!(material.oddities.contains(&Oddity::Cut));
}

/// RFC 8018 §A.4, with nothing of sense inside.
fn sealed_key(iterations: u32) -> String {
    let derivation = asn1::sequence(&[
        object("1.2.840.113549.1.5.12"),
        asn1::sequence(&[
            octets(&[1; 16]),
            asn1::unsigned(u64::from(iterations)),
            asn1::sequence(&[object("1.2.840.113549.2.9"), asn1::tlv(Tag::Null, &[])]),
        ]),
    ]);
    pbes2_key(&derivation)
}

fn pbes2_key(derivation: &[u8]) -> String {
    let cipher = asn1::sequence(&[object("2.16.840.1.101.3.4.1.42"), octets(&[2; 16])]);
    let scheme = asn1::sequence(&[derivation.to_vec(), cipher]);
    encrypted_key(&asn1::sequence(&[object("1.2.840.113549.1.5.13"), scheme]))
}

fn encrypted_key(algorithm: &[u8]) -> String {
    let key = asn1::sequence(&[algorithm.to_vec(), octets(&[3; 64])]);
    pem::encode("ENCRYPTED PRIVATE KEY", &key)
}

fn object(text: &str) -> Vec<u8> {
    asn1::oid(ObjectIdentifier::new_unwrap(text))
}

fn octets(bytes: &[u8]) -> Vec<u8> {
    asn1::tlv(Tag::OctetString, bytes)
}

#[test]
fn keys_of_one_file_share_what_their_derivation_may_cost() {
    let file = sealed_key(0x0030_0000).repeat(4);
    let material = Material::read(file.as_bytes(), &[password("secret")]);
    let locks: Vec<_> = material.keys.iter().map(|key| &key.lock).collect();
    assert_eq!(locks[0], &Lock::WrongPassword);
    for lock in &locks[1..] {
        assert!(matches!(lock, Lock::Unread { .. }), "{locks:?}");
    }
}

/// A test that would take hours fails by the clock of whoever runs it.
#[test]
fn derivation_that_takes_hours_or_gigabytes_is_not_begun() {
    const MOST: u64 = 0x7fff_ffff;
    let old = |scheme: &str| {
        let parameters = asn1::sequence(&[octets(&[1; 8]), asn1::unsigned(MOST)]);
        encrypted_key(&asn1::sequence(&[object(scheme), parameters]))
    };
    // RFC 7914 §7: N = 2^30 and r = 8 take a tebibyte.
    let numbers = [1 << 30, 8, 1].map(asn1::unsigned);
    let scrypt = asn1::sequence(&[vec![octets(&[1; 16])], numbers.to_vec()].concat());
    let scrypt = asn1::sequence(&[object("1.3.6.1.4.1.11591.4.11"), scrypt]);
    for (what, key, scheme) in [
        ("PBKDF2", sealed_key(0x7fff_ffff), "2147483647 rounds"),
        (
            "SHA-1 and 3DES",
            old("1.2.840.113549.1.12.1.3"),
            "2147483647 rounds",
        ),
        (
            "SHA-1 and RC2",
            old("1.2.840.113549.1.12.1.6"),
            "2147483647 rounds",
        ),
        (
            "MD5 and DES",
            old("1.2.840.113549.1.5.3"),
            "2147483647 rounds",
        ),
        ("scrypt", pbes2_key(&scrypt), "scrypt"),
    ] {
        let material = Material::read(key.as_bytes(), &[password("secret")]);
        let Lock::Unread { scheme: told, .. } = &material.keys[0].lock else {
            panic!("{what}: {:?}", material.keys[0].lock);
        };
        assert!(told.contains(scheme), "{what}: {told}");
    }
}

/// RFC 7292 §4: a MAC of so many rounds over next to nothing.
#[test]
fn keystore_whose_mac_takes_hours_is_not_opened() {
    let data = |content: &[u8]| {
        let content = asn1::tlv(asn1::constructed(0), &octets(content));
        asn1::sequence(&[object("1.2.840.113549.1.7.1"), content])
    };
    let digest = asn1::sequence(&[object("2.16.840.1.101.3.4.2.1"), asn1::tlv(Tag::Null, &[])]);
    let digest = asn1::sequence(&[digest, octets(&[4; 32])]);
    let mac = asn1::sequence(&[digest, octets(&[5; 8]), asn1::unsigned(0x7fff_ffff)]);
    let safe = data(&asn1::sequence::<Vec<u8>>(&[]));
    let store = asn1::sequence(&[asn1::unsigned(3), safe, mac]);
    let material = Material::read(&store, &[password("secret")]);
    assert_eq!(material.container, Container::Pkcs12);
    assert!(
        matches!(&material.keystore, Some(Lock::Unread { scheme, .. }) if scheme.contains("2147483647")),
        "{material:?}"
    );
}

#[test]
fn block_that_the_end_of_reading_cuts_is_not_called_damaged() {
    let whole = pem_of("CN=a");
    let most = whole.len() * 2 - 40;
    let cut = Material::read_within(most, whole.repeat(2).as_bytes(), &[]);
    assert_eq!((cut.len(), cut.oddities), (1, vec![Oddity::Cut]));
    // What ends by itself is.
    let damaged = Material::read(&whole.as_bytes()[..whole.len() - 30], &[]);
    assert!(matches!(damaged.oddities[..], [Oddity::Damaged { .. }]));
}
