//! From a revocation, a hold or a release to its receipt.

use std::time::Duration;

use countersign_pki::feed::{RevocationReason, Sequence};
use countersign_pki::serial::SerialNumber;
use countersign_policy::administration::Role;
use countersign_policy::issuance::Actor;
use countersign_store::error::StoreError;
use countersign_store::inventory::{Cursor, Filter, IssuerFilter, NameFilter, Selector};
use countersign_store::issuer::{Issuer, IssuerRole};
use countersign_store::revocation::{Ended, Preview, Selection, Withdrawal, Withdrawals};

use super::{Authority, RevokeError};
use crate::receipt::{NodeReceipt, Receipt};
use crate::what::{Meant, What};

impl Authority {
    /// Revokes, or puts on hold, every live certificate that is meant; one that is named by itself also past its end.
    /// `wait`: how long to wait for the nodes at most; `None`: not at all.
    pub async fn revoke(
        &self,
        actor: Actor,
        what: &What,
        reason: RevocationReason,
        wait: Option<Duration>,
    ) -> Result<Receipt, RevokeError> {
        let meant = Meant::just(what.clone());
        self.withdraw(actor, &meant, Withdrawal::Revoke(reason), None, wait)
            .await
    }

    /// Does it to all that is meant or to none. More than `at_most` are refused.
    pub async fn withdraw(
        &self,
        actor: Actor,
        meant: &Meant,
        withdrawal: Withdrawal,
        at_most: Option<u64>,
        wait: Option<Duration>,
    ) -> Result<Receipt, RevokeError> {
        permit(&actor)?;
        let selection = self.selection(meant).await?;
        let outcome =
            self.store
                .withdraw(selection, withdrawal, at_most, actor.clone(), self.now());
        let outcome = self
            .with_refusal_on_record(&actor, meant, outcome.await)
            .await?;
        let Some((first, last)) = outcome.told else {
            return Err(self.why_nothing(meant, &outcome));
        };
        Ok(Receipt {
            history: self.store.history().clone(),
            first,
            sequence: last,
            nodes: self.hub.receipts(first, last, wait).await,
            changed: outcome.changed,
            already: outcome.already,
            for_good: outcome.for_good,
            successors: outcome.successors,
        })
    }

    /// What [`Authority::withdraw`] would do now, to those behind `after`.
    pub async fn preview_withdrawal(
        &self,
        actor: &Actor,
        meant: &Meant,
        withdrawal: Withdrawal,
        after: Option<Cursor>,
    ) -> Result<Preview, RevokeError> {
        permit(actor)?;
        let selection = self.selection(meant).await?;
        let is_first = after.is_none();
        let preview =
            self.store
                .preview_withdrawal(selection, withdrawal, after, actor, self.now());
        let preview = self
            .with_refusal_on_record(actor, meant, preview.await)
            .await?;
        let nothing = preview.outcome.changed.count + preview.outcome.already.count == 0;
        if nothing && is_first {
            return Err(self.why_nothing(meant, &preview.outcome));
        }
        Ok(preview)
    }

    /// Who tries to let in a node or an operator again is on record, as for every request that is not granted.
    async fn with_refusal_on_record<T>(
        &self,
        actor: &Actor,
        meant: &Meant,
        outcome: Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        if let Err(error @ StoreError::ReleaseNotPermitted { .. }) = &outcome {
            let object = format!("the release of {meant}");
            self.refused(actor.clone(), &object, &error.to_string())
                .await;
        }
        outcome
    }

    /// How many changes the withdrawal has made that the store is at; nothing of it is in force yet.
    pub fn withdrawal_under_way(&self) -> Option<u64> {
        self.store.withdrawal_under_way()
    }

    /// What the nodes have confirmed of `first..=last`, once all have or `wait` is over.
    pub async fn receipts(
        &self,
        first: Sequence,
        last: Sequence,
        wait: Option<Duration>,
    ) -> Vec<NodeReceipt> {
        self.hub.receipts(first, last, wait).await
    }

