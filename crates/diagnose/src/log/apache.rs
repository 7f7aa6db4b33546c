//! Apache httpd with `mod_ssl`, by the numbers of its messages.

use super::meaning::{self, file, revocation, transport};
use super::message::Side::{Client, Server};
use super::message::{Product, Table, mark, row};

pub(super) static TABLE: Table = Table {
    product: Product::Apache,
    rows: &[
        row(
            "AH02039: Certificate Verification: Error",
            &meaning::VERIFY_FAILED,
            KERNEL,
        ),
        row(
            "AH02276: Certificate Verification: Error",
            &meaning::VERIFY_FAILED,
            KERNEL,
        ),
        row(
            "AH02040: Certificate Verification: Certificate Chain too long",
            &meaning::TOO_DEEP,
            KERNEL,
        ),
        row(
            "Certificate Chain too long (chain has {length} certificates, but maximum allowed are only {limit}",
            &meaning::TOO_DEEP,
            KERNEL,
        ),
        row(
            "AH02261: Re-negotiation handshake failed",
            &meaning::POST_HANDSHAKE,
            KERNEL,
        ),
        row(
            "AH02042: rejecting client initiated renegotiation",
            &meaning::POST_HANDSHAKE,
            KERNEL,
        ),
        row(
            "AH10158: cannot perform post-handshake authentication",
            &meaning::POST_HANDSHAKE,
            KERNEL,
        ),
        row(
            "cannot perform post-handshake authentication",
            &meaning::POST_HANDSHAKE,
            KERNEL,
        ),
        row(
            "AH10129: verify client post handshake",
            &meaning::POST_HANDSHAKE,
            KERNEL,
        ),
        row(
            "AH02031: Hostname {host} provided via SNI, but no hostname provided in HTTP request",
            &meaning::SNI_HOST,
            KERNEL,
        ),
        row(
            "AH02032: Hostname {sni} (default host as no SNI was provided) and hostname {host} provided via HTTP",
            &meaning::DEFAULT_CERTIFICATE,
            KERNEL,
        ),
        row(
            "AH02032: Hostname {sni} provided via SNI and hostname {host} provided via HTTP",
            &meaning::SNI_HOST,
            KERNEL,
        ),
        row(
            "AH02033: No hostname was provided via SNI for a name based virtual host",
            &meaning::DEFAULT_CERTIFICATE,
            KERNEL,
        ),
        row(
            "provided via SNI and hostname {host} provided via HTTP",
            &meaning::SNI_HOST,
            KERNEL,
        ),
        row(
            "AH02229: access to {path} failed, reason: SSL requirement expression not fulfilled",
            &meaning::NOT_ALLOWED,
            KERNEL,
        ),
        row(
            "SSL requirement expression not fulfilled",
            &meaning::NOT_ALLOWED,
            KERNEL,
        ),
        row(
            "AH01996: SSL handshake failed: HTTP spoken on HTTPS port",
            &transport::PLAIN_REQUEST,
            KERNEL,
        ),
        row(
            "SSL handshake failed: HTTP spoken on HTTPS port",
            &transport::PLAIN_REQUEST,
            KERNEL,
        ),
        row(
            "You're speaking plain HTTP to an SSL-enabled server port",
            &transport::PLAIN_REQUEST,
            KERNEL,
        ),
        row(
            "AH02565: Certificate and private key {files} do not match",
            &file::KEY_MISMATCH,
            INIT,
        ),
        row(
            "Certificate and private key {files} do not match",
            &file::KEY_MISMATCH,
            INIT,
        ),
        row(
            "AH02561: Failed to configure certificate",
            &file::UNUSABLE_CERTIFICATE,
            INIT,
        ),
        row(
            "AH02562: Failed to configure certificate",
            &file::UNUSABLE_CERTIFICATE,
            INIT,
        ),
        row(
            "AH02563: Failed to configure private key",
            &file::UNUSABLE_KEY,
            INIT,
        ),
        row(
            "AH02564: Failed to configure encrypted",
            &file::ENCRYPTED,
            INIT,
        ),
        row(
            "AH02577: Init: SSLPassPhraseDialog builtin is not supported",
            &file::ENCRYPTED,
            INIT,
        ),
        row(
            "AH02580: Init: Pass phrase incorrect",
            &file::PASSWORD,
            INIT,
        ),
        row("Init: Pass phrase incorrect", &file::PASSWORD, INIT),
        row(
            "AH02572: Failed to configure at least one certificate and key",
            &file::UNUSABLE_CERTIFICATE,
            INIT,
        ),
        row(
            "AH01898: Unable to configure permitted SSL protocols",
            &transport::VERSION,
            INIT,
        ),
        row(
            "AH01895: Unable to determine list of acceptable CA certificates",
            &meaning::BUNDLE_EMPTY,
            INIT,
        ),
        row(
            "AH01897: Init: Oops, you want to request client authentication, but no CAs are known",
            &meaning::BUNDLE_EMPTY,
            INIT,
        ),
        row(
            "you want to request client authentication, but no CAs are known for verification",
            &meaning::BUNDLE_EMPTY,
            INIT,
        ),
        row(
            "AH01899: Unable to configure CRL storage",
            &revocation::CRL_MISSING,
            INIT,
        ),
        row(
            "AH01910: Oops, no RSA, DSA or ECC server certificate found",
            &file::MISSING,
            INIT,
        ),
        row(
            "AH02411: SSL Proxy: Peer certificate does not match for hostname {host}",
            &meaning::NAME_MISMATCH,
            IO,
        ),
        row(
            "SSL Proxy: Peer certificate does not match for hostname",
            &meaning::NAME_MISMATCH,
            IO,
        ),
        row(
            "AH02005: SSL Proxy: Peer certificate is expired",
            &meaning::EXPIRED,
            IO,
        ),
        row(
            "SSL Proxy: Peer certificate is expired",
            &meaning::EXPIRED,
            IO,
        ),
        row(
            "AH02268: Proxy client certificate callback: {} no client certificate",
            &meaning::NO_MATCHING_CLIENT_CERT,
            KERNEL,
        ),
        row(
            "SSLFile{}file '{file}' does not exist or is empty",
            &file::MISSING,
            CONFIG,
        ),
        row(
            "file '{file}' does not exist or is empty",
            &file::MISSING,
            CONFIG,
        ),
        row(
            "AH01974: could not connect to OCSP responder",
            &revocation::OCSP_UNREACHABLE,
            OCSP,
        ),
        row(
            "AH01973: could not resolve address of OCSP responder",
            &revocation::OCSP_UNREACHABLE,
            OCSP,
        ),
        row(
            "AH01989: could not retrieve OCSP response",
            &revocation::OCSP_UNREACHABLE,
            OCSP,
        ),
        row(
            "AH01922: OCSP response not successful",
            &revocation::OCSP_INVALID,
            OCSP,
        ),
        row(
            "AH01925: failed to verify the OCSP response",
            &revocation::OCSP_INVALID,
            OCSP,
        ),
        row("OCSP response has expired", &revocation::OCSP_STALE, OCSP),
        row(
            "AH01924: Bad OCSP responder answer",
            &revocation::OCSP_INVALID,
            OCSP,
        ),
        mark("in handshake (server ", Server),
        mark("AH02008", Server),
        mark("AH02039", Server),
        mark("AH02276", Server),
        mark("AH02003: SSL Proxy connect failed", Client),
        mark("SSL Proxy", Client),
    ],
};

const KERNEL: &str = "httpd modules/ssl/ssl_engine_kernel.c";
const INIT: &str = "httpd modules/ssl/ssl_engine_init.c, ssl_engine_pphrase.c";
const IO: &str = "httpd modules/ssl/ssl_engine_io.c";
const CONFIG: &str = "httpd modules/ssl/ssl_engine_config.c";
const OCSP: &str = "httpd modules/ssl/ssl_engine_ocsp.c, ssl_util_ocsp.c";
