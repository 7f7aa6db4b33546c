//! Certificates as tests need them, good and bad, made by rcgen: a maker that shares no code with the product.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use rcgen::string::Ia5String;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer,
    DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, KeyIdMethod, KeyPair,
    KeyUsagePurpose, RevokedCertParams, SanType, SerialNumber,
};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

/// A root with an intermediate below it.
pub struct TestCa {
    /// The anchor.
    pub root: CertifiedIssuer<'static, KeyPair>,
    /// Issues leaves.
    pub intermediate: CertifiedIssuer<'static, KeyPair>,
}

/// A leaf, what stands above it, and its key.
pub struct TestIdentity {
    /// Leaf first, without the root.
    pub chain: Vec<CertificateDer<'static>>,
    /// PKCS#8.
    pub key: PrivateKeyDer<'static>,
    /// The key in PEM.
    pub key_pem: String,
}

/// What a leaf shall say; starts as a good client certificate.
pub struct Leaf {
    /// Open for every abuse.
    pub params: CertificateParams,
}

impl TestCa {
    /// `name` goes into both CAs' common names.
    pub fn new(name: &str) -> Self {
        let root =
            CertifiedIssuer::self_signed(authority_params(&format!("{name} root"), None), key())
                .expect("a root is encodable");
        let intermediate = CertifiedIssuer::signed_by(
            authority_params(&format!("{name} issuing"), Some(0)),
            key(),
            &root,
        )
        .expect("an intermediate is encodable");
        Self { root, intermediate }
    }

    /// Issues under the intermediate, for a fresh key.
    #[expect(
        clippy::needless_pass_by_value,
        reason = "a leaf is built in one expression and used once"
    )]
    pub fn issue(&self, leaf: Leaf) -> TestIdentity {
        let key = key();
        let certificate = leaf
            .params
            .signed_by(&key, &self.intermediate)
            .expect("a leaf is encodable");
        TestIdentity {
            chain: vec![certificate.der().clone(), self.intermediate.der().clone()],
            key: PrivateKeyDer::try_from(key.serialize_der()).expect("rcgen writes PKCS#8"),
            key_pem: key.serialize_pem(),
        }
    }

    /// The revocation lists of root and intermediate in PEM, with nobody on the root's. `number` says which follows which.
    pub fn lists(&self, number: u64, revoked: &[SerialNumber]) -> [String; 2] {
        [(&self.root, &[][..]), (&self.intermediate, revoked)].map(|(issuer, revoked)| {
            let revoked_certs = revoked.iter().map(|serial| RevokedCertParams {
                serial_number: serial.clone(),
                revocation_time: from_now(-60),
                reason_code: None,
                invalidity_date: None,
            });
            let list = CertificateRevocationListParams {
                this_update: from_now(-60),
                next_update: from_now(86_400),
                crl_number: SerialNumber::from(number),
                issuing_distribution_point: None,
                revoked_certs: revoked_certs.collect(),
                key_identifier_method: KeyIdMethod::Sha256,
            };
            let list = list.signed_by(issuer).expect("a list is encodable");
            list.pem().expect("a list is DER")
        })
    }

    /// The root in PEM.
    pub fn root_pem(&self) -> String {
        self.root.pem()
    }

    /// The intermediate as an identity of its own: a CA certificate used as a leaf.
    pub fn authority_as_leaf(&self) -> TestIdentity {
        let key_pem = self.intermediate.key().serialize_pem();
        TestIdentity {
            chain: vec![self.intermediate.der().clone()],
            key: PrivateKeyDer::try_from(self.intermediate.key().serialize_der())
                .expect("rcgen writes PKCS#8"),
            key_pem,
        }
    }
}

impl Leaf {
    /// A client certificate with a common name, valid from an hour ago for a day.
    pub fn client(common_name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name = named(common_name);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.use_authority_key_identifier_extension = true;
        params.serial_number = Some(next_serial());
        Self { params }.valid(-3600, 86_400)
    }

    /// A server certificate for these DNS names and 127.0.0.1.
    pub fn server(names: &[&str]) -> Self {
        let mut leaf = Self::client(names.first().copied().unwrap_or("server"));
        leaf.params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        for name in names {
            leaf = leaf.dns(name);
        }
        leaf.params
            .subject_alt_names
            .push(SanType::IpAddress(std::net::Ipv4Addr::LOCALHOST.into()));
        leaf
    }

    /// Valid from and to, in seconds from now.
    #[must_use]
    pub fn valid(mut self, from_s: i64, to_s: i64) -> Self {
        self.params.not_before = from_now(from_s);
        self.params.not_after = from_now(to_s);
        self
    }

    /// Adds a dNSName, NUL and all.
    #[must_use]
    pub fn dns(mut self, name: &str) -> Self {
        let name = Ia5String::try_from(name).expect("ASCII");
        self.params.subject_alt_names.push(SanType::DnsName(name));
        self
    }

