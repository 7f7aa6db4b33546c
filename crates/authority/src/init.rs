//! The first run: root, intermediate and operator issuer, their keys, and the root's first CRL.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use countersign_pki::certificate::{Certificate, MalformedCertificate};
use countersign_pki::crl::{CrlEntry, CrlScope, CrlTemplate};
use countersign_pki::dn::DistinguishedName;
use countersign_pki::feed::HistoryId;
use countersign_pki::fingerprint::Fingerprint;
use countersign_pki::lint::{self, LintFault};
use countersign_pki::name::CommonName;
use countersign_pki::publication::PublicationUrl;
use countersign_pki::serial::SerialNumber;
use countersign_pki::spiffe::TrustDomain;
use countersign_pki::tbs::{StatusSources, Template, TemplateError, ToBeSigned, Usage};
use countersign_pki::time::UnixTime;
use countersign_policy::issuance::Actor;
use countersign_runtime::clock::SharedClock;
use countersign_store::adoption::{Brought, GivenList};
use countersign_store::error::StoreError;
use countersign_store::issuer::IssuerRole;
use zeroize::Zeroizing;

use crate::authority::NotReady;
use crate::founding::{Foundation, Founder, PassphraseChoice, Sealing};
use crate::meta::Meta;
use crate::request;
use crate::scaffold;
use crate::sealed::{KeyDerivation, SealError};
use crate::secret::{PassphraseError, Secret};
use crate::signer::SignError;
use crate::signing_key::{GivenKey, KeyKind};
use crate::state::{StateError, StateFolder, StateLock};

/// What a new authority shall be.
#[derive(Clone, Debug)]
pub struct InitOptions {
    /// The base that "… Root CA", "… Issuing CA" and "… Operator CA" are appended to as CN.
    pub subject: DistinguishedName,
    /// The root's life in years of 365 days.
    pub root_years: u32,
    /// Where SPIFFE IDs live.
    pub trust_domain: TrustDomain,
    /// Seals the CA keys; a random one is written into the state folder when left out.
    pub passphrase: Option<Secret>,
    /// The kind of the issuers' keys.
    pub key: KeyKind,
    /// The price of guessing the passphrase.
    pub key_derivation: KeyDerivation,
    /// Where the authority will publish: the intermediate's certificate carries the URLs of the root's list and certificate.
    pub publication: Option<PublicationUrl>,
}

impl Default for InitOptions {
    fn default() -> Self {
        Self {
            subject: DistinguishedName::parse(DEFAULT_SUBJECT)
                .expect("the default subject is a DN"),
            root_years: DEFAULT_ROOT_YEARS,
            trust_domain: TrustDomain::parse(DEFAULT_TRUST_DOMAIN)
                .expect("the default trust domain is one"),
            passphrase: None,
            key: KeyKind::default(),
            key_derivation: KeyDerivation::default(),
            publication: None,
        }
    }
}

/// Subject base when none is given.
pub const DEFAULT_SUBJECT: &str = "O=Countersign";
/// The root's life when none is given.
pub const DEFAULT_ROOT_YEARS: u32 = 10;
/// The longest life of a root that can be asked for.
pub const MAX_ROOT_YEARS: u32 = 50;
/// Trust domain when none is given. `.internal` is reserved for private use and never delegated (ICANN, 2024).
pub const DEFAULT_TRUST_DOMAIN: &str = "countersign.internal";
/// The life of the intermediate and the operator issuer, unless the root ends before.
pub const ISSUER_LIFETIME: Duration = Duration::from_secs(5 * YEAR_S);
/// nextUpdate of the root's CRL: its key is needed for the next one, and is best kept where getting at it takes people and
/// time. A year between two such days is what the CA/Browser Forum asks of public roots (BR §4.9.7).
pub const ROOT_CRL_LIFETIME: Duration = Duration::from_secs(YEAR_S);
/// notBefore of the issuers lies so far back, for peers whose clock is behind.
pub const BACKDATE: Duration = Duration::from_hours(1);

/// What was made.
#[derive(Clone, Debug)]
pub struct Initialised {
    /// SHA-256 of the root certificate.
    pub root_fingerprint: Fingerprint,
    /// The root's end.
    pub root_not_after: UnixTime,
    /// The trust domain.
    pub trust_domain: TrustDomain,
    /// Whether a passphrase was generated into the state folder.
    pub passphrase_generated: bool,
}

