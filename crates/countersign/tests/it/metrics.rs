//! Metrics and health on their own loopback port.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::time::{Duration, Instant};

use countersign_pki::time::UnixTime;
use countersign_testkit::bypass::Protocol;
use countersign_testkit::client::Client;
use countersign_testkit::process::Process;

use crate::http::Connection;
use crate::installation::{Answer, Installation, Issued, text};
use crate::peers::peer;

#[test]
fn promtool_accepts_the_metrics() {
    let Some(promtool) = peer("promtool_accepts_the_metrics", "promtool") else {
        return;
    };
    let installation = Installation::new();
    let gateway = installation.up(&[]);
    let metrics = metrics_after_a_request_and_a_refusal(&gateway);
    let file = installation.write("metrics.txt", &metrics);
    let mut check = Command::new("sh");
    check.args([
        "-c",
        "\"$0\" check metrics <\"$1\"",
        text(&promtool),
        text(&file),
    ]);
    let answer = Answer::of(&mut check);
    assert_eq!(
        (answer.code, answer.all().as_str()),
        (Some(0), ""),
        "{metrics}"
    );
    for name in [
        "countersign_gateway_handshakes_total",
        "countersign_gateway_requests_total",
        "client-cert-not-sent",
    ] {
        assert!(metrics.contains(name), "{name} in {metrics}");
    }
}

#[test]
fn end_of_the_roots_list_is_in_the_metrics_and_nothing_warns_of_it_for_nine_months() {
    const NAME: &str = "countersign_authority_root_crl_next_update_seconds{} ";
    let installation = Installation::new();
    let gateway = installation.up(&[]);
    let begun = Instant::now();
    let told: u64 = loop {
        let metrics = plain_get(metrics_address(&gateway), "/metrics", "");
        let value = metrics.lines().find_map(|line| line.strip_prefix(NAME));
        let value = value.map_or(0, |value| value.trim().parse().expect("a number"));
        if value > 0 {
            break value;
        }
        assert!(begun.elapsed() < Duration::from_secs(30), "{metrics}");
        std::thread::sleep(Duration::from_millis(50));
    };
    let status = installation.json(&["status"]);
    let told = UnixTime::from_seconds(told).to_string();
    let ends = status["ends"].as_array().expect("a list");
    let list = ends.iter().find(|end| end["what"] == "root crl");
    assert_eq!(list.expect("is there")["at"], told.as_str(), "{status}");
    assert!(
        !status["risks"].to_string().contains("root crl"),
        "{status}"
    );
}

#[test]
fn health_is_told_without_a_certificate_on_its_own_port() {
    let installation = Installation::new();
    let gateway = installation.up(&[]);
    for path in ["/healthz", "/readyz"] {
        let answer = plain_get(metrics_address(&gateway), path, "");
        assert!(answer.starts_with("HTTP/1.1 200 "), "{path}: {answer}");
    }
    assert!(plain_get(metrics_address(&gateway), "/elsewhere", "").starts_with("HTTP/1.1 404 "));
    let open = plain_get(
        metrics_address(&gateway),
        "/metrics",
        "Accept: application/openmetrics-text; version=1.0.0\r\n",
    );
    assert!(open.trim_end().ends_with("# EOF"), "{open}");
}

fn metrics_after_a_request_and_a_refusal(gateway: &Process) -> String {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let you = Issued::of_first_run(gateway);
        for protocol in Protocol::HTTP {
            let mut connection =
                Connection::open(&you.client(protocol), protocol, gateway.gateway())
                    .await
                    .expect("let in");
            assert_eq!(connection.get("/").await.expect("an answer").0, 200);
            let nobody = Client::new(&you.root(), None, protocol, "localhost");
            let refused = match Connection::open(&nobody, protocol, gateway.gateway()).await {
                Ok(mut connection) => connection.get("/").await.is_err(),
                Err(_) => true,
            };
            assert!(refused);
        }
    });
    let answer = plain_get(metrics_address(gateway), "/metrics", "");
    answer
        .split_once("\r\n\r\n")
        .map(|(_, body)| body.to_owned())
        .expect("a body")
}

pub(crate) fn metrics_address(gateway: &Process) -> SocketAddr {
    let text = gateway.field("metrics");
    let address = text
        .trim_start_matches("http://")
        .split('/')
        .next()
        .unwrap_or_default();
    address.parse().unwrap_or_else(|_| panic!("{text}"))
}

pub(crate) fn plain_get(address: SocketAddr, path: &str, fields: &str) -> String {
    let mut stream = TcpStream::connect(address).expect("it listens");
    let request = format!("GET {path} HTTP/1.0\r\nHost: localhost\r\n{fields}\r\n");
    stream.write_all(request.as_bytes()).expect("open");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    answer.replacen("HTTP/1.0", "HTTP/1.1", 1)
}
