//! How the authority is, and which risks stand.

use std::path::Path;
use std::time::Duration;

use countersign_pki::certificate::Certificate;
use countersign_pki::time::{UnixTime, spoken};
use countersign_store::error::StoreError;

use crate::api::{IssuerView, IssuingState, PauseView, Risk, StatusResponse};
use crate::authority::{Authority, Unsealing};
use crate::publish::{PublishError, SuperiorList};
use crate::retention::RetentionState;

impl Authority {
    /// How the authority is.
    pub async fn status(&self) -> Result<StatusResponse, StoreError> {
        let (history, sequence) = self.feed_position().await?;
        let certificates = self.tally().await?.into();
        let overdue = self.overdue_list().await?;
        let superiors = self.superior_lists().await;
        let now = self.now();
        let pause = self.pause().await?;
        let retention = self.retention().await?;
        let stuck = retention.as_ref().and_then(stuck_retention);
        let rules_unknown = self.store.rules_unknown().await?;
        let rules_unknown = rules_unknown.map(|backup_at| StoreError::RulesUnknown { backup_at });
        let paused = pause.map(|pause| StoreError::IssuingPaused {
            since: pause.since,
            backup_at: pause.backup_at,
        });
        let mut revoked = Vec::new();
        for issuer in [self.issuer_ids.intermediate, self.issuer_ids.operator] {
            revoked.extend(self.store.issuer_revoked(issuer).await?);
        }
        let waits = paused.into_iter().chain(rules_unknown).chain(revoked);
        let mut waits: Vec<Risk> = waits.map(|it| risk(&it, it.hint())).collect();
        waits.extend(self.held_back().map(|it| risk(&it, it.hint.clone())));
        let issuing_hint = waits.first().map(|it| it.hint.clone());
        let (issuing, issuing_fault) = match (&*self.unsealing.borrow(), waits.first()) {
            (Unsealing::Failed(error), _) => (IssuingState::Failed, Some(error.to_string())),
            (_, Some(waits)) => (IssuingState::Paused, Some(waits.sentence.clone())),
            (Unsealing::Done, None) => (IssuingState::Ready, None),
            (Unsealing::Running, None) => (IssuingState::Unsealing, None),
        };
        Ok(StatusResponse {
            trust_domain: self.meta.trust_domain.to_string(),
            created_at: self.meta.created_at,
            issuing,
            issuing_fault,
            issuing_hint,
            pause: pause.map(PauseView::from),
            issuers: self
                .issuers()
                .into_iter()
                .map(|(role, certificate)| issuer_view(role, certificate))
                .collect(),
            certificates,
            root_crl_next_update: superiors
                .as_ref()
                .ok()
                .and_then(|lists| lists.last()?.next_update()),
            root_crl_warn_before_s: superiors
                .as_ref()
                .ok()
                .and_then(|lists| Some(lists.last()?.warn_before().as_secs())),
            publication_url: self.publication_url().map(|url| url.to_string()),
            admin_url: self.admin_url(),
            history,
            sequence,
            nodes: self.hub.nodes(),
            retention: retention.map(Into::into),
            risks: waits
                .into_iter()
                .chain(stuck)
                .chain(self.risks(now, overdue))
                .chain(self.list_risks(now, superiors))
                .collect(),
        })
    }

    fn issuers(&self) -> Vec<(&'static str, &Certificate)> {
        let between = &self.intermediates()[1..];
        let mut issuers = vec![("root", self.root())];
        issuers.extend(between.iter().rev().map(|it| (SUPERIOR, it)));
        issuers.push(("intermediate", self.intermediate()));
        issuers.push(("operator", self.operator()));
        issuers
    }

    fn risks(&self, now: UnixTime, overdue: Option<UnixTime>) -> Vec<Risk> {
        let passphrase = self.state.passphrase();
        let beside = passphrase
            .exists()
            .then(|| passphrase_beside_key(&passphrase));
        let root_key = self.state.ca().join("root.key.sealed");
        let online = root_key.exists().then(|| root_key_online(&root_key));
        let ending = self
            .issuers()
            .into_iter()
            .filter_map(|(role, certificate)| {
                ends_soon(
                    &format!("the {role} certificate"),
                    certificate.not_after(),
                    now,
                    "a new authority has to replace it before",
                )
            });
        beside
            .into_iter()
            .chain(online)
            .chain(ending)
            .chain(overdue.map(|end| overdue_list(end, now)))
            .collect()
    }

