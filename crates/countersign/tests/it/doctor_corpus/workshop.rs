//! Where a scenario is made: a folder with a sound client, server and CA in it, of which the scenario spoils one thing, and the
//! servers that it starts.

use std::any::Any;
use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use rcgen::CertificateParams;
use tempfile::TempDir;

use crate::doctor_corpus::forge::{self, Authority, Identity};
use crate::installation::{Answer, text};

/// `root.pem`, `issuing.pem`; `server.pem` (chain of localhost), `server.leaf.pem`, `server.key`; `client.pem`,
/// `client.leaf.pem`, `client.key` lie in the folder at first.
pub(crate) struct Workshop {
    folder: TempDir,
    pub(crate) root: Authority,
    pub(crate) issuing: Authority,
    running: Vec<Box<dyn Any>>,
}

/// What the doctor is asked, and from where.
#[derive(Clone, Debug)]
pub(crate) struct Invocation {
    pub(crate) folder: PathBuf,
    pub(crate) target: Option<String>,
    pub(crate) arguments: Vec<String>,
    /// How far this machine's clock is off, in the notation of faketime.
    pub(crate) clock: Option<&'static str>,
}

impl Workshop {
    pub(crate) fn new() -> Self {
        let root = Authority::root(forge::authority("Corpus Root CA"));
        let issuing = root.below(forge::authority("Corpus Issuing CA"));
        let workshop = Self {
            folder: tempfile::tempdir().expect("a temporary folder"),
            root,
            issuing,
            running: Vec::new(),
        };
        workshop.write("root.pem", workshop.root.pem());
        workshop.write("issuing.pem", workshop.issuing.pem());
        workshop.server(&forge::server(&["localhost"]));
        workshop.client(&forge::client("client"));
        workshop
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn path(&self, name: &str) -> String {
        text(&self.folder.path().join(name)).to_owned()
    }

    pub(crate) fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        fs::write(self.folder.path().join(name), content).expect("the folder is writable");
    }

    /// Readable by its owner alone.
    pub(crate) fn write_key(&self, name: &str, content: impl AsRef<[u8]>) {
        self.write(name, content);
        self.mode(name, 0o600);
    }

    pub(crate) fn mode(&self, name: &str, mode: u32) {
        let permissions = fs::Permissions::from_mode(mode);
        fs::set_permissions(self.folder.path().join(name), permissions).expect("the file is ours");
    }

    pub(crate) fn read(&self, name: &str) -> String {
        fs::read_to_string(self.folder.path().join(name)).expect("the file is readable text")
    }

    /// The files in one, in this order.
    pub(crate) fn join(&self, into: &str, parts: &[&str]) {
        let joined: String = parts.iter().map(|part| self.read(part)).collect();
        self.write(into, joined);
    }

    /// Another client certificate, from the issuing CA.
    pub(crate) fn client(&self, draft: &CertificateParams) {
        self.client_is(&self.issuing.issue(draft), &self.issuing.pem());
    }

    /// Another server certificate, from the issuing CA.
    pub(crate) fn server(&self, draft: &CertificateParams) {
        self.server_is(&self.issuing.issue(draft), &self.issuing.pem());
    }

    /// `above`: what stands in the file after the leaf.
    pub(crate) fn client_is(&self, identity: &Identity, above: &str) {
        self.identity("client", identity, above);
    }

    /// `above`: what stands in the file after the leaf.
    pub(crate) fn server_is(&self, identity: &Identity, above: &str) {
        self.identity("server", identity, above);
    }

    /// `NAME.pem`, `NAME.leaf.pem` and `NAME.key`.
    pub(crate) fn identity(&self, name: &str, identity: &Identity, above: &str) {
        let leaf = &identity.certificate;
        self.write(&format!("{name}.pem"), format!("{leaf}{above}"));
        self.write(&format!("{name}.leaf.pem"), leaf);
        self.write_key(&format!("{name}.key"), &identity.key);
    }

    /// A command in the folder, its words parted by blanks, which has to succeed.
    pub(crate) fn run(&self, command: &str) {
        let answer = command_in(self.folder.path(), command);
        assert_eq!(answer.code, Some(0), "{command}: {}", answer.all());
    }

