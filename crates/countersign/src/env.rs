//! The environment, read here and nowhere else: `COUNTERSIGN_STATE`, `COUNTERSIGN_AS`, `COUNTERSIGN_AUTHORITY`,
//! `XDG_STATE_HOME`, `HOME`, `NO_COLOR`, `COLUMNS`, `COUNTERSIGN_LOG`, and what a service manager says: `NOTIFY_SOCKET`, `WATCHDOG_USEC`,
//! `CREDENTIALS_DIRECTORY`, `WATCHDOG_PID`, `LISTEN_PID`, `LISTEN_FDS`, `LISTEN_FDNAMES`.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use countersign_runtime::listen::PassedSocket;
use countersign_runtime::supervisor::Supervisor;
use countersign_store::fail_point;

use crate::fault::Fault;

/// What the environment says, as far as Countersign listens to it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Environment {
    countersign_state: Option<PathBuf>,
    xdg_state_home: Option<PathBuf>,
    home: Option<PathBuf>,
    is_root: bool,
    /// The folder of an operator, who asks an authority elsewhere.
    pub(crate) operator: Option<PathBuf>,
    /// Where that authority is.
    pub(crate) authority: Option<String>,
    /// The passphrase of the CA keys, as the service manager passes it.
    pub(crate) passphrase_credential: Option<PathBuf>,
    notify_socket: Option<OsString>,
    watchdog: Option<Duration>,
    /// Of the sockets that were passed to this very process, in their order.
    socket_names: Vec<String>,
    /// `NO_COLOR` is set and not empty (no-color.org).
    pub(crate) no_colour: bool,
    /// `COLUMNS`: how wide the terminal is meant to be.
    pub(crate) columns: Option<usize>,
    /// Directives for the log, such as `info,countersign_tls=debug`.
    pub(crate) log_filter: Option<String>,
}

impl Environment {
    /// Reads the process's environment and user.
    pub(crate) fn read() -> Self {
        let variable = |name| std::env::var_os(name).filter(|value: &OsString| !value.is_empty());
        // In test builds alone: see `countersign_store::fail_point`.
        if let Some(armed) = fail_point::variable().and_then(variable) {
            fail_point::arm(&armed.to_string_lossy()).unwrap_or_else(|unknown| panic!("{unknown}"));
        }
        let text = |name| variable(name).and_then(|value| value.into_string().ok());
        let number = |name| text(name).and_then(|text| text.parse::<u64>().ok());
        // Whatever was meant for the process that started this one is not meant for it.
        let is_own = |name| number(name) == Some(std::process::id().into());
        let is_watched = is_own("WATCHDOG_PID") || variable("WATCHDOG_PID").is_none();
        let sockets = number("LISTEN_FDS").filter(|_| is_own("LISTEN_PID"));
        let names = text("LISTEN_FDNAMES").unwrap_or_default();
        let names = names.split(':').map(ToOwned::to_owned);
        let names = names.chain(std::iter::repeat(String::new()));
        let count = sockets.map_or(0, |count| count.min(MAX_PASSED_SOCKETS));
        let credential = variable("CREDENTIALS_DIRECTORY")
            .map(|folder| PathBuf::from(folder).join(PASSPHRASE_CREDENTIAL));
        Self {
            // A service may have other credentials alone.
            passphrase_credential: credential.filter(|file| file.exists()),
            notify_socket: variable("NOTIFY_SOCKET"),
            watchdog: number("WATCHDOG_USEC")
                .filter(|_| is_watched)
                .map(Duration::from_micros),
            socket_names: names
                .take(usize::try_from(count).unwrap_or_default())
                .collect(),
            countersign_state: variable("COUNTERSIGN_STATE").map(PathBuf::from),
            xdg_state_home: variable("XDG_STATE_HOME").map(PathBuf::from),
            home: variable("HOME").map(PathBuf::from),
            is_root: rustix::process::geteuid().is_root(),
            operator: variable("COUNTERSIGN_AS").map(PathBuf::from),
            authority: variable("COUNTERSIGN_AUTHORITY")
                .map(|url| url.to_string_lossy().into_owned()),
            no_colour: variable("NO_COLOR").is_some(),
            columns: text("COLUMNS").and_then(|columns| columns.parse().ok()),
            log_filter: variable("COUNTERSIGN_LOG")
                .map(|filter| filter.to_string_lossy().into_owned()),
        }
    }

