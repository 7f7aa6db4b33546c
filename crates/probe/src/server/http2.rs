//! As much HTTP/2 (RFC 9113) as it takes to ask one question and to read the status and the beginning of the page.

use countersign_diagnose::doctor::target::{HttpAnswer, HttpRequest};

use super::http::{MAX_ANSWER_BYTES, MAX_EXCERPT_BYTES, safe};

/// The bytes of a GET, from the first of the connection.
pub(super) fn get(request: &HttpRequest) -> Vec<u8> {
    let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    // Without a dynamic table a block of headers is read by itself.
    push_frame(
        &mut bytes,
        SETTINGS,
        0,
        0,
        &[0, 1, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0],
    );
    let mut block = vec![0x82, 0x87]; // :method GET, :scheme https
    for (index, value) in [
        (PATH, safe(&request.path)),
        (AUTHORITY, safe(&request.host)),
        (USER_AGENT, "countersign-doctor".to_owned()),
        (ACCEPT, "*/*".to_owned()),
    ] {
        push_number(&mut block, 0, 4, index);
        push_number(&mut block, 0, 7, value.len());
        block.extend(value.as_bytes());
    }
    block.truncate(MAX_BLOCK_BYTES);
    push_frame(
        &mut bytes,
        HEADERS,
        END_STREAM | END_HEADERS,
        STREAM,
        &block,
    );
    bytes
}

/// Whether there is nothing to wait for any more.
pub(super) fn is_whole(bytes: &[u8]) -> bool {
    bytes.len() >= MAX_ANSWER_BYTES
        || Frames(bytes).any(|frame| match frame.kind {
            GOAWAY => true,
            RST_STREAM => frame.stream == STREAM,
            DATA | HEADERS => frame.stream == STREAM && frame.flags & END_STREAM != 0,
            _ => false,
        })
}

/// `None`: there is no answer to the request in it.
pub(super) fn parse(bytes: &[u8]) -> Option<HttpAnswer> {
    let mut status = None;
    let mut is_login = false;
    let mut body = Vec::new();
    for frame in Frames(bytes).filter(|frame| frame.stream == STREAM) {
        match frame.kind {
            // 103 and the like come before the answer.
            HEADERS if status.is_none_or(|status| status < 200) => {
                let mut block = frame.block()?;
                status = self::status(&mut block).or(status);
                is_login = frame.flags & END_HEADERS == 0 || may_ask_for_login(block);
            }
            DATA if body.len() < MAX_EXCERPT_BYTES => body.extend(frame.unpadded()?),
            _ => {}
        }
    }
    body.truncate(MAX_EXCERPT_BYTES);
    Some(HttpAnswer {
        status: status?,
        reason: String::new(),
        server: None,
        clock_ahead_s: None,
        location: None,
        // What it says is not decoded; that it is there says enough.
        challenge: (is_login && status == Some(401)).then(String::new),
        body: String::from_utf8_lossy(&body).into_owned(),
    })
}

struct Frame<'b> {
    kind: u8,
    flags: u8,
    stream: u32,
    payload: &'b [u8],
}

impl<'b> Frame<'b> {
    /// RFC 9113 §6.1.
    fn unpadded(&self) -> Option<&'b [u8]> {
        if self.flags & PADDED == 0 {
            return Some(self.payload);
        }
        let (&padding, rest) = self.payload.split_first()?;
        rest.get(..rest.len().checked_sub(usize::from(padding))?)
    }

    /// RFC 9113 §6.2: behind the priority, where there is one.
    fn block(&self) -> Option<&'b [u8]> {
        let from = if self.flags & PRIORITY == 0 { 0 } else { 5 };
        self.unpadded()?.get(from..)
    }
}

/// The frames that are there in full.
struct Frames<'b>(&'b [u8]);

impl<'b> Iterator for Frames<'b> {
    type Item = Frame<'b>;

    fn next(&mut self) -> Option<Frame<'b>> {
        let (&[high, middle, low, kind, flags, a, b, c, d], rest) = self.0.split_first_chunk()?;
        let length = usize::from(high) << 16 | usize::from(middle) << 8 | usize::from(low);
        let (payload, rest) = rest.split_at_checked(length)?;
        self.0 = rest;
        Some(Frame {
            kind,
            flags,
            stream: u32::from_be_bytes([a & 0x7f, b, c, d]),
            payload,
        })
    }
}

