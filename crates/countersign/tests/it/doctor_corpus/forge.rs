//! Certificates with one thing wrong each: drafts that start good and are spoilt by the scenario.

use countersign_testkit::pki::{from_now, key, next_serial};
use rcgen::string::Ia5String;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer,
    DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, KeyIdMethod, KeyPair,
    KeyUsagePurpose, RevokedCertParams, SanType, SerialNumber,
};

/// Can sign.
pub(crate) struct Authority {
    pub(crate) issuer: CertifiedIssuer<'static, KeyPair>,
}

/// A certificate and its key, both in PEM.
#[derive(Clone)]
pub(crate) struct Identity {
    pub(crate) certificate: String,
    pub(crate) key: String,
}

impl Authority {
    /// Signed by itself.
    pub(crate) fn root(draft: CertificateParams) -> Self {
        Self::with_key(draft, key())
    }

    /// Signed by itself, with the key of another one.
    pub(crate) fn again(&self, draft: CertificateParams) -> Self {
        Self::with_key(draft, self.same_key())
    }

    fn with_key(draft: CertificateParams, key: KeyPair) -> Self {
        Self {
            issuer: CertifiedIssuer::self_signed(draft, key).expect("a root is encodable"),
        }
    }

    /// Below this one, with a key of its own.
    pub(crate) fn below(&self, draft: CertificateParams) -> Self {
        let issuer = CertifiedIssuer::signed_by(draft, key(), &self.issuer);
        Self {
            issuer: issuer.expect("an intermediate is encodable"),
        }
    }

    /// The key of `subject` under this one: a cross-signed certificate.
    pub(crate) fn cross_sign(&self, subject: &Self, draft: CertificateParams) -> String {
        let issuer = CertifiedIssuer::signed_by(draft, subject.same_key(), &self.issuer);
        issuer.expect("an intermediate is encodable").pem()
    }

    /// Issues for a fresh P-256 key.
    pub(crate) fn issue(&self, draft: &CertificateParams) -> Identity {
        self.issue_for(draft, &key())
    }

    /// Issues for this key.
    pub(crate) fn issue_for(&self, draft: &CertificateParams, key: &KeyPair) -> Identity {
        let certificate = draft.signed_by(key, &self.issuer);
        Identity {
            certificate: certificate.expect("a leaf is encodable").pem(),
            key: key.serialize_pem(),
        }
    }

    /// Its revocation list, from and until so many seconds from now.
    pub(crate) fn list(&self, revoked: &[&CertificateParams], from_s: i64, to_s: i64) -> String {
        let revoked_certs = revoked.iter().map(|draft| RevokedCertParams {
            serial_number: draft.serial_number.clone().expect("drafts have one"),
            revocation_time: from_now(-HOUR),
            reason_code: None,
            invalidity_date: None,
        });
        let list = CertificateRevocationListParams {
            this_update: from_now(from_s),
            next_update: from_now(to_s),
            crl_number: SerialNumber::from(7_u64),
            issuing_distribution_point: None,
            revoked_certs: revoked_certs.collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        let list = list.signed_by(&self.issuer).expect("a list is encodable");
        list.pem().expect("a list is DER")
    }

    pub(crate) fn pem(&self) -> String {
        self.issuer.pem()
    }

    pub(crate) fn key_pem(&self) -> String {
        self.issuer.key().serialize_pem()
    }

    fn same_key(&self) -> KeyPair {
        KeyPair::from_pem(&self.key_pem()).expect("rcgen reads what it writes")
    }
}

/// A good CA of ten years.
pub(crate) fn authority(name: &str) -> CertificateParams {
    let mut draft = CertificateParams::default();
    draft.distinguished_name = named(name);
    draft.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    draft.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    draft.use_authority_key_identifier_extension = true;
    draft.serial_number = Some(next_serial());
    valid(draft, -400 * DAY, 3250 * DAY)
}

/// A good client certificate of 90 days.
pub(crate) fn client(common_name: &str) -> CertificateParams {
    let mut draft = CertificateParams::default();
    draft.distinguished_name = named(common_name);
    draft.is_ca = IsCa::ExplicitNoCa;
    draft.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    draft.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    draft.use_authority_key_identifier_extension = true;
    draft.serial_number = Some(next_serial());
    valid(draft, -DAY, 89 * DAY)
}

/// A good server certificate of 90 days for these DNS names.
pub(crate) fn server(names: &[&str]) -> CertificateParams {
    let mut draft = client(names.first().copied().unwrap_or("server"));
    draft.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    draft.subject_alt_names = names.iter().map(|name| dns(name)).collect();
    draft
}

/// The same, valid from and to so many seconds from now.
pub(crate) fn valid(mut draft: CertificateParams, from_s: i64, to_s: i64) -> CertificateParams {
    draft.not_before = from_now(from_s);
    draft.not_after = from_now(to_s);
    draft
}

pub(crate) fn named(common_name: &str) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, common_name);
    name
}

pub(crate) fn dns(name: &str) -> SanType {
    SanType::DnsName(Ia5String::try_from(name).expect("ASCII"))
}

pub(crate) fn uri(uri: &str) -> SanType {
    SanType::URI(Ia5String::try_from(uri).expect("ASCII"))
}

pub(crate) const HOUR: i64 = 3600;
pub(crate) const DAY: i64 = 24 * HOUR;
