//! What an operator writes about a gateway, and its way into a [`GatewayPlan`](crate::plan::GatewayPlan).
//!
//! Raw text becomes these types (unknown keys are refused), [`GatewayConfig::build`] turns them into a plan. A key is
//! here only if its effect is built.

mod break_glass;
pub(crate) mod build;
mod condition;
mod decisions;
mod edge;
mod egress;
mod factors;
mod health;
mod ocsp;
mod reference;
mod refusal;
mod route;
pub mod rule;
mod self_check;
mod shadow;
mod trust;
mod tunnel;
mod upstream;
mod upstreams;

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::PathBuf;

use countersign_pki::name::DnsName;
use countersign_runtime::config::amount::{ByteSize, TimeSpan};
use countersign_tls::scope::ClientCertificate;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use self::break_glass::BreakGlassConfig;
pub use self::decisions::DecisionsConfig;
pub use self::edge::{LimitsConfig, ProxyProtocolConfig, ProxyProtocolVersion};
pub use self::egress::EgressConfig;
pub use self::factors::{
    ApiKeyConditionConfig, ApiKeyConfig, ClaimConfig, ClaimValueConfig, TokenConditionConfig,
    TokenIssuerConfig,
};
pub use self::health::HealthConfig;
pub use self::ocsp::OcspConfig;
pub use self::reference::default_toml;
pub use self::refusal::RefusalMode;
pub use self::shadow::ListenerShadowConfig;
pub use self::trust::{ListSource, RevocationConfig, RevocationPlan, TrustConfig};
pub use self::upstreams::{BalanceMode, UpstreamUrls};
use crate::config::rule::{AllowEntry, ConditionConfig};

/// The gateway: ends mutual TLS from clients and forwards to services.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct GatewayConfig {
    /// Data-plane threads. Default: one per core.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub workers: Option<NonZeroUsize>,
    /// Where `/metrics`, `/healthz` and `/readyz` are served, in plaintext. Default: "127.0.0.1:9443".
    pub metrics_address: SocketAddr,
    /// The life of the certificate that the authority issues to this gateway; it is renewed at half of it. Default: "30d".
    pub certificate_lifetime: TimeSpan,
    /// The forms in which an upstream is told who the client is. Whatever stands here, a client's own headers of all these
    /// forms are removed. Default: all.
    pub identity_headers: Vec<IdentityHeader>,
    /// How much disk the refusals that `countersign explain` finds may take; the oldest go first. Default: "64MiB".
    pub refusal_ring_size: ByteSize,
    /// What is kept of decisions, for `countersign policy replay` and `readiness`.
    #[serde(skip_serializing_if = "DecisionsConfig::is_default")]
    pub decisions: DecisionsConfig,
    /// Whether the configuration is taken over when its file, or one that it names, has changed. Otherwise that takes a SIGHUP.
    /// Default: true.
    pub watch_files: bool,
    /// How often the gateway looks whether it refuses whom it must: without TLS, without a certificate, with one of a stranger, and where the
    /// authority is in the same process with canaries that it issues for it, four each time. At least "1m", or "0s": never. Default: "1h".
    pub self_check: TimeSpan,
    /// The authority, where it is another process. Left out: the state's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub feed: Option<FeedConfig>,
    /// Whose tokens rules may ask for, beside a certificate.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub token_issuer: Vec<TokenIssuerConfig>,
    /// API keys that rules may ask for, beside a certificate.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub api_key: Vec<ApiKeyConfig>,
    /// Whether upstreams get `X-Api-Key` where rules ask for API keys: it would stand in their logs. Default: false.
    pub forward_api_key: bool,
    /// The addresses that accept clients.
    pub listener: Vec<ListenerConfig>,
    /// The addresses from which programs of this host reach servers that want TLS, and a certificate.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub egress: Vec<EgressConfig>,
}

