//! Decisions that are kept, with the real binary: replayed by other rules, over restarts, and told of as readiness.

use std::fs;
use std::time::{Duration, Instant};

use countersign_proxy::decisions::FILE;
use countersign_testkit::bypass::Protocol;
use countersign_testkit::client::{Client, Outcome};
use countersign_testkit::process::Process;
use http::Request;
use http_body_util::Full;
use rustix::process::Signal;
use serde_json::Value;

use crate::fleet::Fleet;
use crate::installation::{Answer, Installation, Issued, text};
use crate::json::array;

/// A gateway whose listener has these keys and this much below it.
fn configuration(listener: &str) -> String {
    format!(
        "[gateway]\nworkers = 2\nmetrics_address = \"127.0.0.1:0\"\n\n[[gateway.listener]]\nname = \"web\"\naddress = \"127.0.0.1:0\"\n{listener}"
    )
}

fn route(allow: &str, more: &str) -> String {
    configuration(&format!(
        "client_certificate = \"request\"\n[[gateway.listener.route]]\nupstream = \"demo\"\nallow = [{allow}]\n{more}"
    ))
}

struct Site {
    installation: Installation,
    shop: Issued,
    intern: Issued,
}

impl Site {
    fn new() -> Self {
        let installation = Installation::new();
        let shop = installation.issue("client", "shop", &[]);
        let intern = installation.issue("client", "intern", &[]);
        Self {
            installation,
            shop,
            intern,
        }
    }

    fn client(&self, who: Option<&Issued>) -> Client {
        let identity = who.map(Issued::identity);
        let root = self.shop.root();
        Client::new(&root, identity.as_ref(), Protocol::Http1Tls13, "localhost")
    }

    async fn ask(
        &self,
        process: &Process,
        who: Option<&Issued>,
        method: &str,
        path: &str,
    ) -> Outcome {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", "localhost");
        let request = request.body(Full::default()).expect("a request");
        self.client(who).request(process.gateway(), request).await
    }

    /// Requests of every kind that the rules here tell apart.
    async fn traffic(&self, process: &Process) {
        for who in [None, Some(&self.shop), Some(&self.intern)] {
            for (method, path) in [
                ("GET", "/"),
                ("POST", "/charge"),
                ("GET", "/tenants/shop/x"),
            ] {
                self.ask(process, who, method, path).await;
            }
        }
    }

    fn replay(&self, toml: &str) -> Value {
        self.installation.write("new.toml", toml);
        self.installation.json(&["policy", "replay", "new.toml"])
    }

    fn check(&self, toml: &str) -> Answer {
        self.installation.write("new.toml", toml);
        self.installation
            .run(&["policy", "replay", "new.toml", "--check", "--since", "1m"])
    }
}

fn lengths(replay: &Value) -> [usize; 3] {
    ["refused", "admitted", "unknown"].map(|list| array(&replay[list]).len())
}

fn stop(process: Process) {
    process.signal(Signal::TERM);
    assert!(process.wait().success());
}

/// Whatever the rules look at: what they decided is what they decide again.
#[tokio::test]
async fn the_same_rules_decide_as_they_did() {
    let site = Site::new();
    for (allow, more) in [
        ("\"anyone\"", ""),
        ("\"any-trusted\"", ""),
        ("{ cn = \"shop\" }", ""),
        (
            "{ spiffe = \"spiffe://countersign.internal/shop\" }, { cn = \"shop\" }",
            "",
        ),
        ("\"anyone\"", "deny = [{ cn = \"intern\" }]\n"),
        ("{ method = [\"POST\"] }", ""),
        ("{ path = \"/charge\" }, { cn = \"intern\" }", ""),
        ("{ host = [\"localhost\"], cn = \"shop\" }", ""),
        ("{ host = [\"elsewhere.example.com\"] }", ""),
        ("{ source = [\"127.0.0.0/8\"], cn = \"shop\" }", ""),
        ("{ source = [\"10.0.0.0/8\"] }", ""),
        ("{ cn = \"shop\", certificate_max_age = \"1h\" }", ""),
        ("\"any-trusted\"", "client_certificate = \"require\"\n"),
        ("\"any-trusted\"", "path = \"/charge\"\n"),
        (
            "{ cn = \"shop\", time = [{ from = \"00:00\", to = \"24:00\", zone = \"UTC\" }] }",
            "",
        ),
        ("{ eku = [\"clientAuth\"], method = [\"GET\"] }", ""),
        ("{ eku = [\"clientAuth\"], not = { cn = \"intern\" } }", ""),
    ] {
        let toml = route(allow, more);
        let _ = fs::remove_file(site.installation.state().join(FILE));
        let process = site.installation.serve(&toml);
        site.traffic(&process).await;
        stop(process);
        let replay = site.replay(&toml);
        assert_eq!(lengths(&replay), [0, 0, 0], "{toml}: {replay:#}");
        assert_eq!(replay["unchanged"], 9, "{toml}: {replay:#}");
        assert_eq!(site.check(&toml).code, Some(0));
    }
}

