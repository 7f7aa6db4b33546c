//! SPIFFE: go-spiffe, SPIRE, Istio's agents, Linkerd.

use super::meaning::{self, file};
use super::message::{Meaning, Product, Table, client, either, row};
use crate::cause::Cause;

pub(super) static TABLE: Table = Table {
    product: Product::Spiffe,
    rows: &[
        row(
            "workload is not authorized for the requested identities",
            &NO_SVID,
            "spire pkg/agent/endpoints/sdsv3/handler.go",
        ),
        row(
            "unexpected trust domain \"{domain}\"",
            &meaning::TRUST_DOMAIN,
            GO,
        ),
        row(
            "could not get X509 bundle: {reason}",
            &meaning::TRUST_DOMAIN,
            GO,
        ),
        row(
            "no X.509 bundle found for trust domain: \"{domain}\"",
            &meaning::TRUST_DOMAIN,
            GO,
        ),
        row(
            "Bundle not found for trust domain '{domain}'",
            &meaning::TRUST_DOMAIN,
            "csharp-spiffe src/Spiffe/Bundle",
        ),
        row(
            "no X.509 bundle for trust domain \"{domain}\"",
            &meaning::TRUST_DOMAIN,
            GO,
        ),
        row(
            "could not verify leaf certificate: x509: certificate signed by unknown authority",
            &meaning::UNTRUSTED,
            GO,
        ),
        row("unexpected ID \"spiffe://{id}\"", &meaning::NOT_ALLOWED, GO),
        row("unauthorized SPIFFE ID \"{id}\"", &meaning::NOT_ALLOWED, GO),
        row(
            "certificate contains more than one URI SAN",
            &meaning::AMBIGUOUS,
            GO,
        ),
        row("certificate contains no URI SAN", &NO_ID, GO),
        row("could not get leaf SPIFFE ID: {reason}", &NO_ID, GO),
        row(
            "leaf certificate with CA flag set to true",
            &meaning::CA_AS_LEAF,
            GO,
        ),
        row(
            "leaf certificate with KeyCertSign key usage",
            &meaning::CA_AS_LEAF,
            GO,
        ),
        row(
            "leaf certificate must have 'digitalSignature' set as key usage",
            &meaning::KEY_USAGE,
            GO,
        ),
        row(
            "intermediate certificate without CA flag",
            &meaning::NOT_A_CA,
            GO,
        ),
        row(
            "no identity issued",
            &NO_SVID,
            "spire pkg/agent/endpoints/workload/handler.go",
        ),
        row(
            "identity verification error: peers have different trust domains",
            &meaning::TRUST_DOMAIN,
            "ztunnel src/tls/workload.rs",
        ),
        row(
            "identity verification error: peer did not present the expected SAN ({wanted}), got {got}",
            &meaning::NAME_MISMATCH,
            "ztunnel src/tls/workload.rs",
        ),
        row(
            "peer did not present the expected SAN",
            &meaning::NAME_MISMATCH,
            "ztunnel src/tls/workload.rs",
        ),
        row(
            "allow policies exist, but none allowed",
            &meaning::NOT_ALLOWED,
            "ztunnel src/rbac.rs",
        ),
        row(
            "connection closed due to policy rejection: explicitly denied by: {policy}",
            &meaning::NOT_ALLOWED,
            "ztunnel src/rbac.rs",
        ),
        row(
            "connection closed due to policy rejection",
            &meaning::NOT_ALLOWED,
            "ztunnel src/rbac.rs",
        ),
        row(
            "unauthorized request on route",
            &meaning::NOT_ALLOWED,
            "linkerd2-proxy linkerd/app/inbound/src/policy",
        ),
        row(
            "unauthorized connection on server",
            &meaning::NOT_ALLOWED,
            "linkerd2-proxy linkerd/app/inbound/src/policy",
        ),
        row(
            "Identity certificate file is missing: {file}",
            &file::MISSING,
            "linkerd2 proxy-identity",
        ),
    ],
};

static NO_ID: Meaning = Meaning::same(
    "{peer}'s certificate holds no SPIFFE ID",
    &[
        either(Cause::IdentityNotAllowed).likely(),
        either(Cause::SanMissing).likely(),
    ],
);

static NO_SVID: Meaning = Meaning::same(
    "SPIRE has no registration entry for this workload",
    &[
        client(Cause::ClientCertNotSent).likely(),
        either(Cause::IdentityNotAllowed).possible(),
    ],
);

const GO: &str = "go-spiffe svid/x509svid/verify.go, spiffetls/tlsconfig, spiffeid/match.go";
