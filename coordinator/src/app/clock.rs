//! The time that is compared with what stands in the log: the broker's, which all coordinators and
//! runners share, whatever the clocks of their hosts say. It measures no durations.

use super::Wire;
use events::Timestamp;
use events::log::{Log, ReadError};
use events::subject::Stream;
use jiff::SignedDuration;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

/// Between two comparisons: host clocks drift by far less than a second meanwhile.
const COMPARE_EVERY: Duration = Duration::from_secs(60);
/// Between two looks whether this process was away, after which it compares at once.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// An answer that took longer says too little.
const ANSWER_MAX: Duration = Duration::from_secs(1);
/// More than an answer's way and the drift of a minute: the broker's clock was set, or we slept.
const JUMP: Duration = Duration::from_secs(5);

/// Cheap to clone.
#[derive(Clone)]
pub struct Clock {
    anchor: Arc<RwLock<Anchor>>,
    _keeper: Arc<JoinSet<()>>,
}

#[derive(Clone, Copy, Debug)]
struct Anchor {
    /// The broker's clock at `read`.
    at: Timestamp,
    read: Instant,
    /// No jump since then.
    steady_since: Instant,
}

impl Clock {
    pub async fn start(log: Arc<dyn Log>, wire: Arc<dyn Wire>) -> Result<Self, ReadError> {
        let (at, read) = compared(&*log).await?;
        let anchor = Arc::new(RwLock::new(Anchor {
            at,
            read,
            steady_since: read,
        }));
        let mut keeper = JoinSet::new();
        keeper.spawn(keep(anchor.clone(), log, wire));
        Ok(Self {
            anchor,
            _keeper: Arc::new(keeper),
        })
    }

    pub fn now(&self) -> Timestamp {
        let anchor = *self.anchor.read().unwrap_or_else(PoisonError::into_inner);
        anchor.at_moment(Instant::now())
    }

    /// For how long two times of this clock could be compared.
    pub fn steady_for(&self) -> Duration {
        let anchor = *self.anchor.read().unwrap_or_else(PoisonError::into_inner);
        anchor.steady_since.elapsed()
    }
}

async fn keep(anchor: Arc<RwLock<Anchor>>, log: Arc<dyn Log>, wire: Arc<dyn Wire>) {
    let mut compared_at = Instant::now();
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        let was_away = wire.listening_for() < compared_at.elapsed();
        if !was_away && compared_at.elapsed() < COMPARE_EVERY {
            continue;
        }
        let Ok((at, read)) = compared(&*log).await else {
            continue;
        };
        compared_at = read;
        let mut anchor = anchor.write().unwrap_or_else(PoisonError::into_inner);
        *anchor = anchor.moved(at, read);
    }
}

/// The broker's clock, and the moment it was read.
async fn compared(log: &dyn Log) -> Result<(Timestamp, Instant), ReadError> {
    loop {
        let asked = Instant::now();
        let at = log.bounds(Stream::Runs).await?.at;
        let took = asked.elapsed();
        if took <= ANSWER_MAX {
            return Ok((at, asked + took / 2));
        }
    }
}

impl Anchor {
    fn at_moment(self, moment: Instant) -> Timestamp {
        let since = moment.saturating_duration_since(self.read);
        let since = SignedDuration::try_from(since).unwrap_or_default();
        self.at.checked_add(since).unwrap_or(self.at)
    }

    fn moved(self, at: Timestamp, read: Instant) -> Self {
        let off = at.duration_since(self.at_moment(read)).unsigned_abs();
        Self {
            at,
            read,
            steady_since: if off > JUMP { read } else { self.steady_since },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_was_set_is_not_steady_and_one_that_drifts_is() {
        let read = Instant::now();
        let begin = Anchor {
            at: Timestamp::UNIX_EPOCH,
            read,
            steady_since: read,
        };
        let minute = read + Duration::from_secs(60);
        let at = |second| Timestamp::from_second(second).unwrap();
        assert_eq!(begin.at_moment(minute), at(60));
        assert_eq!(begin.moved(at(61), minute).steady_since, read);
        let set = begin.moved(at(3_660), minute);
        assert_eq!(
            (set.steady_since, set.at_moment(minute)),
            (minute, at(3_660))
        );
    }
}
