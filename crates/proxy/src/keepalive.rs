//! Dead peers: a host that lost power says nothing, and a silent connection would be kept for it.

use std::os::fd::AsFd;
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::sockopt;

/// Has the system ask silent peers whether they are there. Not worth a failure.
///
/// Of a socket that listens it goes over to those that connect from then on.
pub(crate) fn watch(socket: impl AsFd) {
    if let Err(error) = set(socket) {
        tracing::debug!(%error, "a socket takes no keepalive");
    }
}

/// The same for one that was accepted, which may have waited since before its listener was.
pub(crate) fn watch_accepted(socket: impl AsFd) {
    if sockopt::socket_keepalive(socket.as_fd()) != Ok(true) {
        watch(socket);
    }
}

fn set(socket: impl AsFd) -> Result<(), Errno> {
    let socket = socket.as_fd();
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
    use tokio::net::{TcpListener, TcpStream};

    use super::*;

    #[tokio::test]
    async fn silent_peer_is_asked_within_a_minute_at_either_end() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("binds");
        let address = listener.local_addr().expect("bound");
        let connect = async || {
            let (near, far) = tokio::join!(TcpStream::connect(address), listener.accept());
            (near.expect("connects"), far.expect("accepts").0)
        };
        let (near, far_before) = connect().await;
        watch(&listener);
        let (_near_after, far_after) = connect().await;
        assert_eq!(sockopt::socket_keepalive(&near), Ok(false));
        assert_eq!(sockopt::socket_keepalive(&far_before), Ok(false));
        assert_eq!(sockopt::socket_keepalive(&far_after), Ok(true));
        watch(&near);
        watch_accepted(&far_before);
        for socket in [near, far_before, far_after] {
            assert_eq!(sockopt::socket_keepalive(&socket), Ok(true));
            assert_eq!(sockopt::tcp_keepidle(&socket), Ok(IDLE));
            assert_eq!(sockopt::tcp_keepintvl(&socket), Ok(INTERVAL));
            assert_eq!(sockopt::tcp_keepcnt(&socket), Ok(PROBES));
        }
    }
}
