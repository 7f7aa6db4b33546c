//! Revocation lists: which there are, what has to be signed anew, and the last ones signed; and what an OCSP responder asks.
//!
//! A list is drafted on one consistent state by a reader of its own, so that a large one holds up nobody, and its number is
//! durable before its bytes leave the store: [`Store::publish`] alone gives them out. Numbers are the later of the last
//! plus one and the Unix time, so that an authority restored from a backup does not repeat one.
//!
//! Invariant: a list drafted after a revocation was acknowledged has it, because the draft's read transaction begins then.

mod entries;

use std::time::Duration;

use countersign_pki::certificate::Certificate;
use countersign_pki::crl::{CrlScope, CrlTemplate, CrlToBeSigned};
use countersign_pki::feed::{RevocationReason, Sequence};
use countersign_pki::name::Uri;
use countersign_pki::serial::SerialNumber;
use countersign_pki::tbs::SignatureAlgorithm;
use countersign_pki::time::UnixTime;
use countersign_policy::issuance::Actor;
use rusqlite::types::Type;
use rusqlite::{Connection, OptionalExtension, params};

use crate::audit::{self, Action, Change};
use crate::error::StoreError;
use crate::issuer::{self, IssuerId, IssuerRole};
use crate::row::{damaged, from_sequence, sequence, time, to_seconds, unsigned, word};
use crate::store::{Store, last_sequence};

use self::entries::{encode, spread_unrecorded};
pub(crate) use self::entries::{end, enter, forget, is_to_be_shown, leave};

/// A list, signed or not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RevocationList {
    /// Its row.
    pub id: ListId,
    /// Whose certificates.
    pub issuer: IssuerId,
    /// The URI in its certificates; `None`: the complete list.
    pub distribution_point: Option<Uri>,
    /// The last that was signed.
    pub signed: Option<SignedTimes>,
    /// Whether there was a revocation since.
    pub is_stale: bool,
}

/// When a list was signed, and how large it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SignedTimes {
    /// cRLNumber.
    pub number: u64,
    /// thisUpdate.
    pub this_update: UnixTime,
    /// nextUpdate.
    pub next_update: UnixTime,
    /// Of the whole list.
    pub bytes: u64,
}

/// A list's number in the inventory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ListId(pub(crate) i64);

/// A list that is to be signed.
#[derive(Debug)]
pub struct DraftedList {
    list: RevocationList,
    issuer: String,
    to_be_signed: CrlToBeSigned,
    number: u64,
    this_update: UnixTime,
    next_update: UnixTime,
    covers: Sequence,
}

impl DraftedList {
    /// What to sign.
    pub fn to_be_signed(&self) -> &CrlToBeSigned {
        &self.to_be_signed
    }

    /// The number that it will have.
    pub fn number(&self) -> u64 {
        self.number
    }
}

/// A list whose number is durable: it may be given out.
#[derive(Clone, Debug)]
pub struct PublishedList {
    /// Which, as it stands now.
    pub list: RevocationList,
    /// In DER.
    pub der: Vec<u8>,
}

/// What is known of a serial number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SerialStatus {
    /// Its certificate was handed out and is not revoked.
    Good,
    /// Revoked, whether there ever was a certificate or not.
    Revoked {
        /// Since when.
        revoked_at: UnixTime,
        /// Why.
        reason: RevocationReason,
    },
    /// No certificate has it.
    Unknown,
}

impl Store {
    /// Every list of `issuer`, the complete one first.
    pub async fn lists(&self, issuer: IssuerId) -> Result<Vec<RevocationList>, StoreError> {
        self.drafts
            .read(move |sql| {
                let mut statement = sql.prepare_cached(&format!(
                    "SELECT {LIST} FROM crl WHERE issuer_id = ?1 ORDER BY uri"
                ))?;
                let lists = statement.query_map([issuer.0], list)?;
                lists.collect()
            })
            .await
    }

    /// The last list that was signed; `None`: never.
    pub async fn published(&self, id: ListId) -> Result<Option<PublishedList>, StoreError> {
        self.drafts
            .read(move |sql| {
                sql.prepare_cached(&format!(
                    "SELECT {LIST}, der FROM crl JOIN crl_signed ON crl_id = id WHERE id = ?1"
                ))?
                .query_row([id.0], |row| {
                    Ok(PublishedList {
                        list: list(row)?,
                        der: row.get(LIST_COLUMNS)?,
                    })
                })
                .optional()
            })
            .await
    }

