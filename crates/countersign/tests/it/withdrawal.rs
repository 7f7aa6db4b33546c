//! Holds and releases on every path, whole radii with their look before and their question, and requests whose answer was
//! lost.

use std::io::Write;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use countersign_testkit::bypass::Protocol;
use countersign_testkit::pki;
use countersign_testkit::upstream::Upstream;
use serde_json::{Value, json};

use crate::durable::{head, issue_under};
use crate::http::Connection;
use crate::installation::{Installation, text};
use crate::json::array;
use crate::revocation::{assert_refused_as_revoked, for_client, open, warmed_up};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn held_client_is_refused_on_every_path_and_a_released_one_let_in_and_resumed() {
    for protocol in [
        Protocol::Http1Tls12,
        Protocol::Http1Tls13,
        Protocol::Http2Tls13,
    ] {
        let installation = Installation::new();
        let upstream = Upstream::start();
        let gateway = installation.up_before(upstream.address());
        let partner = installation.issue("client", "partner", &[]);
        let client = partner.client(protocol);
        let address = gateway.gateway();
        let mut connection = warmed_up(&client, protocol, address).await;

        let receipt = installation.json(&[
            "revoke",
            "partner",
            "--reason",
            "certificate-hold",
            "--wait",
        ]);
        assert_eq!(receipt["revoked"][0]["reason"], "certificate-hold");
        for client in [client.without_sessions(), client.clone()] {
            let answer = client.request(address, for_client(protocol, "/held")).await;
            assert_refused_as_revoked(&answer);
        }
        assert!(connection.get("/held").await.is_err());
        assert!(!upstream.received_text().contains("/held"));
        let renewed = installation.run(&["renew", "partner", "--out", "again"]);
        assert_eq!(renewed.code, Some(1), "{renewed:#?}");
        assert!(renewed.stderr.contains("on hold"), "{renewed:#?}");

        let receipt = installation.json(&["release", "partner", "--wait"]);
        assert_eq!(
            (&receipt["released_count"], &receipt["unconfirmed"]),
            (&json!(1), &json!([]))
        );
        let client = client.without_sessions();
        let mut again = open(&client, protocol, address).await;
        assert!(
            !again.handshake().resumed,
            "{protocol:?}: what a hold took away stays away"
        );
        assert_eq!(again.get("/released").await.expect("open").0, 200);
        let fresh = partner.client(protocol);
        drop(warmed_up(&fresh, protocol, address).await);
        let resumed = Connection::open(&fresh, protocol, address)
            .await
            .expect("let in");
        assert!(
            resumed.handshake().resumed,
            "{protocol:?}: new sessions are resumed"
        );

        // For good: nothing lets it in any more.
        installation.ok(&["revoke", "partner", "--wait"]);
        let refused = installation.run(&["release", "partner"]);
        assert_eq!(refused.code, Some(1), "{refused:#?}");
        assert!(
            refused.stderr.contains("nothing takes back"),
            "{refused:#?}"
        );
        let answer = fresh.request(address, for_client(protocol, "/after")).await;
        assert_refused_as_revoked(&answer);
    }
}

#[test]
fn hold_survives_a_restart_and_so_does_its_end() {
    let installation = Installation::new();
    installation.issue("client", "partner", &[]);
    installation.ok(&["revoke", "partner", "--reason", "certificate-hold"]);
    let status = |expected: &str| {
        let listed = installation.certificates(&["--name", "partner"]);
        assert_eq!(listed[0]["status"], expected);
    };
    status("held");
    drop(installation.up(&[]));
    status("held");
    installation.ok(&["release", "partner"]);
    drop(installation.up(&[]));
    status("live");
    let again = installation.run(&["release", "partner"]);
    assert_eq!(again.code, Some(1), "{again:#?}");
    assert!(again.stderr.contains("is not on hold"), "{again:#?}");
    installation.ok(&["audit", "verify"]);
}