/// RFC 7541 §6. A response begins with its status (RFC 9113 §8.3).
fn status(block: &mut &[u8]) -> Option<u16> {
    // Changes of the table's size come before anything else (§4.2).
    while block.first()? & 0xe0 == 0x20 {
        number(block, 5)?;
    }
    let first = *block.first()?;
    if first & 0x80 != 0 {
        let index = number(block, 7)?;
        return STATUSES
            .iter()
            .find(|(known, _)| *known == index)
            .map(|&(_, status)| status);
    }
    let index = number(block, if first & 0x40 == 0 { 4 } else { 6 })?;
    if index == 0 && string(block)? != (Coding::Plain, b":status") {
        return None;
    }
    if index != 0 && !STATUSES.iter().any(|(known, _)| *known == index) {
        return None;
    }
    let digits = match string(block)? {
        (Coding::Plain, text) => text.to_vec(),
        (Coding::Huffman, text) => digits(text)?,
    };
    let status = std::str::from_utf8(&digits).ok()?.parse().ok()?;
    (100..1000).contains(&status).then_some(status)
}

/// Whether `WWW-Authenticate` is among the fields; of fields that cannot be read to their end it may be one.
fn may_ask_for_login(mut block: &[u8]) -> bool {
    while !block.is_empty() {
        if is_challenge(&mut block) != Some(false) {
            return true;
        }
    }
    false
}

/// Reads one field.
fn is_challenge(block: &mut &[u8]) -> Option<bool> {
    let first = *block.first()?;
    let prefix = match first {
        0x80.. => 7,
        0x40.. => 6,
        0x20.. => return None,
        _ => 4,
    };
    let index = number(block, prefix)?;
    if index > STATIC_ENTRIES || (index == 0 && prefix == 7) {
        return None;
    }
    let is_named = match index {
        0 => WWW_AUTHENTICATE_NAMES.contains(&string(block)?),
        index => index == WWW_AUTHENTICATE,
    };
    if prefix != 7 {
        string(block)?;
    }
    Some(is_named)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Coding {
    Huffman,
    Plain,
}

/// RFC 7541 §5.2.
fn string<'b>(block: &mut &'b [u8]) -> Option<(Coding, &'b [u8])> {
    let coding = if block.first()? & 0x80 == 0 {
        Coding::Plain
    } else {
        Coding::Huffman
    };
    let length = number(block, 7)?;
    let (text, rest) = block.split_at_checked(length)?;
    *block = rest;
    Some((coding, text))
}

/// Of Huffman's code the digits alone are known: a status has nothing else.
fn digits(text: &[u8]) -> Option<Vec<u8>> {
    let mut digits = Vec::new();
    let (mut code, mut bits) = (0u32, 0);
    for byte in text.iter().take(MAX_DIGITS) {
        code = code << 8 | u32::from(*byte);
        bits += 8;
        while bits >= 6 {
            // 0, 1 and 2 have five bits, 3 to 9 six (Appendix B).
            let six = (code >> (bits - 6)) & 0x3f;
            let (digit, used) = match six {
                0..=5 => (six >> 1, 5),
                0x19..=0x1f => (six - 0x16, 6),
                _ => return (six == 0x3f).then_some(digits),
            };
            digits.push(b'0' + u8::try_from(digit).ok()?);
            bits -= used;
            code &= (1 << bits) - 1;
        }
    }
    if bits >= 5 && code >> (bits - 5) <= 2 {
        digits.push(b'0' + u8::try_from(code >> (bits - 5)).ok()?);
    }
    Some(digits)
}

/// RFC 7541 §5.1.
fn number(block: &mut &[u8], prefix: u32) -> Option<usize> {
    let most = (1usize << prefix) - 1;
    let (&first, mut rest) = block.split_first()?;
    let mut value = usize::from(first) & most;
    if value == most {
        for shift in [0, 7, 14] {
            let (&byte, behind) = rest.split_first()?;
            rest = behind;
            value += usize::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                *block = rest;
                return Some(value);
            }
        }
        return None;
    }
    *block = rest;
    Some(value)
}

