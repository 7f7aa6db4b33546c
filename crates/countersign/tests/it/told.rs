//! `on_refusal = "explain"`: whatever a refused client asks, it gets one answer, and nothing else comes of it. The table of the bypass
//! suite has the refusals themselves.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::Command;

use bytes::Bytes;
use countersign_testkit::bypass::Protocol;
use countersign_testkit::client::{Client, Outcome};
use countersign_testkit::pki::{Leaf, TestCa, TestIdentity};
use countersign_testkit::process::{Process, run, run_ok};
use countersign_testkit::upstream::Upstream;
use http::{HeaderMap, Request};
use http_body_util::Full;
use rustls::HandshakeKind;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::peers::peer;

const BINARY: &str = env!("CARGO_BIN_EXE_countersign");
const HOST: &str = "api.test";
const PLACES: usize = 4;

struct Site {
    process: Process,
    upstream: Upstream,
    partner: TestCa,
    folder: tempfile::TempDir,
}

impl Site {
    fn start(on_refusal: &str) -> Self {
        Self::with_places(on_refusal, PLACES)
    }

    fn with_places(on_refusal: &str, places: usize) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let (upstream, partner) = (Upstream::start(), TestCa::new("partner"));
        let path = |name: &str| folder.path().join(name);
        let server = partner.issue(Leaf::server(&[HOST]));
        let (certificate, key) = server.write(folder.path(), "server");
        std::fs::write(path("partner.pem"), partner.root_pem()).expect("writable");
        let config = format!(
            r#"
[gateway]
workers = 1
metrics_address = "127.0.0.1:0"

[[gateway.listener]]
name = "api"
address = "127.0.0.1:0"
trust = ["partner"]
certificate = "{}"
key = "{}"
on_refusal = "{on_refusal}"

[gateway.listener.limits]
pending_handshakes_per_source = {places}

[[gateway.listener.route]]
host = "{HOST}"
upstream = "http://{}"
allow = [{{ bundle = "partner", cn = "good" }}]

[trust.partner]
bundle = "{}"
"#,
            certificate.display(),
            key.display(),
            upstream.address(),
            path("partner.pem").display()
        );
        std::fs::write(path("countersign.toml"), config).expect("writable");
        let state = path("state").display().to_string();
        let config = path("countersign.toml").display().to_string();
        run_ok(Path::new(BINARY), &["init", "--state", &state]);
        let process = Process::start(
            Path::new(BINARY),
            &["run", "-c", &config, "--state", &state],
        );
        Self {
            process,
            upstream,
            partner,
            folder,
        }
    }

    fn address(&self) -> SocketAddr {
        let address = self.process.ready()["listeners"][0].as_str();
        address.expect("an address").parse().expect("an address")
    }

    fn client(&self, identity: Option<&TestIdentity>, protocol: Protocol) -> Client {
        Client::new(self.partner.root.der(), identity, protocol, HOST)
    }

    /// Nobody, somebody of elsewhere, and somebody whose time is over.
    fn refused(&self) -> [Option<TestIdentity>; 3] {
        [
            None,
            Some(TestCa::new("stranger").issue(Leaf::client("good"))),
            Some(self.partner.issue(Leaf::client("good").valid(-7200, -60))),
        ]
    }

    fn good(&self) -> TestIdentity {
        self.partner.issue(Leaf::client("good"))
    }

    fn metrics(&self) -> String {
        let address: SocketAddr = self.process.field("metrics").parse().expect("an address");
        let mut stream = TcpStream::connect(address).expect("metrics are served");
        stream
            .write_all(b"GET /metrics HTTP/1.1\r\nHost: metrics\r\nConnection: close\r\n\r\n")
            .expect("written");
        let mut text = String::new();
        stream.read_to_string(&mut text).expect("read");
        text
    }

    /// Nothing of it was a request, an admitted connection, or anything to the upstream.
    fn assert_nothing_happened(&self) {
        assert_eq!(self.upstream.received_text(), "");
        let metrics = self.metrics();
        let admitted = metrics.lines().filter(|line| {
            let counts = [
                "countersign_gateway_requests_total{listener=\"api\"",
                "countersign_gateway_connections_open{listener=\"api\"",
                "countersign_gateway_handshakes_total{listener=\"api\",outcome=\"full\"",
                "countersign_gateway_handshakes_total{listener=\"api\",outcome=\"resumed\"",
            ];
            counts.iter().any(|it| line.starts_with(it))
        });
        for line in admitted {
            assert!(line.ends_with(" 0"), "{line}");
        }
        let log = self.process.log();
        assert!(!log.contains("\"target\":\"access\""), "{log}");
    }
}

