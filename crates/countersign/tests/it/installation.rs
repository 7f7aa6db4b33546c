//! A state folder of its own, the real binary run on it, and the identities that it issues.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc::channel;
use std::time::Duration;

use countersign_store::fail_point::FailPoint;
use countersign_testkit::bypass::Protocol;
use countersign_testkit::client::Client;
use countersign_testkit::pki::TestIdentity;
use countersign_testkit::process::Process;
use rustix::process::{Pid, Signal, kill_process};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use serde_json::Value;
use tempfile::TempDir;

use crate::json::array;

/// A folder with a state in it; gone with the value.
pub(crate) struct Installation {
    folder: TempDir,
}

/// How a command ended and what it said.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// `cert.pem`, `key.pem` and `ca.pem` as the product wrote them.
#[derive(Clone, Debug)]
pub(crate) struct Issued {
    folder: PathBuf,
}

/// Runs the binary in `folder` to its end.
pub(crate) fn countersign(folder: &Path, arguments: &[&str]) -> Answer {
    let mut command = Command::new(BINARY);
    command.args(arguments).current_dir(folder);
    Answer::of(&mut command)
}

/// The binary.
pub(crate) fn binary() -> &'static Path {
    Path::new(BINARY)
}

impl Installation {
    /// Nothing there yet.
    pub(crate) fn empty() -> Self {
        Self {
            folder: tempfile::tempdir().expect("a temporary folder"),
        }
    }

    /// After `countersign init`.
    pub(crate) fn new() -> Self {
        let installation = Self::empty();
        installation.ok(&["init"]);
        installation
    }

    /// After `countersign init --ca-key KIND`.
    pub(crate) fn of_keys(kind: &str) -> Self {
        let installation = Self::empty();
        installation.ok(&["init", "--ca-key", kind]);
        installation
    }

    /// The state folder.
    pub(crate) fn state(&self) -> PathBuf {
        self.path("state")
    }

    /// A path beside the state folder.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A new file beside the state folder.
    pub(crate) fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, text).expect("the folder is writable");
        path
    }

    /// `countersign arguments… --state STATE`, run to its end beside the state folder.
    pub(crate) fn run(&self, arguments: &[&str]) -> Answer {
        let state = self.state();
        let state = text(&state);
        countersign(
            self.folder.path(),
            &[arguments, &["--state", state]].concat(),
        )
    }

    /// The same, killed when it reaches a fail point (`countersign_store::fail_point`) for the given time.
    #[track_caller]
    pub(crate) fn killed_at(&self, point: FailPoint, time: u32, arguments: &[&str]) {
        let mut command = Command::new(BINARY);
        command
            .args(arguments)
            .args(["--state", text(&self.state())])
            .current_dir(self.folder.path())
            .env(
                "COUNTERSIGN_FAIL_POINT",
                format!("{}:{time}", point.as_str()),
            );
        let answer = Answer::of(&mut command);
        assert_eq!(
            answer.code, None,
            "{arguments:?} does not reach {point:?} for time {time}: {answer:#?}"
        );
    }

    /// The same, which has to succeed; its standard output.
    pub(crate) fn ok(&self, arguments: &[&str]) -> String {
        let answer = self.run(arguments);
        assert_eq!(answer.code, Some(0), "{arguments:?}: {answer:#?}");
        answer.stdout
    }

    /// The same with `--json`, as JSON.
    pub(crate) fn json(&self, arguments: &[&str]) -> Value {
        let stdout = self.ok(&[arguments, &["--json"]].concat());
        serde_json::from_str(&stdout)
            .unwrap_or_else(|error| panic!("{arguments:?}: {error}: {stdout}"))
    }

    /// Every certificate of a list, page by page.
    pub(crate) fn certificates(&self, filters: &[&str]) -> Vec<Value> {
        let mut page = self.json(&[&["list", "--limit", "1000"], filters].concat());
        let mut all = Vec::new();
        loop {
            all.extend(array(&page["certificates"]).iter().cloned());
            let Some(next) = page["next"].as_str() else {
                return all;
            };
            page = self.json(&[&["list", "--limit", "1000", "--after", next], filters].concat());
        }
    }

    /// `countersign up` on free ports, ready.
    pub(crate) fn up(&self, arguments: &[&str]) -> Process {
        let state = self.state();
        let fixed = [
            "up",
            "--listen",
            "127.0.0.1:0",
            "--metrics",
            "127.0.0.1:0",
            "--state",
            text(&state),
        ];
        Process::start(binary(), &[&fixed, arguments].concat())
    }

    /// `countersign up --upstream http://ADDRESS`.
    pub(crate) fn up_before(&self, upstream: std::net::SocketAddr) -> Process {
        self.up(&["--upstream", &format!("http://{upstream}")])
    }

    /// `countersign run` with this configuration, ready. The file is `countersign.toml`.
    pub(crate) fn serve(&self, toml: &str) -> Process {
        let file = self.write("countersign.toml", toml);
        let state = self.state();
        Process::start(
            binary(),
            &["run", "-c", text(&file), "--state", text(&state)],
        )
    }

    /// `countersign issue PROFILE NAME arguments…` into a folder called after the name.
    pub(crate) fn issue(&self, profile: &str, name: &str, arguments: &[&str]) -> Issued {
        let folder = self.path(&format!("{profile}-{}", name.replace(['/', ':'], "-")));
        self.ok(&[&["issue", profile, name, "--out", text(&folder)], arguments].concat());
        Issued { folder }
    }
}

