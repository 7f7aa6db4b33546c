//! The one answer that a refused client gets where its listener explains, or where it had to wait for its responder: never more than how a refused request is answered.
//!
//! There is no caller, no route and no upstream here, and nothing of what the client asks is looked at but whether it is gRPC.

use std::cell::RefCell;
use std::convert::Infallible;
use std::future::{poll_fn, ready};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use countersign_diagnose::cause::Cause;
use countersign_diagnose::refusal::RefusalId;
use countersign_tls::refused_stream::RefusedStream;
use http::{Request, Response, StatusCode};
use hyper::body::{Body, Incoming};
use hyper::rt::Executor;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::AsyncWriteExt;
use tokio::sync::Notify;
use tokio::time::timeout;

use crate::body::ToClient;
use crate::connection::Served;
use crate::grpc;
use crate::problem::{self, Said};

/// Answers once and closes. The stream ends by itself if the client does not.
pub(super) async fn tell(stream: RefusedStream, cause: Cause, id: &RefusalId) {
    let is_http2 = stream.is_http2();
    let unread = Unread::default();
    let service = service_fn(|request: Request<Incoming>| {
        let answer = answer(&request, cause, id);
        let body = request.into_body();
        *unread.borrow_mut() = (is_http2 && !body.is_end_stream()).then_some(body);
        ready(Ok::<_, Infallible>(answer))
    });
    let io = TokioIo::new(stream);
    // Whether it was heard or not, there is nobody left to tell.
    if is_http2 {
        let answered = Rc::new(Notify::new());
        let beside = Beside {
            answered: Rc::clone(&answered),
            unread: Rc::clone(&unread),
        };
        let connection = http2::Builder::new(beside)
            .max_concurrent_streams(1)
            .max_header_list_size(MAX_HEAD_BYTES)
            .initial_stream_window_size(WINDOW)
            .initial_connection_window_size(WINDOW)
            .serve_connection(io, service);
        let _ = closing(connection, &answered).await;
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

/// Ends the connection in good order when its answer was sent. A GOAWAY ahead of that makes clients that are still sending give the stream
/// up.
async fn closing<C: Served>(connection: C, answered: &Notify) -> hyper::Result<()> {
    let mut connection = pin!(connection);
    let mut answered = pin!(answered.notified());
    let mut is_finishing = false;
    poll_fn(|cx| {
        loop {
            if let Poll::Ready(ended) = connection.as_mut().poll(cx) {
                return Poll::Ready(ended);
            }
            if is_finishing || answered.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            is_finishing = true;
            connection.as_mut().finish();
        }
    })
    .await
}

/// The body of the request that was answered.
type Unread = Rc<RefCell<Option<Incoming>>>;

/// An answer that is whole needs no more than to be sent, which the connection's own task could do if hyper let it.
#[derive(Clone)]
struct Beside {
    /// Told when it was, and the client may know it.
    answered: Rc<Notify>,
    unread: Unread,
}

impl<F: Future + 'static> Executor<F> for Beside {
    fn execute(&self, stream: F) {
        let Self { answered, unread } = self.clone();
        tokio::task::spawn_local(async move {
            stream.await;
            let body = unread.take();
            if let Some(body) = body {
                // Whatever comes of it. Dropped, it is reset with NO_ERROR (RFC 9113 §8.1).
                let _ = timeout(LAST_WAIT, drain(body)).await;
            }
            answered.notify_one();
        });
    }
}

/// Lets a client come to the answer while it is still sending: one whose stream is reset before takes that for a failure (curl 7.88).
async fn drain(mut body: Incoming) {
    let mut taken = 0;
    while let Some(Ok(frame)) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
        taken += frame.data_ref().map_or(0, Bytes::len);
        if taken > MAX_DRAINED {
            // It has no window left, and ends it by itself or is reset.
            std::future::pending::<()>().await;
        }
    }
}

/// What RFC 9113 §6.9.2 begins with: no client can send more of a body than is read of it, and none of it is taken.
const WINDOW: u32 = 65_535;

/// What nginx takes of a head by default, in all.
const MAX_HEAD_BYTES: u32 = 32 * 1024;

/// With the window that a client begins with, less than what is read of its connection.
const MAX_DRAINED: usize = 32 * 1024;

/// Between the answer and the reset, however far the client is: it only has to see the one before the other. Its place is held meanwhile.
const LAST_WAIT: Duration = Duration::from_millis(200);
