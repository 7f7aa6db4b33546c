//! What is refused at load: rules that are empty, unreachable or contradictory, each of which somebody would take for
//! protection that is not there.

use countersign_pki::name::{NameKind, TypedName};

use super::{Allow, Condition, InvalidPolicy, LoginPattern, NamePattern, PathPattern, Route};

pub(super) fn check(routes: &[Route]) -> Result<(), InvalidPolicy> {
    if routes.is_empty() {
        return Err(InvalidPolicy::new(
            "policy",
            "it has no route, so it would admit nobody",
        ));
    }
    for (index, route) in routes.iter().enumerate() {
        if let Some(earlier) = routes[..index]
            .iter()
            .find(|earlier| earlier.serves_the_same(route))
        {
            return Err(InvalidPolicy::new(
                &route.label,
                format!(
                    "{} has the same host and path, so this one is never reached",
                    earlier.label
                ),
            ));
        }
        check_route(route)?;
    }
    Ok(())
}

fn check_route(route: &Route) -> Result<(), InvalidPolicy> {
    if route.allow.is_empty() {
        let why =
            "it has no allow, so it would admit nobody: name them, or spell out \"any-trusted\"";
        return Err(InvalidPolicy::new(&route.label, why));
    }
    for (index, entry) in route.allow.iter().enumerate() {
        let place = format!("{}, allow {}", route.label, index + 1);
        if let Some(earlier) = route.allow[..index]
            .iter()
            .position(|earlier| earlier == entry)
        {
            return Err(InvalidPolicy::new(
                place,
                format!("it says the same as allow {}", earlier + 1),
            ));
        }
        match entry {
            Allow::When(condition) if condition.is_empty() => {
                return Err(InvalidPolicy::new(
                    place,
                    "it is empty: every verified client is spelled \"any-trusted\"",
                ));
            }
            Allow::When(condition) => check_condition(condition, &place, route.path.as_ref(), 0)?,
            Allow::Anyone | Allow::AnyTrusted => {}
        }
    }
    for (index, condition) in route.deny.iter().enumerate() {
        let place = format!("{}, deny {}", route.label, index + 1);
        if let Some(earlier) = route.deny[..index]
            .iter()
            .position(|earlier| earlier == condition)
        {
            return Err(InvalidPolicy::new(
                place,
                format!("it says the same as deny {}", earlier + 1),
            ));
        }
        if condition.is_empty() {
            return Err(InvalidPolicy::new(
                place,
                "it is empty, so it would deny everybody",
            ));
        }
        check_condition(condition, &place, route.path.as_ref(), 0)?;
    }
    Ok(())
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

impl Route {
    fn serves_the_same(&self, other: &Self) -> bool {
        // `/**` leaves only `*` and CONNECT to a route for any path.
        let narrowed = |route: &Self| route.path.clone().filter(|path| !path.is_everything());
        self.host == other.host && narrowed(self) == narrowed(other)
    }
}

impl Condition {
    fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Whether this holds wherever `other` does, judged field by field: it may say no where the answer is yes.
    fn covers(&self, other: &Self) -> bool {
        self.not.is_none()
            && (self.bundle.is_none() || self.bundle == other.bundle)
            && self
                .names
                .iter()
                .all(|pattern| other.names.contains(pattern))
            && (self.methods.is_empty()
                || (!other.methods.is_empty()
                    && other
                        .methods
                        .iter()
                        .all(|method| self.methods.contains(method))))
            && all_cover(&self.users, &other.users)
            && all_cover(&self.databases, &other.databases)
            && self.path.as_ref().is_none_or(|path| {
                path.is_everything()
                    || other
                        .path
                        .as_ref()
                        .is_some_and(|narrower| path.covers(narrower))
            })
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
fn all_cover(wider: &[LoginPattern], narrower: &[LoginPattern]) -> bool {
    wider.is_empty()
        || (!narrower.is_empty()
            && narrower
                .iter()
                .all(|one| wider.iter().any(|pattern| pattern.covers(one))))
}

/// Whether no certificate that is verified here meets both: it has at most one SPIFFE ID, CN, DN, key and serial.
fn exclude_each_other(one: &NamePattern, other: &NamePattern) -> bool {
    match (one, other) {
        (NamePattern::Exact(one), NamePattern::Exact(other)) => {
            one.kind() == other.kind() && is_single(one.kind())
        }
        (NamePattern::Spiffe { .. }, NamePattern::Exact(id @ TypedName::Spiffe(_))) => {
            !one.is_met_by(id)
        }
        (NamePattern::Exact(id @ TypedName::Spiffe(_)), NamePattern::Spiffe { .. }) => {
            !other.is_met_by(id)
        }
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
