use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use countersign_pki::ocsp::{
    CertStatus, IssuerHashes, OcspRequest, OcspResponseTemplate, Responder,
};
use rcgen::SigningKey as _;

use super::{Ca, DAY, ECDSA, Holder, now};
use crate::installation::text;
use crate::nginx::Nginx;
use crate::openssl::{SessionUse, s_client};
use crate::peers::peer;

#[test]
fn nginx_asks_by_get_and_staples_what_it_is_told() {
    let name = "nginx_asks_by_get_and_staples_what_it_is_told";
    let (Some(openssl), Some(nginx)) = (peer(name, "openssl"), peer(name, "nginx")) else {
        return;
    };
    let ca = Ca::new();
    let leaf = ca.leaf(2, None);
    let (certificate, key, issuer) = (leaf.file.clone(), leaf.key_file(), ca.file());
    let (responder, answered) = answering_good(ca);
    let nginx = Nginx::start(&nginx, |address| {
        format!(
            "server {{ listen {address} ssl; ssl_certificate {}; ssl_certificate_key {}; ssl_stapling on; \
             ssl_stapling_verify on; ssl_trusted_certificate {}; \
             ssl_stapling_responder http://{responder}/status; return 200; }}",
            text(&certificate),
            text(&key),
            text(&issuer)
        )
    });
    let status = || {
        let options = ["-status"];
        let session = SessionUse::None;
        s_client(&openssl, nginx.address(), None, &options, session).output
    };
    // nginx asks when the first client comes, and has nothing for that one yet.
    let first = status();
    assert!(first.contains("OCSP response: no response sent"), "{first}");
    answered
        .recv_timeout(HANG)
        .expect("nginx asked, and asked well");
    // The answer has been sent; a client or two may come before nginx has verified it.
    let stapled = (0..100)
        .map(|_| status())
        .find(|output| output.contains("OCSP Response Status: successful"))
        .expect("nginx staples what it verified");
    assert!(stapled.contains("Cert Status: good"), "{stapled}");
}

/// Answers each GET below `/status` with good, by a delegated responder, and tells when it has.
fn answering_good(ca: Ca) -> (SocketAddr, Receiver<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("bound");
    let (tell, answered) = channel();
    std::thread::spawn(move || {
        let responder = ca.responder();
        for connection in listener.incoming() {
            let connection = connection.expect("loopback");
            let response = good(&ca, &responder, &target(&connection));
            let head = format!(
                "HTTP/1.0 200 OK\r\nContent-Type: application/ocsp-response\r\nContent-Length: {}\r\n\r\n",
                response.len()
            );
            let mut connection = connection;
            connection.write_all(head.as_bytes()).expect("loopback");
            connection.write_all(&response).expect("loopback");
            if tell.send(()).is_err() {
                return;
            }
        }
    });
    (address, answered)
}

/// The target of a GET; its header is read to the end.
fn target(connection: &TcpStream) -> String {
    let mut lines = BufReader::new(connection)
        .lines()
        .map(|line| line.expect("text"));
    let first = lines.next().expect("a request line");
    assert!(first.starts_with("GET /status/"), "{first}");
    lines.by_ref().take_while(|line| !line.is_empty()).count();
    first.split(' ').nth(1).expect("a target").to_owned()
}

fn good(ca: &Ca, responder: &Holder, target: &str) -> Vec<u8> {
    let path = target.strip_prefix("/status").expect("our own path");
    let request = OcspRequest::parse_get(path).expect("nginx asks well");
    let issuer = IssuerHashes::of(&ca.certificate);
    assert!(request.questions().iter().all(|id| issuer.issued(id)));
    let template = OcspResponseTemplate {
        produced_at: now(),
        this_update: now(),
        next_update: now().plus(DAY),
        answers: request
            .questions()
            .iter()
            .map(|id| (id.clone(), CertStatus::Good))
            .collect(),
        nonce: request.nonce().cloned(),
    };
    let delegated = Responder::delegated(&responder.certificate).expect("one");
    let to_be_signed = template.to_be_signed(delegated, ECDSA).expect("encodes");
    let signature = responder.key.sign(to_be_signed.bytes());
    to_be_signed.complete(&signature.expect("a signature"))
}

/// Only catches a hang.
const HANG: Duration = Duration::from_secs(20);
