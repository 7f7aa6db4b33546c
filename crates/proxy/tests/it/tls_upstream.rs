//! Upstreams over TLS: whom they have to be, what they are shown, and what ends that. The upstream is another gateway, which
//! requires a certificate.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use countersign_diagnose::cause::Cause;
use countersign_pki::certificate::Certificate;
use countersign_testkit::bypass::Protocol;
use countersign_testkit::pki::Leaf;
use countersign_testkit::service::Service;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::forwarding::{read_until, upgrade};
use crate::harness::{HOST, Harness, to};

/// Answers with the head that it has got.
fn service() -> Service {
    Service::start(|mut conversation| {
        while let Some(head) = conversation.head() {
            if head.contains("websocket") {
                conversation.send(b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n");
                conversation.bytes(1);
                continue;
            }
            let answer = format!(
                "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{head}",
                head.len()
            );
            conversation.send(answer.as_bytes());
        }
    })
}

/// The service, the gateway before it, and files with what that one's client shows.
struct Inner {
    service: Service,
    gateway: Harness,
    folder: TempDir,
}

impl Inner {
    fn start() -> Self {
        let service = service();
        let gateway = Harness::start("", &to(service.address()));
        let folder = tempfile::tempdir().expect("a folder");
        gateway.client.write(folder.path(), "client");
        Self {
            service,
            gateway,
            folder,
        }
    }

    /// `upstream_tls`, with these keys beside the certificate.
    fn tls(&self, keys: &str) -> String {
        let (certificate, key) = self.gateway.client.write(self.folder.path(), "client");
        format!(
            "upstream_tls = {{ certificate = \"{}\", key = \"{}\", {keys} }}\n",
            certificate.display(),
            key.display()
        )
    }

    fn route(&self, path: &str, tls: &str) -> String {
        format!(
            "[[gateway.listener.route]]\npath = \"{path}\"\nupstream = \"https://{}\"\nallow = [\"any-trusted\"]\n{tls}",
            self.gateway.address()
        )
    }

    fn pin(&self) -> String {
        let server = Certificate::parse(&self.gateway.server.chain[0]).expect("a certificate");
        format!("spki:{}", server.spki().to_string().replace(':', ""))
    }
}

fn trusted() -> String {
    format!("trust = \"inner\", name = [\"{HOST}\"]")
}

#[tokio::test(flavor = "multi_thread")]
async fn upstream_is_verified_and_shown_a_certificate() {
    let inner = Inner::start();
    let pinned = format!(
        "trust = \"inner\", name = [\"{HOST}\", \"{}\"]",
        inner.pin()
    );
    // Its certificate holds its address, too, which is what it is known by where nothing else is said.
    let routes = inner.route("/named/**", &inner.tls(&trusted()))
        + &inner.route("/host/**", &inner.tls("trust = \"inner\""))
        + &inner.route("/pinned/**", &inner.tls(&pinned));
    let outer = Harness::before(&inner.gateway, &routes);
    // Nobody renews it, so that its end has to be seen.
    let leaf = Certificate::parse(&inner.gateway.client.chain[0]).expect("a certificate");
    let shown = outer.handle.status().upstream_certificates;
    assert!(!shown.is_empty());
    for certificate in shown {
        assert_eq!(certificate.not_after_unix_s, leaf.not_after().seconds());
        assert_eq!(certificate.fingerprint, leaf.fingerprint().to_string());
        assert!(
            certificate
                .upstream
                .contains(&inner.gateway.address().to_string())
        );
    }
    assert_eq!(inner.gateway.handle.status().upstream_certificates, []);
    for protocol in crate::harness::PROTOCOLS {
        for path in ["/named/x", "/host/x", "/pinned/x"] {
            let outcome = outer.get(protocol, path).await;
            assert_eq!(outcome.status(), Some(200), "{outcome:?}");
            // The inner gateway says who the outer one is, in place of what the outer one says of its client.
            let head = outcome.text().to_ascii_lowercase();
            assert!(head.contains("order-service"), "{head}");
            assert_eq!(
                head.matches("x-forwarded-client-cert:").count(),
                1,
                "{head}"
            );
        }
    }
    assert!(inner.gateway.refusals().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn connection_on_which_one_certificate_was_shown_is_not_for_a_route_with_another() {
    let inner = Inner::start();
    let other = inner.gateway.ca.issue(Leaf::client("billing-service"));
    let (certificate, key) = other.write(inner.folder.path(), "other");
    let other = format!(
        "upstream_tls = {{ certificate = \"{}\", key = \"{}\", {} }}\n",
        certificate.display(),
        key.display(),
        trusted()
    );
    let routes =
        inner.route("/orders/**", &inner.tls(&trusted())) + &inner.route("/bills/**", &other);
    let outer = Harness::before(&inner.gateway, &routes);
    for protocol in crate::harness::PROTOCOLS {
        for _ in 0..2 {
            for (path, who) in [
                ("/orders/x", "order-service"),
                ("/bills/x", "billing-service"),
            ] {
                let outcome = outer.get(protocol, path).await;
                let head = outcome.text().to_ascii_lowercase();
                assert!(head.contains(&format!("cn={who}")), "{path}: {head}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_is_not_the_upstream_gets_no_request() {
    let inner = Inner::start();
    let cases = [
        // Under our own CA it is nobody.
        ("/ca", inner.tls(&format!("name = [\"{HOST}\"]"))),
        (
            "/name",
            inner.tls("trust = \"inner\", name = [\"db.example.com\"]"),
        ),
        (
            "/pin",
            inner.tls(&format!(
                "trust = \"inner\", name = [\"{HOST}\", \"spki:{}\"]",
                "00".repeat(32)
            )),
        ),
        (
            "/spiffe",
            inner.tls("trust = \"inner\", name = [\"spiffe://inner.example/db\"]"),
        ),
        // And it has to know us.
        (
            "/anonymous",
            format!("upstream_tls = {{ {} }}\n", trusted()),
        ),
    ];
    let good = inner.route("/good", &inner.tls(&trusted()));
    let routes: String = cases
        .iter()
        .map(|(path, tls)| inner.route(path, tls))
        .collect();
    let outer = Harness::before(&inner.gateway, &(good + &routes));
    // A connection that is pooled for one is not for the others.
    let outcome = outer.get(Protocol::Http1Tls13, "/good").await;
    assert_eq!(outcome.status(), Some(200), "{outcome:?}");
    let reasons = [
        // Of the same name, as both are made alike.
        Cause::SameNameDifferentKeyCa,
        Cause::NameMismatch,
        Cause::PinMismatch,
        Cause::NameMismatch,
        Cause::ClientCertNotSent,
    ];
    for ((path, _), cause) in cases.into_iter().zip(reasons) {
        let outcome = outer.get(Protocol::Http1Tls13, path).await;
        assert_eq!(outcome.status(), Some(502), "{path}: {outcome:?}");
        assert!(!outcome.text().contains("127.0.0.1"), "{path}: {outcome:?}");
        let told = outer.explained(&outcome);
        assert_eq!(told.refusal.cause, cause, "{path}: {told:?}");
        // Who refused whom, though its alert came behind our half of the handshake.
        let by_server = (cause == Cause::ClientCertNotSent).then_some("server");
        assert_eq!(told.refusal.evidence.get("refused_by"), by_server);
    }
    let outcome = outer.get(Protocol::Http1Tls13, "/good").await;
    assert_eq!(outcome.status(), Some(200), "{outcome:?}");
    assert_eq!(inner.service.accepted(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn revoked_upstream_is_left_at_once() {
    let inner = Inner::start();
    let outer = Harness::before(&inner.gateway, &inner.route("/**", &inner.tls(&trusted())));
    let mut tunnel = outer.connect().await;
    tunnel
        .write_all(upgrade("websocket").as_bytes())
        .await
        .expect("open");
    read_until(&mut tunnel, "\r\n\r\n").await;
    let outcome = outer.get(Protocol::Http1Tls13, "/").await;
    assert_eq!(outcome.status(), Some(200), "{outcome:?}");

    let server = inner.gateway.server.chain[0].as_ref();
    outer.revoke_of(&inner.gateway.ca, server).await;
    let mut rest = Vec::new();
    let ended = tokio::time::timeout(Duration::from_secs(5), tunnel.read_to_end(&mut rest)).await;
    assert!(ended.is_ok(), "the tunnel is still open");
    let outcome = outer.get(Protocol::Http1Tls13, "/").await;
    assert_eq!(outcome.status(), Some(502), "{outcome:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn answer_under_way_ends_when_its_upstream_is_revoked() {
    let service = Service::start(|mut conversation| {
        conversation.head();
        conversation.send(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\n");
        conversation.bytes(1);
    });
    let gateway = Harness::start("", &to(service.address()));
    let folder = tempfile::tempdir().expect("a folder");
    let inner = Inner {
        service,
        gateway,
        folder,
    };
    let outer = Harness::before(&inner.gateway, &inner.route("/**", &inner.tls(&trusted())));
    let mut streaming = outer.connect().await;
    streaming
        .write_all(format!("GET / HTTP/1.1\r\nhost: {HOST}\r\n\r\n").as_bytes())
        .await
        .expect("open");
    read_until(&mut streaming, "a\r\n").await;
    let server = inner.gateway.server.chain[0].as_ref();
    outer.revoke_of(&inner.gateway.ca, server).await;
    let mut rest = Vec::new();
    let ended =
        tokio::time::timeout(Duration::from_secs(5), streaming.read_to_end(&mut rest)).await;
    assert!(ended.is_ok(), "the answer is still open");
    assert!(!rest.ends_with(b"0\r\n\r\n"), "a broken answer looks whole");
}

#[tokio::test(flavor = "multi_thread")]
async fn withdrawal_of_an_upstream_does_not_wait_for_a_client_that_takes_nothing() {
    let sent = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&sent);
    let service = Service::start(move |mut conversation| {
        conversation.head();
        conversation.send(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n");
        while conversation.send_chunk(&"a".repeat(64 * 1024).into_bytes()) {
            counted.fetch_add(1, Ordering::SeqCst);
        }
    });
    let gateway = Harness::start("", &to(service.address()));
    let folder = tempfile::tempdir().expect("a folder");
    let inner = Inner {
        service,
        gateway,
        folder,
    };
    let outer = Harness::before(&inner.gateway, &inner.route("/**", &inner.tls(&trusted())));
    for protocol in [Protocol::Http1Tls13, Protocol::Http2Tls13] {
        let mut stalled = outer
            .client(protocol)
            .connect(outer.address())
            .await
            .expect("a connection");
        if protocol == Protocol::Http1Tls13 {
            let request = format!("GET / HTTP/1.1\r\nhost: {HOST}\r\n\r\n");
            stalled.write_all(request.as_bytes()).await.expect("open");
            read_until(&mut stalled, "aaaa").await;
        } else {
            let io = hyper_util::rt::TokioIo::new(stalled);
            let executor = hyper_util::rt::TokioExecutor::new();
            let (mut sender, connection) = hyper::client::conn::http2::handshake(executor, io)
                .await
                .expect("h2");
            tokio::spawn(connection);
            let answer = sender
                .send_request(crate::harness::get(protocol, "/"))
                .await;
            // Held, and nothing of its body taken.
            std::mem::forget((answer.expect("an answer"), sender));
        }
    }
    // Until nothing moves any more: buffers on the way take some megabytes.
    let (mut before, mut still) = (0, 0);
    let stands = async {
        while still < 10 {
            tokio::time::sleep(Duration::from_millis(20)).await;
            let now = sent.load(Ordering::SeqCst);
            still = if now > 0 && now == before {
                still + 1
            } else {
                0
            };
            before = now;
        }
    };
    let stood = tokio::time::timeout(Duration::from_mins(1), stands).await;
    assert!(stood.is_ok(), "somebody takes it");
    let server = inner.gateway.server.chain[0].as_ref();
    let begun = std::time::Instant::now();
    outer.revoke_of(&inner.gateway.ca, server).await;
    assert!(
        begun.elapsed() < Duration::from_secs(4),
        "it waited to the end"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_go_on_over_tls() {
    let service = Service::start(|mut conversation| {
        while let Some(line) = conversation.line() {
            conversation.send(format!("{line}\n").as_bytes());
        }
    });
    let gateway = Harness::bytes(&format!(
        "upstream = \"tcp://{}\"\nallow = [\"any-trusted\"]\n",
        service.address()
    ));
    let folder = tempfile::tempdir().expect("a folder");
    let inner = Inner {
        service,
        gateway,
        folder,
    };
    let listener = format!(
        "upstream = \"tls://{}\"\nallow = [\"any-trusted\"]\n{}",
        inner.gateway.address(),
        inner.tls(&trusted())
    );
    let outer = Harness::before(&inner.gateway, &listener);
    let mut stream = outer.connect().await;
    stream.write_all(b"hello\n").await.expect("open");
    let mut answer = [0; 6];
    stream.read_exact(&mut answer).await.expect("an answer");
    assert_eq!(&answer, b"hello\n");

    let server = inner.gateway.server.chain[0].as_ref();
    outer.revoke_of(&inner.gateway.ca, server).await;
    let mut rest = Vec::new();
    let ended = tokio::time::timeout(Duration::from_secs(5), stream.read_to_end(&mut rest)).await;
    assert!(ended.is_ok() && rest.is_empty(), "still open");
    let mut stream = outer.connect().await;
    let _ = stream.write_all(b"hello\n").await;
    let ended = tokio::time::timeout(Duration::from_secs(5), stream.read_to_end(&mut rest)).await;
    assert!(ended.is_ok() && rest.is_empty(), "passed on");
}
