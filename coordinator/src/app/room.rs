//! Whether there is room for more runs. At nine tenths of what `RUNS` or our account may take up, new
//! ones are refused, so that those at work can still end.
//!
//! Asked of the broker only while somebody asks for runs; what is known may be seconds old.

use super::{App, AppError, Storage};
use events::log::jetstream::StorageError;
use events::subject::Stream;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Of 1: from here on new runs are refused.
const FULL_ENOUGH: f64 = 0.9;
/// For how long an answer counts, as long as what was asked for since cannot have filled the rest.
const FRESH_FOR: Duration = Duration::from_secs(2);
/// What one run may take up at most: the broker takes no larger message.
const RUN_MAX_BYTES: u64 = 1024 * 1024;

/// What is nearly full, and how full.
#[derive(Clone, Debug, PartialEq)]
pub struct Tight {
    /// A stream's name, or none for all of the account.
    pub stream: Option<&'static str>,
    pub percent: u8,
    pub bytes: u64,
    pub max_bytes: u64,
}

#[derive(Default)]
pub struct Room(Mutex<Option<Known>>);

#[derive(Clone)]
struct Known {
    asked: Instant,
    /// How many bytes may come before new runs are refused.
    spare: u64,
    /// Runs let through since.
    runs: u64,
}

/// What to do before a run is requested.
enum Look {
    Never,
    /// Beside the request.
    Beside,
    /// Before it.
    First,
}

impl App {
    /// # Errors
    /// When a new run would take room that those at work may need.
    pub(super) async fn room_for_runs(&self) -> Result<(), AppError> {
        match self.0.room.next() {
            Look::Never => Ok(()),
            Look::Beside => {
                let app = self.clone();
                tokio::spawn(async move { app.look_for_room().await });
                Ok(())
            }
            Look::First => self
                .look_for_room()
                .await
                .map_or(Ok(()), |tight| Err(AppError::NearlyFull(tight))),
        }
    }

    async fn look_for_room(&self) -> Option<Tight> {
        let limits = limits(&self.0.broker.storage).await;
        // A broker that does not answer says so to the append itself.
        let limits = limits.unwrap_or_default();
        self.0.room.learn(limits.iter().map(spare).min());
        limits.into_iter().find_map(judged)
    }
}

impl Room {
    /// Counts the run.
    fn next(&self) -> Look {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(known) = known.as_mut() else {
            return Look::First;
        };
        known.runs += 1;
        if known.runs.saturating_mul(RUN_MAX_BYTES) >= known.spare {
            return Look::First;
        }
        if known.asked.elapsed() < FRESH_FOR {
            return Look::Never;
        }
        // Nobody else need ask meanwhile.
        known.asked = Instant::now();
        Look::Beside
    }

    fn learn(&self, spare: Option<u64>) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *known = Some(Known {
            asked: Instant::now(),
            spare: spare.unwrap_or(u64::MAX),
            runs: 0,
        });
    }
}

/// A limit, and how much of it is used.
#[derive(Clone, Copy, Debug)]
struct Limit {
    stream: Option<&'static str>,
    bytes: u64,
    max_bytes: u64,
}

async fn limits(storage: &Arc<dyn Storage>) -> Result<Vec<Limit>, StorageError> {
    let (runs, account) = tokio::try_join!(storage.stream(Stream::Runs), storage.account())?;
    let runs = runs.and_then(|runs| Some((runs.bytes, runs.max_bytes?)));
    let account = account
        .max_storage_bytes
        .map(|max| (account.storage_bytes, max));
    let of = |stream, limit: Option<(u64, u64)>| {
        limit.map(|(bytes, max_bytes)| Limit {
            stream,
            bytes,
            max_bytes,
        })
    };
    let both = [of(Some(Stream::Runs.name()), runs), of(None, account)];
    Ok(both.into_iter().flatten().collect())
}

fn spare(limit: &Limit) -> u64 {
    let usable = limit.max_bytes as f64 * FULL_ENOUGH;
    (usable as u64).saturating_sub(limit.bytes)
}

fn judged(limit: Limit) -> Option<Tight> {
    let Limit {
        stream,
        bytes,
        max_bytes,
    } = limit;
    let fill = bytes as f64 / max_bytes.max(1) as f64;
    (fill >= FULL_ENOUGH).then_some(Tight {
        stream,
        percent: (fill * 100.0).min(100.0) as u8,
        bytes,
        max_bytes,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limit(bytes: u64) -> Limit {
        Limit {
            stream: None,
            bytes,
            max_bytes: 1_000,
        }
    }

    #[test]
    fn nine_tenths_are_enough() {
        assert_eq!((judged(limit(899)), spare(&limit(899))), (None, 1));
        let tight = judged(limit(900)).unwrap();
        assert_eq!((tight.percent, tight.max_bytes), (90, 1_000));
        assert_eq!(
            (judged(limit(5_000)).unwrap().percent, spare(&limit(5_000))),
            (100, 0)
        );
    }

    #[test]
    fn nobody_asks_as_long_as_what_came_since_cannot_have_filled_it() {
        let room = Room::default();
        assert!(matches!(room.next(), Look::First), "nothing is known");
        room.learn(Some(3 * RUN_MAX_BYTES));
        assert!(matches!(room.next(), Look::Never));
        assert!(matches!(room.next(), Look::Never));
        assert!(matches!(room.next(), Look::First));
        room.learn(None);
        assert!(matches!(room.next(), Look::Never));
    }
}
