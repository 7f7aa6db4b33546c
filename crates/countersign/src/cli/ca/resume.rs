//! `countersign ca resume`: a restored authority is told what was revoked since its backup, and goes on.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use clap::Args;
use countersign_agent::feed_log::FeedLog;
use countersign_authority::api::{
    self, EvidenceResponse, PauseView, ResumeRequest, ResumeResponse, StatusResponse,
};
use countersign_pki::feed::{Position, Snapshot};
use countersign_pki::fingerprint::Fingerprint;
use serde::Serialize;

use super::list_file;
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
    /// Issue by the built-in profiles, where a backup of an earlier version does not say by which
    #[arg(long, requires = "because")]
    built_in_profiles: bool,
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
    are_profiles_unknown: bool,
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
    Feed {
        /// What the gateway trusts.
        anchors: Vec<Fingerprint>,
        now: Vec<u8>,
        /// Where the gateway stood in the history before, which is the one that was lost, if it has heard the restored
        /// authority already.
        earlier: Option<Vec<u8>>,
    },
}

impl ResumeCommand {
    /// Runs it.
    pub(crate) fn run(self, globals: &Globals) -> Result<Answer, Fault> {
        let asked = self.authority.asked(globals)?;
        // All are read before the first is sent, so that a bad file is told at once.
        let mut evidence = Vec::new();
        for file in &self.crl {
            evidence.push((file, Evidence::Crl(list_file::read(file)?)));
        }
        for file in &self.from_gateway {
            evidence.push((file, read_feed_state(file)?));
        }
        let request = ResumeRequest {
            because: self.because.unwrap_or_default(),
            without_evidence: self.without_evidence,
            built_in_profiles: self.built_in_profiles,
        };
        let resumed = block_on(async {
            let backend = Backend::connect(&asked).await?;
            refuse_those_of_others(&backend, &evidence).await?;
            let mut told = Vec::new();
            for (file, evidence) in evidence {
                let answer = match evidence {
                    Evidence::Crl(der) => {
                        backend
                            .client
                            .post_bytes(api::EVIDENCE_CRL, "application/pkix-crl", der)
                            .await
                    }
                    Evidence::Feed { now, earlier, .. } => {
                        let tell = |json| {
                            let client = &backend.client;
                            client.post_bytes(api::EVIDENCE_FEED, "application/json", json)
                        };
                        let answer: Result<EvidenceResponse, _> = tell(now).await;
                        match (answer, earlier) {
                            (Ok(outcome), Some(earlier)) if !outcome.is_newer_than_backup => {
                                let again: Result<EvidenceResponse, _> = tell(earlier).await;
                                again.map(|again| EvidenceResponse {
                                    is_newer_than_backup: again.is_newer_than_backup,
                                    ..outcome
                                })
                            }
                            (answer, _) => answer,
                        }
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
                let lacking = told
                    .iter()
                    .find_map(|told| Some((told, lacks(&told.outcome)?)));
                match lacking {
                    Some((told, lacks)) => {
                        Fault::from(error).because(format_args!("{} {lacks}", told.file.display()))
                    }
                    None => error.into(),
                }
            })?;
            Ok(Resumed {
                evidence: told,
                was_paused: answer.was_paused,
                are_profiles_unknown: answer.are_profiles_unknown,
            })
        })?;
        globals.output().answer(&resumed, text)?;
        Ok(Answer::Yes)
    }
}

/// Why a file alone lets nothing go on.
fn lacks(outcome: &EvidenceResponse) -> Option<&'static str> {
    match outcome {
        EvidenceResponse {
            is_whole: false, ..
        } => Some("tells of a part only: a shard, or a CRL of another issuer than the issuing CA"),
        EvidenceResponse {
            is_newer_than_backup: false,
            ..
        } => Some("tells nothing of the time after the backup"),
        _ => None,
    }
}

/// The feed state of another authority, of which no issuer need be named, would say that nothing was revoked here.
async fn refuse_those_of_others(
    backend: &Backend,
    evidence: &[(&PathBuf, Evidence)],
) -> Result<(), Fault> {
    let feeds = evidence
        .iter()
        .filter_map(|(file, evidence)| match evidence {
            Evidence::Feed { anchors, .. } if !anchors.is_empty() => Some((file, anchors)),
            _ => None,
        });
    let feeds: Vec<_> = feeds.collect();
    if feeds.is_empty() {
        return Ok(());
    }
    let status: StatusResponse = backend.client.get(api::STATUS).await?;
    let ours: Vec<Fingerprint> = status
        .issuers
        .iter()
        .map(|issuer| issuer.fingerprint)
        .collect();
    match (feeds.iter()).find(|(_, anchors)| !anchors.iter().any(|it| ours.contains(it))) {
        Some((file, _)) => Err(no_feed_state(file, "it is of another authority")),
        None => Ok(()),
    }
}

fn no_feed_state(path: &Path, why: &str) -> Fault {
    Fault::configuration(format_args!("{} is no feed state: {why}", path.display()))
        .hint("nothing was told yet; a gateway keeps it in its state folder, as gateway/feed")
}

/// What a gateway holds, as the snapshot that it would have been told.
fn read_feed_state(path: &Path) -> Result<Evidence, Fault> {
    let wrong = |why: String| no_feed_state(path, &why);
    let held = FeedLog::read(path).map_err(|error| wrong(error.to_string()))?;
    let held = held.ok_or_else(|| wrong("the gateway has heard nothing yet".to_owned()))?;
    let at = |position: &Position| {
        let snapshot = Snapshot {
            history: position.history().clone(),
            sequence: position.sequence(),
            at: position.confirmed_at(),
            revoked: held.revoked.clone(),
        };
        serde_json::to_vec(&snapshot).map_err(Fault::bug)
    };
    let earlier = held.earlier.as_ref().map(|earlier| at(&earlier.position));
    let anchors = held.bundles.iter().flat_map(|bundle| &bundle.anchors);
    Ok(Evidence::Feed {
        anchors: anchors
            .map(|anchor| Fingerprint::of(anchor.as_bytes()))
            .collect(),
        now: at(&held.position)?,
        earlier: earlier.transpose()?,
    })
}

fn text(resumed: &Resumed) -> String {
    let mut text = String::new();
    for Told { file, outcome } in &resumed.evidence {
        let EvidenceResponse {
            revoked,
            unknown,
            known,
            ..
        } = outcome;
        let lacks = match lacks(outcome).filter(|_| resumed.was_paused.is_some()) {
            Some(lacks) => format!("; it {lacks}"),
            None => String::new(),
        };
        writeln!(
            text,
            "{}: {revoked} revoked, {unknown} of unknown serials revoked, {known} known before{lacks}",
            file.display()
        )
        .expect("a String takes everything");
    }
    text.push_str(match resumed.was_paused {
        _ if resumed.are_profiles_unknown => {
            "still nothing is issued: nothing says by which profiles\n\
             start `countersign run` with its configuration once, or `countersign ca resume --built-in-profiles --because WHY`\n"
        }
        Some(_) => "certificates are issued again\n",
        None => "issuing was not paused\n",
    });
    text
}
