//! What a `ClientHello` offers, read for evidence only: rustls has the say on every byte that decides.

use countersign_diagnose::handshake::Offer;

/// As far as it can be read: a hello that is cut off or malformed gives what stands before the fault.
pub(super) fn read(received: &[u8]) -> Offer {
    let mut offer = Offer::default();
    let _ = match received {
        // RFC 5246 appendix E.2.
        [0x80..=0xff, _, 1, version @ ..] => Reader(version)
            .number()
            .map(|version| offer.versions.push(version)),
        records => read_hello(Reader(&handshake_bytes(records)), |part| {
            match part {
                Part::LegacyVersion(version) => offer.versions.push(version),
                Part::CipherSuites(suites) => offer.cipher_suites = numbers(suites),
                Part::Extension(SERVER_NAME, mut body) => {
                    offer.server_name = server_name(Reader(body.long_vector()?));
                }
                Part::Extension(SUPPORTED_GROUPS, mut body) => {
                    offer.groups = numbers(body.long_vector()?);
                }
                Part::Extension(ALPN, mut body) => {
                    offer.protocols = protocols(Reader(body.long_vector()?));
                }
                Part::Extension(SUPPORTED_VERSIONS, mut body) => {
                    offer.versions = numbers(body.short_vector()?);
                }
                Part::Extension(..) => {}
            }
            Some(())
        }),
    };
    offer
}

/// Whether a hello shows a ticket of TLS 1.3 (RFC 8446 §4.2.11), be it good or not. Says how many tickets the client is given, and decides
/// nothing else.
pub(super) fn shows_ticket(received: &[u8]) -> bool {
    let mut shows = false;
    let _ = read_hello(Reader(&handshake_bytes(received)), |part| {
        shows |= matches!(part, Part::Extension(PRE_SHARED_KEY, _));
        Some(())
    });
    shows
}

enum Part<'a> {
    LegacyVersion(u16),
    CipherSuites(&'a [u8]),
    Extension(u16, Reader<'a>),
}

/// The content of the records (RFC 8446 §5.1), joined.
fn handshake_bytes(mut records: &[u8]) -> Vec<u8> {
    let mut content = Vec::with_capacity(records.len());
    while let [HANDSHAKE, _, _, high, low, rest @ ..] = records {
        let length = usize::from(u16::from_be_bytes([*high, *low])).min(rest.len());
        content.extend_from_slice(&rest[..length]);
        records = &rest[length..];
    }
    content
}

/// RFC 8446 §4.1.2. `note` is given each part in turn, and ends the reading where it makes nothing of one.
fn read_hello(mut message: Reader<'_>, mut note: impl FnMut(Part<'_>) -> Option<()>) -> Option<()> {
    let header = message.take(4)?;
    if header[0] != CLIENT_HELLO {
        return None;
    }
    note(Part::LegacyVersion(message.number()?))?;
    message.take(32)?;
    message.short_vector()?;
    note(Part::CipherSuites(message.long_vector()?))?;
    message.short_vector()?;
    let mut extensions = Reader(message.rest_of_long_vector()?);
    loop {
        let kind = extensions.number()?;
        note(Part::Extension(kind, Reader(extensions.long_vector()?)))?;
    }
}

/// RFC 6066 §3: the one name of type `host_name`.
fn server_name(mut list: Reader<'_>) -> Option<String> {
    let [0] = list.take(1)? else { return None };
    Some(String::from_utf8_lossy(list.long_vector()?).into_owned())
}

/// RFC 7301 §3.1.
fn protocols(mut list: Reader<'_>) -> Vec<Vec<u8>> {
    std::iter::from_fn(|| list.short_vector().map(<[u8]>::to_vec))
        .take(MAX_PROTOCOLS)
        .collect()
}

/// Without the values of GREASE (RFC 8701 §2).
fn numbers(list: &[u8]) -> Vec<u16> {
    let is_grease = |number: &u16| number & 0x0f0f == 0x0a0a && number >> 8 == number & 0xff;
    let mut list = Reader(list);
    std::iter::from_fn(|| list.number())
        .filter(|number| !is_grease(number))
        .take(MAX_NUMBERS)
        .collect()
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    fn number(&mut self) -> Option<u16> {
        self.take(2)
            .map(|bytes| u16::from_be_bytes([bytes[0], bytes[1]]))
    }

    fn short_vector(&mut self) -> Option<&'a [u8]> {
        let length = self.take(1)?[0];
        self.take(length.into())
    }

    fn long_vector(&mut self) -> Option<&'a [u8]> {
        let length = self.number()?;
        self.take(length.into())
    }

    /// What there is of a vector that may be cut off.
    fn rest_of_long_vector(&mut self) -> Option<&'a [u8]> {
        let length = usize::from(self.number()?).min(self.0.len());
        self.take(length)
    }
}

const HANDSHAKE: u8 = 22;
const CLIENT_HELLO: u8 = 1;
const SERVER_NAME: u16 = 0;
const SUPPORTED_GROUPS: u16 = 10;
const ALPN: u16 = 16;
const PRE_SHARED_KEY: u16 = 41;
const SUPPORTED_VERSIONS: u16 = 43;

