//! `countersign issue --batch`: a certificate for each line of a CSV file or each request in a folder.
//!
//! All lines are judged, by the authority too, before the first certificate is issued. Then some are issued at a time: the
//! authority commits what comes together in one write. A run that was killed is gone on with by the same command, and
//! issues nothing twice: see [`journal`].

mod issuing;
mod journal;
mod plan;

use std::fmt::Write as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use countersign_authority::api::{self, PreviewResponse};
use countersign_authority::client::AdminClient;
use countersign_pki::pem;
use serde::Serialize;
use tokio::task::JoinSet;

use self::issuing::{Issued, Work, is_about_the_line};
use self::journal::{Journal, Record, Standing};
use self::plan::{BadLine, Defaults, KeyWish, Line, Plan};
use crate::backend::{Backend, block_on};
use crate::cli::arguments::{Asked, Globals};
use crate::fault::{Answer, Fault};
use crate::identity_files::{CA, CERTIFICATE, KEY};
use crate::leaf_key::{KeyKind, LeafKey};
use crate::output::{escaped, print, tell};
use crate::progress::Progress;

/// What is asked for.
#[derive(Debug)]
pub(super) struct Batch {
    /// The CSV file, or the folder of requests.
    pub(super) source: PathBuf,
    /// Where the folders go.
    pub(super) out: PathBuf,
    /// For lines that name none, and for every request of a folder.
    pub(super) profile: Option<String>,
    /// For lines that say none.
    pub(super) ttl: Option<Duration>,
    /// For lines that say none.
    pub(super) key: KeyKind,
    /// Judge the lines, issue nothing.
    pub(super) dry_run: bool,
}

/// What became of a line, for programs.
#[derive(Debug, Serialize)]
struct LineView<'a> {
    /// Where it stands.
    line: String,
    name: &'a str,
    outcome: Outcome,
    #[serde(skip_serializing_if = "Option::is_none")]
    serial: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    fingerprint: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    not_after: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    certificate: Option<PathBuf>,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<PathBuf>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ca: Option<PathBuf>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
enum Outcome {
    /// An earlier run did it.
    AlreadyDone,
    /// It was not issued.
    Failed,
    /// It was issued now.
    Issued,
    /// A dry run finds nothing against it.
    Possible,
    /// An earlier run had it issued, and was killed before it had the certificate.
    Recovered,
}

/// The end of the answer.
#[derive(Debug, Default, Serialize)]
struct Summary {
    lines: usize,
    already_done: usize,
    issued: usize,
    recovered: usize,
    failed: usize,
    dry_run: bool,
}

impl Batch {
    /// Judges every line, then issues those that are not done.
    pub(super) fn run(self, asked: &Asked, globals: &Globals) -> Result<Answer, Fault> {
        let defaults = Defaults {
            profile: self.profile.clone(),
            ttl: self.ttl,
            key: self.key,
        };
        let Plan { lines, bad, total } = plan::read(&self.source, &defaults)?;
        if !bad.is_empty() {
            return Err(refuse(&bad, total, globals));
        }
        let lines: Vec<Arc<Line>> = lines.into_iter().map(Arc::new).collect();
        // Nothing is made before every line is known to be good.
        let (open, _) = sort(&Journal::look(&self.out)?, &lines, globals)?;
        if self.dry_run {
            return self.rehearse(&open, total, asked, globals);
        }
        let mut summary = Summary {
            lines: total,
            ..Summary::default()
        };
        let issued = block_on(async {
            let mut backend = None;
            if !open.is_empty() {
                let connected = Backend::connect(asked).await?;
                connected.issuing().await?;
                self.judge(&connected.client, &open, globals).await?;
                backend = Some(connected);
            }
            let journal = Arc::new(Journal::open(&self.out)?);
            // Again, now that nobody else writes there.
            let (open, done) = sort(&journal, &lines, globals)?;
            for (line, record) in &done {
                journal.put_in_place(&record.folder)?;
                self.tell(line, Outcome::AlreadyDone, Some(record), None, globals)?;
            }
            summary.already_done = done.len();
            let issued = match backend {
                Some(backend) => {
                    self.issue(&backend, &journal, &open, &mut summary, globals)
                        .await
                }
                None => Ok(()),
            };
            journal.close();
            issued
        });
        issued?;
        self.sum_up(&summary, globals)
    }

