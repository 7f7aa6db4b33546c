//! Conditions, with real clients: what they see, and that shadow rules never decide.

use std::time::Duration;

use countersign_diagnose::cause::Cause;
use countersign_proxy::shadow::ShadowFigures;
use countersign_testkit::bypass::Protocol;
use countersign_testkit::client::Client;
use countersign_testkit::pki::Leaf;
use countersign_testkit::service::Service;
use countersign_testkit::upstream::Upstream;
use http_body_util::Full;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use crate::harness::{HOST, Harness, PROTOCOLS, request};

fn to(upstream: &Upstream, rules: &str) -> String {
    format!("upstream = \"http://{}\"\n{rules}\n", upstream.address())
}

/// A request with these headers, and the status that answers it.
async fn check(
    gateway: &Harness,
    protocol: Protocol,
    path: &str,
    headers: &[(&str, &str)],
    expected: u16,
) {
    let mut request = request(protocol, HOST, path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(Full::default()).expect("a request");
    let outcome = gateway
        .client(protocol)
        .request(gateway.address(), request)
        .await;
    assert_eq!(
        outcome.status(),
        Some(expected),
        "{protocol:?} {path} {headers:?}: {outcome:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn header_condition_sees_what_the_upstream_will_see() {
    let upstream = Upstream::start();
    let rules = "allow = [{ cn = \"order-service\", header = { x-env = [\"prod\"] } }]";
    let gateway = Harness::start("", &to(&upstream, rules));
    for protocol in PROTOCOLS {
        check(&gateway, protocol, "/", &[("x-env", "prod")], 200).await;
        check(&gateway, protocol, "/", &[], 403).await;
        check(&gateway, protocol, "/", &[("x-env", "PROD")], 403).await;
        check(&gateway, protocol, "/", &[("x-env", "prod, dev")], 403).await;
        let twice = [("x-env", "prod"), ("x-env", "dev")];
        check(&gateway, protocol, "/", &twice, 403).await;
        let folded = [("x-env", "prod"), ("x_env", "dev")];
        check(&gateway, protocol, "/", &folded, 403).await;
    }
    let removed = [("x-env", "prod"), ("connection", "x-env")];
    check(&gateway, Protocol::Http1Tls13, "/", &removed, 403).await;
}

/// One request of these lines over HTTP/1.1, and the status that answers it.
async fn send(gateway: &Harness, lines: &[u8]) -> Option<u16> {
    let head = format!("GET / HTTP/1.1\r\nHost: {HOST}\r\n");
    let request = [head.as_bytes(), lines, b"Connection: close\r\n\r\n"].concat();
    let client = gateway.client(Protocol::Http1Tls13);
    client.raw(gateway.address(), &request).await.status()
}

#[tokio::test(flavor = "multi_thread")]
async fn header_that_a_rule_does_not_see_reaches_no_upstream() {
    let upstream = Upstream::start();
    let rules = "allow = [\"any-trusted\"]\ndeny = [{ header = { x-role = [\"admin\"] } }]";
    let gateway = Harness::start("", &to(&upstream, rules));
    for lines in [
        &b"x-role: admin\r\nconnection: x-role, \xff\r\n"[..],
        b"x-role: admin\r\nconnection: \x80,x-role\r\n",
        b"x-role: admin\r\nconnection: \xff\r\nconnection: x-role\r\n",
    ] {
        assert_eq!(send(&gateway, lines).await, Some(200));
    }
    let received = upstream.received_text();
    assert!(!received.contains("admin"), "{received}");
    for lines in [
        &b"x-role: admin\r\nconnection: x-role\xff\r\n"[..],
        b"x-role: admin\r\nconnection: \"x-role\"\r\n",
        b"x-role:  admin \t\r\n",
        b"x-role: user, admin\r\n",
        b"x-role: user,admin,other\r\n",
        b"x_role: admin,\r\n",
    ] {
        assert_eq!(send(&gateway, lines).await, Some(403), "{lines:?}");
    }
    for lines in [&b"x-role: administrator\r\n"[..], b"x-role: user, dmin\r\n"] {
        assert_eq!(send(&gateway, lines).await, Some(200), "{lines:?}");
    }

    let rules = "allow = [{ bundle = \"internal\", header = { x-env = [\"test\"] } }]";
    let gateway = Harness::start("", &to(&upstream, rules));
    let both = b"x-env: test\r\nx_env: prod\r\n";
    assert_eq!(send(&gateway, both).await, Some(403));
    let hidden = b"x-env: test\r\nx_env: prod\r\nconnection: x_env, \xff\r\n";
    assert_eq!(send(&gateway, hidden).await, Some(200));
    let received = upstream.received_text();
    assert!(!received.contains("prod"), "{received}");
}

#[tokio::test(flavor = "multi_thread")]
async fn value_that_the_next_server_would_read_otherwise_is_malformed() {
    let upstream = Upstream::start();
    let rules = "allow = [\"any-trusted\"]\ndeny = [{ header = { x-role = [\"admin\"] } }]";
    let gateway = Harness::start("", &to(&upstream, rules));
    for value in [" admin", "admin ", "\tadmin", "admin\t", " "] {
        // HTTP/1.1 takes the spaces away before anybody reads the value; HTTP/2 has to leave them out (RFC 9113 §8.2.1).
        let protocol = Protocol::Http2Tls13;
        check(&gateway, protocol, "/", &[("x-role", value)], 400).await;
        check(&gateway, protocol, "/", &[("x-other", value)], 400).await;
    }
    assert!(upstream.received().is_empty());
    check(
        &gateway,
        Protocol::Http2Tls13,
        "/",
        &[("x-role", "a b")],
        200,
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn source_is_the_connections_own_address_whatever_a_client_says() {
    let upstream = Upstream::start();
    let rules = "allow = [{ cn = \"order-service\", source = [\"10.0.0.0/8\"] }]";
    let gateway = Harness::start("", &to(&upstream, rules));
    for protocol in PROTOCOLS {
        for name in ["x-forwarded-for", "x-real-ip", "forwarded", "x-client-ip"] {
            check(&gateway, protocol, "/", &[(name, "10.1.2.3")], 403).await;
        }
    }
    assert!(upstream.received().is_empty());
    let outcome = gateway.get(Protocol::Http1Tls13, "/").await;
    let stored = gateway.explained(&outcome);
    assert_eq!(stored.refusal.cause, Cause::RequestNotAllowed);
    let sentence = stored.refusal.sentence();
    assert!(
        sentence.contains("from 10.0.0.0/8") && sentence.contains("from 127.0.0.1 at "),
        "{sentence}"
    );

    let rules = "allow = [{ cn = \"order-service\", source = [\"127.0.0.0/8\"] }]";
    let gateway = Harness::start("", &to(&upstream, rules));
    check(&gateway, Protocol::Http2Tls13, "/", &[], 200).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn grpc_method_with_a_second_reading_reaches_no_upstream() {
    let upstream = Upstream::start();
    let rules = "allow = [\"any-trusted\"]\ndeny = [{ grpc = [\"shop.v1.Admin/*\"] }]";
    let gateway = Harness::start("", &to(&upstream, rules));
    for protocol in PROTOCOLS {
        for path in [
            "/shop.v1.Orders/../shop.v1.Admin/Delete",
            "/shop.v1.Orders/%2e%2e/shop.v1.Admin/Delete",
            "//shop.v1.Admin/Delete",
            "/shop.v1.Admin%2fDelete",
            "/shop.v1.Admin\\Delete",
        ] {
            // Some are no path to the client's own library, which sends none of them.
            if path.contains('\\') {
                continue;
            }
            check(&gateway, protocol, path, &[], 400).await;
        }
        check(&gateway, protocol, "/shop.v1.Admin/Delete", &[], 403).await;
        check(&gateway, protocol, "/shop.v1.%41dmin/Delete", &[], 403).await;
    }
    assert!(upstream.received().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn tenant_of_a_client_reaches_its_own_path_alone() {
    let upstream = Upstream::start();
    let rules =
        "allow = [{ spiffe = \"spiffe://example.com/{tenant}\", path = \"/t/{tenant}/**\" }]";
    let gateway = Harness::start("", &to(&upstream, rules));
    for protocol in PROTOCOLS {
        check(&gateway, protocol, "/t/order-service/x", &[], 200).await;
        for path in ["/t/other/x", "/t/order-service2", "/t", "/x/order-service"] {
            check(&gateway, protocol, path, &[], 403).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn shadow_rules_are_counted_and_never_in_effect() {
    let upstream = Upstream::start();
    let admitting = "path = \"/a\"\nallow = [\"any-trusted\"]\n[gateway.listener.route.shadow]\nallow = [{ cn = \"nobody\" }]\n";
    let refusing = "path = \"/b\"\nallow = [{ cn = \"nobody\" }]\n[gateway.listener.route.shadow]\nallow = [\"any-trusted\"]\n";
    let without = "allow = [\"any-trusted\"]";
    let routes = format!(
        "{}[[gateway.listener.route]]\n{}[[gateway.listener.route]]\n{}",
        to(&upstream, admitting),
        to(&upstream, refusing),
        to(&upstream, without)
    );
    let gateway = Harness::start("", &routes);
    check(&gateway, Protocol::Http1Tls12, "/a", &[], 200).await;
    check(&gateway, Protocol::Http1Tls13, "/a", &[], 200).await;
    check(&gateway, Protocol::Http2Tls13, "/b", &[], 403).await;
    check(&gateway, Protocol::Http2Tls13, "/c", &[], 200).await;
    let figures = ShadowFigures {
        same: 0,
        would_admit: 1,
        would_refuse: 2,
    };
    assert_eq!(gateway.handle.status().listeners[0].shadow, Some(figures));
}

#[tokio::test(flavor = "multi_thread")]
async fn shadow_of_a_listener_of_bytes_cuts_nobody() {
    let echo = Service::start(|mut conversation| {
        while let Some(line) = conversation.line() {
            conversation.send(format!("{line}\n").as_bytes());
        }
    });
    let gateway = Harness::bytes(&format!(
        "upstream = \"tcp://{}\"\nallow = [\"any-trusted\"]\nshadow = {{ deny = [{{ cn = \"order-service\" }}] }}\n",
        echo.address()
    ));
    let mut stream = gateway.connect().await;
    stream.write_all(b"hello\n").await.expect("open");
    let mut answer = [0; 6];
    stream.read_exact(&mut answer).await.expect("an answer");
    assert_eq!(&answer, b"hello\n");
    let shadow = gateway.handle.status().listeners[0].shadow;
    assert_eq!(shadow.map(|it| it.would_refuse), Some(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn connection_ends_when_its_certificate_is_too_old_for_its_rule() {
    let echo = Service::start(|mut conversation| {
        while let Some(line) = conversation.line() {
            conversation.send(format!("{line}\n").as_bytes());
        }
    });
    let listener = format!(
        "upstream = \"tcp://{}\"\nallow = [{{ cn = \"order-service\", certificate_max_age = \"4s\" }}]\n",
        echo.address()
    );
    let gateway = Harness::bytes_within(&listener, |bounds| {
        bounds.send = Duration::from_millis(600);
    });
    // An hour old: refused, whatever it sends.
    let mut old = gateway.connect().await;
    let mut nothing = [0; 1];
    let ended = timeout(Duration::from_secs(10), old.read(&mut nothing)).await;
    assert!(matches!(ended, Ok(Ok(0) | Err(_))), "{ended:?}");

    let young = gateway
        .ca
        .issue(Leaf::client("order-service").valid(0, 3600));
    let client = Client::new(
        gateway.ca.root.der(),
        Some(&young),
        Protocol::Http1Tls13,
        HOST,
    );
    let mut stream = client.connect(gateway.address()).await.expect("admitted");
    stream.write_all(b"hello\n").await.expect("open");
    let mut answer = [0; 6];
    stream.read_exact(&mut answer).await.expect("an answer");
    let ended = timeout(Duration::from_secs(30), stream.read(&mut nothing)).await;
    assert!(matches!(ended, Ok(Ok(0) | Err(_))), "{ended:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn rules_that_cannot_hold_are_refused_with_their_key() {
    let gateway = Harness::start("", "upstream = \"demo\"\nallow = [\"any-trusted\"]\n");
    let refused = |entry: &str| {
        let route = format!(
            "[[gateway.listener.route]]\nhost = \"api.example.com\"\nupstream = \"demo\"\nallow = [{{ cn = \"a\" }}, {entry}]\n"
        );
        let error = gateway.refused_plan(&route);
        assert!(
            error
                .place
                .starts_with("gateway.listener[0].route[0].allow[1]"),
            "{entry}: {error}"
        );
        format!("{error} {}", error.hint.as_deref().unwrap_or_default())
    };
    for (entry, part) in [
        (
            "{ cn = \"b\", header = { x-client-cn = [\"a\"] } }",
            "removes this header",
        ),
        (
            "{ cn = \"b\", header = { x-forwarded-for = [\"10.0.0.1\"] } }",
            "source",
        ),
        (
            "{ cn = \"b\", header = { host = [\"a\"] } }",
            "condition of its own",
        ),
        ("{ cn = \"b\", header = { x-env = [] } }", "no value"),
        ("{ cn = \"b\", source = [\"10.0.0.1/8\"] }", "no range"),
        (
            "{ cn = \"b\", source = [\"::ffff:10.0.0.0/104\"] }",
            "no range",
        ),
        (
            "{ cn = \"b\", source = [\"10.0.0.0/8\", \"10.1.0.0/16\"] }",
            "beside",
        ),
        (
            "{ cn = \"b\", time = [{ from = \"22:00\", to = \"06:00\", zone = \"UTC\" }] }",
            "24:00",
        ),
        (
            "{ cn = \"b\", time = [{ days = [], from = \"08:00\", to = \"09:00\", zone = \"UTC\" }] }",
            "no day",
        ),
        (
            "{ cn = \"b\", host = [\"other.example.com\"] }",
            "the route serves api.example.com",
        ),
        ("{ cn = \"b\", certificate_max_age = \"0s\" }", "that young"),
        (
            "{ cn = \"b\", grpc = [\"a.B/C\"], method = [\"GET\"] }",
            "POST",
        ),
        ("{ serial = \"0a\" }", "issuer"),
        (
            "{ cn = \"{tenant}\", path = \"/{tenant}\" }",
            "spiffe, dns, o or ou",
        ),
        ("{ ou = \"{tenant}\" }", "asked of nothing else"),
        (
            "{ cn = \"b\", host = [\"{tenant}.example.com\"] }",
            "nothing says whose tenant",
        ),
        ("{ trust_domain = \"other.example\" }", "never hold"),
        (
            "{ cn = \"b\", extension = [{ oid = \"1.3.6.1\" }] }",
            "text or as hex",
        ),
        (
            "{ cn = \"b\", eku = [\"anyExtendedKeyUsage\"] }",
            "any purpose",
        ),
        (
            "{ cn = \"b\", dn = \"CN=c,O=d\", dn_unordered = \"O=x\" }",
            "nobody is both",
        ),
    ] {
        let said = refused(entry);
        assert!(said.contains(part), "{entry}: {said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_example_of_the_reference_loads_without_a_warning() {
    let gateway = Harness::start("", "upstream = \"demo\"\nallow = [\"any-trusted\"]\n");
    let page = include_str!("../../../../docs/reference/rules.md");
    let blocks = page.split("```toml\n").skip(1);
    let blocks: Vec<&str> = blocks.filter_map(|it| it.split("```").next()).collect();
    assert!(blocks.len() >= 8, "{}", blocks.len());
    for block in &blocks {
        let plan = gateway.plan("", &format!("upstream = \"demo\"\n{block}{FACTORS}"));
        assert_eq!(plan.redundancies(), Vec::new(), "{block}");
    }
    // Each field of an entry has an example.
    let schema = include_str!("../../../../docs/reference/config.schema.json");
    let schema: serde_json::Value = serde_json::from_str(schema).expect("JSON");
    let fields = schema["$defs"]["ConditionConfig"]["properties"]
        .as_object()
        .expect("the fields of a condition");
    for field in fields.keys() {
        // These are PostgreSQL's, and the bundle is explained in words.
        if ["user", "database", "bundle"].contains(&field.as_str()) {
            continue;
        }
        assert!(
            blocks
                .iter()
                .any(|block| block.contains(&format!("{field} = "))),
            "{field} has no example"
        );
    }
}

/// What the page's rules name.
const FACTORS: &str = "
[[gateway.token_issuer]]
name = \"corp\"
issuer = \"https://id.example.com\"
audience = [\"payments\"]
jwks_url = \"http://127.0.0.1:9/\"
[[gateway.api_key]]
name = \"report-key\"
sha256 = \"0000000000000000000000000000000000000000000000000000000000000000\"
for = \"cn:report\"
";

#[tokio::test(flavor = "multi_thread")]
async fn needless_entries_are_told_of_with_their_key() {
    let gateway = Harness::start("", "upstream = \"demo\"\nallow = [\"any-trusted\"]\n");
    let plan = gateway.plan(
        "",
        "upstream = \"demo\"\nallow = [{ cn = \"a\" }, { cn = \"a\", method = [\"GET\"] }, { cn = \"b\", path = \"/x\" }, { cn = \"c\" }]\n\
         deny = [{ cn = \"b\" }, { cn = \"b\", method = [\"PUT\"] }, { cn = \"c\", method = [\"GET\"] }]\n",
    );
    let route = "gateway.listener[0].route[0]";
    let told = [
        ("allow[1]", "allow 1 admits whatever it admits"),
        ("allow[2]", "deny 1 refuses all that it admits"),
        ("deny[1]", "deny 1 refuses whatever it refuses"),
    ];
    let told: Vec<_> = told
        .iter()
        .map(|(entry, why)| (format!("{route}.{entry}"), (*why).to_owned()))
        .collect();
    assert_eq!(plan.redundancies(), told);
}
