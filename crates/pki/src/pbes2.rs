//! Encryption under a password: PBES2 (RFC 8018 §6.2) with PBKDF2 and AES-CBC, as PKCS#8 and PKCS#12 files have it since
//! OpenSSL 3, Java 8u301 and Windows 10. The older schemes (RC2, DES, triple DES) are named; only evidence is read through them.
//!
//! What a file asks for is paid by whoever opens it, before anything in it is known to be genuine: a budget bounds
//! the rounds of key derivation.

use std::num::NonZeroU32;

use aws_lc_rs::cipher::{
    AES_128, AES_192, AES_256, Algorithm, DecryptionContext, EncryptionContext,
    PaddedBlockDecryptingKey, PaddedBlockEncryptingKey, UnboundCipherKey,
};
use aws_lc_rs::iv::FixedLength;
use aws_lc_rs::pbkdf2;
use const_oid::ObjectIdentifier;
use der::Tag;
use zeroize::Zeroizing;

use crate::asn1::{self, Cursor, Malformed, Tlv, dotted, sequence, tlv};
use crate::legacy::{self, TRIPLE_DES_KEY};
use crate::password::Password;

/// Opens an `EncryptedPrivateKeyInfo` (RFC 5958 §3), DER in, PKCS#8 out.
pub fn open_private_key(der: &[u8], password: &Password) -> Result<Zeroizing<Vec<u8>>, Locked> {
    open_private_key_within(der, password, &mut Budget::new())
}

/// The same, of a file that holds more.
pub(crate) fn open_private_key_within(
    der: &[u8],
    password: &Password,
    budget: &mut Budget,
) -> Result<Zeroizing<Vec<u8>>, Locked> {
    let mut outer = Cursor::new(der);
    let whole = outer.expect(Tag::Sequence, "the encrypted private key")?;
    outer.finish("the encrypted private key")?;
    open_encrypted(&whole, password, budget)
}

/// Why something stays encrypted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Locked {
    /// It wants more work than anybody should be made to do.
    #[error("the file asks for {asked} rounds of key derivation where {left} are allowed")]
    Iterations {
        /// What it asks for here.
        asked: u64,
        /// What is left of the bound.
        left: u64,
    },
    /// Not DER, or not of the form that the standard gives it.
    #[error("{why}")]
    Malformed {
        /// In words.
        why: String,
    },
    /// A scheme that is not read here.
    #[error("it is protected by {algorithm}, which is not read here")]
    Unsupported {
        /// Its name, or its object identifier.
        algorithm: String,
    },
    /// The password is another one, or the file was changed: the two cannot be told apart.
    #[error("the password does not open it: it is the wrong one, or the file was changed")]
    WrongPassword,
}

impl From<Malformed> for Locked {
    fn from(Malformed(why): Malformed) -> Self {
        Self::Malformed { why }
    }
}

/// How many rounds of key derivation are left for one file.
#[derive(Debug)]
pub(crate) struct Budget {
    left: u64,
    reads_legacy: bool,
}

impl Budget {
    pub(crate) fn new() -> Self {
        Self {
            left: MAX_ROUNDS,
            reads_legacy: false,
        }
    }

    /// Of a file that is read as evidence, old schemes and all.
    pub(crate) fn of_evidence() -> Self {
        Self {
            reads_legacy: true,
            ..Self::new()
        }
    }

    /// Takes the rounds of one derivation of `blocks` blocks.
    pub(crate) fn spend(&mut self, asked: u64, blocks: u64) -> Result<NonZeroU32, Locked> {
        let refused = Locked::Iterations {
            asked,
            left: self.left,
        };
        let left = asked
            .checked_mul(blocks)
            .and_then(|rounds| self.left.checked_sub(rounds))
            .ok_or_else(|| refused.clone())?;
        let iterations = u32::try_from(asked)
            .map_err(|_| refused)
            .map(NonZeroU32::new)?
            .ok_or_else(|| malformed("its iteration count is 0"))?;
        self.left = left;
        Ok(iterations)
    }
}

/// PBKDF2's salt, iterations and PRF (RFC 8018 §A.2).
#[derive(Debug)]
pub(crate) struct Derivation<'a> {
    salt: &'a [u8],
    iterations: u64,
    key_len: Option<u64>,
    prf: Prf,
}

