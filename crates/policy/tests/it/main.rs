//! What the policy grants and, far more often, what it does not.

#![allow(
    clippy::unwrap_used,
    reason = "a test that meets an unexpected None or Err fails"
)]

mod access;
mod adoption;
mod break_glass;
mod canonical;
mod conditions;
mod connect;
mod factors;
mod given_lists;
mod index;
mod issuance;
mod load;
mod login;
mod nearest;
mod path;
mod pattern;
mod profiles;
mod properties;
mod renewal;
mod token;
mod world;
