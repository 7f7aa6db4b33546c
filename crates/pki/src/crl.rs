//! Certificate revocation lists (RFC 5280 §5), complete or in shards: built in two halves like certificates, and decoded.

mod accepted;
mod decode;
mod rows;
mod scope;
mod shard;

use der::Tag;

use crate::asn1;
use crate::certificate::{Certificate, id};
use crate::feed::RevocationReason;
use crate::serial::SerialNumber;
use crate::tbs::{self, SignatureAlgorithm};
use crate::time::UnixTime;

pub(crate) use decode::reason_of;

pub use accepted::{AcceptedCrl, CrlRefused};
pub use decode::{InvalidCrl, ParsedCrl};
pub use rows::{CrlRowFault, CrlRows, MAX_ROWS_BYTES};
pub use scope::{CrlScope, Holders};
pub use shard::shard_of;

/// What a CRL shall say, apart from its entries.
#[derive(Clone, Debug)]
pub struct CrlTemplate {
    /// thisUpdate.
    pub this_update: UnixTime,
    /// nextUpdate; always there.
    pub next_update: UnixTime,
    /// cRLNumber; each shard may count for itself (RFC 5280 §5.2.3: increasing per issuer and scope).
    pub number: u64,
    /// What it covers.
    pub scope: CrlScope,
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
    /// invalidityDate: since when it should not have been trusted, if that is known to be earlier (RFC 5280 §5.3.2).
    pub invalid_since: Option<UnixTime>,
}

/// The exact bytes to sign.
///
/// Invariant: the buffer has room for what [`CrlToBeSigned::complete`] adds, so that a large list is in memory once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CrlToBeSigned {
    der: Vec<u8>,
    algorithm: SignatureAlgorithm,
}

impl CrlTemplate {
    /// Encodes a list of few: sorted by serial, the first statement about a serial stands.
    pub fn to_be_signed(
        &self,
        issuer: &Certificate,
        algorithm: SignatureAlgorithm,
        entries: &[CrlEntry],
    ) -> CrlToBeSigned {
        let mut entries = entries.to_vec();
        entries.sort_by_key(|entry| entry.serial);
        entries.dedup_by_key(|entry| entry.serial);
        let rows: Vec<Vec<u8>> = entries.iter().map(CrlEntry::encode).collect();
        let bytes = rows.iter().map(Vec::len).sum();
        self.to_be_signed_from(issuer, algorithm, CrlRows { bytes, rows })
            .expect("entries encoded and sorted just above")
    }

    /// Encodes a list of many: each row goes into the buffer as it comes, is checked there, and nothing else is kept of it.
    pub fn to_be_signed_from<Row: AsRef<[u8]>>(
        &self,
        issuer: &Certificate,
        algorithm: SignatureAlgorithm,
        rows: CrlRows<impl IntoIterator<Item = Row>>,
    ) -> Result<CrlToBeSigned, CrlRowFault> {
        let head = asn1::concatenate(&[
            asn1::unsigned(1),
            algorithm.identifier(),
            issuer.subject_der().to_vec(),
            asn1::time(self.this_update),
            asn1::time(self.next_update),
        ]);
        let tail = asn1::tlv(
            asn1::constructed(0),
            &asn1::sequence(&self.extensions(issuer)),
        );
        let rows_header = rows.header()?;
        let content = head.len() + rows_header.len() + rows.bytes + tail.len();
        let header = asn1::header(Tag::Sequence, content);
        let mut der = Vec::with_capacity(header.len() + content + completion_room(algorithm));
        der.extend(header);
        der.extend(head);
        der.extend(rows_header);
        rows.write(&mut der)?;
        der.extend(tail);
        Ok(CrlToBeSigned { der, algorithm })
    }

