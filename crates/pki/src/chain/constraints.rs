//! Which issuer's name constraints stand in the way. webpki judges them (RFC 5280 §4.2.1.10) and only says no; this
//! finds whose they are, and whether they were violated or cannot be judged. And which ones are refused whatever they
//! are compared with.

use std::net::IpAddr;

use der::{Tag, TagNumber};

use super::anchor::Anchor;
use super::fault::ChainFaultKind;
use super::judge::{Case, SignedPath};
use super::outline::{NameConstraints, Outline};
use crate::asn1::{Cursor, Malformed, primitive};
use crate::certificate::Certificate;
use crate::dn::DistinguishedName;
use crate::name::TypedName;

/// The topmost issuer whose constraints refuse a certificate below it.
pub(super) fn find(case: &Case<'_>, path: SignedPath<'_, '_>) -> Option<ChainFaultKind> {
    let anchor = Outline::parse(path.anchor.certificate().der()).ok();
    let anchor_constraints = anchor
        .and_then(|anchor| anchor.name_constraints)
        .map(|constraints| (constraints, path.certificates.len()));
    let issuers = path.certificates.iter().enumerate().rev();
    let below = issuers
        .filter_map(|(at, issuer)| issuer.name_constraints.map(|constraints| (constraints, at)));

    let mut constrained = anchor_constraints.into_iter().chain(below).peekable();
    let topmost = constrained.peek().map(|&(_, at)| at)?;
    let subject = |at: usize| called(case, path.certificates, path.anchor, at);
    for (constraints, at) in constrained {
        let names: Vec<Name<'_>> = path.certificates[..at]
            .iter()
            .flat_map(|certificate| names(certificate))
            .collect();
        let subtrees = subtrees(constraints);
        if names.iter().any(|name| subtrees.violates(name)) {
            return Some(ChainFaultKind::NameConstraintsViolated {
                subject: subject(at),
            });
        }
        if names.iter().any(|name| subtrees.cannot_judge(name)) {
            return Some(ChainFaultKind::NameConstraintsUnsupported {
                subject: subject(at),
            });
        }
    }
    Some(ChainFaultKind::NameConstraintsViolated {
        subject: subject(topmost),
    })
}

/// How the name constraints of `issuer` stand in the way of `subject`, somewhere below it: they exclude a name of it, or
/// nobody who verifies can say whether they do.
pub(crate) fn constraint_above(issuer: &Certificate, subject: &Certificate) -> Option<String> {
    let issuer = Outline::parse(issuer.der()).ok()?;
    let subtrees = subtrees(issuer.name_constraints?);
    let subject = Outline::parse(subject.der()).ok()?;
    let names = names(&subject);
    if names.iter().any(|name| subtrees.violates(name)) {
        Some("a name is outside the name constraints".to_owned())
    } else if names.iter().any(|name| subtrees.cannot_judge(name)) {
        Some("a name cannot be judged by verifiers under the name constraints".to_owned())
    } else {
        None
    }
}

/// Whether the name constraints of `issuer` leave `name` to a certificate somewhere below it, so that verifiers take it there. DNS
/// names and addresses are compared; a name of another kind passes where the constraints say nothing of its kind.
pub fn permits_name(issuer: &Certificate, name: &TypedName) -> bool {
    let Ok(issuer) = Outline::parse(issuer.der()) else {
        return false;
    };
    let Some(constraints) = issuer.name_constraints else {
        return true;
    };
    let (form, content) = match name {
        TypedName::Dns(name) => (DNS_NAME, name.to_string().into_bytes()),
        TypedName::Ip(IpAddr::V4(address)) => (IP_ADDRESS, address.octets().to_vec()),
        TypedName::Ip(IpAddr::V6(address)) => (IP_ADDRESS, address.octets().to_vec()),
        TypedName::Email(address) => (RFC822_NAME, address.to_string().into_bytes()),
        TypedName::Spiffe(id) => (URI, id.to_string().into_bytes()),
        TypedName::Uri(uri) => (URI, uri.to_string().into_bytes()),
        // Of a subject, or of no certificate.
        TypedName::Cn(_)
        | TypedName::Dn(_)
        | TypedName::SerialIssuer { .. }
        | TypedName::Spki(_) => return true,
    };
    let (subtrees, content) = (subtrees(constraints), &content);
    let name = Name { form, content };
    !subtrees.violates(&name) && !subtrees.cannot_judge(&name)
}

