//! What a node holds of the feed, on disk: the frames as they were told, one a line, each chained to those before it.
//!
//! A line is `TAG JSON`, TAG the first bytes of SHA-256 over the tag before it and the JSON. So a line that was changed,
//! moved, doubled or taken out of the middle is found, and the node does not start on it: what it would serve by may lack
//! a revocation. A last line without its end is what a crash leaves behind; it was not acknowledged, and is cut off.
//!
//! What is revoked here stays revoked (a union over every snapshot and message, histories included) until an operator
//! releases it.

mod lines;
mod sum;

use std::fs::{File, OpenOptions};
use std::io::{self, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use countersign_pki::feed::{Bundle, Frame, Head, MAX_PART, Position, Revoked};
use countersign_runtime::atomic_file::replace_with;

use self::lines::{FIRST_TAG, Reading, TITLE, Tag, write_line};
use crate::earlier_holds::EarlierHolds;

/// What the node holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// Where it stands.
    pub position: Position,
    /// Whom to trust.
    pub bundles: Vec<Bundle>,
    /// Everything that was ever told to be revoked, each once.
    pub revoked: Vec<Revoked>,
    /// `None`: the history is the first that this node has heard.
    pub earlier: Option<Earlier>,
}

/// What the node holds of the history before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Earlier {
    /// Where the node stood in it.
    pub position: Position,
    /// What was on hold then, or before, and has not been told since.
    pub holds: Vec<Revoked>,
}

/// The file, open to be added to. One per node.
#[derive(Debug)]
pub struct FeedLog {
    path: PathBuf,
    file: File,
    tag: Tag,
    /// As rewritten or read.
    base_bytes: u64,
    added_bytes: u64,
}

