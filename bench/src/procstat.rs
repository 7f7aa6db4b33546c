//! CPU time and memory of a process and its descendants, from /proc.
//!
//! CPU time is what makes the numbers comparable on a two-core shared machine: wall-clock rates
//! also depend on the load generator and on neighbours, CPU seconds spent by the server much less.
use std::collections::HashMap;
use std::fs;

use rustix::time::{ClockId, clock_gettime};

/// Resources of a process tree at one moment.
#[derive(Debug, Clone, Copy, Default)]
pub struct Usage {
    /// User plus system CPU seconds of all live processes of the tree (10 ms resolution).
    pub cpu_s: f64,
    /// Sum of resident set sizes in bytes (shared pages are counted once per process).
    pub rss: u64,
    /// Sum of proportional set sizes in bytes (shared pages are split), 0 if unreadable.
    pub pss: u64,
}

struct Stat {
    ppid: u32,
    ticks: u64,
    rss_pages: u64,
}

fn read_stat(pid: u32) -> Option<Stat> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The command name may hold spaces and brackets: fields start after the last ')'.
    let rest = &text[text.rfind(')')? + 2..];
    let f: Vec<&str> = rest.split_ascii_whitespace().collect();
    Some(Stat {
        ppid: f.get(1)?.parse().ok()?,
        ticks: f.get(11)?.parse::<u64>().ok()? + f.get(12)?.parse::<u64>().ok()?,
        rss_pages: f.get(21)?.parse().ok()?,
    })
}

fn read_pss(pid: u32) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?;
    let line = text.lines().find(|l| l.starts_with("Pss:"))?;
    let kib: u64 = line.split_ascii_whitespace().nth(1)?.parse().ok()?;
    Some(kib * 1024)
}

/// The process and all its descendants.
pub fn tree(root: u32) -> Vec<u32> {
    let mut children: HashMap<u32, Vec<u32>> = HashMap::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|n| n.parse().ok()) else {
            continue;
        };
        if let Some(s) = read_stat(pid) {
            children.entry(s.ppid).or_default().push(pid);
        }
    }
    let mut out = vec![root];
    let mut i = 0;
    while i < out.len() {
        if let Some(c) = children.get(&out[i]) {
            out.extend(c);
        }
        i += 1;
    }
    out
}

/// Sums CPU time and memory over `pids` (as returned by [`tree`]).
pub fn usage(pids: &[u32], with_memory: bool) -> Usage {
    let hz = rustix::param::clock_ticks_per_second() as f64;
    let page = rustix::param::page_size() as u64;
    let mut u = Usage::default();
    for &pid in pids {
        if let Some(s) = read_stat(pid) {
            u.cpu_s += s.ticks as f64 / hz;
            u.rss += s.rss_pages * page;
        }
        if with_memory {
            u.pss += read_pss(pid).unwrap_or(0);
        }
    }
    u
}

/// CPU seconds this process has used so far.
pub fn self_cpu_s() -> f64 {
    let used = clock_gettime(ClockId::ProcessCPUTime);
    used.tv_sec as f64 + used.tv_nsec as f64 * 1e-9
}
