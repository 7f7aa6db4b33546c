//! What the keys of a profile's certificates may be used for: what the built-in one has or less of TLS, and what means nothing to us.

use countersign_pki::tbs::{KeyPurpose, LeafUsage, Usage};

use super::narrowing::{InvalidProfile, refuse};
use super::{BuiltIn, KeyType};

/// A purpose in extendedKeyUsage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// id-kp-clientAuth.
    ClientAuth,
    /// One that gateways and the authority do not look at.
    Further(KeyPurpose),
    /// id-kp-serverAuth.
    ServerAuth,
}

/// A bit of keyUsage beside digitalSignature, which every leaf has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FurtherKeyUsage {
    /// contentCommitment.
    ContentCommitment,
    /// keyAgreement: keys on the NIST curves alone (RFC 5480 §3).
    KeyAgreement,
    /// keyEncipherment: RSA keys alone (RFC 3279 §2.3.1).
    KeyEncipherment,
}

/// The usage of a kind like `like`; `None`: as that has it.
pub(super) fn usage(
    like: BuiltIn,
    keys: &[KeyType],
    purposes: Option<&[Purpose]>,
    key_usage: Option<&[FurtherKeyUsage]>,
) -> Result<Usage, InvalidProfile> {
    if purposes.is_none() && key_usage.is_none() {
        return Ok(like.usage());
    }
    let Usage::Leaf {
        server_auth,
        client_auth,
    } = like.usage()
    else {
        return Err(refuse(None, "it is of no leaf", "leave it out"));
    };
    let mut usage = LeafUsage {
        server_auth,
        client_auth,
        ..LeafUsage::default()
    };
    if let Some(purposes) = purposes {
        narrow_purposes(&mut usage, like, purposes)?;
    }
    let key_usage = key_usage.unwrap_or_default();
    let has = |bit: FurtherKeyUsage| key_usage.contains(&bit);
    usage.content_commitment = has(FurtherKeyUsage::ContentCommitment);
    usage.key_agreement = has(FurtherKeyUsage::KeyAgreement);
    usage.key_encipherment = has(FurtherKeyUsage::KeyEncipherment);
    let is_rsa = |key: &KeyType| matches!(key, KeyType::Rsa { .. });
    let is_curve = |key: &KeyType| matches!(key, KeyType::P256 | KeyType::P384);
    if usage.key_encipherment && !keys.iter().all(is_rsa) {
        return Err(refuse(
            Some("key_usage"),
            "key-encipherment is for RSA keys alone, and other keys are certified",
            "write keys = [\"rsa\"], or leave key-encipherment out: TLS 1.3 has no use for it",
        ));
    }
    if usage.key_agreement && !keys.iter().all(is_curve) {
        return Err(refuse(
            Some("key_usage"),
            "key-agreement is for keys on P-256 and P-384 alone, and other keys are certified",
            "write keys = [\"p-256\", \"p-384\"], or leave key-agreement out: TLS 1.3 has no use for it",
        ));
    }
    Ok(Usage::LeafWith(usage))
}

fn narrow_purposes(
    usage: &mut LeafUsage,
    like: BuiltIn,
    purposes: &[Purpose],
) -> Result<(), InvalidProfile> {
    let key = Some("extended_key_usage");
    let has = |purpose: Purpose| purposes.contains(&purpose);
    for (asked, may, name) in [
        (has(Purpose::ServerAuth), usage.server_auth, "server-auth"),
        (has(Purpose::ClientAuth), usage.client_auth, "client-auth"),
    ] {
        if asked && !may {
            return Err(refuse(
                key,
                format!("certificates like {} have no {name}", like.profile()),
                "a profile says less than the one that it is like: \"peer\" and \"workload\" have both",
            ));
        }
    }
    if !has(Purpose::ServerAuth) && !has(Purpose::ClientAuth) {
        return Err(refuse(
            key,
            "it lists neither server-auth nor client-auth: no peer would take such a certificate in TLS",
            "list what the profile that it is like has of the two",
        ));
    }
    let is_twice = |(at, purpose): (usize, &Purpose)| purposes[..at].contains(purpose);
    if purposes.len() > MAX_PURPOSES || purposes.iter().enumerate().any(is_twice) {
        return Err(refuse(
            key,
            format!("a purpose stands there twice, or there are more than {MAX_PURPOSES}"),
            "list each once",
        ));
    }
    usage.server_auth = has(Purpose::ServerAuth);
    usage.client_auth = has(Purpose::ClientAuth);
    let further = purposes.iter().filter_map(|purpose| match purpose {
        Purpose::Further(purpose) => Some(*purpose),
        Purpose::ClientAuth | Purpose::ServerAuth => None,
    });
    usage.further = further.collect();
    Ok(())
}

/// Every handshake carries them.
const MAX_PURPOSES: usize = 8;
