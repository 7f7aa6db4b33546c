//! Reading a file.

use const_oid::ObjectIdentifier;
use der::Tag;
use zeroize::Zeroizing;

use super::{
    CERTIFICATE_BAG, CRL_BAG, Contents, DATA, ENCRYPTED_DATA, ENVELOPED_DATA, Entry, FRIENDLY_NAME,
    Integrity, KEY_BAG, Key, LOCAL_KEY_ID, NESTED_BAG, SECRET_BAG, SHROUDED_KEY_BAG, SIGNED_DATA,
    TRUSTED_KEY_USAGE, X509_CERTIFICATE, mac,
};
use crate::asn1::{Cursor, Tlv, constructed, dotted, primitive};
use crate::certificate::Certificate;
use crate::password::Password;
use crate::pbes2::{self, Budget, Locked, malformed};

pub(super) fn is_one(der: &[u8]) -> bool {
    let begins = || {
        let outer = Cursor::new(der).expect(Tag::Sequence, "").ok()?;
        let version = outer.cursor().expect(Tag::Integer, "").ok()?;
        version.unsigned("").ok()
    };
    // Something that BER's indefinite length hides from us begins so too.
    begins() == Some(3) || der.starts_with(&[0x30, 0x80, 0x02, 0x01, 0x03])
}

pub(super) fn open(
    der: &[u8],
    password: &Password,
    budget: &mut Budget,
) -> Result<Contents, Locked> {
    if der.len() > MAX_BYTES {
        return Err(malformed(&format!(
            "the file has {} bytes, at most {MAX_BYTES} are taken",
            der.len()
        )));
    }
    let mut outer = Cursor::new(der);
    let pfx = outer.expect(Tag::Sequence, "the PKCS#12 file")?;
    outer.finish("the PKCS#12 file")?;
    let mut fields = pfx.cursor();
    let version = fields.expect(Tag::Integer, "the version")?;
    if version.unsigned("the version")? != 3 {
        return Err(malformed("it is not version 3 of PKCS#12"));
    }
    let (kind, content) = content_info(&fields.expect(Tag::Sequence, "the authenticated safe")?)?;
    let mac_data = fields.optional(Tag::Sequence, "the MAC")?;
    fields.finish("the PKCS#12 file")?;
    if kind == SIGNED_DATA {
        return Err(named("a signature (public-key integrity)"));
    }
    let safe = octets(&content, kind)?;
    let mut reading = Reading {
        password,
        budget,
        bags: 0,
        contents: Contents {
            keys: Vec::new(),
            certificates: Vec::new(),
            integrity: Integrity::Absent,
        },
    };
    if let Some(mac_data) = mac_data {
        reading.contents.integrity = mac::verify(&mac_data, safe, password, reading.budget)?;
    }
    reading.authenticated_safe(safe)?;
    Ok(reading.contents)
}

/// A file that is being read, and what it has cost.
struct Reading<'a> {
    password: &'a Password,
    budget: &'a mut Budget,
    bags: usize,
    contents: Contents,
}

