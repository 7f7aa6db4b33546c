//! Who may have which certificate. The only maker of [`Authorized`], without which nothing is signed.
//!
//! [`authorize`] turns a request into a template that holds nothing the profile does not have; [`Authorized::approve`]
//! reads the encoded bytes back and lets them through only if they say what the template says. What is signed was
//! therefore judged as bytes (invariant 4), not as intentions.

mod actor;
mod denied;
mod explanation;
mod issuers;
mod key;
mod names;
mod profile;
mod rules;
mod wishes;

use std::sync::Arc;
use std::time::Duration;

use countersign_pki::certificate::Certificate;
use countersign_pki::lint::{self, LintFault};
use countersign_pki::name::TypedName;
use countersign_pki::publication::PublicationUrl;
use countersign_pki::request::Wishes;
use countersign_pki::serial::SerialNumber;
use countersign_pki::spiffe::TrustDomain;
use countersign_pki::tbs::{ExtraExtension, StatusSources, Template, ToBeSigned, Usage};
use countersign_pki::time::{UnixTime, spoken};

pub use self::actor::Actor;
pub use self::denied::Denied;
pub use self::explanation::Because;
pub use self::issuers::{IssuerRole, Issuers};
pub use self::key::KeyUse;
use self::names::Names;
pub use self::profile::Profile;
pub use self::rules::{
    BuiltIn, CommonNamePattern, FurtherKeyUsage, InvalidProfile, IpRange, KeyType, MAX_LIFETIME,
    NameRules, Naming, Narrowing, ProfileRules, Profiles, Purpose, Source, SourceRules, UriPrefix,
};

/// What is asked for.
#[derive(Clone, Debug)]
pub struct Request {
    /// Which kind.
    pub profile: Profile,
    /// NAME of the command line; what it becomes depends on the profile.
    pub name: String,
    /// Further SANs.
    pub subject_alt_names: Vec<TypedName>,
    /// How long; the profile's default when left out.
    pub lifetime: Option<Duration>,
    /// The holder's key, possession proved.
    pub spki_der: Vec<u8>,
    /// What else its certificate request asks for; nothing, where there was none.
    pub wishes: Wishes,
}

/// What the authority issues by.
#[derive(Clone, Debug)]
pub struct IssuanceRules {
    /// Where `workload` names live.
    pub trust_domain: TrustDomain,
    /// Every kind of certificate there is.
    pub profiles: Profiles,
    /// Where certificates are told to look for their revocation; `None`: they carry nothing of it.
    pub publication: Option<PublicationUrl>,
}

/// An authorized request: the names, times and usages it may have, and nothing else. Only [`authorize`] makes one.
#[derive(Clone, Debug)]
pub struct Authorized {
    template: Template,
    rules: Arc<ProfileRules>,
    actor: Actor,
}

/// To-be-signed bytes that policy and lint have passed. Only [`Authorized::approve`] makes one.
#[derive(Clone, Debug)]
pub struct Approved {
    to_be_signed: ToBeSigned,
    preview: Certificate,
    sources: StatusSources,
    rules: Arc<ProfileRules>,
    actor: Actor,
}

/// Decides. `random` becomes the serial number; `not_after` is clamped to the issuer's. Which of the issuers signs is the
/// profile's to say.
pub fn authorize(
    actor: Actor,
    request: &Request,
    rules: &IssuanceRules,
    issuers: &Issuers,
    random: [u8; 20],
    now: UnixTime,
) -> Result<Authorized, Denied> {
    let bound = rules.profiles.binding(&actor, &request.profile)?;
    let profile = &*bound;
    let names = names::certified(request, profile, &rules.trust_domain);
    actor::permit(&actor, &rules.profiles, profile, names.as_ref().ok())?;
    let names = names?;
    wishes::check(&request.wishes, &names, profile)?;
    let Names {
        subject,
        subject_alt_names,
    } = names;
    let issuer = issuers.issuer(profile.issued_by());
    if !issuer.is_ca() {
        return Err(Denied::Request {
            why: format!(
                "{} is no issuer: its certificate is not a CA's",
                issuer.subject()
            ),
        });
    }
    if issuers.all().any(|issuer| *issuer.subject() == subject) {
        return Err(Denied::name(
            &request.name,
            profile,
            "it is the name of an issuer of this authority",
        ));
    }
    key::check(&request.spki_der, profile, issuers)?;
    // A CA above may end before its own.
    let ends = issuers
        .chain(profile.issued_by())
        .iter()
        .map(Certificate::not_after);
    let ends = ends.fold(issuer.not_after(), UnixTime::min);
    let (not_before, not_after) = validity(request, profile, issuer, ends, now)?;
    let usage = profile.usage();
    let serial = SerialNumber::from_random(random);
    let template = Template {
        subject,
        subject_alt_names,
        spki_der: request.spki_der.clone(),
        not_before,
        not_after,
        serial,
        usage,
        status_sources: status_sources(profile, rules, issuer, serial),
        extra_extensions: profile.extensions().to_vec(),
    };
    Ok(Authorized {
        template,
        rules: bound,
        actor,
    })
}

