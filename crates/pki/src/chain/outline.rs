//! A certificate as far as path rules need it, over borrowed bytes.
//!
//! [`Certificate`](crate::certificate::Certificate) is strict and holds names; this one also reads what that refuses
//! (version 1, bad serials), so that the true fault can be told, and costs no allocation, because every issuer of every
//! handshake is read through it. No identity is ever taken from here.

use der::Tag;

use crate::asn1::{self, Cursor, Malformed, Tlv, constructed, primitive};
use crate::certificate;
use crate::time::UnixTime;

/// What was read; every slice of names and keys is the whole element with its tag.
#[derive(Clone, Copy, Debug)]
pub(super) struct Outline<'a> {
    pub(super) der: &'a [u8],
    pub(super) version: u8,
    /// Content octets, not yet judged.
    pub(super) serial: &'a [u8],
    pub(super) issuer: &'a [u8],
    pub(super) subject: &'a [u8],
    pub(super) spki: &'a [u8],
    pub(super) signed: &'a [u8],
    pub(super) signature_algorithm: Tlv<'a>,
    pub(super) signature: &'a [u8],
    pub(super) subject_key_id: Option<&'a [u8]>,
    pub(super) authority_key_id: Option<&'a [u8]>,
    /// Content of the SEQUENCE.
    pub(super) name_constraints: Option<&'a [u8]>,
    /// Content of the SEQUENCE.
    pub(super) subject_alt_names: Option<&'a [u8]>,
    /// The whole value, not yet judged.
    pub(super) crl_distribution_points: Option<&'a [u8]>,
    pub(super) not_critical: NotCritical,
    /// The first critical extension that nobody here understands: content of its object identifier.
    pub(super) unknown_critical: Option<&'a [u8]>,
    pub(super) terms: Terms,
}

/// What a certificate permits; an anchor's terms are kept beside its key, so that handshakes need not read it again.
#[derive(Clone, Copy, Debug)]
pub(super) struct Terms {
    pub(super) not_before: UnixTime,
    pub(super) not_after: UnixTime,
    pub(super) is_ca: bool,
    pub(super) path_len: Option<u64>,
    pub(super) key_usage: Option<KeyUsage>,
    pub(super) purposes: Option<Purposes>,
    pub(super) name_constraints: NameConstraints,
    /// Whether nameConstraints have an rfc822Name among them.
    pub(super) constrains_email: bool,
}

/// Whether nameConstraints can be judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NameConstraints {
    /// A dNSName base with a leading period: whether it covers the bare domain differs from verifier to verifier, and
    /// RFC 5280 §4.2.1.10 has no such form.
    Ambiguous,
    /// A list of subtrees without any (RFC 5280 §4.2.1.10: at least one), so that it cannot be told what was meant.
    Empty,
    /// None, or sound ones.
    Sound,
}

/// Extensions that are there, not critical, and must be (RFC 5280 §4.2.1.9 to §4.2.1.11).
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct NotCritical {
    pub(super) basic_constraints: bool,
    pub(super) name_constraints: bool,
    pub(super) policy_constraints: bool,
}

/// keyUsage, as far as it matters here.
#[derive(Clone, Copy, Debug)]
pub(super) struct KeyUsage {
    pub(super) digital_signature: bool,
    pub(super) key_cert_sign: bool,
    pub(super) crl_sign: bool,
}

/// extendedKeyUsage, as far as it matters here.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Purposes {
    pub(super) client_auth: bool,
    pub(super) server_auth: bool,
}

