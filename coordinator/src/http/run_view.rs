//! A run as clients see it. Fields that have no value are there as `null`.

use super::record::through;
use crate::app::{run_of_callback, run_of_hook};
use events::run::{ExecutionMode, FailureReason, HookOf, HookPoint, Run, RunKind, RunStatus};
use events::{Actor, Lane, RunId, RunnerId, SessionId, Timestamp};
use jiff::SignedDuration;
use schemars::JsonSchema;
use schemas::{Demands, Digest, Name};
use serde::Serialize;
use serde_json::{Map, Value};

#[derive(Serialize, JsonSchema)]
pub struct RunView {
    run_id: RunId,
    r#type: RunKind,
    session_id: SessionId,
    agent_name: Name,
    parameters: Map<String, Value>,
    status: RunStatus,
    project_dir: Option<String>,
    parent_session_id: Option<SessionId>,
    execution_mode: ExecutionMode,
    /// What the request demanded, and as `tags` all of its lane.
    demands: Demands,
    runner_id: Option<RunnerId>,
    error: Option<String>,
    created_at: Timestamp,
    claimed_at: Option<Timestamp>,
    started_at: Option<Timestamp>,
    completed_at: Option<Timestamp>,
    /// When its script is stopped at the latest; not known before it has started.
    timeout_at: Option<Timestamp>,
    // Ours.
    reason: Option<FailureReason>,
    script: Option<Name>,
    script_version: Option<u32>,
    agent_version: u32,
    /// Of the script's bundle, or of the agent's definition where it has no script.
    digest: Digest,
    lane: Lane,
    attempt: u32,
    exit_code: Option<i32>,
    /// `null` in lists where it is over 512 KiB; the run itself has it.
    result_data: Option<Value>,
    /// How long its JSON text is, where it is over 512 KiB.
    result_bytes: Option<u64>,
    timeout_seconds: u32,
    /// The run that this one repeats.
    retry_of: Option<RunId>,
    duration_ms: Option<u64>,
    /// Who asked for it, and through what.
    actor: Actor,
    /// Its door, and what the run followed from.
    through: String,
    /// Who wanted its end.
    stopped_by: Option<Actor>,
    /// Its `on_run_start` hook has not spoken; no runner can see it.
    held: bool,
    /// What was asked for, where the hook has changed the parameters.
    given_parameters: Option<Map<String, Value>>,
    hooks: Vec<HookView>,
    /// The run whose hook this is.
    hook_of: Option<HookOf>,
    /// Where it has ended and a session waited for that.
    callback: Option<CallbackView>,
    /// The run whose end this one tells its session of.
    callback_of: Option<RunId>,
}

/// The session that is resumed with a run's end.
#[derive(Serialize, JsonSchema)]
struct CallbackView {
    session_id: SessionId,
    run_id: RunId,
    /// Why it has no run.
    error: Option<String>,
}

/// A hook of a run whose turn has come.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "RunHook")]
struct HookView {
    point: HookPoint,
    agent_name: Name,
    run_id: RunId,
    /// Why it has no run.
    error: Option<String>,
}

impl From<Run> for RunView {
    fn from(run: Run) -> Self {
        let (hooks, callback, through) = (hooks(&run), callback(&run), through(&run));
        let Run {
            request,
            state,
            outcome,
            ..
        } = run;
        let script = request.script().cloned();
        let exit_code = outcome.as_ref().map(|outcome| outcome.exit_code);
        let duration_ms = outcome.as_ref().map(|outcome| outcome.duration_ms);
        Self {
            run_id: request.run_id,
            r#type: request.kind,
            session_id: request.session_id,
            agent_name: request.agent,
            parameters: request.parameters,
            status: state.status,
            project_dir: request.project_dir,
            parent_session_id: request.parent_session_id,
            execution_mode: request.execution_mode,
            lane: request.lane_tags.lane(),
            demands: Demands {
                tags: request.lane_tags.iter().cloned().collect(),
                ..request.demands
            },
            runner_id: state.runner_id,
            error: run.error,
            created_at: run.created_at,
            claimed_at: run.claimed_at,
            started_at: run.started_at,
            completed_at: run.ended_at,
            timeout_at: run
                .started_at
                .and_then(|at| after(at, request.timeout_seconds)),
            reason: state.reason,
            script: script.as_ref().map(|script| script.name.clone()),
            script_version: script.map(|script| script.version),
            agent_version: request.agent_version,
            digest: request.digest,
            attempt: state.attempt,
            exit_code,
            result_bytes: outcome
                .as_ref()
                .and_then(|outcome| outcome.result_chunks.as_ref())
                .map(|chunks| chunks.bytes),
            result_data: outcome.map(|outcome| outcome.result_data),
            timeout_seconds: request.timeout_seconds,
            retry_of: request.retry_of,
            duration_ms,
            actor: run.actor,
            through,
            stopped_by: run.stopped_by,
            held: state.held,
            given_parameters: run.given_parameters,
            hooks,
            hook_of: request.hook_of,
            callback,
            callback_of: request.callback_of,
        }
    }
}

fn hooks(run: &Run) -> Vec<HookView> {
    let view = |point: HookPoint| {
        let hook = point.of(&run.request.hooks)?;
        let its_turn = point == HookPoint::OnRunStart || run.state.status.is_final();
        its_turn.then(|| HookView {
            point,
            agent_name: hook.agent_name.clone(),
            run_id: run_of_hook(&run.request.run_id, point),
            error: run.hook_errors.get(&point).cloned(),
        })
    };
    HookPoint::ALL.into_iter().filter_map(view).collect()
}

fn callback(run: &Run) -> Option<CallbackView> {
    let session = run.calls_back()?;
    run.state.status.is_final().then(|| CallbackView {
        session_id: session.clone(),
        run_id: run_of_callback(&run.request.run_id),
        error: run.callback_error.clone(),
    })
}

fn after(at: Timestamp, seconds: u32) -> Option<Timestamp> {
    at.checked_add(SignedDuration::from_secs(seconds.into()))
        .ok()
}
