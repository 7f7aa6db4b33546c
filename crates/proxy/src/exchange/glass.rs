//! A request's way through a break-glass listener: what is admitted is counted and on record before it goes on.

use std::rc::Rc;

use http::request::Parts;

use super::judging::{Admitted, Refusing, judge, shown_host};
use super::{Caller, View};
use crate::break_glass::BreakGlass;

/// Judges a request by what is in force when it goes on.
pub(super) async fn admit(
    caller: &Caller,
    parts: &Parts,
) -> Result<(Rc<View>, Admitted), Refusing> {
    let judge = || {
        let view = caller.view();
        let admitted = judge(caller, &view, parts)?;
        Ok((view, admitted))
    };
    match &caller.listener.break_glass {
        None => judge(),
        Some(glass) => Box::pin(judged_around(judge, pass(glass, caller, parts))).await,
    }
}

/// What was admitted before the disk had its record may not be any more: a reload, a revocation and the time of day wait for no disk.
async fn judged_around<T>(
    judge: impl Fn() -> Result<T, Refusing>,
    pass: impl Future<Output = Result<(), Refusing>>,
) -> Result<T, Refusing> {
    judge()?;
    pass.await?;
    judge()
}

async fn pass(glass: &BreakGlass, caller: &Caller, parts: &Parts) -> Result<(), Refusing> {
    let (session, host) = (&caller.session, shown_host(parts));
    let passed = glass.pass(session, &parts.method, &host, parts.uri.path());
    passed.await.map_err(|shut| Refusing {
        status: shut.status(),
        refusal: shut.refusal(glass.name()),
    })
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use countersign_diagnose::request::{Malformed, malformed};
    use http::StatusCode;

    use super::*;

    fn refusing() -> Refusing {
        Refusing {
            status: StatusCode::FORBIDDEN,
            refusal: malformed(Malformed::Unreadable, "a test"),
        }
    }

    /// What comes of a request that is admitted before and behind the wait, or not, and whether it waited.
    async fn check(before: bool, passes: bool, behind: bool, expected: (bool, bool)) {
        let (is_admitted, has_waited) = (Cell::new(before), Cell::new(false));
        let judge = || is_admitted.get().then_some(()).ok_or_else(refusing);
        let pass = async {
            has_waited.set(true);
            is_admitted.set(behind);
            passes.then_some(()).ok_or_else(refusing)
        };
        let outcome = judged_around(judge, pass).await;
        assert_eq!((outcome.is_ok(), has_waited.get()), expected);
    }

    #[tokio::test]
    async fn what_changes_while_the_disk_is_waited_for_counts() {
        check(true, true, true, (true, true)).await;
        check(true, true, false, (false, true)).await;
        check(true, false, true, (false, true)).await;
        check(false, true, true, (false, false)).await;
    }
}
