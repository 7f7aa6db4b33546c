//! `[trust.NAME]`: where the anchors of a bundle come from, and what says which of its certificates are revoked.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use countersign_pki::bundle::TrustBundle;
use countersign_pki::certificate::Certificate;
use countersign_pki::chain::{Limits, Verifier};
use countersign_pki::identity::BundleName;
use countersign_pki::pem;
use countersign_pki::revocation::RevocationMode;
use countersign_pki::spiffe::TrustDomain;
use countersign_pki::time::UnixTime;
use countersign_probe::url::FetchUrl;
use countersign_runtime::config::ConfigError;
use countersign_runtime::config::amount::TimeSpan;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::ocsp::OcspConfig;

/// A trust bundle: the anchors of one trust domain or partner.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct TrustConfig {
    /// PEM file with the anchors. Default: the authority's own root; only "internal" may leave it out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bundle: Option<PathBuf>,
    /// The SPIFFE trust domain that this bundle vouches for. Default: none, and SPIFFE IDs under this bundle never match.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trust_domain: Option<String>,
    /// The bundle's revocation lists: files, and URLs of "http" and "https". Default: none, and nobody under this bundle is
    /// found revoked but by the authority's feed.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub crl: Vec<String>,
    /// The OCSP responder that is asked about clients' certificates. Default: none is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ocsp: Option<OcspConfig>,
    /// What becomes of a certificate that no fresh list covers, or of which no fresh OCSP answer speaks. Default: "hard".
    pub revocation: RevocationConfig,
    /// Of "grace": for how long after the end of a list, or of an answer, certificates are still accepted. At most "30d".
    #[serde(skip_serializing_if = "Option::is_none")]
    pub grace: Option<TimeSpan>,
    /// How often lists are fetched anew from their URLs; once half of a list's own life is over, more often. Default: "1h".
    pub crl_refresh: TimeSpan,
    /// PEM file with the roots that vouch for servers of "https" URLs in `crl`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub crl_server_anchors: Option<PathBuf>,
    /// PEM file with CAs below the anchors, by whose keys lists are signed. They vouch for nobody: clients send their whole
    /// chain.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub intermediates: Option<PathBuf>,
    /// Whom to tell of what ends or is wrong: it stands in status and log.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub contact: Option<String>,
    /// How long before the end of an anchor somebody is told; of a list, at most a quarter of its life before. Default: "30d".
    pub notice: TimeSpan,
}

/// What becomes of a certificate that no fresh list covers, or of which no fresh OCSP answer speaks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RevocationConfig {
    /// It is refused.
    #[default]
    Hard,
    /// It is accepted for `grace` after the end of the list or the answer, then refused.
    Grace,
    /// It is accepted, and counted: a revoked certificate gets in while its list or answer cannot be had.
    DangerousSoft,
}

/// What says which of a bundle's certificates are revoked.
#[derive(Clone, Debug)]
pub struct RevocationPlan {
    /// What is done without a fresh list.
    pub mode: RevocationMode,
    /// Where lists come from; never empty.
    pub sources: Vec<ListSource>,
    /// The CAs whose lists are accepted.
    pub issuers: Vec<Certificate>,
    /// Who vouches for servers over TLS.
    pub https: Option<Arc<Verifier>>,
    /// How often lists are fetched anew.
    pub refresh: Duration,
}

/// Where a list comes from.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ListSource {
    /// A file, as written.
    File(PathBuf),
    /// A URL, as written.
    Url(String),
}

impl Default for TrustConfig {
    fn default() -> Self {
        Self {
            bundle: None,
            trust_domain: None,
            crl: Vec::new(),
            ocsp: None,
            revocation: RevocationConfig::default(),
            grace: None,
            crl_refresh: TimeSpan::from_seconds(3600),
            crl_server_anchors: None,
            intermediates: None,
            contact: None,
            notice: TimeSpan::from_seconds(30 * 24 * 3600),
        }
    }
}

impl std::fmt::Display for ListSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Url(url) => f.write_str(url),
        }
    }
}

