//! Names, certificates, requests, chains, revocation and the feed: bytes to types and back.
//!
//! Must never read a clock, file, socket, environment or random source: times, bytes and nonces come in as
//! arguments. Start with [`identity::VerifiedPeer`]: what the rest of the system knows of a peer.

mod asn1;
pub mod bundle;
pub mod canary;
pub mod certificate;
pub mod chain;
pub mod compatibility;
pub mod confusable;
pub mod crl;
pub mod dn;
pub mod feed;
pub mod fingerprint;
pub mod identity;
pub mod inspect;
pub mod jks;
mod legacy;
pub mod lint;
pub mod material;
pub mod name;
pub mod ocsp;
pub mod password;
pub mod pbes2;
pub mod pem;
pub mod pkcs12;
pub mod private_key;
pub mod publication;
pub mod request;
pub mod revocation;
pub mod serial;
pub mod spiffe;
pub mod tbs;
pub mod time;
pub mod verification;
