//! Carries policy out: one task per policy, each safe to run in several coordinators at once.

mod announcements;
mod bundles;
mod callbacks;
mod desk;
mod distribution;
mod history;
mod hooks;
mod over_http;
mod queues;
mod retire;
mod settle;

pub use bundles::{Collected, collect as collect_bundles};

use crate::app::App;
use crate::policy::Patience;
use events::Cadence;
use std::time::Duration;
use tokio::task::JoinSet;

/// How reactors behave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    pub patience: Patience,
    /// Between two looks for runs that nobody works on, and for hooks whose turn was missed.
    pub settle_every: Duration,
    /// Between two looks for ended runs without a summary.
    pub summarise_every: Duration,
    /// Between two full reads of what the lanes are told, beside those that changes cause.
    pub reread_lanes_every: Duration,
    /// How long a lane that nothing needs is kept, in case something soon does.
    pub retire_lanes_after: Duration,
    /// After how long a bundle goes that nothing refers to.
    pub bundle_grace: Duration,
}

impl Settings {
    pub fn of(cadence: Cadence) -> Self {
        Self {
            patience: Patience::of(cadence),
            // Little beside the silence that comes before.
            settle_every: cadence.lease() / 6,
            summarise_every: Duration::from_millis(250),
            reread_lanes_every: Duration::from_secs(60),
            retire_lanes_after: Duration::from_secs(600),
            bundle_grace: Duration::from_secs(24 * 60 * 60),
        }
    }
}

/// Starts all reactors; they end when the answer is dropped.
pub fn start(app: &App, settings: Settings) -> JoinSet<()> {
    let mut reactors = JoinSet::new();
    reactors.spawn(announcements::run(app.clone(), settings));
    reactors.spawn(bundles::run(app.clone(), settings));
    reactors.spawn(callbacks::run(app.clone(), settings));
    reactors.spawn(desk::run(app.clone(), settings));
    reactors.spawn(distribution::run(app.clone(), settings));
    reactors.spawn(history::run(app.clone(), settings));
    reactors.spawn(hooks::run(app.clone(), settings));
    reactors.spawn(over_http::run(app.clone(), settings));
    reactors.spawn(queues::run(app.clone(), settings));
    reactors.spawn(settle::run(app.clone(), settings));
    reactors
}

#[cfg(test)]
mod tests;
