//! Access that is taken away ends what is open; a drain ends it in good order.

use std::time::{Duration, Instant};

use countersign_diagnose::cause::Cause;
use countersign_testkit::bypass::Protocol;
use countersign_testkit::pki::Leaf;
use countersign_testkit::service::Service;
use http_body_util::BodyExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::client::TlsStream;

use crate::forwarding::{read_until, upgrade};
use crate::harness::{Harness, get, to};

const GET: &[u8] = b"GET / HTTP/1.1\r\nhost: api.example.com\r\n\r\n";

/// Answers `/` and keeps everybody else waiting.
fn service() -> Service {
    Service::start(|mut conversation| {
        while let Some(head) = conversation.head() {
            if head.contains("websocket") {
                conversation.send(b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n");
            } else if head.contains("/wait") {
                conversation.bytes(1);
            } else if head.contains("/stream") {
                conversation
                    .send(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\n");
            } else {
                conversation.send(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
            }
        }
    })
}

async fn ends(mut stream: impl AsyncReadExt + Unpin) {
    let mut rest = Vec::new();
    let ended = timeout(Duration::from_secs(5), stream.read_to_end(&mut rest)).await;
    assert!(
        ended.is_ok(),
        "still open after {:?}",
        String::from_utf8_lossy(&rest)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn withdrawn_access_ends_every_kind_of_open_connection() {
    let service = service();
    let gateway = Harness::start("", &to(service.address()));
    let mut resting = gateway.connect().await;
    resting.write_all(GET).await.expect("open");
    read_until(&mut resting, "ok").await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    let mut websocket = gateway.connect().await;
    websocket
        .write_all(upgrade("websocket").as_bytes())
        .await
        .expect("open");
    read_until(&mut websocket, "\r\n\r\n").await;
    let mut waiting = gateway.connect().await;
    waiting
        .write_all(b"GET /wait HTTP/1.1\r\nhost: api.example.com\r\n\r\n")
        .await
        .expect("open");
    let mut streaming = gateway.connect().await;
    streaming
        .write_all(b"GET /stream HTTP/1.1\r\nhost: api.example.com\r\n\r\n")
        .await
        .expect("open");
    read_until(&mut streaming, "a\r\n").await;

    let h2 = gateway
        .client(Protocol::Http2Tls13)
        .connect(gateway.address())
        .await
        .expect("a connection");
    let io = hyper_util::rt::TokioIo::new(h2);
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(hyper_util::rt::TokioExecutor::new(), io)
            .await
            .expect("h2");
    let connection = tokio::spawn(connection);
    assert_eq!(
        sender
            .send_request(get(Protocol::Http2Tls13, "/"))
            .await
            .expect("an answer")
            .status(),
        200
    );
    let in_flight = tokio::spawn(sender.send_request(get(Protocol::Http2Tls13, "/wait")));
    // The request has reached the service when a later one on the same connection is answered.
    assert_eq!(
        sender
            .send_request(get(Protocol::Http2Tls13, "/"))
            .await
            .expect("an answer")
            .status(),
        200
    );

    let mut idle = gateway.connect().await;
    idle.write_all(GET).await.expect("open");
    read_until(&mut idle, "ok").await;

    assert_eq!(gateway.enforcement.live(), 6);
    let effects = timeout(
        Duration::from_secs(5),
        gateway.enforcement.withdraw(|_, _| false),
    )
    .await;
    assert_eq!(
        effects
            .expect("every connection's task has ended")
            .connections_cut,
        6
    );
    assert_eq!(gateway.enforcement.live(), 0);
    ends(idle).await;
    ends(resting).await;
    ends(websocket).await;
    ends(waiting).await;
    ends(streaming).await;
    let _ = timeout(Duration::from_secs(5), connection)
        .await
        .expect("ended");
    assert!(in_flight.await.expect("no panic").is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn reload_ends_those_whom_the_new_rules_do_not_admit_and_no_others() {
    let service = service();
    let route = |common_name: &str| {
        format!(
            "upstream = \"http://{}\"\nallow = [{{ cn = \"{common_name}\" }}]\n",
            service.address()
        )
    };
    let both = format!(
        "upstream = \"http://{}\"\nallow = [\"any-trusted\"]\n",
        service.address()
    );
    let gateway = Harness::start("", &both);
    let other = gateway.ca.issue(Leaf::client("billing"));
    let other = countersign_testkit::client::Client::new(
        gateway.ca.root.der(),
        Some(&other),
        Protocol::Http1Tls13,
        "api.example.com",
    );
    let mut kept = gateway.connect().await;
    let mut cut = other
        .connect(gateway.address())
        .await
        .expect("a connection");
    for stream in [&mut kept, &mut cut] {
        stream.write_all(GET).await.expect("open");
        read_until(stream, "ok").await;
    }
    let report = gateway
        .handle
        .reload(gateway.plan("", &route("order-service")))
        .await
        .expect("the same listeners");
    assert_eq!(
        (report.listeners, report.connections_cut),
        (vec!["listener-1".to_owned()], 1)
    );
    ends(cut).await;
    kept.write_all(GET).await.expect("open");
    read_until(&mut kept, "ok").await;
    let outcome = other
        .request(gateway.address(), get(Protocol::Http1Tls13, "/"))
        .await;
    assert_ne!(outcome.status(), Some(200), "{outcome:?}");
    let renamed = gateway.plan("name = \"public\"", &both);
    let error = gateway
        .handle
        .reload(renamed)
        .await
        .expect_err("another listener");
    assert!(error.to_string().contains("restart"), "{error}");
}

fn with_routes(routes: &[(&str, &Service, &str)]) -> String {
    let routes = routes.iter().map(|(path, service, allow)| {
        format!(
            "path = \"{path}\"\nupstream = \"http://{}\"\nallow = [{allow}]\n",
            service.address()
        )
    });
    routes
        .collect::<Vec<_>>()
        .join("[[gateway.listener.route]]\n")
}

async fn opened(gateway: &Harness, request: &str, end: &str) -> TlsStream<TcpStream> {
    let mut stream = gateway.connect().await;
    stream.write_all(request.as_bytes()).await.expect("open");
    read_until(&mut stream, end).await;
    stream
}

async fn is_open(stream: &mut (impl AsyncReadExt + Unpin)) -> bool {
    let mut byte = [0];
    timeout(Duration::from_millis(300), stream.read(&mut byte))
        .await
        .is_err()
}

/// Opens a stream of each kind on a route, reloads, and looks which have ended.
async fn check_reload(after: impl Fn(&Service, &Service) -> String, ends_with_it: bool) {
    let (service, other) = (service(), service());
    let any = "\"any-trusted\"";
    let before = [("/ws", &service, any), ("/stream", &service, any)];
    let gateway = Harness::start(
        "",
        &with_routes(&[before[0], before[1], ("/**", &service, any)]),
    );
    let websocket = opened(&gateway, &upgrade("websocket"), "\r\n\r\n").await;
    let get = |path: &str| format!("GET {path} HTTP/1.1\r\nhost: api.example.com\r\n\r\n");
    let streaming = opened(&gateway, &get("/stream"), "a\r\n").await;
    let mut kept = opened(&gateway, &get("/stream/kept"), "a\r\n").await;
    let h2 = gateway
        .client(Protocol::Http2Tls13)
        .connect(gateway.address())
        .await
        .expect("a connection");
    let io = hyper_util::rt::TokioIo::new(h2);
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(hyper_util::rt::TokioExecutor::new(), io)
            .await
            .expect("h2");
    tokio::spawn(connection);
    let request = crate::harness::get(Protocol::Http2Tls13, "/stream");
    let mut body = sender
        .send_request(request)
        .await
        .expect("an answer")
        .into_body();
    assert!(body.frame().await.is_some_and(|frame| frame.is_ok()));
    let plan = gateway.plan("", &after(&service, &other));
    let reloading = gateway.handle.reload(plan);
    timeout(Duration::from_secs(4), reloading)
        .await
        .expect("everything has ended in time")
        .expect("the same listeners");
    let mut streams = [websocket, streaming];
    for stream in &mut streams {
        assert_eq!(is_open(stream).await, !ends_with_it);
    }
    let frame = timeout(Duration::from_millis(300), body.frame()).await;
    assert_eq!(matches!(frame, Ok(Some(Err(_)))), ends_with_it, "{frame:?}");
    assert!(is_open(&mut kept).await, "another route's");
    let request = crate::harness::get(Protocol::Http2Tls13, "/");
    let answer = sender.send_request(request).await;
    assert_eq!(answer.expect("the connection stands").status(), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn reload_ends_what_is_in_flight_where_it_is_no_longer_admitted() {
    let (any, nobody) = ("\"any-trusted\"", "{ cn = \"nobody\" }");
    check_reload(
        |service, _| {
            with_routes(&[
                ("/ws", service, nobody),
                ("/stream", service, nobody),
                ("/**", service, any),
            ])
        },
        true,
    )
    .await;
    check_reload(
        |service, other| {
            with_routes(&[
                ("/ws", other, any),
                ("/stream", other, any),
                ("/**", service, any),
            ])
        },
        true,
    )
    .await;
    check_reload(
        |service, other| with_routes(&[("/new", other, nobody), ("/**", service, any)]),
        false,
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn anchors_trusted_for_other_names_end_whom_they_named() {
    let service = service();
    let route = to(service.address());
    let gateway = Harness::start("", &route);
    let mut idle = opened(&gateway, std::str::from_utf8(GET).expect("text"), "ok").await;
    let same = gateway.plan_for_domain("example.com", &route);
    let report = gateway.handle.reload(same).await.expect("reloads");
    assert_eq!(report.connections_cut, 0);
    idle.write_all(GET).await.expect("open");
    read_until(&mut idle, "ok").await;
    let other = gateway.plan_for_domain("elsewhere.example", &route);
    let report = gateway.handle.reload(other).await.expect("reloads");
    assert_eq!(report.connections_cut, 1);
    ends(idle).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn drain_waits_for_no_tunnel() {
    let service = service();
    let mut gateway = Harness::start_within("", &to(service.address()), |bounds| {
        bounds.tunnel_grace = Duration::from_millis(100);
    });
    let websocket = opened(&gateway, &upgrade("websocket"), "\r\n\r\n").await;
    assert!(gateway.stop(Duration::from_secs(10)).await);
    ends(websocket).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn drain_answers_what_is_in_flight_and_closes_the_rest() {
    let service = Service::start(|mut conversation| {
        while let Some(head) = conversation.head() {
            if head.contains("/slow") {
                std::thread::sleep(Duration::from_millis(200));
            }
            conversation.send(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
        }
    });
    let mut gateway = Harness::start("", &to(service.address()));
    let mut idle = gateway.connect().await;
    idle.write_all(GET).await.expect("open");
    read_until(&mut idle, "ok").await;
    let mut slow = gateway.connect().await;
    slow.write_all(b"GET /slow HTTP/1.1\r\nhost: api.example.com\r\n\r\n")
        .await
        .expect("open");
    let mut both = gateway.connect().await;
    both.write_all(GET).await.expect("open");
    read_until(&mut both, "ok").await;
    assert!(gateway.stop(Duration::from_secs(10)).await);
    read_until(&mut slow, "ok").await;
    ends(idle).await;
    ends(slow).await;
    ends(both).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_ends_with_its_certificate_is_told_of_and_a_withdrawn_one_is_not() {
    let service = service();
    let mut gateway = Harness::start("", &to(service.address()));
    gateway.client = gateway
        .ca
        .issue(Leaf::client("order-service").valid(-60, 3));
    let (http1, http2) = (
        gateway.client(Protocol::Http1Tls13),
        gateway.client(Protocol::Http2Tls13),
    );
    let first = http1.connect(gateway.address()).await;
    let second = http2.connect(gateway.address()).await;
    ends(first.expect("a connection")).await;
    ends(second.expect("a connection")).await;
    let told = |gateway: &Harness| {
        let refusals = gateway.refusals().into_iter();
        let old = refusals.filter(|it| it.refusal.cause == Cause::ConnectionTooOld);
        old.map(|it| it.count).sum::<u64>()
    };
    // The record follows the end of the connection.
    let given_up = Instant::now() + Duration::from_secs(10);
    while told(&gateway) == 0 {
        assert!(Instant::now() < given_up, "{:?}", gateway.refusals());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let mut refusals = gateway.refusals().into_iter();
    let told_first = refusals.find(|it| it.refusal.cause == Cause::ConnectionTooOld);
    let told_first = told_first.expect("told of");
    let sentence = told_first.refusal.sentence();
    assert!(
        sentence.contains("was ended with its certificate"),
        "{sentence}"
    );
    assert!(told_first.principal.is_some(), "{told_first:?}");

    let gateway = Harness::start("", &to(service.address()));
    let mut open = gateway.connect().await;
    open.write_all(GET).await.expect("open");
    read_until(&mut open, "ok").await;
    gateway.enforcement.withdraw(|_, _| false).await;
    ends(open).await;
    assert_eq!(told(&gateway), 0, "{:?}", gateway.refusals());
}
