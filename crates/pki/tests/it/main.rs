//! Bytes to types and back, against rcgen and against forgeries.

mod certificate;
mod chain;
mod compatibility;
mod crl;
mod dn;
mod forge;
mod inspect;
mod lint;
mod listed;
mod ocsp;
mod pem;
mod pkcs12;
mod request;
mod revocation;
mod tbs;
mod verification;
