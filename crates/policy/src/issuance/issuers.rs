//! The issuers of an authority, and which of them a profile is issued by.

use std::fmt;

use countersign_pki::certificate::Certificate;
use serde::{Deserialize, Serialize};

/// What an issuer is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum IssuerRole {
    /// Issues leaves.
    Intermediate,
    /// Issues operators and nodes, and is an anchor of its own.
    Operator,
    /// Issues the others.
    Root,
}

impl fmt::Display for IssuerRole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Intermediate => "intermediate",
            Self::Operator => "operator",
            Self::Root => "root",
        })
    }
}

/// The issuers of an authority, each with the CA certificates above it, which bind what it may issue.
#[derive(Clone, Debug)]
pub struct Issuers {
    intermediate: Vec<Certificate>,
    operator: Vec<Certificate>,
    root: Vec<Certificate>,
}

impl Issuers {
    /// `between`: what stands between the intermediate and the root, nearest to the intermediate first. An operator issuer that
    /// is its own anchor has nobody above it.
    pub fn new(
        intermediate: Certificate,
        between: &[Certificate],
        operator: Certificate,
        root: Certificate,
    ) -> Self {
        let is_anchor = operator.issuer_der() == operator.subject_der();
        let mut above_operator = vec![operator];
        if !is_anchor {
            above_operator.push(root.clone());
        }
        let mut above_intermediate = vec![intermediate];
        above_intermediate.extend_from_slice(between);
        above_intermediate.push(root.clone());
        Self {
            intermediate: above_intermediate,
            operator: above_operator,
            root: vec![root],
        }
    }

    /// What stands between the intermediate and the root, nearest to the intermediate first.
    pub fn between(&self) -> &[Certificate] {
        &self.intermediate[1..self.intermediate.len() - 1]
    }

    /// The issuer and the CAs above it, nearest first.
    pub fn chain(&self, role: IssuerRole) -> &[Certificate] {
        match role {
            IssuerRole::Intermediate => &self.intermediate,
            IssuerRole::Operator => &self.operator,
            IssuerRole::Root => &self.root,
        }
    }

    /// The issuer.
    pub fn issuer(&self, role: IssuerRole) -> &Certificate {
        &self.chain(role)[0]
    }

    /// Which of them has this certificate.
    pub fn role_of(&self, issuer: &Certificate) -> Option<IssuerRole> {
        [
            IssuerRole::Intermediate,
            IssuerRole::Operator,
            IssuerRole::Root,
        ]
        .into_iter()
        .find(|role| self.issuer(*role).der() == issuer.der())
    }

    /// Every CA certificate there is.
    pub(super) fn all(&self) -> impl Iterator<Item = &Certificate> {
        self.intermediate.iter().chain(&self.operator[..1])
    }
}
