//! Real handshakes over loopback: clients that behave, clients that do not, and access that is taken away.

mod connector;
mod credentials;
mod fronts;
mod hellos;
mod ocsp;
mod peer;
mod pending;
mod programs;
mod refusals;
mod scopes;
mod sessions;
mod shadow;
mod site;
mod staleness;
mod struck;
mod tickets;
mod told;
mod withdrawal;
mod writing;
