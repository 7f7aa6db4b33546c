//! The `[authority]` of the configuration that was served last, kept in the state: who issues while nobody serves goes by the
//! same profiles, for a rule that ends with a process is none.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use countersign_authority::config::AuthorityConfig;
use countersign_authority::retention::RetentionRule;
use countersign_authority::state::StateFolder;
use countersign_policy::issuance::Profiles;
use countersign_runtime::atomic_file::write_atomic;

use crate::composition::{admin_url, host_name};
use crate::fault::Fault;

/// Keeps what is served now.
pub(crate) fn keep(state: &StateFolder, authority: &AuthorityConfig) -> Result<(), Fault> {
    let path = place(state);
    if *authority == AuthorityConfig::default() {
        return match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(unwritable(&path, &error)),
            _ => Ok(()),
        };
    }
    let text = toml::to_string(authority).map_err(Fault::bug)?;
    write_atomic(&path, text.as_bytes(), 0o600).map_err(|error| unwritable(&path, &error))
}

fn unwritable(path: &Path, error: &io::Error) -> Fault {
    Fault::world(format_args!("cannot write {}: {error}", path.display()))
        .hint("the state folder must be writable and its disk have space")
}

/// What an authority goes by.
pub(crate) struct Kept {
    pub(crate) profiles: Profiles,
    pub(crate) retention: Option<RetentionRule>,
    /// Where operators reached it.
    pub(crate) admin_url: Option<String>,
}

/// What was served last; the built-in profiles where nothing ever was.
pub(crate) fn load(state: &StateFolder) -> Result<Kept, Fault> {
    let path = place(state);
    let damaged = |why: &dyn std::fmt::Display| {
        Fault::configuration(format_args!("{}: {why}", path.display()))
            .hint("`countersign run` writes it anew from its configuration")
    };
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Ok(Kept {
                profiles: Profiles::built_in(),
                retention: None,
                admin_url: None,
            });
        }
        Err(error) => return Err(damaged(&error)),
    };
    let authority: AuthorityConfig =
        toml::from_str(&text).map_err(|error| damaged(&error.message()))?;
    let admin = authority.admin.as_ref();
    Ok(Kept {
        profiles: authority.profiles().map_err(|error| damaged(&error))?,
        retention: authority.retention().map_err(|error| damaged(&error))?,
        admin_url: admin.and_then(|admin| admin_url(admin, admin.address.port(), host_name())),
    })
}

fn place(state: &StateFolder) -> PathBuf {
    state.path().join("profiles.toml")
}
