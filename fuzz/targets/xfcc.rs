//! `X-Forwarded-Client-Cert`: whatever stands in a certificate, Envoy's reader finds one element with what we meant, and nothing that a name
//! brought along.

use countersign_pki::dn::DistinguishedName;
use countersign_pki::fingerprint::Fingerprint;
use countersign_pki::name::TypedName;
use countersign_proxy::xfcc;

#[test]
fn element_is_read_as_it_was_meant() {
    bolero::check!()
        .with_type::<(Vec<(bool, String)>, String, Vec<u8>)>()
        .for_each(|(names, subject, der)| {
            let subject = DistinguishedName::from_der(der)
                .or_else(|_| DistinguishedName::parse(&format!("CN={subject}")))
                .or_else(|_| DistinguishedName::parse("CN=a"))
                .expect("a name");
            let names: Vec<TypedName> = names
                .iter()
                .filter_map(|(is_uri, text)| {
                    // Random text seldom has a scheme.
                    let kind = if *is_uri { "uri:urn:" } else { "dns:" };
                    format!("{kind}{text}").parse().ok()
                })
                .collect();
            let element = xfcc::element(Fingerprint::of(der), &subject, &names);
            assert!(
                element.bytes().all(|byte| (b' '..=b'~').contains(&byte)),
                "{element}"
            );
            let mut expected = vec![("Hash", Fingerprint::of(der).to_string())];
            let mut found = as_envoy(&element);
            // The subject is a DN with other escapes: it reads back as the same name.
            let told = found.remove(1);
            assert_eq!(told.0, "Subject", "{element}");
            if !subject.is_empty() {
                assert_eq!(DistinguishedName::parse(&told.1), Ok(subject), "{element}");
            }
            for name in &names {
                match name {
                    TypedName::Uri(uri) => expected.push(("URI", uri.as_str().to_owned())),
                    TypedName::Dns(name) => expected.push(("DNS", name.as_str().to_owned())),
                    TypedName::Spiffe(id) => expected.push(("URI", id.as_str().to_owned())),
                    _ => {}
                }
            }
            assert_eq!(found.len(), expected.len(), "{element}");
            for ((key, value), (meant, said)) in found.iter().zip(&expected) {
                assert_eq!(key, meant, "{element}");
                assert_eq!(&percent_decoded(value), said.as_bytes(), "{element}");
            }
        });
}

/// Envoy's documentation: elements apart by commas, pairs by semicolons, neither of which counts between double quotes; a quote inside them
/// is escaped by a backslash.
fn as_envoy(header: &str) -> Vec<(String, String)> {
    let mut pairs = vec![String::new()];
    let (mut is_quoted, mut is_escaped) = (false, false);
    for character in header.chars() {
        assert!(is_quoted || character != ',', "a second element: {header}");
        match character {
            ';' if !is_quoted => pairs.push(String::new()),
            _ => pairs.last_mut().expect("one").push(character),
        }
        if character == '"' && !is_escaped {
            is_quoted = !is_quoted;
        }
        is_escaped = character == '\\' && !is_escaped;
    }
    assert!(!is_quoted, "a quote without an end: {header}");
    pairs
        .iter()
        .map(|pair| {
            let (key, value) = pair.split_once('=').expect("a pair");
            let unquoted = value.strip_prefix('"').and_then(|it| it.strip_suffix('"'));
            if unquoted.is_none() {
                assert!(!value.contains(['"', '=']), "{header}");
            }
            (key.to_owned(), unquoted.unwrap_or(value).to_owned())
        })
        .collect()
}

fn percent_decoded(text: &str) -> Vec<u8> {
    let mut decoded = Vec::new();
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        let hex = |byte: &u8| char::from(*byte).to_digit(16);
        if let (b'%', [high, low, after @ ..]) = (first, tail)
            && let (Some(high), Some(low)) = (hex(high), hex(low))
        {
            decoded.push(u8::try_from(high << 4 | low).expect("a byte"));
            rest = after;
        } else {
            decoded.push(*first);
            rest = tail;
        }
    }
    decoded
}
