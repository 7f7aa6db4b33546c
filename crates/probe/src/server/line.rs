//! From a trial to an attempt: socket, what comes before TLS, TLS or what else is spoken.

use std::net::SocketAddr;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use countersign_diagnose::doctor::question::TlsVersion;
use countersign_diagnose::doctor::target::{
    AddressSeen, Attempt, Der, End, Preamble, Shown, Speech, Stage, TargetSeen, Tcp, Trial, Vouched,
};
use rustls::client::Resumption;
use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs::{default_provider, kx_group};
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, Error, InconsistentKeys, SupportedProtocolVersion};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};

use super::conversation::{self, Afterwards, Told};
use super::session::{Keeper, Session};
use super::vouching::Vouching;
use super::witness::Witness;
use super::{ClientIdentity, Limits, Wanted, http, raw, reach, starttls, stranger};

/// Makes connections to one server.
pub(super) struct Line {
    limits: Limits,
    end: Instant,
    vouching: Arc<Vouching>,
    addresses: Vec<SocketAddr>,
    /// The one that answered.
    chosen: Option<SocketAddr>,
    own: Option<Arc<CertifiedKey>>,
    own_completed: Option<Arc<CertifiedKey>>,
    stranger: Option<Arc<CertifiedKey>>,
    host: String,
    patience: Duration,
    /// What was given to whom showed no certificate, by the trial of the connection.
    sessions: Vec<(Trial, Session)>,
}

impl Line {
    pub(super) fn new(
        wanted: &Wanted,
        vouching: Vouching,
        addresses: Vec<SocketAddr>,
        end: Instant,
        seen: &mut TargetSeen,
    ) -> Self {
        let own = wanted.identity.as_ref().and_then(|identity| {
            let own = own(identity, &[]);
            if own.is_none() {
                seen.left_out.push(
                    "the client's certificate: its key is of no kind that can be used here"
                        .to_owned(),
                );
            }
            own
        });
        seen.key_is_anothers = own.as_ref().is_some_and(|own| {
            matches!(
                own.keys_match(),
                Err(Error::InconsistentKeys(InconsistentKeys::KeyMismatch))
            )
        });
        let own_completed = wanted
            .identity
            .as_ref()
            .filter(|_| !wanted.issuers.is_empty())
            .and_then(|identity| self::own(identity, &wanted.issuers));
        let stranger = stranger::stranger(wanted.now)
            .ok()
            .and_then(|(certificate, key)| {
                let key = provider().key_provider.load_private_key(key).ok()?;
                Some(Arc::new(CertifiedKey::new(vec![certificate], key)))
            });
        let target = wanted.question.target.as_ref();
        // Who says https means to be answered; of HOST:PORT alone we only guess that it speaks HTTP.
        let is_said = target.is_some_and(|target| target.scheme.is_some());
        Self {
            limits: wanted.limits,
            end,
            vouching: Arc::new(vouching),
            addresses,
            chosen: None,
            own,
            own_completed,
            stranger,
            host: target.map(|target| target.host.clone()).unwrap_or_default(),
            patience: if is_said { PATIENCE } else { PATIENCE_UNSURE },
            sessions: Vec::new(),
        }
    }

    pub(super) fn vouched(&self, chain: &[Der]) -> Vouched {
        self.vouching.of(chain)
    }

    /// `None`: TCP does not get there.
    pub(super) async fn attempt(&mut self, trial: Trial, seen: &mut TargetSeen) -> Option<Attempt> {
        let begun = Instant::now();
        let deadline = self.end.min(begun + self.patience_with(&trial, seen));
        let (mut stream, address) = self.connect(seen).await?;
        let mut attempt = Attempt::new(trial, address);
        let said = starttls::before(
            &mut stream,
            attempt.trial.preamble,
            &self.host,
            address,
            deadline,
        )
        .await;
        attempt.plaintext = said.plaintext;
        if let Some(end) = said.refused {
            attempt.end = end;
            attempt.at = Stage::Preamble;
        } else {
            match attempt.trial.speech {
                Speech::Tls => self.speak_tls(&mut stream, &mut attempt, deadline).await,
                Speech::RawHello => raw_hello(&mut stream, &mut attempt, deadline).await,
                Speech::PlainHttp => self.speak_http(&mut stream, &mut attempt, deadline).await,
            }
        }
        attempt.took = begun.elapsed();
        Some(attempt)
    }

