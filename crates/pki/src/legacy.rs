//! Encryption of former times: DES, triple DES and RC2 under SHA-1 or MD5, as PKCS#12 files, PKCS#8 keys and the `DEK-Info` header
//! of traditional PEM have it.
//!
//! Read as evidence alone, where somebody has to be told what is in a file and why programs refuse it: nothing is ever written
//! so, and whoever takes keys into use goes without ([`Budget::new`] refuses all of it).

use aws_lc_rs::digest;
use const_oid::ObjectIdentifier;
use der::Tag;
use des::cipher::consts::U8;
use des::cipher::{Block, BlockCipherDecrypt, KeyInit};
use des::{Des, TdesEde2, TdesEde3};
use md5::{Digest, Md5};
use rc2::Rc2;
use zeroize::Zeroizing;

use crate::asn1::Tlv;
use crate::password::Password;
use crate::pbes2::{self, Budget, Locked, malformed};

/// Decrypts what an `AlgorithmIdentifier` of one of the old schemes goes with. `None`: it is none of them.
pub(crate) fn open(
    scheme: ObjectIdentifier,
    parameters: Option<&Tlv<'_>>,
    ciphertext: &[u8],
    password: &Password,
    budget: &mut Budget,
) -> Option<Result<Zeroizing<Vec<u8>>, Locked>> {
    let (_, derivation, cipher) = SCHEMES.iter().find(|(oid, ..)| *oid == scheme)?;
    let mut opened = || {
        let (salt, iterations) = salt_and_iterations(parameters)?;
        let (key, iv) = match derivation {
            Derivation::Pkcs12 => {
                let blocks = cipher.key_len().div_ceil(SHA1_LEN) + 1;
                let rounds = budget.spend(iterations, blocks as u64)?.get();
                let bmp = password.bmp();
                (
                    pkcs12(1, &bmp, salt, rounds, cipher.key_len()),
                    pkcs12(2, &bmp, salt, rounds, BLOCK),
                )
            }
            Derivation::Pbkdf1(hash) => {
                let rounds = budget.spend(iterations, 1)?.get();
                let both = hash.pbkdf1(password.utf8(), salt, rounds);
                let (key, iv) = (&both[..BLOCK], &both[BLOCK..2 * BLOCK]);
                (Zeroizing::new(key.to_vec()), Zeroizing::new(iv.to_vec()))
            }
        };
        cipher.open(&key, &iv, ciphertext)
    };
    Some(opened())
}

/// Decrypts a body of traditional PEM; `info` is the value of its `DEK-Info` header (RFC 1421 §4.6.1.3, as OpenSSL writes it).
pub(crate) fn open_traditional(
    info: &str,
    ciphertext: &[u8],
    password: &Password,
) -> Result<Zeroizing<Vec<u8>>, Locked> {
    let (name, iv) = info.split_once(',').unwrap_or((info, ""));
    let iv = unhex(iv.trim()).ok_or_else(|| malformed("its DEK-Info header is malformed"))?;
    let salt = iv.get(..BLOCK);
    let salt = salt.ok_or_else(|| malformed("its initialisation vector is too short"))?;
    let key = |len| bytes_to_key(password.utf8(), salt, len);
    let name = name.trim().to_ascii_uppercase();
    let aes_len = match &*name {
        "AES-128-CBC" => Some(16),
        "AES-192-CBC" => Some(24),
        "AES-256-CBC" => Some(32),
        _ => None,
    };
    if let Some(len) = aes_len {
        return pbes2::open_aes(&key(len), &iv, ciphertext);
    }
    let cipher = match &*name {
        "DES-CBC" => Cipher::Des,
        "DES-EDE3-CBC" => Cipher::TripleDes,
        "RC2-CBC" => Cipher::Rc2 { bits: 128 },
        "RC2-64-CBC" => Cipher::Rc2 { bits: 64 },
        "RC2-40-CBC" => Cipher::Rc2 { bits: 40 },
        _ => {
            return Err(Locked::Unsupported { algorithm: name });
        }
    };
    cipher.open(&key(cipher.key_len()), &iv, ciphertext)
}

/// Triple DES with a key and a vector that were derived already.
pub(crate) fn open_triple_des(
    key: &[u8],
    iv: &[u8],
    ciphertext: &[u8],
) -> Result<Zeroizing<Vec<u8>>, Locked> {
    Cipher::TripleDes.open(key, iv, ciphertext)
}

