//! The first bytes of a connection, up to a whole `ClientHello`.
//!
//! Nothing is decided on part of it: a hello split anywhere, over segments or records, gives what the whole one gives,
//! and what cannot be read is refused (Traefik CVE-2026-32305 fell back to a laxer default).

mod offer;

use countersign_diagnose::handshake::{HandshakeFault, Offer, Stage};
use rustls::server::{Accepted, AcceptedAlert, Acceptor};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

use crate::farewell::alert_record;
use crate::fault;

/// The first bytes of a connection, read as a listener reads them and without one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FirstBytes {
    /// A whole `ClientHello` and nothing behind it.
    Hello {
        /// The server name that it asks for.
        name: Option<String>,
    },
    /// They lead to no handshake.
    Refused(HandshakeFault),
    /// More has to come.
    Unfinished,
}

impl FirstBytes {
    /// Of pieces as they arrive, each of a few KiB at most.
    pub fn read<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Self {
        let (mut greeting, mut acceptor) = (Greeting::default(), Acceptor::default());
        for piece in pieces {
            for piece in piece.chunks(READ_BYTES) {
                let start = greeting.received.len();
                greeting.received.extend_from_slice(piece);
                match greeting.take(start, &mut acceptor) {
                    Ok(None) => {}
                    Ok(Some(accepted)) => {
                        let name = accepted.client_hello().server_name().map(str::to_owned);
                        return Self::Hello { name };
                    }
                    Err(rejected) => return Self::Refused(rejected.fault),
                }
            }
        }
        Self::Unfinished
    }
}

/// What was received before the server's first byte. Outlives the reading, so that a time-out can tell how far it came.
#[derive(Default)]
pub(crate) struct Greeting {
    received: Vec<u8>,
    /// Whether the client has asked for TLS in its protocol's own way before.
    has_asked: bool,
}

/// A greeting that leads to no handshake.
pub(crate) struct Rejected {
    pub(crate) fault: HandshakeFault,
    /// What to answer; `None`: the client has gone.
    pub(crate) answer: Option<Vec<u8>>,
}

impl Greeting {
    /// The client begins to ask for TLS, so that it has sent something.
    pub(crate) fn note_asked(&mut self) {
        self.has_asked = true;
    }

    /// Reads until the `ClientHello` is whole.
    pub(crate) async fn read(&mut self, socket: &mut TcpStream) -> Result<Accepted, Rejected> {
        let mut acceptor = Acceptor::default();
        loop {
            let start = self.received.len();
            self.received.reserve(READ_BYTES);
            match (&mut *socket)
                .take(READ_BYTES as u64)
                .read_buf(&mut self.received)
                .await
            {
                Ok(0) | Err(_) => return Err(self.closed()),
                Ok(_) => {}
            }
            if let Some(accepted) = self.take(start, &mut acceptor)? {
                return Ok(accepted);
            }
        }
    }

    /// What came from `start` on.
    fn take(&self, start: usize, acceptor: &mut Acceptor) -> Result<Option<Accepted>, Rejected> {
        match opening(&self.received) {
            Opening::Tls => self.feed(start, acceptor),
            Opening::Unclear => Ok(None),
            Opening::Other(rejected) => Err(rejected),
        }
    }

    /// How far the client came, given that it has not been answered.
    pub(crate) fn stage(&self) -> Stage {
        if self.received.is_empty() && !self.has_asked {
            Stage::BeforeFirstByte
        } else {
            Stage::InClientHello
        }
    }

    /// Of a hello that was read, all of its bytes and no other.
    pub(crate) fn received(&self) -> &[u8] {
        &self.received
    }

    /// Whether the client shows a ticket, be it good or not.
    pub(crate) fn shows_ticket(&self) -> bool {
        offer::shows_ticket(&self.received)
    }

    /// What the client offers, as far as it can be read.
    pub(crate) fn offer(&self) -> Offer {
        offer::read(&self.received)
    }

    /// Gives rustls what was received from `start` on. It takes at most a record at a time, and of a message that is not
    /// complete at most 64 KiB.
    fn feed(&self, start: usize, acceptor: &mut Acceptor) -> Result<Option<Accepted>, Rejected> {
        let mut unread = &self.received[start..];
        while !unread.is_empty() {
            match acceptor.read_tls(&mut unread) {
                Ok(0) | Err(_) => {
                    return Err(Rejected::new(
                        HandshakeFault::HelloTooLarge,
                        alert_record(DECODE_ERROR),
                    ));
                }
                Ok(_) => {}
            }
            match acceptor.accept() {
                Ok(Some(accepted)) if unread.is_empty() => return Ok(Some(accepted)),
                Ok(Some(_)) => {
                    let why =
                        "more follows the ClientHello than a client may send before the answer"
                            .to_owned();
                    return Err(Rejected::new(
                        HandshakeFault::Malformed { why },
                        alert_record(UNEXPECTED_MESSAGE),
                    ));
                }
                Ok(None) => {}
                Err((error, alert)) => return Err(self.refused(&error, alert)),
            }
        }
        Ok(None)
    }

    fn refused(&self, error: &rustls::Error, mut alert: AcceptedAlert) -> Rejected {
        let fault = fault::of_hello(error, &self.offer());
        let mut answer = Vec::new();
        // Writing to a Vec cannot fail.
        let _ = alert.write_all(&mut answer);
        match fault {
            HandshakeFault::VersionTooOld => answer = alert_record(PROTOCOL_VERSION),
            // rustls has no alert for what it does not even take apart.
            HandshakeFault::HelloTooLarge => answer = alert_record(DECODE_ERROR),
            _ if answer.is_empty() => answer = alert_record(UNEXPECTED_MESSAGE),
            _ => {}
        }
        Rejected::new(fault, answer)
    }

