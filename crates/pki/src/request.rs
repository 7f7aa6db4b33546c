//! Certificate requests (PKCS#10, RFC 2986).

use const_oid::ObjectIdentifier;
use der::Tag;

use crate::asn1::{self, Cursor, Malformed, Tlv};
use crate::certificate::{self, Extension, KeyAlgorithm, PublicKey, SubjectAltNames, id};
use crate::dn::DistinguishedName;
use crate::name::TypedName;
use crate::tbs::{self, SignatureAlgorithm};

/// A request whose proof of possession was checked.
#[derive(Clone, Debug)]
pub struct CertificateRequest {
    der: Vec<u8>,
    spki: std::ops::Range<usize>,
    subject: DistinguishedName,
    key_algorithm: KeyAlgorithm,
    subject_alt_names: Vec<TypedName>,
    other_alt_names: usize,
    ignored_extensions: Vec<String>,
    unknown_critical: Vec<String>,
    wants_ca: bool,
}

/// What a request asks for beside its key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wishes {
    /// SANs.
    pub subject_alt_names: Vec<TypedName>,
    /// SANs of a kind that nothing here issues (otherName, directoryName, …).
    pub other_alt_names: usize,
    /// Whether basicConstraints say CA:TRUE.
    pub wants_ca: bool,
    /// Extensions, by OID, that are critical to it and not known here.
    pub unknown_critical: Vec<String>,
}

impl CertificateRequest {
    /// Decodes DER and verifies the signature by its own key; refuses over 64 KiB, and keys that are too weak.
    pub fn parse(der: &[u8]) -> Result<Self, InvalidRequest> {
        Ok(Self::decode(der)?)
    }

    /// The bytes.
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// `SubjectPublicKeyInfo` in DER.
    pub fn spki_der(&self) -> &[u8] {
        &self.der[self.spki.clone()]
    }

    /// The kind and size of the key.
    pub fn public_key_algorithm(&self) -> &KeyAlgorithm {
        &self.key_algorithm
    }

    /// Subject.
    pub fn subject(&self) -> &DistinguishedName {
        &self.subject
    }

    /// SANs that it asks for.
    pub fn subject_alt_names(&self) -> &[TypedName] {
        &self.subject_alt_names
    }

    /// How many SANs it asks for of a kind that nothing here issues (otherName, directoryName, …).
    pub fn other_alt_names(&self) -> usize {
        self.other_alt_names
    }

    /// What else it asks for and will not get, since the profile decides: extensions by name or OID.
    pub fn ignored_extensions(&self) -> &[String] {
        &self.ignored_extensions
    }

    /// What it asks for, for those who decide.
    pub fn wishes(&self) -> Wishes {
        Wishes {
            subject_alt_names: self.subject_alt_names.clone(),
            other_alt_names: self.other_alt_names,
            wants_ca: self.wants_ca,
            unknown_critical: self.unknown_critical.clone(),
        }
    }

    fn decode(der: &[u8]) -> Result<Self, Malformed> {
        if der.len() > certificate::MAX_BYTES {
            return Err(Malformed(format!(
                "it has {} bytes, at most {} are taken",
                der.len(),
                certificate::MAX_BYTES
            )));
        }
        let mut outer = Cursor::new(der);
        let mut parts = outer.expect(Tag::Sequence, "the request")?.cursor();
        outer.finish("the request")?;
        let info = parts.expect(Tag::Sequence, "the request's content")?;
        let algorithm = parts.expect(Tag::Sequence, "the signature algorithm")?;
        let signature = parts
            .expect(Tag::BitString, "the signature")?
            .octet_aligned_bits("the signature")?;
        parts.finish("the signature")?;

        let mut fields = info.cursor();
        if fields
            .expect(Tag::Integer, "the version")?
            .unsigned("the version")?
            != 0
        {
            return Err(Malformed(
                "its version is not 1, the only one there is".to_owned(),
            ));
        }
        let subject = fields.expect(Tag::Sequence, "the subject")?;
        let subject = DistinguishedName::from_der(subject.whole)
            .map_err(|fault| Malformed(format!("the subject is {fault}")))?;
        let spki = fields.expect(Tag::Sequence, "the public key")?;
        let key = PublicKey::decode(&spki)?;
        // RFC 2986 §4.1 wants the attributes even when there are none; some tools leave them out.
        let attributes = fields.optional(asn1::constructed(0), "the attributes")?;
        fields.finish("the attributes")?;
        if key.algorithm.is_weak() {
            return Err(Malformed(format!(
                "its key is {}, which is too weak",
                key.algorithm
            )));
        }
        key.verify(&algorithm, info.whole, signature)?;

        let mut request = Self {
            der: der.to_vec(),
            spki: spki.range(),
            subject,
            key_algorithm: key.algorithm,
            subject_alt_names: Vec::new(),
            other_alt_names: 0,
            ignored_extensions: Vec::new(),
            unknown_critical: Vec::new(),
            wants_ca: false,
        };
        if let Some(attributes) = attributes {
            request.take_attributes(&attributes)?;
        }
        Ok(request)
    }

