//! Servers and proxies, a line each.

use super::*;

#[test]
fn lines_of_nginx() {
    check_all(&[
        (
            r#"2024/05/01 10:00:00 [error] 7#7: certificate status "unknown" in the OCSP response while requesting certificate status, responder: ocsp.a.test"#,
            "ocsp-unknown of either",
        ),
        (
            "2024/05/01 10:00:00 [error] 7#7: *1 broken header: \"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n\" while reading PROXY protocol, client: 10.0.0.1, server: 0.0.0.0:443",
            "proxy-header-missing of either",
        ),
        (
            r#"10.0.0.5 - - [x] "GET /a HTTP/1.1" 400 5 "-" "curl" "FAILED:certificate has expired""#,
            "leaf-expired of either",
        ),
        (
            r#"2024/05/01 10:00:00 [info] 7#7: *1 client SSL certificate verify error: (21:unable to verify the first certificate) while reading client request headers, client: 172.17.0.1, server: localhost, request: "GET / HTTP/1.1", host: "localhost""#,
            "client-ca-not-trusted of client",
        ),
        (
            "2024/05/01 10:00:00 [info] 7#7: *1 client SSL certificate verify error: (20:unable to get local issuer certificate) while reading client request headers, client: 172.17.0.1, server: localhost",
            "client-ca-not-trusted of client",
        ),
        (
            "2024/05/01 10:00:00 [info] 7#7: *1 client SSL certificate verify error: (26:unsupported certificate purpose) while reading client request headers",
            "eku-missing-clientauth of client",
        ),
        (
            "2024/05/01 10:00:00 [info] 7#7: *1 client SSL certificate verify error: (22:certificate chain too long) while reading client request headers",
            "verify-depth-too-small of either",
        ),
        (
            "2024/05/01 10:00:00 [info] 7#7: *1 client SSL certificate verify error: (3:unable to get certificate CRL) while reading client request headers",
            "crl-missing of either",
        ),
        (
            "2024/05/01 10:00:00 [info] 7#7: *1 client SSL certificate verify error: (12:CRL has expired) while reading client request headers",
            "crl-expired of either",
        ),
        (
            "2024/05/01 10:00:00 [info] 7#7: *1 client sent no required SSL certificate while reading client request headers, client: 10.0.0.3",
            "client-cert-not-sent of client",
        ),
        (
            "2024/05/01 10:00:00 [info] 7#7: *1 SSL_do_handshake() failed (SSL: error:14094418:SSL routines:ssl3_read_bytes:tlsv1 alert unknown ca:SSL alert number 48) while SSL handshaking, client: 1.1.1.1, server: 0.0.0.0:443",
            "server-ca-not-trusted of server",
        ),
        (
            "2024/05/01 10:00:00 [crit] 7#7: *1 SSL_do_handshake() failed (SSL: error:0A00006C:SSL routines::bad key share) while SSL handshaking, client: 1.1.1.1",
            "no-shared-cipher of either",
        ),
        (
            "2024/05/01 10:00:00 [info] 7#7: *1 SSL_do_handshake() failed (SSL: error:0A00009C:SSL routines::http request) while SSL handshaking, client: 1.1.1.1",
            "plain-http-to-tls-port of client",
        ),
        (
            "2024/05/01 10:00:00 [info] 7#7: *1 client sent plain HTTP request to HTTPS port while reading client request headers, client: 1.1.1.1",
            "plain-http-to-tls-port of client",
        ),
        (
            "2024/05/01 10:00:00 [info] 7#7: *1 peer closed connection in SSL handshake while SSL handshaking, client: 1.1.1.1",
            "client-closed-early of client",
        ),
        (
            r#"Get "https://10.0.0.1:8443/": tls: failed to verify certificate: x509: certificate signed by unknown authority (possibly because of "crypto/rsa: verification error" while trying to verify candidate authority certificate "My CA")"#,
            "same-name-different-key-ca of either",
        ),
        (
            r#"Unable to connect to the server: x509: certificate signed by unknown authority (possibly because of "crypto/rsa: verification error" while trying to verify candidate authority certificate "kubernetes")"#,
            "same-name-different-key-ca of either",
        ),
        (
            "139:error:0A000126:SSL routines:ssl3_read_n:unexpected eof while reading:ssl/record/rec_layer_s3.c:303:",
            "reset-before-server-hello of either",
        ),
        (
            "2024/01/03 18:07:27 [error] 7#7: *3436 [lua] init.lua:390: verify_https_client(): client certificate was not present, client: 10.128.2.1",
            "client-cert-not-sent of client",
        ),
        (
            "2024/05/01 SSL_do_handshake() failed (SSL: error:141CF06C:SSL routines:tls_parse_ctos_key_share:bad key share) while SSL handshaking",
            "no-shared-cipher of either",
        ),
        (
            r#"x509: certificate signed by unknown authority (possibly because of "x509: cannot verify signature: insecure algorithm SHA1-RSA" while trying to verify candidate authority certificate "CA")"#,
            "weak-signature of either",
        ),
        (
            "[error] OCSP responder timed out (110: Connection timed out) while requesting certificate status, responder: ocsp.test",
            "ocsp-unreachable of either",
        ),
    ]);
}

