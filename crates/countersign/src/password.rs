//! Passwords of files: read from a file, asked for on the terminal without echo, or made here. Never an argument, which
//! every user of the machine can read, and never in the environment, which children inherit.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use countersign_authority::secret::{PassphraseError, Secret};
use countersign_pki::password::{InvalidPassword, Password};
use countersign_runtime::atomic_file;
use rustix::process::{Signal, getpid, kill_process};
use rustix::termios::{
    LocalModes, OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcsetattr,
};
use zeroize::Zeroizing;

use crate::fault::Fault;
use crate::output::tell;

/// Where the password of a file that is read comes from.
#[derive(Clone, Debug)]
pub(crate) enum PasswordSource {
    /// A file with one line.
    File(PathBuf),
    /// The terminal, where there is one.
    Terminal,
}

impl PasswordSource {
    /// Of `--in-password-file`.
    pub(crate) fn of(file: Option<&Path>) -> Self {
        file.map_or(Self::Terminal, |file| Self::File(file.to_owned()))
    }

    /// The password of `locked`.
    pub(crate) fn get(&self, locked: &Path) -> Result<Password, Fault> {
        match self {
            Self::File(file) => in_file(file, Password::parse),
            Self::Terminal => {
                let mut terminal = Terminal::open().ok_or_else(|| {
                    Fault::configuration(format_args!(
                        "{} is encrypted, and there is no terminal to ask for its password",
                        locked.display()
                    ))
                    .hint("`--in-password-file FILE` names the file with its password, a line")
                })?;
                let typed = terminal.ask(&format!("Password of {}: ", locked.display()))?;
                Password::parse(&typed).map_err(|error| invalid(&error))
            }
        }
    }
}

/// The passphrase of an authority's keys, typed on the terminal.
pub(crate) fn ask_passphrase(repeat: Repeat) -> Result<Secret, PassphraseError> {
    let not_typed = |fault: Fault| PassphraseError::NotTyped {
        why: fault.sentence().to_owned(),
    };
    let why = |why: &str| PassphraseError::NotTyped {
        why: why.to_owned(),
    };
    let mut terminal = Terminal::open()
        .ok_or_else(|| why("there is no terminal to ask for the passphrase of the CA keys"))?;
    let typed = terminal
        .ask("Passphrase of the CA keys: ")
        .map_err(not_typed)?;
    if typed.is_empty() {
        return Err(why("no passphrase was typed"));
    }
    if let Repeat::Twice = repeat
        && *terminal.ask("The same again: ").map_err(not_typed)? != *typed
    {
        return Err(why("the two passphrases differ"));
    }
    Ok(Secret::new(typed.as_bytes().to_vec()))
}

/// How often something is to be typed.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Repeat {
    /// It opens what is there.
    Once,
    /// It is new: a slip would lock everybody out.
    Twice,
}

/// A password for a file that is written.
#[derive(Debug)]
pub(crate) struct NewPassword {
    /// Itself.
    pub(crate) password: Password,
    /// Where it goes once the file is written.
    pub(crate) delivery: Delivery,
}

/// How whoever asked learns a password.
#[derive(Debug)]
pub(crate) enum Delivery {
    /// He chose it.
    Known,
    /// On the terminal, once.
    Tell,
    /// In a file for its owner alone.
    Write(PathBuf),
}

