//! The write-ahead log that a killed process has left, looked at before SQLite recovers from it.
//!
//! SQLite takes a log up to the first frame whose checksum is wrong and forgets the rest without a word: that is right for
//! a last transaction that was torn, and wrong for a damaged one that others followed, for those were acknowledged. The two
//! can be told apart. A transaction begins only when the one before it is on disk (`synchronous = FULL`), so behind a frame
//! that is torn there can be the end of its own transaction, but not that and the beginning of another.
//!
//! The format is that of <https://www.sqlite.org/fileformat2.html#the_write_ahead_log>.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, BufReader, ErrorKind, Read};
use std::path::{Path, PathBuf};

use crate::error::StoreError;

/// Refuses an inventory whose log lost what was acknowledged. A log cut off at the end of a transaction looks like one
/// that ended there: against that a noted head of the audit log helps.
pub(crate) fn refuse_damaged(inventory: &Path) -> Result<(), StoreError> {
    let path = path_of(inventory);
    match lasting_damage(&path) {
        Ok(None) => Ok(()),
        Ok(Some(frame)) => Err(StoreError::Corrupt {
            path: inventory.to_owned(),
            why: format!(
                "its write-ahead log {} is broken at frame {frame}, and transactions that were acknowledged follow",
                path.display()
            ),
        }),
        Err(error) => Err(StoreError::Io {
            path,
            why: error.to_string(),
        }),
    }
}

/// Whoever writes while we read shows frames that are neither the old nor the new ones; damage stays where it is.
fn lasting_damage(path: &Path) -> io::Result<Option<u64>> {
    let mut found = None;
    for _ in 0..READINGS {
        let file = match File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let damage = first_damage(&mut BufReader::with_capacity(BUFFER, file))?;
        if damage.is_none() || found.is_some_and(|before| Some(before) != damage) {
            return Ok(None);
        }
        found = damage;
    }
    Ok(found)
}

fn path_of(inventory: &Path) -> PathBuf {
    let mut name: OsString = inventory.as_os_str().to_owned();
    name.push("-wal");
    name.into()
}

/// The number of the first frame that is broken though a transaction behind it was followed by another one.
fn first_damage(log: &mut impl Read) -> io::Result<Option<u64>> {
    let mut header = [0; HEADER];
    if !fill(log, &mut header)? {
        return Ok(None);
    }
    let magic = word(&header, 0, u32::from_be_bytes);
    let page = word(&header, 8, u32::from_be_bytes) as usize;
    if magic & !1 != MAGIC || !page.is_power_of_two() || !(512..=65_536).contains(&page) {
        return Ok(None);
    }
    let read: fn([u8; 4]) -> u32 = if magic & 1 == 1 {
        u32::from_be_bytes
    } else {
        u32::from_le_bytes
    };
    let salts = &header[16..24];
    let mut sum = Sum(0, 0);
    sum.add(&header[..24], read);
    let mut broken = (!sum.is(&header[24..])).then_some(0);
    // The page of the last frame that ends a transaction behind the broken one.
    let mut ended = None;
    let mut frame = vec![0; FRAME + page];
    let mut number = 0;
    while fill(log, &mut frame)? {
        number += 1;
        let is_of_this_log = frame[8..16] == *salts;
        if broken.is_none() {
            sum.add(&frame[..8], read);
            sum.add(&frame[FRAME..], read);
            if is_of_this_log && sum.is(&frame[16..24]) {
                continue;
            }
            broken = Some(number);
        }
        if !is_of_this_log {
            continue;
        }
        let end = (
            word(&frame, 0, u32::from_be_bytes),
            word(&frame, 4, u32::from_be_bytes),
        );
        // The last frame may be there more than once, up to the end of a sector.
        if ended.is_some_and(|ended| ended != end) {
            return Ok(broken);
        }
        if end.1 != 0 {
            ended = Some(end);
        }
    }
    Ok(None)
}

struct Sum(u32, u32);

impl Sum {
    fn add(&mut self, bytes: &[u8], read: fn([u8; 4]) -> u32) {
        for pair in bytes.chunks_exact(8) {
            let (first, second) = (word(pair, 0, read), word(pair, 4, read));
            self.0 = self.0.wrapping_add(first).wrapping_add(self.1);
            self.1 = self.1.wrapping_add(second).wrapping_add(self.0);
        }
    }

    fn is(&self, bytes: &[u8]) -> bool {
        (
            word(bytes, 0, u32::from_be_bytes),
            word(bytes, 4, u32::from_be_bytes),
        ) == (self.0, self.1)
    }
}

fn word(bytes: &[u8], at: usize, read: fn([u8; 4]) -> u32) -> u32 {
    let mut word = [0; 4];
    word.copy_from_slice(&bytes[at..at + 4]);
    read(word)
}

/// `false`: it ends before.
fn fill(log: &mut impl Read, buffer: &mut [u8]) -> io::Result<bool> {
    match log.read_exact(buffer) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}

const MAGIC: u32 = 0x377f_0682;
const HEADER: usize = 32;
const FRAME: usize = 24;
/// The state's lock keeps other writers away; only an operator's `sqlite3` can be in the middle of something, for a moment.
const READINGS: usize = 3;
const BUFFER: usize = 256 * 1024;
