//! The bypass suite as a table: listener mode × protocol × attack → what has to happen.
//!
//! The table is total: [`expected`] answers for every cell, so a new mode, protocol or attack does not compile until
//! somebody has decided all of its cells. The suite runs each cell against the real binary.

use countersign_diagnose::cause::Cause;

/// What the listener asks of clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// `client_certificate = "require"`.
    Require,
    /// `client_certificate = "request"`, with a route that admits verified clients only.
    Request,
    /// As `Require`, with `on_refusal = "explain"`.
    RequireExplained,
    /// As `Request`, with `on_refusal = "explain"`.
    RequestExplained,
}

/// How the client speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP/1.1 in TLS 1.2.
    Http1Tls12,
    /// HTTP/1.1 in TLS 1.3.
    Http1Tls13,
    /// HTTP/2 in TLS 1.3.
    Http2Tls13,
    /// Bytes in TLS 1.2, to a listener that passes them on.
    BytesTls12,
    /// Bytes in TLS 1.3.
    BytesTls13,
}

/// What the client tries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attack {
    /// Sends no certificate.
    NoCertificate,
    /// A leaf past its end.
    Expired,
    /// A leaf whose beginning is in the future.
    NotYetValid,
    /// A self-made CA.
    UnknownCa,
    /// A self-made CA that copies the trusted one's name.
    SameNameCa,
    /// Leaves the intermediate out.
    MissingIntermediate,
    /// A leaf with serverAuth only.
    WrongEku,
    /// A leaf that the authority has revoked.
    Revoked,
    /// More certificates than the limit.
    OverlongChain,
    /// A subject of 64 KiB.
    HugeName,
    /// A dNSName with a NUL in it.
    NulInSan,
    /// Two SPIFFE IDs in one leaf.
    TwoSpiffeIds,
    /// A CA certificate as the leaf.
    CaAsLeaf,
    /// Another's certificate without its key.
    StolenCertificate,
    /// A verified client that no rule admits.
    NotAllowed,
    /// HTTP without TLS.
    PlainHttp,
    /// Offers TLS 1.1 and nothing later.
    Tls11,
    /// Random bytes.
    Garbage,
    /// Sends half a ClientHello and waits.
    Slowloris,
    /// SNI of one host, Host or :authority of another.
    SniIsNotHost,
    /// SNI of a host that no route serves.
    UnknownSni,
    /// Two Host headers.
    TwoHosts,
    /// A path that servers read in two ways.
    AmbiguousPath,
    /// CONNECT where no route takes any.
    Connect,
    /// CONNECT, at a listener with a route of tunnels, for what that does not name.
    ConnectElsewhere,
    /// For another port of what it names.
    ConnectOtherPort,
    /// For what it names, with the Host of another.
    ConnectForgedHost,
    /// For what it names, with a body announced.
    ConnectWithBody,
    /// For another place, with a request behind it that would be admitted by itself.
    ConnectHidesRequest,
    /// For what it names, by a verified client that no rule admits.
    ConnectNotAllowed,
    /// For what it names, by a partner's client with the name of an internal one.
    ConnectPartnerWithInternalName,
    /// For what it names, without a certificate.
    ConnectNoCertificate,
    /// For what it names, with a leaf that the authority has revoked.
    ConnectRevoked,
    /// A request that is no CONNECT, for the host that a tunnel leads to.
    RequestToTunnel,
    /// A leaf of the partner with the name of an internal client.
    PartnerWithInternalName,
    /// A session of a listener where nobody needs a certificate.
    SessionOfAnotherListener,
    /// A good certificate, at a gateway whose feed has not been confirmed for all of its life.
    StaleFeed,
}

impl Mode {
    /// Every mode.
    pub const ALL: [Self; 4] = [
        Self::Require,
        Self::Request,
        Self::RequireExplained,
        Self::RequestExplained,
    ];

    /// Whether a refused client is told why.
    pub fn explains(self) -> bool {
        matches!(self, Self::RequireExplained | Self::RequestExplained)
    }

    /// What it asks of clients, whatever they are told.
    fn asks(self) -> Self {
        match self {
            Self::Require | Self::RequireExplained => Self::Require,
            Self::Request | Self::RequestExplained => Self::Request,
        }
    }
}

