//! The life of what the feed has told (invariant 5): connections end with it, and people hear of it before.

use std::time::Duration;

use countersign_pki::time::spoken;
use countersign_tls::enforcement::Enforcement;
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval};

/// How far the shortest life of a listener has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Fresh,
    /// Half of it is over.
    Ageing,
    /// It is over: nobody who shows a certificate is admitted there.
    Over,
}

/// Looks each second. Never ends by itself.
pub(super) async fn watch(enforcement: Enforcement, shortest: watch::Receiver<Duration>) {
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut told = Phase::Fresh;
    loop {
        ticks.tick().await;
        let life = *shortest.borrow();
        let Some(age) = enforcement.feed_age() else {
            continue;
        };
        let cut = enforcement.end_stale();
        if cut > 0 {
            tracing::error!(
                connections = cut,
                "connections are cut: the feed has not been confirmed for too long"
            );
        }
        let now = phase(age, life);
        if now != told {
            tell(now, age, life);
            told = now;
        }
    }
}

fn phase(age: Duration, life: Duration) -> Phase {
    if age >= life {
        Phase::Over
    } else if age >= life / 2 {
        Phase::Ageing
    } else {
        Phase::Fresh
    }
}

/// Once for each change: a line each second would tell nothing more.
fn tell(phase: Phase, age: Duration, life: Duration) {
    let (age, life) = (spoken(age), spoken(life));
    match phase {
        Phase::Fresh => tracing::info!(age, "the feed is confirmed again"),
        Phase::Ageing => tracing::warn!(
            age,
            life,
            "the feed is not confirmed: at the end of feed_life nobody who shows a certificate is admitted"
        ),
        Phase::Over => tracing::error!(
            age,
            life,
            cause = "trust-data-stale",
            "the feed has not been confirmed for all of feed_life: nobody who shows a certificate is admitted"
        ),
    }
}

/// What the feed tells takes effect within a second; so does that it tells nothing.
const TICK: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn warnings_begin_at_half_and_the_end_is_the_end() {
        let life = Duration::from_hours(24);
        for (hours, expected) in [
            (0, Phase::Fresh),
            (11, Phase::Fresh),
            (12, Phase::Ageing),
            (23, Phase::Ageing),
            (24, Phase::Over),
        ] {
            assert_eq!(phase(Duration::from_hours(hours), life), expected);
        }
        assert_eq!(phase(Duration::MAX, life), Phase::Over);
    }
}
