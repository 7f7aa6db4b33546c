//! Where the passphrase of the CA keys comes from, the first that there is: `--passphrase-file` or `--ask-passphrase`, the credential
//! that a service manager passes, the file in the state folder, the terminal.

use std::io::{self, IsTerminal};
use std::path::PathBuf;

use clap::Args;
use countersign_authority::secret::{Passphrase, PassphraseError, Prompt, Secret};

use super::arguments::Globals;
use crate::fault::Fault;
use crate::password::{Repeat, ask_passphrase};

/// `--passphrase-file` and `--ask-passphrase`, for whoever opens the authority: an own process does where none serves.
#[derive(Clone, Debug, Args)]
pub(crate) struct PassphraseArgument {
    /// File with the passphrase of the CA keys [default: the credential countersign-passphrase of a service, else the one that init
    /// generated into the state folder]
    #[arg(long, value_name = "FILE")]
    passphrase_file: Option<PathBuf>,
    /// Ask for the passphrase of the CA keys on the terminal, without showing it [default: when there is no file with it]
    #[arg(long, conflicts_with = "passphrase_file")]
    ask_passphrase: bool,
    #[arg(skip)]
    offer: Offer,
}

/// What there is beside the arguments.
#[derive(Clone, Debug, Default)]
struct Offer {
    credential: Option<PathBuf>,
    /// Somebody who has to open what is there.
    opener: Option<Prompt>,
    /// The answer is for programs: nobody is asked.
    json: bool,
}

impl PassphraseArgument {
    /// With what the environment and the terminal offer.
    pub(crate) fn within(self, globals: &Globals) -> Self {
        let json = globals.json;
        let opener = Prompt::new(move || ask(json, Repeat::Once));
        Self {
            offer: Offer {
                credential: globals.environment.passphrase_credential.clone(),
                opener: Some(opener),
                json,
            },
            ..self
        }
    }

    /// The file that is named.
    pub(crate) fn file(&self) -> Option<&PathBuf> {
        self.passphrase_file.as_ref()
    }

    /// Whether a person is to be asked.
    pub(crate) fn is_asked_for(&self) -> bool {
        self.ask_passphrase
    }

    /// Whether the arguments say anything.
    pub(crate) fn is_given(&self) -> bool {
        self.ask_passphrase || self.passphrase_file.is_some()
    }

    /// Where the passphrase of what is there comes from.
    pub(crate) fn passphrase(&self) -> Passphrase {
        let file = self.passphrase_file.as_ref();
        let json = self.offer.json;
        let prompt = || {
            let opener = self.offer.opener.clone();
            opener.unwrap_or_else(|| Prompt::new(move || ask(json, Repeat::Once)))
        };
        if self.ask_passphrase {
            return Passphrase::Typed(prompt());
        }
        match file.or(self.offer.credential.as_ref()) {
            Some(file) => Passphrase::FromFile(file.clone()),
            // A person at the keyboard; a command in a script or a test has to be told.
            None if !json && io::stdin().is_terminal() => Passphrase::StateFileOr(prompt()),
            None => Passphrase::StateFile,
        }
    }

    /// The passphrase of keys that are there, if one is given.
    pub(crate) fn read(&self) -> Result<Option<Secret>, Fault> {
        self.given(Repeat::Once)
    }

    /// The passphrase of keys that are made now, if one is given.
    pub(crate) fn new_one(&self) -> Result<Option<Secret>, Fault> {
        self.given(Repeat::Twice)
    }

    fn given(&self, repeat: Repeat) -> Result<Option<Secret>, Fault> {
        if self.ask_passphrase {
            let json = self.offer.json;
            return Ok(Some(match &self.offer.opener {
                // What opens it in a moment is what was chosen for it.
                Some(opener) => opener.answer_with(|| ask(json, repeat))?,
                None => ask(json, repeat)?,
            }));
        }
        let file = self.passphrase_file.as_ref();
        let file = file.or(self.offer.credential.as_ref());
        Ok(file.map(|file| Secret::read_passphrase(file)).transpose()?)
    }
}

fn ask(json: bool, repeat: Repeat) -> Result<Secret, PassphraseError> {
    if json {
        return Err(PassphraseError::NotTyped {
            why: "nobody is asked for the passphrase of the CA keys under --json".to_owned(),
        });
    }
    ask_passphrase(repeat)
}
