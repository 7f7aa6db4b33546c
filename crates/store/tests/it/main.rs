//! The store against a real SQLite file.

mod annotations;
mod audit;
mod damage;
mod fixture;
mod intents;
mod inventory;
mod publication;
mod revocations;
mod tampering;
