//! A certificate that nobody can trust: made a moment ago, signed by itself, gone with the probe.

use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
use aws_lc_rs::error::Unspecified;
use aws_lc_rs::rand::{SystemRandom, fill};
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair};
use countersign_pki::dn::DistinguishedName;
use countersign_pki::serial::SerialNumber;
use countersign_pki::tbs::{SignatureAlgorithm, StatusSources, Template, Usage};
use countersign_pki::time::UnixTime;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

/// Valid for an hour around `now`, for clients. Its name says what it is to whoever reads the server's log.
pub(super) fn stranger(
    now: UnixTime,
) -> Result<(CertificateDer<'static>, PrivateKeyDer<'static>), Unspecified> {
    let random = SystemRandom::new();
    let document = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &random)?;
    let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, document.as_ref())
        .map_err(|_| Unspecified)?;
    let spki: PublicKeyX509Der<'_> = pair.public_key().as_der()?;
    let mut serial = [0; 20];
    fill(&mut serial)?;
    let template = Template {
        subject: DistinguishedName::parse(STRANGER).map_err(|_| Unspecified)?,
        subject_alt_names: Vec::new(),
        spki_der: spki.as_ref().to_vec(),
        not_before: now.minus(HALF_AN_HOUR),
        not_after: now.plus(HALF_AN_HOUR),
        serial: SerialNumber::from_random(serial),
        usage: Usage::Leaf {
            server_auth: false,
            client_auth: true,
        },
        status_sources: StatusSources::default(),
        extra_extensions: Vec::new(),
    };
    let unsigned = template
        .to_be_self_signed(SignatureAlgorithm::EcdsaP256Sha256)
        .map_err(|_| Unspecified)?;
    let signature = pair.sign(&random, unsigned.bytes())?;
    let key = PrivatePkcs8KeyDer::from(document.as_ref().to_vec());
    Ok((unsigned.complete(signature.as_ref()), key.into()))
}

const STRANGER: &str = "CN=countersign doctor: nobody";
const HALF_AN_HOUR: std::time::Duration = std::time::Duration::from_mins(30);
