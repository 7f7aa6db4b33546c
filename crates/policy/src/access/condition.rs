//! The one evaluator of conditions: what decides a request also says whom no request could ever be granted to.

use std::fmt;

use countersign_pki::identity::{BundleName, VerifiedPeer};

use super::{Allow, Condition, Route};

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
    /// Method and path; `None`: any request that could come.
    pub(super) request: Option<(&'a str, &'a str)>,
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
            None if self.methods.is_empty() && self.path.is_none() => Holds::Always,
            None => Holds::Depends,
            Some((method, path)) => {
                Holds::certainly(self.has_method(method) && self.has_path(path))
            }
        };
        let exception = self
            .not
            .as_ref()
            .map_or(Holds::Never, |not| not.holds(Unnamed::Every, known));
        request.min(exception.not())
    }

    pub(super) fn has_method(&self, method: &str) -> bool {
        self.methods.is_empty() || self.methods.iter().any(|one| one == method)
    }

    pub(super) fn has_path(&self, path: &str) -> bool {
        self.path
            .as_ref()
            .is_none_or(|pattern| pattern.matches(path))
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

    /// Whether it asks for anything that only a request has.
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
