//! DER and keystores: what bytes are.

use const_oid::ObjectIdentifier;
use der::Tag;

use super::encoding::contains;
use super::piece::{
    CertificatePiece, CrlPiece, KeyFormat, KeyPiece, Lock, OtherPiece, RequestPiece,
};
use super::{Container, Material};
use crate::asn1::{Cursor, Malformed, constructed};
use crate::certificate::{Certificate, KeyAlgorithm};
use crate::crl::ParsedCrl;
use crate::fingerprint::Fingerprint;
use crate::jks;
use crate::legacy;
use crate::password::Password;
use crate::pbes2::{self, Budget, Locked};
use crate::pkcs12;
use crate::request::CertificateRequest;

/// The passwords to try, how often one was, and what that may still cost: all of it is one file's.
pub(super) struct Passwords<'a> {
    all: &'a [Password],
    tries: usize,
    budget: Budget,
}

impl<'a> Passwords<'a> {
    pub(super) fn new(all: &'a [Password]) -> Self {
        Self {
            all,
            tries: 0,
            budget: Budget::of_evidence(),
        }
    }

    /// The first password that opens something; else what stands in the way.
    fn open<T>(
        &mut self,
        legacy: Option<&'static str>,
        mut open: impl FnMut(&Password, &mut Budget) -> Result<T, Locked>,
    ) -> Result<T, Lock> {
        let mut last = Lock::NeedsPassword;
        for password in self.all {
            // Each try may cost seconds of key derivation.
            self.tries += 1;
            if self.tries > MAX_TRIES {
                break;
            }
            last = match open(password, &mut self.budget) {
                Ok(opened) => return Ok(opened),
                Err(Locked::WrongPassword) => Lock::WrongPassword,
                Err(Locked::Unsupported { algorithm }) => Lock::Unread {
                    is_legacy: legacy.is_some(),
                    scheme: algorithm,
                },
                Err(Locked::Iterations { asked, .. }) => Lock::Unread {
                    is_legacy: false,
                    scheme: format!("a key derivation of {asked} rounds"),
                },
                Err(error) => Lock::Unreadable {
                    why: error.to_string(),
                },
            };
        }
        match legacy {
            Some(scheme) if last != Lock::WrongPassword => Err(Lock::Unread {
                scheme: scheme.to_owned(),
                is_legacy: true,
            }),
            _ => Err(last),
        }
    }
}

/// Takes a file that is binary; whether it is one.
pub(super) fn take(material: &mut Material, bytes: &[u8], passwords: &[Password]) -> bool {
    let mut passwords = Passwords::new(passwords);
    if jks::Contents::is_one(bytes) {
        java(material, bytes, passwords.all);
        return true;
    }
    bytes.first() == Some(&0x30) && take_der(material, bytes, &mut passwords)
}

/// One DER structure after the other; whether the first is one that is known here.
pub(super) fn take_der(
    material: &mut Material,
    bytes: &[u8],
    passwords: &mut Passwords<'_>,
) -> bool {
    if pkcs12::Contents::is_one(bytes) {
        material.container = Container::Pkcs12;
        key_store(material, bytes, passwords);
        return true;
    }
    let head = first(bytes);
    if head.is_empty() {
        return false;
    }
    if is_pkcs7(head) {
        material.container = Container::Pkcs7;
        return pkcs7(material, head);
    }
    let is_known = one(material, head, passwords)
        || (looks_like_a_certificate(head) && {
            certificate(material, head, false);
            true
        });
    if !is_known {
        return false;
    }
    material.container = Container::Der;
    let mut rest = &bytes[head.len()..];
    loop {
        let next = first(rest);
        if next.is_empty() || !one(material, next, passwords) {
            return true;
        }
        rest = &rest[next.len()..];
    }
}

/// The DER structure that bytes begin with; empty where there is none.
pub(super) fn first(bytes: &[u8]) -> &[u8] {
    let head = Cursor::new(bytes).expect(Tag::Sequence, "the file");
    head.map_or(&[], |head| head.whole)
}

