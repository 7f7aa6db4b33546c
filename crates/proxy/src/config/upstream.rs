//! Where a route or a listener forwards, from what is written.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use countersign_pki::bundle::TrustBundle;
use countersign_pki::chain::{ExpectedName, Limits, Purpose, Verifier};
use countersign_pki::identity::BundleName;
use countersign_policy::postgresql;
use countersign_runtime::config::ConfigError;
use countersign_tls::connector::{Connector, ConnectorSettings, Versions};
use countersign_tls::credentials::{Credentials, SharedCredentials};
use http::{HeaderValue, Uri};

use crate::config::trust::refuse_other_trust_domain;
use crate::config::{BalanceMode, HttpProtocol, UpstreamTlsConfig, UpstreamUrls};
use crate::plan::Protocol;
use crate::upstream::{
    Address, Balance, Group, HttpVersions, MAX_UPSTREAMS, Origin, TlsTarget, Upstream,
};

/// What upstreams over TLS are judged by and proved to.
pub(super) struct Context<'a> {
    pub(super) bundles: &'a BTreeMap<BundleName, Arc<TrustBundle>>,
    pub(super) feed_life: Option<Duration>,
    pub(super) read: &'a dyn Fn(&Path) -> io::Result<Vec<u8>>,
}

/// What stands in a route or a listener: `upstream`, `upstream_tls`, and of requests `upstream_protocol` and `upgrades`.
pub(super) struct Written<'a> {
    pub(super) place: &'a str,
    /// Of several: the number of this one.
    pub(super) index: Option<usize>,
    pub(super) text: &'a str,
    pub(super) tls: Option<&'a UpstreamTlsConfig>,
    pub(super) protocol: Option<HttpProtocol>,
    pub(super) upgrades: Option<&'a [String]>,
}

/// Where the requests of a route go, or the connections of a listener, by what `build` makes of each upstream.
pub(super) fn group(
    place: &str,
    urls: &UpstreamUrls,
    balance: Option<BalanceMode>,
    mut build: impl FnMut(Option<usize>, &str) -> Result<Upstream, ConfigError>,
) -> Result<Arc<Group>, ConfigError> {
    let urls = match urls {
        UpstreamUrls::One(url) => {
            if balance.is_some() {
                let why = "there is one upstream, so that nothing can be spread";
                return Err(ConfigError::new(format!("{place}.balance"), why)
                    .hint("leave it out, or write upstream as a list of several"));
            }
            return Ok(Group::of_one(build(None, url)?));
        }
        UpstreamUrls::Several(urls) => urls,
    };
    if urls.is_empty() || urls.len() > MAX_UPSTREAMS {
        let why = format!(
            "{} upstreams, and it takes 1 to {MAX_UPSTREAMS}",
            urls.len()
        );
        return Err(ConfigError::new(format!("{place}.upstream"), why).hint(
            "a balancer beside the services, or one name with several addresses, stands for more",
        ));
    }
    let mut members: Vec<Upstream> = Vec::with_capacity(urls.len());
    for (index, url) in urls.iter().enumerate() {
        let at = || format!("{place}.upstream[{index}]");
        let upstream = build(Some(index), url)?;
        let Some(address) = upstream.address() else {
            let why = format!("{url:?} is the built-in page, and no server among others");
            return Err(ConfigError::new(at(), why).hint("write upstream = \"demo\" alone"));
        };
        let others = || members.iter().filter_map(Upstream::address).zip(urls);
        if let Some((_, first)) = others().find(|(other, _)| other.is_at(address)) {
            let why = format!("{url:?} is the same as {first:?} before it");
            return Err(ConfigError::new(at(), why)
                .hint("name each upstream once; all of them get the same share"));
        }
        if let Some((_, first)) = others().find(|(other, _)| !other.is_like(address)) {
            let why = format!("{url:?} is of another kind than {first:?}");
            return Err(ConfigError::new(at(), why)
                .hint("write the same scheme for all; other kinds want a route of their own"));
        }
        members.push(upstream);
    }
    Ok(Group::new(
        members,
        balance.map(Balance::from).unwrap_or_default(),
    ))
}