#[test]
fn filters_are_looked_at_asked_about_and_obeyed() {
    let installation = Installation::new();
    for name in ["one", "two", "three"] {
        installation.issue("client", name, &[]);
        installation.ok(&["label", name, "--label", "env=test"]);
    }
    installation.issue("client", "other", &[]);
    // `init` has issued two.
    let live = || installation.certificates(&["--status", "live"]).len();

    let seen = installation.json(&["revoke", "--label", "env=test", "--dry-run"]);
    assert_eq!(
        (&seen["count"], &seen["identities"]),
        (&json!(3), &json!(3))
    );
    assert_eq!(array(&seen["certificates"]).len(), 3);
    let shown = installation.ok(&["revoke", "--label", "env=test", "--dry-run"]);
    assert!(
        shown.starts_with("3 certificates of 3 identities would change\n"),
        "{shown}"
    );
    assert_eq!(live(), 6);

    for unasked in [
        &["revoke", "--label", "env=test"][..],
        &["revoke", "--profile", "client"],
        &["revoke", "--issuer", "Countersign Issuing CA", "--json"],
        &["revoke", "--owner", "nobody"],
        &["release", "--name", "o*"],
    ] {
        let answer = installation.run(unasked);
        assert_eq!(answer.code, Some(2), "{unasked:?}: {answer:#?}");
        assert!(answer.stderr.contains("--yes"), "{unasked:?}: {answer:#?}");
    }
    assert_eq!(live(), 6);

    let hold = [
        "revoke",
        "--label",
        "env=test",
        "--yes",
        "--reason",
        "certificate-hold",
    ];
    assert_eq!(installation.json(&hold)["revoked_count"], 3);
    let again = installation.json(&hold);
    assert_eq!(
        (&again["revoked_count"], &again["already_revoked_count"]),
        (&json!(0), &json!(3))
    );
    // WHAT and a filter: those of WHAT that fit.
    let narrow = installation.json(&["release", "one", "--label", "env=test"]);
    assert_eq!(narrow["released_count"], 1);
    let none = installation.run(&["release", "other", "--label", "env=test"]);
    assert_eq!(none.code, Some(1), "{none:#?}");
    let rest = installation.json(&["release", "--label", "env=test", "--yes"]);
    assert_eq!(rest["released_count"], 2);
    assert_eq!(live(), 6);
    let nothing = installation.run(&["revoke", "--owner", "nobody", "--yes"]);
    assert_eq!(nothing.code, Some(1), "{nothing:#?}");
}

#[test]
fn each_filter_revokes_what_fits_and_nothing_else() {
    for (filter, value, fits) in [
        ("--profile", "server", &["dns:api.example.com"][..]),
        ("--owner", "team-a", &["cn:one"]),
        ("--name", "t*", &["cn:two"]),
        ("--san", "*.example.com", &["dns:api.example.com"]),
        ("--identity", "cn:two", &["cn:two"]),
        (
            "--issuer",
            "Countersign Issuing CA",
            &["cn:one", "cn:two", "dns:api.example.com"],
        ),
        (
            "--issued-by",
            "uid:0",
            &["cn:one", "cn:two", "dns:api.example.com"],
        ),
    ] {
        let installation = Installation::new();
        // Of `init`: what the filters mean as well is told apart by its names.
        for name in ["one", "two"] {
            installation.issue("client", name, &[]);
        }
        installation.issue("server", "api.example.com", &[]);
        // Of another issuer.
        installation.issue("operator", "alice", &[]);
        installation.ok(&["label", "one", "--owner", "team-a"]);
        let of_init = ["cn:you", "dns:localhost"];
        installation.ok(&["revoke", filter, value, "--yes"]);
        let revoked = installation.certificates(&["--status", "revoked"]);
        let mut revoked: Vec<&str> = revoked
            .iter()
            .filter_map(|certificate| certificate["name"].as_str())
            .filter(|name| !of_init.contains(name))
            .collect();
        revoked.sort_unstable();
        let mut fits = fits.to_vec();
        if filter == "--issued-by" {
            fits.insert(0, "cn:alice");
        }
        assert_eq!(revoked, fits, "{filter} {value}");
    }
}

