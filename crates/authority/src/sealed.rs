//! CA keys at rest: Argon2id makes a key of the passphrase, AES-256-GCM seals with it.
//!
//! A sealed file is six lines of ASCII. The first five say how it is sealed and for what; they are the associated data
//! of the sixth, the ciphertext, so that no byte of the file can change unnoticed and no file can stand in for another.

use argon2::{Algorithm, Argon2, Params, Version};
use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use countersign_store::issuer::IssuerRole;
use zeroize::Zeroizing;

use crate::secret::Secret;

/// The price of guessing a passphrase (Argon2id, RFC 9106).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyDerivation {
    /// Memory in KiB.
    pub memory_kib: u32,
    /// Passes over it.
    pub passes: u32,
    /// Lanes.
    pub lanes: u32,
}

impl Default for KeyDerivation {
    /// RFC 9106 §4, second recommended option, with one lane: 64 MiB, 3 passes.
    fn default() -> Self {
        Self {
            memory_kib: 64 * 1024,
            passes: 3,
            lanes: 1,
        }
    }
}

/// Seals the key of the issuer of that role.
pub fn seal(
    key: &Secret,
    role: IssuerRole,
    passphrase: &Secret,
    derivation: KeyDerivation,
) -> Result<String, SealError> {
    let (mut salt, mut nonce) = ([0; SALT_LEN], [0; NONCE_LEN]);
    aws_lc_rs::rand::fill(&mut salt).map_err(|_| SealError::NoRandomness)?;
    aws_lc_rs::rand::fill(&mut nonce).map_err(|_| SealError::NoRandomness)?;
    let KeyDerivation {
        memory_kib,
        passes,
        lanes,
    } = derivation;
    let header = format!(
        "{FORMAT}\nrole {role}\nargon2id {memory_kib} {passes} {lanes}\nsalt {}\nnonce {}\n",
        STANDARD.encode(salt),
        STANDARD.encode(nonce)
    );
    let sealing = sealing_key(passphrase, &salt, derivation)?;
    let mut ciphertext = Zeroizing::new(Vec::with_capacity(
        key.expose().len() + AES_256_GCM.tag_len(),
    ));
    ciphertext.extend_from_slice(key.expose());
    sealing
        .seal_in_place_append_tag(
            Nonce::assume_unique_for_key(nonce),
            Aad::from(header.as_bytes()),
            &mut *ciphertext,
        )
        .map_err(|_| SealError::NoRandomness)?;
    Ok(format!("{header}{}\n", STANDARD.encode(&*ciphertext)))
}

/// Opens what [`seal`] made for that role.
pub fn unseal(sealed: &[u8], role: IssuerRole, passphrase: &Secret) -> Result<Secret, SealError> {
    let malformed = |why| SealError::Malformed { why };
    if sealed.len() > MAX_FILE {
        return Err(malformed("it is too long"));
    }
    let text = std::str::from_utf8(sealed).map_err(|_| malformed("it is not text"))?;
    let body = text
        .strip_suffix('\n')
        .ok_or_else(|| malformed("its end is missing"))?;
    let (header, ciphertext) = body
        .rsplit_once('\n')
        .ok_or_else(|| malformed("its header is missing"))?;
    let lines: Vec<&str> = header.split('\n').collect();
    let [format, told_role, derivation, salt, nonce] = lines[..] else {
        return Err(malformed("its header is incomplete"));
    };
    if format != FORMAT {
        return Err(malformed("it is of another format"));
    }
    let told_role = told_role
        .strip_prefix("role ")
        .ok_or_else(|| malformed("its role is missing"))?;
    if told_role != role.to_string() {
        return Err(SealError::OtherRole { role });
    }
    let derivation = parse_derivation(derivation)?;
    let salt: [u8; SALT_LEN] =
        decode(salt, "salt ").ok_or_else(|| malformed("its salt is damaged"))?;
    let nonce: [u8; NONCE_LEN] =
        decode(nonce, "nonce ").ok_or_else(|| malformed("its nonce is damaged"))?;
    let ciphertext = STANDARD
        .decode(ciphertext)
        .map_err(|_| malformed("its ciphertext is damaged"))?;

    let mut buffer = Zeroizing::new(ciphertext);
    let associated = &text.as_bytes()[..=header.len()];
    let opened = sealing_key(passphrase, &salt, derivation)?
        .open_in_place(
            Nonce::assume_unique_for_key(nonce),
            Aad::from(associated),
            &mut buffer,
        )
        .map_err(|_| SealError::WrongPassphrase)?
        .len();
    buffer.truncate(opened);
    Ok(Secret::new(std::mem::take(&mut *buffer)))
}