#[test]
fn lines_of_nginx_files() {
    check_all(&[
        (
            r#"nginx: [emerg] cannot load certificate "/etc/nginx/ssl/a.crt": PEM_read_bio_X509_AUX() failed (SSL: error:0480006C:PEM routines::no start line:Expecting: TRUSTED CERTIFICATE)"#,
            "file-not-pem of either",
        ),
        (
            r#"nginx: [emerg] SSL_CTX_use_PrivateKey("/etc/nginx/a.key") failed (SSL: error:05800074:x509 certificate routines::key values mismatch)"#,
            "key-cert-mismatch of either",
        ),
        (
            r#"nginx: [emerg] SSL_CTX_use_PrivateKey_file("/etc/nginx/a.key") failed (SSL: error:0B080074:x509 certificate routines:X509_check_private_key:key values mismatch)"#,
            "key-cert-mismatch of either",
        ),
        (
            r#"nginx: [emerg] cannot load certificate "/etc/a.crt": BIO_new_file() failed (SSL: error:80000002:system library::No such file or directory:calling fopen(/etc/a.crt, r) error:10000080:BIO routines::no such file)"#,
            "file-missing of either",
        ),
        (
            r#"nginx: [emerg] cannot load certificate key "/etc/a.key": PEM_read_bio_PrivateKey() failed (SSL: error:07880109:common libcrypto routines::interrupted or cancelled error:04800068:PEM routines::bad password read)"#,
            "key-encrypted of either",
        ),
        (
            r#"nginx: [emerg] cannot load certificate "/etc/a.crt": PEM_read_bio_X509() failed (SSL: error:04800066:PEM routines::bad end line)"#,
            "pem-glued of either",
        ),
        (
            r#"nginx: [emerg] SSL_CTX_use_certificate("/etc/a.crt") failed (SSL: error:0A00018F:SSL routines::ee key too small)"#,
            "weak-key of either",
        ),
        (
            r#"nginx: [emerg] SSL_CTX_use_certificate("/etc/a.crt") failed (SSL: error:0A00018E:SSL routines::ca md too weak)"#,
            "weak-signature of either",
        ),
        (
            r#"nginx: [emerg] cannot load certificate key "/etc/a.key": BIO_new_file() failed (SSL: error:8000000D:system library::Permission denied:calling fopen(/etc/a.key, r) error:10080002:BIO routines::system lib)"#,
            "key-permissions of either",
        ),
        ("nginx: [emerg] invalid PID number", "none"),
    ]);
}

