//! What a signed path must satisfy beyond its signatures. webpki calls it for each path it would accept, and the
//! diagnosis for each path it found: what is refused and what is reported cannot differ.
//!
//! The order of checks is the order of causes. First whether the issuers may issue at all, then revocation (which no
//! renewal cures), then time, then what the leaf may be used for, then its keys, then who it is.

use super::anchor::Anchor;
use super::fault::ChainFaultKind;
use super::outline::{Outline, Terms};
use super::{Purpose, Rules, Strictness, extensions, listed, lists, strength, strict};
use crate::certificate::Certificate;
use crate::crl::ParsedCrl;
use crate::dn::DistinguishedName;
use crate::fingerprint::Fingerprint;
use crate::identity::PathElement;
use crate::name::TypedName;
use crate::revocation::RevocationIndex;
use crate::serial::SerialNumber;
use crate::spiffe::SpiffeId;
use crate::time::UnixTime;

/// What every path of one handshake is judged by.
#[derive(Clone, Copy)]
pub(super) struct Case<'a> {
    pub(super) leaf: &'a Certificate,
    pub(super) purpose: Purpose,
    pub(super) revocations: &'a RevocationIndex,
    /// CRLs to ask as well; none: nobody asked for them.
    pub(super) lists: &'a [ParsedCrl],
    pub(super) rules: Rules,
    pub(super) now: UnixTime,
}

/// A path whose signatures verify: certificates from the leaf upwards, and the anchor above them.
#[derive(Clone, Copy)]
pub(super) struct SignedPath<'a, 'c> {
    pub(super) certificates: &'a [&'a Outline<'c>],
    pub(super) anchor: &'a Anchor,
}

impl SignedPath<'_, '_> {
    /// How many intermediates count towards a path length: self-issued ones do not (RFC 5280 §4.2.1.9).
    fn intermediates(&self) -> usize {
        let issuers = self.certificates.iter().skip(1);
        issuers
            .filter(|certificate| !certificate.is_self_issued())
            .count()
    }
}

