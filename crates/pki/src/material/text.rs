//! PEM in whatever surroundings, and text that should have been it.

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use zeroize::Zeroizing;

use super::binary::{self, Passwords};
use super::encoding::{BEGIN, END, contains, find};
use super::piece::{KeyFormat, KeyPiece, Lock, OtherPiece};
use super::{Container, Material, Oddity};
use crate::certificate::KeyAlgorithm;
use crate::fingerprint::Fingerprint;
use crate::password::Password;

/// Takes every block of a text.
pub(super) fn take(material: &mut Material, text: &[u8], passwords: &[Password]) {
    let mut taking = Taking {
        material,
        passwords: Passwords::new(passwords),
    };
    if !contains(text, BEGIN) {
        taking.without_blocks(text);
        return;
    }
    taking.material.container = Container::Pem;
    let mut at = 0;
    let mut number = 0;
    while let Some(begin) = find(&text[at..], BEGIN) {
        number += 1;
        at = taking.block(text, at, at + begin, number);
        if taking.material.pieces == super::MAX_PIECES {
            taking.material.note(Oddity::Cut);
            break;
        }
    }
}

struct Taking<'a> {
    material: &'a mut Material,
    passwords: Passwords<'a>,
}

impl Taking<'_> {
    /// The block whose BEGIN stands at `begin`; `after` is where the one before it ended. Where this one does.
    fn block(&mut self, text: &[u8], after: usize, begin: usize, number: usize) -> usize {
        let label_at = begin + BEGIN.len();
        // No longer than a label: each search ends where the next one begins, so that the whole takes time in proportion.
        let line_of = |from: usize| {
            let most = &text[from..text.len().min(from + MAX_LABEL + 5)];
            &most[..find(most, b"\n").unwrap_or(most.len())]
        };
        let damaged = |label: &str, why| Oddity::Damaged {
            block: number,
            label: label.to_owned(),
            why,
        };
        let line = line_of(label_at);
        let Some(label_len) = find(line, b"-----").filter(|len| *len <= MAX_LABEL) else {
            self.material.note(if line.is_ascii() {
                damaged("", BAD_BEGIN)
            } else {
                Oddity::NotAscii { block: number }
            });
            return label_at;
        };
        let label = String::from_utf8_lossy(&line[..label_len])
            .trim()
            .to_owned();
        self.beginning(text, after, begin, number);

        let body_at = label_at + label_len + 5;
        let next_begin = find(&text[body_at..], BEGIN).map_or(text.len(), |at| body_at + at);
        let Some(end) = find(&text[body_at..next_begin], END).map(|at| body_at + at) else {
            let why = if next_begin == text.len() {
                NO_END
            } else {
                "another block begins before its END line"
            };
            self.material.note(damaged(&label, why));
            return body_at;
        };
        let end_line = line_of(end + END.len());
        let ending = find(end_line, b"-----").map(|len| end_line[..len].trim_ascii());
        let block_end = end + END.len() + ending.map_or(0, |label| label.len() + 5);
        let block_end = block_end.min(text.len());
        match ending {
            Some(ending) if ending == label.as_bytes() => {}
            Some(_) => self.material.note(damaged(&label, BAD_END)),
            None => self
                .material
                .note(damaged(&label, "its END line is malformed")),
        }
        let body = &text[body_at..end];
        let before = &body[..body.len() - body.trim_ascii_start().len()];
        let behind = &body[body.trim_ascii_end().len()..];
        let is_apart = before.contains(&b'\n') && behind.contains(&b'\n');
        if !is_apart && !body.trim_ascii().is_empty() {
            self.material.note(Oddity::OneLine { block: number });
        } else if !behind.ends_with(b"\n") {
            self.material.note(Oddity::Indented { block: number });
        }
        match decoded(body) {
            Ok(body) => {
                if body.has_blank_line {
                    self.material.note(Oddity::BlankLine { block: number });
                }
                self.piece(&label, body.headers, &body.der, number);
            }
            Err(_) if !is_of_tls(&label) => {
                self.something_else(&label, &[]);
            }
            Err(_) if !body.is_ascii() => self.material.note(Oddity::NotAscii { block: number }),
            Err(why) => self.material.note(damaged(&label, why)),
        }
        block_end
    }

    /// What stands before BEGIN on its line.
    fn beginning(&mut self, text: &[u8], after: usize, begin: usize, number: usize) {
        let line_start = text[after..begin]
            .iter()
            .rposition(|&byte| byte == b'\n')
            .map(|at| after + at + 1);
        match line_start {
            None if number > 1 => self.material.note(Oddity::Glued { block: number }),
            start if text[start.unwrap_or(after)..begin] == *BYTE_ORDER_MARK => {
                self.material.note(Oddity::ByteOrderMark);
            }
            start if start.unwrap_or(after) < begin => {
                self.material.note(Oddity::Indented { block: number });
            }
            _ => {}
        }
    }

    fn piece(&mut self, label: &str, headers: Option<String>, der: &[u8], number: usize) {
        let format = match label {
            "RSA PRIVATE KEY" => Some(KeyFormat::Pkcs1),
            "EC PRIVATE KEY" => Some(KeyFormat::Sec1),
            "PRIVATE KEY" | "ENCRYPTED PRIVATE KEY" | "DSA PRIVATE KEY" => Some(KeyFormat::Pkcs8),
            "OPENSSH PRIVATE KEY" | "SSH2 ENCRYPTED PRIVATE KEY" => Some(KeyFormat::OpenSsh),
            _ => None,
        };
        let is_taken = match format {
            Some(KeyFormat::OpenSsh) => {
                let lock = Lock::Unreadable {
                    why: "it is in OpenSSH's format, which nothing in TLS reads".to_owned(),
                };
                self.shut_key(KeyFormat::OpenSsh, lock)
            }
            Some(format) if headers.is_some() => {
                let info = headers.unwrap_or_default();
                binary::traditional_key(self.material, format, &info, der, &mut self.passwords);
                true
            }
            Some(format) => {
                let is_taken = binary::key(self.material, format, der, &mut self.passwords);
                if is_taken && binary::traditional(der).is_some_and(|told| told != format) {
                    self.material.note(Oddity::Mislabelled {
                        block: number,
                        label: label.to_owned(),
                    });
                }
                is_taken
            }
            None => self.other(label, der),
        };
        if is_taken {
            return;
        }
        // Under a wrong label it is what it is.
        if binary::one(self.material, der, &mut self.passwords) {
            self.material.note(Oddity::Mislabelled {
                block: number,
                label: label.to_owned(),
            });
            return;
        }
        if label.ends_with("CERTIFICATE") {
            binary::certificate(self.material, der, false);
        } else if !is_of_tls(label) {
            self.something_else(label, der);
        } else if !is_known_other(label) {
            self.material.note(Oddity::Damaged {
                block: number,
                label: label.to_owned(),
                why: "what is in it is not what its label says",
            });
        }
    }

    fn shut_key(&mut self, format: KeyFormat, lock: Lock) -> bool {
        if let Some(place) = self.material.next_place() {
            let key = KeyPiece::shut(place, format, lock);
            self.material.keys.push(key);
        }
        true
    }

    /// Whether the bytes are what a label says that is no key's.
    fn other(&mut self, label: &str, der: &[u8]) -> bool {
        match label {
            "CERTIFICATE" | "X509 CERTIFICATE" => {
                binary::certificate_if_one(self.material, der, false)
            }
            "TRUSTED CERTIFICATE" => {
                // OpenSSL appends what it trusts the certificate for.
                binary::certificate_if_one(self.material, binary::first(der), true)
            }
            "CERTIFICATE REQUEST" | "NEW CERTIFICATE REQUEST" => {
                binary::request(self.material, der)
            }
            "X509 CRL" => binary::list(self.material, der),
            "PKCS7" | "CMS" => binary::pkcs7(self.material, der),
            _ if is_known_other(label) => self.something_else(label, der),
            _ => false,
        }
    }

    fn something_else(&mut self, label: &str, der: &[u8]) -> bool {
        if let Some(place) = self.material.next_place() {
            let public_key = Some(der).filter(|_| label == "PUBLIC KEY");
            self.material.others.push(OtherPiece {
                place,
                label: label.to_owned(),
                algorithm: public_key.and_then(KeyAlgorithm::of),
                spki: public_key.map(Fingerprint::of),
            });
        }
        true
    }

    fn without_blocks(&mut self, text: &[u8]) {
        let trimmed = text.trim_ascii();
        if trimmed.is_empty() {
            self.material.container = Container::Empty;
            return;
        }
        if let Some(der) = bare_base64(trimmed)
            && binary::take_der(self.material, &der, &mut self.passwords)
        {
            self.material.container = Container::Base64;
            return;
        }
        let is_text = !trimmed
            .iter()
            .any(|&byte| byte < 0x20 && !matches!(byte, b'\n' | b'\t' | b'\r' | 0x0c));
        self.material.container = match () {
            () if trimmed.starts_with(b"<") => Container::Html,
            () if is_text => Container::Text,
            () => Container::Binary,
        };
        let mut lines = text.split(|&byte| byte == b'\n');
        let begins = |line: &&[u8]| {
            contains(line, b"BEGIN") && (contains(line, b"CERT") || contains(line, b"PRIVATE"))
        };
        if let Some(line) = lines.find(begins).filter(|_| is_text) {
            self.material.note(if line.is_ascii() {
                Oddity::Damaged {
                    block: 1,
                    label: String::new(),
                    why: BAD_BEGIN,
                }
            } else {
                Oddity::NotAscii { block: 1 }
            });
        }
    }
}

