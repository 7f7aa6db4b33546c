//! Lint on the final to-be-signed bytes: what strict verifiers of today would refuse (RFC 5280, OpenSSL `-x509_strict`,
//! Python `VERIFY_X509_STRICT`, Go).

use std::collections::{BTreeMap, BTreeSet};
use std::slice;
use std::time::Duration;

use crate::asn1::hex;
use crate::certificate::{Certificate, ExtendedKeyUsage, KeyAlgorithm};
use crate::chain::constraint_above;
use crate::confusable::skeleton;
use crate::name::TypedName;
use crate::time::spoken;

/// One fault; any of them stops issuance before the key is used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LintFault {
    /// Stable name, such as `san-not-critical`.
    pub lint: &'static str,
    /// A sentence with the values and the source.
    pub sentence: String,
}

/// Every fault of `subject` (a preview of the bytes to be signed) under `issuer` (`None`: self-signed).
pub fn check(subject: &Certificate, issuer: Option<&Certificate>) -> Vec<LintFault> {
    check_under(subject, issuer.map_or(&[], slice::from_ref))
}

/// The same under the whole chain that stands above it, nearest first: each of them binds what may stand below.
pub fn check_under(subject: &Certificate, above: &[Certificate]) -> Vec<LintFault> {
    let case = Case {
        subject,
        issuer: above.first(),
        above,
    };
    LINTS
        .iter()
        .filter_map(|(lint, judge)| judge(&case).map(|sentence| LintFault { lint, sentence }))
        .collect()
}

/// The names of all lints.
pub fn names() -> impl Iterator<Item = &'static str> {
    LINTS.iter().map(|(lint, _)| *lint)
}

struct Case<'a> {
    subject: &'a Certificate,
    issuer: Option<&'a Certificate>,
    /// The issuer, and what stands above it.
    above: &'a [Certificate],
}

impl<'a> Case<'a> {
    /// Who signs: the issuer, or the subject itself.
    fn signer(&self) -> &'a Certificate {
        self.issuer.unwrap_or(self.subject)
    }

    fn purposes(&self) -> Option<&'a ExtendedKeyUsage> {
        self.subject.extended_key_usage()
    }

    /// The subject, if the issuer lets it answer for the issuer's certificates.
    fn ocsp_responder(&self) -> Option<&'a Certificate> {
        self.purposes()?.ocsp_signing.then_some(self.subject)
    }
}

type Lint = (&'static str, fn(&Case<'_>) -> Option<String>);

/// The lint that refuses critical extensions which verifiers do not know.
pub const UNKNOWN_CRITICAL_EXTENSION: &str = "unknown-critical-extension";

const LINTS: [Lint; 40] = [
    ("any-purpose", any_purpose),
    ("authority-key-id-mismatch", authority_key_id_mismatch),
    ("authority-key-id-missing", authority_key_id_missing),
    (
        "basic-constraints-not-critical",
        basic_constraints_not_critical,
    ),
    ("begins-before-issuer", begins_before_issuer),
    ("ca-subject-empty", ca_subject_empty),
    ("ca-without-cert-sign", ca_without_cert_sign),
    ("cert-sign-without-ca", cert_sign_without_ca),
    ("confusable-names", confusable_names),
    ("duplicate-alt-name", duplicate_alt_name),
    ("extended-key-usage-missing", extended_key_usage_missing),
    ("issuer-cannot-sign", issuer_cannot_sign),
    ("issuer-name-mismatch", issuer_name_mismatch),
    ("issuer-not-a-ca", issuer_not_a_ca),
    ("key-usage-missing", key_usage_missing),
    ("key-usage-not-critical", key_usage_not_critical),
    ("key-usage-outside-key", key_usage_outside_key),
    (
        "leaf-without-digital-signature",
        leaf_without_digital_signature,
    ),
    ("name-constraints", name_constraints),
    ("nameless", nameless),
    (
        "ocsp-no-check-without-ocsp-signing",
        ocsp_no_check_without_ocsp_signing,
    ),
    ("ocsp-responder-key-usage", ocsp_responder_key_usage),
    ("ocsp-responder-long-lived", ocsp_responder_long_lived),
    (
        "ocsp-responder-without-no-check",
        ocsp_responder_without_no_check,
    ),
    ("ocsp-signing-not-alone", ocsp_signing_not_alone),
    ("outlives-issuer", outlives_issuer),
    ("path-length-exceeded", path_length_exceeded),
    ("path-length-without-ca", path_length_without_ca),
    ("purpose-outside-issuer", purpose_outside_issuer),
    ("san-criticality", san_criticality),
    ("serial-length", serial_length),
    ("server-without-host-name", server_without_host_name),
    ("spiffe-id-not-alone", spiffe_id_not_alone),
    ("subject-attribute-length", subject_attribute_length),
    ("subject-key-id-missing", subject_key_id_missing),
    (UNKNOWN_CRITICAL_EXTENSION, unknown_critical_extension),
    ("untyped-alt-name", untyped_alt_name),
    ("validity-empty", validity_empty),
    ("version-not-3", version_not_3),
    ("weak-algorithm", weak_algorithm),
];

