//! An authority in another process: how this node reaches it, what of it is kept on disk, and how it begins.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use countersign_agent::earlier_holds::EarlierHolds;
use countersign_agent::feed_client::FeedClient;
use countersign_agent::feed_log::{FeedLog, FeedLogError, Held};
use countersign_agent::keeper::Keeper;
use countersign_agent::port_url::FeedUrl;
use countersign_authority::state::StateFolder;
use countersign_pki::bundle::TrustBundle;
use countersign_pki::certificate::Certificate;
use countersign_pki::chain::{Limits, Verifier};
use countersign_pki::feed::{
    self, Bundle, Frame, Head, MAX_PART, Message, OutOfOrder, Position, Revoked,
};
use countersign_pki::identity::BundleName;
use countersign_pki::pem;
use countersign_pki::revocation::RevocationIndex;
use countersign_pki::time::UnixTime;
use countersign_proxy::config::FeedConfig;
use countersign_runtime::clock::SharedClock;
use countersign_runtime::config::ConfigError;
use countersign_tls::connector::{Connector, ConnectorSettings, Versions};
use countersign_tls::credentials::SharedCredentials;
use countersign_tls::enforcement::Enforcement;
use tokio::sync::watch;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep, timeout};

use super::identity::{self, NodeRenewal};
use super::line::{Done, Line};
use super::speaker::Speaker;
use super::trust::{Told, Trusted};
use super::{Beginning, FIRST_BACKOFF, Follower, Source, jittered};
use crate::composition::Own;
use crate::configuration::Loaded;
use crate::fault::Fault;
use crate::private_folder::make_private_folders;

/// The feed of another process, wherever this node stands in it.
pub(crate) struct Remote {
    hearing: Hearing,
    held: Option<Position>,
    needs_snapshot: bool,
    place: watch::Sender<Option<u64>>,
}

/// What goes with each stream.
#[derive(Clone)]
pub(super) struct Hearing {
    pub(super) client: Arc<FeedClient>,
    keeper: Keeper,
    clock: SharedClock,
    pub(super) trusted: Trusted,
    earlier_holds: Arc<Mutex<EarlierHolds>>,
}

/// What a node begins to serve with.
pub(crate) struct OpenedRemote {
    pub(crate) enforcement: Enforcement,
    pub(crate) own: Own,
    pub(crate) source: Source,
    /// `None`: the authority does not answer, and what is on disk has to do.
    pub(crate) follower: Option<Follower>,
    pub(crate) told: watch::Receiver<Told>,
    /// Hears which version of them the gateway serves by.
    pub(crate) in_force: watch::Sender<u64>,
    pub(crate) client: Arc<FeedClient>,
    pub(crate) renewal: NodeRenewal,
    pub(crate) departure: Departure,
}

/// Says that this node ends, when it does.
pub(crate) struct Departure {
    client: Arc<FeedClient>,
    place: watch::Receiver<Option<u64>>,
}

