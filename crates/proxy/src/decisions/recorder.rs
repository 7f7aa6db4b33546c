//! What one worker adds up between two looks of the one who keeps it. It costs a request a hash, and an allocation the first time.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::collections::hash_map::Entry;
use std::hash::{BuildHasher, Hash, Hasher, RandomState};
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, TrySendError};

use arc_swap::ArcSwap;
use countersign_pki::fingerprint::Fingerprint;
use countersign_pki::identity::VerifiedPeer;
use countersign_policy::access::Login;
use countersign_tls::acceptor::Session;

use super::entry::{
    CertificateVerdict, Client, ClientKey, DecisionKey, RecordedPath, RecordedVerdict,
    StoredCertificate, Tally, What, Who, recorded_method,
};
use super::keeper::Settings;
use super::{client, network};
use crate::own_keys::OwnKeyMap;
use crate::shadow::ShadowVerdict;

/// What there is to keep, and whether it is wanted. A reload changes it.
pub(crate) type Switch = Arc<ArcSwap<Settings>>;

/// One worker's.
pub(crate) struct Recorder {
    switch: Switch,
    /// `None`: nobody keeps anything.
    keeper: Option<SyncSender<Batch>>,
    // Of its own: who can guess where a decision is filed can have two be one.
    hasher: RandomState,
    // What is hashed next, so that it is hashed in one piece.
    hashed: RefCell<Vec<u8>>,
    // By hashes of `hasher`, which nobody can guess.
    decisions: RefCell<OwnKeyMap<u64, (DecisionKey, Tally)>>,
    clients: RefCell<OwnKeyMap<u64, (ClientKey, Tally)>>,
    /// Of their own: a flood of strangers takes no room from those who are let in.
    refused: RefCell<OwnKeyMap<u64, (ClientKey, Tally)>>,
    /// Of whom the other two tell.
    certificates: RefCell<Vec<(Fingerprint, StoredCertificate)>>,
    /// Connections without a certificate that counts: how many more are open, by listener.
    open: RefCell<BTreeMap<String, i64>>,
    dropped: Cell<u64>,
    refused_dropped: Cell<u64>,
}

/// A connection without a certificate that counts, while it is open.
pub(crate) struct OpenWithout {
    recorder: Rc<Recorder>,
    listener: Arc<str>,
}

impl Drop for OpenWithout {
    fn drop(&mut self) {
        self.recorder.note_open(&self.listener, -1);
    }
}

/// What a worker hands over.
#[derive(Debug, Default)]
pub(super) struct Batch {
    pub(super) decisions: Vec<(DecisionKey, Tally)>,
    pub(super) clients: Vec<(ClientKey, Tally)>,
    /// Of whom the others tell.
    pub(super) certificates: Vec<(Fingerprint, StoredCertificate)>,
    pub(super) open: BTreeMap<String, i64>,
    pub(super) dropped: u64,
    /// Of the refused, by whom no answer goes.
    pub(super) refused_dropped: u64,
}

/// What was asked for.
#[derive(Clone, Copy, Hash)]
pub(crate) enum Asked<'a> {
    Connection,
    Login {
        user: &'a str,
        database: &'a str,
    },
    Request {
        host: Option<&'a str>,
        method: &'a str,
        path: &'a str,
    },
}

impl<'a> From<&'a Login> for Asked<'a> {
    fn from(login: &'a Login) -> Self {
        Self::Login {
            user: login.user(),
            database: login.database(),
        }
    }
}

impl From<Asked<'_>> for What {
    fn from(asked: Asked<'_>) -> Self {
        match asked {
            Asked::Connection => Self::Connection,
            Asked::Login { user, database } => Self::Login {
                user: user.to_owned(),
                database: database.to_owned(),
            },
            Asked::Request { host, method, path } => Self::Request {
                host: host.map(str::to_owned),
                method: recorded_method(method),
                path: RecordedPath::new(method, path),
            },
        }
    }
}