    /// Addresses that the first one made it unnecessary to try: whether they are open at all.
    pub(super) async fn look_at_other_addresses(&self, seen: &mut TargetSeen, deadline: Instant) {
        if self.chosen.is_none() {
            return;
        }
        for &address in &self.addresses {
            if seen.addresses.iter().any(|known| known.address == address)
                || Instant::now() >= deadline
            {
                continue;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            let limit = OTHER_ADDRESS.min(self.limits.connect).min(left);
            let tcp = reach::connect(address, limit)
                .await
                .map_or_else(|tcp| tcp, |_| Tcp::Open);
            seen.addresses.push(AddressSeen { address, tcp });
        }
    }

    /// Whoever answered at once will again, and whoever did not is given time once.
    fn patience_with(&self, trial: &Trial, seen: &TargetSeen) -> Duration {
        let all = self.limits.attempt;
        match seen.attempts.first() {
            None => all,
            // It has greeted, so that its words come as fast as it does.
            Some(first) if !first.plaintext.is_empty() && trial.preamble != Preamble::None => {
                all.min((first.took * 10).max(AFTER_A_GREETING))
            }
            Some(first) if first.end == End::TimedOut => all.min(AFTER_SILENCE),
            Some(first) => all.min((first.took * 10).max(AFTER_AN_ANSWER)),
        }
    }

    async fn connect(&mut self, seen: &mut TargetSeen) -> Option<(TcpStream, SocketAddr)> {
        let candidates = match self.chosen {
            Some(address) => vec![address],
            None => self.addresses.clone(),
        };
        let count = u32::try_from(candidates.len()).unwrap_or(u32::MAX);
        for address in candidates {
            let left = self.end.saturating_duration_since(Instant::now());
            // Dead addresses before the one that lives leave half of the time to it.
            let limit = self.limits.connect.min(match count {
                0 | 1 => left,
                several => left / 2 / several,
            });
            let outcome = reach::connect(address, limit).await;
            let tcp = match &outcome {
                Ok(_) => Tcp::Open,
                Err(tcp) => tcp.clone(),
            };
            match seen.addresses.iter().any(|known| known.address == address) {
                true if tcp != Tcp::Open => {
                    seen.left_out.push(format!("a further connection: {tcp:?}"));
                }
                true => {}
                false => seen.addresses.push(AddressSeen { address, tcp }),
            }
            if let Ok(stream) = outcome {
                self.chosen = Some(address);
                return Some((stream, address));
            }
        }
        None
    }

    async fn speak_tls(
        &mut self,
        stream: &mut TcpStream,
        attempt: &mut Attempt,
        deadline: Instant,
    ) {
        let trial = &attempt.trial;
        let Some(session) = self.session(trial) else {
            attempt.end = End::Withheld("there is no such certificate at hand".to_owned());
            return;
        };
        let witness = Arc::clone(&session.witness);
        let config = config(trial, &session);
        let name = server_name(trial, attempt.address);
        let request = trial
            .request
            .as_ref()
            .map(|request| (request.clone(), self.patience));
        let afterwards = Afterwards {
            request,
            witness: Arc::clone(&witness),
            deadline,
        };
        let told = conversation::hold(stream, config, name, afterwards).await;
        let mut notes = std::mem::take(&mut *witness.notes());
        attempt.chain = notes.chain;
        attempt.ocsp = notes.ocsp;
        attempt.unproved = notes.unproved;
        attempt.asked = notes.asked;
        attempt.sent_certificate = notes.sent_certificate;
        let withheld = notes.withheld.take();
        attempt.take(told);
        if attempt.trial.certificate == Shown::None && attempt.trial.resumes.is_none() {
            self.sessions.push((attempt.trial.clone(), session));
        }
        if let Some(why) = withheld {
            attempt.sent_certificate = false;
            attempt.end = End::Withheld(why);
        }
    }

    /// A new one, or that of an earlier connection: rustls resumes only what the same verifier and the same certificates gave.
    fn session(&self, trial: &Trial) -> Option<Session> {
        let Some(name) = &trial.resumes else {
            return Some(Session {
                witness: Arc::new(self.witness(trial.certificate)?),
                keeper: Arc::default(),
            });
        };
        let mut earlier = self.sessions.iter().rev();
        earlier
            .find(|(open, _)| open.sni.as_ref() == Some(name) && open.max == trial.max)
            .map(|(_, session)| session.clone())
    }

    fn witness(&self, shown: Shown) -> Option<Witness> {
        let own = |own: &Option<Arc<CertifiedKey>>| {
            Some(Witness::with_own(own.clone()?, Arc::clone(&self.vouching)))
        };
        match shown {
            Shown::None => Some(Witness::without_certificate()),
            Shown::Own => own(&self.own),
            Shown::OwnCompleted => own(&self.own_completed),
            Shown::Stranger => self.stranger.clone().map(Witness::with_worthless),
        }
    }

    async fn speak_http(&self, stream: &mut TcpStream, attempt: &mut Attempt, deadline: Instant) {
        let Some(request) = &attempt.trial.request else {
            return;
        };
        let until = deadline.min(Instant::now() + self.patience);
        let mut answer = Vec::new();
        attempt.at = Stage::BeforeServerHello;
        let asked = http::get(request);
        attempt.end = match timeout_at(until, stream.write_all(&asked)).await {
            Err(_) => End::TimedOut,
            Ok(Err(error)) => conversation::of_error(&error),
            Ok(Ok(())) => loop {
                if http::is_whole(&answer) {
                    break End::Open;
                }
                let mut chunk = vec![0; 4096];
                match timeout_at(until, stream.read(&mut chunk)).await {
                    Err(_) => break End::TimedOut,
                    Ok(Err(error)) => break conversation::of_error(&error),
                    Ok(Ok(0)) => break End::Closed,
                    Ok(Ok(read)) => answer.extend(&chunk[..read]),
                }
            },
        };
        attempt.http = http::parse(&answer);
        if attempt.http.is_none() {
            answer.truncate(FIRST_BYTES);
            attempt.plaintext = answer;
        }
    }
}

async fn raw_hello(stream: &mut TcpStream, attempt: &mut Attempt, deadline: Instant) {
    let trial = &attempt.trial;
    let Ok(hello) = raw::Offer::of_every_age(trial).encode() else {
        return;
    };
    let mut reader = raw::Reader::default();
    let end = match timeout_at(deadline, stream.write_all(&hello)).await {
        Err(_) => End::TimedOut,
        Ok(Err(error)) => conversation::of_error(&error),
        Ok(Ok(())) => loop {
            let mut chunk = vec![0; 4096];
            match timeout_at(deadline, stream.read(&mut chunk)).await {
                Err(_) => break End::TimedOut,
                Ok(Err(error)) => break conversation::of_error(&error),
                Ok(Ok(0)) => break End::Closed,
                Ok(Ok(read)) => {
                    if let Some(end) = reader.push(&chunk[..read]) {
                        break end;
                    }
                }
            }
        },
    };
    reader.fill(attempt, end);
}

trait Filled {
    fn new(trial: Trial, address: SocketAddr) -> Self;
    fn take(&mut self, told: Told);
}

impl Filled for Attempt {
    fn new(trial: Trial, address: SocketAddr) -> Self {
        Self {
            trial,
            address,
            plaintext: Vec::new(),
            hello: None,
            chain: Vec::new(),
            ocsp: None,
            unproved: None,
            asked: None,
            sent_certificate: false,
            finished: false,
            resumed: false,
            has_ticket: false,
            end: End::Open,
            at: Stage::BeforeServerHello,
            http: None,
            other_data: false,
            took: Duration::ZERO,
        }
    }

