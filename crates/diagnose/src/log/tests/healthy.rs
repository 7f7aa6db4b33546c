//! Lines that look like faults and are none.

use super::*;

#[test]
fn healthy_lines_give_nothing() {
    for line in [
        "*  SSL certificate verify ok.",
        "    Verify return code: 0 (ok)",
        "Verification: OK",
        "depth=1 CN = Example Root\nverify return:1\ndepth=0 CN = localhost\nverify return:1",
        "*  SSL certificate verify result: unable to get local issuer certificate (20), continuing anyway.",
        "2026/11/23 10:00:00 [debug] 12#12: *1 verify:1, error:0, depth:0, subject:\"/CN=client\", issuer:\"/CN=ca\"",
        "the session has expired",
        "token has expired",
        "cache entry expired, certificate renewed",
        "JWT expired at 2024-01-01T00:00:00Z",
        "SSL: TLSv1.3, cipher: \"TLS_AES_256_GCM_SHA384\"",
        "- Status: The certificate is trusted.",
        "- Handshake was completed",
        "<165> GET /revoked HTTP/1.1 200",
        "renewed certificate, expires in 30 days",
        "level=info msg=\"TLS is enabled.\" http2=true",
        "msg=\"client certificate accepted\" cn=alice",
        "VERIFY OK: depth=0, CN=server",
        "CERT: Certificate accepted at depth=0: CN=client",
        "New, TLSv1.3, Cipher is TLS_AES_256_GCM_SHA384",
        "{\"cause\": \"healthy\", \"sentence\": \"Both sides would accept each other.\"}",
        "ssl_client_verify=SUCCESS",
        "\"ssl_c_err\": 0, \"ssl_c_verify\": 0",
        "no peer errors; alerts: 0",
        "0 connections refused",
        "SSL handshake has read 3512 bytes and written 391 bytes",
        "Get \"foo://a\": unsupported protocol scheme \"foo\"",
        "error: invalid cache key, invalid call, invalid case",
        "session closed: IP address mismatch",
        "kind:http_request status:200",
        "upload finished in 403.16ms, 403.7 kB",
        "JWT rejected: signature check failed",
        "User alice is not authorized to access this resource",
        "websocket handshake timeout",
        "fopen('data.txt'): failed to open stream",
        "msg=\"certificate revoked successfully\" serial=12",
        "unexpected ID \"5\"",
        "Invalid path: /foo",
        "level=info msg=\"peer certificate verified\"",
        "using wrong-version-numbering scheme",
        "Certificate will expire in 20 days",
        "AH01909: a.test:443:0 server certificate does NOT include an ID which matches the server name",
        "javax.net.ssl|DEBUG|SSLCipher.java:464|jdk.tls.keyLimits",
        "Acceptable client certificate CA names\nCN = Test Root CA",
        "No client certificate CA names sent\nVerify return code: 0 (ok)",
        "- Peer's certificate is trusted",
        "Checking expiry of certificates: none has expired",
    ] {
        check(line, "none");
    }
}