/// Of a route: requests.
pub(super) fn of_requests(
    written: &Written<'_>,
    context: &Context<'_>,
) -> Result<Upstream, ConfigError> {
    const FORMS: Forms = Forms {
        plain: ("http", Some(80)),
        tls: ("https", Some(443)),
        alpn: &[],
        hint: "write \"http://HOST:PORT\", \"https://HOST:PORT\", \"unix:/PATH\", or \"demo\"",
    };
    if written.text == DEMO {
        written.refuse_tls()?;
        if written.protocol.is_some() || written.upgrades.is_some() {
            let key = if written.protocol.is_some() {
                "upstream_protocol"
            } else {
                "upgrades"
            };
            let why = "the built-in page is no upstream to speak with";
            return Err(ConfigError::new(format!("{}.{key}", written.place), why)
                .hint("leave it out, or name a server as upstream"));
        }
        return Ok(Upstream::Demo);
    }
    let address = written.address(&FORMS, context)?;
    Ok(Upstream::Http(Arc::new(written.origin(address)?)))
}

/// Of a listener itself, which takes no requests.
pub(super) fn of_listener(
    written: &Written<'_>,
    protocol: Protocol,
    context: &Context<'_>,
) -> Result<Upstream, ConfigError> {
    const FORMS: Forms = Forms {
        plain: ("tcp", None),
        tls: ("tls", None),
        alpn: &[],
        hint: "write \"tcp://HOST:PORT\", \"tls://HOST:PORT\" or \"unix:/PATH\"; for HTTP, add [[gateway.listener.route]] with upstream and allow",
    };
    const POSTGRESQL: Forms = Forms {
        alpn: &[postgresql::ALPN],
        ..FORMS
    };
    if protocol != Protocol::Postgresql {
        return Ok(Upstream::Bytes(Arc::new(written.address(&FORMS, context)?)));
    }
    let mut address = written.address(&POSTGRESQL, context)?;
    if let Address::Tls(target) = &mut address {
        target.asks_first = true;
    }
    Ok(Upstream::Bytes(Arc::new(address)))
}

/// Of an egress: over TLS in any case. With what `Host` says there, and what is spoken.
pub(super) fn of_egress(
    written: &Written<'_>,
    context: &Context<'_>,
) -> Result<(Upstream, HeaderValue, Protocol), ConfigError> {
    const HINT: &str = "write \"https://HOST:PORT\" for HTTP or \"tls://HOST:PORT\" for bytes";
    const HTTP: Forms = Forms {
        plain: ("https", Some(443)),
        tls: ("https", Some(443)),
        alpn: &[],
        hint: HINT,
    };
    const BYTES: Forms = Forms {
        plain: ("tls", None),
        tls: ("tls", None),
        alpn: &[],
        hint: HINT,
    };
    let is_bytes = written.text.starts_with("tls://");
    let forms = if is_bytes { &BYTES } else { &HTTP };
    if written.text.starts_with(UNIX) {
        return written.refuse(forms, "is not spoken to over TLS");
    }
    let address = written.address(forms, context)?;
    let Address::Tls(target) = &address else {
        return written.refuse(forms, "is not spoken to over TLS");
    };
    let host = match (target.host(), target.settings.port) {
        (host, 443) => host,
        (host, port) => format!("{host}:{port}"),
    };
    let Ok(host) = HeaderValue::from_str(&host) else {
        return written.refuse(forms, "names a host that no request could ask for");
    };
    if !is_bytes {
        let origin = Arc::new(written.origin(address)?);
        return Ok((Upstream::Http(origin), host, Protocol::Http));
    }
    if written.protocol.is_some() {
        let place = format!("{}.upstream_protocol", written.place);
        return Err(
            ConfigError::new(place, "bytes are in no HTTP").hint("leave it out, or write https://")
        );
    }
    Ok((Upstream::Bytes(Arc::new(address)), host, Protocol::Bytes))
}

