//! The only acceptor of mTLS: one path from an accepted socket to an identity or a refusal.

use std::net::SocketAddr;
use std::sync::Arc;

use arc_swap::ArcSwap;
use countersign_diagnose::handshake::{HandshakeFault, Stage};
use countersign_diagnose::refusal::Refusal;
use countersign_pki::fingerprint::Fingerprint;
use countersign_pki::identity::VerifiedPeer;
use countersign_pki::name::DnsName;
use countersign_pki::revocation::RevocationStatus;
use countersign_policy::postgresql;
use rustls::ProtocolVersion;
use rustls::server::Accepted;
use rustls_pki_types::CertificateDer;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};

use crate::credentials::SharedCredentials;
use crate::edge::{self, Edge, Ends};
use crate::enforcement::{Admission, Enforcement};
use crate::farewell::{alert_record, part, turn_away};
use crate::fault::{self, Fault};
use crate::hello::{Greeting, Rejected};
use crate::judge::Judge;
pub use crate::live::Lifeline;
pub use crate::pending::PendingLimits;
use crate::pending::{Pending, Slot};
use crate::preamble::{self, Start};
use crate::proxy_protocol::{Announcement, Version, cipher_name};
use crate::rate::Rates;
use crate::records::Records;
use crate::refused_stream::RefusedStream;
use crate::scope::{Admits, ClientCertificate, OnRefusal, Scope, ScopeSettings};
use crate::sessions::Origin;
use crate::shadow::ShadowFinding;
use crate::sources::{Place, Sources};
pub use crate::stream::Stream;

/// One per listener; shared by the workers. Settings can be replaced while it accepts.
pub struct Acceptor {
    enforcement: Enforcement,
    edge: ArcSwap<Edge>,
    pending: Arc<Pending>,
    rates: Rates,
    sources: Arc<Sources>,
    scope: ArcSwap<Scope>,
}

impl Acceptor {
    /// Ready to accept.
    pub fn new(
        settings: ScopeSettings,
        credentials: SharedCredentials,
        enforcement: Enforcement,
    ) -> Arc<Self> {
        Self::behind(Edge::default(), settings, credentials, enforcement)
    }

    /// Ready to accept, with limits of its own on what is unfinished.
    pub fn with_pending_limits(
        settings: ScopeSettings,
        credentials: SharedCredentials,
        enforcement: Enforcement,
        limits: PendingLimits,
    ) -> Arc<Self> {
        let edge = Edge {
            pending: limits,
            ..Edge::default()
        };
        Self::behind(edge, settings, credentials, enforcement)
    }

    /// Ready to accept what comes past an edge of its own.
    pub fn behind(
        edge: Edge,
        settings: ScopeSettings,
        credentials: SharedCredentials,
        enforcement: Enforcement,
    ) -> Arc<Self> {
        let scope = Scope::new(settings, credentials, &enforcement);
        Arc::new(Self {
            enforcement,
            edge: ArcSwap::from_pointee(edge),
            pending: Arc::default(),
            rates: Rates::new(),
            sources: Arc::default(),
            scope: ArcSwap::from_pointee(scope),
        })
    }

    /// Connections that come from now on come past this edge; those that are open stay.
    pub fn replace_edge(&self, edge: Edge) {
        self.edge.store(Arc::new(edge));
    }

    /// New handshakes are judged by `settings`; sessions live on only if the scope's id is unchanged.
    ///
    /// Those under way are judged once more when they are done. Connections that are open stay: see
    /// [`Enforcement::withdraw`].
    pub fn replace(&self, settings: ScopeSettings, credentials: SharedCredentials) {
        let successor = self
            .scope
            .load()
            .succeeded_by(settings, credentials, &self.enforcement);
        self.scope.store(Arc::new(successor));
    }

    /// Whether clients are asked for a certificate at all.
    pub fn asks_for_certificates(&self) -> bool {
        let scope = self.scope.load();
        scope.settings.client_certificate != ClientCertificate::Off
            || scope.settings.shadow.is_some()
    }

