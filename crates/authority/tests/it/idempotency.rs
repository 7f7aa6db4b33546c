//! Requests that are made again.

use axum::body::Body;
use axum::http::Request;
use countersign_authority::admin::router;
use countersign_authority::api::{ISSUE, RENEW};
use countersign_pki::feed::RevocationReason;
use countersign_policy::issuance::Actor;
use countersign_store::inventory::Filter;
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tower::ServiceExt as _;

use crate::fixture::{ADMIN, Fixture, csr, what};

async fn ask(
    fixture: &Fixture,
    actor: Actor,
    path: &str,
    keys: &[&str],
    body: &Value,
) -> (u16, Value) {
    let mut request = Request::builder()
        .method("POST")
        .uri(path)
        .header("content-type", "application/json");
    for key in keys {
        request = request.header("Idempotency-Key", *key);
    }
    let mut request = request
        .body(Body::from(body.to_string()))
        .expect("a request");
    request.extensions_mut().insert(actor);
    let Ok(response) = router(fixture.authority.clone()).oneshot(request).await;
    let status = response.status().as_u16();
    let body = response.into_body().collect().await.expect("a body");
    (
        status,
        serde_json::from_slice(&body.to_bytes()).expect("JSON"),
    )
}

async fn issued(fixture: &Fixture) -> usize {
    let page = fixture.authority.list(Filter::default(), None, 1000).await;
    page.expect("lists").entries.len()
}

fn request(name: &str) -> Value {
    json!({ "profile": "client", "name": name, "csr": csr() })
}

#[tokio::test]
async fn same_key_and_request_give_the_same_certificate_also_after_a_restart() {
    let fixture = Fixture::new();
    let body = request("you");
    let (status, first) = ask(&fixture, ADMIN, ISSUE, &["\"k1\""], &body).await;
    assert_eq!(status, 200, "{first}");
    // With other white space, and without the quotes.
    let (status, again) = ask(&fixture, ADMIN, ISSUE, &["k1"], &body).await;
    assert_eq!((status, &again), (200, &first));
    let Fixture {
        authority,
        clock,
        folder,
    } = fixture;
    drop(authority);
    let fixture = Fixture {
        authority: folder.open(&clock),
        clock,
        folder,
    };
    let (status, again) = ask(&fixture, ADMIN, ISSUE, &["k1"], &body).await;
    assert_eq!((status, &again), (200, &first));
    assert_eq!(issued(&fixture).await, 1);

    let renewal = json!({ "what": "you", "csr": csr() });
    let (_, renewed) = ask(&fixture, ADMIN, RENEW, &["k2"], &renewal).await;
    let (status, again) = ask(&fixture, ADMIN, RENEW, &["k2"], &renewal).await;
    assert_eq!((status, &again), (200, &renewed));
    assert_ne!(renewed["serial"], first["serial"]);
    assert_eq!(issued(&fixture).await, 2);
}

#[tokio::test]
async fn certificate_that_was_revoked_since_is_not_handed_out_again() {
    let fixture = Fixture::new();
    let body = request("you");
    let (status, first) = ask(&fixture, ADMIN, ISSUE, &["k"], &body).await;
    assert_eq!(status, 200, "{first}");
    let (reason, name) = (RevocationReason::KeyCompromise, what("you"));
    let revoked = fixture.authority.revoke(ADMIN, &name, reason, None).await;
    revoked.expect("revokes");
    let (status, problem) = ask(&fixture, ADMIN, ISSUE, &["k"], &body).await;
    assert_eq!(status, 409, "{problem}");
    let detail = problem["detail"].as_str().expect("a sentence");
    assert!(detail.contains("is revoked"), "{problem}");
    let serial = first["serial"].as_str().expect("a serial");
    assert!(detail.contains(serial), "{problem}");
    assert_eq!(issued(&fixture).await, 1);
    // The key was given away: another certificate is for another one.
    let (status, other) = ask(&fixture, ADMIN, ISSUE, &["k2"], &request("you")).await;
    assert_eq!(status, 200, "{other}");
}

