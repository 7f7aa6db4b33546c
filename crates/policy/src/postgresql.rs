//! The beginning of a PostgreSQL connection, up to where the database asks for more than a name (PostgreSQL's documentation,
//! "Message Formats" and "SSL Session Encryption").
//!
//! A login is judged by this reading and forwarded as the bytes that were read, so that the database must read the same
//! user from them. Wherever two readers could differ (a name twice, a name that is cut off, bytes behind the end) the
//! packet is refused.

use std::collections::BTreeSet;

use crate::access::login::MAX_NAME_BYTES;
pub use crate::access::login::{Login, LoginPattern};

/// What a client asks for before TLS, by the first eight bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opening {
    /// `CancelRequest`.
    Cancel,
    /// `GSSENCRequest`.
    Gss,
    /// `SSLRequest`.
    Tls,
    /// `StartupMessage`, whatever its version.
    Startup,
}

impl Opening {
    /// `None`: no client of PostgreSQL sends that.
    pub fn parse(first: [u8; OPENING_BYTES]) -> Option<Self> {
        let (length, code) = (u32_at(&first, 0)?, u32_at(&first, 4)?);
        match code {
            TLS_REQUEST if length == 8 => Some(Self::Tls),
            GSS_REQUEST if length == 8 => Some(Self::Gss),
            CANCEL_REQUEST => Some(Self::Cancel),
            version if (2..=3).contains(&(version >> 16)) => Some(Self::Startup),
            _ => None,
        }
    }
}

/// What a client may send first inside TLS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Packet {
    /// Ends what another connection is doing; whoever knows that one's secret key may.
    Cancel,
    /// A login.
    Startup(Login),
}

impl Packet {
    /// How many bytes follow the four that say how long the packet is.
    pub fn length(first: [u8; 4]) -> Result<usize, InvalidPacket> {
        let length = u32::from_be_bytes(first);
        usize::try_from(length)
            .ok()
            .and_then(|length| length.checked_sub(4))
            .filter(|rest| (4..=MAX_PACKET_BYTES).contains(rest))
            .ok_or(InvalidPacket::Length { length })
    }

    /// Reads a whole packet, its length included.
    pub fn parse(packet: &[u8]) -> Result<Self, InvalidPacket> {
        let cut = || InvalidPacket::Length {
            length: u32::try_from(packet.len()).unwrap_or(u32::MAX),
        };
        let first = packet.first_chunk().ok_or_else(cut)?;
        let code = u32_at(packet, 4).ok_or_else(cut)?;
        if Self::length(*first)? + 4 != packet.len() {
            return Err(cut());
        }
        let body = &packet[OPENING_BYTES..];
        match code {
            // Process id, then the key: 4 bytes up to protocol 3.0, at most 256 since.
            CANCEL_REQUEST if (8..=260).contains(&body.len()) => Ok(Self::Cancel),
            CANCEL_REQUEST => Err(cut()),
            version if version >> 16 == 3 => login(body).map(Self::Startup),
            version => Err(InvalidPacket::Version { version }),
        }
    }
}

/// A packet that no database gets to read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidPacket {
    /// PostgreSQL cuts such a name off, and reads another.
    #[error("the name of its {parameter} is longer than the 63 bytes that PostgreSQL reads")]
    LongName {
        /// `user` or `database`.
        parameter: &'static str,
    },
    /// Shorter than its code, longer than PostgreSQL takes, or not as long as it says.
    #[error("it is {length} bytes long, or says so")]
    Length {
        /// In bytes.
        length: u32,
    },
    /// It names no user.
    #[error("it names no user")]
    NoUser,
    /// A name or a value that is not UTF-8.
    #[error("its {parameter} is not UTF-8")]
    NotUtf8 {
        /// `user` or `database`.
        parameter: &'static str,
    },
    /// Replication reads every database, whatever the user may.
    #[error("it asks for replication, which is not passed on")]
    Replication,
    /// A parameter twice.
    #[error("it has a parameter twice")]
    Twice,
    /// A parameter without a value, no terminator, or bytes behind it.
    #[error("it does not end where its parameters do")]
    Unterminated,
    /// Neither protocol 3 nor a request to cancel.
    #[error("its protocol is {}.{}, not 3", version >> 16, version & 0xffff)]
    Version {
        /// As it stands there.
        version: u32,
    },
}

