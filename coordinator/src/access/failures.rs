//! Whoever shows wrong tokens waits for the answer, each time longer. Whoever shows a right one never
//! does, also from the same address: 256 bits are not guessed, so this is to keep a program that
//! has gone wrong, or an attacker, from costing much.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::Semaphore;

/// Mistyped, pasted wrong, or an old one in a script: no reason to wait yet.
const FREE: u32 = 5;
const FIRST_WAIT: Duration = Duration::from_millis(100);
const LONGEST_WAIT: Duration = Duration::from_secs(3);
/// Who has sent nothing wrong for so long begins anew.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(60);
/// Addresses that are remembered; the one that was quiet longest goes first.
const ADDRESSES_MAX: usize = 1_024;
/// Answers held back at once. They hold connections that others need, so more are refused at once.
const WAITING_MAX: usize = 64;

/// Failures by address.
#[derive(Debug)]
pub struct FailedLogins {
    seen: Mutex<HashMap<IpAddr, Failures>>,
    waiting: Semaphore,
}

#[derive(Clone, Copy, Debug)]
struct Failures {
    count: u32,
    last: Instant,
}

/// How a wrong token was slowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Slowed {
    /// It has waited; now it is told.
    Waited,
    /// Too many wait already.
    Refused { retry_after: Duration },
}

impl Default for FailedLogins {
    fn default() -> Self {
        Self {
            seen: Mutex::default(),
            waiting: Semaphore::new(WAITING_MAX),
        }
    }
}

impl FailedLogins {
    /// Notes one more wrong token, and waits as long as its sender has to.
    pub async fn slow(&self, from: IpAddr) -> Slowed {
        let wait = self.note(from, Instant::now());
        if wait.is_zero() {
            return Slowed::Waited;
        }
        let Ok(_held) = self.waiting.try_acquire() else {
            return Slowed::Refused {
                retry_after: LONGEST_WAIT,
            };
        };
        tokio::time::sleep(wait).await;
        Slowed::Waited
    }

    fn note(&self, from: IpAddr, now: Instant) -> Duration {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let from = network(from);
        if seen.len() >= ADDRESSES_MAX && !seen.contains_key(&from) {
            let quietest = seen.iter().min_by_key(|(_, failures)| failures.last);
            if let Some(quietest) = quietest.map(|(address, _)| *address) {
                seen.remove(&quietest);
            }
        }
        let fresh = Failures {
            count: 0,
            last: now,
        };
        let failures = seen.entry(from).or_insert(fresh);
        if now.duration_since(failures.last) >= FORGOTTEN_AFTER {
            *failures = fresh;
        }
        failures.count = failures.count.saturating_add(1);
        failures.last = now;
        wait_after(failures.count)
    }
}

fn wait_after(count: u32) -> Duration {
    match count.checked_sub(FREE + 1) {
        None => Duration::ZERO,
        Some(doublings) => FIRST_WAIT
            .saturating_mul(2_u32.saturating_pow(doublings))
            .min(LONGEST_WAIT),
    }
}

/// Who has one address of IPv6 has 2^64.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => {
            let [a, b, c, d, ..] = v6.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(number: u32) -> IpAddr {
        std::net::Ipv4Addr::from(number).into()
    }

    #[test]
    fn each_failure_waits_longer_and_a_quiet_minute_forgives() {
        let logins = FailedLogins::default();
        let begun = Instant::now();
        let waits: Vec<u128> = (0..13)
            .map(|_| logins.note(address(1), begun).as_millis())
            .collect();
        assert_eq!(
            waits,
            [0, 0, 0, 0, 0, 100, 200, 400, 800, 1600, 3000, 3000, 3000]
        );
        assert!(logins.note(address(2), begun).is_zero());
        let later = begun + FORGOTTEN_AFTER;
        assert!(logins.note(address(1), later).is_zero());
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let logins = FailedLogins::default();
        let begun = Instant::now();
        for number in 0..5_000 {
            logins.note(
                address(number),
                begun + Duration::from_millis(number.into()),
            );
        }
        let seen = logins.seen.lock().unwrap();
        assert_eq!(seen.len(), ADDRESSES_MAX);
        assert!(seen.contains_key(&address(4_999)) && !seen.contains_key(&address(0)));
    }

    #[test]
    fn one_host_with_many_addresses_is_one() {
        let logins = FailedLogins::default();
        let now = Instant::now();
        let wait = (1..=6).map(|n| logins.note(format!("2001:db8::{n}").parse().unwrap(), now));
        assert_eq!(wait.last(), Some(FIRST_WAIT));
        let mapped = "::ffff:10.0.0.1".parse().unwrap();
        assert_eq!(network(mapped), "10.0.0.1".parse::<IpAddr>().unwrap());
    }

    #[tokio::test]
    async fn only_so_many_wait() {
        let logins = FailedLogins::default();
        let _all = logins
            .waiting
            .try_acquire_many(u32::try_from(WAITING_MAX).unwrap())
            .unwrap();
        for _ in 0..FREE {
            assert_eq!(logins.slow(address(1)).await, Slowed::Waited);
        }
        let refused = logins.slow(address(1)).await;
        assert!(matches!(refused, Slowed::Refused { .. }));
    }
}
