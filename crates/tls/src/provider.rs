//! The one cryptographic provider, spelled out so that no process-wide default decides.

use std::sync::{Arc, LazyLock};

use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs::{default_provider, kx_group};

/// aws-lc-rs: TLS 1.3 and 1.2 with forward secrecy, certificates by ECDSA, Ed25519, RSA and ML-DSA.
pub(crate) fn provider() -> &'static Arc<CryptoProvider> {
    static PROVIDER: LazyLock<Arc<CryptoProvider>> = LazyLock::new(|| {
        Arc::new(CryptoProvider {
            kx_groups: vec![
                kx_group::X25519MLKEM768,
                kx_group::X25519,
                kx_group::SECP256R1,
                kx_group::SECP384R1,
            ],
            ..default_provider()
        })
    });
    &PROVIDER
}

#[cfg(test)]
mod tests {
    use rustls::{NamedGroup, SignatureScheme};

    use super::*;

    #[test]
    fn the_hybrid_group_comes_first_and_ml_dsa_is_accepted() {
        assert_eq!(provider().kx_groups[0].name(), NamedGroup::X25519MLKEM768);
        let schemes = provider()
            .signature_verification_algorithms
            .supported_schemes();
        assert!(schemes.contains(&SignatureScheme::ML_DSA_65));
        assert!(!schemes.contains(&SignatureScheme::RSA_PKCS1_SHA1));
    }
}
