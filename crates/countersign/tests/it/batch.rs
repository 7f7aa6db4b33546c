//! Batches: judged whole before the first certificate, gone on with after any end, nothing issued twice.

use std::collections::HashSet;
use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use countersign_store::fail_point::FailPoint;
use serde_json::Value;

use crate::installation::{Answer, Installation, binary, countersign, text};
use crate::peers::peer;

/// `device-0` and so on, clients.
fn csv(count: usize) -> String {
    (0..count).fold("profile,name,email\n".to_owned(), |mut csv, number| {
        writeln!(csv, "client,device-{number},device-{number}@example.test").expect("a String");
        csv
    })
}

/// What the inventory has beside what `init` makes: the gateway's own, and the first client.
fn clients(installation: &Installation) -> Vec<Value> {
    let mut all = installation.certificates(&[]);
    all.retain(|it| it["profile"] != "server" && it["name"] != "cn:you");
    all
}

/// The lines of JSON that a batch prints, and the last, which sums up.
fn json(answer: &Answer) -> (Vec<Value>, Value) {
    let mut lines: Vec<Value> = answer
        .stdout
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
        .collect();
    let sum = lines.pop().expect("a summary");
    (lines, sum)
}

/// Every folder of a finished batch is whole, each with a certificate and a key of its own, and the inventory has no other.
fn assert_whole(installation: &Installation, out: &Path, count: usize) {
    let mut keys = HashSet::new();
    for number in 0..count {
        let folder = out.join(format!("device-{number}"));
        let read = |name: &str| {
            fs::read_to_string(folder.join(name))
                .unwrap_or_else(|error| panic!("{} {name}: {error}", folder.display()))
        };
        let mut names: Vec<_> = fs::read_dir(&folder)
            .expect("a folder")
            .map(|entry| {
                entry
                    .expect("an entry")
                    .file_name()
                    .into_string()
                    .expect("UTF-8")
            })
            .collect();
        names.sort();
        assert_eq!(names, ["ca.pem", "cert.pem", "key.pem"], "{number}");
        let mode = fs::metadata(folder.join("key.pem"))
            .expect("there")
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);
        assert!(keys.insert(read("key.pem")), "two lines have one key");
        assert_eq!(read("cert.pem").matches("BEGIN CERTIFICATE").count(), 2);
    }
    assert!(!out.join(".pending").exists());
    let issued: Vec<Value> = installation
        .certificates(&["--status", "live"])
        .into_iter()
        .filter(|it| {
            it["name"]
                .as_str()
                .is_some_and(|name| name.contains("device-"))
        })
        .collect();
    let names: HashSet<&str> = issued.iter().filter_map(|it| it["name"].as_str()).collect();
    assert_eq!(
        (issued.len(), names.len()),
        (count, count),
        "a certificate is there twice"
    );
    // The key is that of the certificate, and the certificate that of the inventory: an export looks at both.
    let last = out.join(format!("device-{}", count - 1));
    installation.ok(&["export", "pem", text(&last), "--out", "last.pem", "--force"]);
    installation.ok(&["show", text(&last.join("cert.pem"))]);
}

#[test]
fn batch_issues_every_line_once_and_a_second_run_nothing() {
    let installation = Installation::new();
    installation.write("fleet.csv", &csv(20));
    let line = ["issue", "--batch", "fleet.csv", "--out", "fleet"];
    let told = installation.ok(&line);
    assert_eq!(told, "issued 20 certificates into fleet\n");
    assert_whole(&installation, &installation.path("fleet"), 20);
    let again = installation.run(&[&line[..], &["--json"]].concat());
    assert_eq!(again.code, Some(0), "{again:#?}");
    let (lines, sum) = json(&again);
    assert!(
        lines.iter().all(|line| line["outcome"] == "already-done"),
        "{again:#?}"
    );
    assert_eq!(
        (&sum["already_done"], &sum["issued"]),
        (&20.into(), &0.into())
    );
    // Lines that are added are issued, those that are there stay.
    installation.write("fleet.csv", &csv(22));
    let (lines, sum) = json(&installation.run(&[&line[..], &["--json"]].concat()));
    assert_eq!(sum["issued"], 2);
    let issued: Vec<_> = lines
        .iter()
        .filter(|it| it["outcome"] == "issued")
        .collect();
    for line in &issued {
        for file in ["certificate", "key", "ca"] {
            let path = line[file].as_str().expect("a path");
            assert!(installation.path(path).is_file(), "{line}");
        }
    }
    assert_whole(&installation, &installation.path("fleet"), 22);
}

