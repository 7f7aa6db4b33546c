//! OCSP without anybody else: what is refused, what is repeated, what a response says byte for byte.

mod answer;
mod request;
mod response;

use countersign_pki::certificate::Certificate;
use countersign_pki::ocsp::{CertId, CertIdHash, IssuerHashes, OcspRequest};

use crate::forge::{INTEGER, OCTET_STRING, OID, SEQUENCE, extension, tlv};

const SHA1: &[u8] = &[0x2b, 0x0e, 3, 2, 0x1a];
const NONCE: &[u8] = &[0x2b, 6, 1, 5, 5, 7, 0x30, 1, 2];

/// An `OCSPRequest` in DER, field by field, to be spoilt one at a time.
#[derive(Clone)]
struct Asked {
    version: Vec<u8>,
    requestor: Vec<u8>,
    questions: Vec<Vec<u8>>,
    extensions: Vec<Vec<u8>>,
    signature: Vec<u8>,
}

impl Asked {
    fn about(ids: &[CertId]) -> Self {
        Self {
            version: Vec::new(),
            requestor: Vec::new(),
            questions: ids.iter().map(|id| tlv(SEQUENCE, id.der())).collect(),
            extensions: Vec::new(),
            signature: Vec::new(),
        }
    }

    fn with_nonce(mut self, octets: usize) -> Self {
        self.extensions.push(extension(
            NONCE,
            false,
            &tlv(OCTET_STRING, &vec![7; octets]),
        ));
        self
    }

    fn der(&self) -> Vec<u8> {
        let extensions = match self.extensions.as_slice() {
            [] => Vec::new(),
            all => tlv(0xa2, &tlv(SEQUENCE, &all.concat())),
        };
        let fields = [
            self.version.clone(),
            self.requestor.clone(),
            tlv(SEQUENCE, &self.questions.concat()),
            extensions,
        ];
        tlv(
            SEQUENCE,
            &[tlv(SEQUENCE, &fields.concat()), self.signature.clone()].concat(),
        )
    }

    fn parse(&self) -> OcspRequest {
        OcspRequest::parse(&self.der()).expect("a request that decodes")
    }
}

fn id(issuer: &Certificate, serial: &str) -> CertId {
    CertId::of(
        &IssuerHashes::of(issuer),
        serial.parse().expect("a serial of the test"),
        CertIdHash::Sha1,
    )
}

/// A `CertID` of anything.
fn foreign_id(algorithm: &[u8], name: &[u8], key: &[u8], serial: &[u8]) -> Vec<u8> {
    tlv(
        SEQUENCE,
        &[
            tlv(SEQUENCE, &tlv(OID, algorithm)),
            tlv(OCTET_STRING, name),
            tlv(OCTET_STRING, key),
            tlv(INTEGER, serial),
        ]
        .concat(),
    )
}
