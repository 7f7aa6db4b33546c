//! Libraries, clients and databases, a line each.

use super::*;

#[test]
fn lines_of_curl() {
    check_all(&[
        (
            "curl: (60) SSL certificate problem: unable to get local issuer certificate",
            "server-ca-not-trusted of server",
        ),
        (
            "curl: (60) SSL certificate problem: self-signed certificate",
            "server-ca-not-trusted of server",
        ),
        (
            "curl: (60) SSL: no alternative certificate subject name matches target host name 'foo'",
            "name-mismatch of server",
        ),
        (
            "curl: (35) error:14094412:SSL routines:ssl3_read_bytes:sslv3 alert bad certificate",
            "client-ca-not-trusted of client",
        ),
        (
            "curl: (56) OpenSSL SSL_read: error:0A00045C:SSL routines::tlsv13 alert certificate required, errno 0",
            "client-cert-not-sent of client",
        ),
        (
            "curl: (56) OpenSSL SSL_read: OpenSSL/3.0.2: error:0A000418:SSL routines::tlsv1 alert unknown ca, errno 0",
            "client-ca-not-trusted of client",
        ),
        (
            "curl: (58) could not load PEM client certificate from a.pem, OpenSSL error error:0909006C:PEM routines:get_name:no start line, (no key found, wrong pass phrase, or wrong file format?)",
            "file-not-pem of either",
        ),
        (
            "curl: (58) unable to set private key file: 'a.key' type PEM",
            "key-cert-mismatch of either",
        ),
        (
            "curl: (35) error:0A00010B:SSL routines::wrong version number",
            "peer-not-tls of server",
        ),
        (
            "curl: (35) OpenSSL SSL_connect: Connection reset by peer in connection to a:443",
            "reset-before-server-hello of either",
        ),
        (
            "curl: (7) Failed to connect to localhost port 443: Connection refused",
            "connection-refused of server",
        ),
        (
            "curl: (6) Could not resolve host: foo.invalid",
            "name-not-resolved of either",
        ),
        (
            "curl: (52) Empty reply from server",
            "plain-http-to-tls-port of client",
        ),
        (
            "* TLSv1.3 (IN), TLS alert, bad certificate (554):",
            "client-ca-not-trusted of client",
        ),
        (
            "fatal: unable to access 'https://git.example.com/a.git/': SSL certificate problem: self signed certificate in certificate chain",
            "server-ca-not-trusted of server",
        ),
        (
            "fatal: unable to access 'https://git.example.com/a.git/': server certificate verification failed. CAfile: none CRLfile: none",
            "server-ca-not-trusted of server",
        ),
        (
            "curl: (58) could not load PEM client certificate from a.crt, OpenSSL error error:0909006C:PEM routines:get_name:no start line",
            "file-not-pem of either",
        ),
    ]);
}

#[test]
fn lines_of_databases() {
    check_all(&[
        (
            "E  NETWORK  [conn25854] SSL peer certificate validation failed: unsupported certificate purpose\nI  NETWORK  [conn25854] Error receiving request from client: SSLHandshakeFailed: SSL peer certificate validation failed: unsupported certificate purpose. Ending connection from 10.120.8.127:58220",
            "eku-missing-clientauth of client",
        ),
        (
            "E NETWORK [ReplicaSetMonitor-TaskExecutor] SSL peer certificate validation failed: unsupported certificate purpose",
            "eku-missing-serverauth of either",
        ),
        (
            "mysql: ERROR 2026 (HY000): SSL connection error: error:0A000086:SSL routines::certificate verify failed",
            "server-ca-not-trusted of server",
        ),
        (
            "ERROR 2026 (HY000): SSL connection error: tlsv1 alert unknown ca",
            "client-ca-not-trusted of client",
        ),
        (
            r#"{"t":{"$date":"2024-05-01T10:00:00.000+00:00"},"s":"E","c":"NETWORK","id":23255,"ctx":"conn1","msg":"SSL peer certificate validation failed","attr":{"reason":"SSL peer certificate validation failed: self signed certificate in certificate chain"}}"#,
            "client-ca-not-trusted of client",
        ),
        (
            r#""msg":"No SSL certificate provided by peer; connection rejected""#,
            "client-cert-not-sent of client",
        ),
    ]);
}

