//! The fingerprint of CVE-2017-15361 (Nemec et al., "The Return of Coppersmith's Attack", CCS 2017, §2).
//!
//! The faulty library made primes `k·M + (65537^a mod M)`, where `M` is the product of the first primes. So the modulus too
//! is a power of 65537 modulo each of those: a sound modulus of 2048 bits is that by chance once in 2^154.

/// `modulus` in big-endian octets.
pub(super) fn is_marked(modulus: &[u8]) -> bool {
    (3..=LARGEST)
        .step_by(2)
        .filter(|number| is_prime(*number))
        .all(|prime| is_power(remainder(modulus, prime), prime))
}

fn remainder(number: &[u8], prime: u32) -> u32 {
    number
        .iter()
        .fold(0, |rest, byte| ((rest << 8) | u32::from(*byte)) % prime)
}

/// Whether `rest` is one of the powers of 65537 modulo `prime`.
fn is_power(rest: u32, prime: u32) -> bool {
    let generator = 65537 % prime;
    let mut power = 1;
    for _ in 0..prime {
        if power == rest {
            return true;
        }
        power = power * generator % prime;
    }
    false
}

fn is_prime(number: u32) -> bool {
    (2..number)
        .take_while(|divisor| divisor * divisor <= number)
        .all(|divisor| !number.is_multiple_of(divisor))
}

/// The 126th prime: `M` of keys from 1984 bits on has at least those.
const LARGEST: u32 = 701;
