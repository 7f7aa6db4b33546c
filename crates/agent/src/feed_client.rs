//! The node's end of the feed port: one stream to hear, and short calls to say something.
//!
//! Whatever comes from the authority is bounded in size and time all the same: a connection that is slow, endless or
//! garbled is given up, and the node goes on with what it holds.

use std::collections::VecDeque;
use std::error::Error as StdError;
use std::time::Duration;

use bytes::Bytes;
use countersign_diagnose::refusal::Refusal;
use countersign_pki::feed::port::{
    ACKNOWLEDGEMENT, CERTIFICATE, Certified, FEED, IDEMPOTENCY_KEY, IN_FLIGHT, LEAVE, Leaving,
    ListenerCertificate, NextCertificate, RENEW, Refused,
};
use countersign_pki::feed::{
    AcknowledgementOf, Assembly, EventStream, EventTooLong, Frame, Garbled, HistoryId, Revoked,
    Sequence, Told,
};
use countersign_tls::connector::Connector;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde::Serialize;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout, timeout_at};

/// Speaks to one authority as one node.
#[derive(Debug)]
pub struct FeedClient {
    connector: Connector,
}

impl FeedClient {
    /// Over connections of `connector`.
    pub fn new(connector: Connector) -> Self {
        Self { connector }
    }

    /// `host:port`.
    pub fn target(&self) -> String {
        self.connector.target()
    }

    /// Begins to hear, after the place that is held; holding nothing, with everything.
    pub async fn hear(
        &self,
        held: Option<(&HistoryId, Sequence)>,
    ) -> Result<FeedStream, FeedError> {
        let path = match held {
            // Histories are base64url by birth; anything else would not be heard as what it is.
            Some((history, after)) if is_plain(&history.0) => {
                format!("{FEED}?history={}&after={}", history.0, after.0)
            }
            _ => FEED.to_owned(),
        };
        let (response, line) = self
            .exchange(Method::GET, &path, Bytes::new(), None)
            .await?;
        let response = accepted(response).await?;
        Ok(FeedStream {
            body: response.into_body(),
            line,
            events: EventStream::default(),
            assembly: Assembly::default(),
            told: VecDeque::new(),
            begun_at: Instant::now(),
            heard_at: Instant::now(),
        })
    }

    /// Says that everything up to a message is in force here.
    pub async fn acknowledge(&self, said: &AcknowledgementOf) -> Result<(), FeedError> {
        self.say(ACKNOWLEDGEMENT, said).await.map(drop)
    }

    /// Says that this node ends.
    pub async fn leave(&self, place: u64) -> Result<(), FeedError> {
        self.say(LEAVE, &Leaving { place }).await.map(drop)
    }

    /// Asks for the node's own next certificate. `key`: of this request and no other, visible ASCII, so that it can be made
    /// again.
    pub async fn renew(&self, csr: String, key: &str) -> Result<Certified, FeedError> {
        certified(&self.ask_once(RENEW, &NextCertificate { csr }, key).await?)
    }

    /// Asks for a certificate for listeners. `key`: likewise.
    pub async fn certify(
        &self,
        asked: &ListenerCertificate,
        key: &str,
    ) -> Result<Certified, FeedError> {
        certified(&self.ask_once(CERTIFICATE, asked, key).await?)
    }