/// One structure of whatever kind; whether it is known here.
pub(super) fn one(material: &mut Material, der: &[u8], passwords: &mut Passwords<'_>) -> bool {
    certificate_if_one(material, der, false)
        || (is_pkcs7(der) && pkcs7(material, der))
        || request_if_one(material, der)
        || list_if_one(material, der)
        || key(material, KeyFormat::Pkcs8, der, passwords)
        || public_key(material, der)
}

pub(super) fn certificate(material: &mut Material, der: &[u8], is_trusted: bool) {
    if let Some(place) = material.next_place() {
        let mut piece = CertificatePiece::new(place, der.to_vec());
        piece.is_trusted = is_trusted;
        material.certificates.push(piece);
    }
}

pub(super) fn certificate_if_one(material: &mut Material, der: &[u8], is_trusted: bool) -> bool {
    let is_one = Certificate::parse_as_evidence(der).is_ok();
    if is_one {
        certificate(material, der, is_trusted);
    }
    is_one
}

/// SEQUENCE { SEQUENCE, SEQUENCE, BIT STRING }, whose first part begins with a version or a number.
fn looks_like_a_certificate(der: &[u8]) -> bool {
    let read = || {
        let mut parts = Cursor::new(der).expect(Tag::Sequence, "")?.cursor();
        let signed = parts.expect(Tag::Sequence, "")?;
        parts.expect(Tag::Sequence, "")?;
        parts.expect(Tag::BitString, "")?;
        let begins = signed.cursor().any("")?.tag;
        Ok::<_, Malformed>(begins == constructed(0) || begins == Tag::Integer)
    };
    read().unwrap_or(false)
}

pub(super) fn request(material: &mut Material, der: &[u8]) -> bool {
    if let Some(place) = material.next_place() {
        let request = CertificateRequest::parse(der).map_err(|error| error.to_string());
        material.requests.push(RequestPiece { place, request });
    }
    true
}

fn request_if_one(material: &mut Material, der: &[u8]) -> bool {
    CertificateRequest::parse(der).is_ok() && request(material, der)
}

pub(super) fn list(material: &mut Material, der: &[u8]) -> bool {
    if let Some(place) = material.next_place() {
        material.lists.push(CrlPiece {
            place,
            der: der.to_vec(),
            list: ParsedCrl::parse(der).map_err(|error| error.to_string()),
        });
    }
    true
}

fn list_if_one(material: &mut Material, der: &[u8]) -> bool {
    ParsedCrl::parse(der).is_ok() && list(material, der)
}

fn public_key(material: &mut Material, der: &[u8]) -> bool {
    let algorithm = KeyAlgorithm::of(der);
    let is_one = algorithm.is_some();
    if is_one && let Some(place) = material.next_place() {
        material.others.push(OtherPiece {
            place,
            label: "PUBLIC KEY".to_owned(),
            algorithm,
            spki: Some(Fingerprint::of(der)),
        });
    }
    is_one
}

/// A private key, encrypted or not; whether it is one.
pub(super) fn key(
    material: &mut Material,
    format: KeyFormat,
    der: &[u8],
    passwords: &mut Passwords<'_>,
) -> bool {
    let place = material.pieces + 1;
    let piece = match KeyPiece::open(place, format, der) {
        Some(piece) => piece,
        None if is_encrypted_key(der) => encrypted_key(place, der, passwords),
        None => return false,
    };
    if material.next_place().is_some() {
        material.keys.push(piece);
    }
    true
}

/// Which of the traditional forms an open key has: their labels tell them apart, and programs go by the label.
pub(super) fn traditional(der: &[u8]) -> Option<KeyFormat> {
    let read = || {
        let mut fields = Cursor::new(der).expect(Tag::Sequence, "")?.cursor();
        fields.expect(Tag::Integer, "")?;
        Ok::<_, Malformed>(fields.any("")?.tag)
    };
    match read().ok()? {
        Tag::Integer => Some(KeyFormat::Pkcs1),
        Tag::OctetString => Some(KeyFormat::Sec1),
        _ => None,
    }
}

