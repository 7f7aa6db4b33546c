//! Which serials are revoked, by issuing key: an index made for one look-up per certificate and handshake.

mod bundle;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::feed::{Released, RevocationReason, Revoked};
use crate::fingerprint::Fingerprint;
use crate::identity::BundleName;
use crate::serial::SerialNumber;
use crate::time::UnixTime;

pub(crate) use self::bundle::Listed;
pub use self::bundle::{BundleLists, RevocationMode, RevocationStatus};

/// Immutable; a change makes a new one, which the shell swaps in atomically.
///
/// What an issuer has revoked is shared between generations, so a revocation copies what is recent of its own issuer, and not
/// all that it ever revoked (1 million entries: 32 MB).
#[derive(Clone, Debug, Default)]
pub struct RevocationIndex {
    // Issuers are few, their serials many; a tree needs no random seed, which a pure crate cannot draw.
    by_issuer: ByIssuer,
    /// Of bundles that have CRLs of their own.
    by_bundle: BTreeMap<BundleName, Arc<BundleLists>>,
    generation: u64,
}

type ByIssuer = BTreeMap<Fingerprint, Entries>;

/// When and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Revocation {
    /// Since when.
    pub revoked_at: UnixTime,
    /// Why.
    pub reason: RevocationReason,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    serial: SerialNumber,
    reason: RevocationReason,
    revoked_at: UnixTime,
}

/// A million entries stay within 32 MB.
const _: () = assert!(size_of::<Entry>() <= 32);

/// What one issuer has revoked. Invariant: both lists are sorted by serial, and a serial stands once in one of them.
#[derive(Clone, Debug, Default)]
struct Entries {
    settled: Arc<[Entry]>,
    /// At most [`MAX_RECENT`].
    recent: Arc<[Entry]>,
}

/// 32 KB to copy with each revocation; each thousandth copies the rest.
const MAX_RECENT: usize = if cfg!(test) { 8 } else { 1024 };

impl RevocationIndex {
    /// Sorts per issuing key; of statements about one serial the first stands, but a hold gives way to any other reason.
    /// This is generation 0.
    pub fn new(revoked: impl IntoIterator<Item = Revoked>) -> Self {
        Self {
            by_issuer: union(BTreeMap::new(), revoked),
            by_bundle: BTreeMap::new(),
            generation: 0,
        }
    }

    /// A new index that holds these too (a union: nothing is forgotten), one generation on.
    #[must_use]
    pub fn with(&self, revoked: impl IntoIterator<Item = Revoked>) -> Self {
        self.next(union(self.by_issuer.clone(), revoked))
    }

    /// A new index without these, where they are on hold: what is revoked for good stays, whatever is said of it.
    #[must_use]
    pub fn without(&self, released: impl IntoIterator<Item = Released>) -> Self {
        let mut serials: BTreeMap<Fingerprint, BTreeSet<SerialNumber>> = BTreeMap::new();
        for Released { issuer_key, serial } in released {
            serials.entry(issuer_key).or_default().insert(serial);
        }
        let mut by_issuer = self.by_issuer.clone();
        for (issuer_key, serials) in serials {
            retain(&mut by_issuer, &issuer_key, |entry| {
                !(entry.reason.is_hold() && serials.contains(&entry.serial))
            });
        }
        self.next(by_issuer)
    }

    /// A new index that holds these too and no other hold: what a node makes of a snapshot in the history that it follows,
    /// where a hold that the snapshot does not have was released. In another history [`RevocationIndex::with`] is
    /// right, because nobody has released what that one does not know (invariant 5).
    #[must_use]
    pub fn caught_up(&self, revoked: impl IntoIterator<Item = Revoked>) -> Self {
        let mut by_issuer = self.by_issuer.clone();
        for issuer_key in self.by_issuer.keys() {
            retain(&mut by_issuer, issuer_key, |entry| !entry.reason.is_hold());
        }
        self.next(union(by_issuer, revoked))
    }

    fn next(&self, by_issuer: ByIssuer) -> Self {
        Self {
            by_issuer,
            by_bundle: self.by_bundle.clone(),
            generation: self.generation + 1,
        }
    }

