//! The admin API from another machine: the real binary, its CLI and curl, with the folder that an operator was given.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use countersign_testkit::bypass::Protocol;
use countersign_testkit::ephemeral;
use countersign_testkit::process::Process;
use rustix::process::Signal;
use serde_json::Value;

use crate::http::Connection;
use crate::installation::{Answer, Installation, Issued, binary, text};
use crate::peers::peer;

const ROLES: &str = r#"
[authority.operator.alice]
role = "admin"
[authority.operator.ian]
role = "issuer"
[authority.operator.olga]
role = "operator"
[authority.operator.vic]
role = "viewer"
"#;

/// An authority that operators reach, and a folder on another machine.
struct Office {
    authority: Installation,
    process: Process,
    desk: tempfile::TempDir,
}

impl Office {
    fn open() -> Self {
        let authority = Installation::new();
        let process = authority.serve(&configuration(ROLES));
        for name in ["alice", "ian", "olga", "vic", "nobody"] {
            authority.issue("operator", name, &[]);
        }
        Self {
            authority,
            process,
            desk: tempfile::tempdir().expect("a temporary folder"),
        }
    }

    fn address(&self) -> SocketAddr {
        self.process.field("admin").parse().expect("an address")
    }

    /// What an operator was given.
    fn folder(&self, name: &str) -> PathBuf {
        self.authority.path(&format!("operator-{name}"))
    }

    fn issued(&self, name: &str) -> Issued {
        Issued::at(self.folder(name))
    }

    /// `countersign arguments… --as FOLDER`, where there is no state.
    fn run(&self, name: &str, arguments: &[&str]) -> Answer {
        let folder = self.folder(name);
        self.bare(&[arguments, &["--as", text(&folder)]].concat(), &[])
    }

    #[track_caller]
    fn ok(&self, name: &str, arguments: &[&str]) -> String {
        let answer = self.run(name, arguments);
        assert_eq!(answer.code, Some(0), "{arguments:?} as {name}: {answer:#?}");
        answer.stdout
    }

    /// Without an operator but what the environment names.
    fn bare(&self, arguments: &[&str], environment: &[(&str, &str)]) -> Answer {
        let mut command = Command::new(binary());
        command
            .args(arguments)
            .current_dir(self.desk.path())
            .env("COUNTERSIGN_STATE", self.desk.path().join("no-state"))
            .envs(environment.iter().copied());
        Answer::of(&mut command)
    }

    /// The log of the authority, line by line.
    fn audit(&self) -> Vec<Value> {
        let log = self.authority.ok(&["audit", "export"]);
        let line = |line: &str| serde_json::from_str(line).expect("JSON");
        log.lines().map(line).collect()
    }
}

fn configuration(roles: &str) -> String {
    format!(
        r#"
[authority.admin]
address = "127.0.0.1:0"
{roles}
[authority.feed]
address = "127.0.0.1:0"

[gateway]
metrics_address = "127.0.0.1:0"

[[gateway.listener]]
address = "127.0.0.1:0"

[[gateway.listener.route]]
upstream = "demo"
allow = ["any-trusted"]
"#
    )
}

#[test]
fn commands_work_from_elsewhere_with_one_folder_as_far_as_the_role_goes() {
    let office = Office::open();
    let fleet = office.desk.path().join("fleet.csv");
    fs::write(&fleet, "profile,name\nclient,device-1\nclient,device-2\n").expect("written");
    // From the one that may least on; what each may, those behind it may.
    let steps: [(&str, &[&[&str]]); 4] = [
        ("vic", &[&["status"], &["list"], &["show", "cn:alice"]]),
        (
            "ian",
            &[
                &["issue", "client", "app"],
                &["issue", "client", "dry", "--dry-run"],
                &["renew", "app"],
                &["issue", "--batch", "fleet.csv", "--out", "fleet"],
                &["export", "pem", "app", "--no-key"],
            ],
        ),
        (
            "olga",
            &[
                &["label", "app", "--owner", "team"],
                &["import", "app/ca.pem"],
                &["revoke", "app", "--reason", "certificate-hold", "--wait"],
                &["release", "app"],
                &["revoke", "cn:device-1", "--wait"],
                &["ca", "crl", "--out", "all.crl"],
            ],
        ),
        (
            "alice",
            &[
                &["issue", "node", "gw-1"],
                &["issue", "operator", "bob"],
                &["audit", "export", "-o", "log.jsonl"],
                &["ca", "backup", "authority.tar"],
                &[
                    "ca",
                    "resume",
                    "--without-evidence",
                    "--because",
                    "nothing waits",
                ],
            ],
        ),
    ];
    for (at, (name, commands)) in steps.iter().enumerate() {
        for command in *commands {
            for (lesser, _) in &steps[..at] {
                // Looking at an export needs no more than looking.
                if command[0] == "export" {
                    continue;
                }
                let answer = office.run(lesser, command);
                answer.assert_fault(2, &[&format!("operator {lesser}"), "hint"]);
            }
            office.ok(name, command);
        }
    }
    let verified = office.bare(&["audit", "verify", "log.jsonl"], &[]);
    assert_eq!(verified.code, Some(0), "{verified:#?}");
    let tar = fs::read(office.desk.path().join("authority.tar")).expect("there");
    assert!(tar.len() > 10_000);
    // The files of an operator that an operator was given lead there, too.
    let bob = office.desk.path().join("bob");
    let answer = office.bare(&["status", "--as", text(&bob)], &[]);
    answer.assert_fault(
        2,
        &["operator bob has no role here", "[authority.operator.bob]"],
    );
}

