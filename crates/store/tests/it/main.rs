//! The store against a real SQLite file.

mod annotations;
mod audit;
mod damage;
mod fixture;
mod idempotency;
mod intents;
mod inventory;
mod migration;
mod ordering;
mod publication;
mod retention;
mod revocations;
mod standing;
mod successors;
mod tampering;
mod torn;
mod withdrawals;
