//! What should happen: who may have which certificate, who may do what, when to renew.
//!
//! Must never act, and never read a clock, file, socket, environment or random source. Start with
//! [`issuance::Authorized`], the key to every signature, and [`access::AccessPolicy`], the door to every service.

pub mod access;
pub mod administration;
pub mod adoption;
pub mod api_key;
pub mod break_glass;
pub mod given_lists;
pub mod issuance;
pub mod postgresql;
pub mod renewal;
pub mod retention;
pub mod token;
