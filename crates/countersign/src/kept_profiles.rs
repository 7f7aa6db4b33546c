//! The `[authority]` of the configuration that was served last, kept in the state: who issues while nobody serves goes by the
//! same profiles, for a rule that ends with a process is none.

use std::fs;
use std::io;
use std::path::Path;

use countersign_authority::authority::{Authority, NotReady};
use countersign_authority::backup::RulesInForce;
use countersign_authority::config::AuthorityConfig;
use countersign_authority::retention::RetentionRule;
use countersign_authority::state::StateFolder;
use countersign_policy::issuance::Profiles;
use countersign_runtime::atomic_file::write_atomic;

use crate::composition::{admin_url, host_name};
use crate::fault::Fault;

/// Keeps what is served now. Where that fails, nothing is issued until it has been kept; all else is served on.
pub(crate) fn keep(authority: &Authority, state: &StateFolder, config: &AuthorityConfig) {
    let text = text(config);
    if let Ok(text) = &text {
        // Of what is in force, whatever becomes of the file.
        authority.back_up_rules(match text {
            Some(text) => RulesInForce::Written(text.clone()),
            None => RulesInForce::BuiltIn,
        });
    }
    match text.and_then(|text| write_if_other(&state.kept_rules(), text.as_deref())) {
        Ok(()) => authority.hold_back(None),
        Err(fault) => {
            let why = fault.sentence();
            if authority.held_back().is_none() {
                tracing::error!(
                    error = why,
                    "nothing is issued until what is issued by is kept: it is tried again"
                );
            }
            authority.hold_back(Some(NotReady {
                why: format!("nothing is issued: what it is issued by cannot be kept: {why}"),
                hint: Some(UNWRITABLE.to_owned()),
            }));
        }
    }
}

/// What the file has; `None`: there is none, for what is built in says it all.
fn text(config: &AuthorityConfig) -> Result<Option<String>, Fault> {
    if *config == AuthorityConfig::default() {
        return Ok(None);
    }
    toml::to_string(config).map(Some).map_err(Fault::bug)
}

/// A disk that is full has no room for what is there already.
fn write_if_other(path: &Path, text: Option<&str>) -> Result<(), Fault> {
    let Some(text) = text else {
        return match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(unwritable(path, &error)),
            _ => Ok(()),
        };
    };
    if fs::read(path).is_ok_and(|kept| kept == text.as_bytes()) {
        return Ok(());
    }
    write_atomic(path, text.as_bytes(), 0o600).map_err(|error| unwritable(path, &error))
}

fn unwritable(path: &Path, error: &io::Error) -> Fault {
    Fault::world(format_args!("cannot write {}: {error}", path.display())).hint(UNWRITABLE)
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
    let path = state.kept_rules();
    let damaged = |why: &dyn std::fmt::Display| {
        Fault::configuration(format_args!("{}: {why}", path.display())).hint(DAMAGED)
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

/// Where nobody knows what is issued by, nothing is: what revokes, lists and shows needs none of it.
pub(crate) fn go_by(authority: &Authority, kept: Result<Kept, Fault>) {
    match kept {
        Ok(kept) => {
            authority.replace_profiles(kept.profiles);
            authority.replace_retention(kept.retention);
            authority.serve_admin_at(kept.admin_url);
        }
        Err(fault) => authority.hold_back(Some(NotReady {
            why: format!(
                "nothing is issued: what it is issued by cannot be read: {}",
                fault.sentence()
            ),
            hint: Some(DAMAGED.to_owned()),
        })),
    }
}

const DAMAGED: &str = "`countersign run` writes it anew from its configuration";
const UNWRITABLE: &str =
    "the state folder must be writable and its disk have space: then it goes on by itself";
