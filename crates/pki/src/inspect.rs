//! Decoded certificates, requests and CRLs for a person (rows of text) and for a program (JSON fields).
//!
//! Bytes that a peer chose are escaped in the text; JSON escapes its own.

use std::fmt;

use serde::Serialize;

use crate::asn1::hex;
use crate::certificate::{Certificate, ExtendedKeyUsage};
use crate::crl::ParsedCrl;
use crate::name::TypedName;
use crate::request::CertificateRequest;
use crate::time::{UnixTime, spoken};

/// A certificate, as `inspect` shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "type", rename = "certificate")]
pub struct CertificateView {
    /// RFC 4514.
    pub subject: String,
    /// RFC 4514.
    pub issuer: String,
    /// Hexadecimal.
    pub serial: String,
    /// RFC 3339.
    pub not_before: String,
    /// RFC 3339.
    pub not_after: String,
    /// Where `now` stands to the two.
    pub validity: Validity,
    /// Typed, in the certificate's order.
    pub subject_alt_names: Vec<String>,
    /// Names of kinds that no rule can use.
    pub other_alt_names: usize,
    /// The kind and size of the key.
    pub public_key: String,
    /// What the issuer signed with.
    pub signature_algorithm: String,
    /// 1, 2 or 3.
    pub version: u8,
    /// basicConstraints CA:TRUE.
    pub ca: bool,
    /// pathLenConstraint.
    pub path_len: Option<u8>,
    /// The bits that are set.
    pub key_usage: Vec<&'static str>,
    /// By name or OID.
    pub extended_key_usage: Vec<String>,
    /// Hexadecimal.
    pub subject_key_id: Option<String>,
    /// Hexadecimal.
    pub authority_key_id: Option<String>,
    /// Every extension.
    pub extensions: Vec<ExtensionView>,
    /// SHA-256 of the whole.
    pub fingerprint: String,
    /// SHA-256 of the public key.
    pub spki: String,
    #[serde(skip)]
    remaining: String,
}

/// Where a moment stands to a certificate's or list's validity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Validity {
    /// Past the end.
    Expired,
    /// Before the beginning.
    NotYetValid,
    /// Between the two.
    Valid,
}

/// An extension's presence.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ExtensionView {
    /// Dotted.
    pub oid: String,
    /// In RFC 5280.
    pub name: Option<&'static str>,
    /// Critical.
    pub critical: bool,
}

/// A request, as `inspect` shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "type", rename = "certificate-request")]
pub struct RequestView {
    /// RFC 4514.
    pub subject: String,
    /// Typed, in the request's order.
    pub subject_alt_names: Vec<String>,
    /// Names of kinds that nothing here issues.
    pub other_alt_names: usize,
    /// The kind and size of the key.
    pub public_key: String,
    /// Extensions it asks for and will not get.
    pub ignored_extensions: Vec<String>,
}

/// A CRL, as `inspect` shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "type", rename = "crl")]
pub struct CrlView {
    /// RFC 4514.
    pub issuer: String,
    /// RFC 3339.
    pub this_update: String,
    /// RFC 3339.
    pub next_update: Option<String>,
    /// Where `now` stands to the two.
    pub validity: Validity,
    /// cRLNumber.
    pub number: Option<u64>,
    /// What it is signed with.
    pub signature_algorithm: String,
    /// Hexadecimal.
    pub authority_key_id: Option<String>,
    /// What it covers; `None` where nothing here can judge that.
    pub covers: Option<String>,
    /// Critical extensions that make it unusable here.
    pub unknown_critical_extensions: Vec<String>,
    /// The certificates that it revokes.
    pub revoked: Vec<RevokedView>,
}

/// An entry of a CRL.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RevokedView {
    /// Hexadecimal.
    pub serial: String,
    /// RFC 3339.
    pub revoked_at: String,
    /// As on the command line.
    pub reason: &'static str,
}

