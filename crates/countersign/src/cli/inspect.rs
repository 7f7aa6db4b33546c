//! `countersign inspect`: what is in a file, or what a server shows, decoded, and what is remarkable about it.
//!
//! Of a key it shows the kind and the public half's hash, never more. The remarks are `diagnose`'s findings, as the doctor's are.

mod items;
mod server;

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use clap::Args;
use countersign_diagnose::doctor::file::Role;
use countersign_diagnose::doctor::question::Starttls;
use countersign_diagnose::doctor::{Diagnosis, FileSeen, Observations, Question, remarks};
use countersign_diagnose::finding::Severity;
use countersign_pki::material::{Lock, Material};
use countersign_pki::password::Password;
use countersign_pki::pkcs12;
use countersign_pki::time::UnixTime;
use countersign_runtime::clock::{Clock, SystemClock};

use self::items::{FileView, FindingsView, Item};
use crate::certificate_file::{self, fault};
use crate::cli::arguments::{Globals, starttls};
use crate::cli::findings::{Look, SHOWN_FACTS, told};
use crate::fault::{Answer, Fault};
use crate::output::{print, shown, tell};
use crate::password::PasswordSource;
use crate::private_key::locked;

/// Decode whatever PKI file it is, or what a server shows, and say what is remarkable about it; key material is never shown
///
/// Certificates, chains, requests, CRLs, keys, PKCS#7, PKCS#12, Java keystores, in PEM or DER and whatever is around them; of a folder every
/// file that holds such.
#[derive(Debug, Args)]
pub(crate) struct InspectCommand {
    /// A file or a folder; or a server, HOST:PORT or a URL, where no file is called so
    #[arg(value_name = "FILE|HOST:PORT")]
    file: PathBuf,
    /// The name to ask a server for (SNI) [default: its host]
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// What a server speaks before TLS: smtp, imap, pop3, ftp, ldap, xmpp, postgres, mysql
    #[arg(long, value_name = "PROTOCOL", value_parser = starttls)]
    starttls: Option<Starttls>,
    /// File with the password of a keystore or key, one line [default: that of PKCS#12 is asked for]
    #[arg(long, visible_alias = "password-file", value_name = "FILE")]
    in_password_file: Option<PathBuf>,
}

impl InspectCommand {
    /// Runs it.
    pub(crate) fn run(self, globals: &Globals) -> Result<Answer, Fault> {
        let now = UnixTime::from_seconds(SystemClock.unix_seconds());
        let server = server::Asked::of(&self.file, self.name.as_deref(), self.starttls);
        let (mut items, diagnosis) = match server {
            Some(server) => server.items(now)?,
            None if self.name.is_some() || self.starttls.is_some() => {
                return Err(fault(
                    &self.file,
                    &"--name and --starttls are for servers, and this is neither HOST:PORT nor a URL",
                ));
            }
            None => self.read(now)?,
        };
        if globals.json {
            if !diagnosis.findings.is_empty() {
                items.push(Item::Findings(FindingsView {
                    healthy: diagnosis.is_healthy(),
                    findings: diagnosis.findings,
                }));
            }
            globals.output().answer(&items, |_| String::new())?;
        } else {
            print(&text(&items, &diagnosis, Look::of(&globals.environment)))?;
        }
        Ok(Answer::Yes)
    }

    fn read(&self, now: UnixTime) -> Result<(Vec<Item>, Diagnosis), Fault> {
        let password = PasswordSource::of(self.in_password_file.as_deref());
        let mut passwords = Vec::new();
        if self.in_password_file.is_some() {
            passwords.push(password.get(&self.file)?);
        }
        if self.file.is_dir() {
            return folder(&self.file, &passwords, now);
        }
        file(&self.file, &password, passwords, now)
    }
}

/// One file, read whatever it is: a pipe as well.
fn file(
    path: &Path,
    password: &PasswordSource,
    mut passwords: Vec<Password>,
    now: UnixTime,
) -> Result<(Vec<Item>, Diagnosis), Fault> {
    let bytes = certificate_file::bytes(path)?;
    let mut material = Material::read(&bytes, &passwords);
    // Certificates of a Java keystore are read without.
    if pkcs12::Contents::is_one(&bytes) && !is_open(&material) {
        if passwords.is_empty() {
            passwords.push(password.get(path)?);
            material = Material::read(&bytes, &passwords);
        }
        if let (Some(password), false) = (passwords.first(), is_open(&material)) {
            pkcs12::Contents::open(&bytes, password).map_err(|error| locked(path, &error))?;
        }
    }
    let seen = seen(path, material);
    let items = items::of_material(&seen.material, now);
    let container = seen.material.container.as_str();
    let diagnosis = remarks(&observations(vec![seen], now));
    if items.is_empty() {
        let why = diagnosis
            .findings
            .iter()
            .find(|it| it.severity == Severity::Fault);
        return Err(match why {
            Some(why) => fault(path, &format_args!("{} ({})", why.message(), why.cause))
                .hint(why.fix().last().cloned().unwrap_or_default()),
            None => fault(
                path,
                &format_args!("neither certificate, request, CRL nor key: it is {container}"),
            )
            .hint("inspect reads PEM, DER, PKCS#7, PKCS#12 and Java keystores"),
        });
    }
    Ok((items, diagnosis))
}