fn is_known_other(label: &str) -> bool {
    label.ends_with("PARAMETERS")
        || matches!(
            label,
            "PUBLIC KEY" | "RSA PUBLIC KEY" | "ATTRIBUTE CERTIFICATE"
        )
}

/// Whether a label is one of what TLS programs are given.
fn is_of_tls(label: &str) -> bool {
    let kinds = [
        "CERTIFICATE",
        "CERTIFICATE REQUEST",
        "PRIVATE KEY",
        "X509 CRL",
        "PKCS7",
        "CMS",
    ];
    is_known_other(label) || kinds.iter().any(|kind| label.ends_with(kind))
}

struct Body {
    /// Within the base64.
    has_blank_line: bool,
    /// What RFC 1421 §4.6 headers say of an encryption.
    headers: Option<String>,
    der: Zeroizing<Vec<u8>>,
}

fn decoded(body: &[u8]) -> Result<Body, &'static str> {
    let mut headers = None;
    let mut in_headers = true;
    let (mut blank_lines, mut was_blank, mut has_blank_line) = (0, false, false);
    let mut compact = Zeroizing::new(Vec::with_capacity(body.len()));
    for line in body.split(|&byte| byte == b'\n') {
        let line = line.trim_ascii();
        if in_headers && line.contains(&b':') {
            if line.starts_with(b"DEK-Info:") {
                headers = Some(String::from_utf8_lossy(&line[9..]).trim().to_owned());
            } else if contains(line, b"ENCRYPTED") {
                headers.get_or_insert_with(String::new);
            }
            continue;
        }
        in_headers &= line.is_empty();
        if !compact.is_empty() {
            blank_lines = if line.is_empty() { blank_lines + 1 } else { 0 };
            // What follows the last line break is empty in any case.
            has_blank_line |= blank_lines > 1 || (was_blank && !line.is_empty());
            was_blank = line.is_empty();
        }
        let kept = line
            .iter()
            .filter(|byte| !matches!(byte, b' ' | b'\t' | b'"' | b'\'' | b'\\' | b','));
        compact.extend(kept);
    }
    if compact.is_empty() {
        return Err("it is empty");
    }
    let der = BASE64
        .decode(&*compact)
        .map_err(|_| "its base64 is broken")?;
    Ok(Body {
        has_blank_line,
        headers,
        der: Zeroizing::new(der),
    })
}

fn bare_base64(text: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let compact: Zeroizing<Vec<u8>> = Zeroizing::new(
        text.iter()
            .copied()
            .filter(|byte| !byte.is_ascii_whitespace())
            .collect(),
    );
    BASE64.decode(&*compact).ok().map(Zeroizing::new)
}

/// Padding may be missing: whoever cut it off did not change the bytes.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

pub(super) const NO_END: &str = "the file ends before its END line";
const BAD_BEGIN: &str = "its BEGIN line is malformed";
const BAD_END: &str = "its END line does not match its BEGIN line";

/// As in [`crate::pem`].
const MAX_LABEL: usize = 64;
