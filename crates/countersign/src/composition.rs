//! From a configuration to what a gateway serves: bundles loaded, credentials at hand, every rule found good.

use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use countersign_authority::authority::Authority;
use countersign_authority::config::{AdminPortConfig, FeedPortConfig, PublicConfig};
use countersign_authority::retention::RetentionRule;
use countersign_diagnose::cause::Cause;
use countersign_pki::bundle::TrustBundle;
use countersign_pki::certificate::Certificate;
use countersign_pki::crl::{AcceptedCrl, CrlRefused};
use countersign_pki::identity::BundleName;
use countersign_pki::name::{DnsName, TypedName};
use countersign_pki::pem;
use countersign_pki::publication::PublicationUrl;
use countersign_pki::revocation::RevocationMode;
use countersign_pki::time::{UnixTime, spoken};
use countersign_policy::administration::Roles;
use countersign_policy::issuance::Profiles;
use countersign_probe::fetch::FetchFault;
use countersign_proxy::config::{GatewayConfig, ListSource, RevocationPlan, TrustConfig};
use countersign_proxy::plan::GatewayPlan;
use countersign_runtime::clock::{Clock, SystemClock};
use countersign_runtime::config::ConfigError;
use countersign_tls::credentials::SharedCredentials;
use countersign_tls::ocsp::OcspSettings;

use crate::bundles_in_force::BundlesInForce;
use crate::configuration::{Configuration, Loaded};
use crate::fault::Fault;
use crate::placeholder;

/// What an authority gives to a gateway.
#[derive(Clone)]
pub(crate) struct Own {
    /// The bundle called `internal`.
    pub(crate) bundle: TrustBundle,
    /// Issuers below it: they tell a chain that was sent without one from a stranger's.
    pub(crate) intermediates: Vec<Certificate>,
    /// The operator CA, where the authority is this process's own.
    pub(crate) operators: Option<Arc<TrustBundle>>,
    /// The gateway's own certificate, if a listener needs it.
    pub(crate) credentials: Option<SharedCredentials>,
    /// Of the feed's bundles that it was made of; 0 where no feed tells others.
    pub(crate) version: u64,
}

impl Own {
    /// What `authority` gives.
    pub(crate) fn of(
        authority: &Authority,
        credentials: Option<SharedCredentials>,
        now: UnixTime,
    ) -> Result<Self, Fault> {
        let trust_domain = Some(authority.trust_domain().clone());
        let anchors = vec![authority.root().clone()];
        let bundle = TrustBundle::new(BundleName::internal(), trust_domain, anchors, now).map_err(|error| {
            Fault::world(error).hint("the root has ended: this authority cannot be used any more, `countersign init` makes a new one")
        })?;
        // Past its end nobody can approve of anything, and the rest goes on.
        let operators = vec![authority.operator().clone()];
        let operators = TrustBundle::new(BundleName::operators(), None, operators, now);
        Ok(Self {
            bundle,
            operators: operators.ok().map(Arc::new),
            intermediates: authority.intermediates().to_vec(),
            credentials,
            version: 0,
        })
    }
}

/// Whether the configuration cannot be served without the state's own authority.
pub(crate) fn needs_authority(configuration: &Configuration) -> bool {
    let internal = configuration.trust.get(BundleName::INTERNAL);
    let has_anchors = internal.is_some_and(|trust| trust.bundle.is_some());
    let mut listeners = configuration.gateway.listener.iter();
    let trusts_own = listeners.any(|listener| listener.judges_by(BundleName::INTERNAL))
        || configuration
            .gateway
            .trusts_upstreams_by(BundleName::INTERNAL);
    let is_elsewhere = configuration.gateway.feed.is_some();
    let authority = &configuration.authority;
    let serves = authority.admin.is_some() || authority.feed.is_some();
    authority.public.is_some()
        || serves
        || (!is_elsewhere
            && (configuration.gateway.is_empty()
                || configuration.gateway.needs_own_certificate()
                || (trusts_own && !has_anchors)))
}

/// A bundle, and what is configured of it.
#[derive(Clone)]
pub(crate) struct Trusted {
    pub(crate) bundle: Arc<TrustBundle>,
    /// What says which of its certificates are revoked; `None`: nothing but the authority's feed.
    pub(crate) revocation: Option<RevocationPlan>,
    /// How its clients are asked about; `None`: no responder is configured.
    pub(crate) ocsp: Option<OcspSettings>,
    pub(crate) contact: Option<String>,
    pub(crate) notice: Duration,
}

