//! The admin API for operators elsewhere: mutual TLS with `operator` certificates, and of each the role that the
//! configuration gives its holder.
//!
//! What is served is the route table and nothing else: what a process says of its gateway stays on its socket. The role is
//! looked up at each request, so that another configuration decides on connections that are open as on new ones.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{Request, StatusCode};
use axum::response::{IntoResponse, Response};
use countersign_pki::identity::{Identity, VerifiedPeer};
use countersign_policy::administration::Roles;
use countersign_policy::issuance::{Actor, Profile};
use countersign_runtime::drain::Drain;
use countersign_tls::enforcement::{Effects, Enforcement};
use tokio::sync::Notify;
use tower::ServiceExt as _;

use super::{router, with_fallbacks};
use crate::authority::Authority;
use crate::problem::Problem;
use crate::reserved_port::{self, AtDrain, Holder, Opened, Service, Terms, common_name};

/// Serves the admin API to operators, until the drain begins; requests in flight are finished.
pub async fn serve(opened: Opened, drain: Drain) {
    let authority = Arc::clone(&opened.authority);
    let api = Api {
        router: with_fallbacks(router(Arc::clone(&authority))),
        places: Places::default(),
        authority,
    };
    reserved_port::serve(api, opened, drain).await;
}

/// Operators have these roles from now on; whoever may less than before, or nothing any more, has its connections cut.
pub async fn replace_roles(
    authority: &Authority,
    enforcement: &Enforcement,
    roles: Roles,
) -> Effects {
    // First the roles, then the cut: a request that comes in between is judged by the new ones.
    let (before, now) = authority.replace_roles(roles);
    let keeps = |listener: &str, peer: Option<&VerifiedPeer>| {
        let operator = peer.filter(|_| listener == TERMS.listener);
        operator
            .and_then(common_name)
            .is_none_or(|operator| before.of(&operator) <= now.of(&operator))
    };
    enforcement.withdraw(keeps).await
}

struct Api {
    authority: Arc<Authority>,
    router: Router,
    places: Places,
}

/// An operator on one connection.
#[derive(Clone, Debug)]
pub(crate) struct Operator {
    holder: Holder,
    /// Held while the connection is open.
    _place: Arc<Place>,
}

impl Service for Api {
    type Guest = Operator;

    fn terms(&self) -> &'static Terms {
        &TERMS
    }

    async fn admit(&self, peer: &VerifiedPeer) -> Result<Operator, Problem> {
        let served = "the admin API is for operators only";
        let holder = Holder::admit(&self.authority, peer, Profile::OPERATOR, served)
            .await
            .map_err(|problem| {
                let hint = problem.hint.clone();
                problem.with_hint(hint.or_else(|| Some(ISSUE_OPERATOR.to_owned())))
            })?;
        let place = self.places.take(holder.identity()).ok_or_else(|| {
            Problem::new(
                StatusCode::TOO_MANY_REQUESTS,
                format!(
                    "operator {} has {MAX_CONNECTIONS_EACH} connections open already",
                    holder.name()
                ),
            )
            .with_hint(Some("close some of them, or use them again".to_owned()))
        })?;
        Ok(Operator {
            holder,
            _place: Arc::new(place),
        })
    }

    async fn answer(
        &self,
        operator: Operator,
        mut request: Request<Body>,
        _: Arc<Notify>,
    ) -> Response {
        let holder = &operator.holder;
        let Some(role) = self.authority.roles().of(holder.identity()) else {
            return without_role(&holder.name()).into_response();
        };
        request.extensions_mut().insert(Actor::Operator {
            identity: holder.identity().clone(),
            role,
            certificate: holder.presented(),
        });
        let Ok(response) = self.router.clone().oneshot(request).await;
        response
    }
}

