//! The refusal for each fault, in words.

use std::net::SocketAddr;
use std::time::Duration;

use countersign_pki::time::spoken;

use super::alert;
use super::{
    Excess, HandshakeFault, HeaderFault, Offer, Offered, PendingAt, Stage, code_list,
    protocol_list, version_list,
};
use crate::cause::Cause;
use crate::evidence::Evidence;
use crate::refusal::Refusal;

/// The refusal for a fault, with what the client offered among its facts.
pub fn refusal(fault: &HandshakeFault, source: SocketAddr, offer: &Offer) -> Refusal {
    let mut refusal = judged(fault, offer);
    offer.describe(source, &mut refusal.evidence);
    refusal
}

fn judged(fault: &HandshakeFault, offer: &Offer) -> Refusal {
    let plain = |cause, sentence: &str| Refusal::new(cause, sentence, Evidence::new());
    match fault {
        HandshakeFault::Alert { code } => alert::refusal(*code),
        HandshakeFault::AlpnMismatch { served } => alpn_mismatch(served, offer),
        HandshakeFault::CertificateMissing => plain(
            Cause::ClientCertNotSent,
            "this listener requires a client certificate, the client sent none",
        ),
        HandshakeFault::CertificateTooLarge => plain(
            Cause::CertificateTooLarge,
            "the client's certificate message is over 64 KiB and was not read",
        ),
        HandshakeFault::Closed(stage) => Refusal::new(
            Cause::ClientClosedEarly,
            match stage {
                Stage::BeforeFirstByte => "the client closed the connection without sending a byte",
                Stage::InClientHello => {
                    "the client closed the connection before its ClientHello was complete"
                }
                Stage::Answered => "the client closed the connection before the handshake was done",
            },
            Evidence::new().with("stage", stage.name()),
        ),
        HandshakeFault::HelloTooLarge => plain(
            Cause::HandshakeTooLarge,
            "the ClientHello is over 64 KiB and was not read",
        ),
        HandshakeFault::Malformed { why } => Refusal::new(
            Cause::MalformedHandshake,
            format!("the client broke the TLS protocol: {why}"),
            Evidence::new().with("detail", why),
        ),
        HandshakeFault::NothingShared(what) => nothing_shared(*what, offer),
        HandshakeFault::NotTls { first } => {
            let hex = first
                .iter()
                .map(|byte| format!("{byte:02x}"))
                .collect::<Vec<_>>()
                .join(" ");
            Refusal::new(
                Cause::MalformedHandshake,
                format!("the first bytes are not TLS: {hex}"),
                Evidence::new().with("first_bytes", hex),
            )
        }
        HandshakeFault::PossessionUnproved => plain(
            Cause::BadSignature,
            "the client did not prove that it holds the key of the certificate it sent: its CertificateVerify does not verify",
        ),
        HandshakeFault::PlainHttp { method } => Refusal::new(
            Cause::PlainHttpToTlsPort,
            format!("the client sent a plaintext HTTP request ({method}) to a TLS port"),
            Evidence::new().with("method", method),
        ),
        HandshakeFault::PlainPostgresql { packet } => Refusal::new(
            Cause::PlainHttpToTlsPort,
            format!("the client sent a plaintext {packet} of PostgreSQL to a TLS port"),
            Evidence::new().with("packet", packet),
        ),
        HandshakeFault::ProxyHeader => plain(
            Cause::ProxyHeaderUntrusted,
            "the connection begins with a PROXY header, which this listener does not take from that address",
        ),
        HandshakeFault::ProxyHeaderMissing(fault) => Refusal::new(
            Cause::ProxyHeaderMissing,
            header_sentence(fault),
            Evidence::new(),
        ),
        HandshakeFault::RateLimited(excess) => rate_limited(excess),
        HandshakeFault::SentAhead => plain(
            Cause::MalformedHandshake,
            "the client sent more behind its request for encryption than it may before the answer",
        ),
        HandshakeFault::SessionMixedUp => plain(
            Cause::ResumptionSkipsCheck,
            "the resumed session holds another certificate than the one it was admitted with",
        ),
        HandshakeFault::TimedOut { stage, limit } => timed_out(*stage, *limit),
        HandshakeFault::TooManyPending { at, limit } => too_many_pending(*at, *limit),
        HandshakeFault::TrustDataStale { age, life } => stale(*age, *life),
        HandshakeFault::TrustMissing => plain(
            Cause::TrustBundleEmpty,
            "this listener asks for client certificates and has no trust bundle to judge them by",
        ),
        HandshakeFault::UnknownServerName { name } => Refusal::new(
            Cause::SniUnknown,
            format!("no route of this listener serves {name}"),
            Evidence::new().with("sni", name),
        ),
        HandshakeFault::VersionTooOld => Refusal::new(
            Cause::TlsVersionMismatch,
            format!(
                "the client offers {}, this listener speaks {SPOKEN_VERSIONS}",
                version_list(&offer.versions)
            ),
            Evidence::new().with("tls_versions_served", SPOKEN_VERSIONS),
        ),
    }
}

