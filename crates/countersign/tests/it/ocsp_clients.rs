//! Clients whose certificates are asked about: a partner's responder is `openssl ocsp` over the index of `openssl ca`, behind a shim of
//! the test that says when it answers, and what else it may say.

mod modes;
mod own;
mod protocols;
mod withdrawn;

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use countersign_testkit::bypass::Protocol;
use countersign_testkit::client::{Client, Outcome};
use countersign_testkit::pki::TestIdentity;
use countersign_testkit::process::Process;
use countersign_testkit::upstream::Upstream;

use crate::http::Connection;
use crate::installation::{Answer, Installation, Issued, countersign, text};
use crate::openssl_partner::Partner;
use crate::peers::peer;
use crate::revocation::for_client;

const HANG: Duration = Duration::from_mins(1);
const ACCESS_DENIED: u8 = 49;
const CERTIFICATE_REVOKED: u8 = 44;

/// What the responder does with a question.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Manner {
    /// As `openssl ocsp` answers from the CA's index.
    Honest,
    /// Nothing listens to what is asked: the connection is closed.
    Dead,
    /// Keeps the question until something else is said.
    Silent,
    /// The same, and answers those that wait when it is told to be something else.
    Held,
    /// These bytes, whatever is asked.
    Bytes(Vec<u8>),
    /// As `openssl ocsp` answers with the key of another CA.
    SignedBy(PathBuf),
}

/// A responder on loopback, which ends with the test.
struct Responder {
    address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    openssl: PathBuf,
    ca: PathBuf,
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    manner: Manner,
    /// How many questions have arrived.
    asked: usize,
    at_once: usize,
    most_at_once: usize,
    last_answer: Vec<u8>,
}

impl Responder {
    fn start(openssl: &Path, partner: &Partner) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("bound");
        let shared = Arc::new(Shared {
            openssl: openssl.to_owned(),
            ca: partner.path("."),
            state: Mutex::new(State {
                manner: Manner::Honest,
                asked: 0,
                at_once: 0,
                most_at_once: 0,
                last_answer: Vec::new(),
            }),
            changed: Condvar::new(),
        });
        let answering = Arc::clone(&shared);
        std::thread::spawn(move || {
            for socket in listener.incoming().flatten() {
                let shared = Arc::clone(&answering);
                std::thread::spawn(move || shared.serve(socket));
            }
        });
        Self { address, shared }
    }

    fn become_(&self, manner: Manner) {
        self.shared.state.lock().expect("whole").manner = manner;
        self.shared.changed.notify_all();
    }

    fn asked(&self) -> usize {
        self.shared.state.lock().expect("whole").asked
    }

    fn most_at_once(&self) -> usize {
        self.shared.state.lock().expect("whole").most_at_once
    }

    fn last_answer(&self) -> Vec<u8> {
        self.shared.state.lock().expect("whole").last_answer.clone()
    }

    /// Blocks until so many questions have arrived.
    fn wait_for(&self, asked: usize) {
        let state = self.shared.state.lock().expect("whole");
        let (state, waited) = self
            .shared
            .changed
            .wait_timeout_while(state, HANG, |state| state.asked < asked)
            .expect("whole");
        assert!(!waited.timed_out(), "{} of {asked} questions", state.asked);
    }
}

impl Shared {
    fn serve(&self, mut socket: TcpStream) {
        let Some(question) = read_post(&mut socket) else {
            return;
        };
        let mut state = self.state.lock().expect("whole");
        state.asked += 1;
        let number = state.asked;
        state.at_once += 1;
        state.most_at_once = state.most_at_once.max(state.at_once);
        self.changed.notify_all();
        while matches!(state.manner, Manner::Held | Manner::Silent) {
            state = self.changed.wait(state).expect("whole");
        }
        state.at_once -= 1;
        let manner = state.manner.clone();
        drop(state);
        let answer = match manner {
            Manner::Honest => self.answer(number, &question, &self.ca),
            Manner::SignedBy(ca) => self.answer(number, &question, &ca),
            Manner::Bytes(bytes) => bytes,
            Manner::Dead | Manner::Held | Manner::Silent => return,
        };
        self.state
            .lock()
            .expect("whole")
            .last_answer
            .clone_from(&answer);
        let head = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: application/ocsp-response\r\nContent-Length: {}\r\n\r\n",
            answer.len()
        );
        // Whoever asked may have given up.
        let _ = socket.write_all(head.as_bytes());
        let _ = socket.write_all(&answer);
    }

    fn answer(&self, number: usize, question: &[u8], signer: &Path) -> Vec<u8> {
        let (asked, answered) = (format!("{number}.ocsp.req"), format!("{number}.ocsp.resp"));
        fs::write(self.ca.join(&asked), question).expect("writable");
        let (certificate, key) = (signer.join("ca.pem"), signer.join("ca.key"));
        let fixed = [
            "ocsp",
            "-index",
            "index.txt",
            "-CA",
            "ca.pem",
            "-nmin",
            "10",
        ];
        let files = ["-reqin", &asked, "-respout", &answered];
        let mut command = Command::new(&self.openssl);
        command.args(fixed).args(files);
        command.args(["-rsigner", text(&certificate), "-rkey", text(&key)]);
        let answer = Answer::of(command.current_dir(&self.ca));
        assert_eq!(answer.code, Some(0), "{answer:#?}");
        fs::read(self.ca.join(&answered)).expect("an answer")
    }
}

