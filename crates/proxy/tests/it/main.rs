//! The gateway's public face: configuration, refusals that survive, and one worker on loopback with real clients.

mod administration;
mod configuration;
mod egress;
mod forwarding;
mod fronts;
mod harness;
mod limits;
mod postgresql;
mod refusals;
mod relay;
mod requests;
mod tls_upstream;
mod withdrawal;
