//! `countersign inspect`: what is in a file, decoded. Of a key it shows the kind and the public half's hash, never more.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P384_SHA384_ASN1_SIGNING, ECDSA_P521_SHA512_ASN1_SIGNING,
    EcdsaKeyPair, Ed25519KeyPair, KeyPair, RsaKeyPair,
};
use clap::Args;
use countersign_pki::certificate::{Certificate, KeyAlgorithm};
use countersign_pki::crl::ParsedCrl;
use countersign_pki::fingerprint::Fingerprint;
use countersign_pki::inspect::{self, CertificateView, CrlView, RequestView};
use countersign_pki::request::CertificateRequest;
use countersign_pki::time::UnixTime;
use countersign_runtime::clock::{Clock, SystemClock};
use serde::Serialize;

use crate::certificate_file::{self, Contents, fault};
use crate::cli::arguments::Globals;
use crate::fault::{Answer, Fault};

/// Decode a certificate, a chain, a certificate request, a CRL or a key; key material is never shown
#[derive(Debug, Args)]
pub(crate) struct InspectCommand {
    /// PEM or DER
    file: PathBuf,
}

/// One thing in a file.
#[derive(Clone, Debug, Serialize)]
#[serde(untagged)]
enum Item {
    Certificate(Box<CertificateView>),
    Request(RequestView),
    Crl(CrlView),
    Key(KeyView),
}

/// What may be said of a key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "type", rename = "key")]
struct KeyView {
    /// The PEM label's form: `PKCS#8`, `SEC 1`, …
    format: &'static str,
    /// A private key, not only its public half.
    private: bool,
    /// Under a passphrase, so that nothing else can be said.
    encrypted: bool,
    /// Kind and size, if they are known here.
    #[serde(skip_serializing_if = "Option::is_none")]
    algorithm: Option<String>,
    /// SHA-256 of the public key: a certificate of this key shows the same.
    #[serde(skip_serializing_if = "Option::is_none")]
    spki: Option<String>,
}

impl InspectCommand {
    /// Runs it.
    pub(crate) fn run(self, globals: &Globals) -> Result<Answer, Fault> {
        let now = UnixTime::from_seconds(SystemClock.unix_seconds());
        let items = items(&self.file, now)?;
        globals.output().answer(&items, |items| {
            items.iter().map(Item::text).collect::<Vec<_>>().join("\n")
        })?;
        Ok(Answer::Yes)
    }
}

fn items(path: &Path, now: UnixTime) -> Result<Vec<Item>, Fault> {
    let blocks = match certificate_file::read(path)? {
        Contents::Der(der) => {
            let item = item_of_der(&der, now)
                .ok_or_else(|| fault(path, &"neither certificate, request, CRL nor key in DER"))?;
            return Ok(vec![item]);
        }
        Contents::Pem(blocks) => blocks,
    };
    let item = |block: &countersign_pki::pem::Block| {
        let der = &block.der;
        let damaged =
            |error: &dyn std::fmt::Display| fault(path, &format_args!("{}: {error}", block.label));
        match block.label.as_str() {
            "CERTIFICATE" | "X509 CERTIFICATE" | "TRUSTED CERTIFICATE" => {
                certificate(der, now).map_err(|error| damaged(&error))
            }
            "CERTIFICATE REQUEST" | "NEW CERTIFICATE REQUEST" => {
                request(der).map_err(|error| damaged(&error))
            }
            "X509 CRL" => crl(der, now).map_err(|error| damaged(&error)),
            "PRIVATE KEY" => Ok(Item::Key(KeyView::private("PKCS#8", der))),
            "EC PRIVATE KEY" => Ok(Item::Key(KeyView::private("SEC 1", der))),
            "RSA PRIVATE KEY" => Ok(Item::Key(KeyView::private("PKCS#1", der))),
            "ENCRYPTED PRIVATE KEY" => Ok(Item::Key(KeyView::encrypted())),
            "PUBLIC KEY" => Ok(Item::Key(KeyView::public(der))),
            other => Err(fault(
                path,
                &format_args!("{other} is nothing that can be inspected here"),
            )),
        }
    };
    blocks.iter().map(item).collect()
}

fn item_of_der(der: &[u8], now: UnixTime) -> Option<Item> {
    let key = || KeyView::private("PKCS#8", der);
    certificate(der, now)
        .ok()
        .or_else(|| request(der).ok())
        .or_else(|| crl(der, now).ok())
        .or_else(|| Some(Item::Key(key())).filter(|_| public_half(der).is_some()))
}

fn certificate(der: &[u8], now: UnixTime) -> Result<Item, impl std::fmt::Display + use<>> {
    Certificate::parse(der).map(|it| Item::Certificate(Box::new(inspect::certificate(&it, now))))
}

fn request(der: &[u8]) -> Result<Item, impl std::fmt::Display + use<>> {
    CertificateRequest::parse(der).map(|it| Item::Request(inspect::request(&it)))
}

