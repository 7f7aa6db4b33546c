//! Listening sockets, owned by this process alone or refused with the reason.
//!
//! The data plane wants one socket per worker on one port, which needs `SO_REUSEPORT`. That option has a trap: a second
//! process of the same user that sets it too joins the port without an error, and each gets a random share of the
//! connections; an old instance with old policy could go on serving half of them. Probing the port first and binding
//! afterwards leaves a gap between the two. [`ListenerSet::bind`] has none: its first socket binds *and listens* without
//! the option, which the kernel grants to one process only; then the option is set on that socket and the others join
//! it. Whoever comes later by the same way is refused by the first step, at any moment.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::RawFd;

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketType, sockopt};
use rustix::process::{PidfdFlags, PidfdGetfdFlags, getpid, pidfd_getfd, pidfd_open};
use socket2::{Domain, Protocol, SockRef, Socket, Type};

/// One address with a socket for each worker.
#[derive(Debug)]
pub struct ListenerSet {
    /// The address as bound: where port 0 was asked for, the port that the system chose.
    pub address: SocketAddr,
    /// Nonblocking sockets; the kernel spreads new connections over them by a hash of the peer's address and port.
    pub sockets: Vec<TcpListener>,
}

impl ListenerSet {
    /// Binds `address` for this process alone, with `count` sockets, at least one.
    pub fn bind(address: SocketAddr, count: usize) -> Result<Self, BindError> {
        let fault = |reason| BindError::new(address, reason);
        let first = bind(address, false, BACKLOG)?;
        let address = first.local_addr().map_err(fault)?;
        let mut sockets = vec![first];
        if count > 1 {
            SockRef::from(&sockets[0])
                .set_reuse_port(true)
                .map_err(fault)?;
        }
        for _ in 1..count {
            sockets.push(bind(address, true, BACKLOG)?);
        }
        Ok(Self { address, sockets })
    }
}

/// A socket that listens already, which a service manager holds for this process.
#[derive(Debug)]
pub struct PassedSocket {
    /// What it is called there; may be empty.
    pub name: String,
    /// As it was passed.
    pub socket: TcpListener,
}

impl PassedSocket {
    /// The `index`th of the sockets that were passed to this process (`sd_listen_fds(3)`), under a name.
    ///
    /// Our descriptor is a copy: to take over a number that somebody says is a descriptor is not safe, to ask the kernel for a copy of
    /// what it stands for is. The original stays open until the process ends, which changes nothing, for the service manager holds the
    /// same socket.
    pub fn take(index: u16, name: String) -> io::Result<Self> {
        let this = pidfd_open(getpid(), PidfdFlags::empty())?;
        let passed = RawFd::from(index) + FIRST_PASSED;
        let copy = pidfd_getfd(&this, passed, PidfdGetfdFlags::empty())?;
        let refused = |why| Err(io::Error::new(io::ErrorKind::InvalidInput, why));
        let family = sockopt::socket_domain(&copy)?;
        if family != AddressFamily::INET && family != AddressFamily::INET6
            || sockopt::socket_type(&copy)? != SocketType::STREAM
        {
            return refused("it is no socket of TCP");
        }
        if !sockopt::socket_acceptconn(&copy)? {
            return refused("it does not listen");
        }
        Ok(Self {
            name,
            socket: TcpListener::from(copy),
        })
    }
}

impl ListenerSet {
    /// A passed socket for each of `count` workers: one queue, from which whoever is free accepts.
    pub fn of_passed(socket: TcpListener, count: usize) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        let address = socket.local_addr()?;
        let mut sockets = vec![socket];
        for _ in 1..count {
            sockets.push(sockets[0].try_clone()?);
        }
        Ok(Self { address, sockets })
    }
}

/// Binds and listens with one nonblocking socket, `SO_REUSEADDR` set so that connections of an earlier run in TIME-WAIT
/// do not block a restart. With `reuse_port` the port is shared with whoever also asks for it: see [`ListenerSet`].
///
/// An IPv6 wildcard takes IPv4 too, whatever the host's default. `backlog` is in connections; the kernel clips it.
pub fn bind(address: SocketAddr, reuse_port: bool, backlog: u32) -> Result<TcpListener, BindError> {
    open(address, reuse_port, backlog).map_err(|reason| BindError::new(address, reason))
}

/// Why an address cannot be listened on. All are faults of configuration or host.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BindError {
    /// No interface of the host has the address, or the host lacks its address family.
    #[error("cannot listen on {addr}: no interface of this host has that address")]
    AddressNotAvailable {
        /// The address asked for.
        addr: SocketAddr,
    },
    /// Another socket listens there.
    #[error("cannot listen on {addr}: the port is in use")]
    InUse {
        /// The address asked for.
        addr: SocketAddr,
    },
    /// The process may not bind the port.
    #[error("cannot listen on {addr}: permission denied")]
    NotPermitted {
        /// The address asked for.
        addr: SocketAddr,
    },
    /// Anything else that the system said.
    #[error("cannot listen on {addr}: {reason}")]
    Other {
        /// The address asked for.
        addr: SocketAddr,
        /// What the system said.
        reason: io::Error,
    },
}

