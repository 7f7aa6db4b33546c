//! What a certificate says of itself: names, times, uses, keys, signatures.

use Expect::Root;
use countersign_diagnose::cause::Cause;
use countersign_testkit::pki::pem;
use rcgen::{CertificateParams, ExtendedKeyUsagePurpose, KeyUsagePurpose, SanType, SerialNumber};

use crate::doctor_corpus::forge::{self, DAY, HOUR};
use crate::doctor_corpus::scenario::{Expect, Scenario};
use crate::doctor_corpus::workshop::{VERIFY_CLIENT, VERIFY_SERVER, Workshop};

pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "client certificate expired",
        source: "https://github.com/siderolabs/talos/issues/3033",
        expect: Root(&[Cause::LeafExpired]),
        build: |w| {
            w.client(&forge::valid(forge::client("client"), -91 * DAY, -DAY));
            w.client_files().shows(VERIFY_CLIENT, "error 10 at 0 depth")
        },
    },
    Scenario {
        name: "server certificate expired an hour ago",
        source: "https://github.com/dktr0/estuary/issues/148",
        expect: Root(&[Cause::LeafExpired]),
        build: |w| {
            w.server(&forge::valid(
                forge::server(&["localhost"]),
                -91 * DAY,
                -HOUR,
            ));
            w.server_files().shows(VERIFY_SERVER, "error 10 at 0 depth")
        },
    },
    Scenario {
        name: "client certificate begins tomorrow",
        source: "https://github.com/kubernetes-sigs/cluster-api-provider-vsphere/issues/503",
        expect: Root(&[Cause::NotYetValid]),
        build: |w| {
            w.client(&forge::valid(forge::client("client"), DAY, 90 * DAY));
            w.client_files().shows(VERIFY_CLIENT, "error 9 at 0 depth")
        },
    },
    Scenario {
        name: "server certificate begins in two hours",
        source: "https://github.com/ironicbadger/ocp4/issues/23",
        expect: Root(&[Cause::NotYetValid]),
        build: |w| {
            w.server(&forge::valid(
                forge::server(&["localhost"]),
                2 * HOUR,
                90 * DAY,
            ));
            w.server_files().shows(VERIFY_SERVER, "error 9 at 0 depth")
        },
    },
    Scenario {
        name: "board without a clock battery, files alone",
        source: "https://github.com/rancher/k3os/issues/657",
        expect: Root(&[Cause::ClockSkewLocal]),
        build: |w| w.client_files().at("@2012-01-01 00:00:10"),
    },
    Scenario {
        name: "client uses a certificate for servers (Let's Encrypt)",
        source: "https://github.com/caddyserver/caddy/issues/7320",
        expect: Root(&[Cause::EkuMissingClientauth]),
        build: |w| {
            let mut draft = forge::client("client");
            draft.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
            w.client(&draft);
            w.client_files().shows(VERIFY_CLIENT, "error 26 at 0 depth")
        },
    },
    Scenario {
        name: "client uses a certificate for code signing",
        source: "https://github.com/etcd-io/etcd/issues/365",
        expect: Root(&[Cause::EkuMissingClientauth]),
        build: |w| {
            let mut draft = forge::client("client");
            draft.extended_key_usages = vec![ExtendedKeyUsagePurpose::CodeSigning];
            w.client(&draft);
            w.client_files().shows(VERIFY_CLIENT, "error 26 at 0 depth")
        },
    },
    Scenario {
        name: "server uses a certificate for clients",
        source: "https://github.com/gravitational/teleport/issues/48595",
        expect: Root(&[Cause::EkuMissingServerauth]),
        build: |w| {
            let mut draft = forge::server(&["localhost"]);
            draft.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
            w.server(&draft);
            w.server_files().shows(VERIFY_SERVER, "error 26 at 0 depth")
        },
    },
    Scenario {
        name: "client's keyUsage allows encryption only",
        source: "https://github.com/etcd-io/etcd/issues/9398",
        expect: Root(&[Cause::KeyusageMissingDigitalsignature]),
        build: |w| {
            let mut draft = forge::client("client");
            draft.key_usages = vec![KeyUsagePurpose::KeyEncipherment];
            w.client(&draft);
            w.client_files().shows(VERIFY_CLIENT, "error 26 at 0 depth")
        },
    },
    Scenario {
        name: "server names its host in CN alone",
        source: "https://github.com/linkerd/linkerd2/issues/4945",
        expect: Root(&[Cause::SanMissing]),
        build: |w| {
            let mut draft = forge::server(&["localhost"]);
            draft.subject_alt_names = vec![];
            w.server(&draft);
            // OpenSSL falls back to the CN; Go, Java, Python and browsers do not.
            w.server_files().shows(
                "openssl x509 -in server.pem -noout -ext subjectAltName",
                "No extensions",
            )
        },
    },
    Scenario {
        name: "server is called otherwise",
        source: "https://github.com/grpc/grpc-go/issues/5814",
        expect: Root(&[Cause::NameMismatch]),
        build: |w| {
            w.server(&forge::server(&["db.internal.example", "db"]));
            w.server_files().shows(VERIFY_SERVER, "error 62")
        },
    },
    Scenario {
        name: "name differs in one letter",
        source: "https://github.com/xuperchain/xuperchain/issues/1078",
        expect: Root(&[Cause::NameMismatch]),
        build: |w| {
            w.server(&forge::server(&["api.exmaple.com"]));
            w.server_files()
                .instead("--name", "api.example.com")
                .shows("openssl verify -CAfile root.pem -untrusted server.pem -verify_hostname api.example.com server.pem", "error 62")
        },
    },
    Scenario {
        name: "address used, certificate has DNS names alone",
        source: "https://github.com/kubernetes/kubernetes/issues/62939",
        expect: Root(&[Cause::IpSanMissing]),
        build: |w| {
            w.server_files()
                .instead("--name", "10.240.0.12")
                .shows("openssl verify -CAfile root.pem -untrusted server.pem -verify_ip 10.240.0.12 server.pem", "error 64")
        },
    },
    Scenario {
        name: "address written as a DNS name",
        source: "https://github.com/etcd-io/etcd/issues/8318",
        expect: Root(&[Cause::IpSanMissing]),
        build: |w| {
            w.server(&forge::server(&["192.168.1.7"]));
            w.server_files()
                .instead("--name", "192.168.1.7")
                .shows("openssl verify -CAfile root.pem -untrusted server.pem -verify_ip 192.168.1.7 server.pem", "error 64")
        },
    },
    Scenario {
        name: "wildcard one level too high",
        source: "https://github.com/haproxy/haproxy/issues/3081",
        expect: Root(&[Cause::WildcardMismatch]),
        build: |w| {
            w.server(&forge::server(&["*.example.com"]));
            w.server_files()
                .instead("--name", "v2.api.example.com")
                .shows("openssl verify -CAfile root.pem -untrusted server.pem -verify_hostname v2.api.example.com server.pem", "error 62")
        },
    },
    Scenario {
        name: "RSA key of 1024 bits",
        source: "https://github.com/openssl/openssl/issues/20972",
        expect: Root(&[Cause::WeakKey]),
        build: |w| {
            w.run("openssl genrsa -out client.key 1024");
            by_openssl(
                w,
                "client",
                "extendedKeyUsage=clientAuth",
                "-sha256 -set_serial 91",
            );
            w.client_files().shows(
                "openssl verify -auth_level 2 -CAfile root.pem -untrusted client.pem client.pem",
                "error 66 at 0 depth",
            )
        },
    },
    Scenario {
        name: "server certificate signed with SHA-1",
        source: "https://github.com/openssl/openssl/issues/23126",
        expect: Root(&[Cause::WeakSignature]),
        build: |w| {
            by_openssl(
                w,
                "server",
                "extendedKeyUsage=serverAuth\nsubjectAltName=DNS:localhost",
                "-sha1 -set_serial 92",
            );
            w.server_files().shows(
                "openssl verify -auth_level 2 -CAfile root.pem -untrusted server.pem server.pem",
                "error 68 at 0 depth",
            )
        },
    },
    Scenario {
        name: "client certificate signed with MD5",
        source: "https://github.com/openssl/openssl/issues/20532",
        expect: Root(&[Cause::WeakSignature]),
        build: |w| {
            w.run("openssl genrsa -out old.key 2048");
            w.run("openssl req -x509 -new -key old.key -subj /CN=Corpus_Old_Root -days 900 -sha256 -out root.pem");
            w.write("extensions", "extendedKeyUsage=clientAuth\n");
            w.run("openssl req -new -key client.key -subj /CN=client -out client.csr");
            w.run("openssl x509 -req -md5 -in client.csr -CA root.pem -CAkey old.key -set_serial 93 -days 90 -extfile extensions -out client.pem");
            w.client_files()
                .shows("openssl x509 -in client.pem -noout -text", "md5WithRSA")
        },
    },
    Scenario {
        name: "negative serial number (Go 1.23)",
        source: "https://github.com/istio/istio/issues/56815",
        expect: Root(&[Cause::BadSerial]),
        build: |w| {
            by_openssl(
                w,
                "server",
                "extendedKeyUsage=serverAuth\nsubjectAltName=DNS:localhost",
                "-sha256 -set_serial -4711",
            );
            w.server_files()
                .shows("openssl x509 -in server.pem -noout -serial", "serial=-")
        },
    },
    Scenario {
        name: "serial number of 21 octets",
        source: "https://github.com/golang/go/issues/71606",
        expect: Root(&[Cause::BadSerial]),
        build: |w| {
            let mut draft = forge::client("client");
            draft.serial_number = Some(SerialNumber::from_slice(&[0x7f; 21]));
            w.client(&draft);
            w.client_files().shows(
                "openssl x509 -in client.pem -noout -serial",
                &"7F".repeat(21),
            )
        },
    },
    Scenario {
        name: "client certificate of version 1",
        source: "https://github.com/rustls/rustls/issues/124",
        expect: Root(&[Cause::X509V1]),
        build: |w| {
            by_openssl(w, "client", "", "-sha256 -set_serial 95");
            w.client_files().shows(
                "openssl x509 -in client.pem -noout -text",
                "Version: 1 (0x0)",
            )
        },
    },
    Scenario {
        name: "server certificate of version 1",
        source: "https://github.com/rustls/rustls/issues/124",
        expect: Root(&[Cause::X509V1]),
        build: |w| {
            by_openssl(w, "server", "", "-sha256 -set_serial 96");
            w.server_files().shows(
                "openssl x509 -in server.pem -noout -text",
                "Version: 1 (0x0)",
            )
        },
    },
    Scenario {
        name: "intermediate signed with SHA-1",
        source: "https://github.com/openssl/openssl/issues/19475",
        expect: Root(&[Cause::WeakSignature]),
        build: |w| {
            w.write("ca.key", w.root.key_pem());
            w.write("issuing.key", w.issuing.key_pem());
            w.write("extensions", "basicConstraints=critical,CA:TRUE\nkeyUsage=keyCertSign,cRLSign\nsubjectKeyIdentifier=hash\n");
            w.run("openssl req -new -key issuing.key -subj /CN=Corpus_Web_CA -out issuing.csr");
            w.run("openssl x509 -req -sha1 -in issuing.csr -CA root.pem -CAkey ca.key -set_serial 97 -days 900 -extfile extensions -out issuing.pem");
            w.write(
                "extensions",
                "extendedKeyUsage=serverAuth\nsubjectAltName=DNS:localhost\n",
            );
            w.run("openssl req -new -key server.key -subj /CN=localhost -out server.csr");
            w.run("openssl x509 -req -sha256 -in server.csr -CA issuing.pem -CAkey issuing.key -set_serial 98 -days 90 -extfile extensions -out server.leaf.pem");
            w.join("server.pem", &["server.leaf.pem", "issuing.pem"]);
            w.server_files().shows(
                "openssl verify -auth_level 2 -CAfile root.pem -untrusted server.pem server.pem",
                "error 68 at 1 depth",
            )
        },
    },
    Scenario {
        name: "CA with an RSA key of 1024 bits",
        source: "https://github.com/briansmith/webpki/issues/62",
        expect: Root(&[Cause::WeakKey]),
        build: |w| {
            w.run("openssl genrsa -out ca.key 1024");
            w.run("openssl req -x509 -new -sha256 -key ca.key -subj /CN=Corpus_Old_Root -days 900 -out root.pem");
            w.write("extensions", "extendedKeyUsage=clientAuth\n");
            w.run("openssl req -new -key client.key -subj /CN=client -out client.csr");
            w.run("openssl x509 -req -sha256 -in client.csr -CA root.pem -CAkey ca.key -set_serial 99 -days 90 -extfile extensions -out client.pem");
            w.client_files().shows(
                "openssl verify -auth_level 2 -CAfile root.pem client.pem",
                "error 67 at 1 depth",
            )
        },
    },
    Scenario {
        name: "serial number zero",
        source: "https://github.com/golang/go/issues/73293",
        expect: Root(&[Cause::BadSerial]),
        build: |w| {
            by_openssl(
                w,
                "client",
                "extendedKeyUsage=clientAuth",
                "-sha256 -set_serial 0",
            );
            w.client_files()
                .shows("openssl x509 -in client.pem -noout -serial", "serial=00")
        },
    },
    Scenario {
        name: "wildcard, connected to the name above it",
        source: "https://github.com/haproxy/haproxy/issues/3081",
        expect: Root(&[Cause::WildcardMismatch, Cause::NameMismatch]),
        build: |w| {
            w.server(&forge::server(&["*.example.com"]));
            w.server_files()
                .instead("--name", "example.com")
                .shows("openssl verify -CAfile root.pem -untrusted server.pem -verify_hostname example.com server.pem", "error 62")
        },
    },
    Scenario {
        name: "a byte of the certificate's signature altered",
        source: "https://github.com/haproxy/haproxy/issues/1201",
        expect: Root(&[Cause::BadSignature]),
        build: |w| {
            let direct = w.root.issue(&forge::client("client"));
            w.client_is(&direct, "");
            spoil(w, "client.pem");
            w.client_files().shows(VERIFY_CLIENT, "error 7 at 0 depth")
        },
    },
];

