//! How the authority is, and which risks stand.

use std::path::Path;
use std::time::Duration;

use countersign_pki::certificate::Certificate;
use countersign_pki::time::{UnixTime, spoken};
use countersign_store::error::StoreError;
use countersign_store::issuer::IssuerRole;

use crate::api::{IssuerView, IssuingState, PauseView, Risk, StatusResponse};
use crate::authority::{Authority, Unsealing};

impl Authority {
    /// How the authority is.
    pub async fn status(&self) -> Result<StatusResponse, StoreError> {
        let (history, sequence) = self.feed_position().await?;
        let certificates = self.tally().await?.into();
        let overdue = self.overdue_list().await?;
        let now = self.now();
        let pause = self.pause().await?;
        let paused = pause.map(|pause| StoreError::IssuingPaused {
            since: pause.since,
            backup_at: pause.backup_at,
        });
        let (issuing, issuing_fault) = match (&*self.unsealing.borrow(), &paused) {
            (Unsealing::Failed(error), _) => (IssuingState::Failed, Some(error.to_string())),
            (_, Some(paused)) => (IssuingState::Paused, Some(paused.to_string())),
            (Unsealing::Done, None) => (IssuingState::Ready, None),
            (Unsealing::Running, None) => (IssuingState::Unsealing, None),
        };
        let risk = paused.map(|paused| Risk {
            sentence: paused.to_string(),
            hint: paused.hint().unwrap_or_default(),
        });
        Ok(StatusResponse {
            trust_domain: self.meta.trust_domain.to_string(),
            created_at: self.meta.created_at,
            issuing,
            issuing_fault,
            pause: pause.map(PauseView::from),
            issuers: self
                .issuers()
                .map(|(role, certificate)| issuer_view(role, certificate))
                .to_vec(),
            certificates,
            root_crl_next_update: self.root_crl_next_update,
            publication_url: self.publication_url().map(|url| url.to_string()),
            admin_url: self.admin_url(),
            history,
            sequence,
            nodes: self.hub.nodes(),
            risks: risk.into_iter().chain(self.risks(now, overdue)).collect(),
        })
    }

    fn issuers(&self) -> [(IssuerRole, &Certificate); 3] {
        [
            (IssuerRole::Root, self.root()),
            (IssuerRole::Intermediate, self.intermediate()),
            (IssuerRole::Operator, self.operator()),
        ]
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
        let crl = ends_soon(
            "the root's CRL",
            self.root_crl_next_update,
            now,
            "verifiers that ask for it will refuse every certificate then",
        );
        beside
            .into_iter()
            .chain(online)
            .chain(ending)
            .chain(crl)
            .chain(overdue.map(|end| overdue_list(end, now)))
            .collect()
    }
}

fn issuer_view(role: IssuerRole, certificate: &Certificate) -> IssuerView {
    IssuerView {
        role: role.to_string(),
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
    if now.plus(WARN_BEFORE) < at {
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
