//! Bundles and certificates that are served by: one that has merely ended with time keeps nothing else from being reloaded.
//!
//! It vouches for nobody any more, so that its own clients are refused. A rule about somebody else has to be taken over all the same. Whoever
//! brings a bundle that is over, or starts with one, is told no.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::Arc;

use countersign_pki::bundle::TrustBundle;
use countersign_pki::identity::BundleName;
use countersign_pki::time::UnixTime;
use countersign_proxy::config::TrustConfig;
use countersign_runtime::config::ConfigError;

use crate::configuration::Files;

/// Nothing at the start.
#[derive(Clone, Default)]
pub(crate) struct BundlesInForce {
    /// By name.
    pub(crate) bundles: BTreeMap<BundleName, Arc<TrustBundle>>,
    /// Whatever was read for what is in force.
    pub(crate) files: Files,
}

impl BundlesInForce {
    pub(crate) fn of(bundles: BTreeMap<BundleName, Arc<TrustBundle>>) -> Self {
        let files = Files::default();
        Self { bundles, files }
    }

    /// [`TrustConfig::load`], but for the end of what is in force already, anchor for anchor.
    pub(crate) fn load(
        &self,
        trust: &TrustConfig,
        name: &str,
        own: Option<&TrustBundle>,
        now: UnixTime,
        read: impl Fn(&Path) -> io::Result<Vec<u8>>,
    ) -> Result<TrustBundle, ConfigError> {
        trust.load(name, own, now, &read).or_else(|error| {
            let ageless = trust.load(name, own, UnixTime::from_seconds(0), &read);
            ageless.ok().filter(|bundle| self.has(bundle)).ok_or(error)
        })
    }

    fn has(&self, bundle: &TrustBundle) -> bool {
        let ders = |bundle: &TrustBundle| {
            let anchors = bundle.anchors().iter().map(|anchor| anchor.der().to_vec());
            let mut anchors: Vec<Vec<u8>> = anchors.collect();
            anchors.sort_unstable();
            anchors
        };
        let same = |held: &Arc<TrustBundle>| {
            held.trust_domain() == bundle.trust_domain() && ders(held) == ders(bundle)
        };
        self.bundles.get(bundle.name()).is_some_and(same)
    }

    /// Whether a file says what it says to who is served by it already.
    pub(crate) fn has_file(&self, path: &Path, now: &Files) -> bool {
        let (held, read) = (self.files.get(path), now.get(path));
        held.is_some_and(Option::is_some) && held == read
    }
}
