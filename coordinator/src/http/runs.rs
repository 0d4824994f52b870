//! `/runs`: request, list, show, explain, wait for the end, stop.

use super::body::JsonBody;
use super::error::ApiError;
use super::moment::{At, then};
use super::params::{Caller, QueryOf, RunInPath, Since, Wait};
use super::record::RecordView;
use super::run_request::{self, Asked, RetryBody, RunBody};
use super::run_view::RunView;
use super::state::Api;
use crate::app::{AppError, Explanation, NoRunner, Requested, RunQuery, StopOutcome, Stopped};
use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use events::RunId;
use events::run::{Run, RunStatus};
use schemas::Name;
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
    since: Option<Since>,
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
    let requested = match run_request::asked(&api.app, body, &headers)? {
        Asked::Start(command) => api.app.request_run(&actor, command).await?,
        Asked::Resume(session_id, command) => {
            api.app.resume_session(&actor, &session_id, command).await?
        }
    };
    accepted(&api, requested, query.wait).await
}

/// The body may be left out.
pub async fn retry(
    State(api): State<Api>,
    Caller(actor): Caller,
    RunInPath(run_id): RunInPath,
    QueryOf(query): QueryOf<WaitQuery>,
    headers: HeaderMap,
    body: Option<JsonBody<RetryBody>>,
) -> Result<(StatusCode, Json<Value>), ApiError> {
    let JsonBody(body) = body.unwrap_or_else(|| JsonBody(RetryBody::default()));
    let command = run_request::retry(run_id, &body, &headers)?;
    let requested = api.app.retry_run(&actor, command).await?;
    accepted(&api, requested, query.wait).await
}

/// The answer to a request that is stored.
async fn accepted(
    api: &Api,
    requested: Requested,
    wait: Option<Wait>,
) -> Result<(StatusCode, Json<Value>), ApiError> {
    let Requested { run, warning } = requested;
    let warnings: Vec<Value> = warning.iter().map(no_runner).collect();
    let request = run.request;
    let mut answer = json!({
        "run_id": request.run_id,
        "session_id": request.session_id,
        // As existing clients expect it, however far the run has come meanwhile.
        "status": RunStatus::Pending,
        "warnings": warnings,
    });
    if let Some(first) = &request.retry_of {
        answer["retried_from"] = json!(first);
    }
    if let Some(wait) = wait {
        let run = waited(api, &request.run_id, wait).await?;
        answer["status"] = json!(run.state.status);
        answer["run"] = json!(RunView::from(api.app.with_result(run).await?));
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
        since: query.since.map(|since| since.before(api.app.now())),
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
    At(at): At,
) -> Result<Response, ApiError> {
    let run = match (query.wait, at) {
        (Some(wait), None) => waited(&api, &run_id, wait).await?,
        (None, None) => match api.app.run(&run_id) {
            Ok(run) => run,
            Err(error) => return gone(&api, &run_id, error),
        },
        (None, Some(moment)) => {
            let (as_of, run) = api.app.run_at(&run_id, moment).await?;
            let run = api.app.with_result(run).await?;
            return Ok(then(as_of, RunView::from(run)));
        }
        (Some(_), Some(_)) => {
            let detail = "What was does not change any more: leave out wait, or the moment";
            return Err(ApiError::bad_request("two_moments", detail));
        }
    };
    let run = api.app.with_result(run).await?;
    Ok(Json(RunView::from(run)).into_response())
}

/// What is left of a run whose steps are gone, or the error that there was no such run.
fn gone(api: &Api, run_id: &RunId, error: AppError) -> Result<Response, ApiError> {
    let Some(summary) = api.app.past_run(run_id)? else {
        return Err(error.into());
    };
    let mut view = json!(RecordView::from(summary));
    view["steps_gone"] = true.into();
    view["note"] = "Its steps, parameters, output and result were kept as long as RUNS keeps them, and are gone; this is its summary in HISTORY, which stays.".into();
    Ok(Json(view).into_response())
}

/// Why it is where it is.
pub async fn explain(
    State(api): State<Api>,
    RunInPath(run_id): RunInPath,
) -> Result<Json<Explanation>, ApiError> {
    Ok(Json(api.app.explain(&run_id)?))
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
    let NoRunner {
        lane_tags, closest, ..
    } = warning;
    let message = format!("{warning} The run waits for one.");
    let mut answer = json!({"code": "no_runner", "message": message, "lane_tags": lane_tags});
    if let Some((runner, missing)) = closest {
        answer["closest"] = json!({"runner_id": runner, "missing": missing});
    }
    if let Some(hint) = warning.hint() {
        answer["hint"] = hint.into();
    }
    answer
}
