//! The admin API over real mutual TLS: who gets where, by certificate and by role (invariant 12).

mod foreign_pages;
mod on_record;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::http::{Method, Request};
use bytes::Bytes;
use countersign_authority::admin::port::replace_roles;
use countersign_authority::admin::{self, document};
use countersign_authority::authority::{Authority, Issued};
use countersign_authority::config::AuthorityConfig;
use countersign_authority::init::init;
use countersign_authority::reserved_port::{Opened, bind};
use countersign_authority::secret::Passphrase;
use countersign_pki::bundle::TrustBundle;
use countersign_pki::feed::{RevocationReason, Revoked};
use countersign_pki::identity::BundleName;
use countersign_pki::revocation::RevocationIndex;
use countersign_pki::time::UnixTime;
use countersign_policy::administration::Role;
use countersign_policy::issuance::{Actor, Request as Wish};
use countersign_runtime::clock::ManualClock;
use countersign_runtime::drain::{DrainTrigger, drain};
use countersign_store::audit::log::AuditLog;
use countersign_store::error::StoreError;
use countersign_testkit::bypass::Protocol;
use countersign_testkit::client::{Client, Outcome};
use countersign_testkit::pki::{Leaf, TestCa, TestIdentity};
use countersign_tls::credentials::{Credentials, SharedCredentials};
use countersign_tls::enforcement::Enforcement;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rcgen::{CertificateParams, CustomExtension, KeyPair, PublicKeyData as _};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
use serde_json::{Value, json};
use tokio::net::{TcpSocket, TcpStream};
use tokio_rustls::TlsConnector;

use crate::fixture::{ADMIN, Folder, client, options};
use crate::openapi::operations;

/// Alice, Ian, Olga and Vic have a role each; Nobody has none.
const ROLES: &str = r#"
[operator.alice]
role = "admin"
[operator.ian]
role = "issuer"
[operator.olga]
role = "operator"
[operator.vic]
role = "viewer"

[profile.staff]
like = "person"

[profile.robot]
like = "client"
[[profile.robot.extension]]
oid = "1.3.6.1.4.1.32473.1"
utf8 = "operator"
"#;

/// An authority born now, and its port.
pub(crate) struct Site {
    pub(crate) authority: Arc<Authority>,
    enforcement: Enforcement,
    pub(crate) clock: Arc<ManualClock>,
    address: SocketAddr,
    /// Dropped, it ends the port.
    _drain: DrainTrigger,
    pub(crate) folder: Folder,
}

/// Somebody with a certificate, as issued and as it is shown.
pub(crate) struct Holder {
    pub(crate) issued: Issued,
    pub(crate) identity: TestIdentity,
}

impl Site {
    pub(crate) async fn new() -> Self {
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .expect("after 1970")
            .as_secs();
        let clock = Arc::new(ManualClock::new(now));
        let folder = Folder::new();
        let state = folder.state();
        let lock = state.lock().expect("locks");
        let shared: countersign_runtime::clock::SharedClock = clock.clone();
        init(&state, &lock, options(), &shared).expect("initialises");
        let opened = Authority::open(state, lock, &Passphrase::StateFile, shared);
        let authority = opened.expect("opens");
        let enforcement = Enforcement::new(RevocationIndex::default(), clock.clone());

        let own = hold(&authority, Actor::Authority, "authority localhost").await;
        let credentials = Credentials::from_pem(
            own.issued.chain_pem.as_bytes(),
            own.identity.key_pem.as_bytes(),
        );
        let trust = TrustBundle::new(
            BundleName::operators(),
            None,
            vec![authority.operator().clone()],
            UnixTime::from_seconds(now),
        );
        let listener = bind(([127, 0, 0, 1], 0).into()).expect("loopback");
        let address = listener.local_addr().expect("bound");
        let (trigger, drain) = drain();
        let opened = Opened {
            authority: Arc::clone(&authority),
            trust: trust.expect("a bundle"),
            credentials: SharedCredentials::new(credentials.expect("good")),
            enforcement: enforcement.clone(),
            listener,
            turned_away: Box::new(drop),
        };
        tokio::spawn(admin::port::serve(opened, drain));
        let site = Self {
            authority,
            enforcement,
            clock,
            address,
            _drain: trigger,
            folder,
        };
        site.configure(ROLES).await;
        site
    }

