//! `countersign ca resume`: a restored authority is told what was revoked since its backup, and goes on.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use clap::Args;
use countersign_agent::feed_log::FeedLog;
use countersign_authority::api::{
    self, EvidenceResponse, PauseView, ResumeRequest, ResumeResponse,
};
use countersign_pki::feed::Snapshot;
use serde::Serialize;

use super::list_file;
use crate::backend::{Backend, block_on};
use crate::cli::arguments::{Globals, PassphraseArgument, StateArgument};
use crate::fault::{Answer, Fault};

/// Tell a restored authority what was revoked since its backup, and let it issue again
///
/// Give everything there is: revocations are united, what is known already stays as it is, and nothing is released. Each
/// CRL has to be one that this authority has signed; it may have expired. Repeating a command does no harm.
#[derive(Debug, Args)]
pub(crate) struct ResumeCommand {
    /// A CRL that the authority has published, in PEM or DER; may be repeated
    #[arg(long, value_name = "FILE")]
    crl: Vec<PathBuf>,
    /// The last feed state out of the state folder of a gateway; may be repeated
    #[arg(long, value_name = "FILE")]
    from_gateway: Vec<PathBuf>,
    /// Go on although nothing tells of the time since the backup
    #[arg(long, requires = "because")]
    without_evidence: bool,
    /// For the audit log
    #[arg(long, value_name = "WHY")]
    because: Option<String>,
    #[command(flatten)]
    passphrase: PassphraseArgument,
    #[command(flatten)]
    state: StateArgument,
}

/// What came of it.
#[derive(Debug, Serialize)]
struct Resumed {
    evidence: Vec<Told>,
    #[serde(skip_serializing_if = "Option::is_none")]
    was_paused: Option<PauseView>,
}

/// One file and what it told.
#[derive(Debug, Serialize)]
struct Told {
    file: PathBuf,
    #[serde(flatten)]
    outcome: EvidenceResponse,
}

/// A file that was read.
enum Evidence {
    Crl(Vec<u8>),
    Feed(Vec<u8>),
}

impl ResumeCommand {
    /// Runs it.
    pub(crate) fn run(self, globals: &Globals) -> Result<Answer, Fault> {
        let state = self.state.folder(globals)?;
        // All are read before the first is sent, so that a bad file is told at once.
        let mut evidence = Vec::new();
        for file in &self.crl {
            evidence.push((file, Evidence::Crl(list_file::read(file)?)));
        }
        for file in &self.from_gateway {
            evidence.push((file, Evidence::Feed(read_feed_state(file)?)));
        }
        let request = ResumeRequest {
            because: self.because.unwrap_or_default(),
            without_evidence: self.without_evidence,
        };
        let resumed = block_on(async {
            let backend = Backend::connect(&state, &self.passphrase.passphrase()).await?;
            let mut told = Vec::new();
            for (file, evidence) in evidence {
                let answer = match evidence {
                    Evidence::Crl(der) => {
                        backend
                            .client
                            .post_bytes(api::EVIDENCE_CRL, "application/pkix-crl", der)
                            .await
                    }
                    Evidence::Feed(json) => {
                        backend
                            .client
                            .post_bytes(api::EVIDENCE_FEED, "application/json", json)
                            .await
                    }
                };
                let outcome = answer.map_err(|error| Fault::from(error).about(file))?;
                told.push(Told {
                    file: file.clone(),
                    outcome,
                });
            }
            let answer: Result<ResumeResponse, _> =
                backend.client.post(api::RESUME, &request).await;
            let answer = answer.map_err(|error| {
                let old = told.iter().find(|told| !told.outcome.is_newer_than_backup);
                match old {
                    Some(old) => Fault::from(error).because(format_args!(
                        "{} is older than the backup",
                        old.file.display()
                    )),
                    None => error.into(),
                }
            })?;
            Ok(Resumed {
                evidence: told,
                was_paused: answer.was_paused,
            })
        })?;
        globals.output().answer(&resumed, text)?;
        Ok(Answer::Yes)
    }
}

/// What a gateway holds, as the snapshot that it would have been told.
fn read_feed_state(path: &Path) -> Result<Vec<u8>, Fault> {
    let wrong = |why: String| {
        Fault::configuration(format_args!("{} is no feed state: {why}", path.display()))
            .hint("nothing was told yet; a gateway keeps it in its state folder, as gateway/feed")
    };
    let held = FeedLog::read(path).map_err(|error| wrong(error.to_string()))?;
    let held = held.ok_or_else(|| wrong("the gateway has heard nothing yet".to_owned()))?;
    let snapshot = Snapshot {
        history: held.position.history().clone(),
        sequence: held.position.sequence(),
        at: held.position.confirmed_at(),
        revoked: held.revoked,
    };
    serde_json::to_vec(&snapshot).map_err(Fault::bug)
}

fn text(resumed: &Resumed) -> String {
    let mut text = String::new();
    for Told { file, outcome } in &resumed.evidence {
        let EvidenceResponse {
            revoked,
            unknown,
            known,
            is_newer_than_backup,
        } = outcome;
        let age = if *is_newer_than_backup || resumed.was_paused.is_none() {
            ""
        } else {
            "; older than the backup"
        };
        writeln!(
            text,
            "{}: {revoked} revoked, {unknown} of unknown serials revoked, {known} known before{age}",
            file.display()
        )
        .expect("a String takes everything");
    }
    text.push_str(match resumed.was_paused {
        Some(_) => "certificates are issued again\n",
        None => "issuing was not paused\n",
    });
    text
}
