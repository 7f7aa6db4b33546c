//! Finding the entries that can hold without asking each: every entry is filed under what it cannot do without.
//!
//! An entry that names `cn:api` holds for nobody who is not called so, so it is looked at only for who is. Of the several things that an
//! entry cannot do without it is filed under the rarest; one that has none (every client, a bundle, hours) is always looked
//! at. The index never decides: it leaves out only what [`Condition::holds`] would say [`Holds::Never`](super::condition::Holds::Never) to, and two
//! keys that share a hash cost an entry too many.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, DefaultHasher, Hash, Hasher};
use std::net::IpAddr;

use const_oid::ObjectIdentifier;
use countersign_pki::fingerprint::Fingerprint;
use countersign_pki::name::{DnsName, NameKind, TypedName};

use super::condition::{Known, Requested};
use super::extension::ExtensionValue;
use super::path::decoded;
use super::{Allow, Condition, Headers, NamePattern, PathPattern, Route, header};
use crate::issuance::IpRange;

/// A list of entries, filed.
#[derive(Debug, Default)]
pub(super) struct Index {
    /// By the hash of its key; sorted.
    filed: Vec<(u64, u32)>,
    /// Those that are always looked at.
    always: Vec<u32>,
    in_use: InUse,
}

/// What has to be looked up at all.
#[derive(Debug, Default)]
struct InUse {
    kinds: u32,
    extensions: Vec<ObjectIdentifier>,
    headers: Vec<String>,
    name_widths: Vec<(bool, u8)>,
    source_widths: Vec<(bool, u8)>,
    /// Bytes of the longest start of a path, and of a trust domain with one.
    path_bytes: usize,
    spiffe_bytes: usize,
}

