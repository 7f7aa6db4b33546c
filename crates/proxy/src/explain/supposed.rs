//! What a request is supposed to show beside its certificate: judged as what is sent is, but for the signature and the key, which nobody has.

use std::sync::Arc;

use countersign_diagnose::factor::FactorFaults;
use countersign_pki::identity::VerifiedPeer;
use countersign_pki::time::UnixTime;
use countersign_policy::access::Factors;
use countersign_policy::api_key::ApiKeyFault;
use countersign_policy::token::{Json, TokenFault, VerifiedToken};

use super::ListenerPolicy;

/// A token and an API key that nobody sent.
#[derive(Debug)]
pub struct Supposed {
    pub(super) factors: Factors,
    pub(super) faults: FactorFaults,
}

impl Default for Supposed {
    /// Neither.
    fn default() -> Self {
        Self {
            factors: Factors::NONE,
            faults: FactorFaults {
                token: Some(TokenFault::Missing),
                api_key: Some(ApiKeyFault::Missing),
            },
        }
    }
}

impl Supposed {
    /// With a token that says these claims (JSON). `shows_certificate`: the peer's is a real one, so that what the token is bound to can be
    /// compared; otherwise a binding is taken for good.
    #[must_use]
    pub fn with_token(
        mut self,
        listener: ListenerPolicy<'_>,
        claims: &str,
        (peer, shows_certificate): (&VerifiedPeer, bool),
        now: UnixTime,
    ) -> Self {
        match token(listener, claims, (peer, shows_certificate), now) {
            Ok(token) => {
                self.factors.token = Some(Arc::new(token));
                self.faults.token = None;
            }
            Err(fault) => self.faults.token = Some(fault),
        }
        self
    }

    /// With the API key of this name.
    #[must_use]
    pub fn with_api_key(
        mut self,
        listener: ListenerPolicy<'_>,
        name: &str,
        peer: &VerifiedPeer,
        now: UnixTime,
    ) -> Self {
        let keys = &listener.plan.serving.verification.api_keys;
        match keys.dangerous_unverified(name, peer, now) {
            Ok(name) => {
                self.factors.api_key = Some(name.into());
                self.faults.api_key = None;
            }
            Err(fault) => self.faults.api_key = Some(fault),
        }
        self
    }
}

/// By the issuers that the claims name, in their order, as a token that is sent is judged.
fn token(
    listener: ListenerPolicy<'_>,
    claims: &str,
    (peer, shows_certificate): (&VerifiedPeer, bool),
    now: UnixTime,
) -> Result<VerifiedToken, TokenFault> {
    let malformed = |why| TokenFault::Malformed { why };
    let read = Json::parse(claims.as_bytes());
    let read = read.map_err(|_| malformed("its claims are no JSON that can be read in one way"))?;
    let named = read.get("iss").and_then(Json::text);
    let named = named.ok_or(malformed("it names no issuer"))?;
    let mut fault = TokenFault::UnknownIssuer;
    let issuers = listener.plan.serving.verification.issuers.iter();
    for issuer in issuers.filter(|it| it.settings.issuer == named) {
        match issuer.settings.dangerous_unverified(claims) {
            Ok(token) => {
                issuer.settings.check_time(&token, now)?;
                token.check_binding(peer.fingerprint(), |_| !shows_certificate)?;
                return Ok(token);
            }
            Err(refused) => fault = refused,
        }
    }
    Err(fault)
}
