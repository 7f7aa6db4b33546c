//! What other terms for certificates would do with a client: asked for and judged beside those in force, told of, and never in effect.
//!
//! Invariant: nothing found here becomes a peer. It is a cause or a name to show, so that no rule, header or session can take it for somebody.

use std::fmt;
use std::sync::Arc;

use countersign_diagnose::cause::Cause;
use countersign_pki::chain::{Purpose, Verifier};
use countersign_pki::fingerprint::Fingerprint;
use rustls_pki_types::CertificateDer;

use crate::enforcement::Enforcement;
use crate::fault;
use crate::ocsp::Verdict;
use crate::scope::{ClientCertificate, Scope};
use crate::sessions::Origin;

/// Terms that are tried out.
#[derive(Clone, Debug)]
pub struct ShadowSettings {
    /// Whether a certificate would be required.
    pub client_certificate: ClientCertificate,
    /// Against whose anchors it would be judged.
    pub verifier: Arc<Verifier>,
}

/// What they would do with a client.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ShadowFinding {
    /// Take it for whoever this is; `None`: for nobody, which would be enough.
    WouldAccept(Option<String>),
    /// Refuse it.
    WouldRefuse(Cause),
}

/// A leaf that was shown, by its SHA-256 (whoever shows it chooses its size), and what was found of it.
#[derive(Clone, Debug)]
pub(crate) struct Shown {
    pub(crate) leaf: Fingerprint,
    pub(crate) finding: ShadowFinding,
}

impl Shown {
    /// The key to it was not proved to be there: it would be nobody's. What would be refused before that, would be for its cause.
    pub(crate) fn unproved(&mut self) {
        if matches!(self.finding, ShadowFinding::WouldAccept(_)) {
            self.finding = ShadowFinding::WouldRefuse(Cause::BadSignature);
        }
    }
}

impl ShadowSettings {
    /// By everything that a live verdict goes by: the chain, revocation, the age of the feed. Of OCSP what is held counts: no responder
    /// is asked about whoever is let in without it, and no proof of the key is there yet.
    pub(crate) fn judge(
        &self,
        scope: &Scope,
        chain: &[CertificateDer<'_>],
        enforcement: &Enforcement,
    ) -> ShadowFinding {
        if enforcement.stale(scope.settings.feed_life).is_some() {
            return ShadowFinding::WouldRefuse(Cause::TrustDataStale);
        }
        let revocations = enforcement.revocations();
        let now = enforcement.now();
        let verified = (self.verifier).verify(chain, Purpose::ClientAuth, &revocations, now);
        let judged = verified.and_then(|peer| match enforcement.judge_ocsp(&peer) {
            Verdict::Good(_) | Verdict::Awaited => Ok(peer),
            Verdict::Refused(kind) => Err(fault::of_chain(kind, &peer, now)),
        });
        match judged {
            Ok(peer) => ShadowFinding::WouldAccept(Some(peer.principal().to_string())),
            Err(fault) => ShadowFinding::WouldRefuse(fault::cause(&fault)),
        }
    }

    /// Of whoever got through; of a resumed session, what its first handshake showed.
    pub(crate) fn finding(&self, origin: &Origin) -> ShadowFinding {
        match &origin.shown {
            Some(shown) => shown.finding.clone(),
            None if self.client_certificate == ClientCertificate::Require => {
                ShadowFinding::WouldRefuse(Cause::ClientCertNotSent)
            }
            None => ShadowFinding::WouldAccept(None),
        }
    }
}

impl fmt::Display for ShadowFinding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::WouldAccept(Some(name)) => write!(f, "would be accepted as {name}"),
            Self::WouldAccept(None) => f.write_str("would be accepted as nobody"),
            Self::WouldRefuse(cause) => write!(f, "would be refused: {}", cause.slug()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_accepted_without_the_key_and_no_cause_is_hidden() {
        let after = |finding| {
            let leaf = Fingerprint::of(b"leaf");
            let mut shown = Shown { leaf, finding };
            shown.unproved();
            shown.finding
        };
        let bad = ShadowFinding::WouldRefuse(Cause::BadSignature);
        let accepted = ShadowFinding::WouldAccept(Some("cn:shop (internal)".to_owned()));
        assert_eq!(after(accepted), bad);
        let refused = ShadowFinding::WouldRefuse(Cause::TrustDataStale);
        assert_eq!(after(refused.clone()), refused);
    }
}
