//! What has long ended leaves the inventory, by a rule and in its own time.
//!
//! A pass goes portion by portion: read with proof, archived and on disk, then taken away in one small transaction with its
//! audit record. Killed anywhere, a certificate is in the inventory, in the archive, or in both. What ended is judged by
//! [`Witness`], which no jump of the clock carries off.

mod archive;

use std::path::PathBuf;
use std::sync::PoisonError;
use std::time::{Duration, Instant};

use countersign_pki::feed::Sequence;
use countersign_pki::time::UnixTime;
use countersign_policy::administration::Role;
use countersign_policy::issuance::{Actor, Profile};
use countersign_policy::retention::{Retention, Witness};
use countersign_runtime::drain::Drain;
use countersign_store::error::StoreError;
use countersign_store::fail_point::FailPoint;
use countersign_store::retention::{Dropped, Ended, EndedPlace, Kept};

use self::archive::Archive;
use crate::authority::Authority;

pub use self::archive::ArchiveError;

/// What leaves, and where to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RetentionRule {
    /// When.
    pub retention: Retention,
    /// The folder of the archive, `None` inside: the state folder's; `None`: what leaves is gone.
    pub archive: Option<Option<PathBuf>>,
}

/// Where retention stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RetentionState {
    /// The rule.
    pub rule: RetentionRule,
    /// Where the archive is.
    pub folder: Option<PathBuf>,
    /// What the time is, as it is judged by.
    pub judged_at: UnixTime,
    /// What ended before this may leave.
    pub cutoff: UnixTime,
    /// The last pass.
    pub last: Option<LastPass>,
}

/// A pass that has come to its end, or broke off.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LastPass {
    /// When.
    pub at: UnixTime,
    /// What left.
    pub dropped: Dropped,
    /// What has to stay.
    pub kept: Kept,
    /// Why it broke off, and what to do.
    pub fault: Option<(String, Option<String>)>,
}

/// What a pass did, or would do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pruned {
    /// What ended before this was judged.
    pub cutoff: UnixTime,
    /// Rows that say that they ended before.
    pub due: u64,
    /// What left.
    pub dropped: Dropped,
    /// What has to stay.
    pub kept: Kept,
    /// Where it is now.
    pub files: Vec<PathBuf>,
    /// There is more, for another call.
    pub has_more: bool,
}

/// What this process has let leave, since it began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RetentionCounts {
    /// Rows that were on disk in the archive; what was archived again after a fault counts again.
    pub archived: u64,
    /// Rows that left the inventory.
    pub dropped: Dropped,
    /// Passes and calls that broke off.
    pub failures: u64,
    /// When a pass came to its end.
    pub last_pass: Option<UnixTime>,
}

/// What a running authority knows of it.
#[derive(Debug, Default)]
pub(crate) struct Keeping {
    /// Guards nothing but the exchange of the one for the next.
    rule: std::sync::Mutex<Option<RetentionRule>>,
    last: std::sync::Mutex<Option<LastPass>>,
    /// Numbers that only grow, each by itself.
    counts: std::sync::Mutex<RetentionCounts>,
    /// Held through a pass, so that two do not archive the same.
    witness: tokio::sync::Mutex<Option<Watch>>,
}

#[derive(Debug)]
struct Watch {
    witness: Witness,
    /// As the inventory has it.
    kept: Witness,
    /// When it was left there.
    kept_at: Instant,
    seen: Instant,
}

impl Watch {
    fn advance(&mut self, now: UnixTime) {
        // What is less than a second stays for the next time.
        let elapsed = Duration::from_secs(self.seen.elapsed().as_secs());
        self.seen += elapsed;
        self.witness = self.witness.advanced(now, elapsed);
    }
}

impl Authority {
    /// Goes by this rule from now on; without one nothing leaves.
    pub fn replace_retention(&self, rule: Option<RetentionRule>) {
        *lock(&self.keeping.rule) = rule;
    }

