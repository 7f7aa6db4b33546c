//! `countersign ca adopt`: an existing CA becomes the authority.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use countersign_authority::adopt::{Adopted, Adoption, Issuing, Word, adopt};
use countersign_authority::init::DEFAULT_TRUST_DOMAIN;
use countersign_authority::sealed::KeyDerivation;
use countersign_authority::signing_key::GivenKey;
use countersign_authority::state::StateFolder;
use countersign_pki::certificate::Certificate;
use countersign_pki::compatibility::Objection;
use countersign_pki::crl::ParsedCrl;
use countersign_pki::dn::DistinguishedName;
use countersign_pki::pkcs12;
use countersign_pki::spiffe::TrustDomain;
use countersign_runtime::clock::{SharedClock, SystemClock};
use serde::Serialize;

use super::list_file;
use super::openssl_index;
use crate::backend::own_user;
use crate::certificate_file::{self, Contents, certificates_in, fault};
use crate::cli::arguments::{Globals, StateArgument};
use crate::cli::passphrase::PassphraseArgument;
use crate::fault::{Answer, Fault};
use crate::output::{escaped, tell};
use crate::password::PasswordSource;
use crate::private_key::{PrivateKey, locked};

/// Make an existing CA the authority: from openssl, step-ca, Vault, cfssl, or under a corporate root
///
/// Certificates and keys are judged before anything is made; the keys are sealed as `init` seals them, and the files stay as they
/// are. What the CAs have revoked has to be told, by their CRLs or by openssl's index, because their next CRLs are signed here. Operators and nodes get an issuer of their own, which is new. With a root alone and its key, an issuing CA is made below it;
/// without --key, the certificate is that of the request that `init --csr-out` made.
#[derive(Debug, Args)]
pub(crate) struct AdoptCommand {
    /// The certificate of the CA that issues, in PEM or DER; others in the file are those above it
    #[arg(long, visible_alias = "certificate", value_name = "FILE")]
    intermediate: Option<PathBuf>,
    /// Its private key, in PEM or DER: PKCS#8, encrypted or not, SEC 1 or PKCS#1
    #[arg(long, value_name = "FILE", requires = "intermediate")]
    key: Option<PathBuf>,
    /// A PKCS#12 file with the CA that issues, its key, and perhaps those above it
    #[arg(long, value_name = "FILE", conflicts_with_all = ["intermediate", "key"])]
    p12: Option<PathBuf>,
    /// The root, and CAs between it and the one that issues; may be repeated
    #[arg(long, visible_alias = "chain", value_name = "FILE")]
    root: Vec<PathBuf>,
    /// The root's private key; without it, the root's CRLs and further CAs are signed elsewhere
    #[arg(long, value_name = "FILE", requires = "root")]
    root_key: Option<PathBuf>,
    /// File with the password of encrypted keys and of the PKCS#12 file [default: asked for on the terminal]
    #[arg(long, visible_alias = "password-file", value_name = "FILE")]
    in_password_file: Option<PathBuf>,
    /// The latest CRL of one of the CAs: what it lists stays revoked, and its number goes on; may be repeated
    #[arg(long, value_name = "FILE")]
    crl: Vec<PathBuf>,
    /// Take a CRL that is past its nextUpdate: whatever was revoked after it is good again
    #[arg(long, requires = "crl")]
    accept_expired_crl: bool,
    /// A CA whose key is given, and of which neither a CRL nor an index is, has never revoked a certificate
    #[arg(long)]
    nothing_revoked: bool,
    /// Certificates that were issued before, a file or a folder such as openssl's newcerts; may be repeated
    #[arg(long, value_name = "FILE|DIR")]
    issued: Vec<PathBuf>,
    /// openssl's index.txt of the CA that issues: what it says is revoked stays revoked
    #[arg(long, value_name = "FILE")]
    index: Option<PathBuf>,
    /// Subject of the new CAs; "… Operator CA" is appended [default: as in the CA that issues]
    #[arg(long, value_name = "DN", value_parser = DistinguishedName::parse)]
    subject: Option<DistinguishedName>,
    /// Trust domain of SPIFFE IDs [default: countersign.internal, or what `init --csr-out` was told]
    #[arg(long, value_name = "NAME", value_parser = TrustDomain::parse)]
    trust_domain: Option<TrustDomain>,
    #[command(flatten)]
    passphrase: PassphraseArgument,
    #[command(flatten)]
    state: StateArgument,
}

/// What is in place.
#[derive(Debug, Serialize)]
struct Done {
    state: PathBuf,
    ca: PathBuf,
    issuing: String,
    issuing_not_after: String,
    between: Vec<String>,
    root: String,
    root_fingerprint: String,
    /// What it has signed itself with, if that can be forged.
    #[serde(skip_serializing_if = "Option::is_none")]
    root_signed_with: Option<String>,
    /// Clients that refuse whatever stands below these CAs.
    objections: Vec<Objected>,
    root_key: bool,
    trust_domain: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    passphrase: Option<PathBuf>,
    certificates: usize,
    revocations: usize,
    left_out: Vec<String>,
    without_crl: Vec<String>,
}

