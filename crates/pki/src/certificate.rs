//! A certificate, decoded once and strictly.

mod access;
mod algorithm;
mod decode;
mod distribution;
mod extension;

use std::ops::Range;

use der::Tag;
use rustls_pki_types::CertificateDer;

use crate::asn1::{self, Cursor, Malformed, Tlv};
use crate::dn::DistinguishedName;
use crate::fingerprint::Fingerprint;
use crate::name::TypedName;
use crate::serial::SerialNumber;
use crate::time::UnixTime;

pub use algorithm::{KeyAlgorithm, SignatureScheme};
pub(crate) use algorithm::{ML_DSA_44, ML_DSA_65, ML_DSA_87, PublicKey};
pub(crate) use decode::{MAX_EXTENSIONS, extension_list, extensions};
pub(crate) use distribution::{crl_uris, full_name_uris};
pub use extension::{ExtendedKeyUsage, Extension, KeyUsage};
pub(crate) use extension::{SubjectAltNames, id, says_ca};

/// A decoded X.509 certificate with its DER.
#[derive(Clone, Debug)]
pub struct Certificate {
    der: CertificateDer<'static>,
    fingerprint: Fingerprint,
    spki: Fingerprint,
    version: u8,
    serial: SerialNumber,
    issuer: DistinguishedName,
    subject: DistinguishedName,
    not_before: UnixTime,
    not_after: UnixTime,
    key_algorithm: KeyAlgorithm,
    signature_scheme: SignatureScheme,
    /// SANs in order, then the names that the other fields make.
    names: Vec<TypedName>,
    extensions: Vec<ExtensionPlace>,
    decoded: extension::Decoded,
    places: Places,
}

/// Where things lie in the DER.
#[derive(Clone, Debug, Default)]
struct Places {
    to_be_signed: Range<usize>,
    issuer: Range<usize>,
    subject: Range<usize>,
    spki: Range<usize>,
    signature: Range<usize>,
}

/// An extension, as places in the DER.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ExtensionPlace {
    pub(crate) oid: Range<usize>,
    pub(crate) critical: bool,
    pub(crate) value: Range<usize>,
}

impl Certificate {
    /// Decodes DER; refuses over [`MAX_BYTES`], duplicate extensions, NUL in names, bad serials, trailing bytes, and names
    /// that are not what their type says.
    pub fn parse(der: &[u8]) -> Result<Self, MalformedCertificate> {
        Ok(decode::certificate(der, decode::Serial::Positive)?)
    }

    /// The same for a trust anchor, whose serial number may be zero: path validation never looks at it (RFC 5280 §6.1.1),
    /// and roots in use have it.
    pub fn parse_anchor(der: &[u8]) -> Result<Self, MalformedCertificate> {
        Ok(decode::certificate(der, decode::Serial::MayBeZero)?)
    }

    /// The same for whoever explains a certificate that others refuse: with what is wrong with it, where the rest can be read. A serial
    /// number that cannot be held counts as zero. Nobody may be admitted by what this returns.
    pub fn parse_as_evidence(der: &[u8]) -> Result<(Self, Option<Flaw>), MalformedCertificate> {
        let strict = match Self::parse(der) {
            Ok(sound) => return Ok((sound, None)),
            Err(error) => error.why,
        };
        match decode::certificate(der, decode::Serial::Any) {
            Ok(rest) => Ok((rest, Some(Flaw::Serial(strict)))),
            Err(Malformed(why)) => {
                let rest = decode::certificate(der, decode::Serial::AnyWithAnyNames)?;
                Ok((rest, Some(Flaw::Name(why))))
            }
        }
    }

