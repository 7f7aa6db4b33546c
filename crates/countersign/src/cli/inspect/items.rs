//! What a file holds, as people and programs are shown it.

use std::fmt::Write as _;

use countersign_diagnose::finding::Finding;
use countersign_pki::certificate::KeyAlgorithm;
use countersign_pki::inspect::{self, CertificateView, CrlView, RequestView};
use countersign_pki::material::{
    CertificatePiece, Container, KeyFormat, KeyPiece, Material, OtherPiece,
};
use countersign_pki::pem;
use countersign_pki::time::UnixTime;
use serde::Serialize;

use super::server::ServerView;
use crate::output::escaped;

/// One thing in a file, or of a server.
#[derive(Clone, Debug, Serialize)]
#[serde(untagged)]
pub(super) enum Item {
    Certificate(Box<CertificateView>),
    Request(RequestView),
    Crl(CrlView),
    Key(KeyView),
    Pkcs12(Pkcs12View),
    Server(Box<ServerView>),
    Unreadable(UnreadableView),
    File(FileView),
    Other(OtherView),
    Findings(FindingsView),
}

/// A certificate that is none.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "type", rename = "unreadable-certificate")]
pub(super) struct UnreadableView {
    why: String,
    pem: String,
}

/// A file of a folder; what it holds follows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "type", rename = "file")]
pub(super) struct FileView {
    path: String,
    container: &'static str,
}

/// A PEM block that is passed over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "type", rename = "other")]
pub(super) struct OtherView {
    label: String,
}

/// What is remarkable about all of it, in the doctor's words and order.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "type", rename = "findings")]
pub(super) struct FindingsView {
    /// No finding is a fault.
    pub(super) healthy: bool,
    pub(super) findings: Vec<Finding>,
}

/// A PKCS#12 file; its keys and certificates follow, in this order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "type", rename = "pkcs12")]
pub(super) struct Pkcs12View {
    /// What shows that it was not changed.
    integrity: String,
    entries: Vec<EntryView>,
}

/// One part of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct EntryView {
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
pub(super) struct KeyView {
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

/// Every piece of a file, in its order.
pub(super) fn of_material(material: &Material, now: UnixTime) -> Vec<Item> {
    let certificates = material.certificates.iter();
    let certificates = certificates.map(|piece| (piece.place, of_certificate(piece, now)));
    let keys = material.keys.iter();
    let keys = keys.map(|key| (key.place, Item::Key(KeyView::of(key))));
    let requests = material.requests.iter().filter_map(|piece| {
        let request = piece.request.as_ref().ok()?;
        Some((piece.place, Item::Request(inspect::request(request))))
    });
    let lists = material.lists.iter().filter_map(|piece| {
        let list = piece.list.as_ref().ok()?;
        Some((piece.place, Item::Crl(inspect::crl(list, now))))
    });
    let others = material.others.iter();
    let others = others.map(|other| (other.place, of_other(other)));
    let mut items: Vec<_> = certificates
        .chain(keys)
        .chain(requests)
        .chain(lists)
        .chain(others)
        .collect();
    items.sort_by_key(|(place, _)| *place);
    let items = items.into_iter().map(|(_, item)| item);
    of_pkcs12(material).into_iter().chain(items).collect()
}

fn of_certificate(piece: &CertificatePiece, now: UnixTime) -> Item {
    match &piece.read {
        Ok((certificate, _)) => Item::Certificate(Box::new(inspect::certificate(certificate, now))),
        Err(why) => Item::Unreadable(UnreadableView {
            why: why.clone(),
            pem: pem::encode("CERTIFICATE", &piece.der),
        }),
    }
}

/// A certificate in DER.
pub(super) fn of_der(der: &[u8], now: UnixTime) -> Item {
    of_certificate(&CertificatePiece::new(1, der.to_vec()), now)
}

fn of_other(other: &OtherPiece) -> Item {
    match &other.spki {
        Some(spki) => Item::Key(KeyView {
            format: "SubjectPublicKeyInfo",
            private: false,
            encrypted: false,
            algorithm: other.algorithm.as_ref().map(KeyAlgorithm::to_string),
            spki: Some(spki.to_string()),
        }),
        None => Item::Other(OtherView {
            label: other.label.clone(),
        }),
    }
}

/// The store itself, with what it lists.
fn of_pkcs12(material: &Material) -> Option<Item> {
    let integrity = material.integrity.as_ref()?;
    let key_entries = material.keys.iter().map(|key| EntryView {
        kind: "key",
        alias: key.alias.clone(),
        spki: key.spki.map(|spki| spki.to_string()),
    });
    let certificate_entries = material.certificates.iter().map(|piece| EntryView {
        kind: if piece.is_trusted {
            "trusted-certificate"
        } else {
            "certificate"
        },
        alias: piece.alias.clone(),
        spki: piece.certificate().map(|it| it.spki().to_string()),
    });
    Some(Item::Pkcs12(Pkcs12View {
        integrity: integrity.to_string(),
        entries: key_entries.chain(certificate_entries).collect(),
    }))
}

impl FileView {
    pub(super) fn new(path: &str, container: Container) -> Self {
        Self {
            path: path.to_owned(),
            container: container.as_str(),
        }
    }
}

impl Item {
    pub(super) fn text(&self) -> String {
        match self {
            Self::Certificate(view) => view.to_string(),
            Self::Request(view) => view.to_string(),
            Self::Crl(view) => view.to_string(),
            Self::Key(view) => view.text(),
            Self::Pkcs12(view) => view.text(),
            Self::Server(view) => view.text(),
            Self::Unreadable(view) => {
                format!("{:<12} {}\n{}", "unreadable", escaped(&view.why), view.pem)
            }
            Self::File(view) => format!(
                "{:<12} {} ({})\n",
                "file",
                escaped(&view.path),
                view.container
            ),
            Self::Other(view) => format!("{:<12} {}\n", "other", escaped(&view.label)),
            // They are told behind everything, in their own way.
            Self::Findings(_) => String::new(),
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
    fn of(key: &KeyPiece) -> Self {
        Self {
            format: match key.format {
                // What stands in it.
                KeyFormat::Pkcs12 => KeyFormat::Pkcs8.as_str(),
                format => format.as_str(),
            },
            private: true,
            encrypted: key.is_encrypted(),
            algorithm: key.algorithm.as_ref().map(KeyAlgorithm::to_string),
            spki: key.spki.map(|spki| spki.to_string()),
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
