//! An authority that says what a test wants it to say, and a gateway that hears it: what the real one cannot be made to do.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use countersign_pki::certificate::Certificate;
use countersign_pki::feed::port::{ACKNOWLEDGEMENT, FEED};
use countersign_pki::feed::{
    AcknowledgementOf, Body, Bundle, Frame, Head, HistoryId, Message, RevocationReason, Revoked,
    Sequence, event,
};
use countersign_pki::identity::BundleName;
use countersign_pki::time::UnixTime;
use countersign_testkit::bypass::Protocol;
use countersign_testkit::client::{Client, Outcome};
use countersign_testkit::pki::{Leaf, TestCa, TestIdentity};
use countersign_testkit::process::Process;
use http_body_util::Full;
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs::default_provider;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::installation::{Installation, binary, text};

/// The authority, what it vouches for, and the gateway's folder.
pub(crate) struct Puppet {
    pub(crate) internal: TestCa,
    gateway: Installation,
    said: Arc<Mutex<Says>>,
    asked: watch::Receiver<Vec<Asked>>,
}

/// What a request is answered with; given how many were made of its path before it.
type Says = Box<dyn Fn(&Asked, usize) -> Answer + Send>;

/// A request.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    /// Without the query.
    pub(crate) path: String,
    body: String,
}

pub(crate) enum Answer {
    /// A stream that stays open. A text that is no frame is sent as it is.
    Feed(Vec<Result<Frame, &'static str>>),
    /// The same, by an authority that is slow.
    SlowFeed(Duration, Vec<Frame>),
    /// Nothing but a status.
    Status(u16),
}

impl Puppet {
    /// Answers everything with what `says` gives.
    pub(crate) async fn new() -> Self {
        let operators = TestCa::new("operators");
        let internal = TestCa::new("internal");
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback");
        let port = listener.local_addr().expect("bound").port();
        let gateway = Installation::empty();
        let (node, server) = (
            operators.issue(Leaf::client("gw-1")),
            internal.issue(Leaf::server(&["localhost"])),
        );
        let write = |name: &str, identity: &TestIdentity| {
            gateway.write(&format!("{name}.pem"), &identity.chain_pem());
            gateway.write(&format!("{name}.key"), &identity.key_pem);
        };
        write("node", &node);
        write("server", &server);
        gateway.write("ca.pem", &operators.root_pem());
        gateway.write("countersign.toml", &configuration(port));
        let said: Arc<Mutex<Says>> = Arc::new(Mutex::new(Box::new(|_, _| Answer::Status(503))));
        let (asked_sender, asked) = watch::channel(Vec::new());
        let own = operators.issue(Leaf::server(&["localhost"]));
        let config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .expect("suites")
            .with_no_client_auth()
            .with_single_cert(own.chain.clone(), own.key.clone_key())
            .expect("good credentials");
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let says = Arc::clone(&said);
        let asked_sender = Arc::new(asked_sender);
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let (acceptor, says) = (acceptor.clone(), Arc::clone(&says));
                let asked = Arc::clone(&asked_sender);
                tokio::spawn(async move {
                    // A gateway that was killed breaks off in the middle.
                    if let Ok(peer) = acceptor.accept(socket).await {
                        let _ = serve(peer, &says, &asked).await;
                    }
                });
            }
        });
        Self {
            internal,
            gateway,
            said,
            asked,
        }
    }

    /// From now on.
    pub(crate) fn says(&self, says: impl Fn(&Asked, usize) -> Answer + Send + 'static) {
        *self.said.lock().expect("whole") = Box::new(says);
    }

    /// Every stream begins with these frames and stays open; what is acknowledged is taken.
    pub(crate) fn tells(&self, frames: Vec<Frame>) {
        self.says(move |asked, _| match &*asked.path {
            FEED => Answer::Feed(frames.iter().cloned().map(Ok).collect()),
            _ => Answer::Status(204),
        });
    }

    /// A snapshot.
    pub(crate) fn snapshot(
        &self,
        history: &str,
        sequence: u64,
        revoked: Vec<Revoked>,
    ) -> Vec<Frame> {
        let head = Head {
            place: 7,
            history: HistoryId(history.to_owned()),
            sequence: Sequence(sequence),
            at: now(),
            bundles: vec![bundle(&self.internal)],
        };
        let complete = Frame::Complete {
            revoked: revoked.len() as u64,
        };
        let parts = if revoked.is_empty() {
            Vec::new()
        } else {
            vec![Frame::Revoked(revoked)]
        };
        [vec![Frame::Snapshot(head)], parts, vec![complete]].concat()
    }

    /// Somebody whom the bundle vouches for.
    pub(crate) fn client(&self, name: &str) -> TestIdentity {
        self.internal.issue(Leaf::client(name))
    }

    /// Starts the gateway, on what it has on disk; ready.
    pub(crate) fn start_gateway(&self) -> Process {
        let (file, state) = (self.gateway.path("countersign.toml"), self.gateway.state());
        Process::start(
            binary(),
            &["run", "-c", text(&file), "--state", text(&state)],
        )
    }

    /// Where the gateway's files lie.
    pub(crate) fn gateway(&self) -> &Installation {
        &self.gateway
    }

    /// Whether the gateway has acknowledged so far by now.
    pub(crate) fn has_acknowledged(&self, history: &str, sequence: u64) -> bool {
        let asked = self.asked.borrow();
        asked.iter().any(|it| it.acknowledges(history, sequence))
    }

    /// Until the gateway has acknowledged so far.
    pub(crate) async fn acknowledged(&mut self, history: &str, sequence: u64) {
        let is_it = |asked: &Asked| asked.acknowledges(history, sequence);
        let all = self.asked.wait_for(|asked| asked.iter().any(is_it));
        let all = tokio::time::timeout(HANG, all).await;
        all.expect("it acknowledges").expect("the puppet lives");
    }

    /// Until this many requests of a path were made.
    pub(crate) async fn asked(&mut self, path: &str, times: usize) {
        let many = |asked: &Vec<Asked>| asked.iter().filter(|it| it.path == path).count() >= times;
        let all = tokio::time::timeout(HANG, self.asked.wait_for(many)).await;
        all.expect("it asks").expect("the puppet lives");
    }

    /// What becomes of a fresh connection with one request.
    pub(crate) async fn attempt(&self, identity: &TestIdentity, gateway: &Process) -> Outcome {
        let root = self.internal.root.der().clone();
        let client = Client::new(&root, Some(identity), Protocol::Http1Tls13, "localhost");
        let request = http::Request::get("/").header("host", "localhost");
        let request = request.body(Full::default()).expect("a request");
        client.request(gateway.gateway(), request).await
    }
}

