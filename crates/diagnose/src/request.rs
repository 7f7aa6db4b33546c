//! Requests turned away inside an accepted connection, in words.

use std::fmt::Display;

use countersign_pki::identity::VerifiedPeer;
use countersign_pki::name::DnsName;
use countersign_policy::access::{Asked, Decision, Login};
use countersign_policy::postgresql::InvalidPacket;

use crate::cause::Cause;
use crate::evidence::Evidence;
use crate::factor::FactorFaults;
use crate::refusal::Refusal;

/// A request that two servers could read in two ways, or that no server should read at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Malformed {
    /// CONNECT asks for a tunnel; a gateway is no forward proxy, and opens those alone that its routes name.
    Connect,
    /// A CONNECT that announces a body, which RFC 9110 §9.3.6 gives no meaning.
    ConnectBody,
    /// A CONNECT over HTTP/1.0, with a protocol (RFC 8441), or for what is no one host and port.
    ConnectForm,
    /// `Host` is not the host of the target (RFC 9112 §3.2).
    HostDiffers,
    /// On an address for programs of this host, a request that a browser sends for a web page of somebody else.
    FromWebPage,
    /// Several `Host` headers.
    HostDuplicate,
    /// Neither a DNS name nor an IP address, with at most a port behind it.
    HostMalformed,
    /// Neither `Host` nor `:authority`.
    HostMissing,
    /// A value of a header with a space or tab at its beginning or end (RFC 9113 §8.2.1), which the next server would take away.
    HeaderPadded,
    /// The policy judges by a path that has a second reading.
    PathAmbiguous,
    /// Neither a path nor a whole URL (RFC 9112 §3.2): a bare authority, or `*` for anything but OPTIONS.
    TargetForm,
    /// A coding of the body besides `chunked`, or that twice (RFC 9112 §6.1, §7): nothing here decodes another.
    TransferCoding,
    /// No HTTP, or headers past the limits.
    Unreadable,
}

impl Malformed {
    fn sentence(self) -> &'static str {
        match self {
            Self::Connect => "the request asks for a CONNECT tunnel, which a gateway does not open",
            Self::ConnectBody => "the CONNECT announces a body, and a CONNECT has none",
            Self::ConnectForm => {
                "the request is no CONNECT over HTTP/1.1 or HTTP/2 that asks for one host and port, as host:port"
            }
            Self::HostDiffers => "the Host header and the request's target name different hosts",
            Self::FromWebPage => {
                "the request was sent by a web page, or asks for another host than this one and the server behind it, as that of \
                 a web page would"
            }
            Self::HostDuplicate => "the request has more than one Host header",
            Self::HostMalformed => "the requested host is neither a DNS name nor an IP address",
            Self::HostMissing => "the request names no host",
            Self::HeaderPadded => {
                "the value of a header begins or ends with a space or a tab, which is no part of a value"
            }
            Self::PathAmbiguous => {
                "the path can be read in two ways (dot segments, empty segments, backslashes or encoded separators), and rules \
                 depend on it"
            }
            Self::TargetForm => "the request's target is neither a path nor a whole URL",
            Self::TransferCoding => {
                "the request's body has a transfer coding that is not chunked, or is chunked twice"
            }
            Self::Unreadable => "the bytes are no HTTP request, or its headers are over the limits",
        }
    }
}

/// A request that cannot be judged.
pub fn malformed(fault: Malformed, found: impl Display) -> Refusal {
    let evidence = Evidence::new().with("found", found);
    Refusal::new(Cause::MalformedRequest, fault.sentence(), evidence)
}

/// A connection made for one name that asks for another.
pub fn sni_host_mismatch(sni: &DnsName, host: impl Display) -> Refusal {
    let evidence = Evidence::new().with("sni", sni).with("host", &host);
    let sentence = format!("the connection was made for {sni}, the request asks for {host}");
    Refusal::new(Cause::SniHostMismatch, sentence, evidence)
}

/// What the policy said no to; `None` if it said yes. `route` is how the route that decided is called.
/// `faults`: why what stood beside the certificate does not count.
pub fn refused(
    decision: &Decision,
    asked: &Asked<'_>,
    faults: &FactorFaults,
    route: &str,
) -> Option<Refusal> {
    let evidence = evidence_of(asked);
    let who = who(asked.peer);
    let (method, path) = (asked.method, asked.path);
    let (cause, sentence) = match decision {
        Decision::Allow { .. } => return None,
        Decision::CertificateNeeded { .. } => (
            Cause::ClientCertNotSent,
            format!("{route} needs a client certificate, the client sent none"),
        ),
        Decision::IdentityNotAllowed { nearest, .. } => (
            Cause::IdentityNotAllowed,
            format!("{who} is not admitted by {route}: {nearest}"),
        ),
        Decision::FactorNeeded {
            factor, nearest, ..
        } => {
            let (cause, why) = faults.told(*factor);
            (
                cause,
                format!("{who} may not {method} {path} on {route}: {why}; {nearest}"),
            )
        }
        Decision::NoRoute => (
            Cause::RequestNotAllowed,
            format!(
                "no route serves {method} {path} on {}",
                asked.host.map_or("this host", DnsName::as_str)
            ),
        ),
        Decision::RequestNotAllowed { nearest, .. } => (
            Cause::RequestNotAllowed,
            format!("{who} may not {method} {path} on {route}: {nearest}"),
        ),
    };
    Some(Refusal::new(cause, sentence, evidence.with("route", route)))
}

