use countersign_pki::dn::DistinguishedName;
use countersign_pki::name::CommonName;

use crate::forge::{COMMON_NAME, OID, SEQUENCE, SET, UTF8, dn, name, tlv};

#[test]
fn every_notation_reads_as_the_same_name() {
    for text in [
        "CN=api,O=Example\\, Inc.,C=DE",
        "CN = api, O = Example\\2c Inc., C = DE",
        "cn=api , o=Example\\, Inc. , c=DE",
        "/C=DE/O=Example, Inc./CN=api",
        "2.5.4.3=api,2.5.4.10=Example\\, Inc.,C=DE",
    ] {
        let name = dn(text);
        assert_eq!(name.to_string(), "CN=api,O=Example\\, Inc.,C=DE", "{text}");
        assert_eq!(
            name.attributes()
                .iter()
                .map(|attribute| (attribute.kind(), attribute.value()))
                .collect::<Vec<_>>(),
            [
                ("C".to_owned(), "DE"),
                ("O".to_owned(), "Example, Inc."),
                ("CN".to_owned(), "api")
            ]
        );
    }
}

#[test]
fn names_round_trip_through_text_and_der() {
    for text in [
        "CN=api",
        "CN=a+OU=b,O=c",
        "CN=\\ a\\ ",
        "CN=\\#1",
        "CN=a\\+b\\\\c\\\"d\\<e\\>f\\;g=h/i#j",
        "CN=Grüße 東京,O=Ünïcode",
        "1.2.3.4=x,DC=example,DC=com",
        "emailAddress=a@b.c,serialNumber=1234,UID=u,T=Dr,GN=g,SN=s,STREET=x,L=y,ST=z",
        "CN=",
        "CN=a,CN=b",
        "CN= b".trim(),
    ] {
        let name = dn(text);
        assert_eq!(
            DistinguishedName::parse(&name.to_string()).as_ref(),
            Ok(&name),
            "{text}"
        );
        assert_eq!(
            DistinguishedName::from_der(&name.to_der()),
            Ok(name),
            "{text}"
        );
    }
}

#[test]
fn an_rdn_is_a_set_and_a_name_a_sequence() {
    assert_eq!(dn("CN=a+OU=b"), dn("OU=b+CN=a"));
    assert_ne!(dn("CN=a,OU=b"), dn("OU=b,CN=a"));
    assert_ne!(dn("CN=a+OU=b"), dn("CN=a,OU=b"));
    assert_ne!(dn("CN=a"), dn("CN=A"));
}

#[test]
fn malformed_text_is_refused_with_the_reason() {
    for (text, why) in [
        ("", "empty"),
        ("  ", "empty"),
        ("api", "no `=`"),
        ("CN=a,", "no `=`"),
        ("CN=a,,O=b", "no attribute type"),
        ("XX=a", "no attribute type"),
        ("=a", "no attribute type"),
        ("CN=#0403414243", "#hex"),
        ("CN=\"a\"", "written `\\\""),
        ("CN=a;O=b", "written `\\;`"),
        ("CN=a\\", "backslash"),
        ("CN=a\\zz", "backslash"),
        ("CN=a\\ff", "UTF-8"),
        ("CN=a\\00b", "NUL"),
        ("CN=a\nb", "control"),
        ("/CN=a/b", "no `=`"),
        ("/", "no `=`"),
        ("CN=a+", "no `=`"),
    ] {
        let fault = DistinguishedName::parse(text).expect_err(text).to_string();
        assert!(fault.contains(why), "{text:?}: {fault}");
    }
}

