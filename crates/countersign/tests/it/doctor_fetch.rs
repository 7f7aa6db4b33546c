//! What `countersign doctor --fetch` asks, whom it does not ask, and which other clients the doctor speaks of.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use countersign_testkit::pki::{from_now, key, next_serial};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, CrlDistributionPoint, DnType,
    ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose, SanType,
};
use serde_json::Value;
use tempfile::TempDir;

use crate::installation::{Answer, binary};
use crate::peers::peer;

/// `ca.pem`, and `server.pem` with its key, in a folder.
struct Workshop {
    folder: TempDir,
    root: CertifiedIssuer<'static, KeyPair>,
}

fn draft(name: &str) -> CertificateParams {
    let mut draft = CertificateParams::default();
    draft.distinguished_name.push(DnType::CommonName, name);
    draft.serial_number = Some(next_serial());
    draft.not_before = from_now(-3600);
    draft.not_after = from_now(30 * 24 * 3600);
    draft.use_authority_key_identifier_extension = true;
    draft
}

fn authority(name: &str) -> CertificateParams {
    let mut draft = draft(name);
    draft.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    draft.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    draft
}

fn server() -> CertificateParams {
    let mut draft = draft("localhost");
    draft.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    draft.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    draft.subject_alt_names = vec![SanType::DnsName("localhost".try_into().expect("ASCII"))];
    draft
}

fn listed_at(uris: &[String]) -> CertificateParams {
    let mut draft = server();
    draft.crl_distribution_points = vec![CrlDistributionPoint {
        uris: uris.to_vec(),
    }];
    draft
}

impl Workshop {
    fn new(server: &CertificateParams) -> Self {
        let root = CertifiedIssuer::self_signed(authority("Root"), key()).expect("a root");
        let at = Self {
            folder: tempfile::tempdir().expect("a folder"),
            root,
        };
        at.write("ca.pem", &at.root.pem());
        let own = key();
        let certificate = server.signed_by(&own, &at.root).expect("a leaf");
        at.write("server.pem", &certificate.pem());
        at.write("server.key", &own.serialize_pem());
        let private = fs::Permissions::from_mode(0o600);
        fs::set_permissions(at.path().join("server.key"), private).expect("the file is ours");
        at
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn write(&self, name: &str, content: &str) {
        fs::write(self.path().join(name), content).expect("writable");
    }

    fn run(&self, command: &str) -> Answer {
        let mut words = command.split_whitespace();
        let program = words.next().expect("a word");
        Answer::of(Command::new(program).args(words).current_dir(self.path()))
    }

    fn doctor(&self, arguments: &str) -> (Value, Answer) {
        let answer = Answer::of(
            Command::new(binary())
                .args(["doctor", "--json"])
                .args(arguments.split_whitespace())
                .current_dir(self.path()),
        );
        let json = serde_json::from_str(&answer.stdout).expect("an answer");
        (json, answer)
    }
}

const FILES: &str = "--server-cert server.pem --server-key server.key --ca ca.pem --name localhost";

/// Counts who comes, and answers with this for ever.
fn publisher(answer: &'static [u8], then: &'static [u8]) -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback");
    let address = listener.local_addr().expect("bound");
    let count = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&count);
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            counted.fetch_add(1, Ordering::SeqCst);
            std::thread::spawn(move || {
                let _ = stream.read(&mut [0; 4096]);
                let _ = stream.write_all(answer);
                while !then.is_empty() && stream.write_all(then).is_ok() {}
            });
        }
    });
    (address, count)
}

fn results(answer: &Value) -> Vec<(String, String)> {
    let sources = answer["observations"]["sources"].as_array();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    sources
        .into_iter()
        .flatten()
        .map(|source| (text(&source["result"]), text(&source["why"])))
        .collect()
}

