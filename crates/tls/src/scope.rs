//! Scope: everything that decides whom a listener admits. A TLS session belongs to one scope and to no other.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::digest;
use countersign_diagnose::handshake::HandshakeFault;
use countersign_diagnose::refusal::Refusal;
use countersign_diagnose::request::refused_connection;
use countersign_pki::chain::{Purpose, Verifier};
use countersign_pki::identity::VerifiedPeer;
use countersign_pki::name::DnsName;
use countersign_policy::access::AccessPolicy;
use rustls::DistinguishedName;
use rustls_pki_types::CertificateDer;

use crate::credentials::SharedCredentials;
use crate::enforcement::Enforcement;
use crate::fault::{self, Fault};
use crate::ocsp::Verdict;
use crate::sessions::SessionStore;
use crate::shadow::ShadowSettings;

/// What a listener asks of clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ClientCertificate {
    /// Never asks; every client is anonymous.
    Off,
    /// Asks; a client without a certificate is anonymous, one with a bad certificate is refused (invariant 10).
    Request,
    /// A client without a certificate is refused.
    Require,
}

impl ClientCertificate {
    fn word(self) -> &'static [u8] {
        match self {
            Self::Off => b"off",
            Self::Request => b"request",
            Self::Require => b"require",
        }
    }
}

/// What a listener's policy admits or refuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Admits {
    /// Requests, each when it comes.
    Requests,
    /// The connection: whom the policy does not admit is refused in the handshake, by an alert that says so.
    Connections,
    /// Logins to PostgreSQL, each when it comes; who could log in as nobody is refused in the handshake. TLS may be asked for
    /// first, as clients of PostgreSQL do.
    Logins,
}

/// What becomes of a client whose certificate is refused.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum OnRefusal {
    /// The handshake ends with the alert that fits.
    #[default]
    Alert,
    /// The handshake is finished, so that the client can be told why in the protocol that it speaks. It is as refused as by an alert.
    Explain,
}

/// The settings that a scope is made from.
#[derive(Clone, Debug)]
pub struct ScopeSettings {
    /// The listener's name: two listeners never share sessions, whatever else is equal.
    pub listener: String,
    /// Whether a certificate is asked for.
    pub client_certificate: ClientCertificate,
    /// Against whose anchors; `None` only with [`ClientCertificate::Off`]: otherwise everybody is refused.
    pub verifier: Option<Arc<Verifier>>,
    /// Server names for which fewer bundles vouch than for the listener, exact ones before wildcards. Each is a scope of its own.
    pub narrowed: Vec<Narrowed>,
    /// Who may do what.
    pub policy: Arc<AccessPolicy>,
    /// What the policy is asked about.
    pub admits: Admits,
    /// Application protocols in the order of preference, such as `h2`, `http/1.1`; empty: any bytes.
    pub alpn: Vec<Vec<u8>>,
    /// The ceiling from the first handshake, however often a session is resumed. Default 1 h; zero turns resumption off.
    pub session_lifetime: Duration,
    /// From the first byte to the finished handshake. Default 10 s.
    pub handshake_timeout: Duration,
    /// How a client learns that its certificate is refused. It decides nothing about whom.
    pub on_refusal: OnRefusal,
    /// How long after the feed was last confirmed certificates are still accepted (invariant 5); `None`, and in a process
    /// without a feed: for ever.
    pub feed_life: Option<Duration>,
    /// Other terms for certificates, judged beside these and never in effect.
    pub shadow: Option<ShadowSettings>,
}

/// A server name, and who vouches for clients that ask for it.
#[derive(Clone, Debug)]
pub struct Narrowed {
    /// The name, or a wildcard.
    pub host: DnsName,
    /// Of some of the listener's bundles.
    pub verifier: Arc<Verifier>,
}

