//! What a request shows beside its certificate: tokens and API keys, verified here and asked for by rules.
//!
//! One [`Verification`] belongs to one configuration: what it remembers of tokens is gone with it. What certificates this gateway has
//! verified outlives it ([`SeenCertificates`]).

pub(crate) mod budget;
pub(crate) mod refresh;
pub(crate) mod remembered;
pub(crate) mod seen;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use countersign_diagnose::factor::FactorFaults;
use countersign_pki::chain::Verifier;
use countersign_pki::fingerprint::Fingerprint;
use countersign_pki::identity::VerifiedPeer;
use countersign_pki::time::UnixTime;
use countersign_policy::access::{AccessPolicy, Factor, Factors};
use countersign_policy::api_key::{ApiKeyFault, ApiKeys};
use countersign_policy::token::{KeySet, TokenFault, TokenIssuer, VerifiedToken, named_issuer};
use countersign_probe::url::FetchUrl;
use countersign_tls::enforcement::Enforcement;
use http::header::{AUTHORIZATION, HeaderMap, HeaderName};
use tokio::time::Instant;

use self::budget::Budget;
use self::refresh::Looks;
use self::remembered::Remembered;
use self::seen::SeenCertificates;
use crate::gateway::TokenIssuerStatus;
use crate::headers::sent::SentHeaders;
use crate::headers::stripped;
use crate::metrics::TokenKeysFigures;
use crate::plan::trust_the_same;

/// What a configuration says of tokens and API keys.
#[derive(Default)]
pub(crate) struct Verification {
    pub(crate) issuers: Vec<Arc<Issuer>>,
    pub(crate) api_keys: ApiKeys,
    pub(crate) forwards_api_key: bool,
    remembered: Remembered,
}

/// An issuer with the keys that are known of it.
pub(crate) struct Issuer {
    pub(crate) settings: TokenIssuer,
    /// Whether upstreams get its tokens.
    pub(crate) forwards: bool,
    pub(crate) source: KeySource,
    /// `None`: not known yet.
    pub(crate) keys: ArcSwapOption<HeldKeys>,
}

/// Where an issuer's keys come from.
#[derive(Clone)]
pub(crate) enum KeySource {
    /// A file of the configuration, which is read with it.
    File,
    Url(KeyUrl),
}

#[derive(Clone)]
pub(crate) struct KeyUrl {
    pub(crate) url: FetchUrl,
    pub(crate) written: String,
    pub(crate) https: Option<Arc<Verifier>>,
    pub(crate) refresh: Duration,
    /// How long keys are good that the URL gives no more.
    pub(crate) life: Duration,
    pub(crate) looks: Arc<Looks>,
}

impl KeyUrl {
    /// Whether its server has to prove itself by the same anchors.
    fn is_believed_as(&self, other: &Self) -> bool {
        match (&self.https, &other.https) {
            (None, None) => true,
            (Some(one), Some(other)) => trust_the_same(one, other),
            _ => false,
        }
    }
}

/// Keys, and when they were last found where they are published.
pub(crate) struct HeldKeys {
    pub(crate) set: Arc<KeySet>,
    /// Of the bytes that they were read from, if they are all that stood there.
    digest: Option<Fingerprint>,
    confirmed: UnixTime,
    heard: Instant,
}

/// What a request showed.
#[derive(Default)]
pub(crate) struct Shown {
    pub(crate) factors: Factors,
    pub(crate) faults: FactorFaults,
    pub(crate) proof: Option<Proof>,
}

/// A token of an exchange in flight, so that it can be judged again without a signature for as long as its issuer and its keys are the same.
#[derive(Clone)]
pub(crate) struct Proof {
    issuer: Arc<Issuer>,
    token: Arc<VerifiedToken>,
    keys: Arc<KeySet>,
}

/// Who shows it, and by what that is judged.
pub(crate) struct Holder<'a> {
    pub(crate) peer: Option<&'a VerifiedPeer>,
    pub(crate) enforcement: &'a Enforcement,
    pub(crate) seen: &'a SeenCertificates,
    /// What the same request showed before.
    pub(crate) proof: Option<&'a Proof>,
    pub(crate) budget: &'a Budget,
    pub(crate) now: UnixTime,
}