/// Every bundle that listeners and upstreams can name.
pub(crate) fn trusted(
    loaded: &Loaded,
    own: Option<&Own>,
    in_force: &BundlesInForce,
    now: UnixTime,
) -> Result<BTreeMap<BundleName, Trusted>, Fault> {
    let read = |path: &Path| loaded.read(path);
    let mut all = BTreeMap::new();
    if let Some(own) = own {
        let trusted = Trusted {
            bundle: Arc::new(own.bundle.clone()),
            revocation: None,
            ocsp: None,
            contact: None,
            notice: TrustConfig::default().notice.duration(),
        };
        all.insert(BundleName::internal(), trusted);
    }
    for (name, trust) in &loaded.configuration.trust {
        let own = own.map(|own| &own.bundle);
        let bundle = in_force
            .load(trust, name, own, now, read)
            .map_err(|error| loaded.fault(&about_bundle(error, trust)))?;
        let revocation = trust
            .revocation(&bundle, now, read)
            .map_err(|error| loaded.fault(&error))?;
        let ocsp = trust
            .ocsp(&bundle, read)
            .map_err(|error| loaded.fault(&error))?;
        let trusted = Trusted {
            bundle: Arc::new(bundle),
            revocation,
            ocsp,
            contact: trust.contact.clone(),
            notice: trust.notice.duration(),
        };
        all.insert(trusted.bundle.name().clone(), trusted);
    }
    Ok(all)
}

/// Everything that can be found wrong before a socket is bound, but for what the revocation lists say: those are not the
/// operator's own, and what is held can stand in for them.
pub(crate) fn plan(
    loaded: &Loaded,
    own: Option<&Own>,
    in_force: &BundlesInForce,
    now: UnixTime,
) -> Result<GatewayPlan, Fault> {
    let read = |path: &Path| loaded.read(path);
    let configuration = &loaded.configuration;
    publication_url(loaded)?;
    refuse_nothing_to_do(loaded).map_err(|error| loaded.fault(&error))?;
    refuse_two_sources(configuration).map_err(|error| loaded.fault(&error))?;
    let trusted = trusted(loaded, own, in_force, now)?;
    let bundles = trusted
        .into_iter()
        .map(|(name, trusted)| (name, trusted.bundle))
        .collect();
    let intermediates = own.map_or_else(Vec::new, |own| own.intermediates.clone());
    let credentials = own.and_then(|own| own.credentials.clone());
    let built = configuration
        .gateway
        .build(&bundles, intermediates, credentials, read);
    let operators = own.and_then(|own| own.operators.as_ref());
    let plan = built.and_then(|plan| plan.with_operators(operators));
    let plan = plan.map_err(|error| loaded.fault(&error))?;
    for (index, listener) in configuration.gateway.listener.iter().enumerate() {
        if let Some(path) = &listener.certificate {
            let fault = match presentable(path, now, read) {
                Err((why, Cause::LeafExpired))
                    if in_force.has_file(&loaded.located(path), &loaded.files()) =>
                {
                    tracing::error!(path = %path.display(), error = why, "a certificate that is served has ended: its clients refuse it, all else is taken over");
                    Ok(())
                }
                presented => presented,
            };
            fault.map_err(|(why, cause)| {
                loaded.fault(&ConfigError {
                    place: format!("gateway.listener[{index}].certificate"),
                    why: format!("{}: {why} ({cause})", path.display()),
                    hint: Some(format!(
                        "no client would accept it: give one that an authority issued for a server and that is valid now; {}",
                        cause.fix()
                    )),
                })
            })?;
        }
    }
    for (place, why) in plan.redundancies() {
        loaded.warn(&ConfigError::new(
            place,
            format!("this entry does nothing: {why}"),
        ));
    }
    Ok(plan)
}

