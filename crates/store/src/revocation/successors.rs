//! What has come of certificates that are withdrawn: each renewal has a key of its own, so one that a thief has renewed
//! outlives the one that was stolen.

use std::collections::HashSet;

use countersign_pki::time::UnixTime;

use super::radius::Candidate;
use super::{MAX_RADIUS, Shown};
use crate::error::StoreError;
use crate::inventory::{EntryId, Status};
use crate::store::Store;

/// Certificates that are withdrawn, to be followed.
#[derive(Clone, Debug, Default)]
pub(super) struct Withdrawing(Vec<EntryId>);

impl Withdrawing {
    /// Of more than [`MAX_RADIUS`] the others are not followed.
    pub(super) fn add(&mut self, candidate: &Candidate) {
        if self.0.len() < FOLLOWED {
            self.0.extend(candidate.entry);
        }
    }
}

impl Store {
    /// The certificates that came of `withdrawing` by renewal, however many renewals away, and are live at `now`; no more are
    /// followed than one withdrawal may change. Read portion by portion, beside the writer.
    pub(super) async fn successors(
        &self,
        withdrawing: Withdrawing,
        now: UnixTime,
    ) -> Result<Shown, StoreError> {
        let mut shown = Shown::default();
        let mut to_follow = withdrawing.0;
        // Whatever the rows say, none is followed twice.
        let mut met: HashSet<i64> = to_follow.iter().map(|id| id.0).collect();
        while !to_follow.is_empty() && met.len() <= 2 * FOLLOWED {
            let portion = to_follow.split_off(to_follow.len().saturating_sub(PORTION));
            let next = self.lists.read(move |sql| {
                let mut next = Vec::new();
                for id in portion {
                    let ids = sql
                        .prepare_cached(SUCCESSORS)?
                        .query_map([id.0], |row| row.get(0).map(EntryId))?
                        .collect::<rusqlite::Result<Vec<_>>>()?;
                    for id in ids {
                        next.push((id, Candidate::read(sql, id, None)?));
                    }
                }
                Ok(next)
            });
            for (id, candidate) in next.await? {
                if !met.insert(id.0) {
                    continue;
                }
                to_follow.push(id);
                // One that may have been signed is as good as one that was.
                if matches!(candidate.status_at(now), Status::Unknown | Status::Valid) {
                    shown.add(|| candidate.withdrawn());
                }
            }
        }
        Ok(shown)
    }
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "a million fits any address space"
)]
const FOLLOWED: usize = MAX_RADIUS as usize;

/// A few milliseconds of the reader that pages of lists have.
const PORTION: usize = 1000;

const SUCCESSORS: &str =
    "SELECT e.id FROM entry e INDEXED BY entry_by_renewed WHERE e.renews = ?1 ORDER BY e.id";