fn push_number(block: &mut Vec<u8>, pattern: u8, prefix: u32, value: usize) {
    let most = (1usize << prefix) - 1;
    let byte = |value: usize| u8::try_from(value & 0xff).unwrap_or_default();
    if value < most {
        block.push(pattern | byte(value));
        return;
    }
    block.push(pattern | byte(most));
    let mut left = value - most;
    while left >= 0x80 {
        block.push(byte(left & 0x7f) | 0x80);
        left >>= 7;
    }
    block.push(byte(left));
}

fn push_frame(bytes: &mut Vec<u8>, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
    let length = u32::try_from(payload.len()).unwrap_or_default();
    bytes.extend(&length.to_be_bytes()[1..]);
    bytes.extend([kind, flags]);
    bytes.extend(stream.to_be_bytes());
    bytes.extend(payload);
}

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const GOAWAY: u8 = 7;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
const PADDED: u8 = 8;
const PRIORITY: u8 = 0x20;
/// The first that a client opens.
const STREAM: u32 = 1;

/// Places in the static table (RFC 7541 Appendix A).
const AUTHORITY: usize = 1;
const PATH: usize = 4;
const ACCEPT: usize = 19;
const USER_AGENT: usize = 58;
const WWW_AUTHENTICATE: usize = 61;
const STATIC_ENTRIES: usize = 61;
const STATUSES: &[(usize, u16)] = &[
    (8, 200),
    (9, 204),
    (10, 206),
    (11, 304),
    (12, 400),
    (13, 404),
    (14, 500),
];

/// A name has one form in each coding (RFC 7541 Appendix B).
const WWW_AUTHENTICATE_NAMES: [(Coding, &[u8]); 2] = [
    (Coding::Plain, b"www-authenticate"),
    (
        Coding::Huffman,
        &[
            0xf1, 0xe3, 0xc2, 0xc3, 0xb5, 0x33, 0x96, 0xa4, 0x98, 0x83, 0x49, 0x7f,
        ],
    ),
];