impl Attack {
    /// Whether the handshake of the refused can be finished, so that a listener that explains does so: not where TLS itself is
    /// broken, nothing was read, or no key is held.
    fn may_be_told(self) -> bool {
        match self {
            Self::NoCertificate
            | Self::Expired
            | Self::NotYetValid
            | Self::UnknownCa
            | Self::SameNameCa
            | Self::MissingIntermediate
            | Self::WrongEku
            | Self::Revoked
            | Self::OverlongChain
            | Self::HugeName
            | Self::NulInSan
            | Self::TwoSpiffeIds
            | Self::CaAsLeaf
            | Self::SessionOfAnotherListener
            | Self::StaleFeed
            | Self::ConnectNoCertificate
            | Self::ConnectRevoked => true,
            Self::StolenCertificate
            | Self::NotAllowed
            | Self::PlainHttp
            | Self::Tls11
            | Self::Garbage
            | Self::Slowloris
            | Self::SniIsNotHost
            | Self::UnknownSni
            | Self::TwoHosts
            | Self::AmbiguousPath
            | Self::Connect
            | Self::ConnectElsewhere
            | Self::ConnectOtherPort
            | Self::ConnectForgedHost
            | Self::ConnectWithBody
            | Self::ConnectHidesRequest
            | Self::ConnectNotAllowed
            | Self::ConnectPartnerWithInternalName
            | Self::RequestToTunnel
            | Self::PartnerWithInternalName => false,
        }
    }

    /// Whether it is for a listener with a route of tunnels.
    pub fn is_of_tunnels(self) -> bool {
        matches!(
            self,
            Self::ConnectElsewhere
                | Self::ConnectOtherPort
                | Self::ConnectForgedHost
                | Self::ConnectWithBody
                | Self::ConnectHidesRequest
                | Self::ConnectNotAllowed
                | Self::ConnectPartnerWithInternalName
                | Self::ConnectNoCertificate
                | Self::ConnectRevoked
                | Self::RequestToTunnel
        )
    }
}

impl Protocol {
    /// Those with requests.
    pub const HTTP: [Self; 3] = [Self::Http1Tls12, Self::Http1Tls13, Self::Http2Tls13];

    /// Every protocol.
    pub const ALL: [Self; 5] = [
        Self::Http1Tls12,
        Self::Http1Tls13,
        Self::Http2Tls13,
        Self::BytesTls12,
        Self::BytesTls13,
    ];

    /// To a listener that passes bytes on, where there are no requests.
    pub fn is_bytes(self) -> bool {
        matches!(self, Self::BytesTls12 | Self::BytesTls13)
    }
}

/// What has to happen. In every case no byte reaches the upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expected {
    /// The handshake fails with this alert (RFC 8446 §6), for this cause.
    Alert(TlsAlert, Cause),
    /// The handshake is done, the request is answered with this status, for this cause.
    Status(u16, Cause),
    /// The connection ends, for this cause; what the client sees on its way is not TLS.
    Closed(Cause),
    /// The attack cannot be put in this protocol.
    Impossible,
}

/// TLS alerts by number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum TlsAlert {
    /// 42.
    BadCertificate = 42,
    /// 43.
    UnsupportedCertificate = 43,
    /// 44.
    CertificateRevoked = 44,
    /// 45.
    CertificateExpired = 45,
    /// 48.
    UnknownCa = 48,
    /// 49.
    AccessDenied = 49,
    /// 51.
    DecryptError = 51,
    /// 70.
    ProtocolVersion = 70,
    /// 112.
    UnrecognizedName = 112,
    /// 116.
    CertificateRequired = 116,
}

/// The table.
pub fn expected(mode: Mode, protocol: Protocol, attack: Attack) -> Expected {
    // Bytes have no way to explain.
    if mode.explains() && protocol.is_bytes() {
        return Expected::Impossible;
    }
    match unexplained(mode.asks(), protocol, attack) {
        Expected::Alert(_, cause) if mode.explains() && attack.may_be_told() => {
            Expected::Status(403, cause)
        }
        expected => expected,
    }
}

