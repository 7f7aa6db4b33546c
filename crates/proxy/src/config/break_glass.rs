//! `[gateway.listener.break_glass]`: what a listener may be armed by, and how much it then takes.

use std::collections::BTreeSet;
use std::io;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use countersign_pki::bundle::TrustBundle;
use countersign_pki::fingerprint::Fingerprint;
use countersign_pki::identity::BundleName;
use countersign_pki::name::CommonName;
use countersign_pki::time::UnixTime;
use countersign_policy::break_glass::MAX_APPROVALS;
use countersign_runtime::clock::{Clock, SystemClock};
use countersign_runtime::config::ConfigError;
use countersign_runtime::config::amount::TimeSpan;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::trust::certificates;
use super::{ClientCertificateMode, FeedConfig, ListenerConfig};
use crate::plan::BreakGlassPlan;

/// A listener for emergencies: shut until it is armed through the admin socket.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct BreakGlassConfig {
    /// The longest that it may be armed, at most a day. Default: "1h".
    pub max_duration: TimeSpan,
    /// How many different operators have to approve each time. Default: 0, the admin socket is enough.
    pub approvals: u8,
    /// The operators who may: the names that `countersign issue operator NAME` gave them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub approvers: Vec<String>,
    /// PEM file with the operator CA that vouches for them. Default: the authority's own, or that of `[gateway.feed]`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub operator_ca: Option<PathBuf>,
    /// Connections that it admits in a minute. Default: 60.
    pub connections_per_minute: NonZeroU32,
    /// Requests that it lets through in a minute, of all connections together. Default: 600.
    pub requests_per_minute: NonZeroU32,
}

impl Default for BreakGlassConfig {
    fn default() -> Self {
        Self {
            max_duration: TimeSpan::from_seconds(3600),
            approvals: 0,
            approvers: Vec::new(),
            operator_ca: None,
            connections_per_minute: NonZeroU32::new(60).expect("not zero"),
            requests_per_minute: NonZeroU32::new(600).expect("not zero"),
        }
    }
}

impl BreakGlassConfig {
    /// What it says, with the operator CA where a file names it; and whether the listener is one that may stand open to those
    /// whom it admits.
    pub(super) fn build(
        &self,
        place: &str,
        listener: &ListenerConfig,
        trust: &[Arc<TrustBundle>],
        feed: Option<&FeedConfig>,
        read: &dyn Fn(&Path) -> io::Result<Vec<u8>>,
    ) -> Result<BreakGlassPlan, ConfigError> {
        let fault = |key: &str, why: String| ConfigError::new(format!("{place}.{key}"), why);
        refuse_unsafe(place, listener)?;
        let place = format!("{place}.break_glass");
        let max = self.max_duration.duration();
        if max < SHORTEST || max > LONGEST {
            let why = format!("{} is not from one minute to one day", self.max_duration);
            return Err(fault("break_glass.max_duration", why)
                .hint("long enough to find out what is wrong; who needs more arms it again"));
        }
        let approvers = self.approvers(&place)?;
        let path = (self.operator_ca.as_ref()).or_else(|| feed.map(|feed| &feed.bundle));
        let operators = match path {
            Some(path) if self.approvals > 0 => {
                let anchors = certificates(&place, "operator_ca", path, read)?;
                let place = format!("{place}.operator_ca");
                let now = UnixTime::from_seconds(SystemClock.unix_seconds());
                let bundle = TrustBundle::new(BundleName::operators(), None, anchors, now);
                Some(Arc::new(bundle.map_err(|error| {
                    ConfigError::new(place, format!("{}: {error}", path.display()))
                })?))
            }
            _ => None,
        };
        let mut written = serde_json::to_vec(listener)
            .map_err(|error| ConfigError::new(&place, error.to_string()))?;
        add_trust(&mut written, trust);
        Ok(BreakGlassPlan {
            place,
            max_duration: max,
            approvals: usize::from(self.approvals),
            approvers,
            operators,
            connections_per_minute: self.connections_per_minute.get(),
            requests_per_minute: self.requests_per_minute.get(),
            configuration: Fingerprint::of(&written),
        })
    }