impl Case<'_> {
    /// The path as revocation knows it, or the first thing wrong with it.
    pub(super) fn judge(
        &self,
        path: SignedPath<'_, '_>,
    ) -> Result<Vec<PathElement>, ChainFaultKind> {
        self.check_issuers(path)?;
        extensions::check(self, path)?;
        let elements = self.check_revocation(path)?;
        if let Some(own) = self.revocations.lists_of(path.anchor.bundle().name()) {
            let certificates = path.certificates.iter();
            let read = certificates.map(|certificate| || Ok(**certificate));
            let path = elements.iter().copied().zip(read);
            listed::check(own, path, self.now, |certificate| self.called(certificate))?;
        }
        lists::check(self, path)?;
        self.check_times(path)?;
        self.check_purpose(path)?;
        path.certificates
            .iter()
            .try_for_each(|certificate| strength::judge_key(certificate.spki))?;
        self.check_spiffe_id(path.anchor)?;
        self.check_depth(path)?;
        if self.rules.strictness == Strictness::Strict {
            strict::check(self, path)?;
        }
        Ok(elements)
    }

    /// How a certificate is called in faults: its subject; a leaf without one by its first name.
    pub(super) fn called(&self, certificate: &Outline<'_>) -> String {
        let subject = name_text(certificate.subject);
        if !subject.is_empty() {
            return subject;
        }
        let first = self
            .leaf
            .names()
            .first()
            .filter(|_| certificate.der == self.leaf.der().as_ref());
        first.map_or_else(
            || "a certificate without subject".to_owned(),
            TypedName::to_string,
        )
    }

    fn check_issuers(&self, path: SignedPath<'_, '_>) -> Result<(), ChainFaultKind> {
        for (above, certificate) in path.certificates.iter().enumerate() {
            if let Some(oid) = certificate.unknown_critical {
                let why = format!(
                    "{} has the critical extension {}, which is not understood",
                    self.called(certificate),
                    oid_text(oid)
                );
                return Err(ChainFaultKind::Malformed { why });
            }
            let Some(below) = above.checked_sub(1) else {
                continue;
            };
            let subject = || self.called(certificate);
            if certificate.version != 3 || !certificate.terms.is_ca {
                return Err(ChainFaultKind::IssuerNotACa { subject: subject() });
            }
            check_issuer_terms(&certificate.terms, below, subject)?;
        }
        check_issuer_terms(path.anchor.terms(), path.intermediates(), || {
            path.anchor.subject()
        })
    }

    fn check_depth(&self, path: SignedPath<'_, '_>) -> Result<(), ChainFaultKind> {
        let (intermediates, limit) = (path.intermediates(), self.rules.intermediates);
        if intermediates > limit {
            Err(ChainFaultKind::DepthExceeded {
                intermediates,
                limit,
            })
        } else {
            Ok(())
        }
    }

    fn check_revocation(
        &self,
        path: SignedPath<'_, '_>,
    ) -> Result<Vec<PathElement>, ChainFaultKind> {
        let mut elements = Vec::with_capacity(path.certificates.len());
        for (at, certificate) in path.certificates.iter().enumerate() {
            let serial = SerialNumber::from_der_integer(certificate.serial).map_err(|error| {
                ChainFaultKind::BadSerial {
                    subject: self.called(certificate),
                    why: error.to_string(),
                }
            })?;
            let issuer_key = path
                .certificates
                .get(at + 1)
                .map_or_else(|| path.anchor.key(), |issuer| Fingerprint::of(issuer.spki));
            if let Some(revocation) = self.revocations.find(&issuer_key, serial) {
                return Err(ChainFaultKind::Revoked {
                    subject: self.called(certificate),
                    serial,
                    issuer_key,
                    revoked_at: revocation.revoked_at,
                    reason: revocation.reason,
                });
            }
            elements.push(PathElement {
                issuer_key,
                serial,
                not_after: certificate.terms.not_after,
            });
        }
        Ok(elements)
    }

    fn check_times(&self, path: SignedPath<'_, '_>) -> Result<(), ChainFaultKind> {
        for (at, certificate) in path.certificates.iter().enumerate() {
            let Terms {
                not_before,
                not_after,
                ..
            } = certificate.terms;
            if self.now > not_after {
                return Err(match at {
                    0 => ChainFaultKind::LeafExpired { not_after },
                    _ => ChainFaultKind::IntermediateExpired {
                        subject: self.called(certificate),
                        not_after,
                    },
                });
            }
            if self.now < not_before {
                return Err(ChainFaultKind::NotYetValid { not_before });
            }
        }
        // webpki never looks at an anchor's validity.
        let Terms {
            not_before,
            not_after,
            ..
        } = *path.anchor.terms();
        if self.now > not_after {
            return Err(ChainFaultKind::RootExpired {
                subject: path.anchor.subject(),
                not_after,
            });
        }
        if self.now < not_before {
            Err(ChainFaultKind::NotYetValid { not_before })
        } else {
            Ok(())
        }
    }

    fn check_purpose(&self, path: SignedPath<'_, '_>) -> Result<(), ChainFaultKind> {
        let Some((leaf, issuers)) = path.certificates.split_first() else {
            return Ok(());
        };
        let usage = leaf.terms.key_usage;
        if leaf.terms.is_ca || usage.is_some_and(|usage| usage.key_cert_sign) {
            return Err(ChainFaultKind::CaUsedAsEndEntity);
        }
        if !leaf.terms.allows(self.purpose) {
            return Err(ChainFaultKind::MissingPurpose {
                listed: self.listed_purposes(),
            });
        }
        if let Some(issuer) = issuers
            .iter()
            .find(|issuer| !issuer.terms.allows(self.purpose))
        {
            return Err(ChainFaultKind::IssuerEkuExcludesPurpose {
                subject: self.called(issuer),
            });
        }
        if !path.anchor.terms().allows(self.purpose) {
            return Err(ChainFaultKind::IssuerEkuExcludesPurpose {
                subject: path.anchor.subject(),
            });
        }
        // RFC 8446 §4.4.2.2, §4.4.2.4: the key signs the handshake, so keyUsage, where present, must allow it.
        if usage.is_some_and(|usage| !usage.digital_signature) {
            return Err(ChainFaultKind::MissingDigitalSignature);
        }
        Ok(())
    }

    fn check_spiffe_id(&self, anchor: &Anchor) -> Result<(), ChainFaultKind> {
        let uris = || {
            self.leaf
                .names()
                .iter()
                .filter(|name| matches!(name, TypedName::Spiffe(_) | TypedName::Uri(_)))
        };
        let Some(id) = uris().find_map(as_spiffe_id) else {
            return Ok(());
        };
        // X509-SVID §2: an SVID holds exactly one URI SAN, and validators reject any other.
        if uris().nth(1).is_some() {
            return Err(ChainFaultKind::IdentityAmbiguous {
                ids: uris().map(TypedName::bare).collect(),
            });
        }
        match anchor.bundle().trust_domain() {
            // Such a bundle vouches for none of them: the ID is no name of this peer.
            None => Ok(()),
            Some(own) if own == id.trust_domain() => Ok(()),
            Some(other) => Err(ChainFaultKind::TrustDomainMismatch {
                id: id.to_string(),
                bundle: anchor.bundle().name().clone(),
                expected: Some(other.to_string()),
            }),
        }
    }

    fn listed_purposes(&self) -> Vec<String> {
        let Some(listed) = self.leaf.extended_key_usage() else {
            return Vec::new();
        };
        [
            (listed.server_auth, "serverAuth"),
            (listed.client_auth, "clientAuth"),
            (listed.any, "anyExtendedKeyUsage"),
        ]
        .into_iter()
        .filter(|(present, _)| *present)
        .map(|(_, name)| name.to_owned())
        .chain(listed.other.iter().cloned())
        .collect()
    }
}

