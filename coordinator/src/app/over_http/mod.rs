//! Runners that reach us and not the broker: they long-poll, and whatever they say is said on the broker
//! in their name. All that is known of them stands in the log, so that any coordinator can answer their
//! next request; `desk` holds what only this process needs.
//!
//! `members` registers them and knows their requests, `polls` answers what waits, `handing` hands runs
//! over, `scripts` tells what they should hold, `reports` takes their reports, and `results` what they
//! leave.

mod desk;
mod handing;
mod members;
mod polls;
mod reports;
mod results;
mod scripts;

pub use desk::Desk;
pub use members::{Shows, Visitor};
pub use polls::PollAnswer;
pub use results::Delivered;

pub use crate::domain::over_http::{Application, OverHttpRejection, Report};

use events::{RunId, RunnerId};
use schemas::Name;
use scripts::Told;
use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Without a request for so long such a runner counts as gone, where nobody says otherwise: five of its
/// polls, or two of its heartbeats and a half.
pub const SILENCE: Duration = Duration::from_secs(150);

/// What this process remembers of its runners; another one asks again or tells again.
#[derive(Default)]
pub struct Memory(Mutex<Remembered>);

#[derive(Default)]
struct Remembered {
    /// What the answer to the last poll said of scripts; the next poll says that it was read.
    told: HashMap<RunnerId, Told>,
    /// Scripts that runs needed and no lane of the runner wants.
    needs: HashMap<(RunnerId, Name), Instant>,
    /// When the end of a run was asked for.
    stops: HashMap<RunId, Instant>,
    /// When others were told that a runner lives.
    spoken: HashMap<RunnerId, Instant>,
    /// Claimed for a poll that had gone when it was to be answered.
    unsent: HashSet<RunId>,
}

impl Memory {
    fn lock(&self) -> MutexGuard<'_, Remembered> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
