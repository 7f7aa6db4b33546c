//! Load balancers of clouds, and what stands before sites.

use super::meaning::{self, alert, revocation};
use super::message::{Meaning, Product, Table, either, row, server};
use crate::cause::Cause;

pub(super) static TABLE: Table = Table {
    product: Product::Cloud,
    rows: &[
        row("ClientCertMaxChainDepthExceeded", &DEPTH, ALB),
        row("ClientCertMaxSizeExceeded", &SIZE, ALB),
        row("ClientCertCrlHit", &revocation::REVOKED, ALB),
        row(
            "ClientCertCrlProcessingError",
            &revocation::CRL_UNPROCESSED,
            ALB,
        ),
        row("ClientCertUntrusted", &meaning::UNTRUSTED, ALB),
        row("ClientCertNotYetValid", &meaning::NOT_YET, ALB),
        row("ClientCertExpired", &meaning::EXPIRED, ALB),
        row("ClientCertTypeUnsupported", &meaning::SIGALG, ALB),
        row("ClientCertInvalid", &meaning::MALFORMED, ALB),
        row("ClientCertPurposeInvalid", &meaning::PURPOSE, ALB),
        row("ClientCertRejected", &meaning::VERIFY_FAILED, ALB),
        row("client_cert_not_provided", &meaning::NO_CLIENT_CERT, GCP),
        row("client_cert_chain_invalid_eku", &meaning::PURPOSE, GCP),
        row(
            "client_cert_chain_max_name_constraints_exceeded",
            &meaning::NAME_CONSTRAINTS_UNSUPPORTED,
            GCP,
        ),
        row("client_cert_pki_too_large", &SIZE, GCP),
        row(
            "client_cert_trust_config_not_found",
            &meaning::BUNDLE_EMPTY,
            GCP,
        ),
        row(
            "client_cert_validation_failed",
            &meaning::VERIFY_FAILED,
            GCP,
        ),
        row("client_cert_invalid_rsa_key_size", &meaning::WEAK_KEY, GCP),
        row(
            "client_cert_unsupported_key_algorithm",
            &meaning::SIGALG,
            GCP,
        ),
        row(
            "server_cert_trust_config_not_found",
            &meaning::BUNDLE_EMPTY,
            GCP,
        ),
        row("526: Invalid SSL certificate", &ORIGIN, CLOUDFLARE),
        row("525: SSL handshake failed", &ORIGIN_HANDSHAKE, CLOUDFLARE),
        row(
            "PR_END_OF_FILE_ERROR",
            &alert::HANDSHAKE_FAILURE,
            "nss nspr pr/src/misc/prerr.c",
        ),
    ],
};

static DEPTH: Meaning = Meaning::same(
    "the client's chain is longer than the load balancer takes",
    &[
        either(Cause::ChainTooDeep),
        either(Cause::VerifyDepthTooSmall).possible(),
    ],
);

static SIZE: Meaning = Meaning::same(
    "the client's certificate or chain is larger than the load balancer takes",
    &[either(Cause::CertificateTooLarge)],
);

static ORIGIN: Meaning = Meaning::same(
    "the front does not accept the certificate of the server behind it",
    &[
        server(Cause::ServerCaNotTrusted).possible(),
        server(Cause::LeafExpired).possible(),
        server(Cause::NameMismatch).possible(),
    ],
);

static ORIGIN_HANDSHAKE: Meaning = Meaning::same(
    "the handshake of the front with the server behind it failed",
    &[
        server(Cause::NoSharedCipher).possible(),
        server(Cause::SniUnknown).possible(),
    ],
);

const ALB: &str = "https://docs.aws.amazon.com/elasticloadbalancing/latest/application/load-balancer-connection-logs.html";
const GCP: &str = "https://cloud.google.com/load-balancing/docs/mtls";
const CLOUDFLARE: &str = "https://developers.cloudflare.com/support/troubleshooting/http-status-codes/cloudflare-5xx-errors/";