/// The message by which a server refuses a login, and after which it closes. `code` is an SQLSTATE.
pub fn error_response(code: &str, message: &str, hint: Option<&str>) -> Vec<u8> {
    let mut fields = Vec::new();
    let mut field = |kind: u8, text: &str| {
        fields.push(kind);
        fields.extend(text.bytes().filter(|byte| *byte != 0));
        fields.push(0);
    };
    field(b'S', "FATAL");
    field(b'V', "FATAL");
    field(b'C', code);
    field(b'M', message);
    if let Some(hint) = hint {
        field(b'H', hint);
    }
    fields.push(0);
    let length = u32::try_from(fields.len() + 4).expect("a sentence or two");
    let mut message = vec![b'E'];
    message.extend_from_slice(&length.to_be_bytes());
    message.extend_from_slice(&fields);
    message
}

/// As `ProcessStartupPacket` of PostgreSQL reads it.
fn login(mut rest: &[u8]) -> Result<Login, InvalidPacket> {
    let (mut user, mut database) = ("", "");
    let mut seen = BTreeSet::new();
    loop {
        let name = text(&mut rest)?;
        if name.is_empty() {
            break;
        }
        let value = text(&mut rest)?;
        if !seen.insert(name) {
            return Err(InvalidPacket::Twice);
        }
        match name {
            b"user" => user = account("user", value)?,
            b"database" => database = account("database", value)?,
            b"replication" => return Err(InvalidPacket::Replication),
            _ => {}
        }
    }
    match (rest, user, database) {
        ([_, ..], ..) => Err(InvalidPacket::Unterminated),
        (_, "", _) => Err(InvalidPacket::NoUser),
        (_, user, "") => Ok(Login::new(user.to_owned(), user.to_owned())),
        (_, user, database) => Ok(Login::new(user.to_owned(), database.to_owned())),
    }
}

fn account<'a>(parameter: &'static str, name: &'a [u8]) -> Result<&'a str, InvalidPacket> {
    if name.len() > MAX_NAME_BYTES {
        return Err(InvalidPacket::LongName { parameter });
    }
    std::str::from_utf8(name).map_err(|_| InvalidPacket::NotUtf8 { parameter })
}

/// Up to the next zero, which has to be there.
fn text<'a>(rest: &mut &'a [u8]) -> Result<&'a [u8], InvalidPacket> {
    let end = rest.iter().position(|byte| *byte == 0);
    let (text, after) = rest.split_at(end.ok_or(InvalidPacket::Unterminated)?);
    *rest = &after[1..];
    Ok(text)
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    let four = bytes.get(at..)?.first_chunk()?;
    Some(u32::from_be_bytes(*four))
}

/// The bytes that tell what a client asks for.
pub const OPENING_BYTES: usize = 8;

/// `SSLRequest` as a client sends it.
pub const REQUEST_FOR_TLS: [u8; OPENING_BYTES] = [0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f];

/// What direct TLS has to agree on.
pub const ALPN: &[u8] = b"postgresql";

/// `invalid_authorization_specification`.
pub const REFUSED: &str = "28000";

/// `cannot_connect_now`.
pub const UNREACHABLE: &str = "57P03";

/// `protocol_violation`.
pub const VIOLATION: &str = "08P01";

/// `MAX_STARTUP_PACKET_LENGTH`, which does not count the length itself.
const MAX_PACKET_BYTES: usize = 10_000;

