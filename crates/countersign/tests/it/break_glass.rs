//! Break-glass with the real binary: shut, armed, shut again, over restarts and without the authority.

use std::fs;
use std::path::{Path, PathBuf};

use countersign_pki::fingerprint::Fingerprint;
use countersign_testkit::bypass::Protocol;
use countersign_testkit::client::{Client, Outcome};
use countersign_testkit::pki::{Leaf, TestCa};
use countersign_testkit::process::Process;
use http_body_util::Full;
use rustix::process::Signal;
use serde_json::Value;

use crate::fleet::{
    CERTIFICATE_REVOKED, Fleet, assert_refused, assert_served, attempt, attempt_as,
};
use crate::full_disk::SmallDisk;
use crate::http::{Connection, in_time};
use crate::installation::{Answer, Installation, Issued, countersign, text};
use crate::tokens::Signer;

/// A gateway with one listener, `emergency`, that lets `you` in while it is armed.
struct Site {
    installation: Installation,
    you: Issued,
    other: Issued,
}

const ARM: [&str; 6] = [
    "break-glass",
    "arm",
    "emergency",
    "--for=30m",
    "--because",
    "the identity provider is down",
];

impl Site {
    fn new() -> Self {
        let installation = Installation::new();
        let you = installation.issue("client", "you", &[]);
        let other = installation.issue("client", "other", &[]);
        Self {
            installation,
            you,
            other,
        }
    }

    fn serve(&self, glass: &str) -> Process {
        self.installation.serve(&configuration(glass))
    }

    /// What serves already gets another configuration.
    fn reload(&self, process: &Process, toml: &str, expected: &str) {
        self.installation.write("countersign.toml", toml);
        process.signal(Signal::HUP);
        process.wait_for_log(&[expected]);
    }

    fn kept(&self) -> PathBuf {
        self.installation
            .state()
            .join("break-glass")
            .join("armed-emergency.json")
    }

    fn log(&self) -> PathBuf {
        self.kept().with_file_name("log.jsonl")
    }

    fn arm(&self) {
        self.installation.ok(&ARM);
    }

    fn is_armed(&self) -> bool {
        self.installation.json(&["break-glass", "status"])[0]["armed"] == true
    }

    /// The log, line by line.
    fn audit(&self) -> Vec<Value> {
        audit(&self.installation)
    }

    fn events(&self) -> Vec<String> {
        let event = |line: &Value| line["event"].as_str().expect("a text").to_owned();
        self.audit().iter().map(event).collect()
    }

    async fn open(&self, process: &Process) -> Connection {
        let client = self.you.client(Protocol::Http1Tls13);
        let opened = Connection::open(&client, Protocol::Http1Tls13, process.gateway()).await;
        let mut connection = opened.expect("let in");
        assert_eq!(connection.get("/").await.expect("open").0, 200);
        connection
    }
}

fn audit(installation: &Installation) -> Vec<Value> {
    let path = installation.state().join("break-glass").join("log.jsonl");
    let log = fs::read_to_string(path).expect("there is a log");
    let line = |line: &str| serde_json::from_str(line).expect("JSON");
    log.lines().map(line).collect()
}

fn configuration(glass: &str) -> String {
    format!(
        r#"
[gateway]
metrics_address = "127.0.0.1:0"

[[gateway.listener]]
name = "emergency"
address = "127.0.0.1:0"

[gateway.listener.break_glass]
{glass}

[[gateway.listener.route]]
upstream = "demo"
allow = [{{ cn = "you" }}]
"#
    )
}

/// Not even a handshake.
async fn assert_shut(issued: &Issued, process: &Process) {
    for protocol in Protocol::ALL {
        let outcome = attempt_as(issued, protocol, process.gateway()).await;
        assert!(
            matches!(outcome, Outcome::Closed(_)),
            "{protocol:?}: {outcome:?}"
        );
    }
}

