//! Who may do what with the authority itself: roles, and the operators who have them.

use std::collections::BTreeMap;
use std::fmt;

use countersign_pki::identity::{BundleName, Identity};
use countersign_pki::name::TypedName;
use serde::{Deserialize, Serialize};

/// From the one that may least to the one that may most; each may what those before it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// Looks.
    Viewer,
    /// Has certificates of ordinary profiles issued and renewed.
    Issuer,
    /// Revokes, holds and releases, labels and imports.
    Operator,
    /// Everything, operators and nodes included.
    Admin,
}

impl Role {
    /// Every role.
    pub const ALL: [Self; 4] = [Self::Viewer, Self::Issuer, Self::Operator, Self::Admin];

    /// Whether a caller with this role may do what needs `needed`.
    pub fn may(self, needed: Self) -> bool {
        self >= needed
    }

    /// The word in configurations, documents and refusals.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Issuer => "issuer",
            Self::Operator => "operator",
            Self::Admin => "admin",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Which operator has which role.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Roles(BTreeMap<TypedName, Role>);

impl Roles {
    /// From here on the operator of this name has `role`.
    pub fn bind(&mut self, operator: TypedName, role: Role) {
        self.0.insert(operator, role);
    }

    /// The role of an identity; `None`: nobody gave it one, or another bundle than the operators' vouches for it.
    pub fn of(&self, identity: &Identity) -> Option<Role> {
        let is_operators = identity.bundle.as_str() == BundleName::OPERATORS;
        let role = self.0.get(&identity.name).copied();
        role.filter(|_| is_operators)
    }
}