#[test]
fn lines_of_gnutls_and_openvpn() {
    check_all(&[
        (
            "*** Fatal error: A TLS fatal alert has been received. *** Received alert [116]: Certificate is required",
            "client-cert-not-sent of client",
        ),
        (
            "- Status: The certificate is NOT trusted. The certificate issuer is unknown.",
            "server-ca-not-trusted of either",
        ),
        (
            "VERIFY ERROR: depth=0, error=unable to get local issuer certificate: CN=server",
            "server-ca-not-trusted of either",
        ),
        (
            "VERIFY ERROR: depth=1, error=certificate has expired: CN=CA",
            "intermediate-expired of either",
        ),
        (
            "LOG4: CERT: Pre-verification error: certificate revoked",
            "certificate-revoked of either",
        ),
        (
            "ERROR: cannot verify localhost's certificate, issued by ‘CN=Test CA’:",
            "server-ca-not-trusted of either",
        ),
        (
            "Unable to locally verify the issuer's authority.",
            "server-ca-not-trusted of either",
        ),
        (
            "ERROR: An error occurred: could not load PEM client certificate, OpenSSL error error:02001002:system library:fopen:No such file or directory",
            "file-missing of either",
        ),
    ]);
}

#[test]
fn lines_of_others() {
    check_all(&[
        (
            "2024/05/01 10:00:00 http: TLS handshake error from 10.0.0.1:4444: EOF",
            "client-closed-early of client",
        ),
        (
            "Error: error:0B080074:x509 certificate routines:X509_check_private_key:key values mismatch",
            "key-cert-mismatch of either",
        ),
        (
            "2024/05/01 10:00:00 error on TLS handshake from 10.0.0.1:4444: unauthorized: invalid principal, or principal not allowed",
            "identity-not-allowed of client",
        ),
        (
            "OpenSSL Error[0]: error:0A000418:SSL routines::tlsv1 alert unknown ca",
            "client-ca-not-trusted of either",
        ),
        (
            "1714550000: OpenSSL Error[0]: error:140890C7:SSL routines:ssl3_get_client_certificate:peer did not return a certificate",
            "client-cert-not-sent of client",
        ),
        (
            "The remote certificate is invalid because of errors in the certificate chain: UntrustedRoot",
            "server-ca-not-trusted of either",
        ),
        (
            "The SSL connection could not be established, see inner exception. ---> System.Security.Authentication.AuthenticationException: The remote certificate is invalid according to the validation procedure: RemoteCertificateNameMismatch, RemoteCertificateChainErrors",
            "server-ca-not-trusted of server",
        ),
        (
            "TLS server: In state wait_cert_cr at ssl_handshake.erl:2113 generated SERVER ALERT: Fatal - Unknown CA",
            "client-ca-not-trusted of client",
        ),
        (
            "SSL_connect returned=1 errno=0 peeraddr=1.1.1.1:443 state=error: certificate verify failed (unable to get local issuer certificate)",
            "server-ca-not-trusted of server",
        ),
        (
            "40E74B9CFF7E0000:error:0308010C:digital envelope routines:inner_evp_generic_fetch:unsupported:../crypto/evp/evp_fetch.c:349:Global default library context, Algorithm (RC2-40-CBC : 0), Properties ()",
            "pkcs12-legacy of either",
        ),
        (
            "Error: error:0308010C:digital envelope routines::unsupported",
            "none",
        ),
        (
            "Schannel: A fatal alert was received from the remote endpoint. The TLS protocol defined fatal alert code is 48.",
            "client-ca-not-trusted of either",
        ),
        (
            "tls_process_client_hello:no shared cipher",
            "no-shared-cipher of either",
        ),
        (
            "kex_exchange_identification: read: Connection reset by peer",
            "none",
        ),
        ("Jan 23 kernel: audit: session expired for user", "none"),
        (
            "warning: TLS library problem: error:0A000418:SSL routines::tlsv1 alert unknown ca:../ssl/record/rec_layer_s3.c:1586:SSL alert number 48:",
            "client-ca-not-trusted of either",
        ),
        (
            "imap-login: Disconnected: TLS: SSL_accept() failed: error:0A000416:SSL routines::sslv3 alert certificate unknown: SSL alert number 46",
            "server-ca-not-trusted of server",
        ),
        (
            "unable to load PKCS12: mac verify failure error:11800071:PKCS12 routines::mac verify failure",
            "key-password-wrong of either",
        ),
    ]);
}

#[test]
fn lines_of_postgresql() {
    check_all(&[
        (
            r#"psql: error: connection to server at "a" (10.0.0.1), port 5432 failed: SSL error: certificate verify failed"#,
            "server-ca-not-trusted of server",
        ),
        (
            r#"psql: error: connection to server at "a", port 5432 failed: FATAL:  connection requires a valid client certificate"#,
            "client-cert-not-sent of client",
        ),
        (
            r#"psql: error: FATAL:  certificate authentication failed for user "bob""#,
            "identity-not-allowed of client",
        ),
        (
            r#"psql: error: connection to server at "a" (10.0.0.1), port 5432 failed: private key file "/root/.postgresql/postgresql.key" has group or world access; file must have permissions u=rw (0600) or less if owned by the current user, or permissions u=rw,g=r (0640) or less if owned by root"#,
            "key-permissions of either",
        ),
        (
            r#"psql: error: server certificate for "db.internal" does not match host name "10.0.0.1""#,
            "ip-san-missing of server",
        ),
        (
            "LOG:  could not accept SSL connection: tlsv1 alert unknown ca",
            "server-ca-not-trusted of server",
        ),
        (
            "LOG:  could not accept SSL connection: certificate verify failed DETAIL:  Client certificate verification failed at depth 0: certificate has expired.",
            "leaf-expired of client",
        ),
        (
            "pq: private key file has group or world access. Permissions should be u=rw (0600) or less",
            "key-permissions of either",
        ),
    ]);
}