    /// Takes the handshake to its end. On a refusal the right alert (or, for plaintext HTTP, a 400) has been sent, the
    /// socket half-closed and drained for a moment, so that the alert is not lost to a reset. Where too many are unfinished
    /// already, the socket is closed at once instead.
    pub async fn accept(
        &self,
        socket: TcpStream,
        peer: SocketAddr,
    ) -> Result<Connection, Box<HandshakeRefusal>> {
        let mut ends = Ends::own(peer);
        // On the heap, so that the task that goes on to serve the connection does not carry the handshake's state.
        let (greeting, outcome) = Box::pin(self.shake_hands(socket, &mut ends)).await;
        outcome.map_err(|refused| {
            let Refused {
                fault,
                stream,
                shadow,
            } = refused;
            let offer = greeting.offer();
            let way = match &stream {
                Some(_) => OnRefusal::Explain,
                None => OnRefusal::Alert,
            };
            let (mut refusal, fingerprint) = fault::refusal(&fault, ends.source, &offer, way);
            if let Some(front) = ends.front {
                refusal.evidence.push(FRONT, front);
            }
            if let Some(shadow) = &shadow {
                refusal.evidence.push(SHADOW, shadow);
            }
            Box::new(HandshakeRefusal {
                refusal,
                source: ends.source,
                sni: offer.server_name,
                fingerprint,
                stream,
                shadow,
            })
        })
    }

    async fn shake_hands(
        &self,
        mut socket: TcpStream,
        ends: &mut Ends,
    ) -> (Greeting, Result<Connection, Refused>) {
        let mut greeting = Greeting::default();
        let scope = self.scope.load_full();
        let deadline = Instant::now() + scope.settings.handshake_timeout;
        let edge = self.edge.load_full();
        let entered = async {
            if edge.is_front(ends.source.ip()) {
                let _slot = self.pending.begin_of_front(edge.pending)?;
                let reading = edge::read_header(&mut socket, ends.source);
                *ends = timeout_at(deadline, reading)
                    .await
                    .unwrap_or_else(|_| Err(edge::header_late(scope.settings.handshake_timeout)))?;
            }
            if let Some(rate) = edge.rate {
                self.rates.begin(rate, ends.source.ip())?;
            }
            let slot = self.pending.begin(edge.pending, ends.source.ip())?;
            let limit = edge.connections_per_source;
            let place = self.sources.enter(ends.source.ip(), limit)?;
            Ok::<_, HandshakeFault>((slot, place))
        };
        // The slot is held through the farewell of a refused client, too: until then it has its socket.
        let (slot, place) = match entered.await {
            Ok(entered) => entered,
            Err(fault) => return (greeting, Err(fault.into())),
        };
        let greeted = greet(&mut greeting, &mut socket, scope.settings.admits);
        let outcome = match timeout_at(deadline, greeted).await {
            Ok(Ok((start, accepted))) => {
                let offered = accepted.client_hello().alpn();
                let names_protocol =
                    offered.is_some_and(|mut offered| offered.any(|it| it == postgresql::ALPN));
                if start == Some(Start::Direct) && !names_protocol {
                    part(socket, &alert_record(NO_APPLICATION_PROTOCOL)).await;
                    let served = scope.settings.alpn.clone();
                    return (
                        greeting,
                        Err(HandshakeFault::AlpnMismatch { served }.into()),
                    );
                }
                let sni = accepted.client_hello().server_name().map(str::to_owned);
                // TLS reads it again, without the buffer that this holds.
                drop(accepted);
                let asked = Asked {
                    hello: greeting.received().to_vec(),
                    shows_ticket: greeting.shows_ticket(),
                    sni,
                };
                self.answer(scope, asked, socket, (*ends, slot, place), deadline)
                    .await
            }
            Ok(Err(rejected)) => {
                if let Some(answer) = rejected.answer {
                    part(socket, &answer).await;
                }
                Err(rejected.fault.into())
            }
            Err(_) => Err(timed_out(&scope, greeting.stage()).into()),
        };
        (greeting, outcome)
    }

