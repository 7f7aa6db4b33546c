//! `[authority.profile.NAME]`: what a certificate of a kind may look like.

use countersign_pki::name::{DnsName, Uri};
use countersign_pki::publication::PublicationUrl;
use countersign_pki::tbs::{ExtraExtension, KeyPurpose};
use countersign_policy::access::PathPattern;
use countersign_policy::issuance::{
    BuiltIn, CommonNamePattern, FurtherKeyUsage, IpRange, KeyType, Narrowing, Profiles, Purpose,
    Source, SourceRules, UriPrefix,
};
use countersign_runtime::config::ConfigError;
use countersign_runtime::config::amount::TimeSpan;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A kind of certificate: a built-in one, narrowed. What is left out is as the built-in one has it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ProfileConfig {
    /// The built-in profile that this one narrows: "server", "client", "peer", "workload", "device" or "person". Needed for a
    /// new name; left out where the name is that of a built-in one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub like: Option<BuiltInProfile>,
    /// The keys that are certified. Default: all of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keys: Option<Vec<KeyTypeConfig>>,
    /// The life of a certificate when the request does not say.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub default_lifetime: Option<TimeSpan>,
    /// The longest life that can be asked for. Default: "825d".
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_lifetime: Option<TimeSpan>,
    /// DNS names must be one of these or end in one of them, at a dot; an empty list means none. Default: any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dns_suffix: Option<Vec<String>>,
    /// Whether DNS names may be wildcards, "*.example.com". Default: as the built-in one; clients and devices have none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wildcard: Option<bool>,
    /// IP addresses must be in one of these; an empty list means none. Default: any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ip_range: Option<Vec<String>>,
    /// Paths of SPIFFE IDs under the authority's trust domain: "*" stands for one segment, "**" at the end for any number of
    /// them; an empty list means none. Default: any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub spiffe_path: Option<Vec<String>>,
    /// What stands behind the @ of an e-mail address; an empty list means no addresses. Default: any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub email_domain: Option<Vec<String>>,
    /// URIs must begin with one of these, each of which ends in "/", ":", "?", "#" or "="; an empty list means none.
    /// Default: any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uri_prefix: Option<Vec<String>>,
    /// Patterns of common names, in which "*" stands for any characters. For profiles like client, device and person, whose
    /// NAME is a common name. Default: any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub common_name: Option<Vec<String>>,
    /// Whether the next certificate may have the key of the one before it. Default: true.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub same_key_renewal: Option<bool>,
    /// The purposes in extendedKeyUsage: of "server-auth" and "client-auth" what the built-in one has, or one of both; and dotted OIDs
    /// of others, such as "1.3.6.1.5.5.7.3.14" for EAP. Default: as the built-in one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub extended_key_usage: Option<Vec<String>>,
    /// What keyUsage has beside digitalSignature. Default: nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key_usage: Option<Vec<KeyUsageConfig>>,
    /// The `http://` URL in cRLDistributionPoints, where you put the complete CRL (`countersign ca crl --out`); false: none.
    /// Default: where the authority publishes, if it does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub crl_distribution_point: Option<SourceConfig>,
    /// The `http://` URL of an OCSP responder, or of a proxy before the authority's; false: none. Default: as above.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ocsp: Option<SourceConfig>,
    /// The `http://` URL of the issuer's certificate in DER; false: none. Default: as above.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca_issuers: Option<SourceConfig>,
    /// Extensions that every certificate of the kind carries beside its own.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub extension: Vec<ExtensionConfig>,
}

/// The built-in profiles that others can be like.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum BuiltInProfile {
    /// clientAuth; NAME is the common name.
    Client,
    /// clientAuth; NAME is the common name of a thing.
    Device,
    /// serverAuth and clientAuth; NAME is the first DNS name.
    Peer,
    /// clientAuth; NAME is an e-mail address, or the common name of somebody who has one.
    Person,
    /// serverAuth; NAME is the first DNS name.
    Server,
    /// serverAuth and clientAuth; NAME is the SPIFFE ID.
    Workload,
}