/// Where this gateway hears from its authority what to trust and what is revoked. The three files are what
/// `countersign issue node NAME --out DIR` writes there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FeedConfig {
    /// `https://host:port` of `[authority.feed]`; the authority's certificate must name the host.
    pub url: String,
    /// PEM file with this node's first certificate, leaf first. Those that follow are kept in the state folder; whichever was
    /// issued last counts.
    pub certificate: PathBuf,
    /// PEM file with its private key.
    pub key: PathBuf,
    /// PEM file with the authority's operator CA, which alone vouches for the feed.
    pub bundle: PathBuf,
}

/// A way of telling an upstream who the client is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum IdentityHeader {
    /// `Client-Cert` and `Client-Cert-Chain` (RFC 9440).
    ClientCert,
    /// `X-Client-Verify`, `X-Client-DN` and `X-Client-CN`, as nginx configurations name them.
    Nginx,
    /// `X-Forwarded-Client-Cert`, as Envoy writes it.
    Xfcc,
}

/// An address that accepts clients.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ListenerConfig {
    /// How logs and metrics call it: 1 to 63 lower-case letters, digits and hyphens. Default: "listener-1" for the first,
    /// and so on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// IP address and port.
    pub address: SocketAddr,
    /// Whether clients must show a certificate. Default: "require".
    #[serde(default)]
    pub client_certificate: ClientCertificateMode,
    /// The trust bundles whose certificates are accepted. Default: `["internal"]`.
    #[serde(default = "default_trust")]
    pub trust: Vec<String>,
    /// PEM file with the certificate chain, leaf first; needs `key`. Default: issued and renewed by the authority.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate: Option<PathBuf>,
    /// PEM file with the certificate's private key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<PathBuf>,
    /// How long a TLS session may be resumed, counted from its first handshake. Default: "1h".
    #[serde(default = "default_session_lifetime")]
    pub session_lifetime: TimeSpan,
    /// From the first byte to the finished handshake. Default: "10s".
    #[serde(default = "default_handshake_timeout")]
    pub handshake_timeout: TimeSpan,
    /// How a client learns that its certificate is refused: "alert", by the alert of TLS that fits, or "explain", by a 403 of HTTP that
    /// names the class of the refusal and its id, after which the connection is closed. Default: "alert".
    #[serde(default)]
    pub on_refusal: RefusalMode,
    /// How long the headers of a request may take, or a login to PostgreSQL. Default: "10s".
    #[serde(default = "default_header_timeout")]
    pub header_timeout: TimeSpan,
    /// A connection without a request for so long is closed; on a listener of bytes, one without a byte.
    /// Default: "75s", of bytes "1h".
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idle_timeout: Option<TimeSpan>,
    /// How long certificates are still accepted when the authority's feed of revocations and bundles is confirmed no more;
    /// then nobody who shows one is admitted, until it is confirmed again. From half of it on there are warnings.
    /// Default: "24h".
    #[serde(default = "default_feed_life")]
    pub feed_life: TimeSpan,
    /// Connections open at once; further ones wait in the kernel's queue. Default: 100000.
    #[serde(default = "default_max_connections")]
    pub max_connections: NonZeroUsize,
    /// Which fronts (load balancers) say, by the PROXY protocol, whose connections they carry. Default: none, so that every
    /// connection begins with TLS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proxy_protocol: Option<ProxyProtocolConfig>,
    /// How much is begun before it is known for whom.
    #[serde(default, skip_serializing_if = "LimitsConfig::is_default")]
    pub limits: LimitsConfig,
    /// Makes it a listener that admits nobody until somebody arms it, for a while and for a reason. Default: it always admits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub break_glass: Option<BreakGlassConfig>,
    /// What the listener's own upstream speaks. Default: "bytes".
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub protocol: Option<UpstreamProtocol>,
    /// For bytes instead of HTTP: where each connection goes, `tcp://host:port`, `tls://host:port` or `unix:/path`, or a list of several. Then `allow` stands here,
    /// and there is no route.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upstream: Option<UpstreamUrls>,
    /// How connections are spread over several: "round-robin", "least-requests" or "power-of-two". Default: "round-robin".
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub balance: Option<BalanceMode>,
    /// How the upstreams are looked at while nobody asks for anything: `{ path = "/healthz" }` for HTTP, `{}` for a connection that is made and closed.
    /// Default: they are not; what requests find out counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health: Option<HealthConfig>,
    /// Of an upstream over TLS (`tls://…`): whom it has to be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upstream_tls: Option<UpstreamTlsConfig>,
    /// Of a listener with an upstream of its own, and of routes with connect: the upstream is told of each client by a header of the PROXY
    /// protocol, "v1" or "v2". Default: nothing is told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upstream_proxy_protocol: Option<ProxyProtocolVersion>,
    /// Whom a listener of bytes admits; one entry that holds is enough. For PostgreSQL each entry names the users.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub allow: Vec<AllowEntry>,
    /// Whom a listener of bytes refuses, whatever `allow` says. Default: nobody.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub deny: Vec<ConditionConfig>,
    /// Other terms for certificates, and of a listener of bytes other rules, that are judged beside those in force and never in effect.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shadow: Option<ListenerShadowConfig>,
    /// What is served there; the most specific route decides.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub route: Vec<RouteConfig>,
}

