//! The ring on disk: segments of JSON lines, the oldest deleted when the limit is reached.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use countersign_diagnose::refusal::RefusalId;
use countersign_runtime::atomic_file::write_atomic;
use serde::{Deserialize, Serialize};

use crate::refusals::StoredRefusal;

/// The writing end. There is one per folder: the state's lock sees to it.
pub(super) struct Ring {
    directory: PathBuf,
    segment_bytes: u64,
    number: u64,
    file: File,
    written: u64,
    /// Sequence numbers below this may have been given out.
    reserved: u64,
}

/// One line of a segment.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
pub(super) enum Line {
    /// An entry.
    Kept(Box<StoredRefusal>),
    /// An entry of an earlier line was counted again.
    Again {
        again: RefusalId,
        count: u64,
        last_unix_s: u64,
    },
}

impl Ring {
    /// Opens or makes the ring; beside it the first sequence number that no earlier run can have given out.
    pub(super) fn open(directory: &Path, limit_bytes: u64) -> io::Result<(Self, u64)> {
        fs::create_dir_all(directory)?;
        let segments = segments(directory)?;
        let number = segments.last().map_or(1, |(number, _)| *number);
        let (file, written) = open_segment(directory, number)?;
        let next = next_sequence(directory, &segments)?;
        let mut ring = Self {
            directory: directory.to_owned(),
            segment_bytes: (limit_bytes / SEGMENTS).max(MIN_SEGMENT_BYTES),
            number,
            file,
            written,
            reserved: next,
        };
        match ring.reserve(next) {
            // Whoever is refused is refused all the same. No line is written before numbers could be reserved.
            Err(error) if error.kind() == io::ErrorKind::StorageFull => {
                tracing::error!(directory = %directory.display(), %error, "refusals are not kept until there is room");
            }
            reserved => reserved?,
        }
        Ok((ring, next))
    }

    /// Writes lines, and sees to it that the numbers from `next` on stay this run's own.
    pub(super) fn append(&mut self, lines: &[Line], next: u64) -> io::Result<()> {
        if next + RESERVE / 2 > self.reserved {
            self.reserve(next)?;
        }
        let mut bytes = Vec::new();
        for line in lines {
            serde_json::to_writer(&mut bytes, line)?;
            bytes.push(b'\n');
        }
        if self.written > 0 && self.written + bytes.len() as u64 > self.segment_bytes {
            self.begin_segment()?;
        }
        self.file.write_all(&bytes)?;
        self.written += bytes.len() as u64;
        Ok(())
    }

    fn begin_segment(&mut self) -> io::Result<()> {
        let (file, written) = open_segment(&self.directory, self.number + 1)?;
        (self.number, self.file, self.written) = (self.number + 1, file, written);
        let segments = segments(&self.directory)?;
        let surplus = segments
            .len()
            .saturating_sub(usize::try_from(SEGMENTS).expect("a small number"));
        for (_, path) in &segments[..surplus] {
            fs::remove_file(path)?;
        }
        Ok(())
    }

    fn reserve(&mut self, next: u64) -> io::Result<()> {
        let reserved = next + RESERVE;
        write_atomic(
            &self.directory.join(RESERVED),
            reserved.to_string().as_bytes(),
            0o600,
        )?;
        self.reserved = reserved;
        Ok(())
    }
}

/// The segments in `directory`, oldest first. None if it is not there.
pub(super) fn segments(directory: &Path) -> io::Result<Vec<(u64, PathBuf)>> {
    let entries = match fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut segments = Vec::new();
    for entry in entries {
        let path = entry?.path();
        let number = path
            .file_name()
            .and_then(|name| name.to_str())
            .and_then(|name| name.strip_suffix(SUFFIX)?.parse().ok());
        segments.extend(number.map(|number| (number, path)));
    }
    segments.sort();
    Ok(segments)
}

/// The lines of a segment that can be read and hold `part`: a process that was killed leaves half a line behind.
pub(super) fn lines(path: &Path, part: &str) -> io::Result<Vec<Line>> {
    let bytes = fs::read(path)?;
    let lines = bytes
        .split(|&byte| byte == b'\n')
        .filter_map(|line| std::str::from_utf8(line).ok());
    let wanted = lines.filter(|line| part.is_empty() || line.contains(part));
    Ok(wanted
        .filter_map(|line| serde_json::from_str(line).ok())
        .collect())
}