impl<'a> Outline<'a> {
    /// As [`Certificate::crl_uris`](crate::certificate::Certificate::crl_uris).
    pub(super) fn crl_uris(&self) -> Vec<&'a str> {
        self.crl_distribution_points
            .and_then(|value| certificate::crl_uris(value).ok())
            .unwrap_or_default()
    }

    /// Reads `Certificate` (RFC 5280 §4.1).
    pub(super) fn parse(der: &'a [u8]) -> Result<Self, Malformed> {
        let mut input = Cursor::new(der);
        let certificate = input.expect(Tag::Sequence, "the certificate")?;
        input.finish("the certificate")?;
        let mut outer = certificate.cursor();
        let signed = outer.expect(Tag::Sequence, "tbsCertificate")?;
        let signature_algorithm = outer.expect(Tag::Sequence, "signatureAlgorithm")?;
        let signature = outer
            .expect(Tag::BitString, "the signature")?
            .octet_aligned_bits("the signature")?;
        outer.finish("the signature")?;

        let mut fields = signed.cursor();
        let version = version(fields.optional(constructed(0), "the version")?)?;
        let serial = fields.expect(Tag::Integer, "the serial number")?.content;
        if fields.expect(Tag::Sequence, "signature")?.content != signature_algorithm.content {
            // RFC 5280 §4.1.1.2: both fields hold the same algorithm.
            return Err(Malformed(
                "signature and signatureAlgorithm name different algorithms".to_owned(),
            ));
        }
        let issuer = fields.expect(Tag::Sequence, "the issuer")?.whole;
        let mut validity = fields.expect(Tag::Sequence, "the validity")?.cursor();
        let not_before = validity.any("notBefore")?.time("notBefore")?;
        let not_after = validity.any("notAfter")?.time("notAfter")?;
        validity.finish("notAfter")?;
        let subject = fields.expect(Tag::Sequence, "the subject")?.whole;
        let spki = fields.expect(Tag::Sequence, "subjectPublicKeyInfo")?.whole;

        let mut outline = Self {
            der,
            version,
            serial,
            issuer,
            subject,
            spki,
            signed: signed.whole,
            signature_algorithm,
            signature,
            subject_key_id: None,
            authority_key_id: None,
            name_constraints: None,
            subject_alt_names: None,
            crl_distribution_points: None,
            not_critical: NotCritical::default(),
            unknown_critical: None,
            terms: Terms {
                not_before,
                not_after,
                is_ca: false,
                path_len: None,
                key_usage: None,
                purposes: None,
                name_constraints: NameConstraints::Sound,
                constrains_email: false,
            },
        };
        // RFC 5280 §4.1.2.8: unique identifiers, which only version 2 ever used.
        for number in [1, 2] {
            fields.optional(primitive(number), "a unique identifier")?;
        }
        if let Some(tagged) = fields.optional(constructed(3), "the extensions")? {
            let mut tagged = tagged.cursor();
            let mut extensions = tagged.expect(Tag::Sequence, "the extensions")?.cursor();
            tagged.finish("the extensions")?;
            let mut seen = Seen::default();
            while !extensions.is_at_end() {
                let extension = extensions.expect(Tag::Sequence, "an extension")?;
                seen.once(&extension)?;
                outline.take_extension(extension)?;
            }
        }
        fields.finish("the extensions")?;
        Ok(outline)
    }

    /// Whether subject and issuer are one name (RFC 5280 §3.2: self-issued).
    pub(super) fn is_self_issued(&self) -> bool {
        self.subject == self.issuer
    }

    fn take_extension(&mut self, extension: Tlv<'a>) -> Result<(), Malformed> {
        let mut parts = extension.cursor();
        let id = parts
            .expect(Tag::ObjectIdentifier, "an extension's type")?
            .content;
        let critical = match parts.optional(Tag::Boolean, "an extension's criticality")? {
            Some(flag) => flag.boolean("an extension's criticality")?,
            None => false,
        };
        let value = parts
            .expect(Tag::OctetString, "an extension's value")?
            .content;
        parts.finish("an extension's value")?;
        let whole = value;
        let mut value = Cursor::new(whole);
        match id {
            // id-ce (2.5.29), RFC 5280 §4.2.1
            [0x55, 0x1d, 14] => {
                self.subject_key_id = Some(
                    value
                        .expect(Tag::OctetString, "subjectKeyIdentifier")?
                        .content,
                );
            }
            [0x55, 0x1d, 15] => {
                self.terms.key_usage = Some(key_usage(&value.expect(Tag::BitString, "keyUsage")?)?);
            }
            [0x55, 0x1d, 17] => {
                self.subject_alt_names =
                    Some(value.expect(Tag::Sequence, "subjectAltName")?.content);
            }
            [0x55, 0x1d, 19] => {
                self.not_critical.basic_constraints = !critical;
                self.take_basic_constraints(&value.expect(Tag::Sequence, "basicConstraints")?)?;
            }
            [0x55, 0x1d, 30] => {
                let constraints = value.expect(Tag::Sequence, "nameConstraints")?.content;
                self.name_constraints = Some(constraints);
                self.not_critical.name_constraints = !critical;
                self.terms.name_constraints = super::constraints::soundness(constraints);
                self.terms.constrains_email = super::constraints::mention_email(constraints);
            }
            [0x55, 0x1d, 35] => {
                let mut fields = value
                    .expect(Tag::Sequence, "authorityKeyIdentifier")?
                    .cursor();
                self.authority_key_id = fields
                    .optional(primitive(0), "the key identifier")?
                    .map(|key| key.content);
            }
            [0x55, 0x1d, 37] => {
                self.terms.purposes =
                    Some(purposes(&value.expect(Tag::Sequence, "extendedKeyUsage")?)?);
            }
            // webpki accepts it critical; this system never follows it.
            [0x55, 0x1d, 31] => self.crl_distribution_points = Some(whole),
            [0x55, 0x1d, 36] if !critical => self.not_critical.policy_constraints = true,
            _ if critical && self.unknown_critical.is_none() => self.unknown_critical = Some(id),
            _ => {}
        }
        // webpki ignores these two where they are not critical, and refuses them where they are.
        if critical && matches!(id, [0x55, 0x1d, 14 | 35]) && self.unknown_critical.is_none() {
            self.unknown_critical = Some(id);
        }
        Ok(())
    }

    fn take_basic_constraints(&mut self, sequence: &Tlv<'a>) -> Result<(), Malformed> {
        let mut fields = sequence.cursor();
        if let Some(ca) = fields.optional(Tag::Boolean, "cA")? {
            self.terms.is_ca = ca.boolean("cA")?;
        }
        if let Some(length) = fields.optional(Tag::Integer, "pathLenConstraint")? {
            self.terms.path_len = Some(length.unsigned("pathLenConstraint")?);
        }
        fields.finish("pathLenConstraint")
    }
}

