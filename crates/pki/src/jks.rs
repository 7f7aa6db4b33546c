//! JKS, Java's keystore format until Java 9: certificates to trust, for programs that take nothing newer.
//!
//! Keys are not written: JKS hides them under a few rounds of SHA-1 and an exclusive or, which a stolen file does not survive.
//! A key goes into PKCS#12, which every Java since 8 reads, under the name JKS too. What others wrote is read, keys included.

use aws_lc_rs::digest::{Context, SHA1_FOR_LEGACY_USE_ONLY};
use const_oid::ObjectIdentifier;
use der::Tag;
use zeroize::Zeroizing;

use crate::asn1::Cursor;
use crate::certificate::Certificate;
use crate::password::Password;
use crate::time::UnixTime;

/// What a keystore holds, as far as it could be read.
#[derive(Debug, Default)]
pub struct Contents {
    /// In order.
    pub entries: Vec<Entry>,
    /// Why reading ended before the end.
    pub cut: Option<&'static str>,
    /// Whether a password is the one that the digest at the end was made with; `None` where none was given.
    pub is_intact: Option<bool>,
}

/// One entry.
pub struct Entry {
    /// Its alias.
    pub alias: String,
    /// Certificates in DER: one that is trusted, or the chain of a key, leaf first.
    pub certificates: Vec<Vec<u8>>,
    /// The key beside them.
    pub key: Option<ProtectedKey>,
}

/// A key in it.
pub enum ProtectedKey {
    /// The password opens it: PKCS#8 in DER.
    Open(Zeroizing<Vec<u8>>),
    /// It does not, or is not read here.
    Shut,
}

impl std::fmt::Debug for Entry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (alias, count) = (&self.alias, self.certificates.len());
        write!(f, "Entry({alias:?}, {count} certificates)")
    }
}

impl Contents {
    /// Whether bytes begin as JKS or JCEKS do.
    pub fn is_one(bytes: &[u8]) -> bool {
        bytes.starts_with(&MAGIC.to_be_bytes()) || bytes.starts_with(&JCEKS_MAGIC.to_be_bytes())
    }

    /// Reads as much as there is; certificates need no password.
    pub fn read(bytes: &[u8], passwords: &[Password]) -> Self {
        let mut contents = Self::default();
        let end = bytes.len().saturating_sub(DIGEST_LEN);
        let fits = |password: &&Password| digest(password, &bytes[..end]) == bytes[end..];
        let fitting = passwords.iter().find(fits);
        contents.is_intact = (!passwords.is_empty()).then_some(fitting.is_some());
        let mut reader = Reader { rest: bytes };
        contents.cut = contents
            .entries_of(&mut reader, fitting)
            .is_none()
            .then_some("an entry is of a kind that is not read here, or the file is cut off");
        contents
    }

    fn entries_of(&mut self, reader: &mut Reader<'_>, password: Option<&Password>) -> Option<()> {
        reader.u32()?;
        let version = reader.u32()?;
        let count = reader.u32()?.min(MAX_ENTRIES);
        for _ in 0..count {
            let kind = reader.u32()?;
            let alias = reader.text()?;
            reader.take(8)?;
            let (key, certificates) = match kind {
                TRUSTED_CERTIFICATE => (None, 1),
                PRIVATE_KEY => {
                    let sealed = reader.block()?;
                    let open = password.and_then(|password| open_key(sealed, password));
                    let key = open.map_or(ProtectedKey::Shut, ProtectedKey::Open);
                    (Some(key), reader.u32()?.min(MAX_CHAIN))
                }
                _ => return None,
            };
            let mut entry = Entry {
                alias,
                certificates: Vec::new(),
                key,
            };
            for _ in 0..certificates {
                if version == VERSION {
                    reader.text()?;
                }
                entry.certificates.push(reader.block()?.to_vec());
            }
            self.entries.push(entry);
        }
        Some(())
    }
}

/// A keystore of trusted certificates, each under its alias. The password proves that the file was not changed, no more.
pub fn trust_store(
    anchors: &[(String, Certificate)],
    password: &Password,
    created_at: UnixTime,
) -> Vec<u8> {
    let mut store = Vec::new();
    store.extend_from_slice(&MAGIC.to_be_bytes());
    store.extend_from_slice(&VERSION.to_be_bytes());
    store.extend_from_slice(&length(anchors.len()));
    for (alias, certificate) in anchors {
        store.extend_from_slice(&TRUSTED_CERTIFICATE.to_be_bytes());
        put_text(&mut store, &alias.to_ascii_lowercase());
        store.extend_from_slice(&created_at.seconds().saturating_mul(1000).to_be_bytes());
        put_text(&mut store, "X.509");
        store.extend_from_slice(&length(certificate.der().len()));
        store.extend_from_slice(certificate.der());
    }
    let digest = digest(password, &store);
    store.extend_from_slice(&digest);
    store
}

