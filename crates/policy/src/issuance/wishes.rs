//! What a certificate request asks for beside its key: the request to us decides, and nothing that it asks for is dropped in
//! silence.

use countersign_pki::name::TypedName;
use countersign_pki::request::Wishes;

use super::names::Names;
use super::{BuiltIn, Denied, ProfileRules};

/// Refuses a request that asks for names that its certificate will not have, to be a CA, or for something that is critical
/// to it and unknown to us.
pub(super) fn check(wishes: &Wishes, names: &Names, rules: &ProfileRules) -> Result<(), Denied> {
    let refuse = |why: String| Err(Denied::Wish { why });
    if wishes.wants_ca && rules.like() != BuiltIn::Intermediate {
        return refuse(format!(
            "the certificate request asks to be a CA, and profile {} is none",
            rules.profile()
        ));
    }
    if let Some(extension) = wishes.unknown_critical.first() {
        return refuse(format!(
            "the certificate request asks for extension {extension} and says that it is critical, but it is not known here"
        ));
    }
    if wishes.other_alt_names > 0 {
        return refuse(format!(
            "the certificate request asks for {} names that are no DNS name, IP address, e-mail address or URI",
            wishes.other_alt_names
        ));
    }
    let granted = |name: &&TypedName| names.subject_alt_names.contains(name);
    let missing: Vec<String> = wishes
        .subject_alt_names
        .iter()
        .filter(|name| !granted(name))
        .take(MAX_SHOWN)
        .map(ToString::to_string)
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    refuse(format!(
        "the certificate request asks for {}, and you did not",
        missing.join(", ")
    ))
}

/// An error is one line.
const MAX_SHOWN: usize = 3;
