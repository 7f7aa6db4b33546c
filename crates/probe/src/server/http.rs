//! As much HTTP/1.1 as it takes to ask one question and to recognise who answers.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use countersign_diagnose::doctor::target::{HttpAnswer, HttpRequest};

/// The bytes of a GET.
pub(super) fn get(request: &HttpRequest) -> Vec<u8> {
    format!(
        "GET {} HTTP/1.1\r\nHost: {}\r\nUser-Agent: countersign-doctor\r\nAccept: */*\r\nConnection: close\r\n\r\n",
        safe(&request.path),
        safe(&request.host)
    )
    .into_bytes()
}

/// Of a text that somebody typed, what does not end a line or a word.
pub(super) fn safe(text: &str) -> String {
    text.chars()
        .filter(|c| !c.is_control() && *c != ' ')
        .collect()
}

/// Whether there is nothing to wait for any more.
pub(super) fn is_whole(bytes: &[u8]) -> bool {
    if bytes.len() >= MAX_ANSWER_BYTES {
        return true;
    }
    if !b"HTTP/1.".starts_with(&bytes[..bytes.len().min(7)]) && !bytes.is_empty() {
        // Something else: its first bytes say enough.
        return true;
    }
    let Some((head, body)) = split(bytes) else {
        return false;
    };
    let value = |name| header(head, name);
    if matches!(status(head), Some(204 | 304)) {
        return true;
    }
    if let Some(length) = value("content-length").and_then(|length| length.parse::<usize>().ok()) {
        return body.len() >= length.min(MAX_BODY_BYTES);
    }
    if value("transfer-encoding").is_some() {
        return body.ends_with(b"0\r\n\r\n") || body.len() >= MAX_BODY_BYTES;
    }
    // Its end is the connection's.
    body.len() >= MAX_BODY_BYTES
}

/// `None`: it is no answer of HTTP/1.
pub(super) fn parse(bytes: &[u8]) -> Option<HttpAnswer> {
    let (head, body) = split(bytes).unwrap_or((bytes, &[]));
    let status = status(head)?;
    let line = head.split(|&byte| byte == b'\n').next().unwrap_or_default();
    let line = String::from_utf8_lossy(line);
    let value = |name| header(head, name);
    let date = value("date").and_then(|date| httpdate::parse_http_date(&date).ok());
    Some(HttpAnswer {
        status,
        reason: line
            .splitn(3, ' ')
            .nth(2)
            .unwrap_or_default()
            .trim()
            .chars()
            .take(MAX_FIELD_CHARS)
            .collect(),
        server: value("server").as_deref().map(cut),
        clock_ahead_s: date.and_then(ahead),
        location: value("location").as_deref().map(cut),
        challenge: value("www-authenticate").as_deref().map(cut),
        body: String::from_utf8_lossy(&body[..body.len().min(MAX_EXCERPT_BYTES)]).into_owned(),
    })
}

/// By how much another clock is ahead of the system's.
fn ahead(theirs: SystemTime) -> Option<i64> {
    let seconds = |time: SystemTime| time.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    let [theirs, ours] =
        [theirs, SystemTime::now()].map(|time| i64::try_from(seconds(time).as_secs()).ok());
    Some(theirs? - ours?)
}

fn cut(text: &str) -> String {
    text.chars().take(MAX_FIELD_CHARS).collect()
}

fn split(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let at = bytes.windows(4).position(|window| window == b"\r\n\r\n")?;
    Some((&bytes[..at], &bytes[at + 4..]))
}

fn status(head: &[u8]) -> Option<u16> {
    let rest = head.strip_prefix(b"HTTP/1.")?;
    let digits = rest.get(2..5)?;
    let is_separated = rest.get(1) == Some(&b' ');
    let status = std::str::from_utf8(digits).ok()?.parse().ok()?;
    (is_separated && (100..1000).contains(&status)).then_some(status)
}

fn header(head: &[u8], name: &str) -> Option<String> {
    head.split(|&byte| byte == b'\n').skip(1).find_map(|line| {
        let at = line.iter().position(|&byte| byte == b':')?;
        let (known, value) = (&line[..at], &line[at + 1..]);
        known
            .eq_ignore_ascii_case(name.as_bytes())
            .then(|| String::from_utf8_lossy(value.trim_ascii()).into_owned())
    })
}

/// Refusals are short pages; what is larger is somebody's content.
pub(super) const MAX_ANSWER_BYTES: usize = 64 * 1024;
const MAX_BODY_BYTES: usize = 48 * 1024;
pub(super) const MAX_EXCERPT_BYTES: usize = 2048;
const MAX_FIELD_CHARS: usize = 200;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answer_is_read_with_what_tells_servers_apart() {
        let answer = parse(b"HTTP/1.1 400 Bad Request\r\nServer: nginx/1.22.1\r\nDATE: Sun, 06 Nov 1994 08:49:37 GMT\r\n\r\n<center>No required SSL certificate was sent</center>").unwrap();
        assert_eq!((answer.status, &*answer.reason), (400, "Bad Request"));
        assert_eq!(answer.server.as_deref(), Some("nginx/1.22.1"));
        assert!(answer.clock_ahead_s.unwrap() < -900_000_000);
        assert!(answer.body.contains("No required SSL certificate"));
    }

    #[test]
    fn whatever_is_no_answer_is_none() {
        for bytes in [
            &b""[..],
            b"HTTP/1.1",
            b"HTTP/2 200\r\n\r\n",
            b"220 mail ESMTP\r\n",
            b"HTTP/1.1 2x0 OK",
            b"HTTP/1.1x200 OK",
        ] {
            assert_eq!(parse(bytes), None, "{bytes:?}");
        }
    }

    #[test]
    fn answer_is_whole_when_its_length_or_its_last_chunk_says_so() {
        for (bytes, whole) in [
            (&b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"[..], true),
            (b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nhi", false),
            (
                b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
                true,
            ),
            (
                b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n",
                false,
            ),
            (b"HTTP/1.1 204 No Content\r\n\r\n", true),
            (b"HTTP/1.1 200 OK\r\n\r\nhi", false),
            (b"HTTP/1.", false),
            (b"", false),
            (b"\x15\x03\x01", true),
        ] {
            assert_eq!(is_whole(bytes), whole, "{}", bytes.escape_ascii());
        }
    }

    #[test]
    fn request_cannot_be_split_by_what_is_in_it() {
        let request = get(&HttpRequest {
            path: "/a\r\nX: y".to_owned(),
            host: "a b\r\n".to_owned(),
        });
        let text = String::from_utf8(request).unwrap();
        assert!(
            text.starts_with("GET /aX:y HTTP/1.1\r\nHost: ab\r\n"),
            "{text}"
        );
    }
}