/// What a listener without routes passes to its upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum UpstreamProtocol {
    /// Whatever comes inside TLS.
    Bytes,
    /// Logins to PostgreSQL as rules name them by `user`, and what follows them.
    Postgresql,
}

/// Whether a listener asks for client certificates.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ClientCertificateMode {
    /// Never asks: every client is anonymous.
    Off,
    /// Asks; a client without a certificate is anonymous, one with a bad certificate is refused.
    Request,
    /// A client without a good certificate is refused.
    #[default]
    Require,
}

/// What matches inside a listener, whom it admits and where it forwards.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RouteConfig {
    /// The host asked for: a DNS name, or "*.example.com" for one label. Default: any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// The path: "*" stands for one segment, "**" at the end for any number of them. Default: any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// What a CONNECT may ask for, each as "host:port". The route then takes CONNECT and nothing else, has neither host nor path, and whoever it
    /// admits has a tunnel of bytes to its own upstream (`tcp://host:port`, `tls://host:port` or `unix:/path`), whatever it asked for. Default:
    /// CONNECT is refused.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub connect: Vec<String>,
    /// Where requests go: "http://host:port", "https://host:port", `unix:/path` for HTTP over a socket of the file system, or "demo" for the built-in page that shows who the client is.
    /// Several of one kind that do the same stand in a list.
    pub upstream: UpstreamUrls,
    /// How requests are spread over several: "round-robin", "least-requests" or "power-of-two". Default: "round-robin".
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub balance: Option<BalanceMode>,
    /// How the upstreams are looked at while nobody asks for anything: `{ path = "/healthz" }` for HTTP, `{}` for a connection that is made and closed.
    /// Default: they are not; what requests find out counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health: Option<HealthConfig>,
    /// Of an upstream over TLS (`https://…`): whom it has to be. Default: whoever the internal bundle vouches for under the host's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upstream_tls: Option<UpstreamTlsConfig>,
    /// Which HTTP the upstream is spoken to in: "http/1.1", "h2", or "auto", which asks it in the TLS handshake. Over plaintext and
    /// Unix sockets "h2" is spoken by prior knowledge. Default: "auto" over TLS, else "http/1.1".
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upstream_protocol: Option<HttpProtocol>,
    /// Which protocols a client may switch to by an Upgrade over HTTP/1.1; the upstream is asked in HTTP/1.1, too. Default: `["websocket"]`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upgrades: Option<Vec<String>>,
    /// "require": a certificate is needed here, though the listener only asks for one. Default: as the listener.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_certificate: Option<RouteClientCertificate>,
    /// The trust bundles whose certificates are accepted here, some of the listener's. Where every route of a host leaves one
    /// out, its certificates are refused in the handshake already. Default: the listener's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trust: Option<Vec<String>>,
    /// Whom it admits; one entry that holds is enough.
    pub allow: Vec<AllowEntry>,
    /// Whom it refuses, whatever `allow` says; an entry means every bundle unless it names one. Default: nobody.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub deny: Vec<ConditionConfig>,
    /// Rules that are judged beside those in force, and never in effect.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shadow: Option<ShadowConfig>,
}

