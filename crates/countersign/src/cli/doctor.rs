//! `countersign doctor`: why a connection that should work does not, from the files of both sides and from what the server does.
//!
//! Reads files, the clock and, where a target is named, the network; what follows from it is `diagnose`'s to say.

mod fetching;
mod probing;
mod reading;
mod report;
mod view;

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use countersign_diagnose::cause::Cause;
use countersign_diagnose::doctor::file::Role;
use countersign_diagnose::doctor::question::{
    Allowed, AllowedName, InvalidTarget, Starttls, Target, TlsVersion,
};
use countersign_diagnose::doctor::{Observations, Question, diagnose};
use countersign_diagnose::finding::Severity;
use countersign_pki::dn::DistinguishedName;
use countersign_pki::name::TypedName;
use countersign_pki::password::Password;
use countersign_pki::time::UnixTime;
use countersign_runtime::clock::{Clock, SystemClock};
use serde::Serialize;

use crate::cli::arguments::{Globals, duration, starttls};
use crate::cli::findings::Look;
use crate::fault::{Answer, Fault};
use crate::output::print;
use crate::password::PasswordSource;

/// Find out why a mutual TLS connection fails, or would: the cause, what shows it, and the fix
///
/// Takes whatever is at hand: files of the client, files of the server, the server's address. Repeatable flags take one value each.
#[derive(Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of its own")]
pub(crate) struct DoctorCommand {
    /// The server as the client names it: HOST:PORT, or a URL such as https://…/path, postgres://…, smtp://…
    #[arg(value_name = "TARGET", value_parser = parse_target)]
    target: Option<Target>,
    /// The client's certificate, with its chain; a keystore (PKCS#12, JKS) holds the key too
    #[arg(long, value_name = "FILE")]
    cert: Option<PathBuf>,
    /// The client's private key
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    /// What the client trusts: a bundle, or a folder of certificates
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// The server's certificate, with its chain
    #[arg(long, value_name = "FILE")]
    server_cert: Option<PathBuf>,
    /// The server's private key
    #[arg(long, value_name = "FILE")]
    server_key: Option<PathBuf>,
    /// What the server trusts for clients: a bundle, or a folder of certificates
    #[arg(long, value_name = "FILE")]
    client_ca: Option<PathBuf>,
    /// A certificate revocation list; repeatable
    #[arg(long = "crl", value_name = "FILE")]
    crls: Vec<PathBuf>,
    /// Whatever else is at hand: an older certificate, a server's configuration, a log, a keystore; repeatable
    #[arg(long = "file", value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Judge as verifiers do that insist on all of RFC 5280
    #[arg(long)]
    strict: bool,
    /// The name that the client means, where TARGET is an address: for SNI and verification
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// Another name to ask the server for; repeatable
    #[arg(long = "also-try-name", value_name = "NAME")]
    also_try_names: Vec<String>,
    /// Whom the server's policy allows: spiffe://…, dns:, email:, cn:, a DN in any notation, or a bare word; repeatable
    #[arg(long = "allow", value_name = "IDENTITY")]
    allow: Vec<String>,
    /// The Host that the client sends, where it differs
    #[arg(long, value_name = "NAME")]
    host_header: Option<String>,
    /// An application protocol that the client offers; repeatable
    #[arg(long = "alpn", value_name = "PROTOCOL")]
    alpn: Vec<String>,
    /// The lowest version that the client offers, such as 1.2
    #[arg(long, value_name = "VERSION", value_parser = tls_version)]
    min_tls: Option<TlsVersion>,
    /// The highest version that the client offers
    #[arg(long, value_name = "VERSION", value_parser = tls_version)]
    max_tls: Option<TlsVersion>,
    /// What is spoken before TLS: smtp, imap, pop3, ftp, ldap, xmpp, postgres, mysql
    #[arg(long, value_name = "PROTOCOL", value_parser = starttls)]
    starttls: Option<Starttls>,
    /// The client means to come without a certificate
    #[arg(long)]
    no_client_cert: bool,
    /// Clients without a certificate must be turned away
    #[arg(long)]
    expect_enforced: bool,
    /// File with the password of what is encrypted, one line
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
    /// How long the probe may take in all, such as 10s or 1m; a bare number is seconds
    #[arg(long, value_name = "DURATION", value_parser = timeout)]
    timeout: Option<Duration>,
    /// List every connection that was made, and all that was ruled out
    #[arg(long)]
    verbose: bool,
    /// Ask the CRL and OCSP addresses that the certificates name (http) whether any is revoked
    #[arg(long)]
    fetch: bool,
    /// A log of a server or a client to read for the cause; - for standard input
    #[arg(long, value_name = "FILE")]
    log: Option<PathBuf>,
    /// Print every cause there is, with its meaning and fix
    #[arg(long)]
    list_causes: bool,
}

