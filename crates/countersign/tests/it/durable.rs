//! No signature without a record: whatever instant the process is killed at, the inventory knows every certificate that
//! anybody has received, and every revocation that was acknowledged.

use std::collections::{HashMap, HashSet};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::mpsc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_lc_rs::digest::{SHA256, digest};
use countersign_testkit::pki;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use serde_json::{Value, json};

use crate::installation::Installation;

#[test]
fn killed_at_any_instant_nothing_is_issued_that_the_inventory_does_not_know() {
    let seed = seed();
    println!("seed {seed} (COUNTERSIGN_KILL_SEED={seed} repeats it)");
    let mut random = Random(seed);
    let installation = Installation::new();
    let mut known = Known::default();
    let kills = kills();
    for kill in 1..=kills {
        let process = installation.up(&[]);
        let socket = process.path("state").join("admin.sock");
        let (sender, certificates) = mpsc::channel();
        std::thread::scope(|scope| {
            for client in 0..CLIENTS {
                let (sender, socket) = (sender.clone(), &socket);
                scope.spawn(move || {
                    let revokes = client % 2 == 0;
                    let name = format!("client-{kill}-{client}");
                    // A key stands for one identity.
                    issue_until_the_end(socket, &pki::request(), &name, revokes, &sender);
                });
            }
            drop(sender);
            // Every fourth time anywhere from the start on, unsealing of the CA key included; else amid the issuing.
            if kill % 4 == 0 {
                std::thread::sleep(Duration::from_millis(random.below(300)));
            } else {
                let first = certificates
                    .recv()
                    .expect("a certificate is issued before the process ends");
                known.record(first);
                std::thread::sleep(Duration::from_micros(random.below(50_000)));
            }
            process.kill();
        });
        for certificate in certificates {
            known.record(certificate);
        }
        if kill % COMPARE_EVERY == 0 || kill == kills {
            known.compare(&installation);
        }
    }
    let (received, revoked) = (known.received.len(), known.revoked.len());
    println!("{kills} kills, {received} certificates received, {revoked} revoked, seed {seed}");
    let enough = kills as usize;
    assert!(
        received > enough && revoked > enough / 10,
        "{received} certificates and {revoked} revocations are too few to prove anything"
    );
}

/// What a client got: a whole answer.
enum Received {
    Certificate { serial: String, fingerprint: String },
    Revocation { serial: String, sequence: u64 },
}

/// Everything that clients were told.
#[derive(Default)]
struct Known {
    /// Fingerprints by serial.
    received: HashMap<String, String>,
    revoked: HashSet<String>,
    /// The last place in the feed that anybody was told.
    sequence: u64,
}

/// Asks for one certificate after the other, and revokes each where that is wished, until nobody answers any more.
fn issue_until_the_end(
    socket: &Path,
    request: &str,
    name: &str,
    revokes: bool,
    received: &mpsc::Sender<Received>,
) {
    let Ok(stream) = UnixStream::connect(socket) else {
        return;
    };
    let mut stream = BufReader::new(stream);
    loop {
        match issue(&mut stream, request, name) {
            Some((200 | 201, answer)) => {
                let chain = answer["chain_pem"].as_str().expect("an answer has a chain");
                let leaf =
                    CertificateDer::from_pem_slice(chain.as_bytes()).expect("the chain is PEM");
                let serial = serial(&leaf);
                assert_eq!(answer["serial"].as_str().map(normal), Some(serial.clone()));
                let certificate = Received::Certificate {
                    serial: serial.clone(),
                    fingerprint: hex(digest(&SHA256, &leaf).as_ref()),
                };
                if received.send(certificate).is_err() {
                    return;
                }
                if !revokes {
                    continue;
                }
                let Some(sequence) = revoke(&mut stream, &serial) else {
                    return;
                };
                if received
                    .send(Received::Revocation { serial, sequence })
                    .is_err()
                {
                    return;
                }
            }
            // The CA key is being unsealed; nothing tells a client when that is done.
            Some((503, _)) => std::thread::sleep(Duration::from_millis(5)),
            Some((status, answer)) => panic!("{status}: {answer}"),
            None => return,
        }
    }
}

/// One request on a kept-alive connection; `None` when the answer did not come whole.
fn issue(stream: &mut BufReader<UnixStream>, request: &str, name: &str) -> Option<(u16, Value)> {
    let body = json!({ "profile": "client", "name": name, "csr": request });
    post(stream, "/v1/issue", &body)
}

/// The same under a key, for as long as it takes the CA key to be unsealed.
pub(crate) fn issue_under(socket: &Path, key: &str, body: &str) -> Value {
    let head = head("/v1/issue", Some(key), body.len());
    let mut stream = BufReader::new(UnixStream::connect(socket).expect("served"));
    loop {
        match ask(&mut stream, &format!("{head}{body}")) {
            Some((200, answer)) => return answer,
            Some((503, _)) => std::thread::sleep(Duration::from_millis(5)),
            other => panic!("{other:?}"),
        }
    }
}

/// Where in the feed the revocation stands; `None` when the answer did not come whole.
fn revoke(stream: &mut BufReader<UnixStream>, serial: &str) -> Option<u64> {
    let body = json!({ "what": serial, "reason": "superseded" });
    let (status, answer) = post(stream, "/v1/revoke", &body)?;
    assert_eq!(status, 200, "{answer}");
    Some(
        answer["sequence"]
            .as_u64()
            .expect("a receipt has its place"),
    )
}

