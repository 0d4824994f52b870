//! Plain questions between parts that are up at the same time: "do you hold this run?". Nothing
//! here is stored, and no answer is a fact before it has become an event.

use crate::RunId;
use serde::{Deserialize, Serialize};

/// Asked on `ask.<runner_id>` by whoever was handed a run that this runner has claimed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Question {
    HoldsRun { run_id: RunId, attempt: u32 },
}

/// The runner's answer to a [`Question`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Answer {
    /// It works on the run, or still has its result to deliver.
    Yes,
    No,
}
