//! The bypass suite: every cell of the table in `countersign_testkit::bypass` against the real binary. Each test shows
//! the refusal, its cause in the log, the metric and `explain`, and that no byte reached the upstream.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use countersign_diagnose::cause::Cause;
use countersign_testkit::bypass::{Attack, Expected, Mode, Protocol, expected};
use countersign_testkit::client::{Client, Outcome};
use countersign_testkit::pki::{Leaf, TestCa, TestIdentity};
use countersign_testkit::process::{Process, run_ok};
use countersign_testkit::upstream::Upstream;
use http::Request;
use http_body_util::Full;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const BINARY: &str = env!("CARGO_BIN_EXE_countersign");
/// Served, and in the gateway's certificate.
const HOST: &str = "api.test";
/// What tunnels are asked for; there is no such host.
const TUNNEL: &str = "db.test:5432";

#[tokio::test]
async fn no_certificate_is_refused_or_anonymous_and_refused() {
    check(Attack::NoCertificate).await;
}

#[tokio::test]
async fn expired_certificate_is_refused() {
    check(Attack::Expired).await;
}

#[tokio::test]
async fn not_yet_valid_certificate_is_refused() {
    check(Attack::NotYetValid).await;
}

#[tokio::test]
async fn certificate_of_an_unknown_ca_is_refused() {
    check(Attack::UnknownCa).await;
}

#[tokio::test]
async fn certificate_of_a_ca_that_copies_the_name_is_refused() {
    check(Attack::SameNameCa).await;
}

#[tokio::test]
async fn chain_without_its_intermediate_is_refused() {
    check(Attack::MissingIntermediate).await;
}

#[tokio::test]
async fn server_certificate_as_client_is_refused() {
    check(Attack::WrongEku).await;
}

#[tokio::test]
async fn revoked_certificate_is_refused() {
    check(Attack::Revoked).await;
}

#[tokio::test]
async fn overlong_chain_is_refused() {
    check(Attack::OverlongChain).await;
}

#[tokio::test]
async fn huge_name_is_refused() {
    check(Attack::HugeName).await;
}

#[tokio::test]
async fn nul_in_a_name_is_refused() {
    check(Attack::NulInSan).await;
}

#[tokio::test]
async fn two_spiffe_ids_are_refused() {
    check(Attack::TwoSpiffeIds).await;
}

#[tokio::test]
async fn ca_certificate_as_leaf_is_refused() {
    check(Attack::CaAsLeaf).await;
}

#[tokio::test]
async fn certificate_without_its_key_is_refused() {
    check(Attack::StolenCertificate).await;
}

#[tokio::test]
async fn client_that_no_rule_admits_is_refused() {
    check(Attack::NotAllowed).await;
}

#[tokio::test]
async fn partners_certificate_with_an_internal_name_is_refused() {
    check(Attack::PartnerWithInternalName).await;
}

#[tokio::test]
async fn session_of_a_listener_without_certificates_is_worth_nothing_at_another() {
    check(Attack::SessionOfAnotherListener).await;
}

#[tokio::test]
async fn plain_http_is_refused() {
    check(Attack::PlainHttp).await;
}

#[tokio::test]
async fn tls_1_1_is_refused() {
    check(Attack::Tls11).await;
}

#[tokio::test]
async fn garbage_is_refused() {
    check(Attack::Garbage).await;
}

#[tokio::test]
async fn slowloris_handshake_is_ended() {
    check(Attack::Slowloris).await;
}

#[tokio::test]
async fn sni_of_one_host_and_request_for_another_is_misdirected() {
    check(Attack::SniIsNotHost).await;
}

#[tokio::test]
async fn unknown_sni_is_refused() {
    check(Attack::UnknownSni).await;
}

#[tokio::test]
async fn two_hosts_are_refused() {
    check(Attack::TwoHosts).await;
}

#[tokio::test]
async fn ambiguous_path_is_refused() {
    check(Attack::AmbiguousPath).await;
}

#[tokio::test]
async fn connect_is_refused() {
    check(Attack::Connect).await;
}

#[tokio::test]
async fn connect_for_what_no_route_names_is_refused() {
    check(Attack::ConnectElsewhere).await;
    check(Attack::ConnectOtherPort).await;
}

#[tokio::test]
async fn connect_that_says_two_things_is_refused() {
    check(Attack::ConnectForgedHost).await;
    check(Attack::ConnectWithBody).await;
}

#[tokio::test]
async fn request_behind_a_refused_connect_never_becomes_one() {
    check(Attack::ConnectHidesRequest).await;
}

#[tokio::test]
async fn connect_of_whom_no_rule_admits_is_refused() {
    check(Attack::ConnectNotAllowed).await;
    check(Attack::ConnectPartnerWithInternalName).await;
}