#[test]
fn what_is_not_ours_not_there_or_our_own_is_refused_by_name() {
    let installation = Installation::new();
    let status = installation.run(&["status", "--json"]).stdout;
    let status: Value = serde_json::from_str(&status).expect("JSON");
    let fingerprint = array(&status["authority"]["issuers"])[1]["fingerprint"].clone();
    let fingerprint = fingerprint.as_str().expect("a fingerprint").to_owned();
    let unknown = "05".repeat(20);
    for (arguments, code, words) in [
        (&["revoke", &fingerprint][..], 1, "own CA certificate"),
        (&["revoke", &unknown], 1, "--unrecorded"),
        (
            &["revoke", "someone", "--unrecorded"],
            2,
            "no serial number",
        ),
        (
            &["revoke", &unknown, "--unrecorded", "--issuer", "Nobody CA"],
            1,
            "no issuer of this authority",
        ),
        (
            &[
                "revoke",
                &unknown,
                "--unrecorded",
                "--profile",
                "client",
                "--yes",
            ],
            2,
            "unrecorded certificate",
        ),
        (&["release", &unknown], 1, "no certificate"),
    ] {
        let answer = installation.run(arguments);
        assert_eq!(answer.code, Some(code), "{arguments:?}: {answer:#?}");
        assert!(answer.stderr.contains(words), "{arguments:?}: {answer:#?}");
    }
    let said = installation.ok(&["revoke", &unknown, "--unrecorded"]);
    assert!(said.contains("the inventory does not have it"), "{said}");
    let again = installation.ok(&["revoke", &unknown]);
    assert!(again.starts_with("was revoked already"), "{again}");
}

#[test]
fn answer_that_was_lost_to_a_kill_is_given_again_and_one_certificate_is_issued() {
    let installation = Installation::new();
    for kill in 0..KILLS {
        let request = pki::request();
        let name = format!("lost-{kill}");
        let body = json!({ "profile": "client", "name": name, "csr": request }).to_string();
        let key = format!("key-{kill}");
        let process = installation.up(&[]);
        let socket = process.path("state").join("admin.sock");
        let mut stream = UnixStream::connect(&socket).expect("served");
        let request = format!("{}{body}", head("/v1/issue", Some(&key), body.len()));
        stream.write_all(request.as_bytes()).expect("heard");
        // Half of the kills come when the certificate is durable and the answer not read, the others anywhere before.
        if kill % 2 == 0 {
            wait_for_certificate(&installation.state(), &name);
        } else {
            std::thread::sleep(Duration::from_millis(u64::from(kill)));
        }
        process.kill();
        drop(stream);

        let process = installation.up(&[]);
        let socket = process.path("state").join("admin.sock");
        let first = issue_under(&socket, &key, &body);
        let second = issue_under(&socket, &key, &body);
        assert_eq!(first["serial"], second["serial"]);
        drop(process);
        let of_name = installation.certificates(&["--name", &name]);
        let issued: Vec<_> = of_name.iter().filter(|it| it["status"] == "live").collect();
        assert_eq!(issued.len(), 1, "{of_name:#?}");
        assert_eq!(issued[0]["serial"], first["serial"]);
        if kill % 2 == 0 {
            assert_eq!(
                of_name.len(),
                1,
                "it was durable before the kill: {of_name:#?}"
            );
        }
    }
}

/// Until the inventory has a certificate of that name.
fn wait_for_certificate(state: &Path, name: &str) {
    let path = state.join("inventory.db");
    let flags = rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY;
    let sql = rusqlite::Connection::open_with_flags(text(&path), flags).expect("opens");
    let begun = Instant::now();
    loop {
        let found: bool = sql
            .query_row(
                "SELECT EXISTS (SELECT 1 FROM name n JOIN certificate c ON c.id = n.entry_id WHERE n.value = ?1)",
                [name],
                |row| row.get(0),
            )
            .unwrap_or(false);
        if found {
            return;
        }
        assert!(begun.elapsed() < HANG, "nothing is issued");
        std::thread::sleep(Duration::from_millis(1));
    }
}

const KILLS: u32 = 8;

/// Only catches a hang.
const HANG: Duration = Duration::from_mins(1);
