//! The gateway's public face: configuration, refusals that survive, and one worker on loopback with real clients.

mod administration;
mod balance;
mod configuration;
mod connect;
mod egress;
mod forwarding;
mod frames;
mod fronts;
mod grpc;
mod harness;
mod health;
mod http2;
mod instructions;
mod limits;
mod negotiation;
mod postgresql;
mod refusals;
mod relay;
mod requests;
mod resumption;
mod rules;
mod smuggling;
mod tls_upstream;
mod withdrawal;
