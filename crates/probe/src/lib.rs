//! Looks at others: the one fetcher of what is published elsewhere.
//!
//! Must never fetch what a peer names: sources come from configuration, and a redirect stays where it began. Whatever comes
//! back is bytes of unknown worth, for the caller to judge. Start with [`fetch::Fetcher`].

pub mod fetch;
pub mod url;