#[tokio::test]
async fn replay_says_who_would_be_refused_and_who_admitted() {
    let site = Site::new();
    let process = site.installation.serve(&route("{ cn = \"shop\" }", ""));
    site.traffic(&process).await;
    site.ask(&process, Some(&site.shop), "GET", "/?token=secret")
        .await;
    stop(process);
    let replay = site.replay(&route("{ cn = \"intern\" }", ""));
    assert_eq!(lengths(&replay), [3, 3, 0], "{replay:#}");
    let first = &replay["refused"][0];
    assert_eq!(first["who"], "cn:shop (internal)", "{first:#}");
    assert_eq!(first["what"], "GET localhost/");
    assert_eq!(first["count"], 2);
    assert_eq!(first["is"], "identity-not-allowed");
    assert_eq!(replay["admitted"][0]["who"], "cn:intern (internal)");
    assert_eq!(replay["admitted"][0]["rule"], "allow 1: cn:intern");
    let answer = site.check(&route("{ cn = \"intern\" }", ""));
    assert_eq!(answer.code, Some(1), "{answer:#?}");
    assert!(answer.stdout.contains("cn:shop"), "{answer:#?}");
    // Whom nobody loses has no need to be asked about.
    assert_eq!(site.check(&route("\"anyone\"", "")).code, Some(0));
    // A listener that goes takes everybody with it, and one that requires a certificate those without.
    let renamed = route("\"anyone\"", "").replace("\"web\"", "\"other\"");
    assert_eq!(lengths(&site.replay(&renamed)), [3, 0, 0]);
    let kept = fs::read_to_string(site.installation.state().join(FILE)).expect("kept");
    assert!(!kept.contains("secret"), "{kept}");
}

/// A count stands for several, of whom the last is kept.
#[tokio::test]
async fn what_is_kept_as_one_is_not_judged_by_what_tells_it_apart() {
    let site = Site::new();
    let process = site.installation.serve(&route("\"anyone\"", ""));
    for path in ["/twice", "/twice", "/once"] {
        site.ask(&process, Some(&site.shop), "GET", path).await;
    }
    stop(process);
    for (allow, unknown) in [
        ("{ source = [\"127.0.0.1/32\"], cn = \"shop\" }", 1),
        ("{ source = [\"127.0.0.0/24\"], cn = \"shop\" }", 0),
        ("{ cn = \"shop\", certificate_max_age = \"1h\" }", 1),
        ("{ cn = \"shop\", not = { spki = \"SPKI\" } }", 1),
        (
            "{ cn = \"shop\", time = [{ from = \"00:00\", to = \"24:00\", zone = \"UTC\" }] }",
            1,
        ),
        ("{ cn = \"shop\" }", 0),
    ] {
        let toml = route(&allow.replace("SPKI", &"ab".repeat(32)), "");
        let replay = site.replay(&toml);
        assert_eq!(lengths(&replay), [0, 0, unknown], "{toml}: {replay:#}");
        let code = site.check(&toml).code;
        assert_eq!(code, Some(i32::from(unknown > 0)), "{toml}");
    }
}

