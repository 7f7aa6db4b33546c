//! Who may do what on the admin API: each route needs a role, and each caller has one or none.

use countersign_policy::issuance::Actor;

use schemars::JsonSchema;
use serde::Serialize;

/// From the one that may least to the one that may most; each may what those before it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// Looks.
    Viewer,
    /// Has certificates issued and renewed.
    Issuer,
    /// Revokes, holds and releases, labels and imports.
    Operator,
    /// Everything.
    Admin,
}

impl Role {
    /// Every role.
    pub const ALL: [Self; 4] = [Self::Viewer, Self::Issuer, Self::Operator, Self::Admin];

    /// The role of a caller; `None`: holding a certificate gives none.
    pub fn of(actor: &Actor) -> Option<Self> {
        match actor {
            Actor::Authority | Actor::LocalAdmin { .. } => Some(Self::Admin),
            Actor::Holder { .. } => None,
        }
    }

    /// Whether a caller with this role may do what needs `needed`.
    pub fn may(self, needed: Self) -> bool {
        self >= needed
    }

    /// The word in the document and in a refusal.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Issuer => "issuer",
            Self::Operator => "operator",
            Self::Admin => "admin",
        }
    }
}