impl Authorized {
    /// What to encode.
    pub fn template(&self) -> &Template {
        &self.template
    }

    /// Which profile.
    pub fn profile(&self) -> &Profile {
        self.rules.profile()
    }

    /// Who is to sign.
    pub fn issued_by(&self) -> IssuerRole {
        self.rules.issued_by()
    }

    /// Judges the final bytes (invariant 4): they say exactly what was authorized, and lint has nothing against them.
    pub fn approve(self, to_be_signed: ToBeSigned, issuers: &Issuers) -> Result<Approved, Denied> {
        let chain = issuers.chain(self.issued_by());
        let issuer = &chain[0];
        let differ = |what| Denied::BytesDiffer { what };
        let preview = to_be_signed
            .preview()
            .map_err(|_| differ("they are no certificate"))?;
        if let Some(what) = first_difference(&self.template, &preview, issuer) {
            return Err(differ(what));
        }
        // The decoder could overlook what it does not know; a template has one encoding.
        let encoded = self
            .template
            .to_be_signed(issuer, to_be_signed.algorithm())
            .map_err(|_| differ("encoding"))?;
        if encoded != to_be_signed {
            return Err(differ("encoding"));
        }
        // The one lint that a configuration may overrule: it has spelled out each of them.
        let wanted = |fault: &LintFault| {
            fault.lint == lint::UNKNOWN_CRITICAL_EXTENSION
                && preview.unknown_critical_extensions() == self.critical_extensions()
        };
        let faults = lint::check_under(&preview, chain);
        if let Some(fault) = faults.into_iter().find(|fault| !wanted(fault)) {
            return Err(Denied::Lint { fault });
        }
        Ok(Approved {
            to_be_signed,
            preview,
            sources: self.template.status_sources,
            rules: self.rules,
            actor: self.actor,
        })
    }
}

impl Authorized {
    fn critical_extensions(&self) -> Vec<String> {
        let critical = |extension: &&ExtraExtension| extension.is_critical();
        let extensions = self.rules.extensions().iter().filter(critical);
        extensions.map(ExtraExtension::oid).collect()
    }
}

impl Approved {
    /// What to sign.
    pub fn to_be_signed(&self) -> &ToBeSigned {
        &self.to_be_signed
    }

    /// The bytes, decoded.
    pub fn preview(&self) -> &Certificate {
        &self.preview
    }

    /// The serial number.
    pub fn serial(&self) -> SerialNumber {
        self.preview.serial()
    }

    /// Which profile.
    pub fn profile(&self) -> &Profile {
        self.rules.profile()
    }

    /// Who is to sign.
    pub fn issued_by(&self) -> IssuerRole {
        self.rules.issued_by()
    }

    /// Whether the key may be certified for `identity`, the name that the certificate is shown by. `used`: every certificate
    /// of the key that the inventory knows, looked up where nothing can come in between.
    pub fn check_key(&self, identity: &TypedName, used: &[KeyUse]) -> Result<(), Denied> {
        key::check_uses(used, identity, self.profile(), self.rules.allows_same_key())
    }

    /// Who asked.
    pub fn actor(&self) -> &Actor {
        &self.actor
    }
}

