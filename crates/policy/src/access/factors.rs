//! What a request shows beside the certificate, and what rules ask of it: a token, an API key.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use super::InvalidPolicy;
use crate::token::{Json, VerifiedToken};

/// What was shown and verified. What was shown and is not good is not here: it counts as not given.
#[derive(Clone, Debug, Default)]
pub struct Factors {
    /// The token.
    pub token: Option<Arc<VerifiedToken>>,
    /// The name of the API key.
    pub api_key: Option<Arc<str>>,
}

impl Factors {
    /// Nothing but the certificate.
    pub const NONE: Self = Self {
        token: None,
        api_key: None,
    };
}

/// A factor that a rule asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Factor {
    /// An API key.
    ApiKey,
    /// A token.
    Token,
}

/// What a rule asks of an API key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ApiKeyPattern {
    /// Any that is the client's.
    Any,
    /// The one of this name.
    Named(String),
}

impl ApiKeyPattern {
    pub(super) fn is_met_by(&self, factors: &Factors) -> bool {
        match (&factors.api_key, self) {
            (None, _) => false,
            (Some(_), Self::Any) => true,
            (Some(given), Self::Named(name)) => **given == **name,
        }
    }

    pub(super) fn covers(&self, other: &Self) -> bool {
        self == other || *self == Self::Any
    }
}

impl fmt::Display for ApiKeyPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("an API key"),
            Self::Named(name) => write!(f, "API key {name}"),
        }
    }
}

/// A value that a claim may have to have.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ClaimValue {
    /// `true` or `false`.
    Bool(bool),
    /// A whole number.
    Integer(i64),
    /// A text, byte by byte.
    Text(String),
}

impl fmt::Display for ClaimValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bool(value) => value.fmt(f),
            Self::Integer(value) => value.fmt(f),
            Self::Text(text) => write!(f, "{text:?}"),
        }
    }
}

/// What a rule asks of a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenPattern {
    issuer: String,
    /// Each of these claims has one of its values; no list is empty.
    claims: BTreeMap<String, Vec<ClaimValue>>,
}

impl TokenPattern {
    /// A token of the issuer that is called so. Refuses claims that have a place of their own or can never hold.
    pub fn parse(
        issuer: &str,
        claims: BTreeMap<String, Vec<ClaimValue>>,
    ) -> Result<Self, InvalidPolicy> {
        for (name, values) in &claims {
            let refuse = |why: &str| {
                let shown: String = name.chars().take(80).collect();
                Err(InvalidPolicy::new(format!("claim {shown:?}"), why))
            };
            if name.is_empty() || name.len() > MAX_NAME_BYTES {
                return refuse("a claim has a name of 1 to 256 bytes");
            }
            if ["aud", "cnf", "exp", "iat", "iss", "nbf"].contains(&name.as_str()) {
                return refuse("it is judged for every token, by [[gateway.token_issuer]]");
            }
            if values.is_empty() {
                return refuse("it can never hold: no value is listed");
            }
            let mut seen = values.clone();
            seen.sort_unstable();
            seen.dedup();
            if seen.len() < values.len() {
                return refuse("one of its values stands there twice");
            }
            let is_fit = |value: &ClaimValue| match value {
                ClaimValue::Text(text) => !text.is_empty() && text.len() <= MAX_VALUE_BYTES,
                ClaimValue::Bool(_) | ClaimValue::Integer(_) => true,
            };
            if !values.iter().all(is_fit) {
                return refuse("a text that it may be has 1 to 1024 bytes");
            }
            let has_gap = |value: &ClaimValue| matches!(value, ClaimValue::Text(text) if text.split(' ').any(str::is_empty));
            if is_spaced(name) && values.iter().any(has_gap) {
                return refuse("it can never hold: one space stands between two scopes");
            }
        }
        if claims.len() > MAX_CLAIMS {
            return Err(InvalidPolicy::new(
                "claims",
                format!("{} are more than {MAX_CLAIMS}", claims.len()),
            ));
        }
        let issuer = issuer.to_owned();
        Ok(Self { issuer, claims })
    }

    /// How the issuer is called.
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    pub(super) fn claims(&self) -> &BTreeMap<String, Vec<ClaimValue>> {
        &self.claims
    }

    /// To admit (`admits`), each claim has to be there in a form that is understood; to refuse, one that is not understood is enough.
    pub(super) fn is_met_by(&self, factors: &Factors, admits: bool) -> bool {
        let Some(token) = factors.token.as_deref() else {
            return false;
        };
        token.issuer() == self.issuer
            && self.claims.iter().all(|(name, wanted)| {
                let Some(claim) = token.claim(name) else {
                    return false;
                };
                let said = |wanted: &ClaimValue| says(name, claim, wanted);
                wanted.iter().any(said) || (!admits && !is_understood(claim))
            })
    }

    /// Whether whatever meets `other` meets this.
    pub(super) fn covers(&self, other: &Self) -> bool {
        self.issuer == other.issuer
            && self.claims.iter().all(|(name, wider)| {
                let narrower = other.claims.get(name);
                narrower.is_some_and(|narrower| narrower.iter().all(|it| wider.contains(it)))
            })
    }
}

impl fmt::Display for TokenPattern {
    /// `token of corp with scope "payments"`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "token of {}", self.issuer)?;
        for (index, (name, values)) in self.claims.iter().enumerate() {
            let values: Vec<String> = values.iter().map(ToString::to_string).collect();
            let joint = if index == 0 { " with" } else { " and" };
            write!(f, "{joint} {name} {}", values.join("|"))?;
        }
        Ok(())
    }
}

/// Whether a claim is a value or a list that has it. RFC 8693 §4.2: `scope` is a list with spaces in between, and who asks for two asks for both.
fn says(name: &str, claim: &Json, wanted: &ClaimValue) -> bool {
    match (claim, wanted) {
        (Json::Text(claim), ClaimValue::Text(wanted)) if is_spaced(name) => wanted
            .split(' ')
            .all(|wanted| claim.split(' ').any(|one| one == wanted)),
        (Json::Text(claim), ClaimValue::Text(wanted)) => claim == wanted,
        (Json::Integer(claim), ClaimValue::Integer(wanted)) => claim == wanted,
        (Json::Bool(claim), ClaimValue::Bool(wanted)) => claim == wanted,
        (Json::List(list), wanted) => list
            .iter()
            .any(|one| !matches!(one, Json::List(_)) && says("", one, wanted)),
        _ => false,
    }
}

/// Whether it is a value that a rule can name, or a list of such.
fn is_understood(claim: &Json) -> bool {
    match claim {
        Json::Bool(_) | Json::Integer(_) | Json::Text(_) | Json::Null => true,
        Json::List(list) => list
            .iter()
            .all(|one| !matches!(one, Json::List(_)) && is_understood(one)),
        Json::Fraction(_) | Json::Object(_) => false,
    }
}

/// `scp` is what it is called by Microsoft's and some others.
fn is_spaced(name: &str) -> bool {
    matches!(name, "scope" | "scp")
}

/// Names that are URLs are the longest.
const MAX_NAME_BYTES: usize = 256;
const MAX_VALUE_BYTES: usize = 1024;
const MAX_CLAIMS: usize = 16;
