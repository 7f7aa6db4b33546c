//! Excerpts as people paste them: what stands around a message decides what it means.

use super::*;

#[test]
fn client_of_openssl_sees_what_is_missing() {
    check(
        "$ openssl s_client -connect a.test:443\nCONNECTED(00000003)\ndepth=0 CN = a.test\nverify error:num=20:unable to get local issuer certificate\nverify return:1\ndepth=0 CN = a.test\nverify error:num=21:unable to verify the first certificate\nverify return:1\n---\nCertificate chain\n 0 s:CN = a.test\n   i:CN = Issuing CA 1\n---\nVerify return code: 21 (unable to verify the first certificate)\n",
        "chain-missing-intermediate of server",
    );
    check(
        "CONNECTED(00000003)\ndepth=1 CN = Issuing CA 1\nverify error:num=20:unable to get local issuer certificate\nverify return:1\ndepth=0 CN = a.test\nverify return:1\nVerify return code: 20 (unable to get local issuer certificate)\n",
        "server-ca-not-trusted of server",
    );
}

#[test]
fn depth_tells_leaf_intermediate_and_root_apart() {
    check(
        "CONNECTED(00000003)\ndepth=0 CN = a.test\nverify error:num=10:certificate has expired\nnotAfter=May  1 10:00:00 2021 GMT\n",
        "leaf-expired of server",
    );
    check(
        "CONNECTED(00000003)\ndepth=1 C = US, O = Example, CN = Example CA 3\nverify error:num=10:certificate has expired\n",
        "intermediate-expired of server",
    );
    check(
        "CONNECTED(00000003)\ndepth=2 O = AddTrust AB, CN = AddTrust External CA Root\nverify error:num=10:certificate has expired\n",
        "root-expired of server",
    );
    check(
        "[C1] remote address:10.0.0.1:443,TLS_error:|268435581:SSL routines:OPENSSL_internal:CERTIFICATE_VERIFY_FAILED:verify cert failed: X509_verify_cert: certificate verification error at depth 1: certificate has expired:TLS_error_end",
        "intermediate-expired of server",
    );
}

#[test]
fn depth_of_a_line_that_went_well_does_not_stick() {
    check(
        "depth=1 CN = Root CA\nverify return:1\ndepth=0 CN = client\nverify return:1\n4057:error:0A0000C7:SSL routines:tls_process_client_certificate:peer did not return a certificate:../ssl/statem/statem_srvr.c:3517:\n",
        "client-cert-not-sent of client",
    );
    let log = "depth=1 CN = Root CA\nverify return:1\nsomething else\nverify error: certificate has expired\n";
    check(log, "leaf-expired of either");
}

#[test]
fn number_alone_is_read_by_the_table() {
    check(
        "Verify return code: 10 (certificate expired, in another language)",
        "leaf-expired of either",
    );
    check(
        "error 22 at 3 depth lookup: Zertifikatskette zu lang",
        "verify-depth-too-small of either",
    );
    check("verify error:num=999:something new", "none");
    check("Verify return code: 0 (in Ordnung)", "none");
}

#[test]
fn server_that_is_its_own_client_shows_the_exact_cause() {
    check(
        "2020-03-27 17:07:49.681923 I | embed: rejected connection from \"127.0.0.1:53984\" (error \"tls: failed to verify client's certificate: x509: certificate specifies an incompatible key usage\", ServerName \"\")\nWARNING: 2020/03/27 17:07:49 grpc: addrConn.createTransport failed to connect to {127.0.0.1:2379 0  <nil>}. Err :connection error: desc = \"transport: authentication handshake failed: remote error: tls: bad certificate\". Reconnecting...\n",
        "eku-missing-clientauth of client",
    );
}

