//! Secrets that do not print themselves and do not stay in memory, and where the passphrase of the CA keys comes from.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use zeroize::Zeroizing;

/// Bytes that are redacted in `Debug`, never serialised, and overwritten when dropped.
#[derive(Clone)]
pub struct Secret(Zeroizing<Vec<u8>>);

impl Secret {
    /// Takes the bytes over.
    pub fn new(bytes: Vec<u8>) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// The bytes, for the one who uses them.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }

    /// Reads a passphrase file: one line of at most 4 KiB, its line end left out, not empty.
    pub fn read_passphrase(path: &Path) -> Result<Self, PassphraseError> {
        let unreadable = |source| PassphraseError::Unreadable {
            path: path.to_owned(),
            source,
        };
        // Made large enough at once: a vector that grows leaves copies behind.
        let mut bytes = Zeroizing::new(Vec::with_capacity(MAX_PASSPHRASE + 3));
        let file = File::open(path).map_err(unreadable)?;
        file.take(MAX_PASSPHRASE as u64 + 3)
            .read_to_end(&mut bytes)
            .map_err(unreadable)?;
        if bytes.last() == Some(&b'\n') {
            bytes.pop();
            if bytes.last() == Some(&b'\r') {
                bytes.pop();
            }
        }
        if bytes.is_empty() {
            return Err(PassphraseError::Empty {
                path: path.to_owned(),
            });
        }
        if bytes.len() > MAX_PASSPHRASE || bytes.contains(&b'\n') {
            return Err(PassphraseError::NotOneLine {
                path: path.to_owned(),
            });
        }
        Ok(Self(bytes))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// Where the passphrase of the CA keys comes from.
#[derive(Clone, Debug)]
pub enum Passphrase {
    /// A file that the operator names.
    FromFile(PathBuf),
    /// The one that init generated into the state folder.
    StateFile,
    /// The same, or a person where it was taken away.
    StateFileOr(Prompt),
    /// A person.
    Typed(Prompt),
}

impl Passphrase {
    /// Which of them it is for a state folder whose own file is `state_file`.
    pub(crate) fn source(&self, state_file: PathBuf) -> PassphraseSource {
        match self {
            Self::FromFile(path) => PassphraseSource::File(path.clone()),
            Self::StateFileOr(prompt) if !state_file.exists() => {
                PassphraseSource::Typed(prompt.clone())
            }
            Self::StateFile | Self::StateFileOr(_) => PassphraseSource::File(state_file),
            Self::Typed(prompt) => PassphraseSource::Typed(prompt.clone()),
        }
    }
}

/// Where it can be read again.
#[derive(Clone, Debug)]
pub(crate) enum PassphraseSource {
    File(PathBuf),
    Typed(Prompt),
}

impl PassphraseSource {
    pub(crate) fn read(&self) -> Result<Secret, PassphraseError> {
        match self {
            Self::File(path) => Secret::read_passphrase(path),
            Self::Typed(prompt) => prompt.answer(),
        }
    }
}

/// Asks a person when the passphrase is first needed, and keeps what was typed for the keys that are unsealed later.
#[derive(Clone)]
pub struct Prompt {
    ask: Arc<dyn Fn() -> Result<Secret, PassphraseError> + Send + Sync>,
    /// Guards that a person is asked once, whoever needs the passphrase at the same time.
    typed: Arc<Mutex<Option<Secret>>>,
}

impl Prompt {
    /// `ask` may block for as long as a person types.
    pub fn new(ask: impl Fn() -> Result<Secret, PassphraseError> + Send + Sync + 'static) -> Self {
        Self {
            ask: Arc::new(ask),
            typed: Arc::default(),
        }
    }

    /// What was typed. Who could not answer is asked again the next time.
    pub fn answer(&self) -> Result<Secret, PassphraseError> {
        self.answer_with(|| (self.ask)())
    }

    /// The same, asked in another way where nothing was typed yet.
    pub fn answer_with(
        &self,
        ask: impl FnOnce() -> Result<Secret, PassphraseError>,
    ) -> Result<Secret, PassphraseError> {
        let mut typed = self.typed.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(before) = &*typed {
            return Ok(before.clone());
        }
        let secret = ask()?;
        Ok(typed.insert(secret).clone())
    }
}

impl fmt::Debug for Prompt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Prompt(…)")
    }
}

/// Why there is no passphrase.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PassphraseError {
    /// Nothing in it.
    #[error("passphrase file {} is empty", .path.display())]
    Empty {
        /// Which.
        path: PathBuf,
    },
    /// Over 4 KiB, or more than one line.
    #[error("passphrase file {} holds more than one line of at most 4096 bytes", .path.display())]
    NotOneLine {
        /// Which.
        path: PathBuf,
    },
    /// Nobody typed one.
    #[error("{why}")]
    NotTyped {
        /// Why.
        why: String,
    },
    /// The file cannot be read.
    #[error("cannot read passphrase file {}: {source}", .path.display())]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl PassphraseError {
    /// What to do.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::NotTyped { .. } => "`--ask-passphrase` asks on a terminal; without one, `--passphrase-file FILE` names a file with the passphrase, and a service gets it as its credential countersign-passphrase".to_owned(),
            _ => PASSPHRASE_HINT.to_owned(),
        })
    }
}

/// For whoever has a wrong one or none.
pub const PASSPHRASE_HINT: &str = "--passphrase-file names the file that the authority was initialised with, --ask-passphrase asks for what is in it";

/// Longer than anything a person or a generator writes; bounds what a wrong path (a device, a database) can make us read.
const MAX_PASSPHRASE: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    fn check(content: &[u8], expected: Option<&[u8]>) {
        let folder = tempfile::tempdir().expect("temporary directory");
        let path = folder.path().join("passphrase");
        std::fs::write(&path, content).expect("writes");
        let read = Secret::read_passphrase(&path);
        assert_eq!(
            read.ok().map(|secret| secret.expose().to_vec()),
            expected.map(<[u8]>::to_vec),
            "{content:?}"
        );
    }

    #[test]
    fn passphrase_is_the_one_line_of_its_file() {
        check(b"correct horse", Some(b"correct horse"));
        check(b"correct horse\n", Some(b"correct horse"));
        check(b" spaces stay \r\n", Some(b" spaces stay "));
        check(&[b'x'; 4096], Some(&[b'x'; 4096]));
    }

    #[test]
    fn empty_long_and_many_lined_files_are_refused() {
        check(b"", None);
        check(b"\n", None);
        check(b"one\ntwo\n", None);
        check(&[b'x'; 4097], None);
        check(&vec![b'x'; 100_000], None);
    }

    #[test]
    fn secret_does_not_print_itself() {
        assert_eq!(
            format!("{:?}", Secret::new(b"hunter2".to_vec())),
            "Secret(…)"
        );
    }
}
