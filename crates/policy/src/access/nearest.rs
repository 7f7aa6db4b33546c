//! Why a request was turned away, in words: the nearest rule, so that a typing error shows itself.

use countersign_pki::identity::VerifiedPeer;
use countersign_pki::name::{NameKind, TypedName};

use super::condition::{Circumstances, Holds, Known, Requested, Side, cut};
use super::{AccessPolicy, Allow, Condition, Decision, Factor, NamePattern, Route};

/// Words a refusal that [`AccessPolicy::judge`] has decided.
pub(super) fn refusal(policy: &AccessPolicy, index: usize, known: Known<'_>) -> Decision {
    let anyhow = Known::of(known.peer);
    let route = &policy.routes[index];
    if policy.admits(index, anyhow) == Holds::Never {
        let nearest = match (denied_by(policy, index, anyhow), known.peer) {
            (_, Some(peer)) if peer.is_canary() => {
                format!(
                    "admits no canary, whatever its rules say; this is {}",
                    holder(known.peer)
                )
            }
            (Some(sentence), peer) => format!("{sentence}; this is {}", holder(peer)),
            (None, Some(peer)) => nearest_identity(route, peer),
            (None, None) => "admits no anonymous client".to_owned(),
        };
        return Decision::IdentityNotAllowed {
            route: index,
            nearest,
        };
    }
    let this = match (known.request, known.circumstances) {
        (Some(requested), Some(circumstances)) if looks_at_circumstances(route) => {
            format!("{requested}{}", shown(circumstances))
        }
        (Some(requested), _) => requested.to_string(),
        (None, Some(circumstances)) => format!("a connection{}", shown(circumstances)),
        (None, None) => holder(known.peer),
    };
    if let Some((factor, nearest)) = needed_factor(policy, index, known) {
        return Decision::FactorNeeded {
            route: index,
            factor,
            nearest,
        };
    }
    let denied = denied_by(policy, index, known);
    let nearest = match denied.or_else(|| nearest_request(policy, index, known)) {
        Some(sentence) => format!("{sentence}; this is {this}"),
        None => format!("does not admit {this}"),
    };
    if known.request.is_none() && !looks_at_circumstances(route) {
        // A rule that looks at requests admits nobody where there are none.
        let nearest = known
            .peer
            .map_or(nearest, |peer| nearest_identity(route, peer));
        return Decision::IdentityNotAllowed {
            route: index,
            nearest,
        };
    }
    Decision::RequestNotAllowed {
        route: index,
        nearest,
    }
}

/// The factor that is not there, and with which it could be admitted; and the entry that asks for it, in words.
fn needed_factor(
    policy: &AccessPolicy,
    index: usize,
    known: Known<'_>,
) -> Option<(Factor, String)> {
    let Some(Requested::Http {
        host,
        method,
        path,
        headers,
        factors: Some(factors),
    }) = known.request
    else {
        return None;
    };
    let with_any = Known {
        request: Some(Requested::Http {
            host,
            method,
            path,
            headers,
            factors: None,
        }),
        ..known
    };
    if policy.admits(index, with_any) == Holds::Never {
        return None;
    }
    let route = &policy.routes[index];
    let allow = route.allow.iter().take(MAX_RULES).find_map(|it| match it {
        Allow::When(condition) if condition.holds(Side::Allow, with_any) == Holds::Depends => {
            let factor = condition.unmet_factor(Side::Allow, factors)?;
            Some((factor, format!("allows {condition}")))
        }
        _ => None,
    });
    // A `deny` may refuse those without.
    let deny = || {
        route.deny.iter().take(MAX_RULES).find_map(|condition| {
            let refuses = condition.token.is_none()
                && condition.holds(Side::Deny, known) == Holds::Always
                && condition.holds(Side::Deny, with_any) == Holds::Depends;
            let factor = if condition.looks_at_factor(Factor::Token) {
                Factor::Token
            } else {
                Factor::ApiKey
            };
            refuses.then(|| (factor, format!("denied by {condition}")))
        })
    };
    allow.or_else(deny)
}

fn looks_at_circumstances(route: &Route) -> bool {
    let allow = route.allow.iter().take(MAX_RULES);
    let mut allow = allow.filter_map(|entry| match entry {
        Allow::When(condition) => Some(condition),
        Allow::Anyone | Allow::AnyTrusted => None,
    });
    allow.any(Condition::looks_at_circumstances)
        || route
            .deny
            .iter()
            .take(MAX_RULES)
            .any(Condition::looks_at_circumstances)
}

fn shown(circumstances: Circumstances) -> String {
    let Circumstances { source, now } = circumstances;
    format!(" from {} at {now}", source.to_canonical())
}

