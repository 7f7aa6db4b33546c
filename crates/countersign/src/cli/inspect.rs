//! `countersign inspect`: what is in a file, or what a server shows, decoded. Of a key it shows the kind and the public half's hash, never more.

mod server;

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use clap::Args;
use countersign_diagnose::doctor::question::Starttls;
use countersign_pki::certificate::{Certificate, KeyAlgorithm};
use countersign_pki::crl::ParsedCrl;
use countersign_pki::fingerprint::Fingerprint;
use countersign_pki::inspect::{self, CertificateView, CrlView, RequestView};
use countersign_pki::pkcs12;
use countersign_pki::request::CertificateRequest;
use countersign_pki::time::UnixTime;
use countersign_runtime::clock::{Clock, SystemClock};
use serde::Serialize;

use self::server::{ServerView, UnreadableView};
use crate::certificate_file::{self, Contents, fault};
use crate::cli::arguments::{Globals, starttls};
use crate::fault::{Answer, Fault};
use crate::output::escaped;
use crate::password::PasswordSource;
use crate::private_key::{PrivateKey, locked};

/// Decode a certificate, a chain, a certificate request, a CRL, a key or PKCS#12, or what a server shows; key material is never shown
#[derive(Debug, Args)]
pub(crate) struct InspectCommand {
    /// PEM or DER; or a server, HOST:PORT or a URL, where no file is called so
    #[arg(value_name = "FILE|HOST:PORT")]
    file: PathBuf,
    /// The name to ask a server for (SNI) [default: its host]
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// What a server speaks before TLS: smtp, imap, pop3, ftp, ldap, xmpp, postgres, mysql
    #[arg(long, value_name = "PROTOCOL", value_parser = starttls)]
    starttls: Option<Starttls>,
    /// File with the password of a PKCS#12 file [default: it is asked for]
    #[arg(long, value_name = "FILE")]
    in_password_file: Option<PathBuf>,
}

/// One thing in a file, or of a server.
#[derive(Clone, Debug, Serialize)]
#[serde(untagged)]
enum Item {
    Certificate(Box<CertificateView>),
    Request(RequestView),
    Crl(CrlView),
    Key(KeyView),
    Pkcs12(Pkcs12View),
    Server(Box<ServerView>),
    Unreadable(UnreadableView),
}

/// A PKCS#12 file; its keys and certificates follow, in this order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "type", rename = "pkcs12")]
struct Pkcs12View {
    /// What shows that it was not changed.
    integrity: String,
    entries: Vec<EntryView>,
}

/// One part of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct EntryView {
    /// `certificate`, `key` or `trusted-certificate`.
    kind: &'static str,
    /// Its friendly name.
    #[serde(skip_serializing_if = "Option::is_none")]
    alias: Option<String>,
    /// SHA-256 of the public key, if it is of a kind that is known here.
    #[serde(skip_serializing_if = "Option::is_none")]
    spki: Option<String>,
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
        let server = server::Asked::of(&self.file, self.name.as_deref(), self.starttls);
        let items = match server {
            Some(server) => server.items(now)?,
            None if self.name.is_some() || self.starttls.is_some() => {
                return Err(fault(
                    &self.file,
                    &"--name and --starttls are for servers, and this is neither HOST:PORT nor a URL",
                ));
            }
            None => {
                let password = PasswordSource::of(self.in_password_file.as_deref());
                items(&self.file, &password, now)?
            }
        };
        globals.output().answer(&items, |items| {
            items.iter().map(Item::text).collect::<Vec<_>>().join("\n")
        })?;
        Ok(Answer::Yes)
    }
}

fn items(path: &Path, password: &PasswordSource, now: UnixTime) -> Result<Vec<Item>, Fault> {
    let blocks = match certificate_file::read(path)? {
        Contents::Der(der) if pkcs12::Contents::is_one(&der) => {
            let password = password.get(path)?;
            let contents =
                pkcs12::Contents::open(&der, &password).map_err(|error| locked(path, &error))?;
            return Ok(pkcs12_items(&contents, now));
        }
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

fn pkcs12_items(contents: &pkcs12::Contents, now: UnixTime) -> Vec<Item> {
    let keys: Vec<KeyView> = contents
        .keys
        .iter()
        .map(|key| KeyView::private("PKCS#8", &key.pkcs8))
        .collect();
    let key_entries = contents
        .keys
        .iter()
        .zip(&keys)
        .map(|(key, view)| EntryView {
            kind: "key",
            alias: key.friendly_name.clone(),
            spki: view.spki.clone(),
        });
    let certificates = contents.certificates.iter();
    let certificate_entries = certificates.clone().map(|entry| EntryView {
        kind: if entry.is_trusted {
            "trusted-certificate"
        } else {
            "certificate"
        },
        alias: entry.friendly_name.clone(),
        spki: Some(entry.certificate.spki().to_string()),
    });
    let file = Item::Pkcs12(Pkcs12View {
        integrity: contents.integrity.to_string(),
        entries: key_entries.chain(certificate_entries).collect(),
    });
    let views = certificates
        .map(|entry| Item::Certificate(Box::new(inspect::certificate(&entry.certificate, now))));
    [file]
        .into_iter()
        .chain(keys.iter().cloned().map(Item::Key))
        .chain(views)
        .collect()
}

fn item_of_der(der: &[u8], now: UnixTime) -> Option<Item> {
    let key = || KeyView::private("PKCS#8", der);
    certificate(der, now)
        .ok()
        .or_else(|| request(der).ok())
        .or_else(|| crl(der, now).ok())
        .or_else(|| Some(Item::Key(key())).filter(|_| PrivateKey::of_der(der).is_some()))
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
            Self::Pkcs12(view) => view.text(),
            Self::Server(view) => view.text(),
            Self::Unreadable(view) => view.text(),
        }
    }
}

impl Pkcs12View {
    fn text(&self) -> String {
        let mut text = format!("PKCS#12      integrity: {}\n", self.integrity);
        for entry in &self.entries {
            let alias = entry.alias.as_deref().map(escaped).unwrap_or_default();
            let line = format!("  {:<20} {alias}", entry.kind);
            text.push_str(line.trim_end());
            text.push('\n');
        }
        text
    }
}

impl KeyView {
    fn private(format: &'static str, der: &[u8]) -> Self {
        let key = PrivateKey::of_der(der);
        let spki = key.as_ref().map(PrivateKey::spki_der);
        let algorithm = spki.and_then(KeyAlgorithm::of).map(|kind| kind.to_string());
        let spki = spki.map(|spki| Fingerprint::of(spki).to_string());
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::leaf_key::{KeyKind, LeafKey};

    fn inspect(bytes: &[u8]) -> Result<String, Fault> {
        let file = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(file.path(), bytes).expect("written");
        let items = items(
            file.path(),
            &PasswordSource::Terminal,
            UnixTime::from_seconds(0),
        )?;
        Ok(serde_json::to_string(&items).expect("JSON"))
    }

    #[test]
    fn key_shows_its_public_half_and_nothing_else() {
        let key = LeafKey::generate(KeyKind::default()).expect("a key");
        let spki = Fingerprint::of(key.spki_der());
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
