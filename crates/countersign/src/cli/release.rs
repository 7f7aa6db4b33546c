//! `countersign release`: a hold ends.

use clap::Args;
use countersign_authority::api::{self, ReceiptResponse, ReleaseRequest, ReleaseResponse};

use crate::backend::{Backend, block_on};
use crate::cli::arguments::Globals;
use crate::cli::revoke::described;
use crate::cli::withdrawal::{Verb, WithdrawalArguments, confirm, lines, nodes, with_patience};
use crate::fault::{Answer, Fault};
use crate::output::escaped;

/// End the hold of certificates: gateways admit them again
///
/// Only what was put on hold (`countersign revoke WHAT --reason certificate-hold`) can be released. What is revoked for any
/// other reason stays so.
#[derive(Debug, Args)]
pub(crate) struct ReleaseCommand {
    #[command(flatten)]
    meant: WithdrawalArguments,
}

impl ReleaseCommand {
    /// Runs it.
    pub(crate) fn run(self, globals: &Globals) -> Result<Answer, Fault> {
        let meant = &self.meant;
        meant.refuse_unasked(VERB)?;
        let asked = meant.authority.asked(globals)?;
        let mut request = ReleaseRequest {
            what: meant.what()?,
            selection: meant.filters().selection(),
            ..ReleaseRequest::default()
        };
        let receipt = block_on(async {
            let backend = Backend::connect(&asked).await?;
            let client = &backend.client;
            if meant.must_look() {
                let after = |request: &mut ReleaseRequest, next| request.after = Some(next);
                let preview = meant
                    .show(
                        globals,
                        client,
                        api::RELEASE_PREVIEW,
                        request.clone(),
                        after,
                    )
                    .await?;
                if meant.dry_run {
                    return Ok(None);
                }
                confirm(VERB, &preview)?;
                request.at_most = Some(preview.count);
            }
            let call = client.post(api::RELEASE, &request);
            let mut receipt: ReleaseResponse = with_patience(VERB, request.at_most, call).await?;
            let told = ReceiptResponse {
                nodes: std::mem::take(&mut receipt.nodes),
                unconfirmed: std::mem::take(&mut receipt.unconfirmed),
            };
            let confirmed = meant.wait_for_nodes(client, receipt.first, receipt.sequence, told);
            ReceiptResponse {
                nodes: receipt.nodes,
                unconfirmed: receipt.unconfirmed,
            } = confirmed.await?;
            Ok(Some(receipt))
        })?;
        let Some(receipt) = receipt else {
            return Ok(Answer::Yes);
        };
        globals
            .output()
            .answer(&receipt, |receipt| text(receipt, meant.wait))?;
        Ok(Answer::from_bool(
            !meant.wait || receipt.unconfirmed.is_empty(),
        ))
    }
}

fn text(receipt: &ReleaseResponse, waited: bool) -> String {
    let mut text = String::new();
    lines(
        &mut text,
        receipt.released_count,
        &receipt.released,
        |view| format!("released {} (serial {})", escaped(&view.name), view.serial),
    );
    lines(
        &mut text,
        receipt.for_good_count,
        &receipt.for_good,
        |view| format!("stays revoked: {}", described(view)),
    );
    nodes(
        &mut text,
        &receipt.nodes,
        waited,
        "the release stands, it may still refuse",
    );
    text
}

const VERB: Verb = Verb {
    infinitive: "release",
    going_on: "releasing",
};
