//! Which upstreams rest: those that a connection could not be made to, and nobody a client could make look bad.
//!
//! One worker's view, which it shares with no other. Only upstreams that have others beside them are ever in it.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::balance::Members;
use super::rest::Rest;
use super::{Address, UpstreamFault};
use crate::metrics::{Resting, UpstreamMetrics};

pub(super) struct Health {
    resting: RefCell<HashMap<Arc<Address>, Entry>>,
    metrics: UpstreamMetrics,
}

struct Entry {
    rest: Rest,
    _counted: Resting,
}

impl Health {
    pub(super) fn new(metrics: UpstreamMetrics) -> Self {
        Self {
            resting: RefCell::default(),
            metrics,
        }
    }

    /// Those whose rest is not over.
    pub(super) fn resting<'a>(
        &self,
        addresses: impl Iterator<Item = (usize, &'a Arc<Address>)>,
        now: Instant,
    ) -> Members {
        let resting = self.resting.borrow();
        if resting.is_empty() {
            return Members::default();
        }
        addresses
            .filter(|(_, address)| {
                resting
                    .get(*address)
                    .is_some_and(|it| !it.rest.is_over(now))
            })
            .fold(Members::default(), |members, (index, _)| {
                members.with(index)
            })
    }

    /// When the rest of this one is over.
    pub(super) fn rests_until(&self, address: &Arc<Address>) -> Option<Instant> {
        let resting = self.resting.borrow();
        resting.get(address).map(|it| it.rest.until())
    }

    /// A request goes there now.
    pub(super) fn note_chosen(&self, address: &Arc<Address>, now: Instant) {
        let mut resting = self.resting.borrow_mut();
        if resting.is_empty() {
            return;
        }
        if let Some(entry) = resting.get_mut(address) {
            entry.rest.try_at(now);
        }
    }

    pub(super) fn note_failed(
        &self,
        address: &Arc<Address>,
        fault: &UpstreamFault,
        now: Instant,
        random: u64,
    ) {
        let mut resting = self.resting.borrow_mut();
        let until = if let Some(entry) = resting.get_mut(address) {
            if !entry.rest.fail_again(now, random) {
                return;
            }
            entry.rest.until()
        } else {
            let rest = Rest::begin(now, random);
            let entry = Entry {
                rest,
                _counted: self.metrics.rests(&address.to_string()),
            };
            resting.insert(Arc::clone(address), entry);
            rest.until()
        };
        let rest_ms = u64::try_from((until - now).as_millis()).unwrap_or(u64::MAX);
        tracing::warn!(upstream = %address, error = %fault, rest_ms, "upstream rests: others take its requests");
    }

    /// A connection was made, or an answer came.
    pub(super) fn note_reached(&self, address: &Arc<Address>) {
        let mut resting = self.resting.borrow_mut();
        if resting.is_empty() {
            return;
        }
        if resting.get(address).is_some_and(|it| it.rest.may_end()) {
            resting.remove(address);
            tracing::info!(upstream = %address, "upstream is back");
        }
    }

    /// Forgets upstreams that nobody has tried for long: a reload took them away, or nobody asks for anything there.
    pub(super) fn reap(&self, now: Instant) {
        (self.resting.borrow_mut()).retain(|_, it| it.rest.until() + FORGOTTEN_AFTER > now);
    }
}

/// Far beyond the longest rest.
const FORGOTTEN_AFTER: Duration = Duration::from_mins(10);
