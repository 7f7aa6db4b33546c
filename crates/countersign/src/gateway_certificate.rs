//! The certificates of this process's own ports, the gateway's, the feed's and the admin API's: found on disk, issued where they are missing,
//! renewed while serving. The authority that issues them is part of this process or far away.
//!
//! Key and certificate are two files, so a crash between their renames leaves a pair that does not match. That is found
//! at the next start, like a pair that has ended or lacks a name, and the answer is the same: a new key and a new
//! certificate.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use std::{fs, io};

use countersign_agent::feed_client::FeedClient;
use countersign_authority::authority::Authority;
use countersign_authority::state::StateFolder;
use countersign_pki::certificate::Certificate;
use countersign_pki::feed::port::ListenerCertificate;
use countersign_pki::name::TypedName;
use countersign_pki::pem;
use countersign_pki::request::Wishes;
use countersign_pki::time::UnixTime;
use countersign_policy::issuance::{Actor, BACKDATE, Profile, Request};
use countersign_policy::renewal::due_at;
use countersign_runtime::atomic_file::write_atomic;
use countersign_runtime::clock::SharedClock;
use countersign_store::idempotency::IdempotencyKey;
use countersign_tls::credentials::{Credentials, SharedCredentials};
use countersign_tls::enforcement::Enforcement;
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval};
use zeroize::Zeroizing;

use crate::backend::random;
use crate::fault::Fault;
use crate::leaf_key::{KeyKind, LeafKey};
use crate::private_folder::make_private_folders;

/// For which port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Port {
    /// `[authority.admin]`: from the operator issuer, which operators trust.
    Admin,
    /// `[authority.feed]`: from the operator issuer, which nodes trust.
    Feed,
    /// The listeners without a certificate of their own.
    Gateway,
}

impl Port {
    /// How logs call it.
    const fn name(self) -> &'static str {
        match self {
            Self::Admin => "admin",
            Self::Feed => "feed",
            Self::Gateway => "gateway",
        }
    }

    fn profile(self) -> Profile {
        match self {
            Self::Admin | Self::Feed => Profile::AUTHORITY,
            Self::Gateway => Profile::SERVER,
        }
    }

    /// The issuer of it.
    fn issuing_ca(self, authority: &Authority) -> &Certificate {
        match self {
            Self::Admin | Self::Feed => authority.operator(),
            Self::Gateway => authority.intermediate(),
        }
    }

    fn folder(self, state: &StateFolder) -> PathBuf {
        state.path().join(self.name())
    }

    fn certificate(self, state: &StateFolder) -> PathBuf {
        self.folder(state).join("cert.pem")
    }

    fn key(self, state: &StateFolder) -> PathBuf {
        self.folder(state).join("key.pem")
    }

    /// What lies on disk, or else a new pair.
    pub(crate) async fn credentials(
        self,
        issuer: &Issuer,
        state: &StateFolder,
        wanted: &Wanted,
        now: UnixTime,
    ) -> Result<SharedCredentials, Fault> {
        let cas = issuer.cas(self);
        let credentials = match load(self, state, &cas, &wanted.names, now) {
            Ok(credentials) => credentials,
            Err(because) => {
                tracing::info!(port = self.name(), because, "certificate is issued");
                issue(self, issuer, state, &wanted.names, wanted.lifetime).await?
            }
        };
        Ok(SharedCredentials::new(credentials))
    }
}

/// Who issues.
#[derive(Clone)]
pub(crate) enum Issuer {
    /// Of this process.
    Authority(Arc<Authority>),
    /// Far away.
    Remote {
        client: Arc<FeedClient>,
        /// What it issues from.
        cas: Vec<Certificate>,
    },
}

impl Issuer {
    fn cas(&self, port: Port) -> Vec<Certificate> {
        match self {
            Self::Authority(authority) => vec![port.issuing_ca(authority).clone()],
            Self::Remote { cas, .. } => cas.clone(),
        }
    }

    /// What a new key of `port` is: see [`KeyKind::below`].
    fn key_kind(&self, port: Port) -> KeyKind {
        self.cas(port).first().map_or_else(KeyKind::default, |ca| {
            KeyKind::below(ca.public_key_algorithm())
        })
    }

