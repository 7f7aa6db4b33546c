//! Why a certificate says what it says, for people who ask before they issue.

use std::fmt::Display;

use countersign_pki::certificate::Certificate;
use countersign_pki::name::{NameKind, TypedName, Uri};
use countersign_pki::tbs::{ExtraExtension, Usage};
use countersign_pki::time::spoken;

use super::rules::{Naming, Source};
use super::{Approved, BACKDATE, IssuerRole, Issuers, ProfileRules, Request};

/// One field of a certificate, and what it comes from; or a rule of its profile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Because {
    /// As RFC 5280 calls it.
    pub field: &'static str,
    /// What it says.
    pub value: String,
    /// Half a sentence.
    pub why: String,
}

impl Approved {
    /// Every field that the request, the profile or the issuer decided, then the profile's rules; `request` and `issuers` are
    /// those it was authorized by.
    pub fn because(&self, request: &Request, issuers: &Issuers) -> Vec<Because> {
        let preview = &self.preview;
        let rules = &self.rules;
        let issuer = issuers.issuer(rules.issued_by());
        let because = |field, value: String, why: String| Because { field, value, why };
        let mut fields = vec![
            because(
                "serialNumber",
                "20 octets".to_owned(),
                "drawn at random when it is issued".to_owned(),
            ),
            because(
                "issuer",
                issuer.subject().to_string(),
                why_issuer(rules.issued_by()).to_owned(),
            ),
            because(
                "notBefore",
                preview.not_before().to_string(),
                why_begins(preview, issuer),
            ),
            because(
                "notAfter",
                preview.not_after().to_string(),
                why_ends(request, rules, preview, issuer),
            ),
            because(
                "subject",
                preview.subject().to_string(),
                why_subject(rules, preview),
            ),
            because(
                "subjectPublicKeyInfo",
                preview.public_key_algorithm().to_string(),
                format!(
                    "the holder's key, of a kind that profile {} certifies",
                    rules.profile()
                ),
            ),
        ];
        if !preview.subject_alt_names().is_empty() {
            let why = match rules.like().naming() {
                Naming::CommonName => "asked for",
                Naming::Host => "NAME, then what was asked for",
                Naming::Person => "NAME where it is an address, then what was asked for",
                Naming::Spiffe => {
                    "NAME under the authority's trust domain, then what was asked for"
                }
            };
            let names = listed(preview.subject_alt_names().iter().map(TypedName::to_string));
            fields.push(because("subjectAltName", names, why.to_owned()));
        }
        if let Some(length) = preview.path_len() {
            fields.push(because(
                "pathLenConstraint",
                length.to_string(),
                "it issues leaves and no further CA".to_owned(),
            ));
        }
        let purposes = preview.extended_key_usage();
        if let Some(purposes) = purposes {
            fields.push(because(
                "extendedKeyUsage",
                listed(purposes.listed()),
                format!("what profile {} is for", rules.profile()),
            ));
        }
        if let Some(usage) = preview.key_usage() {
            fields.push(because(
                "keyUsage",
                listed(usage.listed()),
                why_key_usage(rules, preview).to_owned(),
            ));
        }
        fields.extend(self.told_sources());
        for extension in rules.extensions() {
            fields.push(because(
                "extension",
                extension.oid(),
                why_extension(rules, extension),
            ));
        }
        fields.extend(rules.told());
        fields
    }
}

impl Approved {
    /// Where it says to look for its revocation and its issuer, or that it does not.
    fn told_sources(&self) -> Vec<Because> {
        let said = self.rules.sources();
        let sources = &self.sources;
        let rows: [(&'static str, &'static str, Option<&Source>, Option<&Uri>); 3] = [
            (
                "cRLDistributionPoints",
                "the list of its shard, where the authority publishes",
                said.crl.as_ref(),
                sources.crl.as_ref(),
            ),
            (
                "authorityInfoAccess ocsp",
                "the authority's responder",
                said.ocsp.as_ref(),
                sources.ocsp.as_ref(),
            ),
            (
                "authorityInfoAccess caIssuers",
                "its issuer's certificate, where the authority publishes",
                said.ca_issuers.as_ref(),
                sources.ca_issuers.as_ref(),
            ),
        ];
        let rows = rows
            .into_iter()
            .map(|(field, published, said, uri)| Because {
                field,
                value: uri.map_or_else(|| "none".to_owned(), |uri| uri.as_str().to_owned()),
                why: match (said, uri) {
                    _ if self.issued_by() != IssuerRole::Intermediate => {
                        "the authority publishes for the issuer of leaves alone".to_owned()
                    }
                    (Some(_), _) => format!("profile {} says so", self.profile()),
                    (None, Some(_)) => published.to_owned(),
                    (None, None) => "the authority publishes nowhere".to_owned(),
                },
            });
        rows.collect()
    }
}

