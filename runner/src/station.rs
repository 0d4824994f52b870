//! What every run of this runner works with.

use crate::config::Settings;
use crate::execute::interpreter::Interpreters;
use crate::execute::workspace::Workspaces;
use crate::launcher::Launcher;
use crate::shelf::Shelf;
use crate::spool::Spool;
use events::RunnerId;
use events::log::jetstream::{Connection, Queue};
use std::time::Duration;

/// Shared by the supervisor and all runs.
pub struct Station {
    pub settings: Settings,
    pub connection: Connection,
    pub queue: Queue,
    pub shelf: Shelf,
    pub spool: Spool,
    pub workspaces: Workspaces,
    pub launcher: Launcher,
    pub interpreters: Interpreters,
    /// How long a delivery stays with us without a sign of life.
    pub lease: Duration,
}

impl Station {
    pub fn runner_id(&self) -> &RunnerId {
        &self.settings.runner_id
    }

    /// Between two signs of life for a lease: two may be lost.
    pub fn progress_interval(&self) -> Duration {
        self.lease / 3
    }

    /// How long we must have been connected ourselves before we take another runner's silence
    /// for its death: it may be coming back from the same outage.
    pub fn silence(&self) -> Duration {
        self.lease * 3 / 2
    }
}
