//! Servers that answer as they should not, over sockets of loopback.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use countersign_pki::bundle::TrustBundle;
use countersign_pki::certificate::Certificate;
use countersign_pki::chain::{Limits, Verifier};
use countersign_pki::identity::BundleName;
use countersign_pki::revocation::RevocationIndex;
use countersign_pki::time::UnixTime;
use countersign_probe::fetch::{FetchFault, FetchLimits, Fetched, Fetcher, Validators};
use countersign_probe::url::FetchUrl;
use countersign_runtime::clock::SystemClock;
use countersign_testkit::pki::TestCa;
use countersign_tls::enforcement::Enforcement;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

fn fetcher(time: Duration) -> Fetcher {
    let enforcement = Enforcement::new(RevocationIndex::default(), Arc::new(SystemClock));
    let limits = FetchLimits {
        bytes: 1000,
        time,
        redirects: 2,
    };
    Fetcher::new(enforcement, limits)
}

/// How a server goes on after its answer.
#[derive(Clone, Copy)]
enum Then {
    Close,
    /// A byte now and then, for ever.
    Trickle,
    /// Bytes as fast as they are taken.
    Flood,
}

/// Answers each request with what stands for its path, and keeps the heads of requests.
struct Server {
    address: SocketAddr,
    heads: Arc<Mutex<Vec<String>>>,
}

impl Server {
    async fn start(answers: Vec<(&'static str, String, Then)>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback");
        let address = listener.local_addr().expect("bound");
        let heads = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&heads);
        tokio::spawn(async move {
            while let Ok((mut socket, _)) = listener.accept().await {
                let (answers, kept) = (answers.clone(), Arc::clone(&kept));
                tokio::spawn(async move {
                    let mut head = Vec::new();
                    while !head.ends_with(b"\r\n\r\n") {
                        let Ok(byte) = socket.read_u8().await else {
                            return;
                        };
                        head.push(byte);
                    }
                    let head = String::from_utf8(head).expect("text");
                    let path = head.split(' ').nth(1).expect("a path").to_owned();
                    kept.lock().expect("no panic").push(head);
                    let Some((_, answer, then)) = answers.into_iter().find(|it| it.0 == path)
                    else {
                        return;
                    };
                    let _ = socket.write_all(answer.as_bytes()).await;
                    let (chunk, pause) = match then {
                        Then::Close => return,
                        Then::Trickle => (vec![b'x'; 1], Duration::from_millis(50)),
                        Then::Flood => (vec![b'x'; 4096], Duration::ZERO),
                    };
                    while socket.write_all(&chunk).await.is_ok() {
                        tokio::time::sleep(pause).await;
                    }
                });
            }
        });
        Self { address, heads }
    }

    fn url(&self, path: &str) -> FetchUrl {
        FetchUrl::parse(&format!("http://{}{path}", self.address)).expect("a URL")
    }

    fn heads(&self) -> Vec<String> {
        self.heads.lock().expect("no panic").clone()
    }
}

fn answer(head: &str, body: &str) -> String {
    format!("HTTP/1.1 {head}\r\n\r\n{body}")
}

async fn refused(path: &'static str, said: String, then: Then) -> FetchFault {
    let server = Server::start(vec![(path, said, then)]).await;
    let fetcher = fetcher(Duration::from_secs(2));
    let outcome = fetcher
        .fetch(&server.url(path), None, &Validators::default())
        .await;
    outcome.expect_err("no answer to work with")
}

