//! `countersign ca crl`: the revocation lists as a file, the root's next one, and lists that were signed elsewhere.

use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::{Args, Subcommand};
use countersign_authority::api::{
    EvidenceResponse, IMPORT_LIST, ImportedListResponse, ListView, ListsResponse, REVOCATION_LISTS,
    ROOT_LIST, ROOT_LIST_DRAFT, RootListDraft, RootListRequest,
};
use countersign_authority::signing_key::GivenKey;
use countersign_pki::certificate::Certificate;
use countersign_pki::crl::CrlToBeSigned;
use countersign_pki::feed::RevocationReason;
use countersign_pki::serial::SerialNumber;
use countersign_runtime::atomic_file::write_atomic;

use super::list_file;
use crate::backend::{Backend, block_on};
use crate::certificate_file::fault;
use crate::cli::arguments::{AuthorityArguments, Globals};
use crate::fault::{Answer, Fault};
use crate::password::PasswordSource;
use crate::private_key::PrivateKey;

/// Write the revocation lists of the issuing CA and of those above it, in PEM: what servers such as nginx and OpenSSL read from a file
///
/// The issuing CA's list is signed anew if something was revoked since the last one, or if that is a day old. It has every
/// revoked certificate, whatever shard it is on, and is good for seven days.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct CrlCommand {
    #[command(subcommand)]
    verb: Option<Verb>,
    /// Into this file, which is replaced at once and as a whole [default: standard output]
    #[arg(short, long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Sign the root's list, which is good for a year, and write that alone
    #[arg(long)]
    root: bool,
    /// The root's private key, where it is not in the state folder; it is read here and goes nowhere
    #[arg(long, value_name = "FILE", requires = "root")]
    root_key: Option<PathBuf>,
    /// File with its password [default: asked for on the terminal]
    #[arg(
        long,
        visible_alias = "password-file",
        value_name = "FILE",
        requires = "root_key"
    )]
    in_password_file: Option<PathBuf>,
    /// Revoke this certificate of the root first: with the issuing CA's, everything that it issued is refused
    #[arg(long, value_name = "SERIAL", requires = "root")]
    revoke: Option<SerialNumber>,
    /// Why
    #[arg(
        long,
        requires = "revoke",
        default_value = "unspecified",
        value_parser = str::parse::<RevocationReason>
    )]
    reason: RevocationReason,
    #[command(flatten)]
    authority: AuthorityArguments,
}

#[derive(Debug, Subcommand)]
enum Verb {
    Import(ImportListCommand),
}

/// Publish a CRL of the root, or of another CA above the issuing one, that was signed elsewhere
///
/// What it lists counts as revoked here, too; a hold that the one before it shows and it does not is released. One that was signed
/// earlier, has a lower number or takes back a revocation is refused. It is served at the URL that `ca crl` and the certificates of the CAs have, until the
/// next one is given: `status` warns three months before it ends, or a quarter of its life where that is less.
#[derive(Debug, Args)]
struct ImportListCommand {
    /// In PEM or DER
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// What it no longer shows of certificates that the inventory does not have are expired ones
    #[arg(long)]
    dropped_expired: bool,
    #[command(flatten)]
    authority: AuthorityArguments,
}

impl CrlCommand {
    /// Runs it.
    pub(crate) fn run(self, globals: &Globals) -> Result<Answer, Fault> {
        match self.verb {
            Some(Verb::Import(command)) => command.run(globals),
            None => self.write(globals),
        }
    }

    fn write(self, globals: &Globals) -> Result<Answer, Fault> {
        let asked = self.authority.asked(globals)?;
        let key = self.root_key.as_deref();
        let password = PasswordSource::of(self.in_password_file.as_deref());
        let key = key.map(|file| root_key(file, &password)).transpose()?;
        let response: ListsResponse = block_on(async {
            let backend = Backend::connect(&asked).await?;
            if !self.root {
                backend.issuing().await?;
                return Ok(backend.client.post(REVOCATION_LISTS, &()).await?);
            }
            let request = RootListRequest {
                revoke: self.revoke,
                reason: self.reason,
            };
            let list = match (&key, &self.root_key) {
                (Some(key), Some(file)) => sign_elsewhere(&backend, key, file, &request).await?,
                _ => backend.client.post(ROOT_LIST, &request).await?,
            };
            Ok(ListsResponse { lists: vec![list] })
        })?;
        let pem: String = response
            .lists
            .iter()
            .map(|list| list.pem.as_str())
            .collect();
        let Some(path) = self.out else {
            globals.output().answer(&response, |_| pem)?;
            return Ok(Answer::Yes);
        };
        write_atomic(&path, pem.as_bytes(), PUBLIC).map_err(|error| {
            Fault::world(format_args!("cannot write {}: {error}", path.display()))
        })?;
        globals.output().answer(&response, |response| {
            let list = |list: &ListView| {
                format!(
                    "{}: number {}, until {}\n",
                    list.issuer, list.number, list.next_update
                )
            };
            response.lists.iter().map(list).collect()
        })?;
        Ok(Answer::Yes)
    }
}

