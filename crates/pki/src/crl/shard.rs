//! Which shard of an issuer's CRLs lists a certificate.

use std::num::NonZeroU16;

use crate::serial::SerialNumber;

/// The shard of `shards`, from 0, that lists `serial`: the serial number modulo the number of shards.
///
/// Stable: certificates carry their shard's URI for life, so neither this function nor the number of shards of an issuing
/// key may change while certificates of that key are valid. The serial numbers that the authority draws are random, so the
/// shards are about the same size.
pub fn shard_of(serial: SerialNumber, shards: NonZeroU16) -> u16 {
    let shards = u32::from(shards.get());
    let remainder = serial.magnitude().iter().fold(0, |remainder, &octet| {
        (remainder << 8 | u32::from(octet)) % shards
    });
    u16::try_from(remainder).expect("it is below the number of shards")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(serial: &str, shards: u16, shard: u16) {
        let serial = serial.parse().expect("a serial of the test");
        let shards = NonZeroU16::new(shards).expect("not zero");
        assert_eq!(shard_of(serial, shards), shard, "{serial} of {shards}");
    }

    #[test]
    fn shard_is_the_serial_modulo_the_number_of_shards() {
        check("01", 1, 0);
        check("0a", 10, 0);
        check("0b", 10, 1);
        check("ffff", 65535, 0);
        check("010000", 65535, 1);
        // python3 -c 'print(0x7f0102030405060708090a0b0c0d0e0f10111213 % 1009)', and so on.
        check("7f0102030405060708090a0b0c0d0e0f10111213", 1009, 234);
        check("4000000000000000000000000000000000000001", 128, 1);
        check("ffffffffffffffffffffffffffffffffffffffff", 65521, 4103);
    }

    #[test]
    fn random_serials_fill_every_shard_alike() {
        let shards = NonZeroU16::new(16).expect("not zero");
        let mut sizes = [0_u32; 16];
        for number in 0..16_000_u32 {
            let digest = crate::fingerprint::Fingerprint::of(&number.to_be_bytes());
            let mut random = [0; 20];
            random.copy_from_slice(&digest.as_bytes()[..20]);
            sizes[usize::from(shard_of(SerialNumber::from_random(random), shards))] += 1;
        }
        assert!(
            sizes.iter().all(|size| (850..1150).contains(size)),
            "{sizes:?}"
        );
    }
}
