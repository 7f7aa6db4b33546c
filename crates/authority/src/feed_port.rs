//! The port that nodes in other processes hear the feed from: mutual TLS anchored on the operator issuer alone
//! (invariant 12), and behind it only those whose certificate the inventory has as a node's.
//!
//! The chain says which issuer vouches; it does not say what for. An operator's certificate comes from the same issuer,
//! and so does the port's own. So the profile is looked up by the certificate's fingerprint, and `node::Node`, without
//! which no route is reached, is made of that row and of nothing else.

mod budget;
mod node;
mod routes;
mod telling;

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{Request, StatusCode};
use axum::response::{IntoResponse, Response};
use countersign_pki::bundle::TrustBundle;
use countersign_pki::chain::{Limits, Verifier};
use countersign_pki::identity::VerifiedPeer;
use countersign_policy::access::{AccessPolicy, Allow, Route};
use countersign_runtime::accept::ConnectionLimit;
use countersign_runtime::drain::Drain;
use countersign_tls::acceptor::{Acceptor, Connection, HandshakeRefusal};
use countersign_tls::credentials::SharedCredentials;
use countersign_tls::enforcement::Enforcement;
use countersign_tls::scope::{ClientCertificate, ScopeSettings};
use hyper::body::Incoming;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tower::ServiceExt as _;

use self::node::Node;
use crate::authority::Authority;
use crate::problem::Problem;

/// Serves the feed to nodes in other processes.
pub struct FeedPort {
    authority: Arc<Authority>,
    acceptor: Arc<Acceptor>,
    router: Router,
    turned_away: TurnAway,
}

/// Takes note of who was turned away: anybody can come again and again, so it must coalesce, and must not wait.
pub type TurnAway = Box<dyn Fn(TurnedAway) + Send + Sync>;

/// Somebody who hears nothing.
#[derive(Debug)]
pub enum TurnedAway {
    /// The handshake failed.
    AtHandshake(Box<HandshakeRefusal>),
    /// The operator issuer vouches for it, and it is no node.
    NoNode {
        /// Who.
        peer: Arc<VerifiedPeer>,
        /// From where.
        source: SocketAddr,
        /// In words.
        why: String,
    },
}

impl FeedPort {
    /// Ready to serve. `trust` is the operator issuer's bundle; `credentials` are the port's own, issued by it for servers.
    /// A node's certificate that is revoked in `enforcement` is refused, and its open feed is cut, as at any listener.
    /// Whoever is refused goes to `turned_away`.
    pub fn new(
        authority: &Arc<Authority>,
        trust: TrustBundle,
        credentials: SharedCredentials,
        enforcement: Enforcement,
        turned_away: TurnAway,
    ) -> Arc<Self> {
        let verifier = Verifier::new(vec![Arc::new(trust)], Limits::default())
            .expect("one bundle shares no anchor with another");
        let settings = ScopeSettings {
            listener: LISTENER.to_owned(),
            client_certificate: ClientCertificate::Require,
            verifier: Some(Arc::new(verifier)),
            policy: Arc::new(every_name()),
            alpn: vec![b"http/1.1".to_vec()],
            // A feed lives for days: what a resumption saves is nothing, and so there is none to decline.
            session_lifetime: Duration::ZERO,
            handshake_timeout: HANDSHAKE_TIMEOUT,
            // This is where the feed comes from.
            feed_life: None,
        };
        Arc::new(Self {
            acceptor: Acceptor::new(settings, credentials, enforcement),
            router: routes::router(Arc::clone(authority)),
            authority: Arc::clone(authority),
            turned_away,
        })
    }