    /// Encodes a list on the state of this moment. `lifetime`: until nextUpdate, cut to the issuer's end.
    ///
    /// A certificate that has ended leaves the list only after one list signed past its end has shown it (RFC 5280 §3.3), and
    /// [`KEPT_AFTER_END`] later, for clocks that are behind.
    pub async fn draft(
        &self,
        id: ListId,
        issuer: Certificate,
        algorithm: SignatureAlgorithm,
        lifetime: Duration,
        now: UnixTime,
    ) -> Result<DraftedList, StoreError> {
        let drafted = self
            .drafts
            .read(move |sql| {
                let list = sql
                    .prepare_cached(&format!("SELECT {LIST} FROM crl WHERE id = ?1"))?
                    .query_row([id.0], list)?;
                let before = list.signed;
                let number = before.map_or(0, |last| last.number + 1).max(now.seconds());
                let template = CrlTemplate {
                    this_update: now,
                    next_update: now.plus(lifetime).min(issuer.not_after()),
                    number,
                    scope: CrlScope {
                        distribution_point: list.distribution_point.clone(),
                        ..CrlScope::default()
                    },
                };
                let shown_until = before.map_or(UnixTime::from_seconds(0), |last| {
                    last.this_update.min(now).minus(KEPT_AFTER_END)
                });
                let to_be_signed = encode(sql, &list, &template, &issuer, algorithm, shown_until)?;
                let covers = last_sequence(sql)?;
                Ok(to_be_signed.map(|to_be_signed| DraftedList {
                    list,
                    issuer: issuer.subject().to_string(),
                    to_be_signed,
                    number,
                    this_update: now,
                    next_update: template.next_update,
                    covers,
                }))
            })
            .await?;
        drafted.map_err(|fault| StoreError::NotAList { fault })
    }

    /// Makes the list's number durable, with the list. Refused for a draft that is older than the last one published.
    pub async fn publish(
        &self,
        drafted: DraftedList,
        signature: &[u8],
        actor: Actor,
        now: UnixTime,
    ) -> Result<PublishedList, StoreError> {
        let DraftedList {
            mut list,
            issuer,
            to_be_signed,
            number,
            this_update,
            next_update,
            covers,
        } = drafted;
        let der = to_be_signed.complete(signature);
        let signed = SignedTimes {
            number,
            this_update,
            next_update,
            bytes: der.len() as u64,
        };
        self.change(actor.clone(), now, move |writing| {
            let write = || {
                let last: u64 = writing
                    .sql
                    .prepare_cached("SELECT number FROM crl WHERE id = ?1")?
                    .query_row([list.id.0], |row| unsigned(row, 0))?;
                if last >= number {
                    return Ok(Err(last));
                }
                record_signed(writing.sql, list.id, &signed, covers, &der)?;
                let object = list
                    .distribution_point
                    .as_ref()
                    .map_or(&*issuer, Uri::as_str);
                let change = Change {
                    before: last.to_string(),
                    after: number.to_string(),
                };
                audit::record(
                    writing.sql,
                    now,
                    &actor,
                    Action::PublishCrl,
                    object,
                    "",
                    Some(&change),
                )?;
                let is_stale = writing
                    .sql
                    .prepare_cached("SELECT changed_at > covers FROM crl WHERE id = ?1")?
                    .query_row([list.id.0], |row| row.get(0))?;
                Ok(Ok(is_stale))
            };
            list.is_stale = write()
                .map_err(|error| writing.fault(&error))?
                .map_err(|last| StoreError::OldDraft { number, last })?;
            list.signed = Some(signed);
            Ok(PublishedList { list, der })
        })
        .await
    }

    /// What is known of certificates of `issuer`, in order.
    pub async fn statuses(
        &self,
        issuer: IssuerId,
        serials: Vec<SerialNumber>,
    ) -> Result<Vec<SerialStatus>, StoreError> {
        self.asked
            .read(move |sql| {
                let statuses = serials.iter().map(|serial| status(sql, issuer, *serial));
                statuses.collect()
            })
            .await
    }