#[test]
fn batch_of_an_issuer_gets_nothing_that_is_reserved() {
    let office = Office::open();
    for profile in [
        "operator",
        "node",
        "intermediate",
        "canary",
        "ocsp-responder",
    ] {
        let lines = format!("profile,name\nclient,good-{profile}\n{profile},evil\n");
        fs::write(office.desk.path().join("bad.csv"), lines).expect("the folder is ours");
        let arguments = ["issue", "--batch", "bad.csv", "--out", profile];
        let refused = office.run("ian", &arguments);
        assert!(refused.code.is_some_and(|code| code != 0), "{refused:#?}");
        assert!(refused.stderr.contains(profile), "{refused:#?}");
    }
    let evil = office.authority.certificates(&["--name", "evil"]);
    assert!(evil.is_empty(), "{evil:#?}");
}

#[test]
fn status_says_where_and_nothing_of_the_process() {
    let office = Office::open();
    let text = office.ok("vic", &["status"]);
    let url = format!("https://127.0.0.1:{}", office.address().port());
    for words in [
        &format!("authority    {url}"),
        "issuing      ready",
        "healthy      yes",
    ] {
        assert!(text.contains(words), "{words}: {text}");
    }
    assert!(
        !text.contains("process") && !text.contains("metrics"),
        "{text}"
    );
    let json: Value = serde_json::from_str(&office.ok("vic", &["status", "--json"])).expect("JSON");
    assert_eq!(
        (&json["healthy"], &json["state"]),
        (&Value::Bool(true), &url.as_str().into())
    );
    let here = office.authority.ok(&["status"]);
    assert!(here.contains(&format!("operators at {url}")), "{here}");
}

#[test]
fn folder_and_address_come_from_the_environment_too() {
    let office = Office::open();
    let vic = office.folder("vic");
    let vic = text(&vic);
    let as_vic = ("COUNTERSIGN_AS", vic);
    assert_eq!(office.bare(&["list"], &[as_vic]).code, Some(0));
    let url = format!("https://localhost:{}", office.address().port());
    fs::remove_file(office.folder("vic").join("authority.url")).expect("there");
    office.bare(&["list"], &[as_vic]).assert_fault(
        2,
        &[
            "does not say where its authority is",
            "--authority https://",
        ],
    );
    let at = ("COUNTERSIGN_AUTHORITY", url.as_str());
    assert_eq!(office.bare(&["list"], &[as_vic, at]).code, Some(0));
    let answer = office.bare(&["list", "--authority", &url], &[as_vic]);
    assert_eq!(answer.code, Some(0), "{answer:#?}");
    // What is said on the command line counts.
    let state = office.authority.state();
    let answer = office.bare(&["show", "cn:vic", "--state", text(&state)], &[as_vic]);
    assert_eq!(answer.code, Some(0), "{answer:#?}");
    office
        .bare(
            &["list"],
            &[as_vic, ("COUNTERSIGN_AUTHORITY", "ca.example.com")],
        )
        .assert_fault(2, &["COUNTERSIGN_AUTHORITY", "https://"]);
    office
        .bare(&["list", "--authority", &url], &[])
        .assert_fault(2, &["asked by operators only", "--as DIR"]);
    let answer = office.bare(&["list", "--as", vic, "--state", text(&state)], &[]);
    assert_eq!(answer.code, Some(2), "{answer:#?}");
}

