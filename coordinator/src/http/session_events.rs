//! `GET /sessions/{id}/events`: the life of a session as existing clients read it, told from the
//! steps of its runs and of their hooks. Nothing of it is stored a second time.

use super::error::ApiError;
use super::params::SessionInPath;
use super::sessions::not_found;
use super::state::Api;
use crate::app::{App, HookAnswer};
use axum::Json;
use axum::extract::State;
use events::run::{FailureReason, HookPoint, Run, RunStatus};
use events::{SessionId, Timestamp};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Value, json};

/// One thing that happened; fields that say nothing are there as `null`.
#[derive(Debug, Serialize, JsonSchema)]
struct SessionEvent {
    /// From 1, in the order of their times.
    id: usize,
    session_id: SessionId,
    event_type: &'static str,
    timestamp: Timestamp,
    /// Of a hook: its agent.
    tool_name: Option<String>,
    /// Of a hook: its parameters.
    tool_input: Option<Value>,
    /// Of a hook: its result.
    tool_output: Option<Value>,
    error: Option<String>,
    exit_code: Option<i32>,
    /// How a run ended; where it failed, why.
    reason: Option<Value>,
    role: Option<String>,
    /// Of a hook: where in the run's life it stands.
    content: Option<String>,
    result_text: Option<String>,
    result_data: Option<Value>,
}

pub async fn list(
    State(api): State<Api>,
    SessionInPath(session): SessionInPath,
) -> Result<Json<Value>, ApiError> {
    let session = session.ok_or_else(not_found)?;
    let runs = api.app.shown_session(&session)?;
    if runs.is_empty() {
        return Err(not_found());
    }
    let mut events = Vec::new();
    for run in runs {
        let run = api.app.with_result(run).await?;
        events.extend(of(&api.app, &run)?);
    }
    events.sort_by_key(|event| event.timestamp);
    for (event, id) in events.iter_mut().zip(1..) {
        event.id = id;
    }
    Ok(Json(json!({"events": events})))
}

/// How many there are of a run.
pub fn count(app: &App, run: &Run) -> Result<usize, ApiError> {
    Ok(of(app, run)?.len())
}

/// What the start of a run adds, without a number.
pub fn at_start(run: &Run) -> Option<Value> {
    run.started_at
        .map(|at| unnumbered(&event(run, "run_start", at)))
}

/// What the end of a run adds, which has its result in it.
pub fn at_end(run: &Run) -> Vec<Value> {
    ended(run).iter().map(unnumbered).collect()
}

/// What a hook's run adds to the session of the run it is for, as far as it has come.
pub fn of_its_hook(run: &Run, point: HookPoint, hook: &Run) -> Vec<Value> {
    of_hook(run, point, hook).iter().map(unnumbered).collect()
}

fn unnumbered(event: &SessionEvent) -> Value {
    let mut event = json!(event);
    if let Some(fields) = event.as_object_mut() {
        fields.shift_remove("id");
    }
    event
}

fn of(app: &App, run: &Run) -> Result<Vec<SessionEvent>, ApiError> {
    Ok(of_run(run, &app.hook_runs(run)?))
}

fn of_run(run: &Run, hooks: &[(HookPoint, Run)]) -> Vec<SessionEvent> {
    let mut events = Vec::new();
    for point in HookPoint::ALL {
        match hooks.iter().find(|(of, _)| *of == point) {
            Some((_, hook)) => events.extend(of_hook(run, point, hook)),
            None => events.extend(not_run(run, point)),
        }
    }
    events.extend(run.started_at.map(|at| event(run, "run_start", at)));
    events.extend(ended(run));
    events
}

fn ended(run: &Run) -> Vec<SessionEvent> {
    let mut events = Vec::new();
    let Some(at) = run.ended_at else {
        return events;
    };
    if let Some(outcome) = &run.outcome {
        events.push(SessionEvent {
            result_text: outcome.result_data.as_str().map(str::to_owned),
            result_data: Some(outcome.result_data.clone()),
            ..event(run, "result", at)
        });
    }
    events.push(SessionEvent {
        error: run.error.clone(),
        exit_code: run.outcome.as_ref().map(|outcome| outcome.exit_code),
        reason: Some(match run.state.reason {
            Some(reason) => json!(reason),
            None => json!(run.state.status),
        }),
        ..event(run, "run_completed", at)
    });
    events
}

fn of_hook(run: &Run, point: HookPoint, hook: &Run) -> Vec<SessionEvent> {
    let about = |event_type, at| SessionEvent {
        tool_name: Some(hook.request.agent.to_string()),
        tool_input: Some(Value::Object(hook.request.parameters.clone())),
        content: Some(point.to_string()),
        ..event(run, event_type, at)
    };
    let began = about("hook_start", hook.created_at);
    let Some(at) = hook.ended_at else {
        return vec![began];
    };
    let (event_type, error) = hook_end(point, hook);
    let ended = SessionEvent {
        tool_output: hook.outcome.as_ref().map(|o| o.result_data.clone()),
        error,
        exit_code: hook.outcome.as_ref().map(|outcome| outcome.exit_code),
        ..about(event_type, at)
    };
    vec![began, ended]
}

/// What became of a hook that has ended, and what it says beside that.
fn hook_end(point: HookPoint, hook: &Run) -> (&'static str, Option<String>) {
    match (hook.state.status, hook.state.reason, &hook.outcome) {
        (RunStatus::Completed, _, Some(outcome)) if point == HookPoint::OnRunStart => {
            match HookAnswer::read(&outcome.result_data) {
                Ok(HookAnswer::Continue { .. }) => ("hook_complete", None),
                Ok(HookAnswer::Block { block_reason }) => ("hook_blocked", block_reason),
                Err(error) => ("hook_failed", Some(error.to_string())),
            }
        }
        (RunStatus::Completed, ..) => ("hook_complete", None),
        (_, Some(FailureReason::Timeout), _) => ("hook_timeout", hook.error.clone()),
        (status, ..) => {
            let error = hook.error.clone();
            ("hook_failed", error.or_else(|| Some(status.to_string())))
        }
    }
}

/// A hook that could not even be requested.
fn not_run(run: &Run, point: HookPoint) -> Option<SessionEvent> {
    let error = run.hook_errors.get(&point)?;
    let at = match point {
        HookPoint::OnRunStart => run.queued_at,
        HookPoint::OnRunFinish => run.ended_at?,
    };
    let hook = point.of(&run.request.hooks)?;
    Some(SessionEvent {
        tool_name: Some(hook.agent_name.to_string()),
        error: Some(error.clone()),
        content: Some(point.to_string()),
        ..event(run, "hook_failed", at)
    })
}

fn event(run: &Run, event_type: &'static str, timestamp: Timestamp) -> SessionEvent {
    SessionEvent {
        id: 0,
        session_id: run.request.session_id.clone(),
        event_type,
        timestamp,
        tool_name: None,
        tool_input: None,
        tool_output: None,
        error: None,
        exit_code: None,
        reason: None,
        role: None,
        content: None,
        result_text: None,
        result_data: None,
    }
}
