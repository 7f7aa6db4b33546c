//! Which refusals are one entry: pure, so that floods can be tested without a network.
//!
//! A client that retries is one entry with a count. Each entry lives for a window of 10 s that doubles up to an hour while
//! it goes on. A peer can invent addresses, certificates and requests without end: the more it invents, the wider the
//! entry that its refusals are counted in, while others keep entries of their own.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use countersign_diagnose::cause::Cause;
use countersign_pki::fingerprint::Fingerprint;

use crate::refusals::{Covers, Refused};

/// The entries that are open now.
pub(super) struct Coalescer {
    windows: HashMap<Key, Window>,
    /// How many entries of [`Covers::Client`] each source has.
    clients: HashMap<IpAddr, usize>,
    /// What each network may still open.
    networks: HashMap<IpAddr, Allowance>,
    next: u64,
}

/// Where a refusal was counted.
pub(super) struct Noted {
    pub(super) sequence: u64,
    /// What the entry covers, if it has to be kept now.
    pub(super) is_new: Option<Covers>,
}

/// An entry that was counted again since it was last told of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Again {
    pub(super) sequence: u64,
    pub(super) cause: Cause,
    /// In all.
    pub(super) count: u64,
    pub(super) last_unix_s: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Key {
    Client(Cause, IpAddr, Option<Fingerprint>, u64),
    Source(Cause, IpAddr),
    Network(Cause, IpAddr),
    Everybody(Cause),
}

struct Window {
    sequence: u64,
    ends: u64,
    length: u64,
    count: u64,
    told: u64,
    last: u64,
}

struct Allowance {
    entries: u64,
    since: u64,
}

impl Coalescer {
    pub(super) fn new(next: u64) -> Self {
        Self {
            windows: HashMap::new(),
            clients: HashMap::new(),
            networks: HashMap::new(),
            next,
        }
    }

    /// The number that the next entry gets.
    pub(super) fn next(&self) -> u64 {
        self.next
    }

    /// Counts the refusal in the narrowest entry that there is, or that there is room for. Without `has_room` only a cause
    /// that has no entry at all opens one: there are few causes.
    pub(super) fn note(&mut self, refused: &Refused, now: u64, has_room: bool) -> Noted {
        let cause = refused.refusal.cause;
        let source = source_of(refused.source.ip());
        let network = network_of(refused.source.ip());
        let keys = [
            Key::Client(cause, source, refused.fingerprint, request_of(refused)),
            Key::Source(cause, source),
            Key::Network(cause, network),
            Key::Everybody(cause),
        ];
        for key in keys {
            if let Some(window) = self.windows.get_mut(&key) {
                window.count += 1;
                window.last = now;
                return Noted {
                    sequence: window.sequence,
                    is_new: None,
                };
            }
            if self.may_open(&key, network, now, has_room) {
                let covers = key.covers();
                let sequence = self.next;
                self.next += 1;
                let window = Window {
                    sequence,
                    ends: now + FIRST_WINDOW_S,
                    length: FIRST_WINDOW_S,
                    count: 1,
                    told: 1,
                    last: now,
                };
                self.windows.insert(key, window);
                return Noted {
                    sequence,
                    is_new: Some(covers),
                };
            }
        }
        unreachable!("an entry for everybody can always be opened")
    }

    /// What was counted in windows that have ended; those in which nothing came are closed. With `all`, what was counted
    /// in open ones too.
    pub(super) fn tell(&mut self, now: u64, all: bool) -> Vec<Again> {
        let mut told = Vec::new();
        let clients = &mut self.clients;
        self.windows.retain(|key, window| {
            let has_ended = now >= window.ends;
            let goes_on = window.count > window.told;
            if goes_on && (has_ended || all) {
                window.told = window.count;
                let Window {
                    sequence,
                    count,
                    last,
                    ..
                } = *window;
                told.push(Again {
                    sequence,
                    cause: key.cause(),
                    count,
                    last_unix_s: last,
                });
            }
            if has_ended && goes_on {
                window.length = (window.length * 2).min(LAST_WINDOW_S);
                window.ends = now + window.length;
            }
            let stays = !has_ended || goes_on;
            if !stays
                && let Key::Client(_, source, ..) = key
                && let Entry::Occupied(mut open) = clients.entry(*source)
            {
                *open.get_mut() -= 1;
                if *open.get() == 0 {
                    open.remove();
                }
            }
            stays
        });
        self.networks
            .retain(|_, allowance| allowance.at(now) < ENTRIES_PER_NETWORK);
        told.sort_by_key(|again| again.sequence);
        told
    }