#[tokio::test]
async fn connect_without_a_certificate_or_with_a_revoked_one_is_refused() {
    check(Attack::ConnectNoCertificate).await;
    check(Attack::ConnectRevoked).await;
}

#[tokio::test]
async fn request_to_a_tunnel_is_refused() {
    check(Attack::RequestToTunnel).await;
}

#[tokio::test]
async fn the_good_client_of_the_suite_gets_a_tunnel_in_every_mode() {
    let gateway = Gateway::start();
    for mode in Mode::ALL {
        for protocol in [Protocol::Http1Tls12, Protocol::Http1Tls13] {
            let before = gateway.upstream.received_text().len();
            // The service at its other end answers HTTP, whatever is said there of who asks.
            let asked = format!(
                "CONNECT {TUNNEL} HTTP/1.1\r\nHost: {TUNNEL}\r\nAuthorization: Bearer secret\r\n\r\n\
                 GET /inside HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n\r\n"
            );
            let client = gateway.client(Some(&gateway.good), protocol, HOST);
            let address = gateway.tunnels(mode);
            let mut stream = client.connect(address).await.expect("admitted");
            stream.write_all(asked.as_bytes()).await.expect("open");
            let mut heard = String::new();
            // Of the gateway, and of the service.
            while heard.matches("HTTP/1.1 200 ").count() < 2 {
                let mut bytes = [0; 1024];
                let read = tokio::time::timeout(HANG, stream.read(&mut bytes)).await;
                let count = read.expect("in time").expect("open");
                assert_ne!(count, 0, "{mode:?} {heard}");
                heard += &String::from_utf8_lossy(&bytes[..count]);
            }
            let received = gateway.upstream.received_text().split_off(before);
            assert!(received.starts_with("GET /inside "), "{received}");
            assert!(!received.contains("secret"), "{received}");
        }
    }
}

#[tokio::test]
async fn the_good_client_of_the_suite_is_admitted_in_every_mode_and_protocol() {
    let gateway = Gateway::start();
    for (mode, protocol) in cells() {
        let client = gateway.client(Some(&gateway.good), protocol, HOST);
        let address = gateway.address_for(mode, protocol);
        // The service behind the bytes answers HTTP, and any protocol but HTTP/2 asks for it so here.
        let outcome = client.request(address, get(protocol, HOST, "/")).await;
        assert_eq!(
            outcome.status(),
            Some(200),
            "{mode:?} {protocol:?}: {outcome:?}"
        );
    }
    assert!(!gateway.upstream.received().is_empty());
}

#[tokio::test]
async fn client_hello_split_at_every_byte_gives_the_unsplit_result() {
    let gateway = Gateway::start();
    for protocol in Protocol::HTTP {
        let mut good = ManualHandshake::new(&gateway, protocol, Some(&gateway.good));
        let length = good.first_flight().len();
        // Every byte of both ends of the message, where the framing is, and every 16th in between.
        for at in (1..length).filter(|at| *at < 64 || *at > length - 64 || at % 16 == 0) {
            let mut attempt = ManualHandshake::new(&gateway, protocol, Some(&gateway.good));
            assert!(
                attempt.admitted_when_split(at, Split::Segments),
                "{protocol:?} split at {at}"
            );
        }
        // A fragment of a record needs at least one byte of the message on both sides.
        for at in (1..length - RECORD_HEADER).filter(|at| *at < 16 || at % 64 == 0) {
            let mut attempt = ManualHandshake::new(&gateway, protocol, Some(&gateway.good));
            assert!(
                attempt.admitted_when_split(at, Split::Records),
                "{protocol:?} records split at {at}"
            );
        }
        for at in [1, 5, 6, 44, length / 2, length - 1] {
            let mut stranger = ManualHandshake::new(&gateway, protocol, Some(&gateway.stranger));
            assert!(
                !stranger.admitted_when_split(at, Split::Segments),
                "{protocol:?} split at {at}"
            );
        }
    }
}

