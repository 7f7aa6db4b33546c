//! An existing CA becomes the authority: its issuing certificate and key, those above it, what it has issued and revoked.
//!
//! Everything is judged before anything is made, and then built like the first run's. The operator issuer is new and its own
//! anchor: whoever holds the adopted root, or another CA below it, must not be able to make operators and nodes (invariant 12).

mod brought;
mod fault;

use countersign_pki::certificate::Certificate;
use countersign_pki::compatibility::{Objection, objections_to_issuers};
use countersign_pki::crl::{CrlEntry, ParsedCrl};
use countersign_pki::dn::DistinguishedName;
use countersign_pki::spiffe::TrustDomain;
use countersign_pki::tbs::StatusSources;
use countersign_pki::time::UnixTime;
use countersign_policy::adoption::{Hierarchy, refuse_unfit_signer};
use countersign_policy::issuance::Actor;
use countersign_runtime::clock::SharedClock;
use countersign_store::adoption::{Brought, GivenList};
use countersign_store::issuer::IssuerRole;

use self::brought::Collected;
pub(crate) use self::brought::{given_list, refuse_ahead};
pub use self::fault::AdoptError;
use crate::founding::{Foundation, Founder, PassphraseChoice, Sealing};
use crate::init::{ISSUER_LIFETIME, InitError};
use crate::meta::Meta;
use crate::request::{PendingRequest, refuse_pending};
use crate::scaffold;
use crate::sealed::KeyDerivation;
use crate::secret::Secret;
use crate::signing_key::{GivenKey, KeyKind};
use crate::state::{StateFolder, StateLock};

/// What is adopted.
pub struct Adoption {
    /// Who issues leaves from now on.
    pub issuing: Issuing,
    /// The CA certificates above it, in any order; others among them do no harm.
    pub above: Vec<Certificate>,
    /// The root's key; left out, it stays where it is.
    pub root_key: Option<GivenKey>,
    /// CRLs of the CAs, each with the name of its file.
    pub lists: Vec<(String, ParsedCrl)>,
    /// Certificates that were issued before, each with the name of its file.
    pub issued: Vec<(String, Certificate)>,
    /// All that the issuing CA has revoked, out of a database of its own.
    pub index: Option<Vec<(String, CrlEntry)>>,
    /// What is said where nothing tells of it.
    pub word: Word,
    /// The base that "… Operator CA" is appended to as CN.
    pub subject: Option<DistinguishedName>,
    /// Where SPIFFE IDs live; a request that was made here has said it already.
    pub trust_domain: TrustDomain,
    /// Seals the CA keys; a random one is written into the state folder when left out.
    pub passphrase: Option<Secret>,
    /// The price of guessing the passphrase.
    pub key_derivation: KeyDerivation,
    /// Who adopts.
    pub actor: Actor,
}

/// What whoever adopts answers for.
#[derive(Clone, Copy, Debug, Default)]
pub struct Word {
    /// A CA of which no complete CRL is given, and no database, has never revoked a certificate.
    pub nothing_revoked: bool,
    /// A CRL that is past its nextUpdate tells of all that was revoked.
    pub expired_lists: bool,
}

/// Who issues leaves from now on.
pub enum Issuing {
    /// A CA that has its key.
    Given {
        /// Its certificate.
        certificate: Box<Certificate>,
        /// Its key.
        key: GivenKey,
    },
    /// A CA that is made now, below this root.
    MadeUnder(Box<Certificate>),
    /// The CA whose request was made here.
    Requested(Box<Certificate>),
}

/// What is in place now.
#[derive(Clone, Debug)]
pub struct Adopted {
    /// The issuing CA.
    pub issuing: Certificate,
    /// Between it and the root.
    pub between: Vec<Certificate>,
    /// The root.
    pub root: Certificate,
    /// What the root has signed itself with, if that can be forged.
    pub forgeable_root: Option<String>,
    /// Clients that refuse whatever stands below these CAs.
    pub objections: Vec<Objection>,
    /// Whether the root's key is sealed here.
    pub has_root_key: bool,
    /// Where SPIFFE IDs live.
    pub trust_domain: TrustDomain,
    /// Whether the passphrase lies in the state folder.
    pub passphrase_kept: bool,
    /// How many certificates the inventory took over.
    pub certificates: usize,
    /// How many revocations.
    pub revocations: usize,
    /// Files with certificates that are of no CA of this authority, and so were left out.
    pub left_out: Vec<String>,
    /// Subjects of CAs above the issuing one that no complete CRL in force is here of.
    pub without_list: Vec<String>,
}

