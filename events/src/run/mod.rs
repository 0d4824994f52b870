//! `RUNS`: every step of every run, its state machine, and the fold into one run as it stands.
//!
//! `hook` names the places where other agents may run for a run's sake; `state` says which step may
//! follow which; `view` folds the steps of a run into what is shown; `chunks` cuts large results;
//! `back_off` says how long one rests that was lost.

mod back_off;
mod chunks;
mod hook;
mod state;
mod trace_parent;
mod view;

pub use back_off::back_off;
pub use chunks::{CHUNK_BYTES, ResultChunks, ResultDamaged};
pub use hook::{HookOf, HookPoint};
pub use state::{Illegal, RunState, RunStatus};
pub use trace_parent::{InvalidTraceParent, TraceParent};
pub use view::Run;

use crate::tagged::tagged;
use crate::{LaneTags, RunId, RunnerId, SessionId};
use schemars::JsonSchema;
use schemas::Demands;
use schemas::Digest;
use schemas::FilePath;
use schemas::Hooks;
use schemas::{Name, Tag};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeSet;

/// What is stored under a subject of a run: the step, and the state it led to. A reader that sees
/// only the last message of a run knows all it needs to go on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunStep {
    pub state: RunState,
    pub step: RunEvent,
}

tagged! {
    /// One step in the life of a run.
    #[derive(Clone, Debug, PartialEq)]
    pub enum RunEvent("RunEvent") {
        /// The run waits for its `on_run_start` hook: no runner can see it before it is `Requested`.
        Held(Box<RunRequest>),
        /// It is the queue entry. Of a held run: the hook has spoken, and may have changed the
        /// parameters.
        Requested(Box<RunRequest>),
        /// A runner took the run, or took it over before it was started, or begins a new attempt.
        Claimed {
            runner_id: RunnerId,
            attempt: u32,
        },
        /// Stored before the script is spawned.
        Started {
            runner_id: RunnerId,
            attempt: u32,
        },
        /// A runner that leaves hands back what it has not started.
        Released {
            runner_id: RunnerId,
            attempt: u32,
        },
        /// A piece of a result that is too large for one event; they all come before the end, which
        /// says how many there are. An attempt that never ends leaves some that nothing refers to.
        ResultChunk {
            runner_id: RunnerId,
            attempt: u32,
            /// From 0. One that comes again replaces the earlier one: its writer was not sure that it
            /// was stored.
            index: u32,
            /// Bytes of the result's JSON text.
            base64: String,
        },
        Completed {
            runner_id: RunnerId,
            attempt: u32,
            outcome: Outcome,
        },
        Failed {
            reason: FailureReason,
            /// A sentence for people.
            error: String,
            /// What the script left, if it ran to its end.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            outcome: Option<Outcome>,
        },
        /// The executor of a run that executes nothing itself has begun a session of its own for it.
        SessionBound {
            runner_id: RunnerId,
            attempt: u32,
            executor: BoundExecutor,
        },
        /// Somebody wants to see the session of this run, which is its first, no more. The log keeps it.
        SessionDeleted,
        /// The session that waits for the end of this run could not be resumed with it.
        CallbackNotMade {
            /// A sentence for people.
            error: String,
        },
        /// A hook of the run could not even be requested; what that means is the hook's `on_error`.
        HookNotRun {
            point: HookPoint,
            /// A sentence for people.
            error: String,
        },
        StopRequested,
        Stopped {
            /// What the script left, if it had been started.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            outcome: Option<Outcome>,
        },
        /// A result that came after the end: evidence, it changes nothing.
        LateResult {
            runner_id: RunnerId,
            attempt: u32,
            outcome: Outcome,
        },
    }
}