    /// Says what would be issued.
    fn rehearse(
        &self,
        open: &[Arc<Line>],
        total: usize,
        asked: &Asked,
        globals: &Globals,
    ) -> Result<Answer, Fault> {
        if !open.is_empty() {
            block_on(async {
                let backend = Backend::connect(asked).await?;
                backend.issuing().await?;
                self.judge(&backend.client, open, globals).await
            })?;
        }
        for line in open {
            self.tell(line, Outcome::Possible, None, None, globals)?;
        }
        let summary = Summary {
            lines: total,
            already_done: total - open.len(),
            dry_run: true,
            ..Summary::default()
        };
        self.sum_up(&summary, globals)
    }

    /// Asks the authority about every line before it issues the first.
    async fn judge(
        &self,
        client: &AdminClient,
        open: &[Arc<Line>],
        globals: &Globals,
    ) -> Result<(), Fault> {
        let mut samples = Samples::default();
        let mut progress = Progress::begin("checking", open.len(), !globals.json);
        let mut asked = JoinSet::new();
        let mut bad = Vec::new();
        for (at, line) in open.iter().enumerate() {
            let request = line.request(samples.request(&line.key)?);
            let client = client.clone();
            if asked.len() >= AT_ONCE {
                bad.extend(next(&mut asked).await?);
                progress.advance();
            }
            asked.spawn(async move {
                match client
                    .post::<_, PreviewResponse>(api::PREVIEW, &request)
                    .await
                {
                    Ok(_) => Ok(None),
                    Err(error) if is_about_the_line(&error) => Ok(Some((at, error.to_string()))),
                    Err(error) => Err(Fault::from(error)),
                }
            });
        }
        while !asked.is_empty() {
            bad.extend(next(&mut asked).await?);
            progress.advance();
        }
        drop(progress);
        bad.sort();
        let bad: Vec<BadLine> = bad
            .into_iter()
            .map(|(at, why)| BadLine {
                place: open[at].place.clone(),
                why,
            })
            .collect();
        if bad.is_empty() {
            Ok(())
        } else {
            Err(refuse(&bad, open.len(), globals))
        }
    }

    async fn issue(
        &self,
        backend: &Backend,
        journal: &Arc<Journal>,
        open: &[Arc<Line>],
        summary: &mut Summary,
        globals: &Globals,
    ) -> Result<(), Fault> {
        let mut progress = Progress::begin("issuing", open.len(), !globals.json);
        let mut running: JoinSet<Result<Issued, Fault>> = JoinSet::new();
        let mut waiting = open.iter();
        loop {
            while running.len() < AT_ONCE
                && let Some(line) = waiting.next()
            {
                let work = Work {
                    client: backend.client.clone(),
                    is_served: backend.is_served,
                    journal: Arc::clone(journal),
                    line: Arc::clone(line),
                };
                running.spawn(work.run());
            }
            if running.is_empty() {
                return Ok(());
            }
            // The first fault that is not a line's own ends the run; what others have begun, the next run finds.
            let issued = next(&mut running).await?;
            progress.advance();
            match &issued.end {
                Ok((outcome, record)) => {
                    match outcome {
                        Outcome::Recovered => summary.recovered += 1,
                        _ => summary.issued += 1,
                    }
                    self.tell(&issued.line, *outcome, Some(record), None, globals)?;
                }
                Err(why) => {
                    summary.failed += 1;
                    self.tell(&issued.line, Outcome::Failed, None, Some(why), globals)?;
                }
            }
        }
    }

    /// One line of JSON each; for people the failures alone.
    fn tell(
        &self,
        line: &Line,
        outcome: Outcome,
        record: Option<&Record>,
        error: Option<&str>,
        globals: &Globals,
    ) -> Result<(), Fault> {
        if !globals.json {
            if let Some(why) = error {
                tell(&format!(
                    "{}: {}",
                    escaped(&line.place.to_string()),
                    escaped(why)
                ));
            }
            return Ok(());
        }
        let folder = self.out.join(&line.folder);
        let path = |name: &str| record.map(|_| folder.join(name));
        let view = LineView {
            line: line.place.to_string(),
            name: &line.name,
            outcome,
            serial: record.map(|it| it.serial.clone()),
            fingerprint: record.map(|it| it.fingerprint.to_string()),
            not_after: record.map(|it| it.not_after.clone()),
            certificate: path(CERTIFICATE),
            key: path(KEY).filter(|_| matches!(line.key, KeyWish::Make(_))),
            ca: path(CA),
            error: error.map(str::to_owned),
        };
        print(&serde_json::to_string(&view).map_err(Fault::bug)?)
    }