#[test]
fn lines_of_nginx_upstream() {
    check_all(&[
        (
            "2024/05/01 10:00:00 [error] 7#7: *1 upstream SSL certificate verify error: (20:unable to get local issuer certificate) while SSL handshaking to upstream, client: 1.1.1.1, server: a",
            "server-ca-not-trusted of server",
        ),
        (
            "2024/05/01 10:00:00 [error] 7#7: *1 SSL_do_handshake() failed (SSL: error:14094410:SSL routines:ssl3_read_bytes:sslv3 alert handshake failure:SSL alert number 40) while SSL handshaking to upstream, client: 1.1.1.1",
            "client-cert-not-sent of client",
        ),
        (
            "2024/05/01 10:00:00 [error] 7#7: *1 SSL_do_handshake() failed (SSL: error:0A000412:SSL routines::sslv3 alert bad certificate:SSL alert number 42) while SSL handshaking to upstream",
            "client-ca-not-trusted of client",
        ),
        (
            r#"2024/05/01 10:00:00 [error] 7#7: *1 upstream SSL certificate does not match "backend.internal" while SSL handshaking to upstream, client: 1.1.1.1"#,
            "name-mismatch of server",
        ),
        (
            "2024/05/01 10:00:00 [error] 7#7: *1 peer closed connection in SSL handshake (104: Connection reset by peer) while SSL handshaking to upstream, client: 1.1.1.1",
            "reset-before-server-hello of either",
        ),
        (
            "2024/05/01 10:00:00 [error] 7#7: *1 connect() failed (111: Connection refused) while connecting to upstream, client: 1.1.1.1",
            "connection-refused of server",
        ),
        (
            "upstream connect error or disconnect/reset before headers. reset reason: remote connection failure, transport failure reason: TLS_error:|268435581:SSL routines:OPENSSL_internal:CERTIFICATE_VERIFY_FAILED:TLS_error_end",
            "server-ca-not-trusted of server",
        ),
        (
            "upstream connect error or disconnect/reset before headers. reset reason: connection failure, transport failure reason: TLS error: 268435703:SSL routines:OPENSSL_internal:WRONG_VERSION_NUMBER",
            "peer-not-tls of server",
        ),
        (
            "upstream connect error or disconnect/reset before headers. retried and the latest reset reason: remote connection failure, transport failure reason: TLS_error:|268436502:SSL routines:OPENSSL_internal:SSLV3_ALERT_CERTIFICATE_UNKNOWN:TLS_error_end",
            "client-ca-not-trusted of client",
        ),
    ]);
}

#[test]
fn lines_of_haproxy() {
    check_all(&[
        (
            "[ALERT] 123/101010 (12) : parsing [/etc/haproxy/haproxy.cfg:12] : 'bind *:443' : inconsistencies between private key and certificate loaded from PEM file '/etc/a.pem'.",
            "key-cert-mismatch of either",
        ),
        (
            "10.0.0.1:5555 [01/May/2024:10:00:00.000] fe/1: SSL client certificate not trusted",
            "client-ca-not-trusted of client",
        ),
        (
            "10.0.0.1:5555 [01/May/2024:10:00:00.000] fe/1: SSL client CA chain cannot be verified",
            "client-ca-not-trusted of client",
        ),
        (
            "10.0.0.1:5555 [01/May/2024:10:00:00.000] fe/1: SSL handshake failure",
            "client-cert-not-sent of client",
        ),
        (
            "10.0.0.1:5555 [01/May/2024:10:00:00.000] fe/1: SSL handshake failure (error:0A0000C7:SSL routines::peer did not return a certificate)",
            "client-cert-not-sent of client",
        ),
        (
            r#"10.0.0.1:5555 fc_err=31 c_err=23 dn="/CN=revoked" sni=a.test"#,
            "certificate-revoked of client",
        ),
        (
            r#"10.0.0.1:5555 fc_err=31 c_err=10 dn="/CN=x" sni=a.test"#,
            "leaf-expired of client",
        ),
        (
            r#"haproxy[1]: Server be/s1 is DOWN, reason: Layer6 invalid response, info: "SSL handshake failure (Connection refused)""#,
            "connection-refused of server",
        ),
    ]);
}