impl TrustConfig {
    /// The bundle called `name`. `own` holds the authority's bundle, for `internal` without a file.
    pub fn load(
        &self,
        name: &str,
        own: Option<&TrustBundle>,
        now: UnixTime,
        read: impl Fn(&Path) -> io::Result<Vec<u8>>,
    ) -> Result<TrustBundle, ConfigError> {
        let place = format!("trust.{name}");
        let bundle_name =
            BundleName::parse(name).map_err(|error| ConfigError::new(&place, error.to_string()))?;
        for (taken, why) in [
            (
                BundleName::OPERATORS,
                "is the bundle of the authority's own operators and nodes",
            ),
            (
                LIST_SERVERS,
                "is the bundle of servers that lists are fetched from",
            ),
        ] {
            if bundle_name.as_str() == taken {
                return Err(ConfigError::new(place, why).hint("choose another name"));
            }
        }
        let trust_domain = match &self.trust_domain {
            Some(text) => Some(TrustDomain::parse(text).map_err(|error| {
                ConfigError::new(format!("{place}.trust_domain"), error.to_string())
            })?),
            None => None,
        };
        let (anchors, trust_domain) = match (&self.bundle, own) {
            (Some(path), _) => (certificates(&place, "bundle", path, read)?, trust_domain),
            (None, Some(own)) if own.name() == &bundle_name => (
                own.anchors().to_vec(),
                trust_domain.or_else(|| own.trust_domain().cloned()),
            ),
            (None, _) => {
                return Err(ConfigError::new(place, "names no anchors")
                    .hint("give bundle = \"FILE\" with the PEM certificates of its root CAs"));
            }
        };
        TrustBundle::new(bundle_name, trust_domain, anchors, now)
            .map_err(|error| ConfigError::new(place, error.to_string()))
    }
}

impl TrustConfig {
    /// What says which of the certificates of `bundle`, loaded from this, are revoked; `None`: nothing of its own.
    pub fn revocation(
        &self,
        bundle: &TrustBundle,
        now: UnixTime,
        read: impl Fn(&Path) -> io::Result<Vec<u8>>,
    ) -> Result<Option<RevocationPlan>, ConfigError> {
        let place = format!("trust.{}", bundle.name());
        let at = |key: &str| format!("{place}.{key}");
        if self.notice.duration() > MAX_NOTICE {
            return Err(ConfigError::new(at("notice"), "it is more than a year")
                .hint("leave it out for 30 d"));
        }
        if let Some(contact) = &self.contact
            && (contact.trim().is_empty()
                || contact.len() > MAX_CONTACT_BYTES
                || contact.chars().any(char::is_control))
        {
            return Err(ConfigError::new(
                at("contact"),
                "it is empty, over 256 bytes, or more than a line",
            )
            .hint("an e-mail address or a URL, such as \"pki@acme.example\""));
        }
        if self.crl.is_empty() {
            return self.refuse_without_lists(&place).map(|()| None);
        }
        if self.bundle.is_none() {
            return Err(ConfigError::new(
                at("crl"),
                "the authority's own feed tells what is revoked under this bundle",
            )
            .hint("leave crl out; lists are for bundles that have a file"));
        }
        let mode = self.mode(&place)?;
        if self.crl_refresh.duration() < MIN_REFRESH {
            return Err(ConfigError::new(
                at("crl_refresh"),
                format!(
                    "less than {} s is a load on whoever publishes",
                    MIN_REFRESH.as_secs()
                ),
            ));
        }
        let mut sources = Vec::with_capacity(self.crl.len());
        let mut needs_anchors = None;
        for (number, text) in self.crl.iter().enumerate() {
            let place = format!("{place}.crl[{number}]");
            let source = source(&place, text)?;
            if sources.contains(&source) {
                return Err(ConfigError::new(
                    place,
                    format!("{text} stands there twice"),
                ));
            }
            if text.starts_with("https://") {
                needs_anchors = Some(place);
            }
            sources.push(source);
        }
        if sources.len() > MAX_SOURCES {
            return Err(ConfigError::new(
                at("crl"),
                format!("{} sources are more than {MAX_SOURCES}", sources.len()),
            ));
        }
        let https = match (&self.crl_server_anchors, needs_anchors) {
            (Some(path), Some(_)) => {
                Some(list_servers(&at("crl_server_anchors"), path, now, &read)?)
            }
            (Some(_), None) => {
                return Err(ConfigError::new(
                    at("crl_server_anchors"),
                    "no URL in crl begins with https://, so that nobody would be judged by it",
                ));
            }
            (None, Some(place)) => {
                return Err(ConfigError::new(place, "nothing says who vouches for this server").hint(
                    "give crl_server_anchors = \"FILE\" with the roots of its certificate, or fetch over http: a list proves itself by its signature",
                ));
            }
            (None, None) => None,
        };
        let mut issuers = bundle.anchors().to_vec();
        if let Some(path) = &self.intermediates {
            add_intermediates(&place, path, &mut issuers, &read)?;
        }
        Ok(Some(RevocationPlan {
            mode,
            sources,
            issuers,
            https,
            refresh: self.crl_refresh.duration(),
        }))
    }