    /// Adds a URI.
    #[must_use]
    pub fn uri(mut self, uri: &str) -> Self {
        let uri = Ia5String::try_from(uri).expect("ASCII");
        self.params.subject_alt_names.push(SanType::URI(uri));
        self
    }

    /// Replaces the extended key usages.
    #[must_use]
    pub fn usages(mut self, usages: &[ExtendedKeyUsagePurpose]) -> Self {
        self.params.extended_key_usages = usages.to_vec();
        self
    }
}

impl TestIdentity {
    /// The chain in PEM.
    pub fn chain_pem(&self) -> String {
        self.chain
            .iter()
            .map(|der| pem("CERTIFICATE", der))
            .collect()
    }

    /// What the product wrote: a chain, leaf first, and its key, both in PEM.
    pub fn read(chain: &Path, key: &Path) -> Self {
        let certificates = CertificateDer::pem_file_iter(chain).expect("the chain is readable");
        Self {
            chain: certificates
                .map(|certificate| certificate.expect("PEM"))
                .collect(),
            key: PrivateKeyDer::from_pem_file(key).expect("the key is PEM"),
            key_pem: std::fs::read_to_string(key).expect("the key is readable"),
        }
    }

    /// Writes `NAME.pem` and `NAME.key` (0600) into `folder`.
    pub fn write(&self, folder: &Path, name: &str) -> (PathBuf, PathBuf) {
        let (chain, key) = (
            folder.join(format!("{name}.pem")),
            folder.join(format!("{name}.key")),
        );
        std::fs::write(&chain, self.chain_pem()).expect("the folder is writable");
        std::fs::write(&key, &self.key_pem).expect("the folder is writable");
        let owner_only = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        std::fs::set_permissions(&key, owner_only).expect("the file is ours");
        (chain, key)
    }

    /// The same chain with the key of somebody else.
    #[must_use]
    pub fn with_other_key(mut self) -> Self {
        let other = key();
        self.key = PrivateKeyDer::try_from(other.serialize_der()).expect("rcgen writes PKCS#8");
        self.key_pem = other.serialize_pem();
        self
    }
}

/// A fresh P-256 key.
pub fn key() -> KeyPair {
    KeyPair::generate().expect("aws-lc-rs makes P-256 keys")
}

/// A request (PKCS#10) in PEM for a key that is gone afterwards.
pub fn request() -> String {
    let request = CertificateParams::default()
        .serialize_request(&key())
        .expect("a request is encodable");
    request.pem().expect("a request is DER")
}

/// A root that has come to its end, in PEM.
pub fn expired_root_pem() -> String {
    root_pem_until(-3600)
}

/// A root that comes to its end so many seconds from now, in PEM.
pub fn root_pem_until(to_s: i64) -> String {
    let mut params = authority_params("short-lived root", None);
    params.not_before = from_now(-7200);
    params.not_after = from_now(to_s);
    CertifiedIssuer::self_signed(params, key())
        .expect("a root is encodable")
        .pem()
}

/// One PEM block.
pub fn pem(label: &str, der: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut base64 = String::new();
    for chunk in der.chunks(3) {
        let group = chunk
            .iter()
            .fold(0_u32, |sum, &byte| sum << 8 | u32::from(byte))
            << (8 * (3 - chunk.len()));
        for place in 0..4 {
            let digit = ALPHABET[(group >> (18 - 6 * place) & 63) as usize];
            base64.push(if place <= chunk.len() {
                char::from(digit)
            } else {
                '='
            });
        }
    }
    let lines: Vec<&str> = base64
        .as_bytes()
        .chunks(64)
        .filter_map(|line| std::str::from_utf8(line).ok())
        .collect();
    format!(
        "-----BEGIN {label}-----\n{}\n-----END {label}-----\n",
        lines.join("\n")
    )
}

fn authority_params(name: &str, path_len: Option<u8>) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = named(name);
    params.is_ca = IsCa::Ca(path_len.map_or(
        BasicConstraints::Unconstrained,
        BasicConstraints::Constrained,
    ));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.use_authority_key_identifier_extension = true;
    params.serial_number = Some(next_serial());
    params.not_before = from_now(-7200);
    params.not_after = from_now(10 * 86_400);
    params
}

fn named(common_name: &str) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, common_name);
    name
}

/// So many seconds from now.
pub fn from_now(seconds: i64) -> time::OffsetDateTime {
    time::OffsetDateTime::now_utc() + time::Duration::seconds(seconds)
}

/// A serial number that no other certificate of this process has.
pub fn next_serial() -> SerialNumber {
    static NEXT: AtomicU64 = AtomicU64::new(0x4000_0000_0000_0001);
    SerialNumber::from(NEXT.fetch_add(1, Ordering::Relaxed))
}
