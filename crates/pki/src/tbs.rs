//! Building certificates in two halves: the to-be-signed bytes, which policy and lint judge, and their completion.

mod extra;
mod leaf_usage;

use std::net::IpAddr;

use const_oid::ObjectIdentifier;
use der::Tag;
use rustls_pki_types::CertificateDer;

use crate::asn1;
use crate::certificate::{
    Certificate, ExtendedKeyUsage, KeyAlgorithm, KeyUsage, ML_DSA_44, ML_DSA_65, ML_DSA_87,
    MalformedCertificate, PublicKey, id,
};
use crate::dn::DistinguishedName;
use crate::fingerprint::Fingerprint;
use crate::name::{TypedName, Uri};
use crate::serial::SerialNumber;
use crate::time::UnixTime;

pub use self::extra::{ExtraExtension, InvalidExtension};
pub use self::leaf_usage::{InvalidPurpose, KeyPurpose, LeafUsage};

/// What a certificate shall say.
#[derive(Clone, Debug)]
pub struct Template {
    /// Subject; may be empty when there are SANs (they become critical then, RFC 5280 §4.2.1.6).
    pub subject: DistinguishedName,
    /// SANs: only `Spiffe`, `Dns`, `Ip`, `Email`, `Uri`.
    pub subject_alt_names: Vec<TypedName>,
    /// The holder's `SubjectPublicKeyInfo` in DER.
    pub spki_der: Vec<u8>,
    /// Beginning.
    pub not_before: UnixTime,
    /// End.
    pub not_after: UnixTime,
    /// Serial number.
    pub serial: SerialNumber,
    /// Leaf or CA.
    pub usage: Usage,
    /// Where to ask for its revocation and its issuer.
    pub status_sources: StatusSources,
    /// Beside its own, in this order.
    pub extra_extensions: Vec<ExtraExtension>,
}

/// Where relying parties find what a certificate does not say itself; by default nowhere.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StatusSources {
    /// cRLDistributionPoints: the URI of the CRL that will list it, of its shard where there are several (RFC 5280
    /// §4.2.1.13). The CRL's own scope must name the same URI.
    pub crl: Option<Uri>,
    /// authorityInfoAccess, id-ad-ocsp (RFC 5280 §4.2.2.1).
    pub ocsp: Option<Uri>,
    /// authorityInfoAccess, id-ad-caIssuers: its issuer's certificate in DER.
    pub ca_issuers: Option<Uri>,
}

/// What the key may be used for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Usage {
    /// keyCertSign and cRLSign, basicConstraints CA:TRUE with this path length.
    Authority {
        /// pathLenConstraint; `None` leaves it out.
        path_len: Option<u8>,
    },
    /// digitalSignature, CA:FALSE, with these extended key usages.
    Leaf {
        /// id-kp-serverAuth.
        server_auth: bool,
        /// id-kp-clientAuth.
        client_auth: bool,
    },
    /// CA:FALSE, with what a profile says.
    LeafWith(LeafUsage),
    /// digitalSignature, CA:FALSE, id-kp-OCSPSigning alone, and no look-up of its own revocation (RFC 6960 §4.2.2.2.1): so its
    /// life has to be short.
    OcspResponder,
}

/// The algorithm that certificates, requests and CRLs are signed with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SignatureAlgorithm {
    /// ECDSA on P-256 with SHA-256 (RFC 5758 §3.2).
    EcdsaP256Sha256,
    /// ECDSA on P-384 with SHA-384 (RFC 5758 §3.2).
    EcdsaP384Sha384,
    /// RFC 8410.
    Ed25519,
    /// FIPS 204, pure and with an empty context (RFC 9881 §3).
    MlDsa44,
    /// The same at security category 3.
    MlDsa65,
    /// The same at security category 5.
    MlDsa87,
    /// RSASSA-PKCS1-v1_5 with SHA-256 (RFC 4055 §5).
    RsaPkcs1Sha256,
}