fn encrypted_key(place: usize, der: &[u8], passwords: &mut Passwords<'_>) -> KeyPiece {
    let opened = passwords.open(None, |password, budget| {
        let pkcs8 = pbes2::open_private_key_within(der, password, budget)?;
        // CBC proves nothing genuine: what a wrong password makes of it is no key.
        KeyPiece::open(place, KeyFormat::Pkcs8, &pkcs8).ok_or(Locked::WrongPassword)
    });
    opened.map_or_else(
        |lock| KeyPiece::shut(place, KeyFormat::Pkcs8, lock),
        KeyPiece::unsealed,
    )
}

/// A key under the header of traditional PEM.
pub(super) fn traditional_key(
    material: &mut Material,
    format: KeyFormat,
    info: &str,
    der: &[u8],
    passwords: &mut Passwords<'_>,
) {
    let Some(place) = material.next_place() else {
        return;
    };
    let opened = passwords.open(None, |password, _| {
        let plain = legacy::open_traditional(info, der, password)?;
        KeyPiece::open(place, format, &plain).ok_or(Locked::WrongPassword)
    });
    let piece = opened.map_or_else(
        |lock| KeyPiece::shut(place, format, lock),
        KeyPiece::unsealed,
    );
    material.keys.push(piece);
}

/// `EncryptedPrivateKeyInfo` (RFC 5958 §3): an algorithm with parameters and an OCTET STRING.
fn is_encrypted_key(der: &[u8]) -> bool {
    let read = || {
        let mut fields = Cursor::new(der).expect(Tag::Sequence, "")?.cursor();
        let mut algorithm = fields.expect(Tag::Sequence, "")?.cursor();
        algorithm.expect(Tag::ObjectIdentifier, "")?;
        algorithm.expect(Tag::Sequence, "")?;
        fields.expect(Tag::OctetString, "")?;
        fields.finish("")
    };
    read().is_ok()
}

fn is_pkcs7(der: &[u8]) -> bool {
    signed_data(der).is_ok()
}

fn signed_data(der: &[u8]) -> Result<Cursor<'_>, Malformed> {
    let mut fields = Cursor::new(der).expect(Tag::Sequence, "PKCS#7")?.cursor();
    let kind = fields.expect(Tag::ObjectIdentifier, "PKCS#7")?;
    if kind.content != SIGNED_DATA.as_bytes() {
        return Err(Malformed("it is not signed data".to_owned()));
    }
    let content = fields.expect(constructed(0), "PKCS#7")?;
    Ok(content.cursor().expect(Tag::Sequence, "PKCS#7")?.cursor())
}

/// The certificates and CRLs of `SignedData` (RFC 5652 §5.1).
pub(super) fn pkcs7(material: &mut Material, der: &[u8]) -> bool {
    let read = |material: &mut Material| {
        let mut fields = signed_data(der)?;
        while !fields.is_at_end() {
            let field = fields.any("PKCS#7")?;
            let mut inner = field.cursor();
            while (field.tag == constructed(0) || field.tag == constructed(1)) && !inner.is_at_end()
            {
                let element = inner.any("PKCS#7")?;
                if field.tag == constructed(0) {
                    certificate(material, element.whole, false);
                    material.in_pkcs7 += 1;
                } else {
                    list(material, element.whole);
                }
            }
        }
        Ok::<_, Malformed>(())
    };
    read(material).is_ok() || !material.is_empty()
}

