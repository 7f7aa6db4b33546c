//! What revocations and releases share: which certificates are meant, the look before, the question, the deed, and the wait
//! for nodes.

use std::fmt::Write as _;
use std::future::Future;
use std::time::Duration;

use clap::Args;
use countersign_authority::api::{
    self, NodeView, ReceiptQuery, ReceiptResponse, ReleasedView, RevokePreviewResponse,
    UnderWayResponse,
};
use countersign_authority::client::AdminClient;
use countersign_diagnose::doctor::shell_word::quoted;
use countersign_pki::feed::{RevocationReason, Sequence};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::time::{Instant, interval, timeout};

use crate::backend::{Backend, block_on};
use crate::cli::arguments::{AuthorityArguments, Globals, duration};
use crate::cli::filters::FilterArguments;
use crate::cli::show::what_is_meant;
use crate::fault::{Answer, Fault};
use crate::output::{ask, can_ask, escaped, stderr_is_terminal, table, tell, tell_for_now};

/// Which certificates, and how much to look and to wait.
#[derive(Debug, Args)]
#[group(skip)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is an option of the command line"
)]
pub(crate) struct WithdrawalArguments {
    /// A certificate file, a serial number, a fingerprint, or a name, which means every live certificate of that name
    #[arg(value_name = "WHAT", required_unless_present_any = FILTERS)]
    what: Option<String>,
    #[command(flatten)]
    filters: FilterArguments,
    /// Change nothing: show how many certificates are meant, of how many identities, and the first of them
    #[arg(long, conflicts_with = "wait")]
    dry_run: bool,
    /// With --dry-run, every one of them; with --json each page is a line of its own
    #[arg(long, requires = "dry_run")]
    all: bool,
    /// Do not ask, however many are meant
    #[arg(long)]
    yes: bool,
    /// Wait until every connected gateway has confirmed; exit with 1 when one has not
    #[arg(long)]
    wait: bool,
    /// How long to wait at most
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = duration, requires = "wait")]
    wait_timeout: Duration,
    #[command(flatten)]
    pub(crate) authority: AuthorityArguments,
}

/// What is to be done, in the words of the question and the preview.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Verb {
    /// "revoke".
    pub(crate) infinitive: &'static str,
    /// "revoking".
    pub(crate) going_on: &'static str,
}

impl WithdrawalArguments {
    /// WHAT as the authority knows it.
    pub(crate) fn what(&self) -> Result<Option<String>, Fault> {
        self.what.as_deref().map(what_is_meant).transpose()
    }

    /// The filters.
    pub(crate) fn filters(&self) -> &FilterArguments {
        &self.filters
    }

    /// Whether nobody can know by heart how many are meant.
    fn is_wide(&self) -> bool {
        self.what.is_none() && !self.filters.is_narrow()
    }

    /// Whether there is anything to look at before.
    fn must_look(&self) -> bool {
        self.dry_run || (self.is_wide() && !self.yes)
    }

    /// Refuses at once what could only be asked about.
    fn refuse_unasked(&self, verb: Verb) -> Result<(), Fault> {
        if self.dry_run || !self.must_look() || can_ask() {
            return Ok(());
        }
        Err(Fault::configuration(format_args!(
            "filters can mean very many certificates, and nobody is here to ask whether to {} them",
            verb.infinitive
        ))
        .hint("`--dry-run` shows how many; `--yes` does it without a question"))
    }

    /// Shows what would change; `true`: nothing but that was asked for.
    async fn show<Request: Serialize>(
        &self,
        globals: &Globals,
        client: &AdminClient,
        path: &str,
        mut request: Request,
        after: impl Fn(&mut Request, String),
    ) -> Result<RevokePreviewResponse, Fault> {
        let mut first: Option<RevokePreviewResponse> = None;
        loop {
            let mut page: RevokePreviewResponse = client.post(path, &request).await?;
            let next = page.next.clone();
            let is_first = first.is_none();
            if globals.json && self.dry_run {
                globals.output().answer(&page, |_| String::new())?;
            } else if self.dry_run {
                globals
                    .output()
                    .answer(&page, |page| preview(page, is_first, self.all))?;
            } else {
                tell(&preview(&page, true, false));
            }
            page.certificates.clear();
            let first = first.get_or_insert(page);
            match next {
                Some(next) if self.all => after(&mut request, next),
                _ => return Ok(first.clone()),
            }
        }
    }

