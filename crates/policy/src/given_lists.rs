//! CRLs that others have signed: which of several of one CA is the last word. Whose they are was verified before.

use countersign_pki::crl::{CrlScope, ParsedCrl};
use countersign_pki::time::UnixTime;

/// Whether `later` says all that `earlier` says, and more recently: what it leaves out is no longer so.
pub fn supersedes(later: &ParsedCrl, earlier: &ParsedCrl) -> bool {
    let is_of_the_same = later.scope().is_some() && later.scope() == earlier.scope();
    (is_complete(later) || is_of_the_same) && age(later) > age(earlier)
}

/// Whether it tells of every certificate of its issuer.
pub fn is_complete(list: &ParsedCrl) -> bool {
    list.scope() == Some(&CrlScope::default())
}

/// Whether a later one has to be there by now, or nobody can say when it has to be.
pub fn is_over(list: &ParsedCrl, now: UnixTime) -> bool {
    list.next_update().is_none_or(|end| end <= now)
}

/// RFC 5280 §5.2.3: of two that were signed in the same second, the one of the greater number is the later.
fn age(list: &ParsedCrl) -> (UnixTime, Option<u64>) {
    (list.this_update(), list.number())
}
