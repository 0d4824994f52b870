//! Whether this process itself was there: one that was stopped, or whose host slept, heard nobody
//! meanwhile and must not take that for the others' silence. It judges nobody.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

/// Between two beats.
const EVERY: Duration = Duration::from_millis(500);
/// A process that does not beat for this long was not there. A busy host is late by less; the
/// shortest lease is longer.
const GAP: Duration = Duration::from_secs(2);

/// Beats as long as somebody holds it.
#[derive(Debug)]
pub(super) struct Pulse(Mutex<Beats>);

#[derive(Clone, Copy, Debug)]
struct Beats {
    /// Without a gap since then.
    since: Instant,
    last: Moment,
}

/// The steady clock does not count while a host sleeps, the other one does.
#[derive(Clone, Copy, Debug)]
struct Moment {
    steady: Instant,
    wall: SystemTime,
}

impl Pulse {
    pub fn start() -> Arc<Self> {
        let pulse = Arc::new(Self(Mutex::new(Beats::begin(Moment::now()))));
        let beating = Arc::downgrade(&pulse);
        tokio::spawn(async move {
            while let Some(pulse) = beating.upgrade() {
                pulse.beat();
                drop(pulse);
                tokio::time::sleep(EVERY).await;
            }
        });
        pulse
    }

    /// For how long this process has been there without a gap. Right after a gap too, when nothing
    /// has beaten yet.
    pub fn steady_for(&self) -> Duration {
        self.beat().elapsed()
    }

    fn beat(&self) -> Instant {
        let mut beats = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *beats = beats.after(Moment::now());
        beats.since
    }
}

impl Beats {
    fn begin(now: Moment) -> Self {
        Self {
            since: now.steady,
            last: now,
        }
    }

    fn after(self, now: Moment) -> Self {
        match now.elapsed_since(self.last) > GAP {
            true => Self::begin(now),
            false => Self { last: now, ..self },
        }
    }
}

impl Moment {
    fn now() -> Self {
        Self {
            steady: Instant::now(),
            wall: SystemTime::now(),
        }
    }

    /// By whichever clock says more. A wall clock that was set back counts as well: who knows.
    fn elapsed_since(self, before: Self) -> Duration {
        let wall = match self.wall.duration_since(before.wall) {
            Ok(forward) => forward,
            Err(back) => back.duration(),
        };
        let steady = self.steady.duration_since(before.steady);
        steady.max(wall)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn later(moment: Moment, steady: u64, wall: u64) -> Moment {
        Moment {
            steady: moment.steady + Duration::from_secs(steady),
            wall: moment.wall + Duration::from_secs(wall),
        }
    }

    #[test]
    fn who_beats_was_there_and_who_was_stopped_or_slept_was_not() {
        let begin = Moment::now();
        let beats = Beats::begin(begin).after(later(begin, 1, 1));
        assert_eq!(beats.since, begin.steady);
        let stopped = later(begin, 61, 61);
        assert_eq!(beats.after(stopped).since, stopped.steady);
        let slept = later(begin, 2, 600);
        assert_eq!(beats.after(slept).since, slept.steady);
        let again = beats.after(stopped).after(later(stopped, 1, 1));
        assert_eq!(again.since, stopped.steady, "it counts from there");
    }
}
