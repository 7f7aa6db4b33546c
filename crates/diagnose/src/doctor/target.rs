//! What was seen of a server, one connection after the other, and what follows from it.
//!
//! The probe fills in [`TargetSeen`]; [`judge`] reads it together with what is [`Known`] of both sides.

mod account;
mod admission;
mod answer;
mod judging;
mod known;
mod negotiation;
mod reach;
mod refusal;
mod served;
mod staple;

use std::net::SocketAddr;
use std::time::Duration;

use countersign_pki::pem;
use serde::{Serialize, Serializer};

pub(super) use self::admission::admits_client;
pub use self::judging::judge;
pub use self::known::Known;
pub(super) use self::served::{served_evidence, serving, verified_path};
pub(super) use self::staple::is_stapled;
use super::question::{Starttls, TlsVersion};
use crate::evidence::printable;

/// What the probe learnt.
#[derive(Clone, Debug, Default, Serialize)]
pub struct TargetSeen {
    /// `host:port`, as it was asked for.
    pub target: String,
    /// Why the name has no address, in the system's words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub not_resolved: Option<String>,
    /// Each address that was tried, in that order.
    pub addresses: Vec<AddressSeen>,
    /// Connections, in the order in which they were made.
    pub attempts: Vec<Attempt>,
    /// Who vouches for the server, as far as the client's certificate may be shown to it.
    pub vouched: Vouched,
    /// Whether the client's key is not that of its certificate.
    pub key_is_anothers: bool,
    /// What was not tried, and why.
    pub left_out: Vec<String>,
    /// All of it.
    #[serde(serialize_with = "milliseconds")]
    pub took: Duration,
}

/// Who vouches for the server.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "by", content = "why")]
pub enum Vouched {
    /// The anchors that were given.
    Anchors,
    /// Nobody, and why.
    Nobody(String),
    /// The roots of the system.
    System,
    /// It showed no certificate.
    #[default]
    Unknown,
}

impl Vouched {
    /// Whether what the server shows is worth being believed.
    pub fn is_by_somebody(&self) -> bool {
        matches!(self, Self::Anchors | Self::System)
    }
}

/// How an address was found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct AddressSeen {
    /// Which.
    pub address: SocketAddr,
    /// What TCP said.
    pub tcp: Tcp,
}

/// What TCP said.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "result", content = "why")]
pub enum Tcp {
    /// It is open.
    Open,
    /// Nobody listens.
    Refused,
    /// It did not answer in time.
    TimedOut,
    /// There is no way to it, in the system's words.
    Unreachable(String),
}

/// What a connection offered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Trial {
    /// What was spoken.
    pub speech: Speech,
    /// What came before it.
    #[serde(skip_serializing_if = "Preamble::is_none")]
    pub preamble: Preamble,
    /// The server name that was asked for; `None`: none.
    pub sni: Option<String>,
    /// Which certificate the server would get.
    pub certificate: Shown,
    /// Application protocols.
    pub alpn: Vec<String>,
    /// The lowest version.
    pub min: TlsVersion,
    /// The highest version.
    pub max: TlsVersion,
    /// What is asked for behind the handshake.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request: Option<HttpRequest>,
    /// Whether it offers the session of an earlier connection: which name it was made for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resumes: Option<String>,
}

/// What is spoken on a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Speech {
    /// HTTP without TLS.
    PlainHttp,
    /// A `ClientHello` alone, with whatever servers of the last twenty years may want.
    RawHello,
    /// TLS to its end.
    Tls,
}

/// What comes before TLS.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Preamble {
    /// Nothing.
    #[default]
    None,
    /// A header of the PROXY protocol, version 1.
    ProxyHeader,
    /// The plaintext half of a protocol.
    Starttls(Starttls),
}

impl Preamble {
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "as serde wants it")]
    fn is_none(&self) -> bool {
        *self == Self::None
    }
}

/// Which certificate a connection has to show.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Shown {
    /// None.
    None,
    /// The client's own, with what its file holds.
    Own,
    /// The client's own, with every issuer at hand.
    OwnCompleted,
    /// One that was made up a moment ago and signed by itself.
    Stranger,
}

/// What is asked for over HTTP.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct HttpRequest {
    /// Behind `GET`.
    pub path: String,
    /// The `Host`.
    pub host: String,
}

/// One connection: what was offered, and what came.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "independent facts of one connection, each with a name"
)]
pub struct Attempt {
    /// What was offered.
    pub trial: Trial,
    /// Where.
    pub address: SocketAddr,
    /// Plaintext that came before any TLS, or in its place: the first of it.
    #[serde(serialize_with = "text", skip_serializing_if = "Vec::is_empty")]
    pub plaintext: Vec<u8>,
    /// What the server said of TLS, as far as it came.
    pub hello: Option<HelloSeen>,
    /// Its certificates as sent, leaf first.
    pub chain: Vec<Der>,
    /// The OCSP answer that came with them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ocsp: Option<Der>,
    /// Why the server's proof that it holds its key does not verify.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unproved: Option<String>,
    /// What it asked of the client's certificate; `None`: it did not ask.
    pub asked: Option<CertificateRequest>,
    /// Whether a certificate was sent: not where the server takes no signature by its key.
    pub sent_certificate: bool,
    /// Whether our half of the handshake was done.
    pub finished: bool,
    /// Whether the session that was offered was taken up.
    pub resumed: bool,
    /// Whether the server gave out a session of TLS 1.3, which it does for whom it has accepted.
    pub has_ticket: bool,
    /// What ended it.
    pub end: End,
    /// How far it was.
    pub at: Stage,
    /// What HTTP answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub http: Option<HttpAnswer>,
    /// Whether application data came that is no HTTP of version 1.
    pub other_data: bool,
    /// From the beginning of TCP.
    #[serde(serialize_with = "milliseconds")]
    pub took: Duration,
}