    async fn answer(
        &self,
        scope: Arc<Scope>,
        asked: Asked,
        socket: TcpStream,
        (ends, slot, place): (Ends, Slot, Place),
        deadline: Instant,
    ) -> Result<Connection, Refused> {
        let sni = match scope.served_name(asked.sni.as_deref()) {
            Ok(sni) => sni,
            Err(fault) => {
                part(socket, &alert_record(UNRECOGNIZED_NAME)).await;
                return Err(fault.into());
            }
        };
        let scope = scope.of_name(sni.as_ref());
        let judge = Judge::new(Arc::clone(&scope), self.enforcement.clone());
        let config = judge.config(asked.shows_ticket);
        let handshake = Records::accept(config, asked.hello, socket);
        let tls = match timeout_at(deadline, handshake).await {
            Ok(Ok(tls)) => tls,
            Ok(Err((error, socket))) => {
                let fault = judge
                    .fault()
                    .unwrap_or_else(|| fault::of_io(&error, &scope.settings.alpn).into());
                if !has_gone(&fault) {
                    // The alert has been sent.
                    part(socket, &[]).await;
                }
                return Err(Refused {
                    shadow: judge.shown(),
                    ..fault.into()
                });
            }
            Err(_) => return Err(timed_out(&scope, Stage::Answered).into()),
        };
        // A handshake that waits for a responder is done, and takes no other's place.
        let mut slot = Some(slot);
        let fault = match self
            .admit(&scope, &judge, &tls, sni.as_ref(), &mut slot)
            .await
        {
            Ok(admitted) => return Ok(connection(&scope, (tls, place), admitted, ends, sni)),
            Err(fault) => fault,
        };
        let has_waited = slot.is_none();
        let explains = scope.settings.on_refusal == OnRefusal::Explain || has_waited;
        if explains && may_be_told(&fault) {
            let limits = self.edge.load().pending;
            let slot = slot.or_else(|| self.pending.begin(limits, ends.source.ip()).ok());
            if let Some(slot) = slot {
                let stream = Some(RefusedStream::new(tls, slot, place));
                let shadow = judge.shown();
                return Err(Refused {
                    fault,
                    stream,
                    shadow,
                });
            }
        }
        turn_away(tls).await;
        Err(Refused {
            shadow: judge.shown(),
            ..fault.into()
        })
    }

    /// The last look: what was withdrawn while the handshake ran counts, too.
    ///
    /// Invariant: the connection is registered before the scope and the revocations are read again, and whoever changes
    /// them changes them before cutting connections. So a withdrawal either finds the connection or is found here.
    ///
    /// Whose responder has to be asked first is nobody yet: it waits here, registered as nothing, and is looked at once more behind
    /// that. It gets no session.
    async fn admit(
        &self,
        judged_by: &Arc<Scope>,
        judge: &Judge,
        tls: &Records,
        sni: Option<&DnsName>,
        slot: &mut Option<Slot>,
    ) -> Result<Admitted, Fault> {
        let mut origin = judge.origin(tls.state())?;
        let mut scope = Arc::clone(judged_by);
        let mut settled = None;
        loop {
            let lifeline = self
                .enforcement
                .register(Arc::clone(&scope.listener), origin.peer.clone());
            let present = self.scope.load().of_name(sni);
            let admission = match &origin.peer {
                Some(peer) if present.id == scope.id => {
                    self.enforcement.admission(peer, settled.as_ref())
                }
                _ => Admission::Admitted(RevocationStatus::Checked),
            };
            match admission {
                Admission::Admitted(revocation) if present.id == scope.id => {
                    let mut shadow = None;
                    if present.id == judged_by.id {
                        // Whoever has waited has given its place back.
                        if slot.is_some() {
                            judge.keep_tickets(&origin);
                        }
                        let settings = &judged_by.settings;
                        shadow = settings.shadow.as_ref().map(|it| it.finding(&origin));
                    }
                    return Ok(Admitted {
                        shadow,
                        peer: origin.peer,
                        lifeline,
                        revocation,
                    });
                }
                Admission::Awaited => {
                    drop((lifeline, slot.take()));
                    if let Some(peer) = &origin.peer {
                        let answered = self.enforcement.answered(peer).await;
                        let now = self.enforcement.now();
                        settled = Some(answered.map_err(|kind| fault::of_peer(kind, peer, now))?);
                    }
                }
                Admission::Admitted(_) | Admission::Refused => {
                    // What was said was said of another.
                    settled = None;
                    origin = self.judge_again(&present, &origin)?;
                    scope = present;
                }
            }
        }
    }

