//! What is exported: a certificate, the chain above it and its key, out of a folder, a file or the inventory.

use std::path::{Path, PathBuf};

use countersign_authority::api::{self, CertificateStatus, ShowResponse, ShownCertificate};
use countersign_pki::certificate::Certificate;
use countersign_pki::fingerprint::Fingerprint;
use countersign_pki::name::TypedName;
use countersign_pki::pem;
use countersign_pki::pkcs12;
use countersign_store::inventory::principal;

use super::{CERTIFICATE as HOLDS_CERTIFICATE, INTERMEDIATE, KEY as HOLDS_KEY, ROOT};
use crate::backend::{Backend, block_on};
use crate::certificate_file::{self, Contents, fault};
use crate::cli::arguments::Asked;
use crate::fault::Fault;
use crate::identity_files::{CA, CERTIFICATE, KEY};
use crate::output::escaped;
use crate::password::PasswordSource;
use crate::private_key::{PrivateKey, locked};

/// What an export needs of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    /// Leaf and intermediates.
    Chain,
    /// All of it, the key above all.
    Key,
    /// The root alone.
    Root,
}

/// A certificate with what belongs to it.
#[derive(Debug)]
pub(super) struct Material {
    /// Leaf first, then what issued it; without the root.
    pub(super) chain: Vec<Certificate>,
    /// Where it is known.
    pub(super) root: Option<Certificate>,
    key: Option<PrivateKey>,
}

/// Certificates and perhaps a key, as they were found.
struct Found {
    /// The leaf.
    leaf: Certificate,
    /// Candidates for what stands above it.
    others: Vec<Certificate>,
    key: Option<PrivateKey>,
}

impl Material {
    /// `what` is a folder, a file, or something in the inventory, which `look_up` asks. The key's public half must be that of
    /// the certificate.
    pub(super) fn find(
        what: &str,
        key_file: Option<&Path>,
        wanted: Wanted,
        password: &PasswordSource,
        look_up: impl FnOnce() -> Result<Vec<Issued>, Fault>,
    ) -> Result<Self, Fault> {
        let path = Path::new(what);
        let named = key_file
            .map(|file| PrivateKey::read(file, password))
            .transpose()?;
        let mut found = if path.is_dir() && (what.contains('/') || path.join(CERTIFICATE).is_file())
        {
            in_folder(path, wanted, named, password)?
        } else if is_file_name(path) {
            in_file(path, wanted, named, password)?
        } else {
            choose(look_up()?, what, wanted, named)?
        };
        if wanted == Wanted::Key {
            let key = found.key.as_ref().ok_or_else(|| no_key(what))?;
            matches(key, &found.leaf)?;
        } else {
            found.key = None;
        }
        Ok(Self::assemble(found))
    }

    /// The path from the leaf up, by the names of issuers.
    fn assemble(found: Found) -> Self {
        let mut chain = vec![found.leaf];
        let mut root = None;
        while chain.len() <= MAX_CHAIN {
            let top = &chain[chain.len() - 1];
            if is_self_issued(top) {
                // WHAT is a root itself, and nothing stands above it.
                root = Some(top.clone());
                break;
            }
            let is_next = |it: &&Certificate| {
                it.subject_der() == top.issuer_der()
                    && chain.iter().all(|have| have.der() != it.der())
            };
            let Some(next) = found.others.iter().find(is_next) else {
                break;
            };
            if is_self_issued(next) {
                root = Some(next.clone());
                break;
            }
            chain.push(next.clone());
        }
        Self {
            chain,
            root,
            key: found.key,
        }
    }

    pub(super) fn leaf(&self) -> &Certificate {
        &self.chain[0]
    }

    /// Which [`Wanted::Key`] asked for.
    pub(super) fn key(&self) -> Result<&PrivateKey, Fault> {
        self.key
            .as_ref()
            .ok_or_else(|| Fault::bug("an export that needs a key was given none"))
    }

    /// Leaf to root.
    pub(super) fn whole_chain(&self) -> impl Iterator<Item = &Certificate> {
        let above = self
            .root
            .iter()
            .filter(|root| root.der() != self.leaf().der());
        self.chain.iter().chain(above)
    }

    /// The name that is shown first.
    pub(super) fn name(&self) -> String {
        let leaf = self.leaf();
        principal(leaf.names()).map_or_else(|| leaf.subject().to_string(), TypedName::bare)
    }

