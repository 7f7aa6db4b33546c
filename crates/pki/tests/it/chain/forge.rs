//! A small CA that issues whatever it is told, sound or not.

use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};

use countersign_pki::certificate::Certificate;
use countersign_pki::fingerprint::Fingerprint;
use countersign_pki::serial::SerialNumber;
use countersign_pki::time::UnixTime;
use rcgen::{KeyPair, PublicKeyData, SigningKey};
use rustls_pki_types::CertificateDer;

pub(crate) const NOW: UnixTime = UnixTime::from_seconds(1_767_225_600);
pub(crate) const DAY: u64 = 86_400;

pub(crate) const DIGITAL_SIGNATURE: u8 = 0x80;
pub(crate) const KEY_CERT_SIGN: u8 = 0x04;

pub(crate) const SERVER_AUTH: &[u8] = &[0x2b, 6, 1, 5, 5, 7, 3, 1];
pub(crate) const CLIENT_AUTH: &[u8] = &[0x2b, 6, 1, 5, 5, 7, 3, 2];
pub(crate) const ANY_PURPOSE: &[u8] = &[0x55, 0x1d, 37, 0];
pub(crate) const CODE_SIGNING: &[u8] = &[0x2b, 6, 1, 5, 5, 7, 3, 3];
pub(crate) const EMAIL_PROTECTION: &[u8] = &[0x2b, 6, 1, 5, 5, 7, 3, 4];

pub(crate) const ECDSA_SHA256: &[u8] = &[0x06, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 2];
const ED25519: &[u8] = &[0x06, 3, 0x2b, 0x65, 0x70];
const ML_DSA_44: &[u8] = &[0x06, 9, 0x60, 0x86, 0x48, 1, 0x65, 3, 4, 3, 17];
const ML_DSA_65: &[u8] = &[0x06, 9, 0x60, 0x86, 0x48, 1, 0x65, 3, 4, 3, 18];
const ML_DSA_87: &[u8] = &[0x06, 9, 0x60, 0x86, 0x48, 1, 0x65, 3, 4, 3, 19];

/// A certificate to be, sound unless told otherwise.
#[derive(Clone)]
pub(crate) struct Plan {
    pub(crate) subject: Vec<u8>,
    pub(crate) key: Rc<KeyPair>,
    pub(crate) spki: Vec<u8>,
    pub(crate) version: u8,
    pub(crate) serial: Vec<u8>,
    pub(crate) not_before: u64,
    pub(crate) not_after: u64,
    pub(crate) basic_constraints: Option<(bool, Option<u8>)>,
    pub(crate) key_usage: Option<u8>,
    pub(crate) purposes: Vec<&'static [u8]>,
    pub(crate) alt_names: Vec<Vec<u8>>,
    pub(crate) has_key_id: bool,
    pub(crate) quotes_issuer_key: bool,
    pub(crate) more_extensions: Vec<Vec<u8>>,
    pub(crate) signature_algorithm: Option<&'static [u8]>,
}

/// A certificate that was signed.
#[derive(Clone)]
pub(crate) struct Issued {
    pub(crate) plan: Plan,
    pub(crate) der: CertificateDer<'static>,
    pub(crate) issuer_key: Fingerprint,
}

pub(crate) fn key() -> Rc<KeyPair> {
    Rc::new(KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).expect("a key"))
}

/// A CA certificate valid for a hundred days around [`NOW`].
pub(crate) fn ca(name: &str) -> Plan {
    let plan = leaf(name, &[]);
    Plan {
        basic_constraints: Some((true, None)),
        key_usage: Some(KEY_CERT_SIGN),
        purposes: vec![],
        ..plan.valid(-50, 50)
    }
}

/// A leaf for both purposes, valid for two days around [`NOW`].
pub(crate) fn leaf(name: &str, alt_names: &[Vec<u8>]) -> Plan {
    static SERIAL: AtomicU64 = AtomicU64::new(1);
    let key = key();
    let serial = SERIAL.fetch_add(1, Ordering::Relaxed);
    Plan {
        subject: common_name(name),
        spki: key.subject_public_key_info(),
        key,
        version: 3,
        serial: [&[0x40][..], &serial.to_be_bytes()].concat(),
        not_before: 0,
        not_after: 0,
        basic_constraints: Some((false, None)),
        key_usage: Some(DIGITAL_SIGNATURE),
        purposes: vec![SERVER_AUTH, CLIENT_AUTH],
        alt_names: alt_names.to_vec(),
        has_key_id: true,
        quotes_issuer_key: true,
        more_extensions: vec![],
        signature_algorithm: None,
    }
    .valid(-1, 1)
}