impl ProfileRules {
    /// What the profile admits, beyond what is the same for all.
    fn told(&self) -> Vec<Because> {
        let profile = self.profile();
        let rule = |field, value: String, why: &str| Because {
            field,
            value,
            why: why.to_owned(),
        };
        let kind = if *profile == self.like().profile() {
            "built in".to_owned()
        } else {
            format!("like {}", self.like().profile())
        };
        let mut told = vec![
            rule("profile", profile.to_string(), &kind),
            rule("keys", listed(self.keys()), "what the profile certifies"),
            rule(
                "lifetimes",
                format!(
                    "{}, at most {}",
                    spoken(self.default_lifetime()),
                    spoken(self.max_lifetime())
                ),
                "the profile's default and limit",
            ),
        ];
        let names = self.names();
        let why = "the profile's rule for names";
        let rules: [(NameKind, &'static str, Option<String>); 5] = [
            (
                NameKind::Dns,
                "dns_suffix",
                names.dns_suffixes.as_ref().map(listed),
            ),
            (
                NameKind::Ip,
                "ip_range",
                names.ip_ranges.as_ref().map(listed),
            ),
            (
                NameKind::Spiffe,
                "spiffe_path",
                names.spiffe_paths.as_ref().map(listed),
            ),
            (
                NameKind::Email,
                "email_domain",
                names.email_domains.as_ref().map(listed),
            ),
            (
                NameKind::Uri,
                "uri_prefix",
                names.uri_prefixes.as_ref().map(listed),
            ),
        ];
        for (kind, key, said) in rules {
            if self.like().alt_names().contains(&kind) {
                told.push(rule(key, said.unwrap_or_else(|| "any".to_owned()), why));
            }
        }
        if let Some(patterns) = &names.common_names {
            told.push(rule("common_name", listed(patterns), why));
        }
        if !self.allows_same_key() {
            told.push(rule(
                "same_key_renewal",
                "false".to_owned(),
                "the next certificate needs a new key",
            ));
        }
        told
    }
}

fn listed<T: Display>(all: impl IntoIterator<Item = T>) -> String {
    let all: Vec<String> = all.into_iter().map(|one| one.to_string()).collect();
    if all.is_empty() {
        "none".to_owned()
    } else {
        all.join(", ")
    }
}

fn why_issuer(role: IssuerRole) -> &'static str {
    match role {
        IssuerRole::Intermediate => "the issuer of leaves",
        IssuerRole::Operator => "the issuer of operators and nodes, and of nothing else",
        IssuerRole::Root => "the root, which issues CAs alone",
    }
}

fn why_key_usage(rules: &ProfileRules, preview: &Certificate) -> &'static str {
    match rules.usage() {
        _ if preview.is_ca() => "a CA signs certificates and lists",
        Usage::LeafWith(_) => "digitalSignature for TLS, and what the profile adds",
        _ => "what TLS 1.3 needs, and no more",
    }
}

fn why_extension(rules: &ProfileRules, extension: &ExtraExtension) -> String {
    let critical = if extension.is_critical() {
        "; critical: who does not know it refuses the certificate"
    } else {
        ""
    };
    format!(
        "every certificate of profile {} has it{critical}",
        rules.profile()
    )
}

fn why_begins(preview: &Certificate, issuer: &Certificate) -> String {
    if preview.not_before() == issuer.not_before() {
        "its issuer begins then".to_owned()
    } else {
        format!(
            "up to {} ago, since clocks of peers run behind",
            spoken(BACKDATE)
        )
    }
}

fn why_ends(
    request: &Request,
    rules: &ProfileRules,
    preview: &Certificate,
    issuer: &Certificate,
) -> String {
    let asked = match request.lifetime {
        Some(lifetime) => format!("{} as asked for", spoken(lifetime)),
        None => format!(
            "{}, the default of profile {}",
            spoken(rules.default_lifetime()),
            rules.profile()
        ),
    };
    if preview.not_after() == issuer.not_after() {
        format!("{asked}, cut to the end of its issuer")
    } else {
        asked
    }
}

fn why_subject(rules: &ProfileRules, preview: &Certificate) -> String {
    let is_nameless = preview.subject().is_empty();
    match rules.like().naming() {
        Naming::CommonName => format!("NAME is a {}'s common name", rules.like().profile()),
        Naming::Spiffe => "none: a workload is its SPIFFE ID".to_owned(),
        Naming::Host | Naming::Person if is_nameless => {
            "none: NAME is longer than a common name can be".to_owned()
        }
        Naming::Host => "NAME once more, for people; clients do not look at it".to_owned(),
        Naming::Person => "NAME is what the person is called".to_owned(),
    }
}
