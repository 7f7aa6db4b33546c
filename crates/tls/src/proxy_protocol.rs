//! The PROXY protocol (its specification is a file of `HAProxy`, `doc/proxy-protocol.txt`; sections are of that): what a front says before a
//! connection of whom it carries, and what we say to an upstream.
//!
//! A header is believed of fronts that the configuration names, and read of nobody else. The same bytes give the same
//! answer however they arrive, and what could be read in two ways is refused: not one byte behind a header is its own.

mod announcement;
mod crc32c;

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

pub use self::announcement::Version;
pub(crate) use self::announcement::{Announcement, cipher_name};
use self::crc32c::crc32c;

/// What a header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Header {
    /// It carries a connection from `source`, which was made to `destination`.
    Carried {
        /// Of the client.
        source: SocketAddr,
        /// Where the client connected to.
        destination: SocketAddr,
    },
    /// It names nobody: a check of the front's own, or a client without an address of IP. The ends of the connection are its own.
    Unnamed,
}

/// How far a header has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// This many bytes more belong to it in any case.
    Bytes(usize),
    /// It goes on up to the next line feed, at most this many bytes.
    Line(usize),
    /// It is complete.
    Whole {
        /// What it says.
        header: Header,
        /// Its bytes.
        length: usize,
    },
}

impl Header {
    /// Reads the beginning of a connection. What lies behind the header is not looked at.
    pub fn parse(received: &[u8]) -> Result<Progress, InvalidHeader> {
        let could_be = |known: &[u8]| {
            let shorter = known.len().min(received.len());
            known[..shorter] == received[..shorter]
        };
        if received.is_empty() {
            // As many has either.
            Ok(Progress::Bytes(V1_START.len()))
        } else if could_be(SIGNATURE) {
            parse_v2(received)
        } else if could_be(V1_START) {
            parse_v1(received)
        } else {
            Err(InvalidHeader::Absent)
        }
    }
}

/// Why there is no header to go by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidHeader {
    /// The connection begins with something else.
    #[error("the connection begins with something else")]
    Absent,
    /// §2.2: an address block that is shorter than its family's.
    #[error("its addresses are cut off")]
    Addresses,
    /// §2.2.4: what arrived is not what was sent.
    #[error("its checksum is wrong")]
    Checksum,
    /// Neither LOCAL nor PROXY.
    #[error("its command is {command}, neither LOCAL nor PROXY")]
    Command {
        /// As it stands there.
        command: u8,
    },
    /// Not a family and a transport that a connection can have.
    #[error("its family and transport are 0x{byte:02x}, which no stream has")]
    Family {
        /// As it stands there.
        byte: u8,
    },
    /// §2.1: not one of the lines that there are.
    #[error("its line is not of version 1's form")]
    Line,
    /// Longer than any front has reason to.
    #[error("it says that it is {length} bytes long, {MAX_V2_BYTES} are read")]
    TooLong {
        /// With what comes before the length.
        length: usize,
    },
    /// §2.2: a field that does not end where the header does, or is not of its type's length.
    #[error("the fields behind its addresses do not end where it does")]
    Fields,
    /// Neither 1 nor 2.
    #[error("its version is {version}, neither 1 nor 2")]
    Version {
        /// As it stands there.
        version: u8,
    },
}

/// §2.1.
fn parse_v1(received: &[u8]) -> Result<Progress, InvalidHeader> {
    if received.len() < V1_START.len() {
        return Ok(Progress::Bytes(V1_START.len() - received.len()));
    }
    let line = &received[..received.len().min(MAX_V1_BYTES)];
    let Some(end) = line.iter().position(|byte| *byte == b'\n') else {
        return if line.len() == MAX_V1_BYTES {
            Err(InvalidHeader::Line)
        } else {
            Ok(Progress::Line(MAX_V1_BYTES - line.len()))
        };
    };
    let text = line[V1_START.len()..end].strip_suffix(b"\r");
    let text = text.filter(|text| text.iter().all(|byte| (b' '..=b'~').contains(byte)));
    let text = text.and_then(|text| std::str::from_utf8(text).ok());
    let header = named_by(text.ok_or(InvalidHeader::Line)?).ok_or(InvalidHeader::Line)?;
    Ok(Progress::Whole {
        header,
        length: end + 1,
    })
}

