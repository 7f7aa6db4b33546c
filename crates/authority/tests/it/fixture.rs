//! An authority in a temporary folder, its clock in the test's hand.

use std::path::PathBuf;
use std::sync::Arc;

use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair};
use countersign_authority::authority::{Authority, IssueError, Issued, RequestedKey};
use countersign_authority::init::{InitOptions, Initialised, init};
use countersign_authority::sealed::KeyDerivation;
use countersign_authority::secret::Passphrase;
use countersign_authority::state::StateFolder;
use countersign_authority::what::What;
use countersign_pki::dn::DistinguishedName;
use countersign_pki::pem;
use countersign_pki::request::{RequestToBeSigned, Wishes};
use countersign_policy::issuance::{Actor, Profile, Request};
use countersign_runtime::clock::{ManualClock, SharedClock};
use tempfile::TempDir;

pub(crate) const ADMIN: Actor = Actor::LocalAdmin { uid: 1000 };
pub(crate) const BORN: u64 = 1_800_000_000;
pub(crate) const DAY_S: u64 = 86_400;

/// What guessing costs is not what these tests test.
pub(crate) const CHEAP: KeyDerivation = KeyDerivation {
    memory_kib: 8,
    passes: 1,
    lanes: 1,
};

pub(crate) struct Fixture {
    pub(crate) authority: Arc<Authority>,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) folder: Folder,
}

pub(crate) struct Folder {
    pub(crate) path: PathBuf,
    _temporary: TempDir,
}

impl Folder {
    pub(crate) fn new() -> Self {
        let temporary = tempfile::tempdir().expect("temporary directory");
        Self {
            path: temporary.path().join("state"),
            _temporary: temporary,
        }
    }

    pub(crate) fn state(&self) -> StateFolder {
        StateFolder::prepare(&self.path).expect("prepares")
    }

    pub(crate) fn init(&self) -> Initialised {
        let state = self.state();
        let lock = state.lock().expect("locks");
        let clock: SharedClock = Arc::new(ManualClock::new(BORN));
        init(&state, &lock, options(), &clock).expect("initialises")
    }

    pub(crate) fn open(&self, clock: &Arc<ManualClock>) -> Arc<Authority> {
        let state = self.state();
        let lock = state.lock().expect("locks");
        Authority::open(state, lock, &Passphrase::StateFile, clock.clone()).expect("opens")
    }
}

impl Fixture {
    pub(crate) fn new() -> Self {
        let folder = Folder::new();
        folder.init();
        let clock = Arc::new(ManualClock::new(BORN));
        Self {
            authority: folder.open(&clock),
            clock,
            folder,
        }
    }

    pub(crate) async fn issue(&self, name: &str) -> Issued {
        self.authority
            .issue(ADMIN, client(name))
            .await
            .expect("issues")
    }

    pub(crate) async fn issue_for(
        &self,
        name: &str,
        lifetime_s: u64,
    ) -> Result<Issued, IssueError> {
        let lifetime = Some(std::time::Duration::from_secs(lifetime_s));
        self.authority
            .issue(
                ADMIN,
                Request {
                    lifetime,
                    ..client(name)
                },
            )
            .await
    }
}

pub(crate) fn options() -> InitOptions {
    InitOptions {
        key_derivation: CHEAP,
        ..InitOptions::default()
    }
}

pub(crate) fn client(name: &str) -> Request {
    Request {
        profile: Profile::CLIENT,
        name: name.to_owned(),
        subject_alt_names: Vec::new(),
        lifetime: None,
        spki_der: spki(&key()),
        wishes: Wishes::default(),
    }
}

pub(crate) fn what(text: &str) -> What {
    text.parse().expect("infallible")
}

pub(crate) fn key() -> EcdsaKeyPair {
    EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).expect("a key")
}

pub(crate) fn spki(key: &EcdsaKeyPair) -> Vec<u8> {
    let spki: PublicKeyX509Der<'_> = key.public_key().as_der().expect("encodes");
    spki.as_ref().to_vec()
}

/// A key that asks for the next certificate.
pub(crate) fn requested(key: &EcdsaKeyPair) -> RequestedKey {
    RequestedKey {
        spki_der: spki(key),
        wishes: Wishes::default(),
    }
}

/// A certificate request in PEM.
pub(crate) fn csr() -> String {
    let key = key();
    let request =
        RequestToBeSigned::new(&DistinguishedName::default(), &spki(&key)).expect("encodes");
    let signature = key
        .sign(&SystemRandom::new(), request.bytes())
        .expect("signs");
    pem::encode("CERTIFICATE REQUEST", &request.complete(signature.as_ref()))
}