/// What `inspect` says of a certificate at `now`.
pub fn certificate(certificate: &Certificate, now: UnixTime) -> CertificateView {
    let (begin, end) = (certificate.not_before(), certificate.not_after());
    let (validity, remaining) = match () {
        () if now < begin => (
            Validity::NotYetValid,
            format!("valid in {}", spoken(begin.since(now))),
        ),
        () if now > end => (
            Validity::Expired,
            format!("expired {} ago", spoken(now.since(end))),
        ),
        () => (Validity::Valid, format!("{} left", spoken(end.since(now)))),
    };
    CertificateView {
        subject: certificate.subject().to_string(),
        issuer: certificate.issuer().to_string(),
        serial: certificate.serial().to_string(),
        not_before: begin.to_string(),
        not_after: end.to_string(),
        validity,
        subject_alt_names: certificate
            .subject_alt_names()
            .iter()
            .map(TypedName::to_string)
            .collect(),
        other_alt_names: certificate.other_alt_names(),
        public_key: certificate.public_key_algorithm().to_string(),
        signature_algorithm: certificate.signature_algorithm().to_string(),
        version: certificate.version(),
        ca: certificate.is_ca(),
        path_len: certificate.path_len(),
        key_usage: certificate
            .key_usage()
            .map_or_else(Vec::new, |usage| usage.listed()),
        extended_key_usage: certificate
            .extended_key_usage()
            .map_or_else(Vec::new, ExtendedKeyUsage::listed),
        subject_key_id: certificate.subject_key_id().map(hex),
        authority_key_id: certificate.authority_key_id().map(hex),
        extensions: certificate
            .extensions()
            .map(|extension| ExtensionView {
                oid: extension.oid(),
                name: extension.name(),
                critical: extension.critical,
            })
            .collect(),
        fingerprint: certificate.fingerprint().to_string(),
        spki: certificate.spki().to_string(),
        remaining,
    }
}

/// What `inspect` says of a request, whose signature was verified when it was decoded.
pub fn request(request: &CertificateRequest) -> RequestView {
    RequestView {
        subject: request.subject().to_string(),
        subject_alt_names: request
            .subject_alt_names()
            .iter()
            .map(TypedName::to_string)
            .collect(),
        other_alt_names: request.other_alt_names(),
        public_key: request.public_key_algorithm().to_string(),
        ignored_extensions: request.ignored_extensions().to_vec(),
    }
}

/// What `inspect` says of a CRL at `now`.
pub fn crl(crl: &ParsedCrl, now: UnixTime) -> CrlView {
    let validity = match () {
        () if now < crl.this_update() => Validity::NotYetValid,
        () if crl.next_update().is_some_and(|end| now > end) => Validity::Expired,
        () => Validity::Valid,
    };
    let revoked = crl.entries().iter().map(|entry| RevokedView {
        serial: entry.serial.to_string(),
        revoked_at: entry.revoked_at.to_string(),
        reason: entry.reason.as_str(),
    });
    CrlView {
        issuer: crl.issuer().to_string(),
        this_update: crl.this_update().to_string(),
        next_update: crl.next_update().map(|time| time.to_string()),
        validity,
        number: crl.number(),
        signature_algorithm: crl.signature_algorithm().to_string(),
        authority_key_id: crl.authority_key_id().map(hex),
        covers: crl.scope().map(ToString::to_string),
        unknown_critical_extensions: crl.unknown_critical_extensions().to_vec(),
        revoked: revoked.collect(),
    }
}

impl fmt::Display for CertificateView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let subject = if self.subject.is_empty() {
            "(empty)"
        } else {
            &self.subject
        };
        row(f, "subject", subject)?;
        rows(f, "names", &self.subject_alt_names)?;
        if self.other_alt_names > 0 {
            row(
                f,
                "other names",
                &format!("{} of kinds that no rule can use", self.other_alt_names),
            )?;
        }
        row(f, "issuer", &self.issuer)?;
        row(f, "serial", &self.serial)?;
        row(
            f,
            "valid",
            &format!(
                "{} to {} ({})",
                self.not_before, self.not_after, self.remaining
            ),
        )?;
        row(f, "key", &self.public_key)?;
        row(f, "signed with", &self.signature_algorithm)?;
        let path_len = self
            .path_len
            .map_or_else(String::new, |length| format!(", path length {length}"));
        row(
            f,
            "kind",
            &if self.ca {
                format!("CA{path_len}")
            } else {
                "leaf".to_owned()
            },
        )?;
        some_row(f, "key usage", &self.key_usage.join(", "))?;
        some_row(f, "purposes", &self.extended_key_usage.join(", "))?;
        some_row(
            f,
            "subject key",
            self.subject_key_id.as_deref().unwrap_or_default(),
        )?;
        some_row(
            f,
            "issuer key",
            self.authority_key_id.as_deref().unwrap_or_default(),
        )?;
        let extensions: Vec<String> = self.extensions.iter().map(ToString::to_string).collect();
        some_row(f, "extensions", &extensions.join(", "))?;
        row(f, "sha-256", &self.fingerprint)?;
        row(f, "spki", &self.spki)
    }
}

