//! The judge of one handshake: decides on the client's certificate and on its sessions, and remembers what it found.
//!
//! rustls asks it through two traits, in the middle of the handshake, and keeps only an alert of the answer. So each
//! handshake has a judge of its own, which is asked afterwards whom it accepted or why it did not. Tickets are handed to
//! the session store only then: a handshake that was refused leaves no session.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use countersign_diagnose::handshake::{HandshakeFault, alert_name};
use countersign_pki::chain::ChainFaultKind;
use countersign_pki::fingerprint::Fingerprint;
use countersign_pki::identity::VerifiedPeer;
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{verify_tls12_signature, verify_tls13_signature};
use rustls::server::StoresServerSessions;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    AlertDescription, CertificateError, CommonState, DigitallySignedStruct, DistinguishedName,
    Error, HandshakeKind, ServerConfig, SignatureScheme,
};
use rustls_pki_types::{CertificateDer, UnixTime};

use crate::credentials::SharedCredentials;
use crate::enforcement::Enforcement;
use crate::fault::{Fault, certificate_error};
use crate::ocsp::Verdict;
use crate::provider::provider;
use crate::scope::{ClientCertificate, OnRefusal, Scope};
use crate::sessions::Origin;
use crate::shadow::{ShadowFinding, Shown};

pub(crate) struct Judge {
    scope: Arc<Scope>,
    enforcement: Enforcement,
    // Written and read by the one task that drives the handshake; rustls wants `&self` and `Sync`.
    found: Mutex<Found>,
}

