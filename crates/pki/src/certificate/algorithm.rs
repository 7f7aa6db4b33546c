//! Key and signature algorithms: what they are called, and which are too weak.

mod roca;

use std::borrow::Cow;
use std::fmt;

use aws_lc_rs::signature::{
    self, ECDSA_P256_SHA1_ASN1, RSA_PKCS1_2048_8192_SHA1_FOR_LEGACY_USE_ONLY, UnparsedPublicKey,
    VerificationAlgorithm,
};
use const_oid::{ObjectIdentifier, ObjectIdentifierRef};
use der::Tag;

use crate::asn1::{self, Cursor, Malformed, Tlv};

/// The kind and size of a public key.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum KeyAlgorithm {
    /// An elliptic curve of the list below (RFC 5480).
    Ec {
        /// `P-256`, `P-384`, …, or the curve's OID.
        curve: String,
        /// The size of its field, where known.
        bits: Option<u16>,
    },
    /// RFC 8410.
    Ed25519,
    /// FIPS 204 at security category 2 (RFC 9881).
    MlDsa44,
    /// FIPS 204 at security category 3.
    MlDsa65,
    /// FIPS 204 at security category 5.
    MlDsa87,
    /// RSA, for PKCS#1 v1.5 or PSS.
    Rsa {
        /// The size of the modulus.
        bits: usize,
    },
    /// DSA, which nothing accepts any more.
    Dsa,
    /// Any other, by its name (`Ed448`) or OID.
    Other {
        /// Which.
        name: String,
    },
}

impl KeyAlgorithm {
    /// Reads a DER `SubjectPublicKeyInfo` whose bytes are the whole input.
    pub fn of(spki_der: &[u8]) -> Option<Self> {
        PublicKey::from_der(spki_der).ok().map(|key| key.algorithm)
    }

    /// The public exponent of an RSA key; larger ones than a `u64` come back as its maximum.
    pub fn rsa_exponent(spki_der: &[u8]) -> Option<u64> {
        let (_, exponent) = rsa_numbers(spki_der)?;
        exponent.unsigned("the RSA public key").ok()
    }

    /// Whether the modulus of an RSA key was made by the faulty generator of CVE-2017-15361 (ROCA), which gives itself away:
    /// modulo each of the smallest primes, it is a power of 65537.
    pub fn is_roca(spki_der: &[u8]) -> bool {
        rsa_numbers(spki_der).is_some_and(|(modulus, _)| roca::is_marked(modulus.content))
    }

    /// RSA under 2048 bits, curves under 256, DSA (NIST SP 800-131A r2).
    pub fn is_weak(&self) -> bool {
        match self {
            Self::Ec { bits, .. } => bits.is_some_and(|bits| bits < 256),
            Self::Rsa { bits } => *bits < 2048,
            Self::Dsa => true,
            Self::Ed25519 | Self::MlDsa44 | Self::MlDsa65 | Self::MlDsa87 | Self::Other { .. } => {
                false
            }
        }
    }
}

impl fmt::Display for KeyAlgorithm {
    /// `ECDSA P-256`, `RSA 2048`, `Ed25519`, `ML-DSA-65`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ec { curve, .. } => write!(f, "ECDSA {curve}"),
            Self::Ed25519 => f.write_str("Ed25519"),
            Self::MlDsa44 => f.write_str("ML-DSA-44"),
            Self::MlDsa65 => f.write_str("ML-DSA-65"),
            Self::MlDsa87 => f.write_str("ML-DSA-87"),
            Self::Rsa { bits } => write!(f, "RSA {bits}"),
            Self::Dsa => f.write_str("DSA"),
            Self::Other { name } => f.write_str(name),
        }
    }
}

