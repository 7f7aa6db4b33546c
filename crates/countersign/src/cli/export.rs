//! `countersign export`: an identity in the form that another program takes. The key is read where it lies; the authority
//! has none to give.

mod kubernetes;
mod material;

use std::fmt::Write as _;
use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use countersign_pki::certificate::Certificate;
use countersign_pki::time::UnixTime;
use countersign_pki::{jks, pem, pkcs12};
use countersign_runtime::atomic_file;
use countersign_runtime::clock::{Clock, SystemClock};
use serde::Serialize;
use zeroize::Zeroizing;

use self::kubernetes::SecretName;
use self::material::{Material, Wanted};
use crate::cli::arguments::{AuthorityArguments, Globals};
use crate::fault::{Answer, Fault};
use crate::identity_files::folder_name;
use crate::output::{escaped, tell};
use crate::password::{Delivery, NewPassword, PasswordSource};

/// Write an identity in the form that another program takes
#[derive(Debug, Args)]
pub(crate) struct ExportCommand {
    #[command(subcommand)]
    form: Form,
}

#[derive(Debug, Subcommand)]
enum Form {
    /// PKCS#12 with key and chain, for browsers, Windows, macOS and Java; with --trust the root alone, a truststore
    P12(P12Arguments),
    /// A Java truststore in the old format JKS: the root alone, no key. Java 8 and later take `p12` in its place
    Jks(JksArguments),
    /// One PEM file: leaf, intermediates, key, as `HAProxy`, Python and curl take it
    Pem(PemArguments),
    /// A Kubernetes Secret of type kubernetes.io/tls
    K8s(K8sArguments),
}

#[derive(Debug, Args)]
struct P12Arguments {
    #[command(flatten)]
    source: SourceArguments,
    /// The root alone, marked as trusted: what Java calls a truststore
    #[arg(long, conflicts_with = "key")]
    trust: bool,
    #[command(flatten)]
    password: PasswordArguments,
}

#[derive(Debug, Args)]
struct JksArguments {
    #[command(flatten)]
    source: SourceArguments,
    #[command(flatten)]
    password: PasswordArguments,
}

#[derive(Debug, Args)]
struct PemArguments {
    #[command(flatten)]
    source: SourceArguments,
    /// Leaf and intermediates alone, as a server's configuration takes them beside a key that it has
    #[arg(long, conflicts_with = "key")]
    no_key: bool,
}

#[derive(Debug, Args)]
struct K8sArguments {
    #[command(flatten)]
    source: SourceArguments,
    /// The Secret's name [default: the certificate's, where Kubernetes takes it]
    #[arg(long, value_parser = SecretName::parse)]
    name: Option<SecretName>,
    /// The Secret's namespace [default: left out, so that it is kubectl's]
    #[arg(long, value_parser = kubernetes::namespace)]
    namespace: Option<String>,
}

/// What is exported, and where it goes.
#[derive(Debug, Args)]
struct SourceArguments {
    /// A folder that `issue` wrote, a certificate or PKCS#12 file, or a name, serial number or fingerprint
    what: String,
    /// The private key, PEM or DER [default: the one in WHAT, or key.pem beside it]
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    /// Where it goes; `-` is standard output [default: NAME with the form's ending, in this folder]
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Replace a file that is there
    #[arg(long)]
    force: bool,
    /// File with the password of an encrypted key or of WHAT [default: it is asked for]
    #[arg(long, value_name = "FILE")]
    in_password_file: Option<PathBuf>,
    #[command(flatten)]
    authority: AuthorityArguments,
}

#[derive(Debug, Args)]
struct PasswordArguments {
    /// File with the password for the new file, one line [default: it is asked for]
    #[arg(long, value_name = "FILE", conflicts_with = "password_out")]
    password_file: Option<PathBuf>,
    /// Make a password and write it to this file, for its owner alone
    #[arg(long, value_name = "FILE")]
    password_out: Option<PathBuf>,
}

impl ExportCommand {
    /// Runs it.
    pub(crate) fn run(self, globals: &Globals) -> Result<Answer, Fault> {
        match self.form {
            Form::P12(arguments) => arguments.run(globals),
            Form::Jks(arguments) => arguments.run(globals),
            Form::Pem(arguments) => arguments.run(globals),
            Form::K8s(arguments) => arguments.run(globals),
        }
    }
}

