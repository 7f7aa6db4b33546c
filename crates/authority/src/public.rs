//! The public listener: revocation lists, OCSP answers and CA certificates over plain HTTP/1.1, and nothing else.
//!
//! It has a thread of its own, so that no flood of it keeps a revocation or a renewal waiting. Whoever asks is nobody: the
//! sizes, times and numbers of everything are bounded here, and the work that it may cause in [`crate::publish`].

use std::convert::Infallible;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use countersign_pki::ocsp::{MALFORMED_REQUEST, MAX_REQUEST_BYTES, OcspRequest};
use countersign_runtime::accept::{ConnectionLimit, accept_loop};
use countersign_runtime::drain::Drain;
use countersign_runtime::listen::{BindError, bind};
use countersign_runtime::workers::Workers;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::header::{ALLOW, CONTENT_TYPE, HOST, RETRY_AFTER};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpStream;
use tokio::time::timeout;

use self::sources::Sources;
use crate::publish::{Document, OcspAnswer, Publication};

mod caching;
mod sources;

/// A public listener that is bound.
pub struct PublicListener {
    address: SocketAddr,
    listener: TcpListener,
}

impl PublicListener {
    /// Binds `address`; whoever connects waits until it is served.
    pub fn bind(address: SocketAddr) -> Result<Self, BindError> {
        let other = |reason| BindError::Other {
            addr: address,
            reason,
        };
        let listener = bind(address, false, BACKLOG)?;
        Ok(Self {
            address: listener.local_addr().map_err(other)?,
            listener,
        })
    }

    /// As bound.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves on a thread of its own until the drain has ended.
    pub fn serve(self, publication: Arc<Publication>, drain: Drain) -> io::Result<Workers> {
        let Self { listener, .. } = self;
        Workers::spawn("public", 1, move |_| {
            let (listener, publication, drain) = (
                listener.try_clone(),
                Arc::clone(&publication),
                drain.clone(),
            );
            async move {
                match listener.and_then(tokio::net::TcpListener::from_std) {
                    Ok(listener) => accept(listener, publication, drain).await,
                    Err(error) => {
                        tracing::error!(target: "public", %error, "public listener cannot be used");
                    }
                }
            }
        })
    }
}

async fn accept(listener: tokio::net::TcpListener, publication: Arc<Publication>, drain: Drain) {
    let limit = ConnectionLimit::new(MAX_CONNECTIONS);
    let (draining, sources) = (drain.clone(), Sources::default());
    accept_loop(listener, limit, drain, move |stream, peer, permit| {
        let (publication, draining) = (Arc::clone(&publication), draining.clone());
        let place = sources.take(peer.ip());
        async move {
            let _permit = permit;
            let Some(_place) = place else {
                tracing::debug!(target: "public", source = %peer.ip(), "source has too many public connections");
                return;
            };
            serve_connection(stream, publication, draining).await;
        }
    })
    .await;
}

async fn serve_connection(stream: TcpStream, publication: Arc<Publication>, drain: Drain) {
    let service = service_fn(move |request: Request<Incoming>| {
        let publication = Arc::clone(&publication);
        async move { Ok::<_, Infallible>(answer(request, &publication).await) }
    });
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_LIMIT)
        .max_buf_size(MAX_HEADERS)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = std::pin::pin!(connection);
    let served = async {
        tokio::select! {
            ended = &mut connection => return ended,
            () = drain.draining() => {}
        }
        connection.as_mut().graceful_shutdown();
        connection.await
    };
    match timeout(CONNECTION_LIMIT, served).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(target: "public", %error, "public connection broke"),
        Err(_) => tracing::debug!(target: "public", "public connection was open for too long"),
    }
}

async fn answer(request: Request<Incoming>, publication: &Publication) -> Response<Full<Bytes>> {
    let path = request.uri().path().to_owned();
    match (publication.ocsp_request(&path), request.method()) {
        (Some(rest), &Method::GET | &Method::HEAD) => {
            // RFC 5019 §5: the request is what follows the slash behind the responder's URL.
            let asked = OcspRequest::parse_get(rest.strip_prefix('/').unwrap_or(rest));
            answer_ocsp(&request, publication, asked.ok()).await
        }
        (Some(_), &Method::POST) => match posted(request).await {
            Ok((request, body)) => {
                answer_ocsp(&request, publication, OcspRequest::parse(&body).ok()).await
            }
            Err((status, why)) => refusal(status, why),
        },
        (Some(_), _) => not_allowed("GET, HEAD, POST"),
        (None, &Method::GET | &Method::HEAD) => {
            let host = request
                .uri()
                .authority()
                .map(hyper::http::uri::Authority::as_str);
            let host = host.or_else(|| request.headers().get(HOST)?.to_str().ok());
            match publication.document(host, &path) {
                Some(document) => lying_there(&request, publication, &document),
                None => refusal(
                    StatusCode::NOT_FOUND,
                    "there is no revocation list and no CA certificate at this path\n",
                ),
            }
        }
        (None, _) => not_allowed("GET, HEAD"),
    }
}

