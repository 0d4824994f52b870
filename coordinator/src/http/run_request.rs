//! The body of `POST /runs`, as existing clients send it, and the command it becomes.

use super::error::ApiError;
use crate::app::{App, RetryCommand, RunCommand};
use axum::http::HeaderMap;
use events::run::{ExecutionMode, TraceParent};
use events::{RunId, SessionId};
use schemars::JsonSchema;
use schemas::{Demands, Name, Timeout};
use serde::Deserialize;
use serde_json::{Map, Value};

const IDEMPOTENCY_KEY: &str = "idempotency-key";
const TRACEPARENT: &str = "traceparent";
/// A UUID, a commit or a build's address fits; it is kept with the run.
const IDEMPOTENCY_KEY_MAX_BYTES: usize = 255;

#[derive(Debug, Deserialize, JsonSchema)]
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
#[derive(Debug, Default, Deserialize, JsonSchema)]
pub struct RetryBody {
    /// With the agent and the script as they are now.
    #[serde(default)]
    current: bool,
    #[serde(default)]
    fail_fast: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum RunType {
    #[default]
    StartSession,
    ResumeSession,
}

/// What is asked for.
pub enum Asked {
    Start(RunCommand),
    Resume(SessionId, RunCommand),
}

/// What is asked for, where it can be.
pub fn asked(app: &App, body: RunBody, headers: &HeaderMap) -> Result<Asked, ApiError> {
    if body.r#type == RunType::StartSession {
        let agent = body.agent_name.clone();
        let agent = agent.ok_or_else(|| missing("agent_name"))?;
        return Ok(Asked::Start(command(agent, body, headers)?));
    }
    let session_id = body.session_id.clone();
    let session_id = session_id.ok_or_else(|| missing("session_id"))?;
    let agent = app.agent_of_session(&session_id)?;
    let command = RunCommand {
        session_id: None,
        ..command(agent, body, headers)?
    };
    Ok(Asked::Resume(session_id, command))
}

fn command(agent: Name, body: RunBody, headers: &HeaderMap) -> Result<RunCommand, ApiError> {
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
        traceparent: traceparent(headers),
    })
}

/// The trace that the request belongs to, as it says itself.
pub fn traceparent_text(headers: &HeaderMap) -> Option<&str> {
    headers.get(TRACEPARENT)?.to_str().ok()
}

/// Under our own span of it, where spans are sent. One that is none is as good as absent: so W3C has it, and no
/// request fails for its trace.
fn traceparent(headers: &HeaderMap) -> Option<TraceParent> {
    let ours = startup::traces::current();
    ours.as_deref()
        .or_else(|| traceparent_text(headers))?
        .parse()
        .ok()
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
