//! Load generator for mutual-TLS servers: one thread, bounded in time and count, JSON output.
mod connect;
mod handshakes;
mod idle;
mod openloop;
mod requests;
mod throughput;

use anyhow::{Result, bail};
use clap::{Parser, Subcommand};
use connect::Target;
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;
use tokio::task::LocalSet;

#[derive(Parser)]
struct Args {
    #[command(flatten)]
    common: Common,
    #[command(subcommand)]
    mode: Mode,
}

#[derive(clap::Args, Clone)]
pub struct Common {
    /// Server under test; a loopback address.
    #[arg(long, global = true, default_value = "127.0.0.1:8443")]
    pub addr: SocketAddr,
    #[arg(long, global = true, default_value = "gateway.bench.local")]
    pub sni: String,
    /// Trust root(s) for the server, PEM.
    #[arg(long, global = true, default_value = "run/pki/root.pem")]
    pub ca: PathBuf,
    /// Client chain, leaf first, PEM.
    #[arg(long, global = true, default_value = "run/pki/client.pem")]
    pub cert: PathBuf,
    #[arg(long, global = true, default_value = "run/pki/client.key")]
    pub key: PathBuf,
    /// Present no client certificate (to see that the server refuses).
    #[arg(long, global = true)]
    pub no_cert: bool,
    /// No TLS at all: plain TCP (baseline to the backend).
    #[arg(long, global = true)]
    pub plain: bool,
    /// default, x25519, p256 or x25519mlkem768.
    #[arg(long, global = true, default_value = "x25519")]
    pub kx: String,
    /// default, aes128, aes256 or chacha20.
    #[arg(long, global = true, default_value = "aes128")]
    pub suite: String,
    /// Folder of `mkpki` whose intermediate gives each connection a leaf and a key of its own.
    #[arg(long, global = true)]
    pub new_clients: Option<PathBuf>,
    /// Connections (or concurrent handshakes).
    #[arg(long, global = true, default_value_t = 32)]
    pub conns: usize,
    #[arg(long, global = true, default_value_t = 3.0)]
    pub seconds: f64,
    #[arg(long, global = true, default_value_t = 0.5)]
    pub warmup: f64,
    /// Stop after this many operations even if time is left.
    #[arg(long, global = true, default_value_t = 5_000_000)]
    pub max_count: u64,
    /// Server process whose tree's CPU time and memory are reported.
    #[arg(long, global = true)]
    pub pid: Option<u32>,
    /// Bind clients to 127.0.0.x with this many x, for more than 28k connections.
    #[arg(long, global = true, default_value_t = 1)]
    pub sources: u8,
}

#[derive(Subcommand)]
enum Mode {
    /// Full handshakes, new TCP connection each; confirmed by the server's close or by a GET.
    Handshakes(handshakes::Options),
    /// TLS 1.3 ticket resumption, new TCP connection each.
    Resumed(handshakes::Options),
    /// Closed-loop requests over kept-alive connections.
    Requests(requests::Options),
    /// Bulk bytes: GET /bytes/N or POST of N bytes.
    Throughput(throughput::Options),
    /// Opens connections, holds them, samples the server's memory.
    Idle(idle::Options),
    /// Fixed-rate GETs; latency counts from the intended start (no coordinated omission).
    Openloop(openloop::Options),
}

/// What the workers of a run share: phase flags and counters.
#[derive(Default)]
pub struct Shared {
    pub recording: Cell<bool>,
    pub stop: Cell<bool>,
    pub count: Cell<u64>,
    pub errors: RefCell<BTreeMap<String, u64>>,
}

impl Shared {
    pub fn add(&self, n: u64, max: u64) {
        if self.recording.get() {
            self.count.set(self.count.get() + n);
            if self.count.get() >= max {
                self.stop.set(true);
            }
        }
    }

    pub fn error(&self, e: &dyn std::fmt::Display) {
        if !self.stop.get() {
            *self.errors.borrow_mut().entry(e.to_string()).or_default() += 1;
        }
    }

    /// Lets the workers warm up, then record for the asked time (or until the count is reached).
    pub async fn run_window(&self, c: &Common) -> countersign_bench::stats::Window {
        tokio::time::sleep(Duration::from_secs_f64(c.warmup)).await;
        let window = countersign_bench::stats::Window::open(c.pid);
        self.recording.set(true);
        let end = tokio::time::Instant::now() + Duration::from_secs_f64(c.seconds);
        while tokio::time::Instant::now() < end && !self.stop.get() {
            tokio::time::sleep_until(
                (tokio::time::Instant::now() + Duration::from_millis(20)).min(end),
            )
            .await;
        }
        self.recording.set(false);
        window
    }
}

fn main() -> Result<()> {
    let args = Args::parse();
    if !args.common.addr.ip().is_loopback() {
        bail!("this tool only loads loopback addresses");
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let c = args.common;
    let result = LocalSet::new().block_on(&runtime, async {
        let target = Rc::new(Target::new(&c)?);
        match args.mode {
            Mode::Handshakes(o) => handshakes::run(&c, target, o, false).await,
            Mode::Resumed(o) => handshakes::run(&c, target, o, true).await,
            Mode::Requests(o) => requests::run(&c, target, o).await,
            Mode::Throughput(o) => throughput::run(&c, target, o).await,
            Mode::Idle(o) => idle::run(&c, target, o).await,
            Mode::Openloop(o) => openloop::run(&c, target, o).await,
        }
    })?;
    println!("{result}");
    Ok(())
}