fn lying_there<B>(
    request: &Request<B>,
    publication: &Publication,
    document: &Document,
) -> Response<Full<Bytes>> {
    if document.is_over(publication.now()) {
        // Verifiers refuse it anyway; a proxy must not keep it.
        let mut response = refusal(
            StatusCode::SERVICE_UNAVAILABLE,
            "the list has passed its nextUpdate and could not be signed anew\n",
        );
        let retry = hyper::header::HeaderValue::from_static("60");
        response.headers_mut().insert(RETRY_AFTER, retry);
        return response;
    }
    caching::answer(request, document, publication.now())
}

async fn answer_ocsp<B>(
    request: &Request<B>,
    publication: &Publication,
    asked: Option<OcspRequest>,
) -> Response<Full<Bytes>> {
    let answer = match asked {
        Some(asked) => publication.answer(&asked).await,
        None => OcspAnswer::Not(MALFORMED_REQUEST),
    };
    match answer {
        // RFC 5019 §6.1: what is posted is not cached.
        OcspAnswer::ForAll(document) if request.method() != Method::POST => {
            caching::answer(request, &document, publication.now())
        }
        OcspAnswer::ForAll(document) | OcspAnswer::ForOne(document) => {
            caching::not_cached(document.media_type, document.body)
        }
        OcspAnswer::Not(why) => {
            caching::not_cached("application/ocsp-response", Bytes::copy_from_slice(&why))
        }
    }
}

/// The body of an OCSP request, within its bounds.
async fn posted(
    request: Request<Incoming>,
) -> Result<(Request<()>, Bytes), (StatusCode, &'static str)> {
    let (head, body) = request.into_parts();
    let media_type = head
        .headers
        .get(CONTENT_TYPE)
        .map(hyper::header::HeaderValue::as_bytes);
    if media_type != Some(b"application/ocsp-request") {
        return Err((
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "an OCSP request has Content-Type application/ocsp-request\n",
        ));
    }
    let body = Limited::new(body, MAX_REQUEST_BYTES).collect();
    match timeout(BODY_LIMIT, body).await {
        Ok(Ok(body)) => Ok((Request::from_parts(head, ()), body.to_bytes())),
        Ok(Err(_)) => Err((
            StatusCode::PAYLOAD_TOO_LARGE,
            "an OCSP request has at most 4096 bytes here\n",
        )),
        Err(_) => Err((StatusCode::REQUEST_TIMEOUT, "the request did not arrive\n")),
    }
}

fn not_allowed(methods: &'static str) -> Response<Full<Bytes>> {
    let mut response = refusal(
        StatusCode::METHOD_NOT_ALLOWED,
        "this path has no such method\n",
    );
    let methods = hyper::header::HeaderValue::from_static(methods);
    response.headers_mut().insert(ALLOW, methods);
    response
}

fn refusal(status: StatusCode, why: &'static str) -> Response<Full<Bytes>> {
    let mut response = caching::not_cached("text/plain", Bytes::from_static(why.as_bytes()));
    *response.status_mut() = status;
    response
}

/// Thousands of verifiers fetch within seconds and go; those who stay cost 16 KiB each.
const MAX_CONNECTIONS: usize = 1024;

/// Those who connect while all places are taken.
const BACKLOG: u32 = 1024;

/// The longest OCSP request by GET has 2 KiB, and clients send few headers. hyper takes no less than 8 KiB.
const MAX_HEADERS: usize = 16 * 1024;

/// Also how long an idle connection is kept.
const HEADER_LIMIT: Duration = Duration::from_secs(10);

/// For 4 KiB.
const BODY_LIMIT: Duration = Duration::from_secs(5);

/// A list of 50 MiB at 4 Mbit/s.
const CONNECTION_LIMIT: Duration = Duration::from_mins(2);
