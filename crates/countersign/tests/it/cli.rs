//! The command line as people and programs meet it: the inventory, what is explained, and how everything reads.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Command;

use countersign_testkit::bypass::Protocol;
use countersign_testkit::client::Client;
use serde_json::Value;

use crate::http::Connection;
use crate::installation::{Answer, Installation, countersign, text};
use crate::json::array;
use crate::peers::peer;
use crate::snapshot::snapshot;

#[test]
fn commands_answer_alike_whether_up_runs_or_not() {
    let installation = Installation::new();
    let idle = conversation(&installation, "idle");
    let gateway = installation.up(&[]);
    let running = conversation(&installation, "live");
    for ((what, idle), (_, running)) in idle.iter().zip(&running) {
        assert_eq!(shape(idle), shape(running), "{what}");
    }
    drop(gateway);
}

/// Every command that answers in JSON, once.
fn conversation(installation: &Installation, name: &str) -> Vec<(&'static str, Value)> {
    let out = installation.path(name);
    let out = text(&out).to_owned();
    let issued = installation.json(&["issue", "client", name, "--out", &out]);
    let certificate = format!("{out}/cert.pem");
    let first_key = fs::read(format!("{out}/key.pem")).expect("issued");
    let listed = installation.certificates(&[]);
    let listed = listed
        .iter()
        .find(|it| it["name"].as_str().is_some_and(|it| it.ends_with(name)));
    let listed = listed
        .cloned()
        .unwrap_or_else(|| panic!("{name} is in the list"));
    let shown = installation.json(&["show", name]);
    assert_eq!(shown["certificates"][0]["serial"], issued["serial"]);
    assert_eq!(listed["serial"], issued["serial"]);
    let inspected: Value = inspect(&certificate);
    let renewed = installation.json(&["renew", &out]);
    assert!(renewed["serial"] != issued["serial"]);
    assert!(
        fs::read(format!("{out}/key.pem")).expect("renewed") != first_key,
        "a renewal has a new key"
    );
    let receipt = installation.json(&["revoke", issued["serial"].as_str().expect("a serial")]);
    assert_eq!(receipt["revoked"][0]["serial"], issued["serial"]);
    let expiring = installation.certificates(&["--expiring", "1000d"]);
    assert!(expiring.iter().any(|it| it["serial"] == renewed["serial"]));
    vec![
        ("issue", issued),
        ("list", listed),
        ("show", shown),
        ("inspect", inspected),
        ("renew", renewed),
    ]
}

