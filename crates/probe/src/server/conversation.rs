//! One connection over TLS, driven by hand so that nothing of its end is lost: which alert, when, or which kind of silence.

use std::io::{self, Read, Write};
use std::sync::Arc;
use std::time::Duration;

use countersign_diagnose::doctor::question::TlsVersion;
use countersign_diagnose::doctor::target::{End, HelloSeen, HttpAnswer, HttpRequest, Stage};
use rustls::{
    AlertDescription, ClientConfig, ClientConnection, Error, InvalidMessage, ProtocolVersion,
};
use rustls_pki_types::ServerName;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};

use super::witness::Witness;
use super::{http, http2};

/// What is done behind the handshake.
#[derive(Debug)]
pub(super) struct Afterwards {
    /// What to ask for, and how long an answer may take; `None`: only wait whether it ends.
    pub(super) request: Option<(HttpRequest, Duration)>,
    /// Says whether the server asked for a certificate.
    pub(super) witness: Arc<Witness>,
    /// The end of everything.
    pub(super) deadline: Instant,
}

/// What came of it.
#[derive(Debug)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "independent facts of one connection, each with a name"
)]
pub(super) struct Told {
    pub(super) plaintext: Vec<u8>,
    pub(super) hello: Option<HelloSeen>,
    pub(super) finished: bool,
    pub(super) resumed: bool,
    pub(super) has_ticket: bool,
    pub(super) end: End,
    pub(super) at: Stage,
    pub(super) http: Option<HttpAnswer>,
    pub(super) other_data: bool,
}

/// From the `ClientHello` to whatever ends it.
pub(super) async fn hold(
    stream: &mut TcpStream,
    config: Arc<ClientConfig>,
    name: ServerName<'static>,
    afterwards: Afterwards,
) -> Told {
    let tls = match ClientConnection::new(config, name) {
        Ok(tls) => tls,
        Err(error) => return Told::nothing(End::Malformed(error.to_string())),
    };
    let mut conversation = Conversation {
        stream,
        tls,
        begun: Instant::now(),
        first_bytes: Vec::new(),
        bytes: 0,
        answer: Vec::new(),
        deadline: afterwards.deadline,
    };
    let end = conversation.run(&afterwards).await;
    conversation.told(end)
}

impl Told {
    fn nothing(end: End) -> Self {
        Self {
            plaintext: Vec::new(),
            hello: None,
            finished: false,
            resumed: false,
            has_ticket: false,
            end,
            at: Stage::BeforeServerHello,
            http: None,
            other_data: false,
        }
    }
}

/// A version of HTTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Speech {
    Http1,
    Http2,
}

impl Speech {
    fn get(self, request: &HttpRequest) -> Vec<u8> {
        match self {
            Self::Http1 => http::get(request),
            Self::Http2 => http2::get(request),
        }
    }

    fn is_whole(self, bytes: &[u8]) -> bool {
        match self {
            Self::Http1 => http::is_whole(bytes),
            Self::Http2 => http2::is_whole(bytes),
        }
    }
}

struct Conversation<'s> {
    stream: &'s mut TcpStream,
    tls: ClientConnection,
    begun: Instant,
    /// To tell what is there if it is not TLS.
    first_bytes: Vec<u8>,
    bytes: usize,
    /// Application data.
    answer: Vec<u8>,
    deadline: Instant,
}