    /// The chain for `key`. `wanted`: at least one name.
    async fn certify(
        &self,
        port: Port,
        key: &LeafKey,
        wanted: &[TypedName],
        lifetime: Duration,
    ) -> Result<String, Fault> {
        let (first, further) = wanted
            .split_first()
            .ok_or_else(|| Fault::bug("a port without a name"))?;
        match self {
            Self::Authority(authority) => {
                let request = Request {
                    profile: port.profile(),
                    name: first.bare(),
                    subject_alt_names: further.to_vec(),
                    lifetime: Some(lifetime),
                    spki_der: key.spki_der().to_vec(),
                    wishes: Wishes::default(),
                };
                Ok(authority.issue(Actor::Authority, request).await?.chain_pem)
            }
            Self::Remote { client, .. } => {
                let once = IdempotencyKey::from_random(random()?).to_string();
                let asked = ListenerCertificate {
                    csr: pem::encode("CERTIFICATE REQUEST", &key.request()?),
                    names: wanted.iter().map(ToString::to_string).collect(),
                    lifetime_s: Some(lifetime.as_secs()),
                };
                let certified = client.certify(&asked, &once).await.map_err(|error| {
                    let hint = error.hint();
                    Fault::world(format_args!(
                        "no certificate for this gateway's listeners: {error}"
                    ))
                    .maybe_hint(hint)
                    .or_hint("[authority.node.NAME] names = [...] binds names to a node, where the authority is; or give each listener its certificate and key")
                })?;
                Ok(certified.chain_pem)
            }
        }
    }
}

/// The pair on disk, if it can be served; else why not.
pub(crate) fn load(
    port: Port,
    state: &StateFolder,
    cas: &[Certificate],
    wanted: &[TypedName],
    now: UnixTime,
) -> Result<Credentials, String> {
    let read = |path: PathBuf| {
        fs::read(&path).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => "there is none".to_owned(),
            _ => format!("{}: {error}", path.display()),
        })
    };
    let chain = read(port.certificate(state))?;
    let key = Zeroizing::new(read(port.key(state))?);
    let credentials = Credentials::from_pem(&chain, &key).map_err(|error| error.to_string())?;
    let leaf = credentials.leaf();
    if now < leaf.not_before() {
        return Err(format!(
            "it is not valid yet (not_before {}, now {now})",
            leaf.not_before()
        ));
    }
    if now > leaf.not_after() {
        return Err(format!(
            "it has expired (not_after {}, now {now})",
            leaf.not_after()
        ));
    }
    // An adopted CA may say nothing of its key.
    let is_of = |ca: &Certificate| match ca.subject_key_id() {
        Some(held) => leaf.authority_key_id() == Some(held),
        None => leaf.issuer_der() == ca.subject_der(),
    };
    if !cas.iter().any(is_of) {
        return Err("another authority issued it".to_owned());
    }
    match missing(leaf, wanted) {
        Some(name) => Err(format!("it lacks the name {name}")),
        None => Ok(credentials),
    }
}

/// Makes a key, has it certified, and puts both on disk. Needs the CA's key: waits for it.
pub(crate) async fn issue(
    port: Port,
    issuer: &Issuer,
    state: &StateFolder,
    wanted: &[TypedName],
    lifetime: Duration,
) -> Result<Credentials, Fault> {
    let folder = port.folder(state);
    let unwritable = |error| {
        Fault::world(format_args!(
            "cannot write to {}: {error}",
            folder.display()
        ))
        .hint("the port's key and certificate lie there: whoever serves must be able to write")
    };
    // Found out before anything is issued: each retry of a renewal would leave one more certificate in the inventory.
    make_private_folders(&folder)
        .and_then(|()| probe(&folder))
        .map_err(unwritable)?;
    if let Issuer::Authority(authority) = issuer {
        authority.ready().await?;
    }
    let key = LeafKey::generate(issuer.key_kind(port))?;
    let chain_pem = issuer.certify(port, &key, wanted, lifetime).await?;
    let key_pem = key.to_pem();
    write_atomic(&port.key(state), key_pem.as_bytes(), 0o600).map_err(unwritable)?;
    write_atomic(&port.certificate(state), chain_pem.as_bytes(), 0o644).map_err(unwritable)?;
    Credentials::from_pem(chain_pem.as_bytes(), key_pem.as_bytes()).map_err(Fault::bug)
}

