//! `countersign scan`: who must be refused is sent over the network, and whoever comes in is told.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use countersign_testkit::ephemeral;
use countersign_testkit::process::Process;
use rustix::process::Signal;
use serde_json::Value;

use crate::installation::{Installation, Issued, countersign, text};
use crate::json::array;
use crate::metrics::{metrics_address, plain_get};
use crate::nginx::Nginx;
use crate::peers::peer;

const EVERYBODY: [&str; 7] = [
    "plaintext",
    "nobody",
    "stranger",
    "wrong-purpose",
    "expired",
    "revoked",
    "unnamed",
];

/// A service that answers every connection over HTTP, for as long as the test runs.
fn service(address: &str) -> SocketAddr {
    let listener = TcpListener::bind(address).expect("binds");
    let at = listener.local_addr().expect("an address");
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.expect("accepts");
            let _ = stream.read(&mut [0; 4096]);
            let _ = stream.write_all(
                b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\nconnection: close\r\n\r\nsecret",
            );
        }
    });
    at
}

/// `openssl s_server`, which answers a GET whoever asks unless it is told otherwise. Ended with the value, by its id.
struct Server(Child);

impl Server {
    fn start(at: SocketAddr, of: &Issued, arguments: &[&str]) -> Self {
        let mut child = Command::new("openssl")
            .args(["s_server", "-quiet", "-www", "-accept", &at.to_string()])
            .args([
                "-cert",
                text(&of.certificate()),
                "-cert_chain",
                text(&of.certificate()),
            ])
            .args(["-key", text(&of.key()), "-CAfile", text(&of.ca())])
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("openssl starts");
        let begun = Instant::now();
        while std::net::TcpStream::connect(at).is_err() {
            let ended = child.try_wait().expect("our child");
            assert!(ended.is_none() && begun.elapsed() < HANG, "{ended:?}");
            std::thread::sleep(Duration::from_millis(10));
        }
        Self(child)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn configuration(address: SocketAddr, upstream: &str) -> String {
    format!(
        "[gateway]\nworkers = 1\nmetrics_address = \"{}\"\n[[gateway.listener]]\naddress = \"{address}\"\n{upstream}",
        ephemeral::address()
    )
}

fn http(upstream: &str) -> String {
    format!(
        "[[gateway.listener.route]]\nhost = \"localhost\"\nupstream = \"{upstream}\"\nallow = [\"any-trusted\"]\n"
    )
}

fn scan(installation: &Installation, code: i32) -> Value {
    let file = installation.path("countersign.toml");
    let scanned = installation.run(&["scan", "--config", text(&file), "--json"]);
    assert_eq!(scanned.code, Some(code), "{scanned:#?}");
    serde_json::from_str(&scanned.stdout).expect("JSON")
}

/// Visitors with what became of them.
fn receptions(report: &Value) -> Vec<(&str, &str)> {
    array(&report["visits"])
        .iter()
        .map(|visit| {
            let word = |name: &str| visit[name].as_str().expect("a word");
            (word("visitor"), word("reception"))
        })
        .collect()
}

fn causes(report: &Value) -> Vec<&str> {
    let findings = array(&report["findings"]).iter();
    let faults = findings.filter(|finding| finding["severity"] == "fault");
    faults
        .map(|finding| finding["cause"].as_str().expect("a slug"))
        .collect()
}

#[test]
fn our_gateway_shuts_everybody_out_and_the_canaries_are_on_record() {
    let installation = Installation::new();
    let upstream = service("127.0.0.1:0");
    let gateway = ephemeral::address();
    let second = format!(
        "[[gateway.listener]]\naddress = \"{}\"\nupstream = \"tcp://{upstream}\"\nallow = [\"any-trusted\"]\n",
        ephemeral::address()
    );
    let toml = configuration(gateway, &http(&format!("http://{upstream}"))) + &second;
    let _process = installation.serve(&toml);
    let report = scan(&installation, 0);
    assert_eq!(report["healthy"], true);
    let expected: Vec<_> = EVERYBODY.map(|visitor| (visitor, "refused")).into();
    assert_eq!(receptions(&report), [expected.clone(), expected].concat());

    let canaries = installation.certificates(&["--profile", "canary"]);
    assert_eq!(canaries.len(), 3, "{canaries:#?}");
    assert!(canaries.iter().any(|it| it["status"] == "revoked"));
    let log = installation.ok(&["audit", "export"]);
    for canary in &canaries {
        let serial = canary["serial"].as_str().expect("a serial");
        assert!(
            log.contains(&format!("\"action\":\"issue\",\"object\":\"{serial}\"")),
            "{log}"
        );
    }
    // The refusals are told as any other.
    let explained = installation.ok(&["explain", "--from", "127.0.0.1", "--since", "5m"]);
    for cause in [
        "client-cert-not-sent",
        "leaf-expired",
        "certificate-revoked",
        "eku-missing-clientauth",
        "identity-not-allowed",
    ] {
        assert!(explained.contains(cause), "{cause} in {explained}");
    }
}

#[test]
fn other_host_than_the_sni_is_refused() {
    let installation = Installation::new();
    let upstream = service("127.0.0.1:0");
    let two = format!(
        "[[gateway.listener.route]]\nhost = \"a.test\"\nupstream = \"http://{upstream}\"\nallow = [\"any-trusted\"]\n\
         [[gateway.listener.route]]\nhost = \"b.test\"\nupstream = \"http://{upstream}\"\nallow = [\"any-trusted\"]\n"
    );
    let _process = installation.serve(&configuration(ephemeral::address(), &two));
    let report = scan(&installation, 0);
    let others: Vec<_> = receptions(&report)
        .into_iter()
        .filter(|(visitor, _)| *visitor == "other-host")
        .collect();
    assert_eq!(others, [("other-host", "refused"); 2]);
}

#[test]
fn canaries_are_judged_where_their_authority_is_trusted_though_the_first_route_is_for_others() {
    let (installation, acme) = (Installation::new(), Installation::new());
    let other = acme.issue("server", "localhost", &[]);
    let route = |host: &str, trust: &str| {
        format!(
            "[[gateway.listener.route]]\nhost = \"{host}\"\n{trust}upstream = \"demo\"\nallow = [\"any-trusted\"]\n"
        )
    };
    let toml = configuration(ephemeral::address(), "trust = [\"internal\", \"acme\"]\n")
        + &route("a.test", "trust = [\"acme\"]\n")
        + &route("b.test", "")
        + &format!("[trust.acme]\nbundle = \"{}\"\n", text(&other.ca()));
    let _process = installation.serve(&toml);
    let report = scan(&installation, 0);
    let judged: Vec<_> = array(&report["visits"])
        .iter()
        .filter(|visit| visit["visitor"] == "revoked")
        .collect();
    assert_eq!(judged.len(), 1, "{report:#}");
    assert_eq!(judged[0]["door"]["name"], "listener-1 (b.test)");
    // For what is wrong with it, not for whose it is.
    let how = judged[0]["how"].as_str().expect("words");
    assert!(how.contains("certificate_revoked"), "{report:#}");
    assert!(
        report["left_out"]
            .to_string()
            .contains("listener-1 (a.test)"),
        "{report:#}"
    );
}

#[test]
fn service_that_others_reach_without_the_gateway_is_a_way_round() {
    let installation = Installation::new();
    let everywhere = service("0.0.0.0:0");
    let upstream = format!("http://127.0.0.1:{}", everywhere.port());
    let _process = installation.serve(&configuration(ephemeral::address(), &http(&upstream)));
    let report = scan(&installation, 1);
    assert_eq!(causes(&report), ["plaintext-also-accepted"]);
    let message = report["findings"][0]["message"]
        .as_str()
        .expect("a sentence");
    assert!(
        message.contains(&format!("listens on 0.0.0.0:{}", everywhere.port())),
        "{message}"
    );
}

#[test]
fn whatever_stands_in_the_gateways_place_and_lets_them_in_is_found_out() {
    if peer(
        "whatever_stands_in_the_gateways_place_and_lets_them_in_is_found_out",
        "openssl",
    )
    .is_none()
    {
        return;
    }
    let installation = Installation::new();
    let server = installation.issue("server", "localhost", &[]);
    let at = ephemeral::address();
    installation.write(
        "countersign.toml",
        &configuration(at, &http("http://127.0.0.1:1")),
    );
    // It asks for a certificate, takes any and none, and knows nothing of revocation.
    let lax = Server::start(at, &server, &["-verify", "3"]);
    let report = scan(&installation, 1);
    let admitted: Vec<_> = receptions(&report)
        .into_iter()
        .filter(|(_, reception)| *reception == "admitted")
        .collect();
    for visitor in ["nobody", "stranger", "revoked", "unnamed"] {
        assert!(
            admitted.contains(&(visitor, "admitted")),
            "{visitor}: {report:#}"
        );
    }
    assert!(
        causes(&report).contains(&"revocation-not-checked"),
        "{report:#}"
    );
    assert_eq!(causes(&report)[0], "client-auth-not-enforced");
    drop(lax);
    // It wants a good one, and goes by no rule and no list.
    let _strict = Server::start(at, &server, &["-Verify", "3", "-verify_return_error"]);
    let report = scan(&installation, 1);
    let seen = receptions(&report);
    for visitor in [
        "plaintext",
        "nobody",
        "stranger",
        "wrong-purpose",
        "expired",
    ] {
        assert!(
            seen.contains(&(visitor, "refused")),
            "{visitor}: {report:#}"
        );
    }
    for visitor in ["revoked", "unnamed"] {
        assert!(
            seen.contains(&(visitor, "admitted")),
            "{visitor}: {report:#}"
        );
    }
}

#[test]
fn gateway_that_nobody_can_ask_is_not_called_shut() {
    let installation = Installation::new();
    installation.write(
        "countersign.toml",
        &configuration(ephemeral::address(), &http("http://127.0.0.1:1")),
    );
    assert_eq!(causes(&scan(&installation, 1)), ["connection-refused"]);
}

/// What the metric says, once it says anything.
fn enforcement_ok(process: &Process) -> u8 {
    let begun = Instant::now();
    loop {
        let metrics = plain_get(metrics_address(process), "/metrics", "");
        let mut lines = metrics.lines();
        let told =
            lines.find_map(|line| line.strip_prefix("countersign_gateway_enforcement_ok{} "));
        if let Some(told) = told {
            return told.trim().parse().expect("0 or 1");
        }
        assert!(begun.elapsed() < HANG, "{metrics}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// A change of the configuration, after which the gateway looks at itself soon, whatever `self_check` says.
fn change(installation: &Installation, process: &Process, toml: &str) {
    installation.write("countersign.toml", toml);
    process.signal(Signal::HUP);
}

#[test]
fn gateway_looks_at_itself_and_tells_what_it_found() {
    let installation = Installation::new();
    let toml = configuration(ephemeral::address(), &http("demo"));
    let process = installation.serve(&toml);
    let before = plain_get(metrics_address(&process), "/metrics", "");
    assert!(!before.contains("enforcement_ok{} 1"), "{before}");
    change(
        &installation,
        &process,
        &format!("{toml}# and now\n").replace("[gateway]", "[gateway]\nself_check = \"2h\""),
    );
    assert_eq!(enforcement_ok(&process), 1, "{}", process.log());
    let metrics = plain_get(metrics_address(&process), "/metrics", "");
    let at = metrics.lines().find_map(|line| {
        line.strip_prefix("countersign_gateway_enforcement_last_check_seconds{} ")
    });
    assert!(at.is_some_and(|at| at.trim().len() == 10), "{metrics}");
    let canaries = installation.certificates(&["--profile", "canary"]);
    assert!(
        canaries.iter().any(|it| it["status"] == "revoked"),
        "{canaries:#?}"
    );
}

#[test]
fn listener_whose_certificates_nobody_can_try_is_not_called_shut() {
    let installation = Installation::new();
    let partner = Installation::new();
    let ca = partner.issue("client", "you", &[]).ca();
    let listener = format!(
        "[[gateway.listener]]\naddress = \"{}\"\ntrust = [\"acme\"]\n{}",
        ephemeral::address(),
        http("demo")
    );
    let toml = configuration(ephemeral::address(), &http("demo"))
        + &listener
        + &format!("[trust.acme]\nbundle = \"{}\"\n", text(&ca));
    let process = installation.serve(&toml);
    let soon = toml.replace("[gateway]\n", "[gateway]\nself_check = \"2h\"\n");
    change(&installation, &process, &soon);
    assert_eq!(enforcement_ok(&process), 1, "{}", process.log());
    let metrics = plain_get(metrics_address(&process), "/metrics", "");
    let unseen = metrics
        .lines()
        .find_map(|line| line.strip_prefix("countersign_gateway_enforcement_unseen{} "));
    assert_eq!(unseen.map(str::trim), Some("1"), "{metrics}");
}

#[test]
fn check_that_would_flood_the_inventory_is_refused_at_load() {
    let installation = Installation::empty();
    let check = |every: &str, code| {
        let toml = configuration(ephemeral::address(), &http("demo"));
        let toml = toml.replace("[gateway]", &format!("[gateway]\nself_check = \"{every}\""));
        installation.write("countersign.toml", &toml);
        let file = installation.path("countersign.toml");
        let checked = countersign(&installation.path(""), &["config", "check", text(&file)]);
        assert_eq!(checked.code, Some(code), "{every}: {checked:#?}");
        checked
    };
    for every in ["1s", "59s"] {
        let refused = check(every, 2);
        for part in ["gateway.self_check", "shorter than 1m", "hint: "] {
            assert!(refused.stderr.contains(part), "{every}: {}", refused.stderr);
        }
    }
    check("1ms", 2);
    for every in ["0s", "1m", "1h"] {
        check(every, 0);
    }
}

#[test]
fn route_beside_a_more_specific_one_is_asked_for_what_is_its_own() {
    let installation = Installation::new();
    let upstream = service("127.0.0.1:0");
    let route = |path: &str, allow: &str| {
        format!(
            "[[gateway.listener.route]]\npath = \"{path}\"\nupstream = \"http://{upstream}\"\nallow = [\"{allow}\"]\n"
        )
    };
    // Whoever asked for `/a/any` or `/` would be let in there, as anybody may be.
    let routes = [
        route("/a/*", "any-trusted"),
        route("/a/any", "anyone"),
        route("/**", "any-trusted"),
        route("/", "anyone"),
    ]
    .concat();
    let toml = configuration(ephemeral::address(), "client_certificate = \"request\"\n") + &routes;
    let toml = toml.replace(
        "allow = [\"any-trusted\"]",
        "client_certificate = \"require\"\nallow = [\"any-trusted\"]",
    );
    let _process = installation.serve(&toml);
    let report = scan(&installation, 0);
    let nobody: Vec<_> = receptions(&report)
        .into_iter()
        .filter(|(visitor, _)| *visitor == "nobody")
        .collect();
    assert_eq!(nobody, [("nobody", "refused"); 2], "{report:#}");
}

#[test]
fn service_that_says_no_to_a_stranger_whom_tls_took_is_a_risk_of_its_own() {
    let test = "service_that_says_no_to_a_stranger_whom_tls_took_is_a_risk_of_its_own";
    let Some(program) = peer(test, "nginx") else {
        return;
    };
    let installation = Installation::new();
    let of = installation.issue("server", "localhost", &[]);
    let nginx = |verify: &str| {
        Nginx::start(&program, |address| {
            format!(
                "server {{ listen {address} ssl; ssl_certificate {}; ssl_certificate_key {}; ssl_client_certificate {}; ssl_verify_client {verify};\nreturn 401; }}",
                text(&of.certificate()),
                text(&of.key()),
                text(&of.ca())
            )
        })
    };
    // `optional_no_ca` takes every certificate; a password is asked for behind it.
    let lax = nginx("optional_no_ca");
    let host = lax.address().to_string();
    let port = lax.address().port().to_string();
    let report = scan_host(&installation, &[&host, "--port", &port], 0);
    assert_eq!(
        report["ports"][0]["stranger"]["reception"], "refused-behind",
        "{report:#}"
    );
    assert_eq!(
        report["ports"][0]["client_certificate"], "asked for",
        "{report:#}"
    );
    let finding = &report["findings"][0];
    assert_eq!(finding["severity"], "risk", "{report:#}");
    assert_eq!(finding["cause"], "client-auth-not-enforced");
    // What nginx itself says of certificates is a refusal.
    let strict = nginx("on");
    let host = strict.address().to_string();
    let port = strict.address().port().to_string();
    let report = scan_host(&installation, &[&host, "--port", &port], 0);
    assert_eq!(
        report["ports"][0]["stranger"]["reception"], "refused",
        "{report:#}"
    );
    assert_eq!(
        report["ports"][0]["client_certificate"], "required",
        "{report:#}"
    );
    assert_eq!(array(&report["findings"]).len(), 0, "{report:#}");
}

#[test]
fn gateway_that_goes_by_no_revocation_is_found_out_though_its_rules_refuse_canaries() {
    let test = "gateway_that_goes_by_no_revocation_is_found_out_though_its_rules_refuse_canaries";
    if peer(test, "openssl").is_none() {
        return;
    }
    // The gateway that serves knows the root as somebody else's, and hears nothing of what its authority revokes.
    let (authority, gateway) = (Installation::new(), Installation::new());
    let you = authority.issue("server", "localhost", &[]);
    let toml = configuration(
        ephemeral::address(),
        &format!(
            "trust = [\"other\"]\ncertificate = \"{}\"\nkey = \"{}\"\n",
            text(&you.certificate()),
            text(&you.key())
        ),
    );
    let toml = format!(
        "{toml}[[gateway.listener.route]]\nupstream = \"demo\"\nallow = [{{ bundle = \"other\", cn = \"nobody\" }}]\n[trust.other]\nbundle = \"{}\"\n",
        text(&you.ca())
    );
    let _process = gateway.serve(&toml);
    // As the authority's own configuration has it, the listener trusts its bundle.
    authority.write(
        "countersign.toml",
        &toml
            .replace("trust = [\"other\"]", "trust = [\"internal\"]")
            .replace("bundle = \"other\", ", ""),
    );
    let report = scan(&authority, 1);
    let seen = receptions(&report);
    assert!(seen.contains(&("revoked", "admitted")), "{report:#}");
    for visitor in ["expired", "wrong-purpose", "unnamed", "stranger", "nobody"] {
        assert!(
            seen.contains(&(visitor, "refused")),
            "{visitor}: {report:#}"
        );
    }
    assert_eq!(causes(&report), ["revocation-not-checked"]);
}

fn scan_host(installation: &Installation, arguments: &[&str], code: i32) -> Value {
    let scanned = installation.run(&[&["scan", "--json"], arguments].concat());
    assert_eq!(scanned.code, Some(code), "{scanned:#?}");
    serde_json::from_str(&scanned.stdout).expect("JSON")
}

#[test]
fn port_beside_the_shut_one_is_a_way_round_where_it_serves_the_same() {
    if peer(
        "port_beside_the_shut_one_is_a_way_round_where_it_serves_the_same",
        "openssl",
    )
    .is_none()
    {
        return;
    }
    let installation = Installation::new();
    let server = installation.issue("server", "localhost", &[]);
    let [shut, open, other] = [(); 3].map(|()| ephemeral::address());
    let _shut = Server::start(shut, &server, &["-Verify", "3", "-verify_return_error"]);
    let port = |at: SocketAddr| at.port().to_string();
    let host = format!("127.0.0.1:{}", shut.port());
    let arguments = |ports: &[SocketAddr]| -> Vec<String> {
        let mut all = vec![host.clone()];
        for at in ports {
            all.extend(["--port".to_owned(), port(*at)]);
        }
        all
    };
    let run = |ports: &[SocketAddr], code| {
        let arguments = arguments(ports);
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        scan_host(&installation, &arguments, code)
    };
    let alone = run(&[shut, other], 0);
    assert_eq!(
        alone["ports"][0]["client_certificate"], "required",
        "{alone:#}"
    );
    assert_eq!(causes(&alone), [""; 0]);

    let _open = Server::start(open, &server, &[]);
    let twin = run(&[open], 1);
    assert_eq!(causes(&twin), ["client-cert-not-requested"]);
    assert!(
        twin["findings"][0]["message"]
            .as_str()
            .is_some_and(|it| it.contains("with the key of")),
        "{twin:#}"
    );

    // Another service without TLS: a risk, for nobody can tell from here.
    let plain = service("127.0.0.1:0");
    let beside = run(&[plain], 0);
    assert_eq!(beside["findings"][0]["severity"], "risk", "{beside:#}");
}

#[test]
fn host_without_a_shut_port_and_host_without_an_open_one_are_faults() {
    let installation = Installation::empty();
    let plain = service("127.0.0.1:0");
    let port = plain.port().to_string();
    let open = scan_host(&installation, &["127.0.0.1", "--port", &port], 1);
    assert_eq!(causes(&open), ["client-cert-not-requested"]);
    let shut = scan_host(&installation, &[&format!("127.0.0.1:{port}")], 1);
    assert_eq!(causes(&shut), ["plaintext-also-accepted"]);
    let closed = ephemeral::address();
    let nothing = scan_host(&installation, &[&closed.to_string(), "--port", "1"], 1);
    assert_eq!(causes(&nothing)[0], "connection-refused");
    let nowhere = scan_host(&installation, &["nowhere.invalid", "--port", "1"], 1);
    assert_eq!(causes(&nowhere), ["name-not-resolved"]);
}

#[test]
fn what_cannot_be_asked_is_told() {
    let installation = Installation::empty();
    installation.run(&["scan"]).assert_fault(2, &["HOST"]);
    installation.run(&["scan", "a:b"]).assert_fault(2, &["a:b"]);
    installation.write("empty.toml", "");
    let file = installation.path("empty.toml");
    installation
        .run(&["scan", "--config", text(&file)])
        .assert_fault(2, &["no listener"]);
}

/// Only catches a hang.
const HANG: Duration = Duration::from_secs(20);
