//! The only acceptor of mutual TLS, and its only client: scopes, verification, identity, sessions, revocation, live
//! connections.
//!
//! Must never let rustls types out, admit on a name without its bundle, or keep a session past what its scope says.
//! Start with [`acceptor::Acceptor`].

pub mod acceptor;
pub mod connector;
pub mod credentials;
pub mod edge;
pub mod enforcement;
mod farewell;
mod fault;
mod freshness;
pub mod hello;
mod judge;
mod live;
pub mod ocsp;
mod peers;
mod pending;
mod preamble;
mod provider;
pub mod proxy_protocol;
mod rate;
mod records;
pub mod refused_stream;
pub mod scope;
mod sessions;
pub mod shadow;
mod socket;
mod sources;
mod stream;
