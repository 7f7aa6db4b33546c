//! `openloop`: GETs at a fixed rate, whatever the server does. Latency counts from the moment a
//! request was due, so a stalled server cannot hide its stall by slowing the generator.
use crate::connect::Target;
use crate::handshakes::merge;
use crate::{Common, Shared};
use anyhow::{Context, Result, bail};
use countersign_bench::http1::Reader;
use countersign_bench::stats;
use hdrhistogram::Histogram;
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};
use rustls::ClientConfig;
use serde_json::{Value, json};
use std::cell::RefCell;
use std::collections::VecDeque;
use std::io;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::io::AsyncWriteExt;
use tokio::io::unix::AsyncFd;
use tokio::sync::Notify;

#[derive(clap::Args)]
pub struct Options {
    /// Requests per second, all connections together.
    #[arg(long, default_value_t = 1000.0)]
    rate: f64,
}

struct Run {
    shared: Shared,
    due: RefCell<VecDeque<Instant>>,
    wake: Notify,
    latency: RefCell<Histogram<u64>>,
}

pub async fn run(c: &Common, target: Rc<Target>, o: Options) -> Result<Value> {
    let config = target.config(&[], false)?;
    let run = Rc::new(Run {
        shared: Shared::default(),
        due: RefCell::default(),
        wake: Notify::new(),
        latency: RefCell::new(stats::latency_histogram()),
    });
    for _ in 0..c.conns {
        let (run, target, config) = (run.clone(), target.clone(), config.clone());
        tokio::task::spawn_local(async move {
            while !run.shared.stop.get() {
                if let Err(e) = connection(&run, &target, &config).await {
                    run.shared.error(&format_args!("{e:#}"));
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
            }
        });
    }
    tokio::time::sleep(Duration::from_millis(300)).await; // connections come up
    let pacer = tokio::task::spawn_local(pace(run.clone(), o.rate));
    let window = run.shared.run_window(c).await;
    run.shared.stop.set(true);
    pacer.abort();
    let count = run.shared.count.get();
    let mut out = json!({ "mode": "openloop", "rate": o.rate, "conns": c.conns, "count": count,
        "left_in_queue": run.due.borrow().len(), "errors": *run.shared.errors.borrow() });
    merge(&mut out, window.close(count as f64));
    out["latency"] = stats::percentiles(&run.latency.borrow());
    Ok(out)
}

/// Puts due times into the queue, woken by a timerfd (tokio's own timer has only 1 ms steps).
async fn pace(run: Rc<Run>, rate: f64) -> Result<()> {
    let step = Duration::from_secs_f64(1.0 / rate);
    #[expect(
        deprecated,
        reason = "its successor is unsafe; an OwnedFd is what that asks for"
    )]
    let timer = AsyncFd::new(periodic_timer(step)?)?;
    let mut next = Instant::now() + step;
    while !run.shared.stop.get() {
        let mut ready = timer.readable().await?;
        let mut ticks = [0u8; 8];
        let _ = rustix::io::read(timer.get_ref(), &mut ticks);
        ready.clear_ready();
        while next <= Instant::now() {
            run.due.borrow_mut().push_back(next);
            run.wake.notify_one();
            next += step;
        }
    }
    Ok(())
}

fn periodic_timer(step: Duration) -> io::Result<OwnedFd> {
    let timer = timerfd_create(
        TimerfdClockId::Monotonic,
        TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC,
    )?;
    let step = Timespec::try_from(step).map_err(io::Error::other)?;
    let spec = Itimerspec {
        it_interval: step,
        it_value: step,
    };
    timerfd_settime(&timer, TimerfdTimerFlags::empty(), &spec)?;
    Ok(timer)
}

async fn connection(run: &Run, target: &Target, config: &Arc<ClientConfig>) -> Result<()> {
    let mut s = target.stream(config).await?;
    let mut reader = Reader::new(16 * 1024);
    loop {
        let due = loop {
            if let Some(due) = run.due.borrow_mut().pop_front() {
                break due;
            }
            run.wake.notified().await;
        };
        s.write_all(b"GET / HTTP/1.1\r\nHost: gateway.bench.local\r\n\r\n")
            .await?;
        s.flush().await?;
        let head = reader
            .head(&mut s)
            .await?
            .context("closed before the answer")?;
        reader.skip_body(&mut s, &head, |_| ()).await?;
        if head.status != 200 {
            bail!("status {}", head.status);
        }
        if run.shared.recording.get() {
            run.latency
                .borrow_mut()
                .saturating_record(due.elapsed().as_nanos() as u64);
        }
        run.shared.add(1, u64::MAX);
        if head.close {
            return Ok(());
        }
    }
}
