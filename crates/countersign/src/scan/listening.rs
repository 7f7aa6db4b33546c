//! Where programs of this machine listen (proc(5), `/proc/net/tcp` and `tcp6`).

use std::fs::File;
use std::io::Read as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// Every address that somebody listens on over TCP; `None` where the system does not tell.
pub(crate) fn addresses() -> Option<Vec<SocketAddr>> {
    let mut found = Vec::new();
    for path in ["/proc/net/tcp", "/proc/net/tcp6"] {
        let mut table = String::new();
        match File::open(path) {
            Ok(file) => file.take(MAX_BYTES).read_to_string(&mut table).ok()?,
            // Without IPv6.
            Err(_) if path.ends_with('6') => continue,
            Err(_) => return None,
        };
        found.extend(table.lines().filter_map(listener));
    }
    Some(found)
}

/// Whether whoever listens there is reached from other machines.
pub(crate) fn is_exposed(address: SocketAddr) -> bool {
    !address.ip().to_canonical().is_loopback()
}

fn listener(line: &str) -> Option<SocketAddr> {
    let mut fields = line.split_ascii_whitespace();
    let address = fields.nth(1)?;
    // The next is who is at the other end, then the state.
    if fields.nth(1)? != LISTEN {
        return None;
    }
    let (ip, port) = address.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    // Words of the machine's own order, which for an address is that of its bytes.
    let words: Vec<[u8; 4]> = ip
        .as_bytes()
        .chunks(8)
        .map(|word| {
            let word = std::str::from_utf8(word).ok()?;
            Some(u32::from_str_radix(word, 16).ok()?.to_ne_bytes())
        })
        .collect::<Option<_>>()?;
    let ip = match words.concat().as_slice() {
        bytes if bytes.len() == 4 => IpAddr::V4(Ipv4Addr::from(<[u8; 4]>::try_from(bytes).ok()?)),
        bytes => IpAddr::V6(Ipv6Addr::from(<[u8; 16]>::try_from(bytes).ok()?)),
    };
    Some(SocketAddr::new(ip, port))
}

/// `TCP_LISTEN`.
const LISTEN: &str = "0A";

/// A line has 150 bytes: 200,000 sockets.
const MAX_BYTES: u64 = 30 << 20;

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn own_listeners_are_found_and_gone_when_they_are_closed() {
        for address in ["127.0.0.1:0", "0.0.0.0:0"] {
            let listener = TcpListener::bind(address).expect("binds");
            let at = listener.local_addr().expect("an address");
            assert!(addresses().expect("Linux").contains(&at), "{at}");
            assert_eq!(is_exposed(at), address == "0.0.0.0:0");
        }
    }

    #[test]
    fn connections_and_nonsense_are_no_listeners() {
        let head = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode";
        let established = "   1: 0100007F:1F90 0100007F:C350 01 00000000:00000000 00:00000000 00000000     0        0 1";
        let listening = "   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1";
        for line in [
            head,
            established,
            "",
            "a b c d",
            "0: xx:yy z 0A",
            "0: 0100007F z 0A",
        ] {
            assert_eq!(listener(line), None, "{line}");
        }
        assert_eq!(listener(listening), "127.0.0.1:8080".parse().ok());
    }
}
