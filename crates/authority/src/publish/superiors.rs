//! Lists of the CAs above the issuing one. The root's key rests: its list lives for a year, and is signed here when somebody
//! asks for it and the key is at hand; else it is signed elsewhere, like those of CAs that are not ours, and given.

use std::fs;
use std::time::Duration;

use bytes::Bytes;
use countersign_pki::certificate::Certificate;
use countersign_pki::crl::ParsedCrl;
use countersign_pki::feed::{RevocationReason, Revoked};
use countersign_pki::pem;
use countersign_pki::publication::PublicationUrl;
use countersign_pki::serial::SerialNumber;
use countersign_pki::tbs::SignatureAlgorithm;
use countersign_pki::time::UnixTime;
use countersign_policy::administration::Role;
use countersign_policy::given_lists::{LeftOut, Succession, follow, left_out};
use countersign_policy::issuance::{Actor, IssuerRole};
use countersign_store::adoption::GivenList;
use countersign_store::evidence::{Evidence, United};
use countersign_store::issuer::IssuerId;
use countersign_store::publication::{DraftedList, RevocationList};
use tokio::task::spawn_blocking;

use super::lists::{CompleteList, PublishError, X509_CRL};
use super::shelf::{CRL, Document};
use super::{Authority, Publication};
use crate::adopt::{given_list, refuse_ahead};
use crate::authority::EvidenceError;
use crate::init::ROOT_CRL_LIFETIME;

/// The list of a CA above the issuing one.
#[derive(Clone, Debug)]
pub struct SuperiorList {
    /// Whose.
    pub issuer: Certificate,
    /// The last one that was signed; `None`: nobody has given one.
    pub signed: Option<ParsedCrl>,
    /// Whether it may lack something: what was revoked after it, or since the backup that it comes from.
    pub is_stale: bool,
}

impl SuperiorList {
    /// Its nextUpdate.
    pub fn next_update(&self) -> Option<UnixTime> {
        self.signed.as_ref()?.next_update()
    }

    /// How long before its end somebody has to be told, so that its CA's key can be found: three months, or a quarter of its
    /// life where that is less.
    pub fn warn_before(&self) -> Duration {
        let life = (self.signed.as_ref())
            .and_then(|list| Some(list.next_update()?.since(list.this_update())));
        life.map_or(WARN_BEFORE, |life| WARN_BEFORE.min(life / 4))
    }

    pub(super) fn complete(&self) -> Option<CompleteList> {
        let signed = self.signed.as_ref()?;
        Some(CompleteList {
            issuer: self.issuer.subject().to_string(),
            number: signed.number().unwrap_or_default(),
            this_update: signed.this_update(),
            next_update: signed.next_update().unwrap_or(signed.this_update()),
            pem: pem::encode(X509_CRL, signed.der()),
        })
    }
}

/// What came of a list that was given.
#[derive(Clone, Debug)]
pub struct ImportedList {
    /// Whose.
    pub issuer: String,
    /// nextUpdate.
    pub next_update: UnixTime,
    /// Whether it was published before.
    pub is_known: bool,
    /// What it says is revoked.
    pub united: United,
    /// Holds that it has ended.
    pub released: u64,
}

impl Authority {
    /// The lists of the CAs above the issuing one, nearest to it first, the root's last.
    pub async fn superior_lists(&self) -> Result<Vec<SuperiorList>, PublishError> {
        let mut lists = Vec::new();
        for (id, issuer) in self.superiors() {
            let is_stale = self.complete_list_of(id).await?.is_stale;
            lists.push(SuperiorList {
                issuer: issuer.clone(),
                signed: self.published_list_of(id).await?,
                is_stale,
            });
        }
        Ok(lists)
    }

    /// Signs the root's list anew. `revoke`: a certificate of the root that is revoked before.
    pub async fn sign_root_list(
        &self,
        actor: Actor,
        revoke: Option<(SerialNumber, RevocationReason)>,
    ) -> Result<CompleteList, PublishError> {
        refuse_all_but_admins(&actor)?;
        self.refuse_paused().await?;
        // Found out before anything is revoked.
        let key = self.state.ca().join("root.key.sealed");
        if !key.exists() {
            return Err(PublishError::RootKeyElsewhere {
                root: self.root().subject().to_string(),
            });
        }
        let signer = self.signer_of(IssuerRole::Root).await?;
        self.revoke_under_root(&actor, revoke).await?;
        let _following = self.following.lock().await;
        let _turn = self.publishing.lock().await;
        let drafted = self.draft_of_root(signer.algorithm()).await?;
        let signing = spawn_blocking(move || {
            let signature = signer.sign_crl(drafted.to_be_signed());
            (drafted, signature)
        });
        let (drafted, signature) = signing.await.map_err(|_| PublishError::Interrupted)?;
        let signature = signature?;
        let published = self
            .store
            .publish(drafted, &signature, actor, self.now())
            .await?;
        self.answers.ring();
        let published_list =
            ParsedCrl::parse(&published.der).map_err(|error| PublishError::RootList {
                why: error.to_string(),
            })?;
        let list = SuperiorList {
            issuer: self.root().clone(),
            signed: Some(published_list),
            is_stale: published.list.is_stale,
        };
        list.complete().ok_or(PublishError::NoList)
    }

