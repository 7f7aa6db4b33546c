//! Frames of HTTP/2 that no library would write (RFC 9113), byte by byte to a gateway: what becomes of each, and that an upstream never sees it.
//!
//! Behind each stands a good request on a stream of its own, `/last`. It is served wherever the fault was one stream's.

use std::sync::Arc;
use std::time::Duration;

use countersign_testkit::bypass::Protocol;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use crate::harness::{HOST, Harness, to};
use crate::smuggling::Strict;

/// What has to become of the frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Expect {
    /// The stream is answered with this status; only with 200 has the upstream seen `/x`.
    Answered(u16),
    /// The connection ends with this error (RFC 9113 §7).
    Goaway(u32),
    /// The same, behind a request that was whole, which may have been served.
    GoawayBehind(u32),
    /// Nothing is said to them.
    Ignored,
    /// The stream ends with this error.
    Reset(u32),
}

use Expect::{Answered, Goaway, GoawayBehind, Ignored, Reset};

const PROTOCOL_ERROR: u32 = 1;
const FLOW_CONTROL_ERROR: u32 = 3;
const FRAME_SIZE_ERROR: u32 = 6;
const ENHANCE_YOUR_CALM: u32 = 11;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const PRIORITY: u8 = 2;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PUSH_PROMISE: u8 = 5;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;

const END_STREAM: u8 = 1;
const ACK: u8 = 1;
const END_HEADERS: u8 = 4;
const PADDED: u8 = 8;
const WITH_PRIORITY: u8 = 32;

/// The stream of `/last`.
const LAST: u32 = 101;

type Field<'a> = (&'a str, &'a str);

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("short").to_be_bytes();
    let mut frame = vec![length[1], length[2], length[3], kind, flags];
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

/// RFC 7541 §6.2.2: literals that are not indexed.
fn block(fields: &[Field<'_>]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        block.push(0);
        string(&mut block, name);
        string(&mut block, value);
    }
    block
}

/// RFC 7541 §5.1, §5.2.
fn string(block: &mut Vec<u8>, text: &str) {
    if let Some(mut rest) = text.len().checked_sub(127) {
        block.push(127);
        while rest >= 128 {
            block.push(u8::try_from(rest % 128).expect("small") | 128);
            rest /= 128;
        }
        block.push(u8::try_from(rest).expect("small"));
    } else {
        block.push(u8::try_from(text.len()).expect("short"));
    }
    block.extend(text.as_bytes());
}

fn get(stream: u32, path: &str) -> Vec<u8> {
    let fields = [
        (":method", "GET"),
        (":scheme", "https"),
        (":path", path),
        (":authority", HOST),
    ];
    frame(HEADERS, END_HEADERS | END_STREAM, stream, &block(&fields))
}

const POST: [Field<'static>; 4] = [
    (":method", "POST"),
    (":scheme", "https"),
    (":path", "/x"),
    (":authority", HOST),
];

