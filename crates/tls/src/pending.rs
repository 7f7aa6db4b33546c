//! Handshakes that have begun and not ended. Each holds a socket and memory before anybody is known, so they are counted:
//! per listener, and per source, so that one source cannot take them all.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use countersign_diagnose::handshake::{HandshakeFault, PendingAt};

/// How many handshakes of a listener may be unfinished at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PendingLimits {
    /// From everywhere.
    pub in_all: usize,
    /// From one IPv4 address, or one IPv6 network of 64 bits, which one host is commonly given whole.
    pub per_source: usize,
}

impl Default for PendingLimits {
    fn default() -> Self {
        Self {
            in_all: IN_ALL,
            per_source: PER_SOURCE,
        }
    }
}

/// Counts the unfinished handshakes of a listener.
#[derive(Default)]
pub(crate) struct Pending {
    // Invariant: `in_all` is at least the sum of each map, none of which holds a zero; so they are never larger than the limit in all.
    counts: Mutex<Counts>,
}

#[derive(Default)]
struct Counts {
    in_all: usize,
    by_source: HashMap<IpAddr, usize>,
    by_site: HashMap<Ipv6Addr, usize>,
}

/// Counts one handshake until it is dropped.
#[must_use = "the handshake counts only while the slot lives"]
pub(crate) struct Slot {
    pending: Arc<Pending>,
    /// `None`: a front's, which has not said yet whom it carries.
    source: Option<IpAddr>,
}

impl Pending {
    /// Refused when as many are unfinished as may be.
    pub(crate) fn begin(
        self: &Arc<Self>,
        limits: PendingLimits,
        source: IpAddr,
    ) -> Result<Slot, HandshakeFault> {
        let source = network_of(source);
        let mut counts = self.counts();
        counts.check(limits)?;
        let of_source = counts.by_source.get(&source).copied().unwrap_or_default();
        let site = site_of(source);
        let of_site = site.map(|site| counts.by_site.get(&site).copied().unwrap_or_default());
        let per_site = limits.per_source.max(limits.in_all / SITES);
        let is_full = |count, limit| (count >= limit).then_some(limit);
        let full = is_full(of_source, limits.per_source)
            .or_else(|| of_site.and_then(|of_site| is_full(of_site, per_site)));
        if let Some(limit) = full {
            let at = PendingAt::Source;
            return Err(HandshakeFault::TooManyPending { at, limit });
        }
        counts.in_all += 1;
        counts.by_source.insert(source, of_source + 1);
        if let Some((site, of_site)) = site.zip(of_site) {
            counts.by_site.insert(site, of_site + 1);
        }
        Ok(Slot {
            pending: Arc::clone(self),
            source: Some(source),
        })
    }

    /// The same for a front, through which everybody comes.
    pub(crate) fn begin_of_front(
        self: &Arc<Self>,
        limits: PendingLimits,
    ) -> Result<Slot, HandshakeFault> {
        let mut counts = self.counts();
        counts.check(limits)?;
        counts.in_all += 1;
        Ok(Slot {
            pending: Arc::clone(self),
            source: None,
        })
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        // Nothing between lock and unlock panics.
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Counts {
    fn check(&self, limits: PendingLimits) -> Result<(), HandshakeFault> {
        if self.in_all < limits.in_all {
            return Ok(());
        }
        Err(HandshakeFault::TooManyPending {
            at: PendingAt::Listener,
            limit: limits.in_all,
        })
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut counts = self.pending.counts();
        counts.in_all -= 1;
        let Some(source) = self.source else {
            return;
        };
        give_back(&mut counts.by_source, &source);
        if let Some(site) = site_of(source) {
            give_back(&mut counts.by_site, &site);
        }
    }
}

fn give_back<K: Hash + Eq>(counts: &mut HashMap<K, usize>, key: &K) {
    match counts.get_mut(key) {
        Some(count) if *count > 1 => *count -= 1,
        _ => drop(counts.remove(key)),
    }
}

/// The network of 48 bits, which one customer may be given whole (RFC 6177), with all the sources in it.
fn site_of(source: IpAddr) -> Option<Ipv6Addr> {
    match source {
        IpAddr::V4(_) => None,
        IpAddr::V6(address) => {
            let [a, b, c, ..] = address.segments();
            Some(Ipv6Addr::new(a, b, c, 0, 0, 0, 0, 0))
        }
    }
}

pub(crate) fn network_of(source: IpAddr) -> IpAddr {
    match source.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
    }
}

/// At a round trip of 100 ms (two per handshake) this lets 20 000 clients a second in, more than a machine can shake hands
/// with; unfinished, each holds a descriptor and up to 64 KiB of what it has sent: 256 MiB.
const IN_ALL: usize = 4096;
/// A sixteenth of all, so that one source leaves room for others; a load balancer in front of us, which is one source to
/// us, still gets 1000 handshakes a second done over a slow path.
const PER_SOURCE: usize = 256;
/// How many sites of IPv6 it takes to have all places: each has the greater of this part of them and one source's.
const SITES: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;

    fn at(outcome: &Result<Slot, HandshakeFault>) -> Option<PendingAt> {
        match outcome {
            Err(HandshakeFault::TooManyPending { at, .. }) => Some(*at),
            _ => None,
        }
    }

    #[test]
    fn many_networks_of_one_site_leave_places_to_others() {
        let limits = PendingLimits {
            in_all: 16,
            per_source: 2,
        };
        let pending = Arc::<Pending>::default();
        let begin = |text: &str| pending.begin(limits, text.parse().expect("an address"));
        let held: Vec<_> = (0..16)
            .map(|network| begin(&format!("2001:db8:1:{network:x}::1")))
            .collect();
        let let_in = held.iter().filter(|it| it.is_ok()).count();
        assert_eq!((let_in, at(&held[4])), (4, Some(PendingAt::Source)));
        let _elsewhere = [begin("2001:db8:2::1"), begin("192.0.2.1")];
        assert_eq!(pending.counts().in_all, 6);
        drop(held);
        assert_eq!(pending.counts().by_site.len(), 1, "nothing is left behind");
        assert!(begin("2001:db8:1::1").is_ok());
    }

    #[test]
    fn a_source_is_an_ipv4_address_or_an_ipv6_network() {
        let address = |text: &str| text.parse::<IpAddr>().expect("an address");
        let limits = PendingLimits {
            in_all: 3,
            per_source: 1,
        };
        let pending = Arc::<Pending>::default();
        let begin = |text: &str| pending.begin(limits, address(text));
        let _four = begin("192.0.2.1");
        let six = begin("2001:db8::1");
        assert_eq!(at(&begin("::ffff:192.0.2.1")), Some(PendingAt::Source));
        assert_eq!(at(&begin("2001:db8::ffff:2")), Some(PendingAt::Source));
        let _next = begin("2001:db8:1::1");
        assert_eq!(at(&begin("192.0.2.2")), Some(PendingAt::Listener));
        drop(six);
        assert_eq!(at(&begin("2001:db8::ffff:2")), None);
        assert_eq!(
            pending.counts().by_source.len(),
            2,
            "nothing is left behind"
        );
    }
}
