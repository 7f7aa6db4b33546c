//! Certificate requests, as anybody who may ask for a certificate sends them.

use countersign_pki::request::CertificateRequest;

#[test]
fn parsed_request_keeps_its_bytes() {
    bolero::check!().for_each(|bytes: &[u8]| {
        let Ok(request) = CertificateRequest::parse(bytes) else {
            return;
        };
        assert_eq!(request.der(), bytes);
        assert!(!request.spki_der().is_empty());
    });
}
