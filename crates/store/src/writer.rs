//! The one writer: many changes, one fsync.
//!
//! Changes queue up while a commit waits for the disk; the next transaction takes all of them, each so that one that fails
//! leaves the others alone, and links their audit records to the chain. Nobody is answered, and no feed message is told, before the
//! commit has returned. Invariant: messages are told in the order of their sequence, because this thread alone
//! numbers and tells them.
//!
//! Where intents wait for their certificates, a group of nothing but intents and certificates naps for them: they are
//! being signed, so they come within fractions of a millisecond, and share an fsync that costs as much as ten of them. A
//! store with one caller never naps, nor does any other change.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

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
    coming: Coming,
}

/// Counts the changes that are certain to come soon: certificates of intents that are durable.
#[derive(Clone, Debug, Default)]
pub(crate) struct Coming(Arc<AtomicUsize>);

/// One of them, until it is dropped.
#[derive(Debug)]
pub(crate) struct Expected(Coming);

impl Coming {
    pub(crate) fn expect_one(&self) -> Expected {
        self.0.fetch_add(1, Ordering::Relaxed);
        Expected(self.clone())
    }

    fn is_none(&self) -> bool {
        self.0.load(Ordering::Relaxed) == 0
    }
}

impl Drop for Expected {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Whether a change may wait for others, to share their fsync.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Haste {
    AtOnce,
    InCompany,
}

impl Writer {
    pub(crate) fn start(
        connection: Connection,
        path: &Path,
        publish: Publish,
    ) -> Result<Self, StoreError> {
        let (queue, changes) = mpsc::channel(QUEUE);
        let coming = Coming::default();
        let (owned, counted) = (path.to_owned(), coming.clone());
        let thread = thread::Builder::new()
            .name("store-writer".to_owned())
            .spawn(move || write_groups(&connection, &owned, changes, &counted, &publish))
            .map_err(|error| StoreError::Io {
                path: path.to_owned(),
                why: error.to_string(),
            })?;
        Ok(Self {
            queue: Some(queue),
            thread: Some(thread),
            coming,
        })
    }

    /// The changes that are certain to come.
    pub(crate) fn coming(&self) -> &Coming {
        &self.coming
    }

