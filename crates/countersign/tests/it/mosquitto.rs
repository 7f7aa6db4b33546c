//! MQTT through a listener of bytes: Mosquitto's broker, which knows nothing of TLS, and its clients with certificates.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use countersign_testkit::ephemeral;
use tempfile::TempDir;

use crate::installation::{Answer, Installation, Issued, text};
use crate::peers::peer;

/// Ended with the value, by its id.
struct Broker {
    child: Child,
    address: SocketAddr,
    folder: TempDir,
}

impl Broker {
    fn start(program: &Path) -> Self {
        let (address, folder) = (ephemeral::address(), tempfile::tempdir().expect("a folder"));
        let at = |name: &str| folder.path().join(name);
        let configuration = format!(
            "listener {} {}\nallow_anonymous true\npersistence false\nlog_dest stderr\nlog_type all\n",
            address.port(),
            address.ip()
        );
        fs::write(at("mosquitto.conf"), configuration).expect("writable");
        let log = fs::File::create(at("log")).expect("writable");
        let mut child = Command::new(program)
            .arg("-c")
            .arg(at("mosquitto.conf"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("mosquitto starts");
        let begun = Instant::now();
        while TcpStream::connect(address).is_err() {
            let ended = child.try_wait().expect("our child");
            assert!(
                ended.is_none() && begun.elapsed() < HANG,
                "mosquitto is not up ({ended:?}):\n{}",
                fs::read_to_string(at("log")).unwrap_or_default()
            );
            std::thread::sleep(Duration::from_millis(20));
        }
        Self {
            child,
            address,
            folder,
        }
    }

    fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).expect("readable")
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// `mosquitto_pub` or `mosquitto_sub`, called after its MQTT client.
fn client(program: &Path, at: SocketAddr, ca: &Path, who: Option<&Issued>, id: &str) -> Command {
    let mut command = Command::new(program);
    command
        .args(["-h", "localhost", "-p", &at.port().to_string(), "-i", id])
        .args(["--cafile", text(ca)]);
    if let Some(who) = who {
        command
            .args(["--cert", text(&who.certificate())])
            .args(["--key", text(&who.key())]);
    }
    command
}

#[test]
fn mosquitto_gets_the_messages_of_admitted_clients_and_of_nobody_else() {
    let test = "mosquitto_gets_the_messages_of_admitted_clients_and_of_nobody_else";
    let programs = ["mosquitto", "mosquitto_pub", "mosquitto_sub"].map(|name| peer(test, name));
    let [Some(broker), Some(publish), Some(subscribe)] = programs else {
        return;
    };
    let (installation, elsewhere) = (Installation::new(), Installation::new());
    let broker = Broker::start(&broker);
    let gateway = ephemeral::address();
    let process = installation.serve(&format!(
        "[gateway]\nworkers = 1\nmetrics_address = \"127.0.0.1:0\"\n[[gateway.listener]]\naddress = \"{gateway}\"\n\
         upstream = \"tcp://{}\"\nallow = [{{ cn = \"sensor\" }}, {{ cn = \"reader\" }}]\n",
        broker.address
    ));
    let [sensor, reader, other] =
        ["sensor", "reader", "other"].map(|name| installation.issue("client", name, &[]));
    let stranger = elsewhere.issue("client", "sensor", &[]);
    let ca = sensor.ca();
    let send = |who: Option<&Issued>, id: &str, how: &[&str]| {
        let mut command = client(&publish, gateway, &ca, who, id);
        Answer::of(command.args(["-t", "room/1", "-q", "1"]).args(how))
    };

    let kept = send(Some(&sensor), "first", &["-r", "-m", "21.5"]);
    assert_eq!(kept.code, Some(0), "{kept:#?}");
    // What was kept comes first: then the subscription is there, and what is published from now on comes too.
    let mut command = client(&subscribe, gateway, &ca, Some(&reader), "reader");
    let mut reading = command
        .args(["-t", "room/1", "-C", "3", "-W", "50"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("it starts");
    let mut lines = BufReader::new(reading.stdout.take().expect("piped")).lines();
    let mut next = || lines.next().expect("a message").expect("UTF-8");
    assert_eq!(next(), "21.5");
    assert_eq!(send(Some(&sensor), "second", &["-m", "22.0"]).code, Some(0));
    assert_eq!(next(), "22.0");

    for (who, id) in [
        (None, "nobody"),
        (Some(&stranger), "stranger"),
        (Some(&other), "other"),
    ] {
        let refused = send(who, id, &["-m", "forged"]);
        assert_ne!(refused.code, Some(0), "{id}: {refused:#?}");
    }
    let large = "x".repeat(1 << 20);
    let file: PathBuf = installation.write("message", &large);
    assert_eq!(
        send(Some(&sensor), "third", &["-f", text(&file)]).code,
        Some(0)
    );
    // Nothing forged came between.
    assert_eq!(next(), large);
    assert!(reading.wait().expect("our child").success());

    let log = broker.log();
    for id in ["first", "second", "third", "reader"] {
        assert!(log.contains(&format!(" as {id} ")), "{id} in {log}");
    }
    for id in ["nobody", "stranger", "other"] {
        assert!(!log.contains(&format!(" as {id} ")), "{id} in {log}");
    }
    let explained = installation.ok(&["explain", "--from", "127.0.0.1", "--since", "5m"]);
    for cause in [
        "client-cert-not-sent",
        "identity-not-allowed",
        "same-name-different-key-ca",
    ] {
        assert!(explained.contains(cause), "{cause} in {explained}");
    }
    drop(process);
}

#[test]
fn subscriber_whose_certificate_is_revoked_hears_nothing_more() {
    let test = "subscriber_whose_certificate_is_revoked_hears_nothing_more";
    let programs = ["mosquitto", "mosquitto_pub", "mosquitto_sub"].map(|name| peer(test, name));
    let [Some(broker), Some(publish), Some(subscribe)] = programs else {
        return;
    };
    let installation = Installation::new();
    let broker = Broker::start(&broker);
    let gateway = ephemeral::address();
    let _process = installation.serve(&format!(
        "[gateway]\nworkers = 1\nmetrics_address = \"127.0.0.1:0\"\n[[gateway.listener]]\naddress = \"{gateway}\"\n\
         upstream = \"tcp://{}\"\nallow = [{{ cn = \"sensor\" }}, {{ cn = \"reader\" }}]\n",
        broker.address
    ));
    let [sensor, reader] = ["sensor", "reader"].map(|name| installation.issue("client", name, &[]));
    let send = |id: &str, message: &str| {
        let mut command = client(&publish, gateway, &sensor.ca(), Some(&sensor), id);
        let sent = Answer::of(command.args(["-t", "room/1", "-q", "1", "-r", "-m", message]));
        assert_eq!(sent.code, Some(0), "{sent:#?}");
    };
    send("first", "21.5");
    let mut command = client(&subscribe, gateway, &reader.ca(), Some(&reader), "reader");
    let mut reading = command
        .args(["-t", "room/1", "-q", "1"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("it starts");
    let mut lines = BufReader::new(reading.stdout.take().expect("piped")).lines();
    let heard = lines.next().expect("a message").expect("UTF-8");
    assert_eq!(heard, "21.5");

    installation.ok(&["revoke", "reader", "--reason", "key-compromise", "--wait"]);
    let begun = Instant::now();
    // The broker is told that its client is gone: the connection to it ends with the client's.
    while !broker.log().contains("Client reader") {
        assert!(begun.elapsed() < HANG, "{}", broker.log());
        std::thread::sleep(Duration::from_millis(20));
    }
    send("second", "22.0");
    // Whether it ends at once or comes back first: nobody admits it, and it gives up.
    let ended = reading.wait().expect("our child");
    assert!(!ended.success(), "{ended}");
    assert_eq!(lines.next().transpose().expect("UTF-8"), None);
    assert_eq!(broker.log().matches(" as reader ").count(), 1);
}

/// Only catches a hang.
const HANG: Duration = Duration::from_secs(30);