#[derive(Clone, Copy, Debug)]
enum Prf {
    Sha1,
    Sha256,
    Sha384,
    Sha512,
}

impl<'a> Derivation<'a> {
    /// An `AlgorithmIdentifier` that must be PBKDF2's.
    pub(crate) fn read(algorithm: &Tlv<'a>) -> Result<Self, Locked> {
        let (oid, parameters) = algorithm_identifier(algorithm, "the key derivation")?;
        if oid != PBKDF2 {
            return Err(unsupported(oid));
        }
        let parameters = parameters.ok_or_else(|| malformed("PBKDF2 has no parameters"))?;
        expect_tag(&parameters, Tag::Sequence, "PBKDF2's parameters")?;
        let mut fields = parameters.cursor();
        let salt = fields.expect(Tag::OctetString, "PBKDF2's salt")?.content;
        let iterations = fields
            .expect(Tag::Integer, "PBKDF2's iteration count")?
            .unsigned("PBKDF2's iteration count")?;
        let key_len = fields
            .optional(Tag::Integer, "PBKDF2's key length")?
            .map(|it| it.unsigned("PBKDF2's key length"))
            .transpose()?;
        let prf = match fields.optional(Tag::Sequence, "PBKDF2's PRF")? {
            Some(prf) => Prf::of(plain_algorithm(&prf, "PBKDF2's PRF")?)?,
            // RFC 8018 §A.2: DEFAULT algid-hmacWithSHA1.
            None => Prf::Sha1,
        };
        fields.finish("PBKDF2's parameters")?;
        Ok(Self {
            salt,
            iterations,
            key_len,
            prf,
        })
    }

    /// What the file says of the length of the key.
    pub(crate) fn key_len(&self) -> Option<u64> {
        self.key_len
    }

    /// A key of `len` bytes.
    pub(crate) fn derive(
        &self,
        password: &Password,
        len: usize,
        budget: &mut Budget,
    ) -> Result<Zeroizing<Vec<u8>>, Locked> {
        let blocks = len.div_ceil(self.prf.output_len());
        let iterations = budget.spend(self.iterations, blocks as u64)?;
        let mut key = Zeroizing::new(vec![0; len]);
        pbkdf2::derive(
            self.prf.algorithm(),
            iterations,
            self.salt,
            password.utf8(),
            &mut key,
        );
        Ok(key)
    }
}

impl Prf {
    fn of(oid: ObjectIdentifier) -> Result<Self, Locked> {
        match oid {
            HMAC_SHA1 => Ok(Self::Sha1),
            HMAC_SHA256 => Ok(Self::Sha256),
            HMAC_SHA384 => Ok(Self::Sha384),
            HMAC_SHA512 => Ok(Self::Sha512),
            other => Err(unsupported(other)),
        }
    }

    fn algorithm(self) -> pbkdf2::Algorithm {
        match self {
            Self::Sha1 => pbkdf2::PBKDF2_HMAC_SHA1,
            Self::Sha256 => pbkdf2::PBKDF2_HMAC_SHA256,
            Self::Sha384 => pbkdf2::PBKDF2_HMAC_SHA384,
            Self::Sha512 => pbkdf2::PBKDF2_HMAC_SHA512,
        }
    }

    fn output_len(self) -> usize {
        match self {
            Self::Sha1 => 20,
            Self::Sha256 => 32,
            Self::Sha384 => 48,
            Self::Sha512 => 64,
        }
    }
}

/// SEQUENCE { `AlgorithmIdentifier` of PBES2, OCTET STRING }: an `EncryptedPrivateKeyInfo`.
pub(crate) fn open_encrypted(
    sequence: &Tlv<'_>,
    password: &Password,
    budget: &mut Budget,
) -> Result<Zeroizing<Vec<u8>>, Locked> {
    let mut fields = sequence.cursor();
    let algorithm = fields.expect(Tag::Sequence, "the encryption's algorithm")?;
    let ciphertext = fields.expect(Tag::OctetString, "the ciphertext")?;
    fields.finish("the ciphertext")?;
    open(&algorithm, ciphertext.content, password, budget)
}

