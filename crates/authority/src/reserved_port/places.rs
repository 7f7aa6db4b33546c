//! How many connections each holder has open.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use countersign_pki::identity::Identity;

/// Counts them.
#[derive(Clone, Default)]
pub(crate) struct Places(
    // Guards nothing but the map, which holds no zero.
    Arc<Mutex<BTreeMap<Identity, usize>>>,
);

/// One of them, until it is dropped.
pub(crate) struct Place {
    places: Places,
    of: Identity,
}

impl Places {
    /// `None`: `holder` has `limit` already.
    pub(crate) fn take(&self, holder: &Identity, limit: usize) -> Option<Place> {
        let mut open = self.open();
        let count = open.entry(holder.clone()).or_default();
        if *count >= limit {
            return None;
        }
        *count += 1;
        Some(Place {
            places: self.clone(),
            of: holder.clone(),
        })
    }

    fn open(&self) -> MutexGuard<'_, BTreeMap<Identity, usize>> {
        // Nothing under this lock can panic half-way.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut open = self.places.open();
        if let Some(count) = open.get_mut(&self.of) {
            *count -= 1;
            if *count == 0 {
                open.remove(&self.of);
            }
        }
    }
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Place({})", self.of)
    }
}

#[cfg(test)]
mod tests {
    use countersign_pki::identity::BundleName;

    use super::*;

    const LIMIT: usize = 3;

    fn operator(name: &str) -> Identity {
        Identity {
            bundle: BundleName::operators(),
            name: name.parse().expect("a name"),
        }
    }

    #[test]
    fn operator_has_so_many_places_and_leaves_those_of_others_alone() {
        let places = Places::default();
        let (alice, bob) = (operator("cn:alice"), operator("cn:bob"));
        let mut taken: Vec<Place> = (0..LIMIT)
            .filter_map(|_| places.take(&alice, LIMIT))
            .collect();
        assert_eq!(taken.len(), LIMIT);
        assert!(places.take(&alice, LIMIT).is_none());
        assert!(places.take(&bob, LIMIT).is_some());
        taken.pop();
        assert!(places.take(&alice, LIMIT).is_some());
        taken.clear();
        assert!(places.open().is_empty(), "who has gone leaves nothing");
    }
}
