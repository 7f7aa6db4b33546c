//! `countersign revoke`: access withdrawn, with a receipt.

use clap::Args;
use countersign_authority::api::{
    self, NodeView, ReleasedView, RevokePreviewResponse, RevokeRequest, RevokeResponse, RevokedView,
};
use countersign_pki::feed::{RevocationReason, Sequence};

use crate::cli::arguments::Globals;
use crate::cli::withdrawal::{self, Deed, Verb, WithdrawalArguments, lines, nodes, survivors};
use crate::fault::{Answer, Fault};
use crate::output::{escaped, tell};

/// Revoke certificates: new handshakes, resumed sessions and open connections end
///
/// By WHAT, by filters, or by both: then those of WHAT that fit. All that is meant is revoked at once or nothing is.
/// Certificates past their end are left out, unless they are named by serial number, fingerprint or file, or the name has
/// no live one.
#[derive(Debug, Args)]
pub(crate) struct RevokeCommand {
    /// Why: unspecified, key-compromise, ca-compromise, affiliation-changed, superseded, cessation-of-operation,
    /// privilege-withdrawn, or certificate-hold, which `countersign release` ends
    #[arg(long, default_value = "unspecified", value_parser = str::parse::<RevocationReason>)]
    reason: RevocationReason,
    /// Also those past their end
    #[arg(long)]
    expired: bool,
    /// A serial number that the inventory does not have, such as one that a lost backup had; of the issuer of --issuer,
    /// else of the one that issues
    #[arg(long)]
    unrecorded: bool,
    #[command(flatten)]
    meant: WithdrawalArguments,
}

impl RevokeCommand {
    /// Runs it.
    pub(crate) fn run(self, globals: &Globals) -> Result<Answer, Fault> {
        withdrawal::run(&self, globals)
    }

    fn warn(&self, count: u64, first: &[ReleasedView]) {
        let authority = &self.meant.authority;
        if let Some(warning) = survivors(count, first, self.reason, authority) {
            tell(&warning);
        }
    }
}

impl Deed for RevokeCommand {
    type Request = RevokeRequest;
    type Receipt = RevokeResponse;

    const VERB: Verb = Verb {
        infinitive: "revoke",
        going_on: "revoking",
    };
    const PATH: &'static str = api::REVOKE;
    const PREVIEW: &'static str = api::REVOKE_PREVIEW;

    fn meant(&self) -> &WithdrawalArguments {
        &self.meant
    }

    fn request(&self) -> Result<RevokeRequest, Fault> {
        Ok(RevokeRequest {
            what: self.meant.what()?,
            selection: self.meant.filters().selection(),
            expired: self.expired,
            unrecorded: self.unrecorded,
            reason: self.reason,
            ..RevokeRequest::default()
        })
    }

    fn go_on(request: &mut RevokeRequest, next: String) {
        request.after = Some(next);
    }

    fn limit(request: &mut RevokeRequest, at_most: u64) {
        request.at_most = Some(at_most);
    }

    fn messages(receipt: &RevokeResponse) -> (Sequence, Sequence) {
        (receipt.first, receipt.sequence)
    }

    fn told(receipt: &mut RevokeResponse) -> (&mut Vec<NodeView>, &mut Vec<String>) {
        (&mut receipt.nodes, &mut receipt.unconfirmed)
    }

    fn text(receipt: &RevokeResponse, waited: bool) -> String {
        text(receipt, waited)
    }

    fn warn_before(&self, preview: &RevokePreviewResponse) {
        self.warn(preview.successors_count, &preview.successors);
    }

    fn warn_after(&self, receipt: &RevokeResponse) {
        self.warn(receipt.successors_count, &receipt.successors);
    }
}

