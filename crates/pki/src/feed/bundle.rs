//! A trust bundle as the feed tells it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

use crate::bundle::{InvalidBundle, TrustBundle};
use crate::certificate::{Certificate, MalformedCertificate};
use crate::identity::BundleName;
use crate::spiffe::TrustDomain;
use crate::time::UnixTime;

/// The anchors of a bundle, whole: what is not here is not trusted any more.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bundle {
    /// Which bundle.
    pub name: BundleName,
    /// The trust domain whose SPIFFE IDs it vouches for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trust_domain: Option<TrustDomain>,
    /// Its anchors.
    pub anchors: Vec<Der>,
    /// Issuers below them: they tell a chain that was sent without one from a stranger's.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub intermediates: Vec<Der>,
}

/// A certificate; base64 (RFC 4648 §4) on the wire.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Der(Vec<u8>);

impl Der {
    /// The bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl Bundle {
    /// Of certificates at hand.
    pub fn new(
        name: BundleName,
        trust_domain: Option<TrustDomain>,
        anchors: &[Certificate],
        intermediates: &[Certificate],
    ) -> Self {
        let ders = |certificates: &[Certificate]| {
            let der = |certificate: &Certificate| Der(certificate.der().to_vec());
            certificates.iter().map(der).collect()
        };
        Self {
            name,
            trust_domain,
            anchors: ders(anchors),
            intermediates: ders(intermediates),
        }
    }

    /// What peers are verified against, and the issuers below it.
    pub fn trust(&self, now: UnixTime) -> Result<(TrustBundle, Vec<Certificate>), UnusableBundle> {
        let certificates = |ders: &[Der]| {
            if ders.len() > MAX_CERTIFICATES {
                return Err(UnusableBundle::TooMany { found: ders.len() });
            }
            ders.iter()
                .map(|der| Ok(Certificate::parse(&der.0)?))
                .collect::<Result<Vec<_>, UnusableBundle>>()
        };
        let (anchors, intermediates) = (
            certificates(&self.anchors)?,
            certificates(&self.intermediates)?,
        );
        let bundle = TrustBundle::new(self.name.clone(), self.trust_domain.clone(), anchors, now)?;
        Ok((bundle, intermediates))
    }
}

impl TryFrom<String> for Der {
    type Error = InvalidDer;

    fn try_from(text: String) -> Result<Self, InvalidDer> {
        // What a verifier would refuse of a peer is no anchor either.
        if text.len() > MAX_BASE64_BYTES {
            return Err(InvalidDer);
        }
        STANDARD.decode(text).map(Self).map_err(|_| InvalidDer)
    }
}

impl From<Der> for String {
    fn from(der: Der) -> Self {
        STANDARD.encode(der.0)
    }
}

/// The text is no certificate in base64.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a certificate of a bundle is not base64, or over 16 KiB")]
pub struct InvalidDer;

/// Why nobody can be verified against a bundle.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UnusableBundle {
    /// Its anchors are none.
    #[error(transparent)]
    Invalid(#[from] InvalidBundle),
    /// A certificate cannot be read.
    #[error(transparent)]
    Malformed(#[from] MalformedCertificate),
    /// Over the limit.
    #[error("a bundle holds {found} certificates, {MAX_CERTIFICATES} are possible")]
    TooMany {
        /// How many.
        found: usize,
    },
}

/// A rotation has two of each; a corporate PKI some dozens.
const MAX_CERTIFICATES: usize = 256;
/// 16 KiB of DER, as of any certificate of a chain.
const MAX_BASE64_BYTES: usize = 16 * 1024 * 4 / 3 + 4;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn certificates_are_base64_and_bounded() {
        let der = Der(vec![0x30, 0x03, 0x02, 0x01, 0xff]);
        let text = String::from(der.clone());
        assert_eq!(Der::try_from(text), Ok(der));
        for bad in ["*".to_owned(), "A".repeat(MAX_BASE64_BYTES + 1)] {
            assert_eq!(Der::try_from(bad), Err(InvalidDer));
        }
    }

    #[test]
    fn bundle_of_nothing_or_of_garbage_is_no_trust() {
        let bundle = |anchors| Bundle {
            name: BundleName::internal(),
            trust_domain: None,
            anchors,
            intermediates: Vec::new(),
        };
        let now = UnixTime::from_seconds(1);
        let why = |bundle: Bundle| bundle.trust(now).expect_err("no trust").to_string();
        assert_eq!(
            why(bundle(Vec::new())),
            "trust bundle internal holds no certificate"
        );
        assert!(matches!(
            bundle(vec![Der(vec![0])]).trust(now),
            Err(UnusableBundle::Malformed(_))
        ));
        assert!(matches!(
            bundle(vec![Der(vec![0]); MAX_CERTIFICATES + 1]).trust(now),
            Err(UnusableBundle::TooMany { .. })
        ));
    }
}
