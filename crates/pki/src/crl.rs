//! Certificate revocation lists (RFC 5280 §5): built in two halves like certificates, and decoded.

mod decode;
mod scope;

use der::Tag;

use crate::asn1;
use crate::certificate::{Certificate, id};
use crate::feed::RevocationReason;
use crate::serial::SerialNumber;
use crate::tbs::{self, SignatureAlgorithm};
use crate::time::UnixTime;

pub use decode::{InvalidCrl, ParsedCrl};
pub(crate) use scope::Scope;

/// What a CRL shall say.
#[derive(Clone, Debug)]
pub struct CrlTemplate {
    /// thisUpdate.
    pub this_update: UnixTime,
    /// nextUpdate; always there.
    pub next_update: UnixTime,
    /// cRLNumber.
    pub number: u64,
    /// Revoked certificates; sorted by serial when encoded, the first statement about a serial stands.
    pub entries: Vec<CrlEntry>,
}

/// One revoked certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CrlEntry {
    /// Which.
    pub serial: SerialNumber,
    /// Since when.
    pub revoked_at: UnixTime,
    /// Why; `Unspecified` is left out.
    pub reason: RevocationReason,
}

/// The exact bytes to sign.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CrlToBeSigned {
    der: Vec<u8>,
    algorithm: SignatureAlgorithm,
}

impl CrlTemplate {
    /// Encodes version 2 with cRLNumber and authorityKeyIdentifier.
    pub fn to_be_signed(
        &self,
        issuer: &Certificate,
        algorithm: SignatureAlgorithm,
    ) -> CrlToBeSigned {
        let mut entries = self.entries.clone();
        entries.sort_by_key(|entry| entry.serial);
        entries.dedup_by_key(|entry| entry.serial);
        // RFC 5280 §5.1.2.6: when there are none, the list is left out.
        let revoked = if entries.is_empty() {
            Vec::new()
        } else {
            asn1::sequence(&entries.iter().map(CrlEntry::encode).collect::<Vec<_>>())
        };
        let authority_key_id =
            asn1::sequence(&[asn1::tlv(asn1::primitive(0), &tbs::issuer_key_id(issuer))]);
        // RFC 5280 §5.2.1, §5.2.3: neither is critical.
        let extensions = asn1::sequence(&[
            asn1::extension(id::AUTHORITY_KEY_ID, false, &authority_key_id),
            asn1::extension(id::CRL_NUMBER, false, &asn1::unsigned(self.number)),
        ]);
        let der = asn1::sequence(&[
            asn1::unsigned(1),
            algorithm.identifier(),
            issuer.subject_der().to_vec(),
            asn1::time(self.this_update),
            asn1::time(self.next_update),
            revoked,
            asn1::tlv(asn1::constructed(0), &extensions),
        ]);
        CrlToBeSigned { der, algorithm }
    }
}

impl CrlEntry {
    fn encode(&self) -> Vec<u8> {
        let serial = asn1::tlv(Tag::Integer, &self.serial.to_der_integer());
        // RFC 5280 §5.3.1: reasonCode should be absent instead of unspecified.
        let extensions = match self.reason {
            RevocationReason::Unspecified => Vec::new(),
            reason => asn1::sequence(&[asn1::extension(
                id::REASON_CODE,
                false,
                &asn1::tlv(Tag::Enumerated, &[reason.code()]),
            )]),
        };
        asn1::sequence(&[serial, asn1::time(self.revoked_at), extensions])
    }
}

impl CrlToBeSigned {
    /// What to sign.
    pub fn bytes(&self) -> &[u8] {
        &self.der
    }

    /// With what.
    pub fn algorithm(&self) -> SignatureAlgorithm {
        self.algorithm
    }

    /// The CRL in DER.
    pub fn complete(&self, signature: &[u8]) -> Vec<u8> {
        tbs::signed(&self.der, self.algorithm, signature)
    }
}
