//! The lines of a feed's state: `TAG JSON`, each tag chained to those before it.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

use aws_lc_rs::digest::{Context, SHA256};
use countersign_pki::feed::{Frame, MAX_EVENT_BYTES};

use super::FeedLogError;
use super::sum::Sum;

/// A file on its way to what it holds.
pub(super) struct Reading<'a> {
    path: &'a Path,
    lines: BufReader<&'a File>,
    number: u64,
    pub(super) tag: Tag,
    /// Of the lines that are.
    pub(super) whole_bytes: u64,
    /// The last line has no end.
    pub(super) is_torn: bool,
    pub(super) held: Sum,
}

impl<'a> Reading<'a> {
    /// From its beginning on, the title read.
    pub(super) fn of(path: &'a Path, file: &'a File) -> Result<Self, FeedLogError> {
        let mut reading = Self {
            path,
            lines: BufReader::new(file),
            number: 0,
            tag: FIRST_TAG,
            whole_bytes: 0,
            is_torn: false,
            held: Sum::default(),
        };
        // The title was there before the file had its name.
        match reading.line()? {
            Some(title) if title == TITLE.trim_end().as_bytes() => Ok(reading),
            _ => Err(FeedLogError::Unknown {
                path: path.to_owned(),
            }),
        }
    }

    pub(super) fn read_all(&mut self) -> Result<(), FeedLogError> {
        while let Some(line) = self.line()? {
            let (tag, json) = line
                .split_at_checked(TAG_DIGITS)
                .and_then(|(tag, rest)| Some((tag, rest.strip_prefix(b" ")?)))
                .ok_or_else(|| self.damaged("it has no tag"))?;
            let expected = next_tag(self.tag, json);
            if tag != expected.to_hex().as_bytes() {
                return Err(self.damaged("its tag does not follow from it and the lines before it"));
            }
            let frame =
                serde_json::from_slice(json).map_err(|error| self.damaged(&error.to_string()))?;
            self.held
                .add(frame)
                .map_err(|error| self.damaged(&error.to_string()))?;
            self.tag = expected;
        }
        Ok(())
    }

    /// `None`: the end, or a last line that was not finished.
    fn line(&mut self) -> Result<Option<Vec<u8>>, FeedLogError> {
        let mut line = Vec::new();
        let limit = MAX_LINE_BYTES as u64;
        let read = (&mut self.lines).take(limit).read_until(b'\n', &mut line);
        read.map_err(|source| FeedLogError::Io {
            path: self.path.to_owned(),
            source,
        })?;
        self.number += 1;
        match line.pop() {
            None => Ok(None),
            Some(b'\n') => {
                self.whole_bytes += line.len() as u64 + 1;
                Ok(Some(line))
            }
            Some(_) if line.len() + 1 >= MAX_LINE_BYTES => {
                Err(self.damaged("it is longer than any that is written"))
            }
            Some(_) => {
                self.is_torn = true;
                Ok(None)
            }
        }
    }

    fn damaged(&self, why: &str) -> FeedLogError {
        FeedLogError::Damaged {
            path: self.path.to_owned(),
            line: self.number,
            why: why.to_owned(),
        }
    }
}

/// What stands before a line: it follows from the line and from the tag before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Tag([u8; TAG_DIGITS / 2]);

impl Tag {
    fn to_hex(self) -> String {
        format!("{:016x}", u64::from_be_bytes(self.0))
    }
}

fn next_tag(before: Tag, json: &[u8]) -> Tag {
    let mut context = Context::new(&SHA256);
    context.update(&before.0);
    context.update(json);
    let mut tag = Tag([0; TAG_DIGITS / 2]);
    tag.0
        .copy_from_slice(&context.finish().as_ref()[..TAG_DIGITS / 2]);
    tag
}

/// Adds a line; its tag.
pub(super) fn write_line(lines: &mut Vec<u8>, before: Tag, frame: &Frame) -> io::Result<Tag> {
    let json = serde_json::to_vec(frame)?;
    let tag = next_tag(before, &json);
    lines.extend_from_slice(tag.to_hex().as_bytes());
    lines.push(b' ');
    lines.extend_from_slice(&json);
    lines.push(b'\n');
    Ok(tag)
}

pub(super) const TITLE: &str = "countersign feed 1\n";
/// 64 bits find every accident; who can write to the file can compute them anew, however many there are.
const TAG_DIGITS: usize = 16;
pub(super) const FIRST_TAG: Tag = Tag([0; TAG_DIGITS / 2]);
/// What came as one event, with its tag.
pub(super) const MAX_LINE_BYTES: usize = MAX_EVENT_BYTES + TAG_DIGITS + 2;