/// Rules to try out: what they would decide otherwise is counted, logged and shown by `countersign status`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ShadowConfig {
    /// Whom it would admit. Default: whom `allow` beside it admits.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub allow: Vec<AllowEntry>,
    /// Whom it would refuse. Default: whom `deny` beside it refuses.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deny: Option<Vec<ConditionConfig>>,
}

/// Which HTTP an upstream is spoken to in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum HttpProtocol {
    /// HTTP/2 if the upstream chooses it in the TLS handshake, else HTTP/1.1.
    #[serde(rename = "auto")]
    Auto,
    /// HTTP/1.1, one request at a time on a connection.
    #[serde(rename = "http/1.1")]
    Http1,
    /// HTTP/2, which gRPC needs.
    #[serde(rename = "h2")]
    Http2,
}

/// How an upstream over TLS is verified, and what it is shown.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct UpstreamTlsConfig {
    /// The trust bundle that has to vouch for it. Default: "internal".
    pub trust: String,
    /// What its certificate must hold, all of it: a DNS name, an IP address, a SPIFFE ID, or "spki:…" to pin its key.
    /// Default: the host of the upstream.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub name: Vec<String>,
    /// PEM file with the certificate chain that it is shown if it asks, leaf first; needs `key`. Default: none is shown.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub certificate: Option<PathBuf>,
    /// PEM file with the certificate's private key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<PathBuf>,
}

impl Default for UpstreamTlsConfig {
    fn default() -> Self {
        Self {
            trust: countersign_pki::identity::BundleName::INTERNAL.to_owned(),
            name: Vec::new(),
            certificate: None,
            key: None,
        }
    }
}

/// A route can add a requirement and never remove one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum RouteClientCertificate {
    /// Anonymous clients are refused.
    Require,
}

impl GatewayConfig {
    /// The hosts that its routes name, each once: what a certificate issued to this gateway should cover.
    pub fn hosts(&self) -> Vec<DnsName> {
        let named = self.listener.iter().flat_map(|listener| &listener.route);
        let mut hosts: Vec<DnsName> = named
            .filter_map(|route| DnsName::parse(route.host.as_deref()?).ok())
            .collect();
        hosts.sort();
        hosts.dedup();
        hosts
    }

    /// Whether it serves anybody.
    pub fn is_empty(&self) -> bool {
        self.listener.is_empty() && self.egress.is_empty()
    }

    /// Whether some server that it forwards to is vouched for by this trust bundle.
    pub fn trusts_upstreams_by(&self, bundle: &str) -> bool {
        let routes = self.listener.iter().flat_map(|it| &it.route);
        let of_routes = routes.flat_map(|it| it.upstream.iter().map(|url| (url, &it.upstream_tls)));
        let of_bytes = self.listener.iter().flat_map(|it| {
            let urls = it.upstream.iter().flat_map(UpstreamUrls::iter);
            urls.map(|url| (url, &it.upstream_tls))
        });
        let of_egress = (self.egress.iter()).map(|it| (it.upstream.as_str(), &it.upstream_tls));
        of_routes
            .chain(of_bytes)
            .chain(of_egress)
            .any(|(url, tls)| {
                let is_tls = url.starts_with("https://") || url.starts_with("tls://");
                let trust = tls
                    .as_ref()
                    .map_or(countersign_pki::identity::BundleName::INTERNAL, |tls| {
                        &tls.trust
                    });
                is_tls && trust == bundle
            })
    }