/// Whether `constraints` (the content of the SEQUENCE) say one thing to every verifier. What cannot be read is webpki's to
/// refuse.
pub(super) fn soundness(constraints: &[u8]) -> NameConstraints {
    let mut lists = Cursor::new(constraints);
    let (mut is_empty, mut is_ambiguous) = (lists.is_at_end(), false);
    while !lists.is_at_end() {
        let Ok(list) = lists.any("subtrees") else {
            break;
        };
        is_empty |= list.content.is_empty() || list.content == ASN1_NULL;
        let mut subtrees = list.cursor();
        while !subtrees.is_at_end() {
            let Ok(subtree) = subtrees.expect(Tag::Sequence, "a subtree") else {
                break;
            };
            let base = subtree.cursor().optional(primitive(DNS_NAME), "a base");
            is_ambiguous |=
                base.is_ok_and(|base| base.is_some_and(|base| base.content.starts_with(b".")));
        }
    }
    match (is_empty, is_ambiguous) {
        (true, _) => NameConstraints::Empty,
        (false, true) => NameConstraints::Ambiguous,
        (false, false) => NameConstraints::Sound,
    }
}

/// Whether `constraints` (the content of the SEQUENCE) have an rfc822Name among them.
pub(super) fn mention_email(constraints: &[u8]) -> bool {
    let mut lists = Cursor::new(constraints);
    while !lists.is_at_end() {
        let Ok(list) = lists.any("subtrees") else {
            break;
        };
        let mut subtrees = list.cursor();
        while !subtrees.is_at_end() {
            let Ok(subtree) = subtrees.expect(Tag::Sequence, "a subtree") else {
                break;
            };
            let base = subtree.cursor().optional(primitive(RFC822_NAME), "a base");
            if matches!(base, Ok(Some(_))) {
                return true;
            }
        }
    }
    false
}

/// Whether a subject (a whole DER `Name`) has an e-mail address in it, which constraints on rfc822Name are about as well.
/// What cannot be read has one, for all that is known.
pub(super) fn has_email(subject: &[u8]) -> bool {
    let look = || -> Result<bool, Malformed> {
        let name = Cursor::new(subject).expect(Tag::Sequence, "the subject")?;
        let mut sets = name.cursor();
        while !sets.is_at_end() {
            let mut attributes = sets.expect(Tag::Set, "a relative name")?.cursor();
            while !attributes.is_at_end() {
                let attribute = attributes.expect(Tag::Sequence, "an attribute")?;
                let id = attribute
                    .cursor()
                    .expect(Tag::ObjectIdentifier, "an attribute's type")?;
                if id.content == EMAIL_ADDRESS {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    };
    look().unwrap_or(true)
}

fn called(case: &Case<'_>, certificates: &[&Outline<'_>], anchor: &Anchor, at: usize) -> String {
    certificates
        .get(at)
        .map_or_else(|| anchor.subject(), |issuer| case.called(issuer))
}

/// A `GeneralName`: its context-specific tag number and content.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Name<'a> {
    form: u32,
    content: &'a [u8],
}

const ASN1_NULL: [u8; 2] = [5, 0];
/// pkcs-9-at-emailAddress (1.2.840.113549.1.9.1), RFC 5280 appendix A.1.
const EMAIL_ADDRESS: [u8; 9] = [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 1];
const RFC822_NAME: u32 = 1;
const DNS_NAME: u32 = 2;
const DIRECTORY_NAME: u32 = 4;
const URI: u32 = 6;
const IP_ADDRESS: u32 = 7;

#[derive(Default)]
struct Subtrees<'a> {
    permitted: Vec<Name<'a>>,
    excluded: Vec<Name<'a>>,
}

impl Subtrees<'_> {
    fn violates(&self, name: &Name<'_>) -> bool {
        let mut permitted = self
            .permitted
            .iter()
            .filter(|base| base.form == name.form)
            .peekable();
        let is_outside =
            permitted.peek().is_some() && permitted.all(|base| base.covers(name) == Some(false));
        is_outside
            || self
                .excluded
                .iter()
                .any(|base| base.form == name.form && base.covers(name) == Some(true))
    }

    /// webpki refuses wherever a constraint and a name share a form that it does not compare.
    fn cannot_judge(&self, name: &Name<'_>) -> bool {
        let is_judged = matches!(name.form, DNS_NAME | IP_ADDRESS);
        !is_judged
            && self
                .permitted
                .iter()
                .chain(&self.excluded)
                .any(|base| base.form == name.form)
    }
}

