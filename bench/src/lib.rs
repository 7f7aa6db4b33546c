//! Shared pieces of the measuring stick.
pub mod http1;
pub mod procstat;
pub mod stats;
pub mod tls;
