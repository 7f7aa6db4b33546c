//! The whole binary against real peers: what it does at start, while it serves, when access is withdrawn, when it is killed.

mod audit;
mod bypass;
mod cli;
mod durable;
mod export;
mod files;
mod http;
mod installation;
mod interop;
mod inventory;
mod issuing;
mod json;
mod lifecycle;
mod limbo;
mod metrics;
mod nginx;
mod openssl;
mod peers;
mod readme;
mod revocation;
mod snapshot;
mod start;
mod status;
mod streaming;
mod verify;
mod websocket;
