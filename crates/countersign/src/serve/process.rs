//! What a serving process says about itself on the admin socket: `GET /v1/process`.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::routing::get;
use axum::{Json, Router};
use countersign_authority::api::Risk;
use countersign_pki::time::spoken;
use countersign_proxy::config::rule::AllowEntry;
use countersign_proxy::config::{EgressConfig, ListenerConfig, UpstreamUrls};
use countersign_tls::enforcement::Enforcement;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use super::self_check::Watched;
use super::trust_lists::{BundleView, TrustLists};
use crate::configuration::Loaded;
use crate::scan::doorway::doorways;

/// `GET`: [`ProcessView`] out.
pub(crate) const PROCESS: &str = "/v1/process";

/// A serving process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ProcessView {
    /// Its id.
    pub(crate) pid: u32,
    /// Its version.
    pub(crate) version: String,
    /// Where `/metrics`, `/healthz` and `/readyz` are.
    pub(crate) metrics: SocketAddr,
    /// How long ago the authority's feed was last confirmed; `None`: there is no feed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) feed_age_s: Option<u64>,
    /// The trust bundles, by name.
    #[serde(default)]
    pub(crate) bundles: Vec<BundleView>,
    /// Risks of the configuration in force, of a feed that is not confirmed, and of trust that ends.
    pub(crate) risks: Vec<Risk>,
}

/// Holds the present view.
#[derive(Clone)]
pub(crate) struct Process {
    view: Arc<watch::Sender<ProcessView>>,
    shortest_feed_life: Arc<watch::Sender<Duration>>,
    self_check: Arc<watch::Sender<Watched>>,
    /// Why what stands in the configuration's files is not what is in force.
    refused_configuration: Arc<watch::Sender<Option<String>>>,
    enforcement: Enforcement,
    lists: TrustLists,
}

