//! Networks of addresses as people write them: `"10.0.0.0/8"`, `"2001:db8::/32"`, `"192.0.2.7"`.

use std::borrow::Cow;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

/// Addresses that begin with the same bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Network {
    /// Its first address; an IPv4 address in IPv6's notation for it never stands here.
    first: IpAddr,
    bits: u8,
}

impl Network {
    /// The network of `bits` that the address is in; more bits than it has mean the address alone. One of IPv4 in IPv6's notation is
    /// taken as IPv4.
    pub fn around(address: IpAddr, bits: u8) -> Self {
        match address.to_canonical() {
            IpAddr::V4(address) => {
                let bits = bits.min(V4_BITS);
                let first = u32::from(address) & mask_v4(bits);
                Self {
                    first: Ipv4Addr::from(first).into(),
                    bits,
                }
            }
            IpAddr::V6(address) => {
                let bits = bits.min(V6_BITS);
                let first = u128::from(address) & mask_v6(bits);
                Self {
                    first: Ipv6Addr::from(first).into(),
                    bits,
                }
            }
        }
    }

    /// Whether it is wider than any network of one's own: `10.0.0.0/8` (RFC 1918) and `fd00::/8` (RFC 4193) are the widest.
    pub fn is_wider_than_ones_own(&self) -> bool {
        self.bits < 8
    }

    /// Whether the address is one of its own.
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        address.is_ipv4() == self.first.is_ipv4() && Self::around(address, self.bits) == *self
    }
}

impl FromStr for Network {
    type Err = InvalidNetwork;

    fn from_str(text: &str) -> Result<Self, InvalidNetwork> {
        let invalid = || InvalidNetwork::Form {
            text: text.chars().take(MAX_QUOTED_CHARS).collect(),
        };
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| invalid())?;
        // What is written so has two readings of its bits.
        if address.to_canonical() != address {
            return Err(invalid());
        }
        let most = if address.is_ipv4() { V4_BITS } else { V6_BITS };
        let bits = match bits {
            None => most,
            Some(bits) => {
                let is_number = !bits.is_empty() && bits.bytes().all(|byte| byte.is_ascii_digit());
                let number = bits.parse::<u8>().ok();
                number
                    .filter(|number| is_number && *number <= most)
                    .ok_or_else(invalid)?
            }
        };
        let network = Self::around(address, bits);
        if network.first != address {
            return Err(InvalidNetwork::HostBits {
                address,
                bits,
                network,
            });
        }
        Ok(network)
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.first, self.bits)
    }
}

impl TryFrom<String> for Network {
    type Error = InvalidNetwork;

    fn try_from(text: String) -> Result<Self, InvalidNetwork> {
        text.parse()
    }
}

impl From<Network> for String {
    fn from(network: Network) -> Self {
        network.to_string()
    }
}

impl JsonSchema for Network {
    fn schema_name() -> Cow<'static, str> {
        "Network".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": "^[0-9a-fA-F.:]+(/[0-9]{1,3})?$", "examples": ["10.0.0.0/8", "192.0.2.7"] })
    }
}

/// The text names no network.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidNetwork {
    /// Neither an address nor a network.
    #[error("{text:?} is no network such as 10.0.0.0/8, 2001:db8::/32 or 192.0.2.7")]
    Form {
        /// What was written, cut off.
        text: String,
    },
    /// An address inside the network: a typing error in either half would go unnoticed.
    #[error("{address} is not where a network of {bits} bits begins: write {network}")]
    HostBits {
        /// As written.
        address: IpAddr,
        /// As written.
        bits: u8,
        /// The network that it is in.
        network: Network,
    },
}

fn mask_v4(bits: u8) -> u32 {
    u32::MAX
        .checked_shl(u32::from(V4_BITS - bits))
        .unwrap_or_default()
}

fn mask_v6(bits: u8) -> u128 {
    u128::MAX
        .checked_shl(u32::from(V6_BITS - bits))
        .unwrap_or_default()
}

const V4_BITS: u8 = 32;
const V6_BITS: u8 = 128;

/// The longest form of an address with its bits has 43.
const MAX_QUOTED_CHARS: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn network_holds_its_own_addresses_and_no_others() {
        for (network, inside, outside) in [
            ("10.0.0.0/8", "10.255.255.255", "11.0.0.0"),
            ("10.0.0.0/8", "::ffff:10.1.2.3", "::ffff:11.0.0.0"),
            ("10.0.0.0/8", "10.0.0.0", "a00::"),
            ("192.0.2.7", "192.0.2.7", "192.0.2.6"),
            ("0.0.0.0/0", "203.0.113.9", "::1"),
            ("::/0", "2001:db8::1", "127.0.0.1"),
            ("2001:db8::/33", "2001:db8:7fff::1", "2001:db8:8000::"),
            ("2001:db8::1", "2001:db8::1", "2001:db8::2"),
        ] {
            let network: Network = network.parse().expect("a network");
            let contains = |text: &str| network.contains(text.parse().expect("an address"));
            assert!(contains(inside), "{network} {inside}");
            assert!(!contains(outside), "{network} {outside}");
            assert_eq!(network.to_string().parse(), Ok(network));
        }
    }

    #[test]
    fn what_names_no_network_is_refused() {
        for text in [
            "",
            "/8",
            "10.0.0.0/",
            "10.0.0.0/+8",
            "10.0.0.0/33",
            "10.0.0.0/8/8",
            "10.0.0/8",
            "010.0.0.0/8",
            "10.0.0.0 /8",
            "::/129",
            "::ffff:10.0.0.0/104",
            "example.com",
            "10.0.0.1/8",
            "2001:db8::1/32",
        ] {
            assert!(text.parse::<Network>().is_err(), "{text}");
        }
        let said = "10.0.0.1/8".parse::<Network>().expect_err("refused");
        assert!(said.to_string().ends_with("write 10.0.0.0/8"), "{said}");
    }
}
