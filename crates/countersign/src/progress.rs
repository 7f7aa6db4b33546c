//! A bar on the terminal for work that takes a while; nothing where nobody watches.

use std::io::{self, Write};
use std::time::{Duration, Instant};

use crate::output::stderr_is_terminal;

/// How far a work of known length is.
#[derive(Debug)]
pub(crate) struct Progress {
    what: &'static str,
    total: usize,
    done: usize,
    shown_at: Option<Instant>,
    is_shown: bool,
}

impl Progress {
    /// `what` is being done to `total` things. `wanted`: the caller's answer is not for programs.
    pub(crate) fn begin(what: &'static str, total: usize, wanted: bool) -> Self {
        Self {
            what,
            total,
            done: 0,
            shown_at: None,
            is_shown: wanted && stderr_is_terminal(),
        }
    }

    /// One more is done.
    pub(crate) fn advance(&mut self) {
        self.done += 1;
        let is_due = self.shown_at.is_none_or(|at| at.elapsed() >= REDRAW);
        if self.is_shown && (is_due || self.done == self.total) {
            self.shown_at = Some(Instant::now());
            // When standard error is closed, nobody watches.
            let _ = write!(
                io::stderr().lock(),
                "\r{}",
                bar(self.what, self.done, self.total)
            );
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.shown_at.is_some() {
            let _ = writeln!(io::stderr().lock());
        }
    }
}

fn bar(what: &str, done: usize, total: usize) -> String {
    let filled = (WIDTH * done).checked_div(total).unwrap_or(WIDTH);
    let (full, empty) = ("#".repeat(filled), ".".repeat(WIDTH - filled));
    format!("{what} [{full}{empty}] {done}/{total}")
}

const WIDTH: usize = 30;
/// Often enough to look alive, seldom enough to cost nothing.
const REDRAW: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bar_is_as_full_as_the_work_is_done() {
        assert_eq!(
            bar("issuing", 0, 4),
            format!("issuing [{}] 0/4", ".".repeat(30))
        );
        assert_eq!(
            bar("issuing", 2, 4),
            format!("issuing [{}{}] 2/4", "#".repeat(15), ".".repeat(15))
        );
        assert_eq!(
            bar("issuing", 4, 4),
            format!("issuing [{}] 4/4", "#".repeat(30))
        );
        assert!(bar("issuing", 0, 0).ends_with("] 0/0"));
    }
}