impl FeedLog {
    /// What is in the file, and the file; `None`: there is none, or nothing whole in it. Blocks.
    pub fn open(path: &Path) -> Result<(Self, Option<Held>), FeedLogError> {
        let io = |source| FeedLogError::Io {
            path: path.to_owned(),
            source,
        };
        let file = OpenOptions::new().read(true).append(true).open(path);
        let file = match file {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Ok((Self::begin(path, None)?, None));
            }
            Err(error) => return Err(io(error)),
        };
        let mut reading = Reading::of(path, &file)?;
        reading.read_all()?;
        let Reading {
            tag,
            whole_bytes,
            is_torn,
            held,
            ..
        } = reading;
        if is_torn {
            tracing::warn!(path = %path.display(), "the last line of the feed's state was not whole: it is cut off");
            file.set_len(whole_bytes)
                .and_then(|()| file.sync_all())
                .map_err(io)?;
        }
        let log = Self {
            path: path.to_owned(),
            file,
            tag,
            base_bytes: whole_bytes,
            added_bytes: 0,
        };
        Ok((log, held.finish()))
    }

    /// What is in a file that is another process's, or a copy of it; nothing is changed. `None`: nothing whole is in it.
    /// Blocks.
    pub fn read(path: &Path) -> Result<Option<Held>, FeedLogError> {
        let file = File::open(path).map_err(|source| FeedLogError::Io {
            path: path.to_owned(),
            source,
        })?;
        let mut reading = Reading::of(path, &file)?;
        reading.read_all()?;
        Ok(reading.held.finish())
    }

    /// Adds frames, durable on return. Rewrites the file when more was added than it began with. Blocks.
    pub fn add(&mut self, frames: &[Frame]) -> Result<(), FeedLogError> {
        let path = self.path.clone();
        let io = |source| FeedLogError::Io {
            path: path.clone(),
            source,
        };
        let before = (self.tag, self.base_bytes + self.added_bytes);
        let mut lines = Vec::new();
        for frame in frames {
            self.tag = write_line(&mut lines, self.tag, frame).map_err(io)?;
        }
        let written = self
            .file
            .write_all(&lines)
            .and_then(|()| self.file.sync_data());
        if let Err(error) = written {
            // Half a line would make garbage of the next one.
            self.tag = before.0;
            let _ = self.file.set_len(before.1);
            let _ = self.file.seek(SeekFrom::End(0));
            return Err(io(error));
        }
        self.added_bytes += lines.len() as u64;
        if self.added_bytes > self.base_bytes.max(MIN_REWRITE_BYTES)
            && let Err(error) = self.rewrite()
        {
            // What was added is durable; the file is only longer than it need be.
            tracing::warn!(%error, "the feed's state is not rewritten");
            self.base_bytes += std::mem::take(&mut self.added_bytes);
        }
        Ok(())
    }

    /// The same, and nothing more can be written to it.
    #[cfg(test)]
    pub(crate) fn on_full_disk(self) -> Self {
        let file = OpenOptions::new().write(true).open("/dev/full");
        Self {
            file: file.expect("Linux has it"),
            ..self
        }
    }

    /// Says the same in fewer lines.
    fn rewrite(&mut self) -> Result<(), FeedLogError> {
        let file = File::open(&self.path).map_err(|source| FeedLogError::Io {
            path: self.path.clone(),
            source,
        })?;
        let mut reading = Reading::of(&self.path, &file)?;
        reading.read_all()?;
        let held = reading.held.finish();
        *self = Self::begin(&self.path, held.as_ref())?;
        Ok(())
    }

    fn begin(path: &Path, held: Option<&Held>) -> Result<Self, FeedLogError> {
        let mut tag = FIRST_TAG;
        let mut bytes = 0;
        let file = replace_with(path, 0o600, |writer| {
            writer.write_all(TITLE.as_bytes())?;
            bytes += TITLE.len() as u64;
            let mut line = Vec::new();
            let mut write = |frame: &Frame| {
                line.clear();
                tag = write_line(&mut line, tag, frame)?;
                bytes += line.len() as u64;
                writer.write_all(&line)
            };
            let Some(held) = held else { return Ok(()) };
            let mut write_snapshot = |position: &Position, bundles: &[Bundle], told: &[Revoked]| {
                write(&Frame::Snapshot(Head {
                    place: 0,
                    history: position.history().clone(),
                    sequence: position.sequence(),
                    at: position.confirmed_at(),
                    bundles: bundles.to_vec(),
                }))?;
                for part in told.chunks(MAX_PART) {
                    write(&Frame::Revoked(part.to_vec()))?;
                }
                write(&Frame::Complete {
                    revoked: told.len() as u64,
                })
            };
            let Some(Earlier { position, holds }) = &held.earlier else {
                return write_snapshot(&held.position, &held.bundles, &held.revoked);
            };
            // One history after the other, as they were told: what only the first has is not the second's to release.
            write_snapshot(position, &[], holds)?;
            let earlier = EarlierHolds::new(holds);
            let mut told = held.revoked.clone();
            told.retain(|it| !earlier.holds(it));
            write_snapshot(&held.position, &held.bundles, &told)
        });
        let file = file.map_err(|source| FeedLogError::Io {
            path: path.to_owned(),
            source,
        })?;
        Ok(Self {
            path: path.to_owned(),
            file,
            tag,
            base_bytes: bytes,
            added_bytes: 0,
        })
    }
}

/// Why a node's state cannot be used or kept.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FeedLogError {
    /// A line is not what was written.
    #[error("line {line} of the feed's state {} was altered or damaged: {why}", .path.display())]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// Counted from 1.
        line: u64,
        /// What is wrong with it.
        why: String,
    },
    /// The disk.
    #[error("the feed's state {}: {source}", .path.display())]
    Io {
        /// Which file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// Not one of ours.
    #[error("{} is no state of a feed that this version reads", .path.display())]
    Unknown {
        /// Which file.
        path: PathBuf,
    },
}

