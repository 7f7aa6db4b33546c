//! What became of a visitor, told from how its connection went.

use super::{Reception, Visitor};
use crate::doctor::question::TlsVersion;
use crate::doctor::target::{Attempt, End, HelloSeen, HttpAnswer, Shown, Stage};
use crate::evidence::printable;
use crate::handshake::alert_name;

/// What is known of a door before anybody comes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Manner {
    /// A request is to be answered.
    pub speaks_http: bool,
    /// This visitor is refused by TLS itself: an answer of HTTP, whatever it says, comes from where it must not get to.
    pub refuses_by_tls: bool,
    /// Words are exchanged before TLS, of whoever comes.
    pub speaks_before_tls: bool,
}

/// What an attempt shows.
pub fn reception(visitor: Visitor, attempt: &Attempt, manner: Manner) -> Reception {
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
        return answered(visitor, answer, manner);
    }
    if attempt.other_data {
        return Reception::Admitted("data of the service".to_owned());
    }
    if visitor == Visitor::Plaintext
        && !manner.speaks_before_tls
        && !attempt.plaintext.is_empty()
        && !attempt.plaintext.starts_with(ALERT_RECORD)
    {
        return Reception::RefusedBehind("data that is neither HTTP nor TLS".to_owned());
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
    if visitor == Visitor::Nobody && is_end && !attempt.finished && attempt.asked.is_none() {
        return Reception::Unclear(format!(
            "it ended {behind} before a certificate was asked for"
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
        End::Closed | End::Reset
            if matches!(visitor, Visitor::Nobody | Visitor::Stranger) && is_taken(attempt) =>
        {
            Reception::RefusedBehind(format!("it ended {behind}, without an alert"))
        }
        End::Closed => Reception::Refused(format!("closed {behind}")),
        End::Reset => Reception::Refused(format!("reset {behind}")),
        End::Open if attempt.finished && !manner.speaks_http => {
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

/// Whether the server has gone through with the handshake, so that what ends the connection is nothing of a certificate: up to TLS 1.2 it
/// speaks last, from 1.3 on it gives tickets to whom it took (RFC 8446 §4.6.1).
fn is_taken(attempt: &Attempt) -> bool {
    let is_over = |hello: &HelloSeen| hello.version <= TlsVersion::Tls12;
    attempt.finished
        && (attempt.asked.is_none()
            || attempt.has_ticket
            || attempt.hello.as_ref().is_some_and(is_over))
}

/// What an answer of HTTP shows.
fn answered(visitor: Visitor, answer: &HttpAnswer, manner: Manner) -> Reception {
    let how = printable(
        format!("HTTP {} {}", answer.status, answer.reason),
        MAX_TEXT_BYTES,
    );
    if visitor == Visitor::Plaintext {
        return match answer.status {
            400 | 497 if says_any(answer, WANTS_TLS) => Reception::Refused(how),
            400 => Reception::Unclear(how),
            401 | 403 | 407 | 421 | 426 => Reception::RefusedBehind(how),
            _ => Reception::Admitted(how),
        };
    }
    // What an upstream writes must not pass for the gateway's own words.
    let is_of_certificates = !manner.refuses_by_tls && says_any(answer, OF_CERTIFICATES);
    match answer.status {
        400 | 401 | 403 | 495 | 496 if is_of_certificates => Reception::Refused(how),
        // A name that no rule admits is for whoever reads it to refuse.
        401 | 403 | 421 if matches!(visitor, Visitor::Unnamed | Visitor::OtherHost) => {
            Reception::Refused(how)
        }
        401 | 403 | 407 | 421 if visitor.is_for_tls() => Reception::Admitted(format!(
            "{how}: the certificate was taken, only its name was not"
        )),
        401 | 403 | 407 | 421 => Reception::RefusedBehind(how),
        // Any service may find our request bad.
        400 if !manner.refuses_by_tls => Reception::Unclear(how),
        // A gateway that has no such route, or the service that it admitted to: the certificate decides nothing here.
        404 if visitor.is_canary() => Reception::Unclear(how),
        _ => Reception::Admitted(how),
    }
}

fn says_any(answer: &HttpAnswer, phrases: &[&str]) -> bool {
    let text = format!("{}\n{}", answer.reason, answer.body).to_ascii_lowercase();
    phrases.iter().any(|phrase| text.contains(phrase))
}

/// Whether somebody counts as let in only because nothing happened for a while: a server without a processor to run on is as still.
pub fn is_only_still(attempt: &Attempt, reception: &Reception) -> bool {
    matches!(reception, Reception::Admitted(_))
        && attempt.http.is_none()
        && !attempt.other_data
        && attempt.end == End::Open
}

/// What two looks show, the first of which found stillness alone.
pub fn seen_twice(again: Reception) -> Reception {
    match again {
        Reception::Refused(how) | Reception::RefusedBehind(how) => Reception::Unclear(format!(
            "the connection stayed open once, and the next one did not: {how}"
        )),
        other => other,
    }
}

/// How a record with an alert begins (RFC 8446 §5.1): TLS is spoken here, and nothing else.
const ALERT_RECORD: &[u8] = &[21, 3];

/// RFC 8446 §6.2: what a rule says no by.
const ACCESS_DENIED: u8 = 49;

/// What our gateway (RFC 9457), nginx and IIS tell whose certificate is refused, in lower case.
const OF_CERTIFICATES: &[&str] = &[
    "\"class\":\"certificate\"",
    "ssl certificate",
    "client certificate",
];

/// What our gateway, nginx, Apache, Go and Tomcat tell who comes without TLS, in lower case.
const WANTS_TLS: &[&str] = &[
    "this is a tls port",
    "plain http request was sent to https port",
    "speaking plain http to an ssl-enabled server port",
    "http request to an https server",
    "requires tls",
];

/// A line of a terminal.
const MAX_TEXT_BYTES: usize = 160;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::doctor::target::{CertificateRequest, Preamble, Speech, Trial};
    use crate::scan::{Door, Visit, undecided};

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

    fn saying(status: u16, body: &str) -> Attempt {
        let mut attempt = answered(status);
        attempt.http.as_mut().expect("an answer").body = body.to_owned();
        attempt
    }

    fn word(reception: &Reception) -> &'static str {
        match reception {
            Reception::Admitted(_) => "admitted",
            Reception::Refused(_) => "refused",
            Reception::RefusedBehind(_) => "refused behind",
            Reception::Unclear(_) => "unclear",
        }
    }

    #[track_caller]
    fn check(visitor: Visitor, attempt: &Attempt, speaks_http: bool, expected: &str) {
        let manner = Manner {
            speaks_http,
            ..Manner::default()
        };
        let seen = word(&reception(visitor, attempt, manner));
        assert_eq!(seen, expected, "{visitor:?} {attempt:?}");
    }

    #[track_caller]
    fn check_where_tls_refuses(visitor: Visitor, attempt: &Attempt, expected: &str) {
        let manner = Manner {
            speaks_http: true,
            refuses_by_tls: true,
            ..Manner::default()
        };
        let seen = word(&reception(visitor, attempt, manner));
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
        for status in [401, 403, 421] {
            check(Visitor::Unnamed, &answered(status), true, "refused");
            check(Visitor::OtherHost, &answered(status), true, "refused");
        }
        // A server of WebSockets says so of every request without an upgrade.
        check(Visitor::Nobody, &answered(426), true, "admitted");
    }

    #[test]
    fn no_of_a_service_is_no_refusal_of_a_certificate() {
        for visitor in [Visitor::Nobody, Visitor::Stranger] {
            for status in [401, 403, 407, 421] {
                check(visitor, &answered(status), true, "refused behind");
                check_where_tls_refuses(visitor, &answered(status), "refused behind");
            }
            check(visitor, &answered(400), true, "unclear");
            for body in [
                "<center>No required SSL certificate was sent</center>",
                "<center>The SSL certificate error</center>",
                "{\"class\":\"certificate\"}",
            ] {
                check(visitor, &saying(400, body), true, "refused");
                check(visitor, &saying(403, body), true, "refused");
                // Where nobody who is refused gets an answer, these are the words of a service that lies.
                check_where_tls_refuses(visitor, &saying(400, body), "admitted");
                check_where_tls_refuses(visitor, &saying(403, body), "refused behind");
            }
            // Words alone refuse nobody.
            check(
                visitor,
                &saying(200, "\"class\":\"certificate\""),
                true,
                "admitted",
            );
        }
        for visitor in [Visitor::Expired, Visitor::Revoked, Visitor::WrongPurpose] {
            let body = "{\"class\":\"certificate\"}";
            check_where_tls_refuses(visitor, &saying(403, body), "admitted");
            check(visitor, &answered(401), true, "admitted");
        }
    }

    #[test]
    fn answer_without_tls_is_no_refusal_unless_it_sends_to_tls() {
        let plain = |status, body| saying(status, body);
        for body in [
            "<center>The plain HTTP request was sent to HTTPS port</center>",
            "this is a TLS port, use https://",
            "Client sent an HTTP request to an HTTPS server.",
            "You're speaking plain HTTP to an SSL-enabled server port.",
        ] {
            check(Visitor::Plaintext, &plain(400, body), true, "refused");
            check(Visitor::Plaintext, &plain(200, body), true, "admitted");
        }
        check(
            Visitor::Plaintext,
            &plain(400, "bad request"),
            true,
            "unclear",
        );
        for status in [401, 403, 426] {
            check(
                Visitor::Plaintext,
                &plain(status, ""),
                true,
                "refused behind",
            );
        }
        let answers = |bytes: &[u8]| Attempt {
            plaintext: bytes.to_vec(),
            ..attempt(Shown::None, End::Closed, Stage::BeforeServerHello)
        };
        check(Visitor::Plaintext, &answers(b""), true, "refused");
        check(
            Visitor::Plaintext,
            &answers(&[21, 3, 1, 0, 2, 2, 70]),
            true,
            "refused",
        );
        check(
            Visitor::Plaintext,
            &answers(b"-ERR unknown command"),
            true,
            "refused behind",
        );
        let greets = Manner {
            speaks_before_tls: true,
            ..Manner::default()
        };
        let greeting = reception(Visitor::Plaintext, &answers(b"E\0\0\0"), greets);
        assert_eq!(word(&greeting), "refused");
    }

    #[test]
    fn stillness_is_looked_at_twice_and_what_was_said_once() {
        let look = |attempt: &Attempt| {
            let seen = reception(Visitor::Nobody, attempt, Manner::default());
            is_only_still(attempt, &seen)
        };
        assert!(look(&attempt(Shown::None, End::Open, Stage::AfterFinished)));
        assert!(!look(&attempt(
            Shown::None,
            End::Closed,
            Stage::AfterFinished
        )));
        assert!(!look(&answered(200)));
        let mut data = attempt(Shown::None, End::Open, Stage::AfterFinished);
        data.other_data = true;
        assert!(!look(&data));
        let twice = |again: Reception| word(&seen_twice(again));
        assert_eq!(twice(Reception::Admitted("still".to_owned())), "admitted");
        // One of two servers behind an address may be open.
        assert_eq!(twice(Reception::Refused("alert".to_owned())), "unclear");
    }

    #[test]
    fn end_of_a_finished_handshake_refuses_no_certificate() {
        for visitor in [Visitor::Nobody, Visitor::Stranger] {
            let closed = attempt(Shown::None, End::Closed, Stage::AfterFinished);
            check(visitor, &closed, true, "refused");
            let mut ticket = closed.clone();
            ticket.has_ticket = true;
            check(visitor, &ticket, true, "refused behind");
            check(Visitor::Unnamed, &ticket, true, "refused");
        }
        let mut not_asked = attempt(Shown::None, End::Closed, Stage::AfterFinished);
        not_asked.asked = None;
        check(Visitor::Nobody, &not_asked, true, "refused behind");
        let mut broken = attempt(Shown::None, End::Alert(80), Stage::InHandshake);
        broken.asked = None;
        check(Visitor::Nobody, &broken, true, "unclear");
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
            let nginx = saying(400, "<center>The SSL certificate error</center>");
            check(visitor, &nginx, true, "refused");
            check(visitor, &answered(400), true, "unclear");
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
    fn refusal_at_one_route_decides_nothing_at_the_next() {
        let visit = |name: &str, visitor, answer: &Attempt| {
            let manner = Manner {
                speaks_http: true,
                ..Manner::default()
            };
            Visit {
                door: Door {
                    name: name.to_owned(),
                    address: "127.0.0.1:1".to_owned(),
                },
                visitor,
                reception: reception(visitor, answer, manner),
            }
        };
        for (visitor, unclear) in [
            (Visitor::Nobody, 400),
            (Visitor::OtherHost, 404),
            (Visitor::Unnamed, 404),
        ] {
            let first = visit("listener-1 (/a)", visitor, &answered(403));
            let second = visit("listener-1 (/b)", visitor, &answered(unclear));
            let visits = [first.clone(), second.clone()];
            assert_eq!(undecided(&visits), [&second], "{visitor:?}");
            // Two routes may be called the same: for requests, and for CONNECT.
            let mut same = second;
            same.door = first.door.clone();
            assert_eq!(undecided(&[first, same]).len(), 1, "{visitor:?}");
        }
    }
}
