//! The feed for nodes in other processes, where `[authority.feed]` asks for it: bound and certified before it is served.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use countersign_authority::authority::Authority;
use countersign_authority::feed_port::{self, FeedPort, LISTENER, TurnAway, TurnedAway};
use countersign_authority::state::StateFolder;
use countersign_diagnose::cause::Cause;
use countersign_diagnose::evidence::Evidence;
use countersign_diagnose::refusal::Refusal;
use countersign_pki::bundle::TrustBundle;
use countersign_pki::identity::BundleName;
use countersign_pki::time::UnixTime;
use countersign_proxy::refusals::{Phase, RefusalLog, Refused, printable};
use countersign_runtime::clock::SharedClock;
use countersign_runtime::drain::Drain;
use countersign_runtime::listen::BindError;
use countersign_tls::enforcement::Enforcement;
use tokio::net::TcpListener;
use tokio::sync::watch;

use super::tasks::Tasks;
use crate::composition::{feed_names, host_name};
use crate::configuration::Loaded;
use crate::fault::Fault;
use crate::gateway_certificate::{Issuer, Port, Renewal, Wanted};

/// Ready to be served.
pub(super) struct OpenedFeedPort {
    port: Arc<FeedPort>,
    listener: TcpListener,
    renewal: Renewal,
    /// As bound.
    pub(super) address: SocketAddr,
}

/// Binds and certifies it, where there is an authority and its configuration wants it.
pub(super) async fn open_feed_port(
    loaded: &Loaded,
    authority: Option<&Arc<Authority>>,
    state: &StateFolder,
    enforcement: &Enforcement,
    refusals: &RefusalLog,
    clock: &SharedClock,
) -> Result<Option<OpenedFeedPort>, Fault> {
    let (Some(authority), Some(config)) = (authority, &loaded.configuration.authority.feed) else {
        return Ok(None);
    };
    let names = feed_names(config, host_name()).map_err(|error| loaded.fault(&error))?;
    let cannot_bind = |reason| {
        Fault::from(BindError::Other {
            addr: config.address,
            reason,
        })
        .or_hint("authority.feed.address says where the feed is told")
    };
    let listener = feed_port::bind(config.address).map_err(cannot_bind)?;
    let address = listener.local_addr().map_err(cannot_bind)?;
    let now = UnixTime::from_seconds(clock.unix_seconds());
    let wanted = Wanted {
        names,
        lifetime: LIFETIME,
    };
    let issuer = Issuer::Authority(Arc::clone(authority));
    let credentials = Port::Feed.credentials(&issuer, state, &wanted, now).await?;
    // The operator issuer and no other: what the root vouches for is no node (invariant 12).
    let anchors = vec![authority.operator().clone()];
    let trust =
        TrustBundle::new(BundleName::operators(), None, anchors, now).map_err(Fault::world)?;
    // A reload does not move the port, so its names stay; its certificate is renewed all the same.
    let (_, wanted) = watch::channel(wanted);
    Ok(Some(OpenedFeedPort {
        port: FeedPort::new(
            authority,
            trust,
            credentials.clone(),
            enforcement.clone(),
            keep(refusals.clone()),
        ),
        listener,
        renewal: Renewal {
            port: Port::Feed,
            issuer,
            state: state.clone(),
            credentials,
            wanted,
            enforcement: enforcement.clone(),
            clock: Arc::clone(clock),
        },
        address,
    }))
}

/// Refusals are kept, logged and counted as those of listeners are: whoever comes again and again is one entry.
fn keep(refusals: RefusalLog) -> TurnAway {
    Box::new(move |turned_away| {
        refusals.record(match turned_away {
            TurnedAway::AtHandshake(refused) => {
                Refused::at_handshake(*refused, LISTENER.to_owned())
            }
            TurnedAway::NoNode { peer, source, why } => {
                let evidence = Evidence::new().with("profile", "node");
                Refused {
                    refusal: Refusal::new(Cause::IdentityNotAllowed, why, evidence).with_fix(
                        "`countersign issue node NAME --out DIR` makes a node's certificate",
                    ),
                    source,
                    listener: LISTENER.to_owned(),
                    phase: Phase::Handshake,
                    sni: None,
                    request: None,
                    principal: Some(printable(peer.principal())),
                    fingerprint: Some(peer.fingerprint()),
                }
            }
        });
    })
}

impl OpenedFeedPort {
    /// Serves it.
    pub(super) fn spawn(self, tasks: &mut Tasks, drain: &Drain) {
        let Self {
            port,
            listener,
            renewal,
            ..
        } = self;
        let serving = port.serve(listener, drain.clone());
        let draining = drain.clone();
        tasks.spawn_endless("the feed port", async move {
            serving.await;
            // Its end is the drain's beginning; the process goes on until the drain is done.
            draining.ended().await;
            std::future::pending::<()>().await;
        });
        tasks.spawn_endless("the renewal of the feed port's certificate", renewal.run());
    }
}

/// As that of a node.
const LIFETIME: Duration = Duration::from_hours(30 * 24);
