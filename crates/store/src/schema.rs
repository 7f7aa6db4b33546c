//! Opening the file: pragmas, the schema's version, migrations.

use std::fs::OpenOptions;
use std::io::ErrorKind;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, TransactionBehavior};

use crate::error::StoreError;

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
    match path.try_exists() {
        Ok(true) => {}
        Ok(false) => {
            return Err(StoreError::Missing {
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
    let connection = connect(path)?;
    let found: u32 = pragma(&connection, path, "application_id")?;
    if found == APPLICATION_ID {
        prepare(connection, path)
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
pub(crate) fn open_reader(path: &Path) -> Result<Connection, StoreError> {
    let sql = |error: rusqlite::Error| StoreError::from_sql(path, &error);
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags).map_err(sql)?;
    connection.busy_timeout(BUSY_TIMEOUT).map_err(sql)?;
    Ok(connection)
}

fn migrate(connection: &mut Connection, path: &Path) -> Result<(), StoreError> {
    let sql = |error: rusqlite::Error| StoreError::from_sql(path, &error);
    let found: u32 = pragma(connection, path, "user_version")?;
    let known = u32::try_from(MIGRATIONS.len()).expect("migrations are few");
    if found > known {
        return Err(StoreError::NewerSchema {
            path: path.to_owned(),
            found,
            known,
        });
    }
    for (version, statements) in (1..).zip(MIGRATIONS).skip(found as usize) {
        let transaction = connection
            .transaction_with_behavior(TransactionBehavior::Immediate)
            .map_err(sql)?;
        transaction.execute_batch(statements).map_err(sql)?;
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

fn pragma(connection: &Connection, path: &Path, name: &str) -> Result<u32, StoreError> {
    connection
        .pragma_query_value(None, name, |row| row.get(0))
        .map_err(|error| StoreError::from_sql(path, &error))
}

/// Forward only; what has been released is never edited.
const MIGRATIONS: [&str; 1] = [include_str!("migrations/0001.sql")];

/// "CSGN", at offset 68 of the file, for `file(1)` and against a wrong path.
const APPLICATION_ID: u32 = 0x4353_474e;

/// The state's lock keeps other processes away; only an operator's `sqlite3` can hold this one for a moment.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
