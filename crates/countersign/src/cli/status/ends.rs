//! What ends when: issuers, the root's CRL, the gateway's certificate, the leaf that is next.

use countersign_authority::api::{
    self, CertificateStatus, CertificateView, ListQuery, ListResponse, Risk, StatusResponse,
    rfc3339,
};
use countersign_authority::state::StateFolder;
use countersign_pki::time::{UnixTime, spoken};
use serde::Serialize;

use super::GatewayView;
use crate::backend::Backend;
use crate::certificate_file::certificate_in;
use crate::cli::certificate_view::Listed;
use crate::fault::Fault;

/// Something that has an end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct End {
    /// `root`, `intermediate`, `operator`, `root crl`, `gateway certificate`, `certificate for upstream …`.
    what: String,
    #[serde(with = "rfc3339")]
    at: UnixTime,
    #[serde(skip)]
    warn_days: u64,
    #[serde(skip)]
    hint: &'static str,
}

impl End {
    fn new(what: impl Into<String>, at: UnixTime, warn_days: u64, hint: &'static str) -> Self {
        Self {
            what: what.into(),
            at,
            warn_days,
            hint,
        }
    }

    /// Whether it has come.
    pub(super) fn is_over(&self, now: UnixTime) -> bool {
        now > self.at
    }

    /// For people.
    pub(super) fn text(&self, now: UnixTime) -> String {
        if self.is_over(now) {
            format!(
                "{} at {}, {} ago",
                self.what,
                self.at,
                spoken(now.since(self.at))
            )
        } else {
            format!(
                "{} at {}, in {}",
                self.what,
                self.at,
                spoken(self.at.since(now))
            )
        }
    }

    /// The risk that it is over or near.
    pub(super) fn risk(&self, now: UnixTime) -> Option<Risk> {
        let near = self.at.since(now).as_secs() < self.warn_days * DAY_S;
        near.then(|| Risk {
            sentence: format!("end of {}", self.text(now)),
            hint: self.hint.to_owned(),
        })
    }
}

/// Everything but the leaves.
pub(super) fn ends(
    authority: Option<&StatusResponse>,
    gateway: Option<&GatewayView>,
    state: Option<&StateFolder>,
) -> Vec<End> {
    let issuer = "plan the successor: nothing that it issued outlives it";
    let crl = "`countersign ca crl --root` signs the next one, with --root-key FILE where the key is elsewhere";
    let mut ends = Vec::new();
    if let Some(authority) = authority {
        let issuers = authority.issuers.iter();
        ends.extend(issuers.map(|it| End::new(&it.role, it.not_after, ISSUER_WARN_DAYS, issuer)));
        let next_update = authority.root_crl_next_update;
        let warn_days = (authority.root_crl_warn_before_s).map_or(CRL_WARN_DAYS, |it| it / DAY_S);
        ends.extend(next_update.map(|at| End::new("root crl", at, warn_days, crl)));
    }
    let renewed =
        "a serving gateway renews it at half of its life: look for `not renewed` in its log";
    let served = gateway.iter().flat_map(|gateway| &gateway.listeners);
    let mut served: Vec<End> = served
        .map(|listener| {
            let at = UnixTime::from_seconds(listener.certificate_not_after_unix_s);
            End::new(
                format!("gateway certificate ({})", listener.name),
                at,
                1,
                renewed,
            )
        })
        .collect();
    if let (true, Some(Ok(certificate))) = (
        served.is_empty(),
        state.map(|state| certificate_in(&state.gateway_certificate())),
    ) {
        served.push(End::new(
            "gateway certificate",
            certificate.not_after(),
            1,
            "`countersign up` reissues it",
        ));
    }
    ends.extend(served);
    let shown = gateway.iter().flat_map(|it| &it.upstream_certificates);
    ends.extend(shown.map(|it| {
        let what = format!("certificate for upstream {} ({})", it.upstream, it.listener);
        let at = UnixTime::from_seconds(it.not_after_unix_s);
        End::new(what, at, UPSTREAM_WARN_DAYS, REPLACE)
    }));
    ends
}

