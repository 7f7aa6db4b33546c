//! The one fetcher: a GET or a POST to a configured place, bounded in size, time and redirects.
//!
//! It asks for itself alone: no proxy, no credentials, no cookies, one connection a request. The places are an operator's
//! own words, so internal addresses are as good as any; what an answer says cannot lead to another host. Where a certificate names
//! the place, [`Fetcher::of_foreign_places`] keeps away from addresses that no CA publishes at.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use countersign_pki::chain::Verifier;
use countersign_tls::connector::{Connector, ConnectorSettings, Refusal, Versions};
use countersign_tls::enforcement::Enforcement;
use http::header::{
    ACCEPT_ENCODING, CONNECTION, CONTENT_ENCODING, CONTENT_TYPE, ETAG, HOST, HeaderMap,
    IF_MODIFIED_SINCE, IF_NONE_MATCH, LAST_MODIFIED, LOCATION, USER_AGENT,
};
use http::request::Builder;
use http::{HeaderValue, Method, Request, StatusCode};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::Response;
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::ext::on_informational;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;

use crate::url::FetchUrl;

/// Fetches. Cheap to clone.
#[derive(Clone)]
pub struct Fetcher {
    enforcement: Enforcement,
    limits: FetchLimits,
    is_foreign: bool,
}

/// What an answer may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FetchLimits {
    /// Of the body.
    pub bytes: usize,
    /// From the look-up of the name to the last byte, redirects included.
    pub time: Duration,
    /// How often a server may send elsewhere.
    pub redirects: usize,
}

impl Default for FetchLimits {
    fn default() -> Self {
        Self {
            bytes: MAX_BYTES,
            time: MAX_TIME,
            redirects: MAX_REDIRECTS,
        }
    }
}

/// What a server said to tell an answer from the next one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Validators {
    etag: Option<HeaderValue>,
    last_modified: Option<HeaderValue>,
}

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fetched {
    /// These bytes.
    Body(Bytes, Validators),
    /// What was there when the validators were given is still there.
    Unchanged,
}

/// Why there is no answer to work with.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FetchFault {
    /// Nobody listens there, or the name is nobody's.
    #[error("cannot connect to {target}: {why}")]
    Connect {
        /// `host:port`.
        target: String,
        /// What the system said.
        why: String,
    },
    /// The server broke off, or speaks no HTTP.
    #[error("{target} gave no whole answer: {why}")]
    Broken {
        /// `host:port`.
        target: String,
        /// How.
        why: String,
    },
    /// The answer is compressed, which nobody asked for.
    #[error("the answer of {target} has a content-encoding, and none was asked for")]
    Encoded {
        /// `host:port`.
        target: String,
    },
    /// Nobody publishes there, and machines keep secrets there.
    #[error(
        "{target} is at {address}, where nothing is fetched from because a certificate says so"
    )]
    Forbidden {
        /// `host:port`.
        target: String,
        /// Which address.
        address: IpAddr,
    },
    /// The server sends elsewhere.
    #[error("{target} redirects to {location:?}, which is another place")]
    Elsewhere {
        /// `host:port`.
        target: String,
        /// Where to.
        location: String,
    },
    /// The server is not who it should be.
    #[error("{target}: {}", .refusal.sentence())]
    Server {
        /// `host:port`.
        target: String,
        /// Why it was refused.
        refusal: Box<Refusal>,
    },
    /// Another status than 200.
    #[error("{target} answers with status {status}")]
    Status {
        /// `host:port`.
        target: String,
        /// Which.
        status: u16,
    },
    /// The answer does not end in time.
    #[error("{target} did not answer in whole within {} s", .limit.as_secs())]
    TimedOut {
        /// `host:port`.
        target: String,
        /// How long it had.
        limit: Duration,
    },
    /// The answer is too long.
    #[error("the answer of {target} is longer than {limit} bytes")]
    TooLarge {
        /// `host:port`.
        target: String,
        /// How long it may be.
        limit: usize,
    },
    /// One redirect after the other.
    #[error("{target} redirects more than {limit} times")]
    TooManyRedirects {
        /// `host:port`.
        target: String,
        /// How often it may.
        limit: usize,
    },
    /// `https` where nobody said who vouches for the server.
    #[error("{target} wants TLS, and nothing says who vouches for it")]
    Unvouched {
        /// `host:port`.
        target: String,
    },
}

