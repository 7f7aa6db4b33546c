//! One look at an upstream, by the way that requests go.

use std::sync::Arc;
use std::time::Duration;

use countersign_tls::enforcement::Enforcement;
use http::header::{HOST, HeaderValue, USER_AGENT};
use http::uri::{Authority, PathAndQuery, Uri};
use http::{Request, StatusCode, Version};
use tokio::time::timeout;

use super::{Address, Lease, Origin, Upstream, UpstreamFault, UpstreamPool, Wanted};
use crate::body::ToUpstream;
use crate::metrics::UpstreamMetrics;
use crate::plan::Bounds;

/// How the upstreams of a group are looked at.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct HealthCheck {
    /// `None`: that a connection can be made is enough.
    pub(crate) path: Option<PathAndQuery>,
    pub(crate) interval: Duration,
    /// Of all of it.
    pub(crate) timeout: Duration,
}

/// Why an upstream did not pass.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CheckFault {
    #[error("it answered {0}")]
    Answered(StatusCode),
    #[error("no answer within {} ms", .0.as_millis())]
    TimedOut(Duration),
    #[error(transparent)]
    Unreached(#[from] UpstreamFault),
}

impl HealthCheck {
    /// Beyond this it would be a load.
    pub(crate) const SHORTEST_INTERVAL: Duration = Duration::from_secs(1);

    /// What metrics and status call it.
    pub(crate) fn name(&self) -> &str {
        self.path.as_ref().map_or("connect", PathAndQuery::as_str)
    }

    /// On connections of its own, which are gone when it is done: that one stands for long says nothing about the next.
    pub(crate) async fn look(
        &self,
        upstream: &Upstream,
        bounds: Bounds,
        enforcement: Enforcement,
        metrics: UpstreamMetrics,
    ) -> Result<(), CheckFault> {
        let pool = UpstreamPool::new(bounds, enforcement, metrics, None);
        let looking = async {
            match (upstream, &self.path) {
                (Upstream::Demo, _) => Ok(()),
                (Upstream::Http(origin), Some(path)) => {
                    let mut lease = pool.lease(origin, &Wanted::New).await?;
                    let request = ask(origin, path, &lease);
                    let response = lease.send(request, Some(self.timeout)).await?;
                    match response.status() {
                        status if status.is_success() || status.is_redirection() => Ok(()),
                        status => Err(CheckFault::Answered(status)),
                    }
                }
                (Upstream::Http(origin), None) => {
                    let _made = pool.lease(origin, &Wanted::New).await?;
                    Ok(())
                }
                (Upstream::Bytes(address), _) => {
                    let _open = pool.open(address, usize::MAX, &[]).await?;
                    Ok(())
                }
            }
        };
        match timeout(self.timeout, Box::pin(looking)).await {
            Ok(looked) => looked,
            Err(_) => Err(CheckFault::TimedOut(self.timeout)),
        }
    }
}

fn ask(origin: &Origin, path: &PathAndQuery, lease: &Lease) -> Request<ToUpstream> {
    let host = host_of(&origin.address);
    let mut request = Request::new(ToUpstream::empty());
    if lease.shared().is_some() {
        let mut target = http::uri::Parts::default();
        target.scheme = Some(origin.scheme());
        target.authority = Some(host);
        target.path_and_query = Some(path.clone());
        *request.uri_mut() = Uri::from_parts(target).expect("all three are there");
        *request.version_mut() = Version::HTTP_2;
    } else {
        *request.uri_mut() = Uri::from(path.clone());
        let host = HeaderValue::from_str(host.as_str()).unwrap_or(LOCALHOST);
        request.headers_mut().insert(HOST, host);
    }
    request.headers_mut().insert(USER_AGENT, AGENT);
    request
}

/// As its URL writes it; a socket of the file system has no name of its own.
fn host_of(address: &Arc<Address>) -> Authority {
    let written = match &**address {
        Address::Tcp { host, port } if host.contains(':') => format!("[{host}]:{port}"),
        Address::Tcp { host, port } => format!("{host}:{port}"),
        Address::Tls(target) => format!("{}:{}", target.host(), target.settings.port),
        Address::Unix { .. } => "localhost".to_owned(),
    };
    Authority::try_from(written).unwrap_or_else(|_| Authority::from_static("localhost"))
}

const AGENT: HeaderValue = HeaderValue::from_static("countersign-health");
const LOCALHOST: HeaderValue = HeaderValue::from_static("localhost");
