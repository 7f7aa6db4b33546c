//! Issuers of tokens and API keys as they are written, and into what they are verified by.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use countersign_pki::fingerprint::{Fingerprint, InvalidFingerprint};
use countersign_pki::identity::BundleName;
use countersign_pki::name::TypedName;
use countersign_pki::time::UnixTime;
use countersign_policy::access::{
    AccessPolicy, ApiKeyPattern, ClaimValue, InvalidPolicy, Named, TokenPattern,
};
use countersign_policy::api_key::{ApiKey, ApiKeys};
use countersign_policy::token::{Algorithm, KeySet, TokenIssuer};
use countersign_probe::url::FetchUrl;
use countersign_runtime::clock::{Clock as _, SystemClock};
use countersign_runtime::config::ConfigError;
use countersign_runtime::config::amount::TimeSpan;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::config::GatewayConfig;
use crate::config::break_glass::add_trust;
use crate::config::build::rule_place;
use crate::config::trust::list_servers;
use crate::factors::{HeldKeys, Issuer, KeySource, KeyUrl, Verification};
use crate::plan::Protocol;
use crate::shadow::Shadow;

/// Whose tokens (JWT) rules may ask for, beside a certificate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TokenIssuerConfig {
    /// How rules call it: 1 to 63 lower-case letters, digits and hyphens.
    pub name: String,
    /// What `iss` has to say, byte by byte.
    pub issuer: String,
    /// Any of these has to be in `aud`.
    pub audience: Vec<String>,
    /// File with its public keys (a JWK set). This or `jwks_url`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jwks_file: Option<PathBuf>,
    /// URL of its public keys: "https", or "http" on this host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jwks_url: Option<String>,
    /// PEM file with the roots that vouch for the server of an "https" URL.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jwks_server_anchors: Option<PathBuf>,
    /// Takes keys over plain "http" from another host: whoever is on the way there can sign tokens. Default: false.
    #[serde(default)]
    pub dangerous_plain_http: bool,
    /// How often keys are fetched anew from their URL. Default: "5m".
    #[serde(default = "default_refresh")]
    pub jwks_refresh: TimeSpan,
    /// How long keys count after the URL gave them last; then every token of this issuer is refused. Default: "24h".
    #[serde(default = "default_life")]
    pub jwks_life: TimeSpan,
    /// Signatures that are accepted: "ES256", "ES384", "PS256", "PS384", "PS512", "RS256", "RS384", "RS512", `"EdDSA"`. Default: all of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub algorithms: Vec<String>,
    /// By how much the issuer's clock and this one may differ, at most "5m". Default: "30s".
    #[serde(default = "default_skew")]
    pub clock_skew: TimeSpan,
    /// How long a token may be good, from its `iat` and from now. Default: "24h".
    #[serde(default = "default_lifetime")]
    pub max_lifetime: TimeSpan,
    /// Whether a token has to be bound to a certificate (RFC 8705: `cnf` with `x5t#S256`). One that is bound counts for its certificate
    /// alone, whatever stands here. Default: true.
    #[serde(default = "default_true")]
    pub require_binding: bool,
    /// Whether upstreams get the token as it came. Default: true.
    #[serde(default = "default_true")]
    pub forward_token: bool,
}

/// An API key that rules may ask for, beside the certificate of the one identity that it is for. `countersign api-key new` makes one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ApiKeyConfig {
    /// How rules and logs call it: 1 to 63 lower-case letters, digits and hyphens.
    pub name: String,
    /// SHA-256 of the key in hexadecimal digits. The key itself is 32 random bytes and stands nowhere here.
    pub sha256: String,
    /// The identity that it is for: a typed name, such as `"cn:billing"` or `"spiffe://example.com/billing"`.
    #[serde(rename = "for")]
    pub holder: String,
    /// The trust bundle that vouches for the identity. Default: "internal".
    #[serde(default = "default_bundle")]
    pub bundle: String,
    /// Its end, in Unix seconds. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_after_unix_s: Option<u64>,
}

