//! The gateway's own certificate: found on disk, issued where it is missing, renewed while serving.
//!
//! Key and certificate are two files, so a crash between their renames leaves a pair that does not match. That is found
//! at the next start, like a pair that has ended or lacks a name, and the answer is the same: a new key and a new
//! certificate.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use std::{fs, io};

use countersign_authority::authority::Authority;
use countersign_authority::state::StateFolder;
use countersign_pki::certificate::Certificate;
use countersign_pki::name::TypedName;
use countersign_pki::time::UnixTime;
use countersign_policy::issuance::{Actor, BACKDATE, Profile, Request};
use countersign_policy::renewal::due_at;
use countersign_runtime::atomic_file::write_atomic;
use countersign_runtime::clock::SharedClock;
use countersign_tls::credentials::{Credentials, SharedCredentials};
use countersign_tls::enforcement::Enforcement;
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval};
use zeroize::Zeroizing;

use crate::certificate_file::certificate_in;
use crate::fault::Fault;
use crate::leaf_key::LeafKey;

/// The pair on disk, if it can be served; else why not.
pub(crate) fn load(
    state: &StateFolder,
    intermediate: &Certificate,
    wanted: &[TypedName],
    now: UnixTime,
) -> Result<Credentials, String> {
    let read = |path: PathBuf| {
        fs::read(&path).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => "there is none".to_owned(),
            _ => format!("{}: {error}", path.display()),
        })
    };
    let chain = read(state.gateway_certificate())?;
    let key = Zeroizing::new(read(state.gateway_key())?);
    let credentials = Credentials::from_pem(&chain, &key).map_err(|error| error.to_string())?;
    let leaf = credentials.leaf();
    if now > leaf.not_after() {
        return Err(format!(
            "it has expired (not_after {}, now {now})",
            leaf.not_after()
        ));
    }
    if leaf.authority_key_id() != intermediate.subject_key_id() {
        return Err("another authority issued it".to_owned());
    }
    match missing(leaf, wanted) {
        Some(name) => Err(format!("it lacks the name {name}")),
        None => Ok(credentials),
    }
}

/// The names on the certificate that is there, so that a later one keeps them.
pub(crate) fn names_on_disk(state: &StateFolder) -> Vec<TypedName> {
    let certificate = certificate_in(&state.gateway_certificate());
    certificate
        .map(|certificate| certificate.subject_alt_names().to_vec())
        .unwrap_or_default()
}

/// Makes a key, has it certified, and puts both on disk. Needs the CA's key: waits for it.
pub(crate) async fn issue(
    authority: &Arc<Authority>,
    state: &StateFolder,
    wanted: &[TypedName],
    lifetime: Duration,
) -> Result<Credentials, Fault> {
    authority.ready().await?;
    let key = LeafKey::generate()?;
    let (first, further) = wanted
        .split_first()
        .ok_or_else(|| Fault::bug("a gateway without a name"))?;
    let request = Request {
        profile: Profile::Server,
        name: first.bare(),
        subject_alt_names: further.to_vec(),
        lifetime: Some(lifetime),
        spki_der: key.spki_der()?,
    };
    let issued = authority.issue(Actor::Authority, request).await?;
    let key_pem = key.to_pem();
    let folder = state.path().join("gateway");
    let unwritable = |error| {
        Fault::world(format_args!(
            "cannot write to {}: {error}",
            folder.display()
        ))
    };
    fs::create_dir_all(&folder).map_err(unwritable)?;
    write_atomic(&state.gateway_key(), key_pem.as_bytes(), 0o600).map_err(unwritable)?;
    write_atomic(
        &state.gateway_certificate(),
        issued.chain_pem.as_bytes(),
        0o644,
    )
    .map_err(unwritable)?;
    Credentials::from_pem(issued.chain_pem.as_bytes(), key_pem.as_bytes()).map_err(Fault::bug)
}

/// What keeps a gateway's certificate fresh.
pub(crate) struct Renewal {
    /// Who issues.
    pub(crate) authority: Arc<Authority>,
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
            let Some(because) = self.due(&wanted.names) else {
                continue;
            };
            if Instant::now() < not_before {
                continue;
            }
            match issue(&self.authority, &self.state, &wanted.names, wanted.lifetime).await {
                Ok(credentials) => {
                    let leaf = credentials.leaf();
                    let (serial, not_after) = (leaf.serial(), leaf.not_after());
                    self.credentials.swap(credentials);
                    tracing::info!(cert.serial = %serial, cert.not_after = %not_after, because, "gateway certificate renewed");
                    backoff = FIRST_BACKOFF;
                }
                Err(fault) => {
                    tracing::warn!(error = %fault.sentence(), because, retry_in_s = backoff.as_secs(), "gateway certificate not renewed");
                    not_before = Instant::now() + backoff;
                    backoff = (backoff * 2).min(LONGEST_BACKOFF);
                }
            }
        }
    }

    fn due(&self, wanted: &[TypedName]) -> Option<&'static str> {
        let leaf = self.credentials.leaf();
        let now = UnixTime::from_seconds(self.clock.unix_seconds());
        let issuer_key = self.authority.intermediate().spki();
        if self
            .enforcement
            .revocations()
            .find(&issuer_key, leaf.serial())
            .is_some()
        {
            return Some("it was revoked");
        }
        if missing(&leaf, wanted).is_some() {
            return Some("it lacks a name");
        }
        (now >= renewal_time(&leaf)).then_some("half of its life is over")
    }
}

/// Half of the life is over. The life begins when the certificate was issued, not at the backdated notBefore: a short
/// one would be due at once.
fn renewal_time(leaf: &Certificate) -> UnixTime {
    due_at(
        leaf.not_before().plus(BACKDATE).min(leaf.not_after()),
        leaf.not_after(),
    )
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