fn header_sentence(fault: &HeaderFault) -> String {
    const ASKED: &str =
        "this listener takes connections from that address with a PROXY header alone";
    match fault {
        HeaderFault::Absent => format!("{ASKED}, and this one begins with something else"),
        HeaderFault::Closed => format!("{ASKED}, and this one was closed before there was one"),
        HeaderFault::Invalid { why } => {
            format!("{ASKED}, and the one that came cannot be read: {why}")
        }
        HeaderFault::Late { limit } => {
            format!("{ASKED}, and none came within {:.1} s", limit.as_secs_f64())
        }
    }
}

fn alpn_mismatch(served: &[Vec<u8>], offer: &Offer) -> Refusal {
    let served = protocol_list(served);
    let sentence = if offer.protocols.is_empty() {
        format!(
            "the client names no application protocol, this listener speaks {served} and has to be asked for it"
        )
    } else {
        let offered = protocol_list(&offer.protocols);
        format!(
            "the client offers the application protocols {offered}, this listener speaks {served}"
        )
    };
    let evidence = Evidence::new().with("alpn_served", served);
    Refusal::new(Cause::AlpnMismatch, sentence, evidence)
}

fn stale(age: Duration, life: Duration) -> Refusal {
    // A clock that was set back says nothing of an age.
    let age = if age == Duration::MAX {
        "an unknown time (the clock was set back)".to_owned()
    } else {
        spoken(age)
    };
    let life = spoken(life);
    let sentence = format!(
        "revocations and bundles were last confirmed by the authority {age} ago, this listener admits nobody by what is older than {life}"
    );
    let evidence = Evidence::new()
        .with("feed_age", age)
        .with("feed_life", life);
    Refusal::new(Cause::TrustDataStale, sentence, evidence)
}

fn nothing_shared(what: Offered, offer: &Offer) -> Refusal {
    let (cause, lack, offered) = match what {
        Offered::CipherSuites => (
            Cause::NoSharedCipher,
            "cipher suite",
            &offer.cipher_suites[..],
        ),
        Offered::Groups => (
            Cause::NoSharedCipher,
            "key exchange group",
            &offer.groups[..],
        ),
        Offered::SignatureSchemes => (
            Cause::SigalgUnsupported,
            "signature scheme that fits this server's key",
            &[][..],
        ),
    };
    let mut evidence = Evidence::new();
    match what {
        Offered::CipherSuites => evidence.push("cipher_suites_offered", code_list(offered)),
        Offered::Groups => evidence.push("groups_offered", code_list(offered)),
        Offered::SignatureSchemes => {}
    }
    Refusal::new(
        cause,
        format!("the client offers no {lack} that this listener accepts"),
        evidence,
    )
}

fn timed_out(stage: Stage, limit: Duration) -> Refusal {
    let came = match stage {
        Stage::BeforeFirstByte => "did not send a byte",
        Stage::InClientHello => "did not finish its ClientHello",
        Stage::Answered => "did not finish the handshake",
    };
    let limit = format!("{:.1} s", limit.as_secs_f64());
    Refusal::new(
        Cause::HandshakeTimeout,
        format!("the client {came} within {limit}"),
        Evidence::new()
            .with("stage", stage.name())
            .with("limit", limit),
    )
}

fn too_many_pending(at: PendingAt, limit: usize) -> Refusal {
    let (whose, counted) = match at {
        PendingAt::Listener => ("of this listener", "listener"),
        PendingAt::Source => ("from this address", "source"),
    };
    Refusal::new(
        Cause::TooManyPending,
        format!("{limit} handshakes {whose} are unfinished, no more are begun before one ends"),
        Evidence::new()
            .with("limit", limit)
            .with("counted", counted),
    )
}

fn rate_limited(excess: &Excess) -> Refusal {
    match excess {
        Excess::Connections { limit } => Refusal::new(
            Cause::RateLimited,
            format!(
                "{limit} connections from this address are open, no more are taken before one ends"
            ),
            Evidence::new()
                .with("limit", limit)
                .with("counted", "connections"),
        ),
        Excess::Handshakes {
            network,
            per_second,
        } => Refusal::new(
            Cause::RateLimited,
            format!("{network} begins more than {per_second} handshakes a second"),
            Evidence::new()
                .with("limit", per_second)
                .with("counted", "handshakes-per-second")
                .with("network", network),
        ),
    }
}

impl Stage {
    const fn name(self) -> &'static str {
        match self {
            Self::BeforeFirstByte => "before-first-byte",
            Self::InClientHello => "in-client-hello",
            Self::Answered => "answered",
        }
    }
}