/// The schemes that are known where an upstream stands, each with the port that it means without one.
struct Forms {
    plain: (&'static str, Option<u16>),
    tls: (&'static str, Option<u16>),
    alpn: &'static [&'static [u8]],
    hint: &'static str,
}

impl Written<'_> {
    fn address(&self, forms: &Forms, context: &Context<'_>) -> Result<Address, ConfigError> {
        if let Some(path) = self.text.strip_prefix(UNIX) {
            self.refuse_tls()?;
            return self.unix(path, forms);
        }
        let Ok(uri) = self.text.parse::<Uri>() else {
            return self.refuse(forms, "is no URL");
        };
        let is_tls = uri.scheme_str() == Some(forms.tls.0);
        if !is_tls && uri.scheme_str() != Some(forms.plain.0) {
            let why = if forms.plain.0 == forms.tls.0 {
                "is not spoken to over TLS".to_owned()
            } else {
                format!(
                    "does not begin with {}://, {}:// or unix:",
                    forms.plain.0, forms.tls.0
                )
            };
            return self.refuse(forms, &why);
        }
        let (_, default_port) = if is_tls { forms.tls } else { forms.plain };
        let (host, port) = self.host_and_port(&uri, default_port, forms)?;
        if !is_tls {
            self.refuse_tls()?;
            return Ok(Address::Tcp { host, port });
        }
        let target = self.tls_target(host, port, forms.alpn, context)?;
        Ok(Address::Tls(target))
    }

    fn origin(&self, mut address: Address) -> Result<Origin, ConfigError> {
        let is_tls = matches!(address, Address::Tls(_));
        let versions = match self.protocol {
            Some(HttpProtocol::Http1) => HttpVersions::Http1,
            Some(HttpProtocol::Http2) => HttpVersions::Http2,
            Some(HttpProtocol::Auto) if !is_tls => {
                let why = format!(
                    "{:?} is not spoken to over TLS, where alone it could choose",
                    self.text
                );
                return Err(
                    ConfigError::new(format!("{}.upstream_protocol", self.place), why)
                        .hint("write \"http/1.1\" or \"h2\""),
                );
            }
            None if !is_tls => HttpVersions::Http1,
            Some(HttpProtocol::Auto) | None => HttpVersions::Either,
        };
        if let Address::Tls(target) = &mut address {
            let offered: &[&[u8]] = match versions {
                HttpVersions::Either => &[b"h2", b"http/1.1"],
                HttpVersions::Http1 => &[b"http/1.1"],
                HttpVersions::Http2 => &[b"h2"],
            };
            target.settings.alpn = offered.iter().map(|it| it.to_vec()).collect();
        }
        Ok(Origin::new(address, versions, self.upgrades(versions)?))
    }