impl FeedLogError {
    /// What to do.
    pub fn hint(&self) -> String {
        match self {
            Self::Damaged { path, .. } | Self::Unknown { path } => format!(
                "what it says of revocations cannot be relied on; with the authority in reach, move {} away and start again: the node then hears everything anew",
                path.display()
            ),
            Self::Io { .. } => {
                "whoever serves must be able to read and write it, and the disk must have room"
                    .to_owned()
            }
        }
    }
}

/// A day of confirmations.
const MIN_REWRITE_BYTES: u64 = 1024 * 1024;

#[cfg(test)]
mod tests {
    use std::fs;

    use countersign_pki::feed::{Body, HistoryId, Message, Released, RevocationReason, Sequence};
    use countersign_pki::fingerprint::Fingerprint;
    use countersign_pki::serial::SerialNumber;
    use countersign_pki::time::UnixTime;
    use tempfile::TempDir;

    use super::lines::MAX_LINE_BYTES;
    use super::*;

    fn revoked(serial: u64) -> Revoked {
        Revoked {
            issuer_key: Fingerprint::from_bytes([1; 32]),
            serial: SerialNumber::from_magnitude(&serial.to_be_bytes()).expect("not zero"),
            reason: RevocationReason::KeyCompromise,
            revoked_at: UnixTime::from_seconds(serial),
        }
    }

    fn head(history: &str, sequence: u64) -> Head {
        Head {
            place: 7,
            history: HistoryId(history.to_owned()),
            sequence: Sequence(sequence),
            at: UnixTime::from_seconds(1000 + sequence),
            bundles: Vec::new(),
        }
    }

    fn message(sequence: u64, body: Body) -> Frame {
        message_of("a", sequence, body)
    }

    fn message_of(history: &str, sequence: u64, body: Body) -> Frame {
        Frame::Message(Message {
            history: HistoryId(history.to_owned()),
            sequence: Sequence(sequence),
            at: UnixTime::from_seconds(1000 + sequence),
            body,
        })
    }

    fn beginning() -> Vec<Frame> {
        vec![
            Frame::Snapshot(head("a", 5)),
            Frame::Revoked(vec![revoked(1), revoked(2)]),
            Frame::Complete { revoked: 2 },
        ]
    }

    struct Case {
        folder: TempDir,
    }

    impl Case {
        fn with(frames: &[Frame]) -> Self {
            let case = Self {
                folder: tempfile::tempdir().expect("a folder"),
            };
            let (mut log, held) = FeedLog::open(&case.path()).expect("opens");
            assert_eq!(held, None);
            log.add(frames).expect("writes");
            case
        }

        fn path(&self) -> PathBuf {
            self.folder.path().join("feed")
        }

        fn text(&self) -> String {
            fs::read_to_string(self.path()).expect("there")
        }

        fn held(&self) -> Option<Held> {
            FeedLog::open(&self.path()).expect("whole").1
        }

        /// History, sequence, confirmed at, serials.
        fn check(&self, history: &str, sequence: u64, confirmed_at: u64, serials: &[u64]) {
            let held = self.held().expect("something is held");
            assert_eq!(held.position.history().0, history);
            assert_eq!(held.position.sequence().0, sequence);
            assert_eq!(held.position.confirmed_at().seconds(), confirmed_at);
            let expected: Vec<Revoked> = serials.iter().map(|&serial| revoked(serial)).collect();
            assert_eq!(held.revoked, expected);
        }
    }

    #[test]
    fn what_was_told_is_held_after_a_restart() {
        let case = Case::with(&beginning());
        case.check("a", 5, 1005, &[1, 2]);
        let (mut log, _) = FeedLog::open(&case.path()).expect("opens");
        log.add(&[message(6, Body::Revoked(revoked(3)))])
            .expect("writes");
        log.add(&[message(6, Body::Confirmed {})]).expect("writes");
        case.check("a", 6, 1006, &[1, 2, 3]);
    }

