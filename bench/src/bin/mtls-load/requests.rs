//! `requests`: closed loop over kept-alive HTTP/1.1 connections.
use crate::connect::{STEP, Target};
use crate::handshakes::merge;
use crate::{Common, Shared};
use anyhow::{Context, Result, bail};
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
    let config = target.config(false)?;
    let run = Rc::new(Run {
        shared: Shared::default(),
        latency: RefCell::new(stats::latency_histogram()),
        target,
        max: c.max_count,
    });
    for _ in 0..c.conns {
        let (run, config, request) = (run.clone(), config.clone(), request.clone());
        tokio::task::spawn_local(async move {
            // A server may close after some number of requests: reconnect, count only errors.
            while !run.shared.stop.get() {
                if let Err(e) = connection(&run, &config, &request).await {
                    run.shared.error(&format_args!("{e:#}"));
                    tokio::time::sleep(std::time::Duration::from_millis(10)).await;
                }
            }
        });
    }
    let window = run.shared.run_window(c).await;
    run.shared.stop.set(true);
    let count = run.shared.count.get();
    let mut out = json!({ "mode": "requests", "conns": c.conns, "count": count, "errors": *run.shared.errors.borrow() });
    merge(&mut out, window.close(count as f64));
    out["latency"] = stats::percentiles(&run.latency.borrow());
    Ok(out)
}

async fn connection(run: &Run, config: &Arc<ClientConfig>, request: &[u8]) -> Result<()> {
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
