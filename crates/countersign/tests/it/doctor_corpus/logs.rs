//! Logs alone: excerpts as the programs write them, with other people's names and addresses taken out.

use Expect::{Healthy, Root};
use countersign_diagnose::cause::Cause;

use crate::doctor_corpus::scenario::{Expect, Scenario};
use crate::doctor_corpus::workshop::{Invocation, Workshop};

fn log(workshop: &Workshop, text: &str) -> Invocation {
    workshop.write("the.log", text);
    workshop.ask().with("--log the.log")
}

/// A scenario that is one log. The name is the program's.
macro_rules! logs {
    ($($name:literal, $source:literal, $expect:expr, $text:expr;)+) => {
        pub(super) const SCENARIOS: &[Scenario] = &[$(Scenario {
            name: $name,
            source: $source,
            expect: $expect,
            build: |w| log(w, $text),
        },)+];
    };
}

logs! {
    "log of nginx: purpose",
        "https://github.com/nginx/docker-nginx/issues/175",
        Root(&[Cause::EkuMissingClientauth]),
        "2017/06/06 15:59:58 [info] 6#6: *2 client SSL certificate verify error: (26:unsupported certificate purpose) while reading client request headers, client: 172.17.0.1, server: , request: \"GET / HTTP/1.1\", host: \"api.example.com\"\n";
    "log of nginx: client certificate expired",
        "https://github.com/kubernetes/ingress-nginx/issues/4677",
        Root(&[Cause::LeafExpired]),
        "2025/11/03 08:15:02 [info] 31#31: *1841 client SSL certificate verify error: (10:certificate has expired) while reading client request headers, client: 10.0.3.7, server: api.example.com, request: \"POST /charge HTTP/1.1\", host: \"api.example.com\"\n";
    "log of nginx: chain too long",
        "https://stackoverflow.com/questions/8431528/nginx-ssl-certificate-authentication-signed-by-intermediate-ca-chain",
        Root(&[Cause::VerifyDepthTooSmall]),
        "2024/02/11 10:02:44 [info] 18#18: *77 client SSL certificate verify error: (22:certificate chain too long) while reading client request headers, client: 10.1.2.3, server: api.example.com, request: \"GET / HTTP/1.1\", host: \"api.example.com\"\n";
    "log of nginx: no list for the intermediate",
        "https://github.com/nginx/nginx.org/pull/188",
        Root(&[Cause::CrlMissing]),
        "2025/09/30 09:12:01 [info] 22#22: *9 client SSL certificate verify error: (3:unable to get certificate CRL) while reading client request headers, client: 10.0.0.8, server: , request: \"GET / HTTP/1.1\", host: \"api.example.com\"\n";
    "log of nginx: no certificate sent",
        "https://github.com/Kong/kong/issues/5427",
        Root(&[Cause::ClientCertNotSent]),
        "2020/01/10 07:21:33 [info] 30#30: *4 client sent no required SSL certificate while reading client request headers, client: 10.0.0.9, server: api.example.com, request: \"GET / HTTP/1.1\", host: \"api.example.com\"\n";
    "log of nginx: key does not match",
        "https://github.com/SteveLTN/https-portal/issues/57",
        Root(&[Cause::KeyCertMismatch]),
        "2016/08/01 19:00:08 [notice] 118#118: signal process started\n2016/08/01 19:00:08 [emerg] 122#122: SSL_CTX_use_PrivateKey_file(\"/var/lib/portal/example.com/domain.key\") failed (SSL: error:0B080074:x509 certificate routines:X509_check_private_key:key values mismatch)\n";
    "log of nginx: passphrase wanted",
        "https://github.com/jumpserver/jumpserver/issues/14463",
        Root(&[Cause::KeyEncrypted]),
        "nginx: [emerg] cannot load certificate key \"/etc/nginx/cert/server.key\": PEM_read_bio_PrivateKey() failed (SSL: error:2807106B:UI routines:UI_process:processing error:while reading strings error:0906406D:PEM routines:PEM_def_callback:problems getting password error:0907B068:PEM routines:PEM_read_bio_PrivateKey:bad password read)\n";
    "log of nginx: blocks glued",
        "https://github.com/debops/debops/issues/1424",
        Root(&[Cause::PemGlued]),
        "2020/07/20 11:10:09 [emerg] 812#812: cannot load certificate \"/etc/pki/realms/domain/default.crt\": PEM_read_bio_X509_AUX() failed (SSL: error:0908F066:PEM routines:get_header_and_data:bad end line)\n";
    "log of nginx: file is not there",
        "https://github.com/nginx-proxy/nginx-proxy/issues/278",
        Root(&[Cause::FileMissing]),
        "2024/05/02 06:25:11 [emerg] 1#1: cannot load certificate \"/etc/nginx/certs/api.crt\": BIO_new_file() failed (SSL: error:80000002:system library::No such file or directory:calling fopen(/etc/nginx/certs/api.crt, r) error:10000080:BIO routines::no such file)\n";
    "log of nginx: key too small",
        "https://github.com/openssl/openssl/issues/20972",
        Root(&[Cause::WeakKey]),
        "2023/05/16 04:41:00 [emerg] 7#7: SSL_CTX_use_certificate(\"/etc/nginx/certs/server.crt\") failed (SSL: error:0A00018F:SSL routines::ee key too small)\n";
    "log of nginx: responder times out",
        "https://nginx.org/en/docs/http/ngx_http_ssl_module.html#ssl_ocsp",
        Root(&[Cause::OcspUnreachable]),
        "2024/10/10 12:00:31 [error] 44#44: *12 OCSP responder timed out (110: Connection timed out) while requesting certificate status, responder: ocsp.example.com, peer: 10.9.9.9:80, certificate: \"/etc/nginx/certs/client-ca.pem\"\n";
    "log of nginx: responder does not know it",
        "https://github.com/miraheze/puppet/issues/10",
        Root(&[Cause::OcspUnknown]),
        "2024/10/10 12:00:31 [error] 44#44: *12 certificate status \"unknown\" in the OCSP response while requesting certificate status, responder: ocsp.example.com, peer: 10.9.9.9:80, certificate: \"/etc/nginx/certs/client-ca.pem\"\n";
    "log of nginx: old OCSP answer",
        "https://github.com/miraheze/puppet/issues/10",
        Root(&[Cause::OcspStale]),
        "2024/10/10 12:00:31 [error] 44#44: *12 OCSP_check_validity() failed (SSL: error:2707307D:OCSP routines:OCSP_check_validity:status expired) while requesting certificate status, responder: ocsp.example.com, peer: 10.9.9.9:80, certificate: \"/etc/nginx/certs/client-ca.pem\"\n";
    "log of nginx: OCSP answer of a stranger",
        "https://github.com/miraheze/puppet/issues/10",
        Root(&[Cause::OcspAnswerInvalid]),
        "2015/09/10 16:49:41 [error] 5352#0: OCSP_basic_verify() failed (SSL: error:27069065:OCSP routines:OCSP_basic_verify:certificate verify error:Verify error:unable to get issuer certificate) while requesting certificate status, responder: ocsp2.example.com\n";
    "log of Firefox: must-staple without a staple",
        "https://github.com/searx/searx/issues/2018",
        Root(&[Cause::OcspStapleMissing]),
        "Secure Connection Failed: An error occurred during a connection to search.example.com. A required TLS feature is missing. Error code: MOZILLA_PKIX_ERROR_REQUIRED_TLS_FEATURE_MISSING\n";
    "log of nginx: PROXY header missing",
        "https://github.com/hashicorp/consul/issues/3926",
        Root(&[Cause::ProxyHeaderMissing]),
        "2018/03/01 21:53:21 [error] 31#31: *5 broken header: \"GET / HTTP/1.1\r\nHost: 127.0.0.1:80\" while reading PROXY protocol, client: 10.7.28.60, server: 0.0.0.0:80\n";
    "log of nginx: client went away in the handshake",
        "https://github.com/nginx/nginx/pull/493",
        Root(&[Cause::ClientClosedEarly]),
        "2024/03/05 17:20:02 [info] 29#29: *5021 peer closed connection in SSL handshake while SSL handshaking, client: 10.2.0.14, server: 0.0.0.0:443\n";
    "log of nginx: plaintext sent to the upstream's TLS",
        "https://github.com/outroll/vesta/issues/1963",
        Root(&[Cause::PeerNotTls]),
        "2019/12/20 09:00:02 [error] 18#18: *3 SSL_do_handshake() failed (SSL: error:1408F10B:SSL routines:ssl3_get_record:wrong version number) while SSL handshaking to upstream, client: 10.0.0.3, server: shop.example.com, request: \"GET / HTTP/1.1\", upstream: \"https://10.0.0.4:8080/\", host: \"shop.example.com\"\n";
    "log of HAProxy: client CA unknown",
        "https://github.com/haproxy/haproxy/issues/404",
        Root(&[Cause::ClientCaNotTrusted, Cause::ChainMissingIntermediate]),
        "Mar  4 16:51:31 pfsense haproxy[18938]: 192.0.2.7:51514 [04/Mar/2021:16:51:31.758] https_shared-merged/192.0.2.1:443: SSL client CA chain cannot be verified\n";
    "log of HAProxy: no certificate",
        "https://github.com/jcmoraisjr/haproxy-ingress/pull/470",
        Root(&[Cause::ClientCertNotSent]),
        "May 12 08:11:09 lb1 haproxy[2211]: 198.51.100.4:40112 [12/May/2024:08:11:09.120] https/1: SSL handshake failure (error:0A0000C7:SSL routines::peer did not return a certificate)\n";
    "log of nginx: bundle of clients' CAs that is not set",
        "https://nginx.org/en/docs/http/ngx_http_ssl_module.html#ssl_verify_client",
        Root(&[Cause::TrustBundleEmpty, Cause::FileMissing]),
        "nginx: [emerg] no ssl_client_certificate for ssl_verify_client\n";
    "log of Envoy: reset in the handshake",
        "https://www.envoyproxy.io/docs/envoy/latest/configuration/observability/access_log/usage",
        Root(&[Cause::ResetBeforeServerHello]),
        "upstream connect error or disconnect/reset before headers. reset reason: connection failure, transport failure reason: TLS_error:|33554536:system library:OPENSSL_internal:Connection reset by peer:TLS_error_end\n";
    "log of Go: an issuer's extended key usage",
        "https://go.dev/src/crypto/x509/verify.go",
        Root(&[Cause::IssuerEkuExcludesPurpose]),
        "x509: a root or intermediate certificate is not authorized for an extended key usage: EKU not permitted: 2\n";
    "log of libpq: certificate that its user cannot read",
        "https://www.postgresql.org/docs/current/libpq-ssl.html",
        Root(&[Cause::FileMissing, Cause::KeyPermissions]),
        "psql: error: could not open certificate file \"/root/.postgresql/postgresql.crt\": Permission denied\n";
    "log of Kafka: keystore that is not there",
        "https://kafka.apache.org/documentation/#security_ssl",
        Root(&[Cause::FileMissing]),
        "org.apache.kafka.common.KafkaException: org.apache.kafka.common.KafkaException: Failed to load SSL keystore client.jks of type JKS Caused by: java.nio.file.NoSuchFileException: client.jks\n";
    "log of HAProxy: bad PROXY header",
        "https://github.com/varnishcache/varnish-cache/issues/2151",
        Root(&[Cause::ProxyHeaderMissing]),
        "May 12 08:12:00 lb1 haproxy[2211]: 198.51.100.4:40118 [12/May/2024:08:12:00.001] tls_in/1: Received something which does not look like a PROXY protocol header\n";
    "log of Apache: certificate expired",
        "https://github.com/apache/httpd/pull/632",
        Root(&[Cause::LeafExpired]),
        "[Fri Nov 07 10:30:01.118213 2025] [ssl:info] [pid 812:tid 140] [client 10.0.0.5:40312] AH02276: Certificate Verification: Error (10): certificate has expired [subject: CN=client / issuer: CN=Issuing CA / serial: 0A / notbefore: Aug  1 00:00:00 2025 GMT / notafter: Nov  1 00:00:00 2025 GMT]\n[Fri Nov 07 10:30:01.118301 2025] [ssl:info] [pid 812:tid 140] [client 10.0.0.5:40312] AH02008: SSL library error 1 in handshake (server api.example.com:443)\n";
    "log of Apache: post-handshake authentication",
        "https://github.com/apache/httpd/pull/632",
        Root(&[Cause::PostHandshakeAuthUnavailable]),
        "[Wed Aug 21 11:33:44.920182 2024] [ssl:error] [pid 3112:tid 139] [client 10.0.0.5:51122] AH: verify client post handshake\n[Wed Aug 21 11:33:44.920201 2024] [ssl:error] [pid 3112:tid 139] [client 10.0.0.5:51122] AH10158: cannot perform post-handshake authentication\n[Wed Aug 21 11:33:44.920220 2024] [ssl:error] [pid 3112:tid 139] SSL Library Error: error:0A000117:SSL routines::extension not received\n";
    "log of Apache: SNI and Host differ",
        "https://github.com/TecharoHQ/anubis/issues/1508",
        Root(&[Cause::SniHostMismatch]),
        "[Fri Mar 13 13:32:32.570047 2026] [ssl:error] [pid 3460143:tid 3460183] [client 10.0.0.1:0] AH02032: Hostname www.example.com provided via SNI and hostname shop.example.org provided via HTTP have no compatible SSL setup for policy 'secure'\n";
    "log of Apache: CA signs with SHA-1",
        "https://github.com/openssl/openssl/issues/23126",
        Root(&[Cause::WeakSignature]),
        "[Fri Dec 22 11:07:26.661144 2023] [ssl:emerg] [pid 34676:tid 484] AH02562: Failed to configure certificate intranet:443:0 (with chain), check /etc/apache2/ssl/intranet.crt\n[Fri Dec 22 11:07:26.661144 2023] [ssl:emerg] [pid 34676:tid 484] SSL Library Error: error:0A00018E:SSL routines::ca md too weak\n";
    "log of etcd (Go): incompatible key usage",
        "https://github.com/etcd-io/etcd/issues/9398",
        Root(&[Cause::EkuMissingClientauth, Cause::IssuerEkuExcludesPurpose]),
        "2018-03-07 22:36:51.136699 I | embed: rejected connection from \"127.0.0.1:35160\" (error \"tls: failed to verify client's certificate: x509: certificate specifies an incompatible key usage\", ServerName \"\")\n";
    "log of kubectl (Go): no IP SANs",
        "https://github.com/kubernetes/kubernetes/issues/62939",
        Root(&[Cause::IpSanMissing]),
        "Error from server: Get https://10.240.0.12:10250/containerLogs/kube-system/cilium-m4fp4/cilium-agent: x509: cannot validate certificate for 10.240.0.12 because it doesn't contain any IP SANs\n";
    "log of a gRPC client (Go): common name",
        "https://github.com/xuperchain/xuperchain/issues/1078",
        Root(&[Cause::SanMissing]),
        "rpc error: code = Unavailable desc = connection error: desc = \"transport: authentication handshake failed: x509: certificate relies on legacy Common Name field, use SANs instead\"\n";
    "log of Go: valid for other names",
        "https://github.com/grpc/grpc-go/issues/5814",
        Root(&[Cause::NameMismatch]),
        "2022/11/23 10:00:00 Get \"https://api.example.com/v1\": tls: failed to verify certificate: x509: certificate is valid for www.example.com, example.com, not api.example.com\n";
    "log of kubelet (Go): clock before the certificate",
        "https://github.com/ironicbadger/ocp4/issues/23",
        Root(&[Cause::NotYetValid, Cause::ClockSkewLocal]),
        "x509: certificate has expired or is not yet valid: current time 2021-05-14T00:00:21+08:00 is before 2021-05-14T05:45:12Z\n";
    "log of kubelet (Go): certificate past its end",
        "https://github.com/siderolabs/talos/issues/3033",
        Root(&[Cause::LeafExpired]),
        "E0807 07:24:06.908120       1 authentication.go:63] \"Unable to authenticate the request\" err=\"[x509: certificate has expired or is not yet valid: current time 2022-08-07T07:24:06Z is after 2022-08-07T06:48:55Z]\"\n";
    "log of a CSI driver (Go): negative serial",
        "https://github.com/Azure/secrets-store-csi-driver-provider-azure/issues/1748",
        Root(&[Cause::BadSerial]),
        "Error: server.go:60] \"failed to process mount request\" err=\"failed to get objectType:secret, objectName:qat-encryption-certificate, objectVersion:: x509: negative serial number\"\n";
    "log of Go: HTTP sent to HTTPS",
        "https://github.com/openssl/openssl/issues/27293",
        Root(&[Cause::PlainHttpToTlsPort]),
        "2024/06/01 09:00:00 http: TLS handshake error from 10.0.0.7:51234: client sent an HTTP request to an HTTPS server\n";
    "log of Go: HTTP answer to HTTPS",
        "https://github.com/openssl/openssl/issues/6805",
        Root(&[Cause::PeerNotTls]),
        "Error response from daemon: Get \"https://registry.example.com:5000/v2/\": http: server gave HTTP response to HTTPS client\n";
    "log of Go: the peer's certificate is refused",
        "https://github.com/etcd-io/etcd/issues/14324",
        Root(&[Cause::ServerCaNotTrusted, Cause::ClientClosedEarly]),
        "2024/06/01 09:00:00 http: TLS handshake error from 10.0.0.7:51236: remote error: tls: unknown certificate authority\n";
    "log of Go: handshake timed out",
        "https://github.com/Nyr/openvpn-install/issues/453",
        Root(&[Cause::HandshakeTimeout, Cause::NoTlsAnswer]),
        "Get \"https://vault.example.com:8200/v1/sys/health\": net/http: TLS handshake timeout\n";
    "log of Go: nothing listens",
        "https://github.com/etcd-io/etcd/issues/9398",
        Root(&[Cause::ConnectionRefused]),
        "dial tcp 10.53.70.188:2379: connect: connection refused\n";
    "log of Go: no such host",
        "https://github.com/siderolabs/talos/issues/3033",
        Root(&[Cause::NameNotResolved]),
        "Get \"https://api.internal.example/v1\": dial tcp: lookup api.internal.example on 10.96.0.10:53: no such host\n";
    "log of Java: path building",
        "https://github.com/cloudfoundry/java-buildpack/issues/516",
        Root(&[Cause::ServerCaNotTrusted]),
        "javax.net.ssl.SSLHandshakeException: PKIX path building failed: sun.security.provider.certpath.SunCertPathBuilderException: unable to find valid certification path to requested target\n\tat java.base/sun.security.ssl.Alert.createSSLException(Alert.java:131)\n";
    "log of Java: empty chain",
        "https://github.com/openjdk/jdk/pull/17645",
        Root(&[Cause::ClientCertNotSent]),
        "javax.net.ssl.SSLHandshakeException: Empty client certificate chain\n\tat java.base/sun.security.ssl.Alert.createSSLException(Alert.java:131)\n";
    "log of Java: no alternative name matches",
        "https://github.com/grpc/grpc-go/issues/5814",
        Root(&[Cause::NameMismatch]),
        "Caused by: java.security.cert.CertificateException: No subject alternative DNS name matching kafka-0.kafka.svc found.\n\tat java.base/sun.security.util.HostnameChecker.matchDNS(HostnameChecker.java:212)\n";
    "log of Java: message too large",
        "https://github.com/ctt-gob-es/clienteafirma/issues/198",
        Root(&[Cause::HandshakeTooLarge]),
        "javax.net.ssl.SSLProtocolException: The size of the handshake message (37334) exceeds the maximum allowed size (32768)\n";
    "log of Java: keystore password",
        "https://github.com/spring-projects/spring-boot/issues/31253",
        Root(&[Cause::KeyPasswordWrong]),
        "Caused by: java.io.IOException: keystore password was incorrect\n\tat java.base/sun.security.pkcs12.PKCS12KeyStore.engineLoad(PKCS12KeyStore.java:2159)\n";
    "log of Python: strict verifier",
        "https://github.com/python/cpython/issues/138193",
        Root(&[Cause::CaExtensionsIncomplete]),
        "ssl.SSLCertVerificationError: [SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed: Missing Authority Key Identifier (_ssl.c:1032)\n";
    "log of Python: nothing but HTTP there",
        "https://github.com/encode/httpx/issues/646",
        Root(&[Cause::PeerNotTls]),
        "ssl.SSLError: [SSL: WRONG_VERSION_NUMBER] wrong version number (_ssl.c:852)\n";
    "log of Node: first certificate cannot be verified",
        "https://nodejs.org/api/tls.html#x509-certificate-error-codes",
        Root(&[Cause::ChainMissingIntermediate]),
        "Error: unable to verify the first certificate\n    at TLSSocket.onConnectSecure (node:_tls_wrap:1674:34) {\n  code: 'UNABLE_TO_VERIFY_LEAF_SIGNATURE'\n}\n";
    "log of Node: name not in the certificate",
        "https://nodejs.org/api/tls.html#x509-certificate-error-codes",
        Root(&[Cause::NameMismatch]),
        "Error [ERR_TLS_CERT_ALTNAME_INVALID]: Hostname/IP does not match certificate's altnames: Host: api.example.com. is not in the cert's altnames: DNS:www.example.com\n";
    "log of curl: pinned key",
        "https://curl.se/libcurl/c/CURLOPT_PINNEDPUBLICKEY.html",
        Root(&[Cause::PinMismatch]),
        "* SSL certificate verify ok.\n* public key hash: sha256//LPJNul+wow4m6DsqxbninhsWHlwfp0JecwQzYpOLmCQ=\n* SSL: public key does not match pinned public key!\ncurl: (90) SSL: public key does not match pinned public key!\n";
    "log of curl: unsupported protocol",
        "https://github.com/void-linux/void-packages/issues/49793",
        Root(&[Cause::TlsVersionMismatch]),
        "curl: (35) OpenSSL/3.1.5: error:0A000102:SSL routines::unsupported protocol\n";
    "log of curl: server from before RFC 5746",
        "https://github.com/ArchiveTeam/ArchiveBot/pull/565",
        Root(&[Cause::TlsVersionMismatch]),
        "curl: (35) OpenSSL/3.0.11: error:0A000152:SSL routines::unsafe legacy renegotiation disabled\n";
    "log of curl: name unknown to the server",
        "https://github.com/NginxProxyManager/nginx-proxy-manager/issues/2742",
        Root(&[Cause::SniUnknown]),
        "curl: (35) error:14094458:SSL routines:ssl3_read_bytes:tlsv1 unrecognized name\n";
    "log of curl: reset",
        "https://github.com/denoland/dotland/issues/2680",
        Root(&[Cause::ResetBeforeServerHello]),
        "* Connected to api.example.com (192.0.2.1) port 443 (#0)\n* TLSv1.3 (OUT), TLS handshake, Client hello (1):\n* OpenSSL SSL_connect: Connection reset by peer in connection to api.example.com:443\ncurl: (35) OpenSSL SSL_connect: Connection reset by peer in connection to api.example.com:443\n";
    "log of rustls: CA as end entity",
        "https://github.com/rustls/webpki/issues/205",
        Root(&[Cause::CaUsedAsEndEntity]),
        "thread 'main' panicked at 'called `Result::unwrap()` on an `Err` value: InvalidCertificate(Other(CaUsedAsEndEntity))', src/lib.rs:84:36\n";
    "log of OpenVPN: list expired",
        "https://github.com/Nyr/openvpn-install/issues/352",
        Root(&[Cause::CrlExpired]),
        "Aug 29 00:46:53 h31 openvpn[11357]: 192.0.2.9:45962 VERIFY ERROR: depth=0, error=CRL has expired: CN=client\nAug 29 00:46:53 h31 openvpn[11357]: 192.0.2.9:45962 OpenSSL: error:140890B2:SSL routines:SSL3_GET_CLIENT_CERTIFICATE:no certificate returned\n";
    "log of OpenVPN: key identifiers",
        "https://github.com/OpenVPN/easy-rsa/issues/417",
        Root(&[Cause::AkiMismatch]),
        "VERIFY ERROR: depth=1, error=authority and subject key identifier mismatch: CN=vpn.example.org, serial=257\nOpenSSL: error:0A000086:SSL routines::certificate verify failed\n";
    "log of openssl verify: name constraints",
        "https://github.com/openssl/openssl/issues/13758",
        Root(&[Cause::NameConstraintsViolated]),
        "error 47 at 0 depth lookup: permitted subtree violation\nerror hcert.pem: verification failed\n";
    "log of openssl verify: path length",
        "https://github.com/contentauth/verify-site/issues/354",
        Root(&[Cause::PathlenExceeded]),
        "CN=vivo C2PA Mid CA-TEST, O=vivo Mobile Communication Co., Ltd., C=CN\nerror 25 at 2 depth lookup: path length constraint exceeded\nerror leaf.pem: verification failed\n";
    "log of PostgreSQL: key permissions",
        "https://github.com/cloudnative-pg/cloudnative-pg/issues/8838",
        Root(&[Cause::KeyPermissions]),
        "2022-06-01 18:24:51.139 GMT [37] FATAL:  private key file \"/var/run/autocert/site.key\" has group or world access\n2022-06-01 18:24:51.139 GMT [37] DETAIL:  File must have permissions u=rw (0600) or less if owned by the database user, or permissions u=rw,g=r (0640) or less if owned by root.\n";
    "log of Node: old PKCS#12",
        "https://github.com/openssl/openssl/issues/14790",
        Root(&[Cause::Pkcs12Legacy]),
        "40E74B9CFF7E0000:error:0308010C:digital envelope routines:inner_evp_generic_fetch:unsupported:../crypto/evp/evp_fetch.c:349:Global default library context, Algorithm (RC2-40-CBC : 0), Properties ()\n";
    "log of MongoDB: purpose",
        "https://github.com/mongodb/mongodb-kubernetes-operator/issues/1058",
        Root(&[Cause::EkuMissingClientauth]),
        "2022-07-27T09:25:44.993+0000 E  NETWORK  [conn25854] SSL peer certificate validation failed: unsupported certificate purpose\n2022-07-27T09:25:44.994+0000 I  NETWORK  [conn25854] Error receiving request from client: SSLHandshakeFailed: SSL peer certificate validation failed: unsupported certificate purpose. Ending connection from 10.120.8.127:58220 (connection id: 25854)\n";
    "log of OSSEC: no shared cipher",
        "https://github.com/ossec/ossec-hids/issues/679",
        Root(&[Cause::NoSharedCipher]),
        "2015/10/17 21:37:47 ossec-authd: ERROR: SSL Error (-1)\n140036554458984:error:1408A0C1:SSL routines:SSL3_GET_CLIENT_HELLO:no shared cipher:s3_srvr.c:1352:\n";
    "log of gRPC: no ALPN",
        "https://github.com/grpc/grpc/issues/23172",
        Root(&[Cause::AlpnMismatch]),
        "E0322 09:00:00.1 subchannel.cc:683] Connect failed: {\"description\":\"Cannot check peer: missing selected ALPN property.\",\"file_line\":788}\n";
    "log of Envoy: SPIFFE ID not in the list",
        "https://github.com/spiffe/go-spiffe/issues/201",
        Root(&[Cause::IdentityNotAllowed, Cause::NameMismatch]),
        "[2025-03-01 10:00:00.000][21][debug][connection] [source/common/tls/ssl_socket.cc:246] [C12] remote address:10.0.0.4:41222,TLS_error:|268435581:SSL routines:OPENSSL_internal:CERTIFICATE_VERIFY_FAILED:verify cert failed: verify SAN list:TLS_error_end\n";
    "log of csharp-spiffe: no bundle for the trust domain",
        "https://github.com/vurhanau/csharp-spiffe/issues/195",
        Root(&[Cause::TrustDomainMismatch]),
        "System.Net.Http.HttpRequestException: The SSL connection could not be established, see inner exception.\n ---> Spiffe.Bundle.BundleNotFoundException: Bundle not found for trust domain 'example2.org'\n";
    "log of fluentd: no client certificate",
        "https://github.com/komamitsu/fluency/issues/184",
        Root(&[Cause::ClientCertNotSent]),
        "unexpected error before accepting TLS connection by OpenSSL error_class=OpenSSL::SSL::SSLError error=\"SSL_accept returned=1 errno=0 state=error: peer did not return a certificate\"\n";
    "log of fluent-bit (librdkafka): broker not verified",
        "https://github.com/fluent/fluent-plugin-kafka/issues/464",
        Root(&[Cause::ServerCaNotTrusted]),
        "[2022/08/10 20:26:54] [error] [output:kafka:kafka.1] fluent-bit#producer-2: [thrd:ssl://kafka2.example:9093/bootstrap]: ssl://kafka2.example:9093/bootstrap: SSL handshake failed: ../ssl/statem/statem_clnt.c:1914: error:1416F086:SSL routines:tls_process_server_certificate:certificate verify failed: broker certificate could not be verified, verify that ssl.ca.location is correctly configured or root CA certificates are installed (after 24ms in state SSL_HANDSHAKE)\n";
    "log of fluent-bit (Mbed TLS): not verified",
        "https://github.com/fluent/fluent-bit/issues/1536",
        Root(&[Cause::ServerCaNotTrusted]),
        "[2019/08/27 16:46:29] [error] [out_fw] no upstream connections available\n[2019/08/27 16:46:29] [error] [io_tls] flb_io_tls.c:348 X509 - Certificate verification failed, e.g. CRL, CA or signature check\n";
    "log of Docker Registry (Go): key without PEM",
        "https://github.com/distribution/distribution/issues/1311",
        Root(&[Cause::FileNotPem]),
        "time=\"2015-12-30T18:59:56Z\" level=fatal msg=\"crypto/tls: failed to parse key PEM data\"\n";
    "log of docker_auth (Go): encrypted key",
        "https://github.com/cesanta/docker_auth/issues/353",
        Root(&[Cause::KeyEncrypted]),
        "Failed to load config: failed to load server cert and key: tls: failed to parse private key\n";
    "log of Docker (Go): key of another certificate",
        "https://github.com/moby/moby/issues/14317",
        Root(&[Cause::KeyCertMismatch]),
        "level=fatal msg=\"Error reading X509 key pair (cert: /etc/docker/server.pem, key: /etc/docker/server-key.pem): crypto/tls: private key does not match public key. Make sure the key is encoded.\"\n";
    "log of Docker (Go): purpose of the server's certificate",
        "https://github.com/docker/docker-py/issues/2871",
        Root(&[Cause::EkuMissingServerauth]),
        "Error response from daemon: Get https://registry.example.com/v2/: x509: certificate specifies an incompatible key usage.\n";
    "log of Mosquitto: the client refuses the broker",
        "https://github.com/home-assistant/addons/issues/2350",
        Root(&[Cause::ServerCaNotTrusted]),
        "1642374281: New connection from 192.0.2.48 on port 8883.\n1642374281: OpenSSL Error[0]: error:14094416:SSL routines:ssl3_read_bytes:sslv3 alert certificate unknown\n1642374281: Socket error on client <unknown>, disconnecting.\n";
    "log of Mosquitto: client without TLS",
        "https://github.com/eclipse-mosquitto/mosquitto/issues/2600",
        Root(&[Cause::PlainHttpToTlsPort]),
        "New connection from 192.0.2.2 on port 8883.\n1658806071: OpenSSL Error[0]: error:140260FC:SSL routines:ACCEPT_SR_CLNT_HELLO:unknown protocol\n1658806071: Socket error on client <unknown>, disconnecting.\n";
    "log of Mosquitto: protocol version of a bridge",
        "https://github.com/eclipse-mosquitto/mosquitto/issues/734",
        Root(&[Cause::TlsVersionMismatch]),
        "1521017807: OpenSSL Error: error:1409442E:SSL routines:SSL3_READ_BYTES:tlsv1 alert protocol version\n1521017807: OpenSSL Error: error:140940E5:SSL routines:SSL3_READ_BYTES:ssl handshake failure\n1521017807: Socket error on client <unknown>, disconnecting.\n";
    "log of SSLproxy: upstream not verified",
        "https://github.com/sonertari/SSLproxy/issues/53",
        Root(&[Cause::ServerCaNotTrusted]),
        "Connecting to [192.0.2.7]:443\nClient-side BEV_EVENT_ERROR\nError from bufferevent: 0:- 336134278:134:certificate verify failed:20:SSL routines:144:ssl3_get_server_certificate\n";
    "log of ingress-nginx (Go): key of another certificate",
        "https://github.com/rancher/rancher/issues/20646",
        Root(&[Cause::KeyCertMismatch]),
        "W0527 17:23:20.797972 8 backend_ssl.go:49] error obtaining PEM from secret shop/shop-tls: unexpected error creating pem file: tls: private key does not match public key\n";
    "log of nginx without anything wrong",
        "https://nginx.org/en/docs/ngx_core_module.html#error_log",
        Healthy,
        "2025/11/03 08:15:00 [notice] 1#1: using the \"epoll\" event method\n2025/11/03 08:15:00 [notice] 1#1: nginx/1.22.1\n2025/11/03 08:15:00 [notice] 1#1: start worker processes\n2025/11/03 08:15:00 [notice] 1#1: start worker process 29\n";
    "access log without anything wrong",
        "https://nginx.org/en/docs/http/ngx_http_log_module.html",
        Healthy,
        "10.0.0.5 - - [03/Nov/2025:08:15:02 +0000] \"GET /docs/certificate-has-expired HTTP/1.1\" 200 512 \"-\" \"curl/8.5.0\"\n10.0.0.6 - - [03/Nov/2025:08:15:03 +0000] \"GET /search?q=tls+handshake+failure HTTP/1.1\" 200 90 \"-\" \"Mozilla/5.0\"\n";
    "log of curl -v that succeeds",
        "https://curl.se/docs/manpage.html",
        Healthy,
        "* Connected to localhost (127.0.0.1) port 8443 (#0)\n* TLSv1.3 (OUT), TLS handshake, Client hello (1):\n* TLSv1.3 (IN), TLS handshake, Server hello (2):\n* TLSv1.3 (IN), TLS handshake, Request CERT (13):\n* SSL connection using TLSv1.3 / TLS_AES_256_GCM_SHA384\n*  subjectAltName: host \"localhost\" matched cert's \"localhost\"\n*  SSL certificate verify ok.\n< HTTP/1.1 200 OK\n";
    "log of Countersign: an upstream's key is not the pinned one",
        "https://www.rfc-editor.org/rfc/rfc7858#section-4.2",
        Root(&[Cause::PinMismatch]),
        "2026-05-04T09:12:33.120412Z  WARN refusal: refused refusal_id=7f3a9c-000004 cause=\"pin-mismatch\" src.addr=192.0.2.7:51844 src.id=\"cn:order-service (internal)\" listener=\"api\" sentence=\"certificate of db.example.com has the key 9f2c51d0a7, not the pinned one 17aa0c9e21\" fix=\"Update the pin, or find out who replaced the key.\"\n";
    "log of Countersign: an upstream has another name",
        "https://www.rfc-editor.org/rfc/rfc9525#section-6.3",
        Root(&[Cause::NameMismatch]),
        "2026-05-04T09:12:33.120412Z  WARN refusal: refused refusal_id=7f3a9c-000005 cause=\"name-mismatch\" src.addr=192.0.2.7:51844 listener=\"api\" sentence=\"certificate of db.example.com does not hold the name orders.example.com (names dns:db.example.com)\"\n";
    "log of Countersign: connection ended with its certificate",
        "https://www.rfc-editor.org/rfc/rfc5280#section-4.1.2.5",
        Root(&[Cause::ConnectionTooOld]),
        "2026-05-04T10:00:01.004410Z  WARN refusal: refused refusal_id=7f3a9c-000006 cause=\"connection-too-old\" src.addr=192.0.2.7:51844 src.id=\"cn:order-service (internal)\" listener=\"api\" sentence=\"the connection of cn:order-service was ended with its certificate or an issuer's (not_after 2026-05-04T10:00:00Z, now 2026-05-04T10:00:01Z)\"\n";
    "log of a gRPC client: maximum age",
        "https://github.com/grpc/grpc-go/issues/5358",
        Root(&[Cause::ConnectionTooOld]),
        "2024/06/11 14:02:11 rpc error: code = Unavailable desc = closing transport due to: connection error: desc = \"error reading from server: EOF\", received prior goaway: code: NO_ERROR, debug data: \"max_age\"\n";
    "log of a gRPC client: server stops in good order",
        "https://github.com/grpc/grpc-go/issues/5358",
        Healthy,
        "2024/06/11 14:02:11 INFO: [transport] [client-transport 0xc000] Closing: received GOAWAY, code: NO_ERROR, debug data: \"graceful_stop\"\n";
}
