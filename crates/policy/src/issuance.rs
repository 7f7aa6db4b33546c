//! Who may have which certificate. The only maker of [`Authorized`], without which nothing is signed.
//!
//! [`authorize`] turns a request into a template that holds nothing the profile does not have; [`Authorized::approve`]
//! reads the encoded bytes back and lets them through only if they say what the template says. What is signed was
//! therefore judged as bytes (invariant 4), not as intentions.

mod denied;
mod explanation;
mod names;
mod responder;

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use countersign_pki::certificate::{Certificate, ExtendedKeyUsage, KeyAlgorithm, KeyUsage};
use countersign_pki::identity::{BundleName, Identity};
use countersign_pki::lint;
use countersign_pki::name::TypedName;
use countersign_pki::publication::PublicationUrl;
use countersign_pki::serial::SerialNumber;
use countersign_pki::spiffe::TrustDomain;
use countersign_pki::tbs::{StatusSources, Template, ToBeSigned, Usage};
use countersign_pki::time::{UnixTime, spoken};
use serde::{Deserialize, Serialize};

pub use self::denied::Denied;
pub use self::explanation::Because;
use self::names::Names;
pub use self::responder::authorize_responder;

/// What a certificate of a kind must look like.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Profile {
    /// clientAuth; NAME is the CN.
    Client,
    /// id-kp-OCSPSigning alone, for a key of the authority's own process; nobody can ask for it.
    OcspResponder,
    /// serverAuth and clientAuth; NAME is the first DNS SAN.
    Peer,
    /// serverAuth; NAME is the first DNS SAN.
    Server,
    /// serverAuth and clientAuth; NAME is the one SPIFFE ID.
    Workload,
}

impl Profile {
    /// Every profile that can be asked for.
    pub const ALL: [Self; 4] = [Self::Client, Self::Peer, Self::Server, Self::Workload];

    /// How long its certificates live when the request does not say.
    ///
    /// Workloads are given theirs anew all the time, so a lost key is of little use; the others may be copied by hand
    /// into places that nobody visits for weeks, and 90 days is what those have learnt to live with (Let's Encrypt).
    pub const fn default_lifetime(self) -> Duration {
        match self {
            Self::Client | Self::Peer | Self::Server => Duration::from_secs(90 * DAY_S),
            // Nobody looks up the revocation of a responder (RFC 6960 §4.2.2.2.1); it is renewed at half of it.
            Self::OcspResponder => Duration::from_secs(7 * DAY_S),
            Self::Workload => Duration::from_secs(DAY_S),
        }
    }

    const fn usage(self) -> Usage {
        match self {
            Self::Client => Usage::Leaf {
                server_auth: false,
                client_auth: true,
            },
            Self::Server => Usage::Leaf {
                server_auth: true,
                client_auth: false,
            },
            Self::OcspResponder => Usage::OcspResponder,
            Self::Peer | Self::Workload => Usage::Leaf {
                server_auth: true,
                client_auth: true,
            },
        }
    }
}

impl fmt::Display for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Client => "client",
            Self::OcspResponder => "ocsp-responder",
            Self::Peer => "peer",
            Self::Server => "server",
            Self::Workload => "workload",
        })
    }
}

impl FromStr for Profile {
    type Err = Denied;

    fn from_str(text: &str) -> Result<Self, Denied> {
        let why = match text {
            "operator" | "node" | "intermediate" | "canary" | "ocsp-responder" => {
                format!("profile {text} is reserved: the authority makes such certificates itself")
            }
            _ => match Self::ALL
                .into_iter()
                .find(|profile| profile.to_string() == text)
            {
                Some(profile) => return Ok(profile),
                None => format!(
                    "profile {:?} is not known; profiles are client, peer, server and workload",
                    text.chars().take(40).collect::<String>()
                ),
            },
        };
        Err(Denied::Request { why })
    }
}

/// Who asks, and how that is known. Goes into the audit record as it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Actor {
    /// The operating system vouches for the user on the admin socket or the state folder: root or the service's own.
    LocalAdmin {
        /// Of the process at the other end.
        uid: u32,
    },
    /// The authority itself: first run, and the gateway's own certificate.
    Authority,
    /// The holder of a live certificate asks for its next one.
    Holder {
        /// As verified.
        identity: Identity,
        /// Of the certificate that was presented, as the inventory has it: a name does not tell the profile.
        profile: Profile,
    },
}

impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::LocalAdmin { uid } => write!(f, "local admin (uid {uid})"),
            Self::Authority => f.write_str("the authority"),
            Self::Holder { identity, profile } => {
                write!(f, "the holder of {profile} certificate {identity}")
            }
        }
    }
}

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
}

/// What the authority issues by.
#[derive(Clone, Debug)]
pub struct IssuanceRules {
    /// Where `workload` names live.
    pub trust_domain: TrustDomain,
    /// Where certificates are told to look for their revocation; `None`: they carry nothing of it.
    pub publication: Option<PublicationUrl>,
}

/// An authorized request: the names, times and usages it may have, and nothing else. Only [`authorize`] makes one.
#[derive(Clone, Debug)]
pub struct Authorized {
    template: Template,
    profile: Profile,
    actor: Actor,
}

/// To-be-signed bytes that policy and lint have passed. Only [`Authorized::approve`] makes one.
#[derive(Clone, Debug)]
pub struct Approved {
    to_be_signed: ToBeSigned,
    preview: Certificate,
    profile: Profile,
    actor: Actor,
}

/// Decides. `random` becomes the serial number; `not_after` is clamped to the issuer's.
pub fn authorize(
    actor: Actor,
    request: &Request,
    rules: &IssuanceRules,
    issuer: &Certificate,
    random: [u8; 20],
    now: UnixTime,
) -> Result<Authorized, Denied> {
    let names = names::certified(request, &rules.trust_domain);
    permit(&actor, request.profile, names.as_ref().ok())?;
    let Names {
        subject,
        subject_alt_names,
    } = names?;
    if !issuer.is_ca() {
        return Err(Denied::Request {
            why: format!(
                "{} is no issuer: its certificate is not a CA's",
                issuer.subject()
            ),
        });
    }
    check_key(&request.spki_der, issuer)?;
    let (not_before, not_after) = validity(request.profile, request.lifetime, issuer, now)?;
    let serial = SerialNumber::from_random(random);
    let template = Template {
        subject,
        subject_alt_names,
        spki_der: request.spki_der.clone(),
        not_before,
        not_after,
        serial,
        usage: request.profile.usage(),
        status_sources: rules
            .publication
            .as_ref()
            .map_or_else(StatusSources::default, |at| at.sources(issuer, serial)),
    };
    Ok(Authorized {
        template,
        profile: request.profile,
        actor,
    })
}

impl Authorized {
    /// What to encode.
    pub fn template(&self) -> &Template {
        &self.template
    }

    /// Which profile.
    pub fn profile(&self) -> Profile {
        self.profile
    }