/// Makes the authority in a folder that has none.
pub fn adopt(
    state: &StateFolder,
    _lock: &StateLock,
    adoption: Adoption,
    clock: &SharedClock,
) -> Result<Adopted, AdoptError> {
    if state.is_initialised() {
        return Err(InitError::AlreadyInitialised {
            path: state.path().to_owned(),
        }
        .into());
    }
    scaffold::refuse_unfinished_restore(state).map_err(InitError::State)?;
    let now = UnixTime::from_seconds(clock.unix_seconds());
    let pending = PendingRequest::of(state)?;
    if !matches!(adoption.issuing, Issuing::Requested(_)) {
        refuse_pending(state).map_err(InitError::State)?;
    }
    let (passphrase, requested_key) = passphrase_and_key(&adoption, pending.as_ref())?;
    let Adoption {
        issuing,
        above,
        root_key,
        lists,
        issued,
        index,
        word,
        subject,
        trust_domain,
        key_derivation,
        actor,
        ..
    } = adoption;
    let trust_domain = pending
        .as_ref()
        .map_or(trust_domain, |pending| pending.trust_domain.clone());
    let issuers = Issuers::judge(issuing, requested_key, &above, root_key, now)?;
    let base = subject.unwrap_or_else(|| base_of(issuers.lowest()));
    let brought = Collected::of(&issuers, &lists, issued, index.as_deref(), word, now)?;
    let reason = reason(&brought.on_word, word);
    let Issuers {
        hierarchy,
        intermediate,
        root,
        ..
    } = issuers;
    let intermediate = if let Some(given) = intermediate {
        given
    } else {
        let ends = root.certificate.not_after().min(now.plus(ISSUER_LIFETIME));
        found(
            &base,
            IssuerRole::Intermediate,
            &root,
            Some(&root),
            ends,
            now,
        )?
    };
    let ends = now.plus(ISSUER_LIFETIME);
    let operator = found(&base, IssuerRole::Operator, &intermediate, None, ends, now)?;
    let adopted = Adopted {
        issuing: intermediate.certificate.clone(),
        between: hierarchy.between().to_vec(),
        root: root.certificate.clone(),
        forgeable_root: hierarchy.forgeable_root(),
        objections: objections_to_issuers(hierarchy.path()),
        has_root_key: root.key.is_some(),
        trust_domain: trust_domain.clone(),
        passphrase_kept: !matches!(passphrase, PassphraseChoice::Given(_)),
        certificates: brought.certificates.len(),
        revocations: brought.revocations,
        without_list: without_list(&hierarchy, &brought.lists),
        left_out: brought.left_out,
    };
    let foundation = Foundation {
        founders: [&root, &intermediate, &operator],
        between: hierarchy.between(),
        brought: Brought {
            certificates: brought.certificates,
            revoked: brought.revoked,
            lists: brought.lists,
        },
        meta: Meta {
            trust_domain,
            created_at: now,
            subject: base.to_string(),
        },
        sealing: Sealing {
            passphrase,
            key_derivation,
        },
        actor,
        reason,
        now,
    };
    foundation.lay(state)?;
    if let Some(pending) = pending {
        pending.remove().map_err(InitError::State)?;
    }
    Ok(adopted)
}

/// For the audit log: who answers for what no list tells.
fn reason(on_word: &[String], word: Word) -> String {
    let mut reason = "adopted".to_owned();
    if !on_word.is_empty() {
        reason += "; nothing was revoked by ";
        reason += &on_word.join(", by ");
    }
    if word.expired_lists {
        reason += "; CRLs that are over were taken";
    }
    reason
}

fn found(
    base: &DistinguishedName,
    role: IssuerRole,
    beside: &Founder,
    above: Option<&Founder>,
    ends: UnixTime,
    now: UnixTime,
) -> Result<Founder, InitError> {
    let kind = KeyKind::below(beside.certificate.public_key_algorithm());
    let nowhere = StatusSources::default();
    Founder::found(base, role, kind, above, &nowhere, ends, now)
}

/// Subjects of the CAs above the issuing one that no list is of.
fn without_list(hierarchy: &Hierarchy, lists: &[GivenList]) -> Vec<String> {
    let has_none = |superior: &&Certificate| {
        let key = superior.spki();
        !lists.iter().any(|list| list.issuer_key == key)
    };
    let superiors = hierarchy.between().iter().chain([hierarchy.root()]);
    let without = superiors.filter(has_none);
    without.map(|it| it.subject().to_string()).collect()
}