fn named_by(text: &str) -> Option<Header> {
    let mut words = text.split(' ');
    let family = words.next()?;
    if family == "UNKNOWN" {
        // "The receiver must ignore anything presented before the CRLF".
        return Some(Header::Unnamed);
    }
    let [source, destination, source_port, destination_port] =
        [words.next()?, words.next()?, words.next()?, words.next()?];
    if words.next().is_some() {
        return None;
    }
    let (source_port, destination_port) = (port(source_port)?, port(destination_port)?);
    Some(match family {
        "TCP4" => carried(
            (source.parse::<Ipv4Addr>().ok()?, source_port).into(),
            (destination.parse::<Ipv4Addr>().ok()?, destination_port).into(),
        ),
        "TCP6" => carried(
            (source.parse::<Ipv6Addr>().ok()?, source_port).into(),
            (destination.parse::<Ipv6Addr>().ok()?, destination_port).into(),
        ),
        _ => return None,
    })
}

/// Without a sign, and without zeros before the number.
fn port(text: &str) -> Option<u16> {
    let port: u16 = text.parse().ok()?;
    (port.to_string() == text).then_some(port)
}

/// §2.2.
fn parse_v2(received: &[u8]) -> Result<Progress, InvalidHeader> {
    if received.len() < SIGNATURE.len() {
        return Ok(Progress::Bytes(SIGNATURE.len() - received.len()));
    }
    let [version_and_command, family, length @ ..] = match received.get(SIGNATURE.len()..) {
        Some(&[a, b, c, d, ..]) => [a, b, c, d],
        _ => return Ok(Progress::Bytes(V2_START_BYTES - received.len())),
    };
    let (version, command) = (version_and_command >> 4, version_and_command & 0x0f);
    if version != 2 {
        return Err(InvalidHeader::Version { version });
    }
    let length = V2_START_BYTES + usize::from(u16::from_be_bytes(length));
    if length > MAX_V2_BYTES {
        return Err(InvalidHeader::TooLong { length });
    }
    let addresses = match (command, family) {
        // "The receiver must accept this connection as valid and must use the real connection endpoints and discard the
        // protocol block".
        (LOCAL, _) => None,
        (PROXY, UNSPECIFIED) => Some(0),
        (PROXY, STREAM_V4) => Some(12),
        (PROXY, STREAM_V6) => Some(36),
        (PROXY, STREAM_UNIX) => Some(216),
        (PROXY, byte) => return Err(InvalidHeader::Family { byte }),
        (command, _) => return Err(InvalidHeader::Command { command }),
    };
    if addresses.is_some_and(|addresses| V2_START_BYTES + addresses > length) {
        return Err(InvalidHeader::Addresses);
    }
    let Some(whole) = received.get(..length) else {
        return Ok(Progress::Bytes(length - received.len()));
    };
    let block = &whole[V2_START_BYTES..];
    let header = match (addresses, family) {
        (Some(_), STREAM_V4) => carried_v4(block).ok_or(InvalidHeader::Addresses)?,
        (Some(_), STREAM_V6) => carried_v6(block).ok_or(InvalidHeader::Addresses)?,
        _ => Header::Unnamed,
    };
    if let Some(addresses) = addresses
        // Nothing is said of what stands behind the addresses of no family.
        && family != UNSPECIFIED
    {
        check_fields(whole, V2_START_BYTES + addresses)?;
    }
    Ok(Progress::Whole { header, length })
}

fn carried_v4(block: &[u8]) -> Option<Header> {
    let (source, rest) = block.split_first_chunk::<4>()?;
    let (destination, rest) = rest.split_first_chunk::<4>()?;
    let (source_port, destination_port) = ports(rest)?;
    Some(carried(
        (*source, source_port).into(),
        (*destination, destination_port).into(),
    ))
}