impl Conversation<'_> {
    async fn run(&mut self, afterwards: &Afterwards) -> End {
        while self.tls.is_handshaking() {
            if let Err(end) = self.turn(self.deadline, End::TimedOut).await {
                return end;
            }
        }
        if let Err(end) = self.flush().await {
            return end;
        }
        let took = self.begun.elapsed();
        if let Some(end) = self.settle(took).await {
            return end;
        }
        let asked = match &afterwards.request {
            Some((request, patience)) => self.speech().map(|speech| (speech, request, *patience)),
            None => None,
        };
        let end = match asked {
            None => {
                let limit = (took * 4).clamp(SHORTEST_WAIT, LONGEST_WAIT);
                self.read_until(Instant::now() + limit, |_| false).await
            }
            Some((speech, request, patience)) => {
                if self.tls.writer().write_all(&speech.get(request)).is_err() {
                    return End::Malformed("it takes no request".to_owned());
                }
                // A server that refused us may have closed already: what it said before is still to be read.
                let _ = self.flush().await;
                let until = Instant::now() + self.patience(patience, took);
                self.read_until(until, |bytes| speech.is_whole(bytes)).await
            }
        };
        let is_asked_for = afterwards.witness.notes().asked.is_some();
        if end == End::Open && is_asked_for && self.is_undecided() {
            let is_said = |bytes: &[u8]| !bytes.is_empty();
            let until = Instant::now() + LONGEST_DECISION;
            return self.read_until(until, is_said).await;
        }
        end
    }

    /// Whoever agreed to speak HTTP will, and whoever is far away takes longer.
    fn patience(&self, least: Duration, took: Duration) -> Duration {
        if self.tls.alpn_protocol().is_some() {
            return least.max(LONGEST_DECISION);
        }
        least.max((took * 2).min(LONGEST_DECISION))
    }

    /// What HTTP is spoken in, as agreed.
    fn speech(&self) -> Option<Speech> {
        match self.tls.alpn_protocol() {
            Some(b"h2") => Some(Speech::Http2),
            Some(name) if !name.starts_with(b"http/1") => None,
            _ => Some(Speech::Http1),
        }
    }

    /// Whether the server can still be at judging our certificate: in TLS 1.3 nothing says that it is through with it but a
    /// session, or an answer.
    fn is_undecided(&self) -> bool {
        self.tls.protocol_version() == Some(ProtocolVersion::TLSv1_3)
            && self.tls.tls13_tickets_received() == 0
            && self.answer.is_empty()
    }

    /// In TLS 1.3 the server judges our certificate when our half is done. What we send in the meantime can cost us its
    /// alert, since a socket that is closed with unread bytes is reset.
    async fn settle(&mut self, took: Duration) -> Option<End> {
        if self.tls.protocol_version() != Some(ProtocolVersion::TLSv1_3) {
            return None;
        }
        let until = Instant::now() + (took * 2).clamp(SHORTEST_SETTLING, LONGEST_SETTLING);
        while self.is_undecided() {
            match self.turn(until.min(self.deadline), End::Open).await {
                Ok(()) => {}
                Err(End::Open) => return None,
                Err(end) => return Some(end),
            }
        }
        None
    }

    async fn read_until(&mut self, until: Instant, is_enough: impl Fn(&[u8]) -> bool) -> End {
        loop {
            if is_enough(&self.answer) {
                return End::Open;
            }
            if let Err(end) = self.turn(until.min(self.deadline), End::Open).await {
                return end;
            }
        }
    }

    /// Writes what is to be written and reads once.
    async fn turn(&mut self, until: Instant, late: End) -> Result<(), End> {
        // Nothing more is read from a writer's failure than from what the server sent before it.
        let _ = self.flush().await;
        let mut buffer = vec![0; READ_BYTES];
        let read = match timeout_at(until, self.stream.read(&mut buffer)).await {
            Err(_) => return Err(late),
            Ok(Err(error)) => return Err(of_error(&error)),
            Ok(Ok(0)) => return Err(End::Closed),
            Ok(Ok(read)) => read,
        };
        let mut fresh = &buffer[..read];
        let room = FIRST_BYTES.saturating_sub(self.first_bytes.len());
        self.first_bytes.extend(&fresh[..read.min(room)]);
        self.bytes += read;
        if self.bytes > MAX_BYTES {
            return Err(End::Flood);
        }
        while !fresh.is_empty() {
            match self.tls.read_tls(&mut fresh) {
                Ok(0) => return Err(End::Closed),
                Ok(_) => {}
                Err(error) => return Err(End::Malformed(error.to_string())),
            }
            let processed = self.tls.process_new_packets();
            self.take_answer();
            match processed {
                Ok(state) if state.peer_has_closed() => return Err(End::Closed),
                Ok(_) => {}
                Err(error) => {
                    let end = self.of_tls(&error);
                    // Our alert, as politeness asks.
                    let _ = self.flush().await;
                    return Err(end);
                }
            }
        }
        Ok(())
    }

    fn take_answer(&mut self) {
        let room = http::MAX_ANSWER_BYTES.saturating_sub(self.answer.len());
        let mut chunk = vec![0; READ_BYTES];
        while let Ok(read @ 1..) = self.tls.reader().read(&mut chunk) {
            let kept = read.min(room.min(chunk.len()));
            if self.answer.len() + kept <= http::MAX_ANSWER_BYTES {
                self.answer.extend(&chunk[..kept]);
            }
        }
    }

    async fn flush(&mut self) -> Result<(), End> {
        while self.tls.wants_write() {
            let mut bytes = Vec::new();
            if self.tls.write_tls(&mut bytes).is_err() {
                break;
            }
            match timeout_at(self.deadline, self.stream.write_all(&bytes)).await {
                Err(_) => return Err(End::TimedOut),
                Ok(Err(error)) => return Err(of_error(&error)),
                Ok(Ok(())) => {}
            }
        }
        Ok(())
    }

    fn of_tls(&self, error: &Error) -> End {
        match error {
            // Tells nothing that silence would not.
            Error::AlertReceived(AlertDescription::CloseNotify) => End::Closed,
            Error::AlertReceived(alert) => End::Alert((*alert).into()),
            Error::InvalidMessage(
                InvalidMessage::HandshakePayloadTooLarge
                | InvalidMessage::CertificatePayloadTooLarge,
            ) => End::TooLarge("a handshake message is over 64 KiB".to_owned()),
            Error::InvalidMessage(_)
                if self.tls.protocol_version().is_none() && !looks_like_tls(&self.first_bytes) =>
            {
                End::NotTls
            }
            other => End::Malformed(other.to_string()),
        }
    }

    fn told(self, end: End) -> Told {
        let version = self.tls.protocol_version().and_then(version);
        let suite = self.tls.negotiated_cipher_suite();
        let hello = version.map(|version| HelloSeen {
            version,
            cipher: suite.map_or(0, |suite| suite.suite().into()),
            cipher_name: suite.and_then(|suite| suite.suite().as_str().map(str::to_owned)),
            alpn: self
                .tls
                .alpn_protocol()
                .map(|name| String::from_utf8_lossy(name).into_owned()),
        });
        let finished = !self.tls.is_handshaking();
        let at = match (&hello, finished) {
            (_, true) => Stage::AfterFinished,
            (Some(_), false) => Stage::InHandshake,
            (None, false) => Stage::BeforeServerHello,
        };
        let http = match self.speech() {
            Some(Speech::Http2) => http2::parse(&self.answer),
            _ => http::parse(&self.answer),
        };
        let resumed = self.tls.handshake_kind() == Some(rustls::HandshakeKind::Resumed);
        let has_ticket = self.tls.tls13_tickets_received() > 0;
        let is_plaintext = hello.is_none() && !looks_like_tls(&self.first_bytes);
        Told {
            plaintext: if is_plaintext {
                self.first_bytes
            } else {
                Vec::new()
            },
            hello,
            finished,
            resumed,
            has_ticket,
            end,
            at,
            other_data: http.is_none() && !self.answer.is_empty(),
            http,
        }
    }
}

