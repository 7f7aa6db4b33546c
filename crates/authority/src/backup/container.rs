//! The tar format (POSIX.1-1988 ustar), of which a backup uses regular files alone.
//!
//! Written here rather than by a crate, because reading is the point: each header is made anew from the name, size and
//! time that it states, and has to be the same byte for byte, padding and end are zeros, and nothing follows. So there are
//! no links, devices, modes, owners, sparse files or extensions to be careful with, and no byte may change unseen.

use std::io::{self, Read, Write};

use aws_lc_rs::digest::{Context, SHA256};

/// Writes files into a tar, and at the end their sums.
pub(super) struct Packer<W> {
    to: W,
    at: u64,
    sums: String,
}

impl<W: Write> Packer<W> {
    /// `at`: the time of every file, Unix seconds.
    pub(super) fn new(to: W, at: u64) -> Self {
        Self {
            to,
            at,
            sums: String::new(),
        }
    }

    /// A file of exactly `size` bytes.
    pub(super) fn file(&mut self, name: &str, size: u64, from: impl Read) -> io::Result<()> {
        self.to.write_all(&header(name, size, self.at))?;
        let mut hashing = Hashing::new(from.take(size));
        if io::copy(&mut hashing, &mut self.to)? != size {
            return Err(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                format!("{name} became shorter while it was read"),
            ));
        }
        self.sums.push_str(&sum_line(&hashing.finish(), name));
        self.to.write_all(&ZEROS[..padding(size)])
    }

    /// The sums under `name`, and the end.
    pub(super) fn finish(mut self, name: &str) -> io::Result<W> {
        let sums = std::mem::take(&mut self.sums);
        self.file(name, sums.len() as u64, sums.as_bytes())?;
        self.to.write_all(&ZEROS)?;
        self.to.flush()?;
        Ok(self.to)
    }
}

/// Reads what [`Packer`] has written.
pub(super) struct Unpacker<R> {
    from: R,
    at: Option<u64>,
    sums: String,
}

/// The next file.
pub(super) struct Header {
    pub(super) name: String,
    pub(super) size: u64,
}

/// Not what [`Packer`] writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Broken {
    Altered,
    Torn,
}

/// Why nothing more can be read.
pub(super) enum ReadError {
    Broken(Broken),
    Io(io::Error),
}

impl From<io::Error> for ReadError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::UnexpectedEof => Self::Broken(Broken::Torn),
            _ => Self::Io(error),
        }
    }
}

impl<R: Read> Unpacker<R> {
    pub(super) fn new(from: R) -> Self {
        Self {
            from,
            at: None,
            sums: String::new(),
        }
    }

    /// What the sums have to say of the files up to here.
    pub(super) fn sums(&self) -> &str {
        &self.sums
    }

    pub(super) fn next(&mut self) -> Result<Header, ReadError> {
        let altered = ReadError::Broken(Broken::Altered);
        let mut block = [0; BLOCK];
        self.from.read_exact(&mut block)?;
        let name: Vec<u8> = (block[..NAME].iter().copied())
            .take_while(|&byte| byte != 0)
            .collect();
        let Ok(name) = String::from_utf8(name) else {
            return Err(altered);
        };
        let (Some(size), Some(at)) = (number(&block[SIZE]), number(&block[TIME])) else {
            return Err(altered);
        };
        if name.is_empty()
            || block != header(&name, size, at)
            || self.at.is_some_and(|other| other != at)
        {
            return Err(altered);
        }
        self.at = Some(at);
        Ok(Header { name, size })
    }

    /// The content of the file that is next, to `to`.
    pub(super) fn content(
        &mut self,
        header: &Header,
        to: &mut impl Write,
    ) -> Result<(), ReadError> {
        let mut hashing = Hashing::new((&mut self.from).take(header.size));
        if io::copy(&mut hashing, to)? != header.size {
            return Err(ReadError::Broken(Broken::Torn));
        }
        self.sums
            .push_str(&sum_line(&hashing.finish(), &header.name));
        self.zeros(padding(header.size))
    }

