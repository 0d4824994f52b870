//! `/sessions`: as much as a run needs. A procedural one is one session of the same life; one of a
//! model may go on with further runs, and is then what its newest run is.

use super::error::ApiError;
use super::params::{Caller, SessionInPath};
use super::runs;
use super::state::Api;
use axum::Json;
use axum::extract::State;
use events::SessionId;
use events::run::{Run, RunStatus};
use serde_json::{Value, json};

pub async fn status(
    State(api): State<Api>,
    SessionInPath(session): SessionInPath,
) -> Result<Json<Value>, ApiError> {
    let run = match session {
        Some(session) => api.app.runs_of_session(&session)?.pop(),
        None => None,
    };
    let status = run.map_or("not_existent", |run| session_status(run.state.status));
    Ok(Json(json!({"status": status})))
}

pub async fn result(
    State(api): State<Api>,
    SessionInPath(session): SessionInPath,
) -> Result<Json<Value>, ApiError> {
    let run = found(&api, session)?;
    if !run.state.status.is_final() {
        return Err(ApiError::bad_request(
            "session_not_finished",
            "Session not finished or idle",
        ));
    }
    let run = api.app.with_result(run).await?;
    let data = run.outcome.map(|outcome| outcome.result_data);
    let text = data.as_ref().and_then(Value::as_str);
    Ok(Json(json!({"result_text": text, "result_data": data})))
}

pub async fn stop(
    State(api): State<Api>,
    Caller(actor): Caller,
    SessionInPath(session): SessionInPath,
) -> Result<Json<runs::StoppedView>, ApiError> {
    let run = found(&api, session)?;
    let stopped = api.app.stop_run(&actor, &run.request.run_id).await?;
    Ok(Json(runs::stopped(&stopped)))
}

fn found(api: &Api, session: Option<SessionId>) -> Result<Run, ApiError> {
    let session = session.ok_or_else(not_found)?;
    let newest = api.app.runs_of_session(&session)?.pop();
    newest.ok_or_else(not_found)
}

pub fn not_found() -> ApiError {
    ApiError::not_found("session_not_found", "Session not found")
}

fn session_status(status: RunStatus) -> &'static str {
    match status {
        RunStatus::Pending | RunStatus::Claimed => "pending",
        RunStatus::Running => "running",
        RunStatus::Stopping => "stopping",
        RunStatus::Completed => "finished",
        RunStatus::Failed => "failed",
        RunStatus::Stopped => "stopped",
    }
}
