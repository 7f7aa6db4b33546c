//! A gateway with one worker on a free port, its PKI and its clients.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use countersign_pki::bundle::TrustBundle;
use countersign_pki::certificate::Certificate;
use countersign_pki::feed::{RevocationReason, Revoked};
use countersign_pki::identity::BundleName;
use countersign_pki::revocation::RevocationIndex;
use countersign_pki::time::UnixTime;
use countersign_proxy::config::GatewayConfig;
use countersign_proxy::gateway::{Context, Gateway, GatewayHandle, RunningGateway};
use countersign_proxy::metrics::Metrics;
use countersign_proxy::plan::{Bounds, GatewayPlan};
use countersign_proxy::refusals::{Query, RefusalLog, RefusalWriter, StoredRefusal, search};
use countersign_runtime::clock::{Clock, SharedClock, SystemClock};
use countersign_runtime::config::ConfigError;
use countersign_runtime::drain::{DrainTrigger, drain};
use countersign_runtime::readiness::Readiness;
use countersign_testkit::bypass::Protocol;
use countersign_testkit::client::{Client, Outcome};
use countersign_testkit::pki::{Leaf, TestCa, TestIdentity};
use countersign_tls::credentials::{Credentials, SharedCredentials};
use countersign_tls::enforcement::Enforcement;
use http::Request;
use http_body_util::Full;
use serde::Deserialize;
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

pub(crate) const PROTOCOLS: [Protocol; 3] = [
    Protocol::Http1Tls12,
    Protocol::Http1Tls13,
    Protocol::Http2Tls13,
];

/// The name that the server's certificate and most requests bear.
pub(crate) const HOST: &str = "api.example.com";

pub(crate) struct Harness {
    pub(crate) ca: TestCa,
    pub(crate) client: TestIdentity,
    pub(crate) enforcement: Enforcement,
    pub(crate) handle: GatewayHandle,
    pub(crate) log: RefusalLog,
    pub(crate) server: TestIdentity,
    folder: tempfile::TempDir,
    bundles: BTreeMap<BundleName, Arc<TrustBundle>>,
    own: SharedCredentials,
    trigger: Option<DrainTrigger>,
    running: Option<RunningGateway>,
    _writer: RefusalWriter,
}

#[derive(Deserialize)]
struct File {
    gateway: GatewayConfig,
}

impl Harness {
    /// A listener with these keys and one route with those.
    pub(crate) fn start(listener: &str, route: &str) -> Self {
        Self::start_within(listener, route, |_| ())
    }

    /// With bounds that a test can wait for.
    pub(crate) fn start_within(
        listener: &str,
        route: &str,
        change: impl FnOnce(&mut Bounds),
    ) -> Self {
        Self::start_as(&with_route(listener, route), &[], change)
    }

    /// A listener with these keys and no route.
    pub(crate) fn bytes(listener: &str) -> Self {
        Self::start_as(listener, &[], |_| ())
    }

    /// The same with bounds that a test can wait for.
    pub(crate) fn bytes_within(listener: &str, change: impl FnOnce(&mut Bounds)) -> Self {
        Self::start_as(listener, &[], change)
    }

    /// The whole of a listener; the CA of `inner` is the trust bundle of that name.
    pub(crate) fn before(inner: &Self, listener: &str) -> Self {
        Self::start_as(listener, &[("inner", &inner.ca)], |_| ())
    }

