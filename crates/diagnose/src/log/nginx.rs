//! nginx: the error log (much of it at level `info`), and the pages that it answers with.

use super::meaning::{self, file, revocation, transport};
use super::message::{Product, Table, row};

pub(super) static TABLE: Table = Table {
    product: Product::Nginx,
    rows: &[
        row(
            "client certificate was not present",
            &meaning::NO_CLIENT_CERT,
            APISIX,
        ),
        row(
            "client certificate verification is not passed: {reason}",
            &meaning::VERIFY_FAILED,
            APISIX,
        ),
        row(
            "sni in client hello mismatch hostname of ssl session",
            &meaning::SNI_HOST,
            APISIX,
        ),
        row(
            "failed to match any SSL certificate by SNI: {host}",
            &meaning::SNI_UNKNOWN,
            APISIX,
        ),
        row(
            "client SSL certificate verify error:",
            &meaning::VERIFY_FAILED,
            REQUEST,
        ),
        row(
            "no ssl_client_certificate for ssl_verify_client",
            &meaning::BUNDLE_EMPTY,
            MODULE,
        ),
        row(
            "SSL_load_client_CA_file(\"{file}\") failed",
            &file::UNUSABLE_BUNDLE,
            MODULE,
        ),
        row(
            "client sent no required SSL certificate",
            &meaning::NO_CLIENT_CERT,
            REQUEST,
        ),
        row(
            "No required SSL certificate was sent",
            &meaning::NO_CLIENT_CERT_TOLD,
            PAGES,
        ),
        row(
            "The SSL certificate error",
            &meaning::alert::BAD_CERTIFICATE,
            PAGES,
        ),
        row(
            "The plain HTTP request was sent to HTTPS port",
            &transport::PLAIN_REQUEST,
            PAGES,
        ),
        row(
            "client sent plain HTTP request to HTTPS port",
            &transport::PLAIN_REQUEST,
            REQUEST,
        ),
        row(
            "client attempted to request the server name different",
            &meaning::SNI_HOST,
            REQUEST,
        ),
        row("421 Misdirected Request", &meaning::SNI_HOST, PAGES),
        row(
            "upstream SSL certificate verify error:",
            &meaning::VERIFY_FAILED,
            UPSTREAM,
        ),
        row(
            "upstream SSL certificate does not match \"{host}\"",
            &meaning::NAME_MISMATCH,
            UPSTREAM,
        ),
        row("no \"ssl_certificate\" is defined", &file::MISSING, MODULE),
        row(
            "cannot load certificate key \"{file}\": PEM_read_bio_PrivateKey() failed",
            &file::UNUSABLE_KEY,
            EVENT,
        ),
        row(
            "cannot load certificate \"{file}\": PEM_read_bio_X509_AUX() failed",
            &file::NO_CERTIFICATE_PEM,
            EVENT,
        ),
        row(
            "cannot load certificate \"{file}\": BIO_new_file() failed",
            &file::UNOPENED,
            EVENT,
        ),
        row(
            "cannot load certificate key \"{file}\": BIO_new_file() failed",
            &file::UNOPENED,
            EVENT,
        ),
        row("BIO_new_file(\"{file}\") failed", &file::UNOPENED, EVENT),
        row(
            "SSL_CTX_use_PrivateKey(\"{file}\") failed",
            &file::UNUSABLE_KEY,
            EVENT,
        ),
        row(
            "SSL_CTX_use_PrivateKey_file(\"{file}\") failed",
            &file::UNUSABLE_KEY,
            EVENT,
        ),
        row(
            "SSL_CTX_load_verify_locations(\"{file}\") failed",
            &file::UNUSABLE_BUNDLE,
            EVENT,
        ),
        row(
            "certificate status request failed",
            &revocation::OCSP_UNREACHABLE,
            STAPLING,
        ),
        row(
            "certificate status unknown",
            &revocation::OCSP_UNKNOWN,
            STAPLING,
        ),
        row(
            "OCSP responder timed out",
            &revocation::OCSP_UNREACHABLE,
            STAPLING,
        ),
        row(
            "OCSP responder prematurely closed connection",
            &revocation::OCSP_UNREACHABLE,
            STAPLING,
        ),
        row(
            "OCSP responder sent invalid",
            &revocation::OCSP_INVALID,
            STAPLING,
        ),
        row(
            "OCSP response not successful",
            &revocation::OCSP_INVALID,
            STAPLING,
        ),
        row(
            "OCSP_basic_verify() failed",
            &revocation::OCSP_INVALID,
            STAPLING,
        ),
        row(
            "OCSP_check_validity() failed",
            &revocation::OCSP_STALE,
            STAPLING,
        ),
        row(
            "certificate status \"unknown\"",
            &revocation::OCSP_UNKNOWN,
            STAPLING,
        ),
        row(
            "certificate status \"revoked\"",
            &revocation::REVOKED,
            STAPLING,
        ),
        row(
            "broken header: \"{header}\" while reading PROXY protocol",
            &transport::PROXY_HEADER,
            "nginx src/core/ngx_proxy_protocol.c",
        ),
        // The header ends in a line end of its own, so that the rest is on other lines.
        row(
            "broken header: \"",
            &transport::PROXY_HEADER,
            "nginx src/core/ngx_proxy_protocol.c",
        ),
        row(
            "broken PROXY protocol header",
            &transport::PROXY_HEADER,
            "nginx src/core/ngx_proxy_protocol.c",
        ),
        row(
            "limiting connections by zone \"{zone}\"",
            &transport::LIMIT,
            "nginx src/http/modules/ngx_http_limit_conn_module.c",
        ),
        row(
            "limiting requests, excess: {excess} by zone \"{zone}\"",
            &transport::LIMIT,
            "nginx src/http/modules/ngx_http_limit_req_module.c",
        ),
        row(
            "client timed out (110: Connection timed out) while SSL handshaking",
            &transport::SILENT,
            EVENT,
        ),
        row(
            "peer closed connection in SSL handshake",
            &transport::RESET,
            EVENT,
        ),
        row(
            "closed connection while SSL handshaking",
            &transport::RESET,
            EVENT,
        ),
        row(
            "client closed connection while SSL handshaking",
            &transport::CLOSED_BY_CLIENT,
            EVENT,
        ),
        row(
            "client intended to send too large",
            &transport::REQUEST_LIMIT,
            REQUEST,
        ),
        row(
            "client sent too long header line",
            &transport::REQUEST_LIMIT,
            REQUEST,
        ),
        row(
            "client sent too large request",
            &transport::REQUEST_LIMIT,
            REQUEST,
        ),
        row(
            "Request Header Or Cookie Too Large",
            &transport::REQUEST_LIMIT,
            PAGES,
        ),
        row(
            "client sent invalid method while reading client request line",
            &transport::REQUEST,
            REQUEST,
        ),
        row(
            "client sent invalid header line",
            &transport::REQUEST,
            REQUEST,
        ),
        row(
            "SSL_R_CERTIFICATE_VERIFY_FAILED",
            &meaning::VERIFY_FAILED,
            EVENT,
        ),
    ],
};

const REQUEST: &str = "nginx src/http/ngx_http_request.c";
const PAGES: &str = "nginx src/http/ngx_http_special_response.c";
const UPSTREAM: &str = "nginx src/http/ngx_http_upstream.c";
const MODULE: &str = "nginx src/http/modules/ngx_http_ssl_module.c";
const EVENT: &str = "nginx src/event/ngx_event_openssl.c";
const STAPLING: &str = "nginx src/event/ngx_event_openssl_stapling.c";

const APISIX: &str = "apisix apisix/init.lua, apisix/ssl/router";
