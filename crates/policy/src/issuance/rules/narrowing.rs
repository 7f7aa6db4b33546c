//! Profiles of a configuration: a built-in one, narrowed, under its own or another name.

use std::sync::Arc;
use std::time::Duration;

use countersign_pki::name::{DnsName, NameKind};
use countersign_pki::tbs::ExtraExtension;

use super::{
    BuiltIn, CommonNamePattern, FurtherKeyUsage, IpRange, KeyType, NameRules, Naming, ProfileRules,
    Profiles, Purpose, SourceRules, UriPrefix, usage,
};
use crate::access::PathPattern;
use crate::issuance::{MIN_LIFETIME, Profile};

/// What a configuration says of a kind of certificate; `None`: as the built-in one has it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Narrowing {
    /// See [`ProfileRules::keys`].
    pub keys: Option<Vec<KeyType>>,
    /// See [`ProfileRules::default_lifetime`].
    pub default_lifetime: Option<Duration>,
    /// See [`ProfileRules::max_lifetime`].
    pub max_lifetime: Option<Duration>,
    /// See [`NameRules::dns_suffixes`].
    pub dns_suffixes: Option<Vec<DnsName>>,
    /// See [`NameRules::wildcard`].
    pub wildcard: Option<bool>,
    /// See [`NameRules::ip_ranges`].
    pub ip_ranges: Option<Vec<IpRange>>,
    /// See [`NameRules::spiffe_paths`].
    pub spiffe_paths: Option<Vec<PathPattern>>,
    /// See [`NameRules::email_domains`].
    pub email_domains: Option<Vec<DnsName>>,
    /// See [`NameRules::uri_prefixes`].
    pub uri_prefixes: Option<Vec<UriPrefix>>,
    /// See [`NameRules::common_names`].
    pub common_names: Option<Vec<CommonNamePattern>>,
    /// See [`ProfileRules::allows_same_key`].
    pub same_key_renewal: Option<bool>,
    /// See [`ProfileRules::usage`].
    pub purposes: Option<Vec<Purpose>>,
    /// See [`ProfileRules::usage`].
    pub key_usage: Option<Vec<FurtherKeyUsage>>,
    /// See [`ProfileRules::sources`].
    pub sources: SourceRules,
    /// See [`ProfileRules::extensions`].
    pub extensions: Vec<ExtraExtension>,
}

/// Why a configuration's profile cannot be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{why}")]
pub struct InvalidProfile {
    /// Which key of it; `None`: its name.
    pub key: Option<&'static str>,
    /// In words.
    pub why: String,
    /// What to write instead.
    pub hint: &'static str,
}

impl Profiles {
    /// Adds a profile of a configuration: `like` says what it narrows where `name` is not that of a built-in one.
    pub fn configure(
        &mut self,
        name: &str,
        like: Option<BuiltIn>,
        narrowing: Narrowing,
    ) -> Result<(), InvalidProfile> {
        let profile: Profile = name.parse().map_err(|_| refuse(
            None,
            "it is not the name of a profile",
            "a name has 1 to 40 lower-case letters, digits and hyphens, and begins with a letter",
        ))?;
        if profile.is_reserved() || profile.is_taken() {
            return Err(refuse(
                None,
                format!("profile {profile} is reserved: no configuration says anything of it"),
                "choose another name; what such certificates look like cannot be configured",
            ));
        }
        if let Some(other) = profile.resembles() {
            return Err(refuse(
                None,
                format!("{profile} could be taken for {other}"),
                "choose a name that nobody mistakes for another",
            ));
        }
        let own = BuiltIn::ALL
            .into_iter()
            .find(|like| like.profile() == profile);
        let like = match (own, like) {
            (Some(own), None) => own,
            (Some(own), Some(like)) if own == like => own,
            (Some(_), Some(_)) => {
                return Err(refuse(
                    Some("like"),
                    format!("{profile} is built in, and can be like nothing but itself"),
                    "leave it out, or choose a new name",
                ));
            }
            (None, Some(like)) => like,
            (None, None) => {
                return Err(refuse(
                    Some("like"),
                    "a new profile has to say which built-in one it is like",
                    "write like = \"server\", \"client\", \"peer\", \"workload\", \"device\" or \"person\"",
                ));
            }
        };
        if like.profile().is_reserved() {
            return Err(refuse(
                Some("like"),
                format!(
                    "profile {} is reserved: none can be like it",
                    like.profile()
                ),
                "write like = \"server\", \"client\", \"peer\", \"workload\", \"device\" or \"person\"",
            ));
        }
        let rules = ProfileRules::built_in(like).narrowed(profile.clone(), narrowing)?;
        self.rules.insert(profile, Arc::new(rules));
        Ok(())
    }
}