#[test]
fn who_does_not_get_there_is_told_why() {
    let office = Office::open();
    office.run("nobody", &["list"]).assert_fault(
        2,
        &[
            "operator nobody has no role here",
            "[authority.operator.nobody]",
        ],
    );
    let with = |name: &str, change: &dyn Fn(&Path)| {
        let folder = office.desk.path().join(name);
        fs::create_dir(&folder).expect("made");
        for file in ["cert.pem", "key.pem", "ca.pem", "authority.url"] {
            fs::copy(office.folder("alice").join(file), folder.join(file)).expect("copied");
        }
        change(&folder);
        office.bare(&["list", "--as", text(&folder)], &[])
    };
    let stranger = Installation::new();
    let theirs = stranger.issue("operator", "alice", &[]);
    with("other-ca", &|folder| {
        fs::copy(theirs.ca(), folder.join("ca.pem")).expect("copied");
    })
    .assert_fault(3, &["same-name-different-key-ca"]);
    let root = office.authority.issue("client", "app", &[]);
    // The root does not vouch for the port, though it stands above what does.
    with("root", &|folder| {
        fs::copy(root.ca(), folder.join("ca.pem")).expect("copied");
    })
    .assert_fault(3, &["(", ")"]);
    for (name, other) in [("stranger", &theirs), ("client", &root)] {
        with(name, &|folder| {
            fs::copy(other.certificate(), folder.join("cert.pem")).expect("copied");
            fs::copy(other.key(), folder.join("key.pem")).expect("copied");
        })
        .assert_fault(3, &["unknown"]);
    }
    let node = office.authority.issue("node", "alice", &[]);
    with("node", &|folder| {
        fs::copy(node.certificate(), folder.join("cert.pem")).expect("copied");
        fs::copy(node.key(), folder.join("key.pem")).expect("copied");
    })
    .assert_fault(2, &["profile node", "for operators only"]);
    with("mixed", &|folder| {
        fs::copy(node.key(), folder.join("key.pem")).expect("copied");
    })
    .assert_fault(2, &["mixed"]);
    let silent = format!("https://{}", ephemeral::address());
    with("silent", &|folder| {
        fs::write(folder.join("authority.url"), &silent).expect("written");
    })
    .assert_fault(3, &["connection-refused"]);
    with("elsewhere", &|folder| {
        fs::write(folder.join("authority.url"), "http://ca.example.com").expect("written");
    })
    .assert_fault(2, &["authority.url", "https://"]);
    with("keyless", &|folder| {
        fs::remove_file(folder.join("key.pem")).expect("there");
    })
    .assert_fault(2, &["key.pem", "issue operator"]);
    office
        .bare(&["list", "--as", "nowhere"], &[])
        .assert_fault(2, &["there is no folder nowhere", "issue operator"]);
    office.authority.ok(&["revoke", "cn:alice", "--wait"]);
    office
        .run("alice", &["list"])
        .assert_fault(3, &["certificate-revoked"]);
}