/// What the policy of a listener of bytes said no to; `None` if it said yes.
pub fn refused_connection(
    decision: &Decision,
    peer: Option<&VerifiedPeer>,
    route: &str,
) -> Option<Refusal> {
    let mut evidence = Evidence::new();
    describe(peer, &mut evidence);
    let (cause, sentence) = match decision {
        Decision::Allow { .. } => return None,
        Decision::CertificateNeeded { .. } => (
            Cause::ClientCertNotSent,
            format!("{route} needs a client certificate, the client sent none"),
        ),
        Decision::IdentityNotAllowed { nearest, .. }
        | Decision::RequestNotAllowed { nearest, .. }
        | Decision::FactorNeeded { nearest, .. } => (
            Cause::IdentityNotAllowed,
            format!("{} is not admitted by {route}: {nearest}", who(peer)),
        ),
        Decision::NoRoute => (
            Cause::IdentityNotAllowed,
            format!("{} is admitted by nothing here", who(peer)),
        ),
    };
    Some(Refusal::new(cause, sentence, evidence.with("route", route)))
}

/// A login that the policy of a listener of logins said no to; `None` if it said yes.
pub fn refused_login(
    decision: &Decision,
    peer: Option<&VerifiedPeer>,
    login: &Login,
    route: &str,
) -> Option<Refusal> {
    let mut refusal = refused_connection(decision, peer, route)?;
    if let Decision::RequestNotAllowed { nearest, .. } = decision {
        let sentence = format!("{} may not log in on {route}: {nearest}", who(peer));
        refusal = Refusal::new(Cause::RequestNotAllowed, sentence, refusal.evidence);
    }
    refusal.evidence.push("user", login.user());
    refusal.evidence.push("database", login.database());
    Some(refusal)
}

/// A first packet inside TLS that is no login, or one that two servers could read in two ways.
pub fn malformed_login(invalid: &InvalidPacket, peer: Option<&VerifiedPeer>) -> Refusal {
    let mut evidence = Evidence::new();
    describe(peer, &mut evidence);
    let sentence = format!("the login to PostgreSQL cannot be passed on: {invalid}");
    Refusal::new(Cause::MalformedRequest, sentence, evidence)
}

fn who(peer: Option<&VerifiedPeer>) -> String {
    peer.map_or_else(
        || "an anonymous client".to_owned(),
        |peer| peer.principal().to_string(),
    )
}

fn evidence_of(asked: &Asked<'_>) -> Evidence {
    let mut evidence = Evidence::new()
        .with("method", asked.method)
        .with("path", asked.path);
    if let Some(host) = asked.host {
        evidence.push("host", host);
    }
    describe(asked.peer, &mut evidence);
    evidence
}

fn describe(peer: Option<&VerifiedPeer>, evidence: &mut Evidence) {
    if let Some(peer) = peer {
        let names: Vec<String> = peer.names().iter().map(ToString::to_string).collect();
        evidence.push("principal", &peer.principal().name);
        evidence.push("bundle", peer.bundle());
        evidence.push("names", names.join(", "));
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use countersign_pki::time::UnixTime;
    use countersign_policy::access::{Circumstances, Factor, Factors, NoHeaders};
    use countersign_policy::token::TokenFault;

    use super::*;

    const ASKED: Asked<'_> = Asked {
        peer: None,
        host: None,
        method: "GET",
        path: "/admin",
        headers: &NoHeaders,
        factors: &Factors::NONE,
        circumstances: Circumstances {
            source: IpAddr::V4(Ipv4Addr::LOCALHOST),
            now: UnixTime::from_seconds(0),
        },
    };

    fn check(decision: &Decision, cause: Cause, sentence: &str) {
        let refusal =
            refused(decision, &ASKED, &FactorFaults::default(), "route 1").expect("a refusal");
        assert_eq!((refusal.cause, refusal.sentence()), (cause, sentence));
        assert_eq!(refusal.evidence.get("path"), Some("/admin"));
    }

    #[test]
    fn each_no_of_the_policy_has_its_cause_and_values() {
        check(
            &Decision::CertificateNeeded { route: 0 },
            Cause::ClientCertNotSent,
            "route 1 needs a client certificate, the client sent none",
        );
        check(
            &Decision::NoRoute,
            Cause::RequestNotAllowed,
            "no route serves GET /admin on this host",
        );
        check(
            &Decision::IdentityNotAllowed {
                route: 0,
                nearest: "allows cn:a; this is cn:b".to_owned(),
            },
            Cause::IdentityNotAllowed,
            "an anonymous client is not admitted by route 1: allows cn:a; this is cn:b",
        );
        check(
            &Decision::RequestNotAllowed {
                route: 0,
                nearest: "allows POST".to_owned(),
            },
            Cause::RequestNotAllowed,
            "an anonymous client may not GET /admin on route 1: allows POST",
        );
        assert_eq!(
            refused(
                &Decision::Allow { route: 0 },
                &ASKED,
                &FactorFaults::default(),
                "route 1"
            ),
            None
        );
    }

    #[test]
    fn factor_that_is_not_there_is_told_from_one_that_is_not_good() {
        let decision = Decision::FactorNeeded {
            route: 0,
            factor: Factor::Token,
            nearest: "allows cn:a with a token of corp".to_owned(),
        };
        check(
            &decision,
            Cause::TokenNotAllowed,
            "an anonymous client may not GET /admin on route 1: the token is good, and not the one that is asked for; allows cn:a with a token of corp",
        );
        let faults = FactorFaults {
            token: Some(TokenFault::Missing),
            api_key: None,
        };
        let refusal = refused(&decision, &ASKED, &faults, "route 1").expect("a refusal");
        assert_eq!(refusal.cause, Cause::TokenMissing);
    }
}