    pub(super) fn mode(&self, place: &str) -> Result<RevocationMode, ConfigError> {
        let place = format!("{place}.grace");
        match (self.revocation, self.grace) {
            (RevocationConfig::Grace, None) => Err(ConfigError::new(
                place,
                "revocation is \"grace\", and nothing says for how long",
            )
            .hint("give grace = \"24h\"")),
            (RevocationConfig::Grace, Some(grace)) if grace.duration().is_zero() => {
                Err(ConfigError::new(place, "it is none").hint("that is revocation = \"hard\""))
            }
            (RevocationConfig::Grace, Some(grace)) if grace.duration() > MAX_GRACE => {
                Err(ConfigError::new(place, "it is more than 30 d")
                    .hint("whoever publishes nothing for a month has to be asked, not waited for"))
            }
            (RevocationConfig::Grace, Some(grace)) => Ok(RevocationMode::Grace(grace.duration())),
            (_, Some(_)) => Err(ConfigError::new(
                place,
                "it is for revocation = \"grace\", and this bundle has another mode",
            )
            .hint("leave it out, or set revocation to \"grace\"")),
            (RevocationConfig::Hard, None) => Ok(RevocationMode::Hard),
            (RevocationConfig::DangerousSoft, None) => Ok(RevocationMode::DangerousSoft),
        }
    }

    /// What says how lists are used, where there are none, is a mistake.
    fn refuse_without_lists(&self, place: &str) -> Result<(), ConfigError> {
        let default = Self::default();
        let is_for_lists_alone = self.ocsp.is_none();
        let written = [
            (
                "revocation",
                is_for_lists_alone && self.revocation != default.revocation,
            ),
            ("grace", is_for_lists_alone && self.grace.is_some()),
            ("crl_refresh", self.crl_refresh != default.crl_refresh),
            ("crl_server_anchors", self.crl_server_anchors.is_some()),
            ("intermediates", self.intermediates.is_some()),
        ];
        match written.iter().find(|(_, is_written)| *is_written) {
            Some((key, _)) => Err(ConfigError::new(
                format!("{place}.{key}"),
                "it is about revocation lists, and this bundle has none",
            )
            .hint("give crl = [\"FILE\", \"URL\"]")),
            None => Ok(()),
        }
    }
}

/// A SPIFFE ID is valid only under its own trust domain's bundle: why a rule for `wanted` can never hold under this one.
pub(super) fn refuse_other_trust_domain(
    bundle: &TrustBundle,
    wanted: &TrustDomain,
) -> Result<(), String> {
    let name = bundle.name();
    match bundle.trust_domain() {
        Some(vouched) if vouched == wanted => Ok(()),
        Some(vouched) => Err(format!(
            "it can never hold: {name} vouches for the trust domain {vouched}, not for {wanted}"
        )),
        None => Err(format!(
            "it can never hold: {name} vouches for no trust domain"
        )),
    }
}

