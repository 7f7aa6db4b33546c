//! A sub-CA whose certificate somebody else will sign: its key lies sealed in the state folder, beside the request, until
//! [`crate::adopt`] is given the certificate.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use countersign_pki::certificate::Certificate;
use countersign_pki::dn::DistinguishedName;
use countersign_pki::pem;
use countersign_pki::request::{CertificateRequest, InvalidRequest, RequestToBeSigned};
use countersign_pki::spiffe::TrustDomain;
use countersign_pki::time::UnixTime;
use countersign_runtime::clock::SharedClock;
use countersign_store::issuer::IssuerRole;

use crate::authority::NotReady;
use crate::founding::{PassphraseChoice, write_key};
use crate::init::{InitError, subject};
use crate::meta::Meta;
use crate::scaffold::{self, create_folder, write};
use crate::sealed::{self, KeyDerivation};
use crate::secret::Secret;
use crate::signing_key::{GivenKey, KeyKind};
use crate::state::{PENDING_REQUEST, StateError, StateFolder, StateLock};

/// What the sub-CA shall be.
#[derive(Clone, Debug)]
pub struct RequestOptions {
    /// "… Issuing CA" is appended as CN, unless there is one.
    pub subject: DistinguishedName,
    /// Where SPIFFE IDs live.
    pub trust_domain: TrustDomain,
    /// Seals the key; a random one is written beside it when left out.
    pub passphrase: Option<Secret>,
    /// The kind of the issuing CA's key.
    pub key: KeyKind,
    /// The price of guessing the passphrase.
    pub key_derivation: KeyDerivation,
}

/// A request that waits for its certificate.
#[derive(Clone, Debug)]
pub struct PendingRequest {
    folder: PathBuf,
    /// Itself, in PEM.
    pub csr_pem: String,
    /// The name that the certificate must have.
    pub subject: DistinguishedName,
    /// Where SPIFFE IDs will live.
    pub trust_domain: TrustDomain,
    spki_der: Vec<u8>,
}

/// Makes key and request. What was made before is kept: [`PendingRequest::of`] finds it.
pub fn request(
    state: &StateFolder,
    _lock: &StateLock,
    options: &RequestOptions,
    clock: &SharedClock,
) -> Result<PendingRequest, InitError> {
    if state.is_initialised() {
        return Err(InitError::AlreadyInitialised {
            path: state.path().to_owned(),
        });
    }
    scaffold::refuse_unfinished_restore(state)?;
    refuse_pending(state)?;
    let now = UnixTime::from_seconds(clock.unix_seconds());
    let subject = if options.subject.common_name().is_some() {
        options.subject.clone()
    } else {
        subject(&options.subject, IssuerRole::Intermediate)
    };
    let key = GivenKey::generate(options.key)?;
    let csr = RequestToBeSigned::for_authority(&subject, key.spki_der(), PATH_LEN)?;
    let csr = csr.complete(&key.key.sign(csr.bytes())?);

    // Built beside, so that there is all of it or nothing.
    scaffold::clear(state)?;
    let scaffold = state.scaffold();
    create_folder(&scaffold)?;
    let passphrase = match &options.passphrase {
        Some(given) => PassphraseChoice::Given(given.clone()),
        None => PassphraseChoice::Made,
    };
    let passphrase = passphrase.obtain(&scaffold)?;
    let role = IssuerRole::Intermediate;
    write_key(&scaffold, role, &key, &passphrase, options.key_derivation)?;
    let meta = Meta {
        trust_domain: options.trust_domain.clone(),
        created_at: now,
        subject: subject.to_string(),
    };
    write(&scaffold.join(META), meta.to_json().as_bytes(), 0o600)?;
    let pem = pem::encode(CERTIFICATE_REQUEST, &csr);
    write(&scaffold.join(CSR), pem.as_bytes(), 0o644)?;
    scaffold::rename(state, &state.pending_request())?;
    PendingRequest::of(state)?.ok_or(InitError::NoKey)
}

