//! Nothing but nodes and operators gets through a port that anchors on the operator issuer (invariant 12).

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use countersign_authority::authority::{Authority, IssueError, Issued};
use countersign_authority::config::AuthorityConfig;
use countersign_authority::init::init;
use countersign_authority::secret::Passphrase;
use countersign_pki::bundle::TrustBundle;
use countersign_pki::certificate::Certificate;
use countersign_pki::chain::{Limits, Verifier};
use countersign_pki::dn::DistinguishedName;
use countersign_pki::identity::BundleName;
use countersign_pki::name::DnsName;
use countersign_pki::pem;
use countersign_pki::revocation::RevocationIndex;
use countersign_pki::serial::SerialNumber;
use countersign_pki::tbs::{SignatureAlgorithm, StatusSources, Template, Usage};
use countersign_pki::time::UnixTime;
use countersign_policy::access::{AccessPolicy, Allow, Route};
use countersign_policy::issuance::{Actor, BuiltIn, Denied, IssuerRole, Request};
use countersign_runtime::clock::{ManualClock, SharedClock};
use countersign_tls::acceptor::Acceptor;
use countersign_tls::credentials::{Credentials, SharedCredentials};
use countersign_tls::enforcement::Enforcement;
use countersign_tls::scope::{Admits, ClientCertificate, OnRefusal, ScopeSettings};
use rcgen::{KeyPair, PublicKeyData as _, SigningKey as _};
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsConnector;

use crate::fixture::{ADMIN, Folder, client, options};

/// An authority born now, for real handshakes, and a port as the feed's and the admin API's are.
struct Port {
    authority: Arc<Authority>,
    acceptor: Arc<Acceptor>,
    /// What its clients trust: beside the node's certificate.
    trusted: RootCertStore,
    _folder: Folder,
}

/// Somebody with a chain and the key of its first certificate.
struct Holder {
    what: String,
    chain: Vec<CertificateDer<'static>>,
    key: KeyPair,
}

const PROFILES: &str = r#"
[profile.web]
like = "server"
dns_suffix = ["example.com"]

[profile.staff]
like = "person"

[profile.robot]
like = "client"
[[profile.robot.extension]]
oid = "1.3.6.1.4.1.32473.1"
utf8 = "operator"
"#;

impl Port {
    async fn new() -> Self {
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .expect("after 1970")
            .as_secs();
        let clock: SharedClock = Arc::new(ManualClock::new(now));
        let folder = Folder::new();
        let state = folder.state();
        let lock = state.lock().expect("locks");
        init(&state, &lock, options(), &clock).expect("initialises");
        let opened = Authority::open(state, lock, &Passphrase::StateFile, Arc::clone(&clock));
        let authority = opened.expect("opens");
        let config: AuthorityConfig = toml::from_str(PROFILES).expect("TOML");
        authority.replace_profiles(config.profiles().expect("good profiles"));

        let key = KeyPair::generate().expect("a key");
        let node = issue_as(Actor::Authority, &authority, "authority localhost", &key)
            .await
            .expect("issues");
        let credentials =
            Credentials::from_pem(node.chain_pem.as_bytes(), key.serialize_pem().as_bytes());
        let anchors = vec![authority.operator().clone()];
        let bundle = TrustBundle::new(
            BundleName::operators(),
            None,
            anchors,
            UnixTime::from_seconds(now),
        );
        let verifier = Verifier::new(vec![Arc::new(bundle.expect("a bundle"))], Limits::default());
        let route = Route {
            label: "everybody with a certificate".to_owned(),
            host: Some(DnsName::parse("localhost").expect("a name")),
            path: None,
            connect: Vec::new(),
            require_certificate: false,
            allow: vec![Allow::AnyTrusted],
            deny: Vec::new(),
        };
        let settings = ScopeSettings {
            listener: "feed".to_owned(),
            client_certificate: ClientCertificate::Require,
            verifier: Some(Arc::new(verifier.expect("a verifier"))),
            narrowed: Vec::new(),
            policy: Arc::new(AccessPolicy::new(vec![route]).expect("a policy")),
            admits: Admits::Requests,
            alpn: Vec::new(),
            session_lifetime: Duration::from_hours(1),
            handshake_timeout: Duration::from_secs(10),
            on_refusal: OnRefusal::Alert,
            feed_life: None,
            shadow: None,
        };
        let mut trusted = RootCertStore::empty();
        for certificate in ders(&node.ca_pem) {
            trusted.add(certificate).expect("an anchor");
        }
        let enforcement = Enforcement::new(RevocationIndex::default(), clock);
        Self {
            authority,
            acceptor: Acceptor::new(
                settings,
                SharedCredentials::new(credentials.expect("good")),
                enforcement,
            ),
            trusted,
            _folder: folder,
        }
    }

