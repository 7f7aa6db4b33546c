//! The extensions that this product knows (RFC 5280 §4.2).

use std::net::IpAddr;
use std::ops::Range;

use const_oid::ObjectIdentifierRef;
use der::Tag;

use super::ExtensionPlace;
use crate::asn1::{self, Cursor, Malformed, Tlv};
use crate::name::{DnsName, EmailAddress, TypedName, Uri};
use crate::spiffe::SpiffeId;

/// One extension, undecoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extension<'a> {
    oid: &'a [u8],
    /// Whether who does not know it must refuse the certificate.
    pub critical: bool,
    /// The content of its OCTET STRING.
    pub value: &'a [u8],
}

impl<'a> Extension<'a> {
    pub(crate) fn new(oid: &'a [u8], critical: bool, value: &'a [u8]) -> Self {
        Self {
            oid,
            critical,
            value,
        }
    }

    /// Its identifier: the content octets of the OBJECT IDENTIFIER.
    pub fn oid_octets(&self) -> &'a [u8] {
        self.oid
    }

    /// Its identifier, dotted.
    pub fn oid(&self) -> String {
        ObjectIdentifierRef::from_bytes(self.oid).map_or_else(|_| "?".to_owned(), asn1::dotted)
    }

    /// Its name in RFC 5280, where it has one there.
    pub fn name(&self) -> Option<&'static str> {
        id::NAMED
            .iter()
            .find(|(oid, _)| oid.as_bytes() == self.oid)
            .map(|(_, name)| *name)
    }

    /// What webpki acts on; any other critical one makes it refuse.
    pub(super) fn is_processed(&self) -> bool {
        use id::{
            BASIC_CONSTRAINTS, CRL_DISTRIBUTION_POINTS, EXTENDED_KEY_USAGE, KEY_USAGE,
            NAME_CONSTRAINTS, SUBJECT_ALT_NAME,
        };
        [
            BASIC_CONSTRAINTS,
            CRL_DISTRIBUTION_POINTS,
            EXTENDED_KEY_USAGE,
            KEY_USAGE,
            NAME_CONSTRAINTS,
            SUBJECT_ALT_NAME,
        ]
        .iter()
        .any(|oid| oid.as_bytes() == self.oid)
    }
}

/// keyUsage (RFC 5280 §4.2.1.3).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "the nine bits of the RFC, by their names"
)]
pub struct KeyUsage {
    /// Bit 0.
    pub digital_signature: bool,
    /// Bit 1, nonRepudiation of old.
    pub content_commitment: bool,
    /// Bit 2.
    pub key_encipherment: bool,
    /// Bit 3.
    pub data_encipherment: bool,
    /// Bit 4.
    pub key_agreement: bool,
    /// Bit 5.
    pub key_cert_sign: bool,
    /// Bit 6.
    pub crl_sign: bool,
    /// Bit 7.
    pub encipher_only: bool,
    /// Bit 8.
    pub decipher_only: bool,
}

impl KeyUsage {
    /// The names of the bits that are set.
    pub fn listed(&self) -> Vec<&'static str> {
        let bits = [
            (self.digital_signature, "digitalSignature"),
            (self.content_commitment, "contentCommitment"),
            (self.key_encipherment, "keyEncipherment"),
            (self.data_encipherment, "dataEncipherment"),
            (self.key_agreement, "keyAgreement"),
            (self.key_cert_sign, "keyCertSign"),
            (self.crl_sign, "cRLSign"),
            (self.encipher_only, "encipherOnly"),
            (self.decipher_only, "decipherOnly"),
        ];
        bits.into_iter()
            .filter(|(set, _)| *set)
            .map(|(_, name)| name)
            .collect()
    }

    /// The content of the BIT STRING: how many bits of the octet are unused, and the octet. decipherOnly, the ninth bit, is nobody's.
    pub(crate) fn encode(self) -> [u8; 2] {
        let bits = [
            self.digital_signature,
            self.content_commitment,
            self.key_encipherment,
            self.data_encipherment,
            self.key_agreement,
            self.key_cert_sign,
            self.crl_sign,
            self.encipher_only,
        ];
        let octet = bits
            .iter()
            .fold(0_u8, |octet, bit| octet << 1 | u8::from(*bit));
        // X.690 §11.2.2: no zero bits at the end.
        let unused = u8::try_from(octet.trailing_zeros()).expect("at most 8");
        [unused, octet]
    }

    fn decode(value: &Tlv<'_>) -> Result<Self, Malformed> {
        let what = "keyUsage";
        let (bits, _) = value.bit_string(what)?;
        let bit = |place: usize| {
            bits.get(place / 8)
                .is_some_and(|byte| byte & (0x80 >> (place % 8)) != 0)
        };
        // RFC 5280 §4.2.1.3: at least one bit is set.
        if !(0..9).any(bit) {
            return Err(Malformed("keyUsage allows nothing".to_owned()));
        }
        Ok(Self {
            digital_signature: bit(0),
            content_commitment: bit(1),
            key_encipherment: bit(2),
            data_encipherment: bit(3),
            key_agreement: bit(4),
            key_cert_sign: bit(5),
            crl_sign: bit(6),
            encipher_only: bit(7),
            decipher_only: bit(8),
        })
    }
}

