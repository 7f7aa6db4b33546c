//! What a revocation, a hold or a release means, and what came of it.

use std::time::Duration;

use countersign_pki::name::TypedName;
use countersign_pki::serial::SerialNumber;
use countersign_pki::spiffe::TrustDomain;
use countersign_pki::time::UnixTime;
use countersign_store::inventory::{Cursor, Filter};
use countersign_store::revocation::{Preview, Withdrawal, Withdrawn};

use super::cursor_text;
use super::list::list_filter;
use crate::api::{
    ListQuery, NodeView, ReceiptResponse, ReleaseRequest, ReleaseResponse, ReleasedView,
    RevokePreviewResponse, RevokeRequest, RevokeResponse, RevokedView, Selection,
};
use crate::problem::Problem;
use crate::receipt::{NodeReceipt, Receipt};
use crate::what::{Meant, What};

/// What is asked for, read.
pub(crate) struct Asked {
    pub(crate) meant: Meant,
    pub(crate) withdrawal: Withdrawal,
    pub(crate) at_most: Option<u64>,
    pub(crate) wait: Option<Duration>,
    pub(crate) after: Option<Cursor>,
}

/// Of a revocation or a hold.
pub(crate) fn revocation(
    wire: &RevokeRequest,
    trust_domain: &TrustDomain,
    now: UnixTime,
) -> Result<Asked, Problem> {
    let (mut meant, after) = meant(
        wire.what.as_ref(),
        &wire.selection,
        wire.after.as_ref(),
        trust_domain,
        now,
    )?;
    meant.with_ended = wire.expired;
    meant.is_unrecorded = wire.unrecorded;
    if wire.unrecorded {
        meant = only_serial(meant)?;
    }
    Ok(Asked {
        meant,
        withdrawal: Withdrawal::Revoke(wire.reason),
        at_most: wire.at_most,
        wait: wire.wait_ms.map(bounded),
        after,
    })
}

/// Of a release.
pub(crate) fn release(
    wire: &ReleaseRequest,
    trust_domain: &TrustDomain,
    now: UnixTime,
) -> Result<Asked, Problem> {
    let (mut meant, after) = meant(
        wire.what.as_ref(),
        &wire.selection,
        wire.after.as_ref(),
        trust_domain,
        now,
    )?;
    // A hold that outlived its certificate can be tidied up like any other.
    meant.with_ended = true;
    Ok(Asked {
        meant,
        withdrawal: Withdrawal::Release,
        at_most: wire.at_most,
        wait: wire.wait_ms.map(bounded),
        after,
    })
}

pub(crate) fn bounded(wait_ms: u64) -> Duration {
    Duration::from_millis(wait_ms).min(MAX_WAIT)
}

fn meant(
    what: Option<&String>,
    selection: &Selection,
    after: Option<&String>,
    trust_domain: &TrustDomain,
    now: UnixTime,
) -> Result<(Meant, Option<Cursor>), Problem> {
    if what.is_none() && *selection == Selection::default() {
        return Err(Problem::bad_request("nothing says which certificates are meant")
            .with_hint(Some(
                "name one by serial, fingerprint or name, or give filters; --issuer means all that an issuer has issued"
                    .to_owned(),
            )));
    }
    let Selection {
        name,
        san,
        identity,
        issuer,
        profile,
        serial,
        fingerprint,
        spki,
        issued_by,
        owner,
        labels,
    } = selection.clone();
    let query = ListQuery {
        status: None,
        expiring_within_s: None,
        name,
        san,
        identity,
        issuer,
        profile,
        serial,
        fingerprint,
        spki,
        issued_by,
        owner,
        labels,
        after: after.cloned(),
        limit: None,
    };
    let (filter, after, _) = list_filter(&query, trust_domain, now)?;
    let what = what.map(|text| {
        let Ok(what) = text.parse::<What>();
        what
    });
    let meant = Meant {
        what,
        filter,
        with_ended: false,
        is_unrecorded: false,
    };
    Ok((meant, after))
}