impl Recorder {
    pub(super) fn new(switch: Switch, keeper: Option<SyncSender<Batch>>) -> Self {
        Self {
            switch,
            keeper,
            hasher: RandomState::new(),
            hashed: RefCell::default(),
            decisions: RefCell::default(),
            clients: RefCell::default(),
            refused: RefCell::default(),
            certificates: RefCell::default(),
            open: RefCell::default(),
            dropped: Cell::new(0),
            refused_dropped: Cell::new(0),
        }
    }

    fn is_on(&self) -> bool {
        self.keeper.is_some() && self.switch.load().enabled
    }

    /// Where it is filed. `SipHash` takes as long for each of many small pieces as for all of them in one.
    fn place(&self, filed: impl Hash) -> u64 {
        let mut hashed = self.hashed.borrow_mut();
        hashed.clear();
        filed.hash(&mut Pieces(&mut hashed));
        self.hasher.hash_one(&hashed[..])
    }

    /// The rules decided. `refused`: the cause; `None`: they let it through.
    pub(crate) fn decided(
        &self,
        (listener, session): (&str, &Session),
        asked: Asked<'_>,
        route: Option<&str>,
        refused: Option<&'static str>,
        shadow: Option<ShadowVerdict>,
        now: u64,
    ) {
        if !self.is_on() {
            return;
        }
        let network = network(session.source.ip());
        let peer = session.peer.as_deref();
        let leaf = peer.map(VerifiedPeer::fingerprint);
        let filed = (listener, leaf, network, asked, route, refused, shadow);
        let place = self.place(filed);
        let tally = tally(session.source.ip(), leaf, now);
        let mut decisions = self.decisions.borrow_mut();
        if decisions.len() >= room(peer.is_some()) && !decisions.contains_key(&place) {
            return self.dropped.set(self.dropped.get() + 1);
        }
        match decisions.entry(place) {
            Entry::Occupied(mut known) => known.get_mut().1.add(&tally),
            Entry::Vacant(vacant) => {
                self.keep_certificate(session);
                let key = DecisionKey {
                    listener: listener.to_owned(),
                    who: Who::of(peer),
                    network,
                    what: asked.into(),
                    route: route.map(str::to_owned),
                    verdict: refused.map_or(RecordedVerdict::Admitted, |cause| {
                        RecordedVerdict::Refused(cause.to_owned())
                    }),
                    shadow,
                };
                vacant.insert((key, tally));
            }
        }
    }

    /// A handshake ended well.
    pub(crate) fn connected(
        &self,
        (listener, session): (&str, &Session),
        was_asked: bool,
        shadow: Option<CertificateVerdict>,
        now: u64,
    ) {
        if !self.is_on() {
            return;
        }
        let source = session.source.ip();
        let peer = session.peer.as_deref();
        let leaf = peer.map(VerifiedPeer::fingerprint);
        let from = if peer.is_some() {
            network(source)
        } else {
            client(source)
        };
        let place = self.place((listener, leaf, from, was_asked, &shadow));
        let key = || {
            self.keep_certificate(session);
            let client = match Who::of(peer) {
                Who::Identity(key) => Client::Identity(key),
                Who::Anonymous if was_asked => Client::WithoutCertificate,
                Who::Anonymous => Client::Unasked,
            };
            ClientKey {
                listener: listener.to_owned(),
                client,
                from,
                shadow,
            }
        };
        let tally = tally(source, leaf, now);
        let clients = &mut self.clients.borrow_mut();
        if !note_client(clients, place, key, tally, room(peer.is_some())) {
            self.dropped.set(self.dropped.get() + 1);
        }
    }

    /// A connection without a certificate that counts is open for as long as what it gives is held.
    pub(crate) fn opened_without(self: &Rc<Self>, listener: &str) -> OpenWithout {
        self.note_open(listener, 1);
        OpenWithout {
            recorder: Rc::clone(self),
            listener: listener.into(),
        }
    }

    fn note_open(&self, listener: &str, change: i64) {
        if self.keeper.is_none() {
            return;
        }
        let mut open = self.open.borrow_mut();
        if let Some(count) = open.get_mut(listener) {
            *count += change;
        } else {
            open.insert(listener.to_owned(), change);
        }
    }

