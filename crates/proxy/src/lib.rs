//! The gateway: ends mutual TLS, decides per request, forwards, and says who was turned away and why.
//!
//! It must never accept a connection past `tls`, judge by anything that `policy` did not decide, let a client's own
//! identity header through, or do control work (disk, scrapes, parsing) on a data-plane thread.
//!
//! Read [`gateway::Gateway`] first, then `exchange`, one request's way through.

mod access;
mod activity;
pub mod admin;
mod body;
pub mod break_glass;
pub mod config;
mod connection;
pub mod decisions;
mod demo;
mod exchange;
pub mod explain;
mod factors;
pub mod gateway;
mod grpc;
mod headers;
mod health;
mod host;
mod in_flight;
mod keepalive;
mod lines;
mod listener;
pub mod metrics;
mod own_keys;
pub mod plan;
mod problem;
pub mod refusals;
pub mod shadow;
mod upstream;
pub mod xfcc;