const SPOKEN_VERSIONS: &str = "TLSv1.2 and TLSv1.3";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::handshake::alert_received;

    fn offer() -> Offer {
        Offer {
            server_name: Some("api.example.com".to_owned()),
            protocols: vec![b"h2".to_vec(), b"http/1.1".to_vec()],
            versions: vec![0x0301, 0x0302],
            cipher_suites: vec![0x0005],
            groups: vec![0x0100],
        }
    }

    fn check(fault: &HandshakeFault, cause: Cause, sentence: &str) {
        let source = SocketAddr::from(([192, 0, 2, 1], 4711));
        let refusal = refusal(fault, source, &offer());
        assert_eq!((refusal.cause, refusal.sentence()), (cause, sentence));
        assert_eq!(refusal.evidence.get("source"), Some("192.0.2.1:4711"));
        assert_eq!(refusal.evidence.get("alpn_offered"), Some("h2, http/1.1"));
        assert_eq!(
            refusal.evidence.get("tls_versions_offered"),
            Some("TLSv1, TLSv1.1")
        );
    }

    #[test]
    fn what_the_client_spoke_or_left_out_is_named() {
        check(
            &HandshakeFault::VersionTooOld,
            Cause::TlsVersionMismatch,
            "the client offers TLSv1, TLSv1.1, this listener speaks TLSv1.2 and TLSv1.3",
        );
        check(
            &HandshakeFault::AlpnMismatch {
                served: vec![b"postgresql".to_vec()],
            },
            Cause::AlpnMismatch,
            "the client offers the application protocols h2, http/1.1, this listener speaks postgresql",
        );
        check(
            &HandshakeFault::PlainHttp { method: "GET" },
            Cause::PlainHttpToTlsPort,
            "the client sent a plaintext HTTP request (GET) to a TLS port",
        );
        check(
            &HandshakeFault::PlainPostgresql {
                packet: "CancelRequest",
            },
            Cause::PlainHttpToTlsPort,
            "the client sent a plaintext CancelRequest of PostgreSQL to a TLS port",
        );
        check(
            &HandshakeFault::SentAhead,
            Cause::MalformedHandshake,
            "the client sent more behind its request for encryption than it may before the answer",
        );
        check(
            &HandshakeFault::NotTls {
                first: b"SSH-".to_vec(),
            },
            Cause::MalformedHandshake,
            "the first bytes are not TLS: 53 53 48 2d",
        );
        check(
            &HandshakeFault::TimedOut {
                stage: Stage::InClientHello,
                limit: Duration::from_millis(2500),
            },
            Cause::HandshakeTimeout,
            "the client did not finish its ClientHello within 2.5 s",
        );
        check(
            &HandshakeFault::UnknownServerName {
                name: "other.example.com".to_owned(),
            },
            Cause::SniUnknown,
            "no route of this listener serves other.example.com",
        );
    }

    #[test]
    fn what_was_not_shared_is_among_the_facts() {
        let source = SocketAddr::from(([192, 0, 2, 1], 4711));
        let suites = refusal(
            &HandshakeFault::NothingShared(Offered::CipherSuites),
            source,
            &offer(),
        );
        assert_eq!(
            (suites.cause, suites.evidence.get("cipher_suites_offered")),
            (Cause::NoSharedCipher, Some("0005"))
        );
        let groups = refusal(
            &HandshakeFault::NothingShared(Offered::Groups),
            source,
            &offer(),
        );
        assert_eq!(
            (groups.cause, groups.evidence.get("groups_offered")),
            (Cause::NoSharedCipher, Some("0100"))
        );
        let schemes = refusal(
            &HandshakeFault::NothingShared(Offered::SignatureSchemes),
            source,
            &offer(),
        );
        assert_eq!(schemes.cause, Cause::SigalgUnsupported);
    }

    #[test]
    fn only_an_alert_of_the_other_side_says_that_it_refused_us() {
        let source = SocketAddr::from(([192, 0, 2, 1], 4711));
        let of = |fault| refusal(&fault, source, &offer());
        for (code, alert) in [
            (48, "unknown_ca"),
            (45, "certificate_expired"),
            (199, "other"),
        ] {
            let theirs = of(HandshakeFault::Alert { code });
            assert_eq!(alert_received(&theirs), Some(alert));
            assert_eq!(theirs.evidence.get("refused_by"), Some("client"));
        }
        let ours = of(HandshakeFault::CertificateMissing);
        assert_eq!(alert_received(&ours), None);
        assert_eq!(ours.evidence.get("refused_by"), None);
    }

    #[test]
    fn an_alert_of_the_client_says_who_refused_whom() {
        check(
            &HandshakeFault::Alert { code: 48 },
            Cause::ClientClosedEarly,
            "the client refused this server's certificate: it trusts no CA above it (alert unknown_ca)",
        );
        check(
            &HandshakeFault::Alert { code: 199 },
            Cause::ClientClosedEarly,
            "the client ended the handshake with an alert (alert 199)",
        );
    }
}
