//! What a certificate says besides names: extensions by their type, and purposes.

use std::fmt;

use const_oid::ObjectIdentifier;
use countersign_pki::identity::VerifiedPeer;

use super::InvalidPolicy;

/// The value of the leaf's extension of one type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExtensionPattern {
    oid: ObjectIdentifier,
    value: ExtensionValue,
}

/// The content of the extension's OCTET STRING (RFC 5280 §4.2), compared whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum ExtensionValue {
    /// These bytes.
    Der(Vec<u8>),
    /// A `UTF8String`, `PrintableString` or `IA5String` of this text, and nothing behind it.
    Text(String),
}

impl ExtensionPattern {
    /// `oid` in dotted form, and the value as text or in hexadecimal digits, exactly one of them.
    pub fn parse(oid: &str, text: Option<&str>, hex: Option<&str>) -> Result<Self, InvalidPolicy> {
        let shown: String = oid.chars().take(80).collect();
        let refuse = |why: &str| InvalidPolicy::new(format!("extension {shown:?}"), why);
        let oid = ObjectIdentifier::new(oid)
            .map_err(|_| refuse("its type is no object identifier, such as 1.3.6.1.4.1.99999.1"))?;
        let value = match (text, hex) {
            (Some(text), None) => ExtensionValue::Text(text.to_owned()),
            (None, Some(hex)) => ExtensionValue::Der(
                bytes_of(hex)
                    .ok_or_else(|| refuse("its value is not of hexadecimal digits, two a byte"))?,
            ),
            _ => {
                return Err(refuse(
                    "its value is given as text or as hex, and as one of them",
                ));
            }
        };
        let length = match &value {
            ExtensionValue::Text(text) => text.len(),
            ExtensionValue::Der(bytes) => bytes.len(),
        };
        if length > MAX_VALUE_BYTES {
            return Err(refuse("its value is over 4096 bytes"));
        }
        Ok(Self { oid, value })
    }

    pub(super) fn oid(&self) -> &ObjectIdentifier {
        &self.oid
    }

    pub(super) fn value(&self) -> &ExtensionValue {
        &self.value
    }

    pub(super) fn is_met_by(&self, peer: &VerifiedPeer) -> bool {
        peer.extension(&self.oid)
            .is_some_and(|extension| match &self.value {
                ExtensionValue::Der(bytes) => bytes == extension.value,
                ExtensionValue::Text(text) => string(extension.value) == Some(text.as_bytes()),
            })
    }
}

impl fmt::Display for ExtensionPattern {
    /// `extension 1.2.3 "prod"`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.value {
            ExtensionValue::Text(text) => write!(f, "extension {} {text:?}", self.oid),
            ExtensionValue::Der(bytes) => {
                write!(f, "extension {} ", self.oid)?;
                bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
        }
    }
}

/// One purpose of extendedKeyUsage, as [`ExtendedKeyUsage::listed`](countersign_pki::certificate::ExtendedKeyUsage::listed) writes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyPurpose(String);

impl KeyPurpose {
    /// `clientAuth`, `emailProtection` or an object identifier.
    pub fn parse(text: &str) -> Result<Self, InvalidPolicy> {
        let shown: String = text.chars().take(80).collect();
        let refuse = |why: &str| Err(InvalidPolicy::new(format!("eku {shown:?}"), why));
        if text == "anyExtendedKeyUsage" || text == "2.5.29.37.0" {
            return refuse(
                "a certificate for any purpose is for none that is named here: name the purpose itself",
            );
        }
        if let Some((name, dotted)) = PURPOSES
            .iter()
            .find(|(name, dotted)| *name == text || *dotted == text)
        {
            let is_decoded = ["serverAuth", "clientAuth", "OCSPSigning"].contains(name);
            return Ok(Self((if is_decoded { *name } else { *dotted }).to_owned()));
        }
        match ObjectIdentifier::new(text) {
            Ok(oid) => Ok(Self(oid.to_string())),
            Err(_) => refuse("it is no purpose, such as clientAuth or 1.3.6.1.5.5.7.3.4"),
        }
    }

    pub(super) fn as_str(&self) -> &str {
        &self.0
    }

    pub(super) fn is_met_by(&self, peer: &VerifiedPeer) -> bool {
        peer.extended_key_usage()
            .is_some_and(|usage| match self.0.as_str() {
                "serverAuth" => usage.server_auth,
                "clientAuth" => usage.client_auth,
                "OCSPSigning" => usage.ocsp_signing,
                dotted => usage.other.iter().any(|other| other == dotted),
            })
    }
}

impl fmt::Display for KeyPurpose {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "eku {}", self.0)
    }
}

/// The text of a DER string whose length has the short or the long form that its length needs (X.690 §10.1).
pub(super) fn string(value: &[u8]) -> Option<&[u8]> {
    // UTF8String, PrintableString, IA5String.
    let [0x0c | 0x13 | 0x16, length, rest @ ..] = value else {
        return None;
    };
    let (length, text) = match (length, rest) {
        (0..=0x7f, text) => (usize::from(*length), text),
        (0x81, [length @ 0x80..=0xff, text @ ..]) => (usize::from(*length), text),
        (0x82, [high @ 1..=0xff, low, text @ ..]) => {
            (usize::from(*high) << 8 | usize::from(*low), text)
        }
        _ => return None,
    };
    (text.len() == length).then_some(text)
}

fn bytes_of(hex: &str) -> Option<Vec<u8>> {
    let digit = |digit: &u8| char::from(*digit).to_digit(16);
    let pairs = hex.as_bytes().chunks(2).map(|pair| match pair {
        [high, low] => u8::try_from(digit(high)? << 4 | digit(low)?).ok(),
        _ => None,
    });
    pairs.collect()
}

/// RFC 5280 §4.2.1.12, and what Windows gives to cards of people.
const PURPOSES: [(&str, &str); 7] = [
    ("serverAuth", "1.3.6.1.5.5.7.3.1"),
    ("clientAuth", "1.3.6.1.5.5.7.3.2"),
    ("codeSigning", "1.3.6.1.5.5.7.3.3"),
    ("emailProtection", "1.3.6.1.5.5.7.3.4"),
    ("timeStamping", "1.3.6.1.5.5.7.3.8"),
    ("OCSPSigning", "1.3.6.1.5.5.7.3.9"),
    ("smartcardLogon", "1.3.6.1.4.1.311.20.2.2"),
];

/// A certificate has 64 KiB at most; no value that a person compares comes near this.
const MAX_VALUE_BYTES: usize = 4096;
