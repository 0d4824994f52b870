//! `/sessions`: list, show, status, result, stop, delete. A procedural run is one session of the same
//! life; one of a model may go on with further runs, and is then what its newest run is.

use super::error::ApiError;
use super::params::{Caller, QueryOf, SessionInPath};
use super::runs;
use super::session_events;
use super::session_view::{SessionView, session_status};
use super::state::Api;
use crate::app::SessionPage;
use axum::Json;
use axum::extract::State;
use events::SessionId;
use events::run::Run;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// Sessions on a page where the client does not say: as many as existing clients show.
const PAGE_DEFAULT: usize = 200;
const PAGE_MAX: usize = 1_000;

#[derive(Serialize, JsonSchema)]
pub struct SessionsView {
    sessions: Vec<SessionView>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_cursor: Option<String>,
}

#[derive(Serialize, JsonSchema)]
pub struct ShownView {
    session: SessionView,
}

#[derive(Serialize, JsonSchema)]
pub struct DeletedView {
    ok: bool,
    session_id: SessionId,
    deleted: DeletedCounts,
    runs_removed_from_cache: usize,
}

#[derive(Serialize, JsonSchema)]
struct DeletedCounts {
    session: bool,
    events_count: usize,
    runs_count: usize,
}

#[derive(Deserialize, JsonSchema)]
pub struct ListQuery {
    limit: Option<usize>,
    /// The `next_cursor` of the page before.
    cursor: Option<u64>,
}

pub async fn list(
    State(api): State<Api>,
    QueryOf(query): QueryOf<ListQuery>,
) -> Result<Json<SessionsView>, ApiError> {
    let limit = query.limit.unwrap_or(PAGE_DEFAULT).clamp(1, PAGE_MAX);
    let page = api.app.sessions(limit, query.cursor)?;
    Ok(Json(SessionsView {
        sessions: views(&api, &page),
        next_cursor: page.next.map(|next| next.to_string()),
    }))
}

/// The newest, as a stream of events begins with them.
pub fn newest(api: &Api) -> Result<Vec<SessionView>, ApiError> {
    Ok(views(api, &api.app.sessions(PAGE_DEFAULT, None)?))
}

fn views(api: &Api, page: &SessionPage) -> Vec<SessionView> {
    let sessions = page.sessions.iter();
    sessions
        .filter_map(|runs| SessionView::of(&api.app, runs))
        .collect()
}

pub async fn show(
    State(api): State<Api>,
    SessionInPath(session): SessionInPath,
) -> Result<Json<ShownView>, ApiError> {
    let session = session.ok_or_else(not_found)?;
    Ok(Json(ShownView {
        session: view_of(&api, &session)?,
    }))
}

/// Hides it: the log keeps what happened, and its runs are shown as before.
pub async fn delete(
    State(api): State<Api>,
    Caller(actor): Caller,
    SessionInPath(session): SessionInPath,
) -> Result<Json<DeletedView>, ApiError> {
    let session = session.ok_or_else(not_found)?;
    let runs = api.app.delete_session(&actor, &session).await?;
    let events = runs.iter().map(|run| session_events::count(&api.app, run));
    let events: usize = events.sum::<Result<usize, ApiError>>()?;
    Ok(Json(DeletedView {
        ok: true,
        session_id: session,
        deleted: DeletedCounts {
            session: true,
            events_count: events,
            runs_count: runs.len(),
        },
        runs_removed_from_cache: runs.len(),
    }))
}

pub async fn status(
    State(api): State<Api>,
    SessionInPath(session): SessionInPath,
) -> Result<Json<Value>, ApiError> {
    let run = match session {
        Some(session) => api.app.shown_session(&session)?.pop(),
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
    let newest = api.app.shown_session(&session)?.pop();
    newest.ok_or_else(not_found)
}

/// A session as clients see it.
pub fn view_of(api: &Api, session: &SessionId) -> Result<SessionView, ApiError> {
    let runs = api.app.shown_session(session)?;
    SessionView::of(&api.app, &runs).ok_or_else(not_found)
}

pub fn not_found() -> ApiError {
    ApiError::not_found("session_not_found", "Session not found")
}
