//! Which CA certificates that exist already an authority can go on with: one chain from the issuing CA to a root, each of which
//! may do what it will have to do, and will be believed by those who verify.

use std::time::Duration;

use countersign_pki::certificate::{Certificate, ExtendedKeyUsage, KeyAlgorithm};
use countersign_pki::chain::flaw_of_issuer;
use countersign_pki::name::TypedName;
use countersign_pki::tbs::SignatureAlgorithm;
use countersign_pki::time::{UnixTime, spoken};

use crate::issuance::Profile;

/// CA certificates from the one that issues up to the root.
#[derive(Clone, Debug)]
pub struct Hierarchy {
    /// Never empty; the root last.
    path: Vec<Certificate>,
}

impl Hierarchy {
    /// Finds the path from `lowest` to a root among `others`, whatever their order, and judges each certificate of it. `below`:
    /// how many CAs will stand under `lowest`.
    pub fn find(
        lowest: Certificate,
        others: &[Certificate],
        below: usize,
        now: UnixTime,
    ) -> Result<Self, AdoptionFault> {
        refuse_leaf(&lowest)?;
        let mut path = vec![lowest];
        loop {
            let last = &path[path.len() - 1];
            // First, since nothing that such a key has signed is verified at all.
            refuse_weak_key(last)?;
            if is_self_issued(last) {
                last.verify_self_signature()
                    .map_err(|fault| AdoptionFault::NotSigned {
                        subject: last.subject().to_string(),
                        issuer: last.subject().to_string(),
                        why: fault.why,
                    })?;
                break;
            }
            if path.len() > MAX_ABOVE {
                return Err(AdoptionFault::TooDeep {
                    subject: path[0].subject().to_string(),
                });
            }
            let issuer = issuer_of(last, others)?.clone();
            path.push(issuer);
        }
        let hierarchy = Self { path };
        hierarchy.judge(below, now)?;
        Ok(hierarchy)
    }

    /// The lowest CA, and what stands above it; the root last.
    pub fn path(&self) -> &[Certificate] {
        &self.path
    }

    /// The lowest CA.
    pub fn lowest(&self) -> &Certificate {
        &self.path[0]
    }

    /// What stands between the lowest CA and the root, nearest to the lowest first.
    pub fn between(&self) -> &[Certificate] {
        &self.path[1..self.path.len().max(2) - 1]
    }

    /// The root; where there is only one certificate, that one.
    pub fn root(&self) -> &Certificate {
        &self.path[self.path.len() - 1]
    }

    /// What the root has signed itself with, if that can be forged: some verifiers refuse such a root though nobody relies on it.
    pub fn forgeable_root(&self) -> Option<String> {
        self.root().weak_signature()
    }

    fn judge(&self, below: usize, now: UnixTime) -> Result<(), AdoptionFault> {
        for (at, certificate) in self.path.iter().enumerate() {
            let subject = || certificate.subject().to_string();
            refuse_leaf(certificate)?;
            refuse_usage(certificate, "keyCertSign", |usage| usage.key_cert_sign)?;
            let own = self.path[..at].iter().filter(|it| !is_self_issued(it));
            let needed = own.count() + below;
            if let Some(allowed) = certificate.path_len()
                && usize::from(allowed) < needed
            {
                return Err(AdoptionFault::PathLength {
                    subject: subject(),
                    allowed,
                    needed,
                });
            }
            refuse_times(certificate, now)?;
            // RFC 5280 §6.1: what a trust anchor says of itself is trusted for its being the anchor, not for its signature.
            let is_root = at + 1 == self.path.len();
            if let Some(algorithm) = certificate.weak_signature().filter(|_| !is_root) {
                return Err(AdoptionFault::WeakSignature {
                    subject: subject(),
                    algorithm,
                });
            }
            if let Some(why) = flaw_of_issuer(certificate) {
                return Err(AdoptionFault::Flawed {
                    subject: subject(),
                    why,
                });
            }
        }
        Ok(())
    }
}

/// Refuses a CA certificate whose key will be asked for what it may not sign or cannot sign here.
pub fn refuse_unfit_signer(certificate: &Certificate) -> Result<(), AdoptionFault> {
    refuse_usage(certificate, "cRLSign", |usage| usage.crl_sign)?;
    let key = certificate.public_key_algorithm();
    let is_too_long = matches!(key, KeyAlgorithm::Rsa { bits } if *bits > MAX_RSA_BITS);
    if SignatureAlgorithm::of_key(key).is_none() || is_too_long {
        return Err(AdoptionFault::KeyKind {
            subject: certificate.subject().to_string(),
            key: key.to_string(),
        });
    }
    Ok(())
}

