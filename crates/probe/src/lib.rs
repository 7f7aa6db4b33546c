//! Looks at others: the one fetcher of what is published elsewhere, and the prober of what a server does.
//!
//! Must never fetch what a peer names: sources come from configuration, or from certificates where whoever runs it asks for that
//! ([`sources`]), and a redirect stays where it began. Whatever comes back is bytes of unknown worth, for the caller to judge; nothing that was seen is trusted, and a client's certificate is
//! shown to nobody who is not vouched for. Start with [`fetch::Fetcher`] or [`server::Prober`].

pub mod fetch;
pub mod server;
pub mod sources;
pub mod url;