#[test]
fn every_bad_line_is_told_before_anything_is_issued() {
    let installation = Installation::new();
    // What the file alone shows, and what the authority alone knows.
    installation.write(
        "bad.csv",
        "profile,name,ip,ttl\nclient,good,,\nclient,,,\nclient,a,999.1.1.1,\nclient,b,,soon\nclient,c\n",
    );
    let refused = installation.run(&["issue", "--batch", "bad.csv", "--out", "out"]);
    refused.assert_fault(
        2,
        &[
            "4 lines of 5",
            "nothing was issued",
            "line 3: ",
            "line 4: ",
            "line 5: ",
            "line 6: ",
        ],
    );
    installation.write(
        "denied.csv",
        "profile,name,dns\nclient,good,\nserver,not a name,\nserver,a.example.test,*.*.example.test\nnonsense,x,\nclient,c,a\u{7}b.example\n",
    );
    let refused = installation.run(&["issue", "--batch", "denied.csv", "--out", "out"]);
    refused.assert_fault(2, &["nothing was issued"]);
    assert!(!refused.all().contains('\u{7}'), "{refused:#?}");
    installation.write(
        "denied.csv",
        "profile,name,dns\nclient,good,\nserver,not a name,\nclient,*.example.test,\nnonsense,x,\n",
    );
    let refused = installation.run(&["issue", "--batch", "denied.csv", "--out", "out"]);
    refused.assert_fault(2, &["3 lines of 4", "line 3: ", "line 4: ", "line 5: "]);
    let told = installation.run(&["issue", "--batch", "denied.csv", "--out", "out", "--json"]);
    let places: Vec<Value> = told
        .stdout
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).expect("JSON")["line"].clone())
        .collect();
    assert_eq!(places, ["line 3", "line 4", "line 5"]);
    assert!(!installation.path("out").exists());
    assert!(clients(&installation).is_empty());
}

#[test]
fn batch_cannot_ask_for_what_nobody_gets() {
    let installation = Installation::new();
    for profile in ["canary", "ocsp-responder"] {
        installation.write(
            "bad.csv",
            &format!("profile,name\nclient,good\n{profile},evil\n"),
        );
        let refused = installation.run(&["issue", "--batch", "bad.csv", "--out", "out"]);
        refused.assert_fault(2, &["line 3: ", profile, "nothing was issued"]);
    }
    assert!(clients(&installation).is_empty());
}

#[test]
fn dry_run_judges_and_makes_nothing() {
    let installation = Installation::new();
    installation.write("fleet.csv", &csv(3));
    let told = installation.ok(&[
        "issue",
        "--batch",
        "fleet.csv",
        "--out",
        "fleet",
        "--dry-run",
    ]);
    assert_eq!(
        told,
        "nothing was issued: 3 of 3 lines would be, 0 are done already\n"
    );
    assert!(!installation.path("fleet").exists());
    assert!(clients(&installation).is_empty());
    installation
        .run(&[
            "issue",
            "client",
            "x",
            "--batch",
            "fleet.csv",
            "--out",
            "fleet",
        ])
        .assert_fault(2, &["--batch"]);
    installation
        .run(&["issue", "--batch", "fleet.csv"])
        .assert_fault(2, &["--out"]);
}

