//! What is refused at load: rules that are empty, unreachable or contradictory, each of which somebody would take for
//! protection that is not there.

use std::collections::HashMap;

use countersign_pki::name::{DnsName, NameKind, TypedName};

use super::condition::Side;
use super::connect::CONNECT;
use super::{
    Allow, Condition, ConnectTarget, Factor, InvalidPolicy, LoginPattern, NamePattern, PathPattern,
    Route, TokenPattern, canonical,
};

pub(super) fn check(routes: &[Route]) -> Result<(), InvalidPolicy> {
    if routes.is_empty() {
        return Err(InvalidPolicy::new(
            "policy",
            "it has no route, so it would admit nobody",
        ));
    }
    let (mut places, mut targets) = (HashMap::new(), HashMap::new());
    for (number, route) in routes.iter().enumerate() {
        let refuse = |why| Err(InvalidPolicy::new(&route.label, why).in_route(number));
        for target in &route.connect {
            if let Some(earlier) = targets.insert(target, &route.label) {
                return refuse(format!(
                    "{earlier} takes CONNECT {target} already, so it is never reached here"
                ));
            }
        }
        if !route.is_of_tunnels()
            && let Some(earlier) = places.insert(route.place(), &route.label)
        {
            return refuse(format!(
                "{earlier} has the same host and path, so this one is never reached"
            ));
        }
        check_route(route).map_err(|invalid| invalid.in_route(number))?;
    }
    Ok(())
}

/// Why what it asks for is in no request that a route takes: of CONNECT and of nothing else, or of everything but that.
fn unmet_on(route: &Route, condition: &Condition, side: Side) -> Option<String> {
    let has_method = |wanted: &str| condition.methods.iter().any(|method| method == wanted);
    if !route.is_of_tunnels() {
        // Whoever denies CONNECT where nobody can ask for it means well.
        let is_of_tunnels = condition.methods.iter().all(|method| method == CONNECT);
        let never = side.admits() && has_method(CONNECT) && is_of_tunnels;
        return never.then(|| {
            "it can never hold: only a route that says connect = [\"host:port\"] takes CONNECT"
                .to_owned()
        });
    }
    if !condition.methods.is_empty() && !has_method(CONNECT) {
        return Some("it can never hold: the route takes CONNECT and nothing else".to_owned());
    }
    if condition.looks_at_paths() {
        return Some("it looks at a path, and a CONNECT has none".to_owned());
    }
    let is_served = |wanted: &&DnsName| {
        let mut hosts = route.connect.iter().filter_map(ConnectTarget::host);
        hosts.any(|host| host == *wanted || wanted.covers(host))
    };
    let unserved = condition.hosts.iter().find(|wanted| !is_served(wanted))?;
    Some(format!(
        "it can never hold: nothing that the route connects to is called {unserved}"
    ))
}

fn check_route(route: &Route) -> Result<(), InvalidPolicy> {
    if route.is_of_tunnels() && (route.host.is_some() || route.path.is_some()) {
        let why = "it has a host or a path beside connect, which says all that a CONNECT asks for";
        return Err(InvalidPolicy::new(&route.label, why));
    }
    if route.allow.is_empty() {
        let why =
            "it has no allow, so it would admit nobody: name them, or spell out \"any-trusted\"";
        return Err(InvalidPolicy::new(&route.label, why));
    }
    let mut seen = HashMap::new();
    for (index, entry) in route.allow.iter().enumerate() {
        let place = format!("{}, allow {}", route.label, index + 1);
        let refuse =
            |why: String| Err(InvalidPolicy::new(place.clone(), why).in_entry("allow", index));
        if let Some(earlier) = seen.insert(canonical::of_allow(entry), index) {
            return refuse(format!("it says the same as allow {}", earlier + 1));
        }
        match entry {
            Allow::When(condition) if condition.is_empty() => {
                return refuse(
                    "it is empty: every verified client is spelled \"any-trusted\"".to_owned(),
                );
            }
            Allow::When(condition) => check_host(condition, route)
                .or_else(|| unmet_on(route, condition, Side::Allow))
                .or_else(|| escapable_factor(condition, Side::Allow, None))
                .map_or(Ok(()), &refuse)
                .and_then(|()| check_condition(condition, &place, route.path.as_ref(), 0))
                .map_err(|invalid| invalid.in_entry("allow", index))?,
            Allow::Anyone | Allow::AnyTrusted => {}
        }
    }
    let mut seen = HashMap::new();
    for (index, condition) in route.deny.iter().enumerate() {
        let place = format!("{}, deny {}", route.label, index + 1);
        let refuse =
            |why: String| Err(InvalidPolicy::new(place.clone(), why).in_entry("deny", index));
        if let Some(earlier) = seen.insert(canonical::of_condition(condition), index) {
            return refuse(format!("it says the same as deny {}", earlier + 1));
        }
        if condition.is_empty() {
            return refuse("it is empty, so it would deny everybody".to_owned());
        }
        let is_of_factors = [Factor::ApiKey, Factor::Token]
            .into_iter()
            .any(|factor| condition.looks_at_factor(factor));
        if is_of_factors && route.allow.contains(&Allow::Anyone) {
            return refuse(
                "\"anyone\" is admitted beside it, and neither a token nor an API key counts without a certificate".to_owned(),
            );
        }
        check_host(condition, route)
            .or_else(|| unmet_on(route, condition, Side::Deny))
            .or_else(|| escapable_factor(condition, Side::Deny, needed_issuer(route)))
            .map_or(Ok(()), &refuse)
            .and_then(|()| check_condition(condition, &place, route.path.as_ref(), 0))
            .map_err(|invalid| invalid.in_entry("deny", index))?;
    }
    Ok(())
}

