//! Opening the file: pragmas, the schema's version, migrations.

use std::fs::OpenOptions;
use std::io::ErrorKind;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, TransactionBehavior};

use crate::audit::chain::End;
use crate::error::StoreError;
use crate::wal;

/// Makes the file, 0600 from its first instant; SQLite gives its other files the same mode.
pub(crate) fn create(path: &Path) -> Result<Connection, StoreError> {
    match OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
    {
        Ok(_empty) => {}
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            return Err(StoreError::Exists {
                path: path.to_owned(),
            });
        }
        Err(error) if error.kind() == ErrorKind::StorageFull => {
            return Err(StoreError::DiskFull {
                path: path.to_owned(),
            });
        }
        Err(error) => {
            return Err(StoreError::Io {
                path: path.to_owned(),
                why: error.to_string(),
            });
        }
    }
    prepare(connect(path)?, path)
}

/// Opens for writing what is there and brings its schema up to date.
pub(crate) fn open_writer(path: &Path) -> Result<Connection, StoreError> {
    refuse_missing(path)?;
    wal::refuse_damaged(path)?;
    let connection = connect(path)?;
    refuse_foreign(&connection, path)?;
    let connection = prepare(connection, path)?;
    // What a savepoint would undo is kept in memory: SQLite's default puts it into a file from 64 KiB, which a certificate
    // fills with the pages of its indexes.
    connection
        .execute_batch(&format!(
            "PRAGMA temp_store = MEMORY; PRAGMA cache_size = {WRITER_CACHE_KIB}; PRAGMA wal_autocheckpoint = {CHECKPOINT_PAGES};"
        ))
        .map_err(|error| StoreError::from_sql(path, &error))?;
    Ok(connection)
}

fn refuse_missing(path: &Path) -> Result<(), StoreError> {
    match path.try_exists() {
        Ok(true) => Ok(()),
        Ok(false) => Err(StoreError::Missing {
            path: path.to_owned(),
        }),
        Err(error) => Err(StoreError::Io {
            path: path.to_owned(),
            why: error.to_string(),
        }),
    }
}

fn refuse_foreign(connection: &Connection, path: &Path) -> Result<(), StoreError> {
    let found: u32 = pragma(connection, path, "application_id")?;
    if found == APPLICATION_ID {
        Ok(())
    } else {
        Err(StoreError::NotAnInventory {
            path: path.to_owned(),
            found,
        })
    }
}

fn connect(path: &Path) -> Result<Connection, StoreError> {
    let sql = |error: rusqlite::Error| StoreError::from_sql(path, &error);
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags).map_err(sql)?;
    connection.busy_timeout(BUSY_TIMEOUT).map_err(sql)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    Ok(connection)
}

fn prepare(mut connection: Connection, path: &Path) -> Result<Connection, StoreError> {
    connection
        .execute_batch("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON; PRAGMA trusted_schema = OFF;")
        .map_err(|error| StoreError::from_sql(path, &error))?;
    migrate(&mut connection, path)?;
    Ok(connection)
}

/// Opens for reading what [`open_writer`] has opened before.
pub(crate) fn open_reader(path: &Path, cache: Cache) -> Result<Connection, StoreError> {
    let sql = |error: rusqlite::Error| StoreError::from_sql(path, &error);
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags).map_err(sql)?;
    connection.busy_timeout(BUSY_TIMEOUT).map_err(sql)?;
    connection
        .pragma_update(None, "cache_size", cache.size())
        .map_err(sql)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    Ok(connection)
}

/// Opens for reading, beside a process that writes or while none does. A schema that is not ours is not made so.
pub(crate) fn open_beside(path: &Path) -> Result<Connection, StoreError> {
    refuse_missing(path)?;
    let connection = open_reader(path, Cache::OfRows)?;
    refuse_foreign(&connection, path)?;
    let found = version(&connection, path)?;
    refuse_newer(found, path)?;
    if found < CHAINED {
        return Err(StoreError::OlderSchema {
            path: path.to_owned(),
            found,
            needed: CHAINED,
        });
    }
    Ok(connection)
}

