//! The only SQL: the inventory, revocations, the feed's log and the audit log, in SQLite.
//!
//! Must never answer before the change is on disk, change anything without its audit record in the same transaction,
//! or decide who may have what. Start with [`store::Store`].

pub mod adoption;
pub mod annotation;
pub mod audit;
pub mod backup;
pub mod error;
pub mod evidence;
pub mod fail_point;
pub mod idempotency;
pub mod import;
pub mod intent;
pub mod inventory;
pub mod issuer;
pub mod parts;
pub mod pause;
pub mod publication;
mod reader;
pub mod retention;
pub mod revocation;
mod row;
mod schema;
mod standing;
pub mod store;
pub mod superior_list;
mod waiting;
mod wal;
mod writer;
