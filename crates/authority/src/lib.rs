//! The certificate authority: load, decide, commit, publish; the admin API.
//!
//! Must never use a CA key before the intent is durable, let a CA key out of its signer, or answer a revocation that is
//! not durable. Start with [`authority::Authority`].

pub mod admin;
pub mod adopt;
mod allowance;
pub mod api;
pub mod authority;
pub mod backup;
pub mod client;
pub mod config;
mod conversion;
pub mod feed;
pub mod feed_port;
mod founding;
pub mod init;
mod meta;
mod open;
pub mod problem;
pub mod public;
pub mod publish;
pub mod receipt;
mod renewal;
pub mod request;
pub mod reserved_port;
pub mod restore;
pub mod retention;
mod scaffold;
pub mod sealed;
pub mod secret;
pub mod signer;
pub mod signing_key;
pub mod state;
mod status;
pub mod what;