    /// Puts a configuration in force, as a reload does. How many connections were cut.
    pub(crate) async fn configure(&self, toml: &str) -> u64 {
        let config: AuthorityConfig = toml::from_str(toml).expect("TOML");
        self.authority
            .replace_profiles(config.profiles().expect("good profiles"));
        let roles = config.roles().expect("good roles");
        let cut = replace_roles(&self.authority, &self.enforcement, roles);
        cut.await.connections_cut
    }

    /// `PROFILE NAME SAN…`, issued by root on the socket.
    pub(crate) async fn holder(&self, text: &str) -> Holder {
        hold(&self.authority, ADMIN, text).await
    }

    pub(crate) fn client(&self, identity: Option<&TestIdentity>) -> Client {
        let anchor = CertificateDer::from(self.authority.operator().der().to_vec());
        Client::new(&anchor, identity, Protocol::Http1Tls13, "localhost")
    }

    async fn ask(
        &self,
        identity: Option<&TestIdentity>,
        method: &Method,
        path: &str,
        body: &Value,
    ) -> Outcome {
        let asked = request(method, path, body);
        self.client(identity).request(self.address, asked).await
    }

    /// Any request, on a connection of its own.
    pub(crate) async fn request(
        &self,
        identity: &TestIdentity,
        request: Request<Full<Bytes>>,
    ) -> Outcome {
        self.client(Some(identity))
            .request(self.address, request)
            .await
    }

    /// The status and the body of an answer.
    pub(crate) async fn post(&self, holder: &Holder, path: &str, body: &Value) -> (u16, Value) {
        answer(
            &self
                .ask(Some(&holder.identity), &Method::POST, path, body)
                .await,
        )
    }

    pub(crate) async fn get(&self, holder: &Holder, path: &str) -> (u16, Value) {
        let identity = Some(&holder.identity);
        answer(&self.ask(identity, &Method::GET, path, &Value::Null).await)
    }

    /// Puts it in force, as whoever follows the feed does.
    async fn enforce_revoked(&self, holder: &Holder) -> u64 {
        let what = holder.issued.serial.to_string();
        let what = what.parse().expect("infallible");
        let reason = RevocationReason::KeyCompromise;
        self.authority
            .revoke(ADMIN, &what, reason, None)
            .await
            .expect("revokes");
        let revoked = Revoked {
            issuer_key: self.authority.operator().spki(),
            serial: holder.issued.serial,
            reason,
            revoked_at: UnixTime::from_seconds(0),
        };
        self.enforcement.revoke(vec![revoked]).await.connections_cut
    }

    pub(crate) fn audit(&self) -> Vec<Value> {
        let log = AuditLog::open(&self.folder.path.join("inventory.db")).expect("opens");
        let mut lines = Vec::new();
        log.lines(None, |line| {
            lines.push(serde_json::from_str(line).expect("JSON"));
            Ok::<(), StoreError>(())
        })
        .expect("reads");
        lines
    }
}

async fn hold(authority: &Arc<Authority>, actor: Actor, text: &str) -> Holder {
    let key = KeyPair::generate().expect("a key");
    let mut words = text.split(' ');
    let wish = Wish {
        profile: words.next().expect("a profile").parse().expect("a profile"),
        spki_der: key.subject_public_key_info(),
        ..client(words.next().expect("a name"))
    };
    let subject_alt_names = words.map(|word| word.parse().expect("a name")).collect();
    let wish = Wish {
        subject_alt_names,
        ..wish
    };
    let issued = authority.issue(actor, wish).await.expect(text);
    let identity = shown(&issued.chain_pem, &key);
    Holder { issued, identity }
}

fn shown(chain_pem: &str, key: &KeyPair) -> TestIdentity {
    let blocks = countersign_pki::pem::decode_all(chain_pem.as_bytes()).expect("PEM");
    TestIdentity {
        chain: blocks
            .into_iter()
            .map(|block| CertificateDer::from(block.der))
            .collect(),
        key: PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der())),
        key_pem: key.serialize_pem(),
    }
}

fn request(method: &Method, path: &str, body: &Value) -> Request<Full<Bytes>> {
    let body = match body {
        Value::Null => Full::default(),
        body => Full::from(body.to_string()),
    };
    Request::builder()
        .method(method)
        .uri(path)
        .header("host", "localhost")
        .header("content-type", "application/json")
        .body(body)
        .expect("a request")
}

