//! The public keys of an issuer (RFC 7517): read whole or refused whole.

use std::sync::Arc;

use aws_lc_rs::signature::{ParsedPublicKey, RsaPublicKeyComponents};

use super::algorithm::Algorithm;
use super::json::Json;
use super::octets;

/// Keys that signatures are verified by.
#[derive(Debug)]
pub struct KeySet {
    /// Never empty.
    keys: Vec<Arc<Key>>,
}

struct Key {
    id: Option<String>,
    material: Material,
    /// Ready to verify, by algorithm.
    verifying: Vec<(Algorithm, ParsedPublicKey)>,
}

/// What a key is, however it is called.
#[derive(PartialEq, Eq)]
enum Material {
    /// A point.
    Ec(Vec<u8>),
    Ed25519(Vec<u8>),
    /// Modulus and exponent.
    Rsa(Vec<u8>, Vec<u8>),
}

/// Which key a token names.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum NoKey {
    /// None has this id, or none fits the algorithm.
    Unknown,
    /// The token names none, and several could be meant.
    Ambiguous,
}

impl KeySet {
    /// A set of JSON Web Keys. A key of a kind that is none of ours, or for encryption, is left out (RFC 7517 §5); a secret, a private key and
    /// one that is too weak make the whole set unfit, since whoever published it has to know.
    pub fn parse(bytes: &[u8]) -> Result<Self, InvalidKeySet> {
        let json = read(bytes)?;
        let written = list(&json)?;
        if written.len() > MAX_KEYS {
            return Err(InvalidKeySet::new(format!(
                "{} keys are more than {MAX_KEYS}",
                written.len()
            )));
        }
        let mut keys: Vec<Arc<Key>> = Vec::new();
        for (index, written) in written.iter().enumerate() {
            let key = Key::read(written)
                .map_err(|why| InvalidKeySet::new(format!("key {}: {why}", index + 1)))?;
            let Some(key) = key else { continue };
            // RFC 7517 §4.5: of different kinds they may be called the same.
            if key.id.is_some() && keys.iter().any(|other| other.is_called_as(&key)) {
                return Err(InvalidKeySet::new(format!(
                    "key {}: another one has the same kid",
                    index + 1
                )));
            }
            keys.push(Arc::new(key));
        }
        if keys.is_empty() {
            return Err(InvalidKeySet::new(
                "it has no key that a signature could be verified by",
            ));
        }
        Ok(Self { keys })
    }

    /// Those of these that are published in `bytes` still, whatever else is wrong there: a set that cannot be taken adds no key, and withdraws those that
    /// it does not have. `None`: none is left. An error: it is no set at all, and says nothing.
    pub fn remaining(&self, bytes: &[u8]) -> Result<Option<Self>, InvalidKeySet> {
        let json = read(bytes)?;
        let published = list(&json)?.iter();
        let published: Vec<Key> = published
            .filter_map(|written| Key::read(written).ok().flatten())
            .collect();
        let stands = |key: &&Arc<Key>| published.iter().any(|it| it.material == key.material);
        let keys: Vec<_> = self.keys.iter().filter(stands).cloned().collect();
        Ok((!keys.is_empty()).then_some(Self { keys }))
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Never.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Verifies by the key that is named, or by the only one that fits where none is. `kid` is compared and nothing else: it is
    /// whatever the sender wrote.
    pub(super) fn verify(
        &self,
        kid: Option<&str>,
        algorithm: Algorithm,
        message: &[u8],
        signature: &[u8],
    ) -> Result<bool, NoKey> {
        let named = |key: &&Arc<Key>| kid.is_none() || key.id.as_deref() == kid;
        let mut fitting = (self.keys.iter().filter(named)).filter_map(|key| key.for_use(algorithm));
        match (fitting.next(), fitting.next()) {
            (None, _) => Err(NoKey::Unknown),
            (Some(_), Some(_)) => Err(NoKey::Ambiguous),
            (Some(key), None) => Ok(key.verify_sig(message, signature).is_ok()),
        }
    }
}

impl Key {
    /// `None`: not for us.
    fn read(json: &Json) -> Result<Option<Self>, String> {
        let member = |name: &str| match json.get(name) {
            None => Ok(None),
            Some(Json::Text(text)) => Ok(Some(text.as_str())),
            Some(_) => Err(format!("its {name} is no text")),
        };
        if !matches!(json, Json::Object(_)) {
            return Err("it is no object".to_owned());
        }
        let kind = member("kty")?;
        if kind == Some("oct") {
            return Err(
                "it is a secret (kty oct): who can verify by it can sign, and here it would be public"
                    .to_owned(),
            );
        }
        if ["d", "p", "q", "dp", "dq", "qi", "oth", "k"]
            .iter()
            .any(|name| json.get(name).is_some())
        {
            return Err("it holds a private key: whoever has this file can sign tokens".to_owned());
        }
        let is_for_signatures = member("use")?.is_none_or(|used| used == "sig");
        let verifies = match json.get("key_ops") {
            None => true,
            Some(Json::List(operations)) => operations.contains(&Json::Text("verify".to_owned())),
            Some(_) => return Err("its key_ops is no list".to_owned()),
        };
        if !is_for_signatures || !verifies {
            return Ok(None);
        }
        let needed = |name: &'static str| {
            member(name)?
                .and_then(octets)
                .ok_or_else(|| format!("its {name} is missing or no base64url"))
        };
        let (able, material) = match (kind, member("crv")?) {
            (Some("EC"), Some(curve @ ("P-256" | "P-384"))) => {
                let (algorithm, length) = match curve {
                    "P-256" => (Algorithm::Es256, 32),
                    _ => (Algorithm::Es384, 48),
                };
                let (x, y) = (needed("x")?, needed("y")?);
                // RFC 7518 §6.2.1.2: the full size, leading zeros included.
                if x.len() != length || y.len() != length {
                    return Err(format!("its x and y have to have {length} bytes each"));
                }
                (vec![algorithm], Material::Ec([&[4][..], &x, &y].concat()))
            }
            (Some("OKP"), Some("Ed25519")) => {
                (vec![Algorithm::EdDsa], Material::Ed25519(needed("x")?))
            }
            (Some("RSA"), _) => {
                let able = Algorithm::ALL
                    .into_iter()
                    .filter(|it| it.of_rsa().is_some());
                (able.collect(), Material::rsa(needed("n")?, needed("e")?)?)
            }
            (Some(_), _) => return Ok(None),
            (None, _) => return Err("it has no kty".to_owned()),
        };
        let algorithms: Vec<Algorithm> = match member("alg")? {
            None => able,
            Some(text) => match text.parse() {
                Ok(algorithm) if able.contains(&algorithm) => vec![algorithm],
                Ok(algorithm) => return Err(format!("its alg {algorithm} is none of its kind")),
                Err(_) if text.starts_with("HS") || text == "none" => {
                    return Err("its alg is no algorithm of a public key".to_owned());
                }
                Err(_) => return Ok(None),
            },
        };
        let id = member("kid")?.map(str::to_owned);
        let verifying = algorithms.into_iter().map(|algorithm| {
            let parsed = material.parsed(algorithm);
            parsed.map(|key| (algorithm, key))
        });
        let verifying = verifying.collect::<Option<Vec<_>>>();
        Ok(Some(Self {
            id,
            verifying: verifying.ok_or("it is no point of its curve, or no key at all")?,
            material,
        }))
    }

