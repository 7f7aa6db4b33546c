//! The one answer that a refused client gets where its listener explains, or where it had to wait for its responder: never more than how a refused request is answered.
//!
//! There is no caller, no route and no upstream here, and nothing of what the client asks is looked at but whether it is gRPC.

use std::cell::Cell;
use std::convert::Infallible;
use std::future::{poll_fn, ready};
use std::pin::pin;
use std::task::Poll;

use countersign_diagnose::cause::Cause;
use countersign_diagnose::refusal::RefusalId;
use countersign_tls::refused_stream::RefusedStream;
use http::{Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper::rt::Executor;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::AsyncWriteExt;

use crate::body::ToClient;
use crate::connection::Served;
use crate::grpc;
use crate::problem::{self, Said};

/// Answers once and closes. The stream ends by itself if the client does not.
pub(super) async fn tell(stream: RefusedStream, cause: Cause, id: &RefusalId) {
    let has_answered = Cell::new(false);
    let service = service_fn(|request: Request<Incoming>| {
        has_answered.set(true);
        let answer = answer(&request, cause, id);
        ready(Ok::<_, Infallible>(answer))
    });
    let is_http2 = stream.is_http2();
    let io = TokioIo::new(stream);
    // Whether it was heard or not, there is nobody left to tell.
    if is_http2 {
        let connection = http2::Builder::new(Beside)
            .max_concurrent_streams(1)
            .max_header_list_size(MAX_HEAD_BYTES)
            .initial_stream_window_size(WINDOW)
            .initial_connection_window_size(WINDOW)
            .serve_connection(io, service);
        let _ = closing(connection, &has_answered).await;
    } else {
        let mut connection = http1::Builder::new()
            .keep_alive(false)
            .header_read_timeout(None)
            .max_buf_size(MAX_HEAD_BYTES as usize)
            .serve_connection(io, service);
        // hyper leaves one that asked for another protocol open, and one that broke.
        let _ = poll_fn(|cx| connection.poll_without_shutdown(cx)).await;
        let _ = connection.into_parts().io.into_inner().shutdown().await;
    }
}

/// To a client whose protocol has no word for it.
pub(super) async fn close(mut stream: RefusedStream) {
    // Whether it was heard or not, there is nobody left to tell.
    let _ = stream.shutdown().await;
}

fn answer(request: &Request<Incoming>, cause: Cause, id: &RefusalId) -> Response<ToClient> {
    let mut answer = problem::refusal(StatusCode::FORBIDDEN, cause, id);
    if grpc::is_grpc(request.headers())
        && let Some(said) = answer.extensions_mut().remove::<Said>()
    {
        return grpc::answer(&said);
    }
    answer
}

/// Ends the connection in good order as soon as it has had its answer.
async fn closing<C: Served>(connection: C, has_answered: &Cell<bool>) -> hyper::Result<()> {
    let mut connection = pin!(connection);
    let mut is_finishing = false;
    poll_fn(|cx| {
        loop {
            if let Poll::Ready(ended) = connection.as_mut().poll(cx) {
                return Poll::Ready(ended);
            }
            if is_finishing || !has_answered.get() {
                return Poll::Pending;
            }
            is_finishing = true;
            connection.as_mut().finish();
        }
    })
    .await
}

/// An answer that is whole needs no more than to be sent, which the connection's own task could do if hyper let it.
#[derive(Clone)]
struct Beside;

impl<F: Future + 'static> Executor<F> for Beside {
    fn execute(&self, stream: F) {
        tokio::task::spawn_local(async move {
            stream.await;
        });
    }
}

/// What RFC 9113 §6.9.2 begins with: no client can send more of a body than is read of it, and none of it is taken.
const WINDOW: u32 = 65_535;

/// What nginx takes of a head by default, in all.
const MAX_HEAD_BYTES: u32 = 32 * 1024;
