//! `/healthz` and `/readyz`, for whoever starts us and sends us requests: that we answer, and that an
//! answer would be of use. They tell strangers no more than that.

use super::error::ApiError;
use super::state::Api;
use axum::Json;
use axum::extract::State;
use schemars::JsonSchema;
use serde::Serialize;

/// Events stored and not yet applied. More, and what we show is of another minute; a busy moment
/// is far below.
const LAG_MAX: u64 = 1_000;

/// We answer.
#[derive(Serialize, JsonSchema)]
pub struct Alive {
    status: &'static str,
}

/// And it is of use.
#[derive(Serialize, JsonSchema)]
pub struct Ready {
    status: &'static str,
    /// Events stored and not yet applied.
    lag: u64,
}

/// We are there, whatever the broker does: starting us again would not bring it back.
pub async fn alive() -> Json<Alive> {
    Json(Alive { status: "ok" })
}

/// The broker is there, and we have read what it holds.
pub async fn ready(State(api): State<Api>) -> Result<Json<Ready>, ApiError> {
    let status = api.app.status().await?;
    let behind = |known: &crate::app::StreamStatus| Some(known.last?.saturating_sub(known.applied));
    let lag: Option<u64> = status.streams.iter().map(behind).sum();
    match lag {
        Some(lag) if status.broker.connected && lag <= LAG_MAX => Ok(Json(Ready {
            status: "ready",
            lag,
        })),
        Some(lag) if status.broker.connected => Err(ApiError::unavailable(format!(
            "Still reading: {lag} events behind"
        ))),
        _ => Err(ApiError::unavailable("The broker does not answer")),
    }
}
