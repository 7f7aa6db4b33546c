//! Programs of other people, in the foreground: found or skipped by name, ended with the value, by their id.

use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// A program that listens on an address of its own.
pub(crate) struct Peer {
    child: Child,
    pub(crate) address: SocketAddr,
    _folder: TempDir,
}

/// The program called `name`. Where it is not installed, says so and gives `None`; where it must be, fails.
pub(crate) fn program(test: &str, name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    // Debian keeps servers where only root's PATH looks.
    let elsewhere = ["/usr/sbin", "/usr/bin"].map(PathBuf::from);
    let found = std::env::split_paths(&path)
        .chain(elsewhere)
        .map(|folder| folder.join(name))
        .find(|file| file.is_file());
    if found.is_none() {
        let is = |name: &str, value: &str| std::env::var(name).is_ok_and(|found| found == value);
        let is_required = is("CI", "true") || is("COUNTERSIGN_REQUIRE_PEERS", "1");
        assert!(
            !is_required,
            "{test}: {name} is not installed, and here it has to be"
        );
        println!("SKIPPED {test}: {name} is not installed");
    }
    found
}

impl Peer {
    /// Starts what `command` makes of a folder and an address, and waits until somebody listens there.
    pub(crate) fn start(command: impl Fn(&Path, SocketAddr) -> Command) -> Self {
        let address = countersign_testkit::ephemeral::address();
        let folder = tempfile::tempdir().expect("a temporary folder");
        let log = fs::File::create(folder.path().join("log")).expect("writable");
        let mut child = command(folder.path(), address)
            .stdin(Stdio::piped())
            .stdout(log.try_clone().expect("a file"))
            .stderr(log)
            .spawn()
            .expect("it starts");
        let begun = Instant::now();
        // They tell nobody when they are ready; the first socket that the system shows does, without a connection.
        while !listens(address) {
            let ended = child.try_wait().expect("our child");
            if ended.is_some() || begun.elapsed() > HANG {
                let log = fs::read_to_string(folder.path().join("log")).unwrap_or_default();
                panic!("it is not up ({ended:?}):\n{log}");
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Self {
            child,
            address,
            _folder: folder,
        }
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Whether a socket listens, by the system's table: a connection would be one that the server has to answer for.
fn listens(address: SocketAddr) -> bool {
    let Ok(table) = fs::read_to_string("/proc/net/tcp") else {
        return TcpStream::connect(address).is_ok();
    };
    let port = format!(":{:04X}", address.port());
    table.lines().skip(1).any(|line| {
        let mut fields = line.split_whitespace().skip(1);
        let is_ours = fields.next().is_some_and(|local| local.ends_with(&port));
        is_ours && fields.nth(1) == Some("0A")
    })
}

/// Only catches a hang.
const HANG: Duration = Duration::from_secs(20);