    /// Judges the final bytes (invariant 4): they say exactly what was authorized, and lint has nothing against them.
    pub fn approve(
        self,
        to_be_signed: ToBeSigned,
        issuer: &Certificate,
    ) -> Result<Approved, Denied> {
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
        if let Some(fault) = lint::check(&preview, Some(issuer)).into_iter().next() {
            return Err(Denied::Lint { fault });
        }
        Ok(Approved {
            to_be_signed,
            preview,
            profile: self.profile,
            actor: self.actor,
        })
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
    pub fn profile(&self) -> Profile {
        self.profile
    }

    /// Who asked.
    pub fn actor(&self) -> &Actor {
        &self.actor
    }
}

/// `names`: `None` where they do not fit the profile, which is told to those only who may ask at all.
fn permit(actor: &Actor, profile: Profile, names: Option<&Names>) -> Result<(), Denied> {
    let Actor::Holder {
        identity,
        profile: presented,
    } = actor
    else {
        return Ok(());
    };
    let refuse = |what: String| Denied::NotPermitted {
        actor: actor.to_string(),
        what,
    };
    if identity.bundle.as_str() != BundleName::INTERNAL {
        return Err(refuse("a certificate of this authority".to_owned()));
    }
    if profile != *presented {
        return Err(refuse(format!("a {profile} certificate")));
    }
    let names = names.ok_or_else(|| refuse("other names".to_owned()))?;
    // One more name would be one more identity. The CN of a peer or server is the mirror of its first SAN.
    let mirrored = profile != Profile::Client;
    let common_name = names
        .subject
        .common_name()
        .filter(|_| !mirrored)
        .and_then(|name| format!("cn:{name}").parse().ok());
    let mut asked = names.subject_alt_names.iter().chain(&common_name);
    match asked.find(|name| **name != identity.name) {
        Some(other) => Err(refuse(other.to_string())),
        None => Ok(()),
    }
}

fn check_key(spki_der: &[u8], issuer: &Certificate) -> Result<(), Denied> {
    let refuse = |why: String| Err(Denied::Key { why });
    if spki_der == issuer.spki_der() {
        return refuse("the key is the issuer's own".to_owned());
    }
    match KeyAlgorithm::of(spki_der) {
        None => refuse("the public key is not a SubjectPublicKeyInfo".to_owned()),
        Some(KeyAlgorithm::Ec { curve, .. }) if ["P-256", "P-384"].contains(&curve.as_str()) => {
            Ok(())
        }
        Some(KeyAlgorithm::Ed25519) => Ok(()),
        // Longer RSA keys only make every handshake slower.
        Some(KeyAlgorithm::Rsa { bits: 2048..=4096 }) => match KeyAlgorithm::rsa_exponent(spki_der)
        {
            Some(MIN_RSA_EXPONENT..) => Ok(()),
            Some(small) => refuse(format!(
                "an RSA key with exponent {small} is not accepted: at least {MIN_RSA_EXPONENT}"
            )),
            None => refuse("the RSA key's public exponent cannot be read".to_owned()),
        },
        Some(other) => refuse(format!("a key of {other} is not accepted")),
    }
}

fn validity(
    profile: Profile,
    lifetime: Option<Duration>,
    issuer: &Certificate,
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
    let lifetime = lifetime.unwrap_or_else(|| profile.default_lifetime());
    if lifetime < MIN_LIFETIME {
        return refuse(format!(
            "a lifetime of {} is too short: at least {}",
            spoken(lifetime),
            spoken(MIN_LIFETIME)
        ));
    }
    if lifetime > MAX_LIFETIME {
        let (limit, days) = (spoken(MAX_LIFETIME), MAX_LIFETIME.as_secs() / DAY_S);
        return refuse(format!(
            "a lifetime of {} is too long: at most {limit} ({days} d)",
            spoken(lifetime)
        ));
    }
    // Both ends belong to the period (RFC 5280 §4.1.2.5), which being backdated makes longer.
    let longest = MAX_LIFETIME.saturating_sub(Duration::from_secs(1));
    let not_after = now.plus(lifetime.min(longest)).min(issuer.not_after());
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
    let purposes = match template.usage {
        Usage::Leaf {
            server_auth,
            client_auth,
        } => ExtendedKeyUsage {
            server_auth,
            client_auth,
            ..ExtendedKeyUsage::default()
        },
        Usage::OcspResponder => ExtendedKeyUsage {
            ocsp_signing: true,
            ..ExtendedKeyUsage::default()
        },
        Usage::Authority { .. } => return Some("basicConstraints"),
    };
    let key_usage = KeyUsage {
        digital_signature: true,
        ..KeyUsage::default()
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
            !preview.is_ca() && preview.path_len().is_none(),
        ),
        ("keyUsage", preview.key_usage() == Some(key_usage)),
        (
            "extendedKeyUsage",
            preview.extended_key_usage() == Some(&purposes),
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

/// FIPS 186-5 §5.1, CABF BR §6.1.6: small exponents make mistakes of padding fatal.
const MIN_RSA_EXPONENT: u64 = 65537;

const DAY_S: u64 = 86_400;

/// Clocks of peers run behind by minutes; a certificate that is not valid yet is refused like an expired one.
pub const BACKDATE: Duration = Duration::from_mins(5);

/// The least a certificate can say; such ones are for tests and for showing what expiry does.
pub const MIN_LIFETIME: Duration = Duration::from_secs(1);

/// For every leaf profile: Apple's clients refuse server certificates of longer life, of private CAs too (support page
/// 103769), and a client's that lived longer would be one that nobody knows how to renew.
pub const MAX_LIFETIME: Duration = Duration::from_secs(825 * DAY_S);
