//! A password that files are encrypted under, in the forms that their formats want.

use std::fmt;

use zeroize::Zeroizing;

/// Text that is redacted in `Debug` and overwritten when dropped.
#[derive(Clone)]
pub struct Password(Zeroizing<String>);

impl Password {
    /// Takes at most 1024 bytes without control characters; none at all is a password too, which some files have.
    pub fn parse(text: &str) -> Result<Self, InvalidPassword> {
        if text.len() > MAX_BYTES {
            return Err(InvalidPassword::TooLong);
        }
        if text.chars().any(char::is_control) {
            return Err(InvalidPassword::Control);
        }
        Ok(Self(Zeroizing::new(text.to_owned())))
    }

    /// The same, for a file that others must be able to open: not empty, and printable ASCII alone, since programs differ in
    /// how they encode the rest (Java takes nothing else under PBES2).
    pub fn parse_portable(text: &str) -> Result<Self, InvalidPassword> {
        if text.is_empty() {
            return Err(InvalidPassword::Empty);
        }
        let password = Self::parse(text)?;
        if text.is_ascii() {
            Ok(password)
        } else {
            Err(InvalidPassword::NotAscii)
        }
    }

    /// The text, for the one who writes it where it belongs.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// As PBES2 takes it (RFC 8018 §3).
    pub(crate) fn utf8(&self) -> &[u8] {
        self.0.as_bytes()
    }

    /// UTF-16 without an end, as JKS takes it.
    pub(crate) fn utf16(&self) -> Zeroizing<Vec<u8>> {
        // Made large enough at once: a vector that grows leaves copies behind.
        let mut bytes = Zeroizing::new(Vec::with_capacity(2 * self.0.len() + 2));
        for unit in self.0.encode_utf16() {
            bytes.extend_from_slice(&unit.to_be_bytes());
        }
        bytes
    }

    /// UTF-16 with a NUL at its end, as PKCS#12's own derivation takes it (RFC 7292 §B.1).
    pub(crate) fn bmp(&self) -> Zeroizing<Vec<u8>> {
        let mut bytes = self.utf16();
        bytes.extend_from_slice(&[0, 0]);
        bytes
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(…)")
    }
}

/// Why a text is no password.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidPassword {
    /// A tab, a line end, an escape.
    #[error("the password holds a control character")]
    Control,
    /// Nothing.
    #[error("the password is empty")]
    Empty,
    /// Which programs encode differently.
    #[error("the password holds characters beyond ASCII, which Java and others do not take")]
    NotAscii,
    /// More than 1024 bytes.
    #[error("the password is longer than {MAX_BYTES} bytes")]
    TooLong,
}

/// Longer than anything a person or a generator writes.
const MAX_BYTES: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_are_those_of_the_standards() {
        // RFC 7292 §B.1's own example.
        let beavis = Password::parse("Beavis").expect("a password");
        assert_eq!(beavis.bmp().as_slice(), b"\0B\0e\0a\0v\0i\0s\0\0");
        assert_eq!(beavis.utf16().len(), 12);
        assert_eq!(Password::parse("").expect("none").bmp().as_slice(), [0, 0]);
        assert_eq!(format!("{beavis:?}"), "Password(…)");
    }

    #[test]
    fn what_others_could_not_type_is_refused() {
        let check = |text: &str, expected| {
            assert_eq!(Password::parse_portable(text).err(), expected, "{text:?}");
        };
        check("correct horse ~!", None);
        check("", Some(InvalidPassword::Empty));
        check("pässword", Some(InvalidPassword::NotAscii));
        check("a\tb", Some(InvalidPassword::Control));
        check("a\u{7f}", Some(InvalidPassword::Control));
        check(&"x".repeat(1025), Some(InvalidPassword::TooLong));
        assert!(Password::parse("pässword").is_ok());
    }
}