#[tokio::test]
async fn key_of_another_request_is_refused_and_keys_of_another_caller_are_others() {
    let fixture = Fixture::new();
    let body = request("you");
    let (_, first) = ask(&fixture, ADMIN, ISSUE, &["k"], &body).await;
    let (status, problem) = ask(&fixture, ADMIN, ISSUE, &["k"], &request("other")).await;
    assert_eq!(status, 422, "{problem}");
    assert!(
        problem["detail"]
            .as_str()
            .is_some_and(|it| it.contains('k')),
        "{problem}"
    );
    let renewal = json!({ "what": "you", "csr": body["csr"] });
    assert_eq!(ask(&fixture, ADMIN, RENEW, &["k"], &renewal).await.0, 422);
    let (status, theirs) = ask(&fixture, Actor::LocalAdmin { uid: 7 }, ISSUE, &["k"], &body).await;
    assert_eq!(status, 200);
    assert_ne!(theirs["serial"], first["serial"]);
    assert_eq!(issued(&fixture).await, 2);
}

#[tokio::test]
async fn key_that_is_none_and_a_request_without_one_are_what_they_are() {
    let fixture = Fixture::new();
    let body = request("you");
    for keys in [&["a b"][..], &[""], &["k", "k"], &["\u{e4}"]] {
        let (status, problem) = ask(&fixture, ADMIN, ISSUE, keys, &body).await;
        assert_eq!(status, 400, "{keys:?}: {problem}");
    }
    assert_eq!(issued(&fixture).await, 0);
    let (_, one) = ask(&fixture, ADMIN, ISSUE, &[], &body).await;
    let (_, other) = ask(&fixture, ADMIN, ISSUE, &[], &body).await;
    assert_ne!(one["serial"], other["serial"]);
}

#[tokio::test]
async fn refusal_takes_no_key() {
    let fixture = Fixture::new();
    let mut body = request("you");
    body["sans"] = json!(["dns:a..b"]);
    assert_eq!(ask(&fixture, ADMIN, ISSUE, &["k"], &body).await.0, 400);
    body["sans"] = json!([]);
    assert_eq!(ask(&fixture, ADMIN, ISSUE, &["k"], &body).await.0, 200);
}

#[tokio::test]
async fn of_many_at_once_under_one_key_one_issues_and_the_others_wait_or_get_the_same() {
    let fixture = Fixture::new();
    let body = request("you");
    let mut asked = Vec::new();
    for _ in 0..16 {
        asked.push(ask(&fixture, ADMIN, ISSUE, &["k"], &body));
    }
    let answers = join_all(asked).await;
    let mut serials: Vec<&Value> = Vec::new();
    for (status, answer) in &answers {
        match status {
            200 => serials.push(&answer["serial"]),
            409 => assert_eq!(answer["type"], "urn:countersign:in-flight"),
            other => panic!("{other}: {answer}"),
        }
    }
    assert!(
        !serials.is_empty() && serials.len() < 16,
        "{}",
        serials.len()
    );
    serials.dedup();
    assert_eq!((serials.len(), issued(&fixture).await), (1, 1));
    assert_eq!(
        ask(&fixture, ADMIN, ISSUE, &["k"], &body).await.1["serial"],
        *serials[0]
    );
}

#[tokio::test]
async fn caller_who_hangs_up_finds_its_certificate_under_its_key() {
    let fixture = Fixture::new();
    let body = request("you");
    {
        let mut asking = Box::pin(ask(&fixture, ADMIN, ISSUE, &["k"], &body));
        for _ in 0..50 {
            let mut context = std::task::Context::from_waker(std::task::Waker::noop());
            assert!(
                asking.as_mut().poll(&mut context).is_pending(),
                "it was not given up in time"
            );
            if issued(&fixture).await > 0 {
                break;
            }
        }
    }
    let answer = loop {
        let (status, answer) = ask(&fixture, ADMIN, ISSUE, &["k"], &body).await;
        if status != 409 {
            assert_eq!(status, 200, "{answer}");
            break answer;
        }
        tokio::task::yield_now().await;
    };
    assert_eq!(issued(&fixture).await, 1);
    let page = fixture
        .authority
        .list(Filter::default(), None, 10)
        .await
        .expect("lists");
    assert_eq!(answer["serial"], page.entries[0].serial.to_string());
}

async fn join_all<F: Future>(futures: Vec<F>) -> Vec<F::Output> {
    let mut futures: Vec<_> = futures.into_iter().map(Box::pin).collect();
    let mut answers: Vec<Option<F::Output>> = futures.iter().map(|_| None).collect();
    std::future::poll_fn(|context| {
        for (future, answer) in futures.iter_mut().zip(&mut answers) {
            if answer.is_none()
                && let std::task::Poll::Ready(ready) = future.as_mut().poll(context)
            {
                *answer = Some(ready);
            }
        }
        if answers.iter().all(Option::is_some) {
            std::task::Poll::Ready(())
        } else {
            std::task::Poll::Pending
        }
    })
    .await;
    answers.into_iter().flatten().collect()
}
