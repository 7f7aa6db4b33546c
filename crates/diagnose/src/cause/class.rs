//! What a refused client is told: enough to know whose turn it is, nothing about how it was judged.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::Cause;

/// The only part of a [`Cause`] that leaves for the refused side; the rest is for the operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Class {
    /// The certificate, its chain or its key.
    Certificate,
    /// A good certificate whose name is not the one wanted.
    Identity,
    /// The request inside an accepted connection, or the name it asks for.
    Request,
    /// TLS or what carries it: versions, framing, plaintext, PROXY headers.
    Protocol,
    /// Nothing that the client presented: the serving side cannot judge or serve it now.
    ///
    /// [`Cause::Healthy`], which refuses nobody, is here because this class says least.
    Availability,
}

impl Class {
    /// Every class.
    pub const ALL: &'static [Self] = &[
        Self::Certificate,
        Self::Identity,
        Self::Request,
        Self::Protocol,
        Self::Availability,
    ];

    /// The stable name, in kebab case.
    pub const fn slug(self) -> &'static str {
        match self {
            Self::Certificate => "certificate",
            Self::Identity => "identity",
            Self::Request => "request",
            Self::Protocol => "protocol",
            Self::Availability => "availability",
        }
    }

    /// What the client may conclude, in one sentence.
    pub const fn meaning(self) -> &'static str {
        match self {
            Self::Certificate => "A certificate, its chain or its key is not acceptable.",
            Self::Identity => "The certificate is good, but its name is not the one wanted.",
            Self::Request => "The connection is good, this request on it is not.",
            Self::Protocol => "The two sides do not agree on how to speak.",
            Self::Availability => {
                "The serving side cannot judge or serve this now; trying later may help."
            }
        }
    }

    /// The causes that a client is told of by this class, in their order.
    pub fn causes(self) -> impl Iterator<Item = Cause> {
        Cause::ALL
            .iter()
            .copied()
            .filter(move |cause| cause.class() == self)
    }
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.slug())
    }
}

#[cfg(test)]
mod tests {
    use serde::de::IntoDeserializer;
    use serde::de::value::{Error as ValueError, StrDeserializer};

    use super::*;

    #[test]
    fn serde_reads_the_slug() {
        for &class in Class::ALL {
            let deserializer: StrDeserializer<'_, ValueError> = class.slug().into_deserializer();
            assert_eq!(Class::deserialize(deserializer), Ok(class));
        }
    }

    #[test]
    fn every_class_has_causes_and_every_cause_a_listed_class() {
        assert!(
            Class::ALL
                .iter()
                .all(|class| class.causes().next().is_some())
        );
        let classed: usize = Class::ALL.iter().map(|class| class.causes().count()).sum();
        assert_eq!(classed, Cause::ALL.len());
    }
}
