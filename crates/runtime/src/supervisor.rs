//! What the service manager is told: `sd_notify(3)`, by a datagram to its socket. Without one nothing is told, and nothing fails.

use std::ffi::OsStr;
use std::fmt::Write;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::Arc;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// The service manager, if there is one. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Supervisor {
    told_at: Option<Arc<(UnixDatagram, SocketAddr)>>,
    watchdog: Option<Duration>,
}

impl Supervisor {
    /// `notify_socket`: a path, or a name in the abstract namespace behind an `@`. `watchdog`: how long it waits for a sign of life.
    pub fn new(notify_socket: &OsStr, watchdog: Option<Duration>) -> io::Result<Self> {
        let address = match notify_socket.as_bytes() {
            [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
            [b'/', ..] => SocketAddr::from_pathname(notify_socket)?,
            _ => return Err(io::ErrorKind::InvalidInput.into()),
        };
        let socket = UnixDatagram::unbound()?;
        // Who does not read must not stop us.
        socket.set_nonblocking(true)?;
        Ok(Self {
            told_at: Some(Arc::new((socket, address))),
            watchdog,
        })
    }

    /// Everything is served.
    pub fn ready(&self, status: &str) {
        self.tell(&format!("READY=1\n{}", status_line(status)));
    }

    /// The configuration is being read again; [`Supervisor::ready`] follows in any case.
    pub fn reloading(&self) {
        // Its own clock, so that it can tell this reload from one before its signal.
        let now = clock_gettime(ClockId::Monotonic);
        let microseconds = now.tv_sec * 1_000_000 + now.tv_nsec / 1000;
        self.tell(&format!("RELOADING=1\nMONOTONIC_USEC={microseconds}"));
    }

    /// The end has begun.
    pub fn stopping(&self, status: &str) {
        self.tell(&format!("STOPPING=1\n{}", status_line(status)));
    }

    /// A sign of life.
    pub fn alive(&self) {
        self.tell("WATCHDOG=1");
    }

    /// How often it shall have one: twice in the time that it waits (`sd_watchdog_enabled(3)`).
    pub fn watchdog_interval(&self) -> Option<Duration> {
        self.watchdog.map(|limit| limit / 2)
    }

    fn tell(&self, state: &str) {
        let Some(told_at) = &self.told_at else {
            return;
        };
        let (socket, address) = &**told_at;
        if let Err(error) = socket.send_to_addr(state.as_bytes(), address) {
            tracing::warn!(%error, state, "the service manager was not told");
        }
    }
}

/// One line, whatever it says.
fn status_line(status: &str) -> String {
    let mut line = "STATUS=".to_owned();
    for character in status.chars().take(MAX_STATUS_CHARS) {
        // Writing to a String cannot fail.
        let _ = if character.is_control() {
            write!(line, "{}", character.escape_default())
        } else {
            line.write_char(character)
        };
    }
    line
}

/// `systemctl status` shows one line of a terminal.
const MAX_STATUS_CHARS: usize = 200;

#[cfg(test)]
mod tests {
    use super::*;

    fn heard(manager: &UnixDatagram) -> String {
        let mut bytes = [0; 4096];
        let length = manager.recv(&mut bytes).expect("something is told");
        String::from_utf8(bytes[..length].to_vec()).expect("UTF-8")
    }

    #[test]
    fn manager_is_told_at_a_path_and_at_an_abstract_name() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("notify");
        let by_path = UnixDatagram::bind(&path).expect("binds");
        let name = format!("countersign-test-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(&name).expect("a name");
        let by_name = UnixDatagram::bind_addr(&address).expect("binds");
        let at_name = format!("@{name}");
        for (manager, socket) in [(by_path, path.as_os_str()), (by_name, OsStr::new(&at_name))] {
            let supervisor = Supervisor::new(socket, None).expect("a socket");
            supervisor.ready("serving\nMAINPID=1");
            assert_eq!(heard(&manager), "READY=1\nSTATUS=serving\\nMAINPID=1");
            supervisor.reloading();
            let reloading = heard(&manager);
            let clock = reloading.strip_prefix("RELOADING=1\nMONOTONIC_USEC=");
            let told: i64 = clock.and_then(|it| it.parse().ok()).expect(&reloading);
            let now = clock_gettime(ClockId::Monotonic).tv_sec;
            assert!((0..60).contains(&(now - told / 1_000_000)), "{told} {now}");
            supervisor.stopping(&"x".repeat(1000));
            assert_eq!(
                heard(&manager),
                format!("STOPPING=1\nSTATUS={}", "x".repeat(200))
            );
            supervisor.alive();
            assert_eq!(heard(&manager), "WATCHDOG=1");
        }
    }

    #[test]
    fn without_a_manager_nothing_is_told_and_nothing_fails() {
        Supervisor::default().ready("serving");
        let folder = tempfile::tempdir().expect("a folder");
        let nobody = folder.path().join("nobody");
        let gone = Supervisor::new(nobody.as_os_str(), None).expect("a path");
        gone.ready("serving");
        for other in ["", "notify", "vsock:2:1"] {
            assert!(
                Supervisor::new(OsStr::new(other), None).is_err(),
                "{other:?}"
            );
        }
        assert_eq!(Supervisor::default().watchdog_interval(), None);
    }

    #[test]
    fn sign_of_life_comes_twice_in_the_time_that_is_waited() {
        let limit = Some(Duration::from_secs(10));
        let supervisor = Supervisor::new(OsStr::new("/run/notify"), limit).expect("a path");
        assert_eq!(supervisor.watchdog_interval(), Some(Duration::from_secs(5)));
    }
}