impl Fetcher {
    /// `enforcement` knows the time, and what is revoked among servers that are asked over TLS.
    pub fn new(enforcement: Enforcement, limits: FetchLimits) -> Self {
        Self {
            enforcement,
            limits,
            is_foreign: false,
        }
    }

    /// The same for places that somebody else has written down.
    #[must_use]
    pub fn of_foreign_places(self) -> Self {
        Self {
            is_foreign: true,
            ..self
        }
    }

    /// GETs it. `https`: who vouches for servers over TLS.
    pub async fn fetch(
        &self,
        url: &FetchUrl,
        https: Option<&Arc<Verifier>>,
        held: &Validators,
    ) -> Result<Fetched, FetchFault> {
        let limit = self.limits.time;
        match timeout(limit, self.follow(url.clone(), https, held)).await {
            Ok(outcome) => outcome,
            Err(_) => Err(FetchFault::TimedOut {
                target: target(url),
                limit,
            }),
        }
    }

    /// POSTs `body` to a server without TLS, and takes an answer of status 200 and of no other place.
    pub async fn post(
        &self,
        url: &FetchUrl,
        content_type: &'static str,
        body: Vec<u8>,
    ) -> Result<Bytes, FetchFault> {
        let target = target(url);
        let asked = async {
            let request = asking(Method::POST, url)
                .header(CONTENT_TYPE, content_type)
                .body(Full::from(body));
            let response = self.send(url, None, request).await?;
            if response.status() != StatusCode::OK {
                return Err(FetchFault::Status {
                    target: target.clone(),
                    status: response.status().as_u16(),
                });
            }
            match self.read(response, target.clone()).await? {
                Fetched::Body(body, _) => Ok(body),
                Fetched::Unchanged => Ok(Bytes::new()),
            }
        };
        let limit = self.limits.time;
        match timeout(limit, asked).await {
            Ok(outcome) => outcome,
            Err(_) => Err(FetchFault::TimedOut { target, limit }),
        }
    }

    async fn follow(
        &self,
        mut url: FetchUrl,
        https: Option<&Arc<Verifier>>,
        held: &Validators,
    ) -> Result<Fetched, FetchFault> {
        for _ in 0..=self.limits.redirects {
            let response = self.ask(&url, https, held).await?;
            let target = target(&url);
            match response.status() {
                StatusCode::OK => return self.read(response, target).await,
                StatusCode::NOT_MODIFIED if *held != Validators::default() => {
                    return Ok(Fetched::Unchanged);
                }
                StatusCode::MOVED_PERMANENTLY
                | StatusCode::FOUND
                | StatusCode::SEE_OTHER
                | StatusCode::TEMPORARY_REDIRECT
                | StatusCode::PERMANENT_REDIRECT => {
                    let location = response.headers().get(LOCATION);
                    let location = location.and_then(|value| value.to_str().ok());
                    let location = location.unwrap_or_default();
                    url = url
                        .redirected(location)
                        .ok_or_else(|| FetchFault::Elsewhere {
                            target,
                            location: location.chars().take(MAX_SHOWN_CHARS).collect(),
                        })?;
                }
                other => {
                    return Err(FetchFault::Status {
                        target,
                        status: other.as_u16(),
                    });
                }
            }
        }
        Err(FetchFault::TooManyRedirects {
            target: target(&url),
            limit: self.limits.redirects,
        })
    }

    async fn ask(
        &self,
        url: &FetchUrl,
        https: Option<&Arc<Verifier>>,
        held: &Validators,
    ) -> Result<Response<Incoming>, FetchFault> {
        self.send(url, https, request(url, held)).await
    }

