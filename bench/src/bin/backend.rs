//! A trivially fast plaintext backend for proxies to forward to (single thread).
//!
//! HTTP/1.1 keep-alive on `--http`: `GET /` a 2-byte 200, `GET /bytes/N` a body of N bytes, any
//! request body is read and discarded.
use clap::Parser;
use countersign_bench::http1::Reader;
use std::io::Result;
use std::net::SocketAddr;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};

#[derive(Parser)]
struct Args {
    #[arg(long, default_value = "127.0.0.1:9000")]
    http: SocketAddr,
}

const SMALL: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\nok";
static ZEROS: [u8; 256 * 1024] = [b'x'; 256 * 1024];

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let args = Args::parse();
    let listener = TcpListener::bind(args.http).await?;
    println!("listening");
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        // A peer that goes away mid-stream is normal here.
        tokio::spawn(http(stream));
    }
}

async fn http(mut s: TcpStream) -> Result<()> {
    // Small until a body comes: thousands of idle backend connections must stay cheap.
    let mut reader = Reader::new(8 * 1024);
    while let Some(head) = reader.head(&mut s).await? {
        let wanted = requested_bytes(reader.bytes(head.range));
        if head.chunked || head.content_length.unwrap_or(0) > 0 {
            reader.skip_body(&mut s, &head, |_| ()).await?;
        }
        match wanted {
            None => s.write_all(SMALL).await?,
            Some(n) => send_body(&mut s, n).await?,
        }
        if head.close {
            break;
        }
    }
    Ok(())
}

/// N of a request line `GET /bytes/N …`.
fn requested_bytes(head: &[u8]) -> Option<u64> {
    let rest = head.strip_prefix(b"GET /bytes/")?;
    let end = rest.iter().position(|b| !b.is_ascii_digit())?;
    std::str::from_utf8(&rest[..end]).ok()?.parse().ok()
}

async fn send_body(s: &mut TcpStream, mut left: u64) -> Result<()> {
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\nContent-Length: {left}\r\n\r\n"
    );
    s.write_all(head.as_bytes()).await?;
    while left > 0 {
        let n = left.min(ZEROS.len() as u64) as usize;
        s.write_all(&ZEROS[..n]).await?;
        left -= n as u64;
    }
    Ok(())
}