#[derive(Default)]
struct Found {
    peer: Option<Arc<VerifiedPeer>>,
    fault: Option<Fault>,
    /// For a shadow.
    shown: Option<Shown>,
    /// Whether whoever showed it was asked to prove that it holds the key.
    was_asked_for_proof: bool,
    /// Of the session that was last given to rustls, which is the one it resumes if it resumes any.
    offered: Option<Origin>,
    tickets: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Judge {
    pub(crate) fn new(scope: Arc<Scope>, enforcement: Enforcement) -> Arc<Self> {
        Arc::new(Self {
            scope,
            enforcement,
            found: Mutex::default(),
        })
    }

    /// What rustls needs for this handshake. It lets go of it at the end, so none of this is held by open connections.
    ///
    /// `shows_ticket`: whether the client begins with one.
    pub(crate) fn config(self: &Arc<Self>, shows_ticket: bool) -> Arc<ServerConfig> {
        let mut config = ServerConfig::builder_with_provider(Arc::clone(provider()))
            .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
            .expect("the provider has suites for both versions")
            .with_client_cert_verifier(Arc::<Self>::clone(self))
            .with_cert_resolver(Arc::<SharedCredentials>::clone(&self.scope.credentials));
        config.session_storage = Arc::<Self>::clone(self);
        config.alpn_protocols.clone_from(&self.scope.settings.alpn);
        config.max_early_data_size = 0;
        // Two, as clients open connections in pairs; each is good for one resumption (RFC 8446 appendix C.4), and whoever shows one gets
        // another for it.
        config.send_tls13_tickets = match (self.can_cache(), shows_ticket) {
            (false, _) => 0,
            (true, true) => 1,
            (true, false) => 2,
        };
        Arc::new(config)
    }

    /// Whom the finished handshake has admitted, and since when.
    pub(crate) fn origin(&self, tls: &CommonState) -> Result<Origin, Fault> {
        let mut found = self.found();
        // Invariant: whom it refused is nobody, however far the handshake went.
        if let Some(fault) = &found.fault {
            return Err(fault.clone());
        }
        if tls.handshake_kind() != Some(HandshakeKind::Resumed) {
            let (peer, shown) = (found.peer.take(), found.shown.take().map(Arc::new));
            return match self.scope.settings.client_certificate {
                // rustls has seen to it; without a peer here nobody is let in all the same.
                ClientCertificate::Require if peer.is_none() => {
                    Err(HandshakeFault::CertificateMissing.into())
                }
                _ => Ok(Origin {
                    peer,
                    first_handshake: self.enforcement.now(),
                    shown,
                }),
            };
        }
        let origin = found.offered.take().ok_or(HandshakeFault::SessionMixedUp)?;
        let restored = tls
            .peer_certificates()
            .and_then(<[_]>::first)
            .map(AsRef::as_ref);
        if origin.is_of(restored) {
            Ok(origin)
        } else {
            Err(HandshakeFault::SessionMixedUp.into())
        }
    }

    /// Makes the tickets good that the client was given.
    pub(crate) fn keep_tickets(&self, origin: &Origin) {
        for (key, value) in self.found().tickets.drain(..) {
            self.scope.sessions.put(&key, &value, origin.clone());
        }
    }

    /// What it refused, if it was the judge who ended the handshake.
    pub(crate) fn fault(&self) -> Option<Fault> {
        self.found().fault.clone()
    }

    /// Whether a session may still be resumed; otherwise a full handshake follows, which fails with the right alert.
    fn is_good(&self, origin: &Origin) -> bool {
        let now = self.enforcement.now();
        let age = now.since(origin.first_handshake);
        let is_young = now >= origin.first_handshake && age < self.scope.settings.session_lifetime;
        is_young
            && match &origin.peer {
                Some(peer) => {
                    peer.not_before() <= now
                        && now <= peer.not_after()
                        && (self.enforcement.stale(self.scope.settings.feed_life)).is_none()
                        && !self.enforcement.is_refused(peer)
                }
                None => self.scope.settings.client_certificate != ClientCertificate::Require,
            }
    }

    fn offer(&self, session: Option<(Vec<u8>, Origin)>) -> Option<Vec<u8>> {
        let (value, origin) = session.filter(|(_, origin)| self.is_good(origin))?;
        self.found().offered = Some(origin);
        Some(value)
    }

    fn possession(
        &self,
        proof: Result<HandshakeSignatureValid, Error>,
    ) -> Result<HandshakeSignatureValid, Error> {
        {
            let mut found = self.found();
            found.was_asked_for_proof = true;
            if proof.is_err()
                && let Some(shown) = &mut found.shown
            {
                shown.unproved();
            }
        }
        if self.is_shadow_alone() {
            // Whoever holds no key to what it shows is as anonymous as the rest.
            return Ok(HandshakeSignatureValid::assertion());
        }
        let refused = self.found().fault.clone();
        if let Some(fault) = refused {
            // It is refused already, and would only be told of it. Whoever does not hold the key is not: the alert is the one
            // of the refusal. Of a key that is too weak no proof can be had, and none is needed to say so.
            return match proof {
                Ok(proof) if self.explains() => Ok(proof),
                Err(_) if self.explains() && is_of_weak_key(&fault) => {
                    Ok(HandshakeSignatureValid::assertion())
                }
                // A good one is here for a shadow alone.
                Ok(_) | Err(_) => Err(alerting(&fault).into()),
            };
        }
        if proof.is_err() {
            let mut found = self.found();
            let leaf = found.peer.take().map(|peer| peer.fingerprint());
            found.fault = Some(Fault::Handshake(HandshakeFault::PossessionUnproved, leaf));
            return proof;
        }
        self.admit()?;
        proof
    }

    /// Only now: what the policy says of somebody is for nobody else.
    fn admit(&self) -> Result<(), Error> {
        let peer = self.found().peer.clone();
        let Some(Err(mut fault)) = peer.map(|peer| self.scope.admit(&peer)) else {
            return Ok(());
        };
        if let Fault::Policy(refusal, _) = &mut fault {
            let sent = alert_name(AlertDescription::AccessDenied.into()).unwrap_or_default();
            refusal.evidence.push("alert_sent", sent);
        }
        self.found().fault = Some(fault);
        Err(CertificateError::ApplicationVerificationFailure.into())
    }

    /// What a shadow found of what was shown, for a handshake that was refused. Nobody would be accepted as somebody who went before
    /// it was known whether they hold the key.
    pub(crate) fn shown(&self) -> Option<ShadowFinding> {
        let found = self.found();
        let finding = found.shown.as_ref().map(|shown| shown.finding.clone());
        finding.filter(|finding| {
            found.was_asked_for_proof || matches!(finding, ShadowFinding::WouldRefuse(_))
        })
    }

    /// Whether a shadow would accept what was shown, by whomever.
    fn is_accepted_in_shadow(&self) -> bool {
        let found = self.found();
        let shown = found.shown.as_ref();
        shown.is_some_and(|shown| matches!(shown.finding, ShadowFinding::WouldAccept(_)))
    }

    /// Whether certificates are asked for to be told of, and decide nothing.
    fn is_shadow_alone(&self) -> bool {
        let settings = &self.scope.settings;
        settings.client_certificate == ClientCertificate::Off && settings.shadow.is_some()
    }

    fn explains(&self) -> bool {
        self.scope.settings.on_refusal == OnRefusal::Explain
    }

    /// Whether there is whom the listener wants; rustls sees to it where nobody is to be told.
    fn admits(&self, found: &Found) -> bool {
        let wants = self.scope.settings.client_certificate == ClientCertificate::Require;
        !wants || found.peer.is_some() || found.offered.is_some()
    }

    /// Whether its responder, if it has one, has said that it may pass: until then it gets no session.
    fn is_settled(&self, found: &Found) -> bool {
        let offered = found.offered.as_ref();
        let resumed = offered.and_then(|origin| origin.peer.as_ref());
        let peer = found.peer.as_ref().or(resumed);
        peer.is_none_or(|peer| matches!(self.enforcement.judge_ocsp(peer), Verdict::Good(_)))
    }

    fn found(&self) -> MutexGuard<'_, Found> {
        self.found.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn is_of_weak_key(fault: &Fault) -> bool {
    matches!(fault, Fault::Chain(fault) if matches!(fault.kind, ChainFaultKind::WeakKey { .. }))
}

/// What rustls is told, so that its alert fits.
fn alerting(fault: &Fault) -> CertificateError {
    match fault {
        Fault::Chain(fault) => certificate_error(&fault.kind),
        // access_denied: it is not the client's certificate that is at fault.
        Fault::Handshake(HandshakeFault::TrustDataStale { .. }, _) => {
            CertificateError::ApplicationVerificationFailure
        }
        Fault::Handshake(..) | Fault::Policy(..) => CertificateError::UnknownIssuer,
    }
}

impl fmt::Debug for Judge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Judge({:?})", self.scope.id)
    }
}