/// The body of a POST as our client sends it.
fn read_post(socket: &mut TcpStream) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut piece = [0; 4096];
    loop {
        if let Some(end) = bytes.windows(4).position(|it| it == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&bytes[..end]).to_lowercase();
            assert!(head.starts_with("post "), "{head}");
            assert!(
                head.contains("content-type: application/ocsp-request"),
                "{head}"
            );
            let length = head
                .lines()
                .find_map(|it| it.strip_prefix("content-length: "));
            let length: usize = length.expect("a length").trim().parse().expect("a number");
            if bytes.len() >= end + 4 + length {
                return Some(bytes[end + 4..].to_vec());
            }
        }
        match socket.read(&mut piece) {
            Ok(0) | Err(_) => return None,
            Ok(read) => bytes.extend_from_slice(&piece[..read]),
        }
    }
}

/// A gateway that trusts `internal` and the partner `acme`, whose responder is asked.
struct Scene {
    openssl: PathBuf,
    partner: Partner,
    responder: Responder,
    installation: Installation,
    upstream: Upstream,
    ours: Issued,
}

impl Scene {
    fn new(test: &str) -> Option<Self> {
        let openssl = peer(test, "openssl")?;
        let partner = Partner::new(&openssl, "/CN=Acme CA");
        let responder = Responder::start(&openssl, &partner);
        let installation = Installation::new();
        let ours = installation.issue("client", "ours", &[]);
        installation.write("acme.pem", &partner.root());
        Some(Self {
            openssl,
            partner,
            responder,
            installation,
            upstream: Upstream::start(),
            ours,
        })
    }

    /// `ocsp`: more of the table; `more`: more of the bundle.
    fn trust(&self, ocsp: &str, more: &str) -> String {
        let url = self.responder.address;
        format!(
            "[trust.acme]\nbundle = \"acme.pem\"\nocsp = {{ url = \"http://{url}/\", {ocsp} }}\n{more}\n"
        )
    }

    fn toml(&self, ocsp: &str, more: &str) -> String {
        format!(
            "[gateway]\nmetrics_address = \"127.0.0.1:0\"\n[[gateway.listener]]\naddress = \"127.0.0.1:0\"\n\
             trust = [\"internal\", \"acme\"]\n[[gateway.listener.route]]\nhost = \"localhost\"\nupstream = \"http://{}\"\n\
             allow = [\"any-trusted\"]\n{}",
            self.upstream.address(),
            self.trust(ocsp, more)
        )
    }

    fn serve(&self, ocsp: &str, more: &str) -> Process {
        self.installation.serve(&self.toml(ocsp, more))
    }

    fn client(&self, identity: &TestIdentity, protocol: Protocol) -> Client {
        Client::new(&self.ours.root(), Some(identity), protocol, "localhost")
    }

    async fn ask(&self, identity: &TestIdentity, gateway: SocketAddr, path: &str) -> Outcome {
        let protocol = Protocol::Http1Tls13;
        let client = self.client(identity, protocol);
        client.request(gateway, for_client(protocol, path)).await
    }

    /// What the operator reads of the refusal that the client can quote.
    fn explained(&self, told: &Outcome) -> String {
        let text = told.text();
        let (_, id) = text.split_once("\"refusal_id\":\"").expect("an id");
        let (id, _) = id.split_once('"').expect("an id");
        self.installation.ok(&["explain", id])
    }

    fn causes(&self) -> String {
        self.installation
            .ok(&["explain", "--from", "127.0.0.1", "--since", "1h"])
    }
}

