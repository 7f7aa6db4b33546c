//! A service manager that listens: what it is told, and the sockets that it passes. It is systemd's own where that is installed.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::net::UnixDatagram;
use std::process::Command;
use std::time::Duration;

use countersign_testkit::bypass::Protocol;
use countersign_testkit::ephemeral;
use countersign_testkit::process::Process;
use rustix::process::Signal;

use crate::http::Connection;
use crate::installation::{Answer, Installation, binary, text};
use crate::peers::peer;

/// Where a service tells of itself.
struct Notified {
    socket: UnixDatagram,
    path: std::path::PathBuf,
}

impl Notified {
    fn new(installation: &Installation) -> Self {
        let path = installation.path("notify");
        let socket = UnixDatagram::bind(&path).expect("binds");
        let hang = Some(Duration::from_secs(20));
        socket.set_read_timeout(hang).expect("a limit");
        Self { socket, path }
    }

    fn next(&self) -> String {
        let mut bytes = [0; 4096];
        let length = self.socket.recv(&mut bytes).expect("it is told");
        String::from_utf8(bytes[..length].to_vec()).expect("UTF-8")
    }

    /// The next that is no sign of life.
    fn state(&self) -> String {
        loop {
            let told = self.next();
            if told != "WATCHDOG=1" {
                return told;
            }
        }
    }
}

fn configuration(name: &str, address: SocketAddr) -> String {
    format!(
        "[gateway]\nworkers = 2\nmetrics_address = \"{}\"\nwatch_files = false\n\
         [[gateway.listener]]\nname = \"{name}\"\naddress = \"{address}\"\n\
         [[gateway.listener.route]]\nupstream = \"demo\"\nallow = [\"any-trusted\"]\n",
        ephemeral::address()
    )
}

/// `countersign run -c countersign.toml`, to be given an environment.
fn run(installation: &Installation, launcher: &[&str]) -> Command {
    let arguments = [
        text(binary()).to_owned(),
        "run".to_owned(),
        "-c".to_owned(),
        text(&installation.path("countersign.toml")).to_owned(),
        "--state".to_owned(),
        text(&installation.state()).to_owned(),
        "--json".to_owned(),
    ];
    let all = launcher.iter().map(|it| (*it).to_owned()).chain(arguments);
    let all: Vec<String> = all.collect();
    let mut command = Command::new(&all[0]);
    command.args(&all[1..]);
    command
}

fn start(command: Command) -> Process {
    Process::try_start_as(command).unwrap_or_else(|log| panic!("it does not start:\n{log}"))
}

#[test]
fn manager_is_told_of_start_reload_refusal_and_end() {
    let installation = Installation::new();
    let notified = Notified::new(&installation);
    let good = configuration("front", ephemeral::address());
    installation.write("countersign.toml", &good);
    let mut command = run(&installation, &[]);
    command
        .env("NOTIFY_SOCKET", &notified.path)
        .env("WATCHDOG_USEC", "200000");
    let process = start(command);
    assert_eq!(notified.state(), "READY=1\nSTATUS=serving");
    // A sign of life after the other.
    for _ in 0..3 {
        assert_eq!(notified.next(), "WATCHDOG=1");
    }
    for (configuration, expected) in [
        (good.as_str(), "READY=1\nSTATUS=serving"),
        (
            "[gateway]\nworkers = 0\n",
            "READY=1\nSTATUS=serving by an earlier configuration: ",
        ),
        (&good, "READY=1\nSTATUS=serving"),
    ] {
        fs::write(installation.path("countersign.toml"), configuration).expect("writable");
        process.signal(Signal::HUP);
        let reloading = notified.state();
        assert!(
            reloading.starts_with("RELOADING=1\nMONOTONIC_USEC="),
            "{reloading}"
        );
        let ready = notified.state();
        assert!(ready.starts_with(expected), "{ready}");
        assert_eq!(ready.lines().count(), 2, "{ready}");
    }
    process.signal(Signal::TERM);
    assert_eq!(notified.state(), "STOPPING=1\nSTATUS=draining");
    assert!(process.wait().success());
}

#[test]
fn what_is_meant_for_another_process_is_not_taken() {
    let installation = Installation::new();
    let notified = Notified::new(&installation);
    installation.write(
        "countersign.toml",
        &configuration("front", ephemeral::address()),
    );
    let mut command = run(&installation, &[]);
    command
        .env("NOTIFY_SOCKET", &notified.path)
        .envs([("WATCHDOG_USEC", "1000"), ("WATCHDOG_PID", "1")])
        .envs([
            ("LISTEN_PID", "1"),
            ("LISTEN_FDS", "1"),
            ("LISTEN_FDNAMES", "front"),
        ]);
    let process = start(command);
    assert_eq!(notified.next(), "READY=1\nSTATUS=serving");
    process.signal(Signal::TERM);
    assert_eq!(notified.next(), "STOPPING=1\nSTATUS=draining");
}

#[test]
fn socket_for_notes_that_is_none_stops_the_start() {
    let installation = Installation::new();
    installation.write(
        "countersign.toml",
        &configuration("front", ephemeral::address()),
    );
    let mut command = run(&installation, &[]);
    command.env("NOTIFY_SOCKET", "vsock:2:1");
    let said = Process::try_start_as(command).err().expect("refused");
    assert!(
        said.contains("NOTIFY_SOCKET=vsock:2:1 cannot be used"),
        "{said}"
    );
}