impl DoctorCommand {
    /// Runs it.
    pub(crate) fn run(self, globals: &Globals) -> Result<Answer, Fault> {
        if self.list_causes {
            let rows: Vec<CauseRow> = Cause::ALL
                .iter()
                .map(|&cause| CauseRow::of(cause))
                .collect();
            let look = Look::of(&globals.environment);
            globals
                .output()
                .answer(&rows, |rows| causes_text(rows, look))?;
            return Ok(Answer::Yes);
        }
        let named = self.named();
        if named.is_empty() && self.target.is_none() && self.log.is_none() {
            return Err(Fault::configuration("nothing to look at").hint(
                "name a server (HOST:PORT or a URL), or files: --cert, --key, --ca, --server-cert, --client-ca, --log …",
            ));
        }
        let now = UnixTime::from_seconds(SystemClock.unix_seconds());
        let passwords = self.passwords()?;
        let question = self.question();
        let mut files = reading::files(&named, &passwords);
        files.extend(reading::beside(&files));
        let target = match question.target {
            Some(_) => Some(probing::look(&question, &files, self.timeout, now)?),
            None => None,
        };
        let mut observations = Observations {
            now,
            question,
            logs: reading::logs(self.log.as_deref(), &files)?,
            files,
            target,
            sources: None,
        };
        if self.fetch {
            observations.sources = Some(fetching::ask(&observations, self.timeout)?);
        }
        let diagnosis = diagnose(&observations);
        let is_seen = observations.target.is_some()
            || !observations.logs.is_empty()
            || observations
                .files
                .iter()
                .any(|file| file.access == countersign_diagnose::doctor::file::Access::Read);
        if !is_seen && diagnosis.is_healthy() {
            return Err(
                Fault::world("nothing could be observed: no file could be read")
                    .hint("check the paths and their permissions"),
            );
        }
        let answer = view::Answer::of(&observations, diagnosis);
        if globals.json {
            globals.output().answer(&answer, |_| String::new())?;
        } else {
            let look = Look::of(&globals.environment);
            print(&report::text(&answer, &observations, self.verbose, look))?;
        }
        Ok(Answer::from_bool(answer.healthy))
    }

    /// Every file that was named, in the order of their roles.
    fn named(&self) -> Vec<(Role, &Path)> {
        let single = [
            (Role::ClientCertificate, &self.cert),
            (Role::ClientKey, &self.key),
            (Role::Ca, &self.ca),
            (Role::ServerCertificate, &self.server_cert),
            (Role::ServerKey, &self.server_key),
            (Role::ClientCa, &self.client_ca),
        ];
        let single = single
            .into_iter()
            .filter_map(|(role, path)| Some((role, path.as_deref()?)));
        let lists = self.crls.iter().map(|path| (Role::Crl, path.as_path()));
        let others = self.files.iter().map(|path| (Role::Other, path.as_path()));
        single.chain(lists).chain(others).collect()
    }

    fn passwords(&self) -> Result<Vec<Password>, Fault> {
        let Some(file) = &self.password_file else {
            return Ok(Vec::new());
        };
        Ok(vec![PasswordSource::of(Some(file)).get(file)?])
    }

    fn question(&self) -> Question {
        Question {
            target: self.target.clone(),
            name: self.name.clone(),
            also_try_names: self.also_try_names.clone(),
            allow: self.allow.iter().map(|text| allowed(text)).collect(),
            host_header: self.host_header.clone(),
            alpn: self.alpn.clone(),
            min_tls: self.min_tls,
            max_tls: self.max_tls,
            starttls: self.starttls,
            no_client_cert: self.no_client_cert,
            expect_enforced: self.expect_enforced,
            strict: self.strict,
        }
    }
}

/// What a person or another product means by an identity: a typed name, a DN in whatever notation, else a bare word.
fn allowed(text: &str) -> Allowed {
    let typed = text.parse::<TypedName>().ok();
    let name = typed.or_else(|| {
        let name = DistinguishedName::parse(text)
            .ok()
            .filter(|_| text.contains('='));
        name.map(TypedName::Dn)
    });
    Allowed {
        written: text.to_owned(),
        meaning: name.map_or_else(|| AllowedName::Bare(text.to_owned()), AllowedName::Typed),
    }
}

fn parse_target(text: &str) -> Result<Target, InvalidTarget> {
    Target::parse(text)
}

/// As other programs take it too: `curl --max-time 2`.
fn timeout(text: &str) -> Result<Duration, String> {
    let is_bare = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if is_bare {
        duration(&format!("{text}s"))
    } else {
        duration(text)
    }
}

fn tls_version(text: &str) -> Result<TlsVersion, String> {
    TlsVersion::parse(text).ok_or_else(|| "the versions are 1.0, 1.1, 1.2 and 1.3".to_owned())
}

/// A line of `--list-causes`.
#[derive(Clone, Debug, Serialize)]
struct CauseRow {
    cause: Cause,
    means: &'static str,
    fix: &'static str,
}

impl CauseRow {
    fn of(cause: Cause) -> Self {
        Self {
            cause,
            means: cause.meaning(),
            fix: cause.fix(),
        }
    }
}

fn causes_text(rows: &[CauseRow], look: Look) -> String {
    let lines = rows.iter().map(|row| {
        let means = look.hung("    ", row.means);
        let fix = look.hung("    Fix: ", row.fix);
        format!("{}\n{means}\n{fix}\n", row.cause)
    });
    lines.collect()
}

/// Whether a finding makes the answer no.
fn is_fault(severity: Severity) -> bool {
    severity == Severity::Fault
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bare_numbers_are_seconds() {
        assert_eq!(timeout("2"), Ok(Duration::from_secs(2)));
        assert_eq!(timeout("2s"), Ok(Duration::from_secs(2)));
        assert_eq!(timeout("1m"), Ok(Duration::from_mins(1)));
        for text in [
            "",
            "0",
            "2.5",
            "-1",
            "s",
            "500ms",
            "99999999999999999999999",
        ] {
            assert!(timeout(text).is_err(), "{text}");
        }
    }
}
