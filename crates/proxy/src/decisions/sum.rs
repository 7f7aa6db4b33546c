//! The sum of what all workers saw, within its bounds.

use std::collections::{HashMap, HashSet};
use std::hash::Hash;
use std::net::IpAddr;

use countersign_pki::fingerprint::Fingerprint;

use super::entry::{
    Client, ClientKey, DecisionKey, StoredCertificate, StoredClient, StoredDecision, Tally, Who,
};
use super::file::Kept;
use super::observed::Observed;
use super::recorder::Batch;

/// Everything that is kept, in memory.
#[derive(Debug, Default)]
pub(super) struct Sum {
    pub(super) observed: Observed,
    certificates: HashMap<Fingerprint, StoredCertificate>,
    known: Table<DecisionKey>,
    anonymous: Table<DecisionKey>,
    identities: Table<ClientKey>,
    others: Table<ClientKey>,
    refused: Table<ClientKey>,
    /// Of the refused, whom no answer goes by.
    pub(super) refused_evicted: u64,
    /// From which networks each identity came.
    seen: HashMap<String, HashSet<IpAddr>>,
}

/// An identity that was not there before, or not from there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Unusual {
    pub(super) is_first: bool,
    pub(super) identity: String,
    pub(super) listener: String,
    pub(super) source: IpAddr,
}

#[derive(Debug)]
struct Table<K>(HashMap<K, Tally>);

impl<K> Default for Table<K> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

impl<K: Clone + Eq + Hash> Table<K> {
    /// Those that had to go.
    fn add(&mut self, key: K, tally: &Tally, limit: usize) -> Vec<(K, Tally)> {
        if let Some(known) = self.0.get_mut(&key) {
            known.add(tally);
            return Vec::new();
        }
        let evicted = if self.0.len() >= limit {
            self.make_room(limit)
        } else {
            Vec::new()
        };
        self.0.insert(key, tally.clone());
        evicted
    }

    /// What came once goes before what came again, and then the oldest: what is made up comes once. An eighth at a time, so that a
    /// flood does not have the whole looked through for each of its requests.
    fn make_room(&mut self, limit: usize) -> Vec<(K, Tally)> {
        let mut all: Vec<_> = self.0.iter().collect();
        all.sort_by_key(|(_, tally)| (tally.count > 1, tally.last_unix_s));
        let surplus = self.0.len() - (limit - limit / 8);
        let gone: Vec<K> = (all.iter().take(surplus))
            .map(|(key, _)| (*key).clone())
            .collect();
        (gone.iter())
            .filter_map(|key| self.0.remove_entry(key))
            .collect()
    }
}

impl Sum {
    /// What was kept by an earlier process.
    pub(super) fn of(kept: Kept) -> Self {
        let mut sum = Self {
            observed: kept.observed,
            certificates: kept.certificates,
            ..Self::default()
        };
        for StoredDecision { key, tally } in kept.decisions {
            sum.add_decision(key, &tally);
        }
        for StoredClient { key, tally } in kept.clients {
            sum.add_client(key, &tally);
        }
        sum
    }

    /// What a worker hands over; the identities that are unusual.
    pub(super) fn take(&mut self, batch: Batch) -> Vec<Unusual> {
        let Batch {
            decisions,
            clients,
            certificates,
            dropped,
            ..
        } = batch;
        self.observed.dropped = self.observed.dropped.saturating_add(dropped);
        self.certificates.extend(certificates);
        for (key, tally) in decisions {
            self.add_decision(key, &tally);
        }
        let unusual = clients
            .into_iter()
            .filter_map(|(key, tally)| self.add_client(key, &tally));
        let unusual = unusual.collect();
        if self.certificates.len() > MAX_CERTIFICATES {
            self.drop_unused_certificates();
        }
        unusual
    }

    fn add_decision(&mut self, key: DecisionKey, tally: &Tally) {
        let evicted = match key.who {
            Who::Identity(_) => self.known.add(key, tally, MAX_OF_IDENTITIES),
            Who::Anonymous => self.anonymous.add(key, tally, MAX_OF_ANONYMOUS),
        };
        self.note_evicted(evicted.len());
    }

    fn note_evicted(&mut self, count: usize) {
        self.observed.evicted = self.observed.evicted.saturating_add(count as u64);
    }