/// Of what the inventory does not have, nothing but the serial number and the issuer can be said.
fn only_serial(meant: Meant) -> Result<Meant, Problem> {
    let refused = |detail: String| {
        Problem::bad_request(detail).with_hint(Some(
            "an unrecorded certificate is named by its serial number, 40 hexadecimal digits or pairs with colons, and its issuer with --issuer"
                .to_owned(),
        ))
    };
    let of_what = match &meant.what {
        None => None,
        Some(What::Serial(serial, _)) => Some(*serial),
        Some(What::Word(word)) => match word.parse::<SerialNumber>() {
            Ok(serial) => Some(serial),
            Err(_) => return Err(refused(format!("{meant} is no serial number"))),
        },
        Some(_) => return Err(refused(format!("{meant} is no serial number"))),
    };
    let serial = match (of_what, meant.filter.serial) {
        (Some(one), Some(other)) if one != other => {
            return Err(refused(format!("{one} and {other} are two serial numbers")));
        }
        (one, other) => one.or(other),
    };
    let Some(serial) = serial else {
        return Err(refused("no serial number is given".to_owned()));
    };
    let only = Filter {
        serial: meant.filter.serial,
        issuer: meant.filter.issuer.clone(),
        ..Filter::default()
    };
    if only != meant.filter {
        return Err(refused(
            "the inventory does not know whether an unrecorded certificate fits these filters"
                .to_owned(),
        ));
    }
    Ok(Meant {
        what: Some(What::Serial(serial, serial.to_string())),
        ..meant
    })
}

pub(crate) fn revoke_response(receipt: Receipt) -> RevokeResponse {
    RevokeResponse {
        unconfirmed: unconfirmed(&receipt),
        revoked_count: receipt.changed.count,
        revoked: revoked(receipt.changed.first),
        already_revoked_count: receipt.already.count,
        already_revoked: revoked(receipt.already.first),
        successors_count: receipt.successors.count,
        successors: released(receipt.successors.first),
        history: receipt.history,
        first: receipt.first,
        sequence: receipt.sequence,
        nodes: receipt.nodes.into_iter().map(NodeView::from).collect(),
    }
}

pub(crate) fn release_response(receipt: Receipt) -> ReleaseResponse {
    let unconfirmed = unconfirmed_of(&receipt.nodes);
    ReleaseResponse {
        unconfirmed,
        released_count: receipt.changed.count,
        released: released(receipt.changed.first),
        for_good_count: receipt.for_good.count,
        for_good: revoked(receipt.for_good.first),
        history: receipt.history,
        first: receipt.first,
        sequence: receipt.sequence,
        nodes: receipt.nodes.into_iter().map(NodeView::from).collect(),
    }
}

pub(crate) fn preview_response(preview: Preview) -> RevokePreviewResponse {
    let Preview {
        outcome,
        identities,
        next,
    } = preview;
    RevokePreviewResponse {
        count: outcome.changed.count,
        identities,
        already_count: outcome.already.count,
        imported_count: outcome.imported,
        certificates: released(outcome.changed.first),
        successors_count: outcome.successors.count,
        successors: released(outcome.successors.first),
        next: next.as_ref().map(cursor_text),
    }
}

pub(crate) fn receipt_response(nodes: Vec<NodeReceipt>) -> ReceiptResponse {
    ReceiptResponse {
        unconfirmed: unconfirmed_of(&nodes),
        nodes: nodes.into_iter().map(NodeView::from).collect(),
    }
}

fn unconfirmed(receipt: &Receipt) -> Vec<String> {
    receipt.unconfirmed().map(ToOwned::to_owned).collect()
}

fn unconfirmed_of(nodes: &[NodeReceipt]) -> Vec<String> {
    let unconfirmed = nodes.iter().filter(|node| !node.confirmed);
    unconfirmed.map(|node| node.node.clone()).collect()
}

fn released(withdrawn: Vec<Withdrawn>) -> Vec<ReleasedView> {
    withdrawn.into_iter().map(ReleasedView::from).collect()
}

fn revoked(withdrawn: Vec<Withdrawn>) -> Vec<RevokedView> {
    let view = |withdrawn: Withdrawn| {
        let revocation = withdrawn.revocation?;
        let ReleasedView {
            serial,
            fingerprint,
            name,
            not_after,
        } = ReleasedView::from(withdrawn);
        Some(RevokedView {
            serial,
            fingerprint,
            name,
            not_after,
            revoked_at: revocation.revoked_at,
            reason: revocation.reason,
        })
    };
    withdrawn.into_iter().filter_map(view).collect()
}

impl From<Withdrawn> for ReleasedView {
    fn from(withdrawn: Withdrawn) -> Self {
        let Withdrawn {
            serial,
            fingerprint,
            name,
            issuer,
            not_after,
            ..
        } = withdrawn;
        Self {
            serial,
            fingerprint,
            not_after: name.is_some().then_some(not_after),
            // What an unrecorded one is called, as `show` and `list --identity` read it.
            name: name
                .as_ref()
                .map_or_else(|| format!("serial:{serial}@{issuer}"), TypedName::to_string),
        }
    }
}

/// Nodes that have not answered in five minutes are not there.
const MAX_WAIT: Duration = Duration::from_mins(5);