impl Reading<'_> {
    fn authenticated_safe(&mut self, der: &[u8]) -> Result<(), Locked> {
        let mut outer = Cursor::new(der);
        let parts = outer.expect(Tag::Sequence, "the authenticated safe")?;
        outer.finish("the authenticated safe")?;
        let mut parts = parts.cursor();
        while !parts.is_at_end() {
            self.count()?;
            let part = parts.expect(Tag::Sequence, "a part of the safe")?;
            let (kind, content) = content_info(&part)?;
            if kind == ENCRYPTED_DATA {
                let plain = self.decrypt(&content)?;
                self.safe_contents(&plain)?;
            } else {
                let plain = octets(&content, kind)?;
                self.safe_contents(plain)?;
            }
        }
        Ok(())
    }

    /// `EncryptedData` (RFC 5652 §8).
    fn decrypt(&mut self, content: &Tlv<'_>) -> Result<Zeroizing<Vec<u8>>, Locked> {
        let mut wrapped = content.cursor();
        let data = wrapped.expect(Tag::Sequence, "the encrypted data")?;
        wrapped.finish("the encrypted data")?;
        let mut fields = data.cursor();
        fields.expect(Tag::Integer, "the encrypted data's version")?;
        let info = fields.expect(Tag::Sequence, "the encrypted content")?;
        // Unprotected attributes may follow, which say nothing of ours.
        let mut fields = info.cursor();
        let kind = oid(&fields.expect(Tag::ObjectIdentifier, "the encrypted content's type")?)?;
        if kind != DATA {
            return Err(malformed("the encrypted content is not data"));
        }
        let algorithm = fields.expect(Tag::Sequence, "the encryption's algorithm")?;
        let ciphertext = fields.expect(primitive(0), "the encrypted content")?;
        fields.finish("the encrypted content")?;
        pbes2::open(&algorithm, ciphertext.content, self.password, self.budget)
    }

    fn safe_contents(&mut self, der: &[u8]) -> Result<(), Locked> {
        let mut outer = Cursor::new(der);
        let bags = outer.expect(Tag::Sequence, "the safe's contents")?;
        outer.finish("the safe's contents")?;
        let mut bags = bags.cursor();
        while !bags.is_at_end() {
            self.count()?;
            let bag = bags.expect(Tag::Sequence, "a bag")?;
            self.bag(&bag)?;
        }
        Ok(())
    }

    fn bag(&mut self, bag: &Tlv<'_>) -> Result<(), Locked> {
        let mut fields = bag.cursor();
        let kind = oid(&fields.expect(Tag::ObjectIdentifier, "a bag's type")?)?;
        let mut value = fields.expect(constructed(0), "a bag's value")?.cursor();
        let attributes = match fields.optional(Tag::Set, "a bag's attributes")? {
            Some(set) => Attributes::read(&set)?,
            None => Attributes::default(),
        };
        fields.finish("a bag")?;
        match kind {
            KEY_BAG => {
                let key = value.expect(Tag::Sequence, "the private key")?;
                self.key(Zeroizing::new(key.whole.to_vec()), attributes);
            }
            SHROUDED_KEY_BAG => {
                let key = value.expect(Tag::Sequence, "the encrypted private key")?;
                let pkcs8 = pbes2::open_encrypted(&key, self.password, self.budget)?;
                self.key(pkcs8, attributes);
            }
            CERTIFICATE_BAG => {
                let entry = certificate(&value.expect(Tag::Sequence, "a certificate bag")?)?;
                self.contents.certificates.push(Entry {
                    certificate: entry,
                    friendly_name: attributes.friendly_name,
                    local_key_id: attributes.local_key_id,
                    is_trusted: attributes.is_trusted,
                });
            }
            // Neither keys nor certificates.
            CRL_BAG | SECRET_BAG => {
                value.any("a bag's value")?;
            }
            NESTED_BAG => {
                return Err(malformed(
                    "a bag holds further bags, which is not read here",
                ));
            }
            other => {
                return Err(malformed(&format!(
                    "a bag has the type {}, which RFC 7292 does not know",
                    dotted(&other)
                )));
            }
        }
        value.finish("a bag's value")?;
        Ok(())
    }

    fn key(&mut self, pkcs8: Zeroizing<Vec<u8>>, attributes: Attributes) {
        self.contents.keys.push(Key {
            pkcs8,
            friendly_name: attributes.friendly_name,
            local_key_id: attributes.local_key_id,
        });
    }

    fn count(&mut self) -> Result<(), Locked> {
        self.bags += 1;
        if self.bags > MAX_BAGS {
            return Err(malformed(&format!("it has more than {MAX_BAGS} parts")));
        }
        Ok(())
    }
}

#[derive(Default)]
struct Attributes {
    friendly_name: Option<String>,
    local_key_id: Option<Vec<u8>>,
    is_trusted: bool,
}

