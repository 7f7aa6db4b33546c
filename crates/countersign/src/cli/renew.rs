//! `countersign renew`: the next certificate for the same names, under a new key.

use std::fs;
use std::path::{Path, PathBuf};

use clap::Args;
use countersign_authority::api::{self, IssueResponse, OwnRenewRequest, RenewRequest};
use countersign_pki::certificate::Certificate;
use countersign_pki::fingerprint::Fingerprint;
use countersign_pki::pem;

use crate::backend::{Backend, block_on, existing};
use crate::certificate_file::{certificate_in, certificates_in};
use crate::cli::arguments::{Asked, AuthorityArguments, Globals};
use crate::cli::issue::{Written, deliver};
use crate::cli::show::what_is_meant;
use crate::fault::{Answer, Fault};
use crate::identity_files::{CA, CERTIFICATE, Destination, Existing, KEY};
use crate::leaf_key::{KeyKind, LeafKey};
use crate::output::{escaped, tell};

/// Renew a certificate: a new key, the same names; a revoked one cannot be renewed
#[derive(Debug, Args)]
pub(crate) struct RenewCommand {
    /// A folder with cert.pem and key.pem, or an identity of the state (`you`): its files are replaced; else a certificate
    /// file, name, serial or fingerprint
    #[arg(value_name = "WHAT|DIR")]
    what: String,
    /// Where the files go [default: where they lie]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Replace files that are in the folder of --out
    #[arg(long, requires = "out")]
    force: bool,
    /// Replace ca.pem too where the authority sends another CA: from then on its holder trusts that one
    #[arg(long)]
    replace_ca: bool,
    #[command(flatten)]
    authority: AuthorityArguments,
}

impl RenewCommand {
    /// Runs it.
    pub(crate) fn run(self, globals: &Globals) -> Result<Answer, Fault> {
        let asked = self.authority.asked(globals)?;
        // The state keeps identities of its own: `renew you` means that one.
        let kept = match &asked {
            Asked::Elsewhere(_) => None,
            Asked::Here { state, .. } => Some(existing(state)?.identity(&self.what)),
        };
        let home = home_of(Path::new(&self.what)).or_else(|| home_of(&kept?));
        // Of the kind that the old key is, where that is at hand.
        let (what, kind) = match &home {
            Some(folder) => {
                let certificate = certificate_in(&folder.join(CERTIFICATE))?;
                let kind = KeyKind::of(certificate.public_key_algorithm());
                (certificate.fingerprint().to_string(), kind)
            }
            None => (what_is_meant(&self.what)?, None),
        };
        let (out, existing) = match (self.out, home) {
            (Some(out), _) => (
                out,
                if self.force {
                    Existing::Replace
                } else {
                    Existing::Keep
                },
            ),
            (None, Some(folder)) => (folder, Existing::Replace),
            (None, None) => {
                return Err(Fault::configuration(format_args!(
                    "it is not known where the files of {} lie",
                    self.what
                ))
                .hint("name their folder, or a place for the new ones with `--out DIR`; `countersign list` shows what there is"));
            }
        };
        let key = LeafKey::generate(kind.unwrap_or_default())?;
        let csr = pem::encode("CERTIFICATE REQUEST", &key.request()?);
        // Whatever an operator may do, its own certificate it may renew.
        let is_own = match &asked {
            Asked::Elsewhere(operator) => {
                let presented = operator.presented();
                presented.is_some_and(|presented| presented.to_string() == what)
            }
            Asked::Here { .. } => false,
        };
        // Read before anything is issued: what its holder trusts is no matter of a renewal.
        let trusted = match existing {
            Existing::Replace if !self.replace_ca => TrustedCa::read(&out)?,
            _ => None,
        };
        let destination = Destination::prepare(&out, existing)?;
        let mut response: IssueResponse = block_on(async {
            let backend = Backend::connect(&asked).await?;
            backend.issuing().await?;
            if is_own {
                let request = OwnRenewRequest { csr };
                backend.issue(api::RENEW_OWN, &request).await
            } else {
                let request = RenewRequest { what, csr };
                backend.issue(api::RENEW, &request).await
            }
        })?;
        if let Some(trusted) = trusted {
            response.ca_pem = trusted.instead_of(response.ca_pem);
        }
        let written = deliver(destination, &out, Some(&key), response, None)?;
        globals.output().answer(&written, Written::text)?;
        Ok(Answer::Yes)
    }
}

/// The CA that the holder of a folder trusts.
struct TrustedCa {
    path: PathBuf,
    pem: String,
    fingerprints: Vec<Fingerprint>,
}

impl TrustedCa {
    /// `None`: there is none yet.
    fn read(folder: &Path) -> Result<Option<Self>, Fault> {
        let path = folder.join(CA);
        if !path.exists() {
            return Ok(None);
        }
        let anchors = certificates_in(&path).map_err(|fault| fault.or_hint(REPLACE))?;
        let pem = fs::read_to_string(&path).map_err(|error| {
            Fault::configuration(format_args!("{}: {error}", path.display())).hint(REPLACE)
        })?;
        Ok(Some(Self {
            path,
            pem,
            fingerprints: anchors.iter().map(Certificate::fingerprint).collect(),
        }))
    }

    /// What the file holds afterwards: as before, unless the authority sends the same.
    fn instead_of(self, sent: String) -> String {
        let blocks = pem::decode_all(sent.as_bytes()).unwrap_or_default();
        let sent_ones: Vec<Fingerprint> = blocks
            .iter()
            .map(|block| Fingerprint::of(&block.der))
            .collect();
        if sent_ones == self.fingerprints {
            return sent;
        }
        let list: Vec<String> = sent_ones.iter().map(ToString::to_string).collect();
        tell(&format!(
            "warning: the authority sent another CA ({}); {} stays as it is\nhint: {REPLACE}",
            list.join(", "),
            escaped(&self.path.display().to_string())
        ));
        self.pem
    }
}

/// The folder of an identity, named by itself or by its certificate.
fn home_of(what: &Path) -> Option<PathBuf> {
    if what.join(CERTIFICATE).is_file() {
        return Some(what.to_owned());
    }
    let folder = what.parent()?;
    let named = what.is_file() && what.file_name()? == CERTIFICATE && folder.join(KEY).is_file();
    named.then(|| {
        if folder == Path::new("") {
            PathBuf::from(".")
        } else {
            folder.to_owned()
        }
    })
}

const REPLACE: &str =
    "ask whoever runs the authority for its CA's fingerprint; `--replace-ca` trusts what it sends";
