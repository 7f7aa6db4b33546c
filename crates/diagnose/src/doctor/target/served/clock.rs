//! Certificates that are good by another clock.

use std::time::Duration;

use countersign_pki::time::{UnixTime, spoken};

use super::super::judging::Case;
use super::super::known::parsed;
use super::der;
use crate::cause::Cause;
use crate::finding::{Finding, Severity, Side};

/// By how much the server's clock is ahead of this machine's, as its answers say.
pub(in super::super) fn clock(case: &Case<'_>) -> Option<i64> {
    case.seen
        .attempts
        .iter()
        .find_map(|attempt| attempt.http.as_ref()?.clock_ahead_s)
}

/// By the other side's clock there is nothing wrong with the times.
pub(super) fn by_clock(case: &Case<'_>, fault: &Finding, skew: Option<i64>) -> Option<Finding> {
    if !matches!(
        fault.cause,
        Cause::LeafExpired | Cause::NotYetValid | Cause::IntermediateExpired | Cause::RootExpired
    ) {
        return None;
    }
    let speaking = case.speaking()?;
    let chain = der(&speaking.chain);
    let ahead = skew.filter(|ahead| ahead.unsigned_abs() > TOLERATED.as_secs());
    if let Some(ahead) = ahead {
        let theirs = shifted(case.now, ahead);
        let is_good = super::fault(case, &chain, &case.expected(), theirs)
            .is_none_or(|other| other.severity != Severity::Fault);
        return is_good.then(|| clock_skew(case, ahead));
    }
    // Two certificates of two parties that both begin in the future: this clock is behind.
    let [ours, theirs] =
        [&case.known.client_chain, &chain].map(|chain| parsed(chain).into_iter().next());
    let (ours, theirs) = (ours?, theirs?);
    let is_behind = ours.not_before() > case.now
        && theirs.not_before() > case.now
        && ours.der() != theirs.der();
    is_behind.then(|| {
        Finding::fault(
            Cause::ClockSkewLocal,
            Side::ThisMachine,
            format!(
                "by this machine's clock ({}) the certificates of both sides begin in the future ({} and {})",
                case.now,
                ours.not_before(),
                theirs.not_before()
            ),
        )
        .with("now", case.now)
        .with("client_not_before", ours.not_before())
        .with("server_not_before", theirs.not_before())
        .with_fix("timedatectl set-ntp true")
    })
}

fn shifted(now: UnixTime, by_s: i64) -> UnixTime {
    let by = Duration::from_secs(by_s.unsigned_abs());
    if by_s < 0 {
        now.minus(by)
    } else {
        now.plus(by)
    }
}

fn clock_skew(case: &Case<'_>, ahead: i64) -> Finding {
    let by = spoken(Duration::from_secs(ahead.unsigned_abs()));
    let how = if ahead > 0 { "behind" } else { "ahead of" };
    Finding::fault(
        Cause::ClockSkewLocal,
        Side::ThisMachine,
        format!(
            "this machine's clock ({}) is {by} {how} the server's ({}), by which the certificates are good",
            case.now,
            shifted(case.now, ahead)
        ),
    )
    .with("now", case.now)
    .with("server_now", shifted(case.now, ahead))
    .with_fix("timedatectl set-ntp true")
}

/// The clocks differ, and nothing fails for it yet.
pub(super) fn clock_differs(case: &Case<'_>, ahead: i64) -> Option<Finding> {
    (ahead.unsigned_abs() > TOLERATED.as_secs()).then(|| {
        let by = spoken(Duration::from_secs(ahead.unsigned_abs()));
        Finding::fault(
            Cause::ClockSkewLocal,
            Side::ThisMachine,
            format!(
                "this machine's clock ({}) and the server's ({}) differ by {by}",
                case.now,
                shifted(case.now, ahead)
            ),
        )
        .risk()
        .with("now", case.now)
        .with("server_now", shifted(case.now, ahead))
        .with_fix("timedatectl status, on both machines")
    })
}

/// RFC 7231 dates are whole seconds, and machines without NTP drift by minutes.
const TOLERATED: Duration = Duration::from_mins(5);
