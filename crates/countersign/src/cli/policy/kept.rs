//! The decisions that a gateway kept, as commands get at them.

use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use countersign_authority::state::StateFolder;
use countersign_pki::identity::Identity;
use countersign_pki::time::{UnixTime, spoken};
use countersign_proxy::decisions::{FILE, Kept, KeptError, Tally, read};

use crate::fault::Fault;

/// Those of a time.
pub(super) struct Recent {
    pub(super) kept: Kept,
    /// The first second that counts.
    pub(super) from: u64,
    pub(super) since: Duration,
    now: u64,
}

impl Recent {
    pub(super) fn read(state: &Path, since: Duration, now: UnixTime) -> Result<Self, Fault> {
        let path = StateFolder::existing(state)?.path().join(FILE);
        let kept = read(&path).map_err(|error| {
            let shown = path.display();
            match error {
                KeptError::Absent => Fault::denied(format_args!("no decisions are kept in {}", state.display())).hint(
                    "a gateway keeps its own where it runs, some seconds after its start: name its folder with `--state DIR`; [gateway.decisions] says whether it does",
                ),
                error @ KeptError::Damaged { .. } => Fault::world(format_args!("{shown}: {error}"))
                    .hint("the gateway sets it aside when it starts, and begins anew"),
                KeptError::Io(error) => Fault::world(format_args!("cannot read {shown}: {error}")),
            }
        })?;
        Ok(Self {
            kept,
            from: now.minus(since).seconds(),
            since,
            now: now.seconds(),
        })
    }

    pub(super) fn is_recent(&self, tally: &Tally) -> bool {
        tally.last_unix_s >= self.from
    }

    /// For how long it was looked at all.
    pub(super) fn observed(&self) -> Duration {
        self.observed_since(self.from)
    }

    /// For how long it was looked since then.
    pub(super) fn observed_since(&self, unix_s: u64) -> Duration {
        let from = self.from.max(unix_s);
        self.kept.observed.since(from, self.now)
    }

    /// Whether it was looked all the time, for as long as that was.
    pub(super) fn is_watched(&self, observed_s: u64) -> bool {
        observed_s.saturating_add(SLACK_S) >= self.since.as_secs()
    }

    /// Whom the certificate was accepted as.
    pub(super) fn identity(&self, tally: &Tally) -> Option<&Identity> {
        let leaf = tally.leaf?;
        self.kept.certificates.get(&leaf).map(|it| &it.identity)
    }

    /// `observed for 3 d of 14 d`.
    pub(super) fn span(&self, observed: Duration) -> String {
        format!(
            "observed for {} of {}",
            spoken(observed),
            spoken(self.since)
        )
    }

    /// What is missing for want of room.
    pub(super) fn losses(&self) -> Option<String> {
        let observed = &self.kept.observed;
        let lost = observed.lost();
        (lost > 0 && observed.last_lost_unix_s >= self.from).then(|| {
            let when = UnixTime::from_seconds(observed.last_lost_unix_s);
            format!("{lost} requests or connections came too fast, or were of too many kinds to be kept, the last {when}: what is said here is not all")
        })
    }
}

/// How many of a list are shown to a person.
pub(super) fn and_more(text: &mut String, shown: usize, all: usize) {
    if all > shown {
        writeln!(text, "  and {} more: --json has all", all - shown)
            .expect("a String takes everything");
    }
}

/// `once`, `7 times`.
pub(super) fn times(count: u64) -> String {
    match count {
        1 => "once".to_owned(),
        count => format!("{count} times"),
    }
}

pub(super) const SHOWN: usize = 50;
/// What passes between two writings.
const SLACK_S: u64 = 120;
