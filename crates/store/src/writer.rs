//! The one writer: many changes, one fsync.
//!
//! Changes queue up while a commit waits for the disk; the next transaction takes all of them, each in a savepoint of
//! its own so that one that fails leaves the others alone, and links their audit records to the chain. Nobody is answered, and no feed message is told, before the
//! commit has returned. Invariant: messages are told in the order of their sequence, because this thread alone
//! numbers and tells them.

use std::path::Path;
use std::thread::{self, JoinHandle};

use countersign_pki::feed::Message;
use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot};

use crate::audit::chain::End;
use crate::error::StoreError;
use crate::fail_point::FailPoint;

/// Hears every feed message once it is durable, in order.
pub type Publish = Box<dyn Fn(&[Message]) + Send>;

pub(crate) struct Writer {
    queue: Option<mpsc::Sender<Box<dyn Change>>>,
    thread: Option<JoinHandle<()>>,
}

impl Writer {
    pub(crate) fn start(
        connection: Connection,
        path: &Path,
        publish: Publish,
    ) -> Result<Self, StoreError> {
        let (queue, changes) = mpsc::channel(QUEUE);
        let owned = path.to_owned();
        let thread = thread::Builder::new()
            .name("store-writer".to_owned())
            .spawn(move || write_groups(&connection, &owned, changes, &publish))
            .map_err(|error| StoreError::Io {
                path: path.to_owned(),
                why: error.to_string(),
            })?;
        Ok(Self {
            queue: Some(queue),
            thread: Some(thread),
        })
    }

    /// Runs `change` in a transaction and resolves once it is durable. Dropping the future does not stop a change that
    /// has been queued.
    pub(crate) async fn write<T, F>(&self, change: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&mut Writing<'_>) -> Result<T, StoreError> + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        let pending = Pending {
            change: Some(change),
            outcome: None,
            reply,
        };
        let queue = self.queue.as_ref().ok_or(StoreError::Stopped)?;
        queue
            .send(Box::new(pending))
            .await
            .map_err(|_| StoreError::Stopped)?;
        answer.await.map_err(|_| StoreError::Stopped)?
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        drop(self.queue.take());
        if let Some(thread) = self.thread.take() {
            // What is queued gets written first; a writer that panicked has nothing left to wait for.
            let _ = thread.join();
        }
    }
}

/// What a change may use.
pub(crate) struct Writing<'a> {
    pub(crate) sql: &'a Connection,
    path: &'a Path,
    messages: Vec<Message>,
}

impl Writing<'_> {
    /// To be told when the change is durable.
    pub(crate) fn tell(&mut self, message: Message) {
        self.messages.push(message);
    }

    pub(crate) fn fault(&self, error: &rusqlite::Error) -> StoreError {
        StoreError::from_sql(self.path, error)
    }
}

