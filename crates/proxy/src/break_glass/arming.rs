//! Asking and arming. Nothing here is in force that was begun before something shut it.

use std::fs::File;
use std::io::Read as _;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use arc_swap::ArcSwap;
use countersign_pki::revocation::RevocationIndex;
use countersign_policy::break_glass::{
    Approval, Armed, Denied, Kept, NONCE_BYTES, Reason, Statement,
};
use tokio::time::Instant;

use super::ledger::Record;
use super::{ArmError, BreakGlass, BreakGlassStatus, Live, Minute, Terms, told};

impl BreakGlass {
    /// Draws a request for approvals; one that waits is forgotten.
    pub(crate) async fn request(
        &self,
        reason: Reason,
        duration: Duration,
        by: &str,
    ) -> Result<Statement, ArmError> {
        let _desk = self.desk.lock().await;
        let (generation, terms) = (self.turn().generation, self.terms.load_full());
        let statement = self.draw(&terms, reason, duration)?;
        let mut record = Record::new("requested", &self.name);
        record.by = Some(by.to_owned());
        record.statement(&statement);
        self.append(record).await?;
        tracing::warn!(
            listener = self.name,
            by,
            reason = statement.reason().as_str(),
            "approvals are asked for to arm a break-glass listener"
        );
        let mut turn = self.turn();
        if turn.generation != generation {
            return Err(ArmError::Overtaken);
        }
        turn.requested = Some(statement.clone());
        Ok(statement)
    }

    pub(super) fn draw(
        &self,
        terms: &Terms,
        reason: Reason,
        duration: Duration,
    ) -> Result<Statement, ArmError> {
        let mut nonce = [0; NONCE_BYTES];
        // The system's own random source, and nothing that could be seeded.
        let random = File::open("/dev/urandom").and_then(|mut it| it.read_exact(&mut nonce));
        random.map_err(|_| ArmError::NoRandomness)?;
        Ok(terms.rules.request(reason, duration, nonce, self.now())?)
    }

    /// Arms it: with `asked`, where no approvals are needed, else by the request that waits. Goes on to its end, whoever waits for it.
    pub(crate) async fn arm(
        self: &Arc<Self>,
        asked: Option<(Reason, Duration)>,
        approvals: Vec<Approval>,
        by: &str,
    ) -> Result<BreakGlassStatus, ArmError> {
        let (glass, by) = (Arc::clone(self), by.to_owned());
        let arming = async move {
            let _desk = glass.desk.lock().await;
            let outcome = glass.try_arm(asked, approvals, &by).await;
            if let Err(error) = &outcome {
                tracing::warn!(listener = glass.name, by, %error, "a break-glass listener was not armed");
                glass.metrics.count("denied");
                let mut record = Record::new("denied", &glass.name);
                record.by = Some(by);
                record.why = Some(error.to_string());
                // It is refused either way.
                let _ = glass.ledger.append(record).await;
            }
            outcome.map(|()| glass.status())
        };
        told(tokio::spawn(arming)).await
    }

    async fn try_arm(
        self: &Arc<Self>,
        asked: Option<(Reason, Duration)>,
        approvals: Vec<Approval>,
        by: &str,
    ) -> Result<(), ArmError> {
        if let Ok(live) = self.enter() {
            return Err(ArmError::AlreadyArmed {
                listener: self.name.clone(),
                until: live.armed.statement().expires(),
            });
        }
        // One that is over and that nobody has looked at since: its connections end before others begin.
        if let Some(over) = self.live.load_full()
            && let Some(ended) = self.shut(Some(&over), "expired", None, None)
        {
            told(ended.done).await?;
        }
        let (generation, terms, requested) = {
            let turn = self.turn();
            (
                turn.generation,
                self.terms.load_full(),
                turn.requested.clone(),
            )
        };
        let statement = match (terms.rules.approvals, asked) {
            (0, Some((reason, duration))) => self.draw(&terms, reason, duration)?,
            (0, None) => return Err(Denied::Reason.into()),
            (needed, Some(_)) => return Err(ArmError::ByApproval { needed }),
            (_, None) => requested.ok_or(ArmError::NoRequest)?,
        };
        let (now, begun) = (self.now(), Instant::now());
        let revocations = self.enforcement.revocations();
        let by = by.to_owned();
        let armed = terms
            .rules
            .arm(statement, approvals, by, &revocations, now)?;
        let left = armed.left(now);
        self.append(Record::of("armed", &self.name, &armed)).await?;
        let kept = Kept::of(&armed, left, now, terms.configuration);
        let keeping = {
            let mut turn = self.turn();
            if turn.generation != generation {
                return Err(ArmError::Overtaken);
            }
            turn.owes_forgetting = false;
            self.ledger.keep(&self.name, kept.to_json())
        };
        if let Err(error) = keeping.await {
            // What cannot be kept is not in force, neither now nor after a restart.
            let why = error.to_string();
            if let Some(ended) = self.shut(None, "disarmed", None, Some(&why)) {
                let _ = told(ended.done).await;
            }
            return Err(ArmError::Disk { why });
        }
        let mut turn = self.turn();
        if turn.generation != generation {
            return Err(ArmError::Overtaken);
        }
        turn.requested = None;
        self.put_in_force(&terms, armed, begun + left, revocations, "armed");
        Ok(())
    }

    pub(super) fn put_in_force(
        &self,
        terms: &Terms,
        armed: Armed,
        deadline: Instant,
        judged_by: Arc<RevocationIndex>,
        event: &'static str,
    ) {
        tracing::error!(
            listener = self.name,
            event,
            by = armed.by(),
            approvers = armed.approvers().join(", "),
            reason = armed.statement().reason().as_str(),
            expires = %armed.statement().expires(),
            "ALARM: break-glass listener is armed"
        );
        self.metrics.count(event);
        self.metrics.set_armed(true);
        self.live.store(Some(Arc::new(Live {
            armed,
            deadline,
            connections: Minute::new(terms.connections_per_minute),
            requests: Minute::new(terms.requests_per_minute),
            judged_by: ArcSwap::new(judged_by),
            saved: Mutex::new(Instant::now()),
        })));
    }

    async fn append(&self, record: Record) -> Result<(), ArmError> {
        let written = self.ledger.append(record).await;
        written.map_err(|error| ArmError::Disk {
            why: error.to_string(),
        })
    }
}