#[test]
fn folder_of_requests_is_a_batch() {
    let Some(openssl) = peer("folder_of_requests_is_a_batch", "openssl") else {
        return;
    };
    let installation = Installation::new();
    let requests = installation.path("requests");
    fs::create_dir(&requests).expect("made");
    for name in ["pump-1", "pump-2"] {
        let made = Answer::of(Command::new(&openssl).current_dir(&requests).args([
            "req",
            "-new",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
            "-subj",
            "/CN=ignored",
            "-keyout",
            &format!("../{name}.key"),
            "-out",
            &format!("{name}.csr"),
        ]));
        assert_eq!(made.code, Some(0), "{made:#?}");
    }
    let line = ["issue", "client", "--batch", "requests", "--out", "pumps"];
    assert_eq!(installation.ok(&line), "issued 2 certificates into pumps\n");
    for name in ["pump-1", "pump-2"] {
        let folder = installation.path("pumps").join(name);
        assert!(!folder.join("key.pem").exists());
        let key = installation.path(&format!("{name}.key"));
        installation.ok(&[
            "export",
            "pem",
            text(&folder),
            "--key",
            text(&key),
            "--out",
            &format!("{name}.pem"),
        ]);
        assert_eq!(installation.certificates(&["--name", name]).len(), 1);
    }
    assert!(installation.ok(&line).contains("2 done already"));
    fs::write(requests.join("broken.csr"), "nonsense").expect("written");
    installation
        .run(&line)
        .assert_fault(2, &["broken.csr: ", "1 line of"]);
    fs::remove_file(requests.join("broken.csr")).expect("there");
    installation
        .run(&["issue", "--batch", "requests", "--out", "other"])
        .assert_fault(2, &["profile"]);
}

#[test]
fn changed_line_strange_folder_and_second_process_are_refused() {
    let installation = Installation::new();
    installation.write("fleet.csv", &csv(2));
    let line = ["issue", "--batch", "fleet.csv", "--out", "fleet"];
    installation.ok(&line);
    let changed = csv(2).replace("device-1@", "somebody-else@");
    installation.write("fleet.csv", &changed);
    installation.run(&line).assert_fault(
        2,
        &[
            "line 3: ",
            "belongs to another request",
            "nothing was issued",
        ],
    );
    fs::create_dir(installation.path("fleet/device-2")).expect("made");
    installation.write("fleet.csv", &csv(3));
    installation
        .run(&line)
        .assert_fault(2, &["line 4: ", "exists already"]);
    fs::remove_dir(installation.path("fleet/device-2")).expect("there");
    let lock = fs::File::open(installation.path("fleet/batch.jsonl")).expect("there");
    rustix::fs::flock(&lock, rustix::fs::FlockOperation::LockExclusive).expect("locked");
    installation
        .run(&line)
        .assert_fault(3, &["another process"]);
    drop(lock);
    assert_eq!(clients(&installation).len(), 2);
    installation.ok(&line);
    assert_whole(&installation, &installation.path("fleet"), 3);
}

/// Killed again and again, at whatever it was doing, until it gets through.
fn killed_until_it_is_done(installation: &Installation, count: usize) {
    installation.write("fleet.csv", &csv(count));
    let (state, out) = (installation.state(), installation.path("fleet"));
    let records = out.join("batch.jsonl");
    let done = || fs::read_to_string(&records).map_or(0, |text| text.lines().count());
    let mut kills = 0;
    // Each run gets a little further than the one before; the steps differ so that it is met in different states.
    for step in [1, 17, 3, 41, 2, 29, 5, 11, 23, 7] {
        let target = done() + step;
        let mut child = Command::new(binary())
            .args(["issue", "--batch", text(&installation.path("fleet.csv"))])
            .args(["--out", text(&out), "--state", text(&state)])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("starts");
        let begun = Instant::now();
        // A file has no event to wait for.
        while done() < target && child.try_wait().expect("our child").is_none() {
            assert!(begun.elapsed() < HANG, "the batch does not go on");
            std::thread::sleep(Duration::from_millis(1));
        }
        if child.try_wait().expect("our child").is_none() {
            child.kill().expect("ours");
            kills += 1;
        }
        child.wait().expect("our child");
    }
    assert!(
        kills >= 5,
        "only {kills} runs were killed before they were through"
    );
    let last = installation.run(&["issue", "--batch", "fleet.csv", "--out", "fleet", "--json"]);
    assert_eq!(last.code, Some(0), "{last:#?}");
    let (_, sum) = json(&last);
    let of = |what: &str| sum[what].as_u64().expect("a number");
    assert_eq!(
        of("already_done") + of("issued") + of("recovered"),
        count as u64,
        "{sum}"
    );
    assert_whole(installation, &out, count);
}

#[test]
fn killed_batch_goes_on_and_issues_nothing_twice() {
    killed_until_it_is_done(&Installation::new(), 240);
}