/// Whether files can be put into `folder`.
fn probe(folder: &Path) -> io::Result<()> {
    let path = folder.join(".probe");
    write_atomic(&path, b"", 0o600)?;
    fs::remove_file(path)
}

/// What keeps a gateway's certificate fresh.
pub(crate) struct Renewal {
    /// Of which port.
    pub(crate) port: Port,
    /// Who issues.
    pub(crate) issuer: Issuer,
    /// Where the files lie.
    pub(crate) state: StateFolder,
    /// What the listeners present.
    pub(crate) credentials: SharedCredentials,
    /// The names and the life that the configuration in force asks for.
    pub(crate) wanted: watch::Receiver<Wanted>,
    /// Knows when the certificate itself was revoked.
    pub(crate) enforcement: Enforcement,
    /// The time of day.
    pub(crate) clock: SharedClock,
}

/// What a gateway's certificate shall be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Wanted {
    /// Its names, the first of which is a DNS name.
    pub(crate) names: Vec<TypedName>,
    /// Its life.
    pub(crate) lifetime: Duration,
}

impl Renewal {
    /// Renews at half life, and when a name is missing or the certificate was revoked. Never ends by itself.
    pub(crate) async fn run(self) {
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut backoff = FIRST_BACKOFF;
        let mut not_before = Instant::now();
        loop {
            ticks.tick().await;
            let wanted = self.wanted.borrow().clone();
            let Some(because) = self.due(&wanted) else {
                continue;
            };
            if Instant::now() < not_before {
                continue;
            }
            match issue(
                self.port,
                &self.issuer,
                &self.state,
                &wanted.names,
                wanted.lifetime,
            )
            .await
            {
                Ok(credentials) => {
                    let leaf = credentials.leaf();
                    let (serial, not_after) = (leaf.serial(), leaf.not_after());
                    self.credentials.swap(credentials);
                    tracing::info!(cert.serial = %serial, cert.not_after = %not_after, because, port = self.port.name(), "certificate renewed");
                    if self.due(&wanted).is_none() {
                        backoff = FIRST_BACKOFF;
                        continue;
                    }
                    // The new one is no better, as under a clock that goes back and forth: not one each second.
                    tracing::warn!(
                        because,
                        retry_in_s = backoff.as_secs(),
                        port = self.port.name(),
                        "certificate is due again at once"
                    );
                }
                Err(fault) => {
                    tracing::warn!(error = %fault.sentence(), because, retry_in_s = backoff.as_secs(), port = self.port.name(), "certificate not renewed");
                }
            }
            not_before = Instant::now() + backoff;
            backoff = (backoff * 2).min(LONGEST_BACKOFF);
        }
    }

    fn due(&self, wanted: &Wanted) -> Option<&'static str> {
        let leaf = self.credentials.leaf();
        let now = UnixTime::from_seconds(self.clock.unix_seconds());
        let revocations = self.enforcement.revocations();
        let cas = self.issuer.cas(self.port);
        let is_revoked = |ca: &Certificate| revocations.find(&ca.spki(), leaf.serial()).is_some();
        if cas.iter().any(is_revoked) {
            return Some("it was revoked");
        }
        because(&leaf, wanted, now)
    }
}

fn because(leaf: &Certificate, wanted: &Wanted, now: UnixTime) -> Option<&'static str> {
    if missing(leaf, &wanted.names).is_some() {
        return Some("it lacks a name");
    }
    if now < leaf.not_before() {
        return Some("it is not valid yet");
    }
    // The life begins when the certificate was issued, not at the backdated notBefore: a short one would be due at once.
    let issued = leaf.not_before().plus(BACKDATE).min(leaf.not_after());
    if now >= due_at(issued, leaf.not_after()) {
        return Some("half of its life is over");
    }
    // It was issued when the configuration allowed a longer life.
    (now >= due_at(issued, issued.plus(wanted.lifetime)))
        .then_some("half of the life that is configured is over")
}