    fn may_open(&mut self, key: &Key, network: IpAddr, now: u64, has_room: bool) -> bool {
        if matches!(key, Key::Everybody(_)) {
            return true;
        }
        if !has_room || self.windows.len() >= MAX_OPEN {
            return false;
        }
        if let Key::Client(_, source, ..) = key
            && self
                .clients
                .get(source)
                .is_some_and(|&open| open >= CLIENTS_PER_SOURCE)
        {
            return false;
        }
        // What a network opens as a whole it does not pay for: it is bounded by the number of causes.
        if !matches!(key, Key::Network(..)) {
            if !self.networks.contains_key(&network) && self.networks.len() >= MAX_OPEN {
                return false;
            }
            let allowance = self.networks.entry(network).or_insert(Allowance {
                entries: ENTRIES_PER_NETWORK,
                since: now,
            });
            allowance.entries = allowance.at(now);
            allowance.since = now;
            if allowance.entries == 0 {
                return false;
            }
            allowance.entries -= 1;
        }
        if let Key::Client(_, source, ..) = key {
            *self.clients.entry(*source).or_default() += 1;
        }
        true
    }
}

impl Key {
    fn cause(&self) -> Cause {
        match self {
            Self::Client(cause, ..)
            | Self::Source(cause, _)
            | Self::Network(cause, _)
            | Self::Everybody(cause) => *cause,
        }
    }

    fn covers(&self) -> Covers {
        match self {
            Self::Client(..) => Covers::Client,
            Self::Source(..) => Covers::Source,
            Self::Network(..) => Covers::Network,
            Self::Everybody(_) => Covers::Everybody,
        }
    }
}

impl Allowance {
    fn at(&self, now: u64) -> u64 {
        (self.entries + now.saturating_sub(self.since)).min(ENTRIES_PER_NETWORK)
    }
}

/// A host may hold the whole /64 that it lives in (RFC 4291 §2.5.1).
pub(super) fn source_of(address: IpAddr) -> IpAddr {
    prefix(address, 32, 64)
}

/// What one party usually has at its disposal.
pub(super) fn network_of(address: IpAddr) -> IpAddr {
    prefix(address, 24, 48)
}

fn prefix(address: IpAddr, v4_bits: u32, v6_bits: u32) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => {
            let mask = u32::MAX << (32 - v4_bits);
            Ipv4Addr::from_bits(address.to_bits() & mask).into()
        }
        IpAddr::V6(address) => {
            let mask = u128::MAX << (128 - v6_bits);
            Ipv6Addr::from_bits(address.to_bits() & mask).into()
        }
    }
}

/// Tells one client's refused requests apart, so that an id speaks of the request that it was given for.
fn request_of(refused: &Refused) -> u64 {
    let mut hasher = DefaultHasher::new();
    (&refused.listener, refused.phase, &refused.sni).hash(&mut hasher);
    if let Some(request) = &refused.request {
        (&request.method, &request.host, &request.path).hash(&mut hasher);
    }
    // What a login asked for.
    let evidence = &refused.refusal.evidence;
    (evidence.get("user"), evidence.get("database")).hash(&mut hasher);
    hasher.finish()
}

/// A person who tries again by hand is counted; one who comes back after a pause gets a new id.
const FIRST_WINDOW_S: u64 = 10;

/// What goes on for hours is told of hourly.
const LAST_WINDOW_S: u64 = 3600;

/// As many different clients or requests behind one address as a person can make sense of.
const CLIENTS_PER_SOURCE: usize = 16;

/// What one network may open at once; it gets one more each second, so that it fills a ring of 64 MiB in 18 h, not minutes.
const ENTRIES_PER_NETWORK: u64 = 64;

/// A window has under 200 bytes: 1 MiB in all.
const MAX_OPEN: usize = 4096;

#[cfg(test)]
mod tests {
    use countersign_diagnose::evidence::Evidence;
    use countersign_diagnose::refusal::Refusal;

    use super::*;
    use crate::refusals::{Phase, RefusedRequest};

    fn refused(cause: Cause, source: &str, leaf: Option<u8>, path: &str) -> Refused {
        Refused {
            refusal: Refusal::new(cause, "no", Evidence::new()),
            source: format!("{source}:4711").parse().expect("an address"),
            listener: "listener-1".to_owned(),
            phase: Phase::Request,
            sni: None,
            request: Some(RefusedRequest {
                method: "GET".to_owned(),
                host: "a".to_owned(),
                path: path.to_owned(),
            }),
            principal: None,
            fingerprint: leaf.map(|byte| Fingerprint::from_bytes([byte; 32])),
        }
    }

    fn note(
        coalescer: &mut Coalescer,
        now: u64,
        source: &str,
        leaf: u8,
        path: &str,
    ) -> (u64, Option<Covers>) {
        let noted = coalescer.note(
            &refused(Cause::IdentityNotAllowed, source, Some(leaf), path),
            now,
            true,
        );
        (noted.sequence, noted.is_new)
    }