fn any_purpose(case: &Case<'_>) -> Option<String> {
    case.purposes()?.any.then(|| "extendedKeyUsage lists anyExtendedKeyUsage, which allows every purpose (RFC 5280 §4.2.1.12)".to_owned())
}

fn authority_key_id_mismatch(case: &Case<'_>) -> Option<String> {
    let (said, held) = (
        case.subject.authority_key_id()?,
        case.signer().subject_key_id()?,
    );
    (said != held).then(|| format!("authorityKeyIdentifier is {}, the issuer's subjectKeyIdentifier is {} (RFC 5280 §4.2.1.1)", hex(said), hex(held)))
}

fn authority_key_id_missing(case: &Case<'_>) -> Option<String> {
    let missing = case.issuer.is_some() && case.subject.authority_key_id().is_none();
    missing.then(|| "authorityKeyIdentifier has no keyIdentifier (RFC 5280 §4.2.1.1)".to_owned())
}

fn basic_constraints_not_critical(case: &Case<'_>) -> Option<String> {
    let lax =
        case.subject.basic_constraints_present() && !case.subject.basic_constraints_critical();
    lax.then(|| "basicConstraints is not critical (RFC 5280 §4.2.1.9)".to_owned())
}

fn begins_before_issuer(case: &Case<'_>) -> Option<String> {
    let (begin, issuer) = (case.subject.not_before(), case.issuer?.not_before());
    (begin < issuer)
        .then(|| format!("it begins before its issuer (not_before {begin}, the issuer's {issuer})"))
}

fn ca_subject_empty(case: &Case<'_>) -> Option<String> {
    let empty = case.subject.is_ca() && case.subject.subject().is_empty();
    empty.then(|| "a CA certificate has an empty subject (RFC 5280 §4.1.2.6)".to_owned())
}

fn ca_without_cert_sign(case: &Case<'_>) -> Option<String> {
    let signs = case
        .subject
        .key_usage()
        .is_none_or(|usage| usage.key_cert_sign);
    (case.subject.is_ca() && !signs)
        .then(|| "a CA certificate's keyUsage lacks keyCertSign (RFC 5280 §4.2.1.3)".to_owned())
}

fn cert_sign_without_ca(case: &Case<'_>) -> Option<String> {
    let usage = case.subject.key_usage()?;
    let signs = !case.subject.is_ca() && (usage.key_cert_sign || usage.crl_sign);
    signs.then(|| {
        format!(
            "keyUsage lists {} without CA:TRUE (RFC 5280 §4.2.1.9)",
            usage.listed().join(", ")
        )
    })
}

/// Two names of one certificate that people take for each other: one of them is there by mistake, or to deceive.
fn confusable_names(case: &Case<'_>) -> Option<String> {
    let common_name = case.subject.subject().common_name();
    let mut names: Vec<String> = case
        .subject
        .subject_alt_names()
        .iter()
        .filter(|name| !matches!(name, TypedName::Ip(_)))
        .map(TypedName::bare)
        .chain(common_name.map(str::to_owned))
        .collect();
    names.sort();
    names.dedup();
    let mut seen = BTreeMap::new();
    names.into_iter().find_map(|name| {
        let other = seen.insert(skeleton(&name), name.clone())?;
        // A host's CN is written as it was asked for, its SAN in lower case.
        (!other.eq_ignore_ascii_case(&name))
            .then(|| format!("{other:?} and {name:?} are taken for each other (Unicode TR 39 §4)"))
    })
}

fn duplicate_alt_name(case: &Case<'_>) -> Option<String> {
    let mut seen = BTreeSet::new();
    let twice = case
        .subject
        .subject_alt_names()
        .iter()
        .find(|name| !seen.insert(*name))?;
    Some(format!("subjectAltName lists {twice} twice"))
}