fn open_segment(directory: &Path, number: u64) -> io::Result<(File, u64)> {
    let path = directory.join(format!("{number:012}{SUFFIX}"));
    let mut options = OpenOptions::new();
    options.create(true).append(true).read(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path)?;
    let mut length = file.seek(SeekFrom::End(0))?;
    if length > 0 {
        let mut last = [0];
        file.seek(SeekFrom::End(-1))?;
        file.read_exact(&mut last)?;
        if last != *b"\n" {
            // Else the next line would be lost with the torn one.
            match file.write_all(b"\n") {
                // A line then, on a disk that has no room for one.
                Err(error) if error.kind() == io::ErrorKind::StorageFull => {}
                written => {
                    written?;
                    length += 1;
                }
            }
        }
    }
    Ok((file, length))
}

fn next_sequence(directory: &Path, segments: &[(u64, PathBuf)]) -> io::Result<u64> {
    let reserved = match fs::read_to_string(directory.join(RESERVED)) {
        Ok(text) => text.trim().parse().ok(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(error),
    };
    if let Some(reserved) = reserved {
        return Ok(reserved);
    }
    // The file is gone or damaged: past everything that the ring holds, and what may have been given out after it.
    let mut highest = None;
    for (_, path) in segments.iter().rev() {
        let of_segment = lines(path, "")?
            .iter()
            .map(|line| line.id().sequence())
            .max();
        highest = highest.max(of_segment);
    }
    Ok(highest.map_or(0, |highest| highest + RESERVE))
}

impl Line {
    fn id(&self) -> &RefusalId {
        match self {
            Self::Kept(refusal) => &refusal.id,
            Self::Again { again, .. } => again,
        }
    }
}

const SUFFIX: &str = ".jsonl";
const RESERVED: &str = "reserved";

/// A sixteenth of the ring is the grain in which it forgets.
const SEGMENTS: u64 = 16;

/// Below it a segment would hold a handful of refusals (18 KiB each at most).
const MIN_SEGMENT_BYTES: u64 = 64 * 1024;

/// Numbers set aside at once: a write for every 512 entries, and a restart skips at most so many of a billion.
const RESERVE: u64 = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    fn again(sequence: u64) -> Line {
        let node = "abcd".parse().expect("a node id");
        Line::Again {
            again: RefusalId::new(&node, sequence),
            count: 2,
            last_unix_s: 3,
        }
    }

    fn held(directory: &Path) -> Vec<u64> {
        let segments = segments(directory).expect("readable");
        segments
            .iter()
            .flat_map(|(_, path)| lines(path, "").expect("readable"))
            .map(|line| line.id().sequence())
            .collect()
    }

    #[test]
    fn oldest_lines_go_when_the_limit_is_reached() {
        let folder = tempfile::tempdir().expect("a folder");
        let (mut ring, _) = Ring::open(folder.path(), 1).expect("opens");
        let line = serde_json::to_vec(&again(0)).expect("json").len() + 1;
        let total = 40 * usize::try_from(MIN_SEGMENT_BYTES).expect("small") / line;
        for sequence in 0..total as u64 {
            ring.append(&[again(sequence)], sequence).expect("writes");
        }
        let held = held(folder.path());
        assert_eq!(held.last(), Some(&(total as u64 - 1)));
        let bytes: u64 = segments(folder.path())
            .expect("readable")
            .iter()
            .map(|(_, path)| fs::metadata(path).expect("there").len())
            .sum();
        assert!(bytes <= SEGMENTS * MIN_SEGMENT_BYTES, "{bytes}");
        assert!(held.len() > total / 4, "{} of {total}", held.len());
    }

    #[test]
    fn torn_line_costs_only_itself() {
        let folder = tempfile::tempdir().expect("a folder");
        let (mut ring, _) = Ring::open(folder.path(), 1 << 20).expect("opens");
        ring.append(&[again(1), again(2)], 3).expect("writes");
        let (_, path) = segments(folder.path()).expect("readable").remove(0);
        let whole = fs::read(&path).expect("there");
        fs::write(&path, &whole[..whole.len() - 7]).expect("torn");
        assert_eq!(held(folder.path()), [1]);
        let (mut ring, _) = Ring::open(folder.path(), 1 << 20).expect("opens");
        ring.append(&[again(3)], 4).expect("writes");
        assert_eq!(held(folder.path()), [1, 3]);
    }

    #[test]
    fn numbers_never_repeat_over_restarts() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut given = Vec::new();
        for _ in 0..3 {
            let (mut ring, next) = Ring::open(folder.path(), 1 << 20).expect("opens");
            // Far more than were reserved at the start, the last ones given out and never written.
            for sequence in next..next + 3000 {
                given.push(sequence);
                if sequence < next + 2900 {
                    ring.append(&[again(sequence)], sequence + 1)
                        .expect("writes");
                }
            }
        }
        fs::remove_file(folder.path().join(RESERVED)).expect("there");
        given.push(Ring::open(folder.path(), 1 << 20).expect("opens").1);
        assert!(given.is_sorted_by(|a, b| a < b));
    }
}
