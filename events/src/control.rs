//! What a coordinator asks a runner to do at once, by a plain message with a reply. Nothing here is
//! stored: what comes of it is told by the runner's own events, and what has to last is an order
//! (`runner`).

use crate::runner::Holding;
use schemas::Name;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// Asked on `control.<runner_id>`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Command {
    /// Read the lanes again, look at every file on the disk, and put right what is not as it
    /// should be. `scripts` are those to answer for; none means all.
    Resync { scripts: BTreeSet<Name> },
}

/// The runner's answer to a [`Command`], when it is done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Done {
    Resynced {
        /// Scripts that are in place as wanted.
        current: u32,
        /// Scripts that are not.
        behind: u32,
        /// Changes this made on the disk.
        repaired: u32,
        /// Those asked for by name, and those that are not as wanted, up to [`DETAILS_MAX`].
        scripts: BTreeMap<Name, Holding>,
    },
}

/// So that an answer stays far below the largest message there may be.
pub const DETAILS_MAX: usize = 200;
