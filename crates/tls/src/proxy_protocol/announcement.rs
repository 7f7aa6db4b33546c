//! What an upstream is told of the client whose connection it gets.

use std::net::{IpAddr, SocketAddr};

use countersign_pki::identity::VerifiedPeer;
use countersign_pki::name::TypedName;
use rustls::CipherSuite;

use super::{FIELD_START_BYTES, PROXY, SIGNATURE, STREAM_V4, STREAM_V6};

/// The two versions of the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// A line: addresses and ports.
    V1,
    /// Binary: also what was agreed on in TLS, and the client's certificate.
    V2,
}

/// One client's connection.
pub(crate) struct Announcement<'a> {
    pub(crate) source: SocketAddr,
    pub(crate) destination: SocketAddr,
    pub(crate) sni: Option<String>,
    pub(crate) alpn: Option<&'a [u8]>,
    /// Such as `TLSv1.3`.
    pub(crate) protocol: &'static str,
    pub(crate) cipher: &'static str,
    pub(crate) peer: Option<&'a VerifiedPeer>,
    pub(crate) resumed: bool,
}

impl Announcement<'_> {
    pub(crate) fn encode(&self, version: Version) -> Vec<u8> {
        match version {
            Version::V1 => self.v1(),
            Version::V2 => self.v2(),
        }
    }

    /// §2.1.
    fn v1(&self) -> Vec<u8> {
        let (source, destination) = of_one_family(self.source, self.destination);
        let family = if source.is_ipv4() { "TCP4" } else { "TCP6" };
        format!(
            "PROXY {family} {} {} {} {}\r\n",
            source.ip(),
            destination.ip(),
            source.port(),
            destination.port()
        )
        .into_bytes()
    }

    /// §2.2.
    fn v2(&self) -> Vec<u8> {
        let (source, destination) = of_one_family(self.source, self.destination);
        let mut block = Vec::new();
        for address in [source, destination] {
            match address.ip() {
                IpAddr::V4(address) => block.extend(address.octets()),
                IpAddr::V6(address) => block.extend(address.octets()),
            }
        }
        for address in [source, destination] {
            block.extend(address.port().to_be_bytes());
        }
        if let Some(alpn) = self.alpn {
            field(&mut block, ALPN, alpn);
        }
        if let Some(sni) = &self.sni {
            field(&mut block, AUTHORITY, sni.as_bytes());
        }
        field(&mut block, SSL, &self.tls());
        let family = if source.is_ipv4() {
            STREAM_V4
        } else {
            STREAM_V6
        };
        let mut header = SIGNATURE.to_vec();
        header.extend([0x20 | PROXY, family]);
        header.extend(length(block.len()));
        header.extend(block);
        header
    }

    /// §2.2.6.
    fn tls(&self) -> Vec<u8> {
        // A certificate was shown in the handshake that the session began with, and in this one only if it is that one.
        let (client, verify) = match (self.peer, self.resumed) {
            (None, _) => (CLIENT_SSL, UNVERIFIED),
            (Some(_), false) => (
                CLIENT_SSL | CLIENT_CERTIFICATE_CONNECTION | CLIENT_CERTIFICATE_SESSION,
                VERIFIED,
            ),
            (Some(_), true) => (CLIENT_SSL | CLIENT_CERTIFICATE_SESSION, VERIFIED),
        };
        let mut tls = vec![client];
        tls.extend(verify.to_be_bytes());
        field(&mut tls, SSL_VERSION, self.protocol.as_bytes());
        if let Some(peer) = self.peer {
            let common_name = peer.names().iter().find_map(|name| match name {
                TypedName::Cn(name) => Some(name.to_string()),
                _ => None,
            });
            if let Some(name) = common_name {
                field(&mut tls, SSL_CN, name.as_bytes());
            }
        }
        field(&mut tls, SSL_CIPHER, self.cipher.as_bytes());
        if let Some(leaf) = self.peer.and_then(|peer| peer.chain().first()) {
            field(&mut tls, SSL_CLIENT_CERT, leaf);
        }
        tls
    }
}