fn without_role(name: &str) -> Problem {
    Problem::new(
        StatusCode::FORBIDDEN,
        format!("operator {name} has no role here"),
    )
    .with_hint(Some(format!(
        "[authority.operator.{}] role = \"viewer\" in the configuration of the authority gives it one, and so do issuer, operator and admin; a reload puts it in force",
        quoted(name)
    )))
}

/// As a key of TOML.
fn quoted(name: &str) -> String {
    let is_bare = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    if name.bytes().all(is_bare) {
        name.to_owned()
    } else {
        format!("{name:?}")
    }
}

/// How many connections each operator has open.
#[derive(Clone, Default)]
struct Places(
    // Guards nothing but the map, which holds no zero.
    Arc<Mutex<BTreeMap<Identity, usize>>>,
);

/// One of them, until it is dropped.
struct Place {
    places: Places,
    of: Identity,
}

impl Places {
    fn take(&self, operator: &Identity) -> Option<Place> {
        let mut open = self.open();
        let count = open.entry(operator.clone()).or_default();
        if *count >= MAX_CONNECTIONS_EACH {
            return None;
        }
        *count += 1;
        Some(Place {
            places: self.clone(),
            of: operator.clone(),
        })
    }

    fn open(&self) -> MutexGuard<'_, BTreeMap<Identity, usize>> {
        // Nothing under this lock can panic half-way.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut open = self.places.open();
        if let Some(count) = open.get_mut(&self.of) {
            *count -= 1;
            if *count == 0 {
                open.remove(&self.of);
            }
        }
    }
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Place({})", self.of)
    }
}

const ISSUE_OPERATOR: &str =
    "an admin makes operators: `countersign issue operator NAME --out DIR`";

/// What it is called where listeners are. A colon: none of a gateway can have the name.
pub const LISTENER: &str = "authority:admin";

const TERMS: Terms = Terms {
    name: "admin",
    listener: LISTENER,
    // As many as the socket has, and as many again that have not finished their handshake.
    max_connections: 1024,
    // A program that keeps its connection asks again within this time; curl and the CLI close theirs.
    header_timeout: Duration::from_secs(30),
    // WHAT is part of the path, and a SPIFFE ID has up to 2 KiB.
    max_headers: 32 * 1024,
    // A backup copies the inventory before it answers: ten million certificates take minutes. Evidence comes over slow lines.
    answer_timeout: Duration::from_hours(1),
    at_drain: AtDrain::Finish,
};

/// Twice what a batch has in flight; eight operators at their limit are half of what the port serves. There is no limit of
/// requests in a time beside it: each connection has one at a time, the costly ones wait for the one writer of the
/// inventory, and a batch may issue as fast as that.
const MAX_CONNECTIONS_EACH: usize = 64;

#[cfg(test)]
mod tests {
    use countersign_pki::identity::BundleName;

    use super::*;

    fn operator(name: &str) -> Identity {
        Identity {
            bundle: BundleName::operators(),
            name: name.parse().expect("a name"),
        }
    }

    #[test]
    fn operator_has_so_many_places_and_leaves_those_of_others_alone() {
        let places = Places::default();
        let (alice, bob) = (operator("cn:alice"), operator("cn:bob"));
        let mut taken: Vec<Place> = (0..MAX_CONNECTIONS_EACH)
            .filter_map(|_| places.take(&alice))
            .collect();
        assert_eq!(taken.len(), MAX_CONNECTIONS_EACH);
        assert!(places.take(&alice).is_none());
        assert!(places.take(&bob).is_some());
        taken.pop();
        assert!(places.take(&alice).is_some());
        taken.clear();
        assert!(places.open().is_empty(), "who has gone leaves nothing");
    }

    #[test]
    fn names_are_quoted_as_keys_of_the_configuration() {
        let check = |name, key| assert_eq!(quoted(name), key);
        check("alice", "alice");
        check("ci-1_a", "ci-1_a");
        check("Ada Lovelace", "\"Ada Lovelace\"");
        check("a.b", "\"a.b\"");
    }
}