impl BindError {
    /// What the operator can do about it, where that is known.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::AddressNotAvailable { .. } => {
                Some("`ip address` lists the addresses of this host; 0.0.0.0 or [::] listens on all of them".to_owned())
            }
            Self::InUse { addr } => Some(format!(
                "`ss -ltnp 'sport = :{port}'` names the program that listens there: stop it or choose another port",
                port = addr.port()
            )),
            Self::NotPermitted { addr } if addr.port() < FIRST_UNPRIVILEGED_PORT => Some(format!(
                "port {port} needs CAP_NET_BIND_SERVICE (systemd: AmbientCapabilities=CAP_NET_BIND_SERVICE); choose a \
                 port from {FIRST_UNPRIVILEGED_PORT} up, or lower net.ipv4.ip_unprivileged_port_start",
                port = addr.port()
            )),
            Self::NotPermitted { .. } => {
                Some("the port is not a privileged one: look for a SELinux, AppArmor or seccomp denial".to_owned())
            }
            Self::Other { .. } => None,
        }
    }

    fn new(addr: SocketAddr, reason: io::Error) -> Self {
        match reason.kind() {
            io::ErrorKind::AddrInUse => Self::InUse { addr },
            io::ErrorKind::AddrNotAvailable => Self::AddressNotAvailable { addr },
            io::ErrorKind::PermissionDenied => Self::NotPermitted { addr },
            _ if Errno::from_io_error(&reason) == Some(Errno::AFNOSUPPORT) => {
                Self::AddressNotAvailable { addr }
            }
            _ => Self::Other { addr, reason },
        }
    }
}

fn open(address: SocketAddr, reuse_port: bool, backlog: u32) -> io::Result<TcpListener> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    socket.set_nonblocking(true)?;
    socket.set_reuse_address(true)?;
    if reuse_port {
        socket.set_reuse_port(true)?;
    }
    if address.is_ipv6() {
        socket.set_only_v6(false)?;
    }
    socket.bind(&address.into())?;
    socket.listen(i32::try_from(backlog).unwrap_or(i32::MAX))?;
    Ok(socket.into())
}

/// `SD_LISTEN_FDS_START`.
const FIRST_PASSED: RawFd = 3;

// Linux's default net.core.somaxconn since 5.4; a larger figure is clipped to it.
pub(crate) const BACKLOG: u32 = 4096;

// Linux's default net.ipv4.ip_unprivileged_port_start.
const FIRST_UNPRIVILEGED_PORT: u16 = 1024;

#[cfg(test)]
mod tests {
    use std::net::TcpStream;

    use super::*;

    fn loopback(port: u16) -> SocketAddr {
        ([127, 0, 0, 1], port).into()
    }

    fn accepted_by(socket: &TcpListener) -> usize {
        std::iter::from_fn(|| socket.accept().ok()).count()
    }

    #[test]
    fn every_socket_of_a_set_gets_connections() {
        let set = ListenerSet::bind(loopback(0), 3).expect("binds");
        assert_ne!(set.address.port(), 0);
        let clients: Vec<_> = (0..96)
            .map(|_| TcpStream::connect(set.address).expect("connects"))
            .collect();
        let shares: Vec<_> = set.sockets.iter().map(accepted_by).collect();
        assert_eq!(shares.iter().sum::<usize>(), clients.len());
        assert!(!shares.contains(&0), "{shares:?}");
    }

    #[test]
    fn second_set_on_the_port_is_refused_whatever_the_counts() {
        for (first, second) in [(1, 1), (1, 3), (3, 1), (3, 3)] {
            let set = ListenerSet::bind(loopback(0), first).expect("binds");
            let error = ListenerSet::bind(set.address, second).expect_err("the port is taken");
            assert!(
                matches!(error, BindError::InUse { addr } if addr == set.address),
                "{error}"
            );
        }
    }

    #[test]
    fn set_refuses_a_port_that_a_sharing_socket_holds() {
        let sharing = bind(loopback(0), true, 16).expect("binds");
        let address = sharing.local_addr().expect("bound");
        assert!(matches!(
            ListenerSet::bind(address, 2),
            Err(BindError::InUse { .. })
        ));
    }

    #[test]
    fn port_is_free_again_when_the_set_is_dropped() {
        let set = ListenerSet::bind(loopback(0), 2).expect("binds");
        let address = set.address;
        let client = TcpStream::connect(address).expect("connects");
        drop(set);
        assert!(ListenerSet::bind(address, 2).is_ok());
        drop(client);
    }

    #[test]
    fn sockets_do_not_block() {
        let socket = bind(loopback(0), false, 16).expect("binds");
        assert_eq!(
            socket.accept().expect_err("nobody connects").kind(),
            io::ErrorKind::WouldBlock
        );
    }

    #[test]
    fn faults_are_sentences_with_hints() {
        let check = |errno: Errno, port, sentence: &str, hint: Option<&str>| {
            let error = BindError::new(loopback(port), errno.into());
            assert_eq!(
                error.to_string(),
                format!("cannot listen on 127.0.0.1:{port}: {sentence}")
            );
            let said = error.hint();
            assert!(
                said.as_deref()
                    .zip(hint)
                    .map_or(said.is_none() && hint.is_none(), |(said, part)| said
                        .contains(part)),
                "{said:?}"
            );
        };
        check(
            Errno::ADDRINUSE,
            8443,
            "the port is in use",
            Some("sport = :8443"),
        );
        check(
            Errno::ADDRNOTAVAIL,
            8443,
            "no interface of this host has that address",
            Some("ip address"),
        );
        check(
            Errno::AFNOSUPPORT,
            8443,
            "no interface of this host has that address",
            Some("ip address"),
        );
        check(
            Errno::ACCESS,
            443,
            "permission denied",
            Some("CAP_NET_BIND_SERVICE"),
        );
        check(Errno::ACCESS, 8443, "permission denied", Some("SELinux"));
        check(
            Errno::NOBUFS,
            8443,
            "No buffer space available (os error 105)",
            None,
        );
    }

    #[test]
    fn address_of_another_host_is_named() {
        // RFC 5737 §3: 192.0.2.0/24 belongs to no host.
        let error = bind(([192, 0, 2, 1], 0).into(), false, 16).expect_err("not ours");
        assert!(
            matches!(error, BindError::AddressNotAvailable { .. }),
            "{error}"
        );
    }
}