/// The issuer of whom whoever is admitted has shown a token.
fn needed_issuer(route: &Route) -> Option<&str> {
    let issuer = |entry: &'_ Allow| match entry {
        Allow::When(condition) => condition.token.clone(),
        Allow::Anyone | Allow::AnyTrusted => None,
    };
    let first = route.allow.first()?;
    let Allow::When(Condition {
        token: Some(needed),
        ..
    }) = first
    else {
        return None;
    };
    let is_needed = |entry: &Allow| issuer(entry).is_some_and(|it| it.issuer() == needed.issuer());
    route.allow.iter().all(is_needed).then_some(needed.issuer())
}

/// A factor that refuses whoever shows it: whoever leaves it out gets round that, unless a token of the same issuer (`needed`) has to
/// be there anyway.
fn escapable_factor(condition: &Condition, side: Side, needed: Option<&str>) -> Option<String> {
    let own = condition.token.as_ref().map(TokenPattern::issuer);
    if !side.admits() {
        if condition.api_key.is_some() {
            return Some(
                "it refuses by an API key, and whoever leaves the key out gets round it: take the key out of the configuration, or write not = { api_key = … } to refuse those without"
                    .to_owned(),
            );
        }
        if let Some(issuer) = own
            && needed != Some(issuer)
        {
            return Some(format!(
                "it refuses by a token of {issuer}, and whoever leaves the token out gets round it: every entry of allow has to ask for one, or, in not, the entry around it; to refuse those without write not = {{ token = … }}"
            ));
        }
    }
    let not = condition.not.as_deref()?;
    // What is demanded around an exception is there when that is asked.
    let demanded = if side.admits() {
        own.or(needed)
    } else {
        needed
    };
    escapable_factor(not, side.except(), demanded)
}

/// A host that the route never serves.
fn check_host(condition: &Condition, route: &Route) -> Option<String> {
    let served = route.host.as_ref()?;
    let meet =
        |wanted: &DnsName| served.covers(wanted) || wanted.covers(served) || wanted == served;
    let unserved = condition.hosts.iter().find(|wanted| !meet(wanted))?;
    Some(format!(
        "it can never hold: the route serves {served}, and no host is both that and {unserved}"
    ))
}

