//! The first bytes of a connection: however a `ClientHello` is split over records and segments, it asks for the same name; and nobody who asks
//! for one is taken for a client that asks for none.

use countersign_tls::hello::FirstBytes;

#[test]
fn hello_asks_for_the_same_name_however_it_is_split() {
    let good = in_records(&client_hello(Some("a.example"), &[]), &[3]);
    let name = Some("a.example".to_owned());
    assert_eq!(FirstBytes::read([&good[..]]), FirstBytes::Hello { name });
    bolero::check!()
        .with_type::<(Option<String>, Vec<(u16, Vec<u8>)>, Vec<u8>, Vec<u8>)>()
        .for_each(|(name, extensions, records, segments)| {
            let hello = client_hello(name.as_deref(), extensions);
            let whole = in_records(&hello, &[]);
            let split = in_records(&hello, records);
            let read = FirstBytes::read([&whole[..]]);
            let read_again = FirstBytes::read(pieces(&split, segments));
            assert_eq!(read, read_again);
            if let FirstBytes::Hello { name: found } = read {
                // rustls gives names in lower case; what is no name asks for none only where it was an address.
                let written = name.as_deref().map(str::to_ascii_lowercase);
                match (found, written) {
                    (Some(found), Some(written)) => {
                        assert_eq!(found.to_ascii_lowercase(), written);
                    }
                    (Some(found), None) => panic!("{found} was never written"),
                    (None, Some(written)) => {
                        assert!(written.parse::<std::net::IpAddr>().is_ok(), "{written:?}");
                    }
                    (None, None) => {}
                }
            }
        });
}

#[test]
fn bytes_are_the_same_however_they_arrive() {
    bolero::check!()
        .with_type::<(Vec<u8>, Vec<u8>)>()
        .for_each(|(bytes, segments)| {
            let whole = FirstBytes::read([&bytes[..]]);
            let split = FirstBytes::read(pieces(bytes, segments));
            // What follows too early is seen where it comes with the rest; the kind of what is refused may be told sooner.
            let is_hello = |read: &FirstBytes| matches!(read, FirstBytes::Hello { .. });
            if is_hello(&whole) || matches!(whole, FirstBytes::Unfinished) {
                assert_eq!(whole, split);
            }
        });
}

/// RFC 8446 §4.1.2, with what rustls needs to read it.
fn client_hello(name: Option<&str>, more: &[(u16, Vec<u8>)]) -> Vec<u8> {
    let mut extensions = Vec::new();
    let mut extension = |kind: u16, body: &[u8]| {
        extensions.extend(kind.to_be_bytes());
        extensions.extend(length(body));
        extensions.extend(body);
    };
    if let Some(name) = name {
        // RFC 6066 §3.
        let entry = [&[0][..], &length(name.as_bytes()), name.as_bytes()].concat();
        extension(0, &[&length(&entry)[..], &entry].concat());
    }
    // supported_versions, signature_algorithms, supported_groups.
    extension(43, &[2, 3, 4]);
    extension(13, &[0, 2, 4, 3]);
    extension(10, &[0, 2, 0, 29]);
    for (kind, body) in more.iter().take(20) {
        // A name, too, would be a second one.
        if *kind != 0 {
            extension(*kind, &body[..body.len().min(1000)]);
        }
    }
    let random = [7; 32];
    let fixed = [&[3, 3][..], &random, &[0, 0, 2, 0x13, 1, 1, 0]].concat();
    let body = [&fixed[..], &length(&extensions), &extensions].concat();
    let size = u32::try_from(body.len()).expect("short").to_be_bytes();
    [&[1][..], &size[1..], &body].concat()
}

fn length(body: &[u8]) -> [u8; 2] {
    u16::try_from(body.len().min(0xffff))
        .expect("bounded")
        .to_be_bytes()
}

/// RFC 8446 §5.1: in records of these many bytes, each of one at least, and the rest in those of 16 KiB.
fn in_records(handshake: &[u8], sizes: &[u8]) -> Vec<u8> {
    let (mut rest, mut records) = (handshake, Vec::new());
    let mut sizes = sizes.iter();
    while !rest.is_empty() {
        let size = sizes
            .next()
            .map_or(16_384, |size| usize::from(*size).max(1));
        let (content, after) = rest.split_at(size.min(rest.len()));
        records.extend([22, 3, 1]);
        records.extend(length(content));
        records.extend(content);
        rest = after;
    }
    records
}

/// The same bytes in pieces of these lengths, and the rest in one.
fn pieces<'a>(bytes: &'a [u8], lengths: &[u8]) -> Vec<&'a [u8]> {
    let (mut rest, mut pieces) = (bytes, Vec::new());
    for length in lengths {
        let (piece, after) = rest.split_at(usize::from(*length).min(rest.len()));
        pieces.push(piece);
        rest = after;
    }
    pieces.push(rest);
    pieces
}
