//! `throughput`: bulk bytes per second through the server, one direction at a time; TCP mode has the same backend behind it.
use crate::connect::{STEP, Target};
use crate::handshakes::merge;
use crate::{Common, Shared};
use anyhow::{Context, Result, bail};
use clap::ValueEnum;
use countersign_bench::http1::Reader;
use rustls::ClientConfig;
use serde_json::{Value, json};
use std::rc::Rc;
use std::sync::Arc;
use tokio::io::AsyncWriteExt;
use tokio::time::timeout;

#[derive(Clone, Copy, ValueEnum, Debug)]
enum Direction {
    /// GET /bytes/N: the server under test encrypts.
    Download,
    /// POST of N bytes: the server under test decrypts.
    Upload,
}

#[derive(clap::Args)]
pub struct Options {
    #[arg(long, value_enum, default_value = "download")]
    direction: Direction,
    /// Bytes per request.
    #[arg(long, default_value_t = 64 << 20)]
    size: u64,
}

static PIECE: [u8; 64 * 1024] = [b'u'; 64 * 1024];

pub async fn run(c: &Common, target: Rc<Target>, o: Options) -> Result<Value> {
    let shared = Rc::new(Shared::default());
    let config = target.config(&[], false)?;
    for _ in 0..c.conns {
        let (shared, target, config) = (shared.clone(), target.clone(), config.clone());
        tokio::task::spawn_local(async move {
            while !shared.stop.get() {
                if let Err(e) = one(&shared, &target, &config, o.direction, o.size).await {
                    shared.error(&format_args!("{e:#}"));
                    tokio::time::sleep(std::time::Duration::from_millis(10)).await;
                }
            }
        });
    }
    let window = shared.run_window(c).await;
    shared.stop.set(true);
    let bytes = shared.count.get();
    let mut out = json!({ "mode": "throughput", "direction": format!("{:?}", o.direction).to_lowercase(),
        "conns": c.conns, "bytes": bytes, "errors": *shared.errors.borrow() });
    merge(&mut out, window.close(bytes as f64));
    out["gigabytes_per_second"] = json!(out["per_second"].as_f64().unwrap_or(0.0) / 1e9);
    Ok(out)
}

async fn one(
    shared: &Shared,
    target: &Target,
    config: &Arc<ClientConfig>,
    direction: Direction,
    size: u64,
) -> Result<()> {
    let mut s = target.stream(config).await?;
    let mut reader = Reader::new(64 * 1024);
    while !shared.stop.get() {
        let head = match direction {
            Direction::Download => {
                format!("GET /bytes/{size} HTTP/1.1\r\nHost: gateway.bench.local\r\n\r\n")
            }
            _ => format!(
                "POST / HTTP/1.1\r\nHost: gateway.bench.local\r\nContent-Length: {size}\r\n\r\n"
            ),
        };
        s.write_all(head.as_bytes()).await?;
        if let Direction::Upload = direction {
            let mut left = size;
            while left > 0 && !shared.stop.get() {
                let n = left.min(PIECE.len() as u64);
                s.write_all(&PIECE[..n as usize]).await?;
                shared.add(n, u64::MAX);
                left -= n;
            }
            if left > 0 {
                return Ok(());
            }
        }
        s.flush().await?;
        let head = timeout(STEP, reader.head(&mut s))
            .await
            .context("answer timeout")??;
        let head = head.context("closed before the answer")?;
        if head.status != 200 {
            bail!("status {}", head.status);
        }
        let download = matches!(direction, Direction::Download);
        reader
            .skip_body(&mut s, &head, |n| {
                if download {
                    shared.add(n as u64, u64::MAX)
                }
            })
            .await?;
        if head.close {
            return Ok(());
        }
    }
    Ok(())
}