/// Modulus and exponent.
fn rsa_numbers(spki_der: &[u8]) -> Option<(Tlv<'_>, Tlv<'_>)> {
    let key = PublicKey::from_der(spki_der).ok()?;
    let KeyAlgorithm::Rsa { .. } = key.algorithm else {
        return None;
    };
    let what = "the RSA public key";
    let mut numbers = Cursor::new(key.bits)
        .expect(Tag::Sequence, what)
        .ok()?
        .cursor();
    let modulus = numbers.expect(Tag::Integer, what).ok()?;
    let exponent = numbers.expect(Tag::Integer, what).ok()?;
    numbers.finish(what).ok()?;
    Some((modulus, exponent))
}

/// A `SubjectPublicKeyInfo` taken apart.
#[derive(Debug)]
pub(crate) struct PublicKey<'a> {
    pub(crate) algorithm: KeyAlgorithm,
    /// The content of its `AlgorithmIdentifier`.
    identifier: &'a [u8],
    /// The subjectPublicKey, without the BIT STRING's header.
    pub(crate) bits: &'a [u8],
}

impl<'a> PublicKey<'a> {
    pub(crate) fn decode(spki: &Tlv<'a>) -> Result<Self, Malformed> {
        let mut parts = spki.cursor();
        let algorithm = parts.expect(Tag::Sequence, "the public key's algorithm")?;
        let mut identifier = algorithm.cursor();
        let oid = identifier
            .expect(Tag::ObjectIdentifier, "the public key's algorithm")?
            .oid("the public key's algorithm")?;
        let parameters = if identifier.is_at_end() {
            None
        } else {
            Some(identifier.any("the public key's parameters")?)
        };
        identifier.finish("the public key's algorithm")?;
        let bits = parts
            .expect(Tag::BitString, "the public key")?
            .octet_aligned_bits("the public key")?;
        parts.finish("the public key")?;
        Ok(Self {
            algorithm: key_algorithm(oid, parameters.as_ref(), bits)?,
            identifier: algorithm.content,
            bits,
        })
    }

    /// Reads DER that holds nothing else.
    pub(crate) fn from_der(spki_der: &'a [u8]) -> Result<Self, Malformed> {
        let mut outer = Cursor::new(spki_der);
        let spki = outer.expect(Tag::Sequence, "the public key")?;
        outer.finish("the public key")?;
        Self::decode(&spki)
    }

    /// Whether `signature`, made with `algorithm` (an `AlgorithmIdentifier`), is this key's over `message`.
    pub(crate) fn verify(
        &self,
        algorithm: &Tlv<'_>,
        message: &[u8],
        signature: &[u8],
    ) -> Result<(), Malformed> {
        let scheme = SignatureScheme::decode(algorithm)?;
        let verifier = webpki::ALL_VERIFICATION_ALGS
            .iter()
            .find(|known| {
                known.public_key_alg_id().as_ref() == self.identifier
                    && known.signature_alg_id().as_ref() == algorithm.content
            })
            .ok_or_else(|| {
                Malformed(format!(
                    "signatures of {scheme} by a key of {} cannot be verified",
                    self.algorithm
                ))
            })?;
        verifier
            .verify_signature(self.bits, message, signature)
            .map_err(|_| unverified())
    }

    /// Whether `signature` is this key's over `message`, made with the algorithm that keys of its kind sign with.
    pub(crate) fn verify_statement(
        &self,
        message: &[u8],
        signature: &[u8],
    ) -> Result<(), Malformed> {
        let verifier = own_algorithm(&self.algorithm).ok_or_else(|| {
            Malformed(format!(
                "statements signed by a key of {} cannot be verified",
                self.algorithm
            ))
        })?;
        UnparsedPublicKey::new(verifier, self.bits)
            .verify(message, signature)
            .map_err(|_| unverified())
    }

