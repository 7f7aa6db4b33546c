//! Whether a log is whole: every record in a link, every link after the one before it, no number left out.

use std::io::{self, BufRead, Read};

use countersign_pki::fingerprint::Fingerprint;
use serde::{Deserialize, Serialize};

use super::chain::{FORMAT, GENESIS};
use super::digest::Digest;
use super::line::Link;
use crate::error::StoreError;

/// What a whole log is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct WholeLog {
    /// The id of its chain.
    pub chain: String,
    /// Where it begins: 1, or where a part of it does.
    pub first_link: i64,
    /// Where it ends.
    pub last_link: i64,
    /// The first record.
    pub first_record: i64,
    /// The last one.
    pub last_record: i64,
    /// The hash of the last link: whoever has noted it can tell later that nothing before it was changed.
    pub head: String,
}

/// The first thing that is wrong with a log. Nothing of what is in it is repeated but numbers.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AuditFault {
    /// Only a part, and nothing says what came before.
    #[error("the log begins with link {link}: {} missing", these("link", 1, .link.saturating_sub(1)))]
    BeginningMissing {
        /// The first one there.
        link: i64,
    },
    /// No link.
    #[error("there is no link in it")]
    Empty,
    /// The noted head.
    #[error("no link has the noted hash {head}: the log was cut off before it, or is another one")]
    HeadMissing {
        /// As noted.
        head: Fingerprint,
    },
    /// A link that is not what its hash was made of.
    #[error("link {link} does not have the hash that it states")]
    LinkChanged {
        /// Which.
        link: i64,
    },
    /// A link over other records than those before it.
    #[error(
        "link {link} is over records {first} to {last}, but {found_first} to {found_last} stand before it"
    )]
    LinkCoversOthers {
        /// Which.
        link: i64,
        /// Its first record, as it states.
        first: i64,
        /// Its last.
        last: i64,
        /// The first since the link before it.
        found_first: i64,
        /// The last.
        found_last: i64,
    },
    /// A link without records.
    #[error("link {link} has no records before it")]
    LinkCoversNothing {
        /// Which.
        link: i64,
    },
    /// A gap.
    #[error("link {link} is missing")]
    LinkMissing {
        /// Which.
        link: i64,
    },
    /// Twice, or in another order.
    #[error("link {link} stands where link {expected} belongs")]
    LinkOutOfPlace {
        /// Which.
        link: i64,
        /// The one that belongs there.
        expected: i64,
    },
    /// Its predecessor is another one than that which stands there.
    #[error("link {link} does not follow what stands before it: one of the two was replaced")]
    LinkReplaced {
        /// Which.
        link: i64,
    },
    /// More than any line of ours.
    #[error("line {line} has more than {MAX_LINE} bytes")]
    LineTooLong {
        /// Which, from 1.
        line: u64,
    },
    /// Neither of the two that there are.
    #[error("line {line} is neither a record nor a link")]
    Malformed {
        /// Which, from 1.
        line: u64,
    },
    /// A link of another chain.
    #[error("link {link} is of another chain")]
    OtherChain {
        /// Which.
        link: i64,
    },
    /// A gap.
    #[error("record {record} is missing")]
    RecordMissing {
        /// Which.
        record: i64,
    },
    /// Twice, or in another order.
    #[error("record {record} stands where record {expected} belongs")]
    RecordOutOfPlace {
        /// Which.
        record: i64,
        /// The one that belongs there.
        expected: i64,
    },
    /// Not the records that the link was made over.
    #[error("{} not what link {link} was made over", these("record", *.first, *.last))]
    RecordsChanged {
        /// The link's first.
        first: i64,
        /// The link's last.
        last: i64,
        /// The link.
        link: i64,
    },
    /// A link that a newer version wrote.
    #[error("link {link} has format {found}, this version knows {FORMAT}")]
    UnknownFormat {
        /// Which.
        link: i64,
        /// Its format.
        found: i64,
    },
    /// A record that was written past us, or whose link was taken away.
    #[error("record {record} is in no link")]
    Unlinked {
        /// Which.
        record: i64,
    },
}

/// Why a log cannot be said to be whole.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum VerifyError {
    /// It is not whole.
    #[error(transparent)]
    Fault(#[from] AuditFault),
    /// The file cannot be read.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The inventory cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// How much of a log is expected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// From some link on. What came before is proved by a noted head alone, so there must be one.
    Part,
    /// From link 1 on: else whoever cuts the beginning off leaves a log that fits together.
    Whole,
}

/// Reads an exported log to its first fault. `noted`: the head of this log at an earlier time, which it must contain.
pub fn verify(
    mut file: impl BufRead,
    noted: Option<Fingerprint>,
    extent: Extent,
) -> Result<WholeLog, VerifyError> {
    let mut verifier = Verifier::new(noted, extent);
    let mut line = Vec::new();
    loop {
        line.clear();
        let read = file
            .by_ref()
            .take(MAX_LINE + 1)
            .read_until(b'\n', &mut line)?;
        if read == 0 {
            return Ok(verifier.finish()?);
        }
        verifier.line(line.strip_suffix(b"\n").unwrap_or(&line))?;
    }
}

/// Takes a log line by line, and holds none of them.
pub(crate) struct Verifier {
    extent: Extent,
    lines: u64,
    noted: Option<Fingerprint>,
    has_noted: bool,
    first_link: Option<Link>,
    last_link: Option<Link>,
    last_record: Option<i64>,
    open: Option<Open>,
}

