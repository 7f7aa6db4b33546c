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
    /// `above`: what stands over the root, where that is not the end; nearest first.
    pub fn new(
        intermediate: Certificate,
        operator: Certificate,
        root: Certificate,
        above: &[Certificate],
    ) -> Self {
        let top = [&[root], above].concat();
        Self {
            intermediate: [&[intermediate], top.as_slice()].concat(),
            operator: [&[operator], top.as_slice()].concat(),
            root: top,
        }
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
        [&self.intermediate[0], &self.operator[0]]
            .into_iter()
            .chain(&self.root)
    }
}
