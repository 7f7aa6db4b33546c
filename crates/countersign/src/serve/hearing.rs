//! What this process has heard of its authority before it serves anybody, and how it goes on hearing.

use std::sync::Arc;

use countersign_authority::authority::Authority;
use countersign_authority::state::StateFolder;
use countersign_pki::revocation::RevocationIndex;
use countersign_pki::time::UnixTime;
use countersign_runtime::clock::SharedClock;
use countersign_runtime::config::ConfigError;
use countersign_tls::enforcement::Enforcement;
use tokio::sync::watch;

use super::feed::{
    Departure, Follower, NodeRenewal, OpenedRemote, Source, Told, open_remote, own_of,
};
use crate::composition::{Own, node_name};
use crate::configuration::Loaded;
use crate::fault::Fault;
use crate::gateway_certificate::{Issuer, Port, Wanted};

/// What is in force at the start.
pub(super) struct Heard {
    pub(super) enforcement: Enforcement,
    /// What the authority gives; changes with the feed's bundles.
    pub(super) own: watch::Receiver<Option<Own>>,
    /// `None`: there is no authority, near or far.
    pub(super) following: Option<Following>,
    /// Who certifies the listeners that have no certificate of their own.
    pub(super) issuer: Option<Issuer>,
    pub(super) departure: Option<Departure>,
}

/// What goes on from there.
pub(super) struct Following {
    pub(super) source: Source,
    pub(super) first: Option<Follower>,
    pub(super) trust: Option<Trust>,
    /// Hears by which version of the feed's bundles is served.
    pub(super) in_force: Option<watch::Sender<u64>>,
    pub(super) renewal: Option<NodeRenewal>,
}

/// The bundles of a feed on their way to the gateway.
pub(super) struct Trust {
    told: watch::Receiver<Told>,
    own: watch::Sender<Option<Own>>,
    clock: SharedClock,
}

/// Hears the feed up to now, where there is one.
pub(super) async fn hear(
    state: &StateFolder,
    loaded: &Loaded,
    authority: Option<&Arc<Authority>>,
    own: Option<Own>,
    wanted: &Wanted,
    clock: &SharedClock,
) -> Result<Heard, Fault> {
    if let Some(config) = &loaded.configuration.gateway.feed {
        let OpenedRemote {
            enforcement,
            mut own,
            source,
            follower,
            told,
            in_force,
            client,
            renewal,
            departure,
        } = open_remote(state, loaded, config, clock).await?;
        let issuer = Issuer::Remote {
            client,
            cas: own.intermediates.clone(),
        };
        if loaded.configuration.gateway.needs_own_certificate() {
            if wanted.names.is_empty() {
                return Err(nameless(loaded));
            }
            let now = UnixTime::from_seconds(clock.unix_seconds());
            own.credentials = Some(
                Port::Gateway
                    .credentials(&issuer, state, wanted, now)
                    .await?,
            );
        }
        let (sender, own) = watch::channel(Some(own));
        let trust = Trust {
            told,
            own: sender,
            clock: Arc::clone(clock),
        };
        return Ok(Heard {
            enforcement,
            own,
            following: Some(Following {
                source,
                first: follower,
                trust: Some(trust),
                in_force: Some(in_force),
                renewal: Some(renewal),
            }),
            issuer: Some(issuer),
            departure: Some(departure),
        });
    }
    let enforcement = Enforcement::new(RevocationIndex::default(), Arc::clone(clock));
    let (_, own) = watch::channel(own);
    let following = match authority {
        Some(authority) => {
            let mut source = Source::Authority {
                authority: Arc::clone(authority),
                node: node_name(),
            };
            let beginning = source.join(&enforcement).await.map_err(Fault::world)?;
            let first = Some(Follower::join(beginning, enforcement.clone()));
            Some(Following {
                source,
                first,
                trust: None,
                in_force: None,
                renewal: None,
            })
        }
        None => None,
    };
    Ok(Heard {
        enforcement,
        own,
        following,
        issuer: authority.map(|authority| Issuer::Authority(Arc::clone(authority))),
        departure: None,
    })
}

/// Far from its authority a gateway has no names but those of its routes, and those only that are bound to it.
fn nameless(loaded: &Loaded) -> Fault {
    loaded.fault(
        &ConfigError::new(
            "gateway.listener",
            "a listener has no certificate, and no route names a host that one could be for",
        )
        .hint("give routes their host, or each listener its certificate and key"),
    )
}

impl Trust {
    /// Hands bundles on as they change. The feed takes none that nobody could be verified against.
    pub(super) async fn hand_on(mut self) {
        while self.told.changed().await.is_ok() {
            let told = self.told.borrow_and_update().clone();
            let now = UnixTime::from_seconds(self.clock.unix_seconds());
            match own_of(&told, now) {
                Ok(next) => {
                    self.own.send_modify(|own| {
                        let credentials = own.as_ref().and_then(|own| own.credentials.clone());
                        *own = Some(Own {
                            credentials,
                            ..next
                        });
                    });
                }
                Err(error) => {
                    tracing::error!(error, "the feed's bundle is not taken");
                }
            }
        }
        std::future::pending::<()>().await;
    }
}
