//! Private keys out of files, in whatever usual form they are: what leaves here is PKCS#8 and the public half.

use std::fmt;
use std::path::Path;

use countersign_pki::pbes2;
use countersign_pki::pem::{self, Block};
use countersign_pki::private_key;
use zeroize::Zeroizing;

use crate::certificate_file::{self, Contents, fault};
use crate::fault::Fault;
use crate::password::PasswordSource;

/// A private key of a kind that is known here. Neither printable nor serializable.
pub(crate) struct PrivateKey(private_key::PrivateKey);

impl PrivateKey {
    /// The first private key of a PEM or DER file; `password` is asked for where it is encrypted.
    pub(crate) fn read(path: &Path, password: &PasswordSource) -> Result<Self, Fault> {
        let read = certificate_file::read(path)
            .map_err(|fault| fault.or_hint("`--key FILE` names the private key, in PEM or DER"))?;
        let blocks = match read {
            Contents::Pem(blocks) => blocks,
            Contents::Der(der) => {
                return Self::of_der(&der)
                    .map(Ok)
                    .or_else(|| Some(Self::decrypt(path, &der, password)))
                    .expect("one of the two is there");
            }
        };
        Self::in_blocks(path, blocks, password)?.ok_or_else(|| {
            fault(path, &"the file holds no private key")
                .hint("`countersign inspect FILE` says what it holds")
        })
    }

    /// The first private key among the blocks of a file, if there is one.
    pub(crate) fn in_blocks(
        path: &Path,
        blocks: Vec<Block>,
        password: &PasswordSource,
    ) -> Result<Option<Self>, Fault> {
        for block in blocks {
            let der = Zeroizing::new(block.der);
            match block.label.as_str() {
                "PRIVATE KEY" | "EC PRIVATE KEY" | "RSA PRIVATE KEY" => {
                    let key = Self::of_der(&der).ok_or_else(|| unknown_kind(path))?;
                    return Ok(Some(key));
                }
                "ENCRYPTED PRIVATE KEY" => {
                    return Self::decrypt(path, &der, password).map(Some);
                }
                _ => {}
            }
        }
        Ok(None)
    }

    /// PKCS#8, SEC 1 or PKCS#1.
    pub(crate) fn of_der(der: &[u8]) -> Option<Self> {
        private_key::PrivateKey::of_der(der).map(Self)
    }

    fn decrypt(path: &Path, der: &[u8], password: &PasswordSource) -> Result<Self, Fault> {
        let password = password.get(path)?;
        let pkcs8 =
            pbes2::open_private_key(der, &password).map_err(|error| locked(path, &error))?;
        // CBC proves nothing genuine: what a wrong password makes of it is no key.
        Self::of_der(&pkcs8).ok_or_else(|| locked(path, &pbes2::Locked::WrongPassword))
    }

    /// PKCS#8 in DER.
    pub(crate) fn pkcs8(&self) -> &[u8] {
        self.0.pkcs8()
    }

    /// PKCS#8 in PEM.
    pub(crate) fn to_pem(&self) -> Zeroizing<String> {
        Zeroizing::new(pem::encode("PRIVATE KEY", self.pkcs8()))
    }

    /// `SubjectPublicKeyInfo` in DER.
    pub(crate) fn spki_der(&self) -> &[u8] {
        self.0.spki_der()
    }
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PrivateKey(…)")
    }
}

/// Why an encrypted file stays shut, and what to do.
pub(crate) fn locked(path: &Path, error: &pbes2::Locked) -> Fault {
    let hint = match error {
        pbes2::Locked::Unsupported { .. } => {
            "OpenSSL 3 reads the old schemes and writes today's: `openssl pkcs12 -legacy -in OLD -nodes -out PLAIN`, then `openssl pkcs12 -export -in PLAIN \
             -out NEW`, and PLAIN away; for a key `openssl pkcs8 -in OLD -topk8 -out NEW`"
        }
        pbes2::Locked::Malformed { .. } => {
            "`openssl pkcs12 -in FILE -nodes -out PLAIN`, then `openssl pkcs12 -export -in PLAIN -out NEW` writes it anew, in DER"
        }
        pbes2::Locked::Iterations { .. } => {
            "nobody needs that much: it was made to keep its reader busy"
        }
        _ => "`--in-password-file FILE` names the file with its password, a line",
    };
    fault(path, error).hint(hint)
}

