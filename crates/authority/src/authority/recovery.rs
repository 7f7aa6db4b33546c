//! Backups of the running authority, and what is told to a restored one.

use std::io::BufWriter;
use std::sync::Arc;

use countersign_pki::crl::{CrlScope, ParsedCrl};
use countersign_pki::feed::{Revoked, Snapshot};
use countersign_pki::time::UnixTime;
use countersign_policy::administration::Role;
use countersign_policy::given_lists::UnfitSuccessor;
use countersign_policy::issuance::Actor;
use countersign_store::error::StoreError;
use countersign_store::evidence::{Evidence, United};
use countersign_store::issuer::IssuerRole;
use countersign_store::pause::{Grounds, Pause, Resumption};
use hyper::body::Bytes;
use tokio::task::spawn_blocking;

use super::Authority;
use super::download::{Download, PIECE, download};
use crate::backup::{BackupFacts, Packing, RulesInForce};

impl Authority {
    /// Why nothing is issued; `None`: it is.
    pub async fn pause(&self) -> Result<Option<Pause>, StoreError> {
        self.store.pause().await
    }

    /// Refuses while issuing waits.
    pub async fn refuse_paused(&self) -> Result<(), StoreError> {
        match self.pause().await? {
            None => Ok(()),
            Some(pause) => Err(StoreError::IssuingPaused {
                since: pause.since,
                backup_at: pause.backup_at,
            }),
        }
    }

    /// Whether nothing is issued because nothing says by what.
    pub async fn are_rules_unknown(&self) -> Result<bool, StoreError> {
        Ok(self.store.rules_unknown().await?.is_some())
    }

    /// Somebody's word that what is built in is what this issued by.
    pub(crate) async fn say_built_in(
        &self,
        actor: Actor,
        because: String,
    ) -> Result<(), ResumeError> {
        if because.trim().is_empty() {
            return Err(ResumeError::NoReason);
        }
        self.tell_rules(actor, because).await?;
        Ok(())
    }

    /// Says what is issued by, where the backup that this was restored from did not. Whether it was not known before.
    pub async fn tell_rules(&self, actor: Actor, because: String) -> Result<bool, StoreError> {
        self.store.tell_rules(because, actor, self.now()).await
    }

    /// Makes a backup as of now. The inventory has been copied and examined on return; the rest is read as fast as the
    /// stream is.
    pub async fn backup(&self, actor: Actor) -> Result<(BackupFacts, Download), BackupError> {
        if !actor.may(Role::Admin) {
            return Err(BackupError::NotPermitted {
                actor: actor.to_string(),
            });
        }
        let place = Arc::clone(&self.backing_up).try_acquire_owned();
        let place = place.map_err(|_| BackupError::AlreadyRunning)?;
        let rules = self.rules_in_force();
        if let (RulesInForce::AsKept, Some(unkept)) = (&rules, self.held_back()) {
            return Err(BackupError::RulesUnknown { why: unkept.why });
        }
        let now = self.now();
        self.store.record_backup(actor, now).await?;
        let (state, trust_domain) = (self.state.clone(), self.trust_domain().to_string());
        let packing = spawn_blocking(move || Packing::prepare(&state, trust_domain, &rules, now));
        let packing = packing.await.map_err(|_| BackupError::Interrupted)??;
        let facts = packing.facts().clone();
        let (source, taken) = download();
        spawn_blocking(move || {
            let _place = place;
            let to = BufWriter::with_capacity(PIECE, source.clone());
            if let Err(error) = packing.write(to) {
                tracing::warn!(target: "backup", %error, "backup broke off");
                source.break_off(error);
            }
        });
        Ok((facts, taken))
    }