/// `within`: the pattern that every path here meets already.
fn check_condition(
    condition: &Condition,
    place: &str,
    within: Option<&PathPattern>,
    depth: usize,
) -> Result<(), InvalidPolicy> {
    let refuse = |why: String| Err(InvalidPolicy::new(place, why));
    for (index, pattern) in condition.names.iter().enumerate() {
        if let Some(why) = pattern.fault() {
            return refuse(format!("{pattern}: {why}"));
        }
        for earlier in &condition.names[..index] {
            if earlier == pattern {
                return refuse(format!("it names {pattern} twice"));
            }
            if exclude_each_other(earlier, pattern) {
                return refuse(format!(
                    "nobody is both {earlier} and {pattern}: alternatives are entries of their own"
                ));
            }
        }
    }
    for (index, method) in condition.methods.iter().enumerate() {
        if !is_method(method) {
            return refuse(format!(
                "{method:?} is no method: they are tokens in upper case, such as GET"
            ));
        }
        if condition.methods[..index].contains(method) {
            return refuse(format!("it names method {method} twice"));
        }
    }
    for (kind, patterns) in [
        ("user", &condition.users),
        ("database", &condition.databases),
    ] {
        for (index, pattern) in patterns.iter().enumerate() {
            if let Some(wider) = hides(patterns, index) {
                return refuse(format!(
                    "it names {kind} {pattern}, which {wider} stands for already"
                ));
            }
        }
    }
    if let Some(why) = fault_beside_names(condition) {
        return refuse(why);
    }
    if let (Some(path), Some(within)) = (&condition.path, within)
        && !path.overlaps(within)
    {
        return refuse(format!(
            "it can never hold: no path is both under {within} and {path}"
        ));
    }
    if let Some(not) = &condition.not {
        if depth == MAX_DEPTH {
            return refuse(format!("`not` stands more than {MAX_DEPTH} deep"));
        }
        if not.is_empty() {
            return refuse("its `not` is empty, so it can never hold".to_owned());
        }
        if not.covers(condition) {
            return refuse(format!(
                "it can never hold: its `not` ({not}) takes back all of it"
            ));
        }
        check_condition(
            not,
            &format!("{place}, not"),
            condition.path.as_ref().or(within),
            depth + 1,
        )?;
    }
    Ok(())
}

/// Why it says something twice or can never hold, its names, methods and logins aside.
fn fault_beside_names(condition: &Condition) -> Option<String> {
    if !condition.tenant.is_empty()
        && let Some(why) = condition.tenant.fault()
    {
        return Some(why.to_owned());
    }
    if let Some((twice, _)) = pair(&condition.purposes, |one, other| one == other) {
        return Some(format!("it names {twice} twice"));
    }
    if let Some((one, other)) = pair(&condition.extensions, |one, other| one.oid() == other.oid()) {
        return Some(format!(
            "no certificate has both {one} and {other}: alternatives are entries of their own"
        ));
    }
    if let Some((hidden, wider)) = pair(&condition.hosts, |one, other| {
        one == other || one.covers(other) || other.covers(one)
    }) {
        return Some(format!("it names host {hidden} beside {wider}"));
    }
    if let Some((one, other)) = pair(&condition.headers, |one, other| one.name() == other.name()) {
        return Some(format!(
            "it names the header of {one} again in {other}: values that will all do are one list"
        ));
    }
    if let Some((one, other)) = pair(&condition.grpc, |one, other| {
        one.path().covers(other.path()) || other.path().covers(one.path())
    }) {
        return Some(format!("it names grpc {one} beside {other}"));
    }
    if let Some((one, other)) = pair(&condition.sources, |one, other| {
        one.covers(other) || other.covers(one)
    }) {
        return Some(format!("it names the range {one} beside {other}"));
    }
    if let Some((one, other)) = pair(&condition.windows, |one, other| {
        one.covers(other) || other.covers(one)
    }) {
        return Some(format!("it names the hours {one} beside {other}"));
    }
    let is_post = condition.methods.is_empty() || condition.methods.iter().any(|it| it == "POST");
    if !condition.grpc.is_empty() && !is_post {
        return Some("it can never hold: each call of gRPC is a POST".to_owned());
    }
    if let Some(path) = &condition.path
        && !condition.grpc.is_empty()
        && !condition.grpc.iter().any(|it| it.path().overlaps(path))
    {
        return Some(format!(
            "it can never hold: none of its methods of gRPC is under {path}"
        ));
    }
    if condition.max_age.is_some_and(|most| most.is_zero()) {
        return Some("it can never hold: no certificate is that young".to_owned());
    }
    None
}

/// The first two that are not beside each other for good.
fn pair<T>(items: &[T], is_wrong: impl Fn(&T, &T) -> bool) -> Option<(&T, &T)> {
    let mut pairs = items
        .iter()
        .enumerate()
        .flat_map(|(index, one)| items[index + 1..].iter().map(move |other| (one, other)));
    pairs.find(|(one, other)| is_wrong(one, other))
}

/// An entry that does nothing, and is harmless: it is kept, and told of. A `deny` that is added in a hurry has to load, whatever it makes
/// needless.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Redundancy {
    /// Index of the route.
    pub route: usize,
    /// `allow` or `deny`.
    pub list: &'static str,
    /// Index in the list.
    pub entry: usize,
    /// In words.
    pub why: String,
}