/// The lists of a bundle's files, each good, and by the bundle's mode not over.
fn files_of(loaded: &Loaded, trusted: &Trusted, now: UnixTime) -> Result<(), Fault> {
    let Some(plan) = &trusted.revocation else {
        return Ok(());
    };
    for (number, source) in plan.sources.iter().enumerate() {
        let ListSource::File(path) = source else {
            continue;
        };
        let read = || -> Result<(), Unusable> {
            let lists = AcceptedCrl::read(&loaded.read(path)?, &plan.issuers, now)?;
            lists
                .iter()
                .try_for_each(|list| refuse_over(list, plan.mode, now))
        };
        read().map_err(|unusable| {
            let place = format!("trust.{}.crl[{number}]", trusted.bundle.name());
            let why = format!("{}: {unusable}", path.display());
            loaded.fault(&ConfigError::new(place, why).hint(unusable.hint()))
        })?;
    }
    Ok(())
}

/// Why a list cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unusable {
    /// Nobody who fetched it got it.
    #[error(transparent)]
    Fetch(#[from] FetchFault),
    /// A file that cannot be read.
    #[error(transparent)]
    File(#[from] io::Error),
    /// It is past its end, and the bundle asks for one that is not.
    #[error(
        "the list of {issuer} was due to be replaced {ago} ago (next_update {next_update}, now {now})"
    )]
    Over {
        issuer: String,
        ago: String,
        next_update: UnixTime,
        now: UnixTime,
    },
    /// It is no list to rely on.
    #[error(transparent)]
    Refused(#[from] CrlRefused),
}

impl Unusable {
    /// What can be done about it.
    pub(crate) fn hint(&self) -> &'static str {
        match self {
            Self::Fetch(_) => {
                "without the list nobody could be told who is revoked: restore its publication, or give the list as a file"
            }
            Self::File(_) => "the file has to hold a CRL that this process may read",
            Self::Over { .. } => {
                "ask whoever publishes it for the present list; revocation = \"grace\" waits for a while"
            }
            Self::Refused(refused) => refused.hint(),
        }
    }
}

/// By the bundle's mode.
pub(crate) fn refuse_over(
    list: &AcceptedCrl,
    mode: RevocationMode,
    now: UnixTime,
) -> Result<(), Unusable> {
    let next_update = list.next_update();
    let end = match mode {
        RevocationMode::DangerousSoft => return Ok(()),
        RevocationMode::Grace(grace) => next_update.plus(grace),
        RevocationMode::Hard => next_update,
    };
    if now <= end {
        return Ok(());
    }
    Err(Unusable::Over {
        issuer: list.issuer().to_owned(),
        ago: spoken(now.since(next_update)),
        next_update,
        now,
    })
}

/// Where certificates shall be told to look for their revocation.
pub(crate) fn publication_url(loaded: &Loaded) -> Result<Option<PublicationUrl>, Fault> {
    let public = loaded.configuration.authority.public.as_ref();
    public
        .map(PublicConfig::publication_url)
        .transpose()
        .map_err(|error| loaded.fault(&error))
}

/// A process is a gateway, or an authority, or both.
fn refuse_nothing_to_do(loaded: &Loaded) -> Result<(), ConfigError> {
    let gateway = &loaded.configuration.gateway;
    let is_authority = loaded.configures_authority() && gateway.feed.is_none();
    if gateway.is_empty() && !is_authority {
        let why = "there is none, so that nobody would be served";
        return Err(ConfigError::new("gateway.listener", why).hint(
            "add [[gateway.listener]] with an address and a route; a process that is an authority alone says so with [authority]",
        ));
    }
    Ok(())
}

/// What the feed says of `internal` is all that is to be said of it.
fn refuse_two_sources(configuration: &Configuration) -> Result<(), ConfigError> {
    let is_given = configuration.trust.contains_key(BundleName::INTERNAL);
    if configuration.gateway.feed.is_some() && is_given {
        let place = format!("trust.{}", BundleName::INTERNAL);
        let why = "the authority of [gateway.feed] tells this bundle";
        return Err(ConfigError::new(place, why)
            .hint("leave it out; a bundle from a file goes by another name"));
    }
    Ok(())
}

/// What is wrong with a bundle is wrong with its file.
fn about_bundle(mut error: ConfigError, trust: &TrustConfig) -> ConfigError {
    let Some(path) = &trust.bundle else {
        return error;
    };
    let path = path.display().to_string();
    if error.place.ends_with(".trust_domain") {
        return error;
    }
    if !error.why.contains(&path) {
        error.why = format!("{path}: {}", error.why);
    }
    error.hint = error.hint.or_else(|| {
        Some("the file holds the root CAs of whoever is to be trusted, in PEM, at least one of them valid now: ask them for it".to_owned())
    });
    error
}

