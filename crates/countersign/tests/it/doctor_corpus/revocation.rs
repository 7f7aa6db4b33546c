//! What is published about certificates, and what servers staple: lists by Python's HTTP server, answers by `openssl ocsp`.

use std::fs::File;
use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use Expect::{Healthy, Risk, Root};
use countersign_diagnose::cause::Cause;
use countersign_testkit::ephemeral;
use rcgen::{CertificateParams, CrlDistributionPoint, CustomExtension};

use crate::doctor_corpus::forge::{self, Authority, DAY, HOUR};
use crate::doctor_corpus::scenario::{Expect, Scenario};
use crate::doctor_corpus::servers::Running;
use crate::doctor_corpus::workshop::{Invocation, Workshop};

impl Workshop {
    /// What lies in the folder, over HTTP.
    fn published(&mut self) -> SocketAddr {
        let address = ephemeral::address();
        let port = address.port().to_string();
        let server = ["-u", "-m", "http.server", "--bind", "127.0.0.1", &port];
        self.start("python3", &server, "Serving HTTP");
        address
    }

    /// A responder of the issuing CA that says this (`V` or `R` in OpenSSL's words) of these, and knows no others.
    fn responder(&mut self, said: &[(char, &CertificateParams)]) -> SocketAddr {
        let address = ephemeral::address();
        self.index(said);
        let port = address.port().to_string();
        let responder = [
            "ocsp",
            "-index",
            "index.txt",
            "-port",
            &port,
            "-rsigner",
            "issuing.pem",
            "-rkey",
            "issuing.key",
            "-CA",
            "issuing.pem",
            "-nmin",
            "60",
        ];
        self.start("openssl", &responder, "waiting for OCSP client");
        address
    }

