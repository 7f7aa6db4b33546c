//! The store against a real SQLite file.

mod annotations;
mod audit;
mod damage;
mod fixture;
mod idempotency;
mod intents;
mod inventory;
mod revocations;
mod tampering;
mod withdrawals;
