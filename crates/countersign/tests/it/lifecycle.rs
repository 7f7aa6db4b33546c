//! From the first run to the end: what is kept, what is renewed, what is finished.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc::channel;
use std::time::Instant;

use countersign_testkit::bypass::Protocol;
use countersign_testkit::process::Process;
use countersign_testkit::service::Service;
use rustix::process::Signal;

use crate::files::contents;
use crate::http::{Connection, get};
use crate::installation::{Answer, Installation, Issued, binary, countersign, text};
use crate::openssl::x509;
use crate::peers::peer;
use crate::snapshot::snapshot;

#[test]
fn second_run_keeps_every_identity() {
    let installation = Installation::empty();
    let first = installation.up(&["--name", "api.example.test"]);
    let before = identities(&installation);
    assert!(before.len() >= 5, "{before:?}");
    let listed = installation.json(&["list"]);
    assert!(first.interrupt().success());

    let begun = Instant::now();
    let second = installation.up(&["--name", "api.example.test"]);
    println!(
        "the second run is serving after {} ms",
        begun.elapsed().as_millis()
    );
    assert_eq!(identities(&installation), before);
    assert_eq!(installation.json(&["list"]), listed);
    assert!(second.interrupt().success());
}

#[test]
fn init_then_up_is_the_same_authority() {
    let installation = Installation::empty();
    installation.ok(&[
        "init",
        "--subject",
        "O=Example",
        "--years",
        "3",
        "--trust-domain",
        "example.test",
    ]);
    let ca = fs::read_to_string(installation.state().join("ca.pem")).expect("init makes it");
    let gateway = installation.up(&[]);
    assert_eq!(
        fs::read_to_string(gateway.path("ca")).expect("announced"),
        ca
    );
    let again = installation.run(&["init"]);
    assert!(matches!(again.code, Some(1..=3)), "{again:#?}");
    assert!(again.stderr.starts_with("error: "), "{again:#?}");
}

#[test]
fn authority_alone_issues_reloads_and_ends() {
    let installation = Installation::new();
    let running = installation.serve("[authority]\n[gateway]\nmetrics_address = \"127.0.0.1:0\"\n");
    assert_eq!(running.ready()["listeners"], serde_json::json!([]));
    installation.issue("client", "order-service", &[]);
    installation.write(
        "countersign.toml",
        "[authority.profile.short]\nlike = \"client\"\n[gateway]\nmetrics_address = \"127.0.0.1:0\"\n",
    );
    running.signal(Signal::HUP);
    running.wait_for_log(&["reload"]);
    installation.issue("short", "cron", &[]);
    assert!(running.interrupt().success());
}

#[test]
fn lines_that_up_prints_for_pasting_do_what_they_say() {
    let Some(_) = peer("lines_that_up_prints_for_pasting_do_what_they_say", "curl") else {
        return;
    };
    let installation = Installation::empty();
    let state = installation.state();
    let mut command = Command::new(binary());
    command.args([
        "up",
        "--listen",
        "127.0.0.1:0",
        "--metrics",
        "127.0.0.1:0",
        "--state",
        text(&state),
    ]);
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("it starts");
    let mut lines = BufReader::new(child.stdout.take().expect("piped"))
        .lines()
        .map_while(Result::ok);
    let mut printed = String::new();
    for line in lines.by_ref() {
        printed.push_str(&line);
        printed.push('\n');
        if line.contains("Ctrl-C") {
            break;
        }
    }
    let pasted = |start: &str| -> Vec<String> {
        let trimmed = printed
            .lines()
            .map(|line| line.trim().trim_start_matches("$ "));
        trimmed
            .filter(|line| line.starts_with(start))
            .map(str::to_owned)
            .collect()
    };
    let shell = |line: &str| {
        let function = format!(
            "countersign() {{ '{}' \"$@\"; }}; cd '{}'; {line}",
            text(binary()),
            text(&installation.path(""))
        );
        Answer::of(Command::new("sh").args(["-c", &function]))
    };
    let curls = pasted("curl ");
    assert_eq!(curls.len(), 2, "{printed}");
    let (works, refused) = (shell(&curls[0]), shell(&curls[1]));
    assert_eq!(works.code, Some(0), "{works:#?}\n{printed}");
    assert!(works.stdout.contains("you"), "{works:#?}");
    assert_ne!(refused.code, Some(0), "{refused:#?}\n{printed}");
    let others = pasted("countersign ");
    assert!(others.len() >= 2, "{printed}");
    for line in &others {
        let done = shell(line);
        assert_eq!(done.code, Some(0), "{line}: {done:#?}");
    }
    snapshot("up", &installation, &printed);
    let _ = child.kill();
    let _ = child.wait();
}