#[derive(Clone, Copy)]
enum Cipher {
    Des,
    Rc2 { bits: usize },
    TripleDes,
    TwoKeyTripleDes,
}

impl Cipher {
    const fn key_len(self) -> usize {
        match self {
            Self::Des => 8,
            Self::Rc2 { bits } => bits / 8,
            Self::TripleDes => TRIPLE_DES_KEY,
            Self::TwoKeyTripleDes => 16,
        }
    }

    fn open(self, key: &[u8], iv: &[u8], ciphertext: &[u8]) -> Result<Zeroizing<Vec<u8>>, Locked> {
        let long = |_| malformed("the key has another length than the cipher's");
        match self {
            Self::Des => cbc(&Des::new_from_slice(key).map_err(long)?, iv, ciphertext),
            Self::Rc2 { bits } => cbc(&Rc2::new_with_eff_key_len(key, bits), iv, ciphertext),
            Self::TripleDes => cbc(
                &TdesEde3::new_from_slice(key).map_err(long)?,
                iv,
                ciphertext,
            ),
            Self::TwoKeyTripleDes => cbc(
                &TdesEde2::new_from_slice(key).map_err(long)?,
                iv,
                ciphertext,
            ),
        }
    }
}

/// Cipher block chaining with the padding of RFC 8018 §6.1.1.
fn cbc<C: BlockCipherDecrypt<BlockSize = U8>>(
    cipher: &C,
    iv: &[u8],
    ciphertext: &[u8],
) -> Result<Zeroizing<Vec<u8>>, Locked> {
    let iv: [u8; BLOCK] = iv
        .get(..BLOCK)
        .and_then(|iv| iv.try_into().ok())
        .ok_or_else(|| malformed("the initialisation vector is too short"))?;
    pbes2::check_ciphertext(ciphertext, BLOCK)?;
    let (blocks, _) = ciphertext.as_chunks::<BLOCK>();
    let mut plain = Zeroizing::new(Vec::with_capacity(ciphertext.len()));
    let mut before = iv;
    for block in blocks {
        let mut open = Block::<C>::from(*block);
        cipher.decrypt_block(&mut open);
        plain.extend(open.iter().zip(before).map(|(byte, mask)| byte ^ mask));
        before = *block;
    }
    let padding = plain.last().copied().unwrap_or_default();
    let kept = plain.len().checked_sub(usize::from(padding));
    let kept = kept.filter(|_| (1..=BLOCK).contains(&usize::from(padding)));
    let kept = kept.filter(|&kept| plain[kept..].iter().all(|&byte| byte == padding));
    plain.truncate(kept.ok_or(Locked::WrongPassword)?);
    Ok(plain)
}

enum Derivation {
    /// RFC 8018 §5.1.
    Pbkdf1(Hash),
    /// RFC 7292 §B.2, with SHA-1.
    Pkcs12,
}

enum Hash {
    Md5,
    Sha1,
}

impl Hash {
    /// As many bytes as both of them have.
    fn pbkdf1(&self, password: &[u8], salt: &[u8], rounds: u32) -> Zeroizing<Vec<u8>> {
        let hash = |input: &[u8]| -> Zeroizing<Vec<u8>> {
            Zeroizing::new(match self {
                Self::Md5 => Md5::digest(input).to_vec(),
                Self::Sha1 => sha1(input),
            })
        };
        let mut key = hash(&Zeroizing::new([password, salt].concat()));
        for _ in 1..rounds {
            key = hash(&key);
        }
        key
    }
}

fn sha1(input: &[u8]) -> Vec<u8> {
    let digest = digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, input);
    digest.as_ref().to_vec()
}