/// The types of the extensions so far. Without a heap: every issuer of every handshake is read.
struct Seen<'a> {
    ids: [&'a [u8]; certificate::MAX_EXTENSIONS],
    count: usize,
}

impl Default for Seen<'_> {
    fn default() -> Self {
        Self {
            ids: [&[]; certificate::MAX_EXTENSIONS],
            count: 0,
        }
    }
}

impl<'a> Seen<'a> {
    /// RFC 5280 §4.2: no second one of a kind, or each verifier takes the one that it likes.
    fn once(&mut self, extension: &Tlv<'a>) -> Result<(), Malformed> {
        let id = extension
            .cursor()
            .expect(Tag::ObjectIdentifier, "an extension's type")?;
        if self.ids[..self.count].contains(&id.content) {
            let shown = asn1::dotted(id.oid("an extension's type")?);
            return Err(Malformed(format!("extension {shown} stands there twice")));
        }
        let Some(free) = self.ids.get_mut(self.count) else {
            return Err(Malformed(format!(
                "it has more than {} extensions",
                certificate::MAX_EXTENSIONS
            )));
        };
        *free = id.content;
        self.count += 1;
        Ok(())
    }
}

impl Terms {
    /// keyUsage, where present, must allow signing certificates (RFC 5280 §4.2.1.3).
    pub(super) fn may_sign_certificates(&self) -> bool {
        self.key_usage.is_none_or(|usage| usage.key_cert_sign)
    }

    /// Absent extendedKeyUsage allows every purpose (RFC 5280 §4.2.1.12).
    pub(super) fn allows(&self, purpose: super::Purpose) -> bool {
        self.purposes.is_none_or(|purposes| match purpose {
            super::Purpose::ClientAuth => purposes.client_auth,
            super::Purpose::ServerAuth => purposes.server_auth,
        })
    }
}

fn version(tagged: Option<Tlv<'_>>) -> Result<u8, Malformed> {
    let Some(tagged) = tagged else { return Ok(1) };
    let mut inner = tagged.cursor();
    let number = inner
        .expect(Tag::Integer, "the version")?
        .unsigned("the version")?;
    inner.finish("the version")?;
    match number {
        0 => Ok(1),
        1 => Ok(2),
        2 => Ok(3),
        other => Err(Malformed(format!(
            "X.509 has no version {}",
            other.saturating_add(1)
        ))),
    }
}

fn key_usage(bits: &Tlv<'_>) -> Result<KeyUsage, Malformed> {
    let (bytes, _) = bits.bit_string("keyUsage")?;
    let first = bytes.first().copied().unwrap_or(0);
    Ok(KeyUsage {
        digital_signature: first & 0x80 != 0,
        key_cert_sign: first & 0x04 != 0,
        crl_sign: first & 0x02 != 0,
    })
}

fn purposes(sequence: &Tlv<'_>) -> Result<Purposes, Malformed> {
    let mut purposes = Purposes::default();
    let mut ids = sequence.cursor();
    if ids.is_at_end() {
        return Err(Malformed("extendedKeyUsage lists nothing".to_owned()));
    }
    while !ids.is_at_end() {
        // id-kp (1.3.6.1.5.5.7.3). anyExtendedKeyUsage counts for nothing: what is meant for mTLS says so.
        match ids
            .expect(Tag::ObjectIdentifier, "a purpose in extendedKeyUsage")?
            .content
        {
            [0x2b, 6, 1, 5, 5, 7, 3, 1] => purposes.server_auth = true,
            [0x2b, 6, 1, 5, 5, 7, 3, 2] => purposes.client_auth = true,
            _ => {}
        }
    }
    Ok(purposes)
}