fn is_open(store: &Material) -> bool {
    store.keystore == Some(Lock::Open)
}

/// Every file of a folder that holds anything.
fn folder(
    path: &Path,
    passwords: &[Password],
    now: UnixTime,
) -> Result<(Vec<Item>, Diagnosis), Fault> {
    let entries = fs::read_dir(path).map_err(|error| fault(path, &error))?;
    let mut paths: Vec<PathBuf> = entries
        .filter_map(Result::ok)
        .map(|entry| entry.path())
        .filter(|path| path.is_file())
        .take(MAX_ENTRIES)
        .collect();
    paths.sort();
    let (mut items, mut files) = (Vec::new(), Vec::new());
    for path in paths {
        let Ok(bytes) = certificate_file::bytes(&path) else {
            tell(&format!("note: {} cannot be read", path.display()));
            continue;
        };
        let seen = seen(&path, Material::read(&bytes, passwords));
        if seen.material.is_nothing() && seen.material.keystore.is_none() {
            continue;
        }
        items.push(Item::File(FileView::new(
            &seen.path,
            seen.material.container,
        )));
        items.extend(items::of_material(&seen.material, now));
        files.push(seen);
    }
    if items.is_empty() {
        return Err(fault(
            path,
            &"no file of this folder holds a certificate, request, CRL or key",
        )
        .hint("folders within it are not looked into: name the one that is meant"));
    }
    let diagnosis = remarks(&observations(files, now));
    Ok((items, diagnosis))
}

fn seen(path: &Path, material: Material) -> FileSeen {
    let mut seen = FileSeen::read(Role::Other, path.to_string_lossy(), material);
    let metadata = fs::metadata(path).ok().filter(fs::Metadata::is_file);
    seen.mode = metadata.map(|it| it.mode());
    seen
}

fn observations(files: Vec<FileSeen>, now: UnixTime) -> Observations {
    Observations {
        now,
        question: Question::default(),
        files,
        target: None,
        logs: Vec::new(),
        sources: None,
    }
}

fn text(items: &[Item], diagnosis: &Diagnosis, look: Look) -> String {
    let parts = items
        .iter()
        .map(|item| look.rows(&shown(&item.text()), LABEL));
    let findings = diagnosis.findings.iter();
    let parts = parts.chain(findings.map(|finding| told(finding, SHOWN_FACTS, look)));
    parts.collect::<Vec<_>>().join("\n")
}

/// Of `pki::inspect`: twelve columns, and a blank.
const LABEL: usize = 13;

/// As many as the doctor reads of a folder.
const MAX_ENTRIES: usize = 2048;

#[cfg(test)]
mod tests {
    use super::*;
    use countersign_pki::fingerprint::Fingerprint;

    use crate::leaf_key::{KeyKind, LeafKey};

    fn inspect(bytes: &[u8]) -> Result<String, Fault> {
        let file = tempfile::NamedTempFile::new().expect("a file");
        fs::write(file.path(), bytes).expect("written");
        let (items, _) = super::file(
            file.path(),
            &PasswordSource::Terminal,
            Vec::new(),
            UnixTime::from_seconds(0),
        )?;
        Ok(serde_json::to_string(&items).expect("JSON"))
    }

    #[test]
    fn key_shows_its_public_half_and_nothing_else() {
        let key = LeafKey::generate(KeyKind::default()).expect("a key");
        let spki = Fingerprint::of(key.spki_der());
        let shown = inspect(key.to_pem().as_bytes()).expect("a key");
        assert!(
            shown.starts_with(
                r#"[{"type":"key","format":"PKCS#8","private":true,"encrypted":false,"algorithm":""#
            ),
            "{shown}"
        );
        assert!(
            shown.ends_with(&format!(r#""spki":"{spki}"}}]"#)),
            "{shown}"
        );
        assert!(shown.len() < 256, "{shown}");
    }

    #[test]
    fn request_is_decoded_from_pem_and_der() {
        let request = LeafKey::generate(KeyKind::default())
            .expect("a key")
            .request()
            .expect("a request");
        let pem = countersign_pki::pem::encode("CERTIFICATE REQUEST", &request);
        for form in [request.as_slice(), pem.as_bytes()] {
            assert!(
                inspect(form)
                    .expect("a request")
                    .starts_with(r#"[{"type":"certificate-request""#)
            );
        }
    }

    #[test]
    fn what_is_nothing_of_ours_is_said_to_be() {
        for bytes in [&b""[..], b"nonsense", b"\x30\x03\x02\x01\x01"] {
            assert_eq!(inspect(bytes).expect_err("nothing").exit_code(), 2);
        }
    }
}