fn passphrase_and_key(
    adoption: &Adoption,
    pending: Option<&PendingRequest>,
) -> Result<(PassphraseChoice, Option<GivenKey>), AdoptError> {
    let given = adoption.passphrase.clone();
    let Issuing::Requested(certificate) = &adoption.issuing else {
        return Ok((
            given.map_or(PassphraseChoice::Made, PassphraseChoice::Given),
            None,
        ));
    };
    let pending = pending.ok_or(AdoptError::NothingRequested)?;
    if !pending.is_for(certificate) {
        return Err(AdoptError::OtherKey {
            subject: certificate.subject().to_string(),
            whose: "the request",
        });
    }
    if *certificate.subject() != pending.subject {
        return Err(AdoptError::OtherSubject {
            subject: certificate.subject().to_string(),
            asked: pending.subject.to_string(),
        });
    }
    let (choice, passphrase) = match (given, pending.made_passphrase()?) {
        (Some(given), _) => (PassphraseChoice::Given(given.clone()), given),
        (None, Some(made)) => (PassphraseChoice::Kept(made.clone()), made),
        (None, None) => return Err(AdoptError::NoPassphrase),
    };
    let key = pending.key(&passphrase)?;
    Ok((choice, Some(key)))
}

/// The CAs, judged, with their keys.
struct Issuers {
    hierarchy: Hierarchy,
    /// `None`: it is still to be made, below the root.
    intermediate: Option<Founder>,
    /// Its key was made here: it has issued nothing.
    is_new: bool,
    root: Founder,
}

impl Issuers {
    fn judge(
        issuing: Issuing,
        requested_key: Option<GivenKey>,
        above: &[Certificate],
        root_key: Option<GivenKey>,
        now: UnixTime,
    ) -> Result<Self, AdoptError> {
        let is_new = matches!(issuing, Issuing::Requested(_));
        let (certificate, key) = match issuing {
            Issuing::Given { certificate, key } => (certificate, Some(key)),
            Issuing::Requested(certificate) => (certificate, requested_key),
            Issuing::MadeUnder(root) => {
                let hierarchy = Hierarchy::find(*root, above, 1, now)?;
                if !hierarchy.between().is_empty() || is_below_another(&hierarchy) {
                    return Err(AdoptError::NotARoot {
                        subject: hierarchy.lowest().subject().to_string(),
                    });
                }
                let key = root_key.ok_or_else(|| AdoptError::NoRootKey {
                    root: hierarchy.root().subject().to_string(),
                })?;
                let root = founder(IssuerRole::Root, hierarchy.root(), Some(key))?;
                return Ok(Self {
                    hierarchy,
                    intermediate: None,
                    is_new,
                    root,
                });
            }
        };
        let hierarchy = Hierarchy::find(*certificate, above, 0, now)?;
        if !is_below_another(&hierarchy) {
            return Err(AdoptError::RootIssuesItself {
                subject: hierarchy.lowest().subject().to_string(),
            });
        }
        Ok(Self {
            intermediate: Some(founder(IssuerRole::Intermediate, hierarchy.lowest(), key)?),
            is_new,
            root: founder(IssuerRole::Root, hierarchy.root(), root_key)?,
            hierarchy,
        })
    }

    fn lowest(&self) -> &Certificate {
        self.hierarchy.lowest()
    }

    /// Every CA whose revocations are ours to know.
    fn all(&self) -> Vec<&Certificate> {
        let mut all = vec![self.lowest()];
        all.extend(self.hierarchy.between());
        if is_below_another(&self.hierarchy) {
            all.push(self.hierarchy.root());
        }
        all
    }

    /// Whether it may have issued before, and its lists are signed here from now on.
    fn have_issued(&self, issuer: &Certificate) -> bool {
        let before = self.intermediate.as_ref().filter(|_| !self.is_new);
        let mut signing = before.into_iter().chain([&self.root]);
        signing.any(|it| it.key.is_some() && it.certificate.der() == issuer.der())
    }

    /// Those that have issued certificates of this authority.
    fn own(&self) -> [&Certificate; 2] {
        [self.lowest(), self.hierarchy.root()]
    }
}

fn is_below_another(hierarchy: &Hierarchy) -> bool {
    hierarchy.lowest().der() != hierarchy.root().der()
}

fn founder(
    role: IssuerRole,
    certificate: &Certificate,
    key: Option<GivenKey>,
) -> Result<Founder, AdoptError> {
    if let Some(key) = &key {
        refuse_unfit_signer(certificate)?;
        if key.spki_der() != certificate.spki_der() {
            return Err(AdoptError::OtherKey {
                subject: certificate.subject().to_string(),
                whose: "the key that was given",
            });
        }
    }
    Ok(Founder {
        role,
        certificate: certificate.clone(),
        key,
    })
}

/// Its attributes that say whose it is.
fn base_of(issuing: &Certificate) -> DistinguishedName {
    issuing.subject().without_common_names()
}
