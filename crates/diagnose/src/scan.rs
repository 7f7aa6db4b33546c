//! Doors that have to be shut, tried: who was let in that must not be.
//!
//! A refusal is shown, not believed: each [`Visitor`] comes to the [`Door`] over the network as anybody could, and what
//! the server does with it is its [`Reception`]. Whoever cannot be told to be refused counts as neither.

use serde::Serialize;

use crate::cause::Cause;
use crate::doctor::target::{Attempt, End, Shown, Stage};
use crate::evidence::printable;
use crate::finding::{Finding, Side};
use crate::handshake::alert_name;

/// A place where somebody could come in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Door {
    /// As a person calls it, such as `listener-1 (api.example.com)`.
    pub name: String,
    /// `host:port`.
    pub address: String,
}

/// Somebody who has to be refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Visitor {
    /// Without TLS.
    Plaintext,
    /// Over TLS, without a certificate.
    Nobody,
    /// With a certificate that it signed itself.
    Stranger,
    /// With a good certificate for servers alone.
    WrongPurpose,
    /// With a certificate that has ended.
    Expired,
    /// With a certificate that was revoked.
    Revoked,
    /// With a good certificate, under a name that no rule admits.
    Unnamed,
    /// The same, asking for another host than the one that the handshake named.
    OtherHost,
}

impl Visitor {
    /// As a person would say it.
    pub const fn who(self) -> &'static str {
        match self {
            Self::Plaintext => "a client without TLS",
            Self::Nobody => "a client without a certificate",
            Self::Stranger => "a client with a certificate that it signed itself",
            Self::WrongPurpose => "a certificate for servers alone",
            Self::Expired => "an expired certificate",
            Self::Revoked => "a revoked certificate",
            Self::Unnamed => "a good certificate under a name that no rule admits",
            Self::OtherHost => "the same, asking for another host than its SNI",
        }
    }

    /// What is wrong where it is let in.
    const fn cause(self) -> Cause {
        match self {
            Self::Plaintext => Cause::PlaintextAlsoAccepted,
            Self::Revoked => Cause::RevocationNotChecked,
            Self::Expired
            | Self::Nobody
            | Self::OtherHost
            | Self::Stranger
            | Self::Unnamed
            | Self::WrongPurpose => Cause::ClientAuthNotEnforced,
        }
    }

    /// Whether its certificate has to be refused by TLS itself. Canaries have names that rules refuse, too: what rules refuse
    /// says nothing of these.
    const fn is_for_tls(self) -> bool {
        matches!(self, Self::Expired | Self::Revoked | Self::WrongPurpose)
    }

    /// Whether it comes with a certificate that the server's own authority issued.
    pub const fn is_canary(self) -> bool {
        matches!(
            self,
            Self::Expired | Self::OtherHost | Self::Revoked | Self::Unnamed | Self::WrongPurpose
        )
    }
}

/// What became of a visitor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "reception", content = "how")]
pub enum Reception {
    /// It was served.
    Admitted(String),
    /// It was turned away.
    Refused(String),
    /// What was seen does not say.
    Unclear(String),
}

/// A visitor at a door.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Visit {
    /// Where.
    pub door: Door,
    /// Who.
    pub visitor: Visitor,
    /// What became of it.
    #[serde(flatten)]
    pub reception: Reception,
}

