//! Private keys in whatever usual form they are (PKCS#8, SEC 1, PKCS#1): what is kept is PKCS#8 and the public half.

use std::fmt;

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der, PublicKeyX509Der};
use aws_lc_rs::error::Unspecified;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P384_SHA384_ASN1_SIGNING, ECDSA_P521_SHA512_ASN1_SIGNING,
    EcdsaKeyPair, Ed25519KeyPair, KeyPair, ML_DSA_44_SIGNING, ML_DSA_65_SIGNING, ML_DSA_87_SIGNING,
    PqdsaKeyPair, RsaKeyPair,
};
use const_oid::ObjectIdentifier;
use der::Tag;
use zeroize::Zeroizing;

use crate::asn1::{self, Cursor, Malformed, Tlv, constructed, sequence, tlv};

/// A private key of a kind that is known here. Neither printable nor serializable.
pub struct PrivateKey {
    pkcs8: Zeroizing<Vec<u8>>,
    spki: Vec<u8>,
}

impl PrivateKey {
    /// PKCS#8, SEC 1 or PKCS#1, in DER.
    pub fn of_der(der: &[u8]) -> Option<Self> {
        Self::ecdsa(der)
            .or_else(|| Self::rsa(der).ok())
            .or_else(|| Self::ed25519(der).ok())
            .or_else(|| Self::ml_dsa(der))
    }

    fn ecdsa(der: &[u8]) -> Option<Self> {
        let curves = [
            &ECDSA_P256_SHA256_ASN1_SIGNING,
            &ECDSA_P384_SHA384_ASN1_SIGNING,
            &ECDSA_P521_SHA512_ASN1_SIGNING,
        ];
        curves.into_iter().find_map(|curve| {
            let pair = EcdsaKeyPair::from_pkcs8(curve, der)
                .or_else(|_| EcdsaKeyPair::from_private_key_der(curve, der))
                .ok()?;
            let document = pair.to_pkcs8v1().ok()?;
            Self::new(document.as_ref(), pair.public_key().as_der()).ok()
        })
    }

    fn rsa(der: &[u8]) -> Result<Self, Unspecified> {
        let pair = RsaKeyPair::from_pkcs8(der)
            .or_else(|_| RsaKeyPair::from_der(der))
            .map_err(|_| Unspecified)?;
        let document: Pkcs8V1Der<'_> = pair.as_der()?;
        Self::new(document.as_ref(), pair.public_key().as_der())
    }

    fn ed25519(der: &[u8]) -> Result<Self, Unspecified> {
        let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(der).map_err(|_| Unspecified)?;
        // Version 1: OpenSSL before 3.2 and Java read nothing else.
        let document = pair.to_pkcs8v1()?;
        Self::new(document.as_ref(), pair.public_key().as_der())
    }

    /// RFC 9881 §6: the seed, the expanded key, or both, which have to agree.
    fn ml_dsa(der: &[u8]) -> Option<Self> {
        let parameter_sets = [&ML_DSA_44_SIGNING, &ML_DSA_65_SIGNING, &ML_DSA_87_SIGNING];
        let pair = parameter_sets
            .into_iter()
            .find_map(|parameter_set| PqdsaKeyPair::from_pkcs8(parameter_set, der).ok())?;
        let spki = pair.public_key().as_der();
        // There is no way back from the expanded key to the seed.
        match pair.to_pkcs8v1() {
            Ok(seed) => Self::new(seed.as_ref(), spki).ok(),
            Err(_) => Self::new(der, spki).ok(),
        }
    }

    fn new(
        pkcs8: &[u8],
        spki: Result<PublicKeyX509Der<'_>, Unspecified>,
    ) -> Result<Self, Unspecified> {
        Ok(Self {
            pkcs8: Zeroizing::new(pkcs8.to_vec()),
            spki: spki?.as_ref().to_vec(),
        })
    }

    /// PKCS#8 in DER.
    pub fn pkcs8(&self) -> &[u8] {
        &self.pkcs8
    }

    /// `SubjectPublicKeyInfo` in DER.
    pub fn spki_der(&self) -> &[u8] {
        &self.spki
    }
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PrivateKey(…)")
    }
}

/// The public half of a key in DER, as a `SubjectPublicKeyInfo`, as far as the file says it: of keys too that are too short or too
/// strange to be used. `None`: it is no private key.
pub fn public_half(der: &[u8]) -> Option<PublicHalf> {
    if let Some(key) = PrivateKey::of_der(der) {
        return Some(PublicHalf::Known(key.spki));
    }
    told_public_half(der).ok()
}

