//! Why a connection that we made as a client came to nothing.
//!
//! What is wrong with the server's certificate is told by [`crate::chain`]; here is everything around it, up to the alert
//! by which the server refuses ours.

use std::time::Duration;

use countersign_pki::time::spoken;

use crate::cause::Cause;
use crate::evidence::Evidence;
use crate::handshake::{ALERT_RECEIVED, alert_name};
use crate::refusal::Refusal;

/// What ended it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConnectFault {
    /// The server sent an alert: it refused us.
    Alert {
        /// The `AlertDescription` on the wire.
        code: u8,
    },
    /// The server closed the connection in the middle of the handshake.
    Closed,
    /// Nobody listens there.
    ConnectionRefused,
    /// The server broke the protocol, or speaks nothing that we speak.
    Malformed {
        /// How, in the TLS library's words.
        why: String,
    },
    /// The host has no address.
    NameNotResolved {
        /// What the system says.
        why: String,
    },
    /// What answers there is not TLS.
    NotTls,
    /// The server does not hold the key of the certificate it sent.
    PossessionUnproved,
    /// The server's certificate was revoked while the handshake ran.
    RevokedMeanwhile,
    /// It took too long.
    TimedOut {
        /// How long it had.
        limit: Duration,
    },
    /// What servers are judged by has not been confirmed for too long.
    TrustDataStale {
        /// For how long.
        age: Duration,
        /// For how long it may.
        life: Duration,
    },
    /// There is no way to it.
    Unreachable {
        /// What the system says.
        why: String,
    },
}

/// The refusal for a fault; `target` is `host:port`.
pub fn refusal(fault: &ConnectFault, target: &str) -> Refusal {
    let evidence = Evidence::new().with("target", target);
    let plain = |cause, sentence: String| Refusal::new(cause, sentence, evidence.clone());
    match fault {
        ConnectFault::Alert { code } => refused_by_alert(*code, target, evidence),
        ConnectFault::Closed => plain(
            Cause::ResetBeforeServerHello,
            format!("{target} closed the connection before the handshake was done"),
        ),
        ConnectFault::ConnectionRefused => plain(
            Cause::ConnectionRefused,
            format!("nobody listens on {target}"),
        ),
        ConnectFault::Malformed { why } => plain(
            Cause::MalformedHandshake,
            format!("{target} does not speak TLS as it has to be spoken here: {why}"),
        ),
        ConnectFault::NameNotResolved { why } => plain(
            Cause::NameNotResolved,
            format!("the host of {target} has no address: {why}"),
        ),
        ConnectFault::NotTls => plain(
            Cause::PeerNotTls,
            format!("what answers on {target} is not TLS"),
        ),
        ConnectFault::PossessionUnproved => plain(
            Cause::BadSignature,
            format!("{target} did not prove that it holds the key of the certificate it sent"),
        ),
        ConnectFault::RevokedMeanwhile => plain(
            Cause::CertificateRevoked,
            format!("the certificate of {target} is revoked"),
        ),
        ConnectFault::TrustDataStale { age, life } => plain(
            Cause::TrustDataStale,
            format!(
                "{target} cannot be judged: revocations and bundles were not confirmed for {}, and may be for {}",
                spoken(*age),
                spoken(*life)
            ),
        ),
        ConnectFault::TimedOut { limit } => plain(
            Cause::NoTlsAnswer,
            format!(
                "{target} did not finish the handshake within {} s",
                limit.as_secs()
            ),
        ),
        ConnectFault::Unreachable { why } => plain(
            Cause::ConnectionRefused,
            format!("{target} cannot be reached: {why}"),
        ),
    }
}

/// In TLS 1.3 the server judges our certificate when our half of the handshake is done, so that its no arrives later.
fn refused_by_alert(code: u8, target: &str, evidence: Evidence) -> Refusal {
    let name = alert_name(code).map_or_else(|| code.to_string(), str::to_owned);
    let (cause, meaning) = match code {
        42 => (
            Cause::MalformedCertificate,
            "it finds our certificate malformed or wrongly signed",
        ),
        43 => (
            Cause::EkuMissingClientauth,
            "our certificate is not for what it is used for there",
        ),
        44 => (Cause::CertificateRevoked, "our certificate is revoked"),
        45 => (
            Cause::LeafExpired,
            "our certificate has expired, or is not valid yet by its clock",
        ),
        46 | 49 | 113 => (
            Cause::IdentityNotAllowed,
            "it does not admit our certificate now; its log says why",
        ),
        48 => (
            Cause::ClientCaNotTrusted,
            "it trusts no CA above our certificate",
        ),
        51 => (Cause::BadSignature, "it finds a signature of ours wrong"),
        70 => (
            Cause::TlsVersionMismatch,
            "it speaks no version of TLS that we speak",
        ),
        112 => (Cause::SniUnknown, "it serves no such name"),
        116 => (
            Cause::ClientCertNotSent,
            "it requires a certificate and got none",
        ),
        120 => (
            Cause::AlpnMismatch,
            "it speaks no application protocol that we speak",
        ),
        _ => (Cause::MalformedHandshake, "it ended the handshake"),
    };
    Refusal::new(
        cause,
        format!("{target} refuses us: {meaning} (alert {name})"),
        evidence
            .with("refused_by", "server")
            .with(ALERT_RECEIVED, name),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::handshake::alert_received;

    #[test]
    fn servers_refusal_has_the_cause_of_its_alert_and_names_the_server() {
        for (code, cause) in [
            (44, Cause::CertificateRevoked),
            (48, Cause::ClientCaNotTrusted),
            (116, Cause::ClientCertNotSent),
            (7, Cause::MalformedHandshake),
        ] {
            let refusal = refusal(&ConnectFault::Alert { code }, "ca.example:9443");
            assert_eq!(refusal.cause, cause);
            assert_eq!(refusal.evidence.get("refused_by"), Some("server"));
            let alert = alert_name(code).unwrap_or("other");
            assert_eq!(alert_received(&refusal), Some(alert));
            assert!(
                refusal
                    .sentence()
                    .starts_with("ca.example:9443 refuses us: "),
                "{}",
                refusal.sentence()
            );
        }
    }
}
