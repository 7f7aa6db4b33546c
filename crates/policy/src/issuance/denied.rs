//! Why a certificate is not issued.

use std::fmt;

use countersign_pki::lint::LintFault;

use super::rules::Naming;
use super::{Profile, ProfileRules};

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
        /// What NAME means there.
        naming: Naming,
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
    /// The certificate request asks for what its certificate will not have.
    #[error("{why}")]
    Wish {
        /// In words.
        why: String,
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
            Self::Name {
                naming, profile, ..
            } => match naming {
                Naming::CommonName if *profile == Profile::CLIENT => {
                    "NAME is the common name; --dns, --email, --uri and one --spiffe may stand beside it"
                }
                Naming::CommonName => {
                    "NAME is the common name; `--dry-run` shows which other names the profile has"
                }
                Naming::Host => "NAME is a DNS name or an IP address; --dns and --ip add more",
                Naming::Person => {
                    "NAME is an e-mail address, or a common name with --email beside it"
                }
                Naming::Spiffe => {
                    "NAME is a SPIFFE ID of the authority's trust domain, or its path, such as ns/prod/api; --dns and --ip may stand beside it"
                }
            },
            Self::Lifetime { .. } => {
                "choose a --ttl from 1s to the profile's max_lifetime, 825d at most; where it is the issuer's time that does not fit, look at this machine's clock first"
            }
            Self::Key { .. } => {
                "make a new key: ECDSA P-256 or P-384, Ed25519, RSA of 2048 to 4096 bits, or ML-DSA, as the profile has it"
            }
            Self::NotPermitted { .. } => "an administrator of the authority can issue it",
            Self::BytesDiffer { .. } => {
                "nothing was signed; this is a fault of countersign, please report it"
            }
            Self::Wish { .. } => {
                "only the key is taken from a request: name what the certificate shall have (--dns, --ip, --email, --uri, --spiffe), or make the request without it"
            }
            Self::Request { .. } => {
                "`countersign issue --help` lists the built-in profiles, [authority.profile.NAME] of the configuration adds others"
            }
            Self::Lint { .. } => {
                "ask for other names, a shorter life or another profile: strict clients refuse a certificate like that, or people take it for another"
            }
        };
        Some(hint.to_owned())
    }

    pub(super) fn name(
        name: impl fmt::Display,
        rules: &ProfileRules,
        why: impl Into<String>,
    ) -> Self {
        // Enough to recognise it; an error is one line.
        let name = name.to_string().chars().take(200).collect();
        Self::Name {
            name,
            profile: rules.profile().clone(),
            naming: rules.like().naming(),
            why: why.into(),
        }
    }
}
