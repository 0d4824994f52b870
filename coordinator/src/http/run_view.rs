//! A run as clients see it. Fields that have no value are there as `null`.

use events::run::{ExecutionMode, FailureReason, Run, RunStatus};
use events::{Actor, Lane, RunId, RunnerId, SessionId, Timestamp};
use jiff::SignedDuration;
use schemas::{Demands, Digest, Name};
use serde::Serialize;
use serde_json::{Map, Value};

#[derive(Serialize)]
pub struct RunView {
    run_id: RunId,
    r#type: &'static str,
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
    script: Name,
    script_version: u32,
    digest: Digest,
    lane: Lane,
    attempt: u32,
    exit_code: Option<i32>,
    result_data: Option<Value>,
    timeout_seconds: u32,
    duration_ms: Option<u64>,
    /// Who asked for it, and through what.
    actor: Actor,
}

impl From<Run> for RunView {
    fn from(run: Run) -> Self {
        let Run {
            request,
            state,
            outcome,
            ..
        } = run;
        let exit_code = outcome.as_ref().map(|outcome| outcome.exit_code);
        let duration_ms = outcome.as_ref().map(|outcome| outcome.duration_ms);
        Self {
            run_id: request.run_id,
            r#type: "start_session",
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
            script: request.script,
            script_version: request.script_version,
            digest: request.digest,
            attempt: state.attempt,
            exit_code,
            result_data: outcome.map(|outcome| outcome.result_data),
            timeout_seconds: request.timeout_seconds,
            duration_ms,
            actor: run.actor,
        }
    }
}

fn after(at: Timestamp, seconds: u32) -> Option<Timestamp> {
    at.checked_add(SignedDuration::from_secs(seconds.into()))
        .ok()
}
