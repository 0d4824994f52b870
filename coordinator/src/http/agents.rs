//! `/agents`: list, show, create, replace, patch, activate, delete.

use super::agent_view::AgentView;
use super::body::{JsonBody, JsonValue, parse};
use super::error::ApiError;
use super::moment::{At, listed_then, then};
use super::page_link::{self, Page};
use super::params::{self, Caller, InPath, QueryOf};
use super::patch::PatchBody;
use super::state::Api;
use crate::app::{Agent, Change, Written};
use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use schemars::JsonSchema;
use schemas::{AgentDocument, AgentStatus, Name};
use serde::Deserialize;
use serde_json::Value;

#[derive(Deserialize, JsonSchema)]
pub struct ListQuery {
    /// Separated by commas; an agent must carry all of them.
    #[serde(default)]
    tags: String,
}

#[derive(Deserialize, JsonSchema)]
pub struct ShowQuery {
    /// As it was written, without what its script and capabilities add.
    #[serde(default)]
    raw: bool,
}

#[derive(Deserialize, JsonSchema)]
pub struct StatusBody {
    status: AgentStatus,
}

pub async fn list(
    State(api): State<Api>,
    uri: Uri,
    QueryOf(query): QueryOf<ListQuery>,
    QueryOf(page): QueryOf<Page>,
    At(at): At,
) -> Result<Response, ApiError> {
    let tags = params::tags(&query.tags)?;
    let answer = |agents: Vec<Agent>| {
        let views = agents.into_iter().map(AgentView::resolved).collect();
        page_link::answer(&uri, page, views).into_response()
    };
    match at {
        None => Ok(answer(api.app.agents(&tags))),
        Some(moment) => {
            let (as_of, agents) = api.app.agents_at(&tags, moment).await?;
            Ok(listed_then(as_of, answer(agents)))
        }
    }
}

pub async fn show(
    State(api): State<Api>,
    InPath(name): InPath,
    QueryOf(query): QueryOf<ShowQuery>,
    At(at): At,
) -> Result<Response, ApiError> {
    let view = |agent| match query.raw {
        true => AgentView::raw(agent),
        false => AgentView::resolved(agent),
    };
    match at {
        None => Ok(Json(view(api.app.agent(&name)?)).into_response()),
        Some(moment) => {
            let (as_of, agent) = api.app.agent_at(&name, moment).await?;
            Ok(then(as_of, view(agent)))
        }
    }
}

pub async fn create(
    State(api): State<Api>,
    Caller(actor): Caller,
    JsonValue(body): JsonValue,
) -> Result<(StatusCode, Json<AgentView>), ApiError> {
    let written = api.app.create_agent(&actor, document(body, None)?).await?;
    Ok(answer(written))
}

pub async fn put(
    State(api): State<Api>,
    Caller(actor): Caller,
    InPath(name): InPath,
    JsonValue(body): JsonValue,
) -> Result<(StatusCode, Json<AgentView>), ApiError> {
    let document = document(body, Some(&name))?;
    let written = api.app.put_agent(&actor, &name, document).await?;
    Ok(answer(written))
}

pub async fn patch(
    State(api): State<Api>,
    Caller(actor): Caller,
    InPath(name): InPath,
    PatchBody(patch): PatchBody,
) -> Result<Json<AgentView>, ApiError> {
    let written = api.app.patch_agent(&actor, &name, patch).await?;
    Ok(Json(AgentView::raw(written.now)))
}

pub async fn set_status(
    State(api): State<Api>,
    Caller(actor): Caller,
    InPath(name): InPath,
    JsonBody(body): JsonBody<StatusBody>,
) -> Result<Json<AgentView>, ApiError> {
    let written = api.app.set_agent_status(&actor, &name, body.status).await?;
    Ok(Json(AgentView::raw(written.now)))
}

pub async fn delete(
    State(api): State<Api>,
    Caller(actor): Caller,
    InPath(name): InPath,
) -> Result<StatusCode, ApiError> {
    api.app.delete_agent(&actor, &name).await?;
    Ok(StatusCode::NO_CONTENT)
}

fn answer(written: Written<Agent>) -> (StatusCode, Json<AgentView>) {
    let status = match written.change {
        Change::Created => StatusCode::CREATED,
        Change::Changed | Change::Unchanged => StatusCode::OK,
    };
    (status, Json(AgentView::raw(written.now)))
}

/// A name that cannot be one is 400, all else that does not fit is 422.
fn document(mut body: Value, in_path: Option<&Name>) -> Result<AgentDocument, ApiError> {
    if let (Some(name), Value::Object(fields)) = (in_path, &mut body) {
        fields.entry("name").or_insert_with(|| name.as_str().into());
    }
    if let Some(name) = body["name"].as_str() {
        params::name(name)?;
    }
    parse(&body)
}