    fn approvers(&self, place: &str) -> Result<BTreeSet<CommonName>, ConfigError> {
        let needed = usize::from(self.approvals);
        let mut approvers = BTreeSet::new();
        for (number, name) in self.approvers.iter().enumerate() {
            let place = format!("{place}.approvers[{number}]");
            let name = CommonName::parse(name)
                .map_err(|error| ConfigError::new(&place, error.to_string()))?;
            if !approvers.insert(name) {
                return Err(ConfigError::new(place, "it stands there twice"));
            }
        }
        if needed == 0 && (!approvers.is_empty() || self.operator_ca.is_some()) {
            return Err(ConfigError::new(
                format!("{place}.approvals"),
                "approvers are named and none of them is needed",
            )
            .hint("approvals = 2 asks for two of them; or leave approvers and operator_ca out"));
        }
        if needed > MAX_APPROVALS {
            let why = format!("{needed} are more than the {MAX_APPROVALS} that can be given");
            return Err(ConfigError::new(format!("{place}.approvals"), why));
        }
        if approvers.len() < needed {
            return Err(ConfigError::new(
                format!("{place}.approvers"),
                format!(
                    "{needed} have to approve and {} may, so that it could never be armed",
                    approvers.len()
                ),
            )
            .hint("name some more than are needed: one of them is on holiday"));
        }
        Ok(approvers)
    }
}

impl BreakGlassPlan {
    /// What its rules ask for beside a certificate is part of what is armed, too.
    pub(super) fn covers(&mut self, factors: &[u8]) {
        // Of most there are none: what was armed before they were covered stays armed.
        if !factors.is_empty() {
            let both = [self.configuration.as_bytes(), factors].concat();
            self.configuration = Fingerprint::of(&both);
        }
    }
}

/// Whom it trusts is in other places of the configuration, and in files.
pub(super) fn add_trust(written: &mut Vec<u8>, trust: &[Arc<TrustBundle>]) {
    for bundle in trust {
        let domain = bundle.trust_domain().map(ToString::to_string);
        // What stands before the anchors is names, in whose alphabets there is no NUL.
        let head = format!(
            "\0{}\0{}\0{}\0",
            bundle.name(),
            domain.unwrap_or_default(),
            bundle.anchors().len()
        );
        written.extend_from_slice(head.as_bytes());
        for anchor in bundle.anchors() {
            written.extend_from_slice(anchor.fingerprint().as_bytes());
        }
    }
}

/// A listener that stands open to everybody once it is armed is a hole that somebody else finds first.
fn refuse_unsafe(place: &str, listener: &ListenerConfig) -> Result<(), ConfigError> {
    let is_anonymous = listener.client_certificate != ClientCertificateMode::Require;
    if is_anonymous && !listener.address.ip().is_loopback() {
        return Err(ConfigError::new(
            format!("{place}.client_certificate"),
            "a break-glass listener would admit anonymous clients from the network",
        )
        .hint("leave it at \"require\" and trust a bundle kept for emergencies, or listen on loopback, where people come by SSH"));
    }
    let usual = ListenerConfig::new(listener.address, Vec::new());
    // Loopback is where people come by SSH; a front there brings everybody who reaches the front.
    if is_anonymous && listener.proxy_protocol.is_some() {
        return Err(ConfigError::new(
            format!("{place}.client_certificate"),
            "a break-glass listener would admit anonymous clients whom a front brings from the network",
        )
        .hint("leave client_certificate at \"require\", or leave proxy_protocol out"));
    }
    if listener.feed_life != usual.feed_life {
        return Err(ConfigError::new(
            format!("{place}.feed_life"),
            "a break-glass listener is there for when the feed is silent: the end of its arming bounds it",
        )
        .hint("leave feed_life out; break_glass.max_duration says how long it is open"));
    }
    if listener.session_lifetime != usual.session_lifetime {
        return Err(ConfigError::new(
            format!("{place}.session_lifetime"),
            "a break-glass listener resumes no sessions",
        )
        .hint("leave session_lifetime out"));
    }
    Ok(())
}

/// Nobody gets anything done in less.
const SHORTEST: Duration = Duration::from_mins(1);
/// What has to be open for longer is no emergency.
const LONGEST: Duration = Duration::from_hours(24);
