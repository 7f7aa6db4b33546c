//! Reading what a server sends in clear. Every length is a peer's: nothing is kept beyond the bounds below.

use std::collections::VecDeque;

use countersign_diagnose::doctor::question::TlsVersion;
use countersign_diagnose::doctor::target::{
    Attempt, CertificateRequest, Der, End, HelloSeen, Stage,
};

/// Takes the bytes as they come; done when [`Reader::push`] says how it ended.
#[derive(Debug, Default)]
pub struct Reader {
    pending: VecDeque<u8>,
    messages: Vec<u8>,
    first: Vec<u8>,
    bytes: usize,
    records: usize,
    warnings: usize,
    heard: Heard,
}

/// What was heard so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Heard {
    /// The version, also of a `HelloRetryRequest`.
    pub version: Option<TlsVersion>,
    /// The cipher suite.
    pub cipher: u16,
    /// The application protocol.
    pub alpn: Option<String>,
    /// Certificates as sent.
    pub chain: Vec<Der>,
    /// The request for ours.
    pub asked: Option<CertificateRequest>,
}

impl Reader {
    /// Reads on. `Some`: there is nothing more to read.
    pub fn push(&mut self, bytes: &[u8]) -> Option<End> {
        self.bytes = self.bytes.saturating_add(bytes.len());
        if self.bytes > MAX_BYTES {
            return Some(End::Flood);
        }
        let room = FIRST_BYTES.saturating_sub(self.first.len());
        self.first.extend(&bytes[..bytes.len().min(room)]);
        self.pending.extend(bytes);
        loop {
            match self.record() {
                Ok(true) => {}
                Ok(false) => return None,
                Err(end) => return Some(end),
            }
        }
    }

    /// What was heard.
    pub fn heard(&self) -> &Heard {
        &self.heard
    }

    /// Puts it where it is judged.
    pub(crate) fn fill(self, attempt: &mut Attempt, end: End) {
        if end == End::NotTls {
            attempt.plaintext = self.first;
        }
        attempt.hello = self.heard.version.map(|version| HelloSeen {
            version,
            cipher: self.heard.cipher,
            cipher_name: None,
            alpn: self.heard.alpn,
        });
        attempt.at = if attempt.hello.is_some() {
            Stage::InHandshake
        } else {
            Stage::BeforeServerHello
        };
        attempt.chain = self.heard.chain;
        attempt.asked = self.heard.asked;
        attempt.end = end;
    }

    /// One record; `false`: it is not there yet.
    fn record(&mut self) -> Result<bool, End> {
        let head: Vec<u8> = self.pending.iter().take(5).copied().collect();
        if let Some(&kind) = head.first() {
            let is_tls = (20..=24).contains(&kind) && head.get(1).is_none_or(|&major| major == 3);
            if !is_tls {
                return Err(End::NotTls);
            }
        }
        let [kind, _, _, high, low] = head[..] else {
            return Ok(false);
        };
        let length = usize::from(u16::from_be_bytes([high, low]));
        if length > MAX_RECORD_BYTES {
            return Err(End::Malformed(format!("a record of {length} bytes")));
        }
        if self.pending.len() < 5 + length {
            return Ok(false);
        }
        self.records += 1;
        if self.records > MAX_RECORDS {
            return Err(End::Flood);
        }
        let record: Vec<u8> = self.pending.drain(..5 + length).skip(5).collect();
        match kind {
            ALERT => self.alert(&record),
            HANDSHAKE => self.handshake(&record),
            // Behind the ServerHello of TLS 1.3 everything is encrypted.
            _ if self.heard.version == Some(TlsVersion::Tls13) => Err(End::Open),
            _ => Err(End::Malformed(format!(
                "a record of type {kind} in the handshake"
            ))),
        }
    }

    fn alert(&mut self, record: &[u8]) -> Result<bool, End> {
        let [level, code] = *record else {
            return Err(End::Malformed("an alert that is none".to_owned()));
        };
        // A warning is no end, but for the last one of a connection.
        let is_end = level == FATAL || code == CLOSE_NOTIFY;
        if is_end {
            return Err(if code == CLOSE_NOTIFY {
                End::Closed
            } else {
                End::Alert(code)
            });
        }
        self.warnings += 1;
        if self.warnings > MAX_WARNINGS {
            return Err(End::Flood);
        }
        Ok(true)
    }

    fn handshake(&mut self, record: &[u8]) -> Result<bool, End> {
        self.messages.extend(record);
        while let Some((kind, body)) = self.message()? {
            let ended = match kind {
                SERVER_HELLO => self.server_hello(&body),
                CERTIFICATE => self.certificate(&body),
                CERTIFICATE_REQUEST => self.certificate_request(&body),
                SERVER_HELLO_DONE => return Err(End::Open),
                // ServerKeyExchange, CertificateStatus, NewSessionTicket: nothing to learn from.
                _ => Some(()),
            };
            if ended.is_none() {
                return Err(End::Malformed(format!(
                    "handshake message {kind} cannot be read"
                )));
            }
            if self.heard.version == Some(TlsVersion::Tls13) {
                return Err(End::Open);
            }
        }
        Ok(true)
    }

