//! Which certificate is renewed, and what its next one shall be.

use countersign_pki::time::UnixTime;
use countersign_policy::issuance::{Actor, Profiles, Request};
use countersign_store::inventory::{Entry, Status};

use crate::authority::{IssueError, RenewError, RequestedKey};
use crate::what::What;

/// The newest valid one; all valid ones that are meant must be for the same names and profile.
pub(crate) fn choose(
    entries: Vec<Entry>,
    actor: &Actor,
    what: &What,
    now: UnixTime,
) -> Result<Entry, RenewError> {
    let (imported, entries): (Vec<Entry>, Vec<Entry>) =
        entries.into_iter().partition(Entry::is_imported);
    if let (Some(theirs), true) = (imported.first(), entries.is_empty()) {
        return Err(RenewError::Imported {
            serial: theirs.serial,
            issuer: theirs.issuer.clone(),
        });
    }
    let newest = entries.first().map(|entry| why_not(entry, now));
    let valid: Vec<Entry> = entries
        .into_iter()
        .filter(|entry| entry.status_at(now) == Status::Valid)
        .collect();
    if valid.iter().any(|entry| !are_alike(entry, &valid[0])) {
        return Err(RenewError::Ambiguous {
            what: what.to_string(),
            count: valid.len(),
        });
    }
    let Some(chosen) = valid.into_iter().next() else {
        return Err(newest.flatten().unwrap_or_else(|| RenewError::NotFound {
            what: what.to_string(),
        }));
    };
    match actor {
        // Whether its role is enough, the policy says of what comes of it.
        Actor::Authority | Actor::LocalAdmin { .. } | Actor::Operator { .. } => Ok(chosen),
        // A name is no proof: the certificate chosen by it may have further ones. Holders may renew once the actor says
        // by its serial which certificate was presented.
        Actor::Holder { identity, .. } => Err(RenewError::NotTheHolder {
            actor: identity.to_string(),
            serial: chosen.serial,
        }),
    }
}

/// Whether one can stand for the other.
pub(crate) fn are_alike(one: &Entry, other: &Entry) -> bool {
    (&one.profile, &one.names) == (&other.profile, &other.names)
}

/// The same names, profile and length of life under the new key; a life that is longer than the profile allows by now is cut.
pub(crate) fn request(
    predecessor: &Entry,
    key: RequestedKey,
    profiles: &Profiles,
) -> Result<Request, RenewError> {
    let Some(profile) = predecessor.profile.clone() else {
        return Err(RenewError::Imported {
            serial: predecessor.serial,
            issuer: predecessor.issuer.clone(),
        });
    };
    let rules = profiles.find(&profile).map_err(IssueError::Denied)?;
    let (name, subject_alt_names) = rules.name_of(&predecessor.names);
    let lifetime = predecessor.not_after.since(predecessor.intended_at);
    Ok(Request {
        name,
        subject_alt_names,
        lifetime: Some(lifetime.min(rules.max_lifetime())),
        spki_der: key.spki_der,
        wishes: key.wishes,
        profile,
    })
}

fn why_not(entry: &Entry, now: UnixTime) -> Option<RenewError> {
    let serial = entry.serial;
    match (entry.status_at(now), entry.revocation) {
        (Status::Held, Some(hold)) => Some(RenewError::Held {
            serial,
            since: hold.revoked_at,
        }),
        (_, Some(revocation)) => Some(RenewError::Revoked {
            serial,
            revoked_at: revocation.revoked_at,
        }),
        (Status::Expired, None) => Some(RenewError::Expired {
            serial,
            not_after: entry.not_after,
            now,
        }),
        (Status::Unknown, None) => Some(RenewError::NeverSigned { serial }),
        (Status::Held | Status::Revoked | Status::Valid, None) => None,
    }
}