/// Opens what is on disk and reaches for the authority. Without either there is nothing to serve by.
pub(crate) async fn open_remote(
    state: &StateFolder,
    loaded: &Loaded,
    config: &FeedConfig,
    clock: &SharedClock,
) -> Result<OpenedRemote, Fault> {
    let now = UnixTime::from_seconds(clock.unix_seconds());
    let node = Node::load(state, loaded, config, now)?;
    let (log, held) = open_log(state).await?;
    let revoked = held.as_ref().map(|held| held.revoked.clone());
    let enforcement = Enforcement::new(
        RevocationIndex::new(revoked.unwrap_or_default()),
        Arc::clone(clock),
    );
    if let Some(held) = &held {
        enforcement.resume(held.position.confirmed_at());
    }
    let credentials = node.credentials.clone();
    let connector = Connector::new(node.port(), Some(credentials), enforcement.clone())
        .map_err(|error| loaded.fault(&ConfigError::new("gateway.feed.url", error.to_string())))?;
    let keeper = Keeper::start(log)
        .map_err(|error| Fault::world(format_args!("no thread for the feed's state: {error}")))?;
    let (in_force, has_in_force) = watch::channel(0);
    let trusted = Trusted::new(by_name(held.as_ref()), has_in_force);
    let mut told = trusted.told();
    let (place, has_place) = watch::channel(None);
    let client = Arc::new(FeedClient::new(connector));
    let mut source = Source::Remote(Box::new(Remote {
        hearing: Hearing {
            client: Arc::clone(&client),
            keeper,
            clock: Arc::clone(clock),
            trusted,
            earlier_holds: Arc::new(Mutex::new(
                held.as_ref()
                    .and_then(|held| held.earlier.as_ref())
                    .map(|earlier| EarlierHolds::new(&earlier.holds))
                    .unwrap_or_default(),
            )),
        },
        held: held.as_ref().map(|held| held.position.clone()),
        // What it missed shall be in force before it is ready, and messages come one after the other.
        needs_snapshot: true,
        place,
    }));
    let patience = if held.is_some() {
        CATCH_UP
    } else {
        FIRST_CONTACT
    };
    let beginning = match join_within(patience, &mut source, &enforcement).await {
        Ok(beginning) => Some(beginning),
        Err(error) => match &held {
            Some(held) => {
                tracing::warn!(
                    error,
                    confirmed_at = %held.position.confirmed_at(),
                    revocations = held.revoked.len(),
                    "the authority does not answer: this node serves by what it has on disk"
                );
                None
            }
            None => {
                return Err(Fault::world(format_args!(
                    "this node has heard nothing from its authority yet, and cannot now: {error}"
                ))
                .hint("gateway.feed.url says where the authority is; the first start needs it, later ones do not"));
            }
        },
    };
    let own = own_of(&told.borrow_and_update(), now).map_err(|why| {
        Fault::world(why).hint("look at the authority: what it vouches for is of no use")
    })?;
    // Nobody is served yet, and whoever will be is served by this.
    in_force.send_replace(own.version);
    let follower = beginning.map(|it| Follower::join(it, enforcement.clone()));
    Ok(OpenedRemote {
        enforcement,
        own,
        source,
        follower,
        told,
        in_force,
        client: Arc::clone(&client),
        renewal: NodeRenewal {
            client: Arc::clone(&client),
            credentials: node.credentials,
            state: state.clone(),
            clock: Arc::clone(clock),
            asked: None,
        },
        departure: Departure {
            client,
            place: has_place,
        },
    })
}

/// What the bundles of a feed give to a gateway.
pub(crate) fn own_of(told: &Told, now: UnixTime) -> Result<Own, String> {
    let (bundle, intermediates) = usable(&told.bundles, now)?;
    Ok(Own {
        bundle,
        intermediates,
        // The file that the feed is known by says.
        operators: None,
        credentials: None,
        version: told.version,
    })
}

fn usable(
    bundles: &BTreeMap<BundleName, Bundle>,
    now: UnixTime,
) -> Result<(TrustBundle, Vec<Certificate>), String> {
    let bundle = bundles
        .get(&BundleName::internal())
        .ok_or("the feed tells no bundle called internal")?;
    bundle.trust(now).map_err(|error| error.to_string())
}

impl Departure {
    /// For a process that serves nobody any more: whoever revokes from now on does not wait for it.
    pub(crate) async fn leave(self) {
        let Some(place) = *self.place.borrow() else {
            return;
        };
        match timeout(LEAVE_LIMIT, self.client.leave(place)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                tracing::info!(%error, "the authority does not know that this node ends");
            }
            Err(_) => tracing::info!("the authority does not know that this node ends: no answer"),
        }
    }
}

impl Remote {
    /// Takes a place behind what is held.
    pub(super) async fn join(&mut self, enforcement: &Enforcement) -> Result<Beginning, String> {
        let after = self
            .held
            .as_ref()
            .filter(|_| !self.needs_snapshot)
            .map(|position| (position.history(), position.sequence()));
        let client = Arc::clone(&self.hearing.client);
        let said = |error| client.explain(error).to_string();
        let mut stream = client.hear(after).await.map_err(said)?;
        let revocations = enforcement.revocations();
        let is_news = |it: &Revoked| is_news(&revocations, it);
        let told = stream.next(is_news).await;
        let (head, revoked, is_whole) = match told.map_err(said)? {
            feed::Told::Snapshot { head, revoked } => (head, revoked, true),
            feed::Told::Resumed(head) => (head, Vec::new(), false),
            feed::Told::Message(_) => return Err("the feed begins in the middle".to_owned()),
        };
        let head = self.hearing.by_our_clock(head);
        let position = self.rejoin(&head, is_whole).map_err(|error| {
            format!("{error}: what this node holds stays, and is confirmed no more")
        })?;
        let bundles = named(&head.bundles);
        // Refused before anything is given up for it.
        usable(&bundles, self.hearing.now())?;
        // In another history nobody has released what that one does not know (invariant 5).
        let is_same = (self.held.as_ref()).is_none_or(|before| *before.history() == head.history);
        let has_every_hold = is_whole && is_same;
        let in_force = if is_whole {
            let mut earlier = self.hearing.earlier_holds();
            earlier.begin((!is_same).then_some(&*revocations), &revoked);
            earlier.with(&revoked)
        } else {
            Vec::new()
        };
        self.held = Some(position.clone());
        self.needs_snapshot = false;
        self.place.send_replace(Some(head.place));
        self.hearing.trusted.tell(bundles);
        let speaker = Speaker::start(client, head.place, head.history.clone());
        let kept = self
            .hearing
            .keep_frames(beginning(head, &revoked, is_whole));
        tracing::info!(
            sequence = position.sequence().0,
            news = revoked.len(),
            resumed = !is_whole,
            "the authority's feed is heard"
        );
        Ok(Beginning {
            line: Line::Remote {
                stream: Box::new(stream),
                speaker,
                hearing: self.hearing.clone(),
            },
            position,
            revoked: in_force,
            has_every_hold,
            kept,
        })
    }