fn carried_v6(block: &[u8]) -> Option<Header> {
    let (source, rest) = block.split_first_chunk::<16>()?;
    let (destination, rest) = rest.split_first_chunk::<16>()?;
    let (source_port, destination_port) = ports(rest)?;
    Some(carried(
        (*source, source_port).into(),
        (*destination, destination_port).into(),
    ))
}

fn ports(bytes: &[u8]) -> Option<(u16, u16)> {
    let (source, rest) = bytes.split_first_chunk()?;
    let destination = rest.first_chunk()?;
    Some((
        u16::from_be_bytes(*source),
        u16::from_be_bytes(*destination),
    ))
}

/// Addresses of IPv4 in IPv6's notation are those of IPv4, as they are of sockets, so that one rule fits both.
fn carried(source: SocketAddr, destination: SocketAddr) -> Header {
    let canonical =
        |address: SocketAddr| SocketAddr::new(address.ip().to_canonical(), address.port());
    Header::Carried {
        source: canonical(source),
        destination: canonical(destination),
    }
}

/// §2.2.4 on: what they say of the client is the front's word, and nobody is admitted by it. The checksum is verified where there is one.
fn check_fields(whole: &[u8], start: usize) -> Result<(), InvalidHeader> {
    let mut at = start;
    let mut checksum = None;
    while at < whole.len() {
        let Some(&[kind, high, low]) = whole.get(at..at + FIELD_START_BYTES) else {
            return Err(InvalidHeader::Fields);
        };
        let value = at + FIELD_START_BYTES;
        at = value + usize::from(u16::from_be_bytes([high, low]));
        if at > whole.len() {
            return Err(InvalidHeader::Fields);
        }
        if kind == CRC32C {
            let sum = whole[value..at].try_into();
            let sum = u32::from_be_bytes(sum.map_err(|_| InvalidHeader::Fields)?);
            if checksum.replace((value, sum)).is_some() {
                return Err(InvalidHeader::Fields);
            }
        }
    }
    match checksum {
        Some((value, sum)) => {
            // Over the whole header, with zeros where it stands.
            let parts = [&whole[..value], &[0; 4], &whole[value + 4..]];
            if crc32c(&parts) == sum {
                Ok(())
            } else {
                Err(InvalidHeader::Checksum)
            }
        }
        None => Ok(()),
    }
}

const V1_START: &[u8] = b"PROXY ";

/// §2.1: the longest line, with its end.
const MAX_V1_BYTES: usize = 107;

const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// Signature, version and command, family and transport, length.
const V2_START_BYTES: usize = 16;

/// `HAProxy` reads no longer ones either (`tune.bufsize`): a certificate of a client fits.
const MAX_V2_BYTES: usize = 16 * 1024;

/// Type and length.
const FIELD_START_BYTES: usize = 3;

const LOCAL: u8 = 0;
const PROXY: u8 = 1;

const UNSPECIFIED: u8 = 0x00;
const STREAM_V4: u8 = 0x11;
const STREAM_V6: u8 = 0x21;
const STREAM_UNIX: u8 = 0x31;

/// `PP2_TYPE_CRC32C`.
const CRC32C: u8 = 0x03;

#[cfg(test)]
mod tests {
    use super::*;

    fn said(received: &[u8]) -> String {
        match Header::parse(received) {
            Ok(Progress::Whole { header, length }) => {
                let named = match header {
                    Header::Carried {
                        source,
                        destination,
                    } => format!("{source} to {destination}"),
                    Header::Unnamed => "unnamed".to_owned(),
                };
                assert_eq!(length, received.len(), "of {received:?}");
                named
            }
            Ok(progress) => format!("{progress:?}"),
            Err(invalid) => format!("{invalid:?}"),
        }
    }

    fn v2(command: u8, family: u8, block: &[u8]) -> Vec<u8> {
        let length = u16::try_from(block.len()).expect("short").to_be_bytes();
        [SIGNATURE, &[0x20 | command, family], &length, block].concat()
    }

    const FOUR: [u8; 12] = [192, 0, 2, 1, 198, 51, 100, 1, 0xdd, 0xd5, 0x01, 0xbb];

