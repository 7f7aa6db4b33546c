//! Which finding is the root cause, and what only follows from it.
//!
//! The order is that in which a connection comes about: what is first in the way stands first. A file that cannot be read hides all that
//! is in it; a key that does not belong to its certificate stops a program before it connects; a chain is put together before it is
//! trusted, trusted before its dates are looked at, and so on to the policy, which is asked last.

use crate::cause::Cause;
use crate::finding::{Finding, RuledOut, Severity};

/// One finding per cause and file, faults first, in the order of their stages; what follows from the first says so.
pub(super) fn ranked(mut findings: Vec<Finding>) -> Vec<Finding> {
    findings.sort_by_key(|finding| (finding.severity, stage_of(finding)));
    let mut kept: Vec<Finding> = Vec::with_capacity(findings.len());
    for finding in findings {
        // Two that speak of the same file, or of none, say the same thing twice.
        let is_known = |known: &Finding| {
            let files = (known.evidence.get("file"), finding.evidence.get("file"));
            known.cause == finding.cause
                && !matches!(files, (Some(one), Some(other)) if one != other)
        };
        if !kept.iter().any(is_known) {
            kept.push(finding);
        }
    }
    mark_consequences(&mut kept);
    kept
}

/// Findings of files, of a server and of logs, each ranked, as one list.
///
/// What a server does is seen, and what its files would do is concluded: where both name a fault, what comes about first stands first,
/// and of what both can tell the more exact one. A log was written some time ago, by somebody who often saw an alert and no more.
pub(super) fn united(
    of_files: Vec<Finding>,
    of_target: Vec<Finding>,
    of_logs: Vec<Finding>,
) -> Vec<Finding> {
    let seen_first = of_target
        .iter()
        .find(|finding| finding.severity == Severity::Fault)
        .is_some_and(|first| is_seen_before_files(first.cause));
    let files_first = !seen_first
        && of_files
            .first()
            .is_some_and(|first| first.severity == Severity::Fault)
        && of_target.first().is_none_or(|first| {
            first.severity != Severity::Fault
                || is_vague(first.cause)
                || is_guess_at_lists(first.cause, of_files[0].cause)
                || stage(of_files[0].cause) < PATHS
        });
    let lists = if files_first {
        [of_files, of_target, of_logs]
    } else {
        [of_target, of_files, of_logs]
    };
    let mut kept: Vec<Finding> = Vec::new();
    for finding in lists.into_iter().flatten() {
        if !kept
            .iter()
            .any(|known| known.cause == finding.cause && known.side == finding.side)
        {
            kept.push(finding);
        }
    }
    kept.sort_by_key(|finding| (finding.severity, finding.follows_from.is_some()));
    kept
}

/// Nobody gets as far as a certificate.
fn is_seen_before_files(cause: Cause) -> bool {
    use Cause as C;
    matches!(
        cause,
        C::NameNotResolved
            | C::ConnectionRefused
            | C::NoTlsAnswer
            | C::PeerNotTls
            | C::PlainHttpToTlsPort
            | C::StarttlsRequired
            | C::ProxyHeaderMissing
            | C::TlsVersionMismatch
            | C::NoSharedCipher
            | C::AlpnMismatch
    )
}

/// A keystore that holds no key to show a certificate with is of the files that a program loads; elsewhere a certificate that was not sent
/// is what a server says last.
fn stage_of(finding: &Finding) -> u8 {
    let is_of_a_file = finding.evidence.get("flag").is_some();
    match finding.cause {
        Cause::ClientCertNotSent if is_of_a_file => stage(Cause::KeyCertMismatch),
        cause => stage(cause),
    }
}

/// What a refusal looks like from outside, whatever it was for.
fn is_vague(cause: Cause) -> bool {
    use Cause as C;
    matches!(
        cause,
        C::ClientCertNotSent
            | C::ClientCaNotTrusted
            | C::ServerCaNotTrusted
            | C::ClientClosedEarly
            | C::ResetBeforeServerHello
            | C::MalformedHandshake
            | C::IdentityNotAllowed
            | C::BadSignature
    )
}

