//! Percentiles and the shared "one measured window" bookkeeping.
use crate::procstat::{self, Usage};
use hdrhistogram::Histogram;
use serde_json::{Value, json};
use std::time::Instant;

/// A latency histogram in nanoseconds, 1 ns to 60 s, three significant digits.
pub fn latency_histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, 60_000_000_000, 3).expect("static bounds are valid")
}

/// Latency percentiles in microseconds.
pub fn percentiles(h: &Histogram<u64>) -> Value {
    let us = |q: f64| (h.value_at_quantile(q) as f64 / 1e3 * 10.0).round() / 10.0;
    json!({
        "count": h.len(), "mean_us": (h.mean() / 1e3 * 10.0).round() / 10.0,
        "p50_us": us(0.50), "p90_us": us(0.90), "p99_us": us(0.99), "p999_us": us(0.999),
        "max_us": h.max() as f64 / 1e3,
    })
}

pub fn median(values: &[f64]) -> f64 {
    let mut v = values.to_vec();
    v.sort_by(f64::total_cmp);
    match v.len() {
        0 => f64::NAN,
        n if n % 2 == 1 => v[n / 2],
        n => (v[n / 2 - 1] + v[n / 2]) / 2.0,
    }
}

/// Start of a measured window: wall clock, own CPU, and the CPU of the watched server.
pub struct Window {
    started: Instant,
    own_cpu: f64,
    pids: Vec<u32>,
    server: Usage,
}

impl Window {
    pub fn open(server_pid: Option<u32>) -> Self {
        let pids = server_pid.map(procstat::tree).unwrap_or_default();
        let server = procstat::usage(&pids, false);
        Self {
            started: Instant::now(),
            own_cpu: procstat::self_cpu_s(),
            pids,
            server,
        }
    }

    /// Closes the window over `units` of work (handshakes, requests, bytes).
    pub fn close(&self, units: f64) -> Value {
        let wall = self.started.elapsed().as_secs_f64();
        let server_cpu = procstat::usage(&self.pids, false).cpu_s - self.server.cpu_s;
        let mut v = json!({
            "seconds": wall,
            "per_second": units / wall,
            "client_cpu_share": (procstat::self_cpu_s() - self.own_cpu) / wall,
        });
        if !self.pids.is_empty() {
            v["server_cpu_s"] = json!(server_cpu);
            v["server_cpu_share"] = json!(server_cpu / wall);
            v["per_server_cpu_second"] = json!(if server_cpu > 0.0 {
                units / server_cpu
            } else {
                0.0
            });
        }
        v
    }
}
