//! `/events`: what the log says, event by event.

use super::error::ApiError;
use super::state::Api;
use super::told;
use axum::extract::{Path, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};

pub async fn show(
    State(api): State<Api>,
    Path((stream, sequence)): Path<(String, String)>,
) -> Result<Response, ApiError> {
    let stream = told::stream(&stream)?;
    let sequence = sequence.parse().map_err(|_| {
        let text = schemas::shown(&sequence);
        ApiError::bad_request(
            "invalid_sequence",
            format!("{text} is no sequence; it is a whole number from 1 on"),
        )
    })?;
    let event = api.app.event(stream, sequence).await?;
    let json = [(header::CONTENT_TYPE, "application/json")];
    Ok((json, told::of_event(&event, None)).into_response())
}