    #[test]
    fn line_of_version_1_has_one_form() {
        for (line, expected) in [
            (
                "PROXY TCP4 192.0.2.1 198.51.100.1 56789 443\r\n",
                "192.0.2.1:56789 to 198.51.100.1:443",
            ),
            (
                "PROXY TCP6 2001:db8::1 2001:db8::2 0 65535\r\n",
                "[2001:db8::1]:0 to [2001:db8::2]:65535",
            ),
            (
                "PROXY TCP6 ::ffff:192.0.2.1 ::ffff:198.51.100.1 1 2\r\n",
                "192.0.2.1:1 to 198.51.100.1:2",
            ),
            ("PROXY UNKNOWN\r\n", "unnamed"),
            ("PROXY UNKNOWN ffff:f...f:ffff 1 65535\r\n", "unnamed"),
            ("PROXY TCP4 192.0.2.1 198.51.100.1 56789 443\n", "Line"),
            ("PROXY TCP4 192.0.2.1 198.51.100.1 56789 443\r\r\n", "Line"),
            ("PROXY TCP4  192.0.2.1 198.51.100.1 56789 443\r\n", "Line"),
            ("PROXY TCP4 192.0.2.1 198.51.100.1 56789 443 \r\n", "Line"),
            ("PROXY TCP4 192.0.2.1\t198.51.100.1 56789 443\r\n", "Line"),
            ("PROXY TCP4 192.0.2.1 198.51.100.1 56789\r\n", "Line"),
            ("PROXY TCP4 192.0.2.1 198.51.100.1 056789 443\r\n", "Line"),
            ("PROXY TCP4 192.0.2.1 198.51.100.1 56789 +443\r\n", "Line"),
            ("PROXY TCP4 192.0.2.1 198.51.100.1 56789 65536\r\n", "Line"),
            ("PROXY TCP4 192.0.2.01 198.51.100.1 56789 443\r\n", "Line"),
            ("PROXY TCP4 192.0.2 198.51.100.1 56789 443\r\n", "Line"),
            ("PROXY TCP4 2001:db8::1 2001:db8::2 1 2\r\n", "Line"),
            ("PROXY TCP6 192.0.2.1 198.51.100.1 1 2\r\n", "Line"),
            ("PROXY TCP6 fe80::1%eth0 2001:db8::2 1 2\r\n", "Line"),
            ("PROXY UDP4 192.0.2.1 198.51.100.1 1 2\r\n", "Line"),
            ("PROXY tcp4 192.0.2.1 198.51.100.1 1 2\r\n", "Line"),
            ("PROXY UNKNOWNS\r\n", "Line"),
            ("PROXY \r\n", "Line"),
            ("PROXY TCP4 \0 \0 1 2\r\n", "Line"),
            ("PROXYTCP4", "Absent"),
            ("proxy TCP4", "Absent"),
            ("\u{16}\u{3}\u{1}", "Absent"),
            ("P", "Bytes(5)"),
            ("PROXY ", "Line(101)"),
        ] {
            assert_eq!(said(line.as_bytes()), expected, "{line:?}");
        }
        let longest = format!("PROXY UNKNOWN{}\r\n", " ".repeat(92));
        assert_eq!(
            (said(longest.as_bytes()), longest.len()),
            ("unnamed".to_owned(), 107)
        );
        let longer = format!("PROXY UNKNOWN{}\r\n", " ".repeat(93));
        assert_eq!(said(longer.as_bytes()), "Line");
    }

