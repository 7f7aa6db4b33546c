//! A key whose signatures the server does not take.

use countersign_pki::certificate::KeyAlgorithm;

use super::super::judging::Case;
use super::super::known::parsed;
use super::super::{Attempt, End, TlsVersion};
use super::Look;
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

impl Look<'_, '_> {
    /// Up to TLS 1.2 a client lists the curves of its certificates, too (RFC 8422 §5.1.1), and OpenSSL refuses what is not among them: this
    /// probe, as rustls does, lists none but X25519, P-256 and P-384, so that it has not seen what others would get.
    pub(super) fn unlisted_curve(&self) -> Option<Finding> {
        let version = self.own.hello.as_ref()?.version;
        let algorithm = self.lineage.leaf().public_key_algorithm();
        let curve = match &algorithm {
            KeyAlgorithm::Ec { curve, .. } if !PROBED_CURVES.contains(&&**curve) => curve,
            _ => return None,
        };
        if self.own.end != End::Alert(ILLEGAL_PARAMETER) || version > TlsVersion::Tls12 {
            return None;
        }
        let because = format!(
            "it takes up to {version} a key on {curve} only from clients that list this curve, as OpenSSL's do, and rustls's and this probe do not: whether it lets the client in was not seen"
        );
        Some(self.found(Cause::SigalgUnsupported, &because).risk())
    }
}

fn scheme_name(scheme: u16) -> String {
    let known = SCHEMES.iter().find(|(code, _)| *code == scheme);
    known.map_or_else(|| format!("0x{scheme:04x}"), |(_, name)| (*name).to_owned())
}

/// RFC 8422 §6 for a curve that was not offered.
const ILLEGAL_PARAMETER: u8 = 47;

const PROBED_CURVES: [&str; 2] = ["P-256", "P-384"];

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
