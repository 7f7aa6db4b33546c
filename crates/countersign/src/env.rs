//! The environment, read here and nowhere else: `COUNTERSIGN_STATE`, `COUNTERSIGN_AS`, `COUNTERSIGN_AUTHORITY`,
//! `XDG_STATE_HOME`, `HOME`, `NO_COLOR`, `COUNTERSIGN_LOG`.

use std::ffi::OsString;
use std::path::PathBuf;

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
    /// `NO_COLOR` is set and not empty (no-color.org).
    pub(crate) no_colour: bool,
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
        Self {
            countersign_state: variable("COUNTERSIGN_STATE").map(PathBuf::from),
            xdg_state_home: variable("XDG_STATE_HOME").map(PathBuf::from),
            home: variable("HOME").map(PathBuf::from),
            is_root: rustix::process::geteuid().is_root(),
            operator: variable("COUNTERSIGN_AS").map(PathBuf::from),
            authority: variable("COUNTERSIGN_AUTHORITY")
                .map(|url| url.to_string_lossy().into_owned()),
            no_colour: variable("NO_COLOR").is_some(),
            log_filter: variable("COUNTERSIGN_LOG")
                .map(|filter| filter.to_string_lossy().into_owned()),
        }
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