    /// Whether some listener serves with the certificate that the authority issues.
    pub fn needs_own_certificate(&self) -> bool {
        self.listener.iter().any(|it| it.certificate.is_none())
    }
}

impl Default for GatewayConfig {
    fn default() -> Self {
        Self {
            workers: None,
            metrics_address: SocketAddr::from(([127, 0, 0, 1], 9443)),
            certificate_lifetime: TimeSpan::from_seconds(30 * 24 * 3600),
            identity_headers: IdentityHeader::ALL.to_vec(),
            refusal_ring_size: ByteSize::from_bytes(64 << 20),
            decisions: DecisionsConfig::default(),
            watch_files: true,
            self_check: TimeSpan::from_seconds(3600),
            feed: None,
            token_issuer: Vec::new(),
            api_key: Vec::new(),
            forward_api_key: false,
            listener: Vec::new(),
            egress: Vec::new(),
        }
    }
}

impl IdentityHeader {
    /// Every form.
    pub const ALL: [Self; 3] = [Self::ClientCert, Self::Xfcc, Self::Nginx];
}

impl ListenerConfig {
    /// A listener with every default, on `address`.
    pub fn new(address: SocketAddr, route: Vec<RouteConfig>) -> Self {
        Self {
            name: None,
            address,
            client_certificate: ClientCertificateMode::default(),
            trust: default_trust(),
            certificate: None,
            key: None,
            session_lifetime: default_session_lifetime(),
            handshake_timeout: default_handshake_timeout(),
            on_refusal: RefusalMode::default(),
            header_timeout: default_header_timeout(),
            idle_timeout: None,
            feed_life: default_feed_life(),
            max_connections: default_max_connections(),
            proxy_protocol: None,
            limits: LimitsConfig::default(),
            break_glass: None,
            protocol: None,
            upstream: None,
            balance: None,
            health: None,
            upstream_tls: None,
            upstream_proxy_protocol: None,
            allow: Vec::new(),
            deny: Vec::new(),
            shadow: None,
            route,
        }
    }
}

impl RouteConfig {
    /// A route for every host and path.
    pub fn new(upstream: impl Into<UpstreamUrls>, allow: Vec<AllowEntry>) -> Self {
        Self {
            host: None,
            path: None,
            connect: Vec::new(),
            upstream: upstream.into(),
            balance: None,
            health: None,
            upstream_tls: None,
            upstream_protocol: None,
            upgrades: None,
            client_certificate: None,
            trust: None,
            allow,
            deny: Vec::new(),
            shadow: None,
        }
    }
}

impl From<ClientCertificateMode> for ClientCertificate {
    fn from(mode: ClientCertificateMode) -> Self {
        match mode {
            ClientCertificateMode::Off => Self::Off,
            ClientCertificateMode::Request => Self::Request,
            ClientCertificateMode::Require => Self::Require,
        }
    }
}

fn default_trust() -> Vec<String> {
    vec![countersign_pki::identity::BundleName::INTERNAL.to_owned()]
}

fn default_session_lifetime() -> TimeSpan {
    TimeSpan::from_seconds(3600)
}

fn default_handshake_timeout() -> TimeSpan {
    TimeSpan::from_seconds(10)
}

fn default_header_timeout() -> TimeSpan {
    TimeSpan::from_seconds(10)
}

// A night and a working day: long enough to repair an authority, short enough that a stolen key does not serve for ever.
fn default_feed_life() -> TimeSpan {
    TimeSpan::from_seconds(24 * 3600)
}

// DESIGN §7: 100,000 idle connections fit in a few GiB.
fn default_max_connections() -> NonZeroUsize {
    NonZeroUsize::new(100_000).expect("not zero")
}