#[test]
fn nothing_is_asked_unless_it_is_wanted() {
    let (address, asked) = publisher(b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n", b"");
    let at = Workshop::new(&listed_at(&[format!("http://{address}/list.crl")]));
    let (answer, _) = at.doctor(FILES);
    assert_eq!(answer["healthy"], true);
    let unasked = [("not-asked".to_owned(), "--fetch was not given".to_owned())];
    assert_eq!(results(&answer), unasked);
    assert_eq!(asked.load(Ordering::SeqCst), 0);
    let said = at.run(&format!("{} doctor {FILES}", binary().display()));
    assert!(said.stdout.contains("--fetch: asks"), "{}", said.stdout);

    let (answer, _) = at.doctor(&format!("{FILES} --fetch"));
    assert_eq!(answer["healthy"], true, "a place that is gone is a risk");
    assert_eq!(answer["findings"][0]["cause"], "crl-missing");
    assert_eq!(answer["findings"][0]["severity"], "risk");
    assert_eq!(results(&answer)[0].0, "unreachable");
    assert_eq!(asked.load(Ordering::SeqCst), 1, "each place once");
}

#[test]
fn places_that_a_certificate_has_no_business_with_are_left_alone() {
    let uris = |uri: &str| vec![uri.to_owned()];
    for (uri, result, why) in [
        (
            "http://169.254.169.254/latest",
            "unreachable",
            "nothing is fetched from",
        ),
        (
            "http://[fe80::1]/list.crl",
            "unreachable",
            "nothing is fetched from",
        ),
        ("https://localhost/list.crl", "not-asked", "https"),
        ("ldap://localhost/cn=ca", "not-asked", "http://"),
        ("file:///etc/passwd", "not-asked", "URL"),
    ] {
        let at = Workshop::new(&listed_at(&uris(uri)));
        let (answer, _) = at.doctor(&format!("{FILES} --fetch"));
        assert_eq!(answer["healthy"], true, "{uri}");
        let found = results(&answer);
        assert_eq!(found[0].0, result, "{uri}: {found:?}");
        assert!(found[0].1.contains(why), "{uri}: {found:?}");
    }
}

#[test]
fn certificate_of_a_server_that_nobody_vouches_for_sends_nobody_anywhere() {
    let test = "certificate_of_a_server_that_nobody_vouches_for";
    if peer(test, "openssl").is_none() {
        return;
    }
    let (address, asked) = publisher(b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n", b"");
    let at = Workshop::new(&listed_at(&[format!("http://{address}/list.crl")]));
    let other = Workshop::new(&server());
    let mut server = Server::start(&at);
    let place = format!("localhost:{} --fetch", server.port);
    let (stranger, _) = other.doctor(&format!("{place} --ca ca.pem"));
    let unasked = asked.load(Ordering::SeqCst);
    let (known, _) = at.doctor(&format!("{place} --ca ca.pem"));
    server.stop();
    assert_eq!(stranger["healthy"], false, "{stranger}");
    assert!(
        results(&stranger)[0].1.contains("nobody vouches"),
        "{stranger}"
    );
    assert_eq!(unasked, 0);
    assert_eq!(results(&known)[0].0, "unreachable", "{known}");
    assert_eq!(asked.load(Ordering::SeqCst), 1);
}

/// Whoever may sign what he likes takes the name and the key of somebody's issuer, which are no secret.
#[test]
fn what_a_server_sends_beside_its_verified_path_sends_nobody_anywhere() {
    let test = "what_a_server_sends_beside_its_verified_path";
    if peer(test, "openssl").is_none() {
        return;
    }
    let answer = b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n";
    let ((place, asked), (inward, lured)) = (publisher(answer, b""), publisher(answer, b""));
    let listed = |at: SocketAddr| {
        let mut draft = authority("Issuing");
        draft.crl_distribution_points = vec![CrlDistributionPoint {
            uris: vec![format!("http://{at}/list.crl")],
        }];
        draft
    };
    let at = Workshop::new(&server());
    let issuing = CertifiedIssuer::signed_by(listed(place), key(), &at.root).expect("a CA");
    let evil = CertifiedIssuer::self_signed(authority("Evil"), key()).expect("a root");
    let forged = listed(inward)
        .signed_by(issuing.key(), &evil)
        .expect("a CA");
    let own = key();
    let leaf = server().signed_by(&own, &issuing).expect("a leaf");
    at.write("server.pem", &leaf.pem());
    at.write("server.key", &own.serialize_pem());
    let sent = [forged.pem(), issuing.pem(), evil.pem()].concat();
    at.write("root.pem", &at.root.pem());
    at.write("ca.pem", &sent);
    let mut server = Server::start(&at);
    let (answer, _) = at.doctor(&format!("localhost:{} --ca root.pem --fetch", server.port));
    server.stop();
    assert_eq!(answer["healthy"], true, "{answer}");
    assert_eq!(lured.load(Ordering::SeqCst), 0, "{answer}");
    assert_eq!(asked.load(Ordering::SeqCst), 1, "{answer}");
}

/// `server.pem` with `ca.pem` behind it.
struct Server {
    child: Child,
    port: u16,
}

impl Server {
    fn start(at: &Workshop) -> Self {
        let target = countersign_testkit::ephemeral::address();
        let child = Command::new("openssl")
            .args(["s_server", "-www", "-quiet", "-accept", &target.to_string()])
            .args(["-cert", "server.pem", "-key", "server.key"])
            .args(["-cert_chain", "ca.pem"])
            .current_dir(at.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("openssl starts");
        let begun = Instant::now();
        while std::net::TcpStream::connect(target).is_err() && begun.elapsed() < HANG {
            std::thread::sleep(Duration::from_millis(20));
        }
        Self {
            child,
            port: target.port(),
        }
    }

    fn stop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn publisher_that_never_ends_costs_no_more_than_its_time() {
    const HEAD: &[u8] = b"HTTP/1.1 200 OK\r\n\r\n";
    let (flood, _) = publisher(HEAD, &[b'x'; 8192]);
    let (silent, _) = publisher(b"", b"");
    let (page, _) = publisher(b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\n<html>", b"");
    for uri in [
        format!("http://{flood}/a"),
        format!("http://{silent}/b"),
        format!("http://{page}/c\u{1b}[31m"),
    ] {
        let at = Workshop::new(&listed_at(std::slice::from_ref(&uri)));
        let begun = Instant::now();
        let (answer, whole) = at.doctor(&format!("{FILES} --fetch --timeout 2"));
        assert!(begun.elapsed() < HANG, "{uri}");
        assert_eq!(answer["healthy"], true, "{uri}");
        assert!(!whole.stdout.contains('\u{1b}'), "{uri}");
    }
}

/// What the table says of Python and OpenSSL is what they do.
#[test]
fn other_clients_are_named_where_they_differ_and_nowhere_else() {
    let at = Workshop::new(&server());
    let (answer, _) = at.doctor(FILES);
    assert_eq!(answer["observations"]["other_clients"], Value::Null);

    let mut without = server();
    without.use_authority_key_identifier_extension = false;
    let at = Workshop::new(&without);
    let (answer, _) = at.doctor(FILES);
    assert_eq!(answer["healthy"], true, "never a fault");
    let differing = &answer["observations"]["other_clients"];
    assert_eq!(differing.as_array().map(Vec::len), Some(1), "{differing}");
    assert_eq!(differing[0]["cause"], "ca-extensions-incomplete");
    assert_eq!(
        differing[0]["refused_by"][0]["client"],
        "Python from 3.13 on"
    );
    let said = at.run(&format!("{} doctor {FILES}", binary().display()));
    assert!(said.stdout.contains("other clients"), "{}", said.stdout);
    if peer("other_clients_are_named", "openssl").is_some() {
        let usual = at.run("openssl verify -CAfile ca.pem server.pem");
        assert_eq!(usual.code, Some(0), "{}", usual.all());
        // The flag that Python sets.
        let strict = at.run("openssl verify -x509_strict -CAfile ca.pem server.pem");
        assert!(
            strict.all().contains("Missing Authority Key"),
            "{}",
            strict.all()
        );
    }
}

/// Only catches a hang.
const HANG: Duration = Duration::from_mins(1);
