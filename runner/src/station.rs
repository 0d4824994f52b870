//! What every run of this runner works with.

use crate::agents::AgentsFolder;
use crate::config::Settings;
use crate::confine::Confinement;
use crate::disk::Disk;
use crate::execute::interpreter::Interpreters;
use crate::execute::workspace::Workspaces;
use crate::launcher::Launcher;
use crate::shelf::Shelf;
use crate::spool::Spool;
use events::claim::Voice;
use events::log::jetstream::{Connection, Queue};
use events::{Cadence, RunnerId};
use std::sync::Arc;

/// Shared by the supervisor and all runs.
pub struct Station {
    pub settings: Settings,
    pub connection: Connection,
    pub queue: Queue,
    pub shelf: Shelf,
    pub spool: Spool,
    pub disk: Disk,
    pub workspaces: Workspaces,
    pub launcher: Arc<Launcher>,
    pub interpreters: Interpreters,
    pub cadence: Cadence,
    pub confinement: Confinement,
    pub agents: AgentsFolder,
}

impl Station {
    pub fn runner_id(&self) -> &RunnerId {
        &self.settings.runner_id
    }

    /// What we append to runs, we append as ourselves.
    pub fn voice(&self) -> Voice<'_> {
        Voice {
            log: &self.connection,
            runner_id: self.runner_id(),
        }
    }
}