/// SHA-256 over mode, anchors, policy, ALPN and listener. Revocation is no part of it: it is looked up at each
/// resumption, so that one revocation does not make everybody handshake again (invariant 7).
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct ScopeId([u8; 32]);

impl ScopeId {
    /// Changes when anything changes that decides whom the listener admits.
    pub fn of(settings: &ScopeSettings) -> Self {
        Self::of_name(settings, None)
    }

    /// `host`: of [`ScopeSettings::narrowed`].
    fn of_name(settings: &ScopeSettings, host: Option<&DnsName>) -> Self {
        let mut fields = Fields(digest::Context::new(&digest::SHA256));
        fields.add(settings.listener.as_bytes());
        // A name is never empty, so none and one cannot be confused.
        fields.add(host.map_or("", DnsName::as_str).as_bytes());
        fields.add(settings.client_certificate.word());
        fields.add_verifier(settings.verifier.as_deref());
        fields.add(&settings.policy.canonical());
        fields.add(match settings.admits {
            Admits::Requests => b"requests",
            Admits::Connections => b"connections",
            Admits::Logins => b"logins",
        });
        fields.count(settings.alpn.len());
        for protocol in &settings.alpn {
            fields.add(protocol);
        }
        // It admits nobody. What sessions remember of it is of this shadow, though, and of no other.
        match &settings.shadow {
            None => fields.count(0),
            Some(shadow) => {
                fields.count(1);
                fields.add(shadow.client_certificate.word());
                fields.add_verifier(Some(&shadow.verifier));
            }
        }
        let mut id = [0; 32];
        id.copy_from_slice(fields.0.finish().as_ref());
        Self(id)
    }
}

impl fmt::Debug for ScopeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ScopeId(")?;
        self.0
            .iter()
            .take(6)
            .try_for_each(|byte| write!(f, "{byte:02x}"))?;
        f.write_str(")")
    }
}

/// Each field is preceded by its length, each list by its count, so that no two settings run into the same bytes.
struct Fields(digest::Context);

impl Fields {
    fn add(&mut self, field: &[u8]) {
        self.count(field.len());
        self.0.update(field);
    }

    fn count(&mut self, number: usize) {
        self.0.update(&(number as u64).to_be_bytes());
    }

    fn add_verifier(&mut self, verifier: Option<&Verifier>) {
        let Some(verifier) = verifier else {
            return self.count(0);
        };
        let limits = verifier.limits();
        for limit in [
            limits.certificates,
            limits.certificate_bytes,
            limits.chain_bytes,
        ] {
            self.count(limit);
        }
        let mut bundles: Vec<_> = verifier.bundles().iter().collect();
        bundles.sort_by(|a, b| a.name().cmp(b.name()));
        self.count(bundles.len());
        for bundle in bundles {
            self.add(bundle.name().as_str().as_bytes());
            // A trust domain is never empty, so none and one cannot be confused.
            self.add(
                bundle
                    .trust_domain()
                    .map_or("", |domain| domain.as_str())
                    .as_bytes(),
            );
            let mut anchors: Vec<&[u8]> = bundle
                .anchors()
                .iter()
                .map(|anchor| anchor.der().as_ref())
                .collect();
            anchors.sort_unstable();
            self.count(anchors.len());
            for anchor in anchors {
                self.add(anchor);
            }
        }
    }
}

/// A scope at work: what every handshake that begins under it shares.
pub(crate) struct Scope {
    pub(crate) id: ScopeId,
    pub(crate) settings: ScopeSettings,
    pub(crate) credentials: Arc<SharedCredentials>,
    pub(crate) listener: Arc<str>,
    pub(crate) sessions: Arc<SessionStore>,
    pub(crate) root_hints: Vec<DistinguishedName>,
    narrowed: Vec<(DnsName, Arc<Scope>)>,
    protocols: Vec<Arc<[u8]>>,
}