fn crl(der: &[u8], now: UnixTime) -> Result<Item, impl std::fmt::Display + use<>> {
    ParsedCrl::parse(der).map(|it| Item::Crl(inspect::crl(&it, now)))
}

impl Item {
    fn text(&self) -> String {
        match self {
            Self::Certificate(view) => view.to_string(),
            Self::Request(view) => view.to_string(),
            Self::Crl(view) => view.to_string(),
            Self::Key(view) => view.text(),
        }
    }
}

impl KeyView {
    fn private(format: &'static str, der: &[u8]) -> Self {
        let spki = public_half(der);
        let algorithm = spki
            .as_deref()
            .and_then(KeyAlgorithm::of)
            .map(|kind| kind.to_string());
        let spki = spki.map(|spki| Fingerprint::of(&spki).to_string());
        Self {
            format,
            private: true,
            encrypted: false,
            algorithm,
            spki,
        }
    }

    fn encrypted() -> Self {
        Self {
            format: "PKCS#8",
            private: true,
            encrypted: true,
            algorithm: None,
            spki: None,
        }
    }

    fn public(der: &[u8]) -> Self {
        Self {
            format: "SubjectPublicKeyInfo",
            private: false,
            encrypted: false,
            algorithm: KeyAlgorithm::of(der).map(|kind| kind.to_string()),
            spki: Some(Fingerprint::of(der).to_string()),
        }
    }

    fn text(&self) -> String {
        let what = match (self.private, self.encrypted) {
            (true, true) => "private, encrypted",
            (true, false) => "private, not encrypted",
            (false, _) => "public",
        };
        let mut text = format!("{:<12} {what} ({})\n", "key", self.format);
        for (label, value) in [("kind", &self.algorithm), ("spki", &self.spki)] {
            if let Some(value) = value {
                writeln!(text, "{label:<12} {value}").expect("a String takes everything");
            }
        }
        text
    }
}

/// The `SubjectPublicKeyInfo` of a private key of a kind that is known here, in any of its usual forms.
fn public_half(der: &[u8]) -> Option<Vec<u8>> {
    let spki = |der: PublicKeyX509Der<'_>| der.as_ref().to_vec();
    let curves = [
        &ECDSA_P256_SHA256_ASN1_SIGNING,
        &ECDSA_P384_SHA384_ASN1_SIGNING,
        &ECDSA_P521_SHA512_ASN1_SIGNING,
    ];
    for curve in curves {
        let pair = EcdsaKeyPair::from_pkcs8(curve, der)
            .or_else(|_| EcdsaKeyPair::from_private_key_der(curve, der));
        if let Ok(pair) = pair {
            return pair.public_key().as_der().ok().map(spki);
        }
    }
    if let Ok(pair) = RsaKeyPair::from_pkcs8(der).or_else(|_| RsaKeyPair::from_der(der)) {
        return pair.public_key().as_der().ok().map(spki);
    }
    let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(der).ok()?;
    pair.public_key().as_der().ok().map(spki)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::leaf_key::{KeyKind, LeafKey};

    fn inspect(bytes: &[u8]) -> Result<String, Fault> {
        let file = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(file.path(), bytes).expect("written");
        let items = items(file.path(), UnixTime::from_seconds(0))?;
        Ok(serde_json::to_string(&items).expect("JSON"))
    }

    #[test]
    fn key_shows_its_public_half_and_nothing_else() {
        let key = LeafKey::generate(KeyKind::default()).expect("a key");
        let spki = Fingerprint::of(&key.spki_der().expect("a public key"));
        let shown = inspect(key.to_pem().as_bytes()).expect("a key");
        assert!(
            shown.starts_with(
                r#"[{"type":"key","format":"PKCS#8","private":true,"encrypted":false,"algorithm":""#
            ),
            "{shown}"
        );
        assert!(
            shown.ends_with(&format!(r#""spki":"{spki}"}}]"#)),
            "{shown}"
        );
        assert!(shown.len() < 256, "{shown}");
    }

    #[test]
    fn request_is_decoded_from_pem_and_der() {
        let request = LeafKey::generate(KeyKind::default())
            .expect("a key")
            .request()
            .expect("a request");
        let pem = countersign_pki::pem::encode("CERTIFICATE REQUEST", &request);
        for form in [request.as_slice(), pem.as_bytes()] {
            assert!(
                inspect(form)
                    .expect("a request")
                    .starts_with(r#"[{"type":"certificate-request""#)
            );
        }
    }

    #[test]
    fn what_is_nothing_of_ours_is_said_to_be() {
        for bytes in [&b""[..], b"nonsense", b"\x30\x03\x02\x01\x01"] {
            assert_eq!(inspect(bytes).expect_err("nothing").exit_code(), 2);
        }
    }
}
