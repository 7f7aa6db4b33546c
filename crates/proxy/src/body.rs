//! The bodies that pass: streamed as they come, trailers freed of identity headers.

use std::cell::{Cell, RefCell};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use bytes::Bytes;
use http::Version;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::{Instant, Sleep, sleep_until};

use crate::activity::{BodyEnd, Busy};
use crate::factors::X_API_KEY;
use crate::headers::{hop, stripped};
use crate::in_flight::Place;
use crate::listener::Listener;
use crate::upstream::Lease;

/// A client's body. Taken of it is what one attempt to send it takes, so that another can follow while that is nothing.
pub(crate) struct ClientBody {
    incoming: RefCell<Incoming>,
    is_begun: Cell<bool>,
    /// Of an HTTP/2 stream, which says when it has ended.
    is_stream: bool,
    /// Whose rules its trailers must not get behind.
    listener: Arc<Listener>,
}

/// A client's body on its way to the upstream.
pub(crate) struct ToUpstream {
    client: Option<Rc<ClientBody>>,
    /// No limit of time: as a stream of messages it may be silent for as long as it likes.
    is_patient: bool,
    /// Made when the client first lets us wait: most requests have no body, and most bodies are there at once.
    stalled: Option<Pin<Box<Sleep>>>,
    /// When its last frame was taken.
    taken: Option<Rc<Cell<Instant>>>,
    end: Option<BodyEnd>,
    call_off: Option<Rc<CallOff>>,
}

/// Ends a body from outside, where somebody else than who asked for it to be sent holds it.
#[derive(Default)]
pub(crate) struct CallOff {
    is_called_off: Cell<bool>,
    /// Whether it was the client that ended it.
    is_broken: Cell<bool>,
    /// Whether whoever sends it knows that it is whole.
    has_ended: Cell<bool>,
    sender: RefCell<Option<Waker>>,
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

/// An upstream's body, and the connection that it is read from, which is driven from here if it is not shared.
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
    #[error("its stream was reset before it had ended")]
    CutShort,
    /// A stream is reset for no other reason.
    #[error("nobody waits for the answer any more")]
    CalledOff(#[source] h2::Error),
}

impl ClientBody {
    pub(crate) fn new(incoming: Incoming, version: Version, listener: &Arc<Listener>) -> Rc<Self> {
        Rc::new(Self {
            incoming: RefCell::new(incoming),
            is_begun: Cell::new(false),
            is_stream: version == Version::HTTP_2,
            listener: Arc::clone(listener),
        })
    }

    /// Frees trailers of what says who the client is, and of what rules go by: they were asked before this came. The rules are those that are
    /// served now, by which a reload has judged the request again.
    fn without_claims(&self, mut frame: Frame<Bytes>) -> Frame<Bytes> {
        if let Some(trailers) = frame.trailers_mut() {
            stripped::strip(trailers);
            hop::prepare_trailers(trailers);
            let serving = self.listener.serving.load();
            let takes_api_keys = serving.looks_at_header(X_API_KEY.as_str());
            stripped::remove_where(trailers, |name| {
                serving.looks_at_header(name.as_str())
                    || takes_api_keys && stripped::is_spelling_of(name, &X_API_KEY)
            });
        }
        frame
    }

    /// Whether something of it has been taken, which nobody could send again.
    pub(crate) fn is_begun(&self) -> bool {
        self.is_begun.get()
    }
}

impl CallOff {
    pub(crate) fn call_off(&self) {
        self.is_called_off.set(true);
        if let Some(sender) = self.sender.take() {
            sender.wake();
        }
    }

    pub(crate) fn is_broken(&self) -> bool {
        self.is_broken.get()
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.has_ended.get()
    }
}

impl ToUpstream {
    pub(crate) fn empty() -> Self {
        Self {
            client: None,
            is_patient: false,
            stalled: None,
            taken: None,
            end: None,
            call_off: None,
        }
    }

    pub(crate) fn streamed(client: &Rc<ClientBody>, end: BodyEnd, is_patient: bool) -> Self {
        Self {
            client: Some(Rc::clone(client)),
            is_patient,
            stalled: None,
            taken: Some(Rc::new(Cell::new(Instant::now()))),
            end: Some(end),
            call_off: Some(Rc::default()),
        }
    }

    /// What ends it from outside; `None`: there is nothing to end.
    pub(crate) fn call_off(&self) -> Option<Rc<CallOff>> {
        self.call_off.clone()
    }

    fn poll_called_off(&self, cx: &Context<'_>) -> Poll<()> {
        let Some(call_off) = &self.call_off else {
            return Poll::Pending;
        };
        if call_off.is_called_off.get() {
            return Poll::Ready(());
        }
        let mut sender = call_off.sender.borrow_mut();
        if !(sender.as_ref()).is_some_and(|known| known.will_wake(cx.waker())) {
            *sender = Some(cx.waker().clone());
        }
        Poll::Pending
    }

