//! Answers to OCSP requests (RFC 6960, RFC 5019).
//!
//! A serial number that no certificate has is `unknown` and not `revoked`, which RFC 6960 §2.2 leaves open: nobody revoked it,
//! and every client takes neither for good. Other issuers' certificates beside ours are `unknown` too; a request about none
//! of ours is `unauthorized` (RFC 5019 §2.2.3).

use std::time::{Duration, Instant};

use countersign_pki::ocsp::{
    CertId, CertIdHash, CertStatus, OcspRequest, OcspResponseTemplate, TRY_LATER, UNAUTHORIZED,
};
use countersign_pki::serial::SerialNumber;
use countersign_pki::time::UnixTime;
use countersign_store::publication::SerialStatus;

use super::Publication;
use super::answers::{Kept, Question};
use super::lists::PublishError;
use super::shelf::{Document, OCSP_RESPONSE};

/// What a request is answered.
#[derive(Clone, Debug)]
pub enum OcspAnswer {
    /// Signed, for everybody who asks the same.
    ForAll(Document),
    /// Signed, for this request.
    ForOne(Document),
    /// The `OCSPResponse` that says why there is no answer.
    Not([u8; 5]),
}

impl Publication {
    /// Answers a request. Everything that can go wrong is one of the protocol's own answers.
    pub async fn answer(&self, request: &OcspRequest) -> OcspAnswer {
        let asked: Vec<Option<SerialNumber>> = request
            .questions()
            .iter()
            .map(|id| id.serial().filter(|_| self.hashes.issued(id)))
            .collect();
        if !request.questions().iter().any(|id| self.hashes.issued(id)) {
            return OcspAnswer::Not(UNAUTHORIZED);
        }
        let now = self.authority.now();
        let question = self.common_question(request);
        let kept = question.and_then(|question| self.authority.answers.find(question));
        let kept = kept.filter(|kept| now >= kept.from && !kept.document.is_over(now));
        if let Some(kept) = &kept
            && request.nonce().is_none()
            && now < kept.refresh_at
        {
            return OcspAnswer::ForAll(kept.document.clone());
        }
        match self.sign_answer(request, question, asked, now).await {
            Ok(answer) => answer,
            Err(error) => {
                tracing::debug!(target: "publication", %error, "OCSP answer is not signed");
                // RFC 9654 §2.1: a client that wanted to see its nonce again decides for itself.
                kept.map_or(OcspAnswer::Not(TRY_LATER), |kept| {
                    OcspAnswer::ForAll(kept.document.clone())
                })
            }
        }
    }

    /// One certificate, named as everybody names it.
    fn common_question(&self, request: &OcspRequest) -> Option<Question> {
        let [id] = request.questions() else {
            return None;
        };
        let (serial, hash) = (id.serial()?, id.hash()?);
        (*id == CertId::of(&self.hashes, serial, hash)).then_some(Question {
            serial,
            sha256: hash == CertIdHash::Sha256,
        })
    }

    async fn sign_answer(
        &self,
        request: &OcspRequest,
        question: Option<Question>,
        asked: Vec<Option<SerialNumber>>,
        now: UnixTime,
    ) -> Result<OcspAnswer, PublishError> {
        let responder = self.responder().ok_or(PublishError::NoResponder)?;
        let place = self.budgets.ask().ok_or(PublishError::Busy)?;
        let epoch = self.authority.answers.epoch();
        let serials = asked.iter().copied().flatten().collect();
        let known = self
            .authority
            .store
            .statuses(self.authority.issuer_ids.intermediate, serials)
            .await?;
        drop(place);
        let has_known = known.iter().any(|status| *status != SerialStatus::Unknown);
        let budget = if has_known {
            &self.budgets.signatures
        } else {
            &self.budgets.unknown
        };
        if !budget.take(Instant::now()) {
            return Err(PublishError::Busy);
        }
        let mut known = known.into_iter();
        let statuses = asked.iter().map(|serial| match serial {
            Some(_) => known.next().map_or(CertStatus::Unknown, said),
            None => CertStatus::Unknown,
        });
        let next_update = now
            .plus(ANSWER_LIFETIME)
            .min(responder.certificate.not_after());
        let template = OcspResponseTemplate {
            produced_at: now,
            this_update: now,
            next_update,
            answers: request.questions().iter().cloned().zip(statuses).collect(),
            nonce: request.nonce().cloned(),
        };
        let der = responder.sign(&template)?;
        let document = Document::new(der, OCSP_RESPONSE, Some((now, next_update)));
        let Some(question) = question.filter(|_| request.nonce().is_none()) else {
            return Ok(OcspAnswer::ForOne(document));
        };
        if has_known {
            let kept = Kept {
                document: document.clone(),
                from: now,
                refresh_at: now.plus(next_update.since(now) / 2),
            };
            self.authority.answers.keep(question, kept, epoch);
        }
        Ok(OcspAnswer::ForAll(document))
    }
}

fn said(status: SerialStatus) -> CertStatus {
    match status {
        SerialStatus::Good => CertStatus::Good,
        SerialStatus::Revoked { revoked_at, reason } => CertStatus::Revoked { revoked_at, reason },
        SerialStatus::Unknown => CertStatus::Unknown,
    }
}

/// Until nextUpdate; signed anew at half of it. As long as a broken inventory goes unnoticed over night, and as long as
/// somebody who keeps an old answer can show it for a certificate revoked since.
pub const ANSWER_LIFETIME: Duration = Duration::from_hours(12);
