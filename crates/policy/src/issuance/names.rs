//! What a request's NAME and SANs become, profile by profile.

use std::net::IpAddr;

use countersign_pki::dn::DistinguishedName;
use countersign_pki::name::{CommonName, DnsName, EmailAddress, NameKind, TypedName};
use countersign_pki::spiffe::{SpiffeId, TrustDomain};
use countersign_pki::{canary, confusable};

use super::rules::{Naming, is_under};
use super::{Denied, ProfileRules, Request};

/// The names that a certificate will carry.
#[derive(Debug)]
pub(super) struct Names {
    pub(super) subject: DistinguishedName,
    pub(super) subject_alt_names: Vec<TypedName>,
}

/// Names as the profile has them; refuses what it does not have.
pub(super) fn certified(
    request: &Request,
    rules: &ProfileRules,
    trust_domain: &TrustDomain,
) -> Result<Names, Denied> {
    let refuse = |why: &str| Denied::name(&request.name, rules, why);
    if request.subject_alt_names.len() >= MAX_NAMES {
        return Err(refuse(
            "a certificate has at most 100 subject alternative names",
        ));
    }
    let (subject, first) = match rules.like().naming() {
        Naming::CommonName => (of_common_name(&common_name(request, rules)?), None),
        Naming::Host => {
            let first = host(request, rules)?;
            // The SAN is what counts; the CN is there for people who read lists and logs, where it fits.
            let subject = CommonName::parse(&first.bare());
            (
                subject.map_or_else(
                    |_| DistinguishedName::default(),
                    |name| of_common_name(&name),
                ),
                Some(first),
            )
        }
        Naming::Person => person(request, rules)?,
        Naming::Spiffe => (
            DistinguishedName::default(),
            Some(TypedName::Spiffe(spiffe_id(request, rules, trust_domain)?)),
        ),
    };
    let mut subject_alt_names: Vec<TypedName> = Vec::new();
    for name in first.iter().chain(&request.subject_alt_names) {
        fits(name, rules, trust_domain).map_err(|why| Denied::name(name, rules, why))?;
        if subject_alt_names.contains(name) {
            return Err(Denied::name(name, rules, "it is asked for twice"));
        }
        subject_alt_names.push(name.clone());
    }
    // X509-SVID: exactly one SPIFFE ID, or verifiers refuse the certificate as ambiguous.
    let ids = subject_alt_names
        .iter()
        .filter(|name| name.kind() == NameKind::Spiffe)
        .count();
    if ids > 1 {
        return Err(refuse("a certificate has at most one SPIFFE ID"));
    }
    Ok(Names {
        subject,
        subject_alt_names,
    })
}

fn of_common_name(name: &CommonName) -> DistinguishedName {
    DistinguishedName::from_common_name(name)
}

/// NAME of a person: an address, which is the CN too where it fits; or a CN, and somebody with a CN alone has no address.
fn person(
    request: &Request,
    rules: &ProfileRules,
) -> Result<(DistinguishedName, Option<TypedName>), Denied> {
    let Ok(address) = EmailAddress::parse(&request.name) else {
        let name = common_name(request, rules)?;
        return if request.subject_alt_names.is_empty() {
            Err(Denied::name(
                &request.name,
                rules,
                "it is no e-mail address, and none stands beside it",
            ))
        } else {
            Ok((of_common_name(&name), None))
        };
    };
    let subject = match CommonName::parse(address.as_str()) {
        Ok(name) => {
            admitted(&name, rules).map_err(|why| Denied::name(&name, rules, why))?;
            of_common_name(&name)
        }
        Err(_) => DistinguishedName::default(),
    };
    Ok((subject, Some(TypedName::Email(address))))
}