    #[test]
    fn what_is_revoked_stays_revoked_in_a_new_history() {
        let case = Case::with(&beginning());
        let (mut log, _) = FeedLog::open(&case.path()).expect("opens");
        log.add(&[
            Frame::Snapshot(head("b", 9)),
            Frame::Revoked(vec![revoked(2), revoked(9)]),
            Frame::Complete { revoked: 2 },
        ])
        .expect("writes");
        case.check("b", 9, 1009, &[1, 2, 9]);
    }

    #[test]
    fn hold_stands_until_it_is_released_or_replaced() {
        let hold = |serial: u64| Revoked {
            reason: RevocationReason::CertificateHold,
            ..revoked(serial)
        };
        let together = |certificates: Vec<Revoked>| Body::RevokedTogether {
            certificates: certificates.try_into().expect("a few"),
        };
        let released = |serial: u64| Released {
            issuer_key: revoked(serial).issuer_key,
            serial: revoked(serial).serial,
        };
        let release = |serials: [u64; 2]| Body::Released {
            certificates: serials.map(released).to_vec().try_into().expect("a few"),
        };
        let case = Case::with(&beginning());
        let (mut log, _) = FeedLog::open(&case.path()).expect("opens");
        log.add(&[
            message(6, together(vec![hold(3), hold(4), hold(5), hold(6)])),
            message(7, Body::Revoked(revoked(4))),
            // Revoked for good, 2 and 4 are released by nothing.
            message(8, release([3, 4])),
        ])
        .expect("writes");
        let told_by = |case: &Case| case.held().expect("something").revoked;
        let expected = [revoked(1), revoked(2), revoked(4), hold(5), hold(6)];
        assert_eq!(told_by(&case), expected);
        // In this history a hold that a snapshot does not have was released, in another one it was not.
        for (history, at, expected) in [
            ("a", 12, vec![revoked(1), revoked(2), revoked(4), hold(6)]),
            (
                "b",
                99,
                vec![revoked(1), revoked(2), revoked(4), hold(6), hold(7)],
            ),
        ] {
            let told = if history == "a" { hold(6) } else { hold(7) };
            log.add(&[
                Frame::Snapshot(head(history, at)),
                Frame::Revoked(vec![told]),
                Frame::Complete { revoked: 1 },
            ])
            .expect("writes");
            assert_eq!(told_by(&case), expected, "{history}");
            let read = FeedLog::read(&case.path()).expect("whole");
            assert_eq!(read, case.held());
        }
        // A hold that this history has never told stands however often it begins anew, after a rewrite too; its own do not.
        log.add(&[
            Frame::Snapshot(head("b", 120)),
            Frame::Complete { revoked: 0 },
        ])
        .expect("writes");
        let expected = [revoked(1), revoked(2), revoked(4), hold(6)];
        assert_eq!(told_by(&case), expected);
        log.rewrite().expect("writes");
        log.add(&[
            Frame::Snapshot(head("b", 130)),
            Frame::Complete { revoked: 0 },
        ])
        .expect("writes");
        assert_eq!(told_by(&case), expected);
        let earlier = case.held().expect("something").earlier.expect("a");
        assert_eq!(earlier.position.history().0, "a");
        assert_eq!(earlier.holds, [hold(6)]);
        // Told by it once, it is its own to release, whether by name or by leaving it out.
        log.add(&[message_of("b", 131, together(vec![hold(6)]))])
            .expect("writes");
        log.add(&[
            Frame::Snapshot(head("b", 140)),
            Frame::Complete { revoked: 0 },
        ])
        .expect("writes");
        assert_eq!(told_by(&case), expected[..3]);
    }

    #[test]
    fn snapshot_that_was_cut_off_moves_nothing_but_its_revocations_count() {
        let case = Case::with(&beginning());
        let (mut log, _) = FeedLog::open(&case.path()).expect("opens");
        log.add(&[
            Frame::Snapshot(head("b", 9)),
            Frame::Revoked(vec![revoked(9)]),
        ])
        .expect("writes");
        case.check("a", 5, 1005, &[1, 2, 9]);
    }

