//! What was seen of a file that somebody named.

use countersign_pki::time::UnixTime;

/// A file, as the shell found it.
#[derive(Clone, Debug)]
pub struct FileSeen {
    /// What it was named as.
    pub role: Role,
    /// As it was written.
    pub path: String,
    /// When its bytes were last changed.
    pub modified: Option<UnixTime>,
}

/// What a file was named as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// `--ca`: what the client trusts.
    Ca,
    /// `--cert`.
    ClientCertificate,
    /// `--client-ca`: what the server trusts.
    ClientCa,
    /// `--key`.
    ClientKey,
    /// `--crl`.
    Crl,
    /// `--file`: whatever else is at hand.
    Other,
    /// `--server-cert`.
    ServerCertificate,
    /// `--server-key`.
    ServerKey,
}
