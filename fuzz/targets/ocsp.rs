//! OCSP requests, by POST and by GET, as anybody on the network sends them.

use countersign_pki::ocsp::{
    MAX_GET_BYTES, MAX_NONCE_OCTETS, MAX_QUESTIONS, MAX_REQUEST_BYTES, OcspRequest,
};

#[test]
fn parsed_request_is_within_its_bounds_and_keeps_its_questions() {
    bolero::check!().for_each(|bytes: &[u8]| {
        let Ok(request) = OcspRequest::parse(bytes) else {
            return;
        };
        assert!(bytes.len() <= MAX_REQUEST_BYTES);
        assert!((1..=MAX_QUESTIONS).contains(&request.questions().len()));
        for id in request.questions() {
            let der = id.der();
            assert!(bytes.windows(der.len()).any(|window| window == der));
        }
        if let Some(nonce) = request.nonce() {
            assert!((1..=MAX_NONCE_OCTETS).contains(&nonce.as_bytes().len()));
        }
    });
}

#[test]
fn path_of_a_get_says_the_same_however_it_is_escaped() {
    bolero::check!().for_each(|bytes: &[u8]| {
        let Ok(path) = std::str::from_utf8(bytes) else {
            return;
        };
        let Ok(request) = OcspRequest::parse_get(path) else {
            return;
        };
        assert!(path.len() <= MAX_GET_BYTES);
        // A raw character is the same escaped, in either case of the digits.
        let escaped = path
            .replace('+', "%2b")
            .replace('/', "%2F")
            .replace('=', "%3d");
        if escaped.len() > MAX_GET_BYTES {
            return;
        }
        let again = OcspRequest::parse_get(&escaped).expect("the same request, escaped");
        assert_eq!(again.questions(), request.questions());
        assert_eq!(again.nonce(), request.nonce());
    });
}
