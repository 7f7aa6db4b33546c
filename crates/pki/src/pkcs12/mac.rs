//! The MAC over a file, and the derivation of its key.

use std::num::NonZeroU32;

use aws_lc_rs::{constant_time, digest, hmac};
use const_oid::ObjectIdentifier;
use der::Tag;
use zeroize::Zeroizing;

use super::{Integrity, oid};
use crate::asn1;
use crate::asn1::{Tlv, sequence, tlv};
use crate::password::Password;
use crate::pbes2::{
    Budget, Derivation, HMAC_SHA1, HMAC_SHA256, HMAC_SHA384, HMAC_SHA512, Locked,
    algorithm_identifier, malformed, plain_algorithm, unsupported,
};

/// Checks `MacData` (RFC 7292 §4) over the authenticated content.
pub(super) fn verify(
    mac_data: &Tlv<'_>,
    content: &[u8],
    password: &Password,
    budget: &mut Budget,
) -> Result<Integrity, Locked> {
    let mut fields = mac_data.cursor();
    let digest_info = fields.expect(Tag::Sequence, "the MAC")?;
    let salt = fields.expect(Tag::OctetString, "the MAC's salt")?.content;
    let iterations = match fields.optional(Tag::Integer, "the MAC's iteration count")? {
        Some(count) => count.unsigned("the MAC's iteration count")?,
        // RFC 7292 §4: DEFAULT 1.
        None => 1,
    };
    fields.finish("the MAC's iteration count")?;
    let mut info = digest_info.cursor();
    let algorithm = info.expect(Tag::Sequence, "the MAC's algorithm")?;
    let told = info.expect(Tag::OctetString, "the MAC's value")?.content;
    info.finish("the MAC's value")?;

    let (id, parameters) = algorithm_identifier(&algorithm, "the MAC's algorithm")?;
    if id == PBMAC1 {
        // RFC 9579 §4: salt and iterations of MacData are not used.
        let parameters = parameters.ok_or_else(|| malformed("PBMAC1 has no parameters"))?;
        verify_pbmac1(&parameters, content, told, password, budget)?;
        return Ok(Integrity::Pbmac1);
    }
    plain_algorithm(&algorithm, "the MAC's algorithm")?;
    let (_, name, digest, mac) = DIGESTS
        .iter()
        .find(|(known, ..)| *known == id)
        .ok_or_else(|| unsupported(id))?;
    // An absent password and an empty one are two in PKCS#12, and one to whoever types none.
    let spellings = [password.bmp(), Zeroizing::new(Vec::new())];
    let tried = if password.expose().is_empty() { 2 } else { 1 };
    for password in &spellings[..tried] {
        let rounds = budget.spend(iterations, 1)?;
        let key = derive(digest, password, salt, rounds);
        let tag = hmac::sign(&hmac::Key::new(*mac, &key), content);
        if constant_time::verify_slices_are_equal(tag.as_ref(), told).is_ok() {
            return Ok(Integrity::Hmac {
                digest: name,
                iterations,
            });
        }
    }
    Err(Locked::WrongPassword)
}

/// `MacData` with HMAC-SHA-256.
pub(super) fn mac_data(
    content: &[u8],
    password: &Password,
    salt: &[u8],
    iterations: NonZeroU32,
) -> Vec<u8> {
    let key = derive(&digest::SHA256, &password.bmp(), salt, iterations);
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &key), content);
    let algorithm = sequence(&[asn1::oid(SHA256), tlv(Tag::Null, &[])]);
    sequence(&[
        sequence(&[algorithm, tlv(Tag::OctetString, tag.as_ref())]),
        tlv(Tag::OctetString, salt),
        asn1::unsigned(u64::from(iterations.get())),
    ])
}