/// What a token has to be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TokenConditionConfig {
    /// The name of a `[[gateway.token_issuer]]`.
    pub issuer: String,
    /// Each of these claims, with its value or any of those listed. A name that begins with "/" is a pointer (RFC 6901).
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub claims: BTreeMap<String, ClaimConfig>,
}

/// What a claim has to be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(
    untagged,
    expecting = "a text, a whole number, true, false, or a list of them"
)]
pub enum ClaimConfig {
    /// This.
    One(ClaimValueConfig),
    /// Any of these.
    Any(Vec<ClaimValueConfig>),
}

/// A value of a claim.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged, expecting = "a text, a whole number, true or false")]
pub enum ClaimValueConfig {
    /// `true` or `false`.
    Bool(bool),
    /// A whole number.
    Integer(i64),
    /// A text.
    Text(String),
}

/// Which API key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged, expecting = "true, or the name of an API key")]
pub enum ApiKeyConditionConfig {
    /// `true`: any of the client's.
    Any(bool),
    /// The one of this name.
    Named(String),
}

impl TokenConditionConfig {
    pub(super) fn build(&self) -> Result<TokenPattern, InvalidPolicy> {
        let value = |value: &ClaimValueConfig| match value {
            ClaimValueConfig::Bool(value) => ClaimValue::Bool(*value),
            ClaimValueConfig::Integer(value) => ClaimValue::Integer(*value),
            ClaimValueConfig::Text(text) => ClaimValue::Text(text.clone()),
        };
        let claims = self.claims.iter().map(|(name, claim)| {
            let values = match claim {
                ClaimConfig::One(one) => vec![value(one)],
                ClaimConfig::Any(any) => any.iter().map(value).collect(),
            };
            (name.clone(), values)
        });
        TokenPattern::parse(&self.issuer, claims.collect())
    }
}

impl ApiKeyConditionConfig {
    pub(super) fn build(&self, place: &str) -> Result<ApiKeyPattern, ConfigError> {
        match self {
            Self::Any(true) => Ok(ApiKeyPattern::Any),
            Self::Any(false) => Err(ConfigError::new(place, "false asks for nothing")
                .hint("leave it out; not = { api_key = true } is for those without a key")),
            Self::Named(name) => Ok(ApiKeyPattern::Named(name.clone())),
        }
    }
}

impl GatewayConfig {
    /// Everything that tokens and API keys are verified by.
    pub(super) fn verification(
        &self,
        read: impl Fn(&Path) -> io::Result<Vec<u8>>,
    ) -> Result<Verification, ConfigError> {
        let now = UnixTime::from_seconds(SystemClock.unix_seconds());
        let mut issuers = Vec::with_capacity(self.token_issuer.len());
        let mut names = HashSet::new();
        for (index, written) in self.token_issuer.iter().enumerate() {
            let place = format!("gateway.token_issuer[{index}]");
            check_name(&place, &written.name, &mut names)?;
            issuers.push(Arc::new(written.build(&place, now, &read)?));
        }
        let mut keys = Vec::with_capacity(self.api_key.len());
        let (mut names, mut hashes) = (HashSet::new(), HashSet::new());
        for (index, written) in self.api_key.iter().enumerate() {
            let place = format!("gateway.api_key[{index}]");
            check_name(&place, &written.name, &mut names)?;
            let key = written.build(&place)?;
            if !hashes.insert(key.sha256) {
                let why = "it is the hash of another key, too: each key is one holder's";
                return Err(ConfigError::new(format!("{place}.sha256"), why));
            }
            keys.push(key);
        }
        if keys.len() > MAX_API_KEYS {
            return Err(ConfigError::new(
                "gateway.api_key",
                format!("{} are more than {MAX_API_KEYS}", keys.len()),
            ));
        }
        Ok(Verification::new(
            issuers,
            ApiKeys::new(keys),
            self.forward_api_key,
        ))
    }