/// The purposes that an extendedKeyUsage lists (RFC 5280 §4.2.1.12).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "purposes of the RFC, by their names"
)]
pub struct ExtendedKeyUsage {
    /// id-kp-serverAuth.
    pub server_auth: bool,
    /// id-kp-clientAuth.
    pub client_auth: bool,
    /// id-kp-OCSPSigning (RFC 6960 §4.2.2.2).
    pub ocsp_signing: bool,
    /// anyExtendedKeyUsage.
    pub any: bool,
    /// Others, as dotted OIDs.
    pub other: Vec<String>,
}

impl ExtendedKeyUsage {
    /// Every purpose, by its name where it has one.
    pub fn listed(&self) -> Vec<String> {
        let named = [
            (self.server_auth, "serverAuth"),
            (self.client_auth, "clientAuth"),
            (self.ocsp_signing, "OCSPSigning"),
            (self.any, "anyExtendedKeyUsage"),
        ];
        named
            .into_iter()
            .filter(|(set, _)| *set)
            .map(|(_, name)| name.to_owned())
            .chain(self.other.iter().cloned())
            .collect()
    }

    fn decode(value: &Tlv<'_>) -> Result<Self, Malformed> {
        let mut purposes = value.cursor();
        let mut usage = Self::default();
        if purposes.is_at_end() {
            return Err(Malformed("extendedKeyUsage lists nothing".to_owned()));
        }
        while !purposes.is_at_end() {
            let oid = purposes
                .expect(Tag::ObjectIdentifier, "a purpose of extendedKeyUsage")?
                .oid("a purpose of extendedKeyUsage")?;
            match oid.as_bytes() {
                server if server == id::SERVER_AUTH.as_bytes() => usage.server_auth = true,
                client if client == id::CLIENT_AUTH.as_bytes() => usage.client_auth = true,
                ocsp if ocsp == id::OCSP_SIGNING.as_bytes() => usage.ocsp_signing = true,
                any if any == id::ANY_EXTENDED_KEY_USAGE.as_bytes() => usage.any = true,
                _ => usage.other.push(asn1::dotted(oid)),
            }
        }
        Ok(usage)
    }
}

/// What the known extensions say.
#[derive(Clone, Debug, Default)]
pub(super) struct Decoded {
    pub(super) is_ca: bool,
    pub(super) path_len: Option<u8>,
    pub(super) key_usage: Option<KeyUsage>,
    pub(super) extended_key_usage: Option<ExtendedKeyUsage>,
    pub(super) subject_key_id: Option<Range<usize>>,
    pub(super) authority_key_id: Option<Range<usize>>,
    pub(super) typed_alt_names: usize,
    pub(super) other_alt_names: usize,
}

impl Decoded {
    /// Appends the names of subjectAltName to `names`.
    pub(super) fn new(
        der: &[u8],
        places: &[ExtensionPlace],
        names: &mut Vec<TypedName>,
    ) -> Result<Self, Malformed> {
        Self::read(der, places, names, SubjectAltNames::decode)
    }

    /// The same, where a name that is not what its type says is passed over.
    pub(super) fn with_any_names(
        der: &[u8],
        places: &[ExtensionPlace],
        names: &mut Vec<TypedName>,
    ) -> Result<Self, Malformed> {
        Self::read(der, places, names, SubjectAltNames::decode_what_is_sound)
    }

