//! A gateway in a process of its own: it hears its authority, and goes on without it.

use std::fs;
use std::net::SocketAddr;

use countersign_testkit::bypass::{Attack, Expected, Mode, Protocol, expected};
use countersign_testkit::client::Outcome;
use countersign_testkit::pki;
use countersign_testkit::process::Process;
use http_body_util::Full;
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::fleet::{
    ACCESS_DENIED, CERTIFICATE_REVOKED, Fleet, assert_refused, assert_served, attempt_as,
    start_gateway,
};
use crate::http::{Connection, in_time};
use crate::installation::{Installation, Issued};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_the_command_has_returned_the_gateway_of_another_process_refuses() {
    let fleet = Fleet::new();
    let authority = fleet.run_authority("");
    let gateway = fleet.run_gateway("");
    let (you, other) = (issue(&fleet, "you"), issue(&fleet, "other"));
    let open = |issued: &Issued| {
        let client = issued.client(Protocol::Http1Tls13);
        let address = gateway.gateway();
        async move { Connection::open(&client, Protocol::Http1Tls13, address).await }
    };
    let mut yours = open(&you).await.expect("let in");
    let mut others = open(&other).await.expect("let in");
    assert_eq!(yours.get("/").await.expect("open").0, 200);

    let receipt = fleet.authority.json(&["revoke", "you", "--wait"]);

    assert_refused(&you, &gateway, CERTIFICATE_REVOKED).await;
    assert!(yours.get("/").await.is_err());
    assert_eq!(others.get("/").await.expect("open").0, 200);
    assert_served(&other, &gateway).await;
    let node = node_of(&receipt, "gw-1");
    assert_eq!(node["confirmed"], true, "{receipt}");
    assert_eq!(node["connections_cut"], 1, "{receipt}");
    let after_ms = node["after_ms"].as_u64().expect("it confirmed");
    // Within a second is what the guide says; the rest is for a machine that does much else.
    assert!(after_ms < 5_000, "{receipt}");
    drop(authority);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn gateway_goes_on_and_starts_again_without_its_authority() {
    let fleet = Fleet::new();
    let authority = fleet.run_authority("");
    let gateway = fleet.run_gateway("");
    let (you, other) = (issue(&fleet, "you"), issue(&fleet, "other"));
    fleet.authority.ok(&["revoke", "you", "--wait"]);
    authority.kill();

    assert_served(&other, &gateway).await;
    assert_refused(&you, &gateway, CERTIFICATE_REVOKED).await;

    // As a power cut leaves it: what was acknowledged is on disk.
    gateway.kill();
    let gateway = start_gateway(&fleet).expect("it starts by what it has on disk");
    gateway.wait_for_log(&["serves by what it has on disk"]);
    assert_served(&other, &gateway).await;
    assert_refused(&you, &gateway, CERTIFICATE_REVOKED).await;

    // And hears again, without being told.
    let authority = fleet.run_authority("");
    gateway.wait_for_log(&["the authority's feed is heard"]);
    fleet.authority.ok(&["revoke", "other", "--wait"]);
    assert_refused(&other, &gateway, CERTIFICATE_REVOKED).await;
    drop(authority);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_revoked_while_the_gateway_was_down_is_in_force_when_it_is_ready() {
    let fleet = Fleet::new();
    let _authority = fleet.run_authority("");
    let (you, other) = (issue(&fleet, "you"), issue(&fleet, "other"));
    let gateway = fleet.run_gateway("");
    assert_served(&you, &gateway).await;
    assert!(gateway.interrupt().success());
    fleet.authority.ok(&["revoke", "you"]);
    let gateway = start_gateway(&fleet).expect("it starts");
    assert_refused(&you, &gateway, CERTIFICATE_REVOKED).await;
    assert_served(&other, &gateway).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hold_shuts_out_and_its_release_lets_in_wherever_the_gateway_is() {
    let fleet = Fleet::new();
    let _authority = fleet.run_authority("");
    let gateway = fleet.run_gateway("");
    let (you, other) = (issue(&fleet, "you"), issue(&fleet, "other"));
    let hold = ["--reason", "certificate-hold", "--wait"];
    for name in ["you", "other"] {
        (fleet.authority).ok(&[&["revoke", name], &hold[..]].concat());
    }
    assert_refused(&you, &gateway, CERTIFICATE_REVOKED).await;
    fleet.authority.ok(&["release", "you", "--wait"]);
    assert_served(&you, &gateway).await;
    assert_refused(&other, &gateway, CERTIFICATE_REVOKED).await;

    // Released while the gateway was down: it learns so when it begins, from the messages that it missed.
    assert!(gateway.interrupt().success());
    fleet.authority.ok(&["release", "other"]);
    let gateway = start_gateway(&fleet).expect("it starts");
    assert_served(&other, &gateway).await;
    assert_served(&you, &gateway).await;
}

#[test]
fn first_start_needs_the_authority_and_says_so() {
    let fleet = Fleet::new();
    let answer = fleet.gateway_fails("gw-1");
    answer.assert_fault(
        3,
        &[
            "has heard nothing from its authority yet",
            "connection-refused",
            "gateway.feed.url",
        ],
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn node_that_is_stopped_or_gone_is_unconfirmed_until_it_is_heard_of() {
    let fleet = Fleet::new();
    let _authority = fleet.run_authority("");
    let gateway = fleet.run_gateway("");
    let wait = ["--wait", "--wait-timeout", "1s"];
    let revoke = |name: &str| {
        issue(&fleet, name);
        fleet
            .authority
            .run(&[&["revoke", name, "--json"], &wait[..]].concat())
    };

    gateway.signal(Signal::STOP);
    let stopped = revoke("a");
    assert_eq!(stopped.code, Some(1), "{stopped:#?}");
    assert_unconfirmed(&stopped.stdout, true);
    gateway.signal(Signal::CONT);
    fleet.authority.ok(&["revoke", "a", "--wait"]);

    gateway.kill();
    let gone = revoke("b");
    assert_eq!(gone.code, Some(1), "{gone:#?}");
    assert_unconfirmed(&gone.stdout, true);

    // Back again it has it from its beginning.
    let gateway = start_gateway(&fleet).expect("it starts");
    fleet.authority.ok(&["revoke", "b", "--wait"]);
    // One that ends in order is waited for no more.
    assert!(gateway.interrupt().success());
    let left = revoke("c");
    assert_eq!(left.code, Some(0), "{left:#?}");
    assert_unconfirmed(&left.stdout, false);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn node_that_is_gone_is_not_forgotten_by_a_restart_of_the_authority() {
    let fleet = Fleet::new();
    let authority = fleet.run_authority("");
    let gateway = fleet.run_gateway("");
    issue(&fleet, "you");
    gateway.kill();
    authority.kill();
    let _authority = fleet.run_authority("");
    let answer =
        fleet
            .authority
            .run(&["revoke", "you", "--json", "--wait", "--wait-timeout", "1s"]);
    assert_eq!(answer.code, Some(1), "{answer:#?}");
    assert_unconfirmed(&answer.stdout, true);
    // Its certificate revoked, it is nobody to wait for.
    let answer =
        fleet
            .authority
            .run(&["revoke", "gw-1", "--json", "--wait", "--wait-timeout", "1s"]);
    assert_eq!(answer.code, Some(0), "{answer:#?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn revoked_node_is_cut_off_and_not_let_in_again() {
    let fleet = Fleet::new();
    let _authority = fleet.run_authority("");
    let gateway = fleet.run_gateway("");
    fleet.authority.ok(&["revoke", "gw-1", "--wait"]);
    gateway.wait_for_log(&["cannot join the feed", "certificate-revoked"]);
    let outcome = at_feed(&fleet, &fleet.issue_at("gw-1"), "GET", "/v1/feed", None).await;
    assert!(
        matches!(outcome, Outcome::Alert(CERTIFICATE_REVOKED)),
        "{outcome:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_but_a_node_is_heard_on_the_feed_port() {
    let fleet = Fleet::new();
    let _authority = fleet.run_authority("");
    let issue = |profile: &str, name: &str| fleet.authority.issue(profile, name, &[]);
    for (profile, name) in [
        ("client", "gw-1"),
        ("server", "gw-1.example.com"),
        ("peer", "gw-1.peer.example.com"),
        ("workload", "gw-1"),
        ("device", "gw-1"),
    ] {
        let outcome = at_feed(&fleet, &issue(profile, name), "GET", "/v1/feed", None).await;
        assert!(
            matches!(outcome, Outcome::Alert(_)),
            "{profile}: {outcome:?}"
        );
    }
    // From the same issuer as nodes, and no node.
    let operator = issue("operator", "alice");
    for (method, path) in [
        ("GET", "/v1/feed"),
        ("POST", "/v1/feed/acknowledgement"),
        ("POST", "/v1/feed/leave"),
        ("POST", "/v1/node/renew"),
        ("POST", "/v1/node/certificate"),
    ] {
        let outcome = at_feed(&fleet, &operator, method, path, Some(json!({}))).await;
        assert_eq!(outcome.status(), Some(403), "{path}: {outcome:?}");
        assert!(outcome.text().contains("profile operator"), "{outcome:?}");
    }
    // The port's own certificate, stolen with its key, is no node's either: it is for servers.
    let own = Issued::at(fleet.authority.state().join("feed"));
    let outcome = at_feed(&fleet, &own, "GET", "/v1/feed", None).await;
    assert!(matches!(outcome, Outcome::Alert(_)), "{outcome:?}");
}

#[test]
fn nobody_is_given_a_certificate_of_the_authority_itself() {
    let installation = Installation::new();
    let answer = installation.run(&["issue", "authority", "ca.example.com"]);
    assert_eq!(answer.code, Some(2), "{answer:#?}");
    assert!(answer.stderr.contains("authority"), "{answer:#?}");
    let answer = installation.run(&["issue", "node", "gw-1", "--dns", "ca.example.com"]);
    assert_eq!(answer.code, Some(2), "{answer:#?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn node_speaks_for_itself_only_and_of_what_it_was_told() {
    let fleet = Fleet::new();
    let _authority = fleet.run_authority("");
    let gateway = fleet.run_gateway("");
    let other = fleet.issue_node("gw-2");
    issue(&fleet, "you");
    gateway.signal(Signal::STOP);
    let said = |place: u64, sequence: u64| {
        json!({
            "place": place, "history": history(&fleet), "sequence": sequence,
            "sessions_declined": 0, "connections_cut": 0,
        })
    };
    let sequence = u64::MAX >> 1;
    for place in [0, 1, 2] {
        // It has no place at all.
        let outcome = at_feed(
            &fleet,
            &other,
            "POST",
            "/v1/feed/acknowledgement",
            Some(said(place, sequence)),
        )
        .await;
        assert_eq!(outcome.status(), Some(409), "{outcome:?}");
    }
    // There is no field for a name to lie in.
    let mut named = said(1, 1);
    named["node"] = json!("gw-1");
    let outcome = at_feed(
        &fleet,
        &other,
        "POST",
        "/v1/feed/acknowledgement",
        Some(named),
    )
    .await;
    assert_eq!(outcome.status(), Some(422), "{outcome:?}");
    let answer =
        fleet
            .authority
            .run(&["revoke", "you", "--json", "--wait", "--wait-timeout", "1s"]);
    assert_eq!(answer.code, Some(1), "{answer:#?}");
    assert_unconfirmed(&answer.stdout, true);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn authority_that_is_not_this_nodes_is_not_heard() {
    let fleet = Fleet::new();
    let authority = fleet.run_authority("");
    let gateway = fleet.run_gateway("");
    let you = issue(&fleet, "you");
    assert_served(&you, &gateway).await;
    authority.kill();
    // Another authority on the same port, with everything that a name and a history could say.
    let impostor = Fleet::new();
    let _impostor = impostor.authority.serve(&format!(
        r#"
[authority.feed]
address = "{}"

[gateway]
metrics_address = "127.0.0.1:0"

[[gateway.listener]]
address = "127.0.0.1:0"

[[gateway.listener.route]]
upstream = "demo"
allow = ["any-trusted"]
"#,
        fleet.feed_address()
    ));
    // Both call their CAs alike; the keys tell them apart.
    gateway.wait_for_log(&["cannot join the feed", "same-name-different-key-ca"]);
    assert_served(&you, &gateway).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn feed_that_goes_back_is_refused() {
    let fleet = Fleet::new();
    let before = fleet.authority.path("before");
    copy(&fleet.authority.state(), &before);
    let authority = fleet.run_authority("");
    let gateway = fleet.run_gateway("");
    let you = issue(&fleet, "you");
    fleet.authority.ok(&["revoke", "you", "--wait"]);
    assert!(authority.interrupt().success());
    // The inventory of an hour ago, come back as if nothing had happened.
    fs::remove_dir_all(fleet.authority.state()).expect("ours");
    copy(&before, &fleet.authority.state());
    let _authority = fleet.run_authority("");
    gateway.wait_for_log(&["cannot join the feed", "feed goes back"]);
    assert_refused(&you, &gateway, CERTIFICATE_REVOKED).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn state_that_was_altered_is_not_served_by() {
    let fleet = Fleet::new();
    let _authority = fleet.run_authority("");
    let gateway = fleet.run_gateway("");
    for name in ["you", "other"] {
        issue(&fleet, name);
        fleet.authority.ok(&["revoke", name, "--wait"]);
    }
    gateway.kill();
    let path = fleet.feed_file();
    let whole = fs::read_to_string(&path).expect("it is kept");
    let revoked = |line: &&str| line.contains("\"type\":\"revoked");
    let first = whole.lines().find(revoked).expect("it is in there");
    let without = whole.replace(&format!("{first}\n"), "");
    assert!(without.lines().any(|line| revoked(&line)), "the other is");
    fs::write(&path, without).expect("ours");
    let answer = fleet.gateway_fails("gw-1");
    answer.assert_fault(3, &["altered or damaged", "move", "hears everything anew"]);
    // With the last line cut off as by a crash it starts, and hears what it lacks.
    fs::write(&path, &whole[..whole.len() - 10]).expect("ours");
    start_gateway(&fleet).expect("a torn end is no damage");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn at_the_end_of_the_feeds_life_nobody_is_admitted_until_it_is_heard_again() {
    let fleet = Fleet::new();
    let authority = fleet.run_authority("");
    let toml = fleet.gateway_toml("gw-1", "feed_life = \"15s\"");
    let asking = toml[toml.find("[[gateway.listener]]").expect("there is one")..]
        .replace("feed_life", "client_certificate = \"request\"\nfeed_life");
    let gateway = fleet.gateway.serve(&(toml + &asking));
    let you = issue(&fleet, "you");
    let client = you.client(Protocol::Http1Tls13);
    let mut open = Connection::open(&client, Protocol::Http1Tls13, gateway.gateway())
        .await
        .expect("let in");
    assert_eq!(open.get("/").await.expect("open").0, 200);
    authority.signal(Signal::STOP);

    gateway.wait_for_log(&["WARN", "the feed is not confirmed"]);
    assert_served(&you, &gateway).await;
    let status = fleet.gateway.json(&["status"]);
    assert!(
        status["risks"].to_string().contains("feed_life"),
        "{status}"
    );

    gateway.wait_for_log(&["ERROR", "trust-data-stale"]);
    for mode in [Mode::Require, Mode::Request] {
        for protocol in Protocol::HTTP {
            let outcome = attempt_as(&you, protocol, listener(&gateway, mode)).await;
            let Expected::Alert(alert, cause) = expected(mode, protocol, Attack::StaleFeed) else {
                panic!("the table says an alert");
            };
            assert!(
                matches!(outcome, Outcome::Alert(sent) if sent == alert as u8),
                "{mode:?} {protocol:?}: {outcome:?}"
            );
            assert_eq!(cause.slug(), "trust-data-stale");
        }
    }
    let resumed = client.request(gateway.gateway(), get_root()).await;
    assert!(
        matches!(resumed, Outcome::Alert(ACCESS_DENIED)),
        "{resumed:?}"
    );
    let _ = open.ended().await;
    gateway.wait_for_log(&["refus", "trust-data-stale"]);

    authority.signal(Signal::CONT);
    gateway.wait_for_log(&["the feed is confirmed again"]);
    assert_served(&you, &gateway).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn listeners_certificate_is_issued_and_renewed_by_the_feed_and_drops_no_connection() {
    let fleet = Fleet::new();
    let authority = fleet.run_authority("[authority.node.gw-1]\nnames = [\"localhost\"]\n");
    let gateway = fleet.gateway.serve(&fleet.certified_toml("localhost"));
    let you = issue(&fleet, "you");
    // A resumed session shows the certificate that it began with.
    let connect = async || {
        let client = you.client(Protocol::Http1Tls13);
        Connection::open(&client, Protocol::Http1Tls13, gateway.gateway()).await
    };
    let mut open = connect().await.expect("let in");
    let first = open.handshake().server.clone();
    assert_eq!(open.get("/").await.expect("open").0, 200);

    let leaf = fleet.gateway.state().join("gateway").join("cert.pem");
    let shown = fleet
        .authority
        .json(&["show", crate::installation::text(&leaf)]);
    assert!(shown.to_string().contains("dns:localhost"), "{shown}");
    assert!(shown.to_string().contains("gw-1"), "who asked: {shown}");
    fleet
        .authority
        .ok(&["revoke", crate::installation::text(&leaf), "--wait"]);
    gateway.wait_for_log(&["certificate renewed", "it was revoked"]);

    let mut second = connect().await.expect("let in");
    assert_ne!(second.handshake().server, first);
    assert_eq!(second.get("/").await.expect("open").0, 200);
    assert_eq!(open.get("/").await.expect("still open").0, 200);

    // It starts again without its authority, by what it has on disk.
    authority.kill();
    gateway.kill();
    let gateway = start_gateway(&fleet).expect("it starts");
    assert_served(&you, &gateway).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn node_gets_no_certificate_for_a_name_that_is_not_bound_to_it() {
    let fleet = Fleet::new();
    let _authority = fleet.run_authority(
        "[authority.node.gw-1]\nnames = [\"api.example.com\"]\n[authority.node.gw-2]\nnames = [\"other.example.com\"]\n",
    );
    fleet.gateway.write(
        "countersign.toml",
        &fleet.certified_toml("other.example.com"),
    );
    let error = start_gateway(&fleet).err().expect("it is refused");
    for words in ["dns:other.example.com", "not bound to it"] {
        assert!(error.contains(words), "{words} in {error}");
    }
    let node = fleet.issue_at("gw-1");
    for (names, status) in [
        (json!(["dns:api.example.com"]), 200),
        (json!(["dns:api.example.com", "dns:other.example.com"]), 403),
        (json!(["dns:*.example.com"]), 403),
        (json!(["ip:127.0.0.1"]), 403),
        (json!(["spiffe://countersign.internal/api"]), 403),
        (json!(["api.example.com"]), 400),
        (json!([]), 400),
    ] {
        let body = json!({ "csr": pki::request(), "names": names });
        let outcome = at_feed(&fleet, &node, "POST", "/v1/node/certificate", Some(body)).await;
        let got = outcome.status();
        // A name that does not fit a server is told as that.
        let is_refused = status == 403 && matches!(got, Some(403 | 422));
        assert!(got == Some(status) || is_refused, "{names}: {outcome:?}");
    }
    let log = fleet.authority.ok(&["audit", "export"]);
    assert!(
        log.lines()
            .any(|line| line.contains("refuse") && line.contains("gw-1")),
        "{log}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn node_renews_its_own_certificate_and_nothing_else() {
    let fleet = Fleet::new();
    fleet.authority.ok(&[
        "issue",
        "node",
        "gw-1",
        "--ttl",
        "24s",
        "--out",
        crate::installation::text(&fleet.node_folder("gw-1")),
        "--force",
    ]);
    let _authority = fleet.run_authority("");
    let gateway = fleet.run_gateway("");
    gateway.wait_for_log(&["this node's certificate is renewed"]);
    // The first one ends, and the feed with it; the next one is heard by.
    gateway.wait_for_log(&["the feed is joined again"]);
    let you = issue(&fleet, "you");
    fleet.authority.ok(&["revoke", "you", "--wait"]);
    assert_refused(&you, &gateway, CERTIFICATE_REVOKED).await;

    let node = fleet.issue_node("gw-2");
    let body = json!({ "csr": pki::request() });
    let renewed = at_feed(&fleet, &node, "POST", "/v1/node/renew", Some(body)).await;
    assert_eq!(renewed.status(), Some(200), "{renewed:?}");
    let wishes = json!({ "csr": pki::request(), "names": ["dns:ca.example.com"] });
    let refused = at_feed(&fleet, &node, "POST", "/v1/node/renew", Some(wishes)).await;
    assert_eq!(refused.status(), Some(422), "{refused:?}");
    let garbage = json!({ "csr": "x".repeat(100_000) });
    let refused = at_feed(&fleet, &node, "POST", "/v1/node/renew", Some(garbage)).await;
    assert_eq!(refused.status(), Some(413), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn node_gets_no_more_certificates_than_it_can_use() {
    let fleet = Fleet::new();
    let _authority = fleet.run_authority("");
    let (node, other) = (fleet.issue_at("gw-1"), fleet.issue_node("gw-2"));
    let ask = async |who: &Issued| {
        let body = json!({ "csr": pki::request() });
        let outcome = at_feed(&fleet, who, "POST", "/v1/node/renew", Some(body)).await;
        outcome.status().expect("an answer")
    };
    let mut answers = Vec::new();
    for _ in 0..40 {
        answers.push(ask(&node).await);
    }
    let got = answers.iter().filter(|status| **status == 200).count();
    // One a minute is added.
    assert!((32..40).contains(&got), "{answers:?}");
    assert!(answers.ends_with(&[429]), "{answers:?}");
    assert_eq!(ask(&other).await, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn node_holds_so_many_connections_and_leaves_those_of_others_alone() {
    let fleet = Fleet::new();
    let _authority = fleet.run_authority("");
    let (node, other) = (fleet.issue_at("gw-1"), fleet.issue_node("gw-2"));
    let protocol = Protocol::Http1Tls13;
    let ask = async |who: &Issued| {
        let client = fleet.at_feed_port(who);
        let mut connection = Connection::open(&client, protocol, fleet.feed_address())
            .await
            .expect("a handshake");
        let (status, said) = connection.get("/v1/nothing").await.expect("an answer");
        (connection, status, said)
    };
    let mut open = Vec::new();
    for _ in 0..32 {
        let (connection, status, said) = ask(&node).await;
        assert_eq!(status, 404, "{said}");
        open.push(connection);
    }
    let (refused, status, said) = ask(&node).await;
    assert_eq!(status, 429, "{said}");
    assert!(said.contains("node gw-1 has 32 connections open"), "{said}");
    // It is told so once, and keeps none.
    let _ = refused.ended().await;
    assert_eq!(ask(&other).await.1, 404);
    open.pop();
    let freed = async { while ask(&node).await.1 != 404 {} };
    in_time("the place of the one that has gone", freed).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn those_who_are_refused_on_the_feed_port_are_few_lines_and_can_be_explained() {
    let fleet = Fleet::new();
    let authority = fleet.run_authority("");
    let (stranger, operator) = (
        issue(&fleet, "you"),
        fleet.authority.issue("operator", "alice", &[]),
    );
    for _ in 0..20 {
        for who in [&stranger, &operator] {
            let outcome = at_feed(&fleet, who, "GET", "/v1/feed", None).await;
            assert_ne!(outcome.status(), Some(200), "{outcome:?}");
        }
    }
    let found = fleet
        .authority
        .json(&["explain", "--from", "127.0.0.1", "--since", "5m"])
        .to_string();
    for words in [
        "authority:feed",
        "client-ca-not-trusted",
        "profile operator",
    ] {
        assert!(found.contains(words), "{words} in {found}");
    }
    let log = authority.log();
    let lines = log.lines().filter(|line| line.contains("authority:feed"));
    assert_eq!(lines.count(), 2, "{log}");
}

/// In the order of the configuration.
fn listener(gateway: &Process, mode: Mode) -> SocketAddr {
    let at = usize::from(mode != Mode::Require);
    let address = gateway.ready()["listeners"][at].as_str();
    address.expect("an address").parse().expect("an address")
}

fn issue(fleet: &Fleet, name: &str) -> Issued {
    fleet.authority.issue("client", name, &[])
}

fn node_of<'a>(receipt: &'a Value, name: &str) -> &'a Value {
    let nodes = receipt["nodes"].as_array().expect("nodes");
    let node = nodes.iter().find(|node| node["node"] == name);
    node.unwrap_or_else(|| panic!("{name} in {receipt}"))
}

#[track_caller]
fn assert_unconfirmed(receipt: &str, expected: bool) {
    let receipt: Value = serde_json::from_str(receipt).expect("JSON");
    let unconfirmed = receipt["unconfirmed"].as_array().expect("a list");
    assert_eq!(
        unconfirmed.iter().any(|node| node == "gw-1"),
        expected,
        "{receipt}"
    );
}

fn history(fleet: &Fleet) -> String {
    let kept = fs::read_to_string(fleet.feed_file()).expect("it is kept");
    let begin = kept.find("\"history\":\"").expect("a head") + "\"history\":\"".len();
    kept[begin..].split('"').next().expect("a name").to_owned()
}

fn get_root() -> http::Request<Full<bytes::Bytes>> {
    http::Request::get("/")
        .header("host", "localhost")
        .body(Full::default())
        .expect("a request")
}

async fn at_feed(
    fleet: &Fleet,
    who: &Issued,
    method: &str,
    path: &str,
    body: Option<Value>,
) -> Outcome {
    let body = body.map(|body| body.to_string()).unwrap_or_default();
    let request = http::Request::builder()
        .method(method)
        .uri(path)
        .header("host", "localhost")
        .header("content-type", "application/json")
        .body(Full::from(body))
        .expect("a request");
    fleet
        .at_feed_port(who)
        .request(fleet.feed_address(), request)
        .await
}

fn copy(from: &std::path::Path, to: &std::path::Path) {
    let copied = std::process::Command::new("cp")
        .args([
            "-a",
            crate::installation::text(from),
            crate::installation::text(to),
        ])
        .status()
        .expect("cp runs");
    assert!(copied.success());
}