    /// Where a stream that is over has come to.
    pub(super) fn left(&mut self, position: &Position, needs_snapshot: bool) {
        self.held = Some(position.clone());
        self.needs_snapshot |= needs_snapshot;
        self.place.send_replace(None);
    }

    fn rejoin(&self, head: &Head, is_whole: bool) -> Result<Position, OutOfOrder> {
        let Some(before) = &self.held else {
            return Ok(Position::of(head));
        };
        let position = before.rejoin(head)?;
        // Only a snapshot may skip what was told in between.
        let is_same = head.history == *before.history() && head.sequence == before.sequence();
        if !is_whole && !is_same {
            return Err(OutOfOrder::Gap {
                held: before.sequence().0,
                told: head.sequence.0,
            });
        }
        Ok(position)
    }
}

/// Whether it says more than is held. A hold always does: those that a snapshot lacks were released.
pub(super) fn is_news(held: &RevocationIndex, told: &Revoked) -> bool {
    told.reason.is_hold()
        || (held.find(&told.issuer_key, told.serial)).is_none_or(|known| known.reason.is_hold())
}

impl Hearing {
    /// Durable in the order of the calls.
    pub(super) fn keep(&self, message: &Message) -> Done {
        self.earlier_holds().hear(&message.body);
        let mut message = message.clone();
        message.at = message.at.min(self.now());
        self.keep_frames(vec![Frame::Message(message)])
    }

    /// A bundle is this from now on; others stay. One that nobody can be verified against changes nothing.
    pub(super) fn trust(&self, bundle: Bundle) -> Result<(), String> {
        let bundles = self.trusted.with(bundle);
        usable(&bundles, self.now())?;
        self.trusted.tell(bundles);
        Ok(())
    }

    /// Until the keeper needs a new beginning.
    pub(super) fn behind(&self) -> Done {
        Box::pin(self.keeper.behind())
    }

    fn earlier_holds(&self) -> MutexGuard<'_, EarlierHolds> {
        // Nothing between lock and unlock panics.
        (self.earlier_holds.lock()).unwrap_or_else(PoisonError::into_inner)
    }

    fn keep_frames(&self, frames: Vec<Frame>) -> Done {
        Box::pin(self.keeper.keep(frames))
    }

    fn now(&self) -> UnixTime {
        UnixTime::from_seconds(self.clock.unix_seconds())
    }

    /// An authority whose clock is ahead makes nothing younger than now, after a restart of this node neither.
    fn by_our_clock(&self, mut head: Head) -> Head {
        head.at = head.at.min(self.now());
        head
    }
}

/// This node's identity, as its files have it.
struct Node {
    url: FeedUrl,
    credentials: SharedCredentials,
    verifier: Arc<Verifier>,
}

impl Node {
    /// Of the authority, whatever is known of its feed.
    fn port(&self) -> ConnectorSettings {
        ConnectorSettings {
            host: self.url.host().to_owned(),
            port: self.url.port(),
            names: Vec::new(),
            versions: Versions::Tls13,
            feed_life: None,
            verifier: Arc::clone(&self.verifier),
            alpn: vec![b"http/1.1".to_vec()],
            connect_timeout: CONNECT_TIMEOUT,
        }
    }