#[tokio::test]
async fn forged_identity_headers_never_reach_the_upstream() {
    const NAMES: [&str; 17] = [
        "Client-Cert",
        "Client-Cert-Chain",
        "X-Forwarded-Client-Cert",
        "X-Client-Verify",
        "X-Client-DN",
        "X-Client-CN",
        "X-Client-Trust-Bundle",
        "X-Client-Cert",
        "X-SSL-Client-CN",
        "X-SSL-Client-Verify",
        "SSL-Client-Cert",
        "X-Forwarded-TLS-Client-Cert",
        "X-Forwarded-TLS-Client-Cert-Info",
        "X-Amzn-Mtls-Clientcert-Subject",
        "Cf-Client-Cert-Sha256",
        "L5d-Client-Id",
        "X-Spiffe-Id",
    ];
    const FORGED: &str = "forged-by-the-client";
    let gateway = Gateway::start();
    for name in NAMES {
        let snake = name.replace('-', "_");
        let (lower, upper) = (name.to_lowercase(), snake.to_uppercase());
        let requests = [
            format!(
                "GET / HTTP/1.1\r\nHost: {HOST}\r\n{name}: {FORGED}\r\nConnection: close\r\n\r\n"
            ),
            format!(
                "GET / HTTP/1.1\r\nHost: {HOST}\r\n{lower}: {FORGED}\r\n{name}: {FORGED}\r\nConnection: close\r\n\r\n"
            ),
            format!(
                "GET / HTTP/1.1\r\nHost: {HOST}\r\n{snake}: {FORGED}\r\n{upper}: {FORGED}\r\nConnection: close\r\n\r\n"
            ),
            format!(
                "GET / HTTP/1.1\r\nHost: {HOST}\r\n{name}: {FORGED}\r\nConnection: close, {name}\r\n\r\n"
            ),
            format!(
                "POST / HTTP/1.1\r\nHost: {HOST}\r\nTransfer-Encoding: chunked\r\nTrailer: {name}, {snake}\r\nTE: trailers\r\nConnection: close\r\n\r\n\
                 2\r\nok\r\n0\r\n{name}: {FORGED}\r\n{snake}: {FORGED}\r\n\r\n"
            ),
        ];
        for (number, request) in requests.iter().enumerate() {
            let before = gateway.upstream.received().len();
            let client = gateway.client(Some(&gateway.good), Protocol::Http1Tls13, HOST);
            let outcome = client
                .raw(gateway.address(Mode::Require), request.as_bytes())
                .await;
            let received = gateway.upstream.received_text().split_off(before);
            assert!(
                !received.contains(FORGED),
                "{name}, request {number}:\n{received}"
            );
            // Nor may the client make a hop drop what the gateway says.
            assert_eq!(
                outcome.status(),
                Some(200),
                "{name}, request {number}: {outcome:?}"
            );
            let told = received.to_lowercase();
            assert!(
                told.contains("x-client-cn: good") && told.contains("x-client-verify: success"),
                "{received}"
            );
            let connection = told
                .lines()
                .find(|line| line.starts_with("connection:"))
                .unwrap_or_default();
            assert!(
                !connection.contains(&lower),
                "{name}, request {number}: {connection}"
            );
        }
        let before = gateway.upstream.received().len();
        let request = Request::get(format!("https://{HOST}/"))
            .header(name, FORGED)
            .header(&snake, FORGED)
            .body(Full::default())
            .expect("a request");
        let client = gateway.client(Some(&gateway.good), Protocol::Http2Tls13, HOST);
        assert_eq!(
            client
                .request(gateway.address(Mode::Require), request)
                .await
                .status(),
            Some(200)
        );
        assert!(
            !gateway
                .upstream
                .received_text()
                .split_off(before)
                .contains(FORGED),
            "{name} in HTTP/2"
        );
    }
}

#[tokio::test]
async fn request_hidden_behind_a_body_never_becomes_one() {
    // RFC 9112 §6.1: Transfer-Encoding wins over Content-Length, and the connection ends with the message.
    let lengths = [
        "Content-Length: 4\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nContent-Length: 4",
    ];
    for protocol in [Protocol::Http1Tls12, Protocol::Http1Tls13] {
        for lengths in lengths {
            let gateway = Gateway::start();
            let bytes = format!(
                "POST /first HTTP/1.1\r\nHost: {HOST}\r\n{lengths}\r\n\r\n0\r\n\r\nGET /hidden HTTP/1.1\r\nHost: {HOST}\r\n\r\n"
            );
            let client = gateway.client(Some(&gateway.good), protocol, HOST);
            let outcome = client
                .raw(gateway.address(Mode::Require), bytes.as_bytes())
                .await;
            assert_eq!(outcome.status(), Some(200), "{outcome:?}");
            let received = gateway.upstream.received_text();
            assert!(received.starts_with("POST /first "), "{received}");
            assert!(
                !received.contains("/hidden")
                    && !received.to_lowercase().contains("content-length"),
                "{received}"
            );
        }
    }
}

