//! A disk that neither works nor fails, and callers that hang up: what is shut stays shut, and is told to the disk.

use std::pin::pin;

use countersign_pki::revocation::RevocationIndex;
use countersign_policy::break_glass::Reason;
use countersign_runtime::clock::ManualClock;
use futures_util::poll;
use tokio::task::yield_now;
use tokio::time::{advance, timeout};

use super::ledger::Parked;
use super::*;
use crate::metrics::Metrics;

const NOW: u64 = 1_800_000_000;
const DURATION: Duration = Duration::from_mins(30);
/// Of anything that waits for the disk, with room for several of its limits one after another.
const BOUND: Duration = Duration::from_secs(30);

struct Stalled {
    glass: Arc<BreakGlass>,
    disk: Parked,
    clock: Arc<ManualClock>,
}

fn reason() -> Reason {
    Reason::parse("the disk does not answer").expect("a line")
}

impl Stalled {
    fn new() -> Self {
        let clock = Arc::new(ManualClock::new(NOW));
        let shared: SharedClock = clock.clone();
        let (ledger, disk) = Ledger::parked(Arc::clone(&shared));
        let terms = Terms {
            rules: Rules {
                gateway: "0123456789ab".to_owned(),
                listener: "emergency".to_owned(),
                max_duration: DURATION,
                approvals: 0,
                approvers: std::collections::BTreeSet::new(),
                operators: None,
            },
            connections_per_minute: 60,
            requests_per_minute: 60,
            configuration: Fingerprint::of(b"as it was"),
        };
        let glass = Arc::new(BreakGlass {
            name: "emergency".to_owned(),
            terms: ArcSwap::from_pointee(terms),
            live: ArcSwapOption::empty(),
            desk: tokio::sync::Mutex::default(),
            turn: Mutex::default(),
            ledger,
            metrics: Metrics::new("0").break_glass("emergency"),
            enforcement: Enforcement::new(RevocationIndex::default(), Arc::clone(&shared)),
            clock: shared,
        });
        Self { glass, disk, clock }
    }

    fn armed() -> Self {
        let stalled = Self::new();
        let (glass, terms) = (&stalled.glass, stalled.glass.terms.load_full());
        let statement = glass.draw(&terms, reason(), DURATION).expect("within it");
        let revocations = glass.enforcement.revocations();
        let armed = (terms.rules)
            .arm(
                statement,
                Vec::new(),
                "you".to_owned(),
                &revocations,
                glass.now(),
            )
            .expect("none are needed");
        glass.put_in_force(
            &terms,
            armed,
            Instant::now() + DURATION,
            revocations,
            "armed",
        );
        stalled
    }

    fn is_armed(&self) -> bool {
        self.glass.live.load().is_some()
    }

    /// Lets tasks go on until they ask the disk for something, which is then done with at once or never.
    async fn asked(&self, is_done: bool) -> Vec<String> {
        for _ in 0..100 {
            let asked = self.disk.asked(is_done);
            if !asked.is_empty() {
                return asked;
            }
            yield_now().await;
        }
        Vec::new()
    }

    async fn pass(&self, time: Duration) {
        self.clock.advance(time);
        advance(time).await;
    }
}

#[tokio::test(start_paused = true)]
async fn disarming_that_nobody_waits_for_is_done_to_its_end() {
    let stalled = Stalled::armed();
    {
        let disarming = pin!(stalled.glass.disarm(None, "you"));
        assert!(poll!(disarming).is_pending());
        // The command was interrupted.
    }
    assert!(!stalled.is_armed());
    assert_eq!(stalled.disk.asked(true), ["disarmed", "FORGET"]);
}

#[tokio::test(start_paused = true)]
async fn disarming_again_tells_the_disk_again() {
    let stalled = Stalled::armed();
    let first = timeout(BOUND, stalled.glass.disarm(None, "you")).await;
    assert!(matches!(first, Ok(Err(ArmError::Disk { .. }))), "{first:?}");
    assert_eq!(stalled.disk.asked(false), ["disarmed", "FORGET"]);
    let glass = Arc::clone(&stalled.glass);
    let second = tokio::spawn(async move { glass.disarm(None, "you").await });
    assert_eq!(stalled.asked(true).await, ["disarmed", "FORGET"]);
    assert_eq!(second.await.expect("no panic").expect("told"), None);
}