const CANCEL_REQUEST: u32 = 80_877_102;
const TLS_REQUEST: u32 = 80_877_103;
const GSS_REQUEST: u32 = 80_877_104;

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(version: u32, body: &[u8]) -> Vec<u8> {
        let length = u32::try_from(body.len() + 8).expect("short");
        [&length.to_be_bytes()[..], &version.to_be_bytes(), body].concat()
    }

    fn read(body: &[u8]) -> String {
        match Packet::parse(&packet(0x0003_0000, body)) {
            Ok(Packet::Startup(login)) => login.to_string(),
            Ok(Packet::Cancel) => "cancel".to_owned(),
            Err(invalid) => invalid.to_string(),
        }
    }

    #[test]
    fn startup_message_says_who_wants_to_be_whom() {
        let long = [b"user\0", "x".repeat(64).as_bytes(), b"\0\0"].concat();
        let as_long_as_may_be = [b"user\0", "x".repeat(63).as_bytes(), b"\0\0"].concat();
        let read_in_full = format!("user {0}, database {0}", "x".repeat(63));
        for (body, expected) in [
            (&b"user\0app\0\0"[..], "user app, database app"),
            (b"user\0app\0database\0shop\0\0", "user app, database shop"),
            (b"database\0shop\0user\0app\0\0", "user app, database shop"),
            (b"user\0app\0database\0\0\0", "user app, database app"),
            (b"user\0App\0options\0\0\0", "user App, database App"),
            (
                b"_pq_.x\0y\0user\0app\0User\0admin\0\0",
                "user app, database app",
            ),
            (&as_long_as_may_be, &read_in_full),
            (b"\0", "it names no user"),
            (b"user\0\0\0", "it names no user"),
            (b"database\0shop\0\0", "it names no user"),
            (b"user\0app\0user\0admin\0\0", "it has a parameter twice"),
            (b"user\0app\0user\0app\0\0", "it has a parameter twice"),
            (
                b"user\0app\0database\0a\0database\0b\0\0",
                "it has a parameter twice",
            ),
            (
                b"options\0a\0options\0b\0user\0app\0\0",
                "it has a parameter twice",
            ),
            (b"", "it does not end where its parameters do"),
            (b"user\0app\0", "it does not end where its parameters do"),
            (b"user\0app", "it does not end where its parameters do"),
            (b"user\0", "it does not end where its parameters do"),
            (
                b"user\0app\0\0user\0admin\0\0",
                "it does not end where its parameters do",
            ),
            (
                b"user\0app\0\0\0",
                "it does not end where its parameters do",
            ),
            (
                b"user\0app\0replication\0true\0\0",
                "it asks for replication, which is not passed on",
            ),
            (
                b"user\0app\0replication\0database\0\0",
                "it asks for replication, which is not passed on",
            ),
            (b"user\0a\xff\0\0", "its user is not UTF-8"),
            (
                b"user\0app\0database\0\xc0\x80\0\0",
                "its database is not UTF-8",
            ),
            (
                &long,
                "the name of its user is longer than the 63 bytes that PostgreSQL reads",
            ),
        ] {
            assert_eq!(read(body), expected, "{}", body.escape_ascii());
        }
    }

    #[test]
    fn packet_of_another_kind_or_length_is_refused() {
        for (packet, expected) in [
            (packet(CANCEL_REQUEST, &[0; 8]), Ok(Packet::Cancel)),
            (packet(CANCEL_REQUEST, &[0; 260]), Ok(Packet::Cancel)),
            (
                packet(CANCEL_REQUEST, &[0; 261]),
                Err(InvalidPacket::Length { length: 269 }),
            ),
            (
                packet(CANCEL_REQUEST, &[0; 7]),
                Err(InvalidPacket::Length { length: 15 }),
            ),
            (
                packet(TLS_REQUEST, b""),
                Err(InvalidPacket::Version {
                    version: TLS_REQUEST,
                }),
            ),
            (
                packet(GSS_REQUEST, b""),
                Err(InvalidPacket::Version {
                    version: GSS_REQUEST,
                }),
            ),
            (
                packet(0x0002_0000, &[0; 288]),
                Err(InvalidPacket::Version {
                    version: 0x0002_0000,
                }),
            ),
            (vec![0, 0, 0, 4], Err(InvalidPacket::Length { length: 4 })),
            (
                vec![0, 0, 0, 12, 0, 3, 0, 0],
                Err(InvalidPacket::Length { length: 8 }),
            ),
            (Vec::new(), Err(InvalidPacket::Length { length: 0 })),
        ] {
            assert_eq!(Packet::parse(&packet), expected, "{packet:?}");
        }
        for (length, expected) in [
            (8_u32, Some(4)),
            (10_004, Some(10_000)),
            (10_005, None),
            (7, None),
            (0, None),
            (u32::MAX, None),
        ] {
            assert_eq!(Packet::length(length.to_be_bytes()).ok(), expected);
        }
    }

    #[test]
    fn opening_is_known_by_its_code_and_length() {
        for (first, expected) in [
            (REQUEST_FOR_TLS, Some(Opening::Tls)),
            ([0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x30], Some(Opening::Gss)),
            ([0, 0, 0, 16, 0x04, 0xd2, 0x16, 0x2e], Some(Opening::Cancel)),
            ([0, 0, 0, 40, 0, 3, 0, 0], Some(Opening::Startup)),
            ([0, 0, 0, 40, 0, 3, 0, 2], Some(Opening::Startup)),
            ([0, 0, 1, 40, 0, 2, 0, 0], Some(Opening::Startup)),
            ([0, 0, 0, 9, 0x04, 0xd2, 0x16, 0x2f], None),
            ([0, 0, 0, 16, 0x04, 0xd2, 0x16, 0x30], None),
            ([0; 8], None),
            (*b"GET / HT", None),
        ] {
            assert_eq!(Opening::parse(first), expected, "{first:?}");
        }
    }

    #[test]
    fn refusal_is_as_long_as_it_says() {
        let message = error_response(REFUSED, "no\0", Some("ask"));
        assert_eq!(message, b"E\0\0\0\x23SFATAL\0VFATAL\0C28000\0Mno\0Hask\0\0");
        assert_eq!(message.len() - 1, 0x23);
    }
}