/// What a `ServerHello` says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct HelloSeen {
    /// The version.
    pub version: TlsVersion,
    /// The cipher suite, as registered.
    pub cipher: u16,
    /// Its name, where we know it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cipher_name: Option<String>,
    /// The application protocol.
    #[serde(
        skip_serializing_if = "Option::is_none",
        serialize_with = "optional_line"
    )]
    pub alpn: Option<String>,
}

/// A server's wish for a certificate.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct CertificateRequest {
    /// The CAs that it names, each a `Name` in DER; empty: any.
    pub ca_names: Vec<Der>,
    /// The signature schemes that it takes, as registered.
    pub schemes: Vec<u16>,
}

/// How far a connection was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stage {
    /// In what comes before TLS.
    Preamble,
    /// Nothing of TLS had come.
    BeforeServerHello,
    /// In the handshake.
    InHandshake,
    /// Our half of the handshake was done.
    AfterFinished,
}

/// What ended a connection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "how", content = "what")]
pub enum End {
    /// An alert.
    Alert(u8),
    /// The server closed it: without a word, or with `close_notify`.
    Closed,
    /// More than we read.
    Flood,
    /// It broke the protocol, or speaks what we do not, in our words.
    Malformed(String),
    /// What came is not TLS.
    NotTls,
    /// We ended it, having seen enough.
    Open,
    /// The server would not change to TLS, in its words.
    #[serde(serialize_with = "line")]
    PreambleRefused(String),
    /// The system cut it (`RST`).
    Reset,
    /// Nothing came in time.
    TimedOut,
    /// A message of the handshake is larger than clients take.
    TooLarge(String),
    /// Whoever is there is not vouched for, so that nothing was shown.
    Withheld(String),
}

/// An answer over HTTP.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct HttpAnswer {
    /// The status.
    pub status: u16,
    /// What stands behind it.
    #[serde(serialize_with = "line")]
    pub reason: String,
    /// `Server`.
    #[serde(
        skip_serializing_if = "Option::is_none",
        serialize_with = "optional_line"
    )]
    pub server: Option<String>,
    /// The server's time by `Date`, less this machine's, in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clock_ahead_s: Option<i64>,
    /// `Location`.
    #[serde(
        skip_serializing_if = "Option::is_none",
        serialize_with = "optional_line"
    )]
    pub location: Option<String>,
    /// `WWW-Authenticate`; of HTTP/2 empty where it is there, or may be.
    #[serde(
        skip_serializing_if = "Option::is_none",
        serialize_with = "optional_line"
    )]
    pub challenge: Option<String>,
    /// The beginning of the body.
    #[serde(serialize_with = "line")]
    pub body: String,
}

/// DER of a peer; in JSON its PEM.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Der(pub Vec<u8>);

impl Der {
    pub(super) fn bytes(&self) -> Vec<u8> {
        self.0.clone()
    }
}

impl std::fmt::Debug for Der {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Der({} bytes)", self.0.len())
    }
}

impl Serialize for Der {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&pem::encode("CERTIFICATE", &self.0))
    }
}

impl Serialize for TlsVersion {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl Serialize for Preamble {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(match self {
            Self::None => "none",
            Self::ProxyHeader => "proxy-header",
            Self::Starttls(starttls) => starttls.as_str(),
        })
    }
}

impl Attempt {
    /// Whether the server went through with TLS, whatever the application says afterwards.
    pub fn is_accepted_by_tls(&self) -> bool {
        // In TLS 1.2 its Finished comes when it has judged our certificate; in TLS 1.3 a session does, or an answer.
        let has_judged = self.has_ticket
            || self.http.is_some()
            || self.other_data
            || self
                .hello
                .as_ref()
                .is_some_and(|hello| hello.version < TlsVersion::Tls13);
        self.finished
            && match self.end {
                End::Open => true,
                End::Closed | End::Flood | End::Reset | End::TimedOut => has_judged,
                _ => false,
            }
    }
}

fn milliseconds<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u64(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX))
}

fn line<S: Serializer>(text: &str, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&printable(text, MAX_PLAINTEXT_BYTES))
}

#[expect(clippy::ref_option, reason = "as serde wants it")]
fn optional_line<S: Serializer>(text: &Option<String>, serializer: S) -> Result<S::Ok, S::Error> {
    line(text.as_deref().unwrap_or_default(), serializer)
}

fn text<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&printable(
        String::from_utf8_lossy(bytes),
        MAX_PLAINTEXT_BYTES,
    ))
}

/// A greeting is a line or two.
const MAX_PLAINTEXT_BYTES: usize = 512;