fn post(stream: &mut BufReader<UnixStream>, path: &str, body: &Value) -> Option<(u16, Value)> {
    let body = body.to_string();
    let head = head(path, None, body.len());
    ask(stream, &format!("{head}{body}"))
}

/// The lines before a body of JSON.
pub(crate) fn head(path: &str, key: Option<&str>, length: usize) -> String {
    let key = key.map(|key| format!("Idempotency-Key: \"{key}\"\r\n"));
    format!(
        "POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n{}Content-Length: {length}\r\n\r\n",
        key.unwrap_or_default()
    )
}

fn ask(stream: &mut BufReader<UnixStream>, request: &str) -> Option<(u16, Value)> {
    stream.get_mut().write_all(request.as_bytes()).ok()?;
    let status = line(stream)?.split(' ').nth(1)?.parse().ok()?;
    let mut length = 0;
    loop {
        let field = line(stream)?.to_ascii_lowercase();
        if field.is_empty() {
            break;
        }
        if let Some(value) = field.strip_prefix("content-length:") {
            length = value.trim().parse().ok()?;
        }
    }
    let mut answer = vec![0; length];
    stream.read_exact(&mut answer).ok()?;
    Some((
        status,
        serde_json::from_slice(&answer).expect("a whole answer is JSON"),
    ))
}

fn line(stream: &mut BufReader<UnixStream>) -> Option<String> {
    let mut line = String::new();
    stream.read_line(&mut line).ok()?;
    Some(line.strip_suffix("\r\n")?.to_owned())
}

impl Known {
    fn record(&mut self, received: Received) {
        match received {
            Received::Certificate {
                serial,
                fingerprint,
            } => {
                if let Some(other) = self.received.insert(serial.clone(), fingerprint.clone()) {
                    panic!("{fingerprint} and {other} have the same serial {serial}");
                }
            }
            Received::Revocation { serial, sequence } => {
                self.revoked.insert(serial);
                self.sequence = self.sequence.max(sequence);
            }
        }
    }

    /// The database opens, has every certificate that a client has and every revocation that one was told, goes on behind
    /// the feed's last place, and each record is in its link.
    fn compare(&self, installation: &Installation) {
        let mut inventory: HashMap<String, (Option<String>, bool)> = HashMap::new();
        for certificate in installation.certificates(&[]) {
            let text = |field: &str| certificate[field].as_str().map(normal);
            let serial = text("serial").expect("a serial");
            let is_revoked = certificate["status"] == "revoked";
            let twice = inventory.insert(serial.clone(), (text("fingerprint"), is_revoked));
            assert!(
                twice.is_none(),
                "serial {serial} stands twice in the inventory"
            );
        }
        for (serial, fingerprint) in &self.received {
            let found = inventory.get(serial).map(|(fingerprint, _)| fingerprint);
            assert_eq!(
                found,
                Some(&Some(fingerprint.clone())),
                "serial {serial} was handed out"
            );
        }
        for serial in &self.revoked {
            assert!(inventory[serial].1, "serial {serial} was revoked");
        }
        let status: Value = serde_json::from_str(&installation.run(&["status", "--json"]).stdout)
            .expect("an answer");
        assert!(status["authority"]["sequence"].as_u64() >= Some(self.sequence));
        installation.ok(&["audit", "verify"]);
    }
}

/// The serial number (RFC 5280 §4.1): read here, by code that the product does not share.
fn serial(certificate: &[u8]) -> String {
    let (_, certificate) = element(certificate);
    let (_, mut fields) = element(certificate);
    loop {
        let (tag, value) = element(fields);
        if tag == INTEGER {
            return normal(&hex(value));
        }
        let size = value.as_ptr_range().end as usize - fields.as_ptr() as usize;
        fields = &fields[size..];
    }
}

/// Tag and content of the element in front.
fn element(der: &[u8]) -> (u8, &[u8]) {
    let (header, length) = match der[1] {
        short @ ..0x80 => (2, usize::from(short)),
        long => {
            let octets = usize::from(long & 0x7f);
            (
                2 + octets,
                der[2..2 + octets]
                    .iter()
                    .fold(0, |sum, &octet| sum << 8 | usize::from(octet)),
            )
        }
    };
    (der[0], &der[header..header + length])
}

/// Hexadecimal digits in lower case without colons and leading zeros.
fn normal(hex: &str) -> String {
    let digits = hex
        .to_ascii_lowercase()
        .replace(':', "")
        .replace("sha256", "");
    digits.trim_start_matches('0').to_owned()
}

fn hex(bytes: &[u8]) -> String {
    let digits: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    normal(&digits.concat())
}

fn seed() -> u64 {
    let given = std::env::var("COUNTERSIGN_KILL_SEED")
        .ok()
        .and_then(|seed| seed.parse().ok());
    given.unwrap_or_else(|| {
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .expect("after 1970");
        u64::from(now.subsec_nanos()) << 16 | u64::from(std::process::id())
    })
}

/// Knuth's MMIX generator; the high bits are the good ones.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}

/// `bench/kills` asks for more.
fn kills() -> u32 {
    std::env::var("COUNTERSIGN_KILLS").map_or(KILLS, |kills| {
        kills.parse().expect("COUNTERSIGN_KILLS is a number")
    })
}

/// What the acceptance of the main job asks for.
const KILLS: u32 = 200;
/// A comparison reads the whole inventory; a certificate lost at one kill is still lost at the next comparison.
const COMPARE_EVERY: u32 = 20;
const CLIENTS: u32 = 4;
/// X.690 §8.3.
const INTEGER: u8 = 0x02;