    /// A handshake was refused for what the client showed, or did not show.
    pub(crate) fn turned_away(
        &self,
        listener: &str,
        source: IpAddr,
        cause: &'static str,
        shadow: Option<CertificateVerdict>,
        now: u64,
    ) {
        if !self.is_on() {
            return;
        }
        let from = client(source);
        let place = self.place((listener, cause, from, &shadow));
        let key = || ClientKey {
            listener: listener.to_owned(),
            client: Client::Refused(cause.to_owned()),
            from,
            shadow,
        };
        let refused = &mut self.refused.borrow_mut();
        if !note_client(refused, place, key, tally(source, None, now), MAX_REFUSED) {
            self.refused_dropped.set(self.refused_dropped.get() + 1);
        }
    }

    fn keep_certificate(&self, session: &Session) {
        if let Some(peer) = &session.peer {
            let certificate = StoredCertificate::of(peer);
            let mut certificates = self.certificates.borrow_mut();
            certificates.push((peer.fingerprint(), certificate));
        }
    }

    /// Hands over what there is. Where nobody takes it now, it is kept for the next time, within its bound.
    pub(crate) fn hand_over(&self) {
        let Some(keeper) = &self.keeper else { return };
        let mut clients = emptied(&self.clients);
        clients.append(&mut emptied(&self.refused));
        let batch = Batch {
            decisions: emptied(&self.decisions),
            clients,
            certificates: self.certificates.take(),
            open: self.open.take(),
            dropped: self.dropped.take(),
            refused_dropped: self.refused_dropped.take(),
        };
        let is_lossless = batch.dropped == 0 && batch.refused_dropped == 0;
        let is_quiet = batch.decisions.is_empty() && batch.clients.is_empty();
        if is_quiet && is_lossless && batch.open.is_empty() {
            return;
        }
        let lost = match keeper.try_send(batch) {
            Ok(()) => return,
            Err(TrySendError::Full(batch) | TrySendError::Disconnected(batch)) => batch,
        };
        let count = |tallies: u64| self.dropped.set(self.dropped.get() + tallies);
        // What was counted is not; who is open still is.
        *self.open.borrow_mut() = lost.open;
        self.refused_dropped.set(lost.refused_dropped);
        count(lost.dropped);
        count(lost.decisions.iter().map(|(_, tally)| tally.count).sum());
        count(lost.clients.iter().map(|(_, tally)| tally.count).sum());
    }
}

/// Puts what is hashed behind each other: each piece says itself where it ends.
struct Pieces<'a>(&'a mut Vec<u8>);

impl Hasher for Pieces<'_> {
    fn write(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    fn finish(&self) -> u64 {
        unreachable!("nobody asks")
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        self.hand_over();
    }
}

/// What is in it. It keeps the room that as much will take the next time.
fn emptied<V>(map: &RefCell<OwnKeyMap<u64, V>>) -> Vec<V> {
    let mut map = map.borrow_mut();
    let values: Vec<V> = map.drain().map(|(_, value)| value).collect();
    map.shrink_to(values.len());
    values
}

/// Whether there was room.
fn note_client(
    clients: &mut OwnKeyMap<u64, (ClientKey, Tally)>,
    place: u64,
    key: impl FnOnce() -> ClientKey,
    tally: Tally,
    room: usize,
) -> bool {
    if clients.len() >= room && !clients.contains_key(&place) {
        return false;
    }
    match clients.entry(place) {
        Entry::Occupied(mut known) => known.get_mut().1.add(&tally),
        Entry::Vacant(vacant) => {
            vacant.insert((key(), tally));
        }
    }
    true
}

fn tally(source: IpAddr, leaf: Option<Fingerprint>, now: u64) -> Tally {
    Tally {
        count: 1,
        first_unix_s: now,
        last_unix_s: now,
        source: source.to_canonical(),
        leaf,
    }
}

/// Those who make things up leave room for those who are known.
fn room(is_known: bool) -> usize {
    if is_known { 2 * MAX_HELD } else { MAX_HELD }
}

/// Of each kind, in a second: a third of what is kept in all. Of an identity as many certificates as there are, so that of identities themselves
/// there is room for fewer.
const MAX_HELD: usize = 1024;
/// As many as are kept in all.
const MAX_REFUSED: usize = 256;
