//! Where the certificates at hand say that their revocation is published, and what is to be had there.
//!
//! [`wanted`] names the places, the shell asks each of them once, and what came is judged with everything else. A place stands in
//! somebody's certificate, so that it is worth a question only if that certificate is in a file that was given, or is of a server
//! that somebody vouches for.

mod heard;
mod judging;

use std::time::Duration;

use countersign_pki::certificate::Certificate;
use countersign_pki::ocsp::{OcspQuestion, QUESTION_NONCE_OCTETS};

pub(super) use self::heard::{AnswerHeard, Heard};
pub(super) use self::judging::judge;
use super::file::paths_of_files;
use super::target::{serving, verified_path};
use super::{Observations, bridge};
use crate::finding::Side;

/// What is to be had at a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A revocation list (RFC 5280 §4.2.1.13).
    Crl,
    /// Answers about a certificate (RFC 6960).
    Ocsp,
}

impl Kind {
    /// As in JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Crl => "crl",
            Self::Ocsp => "ocsp",
        }
    }
}

/// A place that a certificate names.
#[derive(Clone, Debug)]
pub struct Source {
    /// What is to be had there.
    pub kind: Kind,
    /// As the certificate has it.
    pub url: String,
    /// Why nobody shall go there.
    pub refrain: Option<&'static str>,
    certificate: Certificate,
    issuer: Certificate,
}

/// What came of it.
#[derive(Clone, Debug)]
pub struct SourceSeen {
    /// Which.
    pub source: Source,
    /// What was sent along to an OCSP responder.
    pub nonce: [u8; QUESTION_NONCE_OCTETS],
    /// What came back.
    pub outcome: Outcome,
    /// How long that took.
    pub took: Duration,
}

/// What came back from a place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// These bytes.
    Answered(Vec<u8>),
    /// It was not asked, and why.
    NotAsked(String),
    /// Nothing that is an answer, and what instead.
    Unreachable(String),
}

impl Source {
    /// Whose revocation it tells.
    pub fn certificate(&self) -> &Certificate {
        &self.certificate
    }

    /// What an OCSP responder is asked.
    pub fn question(&self, nonce: [u8; QUESTION_NONCE_OCTETS]) -> OcspQuestion {
        OcspQuestion::new(self.issuer.clone(), self.certificate.serial(), nonce)
    }
}

/// A certificate and those above it, each issued by the next.
struct Held {
    side: Side,
    path: Vec<Certificate>,
    refrain: Option<&'static str>,
}

/// Every place in the certificates at hand, once; those of certificates whose issuer is not at hand are left out, since nothing
/// that comes from there could be verified.
pub fn wanted(observations: &Observations) -> Vec<Source> {
    let mut sources: Vec<Source> = Vec::new();
    for held in held(observations) {
        for (certificate, issuer) in pairs(&held.path) {
            // Of evidence whose serial number is none, nobody could say anything.
            if certificate.serial().magnitude().is_empty() {
                continue;
            }
            let lists = certificate.crl_uris().into_iter().take(MAX_PLACES);
            let responders = certificate.ocsp_uris().into_iter().take(MAX_PLACES);
            let places = lists
                .map(|url| (Kind::Crl, url))
                .chain(responders.map(|url| (Kind::Ocsp, url)));
            for (kind, url) in places {
                let source = Source {
                    kind,
                    url: url.to_owned(),
                    refrain: held.refrain,
                    certificate: certificate.clone(),
                    issuer: issuer.clone(),
                };
                if sources.len() < MAX_SOURCES && !sources.iter().any(|it| it.is_like(&source)) {
                    sources.push(source);
                }
            }
        }
    }
    sources
}

impl Source {
    /// Whether one answer is one to both. A list is everybody's whom its issuer has certified.
    fn is_like(&self, other: &Self) -> bool {
        self.kind == other.kind
            && self.url == other.url
            && self.issuer.der() == other.issuer.der()
            && (self.kind == Kind::Crl || self.certificate.der() == other.certificate.der())
    }
}

/// Of files before what a server shows, which is as likely the same.
fn held(observations: &Observations) -> Vec<Held> {
    let of_files = paths_of_files(observations);
    let mut all: Vec<Held> = of_files
        .into_iter()
        .map(|(side, path)| Held {
            side,
            path,
            refrain: None,
        })
        .collect();
    let Some(seen) = &observations.target else {
        return all;
    };
    let by = (observations.now, observations.question.strict);
    let path = verified_path(seen, &bridge::known(&observations.files), by);
    let is_known = all.iter().any(|held| {
        held.side == Side::Server
            && held.path.first().map(Certificate::der) == path.first().map(Certificate::der)
    });
    if let Some(attempt) = serving(seen).filter(|_| !is_known) {
        let refrain = if !seen.vouched.is_by_somebody() {
            Some("nobody vouches for the server whose certificate names it")
        } else if attempt.unproved.is_some() {
            Some("the server whose certificate names it does not prove that it is its own")
        } else {
            None
        };
        all.push(Held {
            side: Side::Server,
            path,
            refrain,
        });
    }
    all
}

fn pairs(path: &[Certificate]) -> impl Iterator<Item = (&Certificate, &Certificate)> {
    path.windows(2).filter_map(|pair| match pair {
        [below, issuer] => Some((below, issuer)),
        _ => None,
    })
}

/// Certificates in use name one or two, for a second network.
const MAX_PLACES: usize = 2;

/// Two chains of three, with a list and a responder each.
const MAX_SOURCES: usize = 12;