/// A kind of key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum KeyTypeConfig {
    /// Ed25519.
    Ed25519,
    /// ML-DSA-44 (FIPS 204): safe from quantum computers, and known to few clients.
    #[serde(rename = "ml-dsa-44")]
    MlDsa44,
    /// ML-DSA-65.
    #[serde(rename = "ml-dsa-65")]
    MlDsa65,
    /// ML-DSA-87.
    #[serde(rename = "ml-dsa-87")]
    MlDsa87,
    /// ECDSA on P-256.
    #[serde(rename = "p-256")]
    P256,
    /// ECDSA on P-384.
    #[serde(rename = "p-384")]
    P384,
    /// RSA of 2048 to 4096 bits.
    Rsa,
    /// RSA of 3072 to 4096 bits.
    #[serde(rename = "rsa-3072")]
    Rsa3072,
    /// RSA of 4096 bits.
    #[serde(rename = "rsa-4096")]
    Rsa4096,
}

/// A bit of keyUsage.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum KeyUsageConfig {
    /// contentCommitment, once called nonRepudiation.
    ContentCommitment,
    /// digitalSignature, which every certificate has: it may be written for completeness.
    DigitalSignature,
    /// keyAgreement, where keys are P-256 and P-384 alone.
    KeyAgreement,
    /// keyEncipherment, where keys are RSA alone: for clients of TLS 1.2 without forward secrecy.
    KeyEncipherment,
}

/// A URL that certificates carry, or false for none.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum SourceConfig {
    /// There.
    At(String),
    /// Not at all; true is refused.
    Switch(bool),
}

impl SourceConfig {
    fn parse(&self, place: String) -> Result<Source, ConfigError> {
        let parsed = match self {
            Self::At(text) => Source::parse(text),
            Self::Switch(is_on) => (!is_on).then_some(Source::Nowhere),
        };
        parsed.ok_or_else(|| {
            ConfigError::new(place, "it is neither an http:// URL of at most 200 bytes nor false").hint(
                "what is fetched there is signed, and served over plain HTTP so that nobody needs a certificate to check one (RFC 5280 §8)",
            )
        })
    }
}

/// An extension with a fixed value.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ExtensionConfig {
    /// Dotted, such as "1.3.6.1.4.1.32473.1"; not one that the authority sets itself.
    pub oid: String,
    /// The value: a text, encoded as `UTF8String`. Either this or `der`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub utf8: Option<String>,
    /// The value: DER in hexadecimal digits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub der: Option<String>,
    /// Whether clients that do not know it must refuse the certificate. Default: false.
    #[serde(default)]
    pub critical: bool,
}

