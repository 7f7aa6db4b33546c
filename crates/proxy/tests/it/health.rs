//! Active checks: who fails gets nothing while others pass, and nothing becomes unreachable by a check.

use std::collections::BTreeSet;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use countersign_proxy::gateway::UpstreamStatus;
use countersign_testkit::bypass::Protocol;
use countersign_testkit::service::Service;
use tokio::time::sleep;

use crate::harness::{HOST, Harness, to};

/// Says its name to everybody, and to checks what it is told to.
struct Server {
    service: Service,
    is_well: Arc<AtomicBool>,
    checks: Arc<AtomicUsize>,
}

impl Server {
    fn start(name: &'static str, is_well: bool) -> Self {
        let is_well = Arc::new(AtomicBool::new(is_well));
        let checks = Arc::new(AtomicUsize::new(0));
        let (well, counter) = (Arc::clone(&is_well), Arc::clone(&checks));
        let service = Service::start(move |mut conversation| {
            while let Some(head) = conversation.head() {
                let is_check = head.starts_with("GET /healthz ");
                counter.fetch_add(usize::from(is_check), Ordering::SeqCst);
                let status = if is_check && !well.load(Ordering::SeqCst) {
                    "503 Service Unavailable"
                } else {
                    "200 OK"
                };
                let length = name.len();
                let answer = format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\n\r\n{name}");
                conversation.send(answer.as_bytes());
            }
        });
        Self {
            service,
            is_well,
            checks,
        }
    }

    fn address(&self) -> SocketAddr {
        self.service.address()
    }
}

fn route(scheme: &str, addresses: &[SocketAddr], health: &str) -> String {
    let urls: Vec<_> = addresses
        .iter()
        .map(|it| format!("\"{scheme}://{it}\""))
        .collect();
    format!(
        "upstream = [{}]\nallow = [\"any-trusted\"]\nhealth = {health}\n",
        urls.join(", ")
    )
}

const ASKING: &str = r#"{ path = "/healthz", interval = "1s", timeout = "1s" }"#;

fn states(gateway: &Harness) -> Vec<&'static str> {
    let upstreams = gateway.handle.status().upstreams;
    upstreams
        .iter()
        .map(|it: &UpstreamStatus| it.state)
        .collect()
}

/// The bound only catches a hang.
async fn until(gateway: &Harness, expected: &[&str]) {
    for _ in 0..600 {
        if states(gateway) == expected {
            return;
        }
        sleep(Duration::from_millis(50)).await;
    }
    panic!("{:?}", gateway.handle.status().upstreams);
}

/// Who answers so many requests, none of which fails.
async fn answering(gateway: &Harness) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for _ in 0..8 {
        let outcome = gateway.get(Protocol::Http1Tls13, "/").await;
        assert_eq!(outcome.status(), Some(200), "{outcome:?}");
        names.insert(outcome.text());
    }
    names
}

