//! Alerts that a client sends instead of finishing the handshake: it refused us, and says roughly why.

use crate::cause::Cause;
use crate::evidence::Evidence;
use crate::refusal::Refusal;

/// The name of an `AlertDescription` (RFC 8446 §6, RFC 5246 §7.2).
pub const fn alert_name(code: u8) -> Option<&'static str> {
    Some(match code {
        0 => "close_notify",
        10 => "unexpected_message",
        20 => "bad_record_mac",
        21 => "decryption_failed",
        22 => "record_overflow",
        30 => "decompression_failure",
        40 => "handshake_failure",
        41 => "no_certificate",
        42 => "bad_certificate",
        43 => "unsupported_certificate",
        44 => "certificate_revoked",
        45 => "certificate_expired",
        46 => "certificate_unknown",
        47 => "illegal_parameter",
        48 => "unknown_ca",
        49 => "access_denied",
        50 => "decode_error",
        51 => "decrypt_error",
        60 => "export_restriction",
        70 => "protocol_version",
        71 => "insufficient_security",
        80 => "internal_error",
        86 => "inappropriate_fallback",
        90 => "user_canceled",
        100 => "no_renegotiation",
        109 => "missing_extension",
        110 => "unsupported_extension",
        111 => "certificate_unobtainable",
        112 => "unrecognized_name",
        113 => "bad_certificate_status_response",
        114 => "bad_certificate_hash_value",
        115 => "unknown_psk_identity",
        116 => "certificate_required",
        120 => "no_application_protocol",
        121 => "ech_required",
        _ => return None,
    })
}

/// The alert by which the other side refused us, if that is what the refusal is about; one without a name is `other`.
pub fn alert_received(refusal: &Refusal) -> Option<&'static str> {
    let received = refusal.evidence.get(ALERT_RECEIVED)?;
    let named = (0..=u8::MAX).filter_map(alert_name);
    Some(
        named
            .into_iter()
            .find(|it| *it == received)
            .unwrap_or("other"),
    )
}

pub(super) fn refusal(code: u8) -> Refusal {
    let name = alert_name(code).map_or_else(|| code.to_string(), str::to_owned);
    let (meaning, fix) = match code {
        42 => (
            "the client refused this server's certificate: it finds it malformed or wrongly signed",
            Some(LOOK_AT_OURS),
        ),
        43 => (
            "the client refused this server's certificate: it is of a type or for a purpose that the client does not take",
            Some(LOOK_AT_OURS),
        ),
        44 => (
            "the client refused this server's certificate: it holds it for revoked",
            Some("Issue a new server certificate."),
        ),
        45 => (
            "the client refused this server's certificate: it has expired or is not yet valid by the client's clock",
            Some("Renew the server's certificate, or set the client's clock."),
        ),
        46 => (
            "the client refused this server's certificate without saying why",
            Some(LOOK_AT_OURS),
        ),
        48 => (
            "the client refused this server's certificate: it trusts no CA above it",
            Some(
                "Add this server's CA to the client's trust bundle, or give the server a certificate of a CA that the client trusts.",
            ),
        ),
        51 => (
            "the client finds a signature of this server wrong: of a CA of the same name with another key, or of the handshake",
            Some("Give the client the CA certificate whose key signed this server's certificate."),
        ),
        0 | 90 => ("the client gave up the handshake", None),
        40 | 71 => (
            "the client found nothing acceptable in what the server chose",
            None,
        ),
        70 => (
            "the client does not accept the TLS version that the server chose",
            None,
        ),
        116 => (
            "the client asks for a certificate as if it were the server",
            None,
        ),
        _ => ("the client ended the handshake with an alert", None),
    };
    let evidence = Evidence::new()
        .with("refused_by", "client")
        .with(ALERT_RECEIVED, &name);
    let refusal = Refusal::new(
        Cause::ClientClosedEarly,
        format!("{meaning} (alert {name})"),
        evidence,
    );
    match fix {
        Some(fix) => refusal.with_fix(fix),
        None => refusal,
    }
}

/// In the evidence of a refusal that was not ours.
pub(crate) const ALERT_RECEIVED: &str = "alert_received";
const LOOK_AT_OURS: &str = "Read the client's log: it says what it dislikes in this server's certificate; then check that certificate with `countersign inspect`.";