/// The head of a POST to `/x` on the first stream, with a body to come.
fn post(more: &[Field<'_>]) -> Vec<u8> {
    let fields = [&POST[..], more].concat();
    frame(HEADERS, END_HEADERS, 1, &block(&fields))
}

/// A request of these fields alone, without a body.
fn of(fields: &[Field<'_>]) -> Vec<u8> {
    frame(HEADERS, END_HEADERS | END_STREAM, 1, &block(fields))
}

/// A POST without a body and with one more field.
fn with(field: Field<'_>) -> Vec<u8> {
    of(&[&POST[..], &[field]].concat())
}

/// The same with another value of one of its own.
fn instead(name: &str, value: &str) -> Vec<u8> {
    let fields = POST.map(|field| {
        if field.0 == name {
            (field.0, value)
        } else {
            field
        }
    });
    of(&fields)
}

fn without(name: &str) -> Vec<u8> {
    let fields: Vec<_> = POST.into_iter().filter(|field| field.0 != name).collect();
    of(&fields)
}

/// Whether the connection does.
fn ends(expect: Expect) -> bool {
    matches!(expect, Goaway(_) | GoawayBehind(_))
}

/// What came back.
#[derive(Debug, Default)]
struct Heard {
    first: Option<Expect>,
    last: Option<Expect>,
    goaway: Option<u32>,
    has_ended: bool,
}

impl Heard {
    fn note(&mut self, kind: u8, stream: u32, payload: &[u8]) {
        let code = |at: usize| {
            let bytes = payload
                .get(at..at + 4)
                .and_then(|bytes| bytes.try_into().ok());
            bytes.map_or(u32::MAX, u32::from_be_bytes)
        };
        let outcome = match kind {
            HEADERS => Answered(status(payload)),
            RST_STREAM => Reset(code(0)),
            GOAWAY => {
                self.goaway = Some(code(4));
                return;
            }
            _ => return,
        };
        let place = if stream == LAST {
            &mut self.last
        } else {
            &mut self.first
        };
        place.get_or_insert(outcome);
    }

    fn is_enough(&self, expect: Expect) -> bool {
        let first = expect == Ignored || self.first.is_some();
        self.has_ended || (!ends(expect) && first && self.last.is_some())
    }

    fn outcome(&self) -> Expect {
        match (self.goaway.filter(|code| *code != 0), self.first) {
            (Some(code), _) => Goaway(code),
            (None, Some(first)) => first,
            (None, None) => Ignored,
        }
    }
}

/// The first field of an answer's block: RFC 7541 Appendix A has some whole, the digits of others are in Huffman's code (Appendix B).
fn status(block: &[u8]) -> u16 {
    // §6.3: the table's size may be said first.
    let block = &block[block.iter().take_while(|byte| *byte & 0xe0 == 0x20).count()..];
    let whole = [200, 204, 206, 304, 400, 404, 500];
    match block {
        [first, ..] if first & 0x80 != 0 => whole[usize::from(first & 0x7f) - 8],
        [0x48 | 0x08 | 0x18, length, coded @ ..] => {
            let coded = &coded[..usize::from(length & 0x7f)];
            if length & 0x80 == 0 {
                let text = std::str::from_utf8(coded).expect("digits");
                return text.parse().expect("digits");
            }
            let mut bits = coded
                .iter()
                .flat_map(|byte| (0..8).rev().map(move |at| u16::from(byte >> at & 1)));
            let mut take =
                |count: usize| bits.by_ref().take(count).fold(0, |sum, bit| sum << 1 | bit);
            (0..3).fold(0, |number, _| {
                let start = take(5);
                // 0 to 2 are five bits, 3 to 9 six.
                let digit = if start <= 2 {
                    start
                } else {
                    (start << 1 | take(1)) - 0x19 + 3
                };
                number * 10 + digit
            })
        }
        _ => panic!("no status in {block:x?}"),
    }
}

async fn heard(gateway: &Harness, frames: &[u8], expect: Expect) -> Heard {
    let stream = gateway
        .client(Protocol::Http2Tls13)
        .connect(gateway.address())
        .await
        .expect("a connection");
    let (mut read, mut write) = tokio::io::split(stream);
    let start = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    let bytes = [
        &start[..],
        &frame(SETTINGS, 0, 0, &[]),
        frames,
        &get(LAST, "/last"),
    ]
    .concat();
    let writing = tokio::spawn(async move {
        // The gateway may have ended the connection before all of it is sent.
        let _ = write.write_all(&bytes).await;
        let _ = write.flush().await;
        write
    });
    let (mut heard, mut buffer) = (Heard::default(), Vec::new());
    let listening = async {
        while !heard.is_enough(expect) {
            if !matches!(read.read_buf(&mut buffer).await, Ok(1..)) {
                heard.has_ended = true;
            }
            while let [a, b, c, kind, _, s1, s2, s3, s4, rest @ ..] = &buffer[..] {
                let length = usize::from(*a) << 16 | usize::from(*b) << 8 | usize::from(*c);
                let Some(payload) = rest.get(..length) else {
                    break;
                };
                heard.note(*kind, u32::from_be_bytes([*s1, *s2, *s3, *s4]), payload);
                buffer.drain(..9 + length);
            }
        }
    };
    // What does not come is told with the case.
    let _ = timeout(HANG, listening).await;
    writing.abort();
    heard
}

async fn check(cases: &[(&str, Vec<u8>, Expect)]) {
    let upstream = Strict::start();
    let gateway = Arc::new(Harness::start("", &to(upstream.address())));
    let mut wrong = Vec::new();
    for (what, frames, expect) in cases {
        let heard = heard(&gateway, frames, *expect).await;
        let seen = upstream.take();
        // What breaks off reaches the upstream as what it is.
        let whole = seen.iter().filter(|it| it.is_whole());
        let (last, others): (Vec<_>, Vec<_>) =
            whole.partition(|it| it.first_line() == "GET /last HTTP/1.1");
        let is_served = heard.last == Some(Answered(200));
        let are_right = match expect {
            Answered(200) => others.len() == 1,
            // It was whole before.
            GoawayBehind(_) => others.len() <= 1,
            _ => others.is_empty(),
        };
        let is_as_expected = match (heard.outcome(), expect) {
            (Goaway(found), GoawayBehind(code)) => found == *code,
            (found, expect) => found == *expect,
        };
        let is_right = is_as_expected
            && are_right
            && others.iter().all(|it| !it.first_line().contains("/hidden"))
            && (ends(*expect) || is_served && last.len() == 1);
        if !is_right {
            wrong.push(format!(
                "{what}: {heard:?}, not {expect:?}; the upstream saw {others:?}"
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// RFC 9113 §8.
#[tokio::test(flavor = "multi_thread")]
#[expect(clippy::too_many_lines, reason = "a table")]
async fn fields_of_a_request_have_one_reading_or_none() {
    let malformed = Reset(PROTOCOL_ERROR);
    // §5.4.1: what cannot even be decoded into a field ends the connection.
    let unreadable = Goaway(PROTOCOL_ERROR);
    let pseudo = |order: [usize; 4]| of(&order.map(|at| POST[at]));
    check(&[
        ("a good one", of(&POST), Answered(200)),
        (
            "pseudo-headers in another order",
            pseudo([3, 2, 1, 0]),
            Answered(200),
        ),
        // §8.2
        ("a name in upper case", with(("X-A", "1")), unreadable),
        ("an empty name", with(("", "1")), unreadable),
        ("a name with a space", with(("x a", "1")), unreadable),
        ("a name with a colon", with(("x:a", "1")), unreadable),
        (
            "a value with CRLF",
            with(("x-a", "1\r\nx-b: 2")),
            unreadable,
        ),
        ("a value with LF", with(("x-a", "1\n2")), unreadable),
        ("a value with NUL", with(("x-a", "1\0")), unreadable),
        (
            "a value with a space before it",
            with(("x-a", " 1")),
            Answered(400),
        ),
        (
            "a value with a tab behind it",
            with(("x-a", "1\t")),
            Answered(400),
        ),
        // §8.2.2
        ("connection", with(("connection", "close")), malformed),
        ("keep-alive", with(("keep-alive", "1")), malformed),
        (
            "proxy-connection",
            with(("proxy-connection", "close")),
            malformed,
        ),
        (
            "transfer-encoding",
            with(("transfer-encoding", "chunked")),
            malformed,
        ),
        ("upgrade", with(("upgrade", "h2c")), malformed),
        ("te: gzip", with(("te", "gzip")), malformed),
        (
            "te: trailers, gzip",
            with(("te", "trailers, gzip")),
            malformed,
        ),
        ("te: trailers", with(("te", "trailers")), Answered(200)),
        // §8.3
        ("two paths", with((":path", "/admin")), malformed),
        (
            "two paths that are one",
            of(&[POST[0], POST[1], POST[2], POST[2], POST[3]]),
            malformed,
        ),
        (
            "two methods",
            of(&[POST[0], (":method", "GET"), POST[1], POST[2], POST[3]]),
            malformed,
        ),
        (
            "two schemes",
            of(&[POST[0], POST[1], POST[1], POST[2], POST[3]]),
            malformed,
        ),
        (
            "two authorities",
            of(&[
                POST[0],
                POST[1],
                POST[2],
                POST[3],
                (":authority", "other.example.com"),
            ]),
            malformed,
        ),
        (
            "a pseudo-header behind a header",
            of(&[POST[0], POST[1], POST[2], ("x-a", "1"), POST[3]]),
            malformed,
        ),
        (
            "a pseudo-header of answers",
            with((":status", "200")),
            malformed,
        ),
        (
            "a pseudo-header that is none",
            of(&[POST[0], POST[1], POST[2], POST[3], (":x", "1")]),
            unreadable,
        ),
        ("no method", without(":method"), malformed),
        ("no scheme", without(":scheme"), malformed),
        ("no path", without(":path"), malformed),
        (
            "no authority and no host",
            without(":authority"),
            Answered(400),
        ),
        (
            "host alone",
            of(&[POST[0], POST[1], POST[2], ("host", HOST)]),
            Answered(200),
        ),
        (
            "authority and host that agree",
            with(("host", HOST)),
            Answered(200),
        ),
        (
            "authority and host that differ",
            with(("host", "other.example.com")),
            Answered(400),
        ),
        (
            "two hosts",
            of(&[
                POST[0],
                POST[1],
                POST[2],
                POST[3],
                ("host", HOST),
                ("host", HOST),
            ]),
            Answered(400),
        ),
        (
            "another host than the connection's",
            instead(":authority", "other.example.com"),
            Answered(421),
        ),
        (
            "an authority with a user",
            instead(":authority", "a@api.example.com"),
            Answered(400),
        ),
        ("an empty authority", instead(":authority", ""), malformed),
        (
            "an authority with a path",
            instead(":authority", "api.example.com/x"),
            malformed,
        ),
        ("an empty path", instead(":path", ""), malformed),
        ("a path without a slash", instead(":path", "x"), malformed),
        (
            "a path that is a URL",
            instead(":path", "https://api.example.com/x"),
            malformed,
        ),
        ("a path with a space", instead(":path", "/x y"), malformed),
        ("* for POST", instead(":path", "*"), Answered(400)),
        (
            "* for OPTIONS",
            of(&[(":method", "OPTIONS"), POST[1], (":path", "*"), POST[3]]),
            Answered(200),
        ),
        (
            "a method with a space",
            instead(":method", "GET /admin"),
            unreadable,
        ),
        ("an empty method", instead(":method", ""), unreadable),
        (
            "a scheme with CRLF",
            instead(":scheme", "https\r\n"),
            malformed,
        ),
        // §8.5; RFC 8441 §3: nobody here has said that it may be.
        (
            "CONNECT with a path",
            instead(":method", "CONNECT"),
            malformed,
        ),
        (
            "CONNECT",
            of(&[
                (":method", "CONNECT"),
                (":authority", "other.example.com:443"),
            ]),
            Answered(400),
        ),
        (
            "CONNECT without authority",
            of(&[(":method", "CONNECT")]),
            Answered(400),
        ),
        (
            "extended CONNECT",
            of(&[
                (":method", "CONNECT"),
                (":protocol", "websocket"),
                POST[1],
                POST[2],
                POST[3],
            ]),
            malformed,
        ),
        (
            ":protocol without CONNECT",
            with((":protocol", "websocket")),
            malformed,
        ),
    ])
    .await;
}

/// RFC 9113 §8.1, §8.1.1.
#[tokio::test(flavor = "multi_thread")]
async fn message_ends_where_it_says_or_is_none() {
    let data = |flags, text: &str| frame(DATA, flags, 1, text.as_bytes());
    let trailers = |flags, fields: &[Field<'_>]| frame(HEADERS, flags, 1, &block(fields));
    let five = || post(&[("content-length", "5")]);
    let ended = END_HEADERS | END_STREAM;
    check(&[
        (
            "as long as it says",
            [five(), data(END_STREAM, "hello")].concat(),
            Answered(200),
        ),
        (
            "in two pieces",
            [five(), data(0, "hel"), data(END_STREAM, "lo")].concat(),
            Answered(200),
        ),
        (
            "shorter than it says",
            [five(), data(END_STREAM, "hell")].concat(),
            Reset(PROTOCOL_ERROR),
        ),
        (
            "longer than it says",
            [five(), data(END_STREAM, "hello!")].concat(),
            Reset(PROTOCOL_ERROR),
        ),
        (
            "nothing, and says otherwise",
            with(("content-length", "5")),
            Reset(PROTOCOL_ERROR),
        ),
        (
            "a length that is no number",
            with(("content-length", "+0")),
            Reset(PROTOCOL_ERROR),
        ),
        (
            "two lengths",
            of(&[
                &POST[..],
                &[("content-length", "0"), ("content-length", "5")],
            ]
            .concat()),
            Reset(PROTOCOL_ERROR),
        ),
        (
            "trailers",
            [
                post(&[]),
                data(0, "hello"),
                trailers(ended, &[("x-a", "1")]),
            ]
            .concat(),
            Answered(200),
        ),
        // §8.1: h2 leaves them out, so that nothing of them goes on.
        (
            "trailers with a pseudo-header",
            [
                post(&[]),
                data(0, "hello"),
                trailers(ended, &[(":path", "/admin")]),
            ]
            .concat(),
            Answered(200),
        ),
        (
            "trailers without an end",
            [
                post(&[]),
                data(0, "hello"),
                trailers(END_HEADERS, &[("x-a", "1")]),
            ]
            .concat(),
            Reset(PROTOCOL_ERROR),
        ),
        (
            "a second head",
            [post(&[]), get(1, "/hidden")].concat(),
            Answered(200),
        ),
        (
            "DATA behind the end",
            [of(&POST), data(END_STREAM, "hello")].concat(),
            GoawayBehind(PROTOCOL_ERROR),
        ),
        (
            "a head behind the end",
            [of(&POST), get(1, "/hidden")].concat(),
            GoawayBehind(PROTOCOL_ERROR),
        ),
    ])
    .await;
}

/// RFC 9113 §4, §5, §6: what is said to the whole connection.
#[tokio::test(flavor = "multi_thread")]
#[expect(clippy::too_many_lines, reason = "a table")]
async fn frames_out_of_their_place_end_the_connection_or_their_stream() {
    let protocol = Goaway(PROTOCOL_ERROR);
    let size = Goaway(FRAME_SIZE_ERROR);
    // RFC 9113 has codes of its own for these; h2 has one for whatever it cannot decode.
    let undecoded = Goaway(PROTOCOL_ERROR);
    let open = || post(&[]);
    let on_open = |frame: Vec<u8>| [open(), frame].concat();
    let setting = |number: u16, value: u32| {
        let payload = [&number.to_be_bytes()[..], &value.to_be_bytes()].concat();
        frame(SETTINGS, 0, 0, &payload)
    };
    let increment = |stream, by: u32| frame(WINDOW_UPDATE, 0, stream, &by.to_be_bytes());
    check(&[
        // §4.1, §4.2, §5.5
        (
            "a frame of no known type",
            frame(0xfa, 0xff, 1, b"hello"),
            Ignored,
        ),
        (
            "flags that mean nothing",
            frame(PING, 0xfe, 0, b"01234567"),
            Ignored,
        ),
        (
            "a frame longer than is allowed",
            on_open(frame(DATA, 0, 1, &vec![0; 16_385])),
            size,
        ),
        // §5.1, §5.1.1
        ("DATA on no stream", frame(DATA, 0, 0, b"hello"), protocol),
        (
            "DATA on a stream that is none yet",
            frame(DATA, 0, 1, b"hello"),
            protocol,
        ),
        ("HEADERS on no stream", get(0, "/x"), protocol),
        ("a stream of ours", get(2, "/x"), protocol),
        (
            "a stream below one that was",
            [get(3, "/x"), get(1, "/hidden")].concat(),
            GoawayBehind(PROTOCOL_ERROR),
        ),
        (
            "RST_STREAM on a stream that is none yet",
            frame(RST_STREAM, 0, 1, &[0; 4]),
            protocol,
        ),
        (
            "RST_STREAM on no stream",
            frame(RST_STREAM, 0, 0, &[0; 4]),
            protocol,
        ),
        (
            "RST_STREAM of three bytes",
            on_open(frame(RST_STREAM, 0, 1, &[0; 3])),
            undecoded,
        ),
        (
            "WINDOW_UPDATE on a stream that is none yet",
            increment(1, 1),
            protocol,
        ),
        (
            "PUSH_PROMISE",
            on_open(frame(PUSH_PROMISE, END_HEADERS, 1, &[0, 0, 0, 2])),
            protocol,
        ),
        // §5.3: priorities are past, their form is not.
        ("PRIORITY", frame(PRIORITY, 0, 1, &[0, 0, 0, 0, 7]), Ignored),
        (
            "PRIORITY on no stream",
            frame(PRIORITY, 0, 0, &[0, 0, 0, 0, 7]),
            protocol,
        ),
        (
            "PRIORITY of four bytes",
            frame(PRIORITY, 0, 1, &[0; 4]),
            undecoded,
        ),
        (
            "a head that depends on another",
            {
                let payload = [&[0, 0, 0, 3, 7][..], &block(&POST)].concat();
                frame(
                    HEADERS,
                    END_HEADERS | END_STREAM | WITH_PRIORITY,
                    1,
                    &payload,
                )
            },
            Answered(200),
        ),
        (
            "a head that depends on itself",
            {
                let payload = [&[0, 0, 0, 1, 7][..], &block(&POST)].concat();
                frame(
                    HEADERS,
                    END_HEADERS | END_STREAM | WITH_PRIORITY,
                    1,
                    &payload,
                )
            },
            Reset(PROTOCOL_ERROR),
        ),
        // §6.1, §6.2
        (
            "padding",
            {
                let payload = [&[3][..], &block(&POST), &[0; 3]].concat();
                frame(HEADERS, END_HEADERS | END_STREAM | PADDED, 1, &payload)
            },
            Answered(200),
        ),
        (
            "DATA that is all padding",
            [
                post(&[("content-length", "5")]),
                frame(DATA, PADDED, 1, &[255; 256]),
                frame(DATA, END_STREAM | PADDED, 1, b"\x02hello\0\0"),
            ]
            .concat(),
            Answered(200),
        ),
        (
            "padding longer than its HEADERS",
            frame(
                HEADERS,
                END_HEADERS | END_STREAM | PADDED,
                1,
                &[&[200][..], &block(&POST)].concat(),
            ),
            protocol,
        ),
        (
            "padding longer than its DATA",
            on_open(frame(DATA, END_STREAM | PADDED, 1, b"\x06hello")),
            protocol,
        ),
        // §6.5
        (
            "SETTINGS of five bytes",
            frame(SETTINGS, 0, 0, &[0; 5]),
            undecoded,
        ),
        ("SETTINGS on a stream", frame(SETTINGS, 0, 1, &[]), protocol),
        (
            "an ACK that sets something",
            frame(SETTINGS, ACK, 0, &[0; 6]),
            undecoded,
        ),
        ("a setting that nobody knows", setting(0xfafa, 1), Ignored),
        ("ENABLE_PUSH of 2", setting(2, 2), protocol),
        ("a window past its bound", setting(4, 1 << 31), undecoded),
        ("frames below their bound", setting(5, 16_383), protocol),
        // §6.7, §6.8
        ("PING of seven bytes", frame(PING, 0, 0, &[0; 7]), undecoded),
        ("PING on a stream", frame(PING, 0, 1, &[0; 8]), protocol),
        (
            "an ACK that nobody asked for",
            frame(PING, ACK, 0, &[0; 8]),
            Ignored,
        ),
        ("GOAWAY on a stream", frame(GOAWAY, 0, 1, &[0; 8]), protocol),
        // §6.9
        ("a window that grows by nothing", increment(0, 0), protocol),
        (
            "a window of a stream that grows by nothing",
            on_open(increment(1, 0)),
            protocol,
        ),
        (
            "a window past 2^31 - 1",
            [increment(0, 0x7fff_ffff), increment(0, 1)].concat(),
            Goaway(FLOW_CONTROL_ERROR),
        ),
        (
            "a window of a stream past 2^31 - 1",
            on_open(increment(1, 0x7fff_ffff)),
            Reset(FLOW_CONTROL_ERROR),
        ),
        (
            "WINDOW_UPDATE of three bytes",
            frame(WINDOW_UPDATE, 0, 0, &[0; 3]),
            undecoded,
        ),
        // §6.10
        (
            "CONTINUATION of nothing",
            frame(CONTINUATION, END_HEADERS, 1, &[]),
            protocol,
        ),
        (
            "a head in pieces",
            {
                let block = block(&POST);
                let (first, second) = block.split_at(20);
                [
                    frame(HEADERS, END_STREAM, 1, first),
                    frame(CONTINUATION, END_HEADERS, 1, second),
                ]
                .concat()
            },
            Answered(200),
        ),
        (
            "another frame between the pieces of a head",
            {
                let block = block(&POST);
                [
                    frame(HEADERS, END_STREAM, 1, &block[..20]),
                    frame(PING, 0, 0, &[0; 8]),
                    frame(CONTINUATION, END_HEADERS, 1, &block[20..]),
                ]
                .concat()
            },
            protocol,
        ),
        (
            "CONTINUATION of another stream",
            {
                let block = block(&POST);
                [
                    frame(HEADERS, END_STREAM, 1, &block[..20]),
                    frame(CONTINUATION, END_HEADERS, 3, &block[20..]),
                ]
                .concat()
            },
            protocol,
        ),
        // RFC 7541 §2.3.3, §4.2, §5.1, §5.2
        (
            "a field of no index",
            frame(HEADERS, END_HEADERS | END_STREAM, 1, &[0x80]),
            undecoded,
        ),
        (
            "a field past the table",
            frame(HEADERS, END_HEADERS | END_STREAM, 1, &[0xff, 0x7f]),
            undecoded,
        ),
        (
            "a table larger than allowed",
            frame(
                HEADERS,
                END_HEADERS | END_STREAM,
                1,
                &[0x3f, 0xff, 0xff, 0xff, 0x7f],
            ),
            undecoded,
        ),
        (
            "half a field",
            frame(HEADERS, END_HEADERS | END_STREAM, 1, &[0, 7, b':']),
            undecoded,
        ),
        (
            "a number without an end",
            frame(
                HEADERS,
                END_HEADERS | END_STREAM,
                1,
                &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
            ),
            undecoded,
        ),
    ])
    .await;
}

/// What a client may send without end has a bound, or costs nothing.
#[tokio::test(flavor = "multi_thread")]
async fn floods_are_cut_or_cost_nothing() {
    let many = |count: usize, frame: Vec<u8>| frame.repeat(count);
    let large = |bytes: usize| {
        let value = "a".repeat(bytes);
        let block = block(&[&POST[..], &[("x-a", &value)]].concat());
        let mut pieces = block.chunks(16_384);
        let first = pieces.next().expect("some");
        let mut frames = frame(HEADERS, END_STREAM, 1, first);
        for piece in pieces {
            frames.extend(frame(CONTINUATION, 0, 1, piece));
        }
        frames.extend(frame(CONTINUATION, END_HEADERS, 1, &[]));
        frames
    };
    check(&[
        (
            "10,000 PING",
            many(10_000, frame(PING, 0, 0, b"01234567")),
            Ignored,
        ),
        (
            "10,000 SETTINGS",
            many(10_000, frame(SETTINGS, 0, 0, &[0, 4, 0, 1, 0, 0])),
            Ignored,
        ),
        (
            "10,000 PRIORITY",
            many(10_000, frame(PRIORITY, 0, 7, &[0, 0, 0, 0, 7])),
            Ignored,
        ),
        (
            "10,000 frames of no type",
            many(10_000, frame(0xfa, 0, 0, b"01234567")),
            Ignored,
        ),
        (
            "10,000 empty CONTINUATION",
            [
                frame(HEADERS, END_STREAM, 1, &block(&POST)),
                many(10_000, frame(CONTINUATION, 0, 1, &[])),
            ]
            .concat(),
            Goaway(ENHANCE_YOUR_CALM),
        ),
        (
            "10,000 CONTINUATION of one field",
            [
                frame(HEADERS, END_STREAM, 1, &block(&POST)),
                many(10_000, frame(CONTINUATION, 0, 1, &block(&[("x-a", "1")]))),
            ]
            .concat(),
            Goaway(ENHANCE_YOUR_CALM),
        ),
        ("a head of 60 kB", large(60_000), Answered(200)),
        ("a head of 70 kB", large(70_000), Answered(431)),
        (
            "a head of 10 MB",
            large(10_000_000),
            Goaway(ENHANCE_YOUR_CALM),
        ),
        (
            "a body past the window",
            [post(&[]), many(100, frame(DATA, 0, 1, &[0; 16_384]))].concat(),
            Goaway(FLOW_CONTROL_ERROR),
        ),
    ])
    .await;
}

/// Only catches a hang.
const HANG: Duration = Duration::from_secs(10);
