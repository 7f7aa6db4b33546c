//! From files to what the probe's judge knows, and from a log to findings.

use countersign_pki::certificate::Certificate;
use countersign_pki::material::{Container, Material};
use countersign_pki::pem;

use super::file::{FileSeen, Role};
use super::target::{Known, TargetSeen};
use crate::finding::{Finding, Side};
use crate::log::{Accused, Candidate, Confidence, LogReading};

/// Certificates of both sides, as the judge of a server wants them.
pub(super) fn known(files: &[FileSeen]) -> Known {
    let ders = |role: Role| -> Vec<Vec<u8>> {
        let files = files.iter().filter(move |file| file.role == role);
        let pieces = files.flat_map(|file| &file.material.certificates);
        pieces.map(|piece| piece.der.clone()).collect()
    };
    let of = |role: Role| files.iter().find(|file| file.role == role);
    let others = files.iter().filter(|file| file.role == Role::Other);
    let issuers = others
        .flat_map(|file| &file.material.certificates)
        .filter(|piece| piece.certificate().is_some_and(Certificate::is_ca));
    let lists = files.iter().flat_map(|file| &file.material.lists);
    Known {
        client_chain: of(Role::ClientCertificate)
            .map(own_chain)
            .unwrap_or_default(),
        anchors: ders(Role::Ca),
        server_cert_file: of(Role::ServerCertificate)
            .map(own_chain)
            .unwrap_or_default(),
        server_cert_file_modified: of(Role::ServerCertificate).and_then(|file| file.modified),
        client_ca: ders(Role::ClientCa),
        issuers: issuers.map(|piece| piece.der.clone()).collect(),
        crls: lists.map(|list| list.der.clone()).collect(),
        flaws_of_served: Vec::new(),
    }
}

/// What the server shows, as if it were the file that was named as its own; `None`: it shows nothing.
pub(super) fn served(seen: &TargetSeen) -> Option<FileSeen> {
    let mut attempts = seen.attempts.iter();
    let attempt = attempts.find(|attempt| !attempt.chain.is_empty())?;
    let pem: String = attempt
        .chain
        .iter()
        .map(|der| pem::encode("CERTIFICATE", &der.0))
        .collect();
    let path = format!("what {} shows", seen.target);
    let material = Material::read(pem.as_bytes(), &[]);
    Some(FileSeen::read(Role::ServerCertificate, path, material))
}

/// The certificates of a file, in its order but that the one of its key goes first in a keystore, which has none.
pub fn own_chain(file: &FileSeen) -> Vec<Vec<u8>> {
    let pieces = &file.material.certificates;
    let mut ders: Vec<Vec<u8>> = pieces.iter().map(|piece| piece.der.clone()).collect();
    if matches!(file.material.container, Container::Jks | Container::Pkcs12) {
        let spki = file.material.keys.iter().find_map(|key| key.spki);
        let leaf = pieces
            .iter()
            .position(|piece| spki.is_some() && piece.certificate().map(Certificate::spki) == spki);
        if let Some(leaf) = leaf {
            ders[..=leaf].rotate_right(1);
        }
    }
    ders
}

/// What a log accuses somebody of: the likeliest as a fault, the others as what it may be instead.
pub(super) fn of_log(name: &str, reading: &LogReading) -> Vec<Finding> {
    let candidates = reading.candidates.iter().enumerate();
    candidates
        .map(|(place, candidate)| {
            let finding = of_candidate(name, candidate);
            if place == 0 { finding } else { finding.note() }
        })
        .collect()
}

fn of_candidate(name: &str, candidate: &Candidate) -> Finding {
    let side = match candidate.side {
        Accused::Client => Side::Client,
        Accused::Server => Side::Server,
        Accused::Either => Side::Network,
    };
    let confidence = match candidate.confidence {
        Confidence::Certain => "certain",
        Confidence::Likely => "likely",
        Confidence::Possible => "possible",
    };
    Finding::fault(candidate.cause, side, candidate.message.clone())
        .with("log", name)
        .with("line_number", candidate.line_number)
        .with("line", &candidate.line)
        .with("lines_like_it", candidate.count)
        .with("confidence", confidence)
        .with("source", candidate.source)
        .with_fix(format!("to confirm: {}", candidate.confirm))
}