    /// Takes a CRL of one of our issuers for evidence. Its age does not matter: what it names stays revoked. Only a complete one
    /// of the issuer of leaves says that nothing else was.
    pub async fn unite_crl(&self, actor: Actor, der: Bytes) -> Result<United, EvidenceError> {
        refuse_all_but_admins(&actor)?;
        let issuers = self.store.issuers().to_vec();
        let judged = spawn_blocking(move || -> Result<Evidence, EvidenceError> {
            let crl = ParsedCrl::parse(&der).map_err(|error| EvidenceError::Crl {
                why: error.to_string(),
            })?;
            let mut refused = None;
            let issuer = issuers.iter().find(|issuer| {
                let verdict = crl.verify(&issuer.certificate);
                let is_named = crl.issuer() == issuer.certificate.subject();
                refused = refused
                    .take()
                    .or(verdict.as_ref().err().filter(|_| is_named).cloned());
                verdict.is_ok()
            });
            let Some(issuer) = issuer else {
                return Err(match refused {
                    Some(error) => EvidenceError::Crl {
                        why: error.to_string(),
                    },
                    None => EvidenceError::OtherIssuer {
                        issuer: crl.issuer().to_string(),
                    },
                });
            };
            let issuer_key = issuer.certificate.spki();
            let revoked = crl.entries().iter().map(|entry| Revoked {
                issuer_key,
                serial: entry.serial,
                reason: entry.reason,
                revoked_at: entry.revoked_at,
            });
            let number = crl.number().map_or_else(String::new, |it| format!(" {it}"));
            Ok(Evidence {
                source: format!("CRL{number} of {}", crl.issuer()),
                at: Some(crl.this_update()),
                is_whole: issuer.role == IssuerRole::Intermediate
                    && crl.scope() == Some(&CrlScope::default()),
                revoked: revoked.collect(),
            })
        });
        let evidence = judged.await.map_err(|_| EvidenceError::Interrupted)??;
        Ok(self.store.unite(evidence, actor, self.now()).await?)
    }

    /// Takes what a gateway holds for evidence. It is signed by nobody: who may revoke may give it.
    ///
    /// One that stands in this history may have heard nothing before it: what was lost between backup and restore is not
    /// missing there because it did not happen. So it is united, and does not count.
    pub async fn unite_feed(
        &self,
        actor: Actor,
        snapshot: Snapshot,
    ) -> Result<United, EvidenceError> {
        refuse_all_but_admins(&actor)?;
        let is_ours = snapshot.history == *self.store.history();
        let history: String = snapshot.history.0.chars().take(MAX_HISTORY).collect();
        let evidence = Evidence {
            source: format!("feed {history} up to {}", snapshot.sequence.0),
            at: (!is_ours).then_some(snapshot.at),
            is_whole: true,
            revoked: snapshot.revoked,
        };
        Ok(self.store.unite(evidence, actor, self.now()).await?)
    }

    /// Lets issuing go on.
    pub async fn resume(
        &self,
        actor: Actor,
        grounds: Grounds,
        because: String,
    ) -> Result<Option<Pause>, ResumeError> {
        if !actor.may(Role::Admin) {
            return Err(ResumeError::NotPermitted {
                actor: actor.to_string(),
            });
        }
        if because.chars().any(char::is_control) || because.chars().count() > MAX_BECAUSE {
            return Err(ResumeError::Because);
        }
        if grounds == Grounds::Word && because.trim().is_empty() {
            return Err(ResumeError::NoReason);
        }
        let resumed = self.store.resume(grounds, because, actor, self.now());
        match resumed.await? {
            Resumption::NoEvidence(pause) => Err(ResumeError::NoEvidence { pause }),
            Resumption::NotPaused => Ok(None),
            Resumption::Resumed(pause) => Ok(Some(pause)),
        }
    }
}

fn refuse_all_but_admins(actor: &Actor) -> Result<(), EvidenceError> {
    if actor.may(Role::Admin) {
        return Ok(());
    }
    Err(EvidenceError::NotPermitted {
        actor: actor.to_string(),
    })
}

