//! Free ports for programs that cannot be told to take any.

use std::net::{SocketAddr, TcpListener};

/// A loopback address that was free a moment ago.
pub fn address() -> SocketAddr {
    let probe = TcpListener::bind("127.0.0.1:0").expect("loopback has free ports");
    probe.local_addr().expect("a bound socket has an address")
}
