//! What a request has to be, and what an upstream gets of it.

use countersign_diagnose::cause::Cause;
use countersign_proxy::refusals::Phase;
use countersign_testkit::bypass::Protocol;
use countersign_testkit::client::Client;
use countersign_testkit::upstream::Upstream;
use http_body_util::Full;

use crate::harness::{HOST, Harness, PROTOCOLS, get, request, to};

const FORGED: [&str; 9] = [
    "X-Client-CN",
    "x_client_cn",
    "X-SSL-Client-CN",
    "Client-Cert",
    "Client-Cert-Chain",
    "X-Forwarded-Client-Cert",
    "X-Spiffe-Id",
    "X_Client_Verify",
    "X-Client-Trust-Bundle",
];

fn header<'a>(head: &'a str, name: &str) -> Vec<&'a str> {
    head.lines()
        .filter_map(|line| line.split_once(": "))
        .filter(|(found, _)| found.eq_ignore_ascii_case(name))
        .map(|(_, value)| value)
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn upstream_learns_who_the_client_is_from_the_gateway_alone() {
    let upstream = Upstream::start();
    let gateway = Harness::start("", &to(upstream.address()));
    for protocol in PROTOCOLS {
        let mut forged = request(protocol, HOST, "/who?a=%2e");
        for name in FORGED {
            forged = forged.header(name, "admin").header(name, "CN=admin");
        }
        if protocol != Protocol::Http2Tls13 {
            forged = forged.header(
                "connection",
                "X-Client-CN, x-forwarded-client-cert, Client-Cert",
            );
        }
        let forged = forged
            .header("x-mine", "kept")
            .body(Full::default())
            .expect("a request");
        let outcome = gateway
            .client(protocol)
            .request(gateway.address(), forged)
            .await;
        assert_eq!(outcome.status(), Some(200), "{protocol:?} {outcome:?}");
        let head = outcome.text();
        assert!(head.starts_with("GET /who?a=%2e HTTP/1.1\r\n"), "{head}");
        assert!(!head.contains("admin"), "{head}");
        for (name, value) in [
            ("host", HOST),
            ("x-forwarded-host", HOST),
            ("x-forwarded-for", "127.0.0.1"),
            ("x-forwarded-proto", "https"),
            ("x-client-verify", "SUCCESS"),
            ("x-client-dn", "CN=order-service"),
            ("x-client-cn", "order-service"),
            ("x-client-trust-bundle", "internal"),
            ("x-mine", "kept"),
        ] {
            assert_eq!(header(&head, name), [value], "{protocol:?} {name}\n{head}");
        }
        let xfcc = header(&head, "x-forwarded-client-cert");
        let end = ";Subject=\"CN=order-service\";URI=spiffe://example.com/order-service;DNS=orders.example.com";
        assert!(
            xfcc.len() == 1 && xfcc[0].starts_with("Hash=") && xfcc[0].ends_with(end),
            "{xfcc:?}"
        );
        let certificate = header(&head, "client-cert");
        assert!(
            certificate.len() == 1
                && certificate[0].starts_with(":MII")
                && certificate[0].ends_with(':'),
            "{certificate:?}"
        );
        assert_eq!(header(&head, "client-cert-chain").len(), 1, "{head}");
        assert!(header(&head, "connection").is_empty(), "{head}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn anonymous_client_is_told_from_a_verified_one() {
    let upstream = Upstream::start();
    let route = format!(
        "upstream = \"http://{}\"\nallow = [\"anyone\"]\n",
        upstream.address()
    );
    let gateway = Harness::start("client_certificate = \"request\"", &route);
    for protocol in PROTOCOLS {
        let forged = request(protocol, HOST, "/")
            .header("client-cert", "admin")
            .header("x-client-verify", "SUCCESS");
        let forged = forged.body(Full::default()).expect("a request");
        let head = gateway
            .anonymous(protocol)
            .request(gateway.address(), forged)
            .await
            .text();
        assert_eq!(header(&head, "x-client-verify"), ["NONE"], "{head}");
        assert!(
            header(&head, "client-cert").is_empty()
                && header(&head, "x-client-trust-bundle").is_empty(),
            "{head}"
        );
        let head = gateway.get(protocol, "/").await.text();
        assert_eq!(header(&head, "x-client-verify"), ["SUCCESS"], "{head}");
    }
}

async fn check_refused(
    gateway: &Harness,
    client: &Client,
    request: http::Request<Full<bytes::Bytes>>,
    status: u16,
    cause: Cause,
) {
    let shown = format!("{request:?}");
    let outcome = client.request(gateway.address(), request).await;
    assert_eq!(outcome.status(), Some(status), "{shown} {outcome:?}");
    let refusal = gateway.explained(&outcome);
    assert_eq!(
        (refusal.refusal.cause, refusal.phase),
        (cause, Phase::Request),
        "{shown}"
    );
    let answer = outcome.text();
    assert!(
        answer.contains(cause.class().slug())
            && !answer.contains(cause.slug())
            && !answer.contains("order-service"),
        "{answer}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn refused_request_has_an_id_to_quote_and_reaches_no_upstream() {
    let upstream = Upstream::start();
    let route = format!(
        "upstream = \"http://{}\"\nallow = [{{ cn = \"order-service\", path = \"/orders/**\" }}]\ndeny = [{{ path = \"/orders/admin/**\" }}]\n",
        upstream.address()
    );
    let gateway = Harness::start("client_certificate = \"request\"", &route);
    let stranger = gateway
        .ca
        .issue(countersign_testkit::pki::Leaf::client("order-svc"));
    for protocol in PROTOCOLS {
        let known = gateway.client(protocol);
        let stranger = Client::new(gateway.ca.root.der(), Some(&stranger), protocol, HOST);
        let anonymous = gateway.anonymous(protocol);
        check_refused(
            &gateway,
            &known,
            get(protocol, "/other"),
            403,
            Cause::RequestNotAllowed,
        )
        .await;
        check_refused(
            &gateway,
            &known,
            get(protocol, "/orders/admin/x"),
            403,
            Cause::RequestNotAllowed,
        )
        .await;
        check_refused(
            &gateway,
            &known,
            get(protocol, "/orders/%2e%2e/x"),
            400,
            Cause::MalformedRequest,
        )
        .await;
        check_refused(
            &gateway,
            &known,
            get(protocol, "/orders//x"),
            400,
            Cause::MalformedRequest,
        )
        .await;
        check_refused(
            &gateway,
            &stranger,
            get(protocol, "/orders/1"),
            403,
            Cause::IdentityNotAllowed,
        )
        .await;
        let outcome = anonymous
            .request(gateway.address(), get(protocol, "/orders/1"))
            .await;
        assert_eq!(outcome.status(), Some(403), "{outcome:?}");
        let elsewhere = request(protocol, "other.example.com", "/orders/1")
            .body(Full::default())
            .expect("a request");
        check_refused(&gateway, &known, elsewhere, 421, Cause::SniHostMismatch).await;
        let by_address = request(protocol, "127.0.0.1", "/orders/1")
            .body(Full::default())
            .expect("a request");
        check_refused(&gateway, &known, by_address, 421, Cause::SniHostMismatch).await;
    }
    assert_eq!(upstream.received_text(), "");
    let refusal = gateway.explained(
        &Client::new(
            gateway.ca.root.der(),
            Some(&stranger),
            Protocol::Http1Tls13,
            HOST,
        )
        .request(gateway.address(), get(Protocol::Http1Tls13, "/orders/1"))
        .await,
    );
    assert!(
        refusal.refusal.sentence().contains("this is cn:order-svc"),
        "{}",
        refusal.refusal.sentence()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn request_that_two_servers_could_read_in_two_ways_is_refused() {
    let upstream = Upstream::start();
    let gateway = Harness::start("", &to(upstream.address()));
    let client = gateway.client(Protocol::Http1Tls13);
    for (bytes, status) in [
        ("GET / HTTP/1.1\r\n\r\n", 400),
        (
            "GET / HTTP/1.1\r\nHost: api.example.com\r\nHost: api.example.com\r\n\r\n",
            400,
        ),
        (
            "GET https://api.example.com/ HTTP/1.1\r\nHost: other.example.com\r\n\r\n",
            400,
        ),
        ("GET / HTTP/1.1\r\nHost: api.example.com@other\r\n\r\n", 400),
        (
            "CONNECT api.example.com:443 HTTP/1.1\r\nHost: api.example.com:443\r\n\r\n",
            400,
        ),
        (
            "GET / HTTP/1.1\r\nHost: api.example.com\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
            400,
        ),
        (
            "GET / HTTP/1.1\r\nHost: api.example.com\r\nTransfer-Encoding: gzip\r\n\r\n",
            400,
        ),
        ("GET / HTTP/1.1\r\nHost : api.example.com\r\n\r\n", 400),
        ("nonsense\r\n\r\n", 400),
    ] {
        let mut bytes = bytes.to_owned();
        bytes = bytes.replacen("\r\n\r\n", "\r\nConnection: close\r\n\r\n", 1);
        let outcome = client.raw(gateway.address(), bytes.as_bytes()).await;
        assert_eq!(outcome.status(), Some(status), "{bytes:?} {outcome:?}");
    }
    let long = format!(
        "GET / HTTP/1.1\r\nHost: api.example.com\r\nX-A: {}\r\nConnection: close\r\n\r\n",
        "a".repeat(70_000)
    );
    let outcome = client.raw(gateway.address(), long.as_bytes()).await;
    assert!(
        matches!(outcome.status(), Some(431) | None),
        "{:?}",
        outcome.status()
    );
    let many = format!(
        "GET / HTTP/1.1\r\nHost: api.example.com\r\n{}Connection: close\r\n\r\n",
        "X-A: b\r\n".repeat(101)
    );
    assert_eq!(
        client
            .raw(gateway.address(), many.as_bytes())
            .await
            .status(),
        Some(431)
    );
    assert_eq!(upstream.received_text(), "");
}

#[tokio::test(flavor = "multi_thread")]
async fn split_cookies_of_http2_are_joined() {
    let upstream = Upstream::start();
    let gateway = Harness::start("", &to(upstream.address()));
    let cookies = request(Protocol::Http2Tls13, HOST, "/")
        .header("cookie", "a=1")
        .header("cookie", "b=2");
    let outcome = gateway
        .client(Protocol::Http2Tls13)
        .request(
            gateway.address(),
            cookies.body(Full::default()).expect("a request"),
        )
        .await;
    assert_eq!(header(&outcome.text(), "cookie"), ["a=1; b=2"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn demo_shows_the_caller_to_itself() {
    let gateway = Harness::start("", "upstream = \"demo\"\nallow = [\"any-trusted\"]\n");
    for (accept, part) in [
        (
            "*/*",
            "You are spiffe://example.com/order-service, vouched for by the trust bundle internal.",
        ),
        (
            "application/json",
            "\"principal\": \"spiffe://example.com/order-service\"",
        ),
        (
            "text/html,*/*",
            "<h1>spiffe://example.com/order-service</h1>",
        ),
    ] {
        for protocol in PROTOCOLS {
            let asked = request(protocol, HOST, "/")
                .header("accept", accept)
                .body(Full::default())
                .expect("a request");
            let outcome = gateway
                .client(protocol)
                .request(gateway.address(), asked)
                .await;
            assert!(
                outcome.status() == Some(200) && outcome.text().contains(part),
                "{accept} {outcome:?}"
            );
        }
    }
}
