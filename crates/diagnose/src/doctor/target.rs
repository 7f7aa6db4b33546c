//! What was seen of a server.

/// What the probe learnt.
#[derive(Clone, Debug, Default)]
pub struct TargetSeen {}
