//! The naive Rust peer: mTLS-terminating proxy on tokio + rustls, nothing tuned.
//!
//! A hyper server and hyper-util's pooled client. It shows what a first straightforward version reaches, not what Rust can reach.
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
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

#[derive(Parser)]
struct Args {
    #[arg(long)]
    listen: SocketAddr,
    #[arg(long, default_value = "127.0.0.1:9000")]
    backend: SocketAddr,
    #[arg(long)]
    cert: PathBuf,
    #[arg(long)]
    key: PathBuf,
    /// Trust root for client certificates.
    #[arg(long)]
    ca: PathBuf,
}

type Pool = Client<HttpConnector, Incoming>;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let args = Args::parse();
    let acceptor = TlsAcceptor::from(Arc::new(server_config(&args)?));
    let listener = TcpListener::bind(args.listen).await?;
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    let pool: Pool = Client::builder(TokioExecutor::new()).build(connector);
    println!("listening");
    loop {
        let (tcp, _) = listener.accept().await?;
        tcp.set_nodelay(true)?;
        let (acceptor, pool, backend) = (acceptor.clone(), pool.clone(), args.backend);
        tokio::spawn(async move {
            let Ok(stream) = acceptor.accept(tcp).await else {
                return;
            };
            let service = service_fn(move |req| forward(pool.clone(), backend, req));
            let server = auto::Builder::new(TokioExecutor::new());
            let _ = server.serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

fn server_config(args: &Args) -> Result<ServerConfig> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let roots = Arc::new(tls::load_roots(&args.ca)?);
    let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider.clone()).build()?;
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_client_cert_verifier(verifier)
        .with_single_cert(tls::load_chain(&args.cert)?, tls::load_key(&args.key)?)?;
    config.ticketer = aws_lc_rs::Ticketer::new()?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

type Reply = Response<BoxBody<Bytes, hyper::Error>>;

async fn forward(
    pool: Pool,
    backend: SocketAddr,
    mut req: Request<Incoming>,
) -> Result<Reply, std::convert::Infallible> {
    let path = req.uri().path_and_query().map_or("/", |p| p.as_str());
    let uri: Option<Uri> = format!("http://{backend}{path}").parse().ok();
    if let Some(uri) = uri {
        *req.uri_mut() = uri;
        *req.version_mut() = http::Version::HTTP_11;
        req.headers_mut().remove("connection");
        if let Ok(reply) = pool.request(req).await {
            return Ok(reply.map(|b| b.boxed()));
        }
    }
    let mut reply = Response::new(Empty::new().map_err(|never| match never {}).boxed());
    *reply.status_mut() = StatusCode::BAD_GATEWAY;
    Ok(reply)
}
