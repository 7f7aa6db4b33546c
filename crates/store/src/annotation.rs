//! What people say of an identity: whom to ask, labels, a note. It decides nothing.

use std::collections::BTreeSet;
use std::fmt;

use countersign_pki::name::TypedName;
use countersign_pki::time::UnixTime;
use countersign_policy::issuance::Actor;
use rusqlite::{Connection, OptionalExtension, params};

use crate::audit::{self, Action, Change};
use crate::error::StoreError;
use crate::inventory::{self, Annotation, MAX_PAGE, Selector, record};
use crate::store::Store;

/// Whom to ask: 1 to 128 bytes without control characters or spaces at its ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner(String);

/// What a label is about: 1 to 63 ASCII letters, digits, `.`, `_`, `-` and `/`, a letter or digit first.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct LabelKey(String);

/// What a label says: at most 256 bytes without control characters or spaces at its ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LabelValue(String);

/// Anything else: 1 to 2048 bytes without control characters or spaces at its ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note(String);

/// What is to be said of an identity from now on; what is `None` or left out stays.
#[derive(Clone, Debug, Default)]
pub struct Annotate {
    /// Another owner, or none any more.
    pub owner: Option<Option<Owner>>,
    /// Labels to set.
    pub set: Vec<(LabelKey, LabelValue)>,
    /// Labels to take away.
    pub remove: Vec<LabelKey>,
    /// Another note, or none any more.
    pub note: Option<Option<Note>>,
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Annotated {
    /// Several identities are meant; some of them. Nothing has changed.
    Ambiguous(Vec<TypedName>),
    /// As it is said now.
    Done(TypedName, Annotation),
    /// The inventory has no certificate of what is meant.
    NotFound,
    /// There would be so many, more than [`MAX_LABELS`]. Nothing has changed.
    TooManyLabels(usize),
}

impl Store {
    /// Changes what is said of the one identity that is meant, in one transaction with its audit record.
    pub async fn annotate(
        &self,
        selector: Selector,
        change: Annotate,
        actor: Actor,
        now: UnixTime,
    ) -> Result<Annotated, StoreError> {
        self.change(actor.clone(), now, move |writing| {
            annotate(writing.sql, &selector, &change, &actor, now)
                .map_err(|error| writing.fault(&error))
        })
        .await
    }
}

fn annotate(
    sql: &Connection,
    selector: &Selector,
    change: &Annotate,
    actor: &Actor,
    now: UnixTime,
) -> rusqlite::Result<Annotated> {
    let mut meant = identities(sql, selector)?;
    let Some((id, name)) = meant.pop() else {
        return Ok(Annotated::NotFound);
    };
    if !meant.is_empty() {
        meant.push((id, name));
        let names = meant.into_iter().map(|(_, name)| name);
        return Ok(Annotated::Ambiguous(names.take(EXAMPLES).collect()));
    }
    let before = read(sql, id)?;
    let mut after = before.clone();
    if let Some(owner) = &change.owner {
        after.owner = owner.as_ref().map(ToString::to_string);
    }
    if let Some(note) = &change.note {
        after.note = note.as_ref().map(ToString::to_string);
    }
    for key in &change.remove {
        after.labels.remove(key.as_str());
    }
    let set = change.set.iter();
    after
        .labels
        .extend(set.map(|(key, value)| (key.to_string(), value.to_string())));
    if after.labels.len() > MAX_LABELS {
        return Ok(Annotated::TooManyLabels(after.labels.len()));
    }
    if let Some(change) = difference(&before, &after) {
        write(sql, id, &after)?;
        audit::record(
            sql,
            now,
            actor,
            Action::Annotate,
            &name.to_string(),
            "asked for",
            Some(&change),
        )?;
    }
    Ok(Annotated::Done(name, after))
}

/// Says whose an identity is, new or not. In the transaction of the change that it is part of.
pub(crate) fn change_owner(
    sql: &Connection,
    name: &TypedName,
    owner: &Owner,
    actor: &Actor,
    reason: &str,
    now: UnixTime,
) -> rusqlite::Result<()> {
    let id = record::identity(sql, name)?;
    let before = read(sql, id)?;
    let after = Annotation {
        owner: Some(owner.to_string()),
        ..before.clone()
    };
    let Some(change) = difference(&before, &after) else {
        return Ok(());
    };
    write(sql, id, &after)?;
    let (action, object) = (Action::Annotate, name.to_string());
    audit::record(sql, now, actor, action, &object, reason, Some(&change))
}

/// By name, the identity of that name; else whatever the certificates that are meant are shown by.
fn identities(sql: &Connection, selector: &Selector) -> rusqlite::Result<Vec<(i64, TypedName)>> {
    let mut find = sql.prepare_cached("SELECT id FROM identity WHERE kind = ?1 AND value = ?2")?;
    let mut number = |name: &TypedName| {
        find.query_row(params![name.kind().prefix(), name.bare()], |row| row.get(0))
            .optional()
    };
    let mut found: Vec<(i64, TypedName)> = Vec::new();
    if let Selector::Names(names) = selector {
        for name in names {
            if let Some(id) = number(name)? {
                found.push((id, name.clone()));
            }
        }
    }
    if found.is_empty() {
        for entry in inventory::find(sql, selector, i64::from(MAX_PAGE))? {
            let name = entry
                .principal()
                .cloned()
                .unwrap_or(TypedName::Spki(entry.spki));
            if let Some(id) = number(&name)? {
                found.push((id, name));
            }
        }
    }
    found.sort_by_key(|(id, _)| *id);
    found.dedup_by_key(|(id, _)| *id);
    Ok(found)
}

fn read(sql: &Connection, id: i64) -> rusqlite::Result<Annotation> {
    let (owner, note) = sql
        .prepare_cached("SELECT owner, note FROM identity WHERE id = ?1")?
        .query_row([id], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let mut labels = sql.prepare_cached("SELECT key, value FROM label WHERE identity_id = ?1")?;
    let labels = labels.query_map([id], |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok(Annotation {
        owner,
        labels: labels.collect::<rusqlite::Result<_>>()?,
        note,
    })
}

fn write(sql: &Connection, id: i64, annotation: &Annotation) -> rusqlite::Result<()> {
    sql.prepare_cached("UPDATE identity SET owner = ?2, note = ?3 WHERE id = ?1")?
        .execute(params![id, annotation.owner, annotation.note])?;
    sql.prepare_cached("DELETE FROM label WHERE identity_id = ?1")?
        .execute([id])?;
    let mut insert =
        sql.prepare_cached("INSERT INTO label (identity_id, key, value) VALUES (?1, ?2, ?3)")?;
    for (key, value) in &annotation.labels {
        insert.execute(params![id, key, value])?;
    }
    Ok(())
}

/// For the audit record: what differs, as it was said and as it is said now. Texts are quoted, so that no label reads as two.
fn difference(before: &Annotation, after: &Annotation) -> Option<Change> {
    let mut differs: Vec<[String; 2]> = Vec::new();
    let mut compare = |what: &str, joint: &str, before: Option<&String>, after: Option<&String>| {
        if before != after {
            differs.push([before, after].map(|text| match text {
                Some(text) => format!("{what}{joint}{text:?}"),
                None => format!("no {what}"),
            }));
        }
    };
    compare("owner", " ", before.owner.as_ref(), after.owner.as_ref());
    let keys: BTreeSet<&String> = before.labels.keys().chain(after.labels.keys()).collect();
    for key in keys {
        let (old, new) = (before.labels.get(key), after.labels.get(key));
        compare(&format!("label {key}"), "=", old, new);
    }
    compare("note", " ", before.note.as_ref(), after.note.as_ref());
    let said = |side: usize| {
        let all: Vec<&str> = differs.iter().map(|both| both[side].as_str()).collect();
        all.join("; ")
    };
    (!differs.is_empty()).then(|| Change {
        before: said(0),
        after: said(1),
    })
}

/// Why a text is not what is said of an identity.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidAnnotation {
    /// See [`LabelKey`].
    #[error(
        "a label's key has 1 to 63 ASCII letters, digits, '.', '_', '-' and '/', a letter or digit first"
    )]
    Key,
    /// See [`Note`].
    #[error("a note has 1 to {MAX_NOTE} bytes, no control characters and no spaces at its ends")]
    Note,
    /// See [`Owner`].
    #[error("an owner has 1 to {MAX_OWNER} bytes, no control characters and no spaces at its ends")]
    Owner,
    /// See [`LabelValue`].
    #[error(
        "a label's value has at most {MAX_VALUE} bytes, no control characters and no spaces at its ends"
    )]
    Value,
}