/// What follows in the file.
struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(len)?;
        self.rest = rest;
        Some(taken)
    }

    fn u32(&mut self) -> Option<u32> {
        self.take(4)?.try_into().ok().map(u32::from_be_bytes)
    }

    fn block(&mut self) -> Option<&'a [u8]> {
        let len = usize::try_from(self.u32()?).ok()?;
        self.take(len)
    }

    /// Java's `readUTF`.
    fn text(&mut self) -> Option<String> {
        let len = self.take(2)?.try_into().ok().map(u16::from_be_bytes)?;
        let bytes = self.take(usize::from(len))?;
        Some(String::from_utf8_lossy(bytes).into_owned())
    }
}

/// Sun's own cipher: salt, what SHA-1 in a chain has been added to bit by bit, and a digest that tells the right password.
fn open_key(sealed: &[u8], password: &Password) -> Option<Zeroizing<Vec<u8>>> {
    let whole = Cursor::new(sealed).expect(Tag::Sequence, "the key").ok()?;
    let mut fields = whole.cursor();
    let algorithm = fields.expect(Tag::Sequence, "the cipher").ok()?;
    let oid = algorithm
        .cursor()
        .expect(Tag::ObjectIdentifier, "the cipher")
        .ok()?;
    if oid.content != SUN_KEY_PROTECTOR.as_bytes() {
        return None;
    }
    let cipher = fields.expect(Tag::OctetString, "the key").ok()?.content;
    let (salt, rest) = cipher.split_at_checked(DIGEST_LEN)?;
    let (hidden, check) = rest.split_at_checked(rest.len().checked_sub(DIGEST_LEN)?)?;
    let password = password.utf16();
    let mut link = salt.to_vec();
    let mut plain = Zeroizing::new(Vec::with_capacity(hidden.len()));
    for part in hidden.chunks(DIGEST_LEN) {
        let mut context = Context::new(&SHA1_FOR_LEGACY_USE_ONLY);
        context.update(&password);
        context.update(&link);
        link = context.finish().as_ref().to_vec();
        plain.extend(part.iter().zip(&link).map(|(byte, mask)| byte ^ mask));
    }
    let mut context = Context::new(&SHA1_FOR_LEGACY_USE_ONLY);
    context.update(&password);
    context.update(&plain);
    (context.finish().as_ref() == check).then_some(plain)
}

fn digest(password: &Password, store: &[u8]) -> Vec<u8> {
    let mut digest = Context::new(&SHA1_FOR_LEGACY_USE_ONLY);
    digest.update(&password.utf16());
    digest.update(b"Mighty Aphrodite");
    digest.update(store);
    digest.finish().as_ref().to_vec()
}

fn length(len: usize) -> [u8; 4] {
    u32::try_from(len)
        .expect("certificates are far below 4 GiB")
        .to_be_bytes()
}

/// Java's `writeUTF`, for ASCII: two bytes of length, then the text.
fn put_text(store: &mut Vec<u8>, text: &str) {
    let ascii: Vec<u8> = text
        .chars()
        .map(|c| u8::try_from(c).ok().filter(u8::is_ascii).unwrap_or(b'-'))
        .take(usize::from(u16::MAX))
        .collect();
    let len = u16::try_from(ascii.len()).expect("cut to what fits");
    store.extend_from_slice(&len.to_be_bytes());
    store.extend_from_slice(&ascii);
}

const MAGIC: u32 = 0xfeed_feed;
/// Of JCEKS, which differs in its keys.
const JCEKS_MAGIC: u32 = 0xcece_cece;
const VERSION: u32 = 2;
const TRUSTED_CERTIFICATE: u32 = 2;
const PRIVATE_KEY: u32 = 1;
/// SHA-1.
const DIGEST_LEN: usize = 20;
/// Java's own list of roots has some 150.
const MAX_ENTRIES: u32 = 4096;
/// Chains in use have three or four.
const MAX_CHAIN: u32 = 64;
const SUN_KEY_PROTECTOR: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.42.2.17.1.1");