/// What an attempt shows. `speaks_http`: a request was to be answered.
pub fn reception(visitor: Visitor, attempt: &Attempt, speaks_http: bool) -> Reception {
    if visitor != Visitor::Plaintext && attempt.trial.certificate != Shown::None {
        if let End::Withheld(why) = &attempt.end {
            return Reception::Unclear(printable(
                format!("it was not shown: {why}"),
                MAX_TEXT_BYTES,
            ));
        }
        if attempt.asked.is_none() && attempt.finished {
            return Reception::Unclear("the server asked for no certificate".to_owned());
        }
    }
    if let Some(answer) = &attempt.http {
        let how = printable(
            format!("HTTP {} {}", answer.status, answer.reason),
            MAX_TEXT_BYTES,
        );
        return match answer.status {
            403 | 421 if visitor.is_for_tls() && !answer.body.contains(CLASS_OF_CERTIFICATES) => {
                Reception::Admitted(format!(
                    "{how}: the certificate was taken, only its name was not"
                ))
            }
            status if REFUSALS.contains(&status) => Reception::Refused(how),
            // A gateway that has no such route, or the service that it admitted to: the certificate decides nothing here.
            404 if visitor.is_canary() => Reception::Unclear(how),
            _ => Reception::Admitted(how),
        };
    }
    if attempt.other_data {
        return Reception::Admitted("data of the service".to_owned());
    }
    let behind = match attempt.at {
        Stage::AfterFinished => "behind the handshake",
        Stage::InHandshake => "in the handshake",
        Stage::BeforeServerHello | Stage::Preamble => "before any answer",
    };
    let is_over_tls = visitor != Visitor::Plaintext;
    let has_begun = attempt.at >= Stage::InHandshake;
    let is_end = matches!(attempt.end, End::Alert(_) | End::Closed | End::Reset);
    if is_over_tls && !has_begun && is_end {
        return Reception::Unclear(format!(
            "it ended {behind}, so that nobody looked at a certificate"
        ));
    }
    match &attempt.end {
        End::Alert(ACCESS_DENIED) if visitor.is_for_tls() => Reception::Admitted(
            "alert access_denied: the certificate was taken, only its name was not".to_owned(),
        ),
        End::Closed | End::Reset if visitor.is_for_tls() && attempt.at == Stage::AfterFinished => {
            Reception::Unclear(format!("it ended {behind} without a reason"))
        }
        End::Alert(code) => {
            let alert = alert_name(*code).map_or_else(|| code.to_string(), str::to_owned);
            Reception::Refused(format!("alert {alert} {behind}"))
        }
        End::Closed => Reception::Refused(format!("closed {behind}")),
        End::Reset => Reception::Refused(format!("reset {behind}")),
        End::Open if attempt.finished && !speaks_http => {
            Reception::Admitted("the connection stays open behind the handshake".to_owned())
        }
        End::TimedOut if visitor == Visitor::Plaintext => {
            Reception::Refused("nothing was answered".to_owned())
        }
        _ if visitor == Visitor::Plaintext => {
            Reception::Refused("what was answered is no HTTP".to_owned())
        }
        End::Open | End::TimedOut => Reception::Unclear(format!("no answer came {behind}")),
        End::NotTls => Reception::Unclear("what answers there is not TLS".to_owned()),
        End::Flood | End::TooLarge(_) => {
            Reception::Unclear("more was sent than is read".to_owned())
        }
        End::Malformed(why) | End::PreambleRefused(why) | End::Withheld(why) => {
            Reception::Unclear(printable(why, MAX_TEXT_BYTES))
        }
    }
}

/// A fault for each visitor that was let in, the least that it takes first.
pub fn findings(visits: &[Visit]) -> Vec<Finding> {
    let mut admitted: Vec<_> = visits
        .iter()
        .filter_map(|visit| match &visit.reception {
            Reception::Admitted(how) => Some((visit, how)),
            Reception::Refused(_) | Reception::Unclear(_) => None,
        })
        .collect();
    admitted.sort_by_key(|(visit, _)| visit.visitor);
    admitted
        .into_iter()
        .map(|(visit, how)| {
            let Door { name, address } = &visit.door;
            Finding::fault(
                visit.visitor.cause(),
                Side::Server,
                format!("{name} at {address} let in {}: {how}", visit.visitor.who()),
            )
            .with("door", name)
            .with("address", address)
            .with("visitor", visit.visitor.who())
            .with("answer", how)
        })
        .collect()
}

/// A door of each address at which nothing was seen of anybody: it cannot be said to be shut. Silence towards plaintext says nothing
/// where others came, too.
pub fn silent(visits: &[Visit]) -> Vec<&Door> {
    let mut doors: Vec<&Door> = visits.iter().map(|visit| &visit.door).collect();
    doors.dedup_by_key(|door| &door.address);
    let is_silent = |door: &&Door| {
        let there = || {
            visits
                .iter()
                .filter(|visit| visit.door.address == door.address)
        };
        let over_tls = || there().filter(|visit| visit.visitor != Visitor::Plaintext);
        let is_unclear = |visit: &Visit| matches!(visit.reception, Reception::Unclear(_));
        if over_tls().next().is_some() {
            over_tls().all(is_unclear)
        } else {
            there().all(is_unclear)
        }
    };
    doors.retain(is_silent);
    doors
}