/// Decrypts what an `AlgorithmIdentifier` of PBES2 goes with.
pub(crate) fn open(
    algorithm: &Tlv<'_>,
    ciphertext: &[u8],
    password: &Password,
    budget: &mut Budget,
) -> Result<Zeroizing<Vec<u8>>, Locked> {
    let (oid, parameters) = algorithm_identifier(algorithm, "the encryption's algorithm")?;
    if oid != PBES2 {
        let opened = budget
            .reads_legacy
            .then(|| legacy::open(oid, parameters.as_ref(), ciphertext, password, budget));
        return opened.flatten().unwrap_or_else(|| Err(unsupported(oid)));
    }
    let parameters = parameters.ok_or_else(|| malformed("PBES2 has no parameters"))?;
    expect_tag(&parameters, Tag::Sequence, "PBES2's parameters")?;
    let mut fields = parameters.cursor();
    let derivation = Derivation::read(&fields.expect(Tag::Sequence, "the key derivation")?)?;
    let (cipher, iv) =
        algorithm_identifier(&fields.expect(Tag::Sequence, "the cipher")?, "the cipher")?;
    fields.finish("PBES2's parameters")?;
    if cipher == TRIPLE_DES_CBC && budget.reads_legacy {
        let key = derivation.derive(password, TRIPLE_DES_KEY, budget)?;
        let iv = iv.map_or(&[][..], |iv| iv.content);
        return legacy::open_triple_des(&key, iv, ciphertext);
    }
    let (cipher, key_len) = cipher_of(cipher)?;
    let iv: [u8; IV_LEN] = iv
        .filter(|iv| iv.tag == Tag::OctetString)
        .and_then(|iv| iv.content.try_into().ok())
        .ok_or_else(|| malformed("the cipher's initialisation vector is not 16 bytes"))?;
    if derivation
        .key_len()
        .is_some_and(|told| told != key_len as u64)
    {
        return Err(malformed("PBKDF2's key length is not the cipher's"));
    }
    check_ciphertext(ciphertext, IV_LEN)?;
    let key = derivation.derive(password, key_len, budget)?;
    decrypt(cipher, &key, iv, ciphertext)
}

/// AES-CBC with a key of one of its lengths.
pub(crate) fn open_aes(
    key: &[u8],
    iv: &[u8],
    ciphertext: &[u8],
) -> Result<Zeroizing<Vec<u8>>, Locked> {
    let (cipher, _) = [AES_128_CBC, AES_192_CBC, AES_256_CBC]
        .into_iter()
        .filter_map(|oid| cipher_of(oid).ok())
        .find(|(_, len)| *len == key.len())
        .ok_or_else(|| malformed("the key has another length than AES's"))?;
    let iv = iv
        .try_into()
        .map_err(|_| malformed("the initialisation vector is not 16 bytes"))?;
    check_ciphertext(ciphertext, IV_LEN)?;
    decrypt(cipher, key, iv, ciphertext)
}

/// Whole blocks, and no more than anybody encrypts: before a key is derived for it.
pub(crate) fn check_ciphertext(ciphertext: &[u8], block: usize) -> Result<(), Locked> {
    if ciphertext.len() > MAX_CIPHERTEXT {
        return Err(malformed("what is encrypted is too large: more than 1 MiB"));
    }
    if ciphertext.is_empty() || !ciphertext.len().is_multiple_of(block) {
        return Err(malformed("the ciphertext is not whole blocks"));
    }
    Ok(())
}

fn decrypt(
    cipher: &'static Algorithm,
    key: &[u8],
    iv: [u8; IV_LEN],
    ciphertext: &[u8],
) -> Result<Zeroizing<Vec<u8>>, Locked> {
    let key = UnboundCipherKey::new(cipher, key).expect("the key has the cipher's length");
    let key = PaddedBlockDecryptingKey::cbc_pkcs7(key).expect("AES has the mode CBC");
    let mut buffer = Zeroizing::new(ciphertext.to_vec());
    let plain_len = key
        .decrypt(&mut buffer, DecryptionContext::Iv128(FixedLength::from(iv)))
        .map_err(|_| Locked::WrongPassword)?
        .len();
    buffer.truncate(plain_len);
    Ok(buffer)
}

