//! The first run: root, intermediate and operator issuer, sealed keys, the root's CRL, the inventory.
//!
//! Everything is built in a scaffold (`scaffold.rs`) and then moved out of it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use countersign_pki::certificate::{Certificate, MalformedCertificate};
use countersign_pki::crl::{CrlScope, CrlTemplate};
use countersign_pki::dn::DistinguishedName;
use countersign_pki::feed::{HistoryId, Sequence};
use countersign_pki::fingerprint::Fingerprint;
use countersign_pki::lint::{self, LintFault};
use countersign_pki::name::CommonName;
use countersign_pki::pem;
use countersign_pki::serial::SerialNumber;
use countersign_pki::spiffe::TrustDomain;
use countersign_pki::tbs::{StatusSources, Template, TemplateError, ToBeSigned, Usage};
use countersign_pki::time::UnixTime;
use countersign_policy::issuance::Actor;
use countersign_runtime::clock::SharedClock;
use countersign_store::error::StoreError;
use countersign_store::issuer::IssuerRole;
use countersign_store::store::{Founding, Store};
use zeroize::Zeroizing;

use crate::meta::Meta;
use crate::scaffold::{self, create_folder, write};
use crate::sealed::{self, KeyDerivation, SealError};
use crate::secret::Secret;
use crate::signer::{NewKey, SignError};
use crate::signing_key::KeyKind;
use crate::state::{FORMAT_TEXT, StateError, StateFolder, StateLock};

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
/// nextUpdate of the root's CRL.
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
    let now = UnixTime::from_seconds(clock.unix_seconds());
    let issuers = Issuers::found(&options, now)?;

    scaffold::clear(state)?;
    let scaffold = state.scaffold();
    create_folder(&scaffold)?;
    let passphrase_generated = options.passphrase.is_none();
    issuers.write(&scaffold.join("ca"), &options, now)?;
    write(
        &scaffold.join("ca.pem"),
        pem_of(&issuers.root.certificate).as_bytes(),
        0o644,
    )?;
    let meta = Meta {
        trust_domain: options.trust_domain.clone(),
        created_at: now,
        subject: options.subject.to_string(),
    };
    write(
        &scaffold.join("meta.json"),
        meta.to_json().as_bytes(),
        0o600,
    )?;
    write(&scaffold.join("format"), FORMAT_TEXT.as_bytes(), 0o600)?;
    Store::create(&scaffold.join("inventory.db"), &issuers.founding(now)?)?;
    scaffold::move_out(state)?;

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
    /// The operating system has none.
    #[error("the operating system gives no randomness")]
    NoRandomness,
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
    root: NewIssuer,
    intermediate: NewIssuer,
    operator: NewIssuer,
}

struct NewIssuer {
    role: IssuerRole,
    certificate: Certificate,
    key: NewKey,
}

impl Issuers {
    fn found(options: &InitOptions, now: UnixTime) -> Result<Self, InitError> {
        let life = Duration::from_secs(u64::from(options.root_years) * YEAR_S);
        let ends = now.plus(life);
        let root = NewIssuer::found(options, IssuerRole::Root, None, ends, now)?;
        let ends = ends.min(now.plus(ISSUER_LIFETIME));
        Ok(Self {
            intermediate: NewIssuer::found(
                options,
                IssuerRole::Intermediate,
                Some(&root),
                ends,
                now,
            )?,
            operator: NewIssuer::found(options, IssuerRole::Operator, Some(&root), ends, now)?,
            root,
        })
    }

    fn write(&self, folder: &Path, options: &InitOptions, now: UnixTime) -> Result<(), InitError> {
        create_folder(folder)?;
        let passphrase = if let Some(given) = &options.passphrase {
            given.clone()
        } else {
            let generated = generate_passphrase()?;
            write(
                &folder.join("passphrase"),
                &[generated.expose(), b"\n"].concat(),
                0o600,
            )?;
            generated
        };
        for issuer in [&self.root, &self.intermediate, &self.operator] {
            let sealed = sealed::seal(
                issuer.key.pkcs8(),
                issuer.role,
                &passphrase,
                options.key_derivation,
            )?;
            write(
                &folder.join(format!("{}.key.sealed", issuer.role)),
                sealed.as_bytes(),
                0o600,
            )?;
            write(
                &folder.join(format!("{}.pem", issuer.role)),
                pem_of(&issuer.certificate).as_bytes(),
                0o644,
            )?;
        }
        let crl = CrlTemplate {
            this_update: now,
            next_update: now
                .plus(ROOT_CRL_LIFETIME)
                .min(self.root.certificate.not_after()),
            // Numbers never repeat, after a restore either: the later of the last and the time.
            number: now.seconds(),
            scope: CrlScope::default(),
        };
        let algorithm = self.root.key.algorithm();
        let crl = crl.to_be_signed(&self.root.certificate, algorithm, &[]);
        let signature = self.root.key.sign_crl(&crl)?;
        let crl = crl.complete(&signature);
        write(
            &folder.join("root.crl"),
            pem::encode("X509 CRL", &crl).as_bytes(),
            0o644,
        )?;
        Ok(())
    }

    fn founding(&self, now: UnixTime) -> Result<Founding, InitError> {
        Ok(Founding {
            history: new_history()?,
            base: Sequence(now.seconds()),
            issuers: [&self.root, &self.intermediate, &self.operator]
                .map(|issuer| (issuer.role, issuer.certificate.clone()))
                .to_vec(),
            actor: Actor::Authority,
            now,
        })
    }
}

impl NewIssuer {
    fn found(
        options: &InitOptions,
        role: IssuerRole,
        above: Option<&Self>,
        ends: UnixTime,
        now: UnixTime,
    ) -> Result<Self, InitError> {
        let key = NewKey::generate(options.key)?;
        let template = Template {
            subject: subject(&options.subject, role),
            subject_alt_names: Vec::new(),
            spki_der: key.spki_der().to_vec(),
            not_before: now.minus(BACKDATE),
            not_after: ends,
            serial: SerialNumber::from_random(random()?),
            usage: Usage::Authority {
                path_len: Some(u8::from(role == IssuerRole::Root)),
            },
            status_sources: StatusSources::default(),
            extra_extensions: Vec::new(),
        };
        let to_be_signed = match above {
            Some(above) => template.to_be_signed(&above.certificate, above.key.algorithm())?,
            None => template.to_be_self_signed(key.algorithm())?,
        };
        refuse_lint(&to_be_signed, above.map(|above| &above.certificate))?;
        let signature = above
            .map_or(&key, |above| &above.key)
            .sign_issuer(&to_be_signed)?;
        let certificate = Certificate::parse(&to_be_signed.complete(&signature))?;
        Ok(Self {
            role,
            certificate,
            key,
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
fn subject(base: &DistinguishedName, role: IssuerRole) -> DistinguishedName {
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

fn generate_passphrase() -> Result<Secret, InitError> {
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

fn pem_of(certificate: &Certificate) -> String {
    pem::encode("CERTIFICATE", certificate.der())
}

const YEAR_S: u64 = 365 * 86_400;
