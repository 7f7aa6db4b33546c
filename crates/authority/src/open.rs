//! Opening an authority: what must be right before it serves, and the CA key, which is unsealed beside it.

use std::fs;
use std::path::Path;
use std::sync::{Arc, RwLock};
use std::thread;
use std::time::Instant;

use countersign_pki::certificate::Certificate;
use countersign_pki::pem;
use countersign_pki::publication::PublicationUrl;
use countersign_pki::time::UnixTime;
use countersign_policy::issuance::{IssuanceRules, IssuerRole, Issuers, Profiles};
use countersign_runtime::clock::SharedClock;
use countersign_store::issuer::Issuer;
use countersign_store::store::Store;
use tokio::sync::{Mutex, Semaphore, watch};

use crate::authority::{Authority, IssuerIds, NotReady, OpenError, RareSigners, Unsealing};
use crate::feed::{Hub, Roll};
use crate::meta::Meta;
use crate::publish::answers::Answers;
use crate::retention::Keeping;
use crate::sealed::{self, SealError};
use crate::secret::{PASSPHRASE_HINT, Passphrase, Secret};
use crate::signer::{FileSigner, Signer};
use crate::state::{StateFolder, StateLock};

impl Authority {
    /// Opens an initialised state folder within milliseconds; the CA key is unsealed on a thread of its own.
    pub fn open(
        state: StateFolder,
        lock: StateLock,
        passphrase: &Passphrase,
        clock: SharedClock,
    ) -> Result<Arc<Self>, OpenError> {
        refuse_uninitialised(&state)?;
        let source = passphrase.source(state.passphrase());
        let passphrase = source.read()?;
        let (progress, unsealing) = watch::channel(Unsealing::Running);
        let authority = Self::open_beside(state, lock, unsealing, RareSigners::new(source), clock)?;
        let issuer = authority.intermediate().clone();
        let sealed = authority.state.ca().join("intermediate.key.sealed");
        let signer = Arc::clone(&authority.signer);
        thread::Builder::new()
            .name("unseal".to_owned())
            .spawn(move || {
                let outcome = match unseal(&sealed, IssuerRole::Intermediate, issuer, &passphrase) {
                    Ok(unsealed) => {
                        let _first = signer.set(Arc::new(unsealed));
                        Unsealing::Done
                    }
                    Err(error) => Unsealing::Failed(error),
                };
                // Nobody may be left to hear it.
                let _ = progress.send(outcome);
            })
            .map_err(|source| OpenError::Thread { source })?;
        Ok(authority)
    }

    /// Opens with a signer that holds the intermediate's key already.
    pub fn open_with_signer(
        state: StateFolder,
        lock: StateLock,
        signer: Arc<dyn Signer>,
        clock: SharedClock,
    ) -> Result<Arc<Self>, OpenError> {
        refuse_uninitialised(&state)?;
        let (_, unsealing) = watch::channel(Unsealing::Done);
        let authority = Self::open_beside(state, lock, unsealing, RareSigners::default(), clock)?;
        if signer.certificate().der() != authority.intermediate().der() {
            return Err(OpenError::Mixed {
                path: authority.state.ca().join("intermediate.pem"),
            });
        }
        let _first = authority.signer.set(signer);
        Ok(authority)
    }

    fn open_beside(
        state: StateFolder,
        lock: StateLock,
        unsealing: watch::Receiver<Unsealing>,
        rarely: RareSigners,
        clock: SharedClock,
    ) -> Result<Arc<Self>, OpenError> {
        let meta = Meta::load(&state.meta()).map_err(|error| OpenError::File {
            path: state.meta(),
            why: error.to_string(),
        })?;
        let root = certificate(&state, IssuerRole::Root)?;
        refuse_early_clock(&root, &clock)?;

        let path = state.nodes();
        let (roll, away) = Roll::open(path.clone()).map_err(|error| OpenError::Nodes {
            path,
            why: error.to_string(),
        })?;
        let hub = Hub::new(roll, away);
        let publish = Arc::clone(&hub);
        let answers = Arc::new(Answers::default());
        let outdated = Arc::clone(&answers);
        let store = Store::open(
            &state.inventory(),
            Box::new(move |messages| {
                outdated.withdraw(messages);
                publish.publish(messages);
            }),
        )?;
        let publication = publication_url(&state, &store)?;
        hub.begin_at(store.opened_at());
        let intermediate = recorded(&state, &store, IssuerRole::Intermediate)?;
        let operator = recorded(&state, &store, IssuerRole::Operator)?;
        let issuer_ids = IssuerIds {
            intermediate: intermediate.id,
            operator: operator.id,
            root: recorded(&state, &store, IssuerRole::Root)?.id,
        };
        let between = store.superiors().iter();
        let between: Vec<Certificate> = between.map(|it| it.certificate.clone()).collect();
        let rules = IssuanceRules {
            trust_domain: meta.trust_domain.clone(),
            profiles: Profiles::built_in(),
            publication,
        };
        Ok(Arc::new(Self {
            state,
            meta,
            issuers: Issuers::new(
                intermediate.certificate,
                &between,
                operator.certificate,
                root,
            ),
            issuer_ids,
            rules: RwLock::new(Arc::new(rules)),
            unkept: RwLock::default(),
            rules_in_force: RwLock::default(),
            admin_url: RwLock::default(),
            refusals: crate::authority::records_of_refusals(),
            rarely,
            unsealing,
            signer: Arc::default(),
            clock,
            hub,
            in_flight: crate::authority::in_flight::KeysInFlight::default(),
            answers,
            publishing: Mutex::default(),
            following: Mutex::default(),
            store,
            keeping: Keeping::default(),
            opened: Instant::now(),
            backing_up: Arc::new(Semaphore::new(1)),
            _lock: lock,
        }))
    }
}