impl ClientCertVerifier for Judge {
    fn offer_client_auth(&self) -> bool {
        self.scope.settings.client_certificate != ClientCertificate::Off || self.is_shadow_alone()
    }

    /// Who sends none is let through to be told; [`Judge::origin`] refuses it.
    fn client_auth_mandatory(&self) -> bool {
        self.scope.settings.client_certificate == ClientCertificate::Require && !self.explains()
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &self.scope.root_hints
    }

    /// By our clock, not by the time that rustls gives.
    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let chain: Vec<_> = std::iter::once(end_entity)
            .chain(intermediates)
            .map(|certificate| CertificateDer::from_slice(certificate))
            .collect();
        let bytes: usize = chain.iter().map(|der| der.len()).sum();
        if self.is_shadow_alone() && bytes > MAX_SHADOW_CHAIN {
            // rustls keeps what it goes on with for as long as the connection is open; TLS has no way to drop it but to end the
            // handshake. So this ends it even where other refusals are told.
            let fault = HandshakeFault::CertificateTooLarge;
            self.found().fault = Some(Fault::Handshake(fault, Some(Fingerprint::of(end_entity))));
            return Err(CertificateError::BadEncoding.into());
        }
        if let Some(shadow) = &self.scope.settings.shadow {
            let finding = shadow.judge(&self.scope, &chain, &self.enforcement);
            let leaf = Fingerprint::of(end_entity);
            self.found().shown = Some(Shown { leaf, finding });
        }
        if self.is_shadow_alone() {
            // Invariant: no peer is found here, so that nobody is anybody for what they show.
            return Ok(ClientCertVerified::assertion());
        }
        match self.scope.verify(&chain, &self.enforcement) {
            Ok(peer) => {
                self.found().peer = Some(peer);
                Ok(ClientCertVerified::assertion())
            }
            Err(fault) => {
                let error = alerting(&fault);
                self.found().fault = Some(fault);
                // Whom a shadow would accept has to prove first that it is they; `possession` refuses them then.
                if self.explains() || self.is_accepted_in_shadow() {
                    Ok(ClientCertVerified::assertion())
                } else {
                    Err(error.into())
                }
            }
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &provider().signature_verification_algorithms;
        self.possession(verify_tls12_signature(
            message,
            certificate,
            signature,
            algorithms,
        ))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &provider().signature_verification_algorithms;
        self.possession(verify_tls13_signature(
            message,
            certificate,
            signature,
            algorithms,
        ))
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        provider()
            .signature_verification_algorithms
            .supported_schemes()
    }
}

