//! Opening a (mutual-TLS or plain) connection to the server under test.
use crate::Common;
use anyhow::{Context, Result};
use countersign_bench::tls::{self, ClientTls, Minting};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use std::cell::Cell;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

pub trait Stream: AsyncRead + AsyncWrite + Unpin {}
impl<T: AsyncRead + AsyncWrite + Unpin> Stream for T {}

/// No single step of a connection may take longer than this.
pub const STEP: Duration = Duration::from_secs(10);

pub struct Target {
    pub addr: SocketAddr,
    name: ServerName<'static>,
    tls: ClientTls,
    plain: bool,
    sources: u8,
    next: Cell<u8>,
}

impl Target {
    pub fn new(c: &Common) -> Result<Self> {
        let identity = match c.no_cert {
            true => None,
            false => Some((tls::load_chain(&c.cert)?, tls::load_key(&c.key)?)),
        };
        Ok(Self {
            addr: c.addr,
            name: ServerName::try_from(c.sni.clone())?,
            tls: ClientTls {
                roots: tls::load_roots(&c.ca)?,
                identity,
                kx: c.kx.clone(),
                suite: c.suite.clone(),
                alpn: Vec::new(),
                resumption: false,
                minting: c
                    .new_clients
                    .as_deref()
                    .map(Minting::load)
                    .transpose()?
                    .map(Arc::new),
            },
            plain: c.plain,
            sources: c.sources.clamp(1, 250),
            next: Cell::new(0),
        })
    }

    /// A TLS configuration with an own session store.
    pub fn config(&self, alpn: &[&[u8]], resumption: bool) -> Result<Arc<ClientConfig>> {
        let tls = ClientTls {
            roots: self.tls.roots.clone(),
            identity: self
                .tls
                .identity
                .as_ref()
                .map(|(c, k)| (c.clone(), k.clone_key())),
            kx: self.tls.kx.clone(),
            suite: self.tls.suite.clone(),
            alpn: alpn.iter().map(|a| a.to_vec()).collect(),
            resumption,
            minting: self.tls.minting.clone(),
        };
        tls.config()
    }

    pub async fn tcp(&self) -> Result<TcpStream> {
        let socket = TcpSocket::new_v4()?;
        if self.sources > 1 {
            let x = self.next.get();
            self.next.set((x + 1) % self.sources);
            socket.bind(SocketAddr::new(
                IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2 + x)),
                0,
            ))?;
        }
        let tcp = timeout(STEP, socket.connect(self.addr))
            .await
            .context("connect timeout")??;
        tcp.set_nodelay(true)?;
        Ok(tcp)
    }

    pub async fn tls(&self, config: &Arc<ClientConfig>) -> Result<TlsStream<TcpStream>> {
        let tcp = self.tcp().await?;
        let connect = TlsConnector::from(config.clone()).connect(self.name.clone(), tcp);
        Ok(timeout(STEP, connect)
            .await
            .context("handshake timeout")??)
    }

    /// Plain or mutual TLS, as asked on the command line.
    pub async fn stream(&self, config: &Arc<ClientConfig>) -> Result<Box<dyn Stream>> {
        Ok(match self.plain {
            true => Box::new(self.tcp().await?),
            false => Box::new(self.tls(config).await?),
        })
    }
}
