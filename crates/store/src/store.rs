//! The store as a whole: one file, one writer, and readers that do not wait for each other.

use std::path::Path;
use std::sync::Arc;

use countersign_pki::certificate::Certificate;
use countersign_pki::feed::{HistoryId, Sequence};
use countersign_pki::time::UnixTime;
use countersign_policy::issuance::Actor;
use rusqlite::{Connection, OptionalExtension, params};

use crate::adoption::{self, Brought};
use crate::audit::chain::{self, End};
use crate::audit::{self, Action};
use crate::error::StoreError;
use crate::issuer::{self, Issuer, IssuerRole, Superior};
use crate::publication;
use crate::reader::Reader;
use crate::revocation::UnderWay;
use crate::row::sequence;
use crate::schema::{self, Cache};
use crate::standing::Standing;
use crate::writer::Writer;

pub use crate::writer::Publish;

/// The inventory. Dropping it writes what is queued and closes the file.
pub struct Store {
    // Closed first, so that the writer is the last to leave and folds the write-ahead log into the file.
    pub(crate) reader: Reader,
    /// For pages of the inventory and what goes through all of it, so that nobody who asks for one thing waits behind them.
    pub(crate) lists: Reader,
    /// For revocation lists, which may be large, so that nobody waits for one.
    pub(crate) drafts: Reader,
    /// For what the public asks, so that it keeps no operator waiting.
    pub(crate) asked: Reader,
    pub(crate) writer: Writer,
    pub(crate) standing: Arc<Standing>,
    pub(crate) history: HistoryId,
    opened_at: Sequence,
    pub(crate) under_way: UnderWay,
    pub(crate) publication_url: Option<String>,
    issuers: Vec<Issuer>,
    superiors: Vec<Superior>,
}

/// What an inventory begins with.
#[derive(Clone, Debug)]
pub struct Founding {
    /// The feed's history.
    pub history: HistoryId,
    /// Its first message comes after this.
    pub base: Sequence,
    /// The authority's issuers.
    pub issuers: Vec<(IssuerRole, Certificate)>,
    /// CAs above them that are not the authority's.
    pub superiors: Vec<Certificate>,
    /// What was issued and revoked before.
    pub brought: Brought,
    /// For the audit log.
    pub reason: String,
    /// Who founds.
    pub actor: Actor,
    /// When.
    pub now: UnixTime,
}

impl Store {
    /// Makes a new inventory with its issuers: a new history of the feed, whose first message follows `founding.base`.
    /// Durable on return, and closed.
    pub fn create(path: &Path, founding: &Founding) -> Result<(), StoreError> {
        let mut connection = schema::create(path)?;
        let sql = |error: rusqlite::Error| StoreError::from_sql(path, &error);
        let transaction = connection.transaction().map_err(sql)?;
        let end = End::of_all(&transaction, path)?;
        found(&transaction, founding).map_err(sql)?;
        end.extend(&transaction, path)?;
        transaction.commit().map_err(sql)?;
        // Closing moves everything into the one file, so that it can be renamed.
        connection
            .close()
            .map_err(|(_, error)| StoreError::from_sql(path, &error))
    }

    /// Opens an inventory that exists; a missing one is never made anew. `publish` hears every feed message once it is
    /// durable, in order, on the writer's thread.
    pub fn open(path: &Path, publish: Publish) -> Result<Self, StoreError> {
        let connection = schema::open_writer(path)?;
        chain::refuse_broken_end(&connection, path)?;
        let sql = |error: rusqlite::Error| StoreError::from_sql(path, &error);
        let history = required_meta(&connection, HISTORY, path)?;
        let issuers = issuer::load(&connection).map_err(sql)?;
        let superiors = issuer::load_superiors(&connection).map_err(sql)?;
        let opened_at = last_sequence(&connection).map_err(sql)?;
        let publication_url = publication::publication_url(&connection).map_err(sql)?;
        let read = |cache: Cache| Reader::start(schema::open_reader(path, cache)?, path);
        let (reader, lists) = (read(Cache::OfRows)?, read(Cache::OfLists)?);
        let (drafts, asked) = (read(Cache::OfRows)?, read(Cache::OfRows)?);
        let writer = Writer::start(connection, path, publish)?;
        Ok(Self {
            reader,
            lists,
            drafts,
            asked,
            writer,
            standing: Arc::default(),
            history: HistoryId(history),
            opened_at,
            under_way: UnderWay::default(),
            publication_url,
            issuers,
            superiors,
        })
    }