    /// The parts, for the report.
    pub(super) fn holds(&self) -> Vec<&'static str> {
        let mut parts = self.holds_below_root();
        parts.extend(self.root.as_ref().map(|_| ROOT));
        parts
    }

    /// The same without the root.
    pub(super) fn holds_below_root(&self) -> Vec<&'static str> {
        let mut parts = vec![HOLDS_CERTIFICATE];
        parts.extend(self.chain.iter().skip(1).map(|_| INTERMEDIATE));
        parts.push(HOLDS_KEY);
        parts
    }
}

/// A certificate of the inventory.
#[derive(Debug)]
pub(super) struct Issued {
    status: CertificateStatus,
    certificate: Certificate,
    issuers: Vec<Certificate>,
}

/// Everything that `what` means there.
pub(super) fn in_inventory(what: &str, asked: &Asked) -> Result<Vec<Issued>, Fault> {
    let shown: ShowResponse = block_on(async {
        let backend = Backend::connect(asked).await?;
        Ok(backend.client.get(&api::show_path(what)).await?)
    })?;
    let issued = |shown: ShownCertificate| -> Result<Option<Issued>, Fault> {
        // Without bytes it is not known whether it was signed.
        let Some(pem) = &shown.pem else {
            return Ok(None);
        };
        let mut own = certificates(pem)?;
        let issuers = shown.issuers_pem.as_deref().map(certificates).transpose()?;
        Ok(own.pop().map(|certificate| Issued {
            status: shown.certificate.status,
            certificate,
            issuers: issuers.unwrap_or_default(),
        }))
    };
    shown
        .certificates
        .into_iter()
        .filter_map(|it| issued(it).transpose())
        .collect()
}

/// The one that is meant: of the key, if there is one; else the only one, or the only valid one.
fn choose(
    issued: Vec<Issued>,
    what: &str,
    wanted: Wanted,
    key: Option<PrivateKey>,
) -> Result<Found, Fault> {
    let what = escaped(what);
    if wanted == Wanted::Key && key.is_none() {
        return Err(no_key(&what));
    }
    let total = issued.len();
    let of_key = |it: &Issued| {
        key.as_ref()
            .is_none_or(|key| key.spki_der() == it.certificate.spki_der())
    };
    let mut candidates: Vec<Issued> = issued.into_iter().filter(of_key).collect();
    if candidates.is_empty() && total > 0 {
        return Err(Fault::configuration(format_args!(
            "none of the {total} certificates of {what} has the key of this file"
        ))
        .hint("`countersign list --spki HASH` finds the certificates of a key, `countersign inspect` says a key's hash"));
    }
    if candidates.len() > 1 {
        candidates.retain(|it| it.status == CertificateStatus::Live);
    }
    // Newest first; which of a name's certificates is meant matters only where the leaf itself is exported.
    let ambiguous = candidates.len() > 1 && key.is_none() && wanted != Wanted::Root;
    if ambiguous {
        return Err(Fault::configuration(format_args!(
            "{what} means {} valid certificates",
            candidates.len()
        ))
        .hint("name one by its serial number: `countersign list --name NAME` shows them"));
    }
    let Some(chosen) = candidates.into_iter().next() else {
        return Err(
            Fault::denied(format_args!("{what} has no valid certificate")).hint(
                "`countersign show NAME` shows what there is, `countersign issue` makes a new one",
            ),
        );
    };
    if chosen.status == CertificateStatus::Revoked {
        return Err(Fault::denied(format_args!(
            "the certificate {} is revoked",
            chosen.certificate.serial()
        ))
        .hint("`countersign issue` makes a new one"));
    }
    Ok(Found {
        leaf: chosen.certificate,
        others: chosen.issuers,
        key,
    })
}

fn in_folder(
    folder: &Path,
    wanted: Wanted,
    key: Option<PrivateKey>,
    password: &PasswordSource,
) -> Result<Found, Fault> {
    let certificate = folder.join(CERTIFICATE);
    if !certificate.is_file() {
        return Err(Fault::configuration(format_args!(
            "{} holds no {CERTIFICATE}",
            folder.display()
        ))
        .hint("name a folder that `countersign issue` wrote, or a certificate file"));
    }
    in_file(&certificate, wanted, key, password)
}

