//! Whose turn it is, by what was found and by who presented the certificate.

use countersign_pki::chain::Purpose;

use crate::cause::Cause;
use crate::finding::{Finding, Side};
use crate::refusal::Refusal;

/// Who has to act on `cause`, where the peer in the role of `presenter` showed its certificate, or sent a request.
pub fn side(cause: Cause, presenter: Purpose) -> Side {
    let (own, other) = match presenter {
        Purpose::ClientAuth => (Side::Client, Side::Server),
        Purpose::ServerAuth => (Side::Server, Side::Client),
    };
    match cause {
        // Whoever says so.
        Cause::ClientCertNotSent | Cause::EkuMissingClientauth => Side::Client,
        Cause::EkuMissingServerauth => Side::Server,
        Cause::IssuerNotACa
        | Cause::IssuerCannotSign
        | Cause::IssuerEkuExcludesPurpose
        | Cause::PathlenExceeded
        | Cause::NameConstraintsViolated
        | Cause::NameConstraintsUnsupported
        | Cause::AkiMismatch
        | Cause::CaExtensionsIncomplete
        | Cause::MalformedCertificate
        | Cause::BadSerial
        | Cause::WeakSignature
        | Cause::CrlExpired
        | Cause::CrlBadSignature
        | Cause::CrlUnprocessed
        | Cause::OcspAnswerInvalid
        | Cause::OcspStale
        | Cause::OcspUnknown
        | Cause::OcspUnreachable => Side::Ca,
        Cause::ClientCaNotTrusted
        | Cause::ServerCaNotTrusted
        | Cause::SameNameDifferentKeyCa
        | Cause::CaRotatedWithoutOverlap
        | Cause::TrustAnchorIsIntermediate
        | Cause::TrustBundleEmpty
        | Cause::RootExpired
        | Cause::VerifyDepthTooSmall
        | Cause::CrlMissing
        | Cause::CrlWrongIssuer
        | Cause::PinMismatch
        | Cause::ProxyHeaderUntrusted
        | Cause::TokenKeysUnavailable
        | Cause::TooManyPending
        | Cause::TrustDataStale => other,
        Cause::IdentityNotAllowed
        | Cause::RequestNotAllowed
        | Cause::TrustDomainMismatch
        | Cause::DnFormatMismatch
        | Cause::BreakGlassShut => Side::Policy,
        Cause::HandshakeTimeout | Cause::ConnectionRefused | Cause::ProxyHeaderMissing => {
            Side::Network
        }
        _ => own,
    }
}

/// A refusal in the words and the shape of the doctor's findings.
pub fn finding(refusal: &Refusal, presenter: Purpose) -> Finding {
    let side = side(refusal.cause, presenter);
    let finding = Finding::retold(refusal.cause, side, refusal.sentence())
        .with_evidence(refusal.evidence.clone());
    // It did what it was meant to do.
    let finding = if refusal.cause == Cause::ConnectionTooOld {
        finding.note()
    } else {
        finding
    };
    // What was said of this very case stands behind the rule.
    if refusal.fix() == refusal.cause.fix() {
        finding
    } else {
        finding.with_fix(refusal.fix())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evidence::Evidence;

    #[test]
    fn a_refusal_is_retold_without_a_second_escape() {
        let evidence = Evidence::new().with("expected", "a\nb");
        let refusal = Refusal::new(Cause::NameMismatch, "no \u{1b} here", evidence);
        let finding = finding(&refusal, Purpose::ServerAuth);
        assert_eq!(finding.message(), refusal.sentence());
        assert_eq!(finding.side, Side::Server);
        assert_eq!(finding.evidence, refusal.evidence);
        assert_eq!(finding.fix(), [Cause::NameMismatch.fix()]);
        let own = refusal.with_fix("renew \u{7f}a.pem");
        let told = super::finding(&own, Purpose::ClientAuth);
        assert_eq!(told.fix(), [Cause::NameMismatch.fix(), own.fix()]);
    }

    #[test]
    fn whoever_can_mend_it_is_named() {
        let of = |cause| side(cause, Purpose::ClientAuth);
        assert_eq!(of(Cause::LeafExpired), Side::Client);
        assert_eq!(of(Cause::ClientCaNotTrusted), Side::Server);
        assert_eq!(of(Cause::PathlenExceeded), Side::Ca);
        assert_eq!(of(Cause::IdentityNotAllowed), Side::Policy);
        assert_eq!(side(Cause::PinMismatch, Purpose::ServerAuth), Side::Client);
    }
}