#[tokio::test]
async fn what_cannot_be_judged_is_named() {
    let site = Site::new();
    let toml = route("\"anyone\"", "");
    let process = site.installation.serve(&toml);
    site.ask(&process, Some(&site.shop), "GET", "/").await;
    site.ask(&process, None, "GET", &format!("/{}", "x".repeat(2000)))
        .await;
    stop(process);
    let replay = site.replay(&toml);
    assert_eq!(lengths(&replay), [0, 0, 1], "{replay:#}");
    let why = replay["unknown"][0]["why"].as_str().expect("a sentence");
    assert!(why.contains("path is too long"), "{why}");
    let answer = site.check(&toml);
    assert_eq!(
        answer.code,
        Some(1),
        "unknown is not unchanged: {answer:#?}"
    );
    let by_header = route(
        "\"anyone\"",
        "deny = [{ header = { x-env = [\"test\"] } }]\n",
    );
    let replay = site.replay(&by_header);
    let text = replay["unknown"].to_string();
    assert!(
        text.contains("x-env") && !text.contains("test"),
        "{replay:#}"
    );
    let by_key = route("{ cn = \"shop\", api_key = \"ci\" }", "")
        + &format!(
            "[[gateway.api_key]]\nname = \"ci\"\nsha256 = \"{}\"\nfor = \"cn:shop\"\n",
            "5a".repeat(32)
        );
    let text = site.replay(&by_key)["unknown"].to_string();
    assert!(text.contains("tokens or API keys"), "{text}");
    // What neither a token nor a key can change is judged all the same.
    let key = format!(
        "[[gateway.api_key]]\nname = \"ci\"\nsha256 = \"{}\"\nfor = \"cn:shop\"\n",
        "5a".repeat(32)
    );
    let without = "deny = [{ cn = \"shop\", not = { api_key = \"ci\" } }]\n";
    for (allow, more, expected) in [
        (
            "{ cn = \"shop\" }, { cn = \"other\", api_key = \"ci\" }",
            "",
            [0, 0, 0],
        ),
        (
            "{ cn = \"shop\", path = \"/\" }, { cn = \"shop\", path = \"/x\", api_key = \"ci\" }",
            "",
            [0, 0, 0],
        ),
        ("{ cn = \"other\", api_key = \"ci\" }", "", [1, 0, 0]),
        ("{ cn = \"shop\" }", without, [0, 0, 1]),
        (
            "{ cn = \"other\" }, { cn = \"shop\", api_key = true }",
            "",
            [0, 0, 1],
        ),
    ] {
        let replay = site.replay(&(route(allow, more) + &key));
        // The other one has too long a path, whatever the rules.
        let [refused, admitted, unknown] = lengths(&replay);
        let found = [refused, admitted, unknown - 1];
        assert_eq!(found, expected, "{allow}: {replay:#}");
    }
    // What no header can change is judged all the same.
    let by_host = route(
        "\"anyone\"",
        "deny = [{ path = \"/other\", header = { x-env = [\"test\"] } }]\n",
    );
    assert_eq!(lengths(&site.replay(&by_host)), [0, 0, 1]);
}

#[tokio::test]
async fn decisions_outlive_a_restart_and_a_damaged_file_stops_nobody() {
    let site = Site::new();
    let toml = route("\"anyone\"", "");
    let file = site.installation.state().join(FILE);
    for count in 1..=2 {
        let process = site.installation.serve(&toml);
        site.ask(&process, Some(&site.shop), "GET", "/").await;
        stop(process);
        assert_eq!(site.replay(&toml)["decisions"], count);
    }
    let log = {
        fs::write(&file, "{\"no\": 1}\n").expect("written");
        let answer = site.installation.run(&["policy", "readiness"]);
        answer.assert_fault(3, &["decisions.jsonl", "line 1"]);
        let process = site.installation.serve(&toml);
        let outcome = site.ask(&process, Some(&site.shop), "GET", "/").await;
        assert_eq!(outcome.status(), Some(200));
        let log = process.wait_for_log(&["set aside"]);
        stop(process);
        log
    };
    assert!(log.contains("line 1"), "{log}");
    assert!(file.with_extension("damaged").exists());
    assert_eq!(site.replay(&toml)["decisions"], 1);
}

