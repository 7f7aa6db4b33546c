//! `HAProxy` as the gateway's client and as its upstream, each with a certificate.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use countersign_testkit::bypass::Protocol;
use countersign_testkit::ephemeral;
use countersign_testkit::upstream::Upstream;

use crate::haproxy::HaProxy;
use crate::http::Connection;
use crate::installation::{Installation, Issued, text};
use crate::peers::peer;

/// Chain and key in one file, as `HAProxy` reads them.
fn together(identity: &Issued) -> PathBuf {
    let path = identity.folder().join("both.pem");
    let [chain, key] = [identity.certificate(), identity.key()]
        .map(|path| fs::read_to_string(path).expect("readable"));
    fs::write(&path, format!("{chain}{key}")).expect("writable");
    path
}

/// What is answered to a GET with a forged identity, as a program without TLS sends it.
fn get(address: SocketAddr) -> String {
    let mut stream = TcpStream::connect(address).expect("connects");
    stream.set_read_timeout(Some(HANG)).expect("a duration");
    let request = "GET /x HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\nx-client-cn: forged\r\nx_client_cn: forged\r\n\r\n";
    stream.write_all(request.as_bytes()).expect("open");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    answer
}

/// Plaintext on one side, mutual TLS to the gateway on the other.
fn way_in(program: &Path, gateway: SocketAddr, ca: &Path, crt: &str, alpn: &str) -> HaProxy {
    HaProxy::start(program, |address, _| {
        format!(
            "listen in\n mode http\n bind {address}\n server gateway {gateway} ssl verify required ca-file {} {crt} \
             sni str(localhost) verifyhost localhost alpn {alpn}\n",
            text(ca)
        )
    })
}

#[test]
fn haproxy_as_client_is_let_in_as_itself_and_refused_as_anybody_else() {
    let test = "haproxy_as_client_is_let_in_as_itself_and_refused_as_anybody_else";
    let Some(program) = peer(test, "haproxy") else {
        return;
    };
    let (installation, elsewhere) = (Installation::new(), Installation::new());
    let upstream = Upstream::start();
    let gateway = ephemeral::address();
    let _process = installation.serve(&format!(
        "[gateway]\nworkers = 1\nmetrics_address = \"127.0.0.1:0\"\n[[gateway.listener]]\naddress = \"{gateway}\"\n\
         [[gateway.listener.route]]\nupstream = \"http://{}\"\nallow = [{{ cn = \"haproxy\" }}]\n",
        upstream.address()
    ));
    let [own, other] = ["haproxy", "other"].map(|name| installation.issue("client", name, &[]));
    let stranger = elsewhere.issue("client", "haproxy", &[]);
    let crt = |identity: &Issued| format!("crt {}", text(&together(identity)));
    for alpn in ["http/1.1", "h2"] {
        for (crt, status) in [
            (crt(&own), "200"),
            (crt(&other), "403"),
            (crt(&stranger), "502"),
            (String::new(), "502"),
        ] {
            let before = upstream.received().len();
            let front = way_in(&program, gateway, &own.ca(), &crt, alpn);
            let answer = get(front.address);
            let found = answer.split(' ').nth(1).unwrap_or_default();
            // A refusal in TLS 1.3 comes after the handshake, or is the handshake's end.
            let is_right = found == status || (status == "502" && found == "503");
            assert!(is_right, "{alpn} {crt}: {answer}");
            let told = upstream.received_text().split_off(before).to_lowercase();
            if status == "200" {
                assert!(told.contains("x-client-cn: haproxy"), "{told}");
                assert!(!told.contains("forged"), "{told}");
            } else {
                assert_eq!(told, "", "{alpn} {crt}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn haproxy_as_upstream_sees_the_gateways_certificate_and_refuses_a_strangers() {
    let test = "haproxy_as_upstream_sees_the_gateways_certificate_and_refuses_a_strangers";
    let Some(program) = peer(test, "haproxy") else {
        return;
    };
    let (installation, elsewhere) = (Installation::new(), Installation::new());
    let server = installation.issue("server", "localhost", &[]);
    let you = installation.issue("client", "you", &[]);
    let own = installation.issue("client", "gateway", &[]);
    let stranger = elsewhere.issue("client", "gateway", &[]);
    let both = together(&server);
    let upstream = HaProxy::start(&program, |address, _| {
        format!(
            "frontend told\n mode http\n bind {address} ssl crt {} ca-file {} verify required alpn h2,http/1.1\n \
             http-request return status 200 content-type text/plain lf-string \
             \"by=%[ssl_c_s_dn(CN)] for=%[req.hdr(x-client-cn)] over=%[req.ver]\"\n",
            text(&both),
            text(&server.ca())
        )
    });
    for (protocol, version) in [("h2", "2.0"), ("http/1.1", "1.1")] {
        for (identity, expected) in [(Some(&own), 200), (Some(&stranger), 502), (None, 502)] {
            let gateway = ephemeral::address();
            let shown = identity.map(|identity| {
                let (certificate, key) = (identity.certificate(), identity.key());
                format!(
                    "certificate = \"{}\"\nkey = \"{}\"",
                    text(&certificate),
                    text(&key)
                )
            });
            let _process = installation.serve(&format!(
                "[gateway]\nworkers = 1\nmetrics_address = \"127.0.0.1:0\"\n[[gateway.listener]]\naddress = \"{gateway}\"\n\
                 [[gateway.listener.route]]\nupstream = \"https://localhost:{}\"\nupstream_protocol = \"{protocol}\"\n\
                 allow = [{{ cn = \"you\" }}]\n[gateway.listener.route.upstream_tls]\n{}\n",
                upstream.address.port(),
                shown.unwrap_or_default(),
            ));
            let client = you.client(Protocol::Http1Tls13);
            let opened = Connection::open(&client, Protocol::Http1Tls13, gateway).await;
            let (status, body) = opened.expect("let in").get("/x").await.expect("an answer");
            assert_eq!(status, expected, "{protocol}: {body}");
            if expected == 200 {
                assert_eq!(body, format!("by=gateway for=you over={version}"));
            }
        }
    }
}

/// Only catches a hang.
const HANG: Duration = Duration::from_secs(30);
