//! `/runs`: request, list, show, explain, wait for the end, stop.

use super::body::JsonBody;
use super::error::ApiError;
use super::moment::{At, then};
use super::page_cache::SentPage;
use super::page_link::{self, Listed};
use super::params::{Caller, QueryOf, RunInPath, Since, Wait};
use super::record::RecordView;
use super::run_request::{self, Asked, RetryBody, RunBody};
use super::run_view::RunView;
use super::state::Api;
use crate::app::{AppError, Explanation, NoRunner, Requested, RunQuery, StopOutcome, Stopped};
use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::{IntoResponse as _, Response};
use events::run::{Run, RunStatus};
use events::{LaneTags, RunId, RunnerId, SessionId};
use schemars::JsonSchema;
use schemas::{Name, Tag};
use serde::{Deserialize, Serialize};
use serde_json::json;

/// Runs on a page where the client does not say.
const PAGE_DEFAULT: usize = 50;
/// Each may carry 256 KiB of parameters and a result of 512 KiB.
const PAGE_MAX: usize = 200;

#[derive(Deserialize, JsonSchema)]
pub struct WaitQuery {
    wait: Option<Wait>,
}

#[derive(Deserialize, JsonSchema)]
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

/// The answer to a request that is stored.
#[derive(Serialize, JsonSchema)]
pub struct RequestedView {
    run_id: RunId,
    session_id: SessionId,
    /// `pending`, as existing clients expect it, unless the request waited for the end.
    status: RunStatus,
    warnings: Vec<Warning>,
    /// The run that this one repeats.
    #[serde(skip_serializing_if = "Option::is_none")]
    retried_from: Option<RunId>,
    /// Where the request waited for its end.
    #[serde(skip_serializing_if = "Option::is_none")]
    run: Option<RunView>,
}

/// No runner could take the run now.
#[derive(Serialize, JsonSchema)]
struct Warning {
    code: &'static str,
    message: String,
    lane_tags: LaneTags,
    #[serde(skip_serializing_if = "Option::is_none")]
    closest: Option<Closest>,
    #[serde(skip_serializing_if = "Option::is_none")]
    hint: Option<String>,
}

/// The runner that lacks the fewest tags.
#[derive(Serialize, JsonSchema)]
struct Closest {
    runner_id: RunnerId,
    missing: Vec<Tag>,
}

#[derive(Serialize, JsonSchema)]
pub struct RunsView {
    runs: Vec<RunView>,
    /// Where there are more.
    #[serde(skip_serializing_if = "Option::is_none")]
    next_cursor: Option<String>,
}

#[derive(Serialize, JsonSchema)]
pub struct StoppedView {
    ok: bool,
    run_id: RunId,
    session_id: SessionId,
    status: StopStatus,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<String>,
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum StopStatus {
    Stopping,
    Stopped,
}

pub async fn request(
    State(api): State<Api>,
    Caller(actor): Caller,
    QueryOf(query): QueryOf<WaitQuery>,
    headers: HeaderMap,
    JsonBody(body): JsonBody<RunBody>,
) -> Result<(StatusCode, Json<RequestedView>), ApiError> {
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
) -> Result<(StatusCode, Json<RequestedView>), ApiError> {
    let JsonBody(body) = body.unwrap_or_else(|| JsonBody(RetryBody::default()));
    let command = run_request::retry(run_id, &body, &headers)?;
    let requested = api.app.retry_run(&actor, command).await?;
    accepted(&api, requested, query.wait).await
}

async fn accepted(
    api: &Api,
    requested: Requested,
    wait: Option<Wait>,
) -> Result<(StatusCode, Json<RequestedView>), ApiError> {
    let Requested { run, warning } = requested;
    let request = run.request;
    let mut answer = RequestedView {
        run_id: request.run_id,
        session_id: request.session_id,
        status: RunStatus::Pending,
        warnings: warning.iter().map(no_runner).collect(),
        retried_from: request.retry_of,
        run: None,
    };
    if let Some(wait) = wait {
        let run = waited(api, &answer.run_id, wait).await?;
        answer.status = run.state.status;
        answer.run = Some(RunView::from(api.app.with_result(run).await?));
    }
    Ok((StatusCode::CREATED, Json(answer)))
}

pub async fn list(
    State(api): State<Api>,
    uri: Uri,
    QueryOf(query): QueryOf<ListQuery>,
) -> Result<Listed<RunsView>, ApiError> {
    // What `since` means goes on with the clock.
    let address = query.since.is_none().then(|| uri.to_string());
    let revision = api.app.projections().runs_revision();
    let kept = address
        .as_deref()
        .and_then(|address| api.pages.get(address, revision));
    if let Some(kept) = kept {
        return Ok(kept.into());
    }
    let limit = query.limit.unwrap_or(PAGE_DEFAULT).clamp(1, PAGE_MAX);
    let page = api.app.runs(&RunQuery {
        status: query.status,
        agent: query.agent,
        since: query.since.map(|since| since.before(api.app.now())),
        prefix: query.prefix.filter(|prefix| !prefix.is_empty()),
        limit,
        cursor: query.cursor,
    })?;
    let next_cursor = page.next.map(|next| next.to_string());
    let next = next_cursor
        .as_deref()
        .map(|cursor| page_link::next(&uri, cursor));
    let runs = page.runs.into_iter().map(RunView::from).collect();
    let body = serde_json::to_vec(&RunsView { runs, next_cursor });
    let body = body.map_err(|_| ApiError::internal())?.into();
    let page = SentPage { body, next };
    if let Some(address) = address {
        api.pages.keep(&address, revision, &page);
    }
    Ok(page.into())
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
) -> Result<Json<StoppedView>, ApiError> {
    Ok(Json(stopped(&api.app.stop_run(&actor, &run_id).await?)))
}

/// The answer to a stop; also what has ended already answers well.
pub fn stopped(stopped: &Stopped) -> StoppedView {
    let Stopped { run, outcome } = stopped;
    let had_ended = *outcome == StopOutcome::HadEnded;
    StoppedView {
        ok: true,
        run_id: run.request.run_id.clone(),
        session_id: run.request.session_id.clone(),
        status: match outcome {
            StopOutcome::Stopping => StopStatus::Stopping,
            StopOutcome::Stopped | StopOutcome::HadEnded => StopStatus::Stopped,
        },
        message: had_ended.then(|| format!("The run had ended already: {}", run.state.status)),
    }
}

/// The run at its end, or as it stands when time is up or we are told to go.
async fn waited(api: &Api, run_id: &RunId, Wait(patience): Wait) -> Result<Run, ApiError> {
    tokio::select! {
        run = api.app.wait_for_end(run_id, patience) => Ok(run?),
        () = api.closing.cancelled() => Ok(api.app.run(run_id)?),
    }
}

fn no_runner(nobody: &NoRunner) -> Warning {
    let closest = nobody.closest.as_ref();
    Warning {
        code: "no_runner",
        message: format!("{nobody} The run waits for one."),
        lane_tags: nobody.lane_tags.clone(),
        closest: closest.map(|(runner_id, missing)| Closest {
            runner_id: runner_id.clone(),
            missing: missing.clone(),
        }),
        hint: nobody.hint().map(str::to_owned),
    }
}
