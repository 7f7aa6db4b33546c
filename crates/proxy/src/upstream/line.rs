//! A connection of HTTP/1.1 to an upstream, driven by the task that uses it.
//!
//! hyper's client is a handle and a connection that has to be polled. Usually a task of its own polls it; here the task of
//! the client's connection does, so that a request costs two wake-ups of one task and no message between tasks. Nobody
//! polls an idle connection: whether it still stands is asked when it is taken out.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::http1::{Builder, Connection, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::task::unconstrained;
use tokio::time::{Instant, timeout};

use super::deadline::{Deadline, Overdue};
use super::{
    Address, CONNECT_LIMIT, IDLE_LIMIT, Link, MAX_HEAD_BYTES, Open, Switched, UnderWay,
    UpstreamFault, UpstreamPool, Vouched,
};
use crate::body::ToUpstream;

/// One that rests.
pub(super) struct Idle {
    pub(super) line: Line,
    pub(super) since: Instant,
}

/// A connection and the handle to send on it.
pub(super) struct Line {
    sender: SendRequest<ToUpstream>,
    connection: Box<Connection<TokioIo<Link>, ToUpstream>>,
    /// Of an upstream over TLS.
    vouched: Option<Rc<Vouched>>,
    /// Of the request that is under way.
    deadline: Deadline,
    open: Open,
}

/// A connection in use. Dropping it closes it; [`InUse::give_back`] keeps it.
pub(crate) struct InUse {
    line: Line,
    address: Arc<Address>,
    pool: Rc<UpstreamPool>,
    /// Whether it has served before, so that the upstream may have closed it in the meantime.
    pub(super) reused: bool,
    /// Whether the connection's future has ended: it may not be polled again.
    closed: bool,
    /// Whether the upstream may take whoever speaks on it for this client.
    pub(super) is_private: bool,
    /// Where others are beside the upstream.
    pub(super) under_way: Option<UnderWay>,
    /// Resolves when an upstream over TLS is trusted no more, so that a connection on which nothing happens is looked at.
    cut: Option<Pin<Box<dyn Future<Output = ()>>>>,
}

impl Idle {
    /// Whether it can be taken up again.
    pub(super) fn may_serve(&mut self) -> bool {
        self.since.elapsed() < IDLE_LIMIT
            && self.line.vouched.as_ref().is_none_or(|it| it.wake())
            && self.line.stands()
    }
}

impl Line {
    pub(super) async fn begin(link: Link, open: Open) -> Result<Self, UpstreamFault> {
        let vouched = link.vouched();
        let handshake = Builder::new()
            .max_buf_size(MAX_HEAD_BYTES)
            .handshake(TokioIo::new(link));
        let (sender, connection) = handshake.await.map_err(UpstreamFault::Broken)?;
        Ok(Self {
            sender,
            connection: Box::new(connection),
            vouched,
            deadline: Deadline::default(),
            open,
        })
    }

    /// A withdrawal has nothing to wait for where nothing is under way.
    pub(super) fn rest(&self) {
        if let Some(vouched) = &self.vouched {
            vouched.rest();
        }
    }

    /// Whether it can take a request: the upstream has neither closed it nor spoken out of turn.
    fn stands(&mut self) -> bool {
        let quiet = &mut Context::from_waker(Waker::noop());
        !self.is_cut()
            && Pin::new(&mut self.connection).poll(quiet).is_pending()
            && self.sender.is_ready()
    }

    fn is_cut(&self) -> bool {
        self.vouched.as_ref().is_some_and(|it| it.is_cut())
    }
}

impl InUse {
    pub(super) fn new(
        line: Line,
        address: &Arc<Address>,
        pool: &Rc<UpstreamPool>,
        reused: bool,
    ) -> Self {
        let cut = line
            .vouched
            .as_ref()
            .map(|vouched| Box::pin(vouched.cut()) as Pin<Box<dyn Future<Output = ()>>>);
        Self {
            line,
            address: Arc::clone(address),
            pool: Rc::clone(pool),
            reused,
            closed: false,
            is_private: false,
            under_way: None,
            cut,
        }
    }

    /// What stands behind the connection, if it is over TLS.
    pub(super) fn vouched(&self) -> Option<Rc<Vouched>> {
        self.line.vouched.clone()
    }

    /// Sends the request and waits for the head of the answer. An error ends the connection.
    pub(super) async fn send(
        &mut self,
        request: Request<ToUpstream>,
        limit: Option<Duration>,
    ) -> Result<Response<Incoming>, UpstreamFault> {
        let taken = request.body().taken();
        let mut overdue = limit.map(|limit| Overdue::new(limit, taken));
        // `unconstrained`: out of budget, tokio would wake a waker that wakes nobody.
        let mut answer = pin!(unconstrained(self.line.sender.send_request(request)));
        // As in `body`: the answer becomes ready by polling the connection, which only this does.
        let quiet = &mut Context::from_waker(Waker::noop());
        let answered = poll_fn(|cx| {
            let closed = self.poll_driven(cx).is_ready();
            match answer.as_mut().poll(quiet) {
                Poll::Ready(answer) => return Poll::Ready(answer.map_err(UpstreamFault::Broken)),
                Poll::Pending if closed => return Poll::Ready(Err(UpstreamFault::Closed)),
                Poll::Pending => {}
            }
            let Some(overdue) = &mut overdue else {
                return Poll::Pending;
            };
            let limit = ready!(overdue.poll(&mut self.line.deadline, cx));
            Poll::Ready(Err(UpstreamFault::AnswerTimeout { limit }))
        });
        match answered.await {
            // In TLS 1.3 an upstream refuses our certificate when the handshake is done on our side.
            Err(UpstreamFault::Broken(error)) => {
                let vouched = self.line.vouched.as_ref();
                let refused = vouched.and_then(|it| it.refusal_behind(&error));
                Err(refused.unwrap_or(UpstreamFault::Broken(error)))
            }
            answered => answered,
        }
    }

    /// Lets the connection progress; ready when it has closed.
    pub(super) fn poll_driven(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if let Some(cut) = &mut self.cut
            && cut.as_mut().poll(cx).is_ready()
        {
            self.cut = None;
        }
        self.closed = self.closed || Pin::new(&mut self.line.connection).poll(cx).is_ready();
        if self.closed {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    }

    /// Keeps the connection for another request. To be called when the answer has ended.
    ///
    /// One that is still taking the request's body is closed: its answer came early, and the rest of the body may never come.
    pub(super) fn give_back(mut self) {
        let quiet = &mut Context::from_waker(Waker::noop());
        if !self.is_private && self.poll_driven(quiet).is_pending() && self.line.sender.is_ready() {
            self.pool.put(self.address, self.line);
        }
    }

    /// The bare connection after the upstream has switched protocols, with the bytes that it sent since.
    pub(super) async fn into_tunnel(mut self) -> Result<Switched, UpstreamFault> {
        timeout(CONNECT_LIMIT, poll_fn(|cx| self.poll_driven(cx)))
            .await
            .map_err(|_| UpstreamFault::AnswerTimeout {
                limit: CONNECT_LIMIT,
            })?;
        let parts = self.line.connection.into_parts();
        Ok(Switched {
            stream: parts.io.into_inner(),
            first: parts.read_buf,
            _open: self.line.open,
            under_way: self.under_way,
        })
    }
}