fn migrate(connection: &mut Connection, path: &Path) -> Result<(), StoreError> {
    let sql = |error: rusqlite::Error| StoreError::from_sql(path, &error);
    let found = version(connection, path)?;
    refuse_newer(found, path)?;
    for (version, statements) in (1..).zip(MIGRATIONS).skip(found as usize) {
        let transaction = connection
            .transaction_with_behavior(TransactionBehavior::Immediate)
            .map_err(sql)?;
        transaction.execute_batch(statements).map_err(sql)?;
        if version == CHAINED {
            // What was recorded before there was a chain becomes its first link.
            End::find(&transaction, path)?.extend(&transaction, path)?;
        }
        transaction
            .pragma_update(None, "application_id", APPLICATION_ID)
            .map_err(sql)?;
        transaction
            .pragma_update(None, "user_version", version)
            .map_err(sql)?;
        transaction.commit().map_err(sql)?;
    }
    Ok(())
}

fn refuse_newer(found: u32, path: &Path) -> Result<(), StoreError> {
    let known = u32::try_from(MIGRATIONS.len()).expect("migrations are few");
    if found > known {
        Err(StoreError::NewerSchema {
            path: path.to_owned(),
            found,
            known,
        })
    } else {
        Ok(())
    }
}

/// Of the schema.
pub(crate) fn version(connection: &Connection, path: &Path) -> Result<u32, StoreError> {
    pragma(connection, path, "user_version")
}

fn pragma(connection: &Connection, path: &Path, name: &str) -> Result<u32, StoreError> {
    connection
        .pragma_query_value(None, name, |row| row.get(0))
        .map_err(|error| StoreError::from_sql(path, &error))
}

/// Forward only; what has been released is never edited.
pub(crate) const MIGRATIONS: [&str; 7] = [
    include_str!("migrations/0001.sql"),
    include_str!("migrations/0002.sql"),
    include_str!("migrations/0003.sql"),
    include_str!("migrations/0004.sql"),
    include_str!("migrations/0005.sql"),
    include_str!("migrations/0006.sql"),
    include_str!("migrations/0007.sql"),
];

/// The version since which audit records are linked.
const CHAINED: u32 = 2;

/// "CSGN", at offset 68 of the file, for `file(1)` and against a wrong path.
const APPLICATION_ID: u32 = 0x4353_474e;

/// Pages that a reader keeps.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Cache {
    /// 16 MiB: a page of a list by name takes its rows from all over the file, some hundred pages for each hundred rows, and the
    /// default of 2 MiB does not hold the upper levels of the indexes beside.
    OfLists,
    /// 4 MiB: the upper levels of the few indexes that lead to one row.
    OfRows,
}

impl Cache {
    /// SQLite writes KiB as a negative number.
    fn size(self) -> i64 {
        match self {
            Self::OfLists => -16 * 1024,
            Self::OfRows => -4 * 1024,
        }
    }
}

/// 32 MiB: a certificate touches a page at random of each index on serials, keys, fingerprints and names, and pages that are
/// written again before a checkpoint are written to the file once.
const WRITER_CACHE_KIB: i64 = -32 * 1024;

/// Statements that a connection keeps prepared, some 10 KiB each. One certificate takes two dozen: with the library's
/// default of 16, each would be parsed and planned anew for want of a place, at the cost of running it several times.
const STATEMENTS: usize = 128;

/// 32 MiB of write-ahead log: with SQLite's default of 4 MiB each group of 256 certificates is followed by a checkpoint.
const CHECKPOINT_PAGES: u32 = 8192;