/// Whether clients accept a server with the certificate in `path`: whoever has nothing but that to offer is refused at the
/// start, not at each handshake.
fn presentable(
    path: &Path,
    now: UnixTime,
    read: impl Fn(&Path) -> io::Result<Vec<u8>>,
) -> Result<(), (String, Cause)> {
    // The gateway's plan has read and parsed it already; what cannot be read now is gone only since then.
    let blocks = read(path)
        .ok()
        .and_then(|bytes| pem::decode_all(&bytes).ok());
    let leaf = blocks.and_then(|blocks| Certificate::parse(&blocks.first()?.der).ok());
    let Some(leaf) = leaf else {
        return Ok(());
    };
    if now < leaf.not_before() {
        let why = format!(
            "the certificate of {} is not valid for another {} (not_before {}, now {now})",
            leaf.subject(),
            spoken(leaf.not_before().since(now)),
            leaf.not_before()
        );
        return Err((why, Cause::NotYetValid));
    }
    if now > leaf.not_after() {
        let why = format!(
            "the certificate of {} expired {} ago (not_after {}, now {now})",
            leaf.subject(),
            spoken(now.since(leaf.not_after())),
            leaf.not_after()
        );
        return Err((why, Cause::LeafExpired));
    }
    match leaf.extended_key_usage() {
        Some(usage) if !usage.server_auth => {
            let why = format!(
                "the certificate of {} is not for servers: its extended key usage lacks serverAuth",
                leaf.subject()
            );
            Err((why, Cause::EkuMissingServerauth))
        }
        _ => Ok(()),
    }
}

/// Every kind of certificate that the authority issues.
pub(crate) fn profiles(loaded: &Loaded) -> Result<Profiles, Fault> {
    let profiles = loaded.configuration.authority.profiles();
    profiles.map_err(|error| loaded.fault(&error))
}

/// What leaves the authority's inventory.
pub(crate) fn retention(loaded: &Loaded) -> Result<Option<RetentionRule>, Fault> {
    let rule = loaded.configuration.authority.retention();
    rule.map_err(|error| loaded.fault(&error))
}

/// Who may do what on the admin API's port.
pub(crate) fn roles(loaded: &Loaded) -> Result<Roles, Fault> {
    let roles = loaded.configuration.authority.roles();
    roles.map_err(|error| loaded.fault(&error))
}

/// Whether the configuration could be served. Asks no authority: what only one has is stood in for.
pub(crate) fn check(loaded: &Loaded) -> Result<(), Fault> {
    let now = UnixTime::from_seconds(SystemClock.unix_seconds());
    profiles(loaded)?;
    retention(loaded)?;
    roles(loaded)?;
    let authority = &loaded.configuration.authority;
    let admin = authority.admin.as_ref().map(AdminPortConfig::typed_names);
    let feed = authority.feed.as_ref().map(FeedPortConfig::typed_names);
    for names in admin.into_iter().chain(feed) {
        names.map_err(|error| loaded.fault(&error))?;
    }
    let own = placeholder::own(now)?;
    let nothing = BundlesInForce::default();
    plan(loaded, Some(&own), &nothing, now)?;
    let trusted = trusted(loaded, Some(&own), &nothing, now)?;
    trusted
        .values()
        .try_for_each(|trusted| files_of(loaded, trusted, now))
}

/// The names that the gateway's own certificate must have: this host's, the listeners', the routes', and `further`.
pub(crate) fn own_names(
    gateway: &GatewayConfig,
    further: &[DnsName],
    host_name: Option<DnsName>,
) -> Vec<TypedName> {
    if gateway.feed.is_some() {
        // An authority elsewhere certifies what it has bound to this node, and nobody's loopback.
        return gateway.hosts().into_iter().map(TypedName::Dns).collect();
    }
    let listened = gateway
        .listener
        .iter()
        .map(|listener| listener.address.ip());
    let hosts = host_name
        .into_iter()
        .chain(gateway.hosts())
        .chain(further.iter().cloned());
    here(listened, hosts.map(TypedName::Dns))
}

/// The names of the certificate of a port for nodes or operators: this host's, the one it listens on, and those that the
/// configuration gives it.
pub(crate) fn reserved_port_names(
    address: IpAddr,
    given: Vec<TypedName>,
    host_name: Option<DnsName>,
) -> Vec<TypedName> {
    let hosts = host_name.into_iter().map(TypedName::Dns);
    here([address].into_iter(), hosts.chain(given))
}