#[test]
fn names_are_bounded_in_text_and_der() {
    let long = "a".repeat(64 * 1024);
    let fault = DistinguishedName::parse(&format!("CN={long}"))
        .expect_err("64 KiB")
        .to_string();
    assert!(fault.contains("65539 bytes, at most 16384"), "{fault}");
    let fault = DistinguishedName::from_der(&name(&[(COMMON_NAME, UTF8, long.as_bytes())]))
        .expect_err("64 KiB")
        .to_string();
    assert!(fault.contains("at most 16384"), "{fault}");
    let fault = DistinguishedName::from_der(&name(&[(COMMON_NAME, UTF8, &[b'a'; 1025])]))
        .expect_err("1025")
        .to_string();
    assert!(fault.contains("1025 characters, at most 1024"), "{fault}");
    let many: Vec<_> = (0..65).map(|_| (COMMON_NAME, UTF8, &b"a"[..])).collect();
    assert!(
        DistinguishedName::from_der(&name(&many))
            .expect_err("65")
            .to_string()
            .contains("more than 64 attributes")
    );
    assert!(
        DistinguishedName::parse(&["CN=a"; 65].join(","))
            .expect_err("65")
            .to_string()
            .contains("more than 64 attributes")
    );
    assert!(DistinguishedName::from_der(&name(&many[..64])).is_ok());
}

#[test]
fn string_types_decode_cleanly_or_not_at_all() {
    let decode = |tag, value: &[u8]| {
        DistinguishedName::from_der(&name(&[(COMMON_NAME, tag, value)]))
            .map(|name| name.common_name().map(str::to_owned))
    };
    for tag in [UTF8, 0x13, 0x16, 0x14, 0x12] {
        assert_eq!(decode(tag, b"123"), Ok(Some("123".to_owned())), "{tag:#x}");
    }
    assert_eq!(
        decode(0x1e, &[0, b'a', 0x67, 0x71]),
        Ok(Some("a東".to_owned()))
    );
    for (tag, value, why) in [
        (0x14, &b"M\xfcller"[..], "not ASCII"),
        (0x16, b"\xff", "not ASCII"),
        (UTF8, b"\xff", "not UTF-8"),
        (0x1e, &[0, b'a', 0], "not UCS-2"),
        (0x1e, &[0xd8, 0], "not UCS-2"),
        (UTF8, b"a\0b", "NUL"),
        (0x1e, &[0, b'a', 0, 0], "NUL"),
        (UTF8, b"a\nb", "control"),
        (UTF8, "a\u{85}".as_bytes(), "control"),
        (OID, &[0x55], "no string"),
    ] {
        let fault = decode(tag, value).expect_err(why).to_string();
        assert!(fault.contains(why), "{fault}");
    }
}

#[test]
fn malformed_der_is_refused() {
    let good = dn("CN=api,O=Example").to_der();
    for end in 0..good.len() {
        assert!(
            DistinguishedName::from_der(&good[..end]).is_err(),
            "cut at {end}"
        );
    }
    for der in [
        [&good[..], &[0]].concat(),
        tlv(SEQUENCE, &tlv(SET, &[])),
        tlv(SET, &[]),
        tlv(SEQUENCE, &tlv(SEQUENCE, &[])),
    ] {
        assert!(DistinguishedName::from_der(&der).is_err(), "{der:02x?}");
    }
    assert_eq!(
        DistinguishedName::from_der(&tlv(SEQUENCE, &[])),
        Ok(DistinguishedName::default())
    );
}

#[test]
fn country_is_printable_and_the_rest_utf8() {
    let der = dn("CN=api,C=DE").to_der();
    assert!(der.windows(4).any(|window| window == [0x13, 2, b'D', b'E']));
    assert!(
        der.windows(5)
            .any(|window| window == [UTF8, 3, b'a', b'p', b'i'])
    );
}

#[test]
fn common_names_are_found_only_when_there_is_one() {
    assert_eq!(dn("CN=a,O=b").common_name(), Some("a"));
    assert_eq!(dn("CN=a,CN=b").common_name(), None);
    assert_eq!(dn("O=b").common_name(), None);
    let root = CommonName::parse("Countersign Root").expect("a name");
    assert_eq!(
        dn("O=Example,C=DE").append_common_name(&root).to_string(),
        "CN=Countersign Root,O=Example,C=DE"
    );
    assert_eq!(
        DistinguishedName::from_common_name(&root).to_string(),
        "CN=Countersign Root"
    );
}
