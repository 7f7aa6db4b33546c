//! API keys: a second factor beside a certificate, bound to one identity, and kept as hashes.
//!
//! A key is 32 random bytes, so a plain hash of it can be neither guessed nor looked up, and one that is slow would only be paid for
//! at each request. A key never is an identity: what it says is that the holder of a certificate has it, too.

use std::fmt;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use countersign_pki::fingerprint::Fingerprint;
use countersign_pki::identity::{BundleName, VerifiedPeer};
use countersign_pki::name::TypedName;
use countersign_pki::time::UnixTime;

/// One key, as it is configured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiKey {
    /// How rules and logs call it.
    pub name: String,
    /// SHA-256 of the key's text.
    pub sha256: Fingerprint,
    /// Whose it is: a name, and the bundle that vouches for it.
    pub holder: TypedName,
    /// The bundle.
    pub bundle: BundleName,
    /// Its end.
    pub not_after: Option<UnixTime>,
}

/// The keys of a gateway.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ApiKeys {
    keys: Vec<ApiKey>,
}

/// Why a key counts as not given. Never holds the key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ApiKeyFault {
    /// No header with a key.
    #[error("the request has no API key")]
    Missing,
    /// Several.
    #[error("the request has more than one API key")]
    Several,
    /// None of those that are configured, or none at all.
    #[error("the API key is none that is configured")]
    Unknown,
    /// Somebody else's.
    #[error("the API key {name} is bound to another identity")]
    OfAnother {
        /// How the key is called.
        name: String,
    },
    /// Past its end.
    #[error("the API key {name} ended at {ended} (now {now})")]
    Expired {
        /// How the key is called.
        name: String,
        /// When.
        ended: UnixTime,
        /// Now.
        now: UnixTime,
    },
}

impl ApiKeys {
    /// Those of a gateway, each with a name and a hash of its own.
    pub fn new(keys: Vec<ApiKey>) -> Self {
        Self { keys }
    }

    /// The name of the key that is sent, if it is this peer's and good now. Each key that is configured is compared, in the same time.
    pub fn verify(
        &self,
        sent: &[u8],
        peer: &VerifiedPeer,
        now: UnixTime,
    ) -> Result<&str, ApiKeyFault> {
        if sent.len() > MAX_KEY_BYTES {
            return Err(ApiKeyFault::Unknown);
        }
        let hash = Fingerprint::of(sent);
        let found = self.keys.iter().fold(None, |found, key| {
            let is_it = verify_slices_are_equal(key.sha256.as_bytes(), hash.as_bytes()).is_ok();
            if is_it { Some(key) } else { found }
        });
        found.ok_or(ApiKeyFault::Unknown)?.check(peer, now)
    }

    /// Whether the key that is called so would count for this peer at `now`, as if it had been sent.
    pub fn dangerous_unverified(
        &self,
        name: &str,
        peer: &VerifiedPeer,
        now: UnixTime,
    ) -> Result<&str, ApiKeyFault> {
        let found = self.keys.iter().find(|key| key.name == name);
        found.ok_or(ApiKeyFault::Unknown)?.check(peer, now)
    }
}

impl ApiKey {
    fn check(&self, peer: &VerifiedPeer, now: UnixTime) -> Result<&str, ApiKeyFault> {
        let name = || self.name.clone();
        let is_holder = self.bundle == *peer.bundle() && peer.names().contains(&self.holder);
        if !is_holder {
            return Err(ApiKeyFault::OfAnother { name: name() });
        }
        match self.not_after {
            Some(ended) if now >= ended => Err(ApiKeyFault::Expired {
                name: name(),
                ended,
                now,
            }),
            _ => Ok(&self.name),
        }
    }
}

/// A new key: what its holder sends, and what is configured. The only time that it is seen.
pub struct NewApiKey {
    text: String,
}

impl NewApiKey {
    /// Of 32 random bytes.
    pub fn new(random: [u8; 32]) -> Self {
        Self {
            text: format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(random)),
        }
    }

    /// What is sent.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// What is configured.
    pub fn sha256(&self) -> Fingerprint {
        Fingerprint::of(self.text.as_bytes())
    }
}

impl fmt::Debug for NewApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("NewApiKey")
    }
}

/// By which scanners for leaked secrets know one.
const PREFIX: &str = "csk_";
/// Ours have 47; whoever brings keys from elsewhere has longer ones.
const MAX_KEY_BYTES: usize = 512;