impl Scope {
    /// With a session store of its own.
    pub(crate) fn new(
        settings: ScopeSettings,
        credentials: SharedCredentials,
        enforcement: &Enforcement,
    ) -> Self {
        Self::whole(None, settings, credentials, enforcement)
    }

    /// Takes over the sessions of `self` if the id is the same; otherwise they are gone. So do the scopes of its names.
    pub(crate) fn succeeded_by(
        &self,
        settings: ScopeSettings,
        credentials: SharedCredentials,
        enforcement: &Enforcement,
    ) -> Self {
        Self::whole(Some(self), settings, credentials, enforcement)
    }

    /// What judges a client that asks for this name.
    pub(crate) fn of_name(self: &Arc<Self>, asked: Option<&DnsName>) -> Arc<Self> {
        let covers = |host: &DnsName, asked: &DnsName| {
            host == asked || (host.is_wildcard() && host.covers(asked))
        };
        let narrowed = asked.and_then(|asked| {
            let mut scopes = self.narrowed.iter();
            scopes.find(|(host, _)| covers(host, asked))
        });
        narrowed.map_or_else(|| Arc::clone(self), |(_, scope)| Arc::clone(scope))
    }

    fn whole(
        before: Option<&Self>,
        mut settings: ScopeSettings,
        credentials: SharedCredentials,
        enforcement: &Enforcement,
    ) -> Self {
        let narrowed = std::mem::take(&mut settings.narrowed);
        let narrowed = narrowed.into_iter().map(|Narrowed { host, verifier }| {
            let settings = ScopeSettings {
                verifier: Some(verifier),
                ..settings.clone()
            };
            let before = before.and_then(|before| {
                let mut scopes = before.narrowed.iter();
                scopes.find(|(earlier, _)| *earlier == host)
            });
            let id = ScopeId::of_name(&settings, Some(&host));
            let before = before.map(|(_, scope)| &**scope);
            let scope = Self::succeeding(before, id, settings, credentials.clone(), enforcement);
            (host, Arc::new(scope))
        });
        let narrowed = narrowed.collect();
        let id = ScopeId::of(&settings);
        let scope = Self::succeeding(before, id, settings, credentials, enforcement);
        Self { narrowed, ..scope }
    }

    fn succeeding(
        before: Option<&Self>,
        id: ScopeId,
        settings: ScopeSettings,
        credentials: SharedCredentials,
        enforcement: &Enforcement,
    ) -> Self {
        let kept = before.filter(|before| before.id == id);
        let kept = kept.map(|before| Arc::clone(&before.sessions));
        let sessions = kept.unwrap_or_else(|| {
            let sessions = Arc::new(SessionStore::new(settings.listener.as_str().into()));
            enforcement.watch(&sessions);
            sessions
        });
        Self::with_sessions(id, settings, credentials, sessions, enforcement)
    }

    /// The name that the client asks for, if a route serves it. `None`: it asks for none, and Host will have to tell.
    pub(crate) fn served_name(
        &self,
        sent: Option<&str>,
    ) -> Result<Option<DnsName>, HandshakeFault> {
        let Some(sent) = sent else { return Ok(None) };
        match DnsName::parse(sent) {
            Ok(name) if !name.is_wildcard() && self.settings.policy.serves(&name) => Ok(Some(name)),
            // A name that is none is not "no name": that would be a failed sniff taken for a default (invariant 8).
            _ => Err(HandshakeFault::UnknownServerName {
                name: sent.to_owned(),
            }),
        }
    }