    /// Where it stands; `None`: everything is kept.
    pub async fn retention(&self) -> Result<Option<RetentionState>, StoreError> {
        let Some(rule) = lock(&self.keeping.rule).clone() else {
            return Ok(None);
        };
        // A pass that runs has brought it up to the present.
        let now = self.now();
        let witness = match self.keeping.witness.try_lock() {
            Ok(mut watch) => self.advanced(&mut watch, now).await?,
            Err(_) => self.store.witness().await?,
        };
        Ok(Some(RetentionState {
            folder: self.archive_folder(&rule),
            judged_at: witness.judged_at(now),
            cutoff: rule.retention.cutoff(witness, now),
            last: lock(&self.keeping.last).clone(),
            rule,
        }))
    }

    /// What left since the process began; `None`: everything is kept.
    pub fn retention_counts(&self) -> Option<RetentionCounts> {
        let has_rule = lock(&self.keeping.rule).is_some();
        has_rule.then(|| *lock(&self.keeping.counts))
    }

    /// Keeps the time, and lets leave what is due, until the drain begins.
    pub async fn retain(&self, drain: Drain) {
        loop {
            self.pass(&drain).await;
            tokio::select! {
                () = drain.draining() => return,
                () = tokio::time::sleep(EVERY) => {}
            }
        }
    }

    async fn pass(&self, drain: &Drain) {
        if let Err(error) = self.drop_canaries(drain).await {
            tracing::error!(target: "retention", %error, "canaries that have ended stay in the inventory for now");
        }
        let mut whole = LastPass {
            at: self.now(),
            dropped: Dropped::default(),
            kept: Kept::default(),
            fault: None,
        };
        let mut from = PassPlace::BEGINNING;
        loop {
            match self
                .prune_from(Actor::Authority, from, PORTIONS_AT_ONCE)
                .await
            {
                Ok((pruned, next)) => {
                    whole.dropped += pruned.dropped;
                    whole.kept += pruned.kept;
                    match next {
                        Some(next) if !drain.is_draining() => from = next,
                        _ => break,
                    }
                }
                Err(PruneError::NoRule) => return,
                Err(error) => {
                    tracing::error!(
                        target: "retention", %error,
                        "expired certificates stay in the inventory for now"
                    );
                    whole.fault = Some((error.to_string(), error.hint()));
                    break;
                }
            }
            // Others get their turn.
            tokio::time::sleep(PAUSE).await;
        }
        if whole.dropped.total() > 0 {
            tracing::info!(
                target: "retention",
                certificates = whole.dropped.certificates, imported = whole.dropped.imported, intents = whole.dropped.intents,
                "expired certificates left the inventory"
            );
        }
        if whole.fault.is_none() {
            lock(&self.keeping.counts).last_pass = Some(self.now());
        }
        *lock(&self.keeping.last) = Some(whole);
    }

    /// They leave without a rule, too, and into no archive: nobody asks for them, and the audit log has each.
    async fn drop_canaries(&self, drain: &Drain) -> Result<(), PruneError> {
        let mut watch = self.keeping.witness.lock().await;
        let now = self.now();
        let witness = self.advanced(&mut watch, now).await?;
        let cutoff = Retention::OF_CANARIES.cutoff(witness, now);
        for profile in [Profile::CANARY, Profile::CANARY_SERVER] {
            let mut after = None;
            loop {
                let portion = self.store.ended_of_profile(
                    profile.clone(),
                    after,
                    cutoff,
                    witness.judged_at(now),
                );
                let (ended, next) = portion.await?;
                if !ended.is_empty() {
                    let to = "canaries, not archived".to_owned();
                    let dropped = self
                        .store
                        .drop_ended(ended, cutoff, to, Actor::Authority, now);
                    let dropped = dropped.await?;
                    lock(&self.keeping.counts).dropped += dropped;
                }
                after = next;
                if after.is_none() || drain.is_draining() {
                    break;
                }
                // Others get their turn.
                tokio::time::sleep(PAUSE).await;
            }
        }
        Ok(())
    }