    async fn holder(&self, text: &str) -> Holder {
        let key = KeyPair::generate().expect("a key");
        // Nobody else may have such a one.
        let actor = if text.starts_with("authority ") {
            Actor::Authority
        } else {
            ADMIN
        };
        let issued = issue_as(actor, &self.authority, text, &key).await;
        let issued = issued.expect(text);
        Holder {
            what: text.to_owned(),
            chain: ders(&issued.chain_pem),
            key,
        }
    }

    /// Whom the port takes the holder for, if it lets it in.
    async fn meet(&self, holder: &Holder) -> Option<String> {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback");
        let address = listener.local_addr().expect("bound");
        let acceptor = Arc::clone(&self.acceptor);
        let accepting = tokio::spawn(async move {
            let (socket, source) = listener.accept().await.expect("a connection");
            let mut connection = acceptor.accept(socket, source).await.ok()?;
            let principal = connection.session.peer.as_ref()?.principal().to_string();
            connection
                .stream
                .write_all(b"ok")
                .await
                .expect("the client reads");
            connection.stream.flush().await.expect("the client reads");
            Some(principal)
        });
        let client = self.connect(holder, address).await;
        let accepted = accepting.await.expect("no panic");
        assert_eq!(
            client,
            accepted.is_some(),
            "{}: both sides say the same",
            holder.what
        );
        accepted
    }

    async fn connect(&self, holder: &Holder, address: SocketAddr) -> bool {
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(holder.key.serialize_der()));
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("the provider has suites")
            .with_root_certificates(self.trusted.clone())
            .with_client_auth_cert(holder.chain.clone(), key)
            .expect("a key");
        let tcp = TcpStream::connect(address).await.expect("the port listens");
        let name = ServerName::try_from("localhost").expect("a name");
        let connected = TlsConnector::from(Arc::new(config))
            .connect(name, tcp)
            .await;
        // The client judges the port by ca.pem first: that it goes wrong there would prove nothing.
        let Ok(mut stream) = connected else {
            let error = connected.expect_err("an error").to_string();
            assert!(
                error.contains("alert") || error.contains("eof") || error.contains("reset"),
                "{}: {error}",
                holder.what
            );
            return false;
        };
        let mut ok = [0; 2];
        stream.read_exact(&mut ok).await.is_ok() && &ok == b"ok"
    }

    fn above(&self) -> [Certificate; 3] {
        [
            self.authority.intermediate(),
            self.authority.operator(),
            self.authority.root(),
        ]
        .map(Clone::clone)
    }
}

async fn issue(
    authority: &Arc<Authority>,
    text: &str,
    key: &KeyPair,
) -> Result<Issued, IssueError> {
    issue_as(ADMIN, authority, text, key).await
}

async fn issue_as(
    actor: Actor,
    authority: &Arc<Authority>,
    text: &str,
    key: &KeyPair,
) -> Result<Issued, IssueError> {
    let mut words = text.split(' ');
    let request = Request {
        profile: words.next().expect("a profile").parse().expect("a profile"),
        subject_alt_names: Vec::new(),
        spki_der: key.subject_public_key_info(),
        ..client(words.next().expect("a name"))
    };
    let subject_alt_names = words.map(|word| word.parse().expect("a name")).collect();
    authority
        .issue(
            actor,
            Request {
                subject_alt_names,
                ..request
            },
        )
        .await
}

fn ders(text: &str) -> Vec<CertificateDer<'static>> {
    let blocks = pem::decode_all(text.as_bytes()).expect("PEM");
    blocks
        .into_iter()
        .map(|block| CertificateDer::from(block.der))
        .collect()
}

