//! Stand-ins for what only an authority has, so that `config check` can build a whole plan without one: a CA that signs
//! nothing, and a server certificate that nobody is shown.

use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
use aws_lc_rs::rand::{SystemRandom, fill};
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair};
use countersign_authority::init::DEFAULT_TRUST_DOMAIN;
use countersign_pki::bundle::TrustBundle;
use countersign_pki::certificate::Certificate;
use countersign_pki::dn::DistinguishedName;
use countersign_pki::identity::BundleName;
use countersign_pki::name::{CommonName, DnsName, TypedName};
use countersign_pki::pem;
use countersign_pki::serial::SerialNumber;
use countersign_pki::spiffe::TrustDomain;
use countersign_pki::tbs::{SignatureAlgorithm, StatusSources, Template, Usage};
use countersign_pki::time::UnixTime;
use countersign_tls::credentials::{Credentials, SharedCredentials};

use crate::composition::Own;
use crate::fault::Fault;

/// An authority's part in a plan, made for this one look.
pub(crate) fn own(now: UnixTime) -> Result<Own, Fault> {
    let (ca, _) = self_signed(Usage::Authority { path_len: None }, now)?;
    let (leaf, key) = self_signed(
        Usage::Leaf {
            server_auth: true,
            client_auth: false,
        },
        now,
    )?;
    let chain = pem::encode("CERTIFICATE", leaf.der());
    let credentials =
        Credentials::from_pem(chain.as_bytes(), key.as_bytes()).map_err(Fault::bug)?;
    let trust_domain = TrustDomain::parse(DEFAULT_TRUST_DOMAIN).map_err(Fault::bug)?;
    let bundle = TrustBundle::new(
        BundleName::internal(),
        Some(trust_domain),
        vec![ca.clone()],
        now,
    );
    Ok(Own {
        bundle: bundle.map_err(Fault::bug)?,
        operators: TrustBundle::new(BundleName::operators(), None, vec![ca.clone()], now)
            .ok()
            .map(Arc::new),
        intermediates: vec![ca],
        credentials: Some(SharedCredentials::new(credentials)),
        version: 0,
    })
}

fn self_signed(usage: Usage, now: UnixTime) -> Result<(Certificate, String), Fault> {
    let algorithm = &ECDSA_P256_SHA256_ASN1_SIGNING;
    let random = SystemRandom::new();
    let no_random = |_| Fault::world("the system's random source gave nothing");
    let document = EcdsaKeyPair::generate_pkcs8(algorithm, &random).map_err(no_random)?;
    let pair = EcdsaKeyPair::from_pkcs8(algorithm, document.as_ref()).map_err(Fault::bug)?;
    let spki: PublicKeyX509Der<'_> = pair.public_key().as_der().map_err(Fault::bug)?;
    let mut serial = [0; 20];
    fill(&mut serial).map_err(no_random)?;
    let name = "placeholder.invalid";
    let template = Template {
        subject: DistinguishedName::from_common_name(&CommonName::parse(name).map_err(Fault::bug)?),
        subject_alt_names: vec![TypedName::Dns(DnsName::parse(name).map_err(Fault::bug)?)],
        spki_der: spki.as_ref().to_vec(),
        not_before: now,
        not_after: now.plus(Duration::from_hours(1)),
        serial: SerialNumber::from_random(serial),
        usage,
        status_sources: StatusSources::default(),
        extra_extensions: Vec::new(),
    };
    let to_be_signed = template
        .to_be_self_signed(SignatureAlgorithm::EcdsaP256Sha256)
        .map_err(Fault::bug)?;
    let signature = pair
        .sign(&random, to_be_signed.bytes())
        .map_err(no_random)?;
    let certificate =
        Certificate::parse(&to_be_signed.complete(signature.as_ref())).map_err(Fault::bug)?;
    Ok((certificate, pem::encode("PRIVATE KEY", document.as_ref())))
}