    /// The service manager that wants to be told; one that tells nobody where there is none.
    pub(crate) fn supervisor(&self) -> Result<Supervisor, Fault> {
        let Some(socket) = &self.notify_socket else {
            return Ok(Supervisor::default());
        };
        Supervisor::new(socket, self.watchdog).map_err(|error| {
            let socket = socket.display();
            Fault::configuration(format_args!(
                "NOTIFY_SOCKET={socket} cannot be used: {error}"
            ))
            .hint("it is the path of a socket, or a name in the abstract namespace behind an @")
        })
    }

    /// The sockets that the service manager has passed.
    pub(crate) fn take_sockets(&self) -> Result<Vec<PassedSocket>, Fault> {
        let named = (0..).zip(&self.socket_names);
        let sockets = named.map(|(index, name)| {
            PassedSocket::take(index, name.clone()).map_err(|error| {
                Fault::configuration(format_args!(
                    "the socket {name:?} that the service manager passes cannot be accepted on: {error}"
                ))
                .hint("in the socket unit, ListenStream= with a port, and Accept=no")
            })
        });
        sockets.collect()
    }

    /// The state folder: `flag`, else `COUNTERSIGN_STATE`, else `/var/lib/countersign` for root, else the XDG state folder.
    pub(crate) fn state(&self, flag: Option<PathBuf>) -> Result<PathBuf, Fault> {
        if let Some(chosen) = flag.or_else(|| self.countersign_state.clone()) {
            return Ok(chosen);
        }
        if self.is_root {
            return Ok(PathBuf::from("/var/lib/countersign"));
        }
        // XDG base directory specification: a relative path is invalid and to be ignored.
        let absolute = |path: &Option<PathBuf>| path.clone().filter(|path| path.is_absolute());
        absolute(&self.xdg_state_home)
            .or_else(|| Some(absolute(&self.home)?.join(".local/state")))
            .map(|folder| folder.join("countersign"))
            .ok_or_else(|| {
                Fault::configuration(
                    "no state folder is known: neither XDG_STATE_HOME nor HOME is an absolute path",
                )
                .hint("name one with `--state DIR` or COUNTERSIGN_STATE")
            })
    }
}

/// systemd.exec(5), `LoadCredential=`: the name of a file in the folder that is the service's alone.
const PASSPHRASE_CREDENTIAL: &str = "countersign-passphrase";

/// More than any configuration has listeners.
const MAX_PASSED_SOCKETS: u64 = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    fn check(environment: &Environment, flag: Option<&str>, expected: Option<&str>) {
        let state = environment.state(flag.map(PathBuf::from)).ok();
        assert_eq!(state, expected.map(PathBuf::from));
    }

    fn user() -> Environment {
        Environment {
            home: Some("/home/ada".into()),
            ..Environment::default()
        }
    }

    #[test]
    fn state_is_the_flag_else_the_variable_else_the_users_folder() {
        let named = Environment {
            countersign_state: Some("/srv/cs".into()),
            ..user()
        };
        check(&named, Some("here"), Some("here"));
        check(&named, None, Some("/srv/cs"));
        check(&user(), None, Some("/home/ada/.local/state/countersign"));
        let xdg = Environment {
            xdg_state_home: Some("/xdg".into()),
            ..user()
        };
        check(&xdg, None, Some("/xdg/countersign"));
        let root = Environment {
            is_root: true,
            ..xdg
        };
        check(&root, None, Some("/var/lib/countersign"));
    }

    #[test]
    fn relative_folders_of_the_environment_are_ignored() {
        let relative = Environment {
            xdg_state_home: Some("xdg".into()),
            ..user()
        };
        check(&relative, None, Some("/home/ada/.local/state/countersign"));
        let nowhere = Environment {
            home: Some("ada".into()),
            ..relative
        };
        check(&nowhere, None, None);
        check(&Environment::default(), None, None);
    }
}
