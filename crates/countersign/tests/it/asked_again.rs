//! A node whose answer was lost asks again, and one certificate comes of it.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use countersign_testkit::client::Outcome;
use countersign_testkit::pki;
use http_body_util::Full;
use serde_json::{Value, json};

use crate::fleet::{Fleet, start_gateway};
use crate::installation::Issued;

const BOUND: &str = "[authority.node.gw-1]\nnames = [\"api.example.com\"]\n";

async fn ask(fleet: &Fleet, who: &Issued, path: &str, key: &[&str], body: &Value) -> Outcome {
    let mut request = http::Request::post(path)
        .header("host", "localhost")
        .header("content-type", "application/json");
    for key in key {
        request = request.header("idempotency-key", *key);
    }
    let request = request.body(Full::from(body.to_string()));
    let client = fleet.at_feed_port(who);
    let request = request.expect("a request");
    client.request(fleet.feed_address(), request).await
}

fn chain(outcome: &Outcome) -> String {
    let Outcome::Response { status, body, .. } = outcome else {
        panic!("{outcome:?}");
    };
    assert_eq!(status.as_u16(), 200, "{outcome:?}");
    let body: Value = serde_json::from_slice(body).expect("JSON");
    body["chain_pem"].as_str().expect("a chain").to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_key_of_a_node_stands_for_one_certificate() {
    let fleet = Fleet::new();
    let _authority = fleet.run_authority(BOUND);
    let node = fleet.issue_at("gw-1");
    // A key stands for one identity, so that each has its own.
    let [csr, other, own, next] = [(); 4].map(|()| pki::request());
    let names = ["dns:api.example.com"];
    for (path, body, different, name) in [
        (
            "/v1/node/certificate",
            json!({ "csr": csr, "names": names }),
            json!({ "csr": other, "names": names }),
            "api.example.com",
        ),
        (
            "/v1/node/renew",
            json!({ "csr": own }),
            json!({ "csr": next }),
            "gw-1",
        ),
    ] {
        // A key is the caller's, whatever it asks for.
        let (one, two) = (format!("one-{name}"), format!("two-{name}"));
        let quoted = format!("\"{one}\"");
        let before = fleet.authority.certificates(&["--name", name]).len();
        let first = chain(&ask(&fleet, &node, path, &[&quoted], &body).await);
        let again = chain(&ask(&fleet, &node, path, &[&one], &body).await);
        assert_eq!(first, again, "{path}");
        let after = || fleet.authority.certificates(&["--name", name]).len() - before;
        assert_eq!(after(), 1, "{path}");
        // Another request, no key at all, and two of them.
        let with_another = ask(&fleet, &node, path, &[&one], &different).await;
        assert_eq!(with_another.status(), Some(422), "{path}: {with_another:?}");
        for wrong in [&["a b"][..], &["one", "two"]] {
            let refused = ask(&fleet, &node, path, wrong, &body).await;
            assert_eq!(refused.status(), Some(400), "{path}: {refused:?}");
        }
        assert_eq!(after(), 1, "{path}");
        let second = chain(&ask(&fleet, &node, path, &[&two], &different).await);
        assert_ne!(first, second, "{path}");
        assert_eq!(after(), 2, "{path}");
    }
    fleet.authority.ok(&["audit", "verify"]);
}

/// Before `to`; the first answer as long as a certificate is lost, with its connection. But for the first connection, which is
/// the feed's.
fn losing(to: SocketAddr, lost: Arc<AtomicBool>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback");
    let address = listener.local_addr().expect("bound");
    thread::spawn(move || {
        for (number, client) in listener.incoming().enumerate() {
            let (Ok(client), Ok(server)) = (client, TcpStream::connect(to)) else {
                continue;
            };
            let flights = Arc::new(AtomicU64::new(0));
            let said = Arc::clone(&flights);
            let (from, into) = (client.try_clone(), server.try_clone());
            let (from, into) = (from.expect("a socket"), into.expect("a socket"));
            thread::spawn(move || {
                relay(from, into, |_| {
                    said.fetch_add(1, Ordering::SeqCst);
                    true
                });
            });
            let lost = Arc::clone(&lost);
            thread::spawn(move || {
                relay(server, client, |length| {
                    let is_answer =
                        number > 0 && flights.load(Ordering::SeqCst) > 1 && length >= CERTIFICATE;
                    !is_answer || lost.swap(true, Ordering::SeqCst)
                });
            });
        }
    });
    address
}

fn relay(mut from: TcpStream, mut into: TcpStream, mut passes: impl FnMut(usize) -> bool) {
    let mut buffer = [0; 16 * 1024];
    while let Ok(length @ 1..) = from.read(&mut buffer) {
        if !passes(length) || into.write_all(&buffer[..length]).is_err() {
            break;
        }
    }
    let _ = from.shutdown(Shutdown::Both);
    let _ = into.shutdown(Shutdown::Both);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn gateway_that_has_lost_its_answer_gets_the_certificate_that_was_issued_for_it() {
    let fleet = Fleet::new();
    let _authority = fleet.run_authority(BOUND);
    let lost = Arc::new(AtomicBool::new(false));
    let through = losing(fleet.feed_address(), Arc::clone(&lost));
    let toml = fleet.certified_toml("api.example.com");
    let toml = toml.replace(&fleet.feed_address().to_string(), &through.to_string());
    fleet.gateway.write("countersign.toml", &toml);
    let _gateway = start_gateway(&fleet).expect("it starts");
    assert!(lost.load(Ordering::SeqCst), "an answer was lost");
    let issued = fleet.authority.certificates(&["--name", "api.example.com"]);
    assert_eq!(issued.len(), 1, "{issued:#?}");
}

/// Two certificates in PEM are longer, and all else that a node is told there is shorter.
const CERTIFICATE: usize = 1200;
