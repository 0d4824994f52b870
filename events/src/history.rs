//! `HISTORY`: what is left of a run for ever, when `RUNS` has dropped its steps: who had what executed
//! where and when, and how it ended. Neither its parameters nor its result, only what tells them apart.

use crate::run::{FailureReason, HookOf, Program, RunKind, RunStatus};
use crate::{Actor, LaneTags, RunId, RunnerId, SessionId, Timestamp};
use schemas::{Digest, Name};
use serde::{Deserialize, Serialize};

/// Something that is to be known for ever.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum HistoryEvent {
    RunEnded(Box<RunSummary>),
}

/// A run that has ended. Times are the broker's.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunSummary {
    pub run_id: RunId,
    /// In `RUNS`: the step that ended it. With the run's id it tells a summary from all others: an id
    /// that follows from something may be used again once retention has dropped its run.
    pub ended_sequence: u64,
    #[serde(default, skip_serializing_if = "RunKind::is_start")]
    pub kind: RunKind,
    pub session_id: SessionId,
    pub agent: Name,
    pub agent_version: u32,
    pub program: Program,
    /// Of what was executed.
    pub digest: Digest,
    pub lane_tags: LaneTags,
    /// Who asked for it, and through what.
    pub actor: Actor,
    /// Who wanted its end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stopped_by: Option<Actor>,
    /// Who held it last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub runner_id: Option<RunnerId>,
    /// That runner's host, as it was known when the run ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hostname: Option<String>,
    pub requested_at: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub claimed_at: Option<Timestamp>,
    /// Of the last attempt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Timestamp>,
    pub ended_at: Timestamp,
    pub attempts: u32,
    pub status: RunStatus,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<FailureReason>,
    /// A sentence for people, of at most [`ERROR_MAX_CHARS`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration_ms: Option<u64>,
    /// Of the parameters as JSON with the fields of all objects in the order of their names.
    pub parameters_digest: Digest,
    /// Of the result's JSON text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result_bytes: Option<u64>,
    /// The session that asked for it, as one of an agent over MCP.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent_session_id: Option<SessionId>,
    /// The run whose hook it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hook_of: Option<HookOf>,
    /// The run whose end it told its session of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub callback_of: Option<RunId>,
    /// The run that it repeated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_of: Option<RunId>,
}

/// A line that a table can show: summaries are kept for ever.
pub const ERROR_MAX_CHARS: usize = 300;

impl RunSummary {
    /// The script that it executed, and in which version.
    pub fn script(&self) -> Option<(&Name, u32)> {
        match &self.program {
            Program::Script(script) => Some((&script.name, script.version)),
            Program::Command | Program::Model => None,
        }
    }
}
