//! Logins to a database: what a client asks for, and the patterns that a rule has for it.

use std::fmt;

use super::InvalidPolicy;

/// The user that a client wants to be, and in which database. Made by [`Packet::parse`](crate::postgresql::Packet::parse)
/// alone, so that what is judged is what was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Login {
    user: String,
    database: String,
}

impl Login {
    pub(crate) fn new(user: String, database: String) -> Self {
        Self { user, database }
    }

    /// Never empty.
    pub fn user(&self) -> &str {
        &self.user
    }

    /// Never empty: without one it is called as the user.
    pub fn database(&self) -> &str {
        &self.database
    }
}

impl fmt::Display for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "user {}, database {}", self.user, self.database)
    }
}

/// A pattern for the name of a user or a database: the very name, byte by byte, or with a `*` at its end for any rest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoginPattern {
    start: String,
    rest: bool,
}

impl LoginPattern {
    /// `app`, `report_*`, `*`.
    pub fn parse(text: &str) -> Result<Self, InvalidPolicy> {
        let (start, rest) = match text.strip_suffix('*') {
            Some(start) => (start, true),
            None => (text, false),
        };
        let refuse = |why| {
            let quoted: String = text.chars().take(MAX_NAME_BYTES).collect();
            Err(InvalidPolicy::new(format!("{quoted:?}"), why))
        };
        if start.contains('*') {
            return refuse("* stands at the end only, for any rest");
        }
        if start.is_empty() && !rest {
            return refuse("it is empty, and nobody is called so");
        }
        if start.chars().any(char::is_control) {
            return refuse("it has a control character");
        }
        if start.len() > MAX_NAME_BYTES {
            return refuse("no user and no database has a name of more than 63 bytes");
        }
        Ok(Self {
            start: start.to_owned(),
            rest,
        })
    }

    /// PostgreSQL compares such names byte by byte: `App` is another user than `app`.
    pub(super) fn matches(&self, name: &str) -> bool {
        match name.strip_prefix(&self.start) {
            Some(rest) => self.rest || rest.is_empty(),
            None => false,
        }
    }

    /// The one name that meets it, if there is but one.
    pub(super) fn whole(&self) -> Option<&str> {
        (!self.rest).then_some(self.start.as_str())
    }

    /// Whether every name that meets `other` meets this.
    pub(super) fn covers(&self, other: &Self) -> bool {
        self == other || (self.rest && other.start.starts_with(&self.start))
    }
}

impl fmt::Display for LoginPattern {
    /// What [`LoginPattern::parse`] reads.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.start, if self.rest { "*" } else { "" })
    }
}

/// `NAMEDATALEN` less the zero at its end. PostgreSQL cuts off what is longer, so that two names are read as one.
pub(crate) const MAX_NAME_BYTES: usize = 63;