#[track_caller]
pub(crate) fn answer(outcome: &Outcome) -> (u16, Value) {
    let status = outcome.status();
    let status = status.unwrap_or_else(|| panic!("an answer: {outcome:?}"));
    (
        status,
        serde_json::from_str(&outcome.text()).unwrap_or_default(),
    )
}

/// A connection that stays open.
struct Open {
    sender: http1::SendRequest<Full<Bytes>>,
}

impl Open {
    async fn of(site: &Site, holder: &Holder) -> Self {
        let client = site.client(Some(&holder.identity));
        let stream = client.connect(site.address).await.expect("connects");
        let (sender, connection) = http1::handshake(TokioIo::new(stream))
            .await
            .expect("HTTP/1.1");
        tokio::spawn(connection);
        Self { sender }
    }

    /// `None`: it is cut.
    async fn get(&mut self, path: &str) -> Option<u16> {
        let request = request(&Method::GET, path, &Value::Null);
        self.sender.ready().await.ok()?;
        let response = self.sender.send_request(request).await.ok()?;
        let status = response.status().as_u16();
        response.into_body().collect().await.ok()?;
        Some(status)
    }
}

const CERTIFICATE_REQUIRED: u8 = 116;
const UNKNOWN_CA: u8 = 48;
const CERTIFICATE_REVOKED: u8 = 44;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_route_is_reached_by_operators_of_its_role_and_by_nobody_else() {
    let site = Site::new().await;
    let mut outsiders: Vec<(&str, Option<TestIdentity>)> = vec![("nobody", None)];
    let stranger = TestCa::new("stranger").issue(Leaf::client("alice"));
    outsiders.push(("a stranger's CA", Some(stranger)));
    let elsewhere = Site::new().await.holder("operator alice").await;
    outsiders.push(("an operator of another authority", Some(elsewhere.identity)));
    for text in [
        "client alice uri:urn:operator",
        "device alice",
        "peer localhost",
        "workload alice",
        "person alice@example.com",
        "robot alice",
    ] {
        outsiders.push((text, Some(site.holder(text).await.identity)));
    }
    let (node, nobody) = (
        site.holder("node alice").await,
        site.holder("operator nobody").await,
    );
    let mut operators = Vec::new();
    for (name, role) in [
        ("vic", Role::Viewer),
        ("ian", Role::Issuer),
        ("olga", Role::Operator),
        ("alice", Role::Admin),
    ] {
        operators.push((site.holder(&format!("operator {name}")).await, name, role));
    }
    let operations = operations();
    assert!(operations.len() > 15);
    for (method, path, operation) in operations {
        let needed = operation["x-role"].as_str().expect("a role");
        let needed = Role::ALL.into_iter().find(|role| role.as_str() == needed);
        let needed = needed.expect("one of the four");
        let path = path.replace("{what}", "alice");
        let at = format!("{method} {path}");
        for (who, identity) in &outsiders {
            let outcome = site
                .ask(identity.as_ref(), &method, &path, &Value::Null)
                .await;
            let is_refused = matches!(outcome, Outcome::Alert(CERTIFICATE_REQUIRED | UNKNOWN_CA));
            assert!(is_refused, "{at} as {who}: {outcome:?}");
        }
        for (who, words) in [
            (&node, "a certificate of profile node"),
            (&nobody, "operator nobody has no role here"),
        ] {
            let identity = Some(&who.identity);
            let outcome = site.ask(identity, &method, &path, &Value::Null).await;
            assert_eq!(outcome.status(), Some(403), "{at}: {outcome:?}");
            assert!(outcome.text().contains(words), "{at}: {}", outcome.text());
        }
        for (operator, name, role) in &operators {
            let identity = Some(&operator.identity);
            let outcome = site.ask(identity, &method, &path, &Value::Null).await;
            let (status, said) = (outcome.status(), outcome.text());
            if *role >= needed {
                // What it lacks is a body, or what it names.
                assert!(
                    status.is_some_and(|status| status != 403 && status < 500),
                    "{at} as {role}: {status:?} {said}"
                );
            } else {
                assert_eq!(status, Some(403), "{at} as {role}: {said}");
                let why = format!("operator {name} is {role}, this needs {needed}");
                assert!(said.contains(&why), "{at}: {said}");
                assert!(said.contains("[authority.operator.NAME]"), "{at}: {said}");
            }
        }
    }
}

