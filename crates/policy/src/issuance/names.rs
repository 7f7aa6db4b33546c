//! What a request's NAME and SANs become, profile by profile.

use std::net::IpAddr;

use countersign_pki::dn::DistinguishedName;
use countersign_pki::name::{CommonName, DnsName, NameKind, TypedName};
use countersign_pki::spiffe::{SpiffeId, TrustDomain};

use super::{Denied, Profile, Request, responder};

/// The names that a certificate will carry.
#[derive(Debug)]
pub(super) struct Names {
    pub(super) subject: DistinguishedName,
    pub(super) subject_alt_names: Vec<TypedName>,
}

/// Names as the profile has them; refuses what it does not have.
pub(super) fn certified(request: &Request, trust_domain: &TrustDomain) -> Result<Names, Denied> {
    let Request { profile, name, .. } = request;
    let refuse = |why: &str| Denied::name(name, *profile, why);
    if request.subject_alt_names.len() >= MAX_NAMES {
        return Err(refuse(
            "a certificate has at most 100 subject alternative names",
        ));
    }
    let (subject, first) = match profile {
        Profile::Client => (
            DistinguishedName::from_common_name(&common_name(request)?),
            None,
        ),
        Profile::OcspResponder => return Err(responder::refused()),
        Profile::Peer | Profile::Server => {
            let first = host(request)?;
            // The SAN is what counts; the CN is there for people who read lists and logs, where it fits.
            let subject = CommonName::parse(&first.bare()).map_or_else(
                |_| DistinguishedName::default(),
                |name| DistinguishedName::from_common_name(&name),
            );
            (subject, Some(first))
        }
        Profile::Workload => (
            DistinguishedName::default(),
            Some(TypedName::Spiffe(spiffe_id(request, trust_domain)?)),
        ),
    };
    let mut subject_alt_names: Vec<TypedName> = Vec::new();
    for name in first.iter().chain(&request.subject_alt_names) {
        fits(name, *profile, trust_domain).map_err(|why| Denied::name(name, *profile, why))?;
        if !subject_alt_names.contains(name) {
            subject_alt_names.push(name.clone());
        }
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

/// NAME of a client.
///
/// It is shown without its kind in places (`X-Client-CN`, other people's software), and a bare word in a rule means it
/// too, so it may not pass for something that it is not.
fn common_name(request: &Request) -> Result<CommonName, Denied> {
    let refuse = |why: &str| Denied::name(&request.name, request.profile, why);
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
    if text.contains('*') {
        return Err(refuse("a client has no wildcard name"));
    }
    if RESERVED_WORDS
        .iter()
        .any(|word| text.eq_ignore_ascii_case(word))
    {
        return Err(refuse(
            "the word has a meaning of its own in rules and logs",
        ));
    }
    Ok(name)
}

/// NAME of a server or peer.
fn host(request: &Request) -> Result<TypedName, Denied> {
    if let Ok(address) = request.name.parse::<IpAddr>() {
        return Ok(TypedName::Ip(address));
    }
    if request.name.starts_with("spiffe://") {
        return Err(Denied::name(
            &request.name,
            request.profile,
            "a SPIFFE ID is what profile workload is for",
        ));
    }
    DnsName::parse(&request.name)
        .map(TypedName::Dns)
        .map_err(|invalid| Denied::name(&request.name, request.profile, invalid.to_string()))
}

/// NAME of a workload: the ID, or its path with or without the leading slash.
fn spiffe_id(request: &Request, trust_domain: &TrustDomain) -> Result<SpiffeId, Denied> {
    let name = request.name.as_str();
    let id = if name.contains("://") {
        SpiffeId::parse(name)
    } else {
        trust_domain.id(&format!("/{}", name.strip_prefix('/').unwrap_or(name)))
    };
    id.map_err(|invalid| Denied::name(name, request.profile, invalid.to_string()))
}

/// Whether a certificate of the profile may have the SAN; if not, why.
fn fits(name: &TypedName, profile: Profile, trust_domain: &TrustDomain) -> Result<(), String> {
    match (name, profile) {
        (TypedName::Dns(name), Profile::Client) if name.is_wildcard() => {
            Err("a client has no wildcard name".to_owned())
        }
        (TypedName::Dns(name), _) => match name.as_str().strip_prefix("*.") {
            // `*.com` would be half the world; one label is no place of anybody's own either.
            Some(parent) if !parent.contains('.') => {
                Err("a wildcard stands before at least two labels, as in *.example.com".to_owned())
            }
            _ => Ok(()),
        },
        (TypedName::Ip(address), Profile::Peer | Profile::Server | Profile::Workload) => {
            if address.is_unspecified() || address.is_multicast() {
                Err("it is not the address of one host".to_owned())
            } else {
                Ok(())
            }
        }
        (TypedName::Email(_) | TypedName::Uri(_), Profile::Client) => Ok(()),
        (TypedName::Spiffe(id), Profile::Client | Profile::Workload) => {
            if id.trust_domain() != trust_domain {
                Err(format!(
                    "its trust domain is {}, and this authority vouches for {trust_domain} alone",
                    id.trust_domain()
                ))
            } else if id.path().is_empty() {
                Err("without a path it names the trust domain itself".to_owned())
            } else {
                Ok(())
            }
        }
        (
            TypedName::Cn(_)
            | TypedName::Dn(_)
            | TypedName::Spki(_)
            | TypedName::SerialIssuer { .. },
            _,
        ) => Err(format!(
            "a {} name cannot stand in subjectAltName",
            name.kind().prefix()
        )),
        (other, profile) => Err(format!(
            "the profile has no {} names",
            match (other.kind(), profile) {
                (NameKind::Spiffe, _) => "SPIFFE",
                (NameKind::Ip, _) => "IP",
                (NameKind::Email, _) => "e-mail",
                (_, _) => "URI",
            }
        )),
    }
}

/// Zero-width, bidirectional and tag characters, which make one name look like another (Unicode TR 36 §2).
fn is_invisible(character: char) -> bool {
    matches!(character,
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}'..='\u{1160}' | '\u{17b4}'..='\u{17b5}' | '\u{180b}'..='\u{180f}'
        | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}'
        | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}' | '\u{e0000}'..='\u{e0fff}')
}

/// What rules and logs call those who have no name.
const RESERVED_WORDS: [&str; 3] = ["anonymous", "any-trusted", "anyone"];

/// Public CAs stop there too (Let's Encrypt), and every handshake carries them.
const MAX_NAMES: usize = 100;