impl NewPassword {
    /// From `--password-file`; made here for `--password-out`; else chosen at the terminal, twice, or made when nothing is
    /// typed. Without a terminal one of the two has to be said: a log is no place for a password.
    pub(crate) fn obtain(file: Option<&Path>, out: Option<&Path>) -> Result<Self, Fault> {
        if let Some(file) = file {
            return Ok(Self {
                password: in_file(file, Password::parse_portable)?,
                delivery: Delivery::Known,
            });
        }
        if let Some(out) = out {
            return Ok(Self {
                password: generate()?,
                delivery: Delivery::Write(out.to_owned()),
            });
        }
        let mut terminal = Terminal::open().ok_or_else(|| {
            Fault::configuration("the file needs a password, and there is no terminal to ask for one")
                .hint("`--password-file FILE` names a file with one, `--password-out FILE` writes a new one there")
        })?;
        let typed = terminal.ask("Password for the file (empty: one is made): ")?;
        if typed.is_empty() {
            return Ok(Self {
                password: generate()?,
                delivery: Delivery::Tell,
            });
        }
        let password = Password::parse_portable(&typed).map_err(|error| invalid(&error))?;
        if *terminal.ask("The same again: ")? != *typed {
            return Err(
                Fault::configuration("the two passwords differ").hint("nothing was written")
            );
        }
        Ok(Self {
            password,
            delivery: Delivery::Known,
        })
    }

    /// Writes the password to its file, before what it opens exists.
    pub(crate) fn write(&self) -> Result<(), Fault> {
        let Delivery::Write(path) = &self.delivery else {
            return Ok(());
        };
        let line = Zeroizing::new(format!("{}\n", self.password.expose()));
        atomic_file::create_new(path, line.as_bytes(), 0o600).map_err(|error| {
            Fault::world(format_args!("cannot write {}: {error}", path.display()))
                .hint("`--password-out FILE` names a new file for the password")
        })
    }

    /// Tells the password, once.
    pub(crate) fn tell(&self) {
        if let Delivery::Tell = self.delivery {
            let line = Zeroizing::new(format!("password: {}", self.password.expose()));
            tell(&line);
        }
    }
}

fn in_file(
    path: &Path,
    parse: impl Fn(&str) -> Result<Password, InvalidPassword>,
) -> Result<Password, Fault> {
    let unusable = |why: &dyn std::fmt::Display| {
        Fault::configuration(format_args!("password file {}: {why}", path.display()))
            .hint("a password file holds the password as its one line")
    };
    let secret = Secret::read_passphrase(path).map_err(|error| {
        // Its sentences name the file already.
        Fault::configuration(error).hint("a password file holds the password as its one line")
    })?;
    let text = std::str::from_utf8(secret.expose()).map_err(|error| unusable(&error))?;
    parse(text).map_err(|error| unusable(&error))
}

fn invalid(error: &InvalidPassword) -> Fault {
    Fault::configuration(error).hint("choose one of printable ASCII characters, at most 1024")
}

/// 24 characters of 32 that cannot be mistaken for each other: 120 bits.
fn generate() -> Result<Password, Fault> {
    let mut random = Zeroizing::new([0_u8; GENERATED]);
    aws_lc_rs::rand::fill(&mut *random)
        .map_err(|_| Fault::world("the system's random source gave no password"))?;
    let mut text = Zeroizing::new(String::with_capacity(GENERATED));
    for byte in random.iter() {
        text.push(char::from(ALPHABET[usize::from(byte % 32)]));
    }
    Password::parse_portable(&text).map_err(Fault::bug)
}

const GENERATED: usize = 24;
const ALPHABET: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";

/// The terminal of this process, whatever its standard streams are.
struct Terminal {
    device: File,
}

impl Terminal {
    fn open() -> Option<Self> {
        let device = OpenOptions::new()
            .read(true)
            .write(true)
            .open("/dev/tty")
            .ok()?;
        Some(Self { device })
    }

    /// Asks for a line that is not shown.
    fn ask(&mut self, question: &str) -> Result<Zeroizing<String>, Fault> {
        let broken = |error: std::io::Error| {
            Fault::world(format_args!("cannot read from the terminal: {error}"))
        };
        let quiet = Quiet::begin(&self.device).map_err(broken)?;
        write!(self.device, "{question}").map_err(broken)?;
        let typed = self.line(&quiet.before);
        drop(quiet);
        let _ = writeln!(self.device);
        match typed.map_err(broken)? {
            Typed::Line(line) => {
                let typed = std::str::from_utf8(&line)
                    .map_err(|_| Fault::configuration("what was typed is not UTF-8"))?;
                Ok(Zeroizing::new(typed.to_owned()))
            }
            Typed::Nothing => {
                Err(Fault::configuration("no password was typed").hint("nothing was written"))
            }
            Typed::Stop(signal) => {
                // As the terminal would have done, now that it is as it was; whoever handles it goes on to its own end.
                let _ = kill_process(getpid(), signal);
                Err(Fault::configuration("it was interrupted").hint("nothing was written"))
            }
        }
    }

