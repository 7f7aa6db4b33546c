//! `/metrics`, `/healthz`, `/readyz`: a plaintext listener of its own, on the control runtime.

use axum::Router;
use axum::extract::State;
use axum::http::header::{ACCEPT, CONTENT_TYPE};
use axum::http::{HeaderMap, StatusCode};
use axum::response::IntoResponse;
use axum::routing::get;
use countersign_runtime::drain::Drain;
use countersign_runtime::readiness::Readiness;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{Duration, sleep, timeout};

use crate::metrics::Metrics;
use crate::metrics::text::Form;

#[derive(Clone)]
struct Shown {
    metrics: Metrics,
    readiness: Readiness,
    drain: Drain,
}

/// Serves `/metrics`, `/healthz` and `/readyz` until the drain has ended. Belongs on the control runtime.
pub async fn serve_metrics(
    listener: TcpListener,
    metrics: Metrics,
    readiness: Readiness,
    drain: Drain,
) {
    let router = router(Shown {
        metrics,
        readiness,
        drain: drain.clone(),
    });
    let mut connections = JoinSet::new();
    let mut ended = std::pin::pin!(drain.ended());
    loop {
        tokio::select! {
            () = &mut ended => return,
            Some(_) = connections.join_next() => {}
            accepted = listener.accept(), if connections.len() < MAX_CONNECTIONS => match accepted {
                Ok((stream, _)) => {
                    connections.spawn(serve(stream, router.clone()));
                }
                Err(error) => {
                    tracing::debug!(%error, "metrics connection was not accepted");
                    sleep(BACK_OFF).await;
                }
            },
        }
    }
}

async fn serve(stream: TcpStream, router: Router) {
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_LIMIT)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    let _ = timeout(CONNECTION_LIMIT, connection).await;
}

fn router(shown: Shown) -> Router {
    Router::new()
        .route("/metrics", get(metrics))
        .route("/healthz", get(async || "ok\n"))
        .route("/readyz", get(readyz))
        .with_state(shown)
}

async fn metrics(State(shown): State<Shown>, headers: HeaderMap) -> impl IntoResponse {
    let form = Form::accepted(headers.get(ACCEPT).and_then(|accept| accept.to_str().ok()));
    (
        [(CONTENT_TYPE, form.content_type())],
        shown.metrics.encode(form),
    )
}

async fn readyz(State(shown): State<Shown>) -> (StatusCode, String) {
    if shown.drain.is_draining() {
        return (StatusCode::SERVICE_UNAVAILABLE, "draining\n".to_owned());
    }
    let waiting = shown.readiness.waiting_for();
    if waiting.is_empty() {
        (StatusCode::OK, "ready\n".to_owned())
    } else {
        (
            StatusCode::SERVICE_UNAVAILABLE,
            format!("waiting for {}\n", waiting.join(", ")),
        )
    }
}

/// A scraper or two, a probe and a person with curl, ten times over.
const MAX_CONNECTIONS: usize = 64;

const BACK_OFF: Duration = Duration::from_millis(50);

const HEADER_LIMIT: Duration = Duration::from_secs(65);

/// Prometheus keeps its connection; it opens another without loss.
const CONNECTION_LIMIT: Duration = Duration::from_hours(1);

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use axum::http::Request;
    use http_body_util::BodyExt;
    use tower::ServiceExt;

    use super::*;

    async fn check(shown: Shown, path: &str, accept: &str, status: StatusCode, part: &str) {
        let request = Request::get(path)
            .header(ACCEPT, accept)
            .body(Body::empty())
            .expect("a request");
        let response = router(shown).oneshot(request).await.expect("infallible");
        assert_eq!(response.status(), status, "{path}");
        let body = response
            .into_body()
            .collect()
            .await
            .expect("a body")
            .to_bytes();
        let text = String::from_utf8_lossy(&body);
        assert!(text.contains(part), "{path}: {text}");
    }

    #[tokio::test]
    async fn probes_say_what_is_waited_for() {
        let readiness = Readiness::new();
        let (trigger, drain) = countersign_runtime::drain::drain();
        let shown = Shown {
            metrics: Metrics::new("0.1.0"),
            readiness: readiness.clone(),
            drain,
        };
        check(shown.clone(), "/healthz", "*/*", StatusCode::OK, "ok").await;
        check(shown.clone(), "/readyz", "*/*", StatusCode::OK, "ready").await;
        let pending = readiness.pending("the authority's keys");
        check(
            shown.clone(),
            "/readyz",
            "*/*",
            StatusCode::SERVICE_UNAVAILABLE,
            "the authority's keys",
        )
        .await;
        drop(pending);
        check(
            shown.clone(),
            "/metrics",
            "*/*",
            StatusCode::OK,
            "countersign_gateway_build_info",
        )
        .await;
        check(
            shown.clone(),
            "/metrics",
            "application/openmetrics-text",
            StatusCode::OK,
            "# EOF",
        )
        .await;
        drop(trigger);
        check(
            shown,
            "/readyz",
            "*/*",
            StatusCode::SERVICE_UNAVAILABLE,
            "draining",
        )
        .await;
    }
}
