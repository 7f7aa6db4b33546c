//! The authority on a real state folder.

mod admin_port;
mod api;
mod backup;
mod bad_input;
mod fixture;
mod idempotency;
mod init;
mod issuance;
mod key_rules;
mod openapi;
mod operators;
mod publishing;
mod recovery;
mod retention;
mod revocation;
mod sealed_keys;
mod socket;
mod state_folder;
mod watching;