impl PendingRequest {
    /// The one in this folder, if there is one.
    pub fn of(state: &StateFolder) -> Result<Option<Self>, InitError> {
        let folder = state.pending_request();
        if state.is_initialised() || !folder.is_dir() {
            return Ok(None);
        }
        let broken = |path: &Path, why: String| InitError::BrokenRequest {
            path: path.to_owned(),
            why,
        };
        let path = folder.join(CSR);
        let csr_pem =
            fs::read_to_string(&path).map_err(|error| broken(&path, error.to_string()))?;
        let blocks = pem::decode_all(csr_pem.as_bytes())
            .map_err(|error| broken(&path, error.to_string()))?;
        let block = blocks
            .first()
            .ok_or_else(|| broken(&path, "it holds no request".to_owned()))?;
        let request = CertificateRequest::parse(&block.der)
            .map_err(|error| broken(&path, error.to_string()))?;
        let meta = folder.join(META);
        let trust_domain = Meta::load(&meta)
            .map_err(|error| broken(&meta, error.to_string()))?
            .trust_domain;
        Ok(Some(Self {
            subject: request.subject().clone(),
            spki_der: request.spki_der().to_vec(),
            folder,
            csr_pem,
            trust_domain,
        }))
    }

    /// Whether `certificate` is for the key of this request.
    pub fn is_for(&self, certificate: &Certificate) -> bool {
        self.spki_der == certificate.spki_der()
    }

    /// The passphrase that was made with it, if one was.
    pub(crate) fn made_passphrase(&self) -> Result<Option<Secret>, InitError> {
        let path = self.folder.join("passphrase");
        match fs::exists(&path) {
            Ok(true) => Ok(Some(Secret::read_passphrase(&path)?)),
            Ok(false) => Ok(None),
            Err(error) => Err(InitError::BrokenRequest {
                path,
                why: error.to_string(),
            }),
        }
    }

    /// Opens its key.
    pub(crate) fn key(&self, passphrase: &Secret) -> Result<GivenKey, InitError> {
        let role = IssuerRole::Intermediate;
        let path = self.folder.join(format!("{role}.key.sealed"));
        let not_ready = |why: String| {
            InitError::NotReady(NotReady {
                why: format!("{}: {why}", path.display()),
                hint: Some(
                    "--passphrase-file names the file that the request was made with".to_owned(),
                ),
            })
        };
        let sealed = fs::read(&path).map_err(|error| not_ready(error.to_string()))?;
        let pkcs8 = sealed::unseal(&sealed, role, passphrase)
            .map_err(|error| not_ready(error.to_string()))?;
        GivenKey::from_pkcs8(pkcs8.expose())
            .ok_or_else(|| not_ready("it holds no key that signs here".to_owned()))
    }

    /// Once the authority is in place, which has the key.
    pub(crate) fn remove(&self) -> Result<(), StateError> {
        match fs::remove_dir_all(&self.folder) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => Err(StateError::Io {
                what: "remove",
                path: self.folder.clone(),
                source,
            }),
            _ => Ok(()),
        }
    }
}

/// Another authority in its place would throw the key away that somebody is about to certify.
pub(crate) fn refuse_pending(state: &StateFolder) -> Result<(), StateError> {
    if state.has_pending_request() {
        return Err(StateError::RequestPending {
            path: state.path().to_owned(),
        });
    }
    Ok(())
}

impl From<InvalidRequest> for InitError {
    fn from(error: InvalidRequest) -> Self {
        Self::BrokenRequest {
            path: PathBuf::from(PENDING_REQUEST),
            why: error.why,
        }
    }
}

/// It issues leaves alone.
const PATH_LEN: u8 = 0;
const CSR: &str = "request.pem";
const META: &str = "meta.json";
const CERTIFICATE_REQUEST: &str = "CERTIFICATE REQUEST";