impl P12Arguments {
    fn run(&self, globals: &Globals) -> Result<Answer, Fault> {
        let wanted = if self.trust {
            Wanted::Root
        } else {
            Wanted::Key
        };
        let material = self.source.material(globals, wanted)?;
        let target = self
            .source
            .target(&material, if self.trust { "-trust.p12" } else { ".p12" })?;
        let password = self.password.obtain()?;
        let mut random = [0; pkcs12::RANDOM_BYTES];
        aws_lc_rs::rand::fill(&mut random)
            .map_err(|_| Fault::world("the system's random source gave no salt"))?;
        let (bytes, holds) = if self.trust {
            let anchors = anchors(&material)?;
            (
                pkcs12::trust_store(&anchors, &password.password, &random),
                vec![ROOT],
            )
        } else {
            let chain: Vec<Certificate> = material.whole_chain().cloned().collect();
            let pkcs8 = material.key()?.pkcs8();
            let alias = material.name();
            let bytes = pkcs12::identity(pkcs8, &chain, &alias, &password.password, &random);
            (bytes, material.holds())
        };
        target.write_under_password(&password, &bytes)?;
        target.report(globals, &material, &holds, Some(&password))
    }
}

impl JksArguments {
    fn run(&self, globals: &Globals) -> Result<Answer, Fault> {
        let material = self.source.material(globals, Wanted::Root)?;
        let target = self.source.target(&material, "-trust.jks")?;
        let password = self.password.obtain()?;
        let now = UnixTime::from_seconds(SystemClock.unix_seconds());
        let bytes = jks::trust_store(&anchors(&material)?, &password.password, now);
        target.write_under_password(&password, &bytes)?;
        target.report(globals, &material, &[ROOT], Some(&password))
    }
}

impl PemArguments {
    fn run(&self, globals: &Globals) -> Result<Answer, Fault> {
        let wanted = if self.no_key {
            Wanted::Chain
        } else {
            Wanted::Key
        };
        let material = self.source.material(globals, wanted)?;
        let target = self.source.target(&material, ".pem")?;
        let chain = || {
            material
                .chain
                .iter()
                .map(|it| pem::encode("CERTIFICATE", it.der()))
        };
        let mut holds = material.holds_below_root();
        // A server does not send its root: who trusts it has it.
        let (text, mode) = if self.no_key {
            holds.retain(|part| *part != KEY);
            (Zeroizing::new(chain().collect::<String>()), PUBLIC)
        } else {
            let key = material.key()?.to_pem();
            let mut text = Zeroizing::new(String::with_capacity(MAX_PEM));
            text.extend(chain());
            text.push_str(&key);
            (text, PRIVATE)
        };
        target.write(text.as_bytes(), mode)?;
        target.report(globals, &material, &holds, None)
    }
}

impl K8sArguments {
    fn run(&self, globals: &Globals) -> Result<Answer, Fault> {
        let material = self.source.material(globals, Wanted::Key)?;
        let target = self.source.target(&material, ".yaml")?;
        let name = match &self.name {
            Some(name) => name.clone(),
            None => SecretName::of_certificate(&material.name())?,
        };
        let manifest = kubernetes::manifest(&name, self.namespace.as_deref(), &material)?;
        target.write(manifest.as_bytes(), PRIVATE)?;
        target.report(globals, &material, &material.holds(), None)
    }
}

impl PasswordArguments {
    fn obtain(&self) -> Result<NewPassword, Fault> {
        NewPassword::obtain(self.password_file.as_deref(), self.password_out.as_deref())
    }
}

impl SourceArguments {
    fn material(&self, globals: &Globals, wanted: Wanted) -> Result<Material, Fault> {
        let password = PasswordSource::of(self.in_password_file.as_deref());
        let material = Material::find(&self.what, self.key.as_deref(), wanted, &password, || {
            material::in_inventory(&self.what, &self.authority.asked(globals)?)
        })?;
        let now = UnixTime::from_seconds(SystemClock.unix_seconds());
        if wanted != Wanted::Root && material.leaf().not_after() < now {
            tell(&format!(
                "note: the certificate expired at {}",
                material.leaf().not_after()
            ));
        }
        Ok(material)
    }

    fn target(&self, material: &Material, ending: &str) -> Result<Target, Fault> {
        let path = self
            .out
            .clone()
            .unwrap_or_else(|| PathBuf::from(folder_name(&material.name()) + ending));
        let target = Target {
            is_stdout: path == Path::new("-"),
            path,
            replace: self.force,
        };
        target.check()?;
        Ok(target)
    }
}

/// Where the result goes.
struct Target {
    path: PathBuf,
    is_stdout: bool,
    replace: bool,
}