/// A server whose lists refuse everybody looks as if it held this certificate for revoked; the lists themselves say which it is.
fn is_guess_at_lists(seen: Cause, of_files: Cause) -> bool {
    use Cause as C;
    seen == C::CertificateRevoked
        && matches!(
            of_files,
            C::CrlBadSignature
                | C::CrlExpired
                | C::CrlMissing
                | C::CrlUnprocessed
                | C::CrlWrongIssuer
        )
}

/// Where in [`stage`] files are loaded and fit together, and paths are not built yet.
const PATHS: u8 = 30;

/// What was found is not ruled out as well, and nothing is ruled out twice.
pub(super) fn remaining(ruled_out: Vec<RuledOut>, findings: &[Finding]) -> Vec<RuledOut> {
    let mut kept: Vec<RuledOut> = Vec::with_capacity(ruled_out.len());
    for one in ruled_out {
        let is_found = findings.iter().any(|finding| finding.cause == one.cause);
        if !is_found && !kept.contains(&one) {
            kept.push(one);
        }
    }
    kept
}

fn mark_consequences(findings: &mut [Finding]) {
    let Some((first, rest)) = findings.split_first_mut() else {
        return;
    };
    if first.severity != Severity::Fault {
        return;
    }
    for finding in rest {
        if follows(first.cause, finding.cause) && finding.severity == Severity::Fault {
            finding.follows_from = Some(first.cause);
        }
    }
}

/// Whether `second` is only what `first` looks like from elsewhere.
fn follows(first: Cause, second: Cause) -> bool {
    use Cause as C;
    match first {
        C::ClockSkewLocal => matches!(
            second,
            C::NotYetValid
                | C::LeafExpired
                | C::IntermediateExpired
                | C::RootExpired
                | C::CrlExpired
        ),
        C::X509V1 => matches!(
            second,
            C::SanMissing
                | C::NameMismatch
                | C::IpSanMissing
                | C::CaExtensionsIncomplete
                | C::IssuerNotACa
        ),
        C::FilesSwapped | C::FileIsCsr => matches!(
            second,
            C::FilesSwapped | C::FileNotPem | C::KeyCertMismatch | C::ClientCertNotSent
        ),
        C::FileMissing | C::FileEncoding | C::PemGlued | C::FileNotPem | C::Pkcs12Legacy => {
            matches!(
                second,
                C::FileNotPem
                    | C::MalformedCertificate
                    | C::TrustBundleEmpty
                    | C::ClientCertNotSent
                    | C::ServerCaNotTrusted
                    | C::ClientCaNotTrusted
            )
        }
        C::ChainWrongOrder => matches!(
            second,
            C::KeyCertMismatch
                | C::CaUsedAsEndEntity
                | C::SanMissing
                | C::NameMismatch
                | C::IpSanMissing
                | C::EkuMissingClientauth
                | C::EkuMissingServerauth
                | C::KeyusageMissingDigitalsignature
        ),
        C::CaUsedAsEndEntity => matches!(
            second,
            C::SanMissing
                | C::KeyusageMissingDigitalsignature
                | C::EkuMissingClientauth
                | C::EkuMissingServerauth
        ),
        C::MalformedCertificate => matches!(second, C::ServerCaNotTrusted | C::ClientCaNotTrusted),
        _ => false,
    }
}

