//! A key whose signatures the server does not take.

use super::super::Attempt;
use super::super::judging::Case;
use super::super::known::parsed;
use crate::cause::Cause;
use crate::finding::{Finding, Side};

/// The server takes no signature by this kind of key.
pub(in super::super) fn no_scheme(case: &Case<'_>, own: &Attempt) -> Finding {
    let key = parsed(&case.known.client_chain)
        .first()
        .map(|leaf| leaf.public_key_algorithm().to_string())
        .unwrap_or_default();
    let schemes: Vec<String> = own
        .asked
        .iter()
        .flat_map(|asked| &asked.schemes)
        .map(|scheme| scheme_name(*scheme))
        .collect();
    let schemes = schemes.join(", ");
    Finding::fault(
        Cause::SigalgUnsupported,
        Side::Client,
        format!(
            "{} takes no signature by the client's key ({key}): it lists {schemes}",
            case.seen.target
        ),
    )
    .with("key", key)
    .with("server_schemes", schemes)
    .with_fix("openssl ecparam -name prime256v1 -genkey -noout -out client.key, and have a new certificate issued for it")
}

fn scheme_name(scheme: u16) -> String {
    let known = SCHEMES.iter().find(|(code, _)| *code == scheme);
    known.map_or_else(|| format!("0x{scheme:04x}"), |(_, name)| (*name).to_owned())
}

/// RFC 8446 §4.2.3.
const SCHEMES: &[(u16, &str)] = &[
    (0x0201, "rsa_pkcs1_sha1"),
    (0x0203, "ecdsa_sha1"),
    (0x0401, "rsa_pkcs1_sha256"),
    (0x0403, "ecdsa_secp256r1_sha256"),
    (0x0501, "rsa_pkcs1_sha384"),
    (0x0503, "ecdsa_secp384r1_sha384"),
    (0x0601, "rsa_pkcs1_sha512"),
    (0x0603, "ecdsa_secp521r1_sha512"),
    (0x0804, "rsa_pss_rsae_sha256"),
    (0x0805, "rsa_pss_rsae_sha384"),
    (0x0806, "rsa_pss_rsae_sha512"),
    (0x0807, "ed25519"),
    (0x0808, "ed448"),
    (0x0809, "rsa_pss_pss_sha256"),
    (0x080a, "rsa_pss_pss_sha384"),
    (0x080b, "rsa_pss_pss_sha512"),
    (0x0904, "mldsa44"),
    (0x0905, "mldsa65"),
    (0x0906, "mldsa87"),
];
