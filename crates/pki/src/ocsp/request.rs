//! Requests, as anybody on the network sends them.

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use der::Tag;

use super::{CertId, NONCE};
use crate::asn1::{self, Cursor, Malformed, Tlv};
use crate::certificate;

/// A decoded request. Who sent it does not matter: the signature of a signed one must be well-formed and is not verified,
/// since the status of a certificate is told to everybody (RFC 5019 §2.1.2: responders may ignore it).
#[derive(Clone, Debug)]
pub struct OcspRequest {
    questions: Vec<CertId>,
    nonce: Option<Nonce>,
}

/// What a client wants to see again, 1 to [`MAX_NONCE_OCTETS`] octets.
///
/// Only a request makes one, so that no response has a nonce that nobody asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Nonce(Vec<u8>);

impl OcspRequest {
    /// Decodes the DER of an `OCSPRequest`. Refused are: over [`MAX_REQUEST_BYTES`], no question or over
    /// [`MAX_QUESTIONS`], a nonce out of bounds (RFC 9654 §2.1), any other critical extension, another version than 1.
    ///
    /// The answer to whatever is refused is [`super::MALFORMED_REQUEST`].
    pub fn parse(der: &[u8]) -> Result<Self, InvalidOcspRequest> {
        Ok(decode(der)?)
    }

    /// Decodes what follows the responder's own path in the target of a GET, as it came (RFC 5019 §5): base64,
    /// percent-encoded or not, padded or not. A `/` of base64 may come raw, and any number of them may come first, which
    /// clients that join URLs carelessly send. Refuses over [`MAX_GET_BYTES`].
    pub fn parse_get(path: &str) -> Result<Self, InvalidOcspRequest> {
        if path.len() > MAX_GET_BYTES {
            return Err(InvalidOcspRequest {
                why: format!(
                    "the path has {} bytes, at most {MAX_GET_BYTES} are taken",
                    path.len()
                ),
            });
        }
        let text = percent_decoded(path)?;
        // A request begins with a SEQUENCE, so its base64 with `M`: a slash before is none of its own.
        let start = text.iter().position(|&byte| byte != b'/').unwrap_or(0);
        let der = BASE64
            .decode(&text[start..])
            .map_err(|_| Malformed("the path is not base64".to_owned()))?;
        Self::parse(&der)
    }

    /// The certificates whose status is asked, in order; at least one.
    pub fn questions(&self) -> &[CertId] {
        &self.questions
    }

    /// What the response must repeat. A response that was made beforehand has none, which RFC 9654 §2.1 allows.
    pub fn nonce(&self) -> Option<&Nonce> {
        self.nonce.as_ref()
    }
}

impl Nonce {
    /// The octets.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    fn decode(value: &[u8]) -> Result<Self, Malformed> {
        let mut value = Cursor::new(value);
        let nonce = value.expect(Tag::OctetString, "the nonce")?;
        value.finish("the nonce")?;
        match nonce.content.len() {
            1..=MAX_NONCE_OCTETS => Ok(Self(nonce.content.to_vec())),
            length => Err(Malformed(format!(
                "the nonce has {length} octets, not 1 to {MAX_NONCE_OCTETS} (RFC 9654 §2.1)"
            ))),
        }
    }
}

/// Why bytes are not a request that is answered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("OCSP request: {why}")]
#[non_exhaustive]
pub struct InvalidOcspRequest {
    /// What is wrong, in words.
    pub why: String,
}

impl From<Malformed> for InvalidOcspRequest {
    fn from(fault: Malformed) -> Self {
        Self { why: fault.0 }
    }
}

