//! Anchors as the hot path needs them: read once, when the verifier is made.

use std::sync::Arc;

use rustls_pki_types::TrustAnchor;

use super::outline::{Outline, Terms};
use crate::bundle::{InvalidBundle, TrustBundle};
use crate::certificate::Certificate;
use crate::fingerprint::Fingerprint;

/// Every bundle's anchors in the form that webpki reads, and beside each what webpki does not know of it.
///
/// Invariant: both lists are in the same order, and no key stands in two bundles. So one call may offer all of them:
/// the anchor that the path ended in tells the bundle.
#[derive(Debug)]
pub(super) struct Anchors {
    trusted: Vec<TrustAnchor<'static>>,
    known: Vec<Anchor>,
}

/// One anchor and the bundle that it speaks for.
#[derive(Debug)]
pub(super) struct Anchor {
    bundle: Arc<TrustBundle>,
    place: usize,
    key: Fingerprint,
    terms: Terms,
}

impl Anchors {
    /// Refuses what chains cannot be verified against: keys in two bundles, unknown critical extensions.
    pub(super) fn new(bundles: &[Arc<TrustBundle>]) -> Result<Self, InvalidBundle> {
        let mut anchors = Self {
            trusted: Vec::new(),
            known: Vec::new(),
        };
        for bundle in bundles {
            for (place, certificate) in bundle.anchors().iter().enumerate() {
                anchors.add(bundle, place, certificate)?;
            }
        }
        Ok(anchors)
    }

    /// What webpki is given.
    pub(super) fn trusted(&self) -> &[TrustAnchor<'static>] {
        &self.trusted
    }

    /// The anchor that webpki ended in, one of [`Anchors::trusted`].
    pub(super) fn find(&self, trusted: &TrustAnchor<'_>) -> Option<&Anchor> {
        // By its place, not by name and key: a root renewed with its key differs from the old one in validity only.
        let at = self
            .trusted
            .iter()
            .position(|known| std::ptr::eq(known, trusted))?;
        self.known.get(at)
    }

    /// The anchors of this name (a whole DER `Name`).
    pub(super) fn named<'a>(&'a self, subject: &'a [u8]) -> impl Iterator<Item = &'a Anchor> {
        // webpki keeps a name without the tag and length of its SEQUENCE.
        let is_named =
            move |trusted: &TrustAnchor<'_>| content(subject) == Some(trusted.subject.as_ref());
        self.trusted
            .iter()
            .zip(&self.known)
            .filter(move |(trusted, _)| is_named(trusted))
            .map(|(_, anchor)| anchor)
    }

    fn add(
        &mut self,
        bundle: &Arc<TrustBundle>,
        place: usize,
        certificate: &Certificate,
    ) -> Result<(), InvalidBundle> {
        let key = certificate.spki();
        if let Some(other) = self
            .known
            .iter()
            .find(|known| known.key == key && known.bundle.name() != bundle.name())
        {
            return Err(InvalidBundle::SharedAnchor {
                first: other.bundle.name().clone(),
                second: bundle.name().clone(),
            });
        }
        let unusable = |why: String| InvalidBundle::Unusable {
            bundle: bundle.name().clone(),
            subject: certificate.subject().to_string(),
            why,
        };
        let outline =
            Outline::parse(certificate.der()).map_err(|malformed| unusable(malformed.0))?;
        if outline.unknown_critical.is_some() {
            // RFC 5280 §4.2: what is critical and not understood is rejected. webpki lets it pass in anchors.
            return Err(unusable(
                "it has a critical extension that is not understood".to_owned(),
            ));
        }
        let trusted = webpki::anchor_from_trusted_cert(certificate.der())
            .map_err(|error| unusable(error.to_string()))?;
        self.trusted.push(trusted.to_owned());
        self.known.push(Anchor {
            bundle: Arc::clone(bundle),
            place,
            key,
            terms: outline.terms,
        });
        Ok(())
    }
}

impl Anchor {
    /// The bundle that vouches for what stands below.
    pub(super) fn bundle(&self) -> &TrustBundle {
        &self.bundle
    }

    /// The certificate it was read from.
    pub(super) fn certificate(&self) -> &Certificate {
        &self.bundle.anchors()[self.place]
    }

    /// SHA-256 of its `SubjectPublicKeyInfo`.
    pub(super) fn key(&self) -> Fingerprint {
        self.key
    }

    /// What it permits.
    pub(super) fn terms(&self) -> &Terms {
        &self.terms
    }

    /// Its subject in RFC 4514.
    pub(super) fn subject(&self) -> String {
        self.certificate().subject().to_string()
    }
}

fn content(name: &[u8]) -> Option<&[u8]> {
    crate::asn1::Cursor::new(name)
        .any("a name")
        .ok()
        .map(|tlv| tlv.content)
}
