//! Fills an inventory as years of work would have, for `bench/authority/scale`: through the authority itself, so that each
//! row has its intent, its signature, its audit records and its feed message, and nothing here knows a schema.
//!
//! Time goes from [`HISTORY`] ago to now, evenly over the certificates. Each identity gets its next certificate after a
//! third of that, so that of three one is live. The revoked ones are spread over all of them.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, anyhow, ensure};
use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair};
use clap::Parser;
use countersign_authority::authority::Authority;
use countersign_authority::init::{InitOptions, init};
use countersign_authority::secret::Passphrase;
use countersign_authority::state::StateFolder;
use countersign_authority::what::What;
use countersign_pki::feed::RevocationReason;
use countersign_pki::publication::PublicationUrl;
use countersign_pki::request::Wishes;
use countersign_policy::issuance::{Actor, Profile, Request};
use countersign_runtime::clock::{ManualClock, SharedClock};
use countersign_store::annotation::{Annotate, LabelKey, LabelValue, Owner};
use tokio::task::JoinSet;

/// Makes a state folder with many certificates.
#[derive(Parser)]
struct Args {
    /// A folder that does not exist.
    #[arg(long)]
    state: PathBuf,
    /// Certificates.
    #[arg(long)]
    rows: u64,
    /// Of them revoked.
    #[arg(long)]
    revoked: u64,
    /// What `authority.public.url` will be.
    #[arg(long)]
    url: String,
}

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    ensure!(
        !args.state.exists(),
        "{} exists already",
        args.state.display()
    );
    ensure!(
        args.revoked <= args.rows,
        "more are to be revoked than there are"
    );
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    runtime.block_on(seed(&args))
}

async fn seed(args: &Args) -> anyhow::Result<()> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
    let began = now - HISTORY.as_secs();
    let clock = Arc::new(ManualClock::new(began));
    let shared: SharedClock = clock.clone();
    let state = StateFolder::prepare(&args.state)?;
    let lock = state.lock()?;
    init(&state, &lock, InitOptions::default(), &shared)?;
    let authority = Authority::open(state, lock, &Passphrase::StateFile, shared)?;
    authority
        .ready()
        .await
        .map_err(|error| anyhow!("{}", error.why))?;
    authority
        .publish_at(Some(PublicationUrl::parse(&args.url)?))
        .await?;

    let started = Instant::now();
    let next = Arc::new(AtomicU64::new(0));
    let mut workers = JoinSet::new();
    for _ in 0..AT_ONCE {
        let worker = Worker {
            authority: Arc::clone(&authority),
            clock: Arc::clone(&clock),
            began,
            rows: args.rows,
            revoked: args.revoked,
        };
        let next = Arc::clone(&next);
        workers.spawn(async move {
            loop {
                let row = next.fetch_add(1, Ordering::Relaxed);
                if row >= worker.rows {
                    return Ok(());
                }
                worker
                    .row(row)
                    .await
                    .with_context(|| format!("row {row}"))?;
                if row.is_multiple_of(PROGRESS) {
                    eprintln!("{row} rows in {} s", started.elapsed().as_secs());
                }
            }
        });
    }
    while let Some(done) = workers.join_next().await {
        done.map_err(anyhow::Error::from)
            .and_then(|outcome: anyhow::Result<()>| outcome)?;
    }
    eprintln!("{} rows in {} s", args.rows, started.elapsed().as_secs());
    Ok(())
}

struct Worker {
    authority: Arc<Authority>,
    clock: Arc<ManualClock>,
    began: u64,
    rows: u64,
    revoked: u64,
}

impl Worker {
    async fn row(&self, row: u64) -> anyhow::Result<()> {
        let at = u128::from(HISTORY.as_secs()) * u128::from(row) / u128::from(self.rows);
        self.clock.set(self.began + u64::try_from(at)?);
        let issued = self.authority.issue(OPERATOR, self.request(row)?).await?;
        // Whether the count of the revoked grows at this row.
        let revoked_before =
            |row: u64| u128::from(row) * u128::from(self.revoked) / u128::from(self.rows);
        if revoked_before(row + 1) > revoked_before(row) {
            let what = What::Serial(issued.serial, String::new());
            let reason = RevocationReason::KeyCompromise;
            self.authority.revoke(OPERATOR, &what, reason, None).await?;
        }
        if row < self.rows / LIFETIMES && row.is_multiple_of(ANNOTATED) {
            let team = row / ANNOTATED % TEAMS;
            let change = Annotate {
                owner: Some(Some(Owner::parse(&format!("team{team}@example.com"))?)),
                set: vec![(
                    LabelKey::parse("tier")?,
                    LabelValue::parse(&format!("{}", team % 3))?,
                )],
                ..Annotate::default()
            };
            let what = What::Fingerprint(issued.fingerprint, String::new());
            self.authority.annotate(OPERATOR, &what, change).await?;
        }
        Ok(())
    }

    fn request(&self, row: u64) -> anyhow::Result<Request> {
        let identity = row % (self.rows / LIFETIMES).max(1);
        let team = identity % TEAMS;
        let (profile, name) = match identity % 100 {
            0 => (Profile::DEVICE, format!("device-{identity}")),
            1..=20 => (Profile::CLIENT, format!("client-{identity}")),
            21..=40 => (Profile::WORKLOAD, format!("team{team}/job-{identity}")),
            _ => (
                Profile::SERVER,
                format!("host-{identity}.team{team}.example.com"),
            ),
        };
        let key = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING)?;
        let spki: PublicKeyX509Der<'_> = key.public_key().as_der()?;
        Ok(Request {
            profile,
            name,
            subject_alt_names: Vec::new(),
            lifetime: Some(HISTORY / 3 + OVERLAP),
            spki_der: spki.as_ref().to_vec(),
            wishes: Wishes::default(),
        })
    }
}

const OPERATOR: Actor = Actor::LocalAdmin { uid: 1000 };

/// Longer than a certificate lives, so that most have ended.
const HISTORY: Duration = Duration::from_hours(270 * 24);

/// Renewed before its end.
const OVERLAP: Duration = Duration::from_hours(24);

/// Certificates of each identity.
const LIFETIMES: u64 = 3;

const TEAMS: u64 = 97;

/// One of so many identities has an owner and a label.
const ANNOTATED: u64 = 50;

/// More than one transaction takes, so that the next one fills up meanwhile.
const AT_ONCE: usize = 512;

const PROGRESS: u64 = 50_000;