impl ProfileConfig {
    /// Adds the profile called `name` to `profiles`.
    pub(super) fn configure(&self, name: &str, profiles: &mut Profiles) -> Result<(), ConfigError> {
        let place = |key: &str| format!("{}.{key}", placed(name));
        let extension = |(at, extension): (usize, &ExtensionConfig)| {
            extension.parse(&format!("{}.extension[{at}]", placed(name)))
        };
        let source = |source: Option<&SourceConfig>, key: &str| {
            source.map(|source| source.parse(place(key))).transpose()
        };
        let narrowing = Narrowing {
            keys: self
                .keys
                .as_ref()
                .map(|keys| keys.iter().map(|key| KeyType::from(*key)).collect()),
            default_lifetime: self.default_lifetime.map(TimeSpan::duration),
            max_lifetime: self.max_lifetime.map(TimeSpan::duration),
            dns_suffixes: all(
                self.dns_suffix.as_ref(),
                &place("dns_suffix"),
                DNS,
                |text| DnsName::parse(text).ok().filter(|name| !name.is_wildcard()),
            )?,
            wildcard: self.wildcard,
            ip_ranges: all(
                self.ip_range.as_ref(),
                &place("ip_range"),
                RANGE,
                IpRange::parse,
            )?,
            spiffe_paths: all(
                self.spiffe_path.as_ref(),
                &place("spiffe_path"),
                PATH,
                |text| PathPattern::parse(text).ok(),
            )?,
            email_domains: all(
                self.email_domain.as_ref(),
                &place("email_domain"),
                DNS,
                |text| DnsName::parse(text).ok().filter(|name| !name.is_wildcard()),
            )?,
            uri_prefixes: all(
                self.uri_prefix.as_ref(),
                &place("uri_prefix"),
                URI,
                UriPrefix::parse,
            )?,
            common_names: all(
                self.common_name.as_ref(),
                &place("common_name"),
                COMMON_NAME,
                CommonNamePattern::parse,
            )?,
            same_key_renewal: self.same_key_renewal,
            purposes: all(
                self.extended_key_usage.as_ref(),
                &place("extended_key_usage"),
                PURPOSE,
                purpose,
            )?,
            key_usage: self
                .key_usage
                .as_ref()
                .map(|bits| bits.iter().filter_map(|bit| further(*bit)).collect()),
            sources: SourceRules {
                crl: source(
                    self.crl_distribution_point.as_ref(),
                    "crl_distribution_point",
                )?,
                ocsp: source(self.ocsp.as_ref(), "ocsp")?,
                ca_issuers: source(self.ca_issuers.as_ref(), "ca_issuers")?,
            },
            extensions: self
                .extension
                .iter()
                .enumerate()
                .map(extension)
                .collect::<Result<_, _>>()?,
        };
        let like = self.like.map(BuiltIn::from);
        profiles
            .configure(name, like, narrowing)
            .map_err(|invalid| {
                let at = invalid.key.map_or_else(|| placed(name), place);
                ConfigError::new(at, invalid.why).hint(invalid.hint)
            })
    }
}

impl ProfileConfig {
    /// What the authority does not publish, nobody would find there.
    pub(super) fn refuse_other_lists_at(
        &self,
        published: &PublicationUrl,
        name: &str,
    ) -> Result<(), ConfigError> {
        let Some(SourceConfig::At(text)) = &self.crl_distribution_point else {
            return Ok(());
        };
        if !Uri::parse(text).is_ok_and(|uri| published.has_no_list_at(&uri)) {
            return Ok(());
        }
        let place = format!("{}.crl_distribution_point", placed(name));
        let why = format!(
            "it lies below {published}, where this authority publishes, and is none of its complete lists"
        );
        Err(ConfigError::new(place, why).hint(
            "leave the key out: then each certificate names the list of its shard; or name a URL that you serve yourself",
        ))
    }
}

fn purpose(text: &str) -> Option<Purpose> {
    match text {
        "client-auth" => Some(Purpose::ClientAuth),
        "server-auth" => Some(Purpose::ServerAuth),
        oid => KeyPurpose::parse(oid).ok().map(Purpose::Further),
    }
}

/// digitalSignature is always there.
fn further(bit: KeyUsageConfig) -> Option<FurtherKeyUsage> {
    match bit {
        KeyUsageConfig::ContentCommitment => Some(FurtherKeyUsage::ContentCommitment),
        KeyUsageConfig::DigitalSignature => None,
        KeyUsageConfig::KeyAgreement => Some(FurtherKeyUsage::KeyAgreement),
        KeyUsageConfig::KeyEncipherment => Some(FurtherKeyUsage::KeyEncipherment),
    }
}

/// Where a profile stands. A name that is none of a profile is cut, for it may be anything.
fn placed(name: &str) -> String {
    let shown: String = name.chars().take(40).collect();
    format!("authority.profile.{shown}")
}