    /// To be called when whoever sends it learns that nothing more comes.
    fn note_ended(&self) {
        if let Some(call_off) = &self.call_off {
            call_off.has_ended.set(true);
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
        if self.poll_called_off(cx).is_ready() {
            let reason = h2::Reason::CANCEL.into();
            return Poll::Ready(Some(Err(BodyFault::CalledOff(reason))));
        }
        let this = &mut *self;
        let Some(client) = &this.client else {
            return Poll::Ready(None);
        };
        let mut incoming = client.incoming.borrow_mut();
        if let Poll::Ready(frame) = Pin::new(&mut *incoming).poll_frame(cx) {
            client.is_begun.set(true);
            let frame = unless_cut_short(frame, client.is_stream, &incoming);
            let is_end = match &frame {
                Some(Ok(frame)) => frame.is_trailers() || incoming.is_end_stream(),
                Some(Err(_)) => {
                    if let Some(call_off) = &this.call_off {
                        call_off.is_broken.set(true);
                    }
                    false
                }
                None => true,
            };
            if is_end {
                this.note_ended();
                if let Some(end) = &this.end {
                    end.reached();
                }
            }
            let now = Instant::now();
            if let Some(taken) = &this.taken {
                taken.set(now);
            }
            if let Some(sleep) = &mut this.stalled {
                sleep.as_mut().reset(now + BODY_STALL_LIMIT);
            }
            return Poll::Ready(frame.map(|frame| Ok(client.without_claims(frame?))));
        }
        if this.is_patient {
            return Poll::Pending;
        }
        drop(incoming);
        ready!(self.poll_stalled(cx));
        if let Some(call_off) = &self.call_off {
            call_off.is_broken.set(true);
        }
        Poll::Ready(Some(Err(BodyFault::Stalled)))
    }

    fn is_end_stream(&self) -> bool {
        let is_end =
            (self.client.as_ref()).is_none_or(|client| client.incoming.borrow().is_end_stream());
        if is_end {
            self.note_ended();
        }
        is_end
    }

    fn size_hint(&self) -> SizeHint {
        match &self.client {
            Some(client) => client.incoming.borrow().size_hint(),
            None => SizeHint::with_exact(0),
        }
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
    type Error = BodyFault;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyFault>>> {
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
    ) -> Poll<Option<Result<Frame<Bytes>, BodyFault>>> {
        self.place.note_asked();
        let frame = ready!(self.poll_driven(cx));
        let ended = match &frame {
            None => true,
            Some(Ok(_)) => {
                self.place.note_handed_out();
                self.upstream.is_end_stream()
            }
            Some(Err(_)) => {
                if let Some(lease) = self.lease.take() {
                    lease.give_up();
                }
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
    ) -> Poll<Option<Result<Frame<Bytes>, BodyFault>>> {
        if let Some(lease @ Lease::Stream(_)) = &mut self.lease {
            let _ = lease.poll_driven(cx);
            let frame = ready!(Pin::new(&mut self.upstream).poll_frame(cx));
            return Poll::Ready(unless_cut_short(frame, true, &self.upstream));
        }
        // The connection is driven here and by nobody else, so that the body can become ready at no other time: it needs
        // no waker, and the connection's progress does not wake the task that makes it.
        let quiet = &mut Context::from_waker(Waker::noop());
        if let Poll::Ready(frame) = Pin::new(&mut self.upstream).poll_frame(quiet) {
            return Poll::Ready(frame.map(|frame| Ok(frame?)));
        }
        let closed = match &mut self.lease {
            Some(lease) => lease.poll_driven(cx).is_ready(),
            None => true,
        };
        if closed {
            // Dropping the connection ends the body, well or badly.
            self.lease = None;
            let frame = ready!(Pin::new(&mut self.upstream).poll_frame(cx));
            return Poll::Ready(frame.map(|frame| Ok(frame?)));
        }
        let frame = ready!(Pin::new(&mut self.upstream).poll_frame(quiet));
        Poll::Ready(frame.map(|frame| Ok(frame?)))
    }
}

/// hyper ends a body without an error when its stream was reset with `NO_ERROR` (RFC 9113 §8.1: nobody reads the rest). Passed on,
/// what was cut short would look whole.
fn unless_cut_short(
    frame: Option<Result<Frame<Bytes>, hyper::Error>>,
    is_stream: bool,
    incoming: &Incoming,
) -> Option<Result<Frame<Bytes>, BodyFault>> {
    match frame {
        None if is_stream && !incoming.is_end_stream() => Some(Err(BodyFault::CutShort)),
        frame => frame.map(|frame| Ok(frame?)),
    }
}

fn without_identity_in_answer(mut frame: Frame<Bytes>) -> Frame<Bytes> {
    if let Some(trailers) = frame.trailers_mut() {
        hop::prepare_trailers(trailers);
    }
    frame
}

/// nginx's `client_body_timeout`: between two reads, not for the whole body.
const BODY_STALL_LIMIT: Duration = Duration::from_mins(1);
