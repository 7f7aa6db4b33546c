//! A request's way through a break-glass listener: what is admitted is counted and on record before it goes on.

use http::request::Parts;

use super::Caller;
use super::judging::{Refusing, shown_host};

pub(super) async fn pass(caller: &Caller, parts: &Parts) -> Result<(), Refusing> {
    let Some(glass) = &caller.listener.break_glass else {
        return Ok(());
    };
    let (session, host) = (&caller.session, shown_host(parts));
    let passed = glass.pass(session, &parts.method, &host, parts.uri.path());
    passed.await.map_err(|shut| Refusing {
        status: shut.status(),
        refusal: shut.refusal(glass.name()),
    })
}
