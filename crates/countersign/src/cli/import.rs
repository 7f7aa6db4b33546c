//! `countersign import`: certificates of others, to be watched.

use std::path::PathBuf;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::Args;
use countersign_authority::api::{
    self, ImportOutcome, ImportRequest, ImportResponse, ImportedView,
};

use crate::backend::{Backend, block_on};
use crate::certificate_file::certificates_in;
use crate::cli::arguments::{AuthorityArguments, Globals};
use crate::fault::{Answer, Fault};
use crate::output::escaped;

/// Watch certificates of others: they are listed with their end, and never renewed or revoked here
#[derive(Debug, Args)]
pub(crate) struct ImportCommand {
    /// PEM files, each with any number of certificates, or DER files with one
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
    /// Whom to ask about each of them, at most 128 bytes
    #[arg(long)]
    owner: Option<String>,
    #[command(flatten)]
    authority: AuthorityArguments,
}

impl ImportCommand {
    /// Runs it.
    pub(crate) fn run(self, globals: &Globals) -> Result<Answer, Fault> {
        let asked = self.authority.asked(globals)?;
        // All are read before the first is sent, so that a bad file is told at once.
        let mut encoded = Vec::new();
        for file in &self.files {
            let certificates = certificates_in(file).map_err(|fault| {
                fault.or_hint(
                    "nothing was imported; `countersign inspect FILE` says what a file holds",
                )
            })?;
            encoded.extend(certificates.iter().map(|it| STANDARD.encode(it.der())));
        }
        let imported = block_on(async {
            let backend = Backend::connect(&asked).await?;
            let mut answer = ImportResponse {
                certificates: Vec::new(),
            };
            for certificates in portions(encoded) {
                let request = ImportRequest {
                    certificates,
                    owner: self.owner.clone(),
                };
                let portion: ImportResponse = backend.client.post(api::IMPORT, &request).await?;
                answer.certificates.extend(portion.certificates);
            }
            Ok(answer)
        })?;
        globals.output().answer(&imported, |imported| {
            let lines: Vec<_> = imported.certificates.iter().map(text).collect();
            lines.join("\n")
        })?;
        Ok(Answer::Yes)
    }
}

/// What fits a request each.
fn portions(certificates: Vec<String>) -> Vec<Vec<String>> {
    let mut portions: Vec<Vec<String>> = Vec::new();
    let mut room = 0;
    for certificate in certificates {
        match portions.last_mut() {
            Some(portion) if portion.len() < PORTION && certificate.len() <= room => {
                room -= certificate.len();
                portion.push(certificate);
            }
            _ => {
                room = PORTION_BYTES.saturating_sub(certificate.len());
                portions.push(vec![certificate]);
            }
        }
    }
    portions
}

fn text(view: &ImportedView) -> String {
    let what = match view.outcome {
        ImportOutcome::AlreadyImported => "is watched already",
        ImportOutcome::Imported => "is watched now",
        ImportOutcome::Ours => "was issued here and is listed anyway",
    };
    let name = escaped(&view.name);
    format!(
        "{name} {what}; it ends at {} (fingerprint {})",
        view.not_after, view.fingerprint
    )
}

/// What the admin API takes at once.
const PORTION: usize = 100;
/// Below its 256 KiB.
const PORTION_BYTES: usize = 192 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn portions_fit_a_request_and_keep_the_order() {
        let sizes = |sizes: &[usize]| -> Vec<usize> {
            let certificates = sizes.iter().map(|size| "x".repeat(*size)).collect();
            portions(certificates).iter().map(Vec::len).collect()
        };
        assert_eq!(sizes(&[]), [0_usize; 0]);
        assert_eq!(sizes(&[1; 250]), [100, 100, 50]);
        assert_eq!(sizes(&[PORTION_BYTES, 1, PORTION_BYTES - 1, 1]), [1, 2, 1]);
        assert_eq!(sizes(&[PORTION_BYTES + 1, 1]), [1, 1]);
    }
}