    /// Refuses a rule that names an issuer or a key that nothing configures: it could never hold.
    pub(super) fn check_named_factors(
        &self,
        listener: &str,
        protocol: Protocol,
        policy: &AccessPolicy,
        shadow: Option<&Shadow>,
    ) -> Result<(), ConfigError> {
        self.check_named(policy, |route, list, entry| {
            rule_place(listener, protocol, Some(route), Some((list, entry)))
        })?;
        let Some(shadow) = shadow else { return Ok(()) };
        self.check_named(&shadow.policy, |route, list, entry| {
            let route = rule_place(listener, protocol, Some(route), None);
            format!("{route}.shadow.{list}[{entry}]")
        })
    }

    /// Everything that decides which tokens and API keys the rules of `policy` take; empty: they ask for none. Keys from a URL are not in it: they
    /// are changed by whoever publishes them, whom the anchors of the URL vouch for.
    pub(super) fn written_factors(
        &self,
        place: &str,
        policy: &AccessPolicy,
        verification: &Verification,
    ) -> Result<Vec<u8>, ConfigError> {
        let invalid = |error: serde_json::Error| ConfigError::new(place, error.to_string());
        let (mut issuers, mut keys, mut any_key) = (BTreeSet::new(), BTreeSet::new(), false);
        for (.., named) in policy.named_factors() {
            match named {
                Named::Issuer(name) => {
                    issuers.insert(name);
                }
                Named::ApiKey(name) => {
                    keys.insert(name);
                }
                Named::AnyApiKey => any_key = true,
            }
        }
        let mut written = Vec::new();
        let of_rules = self.token_issuer.iter().zip(&verification.issuers);
        for (config, issuer) in of_rules.filter(|(it, _)| issuers.contains(&*it.name)) {
            // No JSON has a NUL, so that none runs into what follows.
            written.extend_from_slice(&serde_json::to_vec(config).map_err(invalid)?);
            written.push(0);
            match &issuer.source {
                KeySource::File => {
                    let held = issuer.keys.load();
                    let digest = held.as_ref().and_then(|it| it.digest());
                    written.extend(digest.iter().flat_map(|it| *it.as_bytes()));
                }
                KeySource::Url(url) => {
                    let bundles = url.https.iter().flat_map(|it| it.bundles());
                    add_trust(&mut written, &bundles.cloned().collect::<Vec<_>>());
                }
            }
        }
        let of_rules = self.api_key.iter();
        for config in of_rules.filter(|it| any_key || keys.contains(&*it.name)) {
            written.push(0);
            written.extend_from_slice(&serde_json::to_vec(config).map_err(invalid)?);
        }
        Ok(written)
    }