/// What a frame holds unless its receiver says otherwise (RFC 9113 §4.2).
const MAX_BLOCK_BYTES: usize = 16384;
/// A status has three.
const MAX_DIGITS: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(block: &[u8], body: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        push_frame(&mut bytes, SETTINGS, 0, 0, &[]);
        push_frame(&mut bytes, HEADERS, END_HEADERS, STREAM, block);
        push_frame(&mut bytes, DATA, END_STREAM, STREAM, body);
        bytes
    }

    fn status_of(block: &[u8]) -> Option<u16> {
        parse(&answer(block, b"")).map(|answer| answer.status)
    }

    #[test]
    fn status_is_read_however_it_is_written() {
        for (block, status) in [
            (&[0x88][..], 200),
            (&[0x8c], 400),
            (&[0x20, 0x8c], 400),
            (b"\x08\x03403", 403),
            (b"\x48\x03421", 421),
            // RFC 7541 C.6.1: 302, and 403, 496, 200 in the same code.
            (&[0x48, 0x82, 0x64, 0x02], 302),
            (&[0x48, 0x83, 0x68, 0x0c, 0xff], 403),
            (&[0x48, 0x83, 0x69, 0xf7, 0x3f], 496),
            (&[0x48, 0x82, 0x10, 0x01], 200),
            (b"\x00\x07:status\x03495", 495),
        ] {
            assert_eq!(status_of(block), Some(status), "{block:02x?}");
        }
    }

    #[test]
    fn what_is_no_status_is_none() {
        for block in [
            &[][..],
            &[0x82],
            &[0xff],
            &[0x48],
            b"\x48\x03abc",
            b"\x48\x7f403",
            b"\x04\x01/",
            &[0xff, 0xff, 0xff, 0xff, 0xff],
        ] {
            assert_eq!(status_of(block), None, "{block:02x?}");
        }
        assert_eq!(parse(b""), None);
        assert_eq!(parse(b"HTTP/1.1 400 Bad Request\r\n\r\n"), None);
    }

    fn is_login(block: &[u8]) -> bool {
        let read = parse(&answer(block, b"")).expect("an answer");
        read.challenge.is_some()
    }

    #[test]
    fn login_is_seen_however_its_header_is_written() {
        let huffman = [WWW_AUTHENTICATE_NAMES[1].1, b"\x81\x1f"].concat();
        for fields in [
            &b"\x0f\x2e\x05Basic"[..],
            b"\x7d\x05Basic",
            b"\x00\x10www-authenticate\x05Basic",
            b"\x40\x10www-authenticate\x05Basic",
            &[&b"\x00\x8c"[..], &huffman].concat(),
            // Behind others: content-type, server.
            &[&b"\x5f\x82\xff\xff\x76\x01x\x00\x8c"[..], &huffman].concat(),
        ] {
            let block = [b"\x08\x03401", fields].concat();
            assert!(is_login(&block), "{block:02x?}");
        }
    }

    #[test]
    fn answer_without_the_header_is_no_login() {
        for block in [
            &b"\x08\x03401"[..],
            b"\x08\x03401\x5f\x82\xff\xff\x76\x01x\x90",
            b"\x08\x03401\x00\x01x\x10www-authenticate",
            // Not 401.
            b"\x88\x7d\x05Basic",
            b"\x08\x03403\x7d\x05Basic",
        ] {
            assert!(!is_login(block), "{block:02x?}");
        }
    }

    #[test]
    fn headers_that_cannot_be_read_to_their_end_may_ask_for_a_login() {
        for fields in [
            &b"\x80"[..],
            b"\xbe",
            b"\x7e\x01x",
            b"\x20",
            b"\x00",
            b"\x00\x7fx",
            b"\x76\x7fx",
            b"\xff\xff\xff\xff\xff",
        ] {
            let block = [b"\x08\x03401", fields].concat();
            assert!(is_login(&block), "{block:02x?}");
        }
        let mut continued = Vec::new();
        push_frame(&mut continued, HEADERS, 0, STREAM, b"\x08\x03401");
        push_frame(&mut continued, DATA, END_STREAM, STREAM, b"");
        assert!(parse(&continued).unwrap().challenge.is_some());
    }

    #[test]
    fn page_is_read_and_bounded_and_padding_is_not_part_of_it() {
        let mut bytes = answer(&[0x8c], b"No required SSL certificate was sent");
        assert!(is_whole(&bytes));
        let read = parse(&bytes).unwrap();
        assert_eq!(read.body, "No required SSL certificate was sent");
        bytes.pop();
        assert!(!is_whole(&bytes), "the last frame is not there in full");
        let mut padded = Vec::new();
        push_frame(&mut padded, HEADERS, END_HEADERS, STREAM, &[0x88]);
        push_frame(&mut padded, DATA, PADDED, STREAM, b"\x02ok..");
        push_frame(&mut padded, DATA, 0, STREAM, &vec![b'x'; 16384]);
        let read = parse(&padded).unwrap();
        assert!(read.body.starts_with("okxx") && read.body.len() == MAX_EXCERPT_BYTES);
        assert!(!is_whole(&padded));
    }

    #[test]
    fn request_is_one_frame_whose_length_is_right_and_cannot_be_split() {
        let request = HttpRequest {
            path: format!("/{}\r\n", "a".repeat(300)),
            host: "a.example:8443".to_owned(),
        };
        let bytes = get(&request);
        let frames: Vec<Frame<'_>> = Frames(&bytes[24..]).collect();
        assert_eq!(
            frames.iter().map(|frame| frame.kind).collect::<Vec<_>>(),
            [SETTINGS, HEADERS]
        );
        let used: usize = frames.iter().map(|frame| 9 + frame.payload.len()).sum();
        assert_eq!(24 + used, bytes.len());
        // 301 letters: 127 in the prefix, 174 behind it as 0xae 0x01.
        assert!(frames[1].payload[2..].starts_with(&[0x04, 0x7f, 0xae, 0x01, b'/', b'a']));
        assert!(!frames[1].payload.contains(&b'\r'));
    }
}
