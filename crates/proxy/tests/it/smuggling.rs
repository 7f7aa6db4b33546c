//! Requests of HTTP/1.1 that two servers could read in two ways (RFC 9112, RFC 9110): each is refused, or forwarded in the one way that is left.
//!
//! Behind each stands another request, `/last`. Where the gateway and the upstream disagree on where a message ends, it is what shows it: it
//! is missing, doubled, or part of something else.

use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};

use countersign_testkit::bypass::Protocol;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::harness::{Harness, to};
use crate::http2::soon;

/// What has to become of a request.
enum Expect {
    /// It cannot be read: this status, and the connection ends.
    Unreadable(u16),
    /// Nothing is said, and the connection ends.
    Unanswered,
    /// It is read and refused: this status, and what follows is served.
    Refused(u16),
    /// It is forwarded so, and what follows is served.
    As(Forwarded),
    /// It is forwarded so, and the connection ends.
    AsLast(Forwarded),
    /// Its body breaks off: the upstream sees that it is not whole, and nothing behind it.
    CutShort,
}

use Expect::{As, AsLast, CutShort, Refused, Unanswered, Unreadable};

/// What the upstream gets.
struct Forwarded {
    /// The first line.
    line: &'static str,
    /// Whole lines that stand in the head.
    has: &'static [&'static str],
    /// Parts of lines that do not.
    lacks: &'static [&'static str],
    body: &'static str,
}

const fn line(line: &'static str) -> Forwarded {
    let (has, lacks): (&[_], &[_]) = (&[], &[]);
    Forwarded {
        line,
        has,
        lacks,
        body: "",
    }
}

impl Forwarded {
    const fn body(mut self, body: &'static str) -> Self {
        self.body = body;
        self
    }

    const fn has(mut self, has: &'static [&'static str]) -> Self {
        self.has = has;
        self
    }

    const fn lacks(mut self, lacks: &'static [&'static str]) -> Self {
        self.lacks = lacks;
        self
    }
}

/// A service that reads as strictly as it can be read, and keeps every request.
pub(crate) struct Strict {
    address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
}

#[derive(Clone, Debug)]
pub(crate) struct Seen {
    /// In lower case but for the first line.
    head: Vec<String>,
    /// `None`: it was not whole, or not well formed.
    body: Option<String>,
}