fn publication_url(
    state: &StateFolder,
    store: &Store,
) -> Result<Option<PublicationUrl>, OpenError> {
    let parsed = store.publication_url().map(PublicationUrl::parse);
    parsed.transpose().map_err(|error| OpenError::File {
        path: state.inventory(),
        why: error.to_string(),
    })
}

fn refuse_uninitialised(state: &StateFolder) -> Result<(), OpenError> {
    if state.is_initialised() {
        Ok(())
    } else {
        Err(OpenError::NotInitialised {
            path: state.path().to_owned(),
        })
    }
}

fn refuse_early_clock(root: &Certificate, clock: &SharedClock) -> Result<(), OpenError> {
    let now = UnixTime::from_seconds(clock.unix_seconds());
    if now < root.not_before() {
        return Err(OpenError::ClockBeforeBirth {
            subject: root.subject().to_string(),
            not_before: root.not_before(),
            now,
        });
    }
    Ok(())
}

fn recorded(state: &StateFolder, store: &Store, role: IssuerRole) -> Result<Issuer, OpenError> {
    let certificate = certificate(state, role)?;
    let known = store
        .issuers()
        .iter()
        .find(|issuer| issuer.role == role && issuer.certificate.der() == certificate.der());
    known.cloned().ok_or_else(|| OpenError::Mixed {
        path: state.ca().join(format!("{role}.pem")),
    })
}

fn certificate(state: &StateFolder, role: IssuerRole) -> Result<Certificate, OpenError> {
    certificate_in(&state.ca(), role)
}

/// The certificate of that role in a folder `ca`.
pub(crate) fn certificate_in(ca: &Path, role: IssuerRole) -> Result<Certificate, OpenError> {
    let path = ca.join(format!("{role}.pem"));
    let der = only_block(&path, "CERTIFICATE")?;
    Certificate::parse(&der).map_err(|error| OpenError::File {
        path,
        why: error.to_string(),
    })
}

fn only_block(path: &Path, label: &str) -> Result<Vec<u8>, OpenError> {
    let file = |why: String| OpenError::File {
        path: path.to_owned(),
        why,
    };
    let bytes = fs::read(path).map_err(|error| file(error.to_string()))?;
    let blocks = pem::decode_all(&bytes).map_err(|error| file(error.to_string()))?;
    match <[pem::Block; 1]>::try_from(blocks) {
        Ok([block]) if block.label == label => Ok(block.der),
        _ => Err(file(format!("it does not hold exactly one {label}"))),
    }
}

pub(crate) fn unseal(
    path: &Path,
    role: IssuerRole,
    issuer: Certificate,
    passphrase: &Secret,
) -> Result<FileSigner, NotReady> {
    let not_ready = |why: String, hint: Option<String>| NotReady {
        why: format!("{}: {why}", path.display()),
        hint,
    };
    let sealed = fs::read(path).map_err(|error| not_ready(error.to_string(), None))?;
    let key = sealed::unseal(&sealed, role, passphrase).map_err(|error| {
        let hint = match error {
            SealError::WrongPassphrase => PASSPHRASE_HINT,
            _ => "restore the state folder's ca/ from a backup as a whole",
        };
        not_ready(error.to_string(), Some(hint.to_owned()))
    })?;
    FileSigner::new(issuer, &key).map_err(|error| not_ready(error.to_string(), error.hint()))
}