#[test]
fn alert_of_curl_accuses_the_client() {
    check(
        "* TLSv1.3 (OUT), TLS handshake, Finished (20):\n* SSL connection using TLSv1.3 / TLS_AES_256_GCM_SHA384\n* Server certificate:\n*  subject: CN=a.test\n*  SSL certificate verify ok.\n* TLSv1.3 (IN), TLS alert, bad certificate (554):\n* OpenSSL SSL_read: OpenSSL/3.0.13: error:0A000412:SSL routines::sslv3 alert bad certificate, errno 0\ncurl: (56) OpenSSL SSL_read: OpenSSL/3.0.13: error:0A000412:SSL routines::sslv3 alert bad certificate, errno 0\n",
        "client-ca-not-trusted of client",
    );
    check(
        "* TLSv1.3 (IN), TLS alert, unknown (628):\ncurl: (56) OpenSSL SSL_read: error:0A00045C:SSL routines::tlsv13 alert certificate required, errno 0\n",
        "client-cert-not-sent of client",
    );
}

#[test]
fn stack_of_java_tells_the_side() {
    let trace = |end: &str| {
        format!(
            "org.apache.kafka.common.errors.SslAuthenticationException: SSL handshake failed\nCaused by: javax.net.ssl.SSLHandshakeException: PKIX path building failed: sun.security.provider.certpath.SunCertPathBuilderException: unable to find valid certification path to requested target\n\tat java.base/sun.security.ssl.Alert.createSSLException(Alert.java:131)\n\tat java.base/sun.security.ssl.TransportContext.fatal(TransportContext.java:369)\n\tat java.base/sun.security.ssl.CertificateMessage$T12CertificateConsumer.{end}(CertificateMessage.java:654)\n"
        )
    };
    check(
        &trace("checkServerCerts"),
        "server-ca-not-trusted of server",
    );
    check(
        &trace("checkClientCerts"),
        "client-ca-not-trusted of client",
    );
}

#[test]
fn cause_behind_a_java_exception_is_heard() {
    check(
        "javax.net.ssl.SSLHandshakeException: PKIX path validation failed: java.security.cert.CertPathValidatorException: validity check failed\n\tat java.base/sun.security.ssl.CertificateMessage$T13CertificateConsumer.checkServerCerts(CertificateMessage.java:1357)\nCaused by: java.security.cert.CertPathValidatorException: validity check failed\nCaused by: java.security.cert.CertificateExpiredException: NotAfter: Thu Sep 30 14:01:15 GMT 2021\n",
        "leaf-expired of server",
    );
}

#[test]
fn clock_that_disagrees_with_the_log_is_suspected() {
    check(
        "2024-05-01T10:00:00Z collector: Get \"https://a.test/\": x509: certificate has expired or is not yet valid: current time 2031-01-01T00:00:00Z is after 2025-01-01T00:00:00Z",
        "clock-skew-local of either",
    );
    check(
        "2024-05-01T10:00:00+05:30 app: Get \"https://a.test/\": x509: certificate has expired or is not yet valid: current time 2024-05-01T04:30:00Z is after 2024-04-01T00:00:00Z",
        "leaf-expired of server",
    );
}

#[test]
fn fault_at_start_comes_before_what_follows_from_it() {
    check(
        "connect() failed (111: Connection refused) while connecting to upstream\nnginx: [emerg] SSL_CTX_use_PrivateKey(\"/etc/a.key\") failed (SSL: error:05800074:x509 certificate routines::key values mismatch)\n",
        "key-cert-mismatch of either",
    );
    check(
        "curl: (7) Failed to connect to a.test port 443: Connection refused\ncurl: (60) SSL certificate problem: certificate has expired\n",
        "leaf-expired of server",
    );
}

#[test]
fn nginx_tells_its_two_sides_apart() {
    let line = |end: &str| {
        format!(
            "2024/05/01 10:00:00 [error] 7#7: *1 SSL_do_handshake() failed (SSL: error:0A000418:SSL routines::tlsv1 alert unknown ca:SSL alert number 48) while SSL handshaking{end}"
        )
    };
    check(
        &line(", client: 10.0.0.1, server: 0.0.0.0:443"),
        "server-ca-not-trusted of server",
    );
    check(
        &line(" to upstream, client: 10.0.0.1, server: a.test"),
        "client-ca-not-trusted of client",
    );
}