fn set(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|it| (*it).to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn who_fails_its_checks_gets_nothing_until_it_passes_again() {
    let (a, b) = (Server::start("a", false), Server::start("b", true));
    let addresses = [a.address(), b.address()];
    let gateway = Harness::start("", &route("http", &addresses, ASKING));
    until(&gateway, &["failing", "passing"]).await;
    assert_eq!(answering(&gateway).await, set(&["b"]));
    let told = &gateway.handle.status().upstreams[0];
    assert_eq!(told.check, "/healthz");
    assert!(
        told.fault.as_ref().is_some_and(|it| it.contains("503")),
        "{told:?}"
    );

    a.is_well.store(true, Ordering::SeqCst);
    until(&gateway, &["passing", "passing"]).await;
    assert_eq!(answering(&gateway).await, set(&["a", "b"]));

    b.is_well.store(false, Ordering::SeqCst);
    until(&gateway, &["passing", "failing"]).await;
    assert_eq!(answering(&gateway).await, set(&["a"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn where_all_fail_their_checks_requests_go_as_without_any() {
    let (a, b) = (Server::start("a", false), Server::start("b", false));
    let gateway = Harness::start("", &route("http", &[a.address(), b.address()], ASKING));
    until(&gateway, &["failing", "failing"]).await;
    assert_eq!(answering(&gateway).await, set(&["a", "b"]));
    let alone = Harness::start("", &route("http", &[a.address()], ASKING));
    until(&alone, &["failing"]).await;
    assert_eq!(answering(&alone).await, set(&["a"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn reload_keeps_what_is_known_and_forgets_who_has_gone() {
    let (a, b) = (Server::start("a", false), Server::start("b", true));
    let both = route("http", &[a.address(), b.address()], ASKING);
    let gateway = Harness::start("", &both);
    until(&gateway, &["failing", "passing"]).await;
    let plan = gateway.plan("", &both);
    gateway.handle.reload(plan).await.expect("the same");
    assert_eq!(states(&gateway), ["failing", "passing"]);
    assert_eq!(answering(&gateway).await, set(&["b"]));

    let plan = gateway.plan("", &route("http", &[b.address()], ASKING));
    gateway.handle.reload(plan).await.expect("fewer");
    assert_eq!(states(&gateway), ["passing"]);
    let other = ASKING.replace("/healthz", "/elsewhere");
    let plan = gateway.plan("", &route("http", &[a.address(), b.address()], &other));
    gateway.handle.reload(plan).await.expect("another path");
    until(&gateway, &["passing", "passing"]).await;
    assert_eq!(answering(&gateway).await, set(&["a", "b"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn two_routes_that_look_alike_look_once() {
    let a = Server::start("a", true);
    let one = route("http", &[a.address()], ASKING);
    let two = format!("path = \"/x\"\n{one}\n[[gateway.listener.route]]\n{one}");
    let gateway = Harness::start("", &two);
    until(&gateway, &["passing"]).await;
    // One look, or two of one task.
    assert!(a.checks.load(Ordering::SeqCst) <= 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_are_looked_at_by_a_connection() {
    let a = Server::start("a", true);
    let socket = TcpListener::bind("127.0.0.1:0").expect("loopback");
    let gone = socket.local_addr().expect("bound");
    drop(socket);
    let addresses = [gone, a.address()];
    let gateway = Harness::bytes(&route(
        "tcp",
        &addresses,
        "{ interval = \"1s\", timeout = \"1s\" }",
    ));
    until(&gateway, &["failing", "passing"]).await;
    assert_eq!(gateway.handle.status().upstreams[0].check, "connect");
    assert_eq!(a.checks.load(Ordering::SeqCst), 0);
}

/// A check goes the way of requests: the server is judged, and judges.
#[tokio::test(flavor = "multi_thread")]
async fn check_over_tls_verifies_the_server_and_shows_our_certificate() {
    let a = Server::start("a", true);
    let inner = Harness::start("", &to(a.address()));
    let folder = tempfile::tempdir().expect("a folder");
    let (certificate, key) = inner.client.write(folder.path(), "client");
    let shown = format!(
        ", certificate = \"{}\", key = \"{}\"",
        certificate.display(),
        key.display()
    );
    let routes: Vec<String> = [("inner", shown.as_str()), ("inner", ""), ("internal", &shown)]
        .iter()
        .enumerate()
        .map(|(number, (trust, shown))| {
            let route = route("https", &[inner.address()], ASKING);
            format!(
                "[[gateway.listener.route]]\npath = \"/{number}\"\n{route}upstream_tls = {{ trust = \"{trust}\", name = [\"{HOST}\"]{shown} }}\n"
            )
        })
        .collect();
    let outer = Harness::before(&inner, &routes.concat());
    until(&outer, &["passing", "failing", "failing"]).await;
    let told = outer.handle.status().upstreams;
    let fault = told[1].fault.as_deref().unwrap_or_default();
    assert!(fault.contains("certificate_required"), "{told:?}");
    assert!(told[2].fault.is_some(), "{told:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn check_that_makes_no_sense_is_refused_at_load() {
    let a = Server::start("a", true);
    let gateway = Harness::start("", &route("http", &[a.address()], ASKING));
    let http = |health: &str| route("http", &[a.address()], health);
    let refused = |listener: String, words: &str| {
        let error = gateway.refused_plan(&listener).to_string();
        assert!(error.contains(words), "{words} in {error}");
    };
    let listener = |route: &str| format!("[[gateway.listener.route]]\n{route}");
    for (health, words) in [
        (r#"{ path = "healthz" }"#, "is no path"),
        (r#"{ path = "/a b" }"#, "is no path"),
        (r#"{ interval = "0s" }"#, "once a second"),
        (r#"{ interval = "1s", timeout = "2s" }"#, "before the next"),
        (r#"{ timeout = "0s" }"#, "before the next"),
    ] {
        refused(listener(&http(health)), words);
    }
    refused(
        listener("upstream = \"demo\"\nallow = [\"any-trusted\"]\nhealth = {}\n"),
        "always there",
    );
    refused(
        route("tcp", &[a.address()], r#"{ path = "/healthz" }"#),
        "not asked in HTTP",
    );
    refused(
        format!(
            "upstream_proxy_protocol = \"v2\"\n{}",
            route("tcp", &[a.address()], "{}")
        ),
        "nobody's connection",
    );
    refused(
        format!(
            "health = {{}}\n{}",
            listener("upstream = \"demo\"\nallow = [\"any-trusted\"]\n")
        ),
        "listener of bytes",
    );
}