#[test]
fn killed_batch_beside_a_running_authority_issues_nothing_twice() {
    let installation = Installation::new();
    let _gateway = installation.up(&[]);
    killed_until_it_is_done(&installation, 240);
}

/// The instant that matters: the authority has issued, and whoever asked is gone before the answer.
#[test]
fn certificate_that_was_issued_without_an_answer_is_found_by_its_key() {
    let installation = Installation::new();
    installation.write("fleet.csv", &csv(4));
    let line = ["issue", "--batch", "fleet.csv", "--out", "fleet", "--json"];
    assert_eq!(installation.run(&line).code, Some(0));
    let fleet = installation.path("fleet");
    let certificate = fs::read_to_string(fleet.join("device-1/cert.pem")).expect("readable");
    let records = fs::read_to_string(fleet.join("batch.jsonl")).expect("readable");
    // Back to just before the answer: no record, no certificate, the folder still pending with key and request.
    let record: Value = records
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).expect("JSON"))
        .find(|record| record["folder"] == "device-1")
        .expect("a record");
    let kept: Vec<&str> = records
        .lines()
        .filter(|line| !line.contains("\"device-1\""))
        .collect();
    // Cut off in the middle, as a power cut leaves a line.
    fs::write(
        fleet.join("batch.jsonl"),
        kept.join("\n") + "\n{\"folder\":\"dev",
    )
    .expect("written");
    let pending = fleet.join(".pending/device-1");
    fs::create_dir_all(pending.parent().expect("a folder")).expect("made");
    fs::rename(fleet.join("device-1"), &pending).expect("moved");
    fs::remove_file(pending.join("cert.pem")).expect("there");
    fs::remove_file(pending.join("ca.pem")).expect("there");
    let shown = installation.json(&["show", "cn:device-1"]);
    let inspected = countersign(
        &fleet,
        &["inspect", text(&pending.join("key.pem")), "--json"],
    );
    let inspected: Value = serde_json::from_str(&inspected.stdout).expect("JSON");
    let spki = inspected[0]["spki"].clone();
    let sent = serde_json::json!({
        "request": {"profile": "client", "name": "device-1", "sans": ["email:device-1@example.test"], "ttl_s": null, "csr": "unused"},
        "digest": record["digest"],
        "spki": spki,
        "begun_at_s": 0,
        "key": "0f",
    });
    fs::write(pending.join("request.json"), sent.to_string()).expect("written");

    let (lines, sum) = json(&installation.run(&line));
    assert_eq!(
        (&sum["recovered"], &sum["issued"]),
        (&1.into(), &0.into()),
        "{lines:#?}"
    );
    assert_eq!(
        fs::read_to_string(fleet.join("device-1/cert.pem")).expect("readable"),
        certificate
    );
    assert_eq!(installation.json(&["show", "cn:device-1"]), shown);
    assert_whole(&installation, &fleet, 4);
}

/// The authority has issued, and cannot be found to have by what the next run looks for.
#[test]
fn answer_that_a_killed_batch_has_lost_is_asked_for_under_the_same_key() {
    let installation = Installation::new();
    installation.write("fleet.csv", &csv(1));
    let line = ["issue", "--batch", "fleet.csv", "--out", "fleet", "--json"];
    // The second transaction is that of the certificate: it is durable, and nobody has been told.
    installation.killed_at(FailPoint::GroupTold, 2, &line);
    let before = clients(&installation);
    assert_eq!(before.len(), 1, "{before:#?}");
    let sent = installation.path("fleet/.pending/device-0/request.json");
    let text = fs::read_to_string(&sent).expect("it was sent");
    let mut request: Value = serde_json::from_str(&text).expect("JSON");
    let key = request["key"].as_str().expect("a key").to_owned();
    assert_eq!(key.len(), 32);
    request["begun_at_s"] = 9_999_999_999_u64.into();
    fs::write(&sent, request.to_string()).expect("written");

    let (lines, sum) = json(&installation.run(&line));
    assert_eq!(sum["issued"], 1, "{lines:#?}");
    assert_eq!(clients(&installation), before);
    assert_eq!(lines[0]["serial"], before[0]["serial"]);
    assert_whole(&installation, &installation.path("fleet"), 1);
}

/// Only catches a hang.
const HANG: Duration = Duration::from_mins(1);