    fn take(&mut self, told: Told) {
        if !told.plaintext.is_empty() {
            self.plaintext = told.plaintext;
        }
        self.hello = told.hello;
        self.finished = told.finished;
        self.resumed = told.resumed;
        self.has_ticket = told.has_ticket;
        self.end = told.end;
        self.at = told.at;
        self.http = told.http;
        self.other_data = told.other_data;
    }
}

/// The groups of everyday clients: a `ClientHello` in two segments would be a question of its own.
pub(super) fn provider() -> &'static Arc<CryptoProvider> {
    static PROVIDER: LazyLock<Arc<CryptoProvider>> = LazyLock::new(|| {
        Arc::new(CryptoProvider {
            kx_groups: vec![
                kx_group::X25519,
                kx_group::SECP256R1,
                kx_group::SECP384R1,
                kx_group::X25519MLKEM768,
            ],
            ..default_provider()
        })
    });
    &PROVIDER
}

fn own(identity: &ClientIdentity, issuers: &[Vec<u8>]) -> Option<Arc<CertifiedKey>> {
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(identity.key.as_slice())).clone_key();
    let key = provider().key_provider.load_private_key(key).ok()?;
    let chain: Vec<CertificateDer<'static>> = identity
        .chain
        .iter()
        .chain(issuers.iter().filter(|der| !identity.chain.contains(der)))
        .map(|der| CertificateDer::from(der.clone()))
        .collect();
    (!chain.is_empty()).then(|| Arc::new(CertifiedKey::new(chain, key)))
}