impl fmt::Display for ExtensionView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}{}",
            self.name.unwrap_or(&self.oid),
            if self.critical { " (critical)" } else { "" }
        )
    }
}

impl fmt::Display for RequestView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let subject = if self.subject.is_empty() {
            "(empty)"
        } else {
            &self.subject
        };
        row(f, "subject", subject)?;
        rows(f, "names", &self.subject_alt_names)?;
        if self.other_alt_names > 0 {
            row(
                f,
                "other names",
                &format!("{} of kinds that are not issued", self.other_alt_names),
            )?;
        }
        row(f, "key", &self.public_key)?;
        row(
            f,
            "signature",
            "good: whoever made the request holds the key",
        )?;
        some_row(f, "ignored", &self.ignored_extensions.join(", "))
    }
}

impl fmt::Display for CrlView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        row(f, "issuer", &self.issuer)?;
        let until = self.next_update.as_deref().unwrap_or("(no next update)");
        let stale = match self.validity {
            Validity::Expired => " (out of date)",
            Validity::NotYetValid => " (not yet in force)",
            Validity::Valid => "",
        };
        row(
            f,
            "valid",
            &format!("{} to {until}{stale}", self.this_update),
        )?;
        some_row(
            f,
            "number",
            &self
                .number
                .map_or_else(String::new, |number| number.to_string()),
        )?;
        row(f, "signed with", &self.signature_algorithm)?;
        some_row(
            f,
            "issuer key",
            self.authority_key_id.as_deref().unwrap_or_default(),
        )?;
        some_row(f, "covers", self.covers.as_deref().unwrap_or_default())?;
        some_row(f, "unknown", &self.unknown_critical_extensions.join(", "))?;
        row(f, "revoked", &self.revoked.len().to_string())?;
        for entry in self.revoked.iter().take(SHOWN_ENTRIES) {
            row(
                f,
                "",
                &format!(
                    "{} since {}, {}",
                    entry.serial, entry.revoked_at, entry.reason
                ),
            )?;
        }
        let hidden = self.revoked.len().saturating_sub(SHOWN_ENTRIES);
        some_row(
            f,
            "",
            &if hidden > 0 {
                format!("… and {hidden} more")
            } else {
                String::new()
            },
        )
    }
}

/// A person reads no more of a CRL; the JSON has all.
const SHOWN_ENTRIES: usize = 50;

fn row(f: &mut fmt::Formatter<'_>, label: &str, value: &str) -> fmt::Result {
    writeln!(f, "{label:<12} {}", escaped(value))
}

fn some_row(f: &mut fmt::Formatter<'_>, label: &str, value: &str) -> fmt::Result {
    if value.is_empty() {
        Ok(())
    } else {
        row(f, label, value)
    }
}

fn rows(f: &mut fmt::Formatter<'_>, label: &str, values: &[String]) -> fmt::Result {
    values
        .iter()
        .enumerate()
        .try_for_each(|(place, value)| row(f, if place == 0 { label } else { "" }, value))
}

/// Control characters, and the marks that turn the direction of text or hide in it (Unicode TR36 §2), as `\u{…}`.
pub fn escaped(text: &str) -> String {
    let deceives = |c: char| {
        c.is_control()
            || matches!(c, '\u{ad}' | '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
    };
    text.chars()
        .map(|c| {
            if deceives(c) {
                c.escape_unicode().to_string()
            } else {
                c.to_string()
            }
        })
        .collect()
}