    /// The bytes.
    pub fn der(&self) -> &CertificateDer<'static> {
        &self.der
    }

    /// 1, 2 or 3; an old version is no fault of decoding.
    pub fn version(&self) -> u8 {
        self.version
    }

    /// Subject.
    pub fn subject(&self) -> &DistinguishedName {
        &self.subject
    }

    /// The subject as it is encoded; verifiers compare names in this form.
    pub fn subject_der(&self) -> &[u8] {
        &self.der[self.places.subject.clone()]
    }

    /// Issuer; never empty.
    pub fn issuer(&self) -> &DistinguishedName {
        &self.issuer
    }

    /// The issuer as it is encoded.
    pub fn issuer_der(&self) -> &[u8] {
        &self.der[self.places.issuer.clone()]
    }

    /// Serial number.
    pub fn serial(&self) -> SerialNumber {
        self.serial
    }

    /// Beginning.
    pub fn not_before(&self) -> UnixTime {
        self.not_before
    }

    /// End.
    pub fn not_after(&self) -> UnixTime {
        self.not_after
    }

    /// SHA-256 of the whole.
    pub fn fingerprint(&self) -> Fingerprint {
        self.fingerprint
    }

    /// The bytes that were signed.
    pub fn to_be_signed(&self) -> &[u8] {
        &self.der[self.places.to_be_signed.clone()]
    }

    /// The signature's bits; nobody has verified them here.
    pub fn signature(&self) -> &[u8] {
        &self.der[self.places.signature.clone()]
    }

    /// `SubjectPublicKeyInfo` in DER.
    pub fn spki_der(&self) -> &[u8] {
        &self.der[self.places.spki.clone()]
    }

    /// SHA-256 of the `SubjectPublicKeyInfo`.
    pub fn spki(&self) -> Fingerprint {
        self.spki
    }

    /// The kind and size of the key.
    pub fn public_key_algorithm(&self) -> &KeyAlgorithm {
        &self.key_algorithm
    }

    /// What makes the key too weak to rely on, such as `RSA 1024`; `None`: nothing known.
    pub fn weak_key(&self) -> Option<String> {
        self.key_algorithm
            .is_weak()
            .then(|| self.key_algorithm.to_string())
    }

    /// What the issuer signed with.
    pub fn signature_algorithm(&self) -> &SignatureScheme {
        &self.signature_scheme
    }

    /// The signature algorithm, if it rests on MD2, MD5, SHA-1 or DSA.
    pub fn weak_signature(&self) -> Option<String> {
        self.signature_scheme
            .is_weak()
            .then(|| self.signature_scheme.to_string())
    }

    /// Whether the key of `issuer` made the signature. Names, times and rights are the caller's to judge.
    pub fn verify_signature(&self, issuer: &Self) -> Result<(), MalformedCertificate> {
        let key = PublicKey::from_der(issuer.spki_der())?;
        let algorithm = self.signature_identifier()?;
        Ok(key.verify(&algorithm, self.to_be_signed(), self.signature())?)
    }

    /// Whether the certificate's own key made the signature, be it with SHA-1. That a trust anchor has signed itself is no part of
    /// any path's validation (RFC 5280 §6.1), but one for which it is not true is damaged, or is none.
    pub fn verify_self_signature(&self) -> Result<(), MalformedCertificate> {
        let key = PublicKey::from_der(self.spki_der())?;
        let algorithm = self.signature_identifier()?;
        Ok(key.verify_forgeable(&algorithm, self.to_be_signed(), self.signature())?)
    }

    /// Whether the certificate's key signed `message`, with the algorithm that keys of its kind sign with: ECDSA on P-256 with
    /// SHA-256 and on P-384 with SHA-384, Ed25519, RSA PKCS#1 with SHA-256, ML-DSA. Whether the certificate is to be believed is the
    /// caller's to judge, and that the message can be nothing else is too.
    pub fn verify_statement(
        &self,
        message: &[u8],
        signature: &[u8],
    ) -> Result<(), MalformedCertificate> {
        let key = PublicKey::from_der(self.spki_der())?;
        Ok(key.verify_statement(message, signature)?)
    }

    fn signature_identifier(&self) -> Result<Tlv<'_>, MalformedCertificate> {
        let mut fields = Cursor::new(&self.der)
            .expect(Tag::Sequence, "the certificate")?
            .cursor();
        fields.expect(Tag::Sequence, "tbsCertificate")?;
        Ok(fields.expect(Tag::Sequence, "signatureAlgorithm")?)
    }

    /// Every typed name: SANs in order, then CN (if exactly one), DN (if not empty), SPKI, serial with issuer.
    pub fn names(&self) -> &[TypedName] {
        &self.names
    }

    /// The names of subjectAltName that have a type here, in order.
    pub fn subject_alt_names(&self) -> &[TypedName] {
        &self.names[..self.decoded.typed_alt_names]
    }

    /// Whether there is a subjectAltName, of whatever names.
    pub fn has_alt_names(&self) -> bool {
        self.has(id::SUBJECT_ALT_NAME)
    }

    /// How many names of subjectAltName are of a kind that no rule can use (otherName, directoryName, …).
    pub fn other_alt_names(&self) -> usize {
        self.decoded.other_alt_names
    }

    /// Whether there is a subjectAltName and it is critical (RFC 5280 §4.2.1.6).
    pub fn san_critical(&self) -> bool {
        self.is_critical(id::SUBJECT_ALT_NAME)
    }

    /// basicConstraints CA:TRUE.
    pub fn is_ca(&self) -> bool {
        self.decoded.is_ca
    }

    /// pathLenConstraint; over 255 counts as 255.
    pub fn path_len(&self) -> Option<u8> {
        self.decoded.path_len
    }

    /// Whether there is a basicConstraints at all.
    pub fn basic_constraints_present(&self) -> bool {
        self.has(id::BASIC_CONSTRAINTS)
    }

    /// Whether basicConstraints is critical.
    pub fn basic_constraints_critical(&self) -> bool {
        self.is_critical(id::BASIC_CONSTRAINTS)
    }

    /// keyUsage; `None` when absent.
    pub fn key_usage(&self) -> Option<KeyUsage> {
        self.decoded.key_usage
    }

    /// Whether keyUsage is critical.
    pub fn key_usage_critical(&self) -> bool {
        self.is_critical(id::KEY_USAGE)
    }

    /// subjectKeyIdentifier.
    pub fn subject_key_id(&self) -> Option<&[u8]> {
        self.decoded
            .subject_key_id
            .clone()
            .map(|place| &self.der[place])
    }

    /// authorityKeyIdentifier's keyIdentifier.
    pub fn authority_key_id(&self) -> Option<&[u8]> {
        self.decoded
            .authority_key_id
            .clone()
            .map(|place| &self.der[place])
    }

    /// What in authorityKeyIdentifier speaks of another certificate than `issuer`: another key, name or serial number. Verifiers such as
    /// OpenSSL then take `issuer` for none of this one, whatever its key has signed.
    pub fn disagreement_with_issuer(&self, issuer: &Self) -> Option<String> {
        let place = self
            .extensions
            .iter()
            .find(|place| self.der[place.oid.clone()] == *id::AUTHORITY_KEY_ID.as_bytes())?;
        let quoted = extension::AuthorityKeyId::decode(&self.der[place.value.clone()]).ok()?;
        if let (Some(quoted), Some(held)) = (quoted.key, issuer.subject_key_id())
            && quoted != held
        {
            let (quoted, held) = (asn1::hex(quoted), asn1::hex(held));
            return Some(format!("it quotes the key {quoted}, the issuer has {held}"));
        }
        if let Some(quoted) = quoted.serial
            && SerialNumber::from_der_integer(quoted).is_ok_and(|quoted| quoted != issuer.serial)
        {
            return Some(format!(
                "it quotes the serial number {}, the issuer's certificate has {}",
                asn1::hex(quoted),
                issuer.serial
            ));
        }
        quoted
            .issuer
            .filter(|quoted| *quoted != issuer.issuer_der())
            .map(|_| "it quotes another issuer of the issuer".to_owned())
    }

    /// extendedKeyUsage; `None` when absent.
    pub fn extended_key_usage(&self) -> Option<&ExtendedKeyUsage> {
        self.decoded.extended_key_usage.as_ref()
    }

    /// Whether nobody shall ask for the revocation of this OCSP responder (RFC 6960 §4.2.2.2.1).
    pub fn has_ocsp_no_check(&self) -> bool {
        self.has(id::OCSP_NO_CHECK)
    }

    /// The URIs in cRLDistributionPoints; none where it is absent, malformed, or speaks of another issuer's CRL or of some
    /// reasons only.
    pub fn crl_uris(&self) -> Vec<&str> {
        self.value(id::CRL_DISTRIBUTION_POINTS)
            .and_then(|value| crl_uris(value).ok())
            .unwrap_or_default()
    }

    /// The URIs of the OCSP responders in authorityInfoAccess; none where it is absent or malformed.
    pub fn ocsp_uris(&self) -> Vec<&str> {
        self.access_uris(&id::ACCESS_OCSP)
    }

    /// The URIs in authorityInfoAccess at which its issuer's certificate is to be had; none where it is absent or malformed.
    pub fn issuer_uris(&self) -> Vec<&str> {
        self.access_uris(&id::ACCESS_CA_ISSUERS)
    }

    fn access_uris(&self, method: &const_oid::ObjectIdentifier) -> Vec<&str> {
        self.value(id::AUTHORITY_INFO_ACCESS)
            .and_then(|value| access::uris(value, method).ok())
            .unwrap_or_default()
    }

    /// Whether its server has to bring an OCSP answer along, "must-staple" (RFC 7633).
    pub fn must_staple(&self) -> bool {
        self.value(id::TLS_FEATURE)
            .is_some_and(|value| access::wants_staple(value).unwrap_or(false))
    }

    /// Whether it constrains the names below it (RFC 5280 §4.2.1.10).
    pub fn has_name_constraints(&self) -> bool {
        self.has(id::NAME_CONSTRAINTS)
    }

    /// Every extension, in order.
    pub fn extensions(&self) -> impl Iterator<Item = Extension<'_>> {
        self.extensions.iter().map(|place| {
            Extension::new(
                &self.der[place.oid.clone()],
                place.critical,
                &self.der[place.value.clone()],
            )
        })
    }

    pub(crate) fn extension_places(&self) -> &[ExtensionPlace] {
        &self.extensions
    }

    /// The critical extensions that no verifier here processes, as dotted OIDs (RFC 5280 §4.2: they must be refused).
    pub fn unknown_critical_extensions(&self) -> Vec<String> {
        self.extensions()
            .filter(|extension| extension.critical && !extension.is_processed())
            .map(|extension| extension.oid())
            .collect()
    }

    fn value(&self, oid: const_oid::ObjectIdentifier) -> Option<&[u8]> {
        self.extensions
            .iter()
            .find(|place| self.der[place.oid.clone()] == *oid.as_bytes())
            .map(|place| &self.der[place.value.clone()])
    }

    fn has(&self, oid: const_oid::ObjectIdentifier) -> bool {
        self.extensions
            .iter()
            .any(|place| self.der[place.oid.clone()] == *oid.as_bytes())
    }

    fn is_critical(&self, oid: const_oid::ObjectIdentifier) -> bool {
        self.extensions
            .iter()
            .any(|place| place.critical && self.der[place.oid.clone()] == *oid.as_bytes())
    }
}

/// What is wrong with a certificate whose rest can be read. In words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Flaw {
    /// A name in subjectAltName is not what its type says.
    Name(String),
    /// The serial number.
    Serial(String),
}

/// Why bytes are not a certificate.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("malformed certificate: {why}")]
#[non_exhaustive]
pub struct MalformedCertificate {
    /// What is wrong, in words.
    pub why: String,
}

impl From<Malformed> for MalformedCertificate {
    fn from(fault: Malformed) -> Self {
        Self { why: fault.0 }
    }
}

/// Larger certificates are refused; a leaf of ours has under 2 KiB, with ML-DSA-87 under 10.
pub const MAX_BYTES: usize = 64 * 1024;