    /// A byte a time, so that nothing of the next line is taken: the terminal neither ends lines nor stops anybody meanwhile.
    fn line(&mut self, keys: &Termios) -> std::io::Result<Typed> {
        let codes = &keys.special_codes;
        let is = |byte: u8, key: SpecialCodeIndex| byte != 0 && codes[key] == byte;
        let mut line = Zeroizing::new(Vec::with_capacity(MAX_LINE));
        let mut byte = Zeroizing::new([0]);
        loop {
            if self.device.read(&mut *byte)? == 0 {
                return Ok(Typed::Nothing);
            }
            match byte[0] {
                b'\n' | b'\r' => return Ok(Typed::Line(line)),
                byte if is(byte, SpecialCodeIndex::VINTR) => return Ok(Typed::Stop(Signal::INT)),
                byte if is(byte, SpecialCodeIndex::VQUIT) => return Ok(Typed::Stop(Signal::QUIT)),
                byte if is(byte, SpecialCodeIndex::VEOF) && line.is_empty() => {
                    return Ok(Typed::Nothing);
                }
                byte if is(byte, SpecialCodeIndex::VEOF) => return Ok(Typed::Line(line)),
                byte if is(byte, SpecialCodeIndex::VKILL) => line.clear(),
                byte if is(byte, SpecialCodeIndex::VERASE) || byte == BACKSPACE => {
                    // A character of UTF-8 goes as a whole.
                    while line.pop().is_some_and(|byte| byte & 0xc0 == 0x80) {}
                }
                // Nobody would know what it did: the terminal cannot be given back half-way.
                byte if is(byte, SpecialCodeIndex::VSUSP) => {}
                byte if line.len() < MAX_LINE => line.push(byte),
                _ => {}
            }
        }
    }
}

/// What came of a question.
enum Typed {
    Line(Zeroizing<Vec<u8>>),
    Nothing,
    /// Whoever was asked wants to stop.
    Stop(Signal),
}

/// No echo while it lives, and no signal: whoever was stopped by one would leave the terminal so.
struct Quiet {
    device: File,
    before: Termios,
}

impl Quiet {
    fn begin(device: &File) -> std::io::Result<Self> {
        let device = device.try_clone()?;
        let before = tcgetattr(device.as_fd())?;
        let mut during = before.clone();
        during
            .local_modes
            .remove(LocalModes::ECHO | LocalModes::ICANON | LocalModes::ISIG);
        during.special_codes[SpecialCodeIndex::VMIN] = 1;
        during.special_codes[SpecialCodeIndex::VTIME] = 0;
        tcsetattr(device.as_fd(), OptionalActions::Flush, &during)?;
        Ok(Self { device, before })
    }
}

impl Drop for Quiet {
    fn drop(&mut self) {
        let _ = tcsetattr(self.device.as_fd(), OptionalActions::Now, &self.before);
    }
}

/// What a password may have at most: as a terminal takes by itself.
const MAX_LINE: usize = 4096;
/// Some terminals send it for the key that others send DEL for.
const BACKSPACE: u8 = 8;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn generated_passwords_are_long_portable_and_never_the_same() {
        let (one, other) = (generate().expect("one"), generate().expect("another"));
        assert_eq!(one.expose().len(), GENERATED);
        assert!(one.expose().bytes().all(|byte| ALPHABET.contains(&byte)));
        assert_ne!(one.expose(), other.expose());
    }
}