#[test]
fn lines_of_apache() {
    check_all(&[
        (
            "[Wed May 01 10:00:00 2024] [ssl:error] [pid 1] [client 1.1.1.1:1] AH02039: Certificate Verification: Error (20): unable to get local issuer certificate",
            "client-ca-not-trusted of client",
        ),
        (
            "[Wed May 01 10:00:00 2024] [ssl:info] [pid 1] [client 1.1.1.1:1] AH02276: Certificate Verification: Error (10): certificate has expired [subject: CN=alice / issuer: CN=CA / serial: 01 / notbefore: Jan  1 00:00:00 2020 GMT / notafter: Jan  1 00:00:00 2021 GMT]",
            "leaf-expired of client",
        ),
        (
            "[Wed May 01 10:00:00 2024] [ssl:info] [pid 1] SSL Library Error: error:1417C0C7:SSL routines:tls_process_client_certificate:peer did not return a certificate -- No CAs known to server for verification?",
            "client-cert-not-sent of client",
        ),
        (
            "[Wed May 01 10:00:00 2024] [ssl:info] [pid 1] SSL Library Error: error:14094416:SSL routines:ssl3_read_bytes:sslv3 alert certificate unknown (SSL alert number 46)",
            "client-ca-not-trusted of either",
        ),
        (
            "[Wed May 01 10:00:00 2024] [ssl:error] AH: verify client post handshake, SSL Library Error: error:14268117:SSL routines:SSL_verify_client_post_handshake:extension not received",
            "post-handshake-auth-unavailable of either",
        ),
        (
            "[ssl:emerg] [pid 1] AH02565: Certificate and private key a:443:0 from /etc/a.crt and /etc/a.key do not match",
            "key-cert-mismatch of either",
        ),
        (
            "[ssl:error] AH02032: Hostname a.test provided via SNI and hostname b.test provided via HTTP have no compatible SSL setup",
            "sni-host-mismatch of client",
        ),
        (
            "AH01909: a.test:443:0 server certificate does NOT include an ID which matches the server name",
            "none",
        ),
        ("421 Misdirected Request", "sni-host-mismatch of client"),
    ]);
}

#[test]
fn lines_of_envoy() {
    check_all(&[
        (
            "[2024-05-01 10:00:00.000][1][debug][connection] [source/common/tls/ssl_socket.cc:226] [C1] remote address:10.0.0.1:443,TLS_error:|268435581:SSL routines:OPENSSL_internal:CERTIFICATE_VERIFY_FAILED:verify cert failed: X509_verify_cert: certificate verification error at depth 0: certificate has expired:TLS_error_end",
            "leaf-expired of server",
        ),
        (
            r#""downstream_transport_failure_reason":"TLS_error:|268435655:SSL routines:OPENSSL_internal:PEER_DID_NOT_RETURN_A_CERTIFICATE:TLS_error_end""#,
            "client-cert-not-sent of client",
        ),
        (
            "transport failure reason: TLS_error:|268435581:SSL routines:OPENSSL_internal:CERTIFICATE_VERIFY_FAILED:verify cert failed: SAN matcher, certificate SANs are [spiffe://cluster.local/ns/a/sa/b]",
            "name-mismatch of server",
        ),
        ("RBAC: access denied", "identity-not-allowed of either"),
        (
            "error initializing configuration '/etc/envoy/envoy.json': Failed to load private key from /etc/envoy/certs/serverkey.pem",
            "key-cert-mismatch of either",
        ),
    ]);
}

#[test]
fn lines_of_grpc() {
    check_all(&[
        (
            "grpc: Handshake failed with fatal error SSL_ERROR_SSL: error:10000086... error:100000f7:SSL routines:OPENSSL_internal:WRONG_VERSION_NUMBER.",
            "peer-not-tls of either",
        ),
        (
            "E0000 ssl_transport_security.cc:1446] Handshake failed with fatal error SSL_ERROR_SSL: error:1000007d:SSL routines:OPENSSL_internal:CERTIFICATE_VERIFY_FAILED: unable to get local issuer certificate.",
            "server-ca-not-trusted of either",
        ),
        (
            "E0000 ssl_transport_security.cc:1446] Handshake failed with fatal error SSL_ERROR_SSL: error:100000c0:SSL routines:OPENSSL_internal:PEER_DID_NOT_RETURN_A_CERTIFICATE.",
            "client-cert-not-sent of client",
        ),
    ]);
}