    fn sum_up(&self, summary: &Summary, globals: &Globals) -> Result<Answer, Fault> {
        globals.output().answer(summary, |summary| {
            if summary.dry_run {
                let possible = summary.lines - summary.already_done;
                return format!(
                    "nothing was issued: {possible} of {} lines would be, {} are done already\n",
                    summary.lines, summary.already_done
                );
            }
            let mut text = format!(
                "issued {} {} into {}",
                summary.issued,
                if summary.issued == 1 {
                    "certificate"
                } else {
                    "certificates"
                },
                self.out.display()
            );
            for (count, what) in [
                (summary.recovered, "found that an earlier run had asked for"),
                (summary.already_done, "done already"),
                (summary.failed, "failed"),
            ] {
                if count > 0 {
                    write!(text, "; {count} {what}").expect("a String takes everything");
                }
            }
            text.push('\n');
            text
        })?;
        Ok(Answer::from_bool(summary.failed == 0))
    }
}

/// A request for a key of each kind, made once: what is judged beforehand is thrown away.
#[derive(Default)]
struct Samples {
    made: Vec<(KeyKind, String)>,
}

impl Samples {
    fn request(&mut self, key: &KeyWish) -> Result<String, Fault> {
        let kind = match key {
            KeyWish::Request { pem, .. } => return Ok(pem.clone()),
            KeyWish::Make(kind) => *kind,
        };
        if let Some((_, pem)) = self.made.iter().find(|(made, _)| *made == kind) {
            return Ok(pem.clone());
        }
        let request = LeafKey::generate(kind)?.request()?;
        let pem = pem::encode("CERTIFICATE REQUEST", &request);
        self.made.push((kind, pem.clone()));
        Ok(pem)
    }
}

type Done = Vec<(Arc<Line>, Record)>;

/// The lines that are still to be done, and those that are; a line that cannot be done here refuses all.
fn sort(
    journal: &Journal,
    lines: &[Arc<Line>],
    globals: &Globals,
) -> Result<(Vec<Arc<Line>>, Done), Fault> {
    let (mut open, mut done, mut bad) = (Vec::new(), Vec::new(), Vec::new());
    for line in lines {
        match journal.standing(line) {
            Ok(Standing::Open) => open.push(Arc::clone(line)),
            Ok(Standing::Done(record)) => done.push((Arc::clone(line), record)),
            Err(why) => bad.push(BadLine {
                place: line.place.clone(),
                why,
            }),
        }
    }
    if bad.is_empty() {
        Ok((open, done))
    } else {
        Err(refuse(&bad, lines.len(), globals))
    }
}

/// Tells each bad line; the fault says that nothing was issued.
fn refuse(bad: &[BadLine], total: usize, globals: &Globals) -> Fault {
    #[derive(Serialize)]
    struct Wire<'a> {
        line: String,
        outcome: Outcome,
        error: &'a str,
    }
    for line in bad {
        let place = line.place.to_string();
        if globals.json {
            let wire = Wire {
                line: place,
                outcome: Outcome::Failed,
                error: &line.why,
            };
            // The fault below is told anyway.
            let _ = serde_json::to_string(&wire).map(|line| print(&line));
        } else {
            tell(&format!("{}: {}", escaped(&place), escaped(&line.why)));
        }
    }
    let many = if bad.len() == 1 { "line" } else { "lines" };
    Fault::configuration(format_args!(
        "{} {many} of {} cannot be issued; nothing was issued",
        bad.len(),
        total
    ))
    .hint("put these lines right; `--dry-run` judges without issuing")
}

async fn next<T: 'static>(running: &mut JoinSet<Result<T, Fault>>) -> Result<T, Fault> {
    match running.join_next().await {
        Some(Ok(outcome)) => outcome,
        Some(Err(error)) => Err(Fault::bug(error)),
        None => Err(Fault::bug("nothing runs that could be waited for")),
    }
}

/// Enough that the authority's commits hold several certificates each, too few to keep others from it.
const AT_ONCE: usize = 32;