/// Makes a new authority in a folder that has none. What a crash leaves in the middle of it is recognised and redone.
/// Takes about half a second (three key derivations); blocks.
pub fn init(
    state: &StateFolder,
    _lock: &StateLock,
    options: InitOptions,
    clock: &SharedClock,
) -> Result<Initialised, InitError> {
    if state.is_initialised() {
        return Err(InitError::AlreadyInitialised {
            path: state.path().to_owned(),
        });
    }
    if !(1..=MAX_ROOT_YEARS).contains(&options.root_years) {
        return Err(InitError::RootYears {
            asked: options.root_years,
        });
    }
    if options.subject.common_name().is_some() {
        return Err(InitError::SubjectHasCommonName {
            subject: options.subject.to_string(),
        });
    }
    scaffold::refuse_unfinished_restore(state)?;
    request::refuse_pending(state)?;
    let now = UnixTime::from_seconds(clock.unix_seconds());
    let issuers = Issuers::found(&options, now)?;
    let passphrase_generated = options.passphrase.is_none();
    let list = first_list(&issuers.root, now)?;
    let foundation = Foundation {
        founders: [&issuers.root, &issuers.intermediate, &issuers.operator],
        between: &[],
        brought: Brought {
            lists: vec![list],
            ..Brought::default()
        },
        meta: Meta {
            trust_domain: options.trust_domain.clone(),
            created_at: now,
            subject: options.subject.to_string(),
        },
        sealing: Sealing {
            passphrase: match options.passphrase {
                Some(given) => PassphraseChoice::Given(given),
                None => PassphraseChoice::Made,
            },
            key_derivation: options.key_derivation,
        },
        actor: Actor::Authority,
        reason: "first run".to_owned(),
        now,
    };
    foundation.lay(state)?;

    let root = &issuers.root.certificate;
    Ok(Initialised {
        root_fingerprint: root.fingerprint(),
        root_not_after: root.not_after(),
        trust_domain: options.trust_domain,
        passphrase_generated,
    })
}