    async fn send(
        &self,
        url: &FetchUrl,
        https: Option<&Arc<Verifier>>,
        request: http::Result<Request<Full<Bytes>>>,
    ) -> Result<Response<Incoming>, FetchFault> {
        let target = target(url);
        let request = request.map_err(|error| FetchFault::Broken {
            target: target.clone(),
            why: error.to_string(),
        })?;
        if !url.is_https() {
            let socket = self.socket(url, &target).await?;
            return exchange(socket, request, target).await;
        }
        let Some(verifier) = https else {
            return Err(FetchFault::Unvouched { target });
        };
        let settings = ConnectorSettings {
            host: url.host().to_owned(),
            port: url.port(),
            names: Vec::new(),
            versions: Versions::Tls12AndTls13,
            feed_life: None,
            verifier: Arc::clone(verifier),
            alpn: vec![b"http/1.1".to_vec()],
            connect_timeout: self.limits.time,
        };
        let connector =
            Connector::new(settings, None, self.enforcement.clone()).map_err(|error| {
                FetchFault::Connect {
                    target: target.clone(),
                    why: error.to_string(),
                }
            })?;
        let connected = connector
            .connect()
            .await
            .map_err(|refusal| FetchFault::Server {
                target: target.clone(),
                refusal,
            })?;
        exchange(connected.stream, request, target).await
    }

    /// The address that was judged is the one that is connected to: a name may have another one the next time.
    async fn socket(&self, url: &FetchUrl, target: &str) -> Result<TcpStream, FetchFault> {
        let connect = |error: io::Error| FetchFault::Connect {
            target: target.to_owned(),
            why: error.to_string(),
        };
        let place = (url.host(), url.port());
        let addresses: Vec<SocketAddr> = lookup_host(place).await.map_err(connect)?.collect();
        let forbidden = addresses.iter().find(|it| is_nobodys(it.ip()));
        if let (true, Some(address)) = (self.is_foreign, forbidden) {
            return Err(FetchFault::Forbidden {
                target: target.to_owned(),
                address: address.ip(),
            });
        }
        TcpStream::connect(&*addresses).await.map_err(connect)
    }

    async fn read(
        &self,
        response: Response<Incoming>,
        target: String,
    ) -> Result<Fetched, FetchFault> {
        let limit = self.limits.bytes;
        if response.headers().contains_key(CONTENT_ENCODING) {
            return Err(FetchFault::Encoded { target });
        }
        let validators = Validators::of(response.headers());
        match Limited::new(response.into_body(), limit).collect().await {
            Ok(body) => Ok(Fetched::Body(body.to_bytes(), validators)),
            Err(error) if error.is::<LengthLimitError>() => {
                Err(FetchFault::TooLarge { target, limit })
            }
            Err(error) => Err(FetchFault::Broken {
                target,
                why: error.to_string(),
            }),
        }
    }
}

impl Validators {
    fn of(headers: &HeaderMap) -> Self {
        let short = |name| {
            let value: Option<&HeaderValue> = headers.get(name);
            value
                .filter(|value| value.len() <= MAX_VALIDATOR_BYTES)
                .cloned()
        };
        Self {
            etag: short(ETAG),
            last_modified: short(LAST_MODIFIED),
        }
    }
}

/// Whether no CA publishes there: addresses of a link, where clouds hand out a machine's credentials, of groups, and of nobody. Loopback
/// and private addresses are where private CAs are.
fn is_nobodys(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(v4) => {
            v4.is_link_local()
                || v4.is_multicast()
                || v4.is_broadcast()
                || v4.octets()[0] == 0
                || v4.octets() == ALIBABA
        }
        IpAddr::V6(v6) => {
            v6.is_unicast_link_local()
                || v6.is_multicast()
                || v6.is_unspecified()
                || v6.segments() == AWS
        }
    }
}