/// Why a key was not sealed or not opened.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SealError {
    /// Not what [`seal`] writes.
    #[error("the sealed key is damaged: {why}")]
    Malformed {
        /// What is wrong.
        why: &'static str,
    },
    /// The operating system has none.
    #[error("the operating system gives no randomness")]
    NoRandomness,
    /// The key of another issuer.
    #[error("the sealed key is not that of the {role}")]
    OtherRole {
        /// Whose it should be.
        role: IssuerRole,
    },
    /// Parameters that this version does not use, or that nobody should be made to pay.
    #[error(
        "the sealed key asks for {memory_kib} KiB, {passes} passes and {lanes} lanes, which is out of bounds"
    )]
    Price {
        /// Memory in KiB.
        memory_kib: u32,
        /// Passes over it.
        passes: u32,
        /// Lanes.
        lanes: u32,
    },
    /// The passphrase is another one, or the file was changed: the two cannot be told apart.
    #[error(
        "the passphrase does not open the sealed key: it is the wrong one, or the file was changed"
    )]
    WrongPassphrase,
}

fn sealing_key(
    passphrase: &Secret,
    salt: &[u8],
    derivation: KeyDerivation,
) -> Result<LessSafeKey, SealError> {
    let KeyDerivation {
        memory_kib,
        passes,
        lanes,
    } = derivation;
    let out_of_bounds = SealError::Price {
        memory_kib,
        passes,
        lanes,
    };
    if memory_kib > MAX_MEMORY_KIB || passes > MAX_PASSES || lanes > MAX_LANES {
        return Err(out_of_bounds);
    }
    let params =
        Params::new(memory_kib, passes, lanes, Some(KEY_LEN)).map_err(|_| out_of_bounds.clone())?;
    let mut key = Zeroizing::new([0; KEY_LEN]);
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
        .hash_password_into(passphrase.expose(), salt, &mut *key)
        .map_err(|_| out_of_bounds)?;
    let key = UnboundKey::new(&AES_256_GCM, &*key).expect("the key has the length of AES-256");
    Ok(LessSafeKey::new(key))
}

fn parse_derivation(line: &str) -> Result<KeyDerivation, SealError> {
    let malformed = || SealError::Malformed {
        why: "its key derivation is damaged",
    };
    let numbers = line.strip_prefix("argon2id ").ok_or_else(malformed)?;
    let numbers: Vec<u32> = numbers
        .split(' ')
        .map(str::parse)
        .collect::<Result<_, _>>()
        .map_err(|_| malformed())?;
    let [memory_kib, passes, lanes] = numbers[..] else {
        return Err(malformed());
    };
    Ok(KeyDerivation {
        memory_kib,
        passes,
        lanes,
    })
}

fn decode<const N: usize>(line: &str, prefix: &str) -> Option<[u8; N]> {
    STANDARD
        .decode(line.strip_prefix(prefix)?)
        .ok()?
        .try_into()
        .ok()
}

const FORMAT: &str = "countersign-sealed-key 1";
const SALT_LEN: usize = 16;
const KEY_LEN: usize = 32;
/// A P-256 key makes under 600 bytes, an RSA-4096 key under 4 KiB.
const MAX_FILE: usize = 16 * 1024;
/// 1 GiB: what a hostile or damaged file may make us allocate.
const MAX_MEMORY_KIB: u32 = 1024 * 1024;
/// With the memory bound, under a minute on one core.
const MAX_PASSES: u32 = 32;
/// RFC 9106 recommends 4.
const MAX_LANES: u32 = 8;
