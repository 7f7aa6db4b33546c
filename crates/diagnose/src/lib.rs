//! Says why mTLS failed: observations in, findings out (cause, sentence, evidence, fix).
//!
//! The gateway, the log, the console and the doctor all speak through this crate, so that they say the same words.
//!
//! It must never look at the world (no clock, file, socket, environment or randomness: `now` and bytes come in as
//! arguments), never decide who is admitted, and never let through text of a peer that is not escaped and bounded.
//!
//! Read [`refusal::Refusal`] first.

pub mod blame;
pub mod cause;
pub mod chain;
pub mod connecting;
pub mod doctor;
pub mod evidence;
pub mod factor;
pub mod finding;
pub mod handshake;
pub mod log;
pub mod refusal;
pub mod request;
pub mod scan;
pub mod verification;
