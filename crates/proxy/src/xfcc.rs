//! `X-Forwarded-Client-Cert`, as Envoy writes it and reads it.

use std::fmt::Write;

use countersign_pki::dn::DistinguishedName;
use countersign_pki::fingerprint::Fingerprint;
use countersign_pki::name::TypedName;

use crate::headers::identity::{escaped, hex_pairs};

/// One element, which has no comma, semicolon or equals sign of a name outside quotes, and nothing but printable ASCII. DEVIATES: no `Cert` and `Chain`, which Envoy leaves out too unless told otherwise:
/// `Client-Cert` carries both in half the bytes.
pub fn element(
    fingerprint: Fingerprint,
    subject: &DistinguishedName,
    names: &[TypedName],
) -> String {
    let mut element = format!("Hash={fingerprint}");
    // Envoy writes Subject even where it is empty, and always in quotes.
    let _ = write!(
        element,
        ";Subject=\"{}\"",
        without_quotes(&hex_pairs(&subject.to_string()))
    );
    for name in names {
        let (key, value) = match name {
            TypedName::Spiffe(id) => ("URI", id.as_str()),
            TypedName::Uri(uri) => ("URI", uri.as_str()),
            TypedName::Dns(name) => ("DNS", name.as_str()),
            _ => continue,
        };
        let value = escaped(
            value,
            |byte| (b'!'..=b'~').contains(&byte) && !b"\"\\".contains(&byte),
            '%',
        );
        let _ = if value.contains([',', ';', '=']) {
            write!(element, ";{key}=\"{value}\"")
        } else {
            write!(element, ";{key}={value}")
        };
    }
    element
}

/// The same DN without a quote or a doubled backslash, on which readers of quoted text disagree.
fn without_quotes(dn: &str) -> String {
    let mut shown = String::with_capacity(dn.len());
    let mut characters = dn.chars();
    while let Some(character) = characters.next() {
        match character {
            '\\' => match characters.next() {
                Some('"') => shown.push_str("\\22"),
                Some('\\') => shown.push_str("\\5C"),
                other => shown.extend(['\\'].into_iter().chain(other)),
            },
            '"' => shown.push_str("\\22"),
            plain => shown.push(plain),
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quote_in_a_name_does_not_end_its_quotes() {
        assert_eq!(
            without_quotes(r#"CN=a\";URI=spiffe://b\,c,O=\\"#),
            r"CN=a\22;URI=spiffe://b\,c,O=\5C"
        );
    }
}