/// Lists and answers are published for the issuer of leaves. A responder's certificate says nowhere where to look for its
/// own revocation: id-pkix-ocsp-nocheck says that nobody has to (RFC 6960 §4.2.2.2.1).
fn status_sources(
    profile: &ProfileRules,
    rules: &IssuanceRules,
    issuer: &Certificate,
    serial: SerialNumber,
) -> StatusSources {
    let is_published =
        profile.issued_by() == IssuerRole::Intermediate && profile.like() != BuiltIn::OcspResponder;
    if !is_published {
        return StatusSources::default();
    }
    let published = rules.publication.as_ref();
    let published = published.map(|at| at.sources(issuer, serial));
    profile.sources().chosen(published.unwrap_or_default())
}

fn validity(
    request: &Request,
    rules: &ProfileRules,
    issuer: &Certificate,
    ends: UnixTime,
    now: UnixTime,
) -> Result<(UnixTime, UnixTime), Denied> {
    let refuse = |why: String| Err(Denied::Lifetime { why });
    if now < issuer.not_before() {
        let (wait, begins) = (spoken(issuer.not_before().since(now)), issuer.not_before());
        return refuse(format!(
            "issuer {} is not valid for another {wait} (not_before {begins}, now {now})",
            issuer.subject()
        ));
    }
    if now >= issuer.not_after() {
        let (past, ended) = (spoken(now.since(issuer.not_after())), issuer.not_after());
        return refuse(format!(
            "issuer {} expired {past} ago (not_after {ended}, now {now})",
            issuer.subject()
        ));
    }
    let lifetime = request.lifetime.unwrap_or_else(|| rules.default_lifetime());
    let limit = rules.max_lifetime();
    if lifetime < MIN_LIFETIME {
        return refuse(format!(
            "a lifetime of {} is too short: at least {}",
            spoken(lifetime),
            spoken(MIN_LIFETIME)
        ));
    }
    if lifetime > limit {
        let (asked, days) = (spoken(lifetime), limit.as_secs() / DAY_S);
        let limit = spoken(limit);
        return refuse(format!(
            "a lifetime of {asked} is too long: at most {limit} ({days} d)"
        ));
    }
    // Both ends belong to the period (RFC 5280 §4.1.2.5), which being backdated makes longer.
    let longest = limit.saturating_sub(Duration::from_secs(1));
    let not_after = now.plus(lifetime.min(longest)).min(ends);
    let not_before = now
        .minus(BACKDATE)
        .max(issuer.not_before())
        .max(not_after.minus(longest));
    Ok((not_before, not_after))
}

fn first_difference(
    template: &Template,
    preview: &Certificate,
    issuer: &Certificate,
) -> Option<&'static str> {
    let (is_ca, path_len) = match template.usage {
        Usage::Authority { path_len } => (true, path_len),
        Usage::Leaf { .. } | Usage::LeafWith(_) | Usage::OcspResponder => (false, None),
    };
    let checks = [
        ("version", preview.version() == 3),
        ("serial number", preview.serial() == template.serial),
        ("issuer", preview.issuer_der() == issuer.subject_der()),
        (
            "validity",
            preview.not_before() == template.not_before
                && preview.not_after() == template.not_after,
        ),
        ("subject", *preview.subject() == template.subject),
        ("public key", preview.spki_der() == template.spki_der),
        (
            "subjectAltName",
            preview.subject_alt_names() == template.subject_alt_names
                && preview.other_alt_names() == 0,
        ),
        (
            "basicConstraints",
            preview.is_ca() == is_ca && preview.path_len() == path_len,
        ),
        (
            "keyUsage",
            preview.key_usage() == Some(template.usage.key_usage()),
        ),
        (
            "extendedKeyUsage",
            preview.extended_key_usage() == template.usage.extended_key_usage().as_ref(),
        ),
        (
            "ocsp-nocheck",
            preview.has_ocsp_no_check() == (template.usage == Usage::OcspResponder),
        ),
    ];
    checks
        .into_iter()
        .find(|(_, same)| !same)
        .map(|(what, _)| what)
}

const DAY_S: u64 = 86_400;

/// Clocks of peers run behind by minutes; a certificate that is not valid yet is refused like an expired one.
pub const BACKDATE: Duration = Duration::from_mins(5);

/// The least a certificate can say; such ones are for tests and for showing what expiry does.
pub const MIN_LIFETIME: Duration = Duration::from_secs(1);
