//! Ports for nodes and operators: mutual TLS anchored on the operator issuer alone (invariant 12), and behind it only those
//! whose certificate the inventory has of the profile that the port is for.
//!
//! The chain says which issuer vouches; it does not say what for. A node's and an operator's certificate come from the same
//! issuer, and so does the port's own. So the profile is looked up by the certificate's fingerprint, and a `Holder`,
//! without which nobody is served, is made of that row and of nothing else.

mod budget;
mod holder;
mod places;

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::{Request, StatusCode};
use axum::response::{IntoResponse, Response};
use countersign_pki::bundle::TrustBundle;
use countersign_pki::chain::{Limits, Verifier};
use countersign_pki::identity::VerifiedPeer;
use countersign_policy::access::{AccessPolicy, Allow, Route};
use countersign_runtime::accept::ConnectionLimit;
use countersign_runtime::drain::Drain;
use countersign_tls::acceptor::{Acceptor, Connection, HandshakeRefusal, Lifeline, PendingLimits};
use countersign_tls::credentials::SharedCredentials;
use countersign_tls::enforcement::Enforcement;
use countersign_tls::scope::{Admits, ClientCertificate, OnRefusal, ScopeSettings};
use hyper::body::Incoming;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::authority::Authority;
use crate::problem::Problem;

pub(crate) use self::budget::{Budget, within};
pub(crate) use self::holder::{Holder, common_name};
pub(crate) use self::places::{Place, Places};

/// What a port is made of.
pub struct Opened {
    /// Who speaks there.
    pub authority: Arc<Authority>,
    /// The operator issuer's bundle.
    pub trust: TrustBundle,
    /// The port's own, issued by the operator issuer for servers.
    pub credentials: SharedCredentials,
    /// A certificate that is revoked in it is refused, and its open connections are cut, as at any listener.
    pub enforcement: Enforcement,
    /// Bound.
    pub listener: TcpListener,
    /// Hears of whoever is refused.
    pub turned_away: TurnAway,
}

/// Takes note of who was turned away: anybody can come again and again, so it must coalesce, and must not wait.
pub type TurnAway = Box<dyn Fn(TurnedAway) + Send + Sync>;

/// Somebody who is not served.
#[derive(Debug)]
pub enum TurnedAway {
    /// The handshake failed.
    AtHandshake(Box<HandshakeRefusal>),
    /// The operator issuer vouches for it, and the port is not for it.
    NoGuest {
        /// Who.
        peer: Arc<VerifiedPeer>,
        /// From where.
        source: SocketAddr,
        /// In words.
        why: String,
    },
}

/// What is served on a port.
pub(crate) trait Service: Send + Sync + 'static {
    /// Somebody who was let in, for as long as the connection lasts.
    type Guest: Clone + Send + Sync + 'static;

    /// Of this port.
    fn terms(&self) -> &'static Terms;

    /// Whether the peer is one of those that the port is for; asked once for each connection.
    fn admit(
        &self,
        peer: &VerifiedPeer,
    ) -> impl Future<Output = Result<Self::Guest, Problem>> + Send;

    /// Answers one request. `stalled` cuts the connection.
    fn answer(
        &self,
        guest: Self::Guest,
        request: Request<Body>,
        stalled: Arc<Notify>,
    ) -> impl Future<Output = Response> + Send;
}

/// What differs from port to port.
pub(crate) struct Terms {
    /// As logs have it; with `authority:` before it the listener's name, which for its colon no gateway's listener can have.
    pub(crate) name: &'static str,
    pub(crate) listener: &'static str,
    pub(crate) max_connections: usize,
    /// From one request to the next, headers included.
    pub(crate) header_timeout: Duration,
    pub(crate) max_headers: usize,
    /// From the headers of a request to those of its answer.
    pub(crate) answer_timeout: Duration,
    pub(crate) at_drain: AtDrain,
}

/// What becomes of open connections when the process begins to end.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum AtDrain {
    /// They are cut: they never end by themselves.
    Cut,
    /// What has been asked is answered, while the drain lasts.
    Finish,
}