    fn start_as(
        listener: &str,
        others: &[(&str, &TestCa)],
        change: impl FnOnce(&mut Bounds),
    ) -> Self {
        let ca = TestCa::new("test");
        let client = ca.issue(
            Leaf::client("order-service")
                .uri("spiffe://example.com/order-service")
                .dns("orders.example.com"),
        );
        let server = ca.issue(Leaf::server(&[HOST, "other.example.com"]));
        let credentials =
            Credentials::from_pem(server.chain_pem().as_bytes(), server.key_pem.as_bytes());
        let own = SharedCredentials::new(credentials.expect("good credentials"));
        let clock: SharedClock = Arc::new(SystemClock);
        let bundle = TrustBundle::new(
            BundleName::internal(),
            Some("example.com".parse().expect("a trust domain")),
            vec![Certificate::parse(ca.root.der()).expect("a root")],
            UnixTime::from_seconds(SystemClock.unix_seconds()),
        );
        let mut bundles =
            BTreeMap::from([(BundleName::internal(), Arc::new(bundle.expect("a bundle")))]);
        for (name, other) in others {
            let name = BundleName::parse(name).expect("a name");
            let root = Certificate::parse(other.root.der()).expect("a root");
            let domain = "inner.example".parse().expect("a trust domain");
            let now = UnixTime::from_seconds(SystemClock.unix_seconds());
            let bundle = TrustBundle::new(name.clone(), Some(domain), vec![root], now);
            bundles.insert(name, Arc::new(bundle.expect("a bundle")));
        }
        let folder = tempfile::tempdir().expect("a folder");
        let node = "7f3a9c".parse().expect("a node id");
        let (log, writer) =
            RefusalLog::open(folder.path(), 1 << 20, node, Arc::clone(&clock)).expect("opens");
        let enforcement = Enforcement::new(RevocationIndex::default(), Arc::clone(&clock));
        let (trigger, drain) = drain();
        let context = Context {
            enforcement: enforcement.clone(),
            clock,
            refusals: log.clone(),
            metrics: Metrics::new("0.1.0"),
            drain,
            readiness: Readiness::new(),
            decisions: None,
            break_glass: None,
        };
        let plan = plan(listener, &bundles, &own).with_bounds(change);
        let running = Gateway::start(plan, context).expect("starts");
        Self {
            ca,
            client,
            enforcement,
            server,
            handle: running.handle(),
            log,
            folder,
            bundles,
            own,
            trigger: Some(trigger),
            running: Some(running),
            _writer: writer,
        }
    }

    pub(crate) fn plan(&self, listener: &str, route: &str) -> GatewayPlan {
        plan(&with_route(listener, route), &self.bundles, &self.own)
    }

    pub(crate) fn bytes_plan(&self, listener: &str) -> GatewayPlan {
        plan(listener, &self.bundles, &self.own)
    }

    /// Why there is no plan for a listener with these keys.
    pub(crate) fn refused_plan(&self, listener: &str) -> ConfigError {
        let built = build(listener, &self.bundles, &self.own);
        built
            .err()
            .unwrap_or_else(|| panic!("accepted: {listener}"))
    }

    pub(crate) async fn revoke(&self, identity: &TestIdentity) {
        self.revoke_of(&self.ca, &identity.chain[0]).await;
    }

    /// What another CA has issued.
    pub(crate) async fn revoke_of(&self, ca: &TestCa, leaf: &[u8]) {
        let leaf = Certificate::parse(leaf).expect("a certificate");
        let issuer = Certificate::parse(ca.intermediate.der()).expect("a certificate");
        let revoked = Revoked {
            issuer_key: issuer.spki(),
            serial: leaf.serial(),
            reason: RevocationReason::KeyCompromise,
            revoked_at: UnixTime::from_seconds(SystemClock.unix_seconds()),
        };
        self.enforcement.revoke(vec![revoked]).await;
    }

    /// The same anchors, trusted for another trust domain.
    pub(crate) fn plan_for_domain(&self, domain: &str, route: &str) -> GatewayPlan {
        let bundle = TrustBundle::new(
            BundleName::internal(),
            Some(domain.parse().expect("a trust domain")),
            vec![Certificate::parse(self.ca.root.der()).expect("a root")],
            UnixTime::from_seconds(SystemClock.unix_seconds()),
        );
        let bundle = Arc::new(bundle.expect("a bundle"));
        let bundles = BTreeMap::from([(BundleName::internal(), bundle)]);
        plan(&with_route("", route), &bundles, &self.own)
    }