    fn for_use(&self, algorithm: Algorithm) -> Option<&ParsedPublicKey> {
        let mut verifying = self.verifying.iter();
        verifying.find_map(|(it, key)| (*it == algorithm).then_some(key))
    }

    fn is_called_as(&self, other: &Self) -> bool {
        self.id == other.id
            && std::mem::discriminant(&self.material) == std::mem::discriminant(&other.material)
    }
}

fn read(bytes: &[u8]) -> Result<Json, InvalidKeySet> {
    if bytes.len() > MAX_BYTES {
        return Err(InvalidKeySet::new("it is larger than 256 KiB"));
    }
    Json::parse(bytes).map_err(|error| InvalidKeySet::new(error.to_string()))
}

fn list(json: &Json) -> Result<&[Json], InvalidKeySet> {
    match json.get("keys") {
        Some(Json::List(written)) => Ok(written),
        _ => Err(InvalidKeySet::new("it has no list \"keys\"")),
    }
}

impl Material {
    fn parsed(&self, algorithm: Algorithm) -> Option<ParsedPublicKey> {
        match self {
            Self::Ec(key) | Self::Ed25519(key) => {
                ParsedPublicKey::new(algorithm.of_raw_key()?, key).ok()
            }
            Self::Rsa(n, e) => {
                let key = RsaPublicKeyComponents { n, e };
                key.to_parsed_public_key(algorithm.of_rsa()?).ok()
            }
        }
    }

    fn rsa(n: Vec<u8>, e: Vec<u8>) -> Result<Self, String> {
        let first = n.first().copied().unwrap_or_default();
        let bits = (n.len() * 8).saturating_sub(first.leading_zeros() as usize);
        if first == 0 {
            return Err("its n begins with zeros".to_owned());
        }
        if !(2048..=8192).contains(&bits) {
            return Err(format!("its modulus has {bits} bits, and not 2048 to 8192"));
        }
        let exponent = (e.len() <= 4 && e.first() != Some(&0)).then(|| {
            e.iter()
                .fold(0_u64, |sum, byte| sum << 8 | u64::from(*byte))
        });
        if !exponent.is_some_and(|e| e >= 65_537 && e % 2 == 1) {
            return Err("its exponent is even, or less than 65537".to_owned());
        }
        Ok(Self::Rsa(n, e))
    }
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Key")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

/// Why a set of keys is not used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no set of keys to verify tokens by: {why}")]
pub struct InvalidKeySet {
    why: String,
}

impl InvalidKeySet {
    fn new(why: impl Into<String>) -> Self {
        Self { why: why.into() }
    }
}

/// Keys of the present, of the day before and of the day after, for signatures and for encryption, with certificates.
const MAX_KEYS: usize = 64;
const MAX_BYTES: usize = 256 * 1024;