#[test]
fn operator_renews_its_own_folder_and_goes_on() {
    let office = Office::open();
    let certificate = office.folder("vic").join("cert.pem");
    let before = fs::read_to_string(&certificate).expect("there");
    let folder = office.folder("vic");
    office.ok("vic", &["renew", text(&folder)]);
    assert_ne!(fs::read_to_string(&certificate).expect("there"), before);
    office.ok("vic", &["list"]);
    let ian = office.folder("ian");
    office
        .run("vic", &["renew", text(&ian)])
        .assert_fault(2, &["operator vic is viewer, this needs issuer"]);
    // Whose role would be enough for an ordinary one.
    office
        .run("ian", &["renew", text(&folder)])
        .assert_fault(2, &["operator ian may not ask for a operator certificate"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn role_that_a_reload_takes_and_certificate_that_is_revoked_end_open_connections() {
    let office = Office::open();
    let address = office.address();
    let protocol = Protocol::Http1Tls13;
    let open = async |name: &str| {
        let client = office.issued(name).client(protocol);
        Connection::open(&client, protocol, address).await
    };
    let (mut olga, mut vic) = (
        open("olga").await.expect("in"),
        open("vic").await.expect("in"),
    );
    for connection in [&mut olga, &mut vic] {
        assert_eq!(connection.get("/v1/status").await.expect("open").0, 200);
    }
    let fewer = configuration(&ROLES.replace("\"operator\"", "\"viewer\""));
    office.authority.write("countersign.toml", &fewer);
    office.process.signal(Signal::HUP);
    office.process.wait_for_log(&["configuration reloaded"]);
    assert!(olga.get("/v1/status").await.is_err());
    assert_eq!(vic.get("/v1/status").await.expect("open").0, 200);
    office
        .run("olga", &["revoke", "cn:vic"])
        .assert_fault(2, &["operator olga is viewer, this needs operator"]);

    office.authority.ok(&["revoke", "cn:vic", "--wait"]);
    assert!(vic.get("/v1/status").await.is_err());
    assert!(
        open("vic").await.is_err() || {
            let mut again = open("vic").await.expect("half a handshake");
            again.get("/v1/status").await.is_err()
        }
    );

    let moved = fewer.replacen("127.0.0.1:0", "127.0.0.1:1", 1);
    office.authority.write("countersign.toml", &moved);
    office.process.signal(Signal::HUP);
    office
        .process
        .wait_for_log(&["not reloaded", "authority.admin has changed"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reload_that_cannot_be_written_down_takes_a_role_away_all_the_same() {
    let office = Office::open();
    let protocol = Protocol::Http1Tls13;
    let client = office.issued("olga").client(protocol);
    let mut olga = Connection::open(&client, protocol, office.address())
        .await
        .expect("in");
    assert_eq!(olga.get("/v1/status").await.expect("open").0, 200);
    // As a full disk: nothing can be put into the place of a folder that holds something.
    let place = office.authority.state().join("profiles.toml");
    fs::remove_file(&place).expect("kept at the start");
    fs::create_dir_all(place.join("in-the-way")).expect("ours");
    let fewer = configuration(&ROLES.replace("\"operator\"", "\"viewer\""));
    office.authority.write("countersign.toml", &fewer);
    office.process.signal(Signal::HUP);
    let line = office
        .process
        .wait_for_log(&["nothing is issued until", "profiles.toml"]);
    assert!(line.contains("ERROR"), "{line}");
    office.process.wait_for_log(&["configuration reloaded"]);
    assert!(olga.get("/v1/status").await.is_err());
    office
        .run("olga", &["revoke", "cn:vic"])
        .assert_fault(2, &["operator olga is viewer, this needs operator"]);
    assert_eq!(office.run("vic", &["list"]).code, Some(0));
}

#[test]
fn curl_gets_what_the_role_allows_and_nothing_without_a_certificate() {
    let Some(curl) = peer("curl_gets_what_the_role_allows", "curl") else {
        return;
    };
    let office = Office::open();
    let url = format!("https://localhost:{}", office.address().port());
    let ask = |identity: &[String], more: &[&str], path: &str| {
        let mut command = Command::new(&curl);
        command
            .args(["-sS", "-w", "\n%{http_code}"])
            .args(identity)
            .args(more)
            .arg(format!("{url}{path}"));
        Answer::of(&mut command)
    };
    let (vic, ian) = (office.issued("vic").curl(), office.issued("ian").curl());
    let answer = ask(&vic, &[], "/v1/status");
    assert!(answer.stdout.ends_with("\n200"), "{answer:#?}");
    let answer = ask(&vic, &["-X", "POST"], "/v1/backup");
    assert!(answer.stdout.ends_with("\n403"), "{answer:#?}");
    assert!(answer.stdout.contains("this needs admin"), "{answer:#?}");
    let csr = countersign_testkit::pki::request();
    let body = serde_json::json!({ "profile": "client", "name": "app", "csr": csr }).to_string();
    let json = ["-H", "content-type: application/json", "-d", &body];
    let answer = ask(&ian, &json, "/v1/issue");
    assert!(answer.stdout.contains("chain_pem"), "{answer:#?}");
    for path in ["/v1/process", "/v1/gateway", "/v1/refusals?from=127.0.0.1"] {
        let answer = ask(&office.issued("alice").curl(), &[], path);
        assert!(answer.stdout.ends_with("\n404"), "{path}: {answer:#?}");
    }
    let none = ask(&vic[..2], &[], "/v1/status");
    assert_ne!(none.code, Some(0), "{none:#?}");
    let mut client = office.authority.issue("client", "vic", &[]).curl();
    client[1].clone_from(&vic[1]);
    let refused = ask(&client, &[], "/v1/status");
    assert_ne!(refused.code, Some(0), "{refused:#?}");
    // 60: the root is no anchor of this port.
    let mut root = vic;
    root[1] = text(&office.authority.state().join("ca.pem")).to_owned();
    assert_eq!(ask(&root, &[], "/v1/status").code, Some(60));
}

#[test]
fn records_of_what_operators_did_name_them() {
    let office = Office::open();
    office.ok("ian", &["issue", "client", "app"]);
    office.run("vic", &["revoke", "app"]);
    let log = office.audit();
    let by = |name: &str, action: &str| {
        log.iter().any(|line| {
            line["action"] == action
                && line["actor"]["kind"] == "operator"
                && line["actor"]["identity"]["name"] == name
                && line["authenticated"] == "mutual TLS"
        })
    };
    assert!(by("cn:ian", "issue") && by("cn:vic", "refuse"), "{log:#?}");
    let listed = office.ok("vic", &["list", "--issued-by", "operator:ian", "--json"]);
    assert!(
        listed.contains("\"app\"") || listed.contains("cn:app"),
        "{listed}"
    );
}

/// Whoever stole the folder of an operator or a node may have renewed it: another key, and a certificate that the serial
/// number of the stolen one does not mean.
#[test]
fn revocation_of_one_certificate_names_what_renewed_it_and_how_that_is_revoked() {
    let office = Office::open();
    let authority = &office.authority;
    authority.issue("node", "edge", &[]);
    for (folder, name) in [("vic", "cn:vic"), ("edge", "cn:edge")] {
        let stolen = if folder == "vic" {
            let stolen = authority.json(&["show", name]);
            office.ok("vic", &["renew", text(&office.folder("vic"))]);
            stolen
        } else {
            let stolen = authority.json(&["show", name]);
            authority.ok(&[
                "renew",
                name,
                "--out",
                text(&office.desk.path().join("next")),
            ]);
            stolen
        };
        let serial = stolen["certificates"][0]["serial"]
            .as_str()
            .expect("a serial");
        let arguments = ["revoke", serial, "--reason", "key-compromise"];
        let dry = authority.run(&[&arguments[..], &["--dry-run"]].concat());
        let done = authority.run(&arguments);
        let command = format!("countersign revoke {name} --reason key-compromise");
        for answer in [&dry, &done] {
            assert_eq!(answer.code, Some(0), "{answer:#?}");
            let told = &answer.stderr;
            assert!(
                told.contains("warning: 1 certificate that was renewed"),
                "{told}"
            );
            assert!(told.contains(&command), "{told}");
        }
        // As it says.
        let line = done.stderr.lines().find(|line| line.contains(&command));
        let words = words_of(line.expect("the command").trim());
        let words: Vec<&str> = words.iter().map(String::as_str).skip(1).collect();
        let told = office.bare(&words, &[]);
        assert_eq!(
            (told.code, told.stderr.as_str()),
            (Some(0), ""),
            "{told:#?}"
        );
    }
    office
        .run("vic", &["list"])
        .assert_fault(3, &["certificate-revoked"]);
}

/// Words without spaces in them.
fn words_of(line: &str) -> Vec<String> {
    line.split(' ').map(ToOwned::to_owned).collect()
}

#[test]
fn renewal_replaces_no_ca_that_its_holder_trusts_without_being_told() {
    let office = Office::open();
    let authority = &office.authority;
    let issued = authority.issue("client", "app", &[]);
    let folder = issued.certificate().parent().expect("a folder").to_owned();
    let ca = folder.join("ca.pem");
    let ours = fs::read_to_string(&ca).expect("there");
    let theirs = fs::read_to_string(office.folder("vic").join("ca.pem")).expect("there");
    assert_ne!(ours, theirs);
    let renew = |more: &[&str]| {
        let before = fs::read_to_string(folder.join("cert.pem")).expect("there");
        let answer = authority.run(&[&["renew", text(&folder)], more].concat());
        let after = fs::read_to_string(folder.join("cert.pem")).expect("there");
        (answer, before != after)
    };
    let (answer, is_renewed) = renew(&[]);
    assert!(is_renewed && answer.stderr.is_empty(), "{answer:#?}");
    fs::write(&ca, &theirs).expect("written");
    let (answer, is_renewed) = renew(&[]);
    assert!(is_renewed && answer.code == Some(0), "{answer:#?}");
    for words in ["warning: the authority sent another CA", "--replace-ca"] {
        assert!(answer.stderr.contains(words), "{answer:#?}");
    }
    assert_eq!(fs::read_to_string(&ca).expect("there"), theirs);
    fs::write(&ca, "nothing").expect("written");
    let (answer, is_renewed) = renew(&[]);
    assert!(
        !is_renewed,
        "what cannot be read is not replaced: {answer:#?}"
    );
    assert_eq!(answer.code, Some(2), "{answer:#?}");
    let (answer, is_renewed) = renew(&["--replace-ca"]);
    assert!(is_renewed && answer.stderr.is_empty(), "{answer:#?}");
    assert_eq!(fs::read_to_string(&ca).expect("there"), ours);
}
