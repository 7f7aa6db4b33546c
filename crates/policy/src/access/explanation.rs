//! A decision for whoever asks before a client does: which rule it was, beside what the data path says.

use super::condition::{Holds, Known, Side};
use super::{AccessPolicy, Allow, Asked, Circumstances, Decision, Login};
use countersign_pki::identity::VerifiedPeer;

/// What is decided, by which entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explanation {
    /// As the data path decides.
    pub decision: Decision,
    /// The entry that decided; `None`: none did, which is a refusal.
    pub rule: Option<Rule>,
}

/// One entry of a route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// `allow` or `deny`.
    pub list: &'static str,
    /// Index in the list.
    pub entry: usize,
    /// What it says.
    pub says: String,
}

impl AccessPolicy {
    /// [`AccessPolicy::decide`], with the entry that decided.
    pub fn explain(&self, asked: &Asked<'_>) -> Explanation {
        let decision = self.decide(asked);
        let rule = self.rule(self.route_of(asked), &decision, asked.into());
        Explanation { decision, rule }
    }

    /// [`AccessPolicy::decide_connection`], with the entry that decided.
    pub fn explain_connection(
        &self,
        peer: Option<&VerifiedPeer>,
        circumstances: Circumstances,
    ) -> Explanation {
        let known = Known {
            peer,
            circumstances: Some(circumstances),
            request: None,
        };
        let decision = self.decide_connection(peer, circumstances);
        let rule = self.rule(Some(0), &decision, known);
        Explanation { decision, rule }
    }

    /// [`AccessPolicy::decide_login`], with the entry that decided.
    pub fn explain_login(
        &self,
        peer: Option<&VerifiedPeer>,
        login: &Login,
        circumstances: Circumstances,
    ) -> Explanation {
        let known = Known {
            peer,
            circumstances: Some(circumstances),
            request: Some(super::Requested::Login(login)),
        };
        let decision = self.decide_login(peer, login, circumstances);
        let rule = self.rule(Some(0), &decision, known);
        Explanation { decision, rule }
    }

    fn rule(&self, route: Option<usize>, decision: &Decision, known: Known<'_>) -> Option<Rule> {
        let route = self.routes.get(route?)?;
        match decision {
            Decision::Allow { .. } => {
                let entry = route
                    .allow
                    .iter()
                    .position(|entry| entry.holds(known) == Holds::Always)?;
                let says = match &route.allow[entry] {
                    Allow::Anyone => "anyone".to_owned(),
                    Allow::AnyTrusted => "any-trusted".to_owned(),
                    Allow::When(condition) => condition.to_string(),
                };
                Some(Rule {
                    list: "allow",
                    entry,
                    says,
                })
            }
            Decision::IdentityNotAllowed { .. }
            | Decision::RequestNotAllowed { .. }
            | Decision::FactorNeeded { .. } => {
                let entry = route
                    .deny
                    .iter()
                    .position(|entry| entry.holds(Side::Deny, known) == Holds::Always)?;
                Some(Rule {
                    list: "deny",
                    entry,
                    says: route.deny[entry].to_string(),
                })
            }
            Decision::CertificateNeeded { .. } | Decision::NoRoute => None,
        }
    }
}
