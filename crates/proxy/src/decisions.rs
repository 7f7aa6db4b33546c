//! Decisions that are kept: who was let do what and who was refused, each kind once, with a count. So another configuration can be judged
//! by what happens here before it is in force, and it is known who would come without a certificate.
//!
//! It is a sum and no log. Each worker adds up by itself (`recorder`) and hands over once a second; one thread adds up what all of them
//! have (`sum`) and writes it, whole or not at all ([`file`]). Nothing here decides anything, and nobody waits for it.
//!
//! What stands there is what rules look at, but for headers, whose values may be secrets: `replay` says of whom it cannot judge without.

mod entry;
mod file;
mod keeper;
mod observed;
mod recorder;
mod replay;
mod sum;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

pub use self::entry::{
    CertificateVerdict, Client, ClientKey, DecisionKey, RecordedPath, RecordedVerdict,
    StoredCertificate, StoredClient, StoredDecision, Tally, What, Who,
};
pub use self::file::{FILE, Kept, KeptError, read};
pub(crate) use self::keeper::{Keeper, Settings};
pub use self::observed::{ListenerRecord, Observed, Span};
pub(crate) use self::recorder::{Asked, OpenWithout, Recorder, Switch};
pub use self::replay::{Replayed, Unknown};

/// What of the decisions is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct DecisionsPlan {
    pub(crate) enabled: bool,
    pub(crate) keep: Duration,
}

/// [`network`]'s bits of IPv4 and of IPv6.
pub(crate) const NETWORK_BITS: [u8; 2] = [24, 64];

/// The network that a source is in: /24 of IPv4, /64 of IPv6.
pub fn network(source: IpAddr) -> IpAddr {
    match source.to_canonical() {
        IpAddr::V4(address) => {
            let [a, b, c, _] = address.octets();
            Ipv4Addr::new(a, b, c, 0).into()
        }
        IpAddr::V6(address) => half(address).into(),
    }
}

/// The client that a source is: the address of IPv4, the /64 of IPv6.
pub fn client(source: IpAddr) -> IpAddr {
    match source.to_canonical() {
        IpAddr::V6(address) => half(address).into(),
        address @ IpAddr::V4(_) => address,
    }
}

fn half(address: Ipv6Addr) -> Ipv6Addr {
    Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn source_has_a_network_in_either_family() {
        let check = |source: &str, of_network: &str, of_client: &str| {
            let address: IpAddr = source.parse().expect("an address");
            assert_eq!(network(address).to_string(), of_network);
            assert_eq!(client(address).to_string(), of_client);
        };
        check("10.0.3.7", "10.0.3.0", "10.0.3.7");
        check("::ffff:10.0.3.7", "10.0.3.0", "10.0.3.7");
        check("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::", "2001:db8:1:2::");
    }
}