#[tokio::test]
async fn anonymous_client_cannot_claim_an_identity() {
    let gateway = Gateway::start();
    let request = format!(
        "GET /open/x HTTP/1.1\r\nHost: {HOST}\r\nX-Client-CN: good\r\nX_Client_Verify: SUCCESS\r\nClient-Cert: :AA==:\r\nConnection: close\r\n\r\n"
    );
    let client = gateway.client(None, Protocol::Http1Tls13, HOST);
    let outcome = client
        .raw(gateway.address(Mode::Request), request.as_bytes())
        .await;
    assert_eq!(outcome.status(), Some(200), "{outcome:?}");
    let received = gateway.upstream.received_text().to_lowercase();
    assert!(received.contains("x-client-verify: none"), "{received}");
    for told in ["x-client-cn", "client-cert:", "success"] {
        assert!(!received.contains(told), "{told} in\n{received}");
    }
}

/// Runs the attack in every mode and protocol that it can be put in.
async fn check(attack: Attack) {
    let gateway = Gateway::start();
    let mut cause = None;
    for (mode, protocol) in cells() {
        let expected = expected(mode, protocol, attack);
        let refused = match expected {
            Expected::Impossible => continue,
            Expected::Alert(_, cause) | Expected::Status(_, cause) | Expected::Closed(cause) => {
                cause
            }
        };
        let before = gateway.refusals(refused);
        let outcome = gateway.attempt(attack, mode, protocol).await;
        let cell = format!("{attack:?} {mode:?} {protocol:?}: {outcome:?}");
        match (expected, &outcome) {
            (Expected::Alert(alert, _), Outcome::Alert(seen)) => {
                assert_eq!(alert as u8, *seen, "{cell}");
            }
            (Expected::Status(status, _), Outcome::Response { .. }) => {
                assert_eq!(Some(status), outcome.status(), "{cell}");
            }
            (Expected::Closed(_), Outcome::Closed(_)) => {}
            _ => panic!("expected {expected:?}, {cell}\n{}", gateway.process.log()),
        }
        if let (Expected::Status(status, _), false) = (expected, outcome.text().is_empty()) {
            assert_tells_no_detail(status, &outcome.text());
        }
        gateway.wait_for_refusals(refused, before, &cell);
        cause = Some(refused);
    }
    let cause = cause.expect("some cell is possible");
    gateway.process.wait_for_log(&[cause.slug()]);
    let explained = run_ok(
        Path::new(BINARY),
        &[
            "explain",
            "--from",
            "127.0.0.1",
            "--since",
            "5m",
            "--state",
            gateway.state(),
        ],
    );
    assert!(explained.contains(cause.slug()), "{explained}");
    let received = gateway.upstream.received_text();
    assert!(
        received.is_empty(),
        "{attack:?} reached the upstream:\n{received}"
    );
}

/// Invariant 17: the client gets a class and a refusal id.
fn assert_tells_no_detail(status: u16, body: &str) {
    if status != 403 {
        return;
    }
    let problem: serde_json::Value = serde_json::from_str(body).expect("problem+json");
    assert!(
        problem["refusal_id"].is_string() && problem["class"].is_string(),
        "{body}"
    );
    for detail in ["allows", "cn:", "bundle", "partner"] {
        assert!(!body.contains(detail), "{detail} in {body}");
    }
}

/// The real binary with a listener for each mode, under two bundles: its own authority's and a partner's.
struct Gateway {
    process: Process,
    upstream: Upstream,
    partner: TestCa,
    server_root: CertificateDer<'static>,
    good: TestIdentity,
    stranger: TestIdentity,
    folder: tempfile::TempDir,
}