    /// Lets leave what is due: a part of it, so that the answer comes soon.
    pub async fn prune(&self, actor: Actor) -> Result<Pruned, PruneError> {
        refuse_all_but_admins(&actor)?;
        let (pruned, _) = self
            .prune_from(actor, PassPlace::BEGINNING, PORTIONS_A_CALL)
            .await?;
        Ok(pruned)
    }

    /// What [`Authority::prune`] would begin with; nothing changes.
    pub async fn preview_prune(&self, actor: &Actor) -> Result<Pruned, PruneError> {
        refuse_all_but_admins(actor)?;
        let state = self.retention().await?.ok_or(PruneError::NoRule)?;
        let due = self.store.count_ended(state.cutoff).await?;
        let mut pruned = Pruned::none(state.cutoff, due);
        let mut after = None;
        for _ in 0..PORTIONS_A_CALL {
            let portion = self
                .store
                .ended(after, state.cutoff, state.judged_at)
                .await?;
            pruned.kept += portion.kept;
            for it in &portion.ended {
                if it.entry().is_imported() {
                    pruned.dropped.imported += 1;
                } else if it.entry().signed.is_some() {
                    pruned.dropped.certificates += 1;
                } else {
                    pruned.dropped.intents += 1;
                }
            }
            after = portion.next;
            if after.is_none() {
                break;
            }
        }
        pruned.has_more = after.is_some();
        Ok(pruned)
    }

    async fn prune_from(
        &self,
        actor: Actor,
        from: PassPlace,
        portions: u32,
    ) -> Result<(Pruned, Option<PassPlace>), PruneError> {
        let outcome = self.prune_portions(actor, from, portions).await;
        if outcome
            .as_ref()
            .is_err_and(|error| !matches!(error, PruneError::NoRule))
        {
            lock(&self.keeping.counts).failures += 1;
        }
        outcome
    }

    async fn prune_portions(
        &self,
        actor: Actor,
        from: PassPlace,
        portions: u32,
    ) -> Result<(Pruned, Option<PassPlace>), PruneError> {
        let mut watch = self.keeping.witness.lock().await;
        let now = self.now();
        // Also where there is no rule yet, so that one finds out what time it is.
        let witness = self.advanced(&mut watch, now).await?;
        let rule = lock(&self.keeping.rule).clone().ok_or(PruneError::NoRule)?;
        let (cutoff, judged_at) = (rule.retention.cutoff(witness, now), witness.judged_at(now));
        let mut pruned = Pruned::none(cutoff, 0);
        let mut archive = self
            .archive_folder(&rule)
            .map(|folder| Archive::at(folder, now));
        let mut place = from;
        let mut left = 0;
        while left < portions {
            if !place.is_behind_entries {
                let portion = self.store.ended(place.entry, cutoff, judged_at).await?;
                pruned.kept += portion.kept;
                place.entry = portion.next;
                place.is_behind_entries = portion.next.is_none();
                if !portion.ended.is_empty() {
                    left += 1;
                    pruned.dropped += self
                        .leave(portion.ended, &mut archive, cutoff, actor.clone())
                        .await?;
                }
                continue;
            }
            let messages = self
                .store
                .drop_messages(place.message, cutoff, actor.clone(), now);
            let Some(next) = messages.await? else {
                pruned.files = archive.into_iter().filter_map(Archive::file).collect();
                return Ok((pruned, None));
            };
            left += 1;
            place.message = next;
        }
        pruned.has_more = true;
        pruned.files = archive.into_iter().filter_map(Archive::file).collect();
        Ok((pruned, Some(place)))
    }

    async fn leave(
        &self,
        ended: Vec<Ended>,
        archive: &mut Option<Archive>,
        cutoff: UnixTime,
        actor: Actor,
    ) -> Result<Dropped, PruneError> {
        let now = self.now();
        let mut where_to = "not archived".to_owned();
        if let Some(mut file) = archive.take() {
            let lines: Vec<String> = ended.iter().map(|it| archive::line(it, now)).collect();
            let written = tokio::task::spawn_blocking(move || {
                let written = file.append(&lines);
                (file, written)
            });
            let (file, written) = written.await.map_err(|_| PruneError::Interrupted)?;
            written?;
            if let Some(path) = file.path() {
                where_to = format!("archived in {}", path.display());
            }
            *archive = Some(file);
            lock(&self.keeping.counts).archived += ended.len() as u64;
        }
        FailPoint::Archived.reach();
        let dropped = self.store.drop_ended(ended, cutoff, where_to, actor, now);
        let dropped = dropped.await?;
        lock(&self.keeping.counts).dropped += dropped;
        Ok(dropped)
    }