fn asking(method: Method, url: &FetchUrl) -> Builder {
    Request::builder()
        .method(method)
        .uri(url.path())
        .header(HOST, url.host_header())
        .header(
            USER_AGENT,
            concat!("countersign/", env!("CARGO_PKG_VERSION")),
        )
        .header(ACCEPT_ENCODING, "identity")
        .header(CONNECTION, "close")
}

fn request(url: &FetchUrl, held: &Validators) -> http::Result<Request<Full<Bytes>>> {
    let mut request = asking(Method::GET, url);
    if let Some(etag) = &held.etag {
        request = request.header(IF_NONE_MATCH, etag);
    } else if let Some(last_modified) = &held.last_modified {
        request = request.header(IF_MODIFIED_SINCE, last_modified);
    }
    request.body(Full::default())
}

/// The connection's own task ends with the connection: when the answer was read, or was let go.
async fn exchange<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
    stream: S,
    mut request: Request<Full<Bytes>>,
    target: String,
) -> Result<Response<Incoming>, FetchFault> {
    let broken = |error: hyper::Error| FetchFault::Broken {
        target: target.clone(),
        why: error.to_string(),
    };
    let interim = Arc::new(AtomicUsize::new(0));
    let stream = OfFewInterim {
        stream,
        interim: Arc::clone(&interim),
    };
    on_informational(&mut request, move |_| {
        interim.fetch_add(1, Ordering::Relaxed);
    });
    let (mut sender, connection) = http1::Builder::new()
        .max_buf_size(MAX_HEAD_BYTES)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(broken)?;
    tokio::spawn(async move {
        // What breaks it is told to whoever reads the answer.
        let _ = connection.await;
    });
    sender.send_request(request).await.map_err(broken)
}

/// Answers of 1xx come before the one that counts, and hyper passes over however many there are: behind too many nothing is read.
struct OfFewInterim<S> {
    stream: S,
    interim: Arc<AtomicUsize>,
}

impl<S: AsyncRead + Unpin> AsyncRead for OfFewInterim<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.interim.load(Ordering::Relaxed) > MAX_INTERIM {
            let why = format!("it sent more than {MAX_INTERIM} interim answers (1xx)");
            return Poll::Ready(Err(io::Error::other(why)));
        }
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for OfFewInterim<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

fn target(url: &FetchUrl) -> String {
    if url.host().contains(':') {
        format!("[{}]:{}", url.host(), url.port())
    } else {
        format!("{}:{}", url.host(), url.port())
    }
}

/// Where virtual machines of these clouds ask for their credentials, besides 169.254.169.254.
const ALIBABA: [u8; 4] = [100, 100, 100, 200];
const AWS: [u16; 8] = [0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254];
/// A CRL of a million entries has 39 to 53 MB.
const MAX_BYTES: usize = 64 << 20;
/// Such a list takes so long at 20 Mbit/s; a small one from anywhere takes a second.
const MAX_TIME: Duration = Duration::from_secs(30);
/// To another path, and once to TLS.
const MAX_REDIRECTS: usize = 3;
/// nginx's default for all of a request's headers, twice.
const MAX_HEAD_BYTES: usize = 64 * 1024;
/// 100, 102 while it works, 103 with hints: a server of lists sends none.
const MAX_INTERIM: usize = 16;
/// Of a header that is sent back.
const MAX_VALIDATOR_BYTES: usize = 256;
const MAX_SHOWN_CHARS: usize = 200;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_fetched_from_where_machines_keep_their_secrets() {
        for address in [
            "169.254.169.254",
            "::ffff:169.254.169.254",
            "fe80::1",
            "fd00:ec2::254",
            "100.100.100.200",
            "0.0.0.0",
            "::",
            "224.0.0.1",
            "255.255.255.255",
            "ff02::1",
        ] {
            assert!(
                is_nobodys(address.parse().expect("an address")),
                "{address}"
            );
        }
        for address in [
            "127.0.0.1",
            "::1",
            "10.0.0.1",
            "192.0.2.1",
            "2001:db8::1",
            "fd00::1",
        ] {
            assert!(
                !is_nobodys(address.parse().expect("an address")),
                "{address}"
            );
        }
    }
}
