//! How fast handshakes of one network may begin.
//!
//! A handshake costs a signature before anybody is known, and whoever has a network has all its addresses. The table does not
//! grow: each network has a place in each of two rows, by a hash that nobody outside can foretell, and shares it with
//! whoever else falls there. It is refused only where both of its places are used up, so that one flood refuses a stranger
//! with a chance of one in 10⁸.

use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use countersign_diagnose::handshake::{Excess, HandshakeFault};
use countersign_runtime::config::network::Network;
use tokio::time::Instant;

/// How fast, and of what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HandshakeRate {
    /// After a pause as many may begin at once; with 0 none ever does.
    pub per_second: u32,
    /// Bits of a network of IPv4.
    pub bits_v4: u8,
    /// Bits of a network of IPv6.
    pub bits_v6: u8,
}

impl HandshakeRate {
    fn network(self, source: IpAddr) -> Network {
        let source = source.to_canonical();
        let bits = if source.is_ipv4() {
            self.bits_v4
        } else {
            self.bits_v6
        };
        Network::around(source, bits)
    }
}

/// What the networks have used up.
pub(crate) struct Rates {
    begun: Instant,
    hashers: [RandomState; ROWS],
    /// Made when a rate is first asked for.
    rows: Mutex<Vec<[Place; ROWS]>>,
}

/// A bucket that empties with time.
#[derive(Clone, Copy, Default)]
struct Place {
    /// In millionths of a handshake.
    used: u64,
    /// Since the beginning, in microseconds.
    at: u64,
}

impl Rates {
    pub(crate) fn new() -> Self {
        Self {
            begun: Instant::now(),
            hashers: [RandomState::new(), RandomState::new()],
            rows: Mutex::default(),
        }
    }

    /// Refused when the network has begun as many as it may.
    pub(crate) fn begin(&self, rate: HandshakeRate, source: IpAddr) -> Result<(), HandshakeFault> {
        let network = rate.network(source);
        if self.takes(rate, network, self.begun.elapsed()) {
            return Ok(());
        }
        Err(HandshakeFault::RateLimited(Excess::Handshakes {
            network: network.to_string(),
            per_second: rate.per_second,
        }))
    }

    fn takes(&self, rate: HandshakeRate, network: Network, now: Duration) -> bool {
        let now = u64::try_from(now.as_micros()).unwrap_or(u64::MAX);
        let full = u64::from(rate.per_second) * HANDSHAKE;
        // Nothing between lock and unlock panics.
        let mut rows = self.rows.lock().unwrap_or_else(PoisonError::into_inner);
        if rows.is_empty() {
            rows.resize(PLACES, Default::default());
        }
        let mut takes = false;
        for (row, hasher) in self.hashers.iter().enumerate() {
            let index = hasher.hash_one(network) % PLACES as u64;
            let index = usize::try_from(index).expect("fewer than PLACES");
            let place = &mut rows[index][row];
            // A microsecond empties `per_second` millionths.
            let emptied = now
                .saturating_sub(place.at)
                .saturating_mul(u64::from(rate.per_second));
            place.used = place.used.saturating_sub(emptied);
            place.at = now;
            if place.used + HANDSHAKE <= full {
                place.used += HANDSHAKE;
                takes = true;
            }
        }
        takes
    }
}

const ROWS: usize = 2;

/// 512 KiB. A flood from one network shares both places of a stranger with a chance of (1/16384)².
const PLACES: usize = 16 * 1024;

/// In millionths.
const HANDSHAKE: u64 = 1_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: HandshakeRate = HandshakeRate {
        per_second: 10,
        bits_v4: 24,
        bits_v6: 56,
    };

    fn taken(rates: &Rates, source: &str, tries: usize, now: Duration) -> usize {
        let network = RATE.network(source.parse().expect("an address"));
        let takes = || rates.takes(RATE, network, now);
        std::iter::repeat_with(takes)
            .take(tries)
            .filter(|it| *it)
            .count()
    }

    #[test]
    fn network_gets_its_rate_and_no_more_whatever_its_addresses() {
        let rates = Rates::new();
        let at = Duration::from_millis;
        assert_eq!(taken(&rates, "192.0.2.1", 100, at(0)), 10);
        for neighbour in ["192.0.2.2", "192.0.2.255", "::ffff:192.0.2.77"] {
            assert_eq!(taken(&rates, neighbour, 10, at(0)), 0, "{neighbour}");
        }
        assert_eq!(taken(&rates, "192.0.2.1", 100, at(99)), 0);
        assert_eq!(taken(&rates, "192.0.2.1", 100, at(100)), 1);
        assert_eq!(taken(&rates, "192.0.2.1", 100, at(600)), 5);
        // What was not used is not saved up.
        assert_eq!(taken(&rates, "192.0.2.1", 100, at(3_600_000)), 10);
        assert_eq!(taken(&rates, "2001:db8:0:1::1", 100, at(0)), 10);
        assert_eq!(taken(&rates, "2001:db8:0:ff::1", 100, at(0)), 0);
        assert_eq!(taken(&rates, "2001:db8:0:100::1", 100, at(0)), 10);
    }

    #[test]
    fn flood_from_many_networks_takes_no_room_and_leaves_others_alone() {
        let rates = Rates::new();
        for number in 0..2000_u32 {
            let [_, _, a, b] = number.to_be_bytes();
            let source = format!("10.{a}.{b}.1");
            taken(&rates, &source, 20, Duration::ZERO);
        }
        let strangers = (0..100).map(|number| format!("198.51.{number}.1"));
        let served = strangers
            .filter(|source| taken(&rates, source, 1, Duration::ZERO) == 1)
            .count();
        // 2000 of 16384 places are used up: one stranger in 70 falls on two of them.
        assert!(served > 80, "{served}");
        let rows = rates.rows.lock().expect("no panic");
        assert_eq!(rows.len() * size_of::<[Place; ROWS]>(), 512 * 1024);
    }

    #[test]
    fn with_no_rate_nobody_begins() {
        let rates = Rates::new();
        let rate = HandshakeRate {
            per_second: 0,
            ..RATE
        };
        let source = "192.0.2.1".parse().expect("an address");
        assert!(rates.begin(rate, source).is_err());
    }
}
