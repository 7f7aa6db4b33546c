//! `requests`: closed loop over kept-alive connections, HTTP/1.1 or HTTP/2.
use crate::connect::{STEP, Target};
use crate::handshakes::merge;
use crate::{Common, Shared};
use anyhow::{Context, Result, bail};
use bytes::Bytes;
use countersign_bench::http1::Reader;
use countersign_bench::stats;
use hdrhistogram::Histogram;
use rustls::ClientConfig;
use serde_json::{Value, json};
use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;
use tokio::io::AsyncWriteExt;
use tokio::time::timeout;

#[derive(clap::Args)]
pub struct Options {
    #[arg(long, default_value = "/")]
    path: String,
    /// HTTP/2 with this many streams per connection (0: HTTP/1.1).
    #[arg(long, default_value_t = 0)]
    h2_streams: usize,
}

struct Run {
    shared: Shared,
    latency: RefCell<Histogram<u64>>,
    target: Rc<Target>,
    max: u64,
}

impl Run {
    fn done(&self, started: Instant) {
        if self.shared.recording.get() {
            self.latency
                .borrow_mut()
                .saturating_record(started.elapsed().as_nanos() as u64);
        }
        self.shared.add(1, self.max);
    }
}

pub async fn run(c: &Common, target: Rc<Target>, o: Options) -> Result<Value> {
    let request: Rc<[u8]> = format!(
        "GET {} HTTP/1.1\r\nHost: gateway.bench.local\r\n\r\n",
        o.path
    )
    .into_bytes()
    .into();
    let alpn: &[&[u8]] = if o.h2_streams > 0 { &[b"h2"] } else { &[] };
    let config = target.config(alpn, false)?;
    let run = Rc::new(Run {
        shared: Shared::default(),
        latency: RefCell::new(stats::latency_histogram()),
        target,
        max: c.max_count,
    });
    for _ in 0..c.conns {
        let (run, config, request, streams) =
            (run.clone(), config.clone(), request.clone(), o.h2_streams);
        tokio::task::spawn_local(async move {
            // A server may close after some number of requests: reconnect, count only errors.
            while !run.shared.stop.get() {
                let end = match streams {
                    0 => http1(&run, &config, &request).await,
                    n => http2(run.clone(), &config, n).await,
                };
                if let Err(e) = end {
                    run.shared.error(&format_args!("{e:#}"));
                    tokio::time::sleep(std::time::Duration::from_millis(10)).await;
                }
            }
        });
    }
    let window = run.shared.run_window(c).await;
    run.shared.stop.set(true);
    let count = run.shared.count.get();
    let mut out = json!({ "mode": "requests", "http": if o.h2_streams > 0 { 2 } else { 1 },
        "conns": c.conns, "count": count, "errors": *run.shared.errors.borrow() });
    merge(&mut out, window.close(count as f64));
    out["latency"] = stats::percentiles(&run.latency.borrow());
    Ok(out)
}

async fn http1(run: &Run, config: &Arc<ClientConfig>, request: &[u8]) -> Result<()> {
    let mut s = run.target.stream(config).await?;
    let mut reader = Reader::new(16 * 1024);
    while !run.shared.stop.get() {
        let started = Instant::now();
        s.write_all(request).await?;
        s.flush().await?;
        let head = timeout(STEP, reader.head(&mut s))
            .await
            .context("answer timeout")??;
        let Some(head) = head else { return Ok(()) };
        reader.skip_body(&mut s, &head, |_| ()).await?;
        if head.status != 200 {
            bail!("status {}", head.status);
        }
        run.done(started);
        if head.close {
            return Ok(());
        }
    }
    Ok(())
}

async fn http2(run: Rc<Run>, config: &Arc<ClientConfig>, streams: usize) -> Result<()> {
    let s = run.target.tls(config).await?;
    if s.get_ref().1.alpn_protocol() != Some(b"h2") {
        run.shared.stop.set(true);
        bail!("server does not speak h2");
    }
    let (client, connection) = h2::client::handshake(s).await?;
    let driver = tokio::task::spawn_local(connection);
    let mut loops = Vec::new();
    for _ in 0..streams {
        let (run, client) = (run.clone(), client.clone());
        loops.push(tokio::task::spawn_local(async move {
            while !run.shared.stop.get() {
                let started = Instant::now();
                h2_get(client.clone()).await?;
                run.done(started);
            }
            anyhow::Ok(())
        }));
    }
    let mut result = Ok(());
    for l in loops {
        result = l.await?.and(result);
    }
    driver.abort();
    result
}

async fn h2_get(client: h2::client::SendRequest<Bytes>) -> Result<()> {
    let request = http::Request::get("https://gateway.bench.local/").body(())?;
    let mut client = client.ready().await?;
    let (answer, _) = client.send_request(request, true)?;
    let answer = timeout(STEP, answer).await.context("answer timeout")??;
    if answer.status() != 200 {
        bail!("status {}", answer.status());
    }
    let mut body = answer.into_body();
    while let Some(piece) = body.data().await {
        let n = piece?.len();
        body.flow_control().release_capacity(n)?;
    }
    Ok(())
}
