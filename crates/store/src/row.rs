//! Columns and the types that they hold: what was written is read back strictly, anything else is damage.

use std::error::Error;

use countersign_pki::feed::Sequence;
use countersign_pki::fingerprint::Fingerprint;
use countersign_pki::serial::SerialNumber;
use countersign_pki::time::UnixTime;
use rusqlite::Row;
use rusqlite::types::Type;
use serde::Serialize;
use serde::de::DeserializeOwned;

pub(crate) fn to_seconds(time: UnixTime) -> i64 {
    i64::try_from(time.seconds()).expect("UnixTime ends with year 9999")
}

pub(crate) fn time(row: &Row<'_>, column: usize) -> rusqlite::Result<UnixTime> {
    unsigned(row, column).map(UnixTime::from_seconds)
}

pub(crate) fn sequence(row: &Row<'_>, column: usize) -> rusqlite::Result<Sequence> {
    unsigned(row, column).map(Sequence)
}

/// SQLite's integers are signed; ours never reach the sign bit.
pub(crate) fn from_sequence(sequence: Sequence) -> i64 {
    i64::try_from(sequence.0).unwrap_or(i64::MAX)
}

pub(crate) fn unsigned(row: &Row<'_>, column: usize) -> rusqlite::Result<u64> {
    let value: i64 = row.get(column)?;
    u64::try_from(value).map_err(|_| rusqlite::Error::IntegralValueOutOfRange(column, value))
}

pub(crate) fn serial(row: &Row<'_>, column: usize) -> rusqlite::Result<SerialNumber> {
    SerialNumber::from_magnitude(&row.get::<_, Vec<u8>>(column)?)
        .map_err(|error| damaged(column, Type::Blob, error))
}

pub(crate) fn fingerprint(row: &Row<'_>, column: usize) -> rusqlite::Result<Fingerprint> {
    row.get(column).map(Fingerprint::from_bytes)
}

pub(crate) fn optional_fingerprint(
    row: &Row<'_>,
    column: usize,
) -> rusqlite::Result<Option<Fingerprint>> {
    row.get::<_, Option<[u8; 32]>>(column)
        .map(|bytes| bytes.map(Fingerprint::from_bytes))
}

pub(crate) fn json<T: DeserializeOwned>(row: &Row<'_>, column: usize) -> rusqlite::Result<T> {
    serde_json::from_str(&row.get::<_, String>(column)?)
        .map_err(|error| damaged(column, Type::Text, error))
}

/// An enum that serde writes as one word.
pub(crate) fn word<T: DeserializeOwned>(row: &Row<'_>, column: usize) -> rusqlite::Result<T> {
    let value = serde_json::Value::String(row.get(column)?);
    serde_json::from_value(value).map_err(|error| damaged(column, Type::Text, error))
}

pub(crate) fn to_json(value: &impl Serialize) -> rusqlite::Result<String> {
    serde_json::to_string(value)
        .map_err(|error| rusqlite::Error::ToSqlConversionFailure(Box::new(error)))
}

pub(crate) fn damaged(
    column: usize,
    kind: Type,
    error: impl Error + Send + Sync + 'static,
) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(column, kind, Box::new(error))
}
