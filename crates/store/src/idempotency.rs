//! Requests that are made again: one key of a caller stands for one certificate, also after a crash.
//!
//! A key is claimed in the transaction of the intent, so that there is no instant at which a certificate can come of a
//! request and its key is not known. A claim whose intent became no certificate is void, because nothing was handed out:
//! the next request with it makes a new intent. Whether one is still on its way is for whoever runs the pipeline.

use std::fmt;
use std::time::Duration;

use countersign_pki::certificate::Certificate;
use countersign_pki::time::UnixTime;
use countersign_policy::issuance::{Actor, Profile};
use rusqlite::types::Type;
use rusqlite::{Connection, OptionalExtension, params};

use crate::error::StoreError;
use crate::inventory::EntryId;
use crate::row::{damaged, time, to_json, to_seconds, word};
use crate::store::Store;

/// What a caller calls a request, so that it can make it again (draft-ietf-httpapi-idempotency-key-header).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IdempotencyKey(String);

impl IdempotencyKey {
    /// 1 to 128 visible ASCII characters, in double quotes as the draft has it, or without.
    pub fn parse(text: &str) -> Result<Self, InvalidKey> {
        let bare = text
            .strip_prefix('"')
            .and_then(|text| text.strip_suffix('"'))
            .unwrap_or(text);
        let is_good = (1..=MAX_KEY).contains(&bare.len())
            && bare
                .bytes()
                .all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\\'));
        if is_good {
            Ok(Self(bare.to_owned()))
        } else {
            Err(InvalidKey)
        }
    }

    /// Of 16 random bytes.
    pub fn from_random(random: [u8; 16]) -> Self {
        Self(format!("{:032x}", u128::from_be_bytes(random)))
    }

    /// Without quotes.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for IdempotencyKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The text is no key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a key has 1 to {MAX_KEY} visible ASCII characters, neither quotes nor backslashes")]
pub struct InvalidKey;

/// A key, and what was asked for under it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// The caller's.
    pub key: IdempotencyKey,
    /// Over everything that decides what is issued.
    pub digest: [u8; 32],
}

/// What a key stands for.
#[derive(Debug)]
pub enum Claimed {
    /// Nothing, or nothing that was handed out.
    Free,
    /// A certificate.
    Issued(Box<Earlier>),
    /// Another request.
    OtherRequest,
}

/// What was issued under a key.
#[derive(Clone, Debug)]
pub struct Earlier {
    /// Itself.
    pub certificate: Certificate,
    /// Which profile.
    pub profile: Profile,
    /// Who signed it.
    pub issuer: Certificate,
}

impl Store {
    /// What the key of `claim` stands for, among those of this caller.
    pub async fn claimed(
        &self,
        actor: Actor,
        claim: Claim,
        now: UnixTime,
    ) -> Result<Claimed, StoreError> {
        self.reader
            .read(move |sql| claimed(sql, &actor, &claim, now))
            .await
    }
}

/// Whose key it is. A holder or an operator who is given another role, or another certificate, between two attempts is the same caller.
fn caller(actor: &Actor) -> rusqlite::Result<String> {
    match actor {
        Actor::Operator { identity, .. } => Ok(format!("operator {}", to_json(identity)?)),
        Actor::Holder {
            identity, profile, ..
        } => to_json(&Actor::Holder {
            identity: identity.clone(),
            profile: profile.clone(),
            certificate: None,
        }),
        Actor::Authority | Actor::LocalAdmin { .. } => to_json(actor),
    }
}

