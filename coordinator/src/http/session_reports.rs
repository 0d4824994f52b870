//! What executors of runners over HTTP say of a session: that they have begun one of their own, and what
//! it came to. Which runner that is follows from the run that the session is at.

use super::body::{JsonBody, too_large};
use super::error::ApiError;
use super::params::{SessionInPath, Speaker};
use super::session_view::SessionView;
use super::sessions::{not_found, view_of};
use super::state::Api;
use crate::app::Delivered;
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use events::run::BoundExecutor;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// As of runners that reach the broker.
const RESULT_MAX_BYTES: usize = 16 * 1024 * 1024;
/// Escapes make JSON longer than what it says.
pub const RESULT_BODY_MAX_BYTES: usize = 2 * RESULT_MAX_BYTES;

#[derive(Deserialize, JsonSchema)]
pub struct BindBody {
    executor_session_id: String,
    hostname: String,
    executor_profile: String,
    project_dir: Option<String>,
}

#[derive(Deserialize, JsonSchema)]
pub struct EventBody {
    event_type: String,
    result_text: Option<String>,
    result_data: Option<Value>,
}

#[derive(Serialize, JsonSchema)]
pub struct BoundView {
    ok: bool,
    session: SessionView,
}

#[derive(Serialize, JsonSchema)]
pub struct KeptView {
    ok: bool,
    /// Whether it became a part of the session.
    kept: bool,
}

pub async fn bind(
    State(api): State<Api>,
    Speaker(visitor): Speaker,
    SessionInPath(session): SessionInPath,
    JsonBody(body): JsonBody<BindBody>,
) -> Result<Json<BoundView>, ApiError> {
    let session = session.ok_or_else(not_found)?;
    let executor = BoundExecutor {
        session_id: short("executor_session_id", body.executor_session_id)?,
        hostname: short("hostname", body.hostname)?,
        profile: short("executor_profile", body.executor_profile)?,
        project_dir: body
            .project_dir
            .map(|dir| short("project_dir", dir))
            .transpose()?,
    };
    api.app.bind_session(&visitor, &session, executor).await?;
    Ok(Json(BoundView {
        ok: true,
        session: view_of(&api, &session)?,
    }))
}

/// Of all that executors tell of their sessions the result is kept.
pub async fn event(
    State(api): State<Api>,
    Speaker(visitor): Speaker,
    SessionInPath(session): SessionInPath,
    JsonBody(body): JsonBody<EventBody>,
) -> Result<(StatusCode, Json<KeptView>), ApiError> {
    let session = session.ok_or_else(not_found)?;
    let created = |kept| (StatusCode::CREATED, Json(KeptView { ok: true, kept }));
    if body.event_type != "result" {
        return Ok(created(false));
    }
    let result = match (body.result_data, body.result_text) {
        (Some(data), _) if !data.is_null() => data,
        (_, Some(text)) => Value::String(text),
        _ => Value::Null,
    };
    if result.to_string().len() > RESULT_MAX_BYTES {
        return Err(too_large());
    }
    let delivered = api.app.deliver_result(&visitor, &session, result).await?;
    Ok(created(delivered == Delivered::Kept))
}

/// What is kept and shown as it is.
fn short(field: &str, text: String) -> Result<String, ApiError> {
    const MAX_BYTES: usize = 4096;
    match text.len() <= MAX_BYTES {
        true => Ok(text),
        false => {
            let detail = format!(
                "{field} has {} bytes; at most {MAX_BYTES} are kept",
                text.len()
            );
            Err(ApiError::bad_request("invalid_session", detail))
        }
    }
}
