//! `countersign list`: the inventory.

use std::time::Duration;

use clap::{Args, ValueEnum};
use countersign_authority::api::{
    self, CertificateStatus, CertificateView, ListQuery, ListResponse,
};

use crate::backend::{Backend, block_on};
use crate::cli::arguments::{Globals, PassphraseArgument, StateArgument, duration};
use crate::fault::{Answer, Fault};
use crate::output::table;

/// List certificates, newest first
#[derive(Debug, Args)]
pub(crate) struct ListCommand {
    /// Only of this status
    #[arg(long, value_enum, default_value = "all")]
    status: StatusArgument,
    /// Only live ones that end within this time, such as 30d
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    expiring: Option<Duration>,
    /// Exit with 1 when any is found
    #[arg(long, requires = "expiring")]
    check: bool,
    #[command(flatten)]
    passphrase: PassphraseArgument,
    #[command(flatten)]
    state: StateArgument,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum StatusArgument {
    All,
    Expired,
    Live,
    Revoked,
}

impl StatusArgument {
    fn status(self) -> Option<CertificateStatus> {
        match self {
            Self::All => None,
            Self::Expired => Some(CertificateStatus::Expired),
            Self::Live => Some(CertificateStatus::Valid),
            Self::Revoked => Some(CertificateStatus::Revoked),
        }
    }
}

impl ListCommand {
    /// Runs it.
    pub(crate) fn run(self, globals: &Globals) -> Result<Answer, Fault> {
        let state = self.state.folder(globals)?;
        // What is revoked already does not end for anybody.
        let status = self
            .status
            .status()
            .or(self.expiring.map(|_| CertificateStatus::Valid));
        let query = ListQuery {
            status,
            expiring_within_s: self.expiring.map(|within| within.as_secs()),
            limit: Some(PAGE),
            ..ListQuery::default()
        };
        let certificates = block_on(async {
            let backend = Backend::connect(&state, &self.passphrase.passphrase()).await?;
            every_page(&backend, query).await
        })?;
        let found = !certificates.is_empty();
        globals
            .output()
            .answer(&certificates, |certificates| text(certificates))?;
        Ok(Answer::from_bool(!(self.check && found)))
    }
}

async fn every_page(
    backend: &Backend,
    mut query: ListQuery,
) -> Result<Vec<CertificateView>, Fault> {
    let mut certificates = Vec::new();
    loop {
        let page: ListResponse = backend.client.get(&api::list_path(&query)).await?;
        certificates.extend(page.certificates);
        match page.next {
            Some(next) => query.after = Some(next),
            None => return Ok(certificates),
        }
    }
}

/// The word that `--status` takes.
pub(crate) fn status_word(status: CertificateStatus) -> &'static str {
    match status {
        CertificateStatus::Expired => "expired",
        CertificateStatus::Revoked => "revoked",
        CertificateStatus::Unknown => "unknown",
        CertificateStatus::Valid => "live",
    }
}

fn text(certificates: &[CertificateView]) -> String {
    let row = |view: &CertificateView| {
        vec![
            view.name.clone(),
            view.profile.clone(),
            status_word(view.status).to_owned(),
            view.not_after.to_string(),
            view.serial.to_string(),
        ]
    };
    let rows: Vec<_> = certificates.iter().map(row).collect();
    table(&["NAME", "PROFILE", "STATUS", "NOT AFTER", "SERIAL"], &rows)
}

/// The most that the admin API gives at once.
const PAGE: u32 = 1000;
