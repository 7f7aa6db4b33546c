//! The errors of OpenSSL's X.509 verification, which nginx, `HAProxy`, Envoy, Python, Node, curl and others print on.

use super::meaning::revocation as crl;
use super::meaning::{self, file};
use super::message::Side::Client;
use super::message::{
    Meaning, Product, Row, Table, Tells, client, either, mark, row, server, well,
};
use crate::cause::Cause;

/// Each row: number (`X509_V_ERR_…` in `x509_vfy.h.in`), text, meaning.
macro_rules! verify_errors {
    ($($number:literal $text:literal $meaning:expr;)+) => {
        static ERRORS: &[Row] = &[$(row($text, &$meaning, SOURCE),)+];

        /// What an error means, by its number.
        pub(super) fn meaning(number: u8) -> Option<&'static Meaning> {
            match number {
                $($number => Some(&$meaning),)+
                _ => None,
            }
        }
    };
}

verify_errors! {
    2 "unable to get issuer certificate" meaning::ANCHOR;
    3 "unable to get certificate CRL" crl::CRL_MISSING;
    4 "unable to decrypt certificate's signature" meaning::OTHER_KEY;
    5 "unable to decrypt CRL's signature" crl::CRL_SIGNATURE;
    6 "unable to decode issuer public key" meaning::MALFORMED;
    7 "certificate signature failure" meaning::OTHER_KEY;
    8 "CRL signature failure" crl::CRL_SIGNATURE;
    9 "certificate is not yet valid" meaning::NOT_YET;
    10 "certificate has expired" meaning::EXPIRED;
    11 "CRL is not yet valid" crl::CRL_NOT_YET;
    12 "CRL has expired" crl::CRL_EXPIRED;
    13 "format error in certificate's notBefore field" meaning::MALFORMED;
    14 "format error in certificate's notAfter field" meaning::MALFORMED;
    15 "format error in CRL's lastUpdate field" crl::CRL_UNPROCESSED;
    16 "format error in CRL's nextUpdate field" crl::CRL_UNPROCESSED;
    18 ":self signed certificate" meaning::SELF_SIGNED;
    19 "self signed certificate in certificate chain" meaning::UNTRUSTED_ROOT;
    20 "unable to get local issuer certificate" meaning::UNTRUSTED;
    21 "unable to verify the first certificate" LEAF_ALONE;
    22 "certificate chain too long" meaning::TOO_DEEP;
    23 "certificate revoked" crl::REVOKED;
    24 "issuer certificate doesn't have a public key" meaning::NOT_A_CA;
    25 "path length constraint exceeded" meaning::PATHLEN;
    26 "unsupported certificate purpose" meaning::PURPOSE;
    27 "certificate not trusted" meaning::UNTRUSTED;
    28 "certificate rejected" REJECTED;
    29 "subject issuer mismatch" meaning::UNTRUSTED;
    30 "authority and subject key identifier mismatch" meaning::AKI;
    31 "authority and issuer serial number mismatch" meaning::AKI;
    32 "key usage does not include certificate signing" meaning::CANNOT_SIGN;
    33 "unable to get CRL issuer certificate" crl::CRL_ISSUER;
    34 "unhandled critical extension" CRITICAL;
    35 "key usage does not include CRL signing" crl::CRL_USAGE;
    36 "unhandled critical CRL extension" crl::CRL_UNPROCESSED;
    37 "invalid non CA certificate (has CA markings)" meaning::CA_AS_LEAF;
    39 "key usage does not include digital signature" meaning::KEY_USAGE;
    41 "invalid or inconsistent certificate extension" meaning::MALFORMED;
    44 "different CRL scope" crl::CRL_UNPROCESSED;
    47 "permitted subtree violation" meaning::NAME_CONSTRAINTS;
    48 "excluded subtree violation" meaning::NAME_CONSTRAINTS;
    49 "name constraints minimum and maximum not supported" meaning::NAME_CONSTRAINTS_UNSUPPORTED;
    51 "unsupported name constraint type" meaning::NAME_CONSTRAINTS_UNSUPPORTED;
    52 "unsupported or invalid name constraint syntax" meaning::NAME_CONSTRAINTS_UNSUPPORTED;
    53 "unsupported or invalid name syntax" meaning::NAME_CONSTRAINTS_UNSUPPORTED;
    54 "CRL path validation error" crl::CRL_ISSUER;
    62 "hostname mismatch" meaning::NAME_MISMATCH;
    63 "63:email address mismatch" meaning::NAME_MISMATCH;
    64 "64:IP address mismatch" meaning::IP_SAN;
    66 "EE certificate key too weak" meaning::WEAK_KEY;
    67 "CA certificate key too weak" meaning::WEAK_KEY;
    68 "CA signature digest algorithm too weak" meaning::WEAK_SIGNATURE;
    73 "OCSP verification needed" crl::OCSP_UNREACHABLE;
    74 "OCSP verification failed" crl::OCSP_INVALID;
    75 "OCSP unknown cert" crl::OCSP_UNKNOWN;
    76 "cannot find certificate signature algorithm" meaning::SIGALG;
    77 "subject signature algorithm and issuer public key algorithm mismatch" meaning::OTHER_KEY;
    78 "cert info signature and signature algorithm mismatch" meaning::MALFORMED;
    79 "invalid CA certificate" meaning::NOT_A_CA;
    80 "path length invalid for non CA cert" meaning::NOT_A_CA;
    81 "path length given without key usage keyCertSign" meaning::EXTENSIONS;
    82 "key usage keyCertSign invalid for non CA cert" meaning::EXTENSIONS;
    83 "issuer name empty" meaning::MALFORMED;
    84 "subject name empty" meaning::MALFORMED;
    85 "missing authority key identifier" meaning::EXTENSIONS;
    86 "missing subject key identifier" meaning::EXTENSIONS;
    87 "empty subject alternative name extension" meaning::MALFORMED;
    88 "subject empty and subject alt name extension not critical" meaning::EXTENSIONS;
    89 "basic constraints of CA cert not marked critical" meaning::EXTENSIONS;
    90 "authority key identifier marked critical" meaning::EXTENSIONS;
    91 "subject key identifier marked critical" meaning::EXTENSIONS;
    92 "CA cert does not include key usage extension" meaning::EXTENSIONS;
    93 "using cert extension requires at least X509v3" meaning::VERSION_ONE;
    94 "certificate public key has explicit ECC parameters" meaning::SIGALG;
}

