//! Names as certificates, rules and command lines write them.

use countersign_pki::dn::DistinguishedName;
use countersign_pki::name::{DnsName, TypedName};
use countersign_pki::serial::SerialNumber;
use countersign_pki::time::UnixTime;

#[test]
fn typed_name_reads_back_as_written() {
    bolero::check!().for_each(|bytes: &[u8]| {
        let Ok(text) = std::str::from_utf8(bytes) else {
            return;
        };
        if let Ok(name) = text.parse::<TypedName>() {
            assert_eq!(name.to_string().parse::<TypedName>(), Ok(name));
        }
        if let Ok(serial) = text.parse::<SerialNumber>() {
            assert_eq!(
                SerialNumber::from_der_integer(&serial.to_der_integer()),
                Ok(serial)
            );
        }
        if let Ok(time) = text.parse::<UnixTime>() {
            assert_eq!(time.to_string(), text);
        }
    });
}

#[test]
fn distinguished_name_reads_back_as_written_in_text_and_der() {
    bolero::check!().for_each(|bytes: &[u8]| {
        let from_text = std::str::from_utf8(bytes)
            .ok()
            .and_then(|text| DistinguishedName::parse(text).ok());
        for name in from_text
            .into_iter()
            .chain(DistinguishedName::from_der(bytes))
        {
            // The empty one (30 00) is a name in DER alone: nobody means it by writing nothing.
            if name.is_empty() {
                assert_eq!(name.to_string(), "");
            } else {
                assert_eq!(
                    DistinguishedName::parse(&name.to_string()).as_ref(),
                    Ok(&name),
                    "{name}"
                );
            }
            assert_eq!(
                DistinguishedName::from_der(&name.to_der()).as_ref(),
                Ok(&name),
                "{name}"
            );
        }
    });
}

#[test]
fn wildcard_covers_only_its_own_level() {
    bolero::check!()
        .with_type::<(String, String)>()
        .for_each(|(one, other)| {
            let (Ok(one), Ok(other)) = (DnsName::parse(one), DnsName::parse(other)) else {
                return;
            };
            if one.covers(&other) {
                let labels = |name: &DnsName| name.as_str().split('.').count();
                assert_eq!(labels(&one), labels(&other));
            }
        });
}
