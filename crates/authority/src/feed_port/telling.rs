//! The stream that one node hears: where it begins, and everything after.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use axum::http::StatusCode;
use bytes::Bytes;
use countersign_pki::feed::{
    Body as What, Frame, Head, HistoryId, MAX_PART, Message, Sequence, event,
};
use countersign_store::error::StoreError;
use http_body::Frame as BodyFrame;
use tokio::sync::{Notify, mpsc};
use tokio::time::timeout;

use crate::authority::Authority;
use crate::feed::Seat;
use crate::problem::Problem;
use crate::reserved_port::Holder;

/// Joins the feed for `node`, and tells it in a task of its own. `held`: where the node stands.
pub(super) async fn begin(
    authority: Arc<Authority>,
    node: &Holder,
    held: Option<(HistoryId, Sequence)>,
    stalled: Arc<Notify>,
) -> Result<Body, Problem> {
    let name = node.name();
    let joining = authority
        .hub
        .join_remote(&name, node.certificate())
        .ok_or_else(|| {
            Problem::new(
                StatusCode::CONFLICT,
                format!("{name} is the name of the authority's own gateway"),
            )
        })?;
    // Read after joining: what is told from now on waits in the node's queue.
    let sequence = authority.store.sequence().await?;
    let resumes = match held {
        Some((history, after)) if history == *authority.store.history() => {
            missed(&authority, after, sequence).await?
        }
        _ => None,
    };
    tracing::info!(target: "feed", node = name, sequence = sequence.0, resumed = resumes.is_some(), "node joins the feed");
    let seat = joining.at(sequence);
    let (sender, events) = mpsc::channel(EVENTS_IN_FLIGHT);
    let teller = Teller {
        authority,
        sender,
        seat,
        sequence,
    };
    tokio::spawn(async move {
        match teller.tell(resumes).await {
            Ok(()) => {}
            Err(Interrupted::Gone) => tracing::info!(target: "feed", node = name, "node is gone"),
            Err(Interrupted::Slow) => stalled.notify_one(),
            Err(Interrupted::Store(error)) => {
                tracing::error!(target: "feed", node = name, %error, "feed cannot be told");
            }
        }
    });
    Ok(Body::new(Events(events)))
}

/// What a node has missed, if that can be told and is less than a snapshot.
async fn missed(
    authority: &Authority,
    after: Sequence,
    sequence: Sequence,
) -> Result<Option<Vec<Message>>, StoreError> {
    if after > sequence || sequence.0 - after.0 > MAX_MISSED {
        return Ok(None);
    }
    let (mut missed, mut certificates) = (Vec::new(), 0);
    let mut held = after;
    while held < sequence {
        let before = held;
        for message in authority.store.messages(held, PAGE).await? {
            // Those behind the beginning wait in the node's queue.
            if message.sequence > sequence {
                break;
            }
            certificates += about(&message);
            if message.sequence.0 != held.0 + 1 || certificates > MAX_MISSED {
                return Ok(None);
            }
            held = message.sequence;
            missed.push(message);
        }
        if held == before {
            return Ok(None);
        }
    }
    Ok(Some(missed))
}

/// How many certificates a message names; at least one, for its own sake.
fn about(message: &Message) -> u64 {
    let count = match &message.body {
        What::Released { certificates } => certificates.iter().count(),
        other => other.revoked().len(),
    };
    count.max(1) as u64
}

struct Teller {
    authority: Arc<Authority>,
    sender: mpsc::Sender<Bytes>,
    seat: Seat,
    sequence: Sequence,
}

enum Interrupted {
    Gone,
    Slow,
    Store(StoreError),
}

impl From<StoreError> for Interrupted {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl Teller {
    async fn tell(mut self, resumes: Option<Vec<Message>>) -> Result<(), Interrupted> {
        match resumes {
            Some(missed) => {
                let after = Sequence(self.sequence.0 - missed.len() as u64);
                self.send(&Frame::Resumed(self.head(after))).await?;
                for message in missed {
                    self.send(&Frame::Message(message)).await?;
                }
            }
            None => self.tell_everything().await?,
        }
        while let Some(message) = self.seat.next().await {
            self.send(&Frame::Message(message)).await?;
        }
        // It has lost its place; the end of the stream makes it join again.
        Ok(())
    }

    async fn tell_everything(&self) -> Result<(), Interrupted> {
        self.send(&Frame::Snapshot(self.head(self.sequence)))
            .await?;
        let limit = u32::try_from(MAX_PART).expect("a few hundred");
        let (mut told, mut after) = (0, None);
        loop {
            // A node that asks again and again is told one snapshot at a time.
            if self.seat.is_taken() {
                return Err(Interrupted::Gone);
            }
            let part = self.authority.store.part(after, limit).await?;
            told += part.revoked.len() as u64;
            if !part.revoked.is_empty() {
                self.send(&Frame::Revoked(part.revoked)).await?;
            }
            after = part.next;
            if after.is_none() {
                return self.send(&Frame::Complete { revoked: told }).await;
            }
        }
    }

    fn head(&self, sequence: Sequence) -> Head {
        Head {
            place: self.seat.number(),
            history: self.authority.store.history().clone(),
            sequence,
            at: self.authority.now(),
            bundles: vec![self.authority.bundle()],
        }
    }

    async fn send(&self, frame: &Frame) -> Result<(), Interrupted> {
        let json = serde_json::to_string(frame).expect("frames are JSON");
        let event = Bytes::from(event(&json));
        match timeout(STALL_LIMIT, self.sender.send(event)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(Interrupted::Gone),
            Err(_) => Err(Interrupted::Slow),
        }
    }
}

/// The body of the answer. It ends when the node has lost its place.
struct Events(mpsc::Receiver<Bytes>);

impl http_body::Body for Events {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<BodyFrame<Bytes>, Self::Error>>> {
        self.0
            .poll_recv(cx)
            .map(|event| event.map(|event| Ok(BodyFrame::data(event))))
    }
}

/// Some 50 KiB each while a snapshot is told.
const EVENTS_IN_FLIGHT: usize = 4;

/// Three confirmations: a node that takes nothing for so long is not there.
const STALL_LIMIT: Duration = Duration::from_secs(30);

/// Messages, and certificates that they name: 2 MiB, which each node that comes back has in memory here. A snapshot, which is
/// read while it is told, has not.
const MAX_MISSED: u64 = 10_000;

/// 6 MiB, where each message is about as many certificates as it can be.
const PAGE: u32 = 64;