impl Name<'_> {
    /// Whether this constraint's base covers `name`, of the same form. `None`: nobody compares names of the form, or this one
    /// has nothing in it to compare.
    fn covers(&self, name: &Name<'_>) -> Option<bool> {
        let (base, content) = (
            self.content.to_ascii_lowercase(),
            name.content.to_ascii_lowercase(),
        );
        match self.form {
            IP_ADDRESS => {
                let (address, mask) = self.content.split_at(self.content.len() / 2);
                let mut bytes = address.iter().zip(mask).zip(name.content);
                Some(
                    address.len() == name.content.len()
                        && bytes.all(|((base, mask), byte)| base & mask == byte & mask),
                )
            }
            DNS_NAME => {
                let base = base.strip_prefix(b".").unwrap_or(&base);
                let rest = content.strip_suffix(base);
                Some(base.is_empty() || rest.is_some_and(|it| it.is_empty() || it.ends_with(b".")))
            }
            RFC822_NAME => {
                let at = content.iter().rposition(|&byte| byte == b'@')?;
                let is_address = base.contains(&b'@');
                Some(if is_address {
                    base == content
                } else {
                    covers_host(&base, &content[at + 1..])
                })
            }
            URI => Some(covers_host(&base, host_of(&content)?)),
            DIRECTORY_NAME => {
                let base = folded(self.content)?;
                let name = folded(name.content)?;
                // RFC 5280 §4.2.1.10: of a subject, where it is not empty.
                (!name.is_empty()).then(|| name.starts_with(&base))
            }
            _ => None,
        }
    }
}

/// RFC 5280 §4.2.1.10, of addresses and URIs: `.example` is what stands below it, `example` that host alone.
fn covers_host(base: &[u8], host: &[u8]) -> bool {
    if base.starts_with(b".") {
        host.ends_with(base)
    } else {
        base == host
    }
}

/// The host in a URI's authority; `None`: it has none.
fn host_of(uri: &[u8]) -> Option<&[u8]> {
    let scheme = uri.windows(3).position(|window| window == b"://")?;
    let authority = uri[scheme + 3..]
        .split(|byte| matches!(byte, b'/' | b'?' | b'#'))
        .next()?;
    let host = authority.rsplit(|&byte| byte == b'@').next()?;
    let host = host.split(|&byte| byte == b':').next()?;
    (!host.is_empty()).then_some(host)
}

/// The attributes of a DER `Name`, without what RFC 5280 §7.1 does not compare.
fn folded(name: &[u8]) -> Option<Vec<(String, String)>> {
    let name = DistinguishedName::from_der(name).ok()?;
    let attributes = name.attributes().iter();
    Some(
        attributes
            .map(|it| (it.kind(), it.value().trim().to_lowercase()))
            .collect(),
    )
}

/// Whether the name constraints of `issuer` are of types that most verifiers compare, if not this one.
pub fn has_common_constraints(issuer: &Certificate) -> bool {
    let Ok(issuer) = Outline::parse(issuer.der()) else {
        return false;
    };
    let Some(constraints) = issuer.name_constraints else {
        return true;
    };
    let subtrees = subtrees(constraints);
    subtrees
        .permitted
        .iter()
        .chain(&subtrees.excluded)
        .all(|base| {
            let forms = [RFC822_NAME, DNS_NAME, DIRECTORY_NAME, URI, IP_ADDRESS];
            forms.contains(&base.form)
        })
}

/// A subject counts as one directoryName, whatever it says: webpki compares none.
fn names<'a>(certificate: &Outline<'a>) -> Vec<Name<'a>> {
    let mut names = certificate
        .subject_alt_names
        .map_or_else(Vec::new, |content| general_names(Cursor::new(content)));
    names.push(Name {
        form: DIRECTORY_NAME,
        content: certificate.subject,
    });
    names
}

fn general_names(mut cursor: Cursor<'_>) -> Vec<Name<'_>> {
    let mut names = Vec::new();
    while !cursor.is_at_end() {
        let Ok(element) = cursor.any("a name") else {
            break;
        };
        if let Tag::ContextSpecific {
            number: TagNumber(form),
            ..
        } = element.tag
        {
            names.push(Name {
                form,
                content: element.content,
            });
        }
    }
    names
}

fn subtrees(constraints: &[u8]) -> Subtrees<'_> {
    let mut found = Subtrees::default();
    let mut parts = Cursor::new(constraints);
    while !parts.is_at_end() {
        let Ok(part) = parts.any("subtrees") else {
            break;
        };
        let bases = bases(part.cursor());
        match part.tag {
            Tag::ContextSpecific {
                number: TagNumber(0),
                ..
            } => found.permitted = bases,
            Tag::ContextSpecific {
                number: TagNumber(1),
                ..
            } => found.excluded = bases,
            _ => {}
        }
    }
    found
}

fn bases(mut subtrees: Cursor<'_>) -> Vec<Name<'_>> {
    let mut bases = Vec::new();
    while !subtrees.is_at_end() {
        let Ok(subtree) = subtrees.expect(Tag::Sequence, "a subtree") else {
            break;
        };
        bases.extend(general_names(subtree.cursor()).into_iter().take(1));
    }
    bases
}