/// NAME of who is called by a common name.
///
/// It is shown without its kind in places (`X-Client-CN`, other people's software), and a bare word in a rule means it
/// too, so it may not pass for something that it is not.
fn common_name(request: &Request, rules: &ProfileRules) -> Result<CommonName, Denied> {
    let refuse = |why: &str| Denied::name(&request.name, rules, why);
    let name = CommonName::parse(&request.name).map_err(|invalid| refuse(&invalid.to_string()))?;
    let text = name.as_str();
    let prefix = text.split_once(':').map(|(prefix, _)| prefix);
    if prefix.is_some_and(|prefix| {
        NameKind::ALL
            .iter()
            .any(|kind| kind.prefix().eq_ignore_ascii_case(prefix))
    }) {
        return Err(refuse(
            "it reads as a typed name; NAME is the bare common name",
        ));
    }
    if DistinguishedName::parse(text).is_ok() {
        return Err(refuse(
            "it reads as a distinguished name; NAME is the bare common name",
        ));
    }
    if text.chars().any(is_invisible) {
        return Err(refuse(
            "it has invisible characters, or such as turn the text around",
        ));
    }
    // `alice,O=admins` is one name to us, and two attributes to whoever glues DNs together.
    if text
        .split([',', '+', ';', '/'])
        .any(|part| part.contains('='))
    {
        return Err(refuse(
            "it has the attributes of a distinguished name in it; NAME is the bare common name",
        ));
    }
    if confusable::mixes_scripts(text) {
        return Err(refuse(
            "it has letters of several scripts, which pass for each other",
        ));
    }
    if text.contains('*') {
        return Err(refuse("there is no wildcard name of this kind"));
    }
    if RESERVED_WORDS
        .iter()
        .any(|word| text.eq_ignore_ascii_case(word))
    {
        return Err(refuse(
            "the word has a meaning of its own in rules and logs",
        ));
    }
    admitted(&name, rules).map_err(refuse)?;
    Ok(name)
}

fn admitted(name: &CommonName, rules: &ProfileRules) -> Result<(), &'static str> {
    match &rules.names().common_names {
        Some(patterns) if !patterns.iter().any(|pattern| pattern.admits(name)) => {
            Err("it meets none of the profile's common_name patterns")
        }
        _ => Ok(()),
    }
}

/// NAME of a server or peer.
fn host(request: &Request, rules: &ProfileRules) -> Result<TypedName, Denied> {
    if let Ok(address) = request.name.parse::<IpAddr>() {
        return Ok(TypedName::Ip(address));
    }
    if request.name.starts_with("spiffe://") {
        return Err(Denied::name(
            &request.name,
            rules,
            "a SPIFFE ID is what profile workload is for",
        ));
    }
    DnsName::parse(&request.name)
        .map(TypedName::Dns)
        .map_err(|invalid| {
            Denied::name(
                &request.name,
                rules,
                unreadable(&request.name, &invalid.to_string()),
            )
        })
}

/// NAME of a workload: the ID, or its path with or without the leading slash.
fn spiffe_id(
    request: &Request,
    rules: &ProfileRules,
    trust_domain: &TrustDomain,
) -> Result<SpiffeId, Denied> {
    let name = request.name.as_str();
    let id = if name.contains("://") {
        SpiffeId::parse(name)
    } else {
        trust_domain.id(&format!("/{}", name.strip_prefix('/').unwrap_or(name)))
    };
    id.map_err(|invalid| Denied::name(name, rules, invalid.to_string()))
}

/// What is wrong with a host name, and how one of other letters is written.
fn unreadable(name: &str, invalid: &str) -> String {
    if name.is_ascii() {
        invalid.to_owned()
    } else {
        format!("{invalid}; one with other letters is written in its ASCII form, xn--…")
    }
}

