//! Who is who in these tests, and how the prober is asked.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use countersign_diagnose::cause::Cause;
use countersign_diagnose::doctor::Diagnosis;
use countersign_diagnose::doctor::question::{Question, Target};
use countersign_diagnose::doctor::target::{Known, TargetSeen, judge};
use countersign_pki::time::UnixTime;
use countersign_probe::server::{ClientIdentity, Limits, Prober, Wanted};
use countersign_testkit::pki::{Leaf, TestCa, TestIdentity};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyUsagePurpose};
use rustls_pki_types::PrivateKeyDer;
use tempfile::TempDir;
use zeroize::Zeroizing;

/// One CA, a server for `localhost`, a client, and their files.
pub(crate) struct World {
    pub(crate) ca: TestCa,
    pub(crate) server: TestIdentity,
    pub(crate) client: TestIdentity,
    folder: TempDir,
}

/// What is asked; starts with the client's own files.
pub(crate) struct Asked {
    pub(crate) wanted: Wanted,
    pub(crate) known: Known,
}

impl World {
    pub(crate) fn new() -> Self {
        let ca = TestCa::new("world");
        let server = ca.issue(Leaf::server(&["localhost"]));
        let client = ca.issue(Leaf::client("you"));
        let folder = tempfile::tempdir().expect("a temporary folder");
        server.write(folder.path(), "server");
        std::fs::write(folder.path().join("ca.pem"), ca.root_pem()).expect("writable");
        Self {
            ca,
            server,
            client,
            folder,
        }
    }

    pub(crate) fn at(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// As `doctor localhost:PORT --cert … --key … --ca …`.
    pub(crate) fn asks(&self, address: SocketAddr) -> Asked {
        self.asks_for(&format!("localhost:{}", address.port()))
    }

    pub(crate) fn asks_for(&self, target: &str) -> Asked {
        let anchors = vec![self.ca.root.der().to_vec()];
        Asked {
            wanted: Wanted {
                question: Question {
                    target: Some(Target::parse(target).expect("a target")),
                    ..Question::default()
                },
                identity: None,
                issuers: Vec::new(),
                anchors: anchors.clone(),
                now: now(),
                limits: Limits::default(),
            },
            known: Known {
                anchors,
                ..Known::default()
            },
        }
        .with_client(&self.client)
    }
}

impl Asked {
    /// With another client's certificate.
    pub(crate) fn with_client(mut self, client: &TestIdentity) -> Self {
        let chain: Vec<Vec<u8>> = client.chain.iter().map(|der| der.to_vec()).collect();
        self.known.client_chain.clone_from(&chain);
        self.wanted.identity = Some(ClientIdentity {
            chain,
            key: Zeroizing::new(client.key.secret_der().to_vec()),
        });
        self
    }

    /// Without a certificate.
    pub(crate) fn without_client(mut self) -> Self {
        self.known.client_chain.clear();
        self.wanted.identity = None;
        self
    }

    pub(crate) fn question(mut self, change: impl Fn(&mut Question)) -> Self {
        change(&mut self.wanted.question);
        self
    }

    pub(crate) async fn look(&self) -> (TargetSeen, Diagnosis) {
        let seen = Prober.look(&self.wanted).await;
        let diagnosis = judge(&seen, &self.wanted.question, &self.known, self.wanted.now);
        (seen, diagnosis)
    }

    /// Looks, and the first fault has to be this; `None`: none may be.
    pub(crate) async fn check(&self, expected: Option<Cause>) -> (TargetSeen, Diagnosis) {
        let (seen, diagnosis) = self.look().await;
        let found = diagnosis.findings.first().map(|finding| finding.cause);
        let is_right = match expected {
            Some(cause) => found == Some(cause) && !diagnosis.is_healthy(),
            None => diagnosis.is_healthy(),
        };
        assert!(
            is_right,
            "expected {expected:?}\n{diagnosis:#?}\n{}",
            told(&seen)
        );
        (seen, diagnosis)
    }
}

/// What was seen, a line each.
pub(crate) fn told(seen: &TargetSeen) -> String {
    let mut lines = vec![format!(
        "{} vouched {:?} took {:?} {:?}",
        seen.target, seen.vouched, seen.took, seen.left_out
    )];
    for attempt in &seen.attempts {
        let trial = &attempt.trial;
        lines.push(format!(
            "{:?} {:?} sni={:?} {:?} alpn={:?} {}-{} → {:?} finished={} sent={} asked={:?} {:?} at {:?} http={:?} other={} plain={:?} in {:?}",
            trial.speech,
            trial.preamble,
            trial.sni,
            trial.certificate,
            trial.alpn,
            trial.min,
            trial.max,
            attempt.hello,
            attempt.finished,
            attempt.sent_certificate,
            attempt.asked.as_ref().map(|asked| (asked.ca_names.len(), asked.schemes.len())),
            attempt.end,
            attempt.at,
            attempt.http.as_ref().map(|http| (http.status, &http.reason)),
            attempt.other_data,
            attempt.plaintext.escape_ascii().to_string(),
            attempt.took,
        ));
    }
    lines.join("\n")
}

pub(crate) fn now() -> UnixTime {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    UnixTime::from_seconds(since.expect("after 1970").as_secs())
}

pub(crate) fn copy(identity: &TestIdentity) -> TestIdentity {
    TestIdentity {
        chain: identity.chain.clone(),
        key: identity.key.clone_key(),
        key_pem: identity.key_pem.clone(),
    }
}

/// Below a second intermediate.
pub(crate) fn deep_client(ca: &TestCa) -> TestIdentity {
    let authority = |name: &str| {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.use_authority_key_identifier_extension = true;
        params
    };
    let key = countersign_testkit::pki::key;
    let upper = CertifiedIssuer::signed_by(authority("upper"), key(), &ca.root).expect("encodable");
    let lower = CertifiedIssuer::signed_by(authority("lower"), key(), &upper).expect("encodable");
    let leaf_key = key();
    let leaf = Leaf::client("you")
        .params
        .signed_by(&leaf_key, &lower)
        .expect("encodable");
    TestIdentity {
        chain: vec![leaf.der().clone(), lower.der().clone(), upper.der().clone()],
        key: PrivateKeyDer::try_from(leaf_key.serialize_der()).expect("PKCS#8"),
        key_pem: leaf_key.serialize_pem(),
    }
}