/// What comes until the end, of a client that sends all of it before it reads.
async fn say(client: &Client, address: SocketAddr, said: &[u8]) -> String {
    let mut stream = client.connect(address).await.expect("a whole handshake");
    stream.write_all(said).await.expect("it is taken");
    let mut heard = Vec::new();
    let read = stream.read_to_end(&mut heard).await;
    let heard = String::from_utf8_lossy(&heard).into_owned();
    assert!(read.is_ok(), "{read:?} after {heard}");
    let tls = stream.get_ref().1;
    assert_ne!(tls.handshake_kind(), Some(HandshakeKind::Resumed));
    assert_eq!(tls.tls13_tickets_received(), 0);
    heard
}

fn assert_is_told(headers: &HeaderMap, body: &str) -> Value {
    assert_eq!(headers["content-type"], "application/problem+json");
    assert_eq!(headers["cache-control"], "no-store");
    let problem: Value = serde_json::from_str(body).expect("problem+json");
    assert_eq!(problem["class"], "certificate", "{body}");
    for detail in ["partner", "good", "stranger", "expired", "not_after"] {
        assert!(!body.contains(detail), "{detail} in {body}");
    }
    problem
}

#[tokio::test]
async fn refused_client_has_one_answer_whatever_it_asks() {
    let site = Site::start("explain");
    let get = format!("GET / HTTP/1.1\r\nHost: {HOST}\r\n\r\n");
    let megabyte = "x".repeat(1 << 20);
    let asked = [
        get.clone(),
        get.repeat(3),
        format!(
            "GET /ws HTTP/1.1\r\nHost: {HOST}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        ),
        format!("CONNECT {HOST}:443 HTTP/1.1\r\nHost: {HOST}:443\r\n\r\n{get}"),
        format!("POST / HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: 1048576\r\n\r\n{megabyte}"),
        format!(
            "POST / HTTP/1.1\r\nHost: {HOST}\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n"
        ),
        "GET / HTTP/1.1\r\nHost: elsewhere.test\r\nX-Client-Verify: SUCCESS\r\n\r\n".to_owned(),
    ];
    for identity in site.refused() {
        for protocol in [Protocol::Http1Tls12, Protocol::Http1Tls13] {
            let client = site.client(identity.as_ref(), protocol);
            for said in &asked {
                let heard = say(&client, site.address(), said.as_bytes()).await;
                let about = said.lines().next().unwrap_or_default();
                assert!(heard.starts_with("HTTP/1.1 403 "), "{about}: {heard}");
                assert_eq!(heard.matches("HTTP/1.").count(), 1, "{about}: {heard}");
                let heard = heard.to_lowercase();
                assert!(
                    heard.contains("\r\nconnection: close\r\n"),
                    "{about}: {heard}"
                );
            }
        }
    }
    site.assert_nothing_happened();
}

#[tokio::test]
async fn refused_client_of_http2_has_its_answer_and_the_way_to_ask() {
    // Whoever is still sending holds a place for a moment behind the answer: more may come in that time than have places.
    let site = Site::with_places("explain", 4 * PLACES);
    let url = format!("https://{HOST}/");
    let requests = || {
        let request = |request: http::request::Builder, body: Bytes| {
            request.body(Full::new(body)).expect("a request")
        };
        [
            request(Request::get(&url), Bytes::new()),
            request(Request::post(&url), Bytes::from(vec![b'x'; 1 << 20])),
            request(Request::connect(format!("{HOST}:443")), Bytes::new()),
        ]
    };
    for identity in site.refused() {
        let client = site.client(identity.as_ref(), Protocol::Http2Tls13);
        for request in requests() {
            let about = request.method().clone();
            let outcome = client.request(site.address(), request).await;
            assert_eq!(outcome.status(), Some(403), "{about}: {outcome:?}");
            let Outcome::Response { headers, .. } = &outcome else {
                panic!("{outcome:?}");
            };
            let problem = assert_is_told(headers, &outcome.text());
            let id = problem["refusal_id"].as_str().expect("an id");
            let state = site.process.field("state");
            let said = run_ok(Path::new(BINARY), &["explain", id, "--state", state]);
            assert!(said.contains(id) && said.contains("fix"), "{said}");
        }
        let call = Request::post(&url).header("content-type", "application/grpc");
        let call = call.body(Full::default()).expect("a request");
        let outcome = client.request(site.address(), call).await;
        let Outcome::Response { headers, .. } = &outcome else {
            panic!("{outcome:?}");
        };
        // UNAUTHENTICATED for who is nobody, else PERMISSION_DENIED.
        let status = if identity.is_none() { "16" } else { "7" };
        assert_eq!(headers["grpc-status"], status, "{outcome:?}");
    }
    site.assert_nothing_happened();
}

#[tokio::test]
async fn those_who_are_told_hold_few_places_and_not_for_long() {
    let site = Site::start("explain");
    let silent = site.client(None, Protocol::Http1Tls13);
    let mut held = Vec::new();
    for _ in 0..PLACES {
        held.push(silent.connect(site.address()).await.expect("a handshake"));
    }
    let get = || Request::get("/").header("host", HOST);
    let request = || get().body(Full::<Bytes>::default()).expect("a request");
    let good = site.client(Some(&site.good()), Protocol::Http1Tls13);
    let crowded = good.request(site.address(), request()).await;
    assert_eq!(crowded.status(), None, "{crowded:?}");
    site.process.wait_for_log(&["too-many-pending"]);
    // They hold on, and are let go of.
    for stream in &mut held {
        let _ = stream.read_to_end(&mut Vec::new()).await;
    }
    let served = good.request(site.address(), request()).await;
    assert_eq!(served.status(), Some(200), "{served:?}");
}

/// curl and `openssl s_client` send before they know of the refusal, and can read it all the same: alert and answer alike.
#[test]
fn clients_of_the_field_read_why_behind_all_that_they_sent() {
    const NAME: &str = "clients_of_the_field_read_why_behind_all_that_they_sent";
    let (Some(curl), Some(openssl)) = (peer(NAME, "curl"), peer(NAME, "openssl")) else {
        return;
    };
    for (on_refusal, of_curl, of_openssl) in [
        ("alert", "certificate required", "certificate required"),
        (
            "explain",
            "\"class\":\"certificate\"",
            "\"class\":\"certificate\"",
        ),
    ] {
        let site = Site::start(on_refusal);
        let root = site.folder.path().join("partner.pem");
        let body = site.folder.path().join("body");
        std::fs::write(&body, vec![b'x'; 1 << 20]).expect("writable");
        let port = site.address().port();
        for version in ["--http1.1", "--http2"] {
            let mut command = Command::new(&curl);
            command.args(["-sS", "--max-time", "30", version, "--cacert"]);
            command.arg(&root).arg("--resolve");
            command.arg(format!("{HOST}:{port}:127.0.0.1"));
            command.args(["-H", "Expect:", "--data-binary"]);
            command.arg(format!("@{}", body.display()));
            let said = command.arg(format!("https://{HOST}:{port}/")).output();
            let said = said.expect("curl runs");
            let said = [said.stdout, said.stderr].concat();
            let said = String::from_utf8_lossy(&said);
            assert!(said.contains(of_curl), "{on_refusal} {version}: {said}");
        }
        let script = format!(
            "{{ printf 'POST / HTTP/1.1\\r\\nHost: {HOST}\\r\\nContent-Length: 1048576\\r\\n\\r\\n'; cat '{}'; }} | '{}' s_client -quiet -connect 127.0.0.1:{port} -servername {HOST} -CAfile '{}' 2>&1",
            body.display(),
            openssl.display(),
            root.display()
        );
        let said = run(Path::new("/bin/sh"), &["-c", &script]);
        let said = String::from_utf8_lossy(&said.stdout).into_owned();
        assert!(said.contains(of_openssl), "{on_refusal} s_client: {said}");
        site.assert_nothing_happened();
    }
}

/// It refuses the gateway's certificate: who refused whom is in the event, in `explain` and in the metric.
#[test]
fn client_that_refuses_the_gateway_is_told_from_one_that_is_refused() {
    const NAME: &str = "client_that_refuses_the_gateway_is_told_from_one_that_is_refused";
    let Some(curl) = peer(NAME, "curl") else {
        return;
    };
    let site = Site::start("alert");
    let stranger = site.folder.path().join("stranger.pem");
    std::fs::write(&stranger, TestCa::new("stranger").root_pem()).expect("writable");
    let port = site.address().port();
    let mut command = Command::new(curl);
    command.args(["-sS", "--max-time", "30", "--resolve"]);
    command.arg(format!("{HOST}:{port}:127.0.0.1"));
    command.arg("--cacert").arg(stranger);
    let said = command.arg(format!("https://{HOST}:{port}/")).output();
    assert!(!said.expect("curl runs").status.success());
    site.process
        .wait_for_log(&["unknown_ca", "client-closed-early"]);
    let state = site.process.field("state");
    let arguments = [
        "explain",
        "--from",
        "127.0.0.1",
        "--since",
        "5m",
        "--state",
        state,
    ];
    let explained = run_ok(Path::new(BINARY), &arguments);
    for words in ["refused this server's certificate", "unknown_ca"] {
        assert!(explained.contains(words), "{words} in {explained}");
    }
    let counted = r#"countersign_gateway_alerts_received_total{listener="api",from="client",alert="unknown_ca"} 1"#;
    let metrics = site.metrics();
    assert!(metrics.contains(counted), "{metrics}");
}
