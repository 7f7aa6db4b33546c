//! What stands before a handshake: whether a front says whom it carries, and how much is begun for whom.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use countersign_diagnose::handshake::{HandshakeFault, HeaderFault, Stage};
use countersign_runtime::config::network::Network;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

use crate::pending::PendingLimits;
use crate::proxy_protocol::{Header, InvalidHeader, Progress};
pub use crate::rate::HandshakeRate;

/// What a listener does before it shakes hands. A reload replaces it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Edge {
    /// From these addresses every connection begins with a header of the PROXY protocol, and from no other.
    pub fronts: Vec<Network>,
    /// How many handshakes may be unfinished.
    pub pending: PendingLimits,
    /// How many connections one IPv4 address, or one IPv6 network of 64 bits, may have. `None`: as many as there may be in all.
    pub connections_per_source: Option<usize>,
    /// How fast handshakes of one network may begin. `None`: as they come.
    pub rate: Option<HandshakeRate>,
}

/// The ends of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ends {
    /// The client.
    pub(crate) source: SocketAddr,
    /// Where it connected to; `None`: our own end.
    pub(crate) destination: Option<SocketAddr>,
    /// Who carries it.
    pub(crate) front: Option<SocketAddr>,
}

impl Edge {
    pub(crate) fn is_front(&self, peer: IpAddr) -> bool {
        self.fronts.iter().any(|network| network.contains(peer))
    }
}

impl Ends {
    /// Of a connection that nobody carries.
    pub(crate) fn own(peer: SocketAddr) -> Self {
        Self {
            source: peer,
            destination: None,
            front: None,
        }
    }
}

/// Reads the header of a front, and not a byte more. Whoever calls has a limit of time.
pub(crate) async fn read_header(
    socket: &mut TcpStream,
    front: SocketAddr,
) -> Result<Ends, HandshakeFault> {
    let missing = |fault| Err(HandshakeFault::ProxyHeaderMissing(fault));
    let (mut received, mut has_begun) = (Vec::new(), false);
    loop {
        let more = match Header::parse(&received) {
            Ok(Progress::Whole { header, .. }) => {
                let (source, destination) = match header {
                    Header::Carried {
                        source,
                        destination,
                    } => (source, Some(destination)),
                    Header::Unnamed => (front, None),
                };
                return Ok(Ends {
                    source,
                    destination,
                    front: Some(front),
                });
            }
            Ok(Progress::Bytes(more)) => Ok(more),
            Ok(Progress::Line(most)) => up_to_line_end(socket, most).await,
            Err(InvalidHeader::Absent) => return missing(HeaderFault::Absent),
            Err(invalid) => {
                let why = invalid.to_string();
                return missing(HeaderFault::Invalid { why });
            }
        };
        let read = async {
            let start = received.len();
            received.resize(start + more?, 0);
            let mut rest = &mut received[start..];
            while !rest.is_empty() {
                match socket.read(rest).await? {
                    0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                    read => {
                        has_begun = true;
                        rest = &mut rest[read..];
                    }
                }
            }
            Ok::<(), io::Error>(())
        };
        match (read.await, has_begun) {
            (Ok(()), _) => {}
            (Err(_), true) => return missing(HeaderFault::Closed),
            // Whoever looks whether the port is open says nothing.
            (Err(_), false) => return Err(HandshakeFault::Closed(Stage::BeforeFirstByte)),
        }
    }
}

/// That time was up before it was whole.
pub(crate) fn header_late(limit: Duration) -> HandshakeFault {
    HandshakeFault::ProxyHeaderMissing(HeaderFault::Late { limit })
}

/// How many bytes there are now up to and with the first line feed; at least one.
async fn up_to_line_end(socket: &TcpStream, most: usize) -> io::Result<usize> {
    let mut ahead = vec![0; most];
    let there = socket.peek(&mut ahead).await?;
    if there == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    let end = ahead[..there].iter().position(|byte| *byte == b'\n');
    Ok(end.map_or(there, |at| at + 1))
}