/// Where operators reach the admin API: by the first name that they are given, else where it listens. `port`: as bound.
pub(crate) fn admin_url(
    admin: &AdminPortConfig,
    port: u16,
    host_name: Option<DnsName>,
) -> Option<String> {
    let address = admin.address.ip();
    let host = match admin.names.first() {
        Some(name) => name.clone(),
        None if !address.is_unspecified() => address.to_string(),
        None => host_name.map_or_else(|| "localhost".to_owned(), |name| name.to_string()),
    };
    let host = match host.parse::<IpAddr>() {
        Ok(IpAddr::V6(address)) => format!("[{address}]"),
        _ => host,
    };
    (port != 0).then(|| format!("https://{host}:{port}"))
}

/// Each once, a DNS name first.
fn here(
    listened: impl Iterator<Item = IpAddr>,
    others: impl Iterator<Item = TypedName>,
) -> Vec<TypedName> {
    let loopback = ["127.0.0.1", "::1"].map(|text| text.parse::<IpAddr>().expect("an address"));
    let addresses = loopback
        .into_iter()
        .chain(listened.filter(|address| !address.is_unspecified()));
    let local = DnsName::parse("localhost").expect("a DNS name");
    let mut names = vec![TypedName::Dns(local)];
    for name in addresses.map(TypedName::Ip).chain(others) {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

/// This host's name, where it is a DNS name.
pub(crate) fn host_name() -> Option<DnsName> {
    let uname = rustix::system::uname();
    DnsName::parse(uname.nodename().to_str().ok()?).ok()
}

/// How this gateway calls itself on the feed.
pub(crate) fn node_name() -> String {
    host_name().map_or_else(
        || "gateway@localhost".to_owned(),
        |host| format!("gateway@{host}"),
    )
}

#[cfg(test)]
mod tests {
    use countersign_proxy::config::rule::AllowEntry;
    use countersign_proxy::config::{ListenerConfig, RouteConfig};

    use super::*;

    fn listener(address: &str) -> ListenerConfig {
        let mut route = RouteConfig::new("demo", vec![AllowEntry::AnyTrusted]);
        route.host = Some("api.example.com".to_owned());
        ListenerConfig::new(address.parse().expect("an address"), vec![route])
    }

    fn configuration(listener: ListenerConfig) -> Configuration {
        let gateway = GatewayConfig {
            listener: vec![listener],
            ..GatewayConfig::default()
        };
        Configuration {
            gateway,
            ..Configuration::default()
        }
    }

    #[test]
    fn files_for_everything_need_no_authority() {
        let mut own_files = listener("127.0.0.1:8443");
        own_files.certificate = Some("a.pem".into());
        own_files.key = Some("a.key".into());
        let mut without = configuration(own_files.clone());
        assert!(
            needs_authority(&without),
            "internal is trusted and nothing says what it is"
        );
        let internal = TrustConfig {
            bundle: Some("root.pem".into()),
            ..TrustConfig::default()
        };
        without.trust.insert("internal".to_owned(), internal);
        assert!(!needs_authority(&without));
        own_files.trust = vec!["partner".to_owned()];
        assert!(!needs_authority(&configuration(own_files.clone())));
        own_files.certificate = None;
        assert!(needs_authority(&configuration(own_files)));
    }

    #[test]
    fn own_certificate_names_the_host_its_addresses_and_its_routes() {
        let dns = |text| DnsName::parse(text).expect("valid");
        let gateway = configuration(listener("192.0.2.7:8443")).gateway;
        let names = own_names(
            &gateway,
            &[dns("b.example"), dns("localhost")],
            Some(dns("box")),
        );
        let shown: Vec<_> = names.iter().map(ToString::to_string).collect();
        assert_eq!(
            shown,
            [
                "dns:localhost",
                "ip:127.0.0.1",
                "ip:::1",
                "ip:192.0.2.7",
                "dns:box",
                "dns:api.example.com",
                "dns:b.example"
            ]
        );
        let anywhere = configuration(listener("0.0.0.0:8443")).gateway;
        assert!(
            !own_names(&anywhere, &[], None)
                .iter()
                .any(|name| name.bare() == "0.0.0.0")
        );
    }
}