    async fn advanced(
        &self,
        watch: &mut Option<Watch>,
        now: UnixTime,
    ) -> Result<Witness, StoreError> {
        let watch = if let Some(watch) = watch {
            watch
        } else {
            let left = self.store.witness().await?;
            watch.insert(Watch {
                witness: left,
                kept: left,
                kept_at: self.opened,
                seen: self.opened,
            })
        };
        watch.advance(now);
        let (present, kept) = (watch.witness, watch.kept);
        // A doubt that comes or goes is no matter of time.
        let is_due = present.time().since(kept.time()) >= KEPT_EVERY
            || watch.kept_at.elapsed() >= KEPT_EVERY
            || present.time() < kept.time()
            || present.doubt().is_some() != kept.doubt().is_some();
        if is_due && present != kept {
            self.store.keep_witness(present).await?;
            (watch.kept, watch.kept_at) = (present, Instant::now());
        }
        Ok(watch.witness)
    }

    fn archive_folder(&self, rule: &RetentionRule) -> Option<PathBuf> {
        let folder = rule.archive.as_ref()?;
        Some(
            folder
                .clone()
                .unwrap_or_else(|| self.state.path().join(FOLDER)),
        )
    }
}

#[derive(Clone, Copy, Debug)]
struct PassPlace {
    entry: Option<EndedPlace>,
    is_behind_entries: bool,
    message: Sequence,
}

impl PassPlace {
    const BEGINNING: Self = Self {
        entry: None,
        is_behind_entries: false,
        message: Sequence(0),
    };
}

impl Pruned {
    fn none(cutoff: UnixTime, due: u64) -> Self {
        Self {
            cutoff,
            due,
            dropped: Dropped::default(),
            kept: Kept::default(),
            files: Vec::new(),
            has_more: false,
        }
    }
}

/// Why nothing left, or no more.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PruneError {
    /// The disk.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// A task was ended.
    #[error("the process ends")]
    Interrupted,
    /// Everything is kept.
    #[error("the inventory keeps everything: there is no rule of what leaves it")]
    NoRule,
    /// A certificate is no right to have anything dropped.
    #[error("{actor} may not have certificates leave the inventory")]
    NotPermitted {
        /// Who asked.
        actor: String,
    },
    /// The inventory.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl PruneError {
    /// What to do.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Archive(error) => Some(error.hint().to_owned()),
            Self::NoRule => Some(
                "write [authority.retention] with expired = \"400d\" into the configuration that is served"
                    .to_owned(),
            ),
            Self::Store(error) => error.hint(),
            Self::Interrupted | Self::NotPermitted { .. } => None,
        }
    }
}

fn refuse_all_but_admins(actor: &Actor) -> Result<(), PruneError> {
    if actor.may(Role::Admin) {
        return Ok(());
    }
    Err(PruneError::NotPermitted {
        actor: actor.to_string(),
    })
}

fn lock<T>(mutex: &std::sync::Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// In the state folder.
const FOLDER: &str = "archive";

/// What ended a month ago can wait an hour.
const EVERY: Duration = Duration::from_hours(1);

/// A restart loses no more of the witness's time; it makes up for it.
const KEPT_EVERY: Duration = Duration::from_hours(1);

/// Portions of which something leaves, 4096 rows: a file of the archive has some 6 MiB.
const PORTIONS_AT_ONCE: u32 = 16;

/// 10,000 rows: a few seconds.
const PORTIONS_A_CALL: u32 = 40;

const PAUSE: Duration = Duration::from_millis(200);