    /// Judges a chain as it stands now.
    pub(crate) fn verify(
        &self,
        chain: &[CertificateDer<'_>],
        enforcement: &Enforcement,
    ) -> Result<Arc<VerifiedPeer>, Fault> {
        let verifier = self
            .settings
            .verifier
            .as_ref()
            .ok_or(HandshakeFault::TrustMissing)?;
        self.refuse_stale(enforcement)?;
        let now = enforcement.now();
        let judged = verifier.verify(chain, Purpose::ClientAuth, &enforcement.revocations(), now);
        let peer = judged.map_err(|fault| Fault::Chain(Box::new(fault)))?;
        match enforcement.judge_ocsp(&peer) {
            // It goes on, and waits behind its handshake.
            Verdict::Good(_) | Verdict::Awaited => Ok(enforcement.share(peer)),
            Verdict::Refused(kind) => Err(fault::of_peer(kind, &peer, now)),
        }
    }

    /// Where the policy judges connections: whether it lets in this peer, who has proved to hold the key.
    pub(crate) fn admit(&self, peer: &VerifiedPeer) -> Result<(), Fault> {
        match self.refusal(peer) {
            Some(refusal) => Err(Fault::Policy(refusal, peer.fingerprint())),
            None => Ok(()),
        }
    }

    fn refusal(&self, peer: &VerifiedPeer) -> Option<Box<Refusal>> {
        let policy = &self.settings.policy;
        let decision = match self.settings.admits {
            Admits::Requests => return None,
            // From where it comes is judged behind the handshake, as what it asks for.
            Admits::Connections | Admits::Logins => policy.decide_in_handshake(Some(peer)),
        };
        let route = policy.routes().first();
        let label = route.map_or(self.listener.as_ref(), |route| route.label.as_str());
        refused_connection(&decision, Some(peer), label).map(Box::new)
    }

    /// Nobody is judged by what is too old.
    fn refuse_stale(&self, enforcement: &Enforcement) -> Result<(), HandshakeFault> {
        match enforcement.stale(self.settings.feed_life) {
            Some(age) => Err(HandshakeFault::TrustDataStale {
                age,
                life: self.settings.feed_life.unwrap_or_default(),
            }),
            None => Ok(()),
        }
    }

    /// Shared with the scope, because most connections have one of few.
    pub(crate) fn protocol(&self, negotiated: &[u8]) -> Arc<[u8]> {
        let known = self
            .protocols
            .iter()
            .find(|protocol| ***protocol == *negotiated);
        known.map_or_else(|| negotiated.into(), Arc::clone)
    }

    fn with_sessions(
        id: ScopeId,
        settings: ScopeSettings,
        credentials: SharedCredentials,
        sessions: Arc<SessionStore>,
        enforcement: &Enforcement,
    ) -> Self {
        let listener: Arc<str> = settings.listener.as_str().into();
        enforcement.set_life(&listener, settings.feed_life);
        Self {
            id,
            credentials: Arc::new(credentials),
            listener,
            sessions,
            // A shadow adds none where certificates are in force: clients may choose by them which one they send.
            root_hints: root_hints(match (settings.client_certificate, &settings.shadow) {
                (ClientCertificate::Off, Some(shadow)) => Some(&*shadow.verifier),
                _ => settings.verifier.as_deref(),
            }),
            narrowed: Vec::new(),
            protocols: settings
                .alpn
                .iter()
                .map(|protocol| protocol.as_slice().into())
                .collect(),
            settings,
        }
    }
}

/// As their certificates encode them: Go compares bytes. None when there are many: a long list leaks whom we trust and
/// overflows clients' limits, and no list means "send what you have" (RFC 8446 §4.2.4).
fn root_hints(verifier: Option<&Verifier>) -> Vec<DistinguishedName> {
    let bundles = verifier.map_or(&[][..], Verifier::bundles);
    let anchors: Vec<_> = bundles.iter().flat_map(|bundle| bundle.anchors()).collect();
    if anchors.len() > MAX_ROOT_HINTS {
        return Vec::new();
    }
    let subjects = anchors
        .into_iter()
        .filter(|anchor| !anchor.subject().is_empty());
    subjects
        .map(|anchor| DistinguishedName::from(anchor.subject_der().to_vec()))
        .collect()
}

/// Some 2 KiB of names; more is a public root store.
const MAX_ROOT_HINTS: usize = 20;
