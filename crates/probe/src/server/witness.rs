//! What stands in for the verifier and the certificates of a client: it lets everything happen and writes it down.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use countersign_diagnose::doctor::target::{CertificateRequest, Der, Vouched};
use rustls::client::ResolvesClientCert;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{verify_tls12_signature, verify_tls13_signature};
use rustls::sign::CertifiedKey;
use rustls::{CertificateError, DigitallySignedStruct, Error, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

use super::line::provider;
use super::vouching::Vouching;

/// One per configuration; its notes are taken after each handshake.
pub(super) struct Witness {
    // Written and read by the one task that drives the handshake; rustls wants `&self` and `Sync`.
    notes: Mutex<Notes>,
    /// What is shown to whoever asks.
    shown: Option<Arc<CertifiedKey>>,
    /// Before whom it is withheld.
    vouching: Option<Arc<Vouching>>,
}

/// What was seen.
#[derive(Default)]
pub(super) struct Notes {
    pub(super) chain: Vec<Der>,
    pub(super) ocsp: Option<Der>,
    pub(super) unproved: Option<String>,
    pub(super) asked: Option<CertificateRequest>,
    pub(super) sent_certificate: bool,
    pub(super) withheld: Option<String>,
}

impl Witness {
    /// Shows nothing.
    pub(super) fn without_certificate() -> Self {
        Self {
            notes: Mutex::default(),
            shown: None,
            vouching: None,
        }
    }

    /// Shows a certificate to anybody: one of no worth.
    pub(super) fn with_worthless(shown: Arc<CertifiedKey>) -> Self {
        Self {
            shown: Some(shown),
            ..Self::without_certificate()
        }
    }

    /// Shows a certificate to whoever is vouched for, on this very connection, and holds the key.
    pub(super) fn with_own(shown: Arc<CertifiedKey>, vouching: Arc<Vouching>) -> Self {
        Self {
            notes: Mutex::default(),
            shown: Some(shown),
            vouching: Some(vouching),
        }
    }

    pub(super) fn notes(&self) -> MutexGuard<'_, Notes> {
        self.notes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where nothing is at stake, a proof that does not hold is only written down.
    fn possession(
        &self,
        proof: Result<HandshakeSignatureValid, Error>,
    ) -> Result<HandshakeSignatureValid, Error> {
        let Err(error) = proof else {
            return proof;
        };
        self.notes().unproved = Some(error.to_string());
        if self.vouching.is_some() {
            self.notes().withheld =
                Some(format!("it does not prove that it holds its key: {error}"));
            return Err(error);
        }
        Ok(HandshakeSignatureValid::assertion())
    }
}

impl fmt::Debug for Witness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Witness")
    }
}

impl ServerCertVerifier for Witness {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        ocsp: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let chain: Vec<Der> = std::iter::once(end_entity)
            .chain(intermediates)
            .map(|certificate| Der(certificate.to_vec()))
            .collect();
        let vouched = self.vouching.as_ref().map(|vouching| vouching.of(&chain));
        let mut notes = self.notes();
        notes.chain = chain;
        notes.ocsp = (!ocsp.is_empty()).then(|| Der(ocsp.to_vec()));
        match vouched {
            Some(Vouched::Nobody(why)) => {
                notes.withheld = Some(why);
                Err(CertificateError::UnknownIssuer.into())
            }
            _ => Ok(ServerCertVerified::assertion()),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &provider().signature_verification_algorithms;
        self.possession(verify_tls12_signature(
            message,
            certificate,
            signature,
            algorithms,
        ))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &provider().signature_verification_algorithms;
        self.possession(verify_tls13_signature(
            message,
            certificate,
            signature,
            algorithms,
        ))
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        provider()
            .signature_verification_algorithms
            .supported_schemes()
    }
}

impl ResolvesClientCert for Witness {
    fn resolve(
        &self,
        ca_names: &[&[u8]],
        schemes: &[SignatureScheme],
    ) -> Option<Arc<CertifiedKey>> {
        let shown = self.shown.clone();
        let can_sign = shown
            .as_ref()
            .is_some_and(|shown| shown.key.choose_scheme(schemes).is_some());
        let mut notes = self.notes();
        notes.asked = Some(CertificateRequest {
            ca_names: ca_names.iter().map(|name| Der(name.to_vec())).collect(),
            schemes: schemes.iter().map(|&scheme| scheme.into()).collect(),
        });
        notes.sent_certificate = can_sign;
        shown
    }

    fn has_certs(&self) -> bool {
        true
    }
}
