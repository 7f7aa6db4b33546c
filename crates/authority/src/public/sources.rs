//! How many connections each source holds, so that one cannot take all places.

use std::cell::RefCell;
use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::rc::Rc;

/// Counts the connections of each source; on the one thread that serves them.
#[derive(Clone, Default)]
pub(super) struct Sources {
    // Invariant: holds no zero, so it is never larger than the number of connections.
    counts: Rc<RefCell<HashMap<IpAddr, usize>>>,
}

/// Counts one connection until it is dropped.
#[must_use = "the connection counts only while the place lives"]
pub(super) struct Place {
    sources: Sources,
    source: IpAddr,
}

impl Sources {
    /// `None`: the source holds as many as it may.
    pub(super) fn take(&self, peer: IpAddr) -> Option<Place> {
        let source = network_of(peer);
        let mut counts = self.counts.borrow_mut();
        let held = counts.entry(source).or_default();
        if *held >= MAX_PER_SOURCE {
            return None;
        }
        *held += 1;
        Some(Place {
            sources: self.clone(),
            source,
        })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut counts = self.sources.counts.borrow_mut();
        match counts.get_mut(&self.source) {
            Some(held) if *held > 1 => *held -= 1,
            _ => drop(counts.remove(&self.source)),
        }
    }
}

/// One host is commonly given an IPv6 network of 64 bits whole.
fn network_of(peer: IpAddr) -> IpAddr {
    match peer.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
    }
}

/// A quarter of all places. A proxy before us, which is one source, keeps its connections and needs far fewer.
pub(super) const MAX_PER_SOURCE: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn source_takes_its_share_and_leaves_the_rest_to_others() {
        let sources = Sources::default();
        let at = |text: &str| sources.take(text.parse().expect("an address"));
        let mut held: Vec<Place> = (0..MAX_PER_SOURCE)
            .map(|_| at("192.0.2.1").expect("its share"))
            .collect();
        assert!(at("192.0.2.1").is_none());
        assert!(at("::ffff:192.0.2.1").is_none(), "the same one");
        held.push(at("192.0.2.2").expect("another"));
        drop(held.remove(0));
        held.push(at("192.0.2.1").expect("a place that is free again"));
        held.extend(
            (1..=MAX_PER_SOURCE)
                .map(|host| at(&format!("2001:db8::{host:x}")).expect("one network")),
        );
        assert!(at("2001:db8::ffff").is_none());
        held.push(at("2001:db8:0:1::1").expect("another network"));
        held.clear();
        assert!(sources.counts.borrow().is_empty());
    }
}
