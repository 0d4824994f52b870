//! `/healthz` and `/readyz`, for whoever starts us and sends us requests: that we answer, and that an
//! answer would be of use. They tell strangers no more than that.

use super::error::ApiError;
use super::state::Api;
use axum::Json;
use axum::extract::State;
use serde_json::{Value, json};

/// Events stored and not yet applied. More, and what we show is of another minute; a busy moment
/// is far below.
const LAG_MAX: u64 = 1_000;

/// We are there, whatever the broker does: starting us again would not bring it back.
pub async fn alive() -> Json<Value> {
    Json(json!({"status": "ok"}))
}

/// The broker is there, and we have read what it holds.
pub async fn ready(State(api): State<Api>) -> Result<Json<Value>, ApiError> {
    let status = api.app.status().await?;
    let behind = |known: &crate::app::StreamStatus| Some(known.last?.saturating_sub(known.applied));
    let lag: Option<u64> = status.streams.iter().map(behind).sum();
    match lag {
        Some(lag) if status.broker.connected && lag <= LAG_MAX => {
            Ok(Json(json!({"status": "ready", "lag": lag})))
        }
        Some(lag) if status.broker.connected => Err(ApiError::unavailable(format!(
            "Still reading: {lag} events behind"
        ))),
        _ => Err(ApiError::unavailable("The broker does not answer")),
    }
}
