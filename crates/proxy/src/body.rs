//! The bodies that pass: streamed as they come, trailers freed of identity headers.

use std::cell::Cell;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::{Instant, Sleep, sleep_until};

use crate::activity::{BodyEnd, Busy};
use crate::headers::{hop, stripped};
use crate::in_flight::Place;
use crate::upstream::Lease;

/// A client's body on its way to the upstream.
pub(crate) struct ToUpstream {
    client: Option<Incoming>,
    /// Made when the client first lets us wait: most requests have no body, and most bodies are there at once.
    stalled: Option<Pin<Box<Sleep>>>,
    /// When its last frame was taken.
    taken: Option<Rc<Cell<Instant>>>,
    end: Option<BodyEnd>,
}

/// A body on its way to the client.
pub(crate) enum ToClient {
    /// Nothing.
    Empty,
    /// Said by the gateway itself.
    Text(Bytes),
    /// Streamed from an upstream.
    Upstream(Box<Streamed>),
}

/// An upstream's body, and the connection that it is read from, which is driven from here.
pub(crate) struct Streamed {
    upstream: Incoming,
    lease: Option<Lease>,
    /// The request is in flight until its answer has passed.
    _busy: Busy,
    place: Place,
}

/// Why a body broke off.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BodyFault {
    #[error(transparent)]
    Broken(#[from] hyper::Error),
    #[error("the client sent nothing of its request body for {} s", BODY_STALL_LIMIT.as_secs())]
    Stalled,
}

impl ToUpstream {
    pub(crate) fn empty() -> Self {
        Self {
            client: None,
            stalled: None,
            taken: None,
            end: None,
        }
    }

    pub(crate) fn streamed(client: Incoming, end: BodyEnd) -> Self {
        Self {
            client: Some(client),
            stalled: None,
            taken: Some(Rc::new(Cell::new(Instant::now()))),
            end: Some(end),
        }
    }

    /// Tells when the last frame was taken, which for a body that has ended is its end; `None`: there never was one.
    pub(crate) fn taken(&self) -> Option<Rc<Cell<Instant>>> {
        self.taken.clone()
    }

    fn poll_stalled(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let sleep = self
            .stalled
            .get_or_insert_with(|| Box::pin(sleep_until(Instant::now() + BODY_STALL_LIMIT)));
        sleep.as_mut().poll(cx)
    }
}

impl Body for ToUpstream {
    type Data = Bytes;
    type Error = BodyFault;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyFault>>> {
        let Some(client) = &mut self.client else {
            return Poll::Ready(None);
        };
        if let Poll::Ready(frame) = Pin::new(&mut *client).poll_frame(cx) {
            let is_end = match &frame {
                Some(Ok(_)) => client.is_end_stream(),
                Some(Err(_)) => false,
                None => true,
            };
            if is_end && let Some(end) = &self.end {
                end.reached();
            }
            let now = Instant::now();
            if let Some(taken) = &self.taken {
                taken.set(now);
            }
            if let Some(sleep) = &mut self.stalled {
                sleep.as_mut().reset(now + BODY_STALL_LIMIT);
            }
            return Poll::Ready(frame.map(|frame| Ok(without_identity(frame?))));
        }
        ready!(self.poll_stalled(cx));
        Poll::Ready(Some(Err(BodyFault::Stalled)))
    }

    fn is_end_stream(&self) -> bool {
        self.client.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.client
            .as_ref()
            .map_or_else(|| SizeHint::with_exact(0), Body::size_hint)
    }
}

impl ToClient {
    /// The body of an upstream's answer. A connection whose answer has ended already is given back at once.
    pub(crate) fn streamed(upstream: Incoming, lease: Lease, busy: Busy, place: Place) -> Self {
        if upstream.is_end_stream() {
            lease.give_back();
            Self::Empty
        } else {
            Self::Upstream(Box::new(Streamed {
                upstream,
                lease: Some(lease),
                _busy: busy,
                place,
            }))
        }
    }
}

impl Body for ToClient {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        match &mut *self {
            Self::Empty => Poll::Ready(None),
            Self::Text(text) => {
                let text = std::mem::take(text);
                *self = Self::Empty;
                Poll::Ready(Some(Ok(Frame::data(text))))
            }
            Self::Upstream(streamed) => streamed.poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Text(_) => false,
            Self::Upstream(streamed) => streamed.upstream.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty => SizeHint::with_exact(0),
            Self::Text(text) => SizeHint::with_exact(text.len() as u64),
            Self::Upstream(streamed) => streamed.upstream.size_hint(),
        }
    }
}

impl Streamed {
    fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        self.place.note_asked();
        let frame = ready!(self.poll_driven(cx));
        let ended = match &frame {
            None => true,
            Some(Ok(_)) => {
                self.place.note_handed_out();
                self.upstream.is_end_stream()
            }
            Some(Err(_)) => {
                // Its next bytes would be read as another answer's.
                self.lease = None;
                false
            }
        };
        if ended && let Some(lease) = self.lease.take() {
            lease.give_back();
        }
        Poll::Ready(frame.map(|frame| frame.map(without_identity_in_answer)))
    }

    fn poll_driven(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        // The connection is driven here and by nobody else, so that the body can become ready at no other time: it needs
        // no waker, and the connection's progress does not wake the task that makes it.
        let quiet = &mut Context::from_waker(Waker::noop());
        if let Poll::Ready(frame) = Pin::new(&mut self.upstream).poll_frame(quiet) {
            return Poll::Ready(frame);
        }
        let closed = match &mut self.lease {
            Some(lease) => lease.poll_driven(cx).is_ready(),
            None => true,
        };
        if closed {
            // Dropping the connection ends the body, well or badly.
            self.lease = None;
            return Pin::new(&mut self.upstream).poll_frame(cx);
        }
        Pin::new(&mut self.upstream).poll_frame(quiet)
    }
}

fn without_identity(mut frame: Frame<Bytes>) -> Frame<Bytes> {
    if let Some(trailers) = frame.trailers_mut() {
        stripped::strip(trailers);
        hop::prepare_response(trailers);
    }
    frame
}

fn without_identity_in_answer(mut frame: Frame<Bytes>) -> Frame<Bytes> {
    if let Some(trailers) = frame.trailers_mut() {
        hop::prepare_response(trailers);
    }
    frame
}

/// nginx's `client_body_timeout`: between two reads, not for the whole body.
const BODY_STALL_LIMIT: Duration = Duration::from_mins(1);