    pub(crate) fn address(&self) -> std::net::SocketAddr {
        self.handle.addresses()[0]
    }

    pub(crate) fn client(&self, protocol: Protocol) -> Client {
        Client::new(self.ca.root.der(), Some(&self.client), protocol, HOST)
    }

    pub(crate) fn anonymous(&self, protocol: Protocol) -> Client {
        Client::new(self.ca.root.der(), None, protocol, HOST)
    }

    pub(crate) async fn connect(&self) -> TlsStream<TcpStream> {
        self.client(Protocol::Http1Tls13)
            .connect(self.address())
            .await
            .expect("a connection")
    }

    pub(crate) async fn get(&self, protocol: Protocol, path: &str) -> Outcome {
        self.client(protocol)
            .request(self.address(), get(protocol, path))
            .await
    }

    /// The one refusal under the id that a client was told.
    pub(crate) fn explained(&self, outcome: &Outcome) -> StoredRefusal {
        let problem: serde_json::Value =
            serde_json::from_str(&outcome.text()).unwrap_or_else(|_| panic!("{outcome:?}"));
        let id = problem["refusal_id"]
            .as_str()
            .unwrap_or_else(|| panic!("{problem}"));
        self.log.settle();
        let query = Query::Id(id.parse().expect("an id"));
        search(self.folder.path(), &query)
            .expect("readable")
            .pop()
            .expect("kept")
    }

    /// Where refusals are kept.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Every refusal so far.
    pub(crate) fn refusals(&self) -> Vec<StoredRefusal> {
        self.log.settle();
        let query = Query::From {
            address: [127, 0, 0, 1].into(),
            since: UnixTime::from_seconds(0),
        };
        search(self.folder.path(), &query).expect("readable")
    }

    /// Drains, and waits for the workers.
    pub(crate) async fn stop(&mut self, limit: Duration) -> bool {
        let drained = self.trigger.take().expect("once").drain(limit).await;
        let running = self.running.take().expect("once");
        tokio::task::spawn_blocking(|| running.join())
            .await
            .expect("no panic")
            .expect("no panic");
        drained.finished
    }
}

fn with_route(listener: &str, route: &str) -> String {
    format!("{listener}\n[[gateway.listener.route]]\n{route}\n")
}

fn plan(
    listener: &str,
    bundles: &BTreeMap<BundleName, Arc<TrustBundle>>,
    own: &SharedCredentials,
) -> GatewayPlan {
    build(listener, bundles, own).unwrap_or_else(|error| panic!("{error}\n{listener}"))
}

fn build(
    listener: &str,
    bundles: &BTreeMap<BundleName, Arc<TrustBundle>>,
    own: &SharedCredentials,
) -> Result<GatewayPlan, ConfigError> {
    let text = format!(
        "[gateway]\nworkers = 1\n[[gateway.listener]]\naddress = \"127.0.0.1:0\"\n{listener}"
    );
    let file: File = toml::from_str(&text).unwrap_or_else(|error| panic!("{error}\n{text}"));
    let read = |path: &Path| std::fs::read(path);
    file.gateway
        .build(bundles, Vec::new(), Some(own.clone()), read)
}

/// `upstream = …` for a route.
pub(crate) fn to(address: std::net::SocketAddr) -> String {
    format!("upstream = \"http://{address}\"\nallow = [\"any-trusted\"]\n")
}

pub(crate) fn get(protocol: Protocol, path: &str) -> Request<Full<Bytes>> {
    request(protocol, HOST, path)
        .body(Full::default())
        .expect("a request")
}

pub(crate) fn request(protocol: Protocol, host: &str, path: &str) -> http::request::Builder {
    match protocol {
        Protocol::Http2Tls13 => Request::builder().uri(format!("https://{host}{path}")),
        _ => Request::builder().uri(path).header("host", host),
    }
}
