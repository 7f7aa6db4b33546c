//! Why a TLS handshake ended before both sides accepted, as the server saw it.
//!
//! What is wrong with a certificate is told elsewhere; here is everything around it: what the client spoke, offered,
//! left out, or said in an alert of its own.

mod alert;
mod refusal;

use std::net::SocketAddr;
use std::time::Duration;

pub(crate) use self::alert::ALERT_RECEIVED;
pub use self::alert::{alert_name, alert_received};
pub use self::refusal::refusal;
use crate::evidence::Evidence;

/// What ended a handshake.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum HandshakeFault {
    /// The client sent an alert: it refused us.
    Alert {
        /// The `AlertDescription` on the wire.
        code: u8,
    },
    /// The client offers application protocols, none of them ours.
    AlpnMismatch {
        /// What the listener speaks.
        served: Vec<Vec<u8>>,
    },
    /// The listener requires a certificate, the client sent none.
    CertificateMissing,
    /// The certificate message is over the TLS library's limit, so that it was not read.
    CertificateTooLarge,
    /// The connection ended.
    Closed(Stage),
    /// The `ClientHello` is over the limit.
    HelloTooLarge,
    /// The client broke the protocol.
    Malformed {
        /// How, in the TLS library's words.
        why: String,
    },
    /// Nothing in common.
    NothingShared(Offered),
    /// The first bytes are not TLS.
    NotTls {
        /// Those bytes.
        first: Vec<u8>,
    },
    /// The client does not hold the key of the certificate it sent.
    PossessionUnproved,
    /// The first bytes are an HTTP request.
    PlainHttp {
        /// Its method.
        method: &'static str,
    },
    /// A packet of PostgreSQL that has to come inside TLS.
    PlainPostgresql {
        /// Its name in PostgreSQL's documentation.
        packet: &'static str,
    },
    /// The first bytes are a PROXY header.
    ProxyHeader,
    /// A trusted front sent no PROXY header to go by.
    ProxyHeaderMissing(HeaderFault),
    /// The source has, or does, more than it may.
    RateLimited(Excess),
    /// More came behind a request for TLS than a client may send before the answer.
    SentAhead,
    /// The TLS library restored another certificate than the session was admitted with.
    SessionMixedUp,
    /// The client took too long.
    TimedOut {
        /// How far it came.
        stage: Stage,
        /// How long it had.
        limit: Duration,
    },
    /// As many handshakes as may be are unfinished.
    TooManyPending {
        /// Where the limit was reached.
        at: PendingAt,
        /// How many may be.
        limit: usize,
    },
    /// What certificates are judged by has not been confirmed for too long.
    TrustDataStale {
        /// For how long.
        age: Duration,
        /// For how long it may.
        life: Duration,
    },
    /// The listener asks for certificates and has nothing to judge them by.
    TrustMissing,
    /// No route serves the name.
    UnknownServerName {
        /// The name.
        name: String,
    },
    /// The client's newest version is older than TLS 1.2.
    VersionTooOld,
}

/// What a trusted front sent in place of a PROXY header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HeaderFault {
    /// Something else.
    Absent,
    /// Part of one, or nothing, before it closed.
    Closed,
    /// One that cannot be read.
    Invalid {
        /// What is wrong with it.
        why: String,
    },
    /// Part of one, or nothing, for too long.
    Late {
        /// How long it had.
        limit: Duration,
    },
}

/// What a source has, or does, too much of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Excess {
    /// Open connections.
    Connections {
        /// How many it may have.
        limit: usize,
    },
    /// Handshakes in a second.
    Handshakes {
        /// Whose are counted together.
        network: String,
        /// How many it may begin.
        per_second: u32,
    },
}

/// Whose unfinished handshakes are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PendingAt {
    /// Everybody's at one listener.
    Listener,
    /// Those from the client's address, or its IPv6 network of 64 bits.
    Source,
}

/// How far a handshake came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Not one byte was received.
    BeforeFirstByte,
    /// Part of a `ClientHello` was received.
    InClientHello,
    /// The `ClientHello` was answered.
    Answered,
}

/// What of the client's offer was of no use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Offered {
    /// Cipher suites.
    CipherSuites,
    /// Key exchange groups.
    Groups,
    /// Signature schemes.
    SignatureSchemes,
}

/// What a `ClientHello` offers, as far as it could be read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Offer {
    /// The server name, as sent.
    pub server_name: Option<String>,
    /// Application protocols, in the client's order.
    pub protocols: Vec<Vec<u8>>,
    /// Protocol versions, without GREASE (RFC 8701).
    pub versions: Vec<u16>,
    /// Cipher suites, without GREASE.
    pub cipher_suites: Vec<u16>,
    /// Key exchange groups, without GREASE.
    pub groups: Vec<u16>,
}

impl Offer {
    /// Adds who offered and what to the facts of a refusal.
    pub fn describe(&self, source: SocketAddr, evidence: &mut Evidence) {
        evidence.push("source", source);
        if let Some(name) = &self.server_name {
            evidence.push("sni", name);
        }
        if !self.protocols.is_empty() {
            evidence.push("alpn_offered", protocol_list(&self.protocols));
        }
        if !self.versions.is_empty() {
            evidence.push("tls_versions_offered", version_list(&self.versions));
        }
    }
}

fn protocol_list(protocols: &[Vec<u8>]) -> String {
    let names: Vec<_> = protocols
        .iter()
        .map(|name| String::from_utf8_lossy(name))
        .collect();
    names.join(", ")
}

fn version_list(versions: &[u16]) -> String {
    if versions.is_empty() {
        return "an unknown version".to_owned();
    }
    let names: Vec<_> = versions
        .iter()
        .map(|version| match version {
            0x0002 => "SSLv2".to_owned(),
            0x0300 => "SSLv3".to_owned(),
            0x0301 => "TLSv1".to_owned(),
            0x0302 => "TLSv1.1".to_owned(),
            0x0303 => "TLSv1.2".to_owned(),
            0x0304 => "TLSv1.3".to_owned(),
            other => format!("0x{other:04x}"),
        })
        .collect();
    names.join(", ")
}

fn code_list(codes: &[u16]) -> String {
    codes
        .iter()
        .map(|code| format!("{code:04x}"))
        .collect::<Vec<_>>()
        .join(" ")
}