#[tokio::test]
async fn only_nodes_and_operators_get_through_a_port_of_the_operator_issuer() {
    let port = Port::new().await;
    for (text, expected) in [
        ("node gw-1", "cn:gw-1 (operators)"),
        ("node gw-2", "cn:gw-2 (operators)"),
        ("operator alice", "cn:alice (operators)"),
        (
            "operator bob email:bob@example.com",
            "email:bob@example.com (operators)",
        ),
    ] {
        let holder = port.holder(text).await;
        assert_eq!(
            port.meet(&holder).await.as_deref(),
            Some(expected),
            "{text}"
        );
    }
    let mut asked = vec![
        "client admin",
        "client operator dns:localhost email:alice@example.com uri:urn:operator",
        "client node spiffe://countersign.internal/operator",
        "device gw-1 uri:urn:node dns:gw-1.example.com",
        "person alice@example.com",
        "person alice email:bob@example.com",
        "peer localhost dns:gw-1.example.com",
        "peer authority",
        "workload operator dns:localhost",
        "workload node/gw-1",
        "staff alice@example.com",
        "robot gw-1",
        "intermediate Operators",
        "canary a.canary.invalid spiffe://countersign.internal/canary/operator",
        "canary-server a.canary.invalid",
        // From the same issuer, and for servers alone.
        "authority localhost",
    ];
    // A server's certificate says nothing about clients, but a port must not depend on that.
    asked.extend(["server localhost", "web api.example.com"]);
    let every_profile: BTreeMap<_, _> = port
        .authority
        .profiles()
        .iter()
        .map(|rules| (rules.profile().to_string(), rules.like()))
        // Nobody can ask for a responder's.
        .filter(|(_, like)| {
            !matches!(
                like,
                BuiltIn::Node | BuiltIn::OcspResponder | BuiltIn::Operator
            )
        })
        .collect();
    for profile in every_profile.keys() {
        assert!(
            asked
                .iter()
                .any(|text| text.split(' ').next() == Some(profile)),
            "{profile} is not tried"
        );
    }
    for text in asked {
        let mut holder = port.holder(text).await;
        let given = holder.chain.clone();
        assert_eq!(port.meet(&holder).await, None, "{text}");
        for above in port.above() {
            holder.chain = [given.clone(), vec![above.der().clone()]].concat();
            assert_eq!(
                port.meet(&holder).await,
                None,
                "{text} with {}",
                above.subject()
            );
        }
        holder.chain = [
            vec![given[0].clone()],
            port.above().map(|above| above.der().clone()).to_vec(),
        ]
        .concat();
        assert_eq!(port.meet(&holder).await, None, "{text} with everything");
    }
}

/// What the holder of a CA below the root can make.
fn minted(
    subject: &str,
    issuer: &Certificate,
    issuer_key: &KeyPair,
    usage: Usage,
) -> (Certificate, KeyPair) {
    let key = KeyPair::generate().expect("a key");
    let template = Template {
        subject: DistinguishedName::parse(subject).expect("a DN"),
        subject_alt_names: Vec::new(),
        spki_der: key.subject_public_key_info(),
        not_before: issuer.not_before(),
        not_after: issuer.not_after(),
        serial: SerialNumber::from_random([3; 20]),
        usage,
        status_sources: StatusSources::default(),
        extra_extensions: Vec::new(),
    };
    let to_be_signed = template
        .to_be_signed(issuer, SignatureAlgorithm::EcdsaP256Sha256)
        .expect("encodes");
    let signature = issuer_key.sign(to_be_signed.bytes()).expect("signs");
    (
        Certificate::parse(&to_be_signed.complete(&signature)).expect("a certificate"),
        key,
    )
}