    async fn selection(&self, meant: &Meant) -> Result<Selection, RevokeError> {
        let mut filter = meant.filter.clone();
        let mut ended = Ended::LeftOut;
        if let Some(what) = &meant.what {
            let selector = if meant.is_unrecorded {
                what.selector(self.trust_domain())
            } else {
                self.selector(what).await?
            };
            match selector {
                Selector::Fingerprint(fingerprint) => filter.fingerprint = Some(fingerprint),
                Selector::Names(names) => {
                    filter.names.push(NameFilter::Exactly(names));
                    ended = Ended::IfNothingElse;
                }
                Selector::Serial(serial) => filter.serial = Some(serial),
            }
        }
        let is_one = filter.serial.is_some() || filter.fingerprint.is_some();
        if is_one || meant.with_ended {
            ended = Ended::Included;
        }
        let unrecorded = match (meant.is_unrecorded, filter.serial) {
            (true, Some(serial)) => {
                let issuer = self.issuer_meant(&filter)?;
                self.refuse_own(meant, serial, filter.issuer.as_ref().map(|_| issuer))?;
                let (id, subject) = (issuer.id, issuer.certificate.subject().to_string());
                // What others have issued under the same number is not meant.
                filter.issuer.get_or_insert(IssuerFilter::Subject(subject));
                Some(id)
            }
            _ => None,
        };
        Ok(Selection {
            filter,
            ended,
            unrecorded,
        })
    }

    /// The issuer of a serial number that nothing else is known of: the one that is named, else the one that issues.
    fn issuer_meant(&self, filter: &Filter) -> Result<&Issuer, RevokeError> {
        let subject = |issuer: &Issuer| issuer.certificate.subject().to_string();
        let found = self.store.issuers().iter().find(|it| match &filter.issuer {
            Some(issuer) => issuer.means(&subject(it)),
            None => it.role == IssuerRole::Intermediate,
        });
        found.ok_or_else(|| RevokeError::NotOurIssuer {
            issuer: match &filter.issuer {
                Some(issuer) => format!("{:?}", issuer.text()),
                None => "none".to_owned(),
            },
        })
    }

    /// `named`: the issuer of the certificate that is meant, where it was named; a leaf may have the number of a CA's own.
    fn refuse_own(
        &self,
        meant: &Meant,
        serial: SerialNumber,
        named: Option<&Issuer>,
    ) -> Result<(), RevokeError> {
        let own = |issuer: &&Issuer| {
            issuer.certificate.serial() == serial
                && named.is_none_or(|it| it.certificate.subject() == issuer.certificate.issuer())
        };
        match self.store.issuers().iter().find(own) {
            Some(issuer) => Err(RevokeError::OwnCertificate {
                what: meant.to_string(),
                subject: issuer.certificate.subject().to_string(),
            }),
            None => Ok(()),
        }
    }

    fn why_nothing(&self, meant: &Meant, outcome: &Withdrawals) -> RevokeError {
        let what = meant.to_string();
        let first_for_good = outcome.for_good.first.first();
        if let Some(revocation) = first_for_good.and_then(|it| it.revocation) {
            return RevokeError::ForGood {
                what,
                revoked_at: revocation.revoked_at,
                reason: revocation.reason,
            };
        }
        if outcome.not_held > 0 {
            return RevokeError::NotHeld { what };
        }
        if let Some(issuer) = &outcome.imported_from {
            return RevokeError::Imported {
                what,
                issuer: issuer.clone(),
            };
        }
        let Some(named) = &meant.what else {
            return RevokeError::NothingMeant;
        };
        let own = self
            .store
            .issuers()
            .iter()
            .map(|issuer| &issuer.certificate);
        if let Some(own) = own.clone().find(|it| named.is_certificate(it)) {
            return RevokeError::OwnCertificate {
                what,
                subject: own.subject().to_string(),
            };
        }
        match named {
            What::Serial(serial, _) => RevokeError::NotRecorded { serial: *serial },
            _ => RevokeError::NotFound { what },
        }
    }
}

/// Somebody's certificate is no right to revoke; a role is.
fn permit(actor: &Actor) -> Result<(), RevokeError> {
    if actor.may(Role::Operator) {
        return Ok(());
    }
    Err(RevokeError::NotPermitted {
        actor: actor.to_string(),
    })
}
