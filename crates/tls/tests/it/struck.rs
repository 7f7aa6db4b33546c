//! A withdrawal that comes at any moment of a handshake.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use countersign_diagnose::cause::Cause;
use countersign_pki::feed::{Released, RevocationReason, Revoked};
use countersign_runtime::clock::{Clock, ManualClock};
use countersign_tls::scope::OnRefusal;
use rustls::{ClientConfig, SupportedProtocolVersion};
use tokio::io::AsyncWriteExt;
use tokio::task::spawn_blocking;

use crate::peer::{BOTH, ByHand, TLS13, config};
use crate::site::{Outcome, Site, now};
use crate::told::hear;

/// Acts just before it tells the time for the n-th time: whatever is judged is judged by a time.
struct Striking {
    clock: Arc<ManualClock>,
    asked: AtomicUsize,
    strike: Mutex<Option<(usize, Strike)>>,
}

type Strike = Box<dyn FnOnce() + Send>;

impl Striking {
    fn strike(&self, at: usize, strike: impl FnOnce() + Send + 'static) {
        self.asked.store(0, Ordering::SeqCst);
        *self.strike.lock().expect("no panic") = Some((at, Box::new(strike)));
    }

    fn has_struck(&self) -> bool {
        self.strike.lock().expect("no panic").is_none()
    }
}

impl Clock for Striking {
    fn unix_seconds(&self) -> u64 {
        let asked = self.asked.fetch_add(1, Ordering::SeqCst) + 1;
        let strike = (self.strike.lock().expect("no panic")).take_if(|(at, _)| *at == asked);
        if let Some((_, strike)) = strike {
            strike();
        }
        self.clock.unix_seconds()
    }
}

/// What came of it, and how many tickets the client was given.
async fn greet(site: &Site, config: &ClientConfig) -> (Outcome, u32) {
    let (address, accepting) = site.open().await;
    let config = config.clone();
    let hearing = spawn_blocking(move || hear(ByHand::new(address, config), b""));
    let mut outcome = accepting.await.expect("no panic");
    match &mut outcome {
        Ok(connection) => connection.stream.shutdown().await.expect("open"),
        Err(refused) => {
            if let Some(stream) = &mut refused.stream {
                stream.shutdown().await.expect("open");
            }
        }
    }
    let heard = hearing.await.expect("no panic");
    (outcome, heard.map_or(0, |(_, _, tickets)| tickets))
}

/// Whether whoever was refused was given a ticket at any of these moments.
async fn check(
    version: &'static SupportedProtocolVersion,
    way: OnRefusal,
    has_session: bool,
) -> bool {
    let mut was_given = false;
    for at in 1.. {
        let case = format!("{version:?} {way:?} {has_session} {at}");
        let clock = Arc::new(ManualClock::new(now()));
        let striking = Arc::new(Striking {
            clock: Arc::clone(&clock),
            asked: AtomicUsize::default(),
            strike: Mutex::default(),
        });
        let shared = Arc::<Striking>::clone(&striking);
        let site = Site::with_clock(shared, clock, |settings| settings.on_refusal = way);
        let identity = site.client("you");
        let you = config(&site, Some(&identity), version);
        if has_session {
            assert!(greet(&site, &you).await.0.is_ok(), "{case}");
        }
        let held = Revoked {
            reason: RevocationReason::CertificateHold,
            ..site.revocation(&identity)
        };
        let released = Released {
            issuer_key: held.issuer_key,
            serial: held.serial,
        };
        let enforcement = site.enforcement.clone();
        striking.strike(at, move || drop(enforcement.revoke(vec![held])));
        let (outcome, tickets) = greet(&site, &you).await;
        if !striking.has_struck() {
            assert_eq!(outcome.expect("admitted").session.resumed, has_session);
            assert!(at > 3, "{case}: nothing was judged");
            break;
        }
        let refused = outcome.err().unwrap_or_else(|| panic!("{case}: admitted"));
        assert_eq!(refused.refusal.cause, Cause::CertificateRevoked, "{case}");
        assert_eq!(site.enforcement.live(), 0, "{case}");
        was_given |= tickets > 0;
        site.enforcement.release([released]);
        let (outcome, _) = greet(&site, &you).await;
        let session = outcome.expect("it is good again").session;
        assert!(!session.resumed, "{case}: it had a session of before");
    }
    was_given
}

#[tokio::test]
async fn whoever_is_withdrawn_at_any_moment_of_a_handshake_is_refused_and_has_no_good_ticket() {
    for version in BOTH {
        for way in [OnRefusal::Alert, OnRefusal::Explain] {
            for has_session in [false, true] {
                let was_given = check(version, way, has_session).await;
                // With TLS 1.3 they are made before it is looked at for the last time.
                assert_eq!(was_given, version == TLS13, "{way:?} {has_session}");
            }
        }
    }
}