fn decode(der: &[u8]) -> Result<OcspRequest, Malformed> {
    if der.len() > MAX_REQUEST_BYTES {
        return Err(Malformed(format!(
            "it has {} bytes, at most {MAX_REQUEST_BYTES} are taken",
            der.len()
        )));
    }
    let mut outer = Cursor::new(der);
    let mut parts = outer.expect(Tag::Sequence, "the request")?.cursor();
    outer.finish("the request")?;
    let mut fields = parts.expect(Tag::Sequence, "tbsRequest")?.cursor();
    if let Some(signature) = parts.optional(asn1::constructed(0), "the signature")? {
        check_signature_shape(&signature)?;
    }
    parts.finish("the request")?;

    if let Some(version) = fields.optional(asn1::constructed(0), "the version")?
        && sole(&version, Tag::Integer, "the version")?.unsigned("the version")? != 0
    {
        return Err(Malformed(
            "its version is not 1, the only one there is".to_owned(),
        ));
    }
    fields.optional(asn1::constructed(1), "requestorName")?;
    let mut list = fields.expect(Tag::Sequence, "requestList")?.cursor();
    let extensions = fields.optional(asn1::constructed(2), "requestExtensions")?;
    fields.finish("tbsRequest")?;

    let mut questions = Vec::new();
    while !list.is_at_end() {
        if questions.len() == MAX_QUESTIONS {
            return Err(Malformed(format!(
                "it asks about more than {MAX_QUESTIONS} certificates"
            )));
        }
        let mut question = list.expect(Tag::Sequence, "a request")?.cursor();
        questions.push(CertId::decode(
            &question.expect(Tag::Sequence, "a CertID")?,
        )?);
        if let Some(extensions) =
            question.optional(asn1::constructed(0), "singleRequestExtensions")?
            && nonce_of(der, &extensions)?.is_some()
        {
            return Err(Malformed(
                "the nonce stands beside one certificate, not in requestExtensions".to_owned(),
            ));
        }
        question.finish("a request")?;
    }
    if questions.is_empty() {
        return Err(Malformed("it asks about no certificate".to_owned()));
    }
    let nonce = match extensions {
        Some(extensions) => nonce_of(der, &extensions)?,
        None => None,
    };
    Ok(OcspRequest { questions, nonce })
}

/// The nonce among the extensions, of which no other may be critical (RFC 6960 §4.4: none else has to be understood).
fn nonce_of(der: &[u8], extensions: &Tlv<'_>) -> Result<Option<Nonce>, Malformed> {
    let mut nonce = None;
    for place in certificate::extensions(extensions)? {
        let oid = &der[place.oid];
        if oid == NONCE.as_bytes() {
            nonce = Some(Nonce::decode(&der[place.value])?);
        } else if place.critical {
            let shown = const_oid::ObjectIdentifierRef::from_bytes(oid)
                .map_or_else(|_| "?".to_owned(), asn1::dotted);
            return Err(Malformed(format!(
                "critical extension {shown} is not known here"
            )));
        }
    }
    Ok(nonce)
}

fn check_signature_shape(tagged: &Tlv<'_>) -> Result<(), Malformed> {
    let what = "the signature";
    let mut parts = sole(tagged, Tag::Sequence, what)?.cursor();
    parts.expect(Tag::Sequence, "the signature algorithm")?;
    parts.expect(Tag::BitString, what)?.bit_string(what)?;
    parts.optional(asn1::constructed(0), "the signer's certificates")?;
    parts.finish(what)
}

/// What an explicit tag wraps.
pub(super) fn sole<'a>(tagged: &Tlv<'a>, tag: Tag, what: &str) -> Result<Tlv<'a>, Malformed> {
    let mut inner = tagged.cursor();
    let tlv = inner.expect(tag, what)?;
    inner.finish(what)?;
    Ok(tlv)
}

fn percent_decoded(path: &str) -> Result<Vec<u8>, Malformed> {
    let mut out = Vec::with_capacity(path.len());
    let mut rest = path.bytes();
    while let Some(byte) = rest.next() {
        let digit = |byte: Option<u8>| {
            byte.and_then(|byte| char::from(byte).to_digit(16))
                .and_then(|digit| u8::try_from(digit).ok())
        };
        if byte == b'%' {
            let (Some(high), Some(low)) = (digit(rest.next()), digit(rest.next())) else {
                return Err(Malformed(
                    "the path has a % without two hexadecimal digits".to_owned(),
                ));
            };
            out.push(high << 4 | low);
        } else {
            out.push(byte);
        }
    }
    Ok(out)
}

/// Standard alphabet; RFC 5019 §5 pads, some clients do not.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// 20 questions by SHA-256 and the longest nonce take 2.5 KiB; the rest is for the certificate of a signed request.
pub const MAX_REQUEST_BYTES: usize = 4096;

/// RFC 5019 §5 sends no GET over 255 bytes. nginx sends whatever it asks by GET; one question by SHA-256 with the longest
/// nonce, percent-encoded throughout, has under 1200.
pub const MAX_GET_BYTES: usize = 2048;

/// RFC 5019 §2.1.1 asks about one. OpenSSL and `GnuTLS` ask about a chain, whose depth verifiers bound below this.
pub const MAX_QUESTIONS: usize = 20;

/// RFC 9654 §2.1.
pub const MAX_NONCE_OCTETS: usize = 128;