/// Records whose link has not come yet.
struct Open {
    first: i64,
    last: i64,
    digest: Digest,
}

#[derive(Deserialize)]
struct Record {
    record: i64,
}

impl Verifier {
    pub(crate) fn new(noted: Option<Fingerprint>, extent: Extent) -> Self {
        Self {
            extent,
            lines: 0,
            noted,
            has_noted: false,
            first_link: None,
            last_link: None,
            last_record: None,
            open: None,
        }
    }

    /// One more line, without its line feed.
    pub(crate) fn line(&mut self, text: &[u8]) -> Result<(), AuditFault> {
        self.lines = self.lines.saturating_add(1);
        let malformed = AuditFault::Malformed { line: self.lines };
        if text.len() as u64 > MAX_LINE {
            return Err(AuditFault::LineTooLong { line: self.lines });
        }
        if text.starts_with(br#"{"record":"#) {
            let record: Record = serde_json::from_slice(text).map_err(|_| malformed)?;
            self.record(record.record, text)
        } else {
            let link: Link = serde_json::from_slice(text).map_err(|_| malformed.clone())?;
            // Shown to whoever asks, so nothing but digits.
            if link.chain.len() != CHAIN_DIGITS
                || !link.chain.bytes().all(|it| it.is_ascii_hexdigit())
            {
                return Err(malformed);
            }
            self.link(link)
        }
    }

    /// The end: a whole log, or where one is expected the part that a noted head belongs to.
    pub(crate) fn finish(self) -> Result<WholeLog, AuditFault> {
        if let Some(open) = self.open {
            return Err(AuditFault::Unlinked { record: open.first });
        }
        let (Some(first), Some(last)) = (self.first_link, self.last_link) else {
            return Err(AuditFault::Empty);
        };
        let needs_beginning = self.extent == Extent::Whole || self.noted.is_none();
        if needs_beginning && first.number != 1 {
            return Err(AuditFault::BeginningMissing { link: first.number });
        }
        if let Some(head) = self.noted.filter(|_| !self.has_noted) {
            return Err(AuditFault::HeadMissing { head });
        }
        Ok(WholeLog {
            chain: last.chain,
            first_link: first.number,
            last_link: last.number,
            first_record: first.first,
            last_record: last.last,
            head: last.hash,
        })
    }

    fn record(&mut self, record: i64, text: &[u8]) -> Result<(), AuditFault> {
        if let Some(last) = self.last_record {
            let expected = last.saturating_add(1);
            match record {
                _ if record == expected => {}
                _ if record > expected => {
                    return Err(AuditFault::RecordMissing { record: expected });
                }
                _ => return Err(AuditFault::RecordOutOfPlace { record, expected }),
            }
        }
        self.last_record = Some(record);
        let open = self.open.get_or_insert_with(|| Open {
            first: record,
            last: record,
            digest: Digest::new(),
        });
        open.last = record;
        open.digest.line(text);
        Ok(())
    }

    fn link(&mut self, link: Link) -> Result<(), AuditFault> {
        let Link {
            number,
            first,
            last,
            ..
        } = link;
        if link.format != FORMAT {
            return Err(AuditFault::UnknownFormat {
                link: number,
                found: link.format,
            });
        }
        self.place(&link)?;
        let Some(open) = self.open.take() else {
            return Err(AuditFault::LinkCoversNothing { link: number });
        };
        if number == 1 && open.first > 1 {
            return Err(AuditFault::RecordMissing { record: 1 });
        }
        if (first, last) != (open.first, open.last) {
            return Err(AuditFault::LinkCoversOthers {
                link: number,
                first,
                last,
                found_first: open.first,
                found_last: open.last,
            });
        }
        if link.records != open.digest.finish() {
            return Err(AuditFault::RecordsChanged {
                first,
                last,
                link: number,
            });
        }
        if link.hash != link.digest() {
            return Err(AuditFault::LinkChanged { link: number });
        }
        if let Some(noted) = self.noted.map(|noted| noted.to_string()) {
            self.has_noted |= link.hash == noted || link.previous == noted;
        }
        if self.first_link.is_none() {
            self.first_link = Some(link.clone());
        }
        self.last_link = Some(link);
        Ok(())
    }

    /// Whether a link follows the one before it.
    fn place(&self, link: &Link) -> Result<(), AuditFault> {
        let number = link.number;
        let follows = match &self.last_link {
            Some(last) => {
                let expected = last.number.saturating_add(1);
                if number > expected {
                    return Err(AuditFault::LinkMissing { link: expected });
                }
                if number != expected {
                    return Err(AuditFault::LinkOutOfPlace {
                        link: number,
                        expected,
                    });
                }
                if link.chain != last.chain {
                    return Err(AuditFault::OtherChain { link: number });
                }
                link.previous == last.hash
            }
            None if number < 1 => {
                return Err(AuditFault::LinkOutOfPlace {
                    link: number,
                    expected: 1,
                });
            }
            None => number != 1 || link.previous == GENESIS,
        };
        if follows {
            Ok(())
        } else {
            Err(AuditFault::LinkReplaced { link: number })
        }
    }
}

fn these(what: &str, first: i64, last: i64) -> String {
    if first == last {
        format!("{what} {first} is")
    } else {
        format!("{what}s {first} to {last} are")
    }
}

/// A DN has up to 16 KiB in DER, each byte up to six characters when it is escaped; an actor and an object hold one each.
const MAX_LINE: u64 = 1024 * 1024;

/// 16 random bytes.
const CHAIN_DIGITS: usize = 32;