fn text(receipt: &RevokeResponse, waited: bool) -> String {
    let mut text = String::new();
    if receipt.revoked_count > 1 {
        text = format!("revoked {} certificates:\n", receipt.revoked_count);
    }
    lines(&mut text, receipt.revoked_count, &receipt.revoked, |view| {
        let done = if view.reason.is_hold() {
            "put on hold"
        } else {
            "revoked"
        };
        format!("{done} {}", described(view))
    });
    lines(
        &mut text,
        receipt.already_revoked_count,
        &receipt.already_revoked,
        |view| format!("was {} already: {}", state(view), described(view)),
    );
    nodes(
        &mut text,
        &receipt.nodes,
        waited,
        "the revocation stands, it may still admit",
    );
    text
}

/// As the receipt of a release says it too.
pub(crate) fn described(view: &RevokedView) -> String {
    let ended = match view.not_after {
        Some(end) if end < view.revoked_at => format!("; it had expired at {end}"),
        Some(_) => String::new(),
        None => "; the inventory does not have it".to_owned(),
    };
    format!(
        "{} (serial {}) at {}, reason {}{ended}",
        escaped(&view.name),
        view.serial,
        view.revoked_at,
        view.reason
    )
}

fn state(view: &RevokedView) -> &'static str {
    if view.reason.is_hold() {
        "on hold"
    } else {
        "revoked"
    }
}

#[cfg(test)]
mod tests {
    use countersign_pki::feed::HistoryId;
    use countersign_pki::serial::SerialNumber;
    use countersign_pki::time::UnixTime;

    use super::*;

    fn view(not_after: Option<UnixTime>, reason: RevocationReason) -> RevokedView {
        RevokedView {
            serial: SerialNumber::from_magnitude(&[0x4f]).expect("a serial"),
            fingerprint: None,
            name: "cn:you".to_owned(),
            not_after,
            revoked_at: UnixTime::from_seconds(60),
            reason,
        }
    }

    fn receipt(revoked: Vec<RevokedView>, nodes: Vec<NodeView>) -> RevokeResponse {
        RevokeResponse {
            revoked_count: revoked.len() as u64,
            revoked,
            already_revoked_count: 0,
            already_revoked: Vec::new(),
            successors_count: 0,
            successors: Vec::new(),
            history: HistoryId("h".to_owned()),
            first: Sequence(1),
            sequence: Sequence(1),
            nodes,
            unconfirmed: Vec::new(),
        }
    }

    #[test]
    fn receipt_names_who_has_not_confirmed() {
        let node = |name: &str, confirmed| NodeView {
            node: name.to_owned(),
            confirmed,
            sessions_declined: 2,
            connections_cut: 1,
            after_ms: confirmed.then_some(4),
        };
        let nodes = vec![node("gateway@a", true), node("gateway@b", false)];
        let revoked = vec![view(Some(UnixTime::MAX), RevocationReason::KeyCompromise)];
        assert_eq!(
            text(&receipt(revoked, nodes), true),
            "revoked cn:you (serial 4f) at 1970-01-01T00:01:00Z, reason key-compromise\n  \
             gateway@a confirmed after 4 ms: 2 sessions declined, 1 connections cut\n  \
             gateway@b has NOT confirmed: the revocation stands, it may still admit\n"
        );
    }

    #[test]
    fn receipt_says_what_had_expired_what_is_on_hold_and_what_nobody_knows() {
        let revoked = vec![
            view(
                Some(UnixTime::from_seconds(0)),
                RevocationReason::Superseded,
            ),
            view(Some(UnixTime::MAX), RevocationReason::CertificateHold),
            view(None, RevocationReason::Unspecified),
        ];
        assert_eq!(
            text(&receipt(revoked, Vec::new()), false),
            "revoked 3 certificates:\n\
             revoked cn:you (serial 4f) at 1970-01-01T00:01:00Z, reason superseded; it had expired at 1970-01-01T00:00:00Z\n\
             put on hold cn:you (serial 4f) at 1970-01-01T00:01:00Z, reason certificate-hold\n\
             revoked cn:you (serial 4f) at 1970-01-01T00:01:00Z, reason unspecified; the inventory does not have it\n  \
             no gateway is connected: each learns of it before it serves again\n"
        );
    }
}
