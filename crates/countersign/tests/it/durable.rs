//! No signature without a record: whatever instant the process is killed at, the inventory knows every certificate that
//! anybody has received, and every revocation that was acknowledged; no CRL number goes back or stands for two lists.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Command;
use std::sync::mpsc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_lc_rs::digest::{SHA256, digest};
use countersign_testkit::pki;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, CertificateRevocationListDer};
use serde_json::{Value, json};

use crate::installation::{Installation, text};

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
        let socket = &process.path("state").join("admin.sock");
        let (sender, certificates) = mpsc::channel();
        std::thread::scope(|scope| {
            for client in 0..CLIENTS {
                let sender = sender.clone();
                scope.spawn(move || {
                    let revokes = client % 2 == 0;
                    let name = format!("client-{kill}-{client}");
                    // A key stands for one identity.
                    issue_until_the_end(socket, &pki::request(), &name, revokes, &sender);
                });
            }
            let reader = sender.clone();
            scope.spawn(move || read_lists_until_the_end(socket, &reader));
            drop(sender);
            // Every fourth time anywhere from the start on, unsealing of the CA key included; else amid the issuing.
            if kill % 4 == 0 {
                std::thread::sleep(Duration::from_millis(random.below(300)));
            } else {
                let is_issuing = |received| {
                    let is_certificate = matches!(received, Received::Certificate { .. });
                    known.record(received);
                    is_certificate
                };
                assert!(certificates.iter().any(is_issuing), "it ended by itself");
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
    let lists = known.lists.len();
    println!(
        "{kills} kills, {received} certificates received, {revoked} revoked, {lists} CRLs, seed {seed}"
    );
    let enough = kills as usize;
    assert!(
        received > enough && revoked > enough / 10 && lists > enough / 10,
        "{received} certificates, {revoked} revocations and {lists} CRLs are too few to prove anything"
    );
}

/// What a client got: a whole answer.
enum Received {
    Certificate { serial: String, fingerprint: String },
    List { number: u64, pem: String },
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
    /// The issuing CA's lists by their numbers, as digests.
    lists: BTreeMap<u64, String>,
}

/// Asks for the issuing CA's list over and over: it is signed anew whenever something was revoked since the last.
fn read_lists_until_the_end(socket: &Path, received: &mpsc::Sender<Received>) {
    let Ok(stream) = UnixStream::connect(socket) else {
        return;
    };
    let mut stream = BufReader::new(stream);
    loop {
        match post(&mut stream, "/v1/revocation-lists", &json!({})) {
            Some((200, answer)) => {
                let list = &answer["lists"][0];
                let pem = list["pem"].as_str().expect("a list").to_owned();
                let number = crl_number(
                    &CertificateRevocationListDer::from_pem_slice(pem.as_bytes()).expect("PEM"),
                );
                assert_eq!(list["number"].as_u64(), Some(number));
                if received.send(Received::List { number, pem }).is_err() {
                    return;
                }
            }
            Some((503, _)) => std::thread::sleep(Duration::from_millis(5)),
            Some((status, answer)) => panic!("{status}: {answer}"),
            None => return,
        }
    }
}

/// The cRLNumber (RFC 5280 §5.2.3), found by its OID: read here, by code that the product does not share.
fn crl_number(list: &[u8]) -> u64 {
    let oid = [0x06, 0x03, 0x55, 0x1d, 0x14];
    let mut places = list.windows(oid.len());
    let at = places.position(|bytes| bytes == oid).expect("a number") + oid.len();
    let (_, value) = element(&list[at..]);
    let (tag, number) = element(value);
    assert_eq!(tag, INTEGER);
    number
        .iter()
        .fold(0, |sum, &octet| sum << 8 | u64::from(octet))
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
            Received::List { number, pem } => {
                let bytes = hex(digest(&SHA256, pem.as_bytes()).as_ref());
                let last = self.lists.last_key_value().map(|(&number, _)| number);
                assert!(last <= Some(number), "CRL {number} came behind {last:?}");
                let of_that_number = self.lists.entry(number).or_insert_with(|| bytes.clone());
                assert_eq!(*of_that_number, bytes, "CRL {number} is two lists");
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
        self.compare_list(installation);
    }

    /// The next list is no older than any that was seen, and has every revocation that somebody was told of.
    fn compare_list(&self, installation: &Installation) {
        let path = installation.path("kills.crl");
        installation.ok(&["ca", "crl", "--out", text(&path)]);
        let lists = std::fs::read(&path).expect("written");
        let list = CertificateRevocationListDer::from_pem_slice(&lists).expect("PEM");
        let seen = self.lists.last_key_value().map(|(&number, _)| number);
        assert!(seen <= Some(crl_number(&list)), "{seen:?} was seen");
        let shown = Command::new("openssl")
            .args(["crl", "-noout", "-text", "-in", text(&path)])
            .output()
            .expect("openssl runs");
        let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
        let listed: HashSet<String> = (shown.lines())
            .filter_map(|line| line.trim().strip_prefix("Serial Number: "))
            .map(normal)
            .collect();
        let missing: Vec<_> = self.revoked.difference(&listed).collect();
        assert!(missing.is_empty(), "revoked and not listed: {missing:?}");
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
