//! Python's `websockets` on both ends, with a way out and a way in between.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};

use countersign_testkit::ephemeral;

use crate::installation::{Answer, Installation, Issued, text};
use crate::peers::{python_of_pypi, script_of_pypi};

/// The echo; ended with the value, by its id.
struct Server {
    child: Child,
    lines: BufReader<ChildStdout>,
    address: SocketAddr,
}

impl Server {
    fn start(python: &Path) -> Self {
        let mut child = Command::new(python)
            .arg(script_of_pypi("websockets_peer"))
            .arg("serve")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("python starts");
        let mut lines = BufReader::new(child.stdout.take().expect("piped"));
        let mut port = String::new();
        lines.read_line(&mut port).expect("its port");
        let port: u16 = port.trim().parse().expect("a port");
        Self {
            child,
            lines,
            address: ([127, 0, 0, 1], port).into(),
        }
    }

    /// The next thing that happened to it.
    fn next(&mut self) -> String {
        let mut line = String::new();
        self.lines.read_line(&mut line).expect("it runs");
        line.trim_end().to_owned()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn script(python: &Path, arguments: &[&str]) -> Answer {
    let script = script_of_pypi("websockets_peer");
    Answer::of(Command::new(python).arg(script).args(arguments))
}

/// Refused in the handshake.
const ALERT: &str = "an alert";

#[test]
fn python_websockets_talk_through_and_are_refused_where_nothing_is_switched() {
    let test = "python_websockets_talk_through_and_are_refused_where_nothing_is_switched";
    let Some(python) = python_of_pypi(test) else {
        return;
    };
    let (installation, elsewhere) = (Installation::new(), Installation::new());
    let mut server = Server::start(&python);
    let you = installation.issue("client", "you", &[]);
    let other = installation.issue("client", "other", &[]);
    let stranger = elsewhere.issue("client", "you", &[]);
    let (gateway, egress) = (ephemeral::address(), ephemeral::address());
    let _process = installation.serve(&format!(
        "[gateway]\nworkers = 1\nmetrics_address = \"127.0.0.1:0\"\n[[gateway.listener]]\naddress = \"{gateway}\"\n\
         [[gateway.listener.route]]\npath = \"/chat\"\nupstream = \"http://{to}\"\nallow = [{{ cn = \"you\" }}]\n\
         [[gateway.listener.route]]\npath = \"/plain\"\nupstream = \"http://{to}\"\nupgrades = []\nallow = [{{ cn = \"you\" }}]\n\
         [[gateway.egress]]\naddress = \"{egress}\"\nupstream = \"https://localhost:{port}\"\n\
         upstream_tls = {{ certificate = \"{certificate}\", key = \"{key}\" }}\n",
        to = server.address,
        port = gateway.port(),
        certificate = text(&you.certificate()),
        key = text(&you.key()),
    ));
    let uri = |path: &str| format!("wss://localhost:{}{path}", gateway.port());
    let ca = you.ca();
    let of = |who: &Issued| [who.certificate(), who.key()];

    // Refused: nothing is switched, and no connection of theirs is opened at the server.
    let open = |path: &str, who: Option<&Issued>| {
        let identity = who.map(of);
        let mut arguments = vec!["open".to_owned(), uri(path), text(&ca).to_owned()];
        arguments.extend(identity.iter().flatten().map(|path| text(path).to_owned()));
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        script(&python, &arguments)
    };
    for (path, who, says) in [
        // The server is asked without an upgrade, and says itself that it needs one.
        ("/plain", Some(&you), "426"),
        ("/chat", Some(&other), "403"),
        ("/other", Some(&you), "403"),
        ("/chat", Some(&stranger), ALERT),
        ("/chat", None, ALERT),
    ] {
        let answer = open(path, who);
        // In TLS 1.3 the alert comes after the library's handshake: whichever of its readers sees it says so in its own words.
        let words = ["InvalidMessage", "SSLError", "ConnectionClosedError"];
        let is_told = |words: &&str| answer.stdout.starts_with(*words);
        let is_said = if says == ALERT {
            words.iter().any(is_told)
        } else {
            is_told(&says)
        };
        assert!(is_said, "{path} {says}: {answer:#?}");
    }
    let explained = installation.ok(&["explain", "--from", "127.0.0.1", "--since", "5m"]);
    for cause in ["client-cert-not-sent", "same-name-different-key-ca"] {
        assert!(explained.contains(cause), "{cause} in {explained}");
    }

    let [certificate, key] = of(&you);
    let (over_tls, over_egress) = (uri("/chat"), format!("ws://{egress}/chat"));
    for arguments in [
        vec!["talk", &over_tls, text(&ca), text(&certificate), text(&key)],
        vec!["talk", &over_egress],
    ] {
        let talked = script(&python, &arguments);
        assert_eq!(talked.code, Some(0), "{talked:#?}");
        assert_eq!(talked.stdout, "4001 enough\n4001 enough\n", "{talked:#?}");
        for _ in 0..2 {
            let happened: Vec<String> = (0..3).map(|_| server.next()).collect();
            let expected = ["opened /chat", "closed 4002 bye", "opened /chat"];
            assert_eq!(happened, expected);
        }
    }
}
