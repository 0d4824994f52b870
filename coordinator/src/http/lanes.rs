//! `/lanes`: what each lane holds, who serves it, what waits in it.

use super::error::ApiError;
use super::moment::{At, listed_then, then};
use super::page_link::Page;
use super::params::{self, LaneInPath, QueryOf};
use super::state::Api;
use crate::app;
use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use events::{Lane, LaneTags, RunnerId, Timestamp};
use schemars::JsonSchema;
use schemas::{Digest, Name, Tag};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "LaneOverview")]
pub struct LaneView {
    lane: Lane,
    tags: LaneTags,
    scripts: Vec<WantedView>,
    agents: BTreeSet<Name>,
    /// What is only known of now, not of a moment before.
    #[serde(flatten)]
    now: Option<TrafficView>,
}

/// What its runners hold.
#[derive(Serialize, JsonSchema)]
struct WantedView {
    name: Name,
    version: u32,
    digest: Digest,
    /// Packed, in bytes.
    size: u64,
}

#[derive(Serialize, JsonSchema)]
struct TrafficView {
    runners: BTreeSet<RunnerId>,
    /// Those of them that take no runs.
    holding_only: BTreeSet<RunnerId>,
    /// Runs that nobody has claimed.
    waiting: usize,
    waiting_since: Option<Timestamp>,
    running: usize,
}

#[derive(Deserialize, JsonSchema)]
pub struct ListQuery {
    /// Separated by commas; a lane must demand all of them.
    #[serde(default)]
    tags: String,
    /// A script that its runners hold.
    script: Option<Name>,
    agent: Option<Name>,
}

impl ListQuery {
    fn wants(&self, lane: &app::LaneView, tags: &[Tag]) -> bool {
        let holds = |script| lane.scripts.contains_key(script);
        tags.iter()
            .all(|tag| lane.tags.iter().any(|own| own == tag))
            && self.script.as_ref().is_none_or(holds)
            && self
                .agent
                .as_ref()
                .is_none_or(|agent| lane.agents.contains(agent))
    }
}

/// By their tags; no tag holds what stands between them.
fn place(lane: &app::LaneView) -> String {
    let tags: Vec<&str> = lane.tags.iter().map(Tag::as_str).collect();
    tags.join("\n")
}

pub async fn list(
    State(api): State<Api>,
    QueryOf(query): QueryOf<ListQuery>,
    page: Page,
    At(at): At,
) -> Result<Response, ApiError> {
    let tags = params::tags(&query.tags)?;
    let answer = |mut lanes: Vec<app::LaneView>, view: fn(&app::LaneView) -> LaneView| {
        lanes.retain(|lane| query.wants(lane, &tags));
        lanes.sort_by(|a, b| a.tags.cmp(&b.tags));
        let listed = page
            .cut(lanes, place)
            .shown(|lanes| lanes.iter().map(view).collect::<Vec<_>>());
        listed.into_response()
    };
    let Some(moment) = at else {
        return Ok(answer(api.app.lanes(), view));
    };
    let (as_of, lanes) = api.app.lanes_at(moment).await?;
    Ok(listed_then(as_of, answer(lanes, wanted)))
}

pub async fn show(
    State(api): State<Api>,
    LaneInPath(id): LaneInPath,
    At(at): At,
) -> Result<Response, ApiError> {
    let Some(moment) = at else {
        let lanes = api.app.lanes();
        let lane = found(&lanes, id.as_ref(), "no agent, pin or unfinished run needs")?;
        return Ok(Json(view(lane)).into_response());
    };
    let (as_of, lanes) = api.app.lanes_at(moment).await?;
    let lane = found(&lanes, id.as_ref(), "as of then, no agent or pin needed")?;
    Ok(then(as_of, wanted(lane)))
}

fn found<'a>(
    lanes: &'a [app::LaneView],
    id: Option<&Lane>,
    why: &str,
) -> Result<&'a app::LaneView, ApiError> {
    let lane = lanes.iter().find(|lane| Some(&lane.lane) == id);
    lane.ok_or_else(|| {
        let detail = format!("Lane not found: {why} one with this id");
        ApiError::not_found("lane_not_found", detail).hint("coordinator lane list")
    })
}

fn view(lane: &app::LaneView) -> LaneView {
    LaneView {
        now: Some(TrafficView {
            runners: lane.runners.clone(),
            holding_only: lane.holding_only.clone(),
            waiting: lane.waiting,
            waiting_since: lane.waiting_since,
            running: lane.running,
        }),
        ..wanted(lane)
    }
}

/// What the catalogue wants of a lane.
fn wanted(lane: &app::LaneView) -> LaneView {
    let scripts = lane.scripts.iter();
    let scripts = scripts.map(|(name, script)| WantedView {
        name: name.clone(),
        version: script.version,
        digest: script.digest,
        size: script.size,
    });
    LaneView {
        lane: lane.lane.clone(),
        tags: lane.tags.clone(),
        scripts: scripts.collect(),
        agents: lane.agents.clone(),
        now: None,
    }
}