/// The first entry of `deny` that holds.
fn denied_by(policy: &AccessPolicy, index: usize, known: Known<'_>) -> Option<String> {
    let deny = &policy.routes[index].deny;
    let mut first: Option<usize> = None;
    policy.filed[index].deny(known).find(known, |entry| {
        if first.is_none_or(|first| entry < first)
            && deny[entry].holds(Side::Deny, known) == Holds::Always
        {
            first = Some(entry);
        }
        false
    });
    let rule = first?;
    Some(format!("denied by rule {}: {}", rule + 1, deny[rule]))
}

/// The entry that admits this identity and asks for the least that is not there.
fn nearest_request(policy: &AccessPolicy, index: usize, known: Known<'_>) -> Option<String> {
    let (anyhow, allow) = (Known::of(known.peer), &policy.routes[index].allow);
    let (mut left, mut nearest) = (MAX_RULES, None);
    policy.filed[index].allow(anyhow).find(anyhow, |entry| {
        left -= 1;
        if let Allow::When(condition) = &allow[entry]
            && condition.holds(Side::Allow, anyhow) != Holds::Never
        {
            let distance = (condition.misses(known), entry);
            if nearest.is_none_or(|nearest| distance < nearest) {
                nearest = Some(distance);
            }
        }
        left == 0
    });
    let (_, entry) = nearest?;
    match &allow[entry] {
        Allow::When(condition) => Some(format!("allows {condition}")),
        Allow::Anyone | Allow::AnyTrusted => None,
    }
}

/// The entry whose names are the fewest edits away from the peer's.
fn nearest_identity(route: &Route, peer: &VerifiedPeer) -> String {
    let mut search = Search {
        peer,
        written: peer
            .names()
            .iter()
            .take(MAX_NAMES)
            .map(|name| (name, name.bare()))
            .collect(),
        comparisons: MAX_COMPARISONS,
    };
    let mut best: Option<Miss<'_>> = None;
    for entry in route.allow.iter().take(MAX_RULES) {
        let Allow::When(condition) = entry else {
            continue;
        };
        let miss = search.miss(condition);
        if best.as_ref().is_none_or(|best| miss.cost < best.cost) {
            best = Some(miss);
        }
    }
    best.map_or_else(
        || format!("does not admit {}", holder(Some(peer))),
        |miss| miss.sentence(peer),
    )
}

struct Search<'a> {
    peer: &'a VerifiedPeer,
    written: Vec<(&'a TypedName, String)>,
    /// How many more there may be.
    comparisons: usize,
}

/// How far a peer is from an entry of `allow`.
struct Miss<'a> {
    condition: &'a Condition,
    cost: usize,
    /// The pattern that is furthest from being met, and what the peer has instead.
    unmet: Option<(&'a NamePattern, Closest<'a>)>,
}

#[derive(Clone, Copy)]
struct Closest<'a> {
    name: &'a TypedName,
    cost: usize,
    /// It reads as the pattern asks, and is of another kind.
    is_other_kind: bool,
}

impl<'a> Search<'a> {
    fn miss(&mut self, condition: &'a Condition) -> Miss<'a> {
        let mut miss = Miss {
            condition,
            cost: usize::from(!is_vouched_for(condition, self.peer)),
            unmet: None,
        };
        for pattern in &condition.names {
            if self.peer.names().iter().any(|name| pattern.is_met_by(name)) {
                continue;
            }
            let closest = self.closest(pattern);
            miss.cost = miss.cost.saturating_add(closest.cost);
            if miss
                .unmet
                .is_none_or(|(_, furthest)| closest.cost > furthest.cost)
            {
                miss.unmet = Some((pattern, closest));
            }
        }
        miss
    }

    fn closest(&mut self, pattern: &NamePattern) -> Closest<'a> {
        let wanted = pattern.bare();
        let mut best = Closest {
            name: &self.peer.principal().name,
            cost: NO_SUCH_NAME,
            is_other_kind: false,
        };
        for (name, written) in &self.written {
            let closest = if pattern.kind().is_some_and(|kind| kind != name.kind()) {
                if !would_meet(pattern, &wanted, written) {
                    continue;
                }
                // Less than any typing error: the very text is there.
                Closest {
                    name,
                    cost: 1,
                    is_other_kind: true,
                }
            } else {
                // Hashes and serials are copied, not typed; the nearest one says nothing.
                let is_copied = matches!(
                    name.kind(),
                    NameKind::Spki | NameKind::SerialIssuer | NameKind::Dn
                );
                if self.comparisons == 0 || (pattern.kind().is_none() && is_copied) {
                    continue;
                }
                self.comparisons -= 1;
                Closest {
                    name,
                    cost: 1 + distance(&wanted, written),
                    is_other_kind: false,
                }
            };
            if closest.cost < best.cost {
                best = closest;
            }
        }
        best
    }
}