/// A record of TLS or SSL 3 begins with its type and the major version.
pub(super) fn looks_like_tls(bytes: &[u8]) -> bool {
    let is_type = bytes.first().is_none_or(|kind| (20..=24).contains(kind));
    is_type && bytes.get(1).is_none_or(|&major| major == 3)
}

pub(super) fn of_error(error: &io::Error) -> End {
    match error.kind() {
        io::ErrorKind::ConnectionReset
        | io::ErrorKind::ConnectionAborted
        | io::ErrorKind::BrokenPipe => End::Reset,
        io::ErrorKind::TimedOut => End::TimedOut,
        io::ErrorKind::UnexpectedEof => End::Closed,
        _ => End::Malformed(error.to_string()),
    }
}

fn version(version: ProtocolVersion) -> Option<TlsVersion> {
    Some(match version {
        ProtocolVersion::TLSv1_2 => TlsVersion::Tls12,
        ProtocolVersion::TLSv1_3 => TlsVersion::Tls13,
        _ => return None,
    })
}

const READ_BYTES: usize = 16 * 1024;

/// A greeting is a line or two.
const FIRST_BYTES: usize = 512;

/// A handshake with the longest chain that clients take (64 KiB), and an answer of 64 KiB, with room for records.
const MAX_BYTES: usize = 512 * 1024;

/// What a refusal of TLS 1.3 takes on the same machine, and what nobody waits beyond.
const SHORTEST_SETTLING: Duration = Duration::from_millis(40);
const LONGEST_SETTLING: Duration = Duration::from_millis(400);

/// The same where nothing is sent afterwards that would provoke an answer.
const SHORTEST_WAIT: Duration = Duration::from_millis(150);
const LONGEST_WAIT: Duration = Duration::from_secs(1);

/// For a refusal that may still come: what looking at an OCSP responder or a directory takes.
const LONGEST_DECISION: Duration = Duration::from_secs(3);
