//! Tokens (JWT, RFC 7519) that a client sends beside its certificate: whether their issuer signed them, for us, for now, and for this
//! certificate (RFC 8705 §3).
//!
//! A token never is an identity. What comes out is a [`VerifiedToken`], whose claims rules may ask for; only
//! [`TokenIssuer::verify`] makes one. RFC 8725 names what goes wrong elsewhere, and the checks here cite it.

mod algorithm;
mod json;
mod keys;

use std::fmt;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use countersign_pki::fingerprint::Fingerprint;
use countersign_pki::time::UnixTime;

pub use self::algorithm::{Algorithm, UnknownAlgorithm};
pub use self::json::{InvalidJson, Json};
use self::keys::NoKey;
pub use self::keys::{InvalidKeySet, KeySet};

/// Whose tokens are accepted, and which.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenIssuer {
    /// How rules and refusals call it.
    pub name: String,
    /// What `iss` has to say, byte by byte.
    pub issuer: String,
    /// Any of these has to be in `aud`; never empty.
    pub audience: Vec<String>,
    /// Signatures by any of these; never empty.
    pub algorithms: Vec<Algorithm>,
    /// By how much its clock and ours may differ.
    pub clock_skew: Duration,
    /// How far off the end of a token may be, from now and from its `iat`.
    pub max_lifetime: Duration,
    /// Whether a token has to be bound to a certificate.
    pub require_binding: bool,
}

/// A token that its issuer signed.
pub struct VerifiedToken {
    issuer: String,
    claims: Json,
    expires: UnixTime,
    issued: Option<UnixTime>,
    not_before: Option<UnixTime>,
    clock_skew: Duration,
    binding: Option<Fingerprint>,
}

/// Why a token counts as not given. Says nothing that was read in it: what it holds is its holder's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenFault {
    /// No `Authorization: Bearer`.
    #[error("the request has no bearer token")]
    Missing,
    /// Several `Authorization` headers: two servers could take two.
    #[error("the request has more than one Authorization header")]
    Several,
    /// More bytes than any token that is accepted.
    #[error("the token is longer than {limit} bytes")]
    TooLong {
        /// So many.
        limit: usize,
    },
    /// No JWS in compact form, or one that says something that has to be understood and is not.
    #[error("the token cannot be read: {why}")]
    Malformed {
        /// What is wrong with it.
        why: &'static str,
    },
    /// The issuer signed it, and left out when it ends, or says a time that is none.
    #[error("the token of {issuer} cannot be judged: {why}")]
    Untimed {
        /// How the issuer is called.
        issuer: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// `iss` is nobody whose tokens are accepted.
    #[error("the token is of an issuer that is not configured")]
    UnknownIssuer,
    /// Signed by an algorithm that is not accepted of this issuer.
    #[error("the token is signed by an algorithm that is not accepted of {issuer}")]
    Algorithm {
        /// How the issuer is called.
        issuer: String,
    },
    /// No key of the issuer's is the one that it names.
    #[error("the token is signed by a key that is not among those of {issuer}")]
    UnknownKey {
        /// How the issuer is called.
        issuer: String,
    },
    /// The signature is not the key's.
    #[error("the token's signature is not that of {issuer}")]
    Signature {
        /// How the issuer is called.
        issuer: String,
    },
    /// Not verified, because too many were that were sent beside it.
    #[error(
        "too many tokens of this connection were refused within a minute, and this one was not verified"
    )]
    TooManyRefused,
    /// The issuer's keys cannot be had, or are older than they may be.
    #[error("the keys of {issuer} are not at hand: {why}")]
    KeysUnavailable {
        /// How the issuer is called.
        issuer: String,
        /// Why not.
        why: &'static str,
    },
    /// Past its end.
    #[error("the token of {issuer} expired at {expired} (now {now})")]
    Expired {
        /// How the issuer is called.
        issuer: String,
        /// When.
        expired: UnixTime,
        /// Now.
        now: UnixTime,
    },
    /// Not begun, or signed in the future.
    #[error("the token of {issuer} is good from {from} on (now {now})")]
    NotYetValid {
        /// How the issuer is called.
        issuer: String,
        /// From when.
        from: UnixTime,
        /// Now.
        now: UnixTime,
    },
    /// Good for longer than may be.
    #[error("the token of {issuer} is good for longer than {limit} s")]
    TooLongLived {
        /// How the issuer is called.
        issuer: String,
        /// So long.
        limit: u64,
    },
    /// For somebody else.
    #[error("the token of {issuer} is for another audience")]
    Audience {
        /// How the issuer is called.
        issuer: String,
    },
    /// Bound to no certificate, or in a way that is not known here.
    #[error("the token of {issuer} is bound to no certificate (cnf.x5t#S256)")]
    Unbound {
        /// How the issuer is called.
        issuer: String,
    },
    /// Bound to a certificate that is not the client's.
    #[error("the token of {issuer} is bound to another certificate (SHA-256 {bound})")]
    BoundToAnother {
        /// How the issuer is called.
        issuer: String,
        /// To which.
        bound: Fingerprint,
    },
}