impl Plan {
    /// From and until so many days from [`NOW`].
    pub(crate) fn valid(self, from: i64, until: i64) -> Self {
        let day = |days: i64| NOW.seconds().saturating_add_signed(days * 86_400);
        Self {
            not_before: day(from),
            not_after: day(until),
            ..self
        }
    }

    pub(crate) fn with_key(self, key: Rc<KeyPair>) -> Self {
        Self {
            spki: key.subject_public_key_info(),
            key,
            ..self
        }
    }

    pub(crate) fn self_signed(&self) -> Issued {
        let signer = self.clone();
        self.sign(&signer)
    }

    pub(crate) fn signed_by(&self, issuer: &Issued) -> Issued {
        self.sign(&issuer.plan)
    }

    fn sign(&self, issuer: &Plan) -> Issued {
        let own = issuer.key.algorithm();
        let algorithm = match self.signature_algorithm {
            Some(given) => given,
            None if own == &rcgen::PKCS_ED25519 => ED25519,
            None if own == &rcgen::PKCS_ML_DSA_44 => ML_DSA_44,
            None if own == &rcgen::PKCS_ML_DSA_65 => ML_DSA_65,
            None if own == &rcgen::PKCS_ML_DSA_87 => ML_DSA_87,
            None => ECDSA_SHA256,
        };
        let algorithm = tlv(0x30, algorithm);
        let mut fields = vec![];
        if self.version > 1 {
            fields.push(tlv(0xa0, &tlv(0x02, &[self.version - 1])));
        }
        fields.extend([
            tlv(0x02, &self.serial),
            algorithm.clone(),
            issuer.subject.clone(),
            tlv(
                0x30,
                &[time(self.not_before), time(self.not_after)].concat(),
            ),
            self.subject.clone(),
            self.spki.clone(),
        ]);
        if self.version == 3 {
            fields.push(tlv(0xa3, &tlv(0x30, &self.extensions(issuer).concat())));
        }
        let signed = tlv(0x30, &fields.concat());
        let signature = issuer.key.sign(&signed).expect("a signature");
        let signature = tlv(0x03, &[&[0][..], &signature].concat());
        let der = tlv(0x30, &[signed, algorithm, signature].concat());
        Issued {
            plan: self.clone(),
            der: CertificateDer::from(der),
            issuer_key: Fingerprint::of(&issuer.spki),
        }
    }

    fn extensions(&self, issuer: &Plan) -> Vec<Vec<u8>> {
        let mut all = vec![];
        if self.has_key_id {
            all.push(extension(14, false, &tlv(0x04, &key_id(&self.spki))));
        }
        if self.quotes_issuer_key {
            all.push(extension(
                35,
                false,
                &tlv(0x30, &tlv(0x80, &key_id(&issuer.spki))),
            ));
        }
        if let Some((is_ca, path_len)) = self.basic_constraints {
            let is_ca = if is_ca { tlv(0x01, &[0xff]) } else { vec![] };
            let path_len = path_len.map_or(vec![], |length| tlv(0x02, &[length]));
            all.push(extension(19, true, &tlv(0x30, &[is_ca, path_len].concat())));
        }
        if let Some(bits) = self.key_usage {
            let unused = u8::try_from(bits.trailing_zeros()).expect("at most 8");
            all.push(extension(15, true, &tlv(0x03, &[unused, bits])));
        }
        if !self.purposes.is_empty() {
            let purposes: Vec<_> = self.purposes.iter().map(|oid| tlv(0x06, oid)).collect();
            all.push(extension(37, false, &tlv(0x30, &purposes.concat())));
        }
        if !self.alt_names.is_empty() {
            all.push(extension(
                17,
                self.subject == common_name(""),
                &tlv(0x30, &self.alt_names.concat()),
            ));
        }
        all.extend(self.more_extensions.iter().cloned());
        all
    }
}

impl Issued {
    pub(crate) fn certificate(&self) -> Certificate {
        Certificate::parse(&self.der).expect("a sound certificate")
    }

    pub(crate) fn serial(&self) -> SerialNumber {
        SerialNumber::from_der_integer(&self.plan.serial).expect("a good serial")
    }

