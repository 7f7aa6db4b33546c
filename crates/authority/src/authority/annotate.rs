//! What people say of identities, and the certificates of others that they watch.

use countersign_pki::certificate::Certificate;
use countersign_pki::name::TypedName;
use countersign_policy::administration::Role;
use countersign_policy::issuance::Actor;
use countersign_store::annotation::{Annotate, Annotated, Owner};
use countersign_store::import::Import;
use countersign_store::inventory::Annotation;

use super::{AnnotateError, Authority, ImportError};
use crate::what::What;

impl Authority {
    /// Changes what is said of the one identity that is meant; answers with what is said of it now.
    pub async fn annotate(
        &self,
        actor: Actor,
        what: &What,
        change: Annotate,
    ) -> Result<(TypedName, Annotation), AnnotateError> {
        if !actor.may(Role::Operator) {
            return Err(AnnotateError::NotPermitted {
                actor: actor.to_string(),
            });
        }
        let selector = self.selector(what).await?;
        let outcome = self.store.annotate(selector, change, actor, self.now());
        match outcome.await? {
            Annotated::Ambiguous(names) => Err(AnnotateError::Ambiguous {
                what: what.to_string(),
                names: names.iter().map(ToString::to_string).collect(),
            }),
            Annotated::Done(identity, annotation) => Ok((identity, annotation)),
            Annotated::NotFound => Err(AnnotateError::NotFound {
                what: what.to_string(),
            }),
            Annotated::TooManyLabels(count) => Err(AnnotateError::TooManyLabels { count }),
        }
    }

    /// Takes certificates of others into the inventory, all or none.
    pub async fn import(
        &self,
        actor: Actor,
        certificates: Vec<Certificate>,
        owner: Option<Owner>,
    ) -> Result<Vec<Import>, ImportError> {
        if !actor.may(Role::Operator) {
            return Err(ImportError::NotPermitted {
                actor: actor.to_string(),
            });
        }
        let imported = self.store.import(certificates, owner, actor, self.now());
        Ok(imported.await?)
    }
}
