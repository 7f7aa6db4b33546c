//! Writing a `ClientHello` (RFC 8446 §4.1.2, RFC 5246 §7.4.1.2).

use aws_lc_rs::agreement::{EphemeralPrivateKey, X25519};
use aws_lc_rs::error::Unspecified;
use aws_lc_rs::rand::{SystemRandom, fill};
use countersign_diagnose::doctor::question::TlsVersion;
use countersign_diagnose::doctor::target::Trial;

/// What a `ClientHello` offers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offer {
    /// The lowest version.
    pub min: TlsVersion,
    /// The highest version.
    pub max: TlsVersion,
    /// Cipher suites, the preferred one first.
    pub ciphers: Vec<u16>,
    /// Groups for the key exchange.
    pub groups: Vec<u16>,
    /// Signature schemes.
    pub schemes: Vec<u16>,
    /// The server name; `None`: none is sent.
    pub sni: Option<String>,
    /// Application protocols.
    pub alpn: Vec<String>,
}

impl Offer {
    /// Whatever servers of the last twenty years may want, within the versions of a trial.
    pub fn of_every_age(trial: &Trial) -> Self {
        Self {
            min: trial.min,
            max: trial.max,
            ciphers: EVERY_CIPHER.to_vec(),
            groups: EVERY_GROUP.to_vec(),
            schemes: EVERY_SCHEME.to_vec(),
            sni: trial.sni.clone(),
            alpn: trial.alpn.clone(),
        }
    }

    /// One record with the message.
    pub fn encode(&self) -> Result<Vec<u8>, Unspecified> {
        let mut random = [0; 64];
        fill(&mut random)?;
        let (random, session) = random.split_at(32);
        let mut body = Vec::new();
        body.extend(wire(self.max.min(TlsVersion::Tls12)).to_be_bytes());
        body.extend(random);
        // RFC 8446 §D.4: a session id, or middleboxes take TLS 1.3 for something else.
        let session = if self.max == TlsVersion::Tls13 {
            session
        } else {
            &[]
        };
        body.extend(with_length_8(session));
        body.extend(with_length_16(&pairs(&self.ciphers)));
        body.extend([1, 0]);
        let extensions = self.extensions()?;
        // Servers of SSL 3.0 know no extensions.
        if self.max > TlsVersion::Ssl3 {
            body.extend(with_length_16(&extensions));
        }
        let mut message = vec![1, 0];
        message.extend(with_length_16(&body));
        // RFC 5246 §E.1: the record's version is the lowest that any server takes.
        let version = if self.max == TlsVersion::Ssl3 {
            [3, 0]
        } else {
            [3, 1]
        };
        let mut record = vec![22, version[0], version[1]];
        record.extend(with_length_16(&message));
        Ok(record)
    }

    fn extensions(&self) -> Result<Vec<u8>, Unspecified> {
        let mut all = Vec::new();
        let mut push = |kind: u16, content: &[u8]| {
            all.extend(kind.to_be_bytes());
            all.extend(with_length_16(content));
        };
        if let Some(name) = &self.sni {
            let entry = [&[0][..], &with_length_16(name.as_bytes())].concat();
            push(SERVER_NAME, &with_length_16(&entry));
        }
        push(SUPPORTED_GROUPS, &with_length_16(&pairs(&self.groups)));
        push(EC_POINT_FORMATS, &[1, 0]);
        push(SIGNATURE_ALGORITHMS, &with_length_16(&pairs(&self.schemes)));
        if !self.alpn.is_empty() {
            let names: Vec<u8> = self
                .alpn
                .iter()
                .flat_map(|name| with_length_8(name.as_bytes()))
                .collect();
            push(ALPN, &with_length_16(&names));
        }
        push(EXTENDED_MASTER_SECRET, &[]);
        push(RENEGOTIATION_INFO, &[0]);
        if self.max == TlsVersion::Tls13 {
            let versions: Vec<u16> = [
                TlsVersion::Tls13,
                TlsVersion::Tls12,
                TlsVersion::Tls11,
                TlsVersion::Tls10,
            ]
            .into_iter()
            .filter(|&version| version >= self.min)
            .map(wire)
            .collect();
            push(SUPPORTED_VERSIONS, &with_length_8(&pairs(&versions)));
            push(PSK_KEY_EXCHANGE_MODES, &[1, 1]);
            let key = EphemeralPrivateKey::generate(&X25519, &SystemRandom::new())?;
            let public = key.compute_public_key()?;
            let share = [
                &X25519_GROUP.to_be_bytes()[..],
                &with_length_16(public.as_ref()),
            ]
            .concat();
            push(KEY_SHARE, &with_length_16(&share));
        }
        Ok(all)
    }
}