#[test]
fn gateway_certificate_has_every_name_that_was_asked_for() {
    let Some(openssl) = peer(
        "gateway_certificate_has_every_name_that_was_asked_for",
        "openssl",
    ) else {
        return;
    };
    let installation = Installation::empty();
    let gateway = installation.up(&["--name", "a.example.test", "--name", "b.example.test"]);
    let certificate = installation.state().join("gateway/cert.pem");
    let shown = x509(&openssl, &certificate);
    for name in [
        "DNS:localhost",
        "DNS:a.example.test",
        "DNS:b.example.test",
        "IP Address:127.0.0.1",
        "IP Address:0:0:0:0:0:0:0:1",
    ] {
        assert!(shown.contains(name), "{name} in {shown}");
    }
    let host = fs::read_to_string("/proc/sys/kernel/hostname").expect("Linux has it");
    assert!(
        shown.contains(&format!("DNS:{}", host.trim())),
        "{host} in {shown}"
    );
    assert!(gateway.interrupt().success());
    // A further name on a later run is in the certificate too.
    let gateway = installation.up(&["--name", "c.example.test"]);
    let shown = x509(&openssl, &certificate);
    assert!(shown.contains("DNS:c.example.test"), "{shown}");
    drop(gateway);
}

#[test]
fn names_once_given_stay_until_there_is_no_room() {
    let installation = Installation::empty();
    drop(installation.up(&["--name", "given.example.test"]));
    let names = || {
        let certificate = installation.state().join("gateway/cert.pem");
        let answer = countersign(
            &installation.path(""),
            &["inspect", text(&certificate), "--json"],
        );
        assert_eq!(answer.code, Some(0), "{answer:#?}");
        answer.stdout
    };
    drop(installation.up(&["--name", "later.example.test"]));
    assert!(names().contains("given.example.test"), "{}", names());
    // As many as a certificate may have, like those left by a host name that changed at each start.
    let gateway = installation.state().join("gateway");
    fs::remove_file(gateway.join("names")).expect("up makes it");
    let hosts: Vec<String> = (0..95).map(|at| format!("--dns=host{at}")).collect();
    let mut issue = vec!["issue", "server", "given.example.test", "--force", "--out"];
    issue.push(text(&gateway));
    issue.extend(hosts.iter().map(String::as_str));
    installation.ok(&issue);
    let new: Vec<String> = (0..10)
        .map(|at| format!("--name=new{at}.example.test"))
        .collect();
    drop(installation.up(&new.iter().map(String::as_str).collect::<Vec<_>>()));
    let names = names();
    for name in [
        "given.example.test",
        "new0.example.test",
        "new9.example.test",
    ] {
        assert!(names.contains(name), "{name} in {names}");
    }
    assert!(
        !names.contains("\"host0\"") && !names.contains("dns:host0\""),
        "{names}"
    );
}

#[test]
fn identity_that_was_taken_away_is_not_pasted() {
    let installation = Installation::new();
    fs::remove_dir_all(installation.state().join("identities/you")).expect("init makes it");
    let gateway = installation.up(&[]);
    assert_eq!(gateway.ready().get("client_cert"), None);
    assert_eq!(gateway.ready().get("client_key"), None);
}

#[test]
fn lower_lifetime_shortens_the_certificate_that_is_there() {
    let installation = Installation::new();
    // The one that init made lives for 30 days.
    let gateway = installation.serve(
        "[gateway]\nmetrics_address = \"127.0.0.1:0\"\ncertificate_lifetime = \"6s\"\n\
         [[gateway.listener]]\naddress = \"127.0.0.1:0\"\n\
         [[gateway.listener.route]]\nupstream = \"demo\"\nallow = [\"any-trusted\"]\n",
    );
    gateway.wait_for_log(&["renewed", "configured"]);
    assert!(gateway.interrupt().success());
}