impl Owner {
    /// See the type.
    pub fn parse(text: &str) -> Result<Self, InvalidAnnotation> {
        let good = !text.is_empty() && is_plain(text, MAX_OWNER);
        good.then(|| Self(text.to_owned()))
            .ok_or(InvalidAnnotation::Owner)
    }
}

impl LabelKey {
    /// See the type.
    pub fn parse(text: &str) -> Result<Self, InvalidAnnotation> {
        let good = text.len() <= MAX_KEY
            && text.starts_with(|c: char| c.is_ascii_alphanumeric())
            && text
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"._-/".contains(&byte));
        good.then(|| Self(text.to_owned()))
            .ok_or(InvalidAnnotation::Key)
    }
}

impl LabelValue {
    /// See the type.
    pub fn parse(text: &str) -> Result<Self, InvalidAnnotation> {
        let good = is_plain(text, MAX_VALUE);
        good.then(|| Self(text.to_owned()))
            .ok_or(InvalidAnnotation::Value)
    }
}

impl Note {
    /// See the type.
    pub fn parse(text: &str) -> Result<Self, InvalidAnnotation> {
        let good = !text.is_empty() && is_plain(text, MAX_NOTE);
        good.then(|| Self(text.to_owned()))
            .ok_or(InvalidAnnotation::Note)
    }
}

