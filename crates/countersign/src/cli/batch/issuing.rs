//! One line's way: key and request staged, the certificate issued or found, the folder put in its place.

use std::sync::Arc;
use std::time::Duration;

use countersign_authority::api::{
    self, CertificateStatus, CertificateView, IssueRequest, IssueResponse, ListQuery, ListResponse,
    ShowResponse,
};
use countersign_authority::client::{AdminClient, ClientError};
use countersign_pki::certificate::Certificate;
use countersign_pki::pem;
use countersign_pki::time::UnixTime;
use countersign_runtime::clock::{Clock, SystemClock};
use tokio::task::spawn_blocking;

use super::Outcome;
use super::journal::{Journal, Record, Staged};
use super::plan::Line;
use crate::fault::Fault;

/// One line on its way.
pub(super) struct Work {
    pub(super) client: AdminClient,
    /// By another process, which outlives whoever asks it.
    pub(super) is_served: bool,
    pub(super) journal: Arc<Journal>,
    pub(super) line: Arc<Line>,
}

/// A line that has come to its end.
pub(super) struct Issued {
    pub(super) line: Arc<Line>,
    /// The error is the line's own; others issue all the same.
    pub(super) end: Result<(Outcome, Record), String>,
}

impl Work {
    /// From the key to the folder in its place.
    pub(super) async fn run(self) -> Result<Issued, Fault> {
        let (journal, line) = (Arc::clone(&self.journal), Arc::clone(&self.line));
        let now = UnixTime::from_seconds(SystemClock.unix_seconds());
        let staged = blocking(move || journal.stage(&line, now)).await?;
        let (outcome, chain) = match &staged.chain {
            Some(chain) => (Outcome::Recovered, chain.clone()),
            None => match self.certificate(&staged).await? {
                Ok(found) => found,
                Err(why) => {
                    return Ok(Issued {
                        line: self.line,
                        end: Err(why),
                    });
                }
            },
        };
        let (journal, line) = (Arc::clone(&self.journal), Arc::clone(&self.line));
        let record = blocking(move || {
            let record = record(&line, &chain)?;
            journal.finish(&record)?;
            Ok(record)
        })
        .await?;
        Ok(Issued {
            line: self.line,
            end: Ok((outcome, record)),
        })
    }

    /// The chain, kept beside its key: found where an earlier run had asked for it, else issued. The inner error is the line's.
    async fn certificate(
        &self,
        staged: &Staged,
    ) -> Result<Result<(Outcome, String), String>, Fault> {
        let found = if staged.may_be_issued {
            self.earlier(staged).await?
        } else {
            None
        };
        let (outcome, chain, ca) = match found {
            Some((chain, ca)) => (Outcome::Recovered, chain, ca),
            None => match self
                .client
                .post_once::<IssueRequest, IssueResponse>(api::ISSUE, &staged.request, &staged.key)
                .await
            {
                Ok(response) => (Outcome::Issued, response.chain_pem, response.ca_pem),
                Err(error) if is_about_the_line(&error) => return Ok(Err(error.to_string())),
                Err(error) => {
                    return Err(Fault::from(error)
                        .or_hint("the same command goes on where this one stopped"));
                }
            },
        };
        let (journal, line) = (Arc::clone(&self.journal), Arc::clone(&self.line));
        let kept = chain.clone();
        blocking(move || journal.keep(&line, &kept, &ca)).await?;
        Ok(Ok((outcome, chain)))
    }

    /// What the inventory has of a key that an earlier run may have sent: the chain and the root.
    async fn earlier(&self, staged: &Staged) -> Result<Option<(String, String)>, Fault> {
        if !self.journal.has_key(&self.line, staged.spki) {
            return Err(Fault::configuration(format_args!(
                "{}: the key that an earlier run made is gone",
                self.line.place
            ))
            .hint("`countersign list` shows what it had issued; choose another folder with `--out DIR`"));
        }
        let query = ListQuery {
            spki: Some(staged.spki.to_string()),
            profile: Some(self.line.wish.profile().to_owned()),
            ..ListQuery::default()
        };
        let path = api::list_path(&query);
        let mut looks = 0;
        loop {
            let page: ListResponse = self.client.get(&path).await?;
            looks += 1;
            // The inventory's times are whole seconds.
            let is_ours = |it: &&CertificateView| {
                it.issued_at.plus(Duration::from_secs(1)) >= staged.begun_at
            };
            let ours: Vec<&CertificateView> = page.certificates.iter().filter(is_ours).collect();
            if let Some(fingerprint) = ours.iter().find_map(|it| it.fingerprint) {
                return self.fetch(&fingerprint.to_string()).await.map(Some);
            }
            // Another process may still be about to sign, or to read what the run before had sent; ours ended with that run.
            let is_begun = ours
                .iter()
                .any(|it| it.status == CertificateStatus::Unknown);
            let patience = if is_begun { LOOKS_AT_BEGUN } else { LOOKS };
            if !self.is_served || looks >= patience {
                return Ok(None);
            }
            tokio::time::sleep(BETWEEN_LOOKS).await;
        }
    }

    async fn fetch(&self, fingerprint: &str) -> Result<(String, String), Fault> {
        let shown: ShowResponse = self.client.get(&api::show_path(fingerprint)).await?;
        let incomplete = || Fault::bug("the inventory shows a certificate without its issuers");
        let shown = shown
            .certificates
            .into_iter()
            .next()
            .ok_or_else(incomplete)?;
        let issuers = shown.issuers_pem.ok_or_else(incomplete)?;
        let issuers = pem::decode_all(issuers.as_bytes()).map_err(Fault::bug)?;
        // Leaf and intermediates are presented, the root is trusted: as the authority answers who asks it.
        let (root, above) = issuers.split_last().ok_or_else(incomplete)?;
        let mut chain = shown.pem.ok_or_else(incomplete)?;
        chain.extend(above.iter().map(|it| pem::encode(&it.label, &it.der)));
        Ok((chain, pem::encode(&root.label, &root.der)))
    }
}

/// Whether the authority refused this line; anything else would befall every line.
pub(super) fn is_about_the_line(error: &ClientError) -> bool {
    matches!(error, ClientError::Refused { problem } if (400..500).contains(&problem.status))
}

fn record(line: &Line, chain: &str) -> Result<Record, Fault> {
    let blocks = pem::decode_all(chain.as_bytes()).map_err(Fault::bug)?;
    let leaf = blocks
        .first()
        .ok_or_else(|| Fault::bug("an empty chain was issued"))?;
    let leaf = Certificate::parse(&leaf.der).map_err(Fault::bug)?;
    Ok(Record {
        folder: line.folder.clone(),
        name: line.name.clone(),
        serial: leaf.serial().to_string(),
        fingerprint: leaf.fingerprint(),
        not_after: leaf.not_after().to_string(),
        digest: line.digest(),
    })
}

/// Keys and disks take their time elsewhere.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Fault> + Send + 'static,
) -> Result<T, Fault> {
    spawn_blocking(work).await.map_err(Fault::bug)?
}

/// A request that was sent when its sender was killed is read within milliseconds; what is begun is signed within more.
const LOOKS: u32 = 2;
const LOOKS_AT_BEGUN: u32 = 20;
const BETWEEN_LOOKS: Duration = Duration::from_millis(250);