impl StoresServerSessions for Judge {
    /// Held back until [`Judge::keep_tickets`]. Where it says no, rustls sends no ticket.
    fn put(&self, key: Vec<u8>, value: Vec<u8>) -> bool {
        let mut found = self.found();
        if found.fault.is_some() || !self.admits(&found) || !self.is_settled(&found) {
            return false;
        }
        if self.is_shadow_alone() && value.len() > MAX_SHADOW_SESSION {
            return false;
        }
        found.tickets.push((key, value));
        true
    }

    /// TLS 1.2, where a session id may come again.
    fn get(&self, key: &[u8]) -> Option<Vec<u8>> {
        self.offer(self.scope.sessions.get(key))
    }

    /// TLS 1.3, where a ticket is good once.
    fn take(&self, key: &[u8]) -> Option<Vec<u8>> {
        self.offer(self.scope.sessions.take(key))
    }

    fn can_cache(&self) -> bool {
        !self.scope.settings.session_lifetime.is_zero()
    }
}

/// Of all certificates that a client shows where nobody is anybody for them: four of the size of an RSA-4096 leaf with many names, and a
/// quarter of the 64 KiB that rustls reads.
const MAX_SHADOW_CHAIN: usize = 16 * 1024;
/// What rustls remembers of such a client, which is its chain above all: twice what `sessions::LIMITS` reckons with. Whoever shows more
/// makes a whole handshake each time.
const MAX_SHADOW_SESSION: usize = 3 * 1024;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use countersign_pki::bundle::TrustBundle;
    use countersign_pki::certificate::Certificate;
    use countersign_pki::chain::{Limits, Verifier};
    use countersign_pki::crl::AcceptedCrl;
    use countersign_pki::feed::{RevocationReason, Revoked};
    use countersign_pki::identity::{BundleName, PathElement};
    use countersign_pki::revocation::{BundleLists, RevocationIndex, RevocationMode};
    use countersign_pki::time::UnixTime;
    use countersign_policy::access::{AccessPolicy, Allow, Route};
    use countersign_runtime::clock::{Clock, ManualClock, SystemClock};
    use countersign_testkit::pki::{Leaf, TestCa};

    use super::*;
    use crate::credentials::Credentials;
    use crate::scope::{Admits, ScopeSettings};

    struct Case {
        judge: Arc<Judge>,
        clock: Arc<ManualClock>,
        peer: Arc<VerifiedPeer>,
    }

    impl Case {
        /// A judge under whom the peer's certificate is good but for `revoked`.
        fn new(client_certificate: ClientCertificate, revoked: bool) -> Self {
            Self::knowing(client_certificate, |_, element, revoked_at| {
                RevocationIndex::new(revoked.then_some(Revoked {
                    issuer_key: element.issuer_key,
                    serial: element.serial,
                    reason: RevocationReason::Superseded,
                    revoked_at,
                }))
            })
        }

        /// The same under lists of everything of both CAs, on which the peer's certificate is if it is `revoked`.
        fn listed(client_certificate: ClientCertificate, revoked: bool) -> Self {
            Self::knowing(client_certificate, |ca, element, now| {
                let serial = rcgen::SerialNumber::from_slice(element.serial.magnitude());
                let pem = ca.lists(1, &[serial][..usize::from(revoked)]).concat();
                let issuers = [ca.root.der(), ca.intermediate.der()]
                    .map(|der| Certificate::parse(der).expect("a certificate"));
                let lists = AcceptedCrl::read(pem.as_bytes(), &issuers, now).expect("good lists");
                let lists = lists.into_iter().map(Arc::new).collect();
                let lists = Arc::new(BundleLists::new(RevocationMode::Hard, lists));
                RevocationIndex::default().with_lists(BundleName::internal(), Some(lists))
            })
        }

        fn knowing(
            client_certificate: ClientCertificate,
            index: impl FnOnce(&TestCa, PathElement, UnixTime) -> RevocationIndex,
        ) -> Self {
            let clock = Arc::new(ManualClock::new(SystemClock.unix_seconds()));
            let now = UnixTime::from_seconds(clock.unix_seconds());
            let ca = TestCa::new("internal");
            let root = Certificate::parse(ca.root.der()).expect("a certificate");
            let bundle =
                TrustBundle::new(BundleName::internal(), None, vec![root], now).expect("a bundle");
            let verifier =
                Verifier::new(vec![Arc::new(bundle)], Limits::default()).expect("a verifier");
            let route = Route {
                label: "route 1".to_owned(),
                host: None,
                path: None,
                connect: Vec::new(),
                require_certificate: false,
                allow: vec![Allow::AnyTrusted],
                deny: Vec::new(),
            };
            let settings = ScopeSettings {
                listener: "front".to_owned(),
                client_certificate,
                verifier: Some(Arc::new(verifier)),
                narrowed: Vec::new(),
                policy: Arc::new(AccessPolicy::new(vec![route]).expect("a policy")),
                admits: Admits::Requests,
                alpn: Vec::new(),
                session_lifetime: Duration::from_hours(1),
                handshake_timeout: Duration::from_secs(10),
                on_refusal: OnRefusal::Alert,
                feed_life: None,
                shadow: None,
            };
            let server = ca.issue(Leaf::server(&["localhost"]));
            let credentials =
                Credentials::from_pem(server.chain_pem().as_bytes(), server.key_pem.as_bytes());
            let credentials = SharedCredentials::new(credentials.expect("good credentials"));
            let trusting = Enforcement::new(
                RevocationIndex::default(),
                Arc::<ManualClock>::clone(&clock),
            );
            let scope = Scope::new(settings, credentials, &trusting);
            let Ok(peer) = scope.verify(
                &ca.issue(Leaf::client("you").valid(-60, 1800)).chain,
                &trusting,
            ) else {
                panic!("the certificate is good");
            };
            let index = index(&ca, peer.path()[0], now);
            // An index that knew it from the start has purged nothing.
            let enforcement = Enforcement::new(index, Arc::<ManualClock>::clone(&clock));
            Self {
                judge: Judge::new(Arc::new(scope), enforcement),
                clock,
                peer,
            }
        }

        /// Whether sessions begun now are resumed `later`, of the peer and of nobody.
        fn resumes(&self, later: Duration) -> (bool, bool) {
            let first_handshake = self.judge.enforcement.now();
            let origin = |peer| Origin {
                peer,
                first_handshake,
                shown: None,
            };
            for (key, peer) in [([1; 32], Some(Arc::clone(&self.peer))), ([2; 32], None)] {
                self.judge.scope.sessions.put(&key, &[0], origin(peer));
            }
            self.clock.advance(later);
            let by_id = [[1; 32], [2; 32]].map(|key| self.judge.get(&key).is_some());
            let by_ticket = [[1; 32], [2; 32]].map(|key| self.judge.take(&key).is_some());
            assert_eq!(by_id, by_ticket);
            (by_ticket[0], by_ticket[1])
        }
    }

    #[test]
    fn sessions_are_looked_up_in_the_revocations_each_time() {
        assert_eq!(
            Case::new(ClientCertificate::Request, false).resumes(Duration::ZERO),
            (true, true)
        );
        assert_eq!(
            Case::new(ClientCertificate::Request, true).resumes(Duration::ZERO),
            (false, true)
        );
        for revoked in [false, true] {
            assert_eq!(
                Case::listed(ClientCertificate::Request, revoked).resumes(Duration::ZERO),
                (!revoked, true)
            );
        }
    }

    #[test]
    fn sessions_end_with_the_certificate_and_with_the_ceiling() {
        assert_eq!(
            Case::new(ClientCertificate::Request, false).resumes(Duration::from_secs(1790)),
            (true, true)
        );
        assert_eq!(
            Case::new(ClientCertificate::Request, false).resumes(Duration::from_secs(1810)),
            (false, true)
        );
        assert_eq!(
            Case::new(ClientCertificate::Request, false).resumes(Duration::from_hours(1)),
            (false, false)
        );
    }

    #[test]
    fn nobody_resumes_where_somebody_is_required() {
        assert_eq!(
            Case::new(ClientCertificate::Require, false).resumes(Duration::ZERO),
            (true, false)
        );
    }

    #[test]
    fn tickets_wait_for_the_end_of_the_handshake() {
        let case = Case::new(ClientCertificate::Request, false);
        assert!(case.judge.put(vec![3; 32], vec![0]));
        assert!(case.judge.take(&[3; 32]).is_none());
        case.judge.keep_tickets(&Origin {
            peer: None,
            first_handshake: case.judge.enforcement.now(),
            shown: None,
        });
        assert!(case.judge.take(&[3; 32]).is_some());
    }
}