    fn add_client(&mut self, key: ClientKey, tally: &Tally) -> Option<Unusual> {
        match key.client {
            Client::Identity(_) => {}
            Client::Refused(_) => {
                let evicted = self.refused.add(key, tally, MAX_REFUSED);
                self.refused_evicted += evicted.len() as u64;
                return None;
            }
            Client::Unasked | Client::WithoutCertificate => {
                let evicted = self.others.add(key, tally, MAX_OTHER_CLIENTS);
                self.note_evicted(evicted.len());
                return None;
            }
        }
        let certificate = tally.leaf.and_then(|leaf| self.certificates.get(&leaf));
        let identity = certificate.map(|it| it.identity.to_string());
        let (listener, from) = (key.listener.clone(), key.from);
        let before = identity.as_ref().and_then(|it| self.seen.get(it));
        let (is_first, is_new) = (
            before.is_none(),
            before.is_none_or(|networks| !networks.contains(&from)),
        );
        let evicted = self.identities.add(key, tally, MAX_IDENTITIES);
        self.note_evicted(evicted.len());
        for (key, tally) in evicted {
            self.forget_network(&key, &tally);
        }
        let identity = identity?;
        self.seen.entry(identity.clone()).or_default().insert(from);
        is_new.then_some(Unusual {
            is_first,
            identity,
            listener,
            source: tally.source,
        })
    }

    /// Under another key it may still be known from there, and be unusual once more: rather that than a look through all of them.
    fn forget_network(&mut self, key: &ClientKey, tally: &Tally) {
        let certificate = tally.leaf.and_then(|leaf| self.certificates.get(&leaf));
        let Some(identity) = certificate.map(|it| it.identity.to_string()) else {
            return;
        };
        if let Some(networks) = self.seen.get_mut(&identity) {
            networks.remove(&key.from);
            if networks.is_empty() {
                self.seen.remove(&identity);
            }
        }
    }

    /// What is known of identities is what stands in the table.
    fn see_again(&mut self) {
        self.seen.clear();
        for (key, tally) in &self.identities.0 {
            let certificate = tally.leaf.and_then(|leaf| self.certificates.get(&leaf));
            if let Some(certificate) = certificate {
                let networks = self.seen.entry(certificate.identity.to_string());
                networks.or_default().insert(key.from);
            }
        }
    }

    /// What was last seen before is forgotten.
    pub(super) fn forget_before(&mut self, unix_s: u64) {
        let before = self.len();
        let is_recent = |tally: &Tally| tally.last_unix_s >= unix_s;
        self.known.0.retain(|_, tally| is_recent(tally));
        self.anonymous.0.retain(|_, tally| is_recent(tally));
        self.identities.0.retain(|_, tally| is_recent(tally));
        self.others.0.retain(|_, tally| is_recent(tally));
        self.refused.0.retain(|_, tally| is_recent(tally));
        self.observed.forget_before(unix_s);
        if self.len() != before {
            self.see_again();
        }
        self.drop_unused_certificates();
    }

    fn drop_unused_certificates(&mut self) {
        let of_decisions = self.known.0.values();
        let used: HashSet<Fingerprint> = (of_decisions.chain(self.identities.0.values()))
            .filter_map(|tally| tally.leaf)
            .collect();
        self.certificates.retain(|leaf, _| used.contains(leaf));
    }

    /// Entries of all tables.
    pub(super) fn len(&self) -> usize {
        let decisions = self.known.0.len() + self.anonymous.0.len();
        decisions + self.identities.0.len() + self.others.0.len() + self.refused.0.len()
    }

    /// To be written.
    pub(super) fn kept(&self) -> Kept {
        let decisions = self.known.0.iter().chain(&self.anonymous.0);
        let decisions = decisions.map(|(key, tally)| StoredDecision {
            key: key.clone(),
            tally: tally.clone(),
        });
        let clients = self.identities.0.iter().chain(&self.others.0);
        let clients = clients.chain(&self.refused.0);
        let clients = clients.map(|(key, tally)| StoredClient {
            key: key.clone(),
            tally: tally.clone(),
        });
        Kept {
            observed: self.observed.clone(),
            certificates: self.certificates.clone(),
            decisions: decisions.collect(),
            clients: clients.collect(),
        }
    }
}