impl Asked {
    fn acknowledges(&self, history: &str, sequence: u64) -> bool {
        self.acknowledgement()
            .is_some_and(|said| said.history.0 == history && said.sequence.0 >= sequence)
    }

    fn acknowledgement(&self) -> Option<AcknowledgementOf> {
        (self.path == ACKNOWLEDGEMENT)
            .then(|| serde_json::from_str(&self.body).expect("an acknowledgement"))
    }
}

/// The bundle called internal, as this CA.
pub(crate) fn bundle(ca: &TestCa) -> Bundle {
    let parse = |der: &[u8]| Certificate::parse(der).expect("a certificate");
    Bundle::new(
        BundleName::internal(),
        None,
        &[parse(ca.root.der())],
        &[parse(ca.intermediate.der())],
    )
}

/// The same beginning but for what is changed in its head.
pub(crate) fn headed(mut frames: Vec<Frame>, change: impl FnOnce(&mut Head)) -> Vec<Frame> {
    let Some(Frame::Snapshot(head)) = frames.first_mut() else {
        panic!("{frames:?}");
    };
    change(head);
    frames
}

/// That `identity` is revoked, for this reason.
pub(crate) fn revoked(identity: &TestIdentity, reason: RevocationReason) -> Revoked {
    let parse = |at: usize| Certificate::parse(&identity.chain[at]).expect("a certificate");
    Revoked {
        issuer_key: parse(1).spki(),
        serial: parse(0).serial(),
        reason,
        revoked_at: now(),
    }
}

pub(crate) fn message(history: &str, sequence: u64, body: Body) -> Frame {
    Frame::Message(Message {
        history: HistoryId(history.to_owned()),
        sequence: Sequence(sequence),
        at: now(),
        body,
    })
}

async fn serve(
    mut peer: TlsStream<TcpStream>,
    says: &Mutex<Says>,
    all: &watch::Sender<Vec<Asked>>,
) -> std::io::Result<()> {
    let mut request = Vec::new();
    let (path, body) = loop {
        if peer.read_buf(&mut request).await? == 0 {
            return Ok(());
        }
        let text = String::from_utf8_lossy(&request);
        let Some((head, body)) = text.split_once("\r\n\r\n") else {
            continue;
        };
        let length = head.lines().find_map(|line| {
            let (name, value) = line.split_once(": ")?;
            let is_it = name.eq_ignore_ascii_case("content-length");
            is_it.then(|| value.parse::<usize>().expect("a number"))
        });
        if body.len() >= length.unwrap_or_default() {
            let target = head.split(' ').nth(1).expect("a target");
            let path = target.split('?').next().expect("a path");
            break (path.to_owned(), body.to_owned());
        }
    };
    let asked = Asked { path, body };
    let is_same = |it: &&Asked| it.path == asked.path;
    let before = all.borrow().iter().filter(is_same).count();
    let answer = says.lock().expect("whole")(&asked, before);
    all.send_modify(|all| all.push(asked));
    match answer {
        Answer::Feed(events) => {
            tell(&mut peer, events).await?;
        }
        Answer::SlowFeed(after, frames) => {
            tokio::time::sleep(after).await;
            tell(&mut peer, frames.into_iter().map(Ok).collect()).await?;
        }
        Answer::Status(status) => {
            let head = format!("HTTP/1.1 {status} So\r\nContent-Length: 0\r\n\r\n");
            peer.write_all(head.as_bytes()).await?;
            peer.flush().await?;
        }
    }
    // Open until the gateway ends it.
    peer.read_to_end(&mut Vec::new()).await.map(drop)
}

async fn tell(
    peer: &mut TlsStream<TcpStream>,
    events: Vec<Result<Frame, &'static str>>,
) -> std::io::Result<()> {
    let mut text =
        "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"
            .to_owned();
    for frame in events {
        text += &match frame {
            Ok(frame) => event(&serde_json::to_string(&frame).expect("JSON")),
            Err(raw) => event(raw),
        };
    }
    peer.write_all(text.as_bytes()).await?;
    peer.flush().await
}

fn configuration(port: u16) -> String {
    format!(
        r#"
[gateway]
metrics_address = "127.0.0.1:0"

[gateway.feed]
url = "https://localhost:{port}"
certificate = "node.pem"
key = "node.key"
bundle = "ca.pem"

[[gateway.listener]]
address = "127.0.0.1:0"
certificate = "server.pem"
key = "server.key"

[[gateway.listener.route]]
upstream = "demo"
allow = ["any-trusted"]
"#
    )
}

fn now() -> UnixTime {
    let now = std::time::SystemTime::now();
    let since = now.duration_since(std::time::UNIX_EPOCH);
    UnixTime::from_seconds(since.expect("later").as_secs())
}

/// Only catches what hangs.
const HANG: Duration = Duration::from_mins(1);
