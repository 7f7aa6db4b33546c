//! What people really have in their files: read as far as it goes, with what is odd about it.
//!
//! Everything else in this crate takes one form and refuses the rest; whoever explains why a file is refused has to know what it is
//! instead. Nothing here fails: bytes go in, pieces and [`Oddity`]s come out. Nobody is admitted by what is read here.
//!
//! Bounded: [`MAX_BYTES`] of a file, [`MAX_PIECES`] of its pieces, the rounds of key derivation of [`pbes2`](crate::pbes2). Keys stay
//! in memory that is overwritten, and leave it by [`KeyPiece::pkcs8`] alone.

mod binary;
mod encoding;
mod piece;
mod text;

use zeroize::Zeroizing;

pub use self::piece::{
    CertificatePiece, CrlPiece, KeyFormat, KeyPiece, Lock, OtherPiece, RequestPiece,
};
use crate::password::Password;
use crate::pkcs12::Integrity;

/// A file's contents.
#[derive(Debug, Default)]
pub struct Material {
    /// What is around the pieces.
    pub container: Container,
    /// What is unusual about it, in the order in which it was met.
    pub oddities: Vec<Oddity>,
    /// Certificates, in order, each with its place among all pieces.
    pub certificates: Vec<CertificatePiece>,
    /// Private keys.
    pub keys: Vec<KeyPiece>,
    /// Certificate requests.
    pub requests: Vec<RequestPiece>,
    /// Certificate revocation lists.
    pub lists: Vec<CrlPiece>,
    /// Parameters, public keys, and what nobody knows.
    pub others: Vec<OtherPiece>,
    /// Of a keystore (PKCS#12, JKS): whether its password is known.
    pub keystore: Option<Lock>,
    /// Of a PKCS#12 file that was opened: the scheme in it that current libraries refuse, if there is one.
    pub legacy: Option<&'static str>,
    /// Of a PKCS#12 file that was opened: what shows that it was not changed.
    pub integrity: Option<Integrity>,
    pieces: usize,
    /// How many of the certificates stand in PKCS#7.
    in_pkcs7: usize,
}

/// What is around the pieces of a file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Container {
    /// DER in base64, without BEGIN and END.
    Base64,
    /// Bytes of no kind that is known here.
    Binary,
    /// DER.
    Der,
    /// Nothing, or white space alone.
    #[default]
    Empty,
    /// A page.
    Html,
    /// JKS or JCEKS.
    Jks,
    /// PEM, whatever it is surrounded by.
    Pem,
    /// PKCS#12.
    Pkcs12,
    /// PKCS#7 in DER.
    Pkcs7,
    /// Text without PEM in it.
    Text,
}

impl Container {
    /// As in a sentence.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Base64 => "base64 without BEGIN and END lines",
            Self::Binary => "binary data of no known kind",
            Self::Der => "DER",
            Self::Empty => "empty",
            Self::Html => "HTML",
            Self::Jks => "a Java keystore",
            Self::Pem => "PEM",
            Self::Pkcs12 => "PKCS#12",
            Self::Pkcs7 => "PKCS#7",
            Self::Text => "text without a PEM block",
        }
    }
}

/// What is unusual about a file. Blocks are counted from 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Oddity {
    /// An empty line within the base64 of a block, where OpenSSL stops reading.
    BlankLine {
        /// Which.
        block: usize,
    },
    /// UTF-8's mark stands before the first BEGIN line, so that it is none to OpenSSL.
    ByteOrderMark,
    /// UTF-8's mark stands before text that nobody reads.
    ByteOrderMarkBeforeText,
    /// Lines end with a lone carriage return, as on old Macs.
    CarriageReturns,
    /// Lines end as on Windows, which every reader takes.
    CrLf,
    /// More than is read.
    Cut,
    /// A block that cannot be read.
    Damaged {
        /// Which.
        block: usize,
        /// What it says it is; empty where that cannot be read.
        label: String,
        /// Why.
        why: &'static str,
    },
    /// `\n` is written out in two characters, as in JSON and environment files.
    Escaped,
    /// END and BEGIN of two blocks share a line.
    Glued {
        /// Which block begins there.
        block: usize,
    },
    /// BEGIN does not stand at the beginning of its line, as in YAML.
    Indented {
        /// Which.
        block: usize,
    },
    /// Dashes, blanks or letters that are not ASCII where PEM has ASCII: what word processors and web pages make of it.
    NotAscii {
        /// Which.
        block: usize,
    },
    /// BEGIN, the base64 and END of a block share lines.
    OneLine {
        /// Which.
        block: usize,
    },
    /// A label that another kind of thing belongs to.
    Mislabelled {
        /// Which.
        block: usize,
        /// What it says.
        label: String,
    },
    /// Two bytes a character.
    Utf16,
}

impl Material {
    /// Reads whatever it is. Every password is tried on what is encrypted.
    pub fn read(bytes: &[u8], passwords: &[Password]) -> Self {
        Self::read_within(MAX_BYTES, bytes, passwords)
    }

    fn read_within(most: usize, bytes: &[u8], passwords: &[Password]) -> Self {
        let mut material = Self::default();
        let bytes = if bytes.len() > most {
            material.oddities.push(Oddity::Cut);
            &bytes[..most]
        } else {
            bytes
        };
        if binary::take(&mut material, bytes, passwords) {
            return material;
        }
        let text = encoding::to_text(bytes, &mut material.oddities);
        let is_cut = material.oddities.contains(&Oddity::Cut);
        text::take(&mut material, &text, passwords);
        if is_cut {
            // Where the reading ends, a block does not.
            let ends =
                |it: &Oddity| matches!(it, Oddity::Damaged { why, .. } if *why == text::NO_END);
            material.oddities.retain(|it| !ends(it));
        }
        material
    }

    /// Whether nothing in it could be read as anything.
    pub fn is_nothing(&self) -> bool {
        self.pieces == 0
    }

    /// Whether every certificate in it stands in PKCS#7, which readers of PEM pass over.
    pub fn is_pkcs7_alone(&self) -> bool {
        self.in_pkcs7 > 0 && self.in_pkcs7 == self.certificates.len()
    }

    /// How many pieces there are.
    pub fn len(&self) -> usize {
        self.pieces
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.pieces == 0
    }

    /// The number of the next piece; `None` where no more are read.
    fn next_place(&mut self) -> Option<usize> {
        if self.pieces == MAX_PIECES {
            if !self.oddities.contains(&Oddity::Cut) {
                self.oddities.push(Oddity::Cut);
            }
            return None;
        }
        self.pieces += 1;
        Some(self.pieces)
    }

    /// An oddity, unless there are too many.
    fn note(&mut self, oddity: Oddity) {
        if self.oddities.len() < MAX_PIECES && !self.oddities.contains(&oddity) {
            self.oddities.push(oddity);
        }
    }
}

/// What is secret until it is known to be nothing but text.
type Text = Zeroizing<Vec<u8>>;

/// A CRL of a large CA; every other file has far less.
pub const MAX_BYTES: usize = 64 << 20;

/// The system's store of roots has some 150 certificates, a log of all that a CA issued more than anybody reads.
pub const MAX_PIECES: usize = 2048;

#[cfg(test)]
mod tests;
