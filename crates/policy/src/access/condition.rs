//! The one evaluator of conditions: what decides a request also says whom no request could ever be granted to.

use std::fmt;

use countersign_pki::identity::{BundleName, VerifiedPeer};

use super::{Allow, Asked, Condition, Login, Route};

/// Whether something holds, given what is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Holds {
    Never,
    /// On the request, which is not known yet.
    Depends,
    Always,
}

/// What is known.
#[derive(Clone, Copy)]
pub(super) struct Known<'a> {
    /// `None`: anonymous.
    pub(super) peer: Option<&'a VerifiedPeer>,
    /// `None`: any request that could come.
    pub(super) request: Option<Requested<'a>>,
}

/// What a peer wants.
#[derive(Clone, Copy)]
pub(super) enum Requested<'a> {
    Http { method: &'a str, path: &'a str },
    Login(&'a Login),
}

impl<'a> From<&Asked<'a>> for Requested<'a> {
    fn from(asked: &Asked<'a>) -> Self {
        Self::Http {
            method: asked.method,
            path: asked.path,
        }
    }
}

impl fmt::Display for Requested<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Http { method, path } => f.write_str(&cut(&format!("{method} {path}"))),
            Self::Login(login) => login.fmt(f),
        }
    }
}

/// Which bundle a condition means that names none.
#[derive(Clone, Copy)]
pub(super) enum Unnamed {
    Internal,
    Every,
}

impl Holds {
    /// Asks no further than the first that holds anyway.
    fn any(each: impl Iterator<Item = Self>) -> Self {
        let mut most = Self::Never;
        for one in each {
            most = most.max(one);
            if most == Self::Always {
                break;
            }
        }
        most
    }

    fn not(self) -> Self {
        match self {
            Self::Never => Self::Always,
            Self::Depends => Self::Depends,
            Self::Always => Self::Never,
        }
    }

    fn certainly(holds: bool) -> Self {
        if holds { Self::Always } else { Self::Never }
    }
}

impl Route {
    /// Whether what is known gets through: some entry of `allow` holds, and none of `deny`.
    pub(super) fn admits(&self, known: Known<'_>) -> Holds {
        if known.peer.is_none() && self.needs_certificate() {
            return Holds::Never;
        }
        let deny = self.deny.iter();
        let denied = Holds::any(deny.map(|condition| condition.holds(Unnamed::Every, known)));
        if denied == Holds::Always {
            return Holds::Never;
        }
        let allowed = Holds::any(self.allow.iter().map(|entry| entry.holds(known)));
        allowed.min(denied.not())
    }

    /// Whether the anonymous are turned away before any rule is asked.
    pub(super) fn needs_certificate(&self) -> bool {
        self.require_certificate || !self.allow.contains(&Allow::Anyone)
    }
}

impl Allow {
    pub(super) fn holds(&self, known: Known<'_>) -> Holds {
        match self {
            Self::Anyone => Holds::Always,
            Self::AnyTrusted => Holds::certainly(known.peer.is_some()),
            Self::When(condition) => condition.holds(Unnamed::Internal, known),
        }
    }
}

impl Condition {
    /// An anonymous peer has no bundle and no name, so it meets no condition that asks for one, and every `not` of such a
    /// condition: `deny = [{ not = { dns = "x" } }]` denies it, and under [`Unnamed::Internal`] nothing admits it.
    pub(super) fn holds(&self, unnamed: Unnamed, known: Known<'_>) -> Holds {
        let bundle = self.bundle(unnamed);
        let identity = match known.peer {
            Some(peer) => {
                bundle.is_none_or(|name| name == peer.bundle().as_str())
                    && self
                        .names
                        .iter()
                        .all(|pattern| peer.names().iter().any(|name| pattern.is_met_by(name)))
            }
            None => bundle.is_none() && self.names.is_empty(),
        };
        if !identity {
            return Holds::Never;
        }
        let request = match known.request {
            None if !self.asks_of_requests() => Holds::Always,
            None => Holds::Depends,
            Some(requested) => Holds::certainly(self.is_met_by(requested)),
        };
        let exception = self
            .not
            .as_ref()
            .map_or(Holds::Never, |not| not.holds(Unnamed::Every, known));
        request.min(exception.not())
    }