    #[test]
    fn last_line_that_a_crash_cut_off_is_left_out_and_the_next_one_follows() {
        let mut frames = beginning();
        frames.push(message(6, Body::Revoked(revoked(3))));
        let case = Case::with(&frames);
        let whole = case.text();
        let last = whole.trim_end().rfind('\n').expect("lines") + 1;
        for cut in [last + 1, last + 20, whole.len() - 1] {
            fs::write(case.path(), &whole[..cut]).expect("writable");
            case.check("a", 5, 1005, &[1, 2]);
            let (mut log, _) = FeedLog::open(&case.path()).expect("opens");
            log.add(&[message(6, Body::Revoked(revoked(4)))])
                .expect("writes");
            case.check("a", 6, 1006, &[1, 2, 4]);
        }
        // Blocks that were allotted and never written.
        fs::write(case.path(), [&whole.as_bytes()[..last], &[0; 100]].concat()).expect("writable");
        case.check("a", 5, 1005, &[1, 2]);
    }

    #[test]
    fn altered_lines_are_found_wherever_they_are() {
        let mut frames = beginning();
        frames.push(message(6, Body::Revoked(revoked(3))));
        frames.push(message(6, Body::Confirmed {}));
        let case = Case::with(&frames);
        let whole = case.text();
        let lines: Vec<&str> = whole.lines().collect();
        let refused = |text: String, why: &str| {
            fs::write(case.path(), text).expect("writable");
            let error = FeedLog::open(&case.path()).expect_err(why);
            assert!(
                matches!(
                    error,
                    FeedLogError::Damaged { .. } | FeedLogError::Unknown { .. }
                ),
                "{why}: {error}"
            );
        };
        let joined = |lines: &[&str]| lines.join("\n") + "\n";
        for at in 0..lines.len() - 1 {
            let mut without = lines.clone();
            without.remove(at);
            refused(joined(&without), "a line is missing");
        }
        for at in 1..lines.len() - 1 {
            let mut swapped = lines.clone();
            swapped.swap(at, at + 1);
            refused(joined(&swapped), "two lines are swapped");
            let mut doubled = lines.clone();
            doubled.insert(at, lines[at]);
            refused(joined(&doubled), "a line stands there twice");
        }
        for at in 0..whole.len() {
            let mut bytes = whole.clone().into_bytes();
            bytes[at] ^= 1;
            // A line end that is none any more is a line that a crash cut off, if it is the last.
            if at < whole.len() - 1 {
                refused(
                    String::from_utf8(bytes).expect("one bit of ASCII"),
                    "a bit is flipped",
                );
            }
        }
        refused("x".repeat(MAX_LINE_BYTES + 1), "no line ever ends");
        refused(String::new(), "nothing is there, not even the title");
    }

    #[test]
    fn file_that_has_grown_says_the_same_in_fewer_lines() {
        let case = Case::with(&beginning());
        let (mut log, _) = FeedLog::open(&case.path()).expect("opens");
        let confirmations: Vec<Frame> = vec![message(5, Body::Confirmed {}); 5000];
        log.add(&confirmations).expect("writes");
        let grown = case.text().len();
        log.add(&[message(6, Body::Revoked(revoked(3)))])
            .expect("writes");
        for _ in 0..3 {
            log.add(&vec![message(6, Body::Confirmed {}); 5000])
                .expect("writes");
        }
        assert!(
            case.text().len() < 2 * grown,
            "{} of {grown}",
            case.text().len()
        );
        case.check("a", 6, 1006, &[1, 2, 3]);
        log.add(&[message(7, Body::Revoked(revoked(4)))])
            .expect("writes");
        case.check("a", 7, 1007, &[1, 2, 3, 4]);
    }
}