/// The exact bytes that a key will sign, and nothing else can be completed from.
///
/// Invariant: only [`Template`] makes one, so that whatever is completed was built from typed fields.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ToBeSigned {
    der: Vec<u8>,
    algorithm: SignatureAlgorithm,
}

impl Template {
    /// Encodes under `issuer` (its subject and key identifier go in).
    pub fn to_be_signed(
        &self,
        issuer: &Certificate,
        algorithm: SignatureAlgorithm,
    ) -> Result<ToBeSigned, TemplateError> {
        // RFC 5280 §4.1.2.4: byte for byte the issuer's subject, whatever string types it chose.
        self.encode(issuer.subject_der(), &issuer_key_id(issuer), algorithm)
    }

    /// Encodes a self-signed root.
    pub fn to_be_self_signed(
        &self,
        algorithm: SignatureAlgorithm,
    ) -> Result<ToBeSigned, TemplateError> {
        if self.subject.is_empty() {
            return Err(TemplateError::Nameless);
        }
        self.encode(&self.subject.to_der(), &key_id(&self.spki_der)?, algorithm)
    }

    fn encode(
        &self,
        issuer: &[u8],
        authority_key_id: &[u8],
        algorithm: SignatureAlgorithm,
    ) -> Result<ToBeSigned, TemplateError> {
        let nameless = self.subject.is_empty() && self.subject_alt_names.is_empty();
        // RFC 5280 §4.1.2.6: a CA needs a subject, which its certificates name as their issuer.
        let nameless_authority =
            self.subject.is_empty() && matches!(self.usage, Usage::Authority { .. });
        if nameless || nameless_authority {
            return Err(TemplateError::Nameless);
        }
        let extensions = self.extensions(authority_key_id)?;
        let der = asn1::sequence(&[
            asn1::tlv(asn1::constructed(0), &asn1::unsigned(2)),
            asn1::tlv(Tag::Integer, &self.serial.to_der_integer()),
            algorithm.identifier(),
            issuer.to_vec(),
            asn1::sequence(&[asn1::time(self.not_before), asn1::time(self.not_after)]),
            self.subject.to_der(),
            self.spki_der.clone(),
            asn1::tlv(asn1::constructed(3), &asn1::sequence(&extensions)),
        ]);
        Ok(ToBeSigned { der, algorithm })
    }

    fn extensions(&self, authority_key_id: &[u8]) -> Result<Vec<Vec<u8>>, TemplateError> {
        let mut extensions = match self.usage {
            Usage::Authority { path_len } => authority_extensions(path_len),
            Usage::Leaf { .. } | Usage::LeafWith(_) | Usage::OcspResponder => {
                let key_usage = self.usage.key_usage().encode();
                usage_extensions(&asn1::sequence::<&[u8]>(&[]), key_usage)
            }
        };
        let purposes = self.usage.purposes();
        if !purposes.is_empty() {
            extensions.push(asn1::extension(
                id::EXTENDED_KEY_USAGE,
                false,
                &asn1::sequence(&purposes),
            ));
        }
        extensions.push(asn1::extension(
            id::SUBJECT_KEY_ID,
            false,
            &asn1::tlv(Tag::OctetString, &key_id(&self.spki_der)?),
        ));
        let authority_key_id = asn1::sequence(&[asn1::tlv(asn1::primitive(0), authority_key_id)]);
        extensions.push(asn1::extension(
            id::AUTHORITY_KEY_ID,
            false,
            &authority_key_id,
        ));
        if !self.subject_alt_names.is_empty() {
            let value = subject_alt_names(&self.subject_alt_names)?;
            extensions.push(asn1::extension(
                id::SUBJECT_ALT_NAME,
                self.subject.is_empty(),
                &value,
            ));
        }
        if self.usage == Usage::OcspResponder {
            let null = asn1::tlv(Tag::Null, &[]);
            extensions.push(asn1::extension(id::OCSP_NO_CHECK, false, &null));
        }
        extensions.extend(self.status_sources.extensions());
        extensions.extend(self.extra_extensions.iter().map(ExtraExtension::encode));
        Ok(extensions)
    }
}