#[tokio::test]
async fn who_has_no_role_is_told_how_one_is_given_and_sees_nothing() {
    let site = Site::new().await;
    let nobody = site.holder("operator nobody").await;
    for path in ["/v1/status", "/v1/openapi.json", "/", "/v1/nowhere"] {
        let (status, problem) = site.get(&nobody, path).await;
        assert_eq!(status, 403, "{path}: {problem}");
        let hint = problem["hint"].as_str().expect("a hint");
        assert!(
            hint.contains("[authority.operator.nobody] role = "),
            "{hint}"
        );
    }
    let outcome = site
        .ask(
            Some(&nobody.identity),
            &Method::GET,
            "/v1/status",
            &Value::Null,
        )
        .await;
    let Outcome::Response { headers, .. } = outcome else {
        panic!("{outcome:?}");
    };
    assert_eq!(headers["content-type"], "application/problem+json");
}

#[tokio::test]
async fn what_belongs_to_a_process_and_its_gateway_is_not_there() {
    let site = Site::new().await;
    let alice = site.holder("operator alice").await;
    for (method, path) in [
        (Method::GET, "/v1/process"),
        (Method::GET, "/v1/gateway"),
        (Method::POST, "/v1/gateway/reload"),
        (Method::GET, "/v1/refusals?from=127.0.0.1"),
        (Method::GET, "/v1/refusals/7f3a9c-0k2m8x"),
        (Method::GET, "/v1/feed"),
        (Method::POST, "/v1/node/renew"),
        (Method::POST, "/v1/node/certificate"),
        (Method::GET, "/metrics"),
    ] {
        let outcome = site
            .ask(Some(&alice.identity), &method, path, &Value::Null)
            .await;
        assert_eq!(outcome.status(), Some(404), "{path}: {outcome:?}");
    }
}

/// A body that names a file would be read or written where the authority is, by whoever may call the route.
#[test]
fn no_request_names_a_file_of_the_authoritys_machine() {
    let schemas = &document()["components"]["schemas"];
    let mut fields = Vec::new();
    for (_, path, operation) in operations() {
        let parameters = operation["parameters"].as_array().into_iter().flatten();
        fields.extend(parameters.map(|it| (path.clone(), it["name"].clone())));
        let body = &operation["requestBody"]["content"]["application/json"]["schema"];
        let name = body["$ref"].as_str().unwrap_or_default();
        let name = name.trim_start_matches("#/components/schemas/");
        let properties = schemas[name]["properties"].as_object();
        let names = properties.into_iter().flat_map(|it| it.keys());
        fields.extend(names.map(|name| (path.clone(), json!(name))));
    }
    assert!(fields.len() > 30, "{fields:?}");
    for (path, name) in fields {
        let name = name.as_str().expect("a name");
        for word in ["path", "file", "folder", "dir", "target", "url", "out"] {
            assert!(
                !name.split('_').any(|part| part == word),
                "{path} takes {name}"
            );
        }
    }
}