impl TokenFault {
    /// Whether a signature was verified before this was known.
    pub fn cost_a_signature(&self) -> bool {
        matches!(
            self,
            Self::Signature { .. }
                | Self::Audience { .. }
                | Self::TooLongLived { .. }
                | Self::Untimed { .. }
                | Self::Unbound { .. }
        )
    }
}

/// A token that was taken apart: nothing of it is believed.
struct Parts<'a> {
    signed: &'a str,
    algorithm: &'a str,
    kid: Option<&'a str>,
    signature: Vec<u8>,
}

/// The issuer that a token names, not believed: it says by whose keys the token is to be verified.
pub fn named_issuer(token: &str) -> Result<String, TokenFault> {
    let (_, claims, _) = split(token)?;
    let claims = object(claims)?;
    let issuer = claims.get("iss").and_then(Json::text);
    (issuer.map(str::to_owned)).ok_or(malformed("it names no issuer"))
}

impl TokenIssuer {
    /// Believes nothing before the signature is verified. Whether the token is good at `now` and for whom is asked again at each use:
    /// [`VerifiedToken::check_time`], [`VerifiedToken::check_binding`].
    pub fn verify(&self, token: &str, keys: &KeySet) -> Result<VerifiedToken, TokenFault> {
        let (head, claims, signature) = split(token)?;
        let header = object(head)?;
        let parts = Parts::read(&header, signed(token), signature)?;
        let issuer = || self.name.clone();
        // RFC 8725 §3.1: the header says which of ours it is, and adds none.
        let algorithm = parts.algorithm.parse().ok();
        let algorithm: Algorithm = algorithm
            .filter(|algorithm| self.algorithms.contains(algorithm))
            .ok_or_else(|| TokenFault::Algorithm { issuer: issuer() })?;
        let message = parts.signed.as_bytes();
        match keys.verify(parts.kid, algorithm, message, &parts.signature) {
            Ok(true) => {}
            Ok(false) => return Err(TokenFault::Signature { issuer: issuer() }),
            Err(NoKey::Unknown) => return Err(TokenFault::UnknownKey { issuer: issuer() }),
            Err(NoKey::Ambiguous) => {
                return Err(malformed("it names no key (kid), and several fit"));
            }
        }
        self.read(object(claims)?)
    }

    /// A token that says this, as if the issuer had signed it: for whoever asks what rules would say, and for nobody who asks to be let in.
    pub fn dangerous_unverified(&self, claims: &str) -> Result<VerifiedToken, TokenFault> {
        match Json::parse(claims.as_bytes()) {
            Ok(object @ Json::Object(_)) => self.read(object),
            _ => Err(malformed(
                "its claims are no object of JSON that can be read in one way",
            )),
        }
    }

