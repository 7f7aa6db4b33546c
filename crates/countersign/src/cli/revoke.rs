//! `countersign revoke`: access withdrawn, with a receipt.

use std::fmt::Write as _;
use std::time::Duration;

use clap::Args;
use countersign_authority::api::{self, RevokeRequest, RevokeResponse};
use countersign_pki::feed::RevocationReason;

use crate::backend::{Backend, block_on};
use crate::cli::arguments::{Globals, PassphraseArgument, StateArgument, duration};
use crate::cli::show::what_is_meant;
use crate::fault::{Answer, Fault};

/// Revoke certificates: new handshakes, resumed sessions and open connections end
#[derive(Debug, Args)]
pub(crate) struct RevokeCommand {
    /// A certificate file, a serial number, a fingerprint, or a name, which means every live certificate of that name
    #[arg(value_name = "WHAT")]
    what: String,
    /// Why: unspecified, key-compromise, ca-compromise, affiliation-changed, superseded, cessation-of-operation or
    /// privilege-withdrawn
    #[arg(long, default_value = "unspecified", value_parser = str::parse::<RevocationReason>)]
    reason: RevocationReason,
    /// Wait until every connected gateway has confirmed; exit with 1 when one has not
    #[arg(long)]
    wait: bool,
    /// How long to wait at most
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = duration, requires = "wait")]
    wait_timeout: Duration,
    #[command(flatten)]
    passphrase: PassphraseArgument,
    #[command(flatten)]
    state: StateArgument,
}

impl RevokeCommand {
    /// Runs it.
    pub(crate) fn run(self, globals: &Globals) -> Result<Answer, Fault> {
        let state = self.state.folder(globals)?;
        let wait_ms = u64::try_from(self.wait_timeout.as_millis()).unwrap_or(u64::MAX);
        let request = RevokeRequest {
            what: what_is_meant(&self.what)?,
            reason: self.reason,
            wait_ms: self.wait.then_some(wait_ms),
        };
        let receipt: RevokeResponse = block_on(async {
            let backend = Backend::connect(&state, &self.passphrase.passphrase()).await?;
            Ok(backend.client.post(api::REVOKE, &request).await?)
        })?;
        globals
            .output()
            .answer(&receipt, |receipt| text(receipt, self.wait))?;
        Ok(Answer::from_bool(
            !self.wait || receipt.unconfirmed.is_empty(),
        ))
    }
}

fn text(receipt: &RevokeResponse, waited: bool) -> String {
    let mut text = String::new();
    let mut line = |line: std::fmt::Arguments<'_>| {
        text.write_fmt(line)
            .and_then(|()| text.write_char('\n'))
            .expect("a String takes everything");
    };
    for view in &receipt.revoked {
        line(format_args!(
            "revoked {} (serial {}) at {}, reason {}",
            view.name, view.serial, view.revoked_at, view.reason
        ));
    }
    for view in &receipt.already_revoked {
        line(format_args!(
            "was revoked already: {} (serial {}) at {}, reason {}",
            view.name, view.serial, view.revoked_at, view.reason
        ));
    }
    if receipt.nodes.is_empty() {
        line(format_args!(
            "  no gateway is connected: each learns of it before it serves again"
        ));
    }
    for node in &receipt.nodes {
        let (sessions, connections) = (node.sessions_declined, node.connections_cut);
        match (node.confirmed, node.after_ms) {
            (true, Some(after_ms)) => line(format_args!(
                "  {} confirmed after {after_ms} ms: {sessions} sessions declined, {connections} connections cut",
                node.node
            )),
            (true, None) => line(format_args!("  {} confirmed", node.node)),
            (false, _) if waited => line(format_args!(
                "  {} has NOT confirmed: the revocation stands, it may still admit",
                node.node
            )),
            (false, _) => line(format_args!(
                "  {} was told; `--wait` waits for its word",
                node.node
            )),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use countersign_authority::api::{NodeView, RevokedView};
    use countersign_pki::feed::{HistoryId, Sequence};
    use countersign_pki::serial::SerialNumber;
    use countersign_pki::time::UnixTime;

    use super::*;

    #[test]
    fn receipt_names_who_has_not_confirmed() {
        let node = |name: &str, confirmed| NodeView {
            node: name.to_owned(),
            confirmed,
            sessions_declined: 2,
            connections_cut: 1,
            after_ms: confirmed.then_some(4),
        };
        let receipt = RevokeResponse {
            revoked: vec![RevokedView {
                serial: SerialNumber::from_magnitude(&[0x4f]).expect("a serial"),
                fingerprint: None,
                name: "cn:you".to_owned(),
                not_after: UnixTime::MAX,
                revoked_at: UnixTime::from_seconds(0),
                reason: RevocationReason::KeyCompromise,
            }],
            already_revoked: Vec::new(),
            history: HistoryId("h".to_owned()),
            sequence: Sequence(1),
            nodes: vec![node("gateway@a", true), node("gateway@b", false)],
            unconfirmed: vec!["gateway@b".to_owned()],
        };
        assert_eq!(
            text(&receipt, true),
            "revoked cn:you (serial 4f) at 1970-01-01T00:00:00Z, reason key-compromise\n  \
             gateway@a confirmed after 4 ms: 2 sessions declined, 1 connections cut\n  \
             gateway@b has NOT confirmed: the revocation stands, it may still admit\n"
        );
    }
}
