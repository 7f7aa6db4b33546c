//! Looks whether a gateway shuts out whom it must: as a person asks with `countersign scan`, and as it does by itself.

pub(crate) mod doorway;
pub(crate) mod listening;
mod own_request;

use std::path::Path;

use countersign_diagnose::doctor::question::{Question, TlsVersion};
use countersign_diagnose::doctor::target::{
    Attempt, HttpRequest, Preamble, Shown, Speech, TargetSeen, Trial,
};
use countersign_diagnose::scan::{Reception, Visit, Visitor, is_only_still, reception, seen_twice};
use countersign_pki::time::UnixTime;
use countersign_probe::server::{ClientIdentity, Limits, Prober, Wanted};
use countersign_runtime::clock::{Clock, SystemClock};

use self::doorway::Doorway;
use crate::canary::Canaries;

/// Sends everybody who has to be refused, one after the other. Without canaries those come alone who need no certificate.
pub(crate) async fn visit(doorway: &Doorway, canaries: Option<&Canaries>) -> Vec<Visit> {
    let mut visits = Vec::new();
    let uninvited: Vec<Visitor> = [Visitor::Plaintext, Visitor::Nobody, Visitor::Stranger]
        .into_iter()
        .filter(|visitor| doorway.must_refuse(*visitor))
        .collect();
    send(&mut visits, doorway, None, &[], &uninvited).await;
    let Some(canaries) = canaries else {
        return visits;
    };
    for (visitor, identity) in [
        (Visitor::WrongPurpose, &canaries.wrong_purpose),
        (Visitor::Expired, &canaries.expired),
        (Visitor::Revoked, &canaries.revoked),
        (Visitor::Unnamed, &canaries.unnamed),
        (Visitor::OtherHost, &canaries.unnamed),
    ] {
        if doorway.must_refuse(visitor) {
            let anchors: Vec<_> = doorway
                .anchors
                .iter()
                .chain(&canaries.root)
                .cloned()
                .collect();
            send(&mut visits, doorway, Some(identity), &anchors, &[visitor]).await;
        }
    }
    visits
}

/// Sends these, and once more whoever found nothing but stillness.
async fn send(
    visits: &mut Vec<Visit>,
    doorway: &Doorway,
    identity: Option<&ClientIdentity>,
    anchors: &[Vec<u8>],
    visitors: &[Visitor],
) {
    let trials: Vec<Trial> = visitors.iter().map(|it| trial(doorway, *it)).collect();
    let seen = look(doorway, identity.cloned(), anchors, &trials).await;
    for (place, &visitor) in visitors.iter().enumerate() {
        let attempt = seen.attempts.get(place);
        let mut found = received(doorway, visitor, attempt);
        if attempt.is_some_and(|attempt| is_only_still(attempt, &found)) {
            let again = look(doorway, identity.cloned(), anchors, &trials[place..=place]).await;
            found = seen_twice(received(doorway, visitor, again.attempts.first()));
        }
        visits.push(Visit {
            door: doorway.door.clone(),
            visitor,
            reception: found,
        });
    }
}

fn received(doorway: &Doorway, visitor: Visitor, attempt: Option<&Attempt>) -> Reception {
    attempt.map_or_else(
        || Reception::Unclear("no connection came about".to_owned()),
        |attempt| reception(visitor, attempt, doorway.manner(visitor)),
    )
}

async fn look(
    doorway: &Doorway,
    identity: Option<ClientIdentity>,
    anchors: &[Vec<u8>],
    trials: &[Trial],
) -> TargetSeen {
    let question = Question {
        target: Some(doorway.target.clone()),
        name: doorway.sni.clone(),
        ..Question::default()
    };
    let wanted = Wanted {
        question,
        identity,
        issuers: Vec::new(),
        anchors: anchors.to_vec(),
        now: UnixTime::from_seconds(SystemClock.unix_seconds()),
        limits: Limits::default(),
    };
    Prober.try_each(&wanted, trials).await
}

fn trial(doorway: &Doorway, visitor: Visitor) -> Trial {
    let own = || match &doorway.sni {
        Some(host) => host.clone(),
        None => doorway.target.to_string(),
    };
    let host = match visitor {
        Visitor::OtherHost => doorway.other_host.clone().unwrap_or_else(own),
        _ => own(),
    };
    let request = doorway.path.clone().map(|path| HttpRequest { path, host });
    let plain = HttpRequest {
        path: "/".to_owned(),
        host: own(),
    };
    let is_plain = visitor == Visitor::Plaintext;
    Trial {
        speech: if is_plain {
            Speech::PlainHttp
        } else {
            Speech::Tls
        },
        preamble: if is_plain {
            Preamble::None
        } else {
            doorway.preamble
        },
        sni: doorway.sni.clone().filter(|_| !is_plain),
        certificate: match visitor {
            Visitor::Nobody | Visitor::Plaintext => Shown::None,
            Visitor::Stranger => Shown::Stranger,
            _ => Shown::Own,
        },
        alpn: request.iter().map(|_| "http/1.1".to_owned()).collect(),
        min: TlsVersion::Tls12,
        max: TlsVersion::Tls13,
        request: if is_plain { Some(plain) } else { request },
        resumes: None,
    }
}

/// Whoever may write to a socket goes round the gateway.
pub(crate) fn is_open_to_all(socket: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::metadata(socket).is_ok_and(|it| it.permissions().mode() & 0o002 != 0)
}
