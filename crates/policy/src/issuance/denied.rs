//! Why a certificate is not issued.

use std::fmt;

use countersign_pki::lint::LintFault;

use super::Profile;

/// Why a certificate is not issued.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Denied {
    /// NAME or a SAN does not fit the profile.
    #[error("{name:?} does not fit profile {profile}: {why}")]
    Name {
        /// As given.
        name: String,
        /// Which profile.
        profile: Profile,
        /// In words.
        why: String,
    },
    /// The lifetime is zero, too long, or the issuer's end is too near.
    #[error("{why}")]
    Lifetime {
        /// In words, with both values.
        why: String,
    },
    /// The key is too weak or of an unknown kind.
    #[error("{why}")]
    Key {
        /// In words.
        why: String,
    },
    /// The actor may not have this.
    #[error("{actor} may not ask for {what}")]
    NotPermitted {
        /// Who.
        actor: String,
        /// What.
        what: String,
    },
    /// The encoded bytes say something else than was authorized: our bug, stopped here.
    #[error("the bytes to be signed say something else than was authorized: {what}")]
    BytesDiffer {
        /// The field.
        what: &'static str,
    },
    /// Lint.
    #[error("lint {} refuses: {}", .fault.lint, .fault.sentence)]
    Lint {
        /// The first fault.
        fault: LintFault,
    },
    /// A reserved profile or something else that cannot be asked for.
    #[error("{why}")]
    Request {
        /// In words.
        why: String,
    },
}

impl Denied {
    /// What would be issued instead.
    pub fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::Name { profile, .. } => match profile {
                Profile::Client => {
                    "NAME is the common name; --dns, --email, --uri and one --spiffe may stand beside it"
                }
                Profile::OcspResponder => return None,
                Profile::Peer | Profile::Server => {
                    "NAME is a DNS name or an IP address; --dns and --ip add more"
                }
                Profile::Workload => {
                    "NAME is a SPIFFE ID of the authority's trust domain, or its path, such as ns/prod/api; --dns and --ip may stand beside it"
                }
            },
            Self::Lifetime { .. } => {
                "choose a --ttl from 1s to 825d; where it is the issuer's time that does not fit, look at this machine's clock first"
            }
            Self::Key { .. } => {
                "make an ECDSA P-256 or P-384, an Ed25519, or an RSA key of 2048 to 4096 bits"
            }
            Self::NotPermitted { .. } => "an administrator of the authority can issue it",
            Self::BytesDiffer { .. } => {
                "nothing was signed; this is a fault of countersign, please report it"
            }
            Self::Request { .. } => "the profiles are client, peer, server and workload",
            Self::Lint { .. } => return None,
        };
        Some(hint.to_owned())
    }

    pub(super) fn name(name: impl fmt::Display, profile: Profile, why: impl Into<String>) -> Self {
        // Enough to recognise it; an error is one line.
        let name = name.to_string().chars().take(200).collect();
        Self::Name {
            name,
            profile,
            why: why.into(),
        }
    }
}