fn missing<'a>(leaf: &Certificate, wanted: &'a [TypedName]) -> Option<&'a TypedName> {
    wanted
        .iter()
        .find(|name| !leaf.subject_alt_names().contains(name))
}

/// Looking at two times is cheap, and a clock that jumps is noticed within a second.
const TICK: Duration = Duration::from_secs(1);
const FIRST_BACKOFF: Duration = Duration::from_secs(1);
/// A certificate of the shortest sensible life (an hour) is still tried several times in its second half.
const LONGEST_BACKOFF: Duration = Duration::from_mins(5);

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use countersign_testkit::pki::{Leaf, TestCa};

    use super::*;

    fn leaf(lives: Duration) -> Certificate {
        let seconds = i64::try_from(lives.as_secs()).expect("small");
        let backdate = i64::try_from(BACKDATE.as_secs()).expect("small");
        let issued =
            TestCa::new("internal").issue(Leaf::server(&["localhost"]).valid(-backdate, seconds));
        Certificate::parse(&issued.chain[0]).expect("a certificate")
    }

    fn wanted(lifetime: Duration) -> Wanted {
        Wanted {
            names: Vec::new(),
            lifetime,
        }
    }

    #[test]
    fn certificate_is_due_before_its_time_at_half_of_its_life_and_of_the_configured_one() {
        let day = Duration::from_hours(24);
        let leaf = leaf(30 * day);
        let issued = leaf.not_before().plus(BACKDATE);
        let check = |lifetime, now, expected| {
            assert_eq!(because(&leaf, &wanted(lifetime), now), expected, "{now}");
        };
        check(
            30 * day,
            leaf.not_before().minus(Duration::from_secs(1)),
            Some("it is not valid yet"),
        );
        check(30 * day, leaf.not_before(), None);
        check(30 * day, issued.plus(14 * day), None);
        check(
            30 * day,
            issued.plus(16 * day),
            Some("half of its life is over"),
        );
        check(90 * day, issued.plus(14 * day), None);
        check(2 * day, issued.plus(Duration::from_hours(23)), None);
        check(
            2 * day,
            issued.plus(Duration::from_hours(25)),
            Some("half of the life that is configured is over"),
        );
    }

    #[test]
    fn certificate_on_disk_is_served_only_within_its_time() {
        let folder = tempfile::tempdir().expect("a folder");
        let state = StateFolder::prepare(&folder.path().join("state")).expect("a state");
        let ca = TestCa::new("internal");
        let server = ca.issue(Leaf::server(&["localhost"]));
        let intermediate = Certificate::parse(ca.intermediate.der()).expect("a certificate");
        make_private_folders(&state.path().join("gateway")).expect("writable");
        fs::write(state.gateway_certificate(), server.chain_pem()).expect("writable");
        fs::write(state.gateway_key(), &server.key_pem).expect("writable");
        let leaf = Certificate::parse(&server.chain[0]).expect("a certificate");
        let load_at = |now| {
            load(
                Port::Gateway,
                &state,
                std::slice::from_ref(&intermediate),
                &[],
                now,
            )
            .map(drop)
        };
        let second = Duration::from_secs(1);
        assert_eq!(load_at(leaf.not_before()), Ok(()));
        let early = load_at(leaf.not_before().minus(second)).expect_err("too early");
        assert!(early.contains("not valid yet"), "{early}");
        let late = load_at(leaf.not_after().plus(second)).expect_err("too late");
        assert!(late.contains("expired"), "{late}");
    }

    #[test]
    fn folders_are_their_owners() {
        let folder = tempfile::tempdir().expect("a folder");
        let made = folder.path().join("a/b");
        make_private_folders(&made).expect("writable");
        for path in [&made, &folder.path().join("a")] {
            let permissions = fs::metadata(path).expect("made").permissions();
            assert_eq!(permissions.mode() & 0o777, 0o700, "{}", path.display());
        }
    }
}