    fn judge_again(&self, scope: &Scope, origin: &Origin) -> Result<Origin, Fault> {
        let peer = match (scope.settings.client_certificate, &origin.peer) {
            (ClientCertificate::Off, _) | (ClientCertificate::Request, None) => None,
            (ClientCertificate::Require, None) => {
                return Err(HandshakeFault::CertificateMissing.into());
            }
            (_, Some(peer)) => {
                let chain: Vec<_> = peer
                    .chain()
                    .iter()
                    .map(|der| CertificateDer::from_slice(der))
                    .collect();
                let peer = scope.verify(&chain, &self.enforcement)?;
                scope.admit(&peer)?;
                Some(peer)
            }
        };
        Ok(Origin {
            peer,
            first_handshake: origin.first_handshake,
            shown: None,
        })
    }
}

/// What a client begins with.
struct Asked {
    hello: Vec<u8>,
    shows_ticket: bool,
    sni: Option<String>,
}

/// Whom the acceptor does not let in, and how it is told, if otherwise than by an alert.
struct Refused {
    fault: Fault,
    stream: Option<RefusedStream>,
    /// What a shadow would have done.
    shadow: Option<ShadowFinding>,
}

impl<F: Into<Fault>> From<F> for Refused {
    fn from(fault: F) -> Self {
        Self {
            fault: fault.into(),
            stream: None,
            shadow: None,
        }
    }
}

/// Whom the acceptor lets in.
struct Admitted {
    peer: Option<Arc<VerifiedPeer>>,
    lifeline: Lifeline,
    revocation: RevocationStatus,
    shadow: Option<ShadowFinding>,
}

/// A finished handshake.
pub struct Connection {
    /// Decrypted bytes.
    pub stream: Stream,
    /// Who, and until when.
    pub session: Session,
}

/// What is known of a connection beside its bytes. Cheap to clone.
#[derive(Clone)]
pub struct Session {
    /// `None`: anonymous.
    pub peer: Option<Arc<VerifiedPeer>>,
    /// Where from: of a connection that a front carries, what the front says.
    pub source: SocketAddr,
    /// Where the client connected to; `None`: the socket is gone already.
    pub destination: Option<SocketAddr>,
    /// The front that carries the connection, by its own address.
    pub front: Option<SocketAddr>,
    /// Server name indication in lower case.
    pub sni: Option<DnsName>,
    /// Negotiated application protocol.
    pub alpn: Option<Arc<[u8]>>,
    /// `TLSv1.3`, `TLSv1.2`, `none`.
    pub protocol: &'static str,
    /// As OpenSSL calls the cipher suite; `none`.
    pub cipher: &'static str,
    /// Whether an earlier session was resumed.
    pub resumed: bool,
    /// What is known of the peer's revocation; of the anonymous, [`RevocationStatus::Checked`].
    pub revocation: RevocationStatus,
    /// What a shadow of the listener's terms would do with the client, for whoever tells of it. `None`: there is no shadow.
    pub shadow: Option<ShadowFinding>,
    /// Cut when access is withdrawn.
    pub lifeline: Lifeline,
}

impl Session {
    /// Of a connection without TLS, from this very host.
    pub fn plaintext(enforcement: &Enforcement, listener: &str, source: SocketAddr) -> Self {
        Self {
            peer: None,
            source,
            destination: None,
            front: None,
            sni: None,
            alpn: None,
            protocol: "none",
            cipher: "none",
            resumed: false,
            revocation: RevocationStatus::Checked,
            shadow: None,
            lifeline: enforcement.register(listener.into(), None),
        }
    }