/// The built-in profile that a certificate which was issued elsewhere is most like; its next one is of that. One that no profile
/// of ours would issue is of `adopted`: it is listed and can be revoked, and has no next one.
pub fn likeness(certificate: &Certificate) -> Profile {
    let purposes = certificate.extended_key_usage();
    let is_for = |side: fn(&ExtendedKeyUsage) -> bool| purposes.is_some_and(side);
    let mut names = certificate.subject_alt_names().iter();
    let is_workload = names.any(|name| matches!(name, TypedName::Spiffe(_)));
    match (is_for(|it| it.server_auth), is_for(|it| it.client_auth)) {
        _ if certificate.is_ca() => Profile::ADOPTED,
        (true, true) if is_workload => Profile::WORKLOAD,
        (true, true) => Profile::PEER,
        (true, false) => Profile::SERVER,
        (false, true) => Profile::CLIENT,
        (false, false) => Profile::ADOPTED,
    }
}

fn is_self_issued(certificate: &Certificate) -> bool {
    certificate.issuer_der() == certificate.subject_der()
}

/// Of several of one name, the one whose key it is; of those, the one that is a root.
fn issuer_of<'a>(
    certificate: &Certificate,
    others: &'a [Certificate],
) -> Result<&'a Certificate, AdoptionFault> {
    let (subject, issuer) = (
        certificate.subject().to_string(),
        certificate.issuer().to_string(),
    );
    let named = || {
        others
            .iter()
            .filter(|other| other.subject_der() == certificate.issuer_der())
    };
    let signed = || named().filter(|other| certificate.verify_signature(other).is_ok());
    if let Some(found) = signed()
        .find(|it| is_self_issued(it))
        .or_else(|| signed().next())
    {
        return Ok(found);
    }
    named().try_for_each(refuse_weak_key)?;
    match named().next() {
        None => Err(AdoptionFault::IssuerMissing { subject, issuer }),
        // Said first, since a signature that is too weak is not verified at all.
        Some(_) if certificate.weak_signature().is_some() => Err(AdoptionFault::WeakSignature {
            subject,
            algorithm: certificate.signature_algorithm().to_string(),
        }),
        Some(named) => Err(AdoptionFault::NotSigned {
            subject,
            issuer,
            why: match certificate.verify_signature(named) {
                Err(fault) => fault.why,
                Ok(()) => "it does".to_owned(),
            },
        }),
    }
}

fn refuse_leaf(certificate: &Certificate) -> Result<(), AdoptionFault> {
    if certificate.version() == 3 && certificate.is_ca() {
        return Ok(());
    }
    Err(AdoptionFault::NotACa {
        subject: certificate.subject().to_string(),
        version: certificate.version(),
    })
}

fn refuse_weak_key(certificate: &Certificate) -> Result<(), AdoptionFault> {
    let roca = || {
        let is_roca = KeyAlgorithm::is_roca(certificate.spki_der());
        is_roca.then(|| "RSA of the faulty generator of CVE-2017-15361".to_owned())
    };
    match certificate.weak_key().or_else(roca) {
        Some(key) => Err(AdoptionFault::WeakKey {
            subject: certificate.subject().to_string(),
            key,
        }),
        None => Ok(()),
    }
}

fn refuse_usage(
    certificate: &Certificate,
    missing: &'static str,
    allows: impl Fn(countersign_pki::certificate::KeyUsage) -> bool,
) -> Result<(), AdoptionFault> {
    // RFC 5280 §4.2.1.3: without the extension nothing is forbidden.
    match certificate.key_usage() {
        Some(usage) if !allows(usage) => Err(AdoptionFault::KeyUsage {
            subject: certificate.subject().to_string(),
            missing,
        }),
        _ => Ok(()),
    }
}

fn refuse_times(certificate: &Certificate, now: UnixTime) -> Result<(), AdoptionFault> {
    let subject = certificate.subject().to_string();
    let (not_before, not_after) = (certificate.not_before(), certificate.not_after());
    if now < not_before {
        Err(AdoptionFault::NotYetValid {
            subject,
            not_before,
            now,
        })
    } else if not_after <= now {
        Err(AdoptionFault::Expired {
            subject,
            not_after,
            now,
        })
    } else if not_after < now.plus(LIFE_LEFT) {
        Err(AdoptionFault::EndsSoon {
            subject,
            not_after,
            now,
        })
    } else {
        Ok(())
    }
}

