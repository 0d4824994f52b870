//! `/runs/{id}/logs`: what a run's script wrote, as one JSON document (`logs_document`), or as
//! events while it writes.

use super::chunk::{Chunk, Position, chunks};
use super::error::ApiError;
use super::logs_document;
use super::params::{QueryOf, RunInPath};
use super::state::Api;
use crate::app::{App, AppError, OutputItem};
use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use events::RunId;
use futures::stream::{self, Stream, StreamExt as _};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;
use std::convert::Infallible;
use std::time::Duration;

/// Shorter than the silence that proxies take for an end.
pub const KEEP_ALIVE: Duration = Duration::from_secs(15);
const LAST_EVENT_ID: &str = "last-event-id";

#[derive(Deserialize, JsonSchema)]
pub struct LogsQuery {
    /// Only what comes after the chunk of this id.
    after: Option<Position>,
}

pub async fn logs(
    State(api): State<Api>,
    RunInPath(run_id): RunInPath,
    QueryOf(query): QueryOf<LogsQuery>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    // An unknown run is an error, not an empty output.
    api.app.run(&run_id)?;
    let after = query.after.unwrap_or_default();
    if !wants_events(&headers) {
        return logs_document::answer(api.app, run_id, after).await;
    }
    let after = last_event_id(&headers)?.unwrap_or(after);
    let items = api.app.tail_output(&run_id, after.before()).await?;
    let events = events(api.app, run_id, items, after);
    // Whoever follows would hold up our end; they come back to the next one with their last id.
    let events = events.take_until(api.closing.cancelled_owned());
    let keep_alive = KeepAlive::new().interval(KEEP_ALIVE);
    let stream = Sse::new(events.map(Ok::<_, Infallible>)).keep_alive(keep_alive);
    Ok(stream.into_response())
}

/// Every chunk as an event as soon as it is stored, and `end` when the run has ended. After an error
/// there is no `end`: the client comes back for the rest.
fn events(
    app: App,
    run_id: RunId,
    items: impl Stream<Item = Result<OutputItem, AppError>> + Send + 'static,
    after: Position,
) -> impl Stream<Item = Event> + Send + 'static {
    let steps = items
        .map(Some)
        .chain(stream::once(std::future::ready(None)));
    let batches = steps.scan((), move |(), step| {
        let events = match step {
            Some(Ok(item)) => Some(chunks(item, after).filter_map(output).collect()),
            Some(Err(error)) => {
                tracing::warn!(%error, %run_id, "an output stream ends early");
                None
            }
            None => end(&app, &run_id).map(|event| vec![event]),
        };
        std::future::ready(events)
    });
    batches.flat_map(stream::iter)
}

fn output(chunk: Chunk) -> Option<Event> {
    let id = chunk.id.to_string();
    Event::default()
        .event("output")
        .id(id)
        .json_data(chunk)
        .ok()
}

fn end(app: &App, run_id: &RunId) -> Option<Event> {
    let status = app.run(run_id).ok()?.state.status;
    let event = Event::default().event("end");
    event.json_data(json!({"status": status})).ok()
}

/// Whether the client asks for events instead of one document.
pub fn wants_events(headers: &HeaderMap) -> bool {
    let accept = headers
        .get(header::ACCEPT)
        .and_then(|accept| accept.to_str().ok());
    accept.is_some_and(|accept| accept.contains("text/event-stream"))
}

fn last_event_id(headers: &HeaderMap) -> Result<Option<Position>, ApiError> {
    let Some(value) = headers.get(LAST_EVENT_ID) else {
        return Ok(None);
    };
    let position = value.to_str().unwrap_or_default().parse();
    position
        .map(Some)
        .map_err(|error: super::chunk::InvalidPosition| {
            ApiError::bad_request("invalid_last_event_id", error.to_string())
        })
}
