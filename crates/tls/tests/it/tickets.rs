//! Sessions that are shown by whoever should not: again, without their secret, or made up.

use std::sync::Arc;

use rustls::{ClientConfig, ClientConnection, SupportedProtocolVersion};
use rustls_pki_types::ServerName;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::peer::{BOTH, TLS12, TLS13, config, meet};
use crate::site::{Outcome, Site, name_of};

/// A hello, and where in it the session is by which it would be known.
struct Hello {
    bytes: Vec<u8>,
    at: usize,
}

impl Hello {
    /// What a client of this configuration begins with when it comes again.
    fn new(config: &Arc<ClientConfig>, version: &'static SupportedProtocolVersion) -> Self {
        let name = ServerName::try_from("localhost").expect("a name");
        let mut tls = ClientConnection::new(Arc::clone(config), name).expect("a client");
        let mut bytes = Vec::new();
        while tls.wants_write() {
            tls.write_tls(&mut bytes).expect("a vector");
        }
        let at = if version == TLS12 {
            // Behind the headers of record and message, the version, what is random, and a length.
            5 + 4 + 2 + 32 + 1
        } else {
            // Before its age and a binder of SHA-384, behind the length of which there is nothing (RFC 8446 §4.2.11).
            bytes.len() - (2 + 1 + 48) - 4 - KEY
        };
        assert_eq!(usize::from(bytes[at - 1]), KEY, "it shows a session");
        Self { bytes, at }
    }

    fn session(&self) -> &[u8] {
        &self.bytes[self.at..][..KEY]
    }

    fn with(&self, session: &[u8]) -> Self {
        let mut bytes = self.bytes.clone();
        bytes[self.at..][..KEY].copy_from_slice(session);
        Self { bytes, at: self.at }
    }
}

/// The first that the server says.
#[derive(Debug, PartialEq, Eq)]
enum Answer {
    Alert,
    Full,
    Resumed,
}

/// Begins like this, and goes on as one who does not know the secret.
async fn show(
    site: &Site,
    hello: &Hello,
    version: &'static SupportedProtocolVersion,
) -> (Answer, Outcome) {
    let (address, accepting) = site.open().await;
    let mut tcp = TcpStream::connect(address).await.expect("it accepts");
    tcp.write_all(&hello.bytes).await.expect("open");
    let mut header = [0; 5];
    tcp.read_exact(&mut header).await.expect("an answer");
    let mut said = vec![0; usize::from(u16::from_be_bytes([header[3], header[4]]))];
    tcp.read_exact(&mut said).await.expect("a record");
    let is_resumed = if version == TLS12 {
        said.get(39..39 + KEY) == Some(hello.session())
    } else {
        // `pre_shared_key`: the first one.
        said.windows(6).any(|it| it == [0, 41, 0, 2, 0, 0])
    };
    let answer = match (header[0], is_resumed) {
        (22, true) => Answer::Resumed,
        (22, false) => Answer::Full,
        _ => Answer::Alert,
    };
    // What would be its keys from here on, and a message under them.
    let made_up = [&[20, 3, 3, 0, 1, 1, 22, 3, 3, 0, 40][..], &[7; 40]].concat();
    let _ = tcp.write_all(&made_up).await;
    let _ = tcp.shutdown().await;
    (answer, accepting.await.expect("no panic"))
}

async fn check(site: &Site, client: &Arc<ClientConfig>, resumed: bool, name: &str) {
    let session = meet(site, client).await.server.expect("admitted").session;
    assert_eq!(name_of(session.peer.as_deref()).as_deref(), Some(name));
    assert_eq!(session.resumed, resumed);
}

const YOU: &str = "cn:you (internal)";
const OTHER: &str = "cn:other (internal)";

#[tokio::test]
async fn ticket_that_was_shown_once_is_asked_for_a_whole_handshake() {
    let site = Site::new();
    let you = Arc::new(config(&site, Some(&site.client("you")), TLS13));
    check(&site, &you, false, YOU).await;
    let overheard = Hello::new(&you, TLS13);
    for expected in [Answer::Resumed, Answer::Full, Answer::Full] {
        let (answer, outcome) = show(&site, &overheard, TLS13).await;
        assert_eq!(answer, expected);
        assert!(outcome.is_err(), "somebody was let in");
    }
    assert_eq!(site.enforcement.live(), 0);
    // It had two.
    check(&site, &you, true, YOU).await;
}

#[tokio::test]
async fn session_of_another_lets_nobody_in_without_its_secret() {
    for version in BOTH {
        let site = Site::new();
        let you = Arc::new(config(&site, Some(&site.client("you")), version));
        let other = Arc::new(config(&site, Some(&site.client("other")), version));
        check(&site, &you, false, YOU).await;
        check(&site, &other, false, OTHER).await;
        let yours = Hello::new(&you, version);
        let theirs = Hello::new(&other, version);
        let (answer, outcome) = show(&site, &theirs.with(yours.session()), version).await;
        // TLS 1.3 asks for a proof in the hello itself (RFC 8446 §4.2.11.2).
        let expected = if version == TLS12 {
            Answer::Resumed
        } else {
            Answer::Alert
        };
        assert_eq!(answer, expected);
        assert!(outcome.is_err(), "{version:?}: somebody was let in");
        assert_eq!(site.enforcement.live(), 0);
        check(&site, &other, true, OTHER).await;
        check(&site, &you, true, YOU).await;
    }
}

#[tokio::test]
async fn made_up_session_is_asked_for_a_whole_handshake() {
    for version in BOTH {
        let site = Site::new();
        let you = Arc::new(config(&site, Some(&site.client("you")), version));
        check(&site, &you, false, YOU).await;
        let hello = Hello::new(&you, version);
        let mut nearly = hello.session().to_vec();
        nearly[KEY - 1] ^= 1;
        for made_up in [&nearly[..], &[0; KEY], &[255; KEY]] {
            let (answer, outcome) = show(&site, &hello.with(made_up), version).await;
            assert_eq!(answer, Answer::Full);
            assert!(outcome.is_err(), "{version:?}: somebody was let in");
        }
        check(&site, &you, true, YOU).await;
    }
}

/// What rustls draws for a session.
const KEY: usize = 32;