#[test]
fn neighbour_tells_the_side_of_a_line_that_does_not() {
    check(
        "mosquitto version 2.0.18 starting\nOpening ipv4 listen socket on port 8883.\n1714550000: New connection from 10.0.0.1:4444 on port 8883.\nerror:0A000418:SSL routines::tlsv1 alert unknown ca\n",
        "server-ca-not-trusted of server",
    );
}

#[test]
fn colours_and_escaped_quotes_do_not_hide_a_message() {
    check(
        "\u{1b}[31mERROR\u{1b}[0m x509: certificate signed \u{1b}[1mby unknown authority\u{1b}[0m dial tcp",
        "server-ca-not-trusted of server",
    );
    check(
        r#"{"msg":"x509: certificate signed by unknown authority (possibly because of \"crypto/rsa: verification error\" while trying to verify candidate authority certificate \"CA\")"}"#,
        "same-name-different-key-ca of either",
    );
}

#[test]
fn countersign_names_its_causes_itself() {
    for cause in Cause::ALL {
        let log = format!(
            "{{\"level\":\"WARN\",\"fields\":{{\"message\":\"refused\",\"cause\":\"{cause}\"}}}}"
        );
        let expected = if *cause == Cause::Healthy {
            "none".to_owned()
        } else {
            format!("{cause} of either")
        };
        check(&log, &expected);
    }
    check(" cause=\"no-such-cause\"", "none");
    check(
        "WARN refusal: refused cause=\"crl-expired\" count=2",
        "crl-expired of either",
    );
    check("failed: cause=timeout ", "none");
}

#[test]
fn lines_are_counted_and_the_message_quotes_what_was_captured() {
    let log = "x\nGet \"https://a.b.example.com/\": x509: certificate is valid for *.example.com, not a.b.example.com\n".repeat(3);
    let reading = read(log.as_bytes());
    let first = &reading.candidates[0];
    assert_eq!((first.line_number, first.count, reading.lines), (2, 3, 6));
    assert_eq!(first.cause, Cause::WildcardMismatch);
    assert_eq!(
        first.message,
        "the name that the client connects to is not in the server's certificate (names *.example.com; host a.b.example.com)"
    );
    assert!(first.confirm.contains("subjectAltName"));
    assert_eq!(first.source, "go src/crypto/x509/verify.go");
}

#[test]
fn every_cause_that_a_log_shows_has_a_message() {
    let never = [
        Cause::Healthy,
        Cause::ClientAuthNotEnforced,
        Cause::PlaintextAlsoAccepted,
        Cause::ServerNotReloaded,
        Cause::StalePooledConnection,
        Cause::ResumptionSkipsCheck,
        Cause::RevocationNotChecked,
        Cause::IdentityHeaderSpoofable,
    ];
    let own = [
        Cause::RequestNotAllowed,
        Cause::TokenNotAllowed,
        Cause::TokenMissing,
        Cause::TokenInvalid,
        Cause::TokenExpired,
        Cause::TokenTimesNotAllowed,
        Cause::TokenWrongAudience,
        Cause::TokenNotBoundToCertificate,
        Cause::TokenKeysUnavailable,
        Cause::ApiKeyMissing,
        Cause::ApiKeyUnknown,
        Cause::ApiKeyOfAnother,
        Cause::ApiKeyNotAllowed,
        Cause::TrustDataStale,
        Cause::BreakGlassShut,
        Cause::TooManyPending,
        Cause::ProxyHeaderUntrusted,
    ];
    let mut shown: BTreeSet<Cause> = BTreeSet::from([Cause::WildcardMismatch]);
    for (_, row) in tables::rows() {
        if let Tells::Fault(meaning) = row.tells {
            let above = meaning.above.map_or(&[][..], |above| above.client);
            shown.extend(
                [meaning.client, meaning.server, above]
                    .concat()
                    .iter()
                    .map(|guess| guess.cause),
            );
        }
    }
    for cause in Cause::ALL {
        let is_elsewhere = never.contains(cause) || own.contains(cause);
        assert_eq!(shown.contains(cause), !is_elsewhere, "{cause}");
    }
}