fn unknown_kind(path: &Path) -> Fault {
    fault(path, &"the private key is of no kind that is known here").hint(
        "ECDSA P-256, P-384, P-521, Ed25519, ML-DSA and RSA keys are, in PKCS#8, SEC 1 or PKCS#1",
    )
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::encoding::{AsDer as _, AsRawBytes as _, PublicKeyX509Der};
    use aws_lc_rs::signature::{KeyPair as _, ML_DSA_65_SIGNING, PqdsaKeyPair};

    use super::*;
    use crate::leaf_key::{KeyKind, LeafKey};

    #[test]
    fn keys_of_every_kind_keep_their_public_half() {
        for kind in [
            KeyKind::P256,
            KeyKind::P384,
            KeyKind::Ed25519,
            KeyKind::Rsa2048,
            KeyKind::MlDsa44,
            KeyKind::MlDsa65,
            KeyKind::MlDsa87,
        ] {
            let made = LeafKey::generate(kind).expect("a key");
            let block = pem::decode_all(made.to_pem().as_bytes())
                .expect("PEM")
                .remove(0);
            let key = PrivateKey::of_der(&block.der).expect("a key");
            assert_eq!(key.spki_der(), made.spki_der(), "{kind:?}");
            let again = PrivateKey::of_der(key.pkcs8()).expect("a key");
            assert_eq!(again.spki_der(), key.spki_der(), "{kind:?}");
        }
        assert!(PrivateKey::of_der(b"\x30\x00").is_none());
    }

    /// `PrivateKeyInfo` (RFC 5958) around `private_key`, for ML-DSA-65.
    fn ml_dsa_65(private_key: &[u8]) -> Vec<u8> {
        let identifier = b"\x30\x0b\x06\x09\x60\x86\x48\x01\x65\x03\x04\x03\x12";
        let octets = tlv(0x04, private_key);
        tlv(0x30, &[&[2, 1, 0], &identifier[..], &octets].concat())
    }

    fn tlv(tag: u8, content: &[u8]) -> Vec<u8> {
        let length = content.len();
        let high = u8::try_from(length >> 8).expect("short");
        let low = u8::try_from(length & 0xff).expect("a byte");
        let head = match length {
            0..0x80 => vec![tag, low],
            0x80..0x100 => vec![tag, 0x81, low],
            _ => vec![tag, 0x82, high, low],
        };
        [head, content.to_vec()].concat()
    }

    /// RFC 9881 §6.
    #[test]
    fn ml_dsa_keys_are_read_in_each_of_their_three_forms() {
        let seed: Vec<u8> = (0..32).collect();
        let pair = PqdsaKeyPair::from_seed(&ML_DSA_65_SIGNING, &seed).expect("a key");
        let expanded = pair.private_key().as_raw_bytes().expect("bytes");
        let expanded = tlv(0x04, expanded.as_ref());
        let both = |seed: &[u8]| tlv(0x30, &[tlv(0x04, seed), expanded.clone()].concat());
        let spki: PublicKeyX509Der<'_> = pair.public_key().as_der().expect("DER");

        let short = ml_dsa_65(&tlv(0x80, &seed));
        for (form, kept) in [
            (short.clone(), &short),
            (ml_dsa_65(&both(&seed)), &short),
            (ml_dsa_65(&expanded), &ml_dsa_65(&expanded)),
        ] {
            let key = PrivateKey::of_der(&form).expect("a key");
            assert_eq!(key.spki_der(), spki.as_ref());
            assert_eq!(key.pkcs8(), kept);
        }
        // A seed that is not the expanded key's, one of another length, none at all.
        assert!(PrivateKey::of_der(&ml_dsa_65(&both(&[0; 32]))).is_none());
        assert!(PrivateKey::of_der(&ml_dsa_65(&tlv(0x80, &seed[1..]))).is_none());
        assert!(PrivateKey::of_der(&ml_dsa_65(&expanded[..100])).is_none());
        assert!(PrivateKey::of_der(&ml_dsa_65(&[])).is_none());
    }

    /// RFC 9881, appendix C: whoever writes such files, writes them so.
    #[test]
    fn ml_dsa_keys_of_the_rfc_are_read_and_those_that_contradict_themselves_are_not() {
        macro_rules! example {
            ($name:literal) => {
                include_str!(concat!("../tests/it/rfc9881/", $name))
            };
        }
        let der = |text: &str| pem::decode_all(text.as_bytes()).expect("PEM").remove(0).der;
        for (seed, public) in [
            (example!("ML-DSA-44-seed.priv"), example!("ML-DSA-44.pub")),
            (example!("ML-DSA-65-seed.priv"), example!("ML-DSA-65.pub")),
            (example!("ML-DSA-87-seed.priv"), example!("ML-DSA-87.pub")),
        ] {
            let key = PrivateKey::of_der(&der(seed)).expect("a key");
            assert_eq!(key.spki_der(), der(public));
            // What is written again is the seed, byte for byte.
            assert_eq!(key.pkcs8(), der(seed));
        }
        let both = PrivateKey::of_der(&der(example!("ML-DSA-44-both.priv"))).expect("a key");
        assert_eq!(both.pkcs8(), der(example!("ML-DSA-44-seed.priv")));
        for bad in [
            example!("bad-ML-DSA-44-1.priv"),
            example!("bad-ML-DSA-44-2.priv"),
        ] {
            assert!(PrivateKey::of_der(&der(bad)).is_none());
        }
    }

    #[test]
    fn key_does_not_print_itself() {
        let made = LeafKey::generate(KeyKind::P256).expect("a key");
        let block = pem::decode_all(made.to_pem().as_bytes())
            .expect("PEM")
            .remove(0);
        let key = PrivateKey::of_der(&block.der).expect("a key");
        assert_eq!(format!("{key:?}"), "PrivateKey(…)");
    }
}