    /// Runs `change` in a transaction and resolves once it is durable. Dropping the future does not stop a change that
    /// has been queued.
    pub(crate) async fn write<T, F>(&self, change: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&mut Writing<'_>) -> Result<T, StoreError> + Send + 'static,
    {
        self.write_with(Haste::AtOnce, change).await
    }

    /// Like [`Writer::write`], of one of many that may wait for each other. What it refuses it has to refuse before it
    /// writes, and it tells no messages: it has no savepoint.
    pub(crate) async fn write_in_company<T, F>(&self, change: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&mut Writing<'_>) -> Result<T, StoreError> + Send + 'static,
    {
        self.write_with(Haste::InCompany, change).await
    }

    async fn write_with<T, F>(&self, haste: Haste, change: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&mut Writing<'_>) -> Result<T, StoreError> + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        let pending = Pending {
            haste,
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
    fn haste(&self) -> Haste;
    fn run(&mut self, writing: &mut Writing<'_>) -> Result<(), StoreError>;
    fn answer(self: Box<Self>, committed: Result<(), StoreError>);
}

struct Pending<F, T> {
    haste: Haste,
    change: Option<F>,
    outcome: Option<T>,
    reply: oneshot::Sender<Result<T, StoreError>>,
}

impl<F, T> Change for Pending<F, T>
where
    T: Send,
    F: FnOnce(&mut Writing<'_>) -> Result<T, StoreError> + Send,
{
    fn haste(&self) -> Haste {
        self.haste
    }

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
    coming: &Coming,
    publish: &Publish,
) {
    while let Some(first) = changes.blocking_recv() {
        let group = gather(first, &mut changes, coming, || thread::sleep(NAP));
        write_group(sql, path, group, publish);
    }
}

/// All that wait, and those that are certain to come, unless one is in haste.
fn gather(
    first: Box<dyn Change>,
    changes: &mut mpsc::Receiver<Box<dyn Change>>,
    coming: &Coming,
    mut nap: impl FnMut(),
) -> Vec<Box<dyn Change>> {
    let mut group = vec![first];
    for naps in 0.. {
        while group.len() < GROUP {
            let Ok(next) = changes.try_recv() else { break };
            group.push(next);
        }
        let is_in_haste = group.iter().any(|change| change.haste() == Haste::AtOnce);
        if naps == NAPS || group.len() == GROUP || is_in_haste || coming.is_none() {
            break;
        }
        nap();
    }
    group
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

/// Each in a savepoint of its own, but for those in company: they judge first and write then, and a savepoint would keep a
/// copy of each page that they touch.
fn run_apart(
    writing: &mut Writing<'_>,
    group: &mut [Box<dyn Change>],
) -> Result<Vec<Result<(), StoreError>>, StoreError> {
    let mut outcomes = Vec::with_capacity(group.len());
    for change in group {
        if change.haste() == Haste::InCompany {
            outcomes.push(run_in_company(writing, change.as_mut())?);
            continue;
        }
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

/// One that fails has written nothing; if it has, the disk or the file is at fault, and nothing of the group can stand.
fn run_in_company(
    writing: &mut Writing<'_>,
    change: &mut dyn Change,
) -> Result<Result<(), StoreError>, StoreError> {
    let before = writing.sql.total_changes();
    let outcome = change.run(writing);
    match &outcome {
        Err(error) if writing.sql.is_autocommit() || writing.sql.total_changes() != before => {
            Err(error.clone())
        }
        _ => Ok(outcome),
    }
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

/// What two or three signatures take, and long enough for the thread to sleep at all.
const NAP: Duration = Duration::from_micros(250);

/// So a group waits 4 ms at most, about as long as the fsync that it saves, for a signer that takes its time.
const NAPS: u32 = 16;

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

    fn queued<F>(haste: Haste, change: F) -> (Box<dyn Change>, Answer)
    where
        F: FnOnce(&mut Writing<'_>) -> Result<(), StoreError> + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        let pending = Pending {
            haste,
            change: Some(change),
            outcome: None,
            reply,
        };
        (Box::new(pending), answer)
    }

    type Answer = oneshot::Receiver<Result<(), StoreError>>;

    fn nothing(haste: Haste) -> Box<dyn Change> {
        queued(haste, |_| Ok(())).0
    }

    /// How many are gathered behind `first`, and after how many naps; during the first one `arriving` come, and whatever was
    /// expected has.
    fn gathered(first: Haste, is_expected: bool, arriving: &[Haste]) -> (usize, u32) {
        let (queue, mut changes) = mpsc::channel(QUEUE);
        let coming = Coming::default();
        let mut expected = is_expected.then(|| coming.expect_one());
        let mut naps = 0;
        let group = gather(nothing(first), &mut changes, &coming, || {
            naps += 1;
            for haste in arriving.iter().filter(|_| naps == 1) {
                queue.try_send(nothing(*haste)).expect("there is room");
                drop(expected.take());
            }
        });
        (group.len(), naps)
    }

    #[test]
    fn intents_and_certificates_wait_for_those_that_are_certain_to_come_and_nobody_else_does() {
        use Haste::{AtOnce, InCompany};
        assert_eq!(gathered(InCompany, true, &[InCompany]), (2, 1));
        assert_eq!(gathered(InCompany, false, &[]), (1, 0), "nobody is coming");
        assert_eq!(gathered(AtOnce, true, &[InCompany]), (1, 0), "a revocation");
        assert_eq!(gathered(InCompany, true, &[AtOnce]), (2, 1), "it comes");
        assert_eq!(gathered(InCompany, true, &[]), (1, NAPS), "a slow signer");
        let all = [InCompany; GROUP];
        assert_eq!(gathered(InCompany, true, &all), (GROUP, 1), "a full group");
    }

    /// Answers, and which of the keys are there then.
    fn write_together(changes: Vec<(Box<dyn Change>, Answer)>) -> (Vec<bool>, Vec<String>) {
        let sql = Connection::open_in_memory().expect("opens");
        for statements in crate::schema::MIGRATIONS {
            sql.execute_batch(statements).expect("migrates");
        }
        let (group, answers): (Vec<_>, Vec<_>) = changes.into_iter().unzip();
        let publish: Publish = Box::new(|_| {});
        write_group(&sql, Path::new("here"), group, &publish);
        let is_ok = |mut answer: Answer| answer.try_recv().expect("answered").is_ok();
        let mut keys = sql
            .prepare("SELECT key FROM meta WHERE length(key) = 1 ORDER BY key")
            .expect("SQL");
        let keys = keys.query_map([], |row| row.get(0)).expect("rows");
        (
            answers.into_iter().map(is_ok).collect(),
            keys.collect::<rusqlite::Result<_>>().expect("texts"),
        )
    }

    fn writes(
        haste: Haste,
        key: &'static str,
        then: Result<(), StoreError>,
    ) -> (Box<dyn Change>, Answer) {
        queued(haste, move |writing| {
            insert(writing, key, 1)?;
            then
        })
    }

    #[test]
    fn one_that_fails_leaves_the_others_alone_and_nothing_half_written_stands() {
        use Haste::{AtOnce, InCompany};
        let failure = || Err(StoreError::Stopped);
        let outcome = write_together(vec![
            writes(InCompany, "a", Ok(())),
            queued(InCompany, move |_| failure()),
            writes(AtOnce, "b", failure()),
            writes(AtOnce, "c", Ok(())),
        ]);
        let keys = ["a", "c"].map(str::to_owned).to_vec();
        assert_eq!(outcome, (vec![true, false, false, true], keys));
        let outcome = write_together(vec![
            writes(AtOnce, "a", Ok(())),
            writes(InCompany, "b", failure()),
            writes(InCompany, "c", Ok(())),
        ]);
        assert_eq!(outcome, (vec![false; 3], vec![]), "no savepoint goes back");
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
            reason: "first run".to_owned(),
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
