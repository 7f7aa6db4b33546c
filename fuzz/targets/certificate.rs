//! Certificates as a peer presents them.

use countersign_pki::certificate::Certificate;
use countersign_pki::dn::DistinguishedName;
use countersign_pki::name::TypedName;

#[test]
fn parsed_certificate_keeps_its_bytes_and_its_names_read_back() {
    bolero::check!().for_each(|bytes: &[u8]| {
        let Ok(certificate) = Certificate::parse(bytes) else {
            return;
        };
        assert_eq!(certificate.der().as_ref(), bytes);
        assert!(certificate.serial().magnitude().len() <= 20);
        for name in certificate.names() {
            let written = name.to_string();
            assert!(!written.contains('\0'));
            assert_eq!(written.parse::<TypedName>().as_ref(), Ok(name), "{written}");
        }
        let subject = certificate.subject();
        assert_eq!(
            DistinguishedName::parse(&subject.to_string()).as_ref(),
            Ok(subject)
        );
    });
}
