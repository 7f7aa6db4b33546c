//! Doors that have to be shut, tried: who was let in that must not be.
//!
//! A refusal is shown, not believed: each [`Visitor`] comes to the [`Door`] over the network as anybody could, and what
//! the server does with it is its [`Reception`]. Whoever cannot be told to be refused counts as neither.

mod reception;

use serde::Serialize;

pub use self::reception::{Manner, is_only_still, reception, seen_twice};
use crate::cause::Cause;
use crate::finding::{Finding, Side};

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

    /// Whether each route decides for itself whether to refuse it: what one of them does says nothing of the next.
    const fn is_for_routes(self) -> bool {
        matches!(self, Self::Nobody | Self::OtherHost | Self::Unnamed)
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
    /// TLS took it, or was not asked for; what stands behind said no, for whatever reason.
    RefusedBehind(String),
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

/// A fault for each visitor that was let in, the least that it takes first; then a risk for each that only what stands behind TLS refused.
pub fn findings(visits: &[Visit]) -> Vec<Finding> {
    let mut told: Vec<_> = visits
        .iter()
        .filter_map(|visit| {
            let Visit { door, visitor, .. } = visit;
            let (Door { name, address }, who) = (door, visitor.who());
            let (finding, how) = match &visit.reception {
                Reception::Admitted(how) => {
                    let words = format!("{name} at {address} let in {who}: {how}");
                    (Finding::fault(visitor.cause(), Side::Server, words), how)
                }
                Reception::RefusedBehind(how) => {
                    let words = match visitor {
                        Visitor::Plaintext => format!("{name} at {address} answers {who}, although it says no: {how}"),
                        _ => format!("{name} at {address} let {who} through TLS, and only what stands behind it said no: {how}"),
                    };
                    (Finding::fault(visitor.cause(), Side::Server, words).risk(), how)
                }
                Reception::Refused(_) | Reception::Unclear(_) => return None,
            };
            let finding = finding
                .with("door", name)
                .with("address", address)
                .with("visitor", who)
                .with("answer", how);
            Some((visitor, finding))
        })
        .collect();
    told.sort_by_key(|(visitor, finding)| (finding.severity, **visitor));
    told.into_iter().map(|(_, finding)| finding).collect()
}

/// Visits that say nothing, and that no other visit to the same address makes up for, as it does where the listener decides: nobody knows
/// whether such a visitor is refused there.
pub fn undecided(visits: &[Visit]) -> Vec<&Visit> {
    let is_unclear = |visit: &Visit| matches!(visit.reception, Reception::Unclear(_));
    let is_made_up_for = |unclear: &Visit| {
        !unclear.visitor.is_for_routes()
            && visits.iter().any(|other| {
                other.door.address == unclear.door.address
                    && other.visitor == unclear.visitor
                    && !is_unclear(other)
            })
    };
    visits
        .iter()
        .filter(|visit| is_unclear(visit) && !is_made_up_for(visit))
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::finding::Severity;

    #[test]
    fn who_is_undecided_at_one_door_is_decided_by_another_of_the_same_address() {
        let visit = |address: &str, visitor, reception| Visit {
            door: Door {
                name: "a".to_owned(),
                address: address.to_owned(),
            },
            visitor,
            reception,
        };
        let refused = || Reception::Refused("alert".to_owned());
        let unclear = || Reception::Unclear("it was not shown".to_owned());
        let mut visits = vec![
            visit("127.0.0.1:1", Visitor::Nobody, refused()),
            visit("127.0.0.1:1", Visitor::Revoked, unclear()),
            visit("127.0.0.1:2", Visitor::Revoked, refused()),
        ];
        assert_eq!(undecided(&visits).len(), 1);
        visits[2].door.address = "127.0.0.1:1".to_owned();
        assert_eq!(undecided(&visits).len(), 0);
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

        let behind = Reception::RefusedBehind("HTTP 401".to_owned());
        let found = findings(&[
            visit(Visitor::Stranger, behind),
            visit(Visitor::Revoked, Reception::Admitted("HTTP 200".to_owned())),
        ]);
        let told: Vec<_> = found.iter().map(|it| (it.cause, it.severity)).collect();
        let expected = [
            (Cause::RevocationNotChecked, Severity::Fault),
            (Cause::ClientAuthNotEnforced, Severity::Risk),
        ];
        assert_eq!(told, expected);
    }
}