    /// The root's next list, to be signed where the root's key is and to be given back by [`Self::import_list`].
    pub async fn draft_root_list(
        &self,
        actor: Actor,
        revoke: Option<(SerialNumber, RevocationReason)>,
    ) -> Result<Vec<u8>, PublishError> {
        refuse_all_but_admins(&actor)?;
        self.refuse_paused().await?;
        let algorithm = SignatureAlgorithm::of_key(self.root().public_key_algorithm());
        let algorithm = algorithm.ok_or_else(|| PublishError::RootKeyElsewhere {
            root: self.root().subject().to_string(),
        })?;
        self.revoke_under_root(&actor, revoke).await?;
        let drafted = self.draft_of_root(algorithm).await?;
        Ok(drafted.to_be_signed().bytes().to_vec())
    }

    /// Publishes a list of a CA above the issuing one in place of the one before it: what it lists is revoked, what the one before
    /// held and this one does not is released. `unseen`: what it may leave out otherwise.
    pub async fn import_list(
        &self,
        actor: Actor,
        der: Bytes,
        unseen: LeftOut,
    ) -> Result<ImportedList, EvidenceError> {
        if !actor.may(Role::Admin) {
            return Err(EvidenceError::NotPermitted {
                actor: actor.to_string(),
            });
        }
        let superiors: Vec<Certificate> = (self.superiors().into_iter())
            .map(|(_, it)| it.clone())
            .collect();
        let own = [self.intermediate().clone(), self.operator().clone()];
        let now = self.now();
        let judged = spawn_blocking(move || judge(&der, &superiors, &own, now));
        let Judged {
            issuer,
            list,
            given,
        } = judged.await.map_err(|_| EvidenceError::Interrupted)??;
        let _turn = self.following.lock().await;
        let (succession, is_known) = self.succession(&issuer, &list, unseen).await?;
        let subject = issuer.subject().to_string();
        let revoked = list.entries().iter().map(|entry| Revoked {
            issuer_key: given.issuer_key,
            serial: entry.serial,
            reason: entry.reason,
            revoked_at: entry.revoked_at,
        });
        let evidence = Evidence {
            source: format!("CRL of {subject}"),
            at: Some(given.this_update),
            is_whole: false,
            revoked: revoked.collect(),
        };
        let united = self.store.unite(evidence, actor.clone(), now).await?;
        let next_update = given.next_update;
        let released = self.store.accept_list(given, succession, actor, now);
        let released = released.await?;
        self.answers.ring();
        Ok(ImportedList {
            issuer: subject,
            next_update,
            is_known,
            united,
            released,
        })
    }

    /// What the list takes back of the one that is published, and whether it is that one.
    async fn succession(
        &self,
        issuer: &Certificate,
        list: &ParsedCrl,
        unseen: LeftOut,
    ) -> Result<(Succession, bool), EvidenceError> {
        let id = (self.superiors().into_iter())
            .find(|(_, it)| it.der() == issuer.der())
            .map(|(id, _)| id)
            .ok_or(EvidenceError::Interrupted)?;
        let before = self.published_list_of(id).await;
        let before = before.map_err(|error| EvidenceError::Published {
            why: error.to_string(),
        })?;
        let Some(before) = before else {
            return Ok((Succession::default(), false));
        };
        if before.der() == list.der() {
            return Ok((Succession::default(), true));
        }
        let gone = left_out(&before, list);
        let serials = gone.iter().map(|entry| entry.serial).collect();
        let standings = self.store.standings(issuer.spki(), serials).await?;
        let succession = follow(&before, list, gone.into_iter().zip(standings), unseen);
        let succession = succession.map_err(|fault| EvidenceError::Unfit {
            issuer: issuer.subject().to_string(),
            fault,
        })?;
        Ok((succession, false))
    }

    /// The last that was signed; `None`: nobody has given one.
    async fn published_list_of(&self, issuer: IssuerId) -> Result<Option<ParsedCrl>, PublishError> {
        let list = self.complete_list_of(issuer).await?;
        let der = match self.store.published(list.id).await? {
            Some(published) => Some(published.der),
            None if issuer == self.issuer_ids.root => self.root_list_of_before()?,
            None => None,
        };
        let parsed = der.map(|der| ParsedCrl::parse(&der)).transpose();
        parsed.map_err(|error| PublishError::RootList {
            why: error.to_string(),
        })
    }

    /// The CAs above the issuing one, nearest to it first, the root last.
    fn superiors(&self) -> Vec<(IssuerId, &Certificate)> {
        let between = self.store.superiors().iter();
        let mut superiors: Vec<_> = between.map(|it| (it.id, &it.certificate)).collect();
        superiors.push((self.issuer_ids.root, self.root()));
        superiors
    }