/// The service behind a door, reached past it.
pub fn way_round(door: &Door, upstream: &str, at: &str) -> Finding {
    Finding::fault(
        Cause::PlaintextAlsoAccepted,
        Side::Server,
        format!(
            "the service behind {} ({upstream}) listens on {at}: whoever reaches that goes round the gateway",
            door.name
        ),
    )
    .with("door", &door.name)
    .with("upstream", upstream)
    .with("listens_on", at)
    .with_fix(format!(
        "bind the service to a loopback address or a Unix socket (it listens on {at}), or have it demand TLS with the gateway's certificate"
    ))
}

/// By these a server says no: 400 and 495 to 497 are nginx's for certificates and plaintext, 421 is for another host.
const REFUSALS: [u16; 8] = [400, 401, 403, 421, 426, 495, 496, 497];

/// RFC 8446 §6.2: what a rule says no by.
const ACCESS_DENIED: u8 = 49;

/// What our gateway tells whose certificate is refused, where it explains (RFC 9457).
const CLASS_OF_CERTIFICATES: &str = "\"class\":\"certificate\"";

/// A line of a terminal.
const MAX_TEXT_BYTES: usize = 160;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::doctor::question::TlsVersion;
    use crate::doctor::target::{CertificateRequest, HttpAnswer, Preamble, Speech, Trial};

    fn attempt(shown: Shown, end: End, at: Stage) -> Attempt {
        Attempt {
            trial: Trial {
                speech: Speech::Tls,
                preamble: Preamble::None,
                sni: None,
                certificate: shown,
                alpn: Vec::new(),
                min: TlsVersion::Tls12,
                max: TlsVersion::Tls13,
                request: None,
                resumes: None,
            },
            address: "127.0.0.1:1".parse().expect("an address"),
            plaintext: Vec::new(),
            hello: None,
            chain: Vec::new(),
            ocsp: None,
            unproved: None,
            asked: Some(CertificateRequest::default()),
            sent_certificate: shown != Shown::None,
            finished: at == Stage::AfterFinished,
            resumed: false,
            has_ticket: false,
            end,
            at,
            http: None,
            other_data: false,
            took: Duration::ZERO,
        }
    }

    fn answered(status: u16) -> Attempt {
        Attempt {
            http: Some(HttpAnswer {
                status,
                reason: String::new(),
                server: None,
                clock_ahead_s: None,
                challenge: None,
                location: None,
                body: String::new(),
            }),
            ..attempt(Shown::Own, End::Open, Stage::AfterFinished)
        }
    }

    #[track_caller]
    fn check(visitor: Visitor, attempt: &Attempt, speaks_http: bool, expected: &str) {
        let seen = match reception(visitor, attempt, speaks_http) {
            Reception::Admitted(_) => "admitted",
            Reception::Refused(_) => "refused",
            Reception::Unclear(_) => "unclear",
        };
        assert_eq!(seen, expected, "{visitor:?} {attempt:?}");
    }

    #[test]
    fn answer_of_a_service_is_admission_whatever_it_says() {
        for status in [200, 204, 302, 500, 502, 503] {
            check(Visitor::Unnamed, &answered(status), true, "admitted");
            check(Visitor::Nobody, &answered(status), true, "admitted");
        }
        check(Visitor::Stranger, &answered(404), true, "admitted");
        check(Visitor::Unnamed, &answered(404), true, "unclear");
        for status in REFUSALS {
            check(Visitor::Unnamed, &answered(status), true, "refused");
        }
    }

    #[test]
    fn bytes_are_admitted_where_the_connection_stays() {
        let open = attempt(Shown::None, End::Open, Stage::AfterFinished);
        check(Visitor::Nobody, &open, false, "admitted");
        check(Visitor::Nobody, &open, true, "unclear");
        for end in [End::Alert(116), End::Closed, End::Reset] {
            for at in [Stage::InHandshake, Stage::AfterFinished] {
                let ended = attempt(Shown::None, end.clone(), at);
                check(Visitor::Nobody, &ended, false, "refused");
            }
        }
        let silent = attempt(Shown::None, End::TimedOut, Stage::BeforeServerHello);
        check(Visitor::Nobody, &silent, false, "unclear");
    }

    #[test]
    fn certificate_that_only_rules_refuse_was_let_in_by_tls() {
        for visitor in [Visitor::Expired, Visitor::Revoked, Visitor::WrongPurpose] {
            check(visitor, &answered(403), true, "admitted");
            let mut explained = answered(403);
            explained.http.as_mut().expect("an answer").body =
                "{\"class\":\"certificate\"}".to_owned();
            check(visitor, &explained, true, "refused");
            // nginx
            check(visitor, &answered(400), true, "refused");
            let denied = attempt(Shown::Own, End::Alert(49), Stage::AfterFinished);
            check(visitor, &denied, false, "admitted");
            let expired = attempt(Shown::Own, End::Alert(45), Stage::AfterFinished);
            check(visitor, &expired, false, "refused");
            let closed = attempt(Shown::Own, End::Closed, Stage::AfterFinished);
            check(visitor, &closed, false, "unclear");
        }
        check(Visitor::Unnamed, &answered(403), true, "refused");
        let denied = attempt(Shown::Own, End::Alert(49), Stage::AfterFinished);
        check(Visitor::Unnamed, &denied, false, "refused");
    }

    #[test]
    fn who_is_cut_off_before_tls_was_not_judged() {
        for end in [End::Alert(40), End::Closed, End::Reset] {
            for at in [Stage::Preamble, Stage::BeforeServerHello] {
                let cut = attempt(Shown::Stranger, end.clone(), at);
                check(Visitor::Stranger, &cut, true, "unclear");
                check(Visitor::Plaintext, &cut, true, "refused");
            }
        }
    }

    #[test]
    fn door_that_answers_plaintext_alone_is_silent() {
        let visit = |name: &str, visitor, reception| Visit {
            door: Door {
                name: name.to_owned(),
                address: "127.0.0.1:8443".to_owned(),
            },
            visitor,
            reception,
        };
        let refused = || Reception::Refused("closed".to_owned());
        let unclear = || Reception::Unclear("silence".to_owned());
        let mut visits = vec![
            visit("a", Visitor::Plaintext, refused()),
            visit("a", Visitor::Nobody, unclear()),
            visit("b", Visitor::Unnamed, unclear()),
        ];
        assert_eq!(silent(&visits).len(), 1);
        visits[1].reception = refused();
        assert_eq!(silent(&visits).len(), 0);
        visits.truncate(1);
        assert_eq!(silent(&visits).len(), 0);
    }

    #[test]
    fn certificate_that_was_not_seen_proves_nothing() {
        let withheld = attempt(
            Shown::Own,
            End::Withheld("nobody vouches".to_owned()),
            Stage::InHandshake,
        );
        check(Visitor::Revoked, &withheld, true, "unclear");
        let not_asked = Attempt {
            asked: None,
            ..answered(200)
        };
        check(Visitor::Revoked, &not_asked, true, "unclear");
        check(Visitor::Stranger, &not_asked, true, "unclear");
    }

    #[test]
    fn who_is_let_in_is_a_fault_and_who_is_not_is_none() {
        let door = Door {
            name: "listener-1".to_owned(),
            address: "127.0.0.1:8443".to_owned(),
        };
        let visit = |visitor, reception| Visit {
            door: door.clone(),
            visitor,
            reception,
        };
        let found = findings(&[
            visit(Visitor::Revoked, Reception::Admitted("HTTP 200".to_owned())),
            visit(Visitor::Expired, Reception::Refused("alert".to_owned())),
            visit(Visitor::Stranger, Reception::Unclear("silence".to_owned())),
            visit(
                Visitor::Plaintext,
                Reception::Admitted("HTTP 200".to_owned()),
            ),
        ]);
        let causes: Vec<_> = found.iter().map(|finding| finding.cause).collect();
        let expected = [Cause::PlaintextAlsoAccepted, Cause::RevocationNotChecked];
        assert_eq!(causes, expected);
    }
}
