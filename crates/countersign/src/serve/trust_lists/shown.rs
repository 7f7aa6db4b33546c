//! What is said of trust bundles and their lists: in `status`, as risks, in the metrics.

use countersign_authority::api::{Risk, rfc3339};
use countersign_pki::crl::AcceptedCrl;
use countersign_pki::identity::BundleName;
use countersign_pki::revocation::RevocationMode;
use countersign_pki::time::{UnixTime, spoken};
use countersign_proxy::metrics::TrustFigures;
use serde::{Deserialize, Serialize};

use super::obtaining::HeldSource;
use super::responders::{self, ResponderView};
use super::{HeldBundle, TrustLists};

/// A trust bundle in `GET /v1/process`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct BundleView {
    pub(crate) name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) trust_domain: Option<String>,
    pub(crate) anchors: usize,
    /// Of the anchor that ends first.
    #[serde(with = "rfc3339")]
    pub(crate) anchor_not_after: UnixTime,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) contact: Option<String>,
    /// `hard`, `grace`, `dangerous_soft`; `None`: it has neither lists of its own nor a responder.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) revocation: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) lists: Vec<ListView>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) ocsp: Option<ResponderView>,
    /// Admissions without a fresh list or answer, since the process began.
    #[serde(default)]
    pub(crate) not_checked: u64,
}

/// A source of lists, and what it has given.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ListView {
    pub(crate) source: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) issuer: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) number: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) revoked: Option<usize>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) this_update: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) next_update: Option<String>,
    /// How old it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) age_s: Option<u64>,
    /// Why the last attempt brought nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) failure: Option<String>,
}

impl TrustLists {
    /// What is known of each bundle.
    pub(crate) fn views(&self) -> Vec<BundleView> {
        let now = self.now();
        let held = self.held();
        let bundles = held.bundles.iter();
        bundles
            .map(|(name, bundle)| BundleView {
                name: name.to_string(),
                trust_domain: bundle
                    .trusted
                    .bundle
                    .trust_domain()
                    .map(ToString::to_string),
                anchors: bundle.trusted.bundle.anchors().len(),
                anchor_not_after: bundle.anchor_end(),
                contact: bundle.trusted.contact.clone(),
                revocation: mode(bundle).map(mode_text),
                ocsp: self.responder_view(name, bundle, held.responders.get(name)),
                lists: bundle
                    .sources
                    .iter()
                    .flat_map(|it| views(it, now))
                    .collect(),
                not_checked: self.shared.enforcement.unchecked(name),
            })
            .collect()
    }

    /// What of the bundles is a risk.
    pub(crate) fn risks(&self) -> Vec<Risk> {
        let now = self.now();
        let held = self.held();
        let mut risks = Vec::new();
        for (name, bundle) in &held.bundles {
            let told = match &bundle.trusted.contact {
                Some(contact) => format!("tell {contact}"),
                None => "tell whoever runs that CA; contact = \"…\" would say who".to_owned(),
            };
            for (what, end) in bundle.ending(now) {
                let sentence = if now < end {
                    format!(
                        "trust bundle {name}: {what} ends at {end}, in {}",
                        spoken(end.since(now))
                    )
                } else {
                    format!(
                        "trust bundle {name}: {what} ended at {end}, {} ago",
                        spoken(now.since(end))
                    )
                };
                risks.push(Risk {
                    sentence,
                    hint: told.clone(),
                });
            }
            for source in &bundle.sources {
                if let Some(failure) = &source.failure {
                    risks.push(Risk {
                        sentence: format!(
                            "trust bundle {name}: no new revocation list from {}: {failure}",
                            source.source
                        ),
                        hint: told.clone(),
                    });
                }
            }
            risks.extend(responders::risk(
                name,
                bundle,
                held.responders.get(name),
                &told,
            ));
            if mode(bundle) == Some(RevocationMode::DangerousSoft) {
                risks.push(Risk {
                    sentence: format!(
                        "trust bundle {name}: while its revocation list or OCSP answer cannot be had, revoked certificates are accepted (revocation-not-checked)"
                    ),
                    hint: "revocation = \"grace\" or \"hard\" refuses them".to_owned(),
                });
            }
            if mode(bundle).is_none() && name.as_str() != BundleName::INTERNAL {
                risks.push(Risk {
                    sentence: format!(
                        "trust bundle {name}: nothing says which of its certificates are revoked"
                    ),
                    hint: format!(
                        "[trust.{name}] crl = [\"FILE\", \"URL\"], or ocsp = {{ url = \"http://…\" }}"
                    ),
                });
            }
        }
        risks
    }

    /// For the metrics.
    pub(crate) fn figures(&self) -> Vec<TrustFigures> {
        let held = self.held();
        let bundles = held.bundles.iter();
        bundles
            .map(|(name, bundle)| {
                let counts = held.counts.get(name).copied().unwrap_or_default();
                let lists = bundle.sources.iter().flat_map(|source| &source.lists);
                TrustFigures {
                    bundle: name.to_string(),
                    anchor_not_after_unix_s: bundle.anchor_end().seconds(),
                    crl_next_update_unix_s: lists.map(|it| it.next_update().seconds()).min(),
                    lists_replaced: counts.replaced,
                    list_failures: counts.failures,
                    not_checked: self.shared.enforcement.unchecked(name),
                    changes: counts.changes,
                    ocsp: (bundle.trusted.ocsp.as_ref())
                        .map(|_| self.shared.enforcement.ocsp(name)),
                }
            })
            .collect()
    }
}

fn views(source: &HeldSource, now: UnixTime) -> Vec<ListView> {
    let view = |list: Option<&AcceptedCrl>| ListView {
        source: source.source.to_string(),
        issuer: list.map(|it| it.issuer().to_owned()),
        number: list.map(AcceptedCrl::number),
        revoked: list.map(AcceptedCrl::len),
        this_update: list.map(|it| it.this_update().to_string()),
        next_update: list.map(|it| it.next_update().to_string()),
        age_s: list.map(|it| now.since(it.this_update()).as_secs()),
        failure: source.failure.clone(),
    };
    if source.lists.is_empty() {
        return vec![view(None)];
    }
    source.lists.iter().map(|list| view(Some(list))).collect()
}

/// What is done without a fresh list or answer; `None`: the bundle has neither.
fn mode(bundle: &HeldBundle) -> Option<RevocationMode> {
    let lists = bundle.trusted.revocation.as_ref().map(|plan| plan.mode);
    lists.or(bundle.trusted.ocsp.as_ref().map(|ocsp| ocsp.mode))
}

fn mode_text(mode: RevocationMode) -> String {
    match mode {
        RevocationMode::DangerousSoft => "dangerous_soft".to_owned(),
        RevocationMode::Grace(grace) => format!("grace of {}", spoken(grace)),
        RevocationMode::Hard => "hard".to_owned(),
    }
}
