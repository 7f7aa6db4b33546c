//! The authority's ports for nodes and for operators, where its configuration asks for them: bound and certified before
//! they are served.

use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use countersign_authority::admin;
use countersign_authority::authority::Authority;
use countersign_authority::feed_port;
use countersign_authority::reserved_port::{Opened, TurnAway, TurnedAway, bind};
use countersign_authority::state::StateFolder;
use countersign_diagnose::cause::Cause;
use countersign_diagnose::evidence::Evidence;
use countersign_diagnose::refusal::Refusal;
use countersign_pki::bundle::TrustBundle;
use countersign_pki::identity::BundleName;
use countersign_pki::name::TypedName;
use countersign_pki::time::UnixTime;
use countersign_proxy::refusals::{Phase, RefusalLog, Refused, printable};
use countersign_runtime::clock::SharedClock;
use countersign_runtime::drain::Drain;
use countersign_runtime::listen::BindError;
use countersign_tls::enforcement::Enforcement;
use tokio::sync::watch;

use super::tasks::Tasks;
use crate::composition::{admin_url, host_name, reserved_port_names, roles};
use crate::configuration::Loaded;
use crate::fault::Fault;
use crate::gateway_certificate::{Issuer, Port, Renewal, Wanted};

/// What a port is opened with.
pub(super) struct Site<'a> {
    pub(super) loaded: &'a Loaded,
    pub(super) authority: &'a Arc<Authority>,
    pub(super) state: &'a StateFolder,
    pub(super) enforcement: &'a Enforcement,
    pub(super) refusals: &'a RefusalLog,
    pub(super) clock: &'a SharedClock,
}

/// Those that the configuration asks for, ready to be served.
#[derive(Default)]
pub(super) struct ReservedPorts {
    admin: Option<OpenedPort>,
    feed: Option<OpenedPort>,
}

impl ReservedPorts {
    /// Binds and certifies them. `site`: `None` where there is no authority.
    pub(super) async fn open(site: Option<Site<'_>>) -> Result<Self, Fault> {
        let Some(site) = site else {
            return Ok(Self::default());
        };
        Ok(Self {
            admin: open_admin_port(&site).await?,
            feed: open_feed_port(&site).await?,
        })
    }

    /// Where the admin API is reached.
    pub(super) fn admin_address(&self) -> Option<SocketAddr> {
        self.admin.as_ref().map(|port| port.address)
    }

    /// Where the feed is told.
    pub(super) fn feed_address(&self) -> Option<SocketAddr> {
        self.feed.as_ref().map(|port| port.address)
    }

    /// Serves them.
    pub(super) fn spawn(self, tasks: &mut Tasks, drain: &Drain) {
        for port in [self.admin, self.feed].into_iter().flatten() {
            port.spawn(tasks, drain);
        }
    }
}

struct OpenedPort {
    opened: Opened,
    serve: Serve,
    serving: &'static str,
    renewing: &'static str,
    renewal: Renewal,
    /// As bound.
    address: SocketAddr,
}

type Serve = fn(Opened, Drain) -> Pin<Box<dyn Future<Output = ()> + Send>>;

/// The admin API for operators on other machines, and who they are.
async fn open_admin_port(site: &Site<'_>) -> Result<Option<OpenedPort>, Fault> {
    let roles = roles(site.loaded)?;
    admin::port::replace_roles(site.authority, site.enforcement, roles).await;
    let Some(config) = &site.loaded.configuration.authority.admin else {
        site.authority.serve_admin_at(None);
        return Ok(None);
    };
    let given = config
        .typed_names()
        .map_err(|error| site.loaded.fault(&error))?;
    let hint = "authority.admin.address says where operators reach the admin API";
    let port = site
        .open(Port::Admin, config.address, given, hint, |opened, drain| {
            Box::pin(admin::port::serve(opened, drain))
        })
        .await?;
    let url = admin_url(config, port.address.port(), host_name());
    site.authority.serve_admin_at(url);
    Ok(Some(port))
}