/// Where in the way a cause stands: smaller is earlier.
pub(super) fn stage(cause: Cause) -> u8 {
    use Cause as C;
    match cause {
        // This machine's own time makes every other judgement of time void.
        C::ClockSkewLocal => 0,
        // Whether there is anybody, and whether it is TLS.
        C::NameNotResolved => 1,
        C::ConnectionRefused => 2,
        // What the program cannot even load.
        C::FileMissing => 5,
        C::FilesSwapped => 6,
        C::FileIsCsr => 7,
        C::FileEncoding => 8,
        C::PemGlued => 9,
        C::Pkcs12Legacy => 10,
        C::KeyPasswordWrong => 11,
        C::KeyEncrypted => 12,
        C::FileNotPem => 13,
        C::TrustBundleEmpty => 14,
        C::KeyPermissions => 15,
        C::MalformedCertificate => 16,
        // Whether what was loaded fits together.
        C::ChainWrongOrder => 20,
        C::RotationHalfApplied => 21,
        C::KeyCertMismatch => 22,
        C::CaUsedAsEndEntity => 23,
        // What no verifier takes, however it is trusted.
        C::X509V1 => 25,
        C::BadSerial => 26,
        C::WeakKey => 27,
        C::WeakSignature => 28,
        // Whether a path can be built.
        C::ChainMissingIntermediate => 30,
        C::CaRotatedWithoutOverlap => 31,
        C::SameNameDifferentKeyCa => 32,
        C::AkiMismatch => 33,
        C::TrustAnchorIsIntermediate => 34,
        C::ClientCaNotTrusted | C::ServerCaNotTrusted => 35,
        C::BadSignature => 36,
        C::IssuerNotACa => 37,
        C::IssuerCannotSign => 38,
        C::PathlenExceeded => 39,
        C::VerifyDepthTooSmall => 40,
        C::NameConstraintsUnsupported => 41,
        // Whether it holds now.
        C::CertificateRevoked => 45,
        C::RootExpired => 46,
        C::IntermediateExpired => 47,
        C::LeafExpired => 48,
        C::NotYetValid => 49,
        // What it may be used for.
        C::IssuerEkuExcludesPurpose => 55,
        C::EkuMissingClientauth | C::EkuMissingServerauth => 56,
        C::KeyusageMissingDigitalsignature => 57,
        C::CaExtensionsIncomplete => 58,
        // Whom it names.
        C::NameConstraintsViolated => 60,
        C::SanMissing => 61,
        C::IpSanMissing => 62,
        C::WildcardMismatch => 63,
        C::NameMismatch => 64,
        // Whether revocation lets anybody through.
        C::CrlWrongIssuer => 70,
        C::CrlBadSignature => 71,
        C::CrlExpired => 72,
        C::CrlMissing => 73,
        C::CrlUnprocessed => 74,
        // How much of it there is.
        C::HandshakeTooLarge => 75,
        C::CertificateTooLarge => 76,
        C::ChainTooDeep => 77,
        C::SigalgUnsupported => 78,
        // Who decides in the end.
        C::TlsVersionMismatch => 80,
        C::ClientCertNotRequested => 81,
        C::ClientAuthNotEnforced => 82,
        C::IdentityAmbiguous => 85,
        C::TrustDomainMismatch => 86,
        C::DnFormatMismatch => 87,
        C::IdentityNotAllowed => 88,
        _ => 50,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::finding::Side;

    fn fault(cause: Cause) -> Finding {
        Finding::fault(cause, Side::Client, cause.slug())
    }

    #[track_caller]
    fn check(found: Vec<Finding>, expected: &[(Cause, Option<Cause>)]) {
        let ranked = ranked(found);
        let told: Vec<_> = ranked
            .iter()
            .map(|finding| (finding.cause, finding.follows_from))
            .collect();
        assert_eq!(told, expected);
    }

    #[test]
    fn what_is_first_in_the_way_stands_first() {
        check(
            vec![
                fault(Cause::IdentityNotAllowed),
                fault(Cause::LeafExpired),
                fault(Cause::ClientCaNotTrusted),
                fault(Cause::KeyCertMismatch),
                fault(Cause::FileMissing),
            ],
            &[
                (Cause::FileMissing, None),
                (Cause::KeyCertMismatch, None),
                (Cause::ClientCaNotTrusted, Some(Cause::FileMissing)),
                (Cause::LeafExpired, None),
                (Cause::IdentityNotAllowed, None),
            ],
        );
    }

    #[track_caller]
    fn check_united(of_files: &[Cause], of_target: &[Cause], expected: &[Cause]) {
        let faults = |causes: &[Cause]| causes.iter().copied().map(fault).collect::<Vec<_>>();
        let told = united(
            faults(of_files),
            faults(of_target),
            vec![fault(Cause::WeakKey)],
        );
        let told: Vec<_> = told.iter().map(|finding| finding.cause).collect();
        let expected = [expected, &[Cause::WeakKey]].concat();
        assert_eq!(told, expected);
    }

    #[test]
    fn what_is_seen_and_what_is_concluded_stand_in_the_order_of_the_way() {
        use Cause as C;
        // Nobody is there: whatever the files say was never reached.
        check_united(
            &[C::LeafExpired],
            &[C::ConnectionRefused],
            &[C::ConnectionRefused, C::LeafExpired],
        );
        // What keeps the client from loading its files.
        check_united(
            &[C::KeyCertMismatch],
            &[C::ServerNotReloaded],
            &[C::KeyCertMismatch, C::ServerNotReloaded],
        );
        // A refusal that says nothing, and files that do.
        check_united(
            &[C::EkuMissingClientauth],
            &[C::ClientCaNotTrusted],
            &[C::EkuMissingClientauth, C::ClientCaNotTrusted],
        );
        check_united(
            &[C::CrlExpired],
            &[C::CertificateRevoked],
            &[C::CrlExpired, C::CertificateRevoked],
        );
        // What was seen is more exact.
        check_united(
            &[C::LeafExpired],
            &[C::ServerNotReloaded],
            &[C::ServerNotReloaded, C::LeafExpired],
        );
        check_united(
            &[C::NameMismatch],
            &[C::SniSelectsWrongVhost],
            &[C::SniSelectsWrongVhost, C::NameMismatch],
        );
        // Both say the same.
        check_united(&[C::LeafExpired], &[C::LeafExpired], &[C::LeafExpired]);
        check_united(&[], &[C::PeerNotTls], &[C::PeerNotTls]);
        check_united(&[C::PemGlued], &[], &[C::PemGlued]);
    }

    #[test]
    fn a_risk_never_stands_before_a_fault() {
        check(
            vec![
                fault(Cause::KeyPermissions).risk(),
                fault(Cause::CaExtensionsIncomplete).note(),
                fault(Cause::NameMismatch),
            ],
            &[
                (Cause::NameMismatch, None),
                (Cause::KeyPermissions, None),
                (Cause::CaExtensionsIncomplete, None),
            ],
        );
    }

    #[test]
    fn one_cause_is_told_once_a_file() {
        let of = |file: &str| fault(Cause::LeafExpired).with("file", file);
        check(
            vec![of("a"), of("b"), of("a")],
            &[(Cause::LeafExpired, None), (Cause::LeafExpired, None)],
        );
    }

    #[test]
    fn a_wrong_clock_explains_every_date() {
        check(
            vec![fault(Cause::NotYetValid), fault(Cause::ClockSkewLocal)],
            &[
                (Cause::ClockSkewLocal, None),
                (Cause::NotYetValid, Some(Cause::ClockSkewLocal)),
            ],
        );
    }

    #[test]
    fn what_was_found_is_not_ruled_out() {
        let ruled_out = vec![
            RuledOut::new(Cause::LeafExpired, "it ends in 40 d"),
            RuledOut::new(Cause::NameMismatch, "it holds api.example"),
            RuledOut::new(Cause::NameMismatch, "it holds api.example"),
        ];
        let left = remaining(ruled_out, &[fault(Cause::LeafExpired)]);
        let left: Vec<_> = left.iter().map(|it| it.cause).collect();
        assert_eq!(left, [Cause::NameMismatch]);
    }
}