/// The state's lock keeps other processes away; only an operator's `sqlite3` can hold this one for a moment.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use countersign_pki::crl::CrlEntry;
    use countersign_pki::feed::RevocationReason;
    use countersign_pki::serial::SerialNumber;
    use countersign_pki::time::UnixTime;

    use super::*;

    /// One certificate that is revoked and expired, one that is not known to be signed, names and all.
    const FIRST: &str = "
        INSERT INTO issuer VALUES (1, 'intermediate', x'01', x'02', 'CN=CA', x'03', 0);
        INSERT INTO intent VALUES (7, 1, x'aa', 'client', x'05', 1, 2, x'06', '{\"kind\":\"local-admin\",\"uid\":1000}', NULL, 3);
        INSERT INTO intent VALUES (9, 1, x'bb', 'server', x'AB', 1, 2, x'06', '{\"kind\":\"authority\"}', 7, 3);
        INSERT INTO certificate VALUES (7, x'07', x'08', 4);
        INSERT INTO feed VALUES (5, 0, '');
        INSERT INTO revocation VALUES (1, x'aa', 'unspecified', 4, 2, 5);
        INSERT INTO name VALUES ('cn', 'Ölpumpe 1', 7, 0), ('dn', 'CN=Ölpumpe 1', 7, 1), ('dns', 'b.example', 7, 2);";

    #[test]
    fn inventory_of_the_first_schema_is_carried_over() {
        let sql = Connection::open_in_memory().expect("opens");
        sql.execute_batch("PRAGMA foreign_keys = ON; PRAGMA trusted_schema = OFF;")
            .expect("sets");
        for statements in [MIGRATIONS[0], FIRST, MIGRATIONS[1], MIGRATIONS[2]] {
            sql.execute_batch(statements).expect("runs");
        }
        let rows = |query: &str| -> Vec<String> {
            let mut statement = sql.prepare(query).expect("SQL");
            let rows = statement.query_map([], |row| row.get(0)).expect("rows");
            rows.collect::<rusqlite::Result<_>>().expect("text")
        };
        assert_eq!(
            rows("SELECT concat_ws(' ', e.id, state, s.subject, hex(serial), profile, hex(fingerprint), d.kind, d.value, issued_by)
                  FROM entry e JOIN issuer_name s ON s.id = e.issuer_name_id JOIN identity d ON d.id = e.identity_id ORDER BY e.id"),
            [
                "7 revoked CN=CA AA client 07 dns b.example uid:1000",
                "9 unknown CN=CA BB server  spki ab authority",
            ]
        );
        assert_eq!(
            rows(
                "SELECT concat_ws(' ', entry_id, value, folded, reversed) FROM name ORDER BY position"
            ),
            [
                // Ö is no ASCII letter.
                "7 Ölpumpe 1 Ölpumpe 1 1 epmuplÖ",
                "7 CN=Ölpumpe 1",
                "7 b.example b.example elpmaxe.b",
            ]
        );
    }

    #[test]
    fn revocations_of_before_are_on_the_complete_list_as_they_would_be_entered_today() {
        let sql = Connection::open_in_memory().expect("opens");
        sql.execute_batch("PRAGMA foreign_keys = ON; PRAGMA trusted_schema = OFF;")
            .expect("sets");
        let publication = MIGRATIONS
            .iter()
            .position(|statements| statements.contains("CREATE TABLE crl "))
            .expect("it is one of them");
        for statements in &MIGRATIONS[..publication] {
            sql.execute_batch(statements).expect("runs");
        }
        sql.execute_batch(
            "INSERT INTO issuer VALUES (1, 'intermediate', x'01', x'02', 'CN=CA', x'03', 0);
             INSERT INTO feed VALUES (5, 0, '');",
        )
        .expect("inserts");
        let revoked_at = UnixTime::from_seconds(1_800_000_000);
        let entries = RevocationReason::ALL.map(|reason| {
            let code = reason.code();
            // With and without the top bit, short and long.
            let serial = if code % 2 == 0 {
                vec![0x80 + code]
            } else {
                vec![0x40 + code; 20]
            };
            sql.execute(
                "INSERT INTO revocation VALUES (1, ?1, ?2, ?3, 7, 5)",
                (&serial, reason.as_str(), 1_800_000_000),
            )
            .expect("inserts");
            let serial = SerialNumber::from_magnitude(&serial).expect("a serial");
            CrlEntry {
                serial,
                revoked_at,
                reason,
                invalid_since: None,
            }
        });
        sql.execute_batch(MIGRATIONS[publication]).expect("runs");
        let mut statement = sql
            .prepare("SELECT entry FROM crl_entry WHERE issuer_id = 1 AND over_at = 1800000000 ORDER BY octets, serial")
            .expect("SQL");
        let found = statement
            .query_map([], |row| row.get::<_, Vec<u8>>(0))
            .expect("rows");
        let found: Vec<_> = found.collect::<rusqlite::Result<_>>().expect("entries");
        let mut expected = entries.to_vec();
        expected.sort_by_key(|entry| entry.serial);
        let expected: Vec<_> = expected.iter().map(CrlEntry::encode).collect();
        assert_eq!(found, expected);
        let stale: i64 = sql
            .query_row(
                "SELECT count(*) FROM crl WHERE uri = '' AND changed_at = 5 AND covers = 0",
                [],
                |row| row.get(0),
            )
            .expect("counts");
        assert_eq!(stale, 1);
    }
}