    /// Runs until the scenario is over, and says `ready` when it serves: a connection that asks nothing would keep OpenSSL busy.
    fn start(&mut self, program: &str, arguments: &[&str], ready: &str) {
        let log = File::create(self.path("publisher.log")).expect("writable");
        let twin = log.try_clone().expect("a file can be shared");
        let child = Command::new(program)
            .args(arguments)
            .current_dir(self.folder())
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(twin)
            .spawn()
            .expect("it starts");
        self.keep(Running(child));
        let begun = Instant::now();
        while !self.read("publisher.log").contains(ready) {
            assert!(
                begun.elapsed() < HANG,
                "{program} is not up: {}",
                self.read("publisher.log")
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// The database of `openssl ca`.
    fn index(&self, said: &[(char, &CertificateParams)]) {
        self.write_key("issuing.key", self.issuing.key_pem());
        let line = |(status, draft): &(char, &CertificateParams)| {
            let serial = draft.serial_number.as_ref().expect("drafts have one");
            let serial = serial
                .to_bytes()
                .iter()
                .fold(String::new(), |hex, byte| format!("{hex}{byte:02X}"));
            let revoked = if *status == 'R' { "260101000000Z" } else { "" };
            format!("{status}\t491231235959Z\t{revoked}\t{serial}\tunknown\t/CN=x\n")
        };
        let lines: String = said.iter().map(line).collect();
        self.write("index.txt", lines);
    }

    /// `staple.der`: the responder's answer about `server.leaf.pem`, made when faketime says.
    fn staple(&self, said: &[(char, &CertificateParams)], when: &str) {
        self.index(said);
        self.run(
            "openssl ocsp -issuer issuing.pem -cert server.leaf.pem -no_nonce -reqout request.der",
        );
        self.run(&format!(
            "faketime -f {when} openssl ocsp -index index.txt -rsigner issuing.pem -rkey issuing.key -CA issuing.pem -ndays 7 \
             -reqin request.der -respout staple.der"
        ));
    }

    /// `s_server` that sends `staple.der`.
    fn stapling_server(&mut self) -> Invocation {
        let address = self.mutual_s_server("-status_file staple.der");
        self.connect(address)
    }
}

/// With its list there.
fn listed_at(mut draft: CertificateParams, address: SocketAddr, path: &str) -> CertificateParams {
    draft.crl_distribution_points = vec![CrlDistributionPoint {
        uris: vec![format!("http://{address}/{path}")],
    }];
    draft
}

/// With its responder there.
fn answered_at(mut draft: CertificateParams, address: SocketAddr) -> CertificateParams {
    let uri = format!("http://{address}/");
    let tlv = |tag: u8, content: &[u8]| {
        let length = u8::try_from(content.len()).expect("short");
        [&[tag, length][..], content].concat()
    };
    // RFC 5280 §4.2.2.1: id-ad-ocsp, and a URI.
    let method = [0x06, 8, 0x2b, 6, 1, 5, 5, 7, 0x30, 1];
    let access = [&method[..], &tlv(0x86, uri.as_bytes())].concat();
    let extension = tlv(0x30, &tlv(0x30, &access));
    draft
        .custom_extensions
        .push(CustomExtension::from_oid_content(
            &[1, 3, 6, 1, 5, 5, 7, 1, 1],
            extension,
        ));
    draft
}

/// RFC 7633: `status_request`.
pub(crate) fn must_staple(mut draft: CertificateParams) -> CertificateParams {
    draft
        .custom_extensions
        .push(CustomExtension::from_oid_content(
            &[1, 3, 6, 1, 5, 5, 7, 1, 24],
            vec![0x30, 3, 2, 1, 5],
        ));
    draft
}

/// A client whose issuer publishes `issuing.crl`.
fn listed_client(w: &mut Workshop) -> CertificateParams {
    let address = w.published();
    let draft = listed_at(forge::client("client"), address, "issuing.crl");
    w.client(&draft);
    draft
}

fn fetching(w: &Workshop) -> Invocation {
    w.client_files().with("--fetch")
}

const STAPLED: &str =
    "openssl s_client -connect TARGET -status -CAfile root.pem -cert client.pem -key client.key";

pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "published list names the client",
        source: "https://github.com/emqx/emqx/issues/9732",
        expect: Root(&[Cause::CertificateRevoked]),
        build: |w| {
            let draft = listed_client(w);
            w.write("issuing.crl", w.issuing.list(&[&draft], -HOUR, DAY));
            fetching(w)
        },
    },
    Scenario {
        name: "published list names somebody else",
        source: "https://github.com/emqx/emqx/issues/9732",
        expect: Healthy,
        build: |w| {
            listed_client(w);
            w.write(
                "issuing.crl",
                w.issuing.list(&[&forge::client("other")], -HOUR, DAY),
            );
            fetching(w)
        },
    },
    Scenario {
        name: "published list names the client, and nobody asked for it",
        source: "https://github.com/emqx/emqx/issues/9732",
        expect: Healthy,
        build: |w| {
            let draft = listed_client(w);
            w.write("issuing.crl", w.issuing.list(&[&draft], -HOUR, DAY));
            w.client_files()
        },
    },
    Scenario {
        name: "published list is past its next update",
        source: "https://github.com/AMWA-TV/nmos-testing/pull/564",
        expect: Risk(Cause::CrlExpired),
        build: |w| {
            listed_client(w);
            w.write("issuing.crl", w.issuing.list(&[], -9 * DAY, -2 * DAY));
            fetching(w)
        },
    },
    Scenario {
        name: "list is not published any more",
        source: "https://github.com/gravitational/teleport/pull/63895",
        expect: Risk(Cause::CrlMissing),
        build: |w| {
            listed_client(w);
            fetching(w)
        },
    },
    Scenario {
        name: "published list is of another CA of the same name",
        source: "https://github.com/7ritn/VaulTLS/issues/166",
        expect: Risk(Cause::CrlWrongIssuer),
        build: |w| {
            listed_client(w);
            let twin = w.root.below(forge::authority("Corpus Issuing CA"));
            w.write("issuing.crl", twin.list(&[], -HOUR, DAY));
            fetching(w)
        },
    },
    Scenario {
        name: "responder says that the client is revoked",
        source: "https://github.com/nginx/nginx/pull/335",
        expect: Root(&[Cause::CertificateRevoked]),
        build: |w| {
            let draft = forge::client("client");
            let address = w.responder(&[('R', &draft)]);
            w.client(&answered_at(draft, address));
            fetching(w)
        },
    },
    Scenario {
        name: "responder says that the client is good",
        source: "https://docs.openssl.org/3.0/man1/openssl-ocsp/",
        expect: Healthy,
        build: |w| {
            let draft = forge::client("client");
            let address = w.responder(&[('V', &draft)]);
            w.client(&answered_at(draft, address));
            fetching(w)
        },
    },
    Scenario {
        name: "responder does not know the client",
        source: "https://github.com/testssl/testssl.sh/pull/1066",
        expect: Risk(Cause::OcspUnknown),
        build: |w| {
            let address = w.responder(&[('V', &forge::client("other"))]);
            w.client(&answered_at(forge::client("client"), address));
            fetching(w)
        },
    },
    Scenario {
        name: "responder is gone",
        source: "https://github.com/lesaff/serverpilot-letsencrypt/issues/79",
        expect: Risk(Cause::OcspUnreachable),
        build: |w| {
            let nobody = ephemeral::address();
            w.client(&answered_at(forge::client("client"), nobody));
            fetching(w)
        },
    },
    Scenario {
        name: "responder is gone, and nginx insists on it",
        source: "https://nginx.org/en/docs/http/ngx_http_ssl_module.html#ssl_ocsp",
        expect: Root(&[Cause::OcspUnreachable]),
        build: |w| {
            let nobody = ephemeral::address();
            w.client(&answered_at(forge::client("client"), nobody));
            w.write(
                "site.conf",
                "server {\n  ssl_verify_client on;\n  ssl_ocsp leaf;\n}\n",
            );
            fetching(w).with("--file site.conf")
        },
    },
    Scenario {
        name: "server shows a certificate that its CA's list names",
        source: "https://github.com/openssl/openssl/issues/16304",
        expect: Root(&[Cause::CertificateRevoked]),
        build: |w| {
            let address = w.published();
            let draft = listed_at(forge::server(&["localhost"]), address, "issuing.crl");
            w.server(&draft);
            w.write("issuing.crl", w.issuing.list(&[&draft], -HOUR, DAY));
            let address = w.mutual_s_server("");
            w.connect(address).with("--fetch")
        },
    },
    Scenario {
        name: "server lets in a client that its CA's list names",
        source: "https://github.com/Gr33nbl00d/caddy-revocation-validator/issues/47",
        expect: Root(&[Cause::RevocationNotChecked]),
        build: |w| {
            let draft = listed_client(w);
            w.write("issuing.crl", w.issuing.list(&[&draft], -HOUR, DAY));
            let address = w.mutual_nginx("");
            w.connect(address).with("--fetch")
        },
    },
    Scenario {
        name: "server staples a good answer",
        source: "https://docs.openssl.org/3.0/man1/openssl-s_server/",
        expect: Healthy,
        build: |w| {
            let draft = must_staple(forge::server(&["localhost"]));
            w.server(&draft);
            w.staple(&[('V', &draft)], "-1h");
            w.stapling_server().shows(STAPLED, "Cert Status: good")
        },
    },
    Scenario {
        name: "server staples that it is revoked",
        source: "https://github.com/kubernetes/ingress-nginx/pull/5403",
        expect: Root(&[Cause::CertificateRevoked]),
        build: |w| {
            let draft = forge::server(&["localhost"]);
            w.server(&draft);
            w.staple(&[('R', &draft)], "-1h");
            w.stapling_server().shows(STAPLED, "Cert Status: revoked")
        },
    },
    Scenario {
        name: "server staples an answer of last month",
        source: "https://github.com/h2o/h2o/issues/1102",
        expect: Root(&[Cause::OcspStale]),
        build: |w| {
            let draft = must_staple(forge::server(&["localhost"]));
            w.server(&draft);
            w.staple(&[('V', &draft)], "-30d");
            w.stapling_server().shows(STAPLED, "Cert Status: good")
        },
    },
    Scenario {
        name: "server staples the answer about its last certificate",
        source: "https://github.com/haproxy/haproxy/issues/2319",
        expect: Risk(Cause::OcspAnswerInvalid),
        build: |w| {
            let draft = forge::server(&["localhost"]);
            w.server(&draft);
            w.staple(&[('V', &draft)], "-1h");
            w.server(&forge::server(&["localhost"]));
            w.stapling_server().shows(STAPLED, "Cert Status: good")
        },
    },
    Scenario {
        name: "server staples an answer that a stranger signed",
        source: "https://github.com/openssl/openssl/issues/7389",
        expect: Risk(Cause::OcspAnswerInvalid),
        build: |w| {
            let draft = forge::server(&["localhost"]);
            w.server(&draft);
            w.index(&[('V', &draft)]);
            let twin = Authority::root(forge::authority("Corpus Issuing CA"));
            w.write("twin.pem", twin.pem());
            w.write_key("twin.key", twin.key_pem());
            w.run("openssl ocsp -issuer issuing.pem -cert server.leaf.pem -no_nonce -reqout request.der");
            w.run("openssl ocsp -index index.txt -rsigner twin.pem -rkey twin.key -CA issuing.pem -ndays 7 -reqin request.der -respout staple.der");
            w.stapling_server().shows(STAPLED, "Cert Status: good")
        },
    },
    Scenario {
        name: "certificate with must-staple, and no staple",
        source: "https://github.com/opnsense/plugins/issues/794",
        expect: Risk(Cause::OcspStapleMissing),
        build: |w| {
            w.server(&must_staple(forge::server(&["localhost"])));
            let address = w.mutual_s_server("");
            w.connect(address).shows(
                "gnutls-cli --x509cafile root.pem --x509certfile client.pem --x509keyfile client.key TARGET",
                "requires the server to include an OCSP status",
            )
        },
    },
    Scenario {
        name: "certificate without must-staple, and no staple",
        source: "https://docs.openssl.org/3.0/man1/openssl-s_server/",
        expect: Healthy,
        build: |w| {
            let address = w.mutual_s_server("");
            w.connect(address)
                .with("--fetch")
                .shows(STAPLED, "no response sent")
        },
    },
];

/// Only catches a hang.
const HANG: Duration = Duration::from_secs(20);
