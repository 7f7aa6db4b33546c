//! The endpoints that an operator's tools ask.

use axum::Router;
use axum::body::Body;
use countersign_proxy::admin::{AdminContext, ReloadRequest, router};
use countersign_testkit::bypass::Protocol;
use countersign_testkit::ephemeral;
use http::{Request, StatusCode};
use http_body_util::BodyExt;
use serde_json::Value;
use tokio::sync::mpsc;
use tower::ServiceExt;

use crate::harness::{Harness, to};

async fn ask(router: &Router, method: &str, path: &str) -> (StatusCode, Value) {
    let request = Request::builder().method(method).uri(path);
    let request = request.body(Body::empty()).expect("a request");
    let response = router.clone().oneshot(request).await.expect("infallible");
    let status = response.status();
    let body = response.into_body().collect().await.expect("a body");
    let read = serde_json::from_slice(&body.to_bytes()).expect("json");
    (status, read)
}

fn offered(gateway: &Harness) -> (Router, mpsc::Receiver<ReloadRequest>) {
    let (reload, asked) = mpsc::channel(1);
    let context = AdminContext {
        gateway: gateway.handle.clone(),
        refusals: gateway.folder().to_owned(),
        reload,
    };
    (router(context), asked)
}

#[tokio::test(flavor = "multi_thread")]
async fn refusal_is_explained_by_id_and_by_source() {
    let gateway = Harness::start(
        "",
        "upstream = \"demo\"\nallow = [{ cn = \"order-service\", path = \"/orders\" }]\n",
    );
    let (router, _asked) = offered(&gateway);
    let outcome = gateway.get(Protocol::Http1Tls13, "/other").await;
    let id = gateway.explained(&outcome).id;
    let (status, refusal) = ask(&router, "GET", &format!("/v1/refusals/{id}")).await;
    assert_eq!(
        (status, &refusal["cause"]),
        (StatusCode::OK, &"request-not-allowed".into())
    );
    assert_eq!(refusal["request"]["path"], "/other");
    let (_, all) = ask(&router, "GET", "/v1/refusals?from=127.0.0.1&since_s=300").await;
    assert_eq!(all[0]["id"], id.to_string());
    let (_, none) = ask(&router, "GET", "/v1/refusals?from=192.0.2.1").await;
    assert_eq!(none, Value::Array(Vec::new()));
    for (path, expected) in [
        ("/v1/refusals/7f3a9c-zzzzzz", StatusCode::NOT_FOUND),
        ("/v1/refusals/nonsense", StatusCode::BAD_REQUEST),
        ("/v1/refusals?from=here", StatusCode::BAD_REQUEST),
        ("/v1/refusals", StatusCode::BAD_REQUEST),
    ] {
        assert_eq!(ask(&router, "GET", path).await.0, expected, "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn status_and_reload_are_those_of_the_running_gateway() {
    let route = to(ephemeral::address());
    let gateway = Harness::start("", &route);
    let (router, mut asked) = offered(&gateway);
    let (status, shown) = ask(&router, "GET", "/v1/gateway").await;
    assert_eq!((status, &shown["workers"]), (StatusCode::OK, &1.into()));
    assert_eq!(
        shown["listeners"][0]["address"],
        gateway.address().to_string()
    );
    assert_eq!(shown["listeners"][0]["client_certificate"], "require");
    let outcomes = [
        gateway
            .handle
            .reload(gateway.plan("", &route))
            .await
            .map_err(|error| error.to_string()),
        Err("gateway.listener[0].key: gone".to_owned()),
    ];
    for (outcome, expected) in outcomes
        .into_iter()
        .zip([StatusCode::OK, StatusCode::UNPROCESSABLE_ENTITY])
    {
        let answering = async {
            let request = asked.recv().await.expect("asked");
            assert!(request.send(outcome).is_ok());
        };
        let ((status, _), ()) = tokio::join!(ask(&router, "POST", "/v1/gateway/reload"), answering);
        assert_eq!(status, expected);
    }
    drop(asked);
    assert_eq!(
        ask(&router, "POST", "/v1/gateway/reload").await.0,
        StatusCode::SERVICE_UNAVAILABLE
    );
}