    /// The same for signatures with SHA-1, of RSA keys and of P-256: proof of nothing, since they can be forged.
    pub(crate) fn verify_forgeable(
        &self,
        algorithm: &Tlv<'_>,
        message: &[u8],
        signature: &[u8],
    ) -> Result<(), Malformed> {
        let oid = algorithm
            .cursor()
            .expect(Tag::ObjectIdentifier, "the signature algorithm")?
            .oid("the signature algorithm")?;
        let is = |known: ObjectIdentifier| known.as_bytes() == oid.as_bytes();
        let verifier: &'static dyn VerificationAlgorithm = match &self.algorithm {
            KeyAlgorithm::Rsa { .. } if is(SHA1_WITH_RSA) => {
                &RSA_PKCS1_2048_8192_SHA1_FOR_LEGACY_USE_ONLY
            }
            KeyAlgorithm::Ec { curve, .. } if curve == "P-256" && is(ECDSA_WITH_SHA1) => {
                &ECDSA_P256_SHA1_ASN1
            }
            _ => return self.verify(algorithm, message, signature),
        };
        UnparsedPublicKey::new(verifier, self.bits)
            .verify(message, signature)
            .map_err(|_| unverified())
    }
}

/// What a key of each kind signs with where nothing says otherwise: the algorithm follows from the key, so that whoever sends a
/// signature chooses nothing.
fn own_algorithm(key: &KeyAlgorithm) -> Option<&'static dyn VerificationAlgorithm> {
    Some(match key {
        KeyAlgorithm::Ec { curve, .. } if curve == "P-256" => &signature::ECDSA_P256_SHA256_ASN1,
        KeyAlgorithm::Ec { curve, .. } if curve == "P-384" => &signature::ECDSA_P384_SHA384_ASN1,
        KeyAlgorithm::Ed25519 => &signature::ED25519,
        KeyAlgorithm::MlDsa44 => &signature::ML_DSA_44,
        KeyAlgorithm::MlDsa65 => &signature::ML_DSA_65,
        KeyAlgorithm::MlDsa87 => &signature::ML_DSA_87,
        KeyAlgorithm::Rsa { .. } => &signature::RSA_PKCS1_2048_8192_SHA256,
        _ => return None,
    })
}

/// Whoever sends an identifier may make it as long as it likes.
fn shown(oid: &ObjectIdentifierRef) -> String {
    asn1::dotted(oid).chars().take(MAX_SHOWN_CHARS).collect()
}

/// Identifiers of the field have under 40.
const MAX_SHOWN_CHARS: usize = 64;

fn unverified() -> Malformed {
    Malformed("the signature does not verify".to_owned())
}

const SHA1_WITH_RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.5");
const ECDSA_WITH_SHA1: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.4.1");

/// What a certificate, request or CRL was signed with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignatureScheme {
    name: Cow<'static, str>,
    weak: bool,
}

impl SignatureScheme {
    /// Rests on MD2, MD5, SHA-1 or DSA.
    pub fn is_weak(&self) -> bool {
        self.weak
    }

    /// Reads an `AlgorithmIdentifier`.
    pub(crate) fn decode(identifier: &Tlv<'_>) -> Result<Self, Malformed> {
        let mut parts = identifier.cursor();
        let oid = parts
            .expect(Tag::ObjectIdentifier, "the signature algorithm")?
            .oid("the signature algorithm")?;
        let parameters = if parts.is_at_end() {
            None
        } else {
            Some(parts.any("the signature algorithm's parameters")?)
        };
        parts.finish("the signature algorithm")?;
        if oid.as_bytes() == RSASSA_PSS.as_bytes() {
            return Self::pss(parameters.as_ref());
        }
        let known = SIGNATURES
            .iter()
            .find(|(known, _, _)| known.as_bytes() == oid.as_bytes());
        Ok(known.map_or_else(
            || Self {
                name: shown(oid).into(),
                weak: false,
            },
            |&(_, name, weak)| Self {
                name: name.into(),
                weak,
            },
        ))
    }

