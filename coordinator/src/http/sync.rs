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
use events::RunnerId;
use events::control::Done;
use schemas::Name;
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::BTreeSet;

#[derive(Default, Deserialize)]
pub struct TriggerBody {
    /// Those to answer for; none means all.
    scripts: Option<BTreeSet<Name>>,
    /// Those to ask; none means all that are concerned.
    runners: Option<BTreeSet<RunnerId>>,
}

#[derive(Deserialize)]
pub struct WaitQuery {
    wait: Option<Wait>,
}

/// The body may be left out.
pub async fn trigger(
    State(api): State<Api>,
    Caller(actor): Caller,
    body: Option<JsonBody<TriggerBody>>,
) -> Result<(StatusCode, Json<Value>), ApiError> {
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
) -> Result<Json<Value>, ApiError> {
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

fn view(sync: &Sync) -> Value {
    let runners: Vec<Value> = sync
        .asked
        .iter()
        .map(|(id, asked)| line(id, asked))
        .collect();
    json!({
        "sync_id": sync.id,
        "at": sync.at,
        "by": sync.by,
        "scripts": sync.scripts,
        "done": sync.is_over(),
        "runners": runners,
    })
}

fn line(id: &RunnerId, asked: &Asked) -> Value {
    let mut line = json!({"runner_id": id, "hostname": asked.hostname});
    line["state"] = match &asked.reply {
        Reply::Waiting => "waiting",
        Reply::Silent => "no_answer",
        Reply::Offline => "offline",
        Reply::Done { .. } => "answered",
    }
    .into();
    if let Reply::Done { done, at } = &asked.reply {
        let Done::Resynced {
            current,
            behind,
            repaired,
            scripts,
        } = done;
        line["answered_at"] = json!(at);
        line["current"] = json!(current);
        line["behind"] = json!(behind);
        line["repaired"] = json!(repaired);
        line["scripts"] = json!(scripts);
    }
    line
}