#[derive(Debug, Serialize)]
struct Objected {
    client: &'static str,
    why: String,
    source: &'static str,
}

impl AdoptCommand {
    /// Runs it.
    pub(crate) fn run(mut self, globals: &Globals) -> Result<Answer, Fault> {
        self.passphrase = self.passphrase.within(globals);
        let state = StateFolder::prepare(&self.state.folder(globals)?)?;
        let adoption = self.adoption(&state)?;
        let lock = state.lock()?;
        let clock: SharedClock = Arc::new(SystemClock);
        let adopted = adopt(&state, &lock, adoption, &clock)?;
        let done = Done::new(&state, adopted);
        for file in &done.left_out {
            tell(&format!(
                "note: {} is left out: none of these CAs has issued it",
                escaped(file)
            ));
        }
        if let Some(algorithm) = &done.root_signed_with {
            tell(&format!(
                "warning: {} has signed itself with {algorithm}; nobody has to rely on that, but some verifiers refuse such a root",
                escaped(&done.root)
            ));
        }
        for Objected {
            client,
            why,
            source,
        } in &done.objections
        {
            tell(&format!(
                "warning: refused by {client}: {} ({source})",
                escaped(why)
            ));
        }
        globals.output().answer(&done, Done::text)?;
        Ok(Answer::Yes)
    }

    /// Everything is read before the state is touched.
    fn adoption(&self, state: &StateFolder) -> Result<Adoption, Fault> {
        let password = PasswordSource::of(self.in_password_file.as_deref());
        let mut above = Vec::new();
        for file in &self.root {
            above.extend(read_certificates(file)?);
        }
        let issuing = self.issuing(state, &mut above, &password)?;
        let root_key = self.root_key.as_deref();
        let root_key = root_key.map(|file| key_in(file, &password)).transpose()?;
        let mut lists = Vec::new();
        for file in &self.crl {
            let der = list_file::read(file)?;
            let list = ParsedCrl::parse(&der).map_err(|error| fault(file, &error))?;
            lists.push((file.display().to_string(), list));
        }
        let mut issued = Vec::new();
        for path in &self.issued {
            issued.extend(issued_in(path)?);
        }
        let index = self.index.as_deref();
        Ok(Adoption {
            issuing,
            above,
            root_key,
            lists,
            issued,
            index: index.map(openssl_index::revoked).transpose()?,
            word: Word {
                nothing_revoked: self.nothing_revoked,
                expired_lists: self.accept_expired_crl,
            },
            subject: self.subject.clone(),
            trust_domain: match &self.trust_domain {
                Some(trust_domain) => trust_domain.clone(),
                None => TrustDomain::parse(DEFAULT_TRUST_DOMAIN).map_err(Fault::bug)?,
            },
            passphrase: self.passphrase.new_one()?,
            key_derivation: KeyDerivation::default(),
            actor: own_user(),
        })
    }

    fn issuing(
        &self,
        state: &StateFolder,
        above: &mut Vec<Certificate>,
        password: &PasswordSource,
    ) -> Result<Issuing, Fault> {
        if let Some(file) = &self.p12 {
            let (certificate, key, others) = in_pkcs12(file, password)?;
            above.extend(others);
            return Ok(Issuing::Given {
                certificate: Box::new(certificate),
                key,
            });
        }
        let Some(file) = &self.intermediate else {
            if above.is_empty() {
                return Err(Fault::configuration("no CA was given").hint(
                    "--intermediate FILE --key FILE --root FILE give one from PEM files, --p12 FILE --root FILE from PKCS#12, --root FILE --root-key FILE a root alone",
                ));
            }
            // The first is the root whose key is given; whether it is one is judged with the rest.
            return Ok(Issuing::MadeUnder(Box::new(above.remove(0))));
        };
        let mut certificates = read_certificates(file)?;
        let certificate = Box::new(certificates.remove(0));
        above.extend(certificates);
        match &self.key {
            Some(key) => Ok(Issuing::Given {
                certificate,
                key: key_in(key, password)?,
            }),
            None if state.has_pending_request() && self.trust_domain.is_some() => Err(
                Fault::configuration("the trust domain was chosen with the request")
                    .hint("leave --trust-domain out"),
            ),
            None => Ok(Issuing::Requested(certificate)),
        }
    }
}

fn read_certificates(file: &Path) -> Result<Vec<Certificate>, Fault> {
    certificates_in(file).map_err(|fault| {
        fault.or_hint("nothing was adopted; `countersign inspect FILE` says what a file holds")
    })
}

fn key_in(file: &Path, password: &PasswordSource) -> Result<GivenKey, Fault> {
    given(file, &PrivateKey::read(file, password)?)
}

fn given(file: &Path, key: &PrivateKey) -> Result<GivenKey, Fault> {
    GivenKey::from_pkcs8(key.pkcs8()).ok_or_else(|| {
        fault(file, &"nothing is signed here with a key of its kind")
            .hint("ECDSA P-256 and P-384, Ed25519, and RSA of 2048 to 4096 bits are used here")
    })
}

