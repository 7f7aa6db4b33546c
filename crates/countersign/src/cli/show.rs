//! `countersign show`: everything known of a certificate; and what WHAT means on this side of the admin API.

use std::path::Path;

use clap::Args;
use countersign_authority::api::{self, ShowResponse};

use crate::backend::{Backend, block_on};
use crate::certificate_file::certificate_in;
use crate::cli::arguments::{AuthorityArguments, Globals};
use crate::cli::certificate_view::{Shown, ShownOne, labels_text};
use crate::fault::{Answer, Fault};
use crate::output::escaped;

/// Show what is known of a certificate
///
/// By what else is known of it, `list` finds it: its filters give names, serial numbers and fingerprints.
#[derive(Debug, Args)]
pub(crate) struct ShowCommand {
    /// A certificate file, a name, a serial number or a fingerprint
    #[arg(value_name = "WHAT")]
    what: String,
    #[command(flatten)]
    authority: AuthorityArguments,
}

impl ShowCommand {
    /// Runs it.
    pub(crate) fn run(self, globals: &Globals) -> Result<Answer, Fault> {
        let asked = self.authority.asked(globals)?;
        let what = what_is_meant(&self.what)?;
        let shown: ShowResponse = block_on(async {
            let backend = Backend::connect(&asked).await?;
            Ok(backend.client.get(&api::show_path(&what)).await?)
        })?;
        globals.output().answer(&Shown::from(shown), |shown| {
            let mut texts: Vec<_> = shown.certificates.iter().map(text).collect();
            texts.extend(shown.more.then(|| {
                "there are more: `countersign list --identity NAME` gives all, page by page"
                    .to_owned()
            }));
            texts.join("\n")
        })?;
        Ok(Answer::Yes)
    }
}

/// WHAT as the authority knows it: a file becomes the fingerprint of its first certificate, the rest stays.
pub(crate) fn what_is_meant(what: &str) -> Result<String, Fault> {
    let path = Path::new(what);
    let extension = path
        .extension()
        .and_then(|extension| extension.to_str())
        .unwrap_or_default();
    if path.is_file() || ["cer", "crt", "der", "pem"].contains(&extension) {
        return Ok(certificate_in(path)?.fingerprint().to_string());
    }
    Ok(what.to_owned())
}

fn text(shown: &ShownOne) -> String {
    let view = &shown.certificate;
    let mut rows = vec![
        ("name", view.name.clone()),
        ("status", view.status.to_owned()),
        ("profile", view.profile.clone()),
        ("names", view.names.join(", ")),
        ("serial", view.serial.to_string()),
    ];
    rows.extend(
        view.fingerprint
            .map(|fingerprint| ("fingerprint", fingerprint.to_string())),
    );
    rows.extend([
        ("issuer", view.issuer.clone()),
        ("not before", view.not_before.to_string()),
        ("not after", view.not_after.to_string()),
        (
            "issued",
            format!("{} to {}", view.issued_at, view.issued_to),
        ),
    ]);
    rows.extend(view.owner.clone().map(|owner| ("owner", owner)));
    let labels = (!view.labels.is_empty()).then(|| ("labels", labels_text(&view.labels)));
    rows.extend(labels);
    rows.extend(view.note.clone().map(|note| ("note", note)));
    rows.extend(
        view.revocation
            .as_ref()
            .map(|it| ("revoked", format!("{} ({})", it.revoked_at, it.reason))),
    );
    let lines = rows
        .iter()
        .map(|(label, value)| format!("{label:<12} {}\n", escaped(value)));
    lines.chain(shown.pem.clone()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_file_goes_to_the_authority_as_it_is() {
        for what in [
            "you",
            "dns:api.example.com",
            "spiffe://example.com/ns/api",
            "CN=a,O=b",
            "4f2a",
            "/CN=a",
        ] {
            assert_eq!(what_is_meant(what).as_deref(), Ok(what));
        }
    }

    #[test]
    fn file_that_is_missing_or_holds_no_certificate_is_a_fault() {
        assert_eq!(
            what_is_meant("missing/cert.pem")
                .expect_err("missing")
                .exit_code(),
            2
        );
        let file = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(file.path(), "nonsense").expect("written");
        assert!(what_is_meant(&file.path().to_string_lossy()).is_err());
    }
}
