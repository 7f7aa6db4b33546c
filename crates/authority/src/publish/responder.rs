//! The key that signs OCSP answers: of this process alone, never on disk, under a short certificate (RFC 6960 §4.2.2.2.1).

use std::sync::{Arc, PoisonError};

use countersign_pki::certificate::Certificate;
use countersign_pki::ocsp::{OcspResponseTemplate, Responder as Signing};
use countersign_pki::request::Wishes;
use countersign_pki::time::UnixTime;
use countersign_policy::issuance::{Actor, Profile, Request};

use super::Publication;
use super::lists::PublishError;
use crate::authority::{Authority, IssueError};
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
        let next = Arc::new(self.authority.make_responder().await?);
        tracing::info!(
            target: "publication",
            serial = %next.certificate.serial(),
            not_after = %next.certificate.not_after(),
            "OCSP responder has a new key"
        );
        *self
            .responder
            .write()
            .unwrap_or_else(PoisonError::into_inner) = Some(next);
        Ok(())
    }
}

impl Authority {
    /// By the one way to a certificate: decided, recorded, signed, recorded.
    async fn make_responder(self: &Arc<Self>) -> Result<Responder, PublishError> {
        let kind = KeyKind::below(self.intermediate().public_key_algorithm());
        let (key, _) = SigningKey::generate(kind)?;
        let certificate = self.certify_responder(key.spki_der().to_vec()).await?;
        Ok(Responder { key, certificate })
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

/// Clients find a responder by its key.
const NAME: &str = "OCSP Responder";