    /// Waits for the nodes, if that is asked for; the bar is for a person.
    async fn wait_for_nodes(
        &self,
        client: &AdminClient,
        first: Sequence,
        last: Sequence,
        told: ReceiptResponse,
    ) -> Result<ReceiptResponse, Fault> {
        let deadline = Instant::now() + self.wait_timeout;
        let mut receipt = told;
        while self.wait && !receipt.unconfirmed.is_empty() {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            if stderr_is_terminal() {
                let all = receipt.nodes.len();
                let bar = bar(all - receipt.unconfirmed.len(), all);
                tell_for_now(&format!("{bar} gateways have confirmed"));
            }
            let slice = left.min(SLICE);
            let query = ReceiptQuery {
                first: first.0,
                last: last.0,
                wait_ms: Some(u64::try_from(slice.as_millis()).unwrap_or(u64::MAX)),
            };
            receipt = client.get(&api::receipts_path(&query)).await?;
        }
        if self.wait && stderr_is_terminal() {
            tell_for_now("");
        }
        Ok(receipt)
    }
}

/// What a command does with what is meant, from the question to the receipt.
pub(crate) trait Deed {
    /// What is sent.
    type Request: Serialize + Clone;
    /// What comes back.
    type Receipt: Serialize + DeserializeOwned;

    const VERB: Verb;
    const PATH: &'static str;
    const PREVIEW: &'static str;

    fn meant(&self) -> &WithdrawalArguments;
    fn request(&self) -> Result<Self::Request, Fault>;
    /// Goes on behind the page that ends there.
    fn go_on(request: &mut Self::Request, next: String);
    fn limit(request: &mut Self::Request, at_most: u64);
    fn messages(receipt: &Self::Receipt) -> (Sequence, Sequence);
    /// What the nodes have said so far, to be taken away and put back.
    fn told(receipt: &mut Self::Receipt) -> (&mut Vec<NodeView>, &mut Vec<String>);
    fn text(receipt: &Self::Receipt, waited: bool) -> String;
    /// Of what a preview shows, before the question.
    fn warn_before(&self, _: &RevokePreviewResponse) {}
    /// Behind the receipt.
    fn warn_after(&self, _: &Self::Receipt) {}
}

/// Does it.
pub(crate) fn run<D: Deed>(deed: &D, globals: &Globals) -> Result<Answer, Fault> {
    let meant = deed.meant();
    meant.refuse_unasked(D::VERB)?;
    let asked = meant.authority.asked(globals)?;
    let mut request = deed.request()?;
    let receipt = block_on(async {
        let backend = Backend::connect(&asked).await?;
        let client = &backend.client;
        let mut count = None;
        if meant.must_look() {
            let preview = meant
                .show(globals, client, D::PREVIEW, request.clone(), D::go_on)
                .await?;
            deed.warn_before(&preview);
            if meant.dry_run {
                return Ok(None);
            }
            confirm(D::VERB, &preview)?;
            D::limit(&mut request, preview.count);
            count = Some(preview.count);
        }
        let call = client.post(D::PATH, &request);
        let mut receipt: D::Receipt = with_patience(client, D::VERB, count, call).await?;
        let (first, last) = D::messages(&receipt);
        let (nodes, unconfirmed) = D::told(&mut receipt);
        let told = ReceiptResponse {
            nodes: std::mem::take(nodes),
            unconfirmed: std::mem::take(unconfirmed),
        };
        let confirmed = meant.wait_for_nodes(client, first, last, told).await?;
        (*nodes, *unconfirmed) = (confirmed.nodes, confirmed.unconfirmed);
        Ok(Some(receipt))
    })?;
    let Some(mut receipt) = receipt else {
        return Ok(Answer::Yes);
    };
    globals
        .output()
        .answer(&receipt, |receipt| D::text(receipt, meant.wait))?;
    deed.warn_after(&receipt);
    let (_, unconfirmed) = D::told(&mut receipt);
    Ok(Answer::from_bool(!meant.wait || unconfirmed.is_empty()))
}