#[test]
fn status_is_one_word_everywhere_and_unknown_ones_are_seen() {
    let installation = Installation::new();
    let unsure = installation.issue("client", "unsure", &["--ttl", "2h"]);
    let shown = installation.json(&["show", "unsure"]);
    assert_eq!(shown["certificates"][0]["status"], "live");
    let status = |arguments: &[&str]| {
        let answer = installation.run(&[&["status"], arguments].concat());
        assert_eq!(answer.code, Some(1), "nothing serves: {answer:#?}");
        answer.stdout
    };
    assert!(!status(&[]).contains("unknown"));
    // What a crash between intent and signature leaves.
    let inventory =
        rusqlite::Connection::open(installation.state().join("inventory.db")).expect("a database");
    inventory
        .execute_batch(
            "INSERT INTO intent SELECT id, der FROM certificate WHERE id IN (SELECT entry_id FROM name WHERE value = 'unsure');
             DELETE FROM certificate WHERE id IN (SELECT id FROM intent);
             UPDATE entry SET state = 'unknown', fingerprint = NULL
             WHERE id IN (SELECT entry_id FROM name WHERE value = 'unsure');",
        )
        .expect("deleted");
    inventory.close().expect("closed");
    drop(unsure);
    let names = |arguments: &[&str]| -> Vec<String> {
        let listed = installation.certificates(arguments);
        let named = listed.iter().filter_map(|it| it["name"].as_str());
        named.map(str::to_owned).collect()
    };
    assert_eq!(names(&["--status", "unknown"]), ["cn:unsure"]);
    assert_eq!(names(&["--expiring", "3h"]), ["cn:unsure"]);
    assert!(!names(&["--status", "live"]).contains(&"cn:unsure".to_owned()));
    assert!(status(&[]).contains(", 1 unknown"), "{}", status(&[]));
    let counted: Value = serde_json::from_str(&status(&["--json"])).expect("JSON");
    let counted = &counted["authority"]["certificates"];
    assert_eq!(
        (&counted["live"], &counted["unknown"]),
        (&2.into(), &1.into())
    );
    let listed = installation.json(&["list"]);
    assert!(!listed.to_string().contains(r#""valid""#), "{listed}");

    // The same word in the log, on the socket, and in the description of the API.
    installation.issue("client", "gone", &[]);
    installation.ok(&["revoke", "gone", "--yes"]);
    let log = installation.ok(&["audit", "export"]);
    assert!(log.contains(r#""before":"live""#), "{log}");
    assert!(!log.contains(r#""valid""#), "{log}");
    let serving = installation.up(&[]);
    let ask = |status: &str| {
        let socket = installation.state().join("admin.sock");
        let mut stream = UnixStream::connect(socket).expect("it serves");
        let request = format!(
            "GET /v1/certificates?status={status} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).expect("written");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer");
        answer
    };
    for known in ["live", "held", "revoked", "expired", "unknown"] {
        assert!(
            ask(known).starts_with("HTTP/1.1 200"),
            "{known}: {}",
            ask(known)
        );
    }
    assert!(
        ask("live").contains(r#""status":"live""#),
        "{}",
        ask("live")
    );
    assert!(ask("valid").starts_with("HTTP/1.1 400"), "{}", ask("valid"));
    drop(serving);
}

#[test]
fn list_check_says_whether_anything_ends_soon() {
    let installation = Installation::new();
    installation.issue("client", "brief", &["--ttl", "2h"]);
    assert_eq!(
        installation
            .run(&["list", "--expiring", "3h", "--check"])
            .code,
        Some(1)
    );
    assert_eq!(
        installation
            .run(&["list", "--expiring", "1h", "--check"])
            .code,
        Some(0)
    );
}

#[test]
fn inspect_decodes_every_kind_of_file() {
    let Some(openssl) = peer("inspect_decodes_every_kind_of_file", "openssl") else {
        return;
    };
    let installation = Installation::new();
    let issued = installation.issue("workload", "/ns/prod/api", &[]);
    let request = installation.path("request.csr");
    let mut make = Command::new(&openssl);
    make.args([
        "req",
        "-new",
        "-nodes",
        "-subj",
        "/CN=asked",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
    ]);
    Answer::of(make.args([
        "-keyout",
        text(&installation.path("request.key")),
        "-out",
        text(&request),
    ]));
    let crl = installation.path("root.crl");
    installation.ok(&["ca", "crl", "--root", "--out", text(&crl)]);
    let key_text = fs::read_to_string(issued.key()).expect("issued");
    let secret = key_text.lines().nth(1).expect("base64");
    for (file, words) in [
        (
            &issued.certificate(),
            &["spiffe://countersign.internal/ns/prod/api", "Issuing CA"][..],
        ),
        (&issued.ca(), &["Root CA"]),
        (&issued.key(), &["P-256"]),
        (&request, &["asked"]),
        (&crl, &["Root CA"]),
    ] {
        let for_people = countersign(&installation.path(""), &["inspect", text(file)]);
        assert_eq!(for_people.code, Some(0), "{for_people:#?}");
        let for_programs = inspect(text(file)).to_string();
        for word in words {
            assert!(for_people.stdout.contains(word), "{word}: {for_people:#?}");
            assert!(for_programs.contains(word), "{word}: {for_programs}");
        }
        assert!(
            !for_people.stdout.contains(secret) && !for_programs.contains(secret),
            "a key is described, not shown"
        );
    }
    for (name, bytes) in [("empty", ""), ("garbage", "nothing that anybody knows")] {
        let file = installation.write(name, bytes);
        let answer = countersign(&installation.path(""), &["inspect", text(&file)]);
        assert!(matches!(answer.code, Some(1 | 2)), "{answer:#?}");
        assert!(
            answer.stderr.starts_with("error: ") && answer.stderr.contains(name),
            "{answer:#?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refusals_are_explained_by_id_and_by_source_before_and_after_a_restart() {
    let installation = Installation::new();
    let toml = "[gateway]\nmetrics_address = \"127.0.0.1:0\"\n[[gateway.listener]]\naddress = \"127.0.0.1:0\"\n\
                [[gateway.listener.route]]\nupstream = \"demo\"\nallow = [{ cn = \"order-service\" }]\n";
    let gateway = installation.serve(toml);
    let near = installation.issue("client", "order-svc", &[]);
    let mut connection = Connection::open(
        &near.client(Protocol::Http2Tls13),
        Protocol::Http2Tls13,
        gateway.gateway(),
    )
    .await
    .expect("the certificate is good");
    let (status, problem) = connection.get("/orders").await.expect("an answer");
    assert_eq!(status, 403);
    let problem: Value = serde_json::from_str(&problem).expect("application/problem+json");
    let id = problem["refusal_id"].as_str().expect("an id").to_owned();
    for detail in ["order-service", "order-svc", "identity-not-allowed"] {
        assert!(
            !problem.to_string().contains(detail),
            "the client is told no details: {problem}"
        );
    }
    let nobody = Client::new(&near.root(), None, Protocol::Http1Tls13, "localhost");
    let mut refused = Connection::open(&nobody, Protocol::Http1Tls13, gateway.gateway())
        .await
        .expect("TLS 1.3 refuses later");
    assert!(refused.get("/").await.is_err());
    gateway.wait_for_log(&["client-cert-not-sent"]);

    let check = || {
        let explained = installation.ok(&["explain", &id]);
        for words in [
            "identity-not-allowed",
            "order-service",
            "order-svc",
            "/orders",
            "127.0.0.1",
        ] {
            assert!(explained.contains(words), "{words}: {explained}");
        }
        let from = installation.json(&["explain", "--from", "127.0.0.1", "--since", "5m"]);
        let causes: Vec<&str> = array(&from)
            .iter()
            .filter_map(|it| it["cause"].as_str())
            .collect();
        assert_eq!(
            causes,
            ["client-cert-not-sent", "identity-not-allowed"],
            "{from}"
        );
        let finding = &from[1]["finding"];
        assert_eq!(finding["cause"], "identity-not-allowed", "{from}");
        assert_eq!(finding["side"], "policy", "{from}");
        assert_eq!(finding["severity"], "fault", "{from}");
        assert_eq!(from[0]["finding"]["side"], "client", "{from}");
        snapshot("explain", &installation, &explained);
    };
    // Written off the data plane: the restart is what makes sure that it is on disk.
    assert!(gateway.interrupt().success());
    check();
    let gateway = installation.serve(toml);
    check();
    drop(gateway);
    let unknown = installation.run(&["explain", "--from", "192.0.2.1", "--since", "5m"]);
    unknown.assert_fault(1, &["192.0.2.1"]);
}

#[test]
fn answers_and_failures_read_as_they_were_reviewed() {
    let installation = Installation::empty();
    let take = |name: &str, arguments: &[&str]| {
        let answer = installation.run(arguments);
        let code = answer
            .code
            .map_or("killed".to_owned(), |code| code.to_string());
        let said = format!(
            "exit code {code}\n--- stdout\n{}--- stderr\n{}",
            answer.stdout, answer.stderr
        );
        snapshot(name, &installation, &said);
    };
    take("list-uninitialised", &["list"]);
    take(
        "init",
        &[
            "init",
            "--subject",
            "O=Example",
            "--trust-domain",
            "example.test",
        ],
    );
    take("init-again", &["init"]);
    take("status-idle", &["status"]);
    take("list-after-init", &["list"]);
    take("issue", &["issue", "client", "partner"]);
    take("issue-again", &["issue", "client", "partner"]);
    take(
        "issue-json",
        &[
            "issue",
            "server",
            "api.example.test",
            "--ip",
            "10.0.0.1",
            "--json",
        ],
    );
    take(
        "issue-workload",
        &["issue", "workload", "/ns/prod/api", "--ttl", "1h"],
    );
    take("issue-no-name", &["issue", "server", "not a name"]);
    take(
        "issue-foreign-trust-domain",
        &["issue", "workload", "spiffe://elsewhere.example/api"],
    );
    take("list", &["list"]);
    take("list-json", &["list", "--json"]);
    take("show", &["show", "partner"]);
    take("show-unknown", &["show", "nobody"]);
    take("renew", &["renew", "partner"]);
    take("renew-you", &["renew", "you"]);
    take("renew-unknown", &["renew", "nobody", "--out", "nobody"]);
    take(
        "revoke",
        &["revoke", "api.example.test", "--reason", "superseded"],
    );
    take("revoke-again", &["revoke", "api.example.test"]);
    take("revoke-unknown", &["revoke", "nobody"]);
    take("revoke-unknown-json", &["revoke", "nobody", "--json"]);
    take("renew-revoked", &["renew", "api.example.test"]);
    take("explain-unknown", &["explain", "--from", "192.0.2.1"]);
    let inspected = countersign(&installation.path(""), &["inspect", "partner/cert.pem"]);
    snapshot("inspect-certificate", &installation, &inspected.all());
    let inspected = countersign(&installation.path(""), &["inspect", "partner/key.pem"]);
    snapshot("inspect-key", &installation, &inspected.all());
    let gateway = installation.up(&[]);
    take("status-running", &["status"]);
    take("revoke-wait", &["revoke", "partner", "--wait"]);
    take("up-twice", &["up", "--listen", "127.0.0.1:0"]);
    drop(gateway);
    take(
        "up-upstream-malformed",
        &["up", "--upstream", "localhost:3000"],
    );
}

/// Which keys an answer has, whatever their values.
fn shape(value: &Value) -> Value {
    match value {
        Value::Array(all) => Value::Array(all.first().map(shape).into_iter().collect()),
        Value::Object(fields) => fields
            .iter()
            .map(|(key, value)| (key.clone(), shape(value)))
            .collect(),
        Value::String(_) => "text".into(),
        Value::Number(_) => "number".into(),
        other => other.clone(),
    }
}

fn inspect(file: &str) -> Value {
    let answer = countersign(Path::new("/"), &["inspect", file, "--json"]);
    assert_eq!(answer.code, Some(0), "{answer:#?}");
    serde_json::from_str(&answer.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", answer.stdout))
}
