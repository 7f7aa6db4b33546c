//! Certificates byte by byte, good or bad: what no honest library would write.

use countersign_pki::certificate::Certificate;
use countersign_pki::dn::DistinguishedName;
use countersign_pki::name::TypedName;
use countersign_pki::serial::SerialNumber;
use countersign_pki::tbs::{SignatureAlgorithm, StatusSources, Template, ToBeSigned, Usage};
use countersign_pki::time::UnixTime;
use rcgen::{KeyPair, PublicKeyData as _, SigningKey as _};

pub(crate) const BOOLEAN: u8 = 0x01;
pub(crate) const INTEGER: u8 = 0x02;
pub(crate) const BIT_STRING: u8 = 0x03;
pub(crate) const OCTET_STRING: u8 = 0x04;
pub(crate) const OID: u8 = 0x06;
pub(crate) const ENUMERATED: u8 = 0x0a;
pub(crate) const UTF8: u8 = 0x0c;
pub(crate) const SEQUENCE: u8 = 0x30;
pub(crate) const SET: u8 = 0x31;

pub(crate) const BASIC_CONSTRAINTS: &[u8] = &[0x55, 0x1d, 19];
pub(crate) const KEY_USAGE: &[u8] = &[0x55, 0x1d, 15];
pub(crate) const EXTENDED_KEY_USAGE: &[u8] = &[0x55, 0x1d, 37];
pub(crate) const SUBJECT_KEY_ID: &[u8] = &[0x55, 0x1d, 14];
pub(crate) const AUTHORITY_KEY_ID: &[u8] = &[0x55, 0x1d, 35];
pub(crate) const SUBJECT_ALT_NAME: &[u8] = &[0x55, 0x1d, 17];
pub(crate) const COMMON_NAME: &[u8] = &[0x55, 4, 3];
pub(crate) const ECDSA_SHA256: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 2];
pub(crate) const ECDSA_SHA1: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 1];

pub(crate) fn tlv(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = content.len().to_be_bytes();
    let significant = &length[length
        .iter()
        .position(|&byte| byte != 0)
        .unwrap_or(length.len())..];
    let mut out = vec![tag];
    match significant {
        [] => out.push(0),
        [short @ 0..0x80] => out.push(*short),
        long => {
            out.push(0x80 | u8::try_from(long.len()).expect("at most 8 bytes of length"));
            out.extend_from_slice(long);
        }
    }
    out.extend_from_slice(content);
    out
}

pub(crate) fn name(attributes: &[(&[u8], u8, &[u8])]) -> Vec<u8> {
    let rdns = attributes.iter().map(|(oid, tag, value)| {
        tlv(
            SET,
            &tlv(SEQUENCE, &[tlv(OID, oid), tlv(*tag, value)].concat()),
        )
    });
    tlv(SEQUENCE, &rdns.collect::<Vec<_>>().concat())
}

pub(crate) fn extension(oid: &[u8], critical: bool, value: &[u8]) -> Vec<u8> {
    let flag = if critical {
        tlv(BOOLEAN, &[0xff])
    } else {
        Vec::new()
    };
    tlv(
        SEQUENCE,
        &[tlv(OID, oid), flag, tlv(OCTET_STRING, value)].concat(),
    )
}

pub(crate) fn alt_names(critical: bool, names: &[(u8, &[u8])]) -> Vec<u8> {
    let names: Vec<u8> = names
        .iter()
        .flat_map(|(tag, value)| tlv(*tag, value))
        .collect();
    extension(SUBJECT_ALT_NAME, critical, &tlv(SEQUENCE, &names))
}

/// The fields of a certificate in DER, to be spoilt one at a time.
#[derive(Clone)]
pub(crate) struct Forge {
    pub(crate) version: Vec<u8>,
    pub(crate) serial: Vec<u8>,
    pub(crate) inner_algorithm: Vec<u8>,
    pub(crate) outer_algorithm: Vec<u8>,
    pub(crate) issuer: Vec<u8>,
    pub(crate) validity: Vec<u8>,
    pub(crate) subject: Vec<u8>,
    pub(crate) spki: Vec<u8>,
    pub(crate) extensions: Vec<Vec<u8>>,
    pub(crate) after: Vec<u8>,
}