impl ExtensionConfig {
    fn parse(&self, place: &str) -> Result<ExtraExtension, ConfigError> {
        let hint =
            "write utf8 = \"text\", or der = \"0c0161\" (hexadecimal digits of one DER element)";
        let parsed = match (&self.utf8, &self.der) {
            (Some(text), None) => ExtraExtension::parse_text(&self.oid, self.critical, text),
            (None, Some(digits)) => {
                let Some(value) = from_hex(digits) else {
                    let why = "it has something else than pairs of hexadecimal digits";
                    return Err(ConfigError::new(format!("{place}.der"), why).hint(hint));
                };
                ExtraExtension::parse(&self.oid, self.critical, &value)
            }
            _ => {
                let why = "it needs a value: either utf8 or der";
                return Err(ConfigError::new(place, why).hint(hint));
            }
        };
        parsed.map_err(|invalid| ConfigError::new(place, invalid.to_string()).hint(hint))
    }
}

impl From<BuiltInProfile> for BuiltIn {
    fn from(profile: BuiltInProfile) -> Self {
        match profile {
            BuiltInProfile::Client => Self::Client,
            BuiltInProfile::Device => Self::Device,
            BuiltInProfile::Peer => Self::Peer,
            BuiltInProfile::Person => Self::Person,
            BuiltInProfile::Server => Self::Server,
            BuiltInProfile::Workload => Self::Workload,
        }
    }
}

impl From<KeyTypeConfig> for KeyType {
    fn from(key: KeyTypeConfig) -> Self {
        match key {
            KeyTypeConfig::Ed25519 => Self::Ed25519,
            KeyTypeConfig::MlDsa44 => Self::MlDsa44,
            KeyTypeConfig::MlDsa65 => Self::MlDsa65,
            KeyTypeConfig::MlDsa87 => Self::MlDsa87,
            KeyTypeConfig::P256 => Self::P256,
            KeyTypeConfig::P384 => Self::P384,
            KeyTypeConfig::Rsa => Self::Rsa { bits: 2048 },
            KeyTypeConfig::Rsa3072 => Self::Rsa { bits: 3072 },
            KeyTypeConfig::Rsa4096 => Self::Rsa { bits: 4096 },
        }
    }
}

/// Each text of a list, or the place of the first that is not what it should be.
fn all<T>(
    texts: Option<&Vec<String>>,
    place: &str,
    expected: &str,
    parse: impl Fn(&str) -> Option<T>,
) -> Result<Option<Vec<T>>, ConfigError> {
    let Some(texts) = texts else {
        return Ok(None);
    };
    if texts.len() > MAX_RULES {
        let why = format!(
            "it has {} entries, at most {MAX_RULES} are possible",
            texts.len()
        );
        return Err(ConfigError::new(place, why));
    }
    let one = |(at, text): (usize, &String)| {
        parse(text).ok_or_else(|| {
            let shown: String = text.chars().take(80).collect();
            ConfigError::new(
                format!("{place}[{at}]"),
                format!("{shown:?} is not {expected}"),
            )
        })
    };
    texts
        .iter()
        .enumerate()
        .map(one)
        .collect::<Result<_, _>>()
        .map(Some)
}

fn from_hex(digits: &str) -> Option<Vec<u8>> {
    let value = |digit: u8| {
        char::from(digit)
            .to_digit(16)
            .and_then(|it| u8::try_from(it).ok())
    };
    let (pairs, rest) = digits.as_bytes().as_chunks::<2>();
    if !rest.is_empty() {
        return None;
    }
    pairs
        .iter()
        .map(|[high, low]| Some(value(*high)? << 4 | value(*low)?))
        .collect()
}

const DNS: &str = "a domain such as example.com; it means itself and what lies below it";
const RANGE: &str = "a range such as 10.0.0.0/8 or 2001:db8::/32, with no bits behind its prefix";
const PATH: &str = "a path such as /ns/prod/api, /ns/*/api or /ns/prod/**";
const URI: &str =
    "how a URI begins, up to where a part of it ends: urn:dev: or https://devices.example.com/";
const PURPOSE: &str = "server-auth, client-auth or the dotted OID of another purpose; anyExtendedKeyUsage and OCSPSigning are none for a profile";
const COMMON_NAME: &str = "a common name, in which * stands for any characters";

/// Each is looked at for each name of each request.
const MAX_RULES: usize = 1000;