    fn load(
        state: &StateFolder,
        loaded: &Loaded,
        config: &FeedConfig,
        now: UnixTime,
    ) -> Result<Self, Fault> {
        let wrong = |key: &str, why: String, hint: &str| {
            let place = format!("gateway.feed.{key}");
            loaded.fault(&ConfigError::new(place, why).hint(hint))
        };
        let url: FeedUrl = config.url.parse().map_err(|error| {
            wrong(
                "url",
                format!("{error}"),
                "write \"https://HOST:PORT\", as [authority.feed] listens there",
            )
        })?;
        let read = |key: &str, path: &Path| {
            loaded
                .read(path)
                .map_err(|error| wrong(key, format!("{}: {error}", path.display()), ISSUE_NODE))
        };
        let credentials = identity::load(state, loaded, config)?;
        let bundle = read("bundle", &config.bundle)?;
        let anchors = anchors(&bundle).and_then(|anchors| {
            TrustBundle::new(BundleName::operators(), None, anchors, now)
                .map_err(|error| error.to_string())
        });
        let verifier = anchors.and_then(|bundle| {
            Verifier::new(vec![Arc::new(bundle)], Limits::default())
                .map_err(|error| error.to_string())
        });
        let verifier = verifier.map_err(|why| {
            wrong(
                "bundle",
                format!("{}: {why}", config.bundle.display()),
                ISSUE_NODE,
            )
        })?;
        Ok(Self {
            url,
            credentials,
            verifier: Arc::new(verifier),
        })
    }
}

fn anchors(file: &[u8]) -> Result<Vec<Certificate>, String> {
    let blocks = pem::decode_all(file).map_err(|error| error.to_string())?;
    blocks
        .iter()
        .filter(|block| block.label == "CERTIFICATE")
        .map(|block| Certificate::parse(&block.der).map_err(|error| error.to_string()))
        .collect()
}

async fn open_log(state: &StateFolder) -> Result<(FeedLog, Option<Held>), Fault> {
    let folder = state.path().join("gateway");
    let path = folder.join(FILE);
    let opened = spawn_blocking(move || open_blocking(&folder, &path)).await;
    let opened = opened.map_err(Fault::bug)?;
    opened.map_err(|error| {
        let hint = error.hint();
        Fault::world(error).hint(hint)
    })
}

fn open_blocking(folder: &Path, path: &Path) -> Result<(FeedLog, Option<Held>), FeedLogError> {
    make_private_folders(folder).map_err(|source| FeedLogError::Io {
        path: path.to_owned(),
        source,
    })?;
    FeedLog::open(path)
}

/// Tries again and again, until `patience` is over; says why the last time came to nothing. An attempt that is under way is
/// not broken off: an authority that is slow to answer is one that is in reach, and what it is about to say may be what this
/// node must not serve without.
async fn join_within(
    patience: Duration,
    source: &mut Source,
    enforcement: &Enforcement,
) -> Result<Beginning, String> {
    let begun = Instant::now();
    loop {
        let joined = tokio::time::timeout_at(begun + LONGEST_START, source.join(enforcement)).await;
        let error = match joined {
            Ok(Ok(beginning)) => return Ok(beginning),
            Ok(Err(error)) => error,
            Err(_) => {
                return Err(format!(
                    "no beginning is told within {} s",
                    LONGEST_START.as_secs()
                ));
            }
        };
        let wait = jittered(FIRST_BACKOFF * 4);
        if Instant::now() + wait >= begun + patience {
            return Err(error);
        }
        sleep(wait).await;
    }
}

fn beginning(head: Head, revoked: &[Revoked], is_whole: bool) -> Vec<Frame> {
    if !is_whole {
        return vec![Frame::Resumed(head)];
    }
    let parts = revoked
        .chunks(MAX_PART)
        .map(|part| Frame::Revoked(part.to_vec()));
    let complete = Frame::Complete {
        revoked: revoked.len() as u64,
    };
    std::iter::once(Frame::Snapshot(head))
        .chain(parts)
        .chain([complete])
        .collect()
}

fn by_name(held: Option<&Held>) -> BTreeMap<BundleName, Bundle> {
    held.map(|held| named(&held.bundles)).unwrap_or_default()
}

fn named(bundles: &[Bundle]) -> BTreeMap<BundleName, Bundle> {
    bundles
        .iter()
        .map(|bundle| (bundle.name.clone(), bundle.clone()))
        .collect()
}

/// In the state folder's `gateway/`.
const FILE: &str = "feed";
pub(super) const ISSUE_NODE: &str =
    "`countersign issue node NAME --out DIR` writes all three files, where the authority is";
/// A name server that is slow, two round trips, an authority that has just been started.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// What may have been revoked while this node was down is worth a moment, where nobody answers: this is how long another
/// attempt is begun.
const CATCH_UP: Duration = Duration::from_secs(3);
/// Started together, the authority needs a moment to unseal its keys and to issue its own certificate.
const FIRST_CONTACT: Duration = Duration::from_secs(15);
/// Less than what systemd gives a start by default, 90 s. A million revocations are told in some seconds.
const LONGEST_START: Duration = Duration::from_mins(1);
const LEAVE_LIMIT: Duration = Duration::from_secs(2);
