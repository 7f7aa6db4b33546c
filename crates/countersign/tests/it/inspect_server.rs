//! `countersign inspect HOST:PORT`: what a server shows, decoded as files are.

use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use countersign_testkit::ephemeral;
use serde_json::Value;

use crate::installation::{Installation, Issued, countersign, text};
use crate::json::array;
use crate::peers::peer;

/// `openssl s_server`. Ended with the value, by its id.
struct Server(Child);

impl Server {
    fn start(at: SocketAddr, of: &Issued, arguments: &[&str]) -> Self {
        let mut child = Command::new("openssl")
            .args(["s_server", "-quiet", "-accept", &at.to_string()])
            .args(["-cert", text(&of.certificate()), "-key", text(&of.key())])
            .args(["-cert_chain", text(&of.certificate())])
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("openssl starts");
        let begun = Instant::now();
        while std::net::TcpStream::connect(at).is_err() {
            let ended = child.try_wait().expect("our child");
            assert!(ended.is_none() && begun.elapsed() < HANG, "{ended:?}");
            std::thread::sleep(Duration::from_millis(10));
        }
        Self(child)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn inspected(installation: &Installation, arguments: &[&str]) -> Vec<Value> {
    let all: Vec<&str> = ["inspect", "--json"]
        .iter()
        .chain(arguments)
        .copied()
        .collect();
    let answer = countersign(&installation.path(""), &all);
    assert_eq!(answer.code, Some(0), "{answer:#?}");
    let items: Value = serde_json::from_str(&answer.stdout).expect("JSON");
    array(&items).to_vec()
}

#[test]
fn server_is_shown_with_its_chain_and_what_it_asks_for() {
    if peer("server_is_shown_with_its_chain", "openssl").is_none() {
        return;
    }
    let installation = Installation::new();
    let issued = installation.issue("server", "localhost", &[]);
    let ca = issued.ca();
    let verifies = ["-CAfile", text(&ca), "-Verify", "3", "-verify_return_error"];
    for (further, version, asks) in [
        (&["-tls1_2"][..], "TLS 1.2", false),
        (&["-alpn", "http/1.1"], "TLS 1.3", false),
        (&verifies, "TLS 1.3", true),
    ] {
        let at = ephemeral::address();
        let _server = Server::start(at, &issued, further);
        let target = format!("localhost:{}", at.port());
        let items = inspected(&installation, &[&target, "--name", "api.example"]);
        let server = &items[0];
        assert_eq!(server["type"], "server", "{server:#}");
        assert_eq!(server["target"], target.as_str());
        assert_eq!(server["sni"], "api.example");
        assert_eq!(server["version"], version);
        assert_eq!(server["asks_for_certificate"], asks, "{server:#}");
        assert_eq!(!array(&server["ca_names"]).is_empty(), asks, "{server:#}");
        assert_eq!(server["stapled_ocsp"], false);
        let alpn = further.contains(&"-alpn").then_some("http/1.1");
        assert_eq!(server["alpn"].as_str(), alpn);
        // As the file shows it that the server was given.
        let of_file = inspected(&installation, &[text(&issued.certificate())]);
        // The certificate is of localhost.
        let last = items.last().expect("what is remarkable");
        assert_eq!(last["findings"][0]["cause"], "name-mismatch", "{last:#}");
        assert_eq!(server["certificates"], items.len() - 2);
        let fingerprints = |items: &[Value]| -> Vec<Value> {
            let certificates = items.iter().filter(|item| item["type"] == "certificate");
            certificates
                .map(|item| item["fingerprint"].clone())
                .collect()
        };
        let sent = fingerprints(&items);
        assert_eq!(sent.first(), fingerprints(&of_file).first());
        assert!(
            sent.len() > 1 && sent.iter().all(Value::is_string),
            "{items:#?}"
        );
        let for_people = countersign(&installation.path(""), &["inspect", &target]);
        assert_eq!(for_people.code, Some(0), "{for_people:#?}");
        assert!(!for_people.stdout.contains("fault: "), "{for_people:#?}");
        for word in [version, "localhost", "client cert", "ocsp stapled"] {
            assert!(for_people.stdout.contains(word), "{word}: {for_people:#?}");
        }
    }
}

#[test]
fn who_is_no_server_of_tls_is_told_and_a_file_wins() {
    let installation = Installation::new();
    let nobody = ephemeral::address().to_string();
    let answer = countersign(&installation.path(""), &["inspect", &nobody]);
    assert_eq!(answer.code, Some(3), "{answer:#?}");
    assert!(answer.stderr.contains("connection-refused"), "{answer:#?}");
    assert!(answer.stderr.contains("countersign doctor"), "{answer:#?}");
    let issued = installation.issue("server", "localhost", &[]);
    let certificate = std::fs::read_to_string(issued.certificate()).expect("issued");
    installation.write(&nobody, &certificate);
    assert_eq!(
        inspected(&installation, &[&nobody])[0]["type"],
        "certificate"
    );
    // Neither a file nor a server.
    for arguments in [
        &["inspect", "missing.pem"][..],
        &["inspect", "missing.pem", "--name", "a"],
        &["inspect", &nobody, "--starttls", "smtp"],
        &["inspect", "localhost:1", "--starttls", "gopher"],
    ] {
        let answer = countersign(&installation.path(""), arguments);
        assert!(matches!(answer.code, Some(1 | 2)), "{answer:#?}");
    }
}

/// Only catches a hang.
const HANG: Duration = Duration::from_secs(20);