    /// What the issuer signed.
    fn read(&self, claims: Json) -> Result<VerifiedToken, TokenFault> {
        let issuer = || self.name.clone();
        // RFC 8725 §3.8.
        if claims.get("iss").and_then(Json::text) != Some(&self.issuer) {
            return Err(TokenFault::UnknownIssuer);
        }
        // RFC 8725 §3.9.
        let is_ours = |text: &str| self.audience.iter().any(|ours| ours == text);
        let is_for_us = match claims.get("aud") {
            Some(Json::Text(text)) => is_ours(text),
            Some(Json::List(list)) => list.iter().filter_map(Json::text).any(is_ours),
            _ => false,
        };
        if !is_for_us {
            return Err(TokenFault::Audience { issuer: issuer() });
        }
        let untimed = |why| TokenFault::Untimed {
            issuer: issuer(),
            why,
        };
        let time = |name: &str| match claims.get(name) {
            None => Ok(None),
            Some(value) => date(value)
                .map(Some)
                .ok_or_else(|| untimed("one of its times is no time")),
        };
        let expires = time("exp")?.ok_or_else(|| untimed("it has no end (exp)"))?;
        let issued_at = time("iat")?;
        if issued_at.is_some_and(|at| expires.since(at) > self.max_lifetime) {
            return Err(TokenFault::TooLongLived {
                issuer: issuer(),
                limit: self.max_lifetime.as_secs(),
            });
        }
        let not_before = time("nbf")?.max(issued_at);
        let binding = self.binding(claims.get("cnf"))?;
        Ok(VerifiedToken {
            issuer: issuer(),
            expires,
            issued: issued_at,
            not_before,
            clock_skew: self.clock_skew,
            binding,
            claims,
        })
    }

    /// RFC 8705 §3.1. A binding that is not known here binds too (RFC 7800 §3.1), to what nobody here can show.
    fn binding(&self, cnf: Option<&Json>) -> Result<Option<Fingerprint>, TokenFault> {
        let unbound = || TokenFault::Unbound {
            issuer: self.name.clone(),
        };
        let Some(cnf) = cnf else {
            return if self.require_binding {
                Err(unbound())
            } else {
                Ok(None)
            };
        };
        let thumbprint = cnf.get("x5t#S256").and_then(Json::text).and_then(octets);
        let digest: Option<[u8; 32]> = thumbprint.and_then(|it| it.try_into().ok());
        let digest = digest.ok_or_else(unbound)?;
        // Two bindings are a conjunction that is understood by half.
        match cnf {
            Json::Object(members) if members.len() == 1 => {
                Ok(Some(Fingerprint::from_bytes(digest)))
            }
            _ => Err(unbound()),
        }
    }

    /// [`VerifiedToken::check_time`] with what only the configuration says.
    pub fn check_time(&self, token: &VerifiedToken, now: UnixTime) -> Result<(), TokenFault> {
        token.check_time(now)?;
        let latest = now.plus(self.max_lifetime).plus(self.clock_skew);
        if token.expires > latest {
            return Err(TokenFault::TooLongLived {
                issuer: self.name.clone(),
                limit: self.max_lifetime.as_secs(),
            });
        }
        Ok(())
    }
}

impl VerifiedToken {
    /// How rules call its issuer.
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// What it says: top level by name, deeper by an RFC 6901 pointer.
    pub fn claim(&self, name: &str) -> Option<&Json> {
        if name.starts_with('/') {
            self.claims.pointed(name)
        } else {
            self.claims.get(name)
        }
    }

    /// Its end.
    pub fn expires(&self) -> UnixTime {
        self.expires
    }

    /// When it was signed, where it says so (`iat`).
    pub fn issued(&self) -> Option<UnixTime> {
        self.issued
    }

    /// About how many bytes of memory it takes, whatever it says.
    pub fn held_bytes(&self) -> usize {
        size_of::<Self>() + self.issuer.capacity() + self.claims.held_bytes()
    }

    /// The certificate that it is bound to.
    pub fn binding(&self) -> Option<Fingerprint> {
        self.binding
    }

    /// Whether it is good now (RFC 7519 §4.1.4, §4.1.5).
    pub fn check_time(&self, now: UnixTime) -> Result<(), TokenFault> {
        if now >= self.expires.plus(self.clock_skew) {
            return Err(TokenFault::Expired {
                issuer: self.issuer.clone(),
                expired: self.expires,
                now,
            });
        }
        match self.not_before {
            Some(from) if now.plus(self.clock_skew) < from => Err(TokenFault::NotYetValid {
                issuer: self.issuer.clone(),
                from,
                now,
            }),
            _ => Ok(()),
        }
    }