    /// Where certificates were told to look when the store was opened; `None`: nowhere.
    pub fn publication_url(&self) -> Option<&str> {
        self.publication_url.as_deref()
    }

    /// Records where certificates issued from now on are told to look, and begins the lists of the shards of `issuer` there.
    pub async fn publish_at(
        &self,
        url: Option<String>,
        issuer: IssuerId,
        shards: Vec<Uri>,
        actor: Actor,
        now: UnixTime,
    ) -> Result<(), StoreError> {
        self.change(actor.clone(), now, move |writing| {
            let write = || {
                let mut is_new = false;
                for uri in &shards {
                    is_new |= begin(writing.sql, issuer.0, uri.as_str())?;
                }
                if is_new {
                    spread_unrecorded(writing.sql, issuer.0)?;
                }
                record_url(writing.sql, url.as_deref(), &actor, now)
            };
            write().map_err(|error| writing.fault(&error))
        })
        .await
    }
}

pub(crate) fn publication_url(sql: &Connection) -> rusqlite::Result<Option<String>> {
    sql.prepare_cached("SELECT value FROM meta WHERE key = ?1")?
        .query_row([PUBLICATION_URL], |row| row.get(0))
        .optional()
}

fn record_url(
    sql: &Connection,
    url: Option<&str>,
    actor: &Actor,
    now: UnixTime,
) -> rusqlite::Result<()> {
    let before = publication_url(sql)?;
    if before.as_deref() == url {
        return Ok(());
    }
    match url {
        Some(url) => sql
            .prepare_cached("INSERT INTO meta (key, value) VALUES (?1, ?2) ON CONFLICT (key) DO UPDATE SET value = excluded.value")?
            .execute(params![PUBLICATION_URL, url])?,
        None => sql
            .prepare_cached("DELETE FROM meta WHERE key = ?1")?
            .execute([PUBLICATION_URL])?,
    };
    let change = Change {
        before: before.unwrap_or_else(|| NOWHERE.to_owned()),
        after: url.unwrap_or(NOWHERE).to_owned(),
    };
    audit::record(
        sql,
        now,
        actor,
        Action::PublishAt,
        &change.after,
        "configured",
        Some(&change),
    )
}

/// The shard that a certificate carries, if it carries one. The URI may be anybody's, for a profile may name its own.
pub(crate) fn shard_of(
    sql: &Connection,
    issuer: IssuerId,
    certificate: &Certificate,
) -> rusqlite::Result<Option<i64>> {
    let uris = certificate.crl_uris();
    let Some(uri) = uris.first() else {
        return Ok(None);
    };
    sql.prepare_cached("SELECT id FROM crl WHERE issuer_id = ?1 AND uri = ?2 AND uri <> ?3")?
        .query_row(params![issuer.0, uri, COMPLETE], |row| row.get(0))
        .optional()
}

/// Of a restored inventory: each list that the backup has may be older than the last that was given out, and lack what was
/// revoked since. None is given out again; each is signed anew, above its number, once the authority may. Those of the CAs above stay, for their keys may
/// be far away, but nobody can say that they are the latest: that is asked for until one is given.
pub(crate) fn withdraw_lists(sql: &Connection, at: Sequence) -> rusqlite::Result<()> {
    let own =
        "SELECT l.id FROM crl l JOIN issuer s ON s.id = l.issuer_id WHERE s.role NOT IN (?1, ?2)";
    let above = [IssuerRole::Root.to_string(), issuer::SUPERIOR.to_owned()];
    sql.prepare_cached(&format!("DELETE FROM crl_signed WHERE crl_id IN ({own})"))?
        .execute(params![above[0], above[1]])?;
    sql.prepare_cached("UPDATE crl SET changed_at = ?1")?
        .execute([from_sequence(at)])
        .map(drop)
}

/// A list of an issuer, if there is none of that URI yet, which is said; [`COMPLETE`]: that of every certificate.
pub(crate) fn begin(sql: &Connection, issuer_id: i64, uri: &str) -> rusqlite::Result<bool> {
    let begun = sql
        .prepare_cached("INSERT INTO crl (issuer_id, uri) VALUES (?1, ?2) ON CONFLICT DO NOTHING")?
        .execute(params![issuer_id, uri])?;
    Ok(begun > 0)
}

