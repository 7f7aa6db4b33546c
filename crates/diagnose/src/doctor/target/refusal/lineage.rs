//! Who stands above the client's certificate, and whether the server names them.

use std::fmt::Write;

use countersign_pki::certificate::Certificate;
use countersign_pki::chain::{ChainFaultKind, Purpose};
use countersign_pki::dn::DistinguishedName;
use countersign_pki::time::UnixTime;

use super::super::CertificateRequest;
use super::super::known::{Known, is_issued_by, is_self_issued, parsed, verdict};
use crate::chain;

/// The client's certificate, and the issuers above it as far as anything at hand leads.
pub(in super::super) struct Lineage {
    /// Leaf first; each is issued by the next.
    pub(super) path: Vec<Certificate>,
    /// How many of them the client sends.
    pub(super) sent: usize,
}

impl Lineage {
    /// `None`: there is no certificate that can be read.
    pub(in super::super) fn of(known: &Known) -> Option<Self> {
        let sent = parsed(&known.client_chain);
        let others = parsed(&known.every_issuer());
        let mut path = vec![sent.first()?.clone()];
        let mut count = 1;
        while let Some(last) = path.last().filter(|last| !is_self_issued(last)).cloned() {
            let in_chain = sent.iter().skip(1).find(|above| is_issued_by(&last, above));
            count += usize::from(in_chain.is_some());
            let above = in_chain.or_else(|| others.iter().find(|above| is_issued_by(&last, above)));
            match above {
                Some(above)
                    if path.len() < MAX_PATH
                        && path.iter().all(|known| known.der() != above.der()) =>
                {
                    path.push(above.clone());
                }
                _ => break,
            }
        }
        Some(Self { path, sent: count })
    }

    pub(in super::super) fn leaf(&self) -> &Certificate {
        &self.path[0]
    }

    /// Whether the list names anybody above the leaf.
    pub(in super::super) fn is_named_by(&self, asked: &CertificateRequest) -> bool {
        self.named_at(asked).is_some()
    }

    /// The first whose issuer the list names.
    pub(super) fn named_at(&self, asked: &CertificateRequest) -> Option<usize> {
        self.path
            .iter()
            .position(|certificate| names(asked, certificate.issuer_der()))
    }

    /// The topmost issuer that is named in the path, whether it is at hand or not.
    pub(super) fn top(&self) -> &Certificate {
        self.path.last().expect("it begins with the leaf")
    }

    /// What a list at hand says of the certificate or an issuer of it, if it is revoked.
    pub(in super::super) fn revocation(&self, known: &Known, now: UnixTime) -> Option<String> {
        if known.crls.is_empty() || self.path.len() < 2 {
            return None;
        }
        let chain: Vec<Vec<u8>> = self.path.iter().map(|one| one.der().to_vec()).collect();
        let anchor = chain.last().cloned().into_iter().collect::<Vec<_>>();
        let judged = verdict(
            &anchor,
            &known.crls,
            &chain[..chain.len() - 1],
            Purpose::ClientAuth,
            &[],
            (now, false),
        );
        let fault = judged?.err()?;
        matches!(fault.kind, ChainFaultKind::Revoked { .. }).then(|| {
            chain::refusal(&fault, Purpose::ClientAuth)
                .sentence()
                .to_owned()
        })
    }

    /// Certificates between the leaf and the one that issues itself.
    pub(super) fn intermediates(&self) -> usize {
        let below_root = usize::from(is_self_issued(self.top()));
        self.path.len().saturating_sub(1 + below_root)
    }
}

pub(super) fn names(asked: &CertificateRequest, name: &[u8]) -> bool {
    asked.ca_names.iter().any(|known| {
        known.0 == name
            || match (
                DistinguishedName::from_der(&known.0),
                DistinguishedName::from_der(name),
            ) {
                (Ok(one), Ok(other)) => one == other,
                _ => false,
            }
    })
}

/// The CAs that a server names, the first of them.
pub(in super::super) fn names_text(asked: &CertificateRequest) -> String {
    if asked.ca_names.is_empty() {
        return "none".to_owned();
    }
    let shown = asked.ca_names.iter().take(MAX_NAMES_TOLD).map(|name| {
        DistinguishedName::from_der(&name.0).map_or_else(
            |_| "a name that cannot be read".to_owned(),
            |name| name.to_string(),
        )
    });
    let mut text = shown.collect::<Vec<_>>().join("; ");
    if asked.ca_names.len() > MAX_NAMES_TOLD {
        let more = asked.ca_names.len() - MAX_NAMES_TOLD;
        let _ = write!(text, "; and {more} more");
    }
    text
}

/// webpki follows 6 intermediates.
const MAX_PATH: usize = 8;
const MAX_NAMES_TOLD: usize = 4;
