//! The first run: a CA, the gateway's certificate, and an identity to try it with.

use std::path::PathBuf;
use std::sync::Arc;

use countersign_authority::authority::{Authority, ShowError};
use countersign_authority::init::{self, InitOptions, Initialised};
use countersign_authority::state::{StateFolder, StateLock};
use countersign_authority::what::What;
use countersign_pki::name::{CommonName, TypedName};
use countersign_pki::request::Wishes;
use countersign_policy::issuance::{Actor, Profile, Request};
use countersign_runtime::clock::SharedClock;
use serde::Serialize;

use crate::fault::Fault;
use crate::identity_files::{CERTIFICATE, Destination, Existing, IdentityFiles, KEY};
use crate::leaf_key::{KeyKind, LeafKey};

/// What the first run made, for people and programs.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Born {
    state: PathBuf,
    ca: PathBuf,
    root_fingerprint: String,
    root_not_after: String,
    trust_domain: String,
    /// Where the passphrase lies, if one was generated.
    #[serde(skip_serializing_if = "Option::is_none")]
    passphrase: Option<PathBuf>,
    gateway_certificate: PathBuf,
    gateway_names: Vec<String>,
    client_cert: PathBuf,
    client_key: PathBuf,
}

/// Makes the CA. Blocks for about half a second.
pub(crate) fn make_authority(
    state: &StateFolder,
    lock: &StateLock,
    options: InitOptions,
    clock: &SharedClock,
) -> Result<Initialised, Fault> {
    Ok(init::init(state, lock, options, clock)?)
}

/// Issues `identities/you`, the first client to try the gateway with, unless it is there or was there: one that was
/// taken away, or revoked, does not come back by itself.
pub(crate) async fn first_identity(
    authority: &Arc<Authority>,
    state: &StateFolder,
) -> Result<(), Fault> {
    let folder = state.identity(FIRST_IDENTITY);
    if folder.exists() || is_known(authority).await? {
        return Ok(());
    }
    let destination = Destination::prepare(&folder, Existing::Replace)?;
    authority.ready().await?;
    let ca = authority.intermediate().public_key_algorithm();
    let key = LeafKey::generate(KeyKind::below(ca))?;
    let request = Request {
        profile: Profile::CLIENT,
        name: FIRST_IDENTITY.to_owned(),
        subject_alt_names: Vec::new(),
        lifetime: None,
        spki_der: key.spki_der().to_vec(),
        wishes: Wishes::default(),
    };
    let issued = authority.issue(Actor::Authority, request).await?;
    let key = key.to_pem();
    destination.commit(&IdentityFiles {
        authority_url: None,
        certificate: &issued.chain_pem,
        key: Some(&key),
        ca: &issued.ca_pem,
    })
}

async fn is_known(authority: &Arc<Authority>) -> Result<bool, Fault> {
    let name = CommonName::parse(FIRST_IDENTITY).map_err(Fault::bug)?;
    match authority.show(&What::Name(TypedName::Cn(name))).await {
        Ok(_) => Ok(true),
        Err(ShowError::NotFound { .. }) => Ok(false),
        Err(error) => Err(Fault::world(error)),
    }
}

impl Born {
    /// What lies in `state` now.
    pub(crate) fn new(
        state: &StateFolder,
        made: &Initialised,
        gateway_names: &[TypedName],
    ) -> Self {
        let you = state.identity(FIRST_IDENTITY);
        Self {
            state: state.path().to_owned(),
            ca: state.ca_pem(),
            root_fingerprint: made.root_fingerprint.to_string(),
            root_not_after: made.root_not_after.to_string(),
            trust_domain: made.trust_domain.to_string(),
            passphrase: made.passphrase_generated.then(|| state.passphrase()),
            gateway_certificate: state.gateway_certificate(),
            gateway_names: gateway_names.iter().map(TypedName::bare).collect(),
            client_cert: you.join(CERTIFICATE),
            client_key: you.join(KEY),
        }
    }

    /// For people.
    pub(crate) fn text(&self) -> String {
        let mut lines = vec![
            format!("made a certificate authority in {}", self.state.display()),
            format!(
                "  root         {} (until {})",
                self.ca.display(),
                self.root_not_after
            ),
            format!("  sha-256      {}", self.root_fingerprint),
            format!("  trust domain {}", self.trust_domain),
        ];
        lines.extend(self.passphrase.as_ref().map(|path| {
            format!(
                "  passphrase   {} (move it away from the keys that it seals)",
                path.display()
            )
        }));
        lines.push(format!(
            "  gateway      {} for {}",
            self.gateway_certificate.display(),
            self.gateway_names.join(", ")
        ));
        lines.push(format!(
            "  you          {} with {}",
            self.client_cert.display(),
            self.client_key.display()
        ));
        lines.join("\n") + "\n"
    }
}

/// The first client's name.
pub(crate) const FIRST_IDENTITY: &str = "you";
