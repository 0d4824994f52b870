//! `/{scripts,agents,capabilities}/{name}/versions` and `/rollback`: what there was, who made it,
//! and going back to it.

use super::agent_view::AgentView;
use super::body::JsonBody;
use super::capabilities::CapabilityView;
use super::condition::OnlyIf;
use super::error::ApiError;
use super::params::{self, Caller, InPath, QueryOf};
use super::script_view::ScriptView;
use super::state::Api;
use crate::app::{
    Agent, Change, Deletion, HistoryQuery, VERSIONS_MAX, Version, VersionLine, Versioned,
    WhereDeleted,
};
use axum::Json;
use axum::extract::{Path, State};
use events::catalog::{AgentVersion, CapabilityVersion, Entry, Kind};
use events::{Actor, Timestamp};
use schemars::JsonSchema;
use schemas::{Digest, Name};
use serde::{Deserialize, Serialize};

/// Versions on a page where the client does not say.
const PAGE_DEFAULT: u32 = 50;

#[derive(Deserialize, JsonSchema)]
pub struct VersionsQuery {
    limit: Option<u32>,
    /// Only versions below this one: the `next_before` of the page before.
    before: Option<u32>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RollbackBody {
    to: u32,
    /// Also where the name was deleted since.
    #[serde(default)]
    recreate: bool,
}

#[derive(Serialize, JsonSchema)]
pub struct VersionsView {
    kind: &'static str,
    name: Name,
    /// Newest first.
    versions: Vec<LineView>,
    next_before: Option<u32>,
}

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "VersionLine")]
struct LineView {
    version: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    digest: Option<Digest>,
    #[serde(flatten)]
    facts: Facts,
}

/// What the log says about a version.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "VersionFacts")]
struct Facts {
    at: Timestamp,
    actor: Actor,
    /// `created` or `changed`.
    change: &'static str,
    rollback_of: Option<u32>,
    /// Fields and files that are different from those of the version before.
    changes: Vec<String>,
    current: bool,
    deleted: Option<DeletionView>,
}

#[derive(Serialize, JsonSchema)]
struct DeletionView {
    at: Timestamp,
    actor: Actor,
}

/// A version as the current one is shown, and what the log says about it.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "VersionOf{T}")]
pub struct VersionView<T> {
    #[serde(flatten)]
    is: T,
    #[serde(flatten)]
    facts: Facts,
}

#[derive(Serialize, JsonSchema)]
pub struct RollbackView {
    kind: &'static str,
    name: Name,
    to: u32,
    /// The current one.
    version: u32,
    /// `false`: the current version is that one, or says the same.
    changed: bool,
}

pub async fn list<V: Versioned>(
    State(api): State<Api>,
    InPath(name): InPath,
    QueryOf(query): QueryOf<VersionsQuery>,
) -> Result<Json<VersionsView>, ApiError> {
    let query = HistoryQuery {
        before: query.before,
        limit: query.limit.unwrap_or(PAGE_DEFAULT).min(VERSIONS_MAX),
    };
    let history = api.app.history::<V>(&name, query).await?;
    Ok(Json(VersionsView {
        kind: kind(V::KIND),
        name,
        versions: history.lines.into_iter().map(LineView::from).collect(),
        next_before: history.next_before,
    }))
}

pub async fn script(
    State(api): State<Api>,
    Path((name, number)): Path<(String, String)>,
) -> Result<Json<VersionView<ScriptView>>, ApiError> {
    let (name, number) = (params::name(&name)?, version(&number)?);
    let (line, script) = api.app.script_version(&name, number).await?;
    Ok(Json(VersionView::of(script.into(), line)))
}

pub async fn agent(
    State(api): State<Api>,
    Path((name, number)): Path<(String, String)>,
) -> Result<Json<VersionView<AgentView>>, ApiError> {
    let (name, number) = (params::name(&name)?, version(&number)?);
    let Version { line, is } = api.app.version::<AgentVersion>(&name, number).await?;
    let agent = Agent {
        resolved: is.document.clone(),
        entry: entry(is, &line),
    };
    Ok(Json(VersionView::of(AgentView::raw(agent), line)))
}

pub async fn capability(
    State(api): State<Api>,
    Path((name, number)): Path<(String, String)>,
) -> Result<Json<VersionView<CapabilityView>>, ApiError> {
    let (name, number) = (params::name(&name)?, version(&number)?);
    let found = api.app.version::<CapabilityVersion>(&name, number).await?;
    let Version { line, is } = found;
    Ok(Json(VersionView::of(entry(is, &line).into(), line)))
}

pub async fn rollback<V: Versioned>(
    State(api): State<Api>,
    Caller(actor): Caller,
    InPath(name): InPath,
    only_if: OnlyIf,
    JsonBody(body): JsonBody<RollbackBody>,
) -> Result<Json<RollbackView>, ApiError> {
    let where_deleted = match body.recreate {
        true => WhereDeleted::Recreate,
        false => WhereDeleted::Refuse,
    };
    let app = api.app.only_if(only_if.of(V::KIND, &name));
    let done = app.rollback::<V>(&actor, &name, body.to, where_deleted);
    let done = done.await?;
    Ok(Json(RollbackView {
        kind: kind(V::KIND),
        name,
        to: body.to,
        version: done.version,
        changed: done.change != Change::Unchanged,
    }))
}

fn entry<T>(current: T, line: &VersionLine) -> Entry<T> {
    Entry {
        current,
        created_at: line.at,
        modified_at: line.at,
    }
}

/// `{version}` of a path: `3`.
fn version(text: &str) -> Result<u32, ApiError> {
    text.parse().map_err(|_| {
        let text = schemas::shown(text);
        let detail = format!("A version is a number, 1 or more, not {text}");
        ApiError::bad_request("invalid_version", detail)
    })
}

fn kind(kind: Kind) -> &'static str {
    match kind {
        Kind::Script => "script",
        Kind::Agent => "agent",
        Kind::Capability => "capability",
        Kind::Pin => "pin",
        Kind::Token => "token",
        Kind::Runner => "runner",
    }
}

impl<T> VersionView<T> {
    fn of(is: T, line: VersionLine) -> Self {
        Self {
            is,
            facts: line.into(),
        }
    }
}

impl From<VersionLine> for LineView {
    fn from(line: VersionLine) -> Self {
        Self {
            version: line.version,
            digest: line.digest,
            facts: line.into(),
        }
    }
}

impl From<VersionLine> for Facts {
    fn from(line: VersionLine) -> Self {
        let change = match line.created {
            true => "created",
            false => "changed",
        };
        Self {
            at: line.at,
            actor: line.actor,
            change,
            rollback_of: line.rollback_of,
            changes: line.changes,
            current: line.current,
            deleted: line
                .deleted
                .map(|Deletion { at, actor }| DeletionView { at, actor }),
        }
    }
}
