//! Where the certificates of a profile say to look, if not where the authority publishes.

use countersign_pki::name::Uri;
use countersign_pki::tbs::StatusSources;

/// What a profile says of each; `None`: where the authority publishes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SourceRules {
    /// cRLDistributionPoints. The complete CRL has to be there: a shard names its own URL.
    pub crl: Option<Source>,
    /// authorityInfoAccess, id-ad-ocsp.
    pub ocsp: Option<Source>,
    /// authorityInfoAccess, id-ad-caIssuers.
    pub ca_issuers: Option<Source>,
}

/// One of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// There.
    At(Uri),
    /// The certificate does not say.
    Nowhere,
}

impl Source {
    /// `http://…`: over TLS, who has to ask for a revocation before it can trust a server could not ask (RFC 5280 §8).
    pub fn parse(text: &str) -> Option<Self> {
        let rest = text.strip_prefix("http://")?;
        let is_long = text.len() > MAX_BYTES;
        if is_long || rest.is_empty() || rest.starts_with('/') || rest.contains(['#', '@']) {
            return None;
        }
        Uri::parse(text).ok().map(Self::At)
    }

    fn chosen(rule: Option<&Self>, published: Option<Uri>) -> Option<Uri> {
        match rule {
            None => published,
            Some(Self::At(uri)) => Some(uri.clone()),
            Some(Self::Nowhere) => None,
        }
    }
}

impl SourceRules {
    /// What a certificate says, where the authority publishes at `published`.
    pub(crate) fn chosen(&self, published: StatusSources) -> StatusSources {
        StatusSources {
            crl: Source::chosen(self.crl.as_ref(), published.crl),
            ocsp: Source::chosen(self.ocsp.as_ref(), published.ocsp),
            ca_issuers: Source::chosen(self.ca_issuers.as_ref(), published.ca_issuers),
        }
    }
}

/// As for what the authority publishes: every certificate carries them.
const MAX_BYTES: usize = 200;
