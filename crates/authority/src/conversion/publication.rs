//! Revocation lists on the wire.

use crate::api::{ListView, ListsResponse};
use crate::publish::CompleteList;

pub(crate) fn lists_response(lists: Vec<CompleteList>) -> ListsResponse {
    let lists = lists.into_iter().map(|list| {
        let CompleteList {
            issuer,
            number,
            this_update,
            next_update,
            pem,
        } = list;
        ListView {
            issuer,
            number,
            this_update,
            next_update,
            pem,
        }
    });
    ListsResponse {
        lists: lists.collect(),
    }
}