impl Process {
    /// Of this process.
    pub(crate) fn new(
        metrics: SocketAddr,
        loaded: &Loaded,
        enforcement: Enforcement,
        lists: TrustLists,
    ) -> Self {
        let view = ProcessView {
            pid: std::process::id(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            metrics,
            feed_age_s: None,
            bundles: Vec::new(),
            risks: risks(loaded),
        };
        Self {
            view: Arc::new(watch::Sender::new(view)),
            shortest_feed_life: Arc::new(watch::Sender::new(shortest_feed_life(loaded))),
            self_check: Arc::new(watch::Sender::new(watched(loaded))),
            refused_configuration: Arc::default(),
            enforcement,
            lists,
        }
    }

    /// What stands in the configuration's files was read again. `refused`: why it is not in force.
    pub(crate) fn read_again(&self, refused: Option<String>) {
        self.refused_configuration.send_replace(refused);
    }

    /// Another configuration is in force.
    pub(crate) fn reloaded(&self, loaded: &Loaded) {
        self.view.send_modify(|view| view.risks = risks(loaded));
        self.shortest_feed_life
            .send_replace(shortest_feed_life(loaded));
        replace(&self.self_check, watched(loaded));
    }

    /// Of the listeners, as it is now and after each reload.
    pub(crate) fn shortest_feed_life(&self) -> watch::Receiver<Duration> {
        self.shortest_feed_life.subscribe()
    }

    /// What the gateway looks at itself for, as it is now and after each reload.
    pub(crate) fn self_check(&self) -> watch::Receiver<Watched> {
        self.self_check.subscribe()
    }

    fn view(&self) -> ProcessView {
        let mut view = self.view.borrow().clone();
        let age = self.enforcement.feed_age();
        view.feed_age_s = age.map(|age| age.as_secs());
        let life = *self.shortest_feed_life.borrow();
        view.risks.extend(age.and_then(|age| stale(age, life)));
        view.bundles = self.lists.views();
        view.risks.extend(self.lists.risks());
        let refused = self.refused_configuration.borrow().clone();
        view.risks.extend(refused.map(|error| Risk {
            sentence: format!("an earlier configuration is in force, since the present one is refused: {error}"),
            hint: "correct it: it is taken over when it has changed; `countersign config check FILE` judges it before".to_owned(),
        }));
        view
    }

    /// Its endpoint.
    pub(crate) fn router(&self) -> Router {
        let process = self.clone();
        Router::new().route(PROCESS, get(async move || Json(process.view())))
    }
}

/// A listener on whatever port is free has none that the configuration tells.
fn watched(loaded: &Loaded) -> Watched {
    let (mut doorways, left_out) = doorways(loaded);
    let all = doorways.len();
    doorways.retain(|doorway| doorway.target.port != 0);
    let unknown = all - doorways.len();
    let every = loaded.configuration.gateway.self_check.duration();
    Watched {
        doorways,
        left_out: left_out.len() + unknown,
        every: (!every.is_zero()).then_some(every),
        configuration: loaded.configuration.clone(),
        files: loaded.files(),
    }
}

/// Tells nobody of what is the same: a look that is under way counts on.
fn replace(watched: &watch::Sender<Watched>, by: Watched) {
    watched.send_if_modified(|before| {
        let is_other = before.configuration != by.configuration || before.files != by.files;
        *before = by;
        is_other
    });
}

fn shortest_feed_life(loaded: &Loaded) -> Duration {
    let gateway = &loaded.configuration.gateway;
    // A break-glass listener is there for when the feed is silent.
    let listeners = gateway
        .listener
        .iter()
        .filter(|it| it.break_glass.is_none());
    let listeners = listeners.map(|it| it.feed_life.duration());
    listeners
        .chain(gateway.egress.iter().map(|_| EgressConfig::FEED_LIFE))
        .min()
        .unwrap_or(Duration::MAX)
}

/// From half of its life on.
fn stale(age: Duration, life: Duration) -> Option<Risk> {
    let sentence = if age >= life {
        format!(
            "the feed was last confirmed {} ago: listeners with a feed_life of {} admit nobody who shows a certificate",
            spoken(age),
            spoken(life)
        )
    } else if age >= life / 2 {
        format!(
            "the feed was last confirmed {} ago: in {} listeners with a feed_life of {} admit nobody who shows a certificate",
            spoken(age),
            spoken(life.saturating_sub(age)),
            spoken(life)
        )
    } else {
        return None;
    };
    Some(Risk {
        sentence,
        hint: "look at the authority and at the way there; the log says why the feed is not heard"
            .to_owned(),
    })
}

/// What is risky about a configuration that can be served.
fn risks(loaded: &Loaded) -> Vec<Risk> {
    let gateway = &loaded.configuration.gateway;
    let routes = gateway.listener.iter().flat_map(|listener| &listener.route);
    let of_bytes = gateway
        .listener
        .iter()
        .filter_map(|it| it.upstream.as_ref());
    let mut upstreams: Vec<&str> = routes
        .map(|route| &route.upstream)
        .chain(of_bytes)
        .flat_map(UpstreamUrls::iter)
        .filter(|url| leaves_the_host(url))
        .collect();
    upstreams.sort_unstable();
    upstreams.dedup();
    let plaintext = upstreams.into_iter().map(|url| Risk {
        sentence: format!("what clients send goes on to {url} in plaintext, over the network"),
        hint: "put the gateway beside the service, so that the plaintext stays on loopback"
            .to_owned(),
    });
    let metrics = gateway.metrics_address;
    let open_metrics = (!metrics.ip().is_loopback()).then(|| Risk {
        sentence: format!("metrics are served on {metrics} to whoever can connect"),
        hint: "gateway.metrics_address on loopback, or a firewall before it".to_owned(),
    });
    let open_glass = (gateway.listener.iter())
        .filter(|it| it.break_glass.is_some() && admits_anybody(it))
        .map(|listener| Risk {
            sentence: format!(
                "while it is armed, break-glass listener {} admits everybody who gets there",
                listener.address
            ),
            hint: "let allow name the few who need it".to_owned(),
        });
    plaintext.chain(open_metrics).chain(open_glass).collect()
}

fn admits_anybody(listener: &ListenerConfig) -> bool {
    let of_routes = listener.route.iter().flat_map(|route| &route.allow);
    let mut allow = listener.allow.iter().chain(of_routes);
    allow.any(|entry| matches!(entry, AllowEntry::Anyone | AllowEntry::AnyTrusted))
}

fn leaves_the_host(upstream: &str) -> bool {
    let plaintext = ["http://", "tcp://"];
    let Some(authority) = plaintext
        .iter()
        .find_map(|scheme| upstream.strip_prefix(scheme))
    else {
        return false;
    };
    let authority = authority.split(['/', '?', '#']).next().unwrap_or_default();
    let host = match authority.strip_prefix('[') {
        Some(bracketed) => bracketed.split(']').next().unwrap_or_default(),
        None => authority.split(':').next().unwrap_or_default(),
    };
    let local = host.eq_ignore_ascii_case("localhost")
        || host
            .parse::<IpAddr>()
            .is_ok_and(|address| address.is_loopback());
    !local
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reload_that_changes_nothing_is_no_change_to_who_looks() {
        let folder = tempfile::tempdir().expect("a folder");
        let (file, bundle) = (folder.path().join("it.toml"), folder.path().join("it.pem"));
        let loaded = |allow: &str, pem: &str| {
            let toml = format!(
                "[[gateway.listener]]\naddress = \"127.0.0.1:8443\"\n\
                 [[gateway.listener.route]]\nupstream = \"demo\"\nallow = [\"{allow}\"]\n"
            );
            std::fs::write(&file, toml).expect("writes");
            std::fs::write(&bundle, pem).expect("writes");
            let loaded = Loaded::from_file(&file).expect("a configuration");
            loaded.read(&bundle).expect("a file");
            loaded
        };
        let sender = watch::Sender::new(watched(&loaded("any-trusted", "a")));
        let mut receiver = sender.subscribe();
        let mut check = |allow, pem, expected| {
            replace(&sender, watched(&loaded(allow, pem)));
            assert_eq!(receiver.has_changed().expect("a sender"), expected);
            receiver.mark_unchanged();
        };
        check("any-trusted", "a", false);
        check("anyone", "a", true);
        check("anyone", "b", true);
        check("anyone", "b", false);
    }

    #[test]
    fn plaintext_off_loopback_is_noticed() {
        for local in [
            "demo",
            "http://127.0.0.1:3000",
            "http://127.9.9.9",
            "http://localhost:80/x",
            "http://[::1]:3000",
        ] {
            assert!(!leaves_the_host(local), "{local}");
        }
        for remote in [
            "http://10.0.0.5:3000",
            "http://api.internal",
            "http://[2001:db8::1]:80",
            "http://localhost.evil",
        ] {
            assert!(leaves_the_host(remote), "{remote}");
        }
    }
}