    fn closed(&self) -> Rejected {
        match opening(&self.received) {
            Opening::Tls => Rejected {
                fault: HandshakeFault::Closed(Stage::InClientHello),
                answer: None,
            },
            _ if self.received.is_empty() => Rejected {
                fault: HandshakeFault::Closed(self.stage()),
                answer: None,
            },
            _ => Rejected {
                fault: not_tls(&self.received),
                answer: None,
            },
        }
    }
}

impl Rejected {
    pub(crate) fn new(fault: HandshakeFault, answer: Vec<u8>) -> Self {
        Self {
            fault,
            answer: Some(answer),
        }
    }
}

enum Opening {
    Tls,
    /// What there is could still become something else that is known.
    Unclear,
    Other(Rejected),
}

fn opening(received: &[u8]) -> Opening {
    match received {
        // RFC 8446 §5.1: the content types of records.
        [20..=24, ..] => return Opening::Tls,
        // RFC 5246 appendix E.2: the hello of SSLv2, which old clients used to announce newer versions with.
        [0x80..=0xff, _, 1, ..] => {
            return Opening::Other(Rejected::new(
                HandshakeFault::VersionTooOld,
                alert_record(PROTOCOL_VERSION),
            ));
        }
        [] | [0x80..=0xff] | [0x80..=0xff, _] => return Opening::Unclear,
        _ => {}
    }
    if let Some(method) = HTTP_METHODS
        .iter()
        .find(|method| begins(received, &[method.as_bytes(), b" "].concat()))
    {
        return Opening::Other(Rejected::new(
            HandshakeFault::PlainHttp { method },
            HTTP_ANSWER.into(),
        ));
    }
    if PROXY_HEADERS.iter().any(|header| begins(received, header)) {
        return Opening::Other(Rejected::new(HandshakeFault::ProxyHeader, Vec::new()));
    }
    let could_become = |known: &[u8]| known.starts_with(received);
    if HTTP_METHODS
        .iter()
        .any(|method| could_become(&[method.as_bytes(), b" "].concat()))
        || PROXY_HEADERS.iter().any(|header| could_become(header))
    {
        return Opening::Unclear;
    }
    Opening::Other(Rejected::new(not_tls(received), Vec::new()))
}

fn begins(received: &[u8], known: &[u8]) -> bool {
    received.starts_with(known)
}

fn not_tls(received: &[u8]) -> HandshakeFault {
    // Enough to know a protocol by, too little to hold somebody's password.
    HandshakeFault::NotTls {
        first: received.iter().copied().take(8).collect(),
    }
}

/// RFC 9110 §9.3, RFC 5789, and the preface of HTTP/2 (RFC 9113 §3.4).
const HTTP_METHODS: [&str; 10] = [
    "GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH", "PRI",
];

const HTTP_ANSWER: &str = "HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\nContent-Length: 33\r\nConnection: close\r\n\r\n\
    this is a TLS port, use https://\n";

/// The PROXY protocol, versions 1 and 2 (its specification, §2.1 and §2.2).
const PROXY_HEADERS: [&[u8]; 2] = [b"PROXY ", b"\r\n\r\n\0\r\nQUIT\n"];

/// What rustls reads in one go: more would be left between the hello and the handshake.
const READ_BYTES: usize = 4096;

/// RFC 8446 §6.
const UNEXPECTED_MESSAGE: u8 = 10;
const DECODE_ERROR: u8 = 50;
const PROTOCOL_VERSION: u8 = 70;

#[cfg(test)]
mod tests {
    use super::*;

    fn named(received: &[u8]) -> String {
        match opening(received) {
            Opening::Tls => "tls".to_owned(),
            Opening::Unclear => "unclear".to_owned(),
            Opening::Other(rejected) => format!("{:?}", rejected.fault),
        }
    }

    #[test]
    fn the_first_bytes_say_what_is_spoken() {
        for (received, expected) in [
            (&b"\x16"[..], "tls"),
            (b"\x15\x03\x01", "tls"),
            (b"", "unclear"),
            (b"G", "unclear"),
            (b"GET", "unclear"),
            (b"GET / HTTP/1.1", "PlainHttp { method: \"GET\" }"),
            (b"PRI * HTTP/2.0", "PlainHttp { method: \"PRI\" }"),
            (b"PR", "unclear"),
            (b"PROXY TCP4 ", "ProxyHeader"),
            (b"\r\n\r\n\0\r\nQUIT\n!", "ProxyHeader"),
            (b"\r\n\r\n\0\r\n", "unclear"),
            (b"\x80\x2e", "unclear"),
            (b"\x80\x2e\x01\x03\x01", "VersionTooOld"),
            (b"GOT", "NotTls { first: [71, 79, 84] }"),
            (
                b"get / HTTP/1.1",
                "NotTls { first: [103, 101, 116, 32, 47, 32, 72, 84] }",
            ),
            (
                b"\0\0\0\x08\x04\xd2\x16\x2f",
                "NotTls { first: [0, 0, 0, 8, 4, 210, 22, 47] }",
            ),
        ] {
            assert_eq!(named(received), expected, "{received:?}");
        }
    }

    #[test]
    fn the_answer_to_plaintext_http_is_as_long_as_it_says() {
        let (_, body) = HTTP_ANSWER
            .split_once("\r\n\r\n")
            .expect("a head and a body");
        assert!(
            HTTP_ANSWER.contains(&format!("Content-Length: {}\r\n", body.len())),
            "{}",
            body.len()
        );
    }
}
