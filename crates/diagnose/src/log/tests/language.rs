//! What programs of many languages say, a line each.

use super::*;

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