#[tokio::test]
async fn answer_is_read_to_its_end_and_asked_for_once_more_only_if_it_changed() {
    let tagged = answer(
        "200 OK\r\nContent-Length: 2\r\nETag: \"7\"\r\nLast-Modified: Sun, 06 Nov 1994 08:49:37 GMT",
        "ab",
    );
    let dated = answer(
        "200 OK\r\nContent-Length: 2\r\nLast-Modified: Sun, 06 Nov 1994 08:49:37 GMT",
        "cd",
    );
    let same = answer("304 Not Modified", "");
    let server = Server::start(vec![
        ("/tagged", tagged, Then::Close),
        ("/dated", dated, Then::Close),
        ("/same", same, Then::Close),
        (
            "/moved",
            answer(
                "301 Moved Permanently\r\nLocation: /tagged\r\nContent-Length: 0",
                "",
            ),
            Then::Close,
        ),
    ])
    .await;
    let fetcher = fetcher(Duration::from_secs(20));
    let none = Validators::default();
    for (path, body, condition) in [
        ("/tagged", "ab", "if-none-match: \"7\""),
        ("/moved", "ab", "if-none-match: \"7\""),
        (
            "/dated",
            "cd",
            "if-modified-since: sun, 06 nov 1994 08:49:37 gmt",
        ),
    ] {
        let outcome = fetcher.fetch(&server.url(path), None, &none).await;
        let Ok(Fetched::Body(bytes, validators)) = outcome else {
            panic!("{outcome:?}");
        };
        assert_eq!(bytes, body);
        let again = fetcher.fetch(&server.url("/same"), None, &validators).await;
        assert!(matches!(again, Ok(Fetched::Unchanged)), "{again:?}");
        let last = server.heads().pop().expect("it was asked").to_lowercase();
        assert!(last.contains(condition), "{last}");
        for unwanted in ["cookie", "authorization", "proxy"] {
            assert!(!last.contains(unwanted), "{last}");
        }
    }
    // Who holds nothing is told of nothing by "as before".
    let outcome = fetcher.fetch(&server.url("/same"), None, &none).await;
    assert!(
        matches!(outcome, Err(FetchFault::Status { status: 304, .. })),
        "{outcome:?}"
    );
}

#[tokio::test]
async fn answer_that_does_not_end_is_given_up_by_time_and_by_size() {
    let slow = refused(
        "/x",
        answer("200 OK\r\nContent-Length: 900", ""),
        Then::Trickle,
    )
    .await;
    assert!(matches!(slow, FetchFault::TimedOut { .. }), "{slow}");
    let slow_head = refused("/x", "HTTP/1.1 200 OK\r\nX: ".to_owned(), Then::Trickle).await;
    assert!(
        matches!(slow_head, FetchFault::TimedOut { .. }),
        "{slow_head}"
    );
    let endless = refused("/x", answer("200 OK", ""), Then::Flood).await;
    assert!(
        matches!(endless, FetchFault::TooLarge { limit: 1000, .. }),
        "{endless}"
    );
    let announced = refused(
        "/x",
        answer("200 OK\r\nContent-Length: 999999999", ""),
        Then::Flood,
    )
    .await;
    assert!(
        matches!(announced, FetchFault::TooLarge { .. }),
        "{announced}"
    );
    let endless_head = refused("/x", "HTTP/1.1 200 OK\r\nX: ".to_owned(), Then::Flood).await;
    assert!(
        matches!(endless_head, FetchFault::Broken { .. }),
        "{endless_head}"
    );
}

#[tokio::test]
async fn server_that_never_comes_to_its_answer_is_left() {
    const INTERIM: &str = "HTTP/1.1 100 Continue\r\n\r\n";
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback");
    let address = listener.local_addr().expect("bound");
    let flood = tokio::spawn(async move {
        let (mut socket, _) = listener.accept().await.expect("a client");
        while socket
            .write_all(INTERIM.repeat(1000).as_bytes())
            .await
            .is_ok()
        {}
    });
    let url = FetchUrl::parse(&format!("http://{address}/x")).expect("a URL");
    let outcome = fetcher(Duration::from_secs(20))
        .fetch(&url, None, &Validators::default())
        .await;
    assert!(
        matches!(outcome, Err(FetchFault::Broken { .. })),
        "{outcome:?}"
    );
    let ended = tokio::time::timeout(Duration::from_secs(20), flood).await;
    ended.expect("the connection is closed").expect("no panic");
}

