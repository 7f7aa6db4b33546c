//! What tests share: a PKI that makes good and bad certificates, an upstream that counts bytes, clients that behave
//! and misbehave, the real binary as a process, and the table of the bypass suite.
//!
//! Must never be a normal dependency of anything. Start with [`bypass`]: who tries what, and what has to happen.

pub mod bypass;
pub mod client;
pub mod ephemeral;
pub mod pki;
pub mod process;
pub mod service;
pub mod upstream;
