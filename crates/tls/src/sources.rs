//! Connections of each source, from the handshake to the end.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use countersign_diagnose::handshake::{Excess, HandshakeFault};

use crate::pending::network_of;

/// How many connections each source of a listener has.
#[derive(Default)]
pub(crate) struct Sources {
    // Invariant: no zero stands here, so that the map is never larger than there are connections.
    counts: Mutex<HashMap<IpAddr, usize>>,
}

/// Counts one connection until it is dropped.
#[must_use = "the connection counts only while the place is held"]
pub(crate) struct Place {
    sources: Arc<Sources>,
    source: IpAddr,
}

impl Sources {
    /// Refused when the source has as many as it may.
    pub(crate) fn enter(
        self: &Arc<Self>,
        source: IpAddr,
        limit: Option<usize>,
    ) -> Result<Place, HandshakeFault> {
        let source = network_of(source);
        let mut counts = self.counts();
        let count = counts.entry(source).or_default();
        match limit {
            Some(limit) if *count >= limit => {
                if *count == 0 {
                    counts.remove(&source);
                }
                Err(HandshakeFault::RateLimited(Excess::Connections { limit }))
            }
            _ => {
                *count += 1;
                Ok(Place {
                    sources: Arc::clone(self),
                    source,
                })
            }
        }
    }

    fn counts(&self) -> MutexGuard<'_, HashMap<IpAddr, usize>> {
        // Nothing between lock and unlock panics.
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut counts = self.sources.counts();
        match counts.get_mut(&self.source) {
            Some(count) if *count > 1 => *count -= 1,
            _ => drop(counts.remove(&self.source)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn source_has_so_many_connections_and_leaves_nothing_behind() {
        let sources = Arc::new(Sources::default());
        let enter = |text: &str| sources.enter(text.parse().expect("an address"), Some(2));
        let first = enter("192.0.2.1").expect("the first");
        let _second = enter("::ffff:192.0.2.1").expect("the second");
        assert!(enter("192.0.2.1").is_err());
        let _other = enter("192.0.2.2").expect("another source");
        let six = enter("2001:db8::1").expect("the first");
        let _seven = enter("2001:db8::2").expect("the second");
        assert!(enter("2001:db8::ffff:3").is_err());
        drop(first);
        drop(six);
        let again = enter("192.0.2.1").expect("a place is free");
        drop(again);
        assert_eq!(sources.counts().len(), 3);
        assert!(sources.enter([192, 0, 2, 9].into(), Some(0)).is_err());
        assert_eq!(sources.counts().len(), 3);
    }
}
