//! How fast signs of life follow each other. One setting, the lease; every wait that tells the
//! living from the dead is derived from it here. It measures no time itself.

use std::time::Duration;

/// How long a delivery stays with a runner without a sign of life, and what follows from that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cadence {
    lease: Duration,
}

/// A lease that is too short to live with, or too long to wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a lease of {0} s is none; give whole seconds from 3s to 10m, as 30s")]
pub struct InvalidLease(u64);

/// With less, a second of a busy host would count as death.
const MIN_SECONDS: u64 = 3;
/// With more, nobody would wait for a lost run to be found.
const MAX_SECONDS: u64 = 600;
/// Three heartbeats: two may be lost. Longer than a broker cluster takes to elect a leader.
const DEFAULT_LEASE: Duration = Duration::from_secs(30);

impl Default for Cadence {
    fn default() -> Self {
        Self {
            lease: DEFAULT_LEASE,
        }
    }
}

impl Cadence {
    pub fn of_seconds(seconds: u64) -> Result<Self, InvalidLease> {
        match seconds {
            MIN_SECONDS..=MAX_SECONDS => Ok(Self {
                lease: Duration::from_secs(seconds),
            }),
            _ => Err(InvalidLease(seconds)),
        }
    }

    /// How long the broker waits for a sign of life before it delivers a run again.
    pub fn lease(self) -> Duration {
        self.lease
    }

    /// Between two signs of life, of a runner and for each of its runs: two may be lost.
    pub fn heartbeat(self) -> Duration {
        self.lease / 3
    }

    /// Who was heard within this time is there.
    pub fn online_within(self) -> Duration {
        self.lease
    }

    /// How long we must have been able to hear somebody before we take silence for death: the
    /// other may be coming back from the same outage.
    pub fn silence(self) -> Duration {
        self.lease * 3 / 2
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_lasts_three_heartbeats_and_silence_longer_than_a_lease() {
        let cadence = Cadence::of_seconds(30).unwrap();
        assert_eq!(cadence, Cadence::default());
        assert_eq!(cadence.heartbeat(), Duration::from_secs(10));
        assert_eq!(cadence.silence(), Duration::from_secs(45));
        for none in [0, 2, 601, u64::MAX] {
            assert_eq!(Cadence::of_seconds(none), Err(InvalidLease(none)));
        }
    }
}