    async fn complete_list_of(&self, issuer: IssuerId) -> Result<RevocationList, PublishError> {
        let lists = self.store.lists(issuer).await?;
        lists
            .into_iter()
            .find(|list| list.distribution_point.is_none())
            .ok_or(PublishError::NoList)
    }

    async fn draft_of_root(
        &self,
        algorithm: SignatureAlgorithm,
    ) -> Result<DraftedList, PublishError> {
        let list = self.complete_list_of(self.issuer_ids.root).await?;
        let drafted = self.store.draft(
            list.id,
            self.root().clone(),
            algorithm,
            ROOT_CRL_LIFETIME,
            self.now(),
        );
        Ok(drafted.await?)
    }

    async fn revoke_under_root(
        &self,
        actor: &Actor,
        revoke: Option<(SerialNumber, RevocationReason)>,
    ) -> Result<(), PublishError> {
        let Some((serial, reason)) = revoke else {
            return Ok(());
        };
        let now = self.now();
        let evidence = Evidence {
            source: "asked for with the root's list".to_owned(),
            at: Some(now),
            is_whole: false,
            revoked: vec![Revoked {
                issuer_key: self.root().spki(),
                serial,
                reason,
                revoked_at: now,
            }],
        };
        self.store.unite(evidence, actor.clone(), now).await?;
        Ok(())
    }

    /// Authorities of earlier versions have the root's first list in a file alone.
    fn root_list_of_before(&self) -> Result<Option<Vec<u8>>, PublishError> {
        let path = self.state.ca().join("root.crl");
        let fault = |why: String| PublishError::RootList {
            why: format!("{}: {why}", path.display()),
        };
        if !path.exists() {
            return Ok(None);
        }
        let bytes = fs::read(&path).map_err(|error| fault(error.to_string()))?;
        let blocks = pem::decode_all(&bytes).map_err(|error| fault(error.to_string()))?;
        match blocks.into_iter().find(|block| block.label == X509_CRL) {
            Some(block) => Ok(Some(block.der)),
            None => Err(fault("it holds no CRL".to_owned())),
        }
    }
}

impl Publication {
    /// Where the certificates of CAs that were issued here say that it is.
    pub(super) async fn shelve_superior_lists(&self) -> Result<(), PublishError> {
        for list in self.authority.superior_lists().await? {
            let Some(signed) = &list.signed else {
                continue;
            };
            let path = PublicationUrl::complete_list_path(&list.issuer);
            let end = signed.next_update().unwrap_or(signed.this_update());
            let times = Some((signed.this_update(), end));
            let document = Document::new(signed.der().to_vec(), CRL, times);
            self.put_everywhere(&path, &document);
        }
        Ok(())
    }
}

fn refuse_all_but_admins(actor: &Actor) -> Result<(), PublishError> {
    if actor.may(Role::Admin) {
        return Ok(());
    }
    Err(PublishError::NotPermitted {
        actor: actor.to_string(),
    })
}

/// Enough for a change that involves other people.
const WARN_BEFORE: Duration = Duration::from_hours(90 * 24);

/// A list that may be published, if the one before it allows.
struct Judged {
    issuer: Certificate,
    list: ParsedCrl,
    given: GivenList,
}

/// Whose list it is, and whether it can be relied on.
fn judge(
    der: &[u8],
    superiors: &[Certificate],
    own: &[Certificate],
    now: UnixTime,
) -> Result<Judged, EvidenceError> {
    let unusable = |why: String| EvidenceError::Crl { why };
    let list = ParsedCrl::parse(der).map_err(|error| unusable(error.to_string()))?;
    let mut refused = None;
    let mut made_it = |issuer: &&Certificate| {
        let verdict = list.verify(issuer);
        if list.issuer() == issuer.subject() {
            refused = refused.take().or(verdict.as_ref().err().cloned());
        }
        verdict.is_ok()
    };
    if let Some(issuer) = own.iter().find(&mut made_it) {
        return Err(EvidenceError::SignedHere {
            issuer: issuer.subject().to_string(),
        });
    }
    let Some(issuer) = superiors.iter().find(&mut made_it) else {
        return Err(match refused {
            Some(error) => unusable(error.to_string()),
            None => EvidenceError::OtherIssuer {
                issuer: list.issuer().to_string(),
            },
        });
    };
    let subject = issuer.subject().to_string();
    let given = given_list(issuer, &list).map_err(unusable)?;
    let given = given.ok_or_else(|| EvidenceError::Incomplete {
        issuer: subject.clone(),
    })?;
    refuse_ahead(&list, now).map_err(unusable)?;
    if given.next_update <= now {
        return Err(EvidenceError::Over {
            issuer: subject,
            next_update: given.next_update,
        });
    }
    Ok(Judged {
        issuer: issuer.clone(),
        list,
        given,
    })
}