fn unexplained(mode: Mode, protocol: Protocol, attack: Attack) -> Expected {
    use Expected::{Alert, Closed, Impossible, Status};
    use TlsAlert as A;
    match attack {
        _ if attack.is_of_tunnels() && protocol.is_bytes() => Impossible,
        // rustls sends certificate_required (RFC 8446 §6.2) in TLS 1.2 too, where RFC 5246 has only handshake_failure:
        // clients name it all the same, and it says more.
        Attack::NoCertificate | Attack::SessionOfAnotherListener | Attack::ConnectNoCertificate
            if mode == Mode::Require =>
        {
            Alert(A::CertificateRequired, Cause::ClientCertNotSent)
        }
        // In TLS 1.2 and 1.3 alike: the handshake is done before anybody could say that nobody came.
        Attack::NoCertificate if protocol.is_bytes() => Closed(Cause::ClientCertNotSent),
        Attack::NoCertificate | Attack::ConnectNoCertificate => {
            Status(403, Cause::ClientCertNotSent)
        }
        // The other way round, the client would not offer it.
        Attack::SessionOfAnotherListener => Impossible,
        Attack::Expired => Alert(A::CertificateExpired, Cause::LeafExpired),
        Attack::NotYetValid => Alert(A::CertificateExpired, Cause::NotYetValid),
        Attack::UnknownCa => Alert(A::UnknownCa, Cause::ClientCaNotTrusted),
        Attack::SameNameCa => Alert(A::UnknownCa, Cause::SameNameDifferentKeyCa),
        Attack::MissingIntermediate => Alert(A::UnknownCa, Cause::ChainMissingIntermediate),
        Attack::WrongEku => Alert(A::UnsupportedCertificate, Cause::EkuMissingClientauth),
        Attack::Revoked | Attack::ConnectRevoked => {
            Alert(A::CertificateRevoked, Cause::CertificateRevoked)
        }
        Attack::OverlongChain => Alert(A::BadCertificate, Cause::ChainTooDeep),
        Attack::HugeName => Alert(A::BadCertificate, Cause::CertificateTooLarge),
        Attack::NulInSan => Alert(A::BadCertificate, Cause::MalformedCertificate),
        Attack::TwoSpiffeIds => Alert(A::BadCertificate, Cause::IdentityAmbiguous),
        Attack::CaAsLeaf => Alert(A::UnsupportedCertificate, Cause::CaUsedAsEndEntity),
        Attack::StaleFeed => Alert(A::AccessDenied, Cause::TrustDataStale),
        Attack::StolenCertificate => Alert(A::DecryptError, Cause::BadSignature),
        Attack::NotAllowed | Attack::PartnerWithInternalName if protocol.is_bytes() => {
            Alert(A::AccessDenied, Cause::IdentityNotAllowed)
        }
        Attack::NotAllowed
        | Attack::PartnerWithInternalName
        | Attack::ConnectNotAllowed
        | Attack::ConnectPartnerWithInternalName => Status(403, Cause::IdentityNotAllowed),
        // Streams have nothing behind them.
        Attack::ConnectHidesRequest if protocol == Protocol::Http2Tls13 => Impossible,
        Attack::ConnectElsewhere | Attack::ConnectOtherPort | Attack::ConnectHidesRequest => {
            Status(403, Cause::RequestNotAllowed)
        }
        Attack::PlainHttp => Closed(Cause::PlainHttpToTlsPort),
        Attack::Tls11 => Alert(A::ProtocolVersion, Cause::TlsVersionMismatch),
        Attack::Garbage => Closed(Cause::MalformedHandshake),
        Attack::Slowloris => Closed(Cause::HandshakeTimeout),
        // Bytes have no host, and their listener takes any name.
        Attack::SniIsNotHost
        | Attack::UnknownSni
        | Attack::TwoHosts
        | Attack::AmbiguousPath
        | Attack::Connect
            if protocol.is_bytes() =>
        {
            Impossible
        }
        // Whoever asks a gateway for tunnels has made the connection for its own name.
        Attack::RequestToTunnel | Attack::SniIsNotHost => Status(421, Cause::SniHostMismatch),
        Attack::UnknownSni => Alert(A::UnrecognizedName, Cause::SniUnknown),
        // RFC 9113 §8.3.1: one :authority, and no Host beside it that differs.
        Attack::TwoHosts if protocol == Protocol::Http2Tls13 => Impossible,
        Attack::AmbiguousPath
        | Attack::Connect
        | Attack::ConnectForgedHost
        | Attack::ConnectWithBody
        | Attack::TwoHosts => Status(400, Cause::MalformedRequest),
    }
}