impl Verification {
    pub(crate) fn new(
        issuers: Vec<Arc<Issuer>>,
        api_keys: ApiKeys,
        forwards_api_key: bool,
    ) -> Self {
        Self {
            issuers,
            api_keys,
            forwards_api_key,
            remembered: Remembered::default(),
        }
    }

    /// What was got from URLs before, for issuers whose keys still come from there in the same way.
    pub(crate) fn go_on_from(&self, before: &Self) {
        for issuer in &self.issuers {
            let KeySource::Url(now) = &issuer.source else {
                continue;
            };
            let same = before.issuers.iter().find(|it| {
                matches!(&it.source, KeySource::Url(then) if then.written == now.written && then.is_believed_as(now))
                    && it.settings.issuer == issuer.settings.issuer
                    && it.settings.name == issuer.settings.name
            });
            if let Some(keys) = same.and_then(|it| it.keys.load_full()) {
                issuer.keys.store(Some(keys));
            }
        }
    }

    /// Of the issuers whose keys come from URLs.
    pub(crate) fn figures(&self, now: UnixTime) -> Vec<TokenKeysFigures> {
        let figures = self.issuers.iter().filter_map(|issuer| {
            let KeySource::Url(source) = &issuer.source else {
                return None;
            };
            let held = issuer.keys.load();
            Some(TokenKeysFigures {
                issuer: issuer.settings.name.clone(),
                age_s: held.as_ref().map(|it| it.age(now).as_secs()),
                failures: source.looks.failures.load(Ordering::Relaxed),
            })
        });
        figures.collect()
    }

    /// Of all issuers.
    pub(crate) fn status(&self, now: UnixTime) -> Vec<TokenIssuerStatus> {
        let status = self.issuers.iter().map(|issuer| {
            let held = issuer.keys.load();
            let held = held.as_ref();
            let source = match &issuer.source {
                KeySource::File => None,
                KeySource::Url(source) => Some(source),
            };
            let fetched = held.filter(|_| source.is_some());
            TokenIssuerStatus {
                name: issuer.settings.name.clone(),
                url: source.map(|it| it.written.clone()),
                keys: held.map_or(0, |it| it.set.len()),
                fetched_unix_s: fetched.map(|it| it.confirmed.seconds()),
                age_s: fetched.map(|it| it.age(now).as_secs()),
                failures: source.map_or(0, |it| it.looks.failures.load(Ordering::Relaxed)),
                usable: issuer.keys_at(now).is_ok(),
            }
        });
        status.collect()
    }

    /// Verifies what rules look at. Whoever shows no certificate shows nothing: neither a token nor a key is an identity.
    pub(crate) fn shown(
        &self,
        looks_at: impl Fn(Factor) -> bool,
        headers: &HeaderMap,
        holder: &Holder<'_>,
    ) -> Shown {
        let mut shown = Shown::default();
        let Some(peer) = holder.peer else {
            return shown;
        };
        if looks_at(Factor::Token) {
            match self.token(headers, peer, holder) {
                Ok(proof) => {
                    shown.factors.token = Some(Arc::clone(&proof.token));
                    shown.proof = Some(proof);
                }
                Err(fault) => shown.faults.token = Some(fault),
            }
        }
        if looks_at(Factor::ApiKey) {
            match self.api_key(headers, peer, holder.now) {
                Ok(name) => shown.factors.api_key = Some(name),
                Err(fault) => shown.faults.api_key = Some(fault),
            }
        }
        shown
    }

    fn token(
        &self,
        headers: &HeaderMap,
        peer: &VerifiedPeer,
        holder: &Holder<'_>,
    ) -> Result<Proof, TokenFault> {
        let proof = match holder.proof.filter(|it| self.stands(it, holder.now)) {
            Some(proof) => proof.clone(),
            None => self.verified(bearer(headers)?, holder)?,
        };
        let Proof { issuer, token, .. } = &proof;
        issuer.settings.check_time(token, holder.now)?;
        token.check_binding(peer.fingerprint(), |bound| {
            let (seen, enforcement) = (holder.seen, holder.enforcement);
            (token.issued()).is_some_and(|from| seen.counts(peer, bound, from, enforcement))
        })?;
        Ok(proof)
    }

