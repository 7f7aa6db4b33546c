//! Writing a file.

use std::num::NonZeroU32;

use der::Tag;

use super::{
    ANY_EXTENDED_KEY_USAGE, CERTIFICATE_BAG, DATA, ENCRYPTED_DATA, FRIENDLY_NAME, LOCAL_KEY_ID,
    SHROUDED_KEY_BAG, TRUSTED_KEY_USAGE, X509_CERTIFICATE, mac,
};
use crate::asn1::{self, constructed, primitive, sequence, tlv};
use crate::certificate::Certificate;
use crate::password::Password;
use crate::pbes2::{self, IV_LEN, SALT_LEN};

/// A key (PKCS#8) with its chain, leaf first. `alias` is what programs show and Java asks for.
pub fn identity(
    pkcs8: &[u8],
    chain: &[Certificate],
    alias: &str,
    password: &Password,
    random: &[u8; RANDOM_BYTES],
) -> Vec<u8> {
    let random = Random::of(random);
    let key_id = chain
        .first()
        .map(|leaf| leaf.fingerprint().as_bytes().to_vec())
        .unwrap_or_default();
    let ties = || vec![friendly_name(alias), local_key_id(&key_id)];
    let certificates: Vec<Vec<u8>> = chain
        .iter()
        .enumerate()
        .map(|(at, certificate)| {
            let attributes = if at == 0 { ties() } else { Vec::new() };
            certificate_bag(certificate, attributes)
        })
        .collect();
    let (algorithm, ciphertext) =
        pbes2::seal(pkcs8, password, &random.salts[0], random.ivs[0], ITERATIONS);
    let shrouded = sequence(&[algorithm, tlv(Tag::OctetString, &ciphertext)]);
    let key = sequence(&[bag(SHROUDED_KEY_BAG, &shrouded, ties())]);
    let parts = [
        encrypted_data(&sequence(&certificates), password, &random),
        content_info(DATA, &tlv(Tag::OctetString, &key)),
    ];
    authenticated(&sequence(&parts), password, &random)
}

/// Certificates to trust, each under its alias; no key.
pub fn trust_store(
    anchors: &[(String, Certificate)],
    password: &Password,
    random: &[u8; RANDOM_BYTES],
) -> Vec<u8> {
    let random = Random::of(random);
    let bags: Vec<Vec<u8>> = anchors
        .iter()
        .map(|(alias, certificate)| {
            let trusted = attribute(TRUSTED_KEY_USAGE, &asn1::oid(ANY_EXTENDED_KEY_USAGE));
            certificate_bag(certificate, vec![friendly_name(alias), trusted])
        })
        .collect();
    let parts = [encrypted_data(&sequence(&bags), password, &random)];
    authenticated(&sequence(&parts), password, &random)
}

/// Salts and initialisation vectors, which come from the caller.
struct Random {
    salts: [[u8; SALT_LEN]; 3],
    ivs: [[u8; IV_LEN]; 2],
}

impl Random {
    fn of(bytes: &[u8; RANDOM_BYTES]) -> Self {
        let part = |at: usize| {
            bytes[at * SALT_LEN..(at + 1) * SALT_LEN]
                .try_into()
                .expect("five parts of 16 bytes")
        };
        Self {
            salts: [part(0), part(1), part(2)],
            ivs: [part(3), part(4)],
        }
    }
}

/// PFX (RFC 7292 §4).
fn authenticated(safe: &[u8], password: &Password, random: &Random) -> Vec<u8> {
    sequence(&[
        asn1::unsigned(3),
        content_info(DATA, &tlv(Tag::OctetString, safe)),
        mac::mac_data(safe, password, &random.salts[2], ITERATIONS),
    ])
}

fn content_info(id: const_oid::ObjectIdentifier, content: &[u8]) -> Vec<u8> {
    sequence(&[asn1::oid(id), tlv(constructed(0), content)])
}

/// `EncryptedData` (RFC 5652 §8) of one `SafeContents`.
fn encrypted_data(plain: &[u8], password: &Password, random: &Random) -> Vec<u8> {
    let (algorithm, ciphertext) =
        pbes2::seal(plain, password, &random.salts[1], random.ivs[1], ITERATIONS);
    let content = sequence(&[asn1::oid(DATA), algorithm, tlv(primitive(0), &ciphertext)]);
    content_info(ENCRYPTED_DATA, &sequence(&[asn1::unsigned(0), content]))
}

fn certificate_bag(certificate: &Certificate, attributes: Vec<Vec<u8>>) -> Vec<u8> {
    let value = tlv(constructed(0), &tlv(Tag::OctetString, certificate.der()));
    bag(
        CERTIFICATE_BAG,
        &sequence(&[asn1::oid(X509_CERTIFICATE), value]),
        attributes,
    )
}

fn bag(id: const_oid::ObjectIdentifier, value: &[u8], mut attributes: Vec<Vec<u8>>) -> Vec<u8> {
    // X.690 §11.6: the elements of a SET OF in the order of their encodings.
    attributes.sort();
    let attributes = if attributes.is_empty() {
        Vec::new()
    } else {
        tlv(Tag::Set, &asn1::concatenate(&attributes))
    };
    sequence(&[asn1::oid(id), tlv(constructed(0), value), attributes])
}

fn attribute(id: const_oid::ObjectIdentifier, value: &[u8]) -> Vec<u8> {
    sequence(&[asn1::oid(id), tlv(Tag::Set, value)])
}

/// `BMPString`: characters beyond the basic plane, which it cannot hold, become a question mark.
fn friendly_name(alias: &str) -> Vec<u8> {
    let units = alias
        .chars()
        .map(|c| u16::try_from(u32::from(c)).unwrap_or(u16::from(b'?')));
    let bytes: Vec<u8> = units.flat_map(u16::to_be_bytes).collect();
    attribute(FRIENDLY_NAME, &tlv(Tag::BmpString, &bytes))
}

fn local_key_id(id: &[u8]) -> Vec<u8> {
    attribute(LOCAL_KEY_ID, &tlv(Tag::OctetString, id))
}

/// Three salts and two initialisation vectors, of 16 bytes each.
pub const RANDOM_BYTES: usize = 80;

/// Of each of the three derivations. .NET's default loader refuses more than 300,000 for one and a million for all of a
/// file (`Pkcs12LoaderLimits`); a generated password needs none of them, a person's each one.
const ITERATIONS: NonZeroU32 = NonZeroU32::new(250_000).expect("not 0");
