//! How identities are written in rules.

use countersign_pki::name::NameKind;
use countersign_policy::access::NamePattern;

/// `kind` as it shows in `Debug`.
fn check(text: &str, kind: &str) {
    let pattern = NamePattern::parse(text).unwrap_or_else(|invalid| panic!("{text}: {invalid}"));
    assert!(
        format!("{pattern:?}").starts_with(kind),
        "{text}: {pattern:?}"
    );
    assert_eq!(
        NamePattern::parse(&pattern.to_string()),
        Ok(pattern),
        "{text}"
    );
}

#[test]
fn identities_are_read_with_their_kind() {
    check("spiffe://example.com/api", "Exact(Spiffe");
    check("spiffe://example.com/ns/*/api", "Spiffe");
    check("spiffe://example.com/**", "Spiffe");
    check("dns:API.example.com", "Exact(Dns");
    check("dns:*.example.com", "DnsUnder");
    check("cn:order-service", "Exact(Cn");
    check("cn:*.example.com", "Exact(Cn");
    check("ip:::1", "Exact(Ip");
    check("dn:CN=api,O=Example", "Exact(Dn");
    check("CN=api,O=Example", "Exact(Dn");
    check("/O=Example/CN=api", "Exact(Dn");
    check("order-service", "AnyKind");
    check("2001:db8::1", "AnyKind");
    check("https://example.com/a=b", "AnyKind");
}

#[test]
fn what_no_name_could_meet_is_refused() {
    for text in [
        "",
        " a",
        "a ",
        "a\0",
        "a\nb",
        "*",
        "*.example.com",
        "a*",
        "dns:a b",
        "dns:",
        "dns:*",
        "ip:10.0.0.1/8",
        "spki:ab",
        "spiffe:a",
        "spiffe://",
        "spiffe://*/a",
        "spiffe://Example.com/*",
        "spiffe://example.com*",
        "spiffe://example.com/a*",
        "spiffe://example.com/a/**/b",
        "spiffe://example.com/*/",
        "spiffe://example.com/a b/*",
        "spiffe://example.com/ü/*",
        "spiffe://example.com//*",
        "email:*@example.com",
        "cn:*",
        "cn:web-*",
        "cn:*-web",
        "cn:*.a.*",
    ] {
        assert!(NamePattern::parse(text).is_err(), "{text:?}");
    }
    for (kind, text) in [
        (NameKind::Spiffe, "example.com/*"),
        (NameKind::Dns, "dns:a"),
        (NameKind::Dns, "*.*.a"),
        (NameKind::Ip, "*"),
        (NameKind::Cn, ""),
    ] {
        assert!(NamePattern::parse_as(kind, text).is_err(), "{text:?}");
    }
}