#[tokio::test]
async fn who_wants_nothing_kept_finds_nothing() {
    let site = Site::new();
    let toml = route("\"anyone\"", "");
    let process = site.installation.serve(&toml);
    site.ask(&process, Some(&site.shop), "GET", "/").await;
    stop(process);
    let file = site.installation.state().join(FILE);
    assert!(file.exists());
    let off = format!("{toml}\n[gateway.decisions]\nenabled = false\n");
    let process = site.installation.serve(&off);
    site.ask(&process, Some(&site.shop), "GET", "/").await;
    stop(process);
    assert!(!file.exists());
    let answer = site.installation.run(&["policy", "readiness"]);
    answer.assert_fault(1, &["no decisions are kept", "[gateway.decisions]"]);
}

#[tokio::test]
async fn readiness_names_who_comes_without_and_whom_shadow_rules_refuse() {
    let site = Site::new();
    let shadow = "[gateway.listener.route.shadow]\nallow = [{ cn = \"shop\" }]\n";
    let toml = route("\"anyone\"", shadow);
    let process = site.installation.serve(&toml);
    site.ask(&process, Some(&site.shop), "GET", "/").await;
    stop(process);
    let readiness = || {
        let readiness = site.installation.json(&["policy", "readiness"]);
        readiness["listeners"][0].clone()
    };
    assert_eq!(readiness()["ready"], true, "{:#}", readiness());
    // Seconds are no fortnight.
    let answer = site.installation.run(&["policy", "readiness", "--check"]);
    assert_eq!(answer.code, Some(1), "{answer:#?}");
    assert!(answer.stdout.contains("of 14 d"), "{answer:#?}");
    let answer = site
        .installation
        .run(&["policy", "readiness", "--check", "--since", "1m"]);
    assert_eq!(answer.code, Some(0), "{answer:#?}");

    let process = site.installation.serve(&toml);
    site.ask(&process, Some(&site.intern), "GET", "/").await;
    site.ask(&process, None, "GET", "/").await;
    stop(process);
    let listener = readiness();
    assert_eq!(listener["ready"], false, "{listener:#}");
    assert_eq!(listener["without_certificate"], 1, "{listener:#}");
    assert_eq!(listener["sources"][0]["what"], "127.0.0.1", "{listener:#}");
    let would: Vec<_> = array(&listener["identities"])
        .iter()
        .map(|it| &it["what"])
        .collect();
    assert_eq!(would.len(), 2, "{listener:#}");
    assert!(
        would.iter().any(|who| **who == "cn:intern (internal)"),
        "{listener:#}"
    );
    let answer = site
        .installation
        .run(&["policy", "readiness", "--check", "--since", "1m"]);
    assert_eq!(answer.code, Some(1), "{answer:#?}");
    let state = site.installation.state();
    assert!(text(&state).ends_with("state"));
}

/// Replaces each in the first line of what is kept.
fn change_kept(site: &Site, changes: &[(&str, String)]) {
    let file = site.installation.state().join(FILE);
    let mut kept = fs::read_to_string(&file).expect("kept");
    for (from, to) in changes {
        assert!(kept.contains(from), "{from}: {kept}");
        kept = kept.replacen(from, to, 1);
    }
    fs::write(&file, kept).expect("written");
}