/// Why there is no new authority.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InitError {
    /// There is one already.
    #[error("state folder {} is initialised already", .path.display())]
    AlreadyInitialised {
        /// Which.
        path: PathBuf,
    },
    /// What a request for a sub-CA left.
    #[error("the request that waits for its certificate cannot be used: {}: {why}", .path.display())]
    BrokenRequest {
        /// Which file.
        path: PathBuf,
        /// Why.
        why: String,
    },
    /// A CA certificate that strict clients of today would refuse.
    #[error("lint {} refuses the certificate of {subject}: {}", .fault.lint, .fault.sentence)]
    Lint {
        /// Whose.
        subject: String,
        /// The first fault.
        fault: LintFault,
    },
    /// The encoded certificate cannot be decoded: our bug.
    #[error(transparent)]
    Malformed(#[from] MalformedCertificate),
    /// A key that is elsewhere would have to sign: our bug.
    #[error("the key of the issuer above is not here")]
    NoKey,
    /// The operating system has none.
    #[error("the operating system gives no randomness")]
    NoRandomness,
    /// A key stays sealed.
    #[error(transparent)]
    NotReady(#[from] NotReady),
    /// The passphrase.
    #[error(transparent)]
    Passphrase(#[from] PassphraseError),
    /// Zero, or too many.
    #[error("a root of {asked} years cannot be made, 1 to {MAX_ROOT_YEARS} are possible")]
    RootYears {
        /// How many.
        asked: u32,
    },
    /// A key was not sealed.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// A certificate was not signed.
    #[error(transparent)]
    Sign(#[from] SignError),
    /// The folder.
    #[error(transparent)]
    State(#[from] StateError),
    /// The inventory.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The base holds what is appended to it.
    #[error("subject {subject} has a CN already")]
    SubjectHasCommonName {
        /// As given.
        subject: String,
    },
    /// The subject cannot be encoded.
    #[error(transparent)]
    Template(#[from] TemplateError),
}

impl InitError {
    /// What to do.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::AlreadyInitialised { .. } => {
                Some("use it as it is, or choose another folder with --state".to_owned())
            }
            Self::BrokenRequest { .. } => Some(
                "remove the folder request/ from the state folder to begin anew, with another request".to_owned(),
            ),
            Self::NotReady(error) => error.hint.clone(),
            Self::Passphrase(error) => error.hint(),
            Self::Sign(error) => error.hint(),
            Self::State(error) => error.hint(),
            Self::Store(error) => error.hint(),
            Self::SubjectHasCommonName { .. } => Some(
                "leave the CN out of --subject: each CA gets its own, such as \"… Root CA\""
                    .to_owned(),
            ),
            _ => None,
        }
    }
}

struct Issuers {
    root: Founder,
    intermediate: Founder,
    operator: Founder,
}

impl Issuers {
    fn found(options: &InitOptions, now: UnixTime) -> Result<Self, InitError> {
        let life = Duration::from_secs(u64::from(options.root_years) * YEAR_S);
        let ends = now.plus(life);
        let base = &options.subject;
        let kind = options.key;
        let root = Founder::found(base, IssuerRole::Root, kind, None, &NOWHERE, ends, now)?;
        let ends = ends.min(now.plus(ISSUER_LIFETIME));
        let above = Some(&root);
        let sources = (options.publication.as_ref())
            .map_or(NOWHERE, |url| url.sources_of_issuer(&root.certificate));
        Ok(Self {
            intermediate: Founder::found(
                base,
                IssuerRole::Intermediate,
                kind,
                above,
                &sources,
                ends,
                now,
            )?,
            operator: Founder::found(base, IssuerRole::Operator, kind, above, &NOWHERE, ends, now)?,
            root,
        })
    }
}

/// Of the root's list nobody can say that it is not there yet.
fn first_list(root: &Founder, now: UnixTime) -> Result<GivenList, InitError> {
    let (number, life) = (now.seconds(), ROOT_CRL_LIFETIME);
    signed_list(root, BTreeSet::new(), &[], number, life, now)
}

/// A list that an issuer signs while the authority is made. Numbers never repeat, after a restore either: `number` is the later of
/// the last one plus one and the time.
pub(crate) fn signed_list(
    issuer: &Founder,
    serials: BTreeSet<SerialNumber>,
    entries: &[CrlEntry],
    number: u64,
    life: Duration,
    now: UnixTime,
) -> Result<GivenList, InitError> {
    let key = issuer.key.as_ref().ok_or(InitError::NoKey)?;
    let next_update = now.plus(life).min(issuer.certificate.not_after());
    let template = CrlTemplate {
        this_update: now,
        next_update,
        number,
        scope: CrlScope::default(),
    };
    let crl = template.to_be_signed(&issuer.certificate, key.key.algorithm(), entries);
    let signature = key.sign_crl(&crl)?;
    Ok(GivenList {
        issuer_key: issuer.certificate.spki(),
        number: Some(number),
        this_update: now,
        next_update,
        serials,
        der: crl.complete(&signature),
    })
}

impl Founder {
    /// A new key and its certificate. `above`: who signs; `None`: the key itself.
    pub(crate) fn found(
        base: &DistinguishedName,
        role: IssuerRole,
        kind: KeyKind,
        above: Option<&Self>,
        sources: &StatusSources,
        ends: UnixTime,
        now: UnixTime,
    ) -> Result<Self, InitError> {
        let key = GivenKey::generate(kind)?;
        let template = Template {
            subject: subject(base, role),
            subject_alt_names: Vec::new(),
            spki_der: key.spki_der().to_vec(),
            not_before: now.minus(BACKDATE),
            not_after: ends,
            serial: SerialNumber::from_random(random()?),
            usage: Usage::Authority {
                path_len: Some(u8::from(role == IssuerRole::Root)),
            },
            status_sources: sources.clone(),
            extra_extensions: Vec::new(),
        };
        let signing = match above {
            Some(above) => above.key.as_ref().ok_or(InitError::NoKey)?,
            None => &key,
        };
        let algorithm = signing.key.algorithm();
        let to_be_signed = match above {
            Some(above) => Template {
                not_before: template.not_before.max(above.certificate.not_before()),
                ..template
            }
            .to_be_signed(&above.certificate, algorithm)?,
            None => template.to_be_self_signed(algorithm)?,
        };
        refuse_lint(&to_be_signed, above.map(|above| &above.certificate))?;
        let signature = signing.key.sign(to_be_signed.bytes())?;
        let certificate = Certificate::parse(&to_be_signed.complete(&signature))?;
        Ok(Self {
            role,
            certificate,
            key: Some(key),
        })
    }
}

fn refuse_lint(to_be_signed: &ToBeSigned, issuer: Option<&Certificate>) -> Result<(), InitError> {
    let preview = to_be_signed.preview()?;
    match lint::check(&preview, issuer).into_iter().next() {
        Some(fault) => Err(InitError::Lint {
            subject: preview.subject().to_string(),
            fault,
        }),
        None => Ok(()),
    }
}

/// The O, where there is one, stands in the CN too, so that lists which show only the CN tell authorities apart.
pub(crate) fn subject(base: &DistinguishedName, role: IssuerRole) -> DistinguishedName {
    let suffix = match role {
        IssuerRole::Intermediate => "Issuing CA",
        IssuerRole::Operator => "Operator CA",
        IssuerRole::Root => "Root CA",
    };
    let organization = base
        .attributes()
        .iter()
        .rfind(|attribute| attribute.kind() == "O");
    let long = organization.map(|organization| format!("{} {suffix}", organization.value()));
    let name = long.and_then(|long| CommonName::parse(&long).ok());
    let name = name.unwrap_or_else(|| {
        CommonName::parse(&format!("Countersign {suffix}")).expect("short and printable")
    });
    base.append_common_name(&name)
}

pub(crate) fn generate_passphrase() -> Result<Secret, InitError> {
    let random = Zeroizing::new(random::<32>()?);
    Ok(Secret::new(URL_SAFE_NO_PAD.encode(*random).into_bytes()))
}

/// An id that no history has had.
pub(crate) fn new_history() -> Result<HistoryId, InitError> {
    Ok(HistoryId(URL_SAFE_NO_PAD.encode(random::<16>()?)))
}

fn random<const N: usize>() -> Result<[u8; N], InitError> {
    let mut bytes = [0; N];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_| InitError::NoRandomness)?;
    Ok(bytes)
}

const YEAR_S: u64 = 365 * 86_400;
const NOWHERE: StatusSources = StatusSources {
    crl: None,
    ocsp: None,
    ca_issuers: None,
};