    #[test]
    fn retries_share_an_id_and_count() {
        let mut all = Coalescer::new(7);
        assert_eq!(
            note(&mut all, 0, "192.0.2.1", 1, "/a"),
            (7, Some(Covers::Client))
        );
        assert_eq!(note(&mut all, 9, "192.0.2.1", 1, "/a"), (7, None));
        assert_eq!(all.tell(9, false), []);
        let again = Again {
            sequence: 7,
            cause: Cause::IdentityNotAllowed,
            count: 2,
            last_unix_s: 9,
        };
        assert_eq!(all.tell(10, false), [again]);
        assert_eq!(all.tell(11, true), []);
    }

    #[test]
    fn other_certificate_request_cause_or_address_is_another_entry() {
        let mut all = Coalescer::new(0);
        let ids = [
            note(&mut all, 0, "192.0.2.1", 1, "/a"),
            note(&mut all, 0, "192.0.2.1", 2, "/a"),
            note(&mut all, 0, "192.0.2.1", 1, "/b"),
            note(&mut all, 0, "192.0.2.2", 1, "/a"),
        ];
        assert_eq!(
            ids.map(|(sequence, is_new)| (sequence, is_new.is_some())),
            [(0, true), (1, true), (2, true), (3, true)]
        );
        let other = all.note(
            &refused(Cause::LeafExpired, "192.0.2.1", Some(1), "/a"),
            0,
            true,
        );
        assert_eq!(other.sequence, 4);
    }

    #[test]
    fn addresses_of_one_ipv6_host_are_one_source() {
        let mut all = Coalescer::new(0);
        assert_eq!(note(&mut all, 0, "[2001:db8::1]", 1, "/a").0, 0);
        assert_eq!(note(&mut all, 0, "[2001:db8::ffff:1]", 1, "/a").0, 0);
        assert_eq!(note(&mut all, 0, "[2001:db8:0:1::1]", 1, "/a").0, 1);
    }

    #[test]
    fn window_doubles_while_it_goes_on_and_closes_when_it_stops() {
        let mut all = Coalescer::new(0);
        let mut ended = Vec::new();
        for now in 0..200 {
            note(&mut all, now, "192.0.2.1", 1, "/a");
            if !all.tell(now, false).is_empty() {
                ended.push(now);
            }
        }
        assert_eq!(ended, [10, 30, 70, 150]);
        all.tell(310, false);
        all.tell(630, false);
        assert_eq!(
            note(&mut all, 631, "192.0.2.1", 1, "/a"),
            (1, Some(Covers::Client))
        );
    }

    #[test]
    fn flood_of_inventions_is_counted_wider_and_wider_while_others_keep_their_entries() {
        let mut all = Coalescer::new(0);
        let mut opened = [0_usize; 4];
        for certificate in 0..200 {
            if let (_, Some(covers)) = note(&mut all, 0, "192.0.2.1", certificate, "/a") {
                opened[covers as usize] += 1;
            }
        }
        assert_eq!(opened, [16, 0, 0, 1]);
        for host in 0..=255 {
            for path in 0..20 {
                note(
                    &mut all,
                    0,
                    &format!("192.0.2.{host}"),
                    1,
                    &format!("/{path}"),
                );
            }
        }
        assert!(all.windows.len() <= 66, "{}", all.windows.len());
        assert_eq!(
            note(&mut all, 0, "198.51.100.1", 1, "/a").1,
            Some(Covers::Client)
        );
    }

    #[test]
    fn nothing_grows_past_its_bound() {
        let mut all = Coalescer::new(0);
        for network in 0..20_000_u32 {
            let source = Ipv4Addr::from_bits(network << 8).to_string();
            note(&mut all, 0, &source, 1, "/a");
        }
        assert!(
            all.windows.len() <= MAX_OPEN + Cause::ALL.len(),
            "{}",
            all.windows.len()
        );
        assert!(all.networks.len() <= MAX_OPEN && all.clients.len() <= MAX_OPEN);
        all.tell(1000, false);
        all.tell(10_000, false);
        assert!(all.windows.is_empty() && all.networks.is_empty() && all.clients.is_empty());
    }

    #[test]
    fn full_queue_opens_nothing_but_the_one_entry_per_cause() {
        let mut all = Coalescer::new(0);
        let refused =
            |host: u8| refused(Cause::LeafExpired, &format!("192.0.2.{host}"), None, "/a");
        assert_eq!(
            all.note(&refused(1), 0, false).is_new,
            Some(Covers::Everybody)
        );
        assert_eq!(all.note(&refused(2), 0, false).is_new, None);
    }
}
