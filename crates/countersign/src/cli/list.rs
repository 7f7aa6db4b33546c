//! `countersign list`: the inventory.

use std::time::Duration;

use clap::{Args, ValueEnum};
use countersign_authority::api::{self, CertificateStatus, ListQuery, ListResponse};

use crate::backend::{Backend, block_on};
use crate::cli::arguments::{Globals, PassphraseArgument, StateArgument, duration};
use crate::cli::certificate_view::Listed;
use crate::fault::{Answer, Fault};
use crate::output::table;

/// List certificates, newest first
#[derive(Debug, Args)]
pub(crate) struct ListCommand {
    /// Only of this status
    #[arg(long, value_enum, default_value = "all")]
    status: StatusArgument,
    /// Only those that end within this time, such as 30d, and are live or, unless --status says more, unknown
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
    /// Reserved, and not known to be signed
    Unknown,
}

impl StatusArgument {
    fn status(self) -> Option<CertificateStatus> {
        match self {
            Self::All => None,
            Self::Expired => Some(CertificateStatus::Expired),
            Self::Live => Some(CertificateStatus::Valid),
            Self::Revoked => Some(CertificateStatus::Revoked),
            Self::Unknown => Some(CertificateStatus::Unknown),
        }
    }
}

impl ListCommand {
    /// Runs it.
    pub(crate) fn run(self, globals: &Globals) -> Result<Answer, Fault> {
        let state = self.state.folder(globals)?;
        let status = self.status.status();
        let query = ListQuery {
            status,
            expiring_within_s: self.expiring.map(|within| within.as_secs()),
            limit: Some(PAGE),
            ..ListQuery::default()
        };
        let mut certificates = block_on(async {
            let backend = Backend::connect(&state, &self.passphrase.passphrase()).await?;
            every_page(&backend, query).await
        })?;
        if self.expiring.is_some() && status.is_none() {
            // What is revoked already does not end for anybody; what is unknown may be in use.
            certificates.retain(|view| view.revocation.is_none());
        }
        let found = !certificates.is_empty();
        globals
            .output()
            .answer(&certificates, |certificates| text(certificates))?;
        Ok(Answer::from_bool(!(self.check && found)))
    }
}

async fn every_page(backend: &Backend, mut query: ListQuery) -> Result<Vec<Listed>, Fault> {
    let mut certificates = Vec::new();
    loop {
        let page: ListResponse = backend.client.get(&api::list_path(&query)).await?;
        certificates.extend(page.certificates.into_iter().map(Listed::from));
        match page.next {
            Some(next) => query.after = Some(next),
            None => return Ok(certificates),
        }
    }
}

fn text(certificates: &[Listed]) -> String {
    let row = |view: &Listed| {
        vec![
            view.name.clone(),
            view.profile.clone(),
            view.status.to_owned(),
            view.not_after.to_string(),
            view.serial.to_string(),
        ]
    };
    let rows: Vec<_> = certificates.iter().map(row).collect();
    table(&["NAME", "PROFILE", "STATUS", "NOT AFTER", "SERIAL"], &rows)
}

/// The most that the admin API gives at once.
const PAGE: u32 = 1000;