impl ProfileRules {
    fn narrowed(self, profile: Profile, narrowing: Narrowing) -> Result<Self, InvalidProfile> {
        narrowing.refuse_without_effect(self.like)?;
        let Narrowing {
            keys,
            default_lifetime,
            max_lifetime,
            dns_suffixes,
            wildcard,
            ip_ranges,
            spiffe_paths,
            email_domains,
            uri_prefixes,
            common_names,
            same_key_renewal,
            purposes,
            key_usage,
            sources,
            extensions,
        } = narrowing;
        let keys = keys.unwrap_or(self.keys);
        if keys.is_empty() {
            return Err(refuse(
                Some("keys"),
                "no key would be certified",
                "leave it out for every kind of key",
            ));
        }
        let usage = usage::usage(self.like, &keys, purposes.as_deref(), key_usage.as_deref())?;
        let limit = self.max_lifetime;
        let max_lifetime = max_lifetime.unwrap_or(limit);
        if max_lifetime > limit || max_lifetime < MIN_LIFETIME {
            return Err(refuse(
                Some("max_lifetime"),
                "it is not between 1s and 825d, which no certificate of a leaf outlives",
                "choose a shorter one, or leave it out",
            ));
        }
        let default_lifetime = match default_lifetime {
            Some(chosen) if chosen > max_lifetime || chosen < MIN_LIFETIME => {
                return Err(refuse(
                    Some("default_lifetime"),
                    "it is not between 1s and max_lifetime",
                    "choose a shorter one",
                ));
            }
            Some(chosen) => chosen,
            None => self.default_lifetime.min(max_lifetime),
        };
        if wildcard == Some(true) && !self.names.wildcard {
            return Err(refuse(
                Some("wildcard"),
                format!("{} have no wildcard names", self.like.profile()),
                "leave it out",
            ));
        }
        let mut oids: Vec<String> = extensions.iter().map(ExtraExtension::oid).collect();
        oids.sort();
        let count = oids.len();
        oids.dedup();
        if oids.len() < count || count > MAX_EXTENSIONS {
            return Err(refuse(
                Some("extension"),
                format!("an OID stands there twice, or there are more than {MAX_EXTENSIONS}"),
                "a certificate has each extension once (RFC 5280 §4.2)",
            ));
        }
        Ok(Self {
            profile,
            like: self.like,
            keys,
            default_lifetime,
            max_lifetime,
            names: NameRules {
                dns_suffixes,
                wildcard: wildcard.unwrap_or(self.names.wildcard),
                ip_ranges,
                spiffe_paths,
                email_domains,
                uri_prefixes,
                common_names,
            },
            same_key_renewal: same_key_renewal.unwrap_or(self.same_key_renewal),
            usage,
            sources,
            extensions,
        })
    }
}

impl Narrowing {
    /// A rule for names that the kind never has would look as if it allowed them.
    fn refuse_without_effect(&self, like: BuiltIn) -> Result<(), InvalidProfile> {
        let has = |kind: NameKind| like.alt_names().contains(&kind);
        let names_people = matches!(like.naming(), Naming::CommonName | Naming::Person);
        let rules = [
            (
                "dns_suffix",
                self.dns_suffixes.is_some(),
                has(NameKind::Dns),
                "DNS names",
            ),
            (
                "ip_range",
                self.ip_ranges.is_some(),
                has(NameKind::Ip),
                "IP addresses",
            ),
            (
                "spiffe_path",
                self.spiffe_paths.is_some(),
                has(NameKind::Spiffe),
                "SPIFFE IDs",
            ),
            (
                "email_domain",
                self.email_domains.is_some(),
                has(NameKind::Email),
                "e-mail addresses",
            ),
            (
                "uri_prefix",
                self.uri_prefixes.is_some(),
                has(NameKind::Uri),
                "URIs",
            ),
            (
                "common_name",
                self.common_names.is_some(),
                names_people,
                "common names of their own",
            ),
        ];
        let idle = rules
            .into_iter()
            .find(|(_, is_said, has, _)| *is_said && !has);
        match idle {
            Some((key, _, _, names)) => Err(refuse(
                Some(key),
                format!("certificates like {} have no {names}", like.profile()),
                "leave it out",
            )),
            None => Ok(()),
        }
    }
}

pub(super) fn refuse(
    key: Option<&'static str>,
    why: impl Into<String>,
    hint: &'static str,
) -> InvalidProfile {
    InvalidProfile {
        key,
        why: why.into(),
        hint,
    }
}

/// Every handshake carries them.
const MAX_EXTENSIONS: usize = 8;