    /// Asks, and asks the same again where no answer came: the key stands for one certificate.
    async fn ask_once(
        &self,
        path: &str,
        what: &impl Serialize,
        key: &str,
    ) -> Result<Bytes, FeedError> {
        let begun = Instant::now();
        let mut pause = FIRST_PAUSE;
        let mut may_be_heard = false;
        loop {
            let answer = self.say_under(path, what, Some(key)).await;
            let again = match &answer {
                Err(FeedError::Broken(_) | FeedError::Silent { .. }) => true,
                // The authority that broke off may come back.
                Err(FeedError::Connect(_)) => may_be_heard,
                Err(error) => error.is_in_flight() || error.is_passing(),
                Ok(_) => false,
            };
            if !again || begun.elapsed() > PATIENCE {
                return answer;
            }
            may_be_heard = true;
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// The name and the reason of what is behind an error of a stream of this client.
    pub fn explain(&self, error: FeedError) -> FeedError {
        match error {
            FeedError::Broken(broken) => match self.connector.refusal_behind(&broken) {
                Some(refusal) => FeedError::Connect(refusal),
                None => FeedError::Broken(broken),
            },
            other => other,
        }
    }

    async fn say(&self, path: &str, what: &impl Serialize) -> Result<Bytes, FeedError> {
        self.say_under(path, what, None).await
    }

    async fn say_under(
        &self,
        path: &str,
        what: &impl Serialize,
        key: Option<&str>,
    ) -> Result<Bytes, FeedError> {
        let body = serde_json::to_vec(what).expect("what nodes say is JSON");
        let body = Bytes::from(body);
        let (response, _line) = self.exchange(Method::POST, path, body, key).await?;
        let response = accepted(response).await?;
        read(response.into_body()).await
    }

    /// Sends on a connection of its own; its head is waited for, not its body.
    async fn exchange(
        &self,
        method: Method,
        path: &str,
        body: Bytes,
        key: Option<&str>,
    ) -> Result<(Response<Incoming>, Line), FeedError> {
        let connected = self.connector.connect().await.map_err(FeedError::Connect)?;
        let exchange = async {
            let (mut sender, connection) = http1::Builder::new()
                .max_buf_size(MAX_HEAD_BYTES)
                .handshake(TokioIo::new(connected.stream))
                .await
                .map_err(FeedError::Broken)?;
            let mut line = Line(tokio::spawn(connection));
            let mut request = Request::builder()
                .method(method)
                .uri(path)
                .header(header::HOST, self.connector.target())
                .header(header::CONTENT_TYPE, "application/json");
            if let Some(key) = key {
                request = request.header(IDEMPOTENCY_KEY, format!("\"{key}\""));
            }
            let request = request
                .body(Full::new(body))
                .expect("a path of ours and the host of a URL that was read");
            match sender.send_request(request).await {
                Ok(response) => Ok((response, line)),
                // Why the connection ended is known to it, not to who sends on it.
                Err(error) => match timeout(LAST_WORDS, &mut line.0).await {
                    Ok(Ok(Err(of_connection))) => Err(FeedError::Broken(of_connection)),
                    _ => Err(FeedError::Broken(error)),
                },
            }
        };
        timeout(ANSWER_TIMEOUT, exchange)
            .await
            .map_err(|_| FeedError::Silent {
                limit: ANSWER_TIMEOUT,
            })?
            .map_err(|error| self.explain(error))
    }
}

/// What the authority tells, from a beginning on.
#[derive(Debug)]
pub struct FeedStream {
    body: Incoming,
    line: Line,
    events: EventStream,
    assembly: Assembly,
    told: VecDeque<Told>,
    begun_at: Instant,
    heard_at: Instant,
}

impl FeedStream {
    /// What is told next. `wanted`: of a snapshot's revocations, which shall be kept. After an error there is nothing more.
    /// Cancel-safe.
    pub async fn next(&mut self, wanted: impl Fn(&Revoked) -> bool) -> Result<Told, FeedError> {
        loop {
            if let Some(told) = self.told.pop_front() {
                return Ok(told);
            }
            let silent = self.heard_at + SILENCE_LIMIT;
            let (end, limit) = match self.assembly.opening() {
                Some(_) if self.begun_at + SNAPSHOT_LIMIT < silent => {
                    (self.begun_at + SNAPSHOT_LIMIT, SNAPSHOT_LIMIT)
                }
                _ => (silent, SILENCE_LIMIT),
            };
            let frame = timeout_at(end, self.body.frame())
                .await
                .map_err(|_| FeedError::Silent { limit })?;
            let bytes = match frame {
                Some(Ok(frame)) => frame.into_data().unwrap_or_default(),
                Some(Err(error)) => return Err(FeedError::Broken(error)),
                None => return Err(FeedError::Ended),
            };
            let Self {
                events,
                assembly,
                told,
                ..
            } = self;
            events.push(&bytes, |data| {
                let frame: Frame = serde_json::from_slice(data)?;
                told.extend(assembly.take(frame, &wanted)?);
                Ok::<(), FeedError>(())
            })?;
            // Only what is told counts as a sign of life: a trickle of empty lines does not.
            if !self.told.is_empty() || self.assembly.opening().is_some() {
                self.heard_at = Instant::now();
            }
        }
    }

    /// Whether the connection has ended.
    pub fn is_over(&self) -> bool {
        self.line.0.is_finished()
    }
}

/// Drives a connection until dropped.
#[derive(Debug)]
struct Line(JoinHandle<Result<(), hyper::Error>>);

impl Drop for Line {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Why the feed is not heard, or what was said not taken.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FeedError {
    /// The connection broke.
    #[error("the connection broke: {}", with_sources(.0))]
    Broken(hyper::Error),
    /// No connection: its cause and sentence say why.
    #[error("{} ({})", .0.sentence(), .0.cause)]
    Connect(Box<Refusal>),
    /// The authority ended the stream: this node was too slow, another has its certificate, or it drains.
    #[error("the authority ended the feed")]
    Ended,
    /// Frames out of place.
    #[error("the feed cannot be understood: {0}")]
    Garbled(#[from] Garbled),
    /// What is told is unknown to this version, or no JSON.
    #[error("the feed tells something that this version does not know: {0}")]
    Malformed(#[from] serde_json::Error),
    /// The authority says no.
    #[error("the authority refuses it ({status}): {detail}")]
    Refused {
        /// The HTTP status.
        status: u16,
        /// Its words.
        detail: String,
        /// What to do.
        hint: Option<String>,
        /// Of which kind (RFC 9457 §3.1.1).
        kind: Option<String>,
    },
    /// Nothing comes, or a snapshot without end.
    #[error("the authority has told nothing whole for {} s", .limit.as_secs())]
    Silent {
        /// How long it had.
        limit: Duration,
    },
    /// An event without end.
    #[error(transparent)]
    TooLong(#[from] EventTooLong),
}

impl FeedError {
    /// What to do, where that is known.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Connect(refusal) => Some(refusal.fix().to_owned()),
            Self::Malformed(_) => Some("upgrade this node to the authority's version".to_owned()),
            Self::Refused { hint, .. } => hint.clone(),
            _ => None,
        }
    }

    /// Whether the same request is being answered still (RFC 9110 §15.5.10).
    fn is_in_flight(&self) -> bool {
        matches!(self, Self::Refused { status: 409, kind, .. } if kind.as_deref() == Some(IN_FLIGHT))
    }

    /// Whether the same request may be answered in a moment: too slow, too early, too many, or something before the authority that does not
    /// reach it (RFC 9110 §15.5.9, §15.6.3 ff., RFC 8470 §5.2, RFC 6585 §4). What the authority says of itself with 503 lasts longer.
    fn is_passing(&self) -> bool {
        matches!(
            self,
            Self::Refused {
                status: 408 | 425 | 429 | 502 | 504,
                ..
            }
        )
    }

    /// Whether the authority has said no, so that there is nothing to ask again.
    pub fn is_refusal(&self) -> bool {
        matches!(
            self,
            Self::Refused {
                status: 400..=499,
                ..
            }
        ) && !self.is_in_flight()
            && !self.is_passing()
    }

    /// Whether the next stream has to begin with a snapshot: what could not be read may have been a withdrawal.
    pub fn needs_snapshot(&self) -> bool {
        matches!(
            self,
            Self::Garbled(_) | Self::Malformed(_) | Self::TooLong(_)
        )
    }
}

async fn accepted(response: Response<Incoming>) -> Result<Response<Incoming>, FeedError> {
    let status = response.status();
    if status == StatusCode::OK || status == StatusCode::NO_CONTENT {
        return Ok(response);
    }
    let body = read(response.into_body()).await.unwrap_or_default();
    let refused = serde_json::from_slice::<Refused>(&body).unwrap_or_else(|_| Refused {
        detail: "it does not say why".to_owned(),
        hint: None,
        kind: None,
    });
    Err(FeedError::Refused {
        status: status.as_u16(),
        detail: refused.detail,
        hint: refused.hint,
        kind: refused.kind,
    })
}

async fn read(body: Incoming) -> Result<Bytes, FeedError> {
    let limited = Limited::new(body, MAX_BODY_BYTES).collect();
    let silent = FeedError::Silent {
        limit: ANSWER_TIMEOUT,
    };
    match timeout(ANSWER_TIMEOUT, limited).await {
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
        Ok(Err(error)) => Err(match error.downcast::<hyper::Error>() {
            Ok(error) => FeedError::Broken(*error),
            Err(_) => FeedError::TooLong(EventTooLong),
        }),
        Err(_) => Err(silent),
    }
}

fn certified(body: &[u8]) -> Result<Certified, FeedError> {
    Ok(serde_json::from_slice(body)?)
}

fn is_plain(history: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte);
    !history.is_empty() && history.bytes().all(plain)
}

/// hyper says what went wrong in the sources of its errors.
fn with_sources(error: &hyper::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(source) = next {
        text = format!("{text}: {source}");
        next = source.source();
    }
    text
}

/// The authority confirms the feed each 10 s: three are missed.
const SILENCE_LIMIT: Duration = Duration::from_secs(35);

/// Four million revocations, some 800 MB, over a slow line.
const SNAPSHOT_LIMIT: Duration = Duration::from_mins(10);

/// From the finished handshake to the head of an answer; issuing may wait for the CA key to be unsealed.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

/// As long as a process takes to start again.
const PATIENCE: Duration = Duration::from_secs(20);
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// A connection that has failed says so at once.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// Status line and a handful of headers.
const MAX_HEAD_BYTES: usize = 64 * 1024;

/// A chain of certificates, or a problem.
const MAX_BODY_BYTES: usize = 256 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_passes_by_itself_is_no_refusal() {
        let answered = |status, kind: Option<&str>| FeedError::Refused {
            status,
            detail: String::new(),
            hint: None,
            kind: kind.map(str::to_owned),
        };
        for status in [400, 401, 403, 404, 409, 410, 422] {
            let error = answered(status, None);
            assert!(error.is_refusal() && !error.is_passing(), "{status}");
        }
        for status in [408, 425, 429, 502, 504] {
            let error = answered(status, None);
            assert!(!error.is_refusal() && error.is_passing(), "{status}");
        }
        for status in [500, 503] {
            assert!(!answered(status, None).is_refusal(), "{status}");
        }
        assert!(!answered(409, Some(IN_FLIGHT)).is_refusal());
    }
}
