//! The naive Rust peer: mTLS-terminating proxy on tokio + rustls, nothing tuned.
//!
//! A hyper server and hyper-util's pooled client for requests, `copy_bidirectional` for bytes.
//! The access log goes to standard output, a line a request or connection.
//! It shows what a first straightforward version reaches, not what Rust can reach.
use anyhow::Result;
use bytes::Bytes;
use clap::Parser;
use countersign_bench::tls;
use http_body_util::{BodyExt, Empty, combinators::BoxBody};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode, Uri};
use hyper_util::client::legacy::{Client, connect::HttpConnector};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::server::WebPkiClientVerifier;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use tokio::io::copy_bidirectional_with_sizes;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

#[derive(Parser)]
struct Args {
    /// Where requests come.
    #[arg(long)]
    listen: SocketAddr,
    /// Where bytes come.
    #[arg(long)]
    tcp_listen: SocketAddr,
    #[arg(long, default_value = "127.0.0.1:9000")]
    backend: SocketAddr,
    #[arg(long)]
    cert: PathBuf,
    #[arg(long)]
    key: PathBuf,
    /// Copy buffer for bytes, each way (tokio's own default is 8 KiB).
    #[arg(long, default_value_t = 8 * 1024)]
    buffer: usize,
    /// Trust root for client certificates.
    #[arg(long)]
    ca: PathBuf,
}

type Pool = Client<HttpConnector, Incoming>;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let args = Args::parse();
    let bytes = listen(args.tcp_listen, server_config(&args, &[])?).await?;
    let requests = server_config(&args, &[b"h2", b"http/1.1"])?;
    let requests = listen(args.listen, requests).await?;
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    let pool: Pool = Client::builder(TokioExecutor::new()).build(connector);
    let (backend, buffer) = (args.backend, args.buffer);
    tokio::spawn(accept(bytes, backend, Service::Bytes { buffer }));
    println!("listening");
    accept(requests, backend, Service::Requests(pool)).await
}

async fn listen(address: SocketAddr, tls: ServerConfig) -> Result<(TcpListener, TlsAcceptor)> {
    Ok((
        TcpListener::bind(address).await?,
        TlsAcceptor::from(Arc::new(tls)),
    ))
}

/// What is done with what comes.
#[derive(Clone)]
enum Service {
    Bytes { buffer: usize },
    Requests(Pool),
}

async fn accept(
    (listener, acceptor): (TcpListener, TlsAcceptor),
    backend: SocketAddr,
    service: Service,
) -> Result<()> {
    loop {
        let (tcp, source) = listener.accept().await?;
        tcp.set_nodelay(true)?;
        let (acceptor, service) = (acceptor.clone(), service.clone());
        tokio::spawn(async move {
            let Ok(mut stream) = acceptor.accept(tcp).await else {
                return;
            };
            match service {
                Service::Requests(pool) => {
                    let service =
                        service_fn(move |req| forward(pool.clone(), source, backend, req));
                    let server = auto::Builder::new(TokioExecutor::new());
                    let _ = server.serve_connection(TokioIo::new(stream), service).await;
                }
                Service::Bytes { buffer } => {
                    let Ok(mut upstream) = TcpStream::connect(backend).await else {
                        return;
                    };
                    let _ = upstream.set_nodelay(true);
                    let (a, b) = (&mut stream, &mut upstream);
                    let copied = copy_bidirectional_with_sizes(a, b, buffer, buffer).await;
                    println!("{source} {copied:?}");
                }
            }
        });
    }
}

fn server_config(args: &Args, alpn: &[&[u8]]) -> Result<ServerConfig> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let roots = Arc::new(tls::load_roots(&args.ca)?);
    let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider.clone()).build()?;
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_client_cert_verifier(verifier)
        .with_single_cert(tls::load_chain(&args.cert)?, tls::load_key(&args.key)?)?;
    config.ticketer = aws_lc_rs::Ticketer::new()?;
    config.alpn_protocols = alpn.iter().map(|it| it.to_vec()).collect();
    Ok(config)
}

type Reply = Response<BoxBody<Bytes, hyper::Error>>;

async fn forward(
    pool: Pool,
    source: SocketAddr,
    backend: SocketAddr,
    mut req: Request<Incoming>,
) -> Result<Reply, std::convert::Infallible> {
    let path = req.uri().path_and_query().map_or("/", |p| p.as_str());
    let uri: Option<Uri> = format!("http://{backend}{path}").parse().ok();
    let asked = format!("{source} {} {path}", req.method());
    if let Some(uri) = uri {
        *req.uri_mut() = uri;
        *req.version_mut() = http::Version::HTTP_11;
        req.headers_mut().remove("connection");
        if let Ok(reply) = pool.request(req).await {
            println!("{asked} {}", reply.status().as_u16());
            return Ok(reply.map(|b| b.boxed()));
        }
    }
    let mut reply = Response::new(Empty::new().map_err(|never| match never {}).boxed());
    *reply.status_mut() = StatusCode::BAD_GATEWAY;
    Ok(reply)
}
