//! Kubernetes and etcd, beside what Go's rows read.

use crate::cause::Cause;
use crate::log::meaning::{self, file};
use crate::log::message::{Meaning, Product, Table, client, row, server};

pub(in crate::log) static TABLE: Table = Table {
    product: Product::Kubernetes,
    rows: &[
        row(
            "Unable to authenticate the request{}x509: certificate signed by unknown authority",
            &CLIENT_UNTRUSTED,
            AUTHENTICATION,
        ),
        row(
            "verifying certificate SN={serial}, SKID={}failed: x509: certificate signed by unknown authority",
            &CLIENT_UNTRUSTED,
            AUTHENTICATION,
        ),
        row(
            "verifying certificate SN={serial}, SKID={}failed: x509: certificate has expired or is not yet valid: current time {now} is after {not_after}",
            &CLIENT_EXPIRED,
            AUTHENTICATION,
        ),
        row(
            "Unable to authenticate the request{}x509: certificate has expired or is not yet valid: current time {now} is after {not_after}",
            &CLIENT_EXPIRED,
            AUTHENTICATION,
        ),
        row(
            "verifying certificate SN={serial}, SKID={}failed: x509: certificate specifies an incompatible key usage",
            &CLIENT_PURPOSE,
            AUTHENTICATION,
        ),
        row(
            "x509: subject with cn={name} is not in the allowed list",
            &meaning::NOT_ALLOWED,
            AUTHENTICATION,
        ),
        row(
            "failed calling webhook \"{webhook}\"",
            &WEBHOOK,
            "kubernetes apiserver/pkg/admission/plugin/webhook/errors",
        ),
        row(
            "tls: no serving certificate available for the kubelet",
            &SERVING,
            "kubernetes pkg/kubelet/certificate/kubelet.go",
        ),
        row(
            "no serving certificate available for the kubelet",
            &SERVING,
            "kubernetes pkg/kubelet/certificate/kubelet.go",
        ),
        row(
            "client certificate authentication failed",
            &CLIENT_UNTRUSTED,
            "etcd server/auth",
        ),
        row(
            "part of the existing bootstrap client certificate in {file} is expired: {not_after}",
            &OWN_EXPIRED,
            "kubernetes pkg/kubelet/certificate/bootstrap",
        ),
        row(
            "It is not possible to use bootstrap client certificate, expired",
            &OWN_EXPIRED,
            "kubernetes pkg/kubelet/certificate/bootstrap",
        ),
        row(
            "unable to load root certificates: unable to parse bytes as PEM block",
            &file::NO_CERTIFICATE_PEM,
            "kubernetes client-go/transport",
        ),
    ],
};

static OWN_EXPIRED: Meaning = Meaning::at_client(
    "the client's own certificate has expired",
    &[client(Cause::LeafExpired)],
);

static CLIENT_UNTRUSTED: Meaning = Meaning::at_server(
    "no trusted issuer was found for the client's certificate",
    &[
        client(Cause::ClientCaNotTrusted),
        client(Cause::ChainMissingIntermediate).possible(),
        client(Cause::CaRotatedWithoutOverlap).possible(),
    ],
);

static CLIENT_EXPIRED: Meaning = Meaning::at_server(
    "the client's certificate has expired",
    &[client(Cause::LeafExpired)],
);

static CLIENT_PURPOSE: Meaning = Meaning::at_server(
    "the client's certificate is not for clients (extended key usage)",
    &[client(Cause::EkuMissingClientauth)],
);

static WEBHOOK: Meaning = Meaning::at_client(
    "a webhook could not be called",
    &[server(Cause::ServerCaNotTrusted).possible()],
);

static SERVING: Meaning = Meaning::same(
    "the kubelet has no certificate to serve with: its request is not approved",
    &[server(Cause::FileMissing).likely()],
);

const AUTHENTICATION: &str = "kubernetes apiserver/pkg/authentication/request/x509/x509.go";