/// The live leaf that ends first. Found by halving the time that is looked at, so that an inventory of millions costs no
/// more than one of ten.
pub(super) async fn soonest(backend: &Backend) -> Result<Option<Listed>, Fault> {
    let first_within = async |within_s| -> Result<Option<CertificateView>, Fault> {
        let query = ListQuery {
            status: Some(CertificateStatus::Live),
            expiring_within_s: Some(within_s),
            limit: Some(1),
            ..ListQuery::default()
        };
        let page: ListResponse = backend.client.get(&api::list_path(&query)).await?;
        Ok(page.certificates.into_iter().next())
    };
    let mut found = first_within(LONGEST_LEAF_S).await?;
    let (mut nothing_within, mut something_within) = (0, LONGEST_LEAF_S);
    while found.is_some() && something_within - nothing_within > 1 {
        let middle = u64::midpoint(nothing_within, something_within);
        match first_within(middle).await? {
            Some(view) => (found, something_within) = (Some(view), middle),
            None => nothing_within = middle,
        }
    }
    Ok(found.map(Listed::from))
}

const REPLACE: &str =
    "nobody renews what upstream_tls names: put the next certificate and its key there";

const DAY_S: u64 = 86_400;
/// Half a year to roll a CA out everywhere.
const ISSUER_WARN_DAYS: u64 = 180;
/// A week to get one from whoever runs the upstream's CA.
const UPSTREAM_WARN_DAYS: u64 = 7;
/// Three months to find whoever holds the root's key, where an authority of an earlier version does not say how long its list
/// lives.
const CRL_WARN_DAYS: u64 = 90;
/// Above `policy`'s longest life of a leaf (825 days).
const LONGEST_LEAF_S: u64 = 1000 * DAY_S;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn certificates_for_upstreams_end_like_those_for_clients() {
        let now = UnixTime::from_seconds(1000 * DAY_S);
        let at = |days| {
            serde_json::json!({
                "live_connections": 0,
                "listeners": [],
                "upstream_certificates": [{
                    "listener": "web",
                    "upstream": "https://a.example:443",
                    "not_after_unix_s": days * DAY_S,
                    "fingerprint": "00",
                }],
            })
        };
        let said = |days: u64| {
            let gateway: GatewayView = serde_json::from_value(at(days)).expect("a view");
            let ends = ends(None, Some(&gateway), None);
            assert_eq!(ends.len(), 1);
            ends[0].risk(now).map(|risk| risk.sentence)
        };
        assert_eq!(said(1008), None);
        assert_eq!(
            said(1006).as_deref(),
            Some(
                "end of certificate for upstream https://a.example:443 (web) at 1972-10-03T00:00:00Z, in 6 d"
            )
        );
        // What came before this was told of has none.
        let before = serde_json::json!({ "live_connections": 0, "listeners": [] });
        let gateway: GatewayView = serde_json::from_value(before).expect("a view");
        assert_eq!(ends(None, Some(&gateway), None), []);
    }

    #[test]
    fn ends_are_risks_when_near_or_over() {
        let now = UnixTime::from_seconds(1000 * DAY_S);
        let end = |days| End::new("root", UnixTime::from_seconds(days * DAY_S), 30, "renew");
        let said = |days| end(days).risk(now).map(|risk| risk.sentence);
        assert_eq!(said(1031), None);
        assert_eq!(
            said(1029).as_deref(),
            Some("end of root at 1972-10-26T00:00:00Z, in 29 d")
        );
        assert_eq!(
            said(999).as_deref(),
            Some("end of root at 1972-09-26T00:00:00Z, 1 d ago")
        );
        assert!(end(999).is_over(now) && !end(1000).is_over(now));
    }

    /// Of an authority without anything else that ends soon.
    fn authority(next_update_day: u64, warn_before_days: Option<u64>) -> StatusResponse {
        let status = serde_json::json!({
            "trust_domain": "a.test",
            "created_at": "1970-01-01T00:00:00Z",
            "issuing": "ready",
            "issuers": [],
            "certificates": api::Counts::default(),
            "root_crl_next_update": UnixTime::from_seconds(next_update_day * DAY_S).to_string(),
            "root_crl_warn_before_s": warn_before_days.map(|days| days * DAY_S),
            "history": "a",
            "sequence": 0,
            "nodes": [],
            "risks": [],
        });
        serde_json::from_value(status).expect("a status")
    }

    #[test]
    fn end_of_the_roots_list_is_told_three_months_before_or_a_quarter_of_its_life() {
        let now = UnixTime::from_seconds(1000 * DAY_S);
        let told = |day, warn_before_days| {
            let ends = ends(Some(&authority(day, warn_before_days)), None, None);
            assert_eq!(ends.len(), 1);
            ends[0].risk(now).is_some()
        };
        assert!(!told(1091, Some(90)) && told(1089, Some(90)));
        // One of a month is signed every few weeks: three months before its end there would always be a warning.
        assert!(!told(1008, Some(7)) && told(1006, Some(7)));
        assert!(!told(1091, None) && told(1089, None));
        assert!(told(999, Some(7)));
    }
}