    fn read(
        der: &[u8],
        places: &[ExtensionPlace],
        names: &mut Vec<TypedName>,
        decode_names: fn(&[u8]) -> Result<SubjectAltNames, Malformed>,
    ) -> Result<Self, Malformed> {
        let mut decoded = Self::default();
        for place in places {
            let oid = &der[place.oid.clone()];
            let base = place.value.start;
            let value = || Cursor::new(&der[place.value.clone()]);
            match oid {
                oid if oid == id::BASIC_CONSTRAINTS.as_bytes() => {
                    (decoded.is_ca, decoded.path_len) =
                        basic_constraints(&sole(value(), Tag::Sequence, "basicConstraints")?)?;
                }
                oid if oid == id::KEY_USAGE.as_bytes() => {
                    decoded.key_usage = Some(KeyUsage::decode(&sole(
                        value(),
                        Tag::BitString,
                        "keyUsage",
                    )?)?);
                }
                oid if oid == id::EXTENDED_KEY_USAGE.as_bytes() => {
                    let purposes = sole(value(), Tag::Sequence, "extendedKeyUsage")?;
                    decoded.extended_key_usage = Some(ExtendedKeyUsage::decode(&purposes)?);
                }
                oid if oid == id::SUBJECT_KEY_ID.as_bytes() => {
                    let key_id = sole(value(), Tag::OctetString, "subjectKeyIdentifier")?;
                    decoded.subject_key_id = Some(shifted(&key_id.content_range(), base));
                }
                oid if oid == id::AUTHORITY_KEY_ID.as_bytes() => {
                    let mut fields =
                        sole(value(), Tag::Sequence, "authorityKeyIdentifier")?.cursor();
                    let key_id = fields.optional(asn1::primitive(0), "authorityKeyIdentifier")?;
                    decoded.authority_key_id =
                        key_id.map(|key_id| shifted(&key_id.content_range(), base));
                }
                oid if oid == id::SUBJECT_ALT_NAME.as_bytes() => {
                    let alt_names = decode_names(&der[place.value.clone()])?;
                    decoded.typed_alt_names = alt_names.typed.len();
                    decoded.other_alt_names = alt_names.other;
                    names.extend(alt_names.typed);
                }
                _ => {}
            }
        }
        Ok(decoded)
    }
}

/// authorityKeyIdentifier (RFC 5280 §4.2.1.1).
#[derive(Debug)]
pub(super) struct AuthorityKeyId<'a> {
    pub(super) key: Option<&'a [u8]>,
    /// A `Name`, if there is exactly one.
    pub(super) issuer: Option<&'a [u8]>,
    /// The content of an INTEGER.
    pub(super) serial: Option<&'a [u8]>,
}

impl<'a> AuthorityKeyId<'a> {
    pub(super) fn decode(value: &'a [u8]) -> Result<Self, Malformed> {
        const WHAT: &str = "authorityKeyIdentifier";
        let mut fields = sole(Cursor::new(value), Tag::Sequence, WHAT)?.cursor();
        let key = fields.optional(asn1::primitive(0), WHAT)?;
        let names = fields.optional(asn1::constructed(1), WHAT)?;
        let serial = fields.optional(asn1::primitive(2), WHAT)?;
        let issuer = names.and_then(|names| {
            let mut names = names.cursor();
            let only = names.any(WHAT).ok()?;
            (only.tag == asn1::constructed(4) && names.is_at_end()).then_some(only.content)
        });
        Ok(Self {
            key: key.map(|it| it.content),
            issuer,
            serial: serial.map(|it| it.content),
        })
    }
}

/// subjectAltName (RFC 5280 §4.2.1.6).
#[derive(Debug)]
pub(crate) struct SubjectAltNames {
    pub(crate) typed: Vec<TypedName>,
    /// How many of a kind without a type here.
    pub(crate) other: usize,
}

impl SubjectAltNames {
    /// Takes the value of the extension.
    pub(crate) fn decode(value: &[u8]) -> Result<Self, Malformed> {
        let mut list = sole(Cursor::new(value), Tag::Sequence, "subjectAltName")?.cursor();
        if list.is_at_end() {
            return Err(Malformed("subjectAltName lists nothing".to_owned()));
        }
        let mut names = Self {
            typed: Vec::new(),
            other: 0,
        };
        while !list.is_at_end() {
            match general_name(&list.any("a name of subjectAltName")?)? {
                Some(name) => names.typed.push(name),
                None => names.other += 1,
            }
        }
        Ok(names)
    }