#[tokio::test]
async fn few_interim_answers_may_come_first() {
    let said = format!(
        "{}{}",
        answer("103 Early Hints\r\nLink: </>", "").repeat(16),
        answer("200 OK\r\nContent-Length: 2", "ab")
    );
    let server = Server::start(vec![("/x", said, Then::Close)]).await;
    let fetcher = fetcher(Duration::from_secs(20));
    let outcome = fetcher
        .fetch(&server.url("/x"), None, &Validators::default())
        .await;
    assert!(
        matches!(&outcome, Ok(Fetched::Body(bytes, _)) if bytes == "ab"),
        "{outcome:?}"
    );
}

#[tokio::test]
async fn whatever_is_no_whole_answer_of_this_place_is_none() {
    for said in [
        answer("200 OK\r\nContent-Length: 10", "half"),
        "SSH-2.0-OpenSSH_9.2\r\n".to_owned(),
        String::new(),
    ] {
        let fault = refused("/x", said.clone(), Then::Close).await;
        assert!(
            matches!(fault, FetchFault::Broken { .. }),
            "{said}: {fault}"
        );
    }
    let encoded = answer(
        "200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 2",
        "ab",
    );
    let fault = refused("/x", encoded, Then::Close).await;
    assert!(matches!(fault, FetchFault::Encoded { .. }), "{fault}");
    for status in [201, 204, 206, 400, 403, 404, 500, 503] {
        let said = answer(&format!("{status} X\r\nContent-Length: 0"), "");
        let fault = refused("/x", said, Then::Close).await;
        assert!(
            matches!(fault, FetchFault::Status { status: got, .. } if got == status),
            "{fault}"
        );
    }
}

#[tokio::test]
async fn redirect_leads_to_no_other_place_and_not_for_ever() {
    let other = Server::start(vec![(
        "/",
        answer("200 OK\r\nContent-Length: 0", ""),
        Then::Close,
    )])
    .await;
    for location in [
        format!("http://{}/", other.address),
        "http://169.254.169.254/latest/meta-data".to_owned(),
        "file:///etc/passwd".to_owned(),
        "//localhost/".to_owned(),
        String::new(),
    ] {
        let said = answer(
            &format!("302 Found\r\nLocation: {location}\r\nContent-Length: 0"),
            "",
        );
        let fault = refused("/x", said, Then::Close).await;
        assert!(
            matches!(fault, FetchFault::Elsewhere { .. }),
            "{location}: {fault}"
        );
    }
    assert!(other.heads().is_empty(), "it was asked");
    let round = answer("302 Found\r\nLocation: /x\r\nContent-Length: 0", "");
    let fault = refused("/x", round, Then::Close).await;
    assert!(
        matches!(fault, FetchFault::TooManyRedirects { limit: 2, .. }),
        "{fault}"
    );
}

#[tokio::test]
async fn nobody_is_asked_over_tls_whom_nobody_vouches_for() {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .expect("after 1970");
    let root = Certificate::parse(TestCa::new("web").root.der()).expect("a certificate");
    let name = BundleName::parse("list-servers").expect("a name");
    let now = UnixTime::from_seconds(now.as_secs());
    let bundle = TrustBundle::new(name, None, vec![root], now).expect("a bundle");
    let verifier = Verifier::new(vec![Arc::new(bundle)], Limits::default()).expect("a verifier");
    let server = Server::start(vec![]).await;
    let url = FetchUrl::parse(&format!("https://{}/x", server.address)).expect("a URL");
    let fetcher = fetcher(Duration::from_secs(2));
    let none = Validators::default();
    let unvouched = fetcher.fetch(&url, None, &none).await;
    assert!(
        matches!(unvouched, Err(FetchFault::Unvouched { .. })),
        "{unvouched:?}"
    );
    // It speaks no TLS, and is not asked in plaintext then.
    let plaintext = fetcher.fetch(&url, Some(&Arc::new(verifier)), &none).await;
    assert!(
        matches!(
            plaintext,
            Err(FetchFault::Server { .. } | FetchFault::TimedOut { .. })
        ),
        "{plaintext:?}"
    );
    assert!(server.heads().is_empty());
}
