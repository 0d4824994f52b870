//! `/audit/replay` and `/audit/diff`: the whole catalogue as it was, and what changed between two
//! moments.

use super::agent_view::AgentView;
use super::capabilities::CapabilityView;
use super::error::ApiError;
use super::moment::{AsOfView, At, moment, then};
use super::params::QueryOf;
use super::pins::{PinThenView, PlaceView};
use super::script_view::ScriptView;
use super::state::Api;
use crate::app::{Agent, CatalogDifference, Moment, What};
use axum::Json;
use axum::extract::State;
use axum::response::Response;
use events::catalog::{AgentVersion, Entry, Kind};
use schemars::JsonSchema;
use schemas::Name;
use serde::{Deserialize, Serialize};

#[derive(Deserialize, JsonSchema)]
pub struct DiffQuery {
    /// Times or sequences, as `at` and `at_seq` have them.
    from: String,
    /// Now, where it is left out.
    to: Option<String>,
}

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Catalog")]
pub struct CatalogView {
    /// Without the content of their files, which `download?digest=` has.
    scripts: Vec<ScriptView>,
    capabilities: Vec<CapabilityView>,
    /// As they were written.
    agents: Vec<AgentView>,
    pins: Vec<PinThenView>,
}

#[derive(Serialize, JsonSchema)]
pub struct DiffView {
    from: AsOfView,
    to: AsOfView,
    differences: Vec<DifferenceView>,
}

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "CatalogDifference")]
struct DifferenceView {
    kind: &'static str,
    name: Name,
    /// `added`, `removed`, `changed`, `pinned` or `unpinned`.
    change: &'static str,
    from_version: Option<u32>,
    to_version: Option<u32>,
    /// Fields and files that are different.
    changes: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    place: Option<PlaceView>,
}

pub async fn replay(State(api): State<Api>, At(at): At) -> Result<Response, ApiError> {
    let at = match at {
        Some(at) => at,
        None => now(&api),
    };
    let (as_of, catalog) = api.app.catalog_at(at).await?;
    let script = |entry: &Entry<_>| ScriptView::of(entry.clone(), None);
    let view = CatalogView {
        scripts: catalog.scripts.values().map(script).collect(),
        capabilities: catalog
            .capabilities
            .values()
            .map(|entry| entry.clone().into())
            .collect(),
        agents: catalog.agents.values().map(as_written).collect(),
        pins: PinThenView::all(&catalog.pins),
    };
    Ok(then(as_of, view))
}

pub async fn diff(
    State(api): State<Api>,
    QueryOf(query): QueryOf<DiffQuery>,
) -> Result<Json<DiffView>, ApiError> {
    let from = moment(&query.from, api.app.now())?;
    let to = query.to.as_deref();
    let to = to.map(|to| moment(to, api.app.now())).transpose()?;
    let to = to.unwrap_or_else(|| now(&api));
    let (from, to, differences) = api.app.differences(from, to).await?;
    Ok(Json(DiffView {
        from: from.into(),
        to: to.into(),
        differences: differences.into_iter().map(Into::into).collect(),
    }))
}

fn as_written(entry: &Entry<AgentVersion>) -> AgentView {
    AgentView::raw(Agent {
        resolved: entry.current.document.clone(),
        entry: entry.clone(),
    })
}

/// As far as this coordinator has read.
fn now(api: &Api) -> Moment {
    Moment::Sequence(api.app.projections().catalog().sequence)
}

impl From<CatalogDifference> for DifferenceView {
    fn from(difference: CatalogDifference) -> Self {
        let CatalogDifference { kind, name, what } = difference;
        let plain = Self {
            kind: noun(kind),
            name,
            change: "changed",
            from_version: None,
            to_version: None,
            changes: Vec::new(),
            place: None,
        };
        match what {
            What::Added { version } => Self {
                change: "added",
                to_version: Some(version),
                ..plain
            },
            What::Removed { version } => Self {
                change: "removed",
                from_version: Some(version),
                ..plain
            },
            What::Changed { from, to, changes } => Self {
                from_version: Some(from),
                to_version: Some(to),
                changes,
                ..plain
            },
            What::Pinned { place } => Self {
                change: "pinned",
                place: Some(place.into()),
                ..plain
            },
            What::Unpinned { place } => Self {
                change: "unpinned",
                place: Some(place.into()),
                ..plain
            },
        }
    }
}

fn noun(kind: Kind) -> &'static str {
    match kind {
        Kind::Script => "script",
        Kind::Agent => "agent",
        Kind::Capability => "capability",
        Kind::Pin => "pin",
        Kind::Token => "token",
        Kind::Runner => "runner",
    }
}