impl Forge {
    /// A client's leaf that every lint likes, under an issuer such as [`authority`] makes.
    pub(crate) fn leaf(issuer: &Certificate) -> Self {
        let algorithm = tlv(SEQUENCE, &tlv(OID, ECDSA_SHA256));
        Self {
            version: tlv(0xa0, &tlv(INTEGER, &[2])),
            serial: tlv(INTEGER, &[0x40, 1, 2, 3, 4, 5, 6, 7, 8, 9]),
            inner_algorithm: algorithm.clone(),
            outer_algorithm: algorithm,
            issuer: issuer.subject_der().to_vec(),
            validity: tlv(
                SEQUENCE,
                &[tlv(0x17, b"260601000000Z"), tlv(0x17, b"260801000000Z")].concat(),
            ),
            subject: name(&[(COMMON_NAME, UTF8, b"api")]),
            spki: key().subject_public_key_info(),
            extensions: vec![
                extension(BASIC_CONSTRAINTS, true, &tlv(SEQUENCE, &[])),
                extension(KEY_USAGE, true, &tlv(BIT_STRING, &[7, 0x80])),
                extension(EXTENDED_KEY_USAGE, false, &purposes(&[2])),
                extension(SUBJECT_KEY_ID, false, &tlv(OCTET_STRING, &[1; 20])),
                authority_key_id(issuer.subject_key_id().expect("an issuer made here")),
                alt_names(false, &[(0x82, b"api.example.com")]),
            ],
            after: Vec::new(),
        }
    }

    /// Replaces the extension of this kind.
    pub(crate) fn with(self, oid: &[u8], replacement: Vec<u8>) -> Self {
        let mut forge = self.without(oid);
        forge.extensions.push(replacement);
        forge
    }

    pub(crate) fn without(mut self, oid: &[u8]) -> Self {
        let needle = tlv(OID, oid);
        self.extensions.retain(|extension| {
            !extension
                .windows(needle.len())
                .any(|window| window == needle)
        });
        self
    }

    pub(crate) fn der(&self) -> Vec<u8> {
        let extensions = match self.extensions.as_slice() {
            [] => Vec::new(),
            all => tlv(0xa3, &tlv(SEQUENCE, &all.concat())),
        };
        let fields = [
            &self.version,
            &self.serial,
            &self.inner_algorithm,
            &self.issuer,
            &self.validity,
            &self.subject,
            &self.spki,
            &extensions,
        ];
        let fields: Vec<u8> = fields.into_iter().flatten().copied().collect();
        let signature = tlv(BIT_STRING, &[0, 1]);
        let mut der = tlv(
            SEQUENCE,
            &[
                tlv(SEQUENCE, &fields),
                self.outer_algorithm.clone(),
                signature,
            ]
            .concat(),
        );
        der.extend_from_slice(&self.after);
        der
    }

    pub(crate) fn parse(&self) -> Certificate {
        Certificate::parse(&self.der()).expect("a forgery that decodes")
    }
}

/// extendedKeyUsage of id-kp-N.
pub(crate) fn purposes(ids: &[u8]) -> Vec<u8> {
    tlv(
        SEQUENCE,
        &ids.iter()
            .flat_map(|id| tlv(OID, &[0x2b, 6, 1, 5, 5, 7, 3, *id]))
            .collect::<Vec<_>>(),
    )
}

pub(crate) fn authority_key_id(key_id: &[u8]) -> Vec<u8> {
    extension(AUTHORITY_KEY_ID, false, &tlv(SEQUENCE, &tlv(0x80, key_id)))
}

pub(crate) fn key() -> KeyPair {
    KeyPair::generate().expect("a key")
}

pub(crate) fn time(text: &str) -> UnixTime {
    text.parse().expect("a time of the test")
}

pub(crate) fn dn(text: &str) -> DistinguishedName {
    DistinguishedName::parse(text).expect("a name of the test")
}

pub(crate) fn names(names: &[&str]) -> Vec<TypedName> {
    names
        .iter()
        .map(|name| name.parse().expect("a name of the test"))
        .collect()
}

pub(crate) fn sign(to_be_signed: &ToBeSigned, key: &KeyPair) -> Certificate {
    let signature = key.sign(to_be_signed.bytes()).expect("a signature");
    Certificate::parse(&to_be_signed.complete(&signature)).expect("what was built decodes")
}

pub(crate) fn template(subject: &str, key: &KeyPair, usage: Usage) -> Template {
    Template {
        subject: if subject.is_empty() {
            DistinguishedName::default()
        } else {
            dn(subject)
        },
        subject_alt_names: Vec::new(),
        spki_der: key.subject_public_key_info(),
        not_before: time("2026-01-01T00:00:00Z"),
        not_after: time("2046-01-01T00:00:00Z"),
        serial: SerialNumber::from_random([7; 20]),
        usage,
        status_sources: StatusSources::default(),
        extra_extensions: Vec::new(),
    }
}

/// A root that [`Template`] made, with its key.
pub(crate) fn authority(path_len: Option<u8>) -> (Certificate, KeyPair) {
    let key = key();
    let root = template("CN=Root,O=Example", &key, Usage::Authority { path_len });
    let to_be_signed = root
        .to_be_self_signed(SignatureAlgorithm::EcdsaP256Sha256)
        .expect("a root");
    (sign(&to_be_signed, &key), key)
}
