//! The two places in a run's life where another agent may run for its sake, and how a run says
//! that it is such a hook's. What follows from a hook is the coordinator's to decide.

use crate::RunId;
use schemars::JsonSchema;
use schemas::{Hook, Hooks};
use serde::{Deserialize, Serialize};
use std::fmt;

/// Where in a run's life a hook stands.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum HookPoint {
    /// Before the run can be claimed.
    OnRunStart,
    /// After its end.
    OnRunFinish,
}

/// Whose hook a run is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct HookOf {
    pub run_id: RunId,
    pub point: HookPoint,
}

impl HookPoint {
    pub const ALL: [Self; 2] = [Self::OnRunStart, Self::OnRunFinish];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::OnRunStart => "on_run_start",
            Self::OnRunFinish => "on_run_finish",
        }
    }

    /// The hook that stands there, if there is one.
    pub fn of(self, hooks: &Hooks) -> Option<&Hook> {
        match self {
            Self::OnRunStart => hooks.on_run_start.as_ref(),
            Self::OnRunFinish => hooks.on_run_finish.as_ref(),
        }
    }
}

impl fmt::Display for HookPoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
