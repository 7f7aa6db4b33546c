//! Which keys are certified, and for whom.

use countersign_pki::certificate::KeyAlgorithm;
use countersign_pki::feed::RevocationReason;
use countersign_pki::name::TypedName;
use countersign_pki::serial::SerialNumber;

use super::{Denied, Issuers, Profile, ProfileRules};

/// An earlier certificate of the same key, as the inventory has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyUse {
    /// The name that it is shown by.
    pub identity: TypedName,
    /// Which profile; `None`: of others, imported.
    pub profile: Option<Profile>,
    /// Its serial number.
    pub serial: SerialNumber,
    /// Whether it is within its time and not revoked.
    pub is_live: bool,
    /// Why it was revoked, if it was.
    pub revoked: Option<RevocationReason>,
}

pub(super) fn check(
    spki_der: &[u8],
    rules: &ProfileRules,
    issuers: &Issuers,
) -> Result<(), Denied> {
    let refuse = |why: String| Err(Denied::Key { why });
    if issuers.all().any(|issuer| issuer.spki_der() == spki_der) {
        return refuse("the key is the issuer's own".to_owned());
    }
    let Some(key) = KeyAlgorithm::of(spki_der) else {
        return refuse("the public key is not a SubjectPublicKeyInfo".to_owned());
    };
    if !rules.keys().iter().any(|kind| kind.admits(&key)) {
        let accepted: Vec<String> = rules.keys().iter().map(ToString::to_string).collect();
        let known = super::KeyType::ALL.iter().any(|kind| kind.admits(&key));
        return refuse(if known {
            format!(
                "a key of {key} is not accepted: profile {} has {}",
                rules.profile(),
                accepted.join(", ")
            )
        } else {
            format!("a key of {key} is not accepted")
        });
    }
    if matches!(key, KeyAlgorithm::Rsa { .. }) {
        match KeyAlgorithm::rsa_exponent(spki_der) {
            Some(small @ ..MIN_RSA_EXPONENT) => {
                return refuse(format!(
                    "an RSA key with exponent {small} is not accepted: at least {MIN_RSA_EXPONENT}"
                ));
            }
            Some(even) if even.is_multiple_of(2) => {
                return refuse(format!("an RSA key with the even exponent {even} is none"));
            }
            Some(_) => {}
            None => return refuse("the RSA key's public exponent cannot be read".to_owned()),
        }
        if KeyAlgorithm::is_roca(spki_der) {
            return refuse(
                "the RSA key comes from a faulty chip or library, and can be computed by others (ROCA, CVE-2017-15361)"
                    .to_owned(),
            );
        }
    }
    Ok(())
}

/// Whether `identity` may have another certificate of `profile` for a key that was `used` before.
pub(super) fn check_uses(
    used: &[KeyUse],
    identity: &TypedName,
    profile: &Profile,
    allows_same_key: bool,
) -> Result<(), Denied> {
    let refuse = |why: String| Err(Denied::Key { why });
    if let Some(compromised) = used
        .iter()
        .find(|it| it.revoked.is_some_and(RevocationReason::is_compromise))
    {
        return refuse(format!(
            "the key was given away: certificate {} of it was revoked for that",
            compromised.serial
        ));
    }
    // A new certificate of its key would be the way round a hold, and whose key it is may be what the hold is to find out.
    if let Some(held) = used
        .iter()
        .find(|it| it.revoked.is_some_and(RevocationReason::is_hold))
    {
        return refuse(format!(
            "the key is that of certificate {}, which is on hold: release or revoke it first",
            held.serial
        ));
    }
    // An operator of the same name is another identity: another issuer vouches for it.
    let is_reserved = |used: &Profile| used.is_reserved() == profile.is_reserved();
    let is_same =
        |it: &&KeyUse| it.identity == *identity && it.profile.as_ref().is_none_or(is_reserved);
    if let Some(other) = used.iter().find(|it| it.is_live && !is_same(it)) {
        return refuse(format!(
            "the key is that of {} (certificate {}): a key stands for one identity",
            other.identity, other.serial
        ));
    }
    let ours = |it: &&KeyUse| is_same(it) && it.profile.is_some();
    match used.iter().find(ours) {
        Some(earlier) if !allows_same_key => refuse(format!(
            "the key is that of certificate {}, and profile {profile} wants a new one each time",
            earlier.serial
        )),
        _ => Ok(()),
    }
}

/// FIPS 186-5 §5.1, CABF BR §6.1.6: small exponents make mistakes of padding fatal.
const MIN_RSA_EXPONENT: u64 = 65537;
