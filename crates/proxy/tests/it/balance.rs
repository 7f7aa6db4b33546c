//! Several upstreams behind one route: who gets what, what becomes of requests when one is gone, and what never is sent twice.

use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use countersign_diagnose::cause::Cause;
use countersign_testkit::bypass::Protocol;
use countersign_testkit::client::Outcome;
use countersign_testkit::ephemeral;
use countersign_testkit::service::Service;
use http::{Method, Response};
use http_body_util::Full;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use crate::forwarding::read_until;
use crate::harness::{HOST, Harness, PROTOCOLS, request};
use crate::http2::{self, soon};

/// Says its name to everybody; on `/wait` it says nothing, and on `/bad` it hangs up.
fn named(name: &'static str) -> Service {
    named_on(TcpListener::bind("127.0.0.1:0").expect("loopback"), name)
}

fn named_on(listener: TcpListener, name: &'static str) -> Service {
    Service::start_on(listener, move |mut conversation| {
        while let Some(head) = conversation.head() {
            if head.contains(" /bad ") {
                return;
            }
            if head.contains(" /wait ") {
                conversation.bytes(1);
                return;
            }
            let length = head
                .lines()
                .find_map(|it| it.strip_prefix("content-length: "));
            if let Some(length) = length {
                conversation.bytes(length.parse().expect("a number"));
            }
            let answer = format!(
                "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{name}",
                name.len()
            );
            conversation.send(answer.as_bytes());
        }
    })
}

/// Takes each request, counts it, and hangs up.
struct Breaking {
    service: Service,
    requests: Arc<AtomicUsize>,
}

impl Breaking {
    fn start() -> Self {
        let requests = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&requests);
        let service = Service::start(move |mut conversation| {
            if conversation.head().is_some() {
                counter.fetch_add(1, Ordering::SeqCst);
            }
        });
        Self { service, requests }
    }

    fn requests(&self) -> usize {
        self.requests.load(Ordering::SeqCst)
    }
}

/// A list of them, and these keys.
fn among(scheme: &str, addresses: &[SocketAddr], keys: &str) -> String {
    let urls: Vec<String> = addresses
        .iter()
        .map(|address| format!("\"{scheme}://{address}\""))
        .collect();
    format!(
        "upstream = [{}]\nallow = [\"any-trusted\"]\n{keys}\n",
        urls.join(", ")
    )
}

async fn ask(gateway: &Harness, protocol: Protocol, method: Method, path: &str) -> Outcome {
    let body = if method == Method::POST { "hello" } else { "" };
    let request = request(protocol, HOST, path)
        .method(method)
        .body(Full::new(Bytes::from(body)))
        .expect("a request");
    let client = gateway.client(protocol);
    client.request(gateway.address(), request).await
}

/// How often each name answered so many requests, none of which fails.
async fn answers(gateway: &Harness, count: usize) -> BTreeMap<String, usize> {
    let mut answers = BTreeMap::new();
    for number in 0..count {
        let protocol = PROTOCOLS[number % PROTOCOLS.len()];
        let outcome = ask(gateway, protocol, Method::GET, "/").await;
        assert_eq!(outcome.status(), Some(200), "{number}: {outcome:?}");
        *answers.entry(outcome.text()).or_default() += 1;
    }
    answers
}