    /// The issuers as they were when the store was opened.
    pub fn issuers(&self) -> &[Issuer] {
        &self.issuers
    }

    /// The CAs above them that are not the authority's.
    pub fn superiors(&self) -> &[Superior] {
        &self.superiors
    }

    /// The feed's history.
    pub fn history(&self) -> &HistoryId {
        &self.history
    }

    /// The last message of the feed when the store was opened.
    pub fn opened_at(&self) -> Sequence {
        self.opened_at
    }

    /// The last message of the feed.
    pub async fn sequence(&self) -> Result<Sequence, StoreError> {
        self.reader.read(last_sequence).await
    }
}

fn found(sql: &Connection, founding: &Founding) -> rusqlite::Result<()> {
    let mut insert = sql.prepare("INSERT INTO meta (key, value) VALUES (?1, ?2)")?;
    insert.execute(params![HISTORY, founding.history.0])?;
    insert.execute(params![SEQUENCE_BASE, founding.base.0.to_string()])?;
    insert.execute(params![WITNESSED_AT, founding.now.seconds().to_string()])?;
    let ours = founding.issuers.iter();
    let ours = ours.map(|(role, certificate)| (role.to_string(), certificate));
    let above = founding.superiors.iter();
    let above = above.map(|certificate| (issuer::SUPERIOR.to_owned(), certificate));
    let mut issuers = Vec::new();
    for (role, certificate) in ours.chain(above) {
        let id = issuer::insert(sql, &role, certificate, founding.now)?;
        let object = certificate.subject().to_string();
        audit::record(
            sql,
            founding.now,
            &founding.actor,
            Action::AddIssuer,
            &object,
            &founding.reason,
            None,
        )?;
        issuers.push((id, certificate.clone()));
    }
    let Founding {
        brought,
        history,
        actor,
        now,
        ..
    } = founding;
    adoption::bring(sql, brought, &issuers, history, actor, *now)
}

/// The later of the last message and where this history began: what a restored inventory has in its log was told in another.
pub(crate) fn last_sequence(sql: &Connection) -> rusqlite::Result<Sequence> {
    sql.prepare_cached("SELECT max(coalesce((SELECT max(sequence) FROM feed), 0), (SELECT CAST(value AS INTEGER) FROM meta WHERE key = ?1))")?
        .query_row([SEQUENCE_BASE], |row| sequence(row, 0))
}

/// Where this history began: messages up to here were told in another one.
pub(crate) fn sequence_base(sql: &Connection) -> rusqlite::Result<Sequence> {
    sql.prepare_cached("SELECT CAST(value AS INTEGER) FROM meta WHERE key = ?1")?
        .query_row([SEQUENCE_BASE], |row| sequence(row, 0))
}

pub(crate) fn required_meta(
    sql: &Connection,
    key: &str,
    path: &Path,
) -> Result<String, StoreError> {
    meta(sql, key)
        .map_err(|error| StoreError::from_sql(path, &error))?
        .ok_or_else(|| missing(path, key))
}

pub(crate) fn missing(path: &Path, key: &str) -> StoreError {
    StoreError::Corrupt {
        path: path.to_owned(),
        why: format!("it has no {key}"),
    }
}

pub(crate) fn set_meta(sql: &Connection, key: &str, value: &str) -> rusqlite::Result<()> {
    sql.execute("INSERT INTO meta (key, value) VALUES (?1, ?2) ON CONFLICT (key) DO UPDATE SET value = excluded.value", [key, value])
        .map(drop)
}

fn meta(sql: &Connection, key: &str) -> rusqlite::Result<Option<String>> {
    sql.query_row("SELECT value FROM meta WHERE key = ?1", [key], |row| {
        row.get(0)
    })
    .optional()
}

pub(crate) const HISTORY: &str = "history";
pub(crate) const WITNESSED_AT: &str = "witnessed-at";
pub(crate) const WITNESS_DOUBTED: &str = "witness-doubted";
pub(crate) const SEQUENCE_BASE: &str = "sequence-base";