impl Gateway {
    fn start() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let (upstream, partner) = (Upstream::start(), TestCa::new("partner"));
        let path = |name: &str| folder.path().join(name);
        let state = path("state");
        let server = partner.issue(Leaf::server(&[HOST, "other.test"]));
        let (certificate, key) = server.write(folder.path(), "server");
        std::fs::write(path("partner.pem"), partner.root_pem()).expect("writable");
        let listener = |mode: &str, on_refusal: &str| {
            format!(
                r#"
[[gateway.listener]]
name = "{mode}-{on_refusal}"
on_refusal = "{on_refusal}"
address = "127.0.0.1:0"
client_certificate = "{mode}"
trust = ["internal", "partner"]
certificate = "{certificate}"
key = "{key}"
handshake_timeout = "2s"

[[gateway.listener.route]]
host = "{HOST}"
upstream = "http://{upstream}"
allow = [{{ cn = "you" }}, {{ cn = "to-revoke" }}, {{ bundle = "partner", cn = "good" }}]

[[gateway.listener.route]]
host = "other.test"
path = "/admin/**"
upstream = "http://{upstream}"
allow = [{{ bundle = "partner", cn = "admin" }}]
{open}"#,
                certificate = certificate.display(),
                key = key.display(),
                upstream = upstream.address(),
                open = if mode == "request" {
                    format!(
                        "\n[[gateway.listener.route]]\nhost = \"{HOST}\"\npath = \"/open/**\"\nupstream = \"http://{}\"\nallow = [\"anyone\"]\n\
                         [[gateway.listener.route]]\nhost = \"{HOST}\"\npath = \"/demo\"\nupstream = \"demo\"\nallow = [\"anyone\"]\n",
                        upstream.address()
                    )
                } else {
                    String::new()
                },
            )
        };
        let bytes = |mode: &str| {
            format!(
                r#"
[[gateway.listener]]
name = "{mode}-bytes"
address = "127.0.0.1:0"
client_certificate = "{mode}"
trust = ["internal", "partner"]
certificate = "{certificate}"
key = "{key}"
handshake_timeout = "2s"
upstream = "tcp://{upstream}"
allow = [{{ cn = "you" }}, {{ cn = "to-revoke" }}, {{ bundle = "partner", cn = "good" }}]
"#,
                certificate = certificate.display(),
                key = key.display(),
                upstream = upstream.address(),
            )
        };
        let tunnels = |mode: &str, on_refusal: &str| {
            format!(
                r#"
[[gateway.listener]]
name = "{mode}-{on_refusal}-tunnels"
on_refusal = "{on_refusal}"
address = "127.0.0.1:0"
client_certificate = "{mode}"
trust = ["internal", "partner"]
certificate = "{certificate}"
key = "{key}"

[[gateway.listener.route]]
connect = ["{TUNNEL}"]
upstream = "tcp://localhost:{port}"
allow = [{{ cn = "you" }}, {{ cn = "to-revoke" }}, {{ bundle = "partner", cn = "good" }}]

[[gateway.listener.route]]
host = "{HOST}"
upstream = "http://{upstream}"
allow = [{{ bundle = "partner", cn = "good" }}]
"#,
                certificate = certificate.display(),
                key = key.display(),
                port = upstream.address().port(),
                upstream = upstream.address(),
            )
        };
        let config = format!(
            "[gateway]\nworkers = 1\nmetrics_address = \"127.0.0.1:0\"\n{}{}{}{}{}{}{}{}{}{}\n[trust.partner]\nbundle = \"{}\"\n",
            listener("require", "alert"),
            listener("request", "alert"),
            bytes("require"),
            bytes("request"),
            listener("require", "explain"),
            listener("request", "explain"),
            tunnels("require", "alert"),
            tunnels("request", "alert"),
            tunnels("require", "explain"),
            tunnels("request", "explain"),
            path("partner.pem").display()
        );
        std::fs::write(path("countersign.toml"), config).expect("writable");
        let (state, config) = (
            state.display().to_string(),
            path("countersign.toml").display().to_string(),
        );
        run_ok(Path::new(BINARY), &["init", "--state", &state]);
        let process = Process::start(
            Path::new(BINARY),
            &["run", "-c", &config, "--state", &state],
        );
        let good = partner.issue(Leaf::client("good"));
        let stranger = TestCa::new("stranger").issue(Leaf::client("good"));
        Self {
            process,
            upstream,
            server_root: partner.root.der().clone(),
            good,
            stranger,
            partner,
            folder,
        }
    }

    fn state(&self) -> &str {
        self.process.field("state")
    }

    fn address(&self, mode: Mode) -> SocketAddr {
        self.address_for(mode, Protocol::Http1Tls13)
    }

    fn address_for(&self, mode: Mode, protocol: Protocol) -> SocketAddr {
        // The ready line has the listeners in the configuration's order.
        let index = match (mode, protocol.is_bytes()) {
            (Mode::Require, false) => 0,
            (Mode::Request, false) => 1,
            (Mode::Require | Mode::RequireExplained, true) => 2,
            (Mode::Request | Mode::RequestExplained, true) => 3,
            (Mode::RequireExplained, false) => 4,
            (Mode::RequestExplained, false) => 5,
        };
        self.listener(index)
    }

    /// The listener with a route of tunnels.
    fn tunnels(&self, mode: Mode) -> SocketAddr {
        self.listener(match mode {
            Mode::Require => 6,
            Mode::Request => 7,
            Mode::RequireExplained => 8,
            Mode::RequestExplained => 9,
        })
    }

    fn listener(&self, index: usize) -> SocketAddr {
        let address = self.process.ready()["listeners"][index]
            .as_str()
            .expect("an address a listener");
        address.parse().expect("an address")
    }

    fn client(&self, identity: Option<&TestIdentity>, protocol: Protocol, sni: &str) -> Client {
        Client::new(&self.server_root, identity, protocol, sni)
    }

    /// An identity that the state's own authority issued.
    fn own(folder: &Path) -> TestIdentity {
        let read = |name: &str| std::fs::read(folder.join(name)).expect("a file of the issued set");
        let chain = CertificateDer::pem_slice_iter(&read("cert.pem"))
            .collect::<Result<Vec<_>, _>>()
            .expect("PEM");
        let key = read("key.pem");
        TestIdentity {
            chain,
            key: PrivateKeyDer::from_pem_slice(&key).expect("PKCS#8"),
            key_pem: String::from_utf8(key).expect("PEM"),
        }
    }

    /// Who tries.
    fn identity(&self, attack: Attack) -> Option<TestIdentity> {
        let leaf = || Leaf::client("good");
        let issued = |leaf: Leaf| self.partner.issue(leaf);
        match attack {
            Attack::NoCertificate
            | Attack::SessionOfAnotherListener
            | Attack::ConnectNoCertificate => None,
            Attack::Expired => Some(issued(leaf().valid(-7200, -60))),
            Attack::NotYetValid => Some(issued(leaf().valid(3600, 7200))),
            Attack::UnknownCa => Some(TestCa::new("stranger").issue(leaf())),
            Attack::SameNameCa => Some(TestCa::new("partner").issue(leaf())),
            Attack::MissingIntermediate => {
                let mut identity = Self::own(&PathBuf::from(self.state()).join("identities/you"));
                identity.chain.truncate(1);
                Some(identity)
            }
            Attack::WrongEku => Some(issued(
                leaf().usages(&[rcgen::ExtendedKeyUsagePurpose::ServerAuth]),
            )),
            Attack::Revoked | Attack::ConnectRevoked => Some(self.revoked()),
            Attack::OverlongChain => {
                let mut identity = issued(leaf());
                let intermediate = identity.chain[1].clone();
                identity.chain.extend(std::iter::repeat_n(intermediate, 12));
                Some(identity)
            }
            Attack::HugeName => {
                let mut leaf = leaf();
                leaf.params
                    .distinguished_name
                    .push(rcgen::DnType::OrganizationName, "x".repeat(62_000));
                Some(issued(leaf))
            }
            Attack::NulInSan => Some(issued(leaf().dns("api.test\0.evil.test"))),
            Attack::TwoSpiffeIds => Some(issued(
                leaf()
                    .uri("spiffe://partner.test/a")
                    .uri("spiffe://partner.test/b"),
            )),
            Attack::CaAsLeaf => Some(self.partner.authority_as_leaf()),
            Attack::StolenCertificate => Some(issued(leaf()).with_other_key()),
            Attack::NotAllowed | Attack::ConnectNotAllowed => Some(issued(Leaf::client("goof"))),
            Attack::PartnerWithInternalName | Attack::ConnectPartnerWithInternalName => {
                Some(issued(Leaf::client("you")))
            }
            _ => Some(issued(leaf())),
        }
    }

    async fn attempt(&self, attack: Attack, mode: Mode, protocol: Protocol) -> Outcome {
        let address = self.address_for(mode, protocol);
        let request = get(protocol, HOST, "/");
        let with =
            |identity: Option<&TestIdentity>, sni: &str| self.client(identity, protocol, sni);
        let issued = |leaf: Leaf| self.partner.issue(leaf);
        let identity = self.identity(attack);
        let identity = identity.as_ref();
        if attack.is_of_tunnels() {
            let client = with(identity, HOST);
            return ask_for_a_tunnel(&client, attack, self.tunnels(mode), protocol).await;
        }
        match attack {
            Attack::PlainHttp => plain(
                address,
                format!("GET / HTTP/1.1\r\nHost: {HOST}\r\n\r\n").as_bytes(),
                false,
            ),
            Attack::Tls11 => plain(address, &tls11_hello(), false),
            Attack::Garbage => plain(address, &[0x00, 0xff, 0x13, 0x37].repeat(64), false),
            Attack::Slowloris => {
                let hello = ManualHandshake::new(self, protocol, None).first_flight();
                plain(address, &hello[..hello.len() / 2], true)
            }
            Attack::SniIsNotHost => {
                with(identity, HOST)
                    .request(address, get(protocol, "other.test", "/admin/x"))
                    .await
            }
            Attack::UnknownSni => {
                with(identity, "nobody.test")
                    .request(address, request)
                    .await
            }
            Attack::TwoHosts => {
                let bytes = format!(
                    "GET / HTTP/1.1\r\nHost: {HOST}\r\nHost: other.test\r\nConnection: close\r\n\r\n"
                );
                with(identity, HOST).raw(address, bytes.as_bytes()).await
            }
            Attack::AmbiguousPath => {
                let admin = issued(Leaf::client("admin"));
                let request = get(protocol, "other.test", "/open/..%2fadmin/x");
                with(Some(&admin), "other.test")
                    .request(address, request)
                    .await
            }
            Attack::Connect => {
                let request = Request::connect(format!("{HOST}:443"))
                    .header("host", HOST)
                    .body(Full::default())
                    .expect("a request");
                with(identity, HOST).request(address, request).await
            }
            Attack::SessionOfAnotherListener => {
                let client = with(identity, HOST);
                let lax = self.address(Mode::Request);
                let let_in = client.request(lax, get(protocol, HOST, "/demo")).await;
                assert_eq!(let_in.status(), Some(200), "{let_in:?}");
                ask(&client, address, protocol, request).await
            }
            _ => ask(&with(identity, HOST), address, protocol, request).await,
        }
    }

    /// A client of the state's own authority, issued once and revoked with every path confirmed.
    fn revoked(&self) -> TestIdentity {
        let out = self.folder.path().join("to-revoke");
        if !out.exists() {
            let out = out.display().to_string();
            run_ok(
                Path::new(BINARY),
                &[
                    "issue",
                    "client",
                    "to-revoke",
                    "--out",
                    &out,
                    "--state",
                    self.state(),
                ],
            );
            run_ok(
                Path::new(BINARY),
                &["revoke", "cn:to-revoke", "--wait", "--state", self.state()],
            );
        }
        Self::own(&out)
    }

    /// The metric of a cause.
    fn refusals(&self, cause: Cause) -> u64 {
        let metrics: SocketAddr = self.process.field("metrics").parse().expect("an address");
        let mut stream = TcpStream::connect(metrics).expect("metrics are served");
        stream
            .write_all(b"GET /metrics HTTP/1.1\r\nHost: metrics\r\nConnection: close\r\n\r\n")
            .expect("written");
        let mut text = String::new();
        stream.read_to_string(&mut text).expect("read");
        let label = format!("cause=\"{}\"", cause.slug());
        let lines = text.lines().filter(|line| {
            line.starts_with("countersign_gateway_refusals_total") && line.contains(&label)
        });
        lines
            .filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok())
            .sum()
    }

    /// The counter moves after the client has its answer; asking again is the only event there is.
    fn wait_for_refusals(&self, cause: Cause, before: u64, cell: &str) {
        for _ in 0..HANG_POLLS {
            if self.refusals(cause) > before {
                return;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        panic!(
            "{} was not counted for {cell}\n{}",
            cause.slug(),
            self.process.log()
        );
    }
}

async fn ask_for_a_tunnel(
    client: &Client,
    attack: Attack,
    address: SocketAddr,
    protocol: Protocol,
) -> Outcome {
    let connect = |target: &str, host: &str| {
        let request = Request::connect(target);
        match protocol {
            Protocol::Http2Tls13 if target == host => request,
            _ => request.header("host", host),
        }
    };
    let elsewhere = "127.0.0.1:22";
    let request = match attack {
        Attack::ConnectElsewhere => connect(elsewhere, elsewhere),
        Attack::ConnectOtherPort => connect("db.test:5433", "db.test:5433"),
        Attack::ConnectForgedHost => connect(TUNNEL, HOST),
        Attack::ConnectWithBody => connect(TUNNEL, TUNNEL).header("content-length", "0"),
        Attack::ConnectHidesRequest => {
            let bytes = format!(
                "CONNECT {elsewhere} HTTP/1.1\r\nHost: {elsewhere}\r\n\r\nGET /hidden HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n\r\n"
            );
            return client.raw(address, bytes.as_bytes()).await;
        }
        Attack::RequestToTunnel if protocol == Protocol::Http2Tls13 => {
            Request::get(format!("https://{TUNNEL}/"))
        }
        Attack::RequestToTunnel => Request::get("/").header("host", TUNNEL),
        _ => connect(TUNNEL, TUNNEL),
    };
    let request = request.body(Full::default()).expect("a request");
    client.request(address, request).await
}

/// What the protocol has for a question.
async fn ask(
    client: &Client,
    address: SocketAddr,
    protocol: Protocol,
    request: Request<Full<Bytes>>,
) -> Outcome {
    if protocol.is_bytes() {
        client.raw(address, b"PING\r\n").await
    } else {
        client.request(address, request).await
    }
}

fn cells() -> impl Iterator<Item = (Mode, Protocol)> {
    Mode::ALL
        .into_iter()
        .flat_map(|mode| Protocol::ALL.map(|protocol| (mode, protocol)))
}

fn get(protocol: Protocol, host: &str, path: &str) -> Request<Full<Bytes>> {
    let request = match protocol {
        Protocol::Http2Tls13 => Request::get(format!("https://{host}{path}")),
        _ => Request::get(path)
            .header("host", host)
            .header("connection", "close"),
    };
    request.body(Full::default()).expect("a request")
}

/// Writes bytes without TLS and waits for the end; an alert record is read as one.
fn plain(address: SocketAddr, bytes: &[u8], keeps_open: bool) -> Outcome {
    let mut stream = TcpStream::connect(address).expect("the gateway accepts");
    stream
        .set_read_timeout(Some(Duration::from_secs(30)))
        .expect("a time-out that only catches a hang");
    stream.write_all(bytes).expect("written");
    if !keeps_open {
        let _ = stream.shutdown(std::net::Shutdown::Write);
    }
    let mut answer = Vec::new();
    if let Err(error) = stream.read_to_end(&mut answer) {
        return Outcome::Closed(error.to_string());
    }
    match answer[..] {
        // RFC 8446 §5.1, §6: an alert record of two bytes, fatal.
        [21, 3, _, 0, 2, 2, alert] if !keeps_open && bytes[0] == 22 => Outcome::Alert(alert),
        _ => Outcome::Closed(String::from_utf8_lossy(&answer).into_owned()),
    }
}

/// A ClientHello that offers TLS 1.1 and nothing later (RFC 4346 §7.4.1.2).
fn tls11_hello() -> Vec<u8> {
    let mut body = vec![3, 2];
    body.extend([7; 32]);
    body.push(0);
    // TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA, TLS_RSA_WITH_AES_128_CBC_SHA.
    body.extend([0, 4, 0xc0, 0x09, 0x00, 0x2f]);
    body.extend([1, 0]);
    let length = u16::try_from(body.len()).expect("short").to_be_bytes();
    let handshake = [&[1, 0][..], &length, &body].concat();
    let length = u16::try_from(handshake.len()).expect("short").to_be_bytes();
    [&[22, 3, 1][..], &length, &handshake].concat()
}

/// A rustls client whose bytes the test carries itself.
struct ManualHandshake {
    connection: rustls::ClientConnection,
    address: SocketAddr,
}

#[derive(Clone, Copy)]
enum Split {
    Segments,
    Records,
}

impl ManualHandshake {
    fn new(gateway: &Gateway, protocol: Protocol, identity: Option<&TestIdentity>) -> Self {
        let config: Arc<rustls::ClientConfig> = gateway.client(identity, protocol, HOST).config();
        let name = HOST.try_into().expect("a DNS name");
        let connection = rustls::ClientConnection::new(config, name).expect("a client");
        Self {
            connection,
            address: gateway.address(Mode::Require),
        }
    }

    fn first_flight(&mut self) -> Vec<u8> {
        let mut hello = Vec::new();
        while self.connection.wants_write() {
            self.connection
                .write_tls(&mut hello)
                .expect("memory takes it");
        }
        hello
    }

    /// Whether a request is answered when the first flight is cut in two at `at`.
    fn admitted_when_split(&mut self, at: usize, split: Split) -> bool {
        let hello = self.first_flight();
        let mut socket = TcpStream::connect(self.address).expect("the gateway accepts");
        socket.set_nodelay(true).expect("loopback");
        socket
            .set_read_timeout(Some(Duration::from_secs(30)))
            .expect("a time-out that only catches a hang");
        let (first, second) = match split {
            Split::Segments => (hello[..at].to_vec(), hello[at..].to_vec()),
            Split::Records => {
                let (version, message) = (&hello[..3], &hello[RECORD_HEADER..]);
                let record = |part: &[u8]| {
                    let length = u16::try_from(part.len()).expect("a record").to_be_bytes();
                    [version, &length, part].concat()
                };
                (record(&message[..at]), record(&message[at..]))
            }
        };
        socket.write_all(&first).expect("written");
        socket.flush().expect("flushed");
        socket.write_all(&second).expect("written");
        let mut stream = rustls::Stream::new(&mut self.connection, &mut socket);
        let get = format!("GET / HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n\r\n");
        while stream.conn.is_handshaking() {
            if stream.conn.complete_io(stream.sock).is_err() {
                return false;
            }
        }
        let http2 = stream.conn.alpn_protocol() == Some(b"h2");
        let bytes: &[u8] = if http2 { PREFACE } else { get.as_bytes() };
        let mut answer = [0; 9];
        stream.write_all(bytes).is_ok() && stream.read_exact(&mut answer).is_ok()
    }
}

/// RFC 9113 §3.4: the preface with an empty SETTINGS frame; the server answers with its own.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
/// Only catches a hang.
const HANG: Duration = Duration::from_secs(30);
/// RFC 8446 §5.1.
const RECORD_HEADER: usize = 5;
/// Times 50 ms: only catches a hang.
const HANG_POLLS: u32 = 200;