    /// How much of what it asks of a request this one does not have.
    pub(super) fn misses(&self, requested: Requested<'_>) -> usize {
        let met = [
            self.has_method(requested),
            self.has_path(requested),
            self.has_user(requested),
            self.has_database(requested),
        ];
        met.iter().filter(|is_met| !**is_met).count()
    }

    /// Whether this request has what it asks for. What only the other kind of request has, this one has not.
    fn is_met_by(&self, requested: Requested<'_>) -> bool {
        self.has_method(requested)
            && self.has_path(requested)
            && self.has_user(requested)
            && self.has_database(requested)
    }

    fn has_method(&self, requested: Requested<'_>) -> bool {
        self.methods.is_empty()
            || matches!(requested, Requested::Http { method, .. } if self.methods.iter().any(|one| one == method))
    }

    fn has_path(&self, requested: Requested<'_>) -> bool {
        self.path.as_ref().is_none_or(
            |pattern| matches!(requested, Requested::Http { path, .. } if pattern.matches(path)),
        )
    }

    fn has_user(&self, requested: Requested<'_>) -> bool {
        let among = |name| self.users.iter().any(|pattern| pattern.matches(name));
        self.users.is_empty() || matches!(requested, Requested::Login(login) if among(login.user()))
    }

    fn has_database(&self, requested: Requested<'_>) -> bool {
        let among = |name| self.databases.iter().any(|pattern| pattern.matches(name));
        self.databases.is_empty()
            || matches!(requested, Requested::Login(login) if among(login.database()))
    }

    fn asks_of_requests(&self) -> bool {
        !self.methods.is_empty()
            || self.path.is_some()
            || !self.users.is_empty()
            || !self.databases.is_empty()
    }

    /// The bundle that must vouch; `None`: whichever does, or none.
    pub(super) fn bundle(&self, unnamed: Unnamed) -> Option<&str> {
        match unnamed {
            Unnamed::Internal => Some(
                self.bundle
                    .as_ref()
                    .map_or(BundleName::INTERNAL, BundleName::as_str),
            ),
            Unnamed::Every => self.bundle.as_ref().map(BundleName::as_str),
        }
    }

    /// Whether it asks for anything that only a login has.
    pub fn looks_at_logins(&self) -> bool {
        !self.users.is_empty()
            || !self.databases.is_empty()
            || self.not.as_ref().is_some_and(|not| not.looks_at_logins())
    }

    /// Whether it asks for anything that only a request of HTTP has.
    pub fn looks_at_requests(&self) -> bool {
        !self.methods.is_empty()
            || self.path.is_some()
            || self.not.as_ref().is_some_and(|not| not.looks_at_requests())
    }

    pub(super) fn looks_at_paths(&self) -> bool {
        self.path.is_some() || self.not.as_ref().is_some_and(|not| not.looks_at_paths())
    }
}

impl fmt::Display for Condition {
    /// `cn:order-service POST|PUT /charge/** under bundle internal, except dns:x`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<String> = self
            .names
            .iter()
            .map(|pattern| cut(&pattern.to_string()))
            .collect();
        let mut parts = Vec::new();
        if !names.is_empty() {
            parts.push(names.join(" and "));
        }
        if !self.methods.is_empty() {
            parts.push(cut(&self.methods.join("|")));
        }
        if let Some(path) = &self.path {
            parts.push(cut(&path.to_string()));
        }
        for (kind, patterns) in [("user", &self.users), ("database", &self.databases)] {
            if !patterns.is_empty() {
                let patterns: Vec<String> = patterns.iter().map(ToString::to_string).collect();
                parts.push(cut(&format!("{kind} {}", patterns.join("|"))));
            }
        }
        if let Some(bundle) = &self.bundle {
            parts.push(format!("under bundle {bundle}"));
        }
        f.write_str(&parts.join(" "))?;
        match &self.not {
            Some(not) if parts.is_empty() => write!(f, "everyone except {not}"),
            Some(not) => write!(f, ", except {not}"),
            None => Ok(()),
        }
    }
}

/// Two names and their rule fit into a fact of a refusal's evidence (512 bytes).
pub(super) fn cut(text: &str) -> String {
    match text.char_indices().nth(MAX_SHOWN) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text.to_owned(),
    }
}

const MAX_SHOWN: usize = 120;
