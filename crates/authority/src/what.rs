//! WHAT of the command line: which certificates are meant.

use std::convert::Infallible;
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use countersign_pki::certificate::Certificate;
use countersign_pki::dn::DistinguishedName;
use countersign_pki::fingerprint::Fingerprint;
use countersign_pki::name::{NameKind, TypedName};
use countersign_pki::serial::SerialNumber;
use countersign_pki::spiffe::TrustDomain;
use countersign_store::inventory::{Filter, Selector};

/// Which certificates a revocation, a hold or a release means: those that are named and fit the filter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Meant {
    /// By WHAT.
    pub what: Option<What>,
    /// As for a list.
    pub filter: Filter,
    /// Also those past their end.
    pub with_ended: bool,
    /// A serial number that the inventory does not have is meant too.
    pub is_unrecorded: bool,
}

impl Meant {
    /// What one WHAT means.
    pub fn just(what: What) -> Self {
        Self {
            what: Some(what),
            filter: Filter::default(),
            with_ended: false,
            is_unrecorded: false,
        }
    }
}

impl fmt::Display for Meant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.what {
            Some(what) => what.fmt(f),
            None => f.write_str("what these filters mean"),
        }
    }
}

/// Which certificates are meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// One certificate by the SHA-256 of its DER, or if there is none, this word.
    Fingerprint(Fingerprint, String),
    /// Every certificate of exactly this typed name.
    Name(TypedName),
    /// The certificate of this serial number, or if there is none, this word.
    Serial(SerialNumber, String),
    /// A bare word: every certificate that has it as a typed name of any kind.
    Word(String),
}

impl What {
    pub(crate) fn selector(&self, trust_domain: &TrustDomain) -> Selector {
        match self {
            Self::Fingerprint(fingerprint, _) => Selector::Fingerprint(*fingerprint),
            Self::Name(name) => Selector::Names(vec![name.clone()]),
            Self::Serial(serial, _) => Selector::Serial(*serial),
            Self::Word(word) => Selector::Names(names_of(word, trust_domain)),
        }
    }

    /// The names that it can mean, whatever else it looks like.
    pub(crate) fn names(&self, trust_domain: &TrustDomain) -> Vec<TypedName> {
        match self {
            Self::Name(name) => vec![name.clone()],
            Self::Fingerprint(_, word) | Self::Serial(_, word) | Self::Word(word) => {
                names_of(word, trust_domain)
            }
        }
    }

    /// Whether it means this certificate, which need not be in the inventory.
    pub(crate) fn is_certificate(&self, certificate: &Certificate) -> bool {
        match self {
            Self::Fingerprint(fingerprint, _) => *fingerprint == certificate.fingerprint(),
            Self::Name(name) => certificate.names().contains(name),
            Self::Serial(serial, _) => *serial == certificate.serial(),
            Self::Word(_) => false,
        }
    }

    /// What else it can mean where the selector finds nothing.
    pub(crate) fn second_reading(&self, trust_domain: &TrustDomain) -> Option<Selector> {
        match self {
            Self::Fingerprint(_, word) | Self::Serial(_, word) => {
                Some(Selector::Names(names_of(word, trust_domain)))
            }
            Self::Name(_) | Self::Word(_) => None,
        }
    }
}

impl FromStr for What {
    type Err = Infallible;

    /// An IP address is a word, whatever else it looks like. 64 hexadecimal digits are a fingerprint; 40, or any in groups
    /// of two with colons between, a serial; then typed names and DNs; the rest is a word. Our serials have 40 digits, so
    /// that a short word such as `cafe` stays a name.
    fn from_str(text: &str) -> Result<Self, Infallible> {
        let word = || text.to_owned();
        if text.parse::<IpAddr>().is_ok() {
            return Ok(Self::Word(word()));
        }
        let (plain, pairs) = (is_hexadecimal(text), is_in_pairs(text));
        let digits = text.bytes().filter(u8::is_ascii_hexdigit).count();
        if (plain || pairs)
            && digits == 64
            && let Ok(fingerprint) = text.parse()
        {
            return Ok(Self::Fingerprint(fingerprint, word()));
        }
        if (plain && digits == 40 || pairs)
            && let Ok(serial) = text.parse()
        {
            return Ok(Self::Serial(serial, word()));
        }
        if let Ok(name) = text.parse() {
            return Ok(Self::Name(name));
        }
        if text.contains('=')
            && let Ok(name) = DistinguishedName::parse(text)
            && !name.is_empty()
        {
            return Ok(Self::Name(TypedName::Dn(name)));
        }
        Ok(Self::Word(word()))
    }
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fingerprint(fingerprint, _) => fingerprint.fmt(f),
            Self::Name(name) => name.fmt(f),
            Self::Serial(serial, _) => serial.fmt(f),
            // What a person or program typed: quoted and escaped.
            Self::Word(word) => write!(f, "{word:?}"),
        }
    }
}