    fn upgrades(&self, versions: HttpVersions) -> Result<Vec<HeaderValue>, ConfigError> {
        let Some(written) = self.upgrades else {
            return Ok(vec![HeaderValue::from_static("websocket")]);
        };
        if versions == HttpVersions::Http2 && !written.is_empty() {
            let why = "nothing can be switched to with an upstream that is spoken to in HTTP/2";
            return Err(
                ConfigError::new(format!("{}.upgrades", self.place), why).hint(
                    "leave it out, or give the path that upgrades a route with upstream_protocol = \"http/1.1\"",
                ),
            );
        }
        let mut upgrades = Vec::with_capacity(written.len());
        for (index, name) in written.iter().enumerate() {
            let place = || format!("{}.upgrades[{index}]", self.place);
            let is_http = ["h2", "h2c", "http", "tls"].iter().any(|it| {
                name.split('/')
                    .next()
                    .unwrap_or(name)
                    .eq_ignore_ascii_case(it)
            });
            if is_http {
                let why = format!("{name:?} would carry requests past the rules");
                return Err(ConfigError::new(place(), why)
                    .hint("clients of HTTP/2 agree on it in the TLS handshake"));
            }
            // RFC 9110 §7.8: a name, and perhaps a version behind a slash.
            let is_protocol = !name.is_empty()
                && name.len() <= MAX_PROTOCOL_BYTES
                && (name.bytes())
                    .all(|byte| byte.is_ascii_alphanumeric() || b"-._+/".contains(&byte));
            let value = HeaderValue::from_str(name).ok().filter(|_| is_protocol);
            let Some(value) = value else {
                let why = format!("{name:?} names no protocol");
                return Err(ConfigError::new(place(), why)
                    .hint("write it as the Upgrade header has it, such as \"websocket\""));
            };
            upgrades.push(value);
        }
        Ok(upgrades)
    }

    /// The key that it stands under.
    fn key(&self) -> String {
        let index = self.index.map_or_else(String::new, |it| format!("[{it}]"));
        format!("{}.upstream{index}", self.place)
    }

    fn refuse<T>(&self, forms: &Forms, why: &str) -> Result<T, ConfigError> {
        Err(ConfigError::new(self.key(), format!("{:?} {why}", self.text)).hint(forms.hint))
    }

    fn refuse_tls(&self) -> Result<(), ConfigError> {
        if self.tls.is_none() {
            return Ok(());
        }
        let why = format!(
            "{:?} is not spoken to over TLS, so that nobody is verified there",
            self.text
        );
        Err(
            ConfigError::new(format!("{}.upstream_tls", self.place), why)
                .hint("write https:// (of bytes: tls://), or leave upstream_tls out"),
        )
    }

    fn unix(&self, path: &str, forms: &Forms) -> Result<Address, ConfigError> {
        if !path.starts_with('/') || path.contains('\0') {
            return self.refuse(forms, "is no path that begins at the root");
        }
        if path.len() > MAX_UNIX_PATH_BYTES {
            return self.refuse(
                forms,
                "is longer than the 107 bytes that a socket's path may have",
            );
        }
        Ok(Address::Unix {
            path: PathBuf::from(path),
        })
    }

    fn host_and_port(
        &self,
        uri: &Uri,
        default_port: Option<u16>,
        forms: &Forms,
    ) -> Result<(String, u16), ConfigError> {
        // `Uri` reads an absent path as "/".
        if uri.path() != "/" || uri.query().is_some() || self.text.contains('#') {
            return self.refuse(
                forms,
                "has a path: what is sent upstream has the path that it came with",
            );
        }
        let Some(authority) = uri.authority() else {
            return self.refuse(forms, "names no host");
        };
        if authority.as_str().contains('@') {
            return self.refuse(forms, "holds a user name, which is not sent");
        }
        let port = match &authority.as_str()[authority.host().len()..] {
            "" => default_port,
            port => port
                .strip_prefix(':')
                .and_then(|port| port.parse().ok())
                .filter(|port: &u16| *port != 0),
        };
        let Some(port) = port else {
            return self.refuse(forms, "has no port from 1 to 65535");
        };
        let host = authority
            .host()
            .trim_start_matches('[')
            .trim_end_matches(']');
        if host.is_empty() {
            return self.refuse(forms, "names no host");
        }
        Ok((host.to_owned(), port))
    }