/// Only a leaf was sent, and its issuer is not held.
pub(super) static LEAF_ALONE: Meaning = Meaning::new(
    "{peer} sent its certificate without an issuer, and {self} does not hold one",
    &[
        server(Cause::ChainMissingIntermediate).likely(),
        server(Cause::ServerCaNotTrusted).likely(),
    ],
    &[
        client(Cause::ClientCaNotTrusted).likely(),
        client(Cause::ChainMissingIntermediate).likely(),
    ],
);

static REJECTED: Meaning = Meaning::new(
    "{peer}'s root is marked as rejected for this purpose",
    &[server(Cause::ServerCaNotTrusted).likely()],
    &[client(Cause::ClientCaNotTrusted).likely()],
);

pub(super) static CRITICAL: Meaning = Meaning::same(
    "{peer}'s chain has a critical extension that {self} does not know",
    &[
        either(Cause::MalformedCertificate).likely(),
        either(Cause::NameConstraintsUnsupported).possible(),
    ],
);

const fn code(words: &'static str, source: &'static str) -> Row {
    Row {
        words,
        tells: Tells::Code,
        source,
    }
}

const fn depth(words: &'static str) -> Row {
    Row {
        words,
        tells: Tells::Depth,
        source: "",
    }
}

pub(super) static TABLE: Table = Table {
    product: Product::OpenSsl,
    rows: ERRORS,
};