trait Change: Send {
    fn run(&mut self, writing: &mut Writing<'_>) -> Result<(), StoreError>;
    fn answer(self: Box<Self>, committed: Result<(), StoreError>);
}

struct Pending<F, T> {
    change: Option<F>,
    outcome: Option<T>,
    reply: oneshot::Sender<Result<T, StoreError>>,
}

impl<F, T> Change for Pending<F, T>
where
    T: Send,
    F: FnOnce(&mut Writing<'_>) -> Result<T, StoreError> + Send,
{
    fn run(&mut self, writing: &mut Writing<'_>) -> Result<(), StoreError> {
        let change = self.change.take().ok_or(StoreError::Stopped)?;
        self.outcome = Some(change(writing)?);
        Ok(())
    }

    fn answer(self: Box<Self>, committed: Result<(), StoreError>) {
        let Self { outcome, reply, .. } = *self;
        // Nobody may be waiting any more.
        let _ = reply.send(committed.and_then(|()| outcome.ok_or(StoreError::Stopped)));
    }
}

fn write_groups(
    sql: &Connection,
    path: &Path,
    mut changes: mpsc::Receiver<Box<dyn Change>>,
    publish: &Publish,
) {
    while let Some(first) = changes.blocking_recv() {
        let mut group = vec![first];
        while group.len() < GROUP {
            let Ok(next) = changes.try_recv() else { break };
            group.push(next);
        }
        write_group(sql, path, group, publish);
    }
}

fn write_group(sql: &Connection, path: &Path, mut group: Vec<Box<dyn Change>>, publish: &Publish) {
    let mut writing = Writing {
        sql,
        path,
        messages: Vec::new(),
    };
    let ran = run_group(&mut writing, &mut group);
    let messages = writing.messages;
    let outcomes = match ran.and_then(|outcomes| commit(sql, path).map(|()| outcomes)) {
        Ok(outcomes) => {
            FailPoint::GroupCommitted.reach();
            if !messages.is_empty() {
                publish(&messages);
            }
            FailPoint::GroupTold.reach();
            outcomes
        }
        Err(error) => {
            roll_back(sql);
            vec![Err(error); group.len()]
        }
    };
    for (change, outcome) in group.into_iter().zip(outcomes) {
        change.answer(outcome);
    }
}

/// The outer error means that the whole transaction is lost, the inner ones that a change was undone.
fn run_group(
    writing: &mut Writing<'_>,
    group: &mut [Box<dyn Change>],
) -> Result<Vec<Result<(), StoreError>>, StoreError> {
    execute(writing.sql, writing.path, "BEGIN IMMEDIATE")?;
    FailPoint::GroupBegun.reach();
    let end = End::of_all(writing.sql, writing.path)?;
    let outcomes = match group {
        // One that fails takes nobody with it, so the transaction is its savepoint: a large change keeps no second copy of
        // the pages that it touches.
        [alone] => {
            alone.run(writing)?;
            vec![Ok(())]
        }
        _ => run_apart(writing, group)?,
    };
    FailPoint::GroupChanged.reach();
    end.extend(writing.sql, writing.path)?;
    FailPoint::GroupLinked.reach();
    Ok(outcomes)
}

/// Each in a savepoint of its own.
fn run_apart(
    writing: &mut Writing<'_>,
    group: &mut [Box<dyn Change>],
) -> Result<Vec<Result<(), StoreError>>, StoreError> {
    let mut outcomes = Vec::with_capacity(group.len());
    for change in group {
        execute(writing.sql, writing.path, "SAVEPOINT change")?;
        let told = writing.messages.len();
        let outcome = change.run(writing);
        if let Err(error) = &outcome {
            // A full disk or an I/O error may have rolled back everything by itself.
            if writing.sql.is_autocommit() {
                return Err(error.clone());
            }
            writing.messages.truncate(told);
            execute(writing.sql, writing.path, "ROLLBACK TO change")?;
        }
        execute(writing.sql, writing.path, "RELEASE change")?;
        outcomes.push(outcome);
    }
    Ok(outcomes)
}

fn commit(sql: &Connection, path: &Path) -> Result<(), StoreError> {
    execute(sql, path, "COMMIT")
}

fn roll_back(sql: &Connection) {
    if !sql.is_autocommit()
        && let Err(error) = sql.execute_batch("ROLLBACK")
    {
        tracing::error!(target: "store", %error, "transaction cannot be rolled back");
    }
}

fn execute(sql: &Connection, path: &Path, statement: &str) -> Result<(), StoreError> {
    let executed = sql
        .prepare_cached(statement)
        .and_then(|mut prepared| prepared.execute([]));
    executed
        .map(drop)
        .map_err(|error| StoreError::from_sql(path, &error))
}

/// Changes that wait: more than the requests that the admin API serves at once, so that waiting happens there.
const QUEUE: usize = 1024;

/// Changes of one transaction: past this the fsync is shared enough, and nobody waits for strangers' work.
const GROUP: usize = 256;

#[cfg(test)]
mod tests {
    use countersign_pki::feed::{HistoryId, Sequence};
    use countersign_pki::time::UnixTime;
    use countersign_policy::issuance::Actor;

    use super::*;
    use crate::adoption::Brought;
    use crate::store::{Founding, Store};

    fn insert(writing: &Writing<'_>, key: &str, bytes: usize) -> Result<(), StoreError> {
        let inserted = writing.sql.execute(
            "INSERT INTO meta (key, value) VALUES (?1, ?2)",
            (key, "x".repeat(bytes)),
        );
        inserted.map(drop).map_err(|error| writing.fault(&error))
    }

    #[tokio::test]
    async fn full_disk_is_named_changes_nothing_and_heals_by_itself() {
        let folder = tempfile::tempdir().expect("temporary directory");
        let path = folder.path().join("inventory.db");
        let founding = Founding {
            history: HistoryId("a".to_owned()),
            base: Sequence(0),
            issuers: vec![],
            superiors: Vec::new(),
            brought: Brought::default(),
            reason: "first run",
            actor: Actor::Authority,
            now: UnixTime::from_seconds(1_800_000_000),
        };
        Store::create(&path, &founding).expect("creates");
        let store = Store::open(&path, Box::new(|_| {})).expect("opens");
        let limit = |pages: u32| {
            store.writer.write(move |writing| {
                let limited = writing
                    .sql
                    .execute_batch(&format!("PRAGMA max_page_count = {pages}"));
                limited.map_err(|error| writing.fault(&error))
            })
        };
        // SQLite takes a limit below the file's size as that size: not one page more.
        limit(1).await.expect("limits");
        let small = store.writer.write(|writing| insert(writing, "small", 10));
        let large = store
            .writer
            .write(|writing| insert(writing, "large", 100_000));
        let (small, large) = tokio::join!(small, large);
        assert_eq!(large, Err(StoreError::DiskFull { path: path.clone() }));
        limit(1_000_000).await.expect("limits");
        store
            .writer
            .write(|writing| insert(writing, "large", 100_000))
            .await
            .expect("there is space again");
        let again = store
            .writer
            .write(|writing| insert(writing, "small", 10))
            .await;
        assert_eq!(
            again.is_err(),
            small.is_ok(),
            "a change that was answered with an error is not there"
        );
    }
}