fn config(trial: &Trial, session: &Session) -> Arc<ClientConfig> {
    let witness = &session.witness;
    let mut config = ClientConfig::builder_with_provider(Arc::clone(provider()))
        .with_protocol_versions(versions(trial))
        .expect("the provider has suites for both versions")
        .dangerous()
        .with_custom_certificate_verifier(Arc::<Witness>::clone(witness))
        .with_client_cert_resolver(Arc::<Witness>::clone(witness));
    config.resumption = if trial.certificate == Shown::None {
        Resumption::store(Arc::<Keeper>::clone(&session.keeper))
    } else {
        Resumption::disabled()
    };
    config.enable_sni = trial.sni.is_some();
    config.check_selected_alpn = false;
    config.alpn_protocols = trial
        .alpn
        .iter()
        .map(|name| name.as_bytes().to_vec())
        .collect();
    Arc::new(config)
}

fn versions(trial: &Trial) -> &'static [&'static SupportedProtocolVersion] {
    static BOTH: [&SupportedProtocolVersion; 2] =
        [&rustls::version::TLS13, &rustls::version::TLS12];
    match (trial.min, trial.max) {
        (TlsVersion::Tls13, _) => &BOTH[..1],
        (_, TlsVersion::Tls13) => &BOTH,
        _ => &BOTH[1..],
    }
}

fn server_name(trial: &Trial, address: SocketAddr) -> ServerName<'static> {
    trial
        .sni
        .as_ref()
        .and_then(|name| ServerName::try_from(name.clone()).ok())
        .unwrap_or_else(|| ServerName::IpAddress(address.ip().into()))
}

/// A greeting is a line or two.
const FIRST_BYTES: usize = 512;

/// A second address is looked at only for whether it is open.
const OTHER_ADDRESS: Duration = Duration::from_millis(700);

/// For connections behind the first.
const AFTER_SILENCE: Duration = Duration::from_millis(1200);
const AFTER_AN_ANSWER: Duration = Duration::from_millis(2500);
const AFTER_A_GREETING: Duration = Duration::from_millis(800);

/// For the answer to a request.
const PATIENCE: Duration = Duration::from_secs(3);
const PATIENCE_UNSURE: Duration = Duration::from_millis(700);

#[cfg(test)]
mod tests {
    use countersign_diagnose::doctor::question::{Question, Target};
    use countersign_pki::time::UnixTime;
    use tokio::net::{TcpListener, TcpSocket};
    use tokio::time::timeout;

    use super::*;

    /// A port whose queue is full: whoever comes hears nothing. What it returns keeps it so.
    async fn dead() -> (SocketAddr, (TcpListener, Vec<TcpStream>)) {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket
            .bind("127.0.0.1:0".parse().expect("an address"))
            .expect("binds");
        let listener = socket.listen(1).expect("listens");
        let address = listener.local_addr().expect("an address");
        let mut held = Vec::new();
        let unheard = Duration::from_millis(100);
        while let Ok(connected) = timeout(unheard, TcpStream::connect(address)).await {
            held.push(connected.expect("connects"));
            assert!(held.len() < 100, "the queue never fills");
        }
        (address, (listener, held))
    }

    #[tokio::test]
    async fn several_dead_addresses_leave_time_to_the_one_that_lives() {
        let (mut addresses, mut kept) = (Vec::new(), Vec::new());
        for _ in 0..3 {
            let (address, held) = dead().await;
            addresses.push(address);
            kept.push(held);
        }
        let alive = TcpListener::bind("127.0.0.1:0").await.expect("binds");
        let living = alive.local_addr().expect("an address");
        addresses.push(living);
        let target = Target::parse("several.example:443").expect("a target");
        let wanted = Wanted {
            question: Question {
                target: Some(target.clone()),
                ..Question::default()
            },
            identity: None,
            issuers: Vec::new(),
            anchors: Vec::new(),
            now: UnixTime::from_seconds(1_800_000_000),
            limits: Limits {
                // One of them alone would use up everything.
                connect: Duration::from_mins(1),
                total: Duration::from_secs(2),
                ..Limits::default()
            },
        };
        let mut seen = TargetSeen::default();
        let vouching = Vouching::new(&wanted, &target);
        let mut line = Line::new(&wanted, vouching, addresses, Instant::now(), &mut seen);
        let connected = line.connect(&mut seen).await;
        assert_eq!(connected.map(|(_, address)| address), Some(living));
        let opened: Vec<bool> = seen
            .addresses
            .iter()
            .map(|it| it.tcp == Tcp::Open)
            .collect();
        assert_eq!(opened, [false, false, false, true]);
    }
}