impl StatusSources {
    /// Neither is critical: who does not look there loses nothing but the answer (RFC 5280 §4.2.1.13, §4.2.2.1).
    fn extensions(&self) -> Vec<Vec<u8>> {
        let points = self.crl.as_ref().map(|uri| {
            let point = asn1::sequence(&[distribution_point_name(uri)]);
            asn1::extension(
                id::CRL_DISTRIBUTION_POINTS,
                false,
                &asn1::sequence(&[point]),
            )
        });
        let methods = [(AD_OCSP, &self.ocsp), (AD_CA_ISSUERS, &self.ca_issuers)];
        let methods: Vec<Vec<u8>> = methods
            .into_iter()
            .filter_map(|(method, uri)| {
                Some(asn1::sequence(&[
                    asn1::oid(method),
                    uri_name(uri.as_ref()?),
                ]))
            })
            .collect();
        let access = (!methods.is_empty())
            .then(|| asn1::extension(id::AUTHORITY_INFO_ACCESS, false, &asn1::sequence(&methods)));
        points.into_iter().chain(access).collect()
    }
}

impl Usage {
    /// What keyUsage says.
    pub fn key_usage(&self) -> KeyUsage {
        let signing = KeyUsage {
            digital_signature: true,
            ..KeyUsage::default()
        };
        match self {
            Self::Authority { .. } => KeyUsage {
                key_cert_sign: true,
                crl_sign: true,
                ..KeyUsage::default()
            },
            Self::Leaf { .. } | Self::OcspResponder => signing,
            Self::LeafWith(usage) => KeyUsage {
                content_commitment: usage.content_commitment,
                key_encipherment: usage.key_encipherment,
                key_agreement: usage.key_agreement,
                ..signing
            },
        }
    }

    /// What extendedKeyUsage says; `None`: there is none.
    pub fn extended_key_usage(&self) -> Option<ExtendedKeyUsage> {
        let (server_auth, client_auth, further) = match self {
            Self::Authority { .. } => return None,
            Self::OcspResponder => {
                return Some(ExtendedKeyUsage {
                    ocsp_signing: true,
                    ..ExtendedKeyUsage::default()
                });
            }
            Self::Leaf {
                server_auth,
                client_auth,
            } => (*server_auth, *client_auth, &[][..]),
            Self::LeafWith(usage) => (usage.server_auth, usage.client_auth, &usage.further[..]),
        };
        Some(ExtendedKeyUsage {
            server_auth,
            client_auth,
            other: further.iter().map(KeyPurpose::to_string).collect(),
            ..ExtendedKeyUsage::default()
        })
    }

    fn purposes(&self) -> Vec<Vec<u8>> {
        let (server_auth, client_auth, further) = match self {
            Self::Authority { .. } => return Vec::new(),
            Self::OcspResponder => return vec![asn1::oid(id::OCSP_SIGNING)],
            Self::Leaf {
                server_auth,
                client_auth,
            } => (*server_auth, *client_auth, &[][..]),
            Self::LeafWith(usage) => (usage.server_auth, usage.client_auth, &usage.further[..]),
        };
        let named: [(bool, ObjectIdentifier); 2] = [
            (server_auth, id::SERVER_AUTH),
            (client_auth, id::CLIENT_AUTH),
        ];
        let named = named.into_iter().filter(|(set, _)| *set);
        named
            .map(|(_, oid)| oid)
            .chain(further.iter().map(KeyPurpose::oid))
            .map(asn1::oid)
            .collect()
    }
}

