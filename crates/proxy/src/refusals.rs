//! Refusals kept so that a person can be told why, by id, or by source and time: after a restart, under flood.

mod coalescer;
mod ring;
mod search;
mod writer;

use std::fmt::Display;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, PoisonError};

use countersign_diagnose::evidence::Evidence;
use countersign_diagnose::refusal::{NodeShortId, Refusal, RefusalId};
use countersign_pki::fingerprint::Fingerprint;
use countersign_runtime::clock::SharedClock;
use countersign_tls::acceptor::HandshakeRefusal;
use serde::{Deserialize, Serialize};

use self::coalescer::Coalescer;
use self::ring::Ring;
pub use self::search::{Query, search};
pub use self::writer::RefusalWriter;

/// Takes refusals from any thread without waiting for the disk. Cheap to clone.
#[derive(Clone)]
pub struct RefusalLog {
    shared: Arc<Shared>,
}

struct Shared {
    node: NodeShortId,
    clock: SharedClock,
    /// Guards the invariant that an id given out stands in the queue or in the ring. Held for a look-up and a push, never
    /// for a write.
    inbox: Mutex<Inbox>,
    /// Tells the writer of work, and those who wait for it that it is done.
    changed: Condvar,
}

struct Inbox {
    coalescer: Coalescer,
    queue: Vec<StoredRefusal>,
    /// Rounds that somebody asked for, and rounds that are done.
    settle_asked: u64,
    settled: u64,
    is_closing: bool,
}

/// Somebody was turned away.
#[derive(Clone, Debug)]
pub struct Refused {
    /// Why.
    pub refusal: Refusal,
    /// From where.
    pub source: SocketAddr,
    /// On which listener.
    pub listener: String,
    /// Before or inside an accepted connection.
    pub phase: Phase,
    /// Server name indication.
    pub sni: Option<String>,
    /// The request, when there was one.
    pub request: Option<RefusedRequest>,
    /// Who, with the bundle that vouches, when that was proved.
    pub principal: Option<String>,
    /// SHA-256 of the leaf that was shown.
    pub fingerprint: Option<Fingerprint>,
}

impl Refused {
    /// Before any byte of the application flowed.
    pub fn at_handshake(refused: HandshakeRefusal, listener: String) -> Self {
        let HandshakeRefusal {
            refusal,
            source,
            sni,
            fingerprint,
            stream: _,
            shadow: _,
        } = refused;
        Self {
            refusal,
            source,
            listener,
            phase: Phase::Handshake,
            sni: sni.map(printable),
            request: None,
            principal: None,
            fingerprint,
        }
    }
}

/// When a refusal fell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// Before any byte of the application flowed.
    Handshake,
    /// A request in an accepted connection.
    Request,
    /// The client was admitted; its upstream is not who it has to be, or refuses us.
    Upstream,
}

/// A refused request, bounded and escaped.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefusedRequest {
    /// Such as `GET`.
    pub method: String,
    /// As asked for.
    pub host: String,
    /// Without the query, which may hold secrets.
    pub path: String,
}

impl RefusedRequest {
    /// Give the values raw: they are escaped and cut here, once.
    pub fn new(method: impl Display, host: impl Display, path: impl Display) -> Self {
        Self {
            method: printable(method),
            host: printable(host),
            path: printable(path),
        }
    }
}

/// One line that any log or terminal can show, at most 512 bytes.
pub fn printable(value: impl Display) -> String {
    let evidence = Evidence::new().with("value", value);
    evidence.get("value").unwrap_or_default().to_owned()
}

impl RefusalLog {
    /// Opens the ring in `directory` (made if missing), which takes at most `limit_bytes` of disk.
    pub fn open(
        directory: &Path,
        limit_bytes: u64,
        node: NodeShortId,
        clock: SharedClock,
    ) -> io::Result<(Self, RefusalWriter)> {
        let (ring, next) = Ring::open(directory, limit_bytes)?;
        let shared = Arc::new(Shared {
            node,
            clock,
            inbox: Mutex::new(Inbox {
                coalescer: Coalescer::new(next),
                queue: Vec::new(),
                settle_asked: 0,
                settled: 0,
                is_closing: false,
            }),
            changed: Condvar::new(),
        });
        let writer = RefusalWriter::start(Arc::clone(&shared), ring)?;
        Ok((Self { shared }, writer))
    }

    /// Keeps the refusal and says under which id it will be found. What comes again is counted, not kept twice.
    pub fn record(&self, refused: Refused) -> RefusalId {
        let now = self.shared.clock.unix_seconds();
        let mut inbox = self
            .shared
            .inbox
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let has_room = inbox.queue.len() < MAX_QUEUED;
        let noted = inbox.coalescer.note(&refused, now, has_room);
        let id = RefusalId::new(&self.shared.node, noted.sequence);
        if let Some(covers) = noted.is_new {
            inbox
                .queue
                .push(StoredRefusal::first(id.clone(), refused, covers, now));
            self.shared.changed.notify_all();
        }
        id
    }

    /// Blocks until everything recorded so far, counts included, is in the ring. Not for the data plane.
    pub fn settle(&self) {
        let mut inbox = self
            .shared
            .inbox
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        inbox.settle_asked += 1;
        let asked = inbox.settle_asked;
        self.shared.changed.notify_all();
        while inbox.settled < asked && !inbox.is_closing {
            inbox = self
                .shared
                .changed
                .wait(inbox)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }
}

/// Whose refusals share an entry and its count. The wider ones exist so that a flood stays bounded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Covers {
    /// One client (certificate, or address where none was shown) with one request.
    Client,
    /// Any source address.
    Everybody,
    /// The source's network: /24 of IPv4, /48 of IPv6.
    Network,
    /// The source's address (/64 of IPv6).
    Source,
}

/// A refusal as it is found again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredRefusal {
    /// The id that the client was told.
    pub id: RefusalId,
    /// When it was refused first.
    pub first_unix_s: u64,
    /// When it was last counted.
    pub last_unix_s: u64,
    /// How often, as far as it is counted.
    pub count: u64,
    /// Cause, sentence, fix, evidence.
    #[serde(flatten)]
    pub refusal: Refusal,
    /// Whose refusals are counted here; what follows is the first one's.
    pub covers: Covers,
    /// From where.
    pub source: SocketAddr,
    /// On which listener.
    pub listener: String,
    /// Before or inside an accepted connection.
    pub phase: Phase,
    /// Server name indication.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sni: Option<String>,
    /// The request, when there was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<RefusedRequest>,
    /// Who, when that was proved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub principal: Option<String>,
    /// SHA-256 of the leaf that was shown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fingerprint: Option<Fingerprint>,
}

impl StoredRefusal {
    fn first(id: RefusalId, refused: Refused, covers: Covers, now: u64) -> Self {
        let Refused {
            refusal,
            source,
            listener,
            phase,
            sni,
            request,
            principal,
            fingerprint,
        } = refused;
        Self {
            id,
            first_unix_s: now,
            last_unix_s: now,
            count: 1,
            refusal,
            covers,
            source,
            listener,
            phase,
            sni,
            request,
            principal,
            fingerprint,
        }
    }
}

/// Entries that wait for the disk, of 1 KiB each: a second of a slow disk under flood.
const MAX_QUEUED: usize = 1024;
