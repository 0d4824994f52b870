//! `/runner/…`: runners that reach us and not the broker register, poll for what there is to do, and say
//! how it went. The paths, fields and codes are `WIRE.md`'s.

use super::agent_view::AgentView;
use super::body::JsonBody;
use super::error::ApiError;
use super::params::{QueryOf, RunInPath, Speaker};
use super::run_view::RunView;
use super::state::Api;
use crate::app::{Application, PollAnswer, Report};
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use events::run::{Run, RunStatus};
use events::{RunId, RunnerId, SessionId};
use schemars::JsonSchema;
use schemas::{CommandAgent, Name, Tag};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use std::time::Duration;

/// How long a poll waits; clients and proxies have more patience.
const POLL_TIMEOUT: Duration = Duration::from_secs(30);
/// Heartbeats matter to those that do not poll for a while.
const HEARTBEAT_INTERVAL_SECONDS: u64 = 60;
/// What a host, a directory or a profile may be called.
const TEXT_MAX_BYTES: usize = 4096;
/// Of an executor's own words, as JSON; they are kept and shown, and mean nothing to us.
const EXECUTOR_MAX_BYTES: usize = 64 * 1024;
/// Of the agents it announces, as JSON; they stand in one event.
const AGENTS_MAX_BYTES: usize = 512 * 1024;

#[derive(Deserialize, JsonSchema)]
pub struct RegisterBody {
    hostname: String,
    project_dir: String,
    executor_profile: String,
    executor: Map<String, Value>,
    tags: Option<Vec<String>>,
    require_matching_tags: Option<bool>,
    #[schemars(with = "Option<Vec<Value>>")]
    agents: Option<Vec<CommandAgent>>,
}

#[derive(Deserialize, JsonSchema)]
pub struct PollQuery {
    runner_id: RunnerId,
}

#[derive(Deserialize, JsonSchema)]
pub struct RunnerBody {
    runner_id: RunnerId,
}

#[derive(Deserialize, JsonSchema)]
pub struct FailedBody {
    runner_id: RunnerId,
    error: String,
}

#[derive(Deserialize, JsonSchema)]
pub struct StoppedBody {
    runner_id: RunnerId,
    /// Its name, or its number.
    signal: Option<Value>,
}

#[derive(Serialize, JsonSchema)]
pub struct RegisteredView {
    runner_id: RunnerId,
    poll_endpoint: &'static str,
    poll_timeout_seconds: u64,
    heartbeat_interval_seconds: u64,
}

/// One answer of a poll; it has the fields of one line of the contract, and no others.
#[derive(Default, Serialize, JsonSchema)]
#[schemars(rename = "PollAnswer")]
pub struct PollView {
    #[serde(skip_serializing_if = "Option::is_none")]
    deregistered: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    stop_sessions: Option<Vec<SessionId>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sync_scripts: Option<Vec<Name>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    remove_scripts: Option<Vec<Name>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    run: Option<HandedView>,
}

/// A run as its runner gets it: with all it needs to know of the agent.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "HandedRun")]
struct HandedView {
    #[serde(flatten)]
    run: RunView,
    resolved_agent_blueprint: Option<AgentView>,
}

#[derive(Serialize, JsonSchema)]
pub struct HeardView {
    ok: bool,
}

#[derive(Serialize, JsonSchema)]
pub struct ReportedView {
    ok: bool,
    run_id: RunId,
    status: RunStatus,
}

pub async fn register(
    State(api): State<Api>,
    Speaker(visitor): Speaker,
    JsonBody(body): JsonBody<RegisterBody>,
) -> Result<Json<RegisteredView>, ApiError> {
    let application = application(body)?;
    let runner_id = api.app.register_over_http(&visitor, application).await?;
    Ok(Json(RegisteredView {
        runner_id,
        poll_endpoint: "/runner/runs",
        poll_timeout_seconds: POLL_TIMEOUT.as_secs(),
        heartbeat_interval_seconds: HEARTBEAT_INTERVAL_SECONDS,
    }))
}

/// Whoever waits when we are about to go asks another coordinator, or us when we are back.
pub async fn poll(
    State(api): State<Api>,
    Speaker(visitor): Speaker,
    QueryOf(query): QueryOf<PollQuery>,
) -> Result<Response, ApiError> {
    let answer = tokio::select! {
        answer = api.app.poll(&visitor, &query.runner_id, POLL_TIMEOUT) => answer?,
        () = api.closing.cancelled() => PollAnswer::Nothing,
    };
    let nothing = PollView::default();
    let told = match answer {
        PollAnswer::Nothing => return Ok(StatusCode::NO_CONTENT.into_response()),
        PollAnswer::Deregistered => PollView {
            deregistered: Some(true),
            ..nothing
        },
        PollAnswer::Stop(sessions) => PollView {
            stop_sessions: Some(sessions),
            ..nothing
        },
        PollAnswer::Scripts { sync, remove } => PollView {
            sync_scripts: Some(sync),
            remove_scripts: Some(remove),
            ..nothing
        },
        PollAnswer::Run(run) => PollView {
            run: Some(handed(&api, *run)),
            ..nothing
        },
    };
    Ok(Json(told).into_response())
}