impl SignatureAlgorithm {
    /// What keys of this kind sign with; `None`: none of these.
    pub fn of_key(key: &KeyAlgorithm) -> Option<Self> {
        match key {
            KeyAlgorithm::Ec { curve, .. } if curve == "P-256" => Some(Self::EcdsaP256Sha256),
            KeyAlgorithm::Ec { curve, .. } if curve == "P-384" => Some(Self::EcdsaP384Sha384),
            KeyAlgorithm::Ed25519 => Some(Self::Ed25519),
            KeyAlgorithm::MlDsa44 => Some(Self::MlDsa44),
            KeyAlgorithm::MlDsa65 => Some(Self::MlDsa65),
            KeyAlgorithm::MlDsa87 => Some(Self::MlDsa87),
            KeyAlgorithm::Rsa { .. } => Some(Self::RsaPkcs1Sha256),
            _ => None,
        }
    }

    /// The `AlgorithmIdentifier`: without parameters, but for RSA, which has NULL (RFC 4055 §5).
    pub(crate) fn identifier(self) -> Vec<u8> {
        match self {
            Self::EcdsaP256Sha256 => asn1::sequence(&[asn1::oid(ECDSA_WITH_SHA256)]),
            Self::EcdsaP384Sha384 => asn1::sequence(&[asn1::oid(ECDSA_WITH_SHA384)]),
            Self::Ed25519 => asn1::sequence(&[asn1::oid(ED25519)]),
            Self::MlDsa44 => asn1::sequence(&[asn1::oid(ML_DSA_44)]),
            Self::MlDsa65 => asn1::sequence(&[asn1::oid(ML_DSA_65)]),
            Self::MlDsa87 => asn1::sequence(&[asn1::oid(ML_DSA_87)]),
            Self::RsaPkcs1Sha256 => asn1::sequence(&[
                asn1::oid(SHA256_WITH_RSA_ENCRYPTION),
                asn1::tlv(Tag::Null, &[]),
            ]),
        }
    }
}

impl ToBeSigned {
    /// The DER of `TBSCertificate`.
    pub fn bytes(&self) -> &[u8] {
        &self.der
    }

    /// With what.
    pub fn algorithm(&self) -> SignatureAlgorithm {
        self.algorithm
    }

    /// A view of the bytes as the certificate they will be (its signature empty), for policy and lint.
    pub fn preview(&self) -> Result<Certificate, MalformedCertificate> {
        Certificate::parse(&self.complete(&[]))
    }

    /// Adds the signature (for ECDSA the DER `ECDSA-Sig-Value`).
    pub fn complete(&self, signature: &[u8]) -> CertificateDer<'static> {
        CertificateDer::from(signed(&self.der, self.algorithm, signature))
    }
}

/// Why a template cannot be encoded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TemplateError {
    /// A name of a kind that cannot stand in subjectAltName.
    #[error("{name} cannot stand in subjectAltName")]
    NotASubjectAltName {
        /// Which.
        name: String,
    },
    /// The key is not a `SubjectPublicKeyInfo`.
    #[error("the public key is not a SubjectPublicKeyInfo")]
    BadKey,
    /// Neither subject nor SAN.
    #[error("a certificate needs a subject or a subjectAltName")]
    Nameless,
}

/// basicConstraints and keyUsage of a CA.
pub(crate) fn authority_extensions(path_len: Option<u8>) -> Vec<Vec<u8>> {
    let path_len = path_len.map_or_else(Vec::new, |length| asn1::unsigned(u64::from(length)));
    let constraints = asn1::sequence(&[asn1::tlv(Tag::Boolean, &[0xff]), path_len]);
    // keyCertSign and cRLSign are bits 5 and 6; one bit of the byte is unused.
    usage_extensions(&constraints, [1, 0b0000_0110])
}