    fn message(&mut self) -> Result<Option<(u8, Vec<u8>)>, End> {
        let Some(&[kind, high, middle, low]) = self.messages.first_chunk() else {
            return Ok(None);
        };
        let length = usize::from(high) << 16 | usize::from(middle) << 8 | usize::from(low);
        if length > MAX_MESSAGE_BYTES {
            let name = match kind {
                CERTIFICATE => "Certificate",
                CERTIFICATE_REQUEST => "CertificateRequest",
                _ => "handshake",
            };
            return Err(End::TooLarge(format!(
                "its {name} message has {length} bytes"
            )));
        }
        if self.messages.len() < 4 + length {
            return Ok(None);
        }
        let body = self.messages.drain(..4 + length).skip(4).collect();
        Ok(Some((kind, body)))
    }

    fn server_hello(&mut self, body: &[u8]) -> Option<()> {
        let mut input = Input(body);
        let mut version = input.u16()?;
        input.take(32)?;
        input.vector_8()?;
        let cipher = input.u16()?;
        input.take(1)?;
        let mut extensions = Input(if input.0.is_empty() {
            &[]
        } else {
            input.vector_16()?
        });
        while !extensions.0.is_empty() {
            let kind = extensions.u16()?;
            let content = extensions.vector_16()?;
            match kind {
                SUPPORTED_VERSIONS => version = Input(content).u16()?,
                ALPN => {
                    let name = Input(Input(content).vector_16()?).vector_8()?;
                    self.heard.alpn = Some(String::from_utf8_lossy(name).into_owned());
                }
                _ => {}
            }
        }
        self.heard.cipher = cipher;
        self.heard.version = Some(match version {
            0x0300 => TlsVersion::Ssl3,
            0x0301 => TlsVersion::Tls10,
            0x0302 => TlsVersion::Tls11,
            0x0303 => TlsVersion::Tls12,
            0x0304 => TlsVersion::Tls13,
            _ => return None,
        });
        Some(())
    }

    fn certificate(&mut self, body: &[u8]) -> Option<()> {
        let mut list = Input(Input(body).vector_24()?);
        self.heard.chain.clear();
        while !list.0.is_empty() && self.heard.chain.len() < MAX_CERTIFICATES {
            self.heard.chain.push(Der(list.vector_24()?.to_vec()));
        }
        Some(())
    }

    /// RFC 5246 §7.4.4; before TLS 1.2 without signature algorithms.
    fn certificate_request(&mut self, body: &[u8]) -> Option<()> {
        let mut input = Input(body);
        input.vector_8()?;
        let mut asked = CertificateRequest::default();
        if self.heard.version >= Some(TlsVersion::Tls12) {
            let mut schemes = Input(input.vector_16()?);
            while !schemes.0.is_empty() {
                asked.schemes.push(schemes.u16()?);
            }
        }
        let mut names = Input(input.vector_16()?);
        while !names.0.is_empty() {
            asked.ca_names.push(Der(names.vector_16()?.to_vec()));
        }
        self.heard.asked = Some(asked);
        Some(())
    }
}

struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn u16(&mut self) -> Option<u16> {
        let bytes = self.take(2)?;
        Some(u16::from_be_bytes([bytes[0], bytes[1]]))
    }

    fn vector_8(&mut self) -> Option<&'a [u8]> {
        let length = self.take(1)?[0];
        self.take(usize::from(length))
    }

    fn vector_16(&mut self) -> Option<&'a [u8]> {
        let length = self.u16()?;
        self.take(usize::from(length))
    }

    fn vector_24(&mut self) -> Option<&'a [u8]> {
        let length = self.take(3)?;
        let length =
            usize::from(length[0]) << 16 | usize::from(length[1]) << 8 | usize::from(length[2]);
        self.take(length)
    }
}

const ALERT: u8 = 21;
const HANDSHAKE: u8 = 22;
const FATAL: u8 = 2;
const CLOSE_NOTIFY: u8 = 0;
const SERVER_HELLO: u8 = 2;
const CERTIFICATE: u8 = 11;
const CERTIFICATE_REQUEST: u8 = 13;
const SERVER_HELLO_DONE: u8 = 14;
const SUPPORTED_VERSIONS: u16 = 43;
const ALPN: u16 = 16;

/// RFC 5246 §6.2.3: 2^14 and 2048 more.
const MAX_RECORD_BYTES: usize = 16384 + 2048;
/// What rustls takes of one message; OpenSSL takes 100 KB, Java 32 KiB.
const MAX_MESSAGE_BYTES: usize = 0xffff;
/// A flight has four messages, the largest of which may fill five records; the rest is for those who send a byte in each.
const MAX_RECORDS: usize = 4096;
/// Four messages at their largest.
const MAX_BYTES: usize = 5 * 64 * 1024;
/// As OpenSSL counts.
const MAX_WARNINGS: usize = 5;
/// More than anybody's chain; `chain-too-deep` is told at 8.
const MAX_CERTIFICATES: usize = 64;
/// A greeting is a line or two.
const FIRST_BYTES: usize = 512;