    /// Whether the token would be verified now by what it was verified by.
    fn stands(&self, proof: &Proof, now: UnixTime) -> bool {
        self.issuers.iter().any(|it| Arc::ptr_eq(it, &proof.issuer))
            && (proof.issuer.keys_at(now)).is_ok_and(|keys| Arc::ptr_eq(&keys, &proof.keys))
    }

    /// By memory, as long as the issuer's keys are those that it was verified by.
    fn verified(&self, text: &str, holder: &Holder<'_>) -> Result<Proof, TokenFault> {
        let now = holder.now;
        let digest = Fingerprint::of(text.as_bytes());
        if let Some(proof) = (self.remembered.get(&digest)).filter(|it| self.stands(it, now)) {
            return Ok(proof);
        }
        let named = named_issuer(text)?;
        // Several may have one `iss`, for different audiences.
        let mut fault = TokenFault::UnknownIssuer;
        let mut has_cost = false;
        let issuers = self.issuers.iter().enumerate();
        for (number, issuer) in issuers.filter(|(_, it)| it.settings.issuer == named) {
            let digest = (digest, number);
            match self.verified_by(issuer, text, digest, holder, &mut has_cost) {
                Ok(token) => return Ok(token),
                Err(refused) => fault = refused,
            }
        }
        // Not for one that another issuer of the name took.
        if has_cost {
            holder.budget.note_failed(now);
        }
        Err(fault)
    }

    fn verified_by(
        &self,
        issuer: &Arc<Issuer>,
        text: &str,
        digest: (Fingerprint, usize),
        holder: &Holder<'_>,
        has_cost: &mut bool,
    ) -> Result<Proof, TokenFault> {
        let keys = issuer.keys_at(holder.now)?;
        if let Some(fault) = self.remembered.refused(digest, &keys) {
            return Err(fault);
        }
        // What was admitted is judged again at no cost of its own doing.
        if holder.proof.is_none() && holder.budget.is_spent(holder.now) {
            return Err(TokenFault::TooManyRefused);
        }
        match issuer.settings.verify(text, &keys) {
            Ok(token) => {
                let proof = Proof {
                    issuer: Arc::clone(issuer),
                    token: Arc::new(token),
                    keys,
                };
                self.remembered.keep(digest.0, proof.clone());
                Ok(proof)
            }
            Err(fault) => {
                if fault.cost_a_signature() {
                    *has_cost = true;
                    (self.remembered).keep_refused(digest, &keys, fault.clone());
                }
                Err(fault)
            }
        }
    }

    fn api_key(
        &self,
        headers: &HeaderMap,
        peer: &VerifiedPeer,
        now: UnixTime,
    ) -> Result<Arc<str>, ApiKeyFault> {
        let headers = SentHeaders::new(headers);
        let mut sent = headers.spelled(X_API_KEY);
        match (sent.next(), sent.next()) {
            (None, _) => Err(ApiKeyFault::Missing),
            (Some(_), Some(_)) => Err(ApiKeyFault::Several),
            (Some(key), None) => {
                let name = self.api_keys.verify(key.as_bytes(), peer, now)?;
                Ok(name.into())
            }
        }
    }

    /// Takes away what upstreams are not to see. `policy`: that is in force, for one beside it changes nothing. To be called for requests
    /// that were admitted.
    pub(crate) fn strip(&self, policy: &AccessPolicy, shown: &Factors, headers: &mut HeaderMap) {
        if headers.contains_key(AUTHORIZATION) && policy.looks_at_factor(Factor::Token) {
            let is_hidden = match &shown.token {
                Some(token) => self.hides(token.issuer()),
                // Whose it is was not found out; it may be one that is hidden.
                None => may_be_bearer(headers) && self.hides_any(),
            };
            if is_hidden {
                headers.remove(AUTHORIZATION);
            }
        }
        if !self.forwards_api_key && policy.looks_at_factor(Factor::ApiKey) {
            stripped::remove_where(headers, |name| stripped::is_spelling_of(name, &X_API_KEY));
        }
    }

    /// Whether upstreams do not get the tokens of this issuer.
    fn hides(&self, name: &str) -> bool {
        (self.issuers.iter()).any(|it| it.settings.name == name && !it.forwards)
    }

