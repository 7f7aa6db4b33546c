//! The profiles of programs, as rows: what may be odd about a chain, who refuses it, and who takes it.
//!
//! A program stands in a row only where its documentation or source says so, or where a run of it has shown it (OpenSSL 3.0, Python 3.11
//! with the flags that 3.13 sets, `GnuTLS` 3.7, Java 17, each as a client of `openssl s_server`). Defaults count; what a distribution
//! tightens is said with its name.

use std::time::Duration;

use countersign_pki::certificate::{Certificate, KeyAlgorithm};
use countersign_pki::chain::Purpose;
use countersign_pki::compatibility;
use countersign_pki::name::TypedName;
use countersign_pki::time::spoken;

use super::{Chain, Refuser, Row, serial_flaw};
use crate::cause::Cause;

pub(super) const BROWSERS: &str = "browsers";
pub(super) const APPLE: &str = "macOS and iOS";
pub(super) const FIREFOX: &str = "Firefox";
const OPENSSL: &str = "OpenSSL";
const GNUTLS: &str = "GnuTLS";
const JAVA: &str = "Java 17";
const GO: &str = "Go";
const PYTHON: &str = "Python";
const RUSTLS: &str = "rustls";

const OPENSSL_VERIFIES: &str = "https://docs.openssl.org/3.0/man1/openssl-verification-options/";
const GNUTLS_VERIFIES: &str =
    "https://www.gnutls.org/manual/html_node/Advanced-certificate-verification.html";
/// `create_default_context`: OpenSSL's verification, from 3.13 on with `VERIFY_X509_STRICT`.
const PYTHON_VERIFIES: &str =
    "https://docs.python.org/3/library/ssl.html#ssl.create_default_context";
const WEBPKI_ALGORITHMS: &str = "https://docs.rs/rustls-webpki/latest/webpki/aws_lc_rs/index.html";
const WEBPKI_ERRORS: &str = "https://docs.rs/rustls-webpki/latest/webpki/enum.Error.html";

const fn refuses(client: &'static str, source: &'static str) -> Refuser {
    Refuser { client, source }
}

