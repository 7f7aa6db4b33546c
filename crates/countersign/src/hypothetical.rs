//! A peer that nobody is: what rules would say of an identity that has no certificate yet.
//!
//! It gets one for this look, under a CA that stands for the bundle and is forgotten again, and is verified as any other: so that a
//! name counts here for what it counts for at a listener.

use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
use aws_lc_rs::rand::{SystemRandom, fill};
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair};
use countersign_diagnose::chain::refusal;
use countersign_pki::bundle::TrustBundle;
use countersign_pki::certificate::Certificate;
use countersign_pki::chain::{Limits, Purpose, Verifier};
use countersign_pki::dn::DistinguishedName;
use countersign_pki::identity::VerifiedPeer;
use countersign_pki::name::{CommonName, TypedName};
use countersign_pki::revocation::RevocationIndex;
use countersign_pki::serial::SerialNumber;
use countersign_pki::tbs::{SignatureAlgorithm, StatusSources, Template, ToBeSigned, Usage};
use countersign_pki::time::UnixTime;

use crate::fault::Fault;

/// Who has these names under `bundle`, from `now` on.
pub(crate) fn peer(
    bundle: &TrustBundle,
    names: &[TypedName],
    now: UnixTime,
) -> Result<VerifiedPeer, Fault> {
    let mut subject = DistinguishedName::default();
    let mut subject_alt_names = Vec::new();
    for name in names {
        match name {
            TypedName::Dn(name) => subject = name.clone(),
            TypedName::Cn(name) => subject = subject.append_common_name(name),
            TypedName::Spki(_) | TypedName::SerialIssuer { .. } => {
                return Err(Fault::configuration(format_args!(
                    "{name} belongs to one certificate and cannot be supposed"
                ))
                .hint("name the certificate itself with --cert FILE"));
            }
            name => subject_alt_names.push(name.clone()),
        }
    }
    let root = Key::generate()?;
    let root_name = CommonName::parse("stand-in").map_err(Fault::bug)?;
    let root_template = root.template(
        DistinguishedName::from_common_name(&root_name),
        Vec::new(),
        Usage::Authority { path_len: None },
        now,
    )?;
    let to_be_signed = root_template
        .to_be_self_signed(SignatureAlgorithm::EcdsaP256Sha256)
        .map_err(Fault::bug)?;
    let root_certificate = root.complete(&to_be_signed)?;
    let usage = Usage::Leaf {
        server_auth: false,
        client_auth: true,
    };
    let leaf_template = Key::generate()?.template(subject, subject_alt_names, usage, now)?;
    let leaf = leaf_template
        .to_be_signed(&root_certificate, SignatureAlgorithm::EcdsaP256Sha256)
        .map_err(|error| {
            Fault::configuration(format_args!("no certificate can have these names: {error}"))
        })?;
    let leaf = root.complete(&leaf)?;
    let stand_in = TrustBundle::new(
        bundle.name().clone(),
        bundle.trust_domain().cloned(),
        vec![root_certificate],
        now,
    );
    let stand_in = Arc::new(stand_in.map_err(Fault::bug)?);
    let verifier = Verifier::new(vec![stand_in], Limits::default()).map_err(Fault::bug)?;
    verifier
        .verify(
            &[leaf.der().clone()],
            Purpose::ClientAuth,
            &RevocationIndex::default(),
            now,
        )
        .map_err(|fault| {
            let refusal = refusal(&fault, Purpose::ClientAuth);
            Fault::configuration(format_args!(
                "no certificate of these names would be accepted under {}: {}",
                bundle.name(),
                refusal.sentence()
            ))
            .hint(refusal.fix().to_owned())
        })
}

struct Key(EcdsaKeyPair);

impl Key {
    fn generate() -> Result<Self, Fault> {
        EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING)
            .map(Self)
            .map_err(|_| Fault::world("the system's random source gave nothing"))
    }

    fn template(
        &self,
        subject: DistinguishedName,
        subject_alt_names: Vec<TypedName>,
        usage: Usage,
        now: UnixTime,
    ) -> Result<Template, Fault> {
        let spki: PublicKeyX509Der<'_> = self.0.public_key().as_der().map_err(Fault::bug)?;
        let mut serial = [0; 20];
        fill(&mut serial).map_err(|_| Fault::world("the system's random source gave nothing"))?;
        Ok(Template {
            subject,
            subject_alt_names,
            spki_der: spki.as_ref().to_vec(),
            not_before: now,
            not_after: now.plus(Duration::from_hours(1)),
            serial: SerialNumber::from_random(serial),
            usage,
            status_sources: StatusSources::default(),
            extra_extensions: Vec::new(),
        })
    }

    fn complete(&self, to_be_signed: &ToBeSigned) -> Result<Certificate, Fault> {
        let signature = self
            .0
            .sign(&SystemRandom::new(), to_be_signed.bytes())
            .map_err(Fault::bug)?;
        Certificate::parse(&to_be_signed.complete(signature.as_ref())).map_err(Fault::bug)
    }
}
