//! The certificate of the authority's own OCSP responder (RFC 6960 §4.2.2.2), which nobody can ask for.

use countersign_pki::certificate::Certificate;
use countersign_pki::dn::DistinguishedName;
use countersign_pki::serial::SerialNumber;
use countersign_pki::tbs::{StatusSources, Template};
use countersign_pki::time::UnixTime;

use super::{Actor, Authorized, Denied, Profile, check_key, validity};

/// Authorizes the process of the authority to answer for `issuer` with the key of `spki_der`.
///
/// It says nowhere where to look for its own revocation: id-pkix-ocsp-nocheck says that nobody has to.
pub fn authorize_responder(
    subject: DistinguishedName,
    spki_der: Vec<u8>,
    issuer: &Certificate,
    random: [u8; 20],
    now: UnixTime,
) -> Result<Authorized, Denied> {
    if !issuer.is_ca() {
        return Err(Denied::Request {
            why: format!(
                "{} is no issuer: its certificate is not a CA's",
                issuer.subject()
            ),
        });
    }
    check_key(&spki_der, issuer)?;
    let profile = Profile::OcspResponder;
    let (not_before, not_after) = validity(profile, None, issuer, now)?;
    let template = Template {
        subject,
        subject_alt_names: Vec::new(),
        spki_der,
        not_before,
        not_after,
        serial: SerialNumber::from_random(random),
        usage: profile.usage(),
        status_sources: StatusSources::default(),
    };
    Ok(Authorized {
        template,
        profile,
        actor: Actor::Authority,
    })
}

/// To whoever asks for one.
pub(super) fn refused() -> Denied {
    Denied::Request {
        why: format!(
            "profile {} is reserved: the authority makes such certificates itself",
            Profile::OcspResponder
        ),
    }
}