fn extended_key_usage_missing(case: &Case<'_>) -> Option<String> {
    let missing = !case.subject.is_ca() && case.purposes().is_none();
    missing.then(|| {
        "a leaf has no extendedKeyUsage, which allows every purpose (RFC 5280 §4.2.1.12)".to_owned()
    })
}

fn issuer_cannot_sign(case: &Case<'_>) -> Option<String> {
    let issuer = case.issuer?;
    let usage = issuer.key_usage()?;
    (!usage.key_cert_sign).then(|| {
        format!(
            "the issuer {} lacks keyCertSign (RFC 5280 §4.2.1.3)",
            issuer.subject()
        )
    })
}

fn issuer_name_mismatch(case: &Case<'_>) -> Option<String> {
    let signer = case.signer();
    // RFC 5280 §7.1 compares names cleverly; OpenSSL, Go and webpki compare these bytes.
    let other = case.subject.issuer_der() != signer.subject_der();
    other.then(|| {
        format!(
            "the issuer field is {}, the issuer's subject {} (RFC 5280 §4.1.2.4)",
            case.subject.issuer(),
            signer.subject()
        )
    })
}

fn issuer_not_a_ca(case: &Case<'_>) -> Option<String> {
    (!case.signer().is_ca()).then(|| {
        format!(
            "the issuer {} is not a CA (RFC 5280 §4.2.1.9)",
            case.signer().subject()
        )
    })
}

fn key_usage_missing(case: &Case<'_>) -> Option<String> {
    case.subject
        .key_usage()
        .is_none()
        .then(|| "keyUsage is missing (RFC 5280 §4.2.1.3)".to_owned())
}

fn key_usage_not_critical(case: &Case<'_>) -> Option<String> {
    let lax = case.subject.key_usage().is_some() && !case.subject.key_usage_critical();
    lax.then(|| "keyUsage is not critical (RFC 5280 §4.2.1.3)".to_owned())
}

/// RFC 3279 §2.3.1, RFC 5480 §3, RFC 8410 §5, RFC 9881 §5.
fn key_usage_outside_key(case: &Case<'_>) -> Option<String> {
    let usage = case.subject.key_usage()?;
    let key = case.subject.public_key_algorithm();
    let is_rsa = matches!(key, KeyAlgorithm::Rsa { .. });
    let is_curve = matches!(key, KeyAlgorithm::Ec { .. });
    let outside = [
        ("keyEncipherment", usage.key_encipherment && !is_rsa),
        ("keyAgreement", usage.key_agreement && !is_curve),
    ];
    let (name, _) = outside.into_iter().find(|(_, is_outside)| *is_outside)?;
    Some(format!(
        "keyUsage lists {name}, which a key of {key} cannot do (RFC 5480 §3, RFC 8410 §5)"
    ))
}

fn leaf_without_digital_signature(case: &Case<'_>) -> Option<String> {
    let usage = case.subject.key_usage()?;
    let mute = !case.subject.is_ca() && !usage.digital_signature;
    mute.then(|| {
        "a leaf's keyUsage lacks digitalSignature, which TLS 1.3 needs (RFC 8446 §4.4.2.2)"
            .to_owned()
    })
}

fn name_constraints(case: &Case<'_>) -> Option<String> {
    case.above.iter().find_map(|issuer| {
        let why = constraint_above(issuer, case.subject)?;
        Some(format!(
            "{why} of {} (RFC 5280 §4.2.1.10)",
            issuer.subject()
        ))
    })
}

fn nameless(case: &Case<'_>) -> Option<String> {
    let subject = case.subject;
    let nameless = subject.subject().is_empty() && subject.subject_alt_names().is_empty();
    nameless.then(|| "it has neither a subject nor a subjectAltName (RFC 5280 §4.1.2.6)".to_owned())
}

fn ocsp_no_check_without_ocsp_signing(case: &Case<'_>) -> Option<String> {
    let unchecked = case.subject.has_ocsp_no_check() && case.ocsp_responder().is_none();
    unchecked.then(|| {
        "ocspNoCheck, which forbids to ask for its revocation, stands without OCSPSigning (RFC 6960 §4.2.2.2.1)"
            .to_owned()
    })
}

