//! What the configurations of every role share: amounts, where a fault stands, and how keys are explained.

pub mod address;
pub mod amount;
pub mod network;
pub mod reference;

/// Why a configuration cannot be served.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {why}")]
pub struct ConfigError {
    /// Which key, such as `gateway.listener[0].route[1].allow[0]`.
    pub place: String,
    /// In words.
    pub why: String,
    /// What to write instead.
    pub hint: Option<String>,
}

impl ConfigError {
    /// Without a hint.
    pub fn new(place: impl Into<String>, why: impl Into<String>) -> Self {
        Self {
            place: place.into(),
            why: why.into(),
            hint: None,
        }
    }

    /// With what to write instead.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}
