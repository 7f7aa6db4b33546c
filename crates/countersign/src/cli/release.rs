//! `countersign release`: a hold ends.

use clap::Args;
use countersign_authority::api::{self, NodeView, ReleaseRequest, ReleaseResponse};
use countersign_pki::feed::Sequence;

use crate::cli::arguments::Globals;
use crate::cli::revoke::described;
use crate::cli::withdrawal::{self, Deed, Verb, WithdrawalArguments, lines, nodes};
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
        withdrawal::run(&self, globals)
    }
}

impl Deed for ReleaseCommand {
    type Request = ReleaseRequest;
    type Receipt = ReleaseResponse;

    const VERB: Verb = Verb {
        infinitive: "release",
        going_on: "releasing",
    };
    const PATH: &'static str = api::RELEASE;
    const PREVIEW: &'static str = api::RELEASE_PREVIEW;

    fn meant(&self) -> &WithdrawalArguments {
        &self.meant
    }

    fn request(&self) -> Result<ReleaseRequest, Fault> {
        Ok(ReleaseRequest {
            what: self.meant.what()?,
            selection: self.meant.filters().selection(),
            ..ReleaseRequest::default()
        })
    }

    fn go_on(request: &mut ReleaseRequest, next: String) {
        request.after = Some(next);
    }

    fn limit(request: &mut ReleaseRequest, at_most: u64) {
        request.at_most = Some(at_most);
    }

    fn messages(receipt: &ReleaseResponse) -> (Sequence, Sequence) {
        (receipt.first, receipt.sequence)
    }

    fn told(receipt: &mut ReleaseResponse) -> (&mut Vec<NodeView>, &mut Vec<String>) {
        (&mut receipt.nodes, &mut receipt.unconfirmed)
    }

    fn text(receipt: &ReleaseResponse, waited: bool) -> String {
        text(receipt, waited)
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
