//! How a new state comes to be, whoever its issuers are: built whole in a scaffold (`scaffold.rs`), then moved out of it.

use std::path::Path;

use countersign_pki::certificate::Certificate;
use countersign_pki::feed::Sequence;
use countersign_pki::pem;
use countersign_pki::time::UnixTime;
use countersign_policy::issuance::Actor;
use countersign_store::adoption::Brought;
use countersign_store::issuer::IssuerRole;
use countersign_store::store::{Founding, Store};

use crate::init::{InitError, generate_passphrase, new_history};
use crate::meta::Meta;
use crate::scaffold::{self, create_folder, write};
use crate::sealed::{self, KeyDerivation};
use crate::secret::Secret;
use crate::signing_key::GivenKey;
use crate::state::{FORMAT_TEXT, StateFolder};

/// An issuer of the new authority.
pub(crate) struct Founder {
    pub(crate) role: IssuerRole,
    pub(crate) certificate: Certificate,
    /// `None`: it stays where it is.
    pub(crate) key: Option<GivenKey>,
}

/// Everything that a new state is made of.
pub(crate) struct Foundation<'a> {
    /// Root, intermediate, operator issuer.
    pub(crate) founders: [&'a Founder; 3],
    /// CAs between intermediate and root, nearest to the intermediate first.
    pub(crate) between: &'a [Certificate],
    pub(crate) brought: Brought,
    pub(crate) meta: Meta,
    pub(crate) sealing: Sealing,
    /// For the audit log.
    pub(crate) actor: Actor,
    pub(crate) reason: String,
    pub(crate) now: UnixTime,
}

/// By what the keys are sealed.
pub(crate) struct Sealing {
    pub(crate) passphrase: PassphraseChoice,
    pub(crate) key_derivation: KeyDerivation,
}

/// Where the passphrase comes from, and whether it lies beside the keys.
pub(crate) enum PassphraseChoice {
    /// Chosen by an operator, who keeps it.
    Given(Secret),
    /// Made before, and kept beside the keys.
    Kept(Secret),
    /// Made now, and kept beside the keys.
    Made,
}

impl PassphraseChoice {
    /// Itself; one that is kept is in `folder` then.
    pub(crate) fn obtain(&self, folder: &Path) -> Result<Secret, InitError> {
        let kept = match self {
            Self::Given(given) => return Ok(given.clone()),
            Self::Kept(kept) => kept.clone(),
            Self::Made => generate_passphrase()?,
        };
        write(
            &folder.join("passphrase"),
            &[kept.expose(), b"\n"].concat(),
            0o600,
        )?;
        Ok(kept)
    }
}

impl Foundation<'_> {
    /// Puts the state in place. What a crash leaves in the middle of it is recognised and redone.
    pub(crate) fn lay(self, state: &StateFolder) -> Result<(), InitError> {
        scaffold::clear(state)?;
        let scaffold = state.scaffold();
        create_folder(&scaffold)?;
        self.write_issuers(&scaffold.join("ca"))?;
        let root = &self.founders[0].certificate;
        write(&scaffold.join("ca.pem"), pem_of(root).as_bytes(), 0o644)?;
        write(
            &scaffold.join("meta.json"),
            self.meta.to_json().as_bytes(),
            0o600,
        )?;
        write(&scaffold.join("format"), FORMAT_TEXT.as_bytes(), 0o600)?;
        let founding = Founding {
            history: new_history()?,
            base: Sequence(self.now.seconds()),
            issuers: self
                .founders
                .map(|founder| (founder.role, founder.certificate.clone()))
                .to_vec(),
            superiors: self.between.to_vec(),
            brought: self.brought,
            reason: self.reason,
            actor: self.actor,
            now: self.now,
        };
        Store::create(&scaffold.join("inventory.db"), &founding)?;
        Ok(scaffold::move_out(state)?)
    }

    fn write_issuers(&self, folder: &Path) -> Result<(), InitError> {
        create_folder(folder)?;
        let passphrase = self.sealing.passphrase.obtain(folder)?;
        for founder in self.founders {
            let role = founder.role;
            if let Some(key) = &founder.key {
                write_key(folder, role, key, &passphrase, self.sealing.key_derivation)?;
            }
            write(
                &folder.join(format!("{role}.pem")),
                pem_of(&founder.certificate).as_bytes(),
                0o644,
            )?;
        }
        Ok(())
    }
}

/// Into `folder`, sealed.
pub(crate) fn write_key(
    folder: &Path,
    role: IssuerRole,
    key: &GivenKey,
    passphrase: &Secret,
    derivation: KeyDerivation,
) -> Result<(), InitError> {
    let sealed = sealed::seal(&key.pkcs8, role, passphrase, derivation)?;
    let path = folder.join(format!("{role}.key.sealed"));
    Ok(write(&path, sealed.as_bytes(), 0o600)?)
}

fn pem_of(certificate: &Certificate) -> String {
    pem::encode("CERTIFICATE", certificate.der())
}