/// Entries of `allow` that a wider one makes needless or that a `deny` takes back as a whole, and of `deny` that a wider one makes
/// needless. Judged field by field, so it finds less than there is, and never too much.
pub(super) fn redundancies(routes: &[Route]) -> Vec<Redundancy> {
    let mut found = Vec::new();
    for (number, route) in routes.iter().enumerate() {
        let admits_all = route
            .allow
            .iter()
            .position(|it| matches!(it, Allow::AnyTrusted | Allow::Anyone));
        let allow: Vec<(usize, &Condition)> = route
            .allow
            .iter()
            .enumerate()
            .filter_map(|(entry, it)| match it {
                Allow::When(condition) => Some((entry, condition)),
                Allow::Anyone | Allow::AnyTrusted => None,
            })
            .collect();
        let deny: Vec<(usize, &Condition)> = route.deny.iter().enumerate().collect();
        let mut tell = |list, entry, why| {
            found.push(Redundancy {
                route: number,
                list,
                entry,
                why,
            });
        };
        let (allow_by, deny_by) = (by_first_name(&allow), by_first_name(&deny));
        for (entry, condition) in &allow {
            if let Some(all) = admits_all {
                let why = format!("allow {} admits everyone whom it admits", all + 1);
                tell("allow", *entry, why);
            } else if let Some(wider) = wider_than(&allow_by, *entry, condition, Side::Allow) {
                let why = format!("allow {} admits whatever it admits", wider + 1);
                tell("allow", *entry, why);
            }
            if let Some(wider) = wider_than(&deny_by, usize::MAX, condition, Side::Deny) {
                let why = format!("deny {} refuses all that it admits", wider + 1);
                tell("allow", *entry, why);
            }
        }
        for (entry, condition) in &deny {
            if let Some(wider) = wider_than(&deny_by, *entry, condition, Side::Deny) {
                let why = format!("deny {} refuses whatever it refuses", wider + 1);
                tell("deny", *entry, why);
            }
        }
    }
    found
}

/// Conditions by the first name they ask for, those without one under the empty text: what covers another asks for no name that the other
/// does not.
type ByName<'a> = HashMap<String, Vec<(usize, &'a Condition)>>;

fn by_first_name<'a>(conditions: &[(usize, &'a Condition)]) -> ByName<'a> {
    let mut by_name = ByName::new();
    for (entry, condition) in conditions {
        let first = condition.names.first().map(ToString::to_string);
        let same = by_name.entry(first.unwrap_or_default()).or_default();
        if same.len() < MAX_COMPARED {
            same.push((*entry, condition));
        }
    }
    by_name
}

fn wider_than(
    by_name: &ByName<'_>,
    entry: usize,
    condition: &Condition,
    side: Side,
) -> Option<usize> {
    let names = condition.names.iter().map(ToString::to_string);
    let mut candidates = names
        .chain([String::new()])
        .filter_map(|name| by_name.get(&name))
        .flatten();
    let covers = |wider: &Condition| {
        let is_vouched_for = match side {
            // An entry of `allow` that names no bundle means the internal one, and an entry of `deny` every.
            Side::Allow => wider.bundle(Side::Allow) == condition.bundle(Side::Allow),
            Side::Deny | Side::Except { .. } => {
                wider.bundle.is_none() || wider.bundle == condition.bundle
            }
        };
        is_vouched_for && wider.covers_beside_bundle(condition)
    };
    candidates
        .find(|(other, wider)| *other != entry && covers(wider))
        .map(|(other, _)| *other)
}

impl Route {
    /// Equal for two routes that serve the same.
    fn place(&self) -> (Option<&DnsName>, Option<String>) {
        // `/**` leaves only `*` to a route for any path.
        let path = self.path.as_ref().filter(|path| !path.is_everything());
        (self.host.as_ref(), path.map(ToString::to_string))
    }
}

impl Condition {
    fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Whether this holds wherever `other` does, judged field by field: it may say no where the answer is yes.
    fn covers(&self, other: &Self) -> bool {
        (self.bundle.is_none() || self.bundle == other.bundle) && self.covers_beside_bundle(other)
    }