/// Why a CA cannot be adopted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AdoptionFault {
    /// It would be over before its successor is in place.
    #[error("{subject} ends in {} (not_after {not_after}, now {now})", spoken(not_after.since(*now)))]
    EndsSoon {
        /// Whose certificate.
        subject: String,
        /// Its end.
        not_after: UnixTime,
        /// When it was judged.
        now: UnixTime,
    },
    /// It is over.
    #[error("{subject} expired {} ago (not_after {not_after}, now {now})", spoken(now.since(*not_after)))]
    Expired {
        /// Whose certificate.
        subject: String,
        /// Its end.
        not_after: UnixTime,
        /// When it was judged.
        now: UnixTime,
    },
    /// Something that verifiers refuse.
    #[error("the certificate of {subject} {why}")]
    Flawed {
        /// Whose certificate.
        subject: String,
        /// What it has.
        why: String,
    },
    /// The chain has a gap.
    #[error("{subject} was issued by {issuer}, whose certificate was not given")]
    IssuerMissing {
        /// Whose certificate.
        subject: String,
        /// Who is missing.
        issuer: String,
    },
    /// Nothing here signs with it.
    #[error("{subject} has a key of {key}, with which nothing is signed here")]
    KeyKind {
        /// Whose certificate.
        subject: String,
        /// Its kind.
        key: String,
    },
    /// keyUsage forbids what it is needed for.
    #[error("the keyUsage of {subject} lacks {missing}")]
    KeyUsage {
        /// Whose certificate.
        subject: String,
        /// What is missing.
        missing: &'static str,
    },
    /// A leaf, or a certificate of version 1.
    #[error(
        "{subject} is no CA: its certificate {}",
        if *version == 3 { "lacks basicConstraints CA:TRUE" } else { "is of version 1, which has no CAs" }
    )]
    NotACa {
        /// Whose certificate.
        subject: String,
        /// Of which version.
        version: u8,
    },
    /// Another key made the signature.
    #[error("the certificate of {subject} was not signed by the {issuer} that was given: {why}")]
    NotSigned {
        /// Whose certificate.
        subject: String,
        /// Who should have.
        issuer: String,
        /// In words.
        why: String,
    },
    /// Its time has not come, or this machine's clock is wrong.
    #[error("{subject} is not valid for another {} (not_before {not_before}, now {now})", spoken(not_before.since(*now)))]
    NotYetValid {
        /// Whose certificate.
        subject: String,
        /// Its beginning.
        not_before: UnixTime,
        /// When it was judged.
        now: UnixTime,
    },
    /// More CAs would stand below it than it allows.
    #[error(
        "{subject} allows {allowed} CAs below it (pathLenConstraint), {needed} would stand there"
    )]
    PathLength {
        /// Whose certificate.
        subject: String,
        /// pathLenConstraint.
        allowed: u8,
        /// How many there would be.
        needed: usize,
    },
    /// Verifiers follow no longer chains.
    #[error("over {MAX_ABOVE} CAs stand above {subject}")]
    TooDeep {
        /// Of the lowest CA.
        subject: String,
    },
    /// A key that can be broken.
    #[error("{subject} has a weak key: {key}")]
    WeakKey {
        /// Whose certificate.
        subject: String,
        /// Its kind.
        key: String,
    },
    /// A signature that can be forged.
    #[error("the certificate of {subject} is signed with {algorithm}, which can be forged")]
    WeakSignature {
        /// Whose certificate.
        subject: String,
        /// With what.
        algorithm: String,
    },
}

impl AdoptionFault {
    /// What to do.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::EndsSoon { .. } | Self::Expired { .. } => {
                "have it renewed by its issuer under the same key, then adopt the new certificate"
            }
            Self::Flawed { .. } => {
                "gateways and most clients refuse every chain through it: have the certificate issued anew without that"
            }
            Self::IssuerMissing { .. } => {
                "give the certificates of all CAs above, up to the self-signed root: `--root FILE` takes a file with several and may be repeated"
            }
            Self::KeyKind { .. } => {
                "ECDSA P-256 and P-384, Ed25519, and RSA of 2048 to 4096 bits are used here; else make a sub-CA: `countersign init --csr-out FILE`"
            }
            Self::KeyUsage { .. } => {
                "an issuing CA needs keyCertSign and cRLSign: have its certificate issued anew with both"
            }
            Self::NotACa { .. } => {
                "give the certificate of the CA itself, not one that it has issued; `countersign inspect FILE` says what a file holds"
            }
            Self::NotSigned { .. } => {
                "these certificates are not of one chain; of a CA that was renewed under a new key, give the older certificate"
            }
            Self::NotYetValid { .. } => "look at this machine's clock first",
            Self::PathLength { .. } => {
                "have the CA above issue a certificate with a longer pathLenConstraint, or adopt the CA that issues leaves itself"
            }
            Self::TooDeep { .. } => "adopt a CA nearer to the root",
            Self::WeakKey { .. } | Self::WeakSignature { .. } => {
                "nobody should trust it any more: begin anew with `countersign init`, or have a sub-CA signed with `countersign init --csr-out FILE`"
            }
        }
    }
}

/// A month: what it takes to have the next certificate made where other people have to act.
pub const LIFE_LEFT: Duration = Duration::from_hours(30 * 24);

/// webpki follows six intermediates, and the issuing CA is one of them.
const MAX_ABOVE: usize = 6;

/// What keys here may have.
const MAX_RSA_BITS: usize = 4096;