/// As on the wire.
pub(super) const fn wire(version: TlsVersion) -> u16 {
    match version {
        TlsVersion::Ssl3 => 0x0300,
        TlsVersion::Tls10 => 0x0301,
        TlsVersion::Tls11 => 0x0302,
        TlsVersion::Tls12 => 0x0303,
        TlsVersion::Tls13 => 0x0304,
    }
}

fn pairs(values: &[u16]) -> Vec<u8> {
    values
        .iter()
        .flat_map(|value| value.to_be_bytes())
        .collect()
}

/// What is too long is cut: a name of 255 bytes is no name.
fn with_length_8(bytes: &[u8]) -> Vec<u8> {
    let length = u8::try_from(bytes.len()).unwrap_or(u8::MAX);
    [&[length], &bytes[..usize::from(length)]].concat()
}

fn with_length_16(bytes: &[u8]) -> Vec<u8> {
    let length = u16::try_from(bytes.len()).unwrap_or(u16::MAX);
    [&length.to_be_bytes()[..], &bytes[..usize::from(length)]].concat()
}

const SERVER_NAME: u16 = 0;
const SUPPORTED_GROUPS: u16 = 10;
const EC_POINT_FORMATS: u16 = 11;
const SIGNATURE_ALGORITHMS: u16 = 13;
const ALPN: u16 = 16;
const EXTENDED_MASTER_SECRET: u16 = 23;
const SUPPORTED_VERSIONS: u16 = 43;
const PSK_KEY_EXCHANGE_MODES: u16 = 45;
const KEY_SHARE: u16 = 51;
const RENEGOTIATION_INFO: u16 = 0xff01;
const X25519_GROUP: u16 = 29;

/// TLS 1.3, then forward secrecy, then what needs an old server, down to RC4 and triple DES. No anonymous, export or NULL
/// suite: who takes only those is as good as plaintext.
const EVERY_CIPHER: &[u16] = &[
    0x1301, 0x1302, 0x1303, 0xc02b, 0xc02f, 0xc02c, 0xc030, 0xcca9, 0xcca8, 0xc0ac, 0xc0ad, 0xc023,
    0xc024, 0xc027, 0xc028, 0xc009, 0xc00a, 0xc013, 0xc014, 0xc008, 0xc012, 0x009e, 0x009f, 0xccaa,
    0x0067, 0x006b, 0x0033, 0x0039, 0x0016, 0x00a2, 0x00a3, 0x0040, 0x006a, 0x0032, 0x0038, 0x009c,
    0x009d, 0xc09c, 0xc09d, 0x003c, 0x003d, 0x002f, 0x0035, 0x0041, 0x0084, 0x0096, 0x000a, 0xc007,
    0xc011, 0x0005, 0x0004, 0x0009,
];

/// x25519, the NIST curves, x448, the Brainpool curves, finite fields.
const EVERY_GROUP: &[u16] = &[29, 23, 24, 25, 30, 26, 27, 28, 22, 256, 257];

/// From Ed25519 to RSA with SHA-1 and DSA.
const EVERY_SCHEME: &[u16] = &[
    0x0403, 0x0503, 0x0603, 0x0807, 0x0808, 0x0804, 0x0805, 0x0806, 0x0809, 0x080a, 0x080b, 0x0401,
    0x0501, 0x0601, 0x0303, 0x0301, 0x0302, 0x0203, 0x0201, 0x0202, 0x0402,
];
