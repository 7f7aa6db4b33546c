//! The admin API for operators elsewhere: mutual TLS with `operator` certificates, and of each the role that the
//! configuration gives its holder.
//!
//! What is served is the route table and nothing else: what a process says of its gateway stays on its socket. The role is
//! looked up at each request, so that another configuration decides on connections that are open as on new ones.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{Request, StatusCode};
use axum::response::{IntoResponse, Response};
use countersign_pki::identity::VerifiedPeer;
use countersign_policy::administration::Roles;
use countersign_policy::issuance::{Actor, Profile};
use countersign_runtime::drain::Drain;
use countersign_tls::credentials::SharedCredentials;
use countersign_tls::enforcement::{Effects, Enforcement};
use tokio::sync::Notify;
use tower::ServiceExt as _;

use super::{origin, router, with_fallbacks};
use crate::authority::Authority;
use crate::problem::Problem;
use crate::reserved_port::{
    self, AtDrain, Budget, Holder, Opened, Place, Places, Service, Terms, common_name,
};

/// Serves the admin API to operators, until the drain begins; requests in flight are finished.
pub async fn serve(opened: Opened, drain: Drain) {
    let authority = Arc::clone(&opened.authority);
    let api = Api {
        router: with_fallbacks(router(Arc::clone(&authority))),
        places: Places::default(),
        renewals: Arc::default(),
        credentials: opened.credentials.clone(),
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
    /// Of operators' own certificates.
    renewals: Arc<Budget>,
    /// The port's own: it is known by its names and by no others.
    credentials: SharedCredentials,
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
        let told = "the admin API is for operators only";
        let holder = Holder::admit(&self.authority, peer, Profile::OPERATOR, SERVED, told)
            .await
            .map_err(|problem| {
                let hint = problem.hint.clone();
                problem.with_hint(hint.or_else(|| Some(ISSUE_OPERATOR.to_owned())))
            })?;
        let place = self
            .places
            .take(holder.identity(), MAX_CONNECTIONS_EACH)
            .ok_or_else(|| {
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
            let problem = without_role(&holder.name());
            let object = format!("{} {}", request.method(), request.uri().path());
            self.authority
                .refused(holder.actor(), &object, &problem.detail)
                .await;
            return problem.into_response();
        };
        let actor = Actor::Operator {
            identity: holder.identity().clone(),
            role,
            certificate: holder.presented(),
        };
        let judged = origin::judge_host(request.headers(), &self.credentials.leaf())
            .and_then(|()| origin::judge(request.method(), request.headers()));
        if let Err(problem) = judged {
            let object = format!("{} {}", request.method(), request.uri().path());
            self.authority
                .refused(actor, &object, &problem.detail)
                .await;
            return problem.into_response();
        }
        request.extensions_mut().insert(Arc::clone(&self.renewals));
        request.extensions_mut().insert(actor);
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

/// As the audit log has it.
const SERVED: &str = "the admin API";

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
    use super::*;

    #[test]
    fn names_are_quoted_as_keys_of_the_configuration() {
        let check = |name, key| assert_eq!(quoted(name), key);
        check("alice", "alice");
        check("ci-1_a", "ci-1_a");
        check("Ada Lovelace", "\"Ada Lovelace\"");
        check("a.b", "\"a.b\"");
    }
}
