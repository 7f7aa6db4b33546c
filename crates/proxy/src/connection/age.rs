//! A connection that has ended with its certificate: whoever asks why it broke off finds it.

use countersign_diagnose::cause::Cause;
use countersign_diagnose::evidence::Evidence;
use countersign_diagnose::refusal::Refusal;
use countersign_pki::time::UnixTime;

use crate::exchange::Caller;

/// To be called when it has ended, for whatever reason.
pub(super) fn note(caller: &Caller) {
    let session = &caller.session;
    let now = caller.listener.enforcement.now();
    let Some(peer) = session.peer.as_ref().filter(|peer| peer.not_after() < now) else {
        return;
    };
    if session.lifeline.is_cut() {
        let refusal = too_old(&peer.principal().to_string(), peer.not_after(), now);
        caller.listener.refuse_request(refusal, session, None);
    }
}

fn too_old(principal: &str, not_after: UnixTime, now: UnixTime) -> Refusal {
    let sentence = format!(
        "the connection of {principal} was ended with its certificate or an issuer's (not_after {not_after}, now {now})"
    );
    let evidence = Evidence::new()
        .with("principal", principal)
        .with("not_after", not_after)
        .with("now", now);
    Refusal::new(Cause::ConnectionTooOld, sentence, evidence).with_fix(
        "Renew the certificate, and connect anew with it: no connection outlives the certificate that it was opened with.",
    )
}
