//! `/runs`: request, list, show, wait for the end, stop.

use super::body::JsonBody;
use super::error::ApiError;
use super::params::{Caller, QueryOf, RunInPath, Wait};
use super::run_request::{self, RunBody};
use super::run_view::RunView;
use super::state::Api;
use crate::app::{NoRunner, RunQuery, StopOutcome, Stopped};
use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use events::RunId;
use events::run::{Run, RunStatus};
use schemas::{Name, Tag};
use serde::Deserialize;
use serde_json::{Value, json};

/// Runs on a page where the client does not say.
const PAGE_DEFAULT: usize = 50;
/// Each may carry 256 KiB of parameters and a result of 512 KiB.
const PAGE_MAX: usize = 200;

#[derive(Deserialize)]
pub struct WaitQuery {
    wait: Option<Wait>,
}

#[derive(Deserialize)]
pub struct ListQuery {
    status: Option<RunStatus>,
    agent: Option<Name>,
    /// How the run id begins.
    prefix: Option<String>,
    limit: Option<usize>,
    /// The `next_cursor` of the page before.
    cursor: Option<u64>,
}

pub async fn request(
    State(api): State<Api>,
    Caller(actor): Caller,
    QueryOf(query): QueryOf<WaitQuery>,
    headers: HeaderMap,
    JsonBody(body): JsonBody<RunBody>,
) -> Result<(StatusCode, Json<Value>), ApiError> {
    let command = run_request::command(&api.app, body, &headers)?;
    let requested = api.app.request_run(&actor, command).await?;
    let warnings: Vec<Value> = requested.warning.iter().map(no_runner).collect();
    let request = requested.run.request;
    let mut answer = json!({
        "run_id": request.run_id,
        "session_id": request.session_id,
        // As existing clients expect it, however far the run has come meanwhile.
        "status": RunStatus::Pending,
        "warnings": warnings,
    });
    if let Some(wait) = query.wait {
        let run = waited(&api, &request.run_id, wait).await?;
        answer["status"] = json!(run.state.status);
        answer["run"] = json!(RunView::from(run));
    }
    Ok((StatusCode::CREATED, Json(answer)))
}

pub async fn list(
    State(api): State<Api>,
    QueryOf(query): QueryOf<ListQuery>,
) -> Result<Json<Value>, ApiError> {
    let limit = query.limit.unwrap_or(PAGE_DEFAULT).clamp(1, PAGE_MAX);
    let page = api.app.runs(&RunQuery {
        status: query.status,
        agent: query.agent,
        prefix: query.prefix.filter(|prefix| !prefix.is_empty()),
        limit,
        cursor: query.cursor,
    })?;
    let runs: Vec<RunView> = page.runs.into_iter().map(RunView::from).collect();
    let mut answer = json!({"runs": runs});
    if let Some(next) = page.next {
        answer["next_cursor"] = next.to_string().into();
    }
    Ok(Json(answer))
}

pub async fn show(
    State(api): State<Api>,
    RunInPath(run_id): RunInPath,
    QueryOf(query): QueryOf<WaitQuery>,
) -> Result<Json<RunView>, ApiError> {
    let run = match query.wait {
        Some(wait) => waited(&api, &run_id, wait).await?,
        None => api.app.run(&run_id)?,
    };
    Ok(Json(run.into()))
}

pub async fn stop(
    State(api): State<Api>,
    Caller(actor): Caller,
    RunInPath(run_id): RunInPath,
) -> Result<Json<Value>, ApiError> {
    Ok(Json(stopped(&api.app.stop_run(&actor, &run_id).await?)))
}

/// The answer to a stop; also what has ended already answers well.
pub fn stopped(stopped: &Stopped) -> Value {
    let Stopped { run, outcome } = stopped;
    let status = match outcome {
        StopOutcome::Stopping => "stopping",
        StopOutcome::Stopped | StopOutcome::HadEnded => "stopped",
    };
    let mut answer = json!({
        "ok": true,
        "run_id": run.request.run_id,
        "session_id": run.request.session_id,
        "status": status,
    });
    if *outcome == StopOutcome::HadEnded {
        answer["message"] = format!("The run had ended already: {}", run.state.status).into();
    }
    answer
}

/// The run at its end, or as it stands when time is up or we are told to go.
async fn waited(api: &Api, run_id: &RunId, Wait(patience): Wait) -> Result<Run, ApiError> {
    tokio::select! {
        run = api.app.wait_for_end(run_id, patience) => Ok(run?),
        () = api.closing.cancelled() => Ok(api.app.run(run_id)?),
    }
}

fn no_runner(warning: &NoRunner) -> Value {
    let NoRunner { lane_tags, closest } = warning;
    let tags: Vec<&Tag> = lane_tags.iter().collect();
    let mut message =
        format!("No runner that is online offers all of {lane_tags}; the run waits for one");
    let mut answer = json!({"code": "no_runner", "lane_tags": tags});
    if let Some((runner, missing)) = closest {
        let names: Vec<&str> = missing.iter().map(Tag::as_str).collect();
        message = format!(
            "{message}. Closest is {runner}, which lacks {}",
            names.join(", ")
        );
        answer["closest"] = json!({"runner_id": runner, "missing": missing});
    }
    answer["message"] = message.into();
    answer
}