    /// The same, where a name that is not what its type says counts as one without a type.
    fn decode_what_is_sound(value: &[u8]) -> Result<Self, Malformed> {
        let mut list = sole(Cursor::new(value), Tag::Sequence, "subjectAltName")?.cursor();
        let mut names = Self {
            typed: Vec::new(),
            other: 0,
        };
        while !list.is_at_end() {
            match general_name(&list.any("a name of subjectAltName")?) {
                Ok(Some(name)) => names.typed.push(name),
                Ok(None) | Err(_) => names.other += 1,
            }
        }
        Ok(names)
    }
}

/// `GeneralName`; `None` for kinds that no rule can use.
fn general_name(name: &Tlv<'_>) -> Result<Option<TypedName>, Malformed> {
    let Tag::ContextSpecific {
        constructed,
        number,
    } = name.tag
    else {
        return Err(Malformed(
            "subjectAltName holds something that is no name".to_owned(),
        ));
    };
    let typed = match (number.value(), constructed) {
        (1, false) => {
            let text = ia5(name.content, "an e-mail address")?;
            TypedName::Email(EmailAddress::parse(text).map_err(|fault| misnamed(text, &fault))?)
        }
        (2, false) => {
            let text = ia5(name.content, "a DNS name")?;
            TypedName::Dns(DnsName::parse(text).map_err(|fault| misnamed(text, &fault))?)
        }
        (6, false) => {
            let text = ia5(name.content, "a URI")?;
            if text.starts_with("spiffe://") {
                TypedName::Spiffe(SpiffeId::parse(text).map_err(|fault| misnamed(text, &fault))?)
            } else {
                TypedName::Uri(Uri::parse(text).map_err(|fault| misnamed(text, &fault))?)
            }
        }
        (7, false) => TypedName::Ip(ip_address(name.content)?),
        (0 | 3 | 4 | 5, true) | (8, false) => return Ok(None),
        _ => {
            return Err(Malformed(
                "subjectAltName holds something that is no name".to_owned(),
            ));
        }
    };
    Ok(Some(typed))
}

fn ia5<'a>(content: &'a [u8], what: &str) -> Result<&'a str, Malformed> {
    if content.contains(&0) {
        return Err(Malformed(format!(
            "{what} in subjectAltName contains a NUL byte"
        )));
    }
    match std::str::from_utf8(content) {
        Ok(text) if text.is_ascii() => Ok(text),
        _ => Err(Malformed(format!("{what} in subjectAltName is not ASCII"))),
    }
}

fn ip_address(content: &[u8]) -> Result<IpAddr, Malformed> {
    if let Ok(octets) = <[u8; 4]>::try_from(content) {
        return Ok(IpAddr::from(octets));
    }
    let octets = <[u8; 16]>::try_from(content).map_err(|_| {
        Malformed(format!(
            "an IP address in subjectAltName has {} bytes, not 4 or 16",
            content.len()
        ))
    })?;
    Ok(IpAddr::from(octets))
}

fn misnamed(text: &str, fault: &dyn std::fmt::Display) -> Malformed {
    let shown: String = text.chars().take(80).flat_map(char::escape_debug).collect();
    Malformed(format!("`{shown}` in subjectAltName: {fault}"))
}

/// Whether basicConstraints (its whole value) say CA:TRUE.
pub(crate) fn says_ca(value: &[u8]) -> Result<bool, Malformed> {
    let constraints = sole(Cursor::new(value), Tag::Sequence, "basicConstraints")?;
    Ok(basic_constraints(&constraints)?.0)
}

fn basic_constraints(value: &Tlv<'_>) -> Result<(bool, Option<u8>), Malformed> {
    let what = "basicConstraints";
    let mut fields = value.cursor();
    let is_ca = fields
        .optional(Tag::Boolean, what)?
        .map_or(Ok(false), |flag| flag.boolean(what))?;
    let path_len = fields
        .optional(Tag::Integer, what)?
        .map(|length| length.unsigned("pathLenConstraint"))
        .transpose()?;
    fields.finish(what)?;
    Ok((
        is_ca,
        path_len.map(|length| u8::try_from(length).unwrap_or(u8::MAX)),
    ))
}

