//! What every long-running role of Countersign stands on: time, threads, sockets, signals, logs, files, what
//! configurations share, and an orderly end.
//!
//! It must never know certificates, policy or any other crate of the workspace, read an environment variable, or let a
//! peer grow anything without a bound.
//!
//! Read [`drain::Drain`] first: everything that starts here ends through it.

pub mod accept;
pub mod atomic_file;
pub mod clock;
pub mod config;
pub mod core_dump;
pub mod descriptors;
pub mod drain;
pub mod file_reads;
pub mod lent;
pub mod listen;
pub mod readiness;
pub mod shutdown;
pub mod supervisor;
pub mod telemetry;
pub mod unix_socket;
pub mod watched_files;
pub mod workers;
