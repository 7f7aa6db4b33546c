//! `countersign issue`: a key made here, a request, a certificate from the authority, files in place.

mod preview;

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use countersign_authority::api::{self, IssueRequest, IssueResponse, PreviewResponse};
use countersign_pki::name::{NameKind, TypedName};
use countersign_pki::pem;
use countersign_policy::issuance::Profile;
use serde::Serialize;

use self::preview::Preview;
use super::batch::Batch;
use crate::backend::{Backend, block_on};
use crate::certificate_file::{self, Contents};
use crate::cli::arguments::{AuthorityArguments, Globals, duration};
use crate::fault::{Answer, Fault};
use crate::identity_files::{
    CA, CERTIFICATE, Destination, Existing, IdentityFiles, KEY, folder_name,
};
use crate::leaf_key::{KeyKind, LeafKey, key_kind};
use crate::output::escaped;

/// Issue a certificate: makes the key here and writes cert.pem, key.pem and ca.pem
#[derive(Debug, Args)]
pub(crate) struct IssueCommand {
    /// What the certificate is for: client, device, peer, person, server, workload, or a profile of the configuration; for
    /// admins: node, operator, intermediate; of a batch, the lines that name no profile
    #[arg(required_unless_present = "batch")]
    profile: Option<String>,
    /// Whose it is: client, device, node, operator, intermediate → common name; server, peer → first DNS name; person → e-mail
    /// address, or common name with --email; workload → SPIFFE ID or its path
    #[arg(required_unless_present = "batch", conflicts_with = "batch")]
    name: Option<String>,
    /// Issue for each line of a CSV file, or for each certificate request in a folder; the same command goes on after an interruption
    #[arg(
        long,
        value_name = "FILE|DIR",
        requires = "out",
        conflicts_with_all = ["dns", "ip", "spiffe", "email", "uri", "csr", "force"]
    )]
    batch: Option<PathBuf>,
    /// A further DNS name (repeatable)
    #[arg(long, value_name = "NAME", value_parser = |text: &str| TypedName::parse_as(NameKind::Dns, text))]
    dns: Vec<TypedName>,
    /// A further IP address (repeatable)
    #[arg(long, value_name = "ADDRESS", value_parser = |text: &str| TypedName::parse_as(NameKind::Ip, text))]
    ip: Vec<TypedName>,
    /// A further SPIFFE ID (repeatable)
    #[arg(long, value_name = "ID", value_parser = |text: &str| TypedName::parse_as(NameKind::Spiffe, text))]
    spiffe: Vec<TypedName>,
    /// A further e-mail address (repeatable)
    #[arg(long, value_name = "ADDRESS", value_parser = |text: &str| TypedName::parse_as(NameKind::Email, text))]
    email: Vec<TypedName>,
    /// A further URI (repeatable)
    #[arg(long, value_name = "URI", value_parser = |text: &str| TypedName::parse_as(NameKind::Uri, text))]
    uri: Vec<TypedName>,
    /// How long it lives, such as 30d or 8h [default: the profile's]
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    ttl: Option<Duration>,
    /// The kind of key that is made
    #[arg(long, value_name = "KIND", value_parser = key_kind(), default_value = "p256")]
    key: KeyKind,
    /// A certificate request (PEM or DER) whose key is certified; no key is made
    #[arg(long, value_name = "FILE", conflicts_with = "key")]
    csr: Option<PathBuf>,
    /// Where the files go [default: a folder called NAME]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Replace files that are there
    #[arg(long)]
    force: bool,
    /// Issue and write nothing: show what would be issued, why, and which clients would refuse it
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    authority: AuthorityArguments,
}

impl IssueCommand {
    /// Runs it.
    pub(crate) fn run(self, globals: &Globals) -> Result<Answer, Fault> {
        let asked = self.authority.asked(globals)?;
        let (profile, name) = match (self.batch, self.out.clone(), self.profile, self.name) {
            (Some(source), Some(out), profile, _) => {
                let batch = Batch {
                    source,
                    out,
                    profile,
                    ttl: self.ttl,
                    key: self.key,
                    dry_run: self.dry_run,
                };
                return batch.run(&asked, globals);
            }
            (None, _, Some(profile), Some(name)) => (profile, name),
            _ => {
                return Err(Fault::bug(
                    "the command line let a profile or a name be left out",
                ));
            }
        };
        let out = self
            .out
            .clone()
            .unwrap_or_else(|| PathBuf::from(folder_name(&name)));
        let existing = if self.force {
            Existing::Replace
        } else {
            Existing::Keep
        };
        let (key, request) = if let Some(file) = &self.csr {
            (None, read_request(file)?)
        } else {
            let key = LeafKey::generate(self.key)?;
            let request = pem::encode("CERTIFICATE REQUEST", &key.request()?);
            (Some(key), request)
        };
        let destination = if self.dry_run {
            None
        } else {
            Some(Destination::prepare(&out, existing)?)
        };
        let sans = [&self.dns, &self.ip, &self.spiffe, &self.email, &self.uri];
        let request = IssueRequest {
            profile,
            name,
            sans: sans
                .into_iter()
                .flatten()
                .map(ToString::to_string)
                .collect(),
            ttl_s: self.ttl.map(|ttl| ttl.as_secs()),
            csr: request,
        };
        let connect = async || {
            let backend = Backend::connect(&asked).await?;
            let status = backend.issuing().await?;
            Ok::<_, Fault>((backend, status))
        };
        let Some(destination) = destination else {
            let response: PreviewResponse = block_on(async {
                let (backend, _) = connect().await?;
                Ok(backend.client.post(api::PREVIEW, &request).await?)
            })?;
            globals
                .output()
                .answer(&Preview::of(response)?, Preview::text)?;
            return Ok(Answer::Yes);
        };
        let (response, admin_url): (IssueResponse, _) = block_on(async {
            let (backend, status) = connect().await?;
            let issued = backend.issue(api::ISSUE, &request).await?;
            Ok((issued, status.admin_url))
        })?;
        let is_operator = response.profile == Profile::OPERATOR.as_str();
        let url = admin_url.filter(|_| is_operator);
        let written = deliver(destination, &out, key.as_ref(), response, url)?;
        globals.output().answer(&written, Written::text)?;
        Ok(Answer::Yes)
    }
}

