//! `/lanes`: what each lane holds, who serves it, what waits in it.

use super::error::ApiError;
use super::moment::{At, listed_then, then};
use super::params::LaneInPath;
use super::state::Api;
use crate::app;
use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use events::{Lane, LaneTags, RunnerId, Timestamp};
use schemars::JsonSchema;
use schemas::{Digest, Name};
use serde::Serialize;
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

pub async fn list(State(api): State<Api>, At(at): At) -> Result<Response, ApiError> {
    let Some(moment) = at else {
        let lanes = api.app.lanes();
        return Ok(Json(lanes.iter().map(view).collect::<Vec<_>>()).into_response());
    };
    let (as_of, lanes) = api.app.lanes_at(moment).await?;
    let lanes: Vec<LaneView> = lanes.iter().map(wanted).collect();
    Ok(listed_then(as_of, Json(lanes).into_response()))
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
