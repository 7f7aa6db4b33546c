//! The key that signs OCSP answers, under a short certificate (RFC 6960 §4.2.2.2.1).
//!
//! It lies in the state folder, as other keys of leaves do, and in no backup: a process that starts on a disk that is full could
//! have no new one certified, and would answer nobody.

use std::fs;
use std::sync::{Arc, PoisonError};

use countersign_pki::certificate::Certificate;
use countersign_pki::ocsp::{OcspResponseTemplate, Responder as Signing};
use countersign_pki::pem;
use countersign_pki::request::Wishes;
use countersign_pki::time::UnixTime;
use countersign_policy::issuance::{Actor, Profile, Request};
use countersign_runtime::atomic_file::write_atomic;
use countersign_store::error::StoreError;
use countersign_store::inventory::{Entry, Selector, Status};
use zeroize::Zeroizing;

use super::Publication;
use super::lists::PublishError;
use crate::authority::{Authority, CERTIFICATE, IssueError};
use crate::signing_key::{KeyKind, SigningKey};

/// A key and its certificate.
pub(super) struct Responder {
    key: SigningKey,
    pub(super) certificate: Certificate,
}

impl Responder {
    /// The DER of the response.
    pub(super) fn sign(&self, template: &OcspResponseTemplate) -> Result<Vec<u8>, PublishError> {
        let signing = Signing::delegated(&self.certificate)?;
        let to_be_signed = template.to_be_signed(signing, self.key.algorithm())?;
        let signature = self.key.sign(to_be_signed.bytes())?;
        Ok(to_be_signed.complete(&signature))
    }

    fn is_due(&self, now: UnixTime) -> bool {
        let (begin, end) = (self.certificate.not_before(), self.certificate.not_after());
        now < begin || now >= end.minus(end.since(begin) / 2)
    }
}

impl Publication {
    pub(super) fn responder(&self) -> Option<Arc<Responder>> {
        let responder = self
            .responder
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        responder.clone()
    }

    /// A new key at half of its life, and at once after its certificate was revoked.
    pub(super) async fn refresh_responder(&self) -> Result<(), PublishError> {
        if let Some(responder) = self.responder()
            && !responder.is_due(self.authority.now())
            && !self.authority.is_revoked(&responder.certificate).await?
        {
            return Ok(());
        }
        if self.responder().is_none()
            && let Some(kept) = self.authority.kept_responder().await?
        {
            self.answer_by(kept);
            return Ok(());
        }
        let next = self.authority.make_responder().await?;
        tracing::info!(
            target: "publication",
            serial = %next.certificate.serial(),
            not_after = %next.certificate.not_after(),
            "OCSP responder has a new key"
        );
        self.answer_by(next);
        Ok(())
    }

    fn answer_by(&self, responder: Responder) {
        let mut present = self
            .responder
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        *present = Some(Arc::new(responder));
    }
}

impl Authority {
    /// By the one way to a certificate: decided, recorded, signed, recorded.
    async fn make_responder(self: &Arc<Self>) -> Result<Responder, PublishError> {
        let kind = KeyKind::below(self.intermediate().public_key_algorithm());
        let (key, pkcs8) = SigningKey::generate(kind)?;
        let certificate = self.certify_responder(key.spki_der().to_vec()).await?;
        let file = Zeroizing::new(
            pem::encode(CERTIFICATE, certificate.der()) + &pem::encode(PRIVATE_KEY, pkcs8.expose()),
        );
        let path = self.state.responder();
        if let Err(error) = write_atomic(&path, file.as_bytes(), 0o600) {
            // Good for this process all the same.
            tracing::warn!(target: "publication", path = %path.display(), %error, "the OCSP responder's key is not kept for the next start");
        }
        Ok(Responder { key, certificate })
    }

    /// What an earlier process has made, if it is good for a while and nobody has revoked it.
    async fn kept_responder(&self) -> Result<Option<Responder>, StoreError> {
        let file = fs::read(self.state.responder()).map(Zeroizing::new);
        let Some(kept) = file.ok().and_then(|file| read(&file)) else {
            return Ok(None);
        };
        if kept.is_due(self.now())
            || kept.certificate.issuer_der() != self.intermediate().subject_der()
        {
            return Ok(None);
        }
        // The inventory knows what it was issued for and whether it is revoked; the file says nothing of either.
        let found = Selector::Fingerprint(kept.certificate.fingerprint());
        let found = self.store.find(found).await?.entries;
        let is_good = |entry: &Entry| {
            entry.profile.as_ref() == Some(&Profile::OCSP_RESPONDER)
                && entry.status_at(self.now()) == Status::Valid
        };
        Ok(found.iter().any(is_good).then_some(kept))
    }

    async fn certify_responder(
        self: &Arc<Self>,
        spki_der: Vec<u8>,
    ) -> Result<Certificate, IssueError> {
        let request = Request {
            profile: Profile::OCSP_RESPONDER,
            name: NAME.to_owned(),
            subject_alt_names: Vec::new(),
            lifetime: None,
            spki_der,
            wishes: Wishes::default(),
        };
        let approved = self.approve(Actor::Authority, &request)?;
        self.issue_approved(None, approved, None, "answers OCSP requests".to_owned())
            .await
    }
}

/// A certificate and the key of it, in PEM.
fn read(file: &[u8]) -> Option<Responder> {
    let blocks = pem::decode_all(file).ok()?;
    let of = |label| blocks.iter().find(|block| block.label == label);
    let certificate = Certificate::parse(&of(CERTIFICATE)?.der).ok()?;
    let key = SigningKey::read(&of(PRIVATE_KEY)?.der)?;
    (key.spki_der() == certificate.spki_der()).then_some(Responder { key, certificate })
}

const PRIVATE_KEY: &str = "PRIVATE KEY";

/// Clients find a responder by its key.
const NAME: &str = "OCSP Responder";