/// Together 8192 entries, some MiB. Whoever has no certificate can make up as many requests as it likes, so that it has room of its own.
const MAX_OF_IDENTITIES: usize = 3072;
const MAX_OF_ANONYMOUS: usize = 3072;
const MAX_IDENTITIES: usize = 1024;
const MAX_OTHER_CLIENTS: usize = 768;
/// Apart from those who are let in without a certificate, which is who has to be known before one is required.
const MAX_REFUSED: usize = 256;
/// Each entry names one at most; more are those of entries that have gone.
const MAX_CERTIFICATES: usize = 2 * (MAX_OF_IDENTITIES + MAX_IDENTITIES);

#[cfg(test)]
mod tests {
    use countersign_pki::identity::{BundleName, Identity};
    use countersign_pki::name::{DnsName, TypedName};

    use super::super::entry::{RecordedPath, RecordedVerdict, What};
    use super::super::file;
    use super::*;

    fn tally(count: u64, at: u64, leaf: Option<Fingerprint>) -> Tally {
        Tally {
            count,
            first_unix_s: at,
            last_unix_s: at,
            source: "10.0.3.7".parse().expect("an address"),
            leaf,
        }
    }

    fn decision(who: Who, path: &str) -> DecisionKey {
        DecisionKey {
            listener: "listener-1".to_owned(),
            who,
            network: "10.0.3.0".parse().expect("an address"),
            what: What::Request {
                host: None,
                method: "GET".to_owned(),
                path: RecordedPath::Whole(path.to_owned()),
            },
            route: None,
            verdict: RecordedVerdict::Admitted,
            shadow: None,
        }
    }

    /// A batch in which `name` comes from `network`.
    fn connection(name: &str, network: &str, at: u64) -> Batch {
        let leaf = Fingerprint::of(name.as_bytes());
        let identity = Identity {
            bundle: BundleName::internal(),
            name: TypedName::Dns(DnsName::parse(name).expect("a name")),
        };
        let key = ClientKey {
            listener: "listener-1".to_owned(),
            client: Client::Identity(leaf),
            from: network.parse().expect("an address"),
            shadow: None,
        };
        let certificate = StoredCertificate {
            identity,
            chain: [vec![0; 600]].into(),
        };
        Batch {
            clients: vec![(key, tally(1, at, Some(leaf)))],
            certificates: vec![(leaf, certificate)],
            ..Batch::default()
        }
    }

    fn of_decision(key: DecisionKey, tally: Tally) -> Batch {
        Batch {
            decisions: vec![(key, tally)],
            ..Batch::default()
        }
    }

    #[test]
    fn flood_of_paths_takes_no_more_room_and_none_of_identities() {
        let mut sum = Sum::default();
        let known = decision(Who::Identity(Fingerprint::of(b"you")), "/charge");
        sum.take(of_decision(known.clone(), tally(1, 1, None)));
        let usual = decision(Who::Anonymous, "/");
        sum.take(of_decision(usual.clone(), tally(40, 1, None)));
        for number in 0..100_000 {
            let made_up = decision(Who::Anonymous, &format!("/{number}"));
            sum.take(of_decision(made_up, tally(1, 2 + number, None)));
        }
        assert!(sum.len() <= 8192, "{}", sum.len());
        assert!(sum.known.0.contains_key(&known));
        assert!(
            sum.anonymous.0.contains_key(&usual),
            "it came again and again"
        );
        let kept = sum.anonymous.0.len() as u64;
        assert_eq!(sum.observed.evicted, 100_001 - kept);
    }

    #[test]
    fn flood_of_identities_is_bounded_with_its_certificates() {
        let mut sum = Sum::default();
        for number in 0..100_000_u64 {
            let name = format!("n{number}.example.com");
            assert_eq!(sum.take(connection(&name, "10.0.0.0", number)).len(), 1);
        }
        assert!(sum.len() <= MAX_IDENTITIES);
        assert!(sum.certificates.len() <= MAX_CERTIFICATES);
        assert!(sum.seen.len() <= MAX_IDENTITIES);
        assert!(sum.observed.evicted > 0);
    }