fn claimed(
    sql: &Connection,
    actor: &Actor,
    claim: &Claim,
    now: UnixTime,
) -> rusqlite::Result<Claimed> {
    let found = sql
        .prepare_cached(
            "SELECT digest, claimed_at, entry_id FROM idempotency_key WHERE actor = ?1 AND key = ?2",
        )?
        .query_row(params![caller(actor)?, claim.key.as_str()], |row| {
            Ok((row.get::<_, [u8; 32]>(0)?, time(row, 1)?, row.get(2)?))
        })
        .optional()?;
    let Some((digest, claimed_at, entry)) = found else {
        return Ok(Claimed::Free);
    };
    if claimed_at < now.minus(LIFE) {
        return Ok(Claimed::Free);
    }
    let earlier = earlier(sql, entry)?;
    Ok(match earlier {
        // Also where nothing came of it: a key that is used again by mistake is better named than obeyed.
        _ if digest != claim.digest => Claimed::OtherRequest,
        Some(earlier) => Claimed::Issued(Box::new(earlier)),
        None => Claimed::Free,
    })
}

fn earlier(sql: &Connection, entry: i64) -> rusqlite::Result<Option<Earlier>> {
    sql.prepare_cached(
        "SELECT c.der, e.profile, s.der
         FROM entry e JOIN certificate c ON c.id = e.id JOIN issuer s ON s.id = e.issuer_id WHERE e.id = ?1",
    )?
    .query_row([entry], |row| {
        let parsed = |column: usize| {
            let der: Vec<u8> = row.get(column)?;
            Certificate::parse(&der).map_err(|error| damaged(column, Type::Blob, error))
        };
        Ok(Earlier {
            certificate: parsed(0)?,
            profile: word(row, 1)?,
            issuer: parsed(2)?,
        })
    })
    .optional()
}

/// In the transaction of the intent. Makes room too: a few of the oldest that are past their life, and whatever is older
/// than the newest [`MAX_KEYS`].
pub(crate) fn claim(
    sql: &Connection,
    actor: &Actor,
    claim: &Claim,
    entry: EntryId,
    now: UnixTime,
) -> rusqlite::Result<()> {
    let newest = sql
        .prepare_cached(
            "INSERT OR REPLACE INTO idempotency_key (actor, key, digest, entry_id, claimed_at) VALUES (?1, ?2, ?3, ?4, ?5)",
        )?
        .insert(params![
            caller(actor)?,
            claim.key.as_str(),
            claim.digest,
            entry.number(),
            to_seconds(now)
        ])?;
    sql.prepare_cached(
        "DELETE FROM idempotency_key
         WHERE id IN (SELECT id FROM idempotency_key ORDER BY id LIMIT ?1) AND (claimed_at < ?2 OR id <= ?3)",
    )?
    .execute(params![AT_ONCE, to_seconds(now.minus(LIFE)), newest - MAX_KEYS])
    .map(drop)
}

/// How long a key stands for what was issued under it: longer than any client goes on trying.
pub const LIFE: Duration = Duration::from_hours(24);

/// A UUID has 36 characters; some clients put a few words before it.
const MAX_KEY: usize = 128;

/// 300 MB; a day of 11 certificates a second.
pub const MAX_KEYS: i64 = 1_000_000;

/// More than one, so that the number of keys falls to what it may be.
const AT_ONCE: i64 = 8;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_read_with_quotes_and_without() {
        for (text, key) in [
            (
                "8e03978e-40d5-43dd-bc93-6894a57f9324",
                Some("8e03978e-40d5-43dd-bc93-6894a57f9324"),
            ),
            ("\"a:b/c\"", Some("a:b/c")),
            ("", None),
            ("\"\"", None),
            ("\"", None),
            ("a b", None),
            ("a\"b", None),
            ("a\\b", None),
            ("ä", None),
            ("a\n", None),
        ] {
            let parsed = IdempotencyKey::parse(text).ok();
            assert_eq!(parsed.as_ref().map(IdempotencyKey::as_str), key, "{text:?}");
        }
        assert!(IdempotencyKey::parse(&"a".repeat(MAX_KEY)).is_ok());
        assert!(IdempotencyKey::parse(&"a".repeat(MAX_KEY + 1)).is_err());
    }
}