#[tokio::test]
async fn ca_below_the_root_mints_nobody_who_gets_through() {
    let port = Port::new().await;
    let factory = port.holder("intermediate Factory").await;
    let factory_ca = Certificate::parse(&factory.chain[0]).expect("a certificate");
    assert!(factory_ca.is_ca() && factory_ca.path_len() == Some(0));
    let leaf = Usage::Leaf {
        server_auth: true,
        client_auth: true,
    };
    let operator = port.authority.operator().clone();
    let (node, node_key) = minted("CN=gw-1", &factory_ca, &factory.key, leaf.clone());
    // One that has the operator issuer's name, and one below that.
    let usage = Usage::Authority { path_len: None };
    let (false_issuer, false_key) = minted(
        &operator.subject().to_string(),
        &factory_ca,
        &factory.key,
        usage,
    );
    let (below, below_key) = minted("CN=gw-1", &false_issuer, &false_key, leaf);
    assert_eq!(below.issuer_der(), operator.subject_der());
    let cases = [
        (node.clone(), &node_key, vec![&factory_ca]),
        (
            node.clone(),
            &node_key,
            vec![&factory_ca, port.authority.root()],
        ),
        (node, &node_key, vec![&factory_ca, &operator]),
        (below.clone(), &below_key, vec![]),
        (below.clone(), &below_key, vec![&operator]),
        (
            below,
            &below_key,
            vec![&false_issuer, &factory_ca, port.authority.root()],
        ),
    ];
    for (at, (certificate, key, above)) in cases.into_iter().enumerate() {
        let above = above.into_iter().map(|ca| ca.der().clone());
        let holder = Holder {
            what: format!("case {at}"),
            chain: std::iter::once(certificate.der().clone())
                .chain(above)
                .collect(),
            key: KeyPair::from_pem(&key.serialize_pem()).expect("a key"),
        };
        assert_eq!(port.meet(&holder).await, None, "case {at}");
    }
}

#[tokio::test]
async fn files_of_a_node_hold_the_operator_issuer_and_not_the_root() {
    let port = Port::new().await;
    for (text, role) in [
        ("node gw-1", IssuerRole::Operator),
        ("operator alice", IssuerRole::Operator),
        ("client a", IssuerRole::Root),
        ("intermediate Factory", IssuerRole::Root),
    ] {
        let key = KeyPair::generate().expect("a key");
        let issued = issue(&port.authority, text, &key).await.expect(text);
        let trusted = match role {
            IssuerRole::Operator => port.authority.operator(),
            _ => port.authority.root(),
        };
        assert_eq!(ders(&issued.ca_pem), [trusted.der().clone()], "{text}");
        assert_eq!(
            ders(&issued.chain_pem)[0],
            *issued.certificate.der(),
            "{text}"
        );
        let length = if text.starts_with("client") { 2 } else { 1 };
        assert_eq!(ders(&issued.chain_pem).len(), length, "{text}");
    }
}

#[tokio::test]
async fn key_of_the_operator_issuer_sleeps_until_a_node_is_asked_for() {
    let folder = Folder::new();
    folder.init();
    let clock = Arc::new(ManualClock::new(crate::fixture::BORN));
    let authority = folder.open(&clock);
    let sealed = folder.path.join("ca/operator.key.sealed");
    std::fs::remove_file(&sealed).expect("removes");
    let key = || KeyPair::generate().expect("a key");
    issue(&authority, "client a", &key())
        .await
        .expect("leaves need no operator issuer");
    let refused = issue(&authority, "node a", &key())
        .await
        .expect_err("there is no key");
    assert!(matches!(refused, IssueError::NotReady(_)), "{refused}");
    // What is refused anyway wakes no key.
    let refused = authority.issue(
        Actor::Authority,
        Request {
            profile: "operator".parse().expect("a profile"),
            ..client("a")
        },
    );
    assert!(matches!(
        refused.await,
        Err(IssueError::Denied(Denied::NotPermitted { .. }))
    ));
    let passphrase = folder.path.join("ca/passphrase");
    std::fs::remove_file(passphrase).expect("removes");
    let refused = issue(&authority, "intermediate Factory", &key())
        .await
        .expect_err("there is no passphrase");
    assert!(matches!(refused, IssueError::NotReady(_)), "{refused}");
    let tally = authority.tally().await.expect("counts");
    assert_eq!(
        (tally.valid, tally.unknown),
        (1, 0),
        "what cannot be signed reserves no serial"
    );
}