fn is(answers: &BTreeMap<String, usize>, expected: &[(&str, usize)]) {
    let expected = expected.iter().map(|(name, n)| ((*name).to_owned(), *n));
    assert_eq!(*answers, expected.collect());
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_go_to_each_in_turn() {
    let (a, b, c) = (named("a"), named("b"), named("c"));
    let addresses = [a.address(), b.address(), c.address()];
    let gateway = Harness::start("", &among("http", &addresses, ""));
    let answers = answers(&gateway, 30).await;
    is(&answers, &[("a", 10), ("b", 10), ("c", 10)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_is_busy_gets_nothing_where_load_counts() {
    for mode in ["least-requests", "power-of-two"] {
        let (a, b) = (named("a"), named("b"));
        let keys = format!("balance = \"{mode}\"");
        let gateway = Harness::start("", &among("http", &[a.address(), b.address()], &keys));
        let mut waiting = gateway.connect().await;
        waiting
            .write_all(b"GET /wait HTTP/1.1\r\nhost: api.example.com\r\n\r\n")
            .await
            .expect("open");
        soon(async {
            while a.accepted() + b.accepted() == 0 {
                tokio::task::yield_now().await;
            }
        })
        .await;
        let free = if a.accepted() == 1 { "b" } else { "a" };
        is(&answers(&gateway, 12).await, &[(free, 12)]);
        // Its client is gone, and it as free as the other one.
        drop(waiting);
        soon(async { while answers(&gateway, 1).await.contains_key(free) {} }).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn dead_upstream_fails_no_request_whatever_the_method() {
    let (a, b) = (named("a"), named("b"));
    let addresses = [a.address(), ephemeral::address(), b.address()];
    let gateway = Harness::start("", &among("http", &addresses, ""));
    for protocol in PROTOCOLS {
        for method in [Method::GET, Method::POST, Method::DELETE] {
            for _ in 0..4 {
                let outcome = ask(&gateway, protocol, method.clone(), "/").await;
                assert_eq!(outcome.status(), Some(200), "{method}: {outcome:?}");
            }
        }
    }
    let answers = answers(&gateway, 40).await;
    // Its share is everybody's.
    assert!(answers["a"] >= 17 && answers["b"] >= 17, "{answers:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn upstream_that_comes_back_is_used_again() {
    let (a, gone) = (named("a"), ephemeral::address());
    let gateway = Harness::start("", &among("http", &[a.address(), gone], ""));
    is(&answers(&gateway, 10).await, &[("a", 10)]);
    let _b = named_on(TcpListener::bind(gone).expect("still free"), "b");
    soon(async { while !answers(&gateway, 1).await.contains_key("b") {} }).await;
    let answers = answers(&gateway, 20).await;
    is(&answers, &[("a", 10), ("b", 10)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn when_all_are_gone_the_first_that_is_back_serves_at_once() {
    let gone = [ephemeral::address(), ephemeral::address()];
    let gateway = Harness::start("", &among("http", &gone, ""));
    for _ in 0..20 {
        let outcome = ask(&gateway, Protocol::Http1Tls13, Method::GET, "/").await;
        assert_eq!(outcome.status(), Some(502), "{outcome:?}");
    }
    // Their rests are of half a minute by now; what one of them needs is a request.
    let _a = named_on(TcpListener::bind(gone[1]).expect("still free"), "a");
    let mut failed = 0;
    while ask(&gateway, Protocol::Http1Tls13, Method::GET, "/")
        .await
        .status()
        != Some(200)
    {
        failed += 1;
        assert!(failed < 3, "every request tries one of the two");
    }
    is(&answers(&gateway, 10).await, &[("a", 10)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn broken_request_is_repeated_elsewhere_and_never_a_post() {
    let (breaking, a) = (Breaking::start(), named("a"));
    let addresses = [breaking.service.address(), a.address()];
    let gateway = Harness::start("", &among("http", &addresses, ""));
    is(&answers(&gateway, 10).await, &[("a", 10)]);
    let gets = breaking.requests();
    assert_eq!(gets, 5, "a request that breaks lets nobody rest");
    let mut statuses = Vec::new();
    for number in 0..10 {
        let protocol = PROTOCOLS[number % PROTOCOLS.len()];
        let outcome = ask(&gateway, protocol, Method::POST, "/").await;
        statuses.push(outcome.status().expect("an answer"));
    }
    let failed = statuses.iter().filter(|it| **it == 502).count();
    assert_eq!((failed, statuses.len()), (5, 10), "{statuses:?}");
    assert_eq!(breaking.requests() - gets, 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn post_goes_to_nobody_twice() {
    let breaking = [Breaking::start(), Breaking::start(), Breaking::start()];
    let addresses = breaking.each_ref().map(|it| it.service.address());
    let gateway = Harness::start("", &among("http", &addresses, ""));
    for number in 0..12 {
        let protocol = PROTOCOLS[number % PROTOCOLS.len()];
        // With a body, and without one.
        let method = if number % 2 == 0 {
            Method::POST
        } else {
            Method::PATCH
        };
        let outcome = ask(&gateway, protocol, method, "/").await;
        assert_eq!(outcome.status(), Some(502), "{outcome:?}");
    }
    let received: usize = breaking.iter().map(Breaking::requests).sum();
    assert_eq!(received, 12);
}

#[tokio::test(flavor = "multi_thread")]
async fn set_that_dies_is_hit_a_fifth_harder_at_most() {
    const REQUESTS: usize = 400;
    let breaking = [Breaking::start(), Breaking::start(), Breaking::start()];
    let addresses = breaking.each_ref().map(|it| it.service.address());
    let gateway = Harness::start("", &among("http", &addresses, ""));
    let begun = Instant::now();
    let mut connection = http2::h2_client(&gateway).await;
    for _ in 0..REQUESTS {
        connection = connection.ready().await.expect("open");
        let request = http::Request::get(format!("https://{HOST}/"));
        let request = request.body(()).expect("a request");
        let (answer, _) = connection.send_request(request, true).expect("open");
        assert_eq!(answer.await.expect("an answer").status(), 502);
    }
    let received: usize = breaking.iter().map(Breaking::requests).sum();
    // A hundred are saved up, and three a second are free.
    let seconds = usize::try_from(begun.elapsed().as_secs()).expect("few") + 1;
    let most = REQUESTS + REQUESTS / 5 + 100 + 3 * seconds;
    assert!(
        received > REQUESTS + 100 && received <= most,
        "{received} of {most}, and without a bound {}",
        3 * REQUESTS
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn client_cannot_make_an_upstream_rest() {
    let (a, b) = (named("a"), named("b"));
    let bounds = |bounds: &mut countersign_proxy::plan::Bounds| {
        bounds.answer = Duration::from_millis(20);
    };
    let route = among("http", &[a.address(), b.address()], "");
    let gateway = Harness::start_within("", &route, bounds);
    for path in ["/bad", "/wait"] {
        for _ in 0..10 {
            for method in [Method::GET, Method::POST] {
                let outcome = ask(&gateway, Protocol::Http1Tls13, method, path).await;
                assert!(outcome.status() >= Some(502), "{outcome:?}");
            }
        }
    }
    is(&answers(&gateway, 20).await, &[("a", 10), ("b", 10)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn upstream_with_a_wrong_certificate_is_left_alone_and_explained() {
    let (right, wrong) = (named("right"), named("wrong"));
    // Each before its own service, with certificates of different CAs.
    let inner = Harness::start("client_certificate = \"off\"", &{
        let allow = among("http", &[right.address()], "");
        allow.replace("any-trusted", "anyone")
    });
    let other = Harness::start("client_certificate = \"off\"", &{
        let allow = among("http", &[wrong.address()], "");
        allow.replace("any-trusted", "anyone")
    });
    let tls = format!("upstream_tls = {{ trust = \"inner\", name = [\"{HOST}\"] }}");
    let route = |addresses: &[SocketAddr]| {
        format!(
            "[[gateway.listener.route]]\n{}",
            among("https", addresses, &tls)
        )
    };
    let outer = Harness::before(&inner, &route(&[other.address(), inner.address()]));
    is(&answers(&outer, 40).await, &[("right", 40)]);
    for _ in 0..4 {
        let outcome = ask(&outer, Protocol::Http2Tls13, Method::POST, "/").await;
        assert_eq!(outcome.status(), Some(200), "{outcome:?}");
    }
    assert_eq!(wrong.accepted(), 0);
    let told = outer.refusals();
    assert!((1..20).contains(&told.len()), "{}", told.len());
    for stored in &told {
        assert_eq!(stored.refusal.cause, Cause::SameNameDifferentKeyCa);
    }

    let both = [other.address(), outer.address()];
    let neither = Harness::before(&inner, &route(&both));
    let outcome = ask(&neither, Protocol::Http1Tls13, Method::GET, "/").await;
    assert_eq!(outcome.status(), Some(502), "{outcome:?}");
    let explained = neither.explained(&outcome);
    assert_eq!(explained.refusal.cause, Cause::SameNameDifferentKeyCa);
    assert_eq!(wrong.accepted(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_go_to_the_next_address() {
    let echo = || {
        Service::start(|mut conversation| {
            while let Some(line) = conversation.line() {
                conversation.send(format!("{line}\n").as_bytes());
            }
        })
    };
    let (a, b) = (echo(), echo());
    let addresses = [ephemeral::address(), a.address(), b.address()];
    let gateway = Harness::bytes(&among("tcp", &addresses, ""));
    for _ in 0..12 {
        let mut stream = gateway.connect().await;
        stream.write_all(b"hello\n").await.expect("open");
        let mut answer = [0; 6];
        soon(stream.read_exact(&mut answer)).await.expect("an echo");
        assert_eq!(&answer, b"hello\n");
    }
    assert_eq!(a.accepted() + b.accepted(), 12);
    assert!(a.accepted() >= 4 && b.accepted() >= 4, "{}", a.accepted());

    let gone = [ephemeral::address(), ephemeral::address()];
    let gateway = Harness::bytes(&among("tcp", &gone, ""));
    let mut stream = gateway.connect().await;
    let mut rest = Vec::new();
    let ended = soon(stream.read_to_end(&mut rest)).await;
    assert!(ended.is_ok() && rest.is_empty(), "{ended:?}");
}

async fn http2_named(name: &'static str) -> http2::Service {
    http2::Service::start(move |_, _, mut answer| async move {
        if let Ok(mut body) = answer.send_response(Response::new(()), false) {
            let _ = body.send_data(Bytes::from_static(name.as_bytes()), true);
        }
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn upstreams_of_http2_are_balanced_and_left_alone_as_others_are() {
    let (a, b) = (http2_named("a").await, http2_named("b").await);
    let keys = "upstream_protocol = \"h2\"";
    let both = [a.address(), b.address()];
    let gateway = Harness::start("", &among("http", &both, keys));
    is(&answers(&gateway, 20).await, &[("a", 10), ("b", 10)]);
    assert_eq!((a.accepted(), b.accepted()), (1, 1));

    // One is gone, and one speaks HTTP/1.1 alone: neither gets a request.
    let http1 = Breaking::start();
    let addresses = [ephemeral::address(), http1.service.address(), a.address()];
    let gateway = Harness::start("", &among("http", &addresses, keys));
    for method in [Method::POST, Method::GET] {
        for _ in 0..6 {
            let outcome = ask(&gateway, Protocol::Http2Tls13, method.clone(), "/").await;
            assert_eq!(outcome.status(), Some(200), "{outcome:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn post_that_breaks_over_http2_goes_nowhere_else() {
    let requests = Arc::new(AtomicUsize::new(0));
    let start = || {
        let counter = Arc::clone(&requests);
        http2::Service::start_connections(move |_, socket| {
            let counter = Arc::clone(&counter);
            async move {
                let mut connection = h2::server::handshake(socket).await.expect("h2");
                let _request = connection.accept().await;
                counter.fetch_add(1, Ordering::SeqCst);
            }
        })
    };
    let (a, b) = (start().await, start().await);
    let both = [a.address(), b.address()];
    let gateway = Harness::start("", &among("http", &both, "upstream_protocol = \"h2\""));
    for number in 1..=6 {
        let outcome = ask(&gateway, Protocol::Http2Tls13, Method::POST, "/").await;
        assert_eq!(outcome.status(), Some(502), "{outcome:?}");
        assert_eq!(requests.load(Ordering::SeqCst), number);
    }
    // What may be repeated is, once at each.
    let outcome = ask(&gateway, Protocol::Http2Tls13, Method::GET, "/").await;
    assert_eq!(outcome.status(), Some(502), "{outcome:?}");
    assert_eq!(requests.load(Ordering::SeqCst), 8);
}

#[tokio::test(flavor = "multi_thread")]
async fn reload_ends_what_is_at_an_upstream_that_it_takes_away_and_nothing_else() {
    let streaming = |name: &'static str| {
        Service::start(move |mut conversation| {
            if conversation.head().is_some() {
                conversation.send(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n");
                conversation.send_chunk(format!("I am {name}.").as_bytes());
                conversation.bytes(1);
            }
        })
    };
    let (a, b) = (streaming("a"), streaming("b"));
    let gateway = Harness::start("", &among("http", &[a.address(), b.address()], ""));
    let mut streams = Vec::new();
    for _ in 0..4 {
        let mut stream = gateway.connect().await;
        stream
            .write_all(b"GET / HTTP/1.1\r\nhost: api.example.com\r\n\r\n")
            .await
            .expect("open");
        let head = read_until(&mut stream, ".\r\n").await;
        streams.push((stream, head.contains("I am a.")));
    }
    assert_eq!(streams.iter().filter(|(_, is_a)| *is_a).count(), 2);
    // Another balance and another neighbour are no reason to end anything.
    let c = named("c");
    let keys = "balance = \"least-requests\"";
    let plan = gateway.plan("", &among("http", &[c.address(), a.address()], keys));
    soon(gateway.handle.reload(plan)).await.expect("reloads");
    // Those that end are waited for first.
    streams.sort_by_key(|(_, is_a)| *is_a);
    for (stream, is_a) in &mut streams {
        let mut byte = [0];
        if *is_a {
            let read = timeout(Duration::from_millis(100), stream.read(&mut byte)).await;
            assert!(read.is_err(), "{read:?}");
        } else {
            let read = soon(stream.read(&mut byte)).await;
            assert!(matches!(read, Err(_) | Ok(0)), "{read:?}");
        }
    }
}

#[test]
fn groups_that_make_no_sense_are_refused() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let _entered = runtime.enter();
    let gateway = Harness::start("", "upstream = \"demo\"\nallow = [\"any-trusted\"]\n");
    let route = |keys: &str| {
        gateway.refused_plan(&format!(
            "[[gateway.listener.route]]\nallow = [\"any-trusted\"]\n{keys}\n"
        ))
    };
    let many: Vec<String> = (1..=65).map(|it| format!("\"http://a:{it}\"")).collect();
    let many = format!("upstream = [{}]", many.join(", "));
    let place = "gateway.listener[0].route[0]";
    for (keys, key, why) in [
        (
            "upstream = [\"http://a:80\", \"http://A\"]",
            "upstream[1]",
            "the same as \"http://a:80\"",
        ),
        (
            "upstream = [\"http://a\", \"https://b\"]",
            "upstream[1]",
            "of another kind",
        ),
        (
            "upstream = [\"http://a\", \"unix:/b\"]",
            "upstream[1]",
            "of another kind",
        ),
        (
            "upstream = [\"http://a\", \"demo\"]",
            "upstream[1]",
            "the built-in page",
        ),
        (
            "upstream = [\"http://a\", \"http://b/path\"]",
            "upstream[1]",
            "has a path",
        ),
        (
            "upstream = [\"http://a\", \"tcp://b:1\"]",
            "upstream[1]",
            "does not begin with",
        ),
        (
            "upstream = \"http://a\"\nbalance = \"round-robin\"",
            "balance",
            "there is one upstream",
        ),
        (&many, "upstream", "65 upstreams, and it takes 1 to 64"),
    ] {
        let error = route(keys);
        assert_eq!(error.place, format!("{place}.{key}"), "{error}");
        assert!(error.why.contains(why), "{error}");
        assert!(error.hint.is_some(), "{error}");
    }
    let logins = "protocol = \"postgresql\"\nupstream = [\"tcp://a:1\", \"tcp://b:1\"]\nallow = [{ cn = \"a\", user = [\"*\"] }]\n";
    let error = gateway.refused_plan(logins);
    assert_eq!(error.place, "gateway.listener[0].upstream");
    assert!(error.why.contains("cancelled"), "{error}");
    let misplaced = format!(
        "balance = \"round-robin\"\n[[gateway.listener.route]]\n{}",
        among("http", &[ephemeral::address()], "")
    );
    assert_eq!(
        gateway.refused_plan(&misplaced).place,
        "gateway.listener[0].balance"
    );
}