    /// Accepts until the drain begins; then the feeds are ended, because they never end by themselves.
    pub async fn serve(self: Arc<Self>, listener: TcpListener, drain: Drain) {
        let limit = ConnectionLimit::new(MAX_CONNECTIONS);
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
                report(ended);
            }
            match accepted {
                Ok((socket, source)) => {
                    let (port, drain) = (Arc::clone(&self), drain.clone());
                    connections.spawn(async move {
                        let _permit = permit;
                        tokio::select! {
                            () = port.serve_connection(socket, source) => {}
                            () = drain.draining() => {}
                        }
                    });
                }
                Err(error) => {
                    tracing::warn!(target: "feed", %error, "feed port cannot accept");
                    // Out of descriptors, most likely: nothing is gained by asking again at once.
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
        drop(listener);
        connections.shutdown().await;
    }

    async fn serve_connection(&self, socket: TcpStream, source: SocketAddr) {
        // Without it the end of a message waits for the node's delayed ACK. Not worth a failure.
        let _ = socket.set_nodelay(true);
        let Connection { stream, session } = match self.acceptor.accept(socket, source).await {
            Ok(connection) => connection,
            Err(refused) => return (self.turned_away)(TurnedAway::AtHandshake(refused)),
        };
        let admitted = match &session.peer {
            Some(peer) if session.protocol == "TLSv1.3" => Node::admit(&self.authority, peer).await,
            Some(_) => Err(Problem::new(
                StatusCode::UPGRADE_REQUIRED,
                "the feed is told over TLS 1.3 only",
            )),
            // The scope requires one.
            None => return,
        };
        if let (Err(problem), Some(peer)) = (&admitted, &session.peer) {
            (self.turned_away)(TurnedAway::NoNode {
                peer: Arc::clone(peer),
                source,
                why: problem.detail.clone(),
            });
        }
        let stalled = Arc::new(Notify::new());
        let service = hyper::service::service_fn(|request: Request<Incoming>| {
            let (router, admitted) = (self.router.clone(), admitted.clone());
            let stalled = Arc::clone(&stalled);
            async move { Ok::<_, Infallible>(answer(request, router, admitted, stalled).await) }
        });
        let connection = hyper::server::conn::http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEADER_TIMEOUT)
            .max_buf_size(MAX_HEADERS)
            .serve_connection(TokioIo::new(stream), service);
        tokio::select! {
            biased;
            () = session.lifeline.cut() => {
                tracing::warn!(target: "feed", %source, "connection of a node is cut: its access was withdrawn");
            }
            () = stalled.notified() => {
                tracing::warn!(target: "feed", %source, "connection of a node is cut: it takes nothing of what it is told");
            }
            ended = connection => {
                if let Err(error) = ended {
                    tracing::debug!(target: "feed", %source, %error, "connection of a node broke");
                }
            }
        }
    }
}

/// Serves by every name that its certificate has: nodes verify it against the name that they asked for.
fn every_name() -> AccessPolicy {
    let route = Route {
        label: LISTENER.to_owned(),
        host: None,
        path: None,
        require_certificate: true,
        allow: vec![Allow::AnyTrusted],
        deny: Vec::new(),
    };
    AccessPolicy::new(vec![route]).expect("one route conflicts with none")
}

async fn answer(
    request: Request<Incoming>,
    router: Router,
    admitted: Result<Node, Problem>,
    stalled: Arc<Notify>,
) -> Response {
    let node = match admitted {
        Ok(node) => node,
        Err(problem) => return problem.into_response(),
    };
    let mut request = request.map(Body::new);
    request.extensions_mut().insert(node);
    request.extensions_mut().insert(stalled);
    match tokio::time::timeout(ANSWER_TIMEOUT, router.oneshot(request)).await {
        Ok(Ok(response)) => response,
        Err(_) => Problem::new(
            StatusCode::REQUEST_TIMEOUT,
            format!("no answer within {} s", ANSWER_TIMEOUT.as_secs()),
        )
        .into_response(),
    }
}

fn report(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended
        && error.is_panic()
    {
        tracing::error!(target: "feed", %error, "connection of a node panicked");
    }
}

/// Binds the feed's address.
pub fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let listener = std::net::TcpListener::bind(address)?;
    listener.set_nonblocking(true)?;
    TcpListener::from_std(listener)
}

/// What it is called where listeners are. A colon: none of a gateway can have the name.
pub const LISTENER: &str = "authority:feed";

/// A node has a stream and, now and then, one connection for what it says: this is for some thousand nodes.
const MAX_CONNECTIONS: usize = 8192;

/// Two round trips, and a node that has just been started.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// A node sends its headers at once. It ends an idle connection, too.
const HEADER_TIMEOUT: Duration = Duration::from_secs(30);

/// A path, a query and some names.
const MAX_HEADERS: usize = 16 * 1024;

/// The head of an answer: a stream itself has no end. Issuing takes some milliseconds, unsealing a CA key some seconds.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
