//! Names to addresses, addresses to sockets.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use countersign_diagnose::doctor::question::Target;
use countersign_diagnose::doctor::target::Tcp;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout, timeout_at};

/// In the system's order, IPv6 and IPv4 as it prefers them.
pub(super) async fn resolve(target: &Target, deadline: Instant) -> Result<Vec<SocketAddr>, String> {
    if let Some(address) = target.ip() {
        return Ok(vec![SocketAddr::new(address, target.port)]);
    }
    let host = (target.host.as_str(), target.port);
    let found = match timeout_at(deadline, tokio::net::lookup_host(host)).await {
        Ok(Ok(found)) => found,
        Ok(Err(error)) => return Err(error.to_string()),
        Err(_) => return Err("the look-up took too long".to_owned()),
    };
    let mut addresses = Vec::new();
    for address in found.take(MAX_ADDRESSES) {
        if !addresses.contains(&address) {
            addresses.push(address);
        }
    }
    if addresses.is_empty() {
        return Err("it has no address".to_owned());
    }
    Ok(addresses)
}

/// One address.
pub(super) async fn connect(address: SocketAddr, limit: Duration) -> Result<TcpStream, Tcp> {
    match timeout(limit, TcpStream::connect(address)).await {
        Ok(Ok(stream)) => {
            // Without it a request waits for the server's delayed ACK. Not worth a failure.
            let _ = stream.set_nodelay(true);
            Ok(stream)
        }
        Ok(Err(error)) => Err(match error.kind() {
            io::ErrorKind::ConnectionRefused => Tcp::Refused,
            io::ErrorKind::TimedOut => Tcp::TimedOut,
            _ => Tcp::Unreachable(error.to_string()),
        }),
        Err(_) => Err(Tcp::TimedOut),
    }
}

/// A name with more is no server's that one person asks about.
const MAX_ADDRESSES: usize = 8;
