//! One line each, product by product.

use super::*;

fn check_all(lines: &[(&str, &str)]) {
    for (line, expected) in lines {
        check(line, expected);
    }
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
            "mysql: ERROR 2026 (HY000): SSL connection error: error:0A000086:SSL routines::certificate verify failed",
            "server-ca-not-trusted of server",
        ),
        (
            "ERROR 2026 (HY000): SSL connection error: tlsv1 alert unknown ca",
            "client-ca-not-trusted of client",
        ),
        (
            r#"{"t":{"$date":"2024-05-01T10:00:00.000+00:00"},"s":"E","c":"NETWORK","id":23255,"ctx":"conn1","msg":"SSL peer certificate validation failed","attr":{"reason":"SSL peer certificate validation failed: self signed certificate in certificate chain"}}"#,
            "server-ca-not-trusted of either",
        ),
        (
            r#""msg":"No SSL certificate provided by peer; connection rejected""#,
            "client-cert-not-sent of client",
        ),
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
fn lines_of_go_certificates() {
    check_all(&[
        (
            "x509: certificate signed by unknown authority",
            "server-ca-not-trusted of either",
        ),
        (
            r#"Get "https://a.test/": x509: certificate has expired or is not yet valid: current time 2024-05-01T10:00:00Z is after 2024-04-01T00:00:00Z"#,
            "leaf-expired of server",
        ),
        (
            r#"Get "https://a.test/": x509: certificate has expired or is not yet valid: current time 1970-01-01T00:01:00Z is before 2024-04-01T00:00:00Z"#,
            "clock-skew-local of either",
        ),
        (
            r#"Get "https://a.test/": x509: certificate has expired or is not yet valid: current time 2024-03-31T23:58:00Z is before 2024-04-01T00:00:00Z"#,
            "not-yet-valid of server",
        ),
        (
            "2024/05/01 10:00:00 http: TLS handshake error from 10.0.0.1:4444: tls: failed to verify certificate: x509: certificate signed by unknown authority",
            "client-ca-not-trusted of client",
        ),
        (
            "2024/05/01 10:00:00 http: TLS handshake error from 10.0.0.1:4444: tls: failed to verify client's certificate: x509: certificate specifies an incompatible key usage",
            "eku-missing-clientauth of client",
        ),
        (
            "2024/05/01 10:00:00 http: TLS handshake error from 10.0.0.1:4444: tls: failed to verify client certificate: x509: certificate specifies an incompatible key usage",
            "eku-missing-clientauth of client",
        ),
        (
            r#"Get "https://10.1.2.3/": x509: cannot validate certificate for 10.1.2.3 because it doesn't contain any IP SANs"#,
            "ip-san-missing of server",
        ),
        (
            r#"Get "https://a.b.example.com/": x509: certificate is valid for *.example.com, example.com, not a.b.example.com"#,
            "wildcard-mismatch of server",
        ),
        (
            r#"Get "https://foo/": x509: certificate is valid for ingress.local, not foo"#,
            "sni-selects-wrong-vhost of server",
        ),
        (
            r#"Get "https://foo/": x509: certificate relies on legacy Common Name field, use SANs instead"#,
            "san-missing of server",
        ),
        (
            r#"Error response from daemon: Get "https://registry/v2/": x509: certificate signed by unknown authority"#,
            "server-ca-not-trusted of server",
        ),
        (
            r#"{"level":"warn","msg":"rejected connection","error":"tls: failed to verify certificate: x509: certificate signed by unknown authority"}"#,
            "client-ca-not-trusted of client",
        ),
        (
            "x509: certificate is valid for 10.96.0.1, 192.168.1.10, not 10.0.0.5",
            "ip-san-missing of server",
        ),
        (
            "x509: certificate is valid for kubernetes, kubernetes.default, not foo.svc",
            "name-mismatch of server",
        ),
        (
            "x509: certificate has expired or is not yet valid:",
            "leaf-expired of either",
        ),
        (
            r#"time="2024" level=error msg="failed to verify client certificate" error="x509: certificate signed by unknown authority""#,
            "client-ca-not-trusted of client",
        ),
    ]);
}