    #[test]
    fn header_of_version_2_is_read_within_its_length() {
        let six = [[0x20, 1, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]; 2].concat();
        let six = [&six[..], &[0, 1, 0, 2]].concat();
        let with = |fields: &[u8]| [&FOUR[..], fields].concat();
        for (header, expected) in [
            (v2(1, 0x11, &FOUR), "192.0.2.1:56789 to 198.51.100.1:443"),
            (v2(1, 0x21, &six), "[2001:db8::1]:1 to [2001:db8::1]:2"),
            (
                v2(1, 0x11, &with(&[0xea, 0, 1, 7, 0x04, 0, 0])),
                "192.0.2.1:56789 to 198.51.100.1:443",
            ),
            (v2(1, 0x31, &[b'a'; 216]), "unnamed"),
            (v2(1, 0x00, b"whatever"), "unnamed"),
            (v2(0, 0x00, b""), "unnamed"),
            // A check of the front's own: whatever it carries is not looked at.
            (v2(0, 0x11, &FOUR), "unnamed"),
            (v2(0, 0xff, b"\xff\xff\xff"), "unnamed"),
            (v2(1, 0x12, &FOUR), "Family { byte: 18 }"),
            (v2(1, 0x10, &FOUR), "Family { byte: 16 }"),
            (v2(1, 0x01, b""), "Family { byte: 1 }"),
            (v2(1, 0x41, &six), "Family { byte: 65 }"),
            (v2(2, 0x11, &FOUR), "Command { command: 2 }"),
            (v2(1, 0x11, &FOUR[..11]), "Addresses"),
            (v2(1, 0x21, &FOUR), "Addresses"),
            (v2(1, 0x31, &[b'a'; 215]), "Addresses"),
            (v2(1, 0x11, &with(&[0xea])), "Fields"),
            (v2(1, 0x11, &with(&[0xea, 0])), "Fields"),
            (v2(1, 0x11, &with(&[0xea, 0, 1])), "Fields"),
            (v2(1, 0x11, &with(&[0xea, 0xff, 0xff, 0])), "Fields"),
            (v2(1, 0x11, &with(&[0x03, 0, 3, 0, 0, 0])), "Fields"),
            (v2(1, 0x11, &with(&[0x03, 0, 4, 0, 0, 0, 0])), "Checksum"),
            (
                [SIGNATURE, &[0x11, 0x11, 0, 12], &FOUR].concat(),
                "Version { version: 1 }",
            ),
            (
                [SIGNATURE, &[0x21, 0x11, 0x3f, 0xf1]].concat(),
                "TooLong { length: 16385 }",
            ),
            (
                [SIGNATURE, &[0x21, 0x11, 0x3f, 0xf0]].concat(),
                "Bytes(16368)",
            ),
            (SIGNATURE.to_vec(), "Bytes(4)"),
        ] {
            assert_eq!(said(&header), expected, "{header:?}");
        }
    }

    #[test]
    fn checksum_is_over_all_of_the_header_and_stands_there_once() {
        let field = |sum: u32| [&[CRC32C, 0, 4], &sum.to_be_bytes()[..]].concat();
        let other = [0xea, 0, 1, 7];
        let header = |sum| v2(1, 0x11, &[&FOUR[..], &field(sum), &other].concat());
        let sum = crc32c(&[&header(0)]);
        let good = header(sum);
        assert_eq!(said(&good), "192.0.2.1:56789 to 198.51.100.1:443");
        // With another type in its place there is none.
        let kind = V2_START_BYTES + FOUR.len();
        for at in (V2_START_BYTES..good.len()).filter(|at| *at != kind) {
            let mut altered = good.clone();
            altered[at] ^= 1;
            assert!(Header::parse(&altered).is_err(), "byte {at}");
        }
        let twice = [&FOUR[..], &field(sum), &field(sum)].concat();
        assert_eq!(said(&v2(1, 0x11, &twice)), "Fields");
    }

    #[test]
    fn no_byte_behind_a_header_is_asked_for() {
        let fields = [&FOUR[..], &[0xea, 0, 2, 7, 7]].concat();
        for header in [
            b"PROXY TCP4 192.0.2.1 198.51.100.1 56789 443\r\n".to_vec(),
            b"PROXY UNKNOWN\r\n".to_vec(),
            v2(1, 0x11, &fields),
            v2(0, 0x00, b""),
        ] {
            let whole = Header::parse(&header);
            let followed = [&header[..], b"\x16\x03\x01"].concat();
            assert_eq!(Header::parse(&followed), whole);
            for cut in 0..header.len() {
                match Header::parse(&header[..cut]) {
                    Ok(Progress::Bytes(more)) => {
                        assert!((1..=header.len() - cut).contains(&more), "{cut} {more}");
                    }
                    Ok(Progress::Line(most)) => assert!(header.len() - cut <= most),
                    other => panic!("{cut}: {other:?}"),
                }
            }
        }
    }
}
