//! Handshakes that came to nothing before certificates mattered.

use crate::cause::Cause;
use crate::log::message::{Meaning, client, either, server};

pub(in crate::log) static VERSION: Meaning = Meaning::same(
    "the two sides' versions of TLS do not meet",
    &[either(Cause::TlsVersionMismatch)],
);

pub(in crate::log) static LEGACY_RENEGOTIATION: Meaning = Meaning::same(
    "the server's TLS is from before renegotiation was made safe (RFC 5746), and this client insists on it; TLS 1.3 has none",
    &[
        either(Cause::TlsVersionMismatch).likely(),
        either(Cause::MalformedHandshake).possible(),
    ],
);

pub(in crate::log) static CIPHER: Meaning = Meaning::same(
    "the two sides have no cipher suite in common",
    &[
        either(Cause::NoSharedCipher),
        either(Cause::TlsVersionMismatch).possible(),
        either(Cause::FileMissing).possible(),
    ],
);

pub(in crate::log) static GROUP: Meaning = Meaning::same(
    "the two sides have no key exchange group in common",
    &[either(Cause::NoSharedCipher)],
);

pub(in crate::log) static VERSION_OR_CIPHER: Meaning = Meaning::same(
    "the two sides have no version or cipher suite in common",
    &[
        either(Cause::TlsVersionMismatch).likely(),
        either(Cause::NoSharedCipher).likely(),
    ],
);

pub(in crate::log) static ALPN: Meaning = Meaning::same(
    "the two sides have no application protocol in common (ALPN)",
    &[either(Cause::AlpnMismatch)],
);

pub(in crate::log) static NOT_TLS: Meaning = Meaning::new(
    "what {peer} sends is not TLS",
    &[
        server(Cause::PeerNotTls).likely(),
        server(Cause::StarttlsRequired).possible(),
        either(Cause::TlsVersionMismatch).possible(),
    ],
    &[
        client(Cause::PlainHttpToTlsPort).likely(),
        either(Cause::TlsVersionMismatch).possible(),
    ],
);

pub(in crate::log) static ANSWERS_PLAIN: Meaning = Meaning::at_client(
    "the server answers in plaintext",
    &[
        server(Cause::PeerNotTls),
        server(Cause::StarttlsRequired).possible(),
    ],
);

pub(in crate::log) static PLAIN_REQUEST: Meaning = Meaning::same(
    "the client speaks plaintext to a port that serves TLS",
    &[client(Cause::PlainHttpToTlsPort)],
);

pub(in crate::log) static STARTTLS: Meaning = Meaning::same(
    "the server begins TLS only after a command in plaintext",
    &[client(Cause::StarttlsRequired)],
);

pub(in crate::log) static NO_TLS_OFFERED: Meaning = Meaning::same(
    "the server does not offer TLS",
    &[server(Cause::PeerNotTls)],
);

pub(in crate::log) static RESET: Meaning = Meaning::new(
    "{peer} closed the connection during the handshake",
    &[
        either(Cause::ResetBeforeServerHello).likely(),
        client(Cause::ClientCertNotSent).possible(),
        either(Cause::TlsVersionMismatch).possible(),
    ],
    &[
        client(Cause::ClientClosedEarly).possible(),
        server(Cause::ServerCaNotTrusted).possible(),
    ],
);

pub(in crate::log) static RESET_ANYWHERE: Meaning = Meaning::new(
    "{peer} reset the connection, and the message does not say when",
    &[
        either(Cause::ResetBeforeServerHello).possible(),
        client(Cause::ClientCertNotSent).possible(),
    ],
    &[client(Cause::ClientClosedEarly).possible()],
)
.wrapper();

pub(in crate::log) static CLOSED_BY_CLIENT: Meaning = Meaning::at_server(
    "the client closed the connection during the handshake",
    &[
        client(Cause::ClientClosedEarly).possible(),
        server(Cause::ServerCaNotTrusted).possible(),
    ],
);

pub(in crate::log) static REFUSED: Meaning = Meaning::same(
    "nothing listens on the address and port",
    &[server(Cause::ConnectionRefused).likely()],
);

pub(in crate::log) static UNRESOLVED: Meaning = Meaning::same(
    "the host name has no address",
    &[either(Cause::NameNotResolved).likely()],
);

pub(in crate::log) static SILENT: Meaning = Meaning::new(
    "{peer} did not finish the handshake in time",
    &[
        server(Cause::NoTlsAnswer).likely(),
        either(Cause::HandshakeTimeout).likely(),
    ],
    &[
        client(Cause::HandshakeTimeout),
        client(Cause::PlainHttpToTlsPort).possible(),
    ],
);

pub(in crate::log) static BROKEN: Meaning = Meaning::same(
    "{peer} broke the TLS protocol",
    &[either(Cause::MalformedHandshake).likely()],
);

pub(in crate::log) static FAILED: Meaning = Meaning::new(
    "the handshake failed, and the message does not say why",
    &[
        server(Cause::ServerCaNotTrusted).possible(),
        client(Cause::ClientCertNotSent).possible(),
        either(Cause::NoSharedCipher).possible(),
    ],
    &[
        client(Cause::ClientCertNotSent).possible(),
        client(Cause::ClientCaNotTrusted).possible(),
        server(Cause::ServerCaNotTrusted).possible(),
    ],
)
.wrapper();

pub(in crate::log) static PROXY_HEADER: Meaning = Meaning::same(
    "a PROXY header is expected, and something else came",
    &[either(Cause::ProxyHeaderMissing)],
);

pub(in crate::log) static LIMIT: Meaning = Meaning::same(
    "one source has more connections, or makes them faster, than it may",
    &[client(Cause::RateLimited).likely()],
);

pub(in crate::log) static REQUEST: Meaning = Meaning::same(
    "the request breaks its protocol",
    &[client(Cause::MalformedRequest).possible()],
);

pub(in crate::log) static REQUEST_LIMIT: Meaning = Meaning::same(
    "the request is larger than the server takes",
    &[client(Cause::RequestLimit).possible()],
);

pub(in crate::log) static TOO_OLD: Meaning = Meaning::same(
    "the connection reached the age that the server allows, and the client has to connect anew",
    &[either(Cause::ConnectionTooOld)],
);
