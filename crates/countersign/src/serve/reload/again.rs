//! A configuration that was refused, tried again: a certificate becomes valid, a server of lists comes back, and nobody touches a file for it.

use std::time::Duration;

use tokio::time::Instant;

use crate::configuration::Loaded;

/// What a configuration is read for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Occasion {
    /// It was refused before.
    Again,
    /// Somebody asks for it.
    Asked,
    /// A file has changed.
    Changed,
}

/// Why a configuration is not in force.
#[derive(Debug)]
pub(crate) enum Refused {
    /// By what it says: another has to come.
    ForGood(String),
    /// By what it finds: time, files, servers, addresses. Whether that passes cannot be told from the sentence, and asking again costs little.
    ForNow(String),
}

/// One that was refused for now.
pub(crate) struct Again {
    loaded: Loaded,
    due: Instant,
    backoff: Duration,
}

impl Again {
    /// To be tried again after `backoff`.
    pub(crate) fn new(loaded: Loaded, backoff: Duration) -> Self {
        loaded.settle();
        Self {
            loaded,
            due: Instant::now() + backoff,
            backoff,
        }
    }

    /// When.
    pub(crate) fn due(&self) -> Instant {
        self.due
    }

    /// Twice as long each time.
    pub(crate) fn next_backoff(&self, longest: Duration) -> Duration {
        (self.backoff * 2).min(longest)
    }

    /// The same text; the files that it names are read anew.
    pub(crate) fn unread(&self) -> Loaded {
        self.loaded.unread()
    }
}
