//! One listener as its connections see it, on every worker.

use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

use arc_swap::ArcSwap;
use countersign_diagnose::cause::Cause;
use countersign_diagnose::refusal::{Refusal, RefusalId};
use countersign_pki::identity::VerifiedPeer;
use countersign_runtime::accept::ConnectionLimit;
use countersign_runtime::config::address::LocalAddress;
use countersign_runtime::drain::Drain;
use countersign_tls::acceptor::{Acceptor, FRONT, HandshakeRefusal, Session};
use countersign_tls::enforcement::Enforcement;
use countersign_tls::shadow::ShadowFinding;

use crate::break_glass::BreakGlass;
use crate::decisions::{CertificateVerdict, OpenWithout, Recorder};
use crate::factors::seen::SeenCertificates;
use crate::gateway::Context;
use crate::lines::Lines;
use crate::metrics::ListenerMetrics;
use crate::plan::{EgressPlan, ListenerPlan, Protocol, Serving};
use crate::refusals::{Phase, RefusalLog, Refused, RefusedRequest, printable};
use crate::shadow::ShadowVerdict;

/// Shared by the workers; what a reload changes is swapped.
pub(crate) struct Listener {
    pub(crate) name: String,
    /// As bound.
    pub(crate) address: LocalAddress,
    /// `None`: an egress, which takes plaintext.
    pub(crate) acceptor: Option<Arc<Acceptor>>,
    pub(crate) enforcement: Enforcement,
    pub(crate) protocol: Protocol,
    pub(crate) serving: ArcSwap<Serving>,
    pub(crate) limit: ConnectionLimit,
    pub(crate) metrics: ListenerMetrics,
    pub(crate) drain: Drain,
    /// Admits nobody but while this is armed.
    pub(crate) break_glass: Option<Arc<BreakGlass>>,
    /// Of all listeners of the gateway.
    pub(crate) seen: Arc<SeenCertificates>,
    refusals: RefusalLog,
    /// Of each kind: a flood of one hides no other.
    bypass_lines: [Lines; 3],
}

impl Listener {
    pub(crate) fn new(
        plan: &ListenerPlan,
        address: SocketAddr,
        break_glass: Option<Arc<BreakGlass>>,
        seen: Arc<SeenCertificates>,
        context: &Context,
    ) -> Self {
        let credentials = plan.credentials.clone();
        Self {
            name: plan.name.clone(),
            address: LocalAddress::Tcp(address),
            acceptor: Some(Acceptor::behind(
                plan.edge.clone(),
                plan.settings.clone(),
                credentials,
                context.enforcement.clone(),
            )),
            enforcement: context.enforcement.clone(),
            protocol: plan.protocol,
            serving: ArcSwap::new(Arc::clone(&plan.serving)),
            limit: ConnectionLimit::new(plan.max_connections),
            metrics: context.metrics.listener(&plan.name),
            drain: context.drain.clone(),
            break_glass,
            seen,
            refusals: context.refusals.clone(),
            bypass_lines: Default::default(),
        }
    }

    pub(crate) fn egress(plan: &EgressPlan, address: LocalAddress, context: &Context) -> Self {
        Self {
            name: plan.name.clone(),
            address,
            acceptor: None,
            enforcement: context.enforcement.clone(),
            protocol: plan.protocol,
            serving: ArcSwap::new(Arc::clone(&plan.serving)),
            limit: ConnectionLimit::new(MAX_EGRESS_CONNECTIONS),
            metrics: context.metrics.listener(&plan.name),
            drain: context.drain.clone(),
            break_glass: None,
            seen: Arc::default(),
            refusals: context.refusals.clone(),
            bypass_lines: Default::default(),
        }
    }

    /// Before a byte was read of whoever comes.
    pub(crate) fn refuse_socket(&self, refusal: Refusal, source: SocketAddr) {
        self.refuse_handshake(HandshakeRefusal {
            refusal,
            source,
            sni: None,
            fingerprint: None,
            stream: None,
            shadow: None,
        });
    }

    pub(crate) fn refuse_handshake(&self, refused: HandshakeRefusal) -> RefusalId {
        self.metrics.refused_handshake(&refused.refusal);
        let refused = Refused::at_handshake(refused, self.name.clone());
        self.refusals.record(refused)
    }

    /// Somebody tried to get round what is judged. It came to nothing, and is told of.
    pub(crate) fn note_bypass(&self, kind: &'static str, source: SocketAddr) {
        self.metrics.bypass(kind);
        let [identities, hosts, certificates] = &self.bypass_lines;
        let lines = match kind {
            "forged-identity" => identities,
            "host-mismatch" => hosts,
            _ => certificates,
        };
        if lines.may_tell(self.enforcement.now().seconds()) {
            tracing::warn!(
                target: "bypass",
                listener = self.name,
                src.addr = %source,
                kind,
                "somebody tries to get round the gateway's judgement"
            );
        }
    }