/// Waits for a condition; only a hang ends it early.
async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let begun = Instant::now();
    while !holds().await {
        assert!(begun.elapsed() < HANG, "not in time: {what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

fn gateway_metrics(gateway: &Process) -> String {
    crate::metrics::plain_get(crate::metrics::metrics_address(gateway), "/metrics", "")
}

/// Long enough for any machine, so that nothing but an answer ends a wait.
const PATIENT: &str = "timeout = \"60s\"";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn client_is_let_in_by_a_good_answer_and_asked_about_once() {
    let Some(scene) = Scene::new("client_is_let_in_by_a_good_answer_and_asked_about_once") else {
        return;
    };
    let good = scene.partner.issue("good");
    let gateway = scene.serve(PATIENT, "");
    for round in 0..3 {
        for protocol in Protocol::HTTP {
            let client = scene.client(&good, protocol);
            let outcome = client
                .request(gateway.gateway(), for_client(protocol, "/good"))
                .await;
            assert_eq!(
                outcome.status(),
                Some(200),
                "{round} {protocol:?} {outcome:?}"
            );
        }
    }
    assert_eq!(scene.responder.asked(), 1, "one answer serves them all");
    // Nobody of our own is asked about.
    let ours = scene.ours.identity();
    let outcome = scene.ask(&ours, gateway.gateway(), "/ours").await;
    assert_eq!((outcome.status(), scene.responder.asked()), (Some(200), 1));
    let status = scene.installation.ok(&["status"]);
    assert!(status.contains("1 good, 0 revoked"), "{status}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn revoked_client_is_told_when_it_waited_and_gets_the_alert_once_that_is_known() {
    let test = "revoked_client_is_told_when_it_waited_and_gets_the_alert_once_that_is_known";
    let Some(scene) = Scene::new(test) else {
        return;
    };
    for protocol in Protocol::HTTP {
        let name = format!("bad-{protocol:?}");
        let bad = scene.partner.issue(&name);
        scene.partner.revoke(&name);
        let gateway = scene.serve(PATIENT, "revocation = \"dangerous_soft\"");
        let client = scene.client(&bad, protocol);
        let first = client
            .request(gateway.gateway(), for_client(protocol, "/first"))
            .await;
        assert_eq!(first.status(), Some(403), "{protocol:?} {first:?}");
        assert!(first.text().contains("refusal"), "{first:?}");
        for client in [client.clone(), client.without_sessions()] {
            let next = client
                .request(gateway.gateway(), for_client(protocol, "/next"))
                .await;
            assert!(
                matches!(next, Outcome::Alert(CERTIFICATE_REVOKED)),
                "{next:?}"
            );
        }
        let causes = scene.causes();
        assert!(causes.contains("certificate-revoked"), "{causes}");
    }
    assert_eq!(scene.upstream.received_text(), "");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn certificate_that_its_responder_does_not_know_is_refused_in_each_mode() {
    let test = "certificate_that_its_responder_does_not_know_is_refused_in_each_mode";
    let Some(scene) = Scene::new(test) else {
        return;
    };
    let stranger = scene.partner.issue("stranger");
    // The CA has lost its memory of whom it signed for.
    fs::write(scene.partner.path("index.txt"), "").expect("writable");
    for mode in [
        "",
        "revocation = \"grace\"\ngrace = \"1d\"",
        "revocation = \"dangerous_soft\"",
    ] {
        let gateway = scene.serve(PATIENT, mode);
        let first = scene.ask(&stranger, gateway.gateway(), "/first").await;
        assert_eq!(first.status(), Some(403), "{mode} {first:?}");
        let next = scene.ask(&stranger, gateway.gateway(), "/next").await;
        assert!(
            matches!(next, Outcome::Alert(ACCESS_DENIED)),
            "{mode} {next:?}"
        );
        let explained = scene.explained(&first);
        assert!(explained.contains("ocsp-unknown"), "{explained}");
    }
    assert_eq!(scene.upstream.received_text(), "");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_had_to_wait_gets_no_session() {
    let Some(scene) = Scene::new("whoever_had_to_wait_gets_no_session") else {
        return;
    };
    for protocol in Protocol::HTTP {
        let good = scene.partner.issue(&format!("good-{protocol:?}"));
        let gateway = scene.serve(PATIENT, "");
        let client = scene.client(&good, protocol);
        for resumed in [false, false, true] {
            let mut connection = Connection::open(&client, protocol, gateway.gateway())
                .await
                .expect("let in");
            let answer = connection.get("/sessions").await.expect("an answer");
            assert_eq!(answer.0, 200);
            assert_eq!(connection.handshake().resumed, resumed, "{protocol:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_connections_of_one_certificate_are_one_question() {
    let Some(scene) = Scene::new("many_connections_of_one_certificate_are_one_question") else {
        return;
    };
    let good = scene.partner.issue("good");
    scene.responder.become_(Manner::Held);
    let gateway = scene.serve(PATIENT, "");
    let address = gateway.gateway();
    let client = scene.client(&good, Protocol::Http1Tls13);
    let asking: Vec<_> = (0..20)
        .map(|_| {
            let client = client.without_sessions();
            let request = for_client(Protocol::Http1Tls13, "/many");
            tokio::spawn(async move { client.request(address, request).await })
        })
        .collect();
    scene.responder.wait_for(1);
    // Each has finished its handshake, and waits.
    until("all wait", async || {
        let metrics = gateway_metrics(&gateway);
        metrics.contains("countersign_gateway_ocsp_misses_total{bundle=\"acme\"} 20")
    })
    .await;
    assert_eq!(scene.upstream.received_text(), "");
    scene.responder.become_(Manner::Honest);
    for asked in asking {
        let outcome = asked.await.expect("no panic");
        assert_eq!(outcome.status(), Some(200), "{outcome:?}");
    }
    assert_eq!(scene.responder.asked(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn flood_of_certificates_asks_no_more_at_once_than_it_may() {
    let Some(scene) = Scene::new("flood_of_certificates_asks_no_more_at_once_than_it_may") else {
        return;
    };
    let clients: Vec<_> = (0..24)
        .map(|number| scene.partner.issue(&format!("client-{number}")))
        .map(|identity| scene.client(&identity, Protocol::Http1Tls13))
        .collect();
    scene.responder.become_(Manner::Held);
    let gateway = scene.serve(PATIENT, "");
    let address = gateway.gateway();
    let asking: Vec<_> = clients
        .into_iter()
        .map(|client| {
            let request = for_client(Protocol::Http1Tls13, "/flood");
            tokio::spawn(async move { client.request(address, request).await })
        })
        .collect();
    until("all wait", async || {
        let metrics = gateway_metrics(&gateway);
        metrics.contains("countersign_gateway_ocsp_misses_total{bundle=\"acme\"} 24")
    })
    .await;
    scene.responder.wait_for(16);
    // Whoever is not asked about waits for nobody.
    let outcome = scene.ask(&scene.ours.identity(), address, "/ours").await;
    assert_eq!(outcome.status(), Some(200), "{outcome:?}");
    scene.responder.become_(Manner::Honest);
    for asked in asking {
        let outcome = asked.await.expect("no panic");
        assert_eq!(outcome.status(), Some(200), "{outcome:?}");
    }
    assert_eq!(
        (scene.responder.asked(), scene.responder.most_at_once()),
        (24, 16)
    );
}

#[test]
fn configuration_that_asks_nobody_is_refused_with_its_place() {
    let test = "configuration_that_asks_nobody_is_refused_with_its_place";
    let Some(openssl) = peer(test, "openssl") else {
        return;
    };
    let partner = Partner::new(&openssl, "/CN=Acme CA");
    let installation = Installation::new();
    installation.write("acme.pem", &partner.root());
    installation.write("empty.pem", "");
    let good = "url = \"http://127.0.0.1:1/\"";
    for (ocsp, more, words) in [
        ("url = \"ftp://x/\"", "", &["trust.acme.ocsp.url"][..]),
        (
            "url = \"https://x/\"",
            "",
            &["trust.acme.ocsp.url", "over http"],
        ),
        ("timeout = \"1s\"", "", &["url"]),
        (
            "url = \"http://x/\", timeout = \"2m\"",
            "",
            &["trust.acme.ocsp.timeout", "60 s"],
        ),
        (
            "url = \"http://x/\", max_age = \"1s\"",
            "",
            &["trust.acme.ocsp.max_age", "5 s"],
        ),
        (
            "url = \"http://x/\", max_age = \"8d\"",
            "",
            &["trust.acme.ocsp.max_age"],
        ),
        (
            "url = \"http://x/\", signer_file = \"empty.pem\"",
            "",
            &["trust.acme.ocsp.signer_file"],
        ),
        (
            "url = \"http://x/\", signer_file = \"none.pem\"",
            "",
            &["trust.acme.ocsp.signer_file"],
        ),
        (good, "revocation = \"grace\"", &["trust.acme.grace"]),
        (good, "crl_refresh = \"10s\"", &["trust.acme.crl_refresh"]),
    ] {
        let toml = format!(
            "[gateway]\n[[gateway.listener]]\naddress = \"127.0.0.1:0\"\ntrust = [\"acme\"]\n\
             [[gateway.listener.route]]\nhost = \"localhost\"\nupstream = \"http://127.0.0.1:1\"\nallow = [{{ cn = \"a\", bundle = \"acme\" }}]\n\
             [trust.acme]\nbundle = \"acme.pem\"\nocsp = {{ {ocsp} }}\n{more}\n"
        );
        let file = installation.write("countersign.toml", &toml);
        countersign(&installation.path(""), &["config", "check", text(&file)])
            .assert_fault(2, words);
    }
}
