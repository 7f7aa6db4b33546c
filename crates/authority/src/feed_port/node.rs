//! Who is a node.

use axum::extract::FromRequestParts;
use axum::http::StatusCode;
use axum::http::request::Parts;
use countersign_pki::fingerprint::Fingerprint;
use countersign_pki::identity::{Identity, VerifiedPeer};
use countersign_pki::name::TypedName;
use countersign_policy::issuance::{Actor, Profile};
use countersign_store::inventory::{Selector, Status};

use crate::authority::Authority;
use crate::feed::NodeCertificate;
use crate::problem::Problem;

/// A peer whose certificate the inventory has as a node's. Only [`Node::admit`] makes one.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    identity: Identity,
    certificate: NodeCertificate,
    fingerprint: Fingerprint,
}

impl Node {
    /// Asks the inventory for the certificate that was verified: what it is for stands there and nowhere in a name.
    pub(super) async fn admit(authority: &Authority, peer: &VerifiedPeer) -> Result<Self, Problem> {
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
        if entry.profile.as_ref() != Some(&Profile::NODE) {
            let kind = entry
                .profile
                .map_or_else(|| "unknown".to_owned(), |profile| profile.to_string());
            return refuse(format!(
                "{} has a certificate of profile {kind}: the feed is told to nodes only",
                peer.principal()
            ));
        }
        if entry.status_at(authority.now()) != Status::Valid {
            return refuse(format!(
                "the certificate of {} is not valid",
                peer.principal()
            ));
        }
        let common_name = peer
            .names()
            .iter()
            .find(|name| matches!(name, TypedName::Cn(_)));
        let ([leaf, ..], Some(name)) = (peer.path(), common_name) else {
            return refuse(format!("{} has no common name", peer.principal()));
        };
        Ok(Self {
            identity: Identity {
                bundle: peer.bundle().clone(),
                name: name.clone(),
            },
            certificate: (leaf.issuer_key, leaf.serial),
            fingerprint: peer.fingerprint(),
        })
    }

    /// Its name, as the configuration and receipts have it.
    pub(super) fn name(&self) -> String {
        self.identity.name.bare()
    }

    /// As whoever asks for its own next certificate.
    pub(super) fn actor(&self) -> Actor {
        Actor::Holder {
            identity: self.identity.clone(),
            profile: Profile::NODE,
        }
    }

    /// The certificate that it showed, to be renewed.
    pub(super) fn presented(&self) -> Fingerprint {
        self.fingerprint
    }

    /// The certificate that it showed.
    pub(super) fn certificate(&self) -> NodeCertificate {
        self.certificate
    }
}

impl<S: Sync> FromRequestParts<S> for Node {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let node = parts.extensions.get::<Self>().cloned();
        node.ok_or_else(|| Problem::new(StatusCode::FORBIDDEN, "the caller is not known"))
    }
}
