//! The URL to publish at, as an operator writes it and as every certificate carries it.

use countersign_pki::certificate::Certificate;
use countersign_pki::crl::{CrlScope, Holders};
use countersign_pki::name::Uri;
use countersign_pki::pem;
use countersign_pki::publication::PublicationUrl;
use countersign_pki::serial::SerialNumber;

#[test]
fn accepted_url_makes_urls_below_it_that_http_and_der_can_carry() {
    let root = pem::decode_all(include_bytes!("chain/root.pem")).expect("PEM");
    let root = Certificate::parse(&root[0].der).expect("a root");
    bolero::check!().for_each(|bytes: &[u8]| {
        let Ok(text) = std::str::from_utf8(bytes) else {
            return;
        };
        // Seldom made up.
        let with_scheme = format!("http://{text}");
        for text in [text, &with_scheme] {
            let Ok(url) = PublicationUrl::parse(text) else {
                continue;
            };
            assert_eq!(PublicationUrl::parse(url.as_str()).as_ref(), Ok(&url));
            let sources = url.sources(&root, SerialNumber::from_random([1; 20]));
            let all = [&sources.crl, &sources.ocsp, &sources.ca_issuers];
            for uri in all.map(|uri| uri.as_ref().map_or("", Uri::as_str)) {
                let path = uri.strip_prefix(text).expect("below the URL");
                assert!(
                    path.starts_with('/') && !path.contains(['?', '#', '%']),
                    "{uri}"
                );
                assert!(text.ends_with(url.path()));
            }
            let scope = CrlScope {
                distribution_point: sources.crl,
                holders: Holders::All,
            };
            assert!(scope.to_string().contains(text));
        }
    });
}
