//! An inventory with one issuer, and certificates to put into it.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair};
use countersign_pki::certificate::Certificate;
use countersign_pki::dn::DistinguishedName;
use countersign_pki::feed::{HistoryId, Message, Sequence};
use countersign_pki::publication::{PublicationUrl, SHARDS};
use countersign_pki::request::Wishes;
use countersign_pki::serial::SerialNumber;
use countersign_pki::spiffe::TrustDomain;
use countersign_pki::tbs::{SignatureAlgorithm, StatusSources, Template, Usage};
use countersign_pki::time::UnixTime;
use countersign_policy::issuance::{
    Actor, Approved, IssuanceRules, Issuers, Profile, Profiles, Request, authorize,
};
use countersign_store::adoption::Brought;
use countersign_store::intent::{Intended, Stored};
use countersign_store::inventory::EntryId;
use countersign_store::issuer::{IssuerId, IssuerRole};
use countersign_store::publication::DraftedList;
use countersign_store::store::{Founding, Store};
use tempfile::TempDir;

pub(crate) const ADMIN: Actor = Actor::LocalAdmin { uid: 1000 };

/// Where the feed's sequence of every fixture begins.
pub(crate) const BASE: u64 = 1000;

pub(crate) fn now() -> UnixTime {
    UnixTime::from_seconds(1_800_000_000)
}

pub(crate) struct Fixture {
    pub(crate) store: Arc<Store>,
    pub(crate) issuer: IssuerId,
    pub(crate) path: PathBuf,
    pub(crate) told: Arc<Mutex<Vec<Message>>>,
    certificate: Certificate,
    key: EcdsaKeyPair,
    folder: TempDir,
}

impl Fixture {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().expect("temporary directory");
        let path = folder.path().join("inventory.db");
        let key = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).expect("a key");
        let certificate = issuer(&key);
        let founding = Founding {
            history: HistoryId("first".to_owned()),
            base: Sequence(BASE),
            issuers: vec![(IssuerRole::Intermediate, certificate.clone())],
            superiors: Vec::new(),
            brought: Brought::default(),
            reason: "first run".to_owned(),
            actor: Actor::Authority,
            now: now(),
        };
        Store::create(&path, &founding).expect("creates");
        let told = Arc::new(Mutex::new(Vec::new()));
        let store = open(&path, &told);
        let issuer = store.issuers()[0].id;
        Self {
            store: Arc::new(store),
            issuer,
            path,
            told,
            certificate,
            key,
            folder,
        }
    }

    /// Closes the inventory and opens it again, as after a crash: nothing but the file is kept.
    pub(crate) fn reopened(self) -> Self {
        self.reopened_after(|_| {})
    }

    pub(crate) fn reopened_after(self, meanwhile: impl FnOnce(&std::path::Path)) -> Self {
        let Self {
            store,
            issuer,
            path,
            told,
            certificate,
            key,
            folder,
        } = self;
        drop(store);
        meanwhile(&path);
        let store = Arc::new(open(&path, &told));
        Self {
            store,
            issuer,
            path,
            told,
            certificate,
            key,
            folder,
        }
    }

    /// Another inventory in its place, as after a restore.
    pub(crate) fn restored(self, backup: &std::path::Path) -> Self {
        self.reopened_after(|path| {
            std::fs::copy(backup, path).expect("copies");
        })
    }

    pub(crate) fn approved(&self, name: &str, lifetime: Duration) -> Approved {
        let mut random = [0; 20];
        aws_lc_rs::rand::fill(&mut random).expect("randomness");
        self.approved_with(name, lifetime, random)
    }

    pub(crate) fn approved_with(
        &self,
        name: &str,
        lifetime: Duration,
        random: [u8; 20],
    ) -> Approved {
        self.approved_at(name, lifetime, random, None)
    }

    /// `at`: where the certificate is told to look for its revocation.
    pub(crate) fn approved_at(
        &self,
        name: &str,
        lifetime: Duration,
        random: [u8; 20],
        at: Option<&str>,
    ) -> Approved {
        let publication = at.map(|url| PublicationUrl::parse(url).expect("a URL"));
        let rules = IssuanceRules {
            trust_domain: TrustDomain::parse("example.com").expect("a trust domain"),
            profiles: Profiles::built_in(),
            publication,
        };
        let request = Request {
            profile: Profile::CLIENT,
            name: name.to_owned(),
            subject_alt_names: vec![format!("dns:{name}.example.com").parse().expect("a name")],
            lifetime: Some(lifetime),
            // A key stands for one identity.
            spki_der: spki(&key()),
            wishes: Wishes::default(),
        };
        self.approve(&request, &rules, random)
    }

    pub(crate) fn approve(
        &self,
        request: &Request,
        rules: &IssuanceRules,
        random: [u8; 20],
    ) -> Approved {
        self.approve_for(ADMIN, request, rules, random)
    }

    /// A certificate with no name but its CN, asked for by `actor`.
    pub(crate) fn approved_for(&self, actor: Actor, name: &str) -> Approved {
        let rules = IssuanceRules {
            trust_domain: TrustDomain::parse("example.com").expect("a trust domain"),
            profiles: Profiles::built_in(),
            publication: None,
        };
        let request = Request {
            profile: Profile::CLIENT,
            name: name.to_owned(),
            subject_alt_names: Vec::new(),
            lifetime: Some(HOUR),
            spki_der: spki(&key()),
            wishes: Wishes::default(),
        };
        let mut random = [0; 20];
        aws_lc_rs::rand::fill(&mut random).expect("randomness");
        self.approve_for(actor, &request, &rules, random)
    }

    fn approve_for(
        &self,
        actor: Actor,
        request: &Request,
        rules: &IssuanceRules,
        random: [u8; 20],
    ) -> Approved {
        let ca = || self.certificate.clone();
        let issuers = Issuers::new(ca(), &[], ca(), ca());
        let authorized =
            authorize(actor, request, rules, &issuers, random, now()).expect("authorized");
        let to_be_signed = authorized
            .template()
            .to_be_signed(&self.certificate, ALGORITHM)
            .expect("encodes");
        authorized
            .approve(to_be_signed, &issuers)
            .expect("approved")
    }

    pub(crate) async fn intend(&self, name: &str, lifetime: Duration) -> Intended {
        self.store
            .intend(
                self.approved(name, lifetime),
                self.issuer,
                None,
                "asked for".to_owned(),
                now(),
            )
            .await
            .expect("intends")
    }

    pub(crate) fn sign(&self, intended: &Intended) -> Vec<u8> {
        sign(&self.key, intended.to_be_signed().bytes())
    }

    pub(crate) async fn issue(&self, name: &str, lifetime: Duration) -> Stored {
        let intended = self.intend(name, lifetime).await;
        let signature = self.sign(&intended);
        self.store
            .complete(intended, &signature, now())
            .await
            .expect("completes")
    }

    /// A certificate whose serial number ends in `last`, with the URL of its shard, which has begun.
    pub(crate) async fn issue_at(&self, url: &str, name: &str, last: u8) -> Stored {
        let at = PublicationUrl::parse(url).expect("a URL");
        let path = PublicationUrl::shard_path(&self.certificate, u16::from(last) % SHARDS.get());
        self.store
            .publish_at(
                Some(url.to_owned()),
                self.issuer,
                vec![at.join(&path)],
                ADMIN,
                now(),
            )
            .await
            .expect("begins");
        self.issue_naming(url, name, last).await
    }

    /// The same, whether there is such a shard or not.
    pub(crate) async fn issue_naming(&self, url: &str, name: &str, last: u8) -> Stored {
        let mut random = [0; 20];
        random[19] = last;
        let approved = self.approved_at(name, HOUR, random, Some(url));
        let reason = "asked for".to_owned();
        let intended = self
            .store
            .intend(approved, self.issuer, None, reason, now())
            .await
            .expect("intends");
        let signature = self.sign(&intended);
        self.store
            .complete(intended, &signature, now())
            .await
            .expect("completes")
    }

    /// The issuer's own certificate.
    pub(crate) fn issuing(&self) -> &Certificate {
        &self.certificate
    }

    pub(crate) fn sign_list(&self, drafted: &DraftedList) -> Vec<u8> {
        sign(&self.key, drafted.to_be_signed().bytes())
    }

    /// What a second connection to the file sees at this moment.
    pub(crate) fn count(&self, table: &str, id: EntryId) -> i64 {
        let second = rusqlite::Connection::open(&self.path).expect("opens");
        let sql = format!("SELECT count(*) FROM {table} WHERE id = ?1");
        second
            .query_row(&sql, [id.number()], |row| row.get(0))
            .expect("counts")
    }
}