impl Attributes {
    fn read(set: &Tlv<'_>) -> Result<Self, Locked> {
        let mut found = Self::default();
        let mut attributes = set.cursor();
        while !attributes.is_at_end() {
            let attribute = attributes.expect(Tag::Sequence, "an attribute")?;
            let mut fields = attribute.cursor();
            let id = oid(&fields.expect(Tag::ObjectIdentifier, "an attribute's type")?)?;
            let values = fields.expect(Tag::Set, "an attribute's values")?;
            fields.finish("an attribute")?;
            let mut values = values.cursor();
            match id {
                FRIENDLY_NAME => {
                    let name = values.expect(Tag::BmpString, "the friendly name")?;
                    found.friendly_name = Some(bmp_text(name.content)?);
                }
                LOCAL_KEY_ID => {
                    let id = values.expect(Tag::OctetString, "the local key ID")?;
                    found.local_key_id = Some(id.content.to_vec());
                }
                TRUSTED_KEY_USAGE => found.is_trusted = true,
                // Microsoft's provider name and the like.
                _ => {}
            }
        }
        Ok(found)
    }
}

/// The type and the content of a `ContentInfo`.
fn content_info<'a>(sequence: &Tlv<'a>) -> Result<(ObjectIdentifier, Tlv<'a>), Locked> {
    let mut fields = sequence.cursor();
    let kind = oid(&fields.expect(Tag::ObjectIdentifier, "the content's type")?)?;
    let content = fields.expect(constructed(0), "the content")?;
    fields.finish("the content")?;
    Ok((kind, content))
}

/// The OCTET STRING of a `ContentInfo` of type data.
fn octets<'a>(content: &Tlv<'a>, kind: ObjectIdentifier) -> Result<&'a [u8], Locked> {
    match kind {
        DATA => {
            let mut wrapped = content.cursor();
            let octets = wrapped.expect(Tag::OctetString, "the content")?;
            wrapped.finish("the content")?;
            Ok(octets.content)
        }
        ENVELOPED_DATA => Err(named("a recipient's key (public-key privacy)")),
        other => Err(malformed(&format!(
            "a part has the type {}, which RFC 7292 does not know",
            dotted(&other)
        ))),
    }
}

fn certificate(bag: &Tlv<'_>) -> Result<Certificate, Locked> {
    let mut fields = bag.cursor();
    let kind = oid(&fields.expect(Tag::ObjectIdentifier, "a certificate's type")?)?;
    if kind != X509_CERTIFICATE {
        return Err(malformed("a certificate is not of type X.509"));
    }
    let mut wrapped = fields.expect(constructed(0), "a certificate")?.cursor();
    fields.finish("a certificate bag")?;
    let der = wrapped.expect(Tag::OctetString, "a certificate")?;
    wrapped.finish("a certificate")?;
    Certificate::parse(der.content).map_err(|error| malformed(&format!("a certificate: {error}")))
}

fn oid(tlv: &Tlv<'_>) -> Result<ObjectIdentifier, Locked> {
    let oid = tlv.oid("a type")?;
    ObjectIdentifier::from_bytes(oid.as_bytes())
        .map_err(|_| malformed("an object identifier is too long"))
}

fn bmp_text(bytes: &[u8]) -> Result<String, Locked> {
    let units = bytes.chunks_exact(2);
    if !units.remainder().is_empty() {
        return Err(malformed("the friendly name is not whole characters"));
    }
    let units = units.map(|pair| u16::from_be_bytes([pair[0], pair[1]]));
    // Windows writes surrogate pairs, though a BMPString has none.
    Ok(char::decode_utf16(units)
        .map(|c| c.unwrap_or(char::REPLACEMENT_CHARACTER))
        .collect())
}

fn named(algorithm: &str) -> Locked {
    Locked::Unsupported {
        algorithm: algorithm.to_owned(),
    }
}

/// A key with a long chain has 20 KiB; the system's whole root store, as a truststore, some 250 KiB.
const MAX_BYTES: usize = 1024 * 1024;

/// Parts and bags together: that truststore has some 150.
const MAX_BAGS: usize = 1024;