    #[test]
    fn flood_of_the_refused_displaces_nobody_who_was_let_in() {
        let mut sum = Sum::default();
        let other = |client: Client, from: u32, at: u64| {
            let key = ClientKey {
                listener: "listener-1".to_owned(),
                client,
                from: std::net::Ipv4Addr::from_bits(from).into(),
                shadow: None,
            };
            Batch {
                clients: vec![(key, tally(1, at, None))],
                ..Batch::default()
            }
        };
        sum.take(other(Client::WithoutCertificate, 7, 1));
        for number in 0..10_000 {
            let refused = Client::Refused("client-ca-not-trusted".to_owned());
            sum.take(other(refused, number, 2));
        }
        assert_eq!(sum.others.0.len(), 1);
        assert!(sum.refused.0.len() <= MAX_REFUSED);
        assert_eq!(
            sum.observed.lost(),
            0,
            "nothing is lost that readiness goes by"
        );
        assert!(sum.refused_evicted > 0);
        let again = Sum::of(sum.kept());
        assert_eq!(again.len(), sum.len());
    }

    #[test]
    fn identity_is_unusual_once_and_from_each_network_once() {
        let mut sum = Sum::default();
        let mut kinds = |name, network| {
            let unusual = sum.take(connection(name, network, 7));
            unusual.iter().map(|it| it.is_first).collect::<Vec<_>>()
        };
        assert_eq!(kinds("a.example.com", "10.0.3.0"), [true]);
        assert_eq!(kinds("a.example.com", "10.0.3.0"), Vec::<bool>::new());
        assert_eq!(kinds("a.example.com", "10.0.4.0"), [false]);
        assert_eq!(kinds("b.example.com", "10.0.4.0"), [true]);
        // A restart makes nobody new.
        let mut again = Sum::of(sum.kept());
        assert_eq!(again.take(connection("a.example.com", "10.0.4.0", 9)), []);
        assert_eq!(
            again.take(connection("a.example.com", "10.0.5.0", 9)).len(),
            1
        );
    }

    #[test]
    fn what_was_not_seen_for_long_is_forgotten_with_its_certificate() {
        let mut sum = Sum::default();
        sum.take(connection("a.example.com", "10.0.3.0", 100));
        sum.take(connection("b.example.com", "10.0.3.0", 200));
        sum.forget_before(150);
        assert_eq!((sum.len(), sum.certificates.len()), (1, 1));
        let unusual = sum.take(connection("a.example.com", "10.0.3.0", 300));
        assert!(unusual[0].is_first);
    }

    #[test]
    fn file_says_what_was_written_and_nothing_else_is_taken_for_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join(file::FILE);
        let mut sum = Sum::default();
        sum.take(connection("a.example.com", "10.0.3.0", 100));
        sum.take(of_decision(
            decision(Who::Anonymous, "/"),
            tally(2, 5, None),
        ));
        let long = DecisionKey {
            what: What::Request {
                host: Some("a".to_owned()),
                method: "GET".to_owned(),
                path: RecordedPath::new("GET", &"/x".repeat(5000)),
            },
            shadow: Some(crate::shadow::ShadowVerdict::WouldRefuse),
            ..decision(Who::Anonymous, "/")
        };
        sum.take(of_decision(long, tally(2, 6, None)));
        sum.observed.note(1000);
        file::write(&path, &sum.kept()).expect("written");
        let sorted = |mut kept: Kept| {
            kept.decisions.sort_by_key(|it| it.tally.last_unix_s);
            kept
        };
        let read = sorted(file::read(&path).expect("read"));
        assert_eq!(read, sorted(sum.kept()));
        let mode = std::fs::metadata(&path).expect("there").permissions();
        assert_eq!(
            std::os::unix::fs::PermissionsExt::mode(&mode) & 0o777,
            0o600
        );
        let good = std::fs::read(&path).expect("read");
        assert!(good.len() < 8000, "no path of any length is kept");
        let mut appended = good.clone();
        appended.extend_from_slice(b"{}\n");
        let newer = String::from_utf8_lossy(&good).replace("\"format\":1", "\"format\":2");
        for bad in [
            &good[..good.len() - 1],
            &good[1..],
            b"",
            b"\n",
            &appended,
            newer.as_bytes(),
        ] {
            std::fs::write(&path, bad).expect("written");
            let read = file::read(&path);
            assert!(
                matches!(read, Err(file::KeptError::Damaged { .. })),
                "{read:?}"
            );
        }
    }
}