    /// [`Listener::refuse_handshake`], kept if it was for what the client showed, or did not.
    pub(crate) fn turn_away(&self, refused: HandshakeRefusal, recorder: &Recorder) -> RefusalId {
        let cause = refused.refusal.cause;
        if matches!(
            cause,
            Cause::BadSignature | Cause::CaUsedAsEndEntity | Cause::SameNameDifferentKeyCa
        ) {
            self.note_bypass("forged-certificate", refused.source);
        }
        if let Some(finding) = &refused.shadow {
            self.tell_shadow(finding, refused.source, None);
        }
        if refused.fingerprint.is_some() || cause == Cause::ClientCertNotSent {
            let (source, now) = (refused.source.ip(), self.enforcement.now().seconds());
            let shadow = refused.shadow.as_ref().map(CertificateVerdict::of);
            recorder.turned_away(&self.name, source, cause.slug(), shadow, now);
        }
        self.refuse_handshake(refused)
    }

    /// A handshake ended well. Without a certificate that counts: to be held while the connection is open.
    pub(crate) fn note_client(
        &self,
        session: &Session,
        recorder: &Rc<Recorder>,
    ) -> Option<OpenWithout> {
        let acceptor = self.acceptor.as_ref()?;
        let now = self.enforcement.now().seconds();
        let of = (self.name.as_str(), session);
        let finding = session.shadow.as_ref();
        let shadow = finding.map(CertificateVerdict::of);
        recorder.connected(of, acceptor.asks_for_certificates(), shadow, now);
        if let Some(finding) = finding {
            self.tell_shadow(finding, session.source, session.peer.as_deref());
        }
        let is_known =
            session.peer.is_some() || matches!(finding, Some(ShadowFinding::WouldAccept(Some(_))));
        (!is_known).then(|| recorder.opened_without(&self.name))
    }

    /// What other terms for certificates would do with a client.
    fn tell_shadow(
        &self,
        finding: &ShadowFinding,
        source: SocketAddr,
        peer: Option<&VerifiedPeer>,
    ) {
        self.metrics.shadow_certificate(finding);
        let differs = match finding {
            ShadowFinding::WouldRefuse(_) => true,
            ShadowFinding::WouldAccept(name) => peer.is_none() && name.is_some(),
        };
        if differs
            && self
                .metrics
                .shadow
                .may_tell(self.enforcement.now().seconds())
        {
            let id = peer.map(|peer| printable(peer.principal()));
            tracing::info!(
                target: "shadow",
                listener = self.name,
                src.addr = %source,
                src.id = id.as_deref(),
                verdict = %printable(finding),
                "other terms for certificates decide otherwise"
            );
        }
    }

    pub(crate) fn refuse_request(
        &self,
        refusal: Refusal,
        session: &Session,
        request: Option<RefusedRequest>,
    ) -> RefusalId {
        self.metrics.refused(refusal.cause);
        // The gateway's own look at itself (invariant 12) is nobody's attempt.
        let is_canary = session.peer.as_ref().is_some_and(|peer| peer.is_canary());
        if refusal.cause == Cause::SniHostMismatch && !is_canary {
            self.note_bypass("host-mismatch", session.source);
        }
        self.record(refusal, Phase::Request, session, request)
    }

    /// Counts what shadow rules say, and tells where they say otherwise.
    pub(crate) fn note_shadow(
        &self,
        verdict: Option<ShadowVerdict>,
        session: &Session,
        what: impl std::fmt::Display,
    ) {
        let Some(verdict) = verdict else { return };
        let now_s = self.enforcement.now().seconds();
        if self.metrics.shadow.note(verdict, now_s) {
            let id = session
                .peer
                .as_ref()
                .map(|peer| printable(peer.principal()));
            tracing::info!(
                target: "shadow",
                listener = self.name,
                src.addr = %session.source,
                src.id = id.as_deref(),
                what = %printable(what),
                verdict = verdict.as_str(),
                "shadow rules decide otherwise"
            );
        }
    }

    /// Nobody was refused here, and still somebody has to be told why there was no answer.
    pub(crate) fn upstream_refused(
        &self,
        refusal: Refusal,
        session: &Session,
        request: Option<RefusedRequest>,
    ) -> RefusalId {
        self.metrics.refused_upstream(&refusal);
        self.record(refusal, Phase::Upstream, session, request)
    }

    fn record(
        &self,
        mut refusal: Refusal,
        phase: Phase,
        session: &Session,
        request: Option<RefusedRequest>,
    ) -> RefusalId {
        if let Some(front) = session.front {
            refusal.evidence.push(FRONT, front);
        }
        self.refusals.record(Refused {
            refusal,
            source: session.source,
            listener: self.name.clone(),
            phase,
            sni: session.sni.as_ref().map(ToString::to_string),
            request,
            principal: session
                .peer
                .as_ref()
                .map(|peer| printable(peer.principal())),
            fingerprint: session.peer.as_ref().map(|peer| peer.fingerprint()),
        })
    }
}

/// Programs of one host; two descriptors each.
const MAX_EGRESS_CONNECTIONS: usize = 10_000;