/// A word is a name of every kind that it can be one of, and a SPIFFE ID by its path in the authority's own domain.
fn names_of(word: &str, trust_domain: &TrustDomain) -> Vec<TypedName> {
    let of_kind = |kind: NameKind| TypedName::parse_as(kind, word).ok();
    let path = word.strip_prefix('/').unwrap_or(word);
    let spiffe = trust_domain
        .id(&format!("/{path}"))
        .ok()
        .map(TypedName::Spiffe);
    BARE.into_iter().filter_map(of_kind).chain(spiffe).collect()
}

fn is_hexadecimal(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

fn is_in_pairs(text: &str) -> bool {
    let is_pair = |group: &str| group.len() == 2 && is_hexadecimal(group);
    text.contains(':') && text.split(':').all(is_pair)
}

/// The kinds that a word is tried as. A SPIFFE ID, an SPKI hash and a serial with issuer have a spelling of their own.
const BARE: [NameKind; 6] = [
    NameKind::Dns,
    NameKind::Ip,
    NameKind::Email,
    NameKind::Uri,
    NameKind::Cn,
    NameKind::Dn,
];

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &str) {
        let what: What = text.parse().expect("infallible");
        let kind = match &what {
            What::Fingerprint(..) => "fingerprint".to_owned(),
            What::Name(name) => format!("name {name}"),
            What::Serial(serial, _) => format!("serial {serial}"),
            What::Word(word) => format!("word {word}"),
        };
        assert_eq!(kind, expected, "{text}");
    }

    #[test]
    fn what_is_read_by_its_form() {
        check(&"ab".repeat(32), "fingerprint");
        check(&["ab"; 32].join(":"), "fingerprint");
        check(&"4c".repeat(20), &format!("serial {}", "4c".repeat(20)));
        check("0A:FF", "serial 0aff");
        // Eight pairs are an IPv6 address too; our serials have twenty.
        for address in [
            "::1",
            "fe80::1",
            "2001:db8:85a3:8d3:1319:8a2e:370:7348",
            "01:02:03:04:05:06:07:08",
            "192.0.2.1",
        ] {
            check(address, &format!("word {address}"));
        }
        for word in ["dead:beef", "ab:c", "ab:", ":ab", "a:b:c", ":"] {
            check(word, &format!("word {word}"));
        }
        check("dns:api.example.com", "name dns:api.example.com");
        check("spiffe://example.com/a", "name spiffe://example.com/a");
        check("CN=api,O=Example", "name dn:CN=api,O=Example");
        check("/O=Example/CN=api", "name dn:CN=api,O=Example");
        check("cafe", "word cafe");
        check("you", "word you");
        check("", "word ");
    }

    #[test]
    fn word_means_every_kind_of_name_and_the_path_of_an_own_spiffe_id() {
        let domain = TrustDomain::parse("example.com").expect("a trust domain");
        let names = |what: &str| match what.parse::<What>().expect("infallible").selector(&domain) {
            Selector::Names(names) => names.iter().map(ToString::to_string).collect::<Vec<_>>(),
            other => panic!("{other:?}"),
        };
        assert_eq!(
            names("billing"),
            ["dns:billing", "cn:billing", "spiffe://example.com/billing"]
        );
        assert_eq!(names("cn:billing"), ["cn:billing"]);
        assert!(names("\u{7}").is_empty());
    }
}