pub(super) const ROWS: &[Row] = &[
    Row {
        cause: Some(Cause::BadSerial),
        judge: negative_serial,
        refused_by: &[refuses(
            "Go from 1.23 on",
            "https://pkg.go.dev/crypto/x509#ParseCertificate",
        )],
        accepted_by: &[OPENSSL, PYTHON, GNUTLS, JAVA, RUSTLS],
    },
    Row {
        cause: Some(Cause::WeakSignature),
        judge: sha1,
        refused_by: &[
            refuses(
                "OpenSSL from 3.0 on",
                "https://docs.openssl.org/3.0/man7/migration_guide/",
            ),
            refuses(GNUTLS, GNUTLS_VERIFIES),
            refuses("Go from 1.18 on", "https://go.dev/doc/go1.18#sha1"),
            refuses(RUSTLS, WEBPKI_ALGORITHMS),
            refuses(
                BROWSERS,
                "https://blog.chromium.org/2016/11/sha-1-certificates-in-chrome.html",
            ),
        ],
        accepted_by: &[JAVA],
    },
    Row {
        cause: Some(Cause::SanMissing),
        judge: name_in_common_name,
        refused_by: &[
            refuses("Go from 1.15 on", "https://go.dev/doc/go1.15#commonname"),
            refuses(RUSTLS, WEBPKI_ERRORS),
            refuses(
                BROWSERS,
                "https://developer.chrome.com/blog/chrome-58-deprecations",
            ),
        ],
        accepted_by: &[OPENSSL, PYTHON, GNUTLS, JAVA],
    },
    Row {
        cause: Some(Cause::WeakKey),
        judge: short_rsa,
        refused_by: &[
            refuses(
                "OpenSSL of Debian and Ubuntu (security level 2)",
                "https://docs.openssl.org/3.0/man3/SSL_CTX_set_security_level/",
            ),
            refuses(RUSTLS, WEBPKI_ALGORITHMS),
        ],
        accepted_by: &[GNUTLS, JAVA],
    },
    Row {
        cause: Some(Cause::SigalgUnsupported),
        judge: long_rsa,
        refused_by: &[
            refuses("Go from 1.20.7 on", "https://go.dev/issue/61460"),
            refuses(RUSTLS, WEBPKI_ALGORITHMS),
        ],
        accepted_by: &[OPENSSL, PYTHON, GNUTLS, JAVA],
    },
    Row {
        cause: Some(Cause::CaExtensionsIncomplete),
        judge: less_than_strict_verifiers_want,
        refused_by: &[refuses("Python from 3.13 on", PYTHON_VERIFIES)],
        accepted_by: &[OPENSSL, GNUTLS, JAVA, GO, RUSTLS],
    },
    Row {
        cause: Some(Cause::IssuerEkuExcludesPurpose),
        judge: intermediate_for_something_else,
        refused_by: &[
            refuses(OPENSSL, OPENSSL_VERIFIES),
            refuses(PYTHON, PYTHON_VERIFIES),
            refuses(GNUTLS, GNUTLS_VERIFIES),
            refuses(GO, "https://pkg.go.dev/crypto/x509#VerifyOptions"),
            refuses(RUSTLS, WEBPKI_ERRORS),
        ],
        accepted_by: &[JAVA],
    },
    Row {
        cause: Some(Cause::IssuerEkuExcludesPurpose),
        judge: root_for_something_else,
        refused_by: &[
            refuses(OPENSSL, OPENSSL_VERIFIES),
            refuses(PYTHON, PYTHON_VERIFIES),
        ],
        accepted_by: &[GNUTLS, JAVA],
    },
    Row {
        cause: Some(Cause::SigalgUnsupported),
        judge: ed25519,
        refused_by: &[refuses(
            BROWSERS,
            "https://www.rfc-editor.org/rfc/rfc8446#section-4.2.3",
        )],
        accepted_by: &[OPENSSL, PYTHON, GNUTLS, JAVA, GO, RUSTLS],
    },
    Row {
        cause: Some(Cause::SigalgUnsupported),
        judge: rsa_pss_key,
        refused_by: &[refuses(RUSTLS, WEBPKI_ALGORITHMS)],
        accepted_by: &[OPENSSL, PYTHON, GNUTLS, JAVA],
    },
    Row {
        cause: Some(Cause::X509V1),
        judge: version_1,
        refused_by: &[refuses(RUSTLS, WEBPKI_ERRORS)],
        accepted_by: &[OPENSSL, GNUTLS, JAVA],
    },
    Row {
        cause: Some(Cause::OcspStapleMissing),
        judge: no_staple,
        refused_by: &[
            refuses(GNUTLS, GNUTLS_VERIFIES),
            refuses(FIREFOX, "https://www.rfc-editor.org/rfc/rfc7633"),
        ],
        accepted_by: &[OPENSSL, PYTHON, JAVA, GO, RUSTLS],
    },
    Row {
        cause: None,
        judge: lives_long,
        refused_by: &[refuses(APPLE, "https://support.apple.com/103769")],
        accepted_by: &[OPENSSL, PYTHON, GNUTLS, JAVA, GO, RUSTLS],
    },
];

fn of(certificate: &Certificate) -> String {
    format!("the certificate of {}", certificate.subject())
}

fn is_self_issued(certificate: &Certificate) -> bool {
    certificate.subject_der() == certificate.issuer_der()
}

fn negative_serial(chain: &Chain) -> Option<String> {
    let is_negative = |it: &&Certificate| {
        let flaw = serial_flaw(it);
        flaw.is_some_and(|why| why.contains("negative"))
    };
    let found = chain.sent().find(is_negative)?;
    Some(format!("{} has a negative serial number", of(found)))
}

/// What a root has signed itself with matters to nobody.
fn sha1(chain: &Chain) -> Option<String> {
    let mut issued = chain.sent().filter(|it| !is_self_issued(it));
    issued.find_map(|certificate| {
        let scheme = certificate.weak_signature()?;
        Some(format!("{} is signed with {scheme}", of(certificate)))
    })
}

fn name_in_common_name(chain: &Chain) -> Option<String> {
    let leaf = chain.leaf()?;
    let is_called = leaf.subject().common_name().is_some();
    let is_alone = chain.purpose() == Purpose::ServerAuth && is_called && !leaf.has_alt_names();
    is_alone.then(|| format!("{} names its host in the common name alone", of(leaf)))
}