    /// The header of the PROXY protocol that tells an upstream of this connection. `None`: it is not known where it came to.
    pub fn proxy_header(&self, version: Version) -> Option<Vec<u8>> {
        let announced = Announcement {
            source: self.source,
            destination: self.destination?,
            sni: self.sni.as_ref().map(ToString::to_string),
            alpn: self.alpn.as_deref(),
            protocol: self.protocol,
            cipher: self.cipher,
            peer: self.peer.as_deref(),
            resumed: self.resumed,
        };
        Some(announced.encode(version))
    }
}

/// A refused handshake, for log, metric and explanation.
#[derive(Debug)]
pub struct HandshakeRefusal {
    /// Why.
    pub refusal: Refusal,
    /// Where from.
    pub source: SocketAddr,
    /// Server name indication, as far as it was read.
    pub sni: Option<String>,
    /// SHA-256 of the leaf that was presented, to tell clients behind one address apart.
    pub fingerprint: Option<Fingerprint>,
    /// The way to tell the client, where that is asked for and its handshake came that far. Dropped, it is closed.
    pub stream: Option<RefusedStream>,
    /// What a shadow would have done.
    pub shadow: Option<ShadowFinding>,
}

/// With how TLS began where that is told.
async fn greet(
    greeting: &mut Greeting,
    socket: &mut TcpStream,
    admits: Admits,
) -> Result<(Option<Start>, Accepted), Rejected> {
    let start = match admits {
        Admits::Connections | Admits::Requests => None,
        Admits::Logins => Some(preamble::read(socket, greeting).await?),
    };
    let accepted = greeting.read(socket).await?;
    Ok((start, accepted))
}

fn connection(
    scope: &Scope,
    (tls, place): (Records, Place),
    admitted: Admitted,
    ends: Ends,
    sni: Option<DnsName>,
) -> Connection {
    let (socket, state) = (tls.socket(), tls.state());
    let own_end = || {
        let address = socket.local_addr().ok()?;
        Some(SocketAddr::new(address.ip().to_canonical(), address.port()))
    };
    let Admitted {
        peer,
        lifeline,
        revocation,
        shadow,
    } = admitted;
    let session = Session {
        peer,
        source: ends.source,
        destination: ends.destination.or_else(own_end),
        front: ends.front,
        sni,
        alpn: state
            .alpn_protocol()
            .map(|negotiated| scope.protocol(negotiated)),
        protocol: match state.protocol_version() {
            Some(ProtocolVersion::TLSv1_2) => "TLSv1.2",
            _ => "TLSv1.3",
        },
        cipher: state
            .negotiated_cipher_suite()
            .map_or("none", |suite| cipher_name(suite.suite())),
        resumed: state.handshake_kind() == Some(rustls::HandshakeKind::Resumed),
        revocation,
        shadow,
        lifeline: lifeline.clone(),
    };
    Connection {
        stream: Stream::new(tls, lifeline, place),
        session,
    }
}

fn timed_out(scope: &Scope, stage: Stage) -> Fault {
    HandshakeFault::TimedOut {
        stage,
        limit: scope.settings.handshake_timeout,
    }
    .into()
}

fn has_gone(fault: &Fault) -> bool {
    matches!(
        fault,
        Fault::Handshake(HandshakeFault::Closed(_) | HandshakeFault::Alert { .. }, _)
    )
}

/// What the certificate was refused for, by what it is or how it is judged. Whoever breaks the protocol, or holds no key to what it
/// shows, gets an alert.
fn may_be_told(fault: &Fault) -> bool {
    match fault {
        Fault::Chain(_) => true,
        Fault::Policy(..) => false,
        Fault::Handshake(fault, _) => matches!(
            fault,
            HandshakeFault::CertificateMissing
                | HandshakeFault::TrustDataStale { .. }
                | HandshakeFault::TrustMissing
        ),
    }
}

/// Whatever says who a client was says by which front it came.
pub const FRONT: &str = "front";
const SHADOW: &str = "shadow";

/// RFC 7301 §3.2.
const NO_APPLICATION_PROTOCOL: u8 = 120;
/// RFC 6066 §3.
const UNRECOGNIZED_NAME: u8 = 112;