fn source(place: &str, text: &str) -> Result<ListSource, ConfigError> {
    if text.is_empty() {
        return Err(ConfigError::new(place, "it is empty"));
    }
    if !text.contains("://") {
        return Ok(ListSource::File(text.into()));
    }
    FetchUrl::parse(text).map_err(|invalid| ConfigError::new(place, invalid.to_string()))?;
    Ok(ListSource::Url(text.to_owned()))
}

pub(super) fn list_servers(
    place: &str,
    path: &Path,
    now: UnixTime,
    read: impl Fn(&Path) -> io::Result<Vec<u8>>,
) -> Result<Arc<Verifier>, ConfigError> {
    let (table, key) = place.rsplit_once('.').unwrap_or(("trust", place));
    let anchors = certificates(table, key, path, read)?;
    let name = BundleName::parse(LIST_SERVERS).expect("a name of the alphabet");
    let verifier = TrustBundle::new(name, None, anchors, now)
        .and_then(|bundle| Verifier::new(vec![Arc::new(bundle)], Limits::default()));
    verifier
        .map(Arc::new)
        .map_err(|invalid| ConfigError::new(place, format!("{}: {invalid}", path.display())))
}

/// Each has to be signed by one that is known, or nobody knows whose lists it would sign.
fn add_intermediates(
    place: &str,
    path: &Path,
    issuers: &mut Vec<Certificate>,
    read: impl Fn(&Path) -> io::Result<Vec<u8>>,
) -> Result<(), ConfigError> {
    let mut left = certificates(place, "intermediates", path, read)?;
    let fault = |why: String| {
        ConfigError::new(
            format!("{place}.intermediates"),
            format!("{}: {why}", path.display()),
        )
    };
    if left.len() > MAX_INTERMEDIATES {
        return Err(fault(format!(
            "it holds more than {MAX_INTERMEDIATES} certificates"
        )));
    }
    if let Some(stranger) = left.iter().find(|certificate| !certificate.is_ca()) {
        return Err(fault(format!("{} is not a CA", stranger.subject())));
    }
    while !left.is_empty() {
        let is_known = |certificate: &Certificate| {
            issuers.iter().any(|issuer| {
                issuer.subject_der() == certificate.issuer_der()
                    && certificate.verify_signature(issuer).is_ok()
            })
        };
        let (known, unknown): (Vec<_>, Vec<_>) = left.into_iter().partition(is_known);
        if known.is_empty() {
            let stranger = unknown.first().map(|it| it.subject().to_string());
            return Err(fault(format!(
                "{} stands under no anchor of this bundle",
                stranger.unwrap_or_default()
            )));
        }
        issuers.extend(known);
        left = unknown;
    }
    Ok(())
}

pub(super) fn certificates(
    place: &str,
    key: &str,
    path: &Path,
    read: impl Fn(&Path) -> io::Result<Vec<u8>>,
) -> Result<Vec<Certificate>, ConfigError> {
    let fault = |why: String| {
        ConfigError::new(
            format!("{place}.{key}"),
            format!("{}: {why}", path.display()),
        )
    };
    let bytes = read(path).map_err(|error| fault(error.to_string()))?;
    let blocks = pem::decode_all(&bytes).map_err(|error| fault(error.to_string()))?;
    blocks
        .iter()
        .map(|block| match block.label.as_str() {
            "CERTIFICATE" => {
                Certificate::parse_anchor(&block.der).map_err(|error| fault(error.to_string()))
            }
            other => Err(fault(format!(
                "holds a {other} block, only CERTIFICATE belongs there"
            ))),
        })
        .collect()
}

/// Vouches for servers that lists are fetched from, and for nobody else.
const LIST_SERVERS: &str = "list-servers";
/// Lists are replaced once a day or a week; this is for those who try things out.
const MIN_REFRESH: Duration = Duration::from_secs(5);
/// A month to repair what publishes them.
const MAX_GRACE: Duration = Duration::from_hours(30 * 24);
const MAX_NOTICE: Duration = Duration::from_hours(366 * 24);
const MAX_CONTACT_BYTES: usize = 256;
/// Shards of a large CA; each is a connection at the start.
const MAX_SOURCES: usize = 64;
/// Each is tried against each.
const MAX_INTERMEDIATES: usize = 64;