impl Strict {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has free ports");
        let address = listener.local_addr().expect("bound");
        let seen = Arc::new(Mutex::new(Vec::new()));
        let memory = Arc::clone(&seen);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let memory = Arc::clone(&memory);
                std::thread::spawn(move || Self::serve(stream, &memory));
            }
        });
        Self { address, seen }
    }

    fn serve(stream: TcpStream, seen: &Mutex<Vec<Seen>>) {
        let mut stream = BufReader::new(stream);
        while let Some(head) = head(&mut stream) {
            let body = body(&mut stream, &head);
            let is_whole = body.is_some();
            let kept = Seen { head, body };
            seen.lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push(kept);
            let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
            if !is_whole || stream.get_mut().write_all(answer).is_err() {
                return;
            }
        }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// What it has seen since the last time.
    pub(crate) fn take(&self) -> Vec<Seen> {
        std::mem::take(&mut *self.seen.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Seen {
    pub(crate) fn first_line(&self) -> &str {
        &self.head[0]
    }

    pub(crate) fn is_whole(&self) -> bool {
        self.body.is_some()
    }
}

/// Lines that end with CRLF and have neither elsewhere; `None`: there is no whole head.
fn head(stream: &mut impl BufRead) -> Option<Vec<String>> {
    let mut lines: Vec<String> = Vec::new();
    loop {
        let line = strict_line(stream)?;
        match (line.is_empty(), lines.is_empty()) {
            (true, false) => return Some(lines),
            (_, true) => lines.push(line),
            (false, false) => lines.push(line.to_ascii_lowercase()),
        }
    }
}

fn strict_line(stream: &mut impl BufRead) -> Option<String> {
    let mut line = Vec::new();
    stream.read_until(b'\n', &mut line).ok()?;
    let line = line.strip_suffix(b"\r\n")?;
    assert!(!line.contains(&b'\r'), "a bare CR: {line:?}");
    Some(String::from_utf8_lossy(line).into_owned())
}

fn body(stream: &mut impl BufRead, head: &[String]) -> Option<String> {
    let of = |name: &str| -> Vec<&str> {
        let fields = head.iter().filter_map(|line| line.split_once(": "));
        let named = fields.filter(|(field, _)| *field == name);
        named.map(|(_, value)| value).collect()
    };
    let mut body = Vec::new();
    match (&of("transfer-encoding")[..], &of("content-length")[..]) {
        ([], []) => {}
        ([], [length]) => {
            let length: usize = length.parse().ok()?;
            body.resize(length, 0);
            stream.read_exact(&mut body).ok()?;
        }
        (["chunked"], []) => loop {
            let size = usize::from_str_radix(&strict_line(stream)?, 16).ok()?;
            if size == 0 {
                while !strict_line(stream)?.is_empty() {}
                break;
            }
            let mut chunk = vec![0; size];
            stream.read_exact(&mut chunk).ok()?;
            body.append(&mut chunk);
            strict_line(stream).filter(String::is_empty)?;
        },
        both => panic!("a message with two lengths: {both:?}"),
    }
    Some(String::from_utf8_lossy(&body).into_owned())
}

const LAST: &str = "GET /last HTTP/1.1\r\nHost: api.example.com\r\nConnection: close\r\n\r\n";

/// Everything that is answered.
async fn answers(gateway: &Harness, bytes: &[u8]) -> String {
    let client = gateway.client(Protocol::Http1Tls13);
    let stream = client.connect(gateway.address()).await;
    let mut stream = stream.expect("a connection");
    let mut answer = Vec::new();
    let exchanged = async {
        // The gateway may have ended it before all of it is sent.
        let _ = stream.write_all(bytes).await;
        let _ = stream.flush().await;
        let _ = stream.read_to_end(&mut answer).await;
    };
    soon(exchanged).await;
    String::from_utf8_lossy(&answer).into_owned()
}

fn statuses(answer: &str) -> Vec<u16> {
    answer
        .split("HTTP/1.")
        .skip(1)
        .filter_map(|rest| rest.get(2..5)?.parse().ok())
        .filter(|status| *status != 100)
        .collect()
}

/// What is wrong with what became of one case.
async fn difference(
    gateway: &Harness,
    upstream: &Strict,
    sent: &str,
    expect: &Expect,
) -> Option<String> {
    let answer = answers(gateway, format!("{sent}{LAST}").as_bytes()).await;
    let (answered, seen) = (statuses(&answer), upstream.take());
    let (expected_answers, forwarded, is_last_served) = match expect {
        Unanswered => (Vec::new(), None, false),
        Unreadable(status) => (vec![*status], None, false),
        Refused(status) => (vec![*status, 200], None, true),
        As(forwarded) => (vec![200, 200], Some(forwarded), true),
        AsLast(forwarded) => (vec![200], Some(forwarded), false),
        CutShort => {
            let is_so = seen.iter().all(|it| it.body.is_none()) && !answered.contains(&200);
            return (!is_so).then(|| format!("not cut short: {answered:?} {seen:#?}"));
        }
    };
    let mut wrong = String::new();
    if answered != expected_answers {
        let _ = writeln!(
            wrong,
            "answered {answered:?}, not {expected_answers:?}: {answer:?}"
        );
    }
    let mut seen = seen.into_iter();
    if let Some(expected) = forwarded {
        match seen.next() {
            None => wrong.push_str("nothing was forwarded\n"),
            Some(it) => {
                let lines = &it.head[1..];
                let has_all = expected
                    .has
                    .iter()
                    .all(|line| lines.iter().any(|it| it == line));
                let has_none = (expected.lacks.iter())
                    .all(|part| !lines.iter().any(|line| line.contains(part)));
                if it.head[0] != expected.line
                    || it.body.as_deref() != Some(expected.body)
                    || !has_all
                    || !has_none
                {
                    let _ = writeln!(wrong, "forwarded as {it:#?}");
                }
            }
        }
    }
    let rest: Vec<Seen> = seen.collect();
    let is_last = |it: &Seen| it.head[0] == "GET /last HTTP/1.1" && it.body.as_deref() == Some("");
    if rest.len() != usize::from(is_last_served) || !rest.iter().all(is_last) {
        let _ = writeln!(wrong, "behind it: {rest:#?}");
    }
    (!wrong.is_empty()).then_some(wrong)
}

async fn check(cases: &[(&str, Expect)]) {
    check_with("", cases).await;
}

/// `keys`: more of the route.
async fn check_with(keys: &str, cases: &[(&str, Expect)]) {
    let upstream = Strict::start();
    let gateway = Harness::start("", &format!("{}{keys}", to(upstream.address)));
    let mut wrong = Vec::new();
    for (sent, expect) in cases {
        if let Some(difference) = difference(&gateway, &upstream, sent, expect).await {
            wrong.push(format!("{sent:?}: {difference}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

const HELLO: Forwarded = line("POST /x HTTP/1.1").body("hello");

/// RFC 9112 §6, RFC 9110 §8.6.
#[tokio::test(flavor = "multi_thread")]
async fn length_of_a_message_has_one_reading_or_none() {
    macro_rules! post {
        ($fields:literal, $body:literal) => {
            concat!(
                "POST /x HTTP/1.1\r\nHost: api.example.com\r\n",
                $fields,
                "\r\n",
                $body
            )
        };
    }
    let chunked = || {
        HELLO
            .has(&["transfer-encoding: chunked"])
            .lacks(&["content-length"])
    };
    let counted = || {
        HELLO
            .has(&["content-length: 5"])
            .lacks(&["transfer-encoding"])
    };
    check(&[
        // §6.1: Transfer-Encoding counts alone, and the connection ends with the message.
        (post!("Content-Length: 4\r\nTransfer-Encoding: chunked\r\n", "5\r\nhello\r\n0\r\n\r\n"), AsLast(chunked())),
        (post!("Transfer-Encoding: chunked\r\nContent-Length: 4\r\n", "5\r\nhello\r\n0\r\n\r\n"), AsLast(chunked())),
        (post!("Transfer-Encoding: chunked\r\nContent-Length: nonsense\r\n", "5\r\nhello\r\n0\r\n\r\n"), AsLast(chunked())),
        (post!("Transfer-Encoding: chunked\r\n", "5\r\nhello\r\n0\r\n\r\n"), As(chunked())),
        (post!("Transfer-Encoding: CHUNKED\r\n", "5\r\nhello\r\n0\r\n\r\n"), As(chunked())),
        (post!("tRANSFER-eNCODING: \tchunked \t\r\n", "5\r\nhello\r\n0\r\n\r\n"), As(chunked())),
        // Nothing here decodes another coding, and the upstream would not learn of it.
        (post!("Transfer-Encoding: gzip, chunked\r\n", "5\r\nhello\r\n0\r\n\r\n"), Refused(400)),
        (post!("Transfer-Encoding: chunked, chunked\r\n", "5\r\nhello\r\n0\r\n\r\n"), Refused(400)),
        (post!("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", "5\r\nhello\r\n0\r\n\r\n"), Refused(400)),
        (post!("Transfer-Encoding: identity\r\nTransfer-Encoding: chunked\r\n", "5\r\nhello\r\n0\r\n\r\n"), Refused(400)),
        (post!("Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n", "5\r\nhello\r\n0\r\n\r\n"), Unreadable(400)),
        (post!("Transfer-Encoding: chunked, identity\r\n", "5\r\nhello\r\n0\r\n\r\n"), Unreadable(400)),
        (post!("Transfer-Encoding: identity\r\nContent-Length: 5\r\n", "hello"), Unreadable(400)),
        (post!("Transfer-Encoding:\r\nContent-Length: 5\r\n", "hello"), Unreadable(400)),
        (post!("Transfer-Encoding: xchunked\r\nContent-Length: 5\r\n", "hello"), Unreadable(400)),
        (post!("Transfer-Encoding: chunked;a=b\r\nContent-Length: 5\r\n", "hello"), Unreadable(400)),
        (post!("Transfer-Encoding: \"chunked\"\r\nContent-Length: 5\r\n", "hello"), Unreadable(400)),
        (post!("Transfer-Encoding: \x0bchunked\r\nContent-Length: 5\r\n", "hello"), Unreadable(400)),
        (post!("Transfer-Encoding: chunked\x00\r\nContent-Length: 5\r\n", "hello"), Unreadable(400)),
        (post!("Transfer-Encoding: chunked,\r\n", "5\r\nhello\r\n0\r\n\r\n"), Unreadable(400)),
        (post!("Transfer-Encoding : chunked\r\n", "5\r\nhello\r\n0\r\n\r\n"), Unreadable(400)),
        (post!("Transfer-Encoding\r\n : chunked\r\nContent-Length: 5\r\n", "hello"), Unreadable(400)),
        (post!("Transfer-Encoding:\r\n chunked\r\nContent-Length: 5\r\n", "hello"), Unreadable(400)),
        // Another header, which some upstreams read as this one: its length is the other's.
        (post!("Transfer_Encoding: chunked\r\nContent-Length: 5\r\n", "hello"), As(counted().lacks(&["transfer"]))),
        (post!("Content-Length: 5\r\nContent_Length: 0\r\n", "hello"), As(counted().lacks(&["content_length"]))),
        (post!("Content-Length: 5\r\n", "hello"), As(counted())),
        (post!("Content-Length: 0005\r\n", "hello"), As(HELLO.has(&["content-length: 0005"]))),
        (post!("Content-Length: 5\r\nContent-Length: 5\r\n", "hello"), As(counted())),
        (post!("Content-Length: 5\r\nContent-Length: 6\r\n", "hello"), Unreadable(400)),
        (post!("Content-Length: 6\r\nContent-Length: 5\r\n", "hello"), Unreadable(400)),
        (post!("Content-Length: 5, 5\r\n", "hello"), Unreadable(400)),
        (post!("Content-Length: 5, 6\r\n", "hello"), Unreadable(400)),
        (post!("Content-Length: +5\r\n", "hello"), Unreadable(400)),
        (post!("Content-Length: -5\r\n", "hello"), Unreadable(400)),
        (post!("Content-Length: 5 5\r\n", "hello"), Unreadable(400)),
        (post!("Content-Length: 0x5\r\n", "hello"), Unreadable(400)),
        (post!("Content-Length: 5.0\r\n", "hello"), Unreadable(400)),
        (post!("Content-Length: 5\x0b\r\n", "hello"), Unreadable(400)),
        (post!("Content-Length: \r\n", "hello"), Unreadable(400)),
        (post!("Content-Length: 18446744073709551621\r\n", "hello"), Unreadable(400)),
        (post!("Content-Length: 18446744073709551615\r\n", "hello"), Unreadable(431)),
        (post!("Content-Length : 5\r\n", "hello"), Unreadable(400)),
        // Whoever has no length has no body.
        (post!("", ""), As(line("POST /x HTTP/1.1").lacks(&["transfer-encoding"]))),
        // §9.3.1 of RFC 9110: a body of GET is one all the same.
        ("GET /x HTTP/1.1\r\nHost: api.example.com\r\nContent-Length: 5\r\n\r\nhello", As(line("GET /x HTTP/1.1").body("hello"))),
        ("GET /x HTTP/1.1\r\nHost: api.example.com\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", As(line("GET /x HTTP/1.1").body("hello"))),
        // A request inside a body stays there.
        (post!("Content-Length: 22\r\n", "GET /hidden HTTP/1.1\r\n"), As(line("POST /x HTTP/1.1").body("GET /hidden HTTP/1.1\r\n"))),
        // §6.1: nobody of HTTP/1.0 knows chunks.
        ("POST /x HTTP/1.0\r\nHost: api.example.com\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", Unreadable(400)),
        ("POST /x HTTP/1.0\r\nHost: api.example.com\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\nhello", Unreadable(400)),
        ("POST /x HTTP/1.0\r\nHost: api.example.com\r\nContent-Length: 5\r\n\r\nhello", AsLast(HELLO)),
    ])
    .await;
}

/// RFC 9112 §7.1.
#[tokio::test(flavor = "multi_thread")]
async fn chunks_have_one_reading_or_their_message_is_none() {
    macro_rules! chunks {
        ($body:literal) => {
            concat!(
                "POST /x HTTP/1.1\r\nHost: api.example.com\r\nTransfer-Encoding: chunked\r\n\r\n",
                $body
            )
        };
    }
    let hello = || As(HELLO.has(&["transfer-encoding: chunked"]));
    check(&[
        (chunks!("5\r\nhello\r\n0\r\n\r\n"), hello()),
        (chunks!("2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n"), hello()),
        (chunks!("00000005\r\nhello\r\n0000\r\n\r\n"), hello()),
        (chunks!("A\r\nhellohello\r\n0\r\n\r\n"), As(line("POST /x HTTP/1.1").body("hellohello"))),
        (chunks!("0\r\n\r\n"), As(line("POST /x HTTP/1.1"))),
        // Extensions end here (§7.1.1).
        (chunks!("5;a=b\r\nhello\r\n0;c\r\n\r\n"), hello()),
        (chunks!("5;a=\"0\"\r\nhello\r\n0\r\n\r\n"), hello()),
        // §7.1.1 and the errata about whitespace before extensions.
        (chunks!("5 ;a=b\r\nhello\r\n0\r\n\r\n"), hello()),
        // Trailers do not become headers, or anything at all that frames a message.
        (chunks!("5\r\nhello\r\n0\r\nContent-Length: 3\r\nHost: other\r\nTransfer-Encoding: x\r\nX-Client-CN: admin\r\n\r\n"), hello()),
        // A chunk that ends elsewhere than it says.
        (chunks!("5\r\nhello0\r\n\r\n"), CutShort),
        (chunks!("5\r\nhelloXX0\r\n\r\n"), CutShort),
        (chunks!("5\r\nhello\n0\r\n\r\n"), CutShort),
        (chunks!("5\r\nhello\r0\r\n\r\n"), CutShort),
        (chunks!("5\nhello\r\n0\r\n\r\n"), CutShort),
        (chunks!("5\rhello\r\n0\r\n\r\n"), CutShort),
        (chunks!("5;a\nhello\r\n0\r\n\r\n"), CutShort),
        (chunks!("5;a\rb\r\nhello\r\n0\r\n\r\n"), CutShort),
        (chunks!("0x5\r\nhello\r\n0\r\n\r\n"), CutShort),
        (chunks!("+5\r\nhello\r\n0\r\n\r\n"), CutShort),
        (chunks!("-5\r\nhello\r\n0\r\n\r\n"), CutShort),
        (chunks!(" 5\r\nhello\r\n0\r\n\r\n"), CutShort),
        (chunks!("5,\r\nhello\r\n0\r\n\r\n"), CutShort),
        (chunks!("5 0\r\nhello\r\n0\r\n\r\n"), CutShort),
        (chunks!("g\r\nhello\r\n0\r\n\r\n"), CutShort),
        (chunks!("\r\nhello\r\n0\r\n\r\n"), CutShort),
        (chunks!(";a\r\nhello\r\n0\r\n\r\n"), CutShort),
        // 2^64 + 5, and 2^64 - 1.
        (chunks!("10000000000000005\r\nhello\r\n0\r\n\r\n"), CutShort),
        // The last chunk with something behind it that is no trailer.
        (chunks!("5\r\nhello\r\n0\r\nGET /hidden HTTP/1.1\r\n\r\n"), CutShort),
        (chunks!("5\r\nhello\r\n0\r\nX-A : 1\r\n\r\n"), CutShort),
        (chunks!("5\r\nhello\r\n0\r\nX-A: 1\r\n continued\r\n\r\n"), CutShort),
    ])
    .await;
}

/// RFC 9112 §2.2, §3, §5.
#[tokio::test(flavor = "multi_thread")]
async fn head_of_a_request_has_one_reading_or_none() {
    macro_rules! get {
        ($fields:expr) => {
            concat!(
                "GET /x HTTP/1.1\r\nHost: api.example.com\r\n",
                $fields,
                "\r\n\r\n"
            )
        };
    }
    let get = || line("GET /x HTTP/1.1");
    check(&[
        // §2.2: a recipient may take a lone LF for the end of a line; the upstream gets CRLF.
        ("GET /x HTTP/1.1\nHost: api.example.com\n\n", As(get().has(&["host: api.example.com"]))),
        ("\r\n\r\nGET /x HTTP/1.1\r\nHost: api.example.com\r\n\r\n", As(get())),
        ("GET /x HTTP/1.1\rHost: api.example.com\r\n\r\n", Unreadable(400)),
        ("GET /x HTTP/1.1\r\n Host: api.example.com\r\n\r\n", Unreadable(400)),
        ("GET /x HTTP/1.1\r\n\tX-A: 1\r\nHost: api.example.com\r\n\r\n", Unreadable(400)),
        // §3
        ("GET  /x HTTP/1.1\r\nHost: api.example.com\r\n\r\n", Unreadable(400)),
        ("GET\t/x HTTP/1.1\r\nHost: api.example.com\r\n\r\n", Unreadable(400)),
        ("GET /x  HTTP/1.1\r\nHost: api.example.com\r\n\r\n", Unreadable(400)),
        ("GET /x HTTP/1.1 \r\nHost: api.example.com\r\n\r\n", Unreadable(400)),
        ("GET /x y HTTP/1.1\r\nHost: api.example.com\r\n\r\n", Unreadable(400)),
        ("GET /x\x0bHTTP/1.1 HTTP/1.1\r\nHost: api.example.com\r\n\r\n", Unreadable(400)),
        ("GET /x HTTP/1.2\r\nHost: api.example.com\r\n\r\n", Unreadable(400)),
        ("GET /x HTTP/11.1\r\nHost: api.example.com\r\n\r\n", Unreadable(400)),
        ("GET /x HTTP/0.9\r\nHost: api.example.com\r\n\r\n", Unreadable(400)),
        ("GET /x http/1.1\r\nHost: api.example.com\r\n\r\n", Unreadable(400)),
        ("GET /x\r\nHost: api.example.com\r\n\r\n", Unreadable(400)),
        ("GET /x\r\n\r\n", Unreadable(400)),
        ("G(T /x HTTP/1.1\r\nHost: api.example.com\r\n\r\n", Unreadable(400)),
        (" GET /x HTTP/1.1\r\nHost: api.example.com\r\n\r\n", Unreadable(400)),
        ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", Unanswered),
        // A method is a name like another.
        ("get /x HTTP/1.1\r\nHost: api.example.com\r\n\r\n", As(line("get /x HTTP/1.1"))),
        // §3.2
        ("GET x HTTP/1.1\r\nHost: api.example.com\r\n\r\n", Refused(400)),
        ("GET * HTTP/1.1\r\nHost: api.example.com\r\n\r\n", Refused(400)),
        ("OPTIONS * HTTP/1.1\r\nHost: api.example.com\r\n\r\n", As(line("OPTIONS * HTTP/1.1"))),
        ("GET /x#a HTTP/1.1\r\nHost: api.example.com\r\n\r\n", As(get())),
        ("GET /x?a=/../b HTTP/1.1\r\nHost: api.example.com\r\n\r\n", As(line("GET /x?a=/../b HTTP/1.1"))),
        ("GET https://api.example.com/x HTTP/1.1\r\nHost: api.example.com\r\n\r\n", As(get().has(&["host: api.example.com"]))),
        ("GET https://api.example.com HTTP/1.1\r\nHost: api.example.com\r\n\r\n", As(line("GET / HTTP/1.1"))),
        ("GET https://other.example.com/x HTTP/1.1\r\nHost: api.example.com\r\n\r\n", Refused(400)),
        ("GET https://api.example.com/x HTTP/1.1\r\nHost: other.example.com\r\n\r\n", Refused(400)),
        ("GET https://api.example.com/x HTTP/1.1\r\n\r\n", Refused(400)),
        ("GET https://a@api.example.com/x HTTP/1.1\r\nHost: api.example.com\r\n\r\n", Refused(400)),
        ("GET api.example.com:443 HTTP/1.1\r\nHost: api.example.com:443\r\n\r\n", Refused(400)),
        // RFC 9110 §9.3.6: what is behind it is for a tunnel.
        ("CONNECT api.example.com:443 HTTP/1.1\r\nHost: api.example.com:443\r\n\r\n", Unreadable(400)),
        ("CONNECT /x HTTP/1.1\r\nHost: api.example.com\r\n\r\n", Unreadable(400)),
        ("GET /x HTTP/1.1\r\n\r\n", Refused(400)),
        ("GET /x HTTP/1.0\r\n\r\n", Unreadable(400)),
        ("GET /x HTTP/1.1\r\nHost:\r\n\r\n", Refused(400)),
        (get!("Host: api.example.com"), Refused(400)),
        (get!("Host: other.example.com"), Refused(400)),
        ("GET /x HTTP/1.1\r\nHost: api.example.com, other.example.com\r\n\r\n", Refused(400)),
        ("GET /x HTTP/1.1\r\nHost: api.example.com other\r\n\r\n", Refused(400)),
        ("GET /x HTTP/1.1\r\nHost: api.example.com/y\r\n\r\n", Refused(400)),
        ("GET /x HTTP/1.1\r\nHost: api.example.com:\r\n\r\n", As(get().has(&["host: api.example.com:"]))),
        ("GET /x HTTP/1.1\r\nHost: api.example.com:443x\r\n\r\n", Refused(400)),
        ("GET /x HTTP/1.1\r\nHost: API.example.com.\r\n\r\n", As(get())),
        // §5
        ("GET /x HTTP/1.1\r\nHost : api.example.com\r\n\r\n", Unreadable(400)),
        (get!("X-A : 1"), Unreadable(400)),
        (get!(": 1"), Unreadable(400)),
        (get!("X-A"), Unreadable(400)),
        (get!("X A: 1"), Unreadable(400)),
        (get!("X-A: 1\r\n Host: other"), Unreadable(400)),
        (get!("X-A: 1\r\n\tcontinued"), Unreadable(400)),
        (get!("X-A: a\rb"), Unreadable(400)),
        (get!("X-A: a\rTransfer-Encoding: chunked"), Unreadable(400)),
        (get!("X-A: a\x00b"), Unreadable(400)),
        (get!("X-A\x00: b"), Unreadable(400)),
        (get!("X-A: a\x0bb"), Unreadable(400)),
        (get!("X-A:  \t 1 \t "), As(get().has(&["x-a: 1"]))),
        (get!(":path: /admin"), Unreadable(400)),
        // What a client names is gone, and nothing that frames, routes or identifies.
        (get!("Connection: X-A\r\nX-A: 1"), As(get().lacks(&["x-a", "connection"]))),
        (get!("Connection: host, x-client-cn, x-forwarded-for"), As(get().has(&["host: api.example.com", "x-client-cn: order-service", "x-forwarded-for: 127.0.0.1"]))),
        ("POST /x HTTP/1.1\r\nHost: api.example.com\r\nConnection: content-length\r\nContent-Length: 5\r\n\r\nhello", As(HELLO)),
        ("POST /x HTTP/1.1\r\nHost: api.example.com\r\nConnection: transfer-encoding\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", As(HELLO)),
        (get!("TE: gzip, deflate"), As(get().lacks(&["te:"]))),
    ])
    .await;
}

/// RFC 9110 §7.8 and §10.1.1: what asks for another protocol, or for leave, hides nothing.
#[tokio::test(flavor = "multi_thread")]
async fn what_asks_to_switch_or_to_wait_hides_no_request() {
    let get =
        || line("GET /x HTTP/1.1").lacks(&["upgrade", "connection", "http2-settings", "expect"]);
    check(&[
        ("GET /x HTTP/1.1\r\nHost: api.example.com\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n", As(get())),
        ("GET /x HTTP/1.1\r\nHost: api.example.com\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n", As(line("GET /x HTTP/1.1").has(&["upgrade: websocket"]))),
        ("GET /x HTTP/1.1\r\nHost: api.example.com\r\nUpgrade: websocket\r\n\r\n", As(get())),
        ("GET /x HTTP/1.1\r\nHost: api.example.com\r\nConnection: upgrade\r\nUpgrade: TLS/1.0\r\n\r\n", As(get())),
        ("POST /x HTTP/1.1\r\nHost: api.example.com\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\nhello", As(HELLO.lacks(&["expect"]))),
        ("GET /x HTTP/1.1\r\nHost: api.example.com\r\nExpect: 100-continue\r\n\r\n", As(get())),
        ("POST /x HTTP/1.1\r\nHost: api.example.com\r\nExpect: 200-ok\r\nContent-Length: 5\r\n\r\nhello", As(HELLO.lacks(&["expect"]))),
    ])
    .await;
}

/// Where a rule looks at the path, a path with a second reading is refused; the others go on byte by byte.
#[tokio::test(flavor = "multi_thread")]
async fn path_that_is_judged_is_the_path_that_is_forwarded() {
    macro_rules! target {
        ($target:literal) => {
            concat!(
                "GET ",
                $target,
                " HTTP/1.1\r\nHost: api.example.com\r\n\r\n"
            )
        };
    }
    check_with(
        "path = \"/**\"\n",
        &[
            (
                target!("/x%41~?a=/../b&c=%2f"),
                As(line("GET /x%41~?a=/../b&c=%2f HTTP/1.1")),
            ),
            (
                target!("https://api.example.com/x%41"),
                As(line("GET /x%41 HTTP/1.1")),
            ),
            (
                target!("https://api.example.com"),
                As(line("GET / HTTP/1.1")),
            ),
            (
                target!("https://api.example.com?a"),
                As(line("GET /?a HTTP/1.1")),
            ),
            (target!("/x#/../admin"), As(line("GET /x HTTP/1.1"))),
            (target!("//other.example.com/x"), Refused(400)),
            (target!("https://api.example.com//x"), Refused(400)),
            (target!("/a/../x"), Refused(400)),
            (target!("/a/./x"), Refused(400)),
            (target!("/a/%2e%2e/x"), Refused(400)),
            (target!("/a/.%2E/x"), Refused(400)),
            (target!("/a%2fx"), Refused(400)),
            (target!("/a%5cx"), Refused(400)),
            (target!("/a\\x"), Refused(400)),
            (target!("/x%00"), Refused(400)),
            (target!("/x%252e"), Refused(400)),
            (target!("/x%"), Refused(400)),
            (target!("/x%zz"), Refused(400)),
            (target!("*"), Refused(400)),
            (target!("api.example.com"), Refused(400)),
        ],
    )
    .await;
}