#[tokio::test]
async fn what_is_missing_is_no_yes() {
    let site = Site::new();
    let toml = route("\"anyone\"", "");
    let process = site.installation.serve(&toml);
    site.ask(&process, Some(&site.shop), "GET", "/").await;
    stop(process);
    let readiness = || site.installation.json(&["policy", "readiness"]);
    let code = |arguments: &[&str]| site.installation.run(arguments).code;
    let since = ["--check", "--since", "1m"];
    let ready = [&["policy", "readiness"][..], &since].concat();
    assert_eq!((code(&ready), site.check(&toml).code), (Some(0), Some(0)));
    // Seconds are no fortnight for what is replayed either.
    assert_eq!(code(&["policy", "replay", "new.toml", "--check"]), Some(1));
    // What was lost long ago is not asked about.
    change_kept(&site, &[("\"evicted\":0", "\"evicted\":3".to_owned())]);
    assert_eq!(readiness()["ready"], true);
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let now = now.expect("a time after 1970").as_secs();
    let lost = format!("\"last_lost_unix_s\":{now}");
    change_kept(&site, &[("\"last_lost_unix_s\":0", lost.clone())]);
    let lossy = readiness();
    assert_eq!(lossy["ready"], false, "{lossy:#}");
    assert_eq!(lossy["listeners"][0]["ready"], false, "{lossy:#}");
    assert_eq!((code(&ready), site.check(&toml).code), (Some(1), Some(1)));
    change_kept(&site, &[(&lost, "\"last_lost_unix_s\":0".to_owned())]);
    assert_eq!(code(&ready), Some(0));
    // Connections that were there before anybody looked, and still are.
    let open = "\"open_without\":{\"web\":2}".to_owned();
    change_kept(&site, &[("\"open_without\":{}", open)]);
    let listener = &readiness()["listeners"][0];
    assert_eq!(
        (&listener["ready"], &listener["open_without"]),
        (&false.into(), &2.into())
    );
    assert_eq!(code(&ready), Some(1));

    // Nothing was asked: nothing can be said.
    fs::remove_file(site.installation.state().join(FILE)).expect("removed");
    stop(site.installation.serve(&toml));
    assert_eq!(site.check(&toml).code, Some(1));
    let kept = "{\"decisions\":{\"format\":1,\"observed\":{}}}\n";
    fs::write(site.installation.state().join(FILE), kept).expect("written");
    let empty = readiness();
    assert_eq!(empty["ready"], false, "{empty:#}");
    let answer = site.installation.run(&ready);
    assert_eq!(answer.code, Some(1), "{answer:#?}");
    assert!(answer.stdout.contains("no listener"), "{answer:#?}");
}

/// What was seen under other rules in shadow says nothing of these.
#[test]
fn rules_that_change_in_shadow_are_watched_anew() {
    let site = Site::new();
    let shadow = |who: &str| {
        let allow = format!("[gateway.listener.route.shadow]\nallow = [{{ cn = \"{who}\" }}]\n");
        route("\"anyone\"", &allow)
    };
    let trusting = "client_certificate = \"request\"\ntrust = [\"internal\"]\n";
    let other_shadow = shadow("shop").replace(
        "client_certificate = \"request\"\n",
        "client_certificate = \"request\"\nshadow = { client_certificate = \"require\" }\n",
    );
    let same_trust = shadow("shop").replace("client_certificate = \"request\"\n", trusting);
    let mut terms = Vec::new();
    for toml in [
        shadow("shop"),
        shadow("shop"),
        same_trust,
        shadow("intern"),
        other_shadow,
    ] {
        stop(site.installation.serve(&toml));
        let kept = fs::read_to_string(site.installation.state().join(FILE)).expect("kept");
        let first = kept.lines().next().expect("a line");
        let first: Value = serde_json::from_str(first).expect("JSON");
        let record = &first["decisions"]["observed"]["listeners"]["web"];
        terms.push(record["terms"].as_str().expect("a hash").to_owned());
    }
    assert_eq!([&terms[1], &terms[2]], [&terms[0]; 2]);
    assert!(terms[3] != terms[0] && terms[4] != terms[0] && terms[4] != terms[3]);
}