/// Asks; an answer other than yes is a no.
fn confirm(verb: Verb, preview: &RevokePreviewResponse) -> Result<(), Fault> {
    let question = format!(
        "{} {}? Type yes:",
        verb.infinitive,
        how_many(preview.count, preview.identities)
    );
    match ask(&question).as_deref() {
        Some("yes" | "y" | "Yes" | "YES") => Ok(()),
        _ => Err(Fault::denied("not confirmed: nothing was changed")),
    }
}

/// The answer of a call that may take long; a person sees how far it is.
async fn with_patience<T>(
    client: &AdminClient,
    verb: Verb,
    count: Option<u64>,
    call: impl Future<Output = T>,
) -> T {
    tokio::pin!(call);
    let begun = Instant::now();
    let mut ticks = interval(TICK);
    // The first comes at once.
    ticks.tick().await;
    let mut is_shown = false;
    loop {
        tokio::select! {
            biased;
            answer = &mut call => {
                if is_shown {
                    tell_for_now("");
                }
                return answer;
            }
            _ = ticks.tick() => {
                if stderr_is_terminal() {
                    let seconds = begun.elapsed().as_secs();
                    let far = match count {
                        Some(count) => bar_of(client, count).await,
                        None => String::new(),
                    };
                    tell_for_now(&format!("{} {far}, all or none: {seconds} s", verb.going_on));
                    is_shown = true;
                }
            }
        }
    }
}

/// How much of it is in the transaction. A bar is not worth a failure: where nobody says, it stays empty.
async fn bar_of(client: &AdminClient, count: u64) -> String {
    let answer = timeout(TICK, client.get::<UnderWayResponse>(api::UNDER_WAY)).await;
    let changed = answer.ok().and_then(Result::ok).and_then(|it| it.changed);
    let in_full = |count: u64| usize::try_from(count).unwrap_or(usize::MAX);
    bar(in_full(changed.unwrap_or(0).min(count)), in_full(count))
}

/// What each node did, a line each; `deed`: what may not be in force where a node has not confirmed.
pub(crate) fn nodes(text: &mut String, nodes: &[NodeView], waited: bool, deed: &str) {
    let mut line = |line: std::fmt::Arguments<'_>| {
        writeln!(text, "{line}").expect("a String takes everything");
    };
    if nodes.is_empty() {
        line(format_args!(
            "  no gateway is connected: each learns of it before it serves again"
        ));
    }
    for node in nodes {
        let (sessions, connections) = (node.sessions_declined, node.connections_cut);
        let name = escaped(&node.node);
        match (node.confirmed, node.after_ms) {
            (true, Some(after_ms)) => line(format_args!(
                "  {name} confirmed after {after_ms} ms: {sessions} sessions declined, {connections} connections cut"
            )),
            (true, None) => line(format_args!("  {name} confirmed")),
            (false, _) if waited => line(format_args!("  {name} has NOT confirmed: {deed}")),
            (false, _) => line(format_args!(
                "  {name} was told; `--wait` waits for its word"
            )),
        }
    }
}

/// A line for each of the first, and one for all others.
pub(crate) fn lines<T>(text: &mut String, count: u64, first: &[T], line: impl Fn(&T) -> String) {
    let shown = if first.len() <= SHOWN + 1 {
        first.len()
    } else {
        SHOWN
    };
    for item in &first[..shown] {
        writeln!(text, "{}", line(item)).expect("a String takes everything");
    }
    let more = count.saturating_sub(shown as u64);
    if more > 0 {
        writeln!(text, "... and {more} more").expect("a String takes everything");
    }
}

