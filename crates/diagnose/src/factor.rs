//! Requests turned away for want of a token or an API key, in words.

use countersign_policy::access::Factor;
use countersign_policy::api_key::ApiKeyFault;
use countersign_policy::token::TokenFault;

use crate::cause::Cause;

/// Why what a request shows beside its certificate counts as not given. `None`: it was not asked for, or it is good.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FactorFaults {
    /// The token's.
    pub token: Option<TokenFault>,
    /// The API key's.
    pub api_key: Option<ApiKeyFault>,
}

impl FactorFaults {
    /// The cause, and what is wrong. Never holds a token, a claim or a key.
    pub(crate) fn told(&self, factor: Factor) -> (Cause, String) {
        match factor {
            Factor::Token => match &self.token {
                Some(fault) => (of_token(fault), fault.to_string()),
                None => (
                    Cause::TokenNotAllowed,
                    "the token is good, and not the one that is asked for".to_owned(),
                ),
            },
            Factor::ApiKey => match &self.api_key {
                Some(fault) => (of_api_key(fault), fault.to_string()),
                None => (
                    Cause::ApiKeyNotAllowed,
                    "the API key is good, and not the one that is asked for".to_owned(),
                ),
            },
        }
    }
}

fn of_token(fault: &TokenFault) -> Cause {
    match fault {
        TokenFault::Missing => Cause::TokenMissing,
        TokenFault::Several
        | TokenFault::TooLong { .. }
        | TokenFault::Malformed { .. }
        | TokenFault::UnknownIssuer
        | TokenFault::Algorithm { .. }
        | TokenFault::TooManyRefused
        | TokenFault::UnknownKey { .. }
        | TokenFault::Untimed { .. }
        | TokenFault::Signature { .. } => Cause::TokenInvalid,
        TokenFault::KeysUnavailable { .. } => Cause::TokenKeysUnavailable,
        TokenFault::Expired { .. } => Cause::TokenExpired,
        TokenFault::NotYetValid { .. } | TokenFault::TooLongLived { .. } => {
            Cause::TokenTimesNotAllowed
        }
        TokenFault::Audience { .. } => Cause::TokenWrongAudience,
        TokenFault::Unbound { .. } | TokenFault::BoundToAnother { .. } => {
            Cause::TokenNotBoundToCertificate
        }
    }
}

fn of_api_key(fault: &ApiKeyFault) -> Cause {
    match fault {
        ApiKeyFault::Missing => Cause::ApiKeyMissing,
        ApiKeyFault::Several | ApiKeyFault::Unknown | ApiKeyFault::Expired { .. } => {
            Cause::ApiKeyUnknown
        }
        ApiKeyFault::OfAnother { .. } => Cause::ApiKeyOfAnother,
    }
}