/// What evidence can show; browsers offer two.
const MAX_PROTOCOLS: usize = 16;
/// What evidence can show; OpenSSL offers some thirty suites.
const MAX_NUMBERS: usize = 100;

#[cfg(test)]
mod tests {
    use super::*;

    fn vector(length_bytes: usize, content: &[u8]) -> Vec<u8> {
        let length = (content.len() as u64).to_be_bytes();
        [&length[8 - length_bytes..], content].concat()
    }

    fn extension(kind: u16, body: &[u8]) -> Vec<u8> {
        [&kind.to_be_bytes()[..], &vector(2, body)].concat()
    }

    fn hello() -> Vec<u8> {
        let extensions = [
            extension(0x0a0a, b""),
            extension(
                SERVER_NAME,
                &vector(2, &[&[0][..], &vector(2, b"api.example.com")].concat()),
            ),
            extension(SUPPORTED_GROUPS, &vector(2, &[0x11, 0xec, 0x00, 0x1d])),
            extension(
                ALPN,
                &vector(2, &[vector(1, b"h2"), vector(1, b"http/1.1")].concat()),
            ),
            extension(SUPPORTED_VERSIONS, &vector(1, &[0x7a, 0x7a, 3, 4, 3, 3])),
        ]
        .concat();
        let body = [
            &[3, 3][..],
            &[7; 32],
            &vector(1, &[9; 32]),
            &vector(2, &[0x1a, 0x1a, 0x13, 0x02]),
            &vector(1, &[0]),
            &vector(2, &extensions),
        ]
        .concat();
        [&[CLIENT_HELLO][..], &vector(3, &body)].concat()
    }

    fn record(content: &[u8]) -> Vec<u8> {
        [&[HANDSHAKE, 3, 1][..], &vector(2, content)].concat()
    }

    fn expected() -> Offer {
        Offer {
            server_name: Some("api.example.com".to_owned()),
            protocols: vec![b"h2".to_vec(), b"http/1.1".to_vec()],
            versions: vec![0x0304, 0x0303],
            cipher_suites: vec![0x1302],
            groups: vec![0x11ec, 0x001d],
        }
    }

    #[test]
    fn an_offer_is_the_same_however_records_split_it() {
        let hello = hello();
        assert_eq!(read(&record(&hello)), expected());
        for at in 0..hello.len() {
            assert_eq!(
                read(&[record(&hello[..at]), record(&hello[at..])].concat()),
                expected(),
                "{at}"
            );
        }
        let each: Vec<u8> = hello.chunks(1).flat_map(record).collect();
        assert_eq!(read(&each), expected());
    }

    #[test]
    fn ticket_is_shown_where_there_is_one_whatever_else_there_is() {
        let ticket = [hello(), extension(PRE_SHARED_KEY, b"\0\x29")].concat();
        // The lengths before it are of the hello without it.
        assert!(!shows_ticket(&record(&hello())) && !shows_ticket(&record(&ticket)));
        let with = |extensions: &[u8]| {
            let body = [
                &[3, 3][..],
                &[7; 32],
                &[0],
                &[0, 0],
                &[0],
                &vector(2, extensions),
            ]
            .concat();
            record(&[&[CLIENT_HELLO][..], &vector(3, &body)].concat())
        };
        let (ticket, named) = (extension(PRE_SHARED_KEY, b"\0"), extension(ALPN, b"\0\x29"));
        assert!(shows_ticket(&with(&ticket)));
        assert!(shows_ticket(&with(
            &[named.clone(), ticket.clone()].concat()
        )));
        assert!(!shows_ticket(&with(&named)));
        let cut_off = with(&[named, ticket].concat());
        assert!(!shows_ticket(&cut_off[..cut_off.len() - 1]));
    }

    #[test]
    fn a_hello_cut_off_anywhere_gives_what_stands_before() {
        let whole = record(&hello());
        let mut known = 0;
        for end in 0..=whole.len() {
            let offer = read(&whole[..end]);
            let now = usize::from(offer.server_name.is_some())
                + offer.cipher_suites.len()
                + offer.groups.len()
                + offer.protocols.len();
            assert!(now >= known, "{end}");
            known = now;
        }
        assert_eq!(known, 6);
    }

    #[test]
    fn damaged_hellos_are_read_without_a_panic() {
        let whole = record(&hello());
        for at in 0..whole.len() {
            for value in [0, 1, 0x7f, 0x80, 0xff] {
                let mut damaged = whole.clone();
                damaged[at] = value;
                read(&damaged);
            }
        }
    }

    #[test]
    fn the_hello_of_sslv2_tells_its_version() {
        assert_eq!(read(b"\x80\x2e\x01\x03\x01\0\x15").versions, [0x0301]);
        assert_eq!(read(b"\x80\x2e\x01").versions, [] as [u16; 0]);
    }
}