/// Why there is no backup.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BackupError {
    /// They would need the room of two.
    #[error("another backup is being made")]
    AlreadyRunning,
    /// The thread that copies has ended early: our bug.
    #[error("the backup was interrupted")]
    Interrupted,
    /// The actor may not.
    #[error("{actor} may not make a backup")]
    NotPermitted {
        /// Who.
        actor: String,
    },
    /// It would say that a restored authority knows what to issue by.
    #[error("a backup would not hold what is issued by: {why}")]
    RulesUnknown {
        /// Why nothing is issued.
        why: String,
    },
    /// The inventory, or the disk.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Why evidence is none. What is said of revoked certificates by the same command's other files stands.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EvidenceError {
    /// Not a CRL, or not to be relied on.
    #[error("the CRL cannot be relied on: {why}")]
    Crl {
        /// In words.
        why: String,
    },
    /// Certificates that it leaves out may be revoked.
    #[error("the CRL of {issuer} is none of all its certificates, or has no nextUpdate")]
    Incomplete {
        /// Whose.
        issuer: String,
    },
    /// The thread that judges has ended early: our bug.
    #[error("the evidence was not judged to its end")]
    Interrupted,
    /// The actor may not.
    #[error("{actor} may not say what is revoked")]
    NotPermitted {
        /// Who.
        actor: String,
    },
    /// Nobody would rely on it.
    #[error("the CRL of {issuer} was good until {next_update}")]
    Over {
        /// Whose.
        issuer: String,
        /// nextUpdate.
        next_update: UnixTime,
    },
    /// What is to be followed cannot be read.
    #[error("{why}")]
    Published {
        /// Why.
        why: String,
    },
    /// Not to be published for somebody else.
    #[error("the lists of {issuer} are signed here")]
    SignedHere {
        /// Whose.
        issuer: String,
    },
    /// What the list before it says forbids it.
    #[error("the CRL of {issuer} {fault}")]
    Unfit {
        /// Whose.
        issuer: String,
        /// Why.
        fault: UnfitSuccessor,
    },
    /// Somebody else's.
    #[error("the CRL is of {issuer}, which is no issuer of this authority")]
    OtherIssuer {
        /// Whose.
        issuer: String,
    },
    /// The inventory.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl EvidenceError {
    /// What to do.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Crl { .. } | Self::OtherIssuer { .. } => Some(
                "give a CRL that this authority has published, as it was handed out: `countersign inspect FILE` shows whose it is"
                    .to_owned(),
            ),
            Self::Unfit { fault, .. } => Some(fault.hint().to_owned()),
            Self::Published { .. } => Some("restore the state folder's ca/ from a backup as a whole".to_owned()),
            Self::Incomplete { .. } | Self::Over { .. } => {
                Some("ask whoever runs that CA for its latest complete CRL".to_owned())
            }
            Self::SignedHere { .. } => {
                Some("`countersign ca crl` writes them; `countersign ca resume --crl FILE` tells a restored authority what one lists".to_owned())
            }
            Self::Store(error) => error.hint(),
            _ => None,
        }
    }
}

/// Why issuing does not go on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ResumeError {
    /// For a log.
    #[error("a reason has at most {MAX_BECAUSE} characters, none of them a control character")]
    Because,
    /// Nothing tells what was revoked since.
    #[error("nothing was told of what was revoked since the backup of {}", .pause.backup_at)]
    NoEvidence {
        /// Since when issuing waits.
        pause: Pause,
    },
    /// Without evidence, somebody answers for it.
    #[error("without evidence, or a backup that says it, a reason has to be given")]
    NoReason,
    /// The actor may not.
    #[error("{actor} may not let issuing go on")]
    NotPermitted {
        /// Who.
        actor: String,
    },
    /// The inventory.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl ResumeError {
    /// What to do.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::NoEvidence { .. } => Some(countersign_store::error::RESUME_HINT.to_owned()),
            Self::NoReason => Some("`--because WHY` is kept in the audit log".to_owned()),
            Self::Store(error) => error.hint(),
            _ => None,
        }
    }
}

/// A history's id of ours has 22.
const MAX_HISTORY: usize = 64;
/// A sentence or three.
const MAX_BECAUSE: usize = 1000;
