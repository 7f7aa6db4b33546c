//! The roots that this machine trusts.

use countersign_pki::pem;

/// In DER; empty where there is no such file.
pub(super) fn roots() -> Vec<Vec<u8>> {
    BUNDLES
        .iter()
        .find_map(|path| std::fs::read(path).ok())
        .and_then(|text| pem::decode_all(&text).ok())
        .into_iter()
        .flatten()
        .filter(|block| block.label == "CERTIFICATE")
        .map(|block| block.der)
        .collect()
}

/// Where distributions keep them: Debian, Fedora, openSUSE, Alpine and macOS.
const BUNDLES: [&str; 5] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
    "/usr/local/etc/openssl/cert.pem",
];