    /// A new index in which these are the CRLs of a bundle; `None`: it has none of its own any more.
    #[must_use]
    pub fn with_lists(&self, bundle: BundleName, lists: Option<Arc<BundleLists>>) -> Self {
        let mut next = self.next(self.by_issuer.clone());
        match lists {
            Some(lists) => next.by_bundle.insert(bundle, lists),
            None => next.by_bundle.remove(&bundle),
        };
        next
    }

    /// The CRLs of a bundle.
    pub fn lists_of(&self, bundle: &BundleName) -> Option<&Arc<BundleLists>> {
        self.by_bundle.get(bundle)
    }

    /// The CRLs of each bundle that has its own.
    pub fn lists(&self) -> impl Iterator<Item = (&BundleName, &Arc<BundleLists>)> {
        self.by_bundle.iter()
    }

    /// Two binary searches.
    pub fn find(&self, issuer_key: &Fingerprint, serial: SerialNumber) -> Option<Revocation> {
        let entry = self.by_issuer.get(issuer_key)?.find(serial)?;
        Some(Revocation {
            revoked_at: entry.revoked_at,
            reason: entry.reason,
        })
    }

    /// Those that can be released.
    pub fn holds(&self) -> impl Iterator<Item = Revoked> + '_ {
        self.by_issuer.iter().flat_map(|(issuer_key, entries)| {
            let holds = entries.iter().filter(|entry| entry.reason.is_hold());
            holds.map(|entry| Revoked {
                issuer_key: *issuer_key,
                serial: entry.serial,
                reason: entry.reason,
                revoked_at: entry.revoked_at,
            })
        })
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.by_issuer.values().map(Entries::len).sum()
    }

    /// None.
    pub fn is_empty(&self) -> bool {
        self.by_issuer.is_empty()
    }

    /// Grows by one with each change.
    pub fn generation(&self) -> u64 {
        self.generation
    }
}

fn union(mut by_issuer: ByIssuer, revoked: impl IntoIterator<Item = Revoked>) -> ByIssuer {
    let mut added: BTreeMap<Fingerprint, Vec<Entry>> = BTreeMap::new();
    for Revoked {
        issuer_key,
        serial,
        reason,
        revoked_at,
    } in revoked
    {
        added.entry(issuer_key).or_default().push(Entry {
            serial,
            reason,
            revoked_at,
        });
    }
    for (issuer_key, new) in added {
        by_issuer.entry(issuer_key).or_default().add(new);
    }
    by_issuer
}

/// Copies the list of `issuer_key` only where it changes.
fn retain(by_issuer: &mut ByIssuer, issuer_key: &Fingerprint, keep: impl Fn(&Entry) -> bool) {
    let Some(entries) = by_issuer.get_mut(issuer_key) else {
        return;
    };
    for list in [&mut entries.settled, &mut entries.recent] {
        if !list.iter().all(&keep) {
            *list = list.iter().copied().filter(|entry| keep(entry)).collect();
        }
    }
    if entries.len() == 0 {
        by_issuer.remove(issuer_key);
    }
}

impl Entries {
    fn len(&self) -> usize {
        self.settled.len() + self.recent.len()
    }

    fn iter(&self) -> impl Iterator<Item = &Entry> {
        self.settled.iter().chain(&*self.recent)
    }

    fn find(&self, serial: SerialNumber) -> Option<&Entry> {
        find(&self.recent, serial).or_else(|| find(&self.settled, serial))
    }

    fn add(&mut self, mut new: Vec<Entry>) {
        new.retain(|entry| {
            find(&self.settled, entry.serial)
                .is_none_or(|held| held.reason.is_hold() && !entry.reason.is_hold())
        });
        let replaces = |entry: &Entry| find(&self.settled, entry.serial).is_some();
        if self.recent.len() + new.len() > MAX_RECENT || new.iter().any(replaces) {
            self.settled = merged([&self.settled, &self.recent, &new]);
            self.recent = Arc::default();
        } else {
            self.recent = merged([&self.recent, &new, &[]]);
        }
    }
}

fn find(list: &[Entry], serial: SerialNumber) -> Option<&Entry> {
    let at = list.binary_search_by(|entry| entry.serial.cmp(&serial));
    Some(&list[at.ok()?])
}