    fn check_named(
        &self,
        policy: &AccessPolicy,
        at: impl Fn(usize, &'static str, usize) -> String,
    ) -> Result<(), ConfigError> {
        for (route, list, entry, named) in policy.named_factors() {
            let why = match named {
                Named::Issuer(name) if !self.token_issuer.iter().any(|it| it.name == name) => {
                    format!("there is no [[gateway.token_issuer]] called {name:?}")
                }
                Named::ApiKey(name) if !self.api_key.iter().any(|it| it.name == name) => {
                    format!("there is no [[gateway.api_key]] called {name:?}")
                }
                Named::AnyApiKey if self.api_key.is_empty() => {
                    "it can never hold: there is no [[gateway.api_key]]".to_owned()
                }
                _ => continue,
            };
            return Err(ConfigError::new(at(route, list, entry), why));
        }
        Ok(())
    }
}

impl TokenIssuerConfig {
    fn build(
        &self,
        place: &str,
        now: UnixTime,
        read: &impl Fn(&Path) -> io::Result<Vec<u8>>,
    ) -> Result<Issuer, ConfigError> {
        let at = |key: &str| format!("{place}.{key}");
        if self.issuer.is_empty() {
            return Err(ConfigError::new(at("issuer"), "it is empty")
                .hint("it is what iss says in the tokens"));
        }
        if self.audience.is_empty() || self.audience.iter().any(String::is_empty) {
            return Err(ConfigError::new(
                at("audience"),
                "without one a token for any other service would do here",
            )
            .hint("name what the issuer puts into aud for this service"));
        }
        let algorithms = self.algorithms.iter().enumerate().map(|(index, text)| {
            text.parse::<Algorithm>().map_err(|unknown| {
                ConfigError::new(at(&format!("algorithms[{index}]")), format!("{text:?}: {unknown}"))
                    .hint("none and HS256 are not among them: whoever can verify by a shared secret can sign")
            })
        });
        let mut algorithms: Vec<Algorithm> = algorithms.collect::<Result<_, _>>()?;
        if algorithms.is_empty() {
            algorithms = Algorithm::ALL.to_vec();
        }
        if self.clock_skew.duration() > MAX_SKEW {
            return Err(ConfigError::new(at("clock_skew"), "it is more than 5 m")
                .hint("clocks that differ by more have to be set"));
        }
        let lifetime = self.max_lifetime.duration();
        if lifetime.is_zero() || lifetime > MAX_LIFETIME {
            return Err(ConfigError::new(
                at("max_lifetime"),
                "it is none, or more than 31 d",
            ));
        }
        let (source, keys) = self.source(place, now, read)?;
        Ok(Issuer {
            settings: TokenIssuer {
                name: self.name.clone(),
                issuer: self.issuer.clone(),
                audience: self.audience.clone(),
                algorithms,
                clock_skew: self.clock_skew.duration(),
                max_lifetime: lifetime,
                require_binding: self.require_binding,
            },
            forwards: self.forward_token,
            source,
            keys: ArcSwapOption::from(keys.map(Arc::new)),
        })
    }

    fn source(
        &self,
        place: &str,
        now: UnixTime,
        read: &impl Fn(&Path) -> io::Result<Vec<u8>>,
    ) -> Result<(KeySource, Option<HeldKeys>), ConfigError> {
        let at = |key: &str| format!("{place}.{key}");
        let of_urls = [
            ("jwks_server_anchors", self.jwks_server_anchors.is_some()),
            ("dangerous_plain_http", self.dangerous_plain_http),
            ("jwks_refresh", self.jwks_refresh != default_refresh()),
            ("jwks_life", self.jwks_life != default_life()),
        ];
        match (&self.jwks_file, &self.jwks_url) {
            (Some(path), None) => {
                if let Some((key, _)) = of_urls.iter().find(|(_, is_given)| *is_given) {
                    return Err(ConfigError::new(
                        at(key),
                        "it is about keys from a URL, and these are in a file",
                    )
                    .hint("leave it out"));
                }
                let fault = |why: String| {
                    ConfigError::new(at("jwks_file"), format!("{}: {why}", path.display()))
                };
                let bytes = read(path).map_err(|error| fault(error.to_string()))?;
                let set = KeySet::parse(&bytes).map_err(|error| fault(error.to_string()))?;
                let held = HeldKeys::new(Arc::new(set), Fingerprint::of(&bytes), now);
                Ok((KeySource::File, Some(held)))
            }
            (None, Some(text)) => Ok((KeySource::Url(self.url(place, text, now, read)?), None)),
            _ => Err(ConfigError::new(
                at("jwks_file"),
                "its keys come from a file or from a URL, one of them",
            )
            .hint("give jwks_file = \"FILE\" or jwks_url = \"https://…\"")),
        }
    }