/// A launcher for where systemd is not installed: it binds, says that it listens where it shall, and becomes the service.
const LAUNCHER: &str = "\
import os, socket, sys
kind, address, port, names = sys.argv[1:5]
passed = []
for name in names.split(':'):
    made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM if kind == 'udp' else socket.SOCK_STREAM)
    if kind == 'unix':
        made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    else:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if kind == 'shared':
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        made.bind((address, int(port) if not passed else 0))
    if kind in ('listening', 'shared'):
        made.listen()
    passed.append(made)
held = [os.dup2(os.dup(made.fileno()), 100 + index) for index, made in enumerate(passed)]
for index, made in enumerate(held):
    os.dup2(made, 3 + index, inheritable=True)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS=str(len(passed)), LISTEN_FDNAMES=names)
os.execv(sys.argv[5], sys.argv[5:])
";

/// `countersign run -c countersign.toml` with a socket for each of `names`; the kind `shared` has one address with other processes.
pub(crate) fn launched(
    installation: &Installation,
    kind: &str,
    address: SocketAddr,
    names: &str,
) -> Command {
    let (ip, port) = (address.ip().to_string(), address.port().to_string());
    let launcher = ["python3", "-c", LAUNCHER, kind, &ip, &port, names];
    run(installation, &launcher)
}

async fn answers(installation: &Installation, at: SocketAddr) -> bool {
    let you = installation.issue("client", "you", &["--force"]);
    let client = you.client(Protocol::Http1Tls13);
    let connection = Connection::open(&client, Protocol::Http1Tls13, at).await;
    match connection {
        Ok(mut connection) => connection
            .get("/")
            .await
            .is_ok_and(|(status, _)| status == 200),
        Err(_) => false,
    }
}

#[tokio::test]
async fn listener_accepts_on_the_socket_that_is_passed_for_it() {
    let test = "listener_accepts_on_the_socket_that_is_passed_for_it";
    if peer(test, "python3").is_none() {
        return;
    }
    let installation = Installation::new();
    let address = ephemeral::address();
    // By its name, and by its address where the name says nothing.
    for name in ["front", "countersign.socket", ""] {
        installation.write("countersign.toml", &configuration("front", address));
        let process = start(launched(&installation, "listening", address, name));
        assert_eq!(process.gateway(), address);
        // Both workers accept, or none would.
        for _ in 0..8 {
            assert!(answers(&installation, address).await, "{name:?}");
        }
        process.signal(Signal::HUP);
        process.wait_for_log(&["configuration reloaded"]);
        assert!(answers(&installation, address).await, "{name:?}");
        assert!(process.interrupt().success());
    }
}

#[test]
fn socket_that_fits_no_listener_stops_the_start() {
    let test = "socket_that_fits_no_listener_stops_the_start";
    if peer(test, "python3").is_none() {
        return;
    }
    let installation = Installation::new();
    let (address, elsewhere) = (ephemeral::address(), ephemeral::address());
    installation.write("countersign.toml", &configuration("front", address));
    for (kind, at, names, said) in [
        ("listening", elsewhere, "back", "is that of no listener"),
        (
            "listening",
            elsewhere,
            "front",
            "is not where the listener front shall listen",
        ),
        (
            "listening",
            address,
            "front:other",
            "is that of no listener",
        ),
        ("bound", address, "front", "it does not listen"),
        ("udp", address, "front", "it is no socket of TCP"),
        ("unix", address, "front", "it is no socket of TCP"),
    ] {
        let command = launched(&installation, kind, at, names);
        let refused = Process::try_start_as(command).err();
        let refused = refused.unwrap_or_else(|| panic!("{kind} {names} was taken"));
        assert!(refused.contains(said), "{kind} {names}: {refused}");
    }
}

#[tokio::test]
async fn client_that_comes_before_the_service_is_served() {
    let test = "client_that_comes_before_the_service_is_served";
    let Some(activate) = peer(test, "systemd-socket-activate") else {
        return;
    };
    let installation = Installation::new();
    let address = ephemeral::address();
    installation.write("countersign.toml", &configuration("front", address));
    let listen = address.to_string();
    let launcher = [text(&activate), "-l", &listen, "--fdname=front"];
    let command = run(&installation, &launcher);
    // The service is started by its first client, who waits for it.
    let starting = tokio::task::spawn_blocking(move || start(command));
    let begun = std::time::Instant::now();
    let served = loop {
        if answers(&installation, address).await {
            break true;
        }
        if begun.elapsed() > Duration::from_secs(30) {
            break false;
        }
    };
    assert!(served);
    let process = starting.await.expect("no panic");
    assert_eq!(process.gateway(), address);
}

#[test]
fn systemd_takes_the_units_of_the_documentation() {
    let test = "systemd_takes_the_units_of_the_documentation";
    let Some(analyze) = peer(test, "systemd-analyze") else {
        return;
    };
    let installation = Installation::empty();
    for unit in ["countersign.service", "countersign-front.socket"] {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/systemd");
        let unit_text = fs::read_to_string(path.join(unit)).expect("committed");
        // Where nothing is installed.
        installation.write(
            unit,
            &unit_text.replace("/usr/bin/countersign", text(binary())),
        );
    }
    for unit in ["countersign.service", "countersign-front.socket"] {
        let mut command = Command::new(&analyze);
        command.args(["verify", "--man=no", text(&installation.path(unit))]);
        let answer = Answer::of(&mut command);
        assert_eq!(
            (answer.code, answer.all().as_str()),
            (Some(0), ""),
            "{unit}"
        );
    }
}