    /// RFC 4055 §3.1: the hash stands in `[0]`, and is SHA-1 when left out.
    fn pss(parameters: Option<&Tlv<'_>>) -> Result<Self, Malformed> {
        let what = "the RSASSA-PSS parameters";
        let hash = match parameters {
            Some(parameters) if parameters.tag == Tag::Sequence => {
                parameters.cursor().optional(asn1::constructed(0), what)?
            }
            _ => None,
        };
        let Some(hash) = hash else {
            return Ok(Self {
                name: "RSA-PSS with SHA-1".into(),
                weak: true,
            });
        };
        let oid = hash
            .cursor()
            .expect(Tag::Sequence, what)?
            .cursor()
            .expect(Tag::ObjectIdentifier, what)?
            .oid(what)?;
        let known = HASHES
            .iter()
            .find(|(known, _, _)| known.as_bytes() == oid.as_bytes());
        let (hash, weak) = known.map_or_else(
            || (asn1::dotted(oid), false),
            |&(_, name, weak)| (name.to_owned(), weak),
        );
        Ok(Self {
            name: format!("RSA-PSS with {hash}").into(),
            weak,
        })
    }
}

impl fmt::Display for SignatureScheme {
    /// `ECDSA with SHA-256`, or the OID.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

fn key_algorithm(
    oid: &ObjectIdentifierRef,
    parameters: Option<&Tlv<'_>>,
    bits: &[u8],
) -> Result<KeyAlgorithm, Malformed> {
    let is = |known: ObjectIdentifier| known.as_bytes() == oid.as_bytes();
    if is(EC_PUBLIC_KEY) {
        // RFC 5480 §2.1.1: named curves only.
        let curve = parameters
            .filter(|parameters| parameters.tag == Tag::ObjectIdentifier)
            .ok_or_else(|| Malformed("the public key's curve is not a named one".to_owned()))?
            .oid("the public key's curve")?;
        let known = CURVES
            .iter()
            .find(|(known, _, _)| known.as_bytes() == curve.as_bytes());
        return Ok(known.map_or_else(
            || KeyAlgorithm::Ec {
                curve: asn1::dotted(curve),
                bits: None,
            },
            |&(_, name, bits)| KeyAlgorithm::Ec {
                curve: name.to_owned(),
                bits: Some(bits),
            },
        ));
    }
    if is(RSA_ENCRYPTION) || is(RSASSA_PSS) {
        return Ok(KeyAlgorithm::Rsa {
            bits: modulus_bits(bits)?,
        });
    }
    if is(ED25519) {
        return Ok(KeyAlgorithm::Ed25519);
    }
    if is(DSA) {
        return Ok(KeyAlgorithm::Dsa);
    }
    if let Some((_, key, length)) = ML_DSA_KEYS.iter().find(|(known, ..)| is(*known)) {
        return ml_dsa(key, *length, parameters, bits);
    }
    let name = if is(ED448) {
        "Ed448".to_owned()
    } else {
        asn1::dotted(oid)
    };
    Ok(KeyAlgorithm::Other { name })
}

/// RFC 9881 §2: no parameters; §4: the key's octets and nothing around them.
fn ml_dsa(
    key: &KeyAlgorithm,
    length: usize,
    parameters: Option<&Tlv<'_>>,
    bits: &[u8],
) -> Result<KeyAlgorithm, Malformed> {
    if parameters.is_some() {
        return Err(Malformed(format!("the {key} key has parameters")));
    }
    if bits.len() != length {
        return Err(Malformed(format!(
            "the {key} key has {} octets, not {length}",
            bits.len()
        )));
    }
    Ok(key.clone())
}

/// RFC 8017 appendix A.1.1.
fn modulus_bits(key: &[u8]) -> Result<usize, Malformed> {
    let what = "the RSA public key";
    let mut outer = Cursor::new(key);
    let modulus = outer
        .expect(Tag::Sequence, what)?
        .cursor()
        .expect(Tag::Integer, what)?
        .integer(what)?;
    outer.finish(what)?;
    let magnitude = if modulus[0] == 0 {
        &modulus[1..]
    } else {
        modulus
    };
    Ok(magnitude.first().map_or(0, |first| {
        magnitude.len() * 8 - first.leading_zeros() as usize
    }))
}

const EC_PUBLIC_KEY: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
const RSA_ENCRYPTION: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");
const RSASSA_PSS: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.10");
const ED25519: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.112");
const DSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10040.4.1");

const CURVES: [(ObjectIdentifier, &str, u16); 6] = [
    (
        ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7"),
        "P-256",
        256,
    ),
    (ObjectIdentifier::new_unwrap("1.3.132.0.34"), "P-384", 384),
    (ObjectIdentifier::new_unwrap("1.3.132.0.35"), "P-521", 521),
    (
        ObjectIdentifier::new_unwrap("1.3.132.0.10"),
        "secp256k1",
        256,
    ),
    (ObjectIdentifier::new_unwrap("1.3.132.0.33"), "P-224", 224),
    (
        ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.1"),
        "P-192",
        192,
    ),
];

const ED448: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.113");

/// RFC 9881 §2; of keys and of their signatures alike.
pub(crate) const ML_DSA_44: ObjectIdentifier =
    ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.3.17");
pub(crate) const ML_DSA_65: ObjectIdentifier =
    ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.3.18");
pub(crate) const ML_DSA_87: ObjectIdentifier =
    ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.3.19");

/// With the octets of the public key (FIPS 204 table 2).
const ML_DSA_KEYS: [(ObjectIdentifier, KeyAlgorithm, usize); 3] = [
    (ML_DSA_44, KeyAlgorithm::MlDsa44, 1312),
    (ML_DSA_65, KeyAlgorithm::MlDsa65, 1952),
    (ML_DSA_87, KeyAlgorithm::MlDsa87, 2592),
];

/// With whether it is weak.
const SIGNATURES: [(ObjectIdentifier, &str, bool); 19] = [
    (
        ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.2"),
        "ECDSA with SHA-256",
        false,
    ),
    (
        ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.3"),
        "ECDSA with SHA-384",
        false,
    ),
    (
        ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.4"),
        "ECDSA with SHA-512",
        false,
    ),
    (
        ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.1"),
        "ECDSA with SHA-224",
        false,
    ),
    (
        ObjectIdentifier::new_unwrap("1.2.840.10045.4.1"),
        "ECDSA with SHA-1",
        true,
    ),
    (
        ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.11"),
        "RSA with SHA-256",
        false,
    ),
    (
        ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.12"),
        "RSA with SHA-384",
        false,
    ),
    (
        ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.13"),
        "RSA with SHA-512",
        false,
    ),
    (
        ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.14"),
        "RSA with SHA-224",
        false,
    ),
    (
        ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.5"),
        "RSA with SHA-1",
        true,
    ),
    (
        ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.4"),
        "RSA with MD5",
        true,
    ),
    (
        ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.2"),
        "RSA with MD2",
        true,
    ),
    (
        ObjectIdentifier::new_unwrap("1.2.840.10040.4.3"),
        "DSA with SHA-1",
        true,
    ),
    (
        ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.3.2"),
        "DSA with SHA-256",
        true,
    ),
    (ED25519, "Ed25519", false),
    (ED448, "Ed448", false),
    (ML_DSA_44, "ML-DSA-44", false),
    (ML_DSA_65, "ML-DSA-65", false),
    (ML_DSA_87, "ML-DSA-87", false),
];

const HASHES: [(ObjectIdentifier, &str, bool); 4] = [
    (
        ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.2.1"),
        "SHA-256",
        false,
    ),
    (
        ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.2.2"),
        "SHA-384",
        false,
    ),
    (
        ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.2.3"),
        "SHA-512",
        false,
    ),
    (ObjectIdentifier::new_unwrap("1.3.14.3.2.26"), "SHA-1", true),
];