/// What is written: AES-256-CBC under PBKDF2 with HMAC-SHA-256. The `AlgorithmIdentifier` and the ciphertext.
pub(crate) fn seal(
    plain: &[u8],
    password: &Password,
    salt: &[u8; SALT_LEN],
    iv: [u8; IV_LEN],
    iterations: NonZeroU32,
) -> (Vec<u8>, Vec<u8>) {
    let mut key = Zeroizing::new([0; 32]);
    pbkdf2::derive(
        pbkdf2::PBKDF2_HMAC_SHA256,
        iterations,
        salt,
        password.utf8(),
        &mut *key,
    );
    let key = UnboundCipherKey::new(&AES_256, &*key).expect("the key has AES-256's length");
    let key = PaddedBlockEncryptingKey::cbc_pkcs7(key).expect("AES has the mode CBC");
    // The padding is added in place: room for it, so that the vector does not move and leave a copy behind.
    let mut buffer = Vec::with_capacity(plain.len() + IV_LEN);
    buffer.extend_from_slice(plain);
    key.less_safe_encrypt(&mut buffer, EncryptionContext::Iv128(FixedLength::from(iv)))
        .expect("CBC encrypts whatever is padded to whole blocks");
    let null = tlv(Tag::Null, &[]);
    let derivation = sequence(&[
        asn1::oid(PBKDF2),
        sequence(&[
            tlv(Tag::OctetString, salt),
            asn1::unsigned(u64::from(iterations.get())),
            sequence(&[asn1::oid(HMAC_SHA256), null]),
        ]),
    ]);
    let cipher = sequence(&[asn1::oid(AES_256_CBC), tlv(Tag::OctetString, &iv)]);
    let algorithm = sequence(&[asn1::oid(PBES2), sequence(&[derivation, cipher])]);
    (algorithm, buffer)
}

/// The object identifier and the parameters of an `AlgorithmIdentifier`.
pub(crate) fn algorithm_identifier<'a>(
    sequence: &Tlv<'a>,
    what: &str,
) -> Result<(ObjectIdentifier, Option<Tlv<'a>>), Locked> {
    let mut fields = sequence.cursor();
    let oid = fields.expect(Tag::ObjectIdentifier, what)?.oid(what)?;
    let oid = ObjectIdentifier::from_bytes(oid.as_bytes())
        .map_err(|_| malformed("an object identifier is too long"))?;
    let parameters = if fields.is_at_end() {
        None
    } else {
        Some(fields.any(what)?)
    };
    fields.finish(what)?;
    Ok((oid, parameters))
}

/// The object identifier of an `AlgorithmIdentifier` without parameters: NULL, or none.
pub(crate) fn plain_algorithm(sequence: &Tlv<'_>, what: &str) -> Result<ObjectIdentifier, Locked> {
    match algorithm_identifier(sequence, what)? {
        (oid, None) => Ok(oid),
        (oid, Some(null)) if null.tag == Tag::Null && null.content.is_empty() => Ok(oid),
        _ => Err(malformed(&format!(
            "{what} has parameters, which it does not take"
        ))),
    }
}

pub(crate) fn unsupported(oid: ObjectIdentifier) -> Locked {
    let known = LEGACY.iter().find(|(legacy, _)| *legacy == oid);
    Locked::Unsupported {
        algorithm: known.map_or_else(|| dotted(&oid), |(_, name)| (*name).to_owned()),
    }
}

fn cipher_of(oid: ObjectIdentifier) -> Result<(&'static Algorithm, usize), Locked> {
    match oid {
        AES_128_CBC => Ok((&AES_128, 16)),
        AES_192_CBC => Ok((&AES_192, 24)),
        AES_256_CBC => Ok((&AES_256, 32)),
        other => Err(unsupported(other)),
    }
}

fn expect_tag(found: &Tlv<'_>, tag: Tag, what: &str) -> Result<(), Locked> {
    if found.tag == tag {
        Ok(())
    } else {
        Err(malformed(&format!("{what} are not a {tag}")))
    }
}

pub(crate) fn malformed(why: &str) -> Locked {
    Locked::Malformed {
        why: why.to_owned(),
    }
}

/// Ten times the 600,000 that OWASP asks for with SHA-256 and that NSS writes; some seconds of work.
pub(crate) const MAX_ROUNDS: u64 = 6_000_000;

/// As much as a PKCS#12 file may have; DES and RC2 take a tenth of a second for it, with each password anew.
const MAX_CIPHERTEXT: usize = 1024 * 1024;