/// The certificate of the one key in the file, the key, and the other certificates.
fn in_pkcs12(
    file: &Path,
    password: &PasswordSource,
) -> Result<(Certificate, GivenKey, Vec<Certificate>), Fault> {
    let Contents::Der(der) = certificate_file::read(file)? else {
        return Err(fault(file, &"the file is PEM, not PKCS#12")
            .hint("--intermediate FILE and --key FILE take PEM"));
    };
    let password = password.get(file)?;
    let contents = pkcs12::Contents::open(&der, &password).map_err(|error| locked(file, &error))?;
    let [key] = &contents.keys[..] else {
        let found = contents.keys.len();
        return Err(fault(
            file,
            &format_args!("the file holds {found} private keys, not one"),
        )
        .hint("`countersign inspect FILE` says what it holds"));
    };
    let key = PrivateKey::of_der(&key.pkcs8)
        .ok_or_else(|| fault(file, &"the private key is of no kind that is known here"))?;
    let certificates = contents.certificates.into_iter().map(|it| it.certificate);
    let (own, others): (Vec<_>, Vec<_>) =
        certificates.partition(|it| it.spki_der() == key.spki_der());
    let key = given(file, &key)?;
    match own.into_iter().next() {
        Some(certificate) => Ok((certificate, key, others)),
        None => Err(fault(file, &"the file holds no certificate for its private key")
            .hint("give the certificate with --intermediate and the key, taken out with openssl, with --key")),
    }
}

/// Of a folder, whatever is a certificate: beside them lie requests and keys.
fn issued_in(path: &Path) -> Result<Vec<(String, Certificate)>, Fault> {
    let named = |file: &Path, certificates: Vec<Certificate>| {
        let name = file.display().to_string();
        certificates
            .into_iter()
            .map(move |certificate| (name.clone(), certificate))
    };
    if !path.is_dir() {
        return Ok(named(path, read_certificates(path)?).collect());
    }
    let entries = fs::read_dir(path).map_err(|error| fault(path, &error))?;
    let mut files: Vec<PathBuf> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|file| file.is_file())
        .collect();
    files.sort();
    let mut found = Vec::new();
    for file in files {
        match certificates_in(&file) {
            Ok(certificates) => found.extend(named(&file, certificates)),
            Err(fault) => tell(&format!("note: left out: {}", fault.sentence())),
        }
    }
    Ok(found)
}

fn objected(objection: Objection) -> Objected {
    Objected {
        client: objection.client,
        why: objection.why,
        source: objection.source,
    }
}

impl Done {
    fn new(state: &StateFolder, adopted: Adopted) -> Self {
        let subject = |certificate: &Certificate| certificate.subject().to_string();
        Self {
            state: state.path().to_owned(),
            ca: state.ca_pem(),
            issuing: subject(&adopted.issuing),
            issuing_not_after: adopted.issuing.not_after().to_string(),
            between: adopted.between.iter().map(subject).collect(),
            root: subject(&adopted.root),
            root_fingerprint: adopted.root.fingerprint().to_string(),
            root_signed_with: adopted.forgeable_root,
            objections: adopted.objections.into_iter().map(objected).collect(),
            root_key: adopted.has_root_key,
            trust_domain: adopted.trust_domain.to_string(),
            passphrase: adopted.passphrase_kept.then(|| state.passphrase()),
            certificates: adopted.certificates,
            revocations: adopted.revocations,
            left_out: adopted.left_out,
            without_crl: adopted.without_list,
        }
    }

    fn text(&self) -> String {
        let mut text = String::new();
        let mut line = |line: std::fmt::Arguments<'_>| {
            text.write_fmt(line).expect("a String takes everything");
            text.push('\n');
        };
        line(format_args!(
            "adopted a certificate authority into {}",
            self.state.display()
        ));
        line(format_args!(
            "  issuing CA   {} (until {})",
            self.issuing, self.issuing_not_after
        ));
        for subject in &self.between {
            line(format_args!("  below        {subject}"));
        }
        line(format_args!(
            "  root         {} ({})",
            self.root,
            self.ca.display()
        ));
        line(format_args!("  sha-256      {}", self.root_fingerprint));
        line(format_args!(
            "  root key     {}",
            if self.root_key {
                "sealed here"
            } else {
                "elsewhere: it is needed for the root's CRL (`countersign ca crl --root --root-key FILE`) and for further CAs"
            }
        ));
        line(format_args!("  trust domain {}", self.trust_domain));
        if let Some(path) = &self.passphrase {
            line(format_args!(
                "  passphrase   {} (move it away from the keys that it seals)",
                path.display()
            ));
        }
        line(format_args!(
            "  inventory    {} certificates, {} revocations",
            self.certificates, self.revocations
        ));
        for subject in &self.without_crl {
            line(format_args!(
                "  no CRL of    {subject} in force: `countersign ca crl import FILE` takes one"
            ));
        }
        text
    }
}