/// What is asked for; fixed for the whole life of the run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunRequest {
    pub run_id: RunId,
    #[serde(default, skip_serializing_if = "RunKind::is_start")]
    pub kind: RunKind,
    pub session_id: SessionId,
    pub agent: Name,
    pub agent_version: u32,
    pub program: Program,
    /// Of what is executed, whatever happens to it meanwhile: a script's bundle, or else the
    /// agent's definition.
    pub digest: Digest,
    /// All tags the runner must offer; their hash is the lane in the subject.
    pub lane_tags: LaneTags,
    /// The additional demands of the request, as given.
    #[serde(default, skip_serializing_if = "Demands::is_empty")]
    pub demands: Demands,
    /// With the schema's defaults filled in.
    pub parameters: serde_json::Map<String, Value>,
    /// The command line the parameters turn into.
    pub arguments: Vec<String>,
    pub timeout_seconds: u32,
    /// How long it may wait while no runner that is online could take it; the coordinator's own
    /// patience where nobody said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schedule_timeout_seconds: Option<u32>,
    /// A lost run is repeated, at most this many attempts in all. 1: it is never repeated.
    pub max_attempts: u32,
    pub execution_mode: ExecutionMode,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub project_dir: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent_session_id: Option<SessionId>,
    /// The agent's hooks as they were then. A hook's own run has none.
    #[serde(default, skip_serializing_if = "Hooks::is_empty")]
    pub hooks: Hooks,
    /// The run whose hook this is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hook_of: Option<HookOf>,
    /// The run whose end this one tells its session of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub callback_of: Option<RunId>,
    /// The run that this one repeats.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_of: Option<RunId>,
    /// The trace that the request belongs to, as W3C writes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traceparent: Option<TraceParent>,
    /// Of what was asked for, where the client gave an idempotency key: another request under the
    /// same key differs in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fingerprint: Option<Digest>,
}

/// Whether a run begins its session or goes on with one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RunKind {
    #[default]
    StartSession,
    ResumeSession,
}

impl RunKind {
    /// What is not written down.
    #[allow(clippy::trivially_copy_pass_by_ref)] // As serde calls it.
    pub fn is_start(&self) -> bool {
        *self == Self::StartSession
    }
}

/// What does the work of a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Program {
    Script(PinnedScript),
    /// The command of a runner's own agent. It stands on its host only: a run never brings one.
    Command,
    /// A model, through an executor.
    Model,
}

/// A script in one version.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PinnedScript {
    pub name: Name,
    pub version: u32,
    /// The file in its folder that runs.
    pub file: FilePath,
    /// The script's own tags, by which the interpreter is chosen.
    pub tags: BTreeSet<Tag>,
}

/// How the caller wants to learn of the end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ExecutionMode {
    #[default]
    Sync,
    AsyncPoll,
    AsyncCallback,
}

/// Who really executes a run, in its own words.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BoundExecutor {
    /// What it calls the session itself.
    pub session_id: String,
    pub hostname: String,
    pub profile: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub project_dir: Option<String>,
}

/// What a script left when it ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    /// The exit status; 128 plus the signal's number where a signal ended it.
    pub exit_code: i32,
    /// Its JSON output, or `{return_code, stdout, stderr}`. `null` where `result_chunks` says where
    /// the result is.
    pub result_data: Value,
    /// The result is too large for one event: it stands in the chunks of this attempt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result_chunks: Option<ResultChunks>,
    /// From spawn to the end of the whole process tree, in milliseconds.
    pub duration_ms: u64,
}

/// Why a run failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum FailureReason {
    /// The script ended with another status than 0.
    ExitCode,
    /// It took longer than its `timeout_seconds`.
    Timeout,
    /// Its runner is gone and nobody may repeat it.
    Lost,
    /// No runner could take it in time.
    NoMatch,
    /// A hook refused it.
    Blocked,
    /// The runner may not or cannot execute it.
    Rejected,
    /// The output does not fit the script's `output_schema`, or is too large.
    OutputInvalid,
}

impl RunRequest {
    /// The script that it executes, if it is one.
    pub fn script(&self) -> Option<&PinnedScript> {
        match &self.program {
            Program::Script(script) => Some(script),
            Program::Command | Program::Model => None,
        }
    }
}

impl RunStep {
    /// How a run begins: held where a hook runs first, in the queue otherwise.
    pub fn first(request: RunRequest) -> Self {
        match request.hooks.on_run_start {
            Some(_) => Self {
                state: RunState::held(),
                step: RunEvent::Held(Box::new(request)),
            },
            None => Self {
                state: RunState::requested(),
                step: RunEvent::Requested(Box::new(request)),
            },
        }
    }
}

impl RunEvent {
    /// What the script left, where this is an end that says so.
    pub fn outcome_mut(&mut self) -> Option<&mut Outcome> {
        match self {
            Self::Completed { outcome, .. } | Self::LateResult { outcome, .. } => Some(outcome),
            Self::Failed { outcome, .. } | Self::Stopped { outcome } => outcome.as_mut(),
            _ => None,
        }
    }

    /// The step as it is stored: beside the state it leads to.
    pub fn after(self, state: &RunState) -> Result<RunStep, Illegal> {
        Ok(RunStep {
            state: state.after(&self)?,
            step: self,
        })
    }
}