pub(crate) const SALT_LEN: usize = 16;
/// AES's block.
pub(crate) const IV_LEN: usize = 16;

// RFC 8018 §A and RFC 3565.
const PBKDF2: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.5.12");
const PBES2: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.5.13");
pub(crate) const HMAC_SHA1: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.2.7");
pub(crate) const HMAC_SHA256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.2.9");
pub(crate) const HMAC_SHA384: ObjectIdentifier =
    ObjectIdentifier::new_unwrap("1.2.840.113549.2.10");
pub(crate) const HMAC_SHA512: ObjectIdentifier =
    ObjectIdentifier::new_unwrap("1.2.840.113549.2.11");
const AES_128_CBC: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.1.2");
const AES_192_CBC: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.1.22");
const AES_256_CBC: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.1.42");

const TRIPLE_DES_CBC: ObjectIdentifier = oid("1.2.840.113549.3.7");

/// What older programs wrote: a sentence names it.
const LEGACY: [(ObjectIdentifier, &str); 8] = [
    (oid("1.2.840.113549.1.12.1.1"), "128-bit RC4 under SHA-1"),
    (oid("1.2.840.113549.1.12.1.3"), "triple DES under SHA-1"),
    (
        oid("1.2.840.113549.1.12.1.4"),
        "two-key triple DES under SHA-1",
    ),
    (oid("1.2.840.113549.1.12.1.5"), "128-bit RC2 under SHA-1"),
    (oid("1.2.840.113549.1.12.1.6"), "40-bit RC2 under SHA-1"),
    (oid("1.2.840.113549.1.5.3"), "DES under MD5"),
    (TRIPLE_DES_CBC, "triple DES"),
    (oid("1.3.6.1.4.1.11591.4.11"), "scrypt"),
];

const fn oid(text: &str) -> ObjectIdentifier {
    ObjectIdentifier::new_unwrap(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sealed(iterations: u32) -> Vec<u8> {
        let password = Password::parse("sesame").expect("a password");
        let iterations = NonZeroU32::new(iterations).expect("not 0");
        let (algorithm, ciphertext) = seal(b"secret", &password, &[1; 16], [2; 16], iterations);
        sequence(&[algorithm, tlv(Tag::OctetString, &ciphertext)])
    }

    #[test]
    fn what_was_sealed_opens_under_its_password_and_no_other() {
        let der = sealed(10);
        let open = |password: &str| {
            open_private_key(&der, &Password::parse(password).expect("a password"))
        };
        assert_eq!(open("sesame").expect("opens").as_slice(), b"secret");
        // One padding in 256 is right by chance; then the content is not.
        for other in ["", "Sesame", "sesame "] {
            assert_ne!(
                open(other).ok().as_deref().map(Vec::as_slice),
                Some(&b"secret"[..])
            );
        }
    }

    #[test]
    fn work_that_a_file_may_ask_for_is_bounded() {
        let mut budget = Budget::new();
        assert!(budget.spend(MAX_ROUNDS + 1, 1).is_err());
        assert!(budget.spend(u64::MAX, u64::MAX).is_err());
        assert!(budget.spend(0, 1).is_err());
        assert!(budget.spend(MAX_ROUNDS / 2, 1).is_ok());
        // What one part has cost, another cannot have.
        assert_eq!(
            budget.spend(MAX_ROUNDS / 2 + 1, 1).err(),
            Some(Locked::Iterations {
                asked: MAX_ROUNDS / 2 + 1,
                left: MAX_ROUNDS / 2
            })
        );
        assert!(budget.spend(MAX_ROUNDS / 4, 2).is_ok());
        assert!(budget.spend(1, 1).is_err());
    }

    #[test]
    fn every_cut_is_refused_and_no_flipped_bit_opens_it() {
        let der = sealed(2);
        let password = Password::parse("sesame").expect("a password");
        for len in 0..der.len() {
            assert!(open_private_key(&der[..len], &password).is_err(), "{len}");
        }
        for at in 0..der.len() {
            let mut changed = der.clone();
            changed[at] ^= 1;
            let opened = open_private_key(&changed, &password);
            // The bits of the initialisation vector flip those of the first block: PBES2 alone proves nothing genuine.
            if let Ok(opened) = opened {
                assert_ne!(opened.as_slice(), b"secret", "{at}");
            }
        }
    }
}
