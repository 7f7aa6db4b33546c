//! An existing CA becomes the authority: its issuing certificate and key, those above it, what it has issued and revoked.
//!
//! Everything is judged before anything is made, and then built like the first run's. The operator issuer is new and its own
//! anchor: whoever holds the adopted root, or another CA below it, must not be able to make operators and nodes (invariant 12).

use std::collections::{BTreeMap, BTreeSet};

use countersign_pki::certificate::Certificate;
use countersign_pki::crl::{CrlEntry, CrlScope, ParsedCrl};
use countersign_pki::dn::DistinguishedName;
use countersign_pki::feed::Revoked;
use countersign_pki::fingerprint::Fingerprint;
use countersign_pki::serial::SerialNumber;
use countersign_pki::spiffe::TrustDomain;
use countersign_pki::tbs::StatusSources;
use countersign_pki::time::UnixTime;
use countersign_policy::adoption::{AdoptionFault, Hierarchy, likeness, refuse_unfit_signer};
use countersign_policy::issuance::Actor;
use countersign_runtime::clock::SharedClock;
use countersign_store::adoption::{Brought, BroughtCertificate, BroughtRevocation, GivenList};
use countersign_store::issuer::IssuerRole;

use crate::founding::{Foundation, Founder, PassphraseChoice, Sealing};
use crate::init::{ISSUER_LIFETIME, InitError, ROOT_CRL_LIFETIME, signed_list};
use crate::meta::Meta;
use crate::publish::LIST_LIFETIME;
use crate::request::{PendingRequest, refuse_pending};
use crate::scaffold;
use crate::sealed::KeyDerivation;
use crate::secret::Secret;
use crate::signer::SignError;
use crate::signing_key::GivenKey;
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
    /// Revocations that no CRL tells of, of the issuing CA.
    pub revoked: Vec<(String, CrlEntry)>,
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
    /// Subjects of CAs above the issuing one that no CRL was given of.
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
        revoked,
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
    let brought = Collected::of(&issuers, &lists, issued, revoked, now)?;
    let Issuers {
        hierarchy,
        intermediate,
        root,
    } = issuers;
    let intermediate = match intermediate {
        Some(intermediate) => intermediate,
        None => {
            let ends = root.certificate.not_after().min(now.plus(ISSUER_LIFETIME));
            let role = IssuerRole::Intermediate;
            Founder::found(
                &base,
                role,
                Some(&root),
                &StatusSources::default(),
                ends,
                now,
            )?
        }
    };
    let operator = Founder::found(
        &base,
        IssuerRole::Operator,
        None,
        &StatusSources::default(),
        now.plus(ISSUER_LIFETIME),
        now,
    )?;
    let listed = |key| brought.lists.iter().any(|list| list.issuer_key == key);
    let without_list = (hierarchy.between().iter().chain([&root.certificate]))
        .filter(|superior| !listed(superior.spki()))
        .map(|superior| superior.subject().to_string())
        .collect();
    let adopted = Adopted {
        issuing: intermediate.certificate.clone(),
        between: hierarchy.between().to_vec(),
        root: root.certificate.clone(),
        has_root_key: root.key.is_some(),
        trust_domain: trust_domain.clone(),
        passphrase_kept: !matches!(passphrase, PassphraseChoice::Given(_)),
        certificates: brought.certificates.len(),
        revocations: brought.revocations,
        left_out: brought.left_out,
        without_list,
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
        reason: "adopted",
        now,
    };
    foundation.lay(state)?;
    if let Some(pending) = pending {
        pending.remove().map_err(InitError::State)?;
    }
    Ok(adopted)
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
        if key.spki_der()? != certificate.spki_der() {
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

/// What is brought along, sorted by the CA that it is of.
struct Collected {
    certificates: Vec<BroughtCertificate>,
    revoked: Vec<BroughtRevocation>,
    revocations: usize,
    lists: Vec<GivenList>,
    left_out: Vec<String>,
}

impl Collected {
    fn of(
        issuers: &Issuers,
        lists: &[(String, ParsedCrl)],
        issued: Vec<(String, Certificate)>,
        revoked: Vec<(String, CrlEntry)>,
        now: UnixTime,
    ) -> Result<Self, AdoptError> {
        let mut collected = Self {
            certificates: Vec::new(),
            revoked: Vec::new(),
            revocations: 0,
            lists: Vec::new(),
            left_out: Vec::new(),
        };
        for (file, list) in lists {
            collected.take_list(issuers, file, list)?;
        }
        let issuer_key = issuers.lowest().spki();
        for (file, entry) in revoked {
            collected.revoked.push(revocation(issuer_key, &entry, file));
        }
        collected.refuse_revoked(issuers)?;
        collected.take_issued(issuers, issued)?;
        collected.sign_lists(issuers, now)?;
        let counted = collected.revoked.iter().map(|it| {
            let Revoked {
                issuer_key, serial, ..
            } = it.revoked;
            (issuer_key.as_bytes().to_vec(), serial)
        });
        collected.revocations = counted.collect::<BTreeSet<_>>().len();
        Ok(collected)
    }

    fn take_list(
        &mut self,
        issuers: &Issuers,
        file: &str,
        list: &ParsedCrl,
    ) -> Result<(), AdoptError> {
        let mut why = None;
        let issuer = issuers.all().into_iter().find(|issuer| {
            let verdict = list.verify(issuer);
            if list.issuer() == issuer.subject() {
                why = why
                    .take()
                    .or(verdict.as_ref().err().map(|fault| fault.why.clone()));
            }
            verdict.is_ok()
        });
        let Some(issuer) = issuer else {
            return Err(AdoptError::List {
                file: file.to_owned(),
                why: why.unwrap_or_else(|| {
                    format!("it is of {}, which is none of these CAs", list.issuer())
                }),
            });
        };
        let entries = list.entries();
        self.revoked.extend(
            entries
                .iter()
                .map(|entry| revocation(issuer.spki(), entry, format!("CRL {file}"))),
        );
        let Some(given) = given_list(issuer, list).map_err(|why| AdoptError::List {
            file: file.to_owned(),
            why,
        })?
        else {
            return Ok(());
        };
        match self
            .lists
            .iter_mut()
            .find(|it| it.issuer_key == given.issuer_key)
        {
            Some(other) => {
                let number = other.number.max(given.number);
                if other.this_update < given.this_update {
                    *other = given;
                }
                // Of which list the greatest number was does not matter to those who come after.
                other.number = number;
            }
            None => self.lists.push(given),
        }
        Ok(())
    }

    /// A CA that was revoked issues nothing that anybody accepts.
    fn refuse_revoked(&self, issuers: &Issuers) -> Result<(), AdoptError> {
        let all = issuers.all();
        for pair in all.windows(2) {
            let (certificate, issuer) = (pair[0], pair[1]);
            let found = self.revoked.iter().find(|it| {
                it.revoked.issuer_key == issuer.spki() && it.revoked.serial == certificate.serial()
            });
            if let Some(found) = found {
                return Err(AdoptError::Revoked {
                    subject: certificate.subject().to_string(),
                    told_by: found.source.clone(),
                    revoked_at: found.revoked.revoked_at,
                });
            }
        }
        Ok(())
    }

    fn take_issued(
        &mut self,
        issuers: &Issuers,
        issued: Vec<(String, Certificate)>,
    ) -> Result<(), AdoptError> {
        let mut seen: BTreeMap<(Vec<u8>, SerialNumber), Fingerprint> = BTreeMap::new();
        let own_cas: Vec<Fingerprint> = issuers.all().iter().map(|it| it.fingerprint()).collect();
        for (file, certificate) in issued {
            let issuer = issuers.own().into_iter().find(|issuer| {
                certificate.issuer_der() == issuer.subject_der()
                    && certificate.verify_signature(issuer).is_ok()
            });
            let is_ca_of_ours = own_cas.contains(&certificate.fingerprint());
            let Some(issuer) = issuer.filter(|_| !is_ca_of_ours) else {
                if !is_ca_of_ours {
                    self.left_out.push(file);
                }
                continue;
            };
            let key = (issuer.spki().as_bytes().to_vec(), certificate.serial());
            match seen.get(&key) {
                Some(other) if *other == certificate.fingerprint() => continue,
                Some(_) => {
                    return Err(AdoptError::SerialTwice {
                        serial: certificate.serial(),
                        file,
                    });
                }
                None => seen.insert(key, certificate.fingerprint()),
            };
            self.certificates.push(BroughtCertificate {
                issuer_key: issuer.spki(),
                profile: likeness(&certificate),
                certificate,
            });
        }
        Ok(())
    }

    /// With their keys at hand, the lists of the issuing CA and of the root are ours from the beginning.
    fn sign_lists(&mut self, issuers: &Issuers, now: UnixTime) -> Result<(), AdoptError> {
        let issuing = issuers.intermediate.as_ref();
        let issuing = issuing.map(|founder| (founder, LIST_LIFETIME));
        let signing = issuing
            .into_iter()
            .chain([(&issuers.root, ROOT_CRL_LIFETIME)]);
        for (founder, life) in signing.filter(|(founder, _)| founder.key.is_some()) {
            let key = founder.certificate.spki();
            let mut entries: BTreeMap<SerialNumber, CrlEntry> = BTreeMap::new();
            for BroughtRevocation { revoked, .. } in &self.revoked {
                if revoked.issuer_key == key {
                    entries.entry(revoked.serial).or_insert(CrlEntry {
                        serial: revoked.serial,
                        revoked_at: revoked.revoked_at,
                        reason: revoked.reason,
                        invalid_since: None,
                    });
                }
            }
            let before = self.lists.iter().position(|it| it.issuer_key == key);
            let before = before.map(|place| self.lists.remove(place));
            let last = before.as_ref().and_then(|list| list.number);
            let number = last.map_or(0, |last| last + 1).max(now.seconds());
            let serials = entries.keys().copied().collect();
            let entries: Vec<CrlEntry> = entries.into_values().collect();
            let list = signed_list(founder, serials, &entries, number, life, now)?;
            self.lists.push(list);
        }
        Ok(())
    }
}

fn revocation(issuer_key: Fingerprint, entry: &CrlEntry, source: String) -> BroughtRevocation {
    BroughtRevocation {
        revoked: Revoked {
            issuer_key,
            serial: entry.serial,
            reason: entry.reason,
            revoked_at: entry.revoked_at,
        },
        source,
    }
}

/// A complete list as it can be published; `None`: it tells of a part of the certificates alone, or has no nextUpdate. It was
/// verified to be of `issuer`.
pub(crate) fn given_list(
    issuer: &Certificate,
    list: &ParsedCrl,
) -> Result<Option<GivenList>, String> {
    if list.number().is_some_and(|number| number > MAX_NUMBER) {
        return Err("its cRLNumber is so large that hardly any comes after it".to_owned());
    }
    let is_complete = list.scope() == Some(&CrlScope::default());
    let Some(next_update) = list.next_update().filter(|_| is_complete) else {
        return Ok(None);
    };
    Ok(Some(GivenList {
        issuer_key: issuer.spki(),
        number: list.number(),
        this_update: list.this_update(),
        next_update,
        serials: list.entries().iter().map(|entry| entry.serial).collect(),
        der: list.der().to_vec(),
    }))
}

/// Why a CA was not adopted. Nothing is in place then.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AdoptError {
    /// The CA itself.
    #[error(transparent)]
    Fault(#[from] AdoptionFault),
    /// The state folder, or what is made for it.
    #[error(transparent)]
    Init(#[from] InitError),
    /// A CRL that says nothing of these CAs.
    #[error("{file} is no CRL to go by: {why}")]
    List {
        /// Its name.
        file: String,
        /// Why.
        why: String,
    },
    /// A request's key is sealed by it.
    #[error("the key of the request is sealed by a passphrase that was not given")]
    NoPassphrase,
    /// Without it, no issuing CA can be made.
    #[error(
        "{root} alone issues nothing here: neither an issuing CA below it nor its key was given"
    )]
    NoRootKey {
        /// Which root.
        root: String,
    },
    /// What is given as a root has an issuer.
    #[error("{subject} is no root: another CA has issued it")]
    NotARoot {
        /// Which.
        subject: String,
    },
    /// No request was made in this folder.
    #[error("no key was given for the issuing CA, and none was made here before")]
    NothingRequested,
    /// Key and certificate do not belong together.
    #[error("the certificate of {subject} is not for {whose}")]
    OtherKey {
        /// Whose certificate.
        subject: String,
        /// Which key.
        whose: &'static str,
    },
    /// Whoever signed has changed the name.
    #[error("the certificate is for {subject}, the request was for {asked}")]
    OtherSubject {
        /// As certified.
        subject: String,
        /// As asked for.
        asked: String,
    },
    /// Its issuer has withdrawn it.
    #[error("{subject} is revoked since {revoked_at}, says {told_by}")]
    Revoked {
        /// Whose certificate.
        subject: String,
        /// Who says so.
        told_by: String,
        /// Since when.
        revoked_at: UnixTime,
    },
    /// A root is given as the issuing CA.
    #[error("{subject} is a root: its key should sign CAs, and rest otherwise")]
    RootIssuesItself {
        /// Which.
        subject: String,
    },
    /// Which of them a revocation would mean cannot be told.
    #[error("two certificates have the serial number {serial}, one of them in {file}")]
    SerialTwice {
        /// The number.
        serial: SerialNumber,
        /// Where the second one is.
        file: String,
    },
    /// The root's list.
    #[error(transparent)]
    Sign(#[from] SignError),
}

impl AdoptError {
    /// What to do.
    pub fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::Fault(fault) => fault.hint(),
            Self::Init(error) => return error.hint(),
            Self::Sign(error) => return error.hint(),
            Self::List { .. } => {
                "give CRLs of the issuing CA and of those above it, as they were published; `countersign inspect FILE` shows whose one is"
            }
            Self::NoPassphrase => "--passphrase-file names the file that the request was made with",
            Self::NoRootKey { .. } => {
                "--intermediate FILE and --key FILE give the CA that issues; or --root-key FILE the root's key, to have one made below it"
            }
            Self::NotARoot { .. } => {
                "give it as --intermediate with its --key, and the CAs above it as --root"
            }
            Self::NothingRequested => {
                "--key FILE or --p12 FILE gives the key; `countersign init --csr-out FILE` makes one for a sub-CA, with its request"
            }
            Self::OtherKey { .. } => {
                "`countersign inspect FILE` shows the fingerprint of the key (spki) in a certificate and in a key file"
            }
            Self::OtherSubject { .. } => {
                "have the request signed with the name that it asks for; or begin anew with that name: `countersign init --csr-out FILE --subject DN`"
            }
            Self::Revoked { .. } => {
                "nobody accepts what it issues: have a new one issued, with a new key"
            }
            Self::RootIssuesItself { .. } => {
                "give it as --root with --root-key: an issuing CA is made below it, and what the root has issued itself stays good"
            }
            Self::SerialTwice { .. } => {
                "leave out the one that is not in use; its revocation would revoke both"
            }
        };
        Some(hint.to_owned())
    }
}

/// Half of what the inventory can hold.
const MAX_NUMBER: u64 = u64::MAX / 4;
