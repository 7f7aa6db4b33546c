//! The keys that are needed rarely: that of the operator issuer, and the root's.
//!
//! Neither is unsealed at the start. The operator issuer's is, when the first node or operator is asked for, and stays, because
//! nodes renew often and every unsealing costs a fifth of a second and 64 MiB: an authority without nodes never holds it. The
//! root's is unsealed for each CA certificate and dropped with it. The passphrase is read anew each time and not kept: who
//! takes its file away after the start has taken both keys away. One that was typed has no file, and stays in memory.

use std::sync::Arc;

use countersign_policy::issuance::IssuerRole;
use tokio::sync::{Mutex, OnceCell};
use tokio::task::spawn_blocking;

use super::{Authority, NotReady};
use crate::open::unseal;
use crate::secret::PassphraseSource;
use crate::signer::Signer;

/// What is needed to unseal them, and what has been unsealed.
#[derive(Default)]
pub(crate) struct RareSigners {
    /// `None`: opened with the one signer of leaves.
    pub(crate) passphrase: Option<PassphraseSource>,
    operator: OnceCell<Arc<dyn Signer>>,
    /// One unsealing at a time: each takes 64 MiB.
    unsealing: Mutex<()>,
}

impl RareSigners {
    pub(crate) fn new(passphrase: PassphraseSource) -> Self {
        Self {
            passphrase: Some(passphrase),
            ..Self::default()
        }
    }
}

impl Authority {
    /// The signer of an issuer; waits until its key is unsealed.
    pub(crate) async fn signer_of(&self, role: IssuerRole) -> Result<Arc<dyn Signer>, NotReady> {
        match role {
            IssuerRole::Intermediate => self.signer().await.cloned(),
            IssuerRole::Operator => {
                let unseal = || self.unseal_now(role);
                self.rarely.operator.get_or_try_init(unseal).await.cloned()
            }
            IssuerRole::Root => self.unseal_now(role).await,
        }
    }

    async fn unseal_now(&self, role: IssuerRole) -> Result<Arc<dyn Signer>, NotReady> {
        let Some(source) = self.rarely.passphrase.clone() else {
            return Err(NotReady {
                why: format!("the key of the {role} issuer is not at hand"),
                hint: None,
            });
        };
        let sealed = self.state.ca().join(format!("{role}.key.sealed"));
        let issuer = self.issuers.issuer(role).clone();
        let _alone = self.rarely.unsealing.lock().await;
        let unsealed = spawn_blocking(move || {
            let passphrase = source.read().map_err(|error| NotReady {
                why: format!("the key of the {role} issuer stays sealed: {error}"),
                hint: error.hint(),
            })?;
            unseal(&sealed, role, issuer, &passphrase)
        });
        let ended = |_| NotReady {
            why: format!("the key of the {role} issuer was not unsealed: its thread ended"),
            hint: None,
        };
        Ok(Arc::new(unsealed.await.map_err(ended)??))
    }
}