#[test]
fn lines_of_verify() {
    check_all(&[
        (
            "error 20 at 0 depth lookup: unable to get local issuer certificate",
            "server-ca-not-trusted of either",
        ),
        (
            "error 10 at 1 depth lookup: certificate has expired",
            "intermediate-expired of either",
        ),
        (
            "openssl verify: error 2 at 1 depth lookup: unable to get issuer certificate",
            "trust-anchor-is-intermediate of either",
        ),
        (
            "error 24 at 1 depth lookup: invalid CA certificate",
            "issuer-not-a-ca of either",
        ),
        (
            "error 79 at 1 depth lookup: invalid CA certificate",
            "issuer-not-a-ca of either",
        ),
        (
            "error 26 at 1 depth lookup: unsupported certificate purpose",
            "issuer-eku-excludes-purpose of either",
        ),
        (
            "error 25 at 1 depth lookup: path length constraint exceeded",
            "pathlen-exceeded of either",
        ),
        (
            "error 32 at 1 depth lookup:key usage does not include certificate signing",
            "issuer-cannot-sign of either",
        ),
        (
            "error 47 at 0 depth lookup: permitted subtree violation",
            "name-constraints-violated of either",
        ),
        (
            "error 7 at 0 depth lookup: certificate signature failure",
            "same-name-different-key-ca of either",
        ),
        (
            "error 30 at 0 depth lookup: authority and subject key identifier mismatch",
            "aki-mismatch of either",
        ),
        (
            "error 68 at 0 depth lookup: CA signature digest algorithm too weak",
            "weak-signature of either",
        ),
        (
            "error 66 at 0 depth lookup: EE certificate key too weak",
            "weak-key of either",
        ),
    ]);
}

#[test]
fn lines_of_programs_met_less_often() {
    check_all(&[
        (
            "org.bouncycastle.tls.TlsFatalAlertReceived: certificate_unknown(46)",
            "client-ca-not-trusted of either",
        ),
        (
            "client did not trust this server's certificate, closing connection Netty4TcpChannel",
            "server-ca-not-trusted of server",
        ),
        (
            "stream_socket_enable_crypto(): Peer certificate CN=`a.test' did not match expected CN=`b.test'",
            "name-mismatch of server",
        ),
        (
            "ssl_client_socket_impl.cc(970)] handshake failed; returned -1, SSL error code 1, net_error -202",
            "server-ca-not-trusted of either",
        ),
        (
            "Failed to verify client's certificate: x509: certificate specifies an incompatible key usage",
            "eku-missing-clientauth of client",
        ),
        (
            "VERIFY ERROR: depth=0, error=CRL has expired: CN=client\nOpenSSL: error:140890B2:SSL routines:SSL3_GET_CLIENT_CERTIFICATE:no certificate returned",
            "crl-expired of either",
        ),
        (
            "socket.receive Invalid receive (size = 369295617 larger than 104857600)",
            "peer-not-tls of server",
        ),
        (
            "No certificate matches private key",
            "key-cert-mismatch of either",
        ),
        (
            "SSL peer cannot verify your certificate",
            "client-ca-not-trusted of either",
        ),
    ]);
}

#[test]
fn lines_of_log_shippers_brokers_and_registries() {
    check_all(&[
        (
            "[2019/08/27 16:46:29] [error] [io_tls] flb_io_tls.c:348 X509 - Certificate verification failed, e.g. CRL, CA or signature check",
            "server-ca-not-trusted of either",
        ),
        (
            "level=fatal msg=\"crypto/tls: failed to parse key PEM data\"",
            "file-not-pem of either",
        ),
        (
            "failed to load server cert and key: tls: failed to parse private key",
            "key-encrypted of either",
        ),
        (
            "OpenSSL Error: error:1408F10B:SSL routines:ssl3_get_record:wrong version number\nSocket error on client <unknown>, disconnecting.",
            "plain-http-to-tls-port of client",
        ),
        (
            "OpenSSL Error: error:1408F10B:SSL routines:ssl3_get_record:wrong version number",
            "peer-not-tls of either",
        ),
    ]);
}