/// Has OpenSSL issue for the side's key under the root, with these extensions and options.
pub(super) fn by_openssl(workshop: &Workshop, side: &str, extensions: &str, options: &str) {
    workshop.write("ca.key", workshop.root.key_pem());
    workshop.write("extensions", format!("{extensions}\n"));
    let name = if side == "server" { "localhost" } else { side };
    workshop.run(&format!(
        "openssl req -new -key {side}.key -subj /CN={name} -out {side}.csr"
    ));
    let file = if extensions.is_empty() {
        ""
    } else {
        "-extfile extensions"
    };
    workshop.run(&format!(
        "openssl x509 -req -in {side}.csr -CA root.pem -CAkey ca.key -days 90 {options} {file} -out {side}.pem"
    ));
    workshop.join(&format!("{side}.leaf.pem"), &[&format!("{side}.pem")]);
    workshop.mode(&format!("{side}.key"), 0o600);
}

/// Alters the last byte of the first certificate in a file, which is its signature's.
pub(super) fn spoil(workshop: &Workshop, name: &str) {
    use rustls_pki_types::CertificateDer;
    use rustls_pki_types::pem::PemObject;
    let certificate = CertificateDer::from_pem_slice(workshop.read(name).as_bytes());
    let mut der = certificate.expect("a certificate in PEM").to_vec();
    let last = der.last_mut().expect("a certificate has bytes");
    *last ^= 1;
    workshop.write(name, pem("CERTIFICATE", &der));
}

/// The same with one more IP address.
pub(super) fn at_address(
    mut draft: CertificateParams,
    address: std::net::IpAddr,
) -> CertificateParams {
    draft.subject_alt_names.push(SanType::IpAddress(address));
    draft
}
