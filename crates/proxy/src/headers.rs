//! What passes from a client's header section to the upstream's, and what never does.

pub(crate) mod hop;
pub(crate) mod identity;
pub(crate) mod sent;
pub(crate) mod stripped;