#[tokio::test(start_paused = true)]
async fn what_the_disk_did_not_forget_is_asked_of_it_until_it_has() {
    let stalled = Stalled::armed();
    let outcome = timeout(BOUND, stalled.glass.disarm(None, "you")).await;
    assert!(matches!(outcome, Ok(Err(_))), "{outcome:?}");
    stalled.disk.asked(false);
    stalled.glass.look();
    assert_eq!(stalled.asked(true).await, ["FORGET"]);
    stalled.glass.look();
    assert!(stalled.asked(true).await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn arming_that_nobody_waits_for_is_done_to_its_end() {
    let stalled = Stalled::new();
    {
        let arming = pin!(
            stalled
                .glass
                .arm(Some((reason(), DURATION)), Vec::new(), "you")
        );
        assert!(poll!(arming).is_pending());
    }
    assert_eq!(stalled.asked(true).await, ["armed"]);
    assert_eq!(stalled.asked(true).await, ["KEEP"]);
    for _ in 0..100 {
        yield_now().await;
    }
    assert!(stalled.is_armed());
}

#[tokio::test(start_paused = true)]
async fn disarming_overtakes_an_arming_that_waits_for_the_disk() {
    for is_kept in [false, true] {
        let stalled = Stalled::new();
        let glass = Arc::clone(&stalled.glass);
        let arming =
            tokio::spawn(
                async move { glass.arm(Some((reason(), DURATION)), Vec::new(), "a").await },
            );
        for _ in 0..100 {
            yield_now().await;
        }
        if is_kept {
            assert_eq!(stalled.asked(true).await, ["armed"]);
            for _ in 0..100 {
                yield_now().await;
            }
        }
        {
            let disarming = pin!(stalled.glass.disarm(None, "you"));
            assert!(poll!(disarming).is_pending());
        }
        let first = if is_kept { "KEEP" } else { "armed" };
        assert_eq!(stalled.disk.asked(true), [first, "disarmed", "FORGET"]);
        assert_eq!(stalled.asked(true).await, ["denied"]);
        let outcome = arming.await.expect("no panic");
        assert!(matches!(outcome, Err(ArmError::Overtaken)), "{outcome:?}");
        assert!(!stalled.is_armed());
    }
}

#[tokio::test(start_paused = true)]
async fn arming_that_the_disk_does_not_take_in_time_is_none_and_is_forgotten_behind_it() {
    let stalled = Stalled::new();
    let glass = Arc::clone(&stalled.glass);
    let arming =
        tokio::spawn(async move { glass.arm(Some((reason(), DURATION)), Vec::new(), "a").await });
    assert_eq!(stalled.asked(true).await, ["armed"]);
    let outcome = timeout(BOUND, arming).await.expect("bounded");
    let outcome = outcome.expect("no panic");
    assert!(matches!(outcome, Err(ArmError::Disk { .. })), "{outcome:?}");
    assert!(!stalled.is_armed());
    assert_eq!(
        stalled.disk.asked(true),
        ["KEEP", "disarmed", "FORGET", "denied"]
    );
}

#[tokio::test(start_paused = true)]
async fn its_end_comes_while_the_disk_stalls_and_nothing_is_kept_behind_it() {
    let stalled = Stalled::armed();
    stalled.pass(SAVE_INTERVAL).await;
    stalled.glass.look();
    assert_eq!(stalled.disk.asked(false), ["KEEP"]);
    assert!(stalled.is_armed());
    stalled.pass(DURATION).await;
    stalled.glass.look();
    assert!(!stalled.is_armed());
    stalled.glass.look();
    assert_eq!(stalled.disk.asked(false), ["expired", "FORGET"]);
}

#[tokio::test(start_paused = true)]
async fn disarming_waits_for_no_saving() {
    let stalled = Stalled::armed();
    stalled.pass(SAVE_INTERVAL).await;
    stalled.glass.look();
    let disarming = pin!(stalled.glass.disarm(None, "you"));
    assert!(poll!(disarming).is_pending());
    assert!(!stalled.is_armed());
    assert_eq!(stalled.disk.asked(true), ["KEEP", "disarmed", "FORGET"]);
}

#[tokio::test(start_paused = true)]
async fn use_that_the_disk_does_not_take_in_time_does_not_happen() {
    let stalled = Stalled::armed();
    let source = ([127, 0, 0, 1], 1).into();
    let session = Session::plaintext(&stalled.glass.enforcement, "emergency", source);
    let entered = stalled.glass.enter().expect("armed");
    let outcome = timeout(BOUND, stalled.glass.admit(&entered, &session)).await;
    assert!(
        matches!(outcome, Ok(Err(Shut::Unrecorded { .. }))),
        "{outcome:?}"
    );
}