    /// Kept until the scenario is over.
    pub(crate) fn keep<T: Any>(&mut self, running: T) {
        self.running.push(Box::new(running));
    }

    /// Nothing is asked yet.
    pub(crate) fn ask(&self) -> Invocation {
        Invocation {
            folder: self.folder.path().to_owned(),
            target: None,
            arguments: Vec::new(),
            clock: None,
        }
    }

    /// `client.pem` and its key, judged by `root.pem` as a server would.
    pub(crate) fn client_files(&self) -> Invocation {
        self.ask()
            .with("--cert client.pem --key client.key --client-ca root.pem")
    }

    /// `server.pem` and its key, judged by `root.pem` as a client of `localhost` would.
    pub(crate) fn server_files(&self) -> Invocation {
        self.ask()
            .with("--server-cert server.pem --server-key server.key --ca root.pem --name localhost")
    }

    /// `localhost` at this port, with `root.pem` and the client's files.
    pub(crate) fn connect(&self, address: SocketAddr) -> Invocation {
        self.connect_bare(address)
            .with("--cert client.pem --key client.key")
    }

    /// The same without the client's files.
    pub(crate) fn connect_bare(&self, address: SocketAddr) -> Invocation {
        self.ask()
            .to(format!("localhost:{}", address.port()))
            .with("--ca root.pem")
    }
}

impl Invocation {
    /// More arguments, parted by blanks.
    pub(crate) fn with(mut self, arguments: &str) -> Self {
        self.arguments
            .extend(arguments.split_whitespace().map(str::to_owned));
        self
    }

    /// One more argument, blanks and all.
    pub(crate) fn with_one(mut self, argument: &str) -> Self {
        self.arguments.push(argument.to_owned());
        self
    }

    /// Without a flag and its value.
    pub(crate) fn without(mut self, flag: &str) -> Self {
        let at = self.arguments.iter().position(|argument| argument == flag);
        let at = at.expect("the flag is there");
        self.arguments.drain(at..at + 2);
        self
    }

    /// With another value of a flag.
    pub(crate) fn instead(self, flag: &str, value: &str) -> Self {
        self.without(flag).with(flag).with_one(value)
    }

    pub(crate) fn to(mut self, target: impl Into<String>) -> Self {
        self.target = Some(target.into());
        self
    }

    /// This machine's clock is off by so much, in the notation of faketime.
    pub(crate) fn at(mut self, clock: &'static str) -> Self {
        self.clock = Some(clock);
        self
    }

    /// Insists that the planted fault is there: what a command in the folder says, its words parted by blanks, has `needle` in
    /// it. `TARGET` stands for the target.
    #[track_caller]
    pub(crate) fn shows(self, command: &str, needle: &str) -> Self {
        let target = self.target.as_deref().unwrap_or_default();
        let command = command.replace("TARGET", target);
        let said = command_in(&self.folder, &command).all();
        assert!(
            said.contains(needle),
            "the planted fault does not show: no {needle:?} in what {command} says:\n{said}"
        );
        self
    }

    /// The value of a flag.
    pub(crate) fn value(&self, flag: &str) -> Option<&str> {
        let at = self
            .arguments
            .iter()
            .position(|argument| argument == flag)?;
        self.arguments.get(at + 1).map(String::as_str)
    }
}

/// Runs a command to its end, its words parted by blanks.
pub(crate) fn command_in(folder: &Path, command: &str) -> Answer {
    let mut words = command.split_whitespace();
    let program = words.next().expect("a command has a first word");
    Answer::of(Command::new(program).args(words).current_dir(folder))
}

/// A server's view of `client.pem`.
pub(crate) const VERIFY_CLIENT: &str =
    "openssl verify -purpose sslclient -CAfile root.pem -untrusted client.pem client.pem";
/// A client's view of `server.pem`.
pub(crate) const VERIFY_SERVER: &str = "openssl verify -purpose sslserver -verify_hostname localhost -CAfile root.pem -untrusted server.pem server.pem";
