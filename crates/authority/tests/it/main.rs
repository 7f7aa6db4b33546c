//! The authority on a real state folder.

mod api;
mod fixture;
mod init;
mod issuance;
mod key_rules;
mod operators;
mod revocation;
mod sealed_keys;
mod socket;
mod state_folder;
mod watching;