async fn metrics(process: &Process) -> String {
    let url = process.field("metrics");
    let address = url
        .trim_start_matches("http://")
        .trim_end_matches("/metrics");
    let address = address.parse().expect("an address");
    tokio::task::spawn_blocking(move || crate::metrics::plain_get(address, "/metrics", ""))
        .await
        .expect("no panic")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn listener_that_is_not_armed_admits_nobody_and_armed_only_whom_its_rules_say() {
    let site = Site::new();
    let process = site.serve("");
    assert!(!site.is_armed());
    assert_shut(&site.you, &process).await;
    assert_shut(&site.other, &process).await;
    process.wait_for_log(&["break-glass-shut", "emergency is not armed"]);

    site.arm();
    process.wait_for_log(&["ERROR", "ALARM", "the identity provider is down"]);
    assert!(site.is_armed());
    for protocol in Protocol::ALL {
        let served = attempt_as(&site.you, protocol, process.gateway()).await;
        assert_eq!(served.status(), Some(200), "{protocol:?} {served:?}");
    }
    let refused = attempt(&site.other, &process).await;
    assert_eq!(refused.status(), Some(403), "{refused:?}");
    // Nobody, and somebody else's.
    let stranger = TestCa::new("internal").issue(Leaf::client("you"));
    for identity in [None, Some(&stranger)] {
        let protocol = Protocol::Http1Tls13;
        let client = Client::new(&site.you.root(), identity, protocol, "localhost");
        let request = http::Request::get("/").header("host", "localhost");
        let request = request.body(Full::default()).expect("a request");
        let outcome = client.request(process.gateway(), request).await;
        assert!(matches!(outcome, Outcome::Alert(_)), "{outcome:?}");
    }
    let text = metrics(&process).await;
    for line in [
        r#"countersign_gateway_break_glass_armed{listener="emergency"} 1"#,
        r#"countersign_gateway_break_glass_events_total{listener="emergency",event="armed"} 1"#,
        r#"countersign_gateway_break_glass_events_total{listener="emergency",event="used"} 6"#,
        r#"countersign_gateway_break_glass_events_total{listener="emergency",event="request"} 5"#,
    ] {
        assert!(text.contains(line), "{line} in {text}");
    }

    let status = site.installation.ok(&["status"]);
    assert!(
        status.contains("break-glass: ARMED until") && status.contains("provider is down"),
        "{status}"
    );
    site.installation
        .ok(&["break-glass", "disarm", "emergency"]);
    assert_shut(&site.you, &process).await;
    let text = metrics(&process).await;
    assert!(
        text.contains(r#"break_glass_armed{listener="emergency"} 0"#),
        "{text}"
    );

    // Who, from where, what, and why: each use by itself.
    let audit = site.audit();
    let uses: Vec<&Value> = audit
        .iter()
        .filter(|line| line["event"] == "request")
        .collect();
    assert_eq!(uses.len(), Protocol::ALL.len());
    for line in uses {
        assert_eq!(line["who"], "cn:you (internal)", "{line}");
        assert_eq!(line["reason"], "the identity provider is down", "{line}");
        assert_eq!(
            (&line["method"], &line["path"]),
            (&"GET".into(), &"/".into()),
            "{line}"
        );
        assert!(
            line["source"]
                .as_str()
                .expect("a text")
                .starts_with("127.0.0.1:")
        );
        assert!(line["by"].as_str().expect("a text").contains("uid"));
    }
    assert_eq!(site.events().last().map(String::as_str), Some("disarmed"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn disarming_cuts_at_once_and_no_session_lives_on() {
    let site = Site::new();
    let process = site.serve("");
    let client = site.you.client(Protocol::Http1Tls13);
    let mut seen = Vec::new();
    for _ in 0..2 {
        site.arm();
        for _ in 0..2 {
            let opened = Connection::open(&client, Protocol::Http1Tls13, process.gateway()).await;
            let mut connection = opened.expect("let in");
            assert_eq!(connection.get("/").await.expect("open").0, 200);
            seen.push(connection.handshake().resumed);
            if seen.len() % 2 == 0 {
                let done = site
                    .installation
                    .json(&["break-glass", "disarm", "emergency"]);
                assert_eq!(done["was_armed"], true);
                // When the command has returned it is over.
                assert!(connection.get("/").await.is_err());
                let _ = connection.ended().await;
            }
        }
        assert_shut(&site.you, &process).await;
    }
    assert_eq!(seen, [false; 4]);
    let again = site
        .installation
        .json(&["break-glass", "disarm", "emergency"]);
    assert_eq!(again["was_armed"], false);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn its_end_cuts_and_shuts() {
    let site = Site::new();
    let process = site.serve("");
    let arm = [
        "break-glass",
        "arm",
        "emergency",
        "--for=3s",
        "--because",
        "x",
    ];
    site.installation.ok(&arm);
    let connection = site.open(&process).await;
    let _ = connection.ended().await;
    process.wait_for_log(&["WARN", "shut again", "expired"]);
    assert_shut(&site.you, &process).await;
    assert!(!site.is_armed() && !site.kept().exists());
    let text = metrics(&process).await;
    assert!(text.contains(r#"event="expired"} 1"#), "{text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn restart_goes_on_with_what_is_armed_and_with_nothing_else() {
    let site = Site::new();
    let process = site.serve("");
    site.arm();
    process.kill();
    let process = site.serve("");
    process.wait_for_log(&["ALARM", "resumed", "the identity provider is down"]);
    assert_served(&site.you, &process).await;
    assert!(process.interrupt().success());
    let kept = fs::read_to_string(site.kept()).expect("it is kept");
    let log = fs::read(site.log()).expect("there is a log");
    // By the log it has not ended: what refuses it is something else.
    let put_back = |text: &str| {
        fs::write(site.kept(), text).expect("written");
        fs::write(site.log(), &log).expect("written");
    };

    let number = |name: &str| {
        let value: Value = serde_json::from_str(&kept).expect("JSON");
        let place = if name == "expires_unix_s" {
            &value["break_glass_armed"]
        } else {
            &value
        };
        place[name].as_u64().expect("a number")
    };
    let set = |name: &str, to: u64| kept.replacen(&number(name).to_string(), &to.to_string(), 1);
    let now = number("seen_unix_s");
    assert_ne!(now, number("expires_unix_s"));
    for (what, text) in [
        ("garbage", "{".to_owned()),
        ("nothing", String::new()),
        ("too much", " ".repeat(1 << 20) + &kept),
        ("its end is past", set("expires_unix_s", now - 1)),
        (
            "its end is further off than may be",
            set("expires_unix_s", now + 90_000),
        ),
        // Which is what a clock looks like that was set back by an hour.
        (
            "it was seen in an hour",
            kept.replace(
                &format!("\"seen_unix_s\": {now}"),
                &format!("\"seen_unix_s\": {}", now + 3600),
            ),
        ),
        (
            "nothing is left",
            kept.replacen(
                &format!("\"left_s\": {}", number("left_s")),
                "\"left_s\": 0",
                1,
            ),
        ),
        (
            "for another listener",
            kept.replacen("emergency", "another", 1),
        ),
        ("for another gateway", {
            let value: Value = serde_json::from_str(&kept).expect("JSON");
            let gateway = value["break_glass_armed"]["gateway"]
                .as_str()
                .expect("a text");
            kept.replacen(gateway, "000000", 1)
        }),
    ] {
        assert_ne!(text, kept, "{what}");
        put_back(&text);
        let process = site.serve("");
        assert!(!site.is_armed() && !site.kept().exists(), "{what}");
        let outcome = attempt(&site.you, &process).await;
        assert!(matches!(outcome, Outcome::Closed(_)), "{what}: {outcome:?}");
        assert!(process.interrupt().success());
    }
    // As it was, it is armed; under another configuration it is not.
    put_back(&kept);
    let process = site.serve("requests_per_minute = 601");
    process.wait_for_log(&[
        "ERROR",
        "is no more",
        "configuration of the listener changed",
    ]);
    assert_shut(&site.you, &process).await;
    assert!(process.interrupt().success());
    // A listener that went away comes back shut.
    put_back(&kept);
    let elsewhere = configuration("").replace("\"emergency\"", "\"another\"");
    let process = site.installation.serve(&elsewhere);
    process.wait_for_log(&["ERROR", "is there no more"]);
    assert!(process.interrupt().success());
    let process = site.serve("");
    assert!(!site.is_armed());
    assert_shut(&site.you, &process).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn file_that_comes_back_after_its_arming_has_ended_arms_nothing() {
    let site = Site::new();
    let process = site.serve("");
    site.arm();
    let kept = fs::read(site.kept()).expect("it is kept");
    let log = fs::read(site.log()).expect("there is a log");
    site.installation
        .ok(&["break-glass", "disarm", "emergency"]);
    assert!(process.interrupt().success());

    let ended = fs::read(site.log()).expect("there is a log");
    for (what, log) in [("disarmed", &ended), ("never armed here", &Vec::new())] {
        fs::write(site.kept(), &kept).expect("written");
        fs::write(site.log(), log).expect("written");
        let process = site.serve("");
        process.wait_for_log(&["ERROR", "is no more", "has ended, or never was"]);
        assert!(!site.is_armed() && !site.kept().exists(), "{what}");
        assert_shut(&site.you, &process).await;
        assert!(process.interrupt().success());
    }
    // Another arming is not it either.
    let process = site.serve("");
    site.arm();
    process.kill();
    fs::write(site.kept(), &kept).expect("written");
    let process = site.serve("");
    process.wait_for_log(&["ERROR", "is no more", "has ended, or never was"]);
    assert!(process.interrupt().success());
    // And with the log as it was, that is what refused it.
    fs::write(site.kept(), &kept).expect("written");
    fs::write(site.log(), &log).expect("written");
    let process = site.serve("");
    assert!(site.is_armed());
    assert_served(&site.you, &process).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reload_disarms_what_it_changes_and_nothing_else() {
    let site = Site::new();
    let process = site.serve("");
    site.arm();
    let mut connection = site.open(&process).await;
    let beside =
        configuration("").replace("[gateway]", "[gateway]\ncertificate_lifetime = \"20d\"");
    site.reload(&process, &beside, "configuration reloaded");
    assert_eq!(connection.get("/").await.expect("open").0, 200);
    assert!(site.is_armed());

    // Without break_glass it would stand open: that is no reload.
    let open = configuration("").replace("[gateway.listener.break_glass]", "");
    site.reload(&process, &open, "configuration not reloaded");
    assert!(site.is_armed());
    let gone = configuration("").replace("\"emergency\"", "\"another\"");
    site.installation.write("countersign.toml", &gone);
    process.signal(Signal::HUP);
    assert!(site.is_armed());

    let wider =
        configuration("").replace("{ cn = \"you\" }", "{ cn = \"you\" }, { cn = \"other\" }");
    site.reload(
        &process,
        &wider,
        "the configuration of the listener changed",
    );
    let _ = connection.ended().await;
    assert!(!site.is_armed() && !site.kept().exists());
    assert_shut(&site.you, &process).await;
    site.arm();
    assert_served(&site.you, &process).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whom_it_trusts_is_part_of_what_was_armed() {
    let site = Site::new();
    let (one, two) = (TestCa::new("one"), TestCa::new("two"));
    site.installation.write("partner.pem", &one.root_pem());
    let trusting = configuration("").replacen(
        "\n\n[gateway.listener.b",
        "\ntrust = [\"internal\", \"partner\"]\n\n[gateway.listener.b",
        1,
    ) + "\n[trust.partner]\nbundle = \"partner.pem\"\n";
    let process = site.installation.serve(&trusting);
    site.arm();
    let connection = site.open(&process).await;
    // The listener is written as it was.
    site.installation.write("partner.pem", &two.root_pem());
    site.reload(
        &process,
        &trusting,
        "the configuration of the listener changed",
    );
    let _ = connection.ended().await;
    assert!(!site.is_armed() && !site.kept().exists());

    site.arm();
    let with_domain = trusting.clone() + "trust_domain = \"partner.example\"\n";
    process.kill();
    let process = site.installation.serve(&with_domain);
    process.wait_for_log(&["is no more", "configuration of the listener changed"]);
    assert_shut(&site.you, &process).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tokens_and_api_keys_that_its_rules_take_are_part_of_what_was_armed() {
    let site = Site::new();
    let [one, two] = ["one", "two"].map(|name| Signer::new(&site.installation, "EdDSA", name));
    site.installation.write("keys.json", &Signer::set(&[&one]));
    let hash = |key: &str| Fingerprint::of(key.as_bytes()).to_string();
    let named = |issuer: &str, key: &str, other: &str| {
        let rules = "allow = [{ cn = \"you\" }, { cn = \"me\", token = { issuer = \"corp\" } }, { cn = \"us\", api_key = \"ours\" }]";
        let rest = format!(
            "\n[[gateway.token_issuer]]\nname = \"corp\"\nissuer = \"{issuer}\"\naudience = [\"a\"]\njwks_file = \"keys.json\"\n[[gateway.api_key]]\nname = \"ours\"\nsha256 = \"{}\"\nfor = \"cn:us\"\n[[gateway.api_key]]\nname = \"other\"\nsha256 = \"{}\"\nfor = \"cn:them\"\n",
            hash(key),
            hash(other)
        );
        configuration("").replacen("allow = [{ cn = \"you\" }]", rules, 1) + &rest
    };
    let first = named("https://one", "key", "x");
    let process = site.installation.serve(&first);
    site.arm();
    let keeping = site.open(&process).await;
    // A key that no rule of it names is another's.
    let unnamed = named("https://one", "key", "y");
    site.reload(&process, &unnamed, "configuration reloaded");
    assert!(site.is_armed());
    drop(keeping);
    for toml in [
        named("https://two", "key", "y"),
        named("https://two", "new key", "y"),
    ] {
        assert!(site.is_armed(), "{toml}");
        let connection = site.open(&process).await;
        let disarmed = "the configuration of the listener changed";
        site.reload(&process, &toml, disarmed);
        let _ = connection.ended().await;
        assert!(!site.is_armed() && !site.kept().exists(), "{toml}");
        site.arm();
    }
    // The file of keys, which is written nowhere else.
    site.installation.write("keys.json", &Signer::set(&[&two]));
    let connection = site.open(&process).await;
    let same = named("https://two", "new key", "y");
    site.reload(&process, &same, "the configuration of the listener changed");
    let _ = connection.ended().await;
    assert!(!site.is_armed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_than_a_minute_takes_is_refused() {
    let site = Site::new();
    let process = site.serve("connections_per_minute = 1\nrequests_per_minute = 2");
    site.arm();
    let mut connection = site.open(&process).await;
    assert_eq!(connection.get("/").await.expect("open").0, 200);
    assert_eq!(connection.get("/").await.expect("open").0, 429);
    let second = attempt(&site.you, &process).await;
    assert!(matches!(second, Outcome::Closed(_)), "{second:?}");
    process.wait_for_log(&["rate-limited", "connections in a minute"]);
    // What is refused is no use: one connection, two requests.
    assert_eq!(site.events(), ["armed", "used", "request", "request"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn use_that_cannot_be_recorded_does_not_happen() {
    let site = Site::new();
    let Some(disk) = SmallDisk::mount(site.installation.state().join("break-glass")) else {
        println!("SKIPPED a full disk: no file system can be mounted here");
        return;
    };
    let process = site.serve("");
    site.arm();
    let mut connection = site.open(&process).await;
    let filler = disk.fill();
    // The last block of the log may have room.
    let refused = in_time("the disk is full", async {
        loop {
            match connection.get("/").await.expect("open").0 {
                200 => {}
                other => return other,
            }
        }
    });
    assert_eq!(refused.await, 503);
    process.wait_for_log(&["ERROR", "cannot be recorded"]);
    let arm = site.installation.run(&ARM);
    arm.assert_fault(1, &["armed already"]);
    fs::remove_file(filler).expect("removed");
    assert_eq!(connection.get("/").await.expect("open").0, 200);
    // Every line is whole.
    assert!(site.audit().len() > 2);
    let done = site
        .installation
        .run(&["break-glass", "disarm", "emergency"]);
    assert_eq!(done.code, Some(0), "{done:#?}");
    drop(process);
}

/// An authority with operators, a gateway elsewhere, and a listener that two of them have to approve for.
struct TwoEyes {
    fleet: Fleet,
    you: Issued,
}

impl TwoEyes {
    fn new() -> Self {
        let fleet = Fleet::new();
        for name in ["alice", "bob", "mallory"] {
            fleet.authority.issue("operator", name, &[]);
        }
        let you = fleet.authority.issue("client", "you", &[]);
        Self { fleet, you }
    }

    fn serve(&self) -> Process {
        let toml = self.fleet.gateway_toml("gw-1", "name = \"emergency\"");
        let glass = "[gateway.listener.break_glass]\napprovals = 2\napprovers = [\"alice\", \"bob\"]\n\n[[gateway.listener.route]]";
        self.fleet
            .gateway
            .serve(&toml.replace("[[gateway.listener.route]]", glass))
    }

    fn request(&self, name: &str) -> PathBuf {
        let path = self.fleet.gateway.path(name);
        let arguments = [
            "break-glass",
            "request",
            "emergency",
            "--for=30m",
            "--because",
            "x",
            "--out",
        ];
        self.fleet
            .gateway
            .ok(&[&arguments[..], &[text(&path)]].concat());
        path
    }

    /// On the operator's own machine, which knows no state and has no network.
    fn approve(&self, request: &Path, profile: &str, name: &str) -> PathBuf {
        let folder = self.fleet.authority.path(&format!("{profile}-{name}"));
        let out = request.with_extension(format!("{name}.json"));
        let arguments = [
            "break-glass",
            "approve",
            text(request),
            "--as",
            text(&folder),
            "--out",
            text(&out),
        ];
        let answer = countersign(&self.fleet.authority.path(""), &arguments);
        assert_eq!(answer.code, Some(0), "{answer:#?}");
        assert!(answer.stderr.contains("because: x"), "{answer:#?}");
        out
    }

    fn arm(&self, approvals: &[&PathBuf]) -> Answer {
        let mut arguments = vec!["break-glass", "arm", "emergency"];
        for path in approvals {
            arguments.extend(["--approval", text(path)]);
        }
        self.fleet.gateway.run(&arguments)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_operators_open_it_while_the_authority_is_down_and_fewer_do_not() {
    let site = TwoEyes::new();
    let authority = site.fleet.run_authority("");
    let gateway = site.serve();
    authority.kill();
    let (alone, by) = (
        site.fleet.gateway.run(&ARM),
        |name, profile, request: &PathBuf| site.approve(request, profile, name),
    );
    alone.assert_fault(2, &["2 operators", "request"]);

    let former = site.request("former.json");
    let (old_alice, old_bob) = (
        by("alice", "operator", &former),
        by("bob", "operator", &former),
    );
    let request = site.request("request.json");
    let (alice, bob) = (
        by("alice", "operator", &request),
        by("bob", "operator", &request),
    );
    let mallory = by("mallory", "operator", &request);
    let node = by("gw-1", "node", &request);
    let forged = site.fleet.gateway.path("forged.json");
    let copy = fs::read_to_string(&bob)
        .expect("there")
        .replacen("\"x\"", "\"y\"", 1);
    fs::write(&forged, copy).expect("written");
    let garbage = site.fleet.gateway.write("garbage.json", "{}");
    for (what, approvals, code, why) in [
        ("one", vec![&alice], 1, "1 of 2 approvals"),
        (
            "one twice",
            vec![&alice, &alice],
            1,
            "alice has approved twice",
        ),
        (
            "one who may not",
            vec![&alice, &mallory],
            1,
            "cn:mallory (operators) is not among",
        ),
        (
            "this gateway's own certificate",
            vec![&alice, &node],
            1,
            "cn:gw-1 (operators) is not among",
        ),
        (
            "of a former request",
            vec![&old_alice, &old_bob],
            1,
            "another request",
        ),
        (
            "one of a former request",
            vec![&alice, &old_bob],
            1,
            "another request",
        ),
        ("altered", vec![&alice, &forged], 1, "another reason"),
        ("none", vec![&alice, &garbage], 2, "approval 2 is none"),
        (
            "the request itself",
            vec![&alice, &request],
            2,
            "approval 2 is none",
        ),
    ] {
        let answer = site.arm(&approvals);
        assert_eq!(answer.code, Some(code), "{what}: {answer:#?}");
        answer.assert_fault(code, &[why]);
        let outcome = attempt(&site.you, &gateway).await;
        assert!(matches!(outcome, Outcome::Closed(_)), "{what}: {outcome:?}");
    }
    let answer = site.arm(&[&alice, &bob]);
    assert_eq!(answer.code, Some(0), "{answer:#?}");
    assert_served(&site.you, &gateway).await;

    // It survives the gateway, too, and the approvals count once.
    gateway.kill();
    let gateway = site.serve();
    assert_served(&site.you, &gateway).await;
    site.fleet
        .gateway
        .ok(&["break-glass", "disarm", "emergency"]);
    site.arm(&[&alice, &bob])
        .assert_fault(1, &["nothing was asked for"]);
    site.request("another.json");
    site.arm(&[&alice, &bob])
        .assert_fault(1, &["another request"]);
    let outcome = attempt(&site.you, &gateway).await;
    assert!(matches!(outcome, Outcome::Closed(_)), "{outcome:?}");
    let armed: Vec<Value> = audit(&site.fleet.gateway);
    let armed = armed.iter().find(|line| line["event"] == "armed");
    assert_eq!(
        armed.expect("it was")["approvers"],
        serde_json::json!(["alice", "bob"])
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn revoked_operator_opens_nothing_and_what_they_opened_is_shut() {
    let site = TwoEyes::new();
    let _authority = site.fleet.run_authority("");
    let gateway = site.serve();
    let request = site.request("request.json");
    let approvals = ["alice", "bob"].map(|name| site.approve(&request, "operator", name));
    let armed = site.arm(&[&approvals[0], &approvals[1]]);
    assert_eq!(armed.code, Some(0), "{armed:#?}");
    assert_served(&site.you, &gateway).await;
    // Who is revoked is refused there as anywhere.
    site.fleet.authority.issue("client", "gone", &[]);
    site.fleet.authority.ok(&["revoke", "gone", "--wait"]);
    let gone = Issued::at(site.fleet.authority.path("client-gone"));
    assert_refused(&gone, &gateway, CERTIFICATE_REVOKED).await;

    site.fleet
        .authority
        .ok(&["revoke", "cn:bob", "--reason", "key-compromise", "--wait"]);
    gateway.wait_for_log(&["shut again", "certificate-revoked"]);
    let outcome = attempt(&site.you, &gateway).await;
    assert!(matches!(outcome, Outcome::Closed(_)), "{outcome:?}");
    let request = site.request("again.json");
    let approvals = ["alice", "bob"].map(|name| site.approve(&request, "operator", name));
    let answer = site.arm(&[&approvals[0], &approvals[1]]);
    answer.assert_fault(1, &["by no operator", "certificate-revoked"]);
}

#[test]
fn configurations_that_would_be_a_hole_are_refused() {
    let installation = Installation::new();
    let cases = [
        ("max_duration = \"2d\"", "", "max_duration"),
        ("max_duration = \"10s\"", "", "max_duration"),
        ("approvals = 2", "", "could never be armed"),
        (
            "approvals = 2\napprovers = [\"alice\"]",
            "",
            "could never be armed",
        ),
        (
            "approvals = 2\napprovers = [\"alice\", \"alice\"]",
            "",
            "twice",
        ),
        (
            "approvers = [\"alice\", \"bob\"]",
            "",
            "none of them is needed",
        ),
        ("approvals = 9\napprovers = [\"a\"]", "", "more than"),
        ("operator_ca = \"ca.pem\"", "", "none of them is needed"),
        (
            "approvals = 1\napprovers = [\"a\"]\noperator_ca = \"missing.pem\"",
            "",
            "missing.pem",
        ),
        ("connections_per_minute = 0", "", "nonzero"),
        ("reason = \"x\"", "", "unknown field"),
        (
            "",
            "client_certificate = \"request\"\naddress = \"0.0.0.0:0\"",
            "anonymous",
        ),
        (
            "",
            "client_certificate = \"off\"\naddress = \"0.0.0.0:0\"",
            "anonymous",
        ),
        (
            "",
            "client_certificate = \"request\"\nproxy_protocol = { from = [\"127.0.0.1/32\"] }\naddress = \"127.0.0.1:0\"",
            "whom a front brings",
        ),
        (
            "",
            "feed_life = \"48h\"\naddress = \"127.0.0.1:0\"",
            "feed_life",
        ),
        (
            "",
            "session_lifetime = \"10m\"\naddress = \"127.0.0.1:0\"",
            "session_lifetime",
        ),
    ];
    for (glass, listener, why) in cases {
        let mut toml = configuration(glass);
        if !listener.is_empty() {
            toml = toml.replace(
                "address = \"127.0.0.1:0\"\n\n[gateway.listener.b",
                &format!("{listener}\n\n[gateway.listener.b"),
            );
        }
        installation.write("c.toml", &toml);
        let answer = countersign(&installation.path(""), &["config", "check", "c.toml"]);
        assert_eq!(answer.code, Some(2), "{glass} {listener}: {answer:#?}");
        assert!(answer.stderr.contains(why), "{why}: {answer:#?}");
    }
    installation.write("c.toml", &configuration(""));
    let good = countersign(&installation.path(""), &["config", "check", "c.toml"]);
    assert_eq!(good.code, Some(0), "{good:#?}");
}

#[test]
fn command_that_finds_no_gateway_or_no_listener_says_so() {
    let site = Site::new();
    site.installation
        .run(&ARM)
        .assert_fault(3, &["nobody answers", "the gateway has to run"]);
    let process = site.serve("");
    let run = |arguments: &[&str]| {
        site.installation
            .run(&[&["break-glass"], arguments].concat())
    };
    run(&["disarm", "elsewhere"]).assert_fault(1, &["no listener", "there is emergency"]);
    run(&["disarm", "../gateway"]).assert_fault(2, &["cannot name a listener"]);
    run(&["arm", "emergency", "--for=2h", "--because=x"])
        .assert_fault(2, &["up to 1 h", "max_duration"]);
    run(&["arm", "emergency", "--for=1m", "--because= "]).assert_fault(2, &["reason"]);
    site.arm();
    run(&["arm", "emergency", "--for=1m", "--because=x"])
        .assert_fault(1, &["armed already", "disarm"]);
    drop(process);
}