/// The same errors by their numbers, and what stands around them in the output of the `openssl` program.
pub(super) static NUMBERS: Table = Table {
    product: Product::OpenSsl,
    rows: &[
        row(": self signed certificate", &meaning::SELF_SIGNED, SOURCE),
        row("(self signed certificate", &meaning::SELF_SIGNED, SOURCE),
        row(
            "error=self signed certificate",
            &meaning::SELF_SIGNED,
            SOURCE,
        ),
        row(
            "lookup:self signed certificate",
            &meaning::SELF_SIGNED,
            SOURCE,
        ),
        well("self signed certificate generated", SOURCE),
        well("self signed certificate created", SOURCE),
        well("self signed certificate for", SOURCE),
        row("failed: IP address mismatch", &meaning::IP_SAN, SOURCE),
        row("failed (IP address mismatch)", &meaning::IP_SAN, SOURCE),
        row("lookup: IP address mismatch", &meaning::IP_SAN, SOURCE),
        well("certificate revoked successfully", SOURCE),
        code("verify error:num={code}:", APPS),
        code("verify error: num={code}:", APPS),
        code("verify return code: {code} (", APPS),
        code(
            "error {code} at {depth} depth lookup",
            "openssl apps/verify.c",
        ),
        code(
            "certificate verify error: ({code}:",
            "nginx src/http/ngx_http_request.c",
        ),
        code(
            "ssl_c_err={code} ",
            "haproxy doc/configuration.txt, ssl_c_err",
        ),
        code(
            "ssl_c_ca_err={code} ",
            "haproxy doc/configuration.txt, ssl_c_ca_err",
        ),
        code(
            "ssl_client_verify_result={code} ",
            "openssl include/openssl/x509_vfy.h.in",
        ),
        code(" c_err={code} ", "haproxy doc/configuration.txt, ssl_c_err"),
        code("X509_V_ERR={code}", "openssl include/openssl/x509_vfy.h.in"),
        depth("depth={depth} {subject}"),
        row(
            "error in X509_verify_cert at depth",
            &meaning::VERIFY_FAILED,
            SOURCE,
        ),
        row("X509_V_ERR_CERT_HAS_EXPIRED", &meaning::EXPIRED, SOURCE),
        row("X509_V_ERR_CERT_NOT_YET_VALID", &meaning::NOT_YET, SOURCE),
        row(
            "X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY",
            &meaning::UNTRUSTED,
            SOURCE,
        ),
        row(
            "X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT",
            &meaning::SELF_SIGNED,
            SOURCE,
        ),
        row(
            "X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN",
            &meaning::UNTRUSTED_ROOT,
            SOURCE,
        ),
        row(
            "X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE",
            &LEAF_ALONE,
            SOURCE,
        ),
        row(
            "X509_V_ERR_HOSTNAME_MISMATCH",
            &meaning::NAME_MISMATCH,
            SOURCE,
        ),
        row("X509_V_ERR_INVALID_PURPOSE", &meaning::PURPOSE, SOURCE),
        row("X509_V_ERR_CERT_REVOKED", &crl::REVOKED, SOURCE),
        row("X509_V_ERR_UNABLE_TO_GET_CRL", &crl::CRL_MISSING, SOURCE),
        row("X509_V_ERR_CRL_HAS_EXPIRED", &crl::CRL_EXPIRED, SOURCE),
        row(
            "key values mismatch",
            &file::KEY_MISMATCH,
            "openssl crypto/x509/x509_err.c",
        ),
        well("verify return code: 0 (ok)", APPS),
        well("verification: OK", APPS),
        well(", continuing anyway", "curl lib/vtls/openssl.c"),
        mark("CONNECTED(000", Client),
    ],
};

const SOURCE: &str = "openssl crypto/x509/x509_txt.c";

const APPS: &str = "openssl apps/lib/s_cb.c, apps/s_client.c";
