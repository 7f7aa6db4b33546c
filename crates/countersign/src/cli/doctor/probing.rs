//! Has the server looked at, as the client whose files are at hand.

use std::time::Duration;

use countersign_diagnose::doctor::bridge::own_chain;
use countersign_diagnose::doctor::file::Role;
use countersign_diagnose::doctor::{FileSeen, Question, TargetSeen};
use countersign_pki::time::UnixTime;
use countersign_probe::server::{ClientIdentity, Limits, Prober, Wanted};
use zeroize::Zeroizing;

use crate::backend::block_on;
use crate::fault::Fault;
use crate::private_key::PrivateKey;

/// What it does, within `patience` at most.
pub(super) fn look(
    question: &Question,
    files: &[FileSeen],
    patience: Option<Duration>,
    now: UnixTime,
) -> Result<TargetSeen, Fault> {
    let usual = Limits::default();
    let total = patience.unwrap_or(usual.total).min(LONGEST);
    let wanted = Wanted {
        question: question.clone(),
        identity: identity(files),
        issuers: issuers(files),
        anchors: of_role(files, Role::Ca),
        now,
        limits: Limits {
            total,
            attempt: usual.attempt.min(total),
            connect: usual.connect.min(total),
            ..usual
        },
    };
    block_on(async { Ok::<_, Fault>(Prober.look(&wanted).await) })
}

/// The client's certificate with the key that belongs to it, where both can be used.
fn identity(files: &[FileSeen]) -> Option<ClientIdentity> {
    let of = |role: Role| files.iter().filter(move |file| file.role == role);
    let certificate = of(Role::ClientCertificate).next()?;
    let chain = own_chain(certificate);
    let spki = certificate
        .material
        .certificates
        .iter()
        .find(|piece| chain.first() == Some(&piece.der))?
        .certificate()?
        .spki();
    let keys = of(Role::ClientKey)
        .chain([certificate])
        .flat_map(|file| &file.material.keys);
    let key = keys
        .filter(|key| key.spki.is_none_or(|of_key| of_key == spki))
        .find_map(|key| PrivateKey::of_der(key.pkcs8()?))?;
    Some(ClientIdentity {
        chain,
        key: Zeroizing::new(key.pkcs8().to_vec()),
    })
}

/// CA certificates out of any file: what the client's chain may lack.
fn issuers(files: &[FileSeen]) -> Vec<Vec<u8>> {
    let pieces = files.iter().flat_map(|file| &file.material.certificates);
    let cas = pieces.filter(|piece| {
        piece
            .certificate()
            .is_some_and(|it| it.is_ca() && it.issuer_der() != it.subject_der())
    });
    cas.map(|piece| piece.der.clone())
        .take(MAX_ISSUERS)
        .collect()
}

fn of_role(files: &[FileSeen], role: Role) -> Vec<Vec<u8>> {
    let files = files.iter().filter(|file| file.role == role);
    let pieces = files.flat_map(|file| &file.material.certificates);
    pieces.map(|piece| piece.der.clone()).collect()
}

/// A diagnosis is waited for by a person.
pub(super) const LONGEST: Duration = Duration::from_secs(14);

/// A chain with all of them has to fit into a handshake.
const MAX_ISSUERS: usize = 8;