macro_rules! shown_as_written {
    ($($name:ty),*) => {$(
        impl $name {
            /// As it was written.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    )*};
}
shown_as_written!(Owner, LabelKey, LabelValue, Note);

fn is_plain(text: &str, limit: usize) -> bool {
    text.len() <= limit && text.trim() == text && !text.chars().any(char::is_control)
}

/// Labels of one identity: a row of a list stays a row.
pub const MAX_LABELS: usize = 32;

/// A team's address, or a link to one.
const MAX_OWNER: usize = 128;
/// As Kubernetes has it, so that its labels fit.
const MAX_KEY: usize = 63;
const MAX_VALUE: usize = 256;
/// A page of a thousand rows with such notes has 2 MiB.
const MAX_NOTE: usize = 2048;

/// Enough to see what is meant.
const EXAMPLES: usize = 5;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_not_fit_a_line_is_refused() {
        for text in [
            "",
            " a",
            "a ",
            "a\nb",
            "a\u{1b}[31m",
            "\0",
            &"x".repeat(129),
        ] {
            assert_eq!(
                Owner::parse(text),
                Err(InvalidAnnotation::Owner),
                "{text:?}"
            );
        }
        assert!(Owner::parse("payments@example.com").is_ok());
        for text in ["", "-a", ".a", "a b", "a=b", "ä", "a\n", &"x".repeat(64)] {
            assert_eq!(
                LabelKey::parse(text),
                Err(InvalidAnnotation::Key),
                "{text:?}"
            );
        }
        assert!(LabelKey::parse("example.com/env").is_ok());
        for text in ["a\tb", "\u{9b}m", " ", &"x".repeat(257)] {
            assert_eq!(
                LabelValue::parse(text),
                Err(InvalidAnnotation::Value),
                "{text:?}"
            );
        }
        assert!(LabelValue::parse("").is_ok() && LabelValue::parse("ä = b").is_ok());
        for text in ["", "a\r\nb", &"x".repeat(2049)] {
            assert_eq!(Note::parse(text), Err(InvalidAnnotation::Note), "{text:?}");
        }
        assert!(Note::parse("ask before the end of the quarter").is_ok());
    }
}