    fn hides_any(&self) -> bool {
        self.issuers.iter().any(|it| !it.forwards)
    }
}

/// Whether some upstream might read a token there, whatever it takes for the space behind the scheme.
fn may_be_bearer(headers: &HeaderMap) -> bool {
    headers.get_all(AUTHORIZATION).iter().any(|value| {
        let (scheme, rest) = value.as_bytes().split_at(value.len().min(BEARER.len()));
        scheme.eq_ignore_ascii_case(BEARER) && !rest.first().is_some_and(u8::is_ascii_alphanumeric)
    })
}

impl HeldKeys {
    pub(crate) fn new(set: Arc<KeySet>, digest: Fingerprint, now: UnixTime) -> Self {
        Self {
            set,
            digest: Some(digest),
            confirmed: now,
            heard: Instant::now(),
        }
    }

    /// Of the bytes that they are all of.
    pub(crate) fn digest(&self) -> Option<Fingerprint> {
        self.digest
    }

    /// By the clock that says more: one that is set back makes nothing young again, and the steady one stands still while a machine sleeps.
    fn age(&self, now: UnixTime) -> Duration {
        now.since(self.confirmed).max(self.heard.elapsed())
    }
}

impl Issuer {
    /// The keys, unless they are older than they may be.
    pub(crate) fn keys_at(&self, now: UnixTime) -> Result<Arc<KeySet>, TokenFault> {
        let unavailable = |why| TokenFault::KeysUnavailable {
            issuer: self.settings.name.clone(),
            why,
        };
        let held = self.keys.load();
        let held = held
            .as_ref()
            .ok_or_else(|| unavailable("they were never got, or none is published"))?;
        match &self.source {
            KeySource::Url(url) if held.age(now) > url.life => {
                Err(unavailable("they are older than jwks_life"))
            }
            _ => Ok(Arc::clone(&held.set)),
        }
    }
}

/// The one token. RFC 9110 §11.6.2: credentials stand there once; of two two servers could take two.
fn bearer(headers: &HeaderMap) -> Result<&str, TokenFault> {
    let sent = SentHeaders::new(headers);
    let mut sent = sent.spelled(AUTHORIZATION);
    let value = match (sent.next(), sent.next()) {
        (None, _) => return Err(TokenFault::Missing),
        (Some(_), Some(_)) => return Err(TokenFault::Several),
        (Some(value), None) => value.as_bytes(),
    };
    let is_bearer = value
        .get(..7)
        .is_some_and(|start| start.eq_ignore_ascii_case(b"bearer "));
    if !is_bearer {
        return Err(TokenFault::Missing);
    }
    let token = value.get(7..).unwrap_or_default();
    std::str::from_utf8(token).map_err(|_| TokenFault::Malformed {
        why: "it is no text",
    })
}

pub(crate) const X_API_KEY: HeaderName = HeaderName::from_static("x-api-key");

const BEARER: &[u8] = b"bearer";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_some_upstream_could_read_as_a_token_may_be_one() {
        let check = |value: &'static str, expected: bool| {
            let mut headers = HeaderMap::new();
            headers.insert(AUTHORIZATION, value.parse().expect("a value"));
            assert_eq!(may_be_bearer(&headers), expected, "{value:?}");
        };
        for value in ["Bearer x", "bearer\tx", "BEARER", "Bearer=x", "Bearer,x"] {
            check(value, true);
        }
        for value in ["Basic x", "Bearers x", "Bear x", "x Bearer"] {
            check(value, false);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn keys_get_older_by_the_clock_that_says_more() {
        let jwk = r#"{"keys":[{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#;
        let set = Arc::new(KeySet::parse(jwk.as_bytes()).expect("a set"));
        let at = UnixTime::from_seconds(1_000_000);
        let held = HeldKeys::new(set, Fingerprint::of(b""), at);
        let hour = Duration::from_hours(1);
        assert_eq!(held.age(at), Duration::ZERO);
        assert_eq!(held.age(at.plus(hour)), hour);
        tokio::time::advance(hour * 2).await;
        assert_eq!(held.age(at.minus(hour)), hour * 2);
        assert_eq!(held.age(at.plus(hour * 3)), hour * 3);
    }
}
