//! Learns without privileges what a server really does with TLS, by a few connections that each ask one thing.
//!
//! What comes next is decided by [`plan`] out of what was seen, so that a healthy server has a handful of connections and
//! only a strange one more. Whatever a server sends is bounded in bytes and time here, and judged elsewhere: see
//! [`countersign_diagnose::doctor::target`].

mod conversation;
mod http;
mod http2;
mod line;
pub mod plan;
pub mod raw;
mod reach;
mod session;
mod starttls;
mod stranger;
mod system;
mod vouching;
mod witness;

use std::time::Duration;

use countersign_diagnose::doctor::question::Question;
use countersign_diagnose::doctor::target::{TargetSeen, Trial, Vouched};
use countersign_pki::time::UnixTime;
use tokio::time::Instant;
use zeroize::Zeroizing;

use self::line::Line;
use self::plan::Aim;
use self::vouching::Vouching;

/// Whom to look at, and as whom.
#[derive(Debug)]
pub struct Wanted {
    /// The target and the flags beside it. Without a target nothing is seen.
    pub question: Question,
    /// The client's certificate. It is shown only to a server that is vouched for.
    pub identity: Option<ClientIdentity>,
    /// Issuers at hand that are not in the client's chain, in DER: what its file may lack.
    pub issuers: Vec<Vec<u8>>,
    /// What the client trusts, in DER. Empty: the system's roots.
    pub anchors: Vec<Vec<u8>>,
    /// The time by this machine's clock.
    pub now: UnixTime,
    /// How much may be spent.
    pub limits: Limits,
}

/// A certificate with its key.
#[derive(Clone)]
pub struct ClientIdentity {
    /// In DER, leaf first.
    pub chain: Vec<Vec<u8>>,
    /// PKCS#8 in DER.
    pub key: Zeroizing<Vec<u8>>,
}

impl std::fmt::Debug for ClientIdentity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ClientIdentity({} certificates)", self.chain.len())
    }
}

/// How much a look may spend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// For TCP to one address.
    pub connect: Duration,
    /// For each connection, from TCP to its last byte.
    pub attempt: Duration,
    /// For all of it.
    pub total: Duration,
    /// How many connections carry anything.
    pub connections: usize,
}

impl Default for Limits {
    /// A server that answers at all answers within a second or two; whoever waits for a diagnosis waits 15 s at most.
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(3),
            attempt: Duration::from_secs(4),
            total: Duration::from_secs(13),
            connections: 20,
        }
    }
}

/// Looks at servers.
#[derive(Clone, Copy, Debug, Default)]
pub struct Prober;

impl Prober {
    /// What the target does. Takes as long as [`Limits::total`] at most.
    pub async fn look(&self, wanted: &Wanted) -> TargetSeen {
        let aim = Aim::new(wanted);
        self.go(wanted, |seen| plan::next(&aim, seen)).await
    }

    /// What the target does with each of these, which are made whatever is seen meanwhile: one attempt for each, in their order,
    /// as far as [`Limits`] and TCP allow.
    pub async fn try_each(&self, wanted: &Wanted, trials: &[Trial]) -> TargetSeen {
        self.go(wanted, |seen| trials.get(seen.attempts.len()).cloned())
            .await
    }

    async fn go(
        &self,
        wanted: &Wanted,
        mut next: impl FnMut(&TargetSeen) -> Option<Trial>,
    ) -> TargetSeen {
        let begun = Instant::now();
        let Some(target) = &wanted.question.target else {
            return TargetSeen::default();
        };
        let mut seen = TargetSeen {
            target: target.to_string(),
            ..TargetSeen::default()
        };
        let deadline = begun + wanted.limits.total;
        let addresses = match reach::resolve(target, deadline).await {
            Ok(addresses) => addresses,
            Err(why) => {
                seen.not_resolved = Some(why);
                seen.took = begun.elapsed();
                return seen;
            }
        };
        let vouching = Vouching::new(wanted, target);
        // Where names take their time, or the processor does, one look is still owed.
        let deadline = deadline.max(Instant::now() + SHORTEST_LOOK);
        let mut line = Line::new(wanted, vouching, addresses, deadline, &mut seen);
        while seen.attempts.len() < wanted.limits.connections && Instant::now() < deadline {
            let Some(trial) = next(&seen) else {
                break;
            };
            let Some(attempt) = line.attempt(trial, &mut seen).await else {
                break;
            };
            if seen.vouched == Vouched::Unknown && !attempt.chain.is_empty() {
                seen.vouched = line.vouched(&attempt.chain);
            }
            seen.attempts.push(attempt);
        }
        line.look_at_other_addresses(&mut seen, deadline).await;
        seen.took = begun.elapsed();
        seen
    }
}

/// Less is no time in which anybody could be called silent.
const SHORTEST_LOOK: Duration = Duration::from_secs(2);