fn ocsp_responder_key_usage(case: &Case<'_>) -> Option<String> {
    let usage = case.ocsp_responder()?.key_usage()?;
    let listed = usage.listed();
    (listed.len() > 1).then(|| {
        format!(
            "an OCSP responder's keyUsage lists {}, it needs digitalSignature only",
            listed.join(", ")
        )
    })
}

fn ocsp_responder_long_lived(case: &Case<'_>) -> Option<String> {
    let responder = case.ocsp_responder()?;
    let (begin, end) = (responder.not_before(), responder.not_after());
    (end.since(begin) > MAX_RESPONDER_LIFE).then(|| {
        format!("an OCSP responder, which nobody can revoke, lives longer than {} (not_before {begin}, not_after {end}, RFC 6960 §4.2.2.2.1)", spoken(MAX_RESPONDER_LIFE))
    })
}

fn ocsp_responder_without_no_check(case: &Case<'_>) -> Option<String> {
    (!case.ocsp_responder()?.has_ocsp_no_check()).then(|| {
        "OCSPSigning stands without ocspNoCheck: clients would ask the responder about itself (RFC 6960 §4.2.2.2.1)"
            .to_owned()
    })
}

fn ocsp_signing_not_alone(case: &Case<'_>) -> Option<String> {
    case.ocsp_responder()?;
    let listed = case.purposes()?.listed();
    (listed.len() > 1).then(|| {
        format!(
            "extendedKeyUsage lists {}: OCSPSigning speaks for the issuer and must stand alone (CABF BR §7.1.2.8)",
            listed.join(", ")
        )
    })
}

fn outlives_issuer(case: &Case<'_>) -> Option<String> {
    let (end, issuer) = (case.subject.not_after(), case.issuer?.not_after());
    (end > issuer)
        .then(|| format!("it outlives its issuer (not_after {end}, the issuer's {issuer})"))
}

fn path_length_exceeded(case: &Case<'_>) -> Option<String> {
    let own = usize::from(case.subject.is_ca());
    case.above.iter().enumerate().find_map(|(between, issuer)| {
        let length = issuer.path_len()?;
        let below = between + own;
        let exceeded = below > usize::from(length);
        exceeded.then(|| {
            let allowed = match length {
                0 => "no CA".to_owned(),
                1 => "one CA".to_owned(),
                more => format!("{more} CAs"),
            };
            let role = if between == 0 { "the issuer" } else { "the CA above the issuer," };
            format!(
                "{role} {} may have {allowed} below it (pathLenConstraint {length}, RFC 5280 §4.2.1.9)",
                issuer.subject()
            )
        })
    })
}

fn path_length_without_ca(case: &Case<'_>) -> Option<String> {
    let length = case.subject.path_len()?;
    (!case.subject.is_ca())
        .then(|| format!("pathLenConstraint {length} stands without CA:TRUE (RFC 5280 §4.2.1.9)"))
}

fn purpose_outside_issuer(case: &Case<'_>) -> Option<String> {
    let asked = case.purposes()?;
    // OpenSSL, Go and webpki hold a leaf to the purposes of every CA above it.
    let mut limits = case
        .above
        .iter()
        .filter_map(|issuer| Some((issuer, issuer.extended_key_usage()?)));
    limits.find_map(|(issuer, allowed)| {
        let outside = (asked.server_auth && !allowed.server_auth)
            || (asked.client_auth && !allowed.client_auth)
            || asked.other.iter().any(|it| !allowed.other.contains(it));
        (outside && !allowed.any).then(|| {
            let whose = if case
                .issuer
                .is_some_and(|direct| direct.der() == issuer.der())
            {
                "the issuer's".to_owned()
            } else {
                format!("that of {}", issuer.subject())
            };
            format!(
                "extendedKeyUsage lists {}, {whose} only {}",
                asked.listed().join(", "),
                allowed.listed().join(", ")
            )
        })
    })
}

fn san_criticality(case: &Case<'_>) -> Option<String> {
    let subject = case.subject;
    if subject.subject_alt_names().is_empty() {
        return None;
    }
    match (subject.subject().is_empty(), subject.san_critical()) {
        (true, false) => Some(
            "the subject is empty, but subjectAltName is not critical (RFC 5280 §4.2.1.6)"
                .to_owned(),
        ),
        (false, true) => {
            Some("subjectAltName is critical beside a subject (RFC 5280 §4.2.1.6)".to_owned())
        }
        _ => None,
    }
}