/// The list of every certificate of an issuer.
pub(crate) fn complete(sql: &Connection, issuer: IssuerId) -> rusqlite::Result<RevocationList> {
    sql.prepare_cached(&format!(
        "SELECT {LIST} FROM crl WHERE issuer_id = ?1 AND uri = ?2"
    ))?
    .query_row(params![issuer.0, COMPLETE], list)
}

/// `covers`: the last message of the feed that the list knows of.
pub(crate) fn record_signed(
    sql: &Connection,
    id: ListId,
    signed: &SignedTimes,
    covers: Sequence,
    der: &[u8],
) -> rusqlite::Result<()> {
    sql.prepare_cached(
        "UPDATE crl SET number = ?2, this_update = ?3, next_update = ?4, bytes = ?5, covers = ?6 WHERE id = ?1",
    )?
    .execute(params![
        id.0,
        to_integer(signed.number),
        to_seconds(signed.this_update),
        to_seconds(signed.next_update),
        to_integer(signed.bytes),
        from_sequence(covers),
    ])?;
    sql.prepare_cached(
        "INSERT INTO crl_signed (crl_id, der) VALUES (?1, ?2) ON CONFLICT (crl_id) DO UPDATE SET der = excluded.der",
    )?
    .execute(params![id.0, der])
    .map(drop)
}

/// That it knows of what was told up to there, too.
pub(crate) fn cover(sql: &Connection, id: ListId, covers: Sequence) -> rusqlite::Result<()> {
    sql.prepare_cached("UPDATE crl SET covers = ?2 WHERE id = ?1")?
        .execute(params![id.0, from_sequence(covers)])
        .map(drop)
}

fn status(
    sql: &Connection,
    issuer: IssuerId,
    serial: SerialNumber,
) -> rusqlite::Result<SerialStatus> {
    let key = params![serial.magnitude(), issuer.0];
    let revoked = sql
        .prepare_cached(
            "SELECT revoked_at, reason FROM revocation WHERE serial = ?1 AND issuer_id = ?2",
        )?
        .query_row(key, |row| {
            Ok(SerialStatus::Revoked {
                revoked_at: time(row, 0)?,
                reason: word(row, 1)?,
            })
        })
        .optional()?;
    if let Some(revoked) = revoked {
        return Ok(revoked);
    }
    // An intent alone may have been signed, but was never handed out.
    let has_certificate: bool = sql
        .prepare_cached(
            "SELECT EXISTS (SELECT 1 FROM entry WHERE serial = ?1 AND issuer_id = ?2 AND fingerprint IS NOT NULL)",
        )?
        .query_row(key, |row| row.get(0))?;
    Ok(if has_certificate {
        SerialStatus::Good
    } else {
        SerialStatus::Unknown
    })
}

/// A row of [`LIST`].
fn list(row: &rusqlite::Row<'_>) -> rusqlite::Result<RevocationList> {
    let uri: String = row.get(2)?;
    let distribution_point = match &*uri {
        "" => None,
        uri => Some(Uri::parse(uri).map_err(|error| damaged(2, Type::Text, error))?),
    };
    let number = unsigned(row, 3)?;
    let signed = SignedTimes {
        number,
        this_update: time(row, 4)?,
        next_update: time(row, 5)?,
        bytes: unsigned(row, 6)?,
    };
    Ok(RevocationList {
        id: ListId(row.get(0)?),
        issuer: IssuerId(row.get(1)?),
        distribution_point,
        signed: (number > 0).then_some(signed),
        is_stale: sequence(row, 7)? > sequence(row, 8)?,
    })
}

fn to_integer(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

const LIST: &str =
    "id, issuer_id, uri, number, this_update, next_update, bytes, changed_at, covers";
const LIST_COLUMNS: usize = 9;

const PUBLICATION_URL: &str = "publication-url";
const NOWHERE: &str = "nowhere";

/// In place of a URI.
pub(crate) const COMPLETE: &str = "";

/// A verifier whose clock is further behind trusts ended certificates anyway.
pub const KEPT_AFTER_END: Duration = Duration::from_hours(24);
