//! `/lanes`: what each lane holds, who serves it, what waits in it.

use super::error::ApiError;
use super::params::LaneInPath;
use super::state::Api;
use crate::app::LaneView;
use axum::Json;
use axum::extract::State;
use serde_json::{Value, json};

pub async fn list(State(api): State<Api>) -> Json<Vec<Value>> {
    let lanes = api.app.lanes();
    Json(lanes.iter().map(view).collect())
}

pub async fn show(
    State(api): State<Api>,
    LaneInPath(wanted): LaneInPath,
) -> Result<Json<Value>, ApiError> {
    let lanes = api.app.lanes();
    let found = lanes
        .iter()
        .find(|lane| Some(&lane.lane) == wanted.as_ref());
    found.map(|lane| Json(view(lane))).ok_or_else(|| {
        let detail = "Lane not found: no agent, pin or unfinished run needs one with this id";
        ApiError::not_found("lane_not_found", detail).hint("coordinator lane list")
    })
}

fn view(lane: &LaneView) -> Value {
    let scripts = lane.scripts.iter();
    let scripts = scripts.map(|(name, script)| {
        json!({
            "name": name,
            "version": script.version,
            "digest": script.digest,
            "size": script.size,
        })
    });
    json!({
        "lane": lane.lane,
        "tags": lane.tags,
        "scripts": scripts.collect::<Vec<_>>(),
        "agents": lane.agents,
        "runners": lane.runners,
        // Those of them that take no runs.
        "holding_only": lane.holding_only,
        "waiting": lane.waiting,
        "waiting_since": lane.waiting_since,
        "running": lane.running,
    })
}
