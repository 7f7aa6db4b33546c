//! A node's identity: what makes a gateway in a process of its own part of an authority.
//!
//! It hears the feed, keeps the last of it on disk, and renews the node's certificate. It must never admit anybody (that is
//! `tls`), trust an authority that the node's bundle does not vouch for, or hold up the data plane.
//!
//! Start with [`feed_client::FeedClient`].

pub mod earlier_holds;
pub mod feed_client;
pub mod feed_log;
pub mod keeper;
pub mod port_url;