/// As OpenSSL calls it, and with it whoever reads the field.
pub(crate) fn cipher_name(suite: CipherSuite) -> &'static str {
    match suite {
        CipherSuite::TLS13_AES_128_GCM_SHA256 => "TLS_AES_128_GCM_SHA256",
        CipherSuite::TLS13_AES_256_GCM_SHA384 => "TLS_AES_256_GCM_SHA384",
        CipherSuite::TLS13_CHACHA20_POLY1305_SHA256 => "TLS_CHACHA20_POLY1305_SHA256",
        CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256 => "ECDHE-ECDSA-AES128-GCM-SHA256",
        CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384 => "ECDHE-ECDSA-AES256-GCM-SHA384",
        CipherSuite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256 => {
            "ECDHE-ECDSA-CHACHA20-POLY1305"
        }
        CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256 => "ECDHE-RSA-AES128-GCM-SHA256",
        CipherSuite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384 => "ECDHE-RSA-AES256-GCM-SHA384",
        CipherSuite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256 => "ECDHE-RSA-CHACHA20-POLY1305",
        other => other.as_str().unwrap_or("unknown"),
    }
}

/// A front may have carried a client of one family to an address of the other.
fn of_one_family(source: SocketAddr, destination: SocketAddr) -> (SocketAddr, SocketAddr) {
    if source.is_ipv4() == destination.is_ipv4() {
        return (source, destination);
    }
    let mapped = |address: SocketAddr| match address.ip() {
        IpAddr::V4(ip) => SocketAddr::new(ip.to_ipv6_mapped().into(), address.port()),
        IpAddr::V6(_) => address,
    };
    (mapped(source), mapped(destination))
}

/// Type, length, value.
fn field(block: &mut Vec<u8>, kind: u8, value: &[u8]) {
    block.reserve(FIELD_START_BYTES + value.len());
    block.push(kind);
    block.extend(length(value.len()));
    block.extend_from_slice(value);
}

fn length(bytes: usize) -> [u8; 2] {
    u16::try_from(bytes)
        .expect(
            "a certificate has at most 16 KiB (pki::chain::Limits), names and versions few bytes",
        )
        .to_be_bytes()
}

/// §2.2.1, §2.2.2, §2.2.6: `PP2_TYPE_ALPN`, `PP2_TYPE_AUTHORITY`, `PP2_TYPE_SSL`.
const ALPN: u8 = 0x01;
const AUTHORITY: u8 = 0x02;
const SSL: u8 = 0x20;

/// §2.2.6: `PP2_SUBTYPE_SSL_…`. The certificate is the leaf in DER.
const SSL_VERSION: u8 = 0x21;
const SSL_CN: u8 = 0x22;
const SSL_CIPHER: u8 = 0x23;
const SSL_CLIENT_CERT: u8 = 0x28;

/// `PP2_CLIENT_…`.
const CLIENT_SSL: u8 = 0x01;
const CLIENT_CERTIFICATE_CONNECTION: u8 = 0x02;
const CLIENT_CERTIFICATE_SESSION: u8 = 0x04;

/// "Zero if the client presented a certificate and it was successfully verified, and non-zero otherwise."
const VERIFIED: u32 = 0;
const UNVERIFIED: u32 = 1;

#[cfg(test)]
mod tests {
    use super::super::{Header, Progress};
    use super::*;

    fn anonymous(source: &str, destination: &str) -> Announcement<'static> {
        Announcement {
            source: source.parse().expect("an address"),
            destination: destination.parse().expect("an address"),
            sni: Some("api.example.com".to_owned()),
            alpn: Some(b"h2"),
            protocol: "TLSv1.3",
            cipher: "TLS_AES_128_GCM_SHA256",
            peer: None,
            resumed: false,
        }
    }

    #[test]
    fn what_is_written_reads_back_in_both_versions() {
        for (source, destination) in [
            ("192.0.2.1:1", "198.51.100.1:65535"),
            ("[2001:db8::1]:1", "[2001:db8::2]:2"),
        ] {
            let announced = anonymous(source, destination);
            for version in [Version::V1, Version::V2] {
                let header = announced.encode(version);
                let expected = Progress::Whole {
                    header: Header::Carried {
                        source: announced.source,
                        destination: announced.destination,
                    },
                    length: header.len(),
                };
                assert_eq!(Header::parse(&header), Ok(expected));
            }
        }
    }

    #[test]
    fn addresses_of_two_families_are_told_in_one() {
        let announced = anonymous("192.0.2.1:1", "[2001:db8::2]:2");
        let line = announced.encode(Version::V1);
        let expected = "PROXY TCP6 ::ffff:192.0.2.1 2001:db8::2 1 2\r\n";
        assert_eq!(String::from_utf8_lossy(&line), expected);
    }

    #[test]
    fn nobody_is_called_verified_without_a_certificate() {
        for resumed in [false, true] {
            let tls = Announcement {
                resumed,
                ..anonymous("192.0.2.1:1", "198.51.100.1:2")
            }
            .tls();
            assert_eq!(tls[..5], [CLIENT_SSL, 0, 0, 0, 1]);
        }
    }
}