    fn take_attributes(&mut self, attributes: &Tlv<'_>) -> Result<(), Malformed> {
        let mut list = attributes.cursor();
        let mut seen = false;
        while !list.is_at_end() {
            let mut parts = list.expect(Tag::Sequence, "an attribute")?.cursor();
            let kind = parts.expect(Tag::ObjectIdentifier, "an attribute's type")?;
            let values = parts.expect(Tag::Set, "an attribute's values")?;
            parts.finish("an attribute's values")?;
            if kind.content != EXTENSION_REQUEST.as_bytes() {
                continue;
            }
            if std::mem::replace(&mut seen, true) {
                return Err(Malformed("it holds two lists of extensions".to_owned()));
            }
            for place in certificate::extensions(&values)? {
                let extension = Extension::new(
                    &self.der[place.oid.clone()],
                    place.critical,
                    &self.der[place.value.clone()],
                );
                if self.der[place.oid.clone()] == *id::SUBJECT_ALT_NAME.as_bytes() {
                    let names = SubjectAltNames::decode(extension.value)?;
                    self.subject_alt_names = names.typed;
                    self.other_alt_names = names.other;
                } else {
                    if self.der[place.oid.clone()] == *id::BASIC_CONSTRAINTS.as_bytes() {
                        self.wants_ca = certificate::says_ca(extension.value)?;
                    } else if extension.critical && extension.name().is_none() {
                        self.unknown_critical.push(extension.oid());
                    }
                    self.ignored_extensions.push(
                        extension
                            .name()
                            .map_or_else(|| extension.oid(), str::to_owned),
                    );
                }
            }
        }
        Ok(())
    }
}

/// Builds a request for a key that lives elsewhere: bytes to sign, then completion. Only the key and an empty or given
/// subject go in: names are asked for beside the request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestToBeSigned {
    der: Vec<u8>,
    algorithm: SignatureAlgorithm,
}

impl RequestToBeSigned {
    /// Refuses keys of kinds that are not in [`SignatureAlgorithm`].
    pub fn new(subject: &DistinguishedName, spki_der: &[u8]) -> Result<Self, InvalidRequest> {
        Self::with_attributes(subject, spki_der, &[])
    }

    /// Of a CA that shall issue leaves: asks for CA:TRUE with this path length, keyCertSign and cRLSign, which whoever signs
    /// may copy or write anew.
    pub fn for_authority(
        subject: &DistinguishedName,
        spki_der: &[u8],
        path_len: u8,
    ) -> Result<Self, InvalidRequest> {
        let extensions = tbs::authority_extensions(Some(path_len));
        // RFC 2985 §5.4.2.
        let attribute = asn1::sequence(&[
            asn1::oid(EXTENSION_REQUEST),
            asn1::tlv(Tag::Set, &asn1::sequence(&extensions)),
        ]);
        Self::with_attributes(subject, spki_der, &attribute)
    }

    fn with_attributes(
        subject: &DistinguishedName,
        spki_der: &[u8],
        attributes: &[u8],
    ) -> Result<Self, InvalidRequest> {
        let key = PublicKey::from_der(spki_der)?;
        let algorithm =
            SignatureAlgorithm::of_key(&key.algorithm).ok_or_else(|| InvalidRequest {
                why: format!("the key is {}, which no request is made for", key.algorithm),
            })?;
        let attributes = asn1::tlv(asn1::constructed(0), attributes);
        Ok(Self {
            der: asn1::sequence(&[
                asn1::unsigned(0),
                subject.to_der(),
                spki_der.to_vec(),
                attributes,
            ]),
            algorithm,
        })
    }

    /// What to sign.
    pub fn bytes(&self) -> &[u8] {
        &self.der
    }

    /// With what.
    pub fn algorithm(&self) -> SignatureAlgorithm {
        self.algorithm
    }

    /// The whole request in DER.
    pub fn complete(&self, signature: &[u8]) -> Vec<u8> {
        tbs::signed(&self.der, self.algorithm, signature)
    }
}

/// Why bytes are not a request that can be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("certificate request: {why}")]
#[non_exhaustive]
pub struct InvalidRequest {
    /// What is wrong, in words.
    pub why: String,
}

impl From<Malformed> for InvalidRequest {
    fn from(fault: Malformed) -> Self {
        Self { why: fault.0 }
    }
}

/// RFC 2985 §5.4.2.
const EXTENSION_REQUEST: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.14");
