//! JSON whose objects name no member twice: of two values two readers take two, and one of them would have been judged.

use std::fmt;

use serde::Deserializer;
use serde::de::{DeserializeSeed, Error, MapAccess, SeqAccess, Visitor};

/// A value.
#[derive(Clone, Debug, PartialEq)]
pub enum Json {
    /// `null`.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A number without a fraction that fits.
    Integer(i64),
    /// Any other number.
    Fraction(f64),
    /// A text.
    Text(String),
    /// An array.
    List(Vec<Json>),
    /// An object: its members in their order.
    Object(Vec<(String, Json)>),
}

impl Json {
    /// Refuses what RFC 8259 does not allow, what it leaves open (a member twice), and what is deeper or wider than anything that signs.
    pub fn parse(bytes: &[u8]) -> Result<Self, InvalidJson> {
        let mut reader = serde_json::Deserializer::from_slice(bytes);
        let mut left = MAX_VALUES;
        let seed = Seed {
            depth: 0,
            left: &mut left,
        };
        let invalid = |error: serde_json::Error| InvalidJson {
            why: error.to_string(),
        };
        let value = seed.deserialize(&mut reader).map_err(invalid)?;
        reader.end().map_err(invalid)?;
        Ok(value)
    }

    /// The member of an object.
    pub fn get(&self, name: &str) -> Option<&Self> {
        match self {
            Self::Object(members) => members
                .iter()
                .find(|(known, _)| known == name)
                .map(|(_, value)| value),
            _ => None,
        }
    }

    /// A text.
    pub fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    /// About how many bytes it holds beside its own.
    pub(super) fn held_bytes(&self) -> usize {
        match self {
            Self::Null | Self::Bool(_) | Self::Integer(_) | Self::Fraction(_) => 0,
            Self::Text(text) => allocated(text.capacity()),
            Self::List(list) => {
                let own = allocated(list.capacity() * size_of::<Self>());
                own + list.iter().map(Self::held_bytes).sum::<usize>()
            }
            Self::Object(members) => {
                let own = allocated(members.capacity() * size_of::<(String, Self)>());
                let held = members.iter();
                let held = held.map(|(name, it)| allocated(name.capacity()) + it.held_bytes());
                own + held.sum::<usize>()
            }
        }
    }

    /// The value that an RFC 6901 pointer leads to, through objects alone.
    pub fn pointed(&self, pointer: &str) -> Option<&Self> {
        let mut steps = pointer.split('/');
        if steps.next() != Some("") {
            return None;
        }
        steps.try_fold(self, |value, step| {
            value.get(&step.replace("~1", "/").replace("~0", "~"))
        })
    }
}

/// No JSON, or such that two readers could read two things.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{why}")]
pub struct InvalidJson {
    why: String,
}

struct Seed<'a> {
    depth: usize,
    left: &'a mut usize,
}

impl<'de> DeserializeSeed<'de> for Seed<'_> {
    type Value = Json;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Json, D::Error> {
        if self.depth > MAX_DEPTH {
            return Err(D::Error::custom("it is too deep"));
        }
        *self.left =
            (self.left.checked_sub(1)).ok_or_else(|| D::Error::custom("it is too long"))?;
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Seed<'_> {
    type Value = Json;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value of JSON")
    }

    fn visit_unit<E: Error>(self) -> Result<Json, E> {
        Ok(Json::Null)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Json, E> {
        Ok(Json::Bool(value))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Json, E> {
        Ok(Json::Integer(value))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Json, E> {
        i64::try_from(value)
            .map(Json::Integer)
            .map_err(|_| E::custom("a number is too large"))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Json, E> {
        Ok(Json::Fraction(value))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Json, E> {
        Ok(Json::Text(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Json, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element_seed(Seed {
            depth: self.depth + 1,
            left: &mut *self.left,
        })? {
            list.push(item);
        }
        Ok(Json::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Json, A::Error> {
        let mut members: Vec<(String, Json)> = Vec::new();
        while let Some(name) = map.next_key::<String>()? {
            if members.len() >= MAX_MEMBERS {
                return Err(Error::custom("an object has too many members"));
            }
            if members.iter().any(|(known, _)| *known == name) {
                return Err(Error::custom("an object names a member twice"));
            }
            let value = map.next_value_seed(Seed {
                depth: self.depth + 1,
                left: &mut *self.left,
            })?;
            members.push((name, value));
        }
        Ok(Json::Object(members))
    }
}

/// With what an allocator needs itself, and rounds up to.
fn allocated(bytes: usize) -> usize {
    if bytes == 0 {
        return 0;
    }
    bytes.next_multiple_of(16) + 16
}

/// `resource_access` of Keycloak is three deep.
const MAX_DEPTH: usize = 8;
/// Each is compared with each before it.
const MAX_MEMBERS: usize = 128;
/// The groups of a large directory are a few hundred.
const MAX_VALUES: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_two_readers_could_read_in_two_ways_is_no_json() {
        let deep = format!("{}1{}", "[".repeat(9), "]".repeat(9));
        let long = format!("[{}1]", "1,".repeat(MAX_VALUES));
        for text in [
            r#"{"a":1,"a":2}"#,
            r#"{"a":1,"\u0061":1}"#,
            r#"{"b":{"a":1,"a":1}}"#,
            r#"{"a":1"#,
            r#"{"a":1}x"#,
            r#"{"a":1}{"a":1}"#,
            r#"{"a":01}"#,
            r#"{"a":NaN}"#,
            r#"{"a":18446744073709551615}"#,
            "{'a':1}",
            "",
            &deep,
            &long,
        ] {
            assert!(Json::parse(text.as_bytes()).is_err(), "{text:.40}");
        }
        assert!(Json::parse(b"{\"a\":\"\xff\"}").is_err());
    }

    #[test]
    fn whatever_a_token_says_takes_less_than_half_a_mebibyte() {
        let bytes = crate::token::MAX_TOKEN_BYTES / 4 * 3;
        let filled = |item: &str| {
            let items = vec![item; (bytes - 8) / (item.len() + 1)];
            format!(r#"{{"a":[{}]}}"#, items.join(","))
        };
        let nested = |depth: usize| format!("{}1{}", "[".repeat(depth), "]".repeat(depth));
        let members: Vec<String> = (0..50).map(|number| format!(r#""{number}":[1]"#)).collect();
        let members = format!("{{{}}}", members.join(","));
        let plain = [
            "1",
            "{}",
            "[]",
            r#""""#,
            r#""a""#,
            "[1]",
            r#"{"":1}"#,
            r#"{"":[1]}"#,
        ];
        let plain = plain.map(str::to_owned);
        for item in plain.into_iter().chain((2..7).map(nested)).chain([members]) {
            let text = filled(&item);
            assert!(text.len() <= bytes);
            let held = match Json::parse(text.as_bytes()) {
                Ok(json) => json.held_bytes(),
                Err(error) => panic!("{item}: {error}"),
            };
            assert!(held >= text.len() / 4 && held < 512 << 10, "{item}: {held}");
        }
    }

    #[test]
    fn pointer_leads_through_objects() {
        let json = Json::parse(br#"{"a/b":{"c":[1]},"x":"y"}"#).expect("JSON");
        assert_eq!(
            json.pointed("/a~1b/c"),
            Some(&Json::List(vec![Json::Integer(1)]))
        );
        for pointer in ["a", "/a", "/a~1b/c/0", "/x/y", "/"] {
            assert_eq!(json.pointed(pointer), None, "{pointer}");
        }
    }
}