fn key_store(material: &mut Material, der: &[u8], passwords: &mut Passwords<'_>) {
    let der_alone = first(der);
    let der = if der_alone.is_empty() { der } else { der_alone };
    let legacy = LEGACY
        .iter()
        .find(|(oid, _)| contains(der, oid.as_bytes()))
        .map(|&(_, name)| name);
    // Some are protected by no password at all, which is one too.
    let none = Password::parse("").expect("an empty text is a password");
    let opened = pkcs12::Contents::open_within(der, &none, &mut passwords.budget).or_else(|_| {
        passwords.open(legacy, |password, budget| {
            pkcs12::Contents::open_within(der, password, budget)
        })
    });
    match opened {
        Ok(contents) => {
            material.keystore = Some(Lock::Open);
            material.legacy = legacy;
            material.integrity = Some(contents.integrity);
            for key in &contents.keys {
                let Some(place) = material.next_place() else {
                    return;
                };
                let piece = KeyPiece::open(place, KeyFormat::Pkcs12, &key.pkcs8);
                let mut piece = piece.unwrap_or_else(|| {
                    let why = "its key is of no kind that is known here".to_owned();
                    KeyPiece::shut(place, KeyFormat::Pkcs12, Lock::Unreadable { why })
                });
                piece.alias.clone_from(&key.friendly_name);
                material.keys.push(piece);
            }
            for entry in &contents.certificates {
                let Some(place) = material.next_place() else {
                    return;
                };
                let mut piece =
                    CertificatePiece::new(place, entry.certificate.der().as_ref().to_vec());
                piece.alias.clone_from(&entry.friendly_name);
                piece.is_trusted = entry.is_trusted;
                material.certificates.push(piece);
            }
        }
        Err(lock) => material.keystore = Some(lock),
    }
}

fn java(material: &mut Material, bytes: &[u8], passwords: &[Password]) {
    material.container = Container::Jks;
    let contents = jks::Contents::read(bytes, passwords);
    material.keystore = Some(match contents.is_intact {
        None => Lock::NeedsPassword,
        Some(true) => Lock::Open,
        Some(false) => Lock::WrongPassword,
    });
    for entry in contents.entries {
        if let Some(key) = entry.key {
            let Some(place) = material.next_place() else {
                return;
            };
            let lock = match contents.is_intact {
                None => Lock::NeedsPassword,
                Some(false) => Lock::WrongPassword,
                Some(true) => Lock::Unread {
                    scheme: "the keystore's own scheme".to_owned(),
                    is_legacy: false,
                },
            };
            let open = match &key {
                jks::ProtectedKey::Open(pkcs8) => KeyPiece::open(place, KeyFormat::Jks, pkcs8),
                jks::ProtectedKey::Shut => None,
            };
            let mut piece = open.unwrap_or_else(|| KeyPiece::shut(place, KeyFormat::Jks, lock));
            piece.alias = Some(entry.alias.clone());
            material.keys.push(piece);
            for der in entry.certificates {
                certificate(material, &der, false);
            }
        } else {
            for der in entry.certificates {
                certificate(material, &der, true);
                if let Some(last) = material.certificates.last_mut() {
                    last.alias = Some(entry.alias.clone());
                }
            }
        }
    }
}

/// A file needs two: one of the keystore, one of a key in it; people try a handful.
const MAX_TRIES: usize = 8;

/// RFC 5652 §5.1.
const SIGNED_DATA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.7.2");

/// RFC 7292 §C: by what a PKCS#12 file says in clear, with or without its password. The weakest first.
const LEGACY: [(ObjectIdentifier, &str); 6] = [
    (
        ObjectIdentifier::new_unwrap("1.2.840.113549.1.12.1.6"),
        "40-bit RC2 under SHA-1",
    ),
    (
        ObjectIdentifier::new_unwrap("1.2.840.113549.1.12.1.5"),
        "128-bit RC2 under SHA-1",
    ),
    (
        ObjectIdentifier::new_unwrap("1.2.840.113549.1.12.1.2"),
        "40-bit RC4 under SHA-1",
    ),
    (
        ObjectIdentifier::new_unwrap("1.2.840.113549.1.12.1.1"),
        "128-bit RC4 under SHA-1",
    ),
    (
        ObjectIdentifier::new_unwrap("1.2.840.113549.1.12.1.3"),
        "triple DES under SHA-1",
    ),
    (
        ObjectIdentifier::new_unwrap("1.2.840.113549.1.12.1.4"),
        "two-key triple DES under SHA-1",
    ),
];