pub(crate) const HOUR: Duration = Duration::from_hours(1);

fn open(path: &std::path::Path, told: &Arc<Mutex<Vec<Message>>>) -> Store {
    let told = Arc::clone(told);
    let publish =
        move |messages: &[Message]| told.lock().expect("no panic").extend_from_slice(messages);
    Store::open(path, Box::new(publish)).expect("opens")
}

fn issuer(key: &EcdsaKeyPair) -> Certificate {
    let template = Template {
        subject: DistinguishedName::parse("CN=Test Issuing CA").expect("a DN"),
        subject_alt_names: Vec::new(),
        spki_der: spki(key),
        not_before: now().minus(HOUR),
        not_after: now().plus(Duration::from_hours(365 * 24)),
        serial: SerialNumber::from_random([7; 20]),
        usage: Usage::Authority { path_len: None },
        status_sources: StatusSources::default(),
        extra_extensions: Vec::new(),
    };
    let to_be_signed = template.to_be_self_signed(ALGORITHM).expect("encodes");
    let signature = sign(key, to_be_signed.bytes());
    Certificate::parse(&to_be_signed.complete(&signature)).expect("decodes")
}

fn sign(key: &EcdsaKeyPair, bytes: &[u8]) -> Vec<u8> {
    key.sign(&SystemRandom::new(), bytes)
        .expect("signs")
        .as_ref()
        .to_vec()
}

fn key() -> EcdsaKeyPair {
    EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).expect("a key")
}

fn spki(key: &EcdsaKeyPair) -> Vec<u8> {
    let spki: PublicKeyX509Der<'_> = key.public_key().as_der().expect("encodes");
    spki.as_ref().to_vec()
}

const ALGORITHM: SignatureAlgorithm = SignatureAlgorithm::EcdsaP256Sha256;
