//! Access events: one a request, one a tunnel, at debug level in the target `access`. What is not asked for costs nothing.

use std::borrow::Cow;
use std::cell::Cell;

use countersign_tls::acceptor::Session;
use http::request::Parts;
use http::{StatusCode, Uri};
use tokio::time::Instant;

use crate::exchange::Caller;
use crate::host;
use crate::refusals::printable;

fn is_asked_for() -> bool {
    tracing::enabled!(target: "access", tracing::Level::DEBUG)
}

fn milliseconds_since(begun: Instant) -> u64 {
    u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX)
}

/// A request that is under way.
pub(crate) struct RequestEvent {
    begun: Instant,
    method: http::Method,
    host: String,
    uri: Uri,
}

impl RequestEvent {
    /// `None`: nobody asked for it.
    pub(crate) fn begin(request: &Parts) -> Option<Self> {
        is_asked_for().then(|| {
            let host = host::written(&request.uri, &request.headers);
            Self {
                begun: Instant::now(),
                method: request.method.clone(),
                host: host.map_or_else(
                    |_| String::new(),
                    |host| shown(&String::from_utf8_lossy(host)).into_owned(),
                ),
                uri: request.uri.clone(),
            }
        })
    }

    pub(crate) fn end(self, caller: &Caller, status: StatusCode) {
        let (session, view) = (&caller.session, caller.view());
        let client = view.shown_client.get_or_init(|| ShownClient::new(session));
        tracing::debug!(
            target: "access",
            listener = caller.listener.name,
            src.addr = %client.source,
            src.front = session.front.map(tracing::field::display),
            src.id = client.id.as_deref(),
            tls = session.protocol,
            resumed = session.resumed,
            shadow.certificate = session.shadow.as_ref().map(printable),
            method = %self.method,
            host = self.host,
            path = &*shown(self.uri.path()),
            status = status.as_u16(),
            duration_ms = milliseconds_since(self.begun),
            "request"
        );
    }
}

/// What the lines of a connection's requests have in common.
pub(crate) struct ShownClient {
    source: String,
    id: Option<String>,
}

impl ShownClient {
    fn new(session: &Session) -> Self {
        let peer = session.peer.as_ref();
        Self {
            source: session.source.to_string(),
            id: peer.map(|peer| printable(peer.principal())),
        }
    }
}

/// What [`printable`] makes of it, which of most is the same.
fn shown(text: &str) -> Cow<'_, str> {
    let is_plain = |byte| matches!(byte, b' '..=b'~') && byte != b'\\';
    if text.len() <= PLAIN_BYTES && text.bytes().all(is_plain) {
        Cow::Borrowed(text)
    } else {
        Cow::Owned(printable(text))
    }
}

/// Short enough for [`printable`] to cut nothing.
const PLAIN_BYTES: usize = 256;

/// How a tunnel ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TunnelEnd {
    /// Both sides said that they are done.
    Ended,
    /// One of them broke off.
    Broken,
    /// Access was withdrawn, here or by a reload, or the upstream's certificate is good no more.
    Cut,
    /// This process stops.
    Drained,
    /// No byte for too long.
    Idle,
}

impl TunnelEnd {
    fn as_str(self) -> &'static str {
        match self {
            Self::Ended => "ended",
            Self::Broken => "broken",
            Self::Cut => "cut",
            Self::Drained => "drained",
            Self::Idle => "idle",
        }
    }
}

/// A tunnel that is open.
pub(crate) struct TunnelEvent(Option<Instant>);

impl TunnelEvent {
    pub(crate) fn begin() -> Self {
        Self(is_asked_for().then(Instant::now))
    }

    pub(crate) fn end(self, caller: &Caller, end: TunnelEnd, passed: &Passed) {
        let Some(begun) = self.0 else { return };
        let session = &caller.session;
        tracing::debug!(
            target: "access",
            listener = caller.listener.name,
            src.addr = %session.source,
            src.front = session.front.map(tracing::field::display),
            src.id = session.peer.as_ref().map(|peer| printable(peer.principal())),
            tls = session.protocol,
            resumed = session.resumed,
            shadow.certificate = session.shadow.as_ref().map(printable),
            sni = session.sni.as_ref().map(ToString::to_string),
            end = end.as_str(),
            received_bytes = passed.received.get(),
            sent_bytes = passed.sent.get(),
            duration_ms = milliseconds_since(begun),
            "connection"
        );
    }
}

/// Bytes of a connection, inside TLS: all of them, what came before the tunnel included.
#[derive(Debug, Default)]
pub(crate) struct Passed {
    received: Cell<u64>,
    sent: Cell<u64>,
}

impl Passed {
    pub(crate) fn note_received(&self, count: usize) {
        add(&self.received, count);
    }

    pub(crate) fn note_sent(&self, count: usize) {
        add(&self.sent, count);
    }
}

fn add(sum: &Cell<u64>, count: usize) {
    sum.set(
        sum.get()
            .saturating_add(u64::try_from(count).unwrap_or(u64::MAX)),
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shown_is_what_is_printable() {
        let long = "x".repeat(1000);
        for text in [
            "",
            "/",
            "/orders/1?a=\"b\"",
            "a\\b",
            "a\nb",
            "a\u{1b}[2J",
            "a\u{7f}b",
            "\u{fc}",
            "a\u{202e}b",
            &long,
            &long[..PLAIN_BYTES],
            &long[..=PLAIN_BYTES],
        ] {
            assert_eq!(shown(text), printable(text), "{text:?}");
        }
    }
}