    fn covers_beside_bundle(&self, other: &Self) -> bool {
        let path = self.path.as_ref().is_none_or(|path| {
            path.is_everything()
                || other
                    .path
                    .as_ref()
                    .is_some_and(|narrower| path.covers(narrower))
        });
        self.not.is_none()
            && path
            && self
                .names
                .iter()
                .all(|pattern| other.names.contains(pattern))
            && any_covers(&self.purposes, &other.purposes, |one, other| one == other)
            && self
                .extensions
                .iter()
                .all(|it| other.extensions.contains(it))
            && (self.issuer_key.is_none() || self.issuer_key == other.issuer_key)
            && self
                .max_age
                .is_none_or(|most| other.max_age.is_some_and(|other| other <= most))
            && (self.tenant.is_empty() || self.tenant == other.tenant)
            && any_covers(&self.hosts, &other.hosts, |wide, narrow| {
                wide == narrow || wide.covers(narrow)
            })
            && any_covers(&self.methods, &other.methods, |one, other| one == other)
            && self
                .headers
                .iter()
                .all(|wide| other.headers.iter().any(|narrow| wide.covers(narrow)))
            && any_covers(&self.grpc, &other.grpc, |wide, narrow| {
                wide.path().covers(narrow.path())
            })
            && self
                .token
                .as_ref()
                .is_none_or(|wide| (other.token.as_ref()).is_some_and(|narrow| wide.covers(narrow)))
            && self.api_key.as_ref().is_none_or(|wide| {
                (other.api_key.as_ref()).is_some_and(|narrow| wide.covers(narrow))
            })
            && any_covers(&self.sources, &other.sources, |wide, narrow| {
                wide.covers(narrow)
            })
            && any_covers(&self.windows, &other.windows, |wide, narrow| {
                wide.covers(narrow)
            })
            && any_covers(&self.users, &other.users, LoginPattern::covers)
            && any_covers(&self.databases, &other.databases, LoginPattern::covers)
    }
}

/// Another of the patterns, which holds wherever this one does.
fn hides(patterns: &[LoginPattern], index: usize) -> Option<&LoginPattern> {
    let others = patterns.iter().enumerate();
    others
        .filter(|(other, _)| *other != index)
        .map(|(_, pattern)| pattern)
        .find(|pattern| pattern.covers(&patterns[index]))
}

/// Whether whatever is among `narrower` is among `wider`; of none, everything is.
fn any_covers<T>(wider: &[T], narrower: &[T], covers: impl Fn(&T, &T) -> bool) -> bool {
    wider.is_empty()
        || (!narrower.is_empty()
            && narrower
                .iter()
                .all(|narrow| wider.iter().any(|wide| covers(wide, narrow))))
}

/// Whether no certificate that is verified here meets both: it has at most one SPIFFE ID, CN, DN, key and serial.
fn exclude_each_other(one: &NamePattern, other: &NamePattern) -> bool {
    match (one, other) {
        (NamePattern::Exact(one), NamePattern::Exact(other)) => {
            one.kind() == other.kind() && is_single(one.kind())
        }
        // Of the kinds that a certificate has one of, that one has to meet the other pattern too.
        (NamePattern::Exact(name), pattern) | (pattern, NamePattern::Exact(name))
            if pattern.kind() == Some(name.kind()) && is_single(name.kind()) =>
        {
            !pattern.is_met_by(name)
        }
        (NamePattern::DnUnordered(name), pattern @ NamePattern::Subject { .. })
        | (pattern @ NamePattern::Subject { .. }, NamePattern::DnUnordered(name)) => {
            !pattern.is_met_by(&TypedName::Dn(name.clone()))
        }
        (NamePattern::DnUnordered(one), NamePattern::DnUnordered(other)) => {
            !one.is_permutation_of(other)
        }
        (NamePattern::Issuer(one), NamePattern::Issuer(other)) => one != other,
        (
            NamePattern::Spiffe {
                trust_domain: one,
                path,
            },
            NamePattern::Spiffe {
                trust_domain: other,
                path: second,
            },
        ) => one != other || !path.overlaps(second),
        _ => false,
    }
}

fn is_single(kind: NameKind) -> bool {
    match kind {
        NameKind::Spiffe
        | NameKind::Cn
        | NameKind::Dn
        | NameKind::Spki
        | NameKind::SerialIssuer => true,
        NameKind::Dns | NameKind::Ip | NameKind::Email | NameKind::Uri => false,
    }
}

/// A token (RFC 9110 §5.6.2). Methods are case-sensitive and those of the registry in upper case: `get` is a mistake.
fn is_method(text: &str) -> bool {
    let token = |byte: u8| {
        byte.is_ascii_uppercase() || byte.is_ascii_digit() || b"!#$%&'*+-.^_`|~".contains(&byte)
    };
    (1..=64).contains(&text.len()) && text.bytes().all(token)
}

/// What a person can still follow; evaluation recurses as deep.
const MAX_DEPTH: usize = 4;

/// A warning is worth a moment of the start, and not a minute: of more entries that share a name each is compared with so many.
const MAX_COMPARED: usize = 200;
