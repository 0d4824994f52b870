//! `/lanes`: what each lane holds, who serves it, what waits in it.

use super::error::ApiError;
use super::moment::{At, listed_then, then};
use super::params::LaneInPath;
use super::state::Api;
use crate::app::LaneView;
use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use events::Lane;
use serde_json::{Value, json};

pub async fn list(State(api): State<Api>, At(at): At) -> Result<Response, ApiError> {
    let Some(moment) = at else {
        let lanes = api.app.lanes();
        return Ok(Json(lanes.iter().map(view).collect::<Vec<_>>()).into_response());
    };
    let (as_of, lanes) = api.app.lanes_at(moment).await?;
    let lanes: Vec<Value> = lanes.iter().map(wanted).collect();
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
    lanes: &'a [LaneView],
    id: Option<&Lane>,
    why: &str,
) -> Result<&'a LaneView, ApiError> {
    let lane = lanes.iter().find(|lane| Some(&lane.lane) == id);
    lane.ok_or_else(|| {
        let detail = format!("Lane not found: {why} one with this id");
        ApiError::not_found("lane_not_found", detail).hint("coordinator lane list")
    })
}

fn view(lane: &LaneView) -> Value {
    let mut view = wanted(lane);
    view["runners"] = json!(lane.runners);
    // Those of them that take no runs.
    view["holding_only"] = json!(lane.holding_only);
    view["waiting"] = json!(lane.waiting);
    view["waiting_since"] = json!(lane.waiting_since);
    view["running"] = json!(lane.running);
    view
}

/// What the catalogue wants of a lane.
fn wanted(lane: &LaneView) -> Value {
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
    })
}
