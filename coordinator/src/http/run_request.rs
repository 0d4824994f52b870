//! The body of `POST /runs`, as existing clients send it, and the command it becomes.

use super::error::ApiError;
use crate::app::{App, RetryCommand, RunCommand};
use axum::http::{HeaderMap, StatusCode};
use events::run::ExecutionMode;
use events::{RunId, SessionId};
use schemas::{Demands, Name, Timeout};
use serde::Deserialize;
use serde_json::{Map, Value};

const IDEMPOTENCY_KEY: &str = "idempotency-key";
/// A UUID, a commit or a build's address fits; it is kept with the run.
const IDEMPOTENCY_KEY_MAX_BYTES: usize = 255;

#[derive(Debug, Deserialize)]
pub struct RunBody {
    #[serde(default)]
    r#type: RunType,
    agent_name: Option<Name>,
    parameters: Option<Map<String, Value>>,
    project_dir: Option<String>,
    session_id: Option<SessionId>,
    parent_session_id: Option<SessionId>,
    execution_mode: Option<ExecutionMode>,
    additional_demands: Option<Demands>,
    timeout_seconds: Option<Timeout>,
    /// How long it may wait while nobody could take it.
    schedule_timeout_seconds: Option<Timeout>,
    /// Refuse it where nobody could take it now.
    #[serde(default)]
    fail_fast: bool,
}

/// The body of `POST /runs/{id}/retry`.
#[derive(Debug, Default, Deserialize)]
pub struct RetryBody {
    /// With the agent and the script as they are now.
    #[serde(default)]
    current: bool,
    #[serde(default)]
    fail_fast: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum RunType {
    #[default]
    StartSession,
    ResumeSession,
}

/// What is asked for, where it can be.
pub fn command(app: &App, body: RunBody, headers: &HeaderMap) -> Result<RunCommand, ApiError> {
    if body.r#type == RunType::ResumeSession {
        return Err(cannot_resume(app, &body));
    }
    let agent = body.agent_name.ok_or_else(|| missing("agent_name"))?;
    Ok(RunCommand {
        agent,
        parameters: body.parameters.unwrap_or_default(),
        additional_demands: body.additional_demands.unwrap_or_default(),
        project_dir: body.project_dir.filter(|dir| !dir.is_empty()),
        session_id: body.session_id,
        parent_session_id: body.parent_session_id,
        execution_mode: body.execution_mode.unwrap_or_default(),
        timeout_seconds: body.timeout_seconds,
        schedule_timeout: body.schedule_timeout_seconds,
        fail_fast: body.fail_fast,
        idempotency_key: idempotency_key(headers)?,
    })
}

/// Which run is to be repeated, and how.
pub fn retry(
    run_id: RunId,
    body: &RetryBody,
    headers: &HeaderMap,
) -> Result<RetryCommand, ApiError> {
    Ok(RetryCommand {
        run_id,
        current: body.current,
        fail_fast: body.fail_fast,
        idempotency_key: idempotency_key(headers)?,
    })
}

/// Every run there is so far is procedural, and such a session ends with its run.
fn cannot_resume(app: &App, body: &RunBody) -> ApiError {
    let Some(session_id) = &body.session_id else {
        return missing("session_id");
    };
    let run = match app.run_of_session(session_id) {
        Ok(Some(run)) => run,
        Ok(None) => return ApiError::not_found("session_not_found", "Session not found"),
        Err(error) => return error.into(),
    };
    let agent = run.request.agent;
    let mut more = Map::new();
    more.insert("agent_name".to_owned(), agent.as_str().into());
    let message =
        format!("Agent {agent} is procedural, and a procedural session cannot be resumed");
    ApiError::detailed(
        StatusCode::BAD_REQUEST,
        "procedural_agent_no_resume",
        message,
        more,
    )
    .hint("start a new session instead: type start_session")
}

fn idempotency_key(headers: &HeaderMap) -> Result<Option<String>, ApiError> {
    let Some(value) = headers.get(IDEMPOTENCY_KEY) else {
        return Ok(None);
    };
    match value.to_str() {
        Ok(key) if (1..=IDEMPOTENCY_KEY_MAX_BYTES).contains(&key.len()) => Ok(Some(key.to_owned())),
        _ => Err(ApiError::bad_request(
            "invalid_idempotency_key",
            format!(
                "An Idempotency-Key is 1 to {IDEMPOTENCY_KEY_MAX_BYTES} printable ASCII characters"
            ),
        )),
    }
}

fn missing(field: &str) -> ApiError {
    let loc = ["body".into(), field.into()];
    ApiError::shape("missing", &loc, "Field required", &Value::Null)
}
