//! The port that nodes in other processes hear the feed from.

mod routes;
mod telling;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{Request, StatusCode};
use axum::response::Response;
use countersign_pki::identity::VerifiedPeer;
use countersign_policy::issuance::Profile;
use countersign_runtime::drain::Drain;
use tokio::sync::Notify;
use tower::ServiceExt as _;

use crate::authority::Authority;
use crate::problem::Problem;
use crate::reserved_port::{self, AtDrain, Holder, Opened, Place, Places, Service, Terms};

/// Serves the feed to nodes in other processes, until the drain begins.
pub async fn serve(opened: Opened, drain: Drain) {
    let authority = Arc::clone(&opened.authority);
    let feed = Feed {
        router: routes::router(Arc::clone(&authority)),
        places: Places::default(),
        authority,
    };
    reserved_port::serve(feed, opened, drain).await;
}

struct Feed {
    authority: Arc<Authority>,
    router: Router,
    places: Places,
}

/// Who may hear and say. Only [`Feed`] makes one, for whoever holds a node's certificate.
#[derive(Clone, Debug)]
struct Node(
    Holder,
    /// Held while the connection is open.
    #[expect(dead_code, reason = "dropped with the connection")]
    Arc<Place>,
);

impl Service for Feed {
    type Guest = Node;

    fn terms(&self) -> &'static Terms {
        &TERMS
    }

    async fn admit(&self, peer: &VerifiedPeer) -> Result<Node, Problem> {
        let told = "the feed is told to nodes only";
        let holder = Holder::admit(&self.authority, peer, Profile::NODE, "the feed", told).await?;
        let place = self.places.take(holder.identity(), MAX_CONNECTIONS_EACH);
        let place = place.ok_or_else(|| {
            Problem::new(
                StatusCode::TOO_MANY_REQUESTS,
                format!(
                    "node {} has {MAX_CONNECTIONS_EACH} connections open already",
                    holder.name()
                ),
            )
        })?;
        Ok(Node(holder, Arc::new(place)))
    }

    async fn answer(
        &self,
        node: Node,
        mut request: Request<Body>,
        stalled: Arc<Notify>,
    ) -> Response {
        request.extensions_mut().insert(node);
        request.extensions_mut().insert(stalled);
        let Ok(response) = self.router.clone().oneshot(request).await;
        response
    }
}

impl<S: Sync> FromRequestParts<S> for Node {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let node = parts.extensions.get::<Self>().cloned();
        node.ok_or_else(|| Problem::new(StatusCode::FORBIDDEN, "the caller is not known"))
    }
}

/// What it is called where listeners are. A colon: none of a gateway can have the name.
pub const LISTENER: &str = "authority:feed";

const TERMS: Terms = Terms {
    name: "feed",
    listener: LISTENER,
    // A node has a stream and, now and then, one connection for what it says: this is for some thousand nodes.
    max_connections: 8192,
    // A node sends its headers at once. It ends an idle connection, too.
    header_timeout: Duration::from_secs(30),
    // A path, a query and some names.
    max_headers: 16 * 1024,
    // The head of an answer: a stream itself has no end. Issuing takes some milliseconds, unsealing a CA key some seconds.
    answer_timeout: Duration::from_secs(30),
    at_drain: AtDrain::Cut,
};

/// A stream, one connection for what it says, and those of a gateway that was killed and is started again and again, until they
/// are found dead.
const MAX_CONNECTIONS_EACH: usize = 32;