/// How far a path with this fault came: paths are compared by it, so that the fault told is the last thing in the way.
pub(super) fn stage(kind: &ChainFaultKind) -> u8 {
    match kind {
        ChainFaultKind::IssuerNotACa { .. }
        | ChainFaultKind::IssuerCannotSign { .. }
        | ChainFaultKind::PathLenExceeded { .. } => 10,
        ChainFaultKind::BadSerial { .. }
        | ChainFaultKind::CrlUnusable { .. }
        | ChainFaultKind::OcspUnusable { .. }
        | ChainFaultKind::Revoked { .. } => 20,
        ChainFaultKind::IntermediateExpired { .. }
        | ChainFaultKind::LeafExpired { .. }
        | ChainFaultKind::NotYetValid { .. }
        | ChainFaultKind::RootExpired { .. } => 30,
        ChainFaultKind::CaUsedAsEndEntity
        | ChainFaultKind::IssuerEkuExcludesPurpose { .. }
        | ChainFaultKind::MissingDigitalSignature
        | ChainFaultKind::MissingPurpose { .. } => 40,
        ChainFaultKind::UnsupportedAlgorithm { .. } | ChainFaultKind::WeakKey { .. } => 50,
        ChainFaultKind::IdentityAmbiguous { .. } | ChainFaultKind::TrustDomainMismatch { .. } => 60,
        ChainFaultKind::DepthExceeded { .. }
        | ChainFaultKind::KeyIdMismatch { .. }
        | ChainFaultKind::NotStrict { .. } => 65,
        ChainFaultKind::NameConstraintsUnsupported { .. }
        | ChainFaultKind::NameConstraintsViolated { .. } => 70,
        _ => 0,
    }
}

/// A DER name in RFC 4514, as far as it can be read.
pub(super) fn name_text(der: &[u8]) -> String {
    DistinguishedName::from_der(der)
        .map_or_else(|_| "an unreadable name".to_owned(), |name| name.to_string())
}

/// `below` is the number of intermediates between this issuer and the leaf.
fn check_issuer_terms(
    terms: &Terms,
    below: usize,
    subject: impl Fn() -> String,
) -> Result<(), ChainFaultKind> {
    if !terms.may_sign_certificates() {
        return Err(ChainFaultKind::IssuerCannotSign { subject: subject() });
    }
    let allowed = terms
        .path_len
        .map(|length| usize::try_from(length).unwrap_or(usize::MAX));
    if allowed.is_some_and(|allowed| below > allowed) {
        return Err(ChainFaultKind::PathLenExceeded { subject: subject() });
    }
    Ok(())
}

fn as_spiffe_id(name: &TypedName) -> Option<&SpiffeId> {
    match name {
        TypedName::Spiffe(id) => Some(id),
        _ => None,
    }
}

fn oid_text(content: &[u8]) -> String {
    const_oid::ObjectIdentifierRef::from_bytes(content)
        .map_or_else(|_| "of an unreadable type".to_owned(), ToString::to_string)
}
