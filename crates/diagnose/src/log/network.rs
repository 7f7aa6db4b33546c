//! What the system says of connections and names, in the words of many programs.

use super::meaning::transport;
use super::message::{Product, Table, row};

pub(super) static TABLE: Table = Table {
    product: Product::Network,
    rows: &[
        row("SSL handshake timeout", &transport::SILENT, ERRNO),
        row("Connection refused", &transport::REFUSED, ERRNO),
        row("ECONNREFUSED", &transport::REFUSED, ERRNO),
        row(
            "No connection could be made because the target machine actively refused it",
            &transport::REFUSED,
            "Windows WSAECONNREFUSED",
        ),
        row(
            "actively refused it",
            &transport::REFUSED,
            "Windows WSAECONNREFUSED",
        ),
        row(
            "Name or service not known",
            &transport::UNRESOLVED,
            RESOLVER,
        ),
        row(
            "Temporary failure in name resolution",
            &transport::UNRESOLVED,
            RESOLVER,
        ),
        row(
            "nodename nor servname provided, or not known",
            &transport::UNRESOLVED,
            RESOLVER,
        ),
        row(
            "No such host is known",
            &transport::UNRESOLVED,
            "Windows WSAHOST_NOT_FOUND",
        ),
        row(
            ": no such host",
            &transport::UNRESOLVED,
            "go src/net/dnsclient_unix.go",
        ),
        row(
            "could not translate host name \"{host}\" to address",
            &transport::UNRESOLVED,
            "postgresql src/interfaces/libpq/fe-connect.c",
        ),
        row(
            "getaddrinfo ENOTFOUND {host}",
            &transport::UNRESOLVED,
            "node lib/dns.js",
        ),
        row(
            "getaddrinfo EAI_AGAIN {host}",
            &transport::UNRESOLVED,
            "node lib/dns.js",
        ),
        row(
            "java.net.UnknownHostException: {host}",
            &transport::UNRESOLVED,
            "jdk java/net",
        ),
        row(
            "The remote name could not be resolved",
            &transport::UNRESOLVED,
            "dotnet System.Net",
        ),
        row(
            "unable to resolve host address",
            &transport::UNRESOLVED,
            "wget src/host.c",
        ),
        row(
            "host not found in upstream \"{host}\"",
            &transport::UNRESOLVED,
            "nginx src/http/ngx_http_upstream.c",
        ),
        row(
            "Connection reset by peer{}SSL handshaking",
            &transport::RESET,
            ERRNO,
        ),
        row(
            "SSL handshake{}Connection reset by peer",
            &transport::RESET,
            ERRNO,
        ),
        row(
            "handshake{}connection reset by peer",
            &transport::RESET,
            ERRNO,
        ),
        row(
            "read ECONNRESET",
            &transport::RESET_ANYWHERE,
            "node lib/net.js",
        ),
        row(
            "ConnectionResetError: [Errno 104] Connection reset by peer",
            &transport::RESET_ANYWHERE,
            "cpython Modules/socketmodule.c",
        ),
        row("TLS handshake timed out", &transport::SILENT, ERRNO),
        row("SSL handshake timed out", &transport::SILENT, ERRNO),
    ],
};

const ERRNO: &str = "POSIX errno.h";
const RESOLVER: &str = "glibc sysdeps/posix/gai_strerror-strs.h";