    /// The end, and nothing behind it.
    pub(super) fn finish(mut self) -> Result<(), ReadError> {
        self.zeros(ZEROS.len())?;
        match self.from.read(&mut [0])? {
            0 => Ok(()),
            _ => Err(ReadError::Broken(Broken::Altered)),
        }
    }

    fn zeros(&mut self, count: usize) -> Result<(), ReadError> {
        let mut bytes = [0; 2 * BLOCK];
        self.from.read_exact(&mut bytes[..count])?;
        if bytes[..count].iter().all(|&byte| byte == 0) {
            Ok(())
        } else {
            Err(ReadError::Broken(Broken::Altered))
        }
    }
}

struct Hashing<R> {
    from: R,
    digest: Context,
}

impl<R> Hashing<R> {
    fn new(from: R) -> Self {
        Self {
            from,
            digest: Context::new(&SHA256),
        }
    }

    fn finish(self) -> String {
        let digest = self.digest.finish();
        let digits: Vec<String> = (digest.as_ref().iter())
            .map(|byte| format!("{byte:02x}"))
            .collect();
        digits.concat()
    }
}

impl<R: Read> Read for Hashing<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.from.read(buffer)?;
        self.digest.update(&buffer[..count]);
        Ok(count)
    }
}

/// As `sha256sum` writes it.
fn sum_line(digest: &str, name: &str) -> String {
    format!("{digest}  {name}\n")
}

fn header(name: &str, size: u64, at: u64) -> [u8; BLOCK] {
    let mut block = [0; BLOCK];
    let mut put = |at: usize, bytes: &[u8]| block[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, &name.as_bytes()[..name.len().min(NAME)]);
    put(100, b"0000600\0");
    put(108, b"0000000\0");
    put(116, b"0000000\0");
    put(SIZE.start, &digits(size));
    put(TIME.start, &digits(at));
    // The checksum counts as eight blanks while it is made.
    put(148, b"        ");
    put(156, b"0");
    put(257, b"ustar\x0000");
    let sum: u32 = block.iter().map(|&byte| u32::from(byte)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    block
}

/// Eleven octal digits; what is longer, from 8 GiB on, in base 256, as GNU tar and others read it.
fn digits(value: u64) -> [u8; FIELD] {
    let mut field = [0; FIELD];
    if value < OCTAL_END {
        field[..FIELD - 1].copy_from_slice(format!("{value:011o}").as_bytes());
    } else {
        field[0] = 0x80;
        field[FIELD - 8..].copy_from_slice(&value.to_be_bytes());
    }
    field
}

fn number(field: &[u8]) -> Option<u64> {
    if field.first() == Some(&0x80) {
        return Some(u64::from_be_bytes(field[FIELD - 8..].try_into().ok()?));
    }
    u64::from_str_radix(std::str::from_utf8(&field[..FIELD - 1]).ok()?, 8).ok()
}

fn padding(size: u64) -> usize {
    let over = usize::try_from(size % BLOCK as u64).expect("less than a block");
    (BLOCK - over) % BLOCK
}

const BLOCK: usize = 512;
const NAME: usize = 100;
const FIELD: usize = 12;
const SIZE: std::ops::Range<usize> = 124..136;
const TIME: std::ops::Range<usize> = 136..148;
/// 8^11.
const OCTAL_END: u64 = 1 << 33;
const ZEROS: [u8; 2 * BLOCK] = [0; 2 * BLOCK];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_of_any_length_are_read_as_written() {
        for size in [0, 1, 511, 512, 513, OCTAL_END - 1, OCTAL_END, u64::MAX] {
            assert_eq!(number(&digits(size)), Some(size), "{size}");
        }
        assert_eq!(number(b"0000000000 \0"), None);
    }

    #[test]
    fn file_that_shrinks_while_it_is_read_makes_no_backup() {
        let mut packer = Packer::new(Vec::new(), 1);
        let error = packer.file("a", 5, &b"abc"[..]).expect_err("too short");
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
    }
}