impl Answer {
    /// Runs a command to its end with nothing on its standard input.
    pub(crate) fn of(command: &mut Command) -> Self {
        let command = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let child = command.spawn().expect("the program starts");
        let id = Pid::from_child(&child);
        let (ended, end) = channel();
        std::thread::spawn(move || ended.send(child.wait_with_output()));
        let output = end.recv_timeout(HANG).unwrap_or_else(|_| {
            let _ = kill_process(id, Signal::KILL);
            panic!("{command:?} goes on and on: {:?}", end.recv());
        });
        let output = output.expect("our child");
        Self {
            code: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// Both outputs.
    pub(crate) fn all(&self) -> String {
        format!("{}{}", self.stdout, self.stderr)
    }

    /// Insists on a failure told as `error: …`, then `hint: …`, with each of `words` in it.
    #[track_caller]
    pub(crate) fn assert_fault(&self, code: i32, words: &[&str]) {
        assert_eq!(self.code, Some(code), "{self:#?}");
        let error = self.stderr.find("error: ");
        let hint = self.stderr.find("\nhint: ");
        assert!(
            error.is_some() && hint > error,
            "error, then hint: {self:#?}"
        );
        for word in words {
            assert!(self.stderr.contains(word), "{word:?} in {self:#?}");
        }
    }
}

impl Issued {
    /// What stands in a folder.
    pub(crate) fn at(folder: PathBuf) -> Self {
        Self { folder }
    }

    /// The client identity `you`, which the first run makes.
    pub(crate) fn of_first_run(running: &Process) -> Self {
        let certificate = running.path("client_cert");
        Self::at(
            certificate
                .parent()
                .expect("a file has a folder")
                .to_owned(),
        )
    }

    /// The folder.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Leaf, then intermediate.
    pub(crate) fn certificate(&self) -> PathBuf {
        self.folder.join("cert.pem")
    }

    /// The private key.
    pub(crate) fn key(&self) -> PathBuf {
        self.folder.join("key.pem")
    }

    /// The root.
    pub(crate) fn ca(&self) -> PathBuf {
        self.folder.join("ca.pem")
    }

    /// As a client presents it.
    pub(crate) fn identity(&self) -> TestIdentity {
        TestIdentity::read(&self.certificate(), &self.key())
    }

    /// The root's certificate.
    pub(crate) fn root(&self) -> CertificateDer<'static> {
        CertificateDer::from_pem_file(self.ca()).expect("ca.pem is a certificate")
    }

    /// A new client, without sessions, that presents this identity to `localhost`.
    pub(crate) fn client(&self, protocol: Protocol) -> Client {
        Client::new(&self.root(), Some(&self.identity()), protocol, "localhost")
    }

    /// curl's options for this identity.
    pub(crate) fn curl(&self) -> [String; 6] {
        let path = |path: PathBuf| text(&path).to_owned();
        [
            "--cacert".into(),
            path(self.ca()),
            "--cert".into(),
            path(self.certificate()),
            "--key".into(),
            path(self.key()),
        ]
    }
}

/// A path as an argument.
pub(crate) fn text(path: &Path) -> &str {
    path.to_str()
        .expect("temporary folders have names in UTF-8")
}

/// Only catches a hang.
const HANG: Duration = Duration::from_mins(1);
const BINARY: &str = env!("CARGO_BIN_EXE_countersign");