    fn list_risks(
        &self,
        now: UnixTime,
        lists: Result<Vec<SuperiorList>, PublishError>,
    ) -> Vec<Risk> {
        let lists = match lists {
            Ok(lists) => lists,
            Err(error) => {
                return vec![Risk {
                    sentence: error.to_string(),
                    hint: error.hint().unwrap_or_default(),
                }];
            }
        };
        let is_published = self.publication_url().is_some();
        lists
            .iter()
            .filter_map(|list| list_risk(list, is_published, self.signs(&list.issuer), now))
            .collect()
    }

    /// Whether its key is sealed here.
    fn signs(&self, superior: &Certificate) -> bool {
        superior.der() == self.root().der() && self.state.ca().join("root.key.sealed").exists()
    }
}

fn risk(fault: &impl ToString, hint: Option<String>) -> Risk {
    Risk {
        sentence: fault.to_string(),
        hint: hint.unwrap_or_default(),
    }
}

/// `is_ours`: its key is here.
fn list_risk(
    list: &SuperiorList,
    is_published: bool,
    is_ours: bool,
    now: UnixTime,
) -> Option<Risk> {
    let subject = list.issuer.subject();
    let what = format!("the CRL of {subject}");
    let next = if is_ours {
        "`countersign ca crl --root` signs the next one"
    } else {
        "`countersign ca crl import FILE` takes the latest one; `countersign ca crl --root --root-key FILE` signs it where the root's key is at hand"
    };
    let consequence = format!("{next}: verifiers that ask for it refuse every certificate without");
    let Some(end) = list.next_update() else {
        // Whoever publishes tells verifiers to ask.
        return is_published.then(|| Risk {
            sentence: format!("there is no CRL of {subject} here"),
            hint: consequence,
        });
    };
    if list.is_stale {
        return Some(Risk {
            sentence: format!("{what} may not show all that is revoked"),
            hint: next.to_owned(),
        });
    }
    ends_within(&what, end, now, list.warn_before(), &consequence)
}

fn issuer_view(role: &str, certificate: &Certificate) -> IssuerView {
    IssuerView {
        role: role.to_owned(),
        subject: certificate.subject().to_string(),
        fingerprint: certificate.fingerprint(),
        not_before: certificate.not_before(),
        not_after: certificate.not_after(),
    }
}

fn passphrase_beside_key(path: &Path) -> Risk {
    Risk {
        sentence: format!(
            "the passphrase of the CA keys lies beside the keys that it seals: {}",
            path.display()
        ),
        hint: format!(
            "move it out of the state folder and start with --passphrase-file: whoever copies {} has the CA",
            parent(path)
        ),
    }
}

fn root_key_online(path: &Path) -> Risk {
    Risk {
        sentence: format!("the root's key is on this machine: {}", path.display()),
        hint: "daily work does not need it: keep it offline".to_owned(),
    }
}

fn ends_soon(what: &str, at: UnixTime, now: UnixTime, consequence: &str) -> Option<Risk> {
    ends_within(what, at, now, WARN_BEFORE, consequence)
}

fn ends_within(
    what: &str,
    at: UnixTime,
    now: UnixTime,
    warn_before: Duration,
    consequence: &str,
) -> Option<Risk> {
    if now.plus(warn_before) < at {
        return None;
    }
    let when = if now < at {
        format!("ends in {}", spoken(at.since(now)))
    } else {
        format!("ended {} ago", spoken(now.since(at)))
    };
    Some(Risk {
        sentence: format!("{what} {when} ({at})"),
        hint: consequence.to_owned(),
    })
}

fn stuck_retention(retention: &RetentionState) -> Option<Risk> {
    let (why, hint) = retention.last.as_ref()?.fault.as_ref()?;
    Some(Risk {
        sentence: format!("expired certificates do not leave the inventory: {why}"),
        hint: hint.clone().unwrap_or_default(),
    })
}

fn overdue_list(end: UnixTime, now: UnixTime) -> Risk {
    let when = if now < end {
        format!("is over in {}", spoken(end.since(now)))
    } else {
        format!("is over for {}", spoken(now.since(end)))
    };
    Risk {
        sentence: format!("a published revocation list {when} ({end}) and was not signed anew"),
        hint: "the log of the process says why; is one running that has [authority.public]? Verifiers refuse every certificate then"
            .to_owned(),
    }
}

fn parent(path: &Path) -> String {
    path.parent().unwrap_or(path).display().to_string()
}

/// A quarter: enough for a change that involves other people.
const WARN_BEFORE: Duration = Duration::from_hours(90 * 24);

/// Between the issuing CA and the root, and somebody else's.
const SUPERIOR: &str = "superior";
