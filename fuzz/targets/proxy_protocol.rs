//! Headers of the PROXY protocol: what is one is so however its bytes arrive, and nothing behind it is taken.

use countersign_tls::proxy_protocol::{Header, InvalidHeader, Progress};

#[test]
fn header_is_the_same_however_it_arrives_and_takes_nothing_behind_it() {
    bolero::check!().for_each(|bytes: &[u8]| {
        let Ok(Progress::Whole { header, length }) = Header::parse(bytes) else {
            return;
        };
        assert!(length <= bytes.len());
        let whole = Progress::Whole { header, length };
        assert_eq!(Header::parse(&bytes[..length]), Ok(whole));
        assert_eq!(arriving(bytes), Ok(whole));
    });
}

#[test]
fn line_that_is_read_has_one_form() {
    bolero::check!().for_each(|bytes: &[u8]| {
        // Random bytes seldom begin so.
        let line = [b"PROXY TCP", bytes].concat();
        if let Ok(Progress::Whole { header, length }) = Header::parse(&line) {
            let Header::Carried {
                source,
                destination,
            } = header
            else {
                panic!("no line of this kind leaves its client unnamed");
            };
            let text = std::str::from_utf8(&line[..length]).expect("ASCII");
            let words: Vec<&str> = text.split(' ').collect();
            assert_eq!(words.len(), 6, "{text:?}");
            assert_eq!(words[4], source.port().to_string());
            assert_eq!(words[5], format!("{}\r\n", destination.port()));
            let said: std::net::IpAddr = words[2].parse().expect("an address");
            assert_eq!(said.to_canonical(), source.ip());
        }
    });
}

/// Reads as the acceptor does: as much as it is told to, never more.
fn arriving(bytes: &[u8]) -> Result<Progress, InvalidHeader> {
    let mut received = 0;
    loop {
        let more = match Header::parse(&bytes[..received])? {
            Progress::Bytes(more) => more,
            Progress::Line(most) => {
                let ahead = &bytes[received..bytes.len().min(received + most)];
                let end = ahead.iter().position(|byte| *byte == b'\n');
                end.map_or(ahead.len(), |at| at + 1)
            }
            whole @ Progress::Whole { .. } => return Ok(whole),
        };
        assert!(more > 0, "it would wait for ever");
        received += more;
        assert!(
            received <= bytes.len(),
            "more than the header was asked for"
        );
    }
}