/// The one element that the cursor holds.
fn sole<'a>(mut cursor: Cursor<'a>, tag: Tag, what: &str) -> Result<Tlv<'a>, Malformed> {
    let tlv = cursor.expect(tag, what)?;
    cursor.finish(what)?;
    Ok(tlv)
}

fn shifted(range: &Range<usize>, base: usize) -> Range<usize> {
    range.start + base..range.end + base
}

/// Object identifiers of RFC 5280.
pub(crate) mod id {
    use const_oid::ObjectIdentifier;

    pub(crate) const SUBJECT_KEY_ID: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.14");
    pub(crate) const KEY_USAGE: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.15");
    pub(crate) const SUBJECT_ALT_NAME: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.17");
    pub(crate) const BASIC_CONSTRAINTS: ObjectIdentifier =
        ObjectIdentifier::new_unwrap("2.5.29.19");
    pub(crate) const CRL_NUMBER: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.20");
    pub(crate) const REASON_CODE: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.21");
    pub(crate) const INVALIDITY_DATE: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.24");
    pub(crate) const DELTA_CRL_INDICATOR: ObjectIdentifier =
        ObjectIdentifier::new_unwrap("2.5.29.27");
    pub(crate) const ISSUING_DISTRIBUTION_POINT: ObjectIdentifier =
        ObjectIdentifier::new_unwrap("2.5.29.28");
    pub(crate) const NAME_CONSTRAINTS: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.30");
    pub(crate) const CRL_DISTRIBUTION_POINTS: ObjectIdentifier =
        ObjectIdentifier::new_unwrap("2.5.29.31");
    pub(crate) const AUTHORITY_KEY_ID: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.35");
    pub(crate) const EXTENDED_KEY_USAGE: ObjectIdentifier =
        ObjectIdentifier::new_unwrap("2.5.29.37");
    pub(crate) const AUTHORITY_INFO_ACCESS: ObjectIdentifier =
        ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.1.1");
    pub(crate) const ACCESS_OCSP: ObjectIdentifier =
        ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.48.1");
    pub(crate) const ACCESS_CA_ISSUERS: ObjectIdentifier =
        ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.48.2");
    /// RFC 7633 §6.
    pub(crate) const TLS_FEATURE: ObjectIdentifier =
        ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.1.24");
    /// RFC 6960 §4.2.2.2.1.
    pub(crate) const OCSP_NO_CHECK: ObjectIdentifier =
        ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.48.1.5");
    pub(crate) const SERVER_AUTH: ObjectIdentifier =
        ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.3.1");
    pub(crate) const CLIENT_AUTH: ObjectIdentifier =
        ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.3.2");
    pub(crate) const OCSP_SIGNING: ObjectIdentifier =
        ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.3.9");
    pub(crate) const ANY_EXTENDED_KEY_USAGE: ObjectIdentifier =
        ObjectIdentifier::new_unwrap("2.5.29.37.0");

    /// For people.
    pub(crate) const NAMED: [(ObjectIdentifier, &str); 19] = [
        (SUBJECT_KEY_ID, "subjectKeyIdentifier"),
        (KEY_USAGE, "keyUsage"),
        (SUBJECT_ALT_NAME, "subjectAltName"),
        (BASIC_CONSTRAINTS, "basicConstraints"),
        (CRL_NUMBER, "cRLNumber"),
        (REASON_CODE, "reasonCode"),
        (INVALIDITY_DATE, "invalidityDate"),
        (DELTA_CRL_INDICATOR, "deltaCRLIndicator"),
        (ISSUING_DISTRIBUTION_POINT, "issuingDistributionPoint"),
        (NAME_CONSTRAINTS, "nameConstraints"),
        (CRL_DISTRIBUTION_POINTS, "cRLDistributionPoints"),
        (AUTHORITY_KEY_ID, "authorityKeyIdentifier"),
        (EXTENDED_KEY_USAGE, "extendedKeyUsage"),
        (
            ObjectIdentifier::new_unwrap("2.5.29.32"),
            "certificatePolicies",
        ),
        (
            ObjectIdentifier::new_unwrap("2.5.29.36"),
            "policyConstraints",
        ),
        (ObjectIdentifier::new_unwrap("2.5.29.18"), "issuerAltName"),
        (AUTHORITY_INFO_ACCESS, "authorityInfoAccess"),
        (OCSP_NO_CHECK, "ocspNoCheck"),
        (TLS_FEATURE, "tlsFeature"),
    ];
}
