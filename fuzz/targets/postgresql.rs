//! The beginning of a PostgreSQL connection: the user that is judged is the one that the database reads.

use std::ffi::CStr;

use countersign_policy::postgresql::{OPENING_BYTES, Opening, Packet};

#[test]
fn login_is_read_as_the_database_reads_it() {
    bolero::check!().for_each(|body: &[u8]| {
        // Random bytes seldom have a length and a version before them.
        let length = u32::try_from(body.len() + 8).expect("short").to_be_bytes();
        let packet = [&length[..], &[0, 3, 0, 0], body].concat();
        let Ok(read) = Packet::parse(&packet) else {
            return;
        };
        let Packet::Startup(login) = read else {
            panic!("protocol 3 has no other: {read:?}");
        };
        let (user, database) = as_postgresql(&packet[4..]).expect("what we read, it reads");
        assert_eq!(login.user().as_bytes(), user);
        assert_eq!(login.database().as_bytes(), database);
    });
}

#[test]
fn packet_that_is_read_is_as_long_as_it_says() {
    bolero::check!().for_each(|packet: &[u8]| {
        if let Ok(read) = Packet::parse(packet) {
            let first = *packet.first_chunk().expect("it has a length");
            assert_eq!(Packet::length(first).expect("a length") + 4, packet.len());
            // Told from each other before TLS as inside it.
            let opening: [u8; OPENING_BYTES] = *packet.first_chunk().expect("it has a code");
            let expected = match read {
                Packet::Cancel => Opening::Cancel,
                Packet::Startup(_) => Opening::Startup,
            };
            assert_eq!(Opening::parse(opening), Some(expected));
        }
    });
}

/// `ProcessStartupPacket` of PostgreSQL 15, pointers made offsets: the last of two values counts, names are cut off at 63
/// bytes, the database is the user's where none is named. `None`: it refuses. `packet` is without its length.
fn as_postgresql(packet: &[u8]) -> Option<(Vec<u8>, Vec<u8>)> {
    // As it allocates them: with one more zero behind.
    let buffer = [packet, &[0]].concat();
    let length = packet.len();
    let text = |at: usize| CStr::from_bytes_until_nul(&buffer[at..]).expect("a zero");
    let (mut user, mut database) = (None, None);
    let mut offset = 4;
    while offset < length {
        let name = text(offset);
        if name.is_empty() {
            break;
        }
        let value_offset = offset + name.count_bytes() + 1;
        if value_offset >= length {
            break;
        }
        let value = text(value_offset);
        match name.to_bytes() {
            b"user" => user = Some(value.to_bytes().to_vec()),
            b"database" => database = Some(value.to_bytes().to_vec()),
            b"replication" => return None,
            _ => {}
        }
        offset = value_offset + value.count_bytes() + 1;
    }
    if offset != length.checked_sub(1)? {
        return None;
    }
    let mut user = user.filter(|it| !it.is_empty())?;
    let mut database = database
        .filter(|it| !it.is_empty())
        .unwrap_or_else(|| user.clone());
    user.truncate(63);
    database.truncate(63);
    Some((user, database))
}