/// Accepts until the drain begins.
pub(crate) async fn serve<S: Service>(service: S, opened: Opened, drain: Drain) {
    let Opened {
        trust,
        credentials,
        enforcement,
        listener,
        turned_away,
        ..
    } = opened;
    let terms = service.terms();
    let acceptor = Acceptor::with_pending_limits(
        settings(terms, trust),
        credentials,
        enforcement,
        pending(terms),
    );
    let port = Arc::new(Port {
        acceptor,
        service,
        turned_away,
    });
    let limit = ConnectionLimit::new(terms.max_connections);
    let mut connections = JoinSet::new();
    let draining = drain.draining();
    tokio::pin!(draining);
    loop {
        let permit = tokio::select! {
            () = &mut draining => break,
            permit = limit.acquire() => permit,
        };
        let accepted = tokio::select! {
            () = &mut draining => break,
            accepted = listener.accept() => accepted,
        };
        while let Some(ended) = connections.try_join_next() {
            report(terms, ended);
        }
        match accepted {
            Ok((socket, source)) => {
                let (port, drain) = (Arc::clone(&port), drain.clone());
                connections.spawn(async move {
                    let _permit = permit;
                    port.take(socket, source, drain).await;
                });
            }
            Err(error) => {
                tracing::warn!(target: "port", port = terms.name, %error, "port cannot accept");
                // Out of descriptors, most likely: nothing is gained by asking again at once.
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    drop(listener);
    if terms.at_drain == AtDrain::Finish {
        let ended = drain.ended();
        tokio::pin!(ended);
        loop {
            tokio::select! {
                () = &mut ended => break,
                joined = connections.join_next() => match joined {
                    Some(joined) => report(terms, joined),
                    None => break,
                },
            }
        }
    }
    connections.shutdown().await;
}

/// Strangers who do not finish their handshakes leave half of the connections to those who have.
fn pending(terms: &Terms) -> PendingLimits {
    let in_all = terms.max_connections / 2;
    PendingLimits {
        in_all,
        // A sixteenth, as at any listener.
        per_source: PendingLimits::default().per_source.min(in_all / 16),
    }
}

fn settings(terms: &Terms, trust: TrustBundle) -> ScopeSettings {
    let verifier = Verifier::new(vec![Arc::new(trust)], Limits::default())
        .expect("one bundle shares no anchor with another");
    ScopeSettings {
        listener: terms.listener.to_owned(),
        client_certificate: ClientCertificate::Require,
        verifier: Some(Arc::new(verifier)),
        narrowed: Vec::new(),
        policy: Arc::new(every_name(terms)),
        admits: Admits::Requests,
        alpn: vec![b"http/1.1".to_vec()],
        // Connections are few and live long: what a resumption saves is nothing, and so there is none to decline.
        session_lifetime: Duration::ZERO,
        handshake_timeout: HANDSHAKE_TIMEOUT,
        on_refusal: OnRefusal::Alert,
        // This is where the feed comes from.
        feed_life: None,
        shadow: None,
    }
}

/// Serves by every name that its certificate has: who connects verifies it against the name that was asked for.
fn every_name(terms: &Terms) -> AccessPolicy {
    let route = Route {
        label: terms.listener.to_owned(),
        host: None,
        path: None,
        connect: Vec::new(),
        require_certificate: true,
        allow: vec![Allow::AnyTrusted],
        deny: Vec::new(),
    };
    AccessPolicy::new(vec![route]).expect("one route conflicts with none")
}

struct Port<S> {
    acceptor: Arc<Acceptor>,
    service: S,
    turned_away: TurnAway,
}

impl<S: Service> Port<S> {
    async fn take(&self, socket: TcpStream, source: SocketAddr, drain: Drain) {
        if self.service.terms().at_drain == AtDrain::Finish {
            let _guard = drain.guard();
            self.serve_connection(socket, source, &drain).await;
        } else {
            tokio::select! {
                () = self.serve_connection(socket, source, &drain) => {}
                () = drain.draining() => {}
            }
        }
    }

    async fn serve_connection(&self, socket: TcpStream, source: SocketAddr, drain: &Drain) {
        let terms = self.service.terms();
        // Without it the end of a message waits for the peer's delayed ACK. Not worth a failure.
        let _ = socket.set_nodelay(true);
        let Connection { stream, session } = match self.acceptor.accept(socket, source).await {
            Ok(connection) => connection,
            Err(refused) => return (self.turned_away)(TurnedAway::AtHandshake(refused)),
        };
        let admitted = match &session.peer {
            Some(peer) if session.protocol == "TLSv1.3" => self.service.admit(peer).await,
            Some(_) => Err(Problem::new(
                StatusCode::UPGRADE_REQUIRED,
                format!("the {} port is served over TLS 1.3 only", terms.name),
            )),
            // The scope requires one.
            None => return,
        };
        if let (Err(problem), Some(peer)) = (&admitted, &session.peer) {
            (self.turned_away)(TurnedAway::NoGuest {
                peer: Arc::clone(peer),
                source,
                why: problem.detail.clone(),
            });
        }
        // Whoever is not served is told so once: it must not keep a connection from those who are.
        let is_refused = admitted.is_err();
        let stalled = Arc::new(Notify::new());
        let service = hyper::service::service_fn(|request: Request<Incoming>| {
            let (admitted, stalled) = (admitted.clone(), Arc::clone(&stalled));
            let lifeline = session.lifeline.clone();
            async move { Ok::<_, Infallible>(self.answer(admitted, &lifeline, request, stalled).await) }
        });
        let connection = hyper::server::conn::http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(terms.header_timeout)
            .max_buf_size(terms.max_headers)
            .keep_alive(!is_refused)
            .serve_connection(TokioIo::new(stream), service);
        tokio::pin!(connection);
        let draining = drain.draining();
        tokio::pin!(draining);
        let refusal = tokio::time::sleep(REFUSAL_TIMEOUT);
        tokio::pin!(refusal);
        let mut is_ending = false;
        loop {
            tokio::select! {
                biased;
                () = session.lifeline.cut() => {
                    tracing::warn!(target: "port", port = terms.name, %source, "connection is cut: access was withdrawn");
                    return;
                }
                () = stalled.notified() => {
                    tracing::warn!(target: "port", port = terms.name, %source, "connection is cut: the peer takes nothing of what it is told");
                    return;
                }
                () = &mut refusal, if is_refused => return,
                () = &mut draining, if !is_ending => {
                    is_ending = true;
                    connection.as_mut().graceful_shutdown();
                }
                ended = &mut connection => {
                    if let Err(error) = ended {
                        tracing::debug!(target: "port", port = terms.name, %source, %error, "connection broke");
                    }
                    return;
                }
            }
        }
    }

    async fn answer(
        &self,
        admitted: Result<S::Guest, Problem>,
        lifeline: &Lifeline,
        request: Request<Incoming>,
        stalled: Arc<Notify>,
    ) -> Response {
        let guest = match admitted {
            // Between the withdrawal and the cut.
            Ok(_) if lifeline.is_cut() => {
                return Problem::new(StatusCode::FORBIDDEN, "access was withdrawn").into_response();
            }
            Ok(guest) => guest,
            Err(problem) => return problem.into_response(),
        };
        let limit = self.service.terms().answer_timeout;
        let answer = self.service.answer(guest, request.map(Body::new), stalled);
        timeout(limit, answer).await.unwrap_or_else(|_| {
            Problem::new(
                StatusCode::REQUEST_TIMEOUT,
                format!("no answer within {} s", limit.as_secs()),
            )
            .into_response()
        })
    }
}

fn report(terms: &Terms, ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended
        && error.is_panic()
    {
        tracing::error!(target: "port", port = terms.name, %error, "connection panicked");
    }
}

/// Binds a port's address.
pub fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let listener = std::net::TcpListener::bind(address)?;
    listener.set_nonblocking(true)?;
    TcpListener::from_std(listener)
}

/// Two round trips, and a peer that has just been started.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// For one request and the answer that it is refused.
const REFUSAL_TIMEOUT: Duration = Duration::from_secs(10);

const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