/// Whether a certificate of the profile may have the SAN; if not, why.
fn fits(name: &TypedName, rules: &ProfileRules, trust_domain: &TrustDomain) -> Result<(), String> {
    if !matches!(
        name,
        TypedName::Dns(_)
            | TypedName::Email(_)
            | TypedName::Ip(_)
            | TypedName::Spiffe(_)
            | TypedName::Uri(_)
    ) {
        return Err(format!(
            "a {} name cannot stand in subjectAltName",
            name.kind().prefix()
        ));
    }
    if !rules.like().alt_names().contains(&name.kind()) {
        return Err(format!(
            "the profile has no {} names",
            match name.kind() {
                NameKind::Dns => "DNS",
                NameKind::Email => "e-mail",
                NameKind::Ip => "IP",
                NameKind::Spiffe => "SPIFFE",
                _ => "URI",
            }
        ));
    }
    match (rules.like().is_canary(), canary::is_one(name)) {
        (true, false) => {
            return Err(format!(
                "a canary is called something below {} or spiffe://{trust_domain}/{}/",
                canary::DOMAIN,
                canary::PATH
            ));
        }
        (false, true) => return Err("only a canary is called so, and no rule admits it".to_owned()),
        _ => {}
    }
    let outside = |key: &str| Err(format!("it is outside the profile's {key}"));
    match name {
        TypedName::Dns(name) => fits_dns(name, rules),
        TypedName::Email(address) => {
            let domain = address.as_str().rsplit_once('@').map(|(_, domain)| domain);
            let domain = domain.and_then(|domain| DnsName::parse(domain).ok());
            match (&rules.names().email_domains, domain) {
                (Some(domains), Some(domain)) if !domains.contains(&domain) => {
                    outside("email_domain")
                }
                (None, Some(domain)) if has_international_label(&domain) => {
                    Err(INTERNATIONAL.to_owned())
                }
                _ => Ok(()),
            }
        }
        TypedName::Ip(address) => {
            if address.is_unspecified() || address.is_multicast() {
                return Err("it is not the address of one host".to_owned());
            }
            match &rules.names().ip_ranges {
                Some(ranges) if !ranges.iter().any(|range| range.contains(*address)) => {
                    outside("ip_range")
                }
                _ => Ok(()),
            }
        }
        TypedName::Spiffe(id) => {
            if id.trust_domain() != trust_domain {
                return Err(format!(
                    "its trust domain is {}, and this authority vouches for {trust_domain} alone",
                    id.trust_domain()
                ));
            }
            if id.path().is_empty() {
                return Err("without a path it names the trust domain itself".to_owned());
            }
            match &rules.names().spiffe_paths {
                Some(paths) if !paths.iter().any(|path| path.matches(id.path())) => {
                    outside("spiffe_path")
                }
                _ => Ok(()),
            }
        }
        TypedName::Uri(uri) => match &rules.names().uri_prefixes {
            Some(prefixes) if !prefixes.iter().any(|prefix| prefix.admits(uri)) => {
                outside("uri_prefix")
            }
            _ => Ok(()),
        },
        _ => Ok(()),
    }
}

fn fits_dns(name: &DnsName, rules: &ProfileRules) -> Result<(), String> {
    let suffixes = rules.names().dns_suffixes.as_deref();
    if let Some(parent) = name.as_str().strip_prefix("*.") {
        if !rules.names().wildcard {
            return Err(if rules.like().may_have_wildcards() {
                "the profile has no wildcard names".to_owned()
            } else {
                format!("a {} has no wildcard name", rules.like().profile())
            });
        }
        // `*.com` would be half the world; one label is no place of anybody's own either.
        if !parent.contains('.') {
            return Err(
                "a wildcard stands before at least two labels, as in *.example.com".to_owned(),
            );
        }
    }
    match suffixes {
        Some(suffixes) if !is_under(name, suffixes) => {
            return Err("it is outside the profile's dns_suffix".to_owned());
        }
        _ => {}
    }
    // Which letters such a label shows is for whoever owns the domain: a configuration has to name it.
    let rest = suffixes
        .unwrap_or_default()
        .iter()
        .filter(|suffix| is_under(name, std::slice::from_ref(suffix)))
        .filter_map(|suffix| name.as_str().strip_suffix(suffix.as_str()))
        .min_by_key(|rest| rest.len())
        .unwrap_or(name.as_str());
    if rest.split('.').any(is_international) {
        return Err(INTERNATIONAL.to_owned());
    }
    Ok(())
}

fn has_international_label(name: &DnsName) -> bool {
    name.as_str().split('.').any(is_international)
}

/// RFC 5890 §2.3.1: two hyphens in the third and fourth place are for encodings, of which there is one.
fn is_international(label: &str) -> bool {
    label.get(2..4) == Some("--")
}

/// Zero-width, bidirectional and tag characters, which make one name look like another (Unicode TR 36 §2).
fn is_invisible(character: char) -> bool {
    matches!(character,
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}'..='\u{1160}' | '\u{17b4}'..='\u{17b5}' | '\u{180b}'..='\u{180f}'
        | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}'
        | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}' | '\u{e0000}'..='\u{e0fff}')
}

const INTERNATIONAL: &str = "an internationalised label (xn--…) may show letters that pass for others: only a profile whose dns_suffix or email_domain has it may certify it";

/// What rules and logs call those who have no name.
const RESERVED_WORDS: [&str; 3] = ["anonymous", "any-trusted", "anyone"];

/// Public CAs stop there too (Let's Encrypt), and every handshake carries them.
const MAX_NAMES: usize = 100;