    pub(crate) fn spki(&self) -> Fingerprint {
        Fingerprint::of(&self.plan.spki)
    }

    pub(crate) fn not_before(&self) -> UnixTime {
        UnixTime::from_seconds(self.plan.not_before)
    }

    pub(crate) fn not_after(&self) -> UnixTime {
        UnixTime::from_seconds(self.plan.not_after)
    }
}

/// Empty for "".
pub(crate) fn common_name(name: &str) -> Vec<u8> {
    if name.is_empty() {
        return tlv(0x30, &[]);
    }
    let attribute = [tlv(0x06, &[0x55, 4, 3]), tlv(0x0c, name.as_bytes())].concat();
    tlv(0x30, &tlv(0x31, &tlv(0x30, &attribute)))
}

pub(crate) fn dns(name: &str) -> Vec<u8> {
    tlv(0x82, name.as_bytes())
}

pub(crate) fn uri(uri: &str) -> Vec<u8> {
    tlv(0x86, uri.as_bytes())
}

pub(crate) fn email(address: &str) -> Vec<u8> {
    tlv(0x81, address.as_bytes())
}

pub(crate) fn ip(octets: &[u8]) -> Vec<u8> {
    tlv(0x87, octets)
}

/// nameConstraints with one list of permitted bases and one of excluded.
pub(crate) fn name_constraints(permitted: &[Vec<u8>], excluded: &[Vec<u8>]) -> Vec<u8> {
    let list = |tag: u8, bases: &[Vec<u8>]| {
        let subtrees: Vec<_> = bases.iter().map(|base| tlv(0x30, base)).collect();
        if subtrees.is_empty() {
            vec![]
        } else {
            tlv(tag, &subtrees.concat())
        }
    };
    extension(
        30,
        true,
        &tlv(
            0x30,
            &[list(0xa0, permitted), list(0xa1, excluded)].concat(),
        ),
    )
}

/// An extension under id-ce.
pub(crate) fn extension(number: u8, critical: bool, value: &[u8]) -> Vec<u8> {
    let flag = if critical { tlv(0x01, &[0xff]) } else { vec![] };
    tlv(
        0x30,
        &[tlv(0x06, &[0x55, 0x1d, number]), flag, tlv(0x04, value)].concat(),
    )
}

/// `SubjectPublicKeyInfo` of an RSA key that nobody holds.
pub(crate) fn rsa_spki(bits: usize) -> Vec<u8> {
    let modulus = [&[0][..], &vec![0xc5; bits / 8]].concat();
    let key = tlv(0x30, &[tlv(0x02, &modulus), tlv(0x02, &[1, 0, 1])].concat());
    spki(
        &[
            0x06, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 1, 0x05, 0,
        ],
        &key,
    )
}

/// `SubjectPublicKeyInfo` of an EC key on a curve of the 1.3.132.0 arc.
pub(crate) fn certicom_spki(curve: u8) -> Vec<u8> {
    let algorithm = [
        0x06, 7, 0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1, 0x06, 5, 0x2b, 0x81, 0x04, 0, curve,
    ];
    spki(&algorithm, &[&[4][..], &[7; 64]].concat())
}

fn spki(algorithm: &[u8], key: &[u8]) -> Vec<u8> {
    tlv(
        0x30,
        &[tlv(0x30, algorithm), tlv(0x03, &[&[0][..], key].concat())].concat(),
    )
}

pub(crate) fn key_id(spki: &[u8]) -> Vec<u8> {
    Fingerprint::of(spki).as_bytes()[..20].to_vec()
}

pub(crate) fn time(seconds: u64) -> Vec<u8> {
    let digits: Vec<u8> = UnixTime::from_seconds(seconds)
        .to_string()
        .bytes()
        .filter(|b| b.is_ascii_digit() || *b == b'Z')
        .collect();
    tlv(0x17, &digits[2..])
}

pub(crate) fn tlv(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = content.len().to_be_bytes();
    let mut out = vec![tag];
    match content.len() {
        0..0x80 => out.push(length[7]),
        0x80..0x100 => out.extend([0x81, length[7]]),
        0x100..0x1_0000 => out.extend([0x82, length[6], length[7]]),
        _ => out.extend([0x83, length[5], length[6], length[7]]),
    }
    out.extend_from_slice(content);
    out
}
