//! The signals that an operator or a supervisor sends.

use std::future::pending;
use std::io;

use tokio::signal::unix::{self, SignalKind};

/// The signal that asked the process to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// SIGINT: a person at a terminal.
    Interrupt,
    /// SIGTERM: a supervisor.
    Terminate,
}

/// Waits for the next SIGINT or SIGTERM.
///
/// From the first poll on, neither signal kills the process by itself. Call it again during the drain: a second signal
/// then means "now". Where a handler cannot be installed it never resolves, and the signal kills as it always did.
pub async fn shutdown_signal() -> Signal {
    let installed = unix::signal(SignalKind::interrupt())
        .and_then(|interrupt| Ok((interrupt, unix::signal(SignalKind::terminate())?)));
    let (mut interrupt, mut terminate) = match installed {
        Ok(signals) => signals,
        Err(error) => {
            tracing::warn!(%error, "shutdown signals cannot be handled: the process will stop without a drain");
            return pending().await;
        }
    };
    tokio::select! {
        Some(()) = interrupt.recv() => Signal::Interrupt,
        Some(()) = terminate.recv() => Signal::Terminate,
        else => pending().await,
    }
}

/// Begins to listen for SIGHUP, the request to read configuration and credentials again. From here on it does not kill
/// the process. Fails when the handler cannot be installed.
pub fn reload_signal() -> io::Result<ReloadSignal> {
    Ok(ReloadSignal {
        hangup: unix::signal(SignalKind::hangup())?,
    })
}

/// The requests to reload.
#[derive(Debug)]
pub struct ReloadSignal {
    hangup: unix::Signal,
}

impl ReloadSignal {
    /// Waits for the next SIGHUP. Those that arrive while nobody waits are remembered as one. Cancel-safe.
    pub async fn hangup(&mut self) {
        if self.hangup.recv().await.is_none() {
            pending::<()>().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use rustix::process::{Signal as Number, getpid, kill_process};

    use super::*;

    #[tokio::test]
    async fn both_ways_to_stop_are_told_apart() {
        for (number, expected) in [
            (Number::TERM, Signal::Terminate),
            (Number::INT, Signal::Interrupt),
        ] {
            let mut stopped = pin!(shutdown_signal());
            // One poll installs the handlers; without them the signal would end the test run.
            tokio::select! {
                biased;
                signal = &mut stopped => panic!("{signal:?} before it was sent"),
                () = std::future::ready(()) => {}
            }
            kill_process(getpid(), number).expect("a process may signal itself");
            assert_eq!(stopped.await, expected);
        }
    }

    #[tokio::test]
    async fn hangup_sent_while_nobody_waited_is_remembered() {
        let mut reload = reload_signal().expect("handler installs");
        kill_process(getpid(), Number::HUP).expect("a process may signal itself");
        reload.hangup().await;
    }
}
