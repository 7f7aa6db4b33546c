//! Whose certificate it is, and of which profile.

use axum::http::StatusCode;
use countersign_pki::fingerprint::Fingerprint;
use countersign_pki::identity::{Identity, VerifiedPeer};
use countersign_pki::name::TypedName;
use countersign_policy::issuance::{Actor, Profile};
use countersign_store::inventory::{Selector, Status};

use crate::authority::Authority;
use crate::feed::NodeCertificate;
use crate::problem::Problem;

/// A peer whose certificate the inventory has as one of a reserved profile. Only [`Holder::admit`] makes one.
#[derive(Clone, Debug)]
pub(crate) struct Holder {
    identity: Identity,
    profile: Profile,
    certificate: NodeCertificate,
    fingerprint: Fingerprint,
}

impl Holder {
    /// Asks the inventory for the certificate that was verified: what it is for stands there and nowhere in a name.
    /// `served`: what there is, as the audit log has it; `port`: what the others are told.
    pub(crate) async fn admit(
        authority: &Authority,
        peer: &VerifiedPeer,
        profile: Profile,
        served: &str,
        port: &str,
    ) -> Result<Self, Problem> {
        let refuse = |why: String| Err(Problem::new(StatusCode::FORBIDDEN, why));
        let found = authority
            .store
            .find(Selector::Fingerprint(peer.fingerprint()))
            .await?;
        let Some(entry) = found.entries.into_iter().find(|entry| !entry.is_imported()) else {
            return refuse(format!(
                "the inventory has no certificate {}",
                peer.fingerprint()
            ));
        };
        if entry.profile.as_ref() != Some(&profile) {
            let kind = entry
                .profile
                .as_ref()
                .map_or_else(|| "unknown".to_owned(), Profile::to_string);
            let why = format!(
                "{} has a certificate of profile {kind}: {port}",
                peer.principal()
            );
            // A certificate for something else, by one who holds it.
            if let (Some(identity), Some(profile)) = (common_name(peer), entry.profile) {
                let holder = Actor::Holder {
                    identity,
                    profile,
                    certificate: Some(peer.fingerprint()),
                };
                authority.refused(holder, served, &why).await;
            }
            return refuse(why);
        }
        if entry.status_at(authority.now()) != Status::Valid {
            return refuse(format!(
                "the certificate of {} is not valid",
                peer.principal()
            ));
        }
        let ([leaf, ..], Some(identity)) = (peer.path(), common_name(peer)) else {
            return refuse(format!("{} has no common name", peer.principal()));
        };
        Ok(Self {
            identity,
            profile,
            certificate: (leaf.issuer_key, leaf.serial),
            fingerprint: peer.fingerprint(),
        })
    }

    /// By which the configuration knows it.
    pub(crate) fn identity(&self) -> &Identity {
        &self.identity
    }

    /// Its name, as the configuration and receipts have it.
    pub(crate) fn name(&self) -> String {
        self.identity.name.bare()
    }

    /// As whoever asks for its own next certificate.
    pub(crate) fn actor(&self) -> Actor {
        Actor::Holder {
            identity: self.identity.clone(),
            profile: self.profile.clone(),
            certificate: Some(self.fingerprint),
        }
    }

    /// The certificate that it showed, to be renewed.
    pub(crate) fn presented(&self) -> Fingerprint {
        self.fingerprint
    }

    /// The certificate that it showed.
    pub(crate) fn certificate(&self) -> NodeCertificate {
        self.certificate
    }
}

/// By which the configuration knows the holder of a reserved certificate.
pub(crate) fn common_name(peer: &VerifiedPeer) -> Option<Identity> {
    let name = peer
        .names()
        .iter()
        .find(|name| matches!(name, TypedName::Cn(_)))?;
    Some(Identity {
        bundle: peer.bundle().clone(),
        name: name.clone(),
    })
}
