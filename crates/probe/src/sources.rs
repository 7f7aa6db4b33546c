//! Asks the places that certificates name for lists and answers: each once, all at a time, over `http` alone.
//!
//! Only where somebody asks for it (`countersign doctor --fetch`). What comes back is judged by `diagnose`; a list proves itself by
//! its signature, so that `https` would add nothing but the question of who vouches for the server.

use std::time::Duration;

use countersign_diagnose::doctor::source::{Kind, Outcome, Source, SourceSeen};
use countersign_pki::ocsp::{MAX_RESPONSE_BYTES, QUESTION_NONCE_OCTETS};
use countersign_tls::enforcement::Enforcement;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::fetch::{FetchLimits, Fetched, Fetcher, Validators};
use crate::url::FetchUrl;

/// What comes from each of `sources`, in their order, within `time`. A nonce goes to no two.
pub async fn ask(
    sources: Vec<(Source, [u8; QUESTION_NONCE_OCTETS])>,
    enforcement: &Enforcement,
    time: Duration,
) -> Vec<SourceSeen> {
    let mut asking = JoinSet::new();
    for (place, (source, nonce)) in sources.into_iter().enumerate() {
        let enforcement = enforcement.clone();
        asking.spawn(async move {
            let begun = Instant::now();
            let outcome = one(&source, nonce, enforcement, time).await;
            let seen = SourceSeen {
                source,
                nonce,
                outcome,
                took: begun.elapsed(),
            };
            (place, seen)
        });
    }
    let mut seen = asking.join_all().await;
    seen.sort_by_key(|(place, _)| *place);
    seen.into_iter().map(|(_, seen)| seen).collect()
}

async fn one(
    source: &Source,
    nonce: [u8; QUESTION_NONCE_OCTETS],
    enforcement: Enforcement,
    time: Duration,
) -> Outcome {
    if let Some(why) = source.refrain {
        return Outcome::NotAsked(why.to_owned());
    }
    let url = match FetchUrl::parse(&source.url) {
        Ok(url) if url.is_https() => {
            let why = "it is over https, and nothing says who vouches for its server";
            return Outcome::NotAsked(why.to_owned());
        }
        Ok(url) => url,
        Err(error) => return Outcome::NotAsked(error.to_string()),
    };
    let limits = FetchLimits {
        bytes: match source.kind {
            Kind::Crl => MAX_LIST_BYTES,
            Kind::Ocsp => MAX_RESPONSE_BYTES,
        },
        time,
        redirects: MAX_REDIRECTS,
    };
    let fetcher = Fetcher::new(enforcement, limits).of_foreign_places();
    let answer = match source.kind {
        Kind::Crl => fetcher.fetch(&url, None, &Validators::default()).await,
        Kind::Ocsp => {
            let question = source.question(nonce).der();
            let answer = fetcher.post(&url, "application/ocsp-request", question);
            answer
                .await
                .map(|body| Fetched::Body(body, Validators::default()))
        }
    };
    match answer {
        Ok(Fetched::Body(body, _)) => Outcome::Answered(body.to_vec()),
        Ok(Fetched::Unchanged) => Outcome::Answered(Vec::new()),
        Err(fault) => Outcome::Unreachable(fault.to_string()),
    }
}

/// A list of 400 000 entries; whoever waits for a diagnosis waits for no larger one.
const MAX_LIST_BYTES: usize = 16 << 20;

/// To another path.
const MAX_REDIRECTS: usize = 2;
