//! Dead peers: a host that lost power says nothing, and a silent connection would be kept for it.

use std::time::Duration;

use rustix::io::Errno;
use rustix::net::sockopt;
use tokio::net::TcpStream;

/// Has the system ask silent peers whether they are there. Not worth a failure.
pub(crate) fn watch(socket: &TcpStream) {
    if let Err(error) = set(socket) {
        tracing::debug!(%error, "a socket takes no keepalive");
    }
}

fn set(socket: &TcpStream) -> Result<(), Errno> {
    sockopt::set_tcp_keepidle(socket, IDLE)?;
    sockopt::set_tcp_keepintvl(socket, INTERVAL)?;
    sockopt::set_tcp_keepcnt(socket, PROBES)?;
    sockopt::set_socket_keepalive(socket, true)
}

/// A dead peer is noticed within two minutes, where Linux's own 2 h outlive every other limit; below the 350 s after which
/// the balancers of the clouds forget a silent connection.
const IDLE: Duration = Duration::from_mins(1);
const INTERVAL: Duration = Duration::from_secs(20);
const PROBES: u32 = 3;

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn silent_peer_is_asked_within_a_minute() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
            .await
            .expect("binds");
        let address = listener.local_addr().expect("bound");
        let socket = TcpStream::connect(address).await.expect("connects");
        assert_eq!(sockopt::socket_keepalive(&socket), Ok(false));
        watch(&socket);
        assert_eq!(sockopt::socket_keepalive(&socket), Ok(true));
        assert_eq!(sockopt::tcp_keepidle(&socket), Ok(IDLE));
    }
}