/// RFC 7292 §B.2: `id` 1 is for a key, 2 for a vector.
fn pkcs12(id: u8, bmp_password: &[u8], salt: &[u8], rounds: u32, len: usize) -> Zeroizing<Vec<u8>> {
    let mut input = Zeroizing::new(Vec::new());
    for part in [salt, bmp_password] {
        let filled = part.len().div_ceil(SHA1_BLOCK) * SHA1_BLOCK;
        input.extend(part.iter().cycle().take(filled));
    }
    let mut output = Zeroizing::new(Vec::with_capacity(len + SHA1_LEN));
    loop {
        let first = Zeroizing::new([&[id; SHA1_BLOCK], &input[..]].concat());
        let mut block = Zeroizing::new(sha1(&first));
        for _ in 1..rounds {
            block = Zeroizing::new(sha1(&block));
        }
        output.extend_from_slice(&block);
        if output.len() >= len {
            output.truncate(len);
            return output;
        }
        for chunk in input.as_chunks_mut::<SHA1_BLOCK>().0 {
            // Big-endian: chunk + block repeated + 1.
            let mut carry = 1;
            for (at, byte) in chunk.iter_mut().enumerate().rev() {
                let sum = u16::from(*byte) + u16::from(block[at % SHA1_LEN]) + carry;
                *byte = sum.to_le_bytes()[0];
                carry = sum >> 8;
            }
        }
    }
}

/// OpenSSL's `EVP_BytesToKey` with MD5 and one round.
fn bytes_to_key(password: &[u8], salt: &[u8], len: usize) -> Zeroizing<Vec<u8>> {
    let mut key = Zeroizing::new(Vec::with_capacity(len + 16));
    let mut last: Zeroizing<Vec<u8>> = Zeroizing::default();
    while key.len() < len {
        last =
            Zeroizing::new(Md5::digest(Zeroizing::new([&last, password, salt].concat())).to_vec());
        key.extend_from_slice(&last);
    }
    key.truncate(len);
    key
}

fn salt_and_iterations<'a>(parameters: Option<&Tlv<'a>>) -> Result<(&'a [u8], u64), Locked> {
    let parameters = parameters.filter(|it| it.tag == Tag::Sequence);
    let parameters = parameters.ok_or_else(|| malformed("the encryption has no parameters"))?;
    let mut fields = parameters.cursor();
    let salt = fields.expect(Tag::OctetString, "the salt")?.content;
    let iterations = fields
        .expect(Tag::Integer, "the iteration count")?
        .unsigned("the iteration count")?;
    fields.finish("the encryption's parameters")?;
    if salt.len() > MAX_SALT {
        return Err(malformed("the salt is too long"));
    }
    Ok((salt, iterations))
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digits = text.as_bytes();
    if !text.is_ascii() || digits.len() > 2 * MAX_SALT || !digits.len().is_multiple_of(2) {
        return None;
    }
    let pairs = digits.as_chunks::<2>().0.iter();
    let byte = |pair: &[u8; 2]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    pairs.map(byte).collect()
}

const SCHEMES: [(ObjectIdentifier, Derivation, Cipher); 8] = [
    (
        oid("1.2.840.113549.1.12.1.3"),
        Derivation::Pkcs12,
        Cipher::TripleDes,
    ),
    (
        oid("1.2.840.113549.1.12.1.4"),
        Derivation::Pkcs12,
        Cipher::TwoKeyTripleDes,
    ),
    (
        oid("1.2.840.113549.1.12.1.5"),
        Derivation::Pkcs12,
        Cipher::Rc2 { bits: 128 },
    ),
    (
        oid("1.2.840.113549.1.12.1.6"),
        Derivation::Pkcs12,
        Cipher::Rc2 { bits: 40 },
    ),
    (
        oid("1.2.840.113549.1.5.3"),
        Derivation::Pbkdf1(Hash::Md5),
        Cipher::Des,
    ),
    (
        oid("1.2.840.113549.1.5.6"),
        Derivation::Pbkdf1(Hash::Md5),
        Cipher::Rc2 { bits: 64 },
    ),
    (
        oid("1.2.840.113549.1.5.10"),
        Derivation::Pbkdf1(Hash::Sha1),
        Cipher::Des,
    ),
    (
        oid("1.2.840.113549.1.5.11"),
        Derivation::Pbkdf1(Hash::Sha1),
        Cipher::Rc2 { bits: 64 },
    ),
];

const fn oid(text: &str) -> ObjectIdentifier {
    ObjectIdentifier::new_unwrap(text)
}

/// Of DES and RC2.
const BLOCK: usize = 8;
pub(crate) const TRIPLE_DES_KEY: usize = 24;
const SHA1_LEN: usize = 20;
const SHA1_BLOCK: usize = 64;

/// Programs write 8 or 20 bytes; each round hashes all of it only once.
const MAX_SALT: usize = 1024;
