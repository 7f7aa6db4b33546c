//! Headers, as rules see them.

use std::fmt;

use super::InvalidPolicy;

/// The headers of a request, whatever holds them.
pub trait Headers: fmt::Debug {
    /// Calls with each value of each header that is called `name` once its letters are lower case and each `_` is a `-`, as
    /// CGI and its heirs read them: what is one header to an upstream is one header here.
    fn each(&self, name: &str, visit: &mut dyn FnMut(&[u8]));
}

/// No headers at all.
#[derive(Clone, Copy, Debug)]
pub struct NoHeaders;

impl Headers for NoHeaders {
    fn each(&self, _: &str, _: &mut dyn FnMut(&[u8])) {}
}

/// What a header has to say: one of some values, compared whole and byte by byte.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeaderPattern {
    name: String,
    /// Sorted, without duplicates; never empty.
    values: Vec<String>,
}

impl HeaderPattern {
    /// Refuses names that are no lower-case tokens of letters, digits and `-`, those that frame the message or that the gateway sets, and
    /// values that no header can have.
    pub fn parse(name: &str, values: &[String]) -> Result<Self, InvalidPolicy> {
        let refuse = |why: String| {
            let shown: String = name.chars().take(80).collect();
            Err(InvalidPolicy::new(format!("header {shown:?}"), why))
        };
        let good = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        if !(1..=MAX_NAME_BYTES).contains(&name.len()) || !name.bytes().all(good) {
            return refuse(
                "a header is written in lower-case letters, digits and hyphens, and means those with _ too".to_owned(),
            );
        }
        if let Some((_, instead)) = ELSEWHERE.iter().find(|(other, _)| *other == name) {
            return refuse((*instead).to_owned());
        }
        if values.is_empty() {
            return refuse("it can never hold: no value is listed".to_owned());
        }
        for (index, value) in values.iter().enumerate() {
            let visible = |byte: u8| byte.is_ascii_graphic() || byte == b' ';
            if value.len() > MAX_VALUE_BYTES || !value.bytes().all(visible) {
                return refuse(format!(
                    "it can never hold: a value has up to {MAX_VALUE_BYTES} visible ASCII characters"
                ));
            }
            // RFC 9110 §5.5: spaces around a value are no part of it.
            if value.trim() != value || value.is_empty() {
                return refuse(
                    "it can never hold: a value is not empty and has no spaces at its ends"
                        .to_owned(),
                );
            }
            if value.contains('*') {
                return refuse("there are no patterns for values of headers".to_owned());
            }
            if values[..index].contains(value) {
                return refuse(format!("its value {} stands there twice", index + 1));
            }
        }
        let mut values = values.to_vec();
        values.sort_unstable();
        Ok(Self {
            name: name.to_owned(),
            values,
        })
    }

    /// Its name, in lower case.
    pub fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn values(&self) -> &[String] {
        &self.values
    }

    /// A header that is absent says nothing. Of one that stands there several times each has to fit to admit (`every`), and one is
    /// enough to refuse.
    pub(super) fn is_met_by(&self, headers: &dyn Headers, every: bool) -> bool {
        let is_wanted =
            |value: &[u8]| (self.values.iter()).any(|wanted| wanted.as_bytes() == value);
        says(headers, &self.name, every, is_wanted)
    }

    /// Whether whatever meets `other` meets this.
    pub(super) fn covers(&self, other: &Self) -> bool {
        self.name == other.name && other.values.iter().all(|value| self.values.contains(value))
    }
}

/// Whether the header `name` says something that is wanted. To admit (`every`) each of its lines has to be that, whole. To refuse one is enough,
/// or one member of a list in it: RFC 9110 §5.3 has lines of one name mean the same as one with commas.
pub(super) fn says(
    headers: &dyn Headers,
    name: &str,
    every: bool,
    is_wanted: impl Fn(&[u8]) -> bool,
) -> bool {
    let (mut some, mut other) = (false, false);
    headers.each(name, &mut |value| {
        if is_wanted(value) || (!every && members(value).any(&is_wanted)) {
            some = true;
        } else {
            other = true;
        }
    });
    some && !(every && other)
}

/// What stands between commas.
pub(super) fn members(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii)
}

impl fmt::Display for HeaderPattern {
    /// `x-env` or `x-env with one of 2 values`. Never the values: an API key is one, and what this shows goes to the log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.values.len() {
            1 => f.write_str(&self.name),
            several => write!(f, "{} with one of {several} values", self.name),
        }
    }
}

/// What stands in a field of its own, or is between two neighbours and not of the request.
const ELSEWHERE: [(&str, &str); 10] = [
    ("connection", HOP),
    (
        "cookie",
        "HTTP/2 sends it in as many pieces as it likes; have the service look at it",
    ),
    (
        "host",
        "the host is a condition of its own: host = [\"api.example.com\"]",
    ),
    ("content-length", HOP),
    ("keep-alive", HOP),
    ("te", HOP),
    ("trailer", HOP),
    ("transfer-encoding", HOP),
    ("upgrade", HOP),
    ("proxy-connection", HOP),
];
const HOP: &str = "it is between the client and the gateway, and no upstream sees it";

/// No header that a rule was ever written for comes near either.
const MAX_NAME_BYTES: usize = 64;
const MAX_VALUE_BYTES: usize = 1024;
