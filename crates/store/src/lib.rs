//! The only SQL: the inventory, revocations, the feed's log and the audit log, in SQLite.
//!
//! Must never answer before the change is on disk, change anything without its audit record in the same transaction,
//! or decide who may have what. Start with [`store::Store`].

pub mod annotation;
pub mod audit;
pub mod error;
pub mod import;
pub mod intent;
pub mod inventory;
pub mod issuer;
pub mod parts;
mod reader;
pub mod revocation;
mod row;
mod schema;
pub mod store;
mod writer;
