//! What was seen of a file that somebody named, and what follows from the files alone.
//!
//! First whether each file can be used as what it was named as (`form`), then whether each side's key belongs to its certificate
//! (`pairing`), then whether the other side would accept its chain (`passage`), then what the certificate says of itself, the CRLs,
//! the policy and the servers' configurations. Whatever cannot be seen from what is there is not guessed.

mod alone;
mod bundle;
mod configuration;
mod form;
mod leaf;
mod pairing;
mod party;
mod passage;
mod policy;
mod revocation;
mod size;
mod trust;
mod words;

use std::sync::Arc;

use countersign_pki::certificate::Certificate;
use countersign_pki::material::Material;
use countersign_pki::time::UnixTime;

use self::party::Party;
use super::Observations;
use crate::finding::{Finding, RuledOut, Side};

/// A file, as the shell found it.
#[derive(Clone, Debug)]
pub struct FileSeen {
    /// What it was named as.
    pub role: Role,
    /// As it was written.
    pub path: String,
    /// Whether it could be read.
    pub access: Access,
    /// The permission bits, where the system has such.
    pub mode: Option<u32>,
    /// When its bytes were last changed.
    pub modified: Option<UnixTime>,
    /// What is in it; nothing where it could not be read.
    pub material: Arc<Material>,
    /// Its text, of a file that may be a configuration.
    pub text: Option<Arc<str>>,
}

impl FileSeen {
    /// A file that could be read.
    pub fn read(role: Role, path: impl Into<String>, material: Material) -> Self {
        Self {
            role,
            path: path.into(),
            access: Access::Read,
            mode: None,
            modified: None,
            material: Arc::new(material),
            text: None,
        }
    }
}

/// Whether a file could be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Access {
    /// Its permissions forbid it.
    Denied,
    /// It is a folder.
    Directory,
    /// There is nothing in it.
    Empty,
    /// The system says no, in its words.
    Failed(String),
    /// There is no such file.
    Missing,
    /// It is a pipe, a socket or a device.
    NotAFile,
    /// It could.
    Read,
}

/// What a file was named as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// `--ca`: what the client trusts.
    Ca,
    /// `--cert`.
    ClientCertificate,
    /// `--client-ca`: what the server trusts.
    ClientCa,
    /// `--key`.
    ClientKey,
    /// `--crl`.
    Crl,
    /// `--file`: whatever else is at hand.
    Other,
    /// `--server-cert`.
    ServerCertificate,
    /// `--server-key`.
    ServerKey,
}

impl Role {
    /// The flag that names it.
    pub const fn flag(self) -> &'static str {
        match self {
            Self::Ca => "--ca",
            Self::ClientCertificate => "--cert",
            Self::ClientCa => "--client-ca",
            Self::ClientKey => "--key",
            Self::Crl => "--crl",
            Self::Other => "--file",
            Self::ServerCertificate => "--server-cert",
            Self::ServerKey => "--server-key",
        }
    }

    /// What it should be, in a sentence.
    const fn called(self) -> &'static str {
        match self {
            Self::Ca => "the client's trust bundle",
            Self::ClientCertificate => "the client's certificate file",
            Self::ClientCa => "the server's client-CA bundle",
            Self::ClientKey => "the client's key file",
            Self::Crl => "the CRL file",
            Self::Other => "the file",
            Self::ServerCertificate => "the server's certificate file",
            Self::ServerKey => "the server's key file",
        }
    }

    /// Who holds it.
    const fn side(self) -> Side {
        match self {
            Self::Ca | Self::ClientCertificate | Self::ClientKey => Side::Client,
            Self::ClientCa | Self::Crl | Self::ServerCertificate | Self::ServerKey => Side::Server,
            Self::Other => Side::ThisMachine,
        }
    }

    const fn is_certificate(self) -> bool {
        matches!(self, Self::ClientCertificate | Self::ServerCertificate)
    }

    const fn is_key(self) -> bool {
        matches!(self, Self::ClientKey | Self::ServerKey)
    }

    const fn is_trust(self) -> bool {
        matches!(self, Self::Ca | Self::ClientCa)
    }
}

/// What follows from the files, in no order yet.
#[derive(Debug, Default)]
pub(super) struct Judgement {
    pub(super) findings: Vec<Finding>,
    pub(super) ruled_out: Vec<RuledOut>,
}

impl Judgement {
    pub(super) fn find(&mut self, finding: Finding) {
        self.findings.push(finding);
    }

    pub(super) fn rule_out(&mut self, ruled_out: RuledOut) {
        self.ruled_out.push(ruled_out);
    }
}

/// What the other side has against the certificates alone.
pub(super) fn judge_certificates(observations: &Observations) -> Vec<Finding> {
    let mut judgement = Judgement::default();
    for party in Party::all(observations)
        .iter()
        .filter(|party| party.knows_trust())
    {
        passage::judge(party, &mut judgement);
        leaf::judge(party, &mut judgement);
    }
    judgement.findings
}

/// What follows from the files alone.
pub(super) fn judge(observations: &Observations) -> Judgement {
    let mut judgement = Judgement::default();
    form::judge(observations, &mut judgement);
    let parties = Party::all(observations);
    for party in &parties {
        pairing::judge(party, &mut judgement);
        passage::judge(party, &mut judgement);
        leaf::judge(party, &mut judgement);
        size::judge(party, &mut judgement);
    }
    revocation::judge(&parties, &mut judgement);
    bundle::judge(observations, &mut judgement);
    policy::judge(observations, &parties, &mut judgement);
    configuration::judge(observations, &parties, &mut judgement);
    judgement
}

/// What strict readers have against the form of each file.
pub(super) fn judge_form(observations: &Observations) -> Judgement {
    let mut judgement = Judgement::default();
    form::objections(observations, &mut judgement);
    judgement
}

/// What is remarkable about each file by itself.
pub(super) fn judge_alone(observations: &Observations) -> Judgement {
    let mut judgement = Judgement::default();
    alone::judge(observations, &mut judgement);
    judgement
}

/// Each side's certificate whose file is at hand, with its issuers as far as they are at hand too.
pub(super) fn paths_of_files(observations: &Observations) -> Vec<(Side, Vec<Certificate>)> {
    let parties = Party::all(observations);
    parties
        .iter()
        .map(|party| (party.side(), revocation::path(party)))
        .collect()
}