impl Target {
    /// What stands in the way is found before a password is asked for.
    fn check(&self) -> Result<(), Fault> {
        if self.is_stdout {
            if std::io::stdout().is_terminal() {
                return Err(Fault::configuration("standard output is a terminal")
                    .hint("send it on, as in `… --out - | kubectl apply -f -`, or name a file with `--out FILE`"));
            }
        } else if !self.replace && self.path.symlink_metadata().is_ok() {
            return Err(self.in_the_way());
        }
        Ok(())
    }

    /// The password is in its place before what it opens; neither is left alone.
    fn write_under_password(&self, password: &NewPassword, bytes: &[u8]) -> Result<(), Fault> {
        password.write()?;
        let written = self.write(bytes, PRIVATE);
        if let (Err(_), Delivery::Write(path)) = (&written, &password.delivery) {
            // The fault is told; a password of nothing helps nobody.
            let _ = std::fs::remove_file(path);
        }
        written
    }

    fn write(&self, bytes: &[u8], mode: u32) -> Result<(), Fault> {
        if self.is_stdout {
            let mut stdout = std::io::stdout().lock();
            let written = stdout.write_all(bytes).and_then(|()| stdout.flush());
            return written.map_err(|error| {
                Fault::world(format_args!("cannot write to standard output: {error}"))
            });
        }
        let written = if self.replace {
            atomic_file::write_atomic(&self.path, bytes, mode)
        } else {
            atomic_file::create_new(&self.path, bytes, mode)
        };
        written.map_err(|error| {
            if error.kind() == std::io::ErrorKind::AlreadyExists {
                return self.in_the_way();
            }
            Fault::world(format_args!(
                "cannot write {}: {error}",
                self.path.display()
            ))
            .hint("`--out FILE` names another place")
        })
    }

    fn in_the_way(&self) -> Fault {
        Fault::configuration(format_args!("{} exists already", self.path.display()))
            .hint("choose another file with `--out FILE`, or replace what is there with `--force`")
    }

    fn report(
        &self,
        globals: &Globals,
        material: &Material,
        holds: &[&'static str],
        password: Option<&NewPassword>,
    ) -> Result<Answer, Fault> {
        if let Some(password) = password {
            password.tell();
        }
        // Standard output has the result itself.
        if self.is_stdout {
            return Ok(Answer::Yes);
        }
        let password_file = password.and_then(|it| match &it.delivery {
            Delivery::Write(path) => Some(path.clone()),
            Delivery::Known | Delivery::Tell => None,
        });
        let leaf = material.leaf();
        let exported = Exported {
            file: self.path.clone(),
            name: material.name(),
            serial: leaf.serial().to_string(),
            fingerprint: leaf.fingerprint().to_string(),
            holds: holds.to_vec(),
            password_file,
        };
        globals.output().answer(&exported, Exported::text)?;
        Ok(Answer::Yes)
    }
}

/// What was written.
#[derive(Debug, Serialize)]
struct Exported {
    file: PathBuf,
    name: String,
    serial: String,
    fingerprint: String,
    /// `certificate`, `intermediate`, `key`, `root`.
    holds: Vec<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    password_file: Option<PathBuf>,
}

impl Exported {
    fn text(&self) -> String {
        let mut text = format!(
            "wrote {}: {} of {}\n",
            self.file.display(),
            self.holds.join(", "),
            escaped(&self.name)
        );
        if let Some(file) = &self.password_file {
            writeln!(text, "  its password is in {}", file.display())
                .expect("a String takes everything");
        }
        text
    }
}

/// The root under its alias.
fn anchors(material: &Material) -> Result<Vec<(String, Certificate)>, Fault> {
    let root = material.root.clone().ok_or_else(|| {
        Fault::configuration("no root is known for this certificate").hint(
            "name a folder that `issue` wrote, which has it in ca.pem, or the root's own file",
        )
    })?;
    let alias = root
        .subject()
        .common_name()
        .map_or_else(|| root.subject().to_string(), str::to_owned);
    Ok(vec![(alias, root)])
}

const CERTIFICATE: &str = "certificate";
const INTERMEDIATE: &str = "intermediate";
const KEY: &str = "key";
const ROOT: &str = "root";

const PRIVATE: u32 = 0o600;
const PUBLIC: u32 = 0o644;

/// A chain and a key of RSA 4096 have some 10 KiB, of ML-DSA-87 some 22.
const MAX_PEM: usize = 32 * 1024;