    fn extensions(&self, issuer: &Certificate) -> Vec<Vec<u8>> {
        let authority_key_id =
            asn1::sequence(&[asn1::tlv(asn1::primitive(0), &tbs::issuer_key_id(issuer))]);
        // RFC 5280 §5.2.1, §5.2.3: these two are not critical; §5.2.5: the scope is.
        let mut extensions = vec![
            asn1::extension(id::AUTHORITY_KEY_ID, false, &authority_key_id),
            asn1::extension(id::CRL_NUMBER, false, &asn1::unsigned(self.number)),
        ];
        let scope = self.scope.encode();
        extensions.extend(
            scope.map(|scope| asn1::extension(id::ISSUING_DISTRIBUTION_POINT, true, &scope)),
        );
        extensions
    }
}

impl CrlEntry {
    /// The DER of an element of revokedCertificates, for [`CrlRows`]: 39 bytes for a serial of 20 octets, 53 with a
    /// reason.
    pub fn encode(&self) -> Vec<u8> {
        let serial = asn1::tlv(Tag::Integer, &self.serial.to_der_integer());
        let mut extensions = Vec::new();
        // RFC 5280 §5.3.1: reasonCode should be absent instead of unspecified.
        if self.reason != RevocationReason::Unspecified {
            let reason = asn1::tlv(Tag::Enumerated, &[self.reason.code()]);
            extensions.push(asn1::extension(id::REASON_CODE, false, &reason));
        }
        if let Some(since) = self.invalid_since {
            let since = asn1::generalized_time(since);
            extensions.push(asn1::extension(id::INVALIDITY_DATE, false, &since));
        }
        let extensions = if extensions.is_empty() {
            Vec::new()
        } else {
            asn1::sequence(&extensions)
        };
        asn1::sequence(&[serial, asn1::time(self.revoked_at), extensions])
    }
}

impl CrlToBeSigned {
    /// Reads what was drafted elsewhere, for a key of `issuer` that lies here. What is no list of `issuer`, in whole or by
    /// its algorithm, is not signed.
    pub fn read(der: &[u8], issuer: &Certificate) -> Result<Self, InvalidCrl> {
        let invalid = |why: &str| InvalidCrl {
            why: why.to_owned(),
        };
        let algorithm = SignatureAlgorithm::of_key(issuer.public_key_algorithm())
            .ok_or_else(|| invalid("nothing is signed with a key of its issuer's kind"))?;
        let unsigned = Self {
            der: der.to_vec(),
            algorithm,
        };
        // Also refuses what names another algorithm inside.
        let preview = ParsedCrl::parse(&unsigned.clone().complete(&[]))?;
        if preview.is_issued_by(issuer.subject_der()) {
            Ok(unsigned)
        } else {
            Err(InvalidCrl {
                why: format!(
                    "its issuer is {}, not {}",
                    preview.issuer(),
                    issuer.subject()
                ),
            })
        }
    }

    /// What to sign.
    pub fn bytes(&self) -> &[u8] {
        &self.der
    }

    /// With what.
    pub fn algorithm(&self) -> SignatureAlgorithm {
        self.algorithm
    }

    /// The CRL in DER, in the same buffer.
    pub fn complete(self, signature: &[u8]) -> Vec<u8> {
        let (mut der, algorithm) = (self.der, self.algorithm.identifier());
        let signature = asn1::bit_string(signature);
        let header = asn1::header(Tag::Sequence, der.len() + algorithm.len() + signature.len());
        der.extend(algorithm);
        der.extend(signature);
        der.splice(0..0, header);
        der
    }
}

/// A header has at most 6 bytes; algorithm and signature of P-384 have under 120, those of RSA 4096 under 540, and an ML-DSA
/// signature 2420, 3309 or 4627 (FIPS 204, table 2).
const fn completion_room(algorithm: SignatureAlgorithm) -> usize {
    match algorithm {
        SignatureAlgorithm::MlDsa44 => 2460,
        SignatureAlgorithm::MlDsa65 => 3350,
        SignatureAlgorithm::MlDsa87 => 4670,
        SignatureAlgorithm::RsaPkcs1Sha256 => 576,
        SignatureAlgorithm::EcdsaP256Sha256
        | SignatureAlgorithm::EcdsaP384Sha384
        | SignatureAlgorithm::Ed25519 => 128,
    }
}