#[test]
fn start_raises_the_limit_on_open_files_and_forbids_core_files() {
    let installation = Installation::new();
    let state = installation.state();
    let command = format!(
        "ulimit -S -n 256; ulimit -S -c \"$(ulimit -H -c)\"; exec '{}' up --listen 127.0.0.1:0 --metrics 127.0.0.1:0 \
         --state '{}' \"$@\"",
        text(binary()),
        text(&state)
    );
    let gateway = Process::start(Path::new("/bin/sh"), &["-c", &command, "sh"]);
    let limits = fs::read_to_string(format!("/proc/{}/limits", gateway.id())).expect("our child");
    let limit = |name: &str| {
        let line = limits.lines().find(|line| line.starts_with(name));
        let words: Vec<_> = line.expect("Linux says so").split_whitespace().collect();
        let [.., soft, hard, _unit] = words[..] else {
            panic!("{words:?}");
        };
        (soft.to_owned(), hard.to_owned())
    };
    let (soft, hard) = limit("Max open files");
    assert_eq!(soft, hard);
    gateway.wait_for_log(&["limit on open files", &hard]);
    assert_eq!(
        limit("Max core file size"),
        ("0".to_owned(), "0".to_owned())
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn gateway_renews_its_certificate_and_drops_no_connection() {
    let installation = Installation::new();
    let you = installation.issue("client", "partner", &[]);
    // The one that init made lives for 30 days; without it the first one is made for as long as the file says.
    fs::remove_file(installation.state().join("gateway/cert.pem")).expect("init makes it");
    let gateway = installation.serve(
        "[gateway]\nmetrics_address = \"127.0.0.1:0\"\ncertificate_lifetime = \"6s\"\n\
         [[gateway.listener]]\naddress = \"127.0.0.1:0\"\n\
         [[gateway.listener.route]]\nupstream = \"demo\"\nallow = [\"any-trusted\"]\n",
    );
    for protocol in [Protocol::Http1Tls12, Protocol::Http2Tls13] {
        let client = you.client(protocol);
        let mut kept = Connection::open(&client, protocol, gateway.gateway())
            .await
            .expect("let in");
        let first = kept.handshake().server.clone();
        let begun = Instant::now();
        let next = loop {
            assert_eq!(kept.get("/").await.expect("the connection survives").0, 200);
            let fresh = Connection::open(&client.without_sessions(), protocol, gateway.gateway())
                .await
                .expect("let in");
            if fresh.handshake().server != first {
                break fresh.handshake().server.clone();
            }
            assert!(
                begun.elapsed().as_secs() < 30,
                "the certificate of 6 s was not renewed"
            );
            // Handshakes are the only way to see what is presented; some pause between them is fair to the other core.
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        };
        assert!(next != first);
        assert_eq!(kept.get("/").await.expect("the connection survives").0, 200);
    }
    assert!(gateway.interrupt().success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn interrupt_finishes_requests_in_flight_and_exits_0() {
    for signal in [Signal::INT, Signal::TERM] {
        let installation = Installation::new();
        let (asked, was_asked) = channel();
        let (go, wait) = channel::<()>();
        let wait = std::sync::Mutex::new(wait);
        let service = Service::start(move |mut conversation| {
            while conversation.head().is_some() {
                let _ = asked.send(());
                let _ = wait.lock().map(|wait| wait.recv());
                conversation.send(b"HTTP/1.1 200 OK\r\ncontent-length: 8\r\n\r\nfinished");
            }
        });
        let gateway = installation.up_before(service.address());
        let address = gateway.gateway();
        let client = Issued::of_first_run(&gateway).client(Protocol::Http1Tls13);
        let mut connection = Connection::open(&client, Protocol::Http1Tls13, address)
            .await
            .expect("let in");
        let answer = tokio::spawn(async move {
            let response = connection.send(get("/slow")).await.expect("an answer");
            let body = http_body_util::BodyExt::collect(response.into_body())
                .await
                .expect("a body");
            (body.to_bytes(), connection)
        });
        was_asked.recv().expect("the upstream is asked");
        gateway.signal(signal);
        // It drains when it accepts nobody any more.
        while std::net::TcpStream::connect(address).is_ok() {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
        go.send(()).expect("the upstream waits");
        let (body, _connection) = answer.await.expect("the task does not panic");
        assert_eq!(body, "finished");
        assert_eq!(gateway.wait().code(), Some(0));
    }
}

/// Each certificate and key of the state, by path.
fn identities(installation: &Installation) -> Vec<(String, Vec<u8>)> {
    let all = contents(&installation.state());
    all.into_iter()
        .filter(|(path, _)| [".pem", "key"].iter().any(|word| path.contains(word)))
        .collect()
}
