//! Who asks for a certificate, and whether they may have it.

use std::fmt;

use countersign_pki::fingerprint::Fingerprint;
use countersign_pki::identity::{BundleName, Identity};
use serde::{Deserialize, Serialize};

use super::names::Names;
use super::rules::{BuiltIn, Naming};
use super::{Denied, Profile, ProfileRules, Profiles};
use crate::administration::Role;

/// Who asks, and how that is known. Goes into the audit record as it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Actor {
    /// The operating system vouches for the user on the admin socket or the state folder: root or the service's own.
    LocalAdmin {
        /// Of the process at the other end.
        uid: u32,
    },
    /// The authority itself: first run, and the gateway's own certificate.
    Authority,
    /// The holder of a live certificate asks for its next one.
    Holder {
        /// As verified.
        identity: Identity,
        /// Of the certificate that was presented, as the inventory has it: a name does not tell the profile.
        profile: Profile,
        /// Which was presented; `None`: nobody knows, and so its holder changes nothing.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        certificate: Option<Fingerprint>,
    },
    /// Somebody on the admin API's port, by an `operator` certificate and the role that the configuration gives its holder.
    Operator {
        /// As verified.
        identity: Identity,
        /// When the request came.
        role: Role,
        /// Which certificate was shown: an operator can have several, and one of them can be stolen.
        certificate: Fingerprint,
    },
}

impl Actor {
    /// The role on the admin API; `None`: holding a certificate gives none.
    pub fn role(&self) -> Option<Role> {
        match self {
            Self::Authority | Self::LocalAdmin { .. } => Some(Role::Admin),
            Self::Holder { .. } => None,
            Self::Operator { role, .. } => Some(*role),
        }
    }

    /// Whether it may do what needs `needed`.
    pub fn may(&self, needed: Role) -> bool {
        self.role().is_some_and(|role| role.may(needed))
    }

    /// Whether it may end the hold of a certificate of `profile`; `None`: of one that nobody knows. Who is let in again as a
    /// node or an operator, an admin says, as of who becomes one (invariant 12); to shut them out needs less.
    pub fn may_release(&self, profile: Option<&Profile>) -> bool {
        self.may(match profile {
            // Of what was adopted, some are CAs and responders.
            Some(profile) if !profile.is_reserved() && *profile != Profile::ADOPTED => {
                Role::Operator
            }
            _ => Role::Admin,
        })
    }
}

impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::LocalAdmin { uid } => write!(f, "local admin (uid {uid})"),
            Self::Authority => f.write_str("the authority"),
            Self::Holder {
                identity, profile, ..
            } => {
                write!(f, "the holder of {profile} certificate {identity}")
            }
            Self::Operator { identity, .. } => write!(f, "operator {}", identity.name.bare()),
        }
    }
}

/// `names`: `None` where they do not fit the profile, which is told to those only who may ask at all.
pub(super) fn permit(
    actor: &Actor,
    profiles: &Profiles,
    rules: &ProfileRules,
    names: Option<&Names>,
) -> Result<(), Denied> {
    let refuse = |what: String| {
        Err(Denied::NotPermitted {
            actor: actor.to_string(),
            what,
        })
    };
    let kind = || format!("a {} certificate", rules.profile());
    let (identity, presented) = match actor {
        // Whoever else had one could pass for the authority before its nodes, or say of any certificate that it is good.
        _ if matches!(rules.like(), BuiltIn::Authority | BuiltIn::OcspResponder)
            && *actor != Actor::Authority =>
        {
            return refuse(kind());
        }
        Actor::LocalAdmin { .. } => return Ok(()),
        // It is nobody's node or operator; a CA below the root is for people to decide.
        Actor::Authority => {
            return match rules.like() {
                BuiltIn::Intermediate | BuiltIn::Node | BuiltIn::Operator => refuse(kind()),
                _ => Ok(()),
            };
        }
        // Invariant 12: whoever could have nodes and operators made could be any of them.
        Actor::Operator { role, .. } => {
            let needed = if rules.like().profile().is_reserved() {
                Role::Admin
            } else {
                Role::Issuer
            };
            return if role.may(needed) {
                Ok(())
            } else {
                refuse(kind())
            };
        }
        Actor::Holder {
            identity, profile, ..
        } => (identity, profile),
    };
    // A node's listeners: not its own next certificate, and not its own name, but those that were bound to it.
    if *presented == Profile::NODE && *rules.profile() == Profile::SERVER {
        if identity.bundle.as_str() != BundleName::OPERATORS {
            return refuse(kind());
        }
        let Some(names) = names else {
            return refuse("other names".to_owned());
        };
        return match profiles.unbound(&identity.name, &names.subject_alt_names) {
            Some(name) => refuse(format!(
                "a server certificate for {name}, which is not bound to it"
            )),
            None => Ok(()),
        };
    }
    // Nodes and operators are vouched for by their own issuer, whatever profile the inventory has of others.
    let vouches = if rules.profile().is_reserved() {
        BundleName::OPERATORS
    } else {
        BundleName::INTERNAL
    };
    if identity.bundle.as_str() != vouches {
        return refuse(if vouches == BundleName::INTERNAL {
            "a certificate of this authority".to_owned()
        } else {
            kind()
        });
    }
    let is_for_people = rules.like() == BuiltIn::Intermediate || rules.like().is_canary();
    if rules.profile() != presented || is_for_people {
        return refuse(kind());
    }
    let Some(names) = names else {
        return refuse("other names".to_owned());
    };
    // One more name would be one more identity. The CN of a host is the mirror of its first SAN.
    let common_name = names
        .subject
        .common_name()
        .filter(|_| rules.like().naming() != Naming::Host)
        .and_then(|name| format!("cn:{name}").parse().ok());
    let mut asked = names.subject_alt_names.iter().chain(&common_name);
    match asked.find(|name| **name != identity.name) {
        Some(other) => refuse(other.to_string()),
        None => Ok(()),
    }
}
