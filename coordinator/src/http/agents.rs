//! `/agents`: list, show, create, replace, patch, activate, delete.

use super::agent_view::AgentView;
use super::body::{JsonBody, JsonValue, parse};
use super::condition::{OnlyIf, Tagged};
use super::error::ApiError;
use super::moment::{At, listed_then, then};
use super::page_link::Page;
use super::params::{self, Caller, InPath, QueryOf};
use super::patch::PatchBody;
use super::state::Api;
use crate::app::{Agent, Change, Written};
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use events::catalog::Kind;
use schemars::JsonSchema;
use schemas::{AgentDocument, AgentKind, AgentStatus, Name};
use serde::Deserialize;
use serde_json::Value;

#[derive(Deserialize, JsonSchema)]
pub struct ListQuery {
    /// Separated by commas; an agent must carry all of them.
    #[serde(default)]
    tags: String,
    /// How the name begins.
    #[serde(default)]
    prefix: String,
    r#type: Option<AgentKind>,
    status: Option<AgentStatus>,
    /// The script it runs.
    script: Option<Name>,
    /// A capability it has.
    capability: Option<Name>,
}

impl ListQuery {
    fn wants(&self, agent: &Agent) -> bool {
        let document = &agent.entry.current.document;
        let is = |wanted: &Option<Name>, name: &Name| wanted.as_ref().is_none_or(|it| it == name);
        let has = |capability| document.capabilities.contains(capability);
        document.name.as_str().starts_with(&self.prefix)
            && self.r#type.is_none_or(|kind| kind == document.kind)
            && self.status.is_none_or(|status| status == document.status)
            && match &document.script {
                Some(script) => is(&self.script, script),
                None => self.script.is_none(),
            }
            && self.capability.as_ref().is_none_or(has)
    }
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
    QueryOf(query): QueryOf<ListQuery>,
    page: Page,
    At(at): At,
) -> Result<Response, ApiError> {
    let tags = params::tags(&query.tags)?;
    let answer = |mut agents: Vec<Agent>| {
        agents.retain(|agent| query.wants(agent));
        let listed = page.cut(agents, place).shown(|agents| {
            let views = agents.into_iter().map(AgentView::resolved);
            views.collect::<Vec<_>>()
        });
        listed.into_response()
    };
    match at {
        None => Ok(answer(api.app.agents(&tags))),
        Some(moment) => {
            let (as_of, agents) = api.app.agents_at(&tags, moment).await?;
            Ok(listed_then(as_of, answer(agents)))
        }
    }
}

/// Its place in the list: the coordinator's own come first, each part by name.
fn place(agent: &Agent) -> String {
    let current = &agent.entry.current;
    let part = u8::from(current.owner.is_some());
    format!("{part}{}", current.document.name)
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
        None => Ok(tagged(StatusCode::OK, view(api.app.agent(&name)?)).into_response()),
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
) -> Result<Tagged<AgentView>, ApiError> {
    let written = api.app.create_agent(&actor, document(body, None)?).await?;
    Ok(answer(written))
}

pub async fn put(
    State(api): State<Api>,
    Caller(actor): Caller,
    InPath(name): InPath,
    only_if: OnlyIf,
    JsonValue(body): JsonValue,
) -> Result<Tagged<AgentView>, ApiError> {
    let document = document(body, Some(&name))?;
    let app = api.app.only_if(only_if.of(Kind::Agent, &name));
    let written = app.put_agent(&actor, &name, document).await?;
    Ok(answer(written))
}

pub async fn patch(
    State(api): State<Api>,
    Caller(actor): Caller,
    InPath(name): InPath,
    only_if: OnlyIf,
    PatchBody(patch): PatchBody,
) -> Result<Tagged<AgentView>, ApiError> {
    let app = api.app.only_if(only_if.of(Kind::Agent, &name));
    let written = app.patch_agent(&actor, &name, patch).await?;
    Ok(tagged(StatusCode::OK, AgentView::raw(written.now)))
}

pub async fn set_status(
    State(api): State<Api>,
    Caller(actor): Caller,
    InPath(name): InPath,
    only_if: OnlyIf,
    JsonBody(body): JsonBody<StatusBody>,
) -> Result<Tagged<AgentView>, ApiError> {
    let app = api.app.only_if(only_if.of(Kind::Agent, &name));
    let written = app.set_agent_status(&actor, &name, body.status).await?;
    Ok(tagged(StatusCode::OK, AgentView::raw(written.now)))
}

pub async fn delete(
    State(api): State<Api>,
    Caller(actor): Caller,
    InPath(name): InPath,
    only_if: OnlyIf,
) -> Result<StatusCode, ApiError> {
    let app = api.app.only_if(only_if.of(Kind::Agent, &name));
    app.delete_agent(&actor, &name).await?;
    Ok(StatusCode::NO_CONTENT)
}

fn answer(written: Written<Agent>) -> Tagged<AgentView> {
    let status = match written.change {
        Change::Created => StatusCode::CREATED,
        Change::Changed | Change::Unchanged => StatusCode::OK,
    };
    tagged(status, AgentView::raw(written.now))
}

fn tagged(status: StatusCode, body: AgentView) -> Tagged<AgentView> {
    Tagged {
        status,
        version: body.version(),
        body,
    }
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