#[tokio::test]
async fn connection_without_a_certificate_counts_while_it_is_open() {
    let site = Site::new();
    let toml = route("\"anyone\"", "");
    let process = site.installation.serve(&toml);
    let protocol = Protocol::Http2Tls13;
    let client = Client::new(&site.shop.root(), None, protocol, "localhost");
    let connection = client.connect(process.gateway()).await.expect("connects");
    let open = async |count: u64| {
        let begun = Instant::now();
        loop {
            let answer = site.installation.run(&["policy", "readiness", "--json"]);
            let said = serde_json::from_str::<Value>(&answer.stdout).unwrap_or_default();
            if said["listeners"][0]["open_without"] == count {
                return said["ready"].clone();
            }
            assert!(begun.elapsed() < Duration::from_mins(1), "{answer:#?}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    assert_eq!(open(1).await, false);
    drop(connection);
    open(0).await;
    stop(process);
}

/// A gateway without an authority has nothing in its folder by which that is known to be its own but the names.
#[test]
fn gateway_alone_starts_again_in_what_a_killed_one_left() {
    let fleet = Fleet::new();
    let authority = fleet.run_authority("");
    let gateway = fleet.run_gateway("");
    let state = fleet.gateway.state();
    gateway.signal(Signal::KILL);
    gateway.wait();
    let folder = state.join(FILE);
    let folder = folder.parent().expect("a folder");
    fs::create_dir_all(folder).expect("writable");
    let left = folder.join(".decisions.jsonl.0123456789abcdef.tmp");
    fs::write(&left, "{").expect("writable");
    fs::create_dir_all(state.join("lists")).expect("writable");
    fs::write(state.join("lists/list.der"), "").expect("writable");
    let gateway = fleet.run_gateway("");
    assert!(!left.exists(), "nobody would ever take it away");
    let names = fs::read_dir(&state).expect("readable");
    let names = names.map(|entry| entry.expect("an entry").file_name());
    assert!(
        !names
            .into_iter()
            .any(|name| name.to_string_lossy().contains("decisions."))
    );
    stop(gateway);
    // What shall not be kept is not, however it is called.
    fs::write(folder.join("decisions.damaged"), "{").expect("writable");
    let off = fleet.gateway_toml("gw-1", "") + "\n[gateway.decisions]\nenabled = false\n";
    stop(fleet.gateway.serve(&off));
    assert!(!folder.exists());
    stop(authority);
}

#[tokio::test]
async fn identity_is_told_of_the_first_time_only() {
    let site = Site::new();
    let toml = route("\"anyone\"", "");
    let process = site.installation.serve(&toml);
    site.ask(&process, Some(&site.shop), "GET", "/").await;
    let line = process.wait_for_log(&["an identity is unusual"]);
    assert!(
        line.contains("first-seen") && line.contains("cn:shop"),
        "{line}"
    );
    stop(process);
    let process = site.installation.serve(&toml);
    site.ask(&process, Some(&site.shop), "GET", "/").await;
    site.ask(&process, Some(&site.intern), "GET", "/").await;
    process.wait_for_log(&["an identity is unusual"]);
    let log = process.log();
    assert!(
        log.contains("cn:intern") && !log.contains("cn:shop"),
        "{log}"
    );
    stop(process);
}

const BY_SHADOW: &str = "client_certificate = \"off\"\nshadow = { client_certificate = \"require\" }\n[[gateway.listener.route]]\nupstream = \"demo\"\nallow = [\"anyone\"]\n";

#[tokio::test]
async fn certificate_in_shadow_gets_exactly_what_none_gets_and_is_told_of() {
    let site = Site::new();
    let toml = configuration(BY_SHADOW);
    let process = site.installation.serve(&toml);
    let elsewhere = Installation::new();
    let stranger = elsewhere.issue("client", "shop", &[]);
    let mut answers = Vec::new();
    for who in [None, Some(&stranger), Some(&site.shop)] {
        let outcome = site.ask(&process, who, "GET", "/").await;
        assert_eq!(outcome.status(), Some(200), "{outcome:?}");
        // But for the port.
        let text = outcome.text();
        let lines = text.lines().filter(|line| !line.starts_with("  from"));
        answers.push(lines.collect::<Vec<_>>().join("\n"));
    }
    assert!(
        answers
            .iter()
            .all(|it| *it == answers[0] && !it.contains("shop")),
        "{answers:#?}"
    );
    process.wait_for_log(&["other terms for certificates", "client-cert-not-sent"]);
    stop(process);
    let readiness = site.installation.json(&["policy", "readiness"]);
    let listener = &readiness["listeners"][0];
    assert_eq!(listener["shadow"], "require of internal", "{listener:#}");
    assert_eq!(listener["ready"], false);
    // Who showed a good certificate is no obstacle.
    assert_eq!(listener["without_certificate"], 2, "{listener:#}");
    assert_eq!(array(&listener["would_refuse"]).len(), 2, "{listener:#}");

    // Where everybody shows a good one it is ready, as soon as that was seen for long enough.
    fs::remove_file(site.installation.state().join(FILE)).expect("removed");
    let process = site.installation.serve(&toml);
    site.ask(&process, Some(&site.shop), "GET", "/").await;
    stop(process);
    let answer = site
        .installation
        .run(&["policy", "readiness", "--check", "--since", "1m"]);
    assert_eq!(answer.code, Some(0), "{answer:#?}");
}

#[test]
fn shadow_that_tries_nothing_out_is_refused() {
    let installation = Installation::new();
    let check = |keys: &str, route: &str, word: &str| {
        let toml = configuration(&format!(
            "{keys}\n[[gateway.listener.route]]\nupstream = \"demo\"\nallow = [\"{route}\"]\n"
        ));
        installation.write("bad.toml", &toml);
        let answer = crate::installation::countersign(
            &installation.path("."),
            &["config", "check", "bad.toml"],
        );
        assert_ne!(answer.code, Some(0), "{toml}");
        assert!(answer.stderr.contains(word), "{toml}: {answer:#?}");
    };
    for (keys, word) in [
        (
            "client_certificate = \"request\"\nshadow = { client_certificate = \"request\" }",
            "in force already",
        ),
        (
            "client_certificate = \"off\"\nshadow = { client_certificate = \"off\" }",
            "nothing to judge",
        ),
        (
            "client_certificate = \"off\"\nshadow = { trust = [\"internal\"] }",
            "nothing to judge",
        ),
        (
            "client_certificate = \"request\"\nshadow = { trust = [\"acme\"] }",
            "no trust bundle",
        ),
        (
            "client_certificate = \"request\"\nshadow = { trust = [] }",
            "empty",
        ),
        (
            "client_certificate = \"request\"\nshadow = { allow = [\"anyone\"] }",
            "listener of bytes",
        ),
    ] {
        check(keys, "anyone", word);
    }
    check(
        "shadow = { client_certificate = \"request\" }",
        "any-trusted",
        "requires certificates",
    );
}

#[tokio::test]
async fn attempts_to_get_round_the_rules_are_counted_and_honest_proxies_are_not() {
    let site = Site::new();
    let process = site.installation.serve(&route("\"anyone\"", ""));
    for (name, value) in [
        ("x-forwarded-for", "10.0.0.1"),
        ("X-Client-CN", "admin"),
        ("client_cert", ":AA==:"),
    ] {
        let request = Request::get("/")
            .header("host", "localhost")
            .header(name, value);
        let request = request.body(Full::default()).expect("a request");
        let outcome = site.client(None).request(process.gateway(), request).await;
        assert_eq!(outcome.status(), Some(200), "{outcome:?}");
        assert!(!outcome.text().contains(value), "{outcome:?}");
    }
    process.wait_for_log(&["get round", "forged-identity"]);
    let url = process.field("metrics").to_owned();
    let address = url
        .trim_start_matches("http://")
        .trim_end_matches("/metrics");
    let address = address.parse().expect("an address");
    let metrics =
        tokio::task::spawn_blocking(move || crate::metrics::plain_get(address, "/metrics", ""));
    let metrics = metrics.await.expect("no panic");
    let line =
        "countersign_gateway_bypass_attempts_total{listener=\"web\",kind=\"forged-identity\"} 2";
    assert!(metrics.contains(line), "{metrics}");
    stop(process);
}