/// A file, with `ca.pem` and `key.pem` beside it where it does not hold them itself.
fn in_file(
    path: &Path,
    wanted: Wanted,
    key: Option<PrivateKey>,
    password: &PasswordSource,
) -> Result<Found, Fault> {
    let read = certificate_file::read(path)
        .map_err(|fault| fault.or_hint("name a certificate file, PEM or DER, or a PKCS#12 file"))?;
    let blocks = match read {
        Contents::Der(der) if pkcs12::Contents::is_one(&der) => {
            return in_pkcs12(path, &der, key, password);
        }
        Contents::Der(der) => vec![pem::Block {
            label: "CERTIFICATE".to_owned(),
            der: der.to_vec(),
        }],
        Contents::Pem(blocks) => blocks,
    };
    let is_certificate = |block: &&pem::Block| block.label == "CERTIFICATE";
    let mut pool = blocks
        .iter()
        .filter(is_certificate)
        .map(|block| Certificate::parse(&block.der).map_err(|error| fault(path, &error)))
        .collect::<Result<Vec<_>, _>>()?;
    if pool.is_empty() {
        return Err(fault(path, &"the file holds no certificate")
            .hint("`countersign inspect FILE` says what it holds"));
    }
    let leaf = pool.remove(0);
    let beside = |name: &str| -> Option<PathBuf> {
        let file = path.parent()?.join(name);
        (file.is_file() && file != path).then_some(file)
    };
    if let Some(ca) = beside(CA) {
        pool.extend(certificate_file::certificates_in(&ca)?);
    }
    let key = match (wanted, key) {
        (_, Some(key)) => Some(key),
        (Wanted::Key, None) => match PrivateKey::in_blocks(path, blocks, password)? {
            Some(key) => Some(key),
            None => beside(KEY)
                .map(|file| PrivateKey::read(&file, password))
                .transpose()?,
        },
        (Wanted::Chain | Wanted::Root, None) => None,
    };
    Ok(Found {
        leaf,
        others: pool,
        key,
    })
}

fn in_pkcs12(
    path: &Path,
    der: &[u8],
    key: Option<PrivateKey>,
    password: &PasswordSource,
) -> Result<Found, Fault> {
    let password = password.get(path)?;
    let contents = pkcs12::Contents::open(der, &password).map_err(|error| locked(path, &error))?;
    let own: Vec<PrivateKey> = contents
        .keys
        .iter()
        .filter_map(|key| PrivateKey::of_der(&key.pkcs8))
        .collect();
    let mut pool: Vec<Certificate> = contents
        .certificates
        .into_iter()
        .map(|entry| entry.certificate)
        .collect();
    if own.len() > 1 && key.is_none() {
        return Err(
            fault(path, &format_args!("the file holds {} keys", own.len()))
                .hint("`openssl pkcs12 -in FILE -nodes` splits it"),
        );
    }
    let key = key.or_else(|| own.into_iter().next());
    // The leaf is the key's certificate; where there is no key, one that issued none of the others.
    let of_key = |it: &Certificate| {
        key.as_ref()
            .is_some_and(|key| key.spki_der() == it.spki_der())
    };
    let issued_none = |at: usize| {
        !pool
            .iter()
            .enumerate()
            .any(|(other, it)| other != at && it.issuer_der() == pool[at].subject_der())
    };
    let leaf = pool
        .iter()
        .position(of_key)
        .or_else(|| (0..pool.len()).find(|at| key.is_none() && issued_none(*at)))
        .ok_or_else(|| {
            fault(path, &"the file holds no certificate of its key")
                .hint("`countersign inspect FILE` says what it holds")
        })?;
    let leaf = pool.swap_remove(leaf);
    Ok(Found {
        leaf,
        others: pool,
        key,
    })
}

fn matches(key: &PrivateKey, certificate: &Certificate) -> Result<(), Fault> {
    if key.spki_der() == certificate.spki_der() {
        return Ok(());
    }
    Err(Fault::configuration(format_args!(
        "the private key is not that of the certificate: its public half has the SHA-256 {}, the certificate's {}",
        Fingerprint::of(key.spki_der()),
        certificate.spki()
    ))
    .hint("`countersign inspect FILE` shows the hash of a key and of a certificate; `--key FILE` names the right key"))
}

fn no_key(what: &str) -> Fault {
    Fault::configuration(format_args!(
        "no private key is known for {}: the authority never has one",
        escaped(what)
    ))
    .hint("name the folder that `countersign issue` wrote, or the key with `--key FILE`")
}

fn certificates(pem: &str) -> Result<Vec<Certificate>, Fault> {
    let blocks = pem::decode_all(pem.as_bytes()).map_err(Fault::bug)?;
    let parsed = blocks.iter().map(|block| Certificate::parse(&block.der));
    parsed.collect::<Result<_, _>>().map_err(Fault::bug)
}

fn is_self_issued(certificate: &Certificate) -> bool {
    certificate.subject_der() == certificate.issuer_der()
}

fn is_file_name(path: &Path) -> bool {
    let extension = path
        .extension()
        .and_then(|it| it.to_str())
        .unwrap_or_default();
    path.is_file() || ["cer", "crt", "der", "p12", "pem", "pfx"].contains(&extension)
}

/// webpki builds no path over more than six intermediates.
const MAX_CHAIN: usize = 8;