fn root_key(file: &Path, password: &PasswordSource) -> Result<GivenKey, Fault> {
    let key = PrivateKey::read(file, password)?;
    GivenKey::from_pkcs8(key.pkcs8())
        .ok_or_else(|| fault(file, &"nothing is signed here with a key of its kind"))
}

/// The authority drafts, this process signs what it has read to be a list of the root, and the authority takes it like any list
/// that was signed elsewhere. The key never leaves this process.
async fn sign_elsewhere(
    backend: &Backend,
    key: &GivenKey,
    file: &Path,
    request: &RootListRequest,
) -> Result<ListView, Fault> {
    let draft: RootListDraft = backend.client.post(ROOT_LIST_DRAFT, request).await?;
    let decoded = |text: &str| STANDARD.decode(text).map_err(Fault::bug);
    let root = Certificate::parse(&decoded(&draft.root)?).map_err(Fault::bug)?;
    if key.spki_der() != root.spki_der() {
        return Err(fault(file, &format_args!("it is not the key of {}", root.subject()))
            .hint("`countersign inspect FILE` shows the fingerprint of the key (spki) in a certificate and in a key file"));
    }
    let draft = decoded(&draft.to_be_signed)?;
    let drafted = CrlToBeSigned::read(&draft, &root).map_err(Fault::bug)?;
    let signature = key.sign_crl(&drafted).map_err(Fault::world)?;
    let der = drafted.complete(&signature);
    let view = list_view(&der)?;
    let _: ImportedListResponse = backend
        .client
        .post_bytes(IMPORT_LIST, MEDIA_TYPE, der)
        .await?;
    Ok(view)
}

fn list_view(der: &[u8]) -> Result<ListView, Fault> {
    let list = countersign_pki::crl::ParsedCrl::parse(der).map_err(Fault::bug)?;
    Ok(ListView {
        issuer: list.issuer().to_string(),
        number: list.number().unwrap_or_default(),
        this_update: list.this_update(),
        next_update: list.next_update().unwrap_or(list.this_update()),
        pem: countersign_pki::pem::encode("X509 CRL", der),
    })
}

impl ImportListCommand {
    fn run(self, globals: &Globals) -> Result<Answer, Fault> {
        let asked = self.authority.asked(globals)?;
        let der = list_file::read(&self.file)?;
        let imported: ImportedListResponse = block_on(async {
            let backend = Backend::connect(&asked).await?;
            let path = format!("{IMPORT_LIST}?dropped_expired={}", self.dropped_expired);
            let answer = backend.client.post_bytes(&path, MEDIA_TYPE, der);
            answer
                .await
                .map_err(|error| Fault::from(error).about(&self.file))
        })?;
        globals.output().answer(&imported, text)?;
        Ok(Answer::Yes)
    }
}

fn text(imported: &ImportedListResponse) -> String {
    let ImportedListResponse {
        issuer,
        next_update,
        is_known,
        released,
        evidence,
    } = imported;
    let EvidenceResponse {
        revoked,
        unknown,
        known,
        ..
    } = evidence;
    let published = if *is_known {
        "was published already"
    } else {
        "is published"
    };
    let holds = match released {
        0 => String::new(),
        released => format!(", {released} on hold no longer"),
    };
    format!(
        "the CRL of {issuer} {published}, good until {next_update}: {revoked} revoked, {unknown} of unknown serials revoked, {known} known before{holds}\n"
    )
}

/// Whoever verifies reads it, under whatever user.
const PUBLIC: u32 = 0o644;
/// RFC 2585 §4.2.
const MEDIA_TYPE: &str = "application/pkix-crl";
