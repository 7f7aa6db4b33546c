//! What is wrong with a file before anybody asks what it says.

use Expect::{Risk, Root};
use countersign_diagnose::cause::Cause;

use crate::doctor_corpus::live_ports::postgres;
use crate::doctor_corpus::scenario::{Expect, Scenario};
use crate::doctor_corpus::servers::{Flow, carry};
use crate::doctor_corpus::workshop::Workshop;

/// As `Set-Content` and `>` of Windows PowerShell write it.
pub(super) fn utf16(text: &str) -> Vec<u8> {
    let units = std::iter::once(0xfeff).chain(text.encode_utf16());
    units.flat_map(u16::to_le_bytes).collect()
}

fn glued(workshop: &Workshop, into: &str, parts: &[&str]) {
    let parts: Vec<String> = parts.iter().map(|part| workshop.read(part)).collect();
    let glued: String = parts.iter().map(|part| part.trim_end()).collect();
    workshop.write(into, format!("{glued}\n"));
}

pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "client certificate in DER",
        source: "https://github.com/ccruz17/certificados-sat-openssl/issues/1",
        expect: Root(&[Cause::FileNotPem]),
        build: |w| {
            w.run("openssl x509 -in client.leaf.pem -outform DER -out client.pem");
            w.client_files().shows(
                "openssl x509 -noout -in client.pem -inform PEM",
                "Unable to load",
            )
        },
    },
    Scenario {
        name: "trust bundle in DER",
        source: "https://github.com/apache/trafficserver/issues/10684",
        expect: Root(&[Cause::FileNotPem]),
        build: |w| {
            w.run("openssl x509 -in issuing.pem -outform DER -out root.pem");
            w.write("issuing.pem", w.root.pem());
            w.run("openssl x509 -in issuing.pem -outform DER -out root.pem");
            w.server_files().shows(
                "openssl verify -CAfile root.pem server.leaf.pem",
                "Error loading file",
            )
        },
    },
    Scenario {
        name: "certificate chain as PKCS#7",
        source: "https://github.com/esp8266/Arduino/issues/8562",
        expect: Root(&[Cause::FileNotPem]),
        build: |w| {
            w.run("openssl crl2pkcs7 -nocrl -certfile server.pem -out server.p7b");
            w.join("server.pem", &["server.p7b"]);
            w.server_files()
                .shows("openssl x509 -in server.pem", "Unable to load")
        },
    },
    Scenario {
        name: "key in DER",
        source: "https://github.com/tutumcloud/haproxy/issues/130",
        expect: Root(&[Cause::FileNotPem]),
        build: |w| {
            w.run("openssl pkey -in server.key -outform DER -out server.der");
            w.run("mv server.der server.key");
            w.mode("server.key", 0o600);
            w.server_files().shows(
                "openssl pkey -noout -in server.key -inform PEM",
                "Could not read",
            )
        },
    },
    Scenario {
        name: "certificate written by PowerShell's > (UTF-16)",
        source: "https://github.com/awslabs/aws-c-io/issues/280",
        expect: Root(&[Cause::FileEncoding]),
        build: |w| {
            w.write("client.pem", utf16(&w.read("client.pem")));
            w.client_files()
                .shows("openssl x509 -in client.pem", "Unable to load")
        },
    },
    Scenario {
        name: "trust bundle in UTF-16",
        source: "https://github.com/awslabs/aws-c-io/issues/280",
        expect: Root(&[Cause::FileEncoding]),
        build: |w| {
            w.write("root.pem", utf16(&w.root.pem()));
            w.server_files().shows(
                "openssl verify -CAfile root.pem server.leaf.pem",
                "Error loading file",
            )
        },
    },
    Scenario {
        name: "key that starts with a byte order mark",
        source: "https://github.com/openssl/openssl/issues/6281",
        expect: Root(&[Cause::FileEncoding]),
        build: |w| {
            w.write_key("client.key", format!("\u{feff}{}", w.read("client.key")));
            w.client_files()
        },
    },
    Scenario {
        name: "certificate that starts with a byte order mark",
        source: "https://github.com/openssl/openssl/pull/10112",
        expect: Root(&[Cause::FileEncoding]),
        build: |w| {
            w.write("server.pem", format!("\u{feff}{}", w.read("server.pem")));
            w.server_files()
        },
    },
    Scenario {
        name: "fullchain glued by cat",
        source: "https://github.com/zenhack/simp_le/issues/149",
        expect: Root(&[Cause::PemGlued]),
        build: |w| {
            glued(w, "server.pem", &["server.leaf.pem", "issuing.pem"]);
            w.server_files()
                .shows("openssl x509 -in server.pem", "Unable to load")
        },
    },
    Scenario {
        name: "trust bundle of two CAs glued by cat",
        source: "https://github.com/debops/debops/issues/1424",
        expect: Root(&[Cause::PemGlued]),
        build: |w| {
            w.write("other.pem", w.issuing.pem());
            glued(w, "glued.pem", &["other.pem", "root.pem"]);
            w.join("root.pem", &["glued.pem"]);
            w.client_files()
                .shows("openssl verify -CAfile root.pem client.leaf.pem", "rror")
        },
    },
    Scenario {
        name: "key glued to the certificate before it",
        source: "https://github.com/rh-ecosystem-edge/enclave/pull/757",
        expect: Root(&[Cause::PemGlued]),
        build: |w| {
            glued(w, "glued.pem", &["client.leaf.pem", "client.key"]);
            w.write_key("client.pem", w.read("glued.pem"));
            w.ask()
                .with("--cert client.pem --key client.pem --client-ca root.pem")
                .shows("openssl x509 -in client.pem", "Unable to load")
        },
    },
    Scenario {
        name: "client's certificate and key swapped",
        source: "https://github.com/adobe/blackhole/issues/9",
        expect: Root(&[Cause::FilesSwapped]),
        build: |w| {
            w.client_files()
                .instead("--cert", "client.key")
                .instead("--key", "client.pem")
                .shows("openssl x509 -in client.key", "Could not read")
        },
    },
    Scenario {
        name: "server's certificate and key swapped",
        source: "https://github.com/gravitational/teleport/pull/37263",
        expect: Root(&[Cause::FilesSwapped]),
        build: |w| {
            w.server_files()
                .instead("--server-cert", "server.key")
                .instead("--server-key", "server.pem")
                .shows("openssl pkey -noout -in server.pem", "Could not read")
        },
    },
    Scenario {
        name: "request installed as client certificate",
        source: "https://github.com/thgh/rollup-plugin-serve/issues/72",
        expect: Root(&[Cause::FileIsCsr]),
        build: |w| {
            w.run("openssl req -new -key client.key -subj /CN=client -out client.pem");
            w.client_files()
                .shows("openssl req -noout -subject -in client.pem", "CN = client")
        },
    },
    Scenario {
        name: "request installed as server certificate",
        source: "https://github.com/thgh/rollup-plugin-serve/issues/72",
        expect: Root(&[Cause::FileIsCsr]),
        build: |w| {
            w.run("openssl req -new -key server.key -subj /CN=localhost -out server.pem");
            w.server_files()
                .shows("openssl x509 -in server.pem", "Could not read")
        },
    },
    Scenario {
        name: "trust bundle of comments",
        source: "https://github.com/certifi/python-certifi/issues/129",
        expect: Root(&[Cause::TrustBundleEmpty]),
        build: |w| {
            w.write(
                "root.pem",
                "# Issuer: CN=Corpus Root CA\n# Label: \"Corpus\"\n\n",
            );
            w.server_files().shows(
                "openssl verify -CAfile root.pem server.leaf.pem",
                "Error loading file",
            )
        },
    },
    Scenario {
        name: "trust bundle is an error page that was downloaded",
        source: "https://github.com/esp8266/Arduino/issues/8562",
        expect: Root(&[Cause::TrustBundleEmpty]),
        build: |w| {
            w.write(
                "root.pem",
                "<html>\n<head><title>404 Not Found</title></head>\n<body><h1>Not Found</h1></body>\n</html>\n",
            );
            w.client_files().shows(
                "openssl verify -CAfile root.pem client.leaf.pem",
                "Error loading file",
            )
        },
    },
    Scenario {
        name: "trust bundle of no bytes",
        source: "https://github.com/megaease/easeagent/pull/271",
        expect: Root(&[Cause::TrustBundleEmpty, Cause::FileMissing]),
        build: |w| {
            w.write("root.pem", "");
            w.client_files().shows(
                "openssl verify -CAfile root.pem client.leaf.pem",
                "Error loading file",
            )
        },
    },
    Scenario {
        name: "certificate file that is not there",
        source: "https://github.com/nginx-proxy/nginx-proxy/issues/278",
        expect: Root(&[Cause::FileMissing]),
        build: |w| {
            w.run("rm client.pem");
            w.client_files()
                .shows("openssl x509 -in client.pem", "No such file")
        },
    },
    Scenario {
        name: "certificate file that the ACME client left empty",
        source: "https://github.com/xdtianyu/scripts/issues/30",
        expect: Root(&[Cause::FileMissing]),
        build: |w| {
            w.write("server.pem", "");
            w.server_files()
                .shows("openssl x509 -in server.pem", "Unable to load")
        },
    },
    Scenario {
        name: "a folder where the key should be (Docker made it)",
        source: "https://github.com/nginx/docker-nginx/issues/175",
        expect: Root(&[Cause::FileMissing]),
        build: |w| {
            w.run("rm server.key");
            w.run("mkdir server.key");
            w.server_files()
        },
    },
    Scenario {
        name: "certificate cut off in the middle",
        source: "https://github.com/nodejs/node/issues/29264",
        expect: Root(&[Cause::MalformedCertificate]),
        build: |w| {
            let whole = w.read("client.leaf.pem");
            let lines: Vec<&str> = whole.lines().collect();
            let cut = [&lines[..4], &lines[lines.len() - 1..]].concat();
            w.write("client.pem", format!("{}\n", cut.join("\n")));
            w.client_files()
                .shows("openssl x509 -in client.pem", "Unable to load")
        },
    },
    Scenario {
        name: "certificate with the same extension twice",
        source: "https://github.com/jaegertracing/jaeger/issues/3903",
        expect: Root(&[Cause::MalformedCertificate]),
        build: |w| {
            let mut draft = crate::doctor_corpus::forge::client("client");
            let twice = rcgen::CustomExtension::from_oid_content(
                &[2, 5, 29, 37],
                vec![
                    0x30, 0x0a, 0x06, 0x08, 0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x03, 0x02,
                ],
            );
            draft.custom_extensions = vec![twice];
            w.client(&draft);
            w.client_files().shows(
                "openssl x509 -in client.pem -noout -text",
                "X509v3 Extended Key Usage",
            )
        },
    },
    Scenario {
        name: "encrypted key, no passphrase",
        source: "https://github.com/jumpserver/jumpserver/issues/14463",
        expect: Root(&[Cause::KeyEncrypted]),
        build: |w| {
            encrypt(w, "server", "");
            w.server_files()
                .shows("grep BEGIN server.key", "BEGIN ENCRYPTED PRIVATE KEY")
        },
    },
    Scenario {
        name: "key encrypted in the traditional way, no passphrase",
        source: "https://github.com/vatesfr/xen-orchestra/issues/2962",
        expect: Root(&[Cause::KeyEncrypted]),
        build: |w| {
            encrypt(w, "client", "-traditional");
            w.client_files()
                .shows("cat client.key", "Proc-Type: 4,ENCRYPTED")
        },
    },
    Scenario {
        name: "encrypted key, wrong passphrase",
        source: "https://github.com/nodejs/node/issues/29264",
        expect: Root(&[Cause::KeyPasswordWrong]),
        build: |w| {
            encrypt(w, "client", "");
            w.write("password", "not it\n");
            w.client_files().with("--password-file password").shows(
                "openssl pkey -noout -in client.key -passin file:password",
                "bad decrypt",
            )
        },
    },
    Scenario {
        name: "PKCS#12, wrong password",
        source: "https://github.com/mtrojnar/osslsigncode/issues/178",
        expect: Root(&[Cause::KeyPasswordWrong]),
        build: |w| {
            pkcs12(w, "");
            w.write("password", "not it\n");
            w.ask()
                .with("--cert client.p12 --client-ca root.pem --password-file password")
                .shows(
                    "openssl pkcs12 -in client.p12 -noout -passin file:password",
                    "invalid password",
                )
        },
    },
    Scenario {
        name: "Java keystore, wrong password",
        source: "https://github.com/spring-projects/spring-boot/issues/31253",
        expect: Root(&[Cause::KeyPasswordWrong]),
        build: |w| {
            w.run("keytool -genkeypair -keyalg EC -storetype JKS -keystore client.jks -storepass changeit -keypass changeit -dname CN=client -alias client -J-XX:TieredStopAtLevel=1 -J-Xshare:auto");
            w.write("password", "not it\n");
            w.ask()
                .with("--file client.jks --password-file password")
                .shows("file client.jks", "")
        },
    },
    Scenario {
        name: "PKCS#12 of an old Windows (RC2-40)",
        source: "https://github.com/openssl/openssl/issues/19167",
        expect: Root(&[Cause::Pkcs12Legacy]),
        build: |w| {
            pkcs12(w, "-legacy");
            w.ask()
                .with("--cert client.p12 --client-ca root.pem --password-file password")
                .shows(
                    "openssl pkcs12 -in client.p12 -noout -passin file:password",
                    "RC2-40-CBC",
                )
        },
    },
    Scenario {
        name: "PKCS#12 of an old Windows, password not at hand",
        source: "https://github.com/openssl/openssl/issues/12297",
        expect: Root(&[Cause::Pkcs12Legacy]),
        build: |w| {
            pkcs12(w, "-legacy");
            w.ask()
                .with("--cert client.p12 --client-ca root.pem")
                .shows(
                    "openssl pkcs12 -in client.p12 -noout -passin file:password",
                    "RC2-40-CBC",
                )
        },
    },
    Scenario {
        name: "modern PKCS#12, password not at hand",
        source: "https://github.com/ServerHubOrg/serverhub-mvc/issues/15",
        expect: Root(&[Cause::KeyEncrypted, Cause::KeyPasswordWrong]),
        build: |w| {
            pkcs12(w, "");
            w.ask()
                .with("--cert client.p12 --client-ca root.pem")
                .shows(
                    "openssl pkcs12 -in client.p12 -noout -passin pass:",
                    "invalid password",
                )
        },
    },
    Scenario {
        name: "key that everybody can read, for libpq",
        source: "https://github.com/yugabyte/yugabyte-db/issues/7166",
        expect: Root(&[Cause::KeyPermissions]),
        build: |w| {
            let behind = w.mutual_s_server("");
            let address = w.listen(move |stream| {
                if postgres(&stream, b"S").unwrap_or_default() {
                    carry(stream, behind, Flow::Whole);
                }
            });
            w.mode("client.key", 0o644);
            w.connect(address)
                .to(format!("postgres://localhost:{}/app", address.port()))
                .shows("stat -c %a client.key", "644")
        },
    },
    Scenario {
        name: "key that everybody can read",
        source: "https://github.com/smallstep/autocert/issues/53",
        expect: Risk(Cause::KeyPermissions),
        build: |w| {
            w.mode("server.key", 0o644);
            w.server_files().shows("stat -c %a server.key", "644")
        },
    },
    Scenario {
        name: "client key that everybody can read and write",
        source: "https://github.com/yugabyte/yugabyte-db/issues/7166",
        expect: Risk(Cause::KeyPermissions),
        build: |w| {
            w.mode("client.key", 0o666);
            w.client_files().shows("stat -c %a client.key", "666")
        },
    },
    Scenario {
        name: "key of another certificate",
        source: "https://github.com/SteveLTN/https-portal/issues/57",
        expect: Root(&[Cause::KeyCertMismatch]),
        build: |w| {
            w.write_key(
                "server.key",
                &w.issuing
                    .issue(&crate::doctor_corpus::forge::client("x"))
                    .key,
            );
            w.server_files()
        },
    },
    Scenario {
        name: "PKCS#12 of certificates alone as the client's keystore",
        source: "https://stackoverflow.com/questions/906402/how-to-import-an-existing-x-509-certificate-and-private-key-in-java-keystore-to",
        expect: Root(&[Cause::ClientCertNotSent]),
        build: |w| {
            w.write("password", "hunter22\n");
            w.run("openssl pkcs12 -export -nokeys -in client.pem -passout file:password -out client.p12");
            w.ask()
                .with("--cert client.p12 --client-ca root.pem --password-file password")
                .shows(
                    "openssl pkcs12 -in client.p12 -nodes -passin file:password",
                    "BEGIN CERTIFICATE",
                )
        },
    },
    Scenario {
        name: "Java keystore of a trusted certificate alone as the client's",
        source: "https://stackoverflow.com/questions/9299133/why-doesnt-java-send-the-client-certificate-during-ssl-handshake",
        expect: Root(&[Cause::ClientCertNotSent]),
        build: |w| {
            w.write("password", "hunter22\n");
            w.run("keytool -importcert -noprompt -alias client -file client.pem -keystore client.jks -storetype JKS -storepass hunter22 -J-XX:TieredStopAtLevel=1");
            w.ask()
                .with("--cert client.jks --client-ca root.pem --password-file password")
        },
    },
    Scenario {
        name: "Java truststore that holds a key's own chain and nobody to trust",
        source: "https://stackoverflow.com/questions/6784463/error-trustanchors-parameter-must-be-non-empty",
        expect: Root(&[Cause::TrustBundleEmpty]),
        build: |w| {
            pkcs12(w, "");
            w.run("keytool -importkeystore -srckeystore client.p12 -srcstoretype PKCS12 -srcstorepass hunter22 -destkeystore trust.jks -deststoretype JKS -deststorepass hunter22 -noprompt -J-XX:TieredStopAtLevel=1");
            w.ask().with(
                "--ca trust.jks --server-cert server.pem --name localhost --password-file password",
            )
        },
    },
    Scenario {
        name: "bundle of the server's own certificate alone",
        source: "https://github.com/curl/curl/pull/4655",
        expect: Risk(Cause::TrustAnchorIsIntermediate),
        build: |w| {
            w.ask()
                .with("--ca server.leaf.pem --server-cert server.pem --name localhost")
        },
    },
    Scenario {
        name: "key of the CA beside the client's certificate",
        source: "https://github.com/certbot/certbot/issues/923",
        expect: Root(&[Cause::KeyCertMismatch]),
        build: |w| {
            w.write_key("client.key", w.issuing.key_pem());
            w.client_files()
        },
    },
    Scenario {
        name: "certificate renewed, key still the old one",
        source: "https://github.com/chromium/badssl.com/issues/502",
        expect: Root(&[Cause::RotationHalfApplied]),
        build: |w| {
            let draft = crate::doctor_corpus::forge::server(&["localhost"]);
            let day = crate::doctor_corpus::forge::DAY;
            let old = w.issuing.issue(&crate::doctor_corpus::forge::valid(
                draft,
                -88 * day,
                2 * day,
            ));
            w.write("server.pem.old", &old.certificate);
            w.write_key("server.key", &old.key);
            w.server_files().with("--file server.pem.old")
        },
    },
    Scenario {
        name: "key renewed, certificate still the old one",
        source: "https://github.com/tazjin/kubernetes-letsencrypt/issues/20",
        expect: Root(&[Cause::RotationHalfApplied]),
        build: |w| {
            let draft = crate::doctor_corpus::forge::client("client");
            let day = crate::doctor_corpus::forge::DAY;
            let new = w.issuing.issue(&draft);
            w.client(&crate::doctor_corpus::forge::valid(
                draft,
                -88 * day,
                2 * day,
            ));
            w.write("client.pem.new", &new.certificate);
            w.write_key("client.key", &new.key);
            w.client_files().with("--file client.pem.new")
        },
    },
];

/// The key of a side under the password `hunter22`, which lies in `password` then.
pub(super) fn encrypt(workshop: &Workshop, side: &str, how: &str) {
    workshop.write("password", "hunter22\n");
    workshop.run(&format!(
        "openssl pkey -in {side}.key {how} -aes256 -passout file:password -out {side}.encrypted"
    ));
    workshop.run(&format!("mv {side}.encrypted {side}.key"));
    workshop.mode(&format!("{side}.key"), 0o600);
}

/// `client.p12` under the password `hunter22`, which lies in `password` then.
pub(super) fn pkcs12(workshop: &Workshop, how: &str) {
    workshop.write("password", "hunter22\n");
    workshop.run(&format!(
        "openssl pkcs12 -export {how} -in client.pem -inkey client.key -passout file:password -out client.p12"
    ));
    workshop.mode("client.p12", 0o600);
}