/// An identity that lies in its files.
#[derive(Debug, Serialize)]
pub(crate) struct Written {
    /// What was issued, without the PEM texts.
    serial: String,
    fingerprint: String,
    profile: String,
    name: String,
    names: Vec<String>,
    not_before: String,
    not_after: String,
    /// Where it lies.
    certificate: PathBuf,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<PathBuf>,
    ca: PathBuf,
    /// Where an operator finds the authority, which its folder says too.
    #[serde(skip_serializing_if = "Option::is_none")]
    authority: Option<String>,
    /// What the certificate request asked for beside the key and the names, and did not get.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    ignored: Vec<String>,
}

/// Puts an issued certificate in place.
pub(crate) fn deliver(
    destination: Destination,
    out: &Path,
    key: Option<&LeafKey>,
    issued: IssueResponse,
    authority_url: Option<String>,
) -> Result<Written, Fault> {
    let key_pem = key.map(LeafKey::to_pem);
    let files = IdentityFiles {
        certificate: &issued.chain_pem,
        key: key_pem.as_ref().map(|pem| pem.as_str()),
        ca: &issued.ca_pem,
        authority_url: authority_url.as_deref(),
    };
    // The certificate exists by now: whoever cannot have the files must know which one to revoke.
    let revoke = format!(
        "the certificate was issued: `countersign revoke {}` takes it back",
        issued.serial
    );
    destination
        .commit(&files)
        .map_err(|fault| fault.hint(revoke))?;
    Ok(Written {
        serial: issued.serial.to_string(),
        fingerprint: issued.fingerprint.to_string(),
        profile: issued.profile,
        name: issued.name,
        names: issued.names,
        not_before: issued.not_before.to_string(),
        not_after: issued.not_after.to_string(),
        certificate: out.join(CERTIFICATE),
        key: key.map(|_| out.join(KEY)),
        ca: out.join(CA),
        authority: authority_url,
        ignored: issued.ignored,
    })
}

impl Written {
    /// For people.
    pub(crate) fn text(&self) -> String {
        let mut text = format!(
            "issued {} for {}, valid until {}\n",
            self.profile, self.name, self.not_after
        );
        let mut line = |label: &str, value: &dyn std::fmt::Display| {
            writeln!(text, "  {label:<12} {value}").expect("a String takes everything");
        };
        line("names", &self.names.join(", "));
        line("serial", &self.serial);
        line("certificate", &self.certificate.display());
        if let Some(key) = &self.key {
            line("key", &key.display());
        }
        line("ca", &self.ca.display());
        if let Some(url) = &self.authority {
            line("authority", url);
        }
        if !self.ignored.is_empty() {
            line(
                "ignored",
                &format!(
                    "{} of the request: the profile decides",
                    escaped(&self.ignored.join(", "))
                ),
            );
        }
        text
    }
}

/// A request as PEM, whatever form the file has.
pub(super) fn read_request(file: &Path) -> Result<String, Fault> {
    let blocks = match certificate_file::read(file)? {
        Contents::Der(der) => return Ok(pem::encode("CERTIFICATE REQUEST", &der)),
        Contents::Pem(blocks) => blocks,
    };
    // RFC 7468 §7: older programs write NEW CERTIFICATE REQUEST.
    let request = blocks
        .iter()
        .find(|block| block.label.ends_with("CERTIFICATE REQUEST"));
    request
        .map(|block| pem::encode("CERTIFICATE REQUEST", &block.der))
        .ok_or_else(|| {
            certificate_file::fault(file, &"the file holds no certificate request")
                .hint("`openssl req -new -key key.pem -subj / -out request.pem` makes one")
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_request_of_somebody_else_asks_for_reaches_no_terminal_raw() {
        let written = Written {
            serial: "01".to_owned(),
            fingerprint: String::new(),
            profile: "client".to_owned(),
            name: "cn:ann".to_owned(),
            names: Vec::new(),
            not_before: String::new(),
            not_after: String::new(),
            certificate: PathBuf::new(),
            key: None,
            ca: PathBuf::new(),
            authority: None,
            ignored: vec!["subject CN=\u{202e}bob\u{9b}2J".to_owned()],
        };
        let text = written.text();
        assert!(
            text.contains("subject CN=\\u{202e}bob\\u{9b}2J"),
            "{text:?}"
        );
    }
}