/// One list, in which of what says something of one serial the earlier list's survives, and what is for good before a hold.
fn merged(lists: [&[Entry]; 3]) -> Arc<[Entry]> {
    let mut all = lists.concat();
    // The sort is stable.
    all.sort_by_key(|entry| (entry.serial, entry.reason.is_hold()));
    all.dedup_by_key(|entry| entry.serial);
    all.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hold(issuer: u8, serial: u64, at: u64) -> Revoked {
        Revoked {
            reason: RevocationReason::CertificateHold,
            ..revoked(issuer, serial, at)
        }
    }

    fn released(issuer: u8, serial: u64) -> Released {
        let Revoked {
            issuer_key, serial, ..
        } = revoked(issuer, serial, 0);
        Released { issuer_key, serial }
    }

    fn reason(index: &RevocationIndex, serial: u64) -> Option<RevocationReason> {
        let wanted = revoked(1, serial, 0);
        index
            .find(&wanted.issuer_key, wanted.serial)
            .map(|revocation| revocation.reason)
    }

    #[test]
    fn a_hold_gives_way_to_a_revocation_in_whatever_order_they_are_heard() {
        let final_reason = Some(RevocationReason::KeyCompromise);
        let after = RevocationIndex::new([hold(1, 7, 100)]).with([revoked(1, 7, 200)]);
        let before = RevocationIndex::new([revoked(1, 7, 200)]).with([hold(1, 7, 100)]);
        let at_once = RevocationIndex::new([hold(1, 7, 100), revoked(1, 7, 200)]);
        for index in [after, before, at_once] {
            assert_eq!((reason(&index, 7), index.len()), (final_reason, 1));
            assert_eq!(since(&index, 1, 7), Some(200));
        }
        let twice = RevocationIndex::new([hold(1, 7, 100)]).with([hold(1, 7, 50)]);
        assert_eq!(since(&twice, 1, 7), Some(100));
    }

    #[test]
    fn release_ends_a_hold_and_nothing_else() {
        let index = RevocationIndex::new([
            hold(1, 7, 1),
            revoked(1, 8, 2),
            hold(1, 9, 3),
            hold(2, 7, 4),
        ]);
        let next = index.without([
            released(1, 7),
            released(1, 8),
            released(1, 10),
            released(3, 7),
        ]);
        let of_first = [7, 8, 9].map(|serial| since(&next, 1, serial));
        assert_eq!(of_first, [None, Some(2), Some(3)]);
        assert_eq!((since(&next, 2, 7), next.generation()), (Some(4), 1));
        let empty = RevocationIndex::new([hold(1, 7, 1)]).without([released(1, 7)]);
        assert!(empty.is_empty());
        assert_eq!(since(&empty.with([hold(1, 7, 5)]), 1, 7), Some(5));
    }

    #[test]
    fn snapshot_of_the_history_that_is_followed_releases_what_it_does_not_hold() {
        let index = RevocationIndex::new([
            hold(1, 7, 1),
            hold(1, 8, 2),
            revoked(1, 9, 3),
            hold(2, 7, 4),
        ]);
        let next = index.caught_up([hold(1, 8, 2), revoked(1, 10, 5)]);
        let of_first = [7, 8, 9, 10].map(|serial| since(&next, 1, serial));
        // What is for good stays even where a snapshot leaves it out.
        assert_eq!(of_first, [None, Some(2), Some(3), Some(5)]);
        assert_eq!(next.holds().collect::<Vec<_>>(), [hold(1, 8, 2)]);
        assert_eq!(since(&next, 2, 7), None);
    }

    fn revoked(issuer: u8, serial: u64, at: u64) -> Revoked {
        Revoked {
            issuer_key: Fingerprint::from_bytes([issuer; 32]),
            serial: SerialNumber::from_magnitude(&serial.to_be_bytes()).expect("not zero"),
            reason: RevocationReason::KeyCompromise,
            revoked_at: UnixTime::from_seconds(at),
        }
    }

    fn since(index: &RevocationIndex, issuer: u8, serial: u64) -> Option<u64> {
        let wanted = revoked(issuer, serial, 0);
        index
            .find(&wanted.issuer_key, wanted.serial)
            .map(|revocation| revocation.revoked_at.seconds())
    }

    #[test]
    fn a_serial_is_revoked_under_its_own_issuing_key_only() {
        let index = RevocationIndex::new([revoked(1, 7, 100)]);
        assert_eq!(since(&index, 1, 7), Some(100));
        assert_eq!(
            (
                since(&index, 2, 7),
                since(&index, 1, 8),
                since(&index, 1, 7 << 8)
            ),
            (None, None, None)
        );
    }

    #[test]
    fn the_first_statement_stands_within_a_batch_and_across_batches() {
        let index = RevocationIndex::new([revoked(1, 7, 100), revoked(1, 7, 50)]);
        assert_eq!(since(&index, 1, 7), Some(100));
        let next = index.with([revoked(1, 7, 10), revoked(1, 8, 20)]);
        assert_eq!(
            (since(&next, 1, 7), since(&next, 1, 8), next.len()),
            (Some(100), Some(20), 2)
        );
    }

    #[test]
    fn each_change_is_a_generation_and_leaves_the_old_index_as_it_was() {
        let old = RevocationIndex::default();
        let new = old.with([revoked(1, 7, 1)]);
        assert_eq!(
            (
                old.generation(),
                new.generation(),
                new.with([]).generation()
            ),
            (0, 1, 2)
        );
        assert!(old.is_empty() && !new.is_empty());
        assert_eq!((since(&old, 1, 7), new.with([]).len()), (None, 1));
    }

    #[test]
    fn revocation_copies_what_is_recent_alone() {
        let settled = |index: &RevocationIndex| {
            let key = revoked(1, 1, 0).issuer_key;
            Arc::clone(&index.by_issuer[&key].settled)
        };
        let many = (1..=100).map(|serial| revoked(1, serial, 0));
        let index = RevocationIndex::new(many);
        let mut next = index.clone();
        for serial in 101..=100 + MAX_RECENT as u64 {
            next = next.with([revoked(1, serial, 0), revoked(1, serial - 100, 0)]);
            next = next.with([hold(1, serial - 100, 0)]);
            assert!(Arc::ptr_eq(&settled(&index), &settled(&next)), "{serial}");
        }
        assert_eq!(settled(&index).len(), 100);
        let next = next.with([revoked(1, 1000, 0)]);
        assert_eq!(settled(&next).len(), 101 + MAX_RECENT);
    }

    #[test]
    fn any_sequence_of_batches_says_what_a_plain_map_says() {
        let mut random = 0x5eed_u64;
        let mut next = |bound: u64| {
            // Knuth's MMIX generator; the high bits are the good ones.
            random = random
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (random >> 33) % bound
        };
        let mut index = RevocationIndex::default();
        let mut model: BTreeMap<(u8, u64), (bool, u64)> = BTreeMap::new();
        for generation in 1..=400 {
            // Mostly a few, so that both what is recent and what has settled is met.
            let count = if next(8) == 0 { next(20) } else { next(4) };
            let batch: Vec<_> = (0..count)
                .map(|_| {
                    let issuer = if next(3) == 0 { 1 } else { 2 };
                    // Serials of every length, and near each other so that they collide.
                    let serial = (next(40) + 1) << (8 * next(7));
                    (issuer, serial, next(2) == 0, next(1000))
                })
                .collect();
            if next(5) == 0 {
                index = index.without(batch.iter().map(|it| released(it.0, it.1)));
                for it in &batch {
                    if model
                        .get(&(it.0, it.1))
                        .is_some_and(|(is_hold, _)| *is_hold)
                    {
                        model.remove(&(it.0, it.1));
                    }
                }
            } else {
                // Within a batch a hold gives way too: those for good are told first here.
                let (holds, for_good): (Vec<_>, Vec<_>) =
                    batch.iter().copied().partition(|it| it.2);
                for it in for_good.iter().chain(&holds) {
                    let held = model.entry((it.0, it.1)).or_insert((it.2, it.3));
                    if held.0 && !it.2 {
                        *held = (false, it.3);
                    }
                }
                index = index.with(batch.iter().map(|it| {
                    let statement = if it.2 { hold } else { revoked };
                    statement(it.0, it.1, it.3)
                }));
            }
            assert_eq!((index.generation(), index.len()), (generation, model.len()));
            let held = model.values().filter(|(is_hold, _)| *is_hold).count();
            assert_eq!(index.holds().count(), held);
        }
        for issuer in 1..=3 {
            for serial in
                (1..=41).flat_map(|serial| (0..8).map(move |octets| serial << (8 * octets)))
            {
                assert_eq!(
                    since(&index, issuer, serial),
                    model.get(&(issuer, serial)).map(|(_, at)| *at),
                    "{issuer} {serial:x}"
                );
            }
        }
    }
}
