//! `idle`: memory the server holds per open, quiet connection.
use crate::Common;
use crate::connect::{STEP, Stream, Target};
use anyhow::{Context, Result, bail};
use countersign_bench::http1::Reader;
use countersign_bench::procstat::{self, Usage};
use countersign_bench::stats::median;
use rustls::ClientConfig;
use serde_json::{Value, json};
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::io::AsyncWriteExt;
use tokio::time::timeout;

#[derive(clap::Args)]
pub struct Options {
    /// Connections to hold.
    #[arg(long, default_value_t = 2000)]
    hold: usize,
    /// Do one GET on each before it goes quiet, so that buffers were in use once.
    #[arg(long)]
    get: bool,
}

pub async fn run(c: &Common, target: Rc<Target>, o: Options) -> Result<Value> {
    let pid = c.pid.context("idle needs --pid")?;
    let config = target.config(&[], false)?;
    // A few connections first, so that lazily allocated pools do not count.
    open(&target, &config, 64, 16, o.get).await?;
    tokio::time::sleep(Duration::from_millis(500)).await;
    let before = sample(pid);
    let started = Instant::now();
    let (held, errors) = open(&target, &config, o.hold, c.conns, o.get).await?;
    let opening = started.elapsed().as_secs_f64();
    let mut seen = Vec::new();
    let end = Instant::now() + Duration::from_secs_f64(c.seconds);
    while Instant::now() < end {
        tokio::time::sleep(Duration::from_millis(250)).await;
        seen.push(sample(pid));
    }
    let settled = &seen[seen.len() / 2..];
    let rss = median(&settled.iter().map(|u| u.rss as f64).collect::<Vec<_>>());
    let pss = median(&settled.iter().map(|u| u.pss as f64).collect::<Vec<_>>());
    let n = held.len().max(1) as f64;
    let idle_cpu = seen.last().map_or(0.0, |u| u.cpu_s) - seen[0].cpu_s;
    Ok(
        json!({ "mode": "idle", "held": held.len(), "errors": errors, "opening_s": opening,
        "rss_before": before.rss, "rss_held": rss, "pss_before": before.pss, "pss_held": pss,
        "rss_bytes_per_conn": ((rss - before.rss as f64) / n).round(),
        "pss_bytes_per_conn": ((pss - before.pss as f64) / n).round(),
        "server_cpu_s_while_idle": idle_cpu }),
    )
}

fn sample(pid: u32) -> Usage {
    procstat::usage(&procstat::tree(pid), true)
}

type Held = (Vec<Box<dyn Stream>>, BTreeMap<String, u64>);

async fn open(
    target: &Rc<Target>,
    config: &Arc<ClientConfig>,
    count: usize,
    parallel: usize,
    get: bool,
) -> Result<Held> {
    let held = Rc::new(RefCell::new(Vec::with_capacity(count)));
    let errors = Rc::new(RefCell::new(BTreeMap::new()));
    let left = Rc::new(Cell::new(count));
    let mut workers = Vec::new();
    for _ in 0..parallel {
        let (target, config) = (target.clone(), config.clone());
        let (held, errors, left) = (held.clone(), errors.clone(), left.clone());
        workers.push(tokio::task::spawn_local(async move {
            while left.get() > 0 {
                left.set(left.get() - 1);
                match one(&target, &config, get).await {
                    Ok(s) => held.borrow_mut().push(s),
                    Err(e) => *errors.borrow_mut().entry(format!("{e:#}")).or_insert(0) += 1,
                }
            }
        }));
    }
    for w in workers {
        w.await?;
    }
    Ok((held.take(), errors.take()))
}

async fn one(target: &Target, config: &Arc<ClientConfig>, get: bool) -> Result<Box<dyn Stream>> {
    let mut s = target.stream(config).await?;
    if get {
        s.write_all(b"GET / HTTP/1.1\r\nHost: gateway.bench.local\r\n\r\n")
            .await?;
        s.flush().await?;
        let mut reader = Reader::new(4096);
        let head = timeout(STEP, reader.head(&mut s))
            .await
            .context("answer timeout")??;
        let head = head.context("closed before the answer")?;
        if head.status != 200 {
            bail!("status {}", head.status);
        }
        reader.skip_body(&mut s, &head, |_| ()).await?;
    }
    Ok(s)
}