fn usage_extensions(constraints: &[u8], key_usage: [u8; 2]) -> Vec<Vec<u8>> {
    vec![
        asn1::extension(id::BASIC_CONSTRAINTS, true, constraints),
        asn1::extension(id::KEY_USAGE, true, &asn1::tlv(Tag::BitString, &key_usage)),
    ]
}

/// A view of the bytes of a `TBSCertificate` that was recorded. What it would be signed with is not in question.
pub fn preview_of(to_be_signed: &[u8]) -> Result<Certificate, MalformedCertificate> {
    let algorithm = SignatureAlgorithm::EcdsaP256Sha256;
    Certificate::parse(&signed(to_be_signed, algorithm, &[]))
}

/// `SEQUENCE { toBeSigned, signatureAlgorithm, signature }`, as certificates, requests and CRLs have it.
pub(crate) fn signed(
    to_be_signed: &[u8],
    algorithm: SignatureAlgorithm,
    signature: &[u8],
) -> Vec<u8> {
    asn1::sequence(&[
        to_be_signed.to_vec(),
        algorithm.identifier(),
        asn1::bit_string(signature),
    ])
}

/// What a certificate or CRL of `issuer` says in authorityKeyIdentifier.
pub(crate) fn issuer_key_id(issuer: &Certificate) -> Vec<u8> {
    match issuer.subject_key_id() {
        Some(key_id) => key_id.to_vec(),
        None => {
            key_id(issuer.spki_der()).expect("a parsed certificate holds a SubjectPublicKeyInfo")
        }
    }
}

/// `[0] DistributionPointName` with one URI, the same in a certificate and in the CRL it points to.
pub(crate) fn distribution_point_name(uri: &Uri) -> Vec<u8> {
    let full_name = asn1::tlv(asn1::constructed(0), &uri_name(uri));
    asn1::tlv(asn1::constructed(0), &full_name)
}

/// A `GeneralName`.
fn uri_name(uri: &Uri) -> Vec<u8> {
    asn1::tlv(asn1::primitive(6), uri.as_str().as_bytes())
}

/// RFC 7093 §2 method 1: the leftmost 160 bits of the SHA-256 of the key's bits.
fn key_id(spki_der: &[u8]) -> Result<Vec<u8>, TemplateError> {
    let key = PublicKey::from_der(spki_der).map_err(|_| TemplateError::BadKey)?;
    Ok(Fingerprint::of(key.bits).as_bytes()[..20].to_vec())
}

fn subject_alt_names(names: &[TypedName]) -> Result<Vec<u8>, TemplateError> {
    let mut encoded = Vec::with_capacity(names.len());
    for name in names {
        let (number, content) = match name {
            TypedName::Email(address) => (1, address.as_str().as_bytes().to_vec()),
            TypedName::Dns(name) => (2, name.as_str().as_bytes().to_vec()),
            TypedName::Uri(uri) => (6, uri.as_str().as_bytes().to_vec()),
            TypedName::Spiffe(spiffe) => (6, spiffe.as_str().as_bytes().to_vec()),
            TypedName::Ip(IpAddr::V4(address)) => (7, address.octets().to_vec()),
            TypedName::Ip(IpAddr::V6(address)) => (7, address.octets().to_vec()),
            TypedName::Cn(_)
            | TypedName::Dn(_)
            | TypedName::Spki(_)
            | TypedName::SerialIssuer { .. } => {
                return Err(TemplateError::NotASubjectAltName {
                    name: name.to_string(),
                });
            }
        };
        encoded.push(asn1::tlv(asn1::primitive(number), &content));
    }
    Ok(asn1::sequence(&encoded))
}

const ECDSA_WITH_SHA256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.2");
const ECDSA_WITH_SHA384: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.3");
const ED25519: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.112");
const SHA256_WITH_RSA_ENCRYPTION: ObjectIdentifier =
    ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.11");

/// RFC 5280 §4.2.2.1.
const AD_OCSP: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.48.1");
const AD_CA_ISSUERS: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.48.2");
