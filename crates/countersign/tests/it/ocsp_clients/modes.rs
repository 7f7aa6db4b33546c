//! What becomes of clients while their responder says nothing that could be relied on.

use super::*;

const HARD: &str = "";
const GRACE: &str = "revocation = \"grace\"\ngrace = \"1d\"";
const SOFT: &str = "revocation = \"dangerous_soft\"";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mode_says_who_gets_in_while_the_responder_is_dead() {
    let Some(scene) = Scene::new("mode_says_who_gets_in_while_the_responder_is_dead") else {
        return;
    };
    let client = scene.partner.issue("client");
    for (mode, status) in [(HARD, 403), (GRACE, 403), (SOFT, 200)] {
        scene.responder.become_(Manner::Dead);
        let gateway = scene.serve(PATIENT, mode);
        // At once the second time: a failure that is new is not asked about again.
        for _ in 0..2 {
            let outcome = scene.ask(&client, gateway.gateway(), "/dead").await;
            assert_eq!(outcome.status(), Some(status), "{mode} {outcome:?}");
        }
        let metrics = gateway_metrics(&gateway);
        let unchecked = "countersign_gateway_revocation_not_checked_total{bundle=\"acme\"} ";
        let unchecked = metrics.lines().find_map(|it| it.strip_prefix(unchecked));
        assert_eq!(
            unchecked,
            Some(if mode == SOFT { "2" } else { "0" }),
            "{metrics}"
        );
        if mode == SOFT {
            gateway.wait_for_log(&["revocation-not-checked", "acme"]);
        } else {
            let causes = scene.causes();
            assert!(causes.contains("ocsp-unreachable"), "{causes}");
        }
        let status = scene.installation.ok(&["status"]);
        assert!(
            status.contains("no answer of its OCSP responder"),
            "{status}"
        );
        // As soon as it is back they get in, in each mode.
        scene.responder.become_(Manner::Honest);
        until("the responder is believed again", async || {
            let outcome = scene.ask(&client, gateway.gateway(), "/back").await;
            outcome.status() == Some(200) && scene.responder.last_answer() != b""
        })
        .await;
    }
    let text = scene.upstream.received_text();
    assert_eq!(text.matches("/dead").count(), 2, "{text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn silent_responder_is_waited_for_as_long_as_is_said() {
    let Some(scene) = Scene::new("silent_responder_is_waited_for_as_long_as_is_said") else {
        return;
    };
    let client = scene.partner.issue("client");
    scene.responder.become_(Manner::Silent);
    for (mode, status) in [(HARD, 403), (SOFT, 200)] {
        let gateway = scene.serve("timeout = \"1s\"", mode);
        let outcome = scene.ask(&client, gateway.gateway(), "/silent").await;
        assert_eq!(outcome.status(), Some(status), "{mode} {outcome:?}");
        if status == 403 {
            let explained = scene.explained(&outcome);
            assert!(explained.contains("ocsp-unreachable"), "{explained}");
        }
    }
}

/// Each is as good as no answer.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_answer_lets_nobody_in() {
    let Some(scene) = Scene::new("what_is_no_answer_lets_nobody_in") else {
        return;
    };
    let other = Partner::new(&scene.openssl, "/CN=Acme CA");
    let (good, client) = (scene.partner.issue("good"), scene.partner.issue("client"));
    let gateway = scene.serve(PATIENT, "");
    assert_eq!(
        scene.ask(&good, gateway.gateway(), "/good").await.status(),
        Some(200)
    );
    let of_another = scene.responder.last_answer();
    assert!(!of_another.is_empty());
    drop(gateway);
    for (what, manner, cause) in [
        (
            "an answer about another certificate",
            Manner::Bytes(of_another),
            "ocsp-answer-invalid",
        ),
        (
            "another CA of the same name",
            Manner::SignedBy(other.path(".")),
            "ocsp-answer-invalid",
        ),
        (
            "garbage",
            Manner::Bytes(b"<html>".to_vec()),
            "ocsp-answer-invalid",
        ),
        ("nothing", Manner::Bytes(Vec::new()), "ocsp-answer-invalid"),
        (
            "tryLater",
            Manner::Bytes(vec![0x30, 3, 0x0a, 1, 3]),
            "ocsp-unreachable",
        ),
        (
            "too much",
            Manner::Bytes(vec![0x30; 65 * 1024]),
            "ocsp-unreachable",
        ),
    ] {
        scene.responder.become_(manner);
        let gateway = scene.serve(PATIENT, "");
        let outcome = scene.ask(&client, gateway.gateway(), "/never").await;
        assert_eq!(outcome.status(), Some(403), "{what}: {outcome:?}");
        let explained = scene.explained(&outcome);
        assert!(explained.contains(cause), "{what}: {explained}");
    }
    assert!(!scene.upstream.received_text().contains("/never"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn named_responder_alone_is_heard() {
    let Some(scene) = Scene::new("named_responder_alone_is_heard") else {
        return;
    };
    let named = Partner::new(&scene.openssl, "/CN=Acme Responder");
    scene.installation.write("responder.pem", &named.root());
    let client = scene.partner.issue("client");
    let gateway = scene.serve(&format!("{PATIENT}, signer_file = \"responder.pem\""), "");
    let by_the_ca = scene.ask(&client, gateway.gateway(), "/ca").await;
    assert_eq!(by_the_ca.status(), Some(403), "{by_the_ca:?}");
    scene.responder.become_(Manner::SignedBy(named.path(".")));
    until("the named responder is heard", async || {
        let outcome = scene.ask(&client, gateway.gateway(), "/named").await;
        outcome.status() == Some(200)
    })
    .await;
    assert!(!scene.upstream.received_text().contains("/ca"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn list_and_responder_both_have_to_say_good() {
    let Some(scene) = Scene::new("list_and_responder_both_have_to_say_good") else {
        return;
    };
    let (good, listed, said) = (
        scene.partner.issue("good"),
        scene.partner.issue("listed"),
        scene.partner.issue("said"),
    );
    // The list is of before, the responder's index of now.
    scene
        .installation
        .write("acme.crl", &scene.partner.list(&[]));
    let index = fs::read_to_string(scene.partner.path("index.txt")).expect("an index");
    scene.partner.revoke("listed");
    scene
        .installation
        .write("acme.crl", &scene.partner.list(&[]));
    fs::write(scene.partner.path("index.txt"), index).expect("writable");
    scene.partner.revoke("said");
    let gateway = scene.serve(PATIENT, "crl = [\"acme.crl\"]");
    let address = gateway.gateway();
    assert_eq!(scene.ask(&good, address, "/good").await.status(), Some(200));
    let asked = scene.responder.asked();
    let outcome = scene.ask(&listed, address, "/listed").await;
    assert!(
        matches!(outcome, Outcome::Alert(CERTIFICATE_REVOKED)),
        "{outcome:?}"
    );
    assert_eq!(
        scene.responder.asked(),
        asked,
        "nobody has to be asked any more"
    );
    let outcome = scene.ask(&said, address, "/said").await;
    assert_eq!(outcome.status(), Some(403), "{outcome:?}");
    assert!(!scene.upstream.received_text().contains("/listed"));
    assert!(!scene.upstream.received_text().contains("/said"));
}
