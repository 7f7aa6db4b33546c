//! `HAProxy` in the foreground with a configuration of its own.

use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use countersign_testkit::ephemeral;
use tempfile::TempDir;

/// Ended with the value, by its id.
pub(crate) struct HaProxy {
    child: Child,
    pub(crate) address: SocketAddr,
    _folder: TempDir,
}

impl HaProxy {
    /// `proxies`: what follows the defaults, for the address and the folder that it is given.
    pub(crate) fn start(program: &Path, proxies: impl Fn(SocketAddr, &Path) -> String) -> Self {
        let (address, folder) = (ephemeral::address(), tempfile::tempdir().expect("a folder"));
        let at = |name: &str| folder.path().join(name);
        let configuration = format!(
            "defaults\n timeout client 5s\n timeout server 5s\n timeout connect 5s\n{}",
            proxies(address, folder.path())
        );
        fs::write(at("haproxy.cfg"), configuration).expect("writable");
        let log = fs::File::create(at("log")).expect("writable");
        let twin = log.try_clone().expect("a file can be shared");
        let mut child = Command::new(program)
            .args(["-db", "-f"])
            .arg(at("haproxy.cfg"))
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(twin)
            .spawn()
            .expect("haproxy starts");
        let begun = Instant::now();
        // Nobody is told when it is ready; the first connection that is accepted says so.
        while TcpStream::connect(address).is_err() {
            let ended = child.try_wait().expect("our child");
            assert!(
                ended.is_none() && begun.elapsed() < HANG,
                "haproxy is not up ({ended:?}):\n{}",
                fs::read_to_string(at("log")).unwrap_or_default()
            );
            std::thread::sleep(Duration::from_millis(20));
        }
        Self {
            child,
            address,
            _folder: folder,
        }
    }
}

impl Drop for HaProxy {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Only catches a hang.
const HANG: Duration = Duration::from_secs(20);