/// The feed for nodes in other processes.
async fn open_feed_port(site: &Site<'_>) -> Result<Option<OpenedPort>, Fault> {
    let Some(config) = &site.loaded.configuration.authority.feed else {
        return Ok(None);
    };
    let given = config
        .typed_names()
        .map_err(|error| site.loaded.fault(&error))?;
    let hint = "authority.feed.address says where the feed is told";
    let port = site
        .open(Port::Feed, config.address, given, hint, |opened, drain| {
            Box::pin(feed_port::serve(opened, drain))
        })
        .await?;
    Ok(Some(port))
}

impl Site<'_> {
    async fn open(
        &self,
        port: Port,
        address: SocketAddr,
        given: Vec<TypedName>,
        hint: &str,
        serve: Serve,
    ) -> Result<OpenedPort, Fault> {
        // Which nodes and operators were revoked since the backup, a restored authority does not know.
        self.authority.refuse_paused().await?;
        let cannot_bind = |reason| {
            Fault::from(BindError::Other {
                addr: address,
                reason,
            })
            .or_hint(hint)
        };
        let listener = bind(address).map_err(cannot_bind)?;
        let bound = listener.local_addr().map_err(cannot_bind)?;
        let now = UnixTime::from_seconds(self.clock.unix_seconds());
        let wanted = Wanted {
            names: reserved_port_names(address.ip(), given, host_name()),
            lifetime: LIFETIME,
        };
        let issuer = Issuer::Authority(Arc::clone(self.authority));
        let credentials = port.credentials(&issuer, self.state, &wanted, now).await?;
        // The operator issuer and no other: what the root vouches for is neither node nor operator (invariant 12).
        let anchors = vec![self.authority.operator().clone()];
        let trust =
            TrustBundle::new(BundleName::operators(), None, anchors, now).map_err(Fault::world)?;
        // A reload does not move the port, so its names stay; its certificate is renewed all the same.
        let (_, wanted) = watch::channel(wanted);
        let (serving, renewing) = match port {
            Port::Admin => (
                "the admin port",
                "the renewal of the admin port's certificate",
            ),
            _ => (
                "the feed port",
                "the renewal of the feed port's certificate",
            ),
        };
        Ok(OpenedPort {
            opened: Opened {
                authority: Arc::clone(self.authority),
                trust,
                credentials: credentials.clone(),
                enforcement: self.enforcement.clone(),
                listener,
                turned_away: keep(self.refusals.clone(), port),
            },
            serve,
            serving,
            renewing,
            renewal: Renewal {
                port,
                issuer,
                state: self.state.clone(),
                credentials,
                wanted,
                enforcement: self.enforcement.clone(),
                clock: Arc::clone(self.clock),
            },
            address: bound,
        })
    }
}

/// Refusals are kept, logged and counted as those of listeners are: whoever comes again and again is one entry.
fn keep(refusals: RefusalLog, port: Port) -> TurnAway {
    let (listener, profile, fix) = match port {
        Port::Admin => (
            admin::port::LISTENER,
            "operator",
            "`countersign issue operator NAME --out DIR` makes an operator's certificate",
        ),
        _ => (
            feed_port::LISTENER,
            "node",
            "`countersign issue node NAME --out DIR` makes a node's certificate",
        ),
    };
    Box::new(move |turned_away| {
        refusals.record(match turned_away {
            TurnedAway::AtHandshake(refused) => {
                Refused::at_handshake(*refused, listener.to_owned())
            }
            TurnedAway::NoGuest { peer, source, why } => {
                let evidence = Evidence::new().with("profile", profile);
                Refused {
                    refusal: Refusal::new(Cause::IdentityNotAllowed, why, evidence).with_fix(fix),
                    source,
                    listener: listener.to_owned(),
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

impl OpenedPort {
    fn spawn(self, tasks: &mut Tasks, drain: &Drain) {
        let serving = (self.serve)(self.opened, drain.clone());
        let draining = drain.clone();
        tasks.spawn_endless(self.serving, async move {
            serving.await;
            // Its end is the drain's beginning; the process goes on until the drain is done.
            draining.ended().await;
            std::future::pending::<()>().await;
        });
        tasks.spawn_endless(self.renewing, self.renewal.run());
    }
}

/// As that of a node.
const LIFETIME: Duration = Duration::from_hours(30 * 24);
