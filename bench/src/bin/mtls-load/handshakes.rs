//! `handshakes` and `resumed`: connections per second.
//!
//! In TLS 1.3 the client is done before the server has checked the client's certificate, so a
//! handshake counts only once the server confirmed it: it answered our close_notify by closing
//! (a refusal would arrive as a fatal alert), or it answered a GET.
use crate::connect::{STEP, Target};
use crate::{Common, Shared};
use anyhow::{Context, Result, bail};
use countersign_bench::http1::Reader;
use countersign_bench::stats;
use hdrhistogram::Histogram;
use rustls::{ClientConfig, HandshakeKind};
use serde_json::{Value, json};
use std::cell::RefCell;
use std::io::ErrorKind;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

#[derive(clap::Args)]
pub struct Options {
    /// Send one GET on each connection and wait for its answer.
    #[arg(long)]
    get: bool,
}

#[derive(Default)]
struct Counts {
    resumed: u64,
    tls: Option<Histogram<u64>>,
}

pub async fn run(c: &Common, target: Rc<Target>, o: Options, resume: bool) -> Result<Value> {
    let shared = Rc::new(Shared::default());
    let counts = Rc::new(RefCell::new(Counts {
        tls: Some(stats::latency_histogram()),
        ..Counts::default()
    }));
    let mut workers = Vec::new();
    for _ in 0..c.conns {
        let (shared, counts, target, max) =
            (shared.clone(), counts.clone(), target.clone(), c.max_count);
        let config = target.config(&[], resume)?;
        workers.push(tokio::task::spawn_local(async move {
            let mut primed = !resume;
            while !shared.stop.get() {
                let started = Instant::now();
                // The first connection of a resuming worker does a GET: some servers send their
                // tickets only together with the first answer.
                match one(&target, &config, o.get || !primed).await {
                    Ok((kind, handshake)) => {
                        primed = true;
                        if shared.recording.get() {
                            let mut n = counts.borrow_mut();
                            n.resumed += u64::from(kind == HandshakeKind::Resumed);
                            let t = handshake.duration_since(started).as_nanos() as u64;
                            n.tls.as_mut().expect("set above").saturating_record(t);
                        }
                        shared.add(1, max);
                    }
                    Err(e) => {
                        shared.error(&format_args!("{e:#}"));
                        tokio::time::sleep(Duration::from_millis(10)).await;
                    }
                }
            }
        }));
    }
    let window = shared.run_window(c).await;
    shared.stop.set(true);
    let mut out = json!({ "mode": if resume { "resumed" } else { "handshakes" }, "kx": c.kx,
        "count": shared.count.get(), "resumed": counts.borrow().resumed,
        "errors": *shared.errors.borrow() });
    merge(&mut out, window.close(shared.count.get() as f64));
    out["handshake_latency"] = stats::percentiles(counts.borrow().tls.as_ref().expect("set above"));
    for w in workers {
        w.abort();
    }
    Ok(out)
}

pub fn merge(into: &mut Value, from: Value) {
    if let (Value::Object(a), Value::Object(b)) = (into, from) {
        a.extend(b);
    }
}

async fn one(
    t: &Target,
    config: &Arc<ClientConfig>,
    get: bool,
) -> Result<(HandshakeKind, Instant)> {
    let mut s = t.tls(config).await?;
    let done = Instant::now();
    let kind = s
        .get_ref()
        .1
        .handshake_kind()
        .context("no handshake kind")?;
    if get {
        s.write_all(b"GET / HTTP/1.1\r\nHost: gateway.bench.local\r\nConnection: close\r\n\r\n")
            .await?;
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
    s.get_mut().1.send_close_notify();
    match s.flush().await {
        // The server may have closed first after a GET.
        Err(e)
            if !(get && matches!(e.kind(), ErrorKind::BrokenPipe | ErrorKind::ConnectionReset)) =>
        {
            return Err(e.into());
        }
        _ => {}
    }
    let mut sink = [0; 2048];
    loop {
        match timeout(STEP, s.read(&mut sink))
            .await
            .context("close timeout")?
        {
            Ok(0) => break,
            Ok(_) => {}
            // Closed without close_notify, or reset because our close_notify came after its close.
            Err(e) if e.kind() == ErrorKind::UnexpectedEof => break,
            Err(e) if get && e.kind() == ErrorKind::ConnectionReset => break,
            Err(e) => return Err(e.into()),
        }
    }
    // Reset instead of FIN: leaves no TIME_WAIT on either side, so ports do not run out.
    s.get_ref().0.set_zero_linger()?;
    Ok((kind, done))
}
