//! The answer for programs. Of a key it says the kind and the public half's hash, never more.

use countersign_diagnose::doctor::client::{self, Differing};
use countersign_diagnose::doctor::file::Access;
use countersign_diagnose::doctor::source::{self, Outcome, Source};
use countersign_diagnose::doctor::{Diagnosis, FileSeen, Observations, SourceSeen, TargetSeen};
use countersign_diagnose::finding::{Finding, RuledOut};
use countersign_diagnose::log::LogReading;
use countersign_pki::certificate::Certificate;
use countersign_pki::material::{CertificatePiece, KeyPiece, Lock};
use countersign_pki::name::TypedName;
use serde::Serialize;

use crate::output::escaped;

/// What `--json` prints.
#[derive(Debug, Serialize)]
pub(super) struct Answer {
    /// No finding is a fault.
    pub(super) healthy: bool,
    /// The root cause first.
    pub(super) findings: Vec<Finding>,
    pub(super) ruled_out: Vec<RuledOut>,
    pub(super) observations: ObservationsView,
}

impl Answer {
    pub(super) fn of(observations: &Observations, diagnosis: Diagnosis) -> Self {
        Self {
            healthy: diagnosis.is_healthy(),
            findings: diagnosis.findings,
            ruled_out: diagnosis.ruled_out,
            observations: ObservationsView {
                now: observations.now.to_string(),
                files: observations.files.iter().map(FileView::of).collect(),
                target: observations.target.clone(),
                logs: observations.logs.iter().map(LogView::of).collect(),
                other_clients: client::differing(observations),
                sources: match &observations.sources {
                    Some(seen) => seen.iter().map(SourceView::of).collect(),
                    None => source::wanted(observations)
                        .iter()
                        .map(|source| SourceView::unasked(source, "--fetch was not given"))
                        .collect(),
                },
            },
        }
    }
}

/// What was seen.
#[derive(Debug, Serialize)]
pub(super) struct ObservationsView {
    now: String,
    files: Vec<FileView>,
    #[serde(skip_serializing_if = "Option::is_none")]
    target: Option<TargetSeen>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    logs: Vec<LogView>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    sources: Vec<SourceView>,
    /// What some programs take and others do not.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) other_clients: Vec<Differing>,
}

/// A place that a certificate names for its revocation.
#[derive(Debug, Serialize)]
struct SourceView {
    kind: &'static str,
    url: String,
    subject: String,
    result: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    took_ms: Option<u128>,
}

impl SourceView {
    fn of(seen: &SourceSeen) -> Self {
        let took_ms = Some(seen.took.as_millis());
        let view = |result, why: Option<&String>, bytes| Self {
            result,
            why: why.map(|why| escaped(why)),
            bytes,
            took_ms,
            ..Self::unasked(&seen.source, "")
        };
        match &seen.outcome {
            Outcome::Answered(body) => view("answered", None, Some(body.len())),
            Outcome::NotAsked(why) => Self::unasked(&seen.source, why),
            Outcome::Unreachable(why) => view("unreachable", Some(why), None),
        }
    }

    fn unasked(source: &Source, why: &str) -> Self {
        Self {
            kind: source.kind.as_str(),
            url: escaped(&source.url),
            subject: source.certificate().subject().to_string(),
            result: "not-asked",
            why: Some(escaped(why)),
            bytes: None,
            took_ms: None,
        }
    }
}

/// A log, and what may be wrong by it.
#[derive(Debug, Serialize)]
struct LogView {
    name: String,
    #[serde(flatten)]
    reading: LogReading,
}

impl LogView {
    fn of((name, reading): &(String, LogReading)) -> Self {
        Self {
            name: name.clone(),
            reading: reading.clone(),
        }
    }
}

#[derive(Debug, Serialize)]
struct FileView {
    flag: &'static str,
    path: String,
    access: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    mode: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    modified: Option<String>,
    container: &'static str,
    oddities: Vec<String>,
    certificates: Vec<CertificateView>,
    keys: Vec<KeyView>,
    requests: usize,
    lists: Vec<ListView>,
    others: Vec<String>,
}

impl FileView {
    fn of(file: &FileSeen) -> Self {
        let material = &file.material;
        let lists = material.lists.iter().filter_map(|it| it.list.as_ref().ok());
        Self {
            flag: file.role.flag(),
            path: file.path.clone(),
            access: access(&file.access),
            mode: file.mode.map(|mode| format!("{:04o}", mode & 0o7777)),
            modified: file.modified.map(|it| it.to_string()),
            container: material.container.as_str(),
            oddities: material
                .oddities
                .iter()
                .map(|it| format!("{it:?}"))
                .collect(),
            certificates: material
                .certificates
                .iter()
                .take(MAX_SHOWN)
                .map(CertificateView::of)
                .collect(),
            keys: material.keys.iter().map(KeyView::of).collect(),
            requests: material.requests.len(),
            lists: lists
                .map(|list| ListView {
                    issuer: list.issuer().to_string(),
                    this_update: list.this_update().to_string(),
                    next_update: list.next_update().map(|it| it.to_string()),
                    revoked: list.entries().len(),
                })
                .collect(),
            others: material.others.iter().map(|it| it.label.clone()).collect(),
        }
    }
}

const fn access(access: &Access) -> &'static str {
    match access {
        Access::Denied => "denied",
        Access::Directory => "directory",
        Access::Empty => "empty",
        Access::Failed(_) => "failed",
        Access::Missing => "missing",
        Access::NotAFile => "not-a-file",
        Access::Read => "read",
    }
}

#[derive(Debug, Serialize)]
#[serde(untagged)]
enum CertificateView {
    Read {
        subject: String,
        issuer: String,
        serial: String,
        not_before: String,
        not_after: String,
        subject_alt_names: Vec<String>,
        ca: bool,
        fingerprint: String,
        spki: String,
    },
    Unreadable {
        why: String,
    },
}

impl CertificateView {
    fn of(piece: &CertificatePiece) -> Self {
        match &piece.read {
            Ok((certificate, _)) => Self::read(certificate),
            Err(why) => Self::Unreadable { why: why.clone() },
        }
    }

    fn read(certificate: &Certificate) -> Self {
        let names = certificate.subject_alt_names().iter();
        Self::Read {
            subject: certificate.subject().to_string(),
            issuer: certificate.issuer().to_string(),
            serial: certificate.serial().to_string(),
            not_before: certificate.not_before().to_string(),
            not_after: certificate.not_after().to_string(),
            subject_alt_names: names.map(TypedName::to_string).collect(),
            ca: certificate.is_ca(),
            fingerprint: certificate.fingerprint().to_string(),
            spki: certificate.spki().to_string(),
        }
    }
}

#[derive(Debug, Serialize)]
struct KeyView {
    format: &'static str,
    lock: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    algorithm: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    spki: Option<String>,
}

impl KeyView {
    fn of(key: &KeyPiece) -> Self {
        Self {
            format: key.format.as_str(),
            lock: match key.lock {
                Lock::NeedsPassword => "needs-password",
                Lock::Open => "open",
                Lock::Unread { .. } => "unread",
                Lock::Unreadable { .. } => "unreadable",
                Lock::WrongPassword => "wrong-password",
            },
            algorithm: key.algorithm.as_ref().map(ToString::to_string),
            spki: key.spki.map(|it| it.to_string()),
        }
    }
}

#[derive(Debug, Serialize)]
struct ListView {
    issuer: String,
    this_update: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_update: Option<String>,
    revoked: usize,
}

/// A chain has a handful, and a bundle of all roots is not read by anybody.
const MAX_SHOWN: usize = 64;