    fn url(
        &self,
        place: &str,
        text: &str,
        now: UnixTime,
        read: &impl Fn(&Path) -> io::Result<Vec<u8>>,
    ) -> Result<KeyUrl, ConfigError> {
        let at = |key: &str| format!("{place}.{key}");
        let url = FetchUrl::parse(text)
            .map_err(|invalid| ConfigError::new(at("jwks_url"), invalid.to_string()))?;
        let is_loopback = url.host() == "localhost"
            || (url.host().parse::<std::net::IpAddr>()).is_ok_and(|it| it.is_loopback());
        if !url.is_https() && !is_loopback && !self.dangerous_plain_http {
            return Err(ConfigError::new(
                at("jwks_url"),
                "over plain http whoever is on the way could give keys of their own, and sign tokens",
            )
            .hint("use https and jwks_server_anchors, or jwks_file"));
        }
        let https = match (&self.jwks_server_anchors, url.is_https()) {
            (Some(path), true) => Some(list_servers(&at("jwks_server_anchors"), path, now, read)?),
            (None, false) => None,
            (None, true) => {
                return Err(ConfigError::new(
                    at("jwks_url"),
                    "nothing says who vouches for this server",
                )
                .hint("give jwks_server_anchors = \"FILE\" with the roots of its certificate"));
            }
            (Some(_), false) => {
                return Err(ConfigError::new(
                    at("jwks_server_anchors"),
                    "the URL is no https, so that nobody would be judged by it",
                ));
            }
        };
        let (refresh, life) = (self.jwks_refresh.duration(), self.jwks_life.duration());
        if refresh < MIN_REFRESH {
            return Err(ConfigError::new(
                at("jwks_refresh"),
                "less than 5 s is a load on whoever publishes",
            ));
        }
        if life < refresh || life > MAX_LIFE {
            return Err(ConfigError::new(
                at("jwks_life"),
                "it is less than jwks_refresh, or more than 31 d",
            ));
        }
        Ok(KeyUrl {
            url,
            written: text.to_owned(),
            https,
            refresh,
            life,
            looks: Arc::default(),
        })
    }
}

impl ApiKeyConfig {
    fn build(&self, place: &str) -> Result<ApiKey, ConfigError> {
        let at = |key: &str| format!("{place}.{key}");
        let sha256 = self.sha256.parse().map_err(|error: InvalidFingerprint| {
            ConfigError::new(at("sha256"), error.to_string())
                .hint("countersign api-key new prints key and hash")
        })?;
        let holder = self.holder.parse::<TypedName>().map_err(|error| {
            ConfigError::new(at("for"), format!("{:?}: {error}", self.holder))
                .hint("a typed name: \"cn:billing\", \"dns:api.example.com\", \"spiffe://example.com/billing\"")
        })?;
        let bundle = BundleName::parse(&self.bundle)
            .map_err(|error| ConfigError::new(at("bundle"), error.to_string()))?;
        Ok(ApiKey {
            name: self.name.clone(),
            sha256,
            holder,
            bundle,
            not_after: self.not_after_unix_s.map(UnixTime::from_seconds),
        })
    }
}

/// The same alphabet as for listeners: it goes into logs and metrics as it is.
fn check_name(place: &str, name: &str, names: &mut HashSet<String>) -> Result<(), ConfigError> {
    let place = format!("{place}.name");
    if BundleName::parse(name).is_err() {
        return Err(
            ConfigError::new(place, format!("{name:?} cannot be a name"))
                .hint("use 1 to 63 lower-case letters, digits and hyphens"),
        );
    }
    if !names.insert(name.to_owned()) {
        return Err(ConfigError::new(
            place,
            format!("{name} stands there twice"),
        ));
    }
    Ok(())
}

fn default_true() -> bool {
    true
}

fn default_bundle() -> String {
    BundleName::INTERNAL.to_owned()
}

fn default_refresh() -> TimeSpan {
    TimeSpan::from_seconds(300)
}

fn default_life() -> TimeSpan {
    TimeSpan::from_seconds(24 * 3600)
}

fn default_skew() -> TimeSpan {
    TimeSpan::from_seconds(30)
}

fn default_lifetime() -> TimeSpan {
    TimeSpan::from_seconds(24 * 3600)
}

/// Each is compared at each request that a rule asks for one of.
const MAX_API_KEYS: usize = 1000;
const MAX_SKEW: Duration = Duration::from_mins(5);
const MAX_LIFETIME: Duration = Duration::from_hours(31 * 24);
const MAX_LIFE: Duration = Duration::from_hours(31 * 24);
const MIN_REFRESH: Duration = Duration::from_secs(5);
