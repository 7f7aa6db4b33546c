//! The built-in service of `countersign up`: shows callers who the gateway says they are, as an upstream would learn it.

mod page;

use std::fmt::Write;

use countersign_tls::acceptor::Session;
use http::Response;
use http::header::{
    ACCEPT, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderValue, VARY,
};
use http::request::Parts;
use serde::Serialize;

use crate::body::ToClient;

/// What the page, the JSON and the text say.
#[derive(Serialize)]
struct Shown {
    #[serde(skip_serializing_if = "Option::is_none")]
    client: Option<ShownClient>,
    connection: ShownConnection,
    request: ShownRequest,
}

#[derive(Serialize)]
struct ShownClient {
    principal: String,
    bundle: String,
    subject: String,
    serial: String,
    not_after: String,
    fingerprint: String,
}

#[derive(Serialize)]
struct ShownConnection {
    source: String,
    protocol: &'static str,
    http: String,
    resumed: bool,
}

#[derive(Serialize)]
struct ShownRequest {
    method: String,
    path: String,
    /// As they reached the service: a client's own identity headers are not among them.
    headers: Vec<(String, String)>,
}

#[derive(Clone, Copy)]
enum Form {
    Html,
    Json,
    Text,
}

/// `parts` is what an upstream would have got.
pub(crate) fn answer(session: &Session, parts: &Parts) -> Response<ToClient> {
    let shown = Shown::new(session, parts);
    let form = form_of(parts);
    let (text, content_type) = match form {
        Form::Html => (page::html(&shown), "text/html; charset=utf-8"),
        Form::Json => (json(&shown), "application/json"),
        Form::Text => (text(&shown), "text/plain; charset=utf-8"),
    };
    let mut response = Response::new(ToClient::Text(text.into()));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(VARY, HeaderValue::from_static("accept"));
    // Names come from certificates: should one ever get past the escaping, it runs nothing.
    headers.insert(
        CONTENT_SECURITY_POLICY,
        HeaderValue::from_static(
            "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'",
        ),
    );
    response
}

impl Shown {
    fn new(session: &Session, parts: &Parts) -> Self {
        let client = session.peer.as_ref().map(|peer| ShownClient {
            principal: peer.principal().name.to_string(),
            bundle: peer.bundle().to_string(),
            subject: peer.subject().to_string(),
            serial: peer.serial().to_string(),
            not_after: peer.not_after().to_string(),
            fingerprint: peer.fingerprint().to_string(),
        });
        let value = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
        let mut headers: Vec<_> = parts
            .headers
            .iter()
            .map(|(name, content)| (name.to_string(), value(content)))
            .collect();
        headers.sort();
        Self {
            client,
            connection: ShownConnection {
                source: session.source.to_string(),
                protocol: session.protocol,
                http: format!("{:?}", parts.version),
                resumed: session.resumed,
            },
            request: ShownRequest {
                method: parts.method.to_string(),
                path: parts.uri.path().to_owned(),
                headers,
            },
        }
    }
}

fn form_of(parts: &Parts) -> Form {
    let accept = parts
        .headers
        .get(ACCEPT)
        .and_then(|accept| accept.to_str().ok())
        .unwrap_or_default();
    if accept.contains("text/html") {
        Form::Html
    } else if accept.contains("application/json") {
        Form::Json
    } else {
        Form::Text
    }
}

fn json(shown: &Shown) -> String {
    let mut text = serde_json::to_string_pretty(shown).expect("strings only");
    text.push('\n');
    text
}

/// For a terminal: control characters of names and headers are escaped.
fn text(shown: &Shown) -> String {
    let mut text = match &shown.client {
        Some(client) => format!(
            "You are {}, vouched for by the trust bundle {}.\n\n  subject   {}\n  serial    {}\n  not after {}\n",
            visible(&client.principal),
            client.bundle,
            visible(&client.subject),
            client.serial,
            client.not_after
        ),
        None => {
            "You are anonymous: this connection came without a client certificate.\n\n".to_owned()
        }
    };
    let ShownConnection {
        source,
        protocol,
        http,
        resumed,
    } = &shown.connection;
    let session = if *resumed {
        "resumed session"
    } else {
        "full handshake"
    };
    let _ = write!(
        text,
        "  from      {source} over {protocol} ({session}), {http}\n\nWhat a service behind this gateway sees:\n\n"
    );
    let _ = writeln!(
        text,
        "  {} {}",
        shown.request.method,
        visible(&shown.request.path)
    );
    for (name, value) in &shown.request.headers {
        let _ = writeln!(text, "  {name}: {}", visible(&shortened(value)));
    }
    text
}

fn visible(text: &str) -> String {
    crate::refusals::printable(text)
}

/// A certificate in base64 would fill the screen.
fn shortened(value: &str) -> String {
    if value.len() <= MAX_SHOWN {
        return value.to_owned();
    }
    let start: String = value.chars().take(MAX_SHOWN / 2).collect();
    format!("{start}… ({} bytes)", value.len())
}

const MAX_SHOWN: usize = 160;

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) fn hostile() -> Shown {
        Shown {
            client: Some(ShownClient {
                principal: "cn:<script>alert(1)</script>\u{1b}[2J".to_owned(),
                bundle: "internal".to_owned(),
                subject: "CN=<script>alert(1)</script>".to_owned(),
                serial: "4a".to_owned(),
                not_after: "2026-01-02T03:04:05Z".to_owned(),
                fingerprint: "00".to_owned(),
            }),
            connection: ShownConnection {
                source: "192.0.2.1:4711".to_owned(),
                protocol: "TLSv1.3",
                http: "HTTP/2.0".to_owned(),
                resumed: false,
            },
            request: ShownRequest {
                method: "GET".to_owned(),
                path: "/\"><img src=x>".to_owned(),
                headers: vec![
                    ("user-agent".to_owned(), "<b>\u{1b}[2J&amp;".to_owned()),
                    ("client-cert".to_owned(), "x".repeat(5000)),
                ],
            },
        }
    }

    #[test]
    fn names_cannot_take_over_a_terminal() {
        let text = text(&hostile());
        assert!(!text.contains('\u{1b}'), "{text}");
        assert!(
            text.contains("vouched for by the trust bundle internal"),
            "{text}"
        );
        assert!(text.contains("(5000 bytes)"), "{text}");
    }

    #[test]
    fn json_has_every_fact() {
        let read: serde_json::Value = serde_json::from_str(&json(&hostile())).expect("json");
        assert_eq!(read["client"]["bundle"], "internal");
        assert_eq!(read["connection"]["protocol"], "TLSv1.3");
    }
}
