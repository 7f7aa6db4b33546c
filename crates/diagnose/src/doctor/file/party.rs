//! One side of a connection: what it presents, and what the other side trusts.

use countersign_pki::certificate::Certificate;
use countersign_pki::chain::Purpose;
use countersign_pki::material::{CertificatePiece, KeyPiece};
use countersign_pki::time::UnixTime;

use super::{FileSeen, Role};
use crate::doctor::Observations;
use crate::doctor::question::Question;
use crate::finding::Side;

/// Who presents a certificate.
pub(super) struct Party<'a> {
    pub(super) purpose: Purpose,
    /// Its certificate file.
    pub(super) file: &'a FileSeen,
    /// As it would be sent: the leaf first.
    pub(super) chain: Vec<&'a CertificatePiece>,
    /// Where its key should be, and the keys there.
    pub(super) keys: Vec<(&'a FileSeen, &'a KeyPiece)>,
    /// What the other side trusts.
    pub(super) trust: Vec<&'a FileSeen>,
    /// Every file.
    pub(super) files: &'a [FileSeen],
    pub(super) question: &'a Question,
    pub(super) now: UnixTime,
}

impl<'a> Party<'a> {
    /// The sides whose certificate is at hand.
    pub(super) fn all(observations: &'a Observations) -> Vec<Self> {
        let sides = [
            (
                Purpose::ClientAuth,
                Role::ClientCertificate,
                Role::ClientKey,
                Role::ClientCa,
            ),
            (
                Purpose::ServerAuth,
                Role::ServerCertificate,
                Role::ServerKey,
                Role::Ca,
            ),
        ];
        let of = |role: Role| {
            let files = observations.files.iter();
            files.filter(move |file| file.role == role)
        };
        let party = |(purpose, certificate, key, trust)| {
            let file = of(certificate).find(|file| !file.material.certificates.is_empty())?;
            let mut keys: Vec<_> = of(key).flat_map(keys_of).collect();
            if keys.is_empty() && of(key).next().is_none() {
                keys = keys_of(file).collect();
            }
            Some(Self {
                purpose,
                file,
                chain: chain(file, &keys),
                keys,
                trust: of(trust).collect(),
                files: &observations.files,
                question: &observations.question,
                now: observations.now,
            })
        };
        sides.into_iter().filter_map(party).collect()
    }

    /// Whoever presents the certificate of a file that nobody's side was named of.
    pub(super) fn alone(
        file: &'a FileSeen,
        observations: &'a Observations,
        purpose: Purpose,
    ) -> Option<Self> {
        if file.material.certificates.is_empty() {
            return None;
        }
        let keys: Vec<_> = keys_of(file).collect();
        Some(Self {
            purpose,
            file,
            chain: chain(file, &keys),
            keys,
            trust: Vec::new(),
            files: std::slice::from_ref(file),
            question: &observations.question,
            now: observations.now,
        })
    }

    pub(super) fn side(&self) -> Side {
        match self.purpose {
            Purpose::ClientAuth => Side::Client,
            Purpose::ServerAuth => Side::Server,
        }
    }

    /// Who verifies it.
    pub(super) fn other_side(&self) -> Side {
        match self.purpose {
            Purpose::ClientAuth => Side::Server,
            Purpose::ServerAuth => Side::Client,
        }
    }

    /// `client` or `server`.
    pub(super) fn called(&self) -> &'static str {
        match self.purpose {
            Purpose::ClientAuth => "client",
            Purpose::ServerAuth => "server",
        }
    }

    pub(super) fn leaf(&self) -> Option<&'a Certificate> {
        self.chain.first().and_then(|piece| piece.certificate())
    }

    /// Every certificate that the other side trusts, with the file it is in.
    pub(super) fn anchors(&self) -> impl Iterator<Item = (&'a FileSeen, &'a CertificatePiece)> {
        self.trust.iter().flat_map(|file| certificates_of(file))
    }

    /// Whether the other side's trust is at hand, with anything in it.
    pub(super) fn knows_trust(&self) -> bool {
        self.anchors().next().is_some()
    }

    /// Every certificate in files that are neither this side's own nor what the other side trusts.
    pub(super) fn elsewhere(&self) -> impl Iterator<Item = (&'a FileSeen, &'a CertificatePiece)> {
        let own = self.file.role;
        let trust = match self.purpose {
            Purpose::ClientAuth => Role::ClientCa,
            Purpose::ServerAuth => Role::Ca,
        };
        let others = self.files.iter();
        others
            .filter(move |file| file.role != own && file.role != trust)
            .flat_map(certificates_of)
    }

    /// The name that whoever connects means, of a server.
    pub(super) fn host(&self) -> Option<String> {
        let named = self.question.name.as_deref();
        let host = named.or(self
            .question
            .target
            .as_ref()
            .map(|target| target.host.as_str()))?;
        let host = host.trim_start_matches('[').trim_end_matches(']');
        // A zone is this machine's own affair.
        let host = host.split('%').next().unwrap_or_default();
        Some(host.trim_end_matches('.').to_owned())
    }
}

fn keys_of(file: &FileSeen) -> impl Iterator<Item = (&FileSeen, &KeyPiece)> {
    file.material.keys.iter().map(move |key| (file, key))
}

fn certificates_of(file: &FileSeen) -> impl Iterator<Item = (&FileSeen, &CertificatePiece)> {
    let certificates = file.material.certificates.iter();
    certificates.map(move |certificate| (file, certificate))
}

/// The certificates as they would be sent. Programs sort what a keystore holds, by the key that is beside them.
fn chain<'a>(file: &'a FileSeen, keys: &[(&FileSeen, &KeyPiece)]) -> Vec<&'a CertificatePiece> {
    let mut chain: Vec<_> = file.material.certificates.iter().collect();
    if file.material.keystore.is_some() {
        let is_leaf = |piece: &&CertificatePiece| {
            let spki = piece.certificate().map(Certificate::spki);
            let mut keys = keys.iter();
            spki.is_some() && keys.any(|(_, key)| key.spki == spki)
        };
        let end_entity = |piece: &&CertificatePiece| {
            piece.certificate().is_some_and(|it| !it.is_ca()) && !piece.is_trusted
        };
        let place = chain
            .iter()
            .position(is_leaf)
            .or_else(|| chain.iter().position(end_entity));
        if let Some(place) = place {
            let leaf = chain.remove(place);
            chain.insert(0, leaf);
        }
    }
    // Several identities in one file have nothing to do with the first.
    chain.truncate(MAX_CHAIN);
    chain
}

/// As many as are verified at all.
const MAX_CHAIN: usize = 100;