impl Miss<'_> {
    fn sentence(&self, peer: &VerifiedPeer) -> String {
        let Self { condition, .. } = self;
        let (ours, theirs) = if is_vouched_for(condition, peer) {
            (String::new(), String::new())
        } else {
            let ours = condition.bundle(Side::Allow).unwrap_or_default();
            (
                format!(" under bundle {ours}"),
                format!(" under bundle {}", peer.bundle()),
            )
        };
        match self.unmet {
            Some((
                pattern,
                Closest {
                    name,
                    is_other_kind,
                    ..
                },
            )) => {
                let has = if is_other_kind {
                    "this certificate has it only as"
                } else {
                    "this is"
                };
                format!(
                    "allows {}{ours}; {has} {}{theirs}",
                    cut(&pattern.to_string()),
                    cut(&name.to_string())
                )
            }
            None if ours.is_empty() => {
                format!("allows {condition}; this is {}", holder(Some(peer)))
            }
            None => {
                let pattern = condition.names.first();
                let met = pattern
                    .and_then(|pattern| peer.names().iter().find(|name| pattern.is_met_by(name)));
                let allowed = pattern.map_or_else(
                    || "every identity".to_owned(),
                    |pattern| cut(&pattern.to_string()),
                );
                let name = cut(&met.unwrap_or(&peer.principal().name).to_string());
                format!("allows {allowed}{ours}; this is {name}{theirs}")
            }
        }
    }
}

/// Whether `written`, were it a name of the pattern's kind, would meet it.
fn would_meet(pattern: &NamePattern, wanted: &str, written: &str) -> bool {
    match pattern {
        NamePattern::Exact(_) | NamePattern::AnyKind(_) | NamePattern::Subject { .. } => {
            wanted == written
        }
        NamePattern::DnsUnder(_) => {
            TypedName::parse_as(NameKind::Dns, written).is_ok_and(|name| pattern.is_met_by(&name))
        }
        NamePattern::Spiffe { .. } => TypedName::parse_as(NameKind::Spiffe, written)
            .is_ok_and(|name| pattern.is_met_by(&name)),
        NamePattern::IpUnder(_) => {
            TypedName::parse_as(NameKind::Ip, written).is_ok_and(|name| pattern.is_met_by(&name))
        }
        // What is written in a name of another kind is no subject and no issuer.
        NamePattern::DnUnordered(_) | NamePattern::Issuer(_) => false,
    }
}

fn is_vouched_for(condition: &Condition, peer: &VerifiedPeer) -> bool {
    condition
        .bundle(Side::Allow)
        .is_none_or(|bundle| bundle == peer.bundle().as_str())
}

fn holder(peer: Option<&VerifiedPeer>) -> String {
    peer.map_or_else(
        || "an anonymous client".to_owned(),
        |peer| {
            format!(
                "{} under bundle {}",
                cut(&peer.principal().name.to_string()),
                peer.bundle()
            )
        },
    )
}

/// Levenshtein's distance of what two texts do not share at their beginning and end, in the first [`MAX_COMPARED`] characters of it.
fn distance(one: &str, other: &str) -> usize {
    let (one, other) = (
        one.chars().collect::<Vec<_>>(),
        other.chars().collect::<Vec<_>>(),
    );
    let start = one.iter().zip(&other).take_while(|(a, b)| a == b).count();
    let (one, other) = (&one[start..], &other[start..]);
    let end = one
        .iter()
        .rev()
        .zip(other.iter().rev())
        .take_while(|(a, b)| a == b)
        .count();
    let (one, other) = (
        &one[..(one.len() - end).min(MAX_COMPARED)],
        &other[..(other.len() - end).min(MAX_COMPARED)],
    );
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (above, a) in one.iter().enumerate() {
        let mut diagonal = row[0];
        row[0] = above + 1;
        for (left, b) in other.iter().enumerate() {
            let replaced = diagonal + usize::from(a != b);
            diagonal = row[left + 1];
            row[left + 1] = replaced.min(diagonal + 1).min(row[left] + 1);
        }
    }
    row[other.len()]
}

/// A refusal must stay in the order of the handshake before it (about a millisecond), whatever names the peer brings and
/// however long the rules are: at worst 1000 comparisons of 64 characters, 4 million steps.
const MAX_RULES: usize = 1000;
const MAX_COMPARISONS: usize = 1000;
const MAX_COMPARED: usize = 64;
const MAX_NAMES: usize = 64;
const NO_SUCH_NAME: usize = 10_000;
