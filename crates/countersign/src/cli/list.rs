//! `countersign list`: the inventory, page by page.

use std::time::Duration;

use clap::{Args, ValueEnum};
use countersign_authority::api::{self, CertificateStatus, ListQuery, ListResponse};

use crate::backend::{Backend, block_on};
use crate::cli::arguments::{AuthorityArguments, Globals, duration};
use crate::cli::certificate_view::{Listed, ListedPage};
use crate::cli::csv;
use crate::cli::filters::FilterArguments;
use crate::fault::{Answer, Fault};
use crate::output::{print, table, tell};

/// List certificates: those for which everything that is asked holds
///
/// Newest first; with --expiring or --status live what ends first; with --status expired what ended last; a pattern gives
/// them by name, --owner and --label by identity.
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
    filters: FilterArguments,
    /// At most so many, 1 to 1000
    #[arg(long, value_name = "N", default_value = "100", value_parser = clap::value_parser!(u32).range(1..=1000))]
    limit: u32,
    /// Go on behind the page that gave this cursor, with the same filters
    #[arg(long, value_name = "CURSOR")]
    after: Option<String>,
    /// Every page; with --json each is a line of its own
    #[arg(long, conflicts_with = "limit")]
    all: bool,
    /// Answer in CSV (RFC 4180, UTF-8); a cell that a spreadsheet would take for a formula begins with an apostrophe
    #[arg(long)]
    csv: bool,
    #[command(flatten)]
    authority: AuthorityArguments,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum StatusArgument {
    All,
    Expired,
    /// On hold
    Held,
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
            Self::Held => Some(CertificateStatus::Held),
            Self::Live => Some(CertificateStatus::Live),
            Self::Revoked => Some(CertificateStatus::Revoked),
            Self::Unknown => Some(CertificateStatus::Unknown),
        }
    }
}

impl ListCommand {
    /// Runs it.
    pub(crate) fn run(self, globals: &Globals) -> Result<Answer, Fault> {
        if self.csv && globals.json {
            return Err(Fault::configuration("--csv and --json are two answers")
                .hint("leave one of them out"));
        }
        let asked = self.authority.asked(globals)?;
        let mut query = self.query();
        let found = block_on(async {
            let backend = Backend::connect(&asked).await?;
            let mut is_first = true;
            let mut found = false;
            loop {
                let page = whole_page(&backend, &mut query).await?;
                found |= !page.certificates.is_empty();
                self.print(globals, &page, is_first)?;
                is_first = false;
                match page.next {
                    Some(next) if self.all => query.after = Some(next),
                    _ => return Ok(found),
                }
            }
        })?;
        Ok(Answer::from_bool(!(self.check && found)))
    }

    fn query(&self) -> ListQuery {
        ListQuery {
            status: self.status.status(),
            expiring_within_s: self.expiring.map(|within| within.as_secs()),
            after: self.after.clone(),
            limit: Some(if self.all { PAGE } else { self.limit }),
            ..self.filters.query()
        }
    }

    /// Page by page, so that a list of any length needs the memory of one page.
    fn print(&self, globals: &Globals, page: &ListedPage, is_first: bool) -> Result<(), Fault> {
        let more = page.next.as_ref().filter(|_| !self.all).map(|next| {
            format!(
                "there are more: `--after {next}` with the same filters goes on, --all gives all"
            )
        });
        if self.csv {
            let header = if is_first {
                csv::header()
            } else {
                String::new()
            };
            let rows: String = page.certificates.iter().map(csv::row).collect();
            print(&(header + &rows))?;
            // Beside the data, which a program reads.
            if let Some(more) = more {
                tell(&more);
            }
            return Ok(());
        }
        globals.output().answer(page, |page| {
            let mut lines = vec![text(&page.certificates, is_first)];
            lines.extend(more);
            lines.join("\n")
        })
    }
}

/// As many rows as were asked for, where there are as many: the authority gives fewer at once where few fit.
async fn whole_page(backend: &Backend, query: &mut ListQuery) -> Result<ListedPage, Fault> {
    let limit = query.limit.unwrap_or(PAGE);
    let mut page: ListResponse = backend.client.get(&api::list_path(query)).await?;
    while let Some(next) = &page.next
        && (page.certificates.len() as u64) < u64::from(limit)
    {
        query.after = Some(next.clone());
        query.limit = Some(limit - u32::try_from(page.certificates.len()).unwrap_or(limit));
        let more: ListResponse = backend.client.get(&api::list_path(query)).await?;
        page.certificates.extend(more.certificates);
        page.next = more.next;
    }
    query.limit = Some(limit);
    Ok(page.into())
}

fn text(certificates: &[Listed], with_header: bool) -> String {
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
    let table = table(&["NAME", "PROFILE", "STATUS", "NOT AFTER", "SERIAL"], &rows);
    match table.split_once('\n') {
        Some((_, rows)) if !with_header => rows.to_owned(),
        _ => table,
    }
}

/// The most that the admin API gives at once.
const PAGE: u32 = 1000;
