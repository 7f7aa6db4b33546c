//! An HTTP connection through the gateway that stays open, with its end in sight, and bodies sent piece by piece.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use countersign_testkit::bypass::Protocol;
use countersign_testkit::client::{Client, Outcome, failed};
use http::{Method, Request, Response};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Empty, Full};
use hyper::body::{Body, Frame, Incoming};
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::crypto::SupportedKxGroup;
use rustls::{HandshakeKind, NamedGroup};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

/// What requests carry.
pub(crate) type Sent = BoxBody<Bytes, Infallible>;

/// An open connection.
pub(crate) struct Connection {
    sender: Sender,
    driver: JoinHandle<hyper::Result<()>>,
    handshake: Handshake,
}

/// How the connection came about.
#[derive(Clone, Debug)]
pub(crate) struct Handshake {
    /// A session was resumed.
    pub(crate) resumed: bool,
    /// Of the key exchange; a resumed TLS 1.2 session has none.
    pub(crate) group: Option<NamedGroup>,
    /// What the gateway presented, leaf first.
    pub(crate) server: Vec<u8>,
}

enum Sender {
    Http1(http1::SendRequest<Sent>),
    Http2(http2::SendRequest<Sent>),
}

impl Sender {
    async fn ready(&mut self) -> hyper::Result<()> {
        match self {
            Self::Http1(sender) => sender.ready().await,
            Self::Http2(sender) => sender.ready().await,
        }
    }

    async fn send(&mut self, request: Request<Sent>) -> hyper::Result<Response<Incoming>> {
        self.ready().await?;
        match self {
            Self::Http1(sender) => sender.send_request(in_origin_form(request)).await,
            Self::Http2(sender) => sender.send_request(request).await,
        }
    }
}

/// Waits until the connection's task has ended.
async fn over(driver: &JoinHandle<hyper::Result<()>>) {
    while !driver.is_finished() {
        sleep(LAST_WORD / 20).await;
    }
}

impl Connection {
    /// Connects with the client's protocol.
    pub(crate) async fn open(
        client: &Client,
        protocol: Protocol,
        gateway: SocketAddr,
    ) -> Result<Self, Outcome> {
        let stream = client
            .connect(gateway)
            .await
            .map_err(|error| failed(&error))?;
        let tls = stream.get_ref().1;
        let handshake = Handshake {
            resumed: tls.handshake_kind() == Some(HandshakeKind::Resumed),
            group: tls
                .negotiated_key_exchange_group()
                .map(SupportedKxGroup::name),
            server: tls
                .peer_certificates()
                .and_then(|chain| chain.first())
                .map(|leaf| leaf.to_vec())
                .unwrap_or_default(),
        };
        let io = TokioIo::new(stream);
        let (sender, driver) = if protocol == Protocol::Http2Tls13 {
            let (sender, connection) = http2::handshake(TokioExecutor::new(), io)
                .await
                .map_err(|error| failed(&error))?;
            (Sender::Http2(sender), tokio::spawn(connection))
        } else {
            let (sender, connection) =
                http1::handshake(io).await.map_err(|error| failed(&error))?;
            (Sender::Http1(sender), tokio::spawn(connection))
        };
        Ok(Self {
            sender,
            driver,
            handshake,
        })
    }

    /// How it came about.
    pub(crate) fn handshake(&self) -> &Handshake {
        &self.handshake
    }

    /// Sends a request made for HTTP/1.1 or HTTP/2 alike; only a hang ends it early.
    pub(crate) async fn send(
        &mut self,
        request: Request<Sent>,
    ) -> hyper::Result<Response<Incoming>> {
        let Self { sender, driver, .. } = self;
        let answered = {
            let mut answer = pin!(sender.send(request));
            tokio::select! {
                biased;
                answered = in_time("an answer", &mut answer) => Some(answered),
                () = over(driver) => timeout(LAST_WORD, answer).await.ok(),
            }
        };
        match answered {
            Some(answered) => answered,
            // hyper can lose a request that one thread hands over while the connection ends on another.
            None => Err(sender.ready().await.expect_err("its connection is over")),
        }
    }

    /// GET: status and body, or how it failed.
    pub(crate) async fn get(&mut self, path: &str) -> Result<(u16, String), String> {
        let response = self
            .send(get(path))
            .await
            .map_err(|error| error.to_string())?;
        let status = response.status().as_u16();
        let body = in_time("the body", response.into_body().collect())
            .await
            .map_err(|error| error.to_string())?;
        Ok((
            status,
            String::from_utf8_lossy(&body.to_bytes()).into_owned(),
        ))
    }

    /// Waits until the other side has ended it.
    pub(crate) async fn ended(self) -> hyper::Result<()> {
        // The sender lives until then: without it hyper would end the connection itself.
        let Self { sender, driver, .. } = self;
        let ended = in_time("the end of the connection", driver)
            .await
            .expect("the connection's task does not panic");
        drop(sender);
        ended
    }
}

/// A request for `localhost`.
pub(crate) fn request(method: Method, path: &str, body: Sent) -> Request<Sent> {
    let uri = format!("https://localhost{path}");
    Request::builder()
        .method(method)
        .uri(uri)
        .body(body)
        .expect("a request")
}

/// GET for `localhost`.
pub(crate) fn get(path: &str) -> Request<Sent> {
    request(Method::GET, path, Empty::new().boxed())
}

/// A body that is known from the start.
pub(crate) fn whole(bytes: impl Into<Bytes>) -> Sent {
    Full::new(bytes.into()).boxed()
}

/// A body whose pieces come from the other end, one in flight at a time. It ends when the other end is dropped.
pub(crate) fn piecewise() -> (mpsc::Sender<Frame<Bytes>>, Sent) {
    let (sender, receiver) = mpsc::channel(1);
    (sender, Pieces(receiver).boxed())
}

/// Fails the test when `what` does not come; nothing else depends on the time.
pub(crate) async fn in_time<T>(what: &str, event: impl Future<Output = T>) -> T {
    timeout(HANG, event)
        .await
        .unwrap_or_else(|_| panic!("{what} did not come within {HANG:?}"))
}

/// The next piece of data of a body; `None` at its end. Trailers are no data.
pub(crate) async fn next_piece(body: &mut Incoming) -> Option<Bytes> {
    loop {
        let frame = in_time("the next piece", body.frame())
            .await?
            .expect("the body is whole");
        let data = frame.into_data().ok()?;
        // HTTP/2 may end a body with an empty frame.
        if !data.is_empty() {
            return Some(data);
        }
    }
}

fn in_origin_form(mut request: Request<Sent>) -> Request<Sent> {
    let uri = request.uri().clone();
    if let (Some(authority), Some(target)) = (uri.authority(), uri.path_and_query()) {
        let host = authority.as_str().parse().expect("a host");
        request.headers_mut().insert(http::header::HOST, host);
        *request.uri_mut() = target.as_str().parse().expect("a path");
    }
    request
}

struct Pieces(mpsc::Receiver<Frame<Bytes>>);

impl Body for Pieces {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0.poll_recv(context).map(|frame| frame.map(Ok))
    }
}

/// What was answered before the end is there by then.
const LAST_WORD: Duration = Duration::from_secs(1);

/// Only catches a hang.
const HANG: Duration = Duration::from_secs(30);
