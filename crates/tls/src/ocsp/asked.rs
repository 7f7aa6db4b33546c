//! A question on its way to a responder and back.

use std::sync::Arc;

use countersign_pki::certificate::Certificate;
use countersign_pki::identity::BundleName;
use countersign_pki::ocsp::{OcspAnswer, OcspFault, OcspStatus};
use countersign_pki::serial::SerialNumber;
use countersign_pki::time::UnixTime;

use super::slots::Slot;
use super::{Ocsp, OcspSettings, lock};

/// A question for the control plane. Dropped without [`OcspAsked::answered`], it has failed.
pub struct OcspAsked {
    bundle: BundleName,
    settings: Arc<OcspSettings>,
    issuer: Certificate,
    serial: SerialNumber,
    ticket: Option<Ticket>,
}

pub(super) struct Ticket {
    ocsp: Arc<Ocsp>,
    slot: Arc<Slot>,
    since: UnixTime,
}

impl Ticket {
    pub(super) fn new(ocsp: &Arc<Ocsp>, slot: &Arc<Slot>, since: UnixTime) -> Self {
        Self {
            ocsp: Arc::clone(ocsp),
            slot: Arc::clone(slot),
            since,
        }
    }
}

impl OcspAsked {
    pub(super) fn new(
        bundle: &BundleName,
        settings: &Arc<OcspSettings>,
        issuer: Certificate,
        serial: SerialNumber,
        ticket: Ticket,
    ) -> Self {
        Self {
            bundle: bundle.clone(),
            settings: Arc::clone(settings),
            issuer,
            serial,
            ticket: Some(ticket),
        }
    }

    /// Whose certificate.
    pub fn bundle(&self) -> &BundleName {
        &self.bundle
    }

    /// How to ask.
    pub fn settings(&self) -> &OcspSettings {
        &self.settings
    }

    /// Who signed the certificate.
    pub fn issuer(&self) -> &Certificate {
        &self.issuer
    }

    /// Which it is.
    pub fn serial(&self) -> SerialNumber {
        self.serial
    }

    /// What came of it. Whoever waits is judged by it; whether anybody has to go is for
    /// [`Enforcement::renew_ocsp`](crate::enforcement::Enforcement::renew_ocsp) to find. If the bundle is asked about otherwise by now,
    /// whoever waits asks again.
    pub fn answered(mut self, outcome: Result<OcspAnswer, OcspFault>, now: UnixTime) {
        let Some(Ticket { ocsp, slot, .. }) = self.ticket.take() else {
            return;
        };
        let present = ocsp.settings_of(&self.bundle);
        let Some(present) = present.filter(|it| it.believes(&self.settings)) else {
            return slot.end_question();
        };
        let outcome = outcome.and_then(|mut answer| {
            answer.until = answer.until.min(now.plus(present.max_age));
            slot.put(answer, now).map(|()| answer)
        });
        match outcome {
            Ok(answer) => {
                ocsp.count(&self.bundle, |figures| {
                    match answer.status {
                        OcspStatus::Good => figures.good += 1,
                        OcspStatus::Revoked(_) => figures.revoked += 1,
                        OcspStatus::Unknown => figures.unknown += 1,
                    }
                    figures.last_answer = Some(now);
                });
                let held = lock(&ocsp.slots).renew(&slot, &answer);
                if let Some(held) = held.filter(|held| held.put(answer, now).is_ok()) {
                    held.changed.notify_waiters();
                }
                // Last: whoever is woken finds the slot in its place.
                slot.changed.notify_waiters();
            }
            Err(_) if present.url != self.settings.url => slot.end_question(),
            Err(fault) => ocsp.failed(&self.bundle, &slot, fault, now),
        }
    }

    /// It was not asked, for want of room here: whoever waits is told so, whoever is in stays due. The responder has not failed.
    pub fn put_off(mut self, why: OcspFault, now: UnixTime) {
        if let Some(Ticket { ocsp, slot, .. }) = self.ticket.take() {
            ocsp.count(&self.bundle, |figures| figures.failures += 1);
            slot.put_off(why, now);
        }
    }

    /// As if it had never been.
    pub(super) fn withdraw(mut self) {
        if let Some(Ticket { slot, .. }) = self.ticket.take() {
            slot.end_question();
        }
    }
}

impl Drop for OcspAsked {
    fn drop(&mut self) {
        if let Some(Ticket { ocsp, slot, since }) = self.ticket.take() {
            let why = "nobody asks the responder".to_owned();
            let fault = OcspFault::Unreachable { why };
            ocsp.failed(&self.bundle, &slot, fault, since);
        }
    }
}