/// Of a revocation that leaves certificates of the same holders alive: who stole one may have renewed it.
pub(crate) fn survivors(
    count: u64,
    first: &[ReleasedView],
    reason: RevocationReason,
    authority: &AuthorityArguments,
) -> Option<String> {
    if count == 0 {
        return None;
    }
    let are = match count {
        1 => "1 certificate that was renewed from these is live".to_owned(),
        _ => format!("{count} certificates that were renewed from these are live"),
    };
    let mut text = format!("warning: {are}, under a key of its own:\n");
    lines(&mut text, count, first, |view| {
        format!("  {} (serial {})", escaped(&view.name), view.serial)
    });
    text.push_str("hint: by its name every live certificate of an identity is revoked:\n");
    let mut names: Vec<&str> = first.iter().map(|view| view.name.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    lines(&mut text, names.len() as u64, &names, |name| {
        let (name, again) = (quoted(name), authority.again());
        let command = format!("  countersign revoke {name} --reason {reason}{again}");
        escaped(&command)
    });
    // `tell` ends the last one.
    text.truncate(text.trim_end().len());
    Some(text)
}

fn preview(page: &RevokePreviewResponse, is_first: bool, all: bool) -> String {
    let rows: Vec<Vec<String>> = page
        .certificates
        .iter()
        .take(if all { usize::MAX } else { SHOWN })
        .map(row)
        .collect();
    let table = table(&["NAME", "NOT AFTER", "SERIAL"], &rows);
    if !is_first {
        return table
            .split_once('\n')
            .map_or(String::new(), |(_, rows)| rows.to_owned());
    }
    let mut text = format!("{} would change", how_many(page.count, page.identities));
    for (count, what) in [
        (page.already_count, "are so already"),
        (page.imported_count, "are of others and stay as they are"),
    ] {
        if count > 0 {
            write!(text, ", {count} {what}").expect("a String takes everything");
        }
    }
    text.push('\n');
    if !rows.is_empty() {
        text.push_str(&table);
        text.push('\n');
    }
    let more = page.count.saturating_sub(rows.len() as u64);
    if more > 0 && !all {
        writeln!(text, "... and {more} more: `--dry-run --all` shows them")
            .expect("a String takes everything");
    }
    text
}

fn row(view: &ReleasedView) -> Vec<String> {
    vec![
        view.name.clone(),
        view.not_after
            .map_or_else(|| "not known".to_owned(), |end| end.to_string()),
        view.serial.to_string(),
    ]
}

fn how_many(count: u64, identities: u64) -> String {
    let plural = |count: u64, one: &str, many: &str| match count {
        1 => format!("1 {one}"),
        _ => format!("{count} {many}"),
    };
    format!(
        "{} of {}",
        plural(count, "certificate", "certificates"),
        plural(identities, "identity", "identities")
    )
}

fn bar(done: usize, all: usize) -> String {
    let filled = done * WIDTH / all.max(1);
    format!(
        "[{}{}] {done}/{all}",
        "#".repeat(filled),
        ".".repeat(WIDTH - filled)
    )
}

/// Options that say which certificates are meant, where WHAT does not.
const FILTERS: [&str; 11] = [
    "name",
    "san",
    "identity",
    "issuer",
    "profile",
    "serial",
    "fingerprint",
    "spki",
    "issued_by",
    "owner",
    "labels",
];

/// A screen has room for them; a program asks for --json.
const SHOWN: usize = 20;

const WIDTH: usize = 30;

/// How long one call waits for the nodes: the bar moves when it returns.
const SLICE: Duration = Duration::from_millis(500);

const TICK: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bar_is_as_long_as_what_is_done() {
        assert_eq!(bar(0, 0), format!("[{}] 0/0", ".".repeat(30)));
        assert_eq!(
            bar(1, 3),
            format!("[{}{}] 1/3", "#".repeat(10), ".".repeat(20))
        );
        assert_eq!(bar(3, 3), format!("[{}] 3/3", "#".repeat(30)));
    }

    #[test]
    fn the_first_are_named_and_the_others_counted() {
        let shown = |count: usize| {
            let mut text = String::new();
            lines(&mut text, count as u64, &vec![(); count.min(1000)], |()| {
                "x".to_owned()
            });
            (
                text.matches("x\n").count(),
                text.lines().last().map(ToOwned::to_owned),
            )
        };
        assert_eq!(shown(21), (21, Some("x".to_owned())));
        assert_eq!(shown(22), (20, Some("... and 2 more".to_owned())));
        assert_eq!(shown(5000), (20, Some("... and 4980 more".to_owned())));
    }
}
