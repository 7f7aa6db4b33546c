//! What a request has of an upstream: a connection to itself, or a stream of one that it shares.

use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::{Request, Response};
use hyper::body::Incoming;

use super::line::InUse;
use super::multiplexed::{Multiplexed, Stream};
use super::{Switched, UnderWay, UpstreamFault, Vouched};
use crate::body::ToUpstream;

/// Dropping it ends what is under way; [`Lease::give_back`] keeps the connection.
pub(crate) enum Lease {
    /// A connection of HTTP/1.1.
    Line(InUse),
    /// A stream of HTTP/2.
    Stream(Stream),
}

/// What a lease may be of.
#[derive(Clone)]
pub(crate) enum Wanted {
    /// Any connection that can take a request.
    Any,
    /// One made for it.
    New,
    /// None but this one, which has turned a request away.
    Other(Rc<Multiplexed>),
}

impl Lease {
    /// Whether it has served before, so that the upstream may have closed it in the meantime.
    pub(crate) fn is_reused(&self) -> bool {
        match self {
            Self::Line(line) => line.reused,
            Self::Stream(stream) => stream.reused,
        }
    }

    /// The connection that it shares with others.
    pub(crate) fn shared(&self) -> Option<Rc<Multiplexed>> {
        match self {
            Self::Line(_) => None,
            Self::Stream(stream) => Some(stream.connection()),
        }
    }

    /// What stands behind the connection, if it is over TLS.
    pub(crate) fn vouched(&self) -> Option<Rc<Vouched>> {
        match self {
            Self::Line(line) => line.vouched(),
            Self::Stream(stream) => stream.vouched(),
        }
    }

    /// Counts it for as long as it is used.
    pub(crate) fn count(&mut self, counted: Option<UnderWay>) {
        match self {
            Self::Line(line) => line.under_way = counted,
            Self::Stream(stream) => stream.under_way = counted,
        }
    }

    /// To be called when the connection itself has been authenticated, or may have been.
    pub(crate) fn keep_from_others(&mut self) {
        match self {
            Self::Line(line) => line.is_private = true,
            // No connection of HTTP/2 can be authenticated as such: RFC 9113 has no place for it.
            Self::Stream(_) => {}
        }
    }

    /// Sends the request and waits for the head of the answer, for so long at most. Behind an error there is nothing left to do with it.
    pub(crate) async fn send(
        &mut self,
        request: Request<ToUpstream>,
        limit: Option<Duration>,
    ) -> Result<Response<Incoming>, UpstreamFault> {
        match self {
            Self::Line(line) => line.send(request, limit).await,
            Self::Stream(stream) => stream.send(request, limit).await,
        }
    }

    /// Lets a connection of its own progress; ready when it has closed. One that is shared looks after itself.
    pub(crate) fn poll_driven(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match self {
            Self::Line(line) => line.poll_driven(cx),
            Self::Stream(stream) => {
                stream.end_if_cut(cx);
                Poll::Pending
            }
        }
    }

    /// Keeps the connection for another request. To be called when the answer has ended.
    pub(crate) fn give_back(self) {
        match self {
            Self::Line(line) => line.give_back(),
            Self::Stream(mut stream) => stream.note_answered(),
        }
    }

    /// Lets go of what the upstream has broken off. Of a connection of its own the next bytes would be read as another answer's.
    pub(crate) fn give_up(self) {
        if let Self::Stream(mut stream) = self {
            stream.note_broken_off();
        }
    }

    /// The bare connection after the upstream has switched protocols, with the bytes that it sent since.
    pub(crate) async fn into_tunnel(self) -> Result<Switched, UpstreamFault> {
        match self {
            Self::Line(line) => line.into_tunnel().await,
            Self::Stream(_) => Err(UpstreamFault::Switched),
        }
    }
}
