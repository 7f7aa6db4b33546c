//! The authority on a real state folder.

mod api;
mod backup;
mod fixture;
mod init;
mod issuance;
mod recovery;
mod revocation;
mod sealed_keys;
mod socket;
mod state_folder;
mod watching;
