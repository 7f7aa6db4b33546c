//! Responders of trust bundles: asked what connections wait for, and again for those who are connected.
//!
//! One that is slow or gone keeps nobody else waiting: each bundle has so many questions under way, and so many behind those.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::rand::fill;
use countersign_authority::api::Risk;
use countersign_pki::identity::BundleName;
use countersign_pki::ocsp::{
    AnswerRules, MAX_RESPONSE_BYTES, OcspAnswer, OcspFault, OcspQuestion, OcspRefused, OcspStatus,
    QUESTION_NONCE_OCTETS,
};
use countersign_pki::serial::SerialNumber;
use countersign_probe::fetch::{FetchLimits, Fetcher};
use countersign_probe::url::FetchUrl;
use countersign_tls::enforcement::Enforcement;
use countersign_tls::ocsp::OcspAsked;
use serde::{Deserialize, Serialize};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

use super::{HeldBundle, TrustLists};

/// A responder, and what it has said since the process began.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ResponderView {
    pub(crate) url: String,
    pub(crate) good: u64,
    pub(crate) revoked: u64,
    pub(crate) unknown: u64,
    pub(crate) failures: u64,
    /// Certificates of which an answer is held.
    pub(crate) held: usize,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) last_answer: Option<String>,
    /// Why the last question brought nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) failure: Option<String>,
}

/// How the last question to a bundle's responder went.
#[derive(Default)]
pub(super) struct LastQuestion {
    failure: Option<String>,
    told: Option<Instant>,
    told_again: Option<Instant>,
}

/// What a question came to.
struct Outcome {
    bundle: BundleName,
    url: String,
    failure: Option<String>,
    /// Somebody may have to go.
    is_bad: bool,
}

/// Of one bundle.
#[derive(Clone)]
struct Turns {
    under_way: Arc<Semaphore>,
    behind: Arc<Semaphore>,
}

impl TrustLists {
    pub(super) fn ask_about(&self, name: &BundleName, bundle: Option<&HeldBundle>) {
        let ocsp = bundle.and_then(|bundle| bundle.trusted.ocsp.clone());
        self.shared.enforcement.replace_ocsp(name, ocsp);
    }

    /// Asks whatever there is to ask, and ends what answers leave no ground for. Never ends by itself.
    pub(super) async fn ask_responders(self, mut questions: mpsc::Receiver<OcspAsked>) {
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut asking = JoinSet::new();
        let mut turns: BTreeMap<BundleName, Turns> = BTreeMap::new();
        let mut swept = Instant::now();
        loop {
            tokio::select! {
                Some(asked) = questions.recv() => {
                    let turns = turns.entry(asked.bundle().clone()).or_default().clone();
                    let enforcement = self.shared.enforcement.clone();
                    asking.spawn(async move { ask(asked, turns, enforcement).await });
                }
                Some(asked) = asking.join_next() => {
                    let Ok(outcome) = asked else {
                        tracing::error!(target: "trust", "a question to an OCSP responder was lost");
                        continue;
                    };
                    let is_bad = outcome.is_bad;
                    self.note(outcome);
                    // What is left is found with the next tick.
                    if is_bad && swept.elapsed() >= BETWEEN_SWEEPS {
                        self.renew();
                        swept = Instant::now();
                    }
                }
                _ = ticks.tick() => {
                    self.renew();
                    swept = Instant::now();
                }
            }
        }
    }

    fn renew(&self) {
        let cut = self.shared.enforcement.renew_ocsp();
        if cut > 0 {
            tracing::warn!(target: "trust", connections = cut, "connections are cut: their OCSP responder says so, or says nothing any more");
        }
    }

    /// One line a minute of a responder that is silent, and one when it speaks again, however often it does.
    fn note(&self, outcome: Outcome) {
        let mut held = self.held();
        let last = held.responders.entry(outcome.bundle.clone()).or_default();
        match &outcome.failure {
            Some(error) if last.told.is_none_or(|told| told.elapsed() >= MINUTE) => {
                last.told = Some(Instant::now());
                tracing::error!(target: "trust", bundle = %outcome.bundle, url = outcome.url, error, "no answer of the OCSP responder that can be relied on");
            }
            None if last.failure.is_some()
                && last.told_again.is_none_or(|told| told.elapsed() >= MINUTE) =>
            {
                last.told_again = Some(Instant::now());
                tracing::info!(target: "trust", bundle = %outcome.bundle, url = outcome.url, "the OCSP responder answers again");
            }
            _ => {}
        }
        last.failure = outcome.failure;
    }

    pub(super) fn responder_view(
        &self,
        name: &BundleName,
        bundle: &HeldBundle,
        last: Option<&LastQuestion>,
    ) -> Option<ResponderView> {
        let ocsp = bundle.trusted.ocsp.as_ref()?;
        let figures = self.shared.enforcement.ocsp(name);
        Some(ResponderView {
            url: ocsp.url.clone(),
            good: figures.good,
            revoked: figures.revoked,
            unknown: figures.unknown,
            failures: figures.failures,
            held: figures.held,
            last_answer: figures.last_answer.map(|at| at.to_string()),
            failure: last.and_then(|last| last.failure.clone()),
        })
    }
}

