//! nginx in the foreground with a configuration of its own.

use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use countersign_testkit::ephemeral;
use tempfile::TempDir;

use crate::installation::text;

/// Ended with the value, by its id.
pub(crate) struct Nginx {
    child: Child,
    address: SocketAddr,
    _folder: TempDir,
}

impl Nginx {
    /// `server`: the server block for the address that it is given.
    pub(crate) fn start(program: &Path, server: impl Fn(SocketAddr) -> String) -> Self {
        let address = ephemeral::address();
        let folder = tempfile::tempdir().expect("a temporary folder");
        let at = |name: &str| folder.path().join(name);
        let kinds = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
        let temporary: String = kinds
            .map(|kind| format!("{kind}_temp_path {};\n", text(&at(kind))))
            .concat();
        let configuration = format!(
            "daemon off;\nmaster_process off;\npid {};\nerror_log stderr;\nevents {{}}\n\
             http {{\naccess_log off;\n{temporary}{}\n}}\n",
            text(&at("pid")),
            server(address)
        );
        fs::write(at("nginx.conf"), configuration).expect("writable");
        let log = fs::File::create(at("log")).expect("writable");
        let mut command = Command::new(program);
        command
            .arg("-p")
            .arg(folder.path())
            .arg("-c")
            .arg(at("nginx.conf"));
        let mut child = command
            .stdin(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("nginx starts");
        let begun = Instant::now();
        // nginx tells nobody when it is ready; the first connection that is accepted does.
        while TcpStream::connect(address).is_err() {
            let ended = child.try_wait().expect("our child");
            if ended.is_some() || begun.elapsed() > HANG {
                let log = fs::read_to_string(at("log")).unwrap_or_default();
                panic!("nginx is not up ({ended:?}):\n{log}");
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Self {
            child,
            address,
            _folder: folder,
        }
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Only catches a hang.
const HANG: Duration = Duration::from_secs(20);
