//! `countersign ca resume`: a restored authority is told what was revoked since its backup, and goes on.

use std::fmt::Write as _;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use clap::Args;
use countersign_agent::feed_log::FeedLog;
use countersign_authority::api::{
    self, EvidenceResponse, PauseView, ResumeRequest, ResumeResponse,
};
use countersign_pki::crl::ParsedCrl;
use countersign_pki::feed::Snapshot;
use countersign_pki::pem;
use serde::Serialize;

use crate::backend::{Backend, block_on};
use crate::cli::arguments::{AuthorityArguments, Globals};
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
    authority: AuthorityArguments,
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
        let asked = self.authority.asked(globals)?;
        // All are read before the first is sent, so that a bad file is told at once.
        let mut evidence = Vec::new();
        for file in &self.crl {
            evidence.push((file, Evidence::Crl(read_crl(file)?)));
        }
        for file in &self.from_gateway {
            evidence.push((file, Evidence::Feed(read_feed_state(file)?)));
        }
        let request = ResumeRequest {
            because: self.because.unwrap_or_default(),
            without_evidence: self.without_evidence,
        };
        let resumed = block_on(async {
            let backend = Backend::connect(&asked).await?;
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

fn read_crl(path: &Path) -> Result<Vec<u8>, Fault> {
    let bytes = read(path)?;
    let der = match pem::decode_all(&bytes) {
        Ok(blocks) if !blocks.is_empty() => match <[pem::Block; 1]>::try_from(blocks) {
            Ok([block]) if block.label == "X509 CRL" => block.der,
            _ => return Err(not_one(path, "exactly one X509 CRL")),
        },
        _ => bytes,
    };
    match ParsedCrl::parse(&der) {
        Ok(_) => Ok(der),
        Err(error) => Err(Fault::configuration(format_args!(
            "{} is no CRL: {error}",
            path.display()
        ))
        .hint("nothing was told yet; `countersign inspect FILE` says what a file holds")),
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

fn read(path: &Path) -> Result<Vec<u8>, Fault> {
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| file.take(MAX_FILE + 1).read_to_end(&mut bytes));
    read.map_err(|error| {
        Fault::configuration(format_args!("cannot read {}: {error}", path.display()))
            .hint("nothing was told yet: name a file that is there")
    })?;
    if bytes.len() as u64 > MAX_FILE {
        return Err(not_one(path, "less than 256 MiB"));
    }
    Ok(bytes)
}

fn not_one(path: &Path, what: &str) -> Fault {
    Fault::configuration(format_args!("{} does not hold {what}", path.display()))
        .hint("nothing was told yet: give each list in a file of its own")
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

/// As much as the admin API takes.
const MAX_FILE: u64 = 256 * 1024 * 1024;