#[test]
fn lines_of_go_handshakes() {
    check_all(&[
        (
            "2024/05/01 10:00:00 http: TLS handshake error from 10.0.0.1:4444: remote error: tls: bad certificate",
            "server-ca-not-trusted of server",
        ),
        (
            "2024/05/01 10:00:00 http: TLS handshake error from 10.0.0.1:4444: tls: client didn't provide a certificate",
            "client-cert-not-sent of client",
        ),
        (
            "2024/05/01 10:00:00 http: TLS handshake error from 10.0.0.1:4444: tls: first record does not look like a TLS handshake",
            "plain-http-to-tls-port of client",
        ),
        (
            "2024/05/01 10:00:00 http: TLS handshake error from 10.0.0.1:4444: tls: client offered only unsupported versions: [302 301]",
            "tls-version-mismatch of either",
        ),
        (
            r#"Post "https://a/": remote error: tls: certificate required"#,
            "client-cert-not-sent of client",
        ),
        (
            r#"rpc error: code = Unavailable desc = connection error: desc = "transport: authentication handshake failed: tls: first record does not look like a TLS handshake""#,
            "peer-not-tls of server",
        ),
        (
            r#"rpc error: code = Unavailable desc = connection error: desc = "transport: authentication handshake failed: remote error: tls: bad certificate""#,
            "client-ca-not-trusted of client",
        ),
        (
            r#"{"level":"warn","msg":"rejected connection on client endpoint","remote-addr":"10.0.0.1:1","server-name":"","error":"remote error: tls: bad certificate"}"#,
            "server-ca-not-trusted of server",
        ),
        (
            r#"TLS setup failed {"error": "Error loading cert=/tmp/tls.crt key=/tmp/tls.key: tls: failed to find certificate PEM data in certificate input, but did find a private key; PEM inputs may have been switched" ..."#,
            "files-swapped of either",
        ),
        (
            "load key-pair error: tls: found a certificate rather than a key in the PEM for the private key",
            "files-swapped of either",
        ),
        (
            r#"tls: failed to find "CERTIFICATE" PEM block in certificate input after skipping PEM blocks of the following types: [CERTIFICATE REQUEST]"#,
            "file-is-csr of either",
        ),
        (
            "tls: private key does not match public key",
            "key-cert-mismatch of either",
        ),
        (
            "ldap_start_tls: Connect error (-11) additional info: error:0A000086:SSL routines::certificate verify failed (self-signed certificate in certificate chain)",
            "server-ca-not-trusted of server",
        ),
        (
            "[GIN-debug] http: TLS handshake error from 127.0.0.1:1: remote error: tls: unknown certificate authority",
            "server-ca-not-trusted of server",
        ),
        (
            "tls: oversized record received with length 20527",
            "peer-not-tls of either",
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
fn lines_of_java() {
    check_all(&[
        (
            "javax.net.ssl.SSLHandshakeException: PKIX path building failed: sun.security.provider.certpath.SunCertPathBuilderException: unable to find valid certification path to requested target",
            "server-ca-not-trusted of either",
        ),
        (
            "javax.net.ssl.SSLHandshakeException: Received fatal alert: certificate_unknown",
            "client-ca-not-trusted of either",
        ),
        (
            "javax.net.ssl.SSLHandshakeException: Received fatal alert: bad_certificate",
            "client-ca-not-trusted of either",
        ),
        (
            "javax.net.ssl.SSLHandshakeException: Received fatal alert: handshake_failure",
            "client-cert-not-sent of either",
        ),
        (
            "javax.net.ssl.SSLHandshakeException: No subject alternative names matching IP address 10.1.1.1 found",
            "ip-san-missing of server",
        ),
        (
            "javax.net.ssl.SSLHandshakeException: No subject alternative DNS name matching foo.example.com found.",
            "name-mismatch of server",
        ),
        (
            "javax.net.ssl.SSLException: Unsupported or unrecognized SSL message",
            "peer-not-tls of either",
        ),
        (
            "java.io.IOException: keystore password was incorrect",
            "key-password-wrong of either",
        ),
        (
            "java.security.InvalidAlgorithmParameterException: the trustAnchors parameter must be non-empty",
            "trust-bundle-empty of either",
        ),
        (
            "javax.net.ssl.SSLHandshakeException: Empty client certificate chain",
            "client-cert-not-sent of client",
        ),
        (
            "javax.net.ssl.SSLHandshakeException: null cert chain",
            "client-cert-not-sent of client",
        ),
        (
            "sun.security.validator.ValidatorException: Extended key usage does not permit use for TLS client authentication",
            "eku-missing-clientauth of client",
        ),
        (
            "https-jsse-nio-8222-exec-3, RECV TLSv1.2 ALERT:  fatal, bad_certificate",
            "client-ca-not-trusted of either",
        ),
        ("javax.net.ssl.SSLException: Tag mismatch!", "none"),
        (
            "java.security.cert.CertPathValidatorException: Path does not chain with any of the trust anchors",
            "server-ca-not-trusted of either",
        ),
        (
            "java.security.cert.CertificateException: No subject alternative names present",
            "ip-san-missing of server",
        ),
        (
            "java.security.UnrecoverableKeyException: Cannot recover key",
            "key-password-wrong of either",
        ),
        (
            "java.io.IOException: Invalid keystore format",
            "file-not-pem of either",
        ),
        (
            "Caused by: java.security.cert.CertificateExpiredException: NotAfter: Sat May 01 10:00:00 UTC 2021",
            "leaf-expired of either",
        ),
        (
            "Caused by: java.security.cert.CertPathValidatorException: Algorithm constraints check failed on signature algorithm: SHA1withRSA",
            "weak-signature of either",
        ),
        (
            "E  SSLHandshakeException: java.security.cert.CertPathValidatorException: Trust anchor for certification path not found.",
            "server-ca-not-trusted of either",
        ),
    ]);
}

#[test]
fn lines_of_kafka() {
    check_all(&[
        (
            "%3|1714550000.000|FAIL|rdkafka#producer-1| [thrd:ssl://b:9093/bootstrap]: ssl://b:9093/bootstrap: SSL handshake failed: error:0A000086:SSL routines::certificate verify failed: broker certificate could not be verified, verify that ssl.ca.location is correctly configured or root CA certificates are installed (install ca-certificates package) (after 5ms in state SSL_HANDSHAKE)",
            "server-ca-not-trusted of server",
        ),
        (
            "Connection to node -1 (localhost/127.0.0.1:9093) failed authentication due to: SSL handshake failed (org.apache.kafka.clients.NetworkClient)",
            "server-ca-not-trusted of either",
        ),
    ]);
}

#[test]
fn lines_of_kubernetes() {
    check_all(&[
        (
            r#"E0501 Unable to authenticate the request" err="[x509: certificate has expired or is not yet valid: current time 2024-05-01T10:00:00Z is after 2024-04-30T10:00:00Z, verifying certificate SN=1, SKID=, AKID= failed: x509: certificate has expired or is not yet valid: current time 2024-05-01T10:00:00Z is after 2024-04-30T10:00:00Z]""#,
            "leaf-expired of client",
        ),
        (
            r#"{"level":"warn","ts":"2025-06-16T09:22:28.579816Z","caller":"embed/config_logging.go:169","msg":"rejected connection","remote-addr":"[::1]:35480","server-name":"","error":"tls: failed to verify certificate: x509: certificate specifies an incompatible key usage"}"#,
            "eku-missing-clientauth of client",
        ),
        (
            r#"2018-03-07 22:36:51.136699 I | embed: rejected connection from "127.0.0.1:35160" (error "tls: failed to verify client's certificate: x509: certificate specifies an incompatible key usage", ServerName "")"#,
            "eku-missing-clientauth of client",
        ),
    ]);
}

#[test]
fn lines_of_nginx() {
    check_all(&[
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
fn lines_of_node() {
    check_all(&[
        (
            "Error: unable to verify the first certificate code: 'UNABLE_TO_VERIFY_LEAF_SIGNATURE'",
            "chain-missing-intermediate of either",
        ),
        (
            "Error: self-signed certificate code: 'DEPTH_ZERO_SELF_SIGNED_CERT'",
            "server-ca-not-trusted of either",
        ),
        (
            "Error [ERR_TLS_CERT_ALTNAME_INVALID]: Hostname/IP does not match certificate's altnames: Host: localhost. is not in the cert's altnames: DNS:example.com",
            "name-mismatch of server",
        ),
        (
            "Error [ERR_TLS_CERT_ALTNAME_INVALID]: Hostname/IP does not match certificate's altnames: IP: 127.0.0.1 is not in the cert's list:",
            "ip-san-missing of server",
        ),
        (
            "Error: write EPROTO 140735:error:1409442E:SSL routines:ssl3_read_bytes:tlsv1 alert protocol version:../deps/openssl/openssl/ssl/record/rec_layer_s3.c:1544:SSL alert number 70",
            "tls-version-mismatch of either",
        ),
        (
            "npm ERR! code SELF_SIGNED_CERT_IN_CHAIN",
            "server-ca-not-trusted of server",
        ),
        (
            "MongoServerSelectionError: unable to verify the first certificate",
            "chain-missing-intermediate of either",
        ),
        (
            "connect ECONNREFUSED 127.0.0.1:8443",
            "connection-refused of server",
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
fn lines_of_python() {
    check_all(&[
        (
            "requests.exceptions.SSLError: HTTPSConnectionPool(host='a', port=443): Max retries exceeded with url: / (Caused by SSLError(SSLCertVerificationError(1, '[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed: self-signed certificate in certificate chain (_ssl.c:1006)')))",
            "server-ca-not-trusted of server",
        ),
        (
            "ssl.SSLCertVerificationError: [SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed: Hostname mismatch, certificate is not valid for 'foo.test'. (_ssl.c:1129)",
            "name-mismatch of server",
        ),
        (
            "ssl.SSLCertVerificationError: [SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed: IP address mismatch, certificate is not valid for '10.0.0.1'. (_ssl.c:1129)",
            "ip-san-missing of server",
        ),
        (
            "ssl.SSLError: [SSL: TLSV13_ALERT_CERTIFICATE_REQUIRED] tlsv13 alert certificate required (_ssl.c:2580)",
            "client-cert-not-sent of client",
        ),
        (
            "ssl.SSLError: [SSL: TLSV1_ALERT_UNKNOWN_CA] tlsv1 alert unknown ca (_ssl.c:1131)",
            "client-ca-not-trusted of either",
        ),
        (
            "ssl.SSLError: [X509: KEY_VALUES_MISMATCH] key values mismatch (_ssl.c:4022)",
            "key-cert-mismatch of either",
        ),
        (
            "ssl.SSLError: [SSL] PEM lib (_ssl.c:4022)",
            "file-not-pem of either",
        ),
        (
            "ssl.SSLCertVerificationError: [SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed: Missing Authority Key Identifier (_ssl.c:1028)",
            "ca-extensions-incomplete of either",
        ),
        (
            "pip._vendor.urllib3: SSLError(SSLCertVerificationError(1, '[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed: unable to get local issuer certificate (_ssl.c:1007)'))",
            "server-ca-not-trusted of either",
        ),
        (
            r#"ERROR: SSLError("bad handshake: Error([('SSL routines', 'tls_process_server_certificate', 'certificate verify failed')])")"#,
            "server-ca-not-trusted of server",
        ),
        (
            "OpenSSL.SSL.Error: [('SSL routines', '', 'tlsv1 alert unknown ca')]",
            "client-ca-not-trusted of either",
        ),
        (
            "ssl.SSLError: [SSL: SSLV3_ALERT_CERTIFICATE_EXPIRED] sslv3 alert certificate expired (_ssl.c:2548)",
            "leaf-expired of either",
        ),
    ]);
}

#[test]
fn lines_of_rustls() {
    check_all(&[
        (
            "error sending request for url (https://a/): error trying to connect: invalid peer certificate: UnknownIssuer",
            "server-ca-not-trusted of server",
        ),
        (
            "hyper::Error(Connect, Custom { kind: InvalidData, error: InvalidCertificate(NotValidForName) })",
            "name-mismatch of server",
        ),
        (
            r#"hyper_util::client::legacy::Error(Connect, Custom { kind: UnexpectedEof, error: "tls handshake eof" })"#,
            "reset-before-server-hello of either",
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