/// What an entry may be filed under.
pub(super) enum Key<'a> {
    Database(&'a str),
    DnsUnder(&'a str),
    ExtensionDer(ObjectIdentifier, &'a [u8]),
    ExtensionText(ObjectIdentifier, &'a [u8]),
    Header(&'a str, &'a [u8]),
    Host(&'a str),
    HostUnder(&'a str),
    Issuer(&'a countersign_pki::dn::DistinguishedName),
    SignedBy(Fingerprint),
    Method(&'a str),
    Name(&'a TypedName),
    NameRange(IpRange),
    PathStart(&'a [u8]),
    Source(IpRange),
    SpiffeStart(&'a str),
    Subject(ObjectIdentifier, &'a str),
    User(&'a str),
}

/// What is known when an index is asked.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Asks {
    /// The peer alone.
    Identity,
    /// The request too.
    Everything,
}

/// The hashes of keys of which at least one is met where the entry holds, and what they bring into use.
struct Choice {
    keys: Vec<u64>,
    uses: Vec<Used>,
}

enum Used {
    Kind(u32),
    Extension(ObjectIdentifier),
    Header(String),
    NameWidth((bool, u8)),
    SourceWidth((bool, u8)),
    PathBytes(usize),
    SpiffeBytes(usize),
}

impl Index {
    pub(super) fn of_allow(entries: &[Allow], asks: Asks) -> Self {
        Self::new(entries.iter().map(|entry| match entry {
            Allow::Anyone | Allow::AnyTrusted => Vec::new(),
            Allow::When(condition) => choices(condition, asks),
        }))
    }

    pub(super) fn of_deny(entries: &[Condition], asks: Asks) -> Self {
        Self::new(entries.iter().map(|condition| choices(condition, asks)))
    }

    pub(super) fn of_routes(routes: &[Route]) -> Self {
        Self::new(routes.iter().map(|route| {
            if route.is_of_tunnels() {
                let targets = route.connect.iter().map(|it| it.as_str().as_bytes());
                let keys: Vec<Key<'_>> = targets.map(Key::PathStart).collect();
                return vec![of_keys(&keys)];
            }
            let hosts = route.host.iter().map(of_host);
            let paths = route.path.iter().map(|path| {
                let start = path.literal_start();
                of_keys(&[Key::PathStart(start.as_bytes())])
            });
            hosts.chain(paths).collect()
        }))
    }

    fn new(entries: impl Iterator<Item = Vec<Choice>>) -> Self {
        let entries: Vec<Vec<Choice>> = entries.collect();
        let mut index = Self::default();
        if entries.len() <= FEW {
            index.always = (0..).take(entries.len()).collect();
            return index;
        }
        let mut counts: HashMap<u64, usize, BuildHasherDefault<DefaultHasher>> = HashMap::default();
        for key in entries.iter().flatten().flat_map(|choice| &choice.keys) {
            *counts.entry(*key).or_default() += 1;
        }
        let cost = |choice: &&Choice| -> usize { choice.keys.iter().map(|key| counts[key]).sum() };
        for (number, choices) in (0..).zip(&entries) {
            match choices.iter().min_by_key(cost) {
                Some(choice) => {
                    index
                        .filed
                        .extend(choice.keys.iter().map(|key| (*key, number)));
                    index.in_use.add(&choice.uses);
                }
                None => index.always.push(number),
            }
        }
        index.filed.sort_unstable();
        index.filed.dedup();
        index
    }

    /// Every entry that can hold, and some that cannot; one may come twice. Ends when `visit` says so by `true`.
    pub(super) fn find(&self, known: Known<'_>, mut visit: impl FnMut(usize) -> bool) {
        // The residue last: a rule that names somebody is met more often than one that names nobody.
        if !self.filed.is_empty()
            && self.look_up(known, &mut |hash| {
                let from = self.filed.partition_point(|(key, _)| *key < hash);
                let found = self.filed[from..].iter();
                found
                    .take_while(|(key, _)| *key == hash)
                    .any(|(_, entry)| visit(*entry as usize))
            })
        {
            return;
        }
        for entry in &self.always {
            if visit(*entry as usize) {
                return;
            }
        }
    }

    /// Calls with the hash of each key that is met; whether it was ended.
    fn look_up(&self, known: Known<'_>, found: &mut dyn FnMut(u64) -> bool) -> bool {
        let in_use = &self.in_use;
        let mut meets = |key: Key<'_>| in_use.has(&key) && found(key.hash());
        if let Some(peer) = known.peer {
            for name in peer.names() {
                if meets(Key::Name(name)) || in_use.of_name(name, &mut meets) {
                    return true;
                }
            }
            if meets(Key::Issuer(peer.issuer())) || meets(Key::SignedBy(peer.issuer_key())) {
                return true;
            }
            for oid in &in_use.extensions {
                let Some(extension) = peer.extension(oid) else {
                    continue;
                };
                if meets(Key::ExtensionDer(*oid, extension.value))
                    || super::extension::string(extension.value)
                        .is_some_and(|text| meets(Key::ExtensionText(*oid, text)))
                {
                    return true;
                }
            }
        }
        if let Some(circumstances) = known.circumstances {
            let source = circumstances.source.to_canonical();
            if ranges(&in_use.source_widths, source).any(|range| meets(Key::Source(range))) {
                return true;
            }
        }
        match known.request {
            None => false,
            Some(Requested::Login(login)) => {
                meets(Key::User(login.user())) || meets(Key::Database(login.database()))
            }
            Some(Requested::Http {
                host,
                method,
                path,
                headers,
                factors: _,
            }) => {
                meets(Key::Method(method))
                    || host.is_some_and(|host| meets_host(host, &mut meets))
                    || in_use.of_path(path, &mut meets)
                    || in_use.of_headers(headers, &mut meets)
            }
        }
    }
}

impl InUse {
    fn add(&mut self, uses: &[Used]) {
        fn add<T: PartialEq + Clone>(all: &mut Vec<T>, one: &T) {
            if !all.contains(one) {
                all.push(one.clone());
            }
        }
        for used in uses {
            match used {
                Used::Kind(kind) => self.kinds |= kind,
                Used::Extension(oid) => add(&mut self.extensions, oid),
                Used::Header(name) => add(&mut self.headers, name),
                Used::NameWidth(width) => add(&mut self.name_widths, width),
                Used::SourceWidth(width) => add(&mut self.source_widths, width),
                Used::PathBytes(bytes) => self.path_bytes = self.path_bytes.max(*bytes),
                Used::SpiffeBytes(bytes) => self.spiffe_bytes = self.spiffe_bytes.max(*bytes),
            }
        }
    }

    fn has(&self, key: &Key<'_>) -> bool {
        self.kinds & key.kind() != 0
    }

    fn of_name(&self, name: &TypedName, meets: &mut impl FnMut(Key<'_>) -> bool) -> bool {
        match name {
            TypedName::Dns(name) => {
                let parent = name.as_str().split_once('.');
                parent.is_some_and(|(_, parent)| meets(Key::DnsUnder(parent)))
            }
            TypedName::Ip(address) => {
                ranges(&self.name_widths, *address).any(|range| meets(Key::NameRange(range)))
            }
            TypedName::Spiffe(id) => {
                let whole = id.as_str().strip_prefix("spiffe://").unwrap_or_default();
                ends_of_segments(whole.as_bytes(), self.spiffe_bytes)
                    .any(|end| meets(Key::SpiffeStart(&whole[..end])))
            }
            TypedName::Dn(subject) => subject
                .attributes()
                .iter()
                .any(|attribute| meets(Key::Subject(*attribute.oid(), attribute.value()))),
            _ => false,
        }
    }

    fn of_path(&self, path: &str, meets: &mut impl FnMut(Key<'_>) -> bool) -> bool {
        if self.kinds & Key::PathStart(b"").kind() == 0 {
            return false;
        }
        let path = decoded(path);
        meets(Key::PathStart(b""))
            || ends_of_segments(&path, self.path_bytes)
                .any(|end| end > 0 && meets(Key::PathStart(&path[..end])))
    }

    fn of_headers(&self, headers: &dyn Headers, meets: &mut impl FnMut(Key<'_>) -> bool) -> bool {
        self.headers.iter().any(|name| {
            let mut is_ended = false;
            headers.each(name, &mut |value| {
                is_ended = is_ended
                    || meets(Key::Header(name, value))
                    // What refuses looks at the members of a list.
                    || (value.contains(&b',')
                        && header::members(value).any(|member| meets(Key::Header(name, member))));
            });
            is_ended
        })
    }
}

impl Key<'_> {
    /// `SipHash` with keys that everybody knows: who makes two names collide has one entry more looked at.
    fn hash(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.kind().hash(&mut hasher);
        match self {
            Self::Database(text)
            | Self::DnsUnder(text)
            | Self::Host(text)
            | Self::HostUnder(text)
            | Self::Method(text)
            | Self::SpiffeStart(text)
            | Self::User(text) => text.hash(&mut hasher),
            Self::ExtensionDer(oid, bytes) | Self::ExtensionText(oid, bytes) => {
                (oid, bytes).hash(&mut hasher);
            }
            Self::Header(name, value) => (name, value).hash(&mut hasher),
            Self::Issuer(name) => name.hash(&mut hasher),
            Self::SignedBy(key) => key.hash(&mut hasher),
            Self::Name(name) => name.hash(&mut hasher),
            Self::NameRange(range) | Self::Source(range) => range.hash(&mut hasher),
            Self::PathStart(bytes) => bytes.hash(&mut hasher),
            Self::Subject(oid, value) => (oid, value).hash(&mut hasher),
        }
        hasher.finish()
    }

    fn kind(&self) -> u32 {
        1 << match self {
            Self::Database(_) => 0,
            Self::DnsUnder(_) => 1,
            Self::ExtensionDer(..) => 2,
            Self::ExtensionText(..) => 3,
            Self::Header(..) => 4,
            Self::Host(_) => 5,
            Self::HostUnder(_) => 6,
            Self::Issuer(_) => 7,
            Self::SignedBy(_) => 8,
            Self::Method(_) => 9,
            Self::Name(_) => 10,
            Self::NameRange(_) => 11,
            Self::PathStart(_) => 12,
            Self::Source(_) => 13,
            Self::SpiffeStart(_) => 14,
            Self::Subject(..) => 15,
            Self::User(_) => 16,
        }
    }

    fn used(&self) -> Option<Used> {
        match self {
            Self::ExtensionDer(oid, _) | Self::ExtensionText(oid, _) => Some(Used::Extension(*oid)),
            Self::Header(name, _) => Some(Used::Header((*name).to_owned())),
            Self::NameRange(range) => Some(Used::NameWidth(range.width())),
            Self::Source(range) => Some(Used::SourceWidth(range.width())),
            Self::PathStart(bytes) => Some(Used::PathBytes(bytes.len())),
            Self::SpiffeStart(text) => Some(Used::SpiffeBytes(text.len())),
            _ => None,
        }
    }
}

fn meets_host(host: &DnsName, meets: &mut impl FnMut(Key<'_>) -> bool) -> bool {
    let parent = host.as_str().split_once('.');
    meets(Key::Host(host.as_str()))
        || parent.is_some_and(|(_, parent)| meets(Key::HostUnder(parent)))
}

/// What a condition cannot do without.
fn choices(condition: &Condition, asks: Asks) -> Vec<Choice> {
    let mut choices: Vec<Choice> = condition.names.iter().flat_map(of_pattern).collect();
    if let Some(key) = condition.issuer_key {
        choices.push(of_keys(&[Key::SignedBy(key)]));
    }
    for extension in &condition.extensions {
        let oid = *extension.oid();
        choices.push(of_keys(&[match extension.value() {
            ExtensionValue::Der(bytes) => Key::ExtensionDer(oid, bytes),
            ExtensionValue::Text(text) => Key::ExtensionText(oid, text.as_bytes()),
        }]));
    }
    if asks == Asks::Identity {
        return choices;
    }
    let mut any_of = |keys: Vec<Key<'_>>| {
        if !keys.is_empty() {
            choices.push(of_keys(&keys));
        }
    };
    any_of(condition.hosts.iter().map(host_key).collect());
    any_of(condition.methods.iter().map(|it| Key::Method(it)).collect());
    any_of(
        condition
            .sources
            .iter()
            .map(|it| Key::Source(*it))
            .collect(),
    );
    for header in &condition.headers {
        let values = header.values().iter();
        any_of(
            values
                .map(|value| Key::Header(header.name(), value.as_bytes()))
                .collect(),
        );
    }
    let starts: Vec<String> = condition
        .path
        .iter()
        .map(PathPattern::literal_start)
        .collect();
    any_of(
        starts
            .iter()
            .map(|it| Key::PathStart(it.as_bytes()))
            .collect(),
    );
    let starts: Vec<String> = condition
        .grpc
        .iter()
        .map(|it| it.path().literal_start())
        .collect();
    any_of(
        starts
            .iter()
            .map(|it| Key::PathStart(it.as_bytes()))
            .collect(),
    );
    let whole = |pattern: &super::LoginPattern| pattern.whole().map(str::to_owned);
    if let Some(users) = condition
        .users
        .iter()
        .map(whole)
        .collect::<Option<Vec<_>>>()
    {
        any_of(users.iter().map(|it| Key::User(it)).collect());
    }
    if let Some(databases) = condition
        .databases
        .iter()
        .map(whole)
        .collect::<Option<Vec<_>>>()
    {
        any_of(databases.iter().map(|it| Key::Database(it)).collect());
    }
    choices
}

/// Each of these is one; none: it cannot be filed.
fn of_pattern(pattern: &NamePattern) -> Vec<Choice> {
    let one = |key: Key<'_>| vec![of_keys(&[key])];
    match pattern {
        NamePattern::Exact(name) => one(Key::Name(name)),
        NamePattern::DnsUnder(name) => match name.as_str().split_once('.') {
            Some((_, parent)) => one(Key::DnsUnder(parent)),
            None => Vec::new(),
        },
        NamePattern::Spiffe { trust_domain, path } => {
            let start = format!("{trust_domain}{}", path.literal_start());
            one(Key::SpiffeStart(&start))
        }
        NamePattern::IpUnder(range) => one(Key::NameRange(*range)),
        NamePattern::DnUnordered(name) => name
            .attributes()
            .iter()
            .map(|attribute| of_keys(&[Key::Subject(*attribute.oid(), attribute.value())]))
            .collect(),
        NamePattern::Subject { attribute, value } => one(Key::Subject(attribute.oid(), value)),
        NamePattern::Issuer(name) => one(Key::Issuer(name)),
        NamePattern::AnyKind(word) => {
            let readings = readings(word);
            let keys: Vec<Key<'_>> = readings.iter().map(Key::Name).collect();
            if keys.is_empty() {
                Vec::new()
            } else {
                vec![of_keys(&keys)]
            }
        }
    }
}

/// Every typed name that reads like a bare word.
fn readings(word: &str) -> Vec<TypedName> {
    const KINDS: [NameKind; 7] = [
        NameKind::Spiffe,
        NameKind::Dns,
        NameKind::Ip,
        NameKind::Email,
        NameKind::Uri,
        NameKind::Cn,
        NameKind::Spki,
    ];
    let parsed = |kind| TypedName::parse_as(kind, word).ok();
    KINDS.into_iter().filter_map(parsed).collect()
}

fn of_host(host: &DnsName) -> Choice {
    of_keys(&[host_key(host)])
}

fn host_key(host: &DnsName) -> Key<'_> {
    match host.as_str().strip_prefix("*.") {
        Some(parent) => Key::HostUnder(parent),
        None => Key::Host(host.as_str()),
    }
}

fn of_keys(keys: &[Key<'_>]) -> Choice {
    let kinds = keys.iter().map(|key| Used::Kind(key.kind()));
    Choice {
        keys: keys.iter().map(Key::hash).collect(),
        uses: kinds.chain(keys.iter().filter_map(Key::used)).collect(),
    }
}

/// Where segments end, up to `most` bytes: in front of each slash, and at the end.
fn ends_of_segments(path: &[u8], most: usize) -> impl Iterator<Item = usize> {
    let slashes = path.iter().enumerate();
    slashes
        .filter(|(_, byte)| **byte == b'/')
        .map(|(place, _)| place)
        .chain([path.len()])
        .take_while(move |end| *end <= most)
}

fn ranges(widths: &[(bool, u8)], address: IpAddr) -> impl Iterator<Item = IpRange> {
    let of_its_kind = move |(is_ipv4, _): &&(bool, u8)| *is_ipv4 == address.is_ipv4();
    widths
        .iter()
        .filter(of_its_kind)
        .map(move |(_, bits)| IpRange::around(address, *bits))
}

/// So many are asked one by one faster than they are looked up.
const FEW: usize = 8;