fn rsa(chain: &Chain, is_odd: impl Fn(usize) -> bool) -> Option<String> {
    chain.path.iter().find_map(|certificate| {
        let KeyAlgorithm::Rsa { bits } = *certificate.public_key_algorithm() else {
            return None;
        };
        is_odd(bits).then(|| format!("{} has an RSA key of {bits} bits", of(certificate)))
    })
}

fn short_rsa(chain: &Chain) -> Option<String> {
    rsa(chain, |bits| (1024..2048).contains(&bits))
}

fn long_rsa(chain: &Chain) -> Option<String> {
    rsa(chain, |bits| bits > 8192)
}

/// OpenSSL's errors 85, 86, 89 and 92; of older versions it wants nothing.
fn less_than_strict_verifiers_want(chain: &Chain) -> Option<String> {
    let leaf = chain.leaf()?;
    let is_held_to_it = !is_self_issued(leaf) && leaf.version() == 3;
    if is_held_to_it && leaf.authority_key_id().is_none() {
        return Some(format!("{} lacks an authorityKeyIdentifier", of(leaf)));
    }
    let objections = compatibility::objections_to_issuers(chain.above());
    let mut strict = objections.into_iter();
    let strict = strict.find(|objection| objection.client.contains("-x509_strict"));
    strict.map(|objection| objection.why)
}

fn intermediate_for_something_else(chain: &Chain) -> Option<String> {
    let mut intermediates = chain.sent().skip(1);
    intermediates.find_map(|issuer| for_something_else(chain, issuer))
}

fn root_for_something_else(chain: &Chain) -> Option<String> {
    let root = chain.above().last().filter(|it| is_self_issued(it))?;
    for_something_else(chain, root)
}

fn for_something_else(chain: &Chain, issuer: &Certificate) -> Option<String> {
    let usage = issuer.extended_key_usage()?;
    let (is_allowed, purpose) = match chain.purpose() {
        Purpose::ClientAuth => (usage.client_auth, "clientAuth"),
        Purpose::ServerAuth => (usage.server_auth, "serverAuth"),
    };
    (!is_allowed && !usage.any).then(|| {
        let subject = issuer.subject();
        format!("the CA {subject} has an extendedKeyUsage without {purpose}")
    })
}

fn ed25519(chain: &Chain) -> Option<String> {
    let mut all = chain.path.iter();
    let found = all.find(|it| *it.public_key_algorithm() == KeyAlgorithm::Ed25519)?;
    Some(format!("{} has an Ed25519 key", of(found)))
}

fn rsa_pss_key(chain: &Chain) -> Option<String> {
    // The algorithm stands behind the headers of two sequences.
    let says_pss = |it: &&Certificate| {
        let beginning = it.spki_der().iter().take(24).copied().collect::<Vec<u8>>();
        beginning
            .windows(RSASSA_PSS.len())
            .any(|it| it == RSASSA_PSS)
    };
    let found = chain.path.iter().find(says_pss)?;
    Some(format!("{} has a key for RSASSA-PSS alone", of(found)))
}

fn version_1(chain: &Chain) -> Option<String> {
    let found = chain.sent().find(|it| it.version() == 1)?;
    Some(format!("{} is of X.509 version 1", of(found)))
}

fn no_staple(chain: &Chain) -> Option<String> {
    let leaf = chain.leaf()?;
    (leaf.must_staple() && chain.is_stapled == Some(false)).then(|| {
        let leaf = of(leaf);
        format!("{leaf} demands an OCSP answer (must-staple), and none came with it")
    })
}

fn lives_long(chain: &Chain) -> Option<String> {
    let leaf = chain.leaf()?;
    let life = leaf.not_after().since(leaf.not_before());
    let is_host = |name: &TypedName| matches!(name, TypedName::Dns(_) | TypedName::Ip(_));
    let is_server = chain.purpose() == Purpose::ServerAuth && leaf.names().iter().any(is_host);
    // Both ends belong to it (RFC 5280 §4.1.2.5).
    (is_server && life >= APPLES_LIMIT)
        .then(|| format!("{} lives {}, over 825 days", of(leaf), spoken(life)))
}

/// 1.2.840.113549.1.1.10 in DER.
const RSASSA_PSS: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 0x0a];

const APPLES_LIMIT: Duration = Duration::from_hours(825 * 24);