pub async fn heartbeat(
    State(api): State<Api>,
    Speaker(visitor): Speaker,
    JsonBody(body): JsonBody<RunnerBody>,
) -> Result<Json<HeardView>, ApiError> {
    api.app.heard_over_http(&visitor, &body.runner_id).await?;
    Ok(Json(HeardView { ok: true }))
}

pub async fn started(
    State(api): State<Api>,
    speaker: Speaker,
    run: RunInPath,
    JsonBody(body): JsonBody<RunnerBody>,
) -> Result<Json<ReportedView>, ApiError> {
    reported(&api, speaker, run, &body.runner_id, Report::Started).await
}

pub async fn completed(
    State(api): State<Api>,
    speaker: Speaker,
    run: RunInPath,
    JsonBody(body): JsonBody<RunnerBody>,
) -> Result<Json<ReportedView>, ApiError> {
    reported(&api, speaker, run, &body.runner_id, Report::Completed).await
}

pub async fn failed(
    State(api): State<Api>,
    speaker: Speaker,
    run: RunInPath,
    JsonBody(body): JsonBody<FailedBody>,
) -> Result<Json<ReportedView>, ApiError> {
    let error = schemas::shown(&body.error);
    reported(
        &api,
        speaker,
        run,
        &body.runner_id,
        Report::Failed { error },
    )
    .await
}

pub async fn stopped(
    State(api): State<Api>,
    speaker: Speaker,
    run: RunInPath,
    JsonBody(body): JsonBody<StoppedBody>,
) -> Result<Json<ReportedView>, ApiError> {
    let signal = match body.signal {
        Some(Value::String(name)) => schemas::shown(&name),
        Some(Value::Number(number)) => format!("signal {number}"),
        _ => "a signal".to_owned(),
    };
    reported(
        &api,
        speaker,
        run,
        &body.runner_id,
        Report::Stopped { signal },
    )
    .await
}

async fn reported(
    api: &Api,
    Speaker(visitor): Speaker,
    RunInPath(run_id): RunInPath,
    runner_id: &RunnerId,
    report: Report,
) -> Result<Json<ReportedView>, ApiError> {
    let run = api
        .app
        .report(&visitor, runner_id, &run_id, &report)
        .await?;
    Ok(Json(ReportedView {
        ok: true,
        run_id,
        status: run.state.status,
    }))
}

fn handed(api: &Api, run: Run) -> HandedView {
    let agent = api.app.agent(&run.request.agent).ok();
    HandedView {
        run: RunView::from(run),
        resolved_agent_blueprint: agent.map(AgentView::resolved),
    }
}

fn application(body: RegisterBody) -> Result<Application, ApiError> {
    let refused = |detail: String| ApiError::bad_request("invalid_runner", detail);
    for text in [&body.hostname, &body.project_dir, &body.executor_profile] {
        if text.is_empty() || text.len() > TEXT_MAX_BYTES {
            return Err(refused(
                "hostname, project_dir and executor_profile must say something, in at most 4096 bytes"
                    .to_owned(),
            ));
        }
    }
    let size = Value::Object(body.executor.clone()).to_string().len();
    if size > EXECUTOR_MAX_BYTES {
        return Err(refused(format!(
            "executor has {size} bytes as JSON; at most {EXECUTOR_MAX_BYTES} are kept"
        )));
    }
    let agents = body.agents.unwrap_or_default();
    let size = json!(agents).to_string().len();
    if size > AGENTS_MAX_BYTES {
        return Err(refused(format!(
            "agents have {size} bytes as JSON; at most {AGENTS_MAX_BYTES} are announced"
        )));
    }
    for agent in &agents {
        let checked = agent.check();
        checked.map_err(|why| refused(format!("agent {}: {why}", agent.name)))?;
    }
    let tags = body.tags.unwrap_or_default().into_iter().map(|tag| {
        let parsed = Tag::parse_user(&tag);
        parsed.map_err(|error| ApiError::bad_request("invalid_tag", error.to_string()))
    });
    Ok(Application {
        hostname: body.hostname,
        project_dir: body.project_dir,
        executor_profile: body.executor_profile,
        executor: body.executor,
        tags: tags.collect::<Result<_, _>>()?,
        require_matching_tags: body.require_matching_tags.unwrap_or_default(),
        agents,
    })
}
