//! `/scripts/sync/trigger` and below it: have runners re-check what they hold, and read
//! what each answered.

use super::body::JsonBody;
use super::error::ApiError;
use super::params::{Caller, QueryOf, Wait};
use super::state::Api;
use crate::app::{Asked, Reply, Sync};
use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use events::control::Done;
use events::runner::Holding;
use events::{RunnerId, Timestamp};
use schemars::JsonSchema;
use schemas::Name;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

#[derive(Default, Deserialize, JsonSchema)]
pub struct TriggerBody {
    /// Those to answer for; none means all.
    scripts: Option<BTreeSet<Name>>,
    /// Those to ask; none means all that are concerned.
    runners: Option<BTreeSet<RunnerId>>,
}

#[derive(Deserialize, JsonSchema)]
pub struct WaitQuery {
    wait: Option<Wait>,
}

/// What was asked of whom, and what they answered so far.
#[derive(Serialize, JsonSchema)]
pub struct SyncView {
    sync_id: String,
    at: Timestamp,
    by: String,
    /// None: all.
    scripts: BTreeSet<Name>,
    /// No answer is waited for any more.
    done: bool,
    runners: Vec<AskedView>,
}

#[derive(Serialize, JsonSchema)]
struct AskedView {
    runner_id: RunnerId,
    hostname: String,
    state: ReplyState,
    #[serde(flatten)]
    done: Option<DoneView>,
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum ReplyState {
    Waiting,
    NoAnswer,
    Offline,
    Answered,
}

/// What a runner answered.
#[derive(Serialize, JsonSchema)]
struct DoneView {
    answered_at: Timestamp,
    current: u32,
    behind: u32,
    /// Changes this made on the disk.
    repaired: u32,
    /// Those asked for by name, and those that are not as wanted.
    scripts: BTreeMap<Name, Holding>,
}

/// The body may be left out.
pub async fn trigger(
    State(api): State<Api>,
    Caller(actor): Caller,
    body: Option<JsonBody<TriggerBody>>,
) -> Result<(StatusCode, Json<SyncView>), ApiError> {
    let JsonBody(body) = body.unwrap_or_else(|| JsonBody(TriggerBody::default()));
    let (scripts, runners) = (
        body.scripts.unwrap_or_default(),
        body.runners.unwrap_or_default(),
    );
    let sync = api.app.trigger_sync(&actor, scripts, &runners)?;
    Ok((StatusCode::ACCEPTED, Json(view(&sync))))
}

pub async fn answers(
    State(api): State<Api>,
    Path(id): Path<String>,
    QueryOf(query): QueryOf<WaitQuery>,
) -> Result<Json<SyncView>, ApiError> {
    let Wait(patience) = query.wait.unwrap_or_default();
    let sync = tokio::select! {
        sync = api.app.sync_answers(&id, patience) => sync,
        () = api.closing.cancelled() => api.app.sync_answers(&id, Wait::default().0).await,
    };
    let missing = || {
        let detail = format!("Sync not found: {}", schemas::shown(&id));
        ApiError::not_found("sync_not_found", detail).hint(
            "answers are kept for a while, by the coordinator that asked; `coordinator script sync` asks again",
        )
    };
    Ok(Json(view(&sync.ok_or_else(missing)?)))
}

fn view(sync: &Sync) -> SyncView {
    let asked = sync.asked.iter();
    SyncView {
        sync_id: sync.id.clone(),
        at: sync.at,
        by: sync.by.clone(),
        scripts: sync.scripts.clone(),
        done: sync.is_over(),
        runners: asked.map(|(id, asked)| line(id, asked)).collect(),
    }
}

fn line(id: &RunnerId, asked: &Asked) -> AskedView {
    let (state, done) = match &asked.reply {
        Reply::Waiting => (ReplyState::Waiting, None),
        Reply::Silent => (ReplyState::NoAnswer, None),
        Reply::Offline => (ReplyState::Offline, None),
        Reply::Done { done, at } => (ReplyState::Answered, Some(answer(done, *at))),
    };
    AskedView {
        runner_id: id.clone(),
        hostname: asked.hostname.clone(),
        state,
        done,
    }
}

fn answer(done: &Done, answered_at: Timestamp) -> DoneView {
    let Done::Resynced {
        current,
        behind,
        repaired,
        scripts,
    } = done;
    DoneView {
        answered_at,
        current: *current,
        behind: *behind,
        repaired: *repaired,
        scripts: scripts.clone(),
    }
}