pub(super) fn risk(
    name: &BundleName,
    bundle: &HeldBundle,
    last: Option<&LastQuestion>,
    hint: &str,
) -> Option<Risk> {
    let url = &bundle.trusted.ocsp.as_ref()?.url;
    let failure = last?.failure.as_ref()?;
    Some(Risk {
        sentence: format!(
            "trust bundle {name}: no answer of its OCSP responder {url} that can be relied on: {failure}"
        ),
        hint: hint.to_owned(),
    })
}

impl Default for Turns {
    fn default() -> Self {
        Self {
            under_way: Arc::new(Semaphore::new(MAX_UNDER_WAY)),
            behind: Arc::new(Semaphore::new(MAX_BEHIND)),
        }
    }
}

async fn ask(asked: OcspAsked, turns: Turns, enforcement: Enforcement) -> Outcome {
    let settings = asked.settings();
    let too_many = |why: &str| OcspFault::Unreachable {
        why: format!("{}: {why}", settings.url),
    };
    // `Err`: it was not asked, which is no failure of the responder.
    let outcome = match turns.behind.try_acquire() {
        Err(_) => Err(too_many("too many questions wait for it already")),
        Ok(_place) => match timeout(settings.timeout, turns.under_way.acquire()).await {
            Ok(Ok(_turn)) => {
                let answer = answer(&asked, &enforcement).await;
                Ok(answer.map_err(OcspFault::bounded))
            }
            _ => Err(too_many("too many questions are under way for long")),
        },
    };
    let (bundle, url) = (asked.bundle().clone(), settings.url.clone());
    let (failure, is_bad) = match &outcome {
        Ok(Ok(answer)) => (None, answer.status != OcspStatus::Good),
        Ok(Err(fault)) => (Some(said(fault)), true),
        Err(why) => (Some(said(why)), false),
    };
    match outcome {
        Ok(answer) => asked.answered(answer, enforcement.now()),
        Err(why) => asked.put_off(why, enforcement.now()),
    }
    Outcome {
        bundle,
        url,
        failure,
        is_bad,
    }
}

async fn answer(asked: &OcspAsked, enforcement: &Enforcement) -> Result<OcspAnswer, OcspFault> {
    let settings = asked.settings();
    let unreachable = |why: String| OcspFault::Unreachable { why };
    let url = FetchUrl::parse(&settings.url).map_err(|error| unreachable(error.to_string()))?;
    let mut nonce = [0; QUESTION_NONCE_OCTETS];
    fill(&mut nonce).map_err(|_| unreachable("no random numbers can be had".to_owned()))?;
    let question = OcspQuestion::new(asked.issuer().clone(), asked.serial(), nonce);
    let limits = FetchLimits {
        bytes: MAX_RESPONSE_BYTES,
        time: settings.timeout,
        redirects: 0,
    };
    let fetcher = Fetcher::new(enforcement.clone(), limits);
    let body = fetcher
        .post(&url, "application/ocsp-request", question.der())
        .await
        .map_err(|error| unreachable(error.to_string()))?;
    let rules = AnswerRules {
        signers: &settings.signers,
        max_age: settings.max_age,
    };
    let is_revoked = |serial| is_revoked(asked, enforcement, serial);
    question
        .judge(&body, &rules, is_revoked, enforcement.now())
        .map_err(|refused| {
            let why = format!("{}: {refused}", settings.url);
            match refused {
                OcspRefused::Status { .. } => OcspFault::Unreachable { why },
                OcspRefused::Stale { end, .. } => OcspFault::Stale { ended: end, why },
                _ => OcspFault::Invalid { why },
            }
        })
}

/// Whether the authority's feed or the bundle's lists name it.
fn is_revoked(asked: &OcspAsked, enforcement: &Enforcement, serial: SerialNumber) -> bool {
    let (index, issuer_key) = (enforcement.revocations(), asked.issuer().spki());
    let of_bundle = index.lists_of(asked.bundle());
    let mut lists = of_bundle.iter().flat_map(|lists| lists.lists());
    index.find(&issuer_key, serial).is_some()
        || lists.any(|list| list.issuer_key() == issuer_key && list.find(serial).is_some())
}

fn said(fault: &OcspFault) -> String {
    match fault {
        OcspFault::Invalid { why }
        | OcspFault::Stale { why, .. }
        | OcspFault::Unreachable { why } => why.clone(),
        OcspFault::Unknown => "it does not know the certificate".to_owned(),
    }
}

const TICK: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_mins(1);
/// A sweep looks at every open connection.
const BETWEEN_SWEEPS: Duration = Duration::from_millis(100);
/// Connections to one responder: at 50 ms each 320 answers a second.
const MAX_UNDER_WAY: usize = 16;
/// Who is further behind would not be answered in time.
const MAX_BEHIND: usize = 1024;