fn serial_length(case: &Case<'_>) -> Option<String> {
    let serial = case.subject.serial();
    let octets = serial.to_der_integer().len();
    // CA/Browser Forum BR §7.1 asks for 64 random bits.
    (serial.magnitude().len() < 8 || octets > 20).then(|| {
        format!("serial number {serial} has {octets} octets, 8 to 20 are good (RFC 5280 §4.1.2.2)")
    })
}

fn server_without_host_name(case: &Case<'_>) -> Option<String> {
    let serves = case.purposes()?.server_auth && !case.subject.is_ca();
    // A workload's peers know it by its SPIFFE ID (X509-SVID §5).
    let reachable = case.subject.subject_alt_names().iter().any(|name| {
        matches!(
            name,
            TypedName::Dns(_) | TypedName::Ip(_) | TypedName::Spiffe(_)
        )
    });
    (serves && !reachable).then(|| {
        "a server's subjectAltName has no DNS name, IP address or SPIFFE ID (RFC 9525 §3)"
            .to_owned()
    })
}

fn spiffe_id_not_alone(case: &Case<'_>) -> Option<String> {
    let uris = || {
        case.subject
            .subject_alt_names()
            .iter()
            .filter(|name| matches!(name, TypedName::Spiffe(_) | TypedName::Uri(_)))
    };
    let spiffe = uris().find(|name| matches!(name, TypedName::Spiffe(_)))?;
    let count = uris().count();
    (count > 1).then(|| format!("{spiffe} is one of {count} URIs in subjectAltName, only one may stand there (X509-SVID §2)"))
}

fn subject_attribute_length(case: &Case<'_>) -> Option<String> {
    case.subject.subject().attributes().iter().find_map(|attribute| {
        let kind = attribute.kind();
        let length = attribute.value().chars().count();
        // RFC 5280 appendix A.1, the upper bounds.
        let bounds = match kind.as_str() {
            "C" => 2..=2,
            "CN" | "O" | "OU" | "T" | "serialNumber" => 1..=64,
            "L" | "ST" | "STREET" => 1..=128,
            "emailAddress" => 1..=255,
            _ => 1..=32_768,
        };
        let (low, high) = (bounds.start(), bounds.end());
        (!bounds.contains(&length)).then(|| format!("{kind} of the subject has {length} characters, not {low} to {high} (RFC 5280 appendix A.1)"))
    })
}

fn subject_key_id_missing(case: &Case<'_>) -> Option<String> {
    case.subject
        .subject_key_id()
        .is_none()
        .then(|| "subjectKeyIdentifier is missing (RFC 5280 §4.2.1.2)".to_owned())
}

fn unknown_critical_extension(case: &Case<'_>) -> Option<String> {
    let unknown = case.subject.unknown_critical_extensions();
    (!unknown.is_empty()).then(|| {
        format!(
            "critical extension {} is not known to verifiers (RFC 5280 §4.2)",
            unknown.join(", ")
        )
    })
}

fn untyped_alt_name(case: &Case<'_>) -> Option<String> {
    let count = case.subject.other_alt_names();
    (count > 0).then(|| {
        format!(
            "{count} names in subjectAltName are no DNS name, IP address, e-mail address or URI"
        )
    })
}

fn validity_empty(case: &Case<'_>) -> Option<String> {
    let (begin, end) = (case.subject.not_before(), case.subject.not_after());
    (begin >= end).then(|| format!("it is never valid (not_before {begin}, not_after {end})"))
}

fn version_not_3(case: &Case<'_>) -> Option<String> {
    let version = case.subject.version();
    (version != 3)
        .then(|| format!("it is version {version}, which has no extensions (RFC 5280 §4.1.2.1)"))
}

fn weak_algorithm(case: &Case<'_>) -> Option<String> {
    let subject = case.subject;
    let weak = subject.weak_key().map(|key| format!("its key is {key}"));
    let weak = weak.or_else(|| {
        subject
            .weak_signature()
            .map(|algorithm| format!("it is signed by {algorithm}"))
    });
    let weak = weak.or_else(|| {
        case.issuer?
            .weak_key()
            .map(|key| format!("the issuer's key is {key}"))
    })?;
    Some(format!("{weak}, which is too weak (NIST SP 800-131A)"))
}

/// Whoever holds its key can hide every revocation until its end, so it is renewed by the day or week.
const MAX_RESPONDER_LIFE: Duration = Duration::from_hours(31 * 24);
