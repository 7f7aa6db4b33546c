//! Access withdrawn is withdrawn everywhere: when the command has returned, every path already refuses.

use std::net::SocketAddr;
use std::path::Path;

use countersign_testkit::bypass::Protocol;
use countersign_testkit::client::{Client, Outcome};
use countersign_testkit::pki::{Leaf, TestCa};
use countersign_testkit::process::Process;
use countersign_testkit::upstream::Upstream;
use rustix::process::Signal;
use serde_json::Value;

use crate::http::{Connection, get};
use crate::installation::{Installation, Issued, text};
use crate::openssl::{SessionUse, s_client};
use crate::peers::peer;
use crate::websocket::{WebSocket, echo_service};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn revoked_client_is_refused_on_every_path_http1_tls12() {
    Box::pin(check_every_path(Protocol::Http1Tls12)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn revoked_client_is_refused_on_every_path_http1_tls13() {
    Box::pin(check_every_path(Protocol::Http1Tls13)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn revoked_client_is_refused_on_every_path_http2_tls13() {
    Box::pin(check_every_path(Protocol::Http2Tls13)).await;
}

/// New handshake, resumed session and open connection, in this order right after the command; another client goes on.
async fn check_every_path(protocol: Protocol) {
    let installation = Installation::new();
    let upstream = Upstream::start();
    let gateway = installation.up_before(upstream.address());
    let partner = installation.issue("client", "partner", &[]);
    let other = Issued::of_first_run(&gateway).client(protocol);
    let client = partner.client(protocol);
    let address = gateway.gateway();
    let mut others = open(&other, protocol, address).await;
    let mut open_connection = warmed_up(&client, protocol, address).await;

    let receipt = installation.json(&["revoke", "partner", "--wait"]);

    let new = client
        .without_sessions()
        .request(address, for_client(protocol, "/new"))
        .await;
    assert_refused_as_revoked(&new);
    let resumed = client
        .request(address, for_client(protocol, "/resumed"))
        .await;
    assert_refused_as_revoked(&resumed);
    let kept = open_connection.get("/kept").await;
    assert!(kept.is_err(), "{kept:?}");
    let _ = open_connection.ended().await;
    for path in ["/new", "/resumed", "/kept"] {
        assert!(
            !upstream.received_text().contains(path),
            "{path} reached the upstream"
        );
    }

    let still = others
        .get("/others")
        .await
        .expect("another client's connection goes on");
    assert_eq!(still.0, 200);
    assert_eq!(total(&receipt, "connections_cut"), 1, "{receipt}");
    assert!(total(&receipt, "sessions_declined") >= 1, "{receipt}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn revoked_clients_websocket_is_cut() {
    let installation = Installation::new();
    let service = echo_service();
    let gateway = installation.up_before(service.address());
    let partner = installation.issue("client", "partner", &[]);
    let mut others = WebSocket::open(
        &Issued::of_first_run(&gateway).client(Protocol::Http1Tls13),
        gateway.gateway(),
    )
    .await;
    let mut socket =
        WebSocket::open(&partner.client(Protocol::Http1Tls13), gateway.gateway()).await;
    assert_eq!(socket.echo("before").await.expect("open"), "before");

    installation.ok(&["revoke", "partner", "--wait"]);

    assert!(socket.echo("after").await.is_err());
    socket.ended().await;
    assert_eq!(others.echo("still here").await.expect("open"), "still here");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn revoked_clients_upload_in_flight_is_cut() {
    let installation = Installation::new();
    let (done, ended) = std::sync::mpsc::channel();
    let service = countersign_testkit::service::Service::start(move |mut conversation| {
        let _ = conversation.head();
        while conversation.chunk().is_some() {}
        let _ = done.send(());
    });
    let gateway = installation.up_before(service.address());
    let partner = installation.issue("client", "partner", &[]);
    for protocol in [Protocol::Http1Tls13, Protocol::Http2Tls13] {
        let partner = if protocol == Protocol::Http1Tls13 {
            partner.clone()
        } else {
            installation.issue("client", "second", &[])
        };
        let mut connection =
            Connection::open(&partner.client(protocol), protocol, gateway.gateway())
                .await
                .expect("let in");
        let (pieces, body) = crate::http::piecewise();
        pieces
            .send(hyper::body::Frame::data("begun".into()))
            .await
            .expect("the body is wanted");
        let request = crate::http::request(http::Method::POST, "/upload", body);
        let answer = tokio::spawn(async move {
            let failed = connection.send(request).await.is_err();
            let _ = connection.ended().await;
            failed
        });
        pieces
            .send(hyper::body::Frame::data("on its way".into()))
            .await
            .expect("the body is wanted");

        let serial = serial_of(&installation, &partner);
        installation.ok(&["revoke", &serial, "--wait"]);

        assert!(
            answer.await.expect("the task does not panic"),
            "a cut request has no answer"
        );
        ended
            .recv_timeout(HANG)
            .expect("the upstream's side ends too");
        drop(pieces);
    }
}

#[test]
fn openssl_sessions_of_a_revoked_client_are_declined() {
    let name = "openssl_sessions_of_a_revoked_client_are_declined";
    let Some(openssl) = peer(name, "openssl") else {
        return;
    };
    for version in ["-tls1_2", "-tls1_3"] {
        let installation = Installation::new();
        let gateway = installation.up(&[]);
        let partner = installation.issue("client", "partner", &[]);
        let session = installation.path("session.pem");
        let attempt = |how: SessionUse<'_>| {
            s_client(&openssl, gateway.gateway(), Some(&partner), &[version], how)
        };
        let first = attempt(SessionUse::Keep(&session));
        assert!(first.answered() && !first.reused(), "{first:#?}");
        let again = attempt(SessionUse::Resume(&session));
        assert!(
            again.answered() && again.reused(),
            "{version}: the session is good until then: {again:#?}"
        );

        installation.ok(&["revoke", "partner", "--wait"]);

        for how in [SessionUse::Resume(&session), SessionUse::None] {
            let refused = attempt(how);
            assert!(
                !refused.answered() && !refused.reused(),
                "{version}: {refused:#?}"
            );
            assert!(
                refused.output.contains("certificate revoked"),
                "{version}: {refused:#?}"
            );
        }
    }
}

#[test]
fn receipt_says_what_happened_where() {
    let installation = Installation::new();
    let gateway = installation.up(&[]);
    installation.issue("client", "partner", &[]);
    installation.issue("client", "second", &[]);

    let receipt = installation.json(&["revoke", "partner", "--wait", "--reason", "key-compromise"]);
    println!("{receipt}");
    let nodes = receipt["nodes"].as_array().expect("nodes");
    assert_eq!(nodes.len(), 1, "{receipt}");
    assert_eq!(nodes[0]["confirmed"], true, "{receipt}");
    let after_ms = nodes[0]["after_ms"].as_u64().expect("a number");
    println!("confirmed after {after_ms} ms");

    let said = installation.ok(&["revoke", "second", "--wait"]);
    for words in ["sessions declined", "connections cut", "confirmed"] {
        assert!(said.contains(words), "{words} in {said}");
    }
    drop(gateway);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn revocation_made_while_nothing_runs_is_in_force_from_the_start() {
    let installation = Installation::new();
    let partner = installation.issue("client", "partner", &[]);
    installation.ok(&["revoke", "partner"]);
    let gateway = installation.up(&[]);
    check_refused(&partner, &gateway).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn revocation_survives_a_kill_and_a_restart() {
    let installation = Installation::new();
    let gateway = installation.up(&[]);
    let partner = installation.issue("client", "partner", &[]);
    installation.ok(&["revoke", "partner", "--wait"]);
    gateway.kill();
    let gateway = installation.up(&[]);
    check_refused(&partner, &gateway).await;
    assert!(gateway.interrupt().success());
    let gateway = installation.up(&[]);
    check_refused(&partner, &gateway).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_to_revoke_is_a_name_a_serial_a_fingerprint_or_a_file() {
    let installation = Installation::new();
    let gateway = installation.up(&[]);
    for kind in ["name", "typed-name", "serial", "fingerprint", "file"] {
        let issued = installation.issue("client", kind, &[]);
        let shown = installation.json(&["show", kind]);
        let file = issued.certificate();
        let what = match kind {
            "serial" => first(&shown, "serial"),
            "fingerprint" => first(&shown, "fingerprint"),
            "file" => text(&file).to_owned(),
            "typed-name" => format!("cn:{kind}"),
            _ => kind.to_owned(),
        };
        let before = issued
            .client(Protocol::Http1Tls13)
            .request(gateway.gateway(), for_client(Protocol::Http1Tls13, "/"))
            .await;
        assert_eq!(before.status(), Some(200), "{kind}: {before:?}");
        installation.ok(&["revoke", &what, "--wait"]);
        check_refused(&issued, &gateway).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn revoking_a_name_revokes_every_certificate_of_it() {
    let installation = Installation::new();
    let gateway = installation.up(&[]);
    let first = installation.issue("client", "partner", &[]);
    let folder = installation.path("again");
    installation.ok(&["issue", "client", "partner", "--out", text(&folder)]);
    installation.ok(&["revoke", "partner", "--wait"]);
    check_refused(&first, &gateway).await;
    check_refused(&Issued::at(folder), &gateway).await;
}

#[test]
fn unknown_what_is_not_revoked() {
    let installation = Installation::new();
    let check = |what: &str| {
        let answer = installation.run(&["revoke", what]);
        assert!(matches!(answer.code, Some(1 | 2)), "{answer:#?}");
        assert!(answer.stderr.starts_with("error: "), "{answer:#?}");
        assert!(answer.stderr.contains(what), "{answer:#?}");
    };
    let all = [
        "nobody",
        "cn:nobody",
        "7eadbeef7eadbeef7eadbeef7eadbeef",
        "spiffe://nowhere/nobody",
    ];
    all.into_iter().for_each(check);
    let gateway = installation.up(&[]);
    all.into_iter().for_each(check);
    drop(gateway);
}

#[test]
fn revoked_certificate_cannot_be_renewed() {
    let installation = Installation::new();
    let partner = installation.issue("client", "partner", &[]);
    let certificate = std::fs::read(partner.certificate()).expect("issued");
    installation.ok(&["revoke", "partner"]);
    for running in [false, true] {
        let gateway = running.then(|| installation.up(&[]));
        let file = partner.certificate();
        for what in ["partner", text(&file)] {
            let answer = installation.run(&["renew", what, "--out", "renewed"]);
            assert!(matches!(answer.code, Some(1 | 2)), "{answer:#?}");
            assert!(answer.stderr.contains("revoked"), "{answer:#?}");
        }
        let in_place = installation.run(&["renew", text(partner.folder())]);
        assert!(
            matches!(in_place.code, Some(1 | 2)) && in_place.stderr.contains("revoked"),
            "{in_place:#?}"
        );
        assert_eq!(std::fs::read(&file).expect("still there"), certificate);
        assert!(!installation.path("renewed").exists());
        drop(gateway);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn revoked_certificate_stays_revoked_when_its_name_is_issued_again() {
    let installation = Installation::new();
    let gateway = installation.up(&[]);
    let old = installation.issue("client", "partner", &[]);
    installation.ok(&["revoke", "partner", "--wait"]);
    let folder = installation.path("again");
    installation.ok(&["issue", "client", "partner", "--out", text(&folder)]);
    let new = Issued::at(folder).client(Protocol::Http2Tls13);
    let answer = new
        .request(gateway.gateway(), for_client(Protocol::Http2Tls13, "/"))
        .await;
    assert_eq!(answer.status(), Some(200), "{answer:?}");
    check_refused(&old, &gateway).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reload_that_drops_a_rule_ends_sessions_and_connections() {
    for protocol in [
        Protocol::Http1Tls12,
        Protocol::Http1Tls13,
        Protocol::Http2Tls13,
    ] {
        let installation = Installation::new();
        let upstream = Upstream::start();
        let configuration = |allow: &str| {
            format!(
                "[gateway]\nmetrics_address = \"127.0.0.1:0\"\n[[gateway.listener]]\naddress = \"127.0.0.1:0\"\n\
                 [[gateway.listener.route]]\nupstream = \"http://{}\"\nallow = [{allow}]\n",
                upstream.address()
            )
        };
        let partner = installation.issue("client", "partner", &[]);
        let other = installation.issue("client", "other", &[]).client(protocol);
        let gateway =
            installation.serve(&configuration("{ cn = \"partner\" }, { cn = \"other\" }"));
        let address = gateway.gateway();
        let client = partner.client(protocol);
        let mut others = open(&other, protocol, address).await;
        let connection = warmed_up(&client, protocol, address).await;

        installation.write("countersign.toml", &configuration("{ cn = \"other\" }"));
        gateway.signal(Signal::HUP);

        // The connection's end is the event that says that the reload is done.
        let _ = connection.ended().await;
        let resumed = Connection::open(&client, protocol, address).await;
        if let Ok(mut connection) = resumed {
            assert!(
                !connection.handshake().resumed,
                "a session outlived its policy"
            );
            let answer = connection.get("/after").await;
            assert!(!matches!(answer, Ok((200, _))), "{answer:?}");
        }
        assert!(!upstream.received_text().contains("/after"));
        let still = others
            .get("/others")
            .await
            .expect("another client's connection goes on");
        assert_eq!(still.0, 200);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reload_of_a_broken_file_changes_nothing() {
    let installation = Installation::new();
    let partner = installation.issue("client", "partner", &[]);
    let toml = "[gateway]\nmetrics_address = \"127.0.0.1:0\"\n[[gateway.listener]]\naddress = \"127.0.0.1:0\"\n\
                [[gateway.listener.route]]\nupstream = \"demo\"\nallow = [{ cn = \"partner\" }]\n";
    let gateway = installation.serve(toml);
    let mut connection = open(
        &partner.client(Protocol::Http1Tls13),
        Protocol::Http1Tls13,
        gateway.gateway(),
    )
    .await;
    installation.write("countersign.toml", &toml.replace("allow", "alow"));
    gateway.signal(Signal::HUP);
    gateway.wait_for_log(&["alow"]);
    assert_eq!(connection.get("/").await.expect("open").0, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn expired_certificate_ends_its_connection_and_its_session() {
    for protocol in [
        Protocol::Http1Tls12,
        Protocol::Http1Tls13,
        Protocol::Http2Tls13,
    ] {
        let installation = Installation::new();
        let upstream = Upstream::start();
        let ca = TestCa::new("partner");
        installation.write("partner.pem", &ca.root_pem());
        let you = installation.issue("client", "you-too", &[]);
        let gateway = installation.serve(&format!(
            "[gateway]\nmetrics_address = \"127.0.0.1:0\"\n[trust.partner]\nbundle = \"{}\"\n\
             [[gateway.listener]]\naddress = \"127.0.0.1:0\"\ntrust = [\"internal\", \"partner\"]\n\
             [[gateway.listener.route]]\nupstream = \"http://{}\"\nallow = [{{ bundle = \"partner\", cn = \"brief\" }}]\n",
            text(&installation.path("partner.pem")),
            upstream.address()
        ));
        // A maker of its own: the product's authority rounds lifetimes up to what makes sense. Made last, so that it lives
        // when the gateway has been started, however busy the machine is.
        let brief = ca.issue(Leaf::client("brief").valid(-60, 8));
        let client = Client::new(&you.root(), Some(&brief), protocol, "localhost");
        let connection = warmed_up(&client, protocol, gateway.gateway()).await;
        let _ = connection.ended().await;
        let resumed = client
            .request(gateway.gateway(), for_client(protocol, "/late"))
            .await;
        assert!(
            matches!(resumed, Outcome::Alert(45)),
            "{protocol:?}: {resumed:?}"
        );
        assert!(!upstream.received_text().contains("/late"));
    }
}

/// Makes a connection that stays open, and sees that its session can be resumed.
pub(crate) async fn warmed_up(
    client: &Client,
    protocol: Protocol,
    gateway: SocketAddr,
) -> Connection {
    let mut connection = open(client, protocol, gateway).await;
    assert_eq!(connection.get("/before").await.expect("let in").0, 200);
    let mut second = Connection::open(client, protocol, gateway)
        .await
        .expect("let in");
    assert!(
        second.handshake().resumed,
        "{protocol:?}: the session can be resumed until then"
    );
    // In TLS 1.3 a ticket serves once; this brings new ones.
    assert_eq!(second.get("/again-before").await.expect("let in").0, 200);
    connection
}

pub(crate) async fn open(client: &Client, protocol: Protocol, gateway: SocketAddr) -> Connection {
    let mut connection = Connection::open(client, protocol, gateway)
        .await
        .expect("the client is let in");
    assert_eq!(
        connection
            .get("/open")
            .await
            .expect("the client is let in")
            .0,
        200
    );
    connection
}

async fn check_refused(issued: &Issued, gateway: &Process) {
    for protocol in Protocol::HTTP {
        let answer = issued
            .client(protocol)
            .request(gateway.gateway(), for_client(protocol, "/"))
            .await;
        assert_refused_as_revoked(&answer);
    }
}

/// RFC 8446 §6.2: `certificate_revoked` is 44.
#[track_caller]
pub(crate) fn assert_refused_as_revoked(outcome: &Outcome) {
    assert!(matches!(outcome, Outcome::Alert(44)), "{outcome:?}");
}

/// As [`Client::request`] wants it: the host in the header for HTTP/1.1, in the URI for HTTP/2.
pub(crate) fn for_client(
    protocol: Protocol,
    path: &str,
) -> http::Request<http_body_util::Full<bytes::Bytes>> {
    let request = get(path);
    let uri = if protocol == Protocol::Http2Tls13 {
        request.uri().to_string()
    } else {
        path.to_owned()
    };
    let builder = http::Request::builder().uri(uri);
    let builder = if protocol == Protocol::Http2Tls13 {
        builder
    } else {
        builder.header("host", "localhost")
    };
    builder
        .body(http_body_util::Full::default())
        .expect("a request")
}

fn total(receipt: &Value, field: &str) -> u64 {
    let nodes = receipt["nodes"].as_array().expect("nodes");
    nodes.iter().filter_map(|node| node[field].as_u64()).sum()
}

fn first(shown: &Value, field: &str) -> String {
    shown["certificates"][0][field]
        .as_str()
        .unwrap_or_else(|| panic!("{field} in {shown}"))
        .to_owned()
}

fn serial_of(installation: &Installation, issued: &Issued) -> String {
    let file = issued.certificate();
    let shown = installation.json(&["show", path(&file)]);
    first(&shown, "serial")
}

fn path(path: &Path) -> &str {
    text(path)
}

const HANG: std::time::Duration = std::time::Duration::from_secs(30);
