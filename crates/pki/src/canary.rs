//! Canaries: certificates made to see whether what must be refused is refused. No rule admits one, so whoever lets one in lets in too many.

use crate::identity::BundleName;
use crate::name::TypedName;

/// The DNS names of canaries stand below it. Nobody else's do: `.invalid` is nobody's (RFC 6761 §6.4).
pub const DOMAIN: &str = "canary.invalid";

/// The SPIFFE IDs of canaries have it as the first segment of their path.
pub const PATH: &str = "canary";

/// Whether it is a canary's name.
pub fn is_one(name: &TypedName) -> bool {
    match name {
        TypedName::Dns(name) => {
            let above = name.as_str().strip_suffix(DOMAIN);
            above.is_some_and(|above| above.is_empty() || above.ends_with('.'))
        }
        TypedName::Spiffe(id) => id.path().split('/').nth(1) == Some(PATH),
        _ => false,
    }
}

/// Whether one of the names makes its holder a canary. What another authority calls `/canary/` is its own affair.
pub(crate) fn is_among(names: &[TypedName], bundle: &BundleName) -> bool {
    let counts = |name: &&TypedName| {
        !matches!(name, TypedName::Spiffe(_)) || bundle.as_str() == BundleName::INTERNAL
    };
    names.iter().filter(counts).any(is_one)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(name: &str, expected: bool) {
        assert_eq!(is_one(&name.parse().expect(name)), expected, "{name}");
    }

    #[test]
    fn canaries_are_known_by_whole_labels_and_segments() {
        check("dns:a.canary.invalid", true);
        check("dns:a.b.canary.invalid", true);
        check("dns:A.CANARY.invalid", true);
        check("dns:canary.invalid", true);
        check("dns:notcanary.invalid", false);
        check("dns:canary.invalid.example.com", false);
        check("dns:a.invalid", false);
        check("spiffe://example.com/canary/a", true);
        check("spiffe://example.com/canary", true);
        check("spiffe://example.com/canary-2/a", false);
        check("spiffe://example.com/a/canary", false);
        check("spiffe://canary.invalid/a", false);
        check("cn:a.canary.invalid", false);
        check("email:a@canary.invalid", false);
    }

    #[test]
    fn path_of_another_trust_domain_is_its_own_affair() {
        let names = |name: &str| [name.parse().expect("a name")];
        let bundle = |name: &str| BundleName::parse(name).expect("a name");
        let path = names("spiffe://example.com/canary/a");
        assert!(is_among(&path, &bundle("internal")));
        assert!(!is_among(&path, &bundle("acme")));
        let domain = names("dns:a.canary.invalid");
        assert!(is_among(&domain, &bundle("acme")));
    }
}
