//! A listener under test with everything around it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use countersign_pki::bundle::TrustBundle;
use countersign_pki::certificate::Certificate;
use countersign_pki::chain::{Limits, Verifier};
use countersign_pki::feed::{RevocationReason, Revoked};
use countersign_pki::identity::{BundleName, VerifiedPeer};
use countersign_pki::name::DnsName;
use countersign_pki::revocation::RevocationIndex;
use countersign_pki::spiffe::TrustDomain;
use countersign_pki::time::UnixTime;
use countersign_policy::access::{AccessPolicy, Allow, Route};
use countersign_runtime::clock::{ManualClock, SharedClock};
use countersign_testkit::pki::{Leaf, TestCa, TestIdentity};
use countersign_tls::acceptor::{Acceptor, Connection, HandshakeRefusal};
use countersign_tls::credentials::{Credentials, SharedCredentials};
use countersign_tls::enforcement::Enforcement;
use countersign_tls::scope::{Admits, ClientCertificate, OnRefusal, ScopeSettings};
use tokio::net::TcpListener;

pub(crate) type Outcome = Result<Connection, Box<HandshakeRefusal>>;

pub(crate) struct Site {
    pub(crate) ca: TestCa,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) enforcement: Enforcement,
    pub(crate) acceptor: Arc<Acceptor>,
    pub(crate) settings: ScopeSettings,
    pub(crate) credentials: SharedCredentials,
}

impl Site {
    /// Requires a certificate; serves `localhost` and nothing else.
    pub(crate) fn new() -> Self {
        Self::with(|_| {})
    }

    pub(crate) fn with(change: impl FnOnce(&mut ScopeSettings)) -> Self {
        let clock = Arc::new(ManualClock::new(now()));
        Self::with_clock(Arc::<ManualClock>::clone(&clock), clock, change)
    }

    /// `shared` is what the product sees of `clock`.
    pub(crate) fn with_clock(
        shared: SharedClock,
        clock: Arc<ManualClock>,
        change: impl FnOnce(&mut ScopeSettings),
    ) -> Self {
        let ca = TestCa::new("internal");
        let credentials = SharedCredentials::new(server_credentials(&ca));
        let mut settings = ScopeSettings {
            listener: "front".to_owned(),
            client_certificate: ClientCertificate::Require,
            verifier: Some(Arc::new(trusting(&ca))),
            narrowed: Vec::new(),
            policy: policy(&["localhost"]),
            admits: Admits::Requests,
            alpn: vec![b"h2".to_vec(), b"http/1.1".to_vec()],
            session_lifetime: Duration::from_hours(1),
            handshake_timeout: Duration::from_secs(10),
            on_refusal: OnRefusal::Alert,
            feed_life: None,
            shadow: None,
        };
        change(&mut settings);
        let enforcement = Enforcement::new(RevocationIndex::default(), shared);
        let acceptor = Acceptor::new(settings.clone(), credentials.clone(), enforcement.clone());
        Self {
            ca,
            clock,
            enforcement,
            acceptor,
            settings,
            credentials,
        }
    }

    pub(crate) fn client(&self, name: &str) -> TestIdentity {
        self.ca.issue(Leaf::client(name))
    }

    pub(crate) fn replace(&mut self, change: impl FnOnce(&mut ScopeSettings)) {
        change(&mut self.settings);
        self.acceptor
            .replace(self.settings.clone(), self.credentials.clone());
    }

    /// Accepts one connection at the address.
    pub(crate) async fn open(&self) -> (SocketAddr, tokio::task::JoinHandle<Outcome>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback");
        let address = listener.local_addr().expect("bound");
        let acceptor = Arc::clone(&self.acceptor);
        let accepting = tokio::spawn(async move {
            let (socket, source) = listener.accept().await.expect("a connection");
            socket.set_nodelay(true).expect("loopback");
            acceptor.accept(socket, source).await
        });
        (address, accepting)
    }

    pub(crate) async fn revoke(
        &self,
        identity: &TestIdentity,
    ) -> countersign_tls::enforcement::Effects {
        self.enforcement
            .revoke(vec![self.revocation(identity)])
            .await
    }

    pub(crate) fn revocation(&self, identity: &TestIdentity) -> Revoked {
        let leaf = Certificate::parse(&identity.chain[0]).expect("a certificate");
        let issuer = Certificate::parse(self.ca.intermediate.der()).expect("a certificate");
        Revoked {
            issuer_key: issuer.spki(),
            serial: leaf.serial(),
            reason: RevocationReason::KeyCompromise,
            revoked_at: UnixTime::from_seconds(now()),
        }
    }
}

pub(crate) fn server_credentials(ca: &TestCa) -> Credentials {
    let server = ca.issue(Leaf::server(&["localhost"]));
    Credentials::from_pem(server.chain_pem().as_bytes(), server.key_pem.as_bytes())
        .expect("good credentials")
}

pub(crate) fn trusting(ca: &TestCa) -> Verifier {
    let root = Certificate::parse(ca.root.der()).expect("a certificate");
    let domain = TrustDomain::parse("example.com").expect("a trust domain");
    let bundle = TrustBundle::new(
        BundleName::internal(),
        Some(domain),
        vec![root],
        UnixTime::from_seconds(now()),
    );
    let intermediate = Certificate::parse(ca.intermediate.der()).expect("a certificate");
    Verifier::new(vec![Arc::new(bundle.expect("a bundle"))], Limits::default())
        .expect("a verifier")
        .with_known_intermediates(vec![intermediate])
}

/// Trusts this one alone, as it stands.
pub(crate) fn anchored(anchor: &Certificate) -> Verifier {
    let bundle = TrustBundle::new(
        BundleName::internal(),
        None,
        vec![anchor.clone()],
        UnixTime::from_seconds(now()),
    );
    Verifier::new(vec![Arc::new(bundle.expect("a bundle"))], Limits::default()).expect("a verifier")
}

/// A route for each host that every verified client may use.
pub(crate) fn policy(hosts: &[&str]) -> Arc<AccessPolicy> {
    let route = |host: &&str| Route {
        label: format!("route {host}"),
        host: Some(DnsName::parse(host).expect("a name")),
        path: None,
        connect: Vec::new(),
        require_certificate: false,
        allow: vec![Allow::AnyTrusted],
        deny: Vec::new(),
    };
    Arc::new(AccessPolicy::new(hosts.iter().map(route).collect()).expect("a policy"))
}

pub(crate) fn name_of(peer: Option<&VerifiedPeer>) -> Option<String> {
    peer.map(|peer| peer.principal().to_string())
}

pub(crate) fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .expect("after 1970")
        .as_secs()
}
