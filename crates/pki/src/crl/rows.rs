//! Entries of a CRL that were encoded before, such as when they were written to a database.

use der::Tag;

use super::decode;
use crate::asn1;
use crate::serial::SerialNumber;

/// Encoded entries ([`super::CrlEntry::encode`]), in ascending order of serial number, each serial number once.
#[derive(Clone, Debug)]
pub struct CrlRows<Rows> {
    /// How many bytes all rows have together: the list's length stands before its first entry.
    pub bytes: usize,
    /// The rows.
    pub rows: Rows,
}

impl<Row: AsRef<[u8]>, Rows: IntoIterator<Item = Row>> CrlRows<Rows> {
    /// Tag and length of revokedCertificates. RFC 5280 §5.1.2.6: when there are none, the list is left out.
    pub(super) fn header(&self) -> Result<Vec<u8>, CrlRowFault> {
        match self.bytes {
            0 => Ok(Vec::new()),
            bytes if bytes > MAX_ROWS_BYTES => Err(CrlRowFault::TooLarge { bytes }),
            bytes => Ok(asn1::header(Tag::Sequence, bytes)),
        }
    }

    /// Appends the rows, each checked.
    pub(super) fn write(self, out: &mut Vec<u8>) -> Result<(), CrlRowFault> {
        let start = out.len();
        let mut last: Option<SerialNumber> = None;
        for (index, row) in self.rows.into_iter().enumerate() {
            let row = row.as_ref();
            let serial = decode::row(row).map_err(|fault| CrlRowFault::NotAnEntry {
                index,
                why: fault.0,
            })?;
            if last.is_some_and(|last| last >= serial) {
                return Err(CrlRowFault::OutOfOrder { index, serial });
            }
            last = Some(serial);
            // Before it grows past the room that was made for it.
            if out.len() - start + row.len() > self.bytes {
                return Err(CrlRowFault::LengthDiffers {
                    announced: self.bytes,
                    found: out.len() - start + row.len(),
                });
            }
            out.extend_from_slice(row);
        }
        let found = out.len() - start;
        if found != self.bytes {
            return Err(CrlRowFault::LengthDiffers {
                announced: self.bytes,
                found,
            });
        }
        Ok(())
    }
}

/// Why rows are not the entries of a CRL. Nothing is signed then.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CrlRowFault {
    /// The rows are not those that were counted.
    #[error("the rows of a CRL have {found} bytes or more, not the {announced} announced")]
    LengthDiffers {
        /// What `bytes` said.
        announced: usize,
        /// What there was when the difference showed.
        found: usize,
    },
    /// Something else than an entry.
    #[error("row {index} of a CRL is no entry: {why}")]
    NotAnEntry {
        /// From 0.
        index: usize,
        /// What is wrong, in words.
        why: String,
    },
    /// Not above the serial number before it.
    #[error("row {index} of a CRL, {serial}, is not above the one before it")]
    OutOfOrder {
        /// From 0.
        index: usize,
        /// Its serial number.
        serial: SerialNumber,
    },
    /// Over [`MAX_ROWS_BYTES`].
    #[error("the rows of a CRL have {bytes} bytes, at most {MAX_ROWS_BYTES} are taken")]
    TooLarge {
        /// How many.
        bytes: usize,
    },
}

impl CrlRowFault {
    /// What to do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::LengthDiffers { .. } => "count and read the rows in one transaction",
            Self::NotAnEntry { .. } => "encode the row again from the revocation it stands for",
            Self::OutOfOrder { .. } => {
                "sort the rows by the value of the serial number, with each serial number once"
            }
            Self::TooLarge { .. } => "publish the list in more shards",
        }
    }
}

/// 2.5 million entries of 53 bytes; clients bound what they fetch far below.
pub const MAX_ROWS_BYTES: usize = 128 * 1024 * 1024;
