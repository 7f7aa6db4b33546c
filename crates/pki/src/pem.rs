//! PEM (RFC 7468): reading files that people hand us, writing those we hand out.

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use crate::crl::MAX_ROWS_BYTES;

/// One block of a PEM file.
#[derive(Clone, PartialEq, Eq)]
pub struct Block {
    /// `CERTIFICATE`, `PRIVATE KEY`, `X509 CRL`, …
    pub label: String,
    /// The decoded bytes.
    pub der: Vec<u8>,
}

impl std::fmt::Debug for Block {
    /// Without the bytes, which may be a private key's.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Block({:?}, {} bytes)", self.label, self.der.len())
    }
}

/// Every block of a text, in order; text around them is skipped. Errors name the file's fault (glued blocks, DER, UTF-16, BOM…).
pub fn decode_all(bytes: &[u8]) -> Result<Vec<Block>, InvalidPem> {
    decode_within(MAX_BYTES, bytes)
}

/// The same of revocation lists, which may be as long as in DER.
pub fn decode_lists(bytes: &[u8]) -> Result<Vec<Block>, InvalidPem> {
    decode_within(MAX_LIST_BYTES, bytes)
}

fn decode_within(most: usize, bytes: &[u8]) -> Result<Vec<Block>, InvalidPem> {
    if bytes.len() > most {
        let bytes = bytes.len();
        return Err(InvalidPem::TooLarge { bytes, most });
    }
    let marked = [&b"\xef\xbb\xbf"[..], b"\xff\xfe", b"\xfe\xff"]
        .iter()
        .any(|mark| bytes.starts_with(mark));
    let utf16_without_mark = bytes.starts_with(b"-\0") || bytes.starts_with(b"\0-");
    if marked || utf16_without_mark {
        return Err(InvalidPem::Encoding);
    }
    let mut blocks = Vec::new();
    let mut open: Option<(String, String)> = None;
    // Text around the blocks may be in any encoding, so lines are taken as bytes.
    for line in bytes.split(|&byte| matches!(byte, b'\n' | b'\r')) {
        let number = blocks.len() + 1;
        let damaged = |why| InvalidPem::Damaged { block: number, why };
        let line = line.trim_ascii();
        if is_glued(line) {
            return Err(InvalidPem::Glued);
        }
        match (Line::of(line), &mut open) {
            (Line::Malformed, _) => return Err(damaged("its BEGIN or END line is malformed")),
            (Line::Begin(label), None) => open = Some((label.to_owned(), String::new())),
            (Line::Begin(_), Some(_)) => {
                return Err(damaged("another block begins before its END line"));
            }
            (Line::End(_), None) => {
                return Err(damaged("an END line stands without its BEGIN line"));
            }
            (Line::End(ending), Some((label, body))) => {
                if ending != label {
                    return Err(damaged("its END line does not match its BEGIN line"));
                }
                let der = decode_body(body).map_err(damaged)?;
                blocks.push(Block {
                    label: std::mem::take(label),
                    der,
                });
                open = None;
            }
            (Line::Other, Some((_, body))) => {
                // RFC 1421 §4.6 headers, which OpenSSL's old encrypted keys carry.
                if line.contains(&b':') {
                    return Err(damaged(
                        "it has headers, as old encrypted keys do: convert it with `openssl pkcs8 -topk8`",
                    ));
                }
                let text = std::str::from_utf8(line)
                    .ok()
                    .filter(|text| text.is_ascii());
                body.push_str(text.ok_or(damaged("it holds bytes that are not base64"))?);
            }
            (Line::Other, None) => {}
        }
    }
    if open.is_some() {
        return Err(InvalidPem::Damaged {
            block: blocks.len() + 1,
            why: "the file ends before its END line",
        });
    }
    if blocks.is_empty() {
        Err(InvalidPem::NotPem)
    } else {
        Ok(blocks)
    }
}

/// One block, 64 columns.
pub fn encode(label: &str, der: &[u8]) -> String {
    let body = BASE64.encode(der);
    let mut text = format!("-----BEGIN {label}-----\n");
    let mut rest = body.as_str();
    while !rest.is_empty() {
        let (line, after) = rest.split_at(rest.len().min(64));
        text.push_str(line);
        text.push('\n');
        rest = after;
    }
    text.push_str("-----END ");
    text.push_str(label);
    text.push_str("-----\n");
    text
}

/// Why a file is not PEM.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidPem {
    /// BOM or UTF-16.
    #[error("the file is UTF-16 or starts with a byte order mark")]
    Encoding,
    /// END and BEGIN on one line.
    #[error("two PEM blocks share a line")]
    Glued,
    /// DER or something else.
    #[error("the file holds no PEM block")]
    NotPem,
    /// Bad base64, mismatched END…
    #[error("PEM block {block} is damaged: {why}")]
    Damaged {
        /// Counted from 1.
        block: usize,
        /// In words.
        why: &'static str,
    },
    /// Over [`MAX_BYTES`], or of lists over [`MAX_LIST_BYTES`].
    #[error("the file has {bytes} bytes, at most {most} are taken")]
    TooLarge {
        /// How many it has.
        bytes: usize,
        /// The bound.
        most: usize,
    },
}

/// Larger inputs are refused; the system's whole root store has about 200 KiB.
pub const MAX_BYTES: usize = 1024 * 1024;

/// Base64 and its lines have some 1.36 bytes for each byte of [`MAX_ROWS_BYTES`].
pub const MAX_LIST_BYTES: usize = MAX_ROWS_BYTES / 2 * 3;

/// What a line of a file is.
enum Line<'a> {
    Begin(&'a str),
    End(&'a str),
    /// Starts like a boundary, but is none.
    Malformed,
    Other,
}

impl<'a> Line<'a> {
    fn of(line: &'a [u8]) -> Self {
        let label = |rest: &'a [u8]| {
            let label = rest
                .strip_suffix(b"-----")
                .and_then(|label| std::str::from_utf8(label).ok());
            label.filter(|label| {
                (1..=64).contains(&label.len())
                    && label
                        .bytes()
                        .all(|byte| byte.is_ascii_graphic() || byte == b' ')
            })
        };
        if let Some(rest) = line.strip_prefix(b"-----BEGIN ") {
            label(rest).map_or(Self::Malformed, Self::Begin)
        } else if let Some(rest) = line.strip_prefix(b"-----END ") {
            label(rest).map_or(Self::Malformed, Self::End)
        } else {
            Self::Other
        }
    }
}

/// `cat a.pem b.pem` without a newline in between, the commonest fault of hand-made chains.
fn is_glued(line: &[u8]) -> bool {
    let boundary =
        |window: &[u8]| window.starts_with(b"-----BEGIN ") || window.starts_with(b"-----END ");
    line.starts_with(b"-----END ") && line.windows(11).skip(1).any(boundary)
}

fn decode_body(body: &str) -> Result<Vec<u8>, &'static str> {
    if body.is_empty() {
        return Err("it is empty");
    }
    // Some tools indent or wrap within a line.
    let compact: String = body
        .chars()
        .filter(|character| !matches!(character, ' ' | '\t'))
        .collect();
    BASE64.decode(compact).map_err(|_| "its base64 is broken")
}

const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::RequireCanonical),
);
