//! How long things take between two events of the log, for whoever watches the whole: a run from request
//! to claim, a version from its change until a runner says that it holds it. Only what happens while
//! we look counts: what was read at the start is of another time.

use prometheus_client::metrics::histogram::Histogram;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// From a claim that meets an idle runner to one that waits for a busy fleet.
const CLAIM_BUCKETS: [f64; 12] = [
    0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 15.0, 60.0, 300.0,
];
/// From a host that fetches at once to one that was away over night.
const SYNC_BUCKETS: [f64; 12] = [
    0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0, 300.0, 3_600.0, 21_600.0, 86_400.0,
];

#[derive(Debug)]
pub struct Pace {
    claims: Histogram,
    syncs: Histogram,
    live: AtomicBool,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            claims: Histogram::new(CLAIM_BUCKETS),
            syncs: Histogram::new(SYNC_BUCKETS),
            live: AtomicBool::new(false),
        }
    }
}

impl Pace {
    /// Seconds from a run's request to its claim.
    pub fn claims(&self) -> Histogram {
        self.claims.clone()
    }

    /// Seconds from a script's change until a runner says that it holds it.
    pub fn syncs(&self) -> Histogram {
        self.syncs.clone()
    }

    /// What was stored before has been read; from here on things happen.
    pub(super) fn go_live(&self) {
        self.live.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_live(&self) -> bool {
        self.live.load(Ordering::Relaxed)
    }

    pub(super) fn claimed(&self, after: &[Duration]) {
        note(&self.claims, after);
    }

    pub(super) fn synced(&self, after: &[Duration]) {
        note(&self.syncs, after);
    }
}

fn note(histogram: &Histogram, times: &[Duration]) {
    for time in times {
        histogram.observe(time.as_secs_f64());
    }
}