/// What a file says of a private key's public half.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PublicHalf {
    /// `SubjectPublicKeyInfo` in DER.
    Known(Vec<u8>),
    /// It is a key, and does not tell.
    NotTold,
}

fn told_public_half(der: &[u8]) -> Result<PublicHalf, Malformed> {
    let whole = Cursor::new(der).expect(Tag::Sequence, "the key")?;
    let mut fields = whole.cursor();
    let version = fields
        .expect(Tag::Integer, "the version")?
        .unsigned("the version")?;
    match fields.any("the key")? {
        // RFC 5958 §2.
        algorithm if algorithm.tag == Tag::Sequence && version <= 1 => {
            let key = fields.expect(Tag::OctetString, "the key")?;
            in_pkcs8(&algorithm, key.content)
        }
        // RFC 8017 §A.1.2.
        modulus if modulus.tag == Tag::Integer && version <= 1 => in_pkcs1(&modulus, &mut fields),
        // RFC 5915 §3.
        key if key.tag == Tag::OctetString && version == 1 => {
            let parameters = fields.optional(constructed(0), "the curve")?;
            let curve = parameters.map(|it| it.content);
            ec_public(curve, &mut fields)
        }
        _ => Err(Malformed("it is no private key".to_owned())),
    }
}

fn in_pkcs8(algorithm: &Tlv<'_>, key: &[u8]) -> Result<PublicHalf, Malformed> {
    let mut identifier = algorithm.cursor();
    let oid = identifier
        .expect(Tag::ObjectIdentifier, "the algorithm")?
        .content;
    if oid == RSA.as_bytes() {
        // One level: a key in a key in a key would be a way to use up the stack.
        let inner = Cursor::new(key).expect(Tag::Sequence, "the key")?;
        let mut fields = inner.cursor();
        fields.expect(Tag::Integer, "the version")?;
        let modulus = fields.expect(Tag::Integer, "the modulus")?;
        return in_pkcs1(&modulus, &mut fields);
    }
    if oid == EC.as_bytes() {
        let curve = identifier.any("the curve")?;
        let inner = Cursor::new(key).expect(Tag::Sequence, "the key")?;
        let mut fields = inner.cursor();
        fields.expect(Tag::Integer, "the version")?;
        fields.expect(Tag::OctetString, "the key")?;
        fields.optional(constructed(0), "the curve")?;
        return ec_public(Some(curve.whole), &mut fields);
    }
    Ok(PublicHalf::NotTold)
}

fn in_pkcs1(modulus: &Tlv<'_>, fields: &mut Cursor<'_>) -> Result<PublicHalf, Malformed> {
    let exponent = fields.expect(Tag::Integer, "the exponent")?;
    fields.expect(Tag::Integer, "the private exponent")?;
    Ok(rsa_public(modulus, &exponent))
}

fn ec_public(curve: Option<&[u8]>, fields: &mut Cursor<'_>) -> Result<PublicHalf, Malformed> {
    let point = fields.optional(constructed(1), "the public key")?;
    let (Some(curve), Some(point)) = (curve, point) else {
        return Ok(PublicHalf::NotTold);
    };
    let identifier = sequence(&[asn1::oid(EC), curve.to_vec()]);
    Ok(PublicHalf::Known(sequence(&[
        identifier,
        point.content.to_vec(),
    ])))
}

fn rsa_public(modulus: &Tlv<'_>, exponent: &Tlv<'_>) -> PublicHalf {
    let numbers = sequence(&[modulus.whole, exponent.whole]);
    let identifier = sequence(&[asn1::oid(RSA), tlv(Tag::Null, &[])]);
    PublicHalf::Known(sequence(&[identifier, asn1::bit_string(&numbers)]))
}

/// RFC 8017 §A.1.
const RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");
/// RFC 5480 §2.1.1.
const EC: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn key_in_a_key_in_a_key_is_none_and_takes_no_stack() {
        let algorithm = sequence(&[asn1::oid(RSA), tlv(Tag::Null, &[])]);
        let version = tlv(Tag::Integer, &[0]);
        let wrapped = |key: &[u8]| {
            sequence(&[
                version.clone(),
                algorithm.clone(),
                tlv(Tag::OctetString, key),
            ])
        };
        let mut nested = wrapped(&[]);
        for _ in 0..2000 {
            nested = wrapped(&nested);
        }
        assert_eq!(public_half(&nested), None);
        // One level is how PKCS#8 holds it.
        let number = tlv(Tag::Integer, &[3]);
        let key = sequence(&[version.clone(), number.clone(), number.clone(), number]);
        assert!(matches!(
            public_half(&wrapped(&key)),
            Some(PublicHalf::Known(_))
        ));
    }
}