fn issue(profile: &str, name: &str, key: &KeyPair) -> Value {
    let csr = CertificateParams::default()
        .serialize_request(key)
        .expect("a request")
        .pem()
        .expect("PEM");
    json!({ "profile": profile, "name": name, "csr": csr })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reserved_certificates_are_for_admins_however_they_are_asked_for() {
    let site = Site::new().await;
    let key = || KeyPair::generate().expect("a key");
    let (ian, olga, alice) = (
        site.holder("operator ian").await,
        site.holder("operator olga").await,
        site.holder("operator alice").await,
    );
    let csr = issue("", "", &key())["csr"].clone();
    for (who, name) in [(&ian, "ian"), (&olga, "olga")] {
        for profile in ["operator", "node", "intermediate", "authority", "canary"] {
            for (path, body) in [
                ("/v1/issue", issue(profile, name, &key())),
                ("/v1/issue", issue(profile, "alice", &key())),
                ("/v1/issue/preview", issue(profile, "alice", &key())),
            ] {
                let (status, problem) = site.post(who, path, &body).await;
                assert_eq!(status, 403, "{name} {profile}: {problem}");
                assert_eq!(problem["serial"], Value::Null);
            }
        }
        // The next certificate of an admin, under a key of its own.
        for what in [alice.issued.serial.to_string(), "cn:alice".to_owned()] {
            let body = json!({ "what": what, "csr": csr });
            let (status, problem) = site.post(who, "/v1/renew", &body).await;
            assert_eq!(status, 403, "{name}: {problem}");
        }
        let (status, issued) = site
            .post(who, "/v1/issue", &issue("client", "app", &key()))
            .await;
        assert_eq!(status, 200, "{name}: {issued}");
    }
    for profile in ["operator", "node", "intermediate"] {
        let body = issue(profile, "new", &key());
        let (status, issued) = site.post(&alice, "/v1/issue", &body).await;
        assert_eq!(status, 200, "{profile}: {issued}");
    }
    let (status, problem) = site
        .post(
            &alice,
            "/v1/issue",
            &issue("authority", "localhost", &key()),
        )
        .await;
    assert_eq!(status, 403, "nobody gets that: {problem}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_that_an_issuer_gets_reaches_the_admin_api() {
    let site = Site::new().await;
    let ian = site.holder("operator ian").await;
    let wishful = |key: &KeyPair| {
        let mut params = CertificateParams::default();
        params
            .distinguished_name
            .push(rcgen::DnType::CommonName, "alice");
        params
            .distinguished_name
            .push(rcgen::DnType::OrganizationalUnitName, "Operators");
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let value = b"\x0c\x08operator".to_vec();
        let extension = CustomExtension::from_oid_content(&[1, 3, 6, 1, 4, 1, 32473, 1], value);
        params.custom_extensions.push(extension);
        let request = params.serialize_request(key).expect("a request");
        request.pem().expect("PEM")
    };
    let mut got = 0;
    for (profile, name, sans) in [
        ("client", "alice", json!([])),
        (
            "client",
            "operator",
            json!([
                "email:alice@example.com",
                "uri:urn:operator",
                "dns:localhost"
            ]),
        ),
        (
            "client",
            "alice",
            json!(["spiffe://countersign.internal/operator/alice"]),
        ),
        ("device", "alice", json!([])),
        ("peer", "localhost", json!(["dns:admin.localhost"])),
        ("server", "localhost", json!([])),
        ("workload", "operator/alice", json!([])),
        ("person", "alice@example.com", json!([])),
        ("staff", "alice@example.com", json!([])),
        ("robot", "alice", json!([])),
    ] {
        for csr in [None, Some(wishful)] {
            let key = KeyPair::generate().expect("a key");
            let mut body = issue(profile, name, &key);
            body["sans"] = sans.clone();
            if let Some(csr) = csr {
                body["csr"] = json!(csr(&key));
            }
            let (status, issued) = site.post(&ian, "/v1/issue", &body).await;
            let Some(chain) = issued["chain_pem"].as_str() else {
                assert!(csr.is_some() && status == 422, "{body}: {issued}");
                continue;
            };
            got += 1;
            let own = shown(chain, &key);
            // With every CA certificate that there is behind it, too.
            let mut decorated = shown(chain, &key);
            let above = [site.authority.operator(), site.authority.root()];
            decorated
                .chain
                .extend(above.map(|ca| CertificateDer::from(ca.der().to_vec())));
            for identity in [own, decorated] {
                let outcome = site
                    .ask(Some(&identity), &Method::GET, "/v1/status", &Value::Null)
                    .await;
                assert!(matches!(outcome, Outcome::Alert(_)), "{body}: {outcome:?}");
            }
        }
    }
    assert!(got >= 10, "{got}");
}

#[tokio::test]
async fn hold_of_an_operator_or_a_node_is_ended_by_an_admin_alone() {
    let site = Site::new().await;
    let (olga, alice) = (
        site.holder("operator olga").await,
        site.holder("operator alice").await,
    );
    for text in ["operator bob", "node gw-1"] {
        let meant = site.holder(text).await.issued.serial.to_string();
        let hold = json!({ "what": meant, "reason": "certificate-hold" });
        // To shut somebody out needs no admin.
        assert_eq!(site.post(&olga, "/v1/revoke", &hold).await.0, 200);
        let (status, problem) = site
            .post(&olga, "/v1/release", &json!({ "what": meant }))
            .await;
        assert_eq!(status, 403, "{problem}");
        assert!(
            problem["hint"]
                .as_str()
                .is_some_and(|it| it.contains("admin"))
        );
        let all = json!({ "selection": { "profile": text.split(' ').next() } });
        assert_eq!(site.post(&olga, "/v1/release", &all).await.0, 403);
        let (status, receipt) = site
            .post(&alice, "/v1/release", &json!({ "what": meant }))
            .await;
        assert_eq!(status, 200, "{receipt}");
    }
    let app = site.holder("client app").await.issued.serial.to_string();
    let hold = json!({ "what": app, "reason": "certificate-hold" });
    assert_eq!(site.post(&olga, "/v1/revoke", &hold).await.0, 200);
    assert_eq!(
        site.post(&olga, "/v1/release", &json!({ "what": app }))
            .await
            .0,
        200
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_role_is_in_force_on_connections_that_are_open() {
    let site = Site::new().await;
    let (vic, olga) = (
        site.holder("operator vic").await,
        site.holder("operator olga").await,
    );
    let (mut open, mut others) = (Open::of(&site, &vic).await, Open::of(&site, &olga).await);
    let receipts = "/v1/receipts?first=1&last=1";
    assert_eq!(open.get("/v1/status").await, Some(200));
    assert_eq!(open.get(receipts).await, Some(403));
    assert_eq!(others.get(receipts).await, Some(200));
    // More: nobody is cut.
    let more = ROLES.replace("\"viewer\"", "\"operator\"");
    assert_eq!(site.configure(&more).await, 0);
    assert_eq!(open.get(receipts).await, Some(200));
    // Less: only the one who may less, and the next connection is judged by it.
    assert_eq!(site.configure(ROLES).await, 1);
    assert_eq!(open.get("/v1/status").await, None);
    assert_eq!(others.get(receipts).await, Some(200));
    let mut again = Open::of(&site, &vic).await;
    assert_eq!(again.get("/v1/status").await, Some(200));
    assert_eq!(again.get(receipts).await, Some(403));
    // Nothing: the certificate is as good as before.
    let without = ROLES.replace("[operator.vic]\nrole = \"viewer\"\n", "");
    assert_eq!(site.configure(&without).await, 1);
    assert_eq!(again.get("/v1/status").await, None);
    assert_eq!(site.get(&vic, "/v1/status").await.0, 403);
    assert_eq!(others.get(receipts).await, Some(200));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn revoked_and_expired_operators_are_out_at_once_wherever_they_are() {
    let site = Site::new().await;
    let (stolen, kept) = (
        site.holder("operator alice").await,
        site.holder("operator alice").await,
    );
    let (mut theirs, mut own) = (Open::of(&site, &stolen).await, Open::of(&site, &kept).await);
    assert_eq!(theirs.get("/v1/status").await, Some(200));
    assert_eq!(own.get("/v1/status").await, Some(200));
    assert_eq!(site.enforce_revoked(&stolen).await, 1);
    assert_eq!(theirs.get("/v1/status").await, None);
    let outcome = site
        .ask(
            Some(&stolen.identity),
            &Method::GET,
            "/v1/status",
            &Value::Null,
        )
        .await;
    assert!(
        matches!(outcome, Outcome::Alert(CERTIFICATE_REVOKED)),
        "{outcome:?}"
    );
    // The same name with another certificate goes on.
    assert_eq!(own.get("/v1/status").await, Some(200));

    site.clock.advance(Duration::from_hours(24 * 900));
    assert_eq!(site.enforcement.expire(), 1);
    assert_eq!(own.get("/v1/status").await, None);
    let outcome = site
        .ask(
            Some(&kept.identity),
            &Method::GET,
            "/v1/status",
            &Value::Null,
        )
        .await;
    assert!(matches!(outcome, Outcome::Alert(_)), "{outcome:?}");
}

#[tokio::test]
async fn records_name_the_operator_its_role_its_certificate_and_how_it_came() {
    let site = Site::new().await;
    let ian = site.holder("operator ian").await;
    let key = KeyPair::generate().expect("a key");
    let (status, _) = site
        .post(&ian, "/v1/issue", &issue("client", "app", &key))
        .await;
    assert_eq!(status, 200);
    let (status, _) = site
        .post(&ian, "/v1/revoke", &json!({ "what": "app" }))
        .await;
    assert_eq!(status, 403);
    let log = site.audit();
    let by = |action: &str| {
        let is_by = |line: &&Value| line["action"] == action && line["actor"]["kind"] == "operator";
        let found = log.iter().find(is_by);
        found
            .unwrap_or_else(|| panic!("{action} in {log:?}"))
            .clone()
    };
    for (action, object) in [("issue", None), ("refuse", Some("POST /v1/revoke"))] {
        let record = by(action);
        assert_eq!(record["actor"]["identity"]["name"], "cn:ian");
        assert_eq!(record["actor"]["identity"]["bundle"], "operators");
        assert_eq!(record["actor"]["role"], "issuer");
        let certificate = ian.issued.fingerprint.to_string();
        assert_eq!(record["actor"]["certificate"], certificate);
        assert_eq!(record["authenticated"], "mutual TLS");
        if let Some(object) = object {
            assert_eq!(record["object"], object);
        }
    }
    let (status, listed) = site
        .get(&ian, "/v1/certificates?issued_by=operator%3Aian")
        .await;
    assert_eq!(status, 200);
    assert_eq!(listed["certificates"][0]["name"], "cn:app", "{listed}");
}

#[tokio::test]
async fn operator_renews_its_own_certificate_whatever_its_role_and_no_other() {
    let site = Site::new().await;
    let vic = site.holder("operator vic").await;
    let key = KeyPair::generate().expect("a key");
    let csr = issue("", "", &key)["csr"].clone();
    let (status, issued) = site
        .post(&vic, "/v1/renew/own", &json!({ "csr": csr }))
        .await;
    assert_eq!(status, 200, "{issued}");
    assert_eq!(
        (&issued["profile"], &issued["names"]),
        (&json!("operator"), &json!(["cn:vic"]))
    );
    let next = shown(issued["chain_pem"].as_str().expect("a chain"), &key);
    let outcome = site
        .ask(Some(&next), &Method::GET, "/v1/status", &Value::Null)
        .await;
    assert_eq!(outcome.status(), Some(200), "{outcome:?}");
    let named = json!({ "csr": csr, "what": "cn:alice" });
    assert_eq!(site.post(&vic, "/v1/renew/own", &named).await.0, 422);
    assert_eq!(
        site.post(&vic, "/v1/renew", &json!({ "what": "cn:vic", "csr": csr }))
            .await
            .0,
        403
    );
}

#[tokio::test]
async fn operator_gets_no_more_of_its_own_certificates_than_it_can_use() {
    let site = Site::new().await;
    let (vic, alice) = (
        site.holder("operator vic").await,
        site.holder("operator alice").await,
    );
    let csr = issue("", "", &KeyPair::generate().expect("a key"))["csr"].clone();
    let asked = json!({ "csr": csr });
    let mut got = 0;
    while site.post(&vic, "/v1/renew/own", &asked).await.0 == 200 {
        got += 1;
        assert!(got <= 33, "32, and one if a minute has passed");
    }
    assert!(got >= 32);
    assert_eq!(site.post(&vic, "/v1/renew/own", &asked).await.0, 429);
    let key = KeyPair::generate().expect("a key");
    let asked = json!({ "csr": issue("", "", &key)["csr"] });
    assert_eq!(site.post(&alice, "/v1/renew/own", &asked).await.0, 200);
}

#[tokio::test]
async fn whoever_is_refused_is_told_so_once_and_keeps_no_connection() {
    let site = Site::new().await;
    for name in ["node gw-1", "operator nobody"] {
        let refused = site.holder(name).await;
        let mut connection = Open::of(&site, &refused).await;
        assert_eq!(connection.get("/v1/status").await, Some(403), "{name}");
        let again = connection.get("/v1/status").await;
        // An operator without a role may be given one, on the connection that it has.
        let keeps = (name == "operator nobody").then_some(403);
        assert_eq!(again, keeps, "{name}");
    }
}

#[tokio::test]
async fn strangers_of_one_source_leave_the_port_to_those_who_come_from_elsewhere() {
    let site = Site::new().await;
    let alice = site.holder("operator alice").await;
    let client = site.client(Some(&alice.identity));
    let from = async |source: [u8; 4]| {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.bind((source, 0).into()).expect("loopback");
        let stream = socket.connect(site.address).await.expect("accepted");
        let name = ServerName::try_from("localhost").expect("a name");
        let tls = TlsConnector::from(client.config()).connect(name, stream);
        let (mut sender, connection) =
            http1::handshake(TokioIo::new(tls.await.ok()?)).await.ok()?;
        tokio::spawn(connection);
        let asked = request(&Method::GET, "/v1/status", &Value::Null);
        let answer = sender.send_request(asked).await.ok()?;
        Some(answer.status().as_u16())
    };
    let (here, elsewhere) = ([127, 0, 0, 1], [127, 0, 0, 2]);
    // A sixteenth of half of the port's 1024 connections, none of which says anything.
    let mut silent = Vec::new();
    for _ in 0..31 {
        silent.push(TcpStream::connect(site.address).await.expect("accepted"));
    }
    assert_eq!(from(here).await, Some(200), "one may still begin");
    silent.push(TcpStream::connect(site.address).await.expect("accepted"));
    assert_eq!(from(here).await, None, "32 have begun and not ended");
    assert_eq!(from(elsewhere).await, Some(200));
}

#[tokio::test]
async fn key_of_a_request_is_its_operators_whatever_role_it_has_meanwhile() {
    let site = Site::new().await;
    let (ian, olga) = (
        site.holder("operator ian").await,
        site.holder("operator olga").await,
    );
    let body = issue("client", "app", &KeyPair::generate().expect("a key"));
    let ask = async |who: &Holder| {
        let mut asked = request(&Method::POST, "/v1/issue", &body);
        let key = "k".parse().expect("a value");
        asked.headers_mut().insert("idempotency-key", key);
        let client = site.client(Some(&who.identity));
        answer(&client.request(site.address, asked).await)
    };
    let (status, first) = ask(&ian).await;
    assert_eq!(status, 200, "{first}");
    site.configure(&ROLES.replace("\"issuer\"", "\"operator\""))
        .await;
    assert_eq!(ask(&ian).await.1["serial"], first["serial"]);
    assert_ne!(ask(&olga).await.1["serial"], first["serial"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_operator_cannot_have_every_connection() {
    let site = Site::new().await;
    let (vic, alice) = (
        site.holder("operator vic").await,
        site.holder("operator alice").await,
    );
    let mut open = Vec::new();
    for _ in 0..64 {
        let mut connection = Open::of(&site, &vic).await;
        assert_eq!(connection.get("/v1/status").await, Some(200));
        open.push(connection);
    }
    let (status, problem) = site.get(&vic, "/v1/status").await;
    assert_eq!(status, 429, "{problem}");
    assert_eq!(site.get(&alice, "/v1/status").await.0, 200);
    let large = json!({ "csr": "x".repeat(300 * 1024) });
    assert_eq!(site.post(&alice, "/v1/renew/own", &large).await.0, 413);
}

#[tokio::test]
async fn older_tls_is_told_what_it_lacks() {
    let site = Site::new().await;
    let alice = site.holder("operator alice").await;
    let anchor = CertificateDer::from(site.authority.operator().der().to_vec());
    let old = Client::new(
        &anchor,
        Some(&alice.identity),
        Protocol::Http1Tls12,
        "localhost",
    );
    let asked = request(&Method::GET, "/v1/status", &Value::Null);
    let outcome = old.request(site.address, asked).await;
    assert_eq!(outcome.status(), Some(426), "{outcome:?}");
}

#[test]
fn names_and_roles_that_nobody_can_have_are_named() {
    let check = |toml: &str, words: &str| {
        let parsed = toml::from_str::<AuthorityConfig>(toml);
        let said = match parsed {
            Err(error) => error.to_string(),
            Ok(config) => {
                let error = config.roles().expect_err(toml);
                format!("{} {}", error.place, error.why)
            }
        };
        assert!(said.contains(words), "{toml}: {said}");
    };
    check("[operator.\"\"]\nrole = \"viewer\"", "authority.operator.");
    check(
        "[operator.\"a\\u0000b\"]\nrole = \"viewer\"",
        "authority.operator.",
    );
    check(
        "[operator.alice]\nrole = \"root\"",
        "unknown variant `root`",
    );
    check("[operator.alice]", "missing field `role`");
    check(
        "[operator.alice]\nrole = \"viewer\"\nnames = []",
        "unknown field",
    );
    check("[admin]\nnames = []", "missing field `address`");
}