    /// Whether it is this certificate's, or that of one of which `counts` says that it still stands for it.
    pub fn check_binding(
        &self,
        certificate: Fingerprint,
        counts: impl FnOnce(Fingerprint) -> bool,
    ) -> Result<(), TokenFault> {
        match self.binding {
            Some(bound) if bound != certificate && !counts(bound) => {
                Err(TokenFault::BoundToAnother {
                    issuer: self.issuer.clone(),
                    bound,
                })
            }
            _ => Ok(()),
        }
    }
}

impl fmt::Debug for VerifiedToken {
    /// Without its claims, which are its holder's.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VerifiedToken")
            .field("issuer", &self.issuer)
            .field("expires", &self.expires)
            .field("binding", &self.binding)
            .finish_non_exhaustive()
    }
}

impl<'a> Parts<'a> {
    /// What a header points to or brings with it (`jku`, `jwk`, `x5u`, `x5c`) is not looked at: RFC 8725 §3.10.
    fn read(header: &'a Json, signed: &'a str, signature: &str) -> Result<Self, TokenFault> {
        let text = |name: &str| match header.get(name) {
            None => Ok(None),
            Some(Json::Text(text)) => Ok(Some(text.as_str())),
            Some(_) => Err(malformed("its header is not as it should be")),
        };
        // RFC 7515 §4.1.11: nothing that it could demand is understood here. RFC 7797 §6: `b64` stands in `crit`, or is a mistake.
        if header.get("crit").is_some() || header.get("b64").is_some() {
            return Err(malformed("its header demands an extension (crit, b64)"));
        }
        // RFC 8725 §3.11: a log-out token or a DPoP proof is signed by the same keys and is no access token.
        if let Some(kind) = text("typ")? {
            let kind = kind.to_ascii_lowercase();
            let kind = kind.strip_prefix("application/").unwrap_or(&kind);
            if !matches!(kind, "jwt" | "at+jwt") {
                return Err(malformed("its typ is neither JWT nor at+jwt"));
            }
        }
        Ok(Self {
            signed,
            algorithm: text("alg")?.ok_or(malformed("its header names no algorithm"))?,
            kid: text("kid")?,
            signature: octets(signature).ok_or(malformed("its signature is no base64url"))?,
        })
    }
}

/// Header, claims and signature, as they stand there (RFC 7515 §7.1).
fn split(token: &str) -> Result<(&str, &str, &str), TokenFault> {
    if token.len() > MAX_TOKEN_BYTES {
        return Err(TokenFault::TooLong {
            limit: MAX_TOKEN_BYTES,
        });
    }
    let mut parts = token.split('.');
    match (parts.next(), parts.next(), parts.next(), parts.next()) {
        (Some(header), Some(claims), Some(signature), None) => Ok((header, claims, signature)),
        _ => Err(malformed("it has not three parts")),
    }
}

fn signed(token: &str) -> &str {
    token.rsplit_once('.').map_or("", |(signed, _)| signed)
}

fn object(part: &str) -> Result<Json, TokenFault> {
    let bytes = octets(part).ok_or(malformed("a part of it is no base64url"))?;
    match Json::parse(&bytes) {
        Ok(object @ Json::Object(_)) => Ok(object),
        _ => Err(malformed(
            "a part of it is no object of JSON that can be read in one way",
        )),
    }
}

/// RFC 7515 §2: base64url without padding. One text for each octets: bits left over have to be zero.
pub(super) fn octets(text: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(text).ok()
}

/// RFC 7519 §2, `NumericDate`.
fn date(value: &Json) -> Option<UnixTime> {
    let seconds = match value {
        Json::Integer(seconds) => u64::try_from(*seconds).ok()?,
        Json::Fraction(seconds) if (0.0..=MAX_DATE).contains(seconds) => {
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "bounded just above"
            )]
            let seconds = seconds.trunc() as u64;
            seconds
        }
        _ => return None,
    };
    (seconds <= UnixTime::MAX.seconds()).then(|| UnixTime::from_seconds(seconds))
}

fn malformed(why: &'static str) -> TokenFault {
    TokenFault::Malformed { why }
}

/// nginx takes 8 KiB of a header by default, and so do most upstreams.
pub const MAX_TOKEN_BYTES: usize = 8 * 1024;

/// The end of the year 9999.
const MAX_DATE: f64 = 253_402_300_799.0;
