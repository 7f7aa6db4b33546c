//! Revocation lists on the wire.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use countersign_pki::certificate::Certificate;
use countersign_pki::feed::RevocationReason;
use countersign_pki::serial::SerialNumber;
use countersign_policy::given_lists::LeftOut;

use crate::api::{
    ImportListQuery, ImportedListResponse, ListView, ListsResponse, RootListDraft, RootListRequest,
};
use crate::publish::{CompleteList, ImportedList};

pub(crate) fn lists_response(lists: Vec<CompleteList>) -> ListsResponse {
    ListsResponse {
        lists: lists.into_iter().map(ListView::from).collect(),
    }
}

impl From<CompleteList> for ListView {
    fn from(list: CompleteList) -> Self {
        let CompleteList {
            issuer,
            number,
            this_update,
            next_update,
            pem,
        } = list;
        Self {
            issuer,
            number,
            this_update,
            next_update,
            pem,
        }
    }
}

/// What is revoked first.
pub(crate) fn revoked_under_root(
    request: RootListRequest,
) -> Option<(SerialNumber, RevocationReason)> {
    let RootListRequest { revoke, reason } = request;
    Some((revoke?, reason))
}

pub(crate) fn root_list_draft(root: &Certificate, to_be_signed: &[u8]) -> RootListDraft {
    RootListDraft {
        root: STANDARD.encode(root.der()),
        to_be_signed: STANDARD.encode(to_be_signed),
    }
}

/// What to think of entries that it leaves out.
pub(crate) fn left_out(query: ImportListQuery) -> LeftOut {
    let ImportListQuery { dropped_expired } = query;
    if dropped_expired {
        LeftOut::Expired
    } else {
        LeftOut::Unexplained
    }
}

impl From<ImportedList> for ImportedListResponse {
    fn from(list: ImportedList) -> Self {
        let ImportedList {
            issuer,
            next_update,
            is_known,
            united,
            released,
        } = list;
        Self {
            issuer,
            next_update,
            is_known,
            released,
            evidence: united.into(),
        }
    }
}
