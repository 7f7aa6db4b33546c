//! One listener as its connections see it, on every worker.

use std::net::SocketAddr;
use std::sync::Arc;

use arc_swap::ArcSwap;
use countersign_diagnose::refusal::{Refusal, RefusalId};
use countersign_runtime::accept::ConnectionLimit;
use countersign_runtime::drain::Drain;
use countersign_tls::acceptor::{Acceptor, FRONT, HandshakeRefusal, Session};
use countersign_tls::enforcement::Enforcement;

use crate::break_glass::BreakGlass;
use crate::factors::seen::SeenCertificates;
use crate::gateway::Context;
use crate::metrics::ListenerMetrics;
use crate::plan::{EgressPlan, ListenerPlan, Protocol, Serving};
use crate::refusals::{Phase, RefusalLog, Refused, RefusedRequest, printable};
use crate::shadow::ShadowVerdict;

/// Shared by the workers; what a reload changes is swapped.
pub(crate) struct Listener {
    pub(crate) name: String,
    pub(crate) address: SocketAddr,
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
            address,
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
        }
    }

    pub(crate) fn egress(plan: &EgressPlan, address: SocketAddr, context: &Context) -> Self {
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
        });
    }

    pub(crate) fn refuse_handshake(&self, refused: HandshakeRefusal) -> RefusalId {
        self.metrics.refused_handshake(&refused.refusal);
        let refused = Refused::at_handshake(refused, self.name.clone());
        self.refusals.record(refused)
    }

    pub(crate) fn refuse_request(
        &self,
        refusal: Refusal,
        session: &Session,
        request: Option<RefusedRequest>,
    ) -> RefusalId {
        self.metrics.refused(refusal.cause);
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