    fn tls_target(
        &self,
        host: String,
        port: u16,
        alpn: &[&[u8]],
        context: &Context<'_>,
    ) -> Result<TlsTarget, ConfigError> {
        let place = format!("{}.upstream_tls", self.place);
        if !Connector::can_ask_for(&host) {
            let why = format!("{host:?} is neither a DNS name nor an IP address");
            return Err(ConfigError::new(self.key(), why));
        }
        let default = UpstreamTlsConfig::default();
        let config = self.tls.unwrap_or(&default);
        let bundle = BundleName::parse(&config.trust)
            .ok()
            .and_then(|name| context.bundles.get(&name));
        let Some(bundle) = bundle else {
            let why = format!("there is no trust bundle called {:?}", config.trust);
            return Err(
                ConfigError::new(format!("{place}.trust"), why).hint(format!(
                    "add [trust.{}] with bundle = \"FILE\"",
                    config.trust
                )),
            );
        };
        let written = if config.name.is_empty() {
            std::slice::from_ref(&host)
        } else {
            &config.name[..]
        };
        let mut names = Vec::with_capacity(written.len());
        for (index, text) in written.iter().enumerate() {
            let name = ExpectedName::parse(text, Purpose::ServerAuth).map_err(|invalid| {
                ConfigError::new(
                    format!("{place}.name[{index}]"),
                    format!("{text:?}: {invalid}"),
                )
            })?;
            if let Some(id) = name.spiffe_id() {
                refuse_other_trust_domain(bundle, id.trust_domain()).map_err(|why| {
                    ConfigError::new(format!("{place}.name[{index}]"), why)
                        .hint(format!("see trust_domain in [trust.{}]", bundle.name()))
                })?;
            }
            names.push(name);
        }
        let verifier = Verifier::new(vec![Arc::clone(bundle)], Limits::default())
            .map_err(|invalid| ConfigError::new(format!("{place}.trust"), invalid.to_string()))?;
        Ok(TlsTarget {
            settings: ConnectorSettings {
                host,
                port,
                names,
                versions: Versions::Tls12AndTls13,
                verifier: Arc::new(verifier),
                alpn: alpn.iter().map(|protocol| protocol.to_vec()).collect(),
                connect_timeout: Duration::MAX,
                feed_life: context.feed_life,
            },
            asks_first: false,
            credentials: credentials(&place, config, context)?,
        })
    }
}

fn credentials(
    place: &str,
    config: &UpstreamTlsConfig,
    context: &Context<'_>,
) -> Result<Option<SharedCredentials>, ConfigError> {
    let missing = |missing: &str, given: &str| {
        Err(ConfigError::new(
            format!("{place}.{missing}"),
            format!("{given} is given without it"),
        ))
    };
    let (certificate, key) = match (&config.certificate, &config.key) {
        (Some(certificate), Some(key)) => (certificate, key),
        (Some(_), None) => return missing("key", "certificate"),
        (None, Some(_)) => return missing("certificate", "key"),
        (None, None) => return Ok(None),
    };
    read_credentials(place, certificate, key, context.read).map(Some)
}

/// The credentials in two PEM files.
pub(super) fn read_credentials(
    place: &str,
    certificate: &Path,
    key: &Path,
    read: &dyn Fn(&Path) -> io::Result<Vec<u8>>,
) -> Result<SharedCredentials, ConfigError> {
    let read = |name: &str, path: &Path| {
        read(path).map_err(|error| {
            ConfigError::new(
                format!("{place}.{name}"),
                format!("{}: {error}", path.display()),
            )
        })
    };
    let credentials = Credentials::from_pem(&read("certificate", certificate)?, &read("key", key)?);
    let credentials = credentials.map_err(|invalid| {
        let why = format!("{}, {}: {invalid}", certificate.display(), key.display());
        ConfigError::new(format!("{place}.certificate"), why).hint(invalid.cause.fix())
    })?;
    Ok(SharedCredentials::new(credentials))
}

const DEMO: &str = "demo";

/// Names of protocols have a dozen.
const MAX_PROTOCOL_BYTES: usize = 64;

const UNIX: &str = "unix:";

/// `sun_path` of unix(7), without the zero at its end.
const MAX_UNIX_PATH_BYTES: usize = 107;
