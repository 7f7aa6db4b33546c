//! What a responder says later ends sessions and connections of before.

use crate::revocation::{open, warmed_up};
use crate::websocket::{WebSocket, echo_service};

use super::*;

/// So that those who are in are asked about again soon.
const SHORT: &str = "max_age = \"5s\", timeout = \"60s\"";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn next_answer_ends_sessions_and_connections_of_whom_it_says_revoked() {
    let test = "next_answer_ends_sessions_and_connections_of_whom_it_says_revoked";
    let Some(scene) = Scene::new(test) else {
        return;
    };
    let (bad, good) = (scene.partner.issue("bad"), scene.partner.issue("good"));
    let gateway = scene.serve(SHORT, "");
    let address = gateway.gateway();
    let mut doomed = Vec::new();
    let mut spared = Vec::new();
    for protocol in Protocol::HTTP {
        for (identity, into) in [(&bad, &mut doomed), (&good, &mut spared)] {
            let client = scene.client(identity, protocol);
            // Whoever is first waits, and has no session.
            drop(open(&client, protocol, address).await);
            into.push((
                client,
                protocol,
                open(&scene.client(identity, protocol), protocol, address).await,
            ));
        }
    }
    scene.partner.revoke("bad");
    for (client, protocol, connection) in doomed {
        let _ = connection.ended().await;
        for client in [client.clone(), client.without_sessions()] {
            let outcome = client
                .request(address, for_client(protocol, "/after"))
                .await;
            assert!(
                matches!(outcome, Outcome::Alert(CERTIFICATE_REVOKED)),
                "{outcome:?}"
            );
        }
    }
    for (_, protocol, mut connection) in spared {
        let answer = connection.get("/spared").await.expect("it goes on");
        assert_eq!(answer.0, 200, "{protocol:?}");
    }
    assert!(!scene.upstream.received_text().contains("/after"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn websocket_is_cut_by_the_next_answer() {
    let Some(scene) = Scene::new("websocket_is_cut_by_the_next_answer") else {
        return;
    };
    let service = echo_service();
    let bad = scene.partner.issue("bad");
    let toml = scene.toml(SHORT, "").replace(
        &scene.upstream.address().to_string(),
        &service.address().to_string(),
    );
    let gateway = scene.installation.serve(&toml);
    let client = scene.client(&bad, Protocol::Http1Tls13);
    let mut socket = WebSocket::open(&client, gateway.gateway()).await;
    assert_eq!(socket.echo("before").await.expect("open"), "before");
    scene.partner.revoke("bad");
    socket.ended().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answer_that_is_over_ends_who_is_in_where_one_is_asked_for_and_nobody_else() {
    let test = "answer_that_is_over_ends_who_is_in_where_one_is_asked_for_and_nobody_else";
    let Some(scene) = Scene::new(test) else {
        return;
    };
    let client = scene.partner.issue("client");
    let protocol = Protocol::Http1Tls13;
    for mode in [
        "",
        "revocation = \"grace\"\ngrace = \"1d\"",
        "revocation = \"dangerous_soft\"",
    ] {
        scene.responder.become_(Manner::Honest);
        let gateway = scene.serve(SHORT, mode);
        let address = gateway.gateway();
        let client = scene.client(&client, protocol);
        drop(open(&client, protocol, address).await);
        let mut connection = warmed_up(&client, protocol, address).await;
        scene.responder.become_(Manner::Dead);
        if mode.is_empty() {
            let _ = connection.ended().await;
            let outcome = client.request(address, for_client(protocol, "/over")).await;
            assert_eq!(outcome.status(), Some(403), "{outcome:?}");
            assert!(scene.causes().contains("ocsp-stale"), "{}", scene.causes());
            continue;
        }
        // Until nothing is left of the answer: a newcomer has to wait for another then, in vain.
        let begun = scene.responder.asked();
        until("the answer is over", async || {
            let outcome = client
                .without_sessions()
                .request(address, for_client(protocol, "/new"))
                .await;
            assert_eq!(outcome.status(), Some(200), "{mode} {outcome:?}");
            let metrics = gateway_metrics(&gateway);
            scene.responder.asked() > begun
                && !metrics.contains("countersign_gateway_ocsp_misses_total{bundle=\"acme\"} 1\n")
        })
        .await;
        assert_eq!(
            connection.get("/goes-on").await.expect("it goes on").0,
            200,
            "{mode}"
        );
    }
    assert!(!scene.upstream.received_text().contains("/over"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reload_that_brings_a_responder_asks_about_those_who_are_in() {
    let test = "reload_that_brings_a_responder_asks_about_those_who_are_in";
    let Some(scene) = Scene::new(test) else {
        return;
    };
    let (good, bad) = (scene.partner.issue("good"), scene.partner.issue("bad"));
    scene.partner.revoke("bad");
    let with = scene.toml(PATIENT, "");
    let lines = with.lines().filter(|line| !line.starts_with("ocsp"));
    let without = lines.collect::<Vec<_>>().join(
        "
",
    );
    let gateway = scene.installation.serve(&without);
    let protocol = Protocol::Http1Tls13;
    let mut spared = warmed_up(&scene.client(&good, protocol), protocol, gateway.gateway()).await;
    let doomed = warmed_up(&scene.client(&bad, protocol), protocol, gateway.gateway()).await;
    assert_eq!(scene.responder.asked(), 0);
    scene.installation.write("countersign.toml", &with);
    gateway.signal(rustix::process::Signal::HUP);
    let _ = doomed.ended().await;
    assert_eq!(spared.get("/spared").await.expect("it goes on").0, 200);
}