fn verify_pbmac1(
    parameters: &Tlv<'_>,
    content: &[u8],
    told: &[u8],
    password: &Password,
    budget: &mut Budget,
) -> Result<(), Locked> {
    let mut fields = parameters.cursor();
    let derivation = Derivation::read(&fields.expect(Tag::Sequence, "PBMAC1's derivation")?)?;
    let scheme = fields.expect(Tag::Sequence, "PBMAC1's MAC")?;
    fields.finish("PBMAC1's parameters")?;
    let id = plain_algorithm(&scheme, "PBMAC1's MAC")?;
    let mac = match id {
        HMAC_SHA1 => hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY,
        HMAC_SHA256 => hmac::HMAC_SHA256,
        HMAC_SHA384 => hmac::HMAC_SHA384,
        HMAC_SHA512 => hmac::HMAC_SHA512,
        other => return Err(unsupported(other)),
    };
    // RFC 9579 §4: the key length must be there, and 20 bytes at least.
    let len = derivation
        .key_len()
        .and_then(|len| usize::try_from(len).ok())
        .filter(|len| (20..=MAX_PBMAC1_KEY).contains(len))
        .ok_or_else(|| malformed("PBMAC1's key length is missing or out of bounds"))?;
    let key = derivation.derive(password, len, budget)?;
    let tag = hmac::sign(&hmac::Key::new(mac, &key), content);
    constant_time::verify_slices_are_equal(tag.as_ref(), told).map_err(|_| Locked::WrongPassword)
}

/// PKCS#12's own derivation (RFC 7292 §B.2), of a MAC key of the digest's length: its first block.
fn derive(
    digest: &'static digest::Algorithm,
    bmp_password: &[u8],
    salt: &[u8],
    iterations: NonZeroU32,
) -> Zeroizing<Vec<u8>> {
    let block = digest.block_len();
    // RFC 7292 §B.3: 3 is for integrity.
    let mut input = Zeroizing::new(vec![3; block]);
    for part in [salt, bmp_password] {
        let filled = part.len().div_ceil(block) * block;
        input.reserve_exact(filled);
        input.extend(part.iter().cycle().take(filled));
    }
    let mut key = digest::digest(digest, &input);
    for _ in 1..iterations.get() {
        key = digest::digest(digest, key.as_ref());
    }
    Zeroizing::new(key.as_ref().to_vec())
}

type Known = (
    ObjectIdentifier,
    &'static str,
    &'static digest::Algorithm,
    hmac::Algorithm,
);

const PBMAC1: ObjectIdentifier = oid("1.2.840.113549.1.5.14");
const SHA256: ObjectIdentifier = oid("2.16.840.1.101.3.4.2.1");

static DIGESTS: [Known; 5] = [
    (
        oid("1.3.14.3.2.26"),
        "SHA-1",
        &digest::SHA1_FOR_LEGACY_USE_ONLY,
        hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY,
    ),
    (
        oid("2.16.840.1.101.3.4.2.4"),
        "SHA-224",
        &digest::SHA224,
        hmac::HMAC_SHA224,
    ),
    (SHA256, "SHA-256", &digest::SHA256, hmac::HMAC_SHA256),
    (
        oid("2.16.840.1.101.3.4.2.2"),
        "SHA-384",
        &digest::SHA384,
        hmac::HMAC_SHA384,
    ),
    (
        oid("2.16.840.1.101.3.4.2.3"),
        "SHA-512",
        &digest::SHA512,
        hmac::HMAC_SHA512,
    ),
];

/// An HMAC's key is no longer than its widest block.
const MAX_PBMAC1_KEY: usize = 128;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn derivation_gives_the_keys_of_published_vectors() {
        // Bouncy Castle's and OpenSSL's vectors for SHA-1 (id 3) of "smeg" and "queeg".
        let check = |bmp: &[u8], salt: &[u8], iterations: u32, expected: &str| {
            let iterations = NonZeroU32::new(iterations).expect("not 0");
            let key = derive(&digest::SHA1_FOR_LEGACY_USE_ONLY, bmp, salt, iterations);
            assert_eq!(asn1::hex(&key), expected);
        };
        check(
            b"\0s\0m\0e\0g\0\0",
            b"\x3d\x83\xc0\xe4\x54\x6a\xc1\x40",
            1,
            "8d967d88f6caa9d714800ab3d48051d63f73a312",
        );
        check(
            b"\0q\0u\0e\0e\0g\0\0",
            b"\x26\x32\x16\xfc\xc2\xfa\xb3\x1c",
            1000,
            "5ec4c7a80df652294c3925b6489a7ab857c83476",
        );
    }
}
